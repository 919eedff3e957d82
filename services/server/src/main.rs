//! The program `borealis-server`.

use std::process::ExitCode;

use borealis_server::{args::Cli, error::ServerError};
use borealis_service_kit::{exit, run::chain};
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Clap prints help to stdout and errors to stderr; neither can be told more than that it failed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match borealis_server::run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("borealis-server: {}", chain(&error));
            ExitCode::from(ServerError::exit_code(&error))
        }
    }
}
