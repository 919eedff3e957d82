//! Named points at which a test lets a real process die: CS1 to CS12 in services, CA1 to CA9 in the agent, as
//! `RELIABILITY.md` tells them.
//!
//! A program says where it is, `reached("CS4")`. Without the feature `fail-points`, and in every release build, that is
//! nothing at all. With it, a process that was started with [`VARIABLE`] naming a file looks into that file at each point. A
//! test writes there which point is meant, in which process, and at which hit; whoever makes that hit notes its process id
//! and ends itself with SIGKILL: nothing is unwound, flushed or said. So one file serves all children of the server and all
//! agents, is armed while they run, and tells in the end who died.
//!
//! **Shape** of the file: one line, `POINT WHO HITS` padded with blanks to [`LINE_BYTES`]; WHO is the process's first
//! argument (`scheduler`, `run`) or `*`. Whoever dies leaves `POINT died PID`.
//!
//! The crate `fail` was looked at: its points are armed by a variable at the start or by calls within the process, where a
//! supervisor's child cannot be reached; it ends no process (a panic ends a task); and it brings a registry, a logger and
//! random numbers for what are forty lines.

#[cfg(all(feature = "fail-points", debug_assertions))]
mod armed;
#[cfg(all(feature = "fail-points", debug_assertions))]
pub use armed::{is_on, open, reached, under_way};

#[cfg(not(all(feature = "fail-points", debug_assertions)))]
mod absent;
#[cfg(not(all(feature = "fail-points", debug_assertions)))]
pub use absent::{is_on, open, reached, under_way};

/// Names the variable that names the file. A program without fail points does not hold this text.
pub const VARIABLE: &str = "BOREALIS_FAIL_POINTS";

/// Is the size of the file.
pub const LINE_BYTES: usize = 64;

/// Writes a line as the file holds it.
pub fn line(text: &str) -> [u8; LINE_BYTES] {
    let mut line = [b' '; LINE_BYTES];
    for (to, from) in line.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    line
}
