//! The index of commands: which ids were used, and where their effect ends.
//!
//! Command ids are random, so a row per id would touch a random leaf of the tree for every command. Instead each round of
//! the indexer writes one *run*: its ids sorted and packed into rows of about 1 KiB, under the run's own prefix. Sixteen
//! runs are merged into one. A filter in memory answers for nearly all new ids, so that runs are searched only for ids
//! that were used. A run is forgotten as a whole when all its commands are older than ids live.
//!
//! **Shape**: tree `commands`: `base u64 ‖ tier u8 ‖ first id[16]` → `1 ‖ (id[16] ‖ varint last − base ‖ at_ms i64)*`.
//! Tree `meta`: `"run" ‖ base u64 ‖ tier u8` → `1 ‖ count u64 ‖ latest at_ms i64`; only what stands here is a run, so a
//! round that was cut off leaves rows that nothing reads and the next round of the same base removes.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::index::Batches;
use crate::row::{Cursor, put_varint};
use crate::tail::CommandEntry;
use crate::{Position, StoreError};

const FORMAT: u8 = 1;
const ROW_BYTES: usize = 1024;
/// Small runs that are merged into a large one.
const MERGE_RUNS: usize = 16;
const SMALL: u8 = 0;
const LARGE: u8 = 1;
const DIRECTORY: &[u8] = b"run";

type Entries = BTreeMap<[u8; 16], CommandEntry>;

/// The index, with the directory of its runs in memory.
#[derive(Debug)]
pub(crate) struct Commands {
    tree: sled::Tree,
    meta: sled::Tree,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// In the order of the log.
    runs: Vec<Run>,
    filter: Filter,
}

/// One sorted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    base: Position,
    tier: u8,
    count: u64,
    latest_ms: i64,
}

impl Run {
    fn of(base: Position, tier: u8, entries: &Entries) -> Self {
        let latest_ms = entries.values().map(|entry| entry.at_ms).max().unwrap_or(i64::MIN);
        Self {
            base,
            tier,
            count: entries.len() as u64,
            latest_ms,
        }
    }

    fn prefix(&self) -> Vec<u8> {
        let mut prefix = self.base.to_be_bytes().to_vec();
        prefix.push(self.tier);
        prefix
    }

    fn directory_key(&self) -> Vec<u8> {
        [DIRECTORY, &self.prefix()].concat()
    }

    fn directory_value(&self) -> Vec<u8> {
        let mut value = vec![FORMAT];
        value.extend_from_slice(&self.count.to_be_bytes());
        value.extend_from_slice(&self.latest_ms.to_be_bytes());
        value
    }

    fn parse(key: &[u8], value: &[u8]) -> Result<Self, &'static str> {
        let mut key = Cursor(key.strip_prefix(DIRECTORY).unwrap_or_default());
        let base = u64::from_be_bytes(*key.array()?);
        let tier = key.byte()?;
        let mut value = Cursor(value);
        if value.byte()? != FORMAT {
            return Err("the format of a run is not known");
        }
        let count = u64::from_be_bytes(*value.array()?);
        Ok(Self {
            base,
            tier,
            count,
            latest_ms: i64::from_be_bytes(*value.array()?),
        })
    }
}

impl Commands {
    /// Opens the index: reads its directory and fills the filter.
    pub(crate) fn open(tree: sled::Tree, meta: sled::Tree) -> Result<Self, StoreError> {
        let mut runs = Vec::new();
        for entry in meta.scan_prefix(DIRECTORY) {
            let (key, value) = entry.map_err(StoreError::database("read the runs of commands"))?;
            runs.push(Run::parse(&key, &value).map_err(broken)?);
        }
        let filter = Filter::for_ids(count_of(&runs));
        let commands = Self {
            tree,
            meta,
            state: RwLock::new(State { runs, filter }),
        };
        commands.refill(&mut commands.state_mut())?;
        Ok(commands)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks an id up, newest run first.
    pub(crate) fn get(&self, id: &[u8; 16]) -> Result<Option<CommandEntry>, StoreError> {
        let state = self.state();
        if !state.filter.may_hold(id) {
            return Ok(None);
        }
        for run in state.runs.iter().rev() {
            // The greatest key not above the id's own.
            let above = [&run.prefix()[..], id, &[0]].concat();
            let found = self
                .tree
                .get_lt(above)
                .map_err(StoreError::database("look a command up"))?;
            let Some((key, value)) = found.filter(|(key, _)| key.starts_with(&run.prefix())) else {
                continue;
            };
            let mut entry = None;
            read_row(&key, &value, |found, its| {
                if found == id {
                    entry = Some(its);
                }
            })?;
            if entry.is_some() {
                return Ok(entry);
            }
        }
        Ok(None)
    }

    /// Writes the rows of a new run; it counts only once its directory row stands, which `directory` is given for.
    pub(crate) fn write(
        &self,
        base: Position,
        entries: &Entries,
        directory: &mut sled::Batch,
    ) -> Result<NewRun, StoreError> {
        let run = Run::of(base, SMALL, entries);
        self.write_rows(&run, entries)?;
        directory.insert(run.directory_key(), run.directory_value());
        Ok(NewRun(run))
    }

    /// Takes a run whose directory row stands; then merges and forgets runs when it is time.
    pub(crate) fn take(&self, new: NewRun, entries: &Entries, log_time_ms: i64) -> Result<(), StoreError> {
        {
            let mut state = self.state_mut();
            state.runs.push(new.0);
            entries.keys().for_each(|id| state.filter.add(id));
            if state.filter.is_full(count_of(&state.runs)) {
                state.filter = Filter::for_ids(count_of(&state.runs) * 2);
                self.refill(&mut state)?;
            }
        }
        self.merge(log_time_ms)?;
        self.forget(log_time_ms)
    }

    /// Makes one large run of the small ones when there are enough.
    fn merge(&self, log_time_ms: i64) -> Result<(), StoreError> {
        let small: Vec<Run> = self
            .state()
            .runs
            .iter()
            .filter(|run| run.tier == SMALL)
            .copied()
            .collect();
        let Some(first) = small.first().filter(|_| small.len() >= MERGE_RUNS) else {
            return Ok(());
        };
        let mut entries = Entries::new();
        for run in &small {
            self.read_run(run, |id, entry| {
                // A later use of the same id replaces the earlier, forgotten one.
                entries.insert(*id, entry);
            })?;
        }
        entries.retain(|_, entry| entry.is_live(log_time_ms));
        let merged = Run::of(first.base, LARGE, &entries);
        self.write_rows(&merged, &entries)?;
        let mut directory = sled::Batch::default();
        small.iter().for_each(|run| directory.remove(run.directory_key()));
        directory.insert(merged.directory_key(), merged.directory_value());
        self.meta
            .apply_batch(directory)
            .map_err(StoreError::database("write the runs of commands"))?;
        {
            let mut state = self.state_mut();
            state.runs.retain(|run| run.tier != SMALL);
            state.runs.push(merged);
        }
        small.iter().try_for_each(|run| self.clear(run))
    }

    /// Forgets the runs whose commands are all older than ids live.
    fn forget(&self, log_time_ms: i64) -> Result<(), StoreError> {
        let is_over = |run: &Run| {
            !CommandEntry {
                last: 0,
                at_ms: run.latest_ms,
            }
            .is_live(log_time_ms)
        };
        let over: Vec<Run> = self.state().runs.iter().filter(|run| is_over(run)).copied().collect();
        for run in &over {
            self.meta
                .remove(run.directory_key())
                .map_err(StoreError::database("write the runs of commands"))?;
            self.state_mut().runs.retain(|kept| kept != run);
            self.clear(run)?;
        }
        Ok(())
    }

    fn write_rows(&self, run: &Run, entries: &Entries) -> Result<(), StoreError> {
        self.clear(run)?;
        let mut batch = Batches::new(&self.tree);
        let mut row: Option<(Vec<u8>, Vec<u8>)> = None;
        for (id, entry) in entries {
            let (_, value) = row.get_or_insert_with(|| ([&run.prefix()[..], id].concat(), vec![FORMAT]));
            value.extend_from_slice(id);
            put_varint(value, entry.last.saturating_sub(run.base));
            value.extend_from_slice(&entry.at_ms.to_be_bytes());
            if value.len() >= ROW_BYTES
                && let Some((key, value)) = row.take()
            {
                batch.insert(key, value)?;
            }
        }
        if let Some((key, value)) = row {
            batch.insert(key, value)?;
        }
        batch.finish()
    }

    /// Removes the rows of a run.
    fn clear(&self, run: &Run) -> Result<(), StoreError> {
        let mut batch = Batches::new(&self.tree);
        for key in self.tree.scan_prefix(run.prefix()).keys() {
            batch.remove(key.map_err(StoreError::database("read a run of commands"))?.to_vec())?;
        }
        batch.finish()
    }

    fn read_run(&self, run: &Run, mut visit: impl FnMut(&[u8; 16], CommandEntry)) -> Result<(), StoreError> {
        for entry in self.tree.scan_prefix(run.prefix()) {
            let (key, value) = entry.map_err(StoreError::database("read a run of commands"))?;
            read_row(&key, &value, &mut visit)?;
        }
        Ok(())
    }

    fn refill(&self, state: &mut State) -> Result<(), StoreError> {
        for run in &state.runs {
            self.read_run(run, |id, _| state.filter.add(id))?;
        }
        Ok(())
    }
}

/// A run whose rows are written, but not its directory row.
#[derive(Debug)]
pub(crate) struct NewRun(Run);

fn count_of(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.count).sum()
}

fn broken(reason: &'static str) -> StoreError {
    StoreError::Broken { position: 0, reason }
}

fn read_row(key: &[u8], value: &[u8], mut visit: impl FnMut(&[u8; 16], CommandEntry)) -> Result<(), StoreError> {
    let mut parse = || {
        let base = u64::from_be_bytes(*Cursor(key).array()?);
        let mut cursor = Cursor(value);
        if cursor.byte()? != FORMAT {
            return Err("the format of a row of commands is not known");
        }
        while !cursor.0.is_empty() {
            let id = cursor.array()?;
            let last = base.saturating_add(cursor.varint()?);
            visit(
                id,
                CommandEntry {
                    last,
                    at_ms: i64::from_be_bytes(*cursor.array()?),
                },
            );
        }
        Ok(())
    };
    parse().map_err(broken)
}

/// Tells for most ids that were never used that they were not (a Bloom filter: twelve bits and six probes an id).
#[derive(Debug)]
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    const BITS_PER_ID: u64 = 12;
    const LEAST_WORDS: u64 = 8192;
    const PROBES: u64 = 6;

    fn for_ids(count: u64) -> Self {
        let words = (count.saturating_mul(Self::BITS_PER_ID) / 64)
            .max(Self::LEAST_WORDS)
            .next_power_of_two();
        Self {
            words: vec![0; usize::try_from(words).unwrap_or(usize::MAX)],
        }
    }

    fn is_full(&self, count: u64) -> bool {
        count.saturating_mul(Self::BITS_PER_ID) > self.words.len() as u64 * 64
    }

    /// Gives word and bit of each probe.
    fn probes(&self, id: &[u8; 16]) -> impl Iterator<Item = (usize, u64)> + use<> {
        let number = u128::from_be_bytes(*id);
        let mix = |value: u64| {
            let value = (value ^ (value >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (value ^ (value >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        let (high, low) = ((number >> 64) as u64, number as u64);
        let first = mix(high ^ low.rotate_left(32));
        let step = mix(low ^ 0x94D0_49BB_1331_11EB) | 1;
        let words = self.words.len() as u64;
        (0..Self::PROBES).map(move |probe| {
            let at = first.wrapping_add(step.wrapping_mul(probe));
            let word = usize::try_from((at >> 6) % words).unwrap_or(0);
            (word, 1 << (at & 63))
        })
    }

    fn add(&mut self, id: &[u8; 16]) {
        for (word, bit) in self.probes(id) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn may_hold(&self, id: &[u8; 16]) -> bool {
        self.probes(id)
            .all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees() -> (tempfile::TempDir, sled::Tree, sled::Tree) {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(folder.path()).open().unwrap();
        (folder, db.open_tree("commands").unwrap(), db.open_tree("meta").unwrap())
    }

    fn id(number: u64) -> [u8; 16] {
        u128::from(number)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834)
            .to_be_bytes()
    }

    fn round(commands: &Commands, meta: &sled::Tree, base: u64, ids: std::ops::Range<u64>, at_ms: i64) {
        let entries: Entries = ids
            .enumerate()
            .map(|(index, number)| {
                (
                    id(number),
                    CommandEntry {
                        last: base + index as u64,
                        at_ms,
                    },
                )
            })
            .collect();
        let mut batch = sled::Batch::default();
        let run = commands.write(base, &entries, &mut batch).unwrap();
        meta.apply_batch(batch).unwrap();
        commands.take(run, &entries, at_ms).unwrap();
    }

    #[test]
    fn ids_are_found_across_merges_and_reopens() {
        let (_folder, tree, meta) = trees();
        let commands = Commands::open(tree.clone(), meta.clone()).unwrap();
        for number in 0..40 {
            round(&commands, &meta, number * 300 + 1, number * 300..number * 300 + 300, 5);
        }
        assert_eq!(commands.state().runs.len(), 2 + 40 % 16);
        for commands in [commands, Commands::open(tree, meta).unwrap()] {
            for number in 0..12_000 {
                assert_eq!(
                    commands.get(&id(number)).unwrap(),
                    Some(CommandEntry {
                        last: number + 1,
                        at_ms: 5
                    })
                );
            }
            assert!((12_000..24_000).all(|number| commands.get(&id(number)).unwrap().is_none()));
        }
    }

    #[test]
    fn the_newest_use_of_an_id_counts() {
        let (_folder, tree, meta) = trees();
        let commands = Commands::open(tree, meta.clone()).unwrap();
        for number in 0..20 {
            round(&commands, &meta, number * 10 + 1, 0..3, 5);
            assert_eq!(commands.get(&id(0)).unwrap().unwrap().last, number * 10 + 1);
        }
    }

    #[test]
    fn old_runs_are_forgotten_and_cut_rounds_leave_nothing() {
        let (_folder, tree, meta) = trees();
        let commands = Commands::open(tree.clone(), meta.clone()).unwrap();
        round(&commands, &meta, 1, 0..500, 5);
        // A round without its directory row, as a kill leaves it; the same base comes again with other commands.
        let entries: Entries = (0..500)
            .map(|number| (id(number + 700), CommandEntry { last: 900, at_ms: 6 }))
            .collect();
        commands.write(501, &entries, &mut sled::Batch::default()).unwrap();
        assert_eq!(commands.get(&id(700)).unwrap(), None);
        round(&commands, &meta, 501, 500..600, crate::COMMAND_LIFE_MS + 6);
        assert_eq!(commands.get(&id(0)).unwrap(), None);
        assert_eq!(commands.get(&id(700)).unwrap(), None);
        assert_eq!(commands.get(&id(599)).unwrap().unwrap().last, 600);
        assert_eq!(commands.state().runs.len(), 1);
        let mut kept = 0;
        for entry in tree.iter() {
            let (key, value) = entry.unwrap();
            read_row(&key, &value, |_, _| kept += 1).unwrap();
        }
        assert_eq!(kept, 100);
    }

    #[test]
    fn the_filter_knows_most_strangers_and_every_acquaintance() {
        let mut filter = Filter::for_ids(40_000);
        (0..40_000).for_each(|number| filter.add(&id(number)));
        assert!((0..40_000).all(|number| filter.may_hold(&id(number))));
        let wrong = (40_000..80_000).filter(|number| filter.may_hold(&id(*number))).count();
        assert!(wrong < 800, "{wrong} of 40,000 strangers pass");
    }
}
