//! The invariants of a [`State`](crate::State), by number. Each is checked in the module that owns
//! it; ARCHITECTURE.md lists them with the ones that only tests over many steps can see.

use alloc::string::String;
use core::fmt;

/// A rule that every reachable state keeps. The numbers are never given to another rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// I-1.
    Clock,
    /// I-2.
    Presence,
    /// I-3.
    Rooms,
    /// I-4.
    Limits,
    /// I-5.
    MemberList,
    /// I-6.
    Seqs,
    /// I-7.
    Tail,
    /// I-8.
    Names,
}

impl Invariant {
    /// Every invariant, by number.
    pub const ALL: &[Self] = &[
        Self::Clock,
        Self::Presence,
        Self::Rooms,
        Self::Limits,
        Self::MemberList,
        Self::Seqs,
        Self::Tail,
        Self::Names,
    ];

    /// Its number in ARCHITECTURE.md.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::Clock => "I-1",
            Self::Presence => "I-2",
            Self::Rooms => "I-3",
            Self::Limits => "I-4",
            Self::MemberList => "I-5",
            Self::Seqs => "I-6",
            Self::Tail => "I-7",
            Self::Names => "I-8",
        }
    }
}

/// A state that cannot be: which rule it breaks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.number(), self.detail)
    }
}

impl core::error::Error for Violation {}

pub(crate) fn ensure(
    holds: bool,
    invariant: Invariant,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            detail: detail(),
        })
    }
}
