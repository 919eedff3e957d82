//! A device that dies at every step, and what it does then.

use super::desk::*;
use crate::core::record::Record;
use crate::core::{Ending, Input, Output, TellError};
use crate::identity::DeviceKeys;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::messages::device::RunResult;
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};

#[test]
fn given_received_only_then_it_may_begin() {
    let mut desk = Desk::new();
    let order = desk.script();
    desk.deliver(&order).0.unwrap();
    desk.journal.records.truncate(1);
    assert_eq!(started(&desk.restart()), [key_of(&order)]);
}

#[test]
fn given_received_only_and_expired_then_it_does_not_begin() {
    let mut desk = Desk::new();
    let order = desk.script();
    desk.deliver(&order).0.unwrap();
    desk.journal.records.truncate(1);
    desk.now.wall = desk.now.wall.plus_ms(2 * HOUR_MS);
    assert!(started(&desk.restart()).is_empty());
    assert_eq!(results(&desk.give(Input::Connected))[0].state, RunState::Expired);
}

#[test]
fn given_starting_without_exited_then_leftovers_are_ended_before_it_is_interrupted() {
    let mut desk = Desk::new();
    let (order, key) = desk.running();
    let outputs = desk.restart();
    assert_eq!(outputs, [Output::EndLeftovers(key)]);
    assert!(
        results(&desk.give(Input::Connected)).is_empty(),
        "not before they are ended"
    );
    let mut left = exit(Ending::Code(0));
    left.stdout_bytes = 4;
    let outputs = desk.give(Input::LeftoversEnded { key, exit: left });
    let stream = OutputStream::Stdout;
    assert!(
        outputs
            .iter()
            .any(|o| matches!(o, Output::SendOutput { offset: 0, len: 4, .. })),
        "what was written is sent"
    );
    let outputs = desk.give(Input::OutputAnswered {
        key,
        stream,
        offset: 0,
        answer: Ok(4),
    });
    assert_eq!(results(&outputs)[0].state, RunState::Interrupted);
    assert_eq!(desk.deliver(&order).0.unwrap().state, RunState::Interrupted);
    assert!(started(&desk.restart()).is_empty(), "and never begins again");
}

#[test]
fn given_exited_then_the_same_signed_result_is_sent_again() {
    let mut desk = Desk::new();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(5));
    let before = desk.deliver(&order).0.unwrap().result.unwrap();
    desk.restart();
    let outputs = desk.give(Input::Connected);
    let sent = outputs.iter().find_map(|output| match output {
        Output::SendResult { result, .. } => Some(result.clone()),
        _ => None,
    });
    assert_eq!(sent, Some(before));
}

#[test]
fn given_another_key_then_a_result_that_waits_is_signed_with_it_also_after_a_restart() {
    let other = DeviceKeys::of_seeds([8; 32], [9; 32]);
    let sent = |outputs: &[Output]| {
        let sent = outputs.iter().find_map(|output| match output {
            Output::SendResult { result, .. } => Some(result.clone()),
            _ => None,
        });
        let opened = sent.map(|result| result.open::<RunResult>(&other.public(), Form::Result));
        opened.map(|result| result.unwrap().exit_code)
    };
    let mut desk = Desk::new();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(5));
    desk.core.rekey(Box::new(other.clone()), desk.now);
    assert_eq!(sent(&desk.give(Input::Connected)), Some(Some(5)));

    // Whoever takes results has not heard of the new key yet: it is told again soon.
    let refused = Input::ResultAnswered {
        key,
        answer: Err(TellError::Refused {
            code: Code::ResultSignatureInvalid,
            retry: Retry::Never,
        }),
    };
    assert_eq!(sent(&desk.give(refused)), None);
    assert_eq!(sent(&desk.pass(2_000)), Some(Some(5)));

    // The journal still holds the old signature.
    desk.core = core_with(other.clone(), desk.journal.records.clone());
    desk.give(Input::Began);
    desk.give(Input::ServerTime(desk.now.wall));
    assert_eq!(sent(&desk.give(Input::Connected)), Some(Some(5)));
    let told = desk.deliver(&order).0.unwrap().result.unwrap();
    assert!(told.open::<RunResult>(&other.public(), Form::Result).is_ok());
}

#[test]
fn given_closed_then_nothing_is_sent_and_it_is_still_known() {
    let mut desk = Desk::new();
    desk.online();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(0));
    desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    desk.restart();
    assert!(results(&desk.give(Input::Connected)).is_empty());
    assert_eq!(desk.deliver(&order).0.unwrap().state, RunState::Succeeded);
}

#[test]
fn given_every_prefix_of_a_journal_then_no_run_begins_twice_and_no_result_changes() {
    let mut desk = Desk::new();
    desk.online();
    let (order, key) = desk.running();
    desk.exited(key, Ending::Code(0));
    desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    let records = desk.journal.records.clone();
    for cut in 0..=records.len() {
        let mut other = Desk::new();
        other.journal.records = records[..cut].to_vec();
        let begun = started(&other.restart());
        let had_starting = records[..cut]
            .iter()
            .any(|record| matches!(record, Record::Starting { .. }));
        let had_received = records[..cut]
            .iter()
            .any(|record| matches!(record, Record::Received { .. }));
        assert_eq!(begun.contains(&key), had_received && !had_starting, "cut at {cut}");
        let (reply, outputs) = other.deliver(&order);
        assert!(reply.is_ok());
        assert_eq!(started(&outputs).contains(&key), !had_received, "cut at {cut}");
    }
}

#[test]
fn given_a_rewrite_at_every_step_then_the_state_is_the_same() {
    let mut plain = Desk::new();
    let mut compacted = Desk::new();
    compacted.journal.rewrite_at = Some(0);
    for desk in [&mut plain, &mut compacted] {
        desk.online();
        let (_, first) = desk.running();
        desk.exited(first, Ending::Code(1));
        desk.running();
        desk.running();
        let waiting = desk.script();
        desk.deliver(&waiting).0.unwrap();
    }
    assert!(compacted.journal.rewrites > 5);
    for desk in [&mut plain, &mut compacted] {
        desk.restart();
    }
    assert_eq!(plain.core.snapshot(), compacted.core.snapshot());
}
