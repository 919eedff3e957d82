//! Stores in temporary folders and appends made short.

use std::path::{Path, PathBuf};

use borealis_event_store::{Append, NewEvent, OpenOptions, SledLog, StreamId, StreamWrite, Version, body_digest};

/// A temporary folder with a store in it.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn open(&self) -> SledLog {
        self.open_with(OpenOptions::new())
    }

    pub fn open_with(&self, options: OpenOptions) -> SledLog {
        SledLog::open(self.path(), options).unwrap()
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

pub fn event(kind: &str, body: &[u8]) -> NewEvent {
    NewEvent {
        kind: kind.to_owned(),
        body: body.to_vec(),
    }
}

pub fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id
}

/// An append of one event to one stream; the command's digest is that of the body.
pub fn one(number: u64, name: &str, expected: Version, body: &[u8]) -> Append {
    Append {
        command_id: id(number),
        command_digest: body_digest(body),
        at_ms: 1_000,
        writes: vec![StreamWrite {
            stream: stream(name),
            expected,
            events: vec![event("Happened", body)],
        }],
        answer: number.to_string().into_bytes(),
    }
}

/// Gives the number of files under a store's `blobs/`.
pub fn blobs(store: &Path) -> usize {
    std::fs::read_dir(store.join("blobs")).unwrap().count()
}
