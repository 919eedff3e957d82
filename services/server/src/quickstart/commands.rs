//! The operators' command line, asked for what an operator would ask.

use std::{path::PathBuf, process::Stdio};

use borealis_service_kit::paths::Paths;
use serde_json::Value;
use tokio::process::Command;
use zeroize::{Zeroize, Zeroizing};

use super::QuickstartError;

/// Returns a program that stands beside this one.
///
/// Errors: it does not.
pub fn beside(name: &str) -> Result<PathBuf, QuickstartError> {
    let own = std::env::current_exe().map_err(|source| QuickstartError::Io {
        what: "this program's path",
        source,
    })?;
    let path = own.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(QuickstartError::Program { path })
    }
}

/// Is an operator with a session, at the command line.
pub struct Operator {
    program: PathBuf,
    url: String,
    ca: PathBuf,
    token: Zeroizing<String>,
}

impl Operator {
    /// Takes the server's address and the session's token.
    ///
    /// Errors: the command line's program is missing.
    pub fn new(url: &str, paths: &Paths, token: Zeroizing<String>) -> Result<Self, QuickstartError> {
        Ok(Self {
            program: beside("borealis")?,
            url: url.to_owned(),
            ca: paths.ca_pem(),
            token,
        })
    }

    /// Prepares a command; the token stands in its environment only.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .arg("--json")
            .env("BOREALIS_URL", &self.url)
            .env("BOREALIS_CA", &self.ca)
            .env("BOREALIS_TOKEN", self.token.as_str())
            .env_remove("BOREALIS_ROOT")
            .stdin(Stdio::null())
            // Ctrl-C is for the server, which then stops this.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Mints an installer code for one use.
    ///
    /// Errors: it is refused.
    pub async fn mint_code(&self) -> Result<Zeroizing<String>, QuickstartError> {
        const WHAT: &str = "minting an installer code";
        let mut lines = self
            .lines(WHAT, &["codes", "create", "--uses", "1", "--lifetime", "15m"])
            .await?;
        let code = lines.iter_mut().find_map(|line| match line.get_mut("code") {
            Some(Value::String(code)) => Some(Zeroizing::new(std::mem::take(code))),
            _ => None,
        });
        code.ok_or(QuickstartError::Malformed { what: WHAT })
    }

    /// Finds the waiting request of a key.
    ///
    /// Errors: the list is refused.
    pub async fn pending(&self, fingerprint: &str) -> Result<Option<String>, QuickstartError> {
        let lines = self.lines("listing enrolment requests", &["approvals", "list"]).await?;
        let text = |line: &Value, name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let own = lines
            .iter()
            .find(|line| text(line, "fingerprint").is_some_and(|found| found == fingerprint));
        Ok(own.and_then(|line| text(line, "id")))
    }

    /// Approves a request.
    ///
    /// Errors: it is refused.
    pub async fn approve(&self, id: &str) -> Result<(), QuickstartError> {
        self.lines("approving this machine", &["approvals", "approve", id])
            .await
            .map(|_| ())
    }

    async fn lines(&self, what: &'static str, args: &[&str]) -> Result<Vec<Value>, QuickstartError> {
        let output = self.command(args).output().await;
        let mut output = output.map_err(|source| QuickstartError::Io { what, source })?;
        let lines: Vec<Value> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        if !output.status.success() {
            let said = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
            return Err(QuickstartError::Refused {
                what,
                said: String::from_utf8_lossy(&said).trim().chars().take(500).collect(),
            });
        }
        output.stdout.zeroize();
        // A list may come as one array too.
        Ok(lines
            .into_iter()
            .flat_map(|line| match line {
                Value::Array(items) => items,
                one => vec![one],
            })
            .collect())
    }
}
