//! From a [`ServerMessage`] to the JSON text of its frame, and how long such frames are.

use alloc::vec::Vec;

use crate::log::Entry;
use crate::protocol::ServerMessage;
use crate::types::RoomId;

/// The JSON text of `message`.
#[must_use]
pub fn encode(message: &ServerMessage) -> Vec<u8> {
    serde_json::to_vec(message).expect("every key is a string, and no value refuses to serialise")
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

/// The most that a plain `message` takes on the wire besides its three strings: field names,
/// quotes, two numbers of 20 digits and the frame's head.
const MESSAGE_OVERHEAD_BYTES: usize =
    r#"{"type":"message","roomId":"","from":"","text":"","timestamp":,"seq":}"#.len() + 2 * 20 + 4;

/// At most this many bytes does the plain `message` of `entry` take on the wire: never too few, and
/// too many only by the digits that its numbers lack and by [`escaped_bytes`].
#[must_use]
pub fn message_bytes(room: &RoomId, entry: &Entry) -> usize {
    MESSAGE_OVERHEAD_BYTES
        + escaped_bytes(room.as_str())
        + escaped_bytes(entry.from.as_str())
        + escaped_bytes(entry.text.as_str())
}

/// At most this many bytes does `text` take inside a JSON string: serde_json writes a quote and a
/// backslash in two bytes, and a control character in six or, for the common ones, in two.
#[must_use]
pub fn escaped_bytes(text: &str) -> usize {
    // Without a branch, since every message passes here more than once.
    let extra =
        |byte: &u8| u32::from(*byte == b'"' || *byte == b'\\') + 5 * u32::from(*byte < 0x20);
    text.len() + text.as_bytes().iter().map(extra).sum::<u32>() as usize
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;

    use super::*;
    use crate::protocol::Delivery;
    use crate::types::{MessageText, Seq, Timestamp, Username};

    fn entry(text: &str, number: u64) -> Arc<Entry> {
        Arc::new(Entry {
            seq: Seq(number),
            at: Timestamp(number),
            from: Username::new("a\"\\é").unwrap(),
            text: MessageText::new(text).unwrap(),
            client_msg_id: None,
        })
    }

    #[test]
    fn the_estimate_of_a_message_is_never_too_small_and_hardly_too_large() {
        let room = RoomId::new("r\"é").unwrap();
        let every_ascii: String = (0..128u8).map(char::from).collect();
        assert!(
            serde_json::to_string(&every_ascii).unwrap().len() - 2 <= escaped_bytes(&every_ascii)
        );
        for text in [
            &every_ascii[0x20..],
            "x",
            "é𝄞\u{2028}",
            &"\u{1}".repeat(2000),
            &"x".repeat(100),
        ] {
            for number in [1, u64::MAX] {
                let entry = entry(text, number);
                let message = ServerMessage::Message(Delivery::plain(room.clone(), entry.clone()));
                let actual = frame_bytes(encode(&message).len());
                let estimate = message_bytes(&room, &entry);
                assert!(actual <= estimate, "{actual} > {estimate} for {text:?}");
                assert!(estimate <= actual + 2 * 19 + 2, "{estimate} for {actual}");
            }
        }
    }
}
