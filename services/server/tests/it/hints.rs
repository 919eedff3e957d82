//! What is said of a run without the device's signature: whoever has the whole bus says it, and it ends nothing, changes
//! nothing that counts, and delays nothing for good.

use std::collections::BTreeMap;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry, Side};
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{Guid, RoleName, VerbName};
use borealis_bus_schema::messages::device::{Accepted, TellState};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::{Order, SignedOrder};
use borealis_bus_schema::reply::{self, WireError};
use borealis_bus_schema::subjects::{Subject, filter};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{User, eventually_within};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, shared};
use crate::trust::{everything, forged_result};

fn run_of(fleet: &Fleet, job: &str) -> Value {
    fleet.json(&["jobs", "show", job, "--json"])["runs"][0].clone()
}

/// Says something in a device's name.
async fn tell(thief: &User, guid: &Guid, role: &str, verb: &str, body: &[u8]) -> Vec<u8> {
    let subject = Subject::DeviceTell {
        guid: *guid,
        role: RoleName::new(role).unwrap(),
        verb: VerbName::new(verb).unwrap(),
    };
    thief
        .request(&subject.to_string(), body, Duration::from_secs(20))
        .await
        .unwrap()
}

#[tokio::test]
async fn forged_refusals_acceptances_and_progress_end_nothing_and_delay_nothing_for_good() {
    let mut fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let (guid, context) = (device["guid"].as_str().unwrap().to_owned(), context_of(&device));
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let thief = everything(&fleet).await;
    let id: Guid = guid.parse().unwrap();
    let mut orders = thief.subscribe(&filter::device_do(&id)).await.unwrap();
    thief.settle().await.unwrap();

    // The device hears nothing; somebody answers in its place.
    fleet.agents[0].pause();
    let script = format!("echo ran >> {effect_text}");
    let job = fleet.json(&["run", "--device", &guid, "--context", &context, "--json", "--", &script]);
    let job = job["job"].as_str().unwrap().to_owned();
    let mut order: Option<Order> = None;
    let refusals = [Code::OrderReplayed, Code::OrderWrongDevice, Code::OrderExpired];
    for code in refusals {
        assert_eq!((code.side(), code.retry()), (Side::Device, Retry::Never), "{code}");
        let asked = orders.next_within(PATIENCE).await.expect("the run is asked for again");
        let signed: SignedOrder = codec::decode(&asked.body).unwrap();
        order = Some(codec::decode(&signed.order).unwrap());
        let refused = reply::encode::<Accepted>(&Err(WireError::new(code, "never"))).unwrap();
        thief.publish(&asked.reply.unwrap(), &refused).await.unwrap();
    }
    let order = order.unwrap();
    let asked = orders
        .next_within(PATIENCE)
        .await
        .expect("a forged refusal is no last word");
    assert_eq!(run_of(&fleet, &job)["state"], "queued");
    // It has taken the order, it runs, it is done: so somebody says.
    let accepted = |state, result| {
        reply::encode(&Ok(Accepted {
            run: order.run,
            attempt: order.attempt,
            state,
            result,
        }))
        .unwrap()
    };
    let forged = forged_result(&order);
    let done = accepted(RunState::Succeeded, Some(forged.result.clone()));
    thief.publish(&asked.reply.unwrap(), &done).await.unwrap();
    for state in [RunState::Running, RunState::Succeeded, RunState::Refused] {
        let progress = TellState {
            run: order.run,
            attempt: order.attempt,
            state,
            at: SystemClock.now(),
        };
        tell(&thief, &id, "script", "state", &codec::encode(&progress).unwrap()).await;
    }
    let refused = tell(&thief, &id, "script", "result", &codec::encode(&forged).unwrap()).await;
    assert!(reply::decode::<Value>(&refused).is_err());
    let invented = BTreeMap::from([("hostname".to_owned(), "evil".to_owned())]);
    let facts = Signed::seal(&random::signing_key(), Form::Facts, &invented).unwrap();
    let refused = tell(&thief, &id, "inventory", "facts", &codec::encode(&facts).unwrap()).await;
    assert!(reply::decode::<Value>(&refused).is_err());
    let run = run_of(&fleet, &job);
    assert!(matches!(run["state"].as_str(), Some("delivered" | "running")), "{run}");
    assert!(run["exit_code"].is_null() && !effect.exists(), "{run}");
    drop(orders);

    // The device lost what it was sent; it comes back, and is told again.
    fleet.agents[0].kill();
    fleet.agents[0].start(None);
    let ended = eventually_within("the run's true end", Duration::from_secs(60), async || {
        let run = run_of(&fleet, &job);
        (run["state"] == "succeeded").then_some(run)
    });
    let ended = ended.await.unwrap();
    assert_eq!(ended["exit_code"], 0, "{ended}");
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "ran\n");
    let after = fleet.devices().remove(0);
    assert_eq!(
        (&after["hostname"], &after["status"]),
        (&device["hostname"], &device["status"])
    );
}
