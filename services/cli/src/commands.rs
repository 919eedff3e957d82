//! The commands, one file each.

use clap::CommandFactory;

use crate::api::Api;
use crate::args::{Cli, Command};
use crate::connection::Connection;
use crate::error::CliError;
use crate::exit;
use crate::print::Printer;

pub(crate) mod account;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod codes;
pub(crate) mod devices;
mod dry_run;
pub(crate) mod factor;
pub(crate) mod grants;
pub(crate) mod jobs;
pub(crate) mod library;
pub(crate) mod people;
pub(crate) mod rerun;
mod reviewed;
pub(crate) mod run;
pub(crate) mod schedules;
pub(crate) mod token;

use factor::RecoveryCodesCommand;
use token::TokenCommand;

/// Does what the command line says and returns the exit code.
///
/// Errors: [`CliError`], which knows its own exit code.
pub async fn run(cli: Cli, printer: &Printer) -> Result<u8, CliError> {
    let args = &cli.server;
    match cli.command {
        Command::Setup { link, who, factor } => {
            account::setup(args, printer, &link, &who.username, &factor).await?;
        }
        Command::Login { who, factor } => account::login(args, printer, &who.username, &factor).await?,
        Command::Token(TokenCommand::Attenuate(to)) => token::attenuate(args, printer, &to)?,
        Command::Token(TokenCommand::Inspect) => token::inspect(args, printer)?,
        Command::Logout => account::logout(args, printer).await?,
        Command::StepUp { factor, .. } => factor::step_up(args, printer, &factor).await?,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "borealis", &mut script);
            printer.line(String::from_utf8_lossy(&script).trim_end())?;
        }
        other => {
            let api = Api::new(Connection::gather(args)?)?;
            match other {
                Command::Session => account::session(&api, printer).await?,
                Command::Sessions(command) => account::sessions(&api, printer, command).await?,
                Command::Password { factor, .. } => account::password(&api, printer, &factor).await?,
                Command::Totp(command) => factor::totp(&api, printer, command).await?,
                Command::RecoveryCodes(RecoveryCodesCommand::Create { factor, .. }) => {
                    factor::recovery_codes(&api, printer, &factor).await?;
                }
                Command::Token(command) => token::run(&api, printer, command).await?,
                Command::Grants(command) => grants::run(&api, printer, command).await?,
                Command::Users(command) => people::users(&api, printer, command).await?,
                Command::Roles(command) => people::roles(&api, printer, command).await?,
                Command::Sites(command) => people::sites(&api, printer, command).await?,
                Command::Library(command) => library::run(&api, printer, command).await?,
                Command::Codes(command) => codes::run(&api, printer, command).await?,
                Command::Approvals(command) => approvals::run(&api, printer, command).await?,
                Command::Devices(command) => devices::run(&api, printer, command).await?,
                Command::Run(args) => return run::run(&api, printer, args).await,
                Command::Audit(command) => return audit::run(&api, printer, command).await,
                Command::Jobs(command) => return jobs::run(&api, printer, command).await,
                Command::Schedules(command) => return schedules::run(&api, printer, command).await,
                Command::Setup { .. }
                | Command::Login { .. }
                | Command::StepUp { .. }
                | Command::Logout
                | Command::Completion { .. } => {}
            }
        }
    }
    Ok(exit::OK)
}

/// Does the same to each, goes on behind a refusal, and fails with the first one; the others are told beside.
///
/// Errors: the first [`CliError::Refused`], or at once whatever else happens.
async fn each<T>(
    printer: &Printer,
    items: &[T],
    act: impl AsyncFn(&T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut first = None;
    for item in items {
        match act(item).await {
            Ok(()) => {}
            Err(refused @ CliError::Refused { .. }) => match first {
                None => first = Some(refused),
                Some(_) if printer.json() => printer.value(&refused.line(), String::new)?,
                Some(_) => printer.aside(&refused.to_string())?,
            },
            Err(error) => return Err(error),
        }
    }
    first.map_or(Ok(()), Err)
}
