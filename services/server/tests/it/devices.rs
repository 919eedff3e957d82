//! The life of a device after its enrolment, with real agents: what an operator makes of it counts at once, everywhere.

use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_test_support::eventually_within;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::{Agent, Fleet, PATIENCE, file_says, instant, lines, said, shared};

/// Is how soon a change of status counts everywhere, in milliseconds.
const AT_ONCE_MS: i64 = 5_000;

/// Checks that something followed at once, by what the server recorded: a loaded machine makes the command line late.
fn at_once(cause: Timestamp, effect: Timestamp) {
    let took_ms = effect.since_ms(cause);
    assert!((0..=AT_ONCE_MS).contains(&took_ms), "it took {took_ms} ms");
}

async fn run_becomes(fleet: &Fleet, job: &str, state: &str) -> Value {
    eventually_within(state, PATIENCE, async || {
        let run = fleet.run_of(job);
        (run["state"] == state).then_some(run)
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", fleet.run_of(job)))
}

fn device(fleet: &Fleet, guid: &str) -> Value {
    let devices = fleet.devices();
    devices.into_iter().find(|device| device["guid"] == guid).unwrap()
}

#[tokio::test]
async fn what_waits_for_a_quarantined_device_says_why_and_goes_out_when_it_is_released() {
    let mut fleet = Fleet::start(2).await;
    let devices = fleet.devices();
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    // The agents are stopped, so that the job waits; each has one order before it.
    for agent in &mut fleet.agents {
        agent.kill();
    }
    let held = fleet.submit(&devices[0], &format!("echo once >> {effect_text}"), &[]);
    let free = fleet.submit(&devices[1], "echo free", &[]);
    let guid = devices[0]["guid"].as_str().unwrap();
    let tagged = fleet.json(&["devices", "tag", guid, "--add", "web", "--add", "prod", "--json"]);
    assert_eq!(tagged["tags"], json!(["prod", "web"]));
    eventually_within("the device among those of its tag", PATIENCE, async || {
        let listed = lines(&fleet.cli(&["devices", "list", "--tag", "web", "--json"]).stdout);
        (listed.len() == 1 && listed[0]["guid"] == guid).then_some(())
    })
    .await
    .unwrap();
    let told = fleet.json(&["devices", "quarantine", guid, "--reason", "odd traffic", "--json"]);
    assert_eq!(
        (
            told["status"].as_str(),
            told["status_reason"].as_str(),
            told["status_by"].as_str()
        ),
        (Some("quarantined"), Some("odd traffic"), Some("ada"))
    );
    let refused = fleet.cli(&["run", "--device", guid, "--json", "--", "true"]);
    let code: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(code["error"]["code"], "device_quarantined", "{}", said(&refused));

    for agent in &mut fleet.agents {
        agent.start(None);
    }
    fleet.all_online().await;
    // The other device's job shows that orders go out; then there was time for this one's.
    run_becomes(&fleet, &free, "succeeded").await;
    let waits = eventually_within("the run says why it waits", PATIENCE, async || {
        let run = fleet.run_of(&held);
        run["reason"]
            .as_str()
            .is_some_and(|why| why.contains("quarantined"))
            .then_some(run)
    })
    .await
    .unwrap();
    assert_eq!(waits["state"], "queued", "{waits}");
    assert!(waits["reason"].as_str().unwrap().ends_with("odd traffic"), "{waits}");
    let seen = device(&fleet, guid);
    assert_eq!(
        (seen["presence"].as_str(), seen["status"].as_str()),
        (Some("online"), Some("quarantined"))
    );
    assert!(!effect.exists(), "a quarantined device ran something");

    let released = fleet.json(&["devices", "release", guid, "--json"]);
    let run = run_becomes(&fleet, &held, "succeeded").await;
    at_once(instant(&released, "status_at"), instant(&run, "delivered_at"));
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "once\n");
}

#[tokio::test]
async fn devices_that_are_shut_out_are_cut_off_with_all_that_waits_for_them() {
    let mut fleet = Fleet::start(3).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let ((begun, begun_text), (effect, effect_text)) = (shared(&dir, "begun"), shared(&dir, "effect"));
    let guids: Vec<String> = fleet.agents.iter().map(Agent::guid).collect();
    let [busy, revoked, gone] = guids.as_slice() else {
        panic!("three agents")
    };
    let long = format!("echo on > {begun_text}; sleep 600");
    let running = fleet.submit(&device(&fleet, busy), &long, &[]);
    file_says(&begun, "the script's first line").await;
    // Two devices are away while a job waits for each.
    fleet.agents.iter_mut().skip(1).for_each(Agent::kill);
    let never = format!("echo never >> {effect_text}");
    let waiting = [revoked, gone].map(|guid| fleet.submit(&device(&fleet, guid), &never, &[]));

    let out = fleet.cli(&["devices", "revoke", busy, revoked, "--reason", "stolen", "--json"]);
    assert!(out.status.success() && lines(&out.stdout).len() == 2, "{}", said(&out));
    fleet.json(&["devices", "decommission", gone, "--json"]);
    let shut_out = |guid: &str| instant(&device(&fleet, guid), "status_at");
    let cut = run_becomes(&fleet, &running, "interrupted").await;
    assert_eq!(cut["code"], "device_revoked", "{cut}");
    at_once(shut_out(busy), instant(&cut, "ended_at"));
    eventually_within("the device is cut off", PATIENCE, async || {
        (device(&fleet, busy)["presence"] == "offline").then_some(())
    })
    .await
    .unwrap();
    let presence = format!("presence-{busy}");
    let mut left = fleet.stored(Service::Enrollment).into_iter();
    let left = left.rfind(|event| event["stream"] == presence.as_str() && event["kind"] == "DeviceDisconnected");
    let left_ms = left.unwrap()["at_ms"].as_i64().unwrap();
    at_once(shut_out(busy), Timestamp::from_unix_ms(left_ms));
    let codes = [(revoked, "device_revoked"), (gone, "device_decommissioned")];
    for (job, (guid, code)) in waiting.iter().zip(codes) {
        let run = run_becomes(&fleet, job, "refused").await;
        assert_eq!(run["code"], code, "{run}");
        at_once(shut_out(guid), instant(&run, "ended_at"));
    }
    for (guid, status, reason) in [
        (busy, "revoked", Some("stolen")),
        (revoked, "revoked", Some("stolen")),
        (gone, "decommissioned", None),
    ] {
        let seen = device(&fleet, guid);
        assert_eq!(
            (seen["status"].as_str(), seen["status_reason"].as_str()),
            (Some(status), reason),
            "{seen}"
        );
    }

    // They come back, and learn that they are not known any more.
    for agent in fleet.agents.iter_mut().skip(1) {
        agent.start(None);
    }
    for agent in &fleet.agents {
        eventually_within("the agent learns that it is shut out", PATIENCE, async || {
            agent
                .log()
                .contains("the server does not know this device any more")
                .then_some(())
        })
        .await
        .unwrap();
    }
    assert!(fleet.devices().iter().all(|device| device["presence"] == "offline"));
    assert!(!effect.exists(), "a device that was shut out ran something");
    for act in ["release", "quarantine"] {
        let refused = fleet.cli(&["devices", act, revoked, "--json"]);
        let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert_eq!(told["error"]["code"], "wrong_state", "{}", said(&refused));
    }
}

async fn said_by(agent: &Agent, text: &str, times: usize) {
    eventually_within(text, PATIENCE, async || {
        (agent.log().matches(text).count() >= times).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_copied_device_is_quarantined_and_one_that_starts_again_and_again_is_not() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let guid = fleet.agents[0].guid();
    for start in 2..6 {
        fleet.agents[0].kill();
        fleet.agents[0].start(None);
        said_by(&fleet.agents[0], "connected to the bus", start).await;
    }
    let (code, _) = fleet.run("true", &[]);
    assert_eq!(code, 0);
    assert_eq!(device(&fleet, &guid)["status"], "active");

    fleet.agents[0].kill();
    let mut copy = fleet.agents[0].copy();
    let began = SystemClock.now();
    fleet.agents[0].start(None);
    copy.start(None);
    let found = eventually_within("the copy is found", PATIENCE, async || {
        let found = device(&fleet, &guid);
        (found["status"] == "quarantined").then_some(found)
    })
    .await
    .unwrap();
    let took_ms = instant(&found, "status_at").since_ms(began);
    assert!(took_ms < 60_000, "it took {took_ms} ms");
    assert!(found["status_reason"].as_str().unwrap().contains("copy"), "{found}");
    assert!(found["status_by"].is_null(), "{found}");
    let line = format!("echo once >> {effect_text}");
    let run = |fleet: &Fleet| fleet.cli(&["run", "--device", &guid, "--json", "--", &line]);
    let told: Value = serde_json::from_slice(&run(&fleet).stdout).unwrap();
    assert_eq!(told["error"]["code"], "device_quarantined", "{told}");
    for agent in [&fleet.agents[0], &copy] {
        said_by(agent, "this device is quarantined", 1).await;
    }
    assert!(!effect.exists(), "a copied device ran something");

    // The copy is gone and an operator says so.
    copy.kill();
    fleet.json(&["devices", "release", &guid, "--reason", "the copy is gone", "--json"]);
    let (code, last) = fleet.run(&line, &[]);
    assert_eq!((code, last["state"].as_str()), (0, Some("succeeded")), "{last}");
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "once\n");
    assert_eq!(device(&fleet, &guid)["status"], "active");
}
