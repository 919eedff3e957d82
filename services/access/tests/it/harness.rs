//! A deployment with a real bus, on which services run inside the test.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Need;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{EventLog, NewEvent, StreamId};
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::run::{Built, Deps, RunError};
use borealis_test_support::TestBus;
pub use borealis_test_support::{TestOperator as Operator, TestService as Running};

/// Is a root with a running bus.
pub struct World {
    pub bus: TestBus,
}

impl World {
    pub async fn start() -> Self {
        Self {
            bus: TestBus::start().await.unwrap(),
        }
    }

    pub async fn connect(&self, service: Service) -> Bus {
        borealis_test_support::connect(&self.bus, service).await.unwrap()
    }

    /// Writes events into the log of a service that does not run yet.
    pub async fn seed(&self, service: Service, events: Vec<(StreamId, NewEvent)>) {
        let log = borealis_test_support::open_store(self.bus.paths(), service).unwrap();
        for (stream, event) in events {
            append(&log, stream, event).await;
        }
        log.flush_and_close().await.unwrap();
    }

    /// Runs a service; whatever is not access itself follows access.
    pub async fn serve(&self, service: Service, build: impl AsyncFnOnce(Deps) -> Result<Built, RunError>) -> Running {
        let started = if service == Service::Access {
            Running::start(&self.bus, service, build).await
        } else {
            Running::start_following_access(&self.bus, service, build).await
        };
        started.unwrap()
    }
}

/// Appends one event to a stream, past the service.
pub async fn append(log: &dyn EventLog, stream: StreamId, event: NewEvent) {
    borealis_test_support::append(log, stream.as_str(), &event.kind, event.body)
        .await
        .unwrap();
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Builds a call of a route, signed when it changes something.
pub fn call_at(
    operator: &Operator,
    service: Service,
    verb: &str,
    body: &[u8],
    command: CommandId,
    at: Timestamp,
) -> OperatorCall {
    operator.call(service, verb, "", body, command, at).unwrap()
}

/// Narrows a token as the gateway does, some milliseconds ago.
pub fn narrowed(token: &str, service: Service, need: Need, ago_ms: i64) -> String {
    borealis_test_support::narrowed(token, service, need, ago_ms).unwrap()
}

pub fn code<T>(reply: Reply<T>) -> Code {
    match reply {
        Ok(_) => panic!("it was answered"),
        Err(error) => error.code,
    }
}
