//! What a Rust source must not hold.

use crate::demand_none;
use crate::files::{self, TextFile};

/// Unfinished work, and tests that do not test.
const UNFINISHED: [&str; 8] = [
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
    "#[should_panic",
    "TODO",
    "FIXME",
    "XXX",
];

/// What makes a function's answer depend on more than its arguments.
const IMPURE: [&str; 13] = [
    "tokio::",
    "async fn",
    ".await",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "getrandom::",
    "rand::",
];

/// Files that decide and do nothing, besides aggregates and the agent's core.
const PURE: [&str; 8] = [
    "services/scheduler/src/aim.rs",
    "services/scheduler/src/fold.rs",
    "services/scheduler/src/job.rs",
    "services/scheduler/src/orders.rs",
    "services/scheduler/src/run.rs",
    "services/scheduler/src/schedule.rs",
    "services/scheduler/src/schedules/history.rs",
    "services/scheduler/src/steps.rs",
];

/// Lines of code with their numbers; whole-line comments are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Names each line that holds one of the words.
fn holding<'a>(file: &'a TextFile, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    code(&file.text).filter_map(|(number, line)| {
        let word = words.iter().find(|word| stands_in(line, word))?;
        Some(format!("{}:{number}: {word}", file.path))
    })
}

/// Tells whether a word stands in a line, not as the beginning of a longer one.
fn stands_in(line: &str, word: &str) -> bool {
    let is_open = |c: char| c.is_ascii_lowercase() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let next = line.get(at + word.len()..).and_then(|rest| rest.chars().next());
        !(word.ends_with(is_open) && next.is_some_and(is_open))
    })
}

/// Names what is unfinished; comments count.
fn unfinished(file: &TextFile) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let word = UNFINISHED.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{}: {word}", file.path, index + 1))
        })
        .collect()
}

/// Names each `allow` of a lint, and each `expect` without a reason.
///
/// `allow` hides what came later; `expect` fails when its cause is gone.
fn lint_exceptions(file: &TextFile) -> Vec<String> {
    let mut offences: Vec<String> = holding(file, &["#[allow(", "#![allow(", ", allow("]).collect();
    for (start, _) in file.text.match_indices("[expect(") {
        let rest = file.text.get(start..).unwrap_or_default();
        let attribute = rest.split(")]").next().unwrap_or_default();
        if !attribute.contains("reason") {
            let number = file.text.get(..start).unwrap_or_default().lines().count();
            offences.push(format!("{}:{number}: expect without a reason", file.path));
        }
    }
    offences
}

/// Names the uses of a crate outside the files that may name it.
fn outside_its_home(file: &TextFile) -> Vec<String> {
    let is_at = |homes: &[&str]| homes.iter().any(|home| file.path.starts_with(home));
    let mut words = Vec::new();
    if !is_at(&["bus-schema/src/codec.rs"]) {
        words.push("serde_cbor::");
    }
    // Tests and benchmarks play devices, attackers and references with clients of their own.
    let is_test = file.path.contains("/tests/") || file.path.contains("/benches/");
    let is_bus = is_at(&[
        "services/service-kit/src/bus.rs",
        "services/service-kit/src/bus/",
        "agent/src/transport.rs",
        "agent/src/transport/",
        "services/test-support/",
    ]);
    if !is_test && !is_bus {
        words.push("async_nats::");
    }
    // Signer and agent verify by the same lines, which the vectors of others have gone through.
    if !is_test && !is_at(&["bus-schema/src/forms.rs"]) {
        words.extend(["VerifyingKey", "verify_strict("]);
    }
    if !is_test && !is_at(&["services/event-store/"]) {
        words.push("sled::");
    }
    holding(file, &words).collect()
}

/// Names what makes the pure parts impure: aggregates, the agent's core, the scheduler's decisions.
///
/// They are replayed and simulated: the same input must give the same answer, also in the order of a map.
fn impure(file: &TextFile) -> Vec<String> {
    let path = file.path.as_str();
    let is_aggregate =
        path.starts_with("services/") && (path.contains("/src/aggregate.rs") || path.contains("/src/aggregate/"));
    let is_core = path.starts_with("agent/src/core") || PURE.contains(&path);
    if !is_aggregate && !is_core {
        return Vec::new();
    }
    let mut offences: Vec<String> = holding(file, &IMPURE).collect();
    offences.extend(holding(file, &["HashMap", "HashSet"]));
    offences
}

fn check(rule: &str, find: impl Fn(&TextFile) -> Vec<String>) {
    demand_none(rule, files::sources().iter().flat_map(find));
}

#[test]
fn nothing_is_unfinished() {
    check("unfinished work", unfinished);
}

#[test]
fn lints_are_excepted_with_a_reason() {
    check("exceptions from lints", lint_exceptions);
}

#[test]
fn crates_with_one_home_are_named_only_there() {
    check("named outside its home", outside_its_home);
}

#[test]
fn pure_parts_are_pure() {
    check("impure", impure);
}

#[cfg(test)]
mod samples {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn unfinished_work_is_refused() {
        for line in [
            "todo!()",
            "    unimplemented!(\"later\")",
            "dbg!(x);",
            "#[ignore = \"slow\"]",
            "#[should_panic]",
            "// TODO: finish",
            "// FIXME",
        ] {
            assert_eq!(unfinished(&file("a.rs", line)).len(), 1, "{line}");
        }
        assert!(unfinished(&file("a.rs", "fn finished() {}")).is_empty());
    }

    #[test]
    fn an_allowed_lint_is_refused() {
        for line in [
            "#[allow(clippy::unwrap_used)]",
            "#![allow(dead_code)]",
            "#[cfg_attr(test, allow(clippy::panic))]",
            "#[expect(clippy::panic)]",
            "#![expect(\n    clippy::panic,\n    dead_code\n)]",
        ] {
            assert_eq!(lint_exceptions(&file("a.rs", line)).len(), 1, "{line}");
        }
        let expected = "#![expect(\n    clippy::panic,\n    reason = \"tests\"\n)]\nresult.expect(\"x\")";
        assert!(lint_exceptions(&file("a.rs", expected)).is_empty());
    }

    #[test]
    fn the_line_of_an_offence_is_named() {
        let found = lint_exceptions(&file("a.rs", "fn a() {}\n\n#[expect(dead_code)]\n"));
        assert_eq!(found, ["a.rs:3: expect without a reason"]);
    }

    #[test]
    fn a_crate_outside_its_home_is_refused() {
        for (path, line) in [
            ("services/access/src/stored.rs", "serde_cbor::from_slice(x)"),
            ("services/enrollment/src/presence.rs", "use async_nats::Client;"),
            ("agent/src/runtime.rs", "async_nats::connect(x)"),
            ("services/service-kit/src/outbox.rs", "sled::open(x)"),
        ] {
            assert_eq!(outside_its_home(&file(path, line)).len(), 1, "{path}");
        }
        for (path, line) in [
            ("bus-schema/src/codec.rs", "serde_cbor::from_slice(x)"),
            ("agent/src/transport/connect.rs", "use async_nats::Client;"),
            ("services/access/tests/it/main.rs", "use async_nats::Client;"),
            ("services/access/src/lib.rs", "//! Unlike async_nats::Client"),
        ] {
            assert!(outside_its_home(&file(path, line)).is_empty(), "{path}");
        }
    }

    #[test]
    fn an_impure_aggregate_is_refused() {
        for line in [
            "async fn decide() {}",
            "let now = SystemTime::now();",
            "use std::collections::HashMap;",
            "let id = rand::random();",
            "job.await?;",
        ] {
            let path = "services/scheduler/src/aggregate/run.rs";
            assert!(!impure(&file(path, line)).is_empty(), "{line}");
            assert!(!impure(&file("agent/src/core/journal.rs", line)).is_empty(), "{line}");
            assert!(
                !impure(&file("services/scheduler/src/steps.rs", line)).is_empty(),
                "{line}"
            );
            assert!(impure(&file("services/scheduler/src/service.rs", line)).is_empty());
        }
        let longer = file("services/scheduler/src/steps.rs", "if job.awaits_approval() {");
        assert!(impure(&longer).is_empty());
    }
}
