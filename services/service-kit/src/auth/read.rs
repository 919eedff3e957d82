//! How the facts of a verified biscuit are read.

use std::collections::BTreeSet;

use biscuit_auth::Authorizer;
use biscuit_auth::builder::{Fact, Rule, Term, pred, rule, var};
use borealis_bus_schema::time::Timestamp;

use super::{AuthError, Caller, ProvedFor, Reach, Sites, failed};

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
pub(super) fn read_caller(world: &mut Authorizer) -> Result<(Caller, u64), AuthError> {
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
    let proved_for = match (one_text(world, "proved_for")?, one_date(world, "proved_for_at")?) {
        (Some(text), Some(at)) => {
            let mut act = [0u8; 32];
            hex::decode_to_slice(text, &mut act).map_err(|_| AuthError::Facts)?;
            Some(ProvedFor { act, at })
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
    let limits: Vec<(String, i64)> = world.query(every("max_devices", &["s", "n"])).map_err(failed("read"))?;
    let limits = limits.into_iter().map(|(site, number)| match number {
        i64::MAX => Ok((site, None)),
        number => u64::try_from(number).map(|number| (site, Some(number))),
    });
    let limits: Vec<_> = limits.collect::<Result<_, _>>().map_err(|_| AuthError::Facts)?;
    reach.limit_by(&limits)?;
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
        proved_for,
        grant: grant.map(|text| parsed(Some(text))).transpose()?,
        call_digest,
    };
    Ok((caller, epoch))
}
