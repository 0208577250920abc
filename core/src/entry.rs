//! One thing said in a room, and how much room it takes on the wire.

use serde::{Deserialize, Serialize};

use crate::types::{ClientMsgId, MessageText, RoomId, Seq, Timestamp, Username};

/// One thing said in a room, as it is stored and as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log.
    pub seq: Seq,
    /// When; never before the entry ahead of it.
    pub at: Timestamp,
    /// Who, as the name was spelled.
    pub from: Username,
    /// What.
    pub text: MessageText,
    /// The sender's own id of it.
    pub client_msg_id: Option<ClientMsgId>,
}

impl Entry {
    /// At most this many bytes does its `message` in `room` take on the wire, the sender's id
    /// included: never too few, and too many only by the digits that its numbers lack and by
    /// [`escaped_bytes`](crate::encode::escaped_bytes).
    #[must_use]
    pub fn frame_bytes(&self, room: &RoomId) -> usize {
        MESSAGE_OVERHEAD_BYTES
            + room.escaped_bytes()
            + self.from.escaped_bytes()
            + self.text.escaped_bytes()
            + self
                .client_msg_id
                .as_ref()
                .map_or(0, |id| CLIENT_MSG_ID_OVERHEAD_BYTES + id.escaped_bytes())
    }
}

/// What the field of the sender's id takes besides the id.
const CLIENT_MSG_ID_OVERHEAD_BYTES: usize = r#","clientMsgId":"""#.len();
/// The most that a plain `message` takes on the wire besides its three strings: field names,
/// quotes, two numbers of 20 digits and the frame's head.
const MESSAGE_OVERHEAD_BYTES: usize =
    r#"{"type":"message","roomId":"","from":"","text":"","timestamp":,"seq":}"#.len() + 2 * 20 + 4;

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;

    use super::*;
    use crate::encode::{encode, frame_bytes};
    use crate::protocol::{Delivery, ServerMessage};

    fn entry(text: &str, number: u64, id: Option<&str>) -> Arc<Entry> {
        Arc::new(Entry {
            seq: Seq(number),
            at: Timestamp(number),
            from: Username::new("a\"\\é").unwrap(),
            text: MessageText::new(text).unwrap(),
            client_msg_id: id.map(|id| ClientMsgId::new(id).unwrap()),
        })
    }

    #[test]
    fn the_estimate_of_a_message_is_never_too_small_and_hardly_too_large() {
        let room = RoomId::new("r\"é").unwrap();
        let every_ascii: String = (0..128u8).map(char::from).collect();
        for text in [
            &every_ascii[0x20..],
            "x",
            "é𝄞\u{2028}",
            &"\u{1}".repeat(2000),
            &"x".repeat(100),
        ] {
            for (number, id) in [(1, None), (u64::MAX, None), (u64::MAX, Some(r#""a-1\"#))] {
                let entry = entry(text, number, id);
                let own = Delivery::replayed(room.clone(), entry.clone(), Some(&entry.from));
                let message = ServerMessage::Message(own);
                let actual = frame_bytes(encode(&message).len());
                let estimate = entry.frame_bytes(&room);
                assert!(actual <= estimate, "{actual} > {estimate} for {text:?}");
                assert!(estimate <= actual + 2 * 19 + 2, "{estimate} for {actual}");
            }
        }
    }
}
