//! What was acknowledged and what happened: the books of a test that breaks things while clients ask for jobs.
//!
//! Each job's script appends one line to a file that all of them share, the effect counter. In the end every acknowledged
//! job is over, what succeeded left its line, and no line stands there twice.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, shared};

/// Is how many jobs of one client are open at once.
const OPEN: usize = 3;
/// Is how long a job that was acknowledged may take to its end, outages included.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// Is what clients were told, and where effects are counted.
pub struct Ledger {
    effect: PathBuf,
    effect_text: String,
    _dir: TempDir,
    /// The end of each acknowledged job, by the line that its script writes.
    ends: Mutex<BTreeMap<String, String>>,
    acknowledged: AtomicU64,
    unanswered: AtomicU64,
    stops: AtomicBool,
}

/// Is what the books say in the end.
#[derive(Debug)]
pub struct Summary {
    /// How many jobs were acknowledged.
    pub acknowledged: u64,
    /// How many requests were refused or got no answer.
    pub unanswered: u64,
    /// How many ended how.
    pub states: BTreeMap<String, u64>,
    /// How many effects there are, jobs of schedules included.
    pub effects: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "acknowledged {}, lost 0, unanswered {}, ends {:?}; effects {}, more than once 0",
            self.acknowledged, self.unanswered, self.states, self.effects
        )
    }
}

impl Ledger {
    /// Opens empty books.
    pub fn new() -> Arc<Self> {
        let dir = TempDir::with_prefix("borealis-effect-").unwrap();
        let (effect, effect_text) = shared(&dir, "effect");
        Arc::new(Self {
            effect,
            effect_text,
            _dir: dir,
            ends: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            stops: AtomicBool::new(false),
        })
    }

    /// Returns the file to which scripts append.
    pub fn effect(&self) -> &str {
        &self.effect_text
    }

    /// Returns how many jobs were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets clients ask for one job after the other on all devices in turn; `rest` follows the effect in each script.
    pub fn clients(self: &Arc<Self>, fleet: &Arc<Fleet>, devices: &[Value], clients: usize, rest: &str) -> JoinSet<()> {
        let mut asking = JoinSet::new();
        for client in 0..clients {
            let (me, fleet, devices, rest) = (Arc::clone(self), Arc::clone(fleet), devices.to_vec(), rest.to_owned());
            asking.spawn(async move { me.ask(&fleet, &devices, client, &rest).await });
        }
        asking
    }

    async fn ask(self: Arc<Self>, fleet: &Arc<Fleet>, devices: &[Value], client: usize, rest: &str) {
        let mut open = VecDeque::new();
        for (number, device) in (0u64..).zip(devices.iter().cycle()) {
            if self.stops.load(Ordering::Relaxed) {
                break;
            }
            let line = format!("{client}-{number}");
            let script = format!("echo {line} >> {}; {rest}", self.effect_text);
            match submit(fleet, device, &script).await {
                Some(job) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    let (me, fleet) = (Arc::clone(&self), Arc::clone(fleet));
                    let here = Handle::current();
                    open.push_back(tokio::task::spawn_blocking(move || {
                        here.block_on(me.see_to_its_end(&fleet, line, &job));
                    }));
                }
                None => drop(self.unanswered.fetch_add(1, Ordering::Relaxed)),
            }
            if open.len() >= OPEN
                && let Some(oldest) = open.pop_front()
            {
                oldest.await.unwrap();
            }
        }
        for left in open {
            left.await.unwrap();
        }
    }

    /// Waits for the end of an acknowledged job: one that has none is lost.
    async fn see_to_its_end(&self, fleet: &Fleet, line: String, job: &str) {
        // Whoever follows leaves with the worst exit code, or because the server was away for long; the end is asked for below.
        let mut follow = quiet(fleet, &["jobs", "follow", job, "--json"]);
        let _ = follow.stdout(Stdio::null()).status().await;
        let state = eventually_within("the end of an acknowledged job", LOST_AFTER, async || {
            let out = quiet(fleet, &["jobs", "show", job, "--json"]).output().await.unwrap();
            let shown: Value = serde_json::from_slice(&out.stdout).ok()?;
            let state = shown["runs"][0]["state"].as_str()?.to_owned();
            (!["queued", "delivered", "running"].contains(&state.as_str())).then_some(state)
        })
        .await
        .unwrap_or_else(|error| panic!("job {job} of line {line} is lost: {error}"));
        self.ends.lock().unwrap().insert(line, state);
    }

    /// Waits until another job is acknowledged.
    pub async fn goes_on(&self) {
        self.goes_on_by(1).await;
    }

    /// Waits until so many more jobs are acknowledged.
    pub async fn goes_on_by(&self, jobs: u64) {
        let wanted = self.acknowledged() + jobs;
        eventually_within("more jobs to be acknowledged", PATIENCE, async || {
            (self.acknowledged() >= wanted).then_some(())
        })
        .await
        .unwrap();
    }

    /// Lets the clients stop, waits until every acknowledged job is over, and checks the books; `allowed` are the ends that a
    /// job may have.
    pub async fn close(&self, mut asking: JoinSet<()>, allowed: &[&str]) -> Summary {
        self.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = asking.join_next().await {
            ended.unwrap();
        }
        let ends = std::mem::take(&mut *self.ends.lock().unwrap());
        let effects = self.effects();
        let mut states = BTreeMap::new();
        for (line, state) in &ends {
            assert!(allowed.contains(&state.as_str()), "the job of line {line} is {state}");
            assert!(
                state != "succeeded" || effects.contains_key(line),
                "the job of line {line} succeeded and left no effect"
            );
            *states.entry(state.clone()).or_default() += 1;
        }
        let twice: Vec<_> = effects.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "these effects happened more than once: {twice:?}");
        let acknowledged = self.acknowledged();
        assert_eq!(ends.len() as u64, acknowledged, "acknowledged jobs are lost");
        Summary {
            acknowledged,
            unanswered: self.unanswered.load(Ordering::Relaxed),
            states,
            effects: effects.len(),
        }
    }

    /// Counts how often each line stands in the effect counter.
    pub fn effects(&self) -> BTreeMap<String, u64> {
        let mut effects = BTreeMap::new();
        for line in std::fs::read_to_string(&self.effect).unwrap_or_default().lines() {
            *effects.entry(line.to_owned()).or_default() += 1;
        }
        effects
    }
}

fn quiet(fleet: &Fleet, args: &[&str]) -> Command {
    let mut command = Command::from(fleet.command(args));
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Asks for a job; returns its id when the command line says that it is made.
async fn submit(fleet: &Fleet, device: &Value, script: &str) -> Option<String> {
    let (guid, context) = (device["guid"].as_str().unwrap(), context_of(device));
    let args = ["run", "--device", guid, "--lang", "sh", "--context", &context, "--json"];
    let out = quiet(fleet, &[&args[..], &["--", script]].concat())
        .output()
        .await
        .unwrap();
    let made = lines(&out.stdout).into_iter().next()?;
    let job = made["job"].as_str()?.to_owned();
    out.status.success().then_some(job)
}
