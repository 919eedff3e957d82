//! Power cuts: a store on a disk of its own, whose writer is stopped where it is, and whose disk is read as it is at that moment.
//!
//! The disk is a file with ext4 on a loop device. What the file system has not written yet is not in the file; the copy of
//! the file is mounted, which replays its journal, as a machine does that gets its power back. It takes root and loop devices,
//! so that only `just powercut` does it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use borealis_event_store::{EventLog, OpenOptions, SledLog};

use crate::probe::{self, Probe, Word, body_of, stream_of};
use crate::support::stream;

/// Says how often the power is cut; without it nothing is done.
const CUTS: &str = "BOREALIS_POWER_CUTS";
/// Commands kept unanswered at any time.
const WINDOW: u64 = 32;

fn system(program: &str, args: &[&Path]) {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {out:?}");
}

/// Is a disk in a file.
struct Disk {
    folder: tempfile::TempDir,
    is_mounted: bool,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self {
            folder,
            is_mounted: false,
        };
        let file = std::fs::File::create(disk.image()).unwrap();
        file.set_len(512 << 20).unwrap();
        system("mkfs.ext4", &[Path::new("-q"), &disk.image()]);
        std::fs::create_dir(disk.mounted_at()).unwrap();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mounted_at(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn store(&self) -> PathBuf {
        self.mounted_at().join("store")
    }

    fn mount(&mut self) {
        let (image, at) = (self.image(), self.mounted_at());
        system("mount", &[Path::new("-o"), Path::new("loop"), &image, &at]);
        self.is_mounted = true;
    }

    fn unmount(&mut self) {
        system("umount", &[&self.mounted_at()]);
        self.is_mounted = false;
    }

    /// Copies the disk as it is now.
    fn copy(&self) -> PathBuf {
        let copy = self.folder.path().join("copy");
        system("cp", &[Path::new("--sparse=always"), &self.image(), &copy]);
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: after a failure a process may hold it still.
            let _ = Command::new("umount").arg("-l").arg(self.mounted_at()).status();
        }
    }
}

/// Lets a process append until it has acknowledged so many, cuts the power, and puts the disk as it was in its place.
fn cut(disk: &mut Disk, acknowledged: &mut BTreeSet<u64>, next: &mut u64, after: usize, skip_sync: bool) {
    disk.mount();
    let store = disk.store();
    let options = probe::Options {
        store: &store,
        tail_events: 500,
        taken_first: 0,
        skip_sync,
        tells_heads: false,
    };
    let mut probe = Probe::start(probe::command(&[], &options));
    let mut send = |probe: &mut Probe| {
        *next += 1;
        probe.send(*next);
    };
    (0..WINDOW).for_each(|_| send(&mut probe));
    let mut heard = 0;
    while heard < after {
        if let Word::Acknowledged { number, .. } = probe.next().expect("the process ended by itself") {
            acknowledged.insert(number);
            heard += 1;
            send(&mut probe);
        }
    }
    for word in probe.pause() {
        if let Word::Acknowledged { number, .. } = word {
            acknowledged.insert(number);
        }
    }
    let copy = disk.copy();
    // What it says from now on, nobody heard.
    probe.kill();
    disk.unmount();
    std::fs::rename(copy, disk.image()).unwrap();
}

/// Opens the store on the disk as it is, and returns which acknowledged commands are not there as they were.
fn lost(disk: &mut Disk, acknowledged: &BTreeSet<u64>) -> Result<Vec<u64>, String> {
    disk.mount();
    let store = disk.store();
    let opened = std::panic::catch_unwind(|| SledLog::open(&store, OpenOptions::new()));
    let found = match opened {
        Ok(Ok(log)) => acknowledged
            .iter()
            .filter(|number| {
                let records = log.read_stream(&stream(&stream_of(**number)), 0, 10);
                let is_whole = records.is_ok_and(|records| {
                    matches!(records.as_slice(), [event] if event.body.as_deref() == Some(&body_of(**number)))
                });
                !is_whole
            })
            .copied()
            .collect::<Vec<u64>>(),
        Ok(Err(error)) => return Err(format!("the store does not open: {error}")),
        Err(_) => return Err("the store does not open: it panicked".to_owned()),
    };
    disk.unmount();
    Ok(found)
}

fn cuts() -> Option<usize> {
    std::env::var(CUTS).ok().map(|text| text.parse().unwrap())
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    let Some(cuts) = cuts() else { return };
    let mut disk = Disk::new();
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    for number in 0..cuts {
        cut(&mut disk, &mut acknowledged, &mut next, 1 + number * 37 % 400, false);
        let lost = lost(&mut disk, &acknowledged);
        assert_eq!(lost, Ok(Vec::new()), "after cut {number}");
    }
    println!(
        "{cuts} power cuts: {} commands acknowledged, 0 lost, 0 stores unreadable",
        acknowledged.len()
    );
}

#[test]
fn power_cuts_of_a_store_that_does_not_sync_lose_something() {
    let Some(cuts) = cuts() else { return };
    for number in 0..cuts {
        let mut disk = Disk::new();
        let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
        cut(&mut disk, &mut acknowledged, &mut next, 100 + number * 37 % 400, true);
        match lost(&mut disk, &acknowledged) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => return println!("without its sync: {} of {} are lost", lost.len(), acknowledged.len()),
            Err(unreadable) => return println!("without its sync: {unreadable}"),
        }
    }
    panic!("{cuts} power cuts of a store that does not sync lost nothing: this test sees nothing");
}
