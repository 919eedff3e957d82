//! Bringing the audit elsewhere: as JSON lines or syslog, into a file or to an address.

pub mod sink;
pub mod syslog;

use borealis_bus_schema::audit::AuditEntry;
use clap::ValueEnum;

use crate::error::CliError;

/// Is the form in which records leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// RFC 5424; over TCP each message with its length before it (RFC 6587), in a file one a line.
    Syslog,
}

impl Format {
    /// Writes a record as it stands in a file or on stdout: one line.
    ///
    /// Errors: [`CliError::Answer`] for a record that is none.
    pub fn line(self, entry: &AuditEntry, host: &str) -> Result<String, CliError> {
        let mut text = match self {
            Format::Jsonl => json(entry)?,
            Format::Syslog => syslog::message(entry, host),
        };
        text.push('\n');
        Ok(text)
    }

    /// Writes a record as it travels over a connection.
    ///
    /// Errors: [`CliError::Answer`] for a record that is none.
    pub fn frame(self, entry: &AuditEntry, host: &str) -> Result<String, CliError> {
        match self {
            Format::Jsonl => self.line(entry, host),
            Format::Syslog => Ok(syslog::counted(&syslog::message(entry, host))),
        }
    }
}

fn json(entry: &AuditEntry) -> Result<String, CliError> {
    serde_json::to_string(entry).map_err(|error| CliError::Answer(error.to_string()))
}
