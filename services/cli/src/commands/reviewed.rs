//! What is signed in one's own name although somebody else wrote it: shown whole first, and signed after a yes.

use std::io::{IsTerminal as _, Read as _};

use super::jobs::Asked;
use crate::error::CliError;
use crate::print::Printer;

/// Shows what would be signed and asks for a yes, unless that was said before.
///
/// Errors: a usage error where nobody can be asked, or who was asked says no.
pub(super) fn reviewed(printer: &Printer, asked: &Asked<'_>, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let mut input = std::io::stdin();
    if printer.json() || !input.is_terminal() {
        let text = "what was asked for is signed in your name, and here nobody can be shown it and asked: say --yes";
        return Err(CliError::Usage(text.to_owned()));
    }
    asked.print(printer)?;
    let devices = asked.devices.len();
    printer.aside(&format!("Run this on these {devices} devices? [y/N]"))?;
    let mut word = [0u8; 1];
    match input.read(&mut word) {
        Ok(1) if word.eq_ignore_ascii_case(b"y") => Ok(()),
        _ => Err(CliError::Usage("nothing was done".to_owned())),
    }
}
