//! What takes the place of texts and tokens.
//!
//! The core counts the characters of a text and its bytes in JSON, so a replacement has as many of
//! both: for each character one of its class. It has them in the order of the classes, so that
//! nobody sees where somebody put an umlaut or a quotation mark. Otherwise the core only asks whether
//! a retry has the text of what it retries, and its answer tells: if it had not, the retry is filled
//! with other characters than every other text is.
//!
//! A resume token is 128 random bits, so its hash says nothing of it, and needs no key.

use parlor_core::redact::Redact;
use parlor_core::types::MessageText;
use parlor_core::{
    Effect, ErrorCode, Event, Input, Recipients, Refusal, RequestKind, ResumeToken, ServerMessage,
    protocol::ErrorMessage,
};
use sha2::{Digest as _, Sha256};

use super::Texts;

/// Two characters of each class: what serde_json writes in as many bytes, from as many.
const CLASSES: [[char; 2]; 7] = [
    ['x', 'y'],
    ['é', 'è'],
    ['語', '言'],
    ['🙂', '🙃'],
    ['"', '\\'],
    ['\n', '\t'],
    ['\u{1}', '\u{2}'],
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Redactor(pub(crate) Texts);

impl Redactor {
    /// Replaces what is secret in an event that was answered so.
    pub(crate) fn event(self, event: &mut Event, other_text: bool) {
        event.redact(&self);
        if other_text && self.0 == Texts::Redacted {
            if let Input::Received { request, .. } = &mut event.input
                && let RequestKind::Message { text, .. } = &mut request.kind
            {
                *text = filled(text, 1);
            } else if let Input::Published { publication, .. } = &mut event.input {
                publication.text = filled(&publication.text, 1);
            }
        }
    }
}

impl Redact for Redactor {
    fn text(&self, text: &mut MessageText) {
        match self.0 {
            Texts::Redacted => *text = filled(text, 0),
            Texts::Plain => {}
        }
    }

    fn token(&self, token: &mut ResumeToken) {
        let mut hash = Sha256::new_with_prefix(b"resume token in a trace");
        hash.update(token.reveal().to_be_bytes());
        let hash = hash.finalize();
        let bits = hash.first_chunk().expect("it has 32 bytes");
        *token = ResumeToken::from_random(u128::from_be_bytes(*bits));
    }
}

/// Whether these effects refuse a message, or a publication, because its id was used for another
/// text.
pub(crate) fn refuse_other_text(effects: &[Effect]) -> bool {
    // Such a refusal is all that comes of it.
    matches!(
        effects,
        [Effect::Send {
            to: Recipients::One(_),
            message: ServerMessage::Error(ErrorMessage(Refusal {
                code: ErrorCode::DuplicateId,
                ..
            })),
        }] | [Effect::Answer {
            outcome: Err(ErrorCode::DuplicateId),
            ..
        }]
    )
}

fn filled(text: &MessageText, which: usize) -> MessageText {
    let mut counts = [0; CLASSES.len()];
    for c in text.as_str().chars() {
        counts[class(c)] += 1;
    }
    let mut fill = String::with_capacity(text.as_str().len());
    for (class, count) in CLASSES.iter().zip(counts) {
        fill.extend(std::iter::repeat_n(class[which], count));
    }
    MessageText::new(&fill).expect("it is as long as a text that was good")
}

const fn class(c: char) -> usize {
    match c {
        '"' | '\\' => 4,
        '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 5,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8() - 1,
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::encode::escaped_bytes;

    use super::*;

    fn of(text: &str) -> MessageText {
        MessageText::new(text).unwrap()
    }

    #[test]
    fn a_replacement_is_as_long_in_every_way() {
        let every_ascii: String = (0..128u8).map(char::from).collect();
        for text in [
            &every_ascii,
            "a",
            "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
            "\u{2028}\"\\\u{8}\t\n\u{c}\r\0\u{1f}",
            &"é".repeat(2000),
        ] {
            let text = of(text);
            for which in [0, 1] {
                let fill = filled(&text, which);
                let [was, is] = [&text, &fill].map(|text| {
                    let text = text.as_str();
                    let json = serde_json::to_string(text).unwrap().len();
                    (text.len(), text.chars().count(), escaped_bytes(text), json)
                });
                assert_eq!(was, is, "{text:?}, {fill:?}");
            }
            assert_ne!(filled(&text, 0), filled(&text, 1));
        }
    }

    #[test]
    fn nobody_sees_where_something_was() {
        assert_eq!(filled(&of("für \"uns\""), 0), of("xxxxxxé\"\""));
    }

    #[test]
    fn a_token_has_one_replacement_and_it_is_another_one() {
        let replaced = |bits| {
            let mut token = ResumeToken::from_random(bits);
            Redactor(Texts::Plain).token(&mut token);
            token.reveal()
        };
        assert_eq!(replaced(1), replaced(1));
        assert_ne!(replaced(1), replaced(2));
        assert_ne!(replaced(1), 1);
    }
}
