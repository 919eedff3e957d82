//! What no longer counts although its token is still good: ended sessions, revoked grants, disabled operators, rights that
//! were taken away. Beside that, which sites there are, for services that are told a site's name.
//!
//! Access feeds its own set from its own log; every other service feeds one by [following](crate::follow) access. The
//! kinds that count are [`SessionEnded`], [`GrantRevoked`], [`OperatorDisabled`], [`OperatorEnabled`],
//! [`OperatorRightsChanged`] and [`SiteSet`]; others are ignored.
//!
//! An operator's standing has epochs. Each change of rights begins one, and so does being enabled again; a token names the
//! epoch in which it was minted. It reaches no further than what it says, and no further than what its operator held after
//! each later change: a right that was lost and given back comes back with new tokens only. Tokens of an epoch before the
//! operator was disabled are over for good.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{GrantId, OperatorId, SessionId, SiteName};
use borealis_bus_schema::messages::shared_events::{
    GrantRevoked, OperatorDisabled, OperatorEnabled, OperatorRightsChanged, SessionEnded, SharedEvent as _, SiteSet,
};

use crate::auth::reach::{self, Reach};

/// Remembers what was revoked.
#[derive(Debug, Default)]
pub struct RevocationSet(RwLock<Sets>);

#[derive(Debug, Default)]
struct Sets {
    sessions: HashSet<SessionId>,
    grants: HashSet<GrantId>,
    operators: HashMap<OperatorId, Standing>,
    sites: HashSet<SiteName>,
}

/// Says how far a token of an operator reaches at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// As far as it says.
    None,
    /// No further than this.
    To(Arc<Reach>),
    /// Nowhere: its operator is disabled, or was so after it was minted.
    Void,
}

/// Is what became of an operator since the first token.
#[derive(Debug, Default)]
struct Standing {
    disabled: bool,
    /// Tokens of earlier epochs are over.
    void_below: u64,
    /// What was held after every change from this epoch on.
    held_from: BTreeMap<u64, Arc<Reach>>,
}

impl Standing {
    fn change(&mut self, epoch: u64, now: Reach) {
        for held in self.held_from.values_mut() {
            *held = Arc::new(reach::meet(held, &now));
        }
        self.held_from.insert(epoch, Arc::new(now));
    }

    fn limit(&self, epoch: u64) -> Limit {
        if self.disabled || epoch < self.void_below {
            return Limit::Void;
        }
        let later = self.held_from.range(epoch.saturating_add(1)..).next();
        later.map_or(Limit::None, |(_, held)| Limit::To(Arc::clone(held)))
    }
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
        self.write(|sets| sets.operators.entry(operator).or_default().disabled = true);
    }

    /// Tells whether a session has ended.
    pub fn session_ended(&self, session: &SessionId) -> bool {
        self.read(|sets| sets.sessions.contains(session))
    }
    /// Tells whether a grant was revoked.
    pub fn grant_revoked(&self, grant: &GrantId) -> bool {
        self.read(|sets| sets.grants.contains(grant))
    }
    /// Says how far a token of an operator reaches that was minted in an epoch.
    pub fn limit(&self, operator: &OperatorId, epoch: u64) -> Limit {
        self.read(|sets| {
            sets.operators
                .get(operator)
                .map_or(Limit::None, |standing| standing.limit(epoch))
        })
    }

    /// Tells whether there is a site of this name; the default one is always there.
    pub fn knows_site(&self, site: &SiteName) -> bool {
        *site == SiteName::default_site() || self.read(|sets| sets.sites.contains(site))
    }

    /// Takes one of access's events.
    ///
    /// Errors: the codec's, when a kind that revokes has a body that cannot be read; nothing may be decided then.
    pub fn apply(&self, kind: &str, body: &[u8]) -> Result<(), CodecError> {
        match kind {
            SessionEnded::KIND => self.end_session(codec::decode::<SessionEnded>(body)?.session),
            GrantRevoked::KIND => self.revoke_grant(codec::decode::<GrantRevoked>(body)?.grant),
            OperatorDisabled::KIND => self.disable_operator(codec::decode::<OperatorDisabled>(body)?.operator),
            OperatorEnabled::KIND => {
                let enabled: OperatorEnabled = codec::decode(body)?;
                self.write(|sets| {
                    let standing = sets.operators.entry(enabled.operator).or_default();
                    standing.disabled = false;
                    standing.void_below = standing.void_below.max(enabled.epoch);
                });
            }
            SiteSet::KIND => {
                let site = codec::decode::<SiteSet>(body)?.site;
                self.write(|sets| sets.sites.insert(site));
            }
            OperatorRightsChanged::KIND => {
                let changed: OperatorRightsChanged = codec::decode(body)?;
                let now = reach::read(&changed.rights).map_err(|_| CodecError::Malformed {
                    reason: "it names a site that is none".into(),
                })?;
                self.write(|sets| {
                    let standing = sets.operators.entry(changed.operator).or_default();
                    standing.change(changed.epoch, now);
                });
            }
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
    fn sites_are_known_once_access_said_so() {
        let (set, berlin) = (RevocationSet::new(), SiteName::new("berlin").unwrap());
        assert!(set.knows_site(&SiteName::default_site()) && !set.knows_site(&berlin));
        let made = SiteSet {
            site: berlin.clone(),
            at: Timestamp::from_unix_ms(0),
        };
        set.apply("SiteSet", &codec::encode(&made).unwrap()).unwrap();
        assert!(set.knows_site(&berlin));
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
        assert_eq!(set.limit(&operator, 0), Limit::Void);
    }

    fn changed(set: &RevocationSet, operator: OperatorId, epoch: u64, rights: &[(&str, &str)]) {
        let rights = rights
            .iter()
            .map(|(right, site)| borealis_bus_schema::messages::access::RightOnSites {
                right: (*right).into(),
                sites: vec![(*site).into()],
                max_devices: None,
            })
            .collect();
        let at = Timestamp::from_unix_ms(0);
        let event = OperatorRightsChanged {
            operator,
            epoch,
            rights,
            at,
        };
        set.apply("OperatorRightsChanged", &codec::encode(&event).unwrap())
            .unwrap();
    }

    fn rights_at(set: &RevocationSet, operator: OperatorId, epoch: u64) -> Option<Vec<&'static str>> {
        match set.limit(&operator, epoch) {
            Limit::None => None,
            Limit::Void => Some(vec!["void"]),
            Limit::To(reach) => Some(reach.keys().map(|right| right.as_str()).collect()),
        }
    }

    #[test]
    fn a_right_that_was_lost_comes_back_with_new_tokens_only() {
        let (set, operator) = (RevocationSet::new(), OperatorId::from_bytes([3; 16]));
        assert_eq!(rights_at(&set, operator, 0), None);
        changed(&set, operator, 1, &[("jobs.read", "*")]);
        assert_eq!(rights_at(&set, operator, 0), Some(vec!["jobs.read"]));
        assert_eq!(rights_at(&set, operator, 1), None, "what was minted since says it all");
        changed(&set, operator, 2, &[("jobs.read", "*"), ("jobs.run", "*")]);
        assert_eq!(rights_at(&set, operator, 0), Some(vec!["jobs.read"]));
        assert_eq!(rights_at(&set, operator, 1), Some(vec!["jobs.read", "jobs.run"]));
        changed(&set, operator, 3, &[]);
        for epoch in 0..3 {
            assert_eq!(rights_at(&set, operator, epoch), Some(vec![]));
        }
        assert_eq!(rights_at(&set, operator, 3), None);
    }

    #[test]
    fn sites_are_taken_away_one_by_one() {
        let (set, operator) = (RevocationSet::new(), OperatorId::from_bytes([4; 16]));
        changed(&set, operator, 1, &[("jobs.run", "berlin"), ("jobs.run", "oslo")]);
        changed(&set, operator, 2, &[("jobs.run", "oslo"), ("jobs.run", "rome")]);
        let Limit::To(reach) = set.limit(&operator, 0) else {
            panic!("no limit")
        };
        assert_eq!(reach.values().next().unwrap().names(), ["oslo"]);
    }

    #[test]
    fn whoever_is_enabled_again_begins_anew() {
        let (set, operator) = (RevocationSet::new(), OperatorId::from_bytes([5; 16]));
        changed(&set, operator, 1, &[("jobs.run", "*")]);
        set.disable_operator(operator);
        assert_eq!(rights_at(&set, operator, 1), Some(vec!["void"]));
        let at = Timestamp::from_unix_ms(0);
        let enabled = codec::encode(&OperatorEnabled { operator, epoch: 2, at }).unwrap();
        set.apply("OperatorEnabled", &enabled).unwrap();
        for epoch in 0..2 {
            assert_eq!(rights_at(&set, operator, epoch), Some(vec!["void"]));
        }
        assert_eq!(rights_at(&set, operator, 2), None);
    }
}
