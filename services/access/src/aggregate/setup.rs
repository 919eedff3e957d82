//! Set-up: the link of the first start, and the first operator who is made through it.

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, OperatorRoleName};
use borealis_bus_schema::time::Timestamp;

use super::{Event, Facts, Operator, Rejection, State, Username};

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

/// Makes a set-up link.
pub(super) fn open(state: &State, link: PublicKey, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    match state.setup {
        Setup::Done => Err(Rejection::SetupDone),
        Setup::Unopened | Setup::Open(_) => Ok(vec![Event::SetupOpened { link, at }]),
    }
}

/// Makes the first operator.
pub(super) fn finish(
    state: &State,
    link: PublicKey,
    username: Username,
    record: Vec<u8>,
    peer: String,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
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

/// Applies what happened to set-up.
pub(super) fn evolve(state: &mut State, event: &Event) {
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
        _ => {}
    }
}
