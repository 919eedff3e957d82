//! When which run is to be looked at again: a timer queue without a timer.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Holds at most one appointment per key.
#[derive(Debug)]
pub struct Agenda<K> {
    due: BTreeSet<(i64, K)>,
    at: HashMap<K, i64>,
}

impl<K: Copy + Ord + Hash> Agenda<K> {
    /// Makes an empty agenda.
    pub fn new() -> Self {
        Self {
            due: BTreeSet::new(),
            at: HashMap::new(),
        }
    }

    /// Sets a key's appointment, in Unix milliseconds, instead of the one it had.
    pub fn set(&mut self, key: K, at_ms: i64) {
        if let Some(before) = self.at.insert(key, at_ms) {
            self.due.remove(&(before, key));
        }
        self.due.insert((at_ms, key));
    }

    /// Moves a key's appointment forward to a time, unless it is due sooner.
    pub fn hasten(&mut self, key: K, at_ms: i64) {
        if self.at.get(&key).is_none_or(|before| *before > at_ms) {
            self.set(key, at_ms);
        }
    }

    /// Strikes a key's appointment out.
    pub fn remove(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.due.remove(&(at, *key));
        }
    }

    /// Takes out every key that is due, soonest first, at most `limit`.
    pub fn take_due(&mut self, now_ms: i64, limit: usize) -> Vec<K> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            match self.due.first() {
                Some((at, key)) if *at <= now_ms => {
                    let key = *key;
                    self.due.pop_first();
                    self.at.remove(&key);
                    taken.push(key);
                }
                _ => break,
            }
        }
        taken
    }

    /// Tells when the next appointment is.
    pub fn next_ms(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Tells how many appointments there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

impl<K: Copy + Ord + Hash> Default for Agenda<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_appointment() {
        let mut agenda = Agenda::new();
        agenda.set('a', 10);
        agenda.set('a', 5);
        agenda.set('b', 7);
        assert_eq!((agenda.len(), agenda.next_ms()), (2, Some(5)));
        assert_eq!(agenda.take_due(6, 9), vec!['a']);
        assert_eq!(agenda.take_due(20, 9), vec!['b']);
        assert!(agenda.is_empty());
    }

    #[test]
    fn hasten_never_delays() {
        let mut agenda = Agenda::new();
        agenda.set('a', 5);
        agenda.hasten('a', 9);
        assert_eq!(agenda.next_ms(), Some(5));
        agenda.hasten('a', 1);
        assert_eq!(agenda.next_ms(), Some(1));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut agenda = Agenda::new();
        for key in 0..10 {
            agenda.set(key, 0);
        }
        assert_eq!(agenda.take_due(0, 4), vec![0, 1, 2, 3]);
        assert_eq!(agenda.len(), 6);
    }
}
