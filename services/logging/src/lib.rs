//! Where log lines go, for the services and for the agent.
//!
//! **What it owns.** `Logs/Server/<service>.log` and `Logs/Agent/<service>.log`: one file per service, owned by one
//! process, mode 0600 in a folder of mode 0700. A line is written with one unbuffered `write`, so that a line that was
//! logged survives a killed process.
//!
//! **Day change.** Before each line, and at start, a file whose last line belongs to another local day is renamed to
//! `<service>.log.YYYY-MM-DD` (the day of its lines), and a new one is begun. Where that name is taken the lines are
//! appended to it. Nothing is ever overwritten or deleted.
//!
//! **How it fails.** At start with a [`LogError`], which names the path; a second process of the same service gets
//! [`LogError::Owned`]. Later a failed write never stops the program: lines that could not be written are counted, and
//! the count is the first line that is written again.
//!
//! **Form.** JSON lines, one object each: `ts` (RFC 3339 UTC), `level`, `service`, `target`, `correlation_id` and
//! `message_id` where a field or span carries them, `message`, `fields`. What looks like a credential is replaced
//! before it is written (see [`redact`]); code must not log one in the first place.
//!
//! **Under which root** all of this stands when nobody names one is one rule for server and agent, [`installed_root`].

mod clock;
mod error;
mod file;
mod layer;
mod redact;
mod root;
mod start;

pub use clock::{Clock, SystemClock};
pub use error::LogError;
pub use file::{LogFile, Side, log_path};
pub use layer::JsonLayer;
pub use redact::redact;
pub use root::installed_root;
pub use start::{Guard, LogConfig, init, subscriber};
