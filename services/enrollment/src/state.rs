//! Everything that enrollment knows, folded from its log in order.
//!
//! The log is the truth; this is held in memory (about two kilobytes per device) and made anew at each start.

use std::collections::{BTreeMap, BTreeSet};

use borealis_bus_schema::audit;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{ApprovalId, CodeId, Guid};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{EventRecord, Position, Version};

use crate::aggregate::approval::{Approval, ApprovalEvent};
use crate::aggregate::code::{Code, CodeEvent};
use crate::aggregate::device::{Device, DeviceEvent};
use crate::stored::{Event, StoredError};

/// Holds an aggregate with its stream's version.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// The aggregate.
    pub value: T,
    /// Its stream's version.
    pub version: Version,
}

/// Says that a device is on the bus, or when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is there.
    pub connected: bool,
    /// Since when.
    pub at: Timestamp,
}

/// Says whose a key was before a newer one took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// The device.
    pub guid: Guid,
    /// Since when.
    pub at: Timestamp,
}

/// Holds what the log says.
#[derive(Debug, Default)]
pub struct State {
    position: Position,
    codes: BTreeMap<CodeId, Versioned<Code>>,
    codes_by_key: BTreeMap<PublicKey, CodeId>,
    approvals: BTreeMap<ApprovalId, Versioned<Approval>>,
    approvals_by_key: BTreeMap<PublicKey, ApprovalId>,
    devices: BTreeMap<Guid, Versioned<Device>>,
    devices_by_key: BTreeMap<PublicKey, Guid>,
    devices_by_machine: BTreeMap<String, BTreeSet<Guid>>,
    seen: BTreeMap<Guid, Versioned<Seen>>,
    revoked: BTreeMap<Guid, Timestamp>,
    retired: BTreeMap<PublicKey, Retired>,
    rotations_asked: BTreeMap<Guid, Timestamp>,
    releases: u64,
}

impl State {
    /// Returns the position up to which the log was taken in.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Takes in the next record of the log.
    ///
    /// Errors: [`StoredError`] for what this version cannot read; the state must not be used then.
    pub fn apply(&mut self, record: &EventRecord) -> Result<(), StoredError> {
        if let Some(body) = record.body.as_ref().filter(|_| record.kind != audit::KIND) {
            self.fold(Event::read(&record.kind, body)?, record.version);
        }
        self.position = record.position;
        Ok(())
    }

    fn fold(&mut self, event: Event, version: Version) {
        match event {
            Event::Code(id, event) => self.fold_code(id, event, version),
            Event::Approval(id, event) => self.fold_approval(id, event, version),
            Event::Device(guid, event) => self.fold_device(guid, event, version),
            Event::Connected(event) => self.fold_seen(event.guid, true, event.at, version),
            Event::Disconnected(event) => self.fold_seen(event.guid, false, event.at, version),
        }
    }

    fn fold_code(&mut self, id: CodeId, event: CodeEvent, version: Version) {
        if let CodeEvent::Minted(minted) = event {
            self.codes_by_key.insert(minted.public_key, id);
            let value = Code::new(minted);
            self.codes.insert(id, Versioned { value, version });
        } else if let Some(code) = self.codes.get_mut(&id) {
            code.value.evolve(&event);
            code.version = version;
        }
    }

    fn fold_approval(&mut self, id: ApprovalId, event: ApprovalEvent, version: Version) {
        if let Some(approval) = self.approvals.get_mut(&id) {
            approval.value.evolve(&event);
            approval.version = version;
        } else if let ApprovalEvent::Requested(asked) = event {
            self.approvals_by_key.insert(asked.public_key, id);
            let value = Approval::new(*asked);
            self.approvals.insert(id, Versioned { value, version });
        }
    }

    fn fold_device(&mut self, guid: Guid, event: DeviceEvent, version: Version) {
        match &event {
            DeviceEvent::Enrolled(enrolled) => {
                let before = self.devices.get(&guid).map(|device| device.value.public_key());
                if let Some(old) = before.filter(|old| *old != enrolled.public_key) {
                    self.retire(guid, old, enrolled.approved_at);
                    self.rotations_asked.remove(&guid);
                }
                self.devices_by_key.insert(enrolled.public_key, guid);
                let machine = enrolled.facts.machine_hash.clone();
                self.devices_by_machine.entry(machine).or_default().insert(guid);
                let fresh = || Versioned {
                    value: Device::new((**enrolled).clone()),
                    version,
                };
                self.devices.entry(guid).or_insert_with(fresh);
            }
            DeviceEvent::StatusChanged(changed) => match changed.status {
                DeviceStatus::Revoked | DeviceStatus::Decommissioned => {
                    self.revoked.insert(guid, changed.at);
                }
                // What was signed for it before stays worthless, also when it is admitted again.
                DeviceStatus::Active => self.releases += 1,
                DeviceStatus::Quarantined => {}
            },
            DeviceEvent::KeyRotationAsked { at, .. } => {
                self.rotations_asked.insert(guid, *at);
            }
            DeviceEvent::KeyRotated(rotated) => {
                self.retire(guid, rotated.previous_key, rotated.at);
                self.devices_by_key.insert(rotated.public_key, guid);
                self.rotations_asked.remove(&guid);
            }
            _ => {}
        }
        if let Some(device) = self.devices.get_mut(&guid) {
            device.value.evolve(&event);
            device.version = version;
        }
    }

    fn retire(&mut self, guid: Guid, key: PublicKey, at: Timestamp) {
        self.devices_by_key.remove(&key);
        self.retired.insert(key, Retired { guid, at });
    }

    fn fold_seen(&mut self, guid: Guid, connected: bool, at: Timestamp, version: Version) {
        let value = Seen { connected, at };
        self.seen.insert(guid, Versioned { value, version });
    }

    /// Returns the version of the stream that an event belongs to; 0 when it has none yet.
    pub fn version(&self, event: &Event) -> Version {
        match event {
            Event::Code(id, _) => self.codes.get(id).map(|v| v.version),
            Event::Approval(id, _) => self.approvals.get(id).map(|v| v.version),
            Event::Device(guid, _) => self.devices.get(guid).map(|v| v.version),
            Event::Connected(event) => self.seen.get(&event.guid).map(|v| v.version),
            Event::Disconnected(event) => self.seen.get(&event.guid).map(|v| v.version),
        }
        .unwrap_or(0)
    }

    /// Finds a code.
    pub fn code(&self, id: &CodeId) -> Option<&Code> {
        self.codes.get(id).map(|v| &v.value)
    }
    /// Finds the code of a public key.
    pub fn code_by_key(&self, key: &PublicKey) -> Option<&Code> {
        self.code(self.codes_by_key.get(key)?)
    }
    /// Lists every code.
    pub fn codes(&self) -> impl Iterator<Item = &Code> {
        self.codes.values().map(|v| &v.value)
    }
    /// Finds a request.
    pub fn approval(&self, id: &ApprovalId) -> Option<&Approval> {
        self.approvals.get(id).map(|v| &v.value)
    }
    /// Finds the last request of a key.
    pub fn approval_by_key(&self, key: &PublicKey) -> Option<&Approval> {
        self.approval(self.approvals_by_key.get(key)?)
    }
    /// Lists every request.
    pub fn approvals(&self) -> impl Iterator<Item = &Approval> {
        self.approvals.values().map(|v| &v.value)
    }
    /// Finds a device.
    pub fn device(&self, guid: &Guid) -> Option<&Device> {
        self.devices.get(guid).map(|v| &v.value)
    }
    /// Finds the device of a key.
    pub fn device_by_key(&self, key: &PublicKey) -> Option<&Device> {
        self.device(self.devices_by_key.get(key)?)
    }
    /// Lists every device that was ever enrolled on a machine, also those that live on another one since.
    pub fn devices_of_machine(&self, machine_hash: &str) -> impl Iterator<Item = &Device> {
        let guids = self.devices_by_machine.get(machine_hash);
        guids.into_iter().flatten().filter_map(|guid| self.device(guid))
    }
    /// Tells whether a key was a device's before a newer one took its place.
    pub fn is_retired(&self, key: &PublicKey) -> bool {
        self.retired.contains_key(key)
    }
    /// Lists the keys that newer ones took the place of, each with the time when.
    pub fn retired(&self) -> impl Iterator<Item = (PublicKey, Timestamp)> {
        self.retired.iter().map(|(key, retired)| (*key, retired.at))
    }
    /// Finds whose a key was before a newer one took its place.
    pub fn retired_of(&self, key: &PublicKey) -> Option<Guid> {
        self.retired.get(key).map(|retired| retired.guid)
    }
    /// Tells whether an operator wants a new key of a device.
    pub fn rotation_is_asked(&self, guid: &Guid) -> bool {
        self.rotations_asked.contains_key(guid)
    }
    /// Lists the devices of which an operator wants a new key, each with the time when it was asked for.
    pub fn rotations_asked(&self) -> impl Iterator<Item = (Guid, Timestamp)> {
        self.rotations_asked.iter().map(|(guid, at)| (*guid, *at))
    }
    /// Lists every device.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values().map(|v| &v.value)
    }
    /// Counts how often a device became active again.
    pub const fn releases(&self) -> u64 {
        self.releases
    }
    /// Counts devices.
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }
    /// Lists the devices that the log calls connected.
    pub fn connected(&self) -> impl Iterator<Item = Guid> {
        self.seen
            .iter()
            .filter(|(_, seen)| seen.value.connected)
            .map(|(guid, _)| *guid)
    }
    /// Tells what the log says of a device's presence.
    pub fn seen(&self, guid: &Guid) -> Option<Seen> {
        self.seen.get(guid).map(|v| v.value)
    }
    /// Lists the devices that were shut out, each with the time when: what was signed for them before is worthless.
    ///
    /// One that was admitted again since is among them.
    pub fn shut_out(&self) -> impl Iterator<Item = (&Device, Timestamp)> {
        self.revoked
            .iter()
            .filter_map(|(guid, at)| Some((self.device(guid)?, *at)))
    }
}
