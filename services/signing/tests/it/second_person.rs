//! A scheduler that was taken over holds honest grants, requests and approvals, and gets nothing past its author's limit but
//! what another operator approved.

use std::collections::BTreeSet;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, Guid, JobId, OperatorId};
use borealis_bus_schema::messages::scheduler::devices_digest;
use borealis_bus_schema::messages::shared_events::OperatorDisabled;
use borealis_bus_schema::messages::signing::{Approval, OrdersSigned};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::{Digest, Order};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::{Bounds, Reach, SessionClaims, Sites, mint_grant, mint_grant_within};
use borealis_service_kit::random;
use borealis_test_support::{biscuit_root, eventually};
use serde_json::json;

use crate::fleet::{Fleet, ping_order};
use crate::harness::{Operator, code, now};

/// Is the grant of a job whose author may have it on two devices alone.
fn limited_grant(fleet: &Fleet, call: &OperatorCall, limit: u64) -> String {
    let claims = SessionClaims {
        operator: fleet.operator,
        username: "ada".into(),
        session: fleet.ada.session,
        session_key: PublicKey::of(&fleet.ada.key),
        rights: Reach::from([(Right::JobsRun, Sites::All)]).with_job_limit(Some(limit)),
        expires_at: now().plus_ms(3_600_000),
    };
    let root = biscuit_root(&fleet.world.bus).unwrap();
    let covers = call.granted_digest(&call.proof.as_ref().unwrap().command);
    mint_grant(&root, &claims, random::id(), &covers).unwrap()
}

/// Is whoever approves.
struct Second {
    who: Operator,
    operator: OperatorId,
    sites: Sites,
    is_token: bool,
}

impl Second {
    fn new() -> Self {
        Self {
            who: Operator {
                session: random::id(),
                key: random::signing_key(),
                token: String::new(),
            },
            operator: random::id(),
            sites: Sites::All,
            is_token: false,
        }
    }

    /// Approves devices for a request, and grants it as access does.
    fn approves(&self, fleet: &Fleet, call: &OperatorCall, devices: &[Guid]) -> Approval {
        let devices: BTreeSet<Guid> = devices.iter().copied().collect();
        let job = JobId::of_command(&call.proof.as_ref().unwrap().command);
        let path = format!("/api/v1/jobs/{job}/approve");
        let body = json!({"request": Digest(call.digest()), "devices": devices_digest(&devices)});
        let body = body.to_string().into_bytes();
        let command = random::id();
        let proof = Proof::new(&self.who.key, self.who.session, command, now(), "POST", &path, &body);
        let approving = OperatorCall {
            method: "POST".into(),
            path,
            body,
            proof: Some(proof),
            peer: String::new(),
        };
        let claims = SessionClaims {
            operator: self.operator,
            username: "eve".into(),
            session: self.who.session,
            session_key: PublicKey::of(&self.who.key),
            // A limit of her own does not bind whoever approves.
            rights: Reach::from([(Right::JobsRun, self.sites.clone())]).with_job_limit(Some(0)),
            expires_at: now().plus_ms(3_600_000),
        };
        let bounds = Bounds {
            is_token: self.is_token,
            ..Bounds::default()
        };
        let root = biscuit_root(&fleet.world.bus).unwrap();
        let covers = approving.granted_digest(&command);
        Approval {
            grant: mint_grant_within(&root, &claims, random::id(), &covers, &bounds).unwrap(),
            call: approving,
            devices: Approval::pack(&devices),
        }
    }
}

struct Scene {
    fleet: Fleet,
    devices: Vec<Guid>,
    command: CommandId,
    call: OperatorCall,
    grant: String,
}

impl Scene {
    /// Begins with three devices, and a job for all that there are whose author may have it on two.
    async fn start() -> Self {
        let fleet = Fleet::start().await;
        let mut devices = Vec::new();
        for _ in 0..3 {
            devices.push(fleet.device("default").await);
        }
        let free = random::id();
        let known = fleet.ping(&json!({"all": true}), free);
        let grant = limited_grant(&fleet, &known, 9);
        fleet
            .until(&grant, &known, &ping_order(free, devices[2]), |reply| reply.is_ok())
            .await;
        let command = random::id();
        let call = fleet.ping(&json!({"all": true}), command);
        let grant = limited_grant(&fleet, &call, 2);
        Self {
            fleet,
            devices,
            command,
            call,
            grant,
        }
    }

    fn orders(&self, devices: &[usize]) -> Vec<Order> {
        devices
            .iter()
            .map(|n| ping_order(self.command, self.devices[*n]))
            .collect()
    }

    async fn sign(&self, devices: &[usize], approval: Option<Approval>) -> Reply<OrdersSigned> {
        let orders = self.orders(devices);
        self.fleet
            .sign_approved(&self.grant, &self.call, orders, approval)
            .await
    }
}

#[tokio::test]
async fn a_job_split_into_parts_gets_no_further_than_the_limit_also_after_a_restart() {
    let mut at = Scene::start().await;
    assert_eq!(code(at.sign(&[0, 1, 2], None).await), Code::ApprovalRequired);
    assert!(at.sign(&[0], None).await.is_ok());
    assert!(at.sign(&[1], None).await.is_ok());
    assert_eq!(code(at.sign(&[2], None).await), Code::ApprovalRequired);
    at.fleet = at.fleet.with_signing_restarted().await;
    assert_eq!(code(at.sign(&[2], None).await), Code::ApprovalRequired);
    assert_eq!(code(at.sign(&[1, 2], None).await), Code::ApprovalRequired);
    assert!(at.sign(&[0, 1], None).await.is_ok(), "what began goes on");
    at.fleet.stop().await;
}

#[tokio::test]
async fn a_request_that_names_more_devices_than_the_limit_is_signed_for_none() {
    let mut at = Scene::start().await;
    at.call = at.fleet.ping(&json!({"guids": at.devices}), at.command);
    at.grant = limited_grant(&at.fleet, &at.call, 2);
    for devices in [&[0][..], &[0, 1], &[0, 1, 2]] {
        assert_eq!(code(at.sign(devices, None).await), Code::ApprovalRequired);
    }
    let approval = Second::new().approves(&at.fleet, &at.call, &at.devices);
    assert!(at.sign(&[0, 1, 2], Some(approval)).await.is_ok());
    at.fleet.stop().await;
}

#[tokio::test]
async fn an_approval_opens_exactly_its_devices_of_exactly_its_request() {
    let mut at = Scene::start().await;
    let eve = Second::new();
    let good = eve.approves(&at.fleet, &at.call, &at.devices);
    let stranger = at.fleet.device("default").await;

    // What is shown instead, each with what it changes.
    let mut swapped = good.clone();
    let devices = [at.devices[0], at.devices[1], stranger].into_iter().collect();
    swapped.devices = Approval::pack(&devices);
    let fewer = eve.approves(&at.fleet, &at.call, &at.devices[..2]);
    let another = at.fleet.ping(&json!({"all": true}), random::id());
    let of_another = eve.approves(&at.fleet, &another, &at.devices);
    let mut other_grant = good.clone();
    other_grant.grant = fewer.grant.clone();
    let program = Second {
        is_token: true,
        ..Second::new()
    };
    let by_program = program.approves(&at.fleet, &at.call, &at.devices);
    let mut own = Second::new();
    own.operator = at.fleet.operator;
    let own = own.approves(&at.fleet, &at.call, &at.devices);
    let before = at.fleet.signing.events().unwrap();
    for (what, approval, expected) in [
        ("a swapped device", swapped, Code::ApprovalMismatch),
        ("a device less", fewer, Code::GrantMismatch),
        ("another request", of_another, Code::ApprovalMismatch),
        ("another grant", other_grant, Code::ApprovalMismatch),
        ("a program", by_program, Code::ApprovalMismatch),
        ("the author", own, Code::OwnApproval),
    ] {
        assert_eq!(code(at.sign(&[0, 1, 2], Some(approval)).await), expected, "{what}");
    }
    assert_eq!(at.fleet.signing.events().unwrap(), before, "nothing was written");

    assert!(at.sign(&[0, 1, 2], Some(good.clone())).await.is_ok());
    // A device that came meanwhile is none of them, and no other approval takes its place, also after a restart.
    let late = vec![ping_order(at.command, stranger)];
    let refused = at
        .fleet
        .sign_approved(&at.grant, &at.call, late.clone(), Some(good.clone()));
    assert_eq!(code(refused.await), Code::GrantMismatch);
    let mut with_stranger = at.devices.clone();
    with_stranger.push(stranger);
    let wider = eve.approves(&at.fleet, &at.call, &with_stranger);
    at.fleet = at.fleet.with_signing_restarted().await;
    let refused = at.fleet.sign_approved(&at.grant, &at.call, late, Some(wider));
    assert_eq!(code(refused.await), Code::ApprovalMismatch);
    // It is shown each time.
    assert_eq!(code(at.sign(&[2], None).await), Code::ApprovalRequired);
    assert!(at.sign(&[2], Some(good)).await.is_ok());
    at.fleet.stop().await;
}

#[tokio::test]
async fn whoever_approved_is_looked_at_again_at_each_order() {
    let at = Scene::start().await;
    let mut eve = Second::new();
    eve.sites = Sites::Some([borealis_bus_schema::ids::SiteName::new("berlin").unwrap()].into());
    let beyond = eve.approves(&at.fleet, &at.call, &at.devices);
    assert_eq!(code(at.sign(&[0], Some(beyond)).await), Code::OutOfScope);

    let eve = Second::new();
    let good = eve.approves(&at.fleet, &at.call, &at.devices);
    assert!(at.sign(&[0], Some(good.clone())).await.is_ok());
    let disabled = OperatorDisabled {
        operator: eve.operator,
        reason: "left".into(),
        at: now(),
    };
    at.fleet.access.tell("operator-eve", &disabled).await.unwrap();
    eventually("signing to hear of it", async || {
        let reply = at.sign(&[1], Some(good.clone())).await;
        reply.is_err_and(|error| error.code == Code::TokenRevoked).then_some(())
    })
    .await
    .unwrap();
    at.fleet.stop().await;
}
