//! What the bytes of a fuzzer decide.

/// One byte for each choice; 0 when there are none left.
pub(super) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    /// A number below `bound`, 256 at most; 0 if there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()).checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, sides: usize) -> bool {
        // The last one, so that nothing rare happens when no byte is left.
        self.below(sides) + 1 == sides
    }

    /// Nothing, or a number up to `most`.
    pub(super) fn maybe(&mut self, most: u64) -> Option<u64> {
        let byte = u64::from(self.byte());
        (byte % 2 == 1).then(|| byte / 2 * most / 127)
    }

    /// Some of the bytes as they are.
    pub(super) fn text(&mut self) -> String {
        let len = self.below(64).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into()
    }
}
