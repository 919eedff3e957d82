//! A deployment with one operator, some devices, and the three services that decide what is signed.

use borealis_access::aggregate::{Event, Username};
use borealis_access::stored;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{
    CommandId, Guid, JobId, OperatorId, OperatorRoleName, RoleName, RunId, SiteName, VerbName,
};
use borealis_bus_schema::messages::access::{Grant, MintGrant};
use borealis_bus_schema::messages::scheduler::OUTPUT_LIMIT_BYTES;
use borealis_bus_schema::messages::shared_events::{DeviceStatus, DeviceStatusChanged, SharedEvent};
use borealis_bus_schema::messages::signing::{Approval, OrdersSigned, SignOrders};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::{Context, Digest, Language, Order, OrderBody, ScriptBody};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{NewEvent, StreamId};
use borealis_service_kit::auth::{SessionClaims, Sites, mint_grant, mint_session};
use borealis_service_kit::bus::{Bus, RequestOptions};
use borealis_service_kit::random;
use borealis_test_support::{TestDevice, biscuit_root, eventually};
use serde_json::{Value, json};

use crate::harness::{Operator, Running, World, call_at, narrowed, now};

/// Is everything, running.
pub struct Fleet {
    pub world: World,
    pub access: Running,
    pub enrollment: Running,
    pub signing: Running,
    pub scheduler: Bus,
    pub ada: Operator,
    pub operator: OperatorId,
}

impl Fleet {
    pub async fn start() -> Self {
        Self::start_by(World::start().await, |_, _| {}).await
    }

    /// Starts everything, doing something to the world before each service connects.
    pub async fn start_by(world: World, before: impl Fn(&World, Service)) -> Self {
        let operator = random::id();
        let mut ada = Operator {
            session: random::id(),
            key: random::signing_key(),
            token: String::new(),
        };
        let claims = claims(operator, &ada, &[Right::JobsRun], Sites::All);
        ada.token = mint_session(&biscuit_root(&world.bus).unwrap(), &claims).unwrap();
        world.seed(Service::Access, log_in(operator, &ada)).await;
        before(&world, Service::Access);
        let access = world.serve(Service::Access, borealis_access::build).await;
        before(&world, Service::Enrollment);
        let enrollment = world
            .serve(Service::Enrollment, async |deps| Ok(deps.builder().into()))
            .await;
        before(&world, Service::Signing);
        let signing = world.serve(Service::Signing, borealis_signing::build).await;
        let scheduler = world.connect(Service::Scheduler).await;
        Self {
            world,
            access,
            enrollment,
            signing,
            scheduler,
            ada,
            operator,
        }
    }

    /// Enrols a device at a site.
    pub async fn device(&self, site: &str) -> Guid {
        let device = TestDevice::draw();
        let enrolled = device.enrolled("h", SiteName::new(site).unwrap());
        self.tell(&device.guid, &enrolled).await;
        device.guid
    }

    /// Changes what a device may.
    pub async fn status(&self, guid: Guid, status: DeviceStatus) {
        let changed = DeviceStatusChanged {
            guid,
            status,
            reason: String::new(),
            at: now(),
            by: None,
        };
        self.tell(&guid, &changed).await;
    }

    async fn tell<T: SharedEvent>(&self, guid: &Guid, event: &T) {
        self.enrollment.tell(&format!("device-{guid}"), event).await.unwrap();
    }

    /// Gets a grant for a call, as the scheduler does.
    pub async fn grant(&self, call: &OperatorCall) -> String {
        self.granted(call).await.token
    }

    /// Gets a grant for a call, with its id.
    pub async fn granted(&self, call: &OperatorCall) -> Grant {
        let ask = MintGrant {
            call: call.clone(),
            expires_at: now().plus_ms(3_600_000),
        };
        let options = RequestOptions {
            biscuit: Some(narrowed(
                &self.ada.token,
                Service::Scheduler,
                Need::Right(Right::JobsRun),
                0,
            )),
            ..RequestOptions::default()
        };
        self.scheduler.request(&ask, options).await.unwrap()
    }

    /// Mints a grant as whoever holds the biscuits' root could.
    pub fn forged_grant(&self, call: &OperatorCall, rights: &[Right], sites: Sites) -> String {
        let claims = claims(self.operator, &self.ada, rights, sites);
        mint_grant(
            &biscuit_root(&self.world.bus).unwrap(),
            &claims,
            random::id(),
            &call.granted_digest(&call.proof.as_ref().unwrap().command),
        )
        .unwrap()
    }

    /// Asks for signatures; asks again while signing has not heard enough.
    pub async fn sign(&self, grant: &str, call: &OperatorCall, orders: Vec<Order>) -> Reply<OrdersSigned> {
        self.sign_approved(grant, call, orders, None).await
    }

    /// Does the same, with another operator's approval.
    pub async fn sign_approved(
        &self,
        grant: &str,
        call: &OperatorCall,
        orders: Vec<Order>,
        approval: Option<Approval>,
    ) -> Reply<OrdersSigned> {
        let ask = SignOrders {
            grant: grant.to_owned(),
            call: call.clone(),
            orders,
            approval,
            firing: None,
            assembly: None,
        };
        eventually("signing's fresh knowledge", async || {
            let reply = self.scheduler.request(&ask, RequestOptions::default()).await;
            let waits = matches!(&reply, Err(error) if error.code == borealis_bus_schema::codes::Code::Stale);
            (!waits).then_some(reply)
        })
        .await
        .unwrap()
    }

    /// Waits until signing knows a device as it is meant to be.
    pub async fn until(
        &self,
        grant: &str,
        call: &OperatorCall,
        order: &Order,
        expected: impl Fn(&Reply<OrdersSigned>) -> bool,
    ) {
        eventually("signing's knowledge", async || {
            let reply = self.sign(grant, call, vec![order.clone()]).await;
            expected(&reply).then_some(())
        })
        .await
        .unwrap();
    }

    /// Builds the signed request for a ping.
    pub fn ping(&self, targets: &Value, command: CommandId) -> OperatorCall {
        let body = json!({"targets": targets, "role": "agent", "verb": "ping", "expires_in_ms": 3_600_000});
        self.job(&body, command)
    }

    pub fn job(&self, body: &Value, command: CommandId) -> OperatorCall {
        let body = body.to_string().into_bytes();
        call_at(&self.ada, Service::Scheduler, "jobs-create", &body, command, now())
    }

    /// Stops signing and starts it again on what it left behind.
    pub async fn with_signing_restarted(self) -> Self {
        let Self {
            world,
            access,
            enrollment,
            signing,
            scheduler,
            ada,
            operator,
        } = self;
        signing.stop().await.unwrap();
        let signing = world.serve(Service::Signing, borealis_signing::build).await;
        Self {
            world,
            access,
            enrollment,
            signing,
            scheduler,
            ada,
            operator,
        }
    }

    pub async fn stop(self) {
        self.signing.stop().await.unwrap();
        self.enrollment.stop().await.unwrap();
        self.access.stop().await.unwrap();
    }
}

fn claims(operator: OperatorId, ada: &Operator, rights: &[Right], sites: Sites) -> SessionClaims {
    SessionClaims {
        operator,
        username: "ada".into(),
        session: ada.session,
        session_key: PublicKey::of(&ada.key),
        rights: rights.iter().map(|right| (*right, sites.clone())).collect(),
        expires_at: now().plus_ms(3_600_000),
    }
}

fn log_in(operator: OperatorId, ada: &Operator) -> Vec<(StreamId, NewEvent)> {
    let at = now();
    let events = [
        Event::OperatorCreated {
            operator,
            username: Username::new("ada").unwrap(),
            roles: [OperatorRoleName::administrator()].into(),
            peer: "192.0.2.1".into(),
            at,
        },
        Event::SessionStarted {
            session: ada.session,
            operator,
            session_key: PublicKey::of(&ada.key),
            peer: "192.0.2.1".into(),
            at,
            expires_at: at.plus_ms(3_600_000),
        },
    ];
    events.iter().map(|event| stored::encode(event).unwrap()).collect()
}

/// Builds the order of a ping.
pub fn ping_order(command: CommandId, guid: Guid) -> Order {
    Order {
        order: random::id(),
        run: RunId::of_job(&JobId::of_command(&command), &guid),
        attempt: 1,
        guid,
        context: Context::System,
        role: RoleName::agent(),
        verb: VerbName::ping(),
        body: OrderBody::Ping,
        issued_at: now(),
        expires_at: now().plus_ms(600_000),
        key_id: String::new(),
    }
}

/// Builds the order of a script in sh, whose text is in the request.
pub fn script_order(command: CommandId, guid: Guid, script: &str) -> Order {
    Order {
        role: RoleName::script(),
        verb: VerbName::run(),
        body: OrderBody::Script(ScriptBody {
            language: Language::Sh,
            script: Vec::new(),
            digest: Digest::of(script.as_bytes()),
            args: Vec::new(),
            env: Default::default(),
            timeout_ms: 60_000,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
        }),
        ..ping_order(command, guid)
    }
}
