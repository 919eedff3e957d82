//! What the compiler cannot check: which crate may know which, and what no file may hold.
//!
//! Each rule is a pure function from text to offences, and has a test that shows it failing on a bad sample. One test
//! per rule walks the files of the repository: those that git tracks or would track.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod crates;
mod files;
mod layout;
mod sources;

use std::fmt::Display;

/// Fails with all offences at once.
fn demand_none<T: Display>(rule: &str, offences: impl IntoIterator<Item = T>) {
    let lines: Vec<String> = offences.into_iter().map(|offence| format!("  {offence}")).collect();
    if !lines.is_empty() {
        panic!("{rule}:\n{}", lines.join("\n"));
    }
}
