//! `setup`: whoever holds the link's secret registers the first operator's password.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::{Setup, SetupAnswer};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::PublicCtx;

use crate::aggregate::{Command, Event, Username, may_set_up};
use crate::error::{AccessError, malformed};
use crate::opaque::Opaque;
use crate::service::{Access, CommandKey};
use crate::setup_link::digest;
use crate::throttle::peer_key;

/// Answers a step of set-up.
///
/// Errors: `setup_closed`; `invalid_field` for a name or a message that is none.
pub async fn handle(access: Arc<Access>, ctx: PublicCtx) -> Reply<SetupAnswer> {
    match ctx.body()? {
        Setup::Start {
            secret,
            username,
            registration_request,
        } => {
            may_set_up(&*access.state().await, digest(&secret)).map_err(AccessError::from)?;
            let username = named(&username)?;
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
            let secret = digest(&secret);
            may_set_up(&*access.state().await, secret).map_err(AccessError::from)?;
            let command = Command::FinishSetup {
                secret,
                username: named(&username)?,
                record: Opaque::record(&registration_record).map_err(malformed)?,
                peer: peer_key(&ctx.call.peer),
            };
            let (events, _) = access.execute(command, CommandKey::once()).await?;
            access.close_link();
            let operator = events.iter().find_map(|event| match event {
                Event::OperatorCreated { operator, .. } => Some(*operator),
                _ => None,
            });
            let operator = operator.ok_or_else(|| WireError::new(Code::Internal, "no operator was made"))?;
            tracing::info!(operator = %operator, "the first operator was made through the set-up link");
            Ok(SetupAnswer::Finished { operator })
        }
    }
}

fn named(username: &str) -> Reply<Username> {
    Username::new(username).ok_or_else(|| {
        WireError::new(
            Code::InvalidField,
            "a user name has 1 to 64 of a-z, 0-9, '.', '_', '-' and '@', and begins with a letter or digit",
        )
    })
}
