//! Each missing or wrong proof: its own code, no signature, and no event.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, GrantId, SiteName};
use borealis_bus_schema::messages::shared_events::{DeviceStatus, GrantRevoked, SessionEnded, SharedEvent};
use borealis_bus_schema::messages::signing::{OrdersSigned, SignOrders};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::{MAX_VALIDITY_MS, Order};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{NewEvent, StreamId};
use borealis_service_kit::auth::Sites;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::random;
use borealis_test_support::eventually;
use serde_json::json;

use crate::fleet::{Fleet, ping_order};
use crate::harness::{Operator, append, code, narrowed, now};

const RUN: Need = Need::Right(Right::JobsRun);

/// Is a fleet with one device that signing knows, and a grant for it.
struct Ready {
    fleet: Fleet,
    command: CommandId,
    call: OperatorCall,
    grant: String,
    order: Order,
}

async fn ready() -> Ready {
    let fleet = Fleet::start().await;
    let (guid, command) = (fleet.device("default").await, random::id());
    let call = fleet.ping(&json!({"all": true}), command);
    let grant = fleet.grant(&call).await;
    let order = ping_order(command, guid);
    fleet.until(&grant, &call, &order, |reply| reply.is_ok()).await;
    Ready {
        fleet,
        command,
        call,
        grant,
        order,
    }
}

fn fails(code: Code) -> impl Fn(&Reply<OrdersSigned>) -> bool {
    move |reply| matches!(reply, Err(error) if error.code == code)
}

#[tokio::test]
async fn a_grant_that_does_not_hold_is_named() {
    let at = ready().await;
    let before = at.fleet.signing.events().unwrap();
    let with = async |grant: &str| code(at.fleet.sign(grant, &at.call, vec![at.order.clone()]).await);
    assert_eq!(with("").await, Code::TokenMissing);
    assert_eq!(with("rubbish").await, Code::TokenInvalid);
    let narrow = |service, need, ago| narrowed(&at.grant, service, need, ago);
    assert_eq!(with(&narrow(Service::Library, RUN, 0)).await, Code::WrongService);
    assert_eq!(
        with(&narrow(Service::Signing, Need::Session, 0)).await,
        Code::WrongAction
    );
    assert_eq!(with(&narrow(Service::Signing, RUN, 31_000)).await, Code::TokenExpired);
    let without = at.fleet.forged_grant(&at.call, &[Right::JobsRead], Sites::All);
    assert_eq!(with(&without).await, Code::RightMissing);
    assert_eq!(with(&at.fleet.ada.token).await, Code::TokenInvalid);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}

#[tokio::test]
async fn a_request_that_the_grant_does_not_cover_is_named() {
    let at = ready().await;
    let before = at.fleet.signing.events().unwrap();
    let with = async |call: OperatorCall| code(at.fleet.sign(&at.grant, &call, vec![at.order.clone()]).await);
    let unsigned = OperatorCall {
        proof: None,
        ..at.call.clone()
    };
    assert_eq!(with(unsigned).await, Code::SignatureMissing);
    let altered = OperatorCall {
        body: String::from_utf8_lossy(&at.call.body)
            .replace("ping", "run")
            .into_bytes(),
        ..at.call.clone()
    };
    assert_eq!(with(altered).await, Code::SignatureInvalid);
    let thief = Operator {
        key: random::signing_key(),
        ..at.fleet.ada.clone()
    };
    let body = at.call.body.clone();
    let stolen = crate::harness::call_at(&thief, Service::Scheduler, "jobs-create", &body, at.command, now());
    assert_eq!(with(stolen).await, Code::SignatureInvalid);
    let another = at.fleet.ping(&json!({"guids": [at.order.guid]}), at.command);
    assert_eq!(with(another).await, Code::GrantMismatch);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}

#[tokio::test]
async fn an_order_that_may_not_be_signed_is_named() {
    let at = ready().await;
    let before = at.fleet.signing.events().unwrap();
    let with = async |orders: Vec<Order>| code(at.fleet.sign(&at.grant, &at.call, orders).await);
    let order = || at.order.clone();
    assert_eq!(with(vec![]).await, Code::InvalidField);
    assert_eq!(with(vec![order(); 1_025]).await, Code::InvalidField);
    let run = random::id();
    assert_eq!(with(vec![order(), Order { run, ..order() }]).await, Code::GrantMismatch);
    assert_eq!(with(vec![Order { attempt: 2, ..order() }]).await, Code::GrantMismatch);
    let issued_at = now().plus_ms(-120_000);
    assert_eq!(with(vec![Order { issued_at, ..order() }]).await, Code::InvalidField);
    let expires_at = now().plus_ms(MAX_VALIDITY_MS * 2);
    assert_eq!(with(vec![Order { expires_at, ..order() }]).await, Code::InvalidField);
    let expires_at = now().plus_ms(3_700_000);
    assert_eq!(with(vec![Order { expires_at, ..order() }]).await, Code::GrantMismatch);
    assert_eq!(with(vec![ping_order(at.command, random::id())]).await, Code::NotFound);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}

#[tokio::test]
async fn devices_that_get_no_orders_get_no_signatures() {
    let at = ready().await;
    let berlin: SiteName = SiteName::new("berlin").unwrap();
    let here = at
        .fleet
        .forged_grant(&at.call, &[Right::JobsRun], Sites::Some([berlin].into()));
    let elsewhere = at.fleet.sign(&here, &at.call, vec![at.order.clone()]).await;
    assert_eq!(code(elsewhere), Code::OutOfScope);
    let states = [
        (DeviceStatus::Quarantined, Code::DeviceQuarantined),
        (DeviceStatus::Revoked, Code::DeviceRevoked),
        (DeviceStatus::Decommissioned, Code::DeviceDecommissioned),
    ];
    for (status, expected) in states {
        at.fleet.status(at.order.guid, status).await;
        at.fleet.until(&at.grant, &at.call, &at.order, fails(expected)).await;
    }
    let before = at.fleet.signing.events().unwrap();
    let refused = at.fleet.sign(&at.grant, &at.call, vec![at.order.clone()]).await;
    assert_eq!(code(refused), Code::DeviceDecommissioned);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}

async fn tell<T: SharedEvent>(fleet: &Fleet, stream: &str, event: &T) {
    let (kind, body) = (T::KIND.to_owned(), codec::encode(event).unwrap());
    let stream = StreamId::new(stream).unwrap();
    append(fleet.access.log.as_ref(), stream, NewEvent { kind, body }).await;
}

#[tokio::test]
async fn a_grant_outlives_its_session_but_not_its_revocation() {
    let at = ready().await;
    let session = at.fleet.ada.session;
    let ended = SessionEnded {
        session,
        reason: "log-out".into(),
        at: now(),
    };
    tell(&at.fleet, &format!("session-{session}"), &ended).await;
    at.fleet
        .sign(&at.grant, &at.call, vec![at.order.clone()])
        .await
        .unwrap();

    let minted = at.fleet.access.log.read_all(0, 100).unwrap();
    let stream = minted
        .iter()
        .find(|event| event.kind == "GrantMinted")
        .unwrap()
        .stream
        .clone();
    let grant: GrantId = stream.as_str().trim_start_matches("grant-").parse().unwrap();
    let revoked = GrantRevoked {
        grant,
        reason: "test".into(),
        at: now(),
    };
    tell(&at.fleet, stream.as_str(), &revoked).await;
    at.fleet
        .until(&at.grant, &at.call, &at.order, fails(Code::TokenRevoked))
        .await;
    let before = at.fleet.signing.events().unwrap();
    let refused = at.fleet.sign(&at.grant, &at.call, vec![at.order.clone()]).await;
    assert_eq!(code(refused), Code::TokenRevoked);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}

#[tokio::test]
async fn without_a_fresh_word_nothing_is_signed() {
    let at = ready().await;
    at.fleet.enrollment.stop().await.unwrap();
    let ask = SignOrders {
        grant: at.grant.clone(),
        call: at.call.clone(),
        orders: vec![at.order.clone()],
        approval: None,
        firing: None,
        assembly: None,
    };
    let scheduler = &at.fleet.scheduler;
    eventually("a stale answer", async || {
        let reply = scheduler.request(&ask, RequestOptions::default()).await;
        fails(Code::Stale)(&reply).then_some(())
    })
    .await
    .unwrap();
    let before = at.fleet.signing.events().unwrap();
    let reply = scheduler.request(&ask, RequestOptions::default()).await;
    assert_eq!(code(reply), Code::Stale);
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.signing.stop().await.unwrap();
    at.fleet.access.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_scheduler_may_ask() {
    let at = ready().await;
    let before = at.fleet.signing.events().unwrap();
    let gateway = at.fleet.world.connect(Service::Gateway).await;
    let ask = SignOrders {
        grant: at.grant.clone(),
        call: at.call.clone(),
        orders: vec![at.order.clone()],
        approval: None,
        firing: None,
        assembly: None,
    };
    assert_eq!(
        code(gateway.request(&ask, RequestOptions::default()).await),
        Code::RightMissing
    );
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");
    at.fleet.stop().await;
}
