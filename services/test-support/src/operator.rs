//! An operator who asks services as the gateway does.

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, OperatorId, SessionId};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{
    BiscuitRoot, Bounds, HOP_LIFE_MS, SessionClaims, Sites, attenuate, mint_session_within,
};
use borealis_service_kit::bus::{Bus, RequestOptions};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::{keys, random};
use ed25519_dalek::SigningKey;

use crate::{TestBus, TestError};

/// Is how long a log-in of a test holds.
const SESSION_LIFE_MS: i64 = 600_000;

/// Is an operator who is logged in.
#[derive(Debug, Clone)]
pub struct TestOperator {
    /// The session.
    pub session: SessionId,
    /// The key that signs what changes something.
    pub key: SigningKey,
    /// The session's biscuit, as wide as it was minted.
    pub token: String,
}

impl TestOperator {
    /// Logs in an operator whose rights reach some sites, without asking access.
    ///
    /// Errors: the deployment's root of biscuits cannot be read.
    pub fn log_in(bus: &TestBus, rights: &[Right], sites: &Sites) -> Result<Self, TestError> {
        let (session, key) = (random::id(), random::signing_key());
        let claims = SessionClaims {
            operator: random::id::<OperatorId>(),
            username: "ada".into(),
            session,
            session_key: PublicKey::of(&key),
            rights: rights.iter().map(|right| (*right, sites.clone())).collect(),
            expires_at: SystemClock.now().plus_ms(SESSION_LIFE_MS),
        };
        let bounds = Bounds {
            proved_at: Some(SystemClock.now()),
            ..Bounds::default()
        };
        let token = mint_session_within(&biscuit_root(bus)?, &claims, &bounds);
        let token = token.map_err(|error| TestError::of("session", &error))?;
        Ok(Self { session, key, token })
    }

    /// Builds a call of a route, signed when the route changes something.
    ///
    /// Errors: the service has no such verb.
    pub fn call(
        &self,
        service: Service,
        verb: &str,
        id: &str,
        body: &[u8],
        command: CommandId,
        at: Timestamp,
    ) -> Result<OperatorCall, TestError> {
        let route = of_verb(service, verb).ok_or_else(|| TestError(format!("{} has no {verb}", service.name())))?;
        let path = route.path.replace("{id}", id);
        let proof = Proof::new(&self.key, self.session, command, at, route.method, &path, body);
        Ok(OperatorCall {
            method: route.method.to_owned(),
            path,
            body: body.to_vec(),
            proof: route.changes.then_some(proof),
            peer: "192.0.2.7:4711".to_owned(),
        })
    }
}

/// Asks a verb of a service as the gateway does, and returns the answer's JSON.
pub async fn ask(
    gateway: &Bus,
    service: Service,
    verb: &str,
    call: &OperatorCall,
    biscuit: Option<String>,
) -> Reply<String> {
    let options = RequestOptions {
        biscuit,
        ..RequestOptions::default()
    };
    let answer = gateway.call(service, verb, call, options).await;
    answer.map(|answer| answer.json)
}

/// Narrows a token as the gateway did some time ago.
///
/// Errors: it is no token.
pub fn narrowed(token: &str, service: Service, need: Need, ago_ms: i64) -> Result<String, TestError> {
    let at = SystemClock.now().plus_ms(-ago_ms);
    attenuate(token, service, need, at, HOP_LIFE_MS).map_err(|error| TestError::of("narrowed token", &error))
}

/// Reads the key that mints every biscuit of a deployment.
///
/// Errors: it cannot be read.
pub fn biscuit_root(bus: &TestBus) -> Result<BiscuitRoot, TestError> {
    let key = keys::read_signing_key(&bus.paths().biscuit_root_key());
    let key = key.map_err(|error| TestError::of("root of biscuits", &error))?;
    BiscuitRoot::new(&key).map_err(|error| TestError::of("root of biscuits", &error))
}
