//! Jobs whose devices are counted, kept in memory so that a batch does not read its job's whole stream again.
//!
//! What is kept is bounded by the devices that all of it names, not by the jobs: a job on one device and one on ten thousand
//! differ that much. The job that was asked for longest ago goes first; of one that went, the log is read again.

use std::collections::HashMap;
use std::sync::Arc;

use borealis_bus_schema::ids::JobId;
use borealis_event_store::Version;

use crate::aggregate::State;

/// Is how many devices all kept jobs name together, at most; about 25 bytes each.
pub const MAX_DEVICES: usize = 500_000;

/// Is about what a job takes besides its devices, in devices.
const A_JOB: usize = 8;

#[derive(Debug)]
struct Kept {
    read: Version,
    state: Arc<State>,
    weight: usize,
    asked: u64,
}

/// Holds jobs up to a bound.
#[derive(Debug)]
pub struct Counted {
    jobs: HashMap<JobId, Kept>,
    max_weight: usize,
    weight: usize,
    asked: u64,
}

impl Default for Counted {
    fn default() -> Self {
        Self::new(MAX_DEVICES)
    }
}

impl Counted {
    /// Makes an empty one.
    pub fn new(max_devices: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            max_weight: max_devices,
            weight: 0,
            asked: 0,
        }
    }

    /// Takes a job out, so that what is known of it can be folded on without a copy; nothing is known of one that is not kept.
    pub fn take(&mut self, job: &JobId) -> (Version, Arc<State>) {
        match self.jobs.remove(job) {
            Some(kept) => {
                self.weight -= kept.weight;
                (kept.read, kept.state)
            }
            None => (0, Arc::default()),
        }
    }

    /// Keeps a job with the version up to which it was read, unless more is known of it already.
    pub fn keep(&mut self, job: JobId, read: Version, state: Arc<State>) {
        if self.jobs.get(&job).is_some_and(|kept| kept.read > read) {
            return;
        }
        self.take(&job);
        let devices = match state.as_ref() {
            State::Bound(bound) => bound.devices.len(),
            State::New | State::Closed => 0,
        };
        let weight = devices + A_JOB;
        self.asked += 1;
        self.weight += weight;
        let asked = self.asked;
        self.jobs.insert(
            job,
            Kept {
                read,
                state,
                weight,
                asked,
            },
        );
        while self.weight > self.max_weight && self.jobs.len() > 1 {
            let oldest = self.jobs.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(oldest) = oldest.map(|(job, _)| *job) else {
                break;
            };
            self.take(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Entry, Event, evolve};
    use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, OrderId, RunId};
    use borealis_bus_schema::order::Digest;
    use borealis_bus_schema::time::Timestamp;

    fn job(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn on(devices: u8) -> Arc<State> {
        let entry = |n| Entry {
            order: OrderId::from_bytes([n; 16]),
            run: RunId::from_bytes([n; 16]),
            attempt: 1,
            guid: Guid::from_random([n; 16]),
            cancels: false,
        };
        let signed = Event::OrdersSigned {
            job: job(1),
            command: CommandId::from_bytes([1; 16]),
            call: Digest([1; 32]),
            grant: GrantId::from_bytes([1; 16]),
            author: OperatorId::from_bytes([1; 16]),
            key_id: String::new(),
            at: Timestamp::from_unix_ms(1),
            entries: (0..devices).map(entry).collect(),
        };
        Arc::new(evolve(State::New, &signed))
    }

    #[test]
    fn what_is_kept_is_bounded_by_devices_and_the_oldest_goes_first() {
        let mut counted = Counted::new(100);
        for n in 0..3 {
            counted.keep(job(n), 7, on(20));
        }
        // The first was asked for again, so the second is the oldest.
        let (read, state) = counted.take(&job(0));
        assert_eq!((read, &state), (7, &on(20)));
        counted.keep(job(0), 8, state);
        counted.keep(job(3), 9, on(30));
        assert_eq!(counted.take(&job(1)), (0, Arc::default()));
        assert_eq!(counted.take(&job(0)).0, 8);
        assert_eq!(counted.take(&job(2)).0, 7);
        assert_eq!(counted.take(&job(3)).0, 9);
        assert_eq!(counted.weight, 0, "what was taken weighs nothing");
    }

    #[test]
    fn one_job_larger_than_the_bound_is_kept_alone_and_less_never_replaces_more() {
        let mut counted = Counted::new(10);
        counted.keep(job(1), 5, on(1));
        counted.keep(job(2), 9, on(200));
        counted.keep(job(2), 4, on(1));
        assert_eq!(counted.take(&job(1)).0, 0);
        assert_eq!(counted.take(&job(2)), (9, on(200)));
    }
}
