//! The world between clients, server and devices: one queue of happenings, one clock, one source of chance.
//!
//! It is one long file since everything in it shares that queue, and reads as a list of what can happen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use borealis_agent::core::record::RunKey;
use borealis_agent::core::{Ending, Input, Output, ReplyTo, TellError};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, Signed};
use borealis_bus_schema::ids::{CommandId, GrantId, JobId, OperatorId, OrderId, RoleName, RunId, SiteName, VerbName};
use borealis_bus_schema::messages::device::{Accepted, RunResult, TellOutput, TellState, Welcome};
use borealis_bus_schema::messages::scheduler::{CreateJob, OutputStream, RunState, Targets};
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceStatus, DeviceStatusChanged, SharedEvent,
};
use borealis_bus_schema::messages::waves::{Brake, WaveSize, Waves};
use borealis_bus_schema::order::{Context, Digest, KeySet, Language, OrderBody, key_id, sign_batch};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_scheduler::book::Target;
use borealis_scheduler::job::{self, Created};
use borealis_scheduler::orders::Act;
use borealis_test_support::host_facts;
use ed25519_dalek::SigningKey;

use crate::device::{Device, Process, Told, printed};
use crate::dice::Dice;
use crate::disk::{Deaths, DeviceDisk, Log};
use crate::laws::{self, Broken, Laws};
use crate::server::{Ask, Paper, Server};

/// Is when every world begins.
const START_MS: i64 = 1_800_000_000_000;
/// Is how long after the last fault everything has to be over.
const HEALED_MS: i64 = 30 * 60_000;
/// Is how long whoever asks waits for an answer.
const PATIENCE_MS: i64 = 10_000;

/// Is a fault built into the surroundings on purpose, to see that a law finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// The device's journal answers before it has synced.
    JournalSkipsSyncs,
    /// The server's log answers before it has synced.
    LogSkipsSyncs,
    /// The log forgets which commands it has answered.
    LogForgetsCommands,
    /// A started process is started a second time by the shell.
    ShellStartsTwice,
    /// The bus loses every result, and every answer to an order.
    ResultsNeverArrive,
    /// The server forgets after a wake which waves have begun: all have.
    WavesBeginAtOnce,
    /// The server forgets that the brake stopped a job.
    BrakeSlips,
    /// The server answers a result whether or not it could be kept, and the device's memory of results is gone.
    DeviceMakesUpResults,
}

/// Is what may happen.
#[derive(Clone)]
enum Happening {
    ServerWakes,
    ServerUp,
    Hears {
        all: bool,
    },
    Signed {
        life: u64,
        asks: Arc<Vec<Ask>>,
        refusal: Option<Code>,
    },
    OrderArrives {
        device: usize,
        role: RoleName,
        verb: VerbName,
        body: Vec<u8>,
        ask: u64,
    },
    AnswerArrives {
        life: u64,
        ask: u64,
        reply: Reply<Accepted>,
    },
    AskIsOver {
        life: u64,
        ask: u64,
    },
    TellArrives {
        device: usize,
        life: u64,
        tell: u64,
        what: Tell,
    },
    TellIsAnswered {
        device: usize,
        life: u64,
        tell: u64,
        answer: Result<u64, TellError>,
    },
    Gets {
        device: usize,
        life: u64,
        input: Box<Input>,
    },
    Spawns {
        device: usize,
        life: u64,
        key: RunKey,
        output: u64,
    },
    ProcessEnds {
        device: usize,
        life: u64,
        key: RunKey,
    },
    ProcessIsKilled {
        device: usize,
        life: u64,
        key: RunKey,
    },
    Tick {
        device: usize,
        life: u64,
        at_ms: i64,
    },
    DeviceUp {
        device: usize,
    },
    Connects {
        device: usize,
    },
    LossIsNoticed {
        device: usize,
        connection: u64,
    },
    ClientSends {
        wish: usize,
    },
    ClientHears {
        wish: usize,
    },
    ClientCancels {
        wish: usize,
    },
    ClientContinues {
        wish: usize,
    },
    CancelIsHeard {
        wish: usize,
    },
    Chaos,
    BusUp,
    EnrollmentUp,
    DiskHasRoom {
        device: usize,
    },
    Released {
        device: usize,
    },
}

/// Is what a device tells.
#[derive(Clone)]
enum Tell {
    Output(TellOutput),
    State(TellState),
    Result(Signed),
}

/// Is what a client wants.
struct Wish {
    command: [u8; 16],
    paper: Paper,
    is_answered: bool,
    wants_cancel: bool,
}

/// Says how a world went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Digests every happening, in order.
    pub trace: u64,
    pub happenings: u64,
    pub runs: u64,
    pub server_deaths: u64,
    pub device_deaths: u64,
    /// How often something died at which crash point.
    pub deaths: Deaths,
    pub ends: BTreeMap<&'static str, u64>,
    pub waves: laws::Moves,
}

/// Draws in which parts a job reaches its devices.
fn waves_of(dice: &mut Dice) -> Waves {
    let sizes = (0..=dice.below(2)).map(|_| match dice.below(4) {
        0 => WaveSize::Percent(u32::try_from(1 + dice.below(100)).unwrap()),
        _ => WaveSize::Count(1),
    });
    let sizes = sizes.collect();
    let until_continued = dice.once_in(5);
    let brake = match dice.below(3) {
        0 => None,
        1 => Some(Brake::Failures(u32::try_from(dice.below(2)).unwrap())),
        _ => Some(Brake::Percent(u32::try_from(dice.below(60)).unwrap())),
    };
    Waves {
        sizes,
        pause_ms: if until_continued { 0 } else { dice.below(30_000) },
        until_continued,
        brake,
    }
}

pub struct World {
    dice: Dice,
    sabotage: Sabotage,
    now_ms: i64,
    next: u64,
    queue: BTreeMap<(i64, u64), Happening>,
    server: Option<Server>,
    server_life: u64,
    wakes_at: Option<i64>,
    log: Arc<Log>,
    papers: BTreeMap<JobId, Paper>,
    devices: Vec<Device>,
    connections: Vec<u64>,
    enrollment: Vec<(i64, String, Vec<u8>)>,
    heard: usize,
    is_enrollment_up: bool,
    is_bus_up: bool,
    wishes: Vec<Wish>,
    captured: Vec<(usize, RoleName, VerbName, Vec<u8>)>,
    is_chaos: bool,
    chaos_left: u64,
    signer: SigningKey,
    key_set: Signed,
    plain_key_set: KeySet,
    root: PublicKey,
    laws: Laws,
    report: Report,
    is_told: bool,
}

impl World {
    /// Makes the world of a seed; `is_told` prints what happens.
    pub fn new(seed: u64, sabotage: Sabotage, is_told: bool) -> Self {
        let mut dice = Dice::new(seed);
        let (signer, root) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
        let plain_key_set = KeySet {
            version: 1,
            keys: vec![PublicKey::of(&signer)],
            expires_at: Timestamp::from_unix_ms(START_MS * 2),
        };
        let fork = |dice: &mut Dice| Dice::new(dice.draw());
        let log = Log::new(
            fork(&mut dice),
            sabotage == Sabotage::LogSkipsSyncs,
            sabotage == Sabotage::LogForgetsCommands,
        );
        let count = u8::try_from(1 + dice.below(3)).unwrap();
        let devices: Vec<Device> = (0..count)
            .map(|index| {
                let disk = DeviceDisk::new(fork(&mut dice), sabotage == Sabotage::JournalSkipsSyncs);
                // One in six has a clock that is wrong by up to a year.
                let skew_ms = match dice.below(6) {
                    0 => dice.within(-31_536_000_000, 31_536_000_000),
                    _ => dice.within(-2_000, 2_000),
                };
                Device::new(index, disk, skew_ms, dice.draw())
            })
            .collect();
        let mut world = Self {
            chaos_left: 20 + dice.below(40),
            dice,
            sabotage,
            now_ms: START_MS,
            next: 0,
            queue: BTreeMap::new(),
            server: None,
            server_life: 0,
            wakes_at: None,
            log: Arc::new(log),
            papers: BTreeMap::new(),
            connections: vec![0; devices.len()],
            devices,
            enrollment: Vec::new(),
            heard: 0,
            is_enrollment_up: true,
            is_bus_up: true,
            wishes: Vec::new(),
            captured: Vec::new(),
            is_chaos: true,
            key_set: Signed::seal(&root, Form::KeySet, &plain_key_set).unwrap(),
            plain_key_set,
            root: PublicKey::of(&root),
            signer,
            laws: Laws::default(),
            report: Report::default(),
            is_told,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for index in 0..self.devices.len() {
            let device = &self.devices[index];
            let event = DeviceEnrolled {
                guid: device.guid,
                site: SiteName::default_site(),
                public_key: device.keys.public(),
                exchange_key: device.keys.exchange_public(),
                exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
                facts: host_facts("web", &"ab".repeat(32)),
                address: "192.0.2.1".into(),
                first_seen_at: self.now(),
                approved_at: Timestamp::from_unix_ms(START_MS - 86_400_000),
            };
            self.enroll(&event);
            self.at(1, Happening::DeviceUp { device: index });
        }
        self.at(1, Happening::ServerUp);
        let wishes = 3 + self.dice.below(7);
        for wish in 0..usize::try_from(wishes).unwrap() {
            let paper = self.paper();
            let command = self.dice.id();
            let wants_cancel = self.dice.once_in(5);
            self.wishes.push(Wish {
                command,
                paper,
                is_answered: false,
                wants_cancel,
            });
            let at = self.dice.within(500, 600_000);
            self.at(at, Happening::ClientSends { wish });
        }
        self.at(300, Happening::Chaos);
        self.log.set_risky(true);
        for device in &mut self.devices {
            device.disk.is_risky = true;
        }
    }

    /// Draws what a client asks for.
    fn paper(&mut self) -> Paper {
        let dice = &mut self.dice;
        let mut targets: Vec<Target> = Vec::new();
        for device in &self.devices {
            if targets.is_empty() || dice.once_in(2) {
                targets.push(Target {
                    guid: device.guid,
                    hostname: "web".into(),
                });
            }
        }
        targets.sort_unstable_by_key(|target| target.guid);
        let is_ping = dice.once_in(8);
        let waves = dice.once_in(3).then(|| waves_of(dice));
        let request = CreateJob {
            targets: Targets::default(),
            role: if is_ping { RoleName::agent() } else { RoleName::script() },
            verb: if is_ping { VerbName::ping() } else { VerbName::run() },
            language: Some(Language::Sh),
            context: Context::System,
            script: (!is_ping).then(|| format!("echo {}", dice.below(1_000))),
            args: Vec::new(),
            assembly: None,
            env: BTreeMap::new(),
            timeout_ms: dice.within(2_000, 60_000).unsigned_abs(),
            expires_in_ms: dice.within(30_000, 7_200_000).unsigned_abs(),
            retries: 0,
            backoff_ms: 30_000,
            waves,
        };
        Paper { request, targets }
    }

    /// Lets everything happen, until all is over or a law is broken.
    ///
    /// Errors: the first law that is broken.
    pub fn run(mut self) -> Result<Report, Broken> {
        let mut deadline_ms = i64::MAX;
        let mut settled_ms = None;
        while let Some(((at_ms, _), happening)) = self.queue.pop_first() {
            self.now_ms = self.now_ms.max(at_ms);
            self.report.happenings += 1;
            self.happen(happening);
            if let Some(broken) = self.laws.broken.take() {
                return Err(broken);
            }
            if self.is_chaos {
                continue;
            }
            if deadline_ms == i64::MAX {
                deadline_ms = self.now_ms + HEALED_MS;
            }
            if settled_ms.is_none() && self.is_all_over() {
                settled_ms = Some(self.now_ms + 60_000);
            }
            if settled_ms.is_some_and(|at| self.now_ms > at) || self.now_ms > deadline_ms {
                break;
            }
        }
        self.judge()?;
        Ok(self.report)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now_ms)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn at(&mut self, in_ms: i64, happening: Happening) {
        let number = self.number();
        self.queue.insert((self.now_ms + in_ms.max(0), number), happening);
    }

    /// Adds a line to the trace.
    fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        let mut text = String::new();
        write!(text, "{:>10} {line}", self.now_ms - START_MS).unwrap();
        if self.is_told {
            println!("{text}");
        }
        for byte in text.bytes() {
            // Source: Fowler, Noll, Vo, FNV-1a.
            self.report.trace = (self.report.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Sends something over the bus, which loses, delays and repeats.
    fn hop(&mut self, happening: Happening) {
        if !self.is_bus_up {
            return;
        }
        let copies = match (self.is_chaos, self.dice.below(20)) {
            (true, 0) => 0,
            (true, 1) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay_ms = match (self.is_chaos, self.dice.below(30)) {
                (true, 0) => self.dice.within(5_000, 20_000),
                (true, 1..6) => self.dice.within(100, 3_000),
                _ => self.dice.within(1, 20),
            };
            self.at(delay_ms, happening.clone());
        }
    }

    fn enroll<E: SharedEvent>(&mut self, event: &E) {
        let body = codec::encode(event).unwrap();
        self.enrollment.push((self.now_ms, E::KIND.to_owned(), body));
        let delay_ms = if self.is_chaos { self.dice.within(5, 3_000) } else { 10 };
        self.at(delay_ms, Happening::Hears { all: true });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ServerWakes => self.server_wakes(),
            Happening::ServerUp => self.server_up(),
            Happening::Hears { all } => self.hears(all),
            Happening::Signed { life, asks, refusal } => self.signed(life, &asks, refusal),
            Happening::OrderArrives {
                device,
                role,
                verb,
                body,
                ask,
            } => self.order_arrives(device, role, verb, body, ask),
            Happening::AnswerArrives { life, ask, reply } => {
                if life == self.server_life {
                    self.with_server(|server, now| server.answered(ask, reply, now));
                }
            }
            Happening::AskIsOver { life, ask } => {
                if life == self.server_life {
                    let error = WireError::new(Code::Unavailable, "no answer came");
                    self.with_server(|server, now| server.answered(ask, Err(error), now));
                }
            }
            Happening::TellArrives {
                device,
                life,
                tell,
                what,
            } => self.tell_arrives(device, life, tell, what),
            Happening::TellIsAnswered {
                device,
                life,
                tell,
                answer,
            } => self.tell_is_answered(device, life, tell, answer),
            Happening::Gets { device, life, input } => {
                if self.devices[device].life == life {
                    self.give(device, *input);
                }
            }
            Happening::Spawns {
                device,
                life,
                key,
                output,
            } => self.spawns(device, life, key, output),
            Happening::ProcessEnds { device, life, key } => self.process_ends(device, life, key, None),
            Happening::ProcessIsKilled { device, life, key } => self.process_ends(device, life, key, Some(9)),
            Happening::Tick { device, life, at_ms } => self.tick(device, life, at_ms),
            Happening::DeviceUp { device } => self.device_up(device),
            Happening::Connects { device } => self.connects(device),
            Happening::LossIsNoticed { device, connection } => {
                if self.connections[device] == connection {
                    let event = DeviceDisconnected {
                        guid: self.devices[device].guid,
                        at: self.now(),
                        reason: String::new(),
                    };
                    self.enroll(&event);
                }
            }
            Happening::ClientSends { wish } => self.client_sends(wish),
            Happening::ClientHears { wish } => self.client_hears(wish),
            Happening::ClientCancels { wish } => self.client_cancels(wish),
            Happening::ClientContinues { wish } => self.client_continues(wish),
            Happening::CancelIsHeard { wish } => self.wishes[wish].wants_cancel = false,
            Happening::Chaos => self.chaos(),
            Happening::BusUp => self.bus_up(),
            Happening::EnrollmentUp => self.is_enrollment_up = true,
            Happening::DiskHasRoom { device } => self.devices[device].disk.is_full = false,
            Happening::Released { device } => self.set_status(device, DeviceStatus::Active),
        }
    }

    // The server.

    fn server_up(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.server_life += 1;
        let server = Server::start(&self.log, &self.papers, self.now());
        self.tell(format_args!("server up, {} events", self.log.all().len()));
        self.laws.check_log(&self.log.all());
        self.server = Some(server);
        self.heard = 0;
        self.wakes_at = None;
        // First half of history, then all of it: whoever acts by half of it is found.
        self.at(50, Happening::Hears { all: false });
        let whole = self.dice.within(60, 2_000);
        self.at(whole, Happening::Hears { all: true });
        self.wake_server();
    }

    fn dies_at(&mut self, point: &'static str) {
        *self.report.deaths.entry(point).or_default() += 1;
    }

    fn server_dies(&mut self) {
        let Some(server) = self.server.take() else { return };
        if !server.asked.is_empty() {
            self.dies_at("CS6");
        }
        self.report.server_deaths += 1;
        self.log.crash();
        self.tell(format_args!("server dies"));
        let pause = self.dice.within(300, 30_000);
        self.at(pause, Happening::ServerUp);
    }

    /// Hears what enrollment told, as far as it is up and reachable.
    fn hears(&mut self, all: bool) {
        if !self.is_bus_up || !self.is_enrollment_up {
            if self.server.is_some() {
                self.at(1_000, Happening::Hears { all });
            }
            return;
        }
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let end = if all {
            self.enrollment.len()
        } else {
            self.enrollment.len() / 2
        };
        while self.heard < end {
            let (_, kind, body) = &self.enrollment[self.heard];
            server.hear(kind, body, now);
            self.heard += 1;
        }
        server.is_ready |= self.heard == self.enrollment.len();
        self.wake_server();
    }

    /// Answers `stale` until the server has heard once of every device, as the service does.
    fn with_ready_server<T>(&mut self, act: impl FnOnce(&mut Server, Timestamp) -> Reply<T>) -> Option<Reply<T>> {
        self.with_server(|server, now| {
            if server.is_ready {
                act(server, now)
            } else {
                Err(WireError::new(Code::Stale, "it does not know every device yet"))
            }
        })
    }

    /// Does something with the server; nothing of what it returns leaves when it died over it.
    fn with_server<T>(&mut self, act: impl FnOnce(&mut Server, Timestamp) -> T) -> Option<T> {
        let now = self.now();
        // Fresh is who has heard everything that is older than five seconds.
        let is_caught_up = self
            .enrollment
            .get(self.heard)
            .is_none_or(|(at, ..)| now.unix_ms() - at < 5_000);
        let is_fresh = self.is_enrollment_up && self.is_bus_up && is_caught_up && self.heard > self.devices.len();
        let server = self.server.as_mut()?;
        server.is_fresh = is_fresh;
        let answer = act(server, now);
        if self.log.is_dead() || (self.is_chaos && self.dice.once_in(400)) {
            self.server_dies();
            return None;
        }
        self.wake_server();
        Some(answer)
    }

    fn wake_server(&mut self) {
        let Some(next) = self.server.as_ref().and_then(|server| server.next_ms()) else {
            return;
        };
        let next = next.max(self.now_ms);
        if self.wakes_at.is_none_or(|at| at > next) {
            self.wakes_at = Some(next);
            self.at(next - self.now_ms, Happening::ServerWakes);
        }
    }

    fn server_wakes(&mut self) {
        if self.wakes_at.is_none_or(|at| at > self.now_ms) {
            return;
        }
        self.wakes_at = None;
        self.sabotage_waves();
        let mut dice = self.dice.clone();
        let batches = self.with_server(|server, now| server.look_after(now, || OrderId::from_bytes(dice.id())));
        self.dice.draw();
        for asks in batches.into_iter().flat_map(BTreeMap::into_values) {
            let refusal = match self.dice.below(20) {
                0 if self.is_chaos => Some(Code::Stale),
                1 if self.is_chaos => Some(Code::Unavailable),
                _ => None,
            };
            let delay_ms = if refusal == Some(Code::Unavailable) {
                20_000
            } else {
                self.dice.within(2, 100)
            };
            let life = self.server_life;
            self.at(
                delay_ms,
                Happening::Signed {
                    life,
                    asks: Arc::new(asks),
                    refusal,
                },
            );
        }
    }

    fn sabotage_waves(&self) {
        let Some(server) = &self.server else { return };
        for key in server.book.open_runs() {
            let job = server.book.job(&key.job).unwrap();
            let Some(waved) = &job.waves else { continue };
            let mut state = waved.state.lock();
            match self.sabotage {
                Sabotage::WavesBeginAtOnce => state.wave = waved.plan.len(),
                Sabotage::BrakeSlips if state.braked.is_some() => {
                    (state.braked, state.forgiven) = (None, u64::MAX);
                }
                _ => {}
            }
        }
    }

    fn signed(&mut self, life: u64, asks: &Arc<Vec<Ask>>, refusal: Option<Code>) {
        if life != self.server_life {
            return;
        }
        for ask in asks.iter() {
            let Some(job) = self.server.as_ref().and_then(|server| server.book.job(&ask.job)) else {
                return;
            };
            let guid = ask.wanted.guid;
            let goes = match refusal {
                Some(code) => Err(WireError::new(code, "not signed")),
                None => self.with_server(|server, _| server.still_goes(ask)).unwrap_or(Ok(())),
            };
            if let Err(error) = goes {
                self.with_server(|server, now| server.not_sent(&job, ask.index, &error, now));
                continue;
            }
            let now = self.now();
            if ask.wanted.act == Act::Begin {
                self.check_turn(ask);
            }
            let paper = &self.papers[&ask.job];
            let Some(Some(mut order)) = self.server.as_ref().map(|server| server.build(ask, paper, now)) else {
                return;
            };
            // The signer fills in the script and its key.
            if let OrderBody::Script(script) = &mut order.body {
                script.script = paper.request.script.clone().unwrap_or_default().into_bytes();
            }
            order.key_id = key_id(&PublicKey::of(&self.signer));
            let signed = sign_batch(&self.signer, std::slice::from_ref(&order))
                .unwrap()
                .remove(0);
            let body = codec::encode(&signed).unwrap();
            let number = self.number();
            if let Some(server) = &mut self.server {
                server.asked.insert(number, (job, ask.index, ask.wanted));
            }
            let device = self.devices.iter().position(|device| device.guid == guid).unwrap();
            self.tell(format_args!("order {} {:?} to {device}", order.run, ask.wanted.act));
            self.captured
                .push((device, order.role.clone(), order.verb.clone(), body.clone()));
            self.hop(Happening::OrderArrives {
                device,
                role: order.role,
                verb: order.verb,
                body,
                ask: number,
            });
            self.at(PATIENCE_MS, Happening::AskIsOver { life, ask: number });
        }
    }

    /// Checks that an order that leaves is of a run that has its turn, by what the log says.
    fn check_turn(&mut self, ask: &Ask) {
        let paper = &self.papers[&ask.job];
        if let Some(waves) = &paper.request.waves {
            let ends = laws::ends_of(waves, paper.targets.len());
            let turn = laws::Turn {
                job: ask.job,
                run: ask.wanted.run,
                index: usize::try_from(ask.index).unwrap(),
            };
            self.laws.check_turn(&self.log.all(), &turn, &ends);
        }
    }

    // Devices.

    fn device_up(&mut self, index: usize) {
        let (root, key_set, now_ms) = (self.root, self.plain_key_set.clone(), self.now_ms);
        let device = &mut self.devices[index];
        if device.core.is_some() {
            return;
        }
        device.start(root, key_set, now_ms);
        self.tell(format_args!("device {index} up"));
        self.give(index, Input::Began);
        let pause = self.dice.within(10, 5_000);
        self.at(pause, Happening::Connects { device: index });
    }

    fn device_dies(&mut self, index: usize) {
        if self.devices[index].core.is_none() {
            return;
        }
        self.report.device_deaths += 1;
        if !self.devices[index].processes.is_empty() {
            self.dies_at("CA5");
        }
        if self.devices[index]
            .told
            .values()
            .any(|told| matches!(told, Told::Result { .. }))
        {
            self.dies_at("CA8");
        }
        self.devices[index].crash();
        self.tell(format_args!("device {index} dies"));
        self.lost(index);
        let pause = match self.dice.below(6) {
            0 => self.dice.within(60_000, 1_800_000),
            _ => self.dice.within(500, 20_000),
        };
        self.at(pause, Happening::DeviceUp { device: index });
    }

    /// Lets enrollment notice some time later that a connection is gone.
    fn lost(&mut self, index: usize) {
        self.connections[index] += 1;
        let delay_ms = match self.dice.below(3) {
            0 => self.dice.within(1_000, 45_000),
            _ => 20,
        };
        let connection = self.connections[index];
        self.at(
            delay_ms,
            Happening::LossIsNoticed {
                device: index,
                connection,
            },
        );
    }

    fn disconnects(&mut self, index: usize) {
        if !self.devices[index].is_connected {
            return;
        }
        self.devices[index].is_connected = false;
        self.tell(format_args!("device {index} off"));
        self.lost(index);
        self.give(index, Input::Disconnected);
        let pause = match self.dice.below(5) {
            0 => self.dice.within(60_000, 1_200_000),
            _ => self.dice.within(100, 30_000),
        };
        self.at(pause, Happening::Connects { device: index });
    }

    fn connects(&mut self, index: usize) {
        let device = &self.devices[index];
        if device.core.is_none() || device.is_connected {
            return;
        }
        if !self.is_bus_up {
            self.at(2_000, Happening::Connects { device: index });
            return;
        }
        let guid = device.guid;
        self.devices[index].is_connected = true;
        self.connections[index] += 1;
        self.tell(format_args!("device {index} on"));
        let event = DeviceConnected {
            guid,
            address: "192.0.2.1".into(),
            at: self.now(),
        };
        self.enroll(&event);
        self.give(index, Input::Connected);
    }

    fn set_status(&mut self, index: usize, status: DeviceStatus) {
        if self.laws.is_revoked(&self.devices[index].guid) {
            return;
        }
        self.tell(format_args!("device {index} is {status:?}"));
        if status == DeviceStatus::Revoked {
            self.laws.revoke(self.devices[index].guid);
        }
        let event = DeviceStatusChanged {
            guid: self.devices[index].guid,
            status,
            reason: String::new(),
            at: self.now(),
            by: None,
        };
        self.enroll(&event);
    }

    fn order_arrives(&mut self, index: usize, role: RoleName, verb: VerbName, body: Vec<u8>, ask: u64) {
        if !self.devices[index].is_connected || self.laws.is_revoked(&self.devices[index].guid) {
            return;
        }
        let reply = ReplyTo(if ask == 0 { String::new() } else { ask.to_string() });
        self.give(
            index,
            Input::Order {
                role,
                verb,
                body,
                reply,
            },
        );
    }

    fn tick(&mut self, index: usize, life: u64, at_ms: i64) {
        let device = &mut self.devices[index];
        if device.life != life || device.ticks_at != Some(at_ms) {
            return;
        }
        device.ticks_at = None;
        self.give(index, Input::Tick);
        let device = &self.devices[index];
        if device.life == life && device.deadline().is_some_and(|at| at <= self.now_ms) {
            self.laws
                .breaks("a_core_rests", format!("device {index} is due again at once"));
        }
    }

    fn give(&mut self, index: usize, input: Input) {
        let name = input.name();
        if name != "tick" {
            self.tell(format_args!("device {index} gets {name}"));
        }
        if self.devices[index].core.is_none() {
            return;
        }
        let life = self.devices[index].life;
        self.devices[index].knows_time |= matches!(input, Input::Welcomed(Ok(_)) | Input::ServerTime(_));
        let Some(outputs) = self.devices[index].give(input, self.now_ms) else {
            return self.device_dies(index);
        };
        for output in outputs {
            if self.is_chaos && self.dice.once_in(200) {
                return self.device_dies(index);
            }
            let is_result = matches!(output, Output::SendResult { .. });
            self.perform(index, output);
            if is_result && self.is_chaos && self.dice.once_in(15) {
                return self.device_dies(index);
            }
            if self.devices[index].life != life {
                return;
            }
        }
        let device = &mut self.devices[index];
        if let Some(at_ms) = device.deadline()
            && device.ticks_at != Some(at_ms)
        {
            device.ticks_at = Some(at_ms);
            let in_ms = at_ms - self.now_ms;
            self.at(
                in_ms,
                Happening::Tick {
                    device: index,
                    life,
                    at_ms,
                },
            );
        }
    }

    fn gets(&mut self, index: usize, in_ms: i64, input: Input) {
        let life = self.devices[index].life;
        self.at(
            in_ms,
            Happening::Gets {
                device: index,
                life,
                input: Box::new(input),
            },
        );
    }

    fn perform(&mut self, index: usize, output: Output) {
        let life = self.devices[index].life;
        match output {
            Output::Append { .. } => {}
            Output::Reply { to, reply } => {
                if let Ok(Accepted {
                    result: Some(result), ..
                }) = &reply
                {
                    self.note_said(index, result);
                }
                let ask = to.0.parse().unwrap();
                if self.sabotage != Sabotage::ResultsNeverArrive {
                    let life = self.server_life;
                    self.hop(Happening::AnswerArrives { life, ask, reply });
                }
            }
            Output::SendHello(_) => {
                let welcome = Welcome {
                    server_time: self.now(),
                    key_set: self.key_set.clone(),
                    challenge: None,
                    quarantined: false,
                    renew: false,
                };
                if self.is_bus_up && !(self.is_chaos && self.dice.once_in(8)) {
                    let delay_ms = self.dice.within(2, 200);
                    self.gets(index, delay_ms, Input::Welcomed(Ok(welcome)));
                } else {
                    self.gets(index, PATIENCE_MS, Input::Welcomed(Err(TellError::Lost)));
                }
            }
            Output::AskTime => {
                let at = self.now();
                self.gets(index, 1, Input::ServerTime(at));
            }
            Output::Start(order) => {
                let key = RunKey {
                    run: order.run,
                    attempt: order.attempt,
                };
                let device = &self.devices[index];
                let slow_ms = if device.knows_time { 0 } else { device.skew_ms.min(0) };
                self.laws.check_in_time(&order, self.now_ms + slow_ms);
                let output = self.dice.below(3) * self.dice.below(12_000);
                let times = if self.sabotage == Sabotage::ShellStartsTwice {
                    2
                } else {
                    1
                };
                for _ in 0..times {
                    let delay_ms = self.dice.within(1, 200);
                    self.at(
                        delay_ms,
                        Happening::Spawns {
                            device: index,
                            life,
                            key,
                            output,
                        },
                    );
                }
            }
            Output::End { key, .. } => {
                let delay_ms = self.dice.within(201, 5_000);
                self.at(
                    delay_ms,
                    Happening::ProcessIsKilled {
                        device: index,
                        life,
                        key,
                    },
                );
            }
            Output::EndLeftovers(key) => {
                let delay_ms = self.dice.within(1, 2_000);
                let exit = self.devices[index].exit(key, Ending::Code(0), self.now_ms);
                self.gets(index, delay_ms, Input::LeftoversEnded { key, exit });
            }
            Output::SendState { state, .. } => {
                self.hop(Happening::TellArrives {
                    device: index,
                    life,
                    tell: 0,
                    what: Tell::State(state),
                });
            }
            Output::SendOutput {
                key,
                stream,
                offset,
                len,
                ..
            } => {
                let tell = TellOutput {
                    run: key.run,
                    attempt: key.attempt,
                    stream,
                    offset,
                    data: printed(key, offset, len),
                };
                self.tells(index, Told::Output { key, stream, offset }, Tell::Output(tell));
            }
            Output::SendResult { key, result, .. } => {
                self.note_said(index, &result);
                self.tells(index, Told::Result { key }, Tell::Result(result));
            }
            Output::Forget(key) => {
                self.devices[index].spools.remove(&key);
            }
            Output::Stopped => {
                self.tell(format_args!("device {index} stopped"));
                let device = &mut self.devices[index];
                device.core = None;
                device.life += 1;
                device.is_connected = false;
                device.processes.clear();
                device.told.clear();
                device.ticks_at = None;
                self.lost(index);
                let pause = self.dice.within(500, 60_000);
                self.at(pause, Happening::DeviceUp { device: index });
            }
            Output::KeepKeySet(_) | Output::GatherFacts | Output::SendFacts(_) => {}
        }
    }

    fn tells(&mut self, index: usize, told: Told, what: Tell) {
        let (tell, life) = (self.number(), self.devices[index].life);
        self.devices[index].told.insert(tell, told);
        if !(self.sabotage == Sabotage::ResultsNeverArrive && matches!(what, Tell::Result(_))) {
            self.hop(Happening::TellArrives {
                device: index,
                life,
                tell,
                what,
            });
        }
        self.at(
            PATIENCE_MS,
            Happening::TellIsAnswered {
                device: index,
                life,
                tell,
                answer: Err(TellError::Lost),
            },
        );
    }

    fn note_said(&mut self, index: usize, result: &Signed) {
        let device = &self.devices[index];
        let mut opened: RunResult = result.open(&device.keys.public(), Form::Result).unwrap();
        if self.sabotage == Sabotage::DeviceMakesUpResults {
            opened.state = RunState::Refused;
        }
        self.laws.said(&opened);
    }

    fn tell_arrives(&mut self, index: usize, life: u64, tell: u64, what: Tell) {
        let guid = self.devices[index].guid;
        if self.laws.is_revoked(&guid) {
            return;
        }
        let answer = match what {
            Tell::State(state) => {
                self.with_ready_server(|server, now| {
                    server.told_state(&state, now);
                    Ok(())
                });
                return;
            }
            Tell::Output(output) => self
                .with_ready_server(|server, now| server.told_output(&output, now))
                .map(|answer| answer.map(|kept| kept.next_offset)),
            Tell::Result(result) => self
                .with_ready_server(|server, now| server.told_result(&guid, &result, now))
                .map(|answer| answer.map(|()| 0)),
        };
        let Some(answer) = answer else { return };
        let answer = answer.map_err(|error| TellError::Refused {
            code: error.code,
            retry: error.retry,
        });
        self.hop(Happening::TellIsAnswered {
            device: index,
            life,
            tell,
            answer,
        });
    }

    fn tell_is_answered(&mut self, index: usize, life: u64, tell: u64, answer: Result<u64, TellError>) {
        let device = &mut self.devices[index];
        if device.life != life {
            return;
        }
        let Some(told) = device.told.remove(&tell) else { return };
        if let Err(TellError::Refused {
            code,
            retry: Retry::Never,
        }) = &answer
            && matches!(told, Told::Result { .. })
        {
            let text = format!("device {index}: a result is refused for good: {code}");
            self.laws.breaks("a_true_result_is_never_refused", text);
        }
        let input = match told {
            Told::Output { key, stream, offset } => Input::OutputAnswered {
                key,
                stream,
                offset,
                answer,
            },
            Told::Result { key } => Input::ResultAnswered {
                key,
                answer: answer.map(|_| ()),
            },
        };
        self.give(index, input);
    }

    fn spawns(&mut self, index: usize, life: u64, key: RunKey, output: u64) {
        if self.devices[index].life != life {
            return;
        }
        self.tell(format_args!("device {index} runs {key}"));
        self.laws.effect(key);
        let lasts_ms = match self.dice.below(10) {
            0 => self.dice.within(5_000, 90_000),
            _ => self.dice.within(5, 3_000),
        };
        let code = if self.dice.once_in(6) { 3 } else { 0 };
        let process = Process {
            began_ms: self.now_ms,
            ends_ms: self.now_ms + lasts_ms,
            code,
            output,
        };
        let device = &mut self.devices[index];
        device.processes.insert(key, process);
        device.spools.insert(key, output / 2);
        self.give(index, Input::Started(key));
        if self.devices[index].life != life {
            return;
        }
        if output > 1 {
            self.gets(
                index,
                lasts_ms / 2,
                Input::OutputGrew {
                    key,
                    stream: OutputStream::Stdout,
                    size: output / 2,
                },
            );
        }
        self.at(
            lasts_ms,
            Happening::ProcessEnds {
                device: index,
                life,
                key,
            },
        );
    }

    fn process_ends(&mut self, index: usize, life: u64, key: RunKey, signal: Option<i32>) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        let Some(process) = device.processes.get(&key).copied().filter(|_| device.life == life) else {
            return;
        };
        let ending = match signal {
            None if process.ends_ms > now_ms => return,
            None => {
                device.spools.insert(key, process.output);
                if process.code == 0 {
                    self.laws.done(key, process.output);
                }
                Ending::Code(process.code)
            }
            Some(signal) => Ending::Signal(signal),
        };
        let exit = device.exit(key, ending, now_ms);
        device.processes.remove(&key);
        self.give(index, Input::Exited { key, exit });
    }

    // Clients.

    fn client_sends(&mut self, wish: usize) {
        if self.wishes[wish].is_answered {
            return;
        }
        let (command, paper) = (self.wishes[wish].command, self.wishes[wish].paper.clone());
        let id = JobId::of_command(&CommandId::from_bytes(command));
        let now = self.now();
        if self.server.is_some() && !(self.is_chaos && self.dice.once_in(6)) {
            self.papers.insert(id, paper.clone());
            let created = Created {
                job: id,
                author: OperatorId::from_bytes([1; 16]),
                username: "ada".into(),
                what: job::check(&CreateJob {
                    targets: Targets {
                        guids: paper.targets.iter().map(|target| target.guid).collect(),
                        ..Targets::default()
                    },
                    ..paper.request.clone()
                })
                .unwrap(),
                created_at: now,
                expires_at: now.plus_ms(paper.request.expires_in_ms.cast_signed()),
                grant: GrantId::from_bytes([2; 16]),
                file: Digest::of(b"paper"),
                runs_total: paper.targets.len() as u64,
                needs_approval: false,
                firing: None,
            };
            self.tell(format_args!("client asks for job {id}"));
            let made = self.with_ready_server(|server, _| server.create(command, created, &paper));
            // It is durable and nobody has acted on it.
            if let Some(Ok(_)) = made
                && self.is_chaos
                && self.dice.once_in(20)
            {
                self.dies_at("CS5");
                self.server_dies();
            }
            if let Some(Ok(_)) = made
                && !(self.is_chaos && self.dice.once_in(6))
            {
                let delay_ms = self.dice.within(1, 50);
                self.at(delay_ms, Happening::ClientHears { wish });
            }
        }
        let again_ms = self.dice.within(100, 6_000);
        self.at(again_ms, Happening::ClientSends { wish });
    }

    fn client_hears(&mut self, wish: usize) {
        let found = &mut self.wishes[wish];
        if found.is_answered {
            return;
        }
        found.is_answered = true;
        let id = JobId::of_command(&CommandId::from_bytes(found.command));
        let wants_cancel = found.wants_cancel;
        let waits = found.paper.request.waves.is_some();
        self.laws.acknowledged(id);
        if waits {
            let delay_ms = self.dice.within(1_000, 300_000);
            self.at(delay_ms, Happening::ClientContinues { wish });
        }
        if wants_cancel {
            let delay_ms = self.dice.within(10, 120_000);
            self.at(delay_ms, Happening::ClientCancels { wish });
        }
    }

    fn client_cancels(&mut self, wish: usize) {
        if !self.wishes[wish].wants_cancel {
            return;
        }
        let mut command = self.wishes[wish].command;
        let id = JobId::of_command(&CommandId::from_bytes(command));
        command[0] ^= 0xff;
        self.tell(format_args!("client cancels job {id}"));
        let done = self.with_ready_server(|server, now| server.cancel(command, &id, now));
        if let Some(Ok(())) = done
            && !(self.is_chaos && self.dice.once_in(6))
        {
            self.at(20, Happening::CancelIsHeard { wish });
        }
        self.at(3_000, Happening::ClientCancels { wish });
    }

    /// Continues a job, again and again: whatever stopped it, somebody looks at it.
    fn client_continues(&mut self, wish: usize) {
        let id = JobId::of_command(&CommandId::from_bytes(self.wishes[wish].command));
        self.tell(format_args!("client continues job {id}"));
        let command = self.dice.id();
        self.with_ready_server(|server, now| server.go_on(command, &id, now));
        let again_ms = if self.is_chaos {
            self.dice.within(10_000, 600_000)
        } else {
            30_000
        };
        self.at(again_ms, Happening::ClientContinues { wish });
    }

    // Faults.

    fn chaos(&mut self) {
        if self.chaos_left == 0 {
            return self.heal();
        }
        self.chaos_left -= 1;
        let device = usize::try_from(self.dice.below(self.devices.len() as u64)).unwrap();
        match self.dice.below(16) {
            0 | 1 => self.device_dies(device),
            2 | 3 => self.disconnects(device),
            4 => self.server_dies(),
            5 => {
                self.is_bus_up = false;
                self.tell(format_args!("bus down"));
                for index in 0..self.devices.len() {
                    self.disconnects(index);
                }
                let pause = self.dice.within(500, 120_000);
                self.at(pause, Happening::BusUp);
            }
            6 => {
                self.is_enrollment_up = false;
                let pause = self.dice.within(500, 60_000);
                self.at(pause, Happening::EnrollmentUp);
            }
            7 => {
                self.devices[device].disk.is_full = true;
                let pause = self.dice.within(500, 60_000);
                self.at(pause, Happening::DiskHasRoom { device });
            }
            8 => self.give(device, Input::Stop),
            9 => self.devices[device].skew_ms += self.dice.within(-3_600_000, 3_600_000),
            10 | 11 if !self.captured.is_empty() => {
                let which = usize::try_from(self.dice.below(self.captured.len() as u64)).unwrap();
                let (to, role, verb, body) = self.captured[which].clone();
                let to = if self.dice.once_in(4) { device } else { to };
                self.tell(format_args!("somebody repeats an order to {to}"));
                self.order_arrives(to, role, verb, body, 0);
            }
            12 => {
                self.set_status(device, DeviceStatus::Quarantined);
                let pause = self.dice.within(500, 120_000);
                self.at(pause, Happening::Released { device });
            }
            13 if self.dice.once_in(20) => self.set_status(device, DeviceStatus::Revoked),
            _ => {}
        }
        let pause = match self.dice.below(12) {
            0 => self.dice.within(60_000, 1_800_000),
            1..6 => self.dice.within(100, 2_000),
            _ => self.dice.within(1_000, 40_000),
        };
        self.at(pause, Happening::Chaos);
    }

    fn bus_up(&mut self) {
        if !self.is_bus_up {
            self.is_bus_up = true;
            self.tell(format_args!("bus up"));
        }
    }

    /// Ends every fault.
    fn heal(&mut self) {
        self.tell(format_args!("everything heals"));
        self.is_chaos = false;
        (self.is_bus_up, self.is_enrollment_up) = (true, true);
        self.log.set_risky(false);
        self.at(0, Happening::ServerUp);
        for index in 0..self.devices.len() {
            let device = &mut self.devices[index];
            (device.disk.is_risky, device.disk.is_full) = (false, false);
            self.set_status(index, DeviceStatus::Active);
            self.at(0, Happening::DeviceUp { device: index });
            self.at(10, Happening::Connects { device: index });
        }
        self.at(20, Happening::Hears { all: true });
        // What beats on when nothing else does.
        for minute in 1..=HEALED_MS / 60_000 + 2 {
            self.at(minute * 60_000, Happening::Hears { all: true });
        }
    }

    // The end.

    fn is_all_over(&self) -> bool {
        let Some(server) = &self.server else { return false };
        self.wishes.iter().all(|wish| wish.is_answered) && server.book.open_runs().is_empty()
    }

    /// Checks what has to hold once everything is over.
    fn judge(&mut self) -> Result<(), Broken> {
        let records = self.log.all();
        self.laws.check_log(&records);
        for (id, paper) in &self.papers {
            let Some(waves) = &paper.request.waves else { continue };
            let ends = laws::ends_of(waves, paper.targets.len());
            let runs = paper.targets.iter().map(|target| RunId::of_job(id, &target.guid));
            let runs: Vec<RunId> = runs.collect();
            self.report.waves += self.laws.check_waves(&records, id, waves, &ends, &runs);
        }
        let server = self.server.as_ref();
        let mut ends = BTreeMap::new();
        let mut runs = 0;
        let mut ids: BTreeSet<JobId> = BTreeSet::new();
        for wish in &self.wishes {
            let id = JobId::of_command(&CommandId::from_bytes(wish.command));
            if !wish.is_answered {
                self.laws.breaks("every_client_is_answered", format!("job {id}"));
            }
            ids.insert(id);
        }
        for id in ids {
            let Some(job) = server.and_then(|server| server.book.job(&id)) else {
                continue;
            };
            for (slot, target) in job.slots.iter().zip(&job.targets) {
                let slot = slot.try_lock().unwrap();
                let is_ping = job.created.what.script_digest.is_none();
                self.laws.check_run(&target.guid, slot.run, &slot.state, is_ping);
                *ends.entry(slot.state.state.as_str()).or_default() += 1;
                runs += 1;
            }
        }
        (self.report.ends, self.report.runs) = (ends, runs);
        let disks = self.devices.iter().map(|device| device.disk.deaths.clone());
        for (point, times) in disks.chain([self.log.deaths()]).flatten() {
            *self.report.deaths.entry(point).or_default() += times;
        }
        self.laws.broken.take().map_or(Ok(()), Err)
    }
}
