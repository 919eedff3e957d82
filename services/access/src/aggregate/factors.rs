//! The second factor: an authenticator app, and recovery codes for whoever lost it.
//!
//! Whether a code fits was computed before a command comes here; what is decided is whether it still counts. A code of an
//! app serves once: the period of the last one that served is kept, and none of it or of an earlier one serves again. A
//! recovery code serves once. Whoever has a second factor does nothing without it that proves the password.

use std::collections::BTreeSet;

use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::messages::access::FactorStanding;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;

use super::checks::{hand, within};
use super::{Actor, Event, Facts, Operator, Rejection, State, Status};

/// Is how long a code of a new app may be confirmed, in milliseconds: 15 minutes.
pub const OFFER_LIFE_MS: i64 = 15 * 60_000;

/// Is what an operator has besides the password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Factors {
    /// The app that is the second factor.
    pub totp: Option<Totp>,
    /// An app of which no code was confirmed yet.
    pub offered: Option<Offer>,
    /// The digests of the recovery codes that were not used.
    pub recovery: BTreeSet<Digest>,
}

impl Factors {
    /// Tells how it stands.
    pub fn standing(&self) -> FactorStanding {
        FactorStanding {
            second_factor: self.totp.is_some(),
            recovery_codes_left: self.recovery.len(),
        }
    }
}

/// Is an authenticator app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totp {
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// The period of the last code that served.
    pub last_step: u64,
}

/// Is an authenticator app that is to become the second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// The session in which it was made.
    pub session: SessionId,
    /// Until when a code of it can be confirmed.
    pub until: Timestamp,
}

/// Is a code that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorUse {
    /// A code of the app, with its period.
    Totp {
        /// The number of the period.
        step: u64,
    },
    /// A recovery code.
    Recovery {
        /// Its digest.
        code: Digest,
    },
}

/// Is what an operator has just proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// The digest of what the password was checked against; another password may have been set meanwhile.
    pub password: Digest,
    /// The code that came besides.
    pub factor: Option<FactorUse>,
}

/// Is a change of second factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactorCommand {
    /// Makes the secret of an app.
    Offer {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
        /// What was proved.
        proved: Proved,
        /// The secret, sealed.
        sealed: Vec<u8>,
    },
    /// Makes the app the second factor.
    Confirm {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
        /// The sealed secret that the code is of; another may have been made meanwhile.
        sealed: Vec<u8>,
        /// The period of the code that came.
        step: u64,
    },
    /// Notes that the password was proved once more in a session.
    StepUp {
        /// The operator.
        operator: OperatorId,
        /// The session.
        session: SessionId,
        /// What was proved.
        proved: Proved,
    },
    /// Takes the operator's own second factor away.
    Remove {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
    },
    /// Makes recovery codes in place of earlier ones.
    MakeCodes {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
        /// What was proved.
        proved: Proved,
        /// The digests of the codes.
        codes: BTreeSet<Digest>,
    },
    /// Takes another's second factor away.
    Reset {
        /// Who asks.
        by: Actor,
        /// The operator.
        operator: OperatorId,
    },
}

impl Operator {
    /// Decides whether what was proved is enough to be this operator, and what is used up by it.
    ///
    /// Errors: [`Rejection::OperatorUnknown`] for one who is disabled or has another password by now,
    /// [`Rejection::FactorRequired`], [`Rejection::FactorWrong`] for a code that was used before.
    pub(super) fn prove(
        &self,
        operator: OperatorId,
        proved: Proved,
        at: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        let is_password = self.record.as_deref().map(Digest::of) == Some(proved.password);
        if self.status != Status::Active || !is_password {
            return Err(Rejection::OperatorUnknown);
        }
        match (&self.factors.totp, proved.factor) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(Rejection::FactorRequired),
            (Some(totp), Some(FactorUse::Totp { step })) if step > totp.last_step => {
                Ok(Some(Event::TotpUsed { operator, step, at }))
            }
            (Some(_), Some(FactorUse::Recovery { code })) if self.factors.recovery.contains(&code) => {
                Ok(Some(Event::RecoveryCodeUsed { operator, code, at }))
            }
            (Some(_), Some(_)) => Err(Rejection::FactorWrong),
        }
    }
}

impl State {
    /// Finds whoever acts in a session of their own.
    pub(super) fn acting(
        &self,
        operator: &OperatorId,
        session: &SessionId,
        at: Timestamp,
    ) -> Result<&Operator, Rejection> {
        self.live_session(session, at)?;
        self.standing(operator)?;
        self.operators.get(operator).ok_or(Rejection::OperatorUnknown)
    }
}

/// Decides a change of second factors.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub(super) fn decide(state: &State, command: FactorCommand, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        FactorCommand::Offer {
            operator,
            session,
            proved,
            sealed,
        } => {
            let account = state.acting(&operator, &session, at)?;
            let used = account.prove(operator, proved, at)?;
            let offered = Event::TotpOffered {
                operator,
                session,
                sealed,
                at,
                until: at.plus_ms(OFFER_LIFE_MS),
            };
            Ok(std::iter::once(offered).chain(used).collect())
        }
        FactorCommand::Confirm {
            operator,
            session,
            sealed,
            step,
        } => {
            let account = state.acting(&operator, &session, at)?;
            let offer = account.factors.offered.as_ref();
            // Only the session that made it: the secret is known to whoever holds that one.
            match offer.filter(|offer| offer.session == session && offer.sealed == sealed && at < offer.until) {
                Some(_) => Ok(vec![Event::TotpConfirmed { operator, step, at }]),
                None => Err(Rejection::NothingOffered),
            }
        }
        FactorCommand::StepUp {
            operator,
            session,
            proved,
        } => {
            let account = state.acting(&operator, &session, at)?;
            let used = account.prove(operator, proved, at)?;
            let proved = Event::SessionProved { session, operator, at };
            Ok(std::iter::once(proved).chain(used).collect())
        }
        FactorCommand::Remove { operator, session } => {
            let account = state.acting(&operator, &session, at)?;
            removed(account, operator, operator, at)
        }
        FactorCommand::MakeCodes {
            operator,
            session,
            proved,
            codes,
        } => {
            let account = state.acting(&operator, &session, at)?;
            if account.factors.totp.is_none() {
                return Err(Rejection::WrongStatus("recovery codes need an authenticator app first"));
            }
            let used = account.prove(operator, proved, at)?;
            let made = Event::RecoveryCodesMade { operator, codes, at };
            // The code that was used up is one of the earlier ones.
            Ok(used.into_iter().chain([made]).collect())
        }
        FactorCommand::Reset { by, operator } => {
            let held = hand(state, &by, Right::UsersManage)?;
            let account = state.user(&operator)?;
            within(&held, &state.reach_of(&account.roles))?;
            // Whoever lost the phone lost the passkeys on it.
            let passkeys = account.without_passkeys(operator, by.operator, at);
            if passkeys.is_empty() {
                return removed(account, operator, by.operator, at);
            }
            let factor = removed(account, operator, by.operator, at).unwrap_or_default();
            Ok(factor.into_iter().chain(passkeys).collect())
        }
    }
}

fn removed(account: &Operator, operator: OperatorId, by: OperatorId, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    if account.factors == Factors::default() {
        return Err(Rejection::WrongStatus("there is no second factor"));
    }
    Ok(vec![Event::FactorRemoved { operator, by, at }])
}

/// Applies what happened to second factors.
pub(super) fn evolve(state: &mut State, event: &Event) {
    let operator = match event {
        Event::TotpOffered { operator, .. }
        | Event::TotpConfirmed { operator, .. }
        | Event::TotpUsed { operator, .. }
        | Event::FactorRemoved { operator, .. }
        | Event::RecoveryCodesMade { operator, .. }
        | Event::RecoveryCodeUsed { operator, .. } => operator,
        _ => return,
    };
    let Some(factors) = state.operators.get_mut(operator).map(|account| &mut account.factors) else {
        return;
    };
    match event.clone() {
        Event::TotpOffered {
            session, sealed, until, ..
        } => {
            factors.offered = Some(Offer { sealed, session, until });
        }
        Event::TotpConfirmed { step, .. } => {
            if let Some(offer) = factors.offered.take() {
                factors.totp = Some(Totp {
                    sealed: offer.sealed,
                    last_step: step,
                });
            }
        }
        Event::TotpUsed { step, .. } => {
            if let Some(totp) = &mut factors.totp {
                totp.last_step = step;
            }
        }
        Event::FactorRemoved { .. } => *factors = Factors::default(),
        Event::RecoveryCodesMade { codes, .. } => factors.recovery = codes,
        Event::RecoveryCodeUsed { code, .. } => {
            factors.recovery.remove(&code);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
