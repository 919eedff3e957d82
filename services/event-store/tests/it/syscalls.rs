//! What the system was asked for, in which order: a commit's write, its sync, then the acknowledgement.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::probe::{self, Probe, Word};
use crate::support::Place;

const CALLERS: u64 = 64;
const COMMANDS: u64 = 640;

/// A system call of the trace: when it was made and when it came back, counted in lines.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
    made: usize,
    back: usize,
    result: String,
}

/// Reads the lines of `strace -f -y -o`, puts interrupted calls together.
fn calls(trace: &str) -> Vec<Call> {
    let mut interrupted: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            interrupted.insert(thread, (line, begun));
            continue;
        }
        let resumed = text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"));
        let (made, whole) = match resumed {
            Some((_, end)) => match interrupted.remove(thread) {
                Some((made, begun)) => (made, format!("{begun}{end}")),
                None => continue,
            },
            None => (line, text.to_owned()),
        };
        let parts = whole.split_once('(').zip(whole.rsplit_once(") "));
        let Some(((name, _), (call, end))) = parts else {
            continue;
        };
        let Some(result) = end.trim_start().strip_prefix("= ") else {
            continue;
        };
        found.push(Call {
            name: name.to_owned(),
            arguments: call
                .split_once('(')
                .map_or_else(String::new, |(_, rest)| rest.to_owned()),
            made,
            back: line,
            result: result.to_owned(),
        });
    }
    found
}

/// Gives the numbers of a line that the process said, if this call wrote one that begins with this word.
fn said(call: &Call, word: &str) -> Option<Vec<u64>> {
    let (_, line) = call.arguments.split_once(&format!("\"{word} "))?;
    line.split_once("\\n")?
        .0
        .split(' ')
        .map(|number| number.parse().ok())
        .collect()
}

/// Checks every acknowledgement and every head of a trace; gives the number of acknowledgements.
fn check(trace: &str, db: &Path) -> Result<usize, String> {
    let calls = calls(trace);
    let file = format!("<{}>", db.display());
    let on_db = |call: &&Call| {
        call.arguments
            .split(',')
            .next()
            .is_some_and(|first| first.contains(&file))
    };
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.name == "pwrite64")
        .filter(on_db)
        .collect();
    let syncs: Vec<_> = calls
        .iter()
        .filter(|call| call.name == "fdatasync" && call.result == "0")
        .filter(on_db)
        .collect();
    let is_durable = |number: u64, told: &Call| {
        let mark = format!("<mark-{number}>");
        let Some(write) = writes
            .iter()
            .find(|call| call.arguments.contains(&mark) && call.back < told.made)
        else {
            return Err(format!("command {number} was told of before its write"));
        };
        match syncs.iter().any(|sync| write.back < sync.made && sync.back < told.made) {
            true => Ok(()),
            false => Err(format!(
                "command {number} was told of without fdatasync after its write"
            )),
        }
    };
    let mut acknowledged = BTreeMap::new();
    let told: Vec<_> = calls.iter().filter(|call| call.name == "write").collect();
    for call in &told {
        if let Some([number, position]) = said(call, "a").as_deref() {
            is_durable(*number, call)?;
            acknowledged.insert(*position, *number);
        }
    }
    for call in &told {
        if let Some([position]) = said(call, "h").as_deref() {
            let number = acknowledged
                .get(position)
                .ok_or_else(|| format!("nothing stands at the head {position}"))?;
            is_durable(*number, call)?;
        }
    }
    Ok(acknowledged.len())
}

/// Runs the process under strace with 64 callers; gives the trace.
fn trace(place: &Place, skip_sync: bool) -> String {
    let version = Command::new("strace").arg("--version").output();
    assert!(
        version.is_ok(),
        "strace is missing; install it: apt-get install -y strace"
    );
    let file = place.path().with_extension("trace");
    let file_name = file.to_str().unwrap();
    let tracer = ["strace", "-f", "--seccomp-bpf", "-y", "-s", "4000000", "-o", file_name];
    let tracer = [
        &tracer[..],
        &["-e", "trace=pwrite64,write,fdatasync", "-e", "signal=none"],
    ]
    .concat();
    let options = probe::Options {
        store: &place.path(),
        tail_events: 8192,
        taken_first: 0,
        skip_sync,
        tells_heads: true,
    };
    let mut probe = Probe::start(probe::command(&tracer, &options));
    let mut sent = CALLERS;
    (1..=CALLERS).for_each(|number| probe.send(number));
    let mut acknowledged = 0;
    while acknowledged < COMMANDS {
        if let Word::Acknowledged { .. } = probe.next().expect("the process ended by itself") {
            acknowledged += 1;
            if sent < COMMANDS {
                sent += 1;
                probe.send(sent);
            }
        }
    }
    probe.finish();
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn each_acknowledgement_follows_its_write_and_its_sync() {
    let place = Place::new();
    let checked = check(&trace(&place, false), &place.path().join("db"));
    assert_eq!(checked, Ok(usize::try_from(COMMANDS).unwrap()));
}

#[test]
fn the_same_check_refuses_a_store_that_does_not_sync() {
    let place = Place::new();
    let checked = check(&trace(&place, true), &place.path().join("db"));
    assert!(
        matches!(&checked, Err(reason) if reason.contains("without fdatasync")),
        "{checked:?}"
    );
}

#[test]
fn the_check_knows_the_wrong_orders() {
    let write = "1 pwrite64(5</s/db>, \"x<mark-7>\", 9, 0) = 9\n";
    let sync = "1 fdatasync(6</s/db>) = 0\n";
    let answer = "2 write(1<pipe:[1]>, \"a 7 1\\n\", 6) = 6\n";
    let try_order = |lines: &[&str]| check(&lines.concat(), Path::new("/s/db"));
    assert_eq!(try_order(&[write, sync, answer]), Ok(1));
    let head = "3 write(1<pipe:[1]>, \"h 1\\n\", 4) = 4\n";
    assert_eq!(try_order(&[write, sync, head, answer]), Ok(1));
    assert!(try_order(&[write, head, sync, answer]).is_err());
    for wrong in [[write, answer, sync], [sync, write, answer], [answer, write, sync]] {
        assert!(try_order(&wrong).is_err(), "{wrong:?}");
    }
    let begun = "1 fdatasync(6</s/db> <unfinished ...>\n";
    let ended = "1 <... fdatasync resumed>) = 0\n";
    assert_eq!(try_order(&[write, begun, ended, answer]), Ok(1));
    assert!(try_order(&[write, begun, answer, ended]).is_err());
    assert!(try_order(&[begun, write, ended, answer]).is_err());
    assert!(try_order(&[write, "1 fdatasync(6</s/db>) = -1 EIO (I/O)\n", answer]).is_err());
    assert!(try_order(&[write, "1 fdatasync(6</s/other>) = 0\n", answer]).is_err());
}
