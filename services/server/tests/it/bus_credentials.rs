//! Who gets onto the bus, and who is cut off it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use borealis_bus_schema::subjects::filter;
use borealis_service_kit::{
    clock::{Clock, SystemClock},
    nats_jwt::{self, UserClaims},
};
use borealis_test_support::{DEADLINE, TestBus, TestDevice, User, eventually};
use nkeys::KeyPair;

#[tokio::test]
async fn who_has_no_credentials_is_refused() {
    let bus = TestBus::start().await.unwrap();
    let anonymous = User::connect(&bus.url(), &bus.paths().ca_pem(), None, "_INBOX_x").await;
    assert!(anonymous.is_err());
    for jwt in ["", "nonsense", "a.b.c"] {
        let refused = bus
            .connect(KeyPair::new_user(), move || jwt.to_owned(), "_INBOX_x")
            .await;
        assert!(refused.is_err(), "{jwt}");
    }
}

#[tokio::test]
async fn a_stolen_jwt_is_worthless_without_its_key() {
    let bus = TestBus::start().await.unwrap();
    let (victim, thief) = (TestDevice::draw(), TestDevice::draw());
    let jwt = bus.device_jwt(&victim, 60_000).unwrap();
    let stolen = jwt.clone();
    assert!(bus.connect_device_with(&thief, move || stolen.clone()).await.is_err());
    assert!(bus.connect_device_with(&victim, move || jwt.clone()).await.is_ok());
}

#[tokio::test]
async fn a_jwt_of_a_stranger_is_refused() {
    let bus = TestBus::start().await.unwrap();
    let device = TestDevice::draw();
    let now = SystemClock.now();
    let claims = UserClaims::device(
        &device.public_key(),
        &device.guid,
        &bus.trust().account.public_key,
        now.plus_ms(60_000),
    );
    // Signed by an account of its own, and by the account's root, which may not sign users.
    let stranger = nats_jwt::user(&KeyPair::new_account(), &claims, now).unwrap();
    assert!(
        bus.connect_device_with(&device, move || stranger.clone())
            .await
            .is_err()
    );
    let sealed = std::fs::read(bus.paths().recovery()).unwrap();
    let roots = borealis_provision::recovery::open(&sealed, bus.passphrase()).unwrap();
    let root = KeyPair::from_seed(&roots.account_root).unwrap();
    let by_root = nats_jwt::user(&root, &claims, now).unwrap();
    assert!(bus.connect_device_with(&device, move || by_root.clone()).await.is_err());
}

#[tokio::test]
async fn an_expired_jwt_is_cut_and_the_client_returns_with_a_fresh_one() {
    let bus = TestBus::start().await.unwrap();
    let own = TestDevice::draw();
    let expired = bus.device_jwt(&own, -5_000).unwrap();
    assert!(bus.connect_device_with(&own, move || expired.clone()).await.is_err());

    let (short, long) = (
        bus.device_jwt(&own, 6_000).unwrap(),
        bus.device_jwt(&own, 3_600_000).unwrap(),
    );
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let device = bus
        .connect_device_with(&own, move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => short.clone(),
            _ => long.clone(),
        })
        .await
        .unwrap();
    let mut orders = device.subscribe(&filter::device_do(&own.guid)).await.unwrap();
    device.told("Expired").await.unwrap();
    eventually("the second connect", async || {
        (asked.load(Ordering::SeqCst) >= 2 && device.is_connected()).then_some(())
    })
    .await
    .unwrap();
    device.settle().await.unwrap();
    let everything = bus.connect_everything().await.unwrap();
    let subject = format!("borealis.v1.device.{}.do.agent.ping", own.guid);
    everything.publish(&subject, b"after").await.unwrap();
    assert_eq!(orders.next_within(DEADLINE).await.unwrap().body, b"after");
}

#[tokio::test]
async fn a_revoked_device_is_cut_at_once_and_stays_out() {
    let mut bus = TestBus::start().await.unwrap();
    let (revoked, other) = (TestDevice::draw(), TestDevice::draw());
    let held = bus.device_jwt(&revoked, 3_600_000).unwrap();
    let held = move || held.clone();
    let device = bus.connect_device_with(&revoked, held.clone()).await.unwrap();
    let bystander = bus.connect_device(&other).await.unwrap();
    let jwt = bus.revoke(&[&revoked]).await.unwrap();
    let began = Instant::now();
    device.told("evoked").await.unwrap();
    // At once, not when the connection is looked at the next time.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    let system = bus.connect_system().await.unwrap();
    let lookup = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", bus.trust().account.public_key);
    let found = system.request(&lookup, b"", DEADLINE).await.unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), jwt);

    assert!(bus.connect_device_with(&revoked, held.clone()).await.is_err());
    assert!(bystander.is_connected());
    assert!(!bystander.events().iter().any(|event| event.contains("disconnected")));

    // The folder's newer account wins over the one in the config.
    bus.kill();
    bus.resume().await.unwrap();
    assert!(bus.connect_device_with(&revoked, held).await.is_err());
    assert!(bus.connect_device(&other).await.is_ok());

    // Admitted again, it comes with a JWT that is younger than the revocation.
    let now = SystemClock.now().plus_ms(2_000);
    let account = &bus.trust().account.public_key;
    let claims = UserClaims::device(&revoked.public_key(), &revoked.guid, account, now.plus_ms(60_000));
    let fresh = bus.sign_user(&claims, now).unwrap();
    assert!(bus.connect_device_with(&revoked, move || fresh.clone()).await.is_ok());
}

#[tokio::test]
async fn the_system_user_reaches_no_device() {
    let bus = TestBus::start().await.unwrap();
    let own = TestDevice::draw();
    let device = bus.connect_device(&own).await.unwrap();
    let mut orders = device.subscribe(&filter::device_do(&own.guid)).await.unwrap();
    device.settle().await.unwrap();
    let system = bus.connect_system().await.unwrap();
    let subject = format!("borealis.v1.device.{}.do.agent.ping", own.guid);
    system.publish(&subject, b"forged").await.unwrap();
    system.told("Permissions Violation").await.unwrap();
    assert_eq!(orders.next_within(Duration::from_millis(50)).await, None);
}
