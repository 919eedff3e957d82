//! The pipe that access inherits from its supervisor: the set-up secret for the start screen, and a session of minutes with
//! which the first start enrols its own machine and runs one job.
//!
//! Whoever holds the other end started this process. Each session is an event like any other.
//!
//! Shape: one JSON object per line, both ways. `{"ask":"setup"}` → `{"secret": text or null}`;
//! `{"ask":"bootstrap","session_public_key","lifetime_ms"}` → `{"token","session_id","expires_at"}`;
//! a refusal → `{"error": code, "message"}`.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::BootstrapSession;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::inherited::line_to_parent;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::aggregate::{BOOTSTRAP_OPERATOR, Command, Event};
use crate::error::AccessError;
use crate::service::{Access, CommandKey};

/// Is the longest question, in bytes.
const MAX_LINE_BYTES: u64 = 4_096;

#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Setup,
    Bootstrap(BootstrapSession),
}

/// Takes the inherited line over; none when this process was started by hand.
///
/// Errors: [`AccessError::Pipe`], when what is announced is no socket.
pub fn inherited() -> Result<Option<UnixStream>, AccessError> {
    let line = line_to_parent().map_err(AccessError::Pipe)?;
    line.map(UnixStream::from_std).transpose().map_err(AccessError::Pipe)
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
            .unwrap_or_else(|error| json!({"error": error.code, "message": error.message}));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Parts;
    use crate::setup_link::SetupLink;
    use borealis_bus_schema::forms::PublicKey;
    use borealis_bus_schema::ids::SessionId;
    use borealis_bus_schema::routes::{Need, Right};
    use borealis_bus_schema::subjects::Service;
    use borealis_event_store::{EventLog, OpenOptions, SledLog};
    use borealis_service_kit::auth::{Authoriser, BiscuitRoot};
    use borealis_service_kit::clock::{Clock, SystemClock};
    use borealis_service_kit::revocation::RevocationSet;
    use borealis_service_kit::{keys, paths::Paths, random};

    struct Supervisor {
        _folder: tempfile::TempDir,
        log: Arc<dyn EventLog>,
        authoriser: Authoriser,
        output: tokio::net::unix::OwnedWriteHalf,
        input: BufReader<tokio::net::unix::OwnedReadHalf>,
    }

    impl Supervisor {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let paths = Paths::new(folder.path(), None).unwrap();
            keys::private_folder(&paths.state(Service::Access)).unwrap();
            let log = SledLog::open(paths.state(Service::Access), OpenOptions::new()).unwrap();
            let log: Arc<dyn EventLog> = Arc::new(log);
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let revoked = Arc::new(RevocationSet::new());
            let root = BiscuitRoot::new(&random::signing_key()).unwrap();
            let public = root.public().unwrap();
            let access = Access::open(Parts {
                log: Arc::clone(&log),
                clock: Arc::clone(&clock),
                opaque: crate::opaque::Opaque::generate(&mut rand::rngs::OsRng),
                link: SetupLink::new(&paths),
                root,
                revoked: Arc::clone(&revoked),
            });
            let access = Arc::new(access.await.unwrap());
            let (ours, theirs) = UnixStream::pair().unwrap();
            tokio::spawn(serve(access, theirs));
            let (input, output) = ours.into_split();
            Self {
                _folder: folder,
                log,
                authoriser: Authoriser::new(public, Service::Scheduler, revoked, clock).unwrap(),
                output,
                input: BufReader::new(input),
            }
        }

        async fn ask(&mut self, line: &str) -> Value {
            self.output.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            self.input.read_line(&mut answer).await.unwrap();
            serde_json::from_str(&answer).unwrap()
        }
    }

    #[tokio::test]
    async fn the_supervisor_learns_the_secret_and_gets_a_session_of_minutes() {
        let mut up = Supervisor::start().await;
        let secret = up.ask(r#"{"ask":"setup"}"#).await;
        assert_eq!(secret["secret"].as_str().unwrap().len(), 43);
        let key = PublicKey::of(&random::signing_key());
        let asked = json!({"ask": "bootstrap", "session_public_key": key, "lifetime_ms": 86_400_000});
        let session = up.ask(&asked.to_string()).await;
        let token = session["token"].as_str().unwrap();
        let need = Need::Right(Right::JobsRun);
        let caller = up.authoriser.authorise(Some(token), need, None).unwrap();
        assert_eq!((caller.username.as_str(), caller.session_key), ("bootstrap", key));
        assert_eq!(caller.rights, crate::aggregate::BOOTSTRAP_RIGHTS.into_iter().collect());
        let minutes = caller.expires_at.since_ms(SystemClock.now());
        assert!((600_000..=901_000).contains(&minutes), "{minutes}");
        let id: SessionId = session["session_id"].as_str().unwrap().parse().unwrap();
        let last = up.log.read_all(up.log.head().position - 1, 1).unwrap().remove(0);
        assert_eq!(last.kind, "BootstrapSessionStarted");
        assert_eq!(last.stream.as_str(), format!("session-{id}"));
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_and_the_next_one_answered() {
        let mut up = Supervisor::start().await;
        for line in ["", "x", "{}", r#"{"ask":"everything"}"#] {
            assert_eq!(up.ask(line).await["error"], "malformed", "{line}");
        }
        let ended = json!({"ask": "bootstrap", "session_public_key": PublicKey::from_bytes([1; 32]), "lifetime_ms": 0});
        assert_eq!(up.ask(&ended.to_string()).await["error"], "invalid_field");
        assert!(up.ask(r#"{"ask":"setup"}"#).await["secret"].is_string());
    }
}
