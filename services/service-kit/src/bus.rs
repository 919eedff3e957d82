//! The bus as services see it, and the only place of a service that names its client library.
//!
//! [`Bus`] asks, orders, publishes and listens; [`Sys`] is enrollment's second connection, to the bus's own account. Both wait,
//! saying so, while there is no bus; both reconnect for ever, with pauses that grow and differ, and follow the bus to another
//! port through `ports.json`. Requests share one subscription for all replies. A refused subject, a slow consumer and a lost
//! connection are logged; nothing that matters relies on a publish that nobody answers.

mod connection;
mod incoming;
mod requests;
mod sys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::envelope::Envelope;
use borealis_bus_schema::ids::{CorrelationId, VerbName};
use borealis_bus_schema::messages::Request;
use borealis_bus_schema::messages::device::Accepted;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall};
use borealis_bus_schema::order::SignedOrder;
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::subjects::{self, Service, Subject, filter};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

pub use connection::{BusOptions, UrlSource};
pub use incoming::{Incoming, Incomings};
pub use sys::{Connection, ConnectionEvent, ConnectionEvents, Sys};

use crate::keys::KeyFileError;
use crate::paths::Paths;
use crate::random;
use crate::trust::TrustFile;
use connection::Link;
use requests::Requests;

/// Is how long a request waits for its answer unless told otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Says why the bus could not be used.
#[derive(Debug, Error)]
pub enum BusError {
    /// The bus user's key or JWT cannot be read.
    #[error("the bus user's credentials cannot be read")]
    Credentials(#[from] KeyFileError),
    /// The seed or an address is none.
    #[error("{what} is not usable")]
    Unusable {
        /// What.
        what: &'static str,
    },
    /// The client refused; it does so when it was closed.
    #[error("the bus client could not {did}: {reason}")]
    Client {
        /// What was tried.
        did: &'static str,
        /// What it said.
        reason: String,
    },
    /// The body cannot be sent.
    #[error("the body cannot be sent")]
    Codec(#[from] codec::CodecError),
    /// The bus answered with something else than expected.
    #[error("the bus answered {what} with something unexpected: {reason}")]
    Answer {
        /// The request.
        what: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// Says with which identity a service connects.
#[derive(Debug, Clone)]
pub struct BusConfig {
    /// The service.
    pub service: Service,
    /// Where its key, its JWT and `ports.json` stand.
    pub paths: Paths,
    /// What it trusts.
    pub trust: Arc<TrustFile>,
}

/// Says how a request is sent.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// The operator's biscuit, already narrowed to the service that is asked.
    pub biscuit: Option<String>,
    /// The act that caused it; a new one when there is none.
    pub correlation: Option<CorrelationId>,
    /// How long to wait; [`REQUEST_TIMEOUT`] unless told.
    pub timeout: Option<Duration>,
}

impl RequestOptions {
    fn envelope(&self) -> Envelope {
        Envelope {
            message_id: random::id(),
            correlation_id: self.correlation.unwrap_or_else(random::id),
            trace_parent: None,
            biscuit: self.biscuit.clone(),
        }
    }

    fn wait(&self) -> Duration {
        self.timeout.unwrap_or(REQUEST_TIMEOUT)
    }
}

/// Is an event for live views, as it travels.
///
/// Shape: CBOR `{at, data}`; `data` in the form that JSON takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveBody<T> {
    /// When it was published.
    pub at: Timestamp,
    /// What happened.
    pub data: T,
}

/// Is an event for live views, as the gateway receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// Who published it.
    pub service: Service,
    /// The kind of thing it happened to.
    pub aggregate: VerbName,
    /// What happened.
    pub past: VerbName,
    /// The rest.
    pub body: LiveBody<serde_json::Value>,
}

/// Is a service's connection to the bus. Handles are cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    link: Link,
    requests: Requests,
}

impl Bus {
    /// Connects a service; waits, saying so, while there is no bus.
    ///
    /// Errors: [`BusError::Credentials`], [`BusError::Unusable`]; never because the bus is away.
    pub async fn connect(config: BusConfig) -> Result<Self, BusError> {
        let options = BusOptions::of_service(&config)?;
        Self::connect_with(config.service, options).await
    }

    /// Connects with options of one's own.
    ///
    /// Errors: as [`Bus::connect`].
    pub async fn connect_with(service: Service, options: BusOptions) -> Result<Self, BusError> {
        let link = Link::connect(options).await?;
        let requests = Requests::start(&link, &subjects::inbox_prefix(service.name())).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                service,
                link,
                requests,
            }),
        })
    }

    /// Returns the service that this connection speaks for.
    pub fn service(&self) -> Service {
        self.inner.service
    }

    /// Follows whether the connection stands.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.inner.link.connected()
    }

    /// Asks a service.
    ///
    /// Errors: what the service answered; `unavailable` when nobody listens, `deadline_exceeded` when nobody answers.
    pub async fn request<R: Request>(&self, request: &R, options: RequestOptions) -> Reply<R::Reply> {
        let body = codec::encode(request)?;
        let subject = service_subject(R::SERVICE, R::VERB)?;
        reply::decode(&self.request_raw(&subject, body, &options).await?)
    }

    /// Sends bytes to a subject and returns the answer's bytes.
    ///
    /// Errors: as [`Bus::request`], but for what the service answered.
    pub async fn request_raw(&self, subject: &Subject, body: Vec<u8>, options: &RequestOptions) -> Reply<Vec<u8>> {
        let headers = incoming::headers(&options.envelope());
        let answer = self
            .inner
            .requests
            .ask(
                &self.inner.link,
                subject.to_string(),
                Some(headers),
                body,
                options.wait(),
            )
            .await?;
        Ok(answer.into())
    }

    /// Forwards an operator's call to the verb of a service.
    ///
    /// Errors: as [`Bus::request`].
    pub async fn call(
        &self,
        service: Service,
        verb: &str,
        call: &OperatorCall,
        options: RequestOptions,
    ) -> Reply<OperatorAnswer> {
        let body = codec::encode(call)?;
        let subject = service_subject(service, verb)?;
        reply::decode(&self.request_raw(&subject, body, &options).await?)
    }

    /// Sends a signed order to a device and waits for its acceptance.
    ///
    /// Errors: what the device answered; `unavailable` when it is not connected, `deadline_exceeded` when it does not answer.
    pub async fn order(&self, subject: &Subject, order: &SignedOrder, timeout: Duration) -> Reply<Accepted> {
        let body = codec::encode(order)?;
        let asked = self
            .inner
            .requests
            .ask(&self.inner.link, subject.to_string(), None, body, timeout);
        let answer = borealis_fail_points::under_way("CS6", asked, self.flush()).await?;
        reply::decode(&answer)
    }

    /// Publishes an event for live views; nobody relies on it.
    ///
    /// Errors: [`BusError::Codec`] for what is too large, [`BusError::Client`] when the client was closed.
    pub async fn publish_event<T: Serialize>(
        &self,
        aggregate: &VerbName,
        past: &VerbName,
        at: Timestamp,
        data: &T,
    ) -> Result<(), BusError> {
        let subject = Subject::Event {
            service: self.inner.service,
            aggregate: aggregate.clone(),
            past: past.clone(),
        };
        let body = codec::encode(&LiveBody { at, data })?;
        self.inner.link.publish(subject.to_string(), None, body).await
    }

    /// Publishes this service's signed head.
    pub(crate) async fn publish_head(&self, body: Vec<u8>) -> Result<(), BusError> {
        let subject = Subject::Head {
            service: self.inner.service,
        };
        self.inner.link.publish(subject.to_string(), None, body).await
    }

    /// Listens to the events for live views of every service; heads are left out.
    ///
    /// Errors: [`BusError::Client`].
    pub async fn live_events(&self) -> Result<LiveEvents, BusError> {
        let incomings = self.inner.link.subscribe(filter::all_events(), None).await?;
        Ok(LiveEvents(incomings))
    }

    /// Listens to a subject or a filter, as a member of a queue group or alone.
    pub(crate) async fn listen(&self, subject: String, queue: Option<&str>) -> Result<Incomings, BusError> {
        self.inner.link.subscribe(subject, queue).await
    }

    /// Asks every service whether it is there, and returns the names of those that answered within the time, each with whether
    /// it says that its keys are isolated.
    ///
    /// Errors: [`BusError::Client`].
    pub async fn ping_services(&self, within: Duration) -> Result<BTreeMap<String, bool>, BusError> {
        #[derive(Deserialize)]
        struct Pong {
            name: String,
            #[serde(default)]
            metadata: BTreeMap<String, String>,
        }
        let mut answers = self
            .inner
            .requests
            .ask_many(&self.inner.link, "$SRV.PING".to_owned())
            .await?;
        let mut names = BTreeMap::new();
        let wanted = Service::ALL.len() - 1;
        let collect = async {
            while let Some(body) = answers.recv().await {
                if let Ok(pong) = codec::decode_json::<Pong>(&body, 16 << 10) {
                    let isolated = pong.metadata.get("keys").is_some_and(|keys| keys == "isolated");
                    names.insert(pong.name, isolated);
                }
                if names.len() >= wanted {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(within, collect).await;
        Ok(names)
    }

    /// Waits until everything published so far has left for the bus.
    ///
    /// Errors: [`BusError::Client`].
    pub async fn flush(&self) -> Result<(), BusError> {
        self.inner.link.flush().await
    }
}

/// Is a stream of events for live views.
pub struct LiveEvents(Incomings);

impl LiveEvents {
    /// Waits for the next event; `None` once the connection was closed. What cannot be read is left out.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            let message = self.0.next().await?;
            let Ok(Subject::Event {
                service,
                aggregate,
                past,
            }) = message.subject().parse()
            else {
                continue;
            };
            if let Ok(body) = codec::decode(message.body()) {
                return Some(LiveEvent {
                    service,
                    aggregate,
                    past,
                    body,
                });
            }
        }
    }
}

fn service_subject(service: Service, verb: &str) -> Reply<Subject> {
    let verb = VerbName::new(verb).map_err(|_| WireError::new(Code::UnknownVerb, "this is no verb"))?;
    Ok(Subject::Service { service, verb })
}
