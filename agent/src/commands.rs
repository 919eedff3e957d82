//! The command line: `run`, `status`, `rotate-key`, `simulate`.

pub mod rotate_key;
pub mod run;
pub mod simulate;
pub mod status;

use borealis_bus_schema::order::Context;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Is the agent's command line.
#[derive(Debug, Parser)]
#[command(name = "borealis-agent", version, about = "The Borealis agent", max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Lists what the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enrols this machine if needed, connects, and does what operators order.
    Run(RunArgs),
    /// Tells how the agent of a root stands.
    Status(StatusArgs),
    /// Gives this device a new identity key; the old one is worthless then.
    RotateKey(RotateKeyArgs),
    /// Runs many simulated devices in one process, with real connections.
    Simulate(SimulateArgs),
}

/// Names the place where everything is kept.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder under which everything is kept (default: where the program is installed)
    #[arg(long, value_name = "DIR", env = "BOREALIS_ROOT")]
    pub root: Option<PathBuf>,
    /// Folder of the logs (default: Logs under the root)
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

impl Place {
    /// Returns the root: the one given, else where the program is installed.
    pub fn root(&self) -> PathBuf {
        let installed = || borealis_logging::installed_root().unwrap_or_else(|_| ".".into());
        self.root.clone().unwrap_or_else(installed)
    }
}

/// Tells where the server is, and how a device becomes one of its.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// The server's address, https://HOST:PORT
    #[arg(long, value_name = "URL", env = "BOREALIS_SERVER_URL")]
    pub server_url: Option<String>,
    /// Installer code, or @FILE with it; needed only until this machine is enrolled (also `installer_code` in the settings)
    #[arg(long, value_name = "CODE", env = "BOREALIS_INSTALLER_CODE", hide_env_values = true)]
    pub installer_code: Option<String>,
}

/// Holds the options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where the server is.
    #[command(flatten)]
    pub server: Server,
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// With which rights to act: SYSTEM or CURRENTUSER (default: what this process has)
    #[arg(long)]
    pub context: Option<Context>,
    /// Say why it ended, if it fails, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Holds the options of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// With which rights the agent acts.
    #[arg(long)]
    pub context: Option<Context>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Holds the options of `rotate-key`.
#[derive(Debug, Clone, Args)]
pub struct RotateKeyArgs {
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// The server's address, https://HOST:PORT; needed only while no agent runs and the settings do not name it
    #[arg(long, value_name = "URL", env = "BOREALIS_SERVER_URL")]
    pub server_url: Option<String>,
    /// With which rights the agent acts.
    #[arg(long)]
    pub context: Option<Context>,
    /// How many seconds to wait for the server
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Holds the options of `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// How many devices
    #[arg(long, value_name = "N")]
    pub devices: usize,
    /// Where the server is.
    #[command(flatten)]
    pub server: Server,
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// What the devices tell of themselves: small or none
    #[arg(long, default_value = "none", value_parser = ["small", "none"])]
    pub facts: String,
    /// Really run scripts; else they are refused as not_permitted_on_device
    #[arg(long)]
    pub run_scripts: bool,
    /// Say why it ended, if it fails, as one JSON object; what it prints else is JSON anyway
    #[arg(long)]
    pub json: bool,
}
