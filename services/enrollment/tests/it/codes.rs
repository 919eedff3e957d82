//! Installer codes, from minting to the last use.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, OperatorId};
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::access::RightOnSites;
use borealis_bus_schema::messages::enrollment::{CodeView, EnrollChallenge};
use borealis_bus_schema::messages::shared_events::OperatorRightsChanged;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::random;
use borealis_test_support::eventually;
use serde_json::{Value, json};

use crate::rig::{Machine, Polled as _, Rig, log_in, narrowed, now};

async fn refusal(rig: &Rig, machine: &Machine, code: &str) -> Code {
    machine.request(rig, code).await.unwrap_err().code
}

#[tokio::test]
async fn a_repeated_command_is_the_same_code_also_after_a_restart_and_nobody_is_told_its_secret() {
    let rig = Rig::start().await;
    let command: CommandId = random::id();
    let (code, body) = rig.draw_code(json!({"uses": 2}));
    let first: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    let second: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(rig.count("CodeMinted2"), 1);
    let hash: String = code.ca_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((first.ca_sha256, second.ca_sha256), (Some(hash.clone()), Some(hash)));
    let taken = rig.ask::<CodeView>("codes-create", "", &body).await.unwrap_err();
    assert_eq!(taken.code, Code::NameTaken, "a key names one code");

    let operator = rig.operator.clone();
    let mut rig = rig.restart().await;
    // A command is its operator's own.
    rig.operator = operator;
    let third: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    assert_eq!(third.id, first.id);
    let other = rig.draw_code(json!({"uses": 3})).1;
    let reused = rig.command::<CodeView>("codes-create", "", &other, command).await;
    assert_eq!(reused.unwrap_err().code, Code::IdReused);

    let text = code.reveal();
    assert_eq!(third.masked, format!("{}…", &text[..9]));
    assert!(rig.app.ledger.state().code_by_key(&code.public_key()).is_some());
    Machine::draw("web-1").request(&rig, &text).await.unwrap();
}

#[tokio::test]
async fn a_code_is_proved_for_one_request_of_one_key() {
    let rig = Rig::start().await;
    let code = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    let (honest, thief) = (Machine::draw("web-1"), Machine::draw("web-2"));
    let seen = honest.body(&code);
    // Whoever saw the request has the code's public key and one signature of it.
    let own = thief.body_with(&InstallerCode::new([7; 16], rig.bus.trust().ca_sha256().unwrap()));
    let before = rig.service.events().unwrap();
    for taken in [
        vec!["code_key"],
        vec!["code_key", "code_proof"],
        vec!["code_key", "code_proof", "client_nonce"],
        vec!["code_key", "code_proof", "client_nonce", "facts"],
        vec![
            "code_key",
            "code_proof",
            "client_nonce",
            "facts",
            "exchange_key",
            "exchange_key_signature",
        ],
    ] {
        let mut body = own.clone();
        for field in &taken {
            body[*field] = seen[*field].clone();
        }
        let refused = rig.public::<Value>("enroll-request", &body, "192.0.2.66:1").await;
        assert_eq!(refused.unwrap_err().code, Code::ProofInvalid, "{taken:?}");
    }
    for field in ["hostname", "os", "os_version", "arch", "agent_version"] {
        let mut body = seen.clone();
        body["facts"][field] = json!("another");
        let refused = rig.public::<Value>("enroll-request", &body, "192.0.2.67:1").await;
        assert_eq!(refused.unwrap_err().code, Code::ProofInvalid, "{field}");
    }
    assert_eq!(rig.service.events().unwrap(), before, "nothing was written");
    let first = honest.request(&rig, &code).await.unwrap();
    let again: EnrollChallenge = rig.public("enroll-request", &seen, "192.0.2.66:1").await.unwrap();
    assert_eq!(
        again.reference, first.reference,
        "the same request again is the same request"
    );
    assert_eq!(rig.count("CodeUsed"), 1);
}

#[tokio::test]
async fn a_code_of_an_unknown_site_is_refused() {
    let rig = Rig::start().await;
    let body = rig.draw_code(json!({"site": "berlin"})).1;
    let refused = rig.ask::<Value>("codes-create", "", &body).await.unwrap_err();
    assert_eq!(refused.code, Code::SiteUnknown);
    assert_eq!(rig.service.events().unwrap(), 0);
    rig.make_site("berlin");
    let made: CodeView = rig.ask("codes-create", "", &body).await.unwrap();
    assert_eq!(made.site.as_str(), "berlin");
}

fn minter(rig: &Rig, code: &str) -> OperatorId {
    let key = InstallerCode::parse(code).unwrap().public_key();
    let state = rig.app.ledger.state();
    state.code_by_key(&key).unwrap().minted.minter.unwrap().operator
}

#[tokio::test]
async fn a_code_that_approves_takes_the_right_to_decide_and_ends_with_it() {
    let rig = Rig::start().await;
    let state = async |machine: &Machine, code: &str| {
        let challenge = machine.request(&rig, code).await.unwrap();
        machine.poll(&rig, &challenge).await.unwrap().text()
    };
    let lesser = log_in(&rig.bus, &[Right::CodesCreate]);
    let body = rig.draw_code(json!({"auto_approve": true})).1.to_string();
    let call = rig.call_by(&lesser, "codes-create", "", &body, random::id());
    let refused = rig
        .send("codes-create", &call, narrowed(&lesser, "codes-create", 0))
        .await;
    assert_eq!(refused.unwrap_err().code, Code::RightMissing);

    let code = rig.mint(json!({"auto_approve": true, "uses": 9})).await.code.unwrap();
    assert_eq!(state(&Machine::draw("web-1"), &code).await, "approved");
    let tell = |kind: &str, body: Vec<u8>| rig.service.revoked.apply(kind, &body).unwrap();
    let by = minter(&rig, &code);
    let changed = |epoch: u64, rights: &[Right]| OperatorRightsChanged {
        operator: by,
        epoch,
        rights: rights
            .iter()
            .map(|right| RightOnSites {
                right: right.as_str().into(),
                sites: vec!["*".into()],
                max_devices: None,
            })
            .collect(),
        at: now(),
    };
    let still = codec::encode(&changed(1, &[Right::CodesCreate, Right::ApprovalsDecide])).unwrap();
    tell("OperatorRightsChanged", still);
    assert_eq!(state(&Machine::draw("web-2"), &code).await, "approved");
    tell(
        "OperatorRightsChanged",
        codec::encode(&changed(2, &[Right::CodesCreate])).unwrap(),
    );
    assert_eq!(state(&Machine::draw("web-3"), &code).await, "pending");
    let all = codec::encode(&changed(3, &Right::ALL)).unwrap();
    tell("OperatorRightsChanged", all);
    assert_eq!(
        state(&Machine::draw("web-4"), &code).await,
        "pending",
        "what was lost does not come back"
    );
}

#[tokio::test]
async fn a_code_of_a_disabled_operator_approves_nothing() {
    let rig = Rig::start().await;
    let code = rig.mint(json!({"auto_approve": true, "uses": 9})).await.code.unwrap();
    rig.service.revoked.disable_operator(minter(&rig, &code));
    let machine = Machine::draw("web-1");
    let challenge = machine.request(&rig, &code).await.unwrap();
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "pending");
    assert_eq!(rig.app.ledger.state().device_count(), 0);
}

#[tokio::test]
async fn each_worthless_code_has_its_error() {
    let rig = Rig::start().await;
    let (first, second) = (Machine::draw("web-1"), Machine::draw("web-2"));

    let once = rig.mint(json!({"uses": 1})).await.code.unwrap();
    first.request(&rig, &once).await.unwrap();
    assert_eq!(refusal(&rig, &second, &once).await, Code::CodeUsed);

    let revoked = rig.mint(json!({})).await;
    let shown: CodeView = rig
        .ask("codes-revoke", &revoked.id.to_string(), &json!({}))
        .await
        .unwrap();
    assert_eq!((shown.state.as_str(), shown.ca_sha256), ("revoked", None));
    assert_eq!(refusal(&rig, &second, &revoked.code.unwrap()).await, Code::CodeRevoked);

    let short = rig.mint(json!({"lifetime_ms": 1_000, "uses": 100})).await.code.unwrap();
    let expired = eventually("the code's end", async || {
        second.request(&rig, &short).await.err().map(|error| error.code)
    });
    assert_eq!(expired.await.unwrap(), Code::CodeExpired);

    let secret = [7; 16];
    let unknown = InstallerCode::new(secret, rig.bus.trust().ca_sha256().unwrap()).reveal();
    let foreign = InstallerCode::new(secret, [9; 32]).reveal();
    for code in [unknown.as_str(), foreign.as_str()] {
        assert_eq!(refusal(&rig, &second, code).await, Code::CodeInvalid);
    }
    for code in ["BRL1-$(reboot)", "", "BRL1-'\"\n%0a"] {
        let mut body = second.body(&unknown);
        body["code_key"] = json!(code);
        let refused = rig.public::<Value>("enroll-request", &body, &second.peer).await;
        assert_eq!(refused.unwrap_err().code, Code::Malformed);
    }
    assert_eq!(rig.count("CodeUsed"), 2);
}

#[tokio::test]
async fn fields_that_are_out_of_range_are_refused_and_write_nothing() {
    let rig = Rig::start().await;
    let code = async |body: Value| {
        let body = rig.draw_code(body).1;
        rig.ask::<Value>("codes-create", "", &body).await.unwrap_err().code
    };
    assert_eq!(code(json!({"uses": 0})).await, Code::InvalidField);
    assert_eq!(code(json!({"lifetime_ms": 0})).await, Code::InvalidField);
    assert_eq!(
        code(json!({"lifetime_ms": 31_i64 * 86_400_000})).await,
        Code::InvalidField
    );
    assert_eq!(code(json!({"site": "../etc"})).await, Code::Malformed);
    assert_eq!(code(json!({"colour": "red"})).await, Code::Malformed);
    let missing = rig.ask::<Value>("codes-revoke", &"0".repeat(32), &json!({})).await;
    assert_eq!(missing.unwrap_err().code, Code::NotFound);
    let none = rig.ask::<Value>("codes-revoke", "x", &json!({})).await;
    assert_eq!(none.unwrap_err().code, Code::NotFound);
    assert_eq!(rig.service.events().unwrap(), 0);
}

#[tokio::test]
async fn lists_are_cut_into_pages() {
    let rig = Rig::start().await;
    for _ in 0..3 {
        rig.mint(json!({})).await;
    }
    let page = async |query: &str| {
        let mut call = rig.call_by(&rig.operator, "codes-list", "", "", random::id());
        call.path = format!("{}{query}", call.path);
        let biscuit = crate::rig::narrowed(&rig.operator, "codes-list", 0);
        let answer = rig.send("codes-list", &call, biscuit).await?;
        Ok::<Value, borealis_bus_schema::reply::WireError>(serde_json::from_str(&answer).unwrap())
    };
    let first = page("?limit=2").await.unwrap();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = page(&format!("?limit=2&cursor={cursor}")).await.unwrap();
    assert_eq!(
        (
            first["items"].as_array().unwrap().len(),
            second["items"].as_array().unwrap().len()
        ),
        (2, 1)
    );
    assert_eq!(second["next_cursor"], Value::Null);
    assert!(first["items"][0].get("ca_sha256").is_none());
    assert_eq!(page("?limit=many").await.unwrap_err().code, Code::InvalidField);
    assert_eq!(page("?cursor=rubbish").await.unwrap_err().code, Code::InvalidField);
}

#[tokio::test]
async fn a_code_is_used_exactly_as_often_as_it_may_be_however_many_come_at_once() {
    let rig = Rig::start().await;
    let code = rig.mint(json!({"uses": 150, "auto_approve": true})).await.code.unwrap();
    let machines: Vec<Machine> = (0..200).map(|number| Machine::draw(&format!("web-{number}"))).collect();
    let asked = machines.iter().map(|machine| machine.request(&rig, &code));
    let answers = futures_util::future::join_all(asked).await;
    let refused: Vec<Code> = answers
        .iter()
        .filter_map(|answer| Some(answer.as_ref().err()?.code))
        .collect();
    assert_eq!(refused, [Code::CodeUsed; 50]);
    assert_eq!(rig.app.ledger.state().device_count(), 150);
}
