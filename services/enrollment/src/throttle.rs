//! How often an address or a key may fail, and how often a key may ask.
//!
//! Counted are failures by the address of the peer that connected, so that guessing codes is slow while thousands of
//! machines behind one address enrol at full speed; and requests by key. Both in windows of one minute, in bounded memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use borealis_bus_schema::time::Timestamp;

/// Is how long a window is, in milliseconds.
pub const WINDOW_MS: i64 = 60_000;
/// Is how often one address may fail in a window.
pub const FAILURES_PER_ADDRESS: u32 = 20;
/// Is how often one key may ask in a window.
pub const REQUESTS_PER_KEY: u32 = 120;
/// Is how many counters are kept.
const MAX_COUNTERS: usize = 20_000;

/// Counts events per subject in windows.
#[derive(Debug)]
pub struct Throttle {
    limit: u32,
    counters: BTreeMap<String, Counter>,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    since: Timestamp,
    count: u32,
}

impl Throttle {
    /// Makes a throttle that lets `limit` events of one subject through in a window.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            counters: BTreeMap::new(),
        }
    }

    /// Tells for how many milliseconds a subject has to wait; `None` when it need not.
    pub fn wait_ms(&self, subject: &str, now: Timestamp) -> Option<i64> {
        let counter = self.counters.get(subject)?;
        let left = WINDOW_MS - now.since_ms(counter.since);
        (counter.count >= self.limit && left > 0).then_some(left)
    }

    /// Counts an event.
    pub fn count(&mut self, subject: &str, now: Timestamp) {
        let over = |counter: &Counter| !(0..WINDOW_MS).contains(&now.since_ms(counter.since));
        if self.counters.len() >= MAX_COUNTERS && !self.counters.contains_key(subject) {
            self.counters.retain(|_, counter| !over(counter));
            // A flood of subjects within one window: the one that is first in order makes room.
            if self.counters.len() >= MAX_COUNTERS {
                self.counters.pop_first();
            }
        }
        let fresh = Counter { since: now, count: 0 };
        let counter = self.counters.entry(subject.to_owned()).or_insert(fresh);
        if over(counter) {
            *counter = fresh;
        }
        counter.count = counter.count.saturating_add(1);
    }
}

/// Returns the address part of a peer; IPv6 hosts own a whole /64, so they count as one.
pub fn peer_address(peer: &str) -> String {
    let address = peer
        .parse::<SocketAddr>()
        .map(|socket| socket.ip())
        .or_else(|_| peer.parse());
    match address.map(|ip: IpAddr| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => peer.chars().take(64).collect(),
    }
}

/// Returns the address of a peer as it is shown: without the port.
pub fn shown_address(peer: &str) -> String {
    let address = peer
        .parse::<SocketAddr>()
        .map(|socket| socket.ip())
        .or_else(|_| peer.parse::<IpAddr>());
    address.map_or_else(|_| peer.chars().take(64).collect(), |ip| ip.to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    #[test]
    fn a_subject_waits_for_the_rest_of_its_window_and_others_do_not() {
        let mut throttle = Throttle::new(2);
        throttle.count("a", NOW);
        assert_eq!(throttle.wait_ms("a", NOW), None);
        throttle.count("a", NOW.plus_ms(10));
        assert_eq!(throttle.wait_ms("a", NOW.plus_ms(10)), Some(WINDOW_MS - 10));
        assert_eq!(throttle.wait_ms("b", NOW), None);
        assert_eq!(throttle.wait_ms("a", NOW.plus_ms(WINDOW_MS)), None);
        throttle.count("a", NOW.plus_ms(WINDOW_MS));
        assert_eq!(throttle.wait_ms("a", NOW.plus_ms(WINDOW_MS)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::new(2);
        for number in 0..MAX_COUNTERS + 10 {
            throttle.count(&number.to_string(), NOW);
        }
        assert_eq!(throttle.counters.len(), MAX_COUNTERS);
        throttle.count("one more", NOW.plus_ms(WINDOW_MS));
        assert_eq!(throttle.counters.len(), 1);
    }

    #[test]
    fn a_port_and_a_mapped_address_do_not_make_another_peer() {
        assert_eq!(peer_address("10.0.0.1:555"), "10.0.0.1");
        assert_eq!(peer_address("[::ffff:10.0.0.1]:555"), "10.0.0.1");
        assert_eq!(peer_address("2001:db8::1"), peer_address("[2001:db8::ffff]:9"));
        assert_ne!(peer_address("2001:db8::1"), peer_address("2001:db8:0:1::1"));
        assert_eq!(shown_address("[::1]:5"), "::1");
    }
}
