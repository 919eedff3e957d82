//! The connection: lost, back, refused, absent; and the bus's own account.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{RoleName, VerbName};
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_logging::{LogConfig, Side};
use borealis_service_kit::bus::{Bus, BusConfig, ConnectionEvent, LiveBody, RequestOptions, Sys};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::keys;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::paths::Ports;
use borealis_test_support::{DEADLINE, TestBus, TestDevice, eventually};
use serde_json::json;

use crate::support::Deployment;

#[tokio::test]
async fn a_killed_bus_comes_back_and_nobody_is_restarted() {
    let mut all = Deployment::start().await;
    let service = all
        .serve(Service::Enrollment, |builder| {
            builder.operator("codes-list", async |_: OperatorCtx| Ok(json!({})))
        })
        .await;
    let gateway = all.connect(Service::Gateway).await;
    all.ask(&gateway, Service::Enrollment, "codes-list", b"").await.unwrap();
    all.bus.kill();
    let mut connected = gateway.connected();
    connected.wait_for(|stands| !stands).await.unwrap();
    all.bus.resume().await.unwrap();
    eventually("an answer after the bus came back", async || {
        all.ask(&gateway, Service::Enrollment, "codes-list", b"").await.ok()
    })
    .await
    .unwrap();
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_waits_for_a_bus_that_is_not_there_yet() {
    let mut bus = TestBus::provision().unwrap();
    let config = BusConfig {
        service: Service::Library,
        paths: bus.paths().clone(),
        trust: Arc::clone(bus.trust()),
    };
    let connecting = tokio::spawn(Bus::connect(config));
    bus.resume().await.unwrap();
    let connected = tokio::time::timeout(DEADLINE, connecting).await;
    assert!(*connected.unwrap().unwrap().unwrap().connected().borrow());
}

#[tokio::test]
async fn a_refused_subject_is_logged() {
    let all = Deployment::start().await;
    let logs = all.bus.root().join("Logs");
    let guard = borealis_logging::init(&LogConfig {
        dir: logs.clone(),
        side: Side::Server,
        service: "library".into(),
        stderr: false,
        errors: false,
        filter: "info".into(),
    })
    .unwrap();
    let library = all.connect(Service::Library).await;
    let subject = Subject::Service {
        service: Service::Signing,
        verb: VerbName::new("orders-sign").unwrap(),
    };
    let options = RequestOptions {
        timeout: Some(Duration::from_millis(300)),
        ..RequestOptions::default()
    };
    let refused = library.request_raw(&subject, Vec::new(), &options).await.unwrap_err();
    assert_eq!(refused.code, Code::DeadlineExceeded);
    eventually("the refusal in the log", async || {
        let text = std::fs::read_to_string(logs.join("Server/library.log")).ok()?;
        text.contains("the bus refuses a subject").then_some(())
    })
    .await
    .unwrap();
    drop(guard);
}

#[tokio::test]
async fn thousands_of_requests_share_one_subscription() {
    let all = Deployment::start().await;
    let scheduler = all.connect(Service::Scheduler).await;
    let device = TestDevice::draw();
    let user = all.bus.connect_device(&device).await.unwrap();
    let mut orders = user
        .subscribe(&format!("borealis.v1.device.{}.do.>", device.guid))
        .await
        .unwrap();
    user.settle().await.unwrap();
    let subject = Subject::DeviceDo {
        guid: device.guid,
        role: RoleName::agent(),
        verb: VerbName::ping(),
    };
    let nobody = Subject::DeviceDo {
        guid: TestDevice::draw().guid,
        role: RoleName::agent(),
        verb: VerbName::ping(),
    };
    let options = RequestOptions::default();
    let absent = scheduler.request_raw(&nobody, Vec::new(), &options).await.unwrap_err();
    assert_eq!(absent.code, Code::Unavailable, "an absent device is known at once");
    const COUNT: u32 = 2_000;
    let asked = (0..COUNT).map(|n| {
        let (scheduler, subject) = (scheduler.clone(), subject.clone());
        tokio::spawn(async move {
            let body = reply::encode(&Ok(n)).unwrap();
            let options = RequestOptions {
                timeout: Some(DEADLINE),
                ..RequestOptions::default()
            };
            let answer = scheduler.request_raw(&subject, body, &options).await;
            reply::decode::<u32>(&answer.unwrap()).unwrap()
        })
    });
    let asked: Vec<_> = asked.collect();
    for _ in 0..COUNT {
        let order = orders.next_within(DEADLINE).await.unwrap();
        user.publish(&order.reply.unwrap(), &order.body).await.unwrap();
    }
    for (n, task) in asked.into_iter().enumerate() {
        assert_eq!(task.await.unwrap() as usize, n);
    }
}

#[tokio::test]
async fn live_events_reach_the_gateway() {
    let all = Deployment::start().await;
    let gateway = all.connect(Service::Gateway).await;
    let mut live = gateway.live_events().await.unwrap();
    gateway.flush().await.unwrap();
    let inventory = all.connect(Service::Inventory).await;
    let (aggregate, past) = (
        VerbName::new("device").unwrap(),
        VerbName::new("presence-changed").unwrap(),
    );
    let at = SystemClock.now();
    let data = json!({"guid": TestDevice::draw().guid, "presence": "online"});
    // The bus may hear of the event before it hears of the subscription, which came over another connection.
    let event = eventually("the event", async || {
        inventory.publish_event(&aggregate, &past, at, &data).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(300), live.next()).await;
        heard.ok().flatten()
    })
    .await
    .unwrap();
    assert_eq!((event.service, event.past), (Service::Inventory, past));
    assert_eq!(event.body, LiveBody { at, data });
}

#[tokio::test]
async fn the_warden_sees_kicks_and_revokes() {
    let all = Deployment::start().await;
    let account = all.bus.trust().account.public_key.clone();
    let sys = Sys::connect(all.bus.paths()).await.unwrap();
    let mut events = sys.events(&account).await.unwrap();
    sys.lookup_account(&account).await.unwrap();
    let device = TestDevice::draw();
    let user = all.bus.connect_device(&device).await.unwrap();
    let connected = loop {
        match events.next().await.unwrap() {
            ConnectionEvent::Connected(connection) if connection.user == device.user_key() => break connection,
            _ => {}
        }
    };
    let listed = sys.connections(&account).await.unwrap();
    assert!(
        listed
            .iter()
            .any(|one| one.user == device.user_key() && one.cid == connected.cid),
        "{listed:?}"
    );
    sys.kick(&connected.server, connected.cid).await.unwrap();
    let reason = loop {
        match events.next().await.unwrap() {
            ConnectionEvent::Disconnected { connection, reason } if connection.cid == connected.cid => break reason,
            _ => {}
        }
    };
    assert!(reason.contains("Kicked"), "{reason}");
    let jwt = all.bus.revoke(&[&device]).await.unwrap();
    sys.update_account(&account, &jwt).await.unwrap();
    eventually("the revoked device is gone", async || {
        let listed = sys.connections(&account).await.ok()?;
        listed.iter().all(|one| one.user != device.user_key()).then_some(())
    })
    .await
    .unwrap();
    assert!(sys.update_account(&account, "rubbish").await.is_err());
    drop(user);
}

/// Forwards connections to the bus from another port until dropped.
struct Door {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Door {
    async fn open(bus: &TestBus) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = bus.url().trim_start_matches("tls://").to_owned();
        let task = tokio::spawn(async move {
            let mut through = tokio::task::JoinSet::new();
            loop {
                let (mut outer, _) = listener.accept().await.unwrap();
                let mut inner = tokio::net::TcpStream::connect(&inside).await.unwrap();
                through.spawn(async move { tokio::io::copy_bidirectional(&mut outer, &mut inner).await });
            }
        });
        Self { port, task }
    }

    /// Says in `ports.json` that the bus is behind this door.
    fn announce(&self, bus: &TestBus) {
        let mut ports = Ports::read(bus.paths()).unwrap().unwrap();
        ports.nats = format!("tls://127.0.0.1:{}", self.port);
        let bytes = serde_json::to_vec(&ports).unwrap();
        keys::write_public(&bus.paths().ports_json(), &bytes).unwrap();
    }
}

#[tokio::test]
async fn a_bus_that_moved_is_followed() {
    let all = Deployment::start().await;
    let first = Door::open(&all.bus).await;
    first.announce(&all.bus);
    let service = all
        .serve(Service::Enrollment, |builder| {
            builder.operator("codes-list", async |_: OperatorCtx| Ok(json!({})))
        })
        .await;
    let gateway = all.connect(Service::Gateway).await;
    all.ask(&gateway, Service::Enrollment, "codes-list", b"").await.unwrap();
    first.task.abort();
    gateway.connected().wait_for(|stands| !stands).await.unwrap();
    let second = Door::open(&all.bus).await;
    second.announce(&all.bus);
    eventually("an answer over the new address", async || {
        let options = RequestOptions {
            timeout: Some(Duration::from_millis(500)),
            ..all.options(Service::Enrollment, "codes-list")
        };
        let call = all.call(Service::Enrollment, "codes-list", "", b"");
        gateway
            .call(Service::Enrollment, "codes-list", &call, options)
            .await
            .ok()
    })
    .await
    .unwrap();
    assert!(*gateway.connected().borrow());
    service.stop().await.unwrap();
}
