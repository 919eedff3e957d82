//! Given what happened, when a command comes, then these events or that rejection.

use super::super::{
    Command, RoleCommand, SESSION_LIFE_MS, UserCommand, Username, decide as decide_any, evolve as evolve_any,
};
use super::*;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::OperatorRoleName;
use borealis_service_kit::auth::Sites;

const ADA: OperatorId = OperatorId::from_bytes([1; 16]);
const SESSION: SessionId = SessionId::from_bytes([2; 16]);
const SEALED: [u8; 3] = [7; 3];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}
fn code(number: u8) -> Digest {
    Digest([number; 32])
}
fn proved(factor: Option<FactorUse>) -> Proved {
    Proved {
        password: Digest::of(&[1]),
        factor,
    }
}
const fn totp(step: u64) -> Option<FactorUse> {
    Some(FactorUse::Totp { step })
}
fn recovery(number: u8) -> Option<FactorUse> {
    Some(FactorUse::Recovery { code: code(number) })
}

fn decided(state: &State, command: Command, ms: i64, id: u8) -> Result<Vec<Event>, Rejection> {
    let facts = Facts {
        now: at(ms),
        id: [id; 16],
    };
    decide_any(state, command, &facts)
}
fn after(state: State, command: Command, ms: i64, id: u8) -> State {
    let events = decided(&state, command, ms, id).unwrap();
    events.iter().fold(state, evolve_any)
}
fn log_in(operator: OperatorId, password: u8, factor: Option<FactorUse>) -> Command {
    Command::StartSession {
        operator,
        proved: Proved {
            password: Digest::of(&[password]),
            factor,
        },
        session_key: PublicKey::from_bytes([9; 32]),
        peer: "192.0.2.7".into(),
    }
}
fn offer(factor: Option<FactorUse>) -> Command {
    Command::Factor(FactorCommand::Offer {
        operator: ADA,
        session: SESSION,
        proved: proved(factor),
        sealed: SEALED.to_vec(),
    })
}
fn confirm_in(session: SessionId, sealed: &[u8]) -> Command {
    Command::Factor(FactorCommand::Confirm {
        operator: ADA,
        session,
        sealed: sealed.to_vec(),
        step: 100,
    })
}
fn confirm() -> Command {
    confirm_in(SESSION, &SEALED)
}
fn remove() -> Command {
    Command::Factor(FactorCommand::Remove {
        operator: ADA,
        session: SESSION,
    })
}
fn make_codes(factor: Option<FactorUse>) -> Command {
    Command::Factor(FactorCommand::MakeCodes {
        operator: ADA,
        session: SESSION,
        proved: proved(factor),
        codes: [code(1), code(2)].into(),
    })
}

/// Is ada, logged in, without a second factor.
fn plain() -> State {
    let link = PublicKey::from_bytes(Digest::of(b"setup").0);
    let state = after(State::default(), Command::OpenSetup { link }, 0, 0);
    let finish = Command::FinishSetup {
        link,
        username: Username::new("ada").unwrap(),
        record: vec![1],
        peer: "192.0.2.1".into(),
    };
    let state = after(state, finish, 0, 1);
    after(state, log_in(ADA, 1, None), 0, 2)
}

/// Is ada with an app, of which the code of period 100 was used.
fn with_app() -> State {
    let state = after(plain(), offer(None), 1, 0);
    after(state, confirm(), 2, 0)
}

#[test]
fn an_app_counts_once_a_code_of_it_was_confirmed() {
    let offered = after(plain(), offer(None), 1, 0);
    assert!(!offered.operators[&ADA].factors.standing().second_factor);
    assert!(decided(&offered, log_in(ADA, 1, None), 2, 3).is_ok());
    let state = after(offered, confirm(), 2, 0);
    assert!(state.operators[&ADA].factors.standing().second_factor);
    assert_eq!(
        decided(&state, log_in(ADA, 1, None), 3, 3),
        Err(Rejection::FactorRequired)
    );
    let events = decided(&state, log_in(ADA, 1, totp(101)), 3, 3).unwrap();
    assert!(matches!(
        events.as_slice(),
        [Event::SessionStarted { .. }, Event::TotpUsed { step: 101, .. }]
    ));
}

#[test]
fn only_the_session_that_made_an_app_confirms_it_and_not_for_long() {
    let state = after(plain(), offer(None), 1, 0);
    let elsewhere = SessionId::from_bytes([5; 16]);
    let state = after(state, log_in(ADA, 1, None), 1, 5);
    let nothing = Err(Rejection::NothingOffered);
    assert_eq!(decided(&state, confirm_in(elsewhere, &SEALED), 2, 0), nothing);
    assert_eq!(decided(&state, confirm_in(SESSION, &[8; 3]), 2, 0), nothing);
    assert_eq!(decided(&state, confirm(), 1 + OFFER_LIFE_MS, 0), nothing);
    assert_eq!(decided(&plain(), confirm(), 2, 0), nothing);
    let state = after(state, confirm(), OFFER_LIFE_MS, 0);
    assert_eq!(decided(&state, confirm(), OFFER_LIFE_MS, 0), nothing);
}

#[test]
fn a_code_serves_once_and_no_earlier_one_serves_after_it() {
    let state = with_app();
    for used in [99, 100] {
        let again = decided(&state, log_in(ADA, 1, totp(used)), 3, 3);
        assert_eq!(again, Err(Rejection::FactorWrong), "{used}");
    }
    let state = after(state, log_in(ADA, 1, totp(102)), 3, 3);
    for used in [101, 102] {
        let again = decided(&state, log_in(ADA, 1, totp(used)), 4, 4);
        assert_eq!(again, Err(Rejection::FactorWrong), "{used}");
    }
    assert!(decided(&state, log_in(ADA, 1, totp(103)), 4, 4).is_ok());
}

#[test]
fn a_code_is_worth_nothing_without_the_password() {
    let state = with_app();
    let guessed = decided(&state, log_in(ADA, 8, totp(101)), 3, 3);
    assert_eq!(guessed, Err(Rejection::OperatorUnknown));
}

#[test]
fn a_recovery_code_serves_once() {
    let state = after(with_app(), make_codes(totp(101)), 3, 0);
    assert_eq!(state.operators[&ADA].factors.standing().recovery_codes_left, 2);
    let state = after(state, log_in(ADA, 1, recovery(1)), 4, 4);
    assert_eq!(state.operators[&ADA].factors.standing().recovery_codes_left, 1);
    for gone in [1, 9] {
        let again = decided(&state, log_in(ADA, 1, recovery(gone)), 5, 5);
        assert_eq!(again, Err(Rejection::FactorWrong), "{gone}");
    }
    assert!(decided(&state, log_in(ADA, 1, recovery(2)), 5, 5).is_ok());
}

#[test]
fn recovery_codes_need_an_app_and_take_the_place_of_earlier_ones() {
    let none = decided(&plain(), make_codes(None), 1, 0);
    assert!(matches!(none, Err(Rejection::WrongStatus(_))));
    let state = with_app();
    assert_eq!(decided(&state, make_codes(None), 3, 0), Err(Rejection::FactorRequired));
    assert_eq!(
        decided(&state, make_codes(totp(100)), 3, 0),
        Err(Rejection::FactorWrong)
    );
    let state = after(state, make_codes(totp(101)), 3, 0);
    let state = after(state, log_in(ADA, 1, recovery(1)), 4, 4);
    // With a recovery code new ones are made, and it is used up by that.
    let state = after(state, make_codes(recovery(2)), 5, 0);
    assert_eq!(state.operators[&ADA].factors.standing().recovery_codes_left, 2);
}

#[test]
fn another_app_takes_the_place_of_the_first_only_with_a_code() {
    let state = with_app();
    assert_eq!(decided(&state, offer(None), 3, 0), Err(Rejection::FactorRequired));
    let state = after(state, offer(totp(101)), 3, 0);
    assert_eq!(state.operators[&ADA].factors.totp.as_ref().unwrap().last_step, 101);
    assert!(decided(&state, confirm(), 4, 0).is_ok());
}

#[test]
fn a_second_factor_goes_with_its_codes() {
    let state = after(with_app(), make_codes(totp(101)), 3, 0);
    let over = decided(&state, remove(), SESSION_LIFE_MS, 0);
    assert_eq!(over, Err(Rejection::SessionExpired));
    let state = after(state, remove(), 4, 0);
    assert_eq!(state.operators[&ADA].factors, Factors::default());
    assert!(decided(&state, log_in(ADA, 1, None), 5, 5).is_ok());
    assert!(matches!(
        decided(&state, remove(), 5, 0),
        Err(Rejection::WrongStatus(_))
    ));
}

fn actor(state: &State, operator: OperatorId) -> Actor {
    let reach = state.standing(&operator).unwrap().reach;
    Actor { operator, reach }
}

fn joined(state: State, id: u8, name: &str, role: &str) -> State {
    let link = PublicKey::from_bytes(Digest::of(name.as_bytes()).0);
    let username = Username::new(name).unwrap();
    let invite = Command::User(UserCommand::Invite {
        by: actor(&state, ADA),
        username: username.clone(),
        roles: [OperatorRoleName::new(role).unwrap()].into(),
        link,
    });
    let state = after(state, invite, 1, id);
    let link = Command::User(UserCommand::UseLink {
        link,
        username,
        record: vec![id],
        peer: "192.0.2.2".into(),
    });
    after(state, link, 1, 0)
}

fn reset(by: Actor, operator: OperatorId) -> Command {
    Command::Factor(FactorCommand::Reset { by, operator })
}

fn step_up(password: u8, factor: Option<FactorUse>) -> Command {
    Command::Factor(FactorCommand::StepUp {
        operator: ADA,
        session: SESSION,
        proved: Proved {
            password: Digest::of(&[password]),
            factor,
        },
    })
}

#[test]
fn a_session_is_proved_again_by_all_that_a_log_in_takes() {
    let events = decided(&plain(), step_up(1, None), 5, 0).unwrap();
    assert!(matches!(
        events.as_slice(),
        [Event::SessionProved { session: SESSION, .. }]
    ));
    assert_eq!(
        decided(&plain(), step_up(8, None), 5, 0),
        Err(Rejection::OperatorUnknown)
    );
    let state = with_app();
    assert_eq!(decided(&state, step_up(1, None), 5, 0), Err(Rejection::FactorRequired));
    assert_eq!(
        decided(&state, step_up(1, totp(100)), 5, 0),
        Err(Rejection::FactorWrong)
    );
    let state = after(state, step_up(1, totp(101)), 5, 0);
    assert_eq!(
        decided(&state, step_up(1, totp(101)), 5, 0),
        Err(Rejection::FactorWrong)
    );
    let over = decided(&state, step_up(1, totp(102)), SESSION_LIFE_MS, 0);
    assert_eq!(over, Err(Rejection::SessionExpired));
}

#[test]
fn whoever_lost_the_app_is_helped_by_one_who_holds_no_less() {
    let bob = OperatorId::from_bytes([6; 16]);
    let state = joined(with_app(), 6, "bob", "technician");
    let state = after(state, log_in(bob, 6, None), 2, 7);
    let refused = decided(&state, reset(actor(&state, bob), ADA), 3, 0);
    assert!(matches!(refused, Err(Rejection::RightMissing(_))), "{refused:?}");
    // Whoever may manage operators and no more helps none who holds more.
    let role = Command::Role(RoleCommand::Create {
        by: actor(&state, ADA),
        role: OperatorRoleName::new("helpdesk").unwrap(),
        description: String::new(),
        reach: [(Right::UsersManage, Sites::All)].into(),
        max_devices: None,
    });
    let state = joined(after(state, role, 2, 0), 8, "eve", "helpdesk");
    let beyond = decided(&state, reset(actor(&state, OperatorId::from_bytes([8; 16])), ADA), 3, 0);
    assert_eq!(beyond, Err(Rejection::ExceedsOwnRights));
    let none = decided(&state, reset(actor(&state, ADA), bob), 3, 0);
    assert!(matches!(none, Err(Rejection::WrongStatus(_))), "{none:?}");
    let state = after(state.clone(), reset(actor(&state, ADA), ADA), 3, 0);
    assert!(!state.operators[&ADA].factors.standing().second_factor);
}

#[test]
fn a_lost_password_does_not_take_the_second_factor_away() {
    let bob = OperatorId::from_bytes([6; 16]);
    let state = joined(with_app(), 6, "bob", "administrator");
    let reset = Command::User(UserCommand::Reset {
        by: actor(&state, bob),
        operator: ADA,
        link: PublicKey::from_bytes(Digest::of(b"link").0),
    });
    let state = after(state, reset, 3, 0);
    let link = Command::User(UserCommand::UseLink {
        link: PublicKey::from_bytes(Digest::of(b"link").0),
        username: Username::new("ada").unwrap(),
        record: vec![1],
        peer: "192.0.2.2".into(),
    });
    let state = after(state, link, 4, 0);
    assert_eq!(
        decided(&state, log_in(ADA, 1, None), 5, 5),
        Err(Rejection::FactorRequired)
    );
}
