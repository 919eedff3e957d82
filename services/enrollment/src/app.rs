//! What the handlers share: the ledger, the issuer of credentials, the throttles, and a lock per key.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use borealis_bus_schema::causes::Chain;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{ApprovalId, Guid};
use borealis_bus_schema::messages::enrollment::{Approve, Resolution};
use borealis_bus_schema::messages::shared_events::{Actor, DeviceEnrolled};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::random;

use crate::aggregate::approval::{Approval, ApprovalEvent, Asked};
use crate::aggregate::device::{Change, Device, DeviceEvent, DeviceRejection, Why};
use crate::challenges::Challenges;
use crate::credentials::Issuer;
use crate::error::Refusal;
use crate::findings::Findings;
use crate::ledger::{Ledger, Outcome, Stamp};
use crate::minters::Minters;
use crate::state::State;
use crate::stored::Event;
use crate::throttle::{FAILURES_PER_ADDRESS, REQUESTS_PER_KEY, Throttle, peer_address};

/// Is how many locks the keys share, how many the codes, and how many the devices' hellos.
const LOCKS: usize = 64;

/// Holds what the handlers share.
pub struct App {
    /// The log and what it says.
    pub ledger: Ledger,
    /// Signs and computes credentials.
    pub issuer: Issuer,
    /// SHA-256 of the CA root, which stands in installer codes.
    pub ca_sha256: [u8; 32],
    /// What access says of those who minted codes, and of sites.
    pub minters: Minters,
    failures: Mutex<Throttle>,
    requests: Mutex<Throttle>,
    key_locks: Vec<tokio::sync::Mutex<()>>,
    code_locks: Vec<tokio::sync::Mutex<()>>,
    hello_locks: Vec<tokio::sync::Mutex<()>>,
    challenges: Mutex<Challenges>,
    findings: Mutex<Findings>,
}

impl App {
    /// Makes the shared part of a service.
    pub fn new(ledger: Ledger, issuer: Issuer, ca_sha256: [u8; 32], minters: Minters) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            issuer,
            ca_sha256,
            minters,
            failures: Mutex::new(Throttle::new(FAILURES_PER_ADDRESS)),
            requests: Mutex::new(Throttle::new(REQUESTS_PER_KEY)),
            key_locks: locks(),
            code_locks: locks(),
            hello_locks: locks(),
            challenges: Mutex::new(Challenges::new(random::bytes())),
            findings: Mutex::default(),
        })
    }

    /// Lets one request of a key through at a time, so that two of them cannot make two devices.
    pub async fn one_at_a_time(&self, key: &PublicKey) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        turn(&self.key_locks, key.as_bytes()).await
    }

    /// Lets one request with a code through at a time: thousands of machines with one code would only undo each other's
    /// decisions. Taken after the key's turn, never before.
    pub async fn one_use_at_a_time(&self, code: &PublicKey) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        turn(&self.code_locks, code.as_bytes()).await
    }

    /// Returns the SHA-256 of the CA root as lower hex.
    pub fn ca_sha256_text(&self) -> String {
        self.ca_sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Refuses a peer that failed too often.
    ///
    /// Errors: [`Refusal::Throttled`].
    pub fn admit_peer(&self, peer: &str, now: Timestamp) -> Result<(), Refusal> {
        refuse_while(lock(&self.failures).wait_ms(&peer_address(peer), now))
    }

    /// Counts a failure of a peer when the refusal is one that guessing gives.
    pub fn note_failure(&self, peer: &str, refusal: &Refusal, now: Timestamp) {
        let guessed = matches!(
            refusal,
            Refusal::UnknownCode | Refusal::Proof { .. } | Refusal::NotFound { .. }
        ) || matches!(
            refusal,
            Refusal::Approval(crate::aggregate::approval::ApprovalRejection::BadProof)
        );
        if guessed {
            lock(&self.failures).count(&peer_address(peer), now);
        }
    }

    /// Counts a request of a key, and refuses one that asks too often.
    ///
    /// Errors: [`Refusal::Throttled`].
    pub fn admit_key(&self, key: &PublicKey, now: Timestamp) -> Result<(), Refusal> {
        let mut requests = lock(&self.requests);
        let subject = key.to_string();
        refuse_while(requests.wait_ms(&subject, now))?;
        requests.count(&subject, now);
        Ok(())
    }

    /// Lets one hello of a device be taken at a time: the numbers of hellos are written in the order in which the answers to
    /// challenges were taken.
    pub async fn one_hello_at_a_time(&self, guid: &Guid) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        turn(&self.hello_locks, guid.as_bytes()).await
    }

    /// Gives a device something to answer in its next hello.
    pub fn challenge(&self, guid: &Guid, now: Timestamp) -> String {
        lock(&self.challenges).give(guid, now)
    }

    /// Tells whether a hello answers an open challenge; nothing is used up.
    pub fn may_answer_challenge(&self, guid: &Guid, answer: &str, now: Timestamp) -> bool {
        lock(&self.challenges).is_open(guid, answer, now)
    }

    /// Tells whether a hello answers an open challenge; then none that was given out until now is open any more.
    pub fn answers_challenge(&self, guid: &Guid, answer: &str, now: Timestamp) -> bool {
        lock(&self.challenges).take(guid, answer, now)
    }

    /// Takes in that a copy of a device is at work; the quarantine is written by [`App::follow_findings`].
    pub fn find_copy(&self, guid: Guid, reason: String) {
        lock(&self.findings).add(guid, reason);
    }

    /// Tells whether a finding waits to be written.
    pub fn has_findings(&self) -> bool {
        !lock(&self.findings).open().is_empty()
    }

    /// Quarantines the devices of which a copy was found; what cannot be written now stays for the next time.
    ///
    /// Returns the devices that are quarantined since.
    pub async fn follow_findings(&self, now: Timestamp) -> Vec<Guid> {
        let open = lock(&self.findings).open();
        let mut quarantined = Vec::new();
        for (guid, reason) in open {
            match self.change_status(guid, Change::Quarantine, &reason, now).await {
                Ok(()) => {
                    tracing::warn!(%guid, reason, "a device is quarantined");
                    quarantined.push(guid);
                }
                // It is quarantined or shut out already.
                Err(Refusal::Device(_) | Refusal::NotFound { .. }) => {}
                Err(error) => {
                    tracing::error!(%guid, error = %Chain(&error), "a copied device could not be quarantined; it is tried again");
                    continue;
                }
            }
            lock(&self.findings).settle(&guid);
        }
        quarantined
    }

    /// Changes a device's status by enrollment's own decision; the warden then shuts it out of the bus, or lets it in again.
    ///
    /// Errors: [`Refusal::NotFound`], [`Refusal::Device`], [`Refusal::Fault`].
    pub async fn change_status(&self, guid: Guid, change: Change, reason: &str, now: Timestamp) -> Result<(), Refusal> {
        let decide = |state: &State| -> Result<Outcome<()>, Refusal> {
            let device = state.device(&guid).ok_or(Refusal::NotFound { what: "device" })?;
            let event = device.change_status(change, Why { reason, by: None, now })?;
            Ok(Outcome {
                events: vec![Event::Device(guid, event)],
                value: (),
            })
        };
        self.ledger.commit(Stamp::own(random::id(), now), decide).await
    }
}

/// Names who approved a request.
#[derive(Debug, Clone, Copy)]
pub enum Approver<'a> {
    /// The installer code itself.
    Code,
    /// An operator.
    Operator(&'a Actor),
}

impl Approver<'_> {
    fn name(&self) -> &str {
        match self {
            Approver::Code => "installer code",
            Approver::Operator(actor) => &actor.username,
        }
    }
}

/// Decides what an approval writes: the request is approved, and its key is a device, the same one as before if it was one.
///
/// A revoked device is admitted again, by an operator only. A machine that is a device under another key needs a word on
/// what becomes of that device. No enrolment moves a device from one site to another.
///
/// Errors: [`Refusal::Approval`]; [`Refusal::Device`] when the key is one that is shut out; [`Refusal::Conflict`].
pub fn admission(
    state: &State,
    approval: &Approval,
    by: Approver<'_>,
    wanted: &Approve,
    fresh: Guid,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let asked = &approval.asked;
    approval.approve(fresh, by.name(), now)?;
    let known = match state.device_by_key(&asked.public_key) {
        None if state.is_retired(&asked.public_key) => return Err(DeviceRejection::Replaced.into()),
        known => known,
    };
    let continued = match (rivals(state, asked).first(), wanted.conflict) {
        (None, _) => known,
        (Some(_), None) => return Err(Refusal::Conflict { what: UNDECIDED }),
        (Some(_), Some(Resolution::CoExist)) => None,
        (Some(rival), Some(Resolution::Overwrite)) => Some(*rival),
    };
    let site = wanted.site.as_ref().unwrap_or(&asked.site);
    if continued.is_some_and(|device| device.enrolled.site != *site) {
        return Err(Refusal::Conflict { what: OTHER_SITE });
    }
    let back = match (continued, by) {
        (None, _) => None,
        (Some(device), Approver::Code) => {
            device.admitted()?;
            None
        }
        (Some(device), Approver::Operator(actor)) => device.readmit(Why {
            reason: "a new enrolment was approved",
            by: Some(actor),
            now,
        })?,
    };
    let guid = continued.map_or(fresh, Device::guid);
    let enrolled = DeviceEnrolled {
        guid,
        site: site.clone(),
        public_key: asked.public_key,
        exchange_key: asked.exchange_key,
        exchange_key_signature: asked.exchange_key_signature,
        facts: asked.facts.clone(),
        address: asked.address.clone(),
        first_seen_at: continued.map_or(approval.requested_at, |device| device.enrolled.first_seen_at),
        approved_at: now,
    };
    let mut events = vec![
        Event::Approval(asked.id, approval.approve(guid, by.name(), now)?),
        Event::Device(guid, DeviceEvent::Enrolled(Box::new(enrolled.clone()))),
    ];
    events.extend(back.map(|event| Event::Device(guid, event)));
    if let Approver::Operator(actor) = by {
        let fresh = || Device::new(enrolled);
        let device = continued.cloned().unwrap_or_else(fresh);
        let tagged = device.retag(&wanted.tags, &BTreeSet::new(), actor, now)?;
        events.extend(tagged.map(|event| Event::Device(guid, event)));
    }
    Ok(events)
}

const UNDECIDED: &str = "this machine is, or was, a device under another key; say whether the new key takes over that device (overwrite) or is another one (co-exist)";
const OTHER_SITE: &str = "the device belongs to another site; no enrolment moves it";

/// Lists the devices that are known for the machine of a request, when the request's key is none: the one that an operator
/// may overwrite comes first.
///
/// Whoever was shut out counts for good: a fresh key does not make another machine of the one that an operator revoked. A
/// device that is let in counts while it lives on this machine.
pub fn rivals<'s>(state: &'s State, asked: &Asked) -> Vec<&'s Device> {
    if state.device_by_key(&asked.public_key).is_some() {
        return Vec::new();
    }
    let machine = &asked.facts.machine_hash;
    let mut rivals: Vec<&Device> = state
        .devices_of_machine(machine)
        .filter(|device| device.admitted().is_err() || device.enrolled.facts.machine_hash == *machine)
        .collect();
    let rank = |device: &Device| match device.admitted() {
        Ok(()) => 0,
        Err(DeviceRejection::Revoked) => 1,
        Err(_) => 2,
    };
    rivals.sort_by_key(|device| (rank(device), Reverse(device.enrolled.approved_at)));
    rivals
}

/// Completes the request of a device that showed its identity; nothing when it was completed before.
pub fn completion(state: &State, key: &PublicKey, now: Timestamp) -> Option<(ApprovalId, ApprovalEvent)> {
    let approval = state.approval_by_key(key)?;
    Some((approval.asked.id, approval.complete(now)?))
}

fn locks() -> Vec<tokio::sync::Mutex<()>> {
    (0..LOCKS).map(|_| tokio::sync::Mutex::new(())).collect()
}

async fn turn<'l>(locks: &'l [tokio::sync::Mutex<()>], name: &[u8]) -> Option<tokio::sync::MutexGuard<'l, ()>> {
    let first = name.first()?;
    Some(locks.get(usize::from(*first) % LOCKS)?.lock().await)
}

fn refuse_while(wait_ms: Option<i64>) -> Result<(), Refusal> {
    match wait_ms {
        Some(wait_ms) => Err(Refusal::Throttled {
            wait_s: wait_ms / 1_000 + 1,
        }),
        None => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
