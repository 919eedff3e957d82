//! Every child is killed in turn during a followed job: the job succeeds, its output is whole, its effect happened once.

use std::time::Duration;

use borealis_bus_schema::subjects::Service;
use borealis_test_support::eventually_within;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, file_says, shared};

#[tokio::test]
async fn killing_each_child_loses_nothing_and_repeats_nothing() {
    let fleet = Fleet::start(1).await;
    let children: Vec<&str> = Service::ALL.iter().map(|s| s.name()).chain(["nats"]).collect();
    for child in children {
        let dir = TempDir::with_prefix("borealis-effect-").unwrap();
        let (effect, effect_text) = shared(&dir, "effect");
        let (go, go_text) = shared(&dir, "go");
        let script = format!(
            "echo run >> {effect_text}; seq 1 2000; while [ ! -e {go_text} ]; do sleep 0.05; done; seq 2001 4000"
        );
        let followed = fleet.follow(&script, &[]);
        file_says(&effect, "the script to run").await;
        let pid = child_pid(&fleet, child).await;
        kill_process(pid, Signal::KILL).unwrap();
        std::fs::write(&go, "").unwrap();
        let (code, found) = followed.finish();
        let last = found.last().unwrap();
        assert_eq!((code, last["state"].as_str()), (0, Some("succeeded")), "{child}: {last}");
        let wanted: String = (1..=4000).map(|n| format!("{n}\n")).collect();
        assert_eq!(last["stdout"].as_str(), Some(wanted.as_str()), "{child}: the output is not whole");
        assert_eq!(std::fs::read_to_string(&effect).unwrap(), "run\n", "{child}: the effect did not happen once");
        eventually_within("the child to be back", PATIENCE, async || {
            find_child(&fleet, child).filter(|back| *back != pid)
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn sigterm_drains_within_ten_seconds() {
    let fleet = Fleet::start(0).await;
    let Fleet { server, .. } = fleet;
    let pids = descendants(server.pid());
    assert!(pids.len() >= Service::ALL.len(), "only {} children", pids.len());
    let began = std::time::Instant::now();
    let (status, _dir) = server.stop().await.unwrap();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() <= Duration::from_secs(10), "it took {:?}", began.elapsed());
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left over");
    }
}

async fn child_pid(fleet: &Fleet, child: &str) -> Pid {
    eventually_within("the child's process", PATIENCE, async || find_child(fleet, child)).await.unwrap()
}

/// Finds a child of `up` by what it was started as.
fn find_child(fleet: &Fleet, child: &str) -> Option<Pid> {
    let found = descendants(fleet.server.pid()).into_iter().find(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> = words.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        let program = words.first().map(String::as_str).unwrap_or_default();
        if child == "nats" {
            program.ends_with("nats-server")
        } else {
            program.ends_with("borealis-server") && words.get(1).map(String::as_str) == Some(child)
        }
    })?;
    Pid::from_raw(found)
}

fn descendants(of: u32) -> Vec<i32> {
    let Ok(of) = i32::try_from(of) else { return Vec::new() };
    let all: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let (mut found, mut at) = (vec![of], 0);
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.retain(|pid| *pid != of);
    found
}
