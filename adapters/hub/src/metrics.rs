//! What an operator's monitoring may know of a hub. Counts of what happens for every event or
//! delivery are plain numbers that become visible once a turn. Nothing that decides looks at any of
//! it, nor at the moments that are measured here.

use std::sync::Arc;
use std::time::Instant;

use parlor_core::{CloseReason, ErrorCode, Input, Limits, Request, RequestKind, State};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Powers of two up to a full batch.
const BATCH_EVENTS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];
/// From what memory takes for a lone message to what a disk takes that is about to be given up,
/// 30 s; in steps of about 2 between, so that a quantile is good to a factor of 2.
const SECONDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 20.0, 30.0,
];

/// The metrics of a hub; its clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    connections: Gauge,
    connections_limit: Gauge,
    rooms: Gauge,
    members: Gauge,
    outbox_bytes: Gauge,
    outbox_limit_bytes: Gauge,
    events: Labelled,
    deliveries: Counter,
    sent_bytes: Counter,
    pub(crate) received_bytes: Counter,
    refused: Labelled,
    turned_away: Labelled,
    closed: Labelled,
    batch_events: Histogram,
    commit: Histogram,
    delivery: Histogram,
    pub(crate) restarts: Counter,
    pub(crate) store_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
        let reasons = CloseReason::ALL.iter().map(|reason| reason_label(*reason));
        Self {
            connections: Gauge::default(),
            connections_limit: Gauge::default(),
            rooms: Gauge::default(),
            members: Gauge::default(),
            outbox_bytes: Gauge::default(),
            outbox_limit_bytes: Gauge::default(),
            events: Labelled::new("kind", KINDS.iter().copied()),
            deliveries: Counter::default(),
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            refused: Labelled::new("code", codes),
            turned_away: Labelled::new("reason", TurnedAway::ALL.iter().map(|why| why.label())),
            closed: Labelled::new("reason", reasons.chain([GONE])),
            batch_events: Histogram::new(BATCH_EVENTS),
            commit: Histogram::new(SECONDS),
            delivery: Histogram::new(SECONDS),
            restarts: Counter::default(),
            store_failures: Counter::default(),
        }
    }
}

impl Metrics {
    /// Makes them known to a registry of the prometheus-client crate, under names that begin with
    /// `parlor_`. README.md explains each.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("parlor");
        self.register_gauges(registry);
        self.register_counters(registry);
        registry.register(
            "batch_events",
            "Events that were stored and answered together",
            self.batch_events.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time in which the store took a batch",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register_with_unit(
            "delivery",
            "Time from reading a message that was said to writing it to everybody who takes it, storing included",
            Unit::Seconds,
            self.delivery.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            (
                "connections",
                "WebSocket connections that are open",
                &self.connections,
            ),
            (
                "connections_limit",
                "Connections that may be open at once, 0 for any number",
                &self.connections_limit,
            ),
            ("rooms", "Rooms that are open or loading", &self.rooms),
            (
                "members",
                "Members of all rooms; a connection is one in each of its rooms",
                &self.members,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, gauge) in [
            (
                "outbox",
                "Bytes that wait for connections to take them",
                &self.outbox_bytes,
            ),
            (
                "outbox_limit",
                "Bytes that may wait for all connections together",
                &self.outbox_limit_bytes,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
    }

    fn register_counters(&self, registry: &mut Registry) {
        for (name, help, labelled) in [
            (
                "events",
                "Events that were applied: requests by their type, and what else happened",
                &self.events,
            ),
            (
                "refused_requests",
                "Requests that were answered with an error, and goodbyes (SERVER_SHUTDOWN)",
                &self.refused,
            ),
            (
                "refused_connections",
                "Connections that were turned away: a page of another origin, no place on the server, for the address, or for one more handshake",
                &self.turned_away,
            ),
            (
                "closed_connections",
                "Connections that ended, by why the server closed them, or gone if the client did",
                &self.closed,
            ),
        ] {
            registry.register(name, help, labelled.family.clone());
        }
        for (name, help, counter) in [
            (
                "deliveries",
                "Messages of the protocol that were queued, once for each connection that gets it",
                &self.deliveries,
            ),
            (
                "restarts",
                "Panics of the hub or its store after which both began anew",
                &self.restarts,
            ),
            (
                "store_failures",
                "Times that the store stopped working",
                &self.store_failures,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, counter) in [
            (
                "sent",
                "Bytes of WebSocket frames that were written",
                &self.sent_bytes,
            ),
            (
                "received",
                "Bytes of messages that were read, without the frames around them",
                &self.received_bytes,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        }
    }

    pub(crate) fn limited_to(&self, limits: &Limits) {
        self.connections_limit.set(limits.connections.into());
        self.outbox_limit_bytes
            .set(i64::try_from(limits.outbox_total_bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, code: ErrorCode) {
        self.refused.each[code as usize].inc();
    }

    /// Somebody was turned away at the door.
    pub fn turned_away(&self, why: TurnedAway) {
        self.turned_away.each[why as usize].inc();
    }

    /// A connection ended, with a close frame if there is a reason.
    pub(crate) fn closed(&self, reason: Option<CloseReason>) {
        let gone = CloseReason::ALL.len();
        self.closed.each[reason.map_or(gone, |reason| reason as usize)].inc();
    }

    /// A batch is to be carried out.
    pub(crate) fn batch(&self, events: usize) {
        self.batch_events.observe(events as f64);
    }

    /// The store answered to a batch that it was given then.
    pub(crate) fn committed(&self, asked: Moment) {
        self.commit.observe(asked.seconds_until(Moment::now()));
    }

    /// What was read then is written.
    pub(crate) fn delivered(&self, received: &mut Vec<Moment>) {
        if !received.is_empty() {
            let now = Moment::now();
            for received in received.drain(..) {
                self.delivery.observe(received.seconds_until(now));
            }
        }
    }

    /// Makes visible what a turn counted, and what there is at its end.
    pub(crate) fn report(&self, tally: &mut Tally, state: &State, outbox_bytes: u64) {
        for (counter, counted) in self.events.each.iter().zip(&tally.events) {
            if *counted > 0 {
                counter.inc_by(*counted);
            }
        }
        self.deliveries.inc_by(tally.deliveries);
        self.sent_bytes.inc_by(tally.sent_bytes);
        *tally = Tally::default();
        self.connections.set(gauged(state.connection_count()));
        self.rooms.set(gauged(state.room_count()));
        self.members.set(gauged(state.member_count()));
        self.outbox_bytes
            .set(i64::try_from(outbox_bytes).unwrap_or(i64::MAX));
    }
}

/// Why somebody is turned away at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// A page of another origin.
    Origin,
    /// There are too many connections.
    Full,
    /// There are too many of this address.
    Address,
    /// There are too many handshakes under way.
    Handshakes,
}

impl TurnedAway {
    const ALL: [Self; 4] = [Self::Origin, Self::Full, Self::Address, Self::Handshakes];

    const fn label(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Address => "address",
            Self::Handshakes => "handshakes",
        }
    }
}

fn gauged(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Counters that differ in one label, all of them there from the start.
#[derive(Clone, Debug)]
struct Labelled {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    each: Arc<[Counter]>,
}

impl Labelled {
    fn new(label: &'static str, values: impl Iterator<Item = &'static str>) -> Self {
        let family = Family::default();
        let each = values.map(|value| family.get_or_create_owned(&[(label, value)]));
        Self {
            each: each.collect(),
            family,
        }
    }
}

/// What was counted since it was last made visible.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    events: [u64; KINDS.len()],
    pub(crate) deliveries: u64,
    pub(crate) sent_bytes: u64,
}

impl Tally {
    pub(crate) const fn event(&mut self, input: &Input) {
        self.events[Kind::of(input) as usize] += 1;
    }
}

/// A moment of the machine's own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(Instant);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    fn seconds_until(self, later: Self) -> f64 {
        later.0.saturating_duration_since(self.0).as_secs_f64()
    }
}

macro_rules! request {
    ($kind:pat) => {
        Input::Received {
            request: Request { kind: $kind, .. },
            ..
        }
    };
}

/// What can be an event, with the label of its counter.
macro_rules! kinds {
    ($($input:pat => $name:ident, $label:literal;)*) => {
        #[derive(Clone, Copy)]
        enum Kind { $($name,)* }

        const KINDS: &[&str] = &[$($label,)*];

        impl Kind {
            const fn of(input: &Input) -> Self {
                match input { $($input => Self::$name,)* }
            }
        }
    };
}

kinds! {
    Input::Connected { .. } => Connected, "connected";
    Input::Identified { .. } => Identified, "identified";
    request!(RequestKind::Hello { .. }) => Hello, "hello";
    request!(RequestKind::Join { .. }) => Join, "join";
    request!(RequestKind::Leave { .. }) => Leave, "leave";
    request!(RequestKind::Message { .. }) => Message, "message";
    request!(RequestKind::Typing { .. }) => Typing, "typing";
    request!(RequestKind::ListRooms { .. }) => ListRooms, "list_rooms";
    request!(RequestKind::ListUsers { .. }) => ListUsers, "list_users";
    request!(RequestKind::GetHistory { .. }) => GetHistory, "get_history";
    request!(RequestKind::Ping) => Ping, "ping";
    Input::Refused { .. } => Refused, "refused";
    Input::Disconnected { .. } => Disconnected, "disconnected";
    Input::Published { .. } => Published, "published";
    Input::RoomLoaded { .. } => RoomLoaded, "room_loaded";
    Input::LoadFailed { .. } => LoadFailed, "load_failed";
    Input::PageFetched { .. } => PageFetched, "page_fetched";
    Input::FetchFailed { .. } => FetchFailed, "fetch_failed";
    Input::StoreFailed => StoreFailed, "store_failed";
    Input::StoreRecovered => StoreRecovered, "store_recovered";
    Input::Shutdown => Shutdown, "shutdown";
}

/// The label of a connection that ended without a close frame of the server's own making.
const GONE: &str = "gone";

const fn reason_label(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Normal => "normal",
        CloseReason::GoingAway => "going_away",
        CloseReason::ProtocolError => "protocol_error",
        CloseReason::UnsupportedData => "unsupported_data",
        CloseReason::InvalidUtf8 => "invalid_utf8",
        CloseReason::TooBig => "too_big",
        CloseReason::Restart => "restart",
        CloseReason::Slow => "slow",
        CloseReason::NoPong => "no_pong",
        CloseReason::Flooding => "flooding",
        CloseReason::Unauthorized => "unauthorized",
        CloseReason::TokenExpired => "token_expired",
        CloseReason::UnsupportedProtocol => "unsupported_protocol",
        CloseReason::Internal => "internal",
        CloseReason::NoHello => "no_hello",
        CloseReason::Removed => "removed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_is_measured_in_seconds_and_never_back() {
        let earlier = Moment::now();
        let later = Moment(earlier.0 + Duration::from_millis(1500));
        let is = |seconds: f64, expected: f64| (seconds - expected).abs() < 1e-9;
        assert!(is(earlier.seconds_until(later), 1.5));
        assert!(is(later.seconds_until(earlier), 0.0));
    }
}
