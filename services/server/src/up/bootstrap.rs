//! The line to access that only it inherits: the set-up secret, and a session of minutes for the first script.
//!
//! Shape: [`borealis_service_kit::inherited`]; one question at a time.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use borealis_bus_schema::{forms::PublicKey, messages::access::BootstrapSession, reply::WireError};
pub use borealis_service_kit::inherited::BootstrapToken;
use borealis_service_kit::inherited::{self, Question, SetupSecret};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use zeroize::{Zeroize, Zeroizing};

const PATIENCE: Duration = Duration::from_secs(10);

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
    Refused(WireError),
}

/// Is this end of the line; it changes whenever access is started. Handles are cheap to clone.
#[derive(Clone, Default)]
pub struct Bootstrap(Arc<Mutex<Option<Line>>>);

struct Line {
    output: OwnedWriteHalf,
    input: Lines<BufReader<OwnedReadHalf>>,
    /// Answers to earlier questions that nobody waits for any more.
    owed: u32,
}

impl Bootstrap {
    /// Makes a new line, keeps one end and returns the other for the child.
    ///
    /// Errors: the system's.
    pub fn renew(&self) -> io::Result<OwnedFd> {
        let (own, other) = StdStream::pair()?;
        own.set_nonblocking(true)?;
        let (input, output) = UnixStream::from_std(own)?.into_split();
        let line = Line {
            output,
            input: BufReader::new(input).lines(),
            owed: 0,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        Ok(other.into())
    }

    /// Asks for the secret of the set-up link; `None` once there is an operator.
    ///
    /// Errors: access does not answer.
    pub async fn setup_secret(&self) -> Result<Option<String>, BootstrapError> {
        let mut answer: SetupSecret = self.ask(&Question::Setup).await?;
        Ok(answer.secret.take())
    }

    /// Asks for a session that ends soon, bound to a key.
    ///
    /// Errors: access refuses or does not answer.
    pub async fn session(&self, key: &PublicKey, lifetime: Duration) -> Result<BootstrapToken, BootstrapError> {
        let asked = BootstrapSession {
            session_public_key: *key,
            lifetime_ms: i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX),
        };
        self.ask(&Question::Bootstrap(asked)).await
    }

    async fn ask<T: DeserializeOwned>(&self, question: &Question) -> Result<T, BootstrapError> {
        let question = serde_json::to_string(question).map_err(|_| BootstrapError::Malformed)?;
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let line = line.ok_or(BootstrapError::NoLine)?;
        let place = self.clone();
        // A task of its own: whoever waits may go away, the line comes back all the same.
        let asking = tokio::spawn(async move { place.exchange(line, question).await });
        let answer = asking.await.map_err(|_| BootstrapError::NoLine)??;
        inherited::read_answer(&answer)
            .map_err(|_| BootstrapError::Malformed)?
            .map_err(BootstrapError::Refused)
    }

    async fn exchange(self, mut line: Line, question: String) -> Result<Zeroizing<String>, BootstrapError> {
        line.output.write_all(format!("{question}\n").as_bytes()).await?;
        let answered = tokio::time::timeout(PATIENCE, async {
            while line.owed > 0 {
                line.input.next_line().await?.ok_or(BootstrapError::NoLine)?.zeroize();
                line.owed -= 1;
            }
            line.input.next_line().await?.ok_or(BootstrapError::NoLine)
        })
        .await;
        let answer = match answered {
            Ok(answer) => answer?,
            Err(_) => {
                line.owed += 1;
                self.put_back(line);
                return Err(BootstrapError::Slow);
            }
        };
        self.put_back(line);
        Ok(Zeroizing::new(answer))
    }

    /// Puts the line back, unless access was started again meanwhile.
    fn put_back(&self, line: Line) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::codes::Code;
    use std::io::{BufRead, Write};

    fn secret(secret: Option<&str>) -> String {
        let secret = secret.map(ToOwned::to_owned);
        let line = inherited::write_answer(Ok(SetupSecret { secret })).unwrap();
        line.trim_end().to_owned()
    }

    /// Answers each question with the next text, on a thread of its own.
    fn answering(bootstrap: &Bootstrap, answers: Vec<String>) {
        let mut stream = StdStream::from(bootstrap.renew().unwrap());
        std::thread::spawn(move || {
            let mut questions = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in answers {
                if questions.next().is_some() {
                    writeln!(stream, "{answer}").unwrap();
                }
            }
        });
    }

    #[tokio::test]
    async fn questions_are_answered_in_turn_until_access_ends() {
        let bootstrap = Bootstrap::default();
        assert!(matches!(bootstrap.setup_secret().await, Err(BootstrapError::NoLine)));
        let answers = [
            secret(Some("s")),
            secret(None),
            "nonsense".to_owned(),
            r#"{"secret":null}"#.to_owned(),
        ];
        answering(&bootstrap, answers.to_vec());
        assert_eq!(bootstrap.setup_secret().await.unwrap().as_deref(), Some("s"));
        assert_eq!(bootstrap.setup_secret().await.unwrap(), None);
        for _ in 0..2 {
            assert!(matches!(bootstrap.setup_secret().await, Err(BootstrapError::Malformed)));
        }
        assert!(bootstrap.setup_secret().await.is_err());
        // What access refuses is no answer without a secret: the link stays.
        let refusal = || inherited::write_answer::<SetupSecret>(Err(WireError::new(Code::Internal, "no")));
        answering(&bootstrap, vec![refusal().unwrap().trim_end().to_owned()]);
        let refused = bootstrap.setup_secret().await.unwrap_err();
        assert_eq!(refused.to_string(), "access refused: no (internal)");
    }

    #[tokio::test]
    async fn who_stops_waiting_does_not_break_the_line() {
        let bootstrap = Bootstrap::default();
        answering(&bootstrap, vec![secret(Some("old")), secret(Some("new"))]);
        tokio::select! {
            biased;
            _ = bootstrap.setup_secret() => panic!("answered before access was asked"),
            () = std::future::ready(()) => {}
        }
        let answer = borealis_test_support::eventually("the line", async || match bootstrap.setup_secret().await {
            Err(BootstrapError::NoLine) => None,
            answer => Some(answer),
        });
        assert_eq!(answer.await.unwrap().unwrap().as_deref(), Some("new"));
    }
}
