//! The pipe that access inherits from its supervisor: the set-up secret for the start screen, and a session of minutes with
//! which the first start enrols its own machine and runs one job.
//!
//! Whoever holds the other end started this process. Each session is an event like any other.
//!
//! Shape: [`borealis_service_kit::inherited`].

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::BootstrapSession;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::inherited::{BootstrapToken, Question, SetupSecret, line_to_parent, write_answer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::aggregate::{BOOTSTRAP_OPERATOR, Command, Event};
use crate::error::AccessError;
use crate::service::{Access, CommandKey};

/// Is the longest question, in bytes.
const MAX_LINE_BYTES: u64 = 4_096;

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
        let sent = match answer(&access, &line).await {
            Ok(answer) => output.write_all(answer.as_bytes()).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "the supervisor's pipe broke");
            return;
        }
    }
}

async fn answer(access: &Access, line: &[u8]) -> serde_json::Result<Zeroizing<String>> {
    let limit = usize::try_from(MAX_LINE_BYTES).unwrap_or(usize::MAX);
    match codec::decode_json(line, limit) {
        Ok(Question::Setup) => write_answer(setup_secret(access).await),
        Ok(Question::Bootstrap(asked)) => write_answer(first_session(access, &asked).await),
        Err(error) => write_answer::<()>(Err(error.into())),
    }
}

async fn setup_secret(access: &Access) -> Reply<SetupSecret> {
    let secret = access.setup_secret().await?;
    Ok(SetupSecret {
        secret: secret.map(|secret| secret.as_str().to_owned()),
    })
}

async fn first_session(access: &Access, asked: &BootstrapSession) -> Reply<BootstrapToken> {
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
        .mint_session(
            *session,
            BOOTSTRAP_OPERATOR,
            asked.session_public_key,
            *expires_at,
            (None, None),
        )
        .await?;
    tracing::info!(session = %begun.session, expires_at = %begun.expires_at, "the first start was given a session");
    Ok(BootstrapToken {
        token: begun.token,
        session_id: begun.session,
        expires_at: begun.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Parts;
    use crate::setup_link::SetupLink;
    use borealis_bus_schema::forms::PublicKey;
    use borealis_bus_schema::routes::{Need, Right};
    use borealis_bus_schema::subjects::Service;
    use borealis_event_store::{EventLog, OpenOptions, SledLog};
    use borealis_service_kit::auth::{Authoriser, BiscuitRoot};
    use borealis_service_kit::clock::{Clock, SystemClock};
    use borealis_service_kit::inherited::read_answer;
    use borealis_service_kit::revocation::RevocationSet;
    use borealis_service_kit::{keys, paths::Paths, random};
    use serde::de::DeserializeOwned;
    use serde_json::json;

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
                places: crate::webauthn::Places::new(&[], 0),
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

        /// Asks as `up` does, and reads the answer as `up` does.
        async fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Reply<T> {
            self.output.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            self.input.read_line(&mut answer).await.unwrap();
            read_answer(&answer).unwrap()
        }

        /// Asks something that is refused, and returns the code: read as each kind of answer, it is the same refusal.
        async fn refused(&mut self, line: &str) -> Code {
            let secret = self.ask::<SetupSecret>(line).await.err().unwrap();
            assert_eq!(self.ask::<BootstrapToken>(line).await.err().unwrap(), secret);
            secret.code
        }
    }

    #[tokio::test]
    async fn the_supervisor_learns_the_secret_and_gets_a_session_of_minutes() {
        let mut up = Supervisor::start().await;
        let secret = up.ask::<SetupSecret>(r#"{"ask":"setup"}"#).await.unwrap();
        assert_eq!(secret.secret.as_ref().unwrap().len(), 43);
        let key = PublicKey::of(&random::signing_key());
        let asked = json!({"ask": "bootstrap", "session_public_key": key, "lifetime_ms": 86_400_000});
        let session = up.ask::<BootstrapToken>(&asked.to_string()).await.unwrap();
        let token = session.token.as_str();
        let need = Need::Right(Right::JobsRun);
        let caller = up.authoriser.authorise(Some(token), need, None).unwrap();
        assert_eq!((caller.username.as_str(), caller.session_key), ("bootstrap", key));
        assert_eq!(caller.rights, crate::aggregate::BOOTSTRAP_RIGHTS.into_iter().collect());
        let minutes = caller.expires_at.since_ms(SystemClock.now());
        assert!((600_000..=901_000).contains(&minutes), "{minutes}");
        let id = session.session_id;
        let last = up.log.read_all(up.log.head().position - 1, 1).unwrap().remove(0);
        assert_eq!(last.kind, "BootstrapSessionStarted");
        assert_eq!(last.stream.as_str(), format!("session-{id}"));
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_and_the_next_one_answered() {
        let mut up = Supervisor::start().await;
        for line in ["", "x", "{}", r#"{"ask":"everything"}"#] {
            assert_eq!(up.refused(line).await, Code::Malformed, "{line}");
        }
        let ended = json!({"ask": "bootstrap", "session_public_key": PublicKey::from_bytes([1; 32]), "lifetime_ms": 0});
        assert_eq!(up.refused(&ended.to_string()).await, Code::InvalidField);
        let secret = up.ask::<SetupSecret>(r#"{"ask":"setup"}"#).await.unwrap();
        assert!(secret.secret.is_some());
    }
}
