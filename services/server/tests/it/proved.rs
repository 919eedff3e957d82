//! A gateway that was taken over: it holds the gateway's own key, keeps every byte that passes in both directions, and tries
//! what it has for itself. Codes and links pass it when they are minted and when they are used, and it gets nothing for it.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::seeds::{LinkSecret, Purpose};
use borealis_service_kit::random;
use borealis_test_support::eventually_within;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fleet::{Fleet, LinkFile, PATIENCE, https, lines, said};

const PASSWORD: &str = "correct horse battery staple";

/// Holds what passed, a buffer for each connection and direction.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// Is a request that passed.
#[derive(Clone)]
struct Passed {
    head: String,
    sent: String,
    body: Value,
}

/// Is the gateway that was taken over.
struct Thief {
    url: String,
    heard: Heard,
    http: reqwest::Client,
}

impl Thief {
    /// Takes the gateway's key and stands before the server.
    async fn start(fleet: &Fleet) -> Self {
        let paths = fleet.server.paths();
        let provider = || Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::pem_file_iter(paths.leaf_pem("gateway")).unwrap();
        let key = PrivateKeyDer::from_pem_file(paths.leaf_key("gateway")).unwrap();
        let shown = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(paths.ca_pem()).unwrap())
            .unwrap();
        let asked = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let genuine = reqwest::Url::parse(&fleet.server.ready().url).unwrap();
        let genuine = SocketAddr::from(([127, 0, 0, 1], genuine.port().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let heard = Heard::default();
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(shown)), TlsConnector::from(Arc::new(asked)));
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let passing = pass(acceptor.clone(), connector.clone(), stream, genuine, Arc::clone(&kept));
                tokio::spawn(passing);
            }
        });
        let http = https(&paths.ca_pem());
        Self { url, heard, http }
    }

    /// Runs the command line against this gateway.
    async fn cli(&self, fleet: &Fleet, args: &[&str], input: &str) -> Output {
        let mut command = tokio::process::Command::from(fleet.command(args));
        command
            .env("BOREALIS_URL", &self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if fleet.token.is_empty() {
            command.env_remove("BOREALIS_TOKEN");
        }
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    }

    async fn json(&self, fleet: &Fleet, args: &[&str], input: &str) -> Value {
        let out = self.cli(fleet, args, input).await;
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Sets a password through a link that leads to this gateway.
    async fn set_up(&self, fleet: &Fleet, link: &str, username: &str) -> Value {
        let link = LinkFile::new(link);
        self.json(fleet, &link.set_up(username), PASSWORD).await
    }

    /// Returns the requests to a path as they passed.
    fn requests(&self, path: &str) -> Vec<Passed> {
        let heard = self.heard.lock().unwrap();
        let line = format!("POST {path} HTTP/1.1\r\n");
        let mut found = Vec::new();
        for bytes in heard.iter() {
            let text = String::from_utf8_lossy(bytes);
            for (at, _) in text.match_indices(&line) {
                let (head, rest) = text[at..].split_once("\r\n\r\n").unwrap();
                let mut bodies = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                let body = bodies.next().unwrap().unwrap();
                let sent = rest[..bodies.byte_offset()].to_owned();
                found.push(Passed {
                    head: head.to_owned(),
                    sent,
                    body,
                });
            }
        }
        assert!(!found.is_empty(), "nothing was sent to {path}");
        found
    }

    /// Sends what it likes, with the head of a request that passed, and returns status and code of the answer.
    async fn send(&self, fleet: &Fleet, path: &str, head: &str, body: String) -> (u16, Value) {
        let url = format!("{}{path}", fleet.server.ready().url);
        let mut request = self.http.post(url).body(body);
        for name in ["authorization", "idempotency-key", "borealis-signature", "content-type"] {
            let value = head.lines().filter_map(|line| line.split_once(": "));
            if let Some((_, value)) = value.clone().find(|(found, _)| found.eq_ignore_ascii_case(name)) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn refused(&self, fleet: &Fleet, path: &str, head: &str, body: &Value) -> String {
        let (status, answer) = self.send(fleet, path, head, body.to_string()).await;
        answer["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{status}: {answer}"))
            .to_owned()
    }

    /// Tells whether bytes passed, as they are or in an encoding that somebody might have used.
    fn saw(&self, bytes: &[u8]) -> Option<String> {
        let texts = [HEXLOWER, HEXUPPER, BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD].map(|form| form.encode(bytes));
        let heard = self.heard.lock().unwrap();
        let holds = |wanted: &[u8]| {
            heard
                .iter()
                .any(|passed| passed.windows(wanted.len()).any(|part| part == wanted))
        };
        if holds(bytes) {
            return Some("as it is".to_owned());
        }
        texts.into_iter().find(|text| {
            // The last letter of a text may hold bits of whatever stands behind it.
            holds(&text.as_bytes()[..text.len() - 1])
        })
    }
}

/// Passes one connection on, and keeps a copy.
async fn pass(acceptor: TlsAcceptor, connector: TlsConnector, stream: TcpStream, genuine: SocketAddr, heard: Heard) {
    let Ok(client) = acceptor.accept(stream).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(genuine).await else {
        return;
    };
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(server) = connector.connect(name, server).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (tokio::io::split(client), tokio::io::split(server));
    tokio::join!(
        copy(from_client, to_server, Arc::clone(&heard)),
        copy(from_server, to_client, heard)
    );
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, heard: Heard) {
    let place = {
        let mut heard = heard.lock().unwrap();
        heard.push(Vec::new());
        heard.len() - 1
    };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        heard.lock().unwrap()[place].extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

fn secret_of(link: &str) -> LinkSecret {
    LinkSecret::parse(link.split_once('#').unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_gateway_that_keeps_every_byte_gets_no_code_no_link_and_no_account() {
    let mut fleet = Fleet::bare().await;
    let thief = Thief::start(&fleet).await;
    let mut secrets: Vec<Vec<u8>> = vec![PASSWORD.as_bytes().to_vec()];
    let keep_link = |link: &str, secrets: &mut Vec<Vec<u8>>| {
        let secret = secret_of(link);
        secrets.push(BASE64URL_NOPAD.decode(secret.reveal().as_bytes()).unwrap());
        secrets.push(secret.key().to_bytes().to_vec());
    };

    // The first operator, an invitation, a reset, a code and a device: all of it passes the thief.
    let genuine = fleet.server.ready().setup_link.clone().unwrap();
    let setup_link = genuine.replace(&fleet.server.ready().url, &thief.url);
    fleet.token = thief.set_up(&fleet, &setup_link, "ada").await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    keep_link(&setup_link, &mut secrets);
    let invite = async |username: &str| {
        let args = ["users", "invite", "--username", username, "--role", "viewer", "--json"];
        thief.json(&fleet, &args, "").await["link"].as_str().unwrap().to_owned()
    };
    let (bobs, carols) = (invite("bob").await, invite("carol").await);
    thief.set_up(&fleet, &bobs, "bob").await;
    let reset = thief.json(&fleet, &["users", "reset", "bob", "--json"], "").await;
    let renewed = reset["link"].as_str().unwrap();
    for link in [&bobs, &carols, renewed] {
        assert!(link.starts_with(&thief.url), "{link}");
        keep_link(link, &mut secrets);
    }
    let mint = ["codes", "create", "--uses", "9", "--auto-approve", "--json"];
    let minted = thief.json(&fleet, &mint, "").await;
    let text = minted["code"].as_str().unwrap();
    let code = InstallerCode::parse(text).unwrap();
    let raw = BASE32_NOPAD.decode(&text.as_bytes()[5..]).unwrap();
    secrets.extend([
        text.as_bytes().to_vec(),
        raw[..16].to_vec(),
        code.key().to_bytes().to_vec(),
    ]);
    assert_eq!(
        Purpose::InstallerCode.key_of(&raw[..16]).to_bytes(),
        code.key().to_bytes()
    );
    fleet.add_agent_at(&thief.url, text);
    let device = fleet.all_online().await.remove(0);

    // It saw all of it, and not one secret in any form.
    for public in [
        code.public_key(),
        secret_of(&bobs).public_key(),
        secret_of(&setup_link).public_key(),
    ] {
        assert!(
            thief.saw(public.as_bytes()).is_some(),
            "the thief does not see what passes"
        );
    }
    for secret in &secrets {
        assert_eq!(thief.saw(secret), None, "a secret passed the gateway");
    }

    // With the request of the device: a device of its own.
    let path = "/api/v1/enroll/request";
    let Passed { head, body: seen, .. } = thief.requests(path).remove(0);
    assert_eq!(seen["code_key"], json!(code.public_key()));
    let key = random::signing_key();
    let mut own = seen.clone();
    own["public_key"] = json!(PublicKey::of(&key));
    let fields: [&[u8]; 1] = [&BASE64URL_NOPAD
        .decode(seen["exchange_key"].as_str().unwrap().as_bytes())
        .unwrap()];
    let signed = borealis_bus_schema::forms::sign(&key, borealis_bus_schema::forms::Form::ExchangeKey, &fields);
    own["exchange_key_signature"] = json!(signed);
    assert_eq!(thief.refused(&fleet, path, &head, &own).await, "proof_invalid");
    let mut renamed = seen.clone();
    renamed["facts"]["hostname"] = json!("thief");
    assert_eq!(thief.refused(&fleet, path, &head, &renamed).await, "proof_invalid");
    let stranger = InstallerCode::new(random::bytes(), *code.ca_sha256());
    let mut unknown = own.clone();
    unknown["code_key"] = json!(stranger.public_key());
    assert_eq!(thief.refused(&fleet, path, &head, &unknown).await, "code_invalid");

    // With the request that minted it: a code of its own.
    let path = "/api/v1/codes";
    let Passed { head, sent, body: seen } = thief.requests(path).remove(0);
    let mut own = seen.clone();
    own["public_key"] = json!(stranger.public_key());
    assert_eq!(thief.refused(&fleet, path, &head, &own).await, "signature_invalid");
    let (status, again) = thief.send(&fleet, path, &head, sent).await;
    // Sent once more it is the same command, or too old; never a second code.
    assert!(
        (status == 200 && again["id"] == minted["id"]) || again["code"] == "signature_expired",
        "{again}"
    );

    // With invitations and resets: an account of its own.
    let path = "/api/v1/users";
    let Passed { head, body: seen, .. } = thief.requests(path).remove(0);
    let own_link = LinkSecret::new(random::bytes());
    let mut own = seen.clone();
    own["link"] = json!(own_link.public_key());
    assert_eq!(thief.refused(&fleet, path, &head, &own).await, "signature_invalid");
    let path = "/api/v1/setup";
    let seen = thief.requests(path);
    let steps = |step: &str, username: &str| {
        let found = seen
            .iter()
            .find(|passed| passed.body["step"] == step && passed.body["username"] == username);
        found.cloned().unwrap()
    };
    let Passed { head, body: finish, .. } = steps("finish", "bob");
    assert_eq!(thief.refused(&fleet, path, &head, &finish).await, "link_used");
    let mut on_renewed = finish.clone();
    on_renewed["link"] = json!(secret_of(renewed).public_key());
    assert_eq!(thief.refused(&fleet, path, &head, &on_renewed).await, "proof_invalid");
    let mut as_carol = finish.clone();
    as_carol["link"] = json!(secret_of(&carols).public_key());
    as_carol["username"] = json!("carol");
    assert_eq!(thief.refused(&fleet, path, &head, &as_carol).await, "proof_invalid");
    let mut begun = steps("start", "bob").body;
    begun["link"] = json!(secret_of(&carols).public_key());
    begun["username"] = json!("carol");
    assert_eq!(thief.refused(&fleet, path, &head, &begun).await, "proof_invalid");
    let first = steps("finish", "ada").body;
    assert_eq!(thief.refused(&fleet, path, &head, &first).await, "setup_closed");

    // Nothing came of it: one device, one code, three operators of whom one may log in with a password.
    let listed = |args: &[&str]| lines(&fleet.cli(args).stdout);
    assert_eq!(listed(&["devices", "list", "--json"]).len(), 1);
    assert_eq!(fleet.devices()[0]["guid"], device["guid"]);
    assert!(listed(&["approvals", "list", "--json"]).is_empty());
    let codes = listed(&["codes", "list", "--json"]);
    assert_eq!((codes.len(), &codes[0]["uses_left"]), (1, &json!(8)));
    let users = listed(&["users", "list", "--json"]);
    let states: Vec<_> = users
        .iter()
        .map(|user| (user["username"].clone(), user["state"].clone()))
        .collect();
    let expected = [("ada", "active"), ("bob", "invited"), ("carol", "invited")];
    assert_eq!(states, expected.map(|(name, state)| (json!(name), json!(state))));

    // The owners' links and the code still work, and a code stops with whoever minted it.
    thief.set_up(&fleet, renewed, "bob").await;
    thief.set_up(&fleet, &carols, "carol").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_code_approves_nothing_once_its_minter_is_disabled() {
    let mut fleet = Fleet::start(0).await;
    let token = fleet.token.clone();
    fleet.token = crate::operators::join(&mut fleet, "bob", &["technician"]);
    let unknown = fleet.cli(&["codes", "create", "--site", "atlantis", "--json"]);
    assert!(said(&unknown).contains("site_unknown"), "{}", said(&unknown));
    let minted = fleet.json(&["codes", "create", "--uses", "9", "--auto-approve", "--json"]);
    let code = minted["code"].as_str().unwrap().to_owned();
    fleet.token = token;
    fleet.add_agent(&code);
    fleet.all_online().await;
    fleet.json(&["users", "disable", "bob", "--json"]);
    fleet.add_agent(&code);
    let waiting = eventually_within("the second device's request", PATIENCE, async || {
        let listed = lines(&fleet.cli(&["approvals", "list", "--json"]).stdout);
        listed.into_iter().next()
    });
    assert_eq!(waiting.await.unwrap()["state"], "pending");
    assert_eq!(fleet.devices().len(), 1);
}
