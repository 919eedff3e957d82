//! The server's program: one sub-command per service, and `up`, which supervises them all.
//!
//! `up` owns a root: it holds the lock, makes the keys when there are none, starts nats-server and then every service as a
//! child process of its own, starts again whatever ends, and stops everything in order. It decides nothing and answers
//! nobody; the one secret it carries is the set-up link, which it asks access for over a socket that only access inherits.
//!
//! Reading order: [`args`] what can be asked, [`services`] one service's process, [`supervise`] one child, [`up`] all of
//! them, [`quickstart`] a first script on this machine, [`store`] a look into a service's log.
//!
//! **Processes.** Children are leaders of their own process groups, so that Ctrl-C reaches `up` alone, and end with their
//! parent, however it ends. **How it fails.** With the exit codes of `borealis_service_kit::exit`, after a line that says
//! what to do.

pub mod args;
pub mod error;

mod process;

pub mod services;

pub mod supervise;
pub mod up;

pub mod quickstart;

pub mod recovery;
pub mod routes;
pub mod store;
mod vouched;

mod screen;

use borealis_service_kit::exit;

use crate::{args::Command, error::ServerError};

/// Says why the program ends: on stderr, and as `{"error": …}` on stdout where JSON is asked for.
pub fn report(error: &ServerError) {
    let message = borealis_bus_schema::causes::chain(error);
    eprintln!("borealis-server: {message}");
    let error = serde_json::json!({"error": {"message": message, "exit_code": error.exit_code()}});
    screen::tell(&error, &[]);
}

/// Does what the command line says, and returns the exit code.
///
/// Errors: [`ServerError`], which has its own exit code.
pub fn run(command: Command) -> Result<u8, ServerError> {
    if command.json() {
        screen::speak_json();
    }
    if let Some((service, args)) = command.service() {
        services::run(service, args.clone())?;
        return Ok(exit::OK);
    }
    match command {
        Command::Init(args) => up::init(&args).map(|()| exit::OK),
        Command::Renew(args) => up::renew(&args).map(|()| exit::OK),
        Command::Recovery(args) => recovery::run(&args).map(|()| exit::OK),
        Command::Up(args) => up::run(args, up::Parts::All),
        Command::Nats(args) => up::run(args, up::Parts::Bus),
        Command::Quickstart(args) => quickstart::run(args),
        Command::Store(args) => store::run(args),
        Command::Routes { json } => routes::print(json).map(|()| exit::OK),
        Command::ChildExec { program, args } => Ok(process::become_child(&program, &args)),
        _ => Ok(exit::USAGE),
    }
}
