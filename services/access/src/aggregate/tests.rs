//! Given what happened, when a command comes, then these events or that rejection.

use super::sessions::REMEMBERED_MS;
use super::*;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::{Sites, reach};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}
fn facts(ms: i64, id: u8) -> Facts {
    Facts {
        now: at(ms),
        id: [id; 16],
    }
}
fn ada() -> Username {
    Username::new("Ada ").unwrap()
}
fn key() -> PublicKey {
    PublicKey::from_bytes([9; 32])
}
fn link() -> PublicKey {
    PublicKey::from_bytes([4; 32])
}

fn given(commands: Vec<(Command, Facts)>) -> State {
    commands.into_iter().fold(State::default(), |state, (command, facts)| {
        let events = decide(&state, command, &facts).unwrap();
        events.iter().fold(state, evolve)
    })
}

fn open() -> (Command, Facts) {
    (Command::OpenSetup { link: link() }, facts(0, 0))
}
fn finish() -> (Command, Facts) {
    let command = Command::FinishSetup {
        link: link(),
        username: ada(),
        record: vec![1],
        peer: "192.0.2.1".into(),
    };
    (command, facts(1, 1))
}
fn log_in() -> (Command, Facts) {
    let command = Command::StartSession {
        operator: OperatorId::from_bytes([1; 16]),
        proved: Proved {
            password: Digest::of(&[1]),
            factor: None,
        },
        session_key: key(),
        peer: "192.0.2.7".into(),
    };
    (command, facts(2, 2))
}
fn session() -> SessionId {
    SessionId::from_bytes([2; 16])
}
fn mint(expires_at: Timestamp) -> Command {
    Command::MintGrant {
        session: session(),
        command: CommandId::from_bytes([3; 16]),
        call_digest: Digest::of(b"call"),
        expires_at,
        acts: GrantFor::Job,
        asker: Asker {
            operator: OperatorId::from_bytes([1; 16]),
            key: key(),
            reach: reach::everything(),
            devices: None,
            token_ends_at: None,
        },
    }
}
fn end() -> Command {
    Command::EndSession {
        session: session(),
        reason: "log-out".into(),
    }
}

#[test]
fn the_first_operator_is_made_through_the_link_with_every_right_everywhere() {
    let state = given(vec![open(), finish()]);
    let (_, operator) = state.operator(&ada()).unwrap();
    assert_eq!(state.reach_of(&operator.roles), reach::everything());
    assert_eq!(operator.record.as_deref(), Some(&[1][..]));
    assert_eq!(state.setup, Setup::Done);
}

#[test]
fn a_link_works_once() {
    let state = given(vec![open(), finish()]);
    assert_eq!(decide(&state, finish().0, &facts(2, 5)), Err(Rejection::SetupDone));
    assert_eq!(decide(&state, open().0, &facts(2, 5)), Err(Rejection::SetupDone));
}

#[test]
fn another_link_opens_nothing_and_a_new_link_replaces_the_old() {
    let state = given(vec![open()]);
    assert_eq!(
        may_set_up(&state, PublicKey::from_bytes([5; 32])),
        Err(Rejection::SecretWrong)
    );
    assert_eq!(may_set_up(&State::default(), link()), Err(Rejection::SecretWrong));
    let other = PublicKey::from_bytes([6; 32]);
    let state = given(vec![open(), (Command::OpenSetup { link: other }, facts(1, 0))]);
    assert_eq!(decide(&state, finish().0, &facts(2, 1)), Err(Rejection::SecretWrong));
    assert_eq!(may_set_up(&state, other), Ok(()));
}

#[test]
fn a_session_lives_for_twelve_hours_and_its_address_is_known_afterwards() {
    let state = given(vec![open(), finish(), log_in()]);
    assert_eq!(state.sessions[&session()].expires_at, at(2 + SESSION_LIFE_MS));
    let (_, operator) = state.operator(&ada()).unwrap();
    assert!(operator.known_peers.contains("192.0.2.7") && operator.known_peers.contains("192.0.2.1"));
}

#[test]
fn nobody_logs_in_who_is_no_operator() {
    let state = given(vec![open()]);
    assert_eq!(
        decide(&state, log_in().0, &facts(2, 2)),
        Err(Rejection::OperatorUnknown)
    );
}

#[test]
fn an_ended_session_does_nothing_more() {
    let state = given(vec![open(), finish(), log_in(), (end(), facts(3, 0))]);
    assert_eq!(decide(&state, end(), &facts(4, 0)), Err(Rejection::SessionEnded));
    assert_eq!(decide(&state, mint(at(9)), &facts(4, 4)), Err(Rejection::SessionEnded));
}

#[test]
fn a_session_whose_time_is_over_does_nothing_more() {
    let state = given(vec![open(), finish(), log_in()]);
    let late = facts(2 + SESSION_LIFE_MS, 4);
    assert_eq!(decide(&state, end(), &late), Err(Rejection::SessionExpired));
    assert_eq!(
        decide(&state, mint(at(i64::MAX >> 2)), &late),
        Err(Rejection::SessionExpired)
    );
}

#[test]
fn a_grant_ends_when_asked_but_after_seven_days_at_most() {
    let state = given(vec![open(), finish(), log_in()]);
    let ends = |asked| match decide(&state, mint(asked), &facts(10, 4)).unwrap().remove(0) {
        Event::GrantMinted(grant) => grant.expires_at,
        other => panic!("{other:?}"),
    };
    assert_eq!(ends(at(60_000)), at(60_000));
    assert_eq!(ends(at(365 * 24 * 3_600_000)), at(10 + GRANT_LIFE_MS));
    assert_eq!(decide(&state, mint(at(10)), &facts(10, 4)), Err(Rejection::GrantEnded));
}

#[test]
fn a_grant_speaks_for_its_sessions_operator_and_reaches_what_that_one_reaches() {
    let state = given(vec![open(), finish(), log_in()]);
    let minted = decide(&state, mint(at(99)), &facts(10, 4)).unwrap();
    let [Event::GrantMinted(grant)] = minted.as_slice() else {
        panic!("{minted:?}")
    };
    assert_eq!(
        (grant.author, grant.username.as_str()),
        (OperatorId::from_bytes([1; 16]), "ada")
    );
    assert_eq!(grant.reach, Reach::from([(Right::JobsRun, Sites::All)]));
    assert_eq!(grant.session_key, key());
}

#[test]
fn nobody_is_granted_what_they_may_not_do() {
    let mut state = given(vec![open(), finish(), log_in()]);
    for account in state.operators.values_mut() {
        account.roles = [OperatorRoleName::new("viewer").unwrap()].into();
    }
    assert_eq!(
        decide(&state, mint(at(99)), &facts(10, 4)),
        Err(Rejection::RightMissing(Right::JobsRun))
    );
    assert_eq!(
        decide(&State::default(), mint(at(99)), &facts(10, 4)),
        Err(Rejection::SessionUnknown)
    );
}

#[test]
fn a_grant_is_revoked_by_its_author_and_by_whoever_manages_operators_and_holds_as_much() {
    let (ada, bob) = (OperatorId::from_bytes([1; 16]), OperatorId::from_bytes([7; 16]));
    let mut state = given(vec![open(), finish(), log_in()]);
    let mut account = state.operators[&ada].clone();
    account.roles = [OperatorRoleName::new("viewer").unwrap()].into();
    state.operators.insert(bob, account);
    let revoke = |author, by: Option<OperatorId>| {
        let command = Command::RevokeGrant {
            grant: GrantId::from_bytes([5; 16]),
            author,
            reason: "why".into(),
            by: by.map(|operator| Actor {
                operator,
                reach: reach::everything(),
            }),
        };
        decide(&state, command, &facts(10, 4))
    };
    let revoked = Event::GrantRevoked {
        grant: GrantId::from_bytes([5; 16]),
        reason: "why".into(),
        at: at(10),
    };
    for (author, by) in [(bob, Some(bob)), (bob, Some(ada)), (ada, Some(ada)), (ada, None)] {
        assert_eq!(revoke(author, by), Ok(vec![revoked.clone()]), "{author} {by:?}");
    }
    assert_eq!(revoke(ada, Some(bob)), Err(Rejection::RightMissing(Right::UsersManage)));
}

#[test]
fn the_first_start_has_minutes() {
    let start = |lifetime_ms| Command::StartBootstrap {
        session_key: key(),
        lifetime_ms,
    };
    let long = decide(&State::default(), start(i64::MAX), &facts(0, 5)).unwrap();
    let [Event::BootstrapSessionStarted { expires_at, .. }] = long.as_slice() else {
        panic!("{long:?}")
    };
    assert_eq!(*expires_at, at(BOOTSTRAP_LIFE_MS));
    assert_eq!(
        decide(&State::default(), start(0), &facts(0, 5)),
        Err(Rejection::LifetimeTooShort)
    );
}

#[test]
fn what_was_over_a_day_ago_is_forgotten() {
    let mut state = given(vec![open(), finish(), log_in()]);
    let over = 2 + SESSION_LIFE_MS;
    state.forget_ended(at(over + REMEMBERED_MS - 1));
    assert_eq!(state.live_session(&session(), at(over)), Err(Rejection::SessionExpired));
    state.forget_ended(at(over + REMEMBERED_MS));
    assert_eq!(state.live_session(&session(), at(over)), Err(Rejection::SessionUnknown));
}

#[test]
fn names_have_one_form() {
    assert_eq!(Username::new(" ADA@Example.org").unwrap().as_str(), "ada@example.org");
    for bad in [
        "",
        " ",
        "a b",
        "bootstrap",
        "Bootstrap",
        "-a",
        "ä",
        &"a".repeat(65),
        "a\0",
    ] {
        assert_eq!(Username::new(bad), None, "{bad:?}");
    }
}
