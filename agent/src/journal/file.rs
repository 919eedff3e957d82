//! The journal on disk: one append-only file, each record with its own checksum, synced before the append returns.
//!
//! **Shape.** `BRLJ1\n`, then records: two marker bytes, length (u32, little endian), CRC-32 over length and body, body
//! (CBOR of a [`Record`]). A record that a crash cut off at the end is dropped; one that is damaged with sound records
//! behind it is an error, because nothing that was acknowledged may vanish silently.
//!
//! **A full disk.** Blocks are set aside ahead of the end. An order is taken only while enough of them are left for what
//! ends the runs that were taken, so that a disk that fills up loses no result.

use super::Journal;
use crate::core::record::Record;
use crate::paths::sync_entry;
use borealis_bus_schema::codec::{self, CodecError};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const HEAD: &[u8] = b"BRLJ1\n";
const MARKER: [u8; 2] = [0xb7, 0x4a];
const FRAME_BYTES: usize = MARKER.len() + 4 + 4;
/// What is kept free for the ends of runs that were taken.
const RESERVE_BYTES: u64 = 512 << 10;
/// By how much the blocks set aside grow.
const AHEAD_BYTES: u64 = 1 << 20;
/// The growth over the size after the last rewrite that makes another worth it.
const REWRITE_GROWTH_BYTES: u64 = 1 << 20;

/// Says why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk has no room for another order.
    #[error("the disk has no room for the journal {}", path.display())]
    Full {
        /// The journal.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the journal {} cannot be used", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record in the middle is damaged.
    #[error(
        "the journal {} is damaged at byte {offset} although sound records stand behind it; runs may have been \
         acknowledged that are not known any more: check the disk; a device that begins without this file is quarantined \
         as a copy until an operator releases it, and a run of it may start again", path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A record is whole, but this version cannot read it.
    #[error(
        "the journal {} holds at byte {offset} a whole record that this version cannot read, so another version wrote \
         it: start that version again; a device that begins without this file is quarantined as a copy until an operator \
         releases it, and a run of it may start again", path.display()
    )]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: CodecError,
    },
    /// The file is no journal.
    #[error("{} is no journal of this product", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A record cannot be encoded.
    #[error("a record cannot be written")]
    Codec(#[source] CodecError),
}

impl JournalError {
    /// Tells whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            JournalError::Full { .. } => true,
            JournalError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

/// Is the device's journal.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    len: u64,
    set_aside: u64,
    base_len: u64,
}

impl FileJournal {
    /// Opens the journal, or begins one, and returns its records.
    ///
    /// Errors: [`JournalError::Damaged`], [`JournalError::Unreadable`], [`JournalError::Foreign`], [`JournalError::Io`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        let io_error = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = open_private(path).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        let (records, sound) = read(path, &bytes)?;
        if sound < bytes.len() as u64 {
            tracing::warn!(
                dropped = bytes.len() as u64 - sound,
                "the journal ends in a record that was not finished; it is dropped"
            );
            file.set_len(sound).map_err(io_error)?;
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
            len: sound,
            set_aside: 0,
            base_len: sound,
        };
        if sound == 0 {
            journal.write_all(HEAD)?;
            sync_entry(path).map_err(io_error)?;
        }
        journal.file.sync_data().map_err(io_error)?;
        Ok((journal, records))
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Sets blocks aside up to `end`; file systems that cannot are taken as they are.
    fn set_aside(&mut self, end: u64) -> Result<(), JournalError> {
        if end <= self.set_aside {
            return Ok(());
        }
        for ahead in [AHEAD_BYTES, 0] {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, end + ahead) {
                Ok(()) => {
                    self.set_aside = end + ahead;
                    return Ok(());
                }
                Err(Errno::NOSPC | Errno::DQUOT) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(error) => return Err(self.io(error.into())),
            }
        }
        Err(JournalError::Full {
            path: self.path.clone(),
        })
    }

    /// Writes bytes at the end; a write that fails half-way leaves nothing behind.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let written = self
            .file
            .seek(SeekFrom::Start(self.len))
            .and_then(|_| self.file.write_all(bytes));
        if let Err(source) = written {
            let undone = self.file.set_len(self.len);
            self.set_aside = 0;
            return Err(self.io(undone.err().unwrap_or(source)));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for record in records {
            frame(record, &mut bytes)?;
        }
        if records.iter().any(|record| matches!(record, Record::Received { .. })) {
            self.set_aside(self.len + bytes.len() as u64 + RESERVE_BYTES)?;
        }
        let before = self.len;
        self.write_all(&bytes)?;
        if let Err(source) = self.file.sync_data() {
            // What the disk did not confirm was not written; what was set aside is given back with it.
            self.len = before;
            self.set_aside = 0;
            let undone = self.file.set_len(before);
            return Err(self.io(undone.err().unwrap_or(source)));
        }
        Ok(())
    }

    fn wants_rewrite(&self) -> bool {
        self.len > self.base_len.saturating_mul(2).max(REWRITE_GROWTH_BYTES)
    }

    fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError> {
        // Not tried again before the journal has doubled, also when this fails.
        self.base_len = self.len;
        let mut bytes = HEAD.to_vec();
        for record in records {
            frame(record, &mut bytes)?;
        }
        let beside = self.path.with_extension("new");
        let replaced = (|| {
            let mut file = open_private(&beside)?;
            file.set_len(0)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            Ok(file)
        })();
        // From here on the path means the new file, whatever becomes of the folder.
        self.file = replaced.map_err(|source| self.io(source))?;
        self.len = bytes.len() as u64;
        self.base_len = self.len;
        self.set_aside = 0;
        sync_entry(&self.path).map_err(|source| self.io(source))
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn frame(record: &Record, out: &mut Vec<u8>) -> Result<(), JournalError> {
    let body = codec::encode(record).map_err(JournalError::Codec)?;
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len);
    crc.update(&body);
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&len);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Reads one record at the beginning of the bytes; `None` when there is no sound one.
fn unframe(bytes: &[u8]) -> Option<(Result<Record, CodecError>, usize)> {
    let rest = bytes.strip_prefix(&MARKER)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*len) as usize;
    let body = rest.get(..size).filter(|_| size <= codec::MAX_BODY_BYTES)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(len);
    hasher.update(body);
    if hasher.finalize() != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((codec::decode(body), FRAME_BYTES + size))
}

/// Reads every record, and returns how many bytes are sound.
fn read(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, u64), JournalError> {
    let Some(mut rest) = bytes.strip_prefix(HEAD) else {
        // The head itself may have been cut off.
        return if HEAD.starts_with(bytes) {
            Ok((Vec::new(), 0))
        } else {
            Err(JournalError::Foreign { path: path.to_owned() })
        };
    };
    let mut records = Vec::new();
    while let Some((record, size)) = unframe(rest) {
        let offset = (bytes.len() - rest.len()) as u64;
        let unreadable = |source| JournalError::Unreadable {
            path: path.to_owned(),
            offset,
            source,
        };
        records.push(record.map_err(unreadable)?);
        rest = rest.get(size..).unwrap_or_default();
    }
    let sound = (bytes.len() - rest.len()) as u64;
    let mut behind = rest.get(1..).unwrap_or_default();
    while let Some(at) = behind.windows(MARKER.len()).position(|pair| pair == MARKER) {
        behind = behind.get(at..).unwrap_or_default();
        if unframe(behind).is_some() {
            return Err(JournalError::Damaged {
                path: path.to_owned(),
                offset: sound,
            });
        }
        behind = behind.get(1..).unwrap_or_default();
    }
    Ok((records, sound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::RunKey;
    use borealis_bus_schema::forms::{Form, Signed};
    use borealis_bus_schema::ids::{OrderId, RoleName, RunId};
    use borealis_bus_schema::messages::scheduler::RunState;
    use borealis_bus_schema::order::Digest;
    use borealis_bus_schema::time::Timestamp;
    use ed25519_dalek::SigningKey;

    /// Frames bytes as a record is framed.
    fn framed(body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&len);
        crc.update(body);
        [&MARKER[..], &len, &crc.finalize().to_le_bytes(), body].concat()
    }

    #[test]
    fn given_a_whole_record_of_another_version_then_neither_is_it_dropped_nor_is_the_disk_blamed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let strange = framed(&codec::encode(&std::collections::BTreeMap::from([("teleported", 1)])).unwrap());
        for behind in [Vec::new(), strange.clone()] {
            let bytes = [HEAD, &strange, &behind].concat();
            std::fs::write(&path, &bytes).unwrap();
            let error = FileJournal::open(&path).unwrap_err();
            assert!(matches!(error, JournalError::Unreadable { offset: 6, .. }), "{error:?}");
            assert!(!error.to_string().contains("disk"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was cut off");
        }
    }

    fn hello(counter: u64) -> Record {
        Record::Hello { counter }
    }
    fn starting(n: u8) -> Record {
        Record::Starting {
            key: RunKey {
                run: RunId::from_bytes([n; 16]),
                attempt: 1,
            },
            at: Timestamp::from_unix_ms(5),
        }
    }
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }
    fn filled(folder: &Path) -> (PathBuf, Vec<Record>) {
        let path = folder.join("journal");
        let (mut journal, records) = FileJournal::open(&path).unwrap();
        assert!(records.is_empty());
        let all = vec![hello(1), starting(1), hello(2), starting(2)];
        for record in &all {
            journal.append(std::slice::from_ref(record)).unwrap();
        }
        (path, all)
    }

    #[test]
    fn given_records_when_it_is_opened_again_then_they_are_there() {
        let folder = folder();
        let (path, all) = filled(folder.path());
        let (mut journal, records) = FileJournal::open(&path).unwrap();
        assert_eq!(records, all);
        journal.append(&[hello(9)]).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().1.len(), 5);
    }

    #[test]
    fn given_a_record_of_each_kind_when_it_is_opened_again_then_they_are_there() {
        let folder = folder();
        let path = folder.path().join("journal");
        let at = Timestamp::from_unix_ms(5);
        let key = RunKey {
            run: RunId::from_bytes([1; 16]),
            attempt: 1,
        };
        let role: RoleName = "script".parse().unwrap();
        let result = Signed::seal(&SigningKey::from_bytes(&[7; 32]), Form::Result, &"done").unwrap();
        let all = [
            hello(1),
            Record::Received {
                order: vec![1, 2, 3],
                at,
            },
            starting(1),
            Record::Exited {
                key,
                role: role.clone(),
                state: RunState::Succeeded,
                result: result.clone(),
                stdout_bytes: 1,
                stderr_bytes: 2,
                keep_until: None,
            },
            Record::Closed { key },
            Record::Known {
                key,
                order: Some(OrderId::from_bytes([2; 16])),
                digest: Some(Digest::of(b"order")),
                content: Some(Digest::of(b"content")),
                role,
                state: RunState::Cancelled,
                result: Some(result),
                keep_until: at,
            },
            Record::Proved { at },
        ];
        FileJournal::open(&path).unwrap().0.append(&all).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().1, all);
    }

    #[test]
    fn given_a_cut_at_every_byte_then_a_prefix_is_read_and_writing_goes_on() {
        let folder = folder();
        let (path, all) = filled(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        let mut longest = 0;
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, records) = FileJournal::open(&path).unwrap();
            assert_eq!(records, all[..records.len()], "cut at {cut}");
            assert!(records.len() >= longest, "cut at {cut}");
            longest = records.len();
            journal.append(&[hello(77)]).unwrap();
            let again = FileJournal::open(&path).unwrap().1;
            assert_eq!(again.last(), Some(&hello(77)));
            assert_eq!(again.len(), longest + 1);
        }
        assert_eq!(longest, all.len());
    }

    #[test]
    fn given_damage_in_the_middle_then_it_says_so_and_loses_nothing_silently() {
        let folder = folder();
        let (path, all) = filled(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        let mut last = Vec::new();
        frame(all.last().unwrap(), &mut last).unwrap();
        for place in HEAD.len()..bytes.len() - last.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let error = FileJournal::open(&path).unwrap_err();
            assert!(matches!(error, JournalError::Damaged { .. }), "byte {place}: {error}");
            assert!(error.to_string().contains("damaged at byte"));
        }
    }

    #[test]
    fn given_zeros_behind_the_end_then_they_are_dropped() {
        let folder = folder();
        let (path, all) = filled(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(&[0; 4_096]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().1, all);
    }

    #[test]
    fn given_another_file_then_it_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("journal");
        std::fs::write(&path, "notes").unwrap();
        assert!(matches!(FileJournal::open(&path), Err(JournalError::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    }

    #[test]
    fn given_a_rewrite_then_only_its_records_are_left() {
        let folder = folder();
        let (path, _) = filled(folder.path());
        let (mut journal, _) = FileJournal::open(&path).unwrap();
        journal.rewrite(&[hello(7)]).unwrap();
        journal.append(&[starting(9)]).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().1, [hello(7), starting(9)]);
    }

    #[test]
    fn given_a_rewrite_that_a_crash_cut_off_then_the_old_journal_stands() {
        let folder = folder();
        let (path, all) = filled(folder.path());
        std::fs::write(path.with_extension("new"), b"BRLJ1\nhalf").unwrap();
        let (mut journal, records) = FileJournal::open(&path).unwrap();
        assert_eq!(records, all);
        journal.rewrite(&[hello(7)]).unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().1, [hello(7)]);
    }
}
