//! The identity key: how it gives way to a new one, and what shows that somebody still uses the old one.

use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::messages::shared_events::{Actor, DeviceKeyRotated};
use borealis_bus_schema::time::Timestamp;

use super::{Device, DeviceEvent, DeviceRejection, RENEW_SKEW_MS};
use crate::aggregate::approval::MAX_REASON_CHARS;

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

impl Device {
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
}
