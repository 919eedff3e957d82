//! What becomes of an operator's waiting work, with the real server: nothing that was revoked is signed later.

use std::process::Output;

use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, LinkFile, PATIENCE, context_of, said, shared};

/// Invites somebody, who sets a password through the link; returns the token.
pub fn join(fleet: &mut Fleet, username: &str, roles: &[&str]) -> String {
    let mut args = vec!["users", "invite", "--username", username, "--json"];
    for role in roles {
        args.extend(["--role", *role]);
    }
    let link = fleet.json(&args)["link"].as_str().unwrap().to_owned();
    let link = LinkFile::new(&link);
    let out = fleet.with_input(&link.set_up(username), "another horse battery staple");
    assert!(out.status.success(), "{}", said(&out));
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Does something with another token.
pub fn with_token<T>(fleet: &mut Fleet, token: &str, act: impl FnOnce(&Fleet) -> T) -> T {
    let own = std::mem::replace(&mut fleet.token, token.to_owned());
    let done = act(fleet);
    fleet.token = own;
    done
}

/// Makes a job that leaves a mark on a device, and returns it.
fn mark(fleet: &Fleet, device: &Value, path: &str) -> String {
    fleet.submit(device, &format!("echo ran >> {path}"), &[])
}

/// Waits until a job's only run is over, and returns its state and code.
async fn end_of(fleet: &Fleet, job: &str) -> (String, String) {
    eventually_within("the run to be over", PATIENCE, async || {
        let run = fleet.run_of(job);
        let state = run["state"].as_str()?.to_owned();
        let code = run["code"].as_str().unwrap_or_default().to_owned();
        (!matches!(state.as_str(), "queued" | "delivered" | "running")).then_some((state, code))
    })
    .await
    .unwrap()
}

async fn offline(fleet: &mut Fleet) {
    fleet.agents[0].kill();
    eventually_within("the device to be away", PATIENCE, async || {
        (fleet.devices()[0]["presence"] != "online").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_waiting_job_of_a_disabled_author_is_never_signed() {
    let mut fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (bobs, bobs_text) = shared(&dir, "bob");
    let (adas, adas_text) = shared(&dir, "ada");
    let bob = join(&mut fleet, "bob", &["technician"]);
    offline(&mut fleet).await;
    let job = with_token(&mut fleet, &bob, |fleet| mark(fleet, &device, &bobs_text));
    let own = mark(&fleet, &device, &adas_text);

    let disabled = fleet.json(&["users", "disable", "bob", "--reason", "left", "--json"]);
    assert_eq!(disabled["state"], "disabled");
    let out = with_token(&mut fleet, &bob, |fleet| fleet.cli(&["session", "--json"]));
    let error: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (out.status.code(), error["error"]["code"].as_str()),
        (Some(77), Some("token_revoked"))
    );

    fleet.agents[0].start(None);
    assert_eq!(
        end_of(&fleet, &job).await,
        ("refused".to_owned(), "token_revoked".to_owned())
    );
    assert_eq!(end_of(&fleet, &own).await.0, "succeeded");
    assert_eq!(std::fs::read_to_string(&adas).unwrap(), "ran\n");
    // Enabled again, the work of before stays undone.
    fleet.json(&["users", "enable", "bob", "--json"]);
    assert_eq!(end_of(&fleet, &job).await.0, "refused");
    assert!(!bobs.exists(), "the disabled author's script ran");
    let last = fleet.cli(&["users", "disable", "ada", "--json"]);
    assert!(
        String::from_utf8_lossy(&last.stdout).contains("last_administrator"),
        "{}",
        said(&last)
    );
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_missed_by_the_waiting_job_too() {
    let mut fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let rights = [
        "roles",
        "create",
        "night",
        "--right",
        "jobs.run",
        "--right",
        "devices.read",
        "--json",
    ];
    fleet.json(&rights);
    let bob = join(&mut fleet, "bob", &["night"]);
    offline(&mut fleet).await;
    let job = with_token(&mut fleet, &bob, |fleet| mark(fleet, &device, &effect_text));
    fleet.json(&["roles", "update", "night", "--right", "devices.read", "--json"]);

    fleet.agents[0].start(None);
    assert_eq!(
        end_of(&fleet, &job).await,
        ("refused".to_owned(), "no_longer_permitted".to_owned())
    );
    assert!(!effect.exists(), "the script ran without the right");
    // The session lives on with what is left.
    let devices = with_token(&mut fleet, &bob, |fleet| fleet.devices());
    assert_eq!(devices.len(), 1);
    let refused = with_token(&mut fleet, &bob, |fleet| {
        fleet.cli(&["run", "--all", "--json", "--", "true"])
    });
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("right_missing"),
        "{}",
        said(&refused)
    );
    // A site that does not reach the device serves as little as no right.
    fleet.json(&["sites", "create", "berlin", "--json"]);
    fleet.json(&["roles", "update", "night", "--right", "jobs.run@berlin", "--json"]);
    let bob = {
        let out = fleet.with_input(
            &["login", "--username", "bob", "--password-stdin", "--json"],
            "another horse battery staple",
        );
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    };
    let guid = device["guid"].as_str().unwrap();
    let refused = with_token(&mut fleet, &bob, |fleet| {
        fleet.cli(&["run", "--device", guid, "--json", "--", "true"])
    });
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("not_found"),
        "{}",
        said(&refused)
    );
}

/// Returns the code with which a command line ended.
fn refused(fleet: &Fleet, args: &[&str]) -> String {
    code_of(&fleet.cli(args))
}

fn code_of(out: &Output) -> String {
    assert!(!out.status.success(), "{}", said(out));
    let error: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(out)));
    error["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_api_token_acts_within_its_bounds_and_ends_with_its_revocation() {
    let mut fleet = Fleet::start(2).await;
    let devices = fleet.devices();
    let own = devices[0]["guid"].as_str().unwrap();
    let context = context_of(&devices[0]);
    let create = |fleet: &Fleet| {
        fleet.json(&[
            "token",
            "create",
            "--name",
            "ci",
            "--right",
            "jobs.run",
            "--right",
            "jobs.read",
            "--device",
            own,
            "--expires",
            "1d",
            "--json",
        ])
    };
    let made = create(&fleet);
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(made.get("biscuit").is_none() && token.starts_with("brl1."));
    with_token(&mut fleet, &token, |fleet| {
        let (code, last) = fleet.run("echo hello", &[]);
        assert_eq!((code, last["stdout"].as_str()), (0, Some("hello\n")));
        assert_eq!(code_of(&fleet.run_on(&devices[1], "echo hello", &[])), "not_found");
        let all = fleet.json(&[
            "run",
            "--all",
            "--lang",
            "sh",
            "--context",
            &context,
            "--json",
            "--",
            "true",
        ]);
        assert_eq!(all["runs_total"], 1);
        for (args, wanted) in [
            (&["devices", "list", "--json"][..], "right_missing"),
            (&["jobs", "list", "--json"], "out_of_scope"),
            (&["users", "list", "--json"], "right_missing"),
            (&["logout", "--json"], "session_required"),
            (&["sessions", "list", "--json"], "session_required"),
            (
                &[
                    "token",
                    "create",
                    "--name",
                    "x",
                    "--right",
                    "jobs.run",
                    "--expires",
                    "1d",
                    "--json",
                ],
                "session_required",
            ),
        ] {
            assert_eq!(refused(fleet, args), wanted, "{args:?}");
        }
    });
    // A copy that was narrowed off-line may read and not run.
    let narrowed = with_token(&mut fleet, &token, |fleet| {
        fleet.json(&["token", "attenuate", "--right", "jobs.read", "--json"])
    });
    with_token(&mut fleet, narrowed["token"].as_str().unwrap(), |fleet| {
        assert_eq!(code_of(&fleet.run_on(&devices[0], "echo hello", &[])), "right_missing");
    });
    // What waits ends with the token.
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    for agent in &mut fleet.agents {
        agent.kill();
    }
    eventually_within("the devices to be away", PATIENCE, async || {
        fleet
            .devices()
            .iter()
            .all(|device| device["presence"] != "online")
            .then_some(())
    })
    .await
    .unwrap();
    let job = with_token(&mut fleet, &token, |fleet| mark(fleet, &devices[0], &effect_text));
    let revoked = fleet.json(&["token", "revoke", made["id"].as_str().unwrap(), "--json"]);
    assert_eq!(revoked["state"], "revoked");
    for agent in &mut fleet.agents {
        agent.start(None);
    }
    assert_eq!(
        end_of(&fleet, &job).await,
        ("refused".to_owned(), "token_revoked".to_owned())
    );
    assert!(!effect.exists(), "the revoked token's script ran");
    let over = with_token(&mut fleet, &token, |fleet| {
        refused(fleet, &["jobs", "show", &job, "--json"])
    });
    assert_eq!(over, "token_revoked");
    let listed = fleet.cli(&["token", "list", "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("\"revoked\"") && !listed.contains("brl1.") && !listed.contains("biscuit"),
        "{listed}"
    );
}
