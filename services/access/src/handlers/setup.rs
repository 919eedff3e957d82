//! `setup`: whoever holds a link's secret registers a password: the first operator's, or that of one who was invited.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::{Setup, SetupAnswer};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::PublicCtx;

use crate::aggregate::{Command, Event, LinkFor, Rejection, UserCommand, Username};
use crate::error::{AccessError, malformed};
use crate::opaque::Opaque;
use crate::service::{Access, CommandKey};
use crate::setup_link::digest;
use crate::throttle::peer_key;

/// Answers a step of set-up.
///
/// Errors: `setup_closed`, `link_used`, `link_expired`; `invalid_field` for a name that is none or not the link's, and for a
/// message that is none.
pub async fn handle(access: Arc<Access>, ctx: PublicCtx) -> Reply<SetupAnswer> {
    match ctx.body()? {
        Setup::Start {
            secret,
            username,
            registration_request,
        } => {
            let (_, username) = opened(&access, &ctx, &secret, &username).await?;
            let registration_response = access
                .opaque
                .register(username.as_str(), &registration_request)
                .map_err(malformed)?;
            Ok(SetupAnswer::Started { registration_response })
        }
        Setup::Finish {
            secret,
            username,
            registration_record,
        } => {
            let (link, username) = opened(&access, &ctx, &secret, &username).await?;
            let secret = digest(&secret);
            let record = Opaque::record(&registration_record).map_err(malformed)?;
            let peer = peer_key(&ctx.call.peer);
            let command = match link {
                LinkFor::FirstOperator => Command::FinishSetup {
                    secret,
                    username,
                    record,
                    peer,
                },
                LinkFor::Operator(_) => Command::User(UserCommand::UseLink {
                    secret,
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
            if link == LinkFor::FirstOperator {
                access.close_link();
                tracing::info!(operator = %operator, "the first operator was made through the set-up link");
            } else {
                tracing::info!(operator = %operator, "an operator set a password through a link");
            }
            Ok(SetupAnswer::Finished { operator })
        }
    }
}

/// Finds what the secret opens, for the name that came with it.
async fn opened(access: &Access, ctx: &PublicCtx, secret: &str, username: &str) -> Reply<(LinkFor, Username)> {
    let state = access.state().await;
    let link = state.link(digest(secret), ctx.now).map_err(AccessError::from)?;
    let username = named(username)?;
    match link {
        LinkFor::Operator(operator) if state.names.get(&username) != Some(&operator) => {
            Err(AccessError::from(Rejection::LinkOfAnother).into())
        }
        _ => Ok((link, username)),
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
