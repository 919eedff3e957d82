//! A run's folder: its script, and its output until the server has it.
//!
//! **Shape.** `Agent/State/work/<run>-<attempt>/` (0700) with `script`, `stdout`, `stderr`, and `wrapper` (process id and
//! start time). Output is bounded: what is beyond the limit is read and dropped, so that neither memory nor disk grows.

use crate::core::record::RunKey;
use crate::paths::private_folder;
use borealis_bus_schema::messages::scheduler::OutputStream;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Returns a run's folder.
pub fn folder(work: &Path, key: RunKey) -> PathBuf {
    work.join(key.to_string())
}

const fn name(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    }
}

/// Is the limit that both streams of a run share.
#[derive(Debug, Clone)]
pub struct Limit {
    left: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
}

impl Limit {
    /// Makes a limit of that many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(bytes)),
            cut: Arc::new(AtomicBool::new(false)),
        }
    }
    /// Takes up to `wanted` bytes of it, and notes when it was less.
    fn take(&self, wanted: u64) -> u64 {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            Some(left.saturating_sub(wanted))
        });
        let granted = taken.unwrap_or(0).min(wanted);
        if granted < wanted {
            self.mark();
        }
        granted
    }
    fn mark(&self) {
        self.cut.store(true, Ordering::Release);
    }
    /// Tells whether output was cut.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

/// Writes one stream.
#[derive(Debug)]
pub struct Spool {
    file: File,
    size: u64,
    limit: Limit,
    broken: bool,
}

impl Spool {
    /// Begins a stream's file.
    ///
    /// Errors: what the system refused.
    pub fn create(folder: &Path, stream: OutputStream, limit: &Limit) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.join(name(stream)))?;
        Ok(Self {
            file,
            size: 0,
            limit: limit.clone(),
            broken: false,
        })
    }

    /// Keeps what fits of these bytes, and returns the stream's size.
    ///
    /// A disk that is full cuts the output like the limit does: the run goes on.
    pub fn write(&mut self, bytes: &[u8]) -> u64 {
        if self.broken {
            return self.size;
        }
        let granted = self.limit.take(bytes.len() as u64);
        let kept = bytes
            .get(..usize::try_from(granted).unwrap_or(bytes.len()))
            .unwrap_or(bytes);
        match self.file.write_all(kept) {
            Ok(()) => self.size += kept.len() as u64,
            Err(error) => {
                tracing::error!(error = %error, "output cannot be kept; it is cut here");
                self.limit.mark();
                self.broken = true;
            }
        }
        self.size
    }

    /// Returns the stream's size.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Reads a piece of a stream.
///
/// Errors: what the system refused, also when the spool is shorter.
pub fn read(work: &Path, key: RunKey, stream: OutputStream, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let file = File::open(folder(work, key).join(name(stream)))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Returns how much of both streams is kept.
pub fn sizes(work: &Path, key: RunKey) -> (u64, u64) {
    let size = |stream| std::fs::metadata(folder(work, key).join(name(stream))).map_or(0, |meta| meta.len());
    (size(OutputStream::Stdout), size(OutputStream::Stderr))
}

/// Makes a run's folder anew.
///
/// Errors: what the system refused.
pub fn prepare(work: &Path, key: RunKey) -> io::Result<PathBuf> {
    remove(work, key)?;
    let folder = folder(work, key);
    private_folder(&folder)?;
    Ok(folder)
}

/// Removes a run's folder.
///
/// Errors: what the system refused.
pub fn remove(work: &Path, key: RunKey) -> io::Result<()> {
    match std::fs::remove_dir_all(folder(work, key)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the folders of runs that are over; a crash may have left some.
pub fn keep_only(work: &Path, runs: &[RunKey]) {
    let kept: Vec<String> = runs.iter().map(ToString::to_string).collect();
    let Ok(entries) = std::fs::read_dir(work) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if !kept.iter().any(|kept| name.to_str() == Some(kept))
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(error = %error, "the folder of a run that is over cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::RunId;

    const KEY: RunKey = RunKey {
        run: RunId::from_bytes([1; 16]),
        attempt: 1,
    };

    #[test]
    fn given_more_than_the_limit_then_both_streams_together_stay_below_it() {
        let work = tempfile::tempdir().unwrap();
        let folder = prepare(work.path(), KEY).unwrap();
        let limit = Limit::new(10);
        let mut out = Spool::create(&folder, OutputStream::Stdout, &limit).unwrap();
        let mut err = Spool::create(&folder, OutputStream::Stderr, &limit).unwrap();
        assert_eq!(out.write(b"123456"), 6);
        assert!(!limit.is_cut());
        assert_eq!(err.write(b"abcdef"), 4);
        assert!(limit.is_cut());
        assert_eq!(out.write(b"x"), 6);
        assert_eq!(sizes(work.path(), KEY), (6, 4));
        assert_eq!(read(work.path(), KEY, OutputStream::Stderr, 1, 3).unwrap(), b"bcd");
        assert!(read(work.path(), KEY, OutputStream::Stderr, 1, 4).is_err());
    }

    #[test]
    fn given_folders_of_runs_that_are_over_then_only_the_others_stay() {
        let work = tempfile::tempdir().unwrap();
        let other = RunKey { attempt: 2, ..KEY };
        prepare(work.path(), KEY).unwrap();
        prepare(work.path(), other).unwrap();
        keep_only(work.path(), &[other]);
        assert!(!folder(work.path(), KEY).exists() && folder(work.path(), other).exists());
    }

    #[test]
    fn given_a_disk_that_is_full_then_output_is_cut_and_the_run_goes_on() {
        let work = tempfile::tempdir().unwrap();
        let folder = prepare(work.path(), KEY).unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.join("stdout")).unwrap();
        let limit = Limit::new(100);
        let mut out = Spool::create(&folder, OutputStream::Stdout, &limit).unwrap();
        assert_eq!(out.write(b"abc"), 0);
        assert!(limit.is_cut());
    }
}
