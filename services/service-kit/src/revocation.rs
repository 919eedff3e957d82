//! What no longer counts although its token is still good: ended sessions, revoked grants, disabled operators.
//!
//! Access feeds its own set from its own log; every other service feeds one by [following](crate::follow) access. Kinds and
//! bodies: `SessionEnded {session}`, `GrantRevoked {grant}`, `OperatorDisabled {operator}`, `OperatorEnabled {operator}`;
//! other kinds and other fields are ignored.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{GrantId, OperatorId, SessionId};
use serde::Deserialize;

/// Remembers what was revoked.
#[derive(Debug, Default)]
pub struct RevocationSet(RwLock<Sets>);

#[derive(Debug, Default)]
struct Sets {
    sessions: HashSet<SessionId>,
    grants: HashSet<GrantId>,
    operators: HashSet<OperatorId>,
}

#[derive(Deserialize)]
struct OfSession {
    session: SessionId,
}
#[derive(Deserialize)]
struct OfGrant {
    grant: GrantId,
}
#[derive(Deserialize)]
struct OfOperator {
    operator: OperatorId,
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
    /// Lets a disabled operator in again.
    pub fn enable_operator(&self, operator: OperatorId) {
        self.write(|sets| sets.operators.remove(&operator));
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
            "SessionEnded" => self.end_session(codec::decode::<OfSession>(body)?.session),
            "GrantRevoked" => self.revoke_grant(codec::decode::<OfGrant>(body)?.grant),
            "OperatorDisabled" => self.disable_operator(codec::decode::<OfOperator>(body)?.operator),
            "OperatorEnabled" => self.enable_operator(codec::decode::<OfOperator>(body)?.operator),
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
    use std::collections::BTreeMap;

    #[test]
    fn events_of_access_revoke_and_others_do_nothing() {
        let (set, session) = (RevocationSet::new(), SessionId::from_bytes([1; 16]));
        let body = codec::encode(&BTreeMap::from([
            ("session", session.to_string()),
            ("reason", "log-out".into()),
        ]));
        set.apply("SessionStarted", b"rubbish").unwrap();
        assert!(!set.session_ended(&session));
        set.apply("SessionEnded", &body.unwrap()).unwrap();
        assert!(set.session_ended(&session));
        assert!(set.apply("GrantRevoked", b"rubbish").is_err());
    }

    #[test]
    fn an_operator_comes_back() {
        let (set, operator) = (RevocationSet::new(), OperatorId::from_bytes([2; 16]));
        set.disable_operator(operator);
        assert!(set.operator_disabled(&operator));
        set.enable_operator(operator);
        assert!(!set.operator_disabled(&operator));
    }
}
