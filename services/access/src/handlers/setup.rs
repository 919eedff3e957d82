//! `setup`: whoever proves a link's secret registers a password: the first operator's, or that of one who was invited.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::messages::access::{Setup, SetupAnswer};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::seeds::{LinkUse, Registered};
use borealis_service_kit::operator::PublicCtx;

use crate::aggregate::{Command, Event, LinkFor, Rejection, UserCommand, Username};
use crate::error::{AccessError, malformed};
use crate::opaque::Opaque;
use crate::service::{Access, CommandKey};
use crate::throttle::peer_key;

/// Answers a step of set-up.
///
/// The last step's proof covers the whole registration. Registering is a function of its first message, so the server computes
/// its own answer again: a client that was given another one signed something else.
///
/// Errors: `setup_closed`, `link_used`, `link_expired`; `proof_invalid` for what the link's key did not sign; `invalid_field` for
/// a name that is none or not the link's, and for a message that is none.
pub async fn handle(access: Arc<Access>, ctx: PublicCtx) -> Reply<SetupAnswer> {
    match ctx.body()? {
        Setup::Start {
            link,
            username,
            registration_request,
            proof,
        } => {
            let asked = LinkUse {
                username: &username,
                registration_request: &registration_request,
                registered: None,
            };
            let (_, username) = opened(&access, &ctx, link, &asked, &proof).await?;
            let registration_response = access
                .opaque
                .register(username.as_str(), &registration_request)
                .map_err(malformed)?;
            Ok(SetupAnswer::Started { registration_response })
        }
        Setup::Finish {
            link,
            username,
            registration_request,
            registration_record,
            proof,
        } => {
            let response = access
                .opaque
                .register(named(&username)?.as_str(), &registration_request)
                .map_err(malformed)?;
            let asked = LinkUse {
                username: &username,
                registration_request: &registration_request,
                registered: Some(Registered {
                    response: &response,
                    record: &registration_record,
                }),
            };
            let (opens, username) = opened(&access, &ctx, link, &asked, &proof).await?;
            let record = Opaque::record(&registration_record).map_err(malformed)?;
            let peer = peer_key(&ctx.call.peer);
            let command = match opens {
                LinkFor::FirstOperator => Command::FinishSetup {
                    link,
                    username,
                    record,
                    peer,
                },
                LinkFor::Operator(_) => Command::User(UserCommand::UseLink {
                    link,
                    username,
                    record,
                    peer,
                }),
            };
            let (events, _) = access.execute(command, CommandKey::once()).await?;
            let operator = events.iter().find_map(|event| match event {
                Event::PasswordSet { operator, .. } => Some(*operator),
                _ => None,
            });
            let operator = operator.ok_or_else(|| WireError::new(Code::Internal, "no password was set"))?;
            if opens == LinkFor::FirstOperator {
                access.close_link();
                tracing::info!(operator = %operator, "the first operator was made through the set-up link");
            } else {
                tracing::info!(operator = %operator, "an operator set a password through a link");
            }
            Ok(SetupAnswer::Finished { operator })
        }
    }
}

/// Finds what a link opens, for the name that came with it, once whoever asks proved its secret.
async fn opened(
    access: &Access,
    ctx: &PublicCtx,
    link: PublicKey,
    asked: &LinkUse<'_>,
    proof: &SignatureBytes,
) -> Reply<(LinkFor, Username)> {
    let state = access.state().await;
    let opens = state.link(link, ctx.now).map_err(AccessError::from)?;
    asked.verify(&link, proof).map_err(|_| {
        WireError::new(
            Code::ProofInvalid,
            "the link's signature does not fit this registration",
        )
    })?;
    let username = named(asked.username)?;
    match opens {
        LinkFor::Operator(operator) if state.names.get(&username) != Some(&operator) => {
            Err(AccessError::from(Rejection::LinkOfAnother).into())
        }
        _ => Ok((opens, username)),
    }
}

/// Reads an operator's name.
///
/// Errors: `invalid_field`.
pub fn named(username: &str) -> Reply<Username> {
    Username::new(username).ok_or_else(|| {
        WireError::new(
            Code::InvalidField,
            "a user name has 1 to 64 of a-z, 0-9, '.', '_', '-' and '@', and begins with a letter or digit",
        )
    })
}
