//! Installer codes, from minting to the last use.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::enrollment::CodeView;
use borealis_service_kit::random;
use borealis_test_support::eventually;
use serde_json::{Value, json};

use crate::rig::{Machine, Rig};

async fn refusal(rig: &Rig, machine: &Machine, code: &str) -> Code {
    machine.request(rig, code).await.unwrap_err().code
}

#[tokio::test]
async fn a_repeated_command_gives_the_same_code_also_after_a_restart_and_the_log_never_holds_it() {
    let rig = Rig::start().await;
    let (command, body): (CommandId, Value) = (random::id(), json!({"uses": 2}));
    let first: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    let second: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    let code = first.code.clone().unwrap();
    assert_eq!((first.id, first.code), (second.id, second.code));
    let other: CodeView = rig.mint(body.clone()).await;
    assert_ne!(other.code.as_deref(), Some(code.as_str()));
    assert_eq!(rig.count("CodeMinted"), 2);

    let rig = rig.restart().await;
    let third: CodeView = rig.command("codes-create", "", &body, command).await.unwrap();
    assert_eq!((third.id, third.code.as_deref()), (first.id, Some(code.as_str())));
    let reused = rig
        .command::<CodeView>("codes-create", "", &json!({"uses": 3}), command)
        .await;
    assert_eq!(reused.unwrap_err().code, Code::IdReused);

    let parsed = InstallerCode::parse(&code).unwrap();
    let kept = rig.service.log.command(command.as_bytes()).unwrap().unwrap().answer;
    let secret = &code.as_bytes()[10..40];
    let mut holders = rig.events().into_iter().filter_map(|event| event.body).chain([kept]);
    assert!(holders.all(|bytes| !bytes.windows(secret.len()).any(|part| part == secret)));
    assert_eq!(third.masked, format!("{}…", &code[..9]));
    assert!(rig.app.ledger.state().code_by_digest(&parsed.secret_digest()).is_some());
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
    assert_eq!((shown.state.as_str(), shown.code), ("revoked", None));
    assert_eq!(refusal(&rig, &second, &revoked.code.unwrap()).await, Code::CodeRevoked);

    let short = rig.mint(json!({"lifetime_ms": 1_000, "uses": 100})).await.code.unwrap();
    let expired = eventually("the code's end", async || {
        second.request(&rig, &short).await.err().map(|error| error.code)
    });
    assert_eq!(expired.await.unwrap(), Code::CodeExpired);

    let secret = [7; 16];
    let unknown = InstallerCode::new(secret, rig.bus.trust().ca_sha256().unwrap()).reveal();
    let foreign = InstallerCode::new(secret, [9; 32]).reveal();
    for code in [
        unknown.as_str(),
        foreign.as_str(),
        "BRL1-$(reboot)",
        "",
        "BRL1-'\"\n%0a",
    ] {
        assert_eq!(refusal(&rig, &second, code).await, Code::CodeInvalid);
    }
    assert_eq!(rig.count("CodeUsed"), 2);
}

#[tokio::test]
async fn fields_that_are_out_of_range_are_refused_and_write_nothing() {
    let rig = Rig::start().await;
    let code = async |body: Value| rig.ask::<Value>("codes-create", "", &body).await.unwrap_err().code;
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
    assert_eq!(rig.service.position(), 0);
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
    assert!(first["items"][0].get("code").is_none());
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
