//! Copies of a device are found, and a device that comes back is never taken for one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use borealis_bus_schema::audit::{self, Actor, AuditRecord, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::messages::device::Welcome;
use borealis_bus_schema::messages::enrollment::{DeviceStanding, Identity};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply;
use borealis_enrollment::aggregate::device::Device;
use borealis_enrollment::findings::QUARANTINES;
use borealis_enrollment::presence::TAKE_OVERS;
use borealis_event_store::EventRecord;
use borealis_test_support::{DEADLINE, User, eventually, eventually_within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gate::{Gate, Rule};
use crate::rig::{ENROLLMENT, Machine, Rig, hello};

fn device(rig: &Rig, identity: &Identity) -> Device {
    rig.app.ledger.state().device(&identity.guid).unwrap().clone()
}

/// Says hello as the device, and returns the bytes that went over the bus with the answer.
async fn say(
    user: &User,
    machine: &Machine,
    identity: &Identity,
    counter: u64,
    answer: Option<&str>,
) -> (Vec<u8>, Welcome) {
    let body = sealed(machine, identity, counter, answer);
    let welcome = send(user, identity, &body).await;
    (body, welcome)
}

fn sealed(machine: &Machine, identity: &Identity, counter: u64, answer: Option<&str>) -> Vec<u8> {
    let hello = hello(identity, counter, answer);
    codec::encode(&Signed::seal(&machine.key, Form::Hello, &hello).unwrap()).unwrap()
}

async fn send(user: &User, identity: &Identity, body: &[u8]) -> Welcome {
    let subject = format!("borealis.v1.device.{}.tell.agent.hello", identity.guid);
    reply::decode(&user.request(&subject, body, DEADLINE).await.unwrap()).unwrap()
}

/// Says hello in full: asks for a challenge and answers it. Returns both messages and the last answer.
async fn greet(user: &User, machine: &Machine, identity: &Identity, counter: u64) -> (Vec<Vec<u8>>, Welcome) {
    let (first, welcome) = say(user, machine, identity, counter - 1, None).await;
    let challenge = welcome.challenge.unwrap();
    let (second, welcome) = say(user, machine, identity, counter, Some(&challenge)).await;
    (vec![first, second], welcome)
}

#[tokio::test]
async fn a_hello_that_went_back_quarantines_and_one_that_is_repeated_on_the_bus_does_nothing() {
    let rig = Rig::start().await;
    let (machine, identity, user) = rig.device("web-1").await;
    let (mut captured, welcome) = greet(&user, &machine, &identity, 5).await;
    assert!(welcome.challenge.is_none() && !welcome.quarantined);
    assert_eq!(device(&rig, &identity).hello_counter, Some(5));
    let (more, _) = greet(&user, &machine, &identity, 6).await;
    captured.extend(more);

    // Whoever has the bus repeats what it ever heard, also while a challenge is open.
    let thief = rig.bus.connect_everything().await.unwrap();
    for _ in 0..2 {
        for body in &captured {
            let answer = send(&thief, &identity, body).await;
            assert!(answer.challenge.is_some(), "an old hello was taken");
        }
    }
    let open = say(&user, &machine, &identity, 6, None).await.1.challenge.unwrap();
    send(&thief, &identity, captured.last().unwrap()).await;
    assert_eq!(device(&rig, &identity).hello_counter, Some(6));
    // The repetition was given a challenge itself, which takes nothing from the device.
    let answered = say(&user, &machine, &identity, 7, Some(&open)).await.1;
    assert!(
        answered.challenge.is_none(),
        "a stranger keeps the device from answering"
    );
    assert_eq!(device(&rig, &identity).hello_counter, Some(7));
    let (_, welcome) = greet(&user, &machine, &identity, 8).await;
    assert!(welcome.challenge.is_none());
    assert_eq!(
        (device(&rig, &identity).status, rig.count("DeviceStatusChanged")),
        (DeviceStatus::Active, 0)
    );

    // The numbers outlive the service, and so does what they tell.
    drop((user, thief));
    let rig = rig.restart().await;
    let user = rig.connect(&machine, &identity).await;
    let thief = rig.bus.connect_everything().await.unwrap();
    for body in &captured {
        send(&thief, &identity, body).await;
    }
    assert_eq!(
        (device(&rig, &identity).status, rig.count("DeviceStatusChanged")),
        (DeviceStatus::Active, 0)
    );
    let (_, welcome) = greet(&user, &machine, &identity, 3).await;
    assert!(welcome.quarantined, "the device is told");
    let now_is = device(&rig, &identity);
    assert_eq!(now_is.status, DeviceStatus::Quarantined);
    let reason = now_is.standing.unwrap().reason;
    assert!(reason.contains("hello 8") && reason.contains("hello 3"), "{reason}");
    assert!(user.is_connected());

    // An operator looked at it and releases it; its present state counts from now on.
    let guid = identity.guid.to_string();
    let released: DeviceStanding = rig.ask("devices-release", &guid, &json!({})).await.unwrap();
    assert_eq!(released.status, DeviceStatus::Active);
    let (_, welcome) = greet(&user, &machine, &identity, 4).await;
    assert!(!welcome.quarantined);
    let (_, welcome) = greet(&user, &machine, &identity, 4).await;
    assert!(welcome.quarantined, "the same number twice is two devices");
}

#[tokio::test]
async fn hellos_are_counted_in_the_order_in_which_they_were_taken() {
    let gate = Gate::new();
    let rig = Rig::start_behind(&gate).await;
    let (machine, identity, user) = rig.device("web-1").await;
    let user = Arc::new(user);
    gate.set(Rule::HoldFirst("DeviceSaidHello"));
    let spoken = |counter: u64| {
        let (user, machine, identity) = (Arc::clone(&user), machine.clone(), identity.clone());
        async move { greet(&user, &machine, &identity, counter).await.1 }
    };
    // The log is slow; the device does not wait for the answer and says hello again.
    let first = tokio::spawn(spoken(5));
    eventually("the first hello is being written", async || {
        (gate.stopped() == 1).then_some(())
    })
    .await
    .unwrap();
    let mut second = tokio::spawn(spoken(6));
    // Whoever does not wait for the first is done by then.
    let early = tokio::time::timeout(Duration::from_millis(500), &mut second).await;
    gate.set(Rule::Open);
    assert!(first.await.unwrap().challenge.is_none());
    if early.is_err() {
        assert!(second.await.unwrap().challenge.is_none());
    }
    let now_is = device(&rig, &identity);
    assert_eq!(
        (now_is.status, now_is.hello_counter, rig.count("DeviceStatusChanged")),
        (DeviceStatus::Active, Some(6), 0)
    );
}

#[tokio::test]
async fn a_copy_that_was_found_while_the_log_took_nothing_is_quarantined_afterwards() {
    let gate = Gate::new();
    let rig = Rig::start_behind(&gate).await;
    let (machine, identity, user) = rig.device("web-1").await;
    let other = Machine::draw("web-2");
    let fought = rig.enrol(&other).await;
    greet(&user, &machine, &identity, 4).await;
    gate.set(Rule::Refuse("DeviceStatusChanged"));

    // Two devices with one number: the second is told nothing, since nothing could be written.
    let challenge = say(&user, &machine, &identity, 3, None).await.1.challenge.unwrap();
    let answer = sealed(&machine, &identity, 4, Some(&challenge));
    let subject = format!("borealis.v1.device.{}.tell.agent.hello", identity.guid);
    let told = user.request(&subject, &answer, DEADLINE).await.unwrap();
    assert!(reply::decode::<Welcome>(&told).is_err());

    // Two agents with one key, until they were found; then one of them goes away.
    let first = rig
        .connect_as(&other, &fought, "aaaaaaaaaaaaaaaa", &rig.bus.url())
        .await;
    rig.wait_for("DeviceConnected", 2).await;
    let before = gate.stopped();
    let second = rig
        .connect_as(&other, &fought, "bbbbbbbbbbbbbbbb", &rig.bus.url())
        .await;
    eventually_within("both are found", Duration::from_secs(60), async || {
        (gate.stopped() >= before + 4).then_some(())
    })
    .await
    .unwrap();
    drop(second);
    assert_eq!(rig.count("DeviceStatusChanged"), 0);
    gate.set(Rule::Open);
    rig.wait_for("DeviceStatusChanged", 2).await;
    // What is in the log is known a moment later.
    eventually("both are quarantined", async || {
        let quarantined = |found| device(&rig, found).status == DeviceStatus::Quarantined;
        [&identity, &fought].into_iter().all(quarantined).then_some(())
    })
    .await
    .unwrap();
    drop(first);
}

#[tokio::test]
async fn only_some_devices_a_minute_are_quarantined_for_what_the_bus_says() {
    const DEVICES: usize = QUARANTINES + 3;
    let rig = Rig::start().await;
    let mut agents = Vec::new();
    for number in 0..DEVICES {
        let machine = Machine::draw(&format!("web-{number}"));
        let identity = rig.enrol(&machine).await;
        for label in ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"] {
            agents.push(rig.connect_as(&machine, &identity, label, &rig.bus.url()).await);
        }
    }
    let alarm = eventually_within("the alarm", Duration::from_secs(60), async || {
        let records = rig.service.log.read_all(0, 10_000).unwrap();
        let read = |event: EventRecord| codec::decode::<AuditRecord>(&event.body?).ok();
        let mut audited = records
            .into_iter()
            .filter(|event| event.kind == audit::KIND)
            .filter_map(read);
        audited.find(|record| record.verb == "devices-quarantine" && record.outcome != Outcome::Accepted)
    })
    .await
    .unwrap();
    assert_eq!(alarm.actor, Actor::service(ENROLLMENT));
    assert!(alarm.objects.iter().all(|object| object.starts_with("device/")) && !alarm.objects.is_empty());
    assert_eq!(rig.count("DeviceStatusChanged"), QUARANTINES);
}

#[tokio::test]
async fn two_agents_with_one_key_are_quarantined_within_a_minute_and_again_after_a_release() {
    let rig = Rig::start().await;
    let (machine, other) = (Machine::draw("web-1"), Machine::draw("web-2"));
    let (identity, spared) = (rig.enrol(&machine).await, rig.enrol(&other).await);
    let bystander = rig
        .connect_as(&other, &spared, "cccccccccccccccc", &rig.bus.url())
        .await;
    let first = rig
        .connect_as(&machine, &identity, "aaaaaaaaaaaaaaaa", &rig.bus.url())
        .await;
    rig.wait_for("DeviceConnected", 2).await;
    let second = rig
        .connect_as(&machine, &identity, "bbbbbbbbbbbbbbbb", &rig.bus.url())
        .await;
    let quarantined = async || {
        eventually_within("the quarantine", Duration::from_secs(60), async || {
            (device(&rig, &identity).status == DeviceStatus::Quarantined).then_some(())
        })
        .await
        .unwrap();
    };
    quarantined().await;
    let standing = device(&rig, &identity).standing.unwrap();
    assert!(
        standing.by.is_none() && standing.reason.contains("copy"),
        "{standing:?}"
    );
    // Both may report; they are not set on each other any more.
    eventually("both connections stand", async || {
        (first.is_connected() && second.is_connected()).then_some(())
    })
    .await
    .unwrap();
    let guid = identity.guid.to_string();
    let _: DeviceStanding = rig.ask("devices-release", &guid, &json!({})).await.unwrap();
    rig.wait_for("DeviceStatusChanged", 3).await;
    quarantined().await;
    assert_eq!(device(&rig, &spared).status, DeviceStatus::Active);
    assert!(!bystander.events().iter().any(|event| event.contains("disconnected")));
}

/// Stands between a device and the bus, and can swallow: the device's side is cut, the bus's side stays open and silent.
struct Proxy {
    url: String,
    swallow: watch::Sender<u64>,
    accepting: JoinHandle<()>,
    /// How many dead connections the bus has closed.
    closed: Arc<Mutex<usize>>,
}

impl Proxy {
    async fn before(bus_url: &str) -> Self {
        let to: SocketAddr = bus_url
            .trim_start_matches("tls://")
            .replace("localhost", "127.0.0.1")
            .parse()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (swallow, cuts) = watch::channel(0);
        let closed = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&closed);
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cuts, counted) = (cuts.clone(), Arc::clone(&counted));
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = cuts.changed() => {}
                    }
                    drop(near);
                    // The bus hears nothing of it: this end lives on until the bus itself closes it.
                    let mut rest = [0; 4096];
                    while far.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    *counted.lock().unwrap() += 1;
                });
            }
        });
        Self {
            url: format!("tls://localhost:{port}"),
            swallow,
            accepting,
            closed,
        }
    }

    fn swallow(&self) {
        self.swallow.send_modify(|cuts| *cuts += 1);
    }

    /// Swallows, and lets nobody connect again.
    fn swallow_for_good(&self) {
        self.accepting.abort();
        self.swallow();
    }
}

#[tokio::test]
async fn a_device_that_comes_back_over_dead_connections_is_no_clone() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    let proxy = Proxy::before(&rig.bus.url()).await;
    let user = rig
        .connect_as(&machine, &identity, "aaaaaaaaaaaaaaaa", &proxy.url)
        .await;
    rig.wait_for("DeviceConnected", 1).await;
    let mut counter = 0;
    for cut in 1..=6 {
        proxy.swallow();
        // The new connection makes the warden end the dead one: the bus held both at that moment.
        eventually("the dead connection is ended", async || {
            (*proxy.closed.lock().unwrap() >= cut).then_some(())
        })
        .await
        .unwrap();
        eventually("the device is back", async || user.is_connected().then_some(()))
            .await
            .unwrap();
        counter += 1;
        let (_, welcome) = greet(&user, &machine, &identity, counter).await;
        assert!(!welcome.quarantined, "after {cut} cuts");
    }
    // An update or a restart connects under another label, over a dead connection as well: the agent before has ended, and
    // the bus does not know it yet.
    let mut last = proxy;
    last.swallow_for_good();
    drop(user);
    for start in 0..6 {
        let user = start_over_the_dead(&rig, &machine, &identity, &format!("{start:016x}"), &mut last).await;
        counter += 1;
        let (_, welcome) = greet(&user, &machine, &identity, counter).await;
        assert!(!welcome.quarantined, "after {start} restarts");
        last.swallow_for_good();
    }
    assert_eq!(
        (device(&rig, &identity).status, rig.count("DeviceStatusChanged")),
        (DeviceStatus::Active, 0)
    );
    // The same again, but for those who come back after another took their place: they are two, and the warden sees it.
    for label in ["a", "b", "a", "b", "a"] {
        start_over_the_dead(&rig, &machine, &identity, &label.repeat(16), &mut last).await;
        last.swallow_for_good();
    }
    rig.wait_for("DeviceStatusChanged", 1).await;
    assert_eq!(device(&rig, &identity).status, DeviceStatus::Quarantined);
}

/// Connects an agent while the bus still holds the connection of the one before, and waits until the warden ended that one.
async fn start_over_the_dead(rig: &Rig, machine: &Machine, identity: &Identity, label: &str, last: &mut Proxy) -> User {
    let closed = *last.closed.lock().unwrap();
    let proxy = Proxy::before(&rig.bus.url()).await;
    let user = rig.connect_as(machine, identity, label, &proxy.url).await;
    eventually("the warden takes the new connection for the newest", async || {
        (*last.closed.lock().unwrap() > closed).then_some(())
    })
    .await
    .unwrap();
    *last = proxy;
    user
}

#[tokio::test]
async fn dead_connections_of_clients_without_a_label_count() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(rig.connect(&machine, &identity).await);
    }
    eventually_within("the quarantine", Duration::from_secs(60), async || {
        (device(&rig, &identity).status == DeviceStatus::Quarantined).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn whoever_has_one_device_s_key_keeps_no_other_from_being_quarantined() {
    let rig = Rig::start().await;
    let (machine, other) = (Machine::draw("web-1"), Machine::draw("web-2"));
    let (identity, fought) = (rig.enrol(&machine).await, rig.enrol(&other).await);
    let quarantined = async |found: &Identity| {
        // Sooner than the places of a minute ago are free again.
        eventually_within("the quarantine", Duration::from_secs(30), async || {
            (device(&rig, found).status == DeviceStatus::Quarantined).then_some(())
        })
        .await
        .unwrap();
    };
    let mut users = Vec::new();
    for _ in 0..(QUARANTINES + 2) * TAKE_OVERS {
        users.push(rig.connect(&machine, &identity).await);
    }
    quarantined(&identity).await;
    // They would go on connecting, and load the machine.
    users.clear();
    for _ in 0..=TAKE_OVERS {
        users.push(rig.connect(&other, &fought).await);
    }
    quarantined(&fought).await;
    assert_eq!(rig.count("DeviceStatusChanged"), 2);
}
