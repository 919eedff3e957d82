//! The first script: submitted as a job, its output shown as it arrives.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use borealis_bus_schema::order::Context;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::{QuickstartError, commands::Operator};
use crate::screen;

const SCRIPT: &str = include_str!("first_script.sh");
const WHAT: &str = "running the first script";

/// Is how long services that just started may take to know what they knew before.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Lists the refusals that pass by themselves.
const PASSING: [&str; 5] = ["not_found", "stale", "unavailable", "deadline_exceeded", "overloaded"];

/// Runs the first script on a device and returns its exit code.
///
/// Errors: it never got that far.
pub async fn run(operator: &Operator, guid: &str, context: Context) -> Result<u8, QuickstartError> {
    let began = Instant::now();
    loop {
        match once(operator, guid, context).await? {
            Outcome::Ended(code) => return Ok(code),
            Outcome::Refused { code, .. } if PASSING.contains(&code.as_str()) && began.elapsed() < CATCH_UP => {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Outcome::Refused { code, said } => {
                return Err(QuickstartError::Refused {
                    what: WHAT,
                    said: format!("{said} ({code})"),
                });
            }
        }
    }
}

enum Outcome {
    Ended(u8),
    Refused { code: String, said: String },
}

async fn once(operator: &Operator, guid: &str, context: Context) -> Result<Outcome, QuickstartError> {
    let io = |source| QuickstartError::Io { what: WHAT, source };
    let args = [
        "run",
        "--device",
        guid,
        "--lang",
        "sh",
        "--context",
        context.as_str(),
        "--timeout",
        "2m",
        "--follow",
    ];
    let mut command = operator.command(&args);
    command
        .arg("--")
        .arg(SCRIPT)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io)?;
    let Some(stdout) = child.stdout.take() else {
        return Err(QuickstartError::Malformed { what: WHAT });
    };
    let mut lines = BufReader::new(stdout).lines();
    let (mut last, mut refusal) = (None, None);
    while let Some(line) = lines.next_line().await.map_err(io)? {
        let Ok(line) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if line.get("final").and_then(Value::as_bool) == Some(true) {
            last = Some(line);
        } else if let Some(error) = line.get("error") {
            let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            refusal = Some((text("code"), text("message")));
        } else {
            show_chunk(&line);
        }
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // What it said is only for the text of an error.
        let _ = BufReader::new(stderr).take(4096).read_to_string(&mut said).await;
    }
    child.wait().await.map_err(io)?;
    match last {
        Some(last) => finish(&last).map(Outcome::Ended),
        None => {
            let (code, said) = refusal.unwrap_or_else(|| ("unknown".to_owned(), said.trim().to_owned()));
            Ok(Outcome::Refused { code, said })
        }
    }
}

fn show_chunk(line: &Value) {
    if screen::is_json() {
        screen::tell(line, &[]);
    } else if let Some(text) = line.get("data").and_then(Value::as_str) {
        screen::raw(text.as_bytes());
    } else if let Some(text) = line.get("data_base64").and_then(Value::as_str)
        && let Ok(bytes) = data_encoding::BASE64.decode(text.as_bytes())
    {
        screen::raw(&bytes);
    }
}

fn finish(last: &Value) -> Result<u8, QuickstartError> {
    let state = last.get("state").and_then(Value::as_str).unwrap_or("unknown");
    let code = last.get("exit_code").and_then(Value::as_i64);
    let took_ms = last.get("duration_ms").and_then(Value::as_u64).unwrap_or_default();
    match code {
        Some(code) => {
            screen::tell(last, &[&format!("Exit code {code}, {state} after {took_ms} ms")]);
            Ok(u8::try_from(code.rem_euclid(256)).unwrap_or(1))
        }
        None => Err(QuickstartError::NoExitCode {
            state: state.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exit_code_is_the_scripts() {
        assert_eq!(finish(&json!({"state": "succeeded", "exit_code": 0})).unwrap(), 0);
        assert_eq!(finish(&json!({"state": "failed", "exit_code": 3})).unwrap(), 3);
        assert_eq!(finish(&json!({"state": "failed", "exit_code": -1})).unwrap(), 255);
        assert!(finish(&json!({"state": "expired", "exit_code": null})).is_err());
    }
}
