//! What is said: who says it, the how manieth it is, and when it was due.

use std::fmt::Write;

/// Three numbers in hexadecimal, with a blank behind each.
pub(crate) const SHORTEST_TEXT: i64 = 8 + 1 + 8 + 1 + 16 + 1;

/// What stands in a message's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) user: u32,
    /// From 0, without a gap.
    pub(super) number: u32,
    /// When it was due, ns from the start of the run.
    pub(super) due_ns: u64,
}

impl Said {
    /// A text of this many bytes, [`SHORTEST_TEXT`] at least.
    pub(super) fn text(self, bytes: u32) -> String {
        let Self {
            user,
            number,
            due_ns,
        } = self;
        let mut text = String::with_capacity(bytes as usize);
        // Writing to a string cannot fail.
        let _ = write!(text, "{user:08x} {number:08x} {due_ns:016x} ");
        text.extend((text.len()..bytes as usize).map(|_| 'x'));
        text
    }

    /// Nothing, if it is no such text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ');
        let mut next = || u64::from_str_radix(numbers.next()?, 16).ok();
        Some(Self {
            user: next()?.try_into().ok()?,
            number: next()?.try_into().ok()?,
            due_ns: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_what_was_said() {
        let said = Said {
            user: 7,
            number: u32::MAX,
            due_ns: u64::MAX,
        };
        for bytes in [u32::try_from(SHORTEST_TEXT).unwrap(), 128, 2000] {
            let text = said.text(bytes);
            assert_eq!(text.len(), bytes as usize);
            assert_eq!(Said::parse(&text), Some(said));
        }
        for strange in ["", "hello", "1 2", "1 2 x", "100000000 0 0 "] {
            assert_eq!(Said::parse(strange), None, "{strange}");
        }
    }
}
