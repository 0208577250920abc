//! From the bytes of a trace to its lines. A trace may come from anywhere.

use std::fmt;
use std::io::{self, BufRead, Read};

use serde::Deserialize;

use super::show::printable;
use super::{FORMAT, Head, Line, MOST_LINE_BYTES};

/// Reads a trace line by line, and holds one of them.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    head: Head,
    /// The number of the last line that was read.
    line: u64,
    buffer: Vec<u8>,
    is_cut: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head of a trace.
    ///
    /// # Errors
    /// When it is none, or none that this version can read.
    pub fn open(mut from: R) -> Result<Self, TraceError> {
        #[derive(Deserialize)]
        struct Version {
            trace: u32,
        }
        let mut buffer = Vec::new();
        read_line(&mut from, &mut buffer, MOST_LINE_BYTES)?;
        let version: Version = serde_json::from_slice(&buffer).map_err(|_| TraceError::NoTrace)?;
        if version.trace != FORMAT {
            return Err(TraceError::Format(version.trace));
        }
        let head = serde_json::from_slice(&buffer).map_err(|error| bad(1, &error))?;
        Ok(Self {
            from,
            head,
            line: 1,
            buffer,
            is_cut: false,
        })
    }

    /// The first line.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The number of the line that was read last.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Whether the last line is cut short: whoever wrote it was killed, or had no room.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// When it cannot be read, or is no line of a trace.
    pub fn next_line(&mut self) -> Result<Option<Line>, TraceError> {
        self.line += 1;
        let is_whole = match read_line(&mut self.from, &mut self.buffer, MOST_LINE_BYTES) {
            Err(TraceError::TooLong(_)) => return Err(TraceError::TooLong(self.line)),
            read => read?,
        };
        if self.buffer.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&self.buffer) {
            Ok(line) => Ok(Some(line)),
            Err(error) if is_whole => Err(bad(self.line, &error)),
            Err(_) => {
                self.is_cut = true;
                Ok(None)
            }
        }
    }
}

/// Whether the line has its end. It has at most so many bytes, its end included.
fn read_line(
    from: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    most_bytes: usize,
) -> Result<bool, TraceError> {
    buffer.clear();
    buffer.shrink_to(1 << 20);
    let one_more = most_bytes as u64 + 1;
    let read = from.by_ref().take(one_more).read_until(b'\n', buffer);
    read.map_err(TraceError::Io)?;
    if buffer.len() > most_bytes {
        return Err(TraceError::TooLong(1));
    }
    Ok(buffer.ends_with(b"\n"))
}

fn bad(line: u64, error: &serde_json::Error) -> TraceError {
    TraceError::Line(line, error.to_string())
}

/// Why a trace cannot be read.
#[derive(Debug)]
pub enum TraceError {
    /// The system does not read it.
    Io(io::Error),
    /// It is something else.
    NoTrace,
    /// It is of a format that this version does not know.
    Format(u32),
    /// A line is none of a trace, with what is wrong about it.
    Line(u64, String),
    /// A line is too long.
    TooLong(u64),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::NoTrace => f.write_str("is no recording and no crash report of parlor"),
            Self::Format(format) => write!(
                f,
                "is a trace of format {format}, and this version of parlor reads format {FORMAT}: \
                 use the version that wrote it"
            ),
            Self::Line(line, reason) => {
                write!(
                    f,
                    "line {line} is no line of a trace: {}",
                    printable(reason)
                )
            }
            Self::TooLong(line) => {
                write!(f, "line {line} is longer than {MOST_LINE_BYTES} bytes")
            }
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoTrace | Self::Format(_) | Self::Line(..) | Self::TooLong(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use parlor_core::{Input, Limits, Timestamp};

    use super::super::{Recorded, Texts};
    use super::*;

    /// The trace with these lines behind its head.
    fn open(lines: &str) -> Reader<Cursor<Vec<u8>>> {
        let head = Head::new(Timestamp(1), Texts::Redacted, Limits::default());
        let text = format!("{}\n{lines}", serde_json::to_string(&head).unwrap());
        Reader::open(Cursor::new(text.into_bytes())).unwrap()
    }

    fn event(number: u64) -> String {
        let recorded = Recorded {
            number,
            at: Timestamp(1),
            input: Input::Shutdown,
            digest: None,
        };
        serde_json::to_string(&Line::Event(recorded)).unwrap()
    }

    /// The numbers of the events up to the end, or the error before it.
    fn rest(reader: &mut Reader<Cursor<Vec<u8>>>) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::new();
        while let Some(line) = reader.next_line().map_err(|error| error.to_string())? {
            let Line::Event(event) = line else {
                panic!("nothing begins here");
            };
            numbers.push(event.number);
        }
        Ok(numbers)
    }

    #[test]
    fn lines_are_counted() {
        let mut reader = open(&format!("{}\n{}\n", event(7), event(8)));
        assert_eq!(reader.head().at, Timestamp(1));
        assert_eq!(reader.line(), 1);
        assert!(reader.next_line().unwrap().is_some());
        assert_eq!(reader.line(), 2);
        assert!(reader.next_line().unwrap().is_some());
        assert_eq!(reader.line(), 3);
        assert!(reader.next_line().unwrap().is_none());
        assert!(!reader.is_cut());
    }

    #[test]
    fn only_the_last_line_may_be_cut_short() {
        let (one, two) = (event(1), event(2));
        let mut cut = open(&format!("{one}\n{}", &two[..two.len() - 1]));
        assert_eq!(rest(&mut cut), Ok(vec![1]));
        assert!(cut.is_cut());

        let mut whole = open(&format!("{one}\n{two}"));
        assert_eq!(rest(&mut whole), Ok(vec![1, 2]));
        assert!(!whole.is_cut());

        let mut bad = open(&format!("{one}\n{}\n", &two[..two.len() - 1]));
        let error = rest(&mut bad).unwrap_err();
        let place = "line 3 is no line of a trace: EOF while parsing";
        assert!(error.starts_with(place), "{error}");
    }

    #[test]
    fn a_line_has_as_many_bytes_as_it_may_and_not_one_more() {
        let read = |text: &str, most| {
            let (mut from, mut buffer) = (text.as_bytes(), Vec::new());
            let is_whole = read_line(&mut from, &mut buffer, most).ok();
            is_whole.map(|is_whole| (is_whole, buffer.len()))
        };
        assert_eq!(read("abc\ndef\n", 5), Some((true, 4)));
        assert_eq!(read("abc\ndef\n", 4), Some((true, 4)));
        assert_eq!(read("abc\ndef\n", 3), None);
        assert_eq!(read("abc", 3), Some((false, 3)));
        assert_eq!(read("abc", 2), None);
    }
}
