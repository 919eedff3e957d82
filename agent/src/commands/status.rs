//! `borealis-agent status`: how the agent of a root stands.

use super::StatusArgs;
use crate::clock;
use crate::paths::Paths;
use crate::runtime::Standing;
use crate::settings::default_context;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::PathBuf;

/// Is what a running agent says of itself, and what `status --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether an agent runs on this root.
    #[serde(default)]
    pub running: bool,
    /// `not_enrolled`, `enrolling`, `connecting` or `connected`.
    pub state: String,
    /// The device.
    pub guid: Option<String>,
    /// With which rights the agent acts.
    pub context: Context,
    /// Where its server is.
    pub server_url: Option<String>,
    /// The identity key's fingerprint as short words.
    pub words: Option<String>,
    /// Whether the server answered the hello.
    pub welcome: bool,
    /// By how much the device's clock is ahead of the server's.
    pub clock_skew_ms: Option<i64>,
    /// How many runs are under way.
    pub runs_active: usize,
    /// How many runs wait.
    pub runs_queued: usize,
    /// The agent's version.
    pub version: String,
    /// Since when it stands so.
    pub since_at: Option<Timestamp>,
}

impl Status {
    fn nothing(context: Context) -> Self {
        Self {
            running: false,
            state: "not_enrolled".to_owned(),
            guid: None,
            context,
            server_url: None,
            words: None,
            welcome: false,
            clock_skew_ms: None,
            runs_active: 0,
            runs_queued: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since_at: None,
        }
    }
}

/// Writes the status where `status` finds it.
#[derive(Debug, Clone)]
pub struct StatusFile {
    path: PathBuf,
}

impl StatusFile {
    /// Names the file of a root.
    pub fn new(paths: &Paths) -> Self {
        Self { path: paths.status() }
    }

    /// Says that the agent asks for enrolment.
    pub fn write_enrolling(&self, url: &str, context: Context, words: &str) {
        self.keep(&Status {
            running: true,
            state: "enrolling".to_owned(),
            server_url: Some(url.to_owned()),
            words: Some(words.to_owned()),
            since_at: Some(clock::wall()),
            ..Status::nothing(context)
        });
    }

    /// Says how an enrolled agent stands.
    pub fn write(&self, url: &str, context: Context, guid: &str, words: &str, standing: &Standing) {
        let state = if standing.connected { "connected" } else { "connecting" };
        self.keep(&Status {
            running: true,
            state: state.to_owned(),
            guid: Some(guid.to_owned()),
            server_url: Some(url.to_owned()),
            words: Some(words.to_owned()),
            welcome: standing.welcome,
            clock_skew_ms: standing.skew_ms,
            runs_active: standing.running,
            runs_queued: standing.queued,
            since_at: Some(clock::wall()),
            ..Status::nothing(context)
        });
    }

    fn keep(&self, status: &Status) {
        let bytes = serde_json::to_vec(status).unwrap_or_default();
        // Not synced: it means something only while this process lives.
        let beside = self.path.with_extension("new");
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, &self.path));
        if let Err(error) = written {
            tracing::warn!(error = %error, "the status cannot be written");
        }
    }
}

/// Reads how the agent of a root stands.
pub fn read(paths: &Paths, context: Context) -> Status {
    let text = std::fs::read(paths.status()).unwrap_or_default();
    let mut status: Status = serde_json::from_slice(&text).unwrap_or_else(|_| Status::nothing(context));
    status.running = is_locked(paths);
    if status.guid.is_none() {
        let guid = crate::paths::read_text(&paths.identity(status.context).join("guid.txt"));
        status.guid = guid.ok().flatten();
    }
    if !status.running {
        status.state = if status.guid.is_some() {
            "stopped"
        } else {
            "not_enrolled"
        }
        .to_owned();
        status.welcome = false;
    }
    status
}

fn is_locked(paths: &Paths) -> bool {
    let Ok(file) = File::open(paths.lock()) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Prints the status.
///
/// Errors: when nobody reads what is printed.
pub fn status(args: &StatusArgs) -> io::Result<()> {
    let paths = Paths::new(&args.place.root(), args.place.logs.as_deref());
    let status = read(&paths, args.context.unwrap_or_else(default_context));
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &status)?;
        return writeln!(out);
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        out,
        "state    {}{}",
        status.state,
        if status.running { "" } else { " (no agent is running)" }
    )?;
    writeln!(out, "device   {}", text(&status.guid))?;
    writeln!(out, "context  {}", status.context)?;
    writeln!(out, "server   {}", text(&status.server_url))?;
    writeln!(out, "key      {}", text(&status.words))?;
    if let Some(skew) = status.clock_skew_ms {
        writeln!(out, "clock    {skew} ms ahead of the server's")?;
    }
    writeln!(
        out,
        "runs     {} active, {} waiting",
        status.runs_active, status.runs_queued
    )
}
