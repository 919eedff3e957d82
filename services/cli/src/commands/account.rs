//! Set-up, log-in, log-out: who this program speaks for.

use borealis_bus_schema::factor::Factor;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::messages::access::{
    ChangePassword, ChangePasswordAnswer, Login, LoginAnswer, SessionInfo, SessionView, Setup, SetupAnswer,
};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::operator::OperatorToken;
use borealis_bus_schema::seeds::{LinkSecret, LinkUse, Registered};
use borealis_bus_schema::time::Timestamp;
use clap::Subcommand;
use ed25519_dalek::SigningKey;
use rand::rngs::OsRng;
use serde::Serialize;

use super::people;
use crate::api::Api;
use crate::args::{FactorArgs, ServerArgs};
use crate::connection::{self, Connection, Stored};
use crate::error::CliError;
use crate::opaque::{self, LogIn, Registration};
use crate::print::{self, Printer};
use crate::secret;

/// Lists what can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Lists your sessions; everybody's with the right users.read
    List,
    /// Ends a session: your own, or another's with the right users.manage
    End {
        /// Id of the session
        #[arg(value_name = "ID")]
        id: SessionId,
    },
}

const SESSIONS: &str = "/api/v1/sessions";

/// Is what set-up, log-in and a further proof of the password print.
#[derive(Serialize)]
pub struct LoggedIn {
    /// The whole token, with its key.
    pub token: String,
    /// The session.
    pub session_id: SessionId,
    /// The operator's name.
    pub username: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// The operator, where one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorId>,
    /// Where the session is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
}

fn unexpected() -> CliError {
    CliError::Answer("it belongs to another step".to_owned())
}

/// Sets a password through a link, then logs in.
pub async fn setup(
    args: &ServerArgs,
    printer: &Printer,
    link: &str,
    username: &str,
    factor: &FactorArgs,
) -> Result<(), CliError> {
    let link = secret::resolve(link)?;
    let (url, secret) = split_link(&link)?;
    let username = opaque::canonical(username);
    let (password, factor) = {
        let mut input = std::io::stdin().lock();
        (secret::password(&mut input)?, secret::factor(factor, &mut input)?)
    };
    let mut gathered = Connection::gather(&ServerArgs {
        url: Some(url.to_owned()),
        token: None,
        ..args.clone()
    })?;
    gathered.token = None;
    let (ca_pem, store) = (gathered.ca_pem.clone(), gathered.store.clone());
    let api = Api::new(gathered)?;
    let registration = Registration::start(&mut OsRng, &password)?;
    let registration_request = registration.request.clone();
    let begun = LinkUse {
        username: &username,
        registration_request: &registration_request,
        registered: None,
    };
    let start = Setup::Start {
        link: secret.public_key(),
        username: username.clone(),
        registration_request: registration_request.clone(),
        proof: begun.sign(&secret),
    };
    let SetupAnswer::Started { registration_response } = api.post_public("/api/v1/setup", &start).await? else {
        return Err(unexpected());
    };
    let registration_record = registration.finish(&mut OsRng, &username, &password, &registration_response)?;
    let ended = LinkUse {
        registered: Some(Registered {
            response: &registration_response,
            record: &registration_record,
        }),
        ..begun
    };
    let finish = Setup::Finish {
        link: secret.public_key(),
        username: username.clone(),
        proof: ended.sign(&secret),
        registration_request: registration_request.clone(),
        registration_record: registration_record.clone(),
    };
    let SetupAnswer::Finished { operator } = api.post_public("/api/v1/setup", &finish).await? else {
        return Err(unexpected());
    };
    let mut answer = log_in(&api, &username, &password, factor.as_ref()).await?;
    answer.operator = Some(operator);
    keep(&api, ca_pem, store.as_deref(), &mut answer)?;
    show(printer, &answer)
}

/// Splits `https://host:port/setup#secret` into address and secret.
fn split_link(link: &str) -> Result<(&str, LinkSecret), CliError> {
    let bad = || CliError::Usage("this is no link that sets a password: https://host:port/setup#secret".to_owned());
    let (page, secret) = link.split_once('#').ok_or_else(bad)?;
    let url = page.trim_end_matches('/').strip_suffix("/setup").ok_or_else(bad)?;
    let secret = LinkSecret::parse(secret).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok((url, secret))
}

/// Logs in; prints the token, and stores it when a root is given.
pub async fn login(args: &ServerArgs, printer: &Printer, username: &str, factor: &FactorArgs) -> Result<(), CliError> {
    let username = opaque::canonical(username);
    let (password, factor) = {
        let mut input = std::io::stdin().lock();
        (secret::password(&mut input)?, secret::factor(factor, &mut input)?)
    };
    let mut gathered = Connection::gather(&ServerArgs {
        token: None,
        ..args.clone()
    })?;
    gathered.token = None;
    let (ca_pem, store) = (gathered.ca_pem.clone(), gathered.store.clone());
    let api = Api::new(gathered)?;
    let mut answer = log_in(&api, &username, &password, factor.as_ref()).await?;
    keep(&api, ca_pem, store.as_deref(), &mut answer)?;
    show(printer, &answer)
}

async fn log_in(api: &Api, username: &str, password: &str, factor: Option<&Factor>) -> Result<LoggedIn, CliError> {
    let key = SigningKey::generate(&mut OsRng);
    let session_public_key = PublicKey::of(&key);
    let attempt = LogIn::start(&mut OsRng, password)?;
    let start = Login::Start {
        username: username.to_owned(),
        login_request: attempt.request.clone(),
        session_public_key,
    };
    let LoginAnswer::Started {
        login_id,
        login_response,
    } = api.post_public("/api/v1/login", &start).await?
    else {
        return Err(unexpected());
    };
    let proof = attempt.finish(&mut OsRng, username, password, &login_response, &session_public_key)?;
    let finish = Login::Finish {
        login_id,
        login_finalization: proof.finalization,
        key_binding: proof.key_binding,
    };
    let mut answer: LoginAnswer = api.post_public("/api/v1/login", &finish).await?;
    if let LoginAnswer::FactorNeeded { login_id, .. } = answer {
        let second = Login::Factor {
            login_id,
            factor: factor.ok_or(CliError::FactorMissing)?.prove(&proof.secret),
        };
        answer = api.post_public("/api/v1/login", &second).await?;
    }
    let LoginAnswer::Finished {
        token,
        session_id,
        username,
        expires_at,
    } = answer
    else {
        return Err(unexpected());
    };
    Ok(LoggedIn {
        token: OperatorToken { key, biscuit: token }.reveal(),
        session_id,
        username,
        expires_at,
        operator: None,
        stored: None,
    })
}

/// Stores a session where there is a place for it.
pub fn keep(api: &Api, ca_pem: String, store: Option<&std::path::Path>, answer: &mut LoggedIn) -> Result<(), CliError> {
    let Some(path) = store else { return Ok(()) };
    let stored = Stored {
        url: api.url().to_owned(),
        ca_pem,
        token: answer.token.clone(),
        session_id: answer.session_id,
    };
    connection::write(path, &stored)?;
    answer.stored = Some(path.display().to_string());
    Ok(())
}

fn show(printer: &Printer, answer: &LoggedIn) -> Result<(), CliError> {
    printer.value(answer, || match &answer.stored {
        Some(path) => format!(
            "Logged in as {} until {}; the session is kept in {path}.",
            answer.username, answer.expires_at
        ),
        None => answer.token.clone(),
    })
}

/// Ends the session and forgets it.
pub async fn logout(args: &ServerArgs, printer: &Printer) -> Result<(), CliError> {
    let gathered = Connection::gather(args)?;
    let store = gathered.store.clone();
    let api = Api::new(gathered)?;
    let answer: serde_json::Value = api.change("/api/v1/logout", &serde_json::json!({})).await?;
    if let Some(path) = store.filter(|_| args.token.is_none()) {
        connection::forget(&path)?;
    }
    printer.value(&answer, || "Logged out.".to_owned())
}

/// Tells who is logged in.
pub async fn session(api: &Api, printer: &Printer) -> Result<(), CliError> {
    let info: SessionInfo = api.get("/api/v1/session").await?;
    printer.value(&info, || {
        print::sheet(&[
            ("operator", info.username.clone()),
            ("session", info.session_id.to_string()),
            ("until", info.expires_at.to_string()),
            ("second factor", second_factor(&info)),
            ("sites", info.sites.join(", ")),
            ("rights", people::rights(&info.reach)),
        ])
    })
}

fn second_factor(info: &SessionInfo) -> String {
    if info.second_factor {
        format!("authenticator app, {} recovery codes left", info.recovery_codes_left)
    } else {
        "none".to_owned()
    }
}

/// Lists or ends sessions.
pub async fn sessions(api: &Api, printer: &Printer, command: SessionsCommand) -> Result<(), CliError> {
    match command {
        SessionsCommand::List => {
            let page: Page<SessionView> = api.get(SESSIONS).await?;
            let head = ["ID", "NAME", "FROM", "BEGUN", "LAST USED", "ENDS", ""];
            printer.list(&page.items, "No sessions.", &head, |session| {
                vec![
                    session.id.to_string(),
                    session.username.clone(),
                    session.peer.clone(),
                    session.started_at.to_string(),
                    session.last_seen_at.to_string(),
                    session.expires_at.to_string(),
                    if session.current { "this one" } else { "" }.to_owned(),
                ]
            })
        }
        SessionsCommand::End { id } => {
            let path = format!("{SESSIONS}/{id}/end");
            let session: SessionView = api.change(&path, &serde_json::json!({})).await?;
            printer.value(&session, || {
                format!("The session {id} of {} is over.", session.username)
            })
        }
    }
}

/// Changes the password: both stand on stdin, the old one first, then the code of whoever has one.
pub async fn password(api: &Api, printer: &Printer, factor: &FactorArgs) -> Result<(), CliError> {
    let (old, new, factor) = {
        let mut input = std::io::stdin().lock();
        let (old, new) = (secret::password(&mut input)?, secret::password(&mut input)?);
        (old, new, secret::factor(factor, &mut input)?)
    };
    let info: SessionInfo = api.get("/api/v1/session").await?;
    let attempt = LogIn::start(&mut OsRng, &old)?;
    let registration = Registration::start(&mut OsRng, &new)?;
    let start = ChangePassword::Start {
        login_request: attempt.request.clone(),
        registration_request: registration.request.clone(),
    };
    let ChangePasswordAnswer::Started {
        change_id,
        login_response,
        registration_response,
        factors,
    } = api.change("/api/v1/password", &start).await?
    else {
        return Err(unexpected());
    };
    if !factors.is_empty() && factor.is_none() {
        return Err(CliError::FactorMissing);
    }
    let none = PublicKey::from_bytes([0; 32]);
    let proof = attempt.finish(&mut OsRng, &info.username, &old, &login_response, &none)?;
    let record = registration.finish(&mut OsRng, &info.username, &new, &registration_response)?;
    let finish = ChangePassword::Finish {
        change_id,
        login_finalization: proof.finalization,
        registration_record: record,
        factor: factor.map(|factor| factor.prove(&proof.secret)),
    };
    let answer: ChangePasswordAnswer = api.change("/api/v1/password", &finish).await?;
    printer.value(&answer, || match &answer {
        ChangePasswordAnswer::Finished { sessions_ended: 0 } => "The password was changed.".to_owned(),
        ChangePasswordAnswer::Finished { sessions_ended } => {
            format!("The password was changed; {sessions_ended} other sessions are over.")
        }
        ChangePasswordAnswer::Started { .. } => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_up_link_has_an_address_and_a_secret() {
        let secret = LinkSecret::new([7; 32]);
        let link = format!("https://h:1/setup#{}", secret.reveal());
        assert_eq!(split_link(&link).unwrap(), ("https://h:1", secret));
        for bad in [
            "",
            "https://h:1/setup",
            "https://h:1/setup#",
            "https://h:1/#abc",
            "https://h:1/setup#abc",
        ] {
            let error = split_link(bad).unwrap_err();
            assert!(!error.to_string().contains("abc"), "{bad}");
        }
    }
}
