//! An operator's half of set-up and log-in, with cheap stretching: the server cannot tell.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_access::build;
use borealis_access::opaque::{SERVER_IDENTIFIER, Suite};
use borealis_bus_schema::factor::Factor;
use borealis_bus_schema::forms::{Form, PublicKey};
use borealis_bus_schema::messages::access::LoginAnswer;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::of_verb;
use borealis_bus_schema::seeds::{LinkSecret, LinkUse, Registered};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::random;
pub use borealis_test_support::ask;
use hmac::{Hmac, Mac};
use opaque_ke::argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};
use rand::rngs::OsRng;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Operator, Running, World, call_at, narrowed, now};

impl World {
    /// Runs access with one operator, who is logged in; returns the gateway's connection besides.
    pub async fn with_ada() -> (Self, Running, Bus, Operator) {
        let world = Self::start().await;
        let access = world.serve(Service::Access, build).await;
        let gateway = world.connect(Service::Gateway).await;
        set_up(&gateway, &setup_secret(&world), "ada", "p").await.unwrap();
        let ada = log_in(&gateway, "ada", "p").await.unwrap();
        (world, access, gateway, ada)
    }
}

/// Reads the secret of the set-up link.
pub fn setup_secret(world: &World) -> String {
    std::fs::read_to_string(world.bus.root().join("Server/State/access/setup_secret")).unwrap()
}

fn stretching() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap())
}

fn names(username: &str) -> Identifiers<'_> {
    Identifiers {
        client: Some(username.as_bytes()),
        server: Some(SERVER_IDENTIFIER.as_bytes()),
    }
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(answer: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(answer[name].as_str().unwrap()).unwrap()
}

/// Builds a call of a route, now and under a new command.
pub fn call(operator: &Operator, service: Service, verb: &str, body: &[u8]) -> OperatorCall {
    call_at(operator, service, verb, body, random::id(), now())
}

/// Asks a verb with a token that is narrowed as it should be.
pub async fn ask_well(bus: &Bus, operator: &Operator, service: Service, verb: &str, body: &[u8]) -> Reply<String> {
    let need = of_verb(service, verb).unwrap().need;
    let token = narrowed(&operator.token, service, need, 0);
    ask(bus, service, verb, &call(operator, service, verb, body), Some(token)).await
}

/// Asks a public verb.
pub async fn post(bus: &Bus, verb: &str, body: &Value) -> Reply<Value> {
    post_from(bus, verb, body, "192.0.2.1").await
}

pub async fn post_from(bus: &Bus, verb: &str, body: &Value, peer: &str) -> Reply<Value> {
    let call = OperatorCall {
        method: "POST".into(),
        path: format!("/api/v1/{verb}"),
        body: body.to_string().into_bytes(),
        proof: None,
        peer: peer.into(),
    };
    let json = ask(bus, Service::Access, verb, &call, None).await?;
    Ok(serde_json::from_str(&json).unwrap())
}

/// Sets a password through a link.
pub async fn set_up(bus: &Bus, secret: &str, username: &str, password: &str) -> Reply<Value> {
    let (start, end) = registration(secret, username, password);
    let answer = post(bus, "setup", &start).await?;
    post(bus, "setup", &end(&answer)).await
}

/// Makes the first message of a registration, and the last one of the answer to it.
pub fn registration(secret: &str, username: &str, password: &str) -> (Value, impl FnOnce(&Value) -> Value) {
    let link = LinkSecret::parse(secret).unwrap();
    let client = ClientRegistration::<Suite>::start(&mut OsRng, password.as_bytes()).unwrap();
    let request = text(client.message.serialize());
    let asked = LinkUse {
        username,
        registration_request: &request,
        registered: None,
    };
    let start = json!({
        "step": "start", "link": link.public_key(), "username": username, "registration_request": request,
        "proof": asked.sign(&link),
    });
    let (username, password) = (username.to_owned(), password.to_owned());
    let end = move |answer: &Value| {
        let response = RegistrationResponse::deserialize(&bytes(answer, "registration_response")).unwrap();
        let stretching = stretching();
        let parameters = ClientRegistrationFinishParameters::new(names(&username), Some(&stretching));
        let finished = client
            .state
            .finish(&mut OsRng, password.as_bytes(), response, parameters);
        let record = text(finished.unwrap().message.serialize());
        let asked = LinkUse {
            username: &username,
            registration_request: &request,
            registered: Some(Registered {
                response: answer["registration_response"].as_str().unwrap(),
                record: &record,
            }),
        };
        json!({
            "step": "finish", "link": link.public_key(), "username": username, "registration_request": request,
            "registration_record": record, "proof": asked.sign(&link),
        })
    };
    (start, end)
}

/// Changes a password; none when the client itself sees that the old one does not fit.
pub async fn change_password(
    username: &str,
    (old, factor): (&str, Option<&Factor>),
    new: &str,
    send: impl AsyncFn(Value) -> Reply<Value>,
) -> Option<Reply<Value>> {
    let login = ClientLogin::<Suite>::start(&mut OsRng, old.as_bytes()).unwrap();
    let registration = ClientRegistration::<Suite>::start(&mut OsRng, new.as_bytes()).unwrap();
    let start = json!({
        "step": "start", "login_request": text(login.message.serialize()),
        "registration_request": text(registration.message.serialize()),
    });
    let answer = match send(start).await {
        Ok(answer) => answer,
        Err(error) => return Some(Err(error)),
    };
    let stretching = stretching();
    let response = CredentialResponse::deserialize(&bytes(&answer, "login_response")).unwrap();
    let parameters = ClientLoginFinishParameters::new(None, names(username), Some(&stretching));
    let proved = login
        .state
        .finish(&mut OsRng, old.as_bytes(), response, parameters)
        .ok()?;
    let response = RegistrationResponse::deserialize(&bytes(&answer, "registration_response")).unwrap();
    let parameters = ClientRegistrationFinishParameters::new(names(username), Some(&stretching));
    let made = registration
        .state
        .finish(&mut OsRng, new.as_bytes(), response, parameters)
        .unwrap();
    let finish = json!({
        "step": "finish", "change_id": answer["change_id"], "login_finalization": text(proved.message.serialize()),
        "registration_record": text(made.message.serialize()),
        "factor": factor.map(|factor| factor.prove(&proved.session_key)),
    });
    Some(send(finish).await)
}

/// Says how a log-in went wrong.
#[derive(Debug)]
pub enum Failed {
    /// The server said no.
    Refused,
    /// The client itself saw that the password does not fit.
    Seen,
}

/// Logs in.
pub async fn log_in(bus: &Bus, username: &str, password: &str) -> Result<Operator, Failed> {
    let key = random::signing_key();
    let public = PublicKey::of(&key);
    let (client, started) = start(bus, username, password, public, "192.0.2.1")
        .await
        .map_err(|_| Failed::Refused)?;
    let finish = finish(client, &started, username, password, public).ok_or(Failed::Seen)?;
    let answer = post(bus, "login", &finish).await.map_err(|_| Failed::Refused)?;
    match serde_json::from_value(answer).unwrap() {
        LoginAnswer::Finished { token, session_id, .. } => Ok(Operator {
            session: session_id,
            key,
            token,
        }),
        LoginAnswer::Started { .. } | LoginAnswer::FactorNeeded { .. } | LoginAnswer::PasskeyAsked { .. } => {
            panic!("another step")
        }
    }
}

/// Makes the first step.
pub async fn start(
    bus: &Bus,
    username: &str,
    password: &str,
    session_key: PublicKey,
    peer: &str,
) -> Reply<(ClientLogin<Suite>, Value)> {
    let client = ClientLogin::<Suite>::start(&mut OsRng, password.as_bytes()).unwrap();
    let request = text(client.message.serialize());
    let body =
        json!({"step": "start", "username": username, "login_request": request, "session_public_key": session_key});
    Ok((client.state, post_from(bus, "login", &body, peer).await?))
}

/// Builds the second step; none when the client sees that the password does not fit.
pub fn finish(
    client: ClientLogin<Suite>,
    started: &Value,
    username: &str,
    password: &str,
    session_key: PublicKey,
) -> Option<Value> {
    finish_knowing(client, started, username, password, session_key).map(|(finish, _)| finish)
}

/// Builds the second step, and returns what both sides know by it.
pub fn finish_knowing(
    client: ClientLogin<Suite>,
    started: &Value,
    username: &str,
    password: &str,
    session_key: PublicKey,
) -> Option<(Value, Vec<u8>)> {
    let answer = CredentialResponse::deserialize(&bytes(started, "login_response")).unwrap();
    let stretching = stretching();
    let parameters = ClientLoginFinishParameters::new(None, names(username), Some(&stretching));
    let finished = client
        .finish(&mut OsRng, password.as_bytes(), answer, parameters)
        .ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&finished.session_key).unwrap();
    mac.update(&Form::SessionBinding.bytes(&[session_key.as_bytes()]));
    let finish = json!({
        "step": "finish", "login_id": started["login_id"], "login_finalization": text(finished.message.serialize()),
        "key_binding": text(mac.finalize().into_bytes()),
    });
    Some((finish, finished.session_key.to_vec()))
}

/// Proves the password, then perhaps a code, and returns the answer of the last step with who is logged in by it.
pub async fn log_in_with(
    bus: &Bus,
    username: &str,
    password: &str,
    factor: Option<&Factor>,
) -> (Reply<Value>, Option<Operator>) {
    let key = random::signing_key();
    let public = PublicKey::of(&key);
    let (client, started) = start(bus, username, password, public, "192.0.2.1").await.unwrap();
    let (finish, secret) = finish_knowing(client, &started, username, password, public).unwrap();
    let answer = post(bus, "login", &finish).await;
    let answer = match (answer, factor) {
        (Ok(answer), Some(factor)) => post(bus, "login", &second(&answer, &secret, factor)).await,
        (answer, _) => answer,
    };
    let token = answer.as_ref().ok().and_then(|answer| answer["token"].as_str());
    let operator = token.map(|token| Operator {
        session: serde_json::from_value(answer.as_ref().unwrap()["session_id"].clone()).unwrap(),
        key,
        token: token.to_owned(),
    });
    (answer, operator)
}

/// Builds the third step of a log-in.
pub fn second(answer: &Value, secret: &[u8], factor: &Factor) -> Value {
    json!({"step": "factor", "login_id": answer["login_id"], "factor": factor.prove(secret)})
}

/// Proves the password once more within a session, and returns the last answer with what both sides know by it.
pub async fn prove_again(
    username: &str,
    password: &str,
    factor: Option<&Factor>,
    send: impl AsyncFn(Value) -> Reply<Value>,
) -> Reply<(Value, Vec<u8>)> {
    let login = ClientLogin::<Suite>::start(&mut OsRng, password.as_bytes()).unwrap();
    let start = json!({"step": "start", "login_request": text(login.message.serialize())});
    let answer = send(start).await?;
    let response = CredentialResponse::deserialize(&bytes(&answer, "login_response")).unwrap();
    let stretching = stretching();
    let parameters = ClientLoginFinishParameters::new(None, names(username), Some(&stretching));
    let finished = login
        .state
        .finish(&mut OsRng, password.as_bytes(), response, parameters);
    let finished = finished.unwrap();
    let secret = finished.session_key.to_vec();
    let finish = json!({
        "step": "finish", "exchange_id": answer["exchange_id"],
        "login_finalization": text(finished.message.serialize()),
        "factor": factor.map(|factor| factor.prove(&secret)),
    });
    Ok((send(finish).await?, secret))
}
