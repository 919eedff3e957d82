//! A device replaces its identity key, with real agents: nothing of what it does is lost, and exactly one key counts.

use std::process::{Command, Output};

use borealis_agent::clock;
use borealis_agent::identity::api::Api;
use borealis_agent::identity::files::IdentityFiles;
use borealis_agent::identity::renew::renew;
use borealis_agent::identity::rotate::rotate;
use borealis_agent::identity::{Device, DeviceKeys};
use borealis_agent::paths::Paths;
use borealis_agent::settings::default_context;
use borealis_test_support::{eventually_within, programs};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Agent, Fleet, PATIENCE, file_says, lines, said, shared};

fn files(agent: &Agent) -> IdentityFiles {
    IdentityFiles::new(&Paths::new(agent.root(), None), default_context())
}

fn fingerprint(fleet: &Fleet, guid: &str) -> String {
    let devices = fleet.devices();
    let device = devices.iter().find(|device| device["guid"] == guid).unwrap();
    device["fingerprint"].as_str().unwrap().to_owned()
}

async fn fingerprint_becomes(fleet: &Fleet, guid: &str, wanted: &str) {
    eventually_within("the new key's fingerprint", PATIENCE, async || {
        (fingerprint(fleet, guid) == wanted).then_some(())
    })
    .await
    .unwrap();
}

/// Tells whether the server renews for whoever has these keys.
async fn counts(api: &Api, device: &Device, keys: &DeviceKeys) -> bool {
    let device = Device {
        keys: keys.clone(),
        ..device.clone()
    };
    renew(api, &device, clock::wall()).await.is_ok()
}

fn rotate_here(fleet: &Fleet, agent: &Agent) -> Output {
    Command::new(programs::built("borealis-agent").unwrap())
        .args(["rotate-key", "--json", "--root"])
        .arg(agent.root())
        .env("BOREALIS_SERVER_URL", &fleet.server.ready().url)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_script_that_runs_while_the_key_is_replaced_counts() {
    let mut fleet = Fleet::start(1).await;
    let guid = fleet.agents[0].guid();
    let old = fingerprint(&fleet, &guid);
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let ((begun, begun_text), (go, go_text)) = (shared(&dir, "begun"), shared(&dir, "go"));
    let followed = fleet.follow(
        &format!("echo on > {begun_text}; while [ ! -e {go_text} ]; do sleep 0.1; done; echo done"),
        &[],
    );
    file_says(&begun, "the script's first line").await;
    let asked = fleet.json(&["devices", "rotate-key", &guid, "--reason", "hygiene", "--json"]);
    assert_eq!(asked["status"], "active", "{asked}");
    let new = eventually_within("another key", PATIENCE, async || {
        Some(fingerprint(&fleet, &guid)).filter(|now| *now != old)
    })
    .await
    .unwrap();
    assert_eq!(files(&fleet.agents[0]).keys().unwrap().public().fingerprint(), new);
    std::fs::write(&go, "go").unwrap();
    let (code, told) = followed.finish();
    let last = told.last().unwrap();
    assert_eq!((code, last["state"].as_str()), (0, Some("succeeded")), "{told:?}");
    assert_eq!(last["stdout"], "done\n");
    assert!(fleet.agents[0].lives(), "the agent went on");
    assert_eq!(fleet.run("echo again", &[]).0, 0);
    let audit = lines(
        &fleet
            .cli(&["audit", "list", "--object", &format!("device/{guid}"), "--json"])
            .stdout,
    );
    let by = |verb: &str, actor: &str| {
        audit
            .iter()
            .any(|record| record["verb"] == verb && record["actor"]["kind"] == actor && record["outcome"] == "accepted")
    };
    assert!(by("devices-rotate-key", "operator"), "{audit:?}");
    assert!(by("device-rotate-key", "device"), "{audit:?}");
}

#[tokio::test]
async fn somebody_at_the_device_replaces_the_key_with_and_without_a_running_agent() {
    let mut fleet = Fleet::start(1).await;
    let guid = fleet.agents[0].guid();
    let mut keys = vec![fingerprint(&fleet, &guid)];
    for runs in [true, false] {
        if !runs {
            fleet.agents[0].kill();
        }
        let out = rotate_here(&fleet, &fleet.agents[0]);
        assert!(out.status.success(), "{}", said(&out));
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        let new = told["fingerprint"].as_str().unwrap().to_owned();
        assert!(!keys.contains(&new));
        fingerprint_becomes(&fleet, &guid, &new).await;
        keys.push(new);
    }
    fleet.agents[0].start(None);
    fleet.all_online().await;
    assert_eq!(fleet.run("echo on", &[]).0, 0);
}

#[tokio::test]
async fn an_agent_that_is_killed_at_any_step_ends_up_with_the_one_key_that_counts() {
    const STEPS: [&str; 5] = [
        "drawn",
        "answered",
        "credentials kept",
        "exchange key moved",
        "identity key moved",
    ];
    let mut fleet = Fleet::start(STEPS.len()).await;
    let url = fleet.server.ready().url.clone();
    for (number, step) in STEPS.iter().enumerate() {
        fleet.agents[number].kill();
        let files = files(&fleet.agents[number]);
        let device = files.load().unwrap().unwrap();
        let api = Api::of_root(&url, &device.trust.ca_pem, 1).unwrap();
        let old = device.keys.clone();
        let next = files.prepare().unwrap();
        if number >= 1 {
            let rotated = rotate(&api, &device, &next, clock::wall()).await.unwrap();
            if number >= 2 {
                files
                    .save_credentials(device.trust.deployment, &rotated.credentials)
                    .unwrap();
            }
        }
        if number >= 3 {
            files.adopt_exchange().unwrap();
        }
        if number >= 4 {
            files.adopt_identity().unwrap();
        }
        // Here it is killed: one of the two counts, whichever it is.
        let before = [counts(&api, &device, &old).await, counts(&api, &device, &next).await];
        assert_eq!(before, [number == 0, number > 0], "killed when {step}");

        fleet.agents[number].start(None);
        let guid = fleet.agents[number].guid();
        fingerprint_becomes(&fleet, &guid, &next.public().fingerprint()).await;
        eventually_within("the key is in its place", PATIENCE, async || {
            let now = files.load().ok()??;
            (now.next.is_none() && now.keys.public() == next.public()).then_some(())
        })
        .await
        .unwrap();
        let after = files.load().unwrap().unwrap();
        assert_eq!(after.keys.seeds(), next.seeds(), "killed when {step}");
        fleet.all_online().await;
        let agent_goes_on = [counts(&api, &after, &old).await, counts(&api, &after, &next).await];
        assert_eq!(agent_goes_on, [false, true], "killed when {step}");
    }
}
