//! Reports of panics, as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use parlor_hub::CrashReport;
use tracing::error;

/// Reports in a directory, so that a server that is started again and again does not fill the disk:
/// the first ones tell most.
const MOST_REPORTS: usize = 20;
const PREFIX: &str = "parlor-crash-";

/// Writes a report where an operator finds it.
pub(crate) fn keep(report: &CrashReport, dir: &Path, recording: Option<&str>) {
    let written = create(dir, report.at.0).and_then(|(path, file)| {
        report.write(recording, BufWriter::new(file))?;
        Ok(path)
    });
    match written {
        Ok(path) => error!(path = %path.display(), "crash report written; parlor replay shows it"),
        Err(error) => error!(dir = %dir.display(), %error, "no crash report"),
    }
}

/// A new file. Names and room ids will be in it, so it is its owner's alone.
fn create(dir: &Path, at_ms: u64) -> io::Result<(PathBuf, File)> {
    let is_report = |file: &fs::DirEntry| {
        let name = file.file_name();
        name.to_str().is_some_and(|name| name.starts_with(PREFIX))
    };
    let reports = fs::read_dir(dir)?.flatten().filter(is_report).count();
    if reports >= MOST_REPORTS {
        let full = format!("there are {MOST_REPORTS}; look at them, and remove them");
        return Err(io::Error::other(full));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Several panics may come at one time of the hub.
    let mut path = dir.join(format!("{PREFIX}{at_ms}.jsonl"));
    for number in 1..=MOST_REPORTS {
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path.set_file_name(format!("{PREFIX}{at_ms}-{number}.jsonl"));
            }
            opened => return Ok((path, opened?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
