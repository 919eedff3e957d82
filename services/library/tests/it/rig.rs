//! A running library and the operators who ask it.

use borealis_bus_schema::ids::{AssemblyId, SiteName};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::Sites;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{TestBus, TestOperator, TestService, ask, connect, narrowed};
use serde_json::{Value, json};

pub const LIBRARY: Service = Service::Library;
pub const RIGHTS: [Right; 3] = [Right::LibraryRead, Right::LibraryWrite, Right::LibraryPublish];

pub struct Rig {
    pub bus: TestBus,
    pub gateway: Bus,
    pub scheduler: Bus,
    pub admin: TestOperator,
    pub service: TestService,
}

impl Rig {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let service = TestService::start(&bus, LIBRARY, borealis_library::build)
            .await
            .unwrap();
        Self {
            gateway: connect(&bus, Service::Gateway).await.unwrap(),
            scheduler: connect(&bus, Service::Scheduler).await.unwrap(),
            admin: TestOperator::log_in(&bus, &Right::ALL, &Sites::All).unwrap(),
            service,
            bus,
        }
    }

    /// Stops the library and starts it again on the same root.
    pub async fn restart(self) -> Self {
        let Self {
            bus,
            gateway,
            scheduler,
            admin,
            service,
        } = self;
        service.stop().await.unwrap();
        let service = TestService::start(&bus, LIBRARY, borealis_library::build)
            .await
            .unwrap();
        Self {
            bus,
            gateway,
            scheduler,
            admin,
            service,
        }
    }

    pub fn operator(&self, rights: &[Right], site: &str) -> TestOperator {
        let sites = Sites::Some([SiteName::new(site).unwrap()].into());
        TestOperator::log_in(&self.bus, rights, &sites).unwrap()
    }

    pub async fn ask_as(&self, who: &TestOperator, verb: &str, id: &str, query: &str, body: &Value) -> Reply<Value> {
        let verb = format!("assemblies-{verb}");
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let call = who.call(LIBRARY, &verb, id, text.as_bytes(), random::id(), SystemClock.now());
        let mut call = call.unwrap();
        call.path.push_str(query);
        let token = narrowed(&who.token, LIBRARY, of_verb(LIBRARY, &verb).unwrap().need, 0).unwrap();
        let answer = ask(&self.gateway, LIBRARY, &verb, &call, Some(token)).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub async fn ask(&self, verb: &str, id: &str, body: &Value) -> Reply<Value> {
        self.ask_as(&self.admin, verb, id, "", body).await
    }

    /// Makes an assembly and returns how it is shown.
    pub async fn make(&self, name: &str, sites: Value) -> Value {
        let draft = draft(name, "echo one", sites);
        self.ask("create", "", &json!({ "draft": draft })).await.unwrap()
    }

    pub fn events(&self) -> usize {
        let events = self.service.log.read_all(0, 100_000).unwrap();
        events
            .iter()
            .filter(|event| event.stream.as_str().starts_with("assembly-"))
            .count()
    }
}

pub fn draft(name: &str, script: &str, sites: Value) -> Value {
    json!({
        "name": name, "type": "sh", "script": script, "sites": sites, "tags": ["disk"], "category": "upkeep",
        "variables": [{"name": "who", "type": "string", "required": true}],
    })
}

pub fn id_of(view: &Value) -> String {
    view["assembly"].as_str().unwrap().to_owned()
}

pub fn nobody() -> String {
    AssemblyId::from_bytes([7; 16]).to_string()
}
