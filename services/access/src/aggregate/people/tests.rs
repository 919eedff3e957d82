//! Who may make whom: given what happened, when somebody asks, then these events or that rejection.

use super::super::roles::RoleCommand;
use super::super::{Command, MAX_PAIRS, Proved, Setup, State, decide as decide_any, evolve as evolve_any};
use super::*;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::order::Digest;
use borealis_service_kit::auth::Sites;
use proptest::prelude::*;

const ADA: OperatorId = OperatorId::from_bytes([1; 16]);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}
fn facts(id: u8) -> Facts {
    Facts {
        now: at(10),
        id: [id; 16],
    }
}
fn role(name: &str) -> OperatorRoleName {
    OperatorRoleName::new(name).unwrap()
}
fn roles(names: &[&str]) -> BTreeSet<OperatorRoleName> {
    names.iter().map(|name| role(name)).collect()
}
fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}
fn link(text: &str) -> PublicKey {
    PublicKey::from_bytes(Digest::of(text.as_bytes()).0)
}

fn after(mut state: State, command: Command, id: u8) -> State {
    for event in decide_any(&state, command, &facts(id)).unwrap() {
        state = evolve_any(state, &event);
    }
    state
}

/// Is ada, who administers, and nobody else.
fn founded() -> State {
    let state = after(State::default(), Command::OpenSetup { link: link("setup") }, 0);
    let finish = Command::FinishSetup {
        link: link("setup"),
        username: name("ada"),
        record: vec![1],
        peer: "192.0.2.1".into(),
    };
    after(state, finish, 1)
}

fn by(state: &State, operator: OperatorId) -> Actor {
    let reach = state.standing(&operator).unwrap().reach;
    Actor { operator, reach }
}

fn invite(by: Actor, who: &str, names: &[&str]) -> Command {
    Command::User(UserCommand::Invite {
        by,
        username: name(who),
        roles: roles(names),
        link: link(who),
    })
}

/// Lets ada invite somebody, who sets a password at once.
fn with(state: State, id: u8, who: &str, names: &[&str]) -> State {
    let command = invite(by(&state, ADA), who, names);
    let state = after(state, command, id);
    let link = Command::User(UserCommand::UseLink {
        link: link(who),
        username: name(who),
        record: vec![id],
        peer: "192.0.2.2".into(),
    });
    after(state, link, 0)
}

fn with_role(state: State, who: &str, rights: &[(Right, Sites)]) -> State {
    with_limited_role(state, who, &rights.iter().cloned().collect())
}

fn with_limited_role(state: State, who: &str, reach: &Reach) -> State {
    let command = RoleCommand::Create {
        by: by(&state, ADA),
        role: role(who),
        description: String::new(),
        reach: reach.clone(),
        max_devices: reach.strictest_job_limit(),
    };
    after(state, Command::Role(command), 0)
}

fn rejected(state: &State, command: UserCommand) -> Rejection {
    decide_any(state, Command::User(command), &facts(99)).unwrap_err()
}

const BOB: OperatorId = OperatorId::from_bytes([2; 16]);

fn disable(by: Actor, operator: OperatorId, for_good: bool) -> UserCommand {
    UserCommand::Disable {
        by,
        operator,
        reason: "left".into(),
        for_good,
    }
}

#[test]
fn a_link_sets_a_password_once_for_its_own_name() {
    let state = founded();
    let state = after(state.clone(), invite(by(&state, ADA), "bob", &["technician"]), 2);
    assert_eq!(state.operators[&BOB].record, None);
    let link = |username: &str, text: &str| UserCommand::UseLink {
        link: link(text),
        username: name(username),
        record: vec![7],
        peer: "192.0.2.2".into(),
    };
    assert_eq!(rejected(&state, link("ada", "bob")), Rejection::LinkOfAnother);
    assert_eq!(rejected(&state, link("bob", "guess")), Rejection::SetupDone);
    let used = after(state, Command::User(link("bob", "bob")), 0);
    assert_eq!(used.operators[&BOB].record, Some(vec![7]));
    assert_eq!(rejected(&used, link("bob", "bob")), Rejection::LinkUsed);
}

#[test]
fn a_link_works_for_a_day() {
    let state = founded();
    let state = after(state.clone(), invite(by(&state, ADA), "bob", &["viewer"]), 2);
    assert_eq!(
        state.link(link("bob"), at(10 + LINK_LIFE_MS - 1)),
        Ok(LinkFor::Operator(BOB))
    );
    assert_eq!(
        state.link(link("bob"), at(10 + LINK_LIFE_MS)),
        Err(Rejection::LinkExpired)
    );
    let other = Command::User(UserCommand::Reset {
        by: by(&state, ADA),
        operator: BOB,
        link: link("newer"),
    });
    let state = after(state, other, 0);
    assert_eq!(state.link(link("bob"), at(11)), Err(Rejection::LinkExpired));
    assert_eq!(state.link(link("newer"), at(11)), Ok(LinkFor::Operator(BOB)));
    assert_eq!(
        State {
            setup: Setup::Unopened,
            ..State::default()
        }
        .link(link("bob"), at(11)),
        Err(Rejection::SecretWrong)
    );
}

#[test]
fn names_are_given_once_and_free_again_when_their_operator_was_deleted() {
    let state = with(founded(), 2, "bob", &["viewer"]);
    let again = invite(by(&state, ADA), "bob", &["viewer"]);
    assert_eq!(
        decide_any(&state, again.clone(), &facts(3)),
        Err(Rejection::UsernameTaken)
    );
    let state = after(state.clone(), Command::User(disable(by(&state, ADA), BOB, true)), 0);
    assert_eq!(state.operators[&BOB].record, None);
    assert_eq!(
        decide_any(&state, again.clone(), &facts(3)),
        Err(Rejection::LinkKeyTaken)
    );
    let mut anew = again;
    if let Command::User(UserCommand::Invite { link: key, .. }) = &mut anew {
        *key = link("another");
    }
    let state = after(state, anew, 3);
    assert_eq!(state.names[&name("bob")], OperatorId::from_bytes([3; 16]));
    let enable = UserCommand::Enable {
        by: by(&state, ADA),
        operator: BOB,
    };
    assert_eq!(
        rejected(&state, enable),
        Rejection::WrongStatus("the operator was deleted")
    );
}

#[test]
fn a_disabled_operator_has_no_session_no_standing_and_comes_back_in_a_new_epoch() {
    let state = with(founded(), 2, "bob", &["technician"]);
    let log_in = Command::StartSession {
        operator: BOB,
        proved: Proved {
            password: Digest::of(&[2]),
            factor: None,
        },
        session_key: PublicKey::from_bytes([9; 32]),
        peer: "192.0.2.2".into(),
    };
    let session = SessionId::from_bytes([8; 16]);
    let state = after(state, log_in.clone(), 8);
    assert!(state.live_session(&session, at(10)).is_ok());
    let state = after(state.clone(), Command::User(disable(by(&state, ADA), BOB, false)), 0);
    assert_eq!(state.live_session(&session, at(10)), Err(Rejection::SessionEnded));
    assert_eq!(state.standing(&BOB), Err(Rejection::OperatorUnknown));
    assert_eq!(
        decide_any(&state, log_in.clone(), &facts(9)),
        Err(Rejection::OperatorUnknown)
    );
    let again = disable(by(&state, ADA), BOB, false);
    assert!(matches!(rejected(&state, again), Rejection::WrongStatus(_)));
    let enable = UserCommand::Enable {
        by: by(&state, ADA),
        operator: BOB,
    };
    let state = after(state, Command::User(enable), 0);
    assert_eq!(state.standing(&BOB).unwrap().epoch, 1);
    assert_eq!(state.live_session(&session, at(10)), Err(Rejection::SessionEnded));
    assert!(decide_any(&state, log_in, &facts(9)).is_ok());
}

#[test]
fn the_last_administrator_stays() {
    let state = with(founded(), 2, "bob", &["technician"]);
    let ada = by(&state, ADA);
    assert_eq!(
        rejected(&state, disable(ada.clone(), ADA, false)),
        Rejection::LastAdministrator
    );
    let demote = UserCommand::SetRoles {
        by: ada.clone(),
        operator: ADA,
        roles: roles(&["technician"]),
    };
    assert_eq!(rejected(&state, demote.clone()), Rejection::LastAdministrator);
    let reset = UserCommand::Reset {
        by: ada.clone(),
        operator: ADA,
        link: link("x"),
    };
    assert_eq!(rejected(&state, reset), Rejection::LastAdministrator);
    // One who was only invited cannot log in yet and does not count.
    let invited = after(state.clone(), invite(ada.clone(), "eve", &["administrator"]), 3);
    assert_eq!(rejected(&invited, demote.clone()), Rejection::LastAdministrator);
    let two = with(state, 4, "eve", &["administrator"]);
    assert!(decide_any(&two, Command::User(demote), &facts(9)).is_ok());
    assert!(decide_any(&two, Command::User(disable(ada, ADA, true)), &facts(9)).is_ok());
}

#[test]
fn a_reset_voids_what_the_old_password_left_behind() {
    let state = log_in(with(founded(), 2, "bob", &["technician"]), BOB, 7);
    let epoch = state.operators[&BOB].epoch;
    let reset = Command::User(UserCommand::Reset {
        by: by(&state, ADA),
        operator: BOB,
        link: link("new"),
    });
    // Every service takes these two for: no token of an epoch before counts any more.
    let events = decide_any(&state, reset.clone(), &facts(9)).unwrap();
    let voided = events
        .iter()
        .any(|event| matches!(event, Event::OperatorEnabled { operator: BOB, epoch: new, .. } if *new == epoch + 1));
    assert!(voided, "{events:?}");
    let state = after(state, reset, 9);
    let bob = &state.operators[&BOB];
    assert_eq!(
        (bob.status, bob.epoch, bob.record.is_none()),
        (Status::Active, epoch + 1, true)
    );
    assert_eq!(state.link(link("new"), at(1)), Ok(LinkFor::Operator(BOB)));
    assert_eq!(state.live_sessions_of(&BOB, at(1)).count(), 0);
}

#[test]
fn a_log_in_that_began_under_another_password_begins_no_session() {
    let state = with(founded(), 2, "bob", &["technician"]);
    let log_in = |password: u8| Command::StartSession {
        operator: BOB,
        proved: Proved {
            password: Digest::of(&[password]),
            factor: None,
        },
        session_key: PublicKey::from_bytes([9; 32]),
        peer: "192.0.2.2".into(),
    };
    assert!(decide_any(&state, log_in(2), &facts(8)).is_ok());
    assert_eq!(
        decide_any(&state, log_in(3), &facts(8)),
        Err(Rejection::OperatorUnknown)
    );
}

#[test]
fn losing_a_right_begins_an_epoch_and_winning_one_does_not() {
    let state = with(founded(), 2, "bob", &["technician"]);
    let set = |names: &[&str]| {
        Command::User(UserCommand::SetRoles {
            by: by(&state, ADA),
            operator: BOB,
            roles: roles(names),
        })
    };
    let more = decide_any(&state, set(&["technician", "administrator"]), &facts(0)).unwrap();
    assert_eq!(more.len(), 1, "{more:?}");
    let less = decide_any(&state, set(&["viewer"]), &facts(0)).unwrap();
    let [
        Event::RolesAssigned { .. },
        Event::RightsChanged {
            operator: BOB,
            epoch: 1,
            reach,
            ..
        },
    ] = less.as_slice()
    else {
        panic!("{less:?}")
    };
    assert!(!reach.contains_key(&Right::JobsRun) && reach.contains_key(&Right::JobsRead));
}

#[test]
fn a_role_that_shrinks_takes_from_all_who_have_it() {
    let run = |sites| [(Right::JobsRun, sites)];
    let state = with_role(founded(), "runner", &run(Sites::All));
    let state = with(state, 2, "bob", &["runner"]);
    let state = with(state, 3, "eve", &["runner", "technician"]);
    let default = Sites::Some([SiteName::default_site()].into());
    let narrow = RoleCommand::Update {
        by: by(&state, ADA),
        role: role("runner"),
        description: None,
        reach: Some(run(default).into()),
        max_devices: None,
    };
    let events = decide_any(&state, Command::Role(narrow), &facts(0)).unwrap();
    // Eve keeps the right by another role.
    let [Event::RoleSet { .. }, Event::RightsChanged { operator: BOB, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
}

#[test]
fn a_limit_is_a_part_of_what_a_role_holds() {
    let run = Reach::from([(Right::JobsRun, Sites::All), (Right::RolesManage, Sites::All)]);
    let state = with_limited_role(founded(), "runner", &run.clone().with_job_limit(Some(5)));
    let state = with(state, 2, "bob", &["runner"]);
    let state = with(state, 3, "eve", &["runner", "technician"]);
    let update = |who, max_devices, reach| {
        let command = RoleCommand::Update {
            by: by(&state, who),
            role: role("runner"),
            description: None,
            reach,
            max_devices,
        };
        decide_any(&state, Command::Role(command), &facts(0))
    };
    let limit_of = |events: &[Event]| match events.first() {
        Some(Event::RoleSet { reach, .. }) => reach.strictest_job_limit(),
        other => panic!("{other:?}"),
    };
    // A lower one takes from those who have no other role that gives more; a higher one and none take nothing.
    let lowered = update(ADA, Some(Some(2)), None).unwrap();
    let [
        Event::RoleSet { .. },
        Event::RightsChanged {
            operator: BOB, reach, ..
        },
    ] = lowered.as_slice()
    else {
        panic!("{lowered:?}")
    };
    assert_eq!((limit_of(&lowered), reach.strictest_job_limit()), (Some(2), Some(2)));
    for max_devices in [Some(9), None] {
        let raised = update(ADA, Some(max_devices), None).unwrap();
        assert_eq!((raised.len(), limit_of(&raised)), (1, max_devices));
    }
    // It stays when only the rights change, and goes with the right that it limits.
    assert_eq!(limit_of(&update(ADA, None, Some(run.clone())).unwrap()), Some(5));
    let manage = Reach::from([(Right::RolesManage, Sites::All)]);
    assert_eq!(limit_of(&update(ADA, None, Some(manage.clone())).unwrap()), None);
    assert_eq!(update(ADA, Some(Some(1)), Some(manage)), Err(Rejection::NothingToLimit));
    // Nobody gives a higher limit than their own.
    for beyond in [Some(6), None] {
        assert_eq!(update(BOB, Some(beyond), None), Err(Rejection::ExceedsOwnRights));
    }
    assert!(update(BOB, Some(Some(4)), None).is_ok());
}

#[test]
fn the_default_roles_limit_nothing() {
    let state = founded();
    for name in state.role_names() {
        assert_eq!(state.role(&name).unwrap().max_devices(), None, "{name}");
    }
}

#[test]
fn roles_and_sites_that_are_none_are_refused() {
    let state = founded();
    let ada = || by(&state, ADA);
    let create = |name: &str, reach: Reach| {
        let command = RoleCommand::Create {
            by: ada(),
            role: role(name),
            description: String::new(),
            reach,
            max_devices: None,
        };
        decide_any(&state, Command::Role(command), &facts(0))
    };
    let berlin = Reach::from([(Right::JobsRun, Sites::Some([SiteName::new("berlin").unwrap()].into()))]);
    assert_eq!(create("x", berlin), Err(Rejection::SiteUnknown));
    assert_eq!(create("viewer", Reach::new()), Err(Rejection::RoleExists));
    assert_eq!(create("administrator", Reach::new()), Err(Rejection::RoleExists));
    let fixed = RoleCommand::Update {
        by: ada(),
        role: role("administrator"),
        description: None,
        reach: Some(Reach::new()),
        max_devices: None,
    };
    assert_eq!(
        decide_any(&state, Command::Role(fixed), &facts(0)),
        Err(Rejection::RoleFixed)
    );
    for (names, why) in [(&[][..], Rejection::NoRole), (&["nobody"][..], Rejection::RoleUnknown)] {
        let command = invite(ada(), "bob", names);
        assert_eq!(decide_any(&state, command, &facts(2)), Err(why));
    }
}

#[test]
fn an_operators_rights_fit_a_cookie() {
    let mut state = founded();
    let names: Vec<SiteName> = (0..=MAX_PAIRS)
        .map(|n| SiteName::new(&format!("s{n}")).unwrap())
        .collect();
    for site in &names {
        let command = RoleCommand::CreateSite {
            by: by(&state, ADA),
            site: site.clone(),
            description: String::new(),
        };
        state = after(state, Command::Role(command), 0);
    }
    let on = |right, sites: &[SiteName]| (right, Sites::Some(sites.iter().cloned().collect()));
    let half = MAX_PAIRS / 2;
    let state = with_role(state, "one", &[on(Right::JobsRun, &names[..half])]);
    let state = with_role(state, "other", &[on(Right::JobsRead, &names[..=half])]);
    let both = invite(by(&state, ADA), "bob", &["one", "other"]);
    assert_eq!(decide_any(&state, both, &facts(2)), Err(Rejection::TooWide));
    let state = with(state, 2, "bob", &["one"]);
    let widened = |sites: &[SiteName]| {
        let command = RoleCommand::Update {
            by: by(&state, ADA),
            role: role("one"),
            description: None,
            reach: Some([on(Right::JobsRun, sites)].into()),
            max_devices: None,
        };
        decide_any(&state, Command::Role(command), &facts(0))
    };
    assert!(widened(&names[..MAX_PAIRS]).is_ok());
    assert_eq!(widened(&names), Err(Rejection::TooWide));
}

#[test]
fn a_token_that_holds_less_than_its_operator_hands_on_no_more_than_it_holds() {
    let state = founded();
    let token = Actor {
        operator: ADA,
        reach: Reach::from([(Right::UsersManage, Sites::All), (Right::DevicesRead, Sites::All)]),
    };
    let refused = decide_any(&state, invite(token.clone(), "bob", &["viewer"]), &facts(2));
    assert_eq!(refused, Err(Rejection::ExceedsOwnRights));
    let narrow = Actor {
        reach: Reach::from([(Right::UsersManage, Sites::Some([SiteName::default_site()].into()))]),
        ..token
    };
    assert_eq!(
        decide_any(&state, invite(narrow, "bob", &["viewer"]), &facts(2)),
        Err(Rejection::RightMissing(Right::UsersManage))
    );
}

fn log_in(state: State, operator: OperatorId, id: u8) -> State {
    let command = Command::StartSession {
        operator,
        proved: Proved {
            password: Digest::of(state.operators[&operator].record.as_ref().unwrap()),
            factor: None,
        },
        session_key: PublicKey::from_bytes([id; 32]),
        peer: "192.0.2.2".into(),
    };
    after(state, command, id)
}

const fn session(id: u8) -> SessionId {
    SessionId::from_bytes([id; 16])
}

#[test]
fn another_password_ends_the_other_sessions_and_no_one_elses() {
    let state = with(founded(), 2, "bob", &["viewer"]);
    let state = log_in(log_in(log_in(state, BOB, 10), BOB, 11), ADA, 12);
    let change = UserCommand::ChangePassword {
        operator: BOB,
        session: session(10),
        proved: Proved {
            password: Digest::of(state.operators[&BOB].record.as_ref().unwrap()),
            factor: None,
        },
        record: vec![42],
    };
    let state = after(state, Command::User(change.clone()), 0);
    assert_eq!(state.operators[&BOB].record, Some(vec![42]));
    assert!(state.live_session(&session(10), at(11)).is_ok() && state.live_session(&session(12), at(11)).is_ok());
    assert_eq!(state.live_session(&session(11), at(11)), Err(Rejection::SessionEnded));
    // The old password was proved: it is another's now.
    assert_eq!(rejected(&state, change.clone()), Rejection::OperatorUnknown);
    let state = after(state.clone(), Command::User(disable(by(&state, ADA), BOB, false)), 0);
    assert_eq!(rejected(&state, change), Rejection::SessionEnded);
}

#[test]
fn a_session_is_ended_by_its_operator_or_by_one_who_holds_as_much() {
    let rights = [(Right::UsersManage, Sites::All), (Right::DevicesRead, Sites::All)];
    let state = with_role(founded(), "desk", &rights);
    let state = with(state, 2, "bob", &["desk"]);
    let state = with(state, 3, "eve", &["viewer"]);
    let eve = OperatorId::from_bytes([3; 16]);
    let state = log_in(log_in(log_in(state, BOB, 10), eve, 11), ADA, 12);
    let end = |who: OperatorId, which: u8| UserCommand::EndSession {
        by: by(&state, who),
        session: session(which),
    };
    assert_eq!(rejected(&state, end(BOB, 12)), Rejection::ExceedsOwnRights);
    assert_eq!(rejected(&state, end(BOB, 11)), Rejection::ExceedsOwnRights);
    assert_eq!(
        rejected(&state, end(eve, 10)),
        Rejection::RightMissing(Right::UsersManage)
    );
    assert_eq!(rejected(&state, end(ADA, 99)), Rejection::SessionMissing);
    for (who, which) in [(BOB, 10), (eve, 11), (ADA, 10), (ADA, 11)] {
        let ended = after(state.clone(), Command::User(end(who, which)), 0);
        assert_eq!(
            ended.live_session(&session(which), at(11)),
            Err(Rejection::SessionEnded)
        );
        let again = UserCommand::EndSession {
            by: by(&ended, ADA),
            session: session(which),
        };
        assert!(matches!(rejected(&ended, again), Rejection::WrongStatus(_)));
    }
}

fn any_reach() -> impl Strategy<Value = Reach> {
    let sites = prop_oneof![
        2 => Just(Sites::All),
        1 => Just(Sites::Some([SiteName::default_site()].into())),
        1 => Just(Sites::Some([SiteName::new("berlin").unwrap()].into())),
    ];
    let rights = prop::sample::select([Right::ALL.to_vec(), vec![Right::JobsRun; Right::ALL.len()]].concat());
    let limit = prop::option::of(0u64..4);
    (prop::collection::btree_map(rights, sites, 0..6), limit)
        .prop_map(|(rights, limit)| Reach::from(rights).with_job_limit(limit))
}

/// Is something that the manager tries, with a number that picks the object.
#[derive(Debug, Clone)]
enum Try {
    Invite(u8),
    SetRoles(u8, u8),
    Disable(u8),
    Reset(u8),
    Enable(u8),
    Create(Reach),
    Update(u8, Reach),
}

fn any_try() -> impl Strategy<Value = Try> {
    prop_oneof![
        any::<u8>().prop_map(Try::Invite),
        (any::<u8>(), any::<u8>()).prop_map(|(who, what)| Try::SetRoles(who, what)),
        any::<u8>().prop_map(Try::Disable),
        any::<u8>().prop_map(Try::Reset),
        any::<u8>().prop_map(Try::Enable),
        any_reach().prop_map(Try::Create),
        (any::<u8>(), any_reach()).prop_map(|(which, reach)| Try::Update(which, reach)),
    ]
}

fn pick<T: Clone>(from: impl IntoIterator<Item = T>, number: u8) -> T {
    let all: Vec<T> = from.into_iter().collect();
    all[usize::from(number) % all.len()].clone()
}

fn command_of(state: &State, by: Actor, tried: Try, step: u8) -> Command {
    let user = |number| pick(state.operators.keys().copied(), number);
    let role_of = |number| pick(state.role_names(), number);
    let link = link(&step.to_string());
    match tried {
        Try::Invite(what) => Command::User(UserCommand::Invite {
            by,
            username: name(&format!("u{step}")),
            roles: [role_of(what)].into(),
            link,
        }),
        Try::SetRoles(who, what) => Command::User(UserCommand::SetRoles {
            by,
            operator: user(who),
            roles: [role_of(what)].into(),
        }),
        Try::Disable(who) => Command::User(disable(by, user(who), false)),
        Try::Reset(who) => Command::User(UserCommand::Reset {
            by,
            operator: user(who),
            link,
        }),
        Try::Enable(who) => Command::User(UserCommand::Enable {
            by,
            operator: user(who),
        }),
        Try::Create(reach) => Command::Role(RoleCommand::Create {
            by,
            role: role(&format!("r{step}")),
            description: String::new(),
            max_devices: reach.strictest_job_limit(),
            reach,
        }),
        Try::Update(which, reach) => Command::Role(RoleCommand::Update {
            by,
            role: role_of(which),
            description: None,
            max_devices: Some(reach.strictest_job_limit()),
            reach: Some(reach),
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a manager with any set of rights tries in whatever order: nobody ever holds something that neither they nor
    /// the manager held before, and nobody who holds more than the manager is touched at all.
    #[test]
    fn nobody_hands_on_more_than_they_hold(
        managers in any_reach(),
        others in any_reach(),
        tries in prop::collection::vec(any_try(), 1..12),
    ) {
        let site = RoleCommand::CreateSite {
            by: by(&founded(), ADA),
            site: SiteName::new("berlin").unwrap(),
            description: String::new(),
        };
        let mut managing = managers;
        managing.insert(Right::UsersManage, Sites::All);
        managing.insert(Right::RolesManage, Sites::All);
        let state = after(founded(), Command::Role(site), 0);
        let state = with_limited_role(state, "manager", &managing);
        let state = with_limited_role(state, "other", &others);
        let state = with(state, 2, "bob", &["manager"]);
        let mut state = with(state, 3, "eve", &["other"]);
        for (step, tried) in (100u8..).zip(tries) {
            let Ok(standing) = state.standing(&BOB) else { break };
            let held = standing.reach.clone();
            let actor = Actor { operator: BOB, reach: held.clone() };
            let command = command_of(&state, actor, tried, step);
            let Ok(events) = decide_any(&state, command, &facts(step)) else { continue };
            let before = state.clone();
            for event in &events {
                state = evolve_any(state, event);
            }
            for (id, account) in &state.operators {
                let was = before.operators.get(id).map(|was| before.reach_of(&was.roles)).unwrap_or_default();
                let now = state.reach_of(&account.roles);
                prop_assert!(reach::covers(&reach::join(&was, &held), &now), "{:?} got {:?}", id, now);
                if !reach::covers(&held, &was) {
                    let lost = reach::meet(&was, &held);
                    prop_assert_eq!(account.status, before.operators[id].status);
                    prop_assert_eq!(&account.record, &before.operators[id].record);
                    prop_assert_eq!(&account.roles, &before.operators[id].roles);
                    prop_assert!(reach::covers(&reach::join(&now, &lost), &was));
                }
            }
            prop_assert!(state.operators[&ADA].roles.contains(&OperatorRoleName::administrator()));
            prop_assert!(state.standing(&ADA).is_ok());
        }
    }
}
