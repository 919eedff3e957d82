//! The program `borealis-agent`: arguments and exit code.
//!
//! Exit codes: 0 when it was told to stop, 64 usage, 69 not enrolled or the server is not usable, 75 another agent runs on
//! the root, 70 anything else.

use borealis_agent::commands::run::StartError;
use borealis_agent::commands::{Cli, Command, rotate_key, run, simulate, status};
use borealis_agent::process::reaper;
use borealis_bus_schema::causes::chain;
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the wrapper of a run is this program too, and stays small.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == reaper::VERB) {
        return reaper::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let (outcome, json) = match &cli.command {
        Command::Run(args) => (run::run(args), args.json),
        Command::RotateKey(args) => (rotate_key::rotate_key(args), args.json),
        Command::Simulate(args) => (simulate::simulate(args), args.json),
        Command::Status(args) => {
            return status::status(args).map_or(ExitCode::from(70), |()| ExitCode::SUCCESS);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, message, exit_code) = (error.code(), chain(&error), code_of(&error));
            if json {
                let error = serde_json::json!({ "code": code, "message": message, "exit_code": exit_code });
                let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": error }));
            } else {
                let _ = writeln!(std::io::stderr(), "borealis-agent: {message} ({code})");
            }
            ExitCode::from(exit_code)
        }
    }
}

const fn code_of(error: &StartError) -> u8 {
    match error {
        StartError::Settings(_) => 64,
        StartError::NoCode
        | StartError::NoDevice
        | StartError::KeyNotTaken
        | StartError::Enrol(_)
        | StartError::Api(_) => 69,
        StartError::RootInUse { .. } => 75,
        _ => 70,
    }
}
