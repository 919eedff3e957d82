//! Finding and ending processes by what `/proc` says.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Is the variable that marks every process of a run.
pub const MARK: &str = "BOREALIS_RUN";

/// Is the longest time that ending a tree may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Holds what is read of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// When it began, in ticks since the machine did; with the id it names a process for good.
    pub started: u64,
    /// Whether it is dead and only not yet reaped.
    pub is_zombie: bool,
}

/// Reads a process.
///
/// Source: proc_pid_stat(5).
pub fn process(pid: i32) -> Option<Process> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, so fields are counted from the last bracket.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

/// Lists every process.
pub fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

/// Lists what lives below a process.
pub fn below(root: i32) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for process in children.remove(&pid).unwrap_or_default() {
            if seen.insert(process.pid) {
                open.push(process.pid);
                found.push(process);
            }
        }
    }
    found
}

/// Lists the processes of a run by their mark, but for this one.
pub fn marked(run: &str) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mark = format!("{MARK}={run}");
    let is_marked = |process: &Process| {
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    all()
        .into_iter()
        .filter(|process| process.pid != own && !process.is_zombie && is_marked(process))
        .collect()
}

/// Sends a signal; a process that is gone already is no error.
pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 1) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends what `list` names until it names nothing; returns whether nothing is left.
///
/// First asks politely when there is a grace; then kills again and again, because a tree may grow while it is killed.
pub fn end(grace: Duration, list: impl Fn() -> Vec<Process>) -> bool {
    let began = Instant::now();
    let living = || {
        list()
            .into_iter()
            .filter(|process| !process.is_zombie)
            .collect::<Vec<_>>()
    };
    if !grace.is_zero() {
        for process in living() {
            send(process.pid, Signal::TERM);
            // A stopped process hears nothing else.
            send(process.pid, Signal::CONT);
        }
    }
    loop {
        let left = living();
        if left.is_empty() {
            return true;
        }
        if began.elapsed() >= grace {
            for process in &left {
                send(process.pid, Signal::KILL);
            }
        }
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_this_process_then_it_is_found_with_its_parent() {
        let own = process(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.started > 0 && !own.is_zombie);
        assert!(below(own.parent).iter().any(|process| process.pid == own.pid));
        assert!(marked("a run that never was").is_empty());
    }
}
