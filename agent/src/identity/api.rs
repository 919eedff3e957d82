//! The server's HTTPS routes for devices.

use crate::tls::{self, TlsError};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry};
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Is the largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// Says why the server's answer is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is not `https://host[:port]`.
    #[error("the server's address must be https://HOST[:PORT], without a path: {url}")]
    Address {
        /// What was given.
        url: String,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The server is not the one that the code or the identity names.
    #[error("the server is another one: its certificate does not come from the CA that this code or identity names")]
    Untrusted(#[source] reqwest::Error),
    /// The server refused.
    #[error("the server refused: {detail} ({code})")]
    Refused {
        /// With this code.
        code: Code,
        /// Whether to try again.
        retry: Retry,
        /// What it said.
        detail: String,
    },
    /// The answer is none of ours.
    #[error("the server answered {status}, which is no answer of Borealis")]
    Strange {
        /// The HTTP status.
        status: u16,
    },
    /// A signature or a random number could not be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

impl ApiError {
    /// Tells whether the same may work later.
    pub fn may_pass(&self) -> bool {
        match self {
            ApiError::Unreachable(_) | ApiError::Strange { .. } => true,
            ApiError::Refused { retry, .. } => *retry != Retry::Never,
            ApiError::Address { .. } | ApiError::Tls(_) | ApiError::Untrusted(_) | ApiError::Request(_) => false,
        }
    }
}

/// Is what the problem of RFC 9457 says.
#[derive(Deserialize)]
struct Problem {
    code: Code,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

/// Asks the server's routes for devices.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
}

impl Api {
    /// Makes it for a server and whom to trust.
    ///
    /// Errors: [`ApiError::Address`] for anything but https.
    pub fn new(server_url: &str, tls: ClientConfig, keep_connections: usize) -> Result<Self, ApiError> {
        let base = checked(server_url)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(keep_connections)
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .user_agent(concat!("borealis-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ApiError::Unreachable)?;
        Ok(Self { base, client })
    }

    /// Makes it for a device that knows its CA root.
    ///
    /// Errors: as [`Api::new`].
    pub fn of_root(server_url: &str, ca_pem: &str, keep_connections: usize) -> Result<Self, ApiError> {
        let config = tls::trusting(&tls::root_of_pem(ca_pem)?)?;
        Self::new(server_url, config, keep_connections)
    }

    /// Posts a body and reads the answer.
    ///
    /// Errors: [`ApiError`].
    pub async fn post<B: Serialize + Sync, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::Request(error.to_string()))?;
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(body);
        let mut answer = request.send().await.map_err(unreached)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(ApiError::Unreachable)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(ApiError::Strange {
                    status: status.as_u16(),
                });
            }
        }
        read(status, &bytes)
    }
}

/// Tells a server that is another one from a server that is not there.
fn unreached(error: reqwest::Error) -> ApiError {
    if of_another_ca(&error) {
        ApiError::Untrusted(error)
    } else {
        ApiError::Unreachable(error)
    }
}

/// Tells whether an error comes from a certificate of another CA.
fn of_another_ca(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(
            tls,
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature
            )
        );
    }
    // The source of an I/O error is that of what it wraps, not what it wraps.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| of_another_ca(inner)) || error.source().is_some_and(of_another_ca)
}

fn read<A: DeserializeOwned>(status: StatusCode, bytes: &[u8]) -> Result<A, ApiError> {
    let strange = |_| ApiError::Strange {
        status: status.as_u16(),
    };
    if status.is_success() {
        return codec::decode_json(bytes, MAX_ANSWER_BYTES).map_err(strange);
    }
    let problem: Problem = codec::decode_json(bytes, MAX_ANSWER_BYTES).map_err(strange)?;
    Err(ApiError::Refused {
        code: problem.code,
        retry: problem.code.retry(),
        detail: problem.detail.or(problem.title).unwrap_or_default(),
    })
}

/// Takes `https://host[:port]` and nothing else.
fn checked(url: &str) -> Result<String, ApiError> {
    let base = url.trim().trim_end_matches('/');
    let host = base.strip_prefix("https://").unwrap_or_default();
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '\\']);
    let is_url = reqwest::Url::parse(base).is_ok_and(|url| url.scheme() == "https" && url.host().is_some());
    if is_host && is_url {
        Ok(base.to_owned())
    } else {
        Err(ApiError::Address {
            url: url.chars().take(200).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_address_then_only_https_and_a_host_are_taken() {
        for url in [
            "https://localhost:5000",
            " https://127.0.0.1:5000/ ",
            "https://[::1]:5000",
        ] {
            assert!(checked(url).is_ok(), "{url}");
        }
        for url in [
            "http://localhost:5000",
            "localhost:5000",
            "https://",
            "https://u:p@h",
            "https://h/x",
            "https://h?x",
            "ftp://h",
            "",
        ] {
            assert!(matches!(checked(url), Err(ApiError::Address { .. })), "{url}");
        }
    }

    #[test]
    fn given_a_problem_then_its_code_decides() {
        let body = br#"{"type":"about:blank","title":"no","status":403,"code":"code_used","retry":"never"}"#;
        let error = read::<u8>(StatusCode::FORBIDDEN, body).unwrap_err();
        assert!(
            matches!(
                error,
                ApiError::Refused {
                    code: Code::CodeUsed,
                    ..
                }
            ) && !error.may_pass()
        );
        let strange = read::<u8>(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err();
        assert!(matches!(strange, ApiError::Strange { status: 502 }) && strange.may_pass());
    }
}
