//! The program `borealis-server`.

use std::process::ExitCode;

use borealis_server::args::Cli;
use borealis_service_kit::exit;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
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
            borealis_server::report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
