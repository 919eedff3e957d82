//! Lists by time: the newest first, page by page, of what a caller may see.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use borealis_bus_schema::time::Timestamp;
use parking_lot::RwLock;

/// Is where something stands in a list: when it was made, and its id.
pub type Place<I> = (Timestamp, I);

/// Is how many are looked at while the locks are held.
const LOOKED_AT: usize = 256;

/// Lists what a filter lets through, newest first, behind a place, at most `limit`.
///
/// The filter may look at thousands of devices: no lock is held meanwhile.
pub fn newest<I: Copy + Ord + Hash, T>(
    by_time: &RwLock<BTreeSet<Place<I>>>,
    all: &RwLock<HashMap<I, Arc<T>>>,
    before: Option<Place<I>>,
    limit: usize,
    sees: impl Fn(&T) -> bool,
) -> Vec<(Place<I>, Arc<T>)> {
    let (mut found, mut before) = (Vec::new(), before);
    while found.len() < limit {
        let some: Vec<(Place<I>, Arc<T>)> = {
            let (by_time, all) = (by_time.read(), all.read());
            let end = before.map_or(Bound::Unbounded, Bound::Excluded);
            let places = by_time.range((Bound::Unbounded, end)).rev();
            places
                .filter_map(|place| Some((*place, all.get(&place.1).cloned()?)))
                .take(LOOKED_AT)
                .collect()
        };
        let Some((last, _)) = some.last() else { break };
        before = Some(*last);
        let missing = limit - found.len();
        found.extend(some.into_iter().filter(|(_, each)| sees(each)).take(missing));
    }
    found
}

/// Cuts a page of `limit` out of one more than that, which tells whether something is behind it; returns where to go on, too.
pub fn cut<I: Copy + Display, T>(mut found: Vec<(Place<I>, Arc<T>)>, limit: usize) -> (Vec<Arc<T>>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = |((at, id), _): &(Place<I>, Arc<T>)| format!("{}.{id}", at.unix_ms());
    let next = found.last().filter(|_| more).map(cursor);
    (found.into_iter().map(|(_, each)| each).collect(), next)
}

/// Reads a cursor; none when it is none that a list gave.
pub fn read_cursor<I: FromStr>(text: &str) -> Option<Place<I>> {
    let (at_ms, id) = text.split_once('.')?;
    Some((Timestamp::from_unix_ms(at_ms.parse().ok()?), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_behind_the_last_that_was_seen() {
        let place = |n: i64| (Timestamp::from_unix_ms(n / 2), n);
        let by_time = RwLock::new((0..1_000).map(place).collect());
        let all = RwLock::new((0..1_000).map(|n| (n, Arc::new(n))).collect());
        let thirds = |n: &i64| n % 3 == 0;
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let found = newest(&by_time, &all, before, 8, thirds);
            let (items, next) = cut(found, 7);
            seen.extend(items.iter().map(|n| **n));
            let Some(cursor) = next else { break };
            before = read_cursor(&cursor);
            assert!(before.is_some());
        }
        let expected: Vec<i64> = (0..1_000).rev().filter(thirds).collect();
        assert_eq!(seen, expected);
        for text in ["", "1", "x.1", "1.x"] {
            assert_eq!(read_cursor::<i64>(text), None, "{text}");
        }
    }
}
