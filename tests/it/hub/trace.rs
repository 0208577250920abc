//! What a hub was fed can happen again.

use std::collections::BTreeMap;

use parlor_core::{Effect, ErrorCode, Limits, ServerMessage};
use parlor_hub::CrashReport;
use parlor_hub::trace::{Line, Player, Reader, Recorded, Texts, Verdict, Why};
use parlor_tests::driven_hub::{DrivenHub, Outcome, ScriptedStore};
use parlor_tests::taped::{Replayed, replay};

use super::limits;

/// Replays what `hub` recorded, and compares the reports of its panics; what there was.
pub(super) fn check(hub: &DrivenHub) -> Replayed {
    let replayed = replay(&hub.trace());
    let mut numbers = 0;
    for (begin, next) in replayed.begins.iter().zip(replayed.begins.iter().skip(1)) {
        numbers += begin.lost;
        assert!(begin.event < next.event);
        let is_hole = next.why == Why::Lost;
        assert!(!is_hole || next.lost > 0, "{next:?}");
    }
    numbers += replayed.begins.last().map_or(0, |last| last.lost);
    numbers += replayed.events.len() as u64;
    let last = replayed.events.last().map_or(0, |event| event.number);
    assert_eq!(numbers, last, "what is lost is counted");

    let recorded: BTreeMap<u64, &Recorded> = replayed
        .events
        .iter()
        .map(|event| (event.number, event))
        .collect();
    for report in hub.take_crashes() {
        check_report(&report, &recorded);
    }
    replayed
}

/// A report has what was recorded, and can be replayed if it is complete.
fn check_report(report: &CrashReport, recorded: &BTreeMap<u64, &Recorded>) {
    let mut bytes = Vec::new();
    let written = report.write(Some("a recording"), &mut bytes);
    written.expect("memory takes it");
    let mut reader = Reader::open(&bytes[..]).expect("it is a trace");
    let crash = reader.head().crash.clone().expect("it is of a panic");
    assert_eq!((crash.event, crash.conn), (report.number, report.conn));
    assert_eq!(crash.recording.is_some(), report.recorded);
    let expected = if report.complete {
        Verdict::Unknown
    } else {
        Verdict::NotApplied
    };
    let (mut player, mut last) = (Player::default(), None);
    while let Some(line) = reader.next_line().expect("it is as it was written") {
        match line {
            Line::Begin(begin) => {
                assert_eq!(begin.state.is_some(), report.complete);
                player.begin(*begin).expect("it can begin");
            }
            Line::Event(event) => {
                let played = player.event(&event).expect("it is the next");
                assert_eq!(played.verdict, expected);
                if let Some(same) = recorded.get(&event.number) {
                    assert_eq!((same.at, &same.input), (event.at, &event.input));
                }
                last = Some(event.number);
            }
        }
    }
    assert!(last.is_none_or(|last| last == crash.event));
    // A panic before the first event of a state says nothing of the recording.
    let is_recorded = recorded.contains_key(&crash.event);
    assert!(
        last.is_none() || is_recorded == report.recorded,
        "{crash:?}"
    );
}

#[test]
fn panics_and_failed_commits_begin_new_states() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    bob.socket.panic();
    alice.say("r", "one");
    hub.answer_all();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| hub.join(name, "r"));
    store.script().appends.push_back(Outcome::Fails);
    alice.say("r", "two");
    bob.say("r", "three");
    hub.answer_all();
    hub.wait(2000);
    hub.answer_all();
    drop(hub.join("alice", "r"));
    hub.settle();

    assert_eq!(hub.take_crashes().len(), 1);
    let replayed = check(&hub);
    let whys: Vec<Why> = replayed.begins.iter().map(|begin| begin.why).collect();
    assert_eq!(whys, [Why::Start, Why::Rebuilt, Why::Rebuilt]);
    let numbers: Vec<u64> = replayed.events.iter().map(|event| event.number).collect();
    let all: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, all);
}

#[test]
fn texts_are_recorded_if_they_are_asked_for_and_tokens_never() {
    for (texts, shown) in [(Texts::Redacted, false), (Texts::Plain, true)] {
        let store = ScriptedStore::default();
        let limits = limits();
        let mut hub = DrivenHub::recorded(&limits, &store, false, |tapes| {
            Box::new(tapes.recorder(texts, &limits))
        });
        let mut alice = hub.join("alice", "r");
        alice.say("r", "my secret");
        hub.answer_all();
        alice.end(None);
        // It comes again from the store, and by a page.
        let mut alice = hub.join("alice", "r");
        alice.send(r#"{"type":"get_history","roomId":"r"}"#);
        hub.answer_all();
        let known = format!("{:032x}", 1);
        let mut bob = hub.connect();
        bob.send(&format!(
            r#"{{"type":"hello","protocol":1,"resumeToken":"{known}"}}"#
        ));
        hub.answer_all();
        let replayed = check(&hub);
        assert!(replayed.events.len() > 5);
        let text = String::from_utf8(hub.trace()).unwrap();
        assert_eq!(text.contains("my secret"), shown, "{text}");
        assert_eq!(text.contains("xxxxxxxxx"), !shown, "{text}");
        for number in 1..5 {
            assert!(!text.contains(&format!("{number:032x}")), "{text}");
        }
    }
}

#[test]
fn a_guest_comes_back_in_a_replay_too() {
    let limits = Limits {
        members_per_room: 9,
        ..limits()
    };
    let mut hub = DrivenHub::in_memory(&limits);
    let _alice = hub.join("alice", "r");
    let mut again = hub.connect();
    let token = format!("{:032x}", 1);
    again.send(&format!(
        r#"{{"type":"hello","protocol":1,"resumeToken":"{token}"}}"#
    ));
    again.send(r#"{"type":"join","roomId":"r"}"#);
    hub.settle();
    assert_eq!(again.read(), ["hello alice", "joined r 0"]);
    let replayed = check(&hub);
    assert_eq!(replayed.events.len(), 6);
}

#[test]
fn a_crash_report_leads_to_the_same_refusals() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    for text in ["one", "one", "two"] {
        alice.send(&format!(
            r#"{{"type":"message","roomId":"r","text":"{text}","clientMsgId":"1"}}"#
        ));
        hub.settle();
    }
    alice.socket.panic();
    alice.send(r#"{"type":"ping"}"#);
    hub.settle();
    let [report] = &hub.take_crashes()[..] else {
        panic!("one report");
    };
    let mut bytes = Vec::new();
    report.write(None, &mut bytes).expect("memory takes it");
    let mut reader = Reader::open(&bytes[..]).expect("it is a trace");
    let (mut player, mut codes) = (Player::default(), Vec::new());
    while let Some(line) = reader.next_line().expect("it is as it was written") {
        match line {
            Line::Begin(begin) => player.begin(*begin).expect("it can begin"),
            Line::Event(event) => {
                let played = player.event(&event).expect("it is the next");
                codes.extend(played.effects.iter().filter_map(refused));
            }
        }
    }
    assert_eq!(
        codes,
        [ErrorCode::DuplicateId],
        "the third has another text"
    );
}

fn refused(effect: &Effect) -> Option<ErrorCode> {
    if let Effect::Send { message, .. } = effect
        && let ServerMessage::Error(error) = message
    {
        Some(error.0.code)
    } else {
        None
    }
}
