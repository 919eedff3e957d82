//! The status: what a device may do, and what leads from one to another.

use borealis_bus_schema::messages::shared_events::{Actor, DeviceStatus, DeviceStatusChanged};
use borealis_bus_schema::time::Timestamp;

use super::{Device, DeviceEvent, DeviceRejection};
use crate::aggregate::approval::MAX_REASON_CHARS;

/// Says why a device has its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Why.
    pub reason: String,
    /// Who did it; none when it was not an operator.
    pub by: Option<Actor>,
    /// Since when.
    pub at: Timestamp,
}

/// Lists what can be made of a device's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It may report and gets no orders.
    Quarantine,
    /// It is as before its quarantine.
    Release,
    /// It is shut out until an operator approves a new enrolment of it.
    Revoke,
    /// It is gone for good.
    Decommission,
}

/// Is why, by whom and when a status is changed.
#[derive(Debug, Clone, Copy)]
pub struct Why<'w> {
    /// Why, in words.
    pub reason: &'w str,
    /// Who; none when it is not an operator.
    pub by: Option<&'w Actor>,
    /// Now.
    pub now: Timestamp,
}

impl Device {
    /// Tells whether the device may be on the bus; a quarantined one may, to report.
    ///
    /// Errors: [`DeviceRejection::Revoked`], [`DeviceRejection::Decommissioned`].
    pub const fn admitted(&self) -> Result<(), DeviceRejection> {
        match self.status {
            DeviceStatus::Active | DeviceStatus::Quarantined => Ok(()),
            DeviceStatus::Revoked => Err(DeviceRejection::Revoked),
            DeviceStatus::Decommissioned => Err(DeviceRejection::Decommissioned),
        }
    }

    /// Refuses what only an active device does.
    pub(super) const fn active(&self) -> Result<(), DeviceRejection> {
        match self.status {
            DeviceStatus::Active => Ok(()),
            status => Err(DeviceRejection::WrongStatus { status }),
        }
    }

    /// Decides a change of status.
    ///
    /// A quarantine ends by a release; a revocation only by [`Device::readmit`]; decommissioning never.
    ///
    /// Errors: [`DeviceRejection::WrongStatus`], [`DeviceRejection::ReasonTooLong`].
    pub fn change_status(&self, change: Change, why: Why<'_>) -> Result<DeviceEvent, DeviceRejection> {
        use DeviceStatus::{Active, Decommissioned, Quarantined, Revoked};
        if why.reason.chars().count() > MAX_REASON_CHARS {
            return Err(DeviceRejection::ReasonTooLong);
        }
        let status = match (change, self.status) {
            (Change::Quarantine, Active) => Quarantined,
            (Change::Release, Quarantined) => Active,
            (Change::Revoke, Active | Quarantined) => Revoked,
            (Change::Decommission, Active | Quarantined | Revoked) => Decommissioned,
            (_, status) => return Err(DeviceRejection::WrongStatus { status }),
        };
        Ok(self.turned(status, why))
    }

    /// Decides what a newly approved enrolment makes of the device's status: one that was revoked is admitted again.
    ///
    /// Errors: [`DeviceRejection::Decommissioned`].
    pub fn readmit(&self, why: Why<'_>) -> Result<Option<DeviceEvent>, DeviceRejection> {
        match self.status {
            DeviceStatus::Active | DeviceStatus::Quarantined => Ok(None),
            DeviceStatus::Revoked => Ok(Some(self.turned(DeviceStatus::Active, why))),
            DeviceStatus::Decommissioned => Err(DeviceRejection::Decommissioned),
        }
    }

    pub(super) fn turned(&self, status: DeviceStatus, why: Why<'_>) -> DeviceEvent {
        DeviceEvent::StatusChanged(DeviceStatusChanged {
            guid: self.guid(),
            status,
            reason: why.reason.trim().to_owned(),
            at: why.now,
            by: why.by.cloned(),
        })
    }
}
