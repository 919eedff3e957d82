//! The line to access that only it inherits: the set-up secret, and a session of minutes for the first script.
//!
//! Shape: one JSON line asks, one answers; one question at a time.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use borealis_bus_schema::forms::PublicKey;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER_BYTES: u64 = 64 * 1024;

/// Says why access gave no answer; never repeats one.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// Access does not run, or another question is under way.
    #[error("there is no line to access")]
    NoLine,
    /// The line broke.
    #[error("the line to access broke")]
    Io(#[from] io::Error),
    /// Access took too long.
    #[error("access did not answer in time")]
    Slow,
    /// Access answered something else.
    #[error("access answered something that cannot be read")]
    Malformed,
    /// Access refused.
    #[error("access refused: {0}")]
    Refused(String),
}

/// Is a session for the first script.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct BootstrapToken {
    /// The biscuit.
    pub token: String,
    /// The session.
    pub session_id: String,
}

/// Is this end of the line; it changes whenever access is started. Handles are cheap to clone.
#[derive(Clone, Default)]
pub struct Bootstrap(Arc<Mutex<Option<BufReader<UnixStream>>>>);

impl Bootstrap {
    /// Makes a new line, keeps one end and returns the other for the child.
    ///
    /// Errors: the system's.
    pub fn renew(&self) -> io::Result<OwnedFd> {
        let (own, other) = StdStream::pair()?;
        own.set_nonblocking(true)?;
        self.put(Some(BufReader::new(UnixStream::from_std(own)?)));
        Ok(other.into())
    }

    /// Asks for the secret of the set-up link; `None` once there is an operator.
    ///
    /// Errors: access does not answer.
    pub async fn setup_secret(&self) -> Result<Option<String>, BootstrapError> {
        #[derive(Deserialize)]
        struct Answer {
            secret: Option<String>,
        }
        let answer: Answer = self.ask(&json!({"ask": "setup"})).await?;
        Ok(answer.secret)
    }

    /// Asks for a session that ends soon, bound to a key.
    ///
    /// Errors: access refuses or does not answer.
    pub async fn session(&self, key: &PublicKey, lifetime: Duration) -> Result<BootstrapToken, BootstrapError> {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.ask(&json!({"ask": "bootstrap", "session_public_key": key, "lifetime_ms": lifetime_ms}))
            .await
    }

    async fn ask<T: DeserializeOwned>(&self, question: &serde_json::Value) -> Result<T, BootstrapError> {
        let mut line = self.take().ok_or(BootstrapError::NoLine)?;
        let exchange = async {
            line.get_mut().write_all(format!("{question}\n").as_bytes()).await?;
            let mut answer = String::new();
            (&mut line).take(LONGEST_ANSWER_BYTES).read_line(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        // A line on which an answer is still to come is of no use any more.
        let mut answer = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| BootstrapError::Slow)??;
        if answer.is_empty() {
            return Err(BootstrapError::NoLine);
        }
        self.put_back(line);
        let read = read(&answer);
        answer.zeroize();
        read
    }

    fn take(&self) -> Option<BufReader<UnixStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, line: Option<BufReader<UnixStream>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    /// Puts the line back, unless access was started again meanwhile.
    fn put_back(&self, line: BufReader<UnixStream>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(line);
    }
}

fn read<T: DeserializeOwned>(answer: &str) -> Result<T, BootstrapError> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    if let Ok(refusal) = serde_json::from_str::<Refusal>(answer) {
        return Err(BootstrapError::Refused(refusal.error));
    }
    serde_json::from_str(answer).map_err(|_| BootstrapError::Malformed)
}
