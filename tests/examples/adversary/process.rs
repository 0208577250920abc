//! The server under attack, as a process of its own: started, watched, and ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A server with a directory of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start(binary: &Path, options: &[&str]) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| format!("no directory: {error}"))?;
        let log = dir.path().join("log");
        let stderr = fs::File::create(&log).map_err(|error| format!("no log: {error}"))?;
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map_err(|error| format!("the server says nothing: {error}"))?;
        }
        let address = line.trim_end().strip_prefix("parlor listening on http://");
        let server = Self {
            address: address
                .and_then(|address| address.parse().ok())
                .ok_or_else(|| format!("the server says {line:?}"))?,
            child,
            log,
            _dir: dir,
        };
        Ok(server)
    }

    /// What it takes in memory.
    pub(crate) fn memory_kib(&self) -> Result<u64, String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok())
            .ok_or_else(|| "the system does not tell the server's memory".into())
    }

    /// The processor's time that it took.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        /// On every Linux that matters, whatever the kernel counts in.
        const TICK: Duration = Duration::from_millis(10);
        let stat = self.read("stat")?;
        // Fields 14 and 15 of proc_pid_stat(5); the second is a name in brackets.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
        let ticks = fields.map(|fields| fields.skip(11).take(2));
        ticks
            .and_then(|ticks| ticks.map(|field| field.parse::<u32>().ok()).sum())
            .map(|ticks: u32| TICK * ticks)
            .ok_or_else(|| "the system does not tell the server's time".into())
    }

    /// How many of its connections were cut while their own queues were neither short nor full: for
    /// the bound of all of them.
    pub(crate) fn cut_for_others(&self) -> Result<usize, String> {
        const QUEUES: Range<u64> = 256 << 10..900 << 10;
        let log = fs::read_to_string(&self.log).map_err(|error| format!("no log: {error}"))?;
        let cut = log
            .lines()
            .filter(|line| line.contains("cut: it reads too slowly"));
        let bytes = cut.filter_map(|line| line.rsplit_once("bytes=")?.1.trim().parse().ok());
        Ok(bytes.filter(|bytes| QUEUES.contains(bytes)).count())
    }

    fn read(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
