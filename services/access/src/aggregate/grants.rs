//! Grants: what a session, or an API token, asks for to have something done later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, SessionId};
use borealis_bus_schema::messages::access::GrantFor;
use borealis_bus_schema::messages::scheduler::MAX_EXPIRES_IN_MS;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, reach};

use super::checks::{hand, short, within};
use super::{Actor, Asker, Event, Facts, Rejection, State};

/// Is how long a grant lives at most, in milliseconds: as long as a run may wait.
pub const GRANT_LIFE_MS: i64 = MAX_EXPIRES_IN_MS.cast_signed();

/// Is how long the grant of a schedule lives at most, in milliseconds: ten years. It ends with its author's right,
/// and with the schedule.
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
    /// What it was given for; none of one that is older than this word.
    pub acts: Option<GrantFor>,
}

/// Mints a grant for a request that the session's key signed.
pub(super) fn mint(
    state: &State,
    session: SessionId,
    command: CommandId,
    call_digest: Digest,
    (expires_at, acts): (Timestamp, GrantFor),
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
        expires_at: expires_at.min(at.plus_ms(life_ms(acts))),
        epoch: author.epoch,
        devices: asker.devices,
        by_token: asker.token_ends_at.is_some(),
        acts: Some(acts),
    })])
}

const fn life_ms(acts: GrantFor) -> i64 {
    match acts {
        GrantFor::Schedule => SCHEDULE_GRANT_LIFE_MS,
        GrantFor::Job | GrantFor::Approval => GRANT_LIFE_MS,
    }
}

/// Ends a grant that lives. Whoever revokes another operator's manages operators, and holds what the author does.
pub(super) fn revoke(
    state: &State,
    grant: GrantId,
    author: &OperatorId,
    reason: String,
    by: Option<&Actor>,
    at: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    if let Some(by) = by.filter(|by| by.operator != *author) {
        let held = hand(state, by, Right::UsersManage)?;
        if let Ok(author) = state.standing(author) {
            within(&held, &author.reach)?;
        }
    }
    Ok(vec![Event::GrantRevoked {
        grant,
        reason: short(reason)?,
        at,
    }])
}

/// Is a grant that lives, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveGrant {
    /// Its author.
    pub author: OperatorId,
    /// The command of the request that it covers.
    pub command: CommandId,
    /// Whether an API token asked for it.
    pub by_token: bool,
    /// What it was given for.
    pub acts: Option<GrantFor>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Is where a grant stands in a list: by when it ends.
pub type GrantPlace = (Timestamp, GrantId);

/// Holds the grants that live: beside the state, for there are as many as jobs that wait.
#[derive(Debug, Default)]
pub struct LiveGrants {
    all: BTreeMap<GrantId, LiveGrant>,
    by_end: BTreeSet<GrantPlace>,
}

impl LiveGrants {
    /// Takes in what happened.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::GrantMinted(grant) => {
                let live = LiveGrant {
                    author: grant.author,
                    command: grant.command,
                    by_token: grant.by_token,
                    acts: grant.acts,
                    expires_at: grant.expires_at,
                };
                self.by_end.insert((grant.expires_at, grant.grant));
                self.all.insert(grant.grant, live);
            }
            Event::GrantRevoked { grant, .. } => self.forget(grant),
            _ => {}
        }
    }

    /// Forgets those whose time is over.
    pub fn forget_ended(&mut self, now: Timestamp) {
        while let Some((end, grant)) = self.by_end.first().copied()
            && end <= now
        {
            self.forget(&grant);
        }
    }

    fn forget(&mut self, grant: &GrantId) {
        if let Some(gone) = self.all.remove(grant) {
            self.by_end.remove(&(gone.expires_at, *grant));
        }
    }

    /// Finds one.
    pub fn get(&self, grant: &GrantId) -> Option<&LiveGrant> {
        self.all.get(grant)
    }

    /// Lists those that are let through before a place, what ends last first, at most `limit`.
    pub fn before(
        &self,
        place: Option<GrantPlace>,
        limit: usize,
        sees: impl Fn(&LiveGrant) -> bool,
    ) -> Vec<(GrantPlace, LiveGrant)> {
        let end = place.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.by_end.range((Bound::Unbounded, end)).rev();
        places
            .filter_map(|place| Some((*place, self.all.get(&place.1)?.clone())))
            .filter(|(_, live)| sees(live))
            .take(limit)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_is_listed_page_by_page_until_it_ends_or_is_revoked() {
        let id = |n: u8| GrantId::from_bytes([n; 16]);
        let at = |n: u8| Timestamp::from_unix_ms(i64::from(n));
        let mut live = LiveGrants::default();
        for n in 1..=9 {
            live.note(&Event::GrantMinted(GrantFacts {
                grant: id(n),
                author: OperatorId::from_bytes([n % 2; 16]),
                username: "ada".into(),
                session: SessionId::from_bytes([1; 16]),
                session_key: PublicKey::from_bytes([1; 32]),
                command: CommandId::from_bytes([n; 16]),
                call_digest: Digest([1; 32]),
                reach: Reach::new(),
                expires_at: at(n / 2),
                epoch: 0,
                devices: None,
                by_token: false,
                acts: Some(GrantFor::Job),
            }));
        }
        let odd = |live: &LiveGrant| live.author == OperatorId::from_bytes([1; 16]);
        let (mut seen, mut place) = (Vec::new(), None);
        loop {
            let page = live.before(place, 2, odd);
            let Some((last, _)) = page.last() else { break };
            place = Some(*last);
            seen.extend(page.into_iter().map(|((_, grant), _)| grant));
        }
        assert_eq!(seen, [id(9), id(7), id(5), id(3), id(1)]);
        live.note(&Event::GrantRevoked {
            grant: id(7),
            reason: String::new(),
            at: at(1),
        });
        live.forget_ended(at(2));
        let left: Vec<_> = live
            .before(None, 9, |_| true)
            .into_iter()
            .map(|((_, id), _)| id)
            .collect();
        assert_eq!(left, [id(9), id(8), id(6)]);
        assert!(live.get(&id(7)).is_none() && live.get(&id(4)).is_none());
    }
}
