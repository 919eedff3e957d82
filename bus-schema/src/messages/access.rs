//! What access is asked, and what it tells of log-ins.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::factor::{FactorKind, FactorProof};
use crate::forms::{PublicKey, SignatureBytes};
use crate::ids::{GrantId, Guid, JobId, OperatorId, OperatorRoleName, PasskeyId, ScheduleId, SessionId, SiteName};
use crate::operator::OperatorCall;
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is the body of `POST /api/v1/setup`: the set-up link makes the first operator, an invitation's sets an operator's password.
///
/// The link's secret is never sent: a link is named by its public key, and each step is proved by a signature over the form
/// `link-use`, see [`LinkUse`](crate::seeds::LinkUse).
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Setup {
    /// Begins the registration of a password (OPAQUE).
    Start {
        /// The link's public key.
        link: PublicKey,
        /// The operator's name.
        username: String,
        /// The OPAQUE registration request, base64url.
        registration_request: String,
        /// The proof by the link's key, of the start.
        proof: SignatureBytes,
    },
    /// Ends it.
    Finish {
        /// The link's public key.
        link: PublicKey,
        /// The operator's name.
        username: String,
        /// The same registration request as at the start.
        registration_request: String,
        /// The OPAQUE registration record, base64url.
        registration_record: String,
        /// The proof by the link's key, of all of it and of the server's response.
        proof: SignatureBytes,
    },
}

/// Answers [`Setup`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SetupAnswer {
    /// The registration goes on.
    Started {
        /// The OPAQUE registration response, base64url.
        registration_response: String,
    },
    /// The operator exists.
    Finished {
        /// The operator.
        operator: OperatorId,
    },
}

/// Is the body of `POST /api/v1/login`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Login {
    /// Begins a log-in (OPAQUE).
    Start {
        /// The operator's name.
        username: String,
        /// The OPAQUE credential request, base64url.
        login_request: String,
        /// The public key that the session is to be bound to.
        session_public_key: PublicKey,
    },
    /// Ends it.
    Finish {
        /// What the start answered.
        login_id: SessionId,
        /// The OPAQUE credential finalization, base64url.
        login_finalization: String,
        /// HMAC-SHA256 with the OPAQUE session key over the form `session-binding` of the session's public key, base64url.
        key_binding: String,
    },
    /// Proves the second factor, where the operator has one.
    Factor {
        /// What the second step answered.
        login_id: SessionId,
        /// The code's proof.
        factor: FactorProof,
    },
    /// Begins a log-in with a passkey; whose it is, the passkey says.
    PasskeyStart {
        /// The name by which the page was reached.
        host: String,
        /// The public key that the session is to be bound to.
        session_public_key: PublicKey,
    },
    /// Ends it.
    PasskeyFinish {
        /// What the start answered.
        login_id: SessionId,
        /// What the authenticator answered.
        assertion: PasskeyAssertion,
    },
}

/// Is an authenticator's answer by a passkey that exists (`AuthenticatorAssertionResponse`), all of it base64url.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeyAssertion {
    /// The authenticator's name for the passkey (`rawId`).
    pub credential_id: String,
    /// What the browser says of page and challenge.
    pub client_data_json: String,
    /// What the authenticator says of server and user.
    pub authenticator_data: String,
    /// The passkey's signature over both.
    pub signature: String,
    /// Whose the passkey is; every passkey that can begin a log-in says so.
    pub user_handle: String,
}

/// Is an authenticator's answer when it made a passkey (`AuthenticatorAttestationResponse`), all of it base64url.
///
/// No attestation is asked for, and none is looked at.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeyMade {
    /// What the browser says of page and challenge.
    pub client_data_json: String,
    /// What the authenticator says of server, user and the new key (`getAuthenticatorData()`).
    pub authenticator_data: String,
}

/// Is the body of `POST /api/v1/passkeys`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum RegisterPasskey {
    /// Begins it.
    Start {
        /// The name by which the page was reached.
        host: String,
    },
    /// Ends it.
    Finish {
        /// What the start answered.
        ceremony_id: SessionId,
        /// What the operator calls it.
        name: String,
        /// What the authenticator answered.
        made: PasskeyMade,
    },
}

/// Answers [`RegisterPasskey`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RegisterPasskeyAnswer {
    /// The authenticator is to make it.
    Started {
        /// Names what was begun.
        ceremony_id: SessionId,
        /// 32 random bytes, base64url; the challenge is made of them, see [`Asked`](crate::passkey::Asked).
        nonce: String,
        /// The name that the passkey is for.
        rp_id: String,
        /// Whose it is to be, base64url.
        user_handle: String,
        /// The operator's name.
        username: String,
        /// The operator's passkeys for this name, base64url: an authenticator that holds one of them makes no other.
        exclude: Vec<String>,
    },
    /// It exists.
    Made(PasskeyView),
}

/// Is a passkey as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyView {
    /// The passkey; by this id it is named and removed.
    pub id: PasskeyId,
    /// What the operator calls it.
    pub name: String,
    /// The name of this server that it is for.
    pub host: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used; null before that.
    pub last_used_at: Option<Timestamp>,
}

/// Is the body of `POST /api/v1/passkeys/{id}/rename`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenamePasskey {
    /// What the operator calls it from now on.
    pub name: String,
}

/// Is the body of `POST /api/v1/step-up/passkey`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum PasskeyStepUp {
    /// Begins it.
    Start {
        /// The name by which the page was reached.
        host: String,
        /// The digest of the one request that it is for, base64url, see
        /// [`OperatorCall::act`](crate::operator::OperatorCall::act); left out where it is for whatever is done in the next
        /// ten minutes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        act: Option<String>,
    },
    /// Ends it.
    Finish {
        /// What the start answered.
        ceremony_id: SessionId,
        /// What the authenticator answered.
        assertion: PasskeyAssertion,
    },
}

/// Answers [`PasskeyStepUp`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PasskeyStepUpAnswer {
    /// The authenticator is asked.
    Started {
        /// Names what was begun.
        ceremony_id: SessionId,
        /// 32 random bytes, base64url; the challenge is made of them, see [`Asked`](crate::passkey::Asked).
        nonce: String,
        /// The name that the passkey has to be for.
        rp_id: String,
        /// The operator's passkeys for this name, base64url.
        allow: Vec<String>,
    },
    /// The session goes on with a biscuit that says so.
    Done {
        /// The session's new biscuit, base64url; the old one stays what it is.
        token: String,
        /// The session.
        session_id: SessionId,
        /// The operator's name.
        username: String,
        /// When the session ends at the latest.
        expires_at: Timestamp,
        /// When it was proved.
        proved_at: Timestamp,
    },
}

/// Answers [`Login`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoginAnswer {
    /// The log-in goes on.
    Started {
        /// Names the log-in.
        login_id: SessionId,
        /// The OPAQUE credential response, base64url.
        login_response: String,
    },
    /// The password fits; the second factor has to be proved as well.
    FactorNeeded {
        /// Names the log-in from now on.
        login_id: SessionId,
        /// What serves.
        factors: Vec<FactorKind>,
    },
    /// The passkey is to answer.
    PasskeyAsked {
        /// Names the log-in.
        login_id: SessionId,
        /// 32 random bytes, base64url; the challenge is made of them, see [`Asked`](crate::passkey::Asked).
        nonce: String,
        /// The name that the passkey has to be for.
        rp_id: String,
    },
    /// The session exists.
    Finished {
        /// The session's biscuit, base64url.
        token: String,
        /// The session.
        session_id: SessionId,
        /// The operator's name.
        username: String,
        /// When the session ends at the latest.
        expires_at: Timestamp,
    },
}

/// Is the parameter of `GET /api/v1/session` with which it is only looked whether the session stands: that is no use of it.
pub const LOOK_ONLY: &str = "look_only";

/// Answers `GET /api/v1/session`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The session.
    pub session_id: SessionId,
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// The rights it carries.
    pub rights: Vec<String>,
    /// The sites they reach; `*` for all.
    pub sites: Vec<String>,
    /// The same, right by right.
    #[serde(default)]
    pub reach: Vec<RightOnSites>,
    /// Whether the operator's log-ins take a second factor.
    #[serde(default)]
    pub second_factor: bool,
    /// How many recovery codes are left.
    #[serde(default)]
    pub recovery_codes_left: usize,
    /// How many passkeys the operator has.
    #[serde(default)]
    pub passkeys: usize,
    /// When password or passkey was last proved in this session, as the biscuit says; null for an API token.
    #[serde(default)]
    pub proved_at: Option<Timestamp>,
}

/// Is the body of the routes on which whoever is logged in proves the password once more, and the second factor where there
/// is one: `POST /api/v1/step-up`, `POST /api/v1/totp/enrol` and `POST /api/v1/recovery-codes`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ProveAgain {
    /// Begins the proof (OPAQUE).
    Start {
        /// The OPAQUE credential request, base64url.
        login_request: String,
    },
    /// Ends it.
    Finish {
        /// What the start answered.
        exchange_id: SessionId,
        /// The OPAQUE credential finalization, base64url.
        login_finalization: String,
        /// The proof of a code, where the operator has a second factor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factor: Option<FactorProof>,
    },
}

/// Answers [`ProveAgain::Start`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProofStarted {
    /// Names the exchange.
    pub exchange_id: SessionId,
    /// The OPAQUE credential response, base64url.
    pub login_response: String,
    /// What serves as the second factor; empty where the operator has none.
    pub factors: Vec<FactorKind>,
}

/// Answers `POST /api/v1/step-up`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StepUpAnswer {
    /// The proof goes on.
    Started(ProofStarted),
    /// The session goes on with a biscuit that says so.
    Done {
        /// The session's new biscuit, base64url; the old one stays what it is.
        token: String,
        /// The session.
        session_id: SessionId,
        /// The operator's name.
        username: String,
        /// When the session ends at the latest.
        expires_at: Timestamp,
        /// When the password was proved.
        proved_at: Timestamp,
    },
}

/// Answers `POST /api/v1/totp/enrol`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnrolTotpAnswer {
    /// The proof goes on.
    Started(ProofStarted),
    /// Both sides know the app's secret; it counts once a code of it was confirmed.
    Offered {
        /// Until when a code of it can be confirmed.
        confirm_until: Timestamp,
    },
}

/// Answers `POST /api/v1/recovery-codes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecoveryCodesAnswer {
    /// The proof goes on.
    Started(ProofStarted),
    /// Both sides know the new codes; earlier ones are void.
    Made(FactorStanding),
}

/// Is the body of `POST /api/v1/totp/confirm`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTotp {
    /// A code that the app shows; it is used up by this.
    pub code: String,
}

/// Says what an operator has besides the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorStanding {
    /// Whether log-ins take a second factor.
    pub second_factor: bool,
    /// How many recovery codes are left.
    pub recovery_codes_left: usize,
}

/// Is a session as its operator and those who manage operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// From which address it was begun.
    pub peer: String,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it was last in use; this is not kept over a restart of the server.
    pub last_seen_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Whether it is the caller's own.
    pub current: bool,
}

/// Is the body of `POST /api/v1/password`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ChangePassword {
    /// Begins to prove the old password and to register the new one (OPAQUE).
    Start {
        /// The OPAQUE credential request for the old password, base64url.
        login_request: String,
        /// The OPAQUE registration request for the new one, base64url.
        registration_request: String,
    },
    /// Ends both.
    Finish {
        /// What the start answered.
        change_id: SessionId,
        /// The OPAQUE credential finalization for the old password, base64url.
        login_finalization: String,
        /// The OPAQUE registration record for the new one, base64url.
        registration_record: String,
        /// The second factor, of whoever has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factor: Option<FactorProof>,
    },
}

/// Answers [`ChangePassword`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChangePasswordAnswer {
    /// The change goes on.
    Started {
        /// Names the change.
        change_id: SessionId,
        /// The OPAQUE credential response, base64url.
        login_response: String,
        /// The OPAQUE registration response, base64url.
        registration_response: String,
        /// What serves as the second factor; empty for whoever has none.
        factors: Vec<FactorKind>,
    },
    /// The password is the new one; the operator's other sessions are over.
    Finished {
        /// How many other sessions were ended.
        sessions_ended: usize,
    },
}

/// Is an API token as its author and those who manage operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// The token; by this id it is revoked.
    pub id: SessionId,
    /// What it is for.
    pub name: String,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// SHA-256 of the token's public key, lower hex.
    pub key_fingerprint: String,
    /// What it may do, and where, as long as its author may.
    pub rights: Vec<RightOnSites>,
    /// The devices that it is for; null where it is for all that its sites have.
    pub devices: Option<Vec<Guid>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// `active`, `revoked` or `expired`.
    pub state: String,
    /// The biscuit, shown once; with the key, which never left whoever made it, it is the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biscuit: Option<String>,
}

/// Is the body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    pub name: String,
    /// The public key that the token is bound to.
    pub public_key: PublicKey,
    /// What it may do, and where.
    pub rights: Vec<RightOnSites>,
    /// The devices that it is for; null where it is for all that its sites have.
    #[serde(default)]
    pub devices: Option<Vec<Guid>>,
    /// How long it lives, in milliseconds; at most a year.
    pub lifetime_ms: u64,
}

/// Is a right with the sites that it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightOnSites {
    /// The right, such as `jobs.run`.
    pub right: String,
    /// The sites; `*` for all.
    pub sites: Vec<String>,
    /// How many devices a job there may have without another operator's approval; null, or left out, without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_devices: Option<u64>,
}

/// Is an operator as others see one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// The operator.
    pub id: OperatorId,
    /// The name.
    pub username: String,
    /// The roles.
    pub roles: Vec<OperatorRoleName>,
    /// `invited`, `active`, `disabled` or `deleted`.
    pub state: String,
    /// When the operator was made or invited.
    pub created_at: Timestamp,
    /// By whom; null for the first one.
    pub created_by: Option<String>,
    /// When the operator last logged in.
    pub last_login_at: Option<Timestamp>,
    /// Until when the operator's link works, while there is one.
    pub link_expires_at: Option<Timestamp>,
    /// Whether the operator's log-ins take a second factor.
    #[serde(default)]
    pub second_factor: bool,
    /// How many passkeys the operator has.
    #[serde(default)]
    pub passkeys: usize,
}

/// Is the body of `POST /api/v1/users`.
///
/// Whoever invites draws the link's secret, which stands behind `#` in `https://host:port/setup#…`, and keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteUser {
    /// The public key of the link's secret.
    pub link: PublicKey,
    /// The operator's name.
    pub username: String,
    /// The roles.
    pub roles: Vec<OperatorRoleName>,
}

/// Is the body of `POST /api/v1/users/{id}/reset`; the link's secret stays with whoever resets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetUser {
    /// The public key of the link's secret.
    pub link: PublicKey,
}

/// Is the body of `POST /api/v1/users/{id}/roles`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUserRoles {
    /// The roles that the operator has from now on.
    pub roles: Vec<OperatorRoleName>,
}

/// Is the body of `POST /api/v1/users/{id}/disable`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DisableUser {
    /// Why, for the log.
    pub reason: String,
    /// Whether it is for good: the operator is deleted, and the name is free again.
    pub for_good: bool,
}

/// Is a role of operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleView {
    /// Its name.
    pub name: OperatorRoleName,
    /// What it is for.
    pub description: String,
    /// What it may do, and where.
    pub rights: Vec<RightOnSites>,
    /// On how many devices a job may be without another operator's approval; null without a limit.
    #[serde(default)]
    pub max_devices: Option<u64>,
    /// Whether it can be changed.
    pub fixed: bool,
    /// How many operators have it.
    pub users: usize,
}

/// Is the body of `POST /api/v1/roles`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    /// Its name.
    pub name: OperatorRoleName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it may do, and where.
    pub rights: Vec<RightOnSites>,
    /// On how many devices a job may be without another operator's approval; left out, or null, without a limit.
    #[serde(default)]
    pub max_devices: Option<u64>,
}

/// Is the body of `POST /api/v1/roles/{id}`; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRole {
    /// What it is for.
    pub description: Option<String>,
    /// What it may do, and where.
    pub rights: Option<Vec<RightOnSites>>,
    /// On how many devices a job may be without another operator's approval; null ends the limit.
    #[serde(with = "left_out_or_null", skip_serializing_if = "Option::is_none")]
    pub max_devices: Option<Option<u64>>,
}

/// Tells what is left out from what is null.
mod left_out_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Option<u64>>, to: S) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
}

/// Is a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    /// Its name.
    pub name: SiteName,
    /// What it is.
    pub description: String,
    /// When it was made; null for the one that every deployment has.
    pub created_at: Option<Timestamp>,
}

/// Is the body of `POST /api/v1/sites`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSite {
    /// Its name.
    pub name: SiteName,
    /// What it is.
    #[serde(default)]
    pub description: String,
}

/// Is the body of `POST /api/v1/sites/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateSite {
    /// What it is.
    pub description: String,
}

/// Asks for a grant: the right to act later on exactly this signed request.
///
/// The asker's biscuit travels in the message's header: what it was narrowed to, the grant is narrowed to. Without one nothing
/// is granted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MintGrant {
    /// The operator's signed request.
    pub call: OperatorCall,
    /// When the grant ends; access never grants longer than its own limit.
    pub expires_at: Timestamp,
}

/// Is a minted grant.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    /// The grant.
    pub grant: GrantId,
    /// The grant's biscuit, base64url: author, session key, digest of the request, end.
    pub token: String,
}

/// Says what a grant was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantFor {
    /// A job.
    Job,
    /// A schedule.
    Schedule,
    /// The approval of another operator's job.
    Approval,
}

/// Is a grant that lives, as its author and those who manage operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// The grant; by this id it is revoked.
    pub id: GrantId,
    /// What it was given for; null of one that is older than this word.
    pub acts: Option<GrantFor>,
    /// The job that it was given for.
    pub job: Option<JobId>,
    /// The schedule that it was given for.
    pub schedule: Option<ScheduleId>,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// Whether an API token asked for it.
    pub by_token: bool,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// `active` or `revoked`.
    pub state: String,
}

/// Asks that a grant be over: what it was given for is done, or was ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokeGrant {
    /// The grant.
    pub grant: GrantId,
    /// Why.
    pub reason: String,
}

/// Says that a grant is over, now or since long ago.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantOver {
    /// The grant.
    pub grant: GrantId,
}

impl Request for RevokeGrant {
    type Reply = GrantOver;
    const SERVICE: Service = Service::Access;
    const VERB: &'static str = "grant-revoke";
}

impl Request for MintGrant {
    type Reply = Grant;
    const SERVICE: Service = Service::Access;
    const VERB: &'static str = "grant-mint";
}

/// Is what `up` may ask access over the pipe that access inherited: a session of minutes for the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootstrapSession {
    /// The public key that the session is to be bound to.
    pub session_public_key: PublicKey,
    /// How long the session lives, in milliseconds; at most 15 minutes.
    pub lifetime_ms: i64,
}
