//! What stands behind the gateway: services on the bus, or in tests something that answers like them.

use std::collections::BTreeMap;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::VerbName;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_service_kit::bus::{Bus, RequestOptions};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// Answers calls.
pub trait Backend: Send + Sync + 'static {
    /// Forwards a call to a service's verb.
    ///
    /// Errors: what the service answered; `unavailable` when nobody listens, `deadline_exceeded` when nobody answers.
    fn call<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        call: &'a OperatorCall,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<OperatorAnswer>>;

    /// Asks a service's internal verb; body and answer are encoded.
    ///
    /// Errors: `unavailable` when nobody listens, `deadline_exceeded` when nobody answers.
    fn ask<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        body: Vec<u8>,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<Vec<u8>>>;

    /// Returns the services that answer within the time, each with whether it says that its keys are isolated; `None` while
    /// there is no bus.
    fn answering(&self, within: Duration) -> BoxFuture<'_, Option<BTreeMap<String, bool>>>;
}

/// Is the bus, once there is one.
pub struct BusBackend {
    bus: watch::Receiver<Option<Bus>>,
}

impl BusBackend {
    /// Takes the place where the connection appears.
    pub const fn new(bus: watch::Receiver<Option<Bus>>) -> Self {
        Self { bus }
    }

    /// Returns the connection when it stands.
    fn standing(&self) -> Option<Bus> {
        let bus = self.bus.borrow().clone()?;
        let stands = *bus.connected().borrow();
        stands.then_some(bus)
    }
}

fn no_bus() -> WireError {
    WireError::new(Code::Unavailable, "the bus is not connected at the moment")
}

fn lost() -> WireError {
    WireError::new(Code::DeadlineExceeded, "the bus was lost before the answer came")
}

impl Backend for BusBackend {
    fn call<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        call: &'a OperatorCall,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<OperatorAnswer>> {
        Box::pin(async move {
            // Sent only over a connection that stands: nothing waits in a buffer for a bus that comes back later.
            let bus = self.standing().ok_or_else(no_bus)?;
            let mut connected = bus.connected();
            tokio::select! {
                answer = bus.call(service, verb, call, options) => answer,
                // The answer went with the connection: whoever may ask again need not wait for it.
                _ = connected.wait_for(|stands| !stands) => Err(lost()),
            }
        })
    }

    fn ask<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        body: Vec<u8>,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<Vec<u8>>> {
        Box::pin(async move {
            let bus = self.standing().ok_or_else(no_bus)?;
            let verb = VerbName::new(verb).map_err(|error| WireError::new(Code::UnknownVerb, error.to_string()))?;
            let (subject, mut connected) = (Subject::Service { service, verb }, bus.connected());
            tokio::select! {
                answer = bus.request_raw(&subject, body, &options) => answer,
                _ = connected.wait_for(|stands| !stands) => Err(lost()),
            }
        })
    }

    fn answering(&self, within: Duration) -> BoxFuture<'_, Option<BTreeMap<String, bool>>> {
        Box::pin(async move {
            let bus = self.standing()?;
            bus.ping_services(within).await.ok()
        })
    }
}
