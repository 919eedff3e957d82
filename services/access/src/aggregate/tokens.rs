//! API tokens: what a program may do in an operator's name.
//!
//! A token is a session of another kind: its id stands where a session's does, its key signs requests, and it ends by the same
//! event. It holds what its author chose among what they hold, and never more than the author holds at the time. Only its id,
//! the fingerprint of its key and what it may do are kept.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, OperatorId, SessionId};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, reach};

use super::checks::{hand, narrow_enough, short, within};
use super::{Actor, Event, Facts, Rejection, State};

/// Is how long an API token lives at most, in milliseconds: 365 days.
pub const TOKEN_LIFE_MS: i64 = 365 * 24 * 3_600_000;

/// Is how long it lives at least, in milliseconds.
const MIN_LIFE_MS: i64 = 60_000;

/// Is an API token as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// The token.
    pub token: SessionId,
    /// Its author.
    pub author: OperatorId,
    /// What it is for.
    pub name: String,
    /// The digest of its public key.
    pub key_fingerprint: Digest,
    /// What it may do.
    pub reach: Reach,
    /// The devices that it is for; none where it is for all that its sites have.
    pub devices: Option<BTreeSet<Guid>>,
    /// The author's epoch when it was made.
    pub epoch: u64,
    /// When it was made.
    pub at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Is an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What it was made as.
    pub facts: TokenFacts,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Is whoever asks for a grant, as the biscuit says that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The operator.
    pub operator: OperatorId,
    /// The key that signs the asker's requests.
    pub key: PublicKey,
    /// What the biscuit still holds.
    pub reach: Reach,
    /// The devices that it is narrowed to.
    pub devices: Option<BTreeSet<Guid>>,
    /// When it ends, if it is an API token; a log-in's grants may live longer than the session.
    pub token_ends_at: Option<Timestamp>,
}

/// Is a change of API tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenCommand {
    /// Makes one.
    Create {
        /// Who asks, and is the author.
        by: Actor,
        /// What it is for.
        name: String,
        /// The public key that it is bound to.
        key: PublicKey,
        /// What it may do.
        reach: Reach,
        /// The devices that it is for.
        devices: Option<BTreeSet<Guid>>,
        /// How long it lives, in milliseconds.
        lifetime_ms: i64,
    },
    /// Revokes one.
    Revoke {
        /// Who asks.
        by: Actor,
        /// Which.
        token: SessionId,
    },
}

/// Decides a change of API tokens.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub(super) fn decide(state: &State, command: TokenCommand, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        TokenCommand::Create {
            by,
            name,
            key,
            reach,
            devices,
            lifetime_ms,
        } => {
            let author = state.standing(&by.operator)?;
            let held = reach::meet(&by.reach, &author.reach);
            within(&held.clone().without_job_limits(), &reach)?;
            // Its jobs are limited as its author's are, also where nobody said so.
            let reach = reach::meet(&reach, &held);
            narrow_enough(&reach)?;
            if reach.is_empty() || devices.as_ref().is_some_and(BTreeSet::is_empty) {
                return Err(Rejection::TokenEmpty);
            }
            if !(MIN_LIFE_MS..=TOKEN_LIFE_MS).contains(&lifetime_ms) {
                return Err(Rejection::TokenLifetime);
            }
            Ok(vec![Event::TokenMinted(TokenFacts {
                token: SessionId::from_bytes(facts.id),
                author: by.operator,
                name: short(name)?,
                key_fingerprint: Digest::of(key.as_bytes()),
                reach,
                devices,
                epoch: author.epoch,
                at,
                expires_at: at.plus_ms(lifetime_ms),
            })])
        }
        TokenCommand::Revoke { by, token } => {
            let found = state.tokens.get(&token).ok_or(Rejection::TokenMissing)?;
            if found.facts.author != by.operator {
                let held = hand(state, &by, Right::UsersManage)?;
                within(&held, &found.facts.reach)?;
            }
            if found.revoked || at >= found.facts.expires_at {
                return Err(Rejection::WrongStatus("the API token is over already"));
            }
            Ok(vec![Event::SessionEnded {
                session: token,
                reason: "API token revoked".to_owned(),
                at,
            }])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, GrantFacts, decide as decide_any, evolve};
    use super::*;
    use borealis_bus_schema::ids::{CommandId, OperatorRoleName, SiteName};
    use borealis_bus_schema::messages::access::GrantFor;
    use borealis_service_kit::auth::Sites;
    use proptest::prelude::*;

    use crate::aggregate::Username;

    const ADA: OperatorId = OperatorId::from_bytes([1; 16]);
    const BOB: OperatorId = OperatorId::from_bytes([2; 16]);
    const DAY_MS: i64 = 24 * 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }
    fn facts(id: u8) -> Facts {
        Facts {
            now: at(0),
            id: [id; 16],
        }
    }
    fn key() -> PublicKey {
        PublicKey::from_bytes([7; 32])
    }
    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    /// Is ada, who administers, and bob, who has a role of his own.
    fn with_bob(reach: &Reach) -> State {
        let role = OperatorRoleName::new("own").unwrap();
        let events = [
            Event::OperatorCreated {
                operator: ADA,
                username: Username::new("ada").unwrap(),
                roles: [OperatorRoleName::administrator()].into(),
                peer: String::new(),
                at: at(0),
            },
            Event::RoleSet {
                role: role.clone(),
                description: String::new(),
                reach: reach.clone(),
                by: ADA,
                at: at(0),
            },
            Event::OperatorInvited {
                operator: BOB,
                username: Username::new("bob").unwrap(),
                roles: [role].into(),
                by: ADA,
                at: at(0),
            },
        ];
        events.iter().fold(State::default(), evolve)
    }

    fn by(state: &State, operator: OperatorId) -> Actor {
        let reach = state.standing(&operator).unwrap().reach;
        Actor { operator, reach }
    }

    fn create(by: Actor, reach: Reach, lifetime_ms: i64) -> Command {
        Command::Token(TokenCommand::Create {
            by,
            name: "backup".into(),
            key: key(),
            reach,
            devices: None,
            lifetime_ms,
        })
    }

    fn running() -> Reach {
        Reach::from([(Right::JobsRun, Sites::All), (Right::JobsRead, Sites::All)])
    }

    fn with_token(reach: &Reach) -> State {
        let state = with_bob(reach);
        let events = decide_any(&state, create(by(&state, BOB), reach.clone(), DAY_MS), &facts(9)).unwrap();
        events.iter().fold(state, evolve)
    }

    #[test]
    fn a_token_lives_for_a_minute_to_a_year() {
        let state = with_bob(&running());
        for (lifetime_ms, lives) in [
            (0, false),
            (59_999, false),
            (60_000, true),
            (TOKEN_LIFE_MS, true),
            (TOKEN_LIFE_MS + 1, false),
        ] {
            let made = decide_any(&state, create(by(&state, BOB), running(), lifetime_ms), &facts(9));
            assert_eq!(made.is_ok(), lives, "{lifetime_ms}");
        }
    }

    #[test]
    fn a_tokens_jobs_are_limited_as_its_authors() {
        let limited = running().with_job_limit(Some(3));
        let state = with_bob(&limited);
        let made = |asked: Reach| {
            let events = decide_any(&state, create(by(&state, BOB), asked, DAY_MS), &facts(9)).unwrap();
            match events.as_slice() {
                [Event::TokenMinted(token)] => token.reach.strictest_job_limit(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(made(running()), Some(3));
        assert_eq!(made(running().with_job_limit(Some(9))), Some(3));
        assert_eq!(made(running().with_job_limit(Some(1))), Some(1));
        let granted = grant(&state, asker(running())).unwrap();
        assert_eq!(granted.reach.strictest_job_limit(), Some(3));
    }

    #[test]
    fn a_token_that_may_do_nothing_is_none() {
        let state = with_bob(&running());
        let none = decide_any(&state, create(by(&state, BOB), Reach::new(), DAY_MS), &facts(9));
        assert_eq!(none, Err(Rejection::TokenEmpty));
        let nowhere = Command::Token(TokenCommand::Create {
            by: by(&state, BOB),
            name: String::new(),
            key: key(),
            reach: running(),
            devices: Some(BTreeSet::new()),
            lifetime_ms: DAY_MS,
        });
        assert_eq!(decide_any(&state, nowhere, &facts(9)), Err(Rejection::TokenEmpty));
    }

    #[test]
    fn a_token_is_revoked_once_by_its_author_or_by_one_who_holds_as_much() {
        let state = with_token(&running());
        let revoke = |by| Command::Token(TokenCommand::Revoke { by, token: id(9) });
        for who in [ADA, BOB] {
            let events = decide_any(&state, revoke(by(&state, who)), &facts(0)).unwrap();
            let after = events.iter().fold(state.clone(), evolve);
            assert!(after.tokens[&id(9)].revoked);
            let again = decide_any(&after, revoke(by(&after, ADA)), &facts(0));
            assert!(matches!(again, Err(Rejection::WrongStatus(_))));
        }
        let desk = Actor {
            operator: ADA,
            reach: Reach::from([(Right::UsersManage, Sites::All)]),
        };
        assert_eq!(
            decide_any(&state, revoke(desk), &facts(0)),
            Err(Rejection::ExceedsOwnRights)
        );
        let unknown = Command::Token(TokenCommand::Revoke {
            by: by(&state, ADA),
            token: id(8),
        });
        assert_eq!(decide_any(&state, unknown, &facts(0)), Err(Rejection::TokenMissing));
    }

    fn grant(state: &State, asker: Asker) -> Result<GrantFacts, Rejection> {
        let mint = Command::MintGrant {
            session: id(9),
            command: CommandId::from_bytes([3; 16]),
            call_digest: Digest::of(b"call"),
            expires_at: at(2 * DAY_MS),
            acts: GrantFor::Job,
            asker,
        };
        match decide_any(state, mint, &facts(4))?.remove(0) {
            Event::GrantMinted(grant) => Ok(grant),
            other => panic!("{other:?}"),
        }
    }

    fn asker(reach: Reach) -> Asker {
        Asker {
            operator: BOB,
            key: key(),
            reach,
            devices: Some([Guid::from_random([5; 16])].into()),
            token_ends_at: Some(at(DAY_MS)),
        }
    }

    #[test]
    fn a_tokens_grant_reaches_no_further_than_the_token_and_ends_with_it() {
        let state = with_token(&running());
        let oslo = Sites::Some([SiteName::new("oslo").unwrap()].into());
        let granted = grant(&state, asker(Reach::from([(Right::JobsRun, oslo.clone())]))).unwrap();
        assert_eq!(
            (granted.reach, granted.expires_at, granted.by_token),
            (Reach::from([(Right::JobsRun, oslo)]), at(DAY_MS), true)
        );
        assert_eq!(granted.devices, asker(Reach::new()).devices);
        let missing = Err(Rejection::RightMissing(Right::JobsRun));
        assert_eq!(grant(&state, asker(Reach::new())), missing);
        assert_eq!(grant(&with_bob(&Reach::new()), asker(running())), missing);
    }

    proptest! {
        #[test]
        fn a_token_holds_no_more_than_its_author_and_than_the_token_in_use(
            held in any_reach(), used in any_reach(), asked in any_reach(),
        ) {
            let state = with_bob(&held);
            let actor = Actor { operator: BOB, reach: used.clone() };
            if let Ok(events) = decide_any(&state, create(actor, asked.clone(), DAY_MS), &facts(9)) {
                prop_assert!(reach::covers(&held, &asked) && reach::covers(&used, &asked), "{:?}", events);
            }
        }
    }

    fn any_reach() -> impl Strategy<Value = Reach> {
        let sites = prop_oneof![Just(Sites::All), Just(Sites::Some([SiteName::default_site()].into())),];
        let rights = prop::sample::select(vec![Right::JobsRun, Right::JobsRead, Right::DevicesRead]);
        prop::collection::btree_map(rights, sites, 0..4).prop_map(Reach::from)
    }
}
