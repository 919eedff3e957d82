//! Simulated devices as a process of their own, and an operator who is quicker than the command line.

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use borealis_bus_schema::ids::{CommandId, SessionId};
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, OperatorToken, Proof, SIGNATURE_HEADER};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::programs;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::Fleet;

/// Is the process that plays N devices.
pub struct Simulated {
    /// The process.
    pub child: Child,
    _root: TempDir,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Enrols and connects simulated devices that tell no facts; returns once all are on.
pub fn start(fleet: &Fleet, size: usize) -> Simulated {
    start_with(fleet, size, &["--facts", "none"])
}

/// Enrols and connects simulated devices that do what the words say; returns once all are on.
pub fn start_with(fleet: &Fleet, size: usize, words: &[&str]) -> Simulated {
    let uses = size.to_string();
    let code = fleet.json(&["codes", "create", "--uses", &uses, "--auto-approve", "--json"]);
    let root = TempDir::with_prefix("borealis-simulated-").unwrap();
    let mut child = Command::new(programs::built("borealis-agent").unwrap())
        .args([
            "simulate",
            "--devices",
            &uses,
            "--server-url",
            &fleet.server.ready().url,
        ])
        .args(words)
        .arg("--root")
        .arg(root.path())
        .env("BOREALIS_INSTALLER_CODE", code["code"].as_str().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the simulator said {line:?}"));
    assert_eq!(said, json!({ "enrolled": size, "connected": size }));
    Simulated { child, _root: root }
}

/// Is an operator with a connection of its own.
pub struct Operator {
    client: reqwest::Client,
    url: String,
    token: OperatorToken,
    session: SessionId,
}

impl Operator {
    /// Takes the fleet's operator.
    pub fn new(fleet: &Fleet) -> Self {
        let ca = std::fs::read(&fleet.server.ready().ca).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        // Another part of the process may have chosen it already.
        let _ = provider.install_default();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .build()
            .unwrap();
        let session = fleet.json(&["session", "--json"])["session_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        Self {
            client,
            url: fleet.server.ready().url.clone(),
            token: fleet.token.parse().unwrap(),
            session,
        }
    }

    /// Makes a job that pings every device; returns it.
    pub async fn ping_all(&self) -> String {
        self.create(&json!({ "targets": { "all": true }, "role": "agent", "verb": "ping" }))
            .await
    }

    /// Makes a job; returns it.
    pub async fn create(&self, body: &Value) -> String {
        let body = body.to_string();
        let (path, command): (_, CommandId) = ("/api/v1/jobs", random::id());
        let proof = Proof::new(
            &self.token.key,
            self.session,
            command,
            SystemClock.now(),
            "POST",
            path,
            body.as_bytes(),
        );
        let answer = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token.biscuit)
            .header(IDEMPOTENCY_HEADER, command.to_string())
            .header(SIGNATURE_HEADER, proof.header())
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        let said: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        said["job"]
            .as_str()
            .unwrap_or_else(|| panic!("no job: {said}"))
            .to_owned()
    }

    /// Reads a job.
    pub async fn job(&self, job: &str) -> Value {
        self.read(&format!("/api/v1/jobs/{job}")).await
    }

    /// Reads a job's outputs, those that are the same as one, once each is digested.
    pub async fn outputs(&self, job: &str) -> Value {
        loop {
            let said = self.read(&format!("/api/v1/jobs/{job}/outputs")).await;
            if said["open"] == 0 && said["pending"] == 0 {
                return said;
            }
        }
    }

    async fn read(&self, path: &str) -> Value {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.token.biscuit)
            .send();
        serde_json::from_slice(&answer.await.unwrap().bytes().await.unwrap()).unwrap()
    }

    /// Waits until as many runs of a job succeeded; returns how long that took from `began`.
    ///
    /// Panics when another run ended otherwise, or when nothing came for two minutes.
    pub async fn succeeded(&self, job: &str, wanted: usize, began: Instant) -> Duration {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let view = self.job(job).await;
            let count = |state: &str| view["counts"][state].as_u64().unwrap_or(0);
            let (done, open) = (
                count("succeeded"),
                count("queued") + count("delivered") + count("running"),
            );
            assert_eq!(done + open, wanted as u64, "a run ended otherwise: {view}");
            if open == 0 {
                return began.elapsed();
            }
            if done != last {
                (last, moved) = (done, Instant::now());
            }
            assert!(moved.elapsed() < Duration::from_secs(120), "the job hangs: {view}");
            let pause = if wanted < 100 { 1 } else { 20 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Counts the acceptances in scheduler's store.
pub fn acceptances(fleet: &Fleet) -> usize {
    let events = fleet.stored(Service::Scheduler);
    events.iter().filter(|event| event["kind"] == "RunDelivered").count()
}
