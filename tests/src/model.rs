//! The naive model: what the server should do, written for clarity alone. Plain lists and linear
//! scans, one function for each rule of the protocol, and nothing in common with the core but its
//! types, the key of a name and the estimate of a message's size.

use std::collections::BTreeSet;
use std::sync::Arc;

use parlor_core::encode::{encode, frame_bytes};
use parlor_core::event::Identity;
use parlor_core::name::NameKey;
use parlor_core::protocol::{
    Delivery, ErrorMessage, Hello, History, Joined, Left, PROTOCOL, Pong, RoomInfo, RoomList,
    SERVER, Since, Typing, UserJoined, UserLeft, UserList,
};
use parlor_core::types::{ClientMsgId, LoadId, MessageText, PublicationId, Ref, RoomPattern};
use parlor_core::{
    Cause, Change, CloseReason, ConnId, Effect, Entry, Epoch, ErrorCode, Event, Fetch, Input,
    Limits, Page, Publication, Published, Refusal, Request, RequestKind, ResumeToken, RoomId, Seq,
    ServerMessage, StoredLog, Timestamp, Username,
};
use serde::Deserialize;

/// What a connection gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A message.
    Message(ServerMessage),
    /// The end.
    Close(CloseReason),
}

/// What an event should lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What connections get, each in this order.
    pub got: Vec<(ConnId, Got)>,
    /// What the store is told, in this order.
    pub store: Vec<Effect>,
    /// What the application is told, in this order.
    pub application: Vec<Effect>,
}

#[derive(Clone, Debug)]
struct Conn {
    id: ConnId,
    token: ResumeToken,
    user: Option<u64>,
    rejected: bool,
    allowed: Option<Arc<[RoomPattern]>>,
    said_at: Vec<Timestamp>,
}

#[derive(Clone, Debug)]
struct User {
    number: u64,
    name: Username,
    /// Guests only.
    token: Option<ResumeToken>,
}

#[derive(Clone, Debug)]
struct Room {
    id: RoomId,
    phase: Phase,
    members: Vec<ConnId>,
    /// In order of joining.
    users: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Phase {
    Loading(LoadId, Vec<Waiting>),
    Open(Log),
}

#[derive(Clone, Debug)]
enum Waiting {
    Join(Join),
    Publication(Publication),
}

impl Waiting {
    fn is_of(&self, id: ConnId) -> bool {
        matches!(self, Self::Join(join) if join.conn == id)
    }
}

#[derive(Clone, Debug)]
struct Join {
    conn: ConnId,
    reference: Option<Ref>,
    since: Option<Since>,
    history: Option<u32>,
}

/// The same fields as a [`StoredLog`], which keeps its own to itself.
#[derive(Clone, Debug, Deserialize)]
struct Log {
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
    tail: Vec<Arc<Entry>>,
}

/// The whole server, naively.
#[derive(Clone, Debug)]
pub struct Model {
    limits: Limits,
    now: Timestamp,
    conns: Vec<Conn>,
    users: Vec<User>,
    rooms: Vec<Room>,
    users_so_far: u64,
    loads_so_far: u64,
    store_fails: bool,
    shut_down: bool,
    out: Expected,
    /// What happened that a test wants to have seen.
    pub situations: BTreeSet<&'static str>,
}

/// Why a request is refused, and when to try again.
struct No(ErrorCode, Option<u64>);

impl From<ErrorCode> for No {
    fn from(code: ErrorCode) -> Self {
        Self(code, None)
    }
}

impl Model {
    /// A server on which nobody is.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.clamped(),
            now: Timestamp(0),
            conns: Vec::new(),
            users: Vec::new(),
            rooms: Vec::new(),
            users_so_far: 0,
            loads_so_far: 0,
            store_fails: false,
            shut_down: false,
            out: Expected::default(),
            situations: BTreeSet::new(),
        }
    }

    /// The users of an open room, in order of joining.
    #[must_use]
    pub fn users_of(&self, room: &RoomId) -> Vec<Username> {
        let numbers = self.room(room).map_or(&[][..], |room| &room.users);
        numbers
            .iter()
            .map(|&number| self.user(number).name.clone())
            .collect()
    }

    /// The token of the guest that a connection is.
    #[must_use]
    pub fn guest_token(&self, conn: ConnId) -> Option<ResumeToken> {
        self.user_of(conn)?.token
    }

    /// Whether a room is open or loading.
    #[must_use]
    pub fn uses(&self, room: &RoomId) -> bool {
        self.room(room).is_some()
    }

    /// Whether `entry` may be shown to whoever asks at `at`.
    #[must_use]
    pub fn shows(&self, entry: &Entry, at: Timestamp) -> bool {
        !self.is_too_old(entry, self.now.max(at))
    }

    /// What `event` should lead to.
    pub fn apply(&mut self, event: &Event) -> Expected {
        let now = self.now.max(event.at);
        if !self.only_asks(&event.input) {
            self.now = now;
        }
        match event.input.clone() {
            Input::Connected { conn, resume_token } => self.connected(conn, resume_token),
            Input::Identified { conn, identity } => self.identified(conn, identity),
            Input::Received { conn, request } => {
                if self.knows(conn) {
                    self.received(conn, request, now);
                }
            }
            Input::Refused { conn, refusal } => {
                if self.knows(conn) {
                    self.send(conn, ServerMessage::Error(ErrorMessage(refusal)));
                }
            }
            Input::Disconnected { conn, cause } => self.end(conn, cause),
            Input::Published { room, publication } => self.published(&room, publication, now),
            Input::RoomLoaded { room, load, log } => self.loaded(&room, load, &log),
            Input::LoadFailed { room, load } => self.load_failed(&room, load),
            Input::PageFetched { fetch, page } => self.fetched(&fetch, Some(page), now),
            Input::FetchFailed { fetch } => self.fetched(&fetch, None, now),
            Input::StoreFailed => self.store_fails = true,
            Input::StoreRecovered => self.store_fails = false,
            Input::Shutdown => self.shutdown(),
        }
        std::mem::take(&mut self.out)
    }

    /// D-5: these change nothing, the clock included. Nor does a request of an unknown connection.
    fn only_asks(&self, input: &Input) -> bool {
        use RequestKind as K;
        if let Input::Received { conn, request } = input {
            let asks = matches!(
                request.kind,
                K::Ping
                    | K::ListRooms { .. }
                    | K::ListUsers { .. }
                    | K::GetHistory { .. }
                    | K::Typing { .. }
            );
            return asks || !self.knows(*conn);
        }
        matches!(
            input,
            Input::Refused { .. } | Input::PageFetched { .. } | Input::FetchFailed { .. }
        )
    }

    // Connections.

    fn connected(&mut self, id: ConnId, token: ResumeToken) {
        if self.shut_down {
            self.out.got.push((id, Got::Close(CloseReason::GoingAway)));
        } else if !self.knows(id) {
            self.conns.push(Conn {
                id,
                token,
                user: None,
                rejected: false,
                allowed: None,
                said_at: Vec::new(),
            });
        }
    }

    /// A name belongs to one subject at a time, and a connection to one subject for ever.
    fn identified(&mut self, id: ConnId, identity: Identity) {
        if !self.limits.token_required || !self.knows(id) {
            return;
        }
        let holder = self.holder(&identity.subject);
        let user = self.user_of(id).or(holder);
        let is_other = user.is_some_and(|user| user.name != identity.subject);
        let number = user.map(|user| user.number);
        self.conn_mut(id).rejected = is_other;
        if is_other {
            return;
        }
        let number = match number {
            Some(number) => number,
            None => self.begin_user(identity.subject, None),
        };
        let conn = self.conn_mut(id);
        conn.user = Some(number);
        conn.allowed = identity.rooms;
        for room in self.rooms_of(id) {
            if !self.may_enter(id, &room) {
                self.exit(id, &room, Cause::Forbidden);
                self.send(
                    id,
                    ServerMessage::Left(Left {
                        room_id: room,
                        reason: Some(Cause::Forbidden),
                        reference: None,
                    }),
                );
            }
        }
        // A join that waits is for a room that one may enter no more.
        for room in self.rooms_awaited_by(id) {
            if !self.may_enter(id, &room) {
                self.situations.insert("a waiting join was forbidden");
                if let Phase::Loading(_, waiting) = &mut self.room_mut(&room).phase {
                    let at = waiting.iter().position(|waiting| waiting.is_of(id));
                    if let Waiting::Join(join) = waiting.remove(at.expect("it waits there")) {
                        let asked = (id, &join.reference);
                        self.refuse(asked, ErrorCode::Forbidden.into(), Some(&room), None);
                    }
                }
                self.drop_empty_room(&room);
            }
        }
    }

    fn end(&mut self, id: ConnId, cause: Cause) {
        if !self.knows(id) {
            return;
        }
        for room in self.rooms_of(id) {
            self.exit(id, &room, cause);
        }
        for room in self.rooms_awaited_by(id) {
            if let Phase::Loading(_, waiting) = &mut self.room_mut(&room).phase {
                waiting.retain(|waiting| !waiting.is_of(id));
            }
            self.drop_empty_room(&room);
        }
        self.conns.retain(|conn| conn.id != id);
        let conns = &self.conns;
        self.users
            .retain(|user| conns.iter().any(|conn| conn.user == Some(user.number)));
    }

    fn shutdown(&mut self) {
        self.shut_down = true;
        let mut ids: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).collect();
        ids.sort();
        for (rank, &id) in (0..).zip(&ids) {
            let mut refusal = Refusal::new(ErrorCode::ServerShutdown);
            refusal.retry_after_ms = Some(1000 + rank);
            self.send(id, ServerMessage::Error(ErrorMessage(refusal)));
            self.out.got.push((id, Got::Close(CloseReason::GoingAway)));
        }
        let mut rooms = std::mem::take(&mut self.rooms);
        rooms.sort_by(|one, other| one.id.cmp(&other.id));
        for room in rooms {
            if let Phase::Loading(_, waiting) = room.phase {
                for waiting in waiting {
                    if let Waiting::Publication(publication) = waiting {
                        self.situations
                            .insert("a publication waited when the server went away");
                        self.answer(publication.id, Err(ErrorCode::ServerShutdown));
                    }
                }
            }
        }
        self.out.application.push(Effect::Tell(Change::AllLeft));
        self.conns.clear();
        self.users.clear();
    }

    // Requests.

    fn received(&mut self, conn: ConnId, request: Request, now: Timestamp) {
        let Request { reference, kind } = request;
        let asked = (conn, &reference);
        if let RequestKind::Hello {
            protocol,
            resume_token,
        } = kind
        {
            return self.hello(asked, protocol, resume_token, now);
        }
        if kind == RequestKind::Ping {
            return self.send(
                conn,
                ServerMessage::Pong(Pong {
                    time: now,
                    reference,
                }),
            );
        }
        if self.limits.token_required && self.conn(conn).user.is_none() {
            let (room, id) = (kind.room().cloned(), kind.client_msg_id().cloned());
            return self.refuse(asked, ErrorCode::NotIdentified.into(), room.as_ref(), id);
        }
        let (answer, room, id) = match kind {
            RequestKind::Join {
                room,
                username,
                since,
                history,
            } => {
                let join = Join {
                    conn,
                    reference: reference.clone(),
                    since,
                    history,
                };
                (self.join(&room, username, join), Some(room), None)
            }
            RequestKind::Leave { room } => (self.leave(asked, &room), Some(room), None),
            RequestKind::Message {
                room,
                text,
                client_msg_id: id,
            } => (self.message(asked, &room, text, &id, now), Some(room), id),
            RequestKind::Typing { room, active } => {
                (self.typing(conn, &room, active), Some(room), None)
            }
            RequestKind::ListRooms { after } => {
                self.list_rooms(asked, after.as_ref());
                (Ok(()), None, None)
            }
            RequestKind::ListUsers { room } => (self.list_users(asked, &room), Some(room), None),
            RequestKind::GetHistory {
                room,
                limit,
                before,
            } => (
                self.history(asked, &room, limit, before, now),
                Some(room),
                None,
            ),
            RequestKind::Hello { .. } | RequestKind::Ping => return,
        };
        if let Err(no) = answer {
            self.refuse(asked, no, room.as_ref(), id);
        }
    }

    fn hello(
        &mut self,
        asked: (ConnId, &Option<Ref>),
        protocol: u64,
        resume_token: Option<ResumeToken>,
        now: Timestamp,
    ) {
        let (id, reference) = asked;
        let tokens = self.limits.token_required;
        let conn = self.conn(id).clone();
        let fatal = if protocol != PROTOCOL {
            Some((
                ErrorCode::UnsupportedProtocol,
                CloseReason::UnsupportedProtocol,
            ))
        } else if tokens && (conn.user.is_none() || conn.rejected) {
            Some((ErrorCode::Unauthorized, CloseReason::Unauthorized))
        } else {
            None
        };
        if let Some((code, reason)) = fatal {
            self.refuse(asked, code.into(), None, None);
            self.out.got.push((id, Got::Close(reason)));
            return self.end(id, reason.cause());
        }
        if let Some(token) = resume_token
            && !tokens
        {
            if conn.user.is_some() {
                return self.refuse(asked, ErrorCode::InvalidField.into(), None, None);
            }
            let guest = self.users.iter().find(|user| user.token == Some(token));
            let number = guest.map(|user| user.number);
            self.conn_mut(id).user = number;
            if number.is_some() {
                self.situations.insert("a guest has two connections");
            }
        }
        let user = self.user_of(id);
        let own = user.map_or(Some(conn.token), |user| user.token);
        let hello = Hello {
            protocol: PROTOCOL,
            server: SERVER,
            resume_token: own.filter(|_| !tokens),
            username: user.map(|user| user.name.clone()),
            time: now,
            ping_interval_ms: self.limits.ping_interval_ms,
            limits: self.limits.announced(),
            reference: reference.clone(),
        };
        self.send(id, ServerMessage::Hello(hello));
    }

    fn join(&mut self, room: &RoomId, username: Option<Username>, join: Join) -> Result<(), No> {
        let id = join.conn;
        let own = self.user_of(id).map(|user| user.name.clone());
        match (&own, &username) {
            (None, None) => return Err(ErrorCode::InvalidUsername.into()),
            (Some(own), Some(name)) if own.key() != name.key() => {
                return Err(ErrorCode::UsernameMismatch.into());
            }
            (None, Some(name)) if self.holder(name).is_some() => {
                return Err(ErrorCode::UsernameTaken.into());
            }
            _ => {}
        }
        if !self.may_enter(id, room) {
            return Err(ErrorCode::Forbidden.into());
        }
        if self.is_in(id, room) && join.since.is_some() {
            self.situations.insert("a member caught up");
            self.answer_join(room, &join);
            return Ok(());
        }
        let awaited = self.rooms_awaited_by(id);
        if self.is_in(id, room) || awaited.contains(room) {
            return Err(ErrorCode::AlreadyInRoom.into());
        }
        if self.rooms_of(id).len() + awaited.len() >= self.limits.rooms_per_connection as usize {
            return Err(ErrorCode::TooManyRooms.into());
        }
        match self.room(room) {
            Some(found) if found.headcount() >= self.limits.members_per_room as usize => {
                return Err(ErrorCode::RoomFull.into());
            }
            Some(_) => {}
            None => self.can_load()?,
        }
        if let (None, Some(name)) = (own, username) {
            let token = self.conn(id).token;
            let number = self.begin_user(name, Some(token));
            self.conn_mut(id).user = Some(number);
        }
        if self.room(room).is_none() {
            self.begin_load(room);
        }
        match &mut self.room_mut(room).phase {
            Phase::Loading(_, waiting) => waiting.push(Waiting::Join(join)),
            Phase::Open(_) => self.enter(room, &join),
        }
        Ok(())
    }

    fn can_load(&self) -> Result<(), ErrorCode> {
        if self.rooms.len() >= self.limits.open_rooms as usize {
            return Err(ErrorCode::ServerFull);
        }
        if self.store_fails {
            return Err(ErrorCode::StoreUnavailable);
        }
        Ok(())
    }

    fn begin_load(&mut self, room: &RoomId) {
        let load = LoadId(self.loads_so_far);
        self.loads_so_far += 1;
        self.rooms.push(Room {
            id: room.clone(),
            phase: Phase::Loading(load, Vec::new()),
            members: Vec::new(),
            users: Vec::new(),
        });
        let room = room.clone();
        self.out.store.push(Effect::LoadRoom { room, load });
    }

    fn leave(
        &mut self,
        (conn, reference): (ConnId, &Option<Ref>),
        room: &RoomId,
    ) -> Result<(), No> {
        self.must_be_in(conn, room)?;
        self.exit(conn, room, Cause::Left);
        let left = Left {
            room_id: room.clone(),
            reason: None,
            reference: reference.clone(),
        };
        self.send(conn, ServerMessage::Left(left));
        Ok(())
    }

    fn message(
        &mut self,
        (conn, reference): (ConnId, &Option<Ref>),
        room: &RoomId,
        text: MessageText,
        id: &Option<ClientMsgId>,
        now: Timestamp,
    ) -> Result<(), No> {
        self.must_be_in(conn, room)?;
        let from = self
            .user_of(conn)
            .expect("a member has a name")
            .name
            .clone();
        let copy = |entry: &Arc<Entry>, duplicate| {
            ServerMessage::Message(Delivery {
                room: room.clone(),
                entry: entry.clone(),
                own: id.is_some() || reference.is_some(),
                duplicate,
                reference: reference.clone(),
            })
        };
        if let Some(entry) = self.said_before(room, &from, id) {
            if entry.text != text {
                return Err(ErrorCode::DuplicateId.into());
            }
            self.situations.insert("a retry was recognised");
            if self.is_too_old(&entry, now) {
                self.situations
                    .insert("a retry of something too old was recognised");
            }
            self.send(conn, copy(&entry, true));
            return Ok(());
        }
        if self.store_fails {
            return Err(ErrorCode::StoreUnavailable.into());
        }
        if let Some(wait_ms) = self.must_wait_ms(conn, now) {
            return Err(No(ErrorCode::RateLimited, Some(wait_ms)));
        }
        self.conn_mut(conn).said_at.push(now);
        let entry = self.append(room, from, text, id, now);
        for member in self.members(room) {
            let plain = ServerMessage::Message(Delivery::plain(room.clone(), entry.clone()));
            let message = if member == conn {
                copy(&entry, false)
            } else {
                plain
            };
            self.send(member, message);
        }
        Ok(())
    }

    /// The entry of the same name and id that is still in the tail.
    fn said_before(
        &self,
        room: &RoomId,
        from: &Username,
        id: &Option<ClientMsgId>,
    ) -> Option<Arc<Entry>> {
        let mut tail = self.log(room).tail.iter().rev();
        let found = tail.find(|entry| {
            id.is_some() && entry.client_msg_id == *id && entry.from.key() == from.key()
        });
        found.cloned()
    }

    fn append(
        &mut self,
        room: &RoomId,
        from: Username,
        text: MessageText,
        id: &Option<ClientMsgId>,
        now: Timestamp,
    ) -> Arc<Entry> {
        let limits = self.limits.clone();
        let log = self.log_mut(room);
        let entry = Arc::new(Entry {
            seq: Seq(log.last_seq.0 + 1),
            at: now.max(log.last_at),
            from,
            text,
            client_msg_id: id.clone(),
        });
        log.last_seq = entry.seq;
        log.last_at = entry.at;
        log.tail.push(entry.clone());
        log.trim(room, &limits);
        let append = Effect::Append {
            room: room.clone(),
            epoch: log.epoch.clone(),
            entry: entry.clone(),
        };
        self.out.store.push(append);
        entry
    }

    // What the application says.

    fn published(&mut self, room: &RoomId, publication: Publication, now: Timestamp) {
        if self.room(room).is_some_and(Room::is_open) {
            return self.publish(room, publication, false, now);
        }
        let refused = match self.room(room) {
            _ if self.shut_down => Some(ErrorCode::ServerShutdown),
            Some(found) if found.publications() >= self.limits.tail_entries as usize => {
                self.situations
                    .insert("too many publications waited for a room");
                Some(ErrorCode::RateLimited)
            }
            Some(_) => None,
            None => self.can_load().err(),
        };
        if let Some(code) = refused {
            return self.answer(publication.id, Err(code));
        }
        if self.room(room).is_none() {
            self.begin_load(room);
        }
        if let Phase::Loading(_, waiting) = &mut self.room_mut(room).phase {
            waiting.push(Waiting::Publication(publication));
        }
    }

    /// Whoever waited for the room is known by the id alone.
    fn publish(&mut self, room: &RoomId, what: Publication, waited: bool, now: Timestamp) {
        let Publication {
            id: publication,
            from,
            text,
            client_msg_id: id,
        } = what;
        let epoch = self.log(room).epoch.clone();
        let (entry, duplicate) = match self.said_before(room, &from, &id) {
            Some(entry) if entry.text != text && !waited => {
                return self.answer(publication, Err(ErrorCode::DuplicateId));
            }
            Some(entry) => {
                self.situations.insert(if entry.text == text {
                    "a publication was a retry"
                } else {
                    "a publication that waited was known by its id alone"
                });
                (entry, true)
            }
            None if self.store_fails => {
                return self.answer(publication, Err(ErrorCode::StoreUnavailable));
            }
            None => {
                self.situations
                    .insert(match (self.members(room).is_empty(), waited) {
                        (true, _) => "a publication found nobody in its room",
                        (false, true) => "a publication waited behind a join",
                        (false, false) => "a publication was said to those in a room",
                    });
                (self.append(room, from, text, &id, now), false)
            }
        };
        if !duplicate {
            for member in self.members(room) {
                let plain = Delivery::plain(room.clone(), entry.clone());
                self.send(member, ServerMessage::Message(plain));
            }
        }
        let seq = entry.seq;
        let stands = Published {
            epoch,
            seq,
            duplicate,
        };
        self.answer(publication, Ok(stands));
    }

    fn answer(&mut self, publication: PublicationId, outcome: Result<Published, ErrorCode>) {
        self.out.application.push(Effect::Answer {
            publication,
            outcome,
        });
    }

    fn typing(&mut self, conn: ConnId, room: &RoomId, active: bool) -> Result<(), No> {
        self.must_be_in(conn, room)?;
        let username = self
            .user_of(conn)
            .expect("a member has a name")
            .name
            .clone();
        let typing = Typing {
            room_id: room.clone(),
            username,
            active,
        };
        self.tell_others(conn, room, &ServerMessage::Typing(typing));
        Ok(())
    }

    fn list_rooms(&mut self, (conn, reference): (ConnId, &Option<Ref>), after: Option<&RoomId>) {
        let mut open: Vec<&Room> = self.rooms.iter().filter(|room| room.is_open()).collect();
        open.retain(|room| self.may_enter(conn, &room.id));
        open.sort_by_key(|room| &room.id);
        let room_count = size(open.len());
        open.retain(|room| after.is_none_or(|after| room.id > *after));
        open.truncate(self.limits.listed_rooms as usize);
        let rooms = open.iter().map(|room| RoomInfo {
            id: room.id.clone(),
            user_count: size(room.users.len()),
        });
        let list = RoomList {
            rooms: rooms.collect(),
            room_count,
            reference: reference.clone(),
        };
        self.send(conn, ServerMessage::RoomList(list));
    }

    fn list_users(
        &mut self,
        (conn, reference): (ConnId, &Option<Ref>),
        room: &RoomId,
    ) -> Result<(), No> {
        if !self.may_enter(conn, room) {
            return Err(ErrorCode::Forbidden.into());
        }
        let mut users = self.users_of(room);
        let user_count = size(users.len());
        users.truncate(self.limits.listed_users as usize);
        let list = UserList {
            room_id: room.clone(),
            users,
            user_count,
            reference: reference.clone(),
        };
        self.send(conn, ServerMessage::UserList(list));
        Ok(())
    }

    fn history(
        &mut self,
        (conn, reference): (ConnId, &Option<Ref>),
        room: &RoomId,
        limit: Option<u32>,
        before: Option<Seq>,
        now: Timestamp,
    ) -> Result<(), No> {
        self.must_be_in(conn, room)?;
        let log = self.log(room).clone();
        let limit = limit.unwrap_or(self.limits.replay);
        let limit = limit.clamp(1, self.limits.history_page);
        let end = log.last_seq.0 + 1;
        let before = before.map_or(end, |before| before.0.min(end));
        let fetch = Fetch {
            conn,
            room: room.clone(),
            epoch: log.epoch,
            before: Seq(before),
            limit,
            reference: reference.clone(),
        };
        // The tail can answer if it has everything asked for, and one more, the first of all, or one
        // that is too old, before which all are.
        let (past, tail): (Vec<_>, Vec<_>) =
            (log.tail.into_iter()).partition(|entry| self.is_too_old(entry, now));
        let older: Vec<_> = tail.into_iter().filter(|e| e.seq.0 < before).collect();
        let has_first = before <= 1 || older.first().is_some_and(|entry| entry.seq == Seq(1));
        if has_first || !past.is_empty() || older.len() > limit as usize {
            self.situations.insert("a page came from the tail");
            if !past.is_empty() && older.len() <= limit as usize {
                self.situations
                    .insert("a page from the tail ended at something too old");
            }
            let from = older.len().saturating_sub(limit as usize);
            let page = Page {
                entries: older[from..].to_vec(),
                has_more: from > 0,
            };
            self.answer_page(&fetch, &page);
        } else {
            // If the one before the page is there and too old, there is no more.
            let limit = limit + 1;
            self.out
                .store
                .push(Effect::FetchPage(Fetch { limit, ..fetch }));
        }
        Ok(())
    }

    fn fetched(&mut self, fetch: &Fetch, page: Option<Page>, now: Timestamp) {
        if !self.knows(fetch.conn) {
            return;
        }
        let asked = (fetch.conn, &fetch.reference);
        if let Err(no) = self.must_be_in(fetch.conn, &fetch.room) {
            self.situations
                .insert("a page came after its room was left");
            return self.refuse(asked, no, Some(&fetch.room), None);
        }
        match page.filter(|_| self.log(&fetch.room).epoch == fetch.epoch) {
            Some(mut page) => {
                self.situations.insert("a page came from the store");
                while page.entries.iter().any(|e| self.is_too_old(e, now)) {
                    self.situations
                        .insert("a page from the store began with something too old");
                    page.entries.remove(0);
                    page.has_more = false;
                }
                let limit = fetch.limit - 1;
                self.answer_page(
                    &Fetch {
                        limit,
                        ..fetch.clone()
                    },
                    &page,
                );
            }
            None => {
                let no = ErrorCode::HistoryFetchFailed.into();
                self.refuse(asked, no, Some(&fetch.room), None);
            }
        }
    }

    fn answer_page(&mut self, fetch: &Fetch, page: &Page) {
        let mut history = History {
            room_id: fetch.room.clone(),
            epoch: fetch.epoch.clone(),
            count: u32::MAX,
            has_more: false,
            reference: fetch.reference.clone(),
        };
        let budget = self.left_beside(&ServerMessage::History(history.clone()));
        let fitting = newest(&fetch.room, &page.entries, fetch.limit as usize, budget);
        if fitting.len() < page.entries.len().min(fetch.limit as usize) {
            self.situations
                .insert("a page was cut to the bound of an answer");
        }
        history.count = size(fitting.len());
        history.has_more = page.has_more || fitting.len() < page.entries.len();
        self.replay(fetch.conn, &fetch.room, fitting, None);
        self.send(fetch.conn, ServerMessage::History(history));
    }

    // Rooms.

    fn loaded(&mut self, room: &RoomId, load: LoadId, log: &StoredLog) {
        let waiting = self.take_waiting(room, load);
        if waiting.is_empty() {
            self.situations.insert("a load came that nobody waited for");
            if !self.rooms.iter().any(|found| found.id == *room) {
                let room = room.clone();
                self.out.store.push(Effect::ReleaseRoom { room });
            }
            return;
        }
        let is_join = |waiting: &&Waiting| matches!(waiting, Waiting::Join(_));
        if waiting.iter().filter(is_join).count() > 1 {
            self.situations.insert("several joins waited for one room");
        }
        let log = serde_json::to_value(log).and_then(serde_json::from_value);
        let mut log: Log = log.expect("a stored log has these fields");
        if log.last_seq > Seq(0) {
            self.situations.insert("a room came back");
        }
        log.trim(room, &self.limits);
        self.room_mut(room).phase = Phase::Open(log);
        for waiting in waiting {
            match waiting {
                Waiting::Join(join) => self.enter(room, &join),
                Waiting::Publication(publication) => {
                    self.publish(room, publication, true, self.now);
                }
            }
        }
        if self.members(room).is_empty() {
            let room = room.clone();
            self.out.store.push(Effect::ReleaseRoom { room });
        }
        self.drop_empty_room(room);
    }

    fn load_failed(&mut self, room: &RoomId, load: LoadId) {
        let no = ErrorCode::StoreUnavailable;
        for waiting in self.take_waiting(room, load) {
            match waiting {
                Waiting::Join(join) => {
                    self.situations
                        .insert("a join waited for a load that failed");
                    let asked = (join.conn, &join.reference);
                    self.refuse(asked, no.into(), Some(room), None);
                }
                Waiting::Publication(publication) => {
                    self.situations
                        .insert("a publication waited for a load that failed");
                    self.answer(publication.id, Err(no));
                }
            }
        }
        self.drop_empty_room(room);
    }

    fn enter(&mut self, room: &RoomId, join: &Join) {
        let user = self
            .user_of(join.conn)
            .expect("a join fixes a name")
            .clone();
        let found = self.room_mut(room);
        found.members.push(join.conn);
        if !found.users.contains(&user.number) {
            found.users.push(user.number);
            self.out.application.push(Effect::Tell(Change::Joined {
                room: room.clone(),
                username: user.name.clone(),
            }));
            let joined = UserJoined {
                room_id: room.clone(),
                username: user.name,
            };
            self.tell_others(join.conn, room, &ServerMessage::UserJoined(joined));
        }
        self.answer_join(room, join);
    }

    fn answer_join(&mut self, room: &RoomId, join: &Join) {
        let own = self
            .user_of(join.conn)
            .expect("a join fixes a name")
            .clone();
        let all = self.users_of(room);
        let most = self.limits.listed_users as usize;
        let mut users = all[..most.min(all.len())].to_vec();
        if !users.contains(&own.name) {
            users.pop();
            users.push(own.name.clone());
        }
        let log = self.log(room).clone();
        let mut joined = Joined {
            room_id: room.clone(),
            users,
            user_count: size(all.len()),
            epoch: log.epoch.clone(),
            seq: log.last_seq,
            recovered: false,
            history: u32::MAX,
            reference: join.reference.clone(),
        };
        let budget = self.left_beside(&ServerMessage::Joined(joined.clone()));
        let most = join.history.unwrap_or(self.limits.replay);
        let most = most.min(self.limits.history_page) as usize;
        let mut tail = log.tail.clone();
        tail.retain(|entry| !self.is_too_old(entry, self.now));
        if tail.len() < most.min(log.tail.len()) {
            self.situations
                .insert("a replay left out something too old");
        }
        let mut replayed = newest(room, &tail, most, budget);
        if replayed.len() < most.min(tail.len()) {
            self.situations
                .insert("a replay was cut to the bound of an answer");
        }
        if let Some(since) = &join.since {
            let missed: Vec<_> = log.tail.into_iter().filter(|e| e.seq > since.seq).collect();
            let is_known = since.epoch == log.epoch && since.seq <= log.last_seq;
            let all_kept = is_known && missed.len() as u64 == log.last_seq.0 - since.seq.0;
            let is_past = missed.iter().any(|entry| self.is_too_old(entry, self.now));
            if all_kept && is_past {
                self.situations.insert("a join missed something too old");
            }
            let all_there = all_kept && !is_past;
            let fits = newest(room, &missed, missed.len(), budget).len() == missed.len();
            joined.recovered = all_there && fits;
            if joined.recovered {
                replayed = missed;
            }
            self.situations.insert(match (all_there, fits) {
                (true, true) => "a join recovered",
                (true, false) => "a join missed more than an answer holds",
                (false, _) => "a join did not recover",
            });
        }
        joined.history = size(replayed.len());
        self.send(join.conn, ServerMessage::Joined(joined));
        self.replay(join.conn, room, replayed, Some(own.name.key()));
    }

    fn exit(&mut self, conn: ConnId, room: &RoomId, cause: Cause) {
        let user = self.user_of(conn).expect("a member has a name").clone();
        self.room_mut(room).members.retain(|&member| member != conn);
        let is_there = |&member: &ConnId| self.conn(member).user == Some(user.number);
        if self.members(room).iter().any(is_there) {
            self.situations
                .insert("a user left a room with one of two connections");
            return;
        }
        self.room_mut(room)
            .users
            .retain(|&number| number != user.number);
        self.out.application.push(Effect::Tell(Change::Left {
            room: room.clone(),
            username: user.name.clone(),
            cause,
        }));
        let left = UserLeft {
            room_id: room.clone(),
            username: user.name,
            reason: cause,
        };
        self.tell_others(conn, room, &ServerMessage::UserLeft(left));
        if self.members(room).is_empty() {
            let room = room.clone();
            self.out.store.push(Effect::ReleaseRoom { room });
        }
        self.drop_empty_room(room);
    }

    /// What waits for `load`, joins first; nothing if nobody waits for it.
    fn take_waiting(&mut self, room: &RoomId, load: LoadId) -> Vec<Waiting> {
        let found = self.rooms.iter_mut().find(|found| found.id == *room);
        match found.map(|found| &mut found.phase) {
            Some(Phase::Loading(expected, waiting)) if *expected == load => {
                let mut waiting = std::mem::take(waiting);
                waiting.sort_by_key(|waiting| matches!(waiting, Waiting::Publication(_)));
                waiting
            }
            _ => Vec::new(),
        }
    }

    fn drop_empty_room(&mut self, room: &RoomId) {
        self.rooms
            .retain(|found| found.id != *room || found.headcount() + found.publications() > 0);
    }

    // Helpers.

    fn send(&mut self, to: ConnId, message: ServerMessage) {
        self.out.got.push((to, Got::Message(message)));
    }

    fn tell_others(&mut self, conn: ConnId, room: &RoomId, message: &ServerMessage) {
        for member in self.members(room) {
            if member != conn {
                self.send(member, message.clone());
            }
        }
    }

    /// What `name` said themselves tells its id.
    fn replay(
        &mut self,
        to: ConnId,
        room: &RoomId,
        entries: Vec<Arc<Entry>>,
        name: Option<&NameKey>,
    ) {
        for entry in entries {
            let mut delivery = Delivery::plain(room.clone(), entry);
            delivery.own = name == Some(delivery.entry.from.key());
            self.send(to, ServerMessage::Message(delivery));
        }
    }

    fn refuse(
        &mut self,
        (conn, reference): (ConnId, &Option<Ref>),
        No(code, retry_after_ms): No,
        room: Option<&RoomId>,
        client_msg_id: Option<ClientMsgId>,
    ) {
        let refusal = Refusal {
            code,
            room: room.cloned(),
            reference: reference.clone(),
            client_msg_id,
            retry_after_ms,
        };
        self.send(conn, ServerMessage::Error(ErrorMessage(refusal)));
    }

    fn left_beside(&self, message: &ServerMessage) -> usize {
        self.limits.answer_bytes as usize - frame_bytes(encode(message).len())
    }

    /// How long a message of `conn` comes too early, from all that it said so far.
    fn must_wait_ms(&self, conn: ConnId, now: Timestamp) -> Option<u64> {
        let rate = u64::from(self.limits.messages_per_second);
        let interval_us = 1_000_000_u64.checked_div(rate)?;
        let due_us = |due_us: u64, at: &Timestamp| due_us.max(at.0 * 1000) + interval_us;
        let due_us = self.conn(conn).said_at.iter().fold(0, due_us);
        let slack_us = interval_us * u64::from(self.limits.burst - 1);
        let early_us = due_us.saturating_sub(slack_us + now.0 * 1000);
        (early_us > 0).then(|| early_us.div_ceil(1000))
    }

    fn is_too_old(&self, entry: &Entry, now: Timestamp) -> bool {
        let age_ms = self.limits.history_age_ms;
        age_ms > 0 && now.ms_since(entry.at) > age_ms
    }

    fn knows(&self, id: ConnId) -> bool {
        self.conns.iter().any(|conn| conn.id == id)
    }

    fn conn(&self, id: ConnId) -> &Conn {
        let found = self.conns.iter().find(|conn| conn.id == id);
        found.expect("asked only of a connection that stands")
    }

    fn conn_mut(&mut self, id: ConnId) -> &mut Conn {
        let found = self.conns.iter_mut().find(|conn| conn.id == id);
        found.expect("asked only of a connection that stands")
    }

    fn user(&self, number: u64) -> &User {
        let found = self.users.iter().find(|user| user.number == number);
        found.expect("a user lives as long as its connections")
    }

    fn user_of(&self, id: ConnId) -> Option<&User> {
        self.conn(id).user.map(|number| self.user(number))
    }

    fn holder(&self, name: &Username) -> Option<&User> {
        self.users.iter().find(|user| user.name.key() == name.key())
    }

    fn begin_user(&mut self, name: Username, token: Option<ResumeToken>) -> u64 {
        self.users_so_far += 1;
        let number = self.users_so_far;
        self.users.push(User {
            number,
            name,
            token,
        });
        number
    }

    fn room(&self, id: &RoomId) -> Option<&Room> {
        self.rooms.iter().find(|room| room.id == *id)
    }

    fn room_mut(&mut self, id: &RoomId) -> &mut Room {
        let found = self.rooms.iter_mut().find(|room| room.id == *id);
        found.expect("asked only of a room that is there")
    }

    fn log(&self, room: &RoomId) -> &Log {
        match self.room(room).map(|room| &room.phase) {
            Some(Phase::Open(log)) => log,
            Some(Phase::Loading(..)) | None => unreachable!("asked only of an open room"),
        }
    }

    fn log_mut(&mut self, room: &RoomId) -> &mut Log {
        match &mut self.room_mut(room).phase {
            Phase::Open(log) => log,
            Phase::Loading(..) => unreachable!("asked only of an open room"),
        }
    }

    fn members(&self, room: &RoomId) -> Vec<ConnId> {
        self.room(room)
            .map_or_else(Vec::new, |room| room.members.clone())
    }

    fn is_in(&self, conn: ConnId, room: &RoomId) -> bool {
        self.members(room).contains(&conn)
    }

    fn must_be_in(&self, conn: ConnId, room: &RoomId) -> Result<(), No> {
        let member = self.is_in(conn, room);
        member.then_some(()).ok_or(No(ErrorCode::NotInRoom, None))
    }

    fn may_enter(&self, conn: ConnId, room: &RoomId) -> bool {
        let allowed = &self.conn(conn).allowed;
        allowed.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|RoomPattern(pattern)| {
                let all_with = pattern.strip_suffix('*');
                all_with.is_some_and(|prefix| room.as_str().starts_with(prefix))
                    || all_with.is_none() && **pattern == *room.as_str()
            })
        })
    }

    /// In the order of their ids, in which a connection leaves them.
    fn rooms_of(&self, conn: ConnId) -> Vec<RoomId> {
        self.rooms_where(|room| room.members.contains(&conn))
    }

    fn rooms_awaited_by(&self, conn: ConnId) -> Vec<RoomId> {
        self.rooms_where(|room| match &room.phase {
            Phase::Loading(_, waiting) => waiting.iter().any(|waiting| waiting.is_of(conn)),
            Phase::Open(_) => false,
        })
    }

    fn rooms_where(&self, is_meant: impl Fn(&Room) -> bool) -> Vec<RoomId> {
        let meant = self.rooms.iter().filter(|room| is_meant(room));
        let mut ids: Vec<RoomId> = meant.map(|room| room.id.clone()).collect();
        ids.sort();
        ids
    }
}

impl Room {
    const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    fn headcount(&self) -> usize {
        match &self.phase {
            Phase::Loading(_, waiting) => waiting.len() - self.publications(),
            Phase::Open(_) => self.members.len(),
        }
    }

    fn publications(&self) -> usize {
        match &self.phase {
            Phase::Loading(_, waiting) => {
                let is_publication =
                    |waiting: &&Waiting| matches!(waiting, Waiting::Publication(_));
                waiting.iter().filter(is_publication).count()
            }
            Phase::Open(_) => 0,
        }
    }
}

impl Log {
    /// The tail is as much of the end as the limits allow.
    fn trim(&mut self, room: &RoomId, limits: &Limits) {
        let most = limits.tail_entries as usize;
        self.tail = newest(room, &self.tail, most, limits.tail_bytes as usize);
    }
}

/// The longest end of `entries` that has at most `most` of them and `budget` bytes.
fn newest(room: &RoomId, entries: &[Arc<Entry>], most: usize, budget: usize) -> Vec<Arc<Entry>> {
    let bytes = |part: &[Arc<Entry>]| part.iter().map(|e| e.frame_bytes(room)).sum::<usize>();
    let ends = (0..=most.min(entries.len())).rev();
    ends.map(|len| &entries[entries.len() - len..])
        .find(|end| bytes(end) <= budget)
        .map_or_else(Vec::new, <[_]>::to_vec)
}

fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
