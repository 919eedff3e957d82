//! Tags: words by which operators group devices.

use std::collections::BTreeSet;

use borealis_bus_schema::ids::TagName;
use borealis_bus_schema::messages::enrollment::MAX_TAGS;
use borealis_bus_schema::messages::shared_events::{Actor, DeviceStatus, DeviceTagged};
use borealis_bus_schema::time::Timestamp;

use super::{Device, DeviceEvent, DeviceRejection};

impl Device {
    /// Decides which tags the device has from now on; nothing when these are the ones it has. A tag that is given and taken
    /// away at once stays.
    ///
    /// Errors: [`DeviceRejection::TooManyTags`]; [`DeviceRejection::WrongStatus`] for a device that is decommissioned.
    pub fn retag(
        &self,
        add: &BTreeSet<TagName>,
        remove: &BTreeSet<TagName>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<DeviceEvent>, DeviceRejection> {
        if self.status == DeviceStatus::Decommissioned {
            return Err(DeviceRejection::WrongStatus { status: self.status });
        }
        let kept = self.tags.difference(remove);
        let tags: BTreeSet<TagName> = kept.chain(add).cloned().collect();
        if tags.len() > MAX_TAGS {
            return Err(DeviceRejection::TooManyTags);
        }
        Ok((tags != self.tags).then(|| {
            DeviceEvent::Tagged(DeviceTagged {
                guid: self.guid(),
                tags,
                by: by.clone(),
                at: now,
            })
        }))
    }
}
