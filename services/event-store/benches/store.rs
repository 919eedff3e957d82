//! The `store` bench: durable appends of 64 callers and of one, against a bare group commit of the same bytes; replay into
//! a view; memory after a scan. `cargo bench -p borealis-event-store --bench store -- [appends]`, default 400,000.
//!
//! The last line of its output is one JSON object; progress goes to stderr.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_event_store::{
    Append, EventLog, EventRecord, NewEvent, OpenOptions, SledLog, SledView, StreamId, StreamWrite, View, ViewBatch,
    ViewError, verify,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const CALLERS: u64 = 64;
const STREAMS: u64 = 1_000;
const EVENT_BYTES: usize = 200;
const ALONE: u64 = 2_000;
const REPLAYED: u64 = 1_000_000;
const SCANNED_BYTES: u64 = 2_000_000_000;
const FILL_EVENTS: u64 = 500;

fn main() {
    if std::env::args().any(|argument| ["--list", "--test"].contains(&argument.as_str())) {
        // A test runner looks for tests; there are none.
        return;
    }
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["fill", folder, events] => fill(Path::new(folder), events.parse().unwrap()),
        ["scan", folder] => scan(Path::new(folder)),
        ["append", folder, appends] => append(Path::new(folder), appends.parse().unwrap()),
        ["replay", folder, events] => result(&format!(
            "{:?}",
            replay_filled(Path::new(folder), events.parse().unwrap())
        )),
        [] => bench(400_000),
        [appends, ..] => bench(appends.replace('_', "").parse().unwrap()),
    }
}

/// Tells how far the bench is.
fn progress(what: &str) {
    eprintln!("store: {what}");
}

/// Gives a result to whoever started this process.
fn result(line: &str) {
    println!("{line}");
}

fn bench(appends: u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let ours = durable(&runtime, &folder.path().join("durable"), appends);
    let reference = bare(&runtime, &folder.path().join("bare"), appends);
    let alone_us = alone(&runtime, &folder.path().join("alone"));
    let (replay, verified) = replay(&folder.path().join("replay"), appends.min(400_000) * REPLAYED / 400_000);
    let (scanned_bytes, rss_bytes, peak_bytes) = memory(&folder.path().join("memory"), appends.min(400_000));
    let line = serde_json::json!({
        "bench": "store", "unit": "acknowledged appends/s",
        "ours": ours.rate.round(), "reference": reference.rate.round(), "ratio": round3(reference.rate / ours.rate),
        "figures": {
            "appends": appends, "callers": CALLERS, "event_bytes": EVENT_BYTES,
            "p50_us": ours.p50_us, "p99_us": ours.p99_us, "disk_bytes": ours.disk_bytes,
            "reference_p50_us": reference.p50_us, "reference_p99_us": reference.p99_us,
            "one_caller_p50_us": alone_us.0, "one_caller_p99_us": alone_us.1,
            "replay_events_per_s": replay.round(), "verify_events_per_s": verified.round(),
            "scanned_bytes": scanned_bytes, "scan_rss_bytes": rss_bytes, "scan_peak_rss_bytes": peak_bytes,
            "aims": {"ours_min": 40_000, "p99_us_max": 10_000, "one_caller_p50_us_max": 2_000,
                "replay_events_per_s_min": 400_000, "scan_rss_bytes_max": 250_000_000},
        },
        "machine": machine(),
    });
    result(&line.to_string());
}

fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

struct Rate {
    rate: f64,
    p50_us: u64,
    p99_us: u64,
    disk_bytes: u64,
}

fn rate(started: Instant, latencies: Vec<Duration>) -> Rate {
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    Rate {
        rate,
        p50_us: quantile(&latencies, 0.5),
        p99_us: quantile(&latencies, 0.99),
        disk_bytes: 0,
    }
}

fn quantile(latencies: &[Duration], part: f64) -> u64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len() - 1)).unwrap().as_micros() as u64
}

/// 200 bytes that do not compress.
fn body(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(EVENT_BYTES);
    while bytes.len() < EVENT_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn stream(number: u64) -> StreamId {
    StreamId::new(&format!("stream-{number:08x}")).unwrap()
}

fn append_of(number: u64, stream: StreamId, expected: u64) -> Append {
    let mut command_id = [0; 16];
    let spread = number.wrapping_mul(0xD1B5_4A32_D192_ED03).to_be_bytes();
    command_id
        .iter_mut()
        .zip(spread.iter().chain(number.to_be_bytes().iter()))
        .for_each(|(to, from)| *to = *from);
    let event = NewEvent {
        kind: "Happened".to_owned(),
        body: body(number),
    };
    Append {
        command_id,
        command_digest: [7; 32],
        at_ms: 1_700_000_000_000 + number as i64,
        writes: vec![StreamWrite {
            stream,
            expected,
            events: vec![event],
        }],
        answer: Vec::new(),
    }
}

fn durable(runtime: &Runtime, folder: &Path, appends: u64) -> Rate {
    progress(&format!("{appends} appends by {CALLERS} callers"));
    let log = SledLog::open(folder, OpenOptions::new()).unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let log = log.clone();
            runtime.spawn(async move {
                let mut latencies = Vec::new();
                let mut versions: Vec<(StreamId, u64)> = (caller..STREAMS)
                    .step_by(CALLERS as usize)
                    .map(|number| (stream(number), 0))
                    .collect();
                let mine = (caller..appends).step_by(CALLERS as usize);
                for (turn, number) in mine.enumerate() {
                    let index = turn % versions.len();
                    let (stream, version) = versions.get_mut(index).unwrap();
                    let append = append_of(number, stream.clone(), *version);
                    let asked = Instant::now();
                    *version = log.append(append).await.unwrap().last;
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let latencies = gather(runtime, tasks);
    let mut rate = rate(started, latencies);
    runtime.block_on(log.flush_and_close()).unwrap();
    drop(log);
    assert_eq!(
        std::fs::read_dir(folder.join("blobs")).unwrap().count(),
        0,
        "blobs must stay empty"
    );
    rate.disk_bytes = std::fs::metadata(folder.join("db")).unwrap().len();
    rate
}

/// The appends alone, for a profiler.
fn append(folder: &Path, appends: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let rate = durable(&runtime, folder, appends);
    result(&format!(
        "{:.0}/s p50 {} us p99 {} us",
        rate.rate, rate.p50_us, rate.p99_us
    ));
}

fn gather(runtime: &Runtime, tasks: Vec<tokio::task::JoinHandle<Vec<Duration>>>) -> Vec<Duration> {
    runtime.block_on(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    })
}

/// The reference: the same callers, a writer that puts the same bytes into one file, `pwrite` and `fdatasync` per group.
fn bare(runtime: &Runtime, path: &Path, appends: u64) -> Rate {
    progress("the same bytes by pwrite and fdatasync");
    let file = File::create(path).unwrap();
    let (sender, mut requests) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(1024);
    let writer = std::thread::spawn(move || {
        let mut offset = 0;
        while let Some(first) = requests.blocking_recv() {
            let mut group = vec![first];
            while let Ok(next) = requests.try_recv() {
                group.push(next);
            }
            let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes).copied().collect();
            file.write_all_at(&bytes, offset).unwrap();
            file.sync_data().unwrap();
            offset += bytes.len() as u64;
            group.into_iter().for_each(|(_, answer)| answer.send(()).unwrap());
        }
    });
    let started = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let sender = sender.clone();
            runtime.spawn(async move {
                let mut latencies = Vec::new();
                for number in (caller..appends).step_by(CALLERS as usize) {
                    let bytes = body(number);
                    let asked = Instant::now();
                    let (answer, answered) = oneshot::channel();
                    sender.send((bytes, answer)).await.unwrap();
                    answered.await.unwrap();
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let rate = rate(started, gather(runtime, tasks));
    drop(sender);
    writer.join().unwrap();
    rate
}

/// One caller alone, in microseconds: median and p99.
fn alone(runtime: &Runtime, folder: &Path) -> (u64, u64) {
    progress(&format!("{ALONE} appends by one caller"));
    let log = SledLog::open(folder, OpenOptions::new()).unwrap();
    let latencies = runtime.block_on(async {
        let mut latencies = Vec::new();
        let mut version = 0;
        for number in 0..ALONE {
            let append = append_of(number, stream(0), version);
            let asked = Instant::now();
            version = log.append(append).await.unwrap().last;
            latencies.push(asked.elapsed());
        }
        latencies
    });
    (quantile(&latencies, 0.5), quantile(&latencies, 0.99))
}

/// The latest event of each stream.
struct Latest;

impl View for Latest {
    const NAME: &'static str = "latest";

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        batch.put(event.stream.as_str().as_bytes(), event.body.clone().unwrap_or_default())
    }
}

/// Replays events into a view from a store opened anew, then verifies them; both in events per second.
fn replay(folder: &Path, events: u64) -> (f64, f64) {
    progress(&format!("filling {events} events over {STREAMS} streams"));
    fill(folder, events);
    replay_filled(folder, events)
}

/// Replays a filled store.
fn replay_filled(folder: &Path, events: u64) -> (f64, f64) {
    progress("replaying them into a view, chain checked");
    let log = SledLog::open(folder, OpenOptions::new()).unwrap();
    let view = SledView::open(&log, Latest).unwrap();
    let started = Instant::now();
    assert_eq!(view.catch_up().unwrap(), events);
    let replayed = events as f64 / started.elapsed().as_secs_f64();
    assert_eq!(view.scan(b"", None, usize::MAX).unwrap().len() as u64, STREAMS);
    let started = Instant::now();
    assert_eq!(verify(&log, &[]).unwrap().checked, events);
    (replayed, events as f64 / started.elapsed().as_secs_f64())
}

/// Writes events over the streams, many with each append.
fn fill(folder: &Path, events: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let log = Arc::new(SledLog::open(folder, OpenOptions::new()).unwrap());
    let mut versions = vec![0; STREAMS as usize];
    let mut told = Instant::now();
    for first in (0..events).step_by(FILL_EVENTS as usize) {
        let mut append = append_of(first, stream(0), 0);
        append.writes = (first..(first + FILL_EVENTS).min(events))
            .map(|number| {
                let at = number % STREAMS;
                let expected = *versions.get(at as usize).unwrap();
                let event = NewEvent {
                    kind: "Happened".to_owned(),
                    body: body(number),
                };
                StreamWrite {
                    stream: stream(at),
                    expected,
                    events: vec![event],
                }
            })
            .collect();
        let appended = runtime.block_on(log.append(append)).unwrap();
        for (number, position) in (first..).zip(appended.first..=appended.last) {
            *versions.get_mut((number % STREAMS) as usize).unwrap() = position;
        }
        if told.elapsed() > Duration::from_secs(5) {
            progress(&format!("{} of {events} events filled", appended.last));
            told = Instant::now();
        }
    }
    runtime.block_on(log.flush_and_close()).unwrap();
}

/// Reads every event of a store, then tells the bytes read and this process's memory.
fn scan(folder: &Path) {
    let log = SledLog::open(folder, OpenOptions::new()).unwrap();
    let (mut position, mut bytes) = (0, 0);
    loop {
        let events = log.read_all(position, 1_000).unwrap();
        let Some(last) = events.last() else { break };
        position = last.position;
        bytes += events
            .iter()
            .map(|event| event.body.as_ref().map_or(0, Vec::len))
            .sum::<usize>();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    result(&format!("{bytes} {} {}", kib("VmRSS:") * 1024, kib("VmHWM:") * 1024));
}

/// Gives bytes scanned, memory after it and its peak, of a process that does nothing else.
fn memory(folder: &Path, share: u64) -> (u64, u64, u64) {
    let events = SCANNED_BYTES / EVENT_BYTES as u64 * share / 400_000;
    progress(&format!("filling {events} events to be scanned"));
    let own = |arguments: &[&str]| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stderr(std::process::Stdio::inherit())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    let path = folder.to_str().unwrap();
    own(&["fill", path, &events.to_string()]);
    progress("scanning them");
    let told = own(&["scan", path]);
    let mut numbers = told.split_whitespace().map(|number| number.parse().unwrap());
    (
        numbers.next().unwrap(),
        numbers.next().unwrap(),
        numbers.next().unwrap(),
    )
}

fn machine() -> serde_json::Value {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = memory
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    serde_json::json!({ "cpus": cpus, "mem_bytes": kib * 1024, "kernel": kernel.trim(), "rustc": rustc })
}
