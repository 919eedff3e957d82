//! What a device connects with: a bus JWT for its own key, and a refresh token.
//!
//! Credentials are computed from the device, its family of refresh tokens and an instant, so that the same proof gets the
//! same answer; nothing of them is kept.

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::{Credentials, SignedText, Trust};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::nats_jwt::{self, JwtError, UserClaims};
use borealis_service_kit::paths::{Paths, Ports};
use borealis_service_kit::trust::TrustFile;
use nkeys::KeyPair;

use crate::aggregate::device::{Device, Family, Presented, REFRESH_LIFE_MS};
use crate::derive::DerivationKey;

/// Is how long a bus JWT lives, in milliseconds: 24 hours.
pub const BUS_JWT_LIFE_MS: i64 = 24 * 3_600_000;

/// Signs and computes credentials.
pub struct Issuer {
    account: String,
    signer: KeyPair,
    derivation: DerivationKey,
    paths: Paths,
    trust: TrustFile,
}

impl Issuer {
    /// Makes the issuer of its keys.
    pub fn new(signer: KeyPair, derivation: DerivationKey, paths: Paths, trust: TrustFile) -> Self {
        Self {
            account: trust.account.public_key.clone(),
            signer,
            derivation,
            paths,
            trust,
        }
    }

    /// Returns the key from which secrets are computed.
    pub const fn derivation(&self) -> &DerivationKey {
        &self.derivation
    }

    /// Returns what a device pins.
    pub fn trust(&self) -> Trust {
        Trust {
            deployment: self.trust.deployment,
            ca_pem: self.trust.ca_pem.clone(),
            code_signing_root: self.trust.code_signing_root,
            key_set: self.trust.key_set.clone(),
        }
    }

    /// Returns the newest set of code-signing keys.
    pub fn key_set(&self) -> SignedText {
        self.trust.key_set.clone()
    }

    /// Returns the newest set of code-signing keys as it was signed; `None` when the trust file is damaged.
    pub fn signed_key_set(&self) -> Option<borealis_bus_schema::forms::Signed> {
        self.trust.key_set.signed()
    }

    /// Computes a device's credentials with the newest refresh token of its family.
    ///
    /// The bus JWT counts from `issued_at`; `now` is only told as the server's clock.
    ///
    /// Errors: [`JwtError`] when the account's signing key is unusable.
    pub fn credentials(
        &self,
        device: &Device,
        family: &Family,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<Credentials, JwtError> {
        let guid = device.guid();
        let newest = Presented {
            family: family.name,
            counter: family.newest,
        };
        let bus_jwt_expires_at = issued_at.plus_ms(BUS_JWT_LIFE_MS);
        Ok(Credentials {
            bus_urls: self.bus_urls(),
            bus_jwt: self.bus_jwt(device, &guid, issued_at, bus_jwt_expires_at)?,
            bus_jwt_expires_at,
            refresh_token: self.derivation.refresh_token(&guid, newest),
            refresh_token_expires_at: family.issued_at.plus_ms(REFRESH_LIFE_MS),
            server_time: now,
        })
    }

    fn bus_jwt(&self, device: &Device, guid: &Guid, at: Timestamp, end: Timestamp) -> Result<String, JwtError> {
        let claims = UserClaims::device(&device.public_key(), guid, &self.account, end);
        nats_jwt::user(&self.signer, &claims, at)
    }

    /// Returns the bus's addresses for devices, as the running bus publishes them; none while there is no bus.
    fn bus_urls(&self) -> Vec<String> {
        match Ports::read(&self.paths) {
            Ok(ports) => ports.map(|ports| ports.public).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the bus's addresses cannot be read");
                Vec::new()
            }
        }
    }
}
