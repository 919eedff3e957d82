//! Which devices may get orders, and where they belong: what enrollment's log says, in memory.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::messages::events::EventRow;
use borealis_bus_schema::messages::shared_events::{DeviceEnrolled, DeviceStatus, DeviceStatusChanged, SharedEvent};

/// Is what signing needs to know of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where it belongs.
    pub site: SiteName,
    /// What it may.
    pub status: DeviceStatus,
}

/// Knows the devices.
#[derive(Debug, Default)]
pub struct Devices(RwLock<HashMap<Guid, Device>>);

/// Says that an event of enrollment cannot be read; nothing may be signed by what is known then.
#[derive(Debug, thiserror::Error)]
#[error("the event {kind} at position {position} cannot be read")]
pub struct Unreadable {
    kind: String,
    position: u64,
    #[source]
    source: codec::CodecError,
}

impl Devices {
    /// Takes a stretch of enrollment's events.
    ///
    /// Errors: [`Unreadable`].
    pub fn apply(&self, events: &[EventRow]) -> Result<(), Unreadable> {
        let mut devices = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            // Retention drops bodies only of what later events say anew.
            if let Some(body) = &event.body {
                apply(&mut devices, &event.kind, body).map_err(|source| Unreadable {
                    kind: event.kind.clone(),
                    position: event.position,
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Looks devices up, all at one moment.
    pub fn look<'g>(&self, guids: impl Iterator<Item = &'g Guid>) -> Vec<Option<Device>> {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        guids.map(|guid| devices.get(guid).cloned()).collect()
    }
}

fn apply(devices: &mut HashMap<Guid, Device>, kind: &str, body: &[u8]) -> Result<(), codec::CodecError> {
    match kind {
        DeviceEnrolled::KIND => {
            let enrolled: DeviceEnrolled = codec::decode(body)?;
            let device = devices.entry(enrolled.guid).or_insert_with(|| Device {
                site: enrolled.site.clone(),
                status: DeviceStatus::Active,
            });
            // A device that enrols again keeps what an operator made of it.
            device.site = enrolled.site;
        }
        DeviceStatusChanged::KIND => {
            let changed: DeviceStatusChanged = codec::decode(body)?;
            if let Some(device) = devices.get_mut(&changed.guid) {
                device.status = changed.status;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
    use borealis_bus_schema::order::Digest;
    use borealis_bus_schema::time::Timestamp;
    use borealis_test_support::host_facts;

    fn at() -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }
    fn row<T: SharedEvent>(event: &T) -> EventRow {
        let body = codec::encode(event).unwrap();
        EventRow {
            position: 1,
            stream: "device".into(),
            kind: T::KIND.into(),
            at_ms: 0,
            body_digest: Digest::of(&body),
            body: Some(body.into()),
        }
    }
    fn enrolled(guid: Guid, site: &str) -> EventRow {
        row(&DeviceEnrolled {
            guid,
            site: SiteName::new(site).unwrap(),
            public_key: PublicKey::from_bytes([1; 32]),
            exchange_key: PublicKey::from_bytes([2; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([3; 64]),
            facts: host_facts("h", &"ab".repeat(32)),
            address: "192.0.2.1".into(),
            first_seen_at: at(),
            approved_at: at(),
        })
    }
    fn status(guid: Guid, status: DeviceStatus) -> EventRow {
        row(&DeviceStatusChanged {
            guid,
            status,
            reason: String::new(),
            at: at(),
            by: None,
        })
    }

    #[test]
    fn a_device_is_what_enrollment_last_said() {
        let (devices, guid) = (Devices::default(), Guid::from_random([1; 16]));
        let now = |devices: &Devices| devices.look([guid].iter()).remove(0);
        assert_eq!(now(&devices), None);
        devices.apply(&[enrolled(guid, "default")]).unwrap();
        assert_eq!(now(&devices).unwrap().status, DeviceStatus::Active);
        devices.apply(&[status(guid, DeviceStatus::Revoked)]).unwrap();
        devices.apply(&[enrolled(guid, "berlin")]).unwrap();
        let device = now(&devices).unwrap();
        assert_eq!((device.status, device.site.as_str()), (DeviceStatus::Revoked, "berlin"));
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        let devices = Devices::default();
        let mut broken = enrolled(Guid::from_random([1; 16]), "default");
        broken.body = Some(b"\xff".to_vec().into());
        assert!(devices.apply(&[broken]).is_err());
        let mut unknown = enrolled(Guid::from_random([1; 16]), "default");
        unknown.kind = "CodeMinted".into();
        unknown.body = Some(b"\xff".to_vec().into());
        assert!(devices.apply(&[unknown]).is_ok());
    }
}
