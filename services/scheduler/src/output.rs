//! The output that is too long for the log: one file per run and stream, synced before it is acknowledged.
//!
//! What is on disk: `Server/State/scheduler/output/<2 hex>/<run>.<stream>`, holding the stream from the first byte that does
//! not stand in the log. One writer takes whatever queued up while it last synced, writes it all, syncs each file once,
//! then answers: a thousand runs that talk at once share the disk's pace. Once a run is over its streams are [packed](packed):
//! compressed, and kept once however many runs printed the same.

pub mod packed;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::order::Digest;
use borealis_event_store::{RESERVE_BYTES, check_room, sync_folder};
use rustix::fs::OFlags;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Says that output could not be kept or read.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The disk failed.
    #[error("output of run {run} cannot be {what}")]
    Io {
        /// The run.
        run: RunId,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The writer is gone.
    #[error("the writer of output has ended")]
    Closed,
}

impl OutputError {
    /// Tells whether it is the disk that has no room.
    pub fn is_full(&self) -> bool {
        let OutputError::Io { source, .. } = self else {
            return false;
        };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

struct Write {
    run: RunId,
    stream: OutputStream,
    at: u64,
    data: Vec<u8>,
    done: oneshot::Sender<Result<(), OutputError>>,
}

/// Keeps and reads output files.
#[derive(Debug, Clone)]
pub struct OutputFiles {
    root: PathBuf,
    writer: mpsc::Sender<Write>,
}

const QUEUE: usize = 256;
const GROUP: usize = 256;

impl OutputFiles {
    /// Opens the folder and starts the writer.
    ///
    /// Errors: the system's, when the folder cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        make_folder(root)?;
        let (writer, queue) = mpsc::channel(QUEUE);
        let folder = root.to_path_buf();
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || write_all(&folder, queue))?;
        Ok(Self {
            root: root.to_path_buf(),
            writer,
        })
    }

    /// Writes a piece behind what the file holds and returns once it is on disk.
    ///
    /// `at` is the place in the file; a piece that is written twice lands in the same place.
    ///
    /// Errors: [`OutputError`]; then nothing is acknowledged.
    pub async fn append(&self, run: RunId, stream: OutputStream, at: u64, data: Vec<u8>) -> Result<(), OutputError> {
        let (done, answer) = oneshot::channel();
        self.writer
            .send(Write {
                run,
                stream,
                at,
                data,
                done,
            })
            .await
            .map_err(|_| OutputError::Closed)?;
        answer.await.map_err(|_| OutputError::Closed)?
    }

    /// Reads up to `limit` bytes of a stream that do not stand in the log; `inline_bytes` of it do, and `at` counts from its
    /// beginning.
    ///
    /// Errors: [`OutputError::Io`].
    pub fn read(
        &self,
        run: RunId,
        stream: OutputStream,
        inline_bytes: u64,
        at: u64,
        limit: usize,
    ) -> Result<Vec<u8>, OutputError> {
        let path = path_of(&self.root, run, stream);
        let read = || match open_own(&path) {
            Ok(Some(file)) => read_at(&file, at.saturating_sub(inline_bytes), limit),
            Ok(None) => match packed::target_of(&path)? {
                Some(digest) => packed::read(&self.root, &digest, at, limit),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Err(error) => Err(error),
        };
        read().map_err(|source| OutputError::Io {
            run,
            what: "read",
            source,
        })
    }

    /// Returns the digest of a stream that is packed; `None` for one that is not.
    ///
    /// Errors: [`OutputError::Io`], also for a run that has no file.
    pub fn digest(&self, run: RunId, stream: OutputStream) -> Result<Option<Digest>, OutputError> {
        packed::target_of(&path_of(&self.root, run, stream)).map_err(|source| OutputError::Io {
            run,
            what: "read",
            source,
        })
    }

    /// Packs a stream that gets no more: `head` stands in the log, so many bytes in the run's file. Called by one at a time.
    ///
    /// Errors: [`OutputError::Io`]; then the run's file is as it was.
    pub fn pack(&self, run: RunId, stream: OutputStream, head: &[u8], in_file: u64) -> Result<Digest, OutputError> {
        let path = path_of(&self.root, run, stream);
        packed::pack(&self.root, &path, head, in_file).map_err(|source| OutputError::Io {
            run,
            what: "packed",
            source,
        })
    }
}

/// Opens a run's own file; `None` where it is packed.
fn open_own(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(no_link()).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_link() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn read_at(file: &File, at: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; limit];
    let mut filled = 0usize;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    data.truncate(filled);
    Ok(data)
}

fn path_of(root: &Path, run: RunId, stream: OutputStream) -> PathBuf {
    let name = run.to_string();
    let end = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let folder: String = name.chars().take(2).collect();
    root.join(folder).join(format!("{name}.{end}"))
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes groups off the queue until every sender is gone.
fn write_all(root: &Path, mut queue: mpsc::Receiver<Write>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        write_group(root, std::mem::take(&mut group));
    }
}

/// Writes a group, syncs each file once, answers each write.
fn write_group(root: &Path, group: Vec<Write>) {
    let mut files: BTreeMap<PathBuf, io::Result<File>> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(group.len());
    let room = File::open(root).and_then(|folder| check_room(folder, RESERVE_BYTES));
    for write in group {
        let path = path_of(root, write.run, write.stream);
        let file = files.entry(path.clone()).or_insert_with(|| match &room {
            Ok(()) => open_for_append(&path),
            Err(error) => Err(again(error)),
        });
        let written = match file {
            Ok(file) => file.write_all_at(&write.data, write.at),
            Err(error) => Err(again(error)),
        };
        outcomes.push((path, write.run, write.done, written));
    }
    for file in files.values() {
        if let Ok(open) = file
            && let Err(error) = open.sync_data()
        {
            // A second sync may succeed although the data is gone: only the next start knows what is on disk.
            borealis_event_store::storage_exit(&error);
        }
    }
    for (path, run, done, written) in outcomes {
        let synced = match files.get(&path) {
            Some(Err(error)) => Err(again(error)),
            _ => Ok(()),
        };
        let outcome = written.and(synced).map_err(|source| OutputError::Io {
            run,
            what: "kept",
            source,
        });
        // A caller that went away asks again and gets the same place.
        let _gone = done.send(outcome);
    }
}

fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            // What is packed is shared between runs and never written to.
            .custom_flags(no_link())
            .open(path)
    };
    let existed = path.exists();
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
                folder.parent().map_or(Ok(()), sync_folder)?;
            }
            open()?
        }
        other => other?,
    };
    if !existed {
        path.parent().map_or(Ok(()), sync_folder)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    #[tokio::test]
    async fn what_is_kept_is_read_back_by_range() {
        let folder = tempfile::tempdir().unwrap();
        let files = OutputFiles::open(folder.path()).unwrap();
        files
            .append(run(1), OutputStream::Stdout, 0, b"hello ".to_vec())
            .await
            .unwrap();
        files
            .append(run(1), OutputStream::Stdout, 6, b"world".to_vec())
            .await
            .unwrap();
        files
            .append(run(1), OutputStream::Stdout, 6, b"world".to_vec())
            .await
            .unwrap();
        files
            .append(run(1), OutputStream::Stderr, 0, b"oh".to_vec())
            .await
            .unwrap();
        assert_eq!(
            files.read(run(1), OutputStream::Stdout, 0, 0, 100).unwrap(),
            b"hello world"
        );
        assert_eq!(files.read(run(1), OutputStream::Stdout, 0, 6, 3).unwrap(), b"wor");
        assert_eq!(files.read(run(1), OutputStream::Stderr, 0, 0, 100).unwrap(), b"oh");
        assert!(files.read(run(2), OutputStream::Stdout, 0, 0, 1).is_err());
    }

    #[tokio::test]
    async fn many_at_once_all_land() {
        let folder = tempfile::tempdir().unwrap();
        let files = OutputFiles::open(folder.path()).unwrap();
        let all = (0..200u8).map(|n| {
            let files = files.clone();
            tokio::spawn(async move { files.append(run(n), OutputStream::Stdout, 0, vec![n; 100]).await })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
        for n in 0..200u8 {
            assert_eq!(
                files.read(run(n), OutputStream::Stdout, 0, 0, 200).unwrap(),
                vec![n; 100]
            );
        }
    }

    #[tokio::test]
    async fn a_failing_disk_is_never_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let files = OutputFiles::open(folder.path()).unwrap();
        fs::write(folder.path().join("01"), b"a file where a folder should be").unwrap();
        assert!(
            files
                .append(run(1), OutputStream::Stdout, 0, b"x".to_vec())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_packed_stream_reads_the_same_and_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let files = OutputFiles::open(folder.path()).unwrap();
        let stdout = OutputStream::Stdout;
        files.append(run(1), stdout, 0, b"behind".to_vec()).await.unwrap();
        assert_eq!(files.digest(run(1), stdout).unwrap(), None);
        assert_eq!(files.read(run(1), stdout, 5, 7, 100).unwrap(), b"hind");
        let digest = files.pack(run(1), stdout, b"head ", 6).unwrap();
        assert_eq!(digest, Digest::of(b"head behind"));
        assert_eq!(files.digest(run(1), stdout).unwrap(), Some(digest));
        assert_eq!(files.read(run(1), stdout, 5, 7, 100).unwrap(), b"hind");
        assert!(files.append(run(1), stdout, 6, b"more".to_vec()).await.is_err());
        assert_eq!(files.read(run(1), stdout, 5, 5, 100).unwrap(), b"behind");
    }
}
