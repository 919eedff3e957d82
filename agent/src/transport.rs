//! The bus: the only module that names NATS.
//!
//! One connection with the device's own key. It comes back for ever, with a growing, spread pause; the newest JWT is asked
//! for at each connect. A nonce is signed only when it can be nothing but a nonce.

#![expect(
    clippy::disallowed_methods,
    reason = "this module is the agent's home of raw bus calls"
)]

use crate::core::TellError;
use crate::core::backoff::Jitter;
use crate::identity::DeviceKeys;
use crate::tls::{self, TlsError};
use async_nats::{Auth, AuthError, Client, ConnectOptions, Event, ServerAddr, Subscriber};
use borealis_bus_schema::envelope::{self, Envelope};
use borealis_bus_schema::forms::nonce_may_be_signed;
use borealis_bus_schema::ids::{CorrelationId, Guid, MessageId, RoleName, VerbName};
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Subject, filter, inbox_prefix};
use data_encoding::BASE64URL_NOPAD;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Is the largest message that a device may send when its JWT names no limit, in bytes.
const DEFAULT_PAYLOAD_BYTES: usize = 256 << 10;

/// Is how many orders wait in memory before the server is told to slow down.
const ORDER_CAPACITY: usize = 512;

/// Is how often one client tries to connect before it ends; whoever holds it makes a new one.
///
/// A client that is dropped while it tries cannot be told, so that it must end by itself: after some minutes.
const ATTEMPTS: usize = 24;

/// Is how often the connection is tried. The library ends it at the third unanswered time: within 45 s, as was promised.
const PING: Duration = Duration::from_secs(12);

/// Is how long a word waits for the connection to take it; the library takes none while it connects and its queue is full.
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// Says why the bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// An address is none.
    #[error("the bus address {url:?} is not tls://HOST:PORT")]
    Address {
        /// What was given.
        url: String,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The key is unusable.
    #[error("the identity key cannot be used on the bus")]
    Key,
    /// The library refused.
    #[error("the bus cannot be used")]
    Connect(#[source] async_nats::ConnectError),
    /// Subscribing failed.
    #[error("orders cannot be subscribed to")]
    Subscribe(#[source] async_nats::SubscribeError),
}

/// Tells what happened to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It stands.
    Up,
    /// It is gone.
    Down,
    /// The server does not accept the credentials.
    Refused,
}

/// Is what a connection needs.
pub struct BusConfig {
    /// The bus's addresses.
    pub urls: Vec<String>,
    /// The device.
    pub guid: Guid,
    /// Its keys.
    pub keys: DeviceKeys,
    /// The CA root, PEM.
    pub ca_pem: String,
    /// The newest JWT; whoever renews it writes it here.
    pub jwt: Arc<RwLock<String>>,
    /// Where changes of the connection are told.
    pub links: UnboundedSender<Link>,
    /// A random number that spreads devices.
    pub jitter_seed: u64,
    /// What this agent drew when it started, by which the server knows it again: hexadecimal digits.
    pub label: String,
}

/// Is an order as it came.
pub struct Incoming {
    /// The role in its subject.
    pub role: RoleName,
    /// The verb in its subject.
    pub verb: VerbName,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Where the answer goes; empty when nobody asked for one.
    pub reply: String,
}

/// Is the device's connection.
pub struct Bus {
    client: Client,
    orders: Subscriber,
    guid: Guid,
    jwt: Arc<RwLock<String>>,
}

/// Speaks on a connection; cheap to copy.
#[derive(Clone)]
pub struct Voice {
    client: Client,
    guid: Guid,
    payload_bytes: usize,
}

impl Bus {
    /// Begins to connect, and goes on until it works; returns at once.
    ///
    /// Errors: [`BusError`] for what can never work.
    pub async fn connect(config: BusConfig) -> Result<Self, BusError> {
        let BusConfig {
            urls,
            guid,
            keys,
            ca_pem,
            jwt,
            links,
            jitter_seed,
            label,
        } = config;
        let servers = urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>()?;
        let tls = tls::trusting(&tls::root_of_pem(&ca_pem)?)?;
        let key = Arc::new(keys.bus_key().map_err(|_| BusError::Key)?);
        let newest = Arc::clone(&jwt);
        let jitter = Mutex::new(Jitter::new(jitter_seed));
        let client = ConnectOptions::with_auth_callback(move |nonce| {
            let answer = authenticate(&key, &newest, &nonce);
            async move { answer }
        })
        .name(format!("{guid}/{label}"))
        .tls_client_config(tls)
        .require_tls(true)
        .ignore_discovered_servers()
        .custom_inbox_prefix(inbox_prefix(&guid.to_string()))
        .retry_on_initial_connect()
        .max_reconnects(ATTEMPTS)
        .connection_timeout(Duration::from_secs(10))
        .ping_interval(PING)
        .request_timeout(None)
        .subscription_capacity(ORDER_CAPACITY)
        .client_capacity(64)
        .read_buffer_capacity(4096)
        .reconnect_delay_callback(move |attempts| pause(attempts, &jitter))
        .event_callback(move |event| {
            report(&event, &links);
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(BusError::Connect)?;
        let orders = client
            .subscribe(filter::device_do(&guid))
            .await
            .map_err(BusError::Subscribe)?;
        Ok(Self {
            client,
            orders,
            guid,
            jwt,
        })
    }

    /// Waits for the next order; `None` when this client tried often enough and a new one is due.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            let message = self.orders.next().await?;
            let Ok(Subject::DeviceDo { guid, role, verb }) = message.subject.as_str().parse::<Subject>() else {
                continue;
            };
            if guid == self.guid {
                return Some(Incoming {
                    role,
                    verb,
                    body: message.payload.to_vec(),
                    reply: message.reply.map(|subject| subject.to_string()).unwrap_or_default(),
                });
            }
        }
    }

    /// Returns a voice on this connection, with the payload limit of the newest JWT.
    pub fn voice(&self) -> Voice {
        let jwt = self.jwt.read().unwrap_or_else(PoisonError::into_inner);
        Voice {
            client: self.client.clone(),
            guid: self.guid,
            payload_bytes: payload_limit(&jwt),
        }
    }

    /// Connects anew, so that a fresh JWT counts before the old one ends.
    pub async fn reconnect(&self) {
        match tokio::time::timeout(SEND_PATIENCE, self.client.force_reconnect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "the connection cannot be renewed now"),
            // It connects anew as it is, and reads the newest JWT then.
            Err(_) => tracing::debug!("the connection is being renewed"),
        }
    }

    /// Sends what is under way and closes the connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.drain()).await;
    }
}

impl Voice {
    /// Answers an order; an answer that the connection does not take is lost, and asked for again.
    pub async fn answer(&self, to: String, body: Vec<u8>) {
        if body.len() > self.payload_bytes {
            tracing::error!(bytes = body.len(), "an answer is larger than this device may send");
            return;
        }
        match tokio::time::timeout(SEND_PATIENCE, self.client.publish(to, body.into())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "an answer could not be sent"),
            Err(_) => tracing::debug!("an answer was not sent, the connection takes none now"),
        }
    }

    /// Tells something and waits for the answer.
    ///
    /// Errors: [`TellError::Lost`] when none comes in time, [`TellError::Refused`] when the server does not take it.
    pub async fn tell<T: DeserializeOwned>(
        &self,
        role: &RoleName,
        verb: &VerbName,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, TellError> {
        if body.len() > self.payload_bytes {
            tracing::error!(bytes = body.len(), verb = %verb, "a message is larger than this device may send");
            let code = borealis_bus_schema::codes::Code::TooLarge;
            return Err(TellError::Refused {
                code,
                retry: code.retry(),
            });
        }
        let request = self
            .client
            .request_with_headers(self.subject(role, verb), headers(), body.into());
        match tokio::time::timeout(patience, request).await {
            Ok(Ok(message)) => reply::decode(&message.payload).map_err(|error| TellError::Refused {
                code: error.code,
                retry: error.retry,
            }),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, verb = %verb, "nobody answered");
                Err(TellError::Lost)
            }
            Err(_) => Err(TellError::Lost),
        }
    }

    /// Waits until everything said so far has left for the bus, or for a moment.
    pub async fn flush(&self) {
        let _ = tokio::time::timeout(SEND_PATIENCE, self.client.flush()).await;
    }

    /// Hints at something; it may be lost.
    pub async fn hint(&self, role: &RoleName, verb: &VerbName, body: Vec<u8>) {
        if body.len() > self.payload_bytes {
            return;
        }
        let sent = self
            .client
            .publish_with_headers(self.subject(role, verb), headers(), body.into());
        match tokio::time::timeout(SEND_PATIENCE, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, verb = %verb, "a hint was not sent"),
            Err(_) => tracing::debug!(verb = %verb, "a hint was not sent, the connection takes none now"),
        }
    }

    fn subject(&self, role: &RoleName, verb: &VerbName) -> String {
        let subject = Subject::DeviceTell {
            guid: self.guid,
            role: role.clone(),
            verb: verb.clone(),
        };
        subject.to_string()
    }
}

fn headers() -> async_nats::HeaderMap {
    let mut map = async_nats::HeaderMap::new();
    let (Ok(message), Ok(correlation)) = (crate::random::bytes(), crate::random::bytes()) else {
        map.insert(envelope::SCHEMA, envelope::SCHEMA_V1);
        return map;
    };
    let envelope = Envelope {
        message_id: MessageId::from_bytes(message),
        correlation_id: CorrelationId::from_bytes(correlation),
        trace_parent: None,
        biscuit: None,
    };
    for (name, value) in envelope.headers() {
        map.insert(name, value);
    }
    map
}

/// Answers the server's nonce with the newest JWT and a signature, or refuses to sign what might be something else.
fn authenticate(key: &nkeys::KeyPair, jwt: &RwLock<String>, nonce: &[u8]) -> Result<Auth, AuthError> {
    if !nonce_may_be_signed(nonce) {
        tracing::error!(bytes = nonce.len(), "the server offered a nonce that may not be signed");
        return Err(AuthError::new(NonceRefused));
    }
    let mut auth = Auth::new();
    auth.signature = Some(key.sign(nonce).map_err(AuthError::new)?);
    auth.jwt = Some(jwt.read().unwrap_or_else(PoisonError::into_inner).clone());
    Ok(auth)
}

#[derive(Debug, thiserror::Error)]
#[error("the nonce may not be signed")]
struct NonceRefused;

fn pause(attempts: usize, jitter: &Mutex<Jitter>) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let shift = u32::try_from(attempts - 2).unwrap_or(20).min(20);
    let full = 250u64.saturating_mul(1 << shift).min(30_000);
    let mut jitter = jitter.lock().unwrap_or_else(PoisonError::into_inner);
    Duration::from_millis(full / 2 + jitter.below(full / 2 + 1))
}

fn report(event: &Event, links: &UnboundedSender<Link>) {
    let link = match event {
        Event::Connected => Some(Link::Up),
        Event::Disconnected | Event::Closed => Some(Link::Down),
        Event::SlowConsumer(_) => {
            tracing::error!("orders come faster than this device takes them; some were dropped");
            None
        }
        Event::ServerError(error) => {
            tracing::warn!(error = %error, "the bus reports an error");
            let text = error.to_string().to_lowercase();
            (text.contains("authentication") || text.contains("authorization")).then_some(Link::Refused)
        }
        Event::ClientError(error) => {
            let text = error.to_string();
            tracing::warn!(error = text, "the bus cannot be reached");
            text.contains("authorization violation").then_some(Link::Refused)
        }
        Event::LameDuckMode | Event::Draining => None,
    };
    if let Some(link) = link {
        let _ = links.send(link);
    }
}

fn address(url: &str) -> Result<ServerAddr, BusError> {
    let bad = || BusError::Address {
        url: url.chars().take(200).collect(),
    };
    if !url.starts_with("tls://") || url.contains('@') {
        return Err(bad());
    }
    url.parse().map_err(|_| bad())
}

/// Reads the payload limit out of the device's own JWT; what cannot be read has the default.
fn payload_limit(jwt: &str) -> usize {
    #[derive(Deserialize)]
    struct Claims {
        nats: Limits,
    }
    #[derive(Deserialize)]
    struct Limits {
        payload: Option<i64>,
    }
    let claims = jwt
        .split('.')
        .nth(1)
        .and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
    let limit = claims
        .and_then(|bytes| serde_json::from_slice::<Claims>(&bytes).ok())
        .and_then(|claims| claims.nats.payload)
        .filter(|limit| *limit > 0);
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(DEFAULT_PAYLOAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::forms::Form;

    fn keys() -> DeviceKeys {
        DeviceKeys::of_seeds([1; 32], [2; 32])
    }

    #[tokio::test]
    async fn given_a_bus_that_is_away_then_nobody_waits_for_ever_to_speak() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (links, _heard) = tokio::sync::mpsc::unbounded_channel();
        let config = BusConfig {
            urls: vec![format!("tls://localhost:{}", closed.port())],
            guid: Guid::from_random([3; 16]),
            keys: keys(),
            ca_pem: ca.cert.pem(),
            jwt: Arc::default(),
            links,
            jitter_seed: 1,
            label: "a".to_owned(),
        };
        let bus = Bus::connect(config).await.unwrap();
        let voice = bus.voice();
        // The library takes as many as its queue holds; the rest is given up.
        let spoken = async {
            let words = (0..100).map(|_| {
                let voice = voice.clone();
                tokio::spawn(async move { voice.answer("_INBOX.x".to_owned(), vec![1]).await })
            });
            for word in words.collect::<Vec<_>>() {
                word.await.unwrap();
            }
        };
        let deadline = SEND_PATIENCE * 20;
        tokio::time::timeout(deadline, spoken).await.expect("each word ends");
    }

    #[test]
    fn given_a_nonce_of_the_bus_then_it_is_signed_with_the_newest_jwt() {
        let jwt = RwLock::new("first".to_owned());
        "second".clone_into(&mut jwt.write().unwrap());
        let auth = authenticate(&keys().bus_key().unwrap(), &jwt, b"PXoWU7zWAMt75FY").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("second"));
        assert!(auth.signature.is_some());
    }

    #[test]
    fn given_the_bytes_of_a_result_as_nonce_then_nothing_is_signed() {
        let key = keys().bus_key().unwrap();
        let jwt = RwLock::new(String::new());
        for form in Form::ALL {
            assert!(authenticate(&key, &jwt, &form.bytes(&[b"x"])).is_err());
        }
        assert!(authenticate(&key, &jwt, b"short").is_err());
        assert!(authenticate(&key, &jwt, b"with a space and more").is_err());
    }

    #[test]
    fn given_an_address_then_only_tls_is_taken() {
        assert!(address("tls://localhost:4222").is_ok());
        for url in [
            "nats://localhost:4222",
            "localhost:4222",
            "tls://u:p@localhost:4222",
            "",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
    }

    #[test]
    fn given_a_jwt_then_its_payload_limit_counts() {
        let claims = BASE64URL_NOPAD.encode(br#"{"nats":{"payload":65536}}"#);
        assert_eq!(payload_limit(&format!("h.{claims}.s")), 65_536);
        assert_eq!(payload_limit("rubbish"), DEFAULT_PAYLOAD_BYTES);
    }

    #[test]
    fn given_failed_attempts_then_pauses_grow_up_to_half_a_minute() {
        let jitter = Mutex::new(Jitter::new(5));
        assert_eq!(pause(1, &jitter), Duration::ZERO);
        assert!(pause(2, &jitter) <= Duration::from_millis(250));
        for attempts in [12, 100, 10_000] {
            assert!((15_000..=30_000).contains(&(pause(attempts, &jitter).as_millis())));
        }
    }
}
