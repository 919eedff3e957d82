//! What the person at the terminal sees.

use std::io::Write;

/// Prints one line; a terminal that is gone is no reason to stop.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what one part of the server does.
pub fn part(name: &str, text: &str) {
    line(&format!("  {name:<11} {text}"));
}

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
