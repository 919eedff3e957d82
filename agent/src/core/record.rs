//! The journal's records: what must be durable before the next step is taken.
//!
//! A run passes `Received`, `Starting`, `Exited`, `Closed`, each durable before the agent acknowledges, spawns, reports or
//! forgets. Compaction replaces what is over by `Known`.

use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{OrderId, RoleName, RunId};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Names one try of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
}

impl std::fmt::Display for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.run, self.attempt)
    }
}

/// Is one record of the journal.
///
/// Shape: CBOR map with the member `step`; fields may be added, names never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Record {
    /// An order was verified and will be done.
    Received {
        /// The order's canonical bytes.
        #[serde(with = "serde_bytes")]
        order: Vec<u8>,
        /// When it came, by the server's clock.
        at: Timestamp,
    },
    /// The run's process is about to begin.
    Starting {
        /// The run.
        key: RunKey,
        /// When, by the device's clock.
        at: Timestamp,
    },
    /// The run is over; its result waits for the server.
    Exited {
        /// The run.
        key: RunKey,
        /// The role that did it.
        role: RoleName,
        /// How it ended.
        state: RunState,
        /// The signed result.
        result: Signed,
        /// How much stdout is kept.
        stdout_bytes: u64,
        /// How much stderr is kept.
        stderr_bytes: u64,
        /// How long the run is remembered; set where no order was received, after a cancel that came first.
        keep_until: Option<Timestamp>,
    },
    /// The server has the result.
    Closed {
        /// The run.
        key: RunKey,
    },
    /// A run that is over, as compaction leaves it.
    Known {
        /// The run.
        key: RunKey,
        /// The order; none when the run was cancelled before its order came.
        order: Option<OrderId>,
        /// The order's digest.
        digest: Option<Digest>,
        /// What the order did, digested.
        content: Option<Digest>,
        /// The role that did it.
        role: RoleName,
        /// How it ended.
        state: RunState,
        /// The signed result, while it is kept.
        result: Option<Signed>,
        /// How long the run is remembered.
        keep_until: Timestamp,
    },
    /// A hello is about to be sent.
    Hello {
        /// Its number.
        counter: u64,
    },
    /// The newest instant of the server's clock that an order has proved.
    Proved {
        /// The instant.
        at: Timestamp,
    },
}
