//! Credentials: the first ones of an approval, and the family of refresh tokens that renews them.

use borealis_bus_schema::ids::ApprovalId;
use borealis_bus_schema::time::Timestamp;

use super::{Device, DeviceEvent, DeviceRejection, RENEW_SKEW_MS};

/// Is how long a refresh token lives, in milliseconds: 30 days.
pub const REFRESH_LIFE_MS: i64 = 30 * 24 * 3_600_000;

/// Holds a family of refresh tokens: each one descends from the one before, all from one approval.
///
/// The newest and the one before it are good: the one before until the newest is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The enrolment request they descend from, which is the family's name.
    pub name: ApprovalId,
    /// The newest token's number; the first one is 1.
    pub newest: u64,
    /// When the newest was issued.
    pub issued_at: Timestamp,
    /// Whether an older token was seen again, which means that somebody else has one.
    pub revoked: bool,
}

/// Names a refresh token whose authenticity was already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Its family.
    pub family: ApprovalId,
    /// Its number.
    pub counter: u64,
}

/// Is a renewal's outcome: what to write, and whether the device gets its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// What happened; empty when the same token asks again.
    pub events: Vec<DeviceEvent>,
    /// Why the device gets nothing, though something is written.
    pub refused: Option<DeviceRejection>,
}

impl Device {
    /// Decides the first credentials of an approval; once issued they are the same for the same approval.
    ///
    /// Errors: as [`Device::admitted`].
    pub fn issue(&self, approval: ApprovalId, now: Timestamp) -> Result<Option<DeviceEvent>, DeviceRejection> {
        self.admitted()?;
        let issued = self.family.is_some_and(|family| family.name == approval);
        Ok((!issued).then_some(DeviceEvent::CredentialsIssued {
            guid: self.guid(),
            approval,
            at: now,
        }))
    }

    /// Decides a renewal whose signature was already verified.
    ///
    /// A device that shows the newest token gets the next one; one that shows the token before gets the newest again,
    /// since it may not have received it, or could not keep it; an older one means that somebody else holds a copy, and ends the family.
    /// Without a token, or with one whose 30 days are over, the signature alone renews, but only once the newest token's
    /// 30 days are over too.
    ///
    /// Errors: [`DeviceRejection`]; then nothing is written.
    pub fn renew(
        &self,
        presented: Option<Presented>,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<Renewal, DeviceRejection> {
        self.admitted()?;
        if now.since_ms(issued_at).abs() > RENEW_SKEW_MS {
            return Err(DeviceRejection::ClockSkew);
        }
        let family = self
            .family
            .filter(|f| !f.revoked)
            .ok_or(DeviceRejection::RefreshInvalid)?;
        let silent = now >= family.issued_at.plus_ms(REFRESH_LIFE_MS);
        let next = |counter| Renewal {
            events: vec![DeviceEvent::CredentialsRenewed {
                guid: self.guid(),
                family: family.name,
                counter,
                at: now,
            }],
            refused: None,
        };
        let Some(presented) = presented else {
            return if silent {
                Ok(next(family.newest + 1))
            } else {
                Err(DeviceRejection::RefreshInvalid)
            };
        };
        if presented.family != family.name || presented.counter > family.newest {
            return Err(DeviceRejection::RefreshInvalid);
        }
        match family.newest - presented.counter {
            0 => Ok(next(family.newest + 1)),
            1 if !silent => Ok(Renewal {
                events: Vec::new(),
                refused: None,
            }),
            // It lives anew, and has the same number: a device whose disk takes no credentials shows the one before for ever.
            1 => Ok(next(family.newest)),
            _ => Ok(Renewal {
                events: vec![DeviceEvent::RefreshFamilyRevoked {
                    guid: self.guid(),
                    family: family.name,
                    counter: presented.counter,
                    at: now,
                }],
                refused: Some(DeviceRejection::RefreshInvalid),
            }),
        }
    }
}
