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

fn asked(outputs: &[Output]) -> Hello {
    let mut all = hellos(outputs);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn given_each_connection_then_the_hello_counts_up_also_over_restarts() {
    let mut desk = Desk::new();
    let first = asked(&desk.give(Input::Connected));
    assert_eq!((first.journal_counter, first.guid, first.roles.len()), (0, guid(), 2));
    assert_eq!(first.challenge, None);
    let second = asked(&desk.challenge("one"));
    assert_eq!((second.journal_counter, second.challenge.as_deref()), (1, Some("one")));
    desk.give(Input::Disconnected);
    desk.give(Input::Connected);
    assert_eq!(asked(&desk.challenge("two")).journal_counter, 2);
    desk.restart();
    desk.give(Input::Connected);
    assert_eq!(asked(&desk.challenge("three")).journal_counter, 3);
    desk.journal.rewrite_at = Some(1);
    desk.pass(1);
    desk.restart();
    desk.give(Input::Connected);
    assert_eq!(asked(&desk.challenge("four")).journal_counter, 4);
}

#[test]
fn given_a_challenge_that_nobody_waits_for_then_nothing_is_said_and_nothing_counted() {
    let mut desk = Desk::new();
    desk.online();
    assert!(hellos(&desk.challenge("late")).is_empty());
    assert!(desk.core.is_welcome(), "who is welcome stays so");
    desk.give(Input::Disconnected);
    assert!(hellos(&desk.challenge("later")).is_empty());
    assert_eq!(asked(&desk.give(Input::Connected)).journal_counter, 0);
}

#[test]
fn given_an_answer_that_came_too_late_then_the_device_asks_again_after_a_pause() {
    let mut desk = Desk::new();
    desk.give(Input::Connected);
    desk.challenge("one");
    assert!(
        hellos(&desk.challenge("two")).is_empty(),
        "two servers could else keep it talking"
    );
    let again = asked(&desk.pass(1_000));
    assert_eq!((again.journal_counter, again.challenge), (1, None));
    assert_eq!(asked(&desk.challenge("three")).journal_counter, 2);
    assert!(!desk.core.is_welcome());
    desk.online();
    assert!(desk.core.is_welcome());
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
        challenge: None,
        quarantined: false,
        renew: false,
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
        challenge: None,
        quarantined: false,
        renew: false,
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
