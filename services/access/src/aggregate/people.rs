//! Operators: invited, given roles, disabled, enabled, and given a new link when the password is lost.
//!
//! An operator is made by an invitation: the account is there at once, without a password; the link's secret sets one. Nobody
//! invites, promotes, demotes, disables or resets anybody who holds, or would hold, more than they hold themselves; for who
//! can set another's password is that other.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, OperatorRoleName, SessionId};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, reach};

use super::checks::{hand, narrow_enough, short, within};
use super::operator::remember;
use super::{Actor, Event, Factors, Facts, Operator, Proved, Rejection, Setup, State, Username};

/// Is how long an invitation's link works, in milliseconds: 24 hours.
pub const LINK_LIFE_MS: i64 = 24 * 3_600_000;

/// Says whether an operator may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The operator may, once there is a password.
    Active,
    /// Not until enabled again.
    Disabled,
    /// Never again; the name is free.
    Deleted,
}

/// Is a link by which a password can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The public key of its secret.
    pub key: PublicKey,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// Says what a link's secret opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFor {
    /// Making the first operator.
    FirstOperator,
    /// Setting the password of this one.
    Operator(OperatorId),
}

/// Is a change of who the operators are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCommand {
    /// Invites somebody.
    Invite {
        /// Who asks.
        by: Actor,
        /// The new operator's name.
        username: Username,
        /// The roles.
        roles: BTreeSet<OperatorRoleName>,
        /// The public key of the link's secret.
        link: PublicKey,
    },
    /// Sets the password through a link.
    UseLink {
        /// The link whose secret was proved.
        link: PublicKey,
        /// The name that came.
        username: Username,
        /// What the password is checked against.
        record: Vec<u8>,
        /// From where.
        peer: String,
    },
    /// Gives other roles.
    SetRoles {
        /// Who asks.
        by: Actor,
        /// The operator.
        operator: OperatorId,
        /// The roles from now on.
        roles: BTreeSet<OperatorRoleName>,
    },
    /// Ends everything that the operator has, and keeps the operator out.
    Disable {
        /// Who asks.
        by: Actor,
        /// The operator.
        operator: OperatorId,
        /// Why.
        reason: String,
        /// Whether it is for good.
        for_good: bool,
    },
    /// Lets a disabled operator in again.
    Enable {
        /// Who asks.
        by: Actor,
        /// The operator.
        operator: OperatorId,
    },
    /// Sets another password for whoever proved the old one, and ends the operator's other sessions.
    ChangePassword {
        /// The operator.
        operator: OperatorId,
        /// The session that goes on.
        session: SessionId,
        /// What was proved: the old password, and a code of whoever has a second factor.
        proved: Proved,
        /// What the password is checked against from now on.
        record: Vec<u8>,
    },
    /// Ends a session: one's own, or another's who holds no more.
    EndSession {
        /// Who asks.
        by: Actor,
        /// The session.
        session: SessionId,
    },
    /// Takes the password away, ends sessions, tokens and grants, and makes a link.
    Reset {
        /// Who asks.
        by: Actor,
        /// The operator.
        operator: OperatorId,
        /// The public key of the link's secret.
        link: PublicKey,
    },
}

impl State {
    /// Finds what a link opens now.
    ///
    /// Errors: [`Rejection::LinkUsed`], [`Rejection::LinkExpired`], [`Rejection::SecretWrong`]; [`Rejection::SetupDone`] for
    /// an unknown link when there are operators.
    pub fn link(&self, key: PublicKey, now: Timestamp) -> Result<LinkFor, Rejection> {
        let holder = self.operators.iter().find_map(|(id, account)| {
            let link = account.link.filter(|link| link.key == key)?;
            Some((*id, link))
        });
        match (holder, self.spent_links.get(&key), self.setup) {
            (Some((_, link)), ..) if now >= link.expires_at => Err(Rejection::LinkExpired),
            (Some((id, _)), ..) => Ok(LinkFor::Operator(id)),
            (None, Some(true), _) => Err(Rejection::LinkUsed),
            (None, Some(false), _) => Err(Rejection::LinkExpired),
            (None, None, Setup::Open(expected)) if expected == key => Ok(LinkFor::FirstOperator),
            (None, None, Setup::Done) => Err(Rejection::SetupDone),
            (None, None, Setup::Open(_) | Setup::Unopened) => Err(Rejection::SecretWrong),
        }
    }

    pub(super) fn user(&self, operator: &OperatorId) -> Result<&Operator, Rejection> {
        let account = self.operators.get(operator).ok_or(Rejection::UserUnknown)?;
        match account.status {
            Status::Deleted => Err(Rejection::WrongStatus("the operator was deleted")),
            Status::Active | Status::Disabled => Ok(account),
        }
    }

    /// Checks that a link's public key is no other link's, living or over.
    fn fresh_link(&self, key: &PublicKey) -> Result<(), Rejection> {
        let lives = self.operators.values().filter_map(|account| account.link);
        let taken = lives.map(|link| link.key).any(|known| known == *key)
            || self.spent_links.contains_key(key)
            || self.setup == Setup::Open(*key);
        if taken { Err(Rejection::LinkKeyTaken) } else { Ok(()) }
    }

    fn known_roles(&self, roles: &BTreeSet<OperatorRoleName>) -> Result<Reach, Rejection> {
        if roles.is_empty() {
            return Err(Rejection::NoRole);
        }
        if roles.iter().any(|role| self.role(role).is_none()) {
            return Err(Rejection::RoleUnknown);
        }
        let reach = self.reach_of(roles);
        narrow_enough(&reach)?;
        Ok(reach)
    }

    /// Checks that somebody who may do everything and can log in is left without this one.
    fn spare(&self, operator: &OperatorId) -> Result<(), Rejection> {
        let administers = |account: &Operator| {
            account.status == Status::Active
                && account.record.is_some()
                && account.roles.contains(&OperatorRoleName::administrator())
        };
        let is_one = self.operators.get(operator).is_some_and(administers);
        let others = self
            .operators
            .iter()
            .any(|(id, account)| id != operator && administers(account));
        if is_one && !others {
            Err(Rejection::LastAdministrator)
        } else {
            Ok(())
        }
    }
}

/// Returns the event that says that an operator lost rights, when that is so.
pub(super) fn shrink(
    operator: OperatorId,
    account: &Operator,
    before: &Reach,
    after: Reach,
    at: Timestamp,
) -> Option<Event> {
    (!reach::covers(&after, before)).then(|| Event::RightsChanged {
        operator,
        epoch: account.epoch + 1,
        reach: after,
        at,
    })
}

/// Decides a change of who the operators are.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub(super) fn decide(state: &State, command: UserCommand, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        UserCommand::Invite {
            by,
            username,
            roles,
            link,
        } => {
            let held = hand(state, &by, Right::UsersManage)?;
            within(&held, &state.known_roles(&roles)?)?;
            if state.names.contains_key(&username) {
                return Err(Rejection::UsernameTaken);
            }
            state.fresh_link(&link)?;
            let operator = OperatorId::from_bytes(facts.id);
            let invited = Event::OperatorInvited {
                operator,
                username,
                roles,
                by: by.operator,
                at,
            };
            Ok(vec![invited, link_made(operator, link, by.operator, at)])
        }
        UserCommand::UseLink {
            link,
            username,
            record,
            peer,
        } => match state.link(link, at)? {
            LinkFor::FirstOperator => Err(Rejection::LinkOfAnother),
            LinkFor::Operator(operator) => {
                if state.names.get(&username) != Some(&operator) {
                    return Err(Rejection::LinkOfAnother);
                }
                Ok(vec![
                    Event::LinkUsed { operator, peer, at },
                    Event::PasswordSet { operator, record, at },
                ])
            }
        },
        UserCommand::SetRoles { by, operator, roles } => {
            let held = hand(state, &by, Right::UsersManage)?;
            let account = state.user(&operator)?;
            let (before, after) = (state.reach_of(&account.roles), state.known_roles(&roles)?);
            within(&held, &before)?;
            within(&held, &after)?;
            if !roles.contains(&OperatorRoleName::administrator()) {
                state.spare(&operator)?;
            }
            let shrunk = shrink(operator, account, &before, after, at);
            let assigned = Event::RolesAssigned {
                operator,
                roles,
                by: by.operator,
                at,
            };
            Ok(std::iter::once(assigned).chain(shrunk).collect())
        }
        UserCommand::Disable {
            by,
            operator,
            reason,
            for_good,
        } => {
            let held = hand(state, &by, Right::UsersManage)?;
            let account = state.user(&operator)?;
            if account.status == Status::Disabled && !for_good {
                return Err(Rejection::WrongStatus("the operator is disabled already"));
            }
            within(&held, &state.reach_of(&account.roles))?;
            state.spare(&operator)?;
            Ok(vec![Event::OperatorDisabled {
                operator,
                reason: short(reason)?,
                for_good,
                by: by.operator,
                at,
            }])
        }
        UserCommand::Enable { by, operator } => {
            let held = hand(state, &by, Right::UsersManage)?;
            let account = state.user(&operator)?;
            if account.status != Status::Disabled {
                return Err(Rejection::WrongStatus("the operator is not disabled"));
            }
            within(&held, &state.reach_of(&account.roles))?;
            Ok(vec![Event::OperatorEnabled {
                operator,
                epoch: account.epoch + 1,
                by: by.operator,
                at,
            }])
        }
        UserCommand::ChangePassword {
            operator,
            session,
            proved,
            record,
        } => {
            let used = state.acting(&operator, &session, at)?.prove(operator, proved, at)?;
            let others = state.live_sessions_of(&operator, at).filter(|other| *other != session);
            let ended = others.map(|session| Event::SessionEnded {
                session,
                reason: "password changed".to_owned(),
                at,
            });
            Ok(std::iter::once(Event::PasswordSet { operator, record, at })
                .chain(used)
                .chain(ended)
                .collect())
        }
        UserCommand::EndSession { by, session } => {
            let found = state.sessions.get(&session).ok_or(Rejection::SessionMissing)?;
            let reason = if found.operator == by.operator {
                "ended by the operator"
            } else {
                let held = hand(state, &by, Right::UsersManage)?;
                if let Some(account) = state.operators.get(&found.operator) {
                    within(&held, &state.reach_of(&account.roles))?;
                }
                "ended by another operator"
            };
            if state.live_session(&session, at).is_err() {
                return Err(Rejection::WrongStatus("the session is over already"));
            }
            Ok(vec![Event::SessionEnded {
                session,
                reason: reason.to_owned(),
                at,
            }])
        }
        UserCommand::Reset { by, operator, link } => {
            let held = hand(state, &by, Right::UsersManage)?;
            let account = state.user(&operator)?;
            if account.status == Status::Disabled {
                return Err(Rejection::WrongStatus("the operator is disabled"));
            }
            within(&held, &state.reach_of(&account.roles))?;
            state.spare(&operator)?;
            state.fresh_link(&link)?;
            let cleared = Event::PasswordCleared {
                operator,
                by: by.operator,
                at,
            };
            let ended = state
                .live_sessions_of(&operator, at)
                .map(|session| Event::SessionEnded {
                    session,
                    reason: "password reset".to_owned(),
                    at,
                });
            // Whoever had the password may have left jobs waiting and tokens behind: nothing of before counts any more.
            let disabled = Event::OperatorDisabled {
                operator,
                reason: "password reset".to_owned(),
                for_good: false,
                by: by.operator,
                at,
            };
            let enabled = Event::OperatorEnabled {
                operator,
                epoch: account.epoch + 1,
                by: by.operator,
                at,
            };
            let link = link_made(operator, link, by.operator, at);
            // A passkey logs in alone, and may have been made by whoever had the password.
            let passkeys = account.without_passkeys(operator, by.operator, at);
            Ok(std::iter::once(cleared)
                .chain(passkeys)
                .chain(ended)
                .chain([disabled, enabled, link])
                .collect())
        }
    }
}

const fn link_made(operator: OperatorId, link: PublicKey, by: OperatorId, at: Timestamp) -> Event {
    Event::LinkMade {
        operator,
        link,
        by,
        at,
        expires_at: at.plus_ms(LINK_LIFE_MS),
    }
}

/// Applies what happened to operators.
pub(super) fn evolve(state: &mut State, event: &Event) {
    match event.clone() {
        Event::OperatorInvited {
            operator,
            username,
            roles,
            by,
            at,
        } => {
            state.names.insert(username.clone(), operator);
            let account = Operator::new(username, roles, at, Some(by));
            state.operators.insert(operator, account);
        }
        Event::LinkMade {
            operator,
            link,
            expires_at,
            ..
        } => {
            let link = Some(Link { key: link, expires_at });
            replace_link(state, &operator, link, false);
        }
        Event::LinkUsed { operator, peer, .. } => {
            replace_link(state, &operator, None, true);
            if let Some(account) = state.operators.get_mut(&operator) {
                remember(&mut account.known_peers, peer);
            }
        }
        Event::RolesAssigned { operator, roles, .. } => with(state, &operator, |account| account.roles = roles),
        Event::RightsChanged { operator, epoch, .. } => with(state, &operator, |account| account.epoch = epoch),
        Event::OperatorDisabled { operator, for_good, .. } => {
            replace_link(state, &operator, None, false);
            let name = state.operators.get(&operator).map(|account| account.username.clone());
            if let Some(name) = name.filter(|_| for_good) {
                state.names.remove(&name);
            }
            with(state, &operator, |account| {
                account.status = if for_good { Status::Deleted } else { Status::Disabled };
                if for_good {
                    account.record = None;
                    account.factors = Factors::default();
                }
            });
            for token in state.tokens.values_mut().filter(|token| token.facts.author == operator) {
                token.revoked = true;
            }
            for session in state
                .sessions
                .values_mut()
                .filter(|session| session.operator == operator)
            {
                session.ended = true;
            }
        }
        Event::OperatorEnabled { operator, epoch, .. } => with(state, &operator, |account| {
            account.status = Status::Active;
            account.epoch = epoch;
        }),
        Event::PasswordSet { operator, record, .. } => with(state, &operator, |account| account.record = Some(record)),
        Event::PasswordCleared { operator, .. } => with(state, &operator, |account| account.record = None),
        _ => {}
    }
}

fn with(state: &mut State, operator: &OperatorId, change: impl FnOnce(&mut Operator)) {
    if let Some(account) = state.operators.get_mut(operator) {
        change(account);
    }
}

/// Puts a link in the place of the one before, which is over.
fn replace_link(state: &mut State, operator: &OperatorId, link: Option<Link>, used: bool) {
    let Some(account) = state.operators.get_mut(operator) else {
        return;
    };
    if let Some(old) = std::mem::replace(&mut account.link, link) {
        state.spent_links.insert(old.key, used);
    }
}

#[cfg(test)]
mod tests;
