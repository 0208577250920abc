//! From a [`ServerMessage`] to the JSON text of its frame.

use alloc::vec::Vec;

use crate::protocol::ServerMessage;

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
