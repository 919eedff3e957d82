//! Each verb, each missing or wrong proof: its own code, and no event.

use borealis_access::aggregate::{Event, Username};
use borealis_access::{build, stored};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, JobId, OperatorId, OperatorRoleName};
use borealis_bus_schema::messages::access::MintGrant;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Authoriser, Bounds, Reach, SessionClaims, Sites, mint_session, mint_session_within};
use borealis_service_kit::bus::{Bus, RequestOptions};
use borealis_service_kit::clock::SystemClock;
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use borealis_test_support::biscuit_root;
use serde_json::json;
use std::sync::Arc;

use crate::client::{ask, ask_well, call, log_in};
use crate::factors::aged;
use crate::harness::{Operator, World, call_at, code, narrowed, now};

const ACCESS: Service = Service::Access;

#[tokio::test]
async fn session_and_logout_name_each_missing_proof() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let gone = log_in(&gateway, "ada", "p").await.unwrap();
    ask_well(&gateway, &gone, ACCESS, "logout", b"{}").await.unwrap();
    let before = access.events().unwrap();
    for verb in ["session", "logout"] {
        let ask = async |operator: &Operator, token: Option<String>| {
            code(ask(&gateway, ACCESS, verb, &call(operator, ACCESS, verb, b"{}"), token).await)
        };
        let token = |service, need, ago_ms| Some(narrowed(&ada.token, service, need, ago_ms));
        assert_eq!(ask(&ada, None).await, Code::TokenMissing);
        assert_eq!(ask(&ada, Some("rubbish".into())).await, Code::TokenInvalid);
        assert_eq!(
            ask(&ada, token(Service::Inventory, Need::Session, 0)).await,
            Code::WrongService
        );
        assert_eq!(
            ask(&ada, token(ACCESS, Need::Right(Right::JobsRun), 0)).await,
            Code::WrongAction
        );
        assert_eq!(
            ask(&ada, token(ACCESS, Need::Session, 31_000)).await,
            Code::TokenExpired
        );
        let revoked = Some(narrowed(&gone.token, ACCESS, Need::Session, 0));
        assert_eq!(ask(&gone, revoked).await, Code::TokenRevoked);
    }
    let token = Some(narrowed(&ada.token, ACCESS, Need::Session, 0));
    let logout = async |call: OperatorCall| code(ask(&gateway, ACCESS, "logout", &call, token.clone()).await);
    let good = call(&ada, ACCESS, "logout", b"{}");
    let unsigned = OperatorCall {
        proof: None,
        ..good.clone()
    };
    assert_eq!(logout(unsigned).await, Code::SignatureMissing);
    let altered = OperatorCall {
        body: b"{ }".to_vec(),
        ..good.clone()
    };
    assert_eq!(logout(altered).await, Code::SignatureInvalid);
    let old = call_at(&ada, ACCESS, "logout", b"{}", random::id(), now().plus_ms(-31_000));
    assert_eq!(logout(old).await, Code::SignatureExpired);
    let by_another_key = Operator {
        key: random::signing_key(),
        ..ada.clone()
    };
    assert_eq!(
        logout(call(&by_another_key, ACCESS, "logout", b"{}")).await,
        Code::SignatureInvalid
    );
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    access.stop().await.unwrap();
}

fn job() -> Vec<u8> {
    json!({"targets": {"all": true}, "role": "agent", "verb": "ping"})
        .to_string()
        .into_bytes()
}

fn job_call(operator: &Operator, command: CommandId, at: Timestamp) -> OperatorCall {
    call_at(operator, Service::Scheduler, "jobs-create", &job(), command, at)
}

/// Asks for a grant with somebody's biscuit, as the scheduler does.
async fn mint(bus: &Bus, by: &Operator, call: OperatorCall) -> Reply<borealis_bus_schema::messages::access::Grant> {
    let need = Need::Right(Right::JobsRun);
    mint_with(bus, Some(narrowed(&by.token, Service::Scheduler, need, 0)), call).await
}

async fn mint_with(
    bus: &Bus,
    biscuit: Option<String>,
    call: OperatorCall,
) -> Reply<borealis_bus_schema::messages::access::Grant> {
    let ask = MintGrant {
        call,
        expires_at: now().plus_ms(3_600_000),
    };
    let options = RequestOptions {
        biscuit,
        ..RequestOptions::default()
    };
    bus.request(&ask, options).await
}

#[tokio::test]
async fn a_grant_is_minted_for_exactly_one_request_of_a_live_session() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let scheduler = world.connect(Service::Scheduler).await;
    let (command, at) = (random::id(), now());
    let call = job_call(&ada, command, at);
    let grant = mint(&scheduler, &ada, call.clone()).await.unwrap();
    let again = mint(&scheduler, &ada, call.clone()).await.unwrap();
    assert_eq!(grant.grant, again.grant, "the same request, the same grant");

    let revoked = Arc::new(RevocationSet::new());
    let root = world.bus.trust().biscuit_root;
    let signing = Authoriser::new(root, Service::Signing, revoked, Arc::new(SystemClock)).unwrap();
    let caller = signing
        .authorise(Some(&grant.token), Need::Right(Right::JobsRun), None)
        .unwrap();
    assert_eq!(
        (caller.grant, caller.call_digest),
        (Some(grant.grant), Some(call.granted_digest(&command)))
    );
    assert_eq!(caller.session_key, PublicKey::of(&ada.key));
    assert_eq!((caller.sites, caller.rights.len()), (Sites::All, 1));

    let other = OperatorCall {
        body: b"{\"targets\":{\"all\":true},\"role\":\"agent\",\"verb\":\"ping\" }".to_vec(),
        ..call_at(&ada, Service::Scheduler, "jobs-create", &job(), command, at)
    };
    assert_eq!(code(mint(&scheduler, &ada, other).await), Code::IdReused);

    // It survives the log-out, and so does its repetition; a new one is not minted any more.
    ask_well(&gateway, &ada, ACCESS, "logout", b"{}").await.unwrap();
    assert_eq!(mint(&scheduler, &ada, call).await.unwrap().grant, grant.grant);
    let late = job_call(&ada, random::id(), now());
    assert_eq!(code(mint(&scheduler, &ada, late).await), Code::TokenRevoked);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn grant_mint_names_each_missing_proof() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let scheduler = world.connect(Service::Scheduler).await;
    let gone = log_in(&gateway, "ada", "p").await.unwrap();
    ask_well(&gateway, &gone, ACCESS, "logout", b"{}").await.unwrap();
    let before = access.events().unwrap();
    let good = || job_call(&ada, random::id(), now());
    let unsigned = OperatorCall { proof: None, ..good() };
    assert_eq!(code(mint(&scheduler, &ada, unsigned).await), Code::SignatureMissing);
    let elsewhere = call(&ada, Service::Enrollment, "codes-create", b"{}");
    assert_eq!(code(mint(&scheduler, &ada, elsewhere).await), Code::WrongAction);
    let altered = OperatorCall {
        body: b"{}".to_vec(),
        ..good()
    };
    assert_eq!(code(mint(&scheduler, &ada, altered).await), Code::SignatureInvalid);
    let old = job_call(&ada, random::id(), now().plus_ms(-31_000));
    assert_eq!(code(mint(&scheduler, &ada, old).await), Code::SignatureExpired);
    let stranger = Operator {
        session: random::id(),
        ..ada.clone()
    };
    let unknown = job_call(&stranger, random::id(), now());
    assert_eq!(code(mint(&scheduler, &ada, unknown).await), Code::SignatureInvalid);
    assert_eq!(code(mint_with(&scheduler, None, good()).await), Code::TokenMissing);
    let elsewhere = narrowed(&ada.token, Service::Scheduler, Need::Session, 0);
    assert_eq!(
        code(mint_with(&scheduler, Some(elsewhere), good()).await),
        Code::WrongAction
    );
    let over = job_call(&gone, random::id(), now());
    assert_eq!(code(mint(&scheduler, &gone, over).await), Code::TokenRevoked);
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn an_approval_is_granted_to_a_log_in_whose_password_was_proved_lately() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let scheduler = world.connect(Service::Scheduler).await;
    let approving = |by: &Operator| {
        let job = random::id::<JobId>().to_string();
        by.call(Service::Scheduler, "jobs-approve", &job, b"{}", random::id(), now())
            .unwrap()
    };
    let before = access.events().unwrap();
    let aged = aged(&world, &gateway, &ada, 600_000).await;
    assert_eq!(
        code(mint(&scheduler, &aged, approving(&aged)).await),
        Code::StepUpRequired
    );
    // A program has a token of its own, and is nobody's second person, whatever its token says.
    let claims = SessionClaims {
        operator: random::id(),
        username: "ada".to_owned(),
        session: random::id(),
        session_key: PublicKey::of(&ada.key),
        rights: Reach::from([(Right::JobsRun, Sites::All)]),
        expires_at: now().plus_ms(60_000),
    };
    let bounds = Bounds {
        is_token: true,
        proved_at: Some(now()),
        ..Bounds::default()
    };
    let program = Operator {
        session: claims.session,
        token: mint_session_within(&biscuit_root(&world.bus).unwrap(), &claims, &bounds).unwrap(),
        ..ada.clone()
    };
    assert_eq!(
        code(mint(&scheduler, &program, approving(&program)).await),
        Code::SessionRequired
    );
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    assert!(mint(&scheduler, &ada, approving(&ada)).await.is_ok());
    access.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_may_not_run_jobs_gets_no_grant() {
    let world = World::start().await;
    let scheduler = world.connect(Service::Scheduler).await;
    let (operator, key) = (random::id::<OperatorId>(), random::signing_key());
    let mut reader = Operator {
        session: random::id(),
        key,
        token: String::new(),
    };
    let claims = SessionClaims {
        operator,
        username: "reader".to_owned(),
        session: reader.session,
        session_key: PublicKey::of(&reader.key),
        rights: Reach::from([(Right::JobsRun, Sites::All)]),
        expires_at: now().plus_ms(60_000),
    };
    // It held the right when it was minted; its operator does so no more.
    reader.token = mint_session(&biscuit_root(&world.bus).unwrap(), &claims).unwrap();
    let events = [
        Event::OperatorCreated {
            operator,
            username: Username::new("reader").unwrap(),
            roles: [OperatorRoleName::new("viewer").unwrap()].into(),
            peer: "192.0.2.9".into(),
            at: now(),
        },
        Event::SessionStarted {
            session: reader.session,
            operator,
            session_key: PublicKey::of(&reader.key),
            peer: "192.0.2.9".into(),
            at: now(),
            expires_at: now().plus_ms(60_000),
        },
    ];
    let seeds = events.iter().map(|event| stored::encode(event).unwrap());
    world.seed(ACCESS, seeds.collect()).await;
    let access = world.serve(ACCESS, build).await;
    let before = access.events().unwrap();
    let refused = mint(&scheduler, &reader, job_call(&reader, random::id(), now())).await;
    assert_eq!(code(refused), Code::RightMissing);
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_scheduler_asks_for_grants_and_passwords_stay_here() {
    let (world, access, gateway, ada) = World::with_ada().await;
    // The gateway's bus user may publish to every verb of a service; the service itself says no.
    let refused = mint(&gateway, &ada, job_call(&ada, random::id(), now())).await;
    assert_eq!(code(refused), Code::RightMissing);
    let follower = world.connect(Service::Signing).await;
    let read = borealis_bus_schema::messages::events::EventsRead { after: 0, limit: 100 };
    let subject = borealis_bus_schema::subjects::Subject::Service {
        service: ACCESS,
        verb: borealis_bus_schema::ids::VerbName::new("events-read").unwrap(),
    };
    let body = borealis_bus_schema::codec::encode(&read).unwrap();
    let answer = follower
        .request_raw(&subject, body, &RequestOptions::default())
        .await
        .unwrap();
    let page: borealis_bus_schema::messages::events::EventsPage = borealis_bus_schema::reply::decode(&answer).unwrap();
    for event in &page.events {
        let secret = ["PasswordSet", "Audited"].contains(&event.kind.as_str());
        assert_eq!(event.body.is_none(), secret, "{}", event.kind);
    }
    assert!(page.events.iter().any(|event| event.kind == "PasswordSet"));
    access.stop().await.unwrap();
}
