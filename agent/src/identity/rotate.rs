//! A new identity key in the place of the old one.
//!
//! | step | on disk | who counts at the server |
//! | --- | --- | --- |
//! | drawn | the new keys beside the old ones, synced ([`IdentityFiles::prepare`]) | the old key |
//! | asked | the same | the old one, or the new one when the answer was lost |
//! | answered | the same | the new key |
//! | credentials kept | the new key's bus JWT | the new key |
//! | exchange key moved | the new X25519 key in its place | the new key |
//! | identity key moved | the new key in its place: done | the new key |
//!
//! Whoever finds new keys beside the old ones asks again, with both: the server takes the new key then, or says that it has.
//! So the agent needs not know how far it came. The new keys are never thrown away: only the server knows whether they count.
//!
//! [`IdentityFiles::prepare`]: super::files::IdentityFiles::prepare

use super::api::{Api, ApiError};
use super::{Device, DeviceKeys};
use crate::random;
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::messages::enrollment::{KeyRotated, RotateKey};
use borealis_bus_schema::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;

/// Asks the server to take new keys in the place of a device's own; asked again with the same keys it says the same.
///
/// Errors: [`ApiError`]; `Refused` without another try means that the old key still counts.
pub async fn rotate(
    api: &Api,
    device: &Device,
    next: &DeviceKeys,
    server_now: Timestamp,
) -> Result<KeyRotated, ApiError> {
    let nonce = random::bytes::<16>().map_err(|error| ApiError::Request(error.to_string()))?;
    let nonce = BASE64URL_NOPAD.encode(&nonce);
    let (old, new, exchange) = (device.keys.public(), next.public(), next.exchange_public());
    let fields = RotateKey::fields(&device.guid, &old, &new, &exchange, server_now, &nonce);
    let fields = fields.each_ref().map(|field| field.as_bytes());
    let request = RotateKey {
        guid: device.guid,
        public_key: new,
        exchange_key: exchange,
        exchange_key_signature: next.sign(Form::ExchangeKey, &[exchange.as_bytes()]),
        issued_at: server_now,
        old_signature: device.keys.sign(Form::RotateKey, &fields),
        new_signature: next.sign(Form::RotateKey, &fields),
        nonce,
    };
    api.post("/api/v1/device/rotate-key", &request).await
}
