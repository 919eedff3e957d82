//! A gateway that was taken over, played by the test: it has the gateway's leaf and its bus user, keeps every byte that it
//! saw, and answers as it likes.

use std::sync::{Arc, Mutex};

use borealis_bus_schema::codes::Retry;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, OperatorCall, Proof, SIGNATURE_HEADER};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{ROUTES, Route};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{HOP_LIFE_MS, attenuate};
use borealis_service_kit::bus::{Bus, BusConfig, RequestOptions};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::trust::TrustFile;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fleet::Fleet;

/// Is a request as it came.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The biscuit, as wide as it was minted.
    pub biscuit: Option<String>,
    /// The call, with its proof when it changes something.
    pub call: OperatorCall,
}

/// Says what becomes of the next changing request; reads always get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It gets through and is answered.
    Honest,
    /// It gets through, and the answer is lost.
    LoseAnswer,
    /// It gets through many times at once; one answer goes back.
    Repeat(usize),
    /// It is kept, and refused with a code.
    Keep(&'static str),
}

/// Is the played gateway.
pub struct Played {
    /// Where it listens.
    pub url: String,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    bus: Bus,
    kept: Mutex<Vec<Kept>>,
    deeds: Mutex<Vec<Deed>>,
}

impl Played {
    /// Listens beside the true gateway, with its keys.
    pub async fn start(fleet: &Fleet) -> Self {
        let paths = fleet.server.paths().clone();
        let folder = paths.bus_seed(Service::Gateway).parent().unwrap().to_owned();
        let chain = CertificateDer::pem_file_iter(folder.join("leaf.pem")).unwrap();
        let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let bus = Bus::connect(BusConfig {
            service: Service::Gateway,
            trust: Arc::new(TrustFile::read(&paths).unwrap()),
            paths,
        });
        let inner = Arc::new(Inner {
            bus: bus.await.unwrap(),
            kept: Mutex::default(),
            deeds: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, inner) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await
                        && let Some(answer) = inner.request(&mut stream).await
                    {
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        Self { url, inner, task }
    }

    /// Says what becomes of the next changing requests, one after the other; later ones get through.
    pub fn will(&self, deeds: &[Deed]) {
        *self.inner.deeds.lock().unwrap() = deeds.iter().rev().cloned().collect();
    }

    /// Returns every request that came.
    pub fn kept(&self) -> Vec<Kept> {
        self.inner.kept.lock().unwrap().clone()
    }

    /// Returns the requests that came to a path and were to change something.
    pub fn changes(&self, path: &str) -> Vec<Kept> {
        let fits = |kept: &Kept| kept.call.proof.is_some() && kept.call.path == path;
        self.kept().into_iter().filter(fits).collect()
    }

    /// Sends a call to the service of a route under a biscuit, narrowed as the gateway narrows it.
    pub async fn send(&self, route: &Route, call: &OperatorCall, biscuit: Option<&str>) -> Reply<String> {
        self.inner.send(route, call, biscuit).await
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn send(&self, route: &Route, call: &OperatorCall, biscuit: Option<&str>) -> Reply<String> {
        // What is no token at all is sent as it is.
        let narrow = |biscuit: &str| {
            attenuate(biscuit, route.service, route.need, SystemClock.now(), HOP_LIFE_MS)
                .unwrap_or_else(|_| biscuit.to_owned())
        };
        let options = RequestOptions {
            biscuit: biscuit.map(narrow),
            timeout: Some(std::time::Duration::from_secs(30)),
            ..RequestOptions::default()
        };
        let answer = self.bus.call(route.service, route.verb, call, options).await;
        answer.map(|answer| answer.json)
    }

    /// Takes one request and says what goes back; nothing where the connection is to break.
    async fn request(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let kept = read(stream).await?;
        self.kept.lock().unwrap().push(kept.clone());
        let path = kept.call.path_only();
        let found = ROUTES
            .iter()
            .find(|route| route.matches(&kept.call.method, path).is_some());
        let Some(route) = found else {
            let none = WireError::new(borealis_bus_schema::codes::Code::UnknownRoute, "none");
            return Some(problem(&none));
        };
        let deed = match kept.call.proof {
            Some(_) => self.deeds.lock().unwrap().pop().unwrap_or(Deed::Honest),
            None => Deed::Honest,
        };
        let send = || self.send(route, &kept.call, kept.biscuit.as_deref());
        match deed {
            Deed::Honest => Some(answer(send().await)),
            Deed::LoseAnswer => {
                send().await.unwrap();
                None
            }
            Deed::Repeat(times) => {
                let all = futures_util::future::join_all((0..times).map(|_| send())).await;
                let mut answers = all.into_iter().map(Result::unwrap);
                let first = answers.next().unwrap();
                assert!(answers.all(|other| other == first), "one command, one answer");
                Some(answer(Ok(first)))
            }
            Deed::Keep(code) => Some(http(
                403,
                &format!("{{\"type\":\"about:blank\",\"status\":403,\"title\":\"no\",\"code\":\"{code}\"}}"),
            )),
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Kept> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|found| found == b"\r\n\r\n") {
            break at + 4;
        }
        let read = stream.read_buf(&mut bytes).await.ok()?;
        if read == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let header = |name: &str| {
        let wanted = name.to_ascii_lowercase();
        headers
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.clone())
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let command: Option<CommandId> = header(IDEMPOTENCY_HEADER).and_then(|text| text.parse().ok());
    let proof = command.zip(header(SIGNATURE_HEADER));
    Some(Kept {
        biscuit: header("authorization").and_then(|text| Some(text.strip_prefix("Bearer ")?.to_owned())),
        call: OperatorCall {
            method,
            path,
            body: bytes[end..end + length].to_vec(),
            proof: proof.map(|(command, text)| Proof::parse(&text, command).unwrap()),
            peer: "127.0.0.1".to_owned(),
        },
    })
}

fn answer(reply: Reply<String>) -> String {
    match reply {
        Ok(json) => http(200, &json),
        Err(error) => problem(&error),
    }
}

fn problem(error: &WireError) -> String {
    let status = if error.code.retry() == Retry::Later { 503 } else { 403 };
    let body = serde_json::json!({
        "type": "about:blank", "status": status, "title": error.message, "code": error.code,
    });
    http(status, &body.to_string())
}

fn http(status: u16, body: &str) -> String {
    let kind = if status == 200 {
        "application/json"
    } else {
        "application/problem+json"
    };
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
