//! A deployment with an operator, a running inventory, and an enrollment that says what the test says.

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::messages::inventory::{
    Cpu, Facts, FactsKept, Interface, Memory, Os, Package, Summary, Volume,
};
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceStatus, DeviceStatusChanged, SharedEvent,
};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::Sites;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::run::Deps;
use borealis_test_support::{
    DEADLINE, TestBus, TestDevice, TestOperator as Operator, TestService, User, ask, connect, eventually,
};
use ed25519_dalek::SigningKey;
use serde_json::Value;

pub const INVENTORY: Service = Service::Inventory;

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Is a running deployment.
pub struct Rig {
    pub bus: TestBus,
    pub gateway: Bus,
    pub operator: Operator,
    pub enrollment: TestService,
    pub inventory: TestService,
}

impl Rig {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let enrollment = TestService::start(&bus, Service::Enrollment, async |deps: Deps| Ok(deps.builder().into()));
        let enrollment = enrollment.await.unwrap();
        Self::on(bus, enrollment).await
    }

    async fn on(bus: TestBus, enrollment: TestService) -> Self {
        let inventory = TestService::start(&bus, INVENTORY, borealis_inventory::service::build).await;
        Self {
            gateway: connect(&bus, Service::Gateway).await.unwrap(),
            operator: log_in(&bus, &Right::ALL),
            inventory: inventory.unwrap(),
            enrollment,
            bus,
        }
    }

    /// Stops inventory and starts it again on the same root.
    pub async fn restart(self) -> Self {
        let Rig {
            bus,
            enrollment,
            inventory,
            ..
        } = self;
        inventory.stop().await.unwrap();
        Self::on(bus, enrollment).await
    }

    /// Lets enrollment say that a device exists, and waits until inventory knows.
    pub async fn enrol(&self, device: &TestDevice, hostname: &str) {
        let enrolled = device.enrolled(hostname, SiteName::default_site());
        self.tell("device", device, &enrolled).await;
        self.eventually("the device", &device.guid, |_| true).await;
    }

    async fn tell<T: SharedEvent>(&self, aggregate: &str, device: &TestDevice, event: &T) {
        let stream = format!("{aggregate}-{}", device.guid);
        self.enrollment.tell(&stream, event).await.unwrap();
    }

    pub async fn connected(&self, device: &TestDevice) {
        let event = DeviceConnected {
            guid: device.guid,
            address: "192.0.2.2".into(),
            at: now(),
        };
        self.tell("presence", device, &event).await;
    }

    pub async fn disconnected(&self, device: &TestDevice, at: Timestamp) {
        let event = DeviceDisconnected {
            guid: device.guid,
            at,
            reason: "Client Closed".into(),
        };
        self.tell("presence", device, &event).await;
    }

    /// Lets enrollment say that a device's status changed, and waits until inventory knows.
    pub async fn change_status(&self, device: &TestDevice, status: DeviceStatus) {
        let event = DeviceStatusChanged {
            guid: device.guid,
            status,
            reason: "test".into(),
            at: now(),
            by: None,
        };
        self.tell("device", device, &event).await;
        self.eventually("the status", &device.guid, |shown| shown["status"] == status.as_str())
            .await;
    }

    /// Waits until a device is shown as wanted.
    pub async fn eventually(&self, what: &str, guid: &Guid, wanted: impl Fn(&Value) -> bool) -> Value {
        let id = guid.to_string();
        let shown = eventually(what, async || {
            self.read("devices-show", &id, "").await.ok().filter(&wanted)
        });
        shown.await.unwrap()
    }

    /// Reads an operator's verb as the gateway does.
    pub async fn read(&self, verb: &str, id: &str, query: &str) -> Reply<Value> {
        let call = self.call_by(&self.operator, verb, id, query);
        let answer = self.send(verb, &call, narrowed(&self.operator, verb, 0)).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub fn call_by(&self, operator: &Operator, verb: &str, id: &str, query: &str) -> OperatorCall {
        let mut call = operator.call(INVENTORY, verb, id, b"", random::id(), now()).unwrap();
        call.path.push_str(query);
        call
    }

    pub async fn send(&self, verb: &str, call: &OperatorCall, biscuit: Option<String>) -> Reply<String> {
        ask(&self.gateway, INVENTORY, verb, call, biscuit).await
    }
}

/// Tells facts over a device's connection, signed by any key.
pub async fn tell(user: &User, guid: &Guid, key: &SigningKey, facts: &Facts) -> Reply<FactsKept> {
    let signed = Signed::seal(key, Form::Facts, facts).unwrap();
    let subject = format!("borealis.v1.device.{guid}.tell.inventory.facts");
    let answer = user
        .request(&subject, &codec::encode(&signed).unwrap(), DEADLINE)
        .await
        .unwrap();
    reply::decode(&answer)
}

pub fn facts(guid: Guid) -> Facts {
    Facts {
        guid,
        at: now(),
        summary: Summary {
            hostname: "web-1".into(),
            uptime_ms: 60_000,
            ..Summary::default()
        },
        cpu: Cpu {
            model: "EPYC".into(),
            logical: 4,
            physical: Some(2),
        },
        memory: Memory {
            total_bytes: 8 << 30,
            available_bytes: 4 << 30,
            swap_bytes: 0,
        },
        storage: vec![Volume {
            mount: "/".into(),
            device: "/dev/vda1".into(),
            file_system: "ext4".into(),
            total_bytes: 100 << 30,
            free_bytes: 60 << 30,
        }],
        network: vec![Interface {
            name: "eth0".into(),
            mac: "52:54:00:00:00:01".into(),
            addresses: vec!["10.0.0.7/24".into()],
        }],
        os: Os {
            family: "linux".into(),
            name: "Debian GNU/Linux".into(),
            version: "12".into(),
            kernel: "6.1".into(),
            arch: "x86_64".into(),
        },
        software: packages(3),
    }
}

pub fn packages(count: usize) -> Vec<Package> {
    let package = |number: usize| Package {
        name: format!("package-{number}"),
        version: "1.0".into(),
        source: "dpkg".into(),
    };
    (0..count).map(package).collect()
}

pub fn log_in(bus: &TestBus, rights: &[Right]) -> Operator {
    log_in_at(bus, rights, &Sites::All)
}

/// Logs in an operator whose rights reach some sites.
pub fn log_in_at(bus: &TestBus, rights: &[Right], sites: &Sites) -> Operator {
    Operator::log_in(bus, rights, sites).unwrap()
}

/// Narrows an operator's token to a verb, as the gateway did some time ago.
pub fn narrowed(operator: &Operator, verb: &str, ago_ms: i64) -> Option<String> {
    let need = of_verb(INVENTORY, verb).unwrap().need;
    Some(borealis_test_support::narrowed(&operator.token, INVENTORY, need, ago_ms).unwrap())
}
