//! Folded output: what many devices printed alike is printed once, with how many they are.

use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::messages::scheduler::{JobOutputs, JobView, OutputGroup, OutputRange, OutputStream};
use std::time::Duration;

use crate::api::{self, Api, escape};
use crate::error::CliError;
use crate::exit;
use crate::follow::bytes_of;
use crate::print::{self, Printer};
use crate::progress::Progress;

/// Is how often a job is looked at that is followed without its output.
const LOOK_EACH: Duration = Duration::from_millis(1_000);

/// Is how much of a variant's output people are shown, per stream, in bytes.
const SHOWN_BYTES: u64 = 64 << 10;

/// Follows a job to its end by one line of progress, prints what its runs printed folded, and returns the worst exit code.
///
/// Errors: [`CliError`].
pub async fn follow(api: &Api, printer: &Printer, job: JobId) -> Result<u8, CliError> {
    api.be_patient(api::FOLLOWING);
    let mut progress = Progress::begin();
    loop {
        let view: JobView = api.get(&format!("/api/v1/jobs/{job}")).await?;
        progress.show(printer, &view)?;
        if view.counts.keys().all(|state| state.is_final()) {
            break;
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    progress.clear(printer)?;
    print(api, printer, job).await
}

/// Prints what the runs of a job printed that are over, folded; returns their worst exit code.
///
/// Errors: [`CliError`].
pub async fn print(api: &Api, printer: &Printer, job: JobId) -> Result<u8, CliError> {
    let outputs = read(api, job, None).await?;
    let worst = outputs
        .items
        .iter()
        .map(|group| exit::of_end(group.state, group.exit_code))
        .max();
    if printer.json() {
        printer.list(&outputs.items, "", &[], |_| Vec::new())?;
        return Ok(worst.unwrap_or(exit::OK));
    }
    for (at, group) in outputs.items.iter().enumerate() {
        printer.line(&head(at, group))?;
        for (stream, bytes) in [
            (OutputStream::Stdout, group.stdout_bytes),
            (OutputStream::Stderr, group.stderr_bytes),
        ] {
            if bytes > 0 {
                show(api, printer, group, stream, bytes).await?;
            }
        }
    }
    say_what_is_left_out(printer, &outputs)?;
    Ok(worst.unwrap_or(exit::OK))
}

/// Prints which runs of a job printed a text, folded, each with the first line that holds it.
///
/// Errors: [`CliError`].
pub async fn find(api: &Api, printer: &Printer, job: JobId, text: &str) -> Result<u8, CliError> {
    let outputs = read(api, job, Some(text)).await?;
    if printer.json() {
        printer.list(&outputs.items, "", &[], |_| Vec::new())?;
        return Ok(exit::OK);
    }
    for group in &outputs.items {
        printer.line(&told(group, group.runs.to_string()))?;
        let line = group.found.as_deref().unwrap_or_default().replace('\t', "    ");
        printer.line(&format!("  > {}", print::plain(&line)))?;
    }
    if outputs.items.is_empty() {
        printer.aside("no run that is over printed it")?;
    }
    say_what_is_left_out(printer, &outputs)?;
    Ok(exit::OK)
}

fn say_what_is_left_out(printer: &Printer, outputs: &JobOutputs) -> Result<(), CliError> {
    for (runs, what) in [
        (outputs.pending, "printed too much to compare"),
        (outputs.unreadable, "printed what the server cannot read any more"),
        (outputs.open, "are not over"),
    ] {
        if runs > 0 {
            printer.aside(&format!("{runs} runs {what}"))?;
        }
    }
    Ok(())
}

/// Reads every group, or those that printed a text; asks again while the server digests long output.
async fn read(api: &Api, job: JobId, text: Option<&str>) -> Result<JobOutputs, CliError> {
    let mut before = u64::MAX;
    let mut path = format!("/api/v1/jobs/{job}/outputs?limit=500");
    if let Some(text) = text {
        path.push_str(&format!("&find={}", escape(text)));
    }
    loop {
        let mut outputs: JobOutputs = api.get(&path).await?;
        while let Some(cursor) = outputs.next_cursor.take() {
            let more: JobOutputs = api.get(&format!("{path}&cursor={}", escape(&cursor))).await?;
            outputs.items.extend(more.items);
            outputs.next_cursor = more.next_cursor.filter(|next| *next != cursor);
        }
        // Asked again only while that gets on: what cannot be digested at all stays as it is.
        if outputs.pending == 0 || outputs.pending >= before {
            return Ok(outputs);
        }
        before = outputs.pending;
    }
}

/// Tells how many runs a group has, how they ended and where: the largest is what the others vary from.
fn head(at: usize, group: &OutputGroup) -> String {
    let kind = match at {
        0 => "same".to_owned(),
        at => format!("variant {}", letters(at)),
    };
    told(group, format!("{} {kind}", group.runs))
}

/// Tells how a group's runs ended, and where, behind what it is called.
fn told(group: &OutputGroup, called: String) -> String {
    let mut text = format!("{called}: {}", group.state.as_str().replace('_', " "));
    if let Some(code) = group.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if let Some(code) = group.code {
        text.push_str(&format!(", {code}"));
    }
    if group.truncated {
        text.push_str(", output was cut");
    }
    let names: Vec<String> = group.hostnames.iter().map(|name| print::plain(name)).collect();
    let rest = group.runs.saturating_sub(names.len() as u64);
    text.push_str(&format!(" ({}", names.join(", ")));
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text.push(')');
    text
}

/// Counts B, C, … Z, AA, AB, …
fn letters(at: usize) -> String {
    let (mut left, mut letters) = (at + 1, Vec::new());
    while left > 0 {
        let digit = u8::try_from((left - 1) % 26).unwrap_or(0);
        letters.push(char::from(b'A' + digit));
        left = (left - 1) / 26;
    }
    letters.iter().rev().collect()
}

/// Prints a stream of a group's first run, each line set off; nothing in it steers the terminal.
async fn show(
    api: &Api,
    printer: &Printer,
    group: &OutputGroup,
    stream: OutputStream,
    bytes: u64,
) -> Result<(), CliError> {
    let (name, mark) = match stream {
        OutputStream::Stdout => ("stdout", "  | "),
        OutputStream::Stderr => ("stderr", "  ! "),
    };
    let path = format!("/api/v1/runs/{}/output?stream={name}&limit={SHOWN_BYTES}", group.run);
    let range: OutputRange = api.get(&path).await?;
    let data = bytes_of(range.data.as_deref(), range.data_base64.as_deref())?;
    for line in String::from_utf8_lossy(&data).lines() {
        printer.line(&format!("{mark}{}", print::plain(&line.replace('\t', "    "))))?;
    }
    let rest = bytes.saturating_sub(data.len() as u64);
    if rest > 0 {
        printer.line(&format!("{mark}… and {} more of run {}", print::size(rest), group.run))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::RunId;
    use borealis_bus_schema::messages::scheduler::RunState;

    #[test]
    fn a_head_says_how_many_how_and_where() {
        let group = OutputGroup {
            runs: 412,
            state: RunState::Failed,
            exit_code: Some(3),
            code: None,
            stdout: None,
            stderr: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
            truncated: true,
            run: RunId::from_bytes([1; 16]),
            hostnames: vec!["web-1".into(), "w\u{1b}b".into()],
            found: None,
        };
        assert_eq!(
            head(0, &group),
            "412 same: failed, exit code 3, output was cut (web-1, w\u{fffd}b and 410 more)"
        );
        let small = OutputGroup {
            runs: 2,
            state: RunState::TimedOut,
            exit_code: None,
            truncated: false,
            ..group
        };
        assert_eq!(head(1, &small), "2 variant B: timed out (web-1, w\u{fffd}b)");
    }

    #[test]
    fn variants_are_lettered_without_end() {
        let found: Vec<String> = [1, 25, 26, 27, 701, 702].into_iter().map(letters).collect();
        assert_eq!(found, ["B", "Z", "AA", "AB", "ZZ", "AAA"]);
    }
}
