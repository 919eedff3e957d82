//! What the kernel says of processes.

/// Lists the processes below one.
pub fn descendants(of: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let (mut found, mut at) = (vec![of], 0);
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.retain(|pid| *pid != of);
    found
}

/// Returns what a process was started as: the program's name, and its first word.
pub fn started_as(pid: u32) -> (String, String) {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    (name, words.next().unwrap_or_default().into_owned())
}

/// Returns the words of a process's stat line behind its name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

/// Returns the processor time a process has used, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let words = stat(pid).unwrap_or_default();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn kib(pid: u32, file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Returns a process's proportional share of memory.
pub fn pss_bytes(pid: u32) -> u64 {
    kib(pid, "smaps_rollup", "Pss:") * 1024
}

/// Returns a process's resident memory.
pub fn rss_bytes(pid: u32) -> u64 {
    kib(pid, "status", "VmRSS:") * 1024
}
