//! The whole agent on a real bus; the test is its server.

use borealis_agent::identity::api::Api;
use borealis_agent::identity::{Device, DeviceKeys};
use borealis_agent::journal::FileJournal;
use borealis_agent::paths::{Paths, private_folder};
use borealis_agent::roles::inventory::InventoryRole;
use borealis_agent::roles::script::ScriptRole;
use borealis_agent::roles::{AgentRole, Roles};
use borealis_agent::runtime::{self, Ended, Keeper, Parts, Standing};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, Signed};
use borealis_bus_schema::ids::{DeploymentId, Guid, OrderId, RoleName, RunId, VerbName};
use borealis_bus_schema::messages::device::{
    Accepted, Hello, OutputKept, ResultKept, RunResult, TellOutput, TellResult, Welcome,
};
use borealis_bus_schema::messages::enrollment::{Credentials, SignedText, Trust};
use borealis_bus_schema::messages::inventory::{Facts, FactsKept};
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use borealis_bus_schema::order::{Context, Digest, KeySet, Language, Order, OrderBody, ScriptBody, key_id, sign_batch};
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::subjects::{Subject, filter};
use borealis_bus_schema::time::Timestamp;
use borealis_test_support::{DEADLINE, TestBus, TestDevice, User, eventually};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

fn root_key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}
pub fn order_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}
pub fn now() -> Timestamp {
    borealis_agent::clock::wall()
}

/// Makes credentials as enrollment does.
pub fn credentials(bus: &TestBus, device: &TestDevice, life_ms: i64) -> Credentials {
    Credentials {
        bus_urls: vec![bus.url()],
        bus_jwt: bus.device_jwt(device, life_ms).unwrap(),
        bus_jwt_expires_at: now().plus_ms(life_ms),
        refresh_token: "first".to_owned(),
        refresh_token_expires_at: now().plus_ms(life_ms),
        server_time: now(),
    }
}

/// Is what the server heard.
#[derive(Default)]
pub struct Heard {
    pub hellos: Vec<u64>,
    output: BTreeMap<(RunId, OutputStream), Vec<u8>>,
    results: Vec<RunResult>,
    facts: Vec<Facts>,
    /// Whether answers are withheld.
    deaf: bool,
}

type Shared = Arc<Mutex<Heard>>;

pub struct World {
    pub bus: TestBus,
    user: Arc<User>,
    pub device: TestDevice,
    pub heard: Shared,
    root: TempDir,
    /// Tells this world's runs from those of tests beside it: leftovers are ended by their run's mark, machine-wide.
    salt: [u8; 15],
    /// How long the device's first JWT lives.
    pub jwt_life_ms: i64,
    /// Whether the agent's disk takes credentials.
    pub keeper_has_room: bool,
    /// Keys that the agent wants in the place of its own.
    pub next: Option<DeviceKeys>,
    /// How the device reaches its server over HTTPS.
    pub api: Arc<dyn Fn() -> Option<Api> + Send + Sync>,
}

pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<(Ended, Instant)>,
}

impl Running {
    pub async fn stopped(self) {
        let asked_at = Instant::now();
        self.stop.send(true).unwrap();
        let (ended, ended_at) = self.task.await.unwrap();
        assert!(matches!(ended, Ended::Stopped));
        let took = ended_at - asked_at;
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

/// Keeps nothing; says that it does, or that it cannot.
struct NoKeeper {
    has_room: bool,
}

impl Keeper for NoKeeper {
    fn credentials(&mut self, _: DeploymentId, _: &Credentials) -> Result<(), String> {
        self.has_room.then_some(()).ok_or_else(|| "no room".to_owned())
    }
    fn key_set(&mut self, _: &Signed) -> Result<(), String> {
        Ok(())
    }
    fn status(&mut self, _: &Standing) {}
}

pub fn key_set() -> Signed {
    let set = KeySet {
        version: 1,
        keys: vec![PublicKey::of(&order_key())],
        expires_at: now().plus_ms(3_600_000),
    };
    Signed::seal(&root_key(), Form::KeySet, &set).unwrap()
}

impl World {
    pub async fn new() -> Self {
        let bus = TestBus::start().await.unwrap();
        let user = Arc::new(bus.connect_everything().await.unwrap());
        let world = Self {
            device: TestDevice::draw(),
            heard: Shared::default(),
            root: tempfile::tempdir().unwrap(),
            salt: borealis_agent::random::bytes().unwrap(),
            jwt_life_ms: 3_600_000,
            keeper_has_room: true,
            next: None,
            api: Arc::new(|| None),
            bus,
            user,
        };
        world.listen().await;
        world
    }

    /// Answers what the device tells, as the services do.
    async fn listen(&self) {
        let mut told = self
            .user
            .subscribe(&filter::device_tell(&self.device.guid))
            .await
            .unwrap();
        self.user.settle().await.unwrap();
        let (user, heard, key) = (
            Arc::clone(&self.user),
            Arc::clone(&self.heard),
            self.device.public_key(),
        );
        tokio::spawn(async move {
            loop {
                let Some(message) = told.next_within(Duration::from_secs(3_600)).await else {
                    return;
                };
                let answer = take(&mut heard.lock().unwrap(), &message.subject, &message.body, &key);
                if let Some((to, body)) = message.reply.zip(answer) {
                    user.publish(&to, &body).await.unwrap();
                }
            }
        });
    }

    fn paths(&self) -> Paths {
        Paths::new(self.root.path(), None)
    }

    /// Names a file that scripts of the device may write.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    /// Returns how large the device's journal is.
    pub fn journal_bytes(&self) -> u64 {
        std::fs::metadata(self.paths().journal()).unwrap().len()
    }

    pub async fn start(&self) -> Running {
        let paths = self.paths();
        private_folder(&paths.work()).unwrap();
        let (journal, records) = FileJournal::open(&paths.journal()).unwrap();
        let keys = DeviceKeys::of_seeds(self.device.key.to_bytes(), [9; 32]);
        let signed = key_set();
        let trust = Trust {
            deployment: DeploymentId::from_bytes([1; 16]),
            ca_pem: self.bus.trust().ca_pem.clone(),
            code_signing_root: PublicKey::of(&root_key()),
            key_set: SignedText::from(&signed),
        };
        let device = Device {
            keys,
            guid: self.device.guid,
            key_set: KeySet::open(&signed, &trust.code_signing_root).unwrap(),
            trust,
            credentials: credentials(&self.bus, &self.device, self.jwt_life_ms),
            next: self.next.clone(),
        };
        let parts = Parts {
            context: Context::System,
            journal: Box::new(journal),
            records,
            roles: Roles::new(vec![
                Box::new(AgentRole),
                Box::new(ScriptRole::default()),
                Box::new(InventoryRole::new(device.guid)),
            ]),
            work: paths.work(),
            wrapper: env!("CARGO_BIN_EXE_borealis-agent").into(),
            keeper: Box::new(NoKeeper {
                has_room: self.keeper_has_room,
            }),
            api: Arc::clone(&self.api),
            max_running: 4,
            device,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { (runtime::run(parts, stopped).await.unwrap(), Instant::now()) });
        let before = self.heard.lock().unwrap().hellos.len();
        self.until("a hello", |heard| heard.hellos.len() > before).await;
        Running { stop, task }
    }

    pub async fn until(&self, what: &str, fits: impl Fn(&Heard) -> bool) {
        eventually(what, async || fits(&self.heard.lock().unwrap()).then_some(()))
            .await
            .unwrap();
    }

    pub fn order(&self, number: u8, script: &str) -> Order {
        let mut run = [number; 16];
        run[1..].copy_from_slice(&self.salt);
        Order {
            order: OrderId::from_bytes([number; 16]),
            run: RunId::from_bytes(run),
            attempt: 1,
            guid: self.device.guid,
            context: Context::System,
            role: RoleName::script(),
            verb: VerbName::run(),
            body: OrderBody::Script(ScriptBody {
                language: Language::Sh,
                script: script.as_bytes().to_vec(),
                digest: Digest::of(script.as_bytes()),
                args: vec![],
                env: BTreeMap::new(),
                timeout_ms: 60_000,
                output_limit_bytes: 1 << 20,
            }),
            issued_at: now(),
            expires_at: now().plus_ms(600_000),
            key_id: key_id(&PublicKey::of(&order_key())),
        }
    }

    pub async fn send(&self, order: &Order) -> Reply<Accepted> {
        self.try_send(order).await.unwrap()
    }

    /// Sends an order; `None` when nobody answers.
    pub async fn try_send(&self, order: &Order) -> Option<Reply<Accepted>> {
        let signed = sign_batch(&order_key(), std::slice::from_ref(order)).unwrap().remove(0);
        let subject = Subject::DeviceDo {
            guid: order.guid,
            role: order.role.clone(),
            verb: order.verb.clone(),
        };
        self.ask(&subject.to_string(), &codec::encode(&signed).unwrap()).await
    }

    pub async fn raw(&self, subject: &str, body: &[u8]) -> Reply<Accepted> {
        self.ask(subject, body).await.unwrap()
    }

    async fn ask(&self, subject: &str, body: &[u8]) -> Option<Reply<Accepted>> {
        let answer = self.user.request(subject, body, DEADLINE).await.ok()?;
        Some(reply::decode(&answer))
    }

    pub async fn result_of(&self, order: &Order) -> RunResult {
        let run = order.run;
        self.until("a result", |heard| heard.results.iter().any(|result| result.run == run))
            .await;
        let heard = self.heard.lock().unwrap();
        heard.results.iter().find(|result| result.run == run).unwrap().clone()
    }

    fn stdout(&self, order: &Order) -> String {
        let heard = self.heard.lock().unwrap();
        let bytes = heard
            .output
            .get(&(order.run, OutputStream::Stdout))
            .cloned()
            .unwrap_or_default();
        String::from_utf8(bytes).unwrap()
    }
}

fn take(heard: &mut Heard, subject: &str, body: &[u8], key: &PublicKey) -> Option<Vec<u8>> {
    let Ok(Subject::DeviceTell { verb, .. }) = subject.parse() else {
        panic!("{subject}")
    };
    if heard.deaf {
        return None;
    }
    let answer = match verb.as_str() {
        "hello" => {
            let hello: Hello = codec::decode::<Signed>(body).unwrap().open(key, Form::Hello).unwrap();
            let is_answer = hello.challenge.as_deref() == Some("now");
            if is_answer {
                heard.hellos.push(hello.journal_counter);
            }
            reply::encode(&Ok(Welcome {
                server_time: now(),
                key_set: key_set(),
                challenge: (!is_answer).then(|| "now".to_owned()),
                quarantined: false,
                renew: false,
            }))
        }
        "output" => {
            let tell: TellOutput = codec::decode(body).unwrap();
            let kept = heard.output.entry((tell.run, tell.stream)).or_default();
            if tell.offset == kept.len() as u64 {
                kept.extend_from_slice(&tell.data);
            }
            reply::encode(&Ok(OutputKept {
                run: tell.run,
                stream: tell.stream,
                next_offset: kept.len() as u64,
            }))
        }
        "result" => {
            let tell: TellResult = codec::decode(body).unwrap();
            let result: RunResult = tell.result.open(key, Form::Result).unwrap();
            let run = result.run;
            heard.results.push(result);
            reply::encode(&Ok(ResultKept { run }))
        }
        "facts" => {
            let facts: Facts = codec::decode::<Signed>(body).unwrap().open(key, Form::Facts).unwrap();
            heard.facts.push(facts);
            reply::encode(&Ok(FactsKept { changed: true }))
        }
        _ => return None,
    };
    Some(answer.unwrap())
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn given_a_signed_script_then_it_runs_once_and_everything_arrives() {
    let world = World::new().await;
    let agent = world.start().await;
    world.until("facts", |heard| !heard.facts.is_empty()).await;
    let effect = world.root.path().join("effect");
    let order = world.order(1, &format!("echo once >> {}; echo hello; exit 4", effect.display()));
    assert_eq!(world.send(&order).await.unwrap().state, RunState::Delivered);
    let result = world.result_of(&order).await;
    assert_eq!(
        (result.state, result.exit_code, result.stdout_bytes),
        (RunState::Failed, Some(4), 6)
    );
    assert_eq!(world.stdout(&order), "hello\n");
    // The same bytes again, and a fresh order for the same run: both answered, nothing done.
    assert_eq!(world.send(&order).await.unwrap().state, RunState::Failed);
    let mut fresh = order.clone();
    fresh.order = OrderId::from_bytes([99; 16]);
    assert_eq!(world.send(&fresh).await.unwrap().state, RunState::Failed);
    assert_eq!(lines(&effect), 1);
    assert!(
        !world.paths().work().join(format!("{}-1", order.run)).exists(),
        "its folder is removed"
    );
    agent.stopped().await;
}

#[tokio::test]
async fn given_output_while_it_runs_then_it_arrives_before_the_end() {
    let world = World::new().await;
    let agent = world.start().await;
    let gate = world.root.path().join("gate");
    let order = world.order(
        1,
        &format!(
            "echo first; while [ ! -e {} ]; do sleep 0.05; done; echo second",
            gate.display()
        ),
    );
    world.send(&order).await.unwrap();
    let run = order.run;
    world
        .until("the first line", |heard| {
            heard
                .output
                .get(&(run, OutputStream::Stdout))
                .is_some_and(|text| text == b"first\n")
        })
        .await;
    std::fs::write(&gate, "").unwrap();
    assert_eq!(world.result_of(&order).await.state, RunState::Succeeded);
    assert_eq!(world.stdout(&order), "first\nsecond\n");
    agent.stopped().await;
}

#[tokio::test]
async fn given_rubbish_and_strange_subjects_then_each_is_answered_and_the_agent_lives() {
    let world = World::new().await;
    let agent = world.start().await;
    let guid: Guid = world.device.guid;
    let subject = |role: &str, verb: &str| {
        Subject::DeviceDo {
            guid,
            role: RoleName::new(role).unwrap(),
            verb: VerbName::new(verb).unwrap(),
        }
        .to_string()
    };
    let code = async |subject: String, body: &[u8]| world.raw(&subject, body).await.unwrap_err().code;
    assert_eq!(code(subject("script", "run"), b"").await, Code::OrderMalformed);
    assert_eq!(code(subject("script", "run"), &[0x81; 50_000]).await, Code::TooDeep);
    assert_eq!(code(subject("macro", "play"), b"x").await, Code::UnknownVerb);
    let ping = Order {
        role: RoleName::agent(),
        verb: VerbName::ping(),
        body: OrderBody::Ping,
        ..world.order(5, "")
    };
    let accepted = world.send(&ping).await.unwrap();
    let result: RunResult = accepted
        .result
        .unwrap()
        .open(&world.device.public_key(), Form::Result)
        .unwrap();
    assert_eq!(result.state, RunState::Succeeded);
    agent.stopped().await;
}

#[tokio::test]
async fn given_a_cancel_and_a_timeout_then_both_end_the_run() {
    let world = World::new().await;
    let agent = world.start().await;
    let endless = world.order(1, "echo begun; sleep 3600");
    world.send(&endless).await.unwrap();
    let run = endless.run;
    world
        .until("its output", |heard| {
            heard.output.contains_key(&(run, OutputStream::Stdout))
        })
        .await;
    let cancel = Order {
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run },
        order: OrderId::from_bytes([50; 16]),
        ..endless.clone()
    };
    world.send(&cancel).await.unwrap();
    assert_eq!(world.result_of(&endless).await.state, RunState::Cancelled);

    let mut short = world.order(2, "sleep 3600");
    if let OrderBody::Script(body) = &mut short.body {
        body.timeout_ms = 300;
    }
    world.send(&short).await.unwrap();
    let result = world.result_of(&short).await;
    assert_eq!(result.state, RunState::TimedOut);
    assert!((300..12_000).contains(&result.duration_ms), "{result:?}");
    agent.stopped().await;
}

#[tokio::test]
async fn given_an_agent_that_stops_in_the_middle_then_the_run_is_interrupted_and_told_after_the_next_start() {
    let world = World::new().await;
    let agent = world.start().await;
    let order = world.order(1, "echo begun; sleep 3600");
    world.send(&order).await.unwrap();
    let run = order.run;
    world
        .until("its output", |heard| {
            heard.output.contains_key(&(run, OutputStream::Stdout))
        })
        .await;
    // Killed, not stopped: the journal ends with `starting`.
    agent.task.abort();
    let _ = agent.task.await;
    drop(agent.stop);
    let again = world.start().await;
    let result = world.result_of(&order).await;
    assert_eq!(result.state, RunState::Interrupted);
    let heard: Vec<u64> = world.heard.lock().unwrap().hellos.clone();
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "{heard:?}");
    assert_eq!(world.send(&order).await.unwrap().state, RunState::Interrupted);
    again.stopped().await;
}

#[tokio::test]
async fn given_a_bus_that_dies_and_a_server_that_is_deaf_then_the_result_arrives_in_the_end() {
    let mut world = World::new().await;
    let agent = world.start().await;
    let gate = world.root.path().join("gate");
    let order = world.order(
        1,
        &format!("echo a; while [ ! -e {} ]; do sleep 0.05; done; echo b", gate.display()),
    );
    world.send(&order).await.unwrap();
    let run = order.run;
    world
        .until("its output", |heard| {
            heard.output.contains_key(&(run, OutputStream::Stdout))
        })
        .await;
    world.bus.kill();
    std::fs::write(&gate, "").unwrap();
    world.heard.lock().unwrap().deaf = true;
    world.bus.resume().await.unwrap();
    world.heard.lock().unwrap().deaf = false;
    assert_eq!(world.result_of(&order).await.state, RunState::Succeeded);
    assert_eq!(world.stdout(&order), "a\nb\n");
    agent.stopped().await;
}
