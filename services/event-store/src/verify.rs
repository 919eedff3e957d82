//! Checking a whole log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use crate::core;
use crate::database::Database;
use crate::log::SUMMARISED;
use crate::row::{Body, Item};
use crate::rows::Rows;
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
                reason: "a known head has another hash",
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
            reason: "the log ends before a known head",
        }),
    }
}
