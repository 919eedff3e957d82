//! When a schedule fires: pure arithmetic, without clock, input or output.
//!
//! A [`Schedule`] is a [`Kind`] in a [`Zone`] with a start and perhaps an end. It answers which firing comes next, which came
//! before, and how many lie between two instants, in microseconds and without ever searching for ever: cron text that no day
//! of the calendar meets is refused when it is read.
//!
//! Kinds with a wall-clock time (cron with chosen hours, daily to yearly) fire **at the first instant at which the zone's
//! clock shows that time or a later one**. So what falls into a gap fires once, right after it, and what comes twice fires
//! the first time only. Cron text that admits every hour fires whenever the clock shows a time that it names; what counts
//! minutes or hours from its start counts real ones. `docs/cron.md` has the rule with examples, and `tests/oracle` compares
//! it with a program that shares no code with this one, in every zone.
//!
//! [`plan`] reads an author's request; [`ledger`] decides what is due when a service was away or a clock jumped: no firing twice, none forgotten.

mod civil;
pub mod cron;
pub mod ledger;
mod pattern;
pub mod plan;
pub mod schedule;
mod walk;
pub mod zone;

pub use cron::{Cron, CronError};
pub use plan::{Plan, PlanError};
pub use schedule::{Firing, Kind, Note, Schedule, ScheduleError};
pub use zone::Zone;
