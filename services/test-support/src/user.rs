//! A plain user of the bus, which sees what the bus says to it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_nats::{Auth, AuthError, ConnectOptions, Subscriber};
use futures_util::StreamExt;
use nkeys::KeyPair;

use crate::{DEADLINE, TestError, eventually};

/// Gives the JWT for the next connect.
pub type JwtSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Is what the bus told a connection, as text, in order.
pub type Events = Arc<Mutex<Vec<String>>>;

/// Is one connection to the bus.
pub struct User {
    client: async_nats::Client,
    events: Events,
    inbox: String,
    settled: AtomicU32,
}

/// Is a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent to.
    pub subject: String,
    /// Where the answer goes.
    pub reply: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Is one subscription.
pub struct Messages(Subscriber);

impl Messages {
    /// Waits for the next message, for at most the given time.
    pub async fn next_within(&mut self, within: Duration) -> Option<Message> {
        let message = tokio::time::timeout(within, self.0.next()).await.ok().flatten()?;
        Some(Message {
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| reply.to_string()),
            body: message.payload.to_vec(),
        })
    }
}

impl User {
    /// Connects over TLS, trusting only the given CA; without credentials it is anonymous.
    ///
    /// Errors: the bus refuses the connection.
    pub async fn connect(
        url: &str,
        ca_pem: &Path,
        credentials: Option<(KeyPair, JwtSource)>,
        inbox: &str,
    ) -> Result<Self, TestError> {
        Self::connect_as(url, ca_pem, credentials, inbox, None).await
    }

    /// Connects in the same way under a name of its own.
    ///
    /// Errors: the bus refuses the connection.
    pub async fn connect_as(
        url: &str,
        ca_pem: &Path,
        credentials: Option<(KeyPair, JwtSource)>,
        inbox: &str,
        name: Option<&str>,
    ) -> Result<Self, TestError> {
        let events = Events::default();
        let seen = Arc::clone(&events);
        let options = match credentials {
            None => ConnectOptions::new(),
            Some((key, jwt)) => {
                let key = Arc::new(key);
                ConnectOptions::with_auth_callback(move |nonce| {
                    let (key, jwt) = (Arc::clone(&key), Arc::clone(&jwt));
                    async move {
                        let mut auth = Auth::new();
                        auth.jwt = Some(jwt());
                        auth.signature = Some(key.sign(&nonce).map_err(AuthError::new)?);
                        Ok(auth)
                    }
                })
            }
        };
        let options = match name {
            Some(name) => options.name(name),
            None => options,
        };
        let tls = tls(ca_pem)?;
        let client = options
            .tls_client_config(tls)
            .require_tls(true)
            .custom_inbox_prefix(inbox)
            .connection_timeout(DEADLINE)
            // Each request says how long it waits.
            .request_timeout(None)
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .event_callback(move |event| {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event.to_string());
                std::future::ready(())
            })
            .connect(url)
            .await
            .map_err(|error| TestError::of("connect", &error))?;
        Ok(Self {
            client,
            events,
            inbox: inbox.to_owned(),
            settled: AtomicU32::new(0),
        })
    }

    /// Returns what the bus told so far.
    pub fn events(&self) -> Vec<String> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the bus has told something that holds a text.
    ///
    /// Errors: the deadline passed; names what was told instead.
    pub async fn told(&self, text: &str) -> Result<String, TestError> {
        let found = eventually(text, async || {
            self.events().into_iter().find(|event| event.contains(text))
        })
        .await;
        found.map_err(|error| TestError(format!("{error}; told: {:?}", self.events())))
    }

    /// Subscribes; the bus's refusal arrives as an event.
    ///
    /// Errors: the client was closed.
    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    pub async fn subscribe(&self, subject: &str) -> Result<Messages, TestError> {
        let made = self.client.subscribe(subject.to_owned()).await;
        made.map(Messages).map_err(|error| TestError::of("subscribe", &error))
    }

    /// Subscribes as a member of a queue group.
    ///
    /// Errors: the client was closed.
    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    pub async fn queue_subscribe(&self, subject: &str, queue: &str) -> Result<Messages, TestError> {
        let made = self.client.queue_subscribe(subject.to_owned(), queue.to_owned()).await;
        made.map(Messages).map_err(|error| TestError::of("subscribe", &error))
    }

    /// Publishes and waits until the bus has it; its refusal arrives as an event.
    ///
    /// Errors: the client was closed.
    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    pub async fn publish(&self, subject: &str, body: &[u8]) -> Result<(), TestError> {
        let sent = self.client.publish(subject.to_owned(), body.to_vec().into()).await;
        sent.map_err(|error| TestError::of("publish", &error))?;
        self.flush().await
    }

    /// Asks and does not care for the answer, nor whether the bus has it yet.
    ///
    /// Errors: the client was closed.
    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    pub async fn ask_blindly(&self, subject: &str, body: &[u8]) -> Result<(), TestError> {
        let reply = format!("{}.nobody", self.inbox);
        let sent = self
            .client
            .publish_with_reply(subject.to_owned(), reply, body.to_vec().into());
        sent.await.map_err(|error| TestError::of("publish", &error))
    }

    /// Asks and waits for the answer.
    ///
    /// Errors: nobody answered in time.
    #[expect(clippy::disallowed_methods, reason = "a test's own user of the bus")]
    pub async fn request(&self, subject: &str, body: &[u8], within: Duration) -> Result<Vec<u8>, TestError> {
        let asked = self.client.request(subject.to_owned(), body.to_vec().into());
        let answer = tokio::time::timeout(within, asked)
            .await
            .map_err(|_| TestError(format!("no answer from {subject} within {within:?}")))?;
        answer
            .map(|message| message.payload.to_vec())
            .map_err(|error| TestError::of(subject, &error))
    }

    /// Waits until the bus has dealt with everything that was sent: its subscriptions hold from then on.
    ///
    /// Errors: the bus does not answer in time.
    pub async fn settle(&self) -> Result<(), TestError> {
        // A message to the own inbox comes back, or is refused: the bus takes one thing after the other.
        let number = self.settled.fetch_add(1, Ordering::SeqCst);
        let subject = format!("{}.settle.{number}", self.inbox);
        let mut messages = self.subscribe(&subject).await?;
        self.publish(&subject, b"").await?;
        let refusal = format!("Publish to \"{subject}\"");
        eventually("the bus to settle", async || {
            let refused = self.events().iter().any(|event| event.contains(&refusal));
            let arrived = messages.next_within(Duration::from_millis(1)).await.is_some();
            (refused || arrived).then_some(())
        })
        .await
    }

    /// Waits until everything has left for the bus.
    ///
    /// Errors: the client was closed.
    pub async fn flush(&self) -> Result<(), TestError> {
        self.client
            .flush()
            .await
            .map_err(|error| TestError::of("flush", &error))
    }

    /// Tells whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Returns the client itself, for what has no helper.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }
}

/// Returns the TLS of a client that trusts only one CA.
///
/// Errors: the CA's file cannot be read, or is none.
pub fn tls(ca_pem: &Path) -> Result<rustls::ClientConfig, TestError> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ca = CertificateDer::from_pem_file(ca_pem).map_err(|error| TestError::of("CA", &error))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).map_err(|error| TestError::of("CA", &error))?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TestError::of("TLS", &error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
