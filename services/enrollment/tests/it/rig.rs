//! A deployment with an operator, a running enrollment, and machines that enrol.

use std::sync::Arc;

use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, sign};
use borealis_bus_schema::ids::{ApprovalId, CodeId, CommandId, SiteName};
use borealis_bus_schema::installer_code::{CodeUse, InstallerCode};
use borealis_bus_schema::messages::device::Hello;
use borealis_bus_schema::messages::enrollment::{
    ApprovalView, CodeView, EnrollChallenge, EnrollPoll, EnrollRequest, EnrollState, HostFacts, Identity, Renew,
    Renewed,
};
use borealis_bus_schema::messages::shared_events::{SharedEvent as _, SiteSet};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right, of_verb};
use borealis_bus_schema::subjects::{Service, inbox_prefix};
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::{audit, codec};
use borealis_enrollment::app::App;
use borealis_event_store::EventRecord;
use borealis_service_kit::auth::Sites;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::run::Deps;
use borealis_test_support::{
    TestBus, TestOperator as Operator, TestService, User, ask, connect, eventually, host_facts, user_key_pair,
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::SigningKey;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::gate::Gate;

pub const ENROLLMENT: Service = Service::Enrollment;

/// Is a running deployment.
pub struct Rig {
    pub bus: TestBus,
    pub gateway: Bus,
    pub operator: Operator,
    pub app: Arc<App>,
    pub service: TestService,
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

impl Rig {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        Self::on(bus, &Gate::new()).await
    }

    /// Starts it on a log behind a gate.
    pub async fn start_behind(gate: &Gate) -> Self {
        Self::on(TestBus::start().await.unwrap(), gate).await
    }

    async fn on(bus: TestBus, gate: &Gate) -> Self {
        let mut built = None;
        let build = async |mut deps: Deps| {
            deps.log = gate.before(deps.log);
            let (builder, app) = borealis_enrollment::service::build(&deps)?;
            built = Some(app);
            Ok(builder.into())
        };
        let service = TestService::start(&bus, ENROLLMENT, build).await.unwrap();
        Self {
            gateway: connect(&bus, Service::Gateway).await.unwrap(),
            operator: log_in(&bus, &Right::ALL),
            app: built.unwrap(),
            service,
            bus,
        }
    }

    /// Stops enrollment and starts it again on the same root.
    pub async fn restart(self) -> Self {
        let Rig { bus, service, app, .. } = self;
        drop(app);
        service.stop().await.unwrap();
        Self::on(bus, &Gate::new()).await
    }

    pub fn call_by(&self, operator: &Operator, verb: &str, id: &str, body: &str, command: CommandId) -> OperatorCall {
        operator
            .call(ENROLLMENT, verb, id, body.as_bytes(), command, now())
            .unwrap()
    }

    pub async fn send(&self, verb: &str, call: &OperatorCall, biscuit: Option<String>) -> Reply<String> {
        ask(&self.gateway, ENROLLMENT, verb, call, biscuit).await
    }

    /// Asks an operator's verb as the gateway does.
    pub async fn ask<T: DeserializeOwned>(&self, verb: &str, id: &str, body: &Value) -> Reply<T> {
        self.command(verb, id, body, random::id()).await
    }

    pub async fn command<T: DeserializeOwned>(
        &self,
        verb: &str,
        id: &str,
        body: &Value,
        command: CommandId,
    ) -> Reply<T> {
        let call = self.call_by(&self.operator, verb, id, &body.to_string(), command);
        let answer = self.send(verb, &call, narrowed(&self.operator, verb, 0)).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    /// Calls a public route from an address.
    pub async fn public<T: DeserializeOwned>(&self, verb: &str, body: &Value, peer: &str) -> Reply<T> {
        let mut call = self.call_by(&self.operator, verb, "", &body.to_string(), random::id());
        call.peer = peer.to_owned();
        let answer = self.send(verb, &call, None).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub async fn mint(&self, body: Value) -> Minted {
        let (code, body) = self.draw_code(body);
        let minted: CodeView = self.ask("codes-create", "", &body).await.unwrap();
        Minted {
            id: minted.id,
            code: Some(code.reveal()),
        }
    }

    /// Draws a code as whoever mints it does, and adds what the server is told of it.
    pub fn draw_code(&self, mut body: Value) -> (InstallerCode, Value) {
        let code = InstallerCode::new(random::bytes(), self.bus.trust().ca_sha256().unwrap());
        body["public_key"] = json!(code.public_key());
        body["hint"] = json!(code.hint());
        (code, body)
    }

    /// Lets enrollment hear of a site.
    pub fn make_site(&self, name: &str) {
        let made = SiteSet {
            site: SiteName::new(name).unwrap(),
            at: now(),
        };
        let body = codec::encode(&made).unwrap();
        self.service.revoked.apply(SiteSet::KIND, &body).unwrap();
    }

    pub async fn approvals(&self, state: &str) -> Vec<ApprovalView> {
        let mut call = self.call_by(&self.operator, "approvals-list", "", "", random::id());
        call.path = format!("{}?state={state}", call.path);
        let biscuit = narrowed(&self.operator, "approvals-list", 0);
        let answer = self.send("approvals-list", &call, biscuit).await.unwrap();
        let page: Value = serde_json::from_str(&answer).unwrap();
        serde_json::from_value(page["items"].clone()).unwrap()
    }

    /// Enrols a machine with a code that approves by itself.
    pub async fn enrol(&self, machine: &Machine) -> Identity {
        let code = self.mint(json!({"auto_approve": true})).await.code.unwrap();
        let challenge = machine.request(self, &code).await.unwrap();
        machine.poll(self, &challenge).await.unwrap().identity()
    }

    /// Connects a machine to the bus with what it was given.
    pub async fn connect(&self, machine: &Machine, identity: &Identity) -> User {
        let key = user_key_pair(&machine.key).unwrap();
        let jwt = identity.credentials.bus_jwt.clone();
        let inbox = inbox_prefix(&identity.guid.to_string());
        self.bus.connect(key, move || jwt.clone(), &inbox).await.unwrap()
    }

    /// Connects a machine as an agent does: under its label, at an address.
    pub async fn connect_as(&self, machine: &Machine, identity: &Identity, label: &str, url: &str) -> User {
        let key = user_key_pair(&machine.key).unwrap();
        let jwt = identity.credentials.bus_jwt.clone();
        let name = format!("{}/{label}", identity.guid);
        let inbox = inbox_prefix(&identity.guid.to_string());
        let credentials = (key, Arc::new(move || jwt.clone()) as _);
        User::connect_as(url, &self.bus.paths().ca_pem(), Some(credentials), &inbox, Some(&name))
            .await
            .unwrap()
    }

    /// Draws a machine that is enrolled, connects, and counts as connected.
    pub async fn device(&self, hostname: &str) -> (Machine, Identity, User) {
        let machine = Machine::draw(hostname);
        let identity = self.enrol(&machine).await;
        let before = self.count("DeviceConnected");
        let user = self.connect(&machine, &identity).await;
        self.wait_for("DeviceConnected", before + 1).await;
        (machine, identity, user)
    }

    /// Returns its events; what the audit keeps of refusals is left out.
    pub fn events(&self) -> Vec<EventRecord> {
        let mut events = self.service.log.read_all(0, 10_000).unwrap();
        events.retain(|event| event.kind != audit::KIND);
        events
    }

    pub fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event.kind == kind).count()
    }

    /// Waits until the log holds that many events of a kind and the service has taken them in, which it does a moment later.
    pub async fn wait_for(&self, kind: &str, count: usize) {
        let found = eventually(kind, async || {
            let events = self.events();
            let last = events.iter().filter(|event| event.kind == kind).nth(count - 1)?;
            (self.app.ledger.state().position() >= last.position).then_some(())
        })
        .await;
        if let Err(error) = found {
            let kinds: Vec<String> = self.events().into_iter().map(|event| event.kind).collect();
            panic!("{error}; the log holds {kinds:?}");
        }
    }
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
    let need = of_verb(ENROLLMENT, verb).map_or(Need::Session, |route| route.need);
    Some(borealis_test_support::narrowed(&operator.token, ENROLLMENT, need, ago_ms).unwrap())
}

/// Is a code with its secret, which only whoever minted it has.
pub struct Minted {
    pub id: CodeId,
    pub code: Option<String>,
}

/// Is a machine that wants to become a device.
#[derive(Clone)]
pub struct Machine {
    pub key: SigningKey,
    pub exchange_key: PublicKey,
    pub client_nonce: String,
    pub facts: HostFacts,
    pub peer: String,
}

impl Machine {
    pub fn draw(hostname: &str) -> Self {
        Self {
            key: random::signing_key(),
            exchange_key: PublicKey::from_bytes(random::bytes()),
            client_nonce: nonce::<32>(),
            facts: host_facts(hostname, &HEXLOWER.encode(&random::bytes::<32>())),
            peer: "192.0.2.9:50000".into(),
        }
    }

    /// Is the same machine whose agent drew new keys.
    pub fn with_fresh_keys(&self) -> Self {
        let facts = self.facts.clone();
        Self {
            facts,
            ..Self::draw("")
        }
    }

    pub fn body(&self, code: &str) -> Value {
        self.body_with(&InstallerCode::parse(code).unwrap())
    }

    pub fn body_with(&self, code: &InstallerCode) -> Value {
        let public_key = PublicKey::of(&self.key);
        let asked = CodeUse {
            ca_sha256: code.ca_sha256(),
            public_key: &public_key,
            exchange_key: &self.exchange_key,
            client_nonce: &self.client_nonce,
            facts: &self.facts,
        };
        let request = EnrollRequest {
            code_key: code.public_key(),
            code_proof: asked.sign(code),
            public_key,
            exchange_key: self.exchange_key,
            exchange_key_signature: sign(&self.key, Form::ExchangeKey, &[self.exchange_key.as_bytes()]),
            client_nonce: self.client_nonce.clone(),
            facts: self.facts.clone(),
        };
        serde_json::to_value(&request).unwrap()
    }

    pub async fn request(&self, rig: &Rig, code: &str) -> Reply<EnrollChallenge> {
        rig.public("enroll-request", &self.body(code), &self.peer).await
    }

    pub fn proof(&self, server_nonce: &str, reference: ApprovalId) -> SignatureBytes {
        let reference = reference.to_string();
        let fields = [
            server_nonce.as_bytes(),
            reference.as_bytes(),
            self.client_nonce.as_bytes(),
        ];
        sign(&self.key, Form::Enroll, &fields)
    }

    pub async fn poll(&self, rig: &Rig, challenge: &EnrollChallenge) -> Reply<EnrollState> {
        let signature = self.proof(&challenge.server_nonce, challenge.reference);
        poll(rig, &self.peer, challenge.reference, signature).await
    }

    pub fn renewal(&self, identity: &Identity, refresh_token: Option<&str>, issued_at: Timestamp) -> Renew {
        let nonce = nonce::<16>();
        let (guid, issued) = (identity.guid.to_string(), issued_at.to_string());
        let token = refresh_token.unwrap_or_default();
        let fields = [guid.as_bytes(), token.as_bytes(), issued.as_bytes(), nonce.as_bytes()];
        Renew {
            guid: identity.guid,
            refresh_token: refresh_token.map(ToOwned::to_owned),
            issued_at,
            signature: sign(&self.key, Form::Renew, &fields),
            nonce,
        }
    }

    pub async fn renew(&self, rig: &Rig, identity: &Identity, token: Option<&str>) -> Reply<Renewed> {
        let renewal = serde_json::to_value(self.renewal(identity, token, now())).unwrap();
        rig.public("device-renew", &renewal, &self.peer).await
    }
}

pub async fn poll(rig: &Rig, peer: &str, reference: ApprovalId, signature: SignatureBytes) -> Reply<EnrollState> {
    let body = serde_json::to_value(EnrollPoll { reference, signature }).unwrap();
    rig.public("enroll-poll", &body, peer).await
}

pub fn nonce<const N: usize>() -> String {
    BASE64URL_NOPAD.encode(&random::bytes::<N>())
}

/// Builds what a device says when it has connected.
pub fn hello(identity: &Identity, counter: u64, answer: Option<&str>) -> Hello {
    Hello {
        guid: identity.guid,
        agent_version: "0.1.0".into(),
        contexts: vec![Context::System],
        roles: vec!["script".into()],
        journal_counter: counter,
        at: now(),
        challenge: answer.map(ToOwned::to_owned),
    }
}

/// Reads what a poll came to.
pub trait Polled {
    fn identity(self) -> Identity;
    fn text(&self) -> &'static str;
}

impl Polled for EnrollState {
    fn identity(self) -> Identity {
        match self {
            EnrollState::Approved(identity) => *identity,
            other => panic!("not approved but {}", other.text()),
        }
    }
    fn text(&self) -> &'static str {
        match self {
            EnrollState::Pending { .. } => "pending",
            EnrollState::Approved(_) => "approved",
            EnrollState::Denied { .. } => "denied",
            EnrollState::Expired => "expired",
        }
    }
}
