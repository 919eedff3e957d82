//! What no longer counts although its token is still good: ended sessions, revoked grants, disabled operators.
//!
//! Access feeds its own set from its own log; every other service feeds one by [following](crate::follow) access. The
//! kinds that count are [`SessionEnded`], [`GrantRevoked`] and [`OperatorDisabled`]; others are ignored.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{GrantId, OperatorId, SessionId};
use borealis_bus_schema::messages::shared_events::{GrantRevoked, OperatorDisabled, SessionEnded, SharedEvent as _};

/// Remembers what was revoked.
#[derive(Debug, Default)]
pub struct RevocationSet(RwLock<Sets>);

#[derive(Debug, Default)]
struct Sets {
    sessions: HashSet<SessionId>,
    grants: HashSet<GrantId>,
    operators: HashSet<OperatorId>,
}

impl RevocationSet {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends a session.
    pub fn end_session(&self, session: SessionId) {
        self.write(|sets| sets.sessions.insert(session));
    }
    /// Revokes a grant.
    pub fn revoke_grant(&self, grant: GrantId) {
        self.write(|sets| sets.grants.insert(grant));
    }
    /// Disables an operator: every session and every grant of that operator.
    pub fn disable_operator(&self, operator: OperatorId) {
        self.write(|sets| sets.operators.insert(operator));
    }

    /// Tells whether a session has ended.
    pub fn session_ended(&self, session: &SessionId) -> bool {
        self.read(|sets| sets.sessions.contains(session))
    }
    /// Tells whether a grant was revoked.
    pub fn grant_revoked(&self, grant: &GrantId) -> bool {
        self.read(|sets| sets.grants.contains(grant))
    }
    /// Tells whether an operator is disabled.
    pub fn operator_disabled(&self, operator: &OperatorId) -> bool {
        self.read(|sets| sets.operators.contains(operator))
    }

    /// Takes one of access's events.
    ///
    /// Errors: the codec's, when a kind that revokes has a body that cannot be read; nothing may be decided then.
    pub fn apply(&self, kind: &str, body: &[u8]) -> Result<(), CodecError> {
        match kind {
            SessionEnded::KIND => self.end_session(codec::decode::<SessionEnded>(body)?.session),
            GrantRevoked::KIND => self.revoke_grant(codec::decode::<GrantRevoked>(body)?.grant),
            OperatorDisabled::KIND => self.disable_operator(codec::decode::<OperatorDisabled>(body)?.operator),
            _ => {}
        }
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Sets) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
    fn write<T>(&self, change: impl FnOnce(&mut Sets) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::time::Timestamp;

    #[test]
    fn events_of_access_revoke_and_others_do_nothing() {
        let (set, session) = (RevocationSet::new(), SessionId::from_bytes([1; 16]));
        let ended = SessionEnded {
            session,
            reason: "log-out".into(),
            at: Timestamp::from_unix_ms(0),
        };
        set.apply("SessionStarted", b"rubbish").unwrap();
        assert!(!set.session_ended(&session));
        set.apply("SessionEnded", &codec::encode(&ended).unwrap()).unwrap();
        assert!(set.session_ended(&session));
        assert!(set.apply("GrantRevoked", b"rubbish").is_err());
    }

    #[test]
    fn a_disabled_operator_is_known() {
        let (set, operator) = (RevocationSet::new(), OperatorId::from_bytes([2; 16]));
        let disabled = OperatorDisabled {
            operator,
            reason: "left".into(),
            at: Timestamp::from_unix_ms(0),
        };
        set.apply("OperatorDisabled", &codec::encode(&disabled).unwrap())
            .unwrap();
        assert!(set.operator_disabled(&operator));
    }
}
