//! A message that arrived, and its answer.

use std::str::FromStr;

use async_nats::{HeaderMap, Message, Subscriber};
use borealis_bus_schema::envelope::Envelope;
use borealis_bus_schema::subjects;
use futures_util::StreamExt as _;

use super::BusError;
use super::connection::Link;

/// Is a message that arrived.
pub struct Incoming {
    link: Link,
    message: Message,
}

impl Incoming {
    pub(super) fn new(link: Link, message: Message) -> Self {
        Self { link, message }
    }

    /// Returns the subject it came on.
    pub fn subject(&self) -> &str {
        self.message.subject.as_str()
    }
    /// Returns its body.
    pub fn body(&self) -> &[u8] {
        &self.message.payload
    }
    /// Returns its body without copying it.
    pub fn payload(&self) -> bytes::Bytes {
        self.message.payload.clone()
    }
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.as_ref()?.get(name).map(|value| value.as_str())
    }
    /// Reads an id from a header.
    pub fn header_id<T: FromStr>(&self, name: &str) -> Option<T> {
        self.header(name)?.parse().ok()
    }
    /// Tells whether someone waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.message.reply.is_some()
    }
    /// Tells whether the answer goes to the private replies of an owner, which nobody else can hear.
    pub fn answers_to(&self, owner: &str) -> bool {
        let prefix = subjects::inbox_prefix(owner);
        self.message
            .reply
            .as_ref()
            .and_then(|reply| reply.as_str().strip_prefix(prefix.as_str()))
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Sends the answer to whoever waits for it.
    ///
    /// Errors: [`BusError::Client`] when the client was closed.
    pub async fn answer(&self, body: Vec<u8>) -> Result<(), BusError> {
        match &self.message.reply {
            Some(reply) => self.link.publish(reply.to_string(), None, body).await,
            None => Ok(()),
        }
    }
}

/// Is a stream of messages; it goes on over reconnects and moves of the bus.
pub struct Incomings {
    link: Link,
    subject: String,
    queue: Option<String>,
    subscriber: Subscriber,
    ended: bool,
}

impl Incomings {
    pub(super) async fn start(mut link: Link, subject: String, queue: Option<String>) -> Result<Self, BusError> {
        let subscriber = link.subscriber(&subject, queue.as_deref()).await?;
        Ok(Self {
            link,
            subject,
            queue,
            subscriber,
            ended: false,
        })
    }

    /// Waits for the next message; `None` once the connection was closed or the stream was ended.
    pub async fn next(&mut self) -> Option<Incoming> {
        let message = self.next_message().await?;
        Some(Incoming::new(self.link.clone(), message))
    }

    pub(super) async fn next_message(&mut self) -> Option<Message> {
        loop {
            tokio::select! {
                message = self.subscriber.next() => return message,
                () = self.link.replaced(), if !self.ended => {}
            }
            match self.link.subscriber(&self.subject, self.queue.as_deref()).await {
                Ok(subscriber) => self.subscriber = subscriber,
                Err(error) => {
                    tracing::error!(%error, subject = self.subject, "a subscription could not follow the bus");
                    return None;
                }
            }
        }
    }

    /// Asks for no more messages; those that arrived already still come.
    pub async fn end(&mut self) {
        self.ended = true;
        if let Err(error) = self.subscriber.drain().await {
            tracing::debug!(%error, "a subscription was over before it was ended");
        }
    }
}

pub(super) fn headers(envelope: &Envelope) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in envelope.headers() {
        map.insert(name, value.as_str());
    }
    map
}
