//! The one way to the server: HTTPS that trusts the deployment's CA only, changes signed by the session key, and patience
//! while server processes start anew.
//!
//! A change carries a command id, so that sending it again after a lost answer is the same command.

use std::cell::{Cell, OnceCell};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec::MAX_JSON_BYTES;
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::{CommandId, SessionId};
use borealis_bus_schema::messages::access::SessionInfo;
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, OperatorToken, Proof, SIGNATURE_HEADER};
use rand::{Rng, RngCore};
use reqwest::{Client, Method, Url, header};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::clock;
use crate::connection::Connection;
use crate::error::CliError;

/// Is how long an answer may take, besides what a long poll waits.
const ANSWER: Duration = Duration::from_secs(45);

/// Is how long to go on trying a server that never answered this program.
const NEVER_REACHED: Duration = Duration::from_secs(4);

/// Is how long to go on trying a server that answered before.
const ORDINARY: Duration = Duration::from_secs(30);

/// Is how long to go on trying while output is followed.
pub const FOLLOWING: Duration = Duration::from_secs(240);

/// Is the largest answer that is taken.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Reaches the server.
pub struct Api {
    client: Client,
    base: Url,
    token: Option<OperatorToken>,
    session: OnceCell<SessionId>,
    ca_sha256: [u8; 32],
    reached: Cell<bool>,
    patience: Cell<Duration>,
}

/// Is one request.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: &'a [u8],
    change: Option<CommandId>,
    public: bool,
}

impl Api {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// Errors: [`CliError::Usage`] for a URL that is not `https://host[:port]` or a CA that is no certificate.
    pub fn new(connection: Connection) -> Result<Self, CliError> {
        let base = base_url(&connection.url)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls(&connection.ca_pem)?)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| CliError::Usage(format!("HTTPS cannot be set up: {e}")))?;
        let ca_sha256 = first_hash(&connection.ca_pem)?;
        let session = connection.session.map_or_else(OnceCell::new, OnceCell::from);
        Ok(Self {
            client,
            base,
            token: connection.token,
            session,
            ca_sha256,
            reached: Cell::new(false),
            patience: Cell::new(ORDINARY),
        })
    }

    /// Returns the server's address without a path.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Returns the SHA-256 of the CA certificate that is trusted, the first one where there are several.
    pub fn ca_sha256(&self) -> &[u8; 32] {
        &self.ca_sha256
    }

    /// Sets how long a server that answered before may be away.
    pub fn be_patient(&self, patience: Duration) {
        self.patience.set(patience);
    }

    /// Reads.
    ///
    /// Errors: [`CliError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let call = Call {
            method: Method::GET,
            path,
            body: b"",
            change: None,
            public: false,
        };
        decode(&self.send(&call).await?)
    }

    /// Sends to a route whose body proves itself: set-up and log-in.
    ///
    /// Errors: [`CliError`].
    pub async fn post_public<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CliError> {
        let body = encode(body)?;
        let call = Call {
            method: Method::POST,
            path,
            body: &body,
            change: None,
            public: true,
        };
        decode(&self.send(&call).await?)
    }

    /// Changes something: signs the exact bytes with the session key.
    ///
    /// Errors: [`CliError`].
    pub async fn change<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CliError> {
        let mut id = [0u8; 16];
        rand::rngs::OsRng.fill_bytes(&mut id);
        self.change_as(CommandId::from_bytes(id), path, body).await
    }

    /// Changes something under a command id that is known: the same one again gets the first answer.
    ///
    /// Errors: [`CliError`].
    pub async fn change_as<B: Serialize, T: DeserializeOwned>(
        &self,
        command: CommandId,
        path: &str,
        body: &B,
    ) -> Result<T, CliError> {
        let body = encode(body)?;
        self.session().await?;
        let call = Call {
            method: Method::POST,
            path,
            body: &body,
            change: Some(command),
            public: false,
        };
        decode(&self.send(&call).await?)
    }

    /// Returns the session's id, asking for it once.
    ///
    /// Errors: [`CliError`].
    pub async fn session(&self) -> Result<SessionId, CliError> {
        if let Some(session) = self.session.get() {
            return Ok(*session);
        }
        let info: SessionInfo = self.get("/api/v1/session").await?;
        Ok(*self.session.get_or_init(|| info.session_id))
    }

    /// Sends until it is answered or patience ends.
    async fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, CliError> {
        let (began, mut pause_ms) = (Instant::now(), 100u64);
        loop {
            let error = match self.send_once(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let patience = if self.reached.get() {
                self.patience.get()
            } else {
                NEVER_REACHED
            };
            if !error.is_passing() || began.elapsed() >= patience {
                return Err(error);
            }
            let jitter = rand::thread_rng().gen_range(0..=pause_ms / 2);
            tokio::time::sleep(Duration::from_millis(pause_ms + jitter)).await;
            pause_ms = (pause_ms * 2).min(2_000);
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<Vec<u8>, CliError> {
        let url = self.target(call.path)?;
        let mut request = self.client.request(call.method.clone(), url).timeout(ANSWER);
        if !call.public {
            let token = self.token.as_ref().ok_or(CliError::TokenMissing)?;
            request = request.bearer_auth(&token.biscuit);
            if let (Some(command), Some(session)) = (call.change, self.session.get()) {
                let method = call.method.as_str();
                let proof = Proof::new(
                    &token.key,
                    *session,
                    command,
                    clock::now(),
                    method,
                    call.path,
                    call.body,
                );
                request = request
                    .header(IDEMPOTENCY_HEADER, command.to_string())
                    .header(SIGNATURE_HEADER, proof.header());
            }
        }
        if call.method == Method::POST {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(call.body.to_vec());
        }
        let mut response = request.send().await.map_err(|e| self.unreachable(&e))?;
        self.reached.set(true);
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(CliError::Answer(format!("it is larger than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            Err(CliError::from_problem(status.as_u16(), &body))
        }
    }

    /// Joins the server's address and a path with query; what is signed is exactly what is sent.
    fn target(&self, path: &str) -> Result<Url, CliError> {
        let url = self.base.join(path).map_err(|e| CliError::Usage(e.to_string()))?;
        let sent = url
            .query()
            .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        if url.host() == self.base.host() && sent == path {
            Ok(url)
        } else {
            Err(CliError::Usage(format!("{path:?} is no path of the API")))
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut reason = Vec::new();
        let mut cause: Option<&dyn Error> = error.source();
        while let Some(error) = cause {
            reason.push(error.to_string());
            cause = error.source();
        }
        reason.dedup();
        if reason.is_empty() {
            reason.push(
                if error.is_timeout() {
                    "no answer in time"
                } else {
                    "the connection failed"
                }
                .to_owned(),
            );
        }
        CliError::Unreachable {
            url: self.url().to_owned(),
            reason: reason.join(": "),
        }
    }
}

fn encode<B: Serialize>(body: &B) -> Result<Vec<u8>, CliError> {
    let bytes = serde_json::to_vec(body).map_err(|e| CliError::Usage(e.to_string()))?;
    if bytes.len() > MAX_JSON_BYTES {
        let size = bytes.len();
        let told = format!("the request has {size} bytes; the server takes at most {MAX_JSON_BYTES}");
        return Err(CliError::Usage(told));
    }
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| CliError::Answer(e.to_string()))
}

/// Percent-encodes what goes into a path or a query.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn base_url(text: &str) -> Result<Url, CliError> {
    let bad = || CliError::Usage(format!("{text:?} is no address of a server: https://host:port"));
    let url = Url::parse(text.trim()).map_err(|_| bad())?;
    let plain = url.scheme() == "https"
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(bad()) }
}

/// Hashes the first certificate.
fn first_hash(ca_pem: &str) -> Result<[u8; 32], CliError> {
    let first = CertificateDer::pem_slice_iter(ca_pem.as_bytes()).next();
    let none = || CliError::Usage("the CA certificate cannot be used: the file holds none".to_owned());
    Ok(sha256(&first.ok_or_else(none)?.map_err(|_| none())?))
}

/// Trusts one CA only.
///
/// Errors: [`CliError::Usage`] for what is no certificate.
pub fn tls(ca_pem: &str) -> Result<ClientConfig, CliError> {
    let bad = |e: &dyn std::fmt::Display| CliError::Usage(format!("the CA certificate cannot be used: {e}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|e| bad(&e))?;
        roots.add(certificate).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() {
        return Err(bad(&"the file holds none"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_a_server_is_taken() {
        assert!(base_url("https://h:5000").is_ok() && base_url("https://[::1]:5000/").is_ok());
        for bad in [
            "",
            "h:5000",
            "http://h",
            "https://u:p@h",
            "https://h/x",
            "https://h?x",
            "https://h#s",
            "ftp://h",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_server_would_not_take_is_not_sent() {
        let quotes = 2;
        assert!(encode(&"x".repeat(MAX_JSON_BYTES - quotes)).is_ok());
        let refused = encode(&"x".repeat(MAX_JSON_BYTES - quotes + 1));
        assert!(matches!(refused, Err(CliError::Usage(_))));
    }

    #[test]
    fn what_is_put_into_a_path_stays_one_segment() {
        assert_eq!(escape("a/b?c=d e%"), "a%2Fb%3Fc%3Dd%20e%25");
        assert_eq!(escape("ä-_.~1"), "%C3%A4-_.~1");
    }

    #[test]
    fn a_ca_must_be_a_certificate() {
        for bad in [
            "",
            "rubbish",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(tls(bad), Err(CliError::Usage(_))), "{bad}");
        }
    }
}
