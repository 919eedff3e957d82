//! Which orders are taken.

use super::desk::*;
use crate::core::record::Record;
use crate::core::{Ending, Input, MAX_QUEUED, Output};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::ids::{Guid, OrderId, RunId};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::{
    Context, Digest, EnvValue, KeySet, OrderBody, ScriptBody, SignedOrder, key_id, sign_batch,
};
use ed25519_dalek::SigningKey;

#[test]
fn given_a_genuine_order_then_it_is_in_the_journal_before_it_is_answered_and_started() {
    let mut desk = Desk::new();
    let order = desk.script();
    let (reply, outputs) = desk.deliver(&order);
    assert_eq!(reply.unwrap().state, RunState::Delivered);
    assert!(starts(&outputs, key_of(&order)));
    let received = codec::encode(&order).unwrap();
    assert!(matches!(&desk.journal.records[0], Record::Received { order, .. } if *order == received));
    assert!(matches!(&desk.journal.records[1], Record::Starting { key, .. } if *key == key_of(&order)));
}

#[test]
fn given_a_ping_then_it_is_answered_at_once_with_a_signed_result_and_told_no_second_time() {
    let mut desk = Desk::new();
    desk.online();
    let order = desk.order(OrderBody::Ping);
    let (reply, outputs) = desk.deliver(&order);
    let accepted = reply.unwrap();
    let result = opened(&accepted.result.clone().unwrap());
    assert_eq!(
        (result.state, result.run, result.guid),
        (RunState::Succeeded, order.run, guid())
    );
    assert!(started(&outputs).is_empty() && results(&outputs).is_empty());
    let again = desk.deliver(&order).0.unwrap();
    assert_eq!(again, accepted, "the journal answers with the same bytes");
    desk.restart();
    assert_eq!(desk.deliver(&order).0.unwrap(), accepted, "also after a restart");
}

#[test]
fn given_each_altered_field_then_its_own_code_refuses_it_and_nothing_starts() {
    let mut desk = Desk::new();
    let order = desk.script();
    let cases = [
        (Code::OrderWrongDevice, {
            let mut o = order.clone();
            o.guid = Guid::from_random([9; 16]);
            o
        }),
        (Code::OrderExpired, {
            let mut o = order.clone();
            o.issued_at = at(-HOUR_MS);
            o.expires_at = at(0);
            o
        }),
        (Code::OrderNotYetValid, {
            let mut o = order.clone();
            o.issued_at = at(60_001);
            o
        }),
        (Code::OrderTooLongValid, {
            let mut o = order.clone();
            o.expires_at = at(24 * HOUR_MS + 1);
            o
        }),
        (Code::OrderMalformed, {
            let mut o = order.clone();
            o.body = OrderBody::Ping;
            o
        }),
        (Code::OrderMalformed, {
            let mut o = order.clone();
            o.body = OrderBody::Script(ScriptBody {
                script: b"rm -rf /".to_vec(),
                ..script_body()
            });
            o
        }),
        (Code::InvalidField, {
            let mut o = order.clone();
            o.body = OrderBody::Script(ScriptBody {
                args: vec!["a\0b".into()],
                ..script_body()
            });
            o
        }),
        (Code::InvalidField, {
            let mut o = order.clone();
            o.body = OrderBody::Script(ScriptBody {
                env: [("A=B".to_owned(), EnvValue::default())].into(),
                ..script_body()
            });
            o
        }),
    ];
    for (code, altered) in cases {
        let (reply, outputs) = desk.deliver(&altered);
        assert_eq!(reply.unwrap_err().code, code);
        assert!(started(&outputs).is_empty());
    }
    assert!(desk.journal.records.is_empty(), "what is refused leaves no trace");
    assert!(desk.deliver(&order).0.is_ok(), "and spoils nothing");
}

#[test]
fn given_an_authentic_order_for_another_context_then_a_signed_result_refuses_it_and_nothing_starts() {
    let mut desk = Desk::new();
    let mut order = desk.script();
    order.context = Context::CurrentUser;
    let (reply, outputs) = desk.deliver(&order);
    let accepted = reply.unwrap();
    let result = opened(&accepted.result.unwrap());
    assert_eq!(
        (result.state, result.code, result.run),
        (RunState::Refused, Some(Code::OrderWrongContext), order.run)
    );
    assert!(started(&outputs).is_empty());
    desk.restart();
    assert_eq!(desk.deliver(&order).0.unwrap().state, RunState::Refused, "it stays so");
    // Nobody can have a run refused that is known, or by an order that is not authentic.
    let (running, _) = desk.running();
    let mut other = running.clone();
    (other.context, other.order) = (Context::CurrentUser, OrderId::from_bytes([211; 16]));
    assert_eq!(desk.code_of(&other), Code::OrderWrongContext);
    assert_eq!(desk.deliver(&running).0.unwrap().state, RunState::Running);
    let mut fresh = desk.script();
    fresh.context = Context::CurrentUser;
    let mut bent = sign(&fresh);
    bent.signature = SignatureBytes::from_bytes([1; 64]);
    let (reply, _) = desk.deliver_signed(&bent, "script", "run");
    assert_eq!(reply.unwrap_err().code, Code::OrderSignatureInvalid);
}

#[test]
fn given_a_signature_by_a_key_that_came_with_the_message_then_it_moves_nothing() {
    let mut desk = Desk::new();
    let thief = SigningKey::from_bytes(&[99; 32]);
    let mut order = desk.script();
    order.key_id = key_id(&PublicKey::of(&thief));
    let stolen = sign_batch(&thief, std::slice::from_ref(&order)).unwrap().remove(0);
    assert_eq!(
        desk.deliver_signed(&stolen, "script", "run").0.unwrap_err().code,
        Code::OrderKeyUnknown
    );
    let renamed = SignedOrder {
        key_id: key_id(&PublicKey::of(&signer())),
        ..stolen
    };
    assert_eq!(
        desk.deliver_signed(&renamed, "script", "run").0.unwrap_err().code,
        Code::OrderSignatureInvalid
    );
    let mut bent = sign(&desk.script());
    bent.signature = SignatureBytes::from_bytes([1; 64]);
    assert_eq!(
        desk.deliver_signed(&bent, "script", "run").0.unwrap_err().code,
        Code::OrderSignatureInvalid
    );
    assert!(desk.journal.records.is_empty());
}

#[test]
fn given_another_subject_than_its_own_then_it_is_refused() {
    let mut desk = Desk::new();
    let order = desk.script();
    let signed = sign(&order);
    assert_eq!(
        desk.deliver_signed(&signed, "script", "cancel").0.unwrap_err().code,
        Code::OrderWrongSubject
    );
    assert_eq!(
        desk.deliver_signed(&signed, "agent", "ping").0.unwrap_err().code,
        Code::OrderWrongSubject
    );
    assert_eq!(
        desk.deliver_signed(&signed, "script", "walk").0.unwrap_err().code,
        Code::UnknownVerb
    );
    assert_eq!(
        desk.deliver_signed(&signed, "macro", "run").0.unwrap_err().code,
        Code::UnknownVerb
    );
}

#[test]
fn given_bytes_that_are_no_order_then_each_kind_has_its_code() {
    let mut desk = Desk::new();
    let mut code = |bytes: Vec<u8>| desk.deliver_bytes(bytes, "script", "run").0.unwrap_err().code;
    assert_eq!(code(vec![]), Code::OrderMalformed);
    assert_eq!(code(b"\xff\xff".to_vec()), Code::OrderMalformed);
    assert_eq!(code(vec![0x81; 100_000]), Code::TooDeep);
    assert_eq!(code(vec![0; codec::MAX_BODY_BYTES + 1]), Code::TooLarge);
}

#[test]
fn given_a_key_set_that_is_over_then_nothing_is_taken() {
    let mut desk = Desk::new();
    desk.pass(1_001 * HOUR_MS);
    let order = desk.script();
    assert_eq!(desk.code_of(&order), Code::OrderKeyUnknown);
}

#[test]
fn given_a_clock_that_nobody_set_when_an_order_does_not_fit_the_time_then_it_is_to_come_again() {
    let mut desk = Desk::unset();
    let order = desk.script();
    desk.now.wall = at(48 * HOUR_MS);
    assert_eq!(desk.code_of(&order), Code::ClockSkew);
    desk.give(Input::ServerTime(at(10)));
    assert!(desk.deliver(&order).0.is_ok());
}

#[test]
fn given_a_server_that_turns_its_clock_back_then_what_is_over_stays_over() {
    let mut desk = Desk::new();
    let old = desk.script();
    desk.pass(2 * HOUR_MS);
    let fresh = desk.script();
    assert!(desk.deliver(&fresh).0.is_ok());
    desk.give(Input::ServerTime(at(0)));
    assert_eq!(desk.code_of(&old), Code::OrderExpired);
    desk.core = core_of(desk.journal.records.clone());
    desk.give(Input::ServerTime(at(0)));
    assert_eq!(desk.code_of(&old), Code::OrderExpired, "also after a restart");
}

#[test]
fn given_a_bus_that_lies_about_the_time_then_no_order_runs_twice_and_none_that_is_over() {
    let mut desk = Desk::new();
    desk.online();
    let withheld = desk.script();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(0));
    desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    let truth = desk.now.wall;
    desk.welcomed_at(truth.plus_ms(30 * 24 * HOUR_MS));
    let outputs = desk.welcomed_at(truth);
    assert!(outputs.contains(&Output::AskTime), "the bus's word is in doubt");
    desk.give(Input::ServerTime(truth));
    let (reply, outputs) = desk.deliver(&order);
    assert_eq!(reply.unwrap().state, RunState::Succeeded, "it is remembered");
    assert!(started(&outputs).is_empty());

    desk.pass(2 * HOUR_MS);
    desk.welcomed_at(truth);
    assert_eq!(desk.code_of(&withheld), Code::ClockSkew, "it stays over");
    let fresh = desk.script();
    assert!(desk.deliver(&fresh).0.is_ok(), "what is in time is taken all the same");
}

#[test]
fn given_another_order_for_a_known_run_and_attempt_then_it_repeats_or_is_a_replay() {
    let mut desk = Desk::new();
    let (order, _) = desk.running();
    let mut fresh = order.clone();
    fresh.order = OrderId::from_bytes([200; 16]);
    fresh.expires_at = fresh.expires_at.plus_ms(1);
    let (reply, outputs) = desk.deliver(&fresh);
    assert_eq!(
        reply.unwrap().state,
        RunState::Running,
        "the server asks again with a fresh order"
    );
    assert!(started(&outputs).is_empty());

    let mut other = fresh.clone();
    other.body = OrderBody::Script(ScriptBody {
        args: vec!["more".into()],
        ..script_body()
    });
    assert_eq!(
        desk.code_of(&other),
        Code::OrderReplayed,
        "the same run doing something else"
    );
    let mut other = order.clone();
    other.run = RunId::from_bytes([200; 16]);
    assert_eq!(desk.code_of(&other), Code::OrderReplayed, "the order id is used");
    let mut next = order;
    (next.attempt, next.order) = (2, OrderId::from_bytes([201; 16]));
    assert!(desk.deliver(&next).0.is_ok(), "the next attempt is another");
}

#[test]
fn given_a_repeated_order_then_the_journal_answers_and_nothing_starts_twice() {
    let mut desk = Desk::new();
    let (order, key) = desk.running();
    let (reply, outputs) = desk.deliver(&order);
    assert_eq!(reply.unwrap().state, RunState::Running);
    assert!(started(&outputs).is_empty());
    desk.exited(key, Ending::Code(3));
    let accepted = desk.deliver(&order).0.unwrap();
    assert_eq!(accepted.state, RunState::Failed);
    assert_eq!(opened(&accepted.result.unwrap()).exit_code, Some(3));
    // Long after its end the same bytes are still known, though the order itself is over.
    desk.pass(30 * HOUR_MS);
    assert_eq!(desk.deliver(&order).0.unwrap().state, RunState::Failed);
}

#[test]
fn given_a_replay_after_restart_and_compaction_then_it_is_still_known() {
    let mut desk = Desk::new();
    desk.online();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(0));
    desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    desk.journal.rewrite_at = Some(1);
    desk.pass(1);
    assert!(desk.journal.rewrites > 0);
    desk.journal.rewrite_at = None;
    desk.restart();
    assert_eq!(desk.deliver(&order).0.unwrap().state, RunState::Succeeded);
    let mut fresh = order.clone();
    fresh.order = OrderId::from_bytes([200; 16]);
    assert_eq!(desk.deliver(&fresh).0.unwrap().state, RunState::Succeeded);
    fresh.body = OrderBody::Script(ScriptBody {
        timeout_ms: 1,
        ..script_body()
    });
    assert_eq!(desk.code_of(&fresh), Code::OrderReplayed);
}

#[test]
fn given_the_longest_expiry_and_a_day_then_a_run_is_forgotten_and_not_before() {
    let mut desk = Desk::new();
    desk.online();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(0));
    desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    let prove = |desk: &mut Desk| {
        let ping = desk.order(OrderBody::Ping);
        assert!(desk.deliver(&ping).0.is_ok());
    };
    desk.pass(8 * 24 * HOUR_MS);
    prove(&mut desk);
    assert!(desk.deliver(&order).0.is_ok(), "the order's own hour is not over");
    desk.pass(HOUR_MS);
    assert!(
        desk.deliver(&order).0.is_ok(),
        "no signature has proved that time passed"
    );
    prove(&mut desk);
    assert_eq!(
        desk.code_of(&order),
        Code::OrderExpired,
        "what is forgotten is over for long"
    );
}

#[test]
fn given_a_full_disk_then_an_order_is_refused_before_it_starts_and_taken_when_there_is_room() {
    let mut desk = Desk::new();
    desk.journal.full = true;
    let order = desk.script();
    let (reply, outputs) = desk.deliver(&order);
    assert_eq!(reply.unwrap_err().code, Code::NoSpace);
    assert!(started(&outputs).is_empty());
    let ping = desk.order(OrderBody::Ping);
    assert_eq!(desk.code_of(&ping), Code::NoSpace);
    desk.journal.full = false;
    assert!(desk.deliver(&order).0.is_ok());
}

#[test]
fn given_more_than_may_wait_then_the_device_is_busy() {
    let mut desk = Desk::new();
    for number in 0..MAX_QUEUED + 2 {
        let mut order = desk.script();
        let id = u128::try_from(number).unwrap().to_be_bytes();
        (order.run, order.order) = (RunId::from_bytes(id), OrderId::from_bytes(id));
        assert!(desk.deliver(&order).0.is_ok(), "{number}");
    }
    let mut order = desk.script();
    (order.run, order.order) = (RunId::from_bytes([250; 16]), OrderId::from_bytes([250; 16]));
    assert_eq!(desk.code_of(&order), Code::Busy);
}

#[test]
fn given_an_agent_that_stops_then_orders_are_to_come_again() {
    let mut desk = Desk::new();
    desk.give(Input::Stop);
    let order = desk.script();
    assert_eq!(desk.code_of(&order), Code::ShuttingDown);
}

#[test]
fn given_key_sets_then_only_newer_ones_of_the_pinned_root_count() {
    let mut desk = Desk::new();
    let other = SigningKey::from_bytes(&[77; 32]);
    let with_other = |version| KeySet {
        version,
        keys: vec![PublicKey::of(&other)],
        expires_at: at(HOUR_MS * 99),
    };
    let mut by_other = desk.script();
    by_other.key_id = key_id(&PublicKey::of(&other));
    let signed_by_other = sign_batch(&other, std::slice::from_ref(&by_other)).unwrap().remove(0);

    let forged =
        borealis_bus_schema::forms::Signed::seal(&signer(), borealis_bus_schema::forms::Form::KeySet, &with_other(9))
            .unwrap();
    assert!(
        desk.give(Input::KeySet(forged)).is_empty(),
        "the old key's signature moves nothing"
    );
    assert!(
        desk.give(Input::KeySet(signed_key_set(&with_other(1)))).is_empty(),
        "the same version with other keys"
    );
    assert!(
        desk.give(Input::KeySet(signed_key_set(&with_other(0)))).is_empty(),
        "an older version"
    );
    assert_eq!(
        desk.deliver_signed(&signed_by_other, "script", "run")
            .0
            .unwrap_err()
            .code,
        Code::OrderKeyUnknown
    );

    let newer = signed_key_set(&with_other(2));
    assert_eq!(desk.give(Input::KeySet(newer.clone())), [Output::KeepKeySet(newer)]);
    assert!(desk.deliver_signed(&signed_by_other, "script", "run").0.is_ok());
    let retired = desk.script();
    assert_eq!(desk.code_of(&retired), Code::OrderKeyUnknown);
}

#[test]
fn given_a_script_whose_digest_is_another_s_then_it_is_refused() {
    let mut desk = Desk::new();
    let order = desk.order(OrderBody::Script(ScriptBody {
        digest: Digest::of(b"other"),
        ..script_body()
    }));
    assert_eq!(desk.code_of(&order), Code::OrderMalformed);
}
