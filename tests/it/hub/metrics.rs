//! What monitoring sees of a hub.

use parlor_core::{CloseReason, ErrorCode, Limits, Refusal};
use parlor_tests::driven_hub::{DrivenHub, Outcome, ScriptedStore};
use parlor_tests::metrics::Samples;

use super::{PING, kib, limits};

/// Tells what changed since it last told.
struct Observer {
    before: Samples,
    /// What is left out: the gauges, buckets, and how long things took.
    without: [&'static str; 6],
}

impl Observer {
    fn new(hub: &DrivenHub) -> Self {
        Self {
            before: hub.metrics(),
            without: [
                "connections",
                "members",
                "outbox_bytes",
                "rooms",
                "_seconds_sum",
                "_bytes_total",
            ],
        }
    }

    fn changes(&mut self, hub: &DrivenHub) -> Vec<(String, f64)> {
        let metrics = hub.metrics();
        let mut changes = Vec::new();
        for (series, value) in &metrics {
            let name = series.strip_prefix("parlor_").expect("it is ours");
            let left_out = self.without.iter().any(|suffix| name.ends_with(suffix));
            let change = value - self.before[series];
            if change != 0.0 && !left_out && !name.contains("_bucket") {
                changes.push((name.to_string(), change));
            }
        }
        self.before = metrics;
        changes
    }

    fn expect(&mut self, hub: &DrivenHub, expected: &[(&str, f64)]) {
        let changes = self.changes(hub);
        let changes = changes.iter().map(|(name, change)| (&**name, *change));
        assert_eq!(changes.collect::<Vec<_>>(), expected);
    }
}

fn gauges(hub: &DrivenHub) -> [f64; 4] {
    let metrics = hub.metrics();
    ["connections", "rooms", "members", "outbox_bytes"]
        .map(|gauge| metrics[&format!("parlor_{gauge}")])
}

#[test]
fn every_series_is_there_from_the_start() {
    let hub = DrivenHub::in_memory(&Limits::default());
    let metrics = hub.metrics();
    let lines = metrics
        .iter()
        .map(|(series, value)| format!("{series} {value}\n"));
    insta::assert_snapshot!(lines.collect::<String>());
}

#[test]
fn a_conversation_is_counted() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut seen = Observer::new(&hub);
    let mut ann = hub.join("ann", "r");
    seen.expect(
        &hub,
        &[
            ("batch_events_count", 2.0),
            ("batch_events_sum", 2.0),
            ("deliveries_total", 1.0),
            ("events_total{kind=\"connected\"}", 1.0),
            ("events_total{kind=\"join\"}", 1.0),
            ("events_total{kind=\"room_loaded\"}", 1.0),
        ],
    );
    let ben = hub.join("ben", "r");
    let cyd = hub.join("cyd", "s");
    assert_eq!(gauges(&hub), [3.0, 2.0, 3.0, 0.0]);

    seen.changes(&hub);
    ann.say("r", "Hello!");
    hub.settle();
    seen.expect(
        &hub,
        &[
            ("batch_events_count", 1.0),
            ("batch_events_sum", 1.0),
            ("commit_seconds_count", 1.0),
            ("deliveries_total", 2.0),
            ("delivery_seconds_count", 1.0),
            ("events_total{kind=\"message\"}", 1.0),
        ],
    );
    // Nothing of it was said: it is refused, and nobody's delivery.
    ann.say("elsewhere", "Hello!");
    ann.perform(async |connection| {
        let refusal = Refusal::new(ErrorCode::InvalidJson);
        connection.refuse(refusal).await
    });
    hub.settle();
    seen.expect(
        &hub,
        &[
            ("batch_events_count", 1.0),
            ("batch_events_sum", 2.0),
            ("deliveries_total", 2.0),
            ("events_total{kind=\"message\"}", 1.0),
            ("events_total{kind=\"refused\"}", 1.0),
            ("refused_requests_total{code=\"INVALID_JSON\"}", 1.0),
            ("refused_requests_total{code=\"NOT_IN_ROOM\"}", 1.0),
        ],
    );
    // A frame of the WebSocket's own is no delivery.
    ann.perform(async |connection| {
        let pong = parlor_hub::frame(parlor_hub::Opcode::Ping, b"");
        connection.control(pong).await
    });
    hub.settle();
    seen.expect(
        &hub,
        &[("batch_events_count", 1.0), ("batch_events_sum", 1.0)],
    );
    assert_eq!(ben.read(), ["message r 1 Hello!"]);
    assert_eq!(cyd.read(), [""; 0]);
}

#[test]
fn bytes_are_counted_when_they_are_written() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut ann = hub.join("ann", "r");
    ann.socket.block();
    ann.say("r", &kib());
    hub.settle();
    let taken = ann.socket.bytes() as f64;
    assert_eq!(hub.metrics()["parlor_sent_bytes_total"], taken);
    let [.., waiting] = gauges(&hub);
    assert!(waiting > 1000.0, "{waiting}");

    ann.socket.take(100);
    hub.settle();
    let metrics = hub.metrics();
    assert_eq!(metrics["parlor_sent_bytes_total"], taken + 100.0);
    assert_eq!(metrics["parlor_outbox_bytes"], waiting - 100.0);
    ann.socket.flow();
    hub.settle();
    let metrics = hub.metrics();
    assert_eq!(metrics["parlor_sent_bytes_total"], taken + waiting);
    assert_eq!(metrics["parlor_outbox_bytes"], 0.0);

    ann.connection().count_received(42);
    assert_eq!(hub.metrics()["parlor_received_bytes_total"], 42.0);
}

#[test]
fn ends_are_counted_by_their_reason() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut clients: Vec<_> = (0..5).map(|n| hub.join(&format!("n{n}"), "r")).collect();
    let mut seen = Observer::new(&hub);
    // By themselves, in one way or the other.
    clients[0].end(None);
    clients[1].socket.fail();
    // By the server, in its task or in the hub.
    clients[2].end(Some(CloseReason::NoPong));
    clients[3].cancel();
    let slow = &mut clients[4];
    slow.socket.block();
    for _ in 0..100 {
        slow.say("r", &kib());
    }
    hub.settle();
    let closed: Vec<_> = seen
        .changes(&hub)
        .into_iter()
        .filter(|(name, _)| name.starts_with("closed"))
        .collect();
    let of = |reason: &str| format!("closed_connections_total{{reason=\"{reason}\"}}");
    assert_eq!(
        closed,
        [
            (of("gone"), 2.0),
            (of("internal"), 1.0),
            (of("no_pong"), 1.0),
            (of("slow"), 1.0),
        ]
    );
    assert_eq!(gauges(&hub)[..3], [0.0; 3]);
    // The other one's task learns of it, which is not another end.
    clients[1].end(None);
    hub.settle();
    let again = seen.changes(&hub);
    assert!(
        !again.iter().any(|(name, _)| name.starts_with("closed")),
        "{again:?}"
    );
}

#[test]
fn a_store_that_fails_and_a_hub_that_panics_are_counted() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut ann = hub.join("ann", "r");
    let mut seen = Observer::new(&hub);
    store.script().appends.push_back(Outcome::Fails);
    ann.say("r", "lost");
    hub.settle();
    seen.expect(
        &hub,
        &[
            ("batch_events_count", 1.0),
            ("batch_events_sum", 1.0),
            ("events_total{kind=\"message\"}", 1.0),
        ],
    );
    hub.answer_one();
    seen.expect(
        &hub,
        &[
            ("closed_connections_total{reason=\"restart\"}", 1.0),
            ("commit_seconds_count", 1.0),
            ("events_total{kind=\"store_failed\"}", 1.0),
            ("store_failures_total", 1.0),
        ],
    );
    hub.wait(1000);
    hub.answer_all();
    seen.expect(&hub, &[("events_total{kind=\"store_recovered\"}", 1.0)]);

    let mut ben = hub.connect();
    let cyd = hub.connect();
    seen.changes(&hub);
    ben.socket.panic();
    ben.send(PING);
    hub.settle();
    hub.answer_all();
    let changes = seen.changes(&hub);
    for expected in [
        ("closed_connections_total{reason=\"internal\"}", 1.0),
        ("closed_connections_total{reason=\"restart\"}", 1.0),
        ("restarts_total", 1.0),
    ] {
        let (name, change) = expected;
        assert!(
            changes.contains(&(name.into(), change)),
            "{expected:?}: {changes:?}"
        );
    }
    assert_eq!(cyd.read(), ["close 1012"]);
}

#[test]
fn the_limits_are_told() {
    let limits = Limits {
        connections: 17,
        outbox_total_bytes: 18 << 20,
        ..Limits::default()
    };
    let hub = DrivenHub::in_memory(&limits);
    let bytes = hub.metrics()["parlor_outbox_limit_bytes"];
    assert_eq!(bytes, f64::from(18 << 20));
    assert_eq!(hub.metrics()["parlor_connections_limit"], 17.0);
}
