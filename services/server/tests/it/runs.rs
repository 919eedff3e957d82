//! Runs as operators see them: states, streamed output, timeout, cancel, exit codes.

use borealis_test_support::eventually_within;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, file_says, lines, said, shared};

#[tokio::test]
async fn a_script_streams_while_it_runs_and_ends_with_its_own_code() {
    let fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (go, go_text) = shared(&dir, "go");
    let script =
        format!("echo first; echo oops >&2; while [ ! -e '{go_text}' ]; do sleep 0.05; done; echo last; exit 3");
    let mut followed = fleet.follow(&script, &[]);
    let mut stdout = std::io::BufReader::new(followed.child.stdout.take().unwrap());
    // The first line has to be here while the script waits for the file that only this test makes.
    let mut line = String::new();
    while !line.contains("first") {
        line.clear();
        assert_ne!(
            std::io::BufRead::read_line(&mut stdout, &mut line).unwrap(),
            0,
            "the output ended before its first line"
        );
    }
    std::fs::write(&go, "").unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    let status = followed.child.wait().unwrap();
    let last = lines(rest.as_bytes())
        .into_iter()
        .rfind(|line| line["final"] == true)
        .unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(
        (last["state"].as_str(), last["exit_code"].as_i64()),
        (Some("failed"), Some(3))
    );
    assert_eq!(
        (last["stdout"].as_str(), last["stderr"].as_str()),
        (Some("first\nlast\n"), Some("oops\n"))
    );
    assert!(last["duration_ms"].as_u64().is_some_and(|ms| ms > 0));
}

#[tokio::test]
async fn outcomes_are_told_apart() {
    let fleet = Fleet::start(1).await;
    let (code, last) = fleet.run("true", &[]);
    assert_eq!((code, last["state"].as_str()), (0, Some("succeeded")));
    let (code, last) = fleet.run("exit 42", &[]);
    assert_eq!((code, last["state"].as_str()), (42, Some("failed")));
    let (_, last) = fleet.run("kill -9 $$", &[]);
    assert_eq!(last["state"].as_str(), Some("failed"), "{last}");
    assert!(last["exit_code"].is_null());
    let (_, last) = fleet.run("printf '\\377\\376'", &[]);
    assert_eq!(last["stdout_base64"].as_str(), Some("//4="), "{last}");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree() {
    let fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (pids, pids_text) = shared(&dir, "pids");
    // A child that left the session, and one that ignores SIGTERM.
    let script = format!(
        "setsid sh -c 'echo $$ >> {pids_text}; sleep 600' & (trap '' TERM; sh -c 'echo $$ >> {pids_text}; sleep 600') & \
         while [ \"$(wc -l < {pids_text} 2>/dev/null || echo 0)\" -lt 2 ]; do sleep 0.05; done; sleep 600"
    );
    let (code, last) = fleet.run(&script, &["--timeout", "3s"]);
    assert_eq!((code, last["state"].as_str()), (124, Some("timed_out")));
    all_gone(&file_says(&pids, "the children's ids").await).await;
}

#[tokio::test]
async fn cancel_ends_a_run_on_its_device_and_one_that_waits() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (pids, pids_text) = shared(&dir, "pids");
    let followed = fleet.follow(&format!("echo $$ > {pids_text}; sleep 600"), &[]);
    let pid = file_says(&pids, "the script's id").await;
    let job = newest_job(&fleet);
    let out = fleet.cli(&["jobs", "cancel", &job, "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let (code, found) = followed.finish();
    let last = found.last().unwrap();
    assert_eq!((code, last["state"].as_str()), (122, Some("cancelled")), "{last}");
    all_gone(&pid).await;

    fleet.agents[0].kill();
    eventually_within("the device offline", PATIENCE, async || {
        (fleet.devices()[0]["presence"] == "offline").then_some(())
    })
    .await
    .unwrap();
    let waiting = fleet.follow("echo never", &[]);
    let before = job;
    let job = eventually_within("the second job", PATIENCE, async || {
        Some(newest_job(&fleet)).filter(|job| *job != before)
    })
    .await
    .unwrap();
    fleet.json(&["jobs", "cancel", &job, "--json"]);
    let (code, found) = waiting.finish();
    assert_eq!(
        (code, found.last().unwrap()["state"].as_str()),
        (122, Some("cancelled"))
    );
}

#[tokio::test]
async fn a_device_that_comes_back_gets_what_waits() {
    let mut fleet = Fleet::start(1).await;
    fleet.agents[0].kill();
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let followed = fleet.follow(&format!("echo once >> {effect_text}"), &[]);
    fleet.agents[0].start(None);
    let (code, found) = followed.finish();
    assert_eq!((code, found.last().unwrap()["state"].as_str()), (0, Some("succeeded")));
    assert_eq!(std::fs::read_to_string(effect).unwrap(), "once\n");
}

#[tokio::test]
async fn an_agent_that_dies_with_its_run_says_so_and_never_starts_it_again() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let followed = fleet.follow(&format!("echo $$ >> {effect_text}; sleep 600"), &[]);
    let pid = file_says(&effect, "the script's id").await;
    fleet.agents[0].kill();
    fleet.agents[0].start(None);
    let (code, found) = followed.finish();
    assert_eq!(
        (code, found.last().unwrap()["state"].as_str()),
        (123, Some("interrupted"))
    );
    all_gone(&pid).await;
    assert_eq!(
        std::fs::read_to_string(effect).unwrap().lines().count(),
        1,
        "it was started twice"
    );
}

/// Returns the newest job's id.
fn newest_job(fleet: &Fleet) -> String {
    let found = lines(&fleet.cli(&["jobs", "list", "--json"]).stdout);
    found.first().unwrap()["job"].as_str().unwrap().to_owned()
}

/// Waits until none of the processes lives.
async fn all_gone(pids: &str) {
    for pid in pids.split_whitespace() {
        let proc = format!("/proc/{pid}");
        eventually_within("a process to be gone", PATIENCE, async || {
            (!std::path::Path::new(&proc).exists()).then_some(())
        })
        .await
        .unwrap();
    }
}
