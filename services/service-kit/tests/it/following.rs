//! Events cross services verified, or not at all.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use borealis_bus_schema::audit;
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{SessionId, VerbName};
use borealis_bus_schema::messages::events::{EventsPage, EventsRead, Head};
use borealis_bus_schema::messages::shared_events::SessionEnded;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::follow::{FollowConfig, Follower, Place, Stretch};
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::shutdown::Shutdown;
use borealis_test_support::eventually;

use crate::support::{Deployment, record};

const ACCESS: Service = Service::Access;

/// Goes as the machine's clock does, so many milliseconds ahead of it.
#[derive(Default)]
struct AheadClock(AtomicI64);

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_ms(self.0.load(Ordering::SeqCst))
    }
}

async fn follow(
    all: &Deployment,
    by: Service,
    take: impl FnMut(Stretch) -> std::future::Ready<Result<(), String>> + Send + 'static,
) -> Follower {
    follow_by(all, by, Arc::new(SystemClock), take).await
}

async fn follow_by(
    all: &Deployment,
    by: Service,
    clock: Arc<dyn Clock>,
    take: impl FnMut(Stretch) -> std::future::Ready<Result<(), String>> + Send + 'static,
) -> Follower {
    let config = FollowConfig {
        bus: all.connect(by).await,
        owner: ACCESS,
        key: *all.bus.trust().service_key(ACCESS).unwrap(),
        clock,
        from: Place::genesis(),
        shutdown: Shutdown::manual(),
    };
    Follower::start(config, take).await.unwrap()
}

fn ended(session: SessionId) -> Vec<u8> {
    let ended = SessionEnded {
        session,
        reason: "log-out".into(),
        at: SystemClock.now(),
    };
    codec::encode(&ended).unwrap()
}

#[tokio::test]
async fn a_log_out_reaches_whoever_follows_and_silence_makes_stale() {
    let all = Deployment::start().await;
    let access = all
        .serve(ACCESS, |builder| builder.secret_kinds(&["PasswordSet"]))
        .await;
    record(&access, "operator-1", "PasswordSet", b"secret".to_vec()).await;
    for _ in 0..1_200 {
        record(&access, "noise-1", "SessionStarted", vec![7; 700]).await;
    }
    let (revoked, seen) = (Arc::new(RevocationSet::new()), Arc::new(Mutex::new(Vec::new())));
    let (set, rows) = (Arc::clone(&revoked), Arc::clone(&seen));
    let follower = follow(&all, Service::Library, move |stretch| {
        let mut rows = rows.lock().unwrap();
        for event in &stretch.events {
            if let Some(body) = &event.body {
                set.apply(&event.kind, body).unwrap();
            }
            rows.push((event.position, event.body.is_some()));
        }
        std::future::ready(Ok(()))
    })
    .await;
    eventually("a fresh word from access", async || {
        follower.fresh_within(5_000).then_some(())
    })
    .await
    .unwrap();
    let session: SessionId = random::id();
    record(&access, "session-1", "SessionEnded", ended(session)).await;
    eventually("the log-out", async || revoked.session_ended(&session).then_some(()))
        .await
        .unwrap();
    {
        let seen = seen.lock().unwrap();
        assert!(
            seen.iter().map(|(position, _)| *position).eq(1..=1_202),
            "each once, in order"
        );
        assert!(!seen[0].1, "the body of a secret kind stays with its owner");
    }
    access.stop().await.unwrap();
    eventually("staleness", async || (!follower.fresh_within(1_500)).then_some(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_forged_head_moves_nothing() {
    let all = Deployment::start().await;
    let attacker = all.bus.connect_everything().await.unwrap();
    let follower = follow(&all, Service::Library, |_| std::future::ready(Ok(()))).await;
    let head = Head {
        service: ACCESS,
        position: 0,
        hash: Digest([0; 32]),
        at: SystemClock.now(),
    };
    let forged = Signed::seal(&random::signing_key(), Form::Head, &head).unwrap();
    let subject = Subject::Head { service: ACCESS }.to_string();
    attacker
        .publish(&subject, &codec::encode(&forged).unwrap())
        .await
        .unwrap();
    attacker.publish(&subject, b"rubbish").await.unwrap();
    let access = all.serve(ACCESS, |builder| builder).await;
    eventually("the true head", async || follower.fresh_within(5_000).then_some(()))
        .await
        .unwrap();
    // A head of the owner, but for a position that it never had.
    let key = borealis_service_kit::keys::read_signing_key(&all.bus.paths().service_key(ACCESS)).unwrap();
    let ahead = Head {
        position: 5,
        at: SystemClock.now(),
        ..head
    };
    let signed = Signed::seal(&key, Form::Head, &ahead).unwrap();
    access.shutdown.begin();
    attacker
        .publish(&subject, &codec::encode(&signed).unwrap())
        .await
        .unwrap();
    assert_eq!(follower.reached().borrow().position, 0);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_back_blinds_nobody() {
    const HOUR_MS: i64 = 3_600_000;
    let all = Deployment::start().await;
    let owner = all.bus.connect_everything().await.unwrap();
    let access = all.serve(ACCESS, |builder| builder).await;
    record(&access, "session-1", "SessionEnded", ended(random::id())).await;
    let clock = Arc::new(AheadClock::default());
    clock.0.store(HOUR_MS, Ordering::SeqCst);
    let follower = follow_by(&all, Service::Library, clock.clone(), |_| std::future::ready(Ok(()))).await;
    let key = borealis_service_kit::keys::read_signing_key(&all.bus.paths().service_key(ACCESS)).unwrap();
    let durable = access.log.head();
    let subject = Subject::Head { service: ACCESS }.to_string();
    // Said again until it is heard: the follower's subscription may reach the bus later.
    eventually("freshness by the clock that is ahead", async || {
        let head = Head {
            service: ACCESS,
            position: durable.position,
            hash: Digest(durable.hash),
            at: clock.now(),
        };
        let body = codec::encode(&Signed::seal(&key, Form::Head, &head).unwrap()).unwrap();
        owner.publish(&subject, &body).await.unwrap();
        follower.fresh_within(5_000).then_some(())
    })
    .await
    .unwrap();
    clock.0.store(0, Ordering::SeqCst);
    record(&access, "session-2", "SessionEnded", ended(random::id())).await;
    let position = access.log.head().position;
    eventually("the log-out behind the step of the clock", async || {
        let is_fresh = follower.fresh_within(5_000);
        (is_fresh && follower.reached().borrow().position == position).then_some(())
    })
    .await
    .unwrap();
    access.stop().await.unwrap();
    eventually("staleness", async || (!follower.fresh_within(1_500)).then_some(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_followers_read_events() {
    let all = Deployment::start().await;
    let access = all.serve(ACCESS, |builder| builder).await;
    record(&access, "operator-1", "OperatorCreated", b"x".to_vec()).await;
    let subject = Subject::Service {
        service: ACCESS,
        verb: VerbName::new("events-read").unwrap(),
    };
    let body = codec::encode(&EventsRead { after: 0, limit: 10 }).unwrap();
    let ask = async |by: Service| {
        let bus = all.connect(by).await;
        let answer = bus
            .request_raw(&subject, body.clone(), &RequestOptions::default())
            .await
            .unwrap();
        reply::decode::<EventsPage>(&answer)
    };
    assert_eq!(ask(Service::Gateway).await.unwrap_err().code, Code::RightMissing);
    let page = ask(Service::Signing).await.unwrap();
    // The stranger's question left its record behind the event.
    let kinds: Vec<&str> = page.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["OperatorCreated", audit::KIND]);
    access.stop().await.unwrap();
}
