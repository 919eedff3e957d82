//! A device reaches itself only, a service what its list names; whatever wildcard is tried.

use std::time::Duration;

use borealis_bus_schema::subjects::{Service, Subject, filter};
use borealis_test_support::{DEADLINE, TestBus, TestDevice, User};

/// Lists every shape in which a device may try to hear what is not for it.
fn foreign_subscriptions(own: &TestDevice, other: &TestDevice) -> Vec<String> {
    let (own, other) = (own.guid, other.guid);
    let mut all: Vec<String> = [
        ">",
        "*",
        "*.>",
        "*.*",
        "*.*.>",
        "*.*.*.>",
        "*.*.*.*.>",
        "*.*.*.*.*",
        "*.*.*.*.*.*",
        "*.*.*.*.*.*.*",
        "borealis.>",
        "borealis.*.>",
        "borealis.v1.>",
        "borealis.v1.*.>",
        "borealis.v1.device.>",
        "borealis.v1.device.*.>",
        "borealis.v1.device.*.do.>",
        "borealis.v1.device.*.do.script.run",
        "borealis.v1.device.*.do.*.*",
        "borealis.v1.device.*.*.script.run",
        "borealis.*.device.*.do.>",
        "borealis.v1.device.*.tell.>",
        "borealis.v1.service.>",
        "borealis.v1.service.*.>",
        "borealis.v1.service.access.>",
        "borealis.v1.service.signing.orders-sign",
        "borealis.v1.event.>",
        "borealis.v1.event.*.head",
        "borealis.v1.event.access.head",
        "_INBOX.>",
        "_INBOX_*.>",
        "_INBOX_scheduler.>",
        "_INBOX_sys.>",
        "$SYS.>",
        "$SYS.*.>",
        "$SYS.ACCOUNT.>",
        "$SYS.ACCOUNT.*.CONNECT",
        "$SYS.REQ.>",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.USER.INFO",
        "$JS.>",
        "$JS.API.>",
        "$JS.API.INFO",
        "$JS.ACK.>",
        "$KV.>",
        "$O.>",
        "$MQTT.>",
        "$SRV.>",
        "$SRV.PING",
        "$G.>",
        "_R_.>",
        "_GR_.>",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend([
        format!("borealis.v1.device.{own}.>"),
        format!("borealis.v1.device.{own}.*.>"),
        format!("borealis.v1.device.{own}.*.script.run"),
        format!("borealis.v1.device.{own}.tell.>"),
        format!("borealis.v1.device.{own}.tell.agent.hello"),
        format!("borealis.v1.*.{own}.do.>"),
        format!("borealis.*.device.{own}.do.>"),
        format!("*.v1.device.{own}.do.>"),
        format!("borealis.v1.device.{other}.>"),
        format!("borealis.v1.device.{other}.do.>"),
        format!("borealis.v1.device.{other}.do.script.run"),
        format!("borealis.v1.device.{other}.do.*.*"),
        format!("borealis.v1.device.{other}.tell.>"),
        format!("_INBOX_{other}.>"),
        format!("_INBOX_{other}.x"),
        format!("_INBOX_{own}"),
    ]);
    all
}

/// Lists every place to which a device may try to speak.
fn foreign_places(own: &TestDevice, other: &TestDevice) -> Vec<String> {
    let (own, other) = (own.guid, other.guid);
    let mut all: Vec<String> = [
        "borealis",
        "borealis.v1.device",
        "borealis.v1.service.access.session",
        "borealis.v1.service.signing.orders-sign",
        "borealis.v1.service.scheduler.jobs-create",
        "borealis.v1.service.enrollment.approve",
        "borealis.v1.event.access.head",
        "borealis.v1.event.scheduler.run.succeeded",
        "_INBOX_scheduler.x.1",
        "_INBOX_access.x",
        "_INBOX_sys.x",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.USER.INFO",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.x",
        "$SRV.PING",
        "$MQTT.x",
        "anything",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend([
        format!("borealis.v1.device.{own}.do.script.run"),
        format!("borealis.v1.device.{own}.tell"),
        format!("borealis.v1.device.{own}.other.script.result"),
        format!("borealis.v1.device.{other}.do.script.run"),
        format!("borealis.v1.device.{other}.tell.script.result"),
        format!("borealis.v1.device.{other}.tell.agent.hello"),
        format!("_INBOX_{other}.x"),
        format!("_INBOX_{own}.x"),
    ]);
    all
}

async fn refused(user: &User, subject: &str) {
    user.told(&format!("Subscription to \"{subject}\"")).await.unwrap();
}

#[tokio::test]
async fn a_device_hears_nothing_but_its_own() {
    let bus = TestBus::start().await.unwrap();
    let (own, other) = (TestDevice::draw(), TestDevice::draw());
    for queue in [None, Some("access"), Some("any")] {
        let device = bus.connect_device(&own).await.unwrap();
        let mut heard = Vec::new();
        for subject in foreign_subscriptions(&own, &other) {
            heard.push(match queue {
                None => device.subscribe(&subject).await.unwrap(),
                Some(queue) => device.queue_subscribe(&subject, queue).await.unwrap(),
            });
            device.flush().await.unwrap();
            refused(&device, &subject).await;
        }
        let everything = bus.connect_everything().await.unwrap();
        for subject in foreign_places(&own, &other) {
            if !subject.starts_with("$SYS") && !subject.starts_with("$JS") && !subject.contains(&own.guid.to_string()) {
                everything.publish(&subject, b"not for it").await.unwrap();
            }
        }
        // What it may hear arrives behind all of that.
        let mut orders = device.subscribe(&filter::device_do(&own.guid)).await.unwrap();
        device.settle().await.unwrap();
        let mine = format!("borealis.v1.device.{}.do.agent.ping", own.guid);
        everything.publish(&mine, b"for it").await.unwrap();
        assert_eq!(orders.next_within(DEADLINE).await.unwrap().body, b"for it");
        for messages in &mut heard {
            assert_eq!(messages.next_within(Duration::from_millis(1)).await, None);
        }
    }
}

#[tokio::test]
async fn a_device_speaks_only_for_itself() {
    let bus = TestBus::start().await.unwrap();
    let (own, other) = (TestDevice::draw(), TestDevice::draw());
    let everything = bus.connect_everything().await.unwrap();
    let mut all = everything.subscribe(">").await.unwrap();
    everything.settle().await.unwrap();
    // What it sent to itself to settle.
    all.next_within(DEADLINE).await.unwrap();
    let device = bus.connect_device(&own).await.unwrap();
    for subject in foreign_places(&own, &other) {
        device.publish(&subject, b"forged").await.unwrap();
        device.told(&format!("Publish to \"{subject}\"")).await.unwrap();
    }
    let tell = format!("borealis.v1.device.{}.tell.agent.hello", own.guid);
    device.publish(&tell, b"own").await.unwrap();
    let first = all.next_within(DEADLINE).await.unwrap();
    assert_eq!((first.subject, first.body), (tell, b"own".to_vec()));
}

#[tokio::test]
async fn a_device_answers_what_it_was_asked_once() {
    let bus = TestBus::start().await.unwrap();
    let own = TestDevice::draw();
    let device = bus.connect_device(&own).await.unwrap();
    let mut orders = device.subscribe(&filter::device_do(&own.guid)).await.unwrap();
    device.settle().await.unwrap();
    let scheduler = bus.connect_service(Service::Scheduler).await.unwrap();
    let subject = format!("borealis.v1.device.{}.do.agent.ping", own.guid);
    let asked = scheduler.request(&subject, b"order", DEADLINE);
    let answered = async {
        let order = orders.next_within(DEADLINE).await.unwrap();
        let reply = order.reply.unwrap();
        device.publish(&reply, b"accepted").await.unwrap();
        reply
    };
    let (answer, reply) = tokio::join!(asked, answered);
    assert_eq!(answer.unwrap(), b"accepted");
    device.publish(&reply, b"again").await.unwrap();
    device.told(&format!("Publish to \"{reply}\"")).await.unwrap();
}

#[tokio::test]
async fn a_service_cannot_act_as_another() {
    let bus = TestBus::start().await.unwrap();
    let everything = bus.connect_everything().await.unwrap();
    let mut all = everything.subscribe("borealis.>").await.unwrap();
    everything.settle().await.unwrap();
    let device = TestDevice::draw();
    for service in Service::ALL {
        let user = bus.connect_service(service).await.unwrap();
        for other in Service::ALL.into_iter().filter(|other| *other != service) {
            for subject in [filter::service(other), filter::inbox(other.name())] {
                let _silent = user.subscribe(&subject).await.unwrap();
                user.flush().await.unwrap();
                refused(&user, &subject).await;
            }
            let head = Subject::Head { service: other }.to_string();
            user.publish(&head, b"forged").await.unwrap();
            user.told(&format!("Publish to \"{head}\"")).await.unwrap();
        }
        if service != Service::Scheduler {
            let order = format!("borealis.v1.device.{}.do.script.run", device.guid);
            user.publish(&order, b"forged").await.unwrap();
            user.told(&format!("Publish to \"{order}\"")).await.unwrap();
        }
        for subject in [">", "*.>", "$SYS.>", "$JS.>", "_INBOX_*.>"] {
            let _silent = user.subscribe(subject).await.unwrap();
            user.flush().await.unwrap();
            refused(&user, subject).await;
        }
        let tell = format!("borealis.v1.device.{}.tell.script.result", device.guid);
        user.publish(&tell, b"forged").await.unwrap();
        user.told(&format!("Publish to \"{tell}\"")).await.unwrap();
        user.publish("$SYS.REQ.CLAIMS.UPDATE", b"forged").await.unwrap();
        user.told("Publish to \"$SYS.REQ.CLAIMS.UPDATE\"").await.unwrap();
    }
    assert_eq!(all.next_within(Duration::from_millis(1)).await, None);
}
