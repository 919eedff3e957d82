//! What a machine says of itself when it asks for enrolment.

use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::order::Context;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Gathers the facts for an enrolment; never fails, unknown texts stay empty.
pub fn facts(context: Context, root: &Path) -> HostFacts {
    HostFacts {
        hostname: hostname(),
        os: std::env::consts::OS.to_owned(),
        os_version: os_release("PRETTY_NAME").unwrap_or_default(),
        arch: std::env::consts::ARCH.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        context,
        machine_hash: machine_hash(root),
    }
}

/// Returns the host's name.
pub fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().take(253).collect()
}

/// Returns one value of `/etc/os-release`.
///
/// Source: os-release(5).
pub fn os_release(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches('"').chars().take(200).collect())
}

/// Hashes machine id and root folder, so that a machine is known again without being named.
fn machine_hash(root: &Path) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_else(|_| hostname());
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let digest = Sha256::new()
        .chain_update(machine.trim())
        .chain_update([0])
        .chain_update(root.as_os_str().as_encoded_bytes())
        .finalize();
    hex::encode(digest)
}
