//! Content too large for an event: files named by the SHA-256 of what they hold.
//!
//! A file is written under a temporary name, synced, renamed, and its folder is synced, all before the event that names
//! it is appended. So a name in the log always has its file, and a file under its final name is always whole.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::database::sync_entries;
use crate::reserve::check_room;
use crate::{RESERVE_BYTES, StoreError};

/// Folder of the files that are still being written.
const INCOMING: &str = "incoming";

/// A folder of files named by their digest: `ab/ab…`, mode 600.
#[derive(Debug)]
pub struct DigestFiles {
    folder: PathBuf,
    serial: AtomicU64,
    /// Held as long as this folder is written to.
    lock: File,
}

impl DigestFiles {
    /// Opens the folder (`<state>/files`), makes it when there is none, and removes what earlier processes left unfinished.
    ///
    /// **Errors**: [`StoreError::Locked`] when another process writes here, [`StoreError::File`] when the folder cannot be made or read.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref().to_owned();
        let incoming = folder.join(INCOMING);
        make_folder(&incoming)?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path);
        let lock = lock.map_err(StoreError::file("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    path: folder,
                    waited_ms: 0,
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::file("lock", &lock_path)(error)),
        }
        for entry in std::fs::read_dir(&incoming).map_err(StoreError::file("list", &incoming))? {
            let path = entry.map_err(StoreError::file("list", &incoming))?.path();
            std::fs::remove_file(&path).map_err(StoreError::file("remove", &path))?;
        }
        sync_entries(&folder)?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_entries(parent)?;
        }
        Ok(Self {
            folder,
            serial: AtomicU64::new(0),
            lock,
        })
    }

    /// Stores content, durably; gives its digest. Content that is already there is not written again.
    ///
    /// **Errors**: [`StoreError::File`].
    pub fn put(&self, content: &[u8]) -> Result<[u8; 32], StoreError> {
        let digest = Sha256::digest(content).into();
        if self.len(&digest)? == Some(content.len() as u64) {
            // Its folder may not have been synced by who wrote it.
            sync_entries(&self.folder_of(&digest))?;
            return Ok(digest);
        }
        let mut writer = self.writer()?;
        writer
            .write_all(content)
            .map_err(StoreError::file("write", &writer.path))?;
        Ok(writer.finish()?.0)
    }

    /// Begins a file whose content comes bit by bit.
    ///
    /// **Errors**: [`StoreError::File`], also when the disk has no more free than its [reserve](RESERVE_BYTES).
    pub fn writer(&self) -> Result<DigestWriter<'_>, StoreError> {
        check_room(&self.lock, RESERVE_BYTES).map_err(StoreError::file("find room in", &self.folder))?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let path = self
            .folder
            .join(INCOMING)
            .join(format!("{}-{serial}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(StoreError::file("create", &path))?;
        Ok(DigestWriter {
            files: self,
            path,
            file,
            hash: Sha256::new(),
            len: 0,
            is_kept: false,
        })
    }

    /// Gives the size of a file in bytes; none when it is not there.
    ///
    /// **Errors**: [`StoreError::File`].
    pub fn len(&self, digest: &[u8; 32]) -> Result<Option<u64>, StoreError> {
        let path = self.path_of(digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("look at", &path)(error)),
        }
    }

    /// Reads a whole file and compares it with its name; none when it is not there.
    ///
    /// **Errors**: [`StoreError::DigestMismatch`], [`StoreError::File`].
    pub fn read(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((mut file, path)) = self.open_file(digest)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(StoreError::file("read", &path))?;
        check(digest, Sha256::digest(&content).into())?;
        Ok(Some(content))
    }

    /// Compares a file with its name, a piece at a time; false when it is not there.
    ///
    /// **Errors**: [`StoreError::DigestMismatch`], [`StoreError::File`].
    pub fn verify(&self, digest: &[u8; 32]) -> Result<bool, StoreError> {
        let Some((mut file, path)) = self.open_file(digest)? else {
            return Ok(false);
        };
        let mut hash = Sha256::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let len = file.read(&mut piece).map_err(StoreError::file("read", &path))?;
            if len == 0 {
                break;
            }
            hash.update(piece.get(..len).unwrap_or_default());
        }
        check(digest, hash.finalize().into())?;
        Ok(true)
    }

    /// Removes a file that no event needs any more; false when it was not there.
    ///
    /// **Errors**: [`StoreError::File`].
    pub fn remove(&self, digest: &[u8; 32]) -> Result<bool, StoreError> {
        let path = self.path_of(digest);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_entries(&self.folder_of(digest)).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::file("remove", &path)(error)),
        }
    }

    fn open_file(&self, digest: &[u8; 32]) -> Result<Option<(File, PathBuf)>, StoreError> {
        let path = self.path_of(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some((file, path))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("open", &path)(error)),
        }
    }

    fn folder_of(&self, digest: &[u8; 32]) -> PathBuf {
        let [first, ..] = digest;
        self.folder.join(format!("{first:02x}"))
    }

    fn path_of(&self, digest: &[u8; 32]) -> PathBuf {
        self.folder_of(digest).join(hex(digest))
    }
}

/// A file that is being written; without [`DigestWriter::finish`] it is removed.
#[derive(Debug)]
pub struct DigestWriter<'a> {
    files: &'a DigestFiles,
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
    is_kept: bool,
}

impl DigestWriter<'_> {
    /// Makes the file durable under its digest; gives digest and size in bytes.
    ///
    /// **Errors**: [`StoreError::File`].
    pub fn finish(mut self) -> Result<([u8; 32], u64), StoreError> {
        let digest: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
        self.file.sync_all().map_err(StoreError::file("sync", &self.path))?;
        let folder = self.files.folder_of(&digest);
        if !folder.exists() {
            make_folder(&folder)?;
            sync_entries(&self.files.folder)?;
        }
        let path = self.files.path_of(&digest);
        std::fs::rename(&self.path, &path).map_err(StoreError::file("rename into", &path))?;
        self.is_kept = true;
        sync_entries(&folder)?;
        Ok((digest, self.len))
    }
}

impl Write for DigestWriter<'_> {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        let len = self.file.write(content)?;
        self.hash.update(content.get(..len).unwrap_or_default());
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for DigestWriter<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(StoreError::file("create folder", folder))
}

fn check(digest: &[u8; 32], found: [u8; 32]) -> Result<(), StoreError> {
    if *digest == found {
        Ok(())
    } else {
        Err(StoreError::DigestMismatch { digest: hex(digest) })
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
