//! The pipe that access inherits from its supervisor: the set-up secret for the start screen, and a session of minutes with
//! which the first start enrols its own machine and runs one job.
//!
//! Whoever holds the other end started this process. Each session is an event like any other.
//!
//! Shape: one JSON object per line, both ways. `{"ask":"setup"}` → `{"secret": text or null}`;
//! `{"ask":"bootstrap","session_public_key","lifetime_ms"}` → `{"token","session_id","expires_at"}`;
//! a refusal → `{"error":{"code","message"}}`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::BootstrapSession;
use borealis_bus_schema::reply::{Reply, WireError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::aggregate::{BOOTSTRAP_OPERATOR, Command, Event};
use crate::error::AccessError;
use crate::service::{Access, CommandKey};

/// Is the variable that names the inherited socket's number.
pub const FD_VARIABLE: &str = "BOREALIS_BOOTSTRAP_FD";

/// Is the longest question, in bytes.
const MAX_LINE_BYTES: u64 = 4_096;

#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Setup,
    Bootstrap(BootstrapSession),
}

/// Takes the inherited socket over; none when this process was started without one.
///
/// Errors: [`AccessError::Pipe`], when the variable names no socket.
pub fn inherited() -> Result<Option<UnixStream>, AccessError> {
    let Ok(text) = std::env::var(FD_VARIABLE) else {
        return Ok(None);
    };
    let number: i32 = text
        .trim()
        .parse()
        .map_err(|_| AccessError::Pipe(std::io::ErrorKind::InvalidInput.into()))?;
    let stream = StdStream::from(duplicate(number).map_err(AccessError::Pipe)?);
    // A descriptor that is no socket fails here, before anything is read from it.
    stream.local_addr().map_err(AccessError::Pipe)?;
    stream.set_nonblocking(true).map_err(AccessError::Pipe)?;
    UnixStream::from_std(stream).map(Some).map_err(AccessError::Pipe)
}

/// Duplicates a descriptor that this process only knows by number.
fn duplicate(number: i32) -> std::io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

/// Answers questions until the other end closes.
pub async fn serve(access: Arc<Access>, stream: UnixStream) {
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        match (&mut input).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Err(error) => {
                tracing::warn!(%error, "the supervisor's pipe broke");
                return;
            }
            Ok(_) => {}
        }
        let reply = answer(&access, &line)
            .await
            .unwrap_or_else(|error| json!({"error": {"code": error.code, "message": error.message}}));
        let line = zeroize::Zeroizing::new(format!("{reply}\n"));
        if let Err(error) = output.write_all(line.as_bytes()).await {
            tracing::warn!(%error, "the supervisor's pipe broke");
            return;
        }
    }
}

async fn answer(access: &Access, line: &[u8]) -> Reply<Value> {
    let limit = usize::try_from(MAX_LINE_BYTES).unwrap_or(usize::MAX);
    match codec::decode_json(line, limit)? {
        Ask::Setup => {
            let secret = access.setup_secret().await?;
            Ok(json!({"secret": secret.as_ref().map(|secret| secret.as_str())}))
        }
        Ask::Bootstrap(asked) => {
            let command = Command::StartBootstrap {
                session_key: asked.session_public_key,
                lifetime_ms: asked.lifetime_ms,
            };
            let (events, _) = access.execute(command, CommandKey::once()).await?;
            let Some(Event::BootstrapSessionStarted {
                session, expires_at, ..
            }) = events.first()
            else {
                return Err(WireError::new(Code::Internal, "no session was begun"));
            };
            let begun = access
                .mint_session(*session, BOOTSTRAP_OPERATOR, asked.session_public_key, *expires_at)
                .await?;
            tracing::info!(session = %begun.session, expires_at = %begun.expires_at, "the first start was given a session");
            Ok(json!({"token": begun.token, "session_id": begun.session, "expires_at": begun.expires_at}))
        }
    }
}
