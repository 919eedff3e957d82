//! Checking a whole log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use crate::core;
use crate::database::Database;
use crate::log::SUMMARISED;
use crate::row::{Body, Item};
use crate::rows::{OTHER_LOG, Rows};
use crate::{EventLog, Head, OpenOptions, Position, SledLog, StoreError};

/// What a check of a whole log found, when it found nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyReport {
    /// Events whose place, content and hash were checked.
    pub checked: u64,
    /// Those of them whose body retention dropped; their headers and digests were checked.
    pub dropped: u64,
    /// The log's head.
    pub head: Head,
}

/// Checks every event of an open log up to its durable head, and that heads known from elsewhere (countersigned ones) stand in it.
///
/// **Errors**: [`StoreError::Broken`] with the first position that is altered, missing, dropped without a summary, or
/// other than a known head says; a known head beyond the log's end tells of a tail cut off. It ends the log.
pub fn verify(log: &SledLog, known: &[Head]) -> Result<VerifyReport, StoreError> {
    let until = log.head().position;
    log.core()
        .guarded("verify the log", || verify_rows(&log.core().rows, until, known))
}

/// What a check of a piece of a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedPiece {
    /// How far the log is whole.
    pub head: Head,
    /// Events that were checked in this piece.
    pub checked: u64,
    /// Those of them whose body retention dropped.
    pub dropped: u64,
    /// Whether the durable end was reached.
    pub end: bool,
    /// The first position that is altered, missing, or other than the known head says, and what is wrong there.
    pub finding: Option<(Position, &'static str)>,
    /// Whether the chain itself does not hold, so that the log is to be [`halt`]ed.
    pub broken: bool,
}

/// Checks at most `limit` events of an open log from a place on that was checked before, and that a known head stands in it.
///
/// What is wrong is told, and does not end the log by itself ([`halt`] does): whoever asked is to get the answer. Whether a
/// summary stands for each dropped body only [`verify`] checks, which sees the whole log.
///
/// **Errors**: the storage fails.
pub fn verify_piece(log: &SledLog, from: Head, limit: u64, known: Option<Head>) -> Result<VerifiedPiece, StoreError> {
    let until = log.head().position;
    let mut piece = VerifiedPiece {
        head: from,
        checked: 0,
        dropped: 0,
        end: from.position >= until,
        finding: None,
        broken: false,
    };
    let differs = |head: Head| known.is_some_and(|known| known.position == head.position && known.hash != head.hash);
    if differs(from) {
        piece.finding = Some((from.position, ALTERED));
        return Ok(piece);
    }
    if from.position > until {
        piece.finding = Some((until + 1, "the log ends before the place that was checked"));
        return Ok(piece);
    }
    let mut altered = None;
    let walk = || {
        let walked = log.core().rows.walk_from(from, |item| {
            let Item::Event(event) = item else {
                return Ok(ControlFlow::Continue(()));
            };
            if event.position > until || piece.checked >= limit {
                return Ok(ControlFlow::Break(()));
            }
            let head = Head {
                position: event.position,
                hash: event.hash,
            };
            if differs(head) {
                altered = Some((event.position, ALTERED));
                return Ok(ControlFlow::Break(()));
            }
            piece.head = head;
            piece.checked += 1;
            piece.dropped += u64::from(matches!(event.event.body, Body::Dropped(_)));
            Ok(ControlFlow::Continue(()))
        });
        match walked {
            Err(StoreError::Broken { position, reason }) => Ok(Some((position, reason))),
            walked => walked.map(|_| None),
        }
    };
    let broken = log.core().guarded("check a piece of the log", walk)?;
    piece.end = piece.head.position >= until;
    let cut_off = known.is_some_and(|known| piece.end && known.position > piece.head.position);
    let cut_off = cut_off.then_some((piece.head.position + 1, CUT_OFF));
    // A place that is none of this log's says nothing against the log.
    piece.broken = broken.is_some_and(|(_, reason)| reason != OTHER_LOG);
    piece.finding = broken.or(altered).or(cut_off);
    Ok(piece)
}

const ALTERED: &str = "a known head has another hash";
const CUT_OFF: &str = "the log ends before a known head";

/// Ends a log that was found broken: nothing is read from it or written to it any more.
pub fn halt(log: &SledLog, position: Position, reason: &'static str) {
    log.core().fail(StoreError::Broken { position, reason });
}

/// Checks a store that no process has open, also one that does not open any more because it is broken.
///
/// **Errors**: as [`verify`]; [`StoreError::Locked`] when a process has it.
pub fn verify_folder(folder: impl AsRef<Path>, known: &[Head]) -> Result<VerifyReport, StoreError> {
    let database = Database::open(folder.as_ref(), &OpenOptions::new())?;
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (rows, _) = core::load(&database)?;
        verify_rows(&rows, Position::MAX, known)
    }));
    checked.unwrap_or_else(|payload| {
        database.leak();
        Err(StoreError::panicked("verify the log", payload.as_ref()))
    })
}

fn verify_rows(rows: &Rows, until: Position, known: &[Head]) -> Result<VerifyReport, StoreError> {
    let mut known: BTreeMap<Position, [u8; 32]> = known.iter().map(|head| (head.position, head.hash)).collect();
    let genesis = Head {
        position: 0,
        hash: crate::GENESIS,
    };
    let mut report = VerifyReport {
        checked: 0,
        dropped: 0,
        head: genesis,
    };
    // Per stream, the first dropped body that no summary stands for yet.
    let mut uncovered: BTreeMap<String, Position> = BTreeMap::new();
    if known.remove(&0).is_some_and(|hash| hash != genesis.hash) {
        return Err(StoreError::Broken {
            position: 0,
            reason: "a known head names another beginning",
        });
    }
    rows.walk_from(genesis, |item| {
        let Item::Event(event) = item else {
            return Ok(ControlFlow::Continue(()));
        };
        if event.position > until {
            return Ok(ControlFlow::Break(()));
        }
        if known.remove(&event.position).is_some_and(|hash| hash != event.hash) {
            return Err(StoreError::Broken {
                position: event.position,
                reason: ALTERED,
            });
        }
        report.checked += 1;
        report.head = Head {
            position: event.position,
            hash: event.hash,
        };
        if event.event.kind == SUMMARISED {
            uncovered.remove(event.event.stream);
        }
        if matches!(event.event.body, Body::Dropped(_)) {
            report.dropped += 1;
            if !uncovered.contains_key(event.event.stream) {
                uncovered.insert(event.event.stream.to_owned(), event.position);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(position) = uncovered.into_values().min() {
        return Err(StoreError::Broken {
            position,
            reason: "a body is missing and no summary stands for it",
        });
    }
    match known.is_empty() {
        true => Ok(report),
        false => Err(StoreError::Broken {
            position: report.head.position + 1,
            reason: CUT_OFF,
        }),
    }
}
