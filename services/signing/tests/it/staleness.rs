//! Events between services are cut, delayed and forged: nothing revoked is signed later than five seconds afterwards.

use std::time::{Duration, Instant};

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{CommandId, GrantId, VerbName};
use borealis_bus_schema::messages::events::{EventsPage, Head};
use borealis_bus_schema::messages::shared_events::{DeviceStatus, GrantRevoked};
use borealis_bus_schema::messages::signing::SignOrders;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::Order;
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::{keys, random};
use borealis_test_support::{Flow, Link, User, eventually};
use serde_json::json;

use crate::fleet::{Fleet, ping_order};
use crate::harness::{World, now};

/// Is how long after a revocation something may still be signed that it forbids.
const BOUND: Duration = Duration::from_secs(5);
/// Is how long it is tried.
const TRIED: Duration = Duration::from_secs(7);

/// Is a job that is signed for, until something is revoked.
struct Job {
    command: CommandId,
    call: OperatorCall,
    grant: GrantId,
    token: String,
    order: Order,
}

async fn job(fleet: &Fleet) -> Job {
    let (guid, command) = (fleet.device("default").await, random::id());
    let call = fleet.ping(&json!({"all": true}), command);
    let granted = fleet.granted(&call).await;
    let order = ping_order(command, guid);
    fleet.until(&granted.token, &call, &order, |reply| reply.is_ok()).await;
    Job {
        command,
        call,
        grant: granted.grant,
        token: granted.token,
        order,
    }
}

/// Is what came of asking again and again after a revocation.
#[derive(Debug)]
struct Tried {
    /// How long after the revocation the last request was sent that was signed for; none was, where it is zero.
    last_signed: Duration,
    /// What the last answer was.
    last: Option<Code>,
}

/// Asks for signatures from the instant of the revocation on, as fast as they are answered.
async fn try_on(fleet: &Fleet, job: &Job, revoked_at: Instant) -> Tried {
    let mut tried = Tried {
        last_signed: Duration::ZERO,
        last: None,
    };
    while revoked_at.elapsed() < TRIED {
        let ask = SignOrders {
            grant: job.token.clone(),
            call: job.call.clone(),
            orders: vec![Order {
                order: random::id(),
                issued_at: now(),
                ..ping_order(job.command, job.order.guid)
            }],
            approval: None,
            firing: None,
            assembly: None,
        };
        let sent = revoked_at.elapsed();
        match fleet.scheduler.request(&ask, RequestOptions::default()).await {
            Ok(_) => {
                tried = Tried {
                    last_signed: sent,
                    last: None,
                }
            }
            Err(error) => tried.last = Some(error.code),
        }
        assert!(
            tried.last_signed <= BOUND,
            "signed {:?} after the revocation",
            tried.last_signed
        );
        if matches!(tried.last, Some(Code::TokenRevoked | Code::DeviceRevoked)) {
            return tried;
        }
    }
    tried
}

async fn revoke_grant(fleet: &Fleet, job: &Job) -> Instant {
    let revoked = GrantRevoked {
        grant: job.grant,
        reason: "test".into(),
        at: now(),
    };
    let at = Instant::now();
    fleet
        .access
        .tell(&format!("grant-{}", job.grant), &revoked)
        .await
        .unwrap();
    at
}

fn head_subject(service: Service) -> String {
    Subject::Head { service }.to_string()
}

/// Publishes every head that whoever has the bus could make up, again and again.
async fn forge_heads(thief: User, world_head: Vec<u8>, library: ed25519_dalek::SigningKey) {
    let subject = head_subject(Service::Access);
    let honest: Head = codec::decode(&codec::decode::<Signed>(&world_head).unwrap().bytes).unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        let fresh = Head {
            at: now(),
            ..honest.clone()
        };
        let ahead = Head {
            at: now().plus_ms(3_600_000),
            ..honest.clone()
        };
        let library_says = Head {
            service: Service::Library,
            ..fresh.clone()
        };
        let mut forged = vec![
            world_head.clone(),
            codec::encode(&Signed::seal(&random::signing_key(), Form::Head, &fresh).unwrap()).unwrap(),
            codec::encode(&Signed::seal(&library, Form::Head, &fresh).unwrap()).unwrap(),
            codec::encode(&Signed::seal(&library, Form::Head, &library_says).unwrap()).unwrap(),
            codec::encode(&Signed::seal(&library, Form::Head, &ahead).unwrap()).unwrap(),
        ];
        // The owner's signature with another instant.
        let mut stretched: Signed = codec::decode(&world_head).unwrap();
        stretched.bytes = codec::encode(&fresh).unwrap();
        forged.push(codec::encode(&stretched).unwrap());
        for body in forged {
            if thief.publish(&subject, &body).await.is_err() {
                return;
            }
        }
    }
}

/// Answers reads of access's events in its place, with nothing.
async fn forge_pages(thief: User) {
    let subject = Subject::Service {
        service: Service::Access,
        verb: VerbName::new("events-read").unwrap(),
    };
    let mut asked = thief.subscribe(&subject.to_string()).await.unwrap();
    let empty = reply::encode(&Ok(EventsPage { events: Vec::new() })).unwrap();
    while let Some(message) = asked.next_within(Duration::from_secs(3_600)).await {
        if let Some(to) = message.reply
            && thief.publish(&to, &empty).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn what_was_revoked_is_not_signed_five_seconds_later_whatever_the_bus_does() {
    let world = World::start().await;
    let links = [
        Link::to(world.bus.port()).await.unwrap(),
        Link::to(world.bus.port()).await.unwrap(),
    ];
    let [access, enrollment] = &links;
    let fleet = Fleet::start_by(world, |world, service| {
        let via = match service {
            Service::Access => Some(access.port()),
            Service::Enrollment => Some(enrollment.port()),
            _ => None,
        };
        world.bus.lead_via(via).unwrap();
    })
    .await;
    let thief = fleet.world.bus.connect_everything().await.unwrap();
    let mut heads = thief.subscribe(&head_subject(Service::Access)).await.unwrap();

    // Cut, while whoever did it says whatever he likes in access's name.
    let cut = job(&fleet).await;
    let captured = heads.next_within(BOUND).await.unwrap().body;
    let library = keys::read_signing_key(&fleet.world.bus.paths().service_key(Service::Library)).unwrap();
    access.set(Flow::Shut);
    let forging = tokio::spawn(forge_heads(
        fleet.world.bus.connect_everything().await.unwrap(),
        captured,
        library,
    ));
    let revoked_at = revoke_grant(&fleet, &cut).await;
    let tried = try_on(&fleet, &cut, revoked_at).await;
    assert!(
        tried.last_signed > Duration::from_secs(1),
        "the cut was not felt by being stale: {tried:?}"
    );
    assert_eq!(tried.last, Some(Code::Stale), "{tried:?}");
    forging.abort();
    access.set(Flow::Open);
    eventually("the revocation to arrive", async || {
        let refused = fleet.sign(&cut.token, &cut.call, vec![cut.order.clone()]).await;
        refused
            .is_err_and(|error| error.code == Code::TokenRevoked)
            .then_some(())
    })
    .await
    .unwrap();

    // Late: three seconds for each word of access, the reads it answers included.
    let late = job(&fleet).await;
    access.set(Flow::Late(Duration::from_secs(3)));
    let revoked_at = revoke_grant(&fleet, &late).await;
    let tried = try_on(&fleet, &late, revoked_at).await;
    assert!(tried.last.is_some(), "{tried:?}");
    access.set(Flow::Open);

    // Pages that somebody else answers faster than access.
    let forged = job(&fleet).await;
    let forging = tokio::spawn(forge_pages(fleet.world.bus.connect_everything().await.unwrap()));
    let revoked_at = revoke_grant(&fleet, &forged).await;
    let tried = try_on(&fleet, &forged, revoked_at).await;
    assert!(tried.last.is_some(), "{tried:?}");
    forging.abort();
    // Nothing of this lasts.
    let after = job(&fleet).await;

    // The same for a device that enrollment shuts out.
    enrollment.set(Flow::Shut);
    let revoked_at = Instant::now();
    fleet.status(after.order.guid, DeviceStatus::Revoked).await;
    let tried = try_on(&fleet, &after, revoked_at).await;
    assert_eq!(tried.last, Some(Code::Stale), "{tried:?}");
    enrollment.set(Flow::Open);
    fleet
        .until(&after.token, &after.call, &after.order, |reply| {
            reply.as_ref().is_err_and(|error| error.code == Code::DeviceRevoked)
        })
        .await;
    drop(heads);
    fleet.stop().await;
}
