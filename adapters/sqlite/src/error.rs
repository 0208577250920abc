//! Why a database cannot be used, each with what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use parlor_hub::StoreError;
use rusqlite::ErrorCode;

/// Why a database cannot be opened, copied or restored. It is as it was before.
#[derive(Debug)]
pub enum DatabaseError {
    /// Another server uses this directory.
    Locked {
        /// Which.
        dir: PathBuf,
    },
    /// The directory cannot be made, or is none.
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file may be read and not written.
    ReadOnly {
        /// Which.
        path: PathBuf,
    },
    /// There is no database.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The database was taken away from beside its write-ahead log, or a restore was interrupted.
    Torn {
        /// Where it should be.
        path: PathBuf,
    },
    /// The database was moved, removed or replaced while a server used it.
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// The file is no SQLite database.
    NotADatabase {
        /// Which.
        path: PathBuf,
    },
    /// The database belongs to another program.
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    Newer {
        /// Which.
        path: PathBuf,
        /// The version of its layout.
        version: u32,
    },
    /// Its content contradicts itself.
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        cause: String,
    },
    /// There is something already where the result should go.
    InTheWay {
        /// What.
        path: PathBuf,
    },
    /// SQLite failed for a reason of its own: a full disk, an I/O error, somebody else's lock.
    Sqlite {
        /// On which file.
        path: PathBuf,
        /// Why.
        cause: rusqlite::Error,
    },
}

impl DatabaseError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |cause| Self::File {
            path: path.into(),
            cause,
        }
    }

    /// What an error of SQLite means for the file at `path`.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |cause| {
            let path = path.into();
            match cause.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
                Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                    path,
                    cause: cause.to_string(),
                },
                Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
                _ => Self::Sqlite { path, cause },
            }
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { dir } => write!(
                f,
                "another server uses {}: stop it, or give this one a directory of its own",
                dir.display()
            ),
            Self::Directory { dir, cause } => write!(
                f,
                "the directory {} cannot be used: {cause}; name one that this user may write to",
                dir.display()
            ),
            Self::File { path, cause } => write!(
                f,
                "{} cannot be used: {cause}; see to it that this user may read and write it",
                path.display()
            ),
            Self::ReadOnly { path } => write!(
                f,
                "{} cannot be written: make it and its directory writable for this user",
                path.display()
            ),
            Self::Missing { path } => write!(
                f,
                "there is no database at {}: name the directory that a server uses",
                path.display()
            ),
            Self::Torn { path } => write!(
                f,
                "{} is missing, but its write-ahead log ({0}-wal) or a replaced database ({0}.replaced) is there: put it back, or restore a backup",
                path.display()
            ),
            Self::Moved { path } => write!(
                f,
                "{} was moved, removed or replaced while the server used it: put it back, or stop the server and restore a backup",
                path.display()
            ),
            Self::NotADatabase { path } => write!(
                f,
                "{} is no SQLite database: move it away, or restore a backup",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} belongs to another program: name another directory or file",
                path.display()
            ),
            Self::Newer { path, version } => write!(
                f,
                "{} was written by a newer parlor (layout {version}): use that version, or restore an older backup",
                path.display()
            ),
            Self::Damaged { path, cause } => write!(
                f,
                "{} is damaged ({cause}): keep a copy, then restore a backup",
                path.display()
            ),
            Self::InTheWay { path } => write!(
                f,
                "{} is there already: it is not overwritten",
                path.display()
            ),
            Self::Sqlite { path, cause } => {
                write!(f, "{} cannot be used: {}", path.display(), Failure(cause))
            }
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory { cause, .. } | Self::File { cause, .. } => Some(cause),
            Self::Sqlite { cause, .. } => Some(cause),
            Self::Locked { .. }
            | Self::ReadOnly { .. }
            | Self::Missing { .. }
            | Self::Torn { .. }
            | Self::Moved { .. }
            | Self::NotADatabase { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::InTheWay { .. } => None,
        }
    }
}

/// What SQLite says of a failure, and what to do about it.
struct Failure<'a>(&'a rusqlite::Error);

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(cause) = self;
        write!(f, "{cause}")?;
        f.write_str(match cause.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "; make room on the disk",
            Some(ErrorCode::SystemIoFailure) => {
                "; look at the disk, its file system and the limits of this process"
            }
            Some(ErrorCode::ReadOnly) => "; make the database writable for this user",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "; end what else writes to the database"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "; stop the server, keep a copy, then restore a backup"
            }
            _ => "",
        })
    }
}

/// A call of a store that failed in SQLite.
pub(crate) fn failed(cause: rusqlite::Error) -> StoreError {
    StoreError::new(Failure(&cause).to_string())
}
