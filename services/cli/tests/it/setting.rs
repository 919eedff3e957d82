//! A real bus, the real gateway, the program as a process, and services that are made up.

use std::process::Stdio;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::messages::access::{RightOnSites, SessionInfo};
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall, OperatorToken};
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::routes::{ROUTES, Right};
use borealis_bus_schema::subjects::{Service, filter};
use borealis_service_kit::auth::{BiscuitRoot, Reach, SessionClaims, Sites, mint_session};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::{keys, random};
use borealis_test_support::{TestBus, eventually};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

pub struct Setting {
    pub bus: TestBus,
    pub port: u16,
    pub token: OperatorToken,
}

/// Is how the program ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
    pub fn json(&self) -> Value {
        self.lines().pop().unwrap()
    }
}

impl Setting {
    /// Starts bus and gateway; access answers for a session that stands.
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        tokio::spawn(borealis_gateway::run(bus.args()));
        let listen = bus.root().join("Server/State/gateway/listen.json");
        let port = eventually("the gateway's address", async || {
            let told: Value = serde_json::from_slice(&std::fs::read(&listen).ok()?).ok()?;
            u16::try_from(told["port"].as_u64()?).ok()
        })
        .await
        .unwrap();
        let root = BiscuitRoot::new(&keys::read_signing_key(&bus.paths().biscuit_root_key()).unwrap()).unwrap();
        let key = random::signing_key();
        let claims = SessionClaims {
            operator: random::id::<OperatorId>(),
            username: "ada".to_owned(),
            session: random::id::<SessionId>(),
            session_key: PublicKey::of(&key),
            rights: Reach::from([(Right::JobsRun, Sites::All)]),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        let biscuit = mint_session(&root, &claims).unwrap();
        let token = OperatorToken { key, biscuit };
        Self { bus, port, token }
    }

    /// Lets access answer for the session, and nothing else.
    pub async fn with_session(self) -> Self {
        let info = SessionInfo {
            session_id: SessionId::from_bytes([2; 16]),
            operator: OperatorId::from_bytes([1; 16]),
            username: "ada".to_owned(),
            expires_at: SystemClock.now().plus_ms(3_600_000),
            rights: vec!["jobs.run".to_owned()],
            sites: vec!["*".to_owned()],
            reach: vec![RightOnSites {
                right: "jobs.run".to_owned(),
                sites: vec!["*".to_owned()],
                max_devices: None,
            }],
            second_factor: false,
            recovery_codes_left: 0,
            passkeys: 0,
            proved_at: None,
        };
        self.serve(Service::Access, move |_, _| Ok(serde_json::to_string(&info).unwrap()))
            .await;
        self
    }

    /// Answers on the bus as one service; the closure gets verb and call.
    pub async fn serve(
        &self,
        service: Service,
        mut answer: impl FnMut(&str, &OperatorCall) -> Reply<String> + Send + 'static,
    ) {
        let user = self.bus.connect_service(service).await.unwrap();
        let mut asked = user.subscribe(&filter::service(service)).await.unwrap();
        user.settle().await.unwrap();
        tokio::spawn(async move {
            loop {
                let Some(message) = asked.next_within(Duration::from_secs(3_600)).await else {
                    continue;
                };
                let verb = message.subject.rsplit('.').next().unwrap().to_owned();
                let answer: Reply<OperatorAnswer> = codec::decode::<OperatorCall>(&message.body)
                    .map_err(WireError::from)
                    .and_then(|call| {
                        assert!(ROUTES.iter().any(|r| r.service == service && r.verb == verb));
                        answer(&verb, &call)
                    })
                    .map(|json| OperatorAnswer { json });
                let to = message.reply.unwrap();
                user.publish(&to, &reply::encode(&answer).unwrap()).await.unwrap();
            }
        });
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Prepares the program with server and CA, without a token.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command
            .env("BOREALIS_URL", self.url())
            .env("BOREALIS_CA", self.bus.paths().ca_pem());
        command
    }

    /// Runs the program with the session's token.
    pub async fn run(&self, args: &[&str]) -> Ended {
        let mut command = self.bare(args);
        command.env("BOREALIS_TOKEN", self.token.reveal());
        ended(&mut command, "").await
    }
}

/// Prepares the program with nothing in its environment.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_borealis"));
    command
        .args(args)
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub async fn ended(command: &mut Command, input: &str) -> Ended {
    let mut child: Child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends before it reads is judged by its exit code.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
