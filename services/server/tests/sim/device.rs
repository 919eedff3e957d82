//! A device: the agent's own core on a simulated disk, with processes that leave a line for each time they ran.

use std::collections::BTreeMap;

use borealis_agent::core::record::RunKey;
use borealis_agent::core::time::Now;
use borealis_agent::core::{Core, CoreConfig, Ending, Exit, Input, Output, RoleSpec};
use borealis_agent::identity::DeviceKeys;
use borealis_agent::journal::drive;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, RoleName, VerbName};
use borealis_bus_schema::messages::device::OUTPUT_CHUNK_BYTES;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::order::{Context, KeySet};
use borealis_bus_schema::time::Timestamp;

use crate::disk::DeviceDisk;

/// Is a process that lives.
#[derive(Clone, Copy)]
pub struct Process {
    pub began_ms: i64,
    pub ends_ms: i64,
    pub code: i32,
    pub output: u64,
}

/// Is what a device told and waits to be answered for.
#[derive(Clone)]
pub enum Told {
    Output {
        key: RunKey,
        stream: OutputStream,
        offset: u64,
    },
    Result {
        key: RunKey,
    },
}

pub struct Device {
    pub guid: Guid,
    pub keys: DeviceKeys,
    pub disk: DeviceDisk,
    /// The program while it lives.
    pub core: Option<Core>,
    /// Counts the program's lives: what belongs to an earlier one is void.
    pub life: u64,
    began_ms: i64,
    /// By how much its wall clock is wrong.
    pub skew_ms: i64,
    /// Whether anybody told the program what time it is.
    pub knows_time: bool,
    pub is_connected: bool,
    pub is_stopping: bool,
    pub processes: BTreeMap<RunKey, Process>,
    /// What the spools hold; it outlives the program.
    pub spools: BTreeMap<RunKey, u64>,
    pub told: BTreeMap<u64, Told>,
    pub ticks_at: Option<i64>,
    seed: u64,
}

pub fn keys_of(index: u8) -> DeviceKeys {
    DeviceKeys::of_seeds([index + 1; 32], [index + 101; 32])
}

impl Device {
    pub fn new(index: u8, disk: DeviceDisk, skew_ms: i64, seed: u64) -> Self {
        Self {
            guid: Guid::from_random([index + 1; 16]),
            keys: keys_of(index),
            disk,
            core: None,
            life: 0,
            began_ms: 0,
            skew_ms,
            knows_time: false,
            is_connected: false,
            is_stopping: false,
            processes: BTreeMap::new(),
            spools: BTreeMap::new(),
            told: BTreeMap::new(),
            ticks_at: None,
            seed,
        }
    }

    pub fn now(&self, at_ms: i64) -> Now {
        Now {
            wall: Timestamp::from_unix_ms(at_ms + self.skew_ms),
            mono_ms: u64::try_from(at_ms - self.began_ms).unwrap() + 1_000,
        }
    }

    /// Says at what time of the world the program wants to be woken.
    pub fn deadline(&self) -> Option<i64> {
        let at = self.core.as_ref()?.deadline_ms()?;
        Some(i64::try_from(at.saturating_sub(1_000)).unwrap_or(i64::MAX / 2) + self.began_ms)
    }

    /// Begins the program on what its disk holds.
    pub fn start(&mut self, root: PublicKey, key_set: KeySet, at_ms: i64) {
        let spec = |name, verbs: &[VerbName]| RoleSpec {
            name,
            verbs: verbs.to_vec(),
        };
        let config = CoreConfig {
            guid: self.guid,
            contexts: vec![Context::System],
            agent_version: "1".into(),
            roles: vec![
                spec(RoleName::agent(), &[VerbName::ping()]),
                spec(RoleName::script(), &[VerbName::run(), VerbName::cancel()]),
            ],
            code_signing_root: root,
            key_set,
            max_running: 2,
            jitter_seed: self.seed.wrapping_add(self.life),
        };
        self.life += 1;
        self.began_ms = at_ms;
        (self.is_stopping, self.knows_time) = (false, false);
        self.core = Some(Core::new(config, Box::new(self.keys.clone()), self.disk.read()));
    }

    /// Ends the program and everything that it started; only its disk is left.
    pub fn crash(&mut self) {
        self.core = None;
        self.life += 1;
        self.disk.crash();
        self.processes.clear();
        self.told.clear();
        self.is_connected = false;
        self.ticks_at = None;
    }

    /// Hands the program an input; returns what it wants done, or nothing when it died over it.
    pub fn give(&mut self, input: Input, at_ms: i64) -> Option<Vec<Output>> {
        let now = self.now(at_ms);
        let core = self.core.as_mut()?;
        let outputs = drive(core, &mut self.disk, input, now);
        if self.disk.is_dead { None } else { Some(outputs) }
    }

    /// Is how a process ended that is gone.
    pub fn exit(&self, key: RunKey, ending: Ending, at_ms: i64) -> Exit {
        let began_ms = self.processes.get(&key).map_or(at_ms, |process| process.began_ms);
        Exit {
            ending,
            duration_ms: (at_ms - began_ms).unsigned_abs(),
            stdout_bytes: self.spools.get(&key).copied().unwrap_or_default(),
            stderr_bytes: 0,
            truncated: false,
        }
    }
}

/// Is what a run prints: the same bytes at the same place, whoever asks.
pub fn printed(key: RunKey, offset: u64, len: usize) -> Vec<u8> {
    assert!(len <= OUTPUT_CHUNK_BYTES);
    let first = u64::from(key.run.as_bytes()[0]);
    (0..len as u64)
        .map(|at| ((offset + at) * 31 + first).to_le_bytes()[0])
        .collect()
}
