//! `passkeys-…`, `step-up-passkey`, and log-ins with a passkey: an authenticator answers a challenge that both ends make.
//!
//! Each answer is good for one question, asked not long ago, for one purpose and one session key. A gateway that puts a key
//! of its own into a log-in gets an answer to a challenge that nobody asked ([`borealis_bus_schema::passkey`]).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, PasskeyId, SessionId};
use borealis_bus_schema::messages::access::{
    LoginAnswer, PasskeyAssertion, PasskeyStepUp, PasskeyStepUpAnswer, PasskeyView, RegisterPasskey,
    RegisterPasskeyAnswer, RenamePasskey,
};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::passkey::Asked;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit;
use borealis_service_kit::auth::ProvedFor;
use borealis_service_kit::operator::{OperatorCtx, PublicCtx};
use borealis_service_kit::random;

use super::change::{Kept, change, first};
use super::factors::ProvedAt;
use super::login;
use crate::aggregate::{Command, Event, Passkey, PasskeyCommand, State};
use crate::error::AccessError;
use crate::logins::Ceremony;
use crate::service::Access;
use crate::throttle::peer_key;
use crate::webauthn::{self, Expected, Refused};

/// Lists the caller's passkeys.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<PasskeyView>> {
    let state = access.state().await;
    let account = state.operators.get(&ctx.caller.operator);
    let mut items: Vec<PasskeyView> = account
        .map(|account| {
            account
                .passkeys
                .iter()
                .map(|(id, passkey)| show(*id, passkey))
                .collect()
        })
        .unwrap_or_default();
    items.sort_by_key(|passkey| passkey.created_at);
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Answers a step of making a passkey.
///
/// Errors: `passkey_unavailable` for an address that is no name of this server, `throttled`, `overloaded`, those of
/// [`webauthn::made`], `wrong_state` for a passkey that is known or one too many, `invalid_field` for a name.
pub async fn register(access: Arc<Access>, ctx: OperatorCtx) -> Reply<RegisterPasskeyAnswer> {
    let (operator, session) = (ctx.caller.operator, ctx.caller.session);
    let asked = Asked::Register {
        session,
        session_key: ctx.caller.session_key,
    };
    let (ceremony_id, name, made) = match ctx.body()? {
        RegisterPasskey::Start { host } => {
            let (ceremony_id, nonce, rp_id) = ask(&access, asked, &host, &ctx.call.peer, ctx.now)?;
            let exclude = theirs(&access, &operator, &rp_id).await;
            audit::note_no_change();
            return Ok(RegisterPasskeyAnswer::Started {
                ceremony_id,
                nonce,
                rp_id,
                user_handle: handle_of(&operator),
                username: ctx.caller.username.clone(),
                exclude,
            });
        }
        RegisterPasskey::Finish {
            ceremony_id,
            name,
            made,
        } => (ceremony_id, name, made),
    };
    let ceremony = answered(&access, &ceremony_id, asked, ctx.now)?;
    let (client_data, authenticator_data) = (bytes(&made.client_data_json)?, bytes(&made.authenticator_data)?);
    let made = webauthn::made(&expected(&access, &ceremony), &client_data, &authenticator_data)?;
    let command = Command::Passkey(PasskeyCommand::Register {
        operator,
        session,
        credential: made.credential,
        key: made.key,
        rp_id: ceremony.rp_id.clone(),
        name,
        counter: made.counter,
    });
    let answer = |state: &State, events: &[Event]| match events.first() {
        Some(Event::PasskeyAdded { passkey, .. }) => shown(state, &operator, passkey),
        _ => None,
    };
    let view: PasskeyView = change(&access, &ctx, Kept::Whole, command, answer).await?;
    accepted(&access, &ceremony);
    audit::note_object("passkey", view.id);
    tracing::info!(operator = %operator, passkey = %view.id, "an operator made a passkey");
    Ok(RegisterPasskeyAnswer::Made(view))
}

/// Names one of the caller's passkeys.
///
/// Errors: `not_found`, `invalid_field`.
pub async fn rename(access: Arc<Access>, ctx: OperatorCtx) -> Reply<PasskeyView> {
    let RenamePasskey { name } = ctx.body()?;
    let (operator, passkey) = (ctx.caller.operator, ctx.id()?);
    let command = Command::Passkey(PasskeyCommand::Rename {
        operator,
        session: ctx.caller.session,
        passkey,
        name,
    });
    let answer = |state: &State, _: &[Event]| shown(state, &operator, &passkey);
    change(&access, &ctx, Kept::Whole, command, answer).await
}

/// Removes one of the caller's passkeys.
///
/// Errors: `not_found`.
pub async fn remove(access: Arc<Access>, ctx: OperatorCtx) -> Reply<PasskeyView> {
    let (operator, passkey) = (ctx.caller.operator, ctx.id()?);
    let before = {
        let state = access.state().await;
        shown(&state, &operator, &passkey)
    };
    let command = Command::Passkey(PasskeyCommand::Remove {
        operator,
        session: ctx.caller.session,
        passkey,
    });
    let removed = change(&access, &ctx, Kept::Whole, command, |_, _| before).await?;
    tracing::info!(operator = %operator, passkey = %passkey, "an operator removed a passkey");
    Ok(removed)
}

/// Begins a log-in with a passkey. Nobody says whose: the passkey does.
///
/// Errors: `passkey_unavailable`, `throttled`, `overloaded`.
pub fn log_in_start(access: &Access, ctx: &PublicCtx, host: &str, session_key: PublicKey) -> Reply<LoginAnswer> {
    let (login_id, nonce, rp_id) = ask(access, Asked::LogIn { session_key }, host, &ctx.call.peer, ctx.now)?;
    Ok(LoginAnswer::PasskeyAsked { login_id, nonce, rp_id })
}

/// Ends a log-in with a passkey.
///
/// Errors: `passkey_challenge` for another log-in or key, or one that is over; `passkey_unknown`; `passkey_origin`,
/// `passkey_unverified`, `passkey_invalid` as [`webauthn::asserted`] says; `passkey_copied`; `login_failed` for whoever may
/// not log in.
pub async fn log_in_finish(
    access: &Access,
    ctx: &PublicCtx,
    login_id: &SessionId,
    assertion: &PasskeyAssertion,
) -> Reply<LoginAnswer> {
    let ceremony = taken(access, login_id, ctx.now)?;
    let Asked::LogIn { session_key } = ceremony.asked else {
        return Err(Refused::Challenge.into());
    };
    let used = verified(access, &ceremony, assertion, None).await?;
    let command = Command::Passkey(PasskeyCommand::LogIn {
        operator: used.operator,
        passkey: used.passkey,
        counter: used.counter,
        session_key,
        peer: peer_key(&ctx.call.peer),
    });
    let begun = login::begun(access, used.operator, session_key, command).await?;
    accepted(access, &ceremony);
    Ok(begun)
}

/// Answers a step of proving with a passkey who is there once more: the same session and key get a biscuit that says so, and
/// for which one act where one was named.
///
/// Errors: `passkey_unavailable`, `throttled`, `overloaded`, `invalid_field` for an act that is none, those of
/// [`log_in_finish`], `token_revoked` when the session is over.
pub async fn step_up(access: Arc<Access>, ctx: OperatorCtx) -> Reply<PasskeyStepUpAnswer> {
    let (operator, session, session_key) = (ctx.caller.operator, ctx.caller.session, ctx.caller.session_key);
    let (ceremony_id, assertion) = match ctx.body()? {
        PasskeyStepUp::Start { host, act } => {
            let asked = Asked::StepUp {
                session,
                session_key,
                act: act.as_deref().map(act_of).transpose()?,
            };
            let (ceremony_id, nonce, rp_id) = ask(&access, asked, &host, &ctx.call.peer, ctx.now)?;
            let allow = theirs(&access, &operator, &rp_id).await;
            audit::note_no_change();
            return Ok(PasskeyStepUpAnswer::Started {
                ceremony_id,
                nonce,
                rp_id,
                allow,
            });
        }
        PasskeyStepUp::Finish { ceremony_id, assertion } => (ceremony_id, assertion),
    };
    let proved = match first::<ProvedAt>(&access, &ctx)? {
        Some(first) => first.to(session)?,
        None => prove(&access, &ctx, &ceremony_id, &assertion).await?,
    };
    let expires_at = {
        let state = access.state().await;
        let live = state.live_session(&session, ctx.now).map_err(AccessError::from)?;
        live.expires_at
    };
    let ProvedAt { proved_at, act, .. } = proved;
    let when = match act {
        // What was proved before for whatever is asked goes on.
        Some(act) => (ctx.caller.proved_at, Some(ProvedFor { act, at: proved_at })),
        None => (Some(proved_at), None),
    };
    let begun = access
        .mint_session(session, operator, session_key, expires_at, when)
        .await?;
    Ok(PasskeyStepUpAnswer::Done {
        token: begun.token,
        session_id: begun.session,
        username: begun.username,
        expires_at: begun.expires_at,
        proved_at,
    })
}

async fn prove(
    access: &Access,
    ctx: &OperatorCtx,
    ceremony_id: &SessionId,
    assertion: &PasskeyAssertion,
) -> Reply<ProvedAt> {
    let (operator, session, session_key) = (ctx.caller.operator, ctx.caller.session, ctx.caller.session_key);
    let ceremony = taken(access, ceremony_id, ctx.now)?;
    let act = match ceremony.asked {
        Asked::StepUp {
            session: of,
            session_key: by,
            act,
        } if (of, by) == (session, session_key) => act,
        _ => return Err(Refused::Challenge.into()),
    };
    let used = verified(access, &ceremony, assertion, Some(operator)).await?;
    let command = Command::Passkey(PasskeyCommand::StepUp {
        operator,
        session,
        passkey: used.passkey,
        counter: used.counter,
    });
    let answer = |_: &State, events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::SessionProved { at, .. } => Some(ProvedAt {
                proved_at: *at,
                act,
                session: Some(session),
            }),
            _ => None,
        })
    };
    let proved = change(access, ctx, Kept::WithoutSecret, command, answer).await?;
    accepted(access, &ceremony);
    tracing::info!(operator = %operator, session = %session, "an operator proved a passkey once more");
    Ok(proved)
}

/// Asks an authenticator; returns what the question is called, the server's half of its challenge, and the server's name.
fn ask(access: &Access, asked: Asked, host: &str, peer: &str, now: Timestamp) -> Reply<(SessionId, String, String)> {
    let rp_id = access.places.rp_id(host).ok_or_else(|| {
        WireError::new(
            Code::PasskeyUnavailable,
            "a passkey is for a name of this server, and this is none: open the page by a name of --public-name",
        )
    })?;
    let attempt = access
        .logins(|logins| logins.passkeys.admit_peer(peer, now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let (id, nonce) = (random::id(), random::bytes());
    let ceremony = Ceremony {
        asked,
        rp_id: rp_id.to_owned(),
        nonce,
        attempt,
        began_at: now,
    };
    access
        .logins(|logins| logins.keep_ceremony(id, ceremony))
        .map_err(|full| WireError::new(Code::Overloaded, full.to_string()))?;
    Ok((id, URL_SAFE_NO_PAD.encode(nonce), rp_id.to_owned()))
}

/// Takes a question that was asked, once.
fn taken(access: &Access, id: &SessionId, now: Timestamp) -> Reply<Ceremony> {
    access.logins(|logins| logins.take_ceremony(id, now)).ok_or_else(|| {
        WireError::new(
            Code::PasskeyChallenge,
            "nothing of this id waits for an answer: it was answered before, or took longer than five minutes",
        )
    })
}

/// Takes a question that was asked for just this.
fn answered(access: &Access, id: &SessionId, asked: Asked, now: Timestamp) -> Reply<Ceremony> {
    let ceremony = taken(access, id, now)?;
    if ceremony.asked == asked {
        Ok(ceremony)
    } else {
        Err(Refused::Challenge.into())
    }
}

fn expected<'a>(access: &'a Access, ceremony: &'a Ceremony) -> Expected<'a> {
    Expected {
        places: &access.places,
        rp_id: &ceremony.rp_id,
        challenge: ceremony.asked.challenge(&ceremony.nonce),
    }
}

fn accepted(access: &Access, ceremony: &Ceremony) {
    access.logins(|logins| logins.passkeys.give_back(&ceremony.attempt));
}

/// Is a passkey that answered well.
struct Used {
    operator: OperatorId,
    passkey: PasskeyId,
    counter: u32,
}

/// Verifies an answer by a passkey that is known, and is its owner's: who is asked, or whoever the passkey names. One that was
/// asked by its name may leave its owner out.
///
/// Source: WebAuthn Level 2, section 7.2, steps 5 to 20.
async fn verified(
    access: &Access,
    ceremony: &Ceremony,
    assertion: &PasskeyAssertion,
    asked: Option<OperatorId>,
) -> Reply<Used> {
    let credential = bytes(&assertion.credential_id)?;
    let (operator, passkey, key) = {
        let state = access.state().await;
        let (operator, id, passkey) = state.passkey(&credential).ok_or_else(unknown)?;
        (operator, id, passkey.key.clone())
    };
    audit::note_object("operator", operator);
    let says_so = assertion.user_handle == handle_of(&operator);
    let is_owner = match asked {
        Some(asked) => asked == operator && (says_so || assertion.user_handle.is_empty()),
        None => says_so,
    };
    if !is_owner {
        return Err(unknown());
    }
    let counter = webauthn::asserted(
        &expected(access, ceremony),
        &key,
        &bytes(&assertion.client_data_json)?,
        &bytes(&assertion.authenticator_data)?,
        &bytes(&assertion.signature)?,
    )?;
    Ok(Used {
        operator,
        passkey,
        counter,
    })
}

fn unknown() -> WireError {
    AccessError::from(crate::aggregate::Rejection::PasskeyUnknown).into()
}

/// Returns what a passkey says of whose it is.
fn handle_of(operator: &OperatorId) -> String {
    URL_SAFE_NO_PAD.encode(operator.as_bytes())
}

/// Lists what authenticators call an operator's passkeys for a name of this server.
async fn theirs(access: &Access, operator: &OperatorId, rp_id: &str) -> Vec<String> {
    let state = access.state().await;
    let account = state.operators.get(operator);
    let passkeys = account.into_iter().flat_map(|account| account.passkeys.values());
    passkeys
        .filter(|passkey| passkey.rp_id == rp_id)
        .map(|passkey| URL_SAFE_NO_PAD.encode(&passkey.credential))
        .collect()
}

fn bytes(text: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Refused::Malformed("a field is no base64url"))
}

fn act_of(text: &str) -> Reply<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| WireError::new(Code::InvalidField, "act: 32 bytes as base64url"))
}

fn shown(state: &State, operator: &OperatorId, passkey: &PasskeyId) -> Option<PasskeyView> {
    let found = state.operators.get(operator)?.passkeys.get(passkey)?;
    Some(show(*passkey, found))
}

fn show(id: PasskeyId, passkey: &Passkey) -> PasskeyView {
    PasskeyView {
        id,
        name: passkey.name.clone(),
        host: passkey.rp_id.clone(),
        created_at: passkey.created_at,
        last_used_at: passkey.last_used_at,
    }
}
