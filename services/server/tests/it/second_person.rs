//! The two-person rule, with the real server: a job on more devices than its author's limit does nothing anywhere until
//! another operator approves exactly it.

use std::path::Path;
use std::process::Output;

use borealis_bus_schema::subjects::Service;
use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, said, shared};
use crate::operators::{join, with_token};

/// Is three devices, and two operators who may run jobs on two of them alone.
struct Scene {
    fleet: Fleet,
    bob: String,
    eve: String,
    guids: Vec<String>,
    context: String,
}

impl Scene {
    async fn start() -> Self {
        let mut fleet = Fleet::start(3).await;
        let devices = fleet.devices();
        let mut role = vec!["roles", "create", "careful", "--max-devices", "2", "--json"];
        for right in ["jobs.run", "jobs.read", "jobs.cancel", "devices.read"] {
            role.extend(["--right", right]);
        }
        assert_eq!(fleet.json(&role)["max_devices"], 2);
        let bob = join(&mut fleet, "bob", &["careful"]);
        let eve = join(&mut fleet, "eve", &["careful"]);
        let guid = |device: &Value| device["guid"].as_str().unwrap().to_owned();
        Self {
            bob,
            eve,
            guids: devices.iter().map(guid).collect(),
            context: context_of(&devices[0]),
            fleet,
        }
    }

    fn by(&mut self, who: &str, args: &[&str]) -> Output {
        let token = if who == "bob" {
            self.bob.clone()
        } else {
            self.eve.clone()
        };
        with_token(&mut self.fleet, &token, |fleet| fleet.cli(args))
    }

    fn json(&mut self, who: &str, args: &[&str]) -> Value {
        let out = self.by(who, args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn people(&mut self, who: &str, args: &[&str]) -> String {
        let out = self.by(who, args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    fn refused(&mut self, who: &str, args: &[&str]) -> String {
        let out = self.by(who, args);
        assert!(!out.status.success(), "{args:?}: {}", said(&out));
        let error: Value = serde_json::from_slice(&out.stdout).unwrap();
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Has bob ask for a job that leaves a mark on each of its devices.
    fn mark(&mut self, targets: &[&str], effect: &str) -> Value {
        let (context, script) = (self.context.clone(), format!("echo ran >> {effect}"));
        let fixed = ["--lang", "sh", "--context", &context, "--json", "--", &script];
        self.json("bob", &[&["run"], targets, &fixed].concat())
    }

    async fn done(&mut self, job: &str) -> Value {
        let shown = eventually_within("the job to be over", PATIENCE, async || {
            let shown = self.fleet.json(&["jobs", "show", job, "--json"]);
            (shown["state"] == "done").then_some(shown)
        });
        shown.await.unwrap()
    }
}

fn ran(effect: &Path) -> usize {
    std::fs::read_to_string(effect).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_job_beyond_its_authors_limit_waits_for_another_operator() {
    let mut at = Scene::start().await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let (small, small_text) = shared(&dir, "small");

    let made = at.mark(&["--all"], &effect_text);
    assert_eq!(made["awaiting_approval"], true, "{made}");
    let job = made["job"].as_str().unwrap().to_owned();
    let two: Vec<String> = at.guids[..2].to_vec();
    let made = at.mark(&["--device", &two[0], "--device", &two[1]], &small_text);
    assert_eq!(made["awaiting_approval"], false, "{made}");
    // The smaller one goes its way at once, beside the one that waits.
    at.done(made["job"].as_str().unwrap()).await;
    assert_eq!(ran(&small), 2);
    let shown = at.json("bob", &["jobs", "show", &job, "--json"]);
    assert_eq!(shown["state"], "awaiting_approval");
    for run in shown["runs"].as_array().unwrap() {
        assert_eq!(run["state"], "queued", "{run}");
        assert!(run["reason"].as_str().unwrap().contains("approve"), "{run}");
    }
    let listed = at.by("eve", &["jobs", "list", "--json"]);
    assert!(
        lines(&listed.stdout)
            .iter()
            .any(|line| line["state"] == "awaiting_approval")
    );
    assert_eq!(ran(&effect), 0, "it ran before anybody approved it");

    // The author does not approve, nor does anybody what was not reviewed.
    assert_eq!(at.refused("bob", &["jobs", "approve", &job, "--json"]), "own_approval");
    let review = at.json("eve", &["jobs", "review", &job, "--json"]);
    assert_eq!(review["asks"]["script"], format!("echo ran >> {effect_text}"));
    assert_eq!(review["devices"].as_array().unwrap().len(), 3);
    // People read the same, with how the devices were named and until when it may wait.
    let sheet = at.people("eve", &["jobs", "review", &job]);
    for words in [
        "every active device",
        "24 h 0 min after it was made",
        "sh\n",
        "echo ran >> ",
    ] {
        assert!(sheet.contains(words), "{words}: {sheet}");
    }
    let shown = at.people("bob", &["jobs", "show", &job]);
    assert!(shown.contains("awaiting approval\n"), "{shown}");
    let other = "0".repeat(64);
    let out = at.by("eve", &["jobs", "approve", &job, "--review", &other, "--json"]);
    assert_eq!(out.status.code(), Some(64), "{}", said(&out));
    assert_eq!(
        at.json("bob", &["jobs", "show", &job, "--json"])["state"],
        "awaiting_approval"
    );

    let digest = review["review"].as_str().unwrap();
    let approved = at.json("eve", &["jobs", "approve", &job, "--review", digest, "--json"]);
    assert_eq!(approved["approved_by"], "eve");
    let shown = at.done(&job).await;
    assert_eq!(
        (&shown["counts"]["succeeded"], &shown["approved_by"]),
        (&3.into(), &"eve".into())
    );
    assert_eq!(ran(&effect), 3, "once on each device");
    assert_eq!(at.refused("eve", &["jobs", "approve", &job, "--json"]), "wrong_state");
    let signed = at.fleet.stored(Service::Signing);
    let approvals = signed.iter().filter(|event| event["kind"] == "JobApproved");
    let streams: Vec<_> = approvals.map(|event| event["stream"].clone()).collect();
    assert_eq!(streams, [Value::from(format!("job-{job}"))]);
}

#[tokio::test]
async fn a_job_that_waits_is_there_after_a_restart_and_ends_by_a_cancel_or_with_its_approver() {
    let mut at = Scene::start().await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let cancelled = at.mark(&["--all"], &effect_text)["job"].as_str().unwrap().to_owned();
    let kept = at.mark(&["--all"], &effect_text)["job"].as_str().unwrap().to_owned();
    let approved = at.mark(&["--all"], &effect_text)["job"].as_str().unwrap().to_owned();

    // Nobody takes it from its approver, who is disabled before the devices come.
    for agent in &mut at.fleet.agents {
        agent.kill();
    }
    eventually_within("the devices to be away", PATIENCE, async || {
        let away = at.fleet.devices().iter().all(|device| device["presence"] != "online");
        away.then_some(())
    })
    .await
    .unwrap();
    at.json("eve", &["jobs", "approve", &approved, "--json"]);
    at.fleet.json(&["users", "disable", "eve", "--json"]);
    at.fleet = at.fleet.restarted(|_| {}).await;
    for agent in &mut at.fleet.agents {
        agent.start(None);
    }
    at.fleet.all_online().await;

    let shown = at.done(&approved).await;
    assert_eq!(shown["counts"]["refused"], 3, "{shown}");
    for run in shown["runs"].as_array().unwrap() {
        assert_eq!(run["code"], "token_revoked", "{run}");
    }
    let shown = at.fleet.json(&["jobs", "show", &kept, "--json"]);
    assert_eq!(shown["state"], "awaiting_approval");
    at.json("bob", &["jobs", "cancel", &cancelled, "--json"]);
    let state = at.people("bob", &["jobs", "show", &cancelled]);
    assert!(
        state.contains(", cancelled\n") && !state.contains("awaiting_approval"),
        "{state}"
    );
    assert_eq!(at.done(&cancelled).await["counts"]["cancelled"], 3);
    assert_eq!(ran(&effect), 0, "it ran although nobody who may had approved it");

    // The administrator, who is limited by nothing, approves what is left; its author's limit was raised meanwhile.
    let raised = at
        .fleet
        .json(&["roles", "edit", "careful", "--max-devices", "none", "--json"]);
    assert_eq!(raised["max_devices"], Value::Null);
    at.fleet.json(&["jobs", "approve", &kept, "--json"]);
    assert_eq!(at.done(&kept).await["counts"]["succeeded"], 3);
    assert_eq!(ran(&effect), 3);
}
