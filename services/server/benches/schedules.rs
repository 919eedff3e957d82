//! `schedules`: how late firings are written down when many are due at once, and what a million that sleep cost.
//!
//! The scheduler runs in this process on a real bus, over a log that was written before it starts. First so many schedules
//! (`schedules [due] [sleeping]`, 10,000 and 1,000,000 unless told) are due within one minute; a reader of the log takes the
//! time at which it sees each decision durable. Then it starts over as many that sleep until the year 2999, and idles.
//! `ours` is the 99th percentile of the lateness, `reference` what is aimed at: one second. Last line of stdout: one JSON
//! object.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

#[expect(dead_code, reason = "the other benches use more of it")]
mod machine;

use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, RoleName, ScheduleId, SiteName, VerbName};
use borealis_bus_schema::messages::schedules::{Concurrency, Misfire, Timing};
use borealis_bus_schema::messages::shared_events::SharedEvent;
use borealis_bus_schema::order::{Context, Digest};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, EventLog, Follower, NewEvent, StreamId, StreamWrite};
use borealis_scheduler::files::Files;
use borealis_scheduler::job::What;
use borealis_scheduler::orders::Warrant;
use borealis_scheduler::run::Retry;
use borealis_scheduler::schedule::{Created, Event};
use borealis_scheduler::stored::Stored;
use borealis_service_kit::auth::{SessionClaims, Sites, mint_grant};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{TestBus, TestDevice, TestOperator, TestService, biscuit_root, open_store};
use serde_json::{Value, json};

use crate::machine::machine;

/// Is how many schedules one append makes.
const AT_ONCE: usize = 200;
/// Is within what time all of the first kind are due, in milliseconds.
const MINUTE_MS: i64 = 60_000;
/// Is how long the service is watched while it idles.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let (due, sleeping) = (sizes.next().unwrap_or(10_000), sizes.next().unwrap_or(1_000_000));
    let fired = many_due(due).await;
    let slept = many_asleep(sleeping).await;
    let p99 = fired["lateness_p99_ms"].as_f64().unwrap();
    println!(
        "{}",
        json!({
            "bench": "schedules",
            "unit": "ms",
            "ours": p99,
            "reference": 1_000,
            "ratio": p99 / 1_000.0,
            "figures": {"due_in_a_minute": fired, "asleep": slept},
            "machine": machine()
        })
    );
}

/// Is a root with a bus, and what schedules are written from.
struct World {
    bus: TestBus,
    file: Digest,
    grant: GrantId,
    author: OperatorId,
}

impl World {
    async fn start(guid: Guid) -> Self {
        let bus = TestBus::start().await.unwrap();
        let operator = TestOperator::log_in(&bus, &Right::ALL, &Sites::All).unwrap();
        let (grant, author): (GrantId, OperatorId) = (random::id(), random::id());
        let command: CommandId = random::id();
        let body = json!({
            "name": "x", "kind": "daily", "job": {"targets": {"guids": [guid]}, "role": "agent", "verb": "ping"},
        });
        let now = SystemClock.now();
        let call = operator.call(
            Service::Scheduler,
            "schedules-create",
            "",
            body.to_string().as_bytes(),
            command,
            now,
        );
        let call = call.unwrap();
        let claims = SessionClaims {
            operator: author,
            username: "ada".into(),
            session: operator.session,
            session_key: PublicKey::of(&operator.key),
            rights: [(Right::JobsRun, Sites::All)].into(),
            expires_at: now.plus_ms(24 * 3_600_000),
        };
        let root = biscuit_root(&bus).unwrap();
        let token = mint_grant(&root, &claims, grant, &call.granted_digest(&command)).unwrap();
        let folder = bus.paths().state(Service::Scheduler);
        borealis_service_kit::keys::private_folder(&folder).unwrap();
        let files = Files::open(&folder.join("files")).unwrap();
        let warrant = Warrant {
            call,
            grant: token,
            targets: files.put(Vec::new()).await.unwrap(),
            schedule: None,
            assembly: None,
        };
        let file = files.put(codec::encode(&warrant).unwrap()).await.unwrap();
        Self {
            bus,
            file,
            grant,
            author,
        }
    }

    /// Writes one schedule that is due once.
    fn once(&self, guid: Guid, start: Timestamp) -> (String, NewEvent) {
        let id = ScheduleId::of_command(&random::id());
        let created = Created {
            schedule: id,
            name: "often".into(),
            author: self.author,
            username: "ada".into(),
            what: What {
                role: RoleName::agent(),
                verb: VerbName::ping(),
                language: None,
                context: Context::System,
                script_digest: None,
                timeout_ms: 60_000,
                retry: Retry::default(),
                waves: None,
            },
            expires_in_ms: 3_600_000,
            timing: Timing {
                cron: None,
                kind: Some("once".into()),
                zone: "Europe/Stockholm".into(),
                start: Some(start),
                end: None,
                misfire: Misfire::Once,
                misfire_most: 10,
                late_limit_ms: None,
                concurrency: Concurrency::Allow,
                jitter_ms: 0,
            },
            signed_at: SystemClock.now(),
            created_at: SystemClock.now(),
            grant: self.grant,
            file: self.file,
            guids: vec![guid],
            sites: vec![SiteName::default_site()],
        };
        let event = Stored::Schedule(Event::Created(Box::new(created)));
        (format!("schedule-{id}"), event.encode().unwrap())
    }

    async fn seed(&self, service: Service, mut events: impl Iterator<Item = (String, NewEvent)>) {
        let log = open_store(self.bus.paths(), service).unwrap();
        loop {
            let writes = events.by_ref().take(AT_ONCE).map(|(stream, event)| StreamWrite {
                stream: StreamId::new(&stream).unwrap(),
                expected: 0,
                events: vec![event],
            });
            let writes: Vec<_> = writes.collect();
            if writes.is_empty() {
                break;
            }
            let append = Append {
                command_id: random::bytes(),
                command_digest: [0; 32],
                at_ms: SystemClock.now().unix_ms(),
                writes,
                answer: Vec::new(),
            };
            log.append(append).await.unwrap();
        }
        log.flush_and_close().await.unwrap();
    }

    async fn enrollment(&self, device: &TestDevice) -> TestService {
        let enrolled = device.enrolled("h", SiteName::default_site());
        let event = NewEvent {
            kind: borealis_bus_schema::messages::shared_events::DeviceEnrolled::KIND.into(),
            body: codec::encode(&enrolled).unwrap(),
        };
        self.seed(Service::Enrollment, std::iter::once(("device-1".to_owned(), event)))
            .await;
        let build = async |deps: borealis_service_kit::run::Deps| Ok(deps.builder().into());
        TestService::start(&self.bus, Service::Enrollment, build).await.unwrap()
    }

    async fn scheduler(&self) -> TestService {
        TestService::start(&self.bus, Service::Scheduler, borealis_scheduler::build)
            .await
            .unwrap()
    }
}

/// Has schedules due all through one minute, and reads when each decision is durable.
async fn many_due(size: usize) -> Value {
    let device = TestDevice::draw();
    let world = World::start(device.guid).await;
    // Writing them and starting takes a while.
    let first = SystemClock.now().plus_ms(20_000 + i64::try_from(size).unwrap() / 2);
    let start = |number: usize| {
        let share = i64::try_from(number).unwrap() * MINUTE_MS / i64::try_from(size).unwrap();
        world.once(device.guid, first.plus_ms(share))
    };
    world.seed(Service::Scheduler, (0..size).map(start)).await;
    let enrollment = world.enrollment(&device).await;
    let scheduler = world.scheduler().await;
    assert!(SystemClock.now() < first, "the service came up too late for this bench");
    eprintln!("schedules: {size} are due from {first} on, within a minute");
    let mut follower = Follower::new(Arc::clone(&scheduler.log), 0);
    let (mut lateness, mut last) = (Vec::with_capacity(size), first);
    while lateness.len() < size {
        let records = follower.next(1_024).await.unwrap();
        let now = SystemClock.now();
        for record in records {
            let Some(body) = &record.body else { continue };
            if record.kind != "ScheduleDecided" {
                continue;
            }
            let Ok(Stored::Schedule(Event::Decided(decided))) = Stored::decode(&record.kind, body) else {
                continue;
            };
            lateness.extend(decided.firings.iter().map(|firing| now.since_ms(firing.due)));
            last = now;
        }
    }
    lateness.sort_unstable();
    let at = |share: usize| {
        lateness
            .get((lateness.len() * share / 100).min(lateness.len() - 1))
            .copied()
    };
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
    json!({
        "schedules": size, "lateness_p50_ms": at(50), "lateness_p99_ms": at(99), "lateness_max_ms": at(100),
        "all_recorded_after_ms": last.since_ms(first),
    })
}

/// Starts over schedules that sleep, and idles.
async fn many_asleep(size: usize) -> Value {
    let device = TestDevice::draw();
    let world = World::start(device.guid).await;
    let far: Timestamp = "2999-01-01T00:00:00Z".parse().unwrap();
    let began = Instant::now();
    let sleepers = (0..size).map(|_| world.once(device.guid, far));
    world.seed(Service::Scheduler, sleepers).await;
    eprintln!("schedules: {size} were written in {:?}", began.elapsed());
    let enrollment = world.enrollment(&device).await;
    let began = Instant::now();
    let scheduler = world.scheduler().await;
    let took = began.elapsed();
    let (before, began) = (cpu_ms(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let used = (cpu_ms() - before) / began.elapsed().as_secs_f64();
    let memory = status("VmRSS:");
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
    json!({
        "schedules": size, "start_ms": took.as_millis(), "idle_cpu_ms_per_s": used, "rss_bytes": memory,
        "beside_it": "the bench, enrollment and the bus client stand in the same process",
    })
}

/// Returns the processor time of this process, in milliseconds.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap();
    // A tick is ten milliseconds.
    (ticks(11) + ticks(12)) * 10.0
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
}
