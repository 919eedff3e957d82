//! The machine that was measured on, in the form that every bench reports, and what is made of many figures.

use std::process::Command;

use serde_json::{Value, json};

/// Describes the machine that was measured on.
pub fn machine() -> Value {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .map(|out| out.stdout)
        .unwrap_or_default();
    json!({
        "cpus": cpus,
        "mem_bytes": kib * 1024,
        "kernel": kernel.trim(),
        "rustc": String::from_utf8_lossy(&rustc).trim()
    })
}

/// Returns the median; of an even number the lower one.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}
