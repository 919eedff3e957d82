//! Passkeys: a key that an operator's authenticator holds, and that stands for password and second factor together.
//!
//! Whether an answer of an authenticator is good was verified before a command comes here ([`crate::webauthn`]); what is
//! decided is whether the passkey still counts, whose it is, and whether its counter went on: where two hold the same key, the
//! counters of one of them stand still.

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, PasskeyId, SessionId};
use borealis_bus_schema::time::Timestamp;

use super::{Event, Facts, Operator, Rejection, State, Status, sessions};

/// Is how many passkeys an operator has at most.
pub const MAX_PASSKEYS: usize = 20;

/// Is the longest name that an operator gives a passkey, in characters.
pub const MAX_PASSKEY_NAME_CHARS: usize = 64;

/// Is an operator's passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The authenticator's name for it.
    pub credential: Vec<u8>,
    /// Its public key, a COSE map.
    pub key: Vec<u8>,
    /// The name of this server that it is for.
    pub rp_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its counter when it was last used; authenticators that have none say 0.
    pub counter: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

impl Passkey {
    /// Decides whether a counter may come next.
    ///
    /// Source: WebAuthn Level 2, section 7.2, step 21.
    const fn goes_on(&self, counter: u32) -> bool {
        (counter == 0 && self.counter == 0) || counter > self.counter
    }
}

/// Is what happens to passkeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasskeyCommand {
    /// Keeps a passkey that was made.
    Register {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
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
    },
    /// Calls it something else.
    Rename {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
        /// The passkey.
        passkey: PasskeyId,
        /// The name from now on.
        name: String,
    },
    /// Takes it away.
    Remove {
        /// The operator.
        operator: OperatorId,
        /// The session in which it is asked.
        session: SessionId,
        /// The passkey.
        passkey: PasskeyId,
    },
    /// Begins the session of whoever used it.
    LogIn {
        /// The operator.
        operator: OperatorId,
        /// The passkey.
        passkey: PasskeyId,
        /// Its counter.
        counter: u32,
        /// The key that the passkey signed for.
        session_key: PublicKey,
        /// From where.
        peer: String,
    },
    /// Notes that it was used once more in a session.
    StepUp {
        /// The operator.
        operator: OperatorId,
        /// The session.
        session: SessionId,
        /// The passkey.
        passkey: PasskeyId,
        /// Its counter.
        counter: u32,
    },
}

impl State {
    /// Finds a passkey by the authenticator's name for it.
    pub fn passkey(&self, credential: &[u8]) -> Option<(OperatorId, PasskeyId, &Passkey)> {
        self.operators.iter().find_map(|(operator, account)| {
            let mut theirs = account.passkeys.iter();
            let (id, passkey) = theirs.find(|(_, passkey)| passkey.credential == credential)?;
            Some((*operator, *id, passkey))
        })
    }
}

impl Operator {
    /// Decides whether a passkey was used as it may be.
    fn used(
        &self,
        operator: OperatorId,
        passkey: PasskeyId,
        session: SessionId,
        counter: u32,
        at: Timestamp,
    ) -> Result<Event, Rejection> {
        if self.status != Status::Active {
            return Err(Rejection::OperatorUnknown);
        }
        let found = self.passkeys.get(&passkey).ok_or(Rejection::PasskeyUnknown)?;
        if !found.goes_on(counter) {
            return Err(Rejection::PasskeyCopied);
        }
        Ok(Event::PasskeyUsed {
            operator,
            passkey,
            session,
            counter,
            at,
        })
    }

    /// Takes every passkey away.
    pub(super) fn without_passkeys(&self, operator: OperatorId, by: OperatorId, at: Timestamp) -> Vec<Event> {
        let removed = self.passkeys.keys().map(|passkey| Event::PasskeyRemoved {
            operator,
            passkey: *passkey,
            by,
            at,
        });
        removed.collect()
    }
}

/// Decides what happens to passkeys.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub(super) fn decide(state: &State, command: PasskeyCommand, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        PasskeyCommand::Register {
            operator,
            session,
            credential,
            key,
            rp_id,
            name,
            counter,
        } => {
            let account = state.acting(&operator, &session, at)?;
            if state.passkey(&credential).is_some() {
                return Err(Rejection::WrongStatus("this passkey is known already"));
            }
            if account.passkeys.len() >= MAX_PASSKEYS {
                return Err(Rejection::WrongStatus(
                    "there are as many passkeys as one may have; remove one",
                ));
            }
            Ok(vec![Event::PasskeyAdded {
                operator,
                passkey: PasskeyId::from_bytes(facts.id),
                credential,
                key,
                rp_id,
                name: named(&name)?,
                counter,
                at,
            }])
        }
        PasskeyCommand::Rename {
            operator,
            session,
            passkey,
            name,
        } => {
            own(state.acting(&operator, &session, at)?, &passkey)?;
            let name = named(&name)?;
            Ok(vec![Event::PasskeyNamed {
                operator,
                passkey,
                name,
                at,
            }])
        }
        PasskeyCommand::Remove {
            operator,
            session,
            passkey,
        } => {
            own(state.acting(&operator, &session, at)?, &passkey)?;
            let by = operator;
            Ok(vec![Event::PasskeyRemoved {
                operator,
                passkey,
                by,
                at,
            }])
        }
        PasskeyCommand::LogIn {
            operator,
            passkey,
            counter,
            session_key,
            peer,
        } => {
            let account = state.operators.get(&operator).ok_or(Rejection::OperatorUnknown)?;
            let session = SessionId::from_bytes(facts.id);
            let used = account.used(operator, passkey, session, counter, at)?;
            Ok(vec![sessions::begun(operator, session_key, peer, facts), used])
        }
        PasskeyCommand::StepUp {
            operator,
            session,
            passkey,
            counter,
        } => {
            let account = state.acting(&operator, &session, at)?;
            let used = account.used(operator, passkey, session, counter, at)?;
            Ok(vec![Event::SessionProved { session, operator, at }, used])
        }
    }
}

fn own<'a>(account: &'a Operator, passkey: &PasskeyId) -> Result<&'a Passkey, Rejection> {
    account.passkeys.get(passkey).ok_or(Rejection::PasskeyMissing)
}

fn named(name: &str) -> Result<String, Rejection> {
    let name = name.trim();
    if (1..=MAX_PASSKEY_NAME_CHARS).contains(&name.chars().count()) {
        Ok(name.to_owned())
    } else {
        Err(Rejection::PasskeyName)
    }
}

/// Applies what happened to passkeys.
pub(super) fn evolve(state: &mut State, event: &Event) {
    match event.clone() {
        Event::PasskeyAdded {
            operator,
            passkey,
            credential,
            key,
            rp_id,
            name,
            counter,
            at,
        } => {
            let added = Passkey {
                credential,
                key,
                rp_id,
                name,
                counter,
                created_at: at,
                last_used_at: None,
            };
            if let Some(account) = state.operators.get_mut(&operator) {
                account.passkeys.insert(passkey, added);
            }
        }
        Event::PasskeyNamed {
            operator,
            passkey,
            name,
            ..
        } => with(state, &operator, &passkey, |found| found.name = name),
        Event::PasskeyUsed {
            operator,
            passkey,
            counter,
            at,
            ..
        } => with(state, &operator, &passkey, |found| {
            found.counter = counter;
            found.last_used_at = Some(at);
        }),
        Event::PasskeyRemoved { operator, passkey, .. } => {
            if let Some(account) = state.operators.get_mut(&operator) {
                account.passkeys.remove(&passkey);
            }
        }
        _ => {}
    }
}

fn with(state: &mut State, operator: &OperatorId, passkey: &PasskeyId, change: impl FnOnce(&mut Passkey)) {
    let account = state.operators.get_mut(operator);
    if let Some(found) = account.and_then(|account| account.passkeys.get_mut(passkey)) {
        change(found);
    }
}

#[cfg(test)]
mod tests;
