//! Who may do what: every service verifies biscuits itself and decides by its own policy (`policies/<service>.datalog`).
//!
//! A biscuit is minted by access ([`mint_session`], [`mint_grant`]) and narrowed by each hop ([`attenuate`]) to one service,
//! one action and thirty seconds. [`Authoriser::authorise`] verifies its signature with the biscuit root, runs its checks and
//! the service's policy, looks the session up among the revoked, and names what is wrong by a code of its own.
//!
//! Whoever holds an API token narrows it further by blocks of their own ([`Narrowing`]): to some rights, sites or devices. Such
//! a block can only take away. What it says is read block by block and taken from the caller's reach, so that lists and
//! targets shrink with it too.
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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use biscuit_auth::builder::{
    AuthorizerBuilder, BiscuitBuilder, BlockBuilder, Fact, Rule, Term, fact, pred, rule, string, var,
};
use biscuit_auth::error::{FailedCheck, Logic, RunLimit, Token};
use biscuit_auth::{Algorithm, Authorizer, AuthorizerLimits, Biscuit, KeyPair, PrivateKey, UnverifiedBiscuit};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{GrantId, Guid, OperatorId, SessionId, SiteName};
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::clock::Clock;
use crate::follow::Freshness;
use crate::revocation::{Limit, RevocationSet};
use crate::trust::FormerBiscuitRoot;

mod narrowing;
pub mod reach;

pub use narrowing::Narrowing;
pub use reach::{Reach, Sites};

/// Is how long a hop's attenuated biscuit lives, in milliseconds.
pub const HOP_LIFE_MS: i64 = 30_000;

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

/// Is how often a token is judged again when the machine took the time away.
const TRIES: u32 = 3;

/// Is whoever a biscuit speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The operator; a grant's author.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// The session; for a grant the one in which it was asked for.
    pub session: SessionId,
    /// The key that signs this session's changing requests.
    pub session_key: PublicKey,
    /// The rights held anywhere.
    pub rights: BTreeSet<Right>,
    /// The sites that the right in question reaches; of every right where none was in question.
    pub sites: Sites,
    /// The sites of each right.
    pub reach: Reach,
    /// When the biscuit ends at the latest.
    pub expires_at: Timestamp,
    /// The devices that the biscuit is narrowed to; none where it is not narrowed.
    pub devices: Option<BTreeSet<Guid>>,
    /// Whether the biscuit is an API token, or the grant of one.
    pub is_token: bool,
    /// The operator's epoch when it was minted.
    pub epoch: u64,
    /// When the password was last proved in the session, as far as the biscuit says.
    pub proved_at: Option<Timestamp>,
    /// The grant, when the biscuit is one.
    pub grant: Option<GrantId>,
    /// The digest of the signed request and its command that the grant covers, when the biscuit is one.
    pub call_digest: Option<[u8; 32]>,
}

impl Caller {
    /// Tells whether the caller holds a right on a site.
    pub fn may(&self, right: Right, site: &SiteName) -> bool {
        self.reach.get(&right).is_some_and(|sites| sites.reach(site))
    }

    /// Tells whether the caller holds a right on a device of a site.
    pub fn may_on(&self, right: Right, site: &SiteName, guid: &Guid) -> bool {
        self.may(right, site) && self.devices.as_ref().is_none_or(|devices| devices.contains(guid))
    }

    /// Tells whether the caller holds a right on every device of every site.
    pub fn may_on_all(&self, right: Right) -> bool {
        self.may_everywhere(right) && self.devices.is_none()
    }

    /// Tells whether the caller holds a right on every site, also those to come.
    pub fn may_everywhere(&self, right: Right) -> bool {
        self.reach.get(&right) == Some(&Sites::All)
    }

    /// Takes away what another word on the same caller does not hold.
    #[must_use]
    pub fn within(mut self, reach: &Reach, need: Need) -> Self {
        self.reach = reach::meet(&self.reach, reach);
        self.facing(need)
    }

    /// Fills in what follows from the reach for whatever is needed.
    fn facing(mut self, need: Need) -> Self {
        self.rights = self.reach.keys().copied().collect();
        self.sites = match need {
            Need::Right(right) => self.reach.get(&right).cloned().unwrap_or_else(Sites::none),
            Need::Public | Need::Session => self.reach.values().fold(Sites::none(), |all, sites| all.join(sites)),
        };
        self
    }
}

/// Is a device with its site, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The device; none where only the site matters.
    pub guid: Option<Guid>,
    /// Its site.
    pub site: SiteName,
}

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

/// Holds the private key that signs biscuits; only access has it.
pub struct BiscuitRoot(KeyPair);

impl BiscuitRoot {
    /// Takes the key as it stands in `biscuit_root.ed25519`.
    ///
    /// Errors: [`AuthError::Key`].
    pub fn new(key: &SigningKey) -> Result<Self, AuthError> {
        let bytes = zeroize::Zeroizing::new(key.to_bytes());
        let private = PrivateKey::from_bytes(bytes.as_slice(), Algorithm::Ed25519).map_err(|_| AuthError::Key)?;
        Ok(Self(KeyPair::from(&private)))
    }

    /// Returns the key with which services verify.
    pub fn public(&self) -> Result<PublicKey, AuthError> {
        let bytes = self.0.public().to_bytes();
        <[u8; 32]>::try_from(bytes.as_slice())
            .map(PublicKey::from_bytes)
            .map_err(|_| AuthError::Key)
    }
}

/// Is what access says of a log-in.
#[derive(Debug, Clone)]
pub struct SessionClaims {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// The session.
    pub session: SessionId,
    /// The key that signs the session's changing requests.
    pub session_key: PublicKey,
    /// What the operator may do, and where.
    pub rights: Reach,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
}

/// Is what binds a biscuit besides its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The epoch of its operator: how often the operator's standing had changed when it was minted.
    pub epoch: u64,
    /// The devices that it is for; none where it is for all that its sites have.
    pub devices: Option<BTreeSet<Guid>>,
    /// Whether it is an API token, or the grant of one.
    pub is_token: bool,
    /// When the password was last proved in the session.
    pub proved_at: Option<Timestamp>,
}

/// Mints a session's biscuit, base64url.
///
/// Shape: `operator(hex); username(text); session(hex); session_key(base64url); right(site or "*", right)…;
/// expires(time); epoch(number); check if time($t), $t < expires`. No `epoch` is the first one, 0. An API token has `token(id)`
/// besides, and `only_device(guid)…` where it is for some devices; a log-in has `proved(time)`.
///
/// Errors: [`AuthError::Biscuit`].
pub fn mint_session(root: &BiscuitRoot, claims: &SessionClaims) -> Result<String, AuthError> {
    mint_session_within(root, claims, &Bounds::default())
}

/// Mints a session's biscuit within bounds; see [`mint_session`].
///
/// Errors: [`AuthError::Biscuit`].
pub fn mint_session_within(root: &BiscuitRoot, claims: &SessionClaims, bounds: &Bounds) -> Result<String, AuthError> {
    let builder = session_facts(claims, bounds, "operator")?;
    finish(root, builder)
}

/// Mints a grant's biscuit, base64url: the session's facts as they were, the author, the grant and what it covers.
///
/// Shape: as [`mint_session`] with `author(hex)` instead of `operator(hex)`, and `grant(hex); call_digest(hex)`.
///
/// Errors: [`AuthError::Biscuit`].
pub fn mint_grant(
    root: &BiscuitRoot,
    claims: &SessionClaims,
    grant: GrantId,
    call_digest: &[u8; 32],
) -> Result<String, AuthError> {
    mint_grant_within(root, claims, grant, call_digest, &Bounds::default())
}

/// Mints a grant's biscuit within bounds; see [`mint_grant`].
///
/// Errors: [`AuthError::Biscuit`].
pub fn mint_grant_within(
    root: &BiscuitRoot,
    claims: &SessionClaims,
    grant: GrantId,
    call_digest: &[u8; 32],
    bounds: &Bounds,
) -> Result<String, AuthError> {
    let builder = session_facts(claims, bounds, "author")?
        .fact(text_fact("grant", &grant.to_string()))
        .and_then(|b| b.fact(text_fact("call_digest", &hex::encode(call_digest))))
        .map_err(failed("minted"))?;
    finish(root, builder)
}

fn text_fact(name: &str, text: &str) -> Fact {
    fact(name, &[string(text)])
}

fn session_facts(claims: &SessionClaims, bounds: &Bounds, who: &str) -> Result<BiscuitBuilder, AuthError> {
    let mut facts = vec![
        text_fact(who, &claims.operator.to_string()),
        text_fact("username", &claims.username),
        text_fact("session", &claims.session.to_string()),
        text_fact("session_key", &claims.session_key.to_string()),
        fact("expires", &[Term::Date(seconds_up(claims.expires_at))]),
        fact(
            "epoch",
            &[Term::Integer(i64::try_from(bounds.epoch).unwrap_or(i64::MAX))],
        ),
    ];
    if bounds.is_token {
        facts.push(text_fact("token", &claims.session.to_string()));
    }
    if let Some(proved_at) = bounds.proved_at {
        // Rounded down: never fresher than it is.
        facts.push(fact("proved", &[Term::Date(seconds_down(proved_at))]));
    }
    let narrowing = Narrowing {
        devices: bounds.devices.clone(),
        ..Narrowing::default()
    };
    facts.extend(narrowing.facts());
    for (right, sites) in &claims.rights {
        for site in sites.names() {
            facts.push(fact("right", &[string(&site), string(right.as_str())]));
        }
    }
    let mut builder = Biscuit::builder();
    for fact in facts {
        builder = builder.fact(fact).map_err(failed("minted"))?;
    }
    let check = format!("check if time($t), $t < {}", date(claims.expires_at));
    builder.check(check.as_str()).map_err(failed("minted"))
}

fn finish(root: &BiscuitRoot, builder: BiscuitBuilder) -> Result<String, AuthError> {
    builder
        .build(&root.0)
        .and_then(|biscuit| biscuit.to_base64())
        .map_err(failed("minted"))
}

/// Narrows a biscuit to one service, one action and a time to live of milliseconds; needs no key.
///
/// Shape: `check if service(name); check if action(text); check if time($t), $t < end`. Biscuits count time in whole seconds,
/// so the end is rounded up.
///
/// Errors: [`AuthError::Biscuit`] for what is no biscuit.
pub fn attenuate(
    biscuit: &str,
    service: Service,
    action: Need,
    now: Timestamp,
    life_ms: i64,
) -> Result<String, AuthError> {
    let checks = [
        format!("check if service(\"{service}\")"),
        format!("check if action(\"{}\")", action.as_str()),
        format!("check if time($t), $t < {}", date(now.plus_ms(life_ms))),
    ];
    let mut block = BlockBuilder::new();
    for check in &checks {
        block = block.check(check.as_str()).map_err(failed("narrowed"))?;
    }
    UnverifiedBiscuit::from_base64(biscuit)
        .and_then(|biscuit| biscuit.append(block))
        .and_then(|biscuit| biscuit.to_base64())
        .map_err(failed("narrowed"))
}

/// Rounds an instant up to the whole seconds that biscuits count in.
fn seconds_up(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ms().saturating_add(999).div_euclid(1000)).unwrap_or(0)
}

fn seconds_down(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ms().div_euclid(1000)).unwrap_or(0)
}

fn date(at: Timestamp) -> String {
    let ms = i64::try_from(seconds_up(at)).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp::from_unix_ms(ms).to_string().replace(".000Z", "Z")
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

    fn decide_by(&self, biscuit: Option<&str>, question: Question<'_>, by: Standing) -> Result<Caller, WireError> {
        let text = biscuit.ok_or_else(|| WireError::new(Code::TokenMissing, "no token came with the request"))?;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(WireError::new(
                Code::TokenInvalid,
                "the token is larger than any that is minted",
            ));
        }
        let biscuit = self.open(text)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.judge(&biscuit, question, by) {
                // Wall time counts in a run; a loaded machine may take it away.
                Err(Verdict::TookTooLong) if tries < TRIES => {}
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

    /// Verifies a biscuit's signatures with the root, or with a former one whose time is not over.
    fn open(&self, text: &str) -> Result<Biscuit, WireError> {
        let now = self.clock.now();
        let former = self.former.iter().filter(|(_, until)| now < *until).map(|(key, _)| key);
        std::iter::once(&self.root)
            .chain(former)
            .find_map(|root| Biscuit::from_base64(text, root).ok())
            .ok_or_else(|| WireError::new(Code::TokenInvalid, "the token was not minted by this deployment"))
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

/// Asks for all facts of a name; made without text, since parsing it would cost more than the answer.
fn every(name: &str, terms: &[&str]) -> Rule {
    let terms: Vec<Term> = terms.iter().map(|term| var(term)).collect();
    rule("data", &terms, &[pred(name, &terms)])
}

fn one_text(world: &mut Authorizer, name: &str) -> Result<Option<String>, AuthError> {
    let found: Vec<(String,)> = world.query(every(name, &["x"])).map_err(failed("read"))?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (first, None) => Ok(first.map(|(text,)| text)),
        _ => Err(AuthError::Facts),
    }
}

/// Reads a number; none is 0.
fn one_number(world: &mut Authorizer, name: &str) -> Result<u64, AuthError> {
    let found: Vec<(i64,)> = world.query(every(name, &["x"])).map_err(failed("read"))?;
    match found.as_slice() {
        [] => Ok(0),
        [(number,)] => u64::try_from(*number).map_err(|_| AuthError::Facts),
        _ => Err(AuthError::Facts),
    }
}

/// Reads an instant.
fn one_date(world: &mut Authorizer, name: &str) -> Result<Option<Timestamp>, AuthError> {
    let found: Vec<Fact> = world.query(every(name, &["x"])).map_err(failed("read"))?;
    match found.as_slice() {
        [] => Ok(None),
        [date] => match date.predicate.terms.as_slice() {
            [Term::Date(seconds)] => {
                let ms = i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000);
                Ok(Some(Timestamp::from_unix_ms(ms)))
            }
            _ => Err(AuthError::Facts),
        },
        _ => Err(AuthError::Facts),
    }
}

fn parsed<T: std::str::FromStr>(text: Option<String>) -> Result<T, AuthError> {
    text.and_then(|t| t.parse().ok()).ok_or(AuthError::Facts)
}

/// Reads the authority block's facts, and the epoch; facts of later blocks are not visible to these queries.
fn read_caller(world: &mut Authorizer) -> Result<(Caller, u64), AuthError> {
    let grant: Option<String> = one_text(world, "grant")?;
    let who = if grant.is_some() { "author" } else { "operator" };
    let operator = parsed(one_text(world, who)?)?;
    let session = parsed(one_text(world, "session")?)?;
    let session_key = parsed(one_text(world, "session_key")?)?;
    let username = one_text(world, "username")?.ok_or(AuthError::Facts)?;
    let call_digest = match (&grant, one_text(world, "call_digest")?) {
        (Some(_), Some(text)) => {
            let mut digest = [0u8; 32];
            hex::decode_to_slice(text, &mut digest).map_err(|_| AuthError::Facts)?;
            Some(digest)
        }
        (None, None) => None,
        _ => return Err(AuthError::Facts),
    };
    let expires_at = one_date(world, "expires")?.ok_or(AuthError::Facts)?;
    let pairs: Vec<(String, String)> = world.query(every("right", &["s", "r"])).map_err(failed("read"))?;
    let mut reach = Reach::new();
    for (site, right) in pairs {
        // A right of a newer version is none of this one's.
        if let Ok(right) = right.parse() {
            reach.entry(right).or_insert_with(Sites::none).add(&site)?;
        }
    }
    let epoch = one_number(world, "epoch")?;
    let caller = Caller {
        operator,
        username,
        session,
        session_key,
        rights: BTreeSet::new(),
        sites: Sites::none(),
        reach,
        expires_at,
        devices: None,
        is_token: one_text(world, "token")?.is_some(),
        epoch,
        proved_at: one_date(world, "proved")?,
        grant: grant.map(|text| parsed(Some(text))).transpose()?,
        call_digest,
    };
    Ok((caller, epoch))
}

#[cfg(test)]
mod tests;
