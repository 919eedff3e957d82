//! Enrolment and renewal: what devices and operators say to enrollment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::shared_events::DeviceStatus;
use crate::forms::{Form, PublicKey, SignatureBytes, Signed, VerifyError};
use crate::ids::{ApprovalId, CodeId, DeploymentId, Guid, SiteName, TagName};
use crate::installer_code::CodeUse;
use crate::order::Context;
use crate::time::Timestamp;

/// Is what a machine says of itself when it asks for enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The host's name.
    pub hostname: String,
    /// The operating system, `linux` or `windows`.
    pub os: String,
    /// The operating system's version, for people.
    pub os_version: String,
    /// The processor's architecture.
    pub arch: String,
    /// The agent's version.
    pub agent_version: String,
    /// With which rights the agent acts.
    pub context: Context,
    /// SHA-256 over machine id and root folder, lower hex; knows a machine again without naming it.
    pub machine_hash: String,
}

/// Is the body of `POST /api/v1/enroll/request`.
///
/// Shape: the installer code is named by its public key and proved by a signature over the form `code-use`, see
/// [`CodeUse`](crate::installer_code::CodeUse); its secret is never sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// The installer code's public key.
    pub code_key: PublicKey,
    /// The proof by the code's key.
    pub code_proof: SignatureBytes,
    /// The device's identity key.
    pub public_key: PublicKey,
    /// The device's X25519 key, base64url, for secrets in orders.
    pub exchange_key: PublicKey,
    /// The identity key's signature over the form `exchange-key` of the X25519 key.
    pub exchange_key_signature: SignatureBytes,
    /// 32 random bytes, base64url.
    pub client_nonce: String,
    /// What the machine says of itself.
    pub facts: HostFacts,
}

impl EnrollRequest {
    /// Verifies that whoever asks holds the installer code, with the CA that this deployment has.
    ///
    /// Errors: [`VerifyError`].
    pub fn verify_code(&self, ca_sha256: &[u8; 32]) -> Result<(), VerifyError> {
        let asked = CodeUse {
            ca_sha256,
            public_key: &self.public_key,
            exchange_key: &self.exchange_key,
            client_nonce: &self.client_nonce,
            facts: &self.facts,
        };
        asked.verify(&self.code_key, &self.code_proof)
    }
}

/// Answers [`EnrollRequest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnrollChallenge {
    /// Names the request; the agent polls by it.
    pub reference: ApprovalId,
    /// 32 random bytes, base64url.
    pub server_nonce: String,
}

/// Is the body of `POST /api/v1/enroll/poll`.
///
/// Shape: the signature is over the form `enroll` of server nonce (text), reference (text), client nonce (text).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnrollPoll {
    /// The request.
    pub reference: ApprovalId,
    /// The proof by the identity key.
    pub signature: SignatureBytes,
}

/// Answers [`EnrollPoll`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EnrollState {
    /// An operator has not decided yet.
    Pending {
        /// When to ask again.
        retry_after_ms: u64,
    },
    /// The device is enrolled.
    Approved(Box<Identity>),
    /// An operator said no.
    Denied {
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired,
}

/// Is what an enrolled device is given.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The device's name for good.
    pub guid: Guid,
    /// Where it belongs.
    pub site: SiteName,
    /// What it trusts.
    pub trust: Trust,
    /// What it connects with.
    pub credentials: Credentials,
}

/// Is what a device pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The CA root, PEM.
    pub ca_pem: String,
    /// The code-signing root.
    pub code_signing_root: PublicKey,
    /// The keys that may sign orders, signed by the root.
    pub key_set: SignedText,
}

/// Is a [`Signed`] in JSON: bytes and signature as base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedText {
    /// The signed bytes, base64url.
    pub bytes: String,
    /// The signature.
    pub signature: SignatureBytes,
}

impl From<&Signed> for SignedText {
    fn from(signed: &Signed) -> Self {
        Self {
            bytes: data_encoding::BASE64URL_NOPAD.encode(&signed.bytes),
            signature: signed.signature,
        }
    }
}

impl SignedText {
    /// Returns the signed value; `None` when the text is no base64url.
    pub fn signed(&self) -> Option<Signed> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(self.bytes.as_bytes()).ok()?;
        Some(Signed {
            bytes,
            signature: self.signature,
        })
    }
}

/// Is what a device connects with, renewed again and again.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The bus's addresses, `tls://host:port`.
    pub bus_urls: Vec<String>,
    /// The bus user's JWT; worthless without the identity key.
    pub bus_jwt: String,
    /// When the JWT ends.
    pub bus_jwt_expires_at: Timestamp,
    /// For the next renewal; the one before stays valid until this one is used.
    pub refresh_token: String,
    /// When the refresh token ends.
    pub refresh_token_expires_at: Timestamp,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// Is the body of `POST /api/v1/device/renew`.
///
/// Shape: the signature is over the form `renew` of GUID (text), refresh token (text, empty when there is none), issued at
/// (text), nonce (text).
#[derive(Clone, Serialize, Deserialize)]
pub struct Renew {
    /// The device.
    pub guid: Guid,
    /// The newest refresh token that the device has.
    pub refresh_token: Option<String>,
    /// When the device asked, by its clock.
    pub issued_at: Timestamp,
    /// 16 random bytes, base64url.
    pub nonce: String,
    /// The proof by the identity key.
    pub signature: SignatureBytes,
}

/// Answers [`Renew`].
#[derive(Clone, Serialize, Deserialize)]
pub struct Renewed {
    /// The new credentials.
    pub credentials: Credentials,
    /// The newest key set.
    pub key_set: SignedText,
    /// Whether an operator wants the device to draw a new identity key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotate_key: bool,
}

/// Is the body of `POST /api/v1/device/rotate-key`: a device has a new identity key, and shows that it has both.
///
/// Shape: both signatures are over the form `rotate-key` of [`RotateKey::fields`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RotateKey {
    /// The device.
    pub guid: Guid,
    /// The new identity key.
    pub public_key: PublicKey,
    /// The new X25519 key.
    pub exchange_key: PublicKey,
    /// The new identity key's signature over the form `exchange-key` of the new X25519 key.
    pub exchange_key_signature: SignatureBytes,
    /// When the device asked, by its clock.
    pub issued_at: Timestamp,
    /// 16 random bytes, base64url.
    pub nonce: String,
    /// The proof by the old identity key.
    pub old_signature: SignatureBytes,
    /// The proof by the new identity key.
    pub new_signature: SignatureBytes,
}

impl RotateKey {
    /// Returns what is signed: GUID, old key, new key, new X25519 key, issued at, nonce, all as text.
    pub fn fields(
        guid: &Guid,
        old: &PublicKey,
        new: &PublicKey,
        exchange: &PublicKey,
        issued_at: Timestamp,
        nonce: &str,
    ) -> [String; 6] {
        [
            guid.to_string(),
            old.to_string(),
            new.to_string(),
            exchange.to_string(),
            issued_at.to_string(),
            nonce.to_owned(),
        ]
    }

    /// Verifies all three signatures, given the key that the device had before.
    ///
    /// Errors: [`VerifyError`] of the first that does not fit.
    pub fn verify(&self, old: &PublicKey) -> Result<(), VerifyError> {
        let exchange: [&[u8]; 1] = [self.exchange_key.as_bytes()];
        self.public_key
            .verify(Form::ExchangeKey, &exchange, &self.exchange_key_signature)?;
        let fields = Self::fields(
            &self.guid,
            old,
            &self.public_key,
            &self.exchange_key,
            self.issued_at,
            &self.nonce,
        );
        let fields = fields.each_ref().map(|field| field.as_bytes());
        old.verify(Form::RotateKey, &fields, &self.old_signature)?;
        self.public_key.verify(Form::RotateKey, &fields, &self.new_signature)
    }
}

/// Answers [`RotateKey`]: from now on only the new key is the device's.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyRotated {
    /// What the device connects with, for the new key.
    pub credentials: Credentials,
}

/// Is the body of `POST /api/v1/codes`.
///
/// Whoever mints draws the code's secret and keeps it; the server is told what it needs to recognise the code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCode {
    /// The public key of the code's secret.
    pub public_key: PublicKey,
    /// The first four letters behind the code's prefix, by which people tell codes apart later.
    pub hint: String,
    /// Where its devices belong.
    #[serde(default = "SiteName::default_site")]
    pub site: SiteName,
    /// How often it may be used.
    #[serde(default = "once")]
    pub uses: u32,
    /// How long it lives; default 24 hours, at most 30 days.
    #[serde(default = "day")]
    pub lifetime_ms: u64,
    /// Whether its devices need no approval.
    #[serde(default)]
    pub auto_approve: bool,
}

const fn once() -> u32 {
    1
}
const fn day() -> u64 {
    24 * 3_600_000
}

/// Is an installer code as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CodeView {
    /// Names the code.
    pub id: CodeId,
    /// The first characters of the code behind its prefix, the rest hidden.
    pub masked: String,
    /// Where its devices belong.
    pub site: SiteName,
    /// How often it may be used.
    pub uses: u32,
    /// How often it may still be used.
    pub uses_left: u32,
    /// Whether its devices need no approval.
    pub auto_approve: bool,
    /// When it was minted.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// `active`, `used`, `expired` or `revoked`.
    pub state: String,
    /// SHA-256 of the deployment's CA certificate, lower hex, which stands in the code; only in the answer to its minting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
}

/// Is an enrolment request as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Names the request.
    pub id: ApprovalId,
    /// What the machine says its name is.
    pub hostname: String,
    /// Where it would belong.
    pub site: SiteName,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub arch: String,
    /// Its agent's version.
    pub agent_version: String,
    /// With which rights the agent acts.
    pub context: Context,
    /// The address it came from.
    pub address: String,
    /// The identity key's fingerprint.
    pub fingerprint: String,
    /// The fingerprint's beginning as short words, the same as in the agent's log.
    pub words: String,
    /// The installer code it used.
    pub code_id: CodeId,
    /// When it asked.
    pub requested_at: Timestamp,
    /// When the request ends.
    pub expires_at: Timestamp,
    /// `pending`, `approved`, `denied`, `expired` or `completed`.
    pub state: String,
    /// Why it was denied; while it waits, what is to be known before it is approved.
    pub reason: Option<String>,
    /// The device, once it is one.
    pub guid: Option<Guid>,
    /// What the request is in conflict with, while it waits.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

/// Is the body of `POST /api/v1/approvals/{id}/approve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Where the device belongs; its code's site when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// What becomes of the device that is known for the same machine under another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Resolution>,
    /// Tags that the device gets, besides those that it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<TagName>,
}

/// Is how many tags a device has at most.
pub const MAX_TAGS: usize = 32;

/// Is the body of `POST /api/v1/devices/{id}/tags`; a tag that is on both lists stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeTags {
    /// Tags that the device gets.
    #[serde(default)]
    pub add: BTreeSet<TagName>,
    /// Tags that it loses.
    #[serde(default)]
    pub remove: BTreeSet<TagName>,
}

/// Answers a change of a device's tags: what it has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTags {
    /// The device.
    pub guid: Guid,
    /// The host's name at its last enrolment.
    pub hostname: String,
    /// Its tags.
    pub tags: BTreeSet<TagName>,
}

/// Says what becomes of a device that is known for a machine which asks with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It goes on under the new key, with its history; its old key is worthless from then on. `merge` means the same.
    #[serde(alias = "merge")]
    Overwrite,
    /// It stays as it is; the new key is another device.
    CoExist,
}

impl std::str::FromStr for Resolution {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "overwrite" | "merge" => Ok(Resolution::Overwrite),
            "co-exist" | "co_exist" => Ok(Resolution::CoExist),
            _ => Err("overwrite (or merge) or co-exist".to_owned()),
        }
    }
}

/// Tells why an enrolment request needs a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// The machine is a device under another key: whoever approves says what becomes of that device.
    KnownMachine,
    /// The machine was a device under another key and was revoked or decommissioned: whoever approves says what it is now.
    ShutOutMachine,
    /// The key is a device that was revoked: an approval admits it again.
    RevokedDevice,
    /// The key is a device of another site: it is never moved by an enrolment.
    OtherSite,
    /// A device of another site has the same host name; nothing has to be decided.
    SameHostname,
}

/// Names the device that an enrolment request is in conflict with.
///
/// What stands in a site that the caller may not see is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Why.
    pub kind: ConflictKind,
    /// The device.
    pub guid: Option<Guid>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its site.
    pub site: Option<SiteName>,
}

/// Is the body of `POST /api/v1/approvals/{id}/deny`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Why, for the log and the machine's owner.
    #[serde(default)]
    pub reason: String,
}

/// Is the body of `POST /api/v1/devices/{id}/quarantine`, `…/release`, `…/revoke`, `…/decommission` and `…/rotate-key`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeStatus {
    /// Why, for the log and whoever looks at the device.
    #[serde(default)]
    pub reason: String,
}

/// Answers a change of a device's status: what the device is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStanding {
    /// The device.
    pub guid: Guid,
    /// The host's name at its last enrolment.
    pub hostname: String,
    /// Where it belongs.
    pub site: SiteName,
    /// `active`, `quarantined`, `revoked` or `decommissioned`.
    pub status: DeviceStatus,
    /// Why.
    pub status_reason: Option<String>,
    /// Who changed it last; none when the server did it by itself.
    pub status_by: Option<String>,
    /// Since when.
    pub status_at: Option<Timestamp>,
}
