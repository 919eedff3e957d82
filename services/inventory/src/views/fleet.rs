//! Every device in short, in memory: what the list shows, sorted by host name.
//!
//! Made from enrollment's events, which are followed, and from the newest facts; about one kilobyte per device.

use std::collections::{BTreeMap, BTreeSet};

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, SiteName, TagName};
use borealis_bus_schema::messages::inventory::{DeviceView, Facts, Presence};
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceKeyRotated, DeviceStatus, DeviceStatusChanged,
    DeviceTagged,
};
use borealis_bus_schema::order::Context;
use borealis_bus_schema::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;

/// Holds a device in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name for good.
    pub guid: Guid,
    /// Where it belongs.
    pub site: SiteName,
    /// Its identity key.
    pub public_key: PublicKey,
    /// What it may do.
    pub status: DeviceStatus,
    standing: Option<Box<Standing>>,
    tags: Box<[TagName]>,
    context: Context,
    hostname: Box<str>,
    os: Box<str>,
    os_version: Box<str>,
    arch: Box<str>,
    agent_version: Box<str>,
    address: Box<str>,
    approved_at: Timestamp,
    first_seen_at: Timestamp,
    connected: bool,
    seen_at: Option<Timestamp>,
    told: Option<Box<Told>>,
}

/// Says why a device has its status.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    reason: Box<str>,
    by: Option<Box<str>>,
    at: Timestamp,
}

/// Holds what the list shows of a device's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    hostname: Box<str>,
    last_user: Option<Box<str>>,
    uptime_ms: u64,
    cpu: Box<str>,
    memory_bytes: u64,
    addresses: Vec<Box<str>>,
    os_version: Box<str>,
    /// When the device gathered them, by its clock.
    pub told_at: Timestamp,
    /// When they came, by the server's clock.
    pub received_at: Timestamp,
}

impl Told {
    /// Takes what the list shows.
    pub fn of(facts: &Facts, received_at: Timestamp) -> Self {
        let own = |address: &&String| {
            let local = ["127.", "::1", "fe80:"];
            !local.iter().any(|prefix| address.starts_with(prefix))
        };
        let addresses = facts
            .network
            .iter()
            .flat_map(|interface| &interface.addresses)
            .filter(own);
        let bare = |address: &String| address.split('/').next().unwrap_or_default().into();
        Self {
            hostname: facts.summary.hostname.as_str().into(),
            last_user: facts.summary.last_user.as_deref().map(Into::into),
            uptime_ms: facts.summary.uptime_ms,
            cpu: facts.cpu.model.as_str().into(),
            memory_bytes: facts.memory.total_bytes,
            addresses: addresses.take(16).map(bare).collect(),
            os_version: format!("{} {}", facts.os.name, facts.os.version).trim().into(),
            told_at: facts.at,
            received_at,
        }
    }
}

/// Is a page of the list.
#[derive(Debug, Clone)]
pub struct FleetPage {
    /// The devices.
    pub items: Vec<DeviceView>,
    /// Where to go on; none at the end.
    pub next_cursor: Option<String>,
    /// How many devices fit in all.
    pub total: usize,
}

/// Asks for a page.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Text that has to stand in host name, GUID, operating system, address, user or a tag; empty for all.
    pub text: &'a str,
    /// A tag that the device must have.
    pub tag: Option<&'a TagName>,
    /// Behind which device to begin.
    pub after: Option<&'a Cursor>,
    /// How many devices at most.
    pub limit: usize,
    /// Whether presence can be told at all.
    pub fresh: bool,
    /// Now.
    pub now: Timestamp,
}

/// Marks a place in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    hostname: Box<str>,
    guid: Guid,
}

impl Cursor {
    /// Reads the text of a cursor; none when it is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (guid, hostname) = text.split_once(' ')?;
        Some(Self {
            hostname: hostname.into(),
            guid: guid.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{} {}", self.guid, self.hostname);
        f.write_str(&BASE64URL_NOPAD.encode(text.as_bytes()))
    }
}

/// Knows every device in short.
#[derive(Debug, Default)]
pub struct Fleet {
    devices: BTreeMap<Guid, Device>,
    sorted: BTreeSet<Cursor>,
}

impl Fleet {
    /// Takes in an enrolment; tells whether the device is new.
    pub fn enrolled(&mut self, event: DeviceEnrolled) -> bool {
        let before = self.devices.remove(&event.guid);
        let is_new = before.is_none();
        let (status, standing, tags, connected, seen_at, told) = match before {
            Some(before) => {
                self.sorted.remove(&before.place());
                let Device {
                    status,
                    standing,
                    tags,
                    connected,
                    seen_at,
                    told,
                    ..
                } = before;
                (status, standing, tags, connected, seen_at, told)
            }
            None => (DeviceStatus::Active, None, Box::default(), false, None, None),
        };
        let facts = event.facts;
        let device = Device {
            guid: event.guid,
            site: event.site,
            public_key: event.public_key,
            status,
            standing,
            tags,
            context: facts.context,
            hostname: facts.hostname.into(),
            os: facts.os.into(),
            os_version: facts.os_version.into(),
            arch: facts.arch.into(),
            agent_version: facts.agent_version.into(),
            address: event.address.into(),
            approved_at: event.approved_at,
            first_seen_at: event.first_seen_at,
            connected,
            seen_at,
            told,
        };
        self.put(device);
        is_new
    }

    /// Takes in a change of status.
    pub fn status_changed(&mut self, event: &DeviceStatusChanged) {
        if let Some(device) = self.devices.get_mut(&event.guid) {
            device.status = event.status;
            device.standing = Some(Box::new(Standing {
                reason: event.reason.as_str().into(),
                by: event.by.as_ref().map(|by| by.username.as_str().into()),
                at: event.at,
            }));
        }
    }

    /// Takes in that a device has other tags.
    pub fn tagged(&mut self, event: DeviceTagged) {
        if let Some(device) = self.devices.get_mut(&event.guid) {
            device.tags = event.tags.into_iter().collect();
        }
    }

    /// Takes in that a device has a new identity key.
    pub fn key_rotated(&mut self, event: &DeviceKeyRotated) {
        if let Some(device) = self.devices.get_mut(&event.guid) {
            device.public_key = event.public_key;
        }
    }

    /// Takes in that a device is on the bus.
    pub fn connected(&mut self, event: &DeviceConnected) {
        if let Some(device) = self.devices.get_mut(&event.guid) {
            device.connected = true;
            device.seen_at = Some(event.at);
            device.address = event.address.as_str().into();
        }
    }

    /// Takes in that a device left the bus.
    pub fn disconnected(&mut self, event: &DeviceDisconnected) {
        if let Some(device) = self.devices.get_mut(&event.guid) {
            device.connected = false;
            device.seen_at = Some(event.at);
        }
    }

    /// Takes in facts; the newest count.
    pub fn told(&mut self, guid: &Guid, told: Told) {
        let Some(mut device) = self.devices.remove(guid) else {
            return;
        };
        self.sorted.remove(&device.place());
        if device.told.as_ref().is_none_or(|before| before.told_at <= told.told_at) {
            device.told = Some(Box::new(told));
        }
        self.put(device);
    }

    fn put(&mut self, device: Device) {
        self.sorted.insert(device.place());
        self.devices.insert(device.guid, device);
    }

    /// Finds a device.
    pub fn device(&self, guid: &Guid) -> Option<&Device> {
        self.devices.get(guid)
    }

    /// Counts devices.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Tells whether there is no device.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Cuts a page out of the devices that the caller may see and the text fits.
    pub fn page(&self, ask: Ask<'_>, may_see: impl Fn(&Device) -> bool) -> FleetPage {
        let text = ask.text.to_lowercase();
        let is_tagged = |device: &Device| ask.tag.is_none_or(|tag| device.tags.contains(tag));
        let fits = |device: &&Device| may_see(device) && is_tagged(device) && (text.is_empty() || device.holds(&text));
        let all = || {
            self.sorted
                .iter()
                .filter_map(|place| self.devices.get(&place.guid))
                .filter(fits)
        };
        let mut rest = all().filter(|device| ask.after.is_none_or(|after| device.place() > *after));
        let shown: Vec<&Device> = rest.by_ref().take(ask.limit).collect();
        let more = rest.next().is_some();
        FleetPage {
            next_cursor: shown.last().filter(|_| more).map(|last| last.place().to_string()),
            items: shown
                .into_iter()
                .map(|device| device.show(ask.fresh, ask.now))
                .collect(),
            total: all().count(),
        }
    }
}

impl Device {
    fn name(&self) -> &str {
        match &self.told {
            Some(told) if !told.hostname.is_empty() => &told.hostname,
            _ => &self.hostname,
        }
    }

    fn place(&self) -> Cursor {
        Cursor {
            hostname: self.name().to_lowercase().into(),
            guid: self.guid,
        }
    }

    fn holds(&self, text: &str) -> bool {
        let told = self.told.as_deref();
        let addresses = told.map(|told| told.addresses.as_slice()).unwrap_or_default();
        let user = told.and_then(|told| told.last_user.as_deref()).unwrap_or_default();
        self.name().to_lowercase().contains(text)
            || self.guid.to_string().contains(text)
            || self.os_text().to_lowercase().contains(text)
            || user.to_lowercase().contains(text)
            || self.address.contains(text)
            || addresses.iter().any(|address| address.contains(text))
            || self.tags.iter().any(|tag| tag.as_str().contains(text))
    }

    fn os_text(&self) -> &str {
        match &self.told {
            Some(told) if !told.os_version.is_empty() => &told.os_version,
            _ => &self.os_version,
        }
    }

    /// Tells whether the device is there, as far as that can be told.
    pub const fn presence(&self, fresh: bool) -> Presence {
        match (fresh, self.connected) {
            (false, _) => Presence::Stale,
            (true, true) => Presence::Online,
            (true, false) => Presence::Offline,
        }
    }

    /// Returns what the device told last.
    pub fn last_told(&self) -> Option<&Told> {
        self.told.as_deref()
    }

    /// Shows the device as operators see it.
    pub fn show(&self, fresh: bool, now: Timestamp) -> DeviceView {
        let presence = self.presence(fresh);
        let (told, standing) = (self.told.as_deref(), self.standing.as_deref());
        let addresses = match told {
            Some(told) if !told.addresses.is_empty() => told.addresses.iter().map(ToString::to_string).collect(),
            _ => vec![self.address.to_string()],
        };
        DeviceView {
            guid: self.guid,
            hostname: self.name().to_owned(),
            site: self.site.clone(),
            status: self.status.as_str().to_owned(),
            status_reason: standing
                .map(|standing| standing.reason.to_string())
                .filter(|reason| !reason.is_empty()),
            status_by: standing.and_then(|standing| standing.by.as_deref().map(ToOwned::to_owned)),
            status_at: standing.map(|standing| standing.at),
            tags: self.tags.to_vec(),
            presence,
            os: self.os.to_string(),
            os_version: self.os_text().to_owned(),
            arch: self.arch.to_string(),
            agent_version: self.agent_version.to_string(),
            context: self.context,
            fingerprint: self.public_key.fingerprint(),
            addresses,
            last_user: told.and_then(|told| told.last_user.as_deref()).map(ToOwned::to_owned),
            uptime_ms: told.map(|told| told.uptime_ms),
            cpu: told.map(|told| told.cpu.to_string()),
            memory_bytes: told.map(|told| told.memory_bytes),
            approved_at: self.approved_at,
            first_seen_at: self.first_seen_at,
            last_seen_at: if presence == Presence::Online {
                Some(now)
            } else {
                self.seen_at
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::{NOW, facts, guid};
    use borealis_bus_schema::forms::SignatureBytes;
    use borealis_bus_schema::ids::OperatorId;
    use borealis_bus_schema::messages::shared_events::Actor;
    use borealis_test_support::host_facts;

    fn enrolled(seed: u8, hostname: &str) -> DeviceEnrolled {
        DeviceEnrolled {
            guid: guid(seed),
            site: SiteName::default_site(),
            public_key: PublicKey::from_bytes([seed; 32]),
            exchange_key: PublicKey::from_bytes([seed; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            facts: host_facts(hostname, &"ab".repeat(32)),
            address: "192.0.2.1".into(),
            first_seen_at: NOW,
            approved_at: NOW,
        }
    }
    fn fleet(names: &[&str]) -> Fleet {
        let mut fleet = Fleet::default();
        for (seed, name) in (1u8..).zip(names) {
            assert!(fleet.enrolled(enrolled(seed, name)));
        }
        fleet
    }
    fn ask<'a>(text: &'a str, after: Option<&'a Cursor>, limit: usize) -> Ask<'a> {
        Ask {
            text,
            tag: None,
            after,
            limit,
            fresh: true,
            now: NOW,
        }
    }
    fn names(page: &FleetPage) -> Vec<&str> {
        page.items.iter().map(|item| item.hostname.as_str()).collect()
    }

    #[test]
    fn pages_follow_each_other_by_host_name() {
        let fleet = fleet(&["web-2", "Alpha", "web-1", "beta", "web-1"]);
        let first = fleet.page(ask("", None, 3), |_| true);
        assert_eq!((names(&first), first.total), (vec!["Alpha", "beta", "web-1"], 5));
        let cursor = Cursor::parse(first.next_cursor.as_deref().unwrap()).unwrap();
        let second = fleet.page(ask("", Some(&cursor), 3), |_| true);
        assert_eq!(names(&second), vec!["web-1", "web-2"]);
        assert_eq!(second.next_cursor, None);
        assert!(Cursor::parse("rubbish").is_none());
    }

    #[test]
    fn a_text_filters_and_a_scope_hides() {
        let fleet = fleet(&["web-2", "Alpha", "web-1"]);
        assert_eq!(
            names(&fleet.page(ask("WEB", None, 9), |_| true)),
            vec!["web-1", "web-2"]
        );
        assert_eq!(fleet.page(ask("192.0.2", None, 9), |_| true).total, 3);
        assert_eq!(fleet.page(ask(&guid(2).to_string(), None, 9), |_| true).total, 1);
        assert_eq!(fleet.page(ask("nothing", None, 9), |_| true).total, 0);
        assert_eq!(fleet.page(ask("", None, 9), |_| false).total, 0);
    }

    #[test]
    fn presence_follows_the_warden_and_is_stale_without_it() {
        let mut fleet = fleet(&["web-1"]);
        let presence = |fleet: &Fleet, fresh| fleet.device(&guid(1)).unwrap().presence(fresh);
        assert_eq!(presence(&fleet, true), Presence::Offline);
        fleet.connected(&DeviceConnected {
            guid: guid(1),
            address: "192.0.2.9".into(),
            at: NOW,
        });
        assert_eq!(
            (presence(&fleet, true), presence(&fleet, false)),
            (Presence::Online, Presence::Stale)
        );
        let later = NOW.plus_ms(9);
        assert_eq!(
            fleet.device(&guid(1)).unwrap().show(true, later).last_seen_at,
            Some(later)
        );
        fleet.disconnected(&DeviceDisconnected {
            guid: guid(1),
            at: NOW.plus_ms(5),
            reason: "Client Closed".into(),
        });
        let view = fleet.device(&guid(1)).unwrap().show(true, later);
        assert_eq!(
            (view.presence, view.last_seen_at),
            (Presence::Offline, Some(NOW.plus_ms(5)))
        );
    }

    #[test]
    fn facts_rename_a_device_and_older_ones_do_not() {
        let mut fleet = fleet(&["old-name"]);
        fleet.told(&guid(1), Told::of(&facts(), NOW));
        let mut late = facts();
        late.at = NOW.plus_ms(-1);
        late.summary.hostname = "older".into();
        fleet.told(&guid(1), Told::of(&late, NOW));
        let page = fleet.page(ask("", None, 9), |_| true);
        assert_eq!(names(&page), vec!["web-1"]);
        let view = &page.items[0];
        assert_eq!(
            (view.addresses.as_slice(), view.cpu.as_deref()),
            (&["10.0.0.7".to_owned()][..], Some("EPYC"))
        );
        assert_eq!(view.os_version, "Debian GNU/Linux 12");
        assert!(!fleet.enrolled(enrolled(1, "again")));
        assert_eq!(names(&fleet.page(ask("", None, 9), |_| true)), vec!["web-1"]);
    }

    #[test]
    fn devices_are_found_by_their_tags_which_outlive_an_enrolment() {
        let mut fleet = fleet(&["web-1", "web-2"]);
        let (web, db): (TagName, TagName) = ("web".parse().unwrap(), "db".parse().unwrap());
        fleet.tagged(DeviceTagged {
            guid: guid(2),
            tags: [db.clone()].into(),
            by: Actor {
                operator: OperatorId::from_bytes([6; 16]),
                username: "ada".into(),
            },
            at: NOW,
        });
        assert!(
            !fleet.enrolled(enrolled(2, "web-2")),
            "it enrols again and keeps its tags"
        );
        let by = |tag| Ask {
            tag: Some(tag),
            ..ask("", None, 9)
        };
        assert_eq!(names(&fleet.page(by(&db), |_| true)), vec!["web-2"]);
        assert_eq!(fleet.page(by(&web), |_| true).total, 0, "a name is no tag");
        let page = fleet.page(ask("db", None, 9), |_| true);
        assert_eq!((names(&page), &page.items[0].tags), (vec!["web-2"], &vec![db]));
    }

    #[test]
    fn a_revoked_device_stays_in_the_list() {
        let mut fleet = fleet(&["web-1"]);
        fleet.status_changed(&DeviceStatusChanged {
            guid: guid(1),
            status: DeviceStatus::Revoked,
            reason: "stolen".into(),
            at: NOW,
            by: Some(Actor {
                operator: OperatorId::from_bytes([6; 16]),
                username: "ada".into(),
            }),
        });
        assert!(
            !fleet.enrolled(enrolled(1, "web-1")),
            "it enrols again and stays what it was"
        );
        let shown = fleet.device(&guid(1)).unwrap().show(true, NOW);
        assert_eq!(
            (
                shown.status.as_str(),
                shown.status_reason.as_deref(),
                shown.status_by.as_deref(),
                shown.status_at
            ),
            ("revoked", Some("stolen"), Some("ada"), Some(NOW))
        );
    }
}
