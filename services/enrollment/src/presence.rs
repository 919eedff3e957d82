//! Who is on the bus: a pure machine over what the bus says of connections.
//!
//! The bus tells each connect and each disconnect, but may lose such a word; once a minute it is asked for all of them. A
//! device that comes back within the grace was never away. Two connections with one key: the newest wins, the older one is
//! kicked.
//!
//! A device whose link is cut comes back while the bus still holds its dead connection; that is no second device. Each agent
//! draws a label when it starts and connects under it. What no honest device does, whatever its network does, is to come
//! back after another one took its place: an agent that was replaced by a newer one is gone for good. Such a return, or a
//! connection without a label, that takes the place of a living connection is counted; three within a minute are a clone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::shared_events::{DeviceConnected, DeviceDisconnected};
use borealis_bus_schema::time::Timestamp;

/// Is how long a device may be away without being called absent, in milliseconds: a renewal reconnects.
pub const GRACE_MS: i64 = 3_000;
/// Is the grace for devices that a listing does not show: after a restart of the bus all of them come back with jitter.
pub const LISTING_GRACE_MS: i64 = 10_000;
/// Is how long the end of a connection whose beginning was not heard yet is remembered, in milliseconds: the bus's two words
/// may overtake each other.
const EARLY_END_MS: i64 = 10_000;
/// Is how young a connection may be without standing in a listing that was asked for at the same time.
const LISTING_LAG_MS: i64 = 2_000;

/// Is how many take-overs make a clone.
pub const TAKE_OVERS: usize = 3;
/// Is within how long, in milliseconds.
pub const TAKE_OVER_WINDOW_MS: i64 = 60_000;
/// Is how long it is remembered who was replaced, in milliseconds.
const REPLACED_MS: i64 = 600_000;
/// Is how many replaced agents are remembered of a device.
const REPLACED: usize = 8;

/// Names one connection of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The bus server that holds it.
    pub server: Arc<str>,
    /// Its number there; later ones are higher.
    pub number: u64,
    /// The address it came from.
    pub address: String,
    /// What the agent drew when it started; none where the client gave nothing of the kind.
    pub label: Option<Arc<str>>,
}

/// Is what has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write that a device is on the bus.
    Connected(DeviceConnected),
    /// Write that it left.
    Disconnected(DeviceDisconnected),
    /// End a connection that a newer one replaced.
    Kick(Guid, Connection),
    /// Quarantine a device: two agents use its key.
    Clone(Guid),
}

#[derive(Debug)]
struct Here {
    connection: Connection,
    since: Timestamp,
}

/// Remembers who took whose place with one key.
#[derive(Debug, Default)]
struct Rivals {
    replaced: VecDeque<(Arc<str>, Timestamp)>,
    taken_at: VecDeque<Timestamp>,
}

impl Rivals {
    /// Takes in that a connection took the place of a living one; tells whether that makes a clone.
    fn took(&mut self, old: &Connection, new: &Connection, now: Timestamp) -> bool {
        self.forget(now);
        let counts = match &new.label {
            None => true,
            Some(new) => self.replaced.iter().any(|(label, _)| label == new),
        };
        if old.label != new.label
            && let Some(label) = &old.label
        {
            self.replaced.retain(|(known, _)| known != label);
            self.replaced.push_back((Arc::clone(label), now));
            if self.replaced.len() > REPLACED {
                self.replaced.pop_front();
            }
        }
        if !counts || old.label == new.label && new.label.is_some() {
            return false;
        }
        self.taken_at.push_back(now);
        let is_clone = self.taken_at.len() >= TAKE_OVERS;
        if is_clone {
            self.taken_at.clear();
        }
        is_clone
    }

    fn forget(&mut self, now: Timestamp) {
        self.taken_at.retain(|at| now.since_ms(*at) < TAKE_OVER_WINDOW_MS);
        self.replaced.retain(|(_, at)| now.since_ms(*at) < REPLACED_MS);
    }

    fn is_forgotten(&self) -> bool {
        self.taken_at.is_empty() && self.replaced.is_empty()
    }
}

#[derive(Debug)]
struct Leaving {
    at: Timestamp,
    reason: String,
    until: Timestamp,
}

/// Knows who is on the bus.
///
/// A device stands in `here`, in `leaving`, or in neither when it is absent and the log says so.
#[derive(Debug, Default)]
pub struct Presence {
    here: BTreeMap<Guid, Here>,
    leaving: BTreeMap<Guid, Leaving>,
    early_ends: BTreeMap<(Guid, Arc<str>, u64), Timestamp>,
    rivals: BTreeMap<Guid, Rivals>,
}

impl Presence {
    /// Begins with those that the log calls connected; who does not show up within the grace has left.
    pub fn new(connected: impl IntoIterator<Item = Guid>, now: Timestamp) -> Self {
        let mut presence = Self::default();
        for guid in connected {
            presence.leave(guid, "not seen after a restart".to_owned(), now, LISTING_GRACE_MS);
        }
        presence
    }

    /// Takes in that a connection began.
    pub fn opened(&mut self, guid: Guid, connection: Connection, now: Timestamp) -> Vec<Act> {
        let mut acts = Vec::new();
        let early = (guid, Arc::clone(&connection.server), connection.number);
        if self.early_ends.remove(&early).is_some() {
            return acts;
        }
        if self
            .here
            .get(&guid)
            .is_some_and(|here| older(&connection, &here.connection))
        {
            // A word that comes late: the newer one stays, whatever was heard first.
            acts.push(Act::Kick(guid, connection));
            return acts;
        }
        let announced = self.leaving.remove(&guid).is_some();
        let here = Here {
            connection: connection.clone(),
            since: now,
        };
        match self.here.insert(guid, here) {
            Some(old) if same(&old.connection, &connection) => {}
            Some(old) => {
                let is_clone = self
                    .rivals
                    .entry(guid)
                    .or_default()
                    .took(&old.connection, &connection, now);
                acts.push(Act::Kick(guid, old.connection));
                acts.extend(is_clone.then_some(Act::Clone(guid)));
            }
            None if announced => {}
            None => acts.push(Act::Connected(DeviceConnected {
                guid,
                address: connection.address,
                at: now,
            })),
        }
        acts
    }

    /// Takes in that a connection ended; the end of one that was replaced means nothing.
    pub fn closed(&mut self, guid: Guid, connection: &Connection, reason: String, now: Timestamp) {
        match self.here.get(&guid) {
            Some(here) if same(&here.connection, connection) => self.leave(guid, reason, now, GRACE_MS),
            _ => {
                // Its beginning may come later, also that of one which was replaced.
                let early = (guid, Arc::clone(&connection.server), connection.number);
                self.early_ends.insert(early, now);
            }
        }
    }

    /// Takes in all connections that the bus has, as they were when it was asked.
    pub fn listed(&mut self, all: Vec<(Guid, Connection)>, asked_at: Timestamp, now: Timestamp) -> Vec<Act> {
        let mut acts = Vec::new();
        let mut newest: BTreeMap<Guid, Connection> = BTreeMap::new();
        for (guid, connection) in all {
            match newest.get(&guid) {
                Some(other) if other.number > connection.number => acts.push(Act::Kick(guid, connection)),
                _ => {
                    if let Some(older) = newest.insert(guid, connection) {
                        acts.push(Act::Kick(guid, older));
                    }
                }
            }
        }
        let young = asked_at.plus_ms(-LISTING_LAG_MS);
        let gone: Vec<Guid> = self
            .here
            .iter()
            .filter(|(guid, here)| !newest.contains_key(*guid) && here.since < young)
            .map(|(guid, _)| *guid)
            .collect();
        for guid in gone {
            self.leave(guid, "no longer on the bus".to_owned(), now, LISTING_GRACE_MS);
        }
        for (guid, connection) in newest {
            let newer_here = self
                .here
                .get(&guid)
                .is_some_and(|here| same(&here.connection, &connection) || here.since >= young);
            if !newer_here {
                acts.extend(self.opened(guid, connection, now));
            }
        }
        acts
    }

    /// Takes in that time passed: whoever's grace is over has left.
    pub fn passed(&mut self, now: Timestamp) -> Vec<Act> {
        self.early_ends.retain(|_, at| now.since_ms(*at) < EARLY_END_MS);
        self.rivals.retain(|_, rivals| {
            rivals.forget(now);
            !rivals.is_forgotten()
        });
        let over: Vec<Guid> = self
            .leaving
            .iter()
            .filter(|(_, leaving)| leaving.until <= now)
            .map(|(guid, _)| *guid)
            .collect();
        let left = over.into_iter().filter_map(|guid| {
            let leaving = self.leaving.remove(&guid)?;
            Some(Act::Disconnected(DeviceDisconnected {
                guid,
                at: leaving.at,
                reason: leaving.reason,
            }))
        });
        left.collect()
    }

    /// Takes in that the bus went away, or came back: what was known of connections counts no more.
    ///
    /// Whoever shows up within the grace of a listing was never away.
    pub fn lost(&mut self, now: Timestamp) {
        let here: Vec<Guid> = self.here.keys().copied().collect();
        for guid in here {
            self.leave(guid, "the bus went away".to_owned(), now, LISTING_GRACE_MS);
        }
        for leaving in self.leaving.values_mut() {
            leaving.until = now.plus_ms(LISTING_GRACE_MS);
        }
    }

    /// Ends the grace of a device at once: its key was revoked.
    pub fn forget(&mut self, guid: Guid, reason: &str, now: Timestamp) {
        if self.here.contains_key(&guid) || self.leaving.contains_key(&guid) {
            self.leave(guid, reason.to_owned(), now, 0);
        }
    }

    /// Returns the newest connection of a device.
    pub fn connection(&self, guid: &Guid) -> Option<&Connection> {
        self.here.get(guid).map(|here| &here.connection)
    }

    fn leave(&mut self, guid: Guid, reason: String, now: Timestamp, grace_ms: i64) {
        self.here.remove(&guid);
        let leaving = Leaving {
            at: now,
            reason,
            until: now.plus_ms(grace_ms),
        };
        self.leaving.insert(guid, leaving);
    }
}

fn same(one: &Connection, other: &Connection) -> bool {
    one.number == other.number && one.server == other.server
}

/// Tells whether a connection began before another; only of one server's is that known.
fn older(one: &Connection, other: &Connection) -> bool {
    one.server == other.server && one.number < other.number
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn guid(seed: u8) -> Guid {
        Guid::from_random([seed; 16])
    }
    fn connection(number: u64) -> Connection {
        Connection {
            server: "N".into(),
            number,
            address: "10.0.0.1".into(),
            label: Some("a".into()),
        }
    }
    fn of(label: Option<&str>, number: u64) -> Connection {
        Connection {
            label: label.map(Into::into),
            ..connection(number)
        }
    }
    /// Tells after how many of these connections, each of which begins while the one before lives, there is a clone.
    fn clone_after(labels: &[Option<&str>], apart_ms: i64) -> Option<usize> {
        let mut presence = Presence::default();
        (0i64..).zip(labels).position(|(number, label)| {
            let now = NOW.plus_ms(number * apart_ms);
            presence.passed(now);
            let acts = presence.opened(guid(1), of(*label, number.unsigned_abs()), now);
            acts.contains(&Act::Clone(guid(1)))
        })
    }
    fn connected(seed: u8, at: Timestamp) -> Act {
        Act::Connected(DeviceConnected {
            guid: guid(seed),
            address: "10.0.0.1".into(),
            at,
        })
    }
    fn gone(acts: &[Act]) -> Vec<Guid> {
        let of = |act: &Act| match act {
            Act::Disconnected(left) => Some(left.guid),
            _ => None,
        };
        acts.iter().filter_map(of).collect()
    }

    #[test]
    fn a_device_that_comes_back_within_the_grace_was_never_away() {
        let mut presence = Presence::default();
        assert_eq!(presence.opened(guid(1), connection(1), NOW), vec![connected(1, NOW)]);
        presence.closed(guid(1), &connection(1), "Client Closed".into(), NOW);
        assert_eq!(presence.passed(NOW.plus_ms(GRACE_MS - 1)), vec![]);
        assert_eq!(
            presence.opened(guid(1), connection(2), NOW.plus_ms(GRACE_MS - 1)),
            vec![]
        );
        assert_eq!(presence.passed(NOW.plus_ms(GRACE_MS * 9)), vec![]);
    }

    #[test]
    fn a_device_that_stays_away_has_left_when_its_connection_ended() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(1), NOW);
        presence.closed(guid(1), &connection(1), "Client Closed".into(), NOW.plus_ms(5));
        let left = DeviceDisconnected {
            guid: guid(1),
            at: NOW.plus_ms(5),
            reason: "Client Closed".into(),
        };
        assert_eq!(
            presence.passed(NOW.plus_ms(5 + GRACE_MS)),
            vec![Act::Disconnected(left)]
        );
        assert_eq!(presence.passed(NOW.plus_ms(9 + GRACE_MS)), vec![]);
        let back = NOW.plus_ms(10 + GRACE_MS);
        assert_eq!(presence.opened(guid(1), connection(2), back), vec![connected(1, back)]);
    }

    #[test]
    fn the_newest_connection_wins() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(1), NOW);
        assert_eq!(
            presence.opened(guid(1), connection(2), NOW),
            vec![Act::Kick(guid(1), connection(1))]
        );
        presence.closed(guid(1), &connection(1), "Kicked".into(), NOW);
        assert_eq!(presence.passed(NOW.plus_ms(GRACE_MS * 2)), vec![]);
    }

    #[test]
    fn an_end_that_overtook_its_beginning_ends_it() {
        let mut presence = Presence::default();
        presence.closed(guid(1), &connection(4), "Client Closed".into(), NOW);
        assert_eq!(presence.opened(guid(1), connection(4), NOW), vec![]);
        assert_eq!(presence.opened(guid(1), connection(5), NOW), vec![connected(1, NOW)]);
        presence.closed(guid(1), &connection(9), "Client Closed".into(), NOW);
        presence.passed(NOW.plus_ms(EARLY_END_MS));
        assert_eq!(
            presence.opened(guid(1), connection(9), NOW),
            vec![Act::Kick(guid(1), connection(5))]
        );
    }

    #[test]
    fn in_whatever_order_words_come_it_ends_right() {
        #[derive(Clone, Copy)]
        enum Word {
            Opened(u64),
            Closed(u64),
        }
        fn orders(words: &[Word]) -> Vec<Vec<Word>> {
            if words.is_empty() {
                return vec![Vec::new()];
            }
            let mut all = Vec::new();
            for first in 0..words.len() {
                let mut rest = words.to_vec();
                let word = rest.remove(first);
                all.extend(orders(&rest).into_iter().map(|tail| [vec![word], tail].concat()));
            }
            all
        }
        use Word::{Closed, Opened};
        let lives = [Opened(1), Closed(1), Opened(2)];
        let left = [Opened(1), Closed(1), Opened(2), Closed(2)];
        for (words, is_there) in [(&lives[..], true), (&left[..], false)] {
            for order in orders(words) {
                let mut presence = Presence::default();
                let (mut told, mut ended) = (Vec::new(), Vec::new());
                for word in &order {
                    match *word {
                        Opened(number) => told.extend(presence.opened(guid(1), connection(number), NOW)),
                        Closed(number) => presence.closed(guid(1), &connection(number), "Client Closed".into(), NOW),
                    }
                }
                told.extend(presence.passed(NOW.plus_ms(GRACE_MS)));
                for act in &told {
                    match act {
                        Act::Kick(_, connection) => ended.push(connection.number),
                        Act::Clone(_) => panic!("no clone is at work"),
                        Act::Connected(_) | Act::Disconnected(_) => {}
                    }
                }
                let heard: Vec<String> = order
                    .iter()
                    .map(|word| match word {
                        Opened(number) => format!("+{number}"),
                        Closed(number) => format!("-{number}"),
                    })
                    .collect();
                assert_eq!(presence.connection(&guid(1)).is_some(), is_there, "{heard:?}");
                assert!(!ended.contains(&2), "the newest is ended: {heard:?}");
                let last = told.iter().rev().find(|act| !matches!(act, Act::Kick(..)));
                let is_told = matches!(last, Some(Act::Connected(_)));
                assert_eq!(is_told, is_there, "{heard:?}: {told:?}");
            }
        }
    }

    #[test]
    fn a_lower_number_of_another_server_is_no_older_connection() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(900), NOW);
        let elsewhere = Connection {
            server: "M".into(),
            ..connection(3)
        };
        let acts = presence.opened(guid(1), elsewhere.clone(), NOW);
        assert_eq!(acts, vec![Act::Kick(guid(1), connection(900))]);
        presence.closed(guid(1), &connection(900), "Kicked".into(), NOW);
        assert_eq!(presence.connection(&guid(1)), Some(&elsewhere));
    }

    #[test]
    fn a_lost_connect_and_a_lost_disconnect_are_found_by_listing() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(1), NOW);
        let later = NOW.plus_ms(60_000);
        let acts = presence.listed(vec![(guid(2), connection(7)), (guid(2), connection(8))], later, later);
        assert_eq!(acts, vec![Act::Kick(guid(2), connection(7)), connected(2, later)]);
        assert_eq!(gone(&presence.passed(later.plus_ms(LISTING_GRACE_MS))), vec![guid(1)]);
    }

    #[test]
    fn a_connection_that_began_while_the_listing_was_made_stays() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(9), NOW);
        assert_eq!(presence.listed(vec![], NOW.plus_ms(1), NOW.plus_ms(5)), vec![]);
        assert_eq!(
            presence.listed(vec![(guid(1), connection(3))], NOW.plus_ms(1), NOW.plus_ms(5)),
            vec![]
        );
        assert_eq!(presence.passed(NOW.plus_ms(LISTING_GRACE_MS * 2)), vec![]);
    }

    #[test]
    fn after_a_restart_whoever_does_not_show_up_has_left() {
        let mut presence = Presence::new([guid(1), guid(2)], NOW);
        assert_eq!(presence.listed(vec![(guid(1), connection(1))], NOW, NOW), vec![]);
        assert_eq!(gone(&presence.passed(NOW.plus_ms(LISTING_GRACE_MS))), vec![guid(2)]);
    }

    #[test]
    fn a_restart_of_the_bus_kicks_nobody_and_forgets_nobody() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(900), NOW);
        presence.opened(guid(2), connection(901), NOW);
        presence.lost(NOW);
        let back = NOW.plus_ms(60_000);
        presence.lost(back);
        let fresh = Connection {
            server: "M".into(),
            ..connection(3)
        };
        assert_eq!(presence.opened(guid(1), fresh.clone(), back), vec![]);
        assert_eq!(presence.passed(back.plus_ms(LISTING_GRACE_MS - 1)), vec![]);
        assert_eq!(gone(&presence.passed(back.plus_ms(LISTING_GRACE_MS))), vec![guid(2)]);
        presence.closed(guid(1), &fresh, "Client Closed".into(), back);
        assert_eq!(gone(&presence.passed(back.plus_ms(GRACE_MS))), vec![guid(1)]);
    }

    #[test]
    fn a_revoked_device_has_no_grace() {
        let mut presence = Presence::default();
        presence.opened(guid(1), connection(1), NOW);
        presence.forget(guid(1), "revoked", NOW);
        presence.forget(guid(2), "revoked", NOW);
        assert_eq!(gone(&presence.passed(NOW)), vec![guid(1)]);
    }

    #[test]
    fn two_agents_that_take_each_other_s_place_are_a_clone_at_the_third_return() {
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(clone_after(&[a, b, a, b, a, b], 30), Some(4));
        assert_eq!(clone_after(&[a, b, a, b, a, b], 29_000), Some(4));
        assert_eq!(
            clone_after(&[a, b, a, b, a, b, a, b], 30_000),
            None,
            "two in a minute are none"
        );
        // A stranger that connects under a new label each time, or under none, does not hide the agent's own returns.
        assert_eq!(clone_after(&[a, Some("c"), a, Some("d"), a, Some("e"), a], 30), Some(6));
        assert_eq!(clone_after(&[a, None, a, None], 30), Some(3));
        assert_eq!(clone_after(&[None, None, None, None], 30), Some(3));
    }

    #[test]
    fn a_device_whose_link_is_cut_again_and_again_is_no_clone() {
        assert_eq!(
            clone_after(&[Some("a"); 40], 30),
            None,
            "one agent, each time over a dead connection"
        );
        let names: Vec<String> = (0..40).map(|start| format!("agent {start}")).collect();
        let starts: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        assert_eq!(
            clone_after(&starts, 30),
            None,
            "it starts anew each time, over a dead connection"
        );
    }

    #[test]
    fn a_clone_is_told_once_and_again_when_it_goes_on() {
        let mut presence = Presence::default();
        let mut told = 0;
        for number in 0..14 {
            let label = if number % 2 == 0 { "a" } else { "b" };
            let acts = presence.opened(guid(1), of(Some(label), number), NOW);
            told += acts.iter().filter(|act| **act == Act::Clone(guid(1))).count();
        }
        assert_eq!(told, 4);
    }

    #[test]
    fn what_was_replaced_is_forgotten_in_time() {
        let mut presence = Presence::default();
        presence.opened(guid(1), of(Some("a"), 1), NOW);
        presence.opened(guid(1), of(Some("b"), 2), NOW);
        assert_eq!(presence.rivals.len(), 1);
        presence.passed(NOW.plus_ms(REPLACED_MS));
        assert!(presence.rivals.is_empty());
    }
}
