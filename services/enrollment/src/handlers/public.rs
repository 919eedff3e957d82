//! What the routes that anyone may call have in common: whoever asks is a machine that proves itself in the body.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::enrollment::Credentials;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::PublicCtx;
use data_encoding::BASE64URL_NOPAD;

use crate::aggregate::device::{Device, Family};
use crate::app::App;
use crate::error::{Fault, Refusal};

/// Is the largest body of a public route, in bytes.
const MAX_PUBLIC_BODY_BYTES: usize = 16 << 10;

/// Is how many bytes the nonce of a device has.
pub(super) const NONCE_BYTES: usize = 16;

/// Reads the body of a public route.
pub(super) fn public_body<T: serde::de::DeserializeOwned>(call: &OperatorCall) -> Result<T, Refusal> {
    Ok(codec::decode_json(&call.body, MAX_PUBLIC_BODY_BYTES)?)
}

/// Answers a peer that did not fail too often, and counts it when this fails as guessing does.
///
/// Errors: [`Refusal::Throttled`]; those of the work.
pub(super) async fn answer<T>(
    app: &App,
    ctx: &PublicCtx,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    app.admit_peer(&ctx.call.peer, ctx.now)?;
    let outcome = work.await;
    if let Err(refusal) = &outcome {
        app.note_failure(&ctx.call.peer, refusal, ctx.now);
    }
    outcome
}

/// Checks that a field holds a nonce of a number of bytes.
///
/// Errors: [`Refusal::InvalidField`].
pub(super) fn check_nonce(field: &str, text: &str, bytes: usize) -> Result<(), Refusal> {
    let nonce = BASE64URL_NOPAD.decode(text.as_bytes());
    if nonce.map_or(0, |nonce| nonce.len()) == bytes {
        Ok(())
    } else {
        Err(Refusal::InvalidField {
            what: format!("{field} is not {bytes} bytes as base64url"),
        })
    }
}

/// Computes a device's credentials, whose bus JWT counts from `issued_at`.
///
/// Errors: `unavailable` while the bus has no address; a fault when the account's signing key is unusable.
pub(super) fn credentials(
    app: &App,
    device: &Device,
    family: &Family,
    issued_at: Timestamp,
    now: Timestamp,
) -> Result<Credentials, Refusal> {
    let credentials = app
        .issuer
        .credentials(device, family, issued_at, now)
        .map_err(Fault::from)?;
    if credentials.bus_urls.is_empty() {
        return Err(WireError::new(Code::Unavailable, "the bus has no address yet").into());
    }
    Ok(credentials)
}
