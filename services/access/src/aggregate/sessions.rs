//! Sessions: of an operator who proved the password, and of the first start, which has minutes.

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;

use super::operator::remember;
use super::{Event, Facts, Proved, Rejection, State};

/// Is how long a session lives at most, in milliseconds: 12 hours.
pub const SESSION_LIFE_MS: i64 = 12 * 3_600_000;

/// Is after how long without use a session ends, in milliseconds: 60 minutes.
pub const SESSION_IDLE_MS: i64 = 60 * 60_000;

/// Is how long a session of the first start lives at most, in milliseconds: 15 minutes.
pub const BOOTSTRAP_LIFE_MS: i64 = 15 * 60_000;

/// Is how long ended sessions are still told from unknown ones, in milliseconds.
pub(super) const REMEMBERED_MS: i64 = 24 * 3_600_000;

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

impl State {
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
}

/// Begins the session of an operator who proved the password.
pub(super) fn start(
    state: &State,
    operator: OperatorId,
    proved: Proved,
    session_key: PublicKey,
    peer: String,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    let account = state.operators.get(&operator).ok_or(Rejection::OperatorUnknown)?;
    let used = account.prove(operator, proved, at)?;
    let started = begun(operator, session_key, peer, facts);
    Ok(std::iter::once(started).chain(used).collect())
}

/// Makes the session of an operator who has proved everything.
pub(super) fn begun(operator: OperatorId, session_key: PublicKey, peer: String, facts: &Facts) -> Event {
    Event::SessionStarted {
        session: SessionId::from_bytes(facts.id),
        operator,
        session_key,
        peer,
        at: facts.now,
        expires_at: facts.now.plus_ms(SESSION_LIFE_MS),
    }
}

/// Begins the session with which the first start acts.
pub(super) fn start_bootstrap(
    session_key: PublicKey,
    lifetime_ms: i64,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    if lifetime_ms < 1_000 {
        return Err(Rejection::LifetimeTooShort);
    }
    Ok(vec![Event::BootstrapSessionStarted {
        session: SessionId::from_bytes(facts.id),
        session_key,
        at: facts.now,
        expires_at: facts.now.plus_ms(lifetime_ms.min(BOOTSTRAP_LIFE_MS)),
    }])
}

/// Ends a session.
pub(super) fn end(state: &State, session: SessionId, reason: String, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    state.live_session(&session, at)?;
    Ok(vec![Event::SessionEnded { session, reason, at }])
}

/// Applies what happened to sessions.
pub(super) fn evolve(state: &mut State, event: &Event) {
    match event.clone() {
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
        _ => {}
    }
}
