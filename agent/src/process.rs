//! Running a script's process tree: begun by a small wrapper, ended as a whole, its output bounded and on disk.
//!
//! Each run is a child of a wrapper: this same binary as `borealis-agent __reaper`. The wrapper is the subreaper of
//! everything below it, so that nothing escapes by forking twice or by a session of its own; it ends the tree when it is told
//! to, and also when its control socket closes because the agent died. [`spool`] keeps the output, [`tree`] finds and ends
//! processes, [`reaper`] is the wrapper, [`run`] the agent's side of it.

pub mod reaper;
pub mod run;
pub mod spool;
pub mod tree;
