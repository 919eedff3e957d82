//! Hello, welcome, facts.

use super::desk::*;
use crate::core::facts::{GATHER_EVERY_MS, REFRESH_EVERY_MS};
use crate::core::{Input, Output, TellError};
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::messages::inventory::{Cpu, Facts, Memory, Os, Summary};

fn hellos(outputs: &[Output]) -> Vec<Hello> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::SendHello(signed) => Some(signed.open(&keys().public(), Form::Hello).unwrap()),
        _ => None,
    });
    sent.collect()
}

fn facts(hostname: &str, uptime_ms: u64) -> Box<Facts> {
    Box::new(Facts {
        guid: guid(),
        at: at(i64::try_from(uptime_ms).unwrap()),
        summary: Summary {
            hostname: hostname.into(),
            uptime_ms,
            ..Summary::default()
        },
        cpu: Cpu::default(),
        memory: Memory {
            available_bytes: uptime_ms,
            ..Memory::default()
        },
        storage: vec![],
        network: vec![],
        os: Os::default(),
        software: vec![],
    })
}

fn sent_facts(outputs: &[Output]) -> usize {
    outputs
        .iter()
        .filter(|output| matches!(output, Output::SendFacts(_)))
        .count()
}

#[test]
fn given_each_connection_then_the_hello_counts_up_also_over_restarts() {
    let mut desk = Desk::new();
    let first = hellos(&desk.give(Input::Connected)).remove(0);
    assert_eq!((first.journal_counter, first.guid, first.roles.len()), (1, guid(), 2));
    desk.give(Input::Disconnected);
    assert_eq!(hellos(&desk.give(Input::Connected))[0].journal_counter, 2);
    desk.restart();
    assert_eq!(hellos(&desk.give(Input::Connected))[0].journal_counter, 3);
    desk.journal.rewrite_at = Some(1);
    desk.pass(1);
    desk.restart();
    assert_eq!(hellos(&desk.give(Input::Connected))[0].journal_counter, 4);
}

#[test]
fn given_no_welcome_then_the_hello_is_said_again_after_a_pause() {
    let mut desk = Desk::new();
    desk.give(Input::Connected);
    assert!(hellos(&desk.give(Input::Welcomed(Err(TellError::Lost)))).is_empty());
    let due = desk.core.deadline_ms().unwrap();
    assert!(due > desk.now.mono_ms);
    assert_eq!(hellos(&desk.pass(1_000)).len(), 1);
    assert!(!desk.core.is_welcome());
}

#[test]
fn given_a_welcome_then_the_server_s_clock_counts() {
    let mut desk = Desk::unset();
    desk.give(Input::Connected);
    let welcome = Welcome {
        server_time: at(5 * HOUR_MS),
        key_set: signed_key_set(&key_set(1)),
    };
    desk.give(Input::Welcomed(Ok(welcome)));
    assert_eq!(desk.core.skew_ms(), Some(-5 * HOUR_MS));
    assert!(desk.core.is_welcome());
    let old = desk.script();
    assert_eq!(desk.code_of(&old), borealis_bus_schema::codes::Code::OrderExpired);
}

#[test]
fn given_a_welcome_with_foreign_keys_then_the_clock_is_taken_and_the_keys_are_not() {
    let mut desk = Desk::new();
    desk.give(Input::Connected);
    let foreign = Signed::seal(&signer(), Form::KeySet, &key_set(9)).unwrap();
    let outputs = desk.give(Input::Welcomed(Ok(Welcome {
        server_time: at(0),
        key_set: foreign,
    })));
    assert!(!outputs.iter().any(|output| matches!(output, Output::KeepKeySet(_))));
}

#[test]
fn given_facts_then_only_what_changed_travels() {
    let mut desk = Desk::new();
    assert!(desk.give(Input::Connected).contains(&Output::GatherFacts));
    assert_eq!(sent_facts(&desk.give(Input::Facts(facts("a", 1)))), 1);
    desk.give(Input::FactsAnswered(Ok(())));
    let every = i64::try_from(GATHER_EVERY_MS).unwrap() + 30_000;
    assert!(desk.pass(every).contains(&Output::GatherFacts));
    assert_eq!(
        sent_facts(&desk.give(Input::Facts(facts("a", 2)))),
        0,
        "uptime and free memory are no change"
    );
    desk.pass(every);
    assert_eq!(sent_facts(&desk.give(Input::Facts(facts("b", 3)))), 1);
    desk.give(Input::FactsAnswered(Ok(())));
    desk.pass(i64::try_from(REFRESH_EVERY_MS).unwrap());
    assert_eq!(
        sent_facts(&desk.give(Input::Facts(facts("b", 4)))),
        1,
        "now and then all the same"
    );
}

#[test]
fn given_facts_that_nobody_took_then_they_are_sent_again() {
    let mut desk = Desk::new();
    desk.give(Input::Connected);
    desk.give(Input::Facts(facts("a", 1)));
    assert_eq!(sent_facts(&desk.give(Input::FactsAnswered(Err(TellError::Lost)))), 0);
    assert_eq!(sent_facts(&desk.pass(10_000)), 1);
    desk.give(Input::Disconnected);
    desk.give(Input::FactsAnswered(Err(TellError::Lost)));
    assert_eq!(sent_facts(&desk.pass(300_000)), 0, "not while it is off");
    assert_eq!(sent_facts(&desk.give(Input::Connected)), 1);
}
