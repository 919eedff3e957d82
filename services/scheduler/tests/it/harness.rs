//! A deployment whose scheduler finds jobs in its log, and enrollment devices in its own.

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, JobId, RunId, ScheduleId, SiteName};
use borealis_bus_schema::messages::device::RunResult;
use borealis_bus_schema::messages::scheduler::{CreateJob, RunState};
use borealis_bus_schema::messages::schedules::CreateSchedule;
use borealis_bus_schema::messages::shared_events::{DeviceConnected, DeviceStatus, DeviceStatusChanged, SharedEvent};
use borealis_bus_schema::messages::signing::Author;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{Append, EventLog, NewEvent, StreamId, StreamWrite};
use borealis_scheduler::book::Target;
use borealis_scheduler::files::Files;
use borealis_scheduler::job::{self, Created, Fired};
use borealis_scheduler::orders::Warrant;
use borealis_scheduler::stored::Stored;
use borealis_scheduler::{run, schedule, targets};
use borealis_service_kit::auth::{SessionClaims, Sites, mint_grant};
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{TestBus, TestDevice, TestOperator, TestService, ask, biscuit_root, narrowed, open_store};
use serde_json::json;

const SCHEDULER: Service = Service::Scheduler;

/// Is a root with a running bus and one operator who may do everything.
pub struct World {
    pub bus: TestBus,
    pub operator: TestOperator,
    pub gateway: Bus,
}

impl World {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let operator = TestOperator::log_in(&bus, &Right::ALL, &Sites::All).unwrap();
        let gateway = borealis_test_support::connect(&bus, Service::Gateway).await.unwrap();
        Self { bus, operator, gateway }
    }

    /// Runs an enrollment that only tells what its log holds.
    pub async fn enrollment(&self) -> TestService {
        let build = async |deps: borealis_service_kit::run::Deps| Ok(deps.builder().into());
        TestService::start(&self.bus, Service::Enrollment, build).await.unwrap()
    }

    pub async fn scheduler(&self) -> TestService {
        TestService::start(&self.bus, SCHEDULER, borealis_scheduler::build)
            .await
            .unwrap()
    }

    /// Writes events into the log of a service that does not run, each list in one commit.
    pub async fn seed(&self, service: Service, commits: Vec<(String, Vec<NewEvent>)>) {
        let log = open_store(self.bus.paths(), service).unwrap();
        for (stream, events) in commits {
            let stream = StreamId::new(&stream).unwrap();
            let append = Append {
                command_id: random::bytes(),
                command_digest: [0; 32],
                at_ms: SystemClock.now().unix_ms(),
                writes: vec![StreamWrite {
                    expected: log.stream_version(&stream).unwrap(),
                    stream,
                    events,
                }],
                answer: Vec::new(),
            };
            log.append(append).await.unwrap();
        }
        log.flush_and_close().await.unwrap();
    }

    /// Writes a job into the log of a scheduler that does not run: a ping for some devices.
    pub async fn seed_job(&self, guids: &[Guid]) -> JobId {
        self.seed_job_of(guids, None).await
    }

    /// The same, as an operator lets a schedule run at once.
    pub async fn seed_job_of(&self, guids: &[Guid], schedule: Option<ScheduleId>) -> JobId {
        let command: CommandId = random::id();
        let body = json!({
            "targets": {"guids": guids}, "role": "agent", "verb": "ping", "expires_in_ms": 3_600_000,
        })
        .to_string();
        let wanted: CreateJob = serde_json::from_str(&body).unwrap();
        let now = SystemClock.now();
        let call = self
            .operator
            .call(SCHEDULER, "jobs-create", "", body.as_bytes(), command, now)
            .unwrap();
        let of_schedule = json!({"name": "seeded", "kind": "once", "job": wanted}).to_string();
        let asked = self
            .operator
            .call(
                SCHEDULER,
                "schedules-create",
                "",
                of_schedule.as_bytes(),
                random::id(),
                now,
            )
            .unwrap();
        let list: Vec<Target> = guids
            .iter()
            .map(|guid| Target {
                guid: *guid,
                hostname: "h".into(),
            })
            .collect();
        let folder = self.bus.paths().state(SCHEDULER);
        borealis_service_kit::keys::private_folder(&folder).unwrap();
        let files = Files::open(&folder.join("files")).unwrap();
        let list = files.put(targets::write(&list)).await.unwrap();
        let warrant = Warrant {
            call,
            grant: String::new(),
            targets: list,
            schedule: schedule.map(|_| Author {
                call: asked,
                grant: String::new(),
            }),
            assembly: None,
        };
        let created = Created {
            job: JobId::of_command(&command),
            author: random::id(),
            username: "ada".into(),
            what: job::check(&wanted).unwrap(),
            created_at: now,
            expires_at: now.plus_ms(3_600_000),
            grant: random::id(),
            file: files.put(codec::encode(&warrant).unwrap()).await.unwrap(),
            runs_total: guids.len() as u64,
            needs_approval: false,
            firing: schedule.map(|schedule| Fired {
                schedule,
                due: None,
                targets: list,
            }),
        };
        let job = created.job;
        let event = Stored::Job(job::Event::Created(Box::new(created)));
        let mut commits = vec![(format!("job-{job}"), vec![event.encode().unwrap()])];
        if let Some(schedule) = schedule {
            let ran = Stored::Schedule(schedule::Event::RanNow {
                by: "ada".into(),
                at: now,
                job,
                devices: guids.len() as u64,
            });
            commits.push((format!("schedule-{schedule}"), vec![ran.encode().unwrap()]));
        }
        self.seed(SCHEDULER, commits).await;
        job
    }

    /// Writes a schedule into the log of a scheduler that does not run: a ping for some devices, signed some time ago.
    pub async fn seed_schedule(&self, guids: &[Guid], timing: serde_json::Value, ago_ms: i64) -> ScheduleId {
        let command: CommandId = random::id();
        let mut body = json!({
            "name": "seeded", "job": {"targets": {"guids": guids}, "role": "agent", "verb": "ping"},
        });
        body.as_object_mut()
            .unwrap()
            .extend(timing.as_object().unwrap().clone());
        let wanted: CreateSchedule = serde_json::from_value(body.clone()).unwrap();
        let at = SystemClock.now().plus_ms(-ago_ms);
        let body = body.to_string();
        let call = self
            .operator
            .call(SCHEDULER, "schedules-create", "", body.as_bytes(), command, at)
            .unwrap();
        let claims = SessionClaims {
            operator: random::id(),
            username: "ada".into(),
            session: self.operator.session,
            session_key: PublicKey::of(&self.operator.key),
            rights: [(Right::JobsRun, Sites::All)].into(),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        let root = biscuit_root(&self.bus).unwrap();
        let grant: GrantId = random::id();
        let token = mint_grant(&root, &claims, grant, &call.granted_digest(&command)).unwrap();
        let folder = self.bus.paths().state(SCHEDULER);
        borealis_service_kit::keys::private_folder(&folder).unwrap();
        let files = Files::open(&folder.join("files")).unwrap();
        let warrant = Warrant {
            call,
            grant: token,
            targets: files.put(Vec::new()).await.unwrap(),
            schedule: None,
            assembly: None,
        };
        let created = schedule::Created {
            schedule: ScheduleId::of_command(&command),
            name: wanted.name.clone(),
            author: claims.operator,
            username: "ada".into(),
            what: job::check(&wanted.job).unwrap(),
            expires_in_ms: wanted.job.expires_in_ms,
            timing: wanted.timing(),
            signed_at: at,
            created_at: at,
            grant,
            file: files.put(codec::encode(&warrant).unwrap()).await.unwrap(),
            guids: guids.to_vec(),
            sites: vec![SiteName::default_site()],
        };
        let id = created.schedule;
        let event = Stored::Schedule(schedule::Event::Created(Box::new(created)));
        let commit = (format!("schedule-{id}"), vec![event.encode().unwrap()]);
        self.seed(SCHEDULER, vec![commit]).await;
        id
    }

    pub fn call(&self, verb: &str, id: &str, body: &[u8], command: CommandId) -> OperatorCall {
        let now = SystemClock.now();
        self.operator.call(SCHEDULER, verb, id, body, command, now).unwrap()
    }

    /// Asks the scheduler as the gateway does.
    pub async fn ask(&self, verb: &str, call: &OperatorCall) -> Reply<String> {
        let need = of_verb(SCHEDULER, verb).unwrap().need;
        let token = narrowed(&self.operator.token, SCHEDULER, need, 0).unwrap();
        ask(&self.gateway, SCHEDULER, verb, call, Some(token)).await
    }
}

pub fn event<T: SharedEvent>(event: &T) -> NewEvent {
    NewEvent {
        kind: T::KIND.into(),
        body: codec::encode(event).unwrap(),
    }
}

pub fn enrolled(device: &TestDevice) -> NewEvent {
    event(&device.enrolled("h", SiteName::default_site()))
}

pub fn connected(device: &TestDevice) -> NewEvent {
    event(&DeviceConnected {
        guid: device.guid,
        address: "127.0.0.1".into(),
        at: SystemClock.now(),
    })
}

pub fn became(guid: Guid, status: DeviceStatus) -> NewEvent {
    event(&DeviceStatusChanged {
        guid,
        status,
        reason: String::new(),
        at: SystemClock.now(),
        by: None,
    })
}

/// Lists how the runs ended that the log holds as over.
pub fn ends(scheduler: &TestService) -> Vec<(String, run::End)> {
    let events = scheduler.log.read_all(0, 100_000).unwrap();
    let ended = events
        .iter()
        .filter_map(|event| match Stored::decode(&event.kind, event.body.as_ref()?) {
            Ok(Stored::Run(run::Event::Ended(end))) => Some((event.stream.to_string(), end)),
            _ => None,
        });
    ended.collect()
}

pub fn stream_of(job: JobId, guid: &Guid) -> String {
    format!("run-{}", RunId::of_job(&job, guid))
}

/// Says that a device ran something well.
pub fn result(device: &TestDevice, run: RunId) -> RunResult {
    let now = SystemClock.now();
    RunResult {
        guid: device.guid,
        run,
        attempt: 1,
        state: RunState::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: Some(now),
        ended_at: now,
        duration_ms: 1,
        stdout_bytes: 0,
        stderr_bytes: 0,
        truncated: false,
        reason: None,
        code: None,
    }
}
