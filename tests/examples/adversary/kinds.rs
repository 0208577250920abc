//! What each kind of attacker does with a connection. Each returns how it ended.

use std::io;
use std::iter;
use std::time::Duration;

use parlor_tests::client::{frame, handshake, head};
use smol::Timer;
use smol::future::FutureExt;

use crate::attack::Attacker;
use crate::people::{self, room_name};
use crate::wire::{Wire, Writer};

/// Without a word, or with a reset.
pub(crate) const ENDED: &str = "ended";
/// With the code that tells what was wrong.
pub(crate) const AS_IT_SHOULD: &str = "closed as it should be";
/// All that was asked for came.
pub(crate) const ANSWERED: &str = "answered";
/// It left by itself.
pub(crate) const DROPPED: &str = "dropped";

/// Writes the same again and again, at this pace, until it cannot.
async fn write_again(writer: &Writer, bytes: &[u8], every: Duration) -> io::Result<String> {
    loop {
        writer.write(bytes).await?;
        Timer::after(every).await;
    }
}

/// Reads until the server closes; how.
async fn end(wire: &mut Wire) -> io::Result<String> {
    loop {
        if let (head::CLOSE, reason) = wire.frame().await? {
            let code = reason.first_chunk().copied().map(u16::from_be_bytes);
            return Ok(code.map_or_else(|| "closed".into(), |code| format!("closed {code}")));
        }
    }
}

/// The same while whatever comes is read, until the server closes; how.
async fn send_again(wire: &mut Wire, bytes: &[u8], every: Duration) -> io::Result<String> {
    let writer = wire.writer();
    let sending = async {
        // What the server said last may still be there to be read.
        let _ = write_again(&writer, bytes, every).await;
        std::future::pending().await
    };
    end(wire).or(sending).await
}

fn text(request: &str) -> Vec<u8> {
    frame(head::TEXT, request.as_bytes())
}

fn message(room: &str, letters: usize) -> Vec<u8> {
    let said = "x".repeat(letters);
    text(&format!(
        r#"{{"type":"message","roomId":"{room}","text":"{said}"}}"#
    ))
}

/// Never reads. Some sit among the people; some talk among themselves at length; some ask again and
/// again.
pub(crate) async fn mute(attacker: &Attacker) -> io::Result<String> {
    let wire = attacker.connect_narrow().await?;
    let number = attacker.number as usize;
    let writer = wire.writer();
    match number % 3 {
        0 => {
            let room = room_name(number / 3 % people::ROOMS);
            wire.write(&attacker.join(&room)).await?;
            // What people say takes longer than this to be too much for the system.
            for _ in 0..4 {
                Timer::after(Duration::from_secs(5)).await;
                wire.write(&frame(head::PONG, b"")).await?;
            }
            wire.reset();
            Ok(DROPPED.into())
        }
        1 => {
            // 25 in each room say 2,000 letters twice a second: 110 KB a second for each.
            let room = format!("mute-{}", number / 3 % 4);
            wire.write(&attacker.join(&room)).await?;
            let said = message(&room, 2000);
            write_again(&writer, &said, Duration::from_millis(500)).await
        }
        _ => {
            // A quarter of the frames that it may send, so it is not closed for that.
            let room = format!("mute-{}", number / 3 % 4);
            wire.write(&attacker.join(&room)).await?;
            let history = format!(r#"{{"type":"get_history","roomId":"{room}","limit":100}}"#);
            let asked = [
                text(&history),
                text(r#"{"type":"list_rooms"}"#),
                text(&format!(r#"{{"type":"list_users","roomId":"{room}"}}"#)),
                text(r#"{"type":"ping","ref":"0123456789012345678901234567890123456789"}"#)
                    .repeat(22),
            ];
            write_again(&writer, &asked.concat(), Duration::from_secs(1)).await
        }
    }
}

/// Never finishes a handshake: says nothing, half of it, a byte a second, one header after the
/// other, or one header without end.
pub(crate) async fn slow_handshake(attacker: &Attacker) -> io::Result<String> {
    let mut wire = attacker.dial().await?;
    let writer = wire.writer();
    let request = handshake("/ws");
    let (line, rest) = request.split_at(request.len() / 2);
    let slowly = async {
        let second = Duration::from_secs(1);
        match attacker.number % 5 {
            0 => {}
            1 => writer.write(line.as_bytes()).await?,
            2 => {
                for byte in line.bytes().chain(rest.bytes().take(50)) {
                    writer.write(&[byte]).await?;
                    Timer::after(second).await;
                }
            }
            3 => {
                writer.write(b"GET /ws HTTP/1.1\r\n").await?;
                write_again(&writer, b"X-A: b\r\n", second / 4).await?;
            }
            _ => {
                writer.write(b"GET /ws HTTP/1.1\r\nCookie: ").await?;
                write_again(&writer, &[b'x'; 1 << 10], second / 4).await?;
            }
        }
        std::future::pending().await
    };
    let ending = async {
        wire.status()
            .await
            .map(|status| format!("refused {status}"))
    };
    ending.or(slowly).await
}

/// A thousand frames a second, ten times as many as it may send.
pub(crate) async fn flood(attacker: &Attacker) -> io::Result<String> {
    const AT_ONCE: usize = 200;
    let number = attacker.number as usize;
    let own = format!("flood-{}", number % 10);
    let of_people = room_name(number % people::ROOMS);
    let (room, frames) = match number % 10 {
        0 => (&own, text(r#"{"type":"ping"}"#)),
        1 => (&own, frame(head::PING, b"")),
        2 => (&own, frame(head::PONG, b"")),
        3 => (&own, text("garbage")),
        4 => (&own, text(r#"{"type":"list_rooms"}"#)),
        5 => (
            &own,
            text(&format!(r#"{{"type":"get_history","roomId":"{own}"}}"#)),
        ),
        6 => (&own, message(&own, 10)),
        7 => (&of_people, message(&of_people, 10)),
        8 => (
            &of_people,
            text(&format!(
                r#"{{"type":"typing","roomId":"{of_people}","active":true}}"#
            )),
        ),
        _ => (
            &of_people,
            [
                text(&format!(r#"{{"type":"leave","roomId":"{of_people}"}}"#)),
                text(&format!(r#"{{"type":"join","roomId":"{of_people}"}}"#)),
            ]
            .concat(),
        ),
    };
    let mut wire = attacker.connect().await?;
    wire.write(&attacker.join(room)).await?;
    let chunk = frames.repeat(AT_ONCE);
    send_again(&mut wire, &chunk, Duration::from_millis(200)).await
}

/// Sends a message in fragments that never end: empty ones, of one byte, or too many large ones; or
/// half a frame and then nothing.
pub(crate) async fn fragments(attacker: &Attacker) -> io::Result<String> {
    const TICK: Duration = Duration::from_millis(50);
    let mut wire = attacker.connect().await?;
    let (begin, go_on) = match attacker.number % 4 {
        0 => (&b""[..], frame(head::CONTINUES, b"").repeat(2 << 10)),
        1 => (&b"{"[..], frame(head::CONTINUES, b" ").repeat(2 << 10)),
        2 => (&b"{"[..], frame(head::CONTINUES, &[b' '; 8 << 10])),
        _ => {
            let whole = frame(head::TEXT, &[b' '; 60 << 10]);
            wire.write(&whole[..whole.len() / 2]).await?;
            return end(&mut wire).await;
        }
    };
    wire.write(&frame(head::TEXT_BEGINS, begin)).await?;
    send_again(&mut wire, &go_on, TICK).await
}

/// What breaks WebSocket, with the code that the server closes with.
fn broken() -> Vec<(Vec<u8>, u16)> {
    let announced = |length: [u8; 8]| [&[head::TEXT, 0xFF][..], &length, &[1, 2, 3, 4]].concat();
    vec![
        (vec![head::TEXT, 2, b'{', b'}'], 1002), // without a mask
        (frame(head::TEXT | 0x40, b"{}"), 1002),
        (frame(head::PING | 0x10, b""), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x8F, b""), 1002),
        (frame(head::PING & 0x7F, b""), 1002),
        (frame(head::PING, &[b'x'; 126]), 1002),
        (frame(head::ENDS, b"{}"), 1002),
        (frame(head::CLOSE, b"\x03"), 1002),
        (frame(head::BINARY, b"{}"), 1003),
        (frame(head::TEXT, b"\xED\xA0\x80"), 1007),
        (frame(head::TEXT_BEGINS, b"\xFF"), 1007),
        (frame(head::TEXT, &[b' '; (64 << 10) + 1]), 1009),
        (announced([0x7F; 8]), 1009),
        (announced([0xFF; 8]), 1009),
    ]
}

/// What is no request, though it is a text.
fn nonsense() -> Vec<Vec<u8>> {
    let deep = [&[b'['; 32 << 10][..], &[b']'; 32 << 10]].concat();
    let number = format!(r#"{{"type":"ping","ref":1{}}}"#, "0".repeat(60 << 10));
    [
        b"{".to_vec(),
        b"[]".to_vec(),
        b"\0\0\0\0".to_vec(),
        br#"{"type":"\ud800"}"#.to_vec(),
        br#"{"type":"ping","ref":1e400}"#.to_vec(),
        br#"{"type":"join","roomId":"a\u0000b","username":"c"}"#.to_vec(),
        deep.clone(),
        [
            &br#"{"type":"ping","x":"#[..],
            &deep[100..deep.len() - 100],
            b"}",
        ]
        .concat(),
        number.into_bytes(),
        [&br#"{"type":""#[..], &[b'x'; 60 << 10], br#""}"#].concat(),
    ]
    .map(|payload| frame(head::TEXT, &payload))
    .into()
}

/// Sends one thing that is broken, or twenty that make no sense.
pub(crate) async fn malformed(attacker: &mut Attacker) -> io::Result<String> {
    let mut wire = attacker.connect().await?;
    let (broken, nonsense) = (broken(), nonsense());
    let Some((bytes, code)) = broken.get(attacker.dice.pick(2 * broken.len() as u64)) else {
        let frames = iter::repeat_with(|| &nonsense[attacker.dice.pick(nonsense.len() as u64)][..]);
        let frames: Vec<&[u8]> = frames.take(20).collect();
        for frame in frames {
            wire.write(frame).await?;
            // One error, or one pong, for what is nonsense only where nobody looks.
            if !matches!(wire.frame().await?, (head::TEXT, _)) {
                return Ok("not answered".into());
            }
        }
        return Ok(ANSWERED.into());
    };
    wire.write(bytes).await?;
    let ended = end(&mut wire).await?;
    Ok(match ended == format!("closed {code}") {
        true => AS_IT_SHOULD.into(),
        false => format!("{ended}, not {code}"),
    })
}

/// Connects and is gone: before, during or behind the handshake, or as a member; with a reset or
/// without a word.
pub(crate) async fn drop_it(attacker: &mut Attacker) -> io::Result<String> {
    let mut wire = attacker.dial().await?;
    let stage = attacker.dice.roll(4);
    if stage == 1 {
        wire.write(b"GET /ws HTTP/1.1\r\nHost: par").await?;
    } else if stage > 1 {
        wire.upgrade().await?;
    }
    if stage == 3 {
        let room = room_name(attacker.dice.pick(people::ROOMS as u64));
        wire.write(&attacker.join(&room)).await?;
        wire.frame().await?;
    }
    if attacker.dice.one_in(2) {
        wire.reset();
    }
    Ok(DROPPED.into())
}

/// Asks for the largest answers there are, and reads them.
pub(crate) async fn costly(attacker: &mut Attacker) -> io::Result<String> {
    const ROUNDS: u32 = 10;
    /// A round counts as 31 frames in flood control, and 100 a second are allowed: no ping is
    /// refused.
    const PACE: Duration = Duration::from_millis(400);
    let room = format!("mute-{}", attacker.number % 4);
    let mut wire = attacker.connect().await?;
    wire.write(&attacker.join(&room)).await?;
    let history = format!(r#"{{"type":"get_history","roomId":"{room}","limit":100}}"#);
    let asked = [
        text(&history),
        text(r#"{"type":"list_rooms"}"#),
        text(&format!(r#"{{"type":"leave","roomId":"{room}"}}"#)),
        text(&format!(
            r#"{{"type":"join","roomId":"{room}","history":100}}"#
        )),
        text(r#"{"type":"ping"}"#),
    ]
    .concat();
    for _ in 0..ROUNDS {
        wire.write(&asked).await?;
        // Answers come in the order of the requests.
        loop {
            match wire.frame().await? {
                (head::CLOSE, reason) => return Ok(format!("closed {reason:?}")),
                (_, answer) if answer.starts_with(br#"{"type":"pong""#) => break,
                _ => {}
            }
        }
        Timer::after(PACE).await;
        attacker.pause(300).await;
    }
    Ok(ANSWERED.into())
}
