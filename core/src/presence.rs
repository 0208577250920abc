//! Who is connected, as whom, and in which rooms: I-2, I-3, I-5 and I-8. Nobody else changes any
//! of it.
//!
//! A connection may have a user; a user has a name and at least one connection; a room has members
//! (connections) and, while its log loads, joins and publications that wait. A user is in a room as
//! long as one of its connections is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::check::{Invariant, Violation, ensure};
use crate::event::{Identity, Publication};
use crate::limits::Limits;
use crate::name::NameKey;
use crate::protocol::Since;
use crate::rate::Bucket;
use crate::redact::Redact;
use crate::types::{ConnId, LoadId, Ref, ResumeToken, RoomId, RoomPattern, Username};

/// A guest, or the subject of a token. Never the spelling of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UserId(u64);

/// A join that was accepted: all that its answer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) conn: ConnId,
    pub(crate) since: Option<Since>,
    pub(crate) history: u32,
    pub(crate) reference: Option<Ref>,
}

/// What waits for a room to load, each kind in the order in which it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) joins: Vec<Join>,
    pub(crate) publications: Vec<Publication>,
}

impl Waiting {
    fn is_nobody(&self) -> bool {
        self.joins.is_empty() && self.publications.is_empty()
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    resume_token: ResumeToken,
    user: Option<UserId>,
    /// Set when the token it last presented cannot be honoured: its hello will be refused.
    rejected: bool,
    /// The rooms its token covers; none means all.
    allowed: Option<Arc<[RoomPattern]>>,
    rooms: BTreeSet<RoomId>,
    waiting: BTreeSet<RoomId>,
    /// Flood control of `message`.
    pub(crate) messages: Bucket,
}

impl Connection {
    pub(crate) const fn resume_token(&self) -> ResumeToken {
        self.resume_token
    }

    pub(crate) const fn has_user(&self) -> bool {
        self.user.is_some()
    }

    pub(crate) const fn is_rejected(&self) -> bool {
        self.rejected
    }

    pub(crate) fn may_enter(&self, room: &RoomId) -> bool {
        self.allowed
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|p| p.covers(room)))
    }

    /// Whether there are rooms that it may not enter.
    pub(crate) const fn is_limited(&self) -> bool {
        self.allowed.is_some()
    }

    pub(crate) fn is_in(&self, room: &RoomId) -> bool {
        self.rooms.contains(room)
    }

    pub(crate) fn waits_for(&self, room: &RoomId) -> bool {
        self.waiting.contains(room)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) const fn rooms(&self) -> &BTreeSet<RoomId> {
        &self.rooms
    }

    pub(crate) const fn waiting(&self) -> &BTreeSet<RoomId> {
        &self.waiting
    }

    /// Rooms it is in or waits for.
    pub(crate) fn room_count(&self) -> usize {
        self.rooms.len() + self.waiting.len()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    name: Username,
    connections: BTreeSet<ConnId>,
    /// With it, a further connection is this guest; none for the subject of a token.
    resume_token: Option<ResumeToken>,
}

/// A room that is open or loading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Room {
    /// The load under way; none once the room is open.
    loading: Option<LoadId>,
    waiting: Waiting,
    members: BTreeSet<ConnId>,
    users: BTreeMap<UserId, Stay>,
    /// The names of the users in order of joining: they are listed for each who joins.
    arrivals: BTreeMap<u64, Username>,
    next_arrival: u64,
    #[serde(skip)]
    shared: Shared,
}

/// A user's time in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stay {
    arrival: u64,
    connections: u32,
}

/// The member list that messages of the room share (I-5). A cache, so it is not part of what makes
/// two states equal, and is not serialised.
#[derive(Clone, Debug, Default)]
struct Shared(Option<Arc<[ConnId]>>);

impl PartialEq for Shared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shared {}

impl Room {
    pub(crate) const fn loading(&self) -> Option<LoadId> {
        self.loading
    }

    /// Members and waiting joins.
    pub(crate) fn headcount(&self) -> usize {
        self.members.len() + self.waiting.joins.len()
    }

    /// Publications that wait.
    pub(crate) const fn publication_count(&self) -> usize {
        self.waiting.publications.len()
    }

    /// I-3: nobody is in it, and nothing waits for it.
    fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.waiting.is_nobody()
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn user_count(&self) -> u32 {
        u32::try_from(self.users.len()).unwrap_or(u32::MAX)
    }
}

/// What a connection's leaving a room meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// No other connection of its user is in the room.
    pub(crate) last_of_user: bool,
    /// Nobody is.
    pub(crate) emptied: bool,
}

/// Everybody and everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    connections: BTreeMap<ConnId, Connection>,
    users: BTreeMap<UserId, User>,
    names: BTreeMap<NameKey, UserId>,
    guests: BTreeMap<ResumeToken, UserId>,
    rooms: BTreeMap<RoomId, Room>,
    /// Members of all rooms together.
    members: usize,
    next_user: u64,
}

impl Presence {
    // Connections and users.

    /// Takes in a connection; one that is known already stays as it is.
    pub(crate) fn connect(&mut self, conn: ConnId, resume_token: ResumeToken) {
        self.connections.entry(conn).or_insert_with(|| Connection {
            resume_token,
            user: None,
            rejected: false,
            allowed: None,
            rooms: BTreeSet::new(),
            waiting: BTreeSet::new(),
            messages: Bucket::default(),
        });
    }

    pub(crate) fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.get(&conn)
    }

    pub(crate) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(&conn)
    }

    pub(crate) fn connection_ids(&self) -> impl Iterator<Item = ConnId> {
        self.connections.keys().copied()
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn username(&self, conn: ConnId) -> Option<&Username> {
        Some(&self.user_of(conn)?.name)
    }

    /// The token with which a further connection of the same guest introduces itself.
    pub(crate) fn guest_token(&self, conn: ConnId) -> Option<ResumeToken> {
        match self.user_of(conn) {
            Some(user) => user.resume_token,
            None => self.connection(conn).map(Connection::resume_token),
        }
    }

    /// The connections of the user with this name.
    pub(crate) fn connections_of(&self, name: &Username) -> impl Iterator<Item = ConnId> {
        let user = self.names.get(name.key()).and_then(|id| self.users.get(id));
        user.into_iter()
            .flat_map(|user| user.connections.iter().copied())
    }

    pub(crate) fn is_taken(&self, name: &Username) -> bool {
        self.names.contains_key(name.key())
    }

    /// Gives a connection without a user the name of a new guest; the name is free.
    pub(crate) fn begin_guest(&mut self, conn: ConnId, name: Username) {
        let Some(connection) = self.connections.get(&conn) else {
            return;
        };
        let resume_token = connection.resume_token;
        let user = self.begin_user(name, Some(resume_token));
        // Tokens are random: should two be equal all the same, the first guest keeps its own.
        self.guests.entry(resume_token).or_insert(user);
        self.attach(conn, user);
    }

    /// Makes a connection without a user another one of the guest with this token, if it lives.
    pub(crate) fn resume(&mut self, conn: ConnId, resume_token: ResumeToken) {
        if let Some(&user) = self.guests.get(&resume_token) {
            self.attach(conn, user);
        }
    }

    /// Makes a connection one of the subject of a verified token, or marks it as rejected: when
    /// its name is held by another user, or the connection is already somebody else's.
    pub(crate) fn identify(&mut self, conn: ConnId, identity: Identity) {
        let Identity { subject, rooms } = identity;
        let holder = self.names.get(subject.key()).copied();
        let same = |id: UserId| self.users.get(&id).is_some_and(|user| user.name == subject);
        let Some(connection) = self.connections.get(&conn) else {
            return;
        };
        let rejected = match (connection.user, holder) {
            (Some(user), _) => !same(user),
            (None, Some(holder)) => !same(holder),
            (None, None) => false,
        };
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.rejected = rejected;
            if rejected {
                return;
            }
            connection.allowed = rooms;
            if connection.user.is_some() {
                return;
            }
        }
        let user = holder.unwrap_or_else(|| self.begin_user(subject, None));
        self.attach(conn, user);
    }

    /// Forgets a connection that is in no room any more: its waiting joins, and its user if it was
    /// the last.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get(&conn) else {
            return;
        };
        for id in connection.waiting.clone() {
            self.stop_waiting(conn, &id);
        }
        let Some(connection) = self.connections.remove(&conn) else {
            return;
        };
        let Some(id) = connection.user else { return };
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        user.connections.remove(&conn);
        if !user.connections.is_empty() {
            return;
        }
        self.names.remove(user.name.key());
        if let Some(token) = user.resume_token
            && self.guests.get(&token) == Some(&id)
        {
            self.guests.remove(&token);
        }
        self.users.remove(&id);
    }

    fn user_of(&self, conn: ConnId) -> Option<&User> {
        self.users.get(&self.connections.get(&conn)?.user?)
    }

    fn begin_user(&mut self, name: Username, resume_token: Option<ResumeToken>) -> UserId {
        let id = UserId(self.next_user);
        self.next_user += 1;
        self.names.insert(name.key().clone(), id);
        self.users.insert(
            id,
            User {
                name,
                connections: BTreeSet::new(),
                resume_token,
            },
        );
        id
    }

    fn attach(&mut self, conn: ConnId, id: UserId) {
        if let (Some(connection), Some(user)) =
            (self.connections.get_mut(&conn), self.users.get_mut(&id))
        {
            connection.user = Some(id);
            user.connections.insert(conn);
        }
    }

    // Rooms.

    pub(crate) fn room(&self, room: &RoomId) -> Option<&Room> {
        self.rooms.get(room)
    }

    pub(crate) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn room_ids(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.keys()
    }

    /// Members of all rooms together.
    pub(crate) const fn member_count(&self) -> usize {
        self.members
    }

    /// Lets a join wait for its room, under `load` if it is the first.
    pub(crate) fn wait(&mut self, room: &RoomId, load: LoadId, join: Join) {
        let Some(connection) = self.connections.get_mut(&join.conn) else {
            return;
        };
        connection.waiting.insert(room.clone());
        self.waiting(room, load).joins.push(join);
    }

    /// Lets a publication wait for its room, under `load` if it is the first.
    pub(crate) fn wait_to_publish(&mut self, room: &RoomId, load: LoadId, what: Publication) {
        self.waiting(room, load).publications.push(what);
    }

    fn waiting(&mut self, room: &RoomId, load: LoadId) -> &mut Waiting {
        let room = self.rooms.entry(room.clone()).or_default();
        room.loading.get_or_insert(load);
        &mut room.waiting
    }

    /// Ends a load: what waited for it. The room is open now, and is gone unless a join enters it.
    pub(crate) fn end_wait(&mut self, id: &RoomId) -> Waiting {
        let Some(room) = self.rooms.get_mut(id) else {
            return Waiting::default();
        };
        room.loading = None;
        let waiting = core::mem::take(&mut room.waiting);
        for join in &waiting.joins {
            if let Some(connection) = self.connections.get_mut(&join.conn) {
                connection.waiting.remove(id);
            }
        }
        self.close_if_deserted(id);
        waiting
    }

    /// Takes back a join that waits; a room that nothing else waits for is gone.
    pub(crate) fn stop_waiting(&mut self, conn: ConnId, id: &RoomId) -> Option<Join> {
        self.connections.get_mut(&conn)?.waiting.remove(id);
        let room = self.rooms.get_mut(id)?;
        let joins = &mut room.waiting.joins;
        let place = joins.iter().position(|join| join.conn == conn)?;
        let join = joins.remove(place);
        self.close_if_deserted(id);
        Some(join)
    }

    /// The publications that wait for any room.
    pub(crate) fn publications(&self) -> impl Iterator<Item = &Publication> {
        let rooms = self.rooms.values();
        rooms.flat_map(|room| &room.waiting.publications)
    }

    /// Makes a connection that has a user a member. True if it is the first of its user.
    pub(crate) fn enter(&mut self, conn: ConnId, id: &RoomId) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return false;
        };
        let Some(user) = connection.user else {
            return false;
        };
        let Some(name) = self.users.get(&user).map(|user| &user.name) else {
            return false;
        };
        connection.rooms.insert(id.clone());
        let room = self.rooms.entry(id.clone()).or_default();
        room.shared = Shared(None);
        self.members += usize::from(room.members.insert(conn));
        if let Some(stay) = room.users.get_mut(&user) {
            stay.connections += 1;
            return false;
        }
        let arrival = room.next_arrival;
        room.next_arrival += 1;
        room.users.insert(
            user,
            Stay {
                arrival,
                connections: 1,
            },
        );
        room.arrivals.insert(arrival, name.clone());
        true
    }

    /// Ends the membership of a connection; none if it was not a member.
    pub(crate) fn exit(&mut self, conn: ConnId, id: &RoomId) -> Option<Exit> {
        let connection = self.connections.get_mut(&conn)?;
        let user = connection.user?;
        let room = self.rooms.get_mut(id)?;
        if !connection.rooms.remove(id) {
            return None;
        }
        room.shared = Shared(None);
        self.members -= usize::from(room.members.remove(&conn));
        let stay = room.users.get_mut(&user)?;
        stay.connections -= 1;
        let last_of_user = stay.connections == 0;
        if last_of_user {
            room.arrivals.remove(&stay.arrival);
            room.users.remove(&user);
        }
        Some(Exit {
            last_of_user,
            emptied: self.close_if_deserted(id),
        })
    }

    /// The members, in a list that is made anew only after somebody came or went.
    pub(crate) fn members(&mut self, room: &RoomId) -> Option<Arc<[ConnId]>> {
        let room = self.rooms.get_mut(room)?;
        let Shared(list) = &mut room.shared;
        Some(
            list.get_or_insert_with(|| room.members.iter().copied().collect())
                .clone(),
        )
    }

    /// The users of a room in order of joining.
    pub(crate) fn users(&self, room: &RoomId) -> impl Iterator<Item = &Username> {
        let room = self.rooms.get(room).into_iter();
        room.flat_map(|room| room.arrivals.values())
    }

    fn close_if_deserted(&mut self, id: &RoomId) -> bool {
        let deserted = self.rooms.get(id).is_some_and(Room::is_deserted);
        if deserted {
            self.rooms.remove(id);
        }
        deserted
    }

    // Traces.

    /// I-2: a guest is found by the replacement of its token.
    pub(crate) fn redact(&mut self, by: &impl Redact) {
        for connection in self.connections.values_mut() {
            by.token(&mut connection.resume_token);
        }
        for token in self
            .users
            .values_mut()
            .filter_map(|user| user.resume_token.as_mut())
        {
            by.token(token);
        }
        let guests = core::mem::take(&mut self.guests).into_iter();
        self.guests = guests
            .map(|(mut token, user)| {
                by.token(&mut token);
                (token, user)
            })
            .collect();
        for room in self.rooms.values_mut() {
            let publications = room.waiting.publications.iter_mut();
            publications.for_each(|publication| by.text(&mut publication.text));
        }
    }

    // Invariants.

    /// I-2, I-3, I-5, I-8 and the limits of I-4 that concern presence.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Violation> {
        for (&conn, connection) in &self.connections {
            self.check_connection(conn, connection, limits)?;
        }
        for (&id, user) in &self.users {
            self.check_user(id, user)?;
        }
        let named = |(key, id): (&NameKey, &UserId)| {
            self.users
                .get(id)
                .is_some_and(|user| user.name.key() == key)
        };
        ensure(self.names.iter().all(named), Invariant::Names, || {
            "a name belongs to nobody or to somebody else".into()
        })?;
        let held = |(token, id): (&ResumeToken, &UserId)| {
            self.users
                .get(id)
                .is_some_and(|user| user.resume_token == Some(*token))
        };
        ensure(self.guests.iter().all(held), Invariant::Presence, || {
            "a resume token belongs to nobody or to somebody else".into()
        })?;
        ensure(
            self.rooms.len() <= limits.open_rooms as usize,
            Invariant::Limits,
            || format!("{} rooms are open", self.rooms.len()),
        )?;
        for (id, room) in &self.rooms {
            self.check_room(id, room, limits)?;
        }
        let members: usize = self.rooms.values().map(Room::member_count).sum();
        ensure(members == self.members, Invariant::Presence, || {
            format!("{members} members are counted as {}", self.members)
        })
    }

    fn check_connection(
        &self,
        conn: ConnId,
        connection: &Connection,
        limits: &Limits,
    ) -> Result<(), Violation> {
        let user = connection.user.map(|id| self.users.get(&id));
        ensure(
            user.is_none_or(|user| user.is_some_and(|user| user.connections.contains(&conn))),
            Invariant::Presence,
            || format!("{conn} is of a user who does not know it"),
        )?;
        ensure(
            connection.user.is_some() || connection.room_count() == 0,
            Invariant::Presence,
            || format!("{conn} is in a room without a name"),
        )?;
        let member = |id| {
            self.rooms
                .get(id)
                .is_some_and(|room: &Room| room.members.contains(&conn))
        };
        ensure(
            connection.rooms.iter().all(member),
            Invariant::Presence,
            || format!("{conn} is in a room that does not know it"),
        )?;
        let waits = |id| {
            let joins = |room: &Room| {
                let joins = room.waiting.joins.iter();
                joins.filter(|join| join.conn == conn).count()
            };
            self.rooms.get(id).is_some_and(|room| joins(room) == 1)
        };
        ensure(
            connection.waiting.iter().all(waits),
            Invariant::Presence,
            || format!("{conn} waits for a room that does not know it"),
        )?;
        let within = connection.room_count() <= limits.rooms_per_connection as usize;
        ensure(within, Invariant::Limits, || {
            format!("{conn} is in too many rooms")
        })
    }

    fn check_user(&self, id: UserId, user: &User) -> Result<(), Violation> {
        let name = &user.name;
        ensure(!user.connections.is_empty(), Invariant::Presence, || {
            format!("{name} has no connection")
        })?;
        let back = |conn| {
            self.connections
                .get(conn)
                .is_some_and(|c: &Connection| c.user == Some(id))
        };
        ensure(
            user.connections.iter().all(back),
            Invariant::Presence,
            || format!("{name} has a connection that is not its own"),
        )?;
        ensure(
            self.names.get(name.key()) == Some(&id),
            Invariant::Names,
            || format!("{name} does not hold its name"),
        )
    }

    fn check_room(&self, id: &RoomId, room: &Room, limits: &Limits) -> Result<(), Violation> {
        ensure(!room.is_deserted(), Invariant::Rooms, || {
            format!("nobody is in {id}")
        })?;
        let phase = match room.loading {
            Some(_) => room.members.is_empty(),
            None => room.waiting.is_nobody(),
        };
        ensure(phase, Invariant::Rooms, || {
            format!("{id} is open and loading")
        })?;
        ensure(
            room.headcount() <= limits.members_per_room as usize,
            Invariant::Limits,
            || format!("{id} has too many members"),
        )?;
        ensure(
            room.publication_count() <= limits.tail_entries as usize,
            Invariant::Limits,
            || format!("too many publications wait for {id}"),
        )?;
        let knows = |conn: &ConnId| {
            self.connections
                .get(conn)
                .is_some_and(|c| c.rooms.contains(id))
        };
        let expects = |join: &Join| {
            self.connections
                .get(&join.conn)
                .is_some_and(|c| c.waiting.contains(id))
        };
        let mutual = room.members.iter().all(knows) && room.waiting.joins.iter().all(expects);
        ensure(mutual, Invariant::Presence, || {
            format!("{id} has a member that is elsewhere")
        })?;
        let mut connections: BTreeMap<UserId, u32> = BTreeMap::new();
        for conn in &room.members {
            if let Some(user) = self.connections.get(conn).and_then(|c| c.user) {
                *connections.entry(user).or_default() += 1;
            }
        }
        let counted = room
            .users
            .iter()
            .map(|(&user, stay)| (user, stay.connections));
        ensure(counted.eq(connections), Invariant::Presence, || {
            format!("{id} counts its users wrongly")
        })?;
        let arrived = room.users.iter().all(|(user, stay)| {
            let name = self.users.get(user).map(|user| &user.name);
            stay.arrival < room.next_arrival && room.arrivals.get(&stay.arrival) == name
        });
        ensure(
            arrived && room.arrivals.len() == room.users.len(),
            Invariant::Presence,
            || format!("{id} has lost the order of joining"),
        )?;
        let Shared(list) = &room.shared;
        let same = list
            .as_ref()
            .is_none_or(|list| list.iter().eq(&room.members));
        ensure(same, Invariant::MemberList, || {
            format!("the member list of {id} is stale")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_5_a_stale_member_list_is_found() {
        let (conn, room) = (ConnId(1), RoomId::new("general").unwrap());
        let mut presence = Presence::default();
        presence.connect(conn, ResumeToken::from_random(1));
        presence.begin_guest(conn, Username::new("alice").unwrap());
        presence.enter(conn, &room);
        assert_eq!(presence.members(&room).as_deref(), Some(&[conn][..]));
        presence.check(&Limits::default()).unwrap();

        // Not serialised, so no state from outside can have it.
        let stale = Shared(Some([ConnId(2)].into()));
        presence.rooms.get_mut(&room).unwrap().shared = stale;
        let violation = presence.check(&Limits::default()).unwrap_err();
        assert_eq!(violation.invariant, Invariant::MemberList);
        let found = "I-5: the member list of general is stale";
        assert_eq!(format!("{violation}"), found);
    }
}
