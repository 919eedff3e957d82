//! The audit of a service: every act that was accepted or refused leaves a record in the service's own log.
//!
//! The request loop makes an [`Act`] of each request and runs the handler inside it. [`AuditedLog`], which stands between the
//! handlers and the store, adds the act's record to the first append that is made inside: change and record are one commit,
//! and no handler can forget it. What was refused gets an append of its own before the refusal is answered.
//!
//! | what | record |
//! | --- | --- |
//! | an operator's change, accepted | one, in the commit of the change |
//! | a read, a poll, a step that changes nothing, accepted | none: nothing happened, and reads would bury what did |
//! | anything refused, also a read, and a message that is no call | one, as often as the [limits](Limiter) allow; what is beyond is counted |
//! | a change of another service or of a device, accepted | one, in the commit of the change |
//! | `tell output` and `tell state` of devices, accepted | none: unsigned hints, and there are millions |
//! | an answer for a server that is stopping, overloaded or not up to date, or for a device that puts an order off | none: nobody decided anything |
//!
//! Handlers add what only they know: [`note_object`], [`note_actor`], [`note_caller`], [`note_session`], [`note_no_change`].

mod act;
mod index;
mod limiter;
mod log;
mod recorder;

pub use act::{Act, carried, note_actor, note_caller, note_no_change, note_object, note_session, within};
pub use index::AuditIndex;
pub use limiter::{Admitted, Limiter};
pub use log::AuditedLog;
pub use recorder::{Recorder, is_refusal};
