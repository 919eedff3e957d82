//! Runs on their way.

use super::desk::*;
use crate::core::record::Record;
use crate::core::{Ending, Exit, Input, Output, TellError, Why};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::device::OUTPUT_CHUNK_BYTES;
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use borealis_bus_schema::order::OrderBody;

#[test]
fn given_a_bound_then_runs_wait_and_begin_in_the_order_they_came() {
    let mut desk = Desk::new();
    let (_, first) = desk.running();
    let (_, second) = desk.running();
    let waiting: Vec<_> = (0..3).map(|_| desk.script()).collect();
    for order in &waiting {
        let (reply, outputs) = desk.deliver(order);
        assert_eq!(reply.unwrap().state, RunState::Delivered);
        assert!(started(&outputs).is_empty());
    }
    assert_eq!(started(&desk.exited(second, Ending::Code(0))), [key_of(&waiting[0])]);
    assert_eq!(started(&desk.exited(first, Ending::Code(0))), [key_of(&waiting[1])]);
}

#[test]
fn given_an_exit_then_it_is_durable_before_the_result_is_told_and_closed_after_the_answer() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    let outputs = desk.exited(key, Ending::Code(0));
    assert!(matches!(desk.journal.records.last(), Some(Record::Exited { .. })));
    let result = results(&outputs).remove(0);
    assert_eq!(
        (result.state, result.exit_code, result.duration_ms),
        (RunState::Succeeded, Some(0), 12)
    );
    assert!(result.started_at.is_some());
    let outputs = desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    assert!(matches!(desk.journal.records.last(), Some(Record::Closed { .. })));
    assert!(outputs.contains(&Output::Forget(key)));
    assert!(results(&desk.pass(24 * HOUR_MS)).is_empty());
}

#[test]
fn given_each_ending_then_the_state_fits() {
    let cases = [
        (Ending::Code(0), RunState::Succeeded, None),
        (Ending::Code(9), RunState::Failed, None),
        (Ending::Signal(11), RunState::Failed, None),
        (Ending::Unknown { reason: "lost".into() }, RunState::Interrupted, None),
        (
            Ending::NotBegun {
                code: Code::InterpreterMissing,
                reason: "no pwsh".into(),
            },
            RunState::Refused,
            Some(Code::InterpreterMissing),
        ),
    ];
    let mut desk = Desk::new();
    desk.online();
    for (ending, state, code) in cases {
        let (_, key) = desk.running();
        let result = results(&desk.exited(key, ending.clone())).remove(0);
        assert_eq!((result.state, result.code), (state, code), "{ending:?}");
        desk.give(Input::ResultAnswered { key, answer: Ok(()) });
    }
}

#[test]
fn given_no_answer_then_a_result_is_told_again_until_there_is_one() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    assert_eq!(results(&desk.exited(key, Ending::Code(0))).len(), 1);
    for _ in 0..20 {
        let answer = Err(TellError::Lost);
        assert!(
            results(&desk.give(Input::ResultAnswered { key, answer })).is_empty(),
            "not without a pause"
        );
        assert_eq!(results(&desk.pass(61_000)).len(), 1);
    }
    let answer = Err(refused(Code::ResultSignatureInvalid));
    desk.give(Input::ResultAnswered { key, answer });
    assert!(results(&desk.pass(61_000)).is_empty(), "a refusal slows it down");
    assert_eq!(results(&desk.pass(HOUR_MS)).len(), 1, "but a result is never given up");
}

#[test]
fn given_no_connection_then_a_result_waits_for_it() {
    let mut desk = Desk::new();
    let (_, key) = desk.running();
    assert!(results(&desk.exited(key, Ending::Code(0))).is_empty());
    assert!(results(&desk.pass(HOUR_MS)).is_empty());
    assert_eq!(results(&desk.give(Input::Connected)).len(), 1);
}

#[test]
fn given_a_timeout_then_the_run_is_ended_once_and_called_timed_out() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    assert!(!ends(&desk.pass(59_999), key, Why::TimedOut));
    assert_eq!(desk.core.deadline_ms().unwrap(), desk.now.mono_ms + 1);
    assert!(ends(&desk.pass(1), key, Why::TimedOut));
    assert!(!ends(&desk.pass(1_000), key, Why::TimedOut));
    let result = results(&desk.exited(key, Ending::Signal(9))).remove(0);
    assert_eq!(
        (result.state, result.exit_code, result.signal),
        (RunState::TimedOut, None, Some(9))
    );
}

#[test]
fn given_a_start_that_is_never_told_then_it_ends_too() {
    let mut desk = Desk::new();
    let order = desk.script();
    assert!(starts(&desk.deliver(&order).1, key_of(&order)));
    assert!(!ends(&desk.pass(60_000), key_of(&order), Why::TimedOut));
    assert!(ends(&desk.pass(30_000), key_of(&order), Why::TimedOut));
}

#[test]
fn given_a_cancel_then_a_running_run_is_ended_and_a_waiting_one_never_begins() {
    let mut desk = Desk::new();
    desk.online();
    let (running, key) = desk.running();
    desk.running();
    let waiting = desk.script();
    desk.deliver(&waiting).0.unwrap();

    let cancel = desk.order(OrderBody::Cancel { run: running.run });
    let (reply, outputs) = desk.deliver(&cancel);
    assert_eq!(
        (reply.as_ref().unwrap().run, reply.unwrap().state),
        (running.run, RunState::Running)
    );
    assert!(ends(&outputs, key, Why::Cancelled));
    let (reply, outputs) = desk.deliver(&cancel);
    assert!(
        reply.is_ok() && !ends(&outputs, key, Why::Cancelled),
        "asked twice, ended once"
    );
    assert_eq!(
        results(&desk.exited(key, Ending::Signal(15)))[0].state,
        RunState::Cancelled
    );

    let cancel = desk.order(OrderBody::Cancel { run: waiting.run });
    let outputs = desk.deliver(&cancel).1;
    // Its place had become free: it was running by then.
    assert!(ends(&outputs, key_of(&waiting), Why::Cancelled));
}

#[test]
fn given_a_cancel_of_what_waits_then_the_result_says_so_without_a_start() {
    let mut desk = Desk::new();
    desk.online();
    desk.running();
    desk.running();
    let waiting = desk.script();
    desk.deliver(&waiting).0.unwrap();
    let cancel = desk.order(OrderBody::Cancel { run: waiting.run });
    let outputs = desk.deliver(&cancel).1;
    assert_eq!(results(&outputs)[0].state, RunState::Cancelled);
    assert_eq!(desk.deliver(&waiting).0.unwrap().state, RunState::Cancelled);
}

#[test]
fn given_a_cancel_before_its_order_then_the_order_never_begins() {
    let mut desk = Desk::new();
    let order = desk.script();
    let cancel = desk.order(OrderBody::Cancel { run: order.run });
    let reply = desk.deliver(&cancel).0.unwrap();
    assert_eq!((reply.run, reply.state), (order.run, RunState::Cancelled));
    for _ in 0..2 {
        let (reply, outputs) = desk.deliver(&order);
        let reply = reply.unwrap();
        assert!(started(&outputs).is_empty());
        assert_eq!(opened(&reply.result.unwrap()).state, RunState::Cancelled);
        desk.restart();
    }
}

#[test]
fn given_output_then_it_goes_piece_by_piece_and_the_result_after_it() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    let size = OUTPUT_CHUNK_BYTES as u64 + 5;
    let stream = OutputStream::Stdout;
    let outputs = desk.give(Input::OutputGrew { key, stream, size });
    assert!(outputs.iter().any(|o| matches!(
        o,
        Output::SendOutput {
            offset: 0,
            len: OUTPUT_CHUNK_BYTES,
            ..
        }
    )));
    let exit = Exit {
        stdout_bytes: size,
        ..exit(Ending::Code(0))
    };
    assert!(
        results(&desk.give(Input::Exited { key, exit })).is_empty(),
        "output comes first"
    );
    let answer = Ok(OUTPUT_CHUNK_BYTES as u64);
    let outputs = desk.give(Input::OutputAnswered {
        key,
        stream,
        offset: 0,
        answer,
    });
    assert!(outputs.iter().any(|o| matches!(o, Output::SendOutput { len: 5, .. })));
    let outputs = desk.give(Input::OutputAnswered {
        key,
        stream,
        offset: OUTPUT_CHUNK_BYTES as u64,
        answer: Ok(size),
    });
    assert_eq!(results(&outputs)[0].stdout_bytes, size);
}

#[test]
fn given_a_cut_then_output_is_sent_again_from_where_the_server_is() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    let stream = OutputStream::Stderr;
    desk.give(Input::OutputGrew { key, stream, size: 100 });
    desk.give(Input::Disconnected);
    let answer = Err(TellError::Lost);
    desk.give(Input::OutputAnswered {
        key,
        stream,
        offset: 0,
        answer,
    });
    assert!(
        !desk.pass(60_000).iter().any(|o| matches!(o, Output::SendOutput { .. })),
        "not while it is off"
    );
    let outputs = desk.give(Input::Connected);
    assert!(outputs.iter().any(|o| matches!(
        o,
        Output::SendOutput {
            offset: 0,
            len: 100,
            ..
        }
    )));
    let outputs = desk.give(Input::OutputAnswered {
        key,
        stream,
        offset: 0,
        answer: Ok(60),
    });
    assert!(outputs.iter().any(|o| matches!(
        o,
        Output::SendOutput {
            offset: 60,
            len: 40,
            ..
        }
    )));
}

#[test]
fn given_a_server_that_wants_no_output_then_the_result_is_told_all_the_same() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    let stream = OutputStream::Stdout;
    desk.give(Input::OutputGrew { key, stream, size: 10 });
    desk.give(Input::Exited {
        key,
        exit: Exit {
            stdout_bytes: 10,
            ..exit(Ending::Code(0))
        },
    });
    let answer = Err(refused(Code::NotFound));
    assert_eq!(
        results(&desk.give(Input::OutputAnswered {
            key,
            stream,
            offset: 0,
            answer
        }))
        .len(),
        1
    );
}

#[test]
fn given_a_journal_that_fails_when_a_run_ends_then_the_result_waits_for_it() {
    let mut desk = Desk::new();
    desk.online();
    let (order, key) = desk.running();
    desk.journal.full = true;
    assert!(results(&desk.exited(key, Ending::Code(0))).is_empty());
    assert_eq!(
        desk.deliver(&order).0.unwrap().state,
        RunState::Running,
        "what is not durable is not said"
    );
    assert!(results(&desk.pass(6_000)).is_empty());
    desk.journal.full = false;
    let due = desk.core.deadline_ms().unwrap();
    assert!(due <= desk.now.mono_ms + 5_000);
    assert_eq!(results(&desk.pass(6_000)).len(), 1);
}

#[test]
fn given_a_journal_that_fails_before_a_start_then_the_run_begins_later() {
    let mut desk = Desk::new();
    desk.running();
    let (_, second) = desk.running();
    let order = desk.script();
    desk.deliver(&order).0.unwrap();
    desk.journal.full = true;
    assert!(started(&desk.exited(second, Ending::Code(0))).is_empty());
    desk.journal.full = false;
    assert_eq!(started(&desk.pass(10_000)), [key_of(&order)]);
}

#[test]
fn given_a_run_that_waited_too_long_then_it_is_expired_not_begun() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    desk.running();
    let order = desk.script();
    desk.deliver(&order).0.unwrap();
    desk.pass(2 * HOUR_MS);
    let outputs = desk.exited(key, Ending::Code(0));
    assert!(started(&outputs).is_empty());
    let expired = results(&outputs)
        .into_iter()
        .find(|result| result.run == order.run)
        .unwrap();
    assert_eq!(
        (expired.state, expired.code),
        (RunState::Expired, Some(Code::OrderExpired))
    );
}

#[test]
fn given_a_stop_then_runs_are_ended_and_called_interrupted() {
    let mut desk = Desk::new();
    desk.online();
    let (_, key) = desk.running();
    let outputs = desk.give(Input::Stop);
    assert!(ends(&outputs, key, Why::Stopping) && !outputs.contains(&Output::Stopped));
    let outputs = desk.exited(key, Ending::Signal(15));
    assert_eq!(results(&outputs)[0].state, RunState::Interrupted);
    assert!(outputs.contains(&Output::Stopped));
}

#[test]
fn given_a_stop_with_work_that_waits_then_nothing_stays_due() {
    let mut desk = Desk::new();
    desk.online();
    desk.running();
    let (_, key) = desk.running();
    let waiting = desk.script();
    desk.deliver(&waiting).0.unwrap();
    desk.journal.full = true;
    desk.exited(key, Ending::Code(0));
    desk.give(Input::Stop);
    for _ in 0..10 {
        desk.pass(10_000);
        let deadline = desk.core.deadline_ms();
        assert!(deadline.is_none_or(|at| at > desk.now.mono_ms), "{deadline:?}");
    }
}
