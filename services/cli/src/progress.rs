//! Where a job's runs stand, in one line: rewritten in place on a terminal, printed when it changes otherwise.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use borealis_bus_schema::messages::scheduler::{JobView, RunState};

use crate::error::CliError;
use crate::print::{self, Printer};

/// Is how often a line is printed at most where it cannot be rewritten.
const PRINTED_EACH: Duration = Duration::from_secs(5);

/// Shows progress on stderr.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    began: Instant,
    /// How many runs were over when it began: they say nothing of the rate.
    before: Option<u64>,
    shown: bool,
    told: String,
    told_at: Option<Instant>,
    /// What the job was last said to wait for.
    waits: Option<String>,
}

impl Progress {
    /// Begins now.
    pub fn begin() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
            before: None,
            shown: false,
            told: String::new(),
            told_at: None,
            waits: None,
        }
    }

    /// Tells where the runs of a job stand, and once what it waits for when an operator has to continue it.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn show(&mut self, printer: &Printer, job: &JobView) -> Result<(), CliError> {
        let paused = job.waves.as_ref().filter(|_| job.state == "paused");
        let waits = paused.and_then(|waves| waves.reason.clone());
        if waits != self.waits {
            if let Some(reason) = &waits {
                self.clear(printer)?;
                let id = job.job;
                printer.aside(&format!("Job {id} waits: {reason} (borealis jobs continue {id})."))?;
            }
            self.waits = waits;
        }
        let counts = &job.counts;
        if self.terminal {
            let over: u64 = over(counts);
            let before = *self.before.get_or_insert(over);
            let line = line(counts, over - before.min(over), self.began.elapsed());
            self.shown = true;
            return printer.rewrite(&line);
        }
        let stands = print::counts(counts);
        let is_soon = self.told_at.is_some_and(|at| at.elapsed() < PRINTED_EACH);
        if stands == self.told || is_soon {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        printer.aside(&stands)?;
        self.told = stands;
        Ok(())
    }

    /// Takes the line away, so that something else can be printed.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn clear(&mut self, printer: &Printer) -> Result<(), CliError> {
        if std::mem::take(&mut self.shown) {
            printer.rewrite("")?;
        }
        Ok(())
    }
}

fn over(counts: &BTreeMap<RunState, u64>) -> u64 {
    let over = counts.iter().filter(|(state, _)| state.is_final());
    over.map(|(_, count)| count).sum()
}

/// Makes the line: how many are over of how many, in which states, how many a second ended since it is watched, and how long
/// the others take at that pace.
fn line(counts: &BTreeMap<RunState, u64>, ended: u64, elapsed: Duration) -> String {
    let total: u64 = counts.values().sum();
    let over = over(counts);
    let mut line = format!("{over} of {total} over: {}", print::counts(counts));
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    if ended > 0 && over < total && ms >= 1_000 {
        let tenths = ended.saturating_mul(10_000) / ms;
        let left_ms = (total - over).saturating_mul(ms) / ended;
        line.push_str(&format!(
            "; {}.{}/s, about {} left",
            tenths / 10,
            tenths % 10,
            print::duration(left_ms)
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_counts_rate_and_what_is_left() {
        let counts = [
            (RunState::Queued, 70),
            (RunState::Running, 10),
            (RunState::Succeeded, 18),
            (RunState::TimedOut, 2),
        ]
        .into();
        assert_eq!(
            line(&counts, 20, Duration::from_secs(10)),
            "20 of 100 over: 70 queued, 10 running, 18 succeeded, 2 timed out; 2.0/s, about 40.0 s left"
        );
        // Nothing ended while it is watched: nobody knows how long it takes.
        assert_eq!(
            line(&counts, 0, Duration::from_secs(10)),
            "20 of 100 over: 70 queued, 10 running, 18 succeeded, 2 timed out"
        );
        let done = [(RunState::Succeeded, 3)].into();
        assert_eq!(line(&done, 3, Duration::from_secs(1)), "3 of 3 over: 3 succeeded");
    }
}
