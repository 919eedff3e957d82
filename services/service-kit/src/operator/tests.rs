use std::sync::Arc;

use super::*;
use crate::auth::{BiscuitRoot, Bounds, Reach, SessionClaims, Sites, mint_grant, mint_session, mint_session_within};
use crate::clock::ManualClock;
use crate::revocation::RevocationSet;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{GrantId, OperatorId, SessionId};
use borealis_bus_schema::operator::Proof;
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::Service;
use ed25519_dalek::SigningKey;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);
const SESSION: SessionId = SessionId::from_bytes([2; 16]);
const COMMAND: CommandId = CommandId::from_bytes([8; 16]);

struct World {
    authoriser: Authoriser,
    session: String,
    grant: String,
}

fn session_key() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

fn world() -> World {
    let root = BiscuitRoot::new(&SigningKey::from_bytes(&[5; 32])).unwrap();
    let claims = SessionClaims {
        operator: OperatorId::from_bytes([1; 16]),
        username: "ada".into(),
        session: SESSION,
        session_key: PublicKey::of(&session_key()),
        rights: Reach::from([(Right::CodesRevoke, Sites::All), (Right::CodesRead, Sites::All)]),
        expires_at: NOW.plus_ms(3_600_000),
    };
    let revoked = Arc::new(RevocationSet::new());
    let clock = Arc::new(ManualClock::at(NOW));
    World {
        authoriser: Authoriser::new(root.public().unwrap(), Service::Enrollment, revoked, clock).unwrap(),
        session: mint_session(&root, &claims).unwrap(),
        grant: mint_grant(&root, &claims, GrantId::from_bytes([3; 16]), &[0; 32]).unwrap(),
    }
}

const PATH: &str = "/api/v1/codes/0123/revoke";

fn call(key: &SigningKey, session: SessionId, issued_at: Timestamp) -> OperatorCall {
    OperatorCall {
        method: "POST".into(),
        path: PATH.into(),
        body: b"{}".to_vec(),
        proof: Some(Proof::new(key, session, COMMAND, issued_at, "POST", PATH, b"{}")),
        peer: "127.0.0.1".into(),
    }
}

fn code_of(call: &OperatorCall) -> Option<Code> {
    let world = world();
    let route = of_verb(Service::Enrollment, "codes-revoke").unwrap();
    admit(route, call, Some(&world.session), &world.authoriser, NOW)
        .err()
        .map(|error| error.code)
}

#[test]
fn a_signed_change_is_admitted_with_its_command_and_parameter() {
    let world = world();
    let route = of_verb(Service::Enrollment, "codes-revoke").unwrap();
    let call = call(&session_key(), SESSION, NOW);
    let (caller, command, param) = admit(route, &call, Some(&world.session), &world.authoriser, NOW).unwrap();
    assert_eq!((caller.session, command), (SESSION, Some(COMMAND)));
    assert_eq!(param.as_deref(), Some("0123"));
}

#[test]
fn a_change_without_a_signature_is_refused() {
    let unsigned = OperatorCall {
        proof: None,
        ..call(&session_key(), SESSION, NOW)
    };
    assert_eq!(code_of(&unsigned), Some(Code::SignatureMissing));
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let other = SigningKey::from_bytes(&[7; 32]);
    assert_eq!(code_of(&call(&other, SESSION, NOW)), Some(Code::SignatureInvalid));
}

#[test]
fn a_signature_of_another_session_is_refused() {
    let other = SessionId::from_bytes([9; 16]);
    assert_eq!(code_of(&call(&session_key(), other, NOW)), Some(Code::SignatureInvalid));
}

#[test]
fn an_altered_body_or_query_is_refused() {
    let good = call(&session_key(), SESSION, NOW);
    let body = OperatorCall {
        body: b"{ }".to_vec(),
        ..good.clone()
    };
    assert_eq!(code_of(&body), Some(Code::SignatureInvalid));
    let query = OperatorCall {
        path: format!("{PATH}?x=1"),
        ..good
    };
    assert_eq!(code_of(&query), Some(Code::SignatureInvalid));
}

#[test]
fn a_signature_is_fresh_for_thirty_seconds_either_way() {
    for ms in [-30_000, 0, 30_000] {
        assert_eq!(code_of(&call(&session_key(), SESSION, NOW.plus_ms(ms))), None, "{ms}");
    }
    for ms in [-30_001, 30_001, i64::MIN / 2, i64::MAX / 2] {
        let late = call(&session_key(), SESSION, NOW.plus_ms(ms));
        assert_eq!(code_of(&late), Some(Code::SignatureExpired), "{ms}");
    }
}

/// Is the call of a dangerous act.
fn dangerous_call(body: &[u8]) -> OperatorCall {
    let path = "/api/v1/users";
    OperatorCall {
        method: "POST".into(),
        path: path.into(),
        body: body.to_vec(),
        proof: Some(Proof::new(&session_key(), SESSION, COMMAND, NOW, "POST", path, body)),
        peer: "127.0.0.1".into(),
    }
}

/// Asks for a dangerous act with a biscuit that says when the password was proved.
fn dangerous(bounds: &Bounds) -> Option<Code> {
    let root = BiscuitRoot::new(&SigningKey::from_bytes(&[5; 32])).unwrap();
    let claims = SessionClaims {
        operator: OperatorId::from_bytes([1; 16]),
        username: "ada".into(),
        session: SESSION,
        session_key: PublicKey::of(&session_key()),
        rights: Reach::from([(Right::UsersManage, Sites::All)]),
        expires_at: NOW.plus_ms(3_600_000),
    };
    let (revoked, clock) = (Arc::new(RevocationSet::new()), Arc::new(ManualClock::at(NOW)));
    let authoriser = Authoriser::new(root.public().unwrap(), Service::Access, revoked, clock).unwrap();
    let session = mint_session_within(&root, &claims, bounds).unwrap();
    let call = dangerous_call(b"{}");
    let route = of_verb(Service::Access, "users-invite").unwrap();
    admit(route, &call, Some(&session), &authoriser, NOW)
        .err()
        .map(|error| error.code)
}

#[test]
fn a_dangerous_act_takes_a_proof_of_the_last_ten_minutes() {
    let proved = |ago_ms: i64| Bounds {
        proved_at: Some(NOW.plus_ms(-ago_ms)),
        ..Bounds::default()
    };
    assert_eq!(dangerous(&proved(0)), None);
    assert_eq!(dangerous(&proved(STEP_UP_MS - 1_000)), None);
    for old in [STEP_UP_MS, STEP_UP_MS + 1_000, i64::from(u32::MAX)] {
        assert_eq!(dangerous(&proved(old)), Some(Code::StepUpRequired), "{old}");
    }
    assert_eq!(dangerous(&Bounds::default()), Some(Code::StepUpRequired));
    let token = Bounds {
        is_token: true,
        ..proved(0)
    };
    assert_eq!(dangerous(&token), Some(Code::SessionRequired));
}

#[test]
fn a_passkey_asked_for_one_request_serves_for_no_other() {
    let proved = |call: &OperatorCall, ago_ms: i64| Bounds {
        proved_for: call.act().map(|act| ProvedFor {
            act,
            at: NOW.plus_ms(-ago_ms),
        }),
        ..Bounds::default()
    };
    let this = dangerous_call(b"{}");
    assert_eq!(dangerous(&proved(&this, 0)), None);
    assert_eq!(dangerous(&proved(&this, STEP_UP_MS)), Some(Code::StepUpRequired));
    let mut others = vec![dangerous_call(b"{} ")];
    for change in [
        |call: &mut OperatorCall| call.path = "/api/v1/users?x".into(),
        |call: &mut OperatorCall| call.method = "PUT".into(),
        |call: &mut OperatorCall| call.proof.as_mut().unwrap().session = SessionId::from_bytes([0; 16]),
        |call: &mut OperatorCall| call.proof.as_mut().unwrap().command = CommandId::from_bytes([0; 16]),
    ] {
        let mut other = this.clone();
        change(&mut other);
        others.push(other);
    }
    for other in others {
        assert_eq!(dangerous(&proved(&other, 0)), Some(Code::StepUpRequired), "{other:?}");
    }
}

#[test]
fn a_path_or_method_of_another_verb_is_refused() {
    for (method, path) in [
        ("GET", PATH),
        ("POST", "/api/v1/codes"),
        ("POST", "/api/v1/codes/a/b/revoke"),
    ] {
        let call = OperatorCall {
            method: method.into(),
            path: path.into(),
            ..call(&session_key(), SESSION, NOW)
        };
        assert_eq!(code_of(&call), Some(Code::UnknownRoute), "{method} {path}");
    }
}

#[test]
fn a_read_needs_no_signature_but_a_session() {
    let world = world();
    let route = of_verb(Service::Enrollment, "codes-list").unwrap();
    let call = OperatorCall {
        method: "GET".into(),
        path: "/api/v1/codes?x=1".into(),
        body: Vec::new(),
        proof: None,
        peer: "127.0.0.1".into(),
    };
    assert!(admit(route, &call, Some(&world.session), &world.authoriser, NOW).is_ok());
    let grant = admit(route, &call, Some(&world.grant), &world.authoriser, NOW).unwrap_err();
    assert_eq!(grant.code, Code::TokenInvalid);
    assert_eq!(
        admit(route, &call, None, &world.authoriser, NOW).unwrap_err().code,
        Code::TokenMissing
    );
}

#[test]
fn a_conflict_and_a_reused_id_have_their_codes() {
    assert_eq!(wire_error(&AppendError::IdReused).code, Code::IdReused);
    assert_eq!(wire_error(&AppendError::Closed).code, Code::ShuttingDown);
}

#[test]
fn a_call_reaches_what_its_right_does_and_what_its_token_was_narrowed_to() {
    let world = world();
    let route = of_verb(Service::Enrollment, "codes-revoke").unwrap();
    let call = call(&session_key(), SESSION, NOW);
    let (caller, command, param) = admit(route, &call, Some(&world.session), &world.authoriser, NOW).unwrap();
    let correlation = CorrelationId::from_bytes([4; 16]);
    let mut ctx = OperatorCtx {
        act: Act::new(NOW, "POST", "codes-revoke", correlation),
        digest: [0; 32],
        biscuit: world.session.clone(),
        now: NOW,
        shutdown: Shutdown::manual(),
        command: command.unwrap(),
        param,
        correlation,
        route,
        caller,
        call,
    };
    let guid = |number| borealis_bus_schema::ids::Guid::from_random([number; 16]);
    let at = |site: &str, guid| Resource {
        guid,
        site: borealis_bus_schema::ids::SiteName::new(site).unwrap(),
    };
    ctx.reach(&at("oslo", Some(guid(1)))).unwrap();
    let berlin = Sites::Some([at("berlin", None).site].into());
    ctx.caller.reach = Reach::from([(Right::CodesRevoke, berlin), (Right::CodesRead, Sites::All)]);
    ctx.reach(&at("berlin", None)).unwrap();
    ctx.reach(&at("berlin", Some(guid(1)))).unwrap();
    let code = |ctx: &OperatorCtx, resource: &Resource| ctx.reach(resource).unwrap_err().code;
    assert_eq!(code(&ctx, &at("oslo", None)), Code::OutOfScope);
    assert_eq!(code(&ctx, &at("oslo", Some(guid(1)))), Code::OutOfScope);
    ctx.caller.devices = Some([guid(2)].into());
    assert_eq!(code(&ctx, &at("berlin", Some(guid(1)))), Code::OutOfScope);
    ctx.reach(&at("berlin", Some(guid(2)))).unwrap();
    ctx.route = of_verb(Service::Access, "session").unwrap();
    assert_eq!(code(&ctx, &at("berlin", Some(guid(2)))), Code::OutOfScope);
}
