//! What can be seen of a server from outside, by its clients, its store and the application that it
//! is in, and the invariants
//! that can be checked there: I-6 and T-1 to T-11. It knows no rule of the chat beyond them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parlor_core::encode::{encode, frame_bytes};
use parlor_core::protocol::{Delivery, Left};
use parlor_core::types::{LoadId, PublicationId, Ref};
use parlor_core::{
    Change, CloseReason, ConnId, Effect, Entry, Epoch, ErrorCode, Fetch, Input, Limits, Page,
    Published, Recipients, RequestKind, ResumeToken, RoomId, Seq, ServerMessage, Session,
    StoredLog, Timestamp, Username,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::Got;

/// A rule that did not hold.
#[derive(Clone)]
pub struct Failure {
    /// The number of the rule, `hasMore` or `model`.
    pub rule: &'static str,
    /// What was seen instead.
    pub detail: String,
}

impl fmt::Debug for Failure {
    /// With long runs of the control character that long texts are made of left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self
            .detail
            .replace(r"\u{1}\u{1}\u{1}\u{1}\u{1}", "")
            .replace(r"\u{1}\u{1}", "");
        let detail = detail.replace(r"\u{1}\u{1}", "");
        write!(f, "{}: {detail}", self.rule)
    }
}

/// What a run came by, so that a test can ask for it.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The codes of all errors.
    pub codes: BTreeSet<ErrorCode>,
    /// The reasons of all closes.
    pub closes: BTreeSet<CloseReason>,
    /// The types of all messages.
    pub messages: BTreeSet<&'static str>,
    /// What else happened.
    pub situations: BTreeSet<&'static str>,
    /// How often each rule had something to check.
    pub checked: BTreeMap<&'static str, u64>,
}

impl Reached {
    /// Notes that `rule` was checked.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn rule(
        &mut self,
        rule: &'static str,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        *self.checked.entry(rule).or_default() += 1;
        if holds {
            return Ok(());
        }
        let detail = detail();
        Err(Failure { rule, detail })
    }

    /// Adds what another run came by.
    pub fn merge(&mut self, other: Self) {
        self.codes.extend(other.codes);
        self.closes.extend(other.closes);
        self.messages.extend(other.messages);
        self.situations.extend(other.situations);
        for (rule, times) in other.checked {
            *self.checked.entry(rule).or_default() += times;
        }
    }
}

/// The store: it remembers what it was told to append.
#[derive(Clone, Debug, Default)]
pub struct Store {
    logs: Vec<Kept>,
    epochs_proposed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Kept {
    room: RoomId,
    epoch: Epoch,
    entries: Vec<Arc<Entry>>,
    is_lost: bool,
}

impl Store {
    /// What the core is told of a room: a tail of `most` entries, and a new epoch if it has none.
    pub fn load(&mut self, room: &RoomId, most: usize) -> StoredLog {
        let Some(kept) = self.current(room) else {
            self.epochs_proposed += 1;
            let epoch = format!("e{}", self.epochs_proposed);
            return StoredLog::empty(Epoch::new(&epoch).expect("it is short"));
        };
        let last = kept.entries.last().expect("a log begins with an entry");
        let tail = kept.entries[kept.entries.len().saturating_sub(most)..].to_vec();
        StoredLog::new(kept.epoch.clone(), last.seq, last.at, tail).expect("I-6")
    }

    /// A page of a log, even of one that was lost since.
    #[must_use]
    pub fn page(&self, fetch: &Fetch) -> Page {
        let kept = self.log(&fetch.room, &fetch.epoch);
        let entries = kept.map_or(&[][..], |kept| &kept.entries);
        let older = usize::try_from(fetch.before.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let older = &entries[..older.min(entries.len())];
        let from = older.len().saturating_sub(fetch.limit as usize);
        Page {
            entries: older[from..].to_vec(),
            has_more: from > 0,
        }
    }

    /// Loses a room's log.
    pub fn forget(&mut self, room: &RoomId) {
        for kept in self.logs.iter_mut().filter(|kept| kept.room == *room) {
            kept.is_lost = true;
        }
    }

    /// Every epoch a room ever had, and its last seq; the one it has now comes last.
    pub fn epochs(&self, room: &RoomId) -> impl DoubleEndedIterator<Item = (&Epoch, u64)> {
        let of_room = self.logs.iter().filter(move |kept| kept.room == *room);
        of_room.map(|kept| (&kept.epoch, kept.entries.len() as u64))
    }

    fn current(&self, room: &RoomId) -> Option<&Kept> {
        let mut all = self.logs.iter();
        all.find(|kept| kept.room == *room && !kept.is_lost)
    }

    fn log(&self, room: &RoomId, epoch: &Epoch) -> Option<&Kept> {
        let mut all = self.logs.iter();
        all.find(|kept| kept.room == *room && kept.epoch == *epoch)
    }

    fn last_seq(&self, room: &RoomId, epoch: &Epoch) -> Seq {
        let kept = self.log(room, epoch);
        Seq(kept.map_or(0, |kept| kept.entries.len() as u64))
    }

    fn has(&self, room: &RoomId, epoch: &Epoch, entry: &Arc<Entry>) -> bool {
        let index = usize::try_from(entry.seq.0)
            .ok()
            .and_then(|seq| seq.checked_sub(1));
        self.log(room, epoch)
            .zip(index)
            .is_some_and(|(kept, index)| kept.entries.get(index) == Some(entry))
    }

    /// I-6: seqs run 1, 2, 3 within an epoch, whatever became of the room meanwhile. I-1: time
    /// does not go back.
    fn append(
        &mut self,
        (room, epoch): (&RoomId, &Epoch),
        entry: &Arc<Entry>,
        reached: &mut Reached,
    ) -> Result<(), Failure> {
        let current = self.current(room).map(|kept| kept.epoch.clone());
        reached.rule(
            "I-6",
            current.is_none_or(|current| current == *epoch),
            || format!("{room} has another epoch than {epoch}"),
        )?;
        let expected = self.last_seq(room, epoch).next();
        reached.rule("I-6", entry.seq == expected, || {
            format!("{room} goes on with {:?}, not {expected:?}", entry.seq)
        })?;
        if expected == Seq(1) {
            self.logs.push(Kept {
                room: room.clone(),
                epoch: epoch.clone(),
                entries: Vec::new(),
                is_lost: false,
            });
        }
        let mut all = self.logs.iter_mut();
        let kept = all.find(|kept| kept.room == *room && kept.epoch == *epoch);
        let entries = &mut kept.expect("it was just made").entries;
        let last_at = entries.last().map_or(Timestamp(0), |last| last.at);
        reached.rule("I-1", entry.at >= last_at, || {
            format!("{room} goes back from {last_at:?} to {:?}", entry.at)
        })?;
        entries.push(entry.clone());
        Ok(())
    }
}

/// A client, as it knows itself.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its connection.
    pub conn: ConnId,
    /// The token it was given.
    pub token: ResumeToken,
    /// Its half of the server.
    pub session: Session,
    rooms: BTreeMap<RoomId, View>,
    asked: Vec<Question>,
    /// Bytes of the answer that it is getting.
    answer_bytes: usize,
    /// Messages of a replay that must follow at once.
    replay: u32,
}

impl Client {
    /// The rooms that it is in.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomId> {
        self.rooms.keys().cloned().collect()
    }

    const fn known(&self) -> (ConnId, &BTreeMap<RoomId, View>, &Vec<Question>) {
        (self.conn, &self.rooms, &self.asked)
    }

    /// Whether an answer must come before it may ask again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.asked.iter().any(|question| match question {
            Question::Asked(_, kind) => kind.holds(),
            Question::Refused(_) => false,
        })
    }
}

/// What a client knows of a room that it is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct View {
    epoch: Epoch,
    seq: Seq,
    users: Vec<Username>,
    user_count: usize,
    /// Whether `users` are all.
    is_whole: bool,
}

/// What a client waits for an answer to.
#[derive(Clone, Debug, PartialEq, Serialize)]
enum Question {
    Asked(Option<Ref>, RequestKind),
    Refused(ErrorCode),
}

impl Question {
    /// Whether `message` could be its answer. `is_new`: it is an entry that was said just now.
    fn is_answered_by(&self, message: &ServerMessage, is_new: bool) -> bool {
        use RequestKind as K;
        use ServerMessage as M;
        let (asked, kind) = match (self, message) {
            (Self::Refused(code), M::Error(error)) => return error.0.code == *code,
            (Self::Refused(_), _) => return false,
            (Self::Asked(reference, kind), _) => (reference, kind),
        };
        let reference = match (kind, message) {
            // The late answer to a page of a room that was left, and is waited for again.
            (K::Join { .. }, M::Error(error)) if error.0.code == ErrorCode::NotInRoom => {
                return false;
            }
            (_, M::Error(error)) if error.0.room.is_none() => &error.0.reference,
            (_, M::Error(error)) if error.0.room == room_of(kind) => &error.0.reference,
            (K::Hello { .. }, M::Hello(hello)) => &hello.reference,
            (K::Join { room, .. }, M::Joined(joined)) if joined.room_id == *room => {
                &joined.reference
            }
            (K::Leave { room }, M::Left(left))
                if left.room_id == *room && left.reason.is_none() =>
            {
                &left.reference
            }
            (
                K::Message {
                    room,
                    text,
                    client_msg_id,
                },
                M::Message(own),
            ) if own.room == *room
                && own.entry.text == *text
                && own.entry.client_msg_id == *client_msg_id
                && is_new != own.duplicate =>
            {
                &own.reference
            }
            (K::ListRooms { .. }, M::RoomList(list)) => &list.reference,
            (K::ListUsers { room }, M::UserList(list)) if list.room_id == *room => &list.reference,
            (K::GetHistory { room, .. }, M::History(page)) if page.room_id == *room => {
                &page.reference
            }
            (K::Ping, M::Pong(pong)) => &pong.reference,
            _ => return false,
        };
        reference == asked
    }
}

fn room_of(kind: &RequestKind) -> Option<RoomId> {
    match kind {
        RequestKind::Join { room, .. }
        | RequestKind::Leave { room }
        | RequestKind::Message { room, .. }
        | RequestKind::Typing { room, .. }
        | RequestKind::ListUsers { room }
        | RequestKind::GetHistory { room, .. } => Some(room.clone()),
        RequestKind::Hello { .. } | RequestKind::ListRooms { .. } | RequestKind::Ping => None,
    }
}

/// All clients and the store.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    /// Those that are connected.
    pub clients: Vec<Client>,
    /// The store.
    pub store: Store,
    /// Loads under way.
    pub loads: Vec<(RoomId, LoadId)>,
    /// Fetches under way.
    pub fetches: Vec<Fetch>,
    /// Publications without an answer.
    pub publications: BTreeSet<PublicationId>,
    /// Who is where, as the application was told.
    told: BTreeMap<RoomId, BTreeSet<String>>,
    /// What this run came by.
    pub reached: Reached,
    gone: BTreeSet<ConnId>,
}

impl Observer {
    /// A client comes.
    pub fn connect(&mut self, conn: ConnId, token: ResumeToken, session: Session) {
        self.clients.push(Client {
            conn,
            token,
            session,
            rooms: BTreeMap::new(),
            asked: Vec::new(),
            answer_bytes: 0,
            replay: 0,
        });
    }

    /// Whether both are the same as JSON.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let others = other.clients.iter().map(Client::known);
        self.clients.iter().map(Client::known).eq(others)
            && self.store.logs == other.store.logs
            && self.loads == other.loads
            && self.fetches == other.fetches
            && self.publications == other.publications
    }

    /// What decides how it goes on, as JSON. Sessions are left out: only frames ask them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (mut connections, mut loads, mut logs) = (Map::new(), Map::new(), Map::new());
        for Client {
            conn, rooms, asked, ..
        } in &self.clients
        {
            let client = json!({ "rooms": rooms, "asked": asked });
            connections.insert(conn.0.to_string(), client);
        }
        for (room, load) in &self.loads {
            push(&mut loads, room, json!({ "load": load }));
        }
        for kept in &self.store.logs {
            push(&mut logs, &kept.room, json!(kept));
        }
        json!({
            "connections": connections,
            "loads": loads,
            "fetches": self.fetches,
            "publications": self.publications,
            "logs": logs,
        })
    }

    /// All clients go, and nothing that was under way is answered.
    pub fn restart(&mut self) {
        self.gone
            .extend(self.clients.iter().map(|client| client.conn));
        self.clients.clear();
        self.loads.clear();
        self.fetches.clear();
        self.publications.clear();
        self.told.clear();
    }

    /// What `input` led to: checks it and returns what each connection got.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn observe(
        &mut self,
        input: &Input,
        effects: &[Effect],
        limits: &Limits,
    ) -> Result<Vec<(ConnId, Got)>, Failure> {
        self.before(input);
        let mut got = Vec::new();
        let (mut said, mut released) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Append { room, epoch, entry } => {
                    self.store.append((room, epoch), entry, &mut self.reached)?;
                    said.push(&**entry);
                }
                Effect::Send { to, message } => {
                    let (conns, is_own) = match to {
                        Recipients::One(conn) => (vec![*conn], true),
                        Recipients::Room { members, except } => {
                            let others = members.iter().filter(|&member| Some(*member) != *except);
                            (others.copied().collect(), false)
                        }
                    };
                    self.reached.rule("T-9", !conns.is_empty(), || {
                        format!("nobody gets {message:?}")
                    })?;
                    for conn in conns {
                        self.deliver(conn, message, is_own, limits)?;
                        got.push((conn, Got::Message(message.clone())));
                    }
                }
                Effect::Answer {
                    publication,
                    outcome,
                } => self.answered(*publication, outcome)?,
                Effect::Tell(change) => self.told(change)?,
                Effect::Close { conn, reason } => {
                    self.client(*conn)?;
                    self.reached.closes.insert(*reason);
                    self.clients.retain(|client| client.conn != *conn);
                    self.gone.insert(*conn);
                    got.push((*conn, Got::Close(*reason)));
                }
                Effect::LoadRoom { room, load } => self.loads.push((room.clone(), *load)),
                Effect::FetchPage(fetch) => self.fetches.push(fetch.clone()),
                Effect::ReleaseRoom { room } => {
                    released.push(room);
                }
            }
        }
        let mut used = self.clients.iter().flat_map(|client| client.rooms.keys());
        let is_used = used.any(|room| released.contains(&room));
        self.reached
            .rule("T-1", !is_used, || format!("one of {released:?} is in use"))?;
        self.after(input, &said, &got)?;
        Ok(got)
    }

    fn before(&mut self, input: &Input) {
        for client in &mut self.clients {
            client.answer_bytes = 0;
        }
        let question = match input {
            Input::Received { conn, request } => {
                let (reference, kind) = (request.reference.clone(), request.kind.clone());
                (*conn, Question::Asked(reference, kind))
            }
            Input::Refused { conn, refusal } => (*conn, Question::Refused(refusal.code)),
            Input::Disconnected { conn, .. } => {
                self.clients.retain(|client| client.conn != *conn);
                self.gone.insert(*conn);
                return;
            }
            Input::Published { publication, .. } => {
                self.publications.insert(publication.id);
                return;
            }
            Input::Connected { .. }
            | Input::Identified { .. }
            | Input::RoomLoaded { .. }
            | Input::LoadFailed { .. }
            | Input::PageFetched { .. }
            | Input::FetchFailed { .. }
            | Input::StoreFailed
            | Input::StoreRecovered
            | Input::Shutdown => return,
        };
        let (conn, question) = question;
        if let Ok(client) = self.client(conn) {
            client.asked.push(question);
        }
    }

    /// T-8: a publication has one answer. T-5: it is stored before that.
    fn answered(
        &mut self,
        publication: PublicationId,
        outcome: &Result<Published, ErrorCode>,
    ) -> Result<(), Failure> {
        let waited = self.publications.remove(&publication);
        self.reached.rule("T-8", waited, || {
            format!("{publication:?} is answered without a question: {outcome:?}")
        })?;
        let Ok(Published { epoch, seq, .. }) = outcome else {
            return Ok(());
        };
        let mut logs = self.store.logs.iter().filter(|kept| kept.epoch == *epoch);
        let is_stored = logs.any(|kept| kept.entries.len() as u64 >= seq.0);
        self.reached.rule("T-5", is_stored, || {
            format!("{publication:?} is answered before it is stored: {outcome:?}")
        })
    }

    /// T-11: nobody comes twice, or goes without having come.
    fn told(&mut self, change: &Change) -> Result<(), Failure> {
        let is_new = match change {
            Change::Joined { room, username } => {
                let users = self.told.entry(room.clone()).or_default();
                users.insert(username.to_string())
            }
            Change::Left { room, username, .. } => {
                let users = self.told.entry(room.clone()).or_default();
                users.remove(username.as_str())
            }
            Change::AllLeft => {
                self.told.clear();
                true
            }
        };
        let reached = &mut self.reached;
        reached.rule("T-11", is_new, || format!("{change:?} again"))
    }

    /// T-7 and T-9: nothing for whoever is gone or never was.
    fn client(&mut self, conn: ConnId) -> Result<&mut Client, Failure> {
        let is_gone = self.gone.contains(&conn);
        let mut clients = self.clients.iter_mut();
        let client = clients.find(|client| client.conn == conn);
        self.reached
            .rule("T-7", !is_gone, || format!("{conn} is gone"))?;
        self.reached
            .rule("T-9", client.is_some(), || format!("{conn} never was"))?;
        let nobody = || unreachable!("T-9 was just checked");
        Ok(client.unwrap_or_else(nobody))
    }

    fn deliver(
        &mut self,
        conn: ConnId,
        message: &ServerMessage,
        is_own: bool,
        limits: &Limits,
    ) -> Result<(), Failure> {
        self.client(conn)?;
        let Self {
            clients,
            store,
            reached,
            ..
        } = self;
        let mut clients = clients.iter_mut();
        let client = clients.find(|client| client.conn == conn);
        let client = client.expect("T-9 was just checked");
        note(message, reached);
        let is_new = if let ServerMessage::Message(delivery) = message {
            client.take_entry(delivery, store, reached)?
        } else {
            client.take_presence(message, reached)?;
            false
        };
        if is_own || is_new {
            client.take_answer(message, is_new, reached)?;
        }
        if is_own && !is_new {
            // T-10: an answer is one message, with a replay or a page around it.
            if matches!(message, ServerMessage::Joined(_)) {
                client.answer_bytes = 0;
            }
            client.answer_bytes += frame_bytes(encode(message).len());
            let fits = client.answer_bytes <= limits.answer_bytes as usize;
            reached.rule("T-10", fits, || format!("{} bytes", client.answer_bytes))?;
        }
        Ok(())
    }

    fn after(
        &mut self,
        input: &Input,
        said: &[&Entry],
        got: &[(ConnId, Got)],
    ) -> Result<(), Failure> {
        let Self {
            clients,
            store,
            reached,
            ..
        } = self;
        for client in clients.iter_mut() {
            for (room, view) in &client.rooms {
                let last = store.last_seq(room, &view.epoch);
                reached.rule("T-2", view.seq == last, || {
                    format!("{} missed something in {room}", client.conn)
                })?;
            }
            reached.rule("T-10", client.replay == 0, || {
                "a replay is too short".into()
            })?;
        }
        let (Input::Received { conn, .. } | Input::Refused { conn, .. }) = input else {
            return Ok(());
        };
        for entry in said {
            let own = got.iter().filter(|(to, got)| {
                let Got::Message(ServerMessage::Message(got)) = got else {
                    return false;
                };
                to == conn && *got.entry == **entry
            });
            let copies = own.count();
            reached.rule("T-3", copies == 1, || format!("{copies} copies for {conn}"))?;
        }
        // T-8: only what may wait for the store may be left without an answer, and typing.
        if let Some(client) = clients.iter_mut().find(|client| client.conn == *conn) {
            let is_typing = |question: &Question| {
                matches!(question, Question::Asked(_, RequestKind::Typing { .. }))
            };
            client.asked.retain(|question| !is_typing(question));
            let waits = client.asked.iter().all(|question| match question {
                Question::Asked(_, kind) => kind.holds(),
                Question::Refused(_) => false,
            });
            reached.rule("T-8", waits, || format!("no answer to {:?}", client.asked))?;
        }
        Ok(())
    }

    /// T-6: what each client knows of a room's users is what `users_of` says. T-11: so is what the
    /// application was told.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_users(
        &mut self,
        users_of: impl Fn(&RoomId) -> Vec<Username>,
    ) -> Result<(), Failure> {
        let names = |users: &[Username]| {
            let names = users.iter().map(|user| user.as_str().to_owned());
            names.collect::<BTreeSet<String>>()
        };
        let seen = self.clients.iter().flat_map(|client| client.rooms.keys());
        let rooms: BTreeSet<&RoomId> = self.told.keys().chain(seen).collect();
        for room in rooms {
            let told = self.told.get(room).cloned().unwrap_or_default();
            let users = names(&users_of(room));
            self.reached.rule("T-11", told == users, || {
                format!("{told:?} are said to be in {room}, not {users:?}")
            })?;
        }
        for client in &self.clients {
            for (room, view) in &client.rooms {
                let users = users_of(room);
                let same = view.user_count == users.len()
                    && (!view.is_whole || names(&view.users) == names(&users));
                self.reached.rule("T-6", same, || {
                    format!(
                        "{} sees {:?} in {room}, not {users:?}",
                        client.conn, view.users
                    )
                })?;
            }
        }
        Ok(())
    }

    /// T-8 at the end, when everything under way was answered.
    ///
    /// # Errors
    /// When somebody still waits.
    pub fn check_all_answered(&mut self) -> Result<(), Failure> {
        for client in &self.clients {
            let done = client.asked.is_empty();
            self.reached
                .rule("T-8", done, || format!("no answer to {:?}", client.asked))?;
        }
        let waiting = &self.publications;
        self.reached.rule("T-8", waiting.is_empty(), || {
            format!("no answer to {waiting:?}")
        })
    }
}

impl Client {
    /// T-1, T-2 and T-5. True if the entry is new to this client.
    fn take_entry(
        &mut self,
        delivery: &Delivery,
        store: &Store,
        reached: &mut Reached,
    ) -> Result<bool, Failure> {
        let Delivery { room, entry, .. } = delivery;
        let conn = self.conn;
        let view = self.rooms.get_mut(room);
        reached.rule("T-1", view.is_some(), || format!("{conn} is not in {room}"))?;
        let view = view.expect("T-1 was just checked");
        reached.rule("T-5", store.has(room, &view.epoch, entry), || {
            format!("{entry:?} is sent before it is stored")
        })?;
        self.replay = self.replay.saturating_sub(1);
        if entry.seq <= view.seq {
            return Ok(false);
        }
        reached.rule("T-2", entry.seq == view.seq.next(), || {
            format!("{conn} gets {:?} after {:?}", entry.seq, view.seq)
        })?;
        view.seq = entry.seq;
        Ok(true)
    }

    /// T-1 and T-6.
    fn take_presence(
        &mut self,
        message: &ServerMessage,
        reached: &mut Reached,
    ) -> Result<(), Failure> {
        let conn = self.conn;
        let room = match message {
            ServerMessage::Joined(joined) => {
                let view = View {
                    epoch: joined.epoch.clone(),
                    seq: joined.seq,
                    user_count: joined.user_count as usize,
                    is_whole: joined.user_count as usize == joined.users.len(),
                    users: joined.users.clone(),
                };
                self.replay = joined.history;
                self.rooms.insert(joined.room_id.clone(), view);
                return Ok(());
            }
            ServerMessage::Left(Left { room_id, .. }) => {
                let was_in = self.rooms.remove(room_id).is_some();
                return reached.rule("T-1", was_in, || format!("{conn} left {room_id} twice"));
            }
            ServerMessage::UserJoined(joined) => &joined.room_id,
            ServerMessage::UserLeft(left) => &left.room_id,
            ServerMessage::Typing(typing) => &typing.room_id,
            ServerMessage::History(history) => &history.room_id,
            ServerMessage::Hello(_)
            | ServerMessage::Message(_)
            | ServerMessage::RoomList(_)
            | ServerMessage::UserList(_)
            | ServerMessage::Pong(_)
            | ServerMessage::Error(_) => return Ok(()),
        };
        let view = self.rooms.get_mut(room);
        reached.rule("T-1", view.is_some(), || format!("{conn} is not in {room}"))?;
        let view = view.expect("T-1 was just checked");
        let place = |name: &Username| view.users.iter().position(|user| user == name);
        if let ServerMessage::UserJoined(joined) = message {
            let is_new = place(&joined.username).is_none();
            reached.rule("T-6", is_new, || format!("{} came twice", joined.username))?;
            view.users.push(joined.username.clone());
            view.user_count += 1;
        } else if let ServerMessage::UserLeft(left) = message {
            let found = place(&left.username);
            reached.rule("T-6", found.is_some() || !view.is_whole, || {
                format!("{} left twice", left.username)
            })?;
            found.map(|place| view.users.remove(place));
            view.user_count -= 1;
        }
        Ok(())
    }

    /// T-8: an answer is to one question, and to the oldest of them if one asks no more before it.
    fn take_answer(
        &mut self,
        message: &ServerMessage,
        is_new: bool,
        reached: &mut Reached,
    ) -> Result<(), Failure> {
        let is_answer = match message {
            ServerMessage::Message(delivery) => is_new || delivery.duplicate,
            ServerMessage::Left(left) => left.reason.is_none(),
            ServerMessage::Error(error) => error.0.code != ErrorCode::ServerShutdown,
            ServerMessage::UserJoined(_)
            | ServerMessage::UserLeft(_)
            | ServerMessage::Typing(_) => false,
            ServerMessage::Hello(_)
            | ServerMessage::Joined(_)
            | ServerMessage::RoomList(_)
            | ServerMessage::UserList(_)
            | ServerMessage::History(_)
            | ServerMessage::Pong(_) => true,
        };
        // What may wait can be overtaken by what was asked later, so the latest comes first.
        let mut asked = self.asked.iter();
        let place = asked.rposition(|question| question.is_answered_by(message, is_new));
        if let Some(place) = place.filter(|_| is_answer) {
            self.asked.remove(place);
            return reached.rule("T-8", true, String::new);
        }
        // What others say answers nothing.
        let is_live = is_new && matches!(message, ServerMessage::Message(d) if !d.own);
        reached.rule("T-8", !is_answer || is_live, || {
            format!("{} asked {:?} and gets {message:?}", self.conn, self.asked)
        })
    }
}

/// Adds to what is listed of `room`.
fn push(by_room: &mut Map<String, Value>, room: &RoomId, item: Value) {
    let all = by_room.entry(room.as_str()).or_insert_with(|| json!([]));
    if let Value::Array(all) = all {
        all.push(item);
    }
}

fn note(message: &ServerMessage, reached: &mut Reached) {
    reached.messages.insert(match message {
        ServerMessage::Hello(_) => "hello",
        ServerMessage::Joined(_) => "joined",
        ServerMessage::Left(left) => {
            if left.reason.is_some() {
                reached.situations.insert("a room was taken away");
            }
            "left"
        }
        ServerMessage::Message(_) => "message",
        ServerMessage::UserJoined(_) => "user_joined",
        ServerMessage::UserLeft(left) => {
            reached.situations.insert(left_because(left.reason));
            "user_left"
        }
        ServerMessage::Typing(_) => "typing",
        ServerMessage::RoomList(_) => "room_list",
        ServerMessage::UserList(_) => "user_list",
        ServerMessage::History(_) => "history",
        ServerMessage::Pong(_) => "pong",
        ServerMessage::Error(error) => {
            reached.codes.insert(error.0.code);
            "error"
        }
    });
}

const fn left_because(cause: parlor_core::Cause) -> &'static str {
    use parlor_core::Cause;
    match cause {
        Cause::Left => "user_left: left",
        Cause::Disconnected => "user_left: disconnected",
        Cause::Timeout => "user_left: timeout",
        Cause::Slow => "user_left: slow",
        Cause::Flooding => "user_left: flooding",
        Cause::Forbidden => "user_left: forbidden",
    }
}
