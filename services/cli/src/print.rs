//! What people and programs read: tables or JSON. What devices said of themselves never steers the terminal.

use std::collections::BTreeMap;
use std::io::{self, Write};

use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use serde::Serialize;

use crate::error::CliError;
use crate::follow::Output;

/// Prints in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
}

fn failed(source: io::Error) -> CliError {
    CliError::Stream {
        what: "writing to stdout",
        source,
    }
}

impl Printer {
    /// Makes one for JSON or for people.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Tells whether it prints JSON.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// Prints one value: as JSON, or the text for people.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn value<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let line = if self.json { json(value)? } else { text() };
        self.line(&line)
    }

    /// Prints a list: as JSON lines, or as a table with a sentence where it is empty.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn list<T: Serialize>(
        &self,
        items: &[T],
        empty: &str,
        head: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        if self.json {
            for item in items {
                self.line(&json(item)?)?;
            }
            return Ok(());
        }
        if items.is_empty() {
            return self.line(empty);
        }
        self.line(table(head, &items.iter().map(row).collect::<Vec<_>>()).trim_end())
    }

    /// Prints a piece of followed output at once.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn output(&self, output: &Output) -> Result<(), CliError> {
        match output {
            Output::Json(line) => self.line(line),
            Output::Raw(OutputStream::Stdout, bytes) => write(&mut io::stdout().lock(), bytes),
            Output::Raw(OutputStream::Stderr, bytes) => write(&mut io::stderr().lock(), bytes),
        }
    }

    /// Prints a line beside the answer, on stderr.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn aside(&self, text: &str) -> Result<(), CliError> {
        write(&mut io::stderr().lock(), format!("{text}\n").as_bytes())
    }

    /// Rewrites the last line of stderr, which has to be a terminal; nothing takes the line away.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn rewrite(&self, text: &str) -> Result<(), CliError> {
        write(&mut io::stderr().lock(), format!("\r\x1b[2K{text}").as_bytes())
    }

    /// Prints a line.
    ///
    /// Errors: [`CliError::Stream`].
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        write(&mut io::stdout().lock(), format!("{text}\n").as_bytes())
    }
}

fn write(to: &mut dyn Write, bytes: &[u8]) -> Result<(), CliError> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(failed)
}

fn json<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_json::to_string(value).map_err(|e| CliError::Answer(e.to_string()))
}

/// Replaces what would steer a terminal or reorder text.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            let steers = c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
            if steers { '\u{fffd}' } else { c }
        })
        .collect()
}

/// Prints how many runs are in each state.
pub fn counts(counts: &BTreeMap<RunState, u64>) -> String {
    let each: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.as_str().replace('_', " ")))
        .collect();
    each.join(", ")
}

/// Prints a duration as people say it.
pub fn duration(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000..172_800_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Prints a size as people say it, in powers of 1024.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, "B");
    for next in units {
        if whole < 1024 {
            break;
        }
        (rest, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, next);
    }
    if unit == "B" {
        format!("{whole} B")
    } else {
        format!("{whole}.{rest} {unit}")
    }
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> = std::iter::once(head.iter().map(|h| (*h).to_owned()).collect())
        .chain(rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()))
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let width = |row: &Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count());
            cells.iter().map(width).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in &cells {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Lays out names and values under each other.
pub fn sheet(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}", plain(value)).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_inert() {
        let rows = vec![
            vec!["a\u{1b}[31m".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "22".to_owned()],
        ];
        let expected = "NAME    N\na\u{fffd}[31m  1\nbcd     22\n";
        assert_eq!(table(&["NAME", "N"], &rows), expected);
    }

    #[test]
    fn durations_and_sizes_read_well() {
        for (ms, text) in [
            (15, "15 ms"),
            (1_540, "1.5 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (bytes, text) in [
            (512, "512 B"),
            (1_536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn text_that_reorders_is_made_visible() {
        assert_eq!(plain("a\u{202e}b\tc"), "a\u{fffd}b\u{fffd}c");
    }
}
