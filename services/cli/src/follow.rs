//! Followed output: chunks as they arrive, whole output on a run's last line.
//!
//! Pages may repeat after a cut; each stream of a run counts its chunks, so nothing is printed twice.

use std::collections::HashMap;
use std::io::IsTerminal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::ids::{JobId, RunId};
use borealis_bus_schema::messages::scheduler::{
    ChunkLine, FinalLine, FollowLine, FollowPage, JobView, OUTPUT_LIMIT_BYTES, OutputStream, text_or_base64,
};

use crate::api::{self, Api};
use crate::error::CliError;
use crate::exit;
use crate::folded;
use crate::print::{self, Printer};
use crate::progress::Progress;

/// Is how long the server may hold a read that has nothing to tell; an answer that is lost costs as much.
const WAIT_MS: u64 = 5_000;

/// Is one thing to print.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A line of JSON for stdout.
    Json(String),
    /// Bytes for stdout or stderr.
    Raw(OutputStream, Vec<u8>),
}

/// Puts followed output together.
pub struct Assembly {
    json: bool,
    several: bool,
    runs: HashMap<RunId, RunOutput>,
    /// Whether stdout is what people look at.
    terminal: bool,
    /// The run whose unfinished line stands last on stdout and on stderr.
    open: [Option<RunId>; 2],
    worst: u8,
}

#[derive(Default)]
struct RunOutput {
    next: [u64; 2],
    bytes: [Vec<u8>; 2],
}

const fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}

fn slot<T>(pair: &mut [T; 2], stream: OutputStream) -> &mut T {
    let [stdout, stderr] = pair;
    if index(stream) == 0 { stdout } else { stderr }
}

impl Assembly {
    /// Begins; with several runs each line of text carries its device's name, on a terminal no line is left unfinished.
    pub fn new(json: bool, several: bool, terminal: bool) -> Self {
        Self {
            json,
            several,
            terminal,
            runs: HashMap::new(),
            open: [None, None],
            worst: exit::OK,
        }
    }

    /// Returns the worst exit code so far.
    pub const fn exit_code(&self) -> u8 {
        self.worst
    }

    /// Takes one line and returns what to print.
    ///
    /// Errors: [`CliError::Answer`] for base64 that is none.
    pub fn take(&mut self, line: FollowLine) -> Result<Vec<Output>, CliError> {
        match line {
            FollowLine::Chunk(chunk) => self.chunk(&chunk),
            FollowLine::Final(last) => self.last(*last),
        }
    }

    fn chunk(&mut self, chunk: &ChunkLine) -> Result<Vec<Output>, CliError> {
        let bytes = bytes_of(chunk.data.as_deref(), chunk.data_base64.as_deref())?;
        let run = self.runs.entry(chunk.run).or_default();
        let next = slot(&mut run.next, chunk.stream);
        if chunk.seq < *next {
            return Ok(Vec::new());
        }
        *next = chunk.seq + 1;
        if self.json {
            let kept = slot(&mut run.bytes, chunk.stream);
            let room = usize::try_from(OUTPUT_LIMIT_BYTES)
                .unwrap_or(usize::MAX)
                .saturating_sub(kept.len());
            kept.extend(bytes.iter().take(room));
            return Ok(vec![Output::Json(encode(chunk)?)]);
        }
        let text = if self.several {
            self.prefixed(chunk, &bytes)
        } else {
            self.unfinished(chunk, &bytes);
            bytes
        };
        Ok(vec![Output::Raw(chunk.stream, text)])
    }

    /// Remembers whether the stream stands in the middle of a line.
    fn unfinished(&mut self, chunk: &ChunkLine, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            *slot(&mut self.open, chunk.stream) = (*last != b'\n').then_some(chunk.run);
        }
    }

    /// Puts the device's name before each line; another run's unfinished line is ended first.
    fn prefixed(&mut self, chunk: &ChunkLine, bytes: &[u8]) -> Vec<u8> {
        let open = slot(&mut self.open, chunk.stream);
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut in_line = *open == Some(chunk.run);
        if open.is_some() && !in_line {
            out.push(b'\n');
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !in_line {
                out.extend_from_slice(print::plain(&chunk.hostname).as_bytes());
                out.extend_from_slice(b": ");
            }
            out.extend_from_slice(piece);
            in_line = !piece.ends_with(b"\n");
        }
        *open = in_line.then_some(chunk.run);
        out
    }

    fn last(&mut self, mut last: FinalLine) -> Result<Vec<Output>, CliError> {
        self.worst = self.worst.max(exit::of_run(&last));
        let run = self.runs.remove(&last.run).unwrap_or_default();
        if self.json {
            let [stdout, stderr] = run.bytes;
            (last.stdout, last.stdout_base64) = text_or_base64(stdout);
            (last.stderr, last.stderr_base64) = text_or_base64(stderr);
            return Ok(vec![Output::Json(encode(&last)?)]);
        }
        let mut out = Vec::new();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let open = slot(&mut self.open, stream).take_if(|run| *run == last.run);
            // The bytes of a single script go into a file or a pipe exactly as it wrote them.
            let exact = stream == OutputStream::Stdout && !self.several && !self.terminal;
            if open.is_some() && !exact {
                out.push(Output::Raw(stream, b"\n".to_vec()));
            }
        }
        out.push(Output::Raw(
            OutputStream::Stderr,
            format!("{}\n", summary(&last)).into_bytes(),
        ));
        Ok(out)
    }
}

fn encode<T: serde::Serialize>(line: &T) -> Result<String, CliError> {
    serde_json::to_string(line).map_err(|e| CliError::Answer(e.to_string()))
}

/// Returns the bytes of output that came as text, or in base64.
///
/// Errors: [`CliError::Answer`] for base64 that is none.
pub fn bytes_of(text: Option<&str>, base64: Option<&str>) -> Result<Vec<u8>, CliError> {
    match (text, base64) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|_| CliError::Answer("a chunk's data_base64 is no base64".to_owned())),
        (None, None) => Ok(Vec::new()),
    }
}

/// Tells in one line how a run ended.
fn summary(last: &FinalLine) -> String {
    let mut text = format!(
        "{}: {}",
        print::plain(&last.hostname),
        last.state.as_str().replace('_', " ")
    );
    if let Some(code) = last.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if let Some(duration_ms) = last.duration_ms {
        text.push_str(&format!(", {}", print::duration(duration_ms)));
    }
    if last.truncated {
        text.push_str(", output was cut");
    }
    if let Some(reason) = last.reason.as_deref().filter(|reason| !reason.is_empty()) {
        text.push_str(&format!(" ({})", print::plain(reason)));
    }
    text
}

/// Is on how many devices a job may be whose output people read line by line as it comes; of more it is folded at the end.
const READ_AS_IT_COMES: u64 = 10;

/// Follows a job to its end and returns the worst exit code. Output is printed as it comes; for people that of many devices is
/// folded at the end instead, and until then one line tells where the runs stand.
///
/// Errors: [`CliError`] when the server stays away for longer than [`api::FOLLOWING`], or stdout fails.
pub async fn job(api: &Api, printer: &Printer, job: JobId, runs_total: u64) -> Result<u8, CliError> {
    if !printer.json() && runs_total > READ_AS_IT_COMES {
        return folded::follow(api, printer, job).await;
    }
    lines(api, printer, job, runs_total).await
}

/// Prints what the runs of a job printed until now, line by line, and returns the worst exit code of those that are over.
///
/// Errors: [`CliError`].
pub async fn printed(api: &Api, printer: &Printer, job: JobId, runs_total: u64) -> Result<u8, CliError> {
    let mut assembly = Assembly::new(printer.json(), runs_total > 1, std::io::stdout().is_terminal());
    let mut cursor = None::<String>;
    loop {
        let mut path = format!("/api/v1/jobs/{job}/output?wait_ms=0");
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", api::escape(cursor)));
        }
        let page: FollowPage = api.get(&path).await?;
        let is_end = page.done || page.lines.is_empty();
        for line in page.lines {
            for output in assembly.take(line)? {
                printer.output(&output)?;
            }
        }
        if is_end {
            return Ok(assembly.exit_code());
        }
        cursor = Some(page.cursor);
    }
}

/// Follows a job to its end by its output as it comes.
///
/// Errors: [`CliError`].
async fn lines(api: &Api, printer: &Printer, job: JobId, runs_total: u64) -> Result<u8, CliError> {
    api.be_patient(api::FOLLOWING);
    let mut assembly = Assembly::new(printer.json(), runs_total > 1, std::io::stdout().is_terminal());
    let (mut cursor, mut progress) = (None::<String>, Progress::begin());
    loop {
        let mut path = format!("/api/v1/jobs/{job}/output?wait_ms={WAIT_MS}");
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", api::escape(cursor)));
        }
        let page: FollowPage = api.get(&path).await?;
        if !page.lines.is_empty() || page.done {
            progress.clear(printer)?;
        } else if !printer.json() {
            let view: JobView = api.get(&format!("/api/v1/jobs/{job}")).await?;
            progress.show(printer, &view)?;
        }
        for line in page.lines {
            for output in assembly.take(line)? {
                printer.output(&output)?;
            }
        }
        if page.done {
            return Ok(assembly.exit_code());
        }
        cursor = Some(page.cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::Guid;
    use borealis_bus_schema::messages::scheduler::RunState;

    fn chunk(run: u8, stream: OutputStream, seq: u64, bytes: &[u8]) -> FollowLine {
        let text = String::from_utf8(bytes.to_vec()).ok();
        FollowLine::Chunk(ChunkLine {
            job: JobId::from_bytes([1; 16]),
            run: RunId::from_bytes([run; 16]),
            guid: Guid::from_random([run; 16]),
            hostname: format!("h{run}"),
            stream,
            seq,
            data_base64: text.is_none().then(|| STANDARD.encode(bytes)),
            data: text,
        })
    }
    fn last(run: u8, state: RunState, exit_code: Option<i32>) -> FollowLine {
        FollowLine::Final(Box::new(FinalLine {
            is_final: true,
            job: JobId::from_bytes([1; 16]),
            run: RunId::from_bytes([run; 16]),
            guid: Guid::from_random([run; 16]),
            hostname: format!("h{run}"),
            state,
            exit_code,
            stdout: None,
            stdout_base64: None,
            stderr: None,
            stderr_base64: None,
            duration_ms: Some(1_500),
            truncated: false,
            reason: None,
            code: None,
        }))
    }
    fn printed(assembly: &mut Assembly, lines: Vec<FollowLine>) -> (String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        for line in lines {
            for output in assembly.take(line).unwrap() {
                match output {
                    Output::Json(text) => stdout.push_str(&(text + "\n")),
                    Output::Raw(OutputStream::Stdout, bytes) => stdout.push_str(&String::from_utf8_lossy(&bytes)),
                    Output::Raw(OutputStream::Stderr, bytes) => stderr.push_str(&String::from_utf8_lossy(&bytes)),
                }
            }
        }
        (stdout, stderr)
    }
    use OutputStream::{Stderr, Stdout};

    #[test]
    fn one_device_prints_its_bytes_and_how_it_ended() {
        let mut assembly = Assembly::new(false, false, false);
        let lines = vec![
            chunk(1, Stdout, 0, b"a\n"),
            chunk(1, Stdout, 0, b"a\n"),
            chunk(1, Stderr, 0, b"e\n"),
            chunk(1, Stdout, 1, b"b"),
            last(1, RunState::Failed, Some(3)),
        ];
        let (stdout, stderr) = printed(&mut assembly, lines);
        assert_eq!(stdout, "a\nb");
        assert_eq!(stderr, "e\nh1: failed, exit code 3, 1.5 s\n");
        assert_eq!(assembly.exit_code(), 3);
    }

    #[test]
    fn how_it_ended_stands_on_a_line_of_its_own() {
        let lines = || {
            vec![
                chunk(1, Stdout, 0, b"out"),
                chunk(1, Stderr, 0, b"err"),
                last(1, RunState::Succeeded, Some(0)),
            ]
        };
        let (piped, stderr) = printed(&mut Assembly::new(false, false, false), lines());
        assert_eq!(piped, "out");
        assert_eq!(stderr, "err\nh1: succeeded, exit code 0, 1.5 s\n");
        let (seen, _) = printed(&mut Assembly::new(false, false, true), lines());
        assert_eq!(seen, "out\n");
    }

    #[test]
    fn several_devices_carry_their_names_and_never_share_a_line() {
        let mut assembly = Assembly::new(false, true, false);
        let lines = vec![
            chunk(1, Stdout, 0, b"a"),
            chunk(2, Stdout, 0, b"x\ny"),
            chunk(1, Stdout, 1, b"b\n"),
            last(2, RunState::Succeeded, Some(0)),
            last(1, RunState::TimedOut, None),
        ];
        let (stdout, _) = printed(&mut assembly, lines);
        assert_eq!(stdout, "h1: a\nh2: x\nh2: y\nh1: b\n");
        assert_eq!(assembly.exit_code(), 124);
    }

    #[test]
    fn the_last_line_holds_all_output_once() {
        let mut assembly = Assembly::new(true, false, false);
        let lines = vec![
            chunk(1, Stdout, 0, b"a"),
            chunk(1, Stdout, 1, b"b"),
            chunk(1, Stdout, 1, b"b"),
            chunk(1, Stderr, 0, b"\xff"),
            last(1, RunState::Succeeded, Some(0)),
        ];
        let (stdout, stderr) = printed(&mut assembly, lines);
        assert_eq!(stderr, "");
        let lines: Vec<serde_json::Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0]["data"], "a");
        assert_eq!(lines[0]["stream"], "stdout");
        assert_eq!(lines[3]["final"], true);
        assert_eq!(lines[3]["stdout"], "ab");
        assert_eq!(lines[3]["stderr_base64"], "/w==");
        assert!(lines[3].get("stderr").is_none());
        assert_eq!(lines[3]["exit_code"], 0);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut assembly = Assembly::new(false, true, false);
        let mut line = chunk(1, Stdout, 0, b"a\n");
        if let FollowLine::Chunk(chunk) = &mut line {
            chunk.hostname = "h\u{1b}[2J".into();
        }
        assert!(!printed(&mut assembly, vec![line]).0.contains('\u{1b}'));
    }
}
