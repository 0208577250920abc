//! Keys come from files, never from the command line, which everybody on the machine can read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parlor_smol::KeyError;

/// A file with a key that is of no use.
#[derive(Debug)]
pub(crate) enum KeyFileError {
    Unreadable(PathBuf, io::Error),
    Unusable(PathBuf, KeyError),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::Unusable(file, error) => write!(f, "{}: {error}", file.display()),
        }
    }
}

impl std::error::Error for KeyFileError {}

/// What `make` makes of the key in a file.
pub(crate) fn with_key<T>(
    file: &Path,
    make: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, KeyFileError> {
    let key = fs::read(file).map_err(|error| KeyFileError::Unreadable(file.into(), error))?;
    make(&key).map_err(|error| KeyFileError::Unusable(file.into(), error))
}
