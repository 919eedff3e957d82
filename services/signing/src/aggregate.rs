//! What signing decides and remembers, per job: the one request that its orders are signed for.
//!
//! A run's id follows from the request's command and the device, and what an order says follows from the request. So a job
//! that stays with the first request it was signed for can never have two contents for one run and attempt.
//!
//! Where the author's jobs are limited, the devices are counted that a job was signed for. Beyond the limit nothing is signed
//! without another operator's approval, and a job stays with the devices of the first approval that it was signed under.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::SignatureBytes;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, JobId, OperatorId, OrderId, RunId};
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::order::{Digest, Order, OrderBody};
use borealis_bus_schema::time::Timestamp;

use crate::approval::Approved;

/// Is what is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing was signed for it.
    #[default]
    New,
    /// It stays with a request.
    Bound(Bound),
    /// Something was signed for it, and retention dropped what.
    Closed,
}

/// Is what a job stays with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The digest of the request.
    pub call: Digest,
    /// The devices that it was signed for.
    pub devices: BTreeSet<Guid>,
    /// The digest of the devices that were approved, once it was signed for under an approval.
    pub approved: Option<Digest>,
}

impl Bound {
    const fn to(call: Digest) -> Self {
        Self {
            call,
            devices: BTreeSet::new(),
            approved: None,
        }
    }
}

/// Asks for signatures over orders that the request covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignBatch {
    /// The job.
    pub job: JobId,
    /// The command of the request.
    pub command: CommandId,
    /// The digest of the request.
    pub call: Digest,
    /// The grant.
    pub grant: GrantId,
    /// Its author.
    pub author: OperatorId,
    /// The key that is to sign.
    pub key_id: String,
    /// The orders, as they are to be signed.
    pub orders: Vec<Order>,
    /// The devices that the request names one by one.
    pub named: BTreeSet<Guid>,
    /// Another operator's approval.
    pub approved: Option<Approved>,
}

impl SignBatch {
    /// Lists the devices on which the orders begin something.
    pub fn begins_on(&self) -> impl Iterator<Item = Guid> {
        let begins = self.orders.iter().filter(|order| !entry(order).cancels);
        begins.map(|order| order.guid)
    }

    /// Lists the devices of the job, as far as they are known: those of the request, of this batch, and of those before.
    pub fn devices(&self, state: &State) -> BTreeSet<Guid> {
        let mut devices: BTreeSet<Guid> = self.named.clone();
        devices.extend(self.begins_on());
        if let State::Bound(bound) = state {
            devices.extend(&bound.devices);
        }
        devices
    }
}

/// Is what a decision may not draw by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
    /// How many devices the job may have without another operator's approval; none where its author is not limited.
    pub limit: Option<u64>,
}

/// Is one signed order as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The order.
    pub order: OrderId,
    /// Its run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// The device.
    pub guid: Guid,
    /// Whether it ends the run instead of beginning it.
    pub cancels: bool,
}

/// Is what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Orders were signed; one batch is several of these when it is large.
    OrdersSigned {
        /// The job.
        job: JobId,
        /// The command of the request.
        command: CommandId,
        /// The digest of the request.
        call: Digest,
        /// The grant.
        grant: GrantId,
        /// Its author.
        author: OperatorId,
        /// The key that signed.
        key_id: String,
        /// When.
        at: Timestamp,
        /// The orders.
        entries: Vec<Entry>,
    },
    /// A job is signed for under another operator's approval.
    JobApproved {
        /// The job.
        job: JobId,
        /// The digest of the request.
        call: Digest,
        /// The digest of the devices that were approved.
        devices: Digest,
        /// How many there are.
        devices_total: u64,
        /// Who approved.
        approver: OperatorId,
        /// The approver's grant.
        grant: GrantId,
        /// When it was first signed for under the approval.
        at: Timestamp,
    },
    /// A service's head was confirmed, so that its log cannot lose its end unnoticed.
    HeadCountersigned {
        /// The head.
        head: Head,
        /// When.
        at: Timestamp,
        /// The signing service's key over the form `countersign` of the head's CBOR.
        signature: SignatureBytes,
    },
}

/// States the rule that a batch breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Another request was signed for under the same command.
    #[error("orders of this job were signed for another request")]
    AlreadySigned,
    /// Other devices of this job were approved and signed for before.
    #[error("orders of this job were signed for under the approval of other devices")]
    OtherApproval,
    /// The job is too large for its author alone.
    #[error("the job is on {devices} devices; beyond {limit} it takes another operator's approval")]
    BeyondLimit {
        /// How many it is on, as far as is known.
        devices: usize,
        /// How many it may be on.
        limit: u64,
    },
}

/// Is how many orders one event names, so that it stays below 32 KiB.
pub const ENTRIES_PER_EVENT: usize = 512;

/// Decides whether a batch may be signed.
///
/// Errors: [`Rejection::AlreadySigned`], [`Rejection::OtherApproval`], [`Rejection::BeyondLimit`].
pub fn decide(state: &State, command: &SignBatch, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let approved_before = match state {
        State::New => None,
        State::Bound(bound) if bound.call == command.call => bound.approved,
        State::Bound(_) | State::Closed => return Err(Rejection::AlreadySigned),
    };
    let newly_approved = match (&command.approved, approved_before, facts.limit) {
        (Some(approved), None, _) => Some(approved),
        (Some(approved), Some(before), _) if approved.digest == before => None,
        (Some(_), Some(_), _) => return Err(Rejection::OtherApproval),
        (None, _, Some(limit)) if command.begins_on().next().is_some() => {
            let devices = command.devices(state).len();
            if u64::try_from(devices).unwrap_or(u64::MAX) > limit {
                return Err(Rejection::BeyondLimit { devices, limit });
            }
            None
        }
        (None, ..) => None,
    };
    let newly_approved = newly_approved.map(|approved| Event::JobApproved {
        job: command.job,
        call: command.call,
        devices: approved.digest,
        devices_total: approved.devices.len() as u64,
        approver: approved.approver,
        grant: approved.grant,
        at: facts.now,
    });
    let event = |orders: &[Order]| Event::OrdersSigned {
        job: command.job,
        command: command.command,
        call: command.call,
        grant: command.grant,
        author: command.author,
        key_id: command.key_id.clone(),
        at: facts.now,
        entries: orders.iter().map(entry).collect(),
    };
    let signed = command.orders.chunks(ENTRIES_PER_EVENT).map(event);
    Ok(newly_approved.into_iter().chain(signed).collect())
}

fn entry(order: &Order) -> Entry {
    Entry {
        order: order.order,
        run: order.run,
        attempt: order.attempt,
        guid: order.guid,
        cancels: matches!(order.body, OrderBody::Cancel { .. }),
    }
}

/// Applies what happened.
#[must_use]
pub fn evolve(state: State, event: &Event) -> State {
    let (Event::OrdersSigned { call, .. } | Event::JobApproved { call, .. }) = event else {
        return state;
    };
    let mut bound = match state {
        State::New => Bound::to(*call),
        State::Bound(bound) => bound,
        State::Closed => return State::Closed,
    };
    match event {
        Event::OrdersSigned { entries, .. } => {
            let begun = entries.iter().filter(|entry| !entry.cancels);
            bound.devices.extend(begun.map(|entry| entry.guid));
        }
        Event::JobApproved { devices, .. } => bound.approved = Some(*devices),
        Event::HeadCountersigned { .. } => {}
    }
    State::Bound(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::tests::{guid, now, order_for};

    fn batch(call: &[u8], size: u8) -> SignBatch {
        SignBatch {
            job: JobId::from_bytes([1; 16]),
            command: CommandId::from_bytes([2; 16]),
            call: Digest::of(call),
            grant: GrantId::from_bytes([3; 16]),
            author: OperatorId::from_bytes([4; 16]),
            key_id: "k".into(),
            orders: (0..size).map(|n| order_for(guid(n))).collect(),
            named: BTreeSet::new(),
            approved: None,
        }
    }
    fn facts() -> Facts {
        Facts {
            now: now(),
            limit: None,
        }
    }
    fn limited(limit: u64) -> Facts {
        Facts {
            limit: Some(limit),
            ..facts()
        }
    }
    fn only(batch: &SignBatch, devices: &[u8]) -> SignBatch {
        SignBatch {
            orders: devices.iter().map(|n| order_for(guid(*n))).collect(),
            ..batch.clone()
        }
    }
    fn approved(devices: &[u8]) -> Approved {
        let devices: BTreeSet<Guid> = devices.iter().map(|n| guid(*n)).collect();
        Approved {
            approver: OperatorId::from_bytes([9; 16]),
            grant: GrantId::from_bytes([8; 16]),
            digest: borealis_bus_schema::messages::scheduler::devices_digest(&devices),
            devices,
        }
    }
    fn after(state: State, batch: &SignBatch, facts: &Facts) -> State {
        decide(&state, batch, facts).unwrap().iter().fold(state, evolve)
    }
    fn given(batch: &SignBatch) -> State {
        let events = decide(&State::New, batch, &facts()).unwrap();
        events.iter().fold(State::New, evolve)
    }

    #[test]
    fn a_job_is_signed_for_and_names_each_order() {
        let events = decide(&State::New, &batch(b"call", 3), &facts()).unwrap();
        let [Event::OrdersSigned { entries, call, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((entries.len(), *call), (3, Digest::of(b"call")));
        assert_eq!(entries[2].run, order_for(guid(2)).run);
    }

    #[test]
    fn the_same_request_is_signed_for_again() {
        let state = given(&batch(b"call", 1));
        assert!(decide(&state, &batch(b"call", 2), &facts()).is_ok());
    }

    #[test]
    fn another_request_under_the_same_command_is_refused() {
        let state = given(&batch(b"call", 1));
        assert_eq!(
            decide(&state, &batch(b"other", 1), &facts()),
            Err(Rejection::AlreadySigned)
        );
    }

    #[test]
    fn what_retention_dropped_is_never_signed_for_again() {
        assert_eq!(
            decide(&State::Closed, &batch(b"call", 1), &facts()),
            Err(Rejection::AlreadySigned)
        );
    }

    #[test]
    fn a_job_split_into_parts_gets_no_further_than_its_limit() {
        let job = batch(b"call", 0);
        let state = after(State::New, &only(&job, &[1]), &limited(2));
        let state = after(state, &only(&job, &[2]), &limited(2));
        let beyond = Rejection::BeyondLimit { devices: 3, limit: 2 };
        assert_eq!(decide(&state, &only(&job, &[3]), &limited(2)), Err(beyond));
        // What was signed for may be signed for again, and ended.
        let state = after(state, &only(&job, &[1, 2]), &limited(2));
        let mut end = only(&job, &[3]);
        let run = end.orders[0].run;
        end.orders[0].body = OrderBody::Cancel { run };
        let state = after(state, &end, &limited(2));
        assert_eq!(decide(&state, &only(&job, &[3]), &limited(2)), Err(beyond));
        // A limit that was lowered since holds for what begins now.
        let lowered = Rejection::BeyondLimit { devices: 2, limit: 1 };
        assert_eq!(decide(&state, &only(&job, &[1]), &limited(1)), Err(lowered));
    }

    #[test]
    fn a_request_that_names_too_many_devices_is_signed_for_none_of_them() {
        let mut job = batch(b"call", 1);
        job.named = (0..3).map(guid).collect();
        let beyond = Rejection::BeyondLimit { devices: 3, limit: 2 };
        assert_eq!(decide(&State::New, &job, &limited(2)), Err(beyond));
        assert!(decide(&State::New, &job, &limited(3)).is_ok());
        assert!(decide(&State::New, &job, &facts()).is_ok());
    }

    #[test]
    fn an_approval_opens_the_job_for_its_devices_and_no_others() {
        let mut job = batch(b"call", 3);
        job.approved = Some(approved(&[0, 1, 2]));
        let events = decide(&State::New, &job, &limited(2)).unwrap();
        assert!(matches!(
            events.first(),
            Some(Event::JobApproved { devices_total: 3, .. })
        ));
        let state = events.iter().fold(State::New, evolve);
        assert!(matches!(
            decide(&state, &job, &limited(2)).unwrap().as_slice(),
            [Event::OrdersSigned { .. }]
        ));
        let mut swapped = only(&job, &[3]);
        swapped.approved = Some(approved(&[0, 1, 3]));
        assert_eq!(decide(&state, &swapped, &limited(2)), Err(Rejection::OtherApproval));
        // It is shown each time: its approver may have lost the right since.
        job.approved = None;
        assert!(matches!(
            decide(&state, &job, &limited(2)),
            Err(Rejection::BeyondLimit { .. })
        ));
    }

    #[test]
    fn a_large_batch_is_several_events() {
        let mut large = batch(b"call", 1);
        large.orders = vec![order_for(guid(1)); 1_024];
        let events = decide(&State::New, &large, &facts()).unwrap();
        assert_eq!(events.len(), 1_024usize.div_ceil(ENTRIES_PER_EVENT));
    }
}
