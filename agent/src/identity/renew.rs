//! Renewal: fresh credentials before the old ones end.

use super::api::{Api, ApiError};
use super::{Device, DeviceKeys};
use crate::core::backoff::Jitter;
use crate::random;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::{Credentials, Renew, Renewed};
use borealis_bus_schema::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;

/// Asks for fresh credentials.
///
/// When the server does not know the refresh token any more, the key alone proves who asks.
///
/// Errors: [`ApiError`]; `Refused` without another try means that the device has to enrol again.
pub async fn renew(api: &Api, device: &Device, server_now: Timestamp) -> Result<Renewed, ApiError> {
    let token = device.credentials.refresh_token.clone();
    let token = (!token.is_empty()).then_some(token);
    let first = ask(api, &device.keys, device.guid, token.clone(), server_now).await;
    match first {
        Err(ApiError::Refused {
            code: Code::RefreshInvalid,
            ..
        }) if token.is_some() => ask(api, &device.keys, device.guid, None, server_now).await,
        other => other,
    }
}

async fn ask(
    api: &Api,
    keys: &DeviceKeys,
    guid: Guid,
    token: Option<String>,
    at: Timestamp,
) -> Result<Renewed, ApiError> {
    let nonce = random::bytes::<16>().map_err(|error| ApiError::Request(error.to_string()))?;
    let nonce = BASE64URL_NOPAD.encode(&nonce);
    let (guid_text, at_text) = (guid.to_string(), at.to_string());
    let fields: [&[u8]; 4] = [
        guid_text.as_bytes(),
        token.as_deref().unwrap_or_default().as_bytes(),
        at_text.as_bytes(),
        nonce.as_bytes(),
    ];
    let request = Renew {
        guid,
        signature: keys.sign(Form::Renew, &fields),
        refresh_token: token,
        issued_at: at,
        nonce,
    };
    api.post("/api/v1/device/renew", &request).await
}

/// Returns in how many milliseconds credentials are to be renewed: at about half of their life, spread by a tenth.
pub fn due_in_ms(credentials: &Credentials, server_now: Timestamp, jitter: &mut Jitter) -> u64 {
    let whole = credentials.bus_jwt_expires_at.since_ms(credentials.server_time).max(0);
    let spread = i64::try_from(jitter.below(u64::try_from(whole / 10 + 1).unwrap_or(1))).unwrap_or(0);
    let due = credentials.server_time.plus_ms(whole / 2 - spread);
    u64::try_from(due.since_ms(server_now)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_day_then_it_is_renewed_at_about_half_and_at_once_when_over() {
        let at = Timestamp::from_unix_ms;
        let credentials = Credentials {
            bus_urls: vec![],
            bus_jwt: String::new(),
            bus_jwt_expires_at: at(86_400_000),
            refresh_token: String::new(),
            refresh_token_expires_at: at(0),
            server_time: at(0),
        };
        let mut jitter = Jitter::new(3);
        for _ in 0..100 {
            let due = due_in_ms(&credentials, at(0), &mut jitter);
            assert!((34_560_000..=43_200_000).contains(&due), "{due}");
        }
        assert_eq!(due_in_ms(&credentials, at(90_000_000), &mut jitter), 0);
    }
}
