//! Where the core's records become durable.
//!
//! [`FileJournal`] is the device's own; [`MemoryJournal`] serves a thousand simulated devices that share one disk. [`drive`]
//! is the only way an input reaches a core: it writes what the core wants written before anything else is done.

mod file;

pub use file::{FileJournal, JournalError};

use crate::core::record::Record;
use crate::core::time::Now;
use crate::core::{Core, Input, Output, Step};

/// Takes records and keeps them.
pub trait Journal: Send {
    /// Writes records, durably when this returns.
    ///
    /// Errors: [`JournalError::Full`] when the disk has no room for another order; what ends a run still fits then.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError>;
    /// Tells whether it has grown so far that [`Journal::rewrite`] is worth its price.
    fn wants_rewrite(&self) -> bool;
    /// Replaces everything by these records, all or nothing.
    ///
    /// Errors: what the disk refused; the old records stay.
    fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError>;
}

/// Keeps nothing: for simulated devices, whose runs end with the program.
#[derive(Debug, Default)]
pub struct MemoryJournal;

impl Journal for MemoryJournal {
    fn append(&mut self, _records: &[Record]) -> Result<(), JournalError> {
        Ok(())
    }
    fn wants_rewrite(&self) -> bool {
        false
    }
    fn rewrite(&mut self, _records: &[Record]) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Hands an input to the core, writes what it wants written, and returns what else is to be done, in order.
pub fn drive(core: &mut Core, journal: &mut dyn Journal, input: Input, now: Now) -> Vec<Output> {
    let mut done = Vec::new();
    let mut inputs = vec![input];
    while let Some(input) = inputs.pop() {
        // What begins at once is acknowledged behind its start, what had to wait before it.
        let waited = !matches!(input, Input::Appended(Step::Received { .. }));
        let mut outputs = core.handle(input, now).into_iter();
        for output in outputs.by_ref() {
            match output {
                Output::Append { records, step } => {
                    match step {
                        Step::Starting(_) if waited => borealis_fail_points::reached("CA3"),
                        Step::Exited(_) => borealis_fail_points::reached("CA6"),
                        Step::Closed(_) => borealis_fail_points::reached("CA9"),
                        _ => {}
                    }
                    let input = match journal.append(&records) {
                        Ok(()) => {
                            match step {
                                Step::Received { .. } => borealis_fail_points::reached("CA2"),
                                Step::Starting(_) => borealis_fail_points::reached("CA4"),
                                Step::Exited(_) => borealis_fail_points::reached("CA7"),
                                _ => {}
                            }
                            Input::Appended(step)
                        }
                        Err(error) => {
                            tracing::error!(error = %error, "the journal cannot be written");
                            Input::AppendFailed {
                                step,
                                full: error.is_full(),
                            }
                        }
                    };
                    done.extend(drive(core, journal, input, now));
                }
                other => done.push(other),
            }
        }
    }
    if journal.wants_rewrite()
        && let Err(error) = journal.rewrite(&core.snapshot())
    {
        tracing::error!(error = %error, "the journal cannot be compacted");
    }
    done
}
