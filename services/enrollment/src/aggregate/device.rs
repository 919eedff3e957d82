//! The device: its key, its status, and the family of refresh tokens that it holds.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{ApprovalId, Guid, TagName};
use borealis_bus_schema::messages::enrollment::MAX_TAGS;
use borealis_bus_schema::messages::shared_events::{
    Actor, DeviceEnrolled, DeviceKeyRotated, DeviceStatus, DeviceStatusChanged, DeviceTagged,
};
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

use super::approval::MAX_REASON_CHARS;

mod identity;
mod renewal;
mod status;
mod tags;

#[cfg(test)]
mod tests;

pub use identity::NewKey;
pub use renewal::{Family, Presented, REFRESH_LIFE_MS, Renewal};
pub use status::{Change, Standing, Why};

/// Is how far a device's clock may be off when it renews, in milliseconds.
pub const RENEW_SKEW_MS: i64 = 300_000;

/// Holds a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What its last enrolment said.
    pub enrolled: DeviceEnrolled,
    /// What it may do.
    pub status: DeviceStatus,
    /// Why, by whom and since when; none while nobody changed its status.
    pub standing: Option<Standing>,
    /// Its refresh tokens.
    pub family: Option<Family>,
    /// The number of its last hello; none before the first, and after a release, which forgives what went back.
    pub hello_counter: Option<u64>,
    /// The key that its present one took the place of by the device's own wish, and when; none while that never happened.
    pub previous_key: Option<(PublicKey, Timestamp)>,
    /// Since when an operator wants it to draw a new key; none once it did.
    pub rotation_asked_at: Option<Timestamp>,
    /// By which operators group it.
    pub tags: BTreeSet<TagName>,
}

/// Says what happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// It exists, or exists again with newer facts.
    Enrolled(Box<DeviceEnrolled>),
    /// Its status changed.
    StatusChanged(DeviceStatusChanged),
    /// It has other tags.
    Tagged(DeviceTagged),
    /// It got its first credentials; older families are over.
    CredentialsIssued {
        /// The device.
        guid: Guid,
        /// The enrolment request.
        approval: ApprovalId,
        /// When.
        at: Timestamp,
    },
    /// It got the next refresh token.
    CredentialsRenewed {
        /// The device.
        guid: Guid,
        /// The family.
        family: ApprovalId,
        /// The new token's number.
        counter: u64,
        /// When.
        at: Timestamp,
    },
    /// It said hello, in answer to a challenge of that moment.
    SaidHello {
        /// The device.
        guid: Guid,
        /// The hello's number in the device's journal.
        counter: u64,
        /// When.
        at: Timestamp,
    },
    /// An operator wants it to draw a new identity key.
    KeyRotationAsked {
        /// The device.
        guid: Guid,
        /// Why.
        reason: String,
        /// Who wants it.
        by: Actor,
        /// When.
        at: Timestamp,
    },
    /// It has a new identity key; everything else of it goes on.
    KeyRotated(Box<DeviceKeyRotated>),
    /// A token that had a used successor was seen again.
    RefreshFamilyRevoked {
        /// The device.
        guid: Guid,
        /// The family.
        family: ApprovalId,
        /// The number of the token that was seen.
        counter: u64,
        /// When.
        at: Timestamp,
    },
}

/// Says why a device does not get what it asked for.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum DeviceRejection {
    /// It was revoked.
    #[error("the device was revoked")]
    Revoked,
    /// It was decommissioned.
    #[error("the device was decommissioned")]
    Decommissioned,
    /// Its key was replaced by a newer one of the same machine.
    #[error("the key was replaced by a newer one of this device")]
    Replaced,
    /// The token is not one that renews.
    #[error("the refresh token is not the newest of its family; the device has to enrol again")]
    RefreshInvalid,
    /// The device's clock differs too much.
    #[error("the device's clock differs from the server's by more than five minutes")]
    ClockSkew,
    /// The change does not lead from this status.
    #[error("the device is {}, which this does not change", .status.as_str())]
    WrongStatus {
        /// What the device is.
        status: DeviceStatus,
    },
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_CHARS} characters")]
    ReasonTooLong,
    /// The tags are too many.
    #[error("a device has at most {MAX_TAGS} tags")]
    TooManyTags,
}

impl Device {
    /// Makes the state of a device that was just enrolled.
    pub const fn new(enrolled: DeviceEnrolled) -> Self {
        Self {
            enrolled,
            status: DeviceStatus::Active,
            standing: None,
            family: None,
            hello_counter: None,
            previous_key: None,
            rotation_asked_at: None,
            tags: BTreeSet::new(),
        }
    }

    /// Returns the device's name.
    pub const fn guid(&self) -> Guid {
        self.enrolled.guid
    }

    /// Returns the device's identity key.
    pub const fn public_key(&self) -> PublicKey {
        self.enrolled.public_key
    }

    /// Decides about a hello that answers a challenge of this moment: its number is above the one before, or there are two
    /// devices with this key, or one with an older copy of its state, and the device is quarantined.
    ///
    /// Nothing is written of a device that is not active; its release begins to count anew.
    pub fn say_hello(&self, counter: u64, now: Timestamp) -> Option<DeviceEvent> {
        if self.status != DeviceStatus::Active {
            return None;
        }
        match self.hello_counter {
            Some(before) if counter <= before => {
                let reason = format!(
                    "its journal went back, from hello {before} to hello {counter}: a copy of the device, or an older state of it, is at work"
                );
                let why = Why {
                    reason: &reason,
                    by: None,
                    now,
                };
                Some(self.turned(DeviceStatus::Quarantined, why))
            }
            _ => Some(DeviceEvent::SaidHello {
                guid: self.guid(),
                counter,
                at: now,
            }),
        }
    }

    /// Takes in what happened.
    pub fn evolve(&mut self, event: &DeviceEvent) {
        match event {
            DeviceEvent::Enrolled(enrolled) => {
                if enrolled.public_key != self.enrolled.public_key {
                    // The new key begins with its own tokens and its own journal.
                    self.family = None;
                    self.hello_counter = None;
                    self.previous_key = None;
                    self.rotation_asked_at = None;
                }
                self.enrolled = (**enrolled).clone();
            }
            DeviceEvent::StatusChanged(changed) => {
                self.status = changed.status;
                if changed.status == DeviceStatus::Active {
                    self.hello_counter = None;
                }
                if self.admitted().is_err() {
                    // Whoever is admitted again begins with new tokens.
                    self.family = None;
                }
                self.standing = Some(Standing {
                    reason: changed.reason.clone(),
                    by: changed.by.clone(),
                    at: changed.at,
                });
            }
            DeviceEvent::Tagged(tagged) => self.tags.clone_from(&tagged.tags),
            DeviceEvent::SaidHello { counter, .. } => self.hello_counter = Some(*counter),
            DeviceEvent::KeyRotationAsked { at, .. } => self.rotation_asked_at = Some(*at),
            DeviceEvent::KeyRotated(rotated) => {
                self.previous_key = Some((rotated.previous_key, rotated.at));
                self.rotation_asked_at = None;
                self.enrolled.public_key = rotated.public_key;
                self.enrolled.exchange_key = rotated.exchange_key;
                self.enrolled.exchange_key_signature = rotated.exchange_key_signature;
            }
            DeviceEvent::CredentialsIssued { approval, at, .. } => {
                self.family = Some(Family {
                    name: *approval,
                    newest: 1,
                    issued_at: *at,
                    revoked: false,
                });
            }
            DeviceEvent::CredentialsRenewed { counter, at, .. } => {
                if let Some(family) = &mut self.family {
                    family.newest = *counter;
                    family.issued_at = *at;
                }
            }
            DeviceEvent::RefreshFamilyRevoked { .. } => {
                if let Some(family) = &mut self.family {
                    family.revoked = true;
                }
            }
        }
    }
}
