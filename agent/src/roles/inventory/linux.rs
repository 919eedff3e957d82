//! Facts of a Linux machine: `/proc`, `/sys`, the package lists, and `sysinfo` for disks and addresses.

use crate::identity::host;
use borealis_bus_schema::messages::inventory::{Cpu, Interface, Memory, Os, Package, Summary, Volume};
use borealis_bus_schema::time::Timestamp;
use std::collections::BTreeSet;
use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};

/// Is how much of a text is kept.
const MAX_TEXT_CHARS: usize = 200;

fn short(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT_CHARS).collect()
}

/// Reads a small file of the kernel, without what makers write when they have nothing to say.
fn told(path: &str) -> Option<String> {
    let text = short(&read_to_string(path).ok()?);
    let empty = [
        "",
        "None",
        "Not Specified",
        "To Be Filled By O.E.M.",
        "System Serial Number",
        "Default string",
    ];
    (!empty.contains(&text.as_str())).then_some(text)
}

/// Describes the machine in short.
pub fn summary() -> Summary {
    let uptime = read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime
        .split_whitespace()
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    let uptime_ms = uptime.map_or(0, |seconds| (seconds * 1_000.0) as u64);
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let boot_at = boot
        .and_then(|text| text.trim().parse::<i64>().ok())
        .map(|seconds| Timestamp::from_unix_ms(seconds.saturating_mul(1_000)));
    Summary {
        hostname: host::hostname(),
        last_user: last_user(),
        uptime_ms,
        boot_at,
        serial: told("/sys/class/dmi/id/product_serial"),
        model: told("/sys/class/dmi/id/product_name"),
        kind: Some(kind().to_owned()),
    }
}

fn kind() -> &'static str {
    let in_container = std::path::Path::new("/.dockerenv").exists()
        || std::path::Path::new("/run/.containerenv").exists()
        || std::fs::read("/proc/1/environ").is_ok_and(|all| all.windows(10).any(|part| part == b"container="));
    let is_virtual = read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .lines()
        .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    match (in_container, is_virtual) {
        (true, _) => "container",
        (false, true) => "virtual",
        (false, false) => "physical",
    }
}

/// Reads who logged in last.
///
/// Source: utmp(5); a record has 384 bytes with type at 0, user at 44 (32 bytes) on 64-bit Linux.
fn last_user() -> Option<String> {
    const USER_PROCESS: [u8; 2] = [7, 0];
    let bytes = std::fs::read("/run/utmp")
        .or_else(|_| std::fs::read("/var/run/utmp"))
        .ok()?;
    let (records, _) = bytes.as_chunks::<384>();
    let record = records.iter().rev().find(|record| record.starts_with(&USER_PROCESS))?;
    let user = record.get(44..76)?.split(|byte| *byte == 0).next()?;
    let user = String::from_utf8_lossy(user).into_owned();
    (!user.is_empty()).then_some(user)
}

/// Describes the processors.
pub fn cpu() -> Cpu {
    let text = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = text.lines().find(|line| line.starts_with("model name")).and_then(value);
    let logical = text.lines().filter(|line| line.starts_with("processor")).count();
    let mut socket = String::new();
    let mut cores = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("physical id") {
            socket = value(line).unwrap_or_default();
        } else if line.starts_with("core id") {
            cores.insert((socket.clone(), value(line)));
        }
    }
    Cpu {
        model: short(&model.unwrap_or_default()),
        logical: u32::try_from(logical).unwrap_or(u32::MAX),
        physical: u32::try_from(cores.len()).ok().filter(|count| *count > 0),
    }
}

/// Describes memory.
pub fn memory() -> Memory {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line
            .and_then(|rest| rest.split_whitespace().nth(1))
            .and_then(|text| text.parse::<u64>().ok());
        kib.unwrap_or(0).saturating_mul(1024)
    };
    Memory {
        total_bytes: bytes("MemTotal"),
        available_bytes: bytes("MemAvailable"),
        swap_bytes: bytes("SwapTotal"),
    }
}

/// Lists the file systems that hold data.
pub fn storage() -> Vec<Volume> {
    let Ok(disks) = sysinfo::Disks::new_with_refreshed_list() else {
        return Vec::new();
    };
    let mut volumes: Vec<Volume> = disks
        .iter()
        .filter(|disk| disk.total_space() > 0)
        .map(|disk| Volume {
            mount: short(&disk.mount_point().to_string_lossy()),
            device: short(&disk.name().to_string_lossy()),
            file_system: short(&disk.file_system().to_string_lossy()),
            total_bytes: disk.total_space(),
            free_bytes: disk.available_space(),
        })
        .collect();
    volumes.sort_by(|a, b| a.mount.cmp(&b.mount));
    volumes.dedup_by(|a, b| a.mount == b.mount);
    volumes.truncate(64);
    volumes
}

/// Lists the network interfaces.
pub fn network() -> Vec<Interface> {
    let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() else {
        return Vec::new();
    };
    let mut interfaces: Vec<Interface> = networks
        .iter()
        .map(|(name, data)| {
            let mut addresses: Vec<String> = data.ip_networks().iter().map(ToString::to_string).collect();
            addresses.sort_unstable();
            addresses.truncate(16);
            Interface {
                name: short(&name.to_string_lossy()),
                mac: data.mac_address().to_string(),
                addresses,
            }
        })
        .collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.truncate(64);
    interfaces
}

/// Describes the operating system.
pub fn os() -> Os {
    let kernel = rustix::system::uname();
    Os {
        family: std::env::consts::OS.to_owned(),
        name: host::os_release("NAME").unwrap_or_default(),
        version: host::os_release("VERSION_ID")
            .or_else(|| host::os_release("VERSION"))
            .unwrap_or_default(),
        kernel: short(&kernel.release().to_string_lossy()),
        arch: std::env::consts::ARCH.to_owned(),
    }
}

/// Lists installed packages: those of dpkg, line by line, since the list may be large.
pub fn software() -> Vec<Package> {
    let Ok(file) = File::open("/var/lib/dpkg/status") else {
        return Vec::new();
    };
    let mut packages = Vec::new();
    let (mut name, mut version, mut installed) = (String::new(), String::new(), false);
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if let Some(text) = line.strip_prefix("Package: ") {
            name = short(text);
        } else if let Some(text) = line.strip_prefix("Version: ") {
            version = short(text);
        } else if let Some(text) = line.strip_prefix("Status: ") {
            installed = text.ends_with(" installed");
        } else if line.is_empty() {
            if installed && !name.is_empty() {
                packages.push(Package {
                    name: std::mem::take(&mut name),
                    version: std::mem::take(&mut version),
                    source: "dpkg".to_owned(),
                });
            }
            installed = false;
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}
