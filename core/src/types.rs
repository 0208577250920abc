//! The values that the domain is made of. Each checks itself on construction, so nothing behind
//! this module ever holds a bad one.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use serde::{Deserialize, Serialize, Serializer};

use crate::encode::escaped_bytes;
use crate::limits::{ROOM_ID_CHARS, TEXT_CHARS, TOKEN_CHARS, USERNAME_CHARS};
use crate::name::NameKey;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time and `ms` milliseconds, at most the end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, 0 if it lies behind.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One connection, never used again after it ended. The high 16 bits are left for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// The place of an entry in a room's log: 1, 2, 3 … within an epoch; 0 is before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The one behind this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A load of a room, numbered by the state: its answer names it, so that a late answer to an
/// earlier load is not taken for it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LoadId(pub u64);

/// Names a publication to the application that made it, from then until its answer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PublicationId(pub u64);

/// 128 random bits that name a guest to itself: who holds them may be another connection of that
/// guest. A secret, so [`fmt::Debug`] prints nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(with = "String", extend("pattern" = "^[0-9a-f]{32}$"))
)]
#[serde(try_from = "String")]
pub struct ResumeToken(u128);

impl ResumeToken {
    /// From 128 random bits of a cryptographic source.
    #[must_use]
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }

    /// A token that nobody was given: random bits are not all zero.
    pub const UNKNOWN: Self = Self(0);

    /// The secret itself, for whoever keeps it from being shown.
    #[must_use]
    pub const fn reveal(self) -> u128 {
        self.0
    }

    /// From what a client sent: 32 hexadecimal digits in lower case, or none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !well_formed {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(…)")
    }
}

impl Serialize for ResumeToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl TryFrom<String> for ResumeToken {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::parse(&text).ok_or(InvalidText::ForbiddenCharacter)
    }
}

/// Which rule a text broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidText {
    /// Nothing, or nothing visible.
    Empty,
    /// More scalar values than this.
    TooLong(u32),
    /// A control, format or line-separator character, or one that is not printable ASCII where
    /// only that is allowed.
    ForbiddenCharacter,
    /// White space at either end.
    OuterWhiteSpace,
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty, or without a visible character"),
            Self::TooLong(most) => write!(f, "longer than {most} characters"),
            Self::ForbiddenCharacter => f.write_str("holds a character that is not allowed"),
            Self::OuterWhiteSpace => f.write_str("white space at either end"),
        }
    }
}

impl core::error::Error for InvalidText {}

/// A string newtype over `Arc<str>`: checked when made, cheap to clone, a plain string in serde.
/// The rule that it keeps is a function of this module, and one of `schema`. It is measured when it
/// is made, since most are encoded many times.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $rule:ident, $most:expr) => {
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[cfg_attr(
            feature = "schema",
            derive(schemars::JsonSchema),
            schemars(with = "String", transform = crate::schema::$rule($most))
        )]
        #[serde(try_from = "String")]
        $(#[$doc])*
        pub struct $name {
            text: Arc<str>,
            escaped_bytes: u32,
        }

        impl $name {
            /// Checks `text` and keeps a copy.
            ///
            /// # Errors
            /// The rule that `text` breaks.
            pub fn new(text: &str) -> Result<Self, InvalidText> {
                $rule(text, $most)?;
                Ok(Self {
                    text: text.into(),
                    escaped_bytes: measured(text),
                })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// At most so many bytes does it take inside a JSON string.
            #[must_use]
            pub const fn escaped_bytes(&self) -> usize {
                self.escaped_bytes as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.text).finish()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::new(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

/// [`escaped_bytes`] of what keeps a rule: some 8000 bytes, each of which takes 6 at most.
fn measured(text: &str) -> u32 {
    u32::try_from(escaped_bytes(text)).unwrap_or(u32::MAX)
}

text_type! {
    /// The name of a room: opaque, compared byte by byte. 1 to 64 scalar values, no control,
    /// format or line-separator character, no white space at either end.
    RoomId, visible, ROOM_ID_CHARS
}
text_type! {
    /// What somebody said: 1 to 2000 scalar values of any kind.
    MessageText, length, TEXT_CHARS
}
text_type! {
    /// A client's own id of a message, with which a retry is recognised: 1 to 64 printable ASCII
    /// characters.
    ClientMsgId, printable_ascii, TOKEN_CHARS
}
text_type! {
    /// A client's own tag of a request, echoed by its answer: 1 to 64 printable ASCII characters.
    Ref, printable_ascii, TOKEN_CHARS
}
text_type! {
    /// Names one life of a room's log, within which no seq repeats: 1 to 64 printable ASCII
    /// characters.
    Epoch, printable_ascii, TOKEN_CHARS
}

/// What a user is called: 1 to 32 scalar values, no control, format or line-separator character,
/// no white space at either end. It knows its key, by which names are compared.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(
        with = "String",
        transform = crate::schema::visible(USERNAME_CHARS),
        transform = crate::schema::has_key,
    )
)]
#[serde(try_from = "String")]
pub struct Username {
    text: Arc<str>,
    escaped_bytes: u32,
    key: NameKey,
}

impl Username {
    /// Checks `text` and keeps a copy.
    ///
    /// # Errors
    /// The rule that `text` breaks; a name whose key is empty is [`InvalidText::Empty`].
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        visible(text, USERNAME_CHARS)?;
        let key = NameKey::of(text).ok_or(InvalidText::Empty)?;
        Ok(Self {
            text: text.into(),
            escaped_bytes: measured(text),
            key,
        })
    }

    /// The name as its holder spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// At most so many bytes does it take inside a JSON string.
    #[must_use]
    pub const fn escaped_bytes(&self) -> usize {
        self.escaped_bytes as usize
    }

    /// What decides whether two names are the same.
    #[must_use]
    pub fn key(&self) -> &NameKey {
        &self.key
    }
}

/// By spelling; for sameness of names compare the keys.
impl PartialEq for Username {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Username {}

impl Serialize for Username {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl TryFrom<String> for Username {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::new(&text)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a room may be entered: its id, or every id that begins so when it ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomPattern(pub Arc<str>);

impl RoomPattern {
    /// Whether this pattern covers `room`.
    #[must_use]
    pub fn covers(&self, room: &RoomId) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => room.as_str().starts_with(prefix),
            None => room.as_str() == &*self.0,
        }
    }
}

fn length(text: &str, most: u32) -> Result<(), InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    // A scalar value has at least one byte: most texts need no counting.
    let fits = text.len() <= most as usize || text.chars().count() <= most as usize;
    if fits {
        Ok(())
    } else {
        Err(InvalidText::TooLong(most))
    }
}

fn visible(text: &str, most: u32) -> Result<(), InvalidText> {
    length(text, most)?;
    let is_ascii = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !is_ascii && text.chars().any(is_invisible) {
        return Err(InvalidText::ForbiddenCharacter);
    }
    if text.trim() != text {
        return Err(InvalidText::OuterWhiteSpace);
    }
    Ok(())
}

/// Control, format, or a separator of lines.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

fn printable_ascii(text: &str, most: u32) -> Result<(), InvalidText> {
    length(text, most)?;
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(InvalidText::ForbiddenCharacter);
    }
    Ok(())
}

/// A secret that a client presents to prove who it is; [`fmt::Debug`] prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_string())
    }

    /// The secret itself, for whoever verifies it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_resume_token_is_32_digits_in_lower_case() {
        let digits = "0123456789abcdef0123456789abcdef";
        let parsed = ResumeToken::parse(digits).map(ResumeToken::reveal);
        assert_eq!(parsed, Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        for bad in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &digits.to_uppercase(),
            &format!("+{}", &digits[1..]),
        ] {
            assert_eq!(ResumeToken::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", ResumeToken::from_random(7), Token::new("7"));
        assert_eq!(shown, "ResumeToken(…) Token(…)");
    }
}
