//! What the scheduler knows of devices: a view over enrollment's events, rebuilt by following them from the first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::filter::Facts;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, SiteName, TagName};
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceKeyRotated, DeviceStatus, DeviceStatusChanged,
    DeviceTagged, SharedEvent,
};
use borealis_bus_schema::order::Context;
use borealis_bus_schema::time::Timestamp;
use parking_lot::RwLock;

/// Is a device as the scheduler needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The host's name.
    pub hostname: String,
    /// Where it belongs.
    pub site: SiteName,
    /// By which operators group it.
    pub tags: BTreeSet<TagName>,
    /// The operating system.
    pub os: String,
    /// Its version, for people.
    pub os_version: String,
    /// The processor's architecture.
    pub arch: String,
    /// With which rights the agent acts.
    pub context: Context,
    /// What it may be.
    pub status: DeviceStatus,
    /// Why it has this status; empty while nobody said.
    pub status_reason: String,
    /// Its identity key, which signs results.
    pub public_key: PublicKey,
    /// Whether it is on the bus.
    pub online: bool,
    /// When a newer key took the place of the one before, and with it another journal; none while that never happened.
    pub replaced_at: Option<Timestamp>,
}

/// Holds every device.
#[derive(Debug, Default)]
pub struct Devices {
    all: RwLock<HashMap<Guid, Arc<Device>>>,
}

/// Tells what an event means for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Nothing.
    Nothing,
    /// The device is there: what waits for it can go.
    Online(Guid),
    /// The device has a new key and a new journal: what began under the old one is lost.
    Replaced(Guid),
    /// The device is quarantined: what waits for it waits on, and says so.
    Held(Guid),
    /// The device is shut out: what waits for it ends.
    ShutOut(Guid),
}

impl Device {
    /// Returns what a filter judges by.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            hostname: &self.hostname,
            site: &self.site,
            tags: &self.tags,
            os: &self.os,
            os_version: &self.os_version,
            arch: &self.arch,
            context: self.context,
            online: self.online,
        }
    }
}

impl Devices {
    /// Folds one of enrollment's events; kinds that say nothing here are passed over.
    ///
    /// Errors: the codec's, when a body cannot be read.
    pub fn apply(&self, kind: &str, body: &[u8]) -> Result<Changed, codec::CodecError> {
        let mut all = self.all.write();
        match kind {
            DeviceEnrolled::KIND => {
                let event: DeviceEnrolled = codec::decode(body)?;
                // A device that enrols again stays what an operator made of it.
                let before = all.remove(&event.guid);
                let is_new_key = before.as_ref().is_some_and(|d| d.public_key != event.public_key);
                let replaced_at = if is_new_key {
                    Some(event.approved_at)
                } else {
                    before.as_ref().and_then(|d| d.replaced_at)
                };
                let device = Device {
                    replaced_at,
                    hostname: event.facts.hostname,
                    os: event.facts.os,
                    os_version: event.facts.os_version,
                    arch: event.facts.arch,
                    context: event.facts.context,
                    site: event.site,
                    tags: before.as_ref().map(|d| d.tags.clone()).unwrap_or_default(),
                    status: before.as_ref().map_or(DeviceStatus::Active, |d| d.status),
                    online: before.as_ref().is_some_and(|d| d.online),
                    status_reason: before.map(|d| d.status_reason.clone()).unwrap_or_default(),
                    public_key: event.public_key,
                };
                all.insert(event.guid, Arc::new(device));
                if is_new_key {
                    return Ok(Changed::Replaced(event.guid));
                }
            }
            DeviceKeyRotated::KIND => {
                let event: DeviceKeyRotated = codec::decode(body)?;
                if let Some(device) = all.get_mut(&event.guid).map(Arc::make_mut) {
                    // Its journal goes on, and it signs what it holds there with the new key.
                    device.public_key = event.public_key;
                }
            }
            DeviceStatusChanged::KIND => {
                let event: DeviceStatusChanged = codec::decode(body)?;
                if let Some(device) = all.get_mut(&event.guid).map(Arc::make_mut) {
                    device.status = event.status;
                    device.status_reason = event.reason;
                    return Ok(match event.status {
                        DeviceStatus::Active => Changed::Online(event.guid),
                        DeviceStatus::Quarantined => Changed::Held(event.guid),
                        DeviceStatus::Revoked | DeviceStatus::Decommissioned => Changed::ShutOut(event.guid),
                    });
                }
            }
            DeviceTagged::KIND => {
                let event: DeviceTagged = codec::decode(body)?;
                if let Some(device) = all.get_mut(&event.guid).map(Arc::make_mut) {
                    device.tags = event.tags;
                }
            }
            DeviceConnected::KIND => {
                let event: DeviceConnected = codec::decode(body)?;
                if let Some(device) = all.get_mut(&event.guid).map(Arc::make_mut) {
                    device.online = true;
                    return Ok(Changed::Online(event.guid));
                }
            }
            DeviceDisconnected::KIND => {
                let event: DeviceDisconnected = codec::decode(body)?;
                if let Some(device) = all.get_mut(&event.guid).map(Arc::make_mut) {
                    device.online = false;
                }
            }
            _ => {}
        }
        Ok(Changed::Nothing)
    }

    /// Returns a device.
    pub fn get(&self, guid: &Guid) -> Option<Arc<Device>> {
        self.all.read().get(guid).cloned()
    }

    /// Tells whether every device of a list is known and let through by a filter, all at one moment.
    pub fn are_all<'g>(
        &self,
        mut guids: impl Iterator<Item = &'g Guid>,
        reaches: impl Fn(&SiteName, &Guid) -> bool,
    ) -> bool {
        let all = self.all.read();
        guids.all(|guid| all.get(guid).is_some_and(|device| reaches(&device.site, guid)))
    }

    /// Lists the devices that are let through, all at one moment, sorted by GUID. Who lets them through may take long: what
    /// enrollment tells does not wait meanwhile.
    pub fn find(&self, wanted: impl Fn(&Guid, &Device) -> bool) -> Vec<(Guid, Arc<Device>)> {
        let all = self.all.read();
        let mut found: Vec<_> = all.iter().map(|(guid, device)| (*guid, Arc::clone(device))).collect();
        drop(all);
        found.retain(|(guid, device)| wanted(guid, device));
        found.sort_unstable_by_key(|(guid, _)| *guid);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::forms::SignatureBytes;
    use borealis_bus_schema::ids::OperatorId;
    use borealis_bus_schema::messages::shared_events::Actor;
    use borealis_test_support::host_facts;

    fn active(devices: &Devices) -> Vec<(Guid, Arc<Device>)> {
        devices.find(|_, device| device.status == DeviceStatus::Active)
    }
    fn guid() -> Guid {
        Guid::from_random([1; 16])
    }
    fn at() -> Timestamp {
        Timestamp::from_unix_ms(1)
    }
    fn apply<E: SharedEvent>(devices: &Devices, event: &E) -> Changed {
        devices.apply(E::KIND, &codec::encode(event).unwrap()).unwrap()
    }
    fn enrolled() -> Devices {
        let devices = Devices::default();
        assert_eq!(apply(&devices, &enrolment()), Changed::Nothing);
        devices
    }
    fn enrolment() -> DeviceEnrolled {
        DeviceEnrolled {
            guid: guid(),
            site: SiteName::default_site(),
            public_key: PublicKey::from_bytes([1; 32]),
            exchange_key: PublicKey::from_bytes([2; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            facts: host_facts("web-1", &"ab".repeat(32)),
            address: "127.0.0.1".into(),
            first_seen_at: at(),
            approved_at: at(),
        }
    }

    #[test]
    fn a_device_comes_and_goes() {
        let devices = enrolled();
        assert!(!devices.get(&guid()).unwrap().online);
        let connected = DeviceConnected {
            guid: guid(),
            address: "127.0.0.1".into(),
            at: at(),
        };
        assert_eq!(apply(&devices, &connected), Changed::Online(guid()));
        assert!(devices.get(&guid()).unwrap().online);
        apply(
            &devices,
            &DeviceDisconnected {
                guid: guid(),
                at: at(),
                reason: String::new(),
            },
        );
        assert!(!devices.get(&guid()).unwrap().online);
    }

    #[test]
    fn a_revoked_device_is_no_target() {
        let devices = enrolled();
        assert_eq!(active(&devices).len(), 1);
        assert_eq!(devices.find(|_, _| false).len(), 0);
        let unknown = Guid::from_random([2; 16]);
        assert!(devices.are_all([guid()].iter(), |site, _| *site == SiteName::default_site()));
        assert!(!devices.are_all([guid()].iter(), |_, _| false));
        assert!(!devices.are_all([guid(), unknown].iter(), |_, _| true));
        let revoked = DeviceStatusChanged {
            guid: guid(),
            status: DeviceStatus::Revoked,
            reason: String::new(),
            at: at(),
            by: None,
        };
        assert_eq!(apply(&devices, &revoked), Changed::ShutOut(guid()));
        assert_eq!(active(&devices).len(), 0);
    }

    #[test]
    fn tags_outlive_an_enrolment() {
        let devices = enrolled();
        let tagged = DeviceTagged {
            guid: guid(),
            tags: ["web".parse().unwrap()].into(),
            by: Actor {
                operator: OperatorId::from_bytes([6; 16]),
                username: "ada".into(),
            },
            at: at(),
        };
        assert_eq!(apply(&devices, &tagged), Changed::Nothing);
        apply(&devices, &enrolment());
        assert_eq!(devices.get(&guid()).unwrap().tags, tagged.tags);
    }

    #[test]
    fn a_new_key_is_told_from_the_same_one() {
        let devices = enrolled();
        assert_eq!(apply(&devices, &enrolment()), Changed::Nothing);
        let fresh = DeviceEnrolled {
            public_key: PublicKey::from_bytes([9; 32]),
            ..enrolment()
        };
        assert_eq!(apply(&devices, &fresh), Changed::Replaced(guid()));
        assert_eq!(apply(&devices, &fresh), Changed::Nothing);
        let device = devices.get(&guid()).unwrap();
        assert_eq!((device.replaced_at, device.public_key), (Some(at()), fresh.public_key));
    }

    #[test]
    fn a_device_that_replaced_its_key_is_the_same_with_the_same_journal() {
        let devices = enrolled();
        let rotated = DeviceKeyRotated {
            guid: guid(),
            public_key: PublicKey::from_bytes([9; 32]),
            previous_key: enrolment().public_key,
            exchange_key: PublicKey::from_bytes([8; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            at: at(),
        };
        assert_eq!(apply(&devices, &rotated), Changed::Nothing);
        let device = devices.get(&guid()).unwrap();
        assert_eq!((device.public_key, device.replaced_at), (rotated.public_key, None));
    }

    #[test]
    fn a_quarantined_device_is_held_also_when_it_enrols_again_until_it_is_released() {
        let devices = enrolled();
        let change = |status| DeviceStatusChanged {
            guid: guid(),
            status,
            reason: "odd".into(),
            at: at(),
            by: None,
        };
        assert_eq!(
            apply(&devices, &change(DeviceStatus::Quarantined)),
            Changed::Held(guid())
        );
        apply(&devices, &enrolment());
        let device = devices.get(&guid()).unwrap();
        assert_eq!(
            (device.status, device.status_reason.as_str()),
            (DeviceStatus::Quarantined, "odd")
        );
        assert_eq!(active(&devices).len(), 0);
        assert_eq!(apply(&devices, &change(DeviceStatus::Active)), Changed::Online(guid()));
        assert_eq!(active(&devices).len(), 1);
    }
}
