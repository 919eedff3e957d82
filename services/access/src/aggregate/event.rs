//! What can have happened to access.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{GrantId, OperatorId, OperatorRoleName, PasskeyId, SessionId, SiteName};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::Reach;

use super::{GrantFacts, TokenFacts, Username};

/// Is what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A set-up link was made.
    SetupOpened {
        /// The public key of its secret.
        link: PublicKey,
        /// When.
        at: Timestamp,
    },
    /// The set-up link was used and is worthless now.
    SetupUsed {
        /// Who was made.
        operator: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// An operator exists.
    OperatorCreated {
        /// The operator.
        operator: OperatorId,
        /// The name.
        username: Username,
        /// The roles.
        roles: BTreeSet<OperatorRoleName>,
        /// From where set-up came.
        peer: String,
        /// When.
        at: Timestamp,
    },
    /// An operator was invited and has no password yet.
    OperatorInvited {
        /// The operator.
        operator: OperatorId,
        /// The name.
        username: Username,
        /// The roles.
        roles: BTreeSet<OperatorRoleName>,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// There is a link by which an operator's password can be set; an earlier one is over.
    LinkMade {
        /// Whose.
        operator: OperatorId,
        /// The public key of its secret.
        link: PublicKey,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
        /// Until when it works.
        expires_at: Timestamp,
    },
    /// The link was used.
    LinkUsed {
        /// Whose.
        operator: OperatorId,
        /// From where.
        peer: String,
        /// When.
        at: Timestamp,
    },
    /// An operator has other roles.
    RolesAssigned {
        /// The operator.
        operator: OperatorId,
        /// The roles from now on.
        roles: BTreeSet<OperatorRoleName>,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// An operator lost rights: what was minted before reaches no further than this.
    RightsChanged {
        /// The operator.
        operator: OperatorId,
        /// The epoch that begins.
        epoch: u64,
        /// What is left.
        reach: Reach,
        /// When.
        at: Timestamp,
    },
    /// An operator may do nothing any more.
    OperatorDisabled {
        /// The operator.
        operator: OperatorId,
        /// Why.
        reason: String,
        /// Whether for good.
        for_good: bool,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// An operator may act again.
    OperatorEnabled {
        /// The operator.
        operator: OperatorId,
        /// The epoch that begins.
        epoch: u64,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// An operator's password counts no more.
    PasswordCleared {
        /// Whose.
        operator: OperatorId,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// A role was made or changed.
    RoleSet {
        /// The role.
        role: OperatorRoleName,
        /// What it is for.
        description: String,
        /// What it may do.
        reach: Reach,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// A site was made or described.
    SiteSet {
        /// The site.
        site: SiteName,
        /// What it is.
        description: String,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// A password was set. Its body never leaves access.
    PasswordSet {
        /// Whose.
        operator: OperatorId,
        /// What it is checked against.
        record: Vec<u8>,
        /// When.
        at: Timestamp,
    },
    /// There is the secret of an authenticator app. Its body never leaves access.
    TotpOffered {
        /// Whose.
        operator: OperatorId,
        /// The session in which it was made.
        session: SessionId,
        /// The secret, sealed.
        sealed: Vec<u8>,
        /// When.
        at: Timestamp,
        /// Until when a code of it can be confirmed.
        until: Timestamp,
    },
    /// The app is the second factor from now on.
    TotpConfirmed {
        /// Whose.
        operator: OperatorId,
        /// The period of the code that confirmed it.
        step: u64,
        /// When.
        at: Timestamp,
    },
    /// A code of the app was used.
    TotpUsed {
        /// Whose.
        operator: OperatorId,
        /// Its period.
        step: u64,
        /// When.
        at: Timestamp,
    },
    /// There is no second factor any more, and no recovery code.
    FactorRemoved {
        /// Whose.
        operator: OperatorId,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// There are recovery codes in place of earlier ones. Its body never leaves access.
    RecoveryCodesMade {
        /// Whose.
        operator: OperatorId,
        /// Their digests.
        codes: BTreeSet<Digest>,
        /// When.
        at: Timestamp,
    },
    /// A recovery code was used.
    RecoveryCodeUsed {
        /// Whose.
        operator: OperatorId,
        /// Its digest.
        code: Digest,
        /// When.
        at: Timestamp,
    },
    /// An operator has another passkey. Its body never leaves access.
    PasskeyAdded {
        /// Whose.
        operator: OperatorId,
        /// The passkey.
        passkey: PasskeyId,
        /// The authenticator's name for it.
        credential: Vec<u8>,
        /// Its public key, a COSE map.
        key: Vec<u8>,
        /// The name of this server that it is for.
        rp_id: String,
        /// What its owner calls it.
        name: String,
        /// Its counter.
        counter: u32,
        /// When.
        at: Timestamp,
    },
    /// A passkey has another name.
    PasskeyNamed {
        /// Whose.
        operator: OperatorId,
        /// The passkey.
        passkey: PasskeyId,
        /// What its owner calls it from now on.
        name: String,
        /// When.
        at: Timestamp,
    },
    /// A passkey was used.
    PasskeyUsed {
        /// Whose.
        operator: OperatorId,
        /// The passkey.
        passkey: PasskeyId,
        /// The session that it began, or in which it was used once more.
        session: SessionId,
        /// Its counter.
        counter: u32,
        /// When.
        at: Timestamp,
    },
    /// A passkey serves no more.
    PasskeyRemoved {
        /// Whose.
        operator: OperatorId,
        /// The passkey.
        passkey: PasskeyId,
        /// By whom.
        by: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// An operator logged in.
    SessionStarted {
        /// The session.
        session: SessionId,
        /// Who.
        operator: OperatorId,
        /// The key that signs its requests.
        session_key: PublicKey,
        /// From where.
        peer: String,
        /// When.
        at: Timestamp,
        /// When it ends at the latest.
        expires_at: Timestamp,
    },
    /// The first start was given a session.
    BootstrapSessionStarted {
        /// The session.
        session: SessionId,
        /// The key that signs its requests.
        session_key: PublicKey,
        /// When.
        at: Timestamp,
        /// When it ends at the latest.
        expires_at: Timestamp,
    },
    /// The password was proved once more in a session.
    SessionProved {
        /// The session.
        session: SessionId,
        /// Whose.
        operator: OperatorId,
        /// When.
        at: Timestamp,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// A grant is over before its time.
    GrantRevoked {
        /// The grant.
        grant: GrantId,
        /// Why.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
    /// A grant was minted.
    GrantMinted(GrantFacts),
    /// An API token was made.
    TokenMinted(TokenFacts),
}
