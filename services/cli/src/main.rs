//! The operators' command line.

use std::process::ExitCode;

use borealis::args::Cli;
use borealis::error::CliError;
use borealis::print::Printer;
use borealis::{commands, exit};
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let printer = Printer::new(cli.server.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli, &printer)),
        Err(source) => Err(CliError::Stream {
            what: "starting",
            source,
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is_broken_pipe() => ExitCode::from(exit::FAILED),
        Err(error) => report(&printer, &error),
    }
}

/// Prints the error: JSON on stdout, or a sentence on stderr.
fn report(printer: &Printer, error: &CliError) -> ExitCode {
    let code = ExitCode::from(error.exit_code());
    if printer.json() {
        // When stdout is gone there is nobody left to tell.
        let _ = printer.value(&error.line(), String::new);
    } else {
        eprintln!(
            "borealis: {} ({})",
            borealis::print::plain(&error.to_string()),
            error.code()
        );
    }
    code
}

/// Prints what is wrong with the command line, or the help that was asked for.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os()
        .take_while(|word| word != "--")
        .any(|word| word == "--json");
    if error.use_stderr() && json {
        let text = error.render().to_string();
        let first = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        return report(&Printer::new(true), &CliError::Usage(first));
    }
    // Clap prints help to stdout and errors to stderr; neither can be told more than that it failed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK })
}
