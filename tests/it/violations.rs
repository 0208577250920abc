//! `State::check` finds what it looks for: a good state is written down, broken in one place for
//! each invariant, and read again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use parlor_core::protocol::RequestKind;
use parlor_core::types::{LoadId, MessageText, PublicationId};
use parlor_core::{
    ConnId, Epoch, Event, Input, Invariant, Limits, Publication, Request, ResumeToken, RoomId,
    State, StoredLog, Timestamp, Username, step,
};
use serde_json::{Value, json};

/// Two members of room `r` who both said something, a join and a publication that wait for room
/// `w`, and one that alone waits for room `v`.
fn state() -> State {
    let room = |id| RoomId::new(id).unwrap();
    let received = |conn, kind| Input::Received {
        conn: ConnId(conn),
        request: Request {
            reference: None,
            kind,
        },
    };
    let connected = |conn| Input::Connected {
        conn: ConnId(conn),
        resume_token: ResumeToken::from_random(conn.into()),
    };
    let join = |conn, id, name| {
        let kind = RequestKind::Join {
            room: room(id),
            username: Some(Username::new(name).unwrap()),
            since: None,
            history: None,
        };
        received(conn, kind)
    };
    let say = |conn, id: &str| {
        let kind = RequestKind::Message {
            room: room("r"),
            text: MessageText::new("x").unwrap(),
            client_msg_id: serde_json::from_value(json!(id)).unwrap(),
        };
        received(conn, kind)
    };
    let publish = |number, id| Input::Published {
        room: room(id),
        publication: Publication {
            id: PublicationId(number),
            from: Username::new("bot").unwrap(),
            text: MessageText::new("x").unwrap(),
            client_msg_id: None,
        },
    };
    let loaded = Input::RoomLoaded {
        room: room("r"),
        load: LoadId(0),
        log: StoredLog::empty(Epoch::new("e").unwrap()),
    };
    let inputs = [
        connected(1),
        connected(2),
        join(1, "r", "ann"),
        loaded,
        join(2, "r", "bob"),
        say(1, "one"),
        say(2, "two"),
        join(1, "w", "ann"),
        publish(1, "w"),
        publish(2, "v"),
    ];
    let limits = Limits {
        tail_entries: 3,
        ..Limits::default()
    };
    (1..)
        .zip(inputs)
        .fold(State::new(limits), |state, (at, input)| {
            let at = Timestamp(at);
            step(state, Event { at, input }).0
        })
}

/// What `check` says of the state after `breaks` changed one value in what serde made of it.
#[track_caller]
fn breaks(place: &str, value: Value, expected: Invariant) {
    let mut written = serde_json::to_value(state()).unwrap();
    let found = written.pointer_mut(place);
    *found.unwrap_or_else(|| panic!("there is no {place}")) = value;
    let broken: State = serde_json::from_value(written).unwrap();
    let violation = broken.check().expect_err(place);
    assert_eq!(violation.invariant, expected, "{place}: {violation}");
}

#[test]
fn a_good_state_breaks_nothing() {
    assert_eq!(state().check(), Ok(()));
}

#[test]
fn i_1_a_log_that_goes_back_in_time_is_found() {
    breaks("/logs/r/tail/0/at", json!(99), Invariant::Clock);
    breaks("/logs/r/last_at", json!(1), Invariant::Clock);
}

#[test]
fn i_2_presence_that_disagrees_is_found() {
    let is = Invariant::Presence;
    breaks("/presence/connections/1/rooms", json!([]), is);
    breaks("/presence/connections/1/waiting", json!([]), is);
    breaks("/presence/connections/1/user", json!(null), is);
    breaks("/presence/connections/1/user", json!(1), is);
    breaks("/presence/rooms/r/members", json!([1]), is);
    breaks("/presence/rooms/r/users/0/connections", json!(2), is);
    breaks(
        "/presence/rooms/r/arrivals",
        json!({ "0": "bob", "1": "ann" }),
        is,
    );
    breaks("/presence/rooms/r/next_arrival", json!(1), is);
    breaks("/presence/rooms/w/waiting/joins", json!([]), is);
    breaks("/presence/members", json!(0), is);
    breaks("/presence/users/0/connections", json!([]), is);
    breaks("/presence/users/0/connections", json!([1, 2]), is);
    breaks(
        "/presence/guests/00000000000000000000000000000001",
        json!(1),
        is,
    );
}

#[test]
fn i_3_a_room_that_nobody_is_in_is_found() {
    let is = Invariant::Rooms;
    let nobody = json!({ "joins": [], "publications": [] });
    let deserted = json!({
        "loading": 1, "waiting": nobody, "members": [], "users": {}, "arrivals": {}, "next_arrival": 0,
    });
    let mut written = serde_json::to_value(state()).unwrap();
    written["presence"]["rooms"]["deserted"] = deserted;
    let broken: State = serde_json::from_value(written).unwrap();
    assert_eq!(broken.check().unwrap_err().invariant, is);
    breaks("/presence/rooms/r/loading", json!(0), is);
    breaks("/presence/rooms/w/loading", json!(null), is);
    breaks("/presence/rooms/v/loading", json!(null), is);
    breaks("/presence/rooms/v/waiting/publications", json!([]), is);
    breaks("/next_load", json!(2), is);
    breaks("/logs", json!({}), is);
    let mut logs = serde_json::to_value(state()).unwrap()["logs"].take();
    logs["w"] = logs["r"].clone();
    breaks("/logs", logs, is);
}

#[test]
fn i_4_a_limit_that_does_not_hold_is_found() {
    let is = Invariant::Limits;
    breaks("/limits/rooms_per_connection", json!(1), is);
    breaks("/limits/members_per_room", json!(1), is);
    breaks("/limits/open_rooms", json!(1), is);
    let publication = json!({ "id": 4, "from": "bot", "text": "x", "client_msg_id": null });
    let publications = json!(vec![publication; 4]);
    breaks("/presence/rooms/v/waiting/publications", publications, is);
}

#[test]
fn i_6_a_log_with_a_gap_is_found() {
    breaks("/logs/r/tail/0/seq", json!(7), Invariant::Seqs);
    breaks("/logs/r/last_seq", json!(3), Invariant::Seqs);
}

#[test]
fn i_7_a_tail_beyond_its_bounds_is_found() {
    let is = Invariant::Tail;
    breaks("/limits/tail_entries", json!(1), is);
    breaks("/limits/tail_bytes", json!(100), is);
    breaks("/logs/r/tail_bytes", json!(1), is);
    breaks("/logs/r/retries", json!({}), is);
}

#[test]
fn i_8_a_name_with_two_holders_is_found() {
    let is = Invariant::Names;
    breaks("/presence/users/1/name", json!("ANN"), is);
    breaks("/presence/names", json!({ "ann": 0, "bob": 0 }), is);
}

/// The member list is a cache that serde does not see, so no state that was read can break I-5.
/// It is the one number that the tests above leave out.
#[test]
fn every_invariant_has_its_test() {
    let tested = include_str!("violations.rs");
    for invariant in Invariant::ALL {
        let name = invariant.number().to_lowercase().replace('-', "_");
        let is_tested = tested.contains(&format!("fn {name}_"));
        assert_eq!(is_tested, *invariant != Invariant::MemberList, "{name}");
    }
}
