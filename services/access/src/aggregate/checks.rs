//! What decisions of several kinds check alike.

use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::{Reach, Sites, reach};

use super::{Actor, Rejection, State};

/// Is the longest description or reason that is kept, in characters.
pub const MAX_TEXT_CHARS: usize = 400;

/// Is how many pairs of a right and a site an operator's roles may name: the token has to fit a cookie.
pub const MAX_PAIRS: usize = 150;

pub(super) fn narrow_enough(reach: &Reach) -> Result<(), Rejection> {
    let pairs: usize = reach
        .values()
        .map(|sites| match sites {
            Sites::All => 1,
            Sites::Some(some) => some.len(),
        })
        .sum();
    if pairs > MAX_PAIRS {
        Err(Rejection::TooWide)
    } else {
        Ok(())
    }
}

/// Returns what an actor may hand on: what the token in use holds and the operator still does.
///
/// Errors: [`Rejection::OperatorUnknown`]; [`Rejection::RightMissing`] unless the right needed reaches every site.
pub(super) fn hand(state: &State, by: &Actor, needed: Right) -> Result<Reach, Rejection> {
    let held = reach::meet(&by.reach, &state.standing(&by.operator)?.reach);
    if held.get(&needed) == Some(&Sites::All) {
        Ok(held)
    } else {
        Err(Rejection::RightMissing(needed))
    }
}

pub(super) fn within(held: &Reach, asked: &Reach) -> Result<(), Rejection> {
    if reach::covers(held, asked) {
        Ok(())
    } else {
        Err(Rejection::ExceedsOwnRights)
    }
}

pub(super) fn short(text: String) -> Result<String, Rejection> {
    if text.chars().count() > MAX_TEXT_CHARS {
        Err(Rejection::TextTooLong)
    } else {
        Ok(text)
    }
}
