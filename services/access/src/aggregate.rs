//! What access decides: set-up, operators, roles, sites, sessions, grants. Pure; time, ids and whatever was verified before
//! come in as facts.
//!
//! One small state for the whole service: operators with their roles, the roles, the sites, the links by which passwords are
//! set, and sessions; a grant needs nothing but its event. A single writer decides and appends one command after the other.
//!
//! What an operator may do is the sum of the roles at the moment of asking. When it shrinks, an event of its own says so
//! ([`Event::RightsChanged`]), for what was minted before must shrink with it.

use std::collections::BTreeMap;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, OperatorId, OperatorRoleName, SessionId, SiteName};
use borealis_bus_schema::messages::access::GrantFor;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::Reach;

pub mod roles;

mod checks;
mod event;
mod factors;
mod grants;
mod operator;
mod passkeys;
mod people;
mod rejection;
mod sessions;
mod setup;
mod tokens;

#[cfg(test)]
mod tests;

pub use checks::{MAX_PAIRS, MAX_TEXT_CHARS};
pub use event::Event;
pub use factors::{FactorCommand, FactorUse, Factors, OFFER_LIFE_MS, Proved};
pub use grants::{GRANT_LIFE_MS, GrantFacts, GrantPlace, LiveGrant, LiveGrants, SCHEDULE_GRANT_LIFE_MS};
pub use operator::{Operator, Standing, Username};
pub use passkeys::{MAX_PASSKEY_NAME_CHARS, MAX_PASSKEYS, Passkey, PasskeyCommand};
pub use people::{LINK_LIFE_MS, Link, LinkFor, Status, UserCommand};
pub use rejection::Rejection;
pub use roles::{Role, RoleCommand, Site};
pub use sessions::{
    BOOTSTRAP_LIFE_MS, BOOTSTRAP_NAME, BOOTSTRAP_OPERATOR, BOOTSTRAP_RIGHTS, SESSION_IDLE_MS, SESSION_LIFE_MS, Session,
};
pub use setup::{Setup, may_set_up};
pub use tokens::{ApiToken, Asker, TOKEN_LIFE_MS, TokenCommand, TokenFacts};

/// Holds all that access decides by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Where set-up stands.
    pub setup: Setup,
    /// The operators.
    pub operators: BTreeMap<OperatorId, Operator>,
    /// The operators by name; deleted ones have none.
    pub names: BTreeMap<Username, OperatorId>,
    /// The roles that were made, and those of the default ones that were changed.
    pub roles: BTreeMap<OperatorRoleName, Role>,
    /// The sites that were made or described.
    pub sites: BTreeMap<SiteName, Site>,
    /// Links that are over; whether they were used.
    pub spent_links: BTreeMap<PublicKey, bool>,
    /// The sessions that are alive or were so within the last day.
    pub sessions: BTreeMap<SessionId, Session>,
    /// The API tokens that live, or did so within the last day.
    pub tokens: BTreeMap<SessionId, ApiToken>,
}

/// Is whoever asks for a change of operators, roles or sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The operator.
    pub operator: OperatorId,
    /// What the token in use may do; never more than the operator may.
    pub reach: Reach,
}

/// Is what happens to access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a set-up link, or another in place of one whose secret was lost.
    OpenSetup {
        /// The public key of the link's secret.
        link: PublicKey,
    },
    /// Makes the first operator through the set-up link.
    FinishSetup {
        /// The link whose secret was proved.
        link: PublicKey,
        /// The name.
        username: Username,
        /// What the password is checked against.
        record: Vec<u8>,
        /// From where.
        peer: String,
    },
    /// Changes who the operators are.
    User(UserCommand),
    /// Changes roles and sites.
    Role(RoleCommand),
    /// Makes and revokes API tokens.
    Token(TokenCommand),
    /// Changes second factors.
    Factor(FactorCommand),
    /// Makes, uses and removes passkeys.
    Passkey(PasskeyCommand),
    /// Begins the session of an operator who proved the password.
    StartSession {
        /// The operator.
        operator: OperatorId,
        /// What was proved.
        proved: Proved,
        /// The key that the log-in bound.
        session_key: PublicKey,
        /// From where.
        peer: String,
    },
    /// Begins the session of minutes with which the first start acts.
    StartBootstrap {
        /// The key that signs its requests.
        session_key: PublicKey,
        /// How long it is to live, in milliseconds.
        lifetime_ms: i64,
    },
    /// Ends a session.
    EndSession {
        /// The session.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// Mints a grant for a request that the session's key signed.
    MintGrant {
        /// The session that asked.
        session: SessionId,
        /// The command of the request.
        command: CommandId,
        /// The digest of the request.
        call_digest: Digest,
        /// When the grant is to end.
        expires_at: Timestamp,
        /// What it is for.
        acts: GrantFor,
        /// Who asks, by the biscuit.
        asker: Asker,
    },
    /// Ends a grant that lives.
    RevokeGrant {
        /// The grant.
        grant: GrantId,
        /// Its author.
        author: OperatorId,
        /// Why.
        reason: String,
        /// Who asks; none where nothing of it is to come any more.
        by: Option<Actor>,
    },
}

/// Is what a decision may not draw by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
    /// 16 random bytes for the one id that the command makes.
    pub id: [u8; 16],
}

/// Decides a command.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub fn decide(state: &State, command: Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        Command::OpenSetup { link } => setup::open(state, link, at),
        Command::FinishSetup {
            link,
            username,
            record,
            peer,
        } => setup::finish(state, link, username, record, peer, facts),
        Command::User(command) => people::decide(state, command, facts),
        Command::Role(command) => roles::decide(state, command, facts),
        Command::Token(command) => tokens::decide(state, command, facts),
        Command::Factor(command) => factors::decide(state, command, facts),
        Command::Passkey(command) => passkeys::decide(state, command, facts),
        Command::StartSession {
            operator,
            proved,
            session_key,
            peer,
        } => sessions::start(state, operator, proved, session_key, peer, facts),
        Command::StartBootstrap {
            session_key,
            lifetime_ms,
        } => sessions::start_bootstrap(session_key, lifetime_ms, facts),
        Command::EndSession { session, reason } => sessions::end(state, session, reason, at),
        Command::MintGrant {
            session,
            command,
            call_digest,
            expires_at,
            acts,
            asker,
        } => grants::mint(state, session, command, call_digest, (expires_at, acts), asker, facts),
        Command::RevokeGrant {
            grant,
            author,
            reason,
            by,
        } => grants::revoke(state, grant, &author, reason, by.as_ref(), at),
    }
}

/// Applies what happened.
#[must_use]
pub fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::SetupOpened { .. } | Event::SetupUsed { .. } | Event::OperatorCreated { .. } => {
            setup::evolve(&mut state, event);
        }
        Event::OperatorInvited { .. }
        | Event::LinkMade { .. }
        | Event::LinkUsed { .. }
        | Event::RolesAssigned { .. }
        | Event::RightsChanged { .. }
        | Event::OperatorDisabled { .. }
        | Event::OperatorEnabled { .. }
        | Event::PasswordSet { .. }
        | Event::PasswordCleared { .. } => people::evolve(&mut state, event),
        Event::RoleSet { .. } | Event::SiteSet { .. } => roles::evolve(&mut state, event),
        Event::TotpOffered { .. }
        | Event::TotpConfirmed { .. }
        | Event::TotpUsed { .. }
        | Event::FactorRemoved { .. }
        | Event::RecoveryCodesMade { .. }
        | Event::RecoveryCodeUsed { .. } => factors::evolve(&mut state, event),
        Event::PasskeyAdded { .. }
        | Event::PasskeyNamed { .. }
        | Event::PasskeyUsed { .. }
        | Event::PasskeyRemoved { .. } => passkeys::evolve(&mut state, event),
        Event::SessionStarted { .. } | Event::BootstrapSessionStarted { .. } | Event::SessionEnded { .. } => {
            sessions::evolve(&mut state, event);
        }
        Event::TokenMinted(facts) => {
            let (token, facts) = (facts.token, facts.clone());
            state.tokens.insert(token, ApiToken { facts, revoked: false });
        }
        Event::GrantMinted(_) | Event::GrantRevoked { .. } | Event::SessionProved { .. } => {}
    }
    state
}
