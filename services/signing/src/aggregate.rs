//! What signing decides and remembers, per job: the one request that its orders are signed for.
//!
//! A run's id follows from the request's command and the device, and what an order says follows from the request. So a job
//! that stays with the first request it was signed for can never have two contents for one run and attempt.

use borealis_bus_schema::forms::SignatureBytes;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, JobId, OperatorId, OrderId, RunId};
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::order::{Digest, Order, OrderBody};
use borealis_bus_schema::time::Timestamp;

/// Is what is known of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing was signed for it.
    #[default]
    New,
    /// It stays with the request of this digest.
    Bound(Digest),
    /// Something was signed for it, and retention dropped what.
    Closed,
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
}

/// Is what a decision may not draw by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
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
}

/// Is how many orders one event names, so that it stays below 32 KiB.
pub const ENTRIES_PER_EVENT: usize = 512;

/// Decides whether a batch may be signed.
///
/// Errors: [`Rejection::AlreadySigned`].
pub fn decide(state: &State, command: &SignBatch, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    match state {
        State::New => {}
        State::Bound(call) if *call == command.call => {}
        State::Bound(_) | State::Closed => return Err(Rejection::AlreadySigned),
    }
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
    Ok(command.orders.chunks(ENTRIES_PER_EVENT).map(event).collect())
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
    match (state, event) {
        (State::New, Event::OrdersSigned { call, .. }) => State::Bound(*call),
        (unchanged, Event::OrdersSigned { .. } | Event::HeadCountersigned { .. }) => unchanged,
    }
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
        }
    }
    fn facts() -> Facts {
        Facts { now: now() }
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
    fn a_large_batch_is_several_events() {
        let mut large = batch(b"call", 1);
        large.orders = vec![order_for(guid(1)); 1_024];
        let events = decide(&State::New, &large, &facts()).unwrap();
        assert_eq!(events.len(), 1_024usize.div_ceil(ENTRIES_PER_EVENT));
    }
}
