//! Grants: what a session, or an API token, asks for to have something done later.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, SessionId};
use borealis_bus_schema::messages::scheduler::MAX_EXPIRES_IN_MS;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, reach};

use super::{Asker, Event, Facts, Rejection, State};

/// Is how long a grant lives at most, in milliseconds: as long as a run may wait.
pub const GRANT_LIFE_MS: i64 = MAX_EXPIRES_IN_MS.cast_signed();

/// Is how long the grant of a schedule lives at most, in milliseconds: ten years. It ends with its author's right;
/// an archived schedule leaves it as it is.
pub const SCHEDULE_GRANT_LIFE_MS: i64 = 3_652 * 24 * 3_600_000;

/// Is a grant as it was minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFacts {
    /// The grant.
    pub grant: GrantId,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// The session in which it was asked for.
    pub session: SessionId,
    /// The key that signed the request.
    pub session_key: PublicKey,
    /// The command of the request.
    pub command: CommandId,
    /// The digest of the request it covers.
    pub call_digest: Digest,
    /// The right to run jobs, with the sites that it reaches and the limits to the devices of a job there.
    pub reach: Reach,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The author's epoch when it was minted.
    pub epoch: u64,
    /// The devices that it is for; none where it is for all that its sites have.
    pub devices: Option<BTreeSet<Guid>>,
    /// Whether an API token asked for it.
    pub by_token: bool,
}

/// Mints a grant for a request that the session's key signed.
pub(super) fn mint(
    state: &State,
    session: SessionId,
    command: CommandId,
    call_digest: Digest,
    (expires_at, life_ms): (Timestamp, i64),
    asker: Asker,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    if asker.token_ends_at.is_none() {
        state.live_session(&session, at)?;
    }
    let author = state.standing(&asker.operator)?;
    let reach = reach::meet(&author.reach, &asker.reach).of_jobs();
    if reach.is_empty() {
        return Err(Rejection::RightMissing(Right::JobsRun));
    }
    let expires_at = asker.token_ends_at.map_or(expires_at, |end| end.min(expires_at));
    if expires_at <= at {
        return Err(Rejection::GrantEnded);
    }
    Ok(vec![Event::GrantMinted(GrantFacts {
        grant: GrantId::from_bytes(facts.id),
        author: asker.operator,
        username: author.username,
        session,
        session_key: asker.key,
        command,
        call_digest,
        reach,
        expires_at: expires_at.min(at.plus_ms(life_ms)),
        epoch: author.epoch,
        devices: asker.devices,
        by_token: asker.token_ends_at.is_some(),
    })])
}
