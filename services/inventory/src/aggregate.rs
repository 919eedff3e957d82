//! What inventory decides: which parts of a device's facts are news.
//!
//! Uptime, free memory and free space change with every telling; small changes of them are no news and are kept in memory
//! only. Everything else is compared by its digest.

use std::collections::BTreeMap;

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::inventory::{Facts, Memory, Summary, Volume};
use borealis_bus_schema::time::Timestamp;
use serde::Serialize;

/// Is how much of an event its sections may fill, in bytes; what does not fit stands in files.
pub const INLINE_BYTES: usize = 20 << 10;
/// Is the largest section that stands in an event, in bytes.
pub const SECTION_INLINE_BYTES: usize = 8 << 10;
/// Is by how much a start time may seem to move without being another one, in milliseconds.
const BOOT_JITTER_MS: i64 = 120_000;
/// Is how much free space may change without being news: a fiftieth of the volume, and this many bytes.
const FREE_BYTES: u64 = 256 << 20;

/// Names a section of the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// [`Facts::summary`].
    Summary,
    /// [`Facts::cpu`].
    Cpu,
    /// [`Facts::memory`].
    Memory,
    /// [`Facts::storage`].
    Storage,
    /// [`Facts::network`].
    Network,
    /// [`Facts::os`].
    Os,
    /// [`Facts::software`].
    Software,
}

impl Section {
    /// Lists every section.
    pub const ALL: [Section; 7] = [
        Section::Summary,
        Section::Cpu,
        Section::Memory,
        Section::Storage,
        Section::Network,
        Section::Os,
        Section::Software,
    ];

    /// Returns the section's name, as in the facts.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Summary => "summary",
            Section::Cpu => "cpu",
            Section::Memory => "memory",
            Section::Storage => "storage",
            Section::Network => "network",
            Section::Os => "os",
            Section::Software => "software",
        }
    }

    /// Finds a section by its name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Encodes the section of some facts.
    ///
    /// Errors: the codec's, when it is too large.
    pub fn encode(self, facts: &Facts) -> Result<Vec<u8>, CodecError> {
        fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
            codec::encode(value)
        }
        match self {
            Section::Summary => bytes(&facts.summary),
            Section::Cpu => bytes(&facts.cpu),
            Section::Memory => bytes(&facts.memory),
            Section::Storage => bytes(&facts.storage),
            Section::Network => bytes(&facts.network),
            Section::Os => bytes(&facts.os),
            Section::Software => bytes(&facts.software),
        }
    }
}

/// Holds a section as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// How many bytes it has.
    pub size_bytes: u64,
    /// The bytes; none when they stand in the file of that digest.
    pub inline: Option<Vec<u8>>,
}

/// Holds what is known of a device's facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The sections.
    pub sections: BTreeMap<Section, Kept>,
    /// When the device gathered the newest of them, by its clock.
    pub told_at: Option<Timestamp>,
    /// When they came, by the server's clock.
    pub received_at: Option<Timestamp>,
}

/// Says that a device's facts changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsChanged {
    /// The device.
    pub guid: Guid,
    /// When it gathered them, by its clock.
    pub told_at: Timestamp,
    /// When they came, by the server's clock.
    pub received_at: Timestamp,
    /// The sections that changed, whole.
    pub sections: BTreeMap<Section, Kept>,
}

/// Is what a telling comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// What happened; none when nothing changed.
    pub event: Option<FactsChanged>,
    /// The bytes that have to stand in files before the event is written.
    pub files: Vec<Vec<u8>>,
}

/// Decides what of told facts is news.
///
/// Facts that are older than what is known, by the device's clock, are no news: they were overtaken.
///
/// Errors: the codec's, when a section is too large to be written.
pub fn decide(known: &Known, facts: &Facts, now: Timestamp) -> Result<News, CodecError> {
    if known.told_at.is_some_and(|told_at| facts.at < told_at) {
        return Ok(News::default());
    }
    let mut changed: Vec<(Section, Vec<u8>, [u8; 32])> = Vec::new();
    for section in Section::ALL {
        let bytes = section.encode(facts)?;
        let digest = sha256(&bytes);
        let before = known.sections.get(&section);
        if before.is_none_or(|before| before.digest != digest && !is_drift(section, before, &bytes)) {
            changed.push((section, bytes, digest));
        }
    }
    if changed.is_empty() {
        return Ok(News::default());
    }
    // The largest sections are the first to become files.
    changed.sort_by_key(|(section, bytes, _)| (bytes.len(), *section));
    let mut news = News::default();
    let (mut sections, mut inline_bytes) = (BTreeMap::new(), 0);
    for (section, bytes, digest) in changed {
        let fits = bytes.len() <= SECTION_INLINE_BYTES && inline_bytes + bytes.len() <= INLINE_BYTES;
        let mut kept = Kept {
            digest,
            size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            inline: None,
        };
        if fits {
            inline_bytes += bytes.len();
            kept.inline = Some(bytes);
        } else {
            news.files.push(bytes);
        }
        sections.insert(section, kept);
    }
    news.event = Some(FactsChanged {
        guid: facts.guid,
        told_at: facts.at,
        received_at: now,
        sections,
    });
    Ok(news)
}

/// Takes in what happened.
pub fn evolve(mut known: Known, event: &FactsChanged) -> Known {
    let sections = event.sections.iter().map(|(section, kept)| (*section, kept.clone()));
    known.sections.extend(sections);
    known.told_at = Some(event.told_at);
    known.received_at = Some(event.received_at);
    known
}

/// Tells whether two versions of a section differ only in what always moves.
fn is_drift(section: Section, before: &Kept, now: &[u8]) -> bool {
    let Some(before) = &before.inline else { return false };
    match section {
        Section::Summary => both(before, now, |before: &Summary, now| {
            let moved = match (before.boot_at, now.boot_at) {
                (Some(before), Some(now)) => now.since_ms(before).abs() > BOOT_JITTER_MS,
                (before, now) => before != now,
            };
            let still = |summary: &Summary| Summary {
                uptime_ms: 0,
                boot_at: None,
                ..summary.clone()
            };
            !moved && still(before) == still(now)
        }),
        Section::Memory => both(before, now, |before: &Memory, now| {
            before.total_bytes == now.total_bytes && before.swap_bytes == now.swap_bytes
        }),
        Section::Storage => both(before, now, |before: &Vec<Volume>, now| {
            before.len() == now.len() && before.iter().zip(now).all(|(before, now)| volume_is_drift(before, now))
        }),
        Section::Cpu | Section::Network | Section::Os | Section::Software => false,
    }
}

fn volume_is_drift(before: &Volume, now: &Volume) -> bool {
    let same_place = Volume {
        free_bytes: 0,
        ..before.clone()
    } == Volume {
        free_bytes: 0,
        ..now.clone()
    };
    same_place && before.free_bytes.abs_diff(now.free_bytes) <= (now.total_bytes / 50).max(FREE_BYTES)
}

fn both<T: serde::de::DeserializeOwned>(before: &[u8], now: &[u8], same: impl Fn(&T, &T) -> bool) -> bool {
    match (codec::decode(before), codec::decode(now)) {
        (Ok(before), Ok(now)) => same(&before, &now),
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use borealis_bus_schema::messages::inventory::{Cpu, Interface, Os, Package};

    pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    pub(crate) fn guid(seed: u8) -> Guid {
        Guid::from_random([seed; 16])
    }

    pub(crate) fn facts() -> Facts {
        Facts {
            guid: guid(1),
            at: NOW,
            summary: Summary {
                hostname: "web-1".into(),
                last_user: Some("ada".into()),
                uptime_ms: 60_000,
                boot_at: Some(NOW.plus_ms(-60_000)),
                serial: None,
                model: Some("QEMU".into()),
                kind: Some("virtual".into()),
            },
            cpu: Cpu {
                model: "EPYC".into(),
                logical: 4,
                physical: Some(2),
            },
            memory: Memory {
                total_bytes: 8 << 30,
                available_bytes: 4 << 30,
                swap_bytes: 0,
            },
            storage: vec![Volume {
                mount: "/".into(),
                device: "/dev/vda1".into(),
                file_system: "ext4".into(),
                total_bytes: 100 << 30,
                free_bytes: 60 << 30,
            }],
            network: vec![Interface {
                name: "eth0".into(),
                mac: "52:54:00:00:00:01".into(),
                addresses: vec!["10.0.0.7/24".into()],
            }],
            os: Os {
                family: "linux".into(),
                name: "Debian GNU/Linux".into(),
                version: "12".into(),
                kernel: "6.1".into(),
                arch: "x86_64".into(),
            },
            software: vec![Package {
                name: "bash".into(),
                version: "5.2".into(),
                source: "dpkg".into(),
            }],
        }
    }

    fn given(facts: &Facts) -> Known {
        let event = decide(&Known::default(), facts, NOW).unwrap().event.unwrap();
        evolve(Known::default(), &event)
    }
    fn changed(known: &Known, facts: &Facts) -> Vec<Section> {
        let event = decide(known, facts, NOW).unwrap().event;
        event
            .map(|event| event.sections.into_keys().collect())
            .unwrap_or_default()
    }

    #[test]
    fn given_nothing_when_told_then_everything_is_news() {
        assert_eq!(changed(&Known::default(), &facts()), Section::ALL);
    }

    #[test]
    fn given_facts_when_told_again_then_nothing_is_news() {
        assert_eq!(changed(&given(&facts()), &facts()), vec![]);
    }

    #[test]
    fn given_facts_when_a_part_changes_then_only_it_is_news() {
        let mut now = facts();
        now.cpu.logical = 8;
        now.software.clear();
        assert_eq!(changed(&given(&facts()), &now), [Section::Cpu, Section::Software]);
    }

    #[test]
    fn given_facts_when_only_moving_numbers_move_then_nothing_is_news() {
        let mut now = facts();
        now.at = NOW.plus_ms(300_000);
        now.summary.uptime_ms += 300_000;
        now.summary.boot_at = Some(NOW.plus_ms(-59_000));
        now.memory.available_bytes = 1;
        now.storage[0].free_bytes -= 1 << 30;
        assert_eq!(changed(&given(&facts()), &now), vec![]);
        now.summary.boot_at = Some(NOW.plus_ms(200_000));
        now.storage[0].free_bytes -= 10 << 30;
        assert_eq!(changed(&given(&facts()), &now), [Section::Summary, Section::Storage]);
    }

    #[test]
    fn given_newer_facts_when_older_ones_come_late_then_they_are_no_news() {
        let mut late = facts();
        late.at = NOW.plus_ms(-1);
        late.cpu.logical = 99;
        assert_eq!(changed(&given(&facts()), &late), vec![]);
    }

    #[test]
    fn given_nothing_when_much_is_told_then_large_sections_become_files() {
        let mut much = facts();
        let package = |number: usize| Package {
            name: format!("package-{number}"),
            version: "1.0".into(),
            source: "dpkg".into(),
        };
        much.software = (0..2_000).map(package).collect();
        let news = decide(&Known::default(), &much, NOW).unwrap();
        let event = news.event.unwrap();
        let software = &event.sections[&Section::Software];
        assert_eq!(software.inline, None);
        assert_eq!(news.files.len(), 1);
        assert_eq!(sha256(&news.files[0]), software.digest);
        assert!(event.sections[&Section::Cpu].inline.is_some());
    }

    #[test]
    fn given_nothing_when_every_section_is_middling_then_an_event_stays_small() {
        let mut much = facts();
        let interface = |number: usize| Interface {
            name: format!("veth{number}"),
            mac: "52:54:00:00:00:01".into(),
            addresses: vec!["10.0.0.7/24".into()],
        };
        much.network = (0..80).map(interface).collect();
        much.storage = vec![much.storage[0].clone(); 70];
        much.software = vec![much.software[0].clone(); 150];
        let event = decide(&Known::default(), &much, NOW).unwrap().event.unwrap();
        let inline: usize = event
            .sections
            .values()
            .filter_map(|kept| kept.inline.as_ref().map(Vec::len))
            .sum();
        assert!(inline <= INLINE_BYTES, "{inline}");
    }
}
