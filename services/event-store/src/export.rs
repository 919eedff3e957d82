//! Taking a log out and bringing it back: the restore path for a database that does not open.
//!
//! ```text
//! export = "BRLSTORE" ‖ version u32 (1) ‖ row* ‖ 0 u32 ‖ head position u64 ‖ head hash[32] ‖ sha256[32] of all before
//! row    = length u32 ‖ first position u64 ‖ the row's bytes        numbers big-endian, length counts what follows it
//! ```

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::database::Database;
use crate::row::{Item, RowReader};
use crate::rows::check_link;
use crate::{EventLog, EventRecord, GENESIS, Head, OpenOptions, Position, SledLog, StoreError, core};

const MAGIC: &[u8; 8] = b"BRLSTORE";
const VERSION: u32 = 1;
/// Where every chain begins.
const EMPTY: Head = Head {
    position: 0,
    hash: GENESIS,
};
/// No row is larger: a body, an answer, names.
const MAX_ROW_BYTES: usize = 64 * 1024;
/// Rows written to the database at once while importing.
const IMPORT_ROWS: usize = 256;

/// Writes the log up to its durable head; gives that head. Appends go on meanwhile.
///
/// **Errors**: [`StoreError::Stream`] when the writer fails, else when the storage fails.
pub fn export(log: &SledLog, out: &mut dyn Write) -> Result<Head, StoreError> {
    let until = log.head();
    let mut out = Hashing {
        inner: out,
        hash: Sha256::new(),
    };
    out.put(MAGIC)?;
    out.put(&VERSION.to_be_bytes())?;
    let core = log.core();
    let mut reached = EMPTY;
    for entry in core.rows.0.iter() {
        let read = || {
            let (key, value) = entry.map_err(StoreError::database("read a row"))?;
            let head = check_row(Some(reached), &key, &value, |_| Ok(()))?;
            Ok((key, value, head))
        };
        let (key, value, head) = core.guarded("export", read)?;
        if head.position > until.position {
            break;
        }
        out.put(&u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        out.put(&key)?;
        out.put(&value)?;
        reached = head;
    }
    out.put(&0u32.to_be_bytes())?;
    out.put(&until.position.to_be_bytes())?;
    out.put(&until.hash)?;
    let digest: [u8; 32] = out.hash.clone().finalize().into();
    out.put(&digest)?;
    out.inner.flush().map_err(StoreError::stream("write an export"))?;
    Ok(until)
}

/// Makes a store in a folder from an export, checked event by event; gives its head.
///
/// **Errors**: [`StoreError::NotEmpty`] when the folder's store holds events, [`StoreError::BadExport`] and
/// [`StoreError::Broken`] when the export is not whole: the store that was begun then refuses to open.
pub fn import(folder: impl AsRef<Path>, input: &mut dyn Read) -> Result<Head, StoreError> {
    let database = Database::open(folder.as_ref(), &OpenOptions::new())?;
    let (rows, index) = core::load(&database)?;
    if let Some((key, _)) = rows.0.last().map_err(StoreError::database("read a row"))? {
        let position = <[u8; 8]>::try_from(key.as_ref()).map_or(0, Position::from_be_bytes);
        return Err(StoreError::NotEmpty { position });
    }
    index.mark_importing(true)?;
    database.sync()?;
    let mut batch = sled::Batch::default();
    let mut waiting = 0;
    let head = read_rows(input, |key, value| {
        batch.insert(key, value);
        waiting += 1;
        if waiting == IMPORT_ROWS {
            waiting = 0;
            rows.0
                .apply_batch(std::mem::take(&mut batch))
                .map_err(StoreError::database("write rows"))?;
        }
        Ok(())
    })?;
    rows.0.apply_batch(batch).map_err(StoreError::database("write rows"))?;
    database.sync()?;
    index.mark_importing(false)?;
    database.sync()?;
    Ok(head)
}

/// Shows every event of an export, checked; gives its head.
///
/// **Errors**: [`StoreError::BadExport`], [`StoreError::Broken`], [`StoreError::Stream`]; what the visitor gives.
pub fn read_export(
    input: &mut dyn Read,
    mut visit: impl FnMut(EventRecord) -> Result<ControlFlow<()>, StoreError>,
) -> Result<Head, StoreError> {
    let mut is_over = false;
    read_rows(input, |key, value| {
        check_row(None, key, value, |item| {
            if let Item::Event(event) = item
                && !is_over
            {
                is_over = visit(event.to_record()?)?.is_break();
            }
            Ok(())
        })?;
        Ok(())
    })
}

/// Reads the rows of an export, checks that they form one chain up to the head it names.
fn read_rows(
    input: &mut dyn Read,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<Head, StoreError> {
    let mut input = HashingReader {
        inner: input,
        hash: Sha256::new(),
    };
    let mut reached = EMPTY;
    let bad = |reached: Head, reason| StoreError::BadExport {
        position: reached.position,
        reason,
    };
    if input.array::<8>()? != *MAGIC {
        return Err(bad(reached, "it does not begin as one"));
    }
    if u32::from_be_bytes(input.array()?) != VERSION {
        return Err(bad(reached, "its version is not known"));
    }
    loop {
        let len = usize::try_from(u32::from_be_bytes(input.array()?)).unwrap_or(usize::MAX);
        if len == 0 {
            break;
        }
        if len > MAX_ROW_BYTES {
            return Err(bad(reached, "a row is longer than rows are"));
        }
        let row = input.bytes(len)?;
        let (key, value) = row
            .split_at_checked(8)
            .ok_or_else(|| bad(reached, "a row is too short"))?;
        reached = check_row(Some(reached), key, value, |_| Ok(()))?;
        take(key, value)?;
    }
    let named = Head {
        position: u64::from_be_bytes(input.array()?),
        hash: input.array()?,
    };
    let digest: [u8; 32] = input.hash.clone().finalize().into();
    if input.array()? != digest {
        return Err(bad(reached, "its bytes do not match its digest"));
    }
    if named != reached {
        return Err(bad(reached, "its rows do not end at the head it names"));
    }
    Ok(reached)
}

/// Checks one row, against the head before it when that is known; gives the head after it.
fn check_row(
    before: Option<Head>,
    key: &[u8],
    value: &[u8],
    mut visit: impl FnMut(&Item<'_>) -> Result<(), StoreError>,
) -> Result<Head, StoreError> {
    let mut row = RowReader::new(key, value)?;
    check_link(before, &row)?;
    while let Some(item) = row.next_item()? {
        visit(&item)?;
    }
    Ok(Head {
        position: row.next_position() - 1,
        hash: row.hash(),
    })
}

/// Writes and hashes on the way.
struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hash: Sha256,
}

impl Hashing<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.inner
            .write_all(bytes)
            .map_err(StoreError::stream("write an export"))
    }
}

/// Reads and hashes on the way.
struct HashingReader<'a> {
    inner: &'a mut dyn Read,
    hash: Sha256,
}

impl HashingReader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.inner
            .read_exact(&mut bytes)
            .map_err(StoreError::stream("read an export"))?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; len];
        self.inner
            .read_exact(&mut bytes)
            .map_err(StoreError::stream("read an export"))?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}
