//! `borealis step-up`, `borealis totp`, `borealis recovery-codes`: the password once more, and what stands beside it.
//!
//! The secret of an authenticator app and recovery codes are made here and at the server out of one exchange; they are
//! shown, and never sent.

use borealis_bus_schema::factor::{self, Factor};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::messages::access::{
    ConfirmTotp, EnrolTotpAnswer, FactorStanding, ProofStarted, ProveAgain, RecoveryCodesAnswer, SessionInfo,
    StepUpAnswer,
};
use borealis_bus_schema::operator::OperatorToken;
use borealis_bus_schema::time::Timestamp;
use clap::Subcommand;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use rand::rngs::OsRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::account::{self, LoggedIn};
use crate::api::Api;
use crate::args::{FactorArgs, ServerArgs};
use crate::connection::Connection;
use crate::error::CliError;
use crate::opaque::{LogIn, LogInProof};
use crate::print::Printer;
use crate::secret;

/// Lists what can be done with an authenticator app.
#[derive(Debug, Subcommand)]
pub enum TotpCommand {
    /// Makes the secret for an app and shows it as a QR code: confirm a code of it within 15 minutes
    Enrol {
        /// Reads the password from the first line of stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor that there is, if any.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Makes the app your second factor, by a code that it shows
    Confirm {
        /// Code that the authenticator app shows, or @FILE
        #[arg(
            long,
            value_name = "CODE",
            env = "BOREALIS_TOTP",
            hide_env_values = true,
            required_unless_present = "totp_stdin"
        )]
        totp: Option<String>,
        /// Reads that code from the first line of stdin
        #[arg(long, conflicts_with = "totp")]
        totp_stdin: bool,
    },
    /// Takes your second factor away, and its recovery codes
    Remove,
}

/// Lists what can be done with recovery codes.
#[derive(Debug, Subcommand)]
pub enum RecoveryCodesCommand {
    /// Makes ten codes in place of earlier ones and prints them: they are shown once, and each serves once
    Create {
        /// Reads the password from the first line of stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor.
        #[command(flatten)]
        factor: FactorArgs,
    },
}

const STEP_UP: &str = "/api/v1/step-up";
const ENROL: &str = "/api/v1/totp/enrol";
const CODES: &str = "/api/v1/recovery-codes";

/// Is what an enrolment prints; `address` is what the QR code holds.
#[derive(Serialize)]
struct Offered {
    address: String,
    secret: String,
    confirm_until: Timestamp,
}

/// Is what making recovery codes prints.
#[derive(Serialize)]
struct Codes {
    codes: Vec<String>,
}

/// Proves the password once more; the session gets a token that says so.
pub async fn step_up(args: &ServerArgs, printer: &Printer, factor: &FactorArgs) -> Result<(), CliError> {
    let gathered = Connection::gather(args)?;
    let ca_pem = gathered.ca_pem.clone();
    // A session that was named is not the one that is stored.
    let store = gathered.store.clone().filter(|_| args.token.is_none());
    let key = gathered.token.as_ref().map(|token| token.key.clone());
    let key = key.ok_or(CliError::TokenMissing)?;
    let api = Api::new(gathered)?;
    let (_, finish, _) = prove::<StepUpAnswer>(&api, STEP_UP, factor, |answer| match answer {
        StepUpAnswer::Started(started) => Some(started),
        StepUpAnswer::Done { .. } => None,
    })
    .await?;
    let StepUpAnswer::Done {
        token: biscuit,
        session_id,
        username,
        expires_at,
        ..
    } = api.change(STEP_UP, &finish).await?
    else {
        return Err(unexpected());
    };
    let token = OperatorToken { key, biscuit }.reveal();
    let mut answer = LoggedIn {
        token,
        session_id,
        username,
        expires_at,
        operator: None,
        stored: None,
    };
    account::keep(&api, ca_pem, store.as_deref(), &mut answer)?;
    printer.value(&answer, || match &answer.stored {
        Some(path) => format!("The password was proved; the session is kept in {path}."),
        None => answer.token.clone(),
    })
}

/// Enrols, confirms or removes an authenticator app.
pub async fn totp(api: &Api, printer: &Printer, command: TotpCommand) -> Result<(), CliError> {
    match command {
        TotpCommand::Enrol { factor, .. } => enrol(api, printer, &factor).await,
        TotpCommand::Confirm { totp, .. } => {
            let code = match totp {
                Some(text) => secret::resolve(&text)?,
                None => secret::code(&mut std::io::stdin().lock())?,
            };
            if Factor::totp(&code).is_none() {
                let told = "a code of an authenticator app has six digits";
                return Err(CliError::Usage(told.to_owned()));
            }
            let body = ConfirmTotp {
                code: code.as_str().to_owned(),
            };
            let standing: FactorStanding = api.change("/api/v1/totp/confirm", &body).await?;
            printer.value(&standing, || {
                "Log-ins take a code of the app from now on. Make recovery codes: borealis recovery-codes create"
                    .to_owned()
            })
        }
        TotpCommand::Remove => {
            let standing: FactorStanding = api.change("/api/v1/totp/remove", &serde_json::json!({})).await?;
            printer.value(&standing, || "Log-ins take the password alone from now on.".to_owned())
        }
    }
}

async fn enrol(api: &Api, printer: &Printer, args: &FactorArgs) -> Result<(), CliError> {
    let (username, finish, proof) = prove::<EnrolTotpAnswer>(api, ENROL, args, |answer| match answer {
        EnrolTotpAnswer::Started(started) => Some(started),
        EnrolTotpAnswer::Offered { .. } => None,
    })
    .await?;
    let EnrolTotpAnswer::Offered { confirm_until } = api.change(ENROL, &finish).await? else {
        return Err(unexpected());
    };
    let made = Zeroizing::new(factor::totp_secret(&proof.secret));
    let host = api.url().trim_start_matches("https://");
    let address = factor::otpauth(made.as_slice(), &username, host);
    let shown = address
        .split_once("secret=")
        .and_then(|(_, rest)| rest.split('&').next())
        .unwrap_or_default()
        .to_owned();
    let offered = Offered {
        secret: shown,
        confirm_until,
        address,
    };
    printer.value(&offered, || {
        format!(
            "{}\nScan this with an authenticator app, or type its secret: {}\n{}\n\nThen, until {confirm_until}: \
             borealis totp confirm --totp-stdin",
            qr(&offered.address),
            offered.secret,
            offered.address,
        )
    })
}

/// Makes recovery codes and prints them.
pub async fn recovery_codes(api: &Api, printer: &Printer, args: &FactorArgs) -> Result<(), CliError> {
    let (_, finish, proof) = prove::<RecoveryCodesAnswer>(api, CODES, args, |answer| match answer {
        RecoveryCodesAnswer::Started(started) => Some(started),
        RecoveryCodesAnswer::Made(_) => None,
    })
    .await?;
    let RecoveryCodesAnswer::Made(_) = api.change(CODES, &finish).await? else {
        return Err(unexpected());
    };
    let made = Codes {
        codes: factor::recovery_codes(&proof.secret),
    };
    printer.value(&made, || {
        format!(
            "{}\n\nEach of these codes serves once in place of the app. They are shown once; earlier ones are void.",
            made.codes.join("\n")
        )
    })
}

/// Proves password and code once more, up to the message that ends it.
async fn prove<A: DeserializeOwned>(
    api: &Api,
    path: &str,
    args: &FactorArgs,
    started: impl FnOnce(A) -> Option<ProofStarted>,
) -> Result<(String, ProveAgain, LogInProof), CliError> {
    let (password, factor) = {
        let mut input = std::io::stdin().lock();
        (secret::password(&mut input)?, secret::factor(args, &mut input)?)
    };
    let info: SessionInfo = api.get("/api/v1/session").await?;
    let attempt = LogIn::start(&mut OsRng, &password)?;
    let start = ProveAgain::Start {
        login_request: attempt.request.clone(),
    };
    let answer: A = api.change(path, &start).await?;
    let started = started(answer).ok_or_else(unexpected)?;
    if !started.factors.is_empty() && factor.is_none() {
        return Err(CliError::FactorMissing);
    }
    let none = PublicKey::from_bytes([0; 32]);
    let proof = attempt.finish(&mut OsRng, &info.username, &password, &started.login_response, &none)?;
    let finish = ProveAgain::Finish {
        exchange_id: started.exchange_id,
        login_finalization: proof.finalization.clone(),
        factor: factor.map(|factor| factor.prove(&proof.secret)),
    };
    Ok((info.username, finish, proof))
}

/// Draws an address for the camera of a phone; nothing where it does not fit a QR code.
fn qr(address: &str) -> String {
    QrCode::new(address).map_or_else(
        |_| String::new(),
        |code| code.render::<Dense1x2>().quiet_zone(true).build(),
    )
}

fn unexpected() -> CliError {
    CliError::Answer("it belongs to another step".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_drawn_in_half_blocks() {
        let drawn = qr(&factor::otpauth(&[7; 20], "ada", "fleet.example:5000"));
        assert!(drawn.lines().count() > 20 && drawn.contains('▄'), "{drawn}");
    }
}
