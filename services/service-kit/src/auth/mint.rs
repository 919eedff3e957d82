//! How access mints biscuits, and how each hop narrows them.

use std::collections::BTreeSet;

use biscuit_auth::builder::{BiscuitBuilder, BlockBuilder, Term, fact, string};
use biscuit_auth::{Algorithm, Biscuit, KeyPair, PrivateKey, UnverifiedBiscuit};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{GrantId, Guid, OperatorId, SessionId};
use borealis_bus_schema::routes::Need;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use ed25519_dalek::SigningKey;

use super::{AuthError, Narrowing, Reach, failed, text_fact};

/// Is how long a hop's attenuated biscuit lives, in milliseconds.
pub const HOP_LIFE_MS: i64 = 30_000;

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
    /// When password or passkey was last proved in the session.
    pub proved_at: Option<Timestamp>,
    /// The one request for which a passkey was asked.
    pub proved_for: Option<ProvedFor>,
}

/// Is a proof that serves for one request and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvedFor {
    /// The request, see [`OperatorCall::act`](borealis_bus_schema::operator::OperatorCall::act).
    pub act: [u8; 32],
    /// When it was proved.
    pub at: Timestamp,
}

/// Mints a session's biscuit, base64url.
///
/// Shape: `operator(hex); username(text); session(hex); session_key(base64url); right(site or "*", right)…;
/// expires(time); epoch(number); check if time($t), $t < expires`. No `epoch` is the first one, 0. An API token has `token(id)`
/// besides, and `only_device(guid)…` where it is for some devices; a log-in has `proved(time)`, or, where a passkey
/// was asked for one request, `proved_for(hex); proved_for_at(time)`. Where jobs are limited,
/// `max_devices(site or "*", number)…` says how many devices one may have without another operator's approval: the largest
/// number that fits a site counts, and one of 2^63 - 1 stands for none.
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
    if let Some(proved) = bounds.proved_for {
        facts.push(text_fact("proved_for", &hex::encode(proved.act)));
        facts.push(fact("proved_for_at", &[Term::Date(seconds_down(proved.at))]));
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
    for (site, limit) in claims.rights.limit_pairs() {
        let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX);
        facts.push(fact("max_devices", &[string(&site), Term::Integer(limit)]));
    }
    let mut builder = Biscuit::builder();
    for fact in facts {
        builder = builder.fact(fact).map_err(failed("minted"))?;
    }
    let check = format!("check if time($t), $t < {}", date(claims.expires_at));
    builder.check(check.as_str()).map_err(failed("minted"))
}

pub(super) fn finish(root: &BiscuitRoot, builder: BiscuitBuilder) -> Result<String, AuthError> {
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

pub(super) fn seconds_down(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ms().div_euclid(1000)).unwrap_or(0)
}

fn date(at: Timestamp) -> String {
    let ms = i64::try_from(seconds_up(at)).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp::from_unix_ms(ms).to_string().replace(".000Z", "Z")
}
