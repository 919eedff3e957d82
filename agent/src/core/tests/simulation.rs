//! Years of one device in a second: crashes, lost messages, cuts, from a seed that is printed.
//!
//! Invariants after each step: no run begins twice; every signed result of a run is the same; what was acknowledged as
//! delivered ends with a result at the server; nothing that is due stays due.

use super::desk::*;
use crate::core::backoff::Jitter;
use crate::core::record::RunKey;
use crate::core::{Ending, Input, Output, TellError};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{OrderId, RunId};
use borealis_bus_schema::order::{Order, OrderBody};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

struct World {
    desk: Desk,
    dice: Jitter,
    orders: Vec<Order>,
    begun: BTreeSet<RunKey>,
    living: BTreeSet<RunKey>,
    acknowledged: BTreeSet<RunKey>,
    at_server: BTreeMap<RunKey, Signed>,
    pending: VecDeque<Input>,
    online: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            desk: Desk::new(),
            dice: Jitter::new(seed),
            orders: vec![],
            begun: BTreeSet::new(),
            living: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            at_server: BTreeMap::new(),
            pending: VecDeque::new(),
            online: false,
        }
    }

    fn give(&mut self, input: Input) {
        let outputs = self.desk.give(input);
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Start(order) => {
                    let key = key_of(&order);
                    assert!(self.begun.insert(key), "run {key} began twice");
                    self.living.insert(key);
                    self.pending.push_back(Input::Started(key));
                }
                Output::End { key, .. } => self.pending.push_back(Input::Exited {
                    key,
                    exit: exit(Ending::Signal(9)),
                }),
                Output::EndLeftovers(key) => {
                    self.pending.push_back(Input::LeftoversEnded {
                        key,
                        exit: exit(Ending::Code(0)),
                    });
                }
                Output::SendResult { key, result, .. } => {
                    let answer = if self.dice.below(3) == 0 {
                        Err(TellError::Lost)
                    } else {
                        self.arrived(key, result);
                        // The server has it, but its answer may be lost.
                        if self.dice.below(3) == 0 {
                            Err(TellError::Lost)
                        } else {
                            Ok(())
                        }
                    };
                    self.pending.push_back(Input::ResultAnswered { key, answer });
                }
                Output::Reply {
                    reply: Ok(accepted), ..
                } => {
                    let key = RunKey {
                        run: accepted.run,
                        attempt: accepted.attempt,
                    };
                    self.acknowledged.insert(key);
                    if let Some(result) = accepted.result {
                        self.arrived(key, result);
                    }
                }
                _ => {}
            }
        }
    }

    fn arrived(&mut self, key: RunKey, result: Signed) {
        opened(&result);
        let first = self.at_server.entry(key).or_insert_with(|| result.clone());
        assert_eq!(*first, result, "run {key} has two results");
    }

    fn step(&mut self) {
        match self.dice.below(12) {
            0 => {
                let body = if self.dice.below(3) == 0 {
                    OrderBody::Ping
                } else {
                    OrderBody::Script(script_body())
                };
                let mut order = self.desk.order(body);
                let id = (self.orders.len() as u128 + 1).to_be_bytes();
                (order.run, order.order) = (RunId::from_bytes(id), OrderId::from_bytes(id));
                self.orders.push(order);
            }
            1..=3 if !self.orders.is_empty() => {
                let index = usize::try_from(self.dice.below(self.orders.len() as u64)).unwrap();
                let order = self.orders[index].clone();
                let outputs = self.desk.deliver(&order).1;
                self.perform(outputs);
            }
            4 => {
                let ended = self.living.pop_first();
                if let Some(key) = ended {
                    self.give(Input::Exited {
                        key,
                        exit: exit(Ending::Code(0)),
                    });
                }
            }
            5 => {
                self.online = !self.online;
                let input = if self.online {
                    Input::Connected
                } else {
                    Input::Disconnected
                };
                self.give(input);
            }
            6 if self.dice.below(3) == 0 => self.crash(),
            7 => self.desk.journal.full = self.dice.below(4) == 0,
            8 if self.dice.below(10) == 0 => self.desk.journal.rewrite_at = Some(1),
            9 => self.desk.journal.rewrite_at = None,
            10 => {
                let ms = i64::try_from(self.dice.below(40_000)).unwrap();
                let outputs = self.desk.pass(ms);
                self.perform(outputs);
                self.rests();
            }
            _ => {
                if let Some(input) = self.pending.pop_front() {
                    self.give(input);
                }
            }
        }
    }

    /// What is due was done: a deadline that stays in the past would be a loop that never rests.
    fn rests(&self) {
        let deadline = self.desk.core.deadline_ms();
        assert!(
            deadline.is_none_or(|at| at > self.desk.now.mono_ms),
            "{deadline:?} at {:?}",
            self.desk.now
        );
    }

    /// Loses everything but the journal.
    fn crash(&mut self) {
        self.pending.clear();
        self.living.clear();
        self.online = false;
        let outputs = self.desk.restart();
        self.perform(outputs);
    }

    /// Lets everything work until nothing is left to do.
    fn calm(&mut self) {
        self.desk.journal.full = false;
        self.give(Input::Connected);
        for _ in 0..20_000 {
            while let Some(key) = self.living.pop_first() {
                self.give(Input::Exited {
                    key,
                    exit: exit(Ending::Code(0)),
                });
            }
            match self.pending.pop_front() {
                Some(Input::ResultAnswered { key, answer: Ok(()) }) => {
                    self.give(Input::ResultAnswered { key, answer: Ok(()) })
                }
                Some(input) => self.give(input),
                None => {
                    let outputs = self.desk.pass(30_000);
                    self.perform(outputs);
                }
            }
            if self.acknowledged.iter().all(|key| self.at_server.contains_key(key)) {
                return;
            }
        }
    }
}

#[test]
fn given_any_course_of_events_then_nothing_is_lost_and_nothing_runs_twice() {
    let seed = option_env!("BOREALIS_SIM_SEED")
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_122);
    println!("seed {seed}");
    for world_seed in seed..seed + 40 {
        let mut world = World::new(world_seed * 2 + 1);
        for _ in 0..400 {
            world.step();
        }
        world.calm();
        let missing: Vec<_> = world
            .acknowledged
            .iter()
            .filter(|key| !world.at_server.contains_key(key))
            .collect();
        assert!(
            missing.is_empty(),
            "seed {world_seed}: acknowledged, but no result: {missing:?}"
        );
    }
}
