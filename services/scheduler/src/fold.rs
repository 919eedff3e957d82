//! What a run printed, by its digest: the runs of a job that printed the same are told as one.
//!
//! The beginning of a stream stands in the log and is digested as it passes by; what stands in the run's file is digested
//! behind it when somebody first asks, from the file itself. Nothing of it is stored: it follows from what is.

pub mod search;

use std::collections::BTreeMap;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::{OutputGroup, RunState};
use borealis_bus_schema::order::Digest;
use sha2::{Digest as _, Sha256};

/// Is what is known of the digest of one stream of a run.
#[derive(Debug, Clone, Default)]
pub enum Print {
    /// Nothing was printed.
    #[default]
    Nothing,
    /// All of it so far stands in the log.
    Log(Box<Sha256>),
    /// Some of it stands in the run's file; this is the digest of what stands before that, and that of all of it once it
    /// is known.
    File(Box<Sha256>, Option<Digest>),
    /// It is over, and this is the digest of all of it.
    Done(Digest),
}

impl Print {
    /// Takes the next piece; none where it stands in the run's file.
    pub fn take(&mut self, inline: Option<&[u8]>) {
        let hash = match std::mem::take(self) {
            Print::Nothing => Box::default(),
            Print::Log(hash) | Print::File(hash, _) => hash,
            // No piece comes behind an end that a process stands behind.
            done @ Print::Done(_) => {
                *self = done;
                return;
            }
        };
        *self = match inline {
            Some(bytes) => Print::Log(Box::new(hash.chain_update(bytes))),
            None => Print::File(hash, None),
        };
    }

    /// Says that nothing comes any more.
    pub fn close(&mut self) {
        if let Print::Log(hash) = self {
            *self = Print::Done(finished(hash));
        }
    }

    /// Tells the digest; the inner `None` says that nothing was printed, the outer one that the run's file has to be read.
    pub fn known(&self) -> Option<Option<Digest>> {
        match self {
            Print::Nothing => Some(None),
            Print::Done(digest) => Some(Some(*digest)),
            Print::Log(hash) => Some(Some(finished(hash))),
            Print::File(_, known) => known.map(Some),
        }
    }

    /// Returns what the digest of the run's file goes on from.
    pub fn before_file(&self) -> Option<Sha256> {
        match self {
            Print::File(hash, _) => Some(hash.as_ref().clone()),
            _ => None,
        }
    }

    /// Keeps the digest of a stream that stands in the run's file, until more comes.
    pub fn keep(&mut self, digest: Digest) {
        if let Print::File(_, known) = self {
            *known = Some(digest);
        }
    }
}

/// Ends a digest that a caller went on with.
pub fn finished(hash: &Sha256) -> Digest {
    let mut bytes = [0u8; 32];
    for (byte, hashed) in bytes.iter_mut().zip(hash.clone().finalize()) {
        *byte = hashed;
    }
    Digest(bytes)
}

/// Is a run that is over, as it is folded.
#[derive(Debug, Clone)]
pub struct Over {
    /// The run.
    pub run: RunId,
    /// Its device's name.
    pub hostname: String,
    /// How it ended.
    pub state: RunState,
    /// Its exit code, where its process ended by itself.
    pub exit_code: Option<i32>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// What it printed on stdout and on stderr.
    pub printed: [Option<Digest>; 2],
    /// How much.
    pub bytes: [u64; 2],
    /// Whether output was cut.
    pub truncated: bool,
}

/// Is how many devices a group names.
const NAMED: usize = 10;

/// Puts runs together that ended alike and printed the same; the largest group first.
///
/// The order is the same whoever folds: by size, then by the first device's name and run.
pub fn fold(runs: impl IntoIterator<Item = Over>) -> Vec<OutputGroup> {
    let mut groups: BTreeMap<_, Vec<Over>> = BTreeMap::new();
    for run in runs {
        let key = (run.state, run.exit_code, run.code, run.printed, run.truncated);
        groups.entry(key).or_default().push(run);
    }
    let group = |mut runs: Vec<Over>| {
        runs.sort_by(|a, b| (&a.hostname, a.run).cmp(&(&b.hostname, b.run)));
        let first = runs.first()?;
        let [stdout, stderr] = first.printed;
        let [stdout_bytes, stderr_bytes] = first.bytes;
        Some(OutputGroup {
            runs: runs.len() as u64,
            state: first.state,
            exit_code: first.exit_code,
            code: first.code,
            stdout,
            stderr,
            stdout_bytes,
            stderr_bytes,
            truncated: first.truncated,
            run: first.run,
            hostnames: runs.iter().take(NAMED).map(|run| run.hostname.clone()).collect(),
            found: None,
        })
    };
    let mut folded: Vec<OutputGroup> = groups.into_values().filter_map(group).collect();
    folded.sort_by(|a, b| {
        b.runs
            .cmp(&a.runs)
            .then_with(|| (&a.hostnames, a.run).cmp(&(&b.hostnames, b.run)))
    });
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_digest_of_the_whole_however_they_are_cut() {
        let text = b"one two three";
        for cut in 0..=text.len() {
            let mut print = Print::default();
            let (a, b) = text.split_at(cut);
            for piece in [a, b].into_iter().filter(|piece| !piece.is_empty()) {
                print.take(Some(piece));
            }
            print.close();
            assert_eq!(print.known(), Some(Some(Digest::of(text))), "{cut}");
        }
        let mut nothing = Print::default();
        nothing.close();
        assert_eq!(nothing.known(), Some(None));
    }

    #[test]
    fn what_stands_in_a_file_is_digested_behind_what_stands_in_the_log() {
        let mut print = Print::default();
        print.take(Some(b"one "));
        print.take(None);
        print.close();
        assert_eq!(print.known(), None);
        let whole = print.before_file().unwrap().chain_update(b"two");
        assert_eq!(finished(&whole), Digest::of(b"one two"));
        print.keep(Digest::of(b"one two"));
        assert_eq!(print.known(), Some(Some(Digest::of(b"one two"))));
        print.take(None);
        assert_eq!(print.known(), None, "more came behind it");
    }

    fn over(n: u8, hostname: &str, exit_code: i32, text: &str) -> Over {
        Over {
            run: RunId::from_bytes([n; 16]),
            hostname: hostname.into(),
            state: if exit_code == 0 {
                RunState::Succeeded
            } else {
                RunState::Failed
            },
            exit_code: Some(exit_code),
            code: None,
            printed: [Some(Digest::of(text.as_bytes())), None],
            bytes: [text.len() as u64, 0],
            truncated: false,
        }
    }

    #[test]
    fn runs_that_ended_alike_and_printed_the_same_are_one_group_the_largest_first() {
        let runs = vec![
            over(1, "c", 0, "b"),
            over(2, "b", 0, "a"),
            over(3, "a", 0, "a"),
            over(4, "d", 3, "a"),
        ];
        let folded = fold(runs.clone());
        let sizes: Vec<_> = folded.iter().map(|group| (group.runs, group.exit_code)).collect();
        assert_eq!(sizes, [(2, Some(0)), (1, Some(0)), (1, Some(3))]);
        assert_eq!(
            folded.first().map(|group| group.hostnames.clone()),
            Some(vec!["a".into(), "b".into()])
        );
        let turned: Vec<_> = runs.into_iter().rev().collect();
        assert_eq!(fold(turned), folded, "whoever folds them in whatever order");
        assert!(fold(Vec::new()).is_empty());
    }

    #[test]
    fn a_group_names_some_of_its_devices() {
        let runs = (0..30).map(|n| over(n, &format!("h{n:02}"), 0, "x"));
        let folded = fold(runs);
        assert_eq!(folded.len(), 1);
        assert_eq!(
            folded.first().map(|group| (group.runs, group.hostnames.len())),
            Some((30, 10))
        );
    }
}
