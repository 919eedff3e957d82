//! Simulated devices as a process of their own, and an operator who is quicker than the command line.

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};

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
    start_with_facts(fleet, size, "none")
}

/// Enrols and connects simulated devices that tell facts of a size; returns once all are on.
pub fn start_with_facts(fleet: &Fleet, size: usize, facts: &str) -> Simulated {
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
            "--facts",
            facts,
            "--root",
        ])
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
        let context = "SYSTEM";
        let body =
            json!({ "targets": { "all": true }, "role": "agent", "verb": "ping", "context": context }).to_string();
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
        let answer = self
            .client
            .get(format!("{}/api/v1/jobs/{job}", self.url))
            .bearer_auth(&self.token.biscuit)
            .send();
        serde_json::from_slice(&answer.await.unwrap().bytes().await.unwrap()).unwrap()
    }
}

/// Counts the acceptances in scheduler's store.
pub fn acceptances(fleet: &Fleet) -> usize {
    let events = fleet.stored(Service::Scheduler);
    events.iter().filter(|event| event["kind"] == "RunDelivered").count()
}
