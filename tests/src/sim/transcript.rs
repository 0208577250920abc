//! What happened, in lines of text.

use std::fmt::{self, Write as _};

/// A whole run, or only what tells it from every other.
#[derive(Clone, Debug)]
pub struct Transcript {
    lines: Option<String>,
    last: Vec<String>,
    digest: u64,
    len: u64,
}

/// Lines that are kept of a run that is not kept.
const LAST_LINES: usize = 60;

impl Transcript {
    /// An empty one. Whether all lines are kept, or only the last.
    #[must_use]
    pub const fn new(keeps_all: bool) -> Self {
        Self {
            lines: if keeps_all { Some(String::new()) } else { None },
            last: Vec::new(),
            // FNV-1a (Fowler, Noll and Vo).
            digest: 0xcbf2_9ce4_8422_2325,
            len: 0,
        }
    }

    /// One more line, at so many ms.
    pub fn line(&mut self, at_ms: u64, what: fmt::Arguments<'_>) {
        let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
        let line = format!("{seconds:4}.{ms:03} {what}\n");
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.len += 1;
        if let Some(lines) = &mut self.lines {
            lines.push_str(&line);
            return;
        }
        if self.last.len() >= 2 * LAST_LINES {
            self.last.drain(..LAST_LINES);
        }
        self.last.push(line);
    }

    /// The same for two runs whose lines are the same, byte for byte.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many lines it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lines, or the last of them.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(lines) = &self.lines {
            return lines.clone();
        }
        let mut text = String::new();
        let skipped = self.last.len().saturating_sub(LAST_LINES);
        let before = self.len - (self.last.len() - skipped) as u64;
        if before > 0 {
            let _ = writeln!(text, "… {before} lines before");
        }
        self.last[skipped..].iter().for_each(|line| text += line);
        text
    }
}
