//! From nothing to a first signed script: this machine becomes the first device and runs it.
//!
//! Nothing here is a short cut: the installer code, the approval and the job go the way of any operator, through the
//! programs that an operator uses, with a session of minutes that access mints and records. What is secret goes to those
//! programs in their environment only.

mod agent;
mod commands;
mod first_script;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::{forms::PublicKey, order::Context};
use borealis_service_kit::{exit, random};
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    args::QuickstartArgs,
    error::ServerError,
    screen,
    up::{self, Parts, Turn, Up},
};
use agent::AgentCharge;
use commands::Operator;

/// Is how long the session of the first script lives.
const SESSION: Duration = Duration::from_secs(15 * 60);
/// Is how long this machine may take to become a device.
const ENROLMENT: Duration = Duration::from_secs(120);
/// Is how long the server may take to answer for the first time, when it is to stop behind the script.
const START: Duration = Duration::from_secs(180);

/// Says why the first script did not run.
#[derive(Debug, Error)]
pub enum QuickstartError {
    /// A program that belongs beside this one is missing.
    #[error("{} is missing: build everything", path.display())]
    Program {
        /// Where it should be.
        path: PathBuf,
    },
    /// Access gave no session.
    #[error("no session for the first script: {0}")]
    Session(String),
    /// A program could not be run.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program refused.
    #[error("{what} failed: {said}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// A program answered something else.
    #[error("{what} gave an answer that cannot be read")]
    Malformed {
        /// What was tried.
        what: &'static str,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s", within.as_secs())]
    Slow {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
    },
    /// The script's run ended without an exit code.
    #[error("the first script ended as {state}")]
    NoExitCode {
        /// The run's state.
        state: String,
    },
    /// The server could not go on.
    #[error("the server")]
    Server(#[from] ServerError),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

/// Starts everything, enrols this machine, runs the first script, and goes on unless it is to stop then.
///
/// Errors: the server cannot start; what fails behind that is printed and gives 70 with `--once`.
pub fn run(args: QuickstartArgs) -> Result<u8, ServerError> {
    let once = args.once;
    up::runtime()?.block_on(async {
        let mut up = Up::start(args.server, Parts::All).await?;
        let outcome = show(&mut up, once).await;
        up.stop().await;
        outcome
    })
}

async fn show(up: &mut Up, once: bool) -> Result<u8, ServerError> {
    let code = match first_script(up, once).await {
        Ok(code) => code,
        Err(QuickstartError::Server(error)) => return Err(error),
        Err(QuickstartError::Stopped) => return Ok(if once { exit::FAILED } else { exit::OK }),
        Err(error) => {
            tracing::error!(error = %chain(&error), "the first script did not run");
            screen::line(&format!("The first script did not run: {}", chain(&error)));
            exit::FAILED
        }
    };
    if once {
        return Ok(code);
    }
    up.print_addresses();
    up.run().await?;
    Ok(exit::OK)
}

async fn first_script(up: &mut Up, once: bool) -> Result<u8, QuickstartError> {
    wait_ready(up, once).await?;
    let context = if rustix::process::geteuid().is_root() {
        Context::System
    } else {
        Context::CurrentUser
    };
    let url = up.local_url().ok_or(QuickstartError::Slow {
        what: "the gateway's address",
        within: START,
    })?;
    let operator = session(up, &url).await?;
    let guid = {
        let identity = agent::Identity::new(up.paths(), context);
        let mut charge = AgentCharge::new(up.paths(), context, &url)?;
        if identity.guid().is_none() {
            screen::line("This machine becomes the first device: a code for one use is minted, its request approved.");
            charge = charge.with_code(operator.mint_code().await?);
        } else {
            screen::line("This machine is a device already.");
        }
        up.add(charge);
        until(up, enrol(&operator, &identity)).await?
    };
    screen::part("device", &guid);
    screen::line("");
    screen::line("A first script, signed by this server and verified by the device:");
    let code = until(up, first_script::run(&operator, &guid, context)).await?;
    Ok(code)
}

async fn wait_ready(up: &mut Up, once: bool) -> Result<(), QuickstartError> {
    let turn = if once {
        tokio::time::timeout(START, up.turn())
            .await
            .map_err(|_| QuickstartError::Slow {
                what: "the start of all services",
                within: START,
            })?
    } else {
        up.turn().await
    };
    match turn? {
        Turn::Ready => Ok(()),
        Turn::Stop => Err(QuickstartError::Stopped),
    }
}

/// Goes on supervising while something else happens.
async fn until<T>(up: &mut Up, what: impl Future<Output = Result<T, QuickstartError>>) -> Result<T, QuickstartError> {
    tokio::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return done,
            turn = up.turn() => if turn? == Turn::Stop { return Err(QuickstartError::Stopped) },
        }
    }
}

/// Asks access, over the line that it inherited, for a session of minutes; access records it.
async fn session(up: &Up, url: &str) -> Result<Operator, QuickstartError> {
    let key = random::signing_key();
    let answer = up.bootstrap().session(&PublicKey::of(&key), SESSION).await;
    let answer = answer.map_err(|error| QuickstartError::Session(chain(&error)))?;
    screen::line(&format!(
        "A session of {} minutes was minted and recorded for what follows.",
        SESSION.as_secs() / 60
    ));
    let seed = Zeroizing::new(BASE64URL_NOPAD.encode(Zeroizing::new(key.to_bytes()).as_ref()));
    let token = Zeroizing::new(format!("brl1.{}.{}", *seed, answer.token));
    Operator::new(url, up.paths(), token)
}

/// Approves exactly the request of this machine's own key, then waits for its name.
async fn enrol(operator: &Operator, identity: &agent::Identity) -> Result<String, QuickstartError> {
    let began = Instant::now();
    let mut approved = false;
    loop {
        if let Some(guid) = identity.guid() {
            return Ok(guid);
        }
        if !approved
            && let Some(fingerprint) = identity.fingerprint()
            && let Some(approval) = operator.pending(&fingerprint).await?
        {
            operator.approve(&approval).await?;
            screen::line(&format!("Approved: key {fingerprint}"));
            approved = true;
        }
        if began.elapsed() > ENROLMENT {
            return Err(QuickstartError::Slow {
                what: "this machine's enrolment",
                within: ENROLMENT,
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
