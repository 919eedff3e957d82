//! Which devices a job is on: what its author names, reaches, and leaves out, judged once.
//!
//! A device that is named has to be there and active, or the whole request is refused; of sites, of a filter and of all only
//! the active ones are meant. What a filter judges by is what enrollment says of a device: its facts are those that it had
//! when it was enrolled, whether it is on the bus is what holds now.

use std::collections::BTreeSet;
use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::messages::scheduler::{Targets, Unable};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply::{Reply, WireError};

use crate::book::Target;
use crate::devices::{Device, Devices};
use crate::job::{self, Rejection};

/// Is a device that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aimed {
    /// The device.
    pub guid: Guid,
    /// What is known of it; none where there is no such device for the author.
    pub device: Option<Arc<Device>>,
}

impl Aimed {
    /// Tells why no order would be made for it.
    pub fn unable(&self) -> Option<Unable> {
        let guid = self.guid;
        let Some(device) = &self.device else {
            return Some(Unable {
                code: Code::NotFound,
                reason: format!("there is no device {guid}"),
            });
        };
        let (code, is) = match device.status {
            DeviceStatus::Active => return None,
            DeviceStatus::Quarantined => (Code::DeviceQuarantined, "is quarantined"),
            DeviceStatus::Revoked => (Code::DeviceRevoked, "was revoked"),
            DeviceStatus::Decommissioned => (Code::DeviceDecommissioned, "was decommissioned"),
        };
        Some(Unable {
            code,
            reason: format!("device {guid} {is}"),
        })
    }
}

/// Finds the devices that are meant, each once, sorted by GUID; `reaches` is what the author's rights reach.
///
/// A device beyond the author's rights answers like one that does not exist. Those that are named stand here whatever they
/// are; of the others only the active ones do.
///
/// Errors: what [`job::check_targets`] refuses.
pub fn aim(
    devices: &Devices,
    targets: &Targets,
    reaches: impl Fn(&SiteName, &Guid) -> bool,
) -> Result<Vec<Aimed>, Rejection> {
    let filter = job::check_targets(targets)?;
    let named: BTreeSet<Guid> = targets.guids.iter().copied().collect();
    let sites: BTreeSet<&SiteName> = targets.sites.iter().collect();
    let except: BTreeSet<Guid> = targets.except.iter().copied().collect();
    let by_site = |device: &Device| !sites.is_empty() && sites.contains(&device.site);
    let is_wide = named.is_empty() && sites.is_empty();
    let is_meant = |guid: &Guid, device: &Device| {
        let is_one = named.contains(guid)
            || device.status == DeviceStatus::Active
                && (is_wide || by_site(device))
                && filter.as_ref().is_none_or(|filter| filter.matches(&device.facts()));
        is_one && !except.contains(guid) && reaches(&device.site, guid)
    };
    let found = devices.find(is_meant);
    let known: BTreeSet<Guid> = found.iter().map(|(guid, _)| *guid).collect();
    let missing = named
        .iter()
        .filter(|guid| !known.contains(guid) && !except.contains(guid));
    let missing: Vec<Aimed> = missing
        .map(|guid| Aimed {
            guid: *guid,
            device: None,
        })
        .collect();
    let found = found.into_iter().map(|(guid, device)| Aimed {
        guid,
        device: Some(device),
    });
    let mut aimed: Vec<Aimed> = found.chain(missing).collect();
    aimed.sort_unstable_by_key(|aimed| aimed.guid);
    Ok(aimed)
}

/// Makes the targets of a job of the devices that are meant.
///
/// Errors: `invalid_field` for none; the first device's reason that has one, by its own code.
pub fn targets_of(aimed: &[Aimed]) -> Reply<Vec<Target>> {
    if aimed.is_empty() {
        let text = "there is no active device that the targets mean and your rights reach";
        return Err(WireError::new(Code::InvalidField, text));
    }
    let target = |aimed: &Aimed| match (aimed.unable(), &aimed.device) {
        (Some(unable), _) => Err(WireError::new(unable.code, unable.reason)),
        (None, device) => Ok(Target {
            guid: aimed.guid,
            hostname: device
                .as_ref()
                .map(|device| device.hostname.clone())
                .unwrap_or_default(),
        }),
    };
    aimed.iter().map(target).collect()
}

/// Makes the targets of a schedule's job: what cannot run is left out, since nobody is there to be told. A quarantined
/// device's run waits until it is released, and says so.
pub fn targets_of_firing(aimed: Vec<Aimed>) -> Vec<Target> {
    let target = |aimed: Aimed| {
        let device = aimed.device?;
        let waits = matches!(device.status, DeviceStatus::Active | DeviceStatus::Quarantined);
        waits.then(|| Target {
            guid: aimed.guid,
            hostname: device.hostname.clone(),
        })
    };
    aimed.into_iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::codec;
    use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
    use borealis_bus_schema::messages::shared_events::{
        DeviceConnected, DeviceEnrolled, DeviceStatusChanged, SharedEvent,
    };
    use borealis_bus_schema::time::Timestamp;
    use borealis_test_support::host_facts;

    fn guid(n: u8) -> Guid {
        Guid::from_random([n; 16])
    }
    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }
    fn apply<E: SharedEvent>(devices: &Devices, event: &E) {
        devices.apply(E::KIND, &codec::encode(event).unwrap()).unwrap();
    }

    /// Three devices in oslo, of which 2 is on line and 3 quarantined, and 4 in bergen.
    fn fleet() -> Devices {
        let devices = Devices::default();
        let at = Timestamp::from_unix_ms(1);
        for (n, place) in [(1, "oslo"), (2, "oslo"), (3, "oslo"), (4, "bergen")] {
            apply(
                &devices,
                &DeviceEnrolled {
                    guid: guid(n),
                    site: site(place),
                    public_key: PublicKey::from_bytes([n; 32]),
                    exchange_key: PublicKey::from_bytes([2; 32]),
                    exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
                    facts: host_facts(&format!("web-{n}"), &"ab".repeat(32)),
                    address: "127.0.0.1".into(),
                    first_seen_at: at,
                    approved_at: at,
                },
            );
        }
        apply(
            &devices,
            &DeviceConnected {
                guid: guid(2),
                address: "127.0.0.1".into(),
                at,
            },
        );
        apply(
            &devices,
            &DeviceStatusChanged {
                guid: guid(3),
                status: DeviceStatus::Quarantined,
                reason: String::new(),
                at,
                by: None,
            },
        );
        devices
    }

    fn meant(targets: Targets) -> Vec<u8> {
        let aimed = aim(&fleet(), &targets, |_, guid| *guid != self::guid(9)).unwrap();
        aimed.iter().map(|aimed| aimed.guid.as_bytes()[0]).collect()
    }

    #[test]
    fn sites_filters_and_exclusions_mean_the_devices_that_they_say() {
        let none = Targets::default;
        for (targets, expected) in [
            (Targets { all: true, ..none() }, vec![1, 2, 4]),
            (
                Targets {
                    sites: vec![site("oslo")],
                    ..none()
                },
                vec![1, 2],
            ),
            (
                Targets {
                    sites: vec![site("oslo"), site("bergen")],
                    ..none()
                },
                vec![1, 2, 4],
            ),
            (
                Targets {
                    sites: vec![site("nowhere")],
                    ..none()
                },
                vec![],
            ),
            (
                Targets {
                    filter: Some("online".into()),
                    ..none()
                },
                vec![2],
            ),
            (
                Targets {
                    filter: Some("hostname = web-* and offline".into()),
                    ..none()
                },
                vec![1, 4],
            ),
            (
                Targets {
                    sites: vec![site("oslo")],
                    filter: Some("offline".into()),
                    ..none()
                },
                vec![1],
            ),
            (
                Targets {
                    all: true,
                    except: vec![guid(1), guid(7)],
                    ..none()
                },
                vec![2, 4],
            ),
            (
                Targets {
                    guids: vec![guid(4)],
                    sites: vec![site("oslo")],
                    except: vec![guid(2)],
                    ..none()
                },
                vec![1, 4],
            ),
            // What is named stands there whatever it is.
            (
                Targets {
                    guids: vec![guid(3), guid(8), guid(3)],
                    ..none()
                },
                vec![3, 8],
            ),
            (
                Targets {
                    guids: vec![guid(1), guid(3)],
                    except: vec![guid(3)],
                    ..none()
                },
                vec![1],
            ),
        ] {
            let text = format!("{targets:?}");
            assert_eq!(meant(targets), expected, "{text}");
        }
    }

    #[test]
    fn what_is_named_and_cannot_be_refuses_the_job_and_what_is_beyond_the_rights_is_not_there() {
        let refused = |guids: Vec<Guid>| {
            let targets = Targets {
                guids,
                ..Targets::default()
            };
            let aimed = aim(&fleet(), &targets, |place, _| *place == site("oslo")).unwrap();
            targets_of(&aimed)
                .map(|targets| targets.len())
                .map_err(|error| error.code)
        };
        assert_eq!(refused(vec![guid(1), guid(2)]), Ok(2));
        assert_eq!(refused(vec![guid(1), guid(3)]), Err(Code::DeviceQuarantined));
        assert_eq!(refused(vec![guid(4)]), Err(Code::NotFound));
        assert_eq!(targets_of(&[]).map_err(|error| error.code), Err(Code::InvalidField));
    }
}
