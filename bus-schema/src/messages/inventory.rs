//! What devices are: facts as they travel, devices as operators see them.

use serde::{Deserialize, Serialize};

use crate::ids::{Guid, SiteName, TagName};
use crate::order::Context;
use crate::time::Timestamp;

/// Holds a device's facts; travels as [`crate::forms::Signed`] under [`crate::forms::Form::Facts`] on
/// `tell.inventory.facts`, request/reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The device.
    pub guid: Guid,
    /// When they were gathered, by the device's clock.
    pub at: Timestamp,
    /// In short.
    pub summary: Summary,
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// File systems.
    pub storage: Vec<Volume>,
    /// Network interfaces.
    pub network: Vec<Interface>,
    /// The operating system.
    pub os: Os,
    /// Installed packages.
    pub software: Vec<Package>,
}

/// Is a device in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// The host's name.
    pub hostname: String,
    /// Who was logged in last.
    pub last_user: Option<String>,
    /// How long the machine has run.
    pub uptime_ms: u64,
    /// When it started.
    pub boot_at: Option<Timestamp>,
    /// The maker's serial number.
    pub serial: Option<String>,
    /// The maker's name of the model.
    pub model: Option<String>,
    /// `virtual`, `physical` or `container`, where it can be told.
    pub kind: Option<String>,
}

/// Describes the processors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// The model's name.
    pub model: String,
    /// How many run at once.
    pub logical: u32,
    /// How many cores there are, where it can be told.
    pub physical: Option<u32>,
}

/// Describes memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// RAM.
    pub total_bytes: u64,
    /// RAM that can be given out.
    pub available_bytes: u64,
    /// Swap.
    pub swap_bytes: u64,
}

/// Describes a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is mounted.
    pub mount: String,
    /// The device behind it.
    pub device: String,
    /// Its kind.
    pub file_system: String,
    /// Its size.
    pub total_bytes: u64,
    /// What is free.
    pub free_bytes: u64,
}

/// Describes a network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
}

/// Describes the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Os {
    /// `linux` or `windows`.
    pub family: String,
    /// The distribution's or edition's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The kernel's version.
    pub kernel: String,
    /// The architecture.
    pub arch: String,
}

/// Describes an installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the entry comes from, `dpkg` for example.
    pub source: String,
}

/// Says that facts are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsKept {
    /// Whether anything had changed.
    pub changed: bool,
}

/// Tells whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is connected.
    Online,
    /// It is not.
    Offline,
    /// Nobody can tell right now: the bus or its warden does not answer.
    Stale,
}

/// Is a device as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceView {
    /// The device.
    pub guid: Guid,
    /// The host's name.
    pub hostname: String,
    /// Where it belongs.
    pub site: SiteName,
    /// `active`, `quarantined`, `revoked` or `decommissioned`.
    pub status: String,
    /// Why it has this status; null while nobody ever changed it.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// The operator who changed it last; null when the server did it by itself.
    #[serde(default)]
    pub status_by: Option<String>,
    /// Since when it has this status; null while nobody ever changed it.
    #[serde(default)]
    pub status_at: Option<Timestamp>,
    /// By which operators group it, in order.
    #[serde(default)]
    pub tags: Vec<TagName>,
    /// Whether it is there.
    pub presence: Presence,
    /// `linux` or `windows`.
    pub os: String,
    /// The operating system's name and version.
    pub os_version: String,
    /// The architecture.
    pub arch: String,
    /// The agent's version.
    pub agent_version: String,
    /// With which rights the agent acts.
    pub context: Context,
    /// The identity key's fingerprint.
    pub fingerprint: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Who was logged in last.
    pub last_user: Option<String>,
    /// How long the machine has run, when it last told.
    pub uptime_ms: Option<u64>,
    /// The processor's model.
    pub cpu: Option<String>,
    /// RAM.
    pub memory_bytes: Option<u64>,
    /// When it was approved.
    pub approved_at: Timestamp,
    /// When it first asked.
    pub first_seen_at: Timestamp,
    /// When it was last there.
    pub last_seen_at: Option<Timestamp>,
}

/// Answers `GET /api/v1/devices/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceDetail {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceView,
    /// Its facts, once it told them.
    pub facts: Option<Facts>,
    /// When it told them, by the server's clock.
    pub facts_at: Option<Timestamp>,
}
