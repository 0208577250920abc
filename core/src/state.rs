//! The state machine. Every transition of [`State`] is in this file; the modules it rests on each
//! own a part of the state and keep its invariants: [`presence`](crate::presence),
//! [`log`](crate::log), [`rate`](crate::rate).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::check::{Invariant, Violation, ensure};
use crate::encode::{encode, frame_bytes};
use crate::entry::Entry;
use crate::error::{Cause, CloseReason, ErrorCode};
use crate::event::{
    Change, Effect, Event, Fetch, Identity, Input, Publication, Published, Recipients,
};
use crate::limits::Limits;
use crate::log::{Log, Page, StoredLog, newest};
use crate::presence::{Exit, Join, Presence, Waiting};
use crate::protocol::{
    Delivery, ErrorMessage, Hello, History, Joined, Left, PROTOCOL, Pong, Refusal, Request,
    RequestKind, RoomInfo, RoomList, SERVER, ServerMessage, Typing, UserJoined, UserLeft, UserList,
};
use crate::rate::Rate;
use crate::redact::Redact;
use crate::types::{
    ClientMsgId, ConnId, LoadId, MessageText, PublicationId, Ref, ResumeToken, RoomId, Seq,
    Timestamp, Username,
};

/// At a shutdown the first connection may come back after this time, ms: a restart takes about it.
const FIRST_RETRY_MS: u64 = 1000;
/// Every further connection comes back this much later, ms: a thousand a second, which leaves most
/// of a core to those who are there already.
const RETRY_STEP_MS: u64 = 1;

/// A whole chat server as one plain value.
///
/// ```text
/// (State, Event) -> (State, Vec<Effect>)
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    limits: Limits,
    /// The latest time that came in.
    now: Timestamp,
    presence: Presence,
    /// The log of every open room.
    logs: BTreeMap<RoomId, Log>,
    next_load: LoadId,
    store_available: bool,
    shutting_down: bool,
}

/// The same as [`State::apply`], by value: for tests, replay and model checking.
#[must_use]
pub fn step(mut state: State, event: Event) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    state.apply(event, &mut effects);
    (state, effects)
}

/// A request of a connection on its way to its answer.
struct Asked {
    conn: ConnId,
    reference: Option<Ref>,
}

/// Why a request is refused, and when to try again.
struct Refused {
    code: ErrorCode,
    retry_after_ms: Option<u64>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            retry_after_ms: None,
        }
    }
}

impl State {
    /// A server on which nobody is connected and no room is open. Limits out of range are moved
    /// into it, see [`Limits::clamped`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.clamped(),
            now: Timestamp::default(),
            presence: Presence::default(),
            logs: BTreeMap::new(),
            next_load: LoadId::default(),
            store_available: true,
            shutting_down: false,
        }
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.presence.connection_count()
    }

    /// How many rooms are open or loading.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.presence.room_count()
    }

    /// How many members all rooms have together; a connection is one in each of its rooms.
    #[must_use]
    pub const fn member_count(&self) -> usize {
        self.presence.member_count()
    }

    /// The rooms that are open, by their ids.
    pub fn open_rooms(&self) -> impl Iterator<Item = RoomInfo> {
        self.logs.keys().map(|room| self.room_info(room))
    }

    /// The users of a room, in order of joining.
    pub fn users(&self, room: &RoomId) -> impl Iterator<Item = &Username> {
        self.presence.users(room)
    }

    /// The connections of the user with this name, however it is spelled.
    pub fn connections_of(&self, name: &Username) -> impl Iterator<Item = ConnId> {
        self.presence.connections_of(name)
    }

    /// Whether a join of `conn` waits for its room. Until it does not, a driver hands over nothing
    /// more of that connection (T-8).
    #[must_use]
    pub fn is_waiting(&self, conn: ConnId) -> bool {
        self.presence
            .connection(conn)
            .is_some_and(|connection| connection.is_waiting())
    }

    /// Replaces its secrets, for a trace that is to go on from here.
    pub fn redact(&mut self, by: &impl Redact) {
        self.logs.values_mut().for_each(|log| log.redact(by));
        self.presence.redact(by);
    }

    /// Applies one event and appends what is to be done, in order. Total: it neither fails nor
    /// panics, whatever comes; what makes no sense changes nothing.
    pub fn apply(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let now = self.now.max(event.at);
        if self.changes(&event.input) {
            self.now = now; // I-1
        }
        match event.input {
            Input::Connected { conn, resume_token } => self.connected(conn, resume_token, effects),
            Input::Identified { conn, identity } => self.identified(conn, identity, effects),
            Input::Received { conn, request } => self.received(conn, request, now, effects),
            Input::Refused { conn, refusal } => {
                if self.presence.connection(conn).is_some() {
                    effects.push(error(conn, refusal));
                }
            }
            Input::Disconnected { conn, cause } => self.remove(conn, cause, effects),
            Input::Published { room, publication } => {
                self.published(room, publication, now, effects);
            }
            Input::RoomLoaded { room, load, log } => self.room_loaded(room, load, log, effects),
            Input::LoadFailed { room, load } => self.load_failed(&room, load, effects),
            Input::PageFetched { fetch, page } => self.page_fetched(fetch, page, now, effects),
            Input::FetchFailed { fetch } => self.fetch_failed(fetch, effects),
            Input::StoreFailed => self.store_available = false,
            Input::StoreRecovered => self.store_available = true,
            Input::Shutdown => self.shutdown(effects),
        }
    }

    /// Whether an input may change the state; what only asks does not, the clock included (D-5).
    fn changes(&self, input: &Input) -> bool {
        match input {
            Input::Received { conn, request } => match request.kind {
                RequestKind::Hello { .. }
                | RequestKind::Join { .. }
                | RequestKind::Leave { .. }
                | RequestKind::Message { .. } => self.presence.connection(*conn).is_some(),
                RequestKind::Typing { .. }
                | RequestKind::ListRooms { .. }
                | RequestKind::ListUsers { .. }
                | RequestKind::GetHistory { .. }
                | RequestKind::Ping => false,
            },
            Input::Refused { .. } | Input::PageFetched { .. } | Input::FetchFailed { .. } => false,
            Input::Connected { .. }
            | Input::Identified { .. }
            | Input::Disconnected { .. }
            | Input::Published { .. }
            | Input::RoomLoaded { .. }
            | Input::LoadFailed { .. }
            | Input::StoreFailed
            | Input::StoreRecovered
            | Input::Shutdown => true,
        }
    }

    // Connections come, are identified, and go.

    fn connected(&mut self, conn: ConnId, resume_token: ResumeToken, effects: &mut Vec<Effect>) {
        if self.shutting_down {
            effects.push(Effect::Close {
                conn,
                reason: CloseReason::GoingAway,
            });
        } else {
            self.presence.connect(conn, resume_token);
        }
    }

    fn identified(&mut self, conn: ConnId, identity: Identity, effects: &mut Vec<Effect>) {
        if !self.limits.token_required {
            return;
        }
        self.presence.identify(conn, identity);
        let Some(connection) = self.presence.connection(conn) else {
            return;
        };
        let forbidden = |rooms: &BTreeSet<RoomId>| -> Vec<RoomId> {
            let rooms = rooms.iter().filter(|room| !connection.may_enter(room));
            rooms.cloned().collect()
        };
        let (awaited, lost) = (
            forbidden(connection.waiting()),
            forbidden(connection.rooms()),
        );
        for room in lost {
            self.exit(conn, &room, Cause::Forbidden, effects);
            let reason = Some(Cause::Forbidden);
            let left = Left {
                room_id: room,
                reason,
                reference: None,
            };
            effects.push(send(conn, ServerMessage::Left(left)));
        }
        for room in awaited {
            if let Some(Join { reference, .. }) = self.presence.stop_waiting(conn, &room) {
                let asked = Asked { conn, reference };
                effects.push(refuse(asked, ErrorCode::Forbidden, Some(room), None));
            }
        }
    }

    /// Takes a connection out of every room and forgets it. Later events of its id mean nothing.
    fn remove(&mut self, conn: ConnId, cause: Cause, effects: &mut Vec<Effect>) {
        let Some(connection) = self.presence.connection(conn) else {
            return;
        };
        for room in connection.rooms().clone() {
            self.exit(conn, &room, cause, effects);
        }
        self.presence.forget(conn);
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close { conn, reason });
        self.remove(conn, reason.cause(), effects);
    }

    fn shutdown(&mut self, effects: &mut Vec<Effect>) {
        self.shutting_down = true;
        for (rank, conn) in (0..).zip(self.presence.connection_ids()) {
            let mut refusal = Refusal::new(ErrorCode::ServerShutdown);
            refusal.retry_after_ms = Some(FIRST_RETRY_MS + rank * RETRY_STEP_MS);
            effects.push(error(conn, refusal));
            effects.push(Effect::Close {
                conn,
                reason: CloseReason::GoingAway,
            });
        }
        for publication in self.presence.publications() {
            effects.push(answer(publication.id, Err(ErrorCode::ServerShutdown)));
        }
        // Everybody goes at once, so nobody is told that somebody left.
        effects.push(Effect::Tell(Change::AllLeft));
        self.presence = Presence::default();
        self.logs.clear();
    }

    // Requests.

    fn received(
        &mut self,
        conn: ConnId,
        request: Request,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(connection) = self.presence.connection(conn) else {
            return;
        };
        let identified = connection.has_user() || !self.limits.token_required;
        let Request { reference, kind } = request;
        let asked = Asked {
            conn,
            reference: reference.clone(),
        };
        let room = kind.room().cloned();
        let client_msg_id = kind.client_msg_id().cloned();
        let answered: Result<(), Refused> = match kind {
            RequestKind::Hello {
                protocol,
                resume_token,
            } => {
                self.hello(asked, protocol, resume_token, now, effects);
                Ok(())
            }
            RequestKind::Ping => {
                let pong = Pong {
                    time: now,
                    reference: asked.reference,
                };
                effects.push(send(conn, ServerMessage::Pong(pong)));
                Ok(())
            }
            RequestKind::Join { .. }
            | RequestKind::Leave { .. }
            | RequestKind::Message { .. }
            | RequestKind::Typing { .. }
            | RequestKind::ListRooms { .. }
            | RequestKind::ListUsers { .. }
            | RequestKind::GetHistory { .. }
                if !identified =>
            {
                Err(ErrorCode::NotIdentified.into())
            }
            RequestKind::Join {
                room,
                username,
                since,
                history,
            } => {
                let history = history
                    .unwrap_or(self.limits.replay)
                    .min(self.limits.history_page);
                let join = Join {
                    conn,
                    since,
                    history,
                    reference: asked.reference,
                };
                self.join(room, username, join, effects)
                    .map_err(Refused::from)
            }
            RequestKind::Leave { room } => self.leave(room, asked, effects).map_err(Refused::from),
            RequestKind::Message {
                room,
                text,
                client_msg_id,
            } => {
                let said = Said {
                    text,
                    client_msg_id,
                };
                self.message(room, asked, said, now, effects)
            }
            RequestKind::Typing { room, active } => self
                .typing(room, conn, active, effects)
                .map_err(Refused::from),
            RequestKind::ListRooms { after } => {
                self.list_rooms(after.as_ref(), asked, effects);
                Ok(())
            }
            RequestKind::ListUsers { room } => {
                self.list_users(room, asked, effects).map_err(Refused::from)
            }
            RequestKind::GetHistory {
                room,
                limit,
                before,
            } => {
                let limit = limit
                    .unwrap_or(self.limits.replay)
                    .clamp(1, self.limits.history_page);
                self.get_history(room, asked, limit, before, now, effects)
                    .map_err(Refused::from)
            }
        };
        if let Err(refused) = answered {
            let asked = Asked { conn, reference };
            effects.push(refuse(asked, refused, room, client_msg_id));
        }
    }

    fn hello(
        &mut self,
        asked: Asked,
        protocol: u64,
        resume_token: Option<ResumeToken>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Asked { conn, .. } = asked;
        let Some(connection) = self.presence.connection(conn) else {
            return;
        };
        let with_tokens = self.limits.token_required;
        if protocol != PROTOCOL {
            effects.push(refuse(asked, ErrorCode::UnsupportedProtocol, None, None));
            return self.close(conn, CloseReason::UnsupportedProtocol, effects);
        }
        if with_tokens && (connection.is_rejected() || !connection.has_user()) {
            effects.push(refuse(asked, ErrorCode::Unauthorized, None, None));
            return self.close(conn, CloseReason::Unauthorized, effects);
        }
        if !with_tokens && let Some(token) = resume_token {
            if connection.has_user() {
                return effects.push(refuse(asked, ErrorCode::InvalidField, None, None));
            }
            self.presence.resume(conn, token);
        }
        let hello = Hello {
            protocol: PROTOCOL,
            server: SERVER,
            resume_token: self.presence.guest_token(conn).filter(|_| !with_tokens),
            username: self.presence.username(conn).cloned(),
            time: now,
            ping_interval_ms: self.limits.ping_interval_ms,
            limits: self.limits.announced(),
            reference: asked.reference,
        };
        effects.push(send(conn, ServerMessage::Hello(hello)));
    }

    // Rooms: absent -> loading -> open -> absent.

    fn join(
        &mut self,
        room: RoomId,
        username: Option<Username>,
        join: Join,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let conn = join.conn;
        let Some(connection) = self.presence.connection(conn) else {
            return Ok(());
        };
        let new_name = match (self.presence.username(conn), username) {
            (None, None) => return Err(ErrorCode::InvalidUsername),
            (Some(_), None) => None,
            (Some(name), Some(other)) if name.key() == other.key() => None,
            (Some(_), Some(_)) => return Err(ErrorCode::UsernameMismatch),
            (None, Some(name)) if self.presence.is_taken(&name) => {
                return Err(ErrorCode::UsernameTaken);
            }
            (None, Some(name)) => Some(name),
        };
        if !connection.may_enter(&room) {
            return Err(ErrorCode::Forbidden);
        }
        if connection.is_in(&room) {
            if join.since.is_none() {
                return Err(ErrorCode::AlreadyInRoom);
            }
            self.answer_join(&room, join, effects);
            return Ok(());
        }
        if connection.waits_for(&room) {
            return Err(ErrorCode::AlreadyInRoom);
        }
        if connection.room_count() >= self.limits.rooms_per_connection as usize {
            return Err(ErrorCode::TooManyRooms);
        }
        let present = self.presence.room(&room);
        match present {
            Some(present) if present.headcount() >= self.limits.members_per_room as usize => {
                return Err(ErrorCode::RoomFull);
            }
            Some(_) => {}
            None => self.require_loadable()?,
        }
        // Accepted: from here on the name is fixed.
        let loading = present.map(|present| present.loading());
        if let Some(name) = new_name {
            self.presence.begin_guest(conn, name);
        }
        match loading {
            Some(None) => self.enter(&room, join, effects),
            Some(Some(load)) => self.presence.wait(&room, load, join),
            None => {
                let load = self.begin_load(&room, effects);
                self.presence.wait(&room, load, join);
            }
        }
        Ok(())
    }

    /// Whether a room that is absent may be loaded.
    fn require_loadable(&self) -> Result<(), ErrorCode> {
        if self.presence.room_count() >= self.limits.open_rooms as usize {
            return Err(ErrorCode::ServerFull);
        }
        self.require_store()
    }

    /// Begins to load a room, for which something is about to wait.
    fn begin_load(&mut self, room: &RoomId, effects: &mut Vec<Effect>) -> LoadId {
        let load = self.next_load;
        self.next_load = LoadId(load.0.saturating_add(1));
        let room = room.clone();
        effects.push(Effect::LoadRoom { room, load });
        load
    }

    /// Ends the load that `room` waits for; none if it waits for no such load.
    fn end_load(&mut self, room: &RoomId, load: LoadId) -> Option<Waiting> {
        let expected = self.presence.room(room)?.loading() == Some(load);
        expected.then(|| self.presence.end_wait(room))
    }

    fn room_loaded(
        &mut self,
        room: RoomId,
        load: LoadId,
        log: StoredLog,
        effects: &mut Vec<Effect>,
    ) {
        let Some(waiting) = self.end_load(&room, load) else {
            if self.presence.room(&room).is_none() {
                // Whoever waited is gone, so the store may forget it again.
                effects.push(Effect::ReleaseRoom { room });
            }
            return;
        };
        let log = Log::open(&room, log, &self.limits);
        self.logs.insert(room.clone(), log);
        for join in waiting.joins {
            self.enter(&room, join, effects);
        }
        for publication in waiting.publications {
            self.publish(&room, publication, Retry::HasItsId, self.now, effects);
        }
        if self.presence.room(&room).is_none() {
            // I-3: it was loaded for the application alone.
            self.logs.remove(&room);
            effects.push(Effect::ReleaseRoom { room });
        }
    }

    fn load_failed(&mut self, room: &RoomId, load: LoadId, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.end_load(room, load) else {
            return;
        };
        let code = ErrorCode::StoreUnavailable;
        let joins = waiting.joins.into_iter().map(|join| {
            let (conn, reference) = (join.conn, join.reference);
            refuse(Asked { conn, reference }, code, Some(room.clone()), None)
        });
        effects.extend(joins);
        let publications = waiting.publications.iter();
        effects.extend(publications.map(|publication| answer(publication.id, Err(code))));
    }

    fn enter(&mut self, room: &RoomId, join: Join, effects: &mut Vec<Effect>) {
        let conn = join.conn;
        let first_of_user = self.presence.enter(conn, room);
        if first_of_user && let Some(username) = self.presence.username(conn).cloned() {
            effects.push(Effect::Tell(Change::Joined {
                room: room.clone(),
                username: username.clone(),
            }));
            let joined = UserJoined {
                room_id: room.clone(),
                username,
            };
            self.broadcast(room, Some(conn), ServerMessage::UserJoined(joined), effects);
        }
        self.answer_join(room, join, effects);
    }

    /// `joined` and the history behind it, together within the bound of an answer (T-10).
    fn answer_join(&self, room: &RoomId, join: Join, effects: &mut Vec<Effect>) {
        let Some(log) = self.logs.get(room) else {
            return;
        };
        let conn = join.conn;
        let (users, users_bytes) = self.listed_users(room, Some(conn));
        let mut joined = Joined {
            room_id: room.clone(),
            users: Vec::new(),
            user_count: self.user_count(room),
            epoch: log.epoch().clone(),
            seq: log.last_seq(),
            recovered: false,
            history: u32::MAX,
            reference: join.reference,
        };
        let budget = self.budget_behind(&ServerMessage::Joined(joined.clone()), users_bytes);
        joined.users = users;
        let oldest = self.limits.oldest_shown(self.now);
        let since = join.since.as_ref();
        let recovered = since.and_then(|since| log.recover(room, since, oldest, budget));
        joined.recovered = recovered.is_some();
        let entries = recovered.unwrap_or_else(|| log.last(room, join.history, oldest, budget));
        joined.history = count(entries.len());
        effects.push(send(conn, ServerMessage::Joined(joined)));
        let name = self.presence.username(conn);
        for entry in entries {
            let delivery = Delivery::replayed(room.clone(), entry, name);
            effects.push(send(conn, ServerMessage::Message(delivery)));
        }
    }

    fn leave(
        &mut self,
        room: RoomId,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let Asked { conn, reference } = asked;
        self.require_member(conn, &room)?;
        self.exit(conn, &room, Cause::Left, effects);
        let left = Left {
            room_id: room,
            reason: None,
            reference,
        };
        effects.push(send(conn, ServerMessage::Left(left)));
        Ok(())
    }

    /// Ends a membership and tells those who stay; the last one takes the room along, not its log.
    fn exit(&mut self, conn: ConnId, room: &RoomId, cause: Cause, effects: &mut Vec<Effect>) {
        let username = self.presence.username(conn).cloned();
        let Some(Exit {
            last_of_user,
            emptied,
        }) = self.presence.exit(conn, room)
        else {
            return;
        };
        if last_of_user && let Some(username) = username {
            effects.push(Effect::Tell(Change::Left {
                room: room.clone(),
                username: username.clone(),
                cause,
            }));
            let left = UserLeft {
                room_id: room.clone(),
                username,
                reason: cause,
            };
            self.broadcast(room, None, ServerMessage::UserLeft(left), effects);
        }
        if emptied {
            self.logs.remove(room);
            effects.push(Effect::ReleaseRoom { room: room.clone() });
        }
    }

    // Messages and history.

    fn message(
        &mut self,
        room: RoomId,
        asked: Asked,
        said: Said,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let Asked { conn, reference } = asked;
        self.require_member(conn, &room)?;
        let Some(from) = self.presence.username(conn).cloned() else {
            return Ok(());
        };
        let Some(log) = self.logs.get(&room) else {
            return Ok(());
        };
        let acknowledge = |entry, duplicate| {
            let room = room.clone();
            let own = Delivery {
                room,
                entry,
                own: true,
                duplicate,
                reference: reference.clone(),
            };
            send(conn, ServerMessage::Message(own))
        };
        if let Some(original) = original(log, &from, &said, Retry::HasItsText)? {
            effects.push(acknowledge(original, true));
            return Ok(());
        }
        self.require_store()?;
        let rate = Rate {
            per_second: self.limits.messages_per_second,
            burst: self.limits.burst,
        };
        if let Some(connection) = self.presence.connection_mut(conn) {
            connection
                .messages
                .take(rate, now)
                .map_err(|retry_after_ms| Refused {
                    code: ErrorCode::RateLimited,
                    retry_after_ms: Some(retry_after_ms),
                })?;
        }
        let acknowledged = said.client_msg_id.is_some() || reference.is_some();
        let except = acknowledged.then_some(conn);
        let entry = self.say(&room, from, said, except, now, effects);
        if acknowledged && let Some(entry) = entry {
            effects.push(acknowledge(entry, false));
        }
        Ok(())
    }

    /// Adds to the log of an open room, and tells everybody in it but one.
    fn say(
        &mut self,
        room: &RoomId,
        from: Username,
        said: Said,
        except: Option<ConnId>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Option<Arc<Entry>> {
        let log = self.logs.get_mut(room)?;
        let Said {
            text,
            client_msg_id,
        } = said;
        let entry = log.append(room, now, from, text, client_msg_id, &self.limits);
        effects.push(Effect::Append {
            room: room.clone(),
            epoch: log.epoch().clone(),
            entry: entry.clone(),
        });
        let shared = ServerMessage::Message(Delivery::plain(room.clone(), entry.clone()));
        self.broadcast(room, except, shared, effects);
        Some(entry)
    }

    // Publications: what the application says.

    fn published(
        &mut self,
        room: RoomId,
        publication: Publication,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let loading = self.presence.room(&room).map(|present| present.loading());
        if loading == Some(None) {
            return self.publish(&room, publication, Retry::HasItsText, now, effects);
        }
        if let Err(code) = self.require_place(&room) {
            return effects.push(answer(publication.id, Err(code)));
        }
        let load = loading.flatten();
        let load = load.unwrap_or_else(|| self.begin_load(&room, effects));
        self.presence.wait_to_publish(&room, load, publication);
    }

    /// Whether one more publication may wait for a room that is not open. As many may as its tail
    /// will have entries: a room takes no more memory while it loads, and a retry that waits with
    /// what it repeats finds it in the tail.
    fn require_place(&self, room: &RoomId) -> Result<(), ErrorCode> {
        let most = self.limits.tail_entries as usize;
        match self.presence.room(room) {
            _ if self.shutting_down => Err(ErrorCode::ServerShutdown),
            Some(present) if present.publication_count() >= most => Err(ErrorCode::RateLimited),
            Some(_) => Ok(()),
            None => self.require_loadable(),
        }
    }

    /// Says in an open room what the application wants said there. There is no flood control: the
    /// application is trusted not to flood its own rooms.
    fn publish(
        &mut self,
        room: &RoomId,
        publication: Publication,
        retry: Retry,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Publication {
            id,
            from,
            text,
            client_msg_id,
        } = publication;
        let said = Said {
            text,
            client_msg_id,
        };
        let Some(log) = self.logs.get(room) else {
            return;
        };
        let epoch = log.epoch().clone();
        let outcome = match original(log, &from, &said, retry) {
            Err(code) => Err(code),
            Ok(Some(original)) => Ok(Published {
                epoch,
                seq: original.seq,
                duplicate: true,
            }),
            Ok(None) if !self.store_available => Err(ErrorCode::StoreUnavailable),
            Ok(None) => {
                let Some(entry) = self.say(room, from, said, None, now, effects) else {
                    return;
                };
                Ok(Published {
                    epoch,
                    seq: entry.seq,
                    duplicate: false,
                })
            }
        };
        effects.push(answer(id, outcome));
    }

    fn typing(
        &mut self,
        room: RoomId,
        conn: ConnId,
        active: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.require_member(conn, &room)?;
        let Some(username) = self.presence.username(conn).cloned() else {
            return Ok(());
        };
        let typing = Typing {
            room_id: room.clone(),
            username,
            active,
        };
        self.broadcast(&room, Some(conn), ServerMessage::Typing(typing), effects);
        Ok(())
    }

    fn get_history(
        &self,
        room: RoomId,
        asked: Asked,
        limit: u32,
        before: Option<Seq>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let Asked { conn, reference } = asked;
        self.require_member(conn, &room)?;
        let Some(log) = self.logs.get(&room) else {
            return Ok(());
        };
        let end = log.last_seq().next();
        let before = before.map_or(end, |before| before.min(end));
        let epoch = log.epoch().clone();
        let fetch = Fetch {
            conn,
            room,
            epoch,
            before,
            limit,
            reference,
        };
        match log.page(before, limit, self.limits.oldest_shown(now)) {
            Some(page) => self.answer_page(fetch, page, effects),
            None => effects.push(Effect::FetchPage(Fetch {
                limit: limit.saturating_add(1),
                ..fetch
            })),
        }
        Ok(())
    }

    fn page_fetched(
        &self,
        mut fetch: Fetch,
        mut page: Page,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let same_epoch = self
            .logs
            .get(&fetch.room)
            .is_some_and(|log| *log.epoch() == fetch.epoch);
        if self.require_member(fetch.conn, &fetch.room).is_ok() && same_epoch {
            page.drop_older(self.limits.oldest_shown(now));
            fetch.limit = fetch.limit.saturating_sub(1);
            self.answer_page(fetch, page, effects);
        } else {
            self.fetch_failed(fetch, effects);
        }
    }

    fn fetch_failed(&self, fetch: Fetch, effects: &mut Vec<Effect>) {
        let Fetch {
            conn,
            room,
            reference,
            ..
        } = fetch;
        if self.presence.connection(conn).is_none() {
            return;
        }
        // T-1: nothing of a room that was left in the meantime.
        let code = self
            .require_member(conn, &room)
            .err()
            .unwrap_or(ErrorCode::HistoryFetchFailed);
        effects.push(refuse(Asked { conn, reference }, code, Some(room), None));
    }

    /// The messages of a page and the `history` behind them, together within the bound of an
    /// answer (T-10).
    fn answer_page(&self, fetch: Fetch, page: Page, effects: &mut Vec<Effect>) {
        let Fetch {
            conn,
            room,
            epoch,
            limit,
            reference,
            ..
        } = fetch;
        let mut history = History {
            room_id: room.clone(),
            epoch,
            count: u32::MAX,
            has_more: false,
            reference,
        };
        let budget = self.budget_behind(&ServerMessage::History(history.clone()), 0);
        let entries = newest(&room, page.entries.iter(), limit as usize, budget);
        history.has_more = page.has_more || entries.len() < page.entries.len();
        history.count = count(entries.len());
        for entry in entries {
            let delivery = Delivery::plain(room.clone(), entry);
            effects.push(send(conn, ServerMessage::Message(delivery)));
        }
        effects.push(send(conn, ServerMessage::History(history)));
    }

    // Lists.

    fn list_rooms(&self, after: Option<&RoomId>, asked: Asked, effects: &mut Vec<Effect>) {
        let Asked { conn, reference } = asked;
        let Some(connection) = self.presence.connection(conn) else {
            return;
        };
        let visible = |room: &&RoomId| connection.may_enter(room);
        let room_count = if connection.is_limited() {
            self.logs.keys().filter(visible).count()
        } else {
            self.logs.len()
        };
        let mut list = RoomList {
            rooms: Vec::new(),
            room_count: count(room_count),
            reference,
        };
        let mut budget = self.budget_behind(&ServerMessage::RoomList(list.clone()), 0);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.logs.range::<RoomId, _>((start, Bound::Unbounded));
        let behind = behind.map(|(room, _)| room).filter(visible);
        for id in behind.take(self.limits.listed_rooms as usize) {
            let bytes = id.escaped_bytes() + r#"{"id":"","userCount":4294967295},"#.len();
            let Some(rest) = budget.checked_sub(bytes) else {
                break;
            };
            budget = rest;
            list.rooms.push(self.room_info(id));
        }
        effects.push(send(conn, ServerMessage::RoomList(list)));
    }

    fn list_users(
        &self,
        room: RoomId,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let Asked { conn, reference } = asked;
        let Some(connection) = self.presence.connection(conn) else {
            return Ok(());
        };
        if !connection.may_enter(&room) {
            return Err(ErrorCode::Forbidden);
        }
        let (users, _) = self.listed_users(&room, None);
        let user_count = self.user_count(&room);
        let list = UserList {
            room_id: room,
            users,
            user_count,
            reference,
        };
        effects.push(send(conn, ServerMessage::UserList(list)));
        Ok(())
    }

    /// The users of a room in order of joining, as many as a list may name, and the bytes that they
    /// take between its brackets; `oneself` is always among them. They take at most half of an
    /// answer, so that the rest of it has room.
    fn listed_users(&self, room: &RoomId, oneself: Option<ConnId>) -> (Vec<Username>, usize) {
        let item = |user: &Username| user.escaped_bytes() + r#""","#.len();
        let most = self.limits.listed_users as usize;
        let most_bytes = self.limits.answer_bytes as usize / 2;
        let (mut users, mut bytes): (Vec<Username>, usize) = (Vec::new(), 0);
        let mut all = self.presence.users(room);
        for user in all.by_ref().take(most) {
            if bytes + item(user) > most_bytes {
                break;
            }
            bytes += item(user);
            users.push(user.clone());
        }
        let all_listed = users.len() == self.user_count(room) as usize;
        if let Some(own) = oneself.and_then(|conn| self.presence.username(conn))
            && !all_listed
            && !users.contains(own)
        {
            for left_out in users.drain(most.saturating_sub(1).min(users.len())..) {
                bytes -= item(&left_out);
            }
            bytes += item(own);
            users.push(own.clone());
        }
        // No comma stands behind the last.
        (users, bytes.saturating_sub(1))
    }

    // Helpers.

    fn room_info(&self, room: &RoomId) -> RoomInfo {
        RoomInfo {
            id: room.clone(),
            user_count: self.user_count(room),
        }
    }

    fn user_count(&self, room: &RoomId) -> u32 {
        let present = self.presence.room(room);
        present.map_or(0, |present| present.user_count())
    }

    const fn require_store(&self) -> Result<(), ErrorCode> {
        if self.store_available {
            Ok(())
        } else {
            Err(ErrorCode::StoreUnavailable)
        }
    }

    fn require_member(&self, conn: ConnId, room: &RoomId) -> Result<(), ErrorCode> {
        let member = self
            .presence
            .connection(conn)
            .is_some_and(|found| found.is_in(room));
        if member {
            Ok(())
        } else {
            Err(ErrorCode::NotInRoom)
        }
    }

    /// Sends to every member but one, unless there is nobody else (T-9).
    fn broadcast(
        &mut self,
        room: &RoomId,
        except: Option<ConnId>,
        message: ServerMessage,
        effects: &mut Vec<Effect>,
    ) {
        let Some(members) = self.presence.members(room) else {
            return;
        };
        if members.iter().any(|&member| Some(member) != except) {
            effects.push(Effect::Send {
                to: Recipients::Room { members, except },
                message,
            });
        }
    }

    /// The bytes that an answer has left besides this message, which is to be `growth` bytes longer.
    fn budget_behind(&self, message: &ServerMessage, growth: usize) -> usize {
        let taken = frame_bytes(encode(message).len() + growth);
        (self.limits.answer_bytes as usize).saturating_sub(taken)
    }

    /// Checks every invariant of a single state, by number.
    ///
    /// # Errors
    /// The first one found broken. Never for a state that [`State::apply`] made.
    pub fn check(&self) -> Result<(), Violation> {
        self.presence.check(&self.limits)?;
        let open = |room: &RoomId| {
            self.presence
                .room(room)
                .is_some_and(|present| present.member_count() > 0)
        };
        for (room, log) in &self.logs {
            ensure(open(room), Invariant::Rooms, || {
                format!("{room} has a log and no member")
            })?;
            log.check(room, &self.limits)?;
        }
        let loading = |room: &RoomId| {
            self.presence
                .room(room)
                .and_then(|present| present.loading())
        };
        for room in self.presence.room_ids() {
            let known = loading(room).is_some() || self.logs.contains_key(room);
            ensure(known, Invariant::Rooms, || {
                format!("{room} is open and has no log")
            })?;
            ensure(
                loading(room).is_none_or(|load| load < self.next_load),
                Invariant::Rooms,
                || format!("{room} waits for a load that was never asked for"),
            )?;
        }
        Ok(())
    }
}

/// What a `message` says.
struct Said {
    text: MessageText,
    client_msg_id: Option<ClientMsgId>,
}

/// How a retry is told from something else under the same id.
#[derive(Clone, Copy)]
enum Retry {
    /// It has the text of what it repeats.
    HasItsText,
    /// Not at all, since the room was not there to tell when it came: traces have no texts, and let
    /// only those be told apart that are compared as they come (D-6).
    HasItsId,
}

/// The entry that something said by `from` repeats, if it does.
fn original(
    log: &Log,
    from: &Username,
    said: &Said,
    retry: Retry,
) -> Result<Option<Arc<Entry>>, ErrorCode> {
    let id = said.client_msg_id.as_ref();
    let Some(original) = id.and_then(|id| log.retried(from.key(), id)) else {
        return Ok(None);
    };
    match retry {
        Retry::HasItsText if original.text != said.text => Err(ErrorCode::DuplicateId),
        Retry::HasItsText | Retry::HasItsId => Ok(Some(original.clone())),
    }
}

fn answer(publication: PublicationId, outcome: Result<Published, ErrorCode>) -> Effect {
    Effect::Answer {
        publication,
        outcome,
    }
}

fn send(conn: ConnId, message: ServerMessage) -> Effect {
    Effect::Send {
        to: Recipients::One(conn),
        message,
    }
}

fn error(conn: ConnId, refusal: Refusal) -> Effect {
    send(conn, ServerMessage::Error(ErrorMessage(refusal)))
}

fn refuse(
    asked: Asked,
    refused: impl Into<Refused>,
    room: Option<RoomId>,
    client_msg_id: Option<ClientMsgId>,
) -> Effect {
    let Asked { conn, reference } = asked;
    let Refused {
        code,
        retry_after_ms,
    } = refused.into();
    error(
        conn,
        Refusal {
            code,
            room,
            reference,
            client_msg_id,
            retry_after_ms,
        },
    )
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
