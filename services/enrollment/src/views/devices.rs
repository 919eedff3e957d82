//! Where devices stand, as operators see it.

use borealis_bus_schema::messages::enrollment::{DeviceStanding, DeviceTags};

use crate::aggregate::device::Device;

/// Shows where a device stands.
pub fn standing(device: &Device) -> DeviceStanding {
    let standing = device.standing.as_ref();
    let reason = standing.map(|standing| standing.reason.clone());
    DeviceStanding {
        guid: device.guid(),
        hostname: device.enrolled.facts.hostname.clone(),
        site: device.enrolled.site.clone(),
        status: device.status,
        status_reason: reason.filter(|reason| !reason.is_empty()),
        status_by: standing.and_then(|standing| Some(standing.by.as_ref()?.username.clone())),
        status_at: standing.map(|standing| standing.at),
    }
}

/// Shows a device's tags.
pub fn tags(device: &Device) -> DeviceTags {
    DeviceTags {
        guid: device.guid(),
        hostname: device.enrolled.facts.hostname.clone(),
        tags: device.tags.clone(),
    }
}
