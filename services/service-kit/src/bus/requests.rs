//! Requests: one subscription hears the answers to all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::{Reply, WireError};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::BusError;
use super::connection::Link;
use crate::random;

enum Waiter {
    One(oneshot::Sender<Answer>),
    Many(mpsc::UnboundedSender<Bytes>),
}

enum Answer {
    Body(Bytes),
    NobodyListens,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    waiting: HashMap<u64, Waiter>,
}

type Shared = Arc<Mutex<Waiters>>;

/// Asks and matches answers to questions.
pub(super) struct Requests {
    prefix: String,
    waiters: Shared,
}

/// Forgets a question when whoever asked stops waiting.
struct Forget {
    waiters: Shared,
    token: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        lock(&self.waiters).waiting.remove(&self.token);
    }
}

fn lock(waiters: &Shared) -> std::sync::MutexGuard<'_, Waiters> {
    waiters.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Requests {
    pub(super) async fn start(link: &Link, inbox_prefix: &str) -> Result<Self, BusError> {
        let prefix = format!("{inbox_prefix}.{}.", hex::encode(random::bytes::<8>()));
        let mut answers = link.subscribe(format!("{prefix}*"), None).await?;
        let waiters = Shared::default();
        let (shared, strip) = (Arc::clone(&waiters), prefix.len());
        tokio::spawn(async move {
            while let Some(message) = answers.next_message().await {
                let token = message
                    .subject
                    .as_str()
                    .get(strip..)
                    .and_then(|t| t.parse::<u64>().ok());
                if let Some(token) = token {
                    let nobody = message.status == Some(StatusCode::NO_RESPONDERS);
                    deliver(&shared, token, message.payload, nobody);
                }
            }
        });
        Ok(Self { prefix, waiters })
    }

    fn enter(&self, waiter: Waiter) -> (String, Forget) {
        let mut waiters = lock(&self.waiters);
        waiters.next = waiters.next.wrapping_add(1);
        let token = waiters.next;
        waiters.waiting.insert(token, waiter);
        let forget = Forget {
            waiters: Arc::clone(&self.waiters),
            token,
        };
        (format!("{}{token}", self.prefix), forget)
    }

    pub(super) async fn ask(
        &self,
        link: &Link,
        subject: String,
        headers: Option<HeaderMap>,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Reply<Bytes> {
        let (sender, receiver) = oneshot::channel();
        let (reply, _forget) = self.enter(Waiter::One(sender));
        let asked = async {
            link.publish_for_reply(subject, reply, headers, body)
                .await
                .map_err(|error| WireError::new(Code::Unavailable, error.to_string()))?;
            receiver
                .await
                .map_err(|_| WireError::new(Code::Unavailable, "the connection to the bus was closed"))
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(Answer::Body(body))) => Ok(body),
            Ok(Ok(Answer::NobodyListens)) => {
                Err(WireError::new(Code::Unavailable, "nobody listens there at the moment"))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(WireError::new(
                Code::DeadlineExceeded,
                format!("no answer came within {} ms", timeout.as_millis()),
            )),
        }
    }

    /// Asks everyone who listens; the answers come until the receiver is dropped.
    pub(super) async fn ask_many(&self, link: &Link, subject: String) -> Result<Answers, BusError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (reply, forget) = self.enter(Waiter::Many(sender));
        link.publish_for_reply(subject, reply, None, Vec::new()).await?;
        Ok(Answers {
            receiver,
            _forget: forget,
        })
    }
}

/// Is a stream of answers to one question.
pub(super) struct Answers {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    _forget: Forget,
}

impl Answers {
    pub(super) async fn recv(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }
}

fn deliver(waiters: &Shared, token: u64, body: Bytes, nobody: bool) {
    let mut waiters = lock(waiters);
    if let Some(Waiter::Many(sender)) = waiters.waiting.get(&token) {
        if !nobody {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(body);
        }
        return;
    }
    if let Some(Waiter::One(sender)) = waiters.waiting.remove(&token) {
        drop(waiters);
        let answer = if nobody {
            Answer::NobodyListens
        } else {
            Answer::Body(body)
        };
        let _ = sender.send(answer);
    }
}
