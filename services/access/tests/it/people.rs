//! Operators are invited, given roles, disabled and reset, on a real bus.

use borealis_access::build;
use borealis_bus_schema::audit::{self, AuditRecord, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::UserView;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::of_verb;
use borealis_bus_schema::seeds::LinkSecret;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::random;
use serde_json::{Value, json};

use crate::client::{ask, change_password, log_in, post, registration, set_up};
use crate::harness::{Operator, World, call_at, code, narrowed, now};

const ACCESS: Service = Service::Access;

/// Asks a verb whose path has a parameter.
pub async fn ask_about(bus: &Bus, operator: &Operator, verb: &str, id: &str, body: &Value) -> Reply<Value> {
    let route = of_verb(ACCESS, verb).unwrap();
    let body = if route.changes { body.to_string() } else { String::new() };
    let mut call = call_at(operator, ACCESS, verb, body.as_bytes(), random::id(), now());
    call.path = route.path.replace("{id}", id);
    if let Some(proof) = &mut call.proof {
        *proof = borealis_bus_schema::operator::Proof::new(
            &operator.key,
            operator.session,
            proof.command,
            proof.issued_at,
            route.method,
            &call.path,
            &call.body,
        );
    }
    let token = narrowed(&operator.token, ACCESS, route.need, 0);
    let json = ask(bus, ACCESS, verb, &call, Some(token)).await?;
    Ok(serde_json::from_str(&json).unwrap())
}

pub async fn invite(bus: &Bus, by: &Operator, username: &str, roles: &[&str]) -> Reply<(UserView, String)> {
    let link = LinkSecret::new(random::bytes());
    let body = json!({"username": username, "roles": roles, "link": link.public_key()});
    ask_about(bus, by, "users-invite", "", &body)
        .await
        .map(|answer| (serde_json::from_value(answer).unwrap(), link.reveal()))
}

pub async fn joined(bus: &Bus, by: &Operator, username: &str, roles: &[&str]) -> (UserView, Operator) {
    let (user, secret) = invite(bus, by, username, roles).await.unwrap();
    set_up(bus, &secret, username, "pw").await.unwrap();
    (user, log_in(bus, username, "pw").await.unwrap())
}

#[tokio::test]
async fn who_was_invited_sets_a_password_once_and_may_do_what_the_roles_say() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (user, secret) = invite(&gateway, &ada, " Bob", &["technician"]).await.unwrap();
    assert_eq!((user.username.as_str(), user.state.as_str()), ("bob", "invited"));
    assert!(log_in(&gateway, "bob", "pw").await.is_err(), "there is no password yet");
    let refused = set_up(&gateway, &secret, "ada", "pw").await;
    assert_eq!(code(refused), Code::InvalidField);
    set_up(&gateway, &secret, "bob", "pw").await.unwrap();
    assert_eq!(code(set_up(&gateway, &secret, "bob", "other").await), Code::LinkUsed);
    let bob = log_in(&gateway, "bob", "pw").await.unwrap();
    let session = ask_about(&gateway, &bob, "session", "", &json!({})).await.unwrap();
    let rights = session["rights"].as_array().unwrap();
    assert!(rights.contains(&json!("jobs.run")) && !rights.contains(&json!("users.manage")));
    assert_eq!(
        code(invite(&gateway, &bob, "eve", &["viewer"]).await),
        Code::RightMissing
    );
    let listed = ask_about(&gateway, &ada, "users-list", "", &json!({})).await.unwrap();
    let shown = listed.to_string();
    assert!(shown.contains("\"active\"") && !shown.contains(&secret), "{shown}");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_link_is_proved_for_one_registration_of_one_operator() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (_, secret) = invite(&gateway, &ada, "bob", &["viewer"]).await.unwrap();
    let (_, own_secret) = invite(&gateway, &ada, "mallory", &["viewer"]).await.unwrap();
    let taken = json!({
        "username": "eve", "roles": ["viewer"], "link": LinkSecret::parse(&secret).unwrap().public_key(),
    });
    let taken = ask_about(&gateway, &ada, "users-invite", "", &taken).await;
    assert_eq!(code(taken), Code::NameTaken, "a key names one link");

    // Bob's registration, seen and held back by whoever stands between; and one of their own.
    let (start, end) = registration(&secret, "bob", "pw");
    let answer = post(&gateway, "setup", &start).await.unwrap();
    let finish = end(&answer);
    let (own_start, own_end) = registration(&own_secret, "mallory", "known to a thief");
    let own_answer = post(&gateway, "setup", &own_start).await.unwrap();
    let own_finish = own_end(&own_answer);
    let before = access.events().unwrap();
    let refused = async |step: &Value, from: &Value, fields: &[&str]| {
        let mut altered = step.clone();
        for field in fields {
            altered[*field] = from[*field].clone();
        }
        let answer = post(&gateway, "setup", &altered).await;
        assert_eq!(code(answer), Code::ProofInvalid, "{fields:?} of another");
    };
    refused(&start, &own_start, &["username"]).await;
    refused(&start, &own_start, &["registration_request"]).await;
    refused(&finish, &own_finish, &["username"]).await;
    refused(&finish, &own_finish, &["registration_record"]).await;
    refused(&finish, &own_finish, &["registration_request"]).await;
    refused(&finish, &own_finish, &["registration_request", "registration_record"]).await;
    refused(&finish, &own_finish, &["proof"]).await;
    refused(&own_finish, &finish, &["link"]).await;
    refused(&own_finish, &finish, &["link", "username"]).await;
    refused(&finish, &start, &["proof"]).await;
    // One that answers bob in the server's place: he signs what he was told, and the server told something else.
    let (start, end) = registration(&secret, "bob", "pw");
    post(&gateway, "setup", &start).await.unwrap();
    let fooled = post(&gateway, "setup", &end(&own_answer)).await;
    assert_eq!(code(fooled), Code::ProofInvalid);
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    assert!(log_in(&gateway, "bob", "known to a thief").await.is_err());

    post(&gateway, "setup", &finish).await.unwrap();
    assert_eq!(code(post(&gateway, "setup", &finish).await), Code::LinkUsed, "once");
    log_in(&gateway, "bob", "pw").await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn the_same_command_twice_at_once_gets_one_answer() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let need = of_verb(ACCESS, "users-invite").unwrap().need;
    for number in 0..8 {
        let link = LinkSecret::new(random::bytes()).public_key();
        let body = json!({"username": format!("bob{number}"), "roles": ["viewer"], "link": link}).to_string();
        let call = call_at(&ada, ACCESS, "users-invite", body.as_bytes(), random::id(), now());
        let asked = async || {
            let token = narrowed(&ada.token, ACCESS, need, 0);
            ask(&gateway, ACCESS, "users-invite", &call, Some(token)).await
        };
        let (one, other, third) = tokio::join!(asked(), asked(), asked());
        let one = one.unwrap();
        assert_eq!((&one, &one), (&other.unwrap(), &third.unwrap()));
    }
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_disabled_operator_is_out_at_once_and_comes_back_by_a_new_log_in() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (user, bob) = joined(&gateway, &ada, "bob", &["technician"]).await;
    let id = user.id.to_string();
    let none = json!({});
    ask_about(&gateway, &ada, "users-disable", &id, &json!({"reason": "left"}))
        .await
        .unwrap();
    let over = ask_about(&gateway, &bob, "session", "", &none).await;
    assert_eq!(code(over), Code::TokenRevoked);
    assert!(log_in(&gateway, "bob", "pw").await.is_err());
    let again = ask_about(&gateway, &ada, "users-disable", &id, &none).await;
    assert_eq!(code(again), Code::WrongState);
    ask_about(&gateway, &ada, "users-enable", &id, &none).await.unwrap();
    let still = ask_about(&gateway, &bob, "session", "", &none).await;
    assert_eq!(code(still), Code::TokenRevoked);
    let fresh = log_in(&gateway, "bob", "pw").await.unwrap();
    ask_about(&gateway, &fresh, "session", "", &none).await.unwrap();
    // After a restart it is the same.
    access.stop().await.unwrap();
    let access = _world.serve(ACCESS, build).await;
    let still = ask_about(&gateway, &bob, "session", "", &none).await;
    assert_eq!(code(still), Code::TokenRevoked);
    ask_about(&gateway, &fresh, "session", "", &none).await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_reset_ends_password_and_sessions_and_gives_a_link() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (user, bob) = joined(&gateway, &ada, "bob", &["technician"]).await;
    let id = user.id.to_string();
    let link = LinkSecret::new(random::bytes());
    let body = json!({"link": link.public_key()});
    ask_about(&gateway, &ada, "users-reset", &id, &body).await.unwrap();
    let over = ask_about(&gateway, &bob, "session", "", &json!({})).await;
    assert_eq!(code(over), Code::TokenRevoked);
    assert!(log_in(&gateway, "bob", "pw").await.is_err());
    set_up(&gateway, &link.reveal(), "bob", "new").await.unwrap();
    let spent = ask_about(&gateway, &ada, "users-reset", &id, &body).await;
    assert_eq!(code(spent), Code::NameTaken, "a link that is over does not come back");
    log_in(&gateway, "bob", "new").await.unwrap();
    let me = ask_about(&gateway, &ada, "users-list", "", &json!({})).await.unwrap();
    let own = me["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["username"] == "ada")
        .unwrap();
    let body = json!({"link": LinkSecret::new(random::bytes()).public_key()});
    let last = ask_about(&gateway, &ada, "users-reset", own["id"].as_str().unwrap(), &body).await;
    assert_eq!(code(last), Code::LastAdministrator);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn roles_and_sites_are_made_changed_and_felt_at_once() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let site = json!({"name": "berlin", "description": "office"});
    ask_about(&gateway, &ada, "sites-create", "", &site).await.unwrap();
    assert_eq!(
        code(ask_about(&gateway, &ada, "sites-create", "", &site).await),
        Code::NameTaken
    );
    let role = |rights: Value| json!({"name": "night", "description": "", "rights": rights});
    let nowhere = role(json!([{"right": "jobs.run", "sites": ["oslo"]}]));
    for (body, wanted) in [
        (nowhere, Code::SiteUnknown),
        (role(json!([{"right": "jobs.fly", "sites": ["*"]}])), Code::InvalidField),
        (role(json!([{"right": "jobs.run", "sites": []}])), Code::InvalidField),
    ] {
        let refused = ask_about(&gateway, &ada, "roles-create", "", &body).await;
        assert_eq!(code(refused), wanted, "{body}");
    }
    let rights = json!([{"right": "jobs.run", "sites": ["berlin"]}, {"right": "devices.read", "sites": ["*"]}]);
    ask_about(&gateway, &ada, "roles-create", "", &role(rights))
        .await
        .unwrap();
    let (user, bob) = joined(&gateway, &ada, "bob", &["night"]).await;
    let sites = ask_about(&gateway, &bob, "sites-list", "", &json!({})).await.unwrap();
    assert_eq!(sites["items"].as_array().unwrap().len(), 2);
    let less = json!({"rights": [{"right": "jobs.run", "sites": ["berlin"]}]});
    ask_about(&gateway, &ada, "roles-update", "night", &less).await.unwrap();
    let session = ask_about(&gateway, &bob, "session", "", &json!({})).await.unwrap();
    assert_eq!(
        (&session["rights"], &session["sites"]),
        (&json!(["jobs.run"]), &json!(["berlin"]))
    );
    let sites = ask_about(&gateway, &bob, "sites-list", "", &json!({})).await.unwrap();
    assert_eq!(sites["items"].as_array().unwrap().len(), 1);
    let none = json!({"roles": []});
    let refused = ask_about(&gateway, &ada, "users-roles", &user.id.to_string(), &none).await;
    assert_eq!(code(refused), Code::InvalidField);
    let fixed = ask_about(&gateway, &ada, "roles-update", "administrator", &less).await;
    assert_eq!(code(fixed), Code::RoleFixed);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_manages_operators_hands_on_no_more_than_they_hold() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let rights = json!([
        {"right": "users.manage", "sites": ["*"]}, {"right": "roles.manage", "sites": ["*"]},
        {"right": "devices.read", "sites": ["*"]},
    ]);
    let role = json!({"name": "desk", "rights": rights});
    ask_about(&gateway, &ada, "roles-create", "", &role).await.unwrap();
    let (_, bob) = joined(&gateway, &ada, "bob", &["desk"]).await;
    let (eve, _) = joined(&gateway, &ada, "eve", &["technician"]).await;
    let eve = eve.id.to_string();
    assert_eq!(
        code(invite(&gateway, &bob, "mallory", &["administrator"]).await),
        Code::ExceedsOwnRights
    );
    let runner = json!({"name": "runner", "rights": [{"right": "jobs.run", "sites": ["*"]}]});
    let technician = json!({"rights": [{"right": "devices.read", "sites": ["*"]}]});
    for (verb, id, body) in [
        (
            "users-reset",
            eve.as_str(),
            json!({"link": LinkSecret::new(random::bytes()).public_key()}),
        ),
        ("users-disable", eve.as_str(), json!({})),
        ("users-roles", eve.as_str(), json!({"roles": ["desk"]})),
        ("roles-create", "", runner),
        ("roles-update", "technician", technician),
    ] {
        let refused = ask_about(&gateway, &bob, verb, id, &body).await;
        assert_eq!(code(refused), Code::ExceedsOwnRights, "{verb}");
    }
    invite(&gateway, &bob, "fred", &["desk"]).await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (_, bob) = joined(&gateway, &ada, "bob", &["technician"]).await;
    let other = log_in(&gateway, "bob", "pw").await.unwrap();
    let none = json!({});
    let ids = async |operator: &Operator| {
        let listed = ask_about(&gateway, operator, "sessions-list", "", &none).await.unwrap();
        let items = listed["items"].as_array().unwrap().clone();
        let current: Vec<_> = items.iter().filter(|session| session["current"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], json!(operator.session));
        items.len()
    };
    assert_eq!((ids(&ada).await, ids(&bob).await), (3, 2));
    let end = async |operator: &Operator, session: &Operator| {
        ask_about(&gateway, operator, "sessions-end", &session.session.to_string(), &none).await
    };
    assert_eq!(code(end(&bob, &ada).await), Code::RightMissing);
    end(&bob, &other).await.unwrap();
    let over = ask_about(&gateway, &other, "session", "", &none).await;
    assert_eq!(code(over), Code::TokenRevoked);
    assert_eq!(code(end(&ada, &other).await), Code::WrongState);
    end(&ada, &bob).await.unwrap();
    let over = ask_about(&gateway, &bob, "session", "", &none).await;
    assert_eq!(code(over), Code::TokenRevoked);
    let unknown = ask_about(&gateway, &ada, "sessions-end", &"0".repeat(32), &none).await;
    assert_eq!(code(unknown), Code::NotFound);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_proves_the_old_one() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let elsewhere = log_in(&gateway, "ada", "p").await.unwrap();
    let change = async |operator: &Operator, old: &str, new: &str| {
        change_password("ada", (old, None), new, async |body: Value| {
            ask_about(&gateway, operator, "password", "", &body).await
        })
        .await
    };
    assert!(
        change(&ada, "guess", "new").await.is_none(),
        "the client sees it itself"
    );
    let done = change(&ada, "p", "new").await.unwrap().unwrap();
    assert_eq!(done["sessions_ended"], 1);
    let over = ask_about(&gateway, &elsewhere, "session", "", &json!({})).await;
    assert_eq!(code(over), Code::TokenRevoked);
    ask_about(&gateway, &ada, "session", "", &json!({})).await.unwrap();
    assert!(log_in(&gateway, "ada", "p").await.is_err());
    let fresh = log_in(&gateway, "ada", "new").await.unwrap();
    // A proof for a change begins no session, and one for a log-in changes nothing.
    let stolen = json!({"step": "finish", "change_id": fresh.session, "login_finalization": "AAAA", "registration_record": "AAAA"});
    let refused = ask_about(&gateway, &fresh, "password", "", &stolen).await;
    assert_eq!(code(refused), Code::InvalidField);
    // Proving the old password changes nothing yet: of both starts nothing is kept.
    let events = access.log.read_all(0, 10_000).unwrap();
    let records = events.iter().filter(|event| event.kind == audit::KIND);
    let outcomes: Vec<Outcome> = records
        .map(|event| codec::decode::<AuditRecord>(event.body.as_ref().unwrap()).unwrap())
        .filter(|record| record.verb == "password")
        .map(|record| record.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Refused(Code::InvalidField)]);
    access.stop().await.unwrap();
}
