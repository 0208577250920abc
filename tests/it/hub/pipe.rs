//! A connection whose outlet is a pipe is as good as one with a socket.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use parlor_core::CloseReason;
use parlor_hub::{LastWord, Outlet, PipeReader, pipe};
use parlor_tests::driven_hub::{Client, DrivenHub};
use parlor_tests::virtual_socket::{VirtualOutlet, VirtualSocket};

use super::{kib, limits};

/// What carries on what comes out of a pipe.
struct Pump {
    frames: PipeReader,
    socket: VirtualOutlet,
}

impl Pump {
    /// Carries on one piece; false if nothing waits.
    fn step(&mut self, hub: &mut DrivenHub) -> bool {
        let Some(Some(piece)) = at_once(self.frames.read()) else {
            return false;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let written = self.socket.poll_write(&mut cx, &piece).map(Result::ok);
        assert_eq!(written, Poll::Ready(Some(piece.len())));
        hub.settle();
        true
    }

    fn run(&mut self, hub: &mut DrivenHub) {
        while self.step(hub) {}
    }

    fn last_word(&self) -> Option<LastWord> {
        at_once(self.frames.last_word())
    }
}

/// What a future comes to without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A new connection in `r` behind a pipe, that read everything so far.
fn join(hub: &mut DrivenHub, name: &str, most_bytes: usize) -> (Client, Pump) {
    let (far, socket) = VirtualSocket::pair();
    let (outlet, frames) = pipe(most_bytes);
    let mut client = hub.open_with(far, outlet);
    let mut pump = Pump { frames, socket };
    client.join(name, "r");
    hub.settle();
    pump.run(hub);
    let answer = client.read();
    assert!(answer[0].starts_with("joined"), "{answer:?}");
    (client, pump)
}

#[test]
fn a_1_frames_come_in_order_through_a_pipe_of_any_size() {
    for most_bytes in [1, 7, 1000, 1 << 20] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let (bob, mut pump) = join(&mut hub, "bob", most_bytes);
        let _ = alice.read();
        for _ in 0..20 {
            alice.say("r", &kib());
        }
        hub.settle();
        pump.run(&mut hub);
        assert_eq!(bob.read(), alice.read());
        assert_eq!(pump.last_word(), None);
    }
}

#[test]
fn a_1_a_close_comes_behind_what_was_said_before() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let (mut bob, mut pump) = join(&mut hub, "bob", 10);
    alice.say("r", "one");
    bob.end(Some(CloseReason::Normal));
    alice.say("r", "two");
    hub.settle();
    assert_eq!(pump.last_word(), None, "the pipe is full");
    pump.run(&mut hub);
    assert_eq!(bob.read(), ["message r 1 one", "close 1000"]);
    assert_eq!(pump.last_word(), Some(LastWord::Finish));
}

#[test]
fn a_2_who_takes_nothing_out_of_a_pipe_is_cut() {
    for reads_again in [true, false] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let (bob, mut pump) = join(&mut hub, "bob", 4096);
        let mut seen = Vec::new();
        while !seen
            .last()
            .is_some_and(|frame: &String| frame.ends_with("slow"))
        {
            assert!(seen.len() < 100, "nobody is cut");
            alice.say("r", &kib());
            hub.settle();
            seen.extend(alice.read());
        }
        if reads_again {
            pump.run(&mut hub);
            let got = bob.read();
            assert_eq!(pump.last_word(), Some(LastWord::Finish));
            assert_eq!(got.last().map(String::as_str), Some("close 4000"));
            assert_eq!(got[..got.len() - 1], seen[1..got.len()], "a prefix");
        } else {
            hub.wait(5000);
            pump.run(&mut hub);
            assert_eq!(pump.last_word(), Some(LastWord::Abort));
            assert_eq!(bob.read(), [""; 0], "nothing is left to carry");
        }
    }
}

#[test]
fn a_3_a_broken_pipe_is_a_connection_that_ended() {
    for most_bytes in [1, 4096] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let (_bob, pump) = join(&mut hub, "bob", most_bytes);
        let _ = alice.read();
        alice.say("r", "one");
        hub.settle();
        assert_eq!(alice.read(), ["message r 1 one"]);
        drop(pump);
        hub.settle();
        alice.say("r", "two");
        hub.settle();
        let mut seen = alice.read();
        seen.sort();
        assert_eq!(seen, ["message r 2 two", "user_left r bob disconnected"]);
    }
}
