//! The table `bad_input.tsv`, walked row by row against one real deployment: each input is refused with exactly its code, and
//! what the row names lives on.
//!
//! Server and agent stand on small file systems of their own (tmpfs in a user namespace), so that they can be filled.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::envelope;
use borealis_bus_schema::forms::{Form, PublicKey, sign};
use borealis_bus_schema::ids::{CommandId, Guid, RoleName, SessionId, VerbName};
use borealis_bus_schema::installer_code::{CodeUse, InstallerCode};
use borealis_bus_schema::messages::device::{Accepted, OutputKept, ResultKept, TellOutput};
use borealis_bus_schema::messages::enrollment::{EnrollChallenge, EnrollPoll, EnrollRequest};
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, OperatorToken, Proof, SIGNATURE_HEADER};
use borealis_bus_schema::order::{Order, SignedOrder, key_id, sign_batch};
use borealis_bus_schema::reply;
use borealis_bus_schema::routes::ROUTES;
use borealis_bus_schema::subjects::{Service, Subject, filter};
use borealis_event_store::RESERVE_BYTES;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{User, eventually_within, host_facts, programs};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, Followed, PATIENCE, file_says, https, lines, said, shared};
use crate::kills::find_child;
use crate::trust;

const TABLE: &str = include_str!("../bad_input.tsv");
/// Names the folder with the two small disks to the test inside the namespace.
const DISKS: &str = "BOREALIS_TEST_DISKS";
const NAME: &str = "bad_input::each_row_is_refused_by_name_and_the_rest_lives_on";
const ANSWER: Duration = Duration::from_secs(20);
const LIMIT_BYTES: usize = 10 << 20;
/// What a disk that is full for the server has left: less than its stores keep in reserve, enough for what is under way.
const KEPT_FREE: u64 = RESERVE_BYTES / 2;

#[tokio::test]
async fn each_row_is_refused_by_name_and_the_rest_lives_on() {
    match std::env::var_os(DISKS) {
        Some(disks) => walk(Path::new(&disks)).await,
        None => again_with_small_disks(),
    }
}

/// Runs this test again where it may mount.
fn again_with_small_disks() {
    let dir = TempDir::with_prefix("borealis-disks-").unwrap();
    for disk in ["server", "agent"] {
        std::fs::create_dir(dir.path().join(disk)).unwrap();
    }
    let script = "set -e; mount -t tmpfs -o size=512m,mode=700 tmpfs \"$1/server\"; \
                  mount -t tmpfs -o size=64m,mode=700 tmpfs \"$1/agent\"; shift; exec \"$@\"";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(DISKS, dir.path())
        .env(
            "BOREALIS_DEPENDENCIES",
            std::fs::canonicalize(programs::dependencies()).unwrap(),
        )
        .status()
        .expect("unshare (util-linux) is installed");
    assert!(
        status.success(),
        "the walk in a user namespace of its own ended with {status}"
    );
}

/// Is a row of the table.
struct Row {
    input: &'static str,
    side: &'static str,
    refused: &'static str,
    lives: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let [input, side, refused, lives] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        Row {
            input,
            side,
            refused,
            lives,
        }
    };
    let rows: Vec<Row> = TABLE.lines().skip(1).map(row).collect();
    let sides = ["agent", "service", "gateway", "cli", "server"];
    assert!(rows.iter().all(|row| sides.contains(&row.side)), "a side that is none");
    rows
}

async fn walk(disks: &Path) {
    let rows = rows();
    let named: BTreeSet<_> = rows.iter().map(|row| row.input).collect();
    assert_eq!(named.len(), rows.len(), "an input stands twice in the table");
    assert_eq!(named, INPUTS.into_iter().collect(), "table and cases name other inputs");
    let mut scene = Scene::new(disks).await;
    let mut wrong = Vec::new();
    for row in rows {
        let before = scene.processes();
        let found = scene.put(row.input).await;
        if !row.refused.split('|').any(|code| code == found) {
            wrong.push(format!("{}: {found} instead of {}", row.input, row.refused));
        }
        scene.lives_on(&row, &before).await;
        eprintln!("{}: {found}", row.input);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Is the deployment that everything is thrown at.
struct Scene {
    fleet: Fleet,
    disks: PathBuf,
    thief: User,
    guid: Guid,
    other: Guid,
    honest: SignedOrder,
    order: Order,
    http: reqwest::Client,
    token: OperatorToken,
    session: SessionId,
}

macro_rules! cases {
    ($scene:ident, $given:ident; $($input:literal => $case:expr,)+) => {
        /// Lists the inputs that there are cases for.
        const INPUTS: [&str; [$($input),+].len()] = [$($input),+];

        impl Scene {
            /// Puts one input in and says with what it was refused.
            async fn put(&mut self, $given: &str) -> String {
                let $scene = self;
                match $given {
                    $($input => $case,)+
                    other => panic!("no case for {other:?}"),
                }
            }
        }
    };
}

cases! { scene, input;
    "CBOR that cannot be decoded" => scene.to_services(b"\xff\xff").await,
    "CBOR of more than 1,000,000 bytes" => scene.to_services(&vec![0; codec::MAX_BODY_BYTES + 1]).await,
    "CBOR nested 4096 deep" => scene.to_services(&[0x81; 4096]).await,
    "an unknown verb" => scene.to_service(Service::Scheduler, "explode", b"\xa0").await,
    "CBOR of an unknown schema" => scene.of_schema("borealis/99.0").await,
    "an order that cannot be decoded" => scene.to_agent(scene.guid, "run", b"\xff\xff").await,
    "an order of more than 1,000,000 bytes" => {
        scene.to_agent(scene.guid, "run", &vec![0; codec::MAX_BODY_BYTES + 1]).await
    },
    "an order nested 4096 deep" => scene.to_agent(scene.guid, "run", &[0x81; 4096]).await,
    "an order of an unknown verb" => {
        let body = codec::encode(&scene.honest).unwrap();
        scene.to_agent(scene.guid, "explode", &body).await
    },
    "an order for another device" => scene.order_to(scene.other, &scene.honest).await,
    "an order with another body than the signed one" => {
        let longer = Order { expires_at: scene.order.expires_at.plus_ms(1), ..scene.order.clone() };
        let forged = SignedOrder { order: codec::encode(&longer).unwrap(), ..scene.honest.clone() };
        scene.order_to(scene.guid, &forged).await
    },
    "an order signed by a key that the message names" => {
        let own = random::signing_key();
        let named = Order { key_id: key_id(&PublicKey::of(&own)), ..scene.order.clone() };
        scene.order_to(scene.guid, &sign_batch(&own, &[named]).unwrap().remove(0)).await
    },
    "JSON that cannot be decoded" => scene.post("/api/v1/jobs", b"{\"targets\":".to_vec()).await,
    "JSON of more than 768 KiB" => scene.post("/api/v1/jobs", vec![b' '; codec::MAX_JSON_BYTES + 1]).await,
    "JSON nested 4096 deep" => scene.post("/api/v1/jobs", vec![b'['; 4096]).await,
    "an unknown route" => scene.post("/api/v1/explode", b"{}".to_vec()).await,
    "a method that the route has not" => scene.post("/api/v1/devices", b"{}".to_vec()).await,
    "a change without a command id" => {
        let url = scene.url("/api/v1/jobs");
        problem(scene.http.post(url).bearer_auth(&scene.token.biscuit).body("{}")).await
    },
    "a signature over another body" => scene.post_signed(b"{}".to_vec(), b"{ }", false).await,
    "a signature over another command id" => scene.post_signed(b"{}".to_vec(), b"{}", true).await,
    "an enrolment proof over another nonce" => scene.proof_over_another_nonce().await,
    "a result that another key signed" => {
        let subject = Subject::DeviceTell {
            guid: scene.order.guid,
            role: RoleName::script(),
            verb: VerbName::new("result").unwrap(),
        };
        let body = codec::encode(&trust::forged_result(&scene.order)).unwrap();
        let answer = scene.thief.request(&subject.to_string(), &body, ANSWER).await.unwrap();
        reply::decode::<ResultKept>(&answer).unwrap_err().code.to_string()
    },
    "output of another attempt" => {
        let tell = TellOutput {
            run: scene.order.run,
            attempt: scene.order.attempt + 1,
            stream: OutputStream::Stdout,
            offset: 0,
            data: b"x".to_vec(),
        };
        let subject = Subject::DeviceTell {
            guid: scene.order.guid,
            role: RoleName::script(),
            verb: VerbName::new("output").unwrap(),
        };
        let body = codec::encode(&tell).unwrap();
        let answer = scene.thief.request(&subject.to_string(), &body, ANSWER).await.unwrap();
        let refused = reply::decode::<OutputKept>(&answer).unwrap_err();
        assert!(refused.message.contains("attempt"), "{refused:?}");
        refused.code.to_string()
    },
    "an installer code that was never minted" => {
        let minted: InstallerCode = scene.code();
        let never = InstallerCode::new([7; 16], *minted.ca_sha256()).reveal();
        let (code, text) = scene.enrol_with(&never).await;
        let told = if text.contains("(code_invalid)") { "code_invalid" } else { &text };
        format!("exit {code} {told}")
    },
    "an installer code of another deployment" => {
        let (code, text) = scene.enrol_with(&InstallerCode::new([7; 16], [9; 32]).reveal()).await;
        let told = if text.contains("(server_untrusted)") { "server_untrusted" } else { &text };
        format!("exit {code} {told}")
    },
    "an installer code with a wrong letter" => {
        let mut text = scene.code().reveal();
        let last = if text.ends_with('A') { "B" } else { "A" };
        text.replace_range(10..11, if text.get(10..11) == Some(last) { "C" } else { last });
        let (code, shown) = scene.enrol_with(&text).await;
        assert!(!shown.contains(&text), "the code is repeated: {shown}");
        format!("exit {code}")
    },
    "a token that is none" => exit_of(&scene.cli_as("rubbish", &["devices", "list", "--json"])),
    "a token of another deployment" => {
        let mut token = scene.token.clone();
        let stranger = borealis_service_kit::auth::BiscuitRoot::new(&random::signing_key()).unwrap();
        let claims = borealis_service_kit::auth::SessionClaims {
            operator: random::id(),
            username: "stranger".to_owned(),
            session: scene.session,
            session_key: PublicKey::of(&token.key),
            rights: borealis_service_kit::auth::Reach::new(),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        token.biscuit = borealis_service_kit::auth::mint_session(&stranger, &claims).unwrap();
        exit_and_code(&scene.cli_as(&token.reveal(), &["devices", "list", "--json"]))
    },
    "a script of more than 256 KiB" => {
        let dir = TempDir::new().unwrap();
        let (file, text) = shared(&dir, "script.sh");
        std::fs::write(file, vec![b'#'; (256 << 10) + 1]).unwrap();
        exit_of(&scene.fleet.cli(&["run", "--all", "--lang", "sh", "--json", "--file", &text]))
    },
    "a device that is not there" => {
        let nobody = Guid::from_random([7; 16]).to_string();
        exit_and_code(&scene.fleet.cli(&["run", "--device", &nobody, "--lang", "sh", "--json", "--", "true"]))
    },
    "a port where nobody listens" => {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        exit_of(&scene.fleet.cli(&["devices", "list", "--json", "--url", &format!("https://{closed}")]))
    },
    "a script that prints 2 GB" => {
        let (shown, last) = outcome(scene.fleet.follow("yes abcdefghijklmnopqrstuvwxyz012345 | head -c 2G", &[]));
        let kept = last["stdout"].as_str().unwrap();
        let line = "abcdefghijklmnopqrstuvwxyz012345\n";
        assert_eq!(kept.len(), LIMIT_BYTES);
        assert!(kept.bytes().eq(line.bytes().cycle().take(LIMIT_BYTES)), "what is kept is not the beginning");
        shown
    },
    "a script that prints bytes that are no text" => {
        let (shown, last) = outcome(scene.fleet.follow("printf '\\377\\376\\000\\033'", &[]));
        assert_eq!(last["stdout_base64"].as_str(), Some("//4AGw=="), "{last}");
        shown
    },
    "a script that prints one line of 20 MB" => {
        let (shown, last) = outcome(scene.fleet.follow("head -c 20M /dev/zero | tr '\\0' x", &[]));
        assert_eq!(last["stdout"].as_str().unwrap().len(), LIMIT_BYTES);
        shown
    },
    "a script that prints for ever" => outcome(scene.fleet.follow("yes", &["--timeout", "3s"])).0,
    "a script that never ends" => {
        outcome(scene.fleet.follow("while :; do sleep 600; done", &["--timeout", "2s"])).0
    },
    "a full disk under the agent" => scene.full_agent().await,
    "a full disk under the server, while scripts are stored" => scene.full_server(20_000, KEPT_FREE).await,
    "a full disk under the server, while events are stored" => scene.full_server(0, KEPT_FREE).await,
    "a disk under the server without one byte left" => scene.full_server(0, 0).await,
    "nats-server missing" => {
        let (root, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        exit_of(&start(root.path(), empty.path(), "127.0.0.1:0"))
    },
    "a nats-server that is not the pinned one" => {
        let (root, dependencies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let version = borealis_provision::nats_server::pinned().unwrap().version;
        let folder = dependencies.path().join(format!("nats-server-{version}"));
        std::fs::create_dir(&folder).unwrap();
        let fake = folder.join("nats-server");
        std::fs::write(&fake, format!("#!/bin/sh\necho nats-server: v{version}\n")).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        exit_of(&start(root.path(), dependencies.path(), "127.0.0.1:0"))
    },
    "a port in use" => {
        let root = TempDir::new().unwrap();
        let address = scene.fleet.server.ready().url.strip_prefix("https://").unwrap().to_owned();
        exit_of(&start(root.path(), &programs::dependencies(), &address))
    },
    "a second server on the same root" => {
        exit_of(&start(scene.fleet.server.paths().root(), &programs::dependencies(), "127.0.0.1:0"))
    },
}

impl Scene {
    async fn new(disks: &Path) -> Self {
        let server = TempDir::new_in(disks.join("server")).unwrap();
        let agent = TempDir::new_in(disks.join("agent")).unwrap();
        let mut fleet = Fleet::start_at(server, vec![agent]).await;
        let guid: Guid = fleet.devices()[0]["guid"].as_str().unwrap().parse().unwrap();
        let code = fleet.json(&["codes", "create", "--auto-approve", "--json"]);
        fleet.add_agent(code["code"].as_str().unwrap());
        let devices = fleet.all_online().await;
        let guids = devices.iter().map(|d| d["guid"].as_str().unwrap().parse().unwrap());
        let other = guids.into_iter().find(|other| *other != guid).unwrap();

        let thief = trust::everything(&fleet).await;
        let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
        thief.settle().await.unwrap();
        let (code, last) = fleet.run("echo first", &[]);
        assert_eq!((code, last["stdout"].as_str()), (0, Some("first\n")));
        let captured = seen.next_within(PATIENCE).await.expect("the bus carries the order");
        let honest: SignedOrder = codec::decode(&captured.body).unwrap();
        let order = codec::decode(&honest.order).unwrap();

        let http = https(&fleet.server.ready().ca);
        let session = fleet.json(&["session", "--json"]);
        let session = session["session_id"].as_str().unwrap().parse().unwrap();
        let token = fleet.token.parse().unwrap();
        Self {
            fleet,
            disks: disks.to_owned(),
            thief,
            guid,
            other,
            honest,
            order,
            http,
            token,
            session,
        }
    }

    /// Lists the processes that must not have been started anew.
    fn processes(&self) -> BTreeMap<String, i32> {
        let children = Service::ALL.iter().map(|service| service.name()).chain(["nats"]);
        let found = children.filter_map(|name| {
            let pid = find_child(&self.fleet, name)?;
            Some((name.to_owned(), pid.as_raw_nonzero().get()))
        });
        let server = ("server".to_owned(), i32::try_from(self.fleet.server.pid()).unwrap());
        found.chain([server]).collect()
    }

    async fn lives_on(&mut self, row: &Row, before: &BTreeMap<String, i32>) {
        let Row { input, lives, .. } = row;
        match *lives {
            "every process" => {
                assert_eq!(&self.processes(), before, "{input}: a process is not the one it was");
                let jobs = self.fleet.cli(&["jobs", "list", "--json"]);
                assert!(jobs.status.success(), "{input}: {}", said(&jobs));
            }
            "the agent" => {
                assert_eq!(&self.processes(), before, "{input}: a process is not the one it was");
                self.honest_run(input);
            }
            // Its services were started anew; they have all they acknowledged, which the row's case has looked at.
            "the server" => {
                assert_eq!(self.processes().get("server"), before.get("server"), "{input}");
                self.honest_run(input);
            }
            other => panic!("{input}: nothing is known of {other:?}"),
        }
        assert!(
            self.fleet.agents.iter_mut().all(crate::fleet::Agent::lives),
            "{input}: an agent has ended"
        );
    }

    fn honest_run(&self, input: &str) {
        let (code, last) = self.fleet.run("echo alive", &[]);
        assert_eq!((code, last["stdout"].as_str()), (0, Some("alive\n")), "{input}: {last}");
    }

    async fn to_service(&self, service: Service, verb: &str, body: &[u8]) -> String {
        let verb = VerbName::new(verb).unwrap();
        let subject = Subject::Service { service, verb }.to_string();
        let answer = self.thief.request(&subject, body, ANSWER).await.unwrap();
        reply::decode::<Value>(&answer).unwrap_err().code.to_string()
    }

    /// Sends a body to a verb of each service that has any.
    async fn to_services(&self, body: &[u8]) -> String {
        let mut found = BTreeSet::new();
        for service in Service::ALL {
            for route in ROUTES.iter().filter(|route| route.service == service) {
                found.insert(self.to_service(service, route.verb, body).await);
            }
        }
        found.into_iter().collect::<Vec<_>>().join(" and ")
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    async fn of_schema(&self, schema: &str) -> String {
        let verb = VerbName::new("jobs-list").unwrap();
        let service = Service::Scheduler;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(envelope::SCHEMA, schema);
        let subject = Subject::Service { service, verb }.to_string();
        let asked = self
            .thief
            .client()
            .request_with_headers(subject, headers, vec![0xa0].into());
        let answer = tokio::time::timeout(ANSWER, asked).await.unwrap().unwrap();
        reply::decode::<Value>(&answer.payload).unwrap_err().code.to_string()
    }

    async fn to_agent(&self, guid: Guid, verb: &str, body: &[u8]) -> String {
        let subject = trust::subject(&guid, "script", verb);
        let answer = self.thief.request(&subject, body, ANSWER).await.unwrap();
        reply::decode::<Accepted>(&answer).unwrap_err().code.to_string()
    }

    async fn order_to(&self, guid: Guid, order: &SignedOrder) -> String {
        trust::send(&self.thief, &guid, order).await.unwrap_err().to_string()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.fleet.server.ready().url)
    }

    fn signed(&self, path: &str, signed: &[u8], command: CommandId, named: CommandId) -> reqwest::RequestBuilder {
        let now = SystemClock.now();
        let proof = Proof::new(&self.token.key, self.session, command, now, "POST", path, signed);
        self.http
            .post(self.url(path))
            .bearer_auth(&self.token.biscuit)
            .header(IDEMPOTENCY_HEADER, named.to_string())
            .header(SIGNATURE_HEADER, proof.header())
            .header("content-type", "application/json")
    }

    /// Posts a body as an operator who may do everything.
    async fn post(&self, path: &str, body: Vec<u8>) -> String {
        let command = random::id();
        problem(self.signed(path, &body, command, command).body(body)).await
    }

    async fn post_signed(&self, body: Vec<u8>, signed: &[u8], other_command: bool) -> String {
        let command = random::id();
        let named = if other_command { random::id() } else { command };
        problem(self.signed("/api/v1/jobs", signed, command, named).body(body)).await
    }

    fn code(&self) -> InstallerCode {
        let code = self.fleet.json(&["codes", "create", "--json"]);
        InstallerCode::parse(code["code"].as_str().unwrap()).unwrap()
    }

    /// Asks for enrolment honestly, and proves it over a nonce that the server did not give.
    async fn proof_over_another_nonce(&self) -> String {
        let key = random::signing_key();
        let exchange_key = PublicKey::from_bytes([9; 32]);
        let nonce = "A".repeat(43);
        let (code, public_key) = (self.code(), PublicKey::of(&key));
        let facts = host_facts("forger", &"0".repeat(64));
        let asked = CodeUse {
            ca_sha256: code.ca_sha256(),
            public_key: &public_key,
            exchange_key: &exchange_key,
            client_nonce: &nonce,
            facts: &facts,
        };
        let request = EnrollRequest {
            code_key: code.public_key(),
            code_proof: asked.sign(&code),
            public_key,
            exchange_key,
            exchange_key_signature: sign(&key, Form::ExchangeKey, &[exchange_key.as_bytes()]),
            client_nonce: nonce.clone(),
            facts,
        };
        let post = |path: &str, body: Vec<u8>| {
            let request = self.http.post(self.url(path));
            request.header("content-type", "application/json").body(body)
        };
        let asked = post("/api/v1/enroll/request", serde_json::to_vec(&request).unwrap());
        let answer = asked.send().await.unwrap().bytes().await.unwrap();
        let challenge: EnrollChallenge = serde_json::from_slice(&answer).unwrap();
        let reference = challenge.reference.to_string();
        let fields: [&[u8]; 3] = [nonce.as_bytes(), reference.as_bytes(), nonce.as_bytes()];
        let poll = EnrollPoll {
            reference: challenge.reference,
            signature: sign(&key, Form::Enroll, &fields),
        };
        problem(post("/api/v1/enroll/poll", serde_json::to_vec(&poll).unwrap())).await
    }

    /// Starts an agent with an installer code, waits for its end, and returns its exit code and what it printed.
    async fn enrol_with(&self, code: &str) -> (i32, String) {
        let root = TempDir::new().unwrap();
        let screen = std::fs::File::create(root.path().join("screen.txt")).unwrap();
        let url = &self.fleet.server.ready().url;
        let mut child = Command::new(programs::built("borealis-agent").unwrap())
            .args(["run", "--server-url", url, "--root"])
            .arg(root.path())
            .env("BOREALIS_INSTALLER_CODE", code)
            .stdin(Stdio::null())
            .stdout(screen.try_clone().unwrap())
            .stderr(screen)
            .spawn()
            .unwrap();
        let status = eventually_within("the agent's end", PATIENCE, async || child.try_wait().unwrap()).await;
        if status.is_err() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let text = std::fs::read_to_string(root.path().join("screen.txt")).unwrap();
        let status = status.unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(!root.path().join("Certificates/Agent/Identity/SYSTEM/guid.txt").exists());
        (status.code().unwrap_or(-1), text)
    }

    fn cli_as(&self, token: &str, args: &[&str]) -> Output {
        let ready = self.fleet.server.ready();
        Command::new(programs::built("borealis").unwrap())
            .args(args)
            .env("BOREALIS_URL", &ready.url)
            .env("BOREALIS_CA", &ready.ca)
            .env("BOREALIS_TOKEN", token)
            .env_remove("BOREALIS_ROOT")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Fills the disk under the agent while a script runs: a new one is refused, the old one's end is not lost.
    async fn full_agent(&self) -> String {
        let dir = TempDir::new().unwrap();
        let (effect, effect_text) = shared(&dir, "effect");
        let (go, go_text) = shared(&dir, "go");
        let script = format!("echo run >> {effect_text}; while [ ! -e {go_text} ]; do sleep 0.05; done; exit 5");
        let long = self.fleet.follow(&script, &[]);
        file_says(&effect, "the script to run").await;
        let filler = fill(&self.disks.join("agent"), 0);
        let (never, never_text) = shared(&dir, "never");
        let (shown, _) = outcome(self.fleet.follow(&format!("echo no > {never_text}"), &[]));
        assert!(!never.exists(), "a refused script ran");
        std::fs::write(&go, "").unwrap();
        let (ended, last) = outcome(long);
        assert_eq!(
            (ended.as_str(), last["state"].as_str()),
            ("exit 5", Some("failed")),
            "{last}"
        );
        assert_eq!(std::fs::read_to_string(&effect).unwrap(), "run\n");
        std::fs::remove_file(filler).unwrap();
        shown
    }

    /// Fills the disk under the server until it takes no more jobs: those that it took are there, and done, once there is room.
    async fn full_server(&self, padding_lines: usize, free_bytes: u64) -> String {
        let dir = TempDir::new().unwrap();
        let (file, text) = shared(&dir, "script.sh");
        let (effects, effects_text) = shared(&dir, "effects");
        let guid = self.guid.to_string();
        let before = self.processes();
        let mut taken = Vec::new();
        let mut filler = None;
        let refused = loop {
            let number = taken.len();
            assert!(number < 500, "the full disk is not felt");
            // A large script is another one each time and needs room of its own; a small one is stored once.
            let padding: String = (0..padding_lines).map(|line| format!("#{number} {line}\n")).collect();
            std::fs::write(&file, format!("echo run >> {effects_text}\n{padding}")).unwrap();
            let out = self
                .fleet
                .cli(&["run", "--device", &guid, "--lang", "sh", "--json", "--file", &text]);
            if !out.status.success() {
                break exit_and_code(&out);
            }
            let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
            taken.push(answer["job"].as_str().unwrap().to_owned());
            if number == 2 {
                filler = Some(fill(&self.disks.join("server"), free_bytes));
            }
        };
        eprintln!(
            "{} jobs were taken before the disk was felt; then: {refused}",
            taken.len()
        );
        std::fs::remove_file(filler.expect("jobs are taken while there is room")).unwrap();
        for (number, job) in taken.iter().enumerate() {
            let state = eventually_within("an acknowledged job to be done", PATIENCE, async || {
                let out = self.fleet.cli(&["jobs", "show", job, "--json"]);
                let shown: Value = serde_json::from_slice(&out.stdout).ok()?;
                (shown["counts"]["succeeded"] == 1).then_some(())
            });
            state.await.unwrap_or_else(|error| {
                let out = self.fleet.cli(&["jobs", "show", job, "--json"]);
                panic!("job {number}: {error}: {}", said(&out))
            });
        }
        let after = self.processes();
        let anew: Vec<_> = before
            .iter()
            .filter(|(name, pid)| after.get(*name) != Some(pid))
            .collect();
        eprintln!("started anew meanwhile: {anew:?}");
        // The one that was refused may have been taken after all: its answer was lost, not its command.
        let ran = std::fs::read_to_string(effects).unwrap().lines().count();
        assert!(
            ran == taken.len() || ran == taken.len() + 1,
            "{} jobs were acknowledged, {ran} ran",
            taken.len()
        );
        refused.rsplit(' ').next().unwrap().to_owned()
    }
}

/// Sends a request and returns the code of the problem that answers it.
async fn problem(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    let code = problem["code"]
        .as_str()
        .unwrap_or_else(|| panic!("{status}: {problem}"));
    let known = borealis_bus_schema::codes::Code::ALL
        .iter()
        .find(|known| known.as_str() == code);
    assert_eq!(known.map(|known| known.http_status()), Some(status), "{problem}");
    code.to_owned()
}

fn exit_of(out: &Output) -> String {
    let code = out
        .status
        .code()
        .unwrap_or_else(|| panic!("ended by a signal: {}", said(out)));
    assert!(!out.stderr.is_empty() || !out.stdout.is_empty(), "it says nothing");
    format!("exit {code}")
}

/// Returns the exit code of the command line and the code that it printed.
fn exit_and_code(out: &Output) -> String {
    let found = [&out.stdout, &out.stderr]
        .into_iter()
        .flat_map(|bytes| lines(bytes))
        .find_map(|line| Some(line["error"]["code"].as_str()?.to_owned()));
    let code = found.unwrap_or_else(|| panic!("no code: {}", said(out)));
    format!("{} {code}", exit_of(out))
}

/// Follows a run to its end and says how the command line shows it.
fn outcome(followed: Followed) -> (String, Value) {
    let (code, found) = followed.finish();
    let last = found.into_iter().rfind(|line| line["final"] == true).unwrap();
    let mut shown = format!("exit {code}");
    if let Some(code) = last["code"].as_str() {
        shown.push_str(&format!(" {code}"));
    }
    if last["truncated"] == true {
        shown.push_str(" truncated");
    }
    (shown, last)
}

/// Starts a server that is expected to end at once.
fn start(root: &Path, dependencies: &Path, listen: &str) -> Output {
    Command::new(programs::built("borealis-server").unwrap())
        .args(["up", "--nats-listen", "127.0.0.1:0", "--listen", listen, "--root"])
        .arg(root)
        .env("BOREALIS_DEPENDENCIES", std::fs::canonicalize(dependencies).unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Writes a file until its disk has so many bytes left, and returns its path.
fn fill(disk: &Path, free_bytes: u64) -> PathBuf {
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let room = disk.join("room");
    std::fs::write(&room, vec![0x55; usize::try_from(free_bytes).unwrap()]).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        let bytes = vec![0x55; size];
        loop {
            match file.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    std::fs::remove_file(room).unwrap();
    path
}
