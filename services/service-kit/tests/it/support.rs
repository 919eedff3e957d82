//! A deployment with one operator, and services made of a few handlers.

use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::Sites;
use borealis_service_kit::bus::{Bus, RequestOptions};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::run::Deps;
use borealis_service_kit::service::ServiceBuilder;
use borealis_test_support::{TestBus, TestOperator, TestService, append, ask, narrowed};

/// Is a root with a running bus and one operator who may do everything.
pub struct Deployment {
    pub bus: TestBus,
    pub operator: TestOperator,
}

impl Deployment {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let operator = TestOperator::log_in(&bus, &Right::ALL, &Sites::All).unwrap();
        Self { bus, operator }
    }

    pub async fn connect(&self, service: Service) -> Bus {
        borealis_test_support::connect(&self.bus, service).await.unwrap()
    }

    /// Runs a service of handlers.
    pub async fn serve(&self, service: Service, build: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> TestService {
        let build = async |deps: Deps| Ok(build(deps.builder()).into());
        TestService::start(&self.bus, service, build).await.unwrap()
    }

    /// Builds a call of a verb, signed when the verb changes something.
    pub fn call(&self, service: Service, verb: &str, id: &str, body: &[u8]) -> OperatorCall {
        self.call_as(service, verb, id, body, random::id())
    }

    pub fn call_as(&self, service: Service, verb: &str, id: &str, body: &[u8], command: CommandId) -> OperatorCall {
        let now = SystemClock.now();
        self.operator.call(service, verb, id, body, command, now).unwrap()
    }

    /// Narrows the operator's token to a verb, as the gateway does.
    pub fn options(&self, service: Service, verb: &str) -> RequestOptions {
        RequestOptions {
            biscuit: Some(self.narrowed(service, verb)),
            ..RequestOptions::default()
        }
    }

    fn narrowed(&self, service: Service, verb: &str) -> String {
        let need = of_verb(service, verb).map_or(Need::Session, |route| route.need);
        narrowed(&self.operator.token, service, need, 0).unwrap()
    }

    /// Asks a verb as the gateway does, with the operator's token.
    pub async fn ask(&self, gateway: &Bus, service: Service, verb: &str, body: &[u8]) -> Reply<String> {
        let call = self.call(service, verb, "0123", body);
        ask(gateway, service, verb, &call, Some(self.narrowed(service, verb))).await
    }
}

/// Appends one event to a service's log.
pub async fn record(service: &TestService, stream: &str, kind: &str, body: Vec<u8>) {
    append(service.log.as_ref(), stream, kind, body).await.unwrap();
}
