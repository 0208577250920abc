//! T-10 for lists: ids and names of the greatest length, more of them than an answer holds. The
//! model leaves this out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use parlor_core::encode::{encode, frame_bytes};
use parlor_core::types::MessageText;
use parlor_core::{
    ConnId, Effect, Epoch, Event, Input, Limits, Recipients, Request, RequestKind, ResumeToken,
    RoomId, ServerMessage, State, StoredLog, Timestamp, Username,
};

const COUNT: u64 = 150;

struct Server(State);

impl Server {
    /// Answers of the smallest bound that there is, and connections that stand.
    fn new() -> Self {
        let limits = Limits {
            answer_bytes: 0,
            rooms_per_connection: 1000,
            ..Limits::default()
        };
        let mut server = Self(State::new(limits));
        for conn in 0..COUNT {
            let resume_token = ResumeToken::from_random(conn.into());
            let conn = ConnId(conn);
            server.apply(Input::Connected { conn, resume_token });
        }
        server
    }

    /// The last message that comes of `input`, each within the bound.
    fn apply(&mut self, input: Input) -> Option<ServerMessage> {
        let at = Timestamp(1);
        let (mut effects, mut answer) = (Vec::new(), None);
        self.0.apply(Event { at, input }, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { message, .. } => {
                    let bytes = frame_bytes(encode(&message).len());
                    assert!(bytes <= self.0.limits().answer_bytes as usize, "{bytes}");
                    answer = Some(message);
                }
                Effect::LoadRoom { room, load } => {
                    let log = StoredLog::empty(Epoch::new("e").unwrap());
                    answer = self.apply(Input::RoomLoaded { room, load, log });
                }
                Effect::Append { .. }
                | Effect::Answer { .. }
                | Effect::Tell(_)
                | Effect::Close { .. }
                | Effect::FetchPage(_)
                | Effect::ReleaseRoom { .. } => {}
            }
        }
        answer
    }

    fn ask(&mut self, conn: u64, kind: RequestKind) -> Option<ServerMessage> {
        let conn = ConnId(conn);
        let request = Request {
            reference: None,
            kind,
        };
        self.apply(Input::Received { conn, request })
    }

    fn join(&mut self, conn: u64, room: &RoomId, name: &str) -> Option<ServerMessage> {
        let kind = RequestKind::Join {
            room: room.clone(),
            username: Some(Username::new(name).unwrap()),
            since: None,
            history: None,
        };
        self.ask(conn, kind)
    }
}

/// As long as one may be: `length` characters of four bytes but for the number.
fn long(number: u64, length: usize) -> String {
    format!("{number:03}{}", "𝄞".repeat(length - 3))
}

#[test]
fn t_10_a_list_of_rooms_is_cut_and_goes_on_behind_its_last() {
    let mut server = Server::new();
    for number in 0..COUNT {
        let room = RoomId::new(&long(number, 64)).unwrap();
        server.join(0, &room, "ann");
    }
    let (mut after, mut found, mut answers) = (None, 0, 0);
    loop {
        let answer = server.ask(0, RequestKind::ListRooms { after });
        let Some(ServerMessage::RoomList(list)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(u64::from(list.room_count), COUNT);
        let Some(last) = list.rooms.last() else { break };
        after = Some(last.id.clone());
        found += list.rooms.len() as u64;
        answers += 1;
        if found < COUNT {
            // Each count is given ten digits, and takes one.
            let another = r#"{"id":"","userCount":4294967295},"#.len() + last.id.as_str().len();
            let kept = another + 9 * list.rooms.len();
            let bytes = frame_bytes(encode(&ServerMessage::RoomList(list)).len());
            let left = server.0.limits().answer_bytes as usize - bytes;
            assert!(left < kept, "{left} bytes are left");
        }
    }
    assert_eq!(found, COUNT);
    assert!(answers > 1, "the list was not cut");
}

#[test]
fn t_10_a_list_of_users_is_cut_and_names_oneself() {
    let mut server = Server::new();
    let room = RoomId::new(&long(0, 64)).unwrap();
    for number in 0..COUNT {
        let name = long(number, 32);
        let answer = server.join(number, &room, &name);
        let Some(ServerMessage::Joined(joined)) = answer else {
            panic!("{answer:?}");
        };
        assert!(joined.users.iter().any(|user| user.as_str() == name));
        assert_eq!(u64::from(joined.user_count), number + 1);
    }
    let answer = server.ask(0, RequestKind::ListUsers { room });
    let Some(ServerMessage::UserList(list)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(u64::from(list.user_count), COUNT);
    assert!((list.users.len() as u64) < COUNT, "the list was not cut");
    let bytes = list.users.iter().map(|user| user.as_str().len() + 3);
    let half = server.0.limits().answer_bytes as usize / 2;
    let left = half - bytes.sum::<usize>();
    assert!(left < long(0, 32).len() + 3, "{left} bytes are left");
}

#[test]
fn t_10_whoever_joins_many_gets_as_much_history_as_fits_besides_their_names() {
    let mut server = Server::new();
    let room = RoomId::new("r").unwrap();
    for conn in 1..COUNT {
        server.join(conn, &room, &format!("{conn:032}"));
    }
    for conn in 1..COUNT.min(100) {
        let message = RequestKind::Message {
            room: room.clone(),
            text: MessageText::new(&"x".repeat(2000)).unwrap(),
            client_msg_id: None,
        };
        server.ask(conn, message);
    }
    let kind = RequestKind::Join {
        room,
        username: Some(Username::new("late").unwrap()),
        since: None,
        history: None,
    };
    let request = Request {
        reference: None,
        kind,
    };
    let (conn, at) = (ConnId(0), Timestamp(1));
    let (mut effects, input) = (Vec::new(), Input::Received { conn, request });
    server.0.apply(Event { at, input }, &mut effects);
    let own = effects.iter().filter_map(|effect| {
        if let Effect::Send {
            to: Recipients::One(_),
            message,
        } = effect
        {
            return Some(frame_bytes(encode(message).len()));
        }
        None
    });
    let (own, most) = (own.collect::<Vec<_>>(), server.0.limits().answer_bytes);
    let bytes: usize = own.iter().sum();
    assert!(own.len() > 1 && bytes <= most as usize, "{bytes} of {most}");
}
