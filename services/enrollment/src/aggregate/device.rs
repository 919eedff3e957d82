//! The device: its key, its status, and the family of refresh tokens that it holds.

use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::ids::{ApprovalId, Guid};
use borealis_bus_schema::messages::shared_events::{
    Actor, DeviceEnrolled, DeviceKeyRotated, DeviceStatus, DeviceStatusChanged,
};
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

use super::approval::MAX_REASON_CHARS;

/// Is how long a refresh token lives, in milliseconds: 30 days.
pub const REFRESH_LIFE_MS: i64 = 30 * 24 * 3_600_000;
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
}

/// Is a device's new identity key; its signatures were verified already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub public_key: PublicKey,
    /// The X25519 key that goes with it.
    pub exchange_key: PublicKey,
    /// The new key's signature over the X25519 key.
    pub exchange_key_signature: SignatureBytes,
    /// When the device asked, by its clock.
    pub issued_at: Timestamp,
}

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

/// Says what happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// It exists, or exists again with newer facts.
    Enrolled(Box<DeviceEnrolled>),
    /// Its status changed.
    StatusChanged(DeviceStatusChanged),
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

/// Names a refresh token whose authenticity was already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Its family.
    pub family: ApprovalId,
    /// Its number.
    pub counter: u64,
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
    /// since it may not have received it; an older one means that somebody else holds a copy, and ends the family.
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
            1 => Ok(next(family.newest + 1)),
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

    /// Decides that an operator wants a new identity key of the device; asking again changes nothing.
    ///
    /// Errors: [`DeviceRejection::WrongStatus`] when the device is not active, [`DeviceRejection::ReasonTooLong`].
    pub fn ask_key_rotation(
        &self,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<DeviceEvent>, DeviceRejection> {
        if reason.chars().count() > MAX_REASON_CHARS {
            return Err(DeviceRejection::ReasonTooLong);
        }
        self.active()?;
        Ok(self.rotation_asked_at.is_none().then(|| DeviceEvent::KeyRotationAsked {
            guid: self.guid(),
            reason: reason.trim().to_owned(),
            by: by.clone(),
            at: now,
        }))
    }

    /// Decides about a new identity key; nothing happens when it is the device's key already, since the answer was lost then.
    ///
    /// Of a device that is in doubt nobody knows who asks: it keeps its key until an operator released it.
    ///
    /// Errors: as [`Device::admitted`]; [`DeviceRejection::WrongStatus`] when the device is not active,
    /// [`DeviceRejection::ClockSkew`], [`DeviceRejection::RefreshInvalid`] when it has to enrol again anyway.
    pub fn rotate_key(&self, new: &NewKey, now: Timestamp) -> Result<Option<DeviceEvent>, DeviceRejection> {
        self.admitted()?;
        if self.family.is_none_or(|family| family.revoked) {
            return Err(DeviceRejection::RefreshInvalid);
        }
        if new.public_key == self.public_key() {
            return Ok(None);
        }
        self.active()?;
        if now.since_ms(new.issued_at).abs() > RENEW_SKEW_MS {
            return Err(DeviceRejection::ClockSkew);
        }
        Ok(Some(DeviceEvent::KeyRotated(Box::new(DeviceKeyRotated {
            guid: self.guid(),
            public_key: new.public_key,
            previous_key: self.public_key(),
            exchange_key: new.exchange_key,
            exchange_key_signature: new.exchange_key_signature,
            at: now,
        }))))
    }

    /// Tells whether somebody who signs with a key, at a time, uses the one that the device itself gave up: there are two of
    /// it then, or an older state of it. What was asked before the change may arrive after it.
    pub fn gave_up(&self, key: &PublicKey, issued_at: Timestamp) -> bool {
        self.previous_key
            .is_some_and(|(previous, at)| previous == *key && issued_at > at.plus_ms(RENEW_SKEW_MS))
    }

    const fn active(&self) -> Result<(), DeviceRejection> {
        match self.status {
            DeviceStatus::Active => Ok(()),
            status => Err(DeviceRejection::WrongStatus { status }),
        }
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

    fn turned(&self, status: DeviceStatus, why: Why<'_>) -> DeviceEvent {
        DeviceEvent::StatusChanged(DeviceStatusChanged {
            guid: self.guid(),
            status,
            reason: why.reason.trim().to_owned(),
            at: why.now,
            by: why.by.cloned(),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::approval::tests::{NOW, asked, guid};
    use borealis_bus_schema::ids::OperatorId;

    const FAMILY: ApprovalId = ApprovalId::from_bytes([1; 16]);

    fn enrolled() -> DeviceEnrolled {
        let asked = asked();
        DeviceEnrolled {
            guid: guid(),
            site: asked.site,
            public_key: asked.public_key,
            exchange_key: asked.exchange_key,
            exchange_key_signature: asked.exchange_key_signature,
            facts: asked.facts,
            address: asked.address,
            first_seen_at: NOW,
            approved_at: NOW,
        }
    }
    fn given(events: &[DeviceEvent]) -> Device {
        let mut device = Device::new(enrolled());
        for event in events {
            device.evolve(event);
        }
        device
    }
    fn issued() -> DeviceEvent {
        given(&[]).issue(FAMILY, NOW).unwrap().unwrap()
    }
    fn renewed(counter: u64) -> DeviceEvent {
        DeviceEvent::CredentialsRenewed {
            guid: guid(),
            family: FAMILY,
            counter,
            at: NOW,
        }
    }
    fn token(counter: u64) -> Option<Presented> {
        Some(Presented {
            family: FAMILY,
            counter,
        })
    }
    const WHY: Why<'static> = Why {
        reason: "test",
        by: None,
        now: NOW,
    };
    fn changed(change: Change) -> DeviceEvent {
        given(&[]).change_status(change, WHY).unwrap()
    }

    fn new_key(seed: u8) -> NewKey {
        NewKey {
            public_key: PublicKey::from_bytes([seed; 32]),
            exchange_key: PublicKey::from_bytes([seed + 1; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([seed; 64]),
            issued_at: NOW,
        }
    }

    #[test]
    fn given_a_new_key_when_it_is_shown_again_then_nothing_happens_twice() {
        let mut device = given(&[issued()]);
        let (old, new) = (device.public_key(), new_key(5));
        let ada = Actor {
            operator: OperatorId::from_bytes([9; 16]),
            username: "ada".into(),
        };
        let asked = device.ask_key_rotation(" hygiene ", &ada, NOW).unwrap().unwrap();
        device.evolve(&asked);
        assert_eq!(device.rotation_asked_at, Some(NOW));
        assert_eq!(device.ask_key_rotation("again", &ada, NOW), Ok(None));

        let late = NOW.plus_ms(RENEW_SKEW_MS + 1);
        assert_eq!(device.rotate_key(&new, late), Err(DeviceRejection::ClockSkew));
        device.evolve(&device.rotate_key(&new, NOW).unwrap().unwrap());
        assert_eq!((device.public_key(), device.rotation_asked_at), (new.public_key, None));
        assert_eq!(device.previous_key, Some((old, NOW)));
        assert_eq!(device.family.map(|f| f.newest), Some(1), "its tokens go on");
        assert_eq!(device.rotate_key(&new, late), Ok(None), "the answer was lost");

        // Whoever uses the old key after the change is not the device.
        assert!(device.gave_up(&old, late));
        assert!(!device.gave_up(&old, NOW), "it may have been asked before the change");
        assert!(!device.gave_up(&new.public_key, late));
    }

    #[test]
    fn given_a_device_that_is_not_active_when_it_has_a_new_key_then_it_keeps_the_old_one() {
        let quarantined = given(&[issued(), changed(Change::Quarantine)]);
        let status = DeviceStatus::Quarantined;
        assert_eq!(
            quarantined.rotate_key(&new_key(5), NOW),
            Err(DeviceRejection::WrongStatus { status })
        );
        let revoked = given(&[issued(), changed(Change::Revoke)]);
        assert_eq!(revoked.rotate_key(&new_key(5), NOW), Err(DeviceRejection::Revoked));
        assert_eq!(
            given(&[]).rotate_key(&new_key(5), NOW),
            Err(DeviceRejection::RefreshInvalid)
        );
    }

    #[test]
    fn given_an_approval_when_credentials_are_issued_twice_then_they_are_the_same() {
        let device = given(&[issued()]);
        assert_eq!(device.issue(FAMILY, NOW.plus_ms(9)), Ok(None));
        assert_eq!(device.family.map(|f| (f.newest, f.issued_at)), Some((1, NOW)));
    }

    #[test]
    fn given_the_newest_token_when_used_then_the_next_is_issued() {
        let outcome = given(&[issued()]).renew(token(1), NOW, NOW).unwrap();
        assert_eq!((outcome.events, outcome.refused), (vec![renewed(2)], None));
    }

    #[test]
    fn given_a_rotated_token_when_its_successor_is_unused_then_the_successor_comes_again() {
        let outcome = given(&[issued(), renewed(2)]).renew(token(1), NOW, NOW).unwrap();
        assert_eq!((outcome.events, outcome.refused), (vec![], None));
    }

    #[test]
    fn given_a_used_successor_when_the_older_token_comes_then_the_family_is_over() {
        let events = [issued(), renewed(2), renewed(3)];
        let outcome = given(&events).renew(token(1), NOW, NOW).unwrap();
        assert_eq!(outcome.refused, Some(DeviceRejection::RefreshInvalid));
        let device = given(&[events.to_vec(), outcome.events].concat());
        for presented in [token(3), token(2), token(1), None] {
            assert_eq!(device.renew(presented, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
        }
    }

    #[test]
    fn given_a_revoked_family_when_enrolled_again_then_a_new_family_begins() {
        let revoked = DeviceEvent::RefreshFamilyRevoked {
            guid: guid(),
            family: FAMILY,
            counter: 1,
            at: NOW,
        };
        let device = given(&[issued(), revoked]);
        let next = ApprovalId::from_bytes([2; 16]);
        let again = device.issue(next, NOW).unwrap().unwrap();
        let mut device = device;
        device.evolve(&again);
        assert_eq!(device.renew(token(1), NOW, NOW), Err(DeviceRejection::RefreshInvalid));
        let presented = Some(Presented {
            family: next,
            counter: 1,
        });
        assert!(device.renew(presented, NOW, NOW).is_ok());
    }

    #[test]
    fn given_a_token_from_the_future_or_another_family_when_used_then_it_is_rejected() {
        let device = given(&[issued()]);
        let stranger = Presented {
            family: ApprovalId::from_bytes([8; 16]),
            counter: 1,
        };
        for presented in [token(2), token(u64::MAX), Some(stranger)] {
            assert_eq!(device.renew(presented, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
        }
        assert_eq!(
            given(&[]).renew(token(1), NOW, NOW),
            Err(DeviceRejection::RefreshInvalid)
        );
    }

    #[test]
    fn given_a_long_silence_when_renewed_then_the_signature_is_enough() {
        let (device, late) = (given(&[issued()]), NOW.plus_ms(REFRESH_LIFE_MS));
        assert_eq!(device.renew(None, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
        for presented in [None, token(1)] {
            assert_eq!(device.renew(presented, late, late).unwrap().events.len(), 1);
        }
    }

    #[test]
    fn given_a_clock_that_is_off_when_renewed_then_it_is_rejected() {
        for off in [RENEW_SKEW_MS + 1, -RENEW_SKEW_MS - 1] {
            let result = given(&[issued()]).renew(token(1), NOW.plus_ms(off), NOW);
            assert_eq!(result, Err(DeviceRejection::ClockSkew));
        }
    }

    #[test]
    fn given_a_revoked_device_then_it_gets_nothing() {
        for (change, rejection) in [
            (Change::Revoke, DeviceRejection::Revoked),
            (Change::Decommission, DeviceRejection::Decommissioned),
        ] {
            let device = given(&[issued(), changed(change)]);
            assert_eq!(device.renew(token(1), NOW, NOW), Err(rejection));
            assert_eq!(device.issue(ApprovalId::from_bytes([2; 16]), NOW), Err(rejection));
        }
        assert!(
            given(&[issued(), changed(Change::Quarantine)])
                .renew(token(1), NOW, NOW)
                .is_ok()
        );
    }

    #[test]
    fn given_each_status_then_only_the_changes_that_lead_from_it_are_made() {
        use DeviceStatus::{Active, Decommissioned, Quarantined, Revoked};
        let all = [
            Change::Quarantine,
            Change::Release,
            Change::Revoke,
            Change::Decommission,
        ];
        for (events, status, leads) in [
            (
                vec![],
                Active,
                [Some(Quarantined), None, Some(Revoked), Some(Decommissioned)],
            ),
            (
                vec![changed(Change::Quarantine)],
                Quarantined,
                [None, Some(Active), Some(Revoked), Some(Decommissioned)],
            ),
            (
                vec![changed(Change::Revoke)],
                Revoked,
                [None, None, None, Some(Decommissioned)],
            ),
            (vec![changed(Change::Decommission)], Decommissioned, [None; 4]),
        ] {
            let device = given(&events);
            assert_eq!(device.status, status);
            for (change, to) in all.into_iter().zip(leads) {
                let found = match device.change_status(change, WHY) {
                    Ok(DeviceEvent::StatusChanged(changed)) => Some(changed.status),
                    Ok(other) => panic!("{other:?}"),
                    Err(rejection) => {
                        assert_eq!(rejection, DeviceRejection::WrongStatus { status });
                        None
                    }
                };
                assert_eq!(found, to, "{change:?} of a device that is {status:?}");
            }
        }
    }

    #[test]
    fn given_a_change_then_it_tells_who_why_and_when() {
        let actor = Actor {
            operator: OperatorId::from_bytes([6; 16]),
            username: "ada".into(),
        };
        let why = Why {
            reason: " stolen ",
            by: Some(&actor),
            now: NOW,
        };
        let mut device = given(&[]);
        device.evolve(&device.change_status(Change::Revoke, why).unwrap());
        let standing = Standing {
            reason: "stolen".into(),
            by: Some(actor.clone()),
            at: NOW,
        };
        assert_eq!(device.standing, Some(standing));
        let long = "x".repeat(MAX_REASON_CHARS + 1);
        let refused = given(&[]).change_status(Change::Revoke, Why { reason: &long, ..why });
        assert_eq!(refused, Err(DeviceRejection::ReasonTooLong));
    }

    #[test]
    fn given_a_new_approval_then_a_revoked_device_is_admitted_again_and_a_decommissioned_one_never() {
        let mut revoked = given(&[issued(), changed(Change::Revoke)]);
        let event = revoked.readmit(WHY).unwrap().unwrap();
        revoked.evolve(&event);
        assert_eq!(revoked.status, DeviceStatus::Active);
        for (change, outcome) in [
            (Change::Quarantine, Ok(None)),
            (Change::Decommission, Err(DeviceRejection::Decommissioned)),
        ] {
            assert_eq!(given(&[changed(change)]).readmit(WHY), outcome);
        }
        assert_eq!(given(&[]).readmit(WHY), Ok(None));
    }

    #[test]
    fn given_a_new_key_then_tokens_and_numbers_of_the_old_one_are_over() {
        let mut device = given(&[
            issued(),
            DeviceEvent::SaidHello {
                guid: guid(),
                counter: 9,
                at: NOW,
            },
        ]);
        device.evolve(&DeviceEvent::Enrolled(Box::new(enrolled())));
        assert!(
            device.family.is_some() && device.hello_counter.is_some(),
            "the same key goes on"
        );
        let fresh = DeviceEnrolled {
            public_key: PublicKey::from_bytes([8; 32]),
            ..enrolled()
        };
        device.evolve(&DeviceEvent::Enrolled(Box::new(fresh)));
        assert_eq!((device.family, device.hello_counter), (None, None));
        assert_eq!(device.renew(token(1), NOW, NOW), Err(DeviceRejection::RefreshInvalid));
    }

    #[test]
    fn given_hellos_then_each_counts_up_or_quarantines_the_device() {
        let mut device = given(&[]);
        for counter in [4, 5, 9] {
            let event = device.say_hello(counter, NOW).unwrap();
            assert_eq!(
                event,
                DeviceEvent::SaidHello {
                    guid: guid(),
                    counter,
                    at: NOW
                }
            );
            device.evolve(&event);
        }
        for counter in [9, 8, 0] {
            let mut device = device.clone();
            device.evolve(&device.say_hello(counter, NOW).unwrap());
            assert_eq!(
                device.status,
                DeviceStatus::Quarantined,
                "hello {counter} after hello 9"
            );
            let standing = device.standing.clone().unwrap();
            assert!(
                standing.by.is_none() && standing.reason.contains("from hello 9"),
                "{standing:?}"
            );
            assert_eq!(
                device.say_hello(1, NOW),
                None,
                "what a quarantined device says is not counted"
            );
            // Whoever releases it says that its present state is the right one.
            device.evolve(&device.change_status(Change::Release, WHY).unwrap());
            device.evolve(&device.say_hello(1, NOW).unwrap());
            assert_eq!((device.status, device.hello_counter), (DeviceStatus::Active, Some(1)));
        }
    }
}
