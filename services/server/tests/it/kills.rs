//! Every child is killed in turn during a followed job: the job succeeds, its output is whole, its effect happened once, and
//! whoever follows it was not started again.

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
        let pid = eventually_within("the child's process", PATIENCE, async || find_child(&fleet, child))
            .await
            .unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        std::fs::write(&go, "").unwrap();
        let (code, found) = followed.finish();
        let last = found.last().unwrap();
        assert_eq!(
            (code, last["state"].as_str()),
            (0, Some("succeeded")),
            "{child}: {last}"
        );
        let wanted: String = (1..=4000).map(|n| format!("{n}\n")).collect();
        let printed = last["stdout"].as_str().unwrap_or_default();
        let common = printed.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
        assert!(
            printed == wanted,
            "{child}: the output is not whole: {} bytes of {} are right, then comes {:?}",
            common,
            wanted.len(),
            printed
                .get(common..)
                .map(|rest| rest.chars().take(40).collect::<String>())
        );
        assert_eq!(
            std::fs::read_to_string(&effect).unwrap(),
            "run\n",
            "{child}: the effect did not happen once"
        );
        eventually_within("the child to be back", PATIENCE, async || {
            find_child(&fleet, child).filter(|back| *back != pid)
        })
        .await
        .unwrap();
        eprintln!("{child} was killed and is back");
    }
}

/// Finds a child of `up` by what it was started as.
pub fn find_child(fleet: &Fleet, child: &str) -> Option<Pid> {
    let found = children_of(fleet.server.pid()).into_iter().find(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
        let program = words.first().map(AsRef::as_ref).unwrap_or_default();
        if child == "nats" {
            program.ends_with("nats-server")
        } else {
            program.ends_with("borealis-server") && words.get(1).map(AsRef::as_ref) == Some(child)
        }
    })?;
    Pid::from_raw(found)
}

fn children_of(parent: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}
