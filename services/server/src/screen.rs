//! What the person at the terminal sees, or the program that asked for JSON.

use std::{io::Write, sync::OnceLock};

use serde_json::{Value, json};

static JSON: OnceLock<()> = OnceLock::new();

/// Says everything as JSON lines from now on.
pub fn speak_json() {
    // Said twice it stays said.
    let _ = JSON.set(());
}

/// Tells whether everything is said as JSON lines.
pub fn is_json() -> bool {
    JSON.get().is_some()
}

/// Says one sentence.
///
/// Shape: `{"message": text}` as JSON; empty lines are for people only.
pub fn line(text: &str) {
    if !is_json() {
        print(text);
    } else if !text.is_empty() {
        print(&json!({"message": text.trim()}).to_string());
    }
}

/// Says what one part of the server does.
///
/// Shape: `{"part": name, "state": text}` as JSON.
pub fn part(name: &str, text: &str) {
    if is_json() {
        print(&json!({"part": name, "state": text}).to_string());
    } else {
        print(&format!("  {name:<11} {text}"));
    }
}

/// Says what has a form of its own for programs, and lines for people.
pub fn tell(value: &Value, lines: &[&str]) {
    if is_json() {
        print(&value.to_string());
    } else {
        lines.iter().for_each(|text| print(text));
    }
}

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone is no reason to stop.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

fn print(text: &str) {
    raw(format!("{text}\n").as_bytes());
}
