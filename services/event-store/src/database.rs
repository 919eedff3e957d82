//! The sled database: how it is opened, locked and synced.
//!
//! What sled does not do by itself stands here: segments of 8 MiB keep `blobs/` empty (sled never syncs those files),
//! [`Database::sync`] adds the `fdatasync` that `flush()` leaves out on Linux, the folder is synced after it was made,
//! a snapshot that was cut off while it was written is removed before the open, and the lock is tried for a while,
//! because a killed predecessor holds it a moment longer. Nothing else is ever removed.

use std::fs::{DirBuilder, File, OpenOptions as FileOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::reserve::check_room;
use crate::{OpenOptions, StoreError};

/// Size of sled's segments: larger items than a quarter of it would go to blob files.
const SEGMENT_BYTES: usize = 8 << 20;
/// How often sled's own thread writes what nobody flushed, and collects free segments.
const BACKGROUND_FLUSH_MS: u64 = 500;
/// Pause between two tries for the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// An open sled database and the handle that syncs its file.
#[derive(Debug)]
pub(crate) struct Database {
    db: sled::Db,
    file: File,
    folder: PathBuf,
    reserve_bytes: u64,
    #[cfg(feature = "test-faults")]
    skip_sync: bool,
}

impl Database {
    /// Opens the database in `folder`, makes it when there is none.
    pub(crate) fn open(folder: &Path, options: &OpenOptions) -> Result<Self, StoreError> {
        let is_new = !folder.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(StoreError::file("create folder", folder))?;
        let db = open_locked(folder, options)?;
        let path = folder.join("db");
        let file = FileOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::file("open", &path))?;
        for name in ["db", "conf"] {
            let path = folder.join(name);
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))
                .map_err(StoreError::file("restrict", &path))?;
        }
        let database = Self {
            db,
            file,
            folder: folder.to_owned(),
            reserve_bytes: options.reserve_bytes,
            #[cfg(feature = "test-faults")]
            skip_sync: options.skip_sync,
        };
        database.sync()?;
        sync_entries(folder)?;
        if let (true, Some(parent)) = (is_new, folder.parent().filter(|parent| !parent.as_os_str().is_empty())) {
            sync_entries(parent)?;
        }
        Ok(database)
    }

    /// Opens one of its trees.
    pub(crate) fn tree(&self, name: &str) -> Result<sled::Tree, StoreError> {
        self.db.open_tree(name).map_err(StoreError::database("open a tree"))
    }

    /// Says whether the disk has room for more than what is under way.
    pub(crate) fn check_room(&self) -> Result<(), StoreError> {
        check_room(&self.file, self.reserve_bytes).map_err(StoreError::file("find room for", &self.folder.join("db")))
    }

    /// Makes everything that was written before durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(StoreError::database("flush"))?;
        borealis_fail_points::reached("CS3");
        #[cfg(feature = "test-faults")]
        if self.skip_sync {
            return Ok(());
        }
        self.file
            .sync_data()
            .map_err(StoreError::file("sync", &self.folder.join("db")))
    }

    /// Keeps the database from ever being dropped; after an error its clean-up panics or writes on.
    pub(crate) fn leak(&self) {
        std::mem::forget(self.db.clone());
    }
}

/// Makes a folder's entries durable: before, a file that was made or renamed there may be gone after a power cut.
///
/// **Errors**: what the system refused.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the entries of one of the store's folders durable.
pub(crate) fn sync_entries(folder: &Path) -> Result<(), StoreError> {
    sync_folder(folder).map_err(StoreError::file("sync folder", folder))
}

/// Tries to open the database until its lock is free or the time is over.
fn open_locked(folder: &Path, options: &OpenOptions) -> Result<sled::Db, StoreError> {
    let started = Instant::now();
    let config = sled::Config::new()
        .path(folder)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(options.cache_bytes)
        .flush_every_ms(Some(BACKGROUND_FLUSH_MS));
    loop {
        if remove_torn_snapshots(folder)? {
            match std::panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
                Ok(Ok(db)) => return Ok(db),
                Ok(Err(error)) if is_lock_error(&error) => {}
                Ok(Err(error)) => return Err(StoreError::database("open")(error)),
                Err(payload) => return Err(StoreError::panicked("open", payload.as_ref())),
            }
        }
        let waited = started.elapsed();
        if waited >= options.lock_timeout {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            return Err(StoreError::Locked {
                path: folder.to_owned(),
                waited_ms,
            });
        }
        thread::sleep(LOCK_PAUSE);
    }
}

/// Removes snapshots that were cut off while sled wrote them; gives false while another process holds the store.
fn remove_torn_snapshots(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join("db");
    let lock = match FileOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(StoreError::file("open", &path)(error)),
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
        Err(error) => return Err(StoreError::file("lock", &path)(error.into())),
    }
    for entry in std::fs::read_dir(folder).map_err(StoreError::file("list", folder))? {
        let entry = entry.map_err(StoreError::file("list", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path()).map_err(StoreError::file("remove", &entry.path()))?;
        }
    }
    Ok(true)
}

/// sled reports a held lock as an I/O error of no special kind.
fn is_lock_error(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}
