use std::collections::BTreeSet;

use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;

use super::*;
use crate::aggregate::{
    Actor, Command, FactorCommand, FactorUse, Proved, SESSION_LIFE_MS, UserCommand, Username, decide, evolve,
};

const ADA: OperatorId = OperatorId::from_bytes([1; 16]);
const SESSION: SessionId = SessionId::from_bytes([2; 16]);
const PHONE: PasskeyId = PasskeyId::from_bytes([3; 16]);

fn facts(ms: i64, id: u8) -> Facts {
    Facts {
        now: Timestamp::from_unix_ms(1_800_000_000_000 + ms),
        id: [id; 16],
    }
}

fn decided(state: &State, command: PasskeyCommand, ms: i64, id: u8) -> Result<Vec<Event>, Rejection> {
    decide(state, Command::Passkey(command), &facts(ms, id))
}

fn after(state: State, command: Command, ms: i64, id: u8) -> State {
    let events = decide(&state, command, &facts(ms, id)).unwrap();
    events.iter().fold(state, evolve)
}

fn log_in_by_password(operator: OperatorId, password: u8, factor: Option<FactorUse>) -> Command {
    Command::StartSession {
        operator,
        proved: Proved {
            password: Digest::of(&[password]),
            factor,
        },
        session_key: PublicKey::from_bytes([1; 32]),
        peer: "192.0.2.1".into(),
    }
}

fn register(operator: OperatorId, session: SessionId, credential: u8, name: &str) -> PasskeyCommand {
    PasskeyCommand::Register {
        operator,
        session,
        credential: vec![credential; 4],
        key: vec![9; 4],
        rp_id: "localhost".into(),
        name: name.into(),
        counter: 0,
    }
}

fn log_in(operator: OperatorId, passkey: PasskeyId, counter: u32) -> PasskeyCommand {
    PasskeyCommand::LogIn {
        operator,
        passkey,
        counter,
        session_key: PublicKey::from_bytes([4; 32]),
        peer: "192.0.2.9".into(),
    }
}

fn step_up(passkey: PasskeyId, counter: u32) -> PasskeyCommand {
    PasskeyCommand::StepUp {
        operator: ADA,
        session: SESSION,
        passkey,
        counter,
    }
}

/// Is ada, logged in.
fn plain() -> State {
    let link = PublicKey::from_bytes([5; 32]);
    let state = after(State::default(), Command::OpenSetup { link }, 0, 0);
    let finish = Command::FinishSetup {
        link,
        username: Username::new("ada").unwrap(),
        record: vec![1],
        peer: "192.0.2.1".into(),
    };
    let state = after(state, finish, 0, 1);
    after(state, log_in_by_password(ADA, 1, None), 0, 2)
}

/// Is ada with a passkey.
fn with_phone() -> State {
    after(plain(), Command::Passkey(register(ADA, SESSION, 1, " Phone ")), 1, 3)
}

fn all() -> Actor {
    let reach = Right::ALL
        .into_iter()
        .map(|right| (right, borealis_service_kit::auth::Sites::All))
        .collect();
    Actor { operator: ADA, reach }
}

#[test]
fn a_passkey_is_kept_named_used_and_removed() {
    let state = with_phone();
    let (operator, id, phone) = state.passkey(&[1; 4]).unwrap();
    assert_eq!(
        (operator, id, phone.name.as_str(), phone.last_used_at),
        (ADA, PHONE, "Phone", None)
    );
    let events = decided(&state, log_in(ADA, PHONE, 1), 5, 6).unwrap();
    assert!(matches!(
        events.as_slice(),
        [Event::SessionStarted { operator: ADA, session: by, .. }, Event::PasskeyUsed { passkey: PHONE, counter: 1, session, .. }]
            if by == session
    ));
    let state = after(state, Command::Passkey(log_in(ADA, PHONE, 1)), 5, 6);
    assert_eq!(state.passkey(&[1; 4]).unwrap().2.last_used_at, Some(facts(5, 0).now));
    assert!(
        state
            .live_session(&SessionId::from_bytes([6; 16]), facts(5, 0).now)
            .is_ok()
    );
    let rename = |name: &str| PasskeyCommand::Rename {
        operator: ADA,
        session: SESSION,
        passkey: PHONE,
        name: name.into(),
    };
    let state = after(state, Command::Passkey(rename("Old phone")), 6, 0);
    assert_eq!(state.passkey(&[1; 4]).unwrap().2.name, "Old phone");
    for bad in ["", "  ", &"x".repeat(MAX_PASSKEY_NAME_CHARS + 1)] {
        assert_eq!(decided(&state, rename(bad), 6, 0), Err(Rejection::PasskeyName), "{bad}");
    }
    let remove = PasskeyCommand::Remove {
        operator: ADA,
        session: SESSION,
        passkey: PHONE,
    };
    let state = after(state, Command::Passkey(remove.clone()), 7, 0);
    assert_eq!(
        decided(&state, log_in(ADA, PHONE, 9), 8, 8),
        Err(Rejection::PasskeyUnknown)
    );
    assert_eq!(decided(&state, remove, 8, 0), Err(Rejection::PasskeyMissing));
    assert_eq!(decided(&state, rename("x"), 8, 0), Err(Rejection::PasskeyMissing));
}

#[test]
fn a_counter_that_does_not_go_on_is_a_copy() {
    let state = after(with_phone(), Command::Passkey(log_in(ADA, PHONE, 5)), 5, 6);
    for back in [0, 1, 5] {
        assert_eq!(
            decided(&state, log_in(ADA, PHONE, back), 6, 7),
            Err(Rejection::PasskeyCopied),
            "{back}"
        );
        assert_eq!(
            decided(&state, step_up(PHONE, back), 6, 7),
            Err(Rejection::PasskeyCopied),
            "{back}"
        );
    }
    assert!(decided(&state, log_in(ADA, PHONE, 6), 6, 7).is_ok());
    // An authenticator without a counter always says 0.
    let state = after(with_phone(), Command::Passkey(log_in(ADA, PHONE, 0)), 5, 6);
    assert!(decided(&state, log_in(ADA, PHONE, 0), 6, 7).is_ok());
}

#[test]
fn a_passkey_counts_as_both_factors() {
    let offer = Command::Factor(FactorCommand::Offer {
        operator: ADA,
        session: SESSION,
        proved: Proved {
            password: Digest::of(&[1]),
            factor: None,
        },
        sealed: vec![7],
    });
    let confirm = Command::Factor(FactorCommand::Confirm {
        operator: ADA,
        session: SESSION,
        sealed: vec![7],
        step: 1,
    });
    let state = after(after(with_phone(), offer, 2, 0), confirm, 2, 0);
    let by_password = decide(&state, log_in_by_password(ADA, 1, None), &facts(3, 6));
    assert_eq!(by_password, Err(Rejection::FactorRequired));
    assert!(decided(&state, log_in(ADA, PHONE, 1), 3, 6).is_ok());
    let events = decided(&state, step_up(PHONE, 1), 3, 6).unwrap();
    assert!(matches!(
        events.as_slice(),
        [
            Event::SessionProved { session: SESSION, .. },
            Event::PasskeyUsed { session: SESSION, .. }
        ]
    ));
    let over = decided(&state, step_up(PHONE, 1), SESSION_LIFE_MS, 6);
    assert_eq!(over, Err(Rejection::SessionExpired));
}

#[test]
fn one_passkey_is_one_operators_and_there_are_not_endlessly_many() {
    let mut state = with_phone();
    let again = decided(&state, register(ADA, SESSION, 1, "again"), 2, 9);
    assert!(matches!(again, Err(Rejection::WrongStatus(_))), "{again:?}");
    for n in 1..MAX_PASSKEYS {
        let n = u8::try_from(n).unwrap();
        state = after(
            state,
            Command::Passkey(register(ADA, SESSION, n + 1, "more")),
            2,
            n + 10,
        );
    }
    let ids: BTreeSet<_> = state.operators[&ADA].passkeys.keys().collect();
    assert_eq!(ids.len(), MAX_PASSKEYS);
    let beyond = decided(&state, register(ADA, SESSION, 99, "beyond"), 2, 99);
    assert!(matches!(beyond, Err(Rejection::WrongStatus(_))), "{beyond:?}");
    let stranger = OperatorId::from_bytes([8; 16]);
    assert_eq!(
        decided(&state, log_in(stranger, PHONE, 1), 2, 9),
        Err(Rejection::OperatorUnknown)
    );
}

/// Is bob, an administrator besides ada, with a passkey.
fn with_bob() -> (State, OperatorId, PasskeyId) {
    let (bob, key) = (OperatorId::from_bytes([6; 16]), PasskeyId::from_bytes([11; 16]));
    let invite = Command::User(UserCommand::Invite {
        by: all(),
        username: Username::new("bob").unwrap(),
        roles: [borealis_bus_schema::ids::OperatorRoleName::administrator()].into(),
        link: PublicKey::from_bytes([7; 32]),
    });
    let state = after(plain(), invite, 1, 6);
    let link = Command::User(UserCommand::UseLink {
        link: PublicKey::from_bytes([7; 32]),
        username: Username::new("bob").unwrap(),
        record: vec![6],
        peer: "192.0.2.2".into(),
    });
    let state = after(after(state, link, 1, 0), log_in_by_password(bob, 6, None), 1, 10);
    let made = register(bob, SessionId::from_bytes([10; 16]), 2, "Key");
    (after(state, Command::Passkey(made), 1, 11), bob, key)
}

#[test]
fn a_disabled_operators_passkey_begins_nothing() {
    let (state, bob, key) = with_bob();
    assert!(decided(&state, log_in(bob, key, 1), 2, 12).is_ok());
    let disable = Command::User(UserCommand::Disable {
        by: all(),
        operator: bob,
        reason: String::new(),
        for_good: false,
    });
    let state = after(state, disable, 2, 0);
    assert_eq!(
        decided(&state, log_in(bob, key, 1), 3, 12),
        Err(Rejection::OperatorUnknown)
    );
}

#[test]
fn a_reset_of_password_or_factor_takes_passkeys_away() {
    let (state, bob, key) = with_bob();
    let reset = Command::User(UserCommand::Reset {
        by: all(),
        operator: bob,
        link: PublicKey::from_bytes([8; 32]),
    });
    let gone = after(state.clone(), reset, 2, 0);
    assert_eq!(
        decided(&gone, log_in(bob, key, 1), 3, 12),
        Err(Rejection::PasskeyUnknown)
    );
    let reset = Command::Factor(FactorCommand::Reset {
        by: all(),
        operator: bob,
    });
    let gone = after(state, reset.clone(), 2, 0);
    assert_eq!(
        decided(&gone, log_in(bob, key, 1), 3, 12),
        Err(Rejection::PasskeyUnknown)
    );
    let nothing = decide(&gone, reset, &facts(3, 0));
    assert!(matches!(nothing, Err(Rejection::WrongStatus(_))), "{nothing:?}");
}
