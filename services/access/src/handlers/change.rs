//! What every change of operators, roles and sites shares: the caller as an actor, and the first answer for a repetition.

use borealis_bus_schema::codec;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde_json::Error;

use crate::aggregate::{Actor, Command, Event, State};
use crate::error::AccessError;
use crate::service::{Access, CommandKey};

/// Marks a kept answer that is not the whole one: no JSON begins with it, so the request loop leaves it to the handler.
const PARTIAL: u8 = 0xff;

/// Says what is kept of an answer for a repetition of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// Everything but a secret, which the handler adds each time.
    WithoutSecret,
}

/// Returns whoever calls as the one who asks for a change.
pub fn actor(ctx: &OperatorCtx) -> Actor {
    Actor {
        operator: ctx.caller.operator,
        reach: ctx.caller.reach.clone(),
    }
}

/// Makes a change once, and returns its answer: the first one when it had been made before.
///
/// Errors: those of [`Access::execute`]; `id_reused`.
pub async fn change<T: Serialize + DeserializeOwned>(
    access: &Access,
    ctx: &OperatorCtx,
    kept: Kept,
    command: Command,
    answer: impl FnOnce(&State, &[Event]) -> Option<T>,
) -> Reply<T> {
    let key = CommandKey {
        id: *ctx.command.as_bytes(),
        digest: ctx.digest,
        answer: Vec::new(),
    };
    let encode = |state: &State, events: &[Event]| {
        let mut bytes = match kept {
            Kept::Whole => Vec::new(),
            Kept::WithoutSecret => vec![PARTIAL],
        };
        let answer =
            answer(state, events).ok_or_else(|| AccessError::Answer(Error::custom("there is nothing to show")))?;
        serde_json::to_writer(&mut bytes, &answer).map_err(AccessError::Answer)?;
        Ok(bytes)
    };
    let (_, appended) = access.execute_answering(command, key, encode).await?;
    read(&appended.answer)
}

/// Returns the first answer when the command had been made before.
///
/// Errors: `storage_failed`.
pub fn first<T: DeserializeOwned>(access: &Access, ctx: &OperatorCtx) -> Reply<Option<T>> {
    let known = access.log.command(ctx.command.as_bytes()).map_err(AccessError::from)?;
    known.map(|first| read(&first.answer)).transpose()
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Reply<T> {
    let json = answer.strip_prefix(&[PARTIAL]).unwrap_or(answer);
    Ok(codec::decode_json(json, codec::MAX_JSON_BYTES)?)
}
