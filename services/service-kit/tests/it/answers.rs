//! Every request gets an answer, whatever came in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use borealis_bus_schema::audit::{self, AuditRecord, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, VerbName};
use borealis_bus_schema::messages::device::TellResult;
use borealis_bus_schema::messages::library::PutScript;
use borealis_bus_schema::operator::OperatorAnswer;
use borealis_bus_schema::order::Language;
use borealis_bus_schema::reply::{self, WireError};
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_event_store::{EventLog, NewEvent, StreamId, StreamWrite};
use borealis_service_kit::auth::{Sites, attenuate};
use borealis_service_kit::bus::{Bus, RequestOptions};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;
use borealis_service_kit::service::{Limits, ServiceBuilder, Tell};
use borealis_test_support::{DEADLINE, TestDevice, TestOperator, TestService, ask, eventually, narrowed};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::Deployment;

const ENROLLMENT: Service = Service::Enrollment;

fn subject(verb: &str) -> Subject {
    Subject::Service {
        service: ENROLLMENT,
        verb: VerbName::new(verb).unwrap(),
    }
}

async fn raw(gateway: &Bus, verb: &str, body: Vec<u8>) -> Code {
    let answer = gateway
        .request_raw(&subject(verb), body, &RequestOptions::default())
        .await
        .unwrap();
    reply::decode::<OperatorAnswer>(&answer).unwrap_err().code
}

fn listing(builder: ServiceBuilder) -> ServiceBuilder {
    builder
        .operator("codes-list", async |ctx: OperatorCtx| {
            Ok(json!({"user": ctx.caller.username, "site": ctx.call.query("site")}))
        })
        .operator("approvals-list", async |_: OperatorCtx| -> Result<Value, WireError> {
            panic!("this handler always fails")
        })
}

/// Counts every event.
fn events(service: &TestService) -> usize {
    service.log.read_all(0, 1_000).unwrap().len()
}

/// Reads the records of the audit.
fn audited(service: &TestService) -> Vec<AuditRecord> {
    let events = service.log.read_all(0, 1_000).unwrap();
    let records = events.iter().filter(|event| event.kind == audit::KIND);
    records
        .map(|event| codec::decode(event.body.as_ref().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn bad_input_has_its_code_and_the_service_lives_on() {
    let all = Deployment::start().await;
    let service = all.serve(ENROLLMENT, listing).await;
    let gateway = all.connect(Service::Gateway).await;
    assert_eq!(raw(&gateway, "make-coffee", Vec::new()).await, Code::UnknownVerb);
    assert_eq!(raw(&gateway, "codes-list", Vec::new()).await, Code::Malformed);
    assert_eq!(raw(&gateway, "codes-list", b"\xff\xff".to_vec()).await, Code::Malformed);
    assert_eq!(raw(&gateway, "codes-list", vec![0x81; 100_000]).await, Code::TooDeep);
    assert_eq!(raw(&gateway, "codes-list", vec![0; 1_000_001]).await, Code::TooLarge);
    assert_eq!(
        all.ask(&gateway, ENROLLMENT, "codes-list", b"").await.unwrap(),
        r#"{"site":null,"user":"ada"}"#
    );
    assert_eq!(raw(&gateway, "events-read", Vec::new()).await, Code::RightMissing);
    // Each is on record as whoever's bus user it was.
    let records = audited(&service);
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.verb.as_str(), record.outcome, record.via))
        .collect();
    let refused = |verb, code| (verb, Outcome::Refused(code), Some(Service::Gateway));
    assert_eq!(
        found,
        [
            refused("make-coffee", Code::UnknownVerb),
            refused("codes-list", Code::Malformed),
            refused("codes-list", Code::Malformed),
            refused("codes-list", Code::TooDeep),
            refused("codes-list", Code::TooLarge),
            refused("events-read", Code::RightMissing),
        ]
    );
    service.stop().await.unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a sender of another version")]
async fn another_major_version_is_refused() {
    let all = Deployment::start().await;
    let service = all.serve(ENROLLMENT, listing).await;
    let gateway = all.bus.connect_service(Service::Gateway).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Borealis-Schema", "borealis/2.0");
    let name = subject("codes-list").to_string();
    let asked = gateway.client().request_with_headers(name, headers, "".into());
    let refused = reply::decode::<OperatorAnswer>(&asked.await.unwrap().payload).unwrap_err();
    assert_eq!(refused.code, Code::UnknownSchema);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn each_missing_proof_has_its_code() {
    let all = Deployment::start().await;
    let service = all
        .serve(ENROLLMENT, |builder| {
            listing(builder).operator("codes-revoke", async |_: OperatorCtx| Ok(json!({})))
        })
        .await;
    let gateway = all.connect(Service::Gateway).await;
    let code = async |verb: &str, call: &_, biscuit: Option<String>| {
        let options = RequestOptions {
            biscuit,
            ..RequestOptions::default()
        };
        gateway.call(ENROLLMENT, verb, call, options).await.unwrap_err().code
    };
    let list = all.call(ENROLLMENT, "codes-list", "", b"");
    let narrowed = |service, need, ago: i64| {
        let now = SystemClock.now().plus_ms(-ago);
        Some(attenuate(&all.operator.token, service, need, now, 30_000).unwrap())
    };
    let need = borealis_bus_schema::routes::of_verb(ENROLLMENT, "codes-list")
        .unwrap()
        .need;
    let other = borealis_bus_schema::routes::Need::Session;
    assert_eq!(code("codes-list", &list, None).await, Code::TokenMissing);
    assert_eq!(code("codes-list", &list, Some("x".into())).await, Code::TokenInvalid);
    assert_eq!(
        code("codes-list", &list, narrowed(Service::Library, need, 0)).await,
        Code::WrongService
    );
    assert_eq!(
        code("codes-list", &list, narrowed(ENROLLMENT, other, 0)).await,
        Code::WrongAction
    );
    assert_eq!(
        code("codes-list", &list, narrowed(ENROLLMENT, need, 31_000)).await,
        Code::TokenExpired
    );
    let mut revoke = all.call(ENROLLMENT, "codes-revoke", "0123", b"{}");
    revoke.body = b"{ }".to_vec();
    let token = all.options(ENROLLMENT, "codes-revoke").biscuit;
    assert_eq!(
        code("codes-revoke", &revoke, token.clone()).await,
        Code::SignatureInvalid
    );
    revoke.proof = None;
    assert_eq!(code("codes-revoke", &revoke, token).await, Code::SignatureMissing);
    service.revoked.end_session(all.operator.session);
    let token = all.options(ENROLLMENT, "codes-list").biscuit;
    assert_eq!(code("codes-list", &list, token).await, Code::TokenRevoked);
    // Nothing was done, and each refusal is recorded, with whoever's token it was.
    let records = audited(&service);
    assert_eq!(events(&service), records.len(), "nothing else was written");
    for code in [
        Code::TokenMissing,
        Code::TokenInvalid,
        Code::WrongService,
        Code::WrongAction,
        Code::TokenExpired,
        Code::SignatureInvalid,
        Code::SignatureMissing,
        Code::TokenRevoked,
    ] {
        let record = records.iter().find(|record| record.outcome == Outcome::Refused(code));
        let record = record.unwrap_or_else(|| panic!("no record of {code}"));
        assert!(record.action.contains("/api/v1/codes"), "{record:?}");
        let proved = !matches!(code, Code::TokenMissing | Code::TokenInvalid);
        assert_eq!(record.actor.name.as_deref() == Some("ada"), proved, "{record:?}");
        assert_eq!(record.session == Some(all.operator.session), proved, "{record:?}");
    }
    let revoke = records.iter().find(|record| record.verb == "codes-revoke").unwrap();
    assert_eq!(revoke.objects, ["code/0123"]);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_fails_its_own_request_only() {
    let all = Deployment::start().await;
    let service = all.serve(ENROLLMENT, listing).await;
    let gateway = all.connect(Service::Gateway).await;
    let failed = all.ask(&gateway, ENROLLMENT, "approvals-list", b"").await.unwrap_err();
    assert_eq!(failed.code, Code::Internal);
    all.ask(&gateway, ENROLLMENT, "codes-list", b"").await.unwrap();
    service.stop().await.unwrap();
}

async fn create(ctx: OperatorCtx, log: Arc<dyn EventLog>, calls: Arc<AtomicUsize>) -> Result<Value, WireError> {
    let call = calls.fetch_add(1, Ordering::SeqCst);
    let writes = vec![StreamWrite {
        stream: StreamId::new(&format!("code-{}", ctx.command)).unwrap(),
        expected: 0,
        events: vec![NewEvent {
            kind: "CodeCreated".into(),
            body: b"x".to_vec(),
        }],
    }];
    ctx.append(log.as_ref(), writes, &json!({"call": call})).await
}

#[tokio::test]
async fn a_repeated_command_is_answered_once_decided() {
    let all = Deployment::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(std::sync::OnceLock::<Arc<dyn EventLog>>::new());
    let (count, later) = (Arc::clone(&calls), Arc::clone(&shared));
    let service = all
        .serve(ENROLLMENT, |builder| {
            builder.operator("codes-create", move |ctx| {
                create(ctx, Arc::clone(later.get().unwrap()), Arc::clone(&count))
            })
        })
        .await;
    let _ = shared.set(Arc::clone(&service.log));
    let gateway = all.connect(Service::Gateway).await;
    let command: CommandId = random::id();
    let send = async |body: &[u8]| {
        let call = all.call_as(ENROLLMENT, "codes-create", "", body, command);
        let options = all.options(ENROLLMENT, "codes-create");
        gateway
            .call(ENROLLMENT, "codes-create", &call, options)
            .await
            .map(|a| a.json)
    };
    let first = send(b"{}").await.unwrap();
    assert_eq!(send(b"{}").await.unwrap(), first);
    assert_eq!(send(b"{ }").await.unwrap_err().code, Code::IdReused);
    let outcomes: Vec<_> = audited(&service).iter().map(|record| record.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Accepted, Outcome::Refused(Code::IdReused)],
        "a repetition is no second act"
    );
    assert_eq!(
        (calls.load(Ordering::SeqCst), events(&service) - outcomes.len()),
        (1, 1)
    );
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_is_worked_on_once_and_belongs_to_whoever_made_it() {
    let all = Deployment::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(std::sync::OnceLock::<Arc<dyn EventLog>>::new());
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (count, later) = (Arc::clone(&calls), Arc::clone(&shared));
    let (inside, gate) = (Arc::clone(&entered), Arc::clone(&open));
    let service = all
        .serve(ENROLLMENT, |builder| {
            builder.operator("codes-create", move |ctx| {
                let (count, later) = (Arc::clone(&count), Arc::clone(&later));
                let (inside, gate) = (Arc::clone(&inside), Arc::clone(&gate));
                async move {
                    inside.notify_one();
                    gate.notified().await;
                    create(ctx, Arc::clone(later.get().unwrap()), count).await
                }
            })
        })
        .await;
    let _ = shared.set(Arc::clone(&service.log));
    let gateway = all.connect(Service::Gateway).await;
    let command: CommandId = random::id();
    let need = of_verb(ENROLLMENT, "codes-create").unwrap().need;
    let send = async |operator: &TestOperator| {
        let now = SystemClock.now();
        let call = operator
            .call(ENROLLMENT, "codes-create", "", b"{}", command, now)
            .unwrap();
        let token = narrowed(&operator.token, ENROLLMENT, need, 0).unwrap();
        ask(&gateway, ENROLLMENT, "codes-create", &call, Some(token)).await
    };
    // The gate opens for one: a second call of the handler would stand there.
    let once = async {
        entered.notified().await;
        open.notify_one();
    };
    let (one, two, ()) = tokio::join!(send(&all.operator), send(&all.operator), once);
    assert_eq!(one.unwrap(), two.unwrap());
    let other = TestOperator::log_in(&all.bus, &Right::ALL, &Sites::All).unwrap();
    assert_eq!(send(&other).await.unwrap_err().code, Code::IdReused);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn too_much_at_once_is_overload_and_a_stop_finishes_what_was_begun() {
    let all = Deployment::start().await;
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, gate) = (Arc::clone(&entered), Arc::clone(&open));
    let service = all
        .serve(ENROLLMENT, |builder| {
            let limits = Limits {
                operators: 1,
                ..Limits::default()
            };
            builder.limits(limits).operator("codes-list", move |_| {
                let (inside, gate) = (Arc::clone(&inside), Arc::clone(&gate));
                async move {
                    inside.notify_one();
                    gate.notified().await;
                    Ok(json!({}))
                }
            })
        })
        .await;
    let gateway = all.connect(Service::Gateway).await;
    let slow = all.ask(&gateway, ENROLLMENT, "codes-list", b"");
    let rest = async {
        entered.notified().await;
        let refused = all.ask(&gateway, ENROLLMENT, "codes-list", b"").await.unwrap_err();
        assert_eq!(refused.code, Code::Overloaded);
        service.shutdown.begin();
        let stopped = eventually("a refusal of the stopping service", async || {
            all.ask(&gateway, ENROLLMENT, "codes-list", b"")
                .await
                .err()
                .map(|error| error.code)
        });
        assert!(matches!(
            stopped.await.unwrap(),
            Code::ShuttingDown | Code::Unavailable | Code::Overloaded
        ));
        open.notify_one();
    };
    let (answered, ()) = tokio::join!(slow, rest);
    assert_eq!(answered.unwrap(), "{}");
    service.stop().await.unwrap();
    assert!(borealis_service_kit::ready::read(all.bus.paths(), ENROLLMENT).is_none());
}

#[tokio::test]
async fn only_those_who_may_ask_are_answered() {
    let all = Deployment::start().await;
    let service = all
        .serve(Service::Library, |builder| {
            builder.internal::<PutScript, _, _>(async |_, _| Err(WireError::new(Code::NotFound, "reached")))
        })
        .await;
    let ask = PutScript {
        language: Language::Sh,
        script: b"uname".to_vec(),
    };
    let code = async |bus: &Bus, options| bus.request(&ask, options).await.err().unwrap().code;
    let options = all.options(Service::Scheduler, "jobs-create");
    let gateway = all.connect(Service::Gateway).await;
    assert_eq!(code(&gateway, options.clone()).await, Code::RightMissing);
    let scheduler = all.connect(Service::Scheduler).await;
    assert_eq!(code(&scheduler, options).await, Code::NotFound);
    assert_eq!(code(&scheduler, RequestOptions::default()).await, Code::TokenMissing);
    let elsewhere = all.options(Service::Inventory, "devices-list");
    assert_eq!(code(&scheduler, elsewhere).await, Code::WrongService);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_device_is_known_by_its_subject() {
    let all = Deployment::start().await;
    let service = all
        .serve(Service::Scheduler, |builder| {
            builder.tell("*", "result", async |tell: Tell| {
                tell.decode::<TellResult>()?;
                Ok(tell.guid)
            })
        })
        .await;
    let device = TestDevice::draw();
    let user = all.bus.connect_device(&device).await.unwrap();
    let subject = format!("borealis.v1.device.{}.tell.script.result", device.guid);
    let within = DEADLINE;
    let bad = user.request(&subject, b"rubbish", within).await.unwrap();
    assert_eq!(reply::decode::<()>(&bad).unwrap_err().code, Code::Malformed);
    let signed =
        borealis_bus_schema::forms::Signed::seal(&device.key, borealis_bus_schema::forms::Form::Result, &"result");
    let body = codec::encode(&TellResult {
        result: signed.unwrap(),
    });
    let answer = user.request(&subject, &body.unwrap(), within).await.unwrap();
    assert_eq!(
        reply::decode::<borealis_bus_schema::ids::Guid>(&answer).unwrap(),
        device.guid
    );
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_announces_itself() {
    let all = Deployment::start().await;
    let service = all.serve(ENROLLMENT, listing).await;
    let gateway = all.connect(Service::Gateway).await;
    eventually("its name among the answers", async || {
        let names = gateway.ping_services(Duration::from_secs(1)).await.unwrap();
        // A test does not confine itself.
        names.get("enrollment").filter(|isolated| !**isolated).map(|_| ())
    })
    .await
    .unwrap();
    let user = all.bus.connect_service(Service::Gateway).await.unwrap();
    all.ask(&gateway, ENROLLMENT, "codes-list", b"").await.unwrap();
    eventually("the request among its counts", async || {
        let stats = user.request("$SRV.STATS.enrollment", b"", DEADLINE).await.unwrap();
        let stats: Value = serde_json::from_slice(&stats).unwrap();
        assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
        let endpoints = stats["endpoints"].as_array().unwrap();
        let list = endpoints.iter().find(|e| e["name"] == "codes-list").unwrap();
        (list["num_requests"] == 1).then_some(())
    })
    .await
    .unwrap();
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_verb_outside_the_table_is_refused_at_start() {
    let all = Deployment::start().await;
    let bus = all.connect(ENROLLMENT).await;
    let service = all.serve(Service::Library, |builder| builder).await;
    let builder = ServiceBuilder::new(
        ENROLLMENT,
        all.bus.paths().clone(),
        bus,
        Arc::clone(&service.log),
        Arc::new(SystemClock),
        Arc::new(
            borealis_service_kit::auth::Authoriser::new(
                all.bus.trust().biscuit_root,
                ENROLLMENT,
                Arc::clone(&service.revoked),
                Arc::new(SystemClock),
            )
            .unwrap(),
        ),
    );
    let wrong = builder
        .operator("make-coffee", async |_: OperatorCtx| Ok(()))
        .run(borealis_service_kit::shutdown::Shutdown::manual())
        .await;
    assert!(wrong.unwrap_err().to_string().contains("make-coffee"));
    service.stop().await.unwrap();
}
