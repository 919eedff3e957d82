//! What access decides: set-up, operators, roles, sites, sessions, grants. Pure; time, ids and whatever was verified before
//! come in as facts.
//!
//! One small state for the whole service: operators with their roles, the roles, the sites, the links by which passwords are
//! set, and sessions; a grant needs nothing but its event. A single writer decides and appends one command after the other.
//!
//! What an operator may do is the sum of the roles at the moment of asking. When it shrinks, an event of its own says so
//! ([`Event::RightsChanged`]), for what was minted before must shrink with it.

use std::collections::{BTreeMap, BTreeSet};

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, OperatorRoleName, SessionId, SiteName};
use borealis_bus_schema::messages::scheduler::MAX_EXPIRES_IN_MS;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, Sites, reach};

pub mod roles;

mod factors;
mod people;
mod tokens;

#[cfg(test)]
mod tests;

pub use factors::{FactorCommand, FactorUse, Factors, OFFER_LIFE_MS, Proved};
pub use people::{LINK_LIFE_MS, Link, LinkFor, Status, UserCommand};
pub use roles::{Role, RoleCommand, Site};
pub use tokens::{ApiToken, Asker, TOKEN_LIFE_MS, TokenCommand, TokenFacts};

/// Is how long a session lives at most, in milliseconds: 12 hours.
pub const SESSION_LIFE_MS: i64 = 12 * 3_600_000;

/// Is after how long without use a session ends, in milliseconds: 60 minutes.
pub const SESSION_IDLE_MS: i64 = 60 * 60_000;

/// Is how long a session of the first start lives at most, in milliseconds: 15 minutes.
pub const BOOTSTRAP_LIFE_MS: i64 = 15 * 60_000;

/// Is how long a grant lives at most, in milliseconds: as long as a run may wait.
pub const GRANT_LIFE_MS: i64 = MAX_EXPIRES_IN_MS.cast_signed();

/// Is how long ended sessions are still told from unknown ones, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 3_600_000;

/// Is the name under which the first start acts; no operator can have it.
pub const BOOTSTRAP_NAME: &str = "bootstrap";

/// Is the operator under which the first start acts.
pub const BOOTSTRAP_OPERATOR: OperatorId = OperatorId::from_bytes([0; 16]);

/// Lists what a session of the first start may do: mint a code, approve one device, run one job.
pub const BOOTSTRAP_RIGHTS: [Right; 7] = [
    Right::CodesCreate,
    Right::CodesRead,
    Right::ApprovalsRead,
    Right::ApprovalsDecide,
    Right::DevicesRead,
    Right::JobsRun,
    Right::JobsRead,
];

/// Is an operator's name as it was checked and brought to its one form.
///
/// Shape: 1 to 64 of `a-z 0-9 . _ - @`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Username(String);

impl Username {
    /// Takes a name as a person typed it: spaces around it and capitals do not count.
    pub fn new(text: &str) -> Option<Self> {
        let name = text.trim().to_lowercase();
        let fits = (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'@'));
        (fits && name != BOOTSTRAP_NAME).then_some(Self(name))
    }

    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Is an operator's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name.
    pub username: Username,
    /// The roles, whose rights add up.
    pub roles: BTreeSet<OperatorRoleName>,
    /// Whether the operator may act.
    pub status: Status,
    /// How often the standing changed so that what was minted before is worth less.
    pub epoch: u64,
    /// What a password is checked against; none before one is set.
    pub record: Option<Vec<u8>>,
    /// What the operator has besides the password.
    pub factors: Factors,
    /// The link by which a password can be set, while there is one.
    pub link: Option<Link>,
    /// Addresses from which this operator proved the password; for log-ins from there some of the attempts are kept.
    pub known_peers: BTreeSet<String>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// By whom; none for the first one.
    pub created_by: Option<OperatorId>,
    /// When the password was last proved.
    pub last_login_at: Option<Timestamp>,
}

/// Is a session: alive, or over not long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub operator: OperatorId,
    /// The key that signs its requests.
    pub session_key: PublicKey,
    /// From where it was begun.
    pub peer: String,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Whether it was ended before that.
    pub ended: bool,
}

/// Is a grant as it was minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFacts {
    /// The grant.
    pub grant: GrantId,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// The session in which it was asked for.
    pub session: SessionId,
    /// The key that signed the request.
    pub session_key: PublicKey,
    /// The command of the request.
    pub command: CommandId,
    /// The digest of the request it covers.
    pub call_digest: Digest,
    /// The sites it reaches.
    pub sites: Sites,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The author's epoch when it was minted.
    pub epoch: u64,
    /// The devices that it is for; none where it is for all that its sites have.
    pub devices: Option<BTreeSet<Guid>>,
    /// Whether an API token asked for it.
    pub by_token: bool,
}

/// Says where the set-up of the first operator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setup {
    /// No link was made yet.
    #[default]
    Unopened,
    /// Whoever holds the secret of this public key may make the first operator.
    Open(PublicKey),
    /// There is an operator.
    Done,
}

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

impl State {
    /// Finds an operator by name.
    pub fn operator(&self, name: &Username) -> Option<(OperatorId, &Operator)> {
        let id = self.names.get(name)?;
        self.operators.get(id).map(|operator| (*id, operator))
    }

    /// Tells whether somebody has logged in from an address; of whom would tell which names exist.
    pub fn knows_peer(&self, peer: &str) -> bool {
        self.operators
            .values()
            .any(|account| account.known_peers.contains(peer))
    }

    /// Forgets sessions whose time was over a day ago; an unknown one is refused like one that is over.
    pub fn forget_ended(&mut self, now: Timestamp) {
        let since = now.plus_ms(-REMEMBERED_MS);
        self.sessions.retain(|_, session| since < session.expires_at);
        self.tokens.retain(|_, token| since < token.facts.expires_at);
    }

    /// Lists an operator's sessions that may act now.
    pub fn live_sessions_of(&self, operator: &OperatorId, now: Timestamp) -> impl Iterator<Item = SessionId> {
        let lives = move |session: &&SessionId| self.live_session(session, now).is_ok();
        let theirs = self
            .sessions
            .iter()
            .filter(|(_, session)| session.operator == *operator);
        theirs.map(|(id, _)| id).filter(lives).copied()
    }

    /// Finds a session that may act now.
    ///
    /// Errors: [`Rejection::SessionUnknown`], [`Rejection::SessionEnded`], [`Rejection::SessionExpired`].
    pub fn live_session(&self, session: &SessionId, now: Timestamp) -> Result<&Session, Rejection> {
        let found = self.sessions.get(session).ok_or(Rejection::SessionUnknown)?;
        match found {
            Session { ended: true, .. } => Err(Rejection::SessionEnded),
            Session { expires_at, .. } if now >= *expires_at => Err(Rejection::SessionExpired),
            live => Ok(live),
        }
    }

    /// Tells an operator's name and what the operator may do now; those of the first start included.
    ///
    /// Errors: [`Rejection::OperatorUnknown`], also for one who is disabled.
    pub fn standing(&self, operator: &OperatorId) -> Result<Standing, Rejection> {
        if *operator == BOOTSTRAP_OPERATOR {
            return Ok(Standing {
                username: BOOTSTRAP_NAME.to_owned(),
                reach: BOOTSTRAP_RIGHTS.into_iter().map(|right| (right, Sites::All)).collect(),
                epoch: 0,
            });
        }
        let account = self.operators.get(operator).ok_or(Rejection::OperatorUnknown)?;
        if account.status != Status::Active {
            return Err(Rejection::OperatorUnknown);
        }
        Ok(Standing {
            username: account.username.as_str().to_owned(),
            reach: self.reach_of(&account.roles),
            epoch: account.epoch,
        })
    }
}

/// Is what an operator is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The name.
    pub username: String,
    /// The rights, each with its sites.
    pub reach: Reach,
    /// How often the standing changed.
    pub epoch: u64,
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
        /// What the asker's biscuit was narrowed to; none where none came.
        narrowed: Option<Asker>,
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
    /// A grant was minted.
    GrantMinted(GrantFacts),
    /// An API token was made.
    TokenMinted(TokenFacts),
}

/// States the rule that a command breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is an operator already.
    #[error("there is an operator already; the set-up link is closed")]
    SetupDone,
    /// The secret is not the current link's.
    #[error("the set-up link is not the current one")]
    SecretWrong,
    /// Whoever asks is no operator any more.
    #[error("the operator is disabled, or was deleted")]
    OperatorUnknown,
    /// There is no operator of this id.
    #[error("there is no such operator")]
    UserUnknown,
    /// The name is another operator's.
    #[error("an operator of this name exists")]
    UsernameTaken,
    /// An operator without a role could do nothing.
    #[error("an operator has at least one role")]
    NoRole,
    /// The operator is disabled, or is not.
    #[error("{0}")]
    WrongStatus(&'static str),
    /// Nobody gives, changes or takes away more than they hold.
    #[error("this takes rights that you do not hold yourself")]
    ExceedsOwnRights,
    /// Nobody would be left who may do everything.
    #[error("this is the last administrator who can log in")]
    LastAdministrator,
    /// The public key is that of another link.
    #[error("another link has this public key")]
    LinkKeyTaken,
    /// The link was used.
    #[error("the link was used; ask for another")]
    LinkUsed,
    /// The link's time is over.
    #[error("the link's time is over, or a newer one took its place")]
    LinkExpired,
    /// The link is another operator's.
    #[error("the link is for another user name")]
    LinkOfAnother,
    /// The password alone is not enough.
    #[error("a code of the second factor is needed besides the password")]
    FactorRequired,
    /// The code does not fit, or was used before.
    #[error("the code does not fit, or was used before")]
    FactorWrong,
    /// There is no app to confirm.
    #[error("there is no authenticator app to confirm; enrol it again, in the same session")]
    NothingOffered,
    /// There is no such role.
    #[error("there is no such role")]
    RoleUnknown,
    /// There is no role of this id.
    #[error("there is no such role")]
    RoleMissing,
    /// The role exists.
    #[error("a role of this name exists")]
    RoleExists,
    /// The role is always what it is.
    #[error("the role administrator always holds every right")]
    RoleFixed,
    /// There is no such site.
    #[error("there is no such site")]
    SiteUnknown,
    /// There is no site of this id.
    #[error("there is no such site")]
    SiteMissing,
    /// The site exists.
    #[error("a site of this name exists")]
    SiteExists,
    /// There is no API token of this id, or it was over long ago.
    #[error("there is no such API token")]
    TokenMissing,
    /// A token that may do nothing is of no use.
    #[error("an API token holds at least one right, and names at least one device where it names any")]
    TokenEmpty,
    /// A token lives for a minute to a year.
    #[error("an API token lives for a minute at least and a year at most")]
    TokenLifetime,
    /// The rights would make a token that browsers do not keep.
    #[error("rights name at most {MAX_PAIRS} pairs of a right and a site; give a right on every site instead")]
    TooWide,
    /// A text is longer than any that is kept.
    #[error("the text is longer than {MAX_TEXT_CHARS} characters")]
    TextTooLong,
    /// There is no session of this id, or it was over long ago.
    #[error("there is no such session")]
    SessionMissing,
    /// There is no such session, or it was over long ago.
    #[error("there is no such session")]
    SessionUnknown,
    /// The session was ended.
    #[error("the session was ended")]
    SessionEnded,
    /// The session's time is over.
    #[error("the session's time is over")]
    SessionExpired,
    /// A right is missing.
    #[error("the right {} is missing", .0.as_str())]
    RightMissing(Right),
    /// A grant must end in the future.
    #[error("the grant would end before it begins")]
    GrantEnded,
    /// A session of the first start lives for at least a second.
    #[error("the session would end before it begins")]
    LifetimeTooShort,
}

/// Decides a command.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub fn decide(state: &State, command: Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        Command::OpenSetup { link } => match state.setup {
            Setup::Done => Err(Rejection::SetupDone),
            Setup::Unopened | Setup::Open(_) => Ok(vec![Event::SetupOpened { link, at }]),
        },
        Command::FinishSetup {
            link,
            username,
            record,
            peer,
        } => {
            may_set_up(state, link)?;
            let operator = OperatorId::from_bytes(facts.id);
            Ok(vec![
                Event::SetupUsed { operator, at },
                Event::OperatorCreated {
                    operator,
                    username,
                    roles: [OperatorRoleName::administrator()].into(),
                    peer,
                    at,
                },
                Event::PasswordSet { operator, record, at },
            ])
        }
        Command::User(command) => people::decide(state, command, facts),
        Command::Role(command) => roles::decide(state, command, facts),
        Command::Token(command) => tokens::decide(state, command, facts),
        Command::Factor(command) => factors::decide(state, command, facts),
        Command::StartSession {
            operator,
            proved,
            session_key,
            peer,
        } => {
            let account = state.operators.get(&operator).ok_or(Rejection::OperatorUnknown)?;
            let used = account.prove(operator, proved, at)?;
            let started = Event::SessionStarted {
                session: SessionId::from_bytes(facts.id),
                operator,
                session_key,
                peer,
                at,
                expires_at: at.plus_ms(SESSION_LIFE_MS),
            };
            Ok(std::iter::once(started).chain(used).collect())
        }
        Command::StartBootstrap {
            session_key,
            lifetime_ms,
        } => {
            if lifetime_ms < 1_000 {
                return Err(Rejection::LifetimeTooShort);
            }
            Ok(vec![Event::BootstrapSessionStarted {
                session: SessionId::from_bytes(facts.id),
                session_key,
                at,
                expires_at: at.plus_ms(lifetime_ms.min(BOOTSTRAP_LIFE_MS)),
            }])
        }
        Command::EndSession { session, reason } => {
            state.live_session(&session, at)?;
            Ok(vec![Event::SessionEnded { session, reason, at }])
        }
        Command::MintGrant {
            session,
            command,
            call_digest,
            expires_at,
            narrowed,
        } => {
            let (operator, session_key, by_token) = match &narrowed {
                Some(asker) => (asker.operator, asker.key, asker.token_ends_at.is_some()),
                None => {
                    let found = state.live_session(&session, at)?;
                    (found.operator, found.session_key, false)
                }
            };
            let author = state.standing(&operator)?;
            let missing = Rejection::RightMissing(Right::JobsRun);
            let mut sites = author.reach.get(&Right::JobsRun).cloned().ok_or(missing)?;
            if let Some(asker) = &narrowed {
                sites = sites.meet(asker.reach.get(&Right::JobsRun).ok_or(missing)?);
            }
            let token_ends_at = narrowed.as_ref().and_then(|asker| asker.token_ends_at);
            let expires_at = token_ends_at.map_or(expires_at, |end| end.min(expires_at));
            if expires_at <= at {
                return Err(Rejection::GrantEnded);
            }
            Ok(vec![Event::GrantMinted(GrantFacts {
                grant: GrantId::from_bytes(facts.id),
                author: operator,
                username: author.username,
                session,
                session_key,
                command,
                call_digest,
                sites,
                expires_at: expires_at.min(at.plus_ms(GRANT_LIFE_MS)),
                epoch: author.epoch,
                devices: narrowed.and_then(|asker| asker.devices),
                by_token,
            })])
        }
    }
}

/// Checks that a link opens set-up.
///
/// Errors: [`Rejection::SetupDone`], [`Rejection::SecretWrong`].
pub fn may_set_up(state: &State, link: PublicKey) -> Result<(), Rejection> {
    match state.setup {
        Setup::Done => Err(Rejection::SetupDone),
        Setup::Open(expected) if expected == link => Ok(()),
        Setup::Open(_) | Setup::Unopened => Err(Rejection::SecretWrong),
    }
}

/// Applies what happened.
#[must_use]
pub fn evolve(mut state: State, event: &Event) -> State {
    match event.clone() {
        Event::SetupOpened { link, .. } => state.setup = Setup::Open(link),
        Event::SetupUsed { .. } => state.setup = Setup::Done,
        Event::OperatorCreated {
            operator,
            username,
            roles,
            peer,
            at,
        } => {
            let mut account = Operator::new(username, roles, at, None);
            account.known_peers.insert(peer);
            state.names.insert(account.username.clone(), operator);
            state.operators.insert(operator, account);
        }
        Event::PasswordSet { operator, record, .. } => {
            if let Some(account) = state.operators.get_mut(&operator) {
                account.record = Some(record);
            }
        }
        Event::OperatorInvited { .. }
        | Event::LinkMade { .. }
        | Event::LinkUsed { .. }
        | Event::RolesAssigned { .. }
        | Event::RightsChanged { .. }
        | Event::OperatorDisabled { .. }
        | Event::OperatorEnabled { .. }
        | Event::PasswordCleared { .. } => people::evolve(&mut state, event),
        Event::RoleSet { .. } | Event::SiteSet { .. } => roles::evolve(&mut state, event),
        Event::TotpOffered { .. }
        | Event::TotpConfirmed { .. }
        | Event::TotpUsed { .. }
        | Event::FactorRemoved { .. }
        | Event::RecoveryCodesMade { .. }
        | Event::RecoveryCodeUsed { .. } => factors::evolve(&mut state, event),
        Event::SessionStarted {
            session,
            operator,
            session_key,
            peer,
            at,
            expires_at,
        } => {
            if let Some(account) = state.operators.get_mut(&operator) {
                remember(&mut account.known_peers, peer.clone());
                account.last_login_at = Some(at);
            }
            let begun = Session {
                operator,
                session_key,
                peer,
                started_at: at,
                expires_at,
                ended: false,
            };
            state.sessions.insert(session, begun);
        }
        Event::BootstrapSessionStarted {
            session,
            session_key,
            at,
            expires_at,
        } => {
            let begun = Session {
                operator: BOOTSTRAP_OPERATOR,
                session_key,
                peer: String::new(),
                started_at: at,
                expires_at,
                ended: false,
            };
            state.sessions.insert(session, begun);
        }
        Event::SessionEnded { session, .. } => {
            if let Some(found) = state.sessions.get_mut(&session) {
                found.ended = true;
            }
            if let Some(found) = state.tokens.get_mut(&session) {
                found.revoked = true;
            }
        }
        Event::TokenMinted(facts) => {
            let token = facts.token;
            state.tokens.insert(token, ApiToken { facts, revoked: false });
        }
        // Whoever holds the biscuit shows it; nothing here decides by it.
        Event::GrantMinted(_) | Event::SessionProved { .. } => {}
    }
    state
}

impl Operator {
    fn new(
        username: Username,
        roles: BTreeSet<OperatorRoleName>,
        created_at: Timestamp,
        created_by: Option<OperatorId>,
    ) -> Self {
        Self {
            username,
            roles,
            status: Status::Active,
            epoch: 0,
            record: None,
            factors: Factors::default(),
            link: None,
            known_peers: BTreeSet::new(),
            created_at,
            created_by,
            last_login_at: None,
        }
    }
}

/// Is the longest description or reason that is kept, in characters.
pub const MAX_TEXT_CHARS: usize = 400;

/// Is how many pairs of a right and a site an operator's roles may name: the token has to fit a cookie.
pub const MAX_PAIRS: usize = 150;

fn narrow_enough(reach: &Reach) -> Result<(), Rejection> {
    let pairs: usize = reach
        .values()
        .map(|sites| match sites {
            Sites::All => 1,
            Sites::Some(some) => some.len(),
        })
        .sum();
    if pairs > MAX_PAIRS {
        Err(Rejection::TooWide)
    } else {
        Ok(())
    }
}

/// Returns what an actor may hand on: what the token in use holds and the operator still does.
///
/// Errors: [`Rejection::OperatorUnknown`]; [`Rejection::RightMissing`] unless the right needed reaches every site.
fn hand(state: &State, by: &Actor, needed: Right) -> Result<Reach, Rejection> {
    let held = reach::meet(&by.reach, &state.standing(&by.operator)?.reach);
    if held.get(&needed) == Some(&Sites::All) {
        Ok(held)
    } else {
        Err(Rejection::RightMissing(needed))
    }
}

fn within(held: &Reach, asked: &Reach) -> Result<(), Rejection> {
    if reach::covers(held, asked) {
        Ok(())
    } else {
        Err(Rejection::ExceedsOwnRights)
    }
}

fn short(text: String) -> Result<String, Rejection> {
    if text.chars().count() > MAX_TEXT_CHARS {
        Err(Rejection::TextTooLong)
    } else {
        Ok(text)
    }
}

/// Keeps at most this many addresses of an operator.
const MAX_KNOWN_PEERS: usize = 64;

fn remember(peers: &mut BTreeSet<String>, peer: String) {
    if peers.len() < MAX_KNOWN_PEERS {
        peers.insert(peer);
    }
}
