//! Delivery: every open run has an appointment; when it comes, the run is expired, ordered, asked after or ended.
//!
//! An order is a request that is repeated until the device's final, signed word is durable here. The device answers a
//! repeated order from its journal, so repeating starts nothing twice. What an answer says of progress only moves the run
//! forward and puts the next question further away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::audit::{Actor, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry, Side};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::messages::device::{Accepted, RunResult};
use borealis_bus_schema::messages::scheduler::{CreateJob, RunState};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::messages::signing::{Approval, SignOrders};
use borealis_bus_schema::order::{OrderBody, SignedOrder};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::subjects::Subject;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit::{self, within};
use borealis_service_kit::auth::STALE_AFTER_MS;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::random;
use tracing::{debug, warn};

use crate::book::{Job, RunKey, Slot, Target};
use crate::commit;
use crate::orders::{self, Act, Ends, SecondWarrant, Wanted, Warrant};
use crate::run::Command;
use crate::scheduler::Scheduler;
use crate::steps::{self, Ended, Look, OUTPUT_AGAIN_MS, Sight, Taken, pause_ms};

const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
const SIGN_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_ORDERS_AT_ONCE: usize = 4_096;

/// Is how many orders the signer is asked for at once, at most: the devices of one part work while the next one is signed.
const SIGNED_AT_ONCE: usize = 256;
/// Is how large a request to the signer may be, in bytes: a message of the bus holds a megabyte.
const SIGN_BYTES: usize = 600_000;
/// Is about what an order takes in a request to the signer besides its script.
const ORDER_BYTES: usize = 450;
/// Is what a text takes in a message besides its characters, at most.
const TEXT_BYTES: usize = 5;

/// Is what a job's orders are made from.
struct Paper {
    warrant: Warrant,
    request: CreateJob,
    /// What every order to begin says, but for the script itself.
    begins: OrderBody,
    /// Another operator's approval, where the job has one.
    approval: Option<Approval>,
}

impl Paper {
    /// Tells how many orders fit into one request to the signer: scripts are long, pings are short.
    fn at_once(&self) -> usize {
        let script_bytes = self.request.script.as_ref().map_or(0, String::len);
        let args = self.request.args.iter().map(|arg| arg.len() + TEXT_BYTES);
        let env = self.request.env.iter();
        let env = env.map(|(name, value)| name.len() + value.as_bytes().len() + 2 * TEXT_BYTES);
        let words_bytes: usize = args.chain(env).sum();
        let schedule_bytes = self
            .warrant
            .schedule
            .as_ref()
            .map_or(0, |author| author.call.body.len() + author.grant.len());
        let assembly_bytes = self.warrant.assembly.as_ref().map_or(0, |bytes| bytes.len());
        let once_bytes = self.warrant.call.body.len() + schedule_bytes + assembly_bytes;
        let room = SIGN_BYTES.saturating_sub(once_bytes);
        (room / (script_bytes + words_bytes + ORDER_BYTES)).clamp(1, SIGNED_AT_ONCE)
    }
}

/// Is a job with those of its runs that want an order, by their place in the job.
type Batch = (Arc<Job>, Vec<(u32, Wanted)>);

impl Scheduler {
    /// Looks after open runs until the service stops; begins once it knows what devices there are now.
    ///
    /// The loop itself never waits for the disk or for a run that is being written to: tasks do.
    pub async fn deliver(self: Arc<Self>) {
        if let Some(fresh) = self.enrollment.get() {
            tokio::select! {
                () = fresh.wait(STALE_AFTER_MS) => {}
                () = self.shutdown.wait() => return,
            }
        }
        loop {
            let next = self.agenda.lock().next_ms();
            let now = self.clock.now().unix_ms();
            let wait = next.map_or(60_000, |at| (at - now).clamp(0, 60_000));
            if wait > 0 {
                let wait = Duration::from_millis(wait.unsigned_abs());
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.wake.notified() => {}
                    () = self.shutdown.wait() => return,
                }
            }
            if self.shutdown.begun() {
                return;
            }
            let now = self.clock.now();
            let due = self.agenda.lock().take_due(now.unix_ms(), MAX_ORDERS_AT_ONCE);
            if due.is_empty() {
                continue;
            }
            let mut batches: BTreeMap<JobId, Batch> = BTreeMap::new();
            for key in due {
                let Some(job) = self.book.job(&key.job) else { continue };
                if let Some(wanted) = self.look_at(&job, key, now) {
                    batches
                        .entry(key.job)
                        .or_insert_with(|| (job, Vec::new()))
                        .1
                        .push((key.index, wanted));
                }
            }
            for (job, wanted) in batches.into_values() {
                tokio::spawn(Arc::clone(&self).order_runs(job, wanted));
            }
        }
    }

    /// Sets a run's next appointment, unless it is due sooner: its device may have come meanwhile.
    pub fn appoint(&self, key: RunKey, at_ms: i64) {
        self.agenda.lock().hasten(key, at_ms);
        self.wake.notify_one();
    }

    /// Brings the appointments of runs forward to now.
    pub fn hasten(&self, keys: impl IntoIterator<Item = RunKey>) {
        let now = self.clock.now().unix_ms();
        let mut agenda = self.agenda.lock();
        for key in keys {
            agenda.hasten(key, now);
        }
        drop(agenda);
        self.wake.notify_one();
    }

    /// Tells whether enrollment's word on devices is young enough to act by.
    pub(crate) fn devices_are_fresh(&self) -> bool {
        self.enrollment.get().is_some_and(|fresh| fresh.within(STALE_AFTER_MS))
    }

    /// Sees to what an open run needs now; returns what is to be ordered, if anything.
    fn look_at(self: &Arc<Self>, job: &Arc<Job>, key: RunKey, now: Timestamp) -> Option<Wanted> {
        let (target, slot) = (job.target(key.index)?, job.slot(key.index)?);
        let Ok(mut slot) = slot.try_lock() else {
            tokio::spawn(Arc::clone(self).settle(Arc::clone(job), key));
            return None;
        };
        match self.look(job, target, &mut slot, now) {
            Look::Nothing => None,
            Look::Later(wait_ms) => {
                self.appoint(key, now.plus_ms(wait_ms).unix_ms());
                None
            }
            Look::Write(_) => {
                drop(slot);
                tokio::spawn(Arc::clone(self).settle(Arc::clone(job), key));
                None
            }
            Look::Order(act) => Some(steps::want(&mut slot, target.guid, act, random::id())),
        }
    }

    /// Waits until nobody writes to a run, and writes what has to be written; what is to be ordered then is left to the loop,
    /// which has orders signed together.
    async fn settle(self: Arc<Self>, job: Arc<Job>, key: RunKey) {
        let (Some(target), Some(slot)) = (job.target(key.index), job.slot(key.index)) else {
            return;
        };
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        let wait_ms = match self.look(&job, target, &mut slot, now) {
            Look::Nothing => return,
            Look::Later(wait_ms) => wait_ms,
            Look::Order(_) => 0,
            Look::Write(commands) => {
                if !self.put(&job, key, &mut slot, commands, now).await || slot.state.end.is_some() {
                    return;
                }
                0
            }
        };
        self.appoint(key, now.plus_ms(wait_ms).unix_ms());
    }

    /// Decides what an open run needs now.
    fn look(&self, job: &Job, target: &Target, slot: &mut Slot, now: Timestamp) -> Look {
        let device = self.devices.get(&target.guid);
        let sight = Sight {
            device: device.as_deref(),
            is_fresh: self.devices_are_fresh(),
        };
        steps::look(job, slot, sight, now)
    }

    /// Has runs of one job signed, part by part, and sends each order to its device while the next part is signed.
    ///
    /// The signer refuses a part as a whole; one that it refuses for good is halved, until what it refuses stands alone. When
    /// it cannot answer now, the rest is not even asked for.
    async fn order_runs(self: Arc<Self>, job: Arc<Job>, wanted: Vec<(u32, Wanted)>) {
        let paper = match self.paper(&job).await {
            Ok(paper) => Arc::new(paper),
            Err(error) => return self.not_signed(&job, wanted, &error),
        };
        let at_once = paper.at_once();
        // An end stands in a part of its own kind: it is signed also when a beginning is not any more.
        let (ends, begins): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, wanted)| wanted.act == Act::Cancel);
        let mut parts = Vec::new();
        for mut kind in [begins, ends] {
            while kind.len() > at_once {
                parts.push(kind.split_off(kind.len() - at_once));
            }
            parts.push(kind);
        }
        parts.retain(|part| !part.is_empty());
        while let Some(mut part) = parts.pop() {
            match self.sign(&job, &paper, &part).await {
                Ok(signed) => {
                    for ((index, wanted), order) in part.into_iter().zip(signed) {
                        let (me, job, paper) = (Arc::clone(&self), Arc::clone(&job), Arc::clone(&paper));
                        tokio::spawn(async move { me.send(job, index, wanted, order, &paper.request).await });
                    }
                }
                Err(error) if is_of_one(error.code) && part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(error) if error.code.retry() == Retry::Never => self.not_signed(&job, part, &error),
                Err(error) => {
                    part.extend(std::mem::take(&mut parts).into_iter().flatten());
                    self.not_signed(&job, part, &error);
                }
            }
        }
    }

    /// Notes for each run that its order was not signed. A run that ends by it is written by a task of its own: their ends
    /// share the disk's syncs.
    fn not_signed(self: &Arc<Self>, job: &Arc<Job>, wanted: Vec<(u32, Wanted)>, error: &WireError) {
        warn!(job = %job.created.job, code = %error.code, runs = wanted.len(), "orders were not signed");
        let for_good = error.code.retry() == Retry::Never && !is_of_device(error.code);
        for (index, wanted) in wanted {
            let (me, job, error) = (Arc::clone(self), Arc::clone(job), error.clone());
            let final_word = for_good && wanted.act == Act::Begin;
            tokio::spawn(async move { me.not_sent(&job, index, &error, final_word).await });
        }
    }

    async fn paper(&self, job: &Job) -> Result<Paper, WireError> {
        let warrant = self.warrant(&job.created.file).await?;
        let request = warrant.request(job.created.firing.as_ref())?;
        let begins = orders::body_of(&request, job.created.what.script_digest);
        let approval = match job.approved.get() {
            None => None,
            Some(approved) => {
                let second: SecondWarrant = codec::decode(&self.files.read(&approved.file).await?)?;
                Some(Approval {
                    grant: second.grant,
                    call: second.call,
                    devices: Approval::pack(&job.devices()),
                })
            }
        };
        Ok(Paper {
            warrant,
            request,
            begins,
            approval,
        })
    }

    async fn sign(&self, job: &Job, paper: &Paper, wanted: &[(u32, Wanted)]) -> Result<Vec<SignedOrder>, WireError> {
        let now = self.clock.now();
        let ends = Ends::of(
            job.created.created_at,
            job.created.expires_at,
            job.created.what.timeout_ms,
        );
        let build = |(_, wanted): &(u32, Wanted)| orders::build(&paper.request, &paper.begins, wanted, now, ends);
        let ask = SignOrders {
            grant: paper.warrant.grant.clone(),
            call: paper.warrant.call.clone(),
            orders: wanted.iter().map(build).collect(),
            approval: paper.approval.clone(),
            firing: orders::firing_of(&paper.warrant, job.created.firing.as_ref()),
            assembly: paper.warrant.assembly.clone(),
        };
        let options = RequestOptions {
            timeout: Some(SIGN_TIMEOUT),
            ..RequestOptions::default()
        };
        let orders = self.bus.request(&ask, options).await?.orders;
        if orders.len() == wanted.len() {
            Ok(orders)
        } else {
            Err(WireError::new(
                Code::Internal,
                "the signer answered another number of orders",
            ))
        }
    }

    /// Reads a job's warrant.
    ///
    /// Errors: `storage_failed` when the file cannot be read.
    pub async fn warrant(&self, file: &borealis_bus_schema::order::Digest) -> Result<Warrant, WireError> {
        let bytes = self.files.read(file).await?;
        Ok(codec::decode(&bytes)?)
    }

    /// Sends one order and takes the answer in.
    async fn send(self: Arc<Self>, job: Arc<Job>, index: u32, wanted: Wanted, order: SignedOrder, request: &CreateJob) {
        if let Err(error) = self.still_goes(&wanted) {
            debug!(run = %wanted.run, guid = %wanted.guid, code = %error.code, "the order is not sent");
            self.not_sent(&job, index, &error, false).await;
            return;
        }
        if let Some(hold) = held_now(&job, index, &wanted).await {
            self.not_sent(&job, index, &WireError::new(Code::WrongState, hold), false)
                .await;
            return;
        }
        let verb = match wanted.act {
            Act::Begin => request.verb.clone(),
            Act::Cancel => borealis_bus_schema::ids::VerbName::cancel(),
        };
        let subject = Subject::DeviceDo {
            guid: wanted.guid,
            role: request.role.clone(),
            verb,
        };
        borealis_fail_points::reached("CS5");
        let answer = self.bus.order(&subject, &order, ORDER_TIMEOUT).await;
        let act = self.act_of(&job, &wanted, &subject, &answer);
        match answer {
            Ok(accepted) => {
                borealis_fail_points::reached("CS7");
                within(act, self.accepted(&job, index, &wanted, accepted)).await;
            }
            Err(error) => {
                debug!(run = %wanted.run, guid = %wanted.guid, code = %error.code, "the order was not taken");
                if error.code.side() == Side::Device && error.code.retry() == Retry::Never {
                    // Unsigned, and so a claim: kept as one, as often as the limits allow. Whoever puts it off is asked again.
                    self.recorder.end(&act, Err(error.code), false).await;
                }
                // Whoever holds the bus can say it too, so it ends nothing: what a device will not do it says signed.
                self.not_sent(&job, index, &error, false).await;
            }
        }
    }

    /// Asks again before an order leaves: its device may have changed while the order was signed.
    ///
    /// Errors: `stale` when nobody can tell, `device_quarantined` for a device that is not active any more.
    fn still_goes(&self, wanted: &Wanted) -> Result<(), WireError> {
        if !self.devices_are_fresh() {
            let text = "the newest word from enrollment on devices is too old to send orders by";
            return Err(WireError::new(Code::Stale, text));
        }
        match self.devices.get(&wanted.guid) {
            Some(device) if device.status != DeviceStatus::Active => {
                let text = "the device is not active any more";
                Err(WireError::new(Code::DeviceQuarantined, text))
            }
            _ => Ok(()),
        }
    }

    /// Begins the audit's record of what a device made of an order.
    fn act_of(&self, job: &Job, wanted: &Wanted, subject: &Subject, answer: &Reply<Accepted>) -> audit::Act {
        let (role, verb) = match subject {
            Subject::DeviceDo { role, verb, .. } => (role.as_str(), verb.as_str()),
            _ => ("", ""),
        };
        let act = audit::Act::new(self.clock.now(), &format!("do {role}.{verb}"), verb, random::id());
        act.note(|record| {
            record.actor = Actor::device(&wanted.guid);
            record.grant = Some(job.created.grant);
            for (kind, id) in [
                ("device", wanted.guid.to_string()),
                ("run", wanted.run.to_string()),
                ("job", job.created.job.to_string()),
            ] {
                record.add_object(kind, &id);
            }
            if let Ok(Accepted {
                state: RunState::Refused,
                result,
                ..
            }) = answer
            {
                let code = result
                    .as_ref()
                    .and_then(|result| codec::decode::<RunResult>(&result.bytes).ok()?.code);
                record.outcome = Outcome::Refused(code.unwrap_or(Code::NotPermittedOnDevice));
            }
        });
        act
    }

    /// Takes in a device's answer to an order.
    async fn accepted(&self, job: &Arc<Job>, index: u32, wanted: &Wanted, accepted: Accepted) {
        let Some((slot, key)) = slot_of(job, index) else { return };
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        let open = |slot: &Slot, result: &Signed| self.open_result(job, index, slot, result).ok();
        match steps::take_answer(&mut slot, wanted, &accepted, open, now) {
            Taken::Nothing => {}
            Taken::Later(wait_ms) => self.appoint(key, now.plus_ms(wait_ms).unix_ms()),
            Taken::WaitForOutput(commands) => {
                self.put(job, key, &mut slot, commands, now).await;
                self.appoint(key, now.plus_ms(OUTPUT_AGAIN_MS).unix_ms());
            }
            Taken::Write(commands) => {
                if self.put(job, key, &mut slot, commands, now).await && slot.state.end.is_none() {
                    let wait_ms = steps::again_ms(&mut slot, wanted.act);
                    self.appoint(key, now.plus_ms(wait_ms).unix_ms());
                }
            }
        }
    }

    /// Notes that an order did not reach its device, or was not taken, and tries again later; ends the run when it never can.
    async fn not_sent(&self, job: &Arc<Job>, index: u32, error: &WireError, final_word: bool) {
        let Some((slot, key)) = slot_of(job, index) else { return };
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        match steps::not_sent(&mut slot, error, final_word, now) {
            Look::Nothing | Look::Order(_) => {}
            Look::Later(wait_ms) => self.appoint(key, now.plus_ms(wait_ms).unix_ms()),
            Look::Write(commands) => {
                self.put(job, key, &mut slot, commands, now).await;
            }
        }
    }

    /// Verifies a device's final word on a run.
    ///
    /// Errors: `not_found` for no run or device; those of [`steps::open_result`].
    pub fn open_result(&self, job: &Job, index: u32, slot: &Slot, result: &Signed) -> Result<Ended, WireError> {
        let target = job.target(index);
        let target = target.ok_or_else(|| WireError::new(Code::NotFound, "there is no such run"))?;
        let device = self.devices.get(&target.guid);
        let device = device.ok_or_else(|| WireError::new(Code::NotFound, "there is no such device"))?;
        steps::open_result(&device, target.guid, slot, result)
    }

    /// Puts commands to a locked run; closes it when it is over, tries again later when the store refuses.
    pub async fn put(
        &self,
        job: &Arc<Job>,
        key: RunKey,
        slot: &mut Slot,
        commands: Vec<Command>,
        now: Timestamp,
    ) -> bool {
        match commit::put(&self.log, job, slot, commands, now).await {
            Ok(_) => {
                self.close_if_over(job, key, slot);
                if slot.state.state == RunState::Queued
                    && let Some(at) = slot.state.not_before
                {
                    slot.held = Some(steps::waits(&slot.state, at));
                    self.appoint(key, at.unix_ms());
                }
                true
            }
            Err(error) => {
                warn!(run = %slot.run, error = &error as &dyn std::error::Error, "a step of a run was not recorded");
                self.appoint(key, now.plus_ms(pause_ms(3)).unix_ms());
                false
            }
        }
    }

    /// Forgets the appointments of a run that is over.
    pub fn close_if_over(&self, job: &Job, key: RunKey, slot: &Slot) {
        if slot.state.end.is_some()
            && let Some(target) = job.target(key.index)
        {
            self.book.close(&target.guid, &key);
            self.rolls(job);
            debug!(run = %slot.run, job = %key.job, guid = %target.guid, state = slot.state.state.as_str(), "a run is over");
        }
    }
}

/// Tells whether the signer refused for a device's sake. That is no last word: a quarantine may end, and the signer may
/// know of an enrolment or a return a moment later than this service, whose own view ends the runs of devices that are shut out.
const fn is_of_device(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound | Code::DeviceQuarantined | Code::DeviceRevoked | Code::DeviceDecommissioned
    )
}

/// Tells whether the signer refused a part for the sake of one order in it; any other refusal is the same for all.
const fn is_of_one(code: Code) -> bool {
    is_of_device(code)
        || matches!(
            code,
            Code::OutOfScope | Code::GrantMismatch | Code::InvalidField | Code::TooLarge
        )
}

/// Asks again before an order to begin leaves, why it may not: what failed while it was signed may have set off the brake.
async fn held_now(job: &Job, index: u32, wanted: &Wanted) -> Option<String> {
    let hold = job.hold(index).filter(|_| wanted.act == Act::Begin)?;
    let slot = job.slot(index)?.lock().await;
    (slot.state.state == RunState::Queued).then_some(hold)
}

fn slot_of(job: &Arc<Job>, index: u32) -> Option<(&tokio::sync::Mutex<Slot>, RunKey)> {
    let slot = job.slot(index)?;
    Some((slot, job.key(index)))
}
