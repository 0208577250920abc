//! From a [`ServerMessage`] to the JSON text of its frame, and how long that is.

use alloc::vec::Vec;

use crate::protocol::{Delivery, ServerMessage};

/// The JSON text of `message`.
#[must_use]
pub fn encode(message: &ServerMessage) -> Vec<u8> {
    let mut json = Vec::new();
    encode_into(message, &mut json);
    json
}

/// Appends the JSON text of `message` to `json`, whose memory may serve one message after the other.
pub fn encode_into(message: &ServerMessage, json: &mut Vec<u8>) {
    match message {
        ServerMessage::Message(message) => delivery(message, json),
        ServerMessage::Hello(_)
        | ServerMessage::Joined(_)
        | ServerMessage::Left(_)
        | ServerMessage::UserJoined(_)
        | ServerMessage::UserLeft(_)
        | ServerMessage::Typing(_)
        | ServerMessage::RoomList(_)
        | ServerMessage::UserList(_)
        | ServerMessage::History(_)
        | ServerMessage::Pong(_)
        | ServerMessage::Error(_) => json.extend_from_slice(&by_serde(message)),
    }
}

fn by_serde(message: &ServerMessage) -> Vec<u8> {
    serde_json::to_vec(message).expect("every key is a string, and no value refuses to serialise")
}

/// What a server says most: serde_json, which looks at each byte by itself, takes five times as many
/// instructions for the same.
fn delivery(delivery: &Delivery, json: &mut Vec<u8>) {
    let Delivery {
        room,
        entry,
        own,
        duplicate,
        reference,
    } = delivery;
    json.reserve(entry.frame_bytes(room));
    json.extend_from_slice(br#"{"type":"message","roomId":"#);
    string(room.as_str(), room.escaped_bytes(), json);
    json.extend_from_slice(br#","from":"#);
    string(entry.from.as_str(), entry.from.escaped_bytes(), json);
    json.extend_from_slice(br#","text":"#);
    string(entry.text.as_str(), entry.text.escaped_bytes(), json);
    json.extend_from_slice(br#","timestamp":"#);
    number(entry.at.0, json);
    json.extend_from_slice(br#","seq":"#);
    number(entry.seq.0, json);
    if let Some(id) = entry.client_msg_id.as_ref().filter(|_| *own) {
        json.extend_from_slice(br#","clientMsgId":"#);
        string(id.as_str(), id.escaped_bytes(), json);
    }
    if let Some(reference) = reference {
        json.extend_from_slice(br#","ref":"#);
        string(reference.as_str(), reference.escaped_bytes(), json);
    }
    if *duplicate {
        json.extend_from_slice(br#","duplicate":true"#);
    }
    json.push(b'}');
}

/// A string that takes `escaped` bytes, by [`escaped_bytes`].
fn string(text: &str, escaped: usize, json: &mut Vec<u8>) {
    if escaped == text.len() {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        let quoted = serde_json::to_vec(text).expect("a string does not refuse to serialise");
        json.extend_from_slice(&quoted);
    }
}

fn number(number: u64, json: &mut Vec<u8>) {
    json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The bytes of a server-to-client frame with a payload of `payload` bytes: RFC 6455, section 5.2,
/// without a mask.
#[must_use]
pub const fn frame_bytes(payload: usize) -> usize {
    payload
        + if payload < 126 {
            2
        } else if payload <= 0xffff {
            4
        } else {
            10
        }
}

/// At most this many bytes does `text` take inside a JSON string: serde_json writes a quote and a
/// backslash in two bytes, and a control character in six or, for the common ones, in two.
#[must_use]
pub fn escaped_bytes(text: &str) -> usize {
    let added = |byte: &u8| match byte {
        b'"' | b'\\' => 1,
        ..0x20 => 5,
        _ => 0,
    };
    let added = |bytes: &[u8]| bytes.iter().map(added).sum::<usize>();
    let (words, rest) = text.as_bytes().as_chunks();
    // Most have nothing to be escaped, and every message is measured.
    let escapes = words.iter().fold(0, |found, &word| found | escapes(word));
    let in_words = if escapes == 0 {
        0
    } else {
        added(words.as_flattened())
    };
    text.len() + in_words + added(rest)
}

/// Not zero if a byte is to be escaped. A byte that is less than `n` borrows when `n` is taken from
/// it, which shows in its highest bit, unless that was set before.
const fn escapes(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    const fn less(word: u64, n: u64) -> u64 {
        word.wrapping_sub(ONES * n) & !word
    }
    let word = u64::from_ne_bytes(word);
    let quote = less(word ^ (ONES * b'"' as u64), 1);
    let backslash = less(word ^ (ONES * b'\\' as u64), 1);
    (quote | backslash | less(word, 0x20)) & HIGHEST
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;

    use super::*;
    use crate::entry::Entry;
    use crate::types::{ClientMsgId, MessageText, Ref, RoomId, Seq, Timestamp, Username};

    #[test]
    fn a_message_is_encoded_as_serde_does_it() {
        let every_ascii: String = (0..128u8).map(char::from).collect();
        for text in ["hi", "é𝄞\u{2028}", r#""\"#, &every_ascii, &"x".repeat(2000)] {
            for (room, from) in [("general", "alice"), (r#"a"b"#, r"é\")] {
                for number in [0, 7, 1_700_000_000_000, u64::MAX] {
                    for flags in 0..16 {
                        let flag = |bit: u32| flags & bit > 0;
                        let id = flag(1).then(|| ClientMsgId::new(r#"i"d"#).unwrap());
                        let entry = Entry {
                            seq: Seq(number),
                            at: Timestamp(number),
                            from: Username::new(from).unwrap(),
                            text: MessageText::new(text).unwrap(),
                            client_msg_id: id,
                        };
                        let message = ServerMessage::Message(Delivery {
                            room: RoomId::new(room).unwrap(),
                            entry: Arc::new(entry),
                            own: flag(2),
                            duplicate: flag(4),
                            reference: flag(8).then(|| Ref::new(r"r\f").unwrap()),
                        });
                        let (ours, its) = (encode(&message), by_serde(&message));
                        assert_eq!(String::from_utf8(ours), String::from_utf8(its));
                    }
                }
            }
        }
    }

    #[test]
    fn no_string_is_longer_than_it_is_said_to_be() {
        let escaped = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
        for byte in 0..128_u8 {
            let one = String::from(char::from(byte));
            let (actual, estimate) = (escaped(&one), escaped_bytes(&one));
            assert!(actual <= estimate && estimate <= 6, "{byte}");
            // Wherever it stands, and however many there are.
            for count in [31, 32, 33, 64, 2000] {
                assert_eq!(escaped_bytes(&one.repeat(count)), count * estimate);
                let last = "é".repeat(count) + &one;
                assert_eq!(escaped_bytes(&last), 2 * count + estimate);
            }
        }
    }
}
