//! Key files: read only when nobody else can, written so that they are whole or absent.
//!
//! A private file is a regular file of this user with mode 0600 or stricter, in a folder of mode 0700. It is written under
//! another name, synced and renamed. What is read is wiped from memory when it is dropped.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use nkeys::KeyPair;
use rustix::fs::OFlags;
use thiserror::Error;
use zeroize::Zeroizing;

/// Is the bit by which an administrator shares a folder with a group.
const SETGID: u32 = 0o2000;

/// Is the largest key file that is read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// Says why a key file could not be used; never repeats its content.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("key file {} cannot be {did}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `read`, `written`.
        did: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Someone else could read or replace the key.
    #[error("key file {} is not private: {why}", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The content is no key of the expected kind.
    #[error("key file {} holds no {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

fn io_error(path: &Path, did: &'static str) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |source| KeyFileError::Io { path, did, source }
}

/// Reads a private file.
///
/// Errors: [`KeyFileError::NotPrivate`] when it is a link, no regular file, another user's, or readable for others.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let not_private = |why: String| KeyFileError::NotPrivate {
        path: path.to_owned(),
        why,
    };
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(not_private("it is a symbolic link".to_owned()));
        }
        other => other.map_err(io_error(path, "read"))?,
    };
    let meta = file.metadata().map_err(io_error(path, "read"))?;
    if !meta.is_file() {
        return Err(not_private("it is no regular file".to_owned()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_private(format!("it belongs to user id {}", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(not_private(format!(
            "its mode is {:04o}, which is not 0600",
            meta.mode() & 0o7777
        )));
    }
    // The size is reserved at once, so that no half-filled buffer is moved and left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default() + 1));
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error(path, "read"))?;
    Ok(bytes)
}

/// Reads a private file as one line of text.
///
/// Errors: as [`read_private`]; [`KeyFileError::Malformed`] when it is no text.
pub fn read_private_text(path: &Path, expected: &'static str) -> Result<Zeroizing<String>, KeyFileError> {
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::Malformed {
        path: path.to_owned(),
        expected,
    })?;
    Ok(Zeroizing::new(text.trim_end().to_owned()))
}

/// Reads an Ed25519 private key.
///
/// Shape: its 32 seed bytes as base64url without padding.
///
/// Errors: as [`read_private`]; [`KeyFileError::Malformed`].
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyFileError> {
    const EXPECTED: &str = "Ed25519 seed";
    let text = read_private_text(path, EXPECTED)?;
    let mut seed = Zeroizing::new([0u8; 32]);
    let fits = BASE64URL_NOPAD.decode_len(text.len()) == Ok(seed.len())
        && BASE64URL_NOPAD.decode_mut(text.as_bytes(), seed.as_mut()) == Ok(32);
    if !fits {
        return Err(KeyFileError::Malformed {
            path: path.to_owned(),
            expected: EXPECTED,
        });
    }
    Ok(SigningKey::from_bytes(&seed))
}

/// Writes an Ed25519 private key.
///
/// Errors: as [`write_private`].
pub fn write_signing_key(path: &Path, key: &SigningKey) -> Result<(), KeyFileError> {
    let seed = Zeroizing::new(key.to_bytes());
    let text = Zeroizing::new(BASE64URL_NOPAD.encode(seed.as_ref()));
    write_private(path, text.as_bytes())
}

/// Reads a key of the bus.
///
/// Shape: the nkey's seed, `SU…`, `SA…` or `SO…`.
///
/// Errors: as [`read_private`]; [`KeyFileError::Malformed`].
pub fn read_nkey(path: &Path) -> Result<KeyPair, KeyFileError> {
    const EXPECTED: &str = "nkey seed";
    let text = read_private_text(path, EXPECTED)?;
    KeyPair::from_seed(&text).map_err(|_| KeyFileError::Malformed {
        path: path.to_owned(),
        expected: EXPECTED,
    })
}

/// Writes a file that only this user may read: whole or not at all, synced.
///
/// Errors: [`KeyFileError::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    write_file(path, bytes, 0o600).map_err(io_error(path, "written"))
}

/// Writes a file that everyone may read: whole or not at all, synced.
///
/// Errors: [`KeyFileError::Io`].
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    write_file(path, bytes, 0o644).map_err(io_error(path, "written"))
}

/// Makes a folder that only this user may enter, with all that is missing above it.
///
/// Errors: [`KeyFileError::Io`].
pub fn private_folder(path: &Path) -> Result<(), KeyFileError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o700))
    };
    make().map_err(io_error(path, "written"))
}

/// Makes a folder as [`private_folder`] does, unless an administrator shares it with a group: then it stands as it is.
///
/// The setgid bit marks what is shared, so that services which run under users of their own find each other's ports and
/// write their logs beside each other.
///
/// Errors: [`KeyFileError::Io`].
pub fn shared_folder(path: &Path) -> Result<(), KeyFileError> {
    if fs::metadata(path).is_ok_and(|meta| meta.is_dir() && meta.mode() & SETGID != 0) {
        return Ok(());
    }
    private_folder(path)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // One writer per file, by the lock of the root: a fixed name leaves at most one torn file behind, which is replaced.
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = folder.join(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    borealis_event_store::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_folder_stays_shared_only_with_the_mark_of_an_administrator() {
        let root = folder();
        let mode_after = |mode: u32| {
            let path = root.path().join(format!("{mode:o}"));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            shared_folder(&path).unwrap();
            fs::metadata(path).unwrap().mode() & 0o7777
        };
        assert_eq!(mode_after(0o2750), 0o2750);
        assert_eq!(mode_after(0o755), 0o700);
        let missing = root.path().join("missing");
        shared_folder(&missing).unwrap();
        assert_eq!(fs::metadata(missing).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_reads_back_and_is_private() {
        let dir = folder();
        let path = dir.path().join("k");
        write_signing_key(&path, &SigningKey::from_bytes(&[7; 32])).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read_signing_key(&path).unwrap().to_bytes(), [7; 32]);
        write_signing_key(&path, &SigningKey::from_bytes(&[8; 32])).unwrap();
        assert_eq!(read_signing_key(&path).unwrap().to_bytes(), [8; 32]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = folder();
        let path = dir.path().join("k");
        write_signing_key(&path, &SigningKey::from_bytes(&[7; 32])).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_signing_key(&path), Err(KeyFileError::NotPrivate { .. })));
        }
    }

    #[test]
    fn a_link_and_a_folder_are_refused() {
        let dir = folder();
        let (real, link) = (dir.path().join("k"), dir.path().join("l"));
        write_private(&real, b"x").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(read_private(&link), Err(KeyFileError::NotPrivate { .. })));
        assert!(matches!(read_private(dir.path()), Err(KeyFileError::NotPrivate { .. })));
    }

    #[test]
    fn a_torn_key_is_malformed_and_not_shown() {
        let dir = folder();
        let path = dir.path().join("k");
        for content in [&b"secretsecret"[..], b"", &[0xff; 43], &[b'A'; 44]] {
            write_private(&path, content).unwrap();
            let error = read_signing_key(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Malformed { .. }));
            assert!(!format!("{error} {error:?}").contains("secretsecret"));
            assert!(read_nkey(&path).is_err());
        }
    }
}
