//! One connection: who it is, where the bus is, what happens to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Auth, AuthError, Client, ConnectOptions, Event, HeaderMap, Subscriber};
use borealis_bus_schema::subjects;
use nkeys::KeyPair;
use tokio::sync::watch;

use super::{BusConfig, BusError, Incomings};
use crate::keys;
use crate::paths::Ports;
use crate::random;

/// Is how often `ports.json` is looked at while the connection is away.
const LOOK: Duration = Duration::from_millis(250);
/// Is the longest pause between two attempts to connect.
const LONGEST_PAUSE_MS: u64 = 2_000;
/// Is how many messages may wait for one subscription before it counts as slow.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// Says where the bus is found.
#[derive(Debug, Clone)]
pub enum UrlSource {
    /// In the root's `ports.json`, read again whenever the connection is away.
    Ports(crate::paths::Paths),
    /// Always there.
    Fixed(String),
}

impl UrlSource {
    fn read(&self) -> Option<String> {
        match self {
            UrlSource::Fixed(url) => Some(url.clone()),
            UrlSource::Ports(paths) => Ports::read(paths).ok().flatten().map(|ports| ports.nats),
        }
    }
}

/// Says who connects, and where to.
#[derive(Clone)]
pub struct BusOptions {
    /// The connection's name, for people.
    pub name: String,
    /// Whose private replies it hears: a service's name or `sys`.
    pub inbox_owner: String,
    /// Where the bus is.
    pub urls: UrlSource,
    /// The CA root, PEM file.
    pub ca_pem: PathBuf,
    /// The user's JWT, read again at each connect.
    pub jwt: PathBuf,
    /// The user's key.
    pub key: Arc<KeyPair>,
}

impl BusOptions {
    /// Builds a service's options from its files.
    ///
    /// Errors: [`BusError::Credentials`].
    pub fn of_service(config: &BusConfig) -> Result<Self, BusError> {
        let (service, paths) = (config.service, &config.paths);
        Ok(Self {
            name: service.name().to_owned(),
            inbox_owner: service.name().to_owned(),
            urls: UrlSource::Ports(paths.clone()),
            ca_pem: paths.ca_pem(),
            jwt: paths.bus_jwt(service),
            key: Arc::new(keys::read_nkey(&paths.bus_seed(service))?),
        })
    }
}

/// Is one connection. Handles are cheap to clone.
///
/// The client keeps to the address it began with, so a bus that moved gets a new client; subscriptions follow by themselves.
#[derive(Clone)]
pub(crate) struct Link {
    clients: watch::Receiver<Client>,
    connected: watch::Receiver<bool>,
}

/// Is what one client's callbacks share.
struct Standing {
    state: Arc<watch::Sender<bool>>,
    abandoned: AtomicBool,
}

/// Is a client with what its callbacks know.
struct Live {
    client: Client,
    standing: Arc<Standing>,
    url: String,
}

impl Link {
    /// Connects; waits, saying so, while there is no bus.
    pub(crate) async fn connect(options: BusOptions) -> Result<Self, BusError> {
        // A credential that cannot be read now is an error; later ones are tried again.
        keys::read_private_text(&options.jwt, "bus user JWT")?;
        // Fails only when a provider was installed before, which is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (state, connected) = watch::channel(false);
        let live = first_connect(&options, &Arc::new(state)).await;
        let (sender, clients) = watch::channel(live.client.clone());
        if let UrlSource::Ports(_) = options.urls {
            tokio::spawn(follow_ports(options, live, sender));
        }
        Ok(Self { clients, connected })
    }

    pub(crate) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    fn client(&self) -> Client {
        self.clients.borrow().clone()
    }

    /// Waits until another client stands in; for ever when none will.
    pub(super) async fn replaced(&mut self) {
        if self.clients.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the home of raw bus calls of the services")]
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        body: Vec<u8>,
    ) -> Result<(), BusError> {
        let sent = match headers {
            Some(headers) => self.client().publish_with_headers(subject, headers, body.into()).await,
            None => self.client().publish(subject, body.into()).await,
        };
        sent.map_err(|error| client_error("publish", &error))
    }

    #[expect(clippy::disallowed_methods, reason = "the home of raw bus calls of the services")]
    pub(crate) async fn publish_for_reply(
        &self,
        subject: String,
        reply: String,
        headers: Option<HeaderMap>,
        body: Vec<u8>,
    ) -> Result<(), BusError> {
        let sent = match headers {
            Some(headers) => {
                self.client()
                    .publish_with_reply_and_headers(subject, reply, headers, body.into())
                    .await
            }
            None => self.client().publish_with_reply(subject, reply, body.into()).await,
        };
        sent.map_err(|error| client_error("publish", &error))
    }

    #[expect(clippy::disallowed_methods, reason = "the home of raw bus calls of the services")]
    pub(super) async fn subscriber(&mut self, subject: &str, queue: Option<&str>) -> Result<Subscriber, BusError> {
        let client = self.clients.borrow_and_update().clone();
        match queue {
            Some(queue) => client.queue_subscribe(subject.to_owned(), queue.to_owned()).await,
            None => client.subscribe(subject.to_owned()).await,
        }
        .map_err(|error| client_error("subscribe", &error))
    }

    pub(crate) async fn subscribe(&self, subject: String, queue: Option<&str>) -> Result<Incomings, BusError> {
        Incomings::start(self.clone(), subject, queue.map(ToOwned::to_owned)).await
    }

    pub(crate) async fn flush(&self) -> Result<(), BusError> {
        self.client()
            .flush()
            .await
            .map_err(|error| client_error("flush", &error))
    }
}

fn client_error(did: &'static str, error: &dyn std::error::Error) -> BusError {
    BusError::Client {
        did,
        reason: error.to_string(),
    }
}

async fn first_connect(options: &BusOptions, state: &Arc<watch::Sender<bool>>) -> Live {
    let mut attempt = 0usize;
    let mut said = None;
    loop {
        let why = match options.urls.read() {
            None => "there is no ports.json yet".to_owned(),
            Some(url) => match try_connect(options, state, &url).await {
                Ok(live) => {
                    tracing::info!(bus = url, "connected to the bus");
                    return live;
                }
                Err(error) => error.to_string(),
            },
        };
        // Each reason once, and the standing one again every so often.
        if said.as_ref() != Some(&why) || attempt.is_multiple_of(30) {
            tracing::info!(reason = why, attempt, "waiting for the bus");
            said = Some(why);
        }
        attempt = attempt.saturating_add(1);
        tokio::time::sleep(pause(attempt)).await;
    }
}

async fn try_connect(
    options: &BusOptions,
    state: &Arc<watch::Sender<bool>>,
    url: &str,
) -> Result<Live, async_nats::ConnectError> {
    let (jwt, key) = (options.jwt.clone(), Arc::clone(&options.key));
    let standing = Arc::new(Standing {
        state: Arc::clone(state),
        abandoned: AtomicBool::new(false),
    });
    let (noted, paused, name) = (Arc::clone(&standing), Arc::clone(&standing), options.name.clone());
    let client = ConnectOptions::with_auth_callback(move |nonce| {
        let (jwt, key) = (jwt.clone(), Arc::clone(&key));
        async move {
            let mut auth = Auth::new();
            let text = keys::read_private_text(&jwt, "bus user JWT").map_err(AuthError::new)?;
            auth.jwt = Some(text.as_str().to_owned());
            auth.signature = Some(key.sign(&nonce).map_err(AuthError::new)?);
            Ok(auth)
        }
    })
    .name(&options.name)
    .custom_inbox_prefix(subjects::inbox_prefix(&options.inbox_owner))
    // Named by its file, so that the machine's own certificates are neither read nor trusted.
    .add_root_certificates(options.ca_pem.clone())
    .require_tls(true)
    .ignore_discovered_servers()
    .retain_servers_order()
    .max_reconnects(None)
    .connection_timeout(Duration::from_secs(5))
    .ping_interval(Duration::from_secs(10))
    .request_timeout(None)
    .subscription_capacity(SUBSCRIPTION_CAPACITY)
    .client_capacity(8_192)
    .reconnect_delay_callback(move |attempt| match paused.abandoned.load(Ordering::SeqCst) {
        // Its task cannot be ended while the bus it knew is away.
        true => Duration::from_secs(3_600),
        false => pause(attempt),
    })
    .event_callback(move |event| {
        if !noted.abandoned.load(Ordering::SeqCst) {
            note(&noted.state, &name, &event);
        }
        std::future::ready(())
    })
    .connect(url)
    .await?;
    // The event comes later; nothing waits for it.
    standing.state.send_replace(true);
    Ok(Live {
        client,
        standing,
        url: url.to_owned(),
    })
}

/// Returns how long to wait before an attempt: nothing first, then twice as long each time, between half and the whole.
fn pause(attempt: usize) -> Duration {
    if attempt <= 1 {
        return Duration::from_millis(20);
    }
    let doubled = 50u64.saturating_mul(1 << attempt.min(10));
    let whole = doubled.min(LONGEST_PAUSE_MS);
    Duration::from_millis(whole / 2 + random::below(whole / 2 + 1))
}

fn note(state: &watch::Sender<bool>, name: &str, event: &Event) {
    match event {
        Event::Connected => {
            state.send_replace(true);
            tracing::info!(connection = name, "the connection to the bus stands");
        }
        Event::Disconnected => {
            state.send_replace(false);
            tracing::warn!(connection = name, "the connection to the bus is lost");
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(
                connection = name,
                subscription,
                "messages are dropped: this service reads too slowly"
            );
        }
        Event::ServerError(error) => {
            let text = error.to_string();
            if text.contains("Permissions Violation") || text.contains("permissions violation") {
                tracing::error!(connection = name, error = text, "the bus refuses a subject");
            } else {
                tracing::warn!(connection = name, error = text, "the bus reports an error");
            }
        }
        Event::ClientError(error) => {
            tracing::debug!(connection = name, %error, "an attempt to connect failed");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(connection = name, event = %event, "the connection to the bus changes");
        }
    }
}

/// Connects anew when `ports.json` names another address while the connection is away.
async fn follow_ports(options: BusOptions, mut live: Live, clients: watch::Sender<Client>) {
    let mut connected = live.standing.state.subscribe();
    loop {
        tokio::select! {
            lost = connected.wait_for(|stands| !stands) => if lost.is_err() { return },
            () = clients.closed() => return,
        }
        tokio::time::sleep(LOOK).await;
        let Some(url) = options.urls.read().filter(|url| *url != live.url) else {
            continue;
        };
        if *connected.borrow() {
            continue;
        }
        let state = Arc::clone(&live.standing.state);
        match try_connect(&options, &state, &url).await {
            Ok(newer) => {
                tracing::info!(bus = url, "the bus has moved");
                live.standing.abandoned.store(true, Ordering::SeqCst);
                clients.send_replace(newer.client.clone());
                live = newer;
            }
            Err(error) => tracing::debug!(bus = url, %error, "the bus's new address does not answer yet"),
        }
    }
}
