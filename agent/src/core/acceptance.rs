//! Which orders are accepted: everything is checked before anything is queued.
//!
//! A refusal of what is not authentic is an unsigned error: a signed one would let whoever forges orders end real runs. An
//! authentic order that this device will not do gets a signed result with the code.

use super::book::{Entry, Phase};
use super::record::{Record, RunKey};
use super::runs::Verdict;
use super::time::Now;
use super::{Core, MAX_QUEUED, Output, ReplyTo, Step, accepted};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Signed, sha256};
use borealis_bus_schema::ids::{RoleName, RunId, VerbName};
use borealis_bus_schema::messages::device::{Accepted, RunResult};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::{Digest, Expected, Order, OrderBody, ScriptBody, SignedOrder};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;

/// Is how long a run is remembered beyond the longest life of a run (seven days): 24 hours more, in milliseconds.
pub const REMEMBER_MS: i64 = 8 * 24 * 3_600_000;

impl Core {
    pub(super) fn order(&mut self, role: &RoleName, verb: &VerbName, body: &[u8], reply: ReplyTo, now: Now) {
        if let Err(error) = self.consider(role, verb, body, &reply, now) {
            tracing::warn!(role = %role, verb = %verb, code = %error.code, "an order is refused: {}", error.message);
            self.answer(reply, Err(error));
        }
    }

    pub(super) fn answer(&mut self, to: ReplyTo, reply: Reply<Accepted>) {
        if !to.0.is_empty() {
            self.out.push(Output::Reply { to, reply });
        }
    }

    fn consider(
        &mut self,
        role: &RoleName,
        verb: &VerbName,
        body: &[u8],
        reply: &ReplyTo,
        now: Now,
    ) -> Result<(), WireError> {
        if !self
            .config
            .roles
            .iter()
            .any(|spec| spec.name == *role && spec.verbs.contains(verb))
        {
            return Err(WireError::new(Code::UnknownVerb, "this agent has no such role or verb"));
        }
        let signed: SignedOrder = codec::decode(body).map_err(not_an_order)?;
        let digest = sha256(&signed.order);
        if let Some(known) = self.book.by_digest(&digest) {
            self.answer(reply.clone(), Ok(known));
            return Ok(());
        }
        let order = match self.verified(&signed, role, verb, now) {
            Err(error) if error.code == Code::OrderWrongContext => {
                return self.decline(&signed, digest, reply, error, now);
            }
            verified => verified?,
        };
        match &order.body {
            OrderBody::Cancel { run } => {
                let run = *run;
                return self.cancel(&order, run, reply, now);
            }
            OrderBody::Script(script) => check_script(script)?,
            OrderBody::Ping => {}
        }
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        // The server asks again with a fresh order until it has the result.
        let replayed = || WireError::new(Code::OrderReplayed, "another order was seen for this run and attempt");
        if let Some(known) = self.book.repeated(key, &order) {
            self.answer(reply.clone(), Ok(known.map_err(|_| replayed())?));
            return Ok(());
        }
        if self.book.has_order(&order.order) {
            return Err(replayed());
        }
        if self.stopping {
            return Err(WireError::new(Code::ShuttingDown, "the agent is stopping"));
        }
        if matches!(order.body, OrderBody::Ping) {
            self.settle(order, digest, reply.clone(), Verdict::succeeded(), now);
            return Ok(());
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(WireError::new(Code::Busy, "as many runs wait as may wait"));
        }
        let bytes = signed.order;
        self.out.push(Output::Append {
            records: vec![Record::Received {
                order: bytes,
                at: self.clock.at(now),
            }],
            step: Step::Received {
                order: Box::new(order),
                digest,
                reply: reply.clone(),
            },
        });
        Ok(())
    }

    /// Verifies signature, place, device, context, subject, time and that body and verb belong together.
    fn verified(
        &mut self,
        signed: &SignedOrder,
        role: &RoleName,
        verb: &VerbName,
        now: Now,
    ) -> Result<Order, WireError> {
        let server_now = self.clock.at(now);
        let set = &self.config.key_set;
        if server_now >= set.expires_at {
            return Err(WireError::new(Code::OrderKeyUnknown, "the pinned key set is over"));
        }
        let expected = Expected {
            guid: &self.config.guid,
            contexts: &self.config.contexts,
            role,
            verb,
            now: server_now,
        };
        let order = signed.verify(set, expected).map_err(|error| {
            let by_time = matches!(error.code(), Code::OrderExpired | Code::OrderNotYetValid);
            let code = if by_time && !self.clock.is_settled() {
                Code::ClockSkew
            } else {
                error.code()
            };
            WireError::new(code, error.to_string())
        })?;
        self.clock.prove(order.issued_at.min(server_now));
        let fits = match &order.body {
            OrderBody::Ping => verb.as_str() == "ping",
            OrderBody::Script(_) => verb.as_str() == "run",
            OrderBody::Cancel { .. } => verb.as_str() == "cancel",
        };
        if fits {
            Ok(order)
        } else {
            Err(WireError::new(
                Code::OrderMalformed,
                "the order's body does not belong to its verb",
            ))
        }
    }

    /// Refuses an authentic order for a context that this agent has not, by a signed result: an unsigned word ends no run.
    ///
    /// Signature, form and device were verified before the context was looked at.
    fn decline(
        &mut self,
        signed: &SignedOrder,
        digest: [u8; 32],
        reply: &ReplyTo,
        error: WireError,
        now: Now,
    ) -> Result<(), WireError> {
        let order: Order = codec::decode_canonical(&signed.order).map_err(not_an_order)?;
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        let is_known = self.book.has_run(key) || self.book.has_order(&order.order);
        if is_known || self.stopping || matches!(order.body, OrderBody::Cancel { .. }) {
            return Err(error);
        }
        let verdict = Verdict::refused(error.code, &error.message);
        self.settle(order, digest, reply.clone(), verdict, now);
        Ok(())
    }

    /// Records an order together with its result, and answers with both.
    pub(super) fn settle(&mut self, order: Order, digest: [u8; 32], reply: ReplyTo, verdict: Verdict, now: Now) {
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        let Some(result) = self.sealed(key, verdict, now) else {
            let error = WireError::new(Code::Internal, "the result cannot be signed");
            return self.answer(reply, Err(error));
        };
        let received = Record::Received {
            order: codec::encode(&order).unwrap_or_default(),
            at: self.clock.at(now),
        };
        self.out.push(Output::Append {
            records: vec![received, exited_record(key, order.role.clone(), &result, None)],
            step: Step::Settled {
                order: Box::new(order),
                digest,
                result: Box::new(result),
                reply,
            },
        });
    }

    pub(super) fn received(&mut self, order: Order, digest: [u8; 32], reply: ReplyTo, now: Now) {
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        self.answer(reply, Ok(accepted(key.run, key.attempt, RunState::Delivered, None)));
        if !self.book.has_run(key) {
            self.book
                .insert(key, Entry::of_order(order, digest, self.clock.at(now)));
            self.queue.push_back(key);
        }
    }

    pub(super) fn settled(&mut self, order: Order, digest: [u8; 32], result: (RunResult, Signed), reply: ReplyTo) {
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        let (result, signed) = result;
        let answer = accepted(key.run, key.attempt, result.state, Some(signed.clone()));
        // The answer carries the result; whoever lost it asks again, so it is not told a second time.
        let mut entry = Entry::of_order(order, digest, result.ended_at);
        entry.phase = Phase::Closed {
            state: result.state,
            result: Some(signed),
        };
        self.book.insert(key, entry);
        self.answer(reply, Ok(answer));
    }

    pub(super) fn refuse_for_space(&mut self, reply: ReplyTo, full: bool) {
        let error = if full {
            WireError::new(Code::NoSpace, "the journal has no room for another run")
        } else {
            WireError::new(Code::StorageFailed, "the journal cannot be written")
        };
        self.answer(reply, Err(error));
    }

    fn cancel(&mut self, order: &Order, run: RunId, reply: &ReplyTo, now: Now) -> Result<(), WireError> {
        // An attempt that never came here is none that went before it.
        let known = self.book.newest_attempt(run);
        let key = known.filter(|key| key.attempt >= order.attempt).unwrap_or(RunKey {
            run,
            attempt: order.attempt,
        });
        if self.book.has_run(key) {
            let state = self.cancel_known(key, now);
            self.answer(reply.clone(), Ok(state));
            return Ok(());
        }
        let keep_until = self.clock.at(now).plus_ms(REMEMBER_MS);
        let verdict = Verdict::ended(RunState::Cancelled, "it was cancelled before its order came");
        let Some(result) = self.sealed(key, verdict, now) else {
            return Err(WireError::new(Code::Internal, "the result cannot be signed"));
        };
        self.out.push(Output::Append {
            records: vec![exited_record(key, order.role.clone(), &result, Some(keep_until))],
            step: Step::Forestalled {
                key,
                role: order.role.clone(),
                result: Box::new(result),
                keep_until,
                reply: reply.clone(),
            },
        });
        Ok(())
    }

    pub(super) fn forestalled(
        &mut self,
        key: RunKey,
        role: RoleName,
        result: (RunResult, Signed),
        keep_until: Timestamp,
        reply: ReplyTo,
    ) {
        let (result, signed) = result;
        let answer = accepted(key.run, key.attempt, result.state, Some(signed.clone()));
        if !self.book.has_run(key) {
            self.book
                .insert(key, Entry::forestalled(role, keep_until, result.state, signed));
        }
        self.answer(reply, Ok(answer));
    }
}

/// Builds the record of a run that is over.
pub(super) fn exited_record(
    key: RunKey,
    role: RoleName,
    result: &(RunResult, Signed),
    keep_until: Option<Timestamp>,
) -> Record {
    Record::Exited {
        key,
        role,
        state: result.0.state,
        result: result.1.clone(),
        stdout_bytes: result.0.stdout_bytes,
        stderr_bytes: result.0.stderr_bytes,
        keep_until,
    }
}

fn not_an_order(error: codec::CodecError) -> WireError {
    let code = match error.code() {
        code @ (Code::TooLarge | Code::TooDeep) => code,
        _ => Code::OrderMalformed,
    };
    WireError::new(code, error.to_string())
}

/// Checks what no interpreter could take.
fn check_script(script: &ScriptBody) -> Result<(), WireError> {
    if Digest::of(&script.script) != script.digest {
        return Err(WireError::new(
            Code::OrderMalformed,
            "the script is not the one its digest names",
        ));
    }
    let has_nul = |text: &str| text.contains('\0');
    let is_name = |name: &str| !name.is_empty() && !name.contains('=') && !has_nul(name);
    let fits = !script.args.iter().any(|arg| has_nul(arg))
        && script
            .env
            .iter()
            .all(|(name, value)| is_name(name) && !value.has_zero());
    if fits {
        Ok(())
    } else {
        Err(WireError::new(
            Code::InvalidField,
            "an argument or a variable cannot be handed to a process",
        ))
    }
}
