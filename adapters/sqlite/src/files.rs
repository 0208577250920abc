//! The directory of a database: who may use it, and what lies in it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::DatabaseError;
use crate::schema;

/// A directory that nobody else uses as long as this lives, not even a process that does not know of
/// the other: the lock goes with the process, however it ends. It is beside the database, so that
/// the `sqlite3` shell can read that all the same.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

/// What the name of a database that was replaced by a restore ends in.
pub(crate) const REPLACED: &str = ".replaced";

/// What the name of a file ends in that is not whole yet.
pub(crate) const SCRATCH: &str = ".tmp";

/// What the name of a file begins with that is to be put at `path` when it is whole.
pub(crate) fn scratch_prefix(path: &Path) -> OsString {
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push("-");
    prefix
}

/// Where the database of the directory `dir` lies.
pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("parlor.db")
}

/// The file of that suffix that SQLite keeps beside the database at `path`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

impl DataDir {
    /// Takes `dir`, and makes it, for this user alone, if it is not there.
    pub(crate) fn take(dir: &Path) -> Result<Self, DatabaseError> {
        make_dir(dir).map_err(|cause| DatabaseError::Directory {
            dir: dir.into(),
            cause,
        })?;
        let path = dir.join("parlor.lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&path).map_err(DatabaseError::file(&path))?;
        match lock.try_lock() {
            Ok(()) => {
                let taken = Self {
                    path: dir.into(),
                    lock,
                };
                // They are in nobody's way, only large.
                let _ = taken.remove_scratch();
                Ok(taken)
            }
            Err(TryLockError::WouldBlock) => Err(DatabaseError::Locked { dir: dir.into() }),
            Err(TryLockError::Error(cause)) => Err(DatabaseError::File { path, cause }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// Removes what killed processes left of databases that they made. Only who has the lock makes
    /// any here.
    fn remove_scratch(&self) -> io::Result<()> {
        let prefix = scratch_prefix(&self.database());
        for file in fs::read_dir(&self.path)? {
            let file = file?;
            let name = file.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(SCRATCH.as_bytes()) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing the file does the same, unless a process that was just started has it, too, as it
        // does until it runs its own program.
        let _ = self.lock.unlock();
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // Those above may be new, too.
    let made: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    builder.recursive(true).create(dir)?;
    made.into_iter().try_for_each(|dir| sync_dir(folder(dir)))
}

/// The directory that `path` lies in.
pub(crate) fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or_else(|| Path::new("."))
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened as files, and names need no help.
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// What makes a file the same one under whatever name: its device and number. Nothing where the
/// system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(Option<(u64, u64)>);

/// Which file is at `path`.
pub(crate) fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt as _;
        Some((file.dev(), file.ino()))
    };
    #[cfg(not(unix))]
    let identity = file.is_file().then_some((0, 0));
    Ok(Identity(identity))
}

/// Whether the database at `path` is the file that it was.
pub(crate) fn check_place(path: &Path, was: Identity) -> Result<(), DatabaseError> {
    match identity(path) {
        Ok(is) if is == was => Ok(()),
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(DatabaseError::file(path)(cause))
        }
        Ok(_) | Err(_) => Err(DatabaseError::Moved { path: path.into() }),
    }
}

/// Whether something with content is at `path`.
pub(crate) fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Whether the database that should be at `path` was taken away: its write-ahead log is there, or
/// what an interrupted restore put aside.
pub(crate) fn remains(path: &Path) -> bool {
    has_content(&beside(path, "-wal")) || has_content(&beside(path, REPLACED))
}

/// Looks at the head of a file as SQLite lays it out (<https://www.sqlite.org/fileformat.html>),
/// without SQLite, which would put files beside it: whether it is a database of ours, of a version
/// that this program knows.
///
/// Nobody else in this process may have it open: closing the file drops their locks on it.
pub(crate) fn check_head(path: &Path) -> Result<(), DatabaseError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    const USER_VERSION_AT: usize = 60;
    const APPLICATION_ID_AT: usize = 68;
    let mut head = Vec::new();
    let file = File::open(path).map_err(DatabaseError::file(path))?;
    file.take(100)
        .read_to_end(&mut head)
        .map_err(DatabaseError::file(path))?;
    if head.len() < 100 || !head.starts_with(MAGIC) {
        return Err(DatabaseError::NotADatabase { path: path.into() });
    }
    let number = |at: usize| {
        let bytes = head[at..].first_chunk().expect("the head has 100 bytes");
        u32::from_be_bytes(*bytes)
    };
    check_identity(path, number(APPLICATION_ID_AT), number(USER_VERSION_AT))
}

/// Whether these two numbers from its head make the database at `path` one that can be used.
pub(crate) fn check_identity(
    path: &Path,
    application_id: u32,
    version: u32,
) -> Result<(), DatabaseError> {
    if application_id != schema::APPLICATION_ID {
        return Err(DatabaseError::Foreign { path: path.into() });
    }
    if version > schema::version() {
        return Err(DatabaseError::Newer {
            path: path.into(),
            version,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::scratch;

    #[test]
    fn what_a_killed_process_did_not_finish_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["parlor.db", "copy.db"] {
            let (file, _) = scratch(&dir.path().join(name)).unwrap();
            file.keep().unwrap();
        }
        fs::write(database(dir.path()), "").unwrap();
        drop(DataDir::take(dir.path()).unwrap());
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert!(left[0].starts_with("copy.db-"), "somebody else's: {left:?}");
        assert_eq!(left[1..], ["parlor.db", "parlor.lock"]);
    }
}
