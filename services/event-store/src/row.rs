//! The stored row: several events of one group commit as one value, under the position of the first.
//!
//! A row holds the chain's hash before it and, per event, the first eight bytes of the hash after it, so that a reader
//! of one row notices an altered event and names it. A commit mark follows the last event of each append.
//!
//! ```text
//! row    = format:u8 (1) ‖ hash_before[32] ‖ item*
//! item   = 1 ‖ text stream ‖ text kind ‖ at_ms:i64 ‖ bytes body ‖ check[8]         event
//!        | 2 ‖ text stream ‖ text kind ‖ at_ms:i64 ‖ body_digest[32] ‖ check[8]    event, body dropped
//!        | 3 ‖ varint events ‖ command_id[16] ‖ digest[32] ‖ at_ms:i64 ‖ bytes answer   commit mark
//! text, bytes = varint length ‖ the bytes            numbers big-endian, varint LEB128
//! ```

use crate::chain::{body_digest, chain_hash};
use crate::{EventRecord, Position, StoreError, StreamId};

/// Layout of the rows this version writes.
const FORMAT: u8 = 1;
/// Rows are closed when they reach this size; a larger event stands alone.
pub(crate) const ROW_TARGET_BYTES: usize = 1024;
const EVENT: u8 = 1;
const DROPPED: u8 = 2;
const COMMIT: u8 = 3;
const CHECK_LEN: usize = 8;

/// Content of an event in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Kept(&'a [u8]),
    Dropped(&'a [u8; 32]),
}

impl Body<'_> {
    pub(crate) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Kept(bytes) => body_digest(bytes),
            Self::Dropped(digest) => **digest,
        }
    }
}

/// An event as a row holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowEvent<'a> {
    pub(crate) stream: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) at_ms: i64,
    pub(crate) body: Body<'a>,
}

/// The mark after the last event of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitMark<'a> {
    pub(crate) events: u64,
    pub(crate) command_id: &'a [u8; 16],
    pub(crate) digest: &'a [u8; 32],
    pub(crate) at_ms: i64,
    pub(crate) answer: &'a [u8],
}

/// An event with its place, digest and hash, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedEvent<'a> {
    pub(crate) position: Position,
    pub(crate) event: RowEvent<'a>,
    pub(crate) digest: [u8; 32],
    pub(crate) hash: [u8; 32],
}

impl PlacedEvent<'_> {
    /// Copies the event out of its row.
    pub(crate) fn to_record(self) -> Result<EventRecord, StoreError> {
        let Ok(stream) = StreamId::new(self.event.stream) else {
            return Err(StoreError::Broken {
                position: self.position,
                reason: "the stream's name is not one",
            });
        };
        let body = match self.event.body {
            Body::Kept(bytes) => Some(bytes.to_vec()),
            Body::Dropped(_) => None,
        };
        Ok(EventRecord {
            position: self.position,
            stream,
            version: self.position,
            kind: self.event.kind.to_owned(),
            body,
            body_digest: self.digest,
            at_ms: self.event.at_ms,
            hash: self.hash,
        })
    }
}

/// What stands in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    Event(PlacedEvent<'a>),
    /// The mark of the append whose last event has this position.
    Commit(Position, CommitMark<'a>),
}

/// Builds one row.
#[derive(Debug)]
pub(crate) struct RowWriter {
    first: Position,
    events: u64,
    hash: [u8; 32],
    bytes: Vec<u8>,
}

impl RowWriter {
    /// Starts the row whose first event has the position `first`, after the chain's hash `before`.
    pub(crate) fn new(first: Position, before: [u8; 32]) -> Self {
        let mut bytes = Vec::with_capacity(ROW_TARGET_BYTES + 256);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&before);
        Self {
            first,
            events: 0,
            hash: before,
            bytes,
        }
    }

    pub(crate) fn first(&self) -> Position {
        self.first
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Tells whether an event of this size still belongs into the row.
    pub(crate) fn has_room_for(&self, event: &RowEvent<'_>) -> bool {
        let body = match event.body {
            Body::Kept(bytes) => bytes.len(),
            Body::Dropped(_) => 32,
        };
        self.is_empty() || self.bytes.len() + event.stream.len() + event.kind.len() + body + 32 <= ROW_TARGET_BYTES
    }

    /// Adds an event; gives its position.
    pub(crate) fn push_event(&mut self, event: &RowEvent<'_>) -> Position {
        let position = self.first + self.events;
        self.bytes.push(match event.body {
            Body::Kept(_) => EVENT,
            Body::Dropped(_) => DROPPED,
        });
        put_bytes(&mut self.bytes, event.stream.as_bytes());
        put_bytes(&mut self.bytes, event.kind.as_bytes());
        self.bytes.extend_from_slice(&event.at_ms.to_be_bytes());
        let digest = event.body.digest();
        match event.body {
            Body::Kept(body) => put_bytes(&mut self.bytes, body),
            Body::Dropped(digest) => self.bytes.extend_from_slice(digest),
        }
        self.hash = chain_hash(
            &self.hash,
            position,
            event.stream,
            position,
            event.kind,
            event.at_ms,
            &digest,
        );
        self.bytes.extend_from_slice(check_of(&self.hash));
        self.events += 1;
        position
    }

    /// Adds the mark of the append whose last event was pushed before.
    pub(crate) fn push_commit(&mut self, mark: &CommitMark<'_>) {
        self.bytes.push(COMMIT);
        put_varint(&mut self.bytes, mark.events);
        self.bytes.extend_from_slice(mark.command_id);
        self.bytes.extend_from_slice(mark.digest);
        self.bytes.extend_from_slice(&mark.at_ms.to_be_bytes());
        put_bytes(&mut self.bytes, mark.answer);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads one row, item by item, computing and checking the chain on the way.
#[derive(Debug)]
pub(crate) struct RowReader<'a> {
    next: Position,
    hash: [u8; 32],
    rest: Cursor<'a>,
}

impl<'a> RowReader<'a> {
    /// Opens the row under `key`.
    pub(crate) fn new(key: &[u8], value: &'a [u8]) -> Result<Self, StoreError> {
        let Ok(key) = <[u8; 8]>::try_from(key) else {
            return Err(StoreError::Broken {
                position: 0,
                reason: "a row's key is not a position",
            });
        };
        let first = Position::from_be_bytes(key);
        if first == 0 {
            return Err(StoreError::Broken {
                position: 0,
                reason: "a row claims position 0",
            });
        }
        let mut rest = Cursor(value);
        let broken = |reason| StoreError::Broken {
            position: first,
            reason,
        };
        if rest.byte().map_err(broken)? != FORMAT {
            return Err(broken("the row's format is not known"));
        }
        let hash = *rest.array().map_err(broken)?;
        Ok(Self {
            next: first,
            hash,
            rest,
        })
    }

    /// Position of the next event in the row; after the last one, of the event that would follow.
    pub(crate) fn next_position(&self) -> Position {
        self.next
    }

    /// The chain's hash before the next event.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Gives the next item; none at the end of the row.
    pub(crate) fn next_item(&mut self) -> Result<Option<Item<'a>>, StoreError> {
        if self.rest.0.is_empty() {
            return Ok(None);
        }
        let position = self.next;
        self.read_item()
            .map(Some)
            .map_err(|reason| StoreError::Broken { position, reason })
    }

    fn read_item(&mut self) -> Result<Item<'a>, &'static str> {
        let tag = self.rest.byte()?;
        if tag == COMMIT {
            return Ok(Item::Commit(self.next - 1, self.read_commit()?));
        }
        if tag != EVENT && tag != DROPPED {
            return Err("an item of the row is not known");
        }
        let stream = self.rest.text()?;
        let kind = self.rest.text()?;
        let at_ms = i64::from_be_bytes(*self.rest.array()?);
        let body = if tag == EVENT {
            Body::Kept(self.rest.bytes()?)
        } else {
            Body::Dropped(self.rest.array()?)
        };
        let check: &[u8; CHECK_LEN] = self.rest.array()?;
        let position = self.next;
        let digest = body.digest();
        let hash = chain_hash(&self.hash, position, stream, position, kind, at_ms, &digest);
        if check_of(&hash) != check {
            return Err("the event does not match its hash");
        }
        self.hash = hash;
        self.next += 1;
        Ok(Item::Event(PlacedEvent {
            position,
            event: RowEvent {
                stream,
                kind,
                at_ms,
                body,
            },
            digest,
            hash,
        }))
    }

    fn read_commit(&mut self) -> Result<CommitMark<'a>, &'static str> {
        let events = self.rest.varint()?;
        let command_id = self.rest.array()?;
        let digest = self.rest.array()?;
        let at_ms = i64::from_be_bytes(*self.rest.array()?);
        let answer = self.rest.bytes()?;
        if events == 0 || events >= self.next {
            return Err("a commit mark counts events that do not exist");
        }
        Ok(CommitMark {
            events,
            command_id,
            digest,
            at_ms,
            answer,
        })
    }
}

/// What is left of a value that is being read.
#[derive(Debug)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, &'static str> {
        let (byte, rest) = self.0.split_first().ok_or("a value ends too early")?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], &'static str> {
        let (array, rest) = self.0.split_first_chunk().ok_or("a value ends too early")?;
        self.0 = rest;
        Ok(array)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let len = usize::try_from(self.varint()?).map_err(|_| "a length is too large")?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("a value ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a name is not text")
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn check_of(hash: &[u8; 32]) -> &[u8; CHECK_LEN] {
    hash.first_chunk().unwrap_or(&[0; CHECK_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GENESIS;

    fn sample() -> (Vec<u8>, Vec<u8>) {
        let mut row = RowWriter::new(41, GENESIS);
        row.push_event(&RowEvent {
            stream: "job-1",
            kind: "JobCreated",
            at_ms: 5,
            body: Body::Kept(b"hello"),
        });
        row.push_event(&RowEvent {
            stream: "run-1",
            kind: "RunQueued",
            at_ms: 5,
            body: Body::Dropped(&[7; 32]),
        });
        row.push_commit(&CommitMark {
            events: 2,
            command_id: &[1; 16],
            digest: &[2; 32],
            at_ms: 5,
            answer: b"ok",
        });
        (row.first().to_be_bytes().to_vec(), row.finish())
    }

    type Marks = Vec<(Position, u64, Vec<u8>)>;

    fn read(key: &[u8], value: &[u8]) -> Result<(Vec<EventRecord>, Marks), StoreError> {
        let mut reader = RowReader::new(key, value)?;
        let (mut events, mut commits) = (vec![], vec![]);
        while let Some(item) = reader.next_item()? {
            match item {
                Item::Event(event) => events.push(event.to_record()?),
                Item::Commit(last, mark) => commits.push((last, mark.events, mark.answer.to_vec())),
            }
        }
        Ok((events, commits))
    }

    #[test]
    fn a_row_reads_back() {
        let (key, value) = sample();
        let (events, commits) = read(&key, &value).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(
            (events[0].position, events[0].body.as_deref()),
            (41, Some(&b"hello"[..]))
        );
        assert_eq!(
            (events[1].position, events[1].body.as_deref(), events[1].body_digest),
            (42, None, [7; 32])
        );
        assert_eq!(commits, vec![(42, 2, b"ok".to_vec())]);
    }

    #[test]
    fn the_layout_is_pinned() {
        let (_, value) = sample();
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let zeros = "00".repeat(32);
        assert!(
            hex.starts_with(&format!(
                "01{zeros}01056a6f622d310a4a6f624372656174656400000000000000050568656c6c6f"
            )),
            "{hex}"
        );
        assert!(
            hex.ends_with(&format!(
                "0302{}{}0000000000000005026f6b",
                "01".repeat(16),
                "02".repeat(32)
            )),
            "{hex}"
        );
    }

    #[test]
    fn any_cut_is_noticed() {
        let (key, value) = sample();
        let whole = read(&key, &value).unwrap();
        for len in 0..value.len() {
            if let Ok(found) = read(&key, &value[..len]) {
                // A cut between two items reads as a shorter row; the next row's position and hash tell.
                assert!(
                    found.0.len() < whole.0.len() || found.1.len() < whole.1.len(),
                    "cut at {len}"
                );
            }
        }
    }

    #[test]
    fn an_altered_event_is_named() {
        let (key, value) = sample();
        let commit_at = value.len() - (1 + 1 + 16 + 32 + 8 + 3);
        for index in 33..commit_at {
            let mut altered = value.clone();
            altered[index] ^= 1;
            match read(&key, &altered) {
                Err(StoreError::Broken { position, .. }) => {
                    assert!((41..=42).contains(&position), "byte {index}")
                }
                other => panic!("byte {index}: {other:?}"),
            }
        }
    }

    #[test]
    fn varints_read_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = vec![];
            put_varint(&mut bytes, value);
            assert_eq!(Cursor(&bytes).varint(), Ok(value));
        }
        assert!(Cursor(&[0xff; 11]).varint().is_err());
    }
}
