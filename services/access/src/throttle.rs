//! How often a password may be tried: per user and per address, in a sliding window of a quarter of an hour.
//!
//! With OPAQUE the answer to a log-in's first message already lets the other side test one password, so first messages are
//! counted, not failures; a log-in that succeeds gives its attempt back. Of a user's attempts some are kept for addresses
//! from which anybody logged in before, so that strangers who use up the rest lock nobody out; whose address it is does not
//! count, or the number of attempts would tell which names exist. The address is that of
//! the connection; no header counts. An IPv6 address counts by its /64.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use borealis_bus_schema::time::Timestamp;

/// Is the window, in milliseconds: 15 minutes.
pub const WINDOW_MS: i64 = 15 * 60_000;

/// Is how many attempts a user has in a window.
pub const PER_USER: usize = 10;

/// Is how many of them strangers' addresses may use.
pub const PER_USER_FROM_STRANGERS: usize = 7;

/// Is how many attempts an address has in a window, whoever it names.
pub const PER_PEER: usize = 60;

/// Is how many users or addresses are counted at once; beyond it the stalest are forgotten.
const MAX_COUNTED: usize = 20_000;

/// Says when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next is possible in {retry_after_ms} ms")]
pub struct Throttled {
    /// In how many milliseconds an attempt is possible again.
    pub retry_after_ms: i64,
}

/// Names an admitted attempt, so that it can be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    user: String,
    peer: String,
    known: bool,
    at: Timestamp,
}

/// Counts attempts.
#[derive(Debug, Default)]
pub struct Throttle {
    users: Counters,
    strangers: Counters,
    peers: Counters,
}

#[derive(Debug, Default)]
struct Counters(BTreeMap<String, VecDeque<Timestamp>>);

impl Throttle {
    /// Admits an attempt, or says when to come again. A refused attempt is not counted.
    ///
    /// `known` tells that somebody logged in from this address before.
    ///
    /// Errors: [`Throttled`].
    pub fn admit(&mut self, user: &str, peer: &str, known: bool, now: Timestamp) -> Result<Attempt, Throttled> {
        let peer = peer_key(peer);
        self.users.check(user, PER_USER, now)?;
        if !known {
            self.strangers.check(user, PER_USER_FROM_STRANGERS, now)?;
            self.strangers.count(user, now);
        }
        if let Err(refused) = self.peers.check(&peer, PER_PEER, now) {
            if !known {
                self.strangers.give_back(user, now);
            }
            return Err(refused);
        }
        self.users.count(user, now);
        self.peers.count(&peer, now);
        Ok(Attempt {
            user: user.to_owned(),
            peer,
            known,
            at: now,
        })
    }

    /// Admits an attempt of which nobody knows whose it is: it counts for the address alone.
    ///
    /// Errors: [`Throttled`].
    pub fn admit_peer(&mut self, peer: &str, now: Timestamp) -> Result<Attempt, Throttled> {
        let peer = peer_key(peer);
        self.peers.check(&peer, PER_PEER, now)?;
        self.peers.count(&peer, now);
        Ok(Attempt {
            user: String::new(),
            peer,
            known: true,
            at: now,
        })
    }

    /// Gives the attempt of a log-in that succeeded back.
    pub fn give_back(&mut self, attempt: &Attempt) {
        self.users.give_back(&attempt.user, attempt.at);
        if !attempt.known {
            self.strangers.give_back(&attempt.user, attempt.at);
        }
        self.peers.give_back(&attempt.peer, attempt.at);
    }
}

impl Counters {
    fn check(&mut self, key: &str, limit: usize, now: Timestamp) -> Result<(), Throttled> {
        let Some(times) = self.0.get_mut(key) else {
            return Ok(());
        };
        while times.front().is_some_and(|first| now.since_ms(*first) >= WINDOW_MS) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= limit => Err(Throttled {
                retry_after_ms: WINDOW_MS.saturating_sub(now.since_ms(*first)),
            }),
            _ => Ok(()),
        }
    }

    fn count(&mut self, key: &str, now: Timestamp) {
        if !self.0.contains_key(key) && self.0.len() >= MAX_COUNTED {
            self.make_room(now);
        }
        self.0.entry(key.to_owned()).or_default().push_back(now);
    }

    fn give_back(&mut self, key: &str, at: Timestamp) {
        if let Some(times) = self.0.get_mut(key)
            && let Some(place) = times.iter().position(|time| *time == at)
        {
            times.remove(place);
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        let last = |times: &VecDeque<Timestamp>| times.back().copied();
        self.0
            .retain(|_, times| last(times).is_some_and(|last| now.since_ms(last) < WINDOW_MS));
        if self.0.len() < MAX_COUNTED {
            return;
        }
        // A quarter goes at once, so that a flood does not sort them again for each newcomer.
        let mut lasts: Vec<Timestamp> = self.0.values().filter_map(last).collect();
        lasts.sort_unstable();
        let mut left = MAX_COUNTED / 4;
        let stale = lasts.get(left).copied();
        self.0.retain(|_, times| {
            let goes = left > 0 && last(times) <= stale;
            left -= usize::from(goes);
            !goes
        });
    }
}

/// Brings an address to what is counted: IPv4 as it is, IPv6 by its /64, both without a port; what is no address as text.
pub fn peer_key(peer: &str) -> String {
    let bare = peer.trim_start_matches('[').trim_end_matches(']');
    let with_port = || peer.parse().map(|address: SocketAddr| address.ip());
    match bare
        .parse::<IpAddr>()
        .or_else(|_| with_port())
        .map(|address| address.to_canonical())
    {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => bare.chars().take(64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }

    #[test]
    fn ten_thousand_guesses_from_ten_thousand_addresses_give_seven() {
        let mut throttle = Throttle::default();
        let admitted = (0..10_000u32)
            .filter(|n| {
                let peer = format!("10.0.{}.{}", n / 250, n % 250);
                throttle.admit("ada", &peer, false, at(i64::from(*n))).is_ok()
            })
            .count();
        assert_eq!(admitted, PER_USER_FROM_STRANGERS);
    }

    #[test]
    fn strangers_never_lock_a_user_out_of_a_known_address() {
        let mut throttle = Throttle::default();
        for n in 0..100 {
            let _ = throttle.admit("ada", "10.0.0.9", false, at(n));
        }
        assert!(throttle.admit("ada", "10.0.0.9", false, at(200)).is_err());
        let kept = (0..10).filter(|n| throttle.admit("ada", "10.0.0.1", true, at(300 + n)).is_ok());
        assert_eq!(kept.count(), PER_USER - PER_USER_FROM_STRANGERS);
    }

    #[test]
    fn from_a_known_address_ten_are_evaluated_in_any_quarter_of_an_hour() {
        let mut throttle = Throttle::default();
        let minute = 60_000;
        let times: Vec<i64> = (0..120)
            .map(|n| n * minute)
            .filter(|ms| throttle.admit("ada", "10.0.0.1", true, at(*ms)).is_ok())
            .collect();
        for begin in &times {
            let within = times
                .iter()
                .filter(|ms| (*begin..begin + WINDOW_MS).contains(ms))
                .count();
            assert!(within <= PER_USER, "{within} from {begin}");
        }
        assert!(times.len() > 3 * PER_USER);
    }

    #[test]
    fn the_answer_names_when_to_come_again() {
        let mut throttle = Throttle::default();
        for n in 0..10 {
            throttle.admit("ada", "10.0.0.1", true, at(n * 1_000)).unwrap();
        }
        let refused = throttle.admit("ada", "10.0.0.1", true, at(20_000)).unwrap_err();
        assert_eq!(refused.retry_after_ms, WINDOW_MS - 20_000);
        assert!(throttle.admit("ada", "10.0.0.1", true, at(WINDOW_MS)).is_ok());
    }

    #[test]
    fn a_log_in_that_succeeds_costs_nothing() {
        let mut throttle = Throttle::default();
        for n in 0..1_000 {
            let attempt = throttle.admit("ada", "10.0.0.1", n % 2 == 0, at(n)).unwrap();
            throttle.give_back(&attempt);
        }
    }

    #[test]
    fn an_address_is_counted_over_all_users_and_ipv6_by_its_net() {
        let mut throttle = Throttle::default();
        let admitted = (0..10_000)
            .filter(|n| {
                let peer = format!("2001:db8::{:x}", n + 1);
                throttle.admit(&format!("user{n}"), &peer, false, at(*n)).is_ok()
            })
            .count();
        assert_eq!(admitted, PER_PEER);
        assert_eq!(peer_key("::ffff:10.0.0.1"), peer_key("10.0.0.1"));
        assert_eq!(peer_key("10.0.0.1:4711"), peer_key("10.0.0.1"));
        assert_eq!(peer_key("[2001:db8::1]:4711"), peer_key("2001:db8::2"));
        assert_ne!(peer_key("2001:db8:0:1::1"), peer_key("2001:db8::1"));
    }

    #[test]
    fn an_attempt_of_nobody_counts_for_its_address_alone() {
        let mut throttle = Throttle::default();
        let admitted = (0..1_000).filter(|n| throttle.admit_peer("10.0.0.1", at(*n)).is_ok());
        assert_eq!(admitted.count(), PER_PEER);
        assert!(throttle.admit_peer("10.0.0.2", at(0)).is_ok());
        let mut throttle = Throttle::default();
        for n in 0..1_000 {
            let attempt = throttle.admit_peer("10.0.0.1", at(n)).unwrap();
            throttle.give_back(&attempt);
        }
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..25_000u32 {
            let peer = format!("10.{}.{}.1", n / 250, n % 250);
            let _ = throttle.admit(&format!("user{n}"), &peer, false, at(0));
        }
        assert!(throttle.users.0.len() <= MAX_COUNTED && throttle.peers.0.len() <= MAX_COUNTED);
    }
}
