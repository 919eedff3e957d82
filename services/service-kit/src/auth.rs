//! Who may do what: every service verifies biscuits itself and decides by its own policy (`policies/<service>.datalog`).
//!
//! A biscuit is minted by access ([`mint_session`], [`mint_grant`]) and narrowed by each hop ([`attenuate`]) to one service,
//! one action and thirty seconds. [`Authoriser::authorise`] verifies its signature with the biscuit root, runs its checks and
//! the service's policy, looks the session up among the revoked, and names what is wrong by a code of its own.
//!
//! Whoever holds an API token narrows it further by blocks of their own ([`Narrowing`]): to some rights, sites or devices. Such
//! a block can only take away. What it says is read block by block and taken from the caller's reach, so that lists and
//! targets shrink with it too. Blocks that would cost more to judge than to send are refused (`blocks.rs`).
//!
//! | code | when |
//! | --- | --- |
//! | `token_missing` | no biscuit came |
//! | `token_invalid` | it is no biscuit, another root signed it, or its facts are not those that access writes |
//! | `token_expired` | a check on the time failed |
//! | `token_revoked` | session, grant or operator are over |
//! | `no_longer_permitted` | a grant whose author lost the right since |
//! | `wrong_service`, `wrong_action` | a hop narrowed it to something else |
//! | `right_missing` | it holds the right for no site, or the operator does so no more |
//! | `out_of_scope` | it holds the right, but not for this device or site |
//! | `stale` | the newest word from access is too old to decide by |

use std::sync::Arc;
use std::time::Duration;

use biscuit_auth::builder::{AuthorizerBuilder, Fact, Term, fact, string};
use biscuit_auth::error::{FailedCheck, Logic, RunLimit, Token};
use biscuit_auth::{Algorithm, Authorizer, AuthorizerLimits, Biscuit};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::routes::Need;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

use crate::clock::Clock;
use crate::follow::Freshness;
use crate::revocation::{Limit, RevocationSet};
use crate::trust::FormerBiscuitRoot;

mod blocks;
mod caller;
mod mint;
mod narrowing;
pub mod reach;
mod read;

pub use caller::{Caller, Resource};
pub use mint::{
    BiscuitRoot, Bounds, HOP_LIFE_MS, ProvedFor, SessionClaims, attenuate, mint_grant, mint_grant_within, mint_session,
    mint_session_within,
};
pub use narrowing::Narrowing;
pub use reach::{Reach, Sites};

use mint::seconds_down;
use read::read_caller;

/// Is how old access's newest head may be for a decision, in milliseconds.
pub const STALE_AFTER_MS: i64 = 5_000;

/// Bounds one run of the policy; the library's own 1 ms refuses valid tokens on a busy machine.
const LIMITS: AuthorizerLimits = AuthorizerLimits {
    max_facts: 4_000,
    max_iterations: 100,
    max_time: Duration::from_millis(20),
};

/// Is the longest token that is looked at; each block in it costs a signature's verification.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Is how much of a processor's time judging a token may take. A run is bounded by wall time, which a busy machine takes
/// away; such a run is made again. A token that its holder made costly uses this up.
const PROCESSOR_TIME: Duration = Duration::from_millis(60);

/// Says why a biscuit could not be made or read.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The library refused.
    #[error("the biscuit cannot be {did}")]
    Biscuit {
        /// What was tried.
        did: &'static str,
        /// What the library said; it repeats no token.
        #[source]
        source: Token,
    },
    /// The key is no Ed25519 key.
    #[error("the biscuit root's key is no Ed25519 key")]
    Key,
    /// The facts are not those that access writes.
    #[error("the biscuit's facts are not those of a session or a grant")]
    Facts,
}

fn failed(did: &'static str) -> impl FnOnce(Token) -> AuthError {
    move |source| AuthError::Biscuit { did, source }
}

fn text_fact(name: &str, text: &str) -> Fact {
    fact(name, &[string(text)])
}

/// Returns a service's policy as it is embedded.
pub const fn policy(service: Service) -> &'static str {
    match service {
        Service::Access => include_str!("../policies/access.datalog"),
        Service::Enrollment => include_str!("../policies/enrollment.datalog"),
        Service::Signing => include_str!("../policies/signing.datalog"),
        Service::Scheduler => include_str!("../policies/scheduler.datalog"),
        Service::Inventory => include_str!("../policies/inventory.datalog"),
        Service::Library => include_str!("../policies/library.datalog"),
        Service::Gateway => include_str!("../policies/gateway.datalog"),
    }
}

/// Decides for one service.
pub struct Authoriser {
    root: biscuit_auth::PublicKey,
    former: Vec<(biscuit_auth::PublicKey, Timestamp)>,
    service: Service,
    policy: AuthorizerBuilder,
    revoked: Arc<RevocationSet>,
    fresh: Option<Freshness>,
    clock: Arc<dyn Clock>,
}

/// Is one question to the [`Authoriser`].
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the verb needs.
    pub need: Need,
    /// Which device or site it touches, where that is known.
    pub resource: Option<&'a Resource>,
    /// The services on whose way here the biscuit may have been narrowed: those that may ask this verb.
    pub via: &'a [Service],
}

/// Says by which standing of its operator a biscuit is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// By what it is now.
    Now,
    /// By what it was when the biscuit was minted.
    AsMinted,
}

impl Authoriser {
    /// Makes the authoriser of a service.
    ///
    /// Errors: [`AuthError::Key`] for what is no key, [`AuthError::Biscuit`] when the embedded policy cannot be read.
    pub fn new(
        biscuit_root: PublicKey,
        service: Service,
        revoked: Arc<RevocationSet>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthError> {
        let root = biscuit_auth::PublicKey::from_bytes(biscuit_root.as_bytes(), Algorithm::Ed25519)
            .map_err(|_| AuthError::Key)?;
        let policy = AuthorizerBuilder::new()
            .code(policy(service))
            .map_err(failed("judged: its policy cannot be read"))?
            .set_limits(LIMITS);
        Ok(Self {
            root,
            former: Vec::new(),
            service,
            policy,
            revoked,
            fresh: None,
            clock,
        })
    }

    /// Lets what earlier biscuit roots signed count until their time is over.
    ///
    /// Errors: [`AuthError::Key`] for what is no key.
    pub fn with_former_roots(mut self, former: &[FormerBiscuitRoot]) -> Result<Self, AuthError> {
        for root in former {
            let key = biscuit_auth::PublicKey::from_bytes(root.key.as_bytes(), Algorithm::Ed25519)
                .map_err(|_| AuthError::Key)?;
            self.former.push((key, root.until));
        }
        Ok(self)
    }

    /// Lets it decide only while the word from access is fresh.
    #[must_use]
    pub fn with_freshness(mut self, fresh: Freshness) -> Self {
        self.fresh = Some(fresh);
        self
    }

    /// Decides whether a biscuit may do what is needed here.
    ///
    /// Errors: one code for each reason, see the module.
    pub fn authorise(
        &self,
        biscuit: Option<&str>,
        need: Need,
        resource: Option<&Resource>,
    ) -> Result<Caller, WireError> {
        self.decide(
            biscuit,
            Question {
                need,
                resource,
                via: &[],
            },
        )
    }

    /// Recognises a biscuit that was good when it was minted, whatever became of its operator since: for ending what it began.
    ///
    /// Errors: one code for each reason, see the module; never that something was revoked.
    pub fn recognise(&self, biscuit: Option<&str>, need: Need) -> Result<Caller, WireError> {
        let question = Question {
            need,
            resource: None,
            via: &[],
        };
        self.decide_by(biscuit, question, Standing::AsMinted)
    }

    /// Decides a question in full; see [`Authoriser::authorise`].
    ///
    /// Errors: one code for each reason, see the module.
    pub fn decide(&self, biscuit: Option<&str>, question: Question<'_>) -> Result<Caller, WireError> {
        self.decide_by(biscuit, question, Standing::Now)
    }

    /// Decides again for whoever was [recognised](Self::recognise) before: by the time, and by what was revoked since.
    ///
    /// Errors: `token_expired`, `token_revoked`, `right_missing`, `no_longer_permitted`, `stale`.
    pub fn still(&self, caller: &Caller, need: Need) -> Result<Caller, WireError> {
        if self.clock.now() >= caller.expires_at {
            return Err(WireError::new(Code::TokenExpired, "the token's time is over"));
        }
        let question = Question {
            need,
            resource: None,
            via: &[],
        };
        let caller = self.in_force(caller.clone(), caller.epoch)?.facing(need);
        still_permitted(&caller, question)?;
        Ok(caller)
    }

    fn decide_by(&self, biscuit: Option<&str>, question: Question<'_>, by: Standing) -> Result<Caller, WireError> {
        let text = biscuit.ok_or_else(|| WireError::new(Code::TokenMissing, "no token came with the request"))?;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(WireError::new(
                Code::TokenInvalid,
                "the token is larger than any that is minted",
            ));
        }
        let biscuit = self.open(text)?;
        let begun = processor_time();
        loop {
            match self.judge(&biscuit, question, by) {
                Err(Verdict::TookTooLong) if processor_time().saturating_sub(begun) < PROCESSOR_TIME => {}
                Err(Verdict::TookTooLong) => {
                    tracing::warn!("a token could not be judged in time");
                    return Err(WireError::new(
                        Code::Overloaded,
                        "the token could not be judged in time",
                    ));
                }
                Err(Verdict::Refused(error)) => return Err(error),
                Ok(caller) => return Ok(caller),
            }
        }
    }

    /// Verifies a biscuit's signatures with the root, or with a former one whose time is not over, and that its holder appended
    /// nothing that is costly to judge.
    fn open(&self, text: &str) -> Result<Biscuit, WireError> {
        let now = self.clock.now();
        let former = self.former.iter().filter(|(_, until)| now < *until).map(|(key, _)| key);
        let biscuit = std::iter::once(&self.root)
            .chain(former)
            .find_map(|root| Biscuit::from_base64(text, root).ok())
            .ok_or_else(|| WireError::new(Code::TokenInvalid, "the token was not minted by this deployment"))?;
        blocks::admit(&biscuit).map_err(|what| {
            WireError::new(
                Code::TokenInvalid,
                format!("its holder appended to the token what is not taken: {what}"),
            )
        })?;
        Ok(biscuit)
    }

    /// Names whoever a biscuit speaks for, whether or not it may do anything; for the audit of what is refused.
    ///
    /// Only what this deployment minted names anybody.
    pub fn speaker(&self, biscuit: Option<&str>) -> Option<Caller> {
        let text = biscuit.filter(|text| text.len() <= MAX_TOKEN_BYTES)?;
        let biscuit = self.open(text).ok()?;
        let question = Question {
            need: Need::Session,
            resource: None,
            via: &[],
        };
        let mut world = self.world(&biscuit, question).ok()?;
        read_caller(&mut world).ok().map(|(caller, _)| caller)
    }

    fn judge(&self, biscuit: &Biscuit, question: Question<'_>, by: Standing) -> Result<Caller, Verdict> {
        let mut world = self.world(biscuit, question)?;
        let verdict = world.authorize_with_limits(LIMITS);
        if let Err(error) = &verdict {
            if matches!(error, Token::RunLimit(RunLimit::Timeout)) {
                return Err(Verdict::TookTooLong);
            }
            if let Some(refusal) = failed_check(error) {
                return Err(Verdict::Refused(refusal));
            }
        }
        let (mut caller, epoch) = read_caller(&mut world).map_err(|error| match error {
            AuthError::Biscuit {
                source: Token::RunLimit(RunLimit::Timeout),
                ..
            } => Verdict::TookTooLong,
            _ => Verdict::Refused(WireError::new(
                Code::TokenInvalid,
                "the token's facts are not those of a session or a grant",
            )),
        })?;
        narrowing::apply(biscuit, &mut caller).map_err(|_| {
            WireError::new(
                Code::TokenInvalid,
                "the token was narrowed in a way that cannot be read",
            )
        })?;
        let held = caller.reach.clone();
        let caller = match by {
            Standing::Now => self.in_force(caller, epoch)?,
            Standing::AsMinted => caller,
        };
        let caller = caller.facing(question.need);
        if let Err(error) = &verdict {
            return Err(Verdict::Refused(refused(error, &held, question.need)));
        }
        still_permitted(&caller, question)?;
        Ok(caller)
    }

    fn world(&self, biscuit: &Biscuit, question: Question<'_>) -> Result<Authorizer, WireError> {
        let now = Term::Date(seconds_down(self.clock.now()));
        let action = question.need.as_str();
        let mut facts = vec![
            fact("time", &[now]),
            text_fact("service", self.service.name()),
            text_fact("action", action),
            text_fact("need", action),
        ];
        facts.extend(question.via.iter().map(|s| text_fact("service", s.name())));
        match question.resource {
            Some(resource) => {
                let guid = resource.guid.map(|g| g.to_string()).unwrap_or_default();
                facts.push(fact("resource", &[string(&guid), string(resource.site.as_str())]));
            }
            None => facts.push(text_fact("scope", "any")),
        }
        let mut builder = self.policy.clone();
        for fact in facts {
            builder = builder.fact(fact).map_err(unreadable)?;
        }
        builder.build(biscuit).map_err(unreadable)
    }

    /// Takes away what was revoked since the biscuit was minted.
    fn in_force(&self, mut caller: Caller, epoch: u64) -> Result<Caller, WireError> {
        if let Some(fresh) = &self.fresh
            && !fresh.within(STALE_AFTER_MS)
        {
            return Err(WireError::new(
                Code::Stale,
                "the newest word from access on who may do what is too old to decide by",
            ));
        }
        let grant_over = caller.grant.is_some_and(|grant| self.revoked.grant_revoked(&grant));
        // A grant survives the log-out of its author, but not the API token that asked for it.
        let session_over = (caller.grant.is_none() || caller.is_token) && self.revoked.session_ended(&caller.session);
        match self.revoked.limit(&caller.operator, epoch) {
            Limit::None if !grant_over && !session_over => {}
            Limit::To(limit) if !grant_over && !session_over => caller.reach = reach::meet(&caller.reach, &limit),
            _ => {
                return Err(WireError::new(
                    Code::TokenRevoked,
                    "the token's session or grant is over",
                ));
            }
        }
        Ok(caller)
    }
}

/// Checks a biscuit that was good when it was minted against what its operator may do now.
fn still_permitted(caller: &Caller, question: Question<'_>) -> Result<(), WireError> {
    let Need::Right(right) = question.need else {
        return Ok(());
    };
    if !caller.reach.contains_key(&right) {
        let text = format!("the right {} is held no more", right.as_str());
        let code = if caller.grant.is_some() {
            Code::NoLongerPermitted
        } else {
            Code::RightMissing
        };
        return Err(WireError::new(code, text));
    }
    match question.resource {
        Some(resource) => {
            let reached = match &resource.guid {
                Some(guid) => caller.may_on(right, &resource.site, guid),
                None => caller.may(right, &resource.site),
            };
            if reached { Ok(()) } else { Err(beyond()) }
        }
        None => Ok(()),
    }
}

pub(crate) fn beyond() -> WireError {
    WireError::new(Code::OutOfScope, "the rights do not reach this device or site")
}

/// Returns how long this thread had a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

enum Verdict {
    TookTooLong,
    Refused(WireError),
}

impl From<WireError> for Verdict {
    fn from(error: WireError) -> Self {
        Verdict::Refused(error)
    }
}

fn unreadable(_: Token) -> WireError {
    WireError::new(Code::TokenInvalid, "the token cannot be read")
}

/// Names the check that failed; the first of time, service, action, other.
fn failed_check(error: &Token) -> Option<WireError> {
    let checks = match error {
        Token::FailedLogic(Logic::Unauthorized { checks, .. } | Logic::NoMatchingPolicy { checks }) => checks,
        _ => return None,
    };
    let rules: Vec<&str> = checks
        .iter()
        .map(|check| match check {
            FailedCheck::Block(block) => block.rule.as_str(),
            FailedCheck::Authorizer(own) => own.rule.as_str(),
        })
        .collect();
    let about = |name: &str| rules.iter().any(|rule| rule.contains(name));
    let (code, text) = match () {
        () if rules.is_empty() => return None,
        () if about("time(") => (Code::TokenExpired, "the token's time is over"),
        () if about("service(") => (Code::WrongService, "the token was narrowed to another service"),
        () if about("action(") => (Code::WrongAction, "the token was narrowed to another action"),
        () => (Code::OutOfScope, "the token was narrowed to something else"),
    };
    Some(WireError::new(code, text))
}

fn refused(error: &Token, held: &Reach, need: Need) -> WireError {
    if !matches!(error, Token::FailedLogic(_)) {
        tracing::warn!(%error, "a token could not be judged within the limits");
        return WireError::new(Code::TokenInvalid, "the token is too large to be judged");
    }
    match need {
        Need::Right(right) if !held.contains_key(&right) => {
            WireError::new(Code::RightMissing, format!("the right {} is missing", right.as_str()))
        }
        _ => beyond(),
    }
}

#[cfg(test)]
mod tests;
