//! A disk that is really full: a small file system of its own, in a namespace of its own.

use borealis_agent::core::record::{Record, RunKey};
use borealis_agent::journal::{FileJournal, Journal};
use borealis_bus_schema::forms::{SignatureBytes, Signed};
use borealis_bus_schema::ids::{RoleName, RunId};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::time::Timestamp;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "BOREALIS_TEST_SMALL_DISK";

#[test]
fn given_a_full_disk_then_no_order_is_taken_but_every_run_that_was_taken_can_end() {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return inside(Path::new(&disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let name = "disk::given_a_full_disk_then_no_order_is_taken_but_every_run_that_was_taken_can_end";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(INSIDE, disk.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

fn received(number: u32) -> Record {
    // Only the size matters here.
    let mut order = vec![7; 20_000];
    order[..4].copy_from_slice(&number.to_be_bytes());
    Record::Received {
        order,
        at: Timestamp::from_unix_ms(1),
    }
}

fn exited() -> Record {
    Record::Exited {
        key: RunKey {
            run: RunId::from_bytes([1; 16]),
            attempt: 1,
        },
        role: RoleName::script(),
        state: RunState::Succeeded,
        result: Signed {
            bytes: vec![1; 500],
            signature: SignatureBytes::from_bytes([2; 64]),
        },
        stdout_bytes: 0,
        stderr_bytes: 0,
        keep_until: None,
    }
}

fn inside(disk: &Path) {
    let path = disk.join("journal");
    let (mut journal, _) = FileJournal::open(&path).unwrap();
    journal.append(&[received(0)]).unwrap();
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 4_096]).is_ok() {}
    let mut taken = 1u32;
    let refused = loop {
        match journal.append(&[received(taken)]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "a full disk took everything");
    };
    assert!(refused.is_full(), "{refused:?}");
    // The most that may be taken at once: 4 under way, 256 waiting.
    for _ in 0..260 {
        journal.append(&[exited()]).unwrap();
    }
    assert!(journal.append(&[received(taken)]).unwrap_err().is_full());
    let (_, records) = FileJournal::open(&path).unwrap();
    assert_eq!(
        records.len(),
        taken as usize + 260,
        "nothing that was acknowledged is lost"
    );
    drop(filler);
    std::fs::remove_file(disk.join("filler")).unwrap();
    let (mut journal, _) = FileJournal::open(&path).unwrap();
    journal.append(&[received(taken)]).unwrap();
}
