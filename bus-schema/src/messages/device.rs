//! What a device answers and tells over the bus.

use serde::{Deserialize, Serialize};

use super::scheduler::{OutputStream, RunState};
use crate::codes::Code;
use crate::forms::Signed;
use crate::ids::{Guid, RunId};
use crate::order::Context;
use crate::time::Timestamp;

/// Answers an order: the device has it in its journal, or says why not.
///
/// Acceptance is a hint; the final result is signed. A repeated order is answered from the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// Where it stands on the device.
    pub state: RunState,
    /// The signed [`RunResult`], once there is one.
    pub result: Option<Signed>,
}

/// Is the final word on a run; travels as [`Signed`] under [`crate::forms::Form::Result`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// The device.
    pub guid: Guid,
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// How it ended: one of the final states.
    pub state: RunState,
    /// The exit code, when the process ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When its process began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long its process lived, by the monotonic clock.
    pub duration_ms: u64,
    /// How much stdout was sent.
    pub stdout_bytes: u64,
    /// How much stderr was sent.
    pub stderr_bytes: u64,
    /// Whether output was cut.
    pub truncated: bool,
    /// Why, in a sentence.
    pub reason: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
}

/// Tells the final result: `tell.<role>.result`, request/reply, repeated until answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellResult {
    /// The signed [`RunResult`].
    pub result: Signed,
}

/// Says that the result is durable at the server; the device may forget the run once its dedupe window is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultKept {
    /// The run.
    pub run: RunId,
}

/// Tells a piece of output: `tell.<role>.output`, request/reply, in order, repeated until answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellOutput {
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// Which stream.
    pub stream: OutputStream,
    /// Where in the stream the data begins.
    pub offset: u64,
    /// The data, at most 64 KiB.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Is the largest piece of output in one message.
pub const OUTPUT_CHUNK_BYTES: usize = 64 << 10;

/// Says up to where a stream of output is durable at the server.
///
/// A device that sent from behind `next_offset` goes back to it; this is how a cut is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputKept {
    /// The run.
    pub run: RunId,
    /// Which stream.
    pub stream: OutputStream,
    /// The first byte that the server does not have.
    pub next_offset: u64,
}

/// Tells a change on the way: `tell.<role>.state`, a hint that may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellState {
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// Since when.
    pub at: Timestamp,
}

/// Is what a device says first on a connection, and again in answer to a challenge; travels as [`Signed`] under [`crate::forms::Form::Hello`] on
/// `tell.agent.hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The device.
    pub guid: Guid,
    /// The agent's version.
    pub agent_version: String,
    /// With which rights the agent acts.
    pub contexts: Vec<Context>,
    /// The roles it offers.
    pub roles: Vec<String>,
    /// Counts up in the device's journal with each hello that answers a challenge.
    pub journal_counter: u64,
    /// The device's clock.
    pub at: Timestamp,
    /// What the last [`Welcome`] asked to be answered; none in the first hello on a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// Is how many hexadecimal digits an agent draws at its start; it connects under the name `<GUID>/<digits>`.
pub const AGENT_LABEL_CHARS: usize = 16;

/// Answers [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The server's clock.
    pub server_time: Timestamp,
    /// The newest key set, signed by the code-signing root.
    pub key_set: Signed,
    /// What the next hello has to answer before the device is welcome; none when this hello did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Whether the device is quarantined: it may report and gets no orders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Whether something waits for the device at its next renewal, which it makes soon then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}
