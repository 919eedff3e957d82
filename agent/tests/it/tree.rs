//! Runs of real processes: nothing escapes, nothing grows without bounds.

use borealis_agent::core::record::RunKey;
use borealis_agent::core::{Ending, Exit};
use borealis_agent::process::reaper::Plan;
use borealis_agent::process::run::{RunEvent, RunSpec, end_leftovers, run};
use borealis_agent::process::{spool, tree};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_test_support::eventually;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const WRAPPER: &str = env!("CARGO_BIN_EXE_borealis-agent");

fn key() -> RunKey {
    RunKey {
        run: RunId::from_bytes(borealis_agent::random::bytes().unwrap()),
        attempt: 1,
    }
}

fn spec(work: &Path, key: RunKey, program: &str, args: &[&str], limit_bytes: u64) -> RunSpec {
    let folder = spool::prepare(work, key).unwrap();
    let env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin:/bin".into()),
        (tree::MARK.to_owned(), key.to_string().into()),
    ]);
    RunSpec {
        wrapper: PathBuf::from(WRAPPER),
        work: work.to_owned(),
        key,
        limit_bytes,
        plan: Plan {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            env,
            folder,
        },
    }
}

struct Begun {
    end: oneshot::Sender<()>,
    events: mpsc::UnboundedReceiver<RunEvent>,
    exit: JoinHandle<Exit>,
}

fn begin(spec: RunSpec) -> Begun {
    let (end, ended) = oneshot::channel();
    let (tell, events) = mpsc::unbounded_channel();
    let exit = tokio::spawn(run(spec, ended, move |event| {
        let _ = tell.send(event);
    }));
    Begun { end, events, exit }
}

fn shell(work: &Path, key: RunKey, script: &str) -> RunSpec {
    spec(work, key, "/bin/sh", &["-c", script], 1 << 20)
}

impl Begun {
    async fn until_output(&mut self) {
        let waiting = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, RunEvent::Grew(..)) {
                    return;
                }
            }
            panic!("the run ended without output");
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("output");
    }
    async fn exit(self) -> Exit {
        tokio::time::timeout(Duration::from_secs(120), self.exit)
            .await
            .expect("an end")
            .unwrap()
    }
}

/// Lists the living processes whose command line holds a text.
fn with_argument(text: &str) -> Vec<i32> {
    let has = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|argument| argument == text.as_bytes())
    };
    tree::all()
        .into_iter()
        .filter(|process| !process.is_zombie && has(process.pid))
        .map(|process| process.pid)
        .collect()
}

fn text_of(work: &Path, key: RunKey, stream: OutputStream, len: u64) -> Vec<u8> {
    spool::read(work, key, stream, 0, usize::try_from(len).unwrap()).unwrap()
}

#[tokio::test]
async fn given_a_script_then_code_streams_and_duration_are_real() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let exit = begin(shell(work.path(), key, "printf out; printf err >&2; sleep 0.2; exit 7"))
        .exit()
        .await;
    assert_eq!(exit.ending, Ending::Code(7));
    assert_eq!((exit.stdout_bytes, exit.stderr_bytes, exit.truncated), (3, 3, false));
    assert!((200..10_000).contains(&exit.duration_ms), "{exit:?}");
    assert_eq!(text_of(work.path(), key, OutputStream::Stdout, 3), b"out");
    assert_eq!(text_of(work.path(), key, OutputStream::Stderr, 3), b"err");
}

#[tokio::test]
async fn given_a_signal_then_it_is_told() {
    let work = tempfile::tempdir().unwrap();
    let exit = begin(shell(work.path(), key(), "kill -9 $$")).exit().await;
    assert_eq!(exit.ending, Ending::Signal(9));
}

#[tokio::test]
async fn given_a_program_that_is_not_there_then_nothing_began() {
    let work = tempfile::tempdir().unwrap();
    let exit = begin(spec(work.path(), key(), "/no/such/program", &[], 10))
        .exit()
        .await;
    assert!(
        matches!(
            exit.ending,
            Ending::NotBegun {
                code: Code::InterpreterMissing,
                ..
            }
        ),
        "{exit:?}"
    );
}

#[tokio::test]
async fn given_a_tree_that_forks_twice_into_sessions_of_its_own_when_it_is_ended_then_nothing_is_left() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let marks: Vec<String> = (1..=3).map(|n| format!("8{n}{}", std::process::id())).collect();
    // Double fork with a session, the same without the mark, and one that ignores the polite signal.
    let script = format!(
        "(setsid sh -c 'sleep {} & sleep {} & wait' &) ; (env -i setsid sh -c 'sleep {} & wait' &) ; trap '' TERM ; echo ready ; while : ; do sleep 1 ; done",
        marks[0], marks[1], marks[2],
    );
    let mut begun = begin(shell(work.path(), key, &script));
    begun.until_output().await;
    eventually("the whole tree", async || {
        let grown = marks.iter().all(|mark| !with_argument(mark).is_empty());
        grown.then_some(())
    })
    .await
    .unwrap();
    let began = Instant::now();
    let Begun { end, exit, .. } = begun;
    end.send(()).unwrap();
    let exit = exit.await.unwrap();
    // The grace, and what a loaded machine needs beside it; never the hour that is slept.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(matches!(exit.ending, Ending::Signal(_) | Ending::Code(_)), "{exit:?}");
    for mark in &marks {
        assert_eq!(with_argument(mark), [0i32; 0], "{mark}");
    }
    assert!(tree::marked(&key.to_string()).is_empty());
}

#[tokio::test]
async fn given_an_agent_that_dies_then_the_wrapper_ends_the_tree() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let mut begun = begin(shell(work.path(), key, "setsid sleep 3600 & echo ready; sleep 3600"));
    begun.until_output().await;
    let note = std::fs::read_to_string(spool::folder(work.path(), key).join("wrapper")).unwrap();
    let wrapper: i32 = note.split(' ').next().unwrap().parse().unwrap();
    assert!(tree::below(wrapper).len() >= 2);
    // Dropping the task closes the control socket, as the end of the process would.
    begun.exit.abort();
    eventually("the end of the tree", async || {
        tree::marked(&key.to_string()).is_empty().then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn given_leftovers_of_a_run_whose_wrapper_was_killed_then_they_are_ended_and_measured() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let mut begun = begin(shell(
        work.path(),
        key,
        "(setsid sleep 3600 &); printf partial; sleep 3600",
    ));
    begun.until_output().await;
    let note = std::fs::read_to_string(spool::folder(work.path(), key).join("wrapper")).unwrap();
    let wrapper: i32 = note.split(' ').next().unwrap().parse().unwrap();
    begun.exit.abort();
    tree::send(wrapper, rustix::process::Signal::KILL);
    let path = work.path().to_owned();
    let exit = tokio::task::spawn_blocking(move || end_leftovers(&path, key))
        .await
        .unwrap();
    assert!(tree::marked(&key.to_string()).is_empty());
    assert_eq!(exit.stdout_bytes, 7);
}

#[tokio::test]
async fn given_gigabytes_of_output_then_neither_disk_nor_memory_grows_and_the_run_goes_to_its_end() {
    const LIMIT: u64 = 10 << 20;
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let script = "head -c 1073741824 /dev/zero; echo done >&2; exit 3";
    let before = resident_kib();
    let exit = begin(spec(work.path(), key, "/bin/sh", &["-c", script], LIMIT))
        .exit()
        .await;
    assert_eq!(exit.ending, Ending::Code(3));
    assert!(exit.truncated);
    assert_eq!(exit.stdout_bytes + exit.stderr_bytes, LIMIT);
    let (stdout, stderr) = spool::sizes(work.path(), key);
    assert_eq!((stdout, stderr), (exit.stdout_bytes, exit.stderr_bytes));
    assert!(
        resident_kib() < before + (32 << 10),
        "{before} KiB became {} KiB",
        resident_kib()
    );
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn given_binary_output_and_an_endless_line_then_every_byte_is_kept() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let exit = begin(shell(
        work.path(),
        key,
        r"printf '\377\000\376ok'; head -c 300000 /dev/zero | tr '\0' x >&2",
    ))
    .exit()
    .await;
    assert_eq!((exit.stdout_bytes, exit.stderr_bytes), (5, 300_000));
    assert_eq!(text_of(work.path(), key, OutputStream::Stdout, 5), b"\xff\x00\xfeok");
    assert!(
        text_of(work.path(), key, OutputStream::Stderr, 300_000)
            .iter()
            .all(|byte| *byte == b'x')
    );
}

#[tokio::test]
async fn given_something_left_in_the_background_then_the_run_ends_with_its_own_process() {
    let work = tempfile::tempdir().unwrap();
    let key = key();
    let began = Instant::now();
    let exit = begin(shell(work.path(), key, "sleep 60 & echo ready")).exit().await;
    assert_eq!(exit.ending, Ending::Code(0));
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(exit.stdout_bytes, 6);
    for process in tree::marked(&key.to_string()) {
        tree::send(process.pid, rustix::process::Signal::KILL);
    }
}
