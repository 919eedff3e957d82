//! The OPAQUE of the web page (the npm package, under node) against the server's half.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_access::opaque::{Opaque, OpaqueError};
use borealis_bus_schema::forms::{Form, PublicKey};
use rand::rngs::OsRng;
use serde_json::{Value, json};

/// Is the web page's half, alive for one test.
struct Page {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Page {
    fn open() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.join("../..");
        let ui = root.join("ui");
        assert!(
            ui.join("node_modules/@serenity-kit/opaque/package.json").is_file(),
            "the web page's packages are missing: run ./Borealis.sh fetch"
        );
        let mut child = Command::new(node(&root))
            .arg(here.join("tests/it/opaque_client.mjs"))
            .arg(&ui)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, question: Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "node ended");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the pinned node, else the one on the path.
fn node(root: &Path) -> PathBuf {
    let folder = std::env::var_os("BOREALIS_DEPENDENCIES").map_or_else(|| root.join("Dependencies"), PathBuf::from);
    let pinned = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|entry| {
            let node = entry.path().join("bin/node");
            (entry.file_name().to_string_lossy().starts_with("node-") && node.is_file()).then_some(node)
        });
    pinned.unwrap_or_else(|| PathBuf::from("node"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn names() -> Value {
    json!({"client": "ada", "server": "borealis"})
}

fn registered(page: &mut Page, opaque: &Opaque, password: &str) -> Vec<u8> {
    let started = page.ask(json!({"step": "registerStart", "password": password}));
    let answer = opaque.register("ada", text(&started, "registrationRequest")).unwrap();
    let finished = page.ask(json!({
        "step": "registerFinish", "password": password, "identifiers": names(),
        "clientRegistrationState": started["clientRegistrationState"], "registrationResponse": answer,
    }));
    Opaque::record(text(&finished, "registrationRecord")).unwrap()
}

#[test]
fn the_web_pages_package_registers_logs_in_and_binds_its_session_key() {
    let (mut page, opaque) = (Page::open(), Opaque::generate(&mut OsRng));
    let record = registered(&mut page, &opaque, "correct horse");

    let session_key = PublicKey::from_bytes([5; 32]);
    let form = URL_SAFE_NO_PAD.encode(Form::SessionBinding.bytes(&[session_key.as_bytes()]));
    let mut log_in = |record: Option<&[u8]>, password: &str| {
        let started = page.ask(json!({"step": "loginStart", "password": password}));
        let (answer, pending) = opaque
            .start(&mut OsRng, "ada", record, text(&started, "startLoginRequest"))
            .unwrap();
        let finished = page.ask(json!({
            "step": "loginFinish", "password": password, "identifiers": names(), "form": form,
            "clientLoginState": started["clientLoginState"], "loginResponse": answer,
        }));
        (finished, pending)
    };

    let (finished, pending) = log_in(Some(&record), "correct horse");
    let secret = Opaque::finish(pending, "ada", text(&finished, "finishLoginRequest")).unwrap();
    assert!(secret.binds(&session_key, text(&finished, "binding")));
    assert!(!secret.binds(&PublicKey::from_bytes([6; 32]), text(&finished, "binding")));

    // Proofs of one exchange say nothing in another.
    let (_, other) = log_in(Some(&record), "correct horse");
    let replayed = Opaque::finish(other, "ada", text(&finished, "finishLoginRequest"));
    assert_eq!(replayed.err(), Some(OpaqueError::Refused));

    let (wrong, _) = log_in(Some(&record), "battery");
    let (unknown, _) = log_in(None, "correct horse");
    assert_eq!(
        (&wrong, &unknown),
        (&json!({"refused": true}), &json!({"refused": true}))
    );
}
