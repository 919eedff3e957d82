//! The life of a device after its enrolment, with real agents: what an operator makes of it counts at once, everywhere.

use std::time::{Duration, Instant};

use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Agent, Fleet, PATIENCE, context_of, file_says, lines, said, shared};

/// Is how soon a change of status counts everywhere.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Makes a job of a script on a device and returns its id; nobody waits for it.
fn queue(fleet: &Fleet, device: &Value, script: &str) -> String {
    let dir = TempDir::with_prefix("borealis-script-").unwrap();
    let (file, file_text) = shared(&dir, "script.sh");
    std::fs::write(&file, script).unwrap();
    let (guid, context) = (device["guid"].as_str().unwrap(), context_of(device));
    let job = fleet.json(&[
        "run",
        "--device",
        guid,
        "--context",
        &context,
        "--json",
        "--file",
        &file_text,
    ]);
    job["job"].as_str().unwrap().to_owned()
}

/// Returns the only run of a job.
fn run_of(fleet: &Fleet, job: &str) -> Value {
    let out = fleet.cli(&["jobs", "show", job, "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let mut found = lines(&out.stdout);
    let run = found.iter_mut().find_map(|line| match line["runs"].as_array() {
        Some(runs) => runs.first().cloned(),
        None => line.get("run").is_some().then(|| line.clone()),
    });
    run.unwrap_or_else(|| panic!("no run: {}", said(&out)))
}

async fn run_becomes(fleet: &Fleet, job: &str, state: &str) -> Value {
    eventually_within(state, PATIENCE, async || {
        let run = run_of(fleet, job);
        (run["state"] == state).then_some(run)
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", run_of(fleet, job)))
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
    let held = queue(&fleet, &devices[0], &format!("echo once >> {effect_text}"));
    let free = queue(&fleet, &devices[1], "echo free");
    let guid = devices[0]["guid"].as_str().unwrap();
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
        let run = run_of(&fleet, &held);
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

    let began = Instant::now();
    fleet.json(&["devices", "release", guid, "--json"]);
    run_becomes(&fleet, &held, "succeeded").await;
    assert!(
        began.elapsed() < AT_ONCE * 2,
        "it took {:?} from the release to the end",
        began.elapsed()
    );
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
    let running = queue(
        &fleet,
        &device(&fleet, busy),
        &format!("echo on > {begun_text}; sleep 600"),
    );
    file_says(&begun, "the script's first line").await;
    // Two devices are away while a job waits for each.
    fleet.agents.iter_mut().skip(1).for_each(Agent::kill);
    let never = format!("echo never >> {effect_text}");
    let waiting = [revoked, gone].map(|guid| queue(&fleet, &device(&fleet, guid), &never));

    let began = Instant::now();
    let out = fleet.cli(&["devices", "revoke", busy, revoked, "--reason", "stolen", "--json"]);
    assert!(out.status.success() && lines(&out.stdout).len() == 2, "{}", said(&out));
    fleet.json(&["devices", "decommission", gone, "--json"]);
    let cut = run_becomes(&fleet, &running, "interrupted").await;
    assert_eq!(cut["code"], "device_revoked", "{cut}");
    eventually_within("the device is cut off", PATIENCE, async || {
        (device(&fleet, busy)["presence"] == "offline").then_some(())
    })
    .await
    .unwrap();
    for (job, code) in waiting.iter().zip(["device_revoked", "device_decommissioned"]) {
        let run = run_becomes(&fleet, job, "refused").await;
        assert_eq!(run["code"], code, "{run}");
    }
    assert!(began.elapsed() < AT_ONCE * 2, "it took {:?}", began.elapsed());
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
    let began = Instant::now();
    fleet.agents[0].start(None);
    copy.start(None);
    let found = eventually_within("the copy is found", PATIENCE, async || {
        let found = device(&fleet, &guid);
        (found["status"] == "quarantined").then_some(found)
    })
    .await
    .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "it took {:?}",
        began.elapsed()
    );
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
