//! What a signed request covers: the last word on whether an order does exactly what its author asked for.
//!
//! Everything a device will do (targets, role, verb, language, script, arguments, environment, timeout, output limit, run)
//! is read from the bytes that the author's session key signed; an order that says anything else is refused. The caller of
//! signing may leave the script's text out of its orders; the text that is signed is always the author's. A request that names
//! a version of an assembly names it by the digest of its bytes: script and variables are read from bytes of that digest.

use std::collections::BTreeSet;

use borealis_bus_schema::assembly::{self, Assembly, AssemblyError};
use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::{PublicKey, VerifyError};
use borealis_bus_schema::ids::{
    CommandId, GrantId, Guid, JobId, OperatorId, RoleName, RunId, ScheduleId, SiteName, VerbName,
};
use borealis_bus_schema::messages::scheduler::{self, CreateJob, MAX_EXPIRES_IN_MS, MAX_RETRIES, OUTPUT_LIMIT_BYTES};
use borealis_bus_schema::messages::schedules::{CreateSchedule, RunSchedule};
use borealis_bus_schema::messages::signing::Firing;
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::{CLOCK_SKEW_MS, Context, Digest, MAX_VALIDITY_MS, Order, OrderBody, ScriptBody};
use borealis_bus_schema::routes;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::Plan;

#[cfg(test)]
pub(crate) mod tests;

/// Is what a verified grant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The grant.
    pub grant: GrantId,
    /// Its author.
    pub author: OperatorId,
    /// The key that signed the request.
    pub session_key: PublicKey,
    /// The digest of the request and its command.
    pub granted_digest: [u8; 32],
    /// When the grant ends.
    pub expires_at: Timestamp,
}

/// States the rule that a request to sign breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request carries no signature.
    #[error("the operator's request carries no signature")]
    CallUnsigned,
    /// The signature is not the key's that the grant binds.
    #[error("the operator's request is not signed by the key that the grant binds")]
    CallSignature(#[source] VerifyError),
    /// The grant was given for another request.
    #[error("the grant was given for another request")]
    OtherCall,
    /// The request is none that makes a job.
    #[error("the operator's request does not make a job")]
    NotAJob,
    /// The request's body cannot be read.
    #[error("the operator's request cannot be read: {0}")]
    CallBody(String),
    /// The request names an assembly that is another than the one that came with it, or cannot be run like this.
    #[error("the operator's request cannot be carried out with the assembly: {0}")]
    Assembly(#[from] AssemblyError),
    /// The request names an act that signing does not know.
    #[error("the operator's request names role {role} and verb {verb}, which signing does not sign")]
    UnknownAct {
        /// The role.
        role: RoleName,
        /// The verb.
        verb: VerbName,
    },
    /// The job is none that the schedule makes.
    #[error("the firing {why}")]
    Firing {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A batch is empty or too large.
    #[error("a batch has 1 to {max} orders, this one has {size}", max = borealis_bus_schema::merkle::MAX_LEAVES)]
    BatchSize {
        /// How many came.
        size: usize,
    },
    /// An order differs from the request.
    #[error("the order for device {guid} differs from the operator's request in {what}")]
    Differs {
        /// Its device.
        guid: Guid,
        /// The first field that differs.
        what: &'static str,
    },
    /// An approval does not hold.
    #[error("the approval {why}")]
    Approval {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The author approved the job.
    #[error("nobody approves what they asked for themselves")]
    OwnApproval,
    /// An order is for a device that was not approved.
    #[error("device {guid} is not among those that were approved")]
    NotApproved {
        /// The device.
        guid: Guid,
    },
    /// An order is for a device that the request does not name.
    #[error("the operator's request does not name device {guid}")]
    NotATarget {
        /// The device.
        guid: Guid,
    },
    /// An order's times are not those that may be signed now.
    #[error("the order for device {guid} {why}")]
    Times {
        /// Its device.
        guid: Guid,
        /// What is wrong with them.
        why: &'static str,
    },
    /// An order would be valid for longer than its author asked for.
    #[error("the order for device {guid} would outlive its {what}")]
    Outlives {
        /// Its device.
        guid: Guid,
        /// What ends before it.
        what: &'static str,
    },
}

impl From<CodecError> for Refusal {
    fn from(error: CodecError) -> Self {
        Refusal::CallBody(error.to_string())
    }
}

/// Is what one signed request allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The command of the request.
    pub command: CommandId,
    /// The job it makes.
    pub job: JobId,
    /// The digest of the request.
    pub call: Digest,
    targets: Targets,
    role: RoleName,
    verb: VerbName,
    context: Context,
    body: OrderBody,
    /// Before which nothing begins: when a schedule's firing is due.
    due: Option<Timestamp>,
    /// How many attempts a run has at most.
    attempts: u32,
    run_ends_at: Timestamp,
    grant_ends_at: Timestamp,
    /// The sites that the assembly is for; none where it is for all, or none is run.
    sites: Option<BTreeSet<SiteName>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Targets {
    /// Whether it is whatever the author's rights reach, where neither devices nor sites are named.
    is_wide: bool,
    /// The devices that are named.
    guids: BTreeSet<Guid>,
    /// The sites that are named.
    sites: BTreeSet<SiteName>,
    /// The devices that are left out.
    except: BTreeSet<Guid>,
}

impl Targets {
    fn of(asked: scheduler::Targets) -> Self {
        // A filter reaches what its author reaches; what it let through is frozen by whoever asks.
        Self {
            is_wide: asked.all || asked.filter.is_some(),
            guids: asked.guids.into_iter().collect(),
            sites: asked.sites.into_iter().collect(),
            except: asked.except.into_iter().collect(),
        }
    }

    fn are_named(&self) -> bool {
        !self.guids.is_empty() || !self.sites.is_empty()
    }
}

impl Coverage {
    /// Reads a request that the grant covers; `assembly` is what is said to be the version that it names.
    ///
    /// The signature's age does not matter: the grant says until when the request may be acted upon.
    ///
    /// Errors: the first rule of [`Refusal`] that it breaks.
    pub fn read(call: &OperatorCall, granted: &Granted, assembly: Option<&[u8]>) -> Result<Self, Refusal> {
        let proof = verified(call, granted)?;
        if route_of(call, "jobs-create").is_none() {
            return Err(Refusal::NotAJob);
        }
        let asked: CreateJob = codec::decode_json(&call.body, codec::MAX_JSON_BYTES)?;
        // The scheduler counts from when it took the request, which is within the signature's freshness.
        let ends = proof.issued_at.plus_ms(waits_ms(&asked)).plus_ms(CLOCK_SKEW_MS);
        Self::of(call, granted, asked, assembly, JobId::of_command(&proof.command), ends)
    }

    /// Reads a request under which a schedule made the job.
    ///
    /// A schedule's times are computed here again, so that whoever has its request makes one job at each of them and none
    /// besides. What an operator lets run now is the request of the schedule that this operator's own names, with its digest
    /// there and its author's signature verified by the author's grant: a digest that somebody else handed out opens nothing.
    /// `assembly` is what is said to be the version that the schedule's request names.
    ///
    /// Errors: the first rule of [`Refusal`] that it breaks.
    pub fn read_firing(
        call: &OperatorCall,
        granted: &Granted,
        firing: &Firing,
        author: Option<&Granted>,
        assembly: Option<&[u8]>,
    ) -> Result<Self, Refusal> {
        let proof = verified(call, granted)?;
        let not = |why| Refusal::Firing { why };
        match firing {
            Firing::Due(due) => {
                let asked = schedule_of(call)?;
                let id = ScheduleId::of_command(&proof.command);
                let plan = Plan::read(&asked, &id, proof.issued_at).map_err(|_| not("is of no schedule"))?;
                if !plan.is_due(*due) {
                    return Err(not("is of no time at which the schedule is due"));
                }
                let ends = plan.latest(*due).map_or(granted.expires_at, |latest| {
                    latest.plus_ms(waits_ms(&asked.job)).plus_ms(CLOCK_SKEW_MS)
                });
                let covered = Self::of(call, granted, asked.job, assembly, JobId::of_firing(&id, *due), ends)?;
                let due = due.plus_ms(plan.delay_ms);
                Ok(Self {
                    due: Some(due),
                    ..covered
                })
            }
            Firing::Now(schedule) => {
                let id = route_of(call, "schedules-run").ok_or(Refusal::NotAJob)?;
                let wants: RunSchedule = codec::decode_json(&call.body, codec::MAX_JSON_BYTES)?;
                let author = author.ok_or(not("is of a schedule that nobody granted"))?;
                let made = ScheduleId::of_command(&verified(&schedule.call, author)?.command);
                if wants.request != Digest(schedule.call.digest()) || id != Some(made.to_string().as_str()) {
                    return Err(not("is of another schedule than the operator let run"));
                }
                let asked = schedule_of(&schedule.call)?;
                let ends = proof.issued_at.plus_ms(waits_ms(&asked.job)).plus_ms(CLOCK_SKEW_MS);
                Self::of(
                    call,
                    granted,
                    asked.job,
                    assembly,
                    JobId::of_command(&proof.command),
                    ends,
                )
            }
        }
    }

    fn of(
        call: &OperatorCall,
        granted: &Granted,
        asked: CreateJob,
        assembly: Option<&[u8]>,
        job: JobId,
        run_ends_at: Timestamp,
    ) -> Result<Self, Refusal> {
        let command = call.proof.as_ref().ok_or(Refusal::CallUnsigned)?.command;
        // The request's signature covers the digest, and the digest the bytes, whoever sent them.
        let assembly = match (&asked.assembly, assembly) {
            (Some(wanted), Some(bytes)) => Some(Assembly::read(bytes, &wanted.digest)?),
            _ => None,
        };
        let asked = assembly::plain(asked, assembly.as_ref())?;
        Ok(Self {
            command,
            job,
            call: Digest(call.digest()),
            body: body_of(&asked)?,
            targets: Targets::of(asked.targets),
            attempts: asked.retries.min(MAX_RETRIES) + 1,
            role: asked.role,
            verb: asked.verb,
            context: asked.context,
            due: None,
            run_ends_at,
            grant_ends_at: granted.expires_at,
            sites: assembly.and_then(|assembly| assembly.sites),
        })
    }

    /// Tells whether what is run is for the devices of a site.
    pub fn is_for(&self, site: &SiteName) -> bool {
        self.sites.as_ref().is_none_or(|sites| sites.contains(site))
    }

    /// Returns the devices that the request names one by one and does not leave out.
    pub fn named(&self) -> BTreeSet<Guid> {
        self.targets.guids.difference(&self.targets.except).copied().collect()
    }

    /// Checks that the request means a device of a site.
    ///
    /// Errors: [`Refusal::NotATarget`].
    pub fn reaches(&self, guid: Guid, site: &SiteName) -> Result<(), Refusal> {
        let Targets {
            is_wide,
            guids,
            sites,
            except,
        } = &self.targets;
        let is_meant = if self.targets.are_named() {
            guids.contains(&guid) || sites.contains(site)
        } else {
            *is_wide
        };
        if is_meant && !except.contains(&guid) {
            Ok(())
        } else {
            Err(Refusal::NotATarget { guid })
        }
    }

    /// Compares an order for a device of a site with the request and returns it as it is to be signed, under the signing key's
    /// name.
    ///
    /// Errors: the first rule of [`Refusal`] that it breaks.
    pub fn cover(&self, order: Order, site: &SiteName, key_id: &str, now: Timestamp) -> Result<Order, Refusal> {
        let guid = order.guid;
        self.reaches(guid, site)?;
        let same = |equal: bool, what| {
            if equal {
                Ok(())
            } else {
                Err(Refusal::Differs { guid, what })
            }
        };
        same(order.run == RunId::of_job(&self.job, &guid), "its run")?;
        same((1..=self.attempts).contains(&order.attempt), "its attempt")?;
        same(order.context == self.context, "its context")?;
        same(order.role == self.role, "its role")?;
        let body = self.body_to_sign(&order)?;
        self.check_times(&order, now)?;
        Ok(Order {
            body,
            key_id: key_id.to_owned(),
            ..order
        })
    }

    fn body_to_sign(&self, order: &Order) -> Result<OrderBody, Refusal> {
        let guid = order.guid;
        let differs = |what| Refusal::Differs { guid, what };
        match (&order.body, &self.body) {
            // Whoever may begin a run may end it; a cancel order names its own run and no other.
            (OrderBody::Cancel { run }, OrderBody::Script(_))
                if *run == order.run && order.verb == VerbName::cancel() =>
            {
                Ok(order.body.clone())
            }
            (OrderBody::Cancel { .. }, _) => Err(differs("the run to end")),
            _ if order.verb != self.verb => Err(differs("its verb")),
            (OrderBody::Script(theirs), OrderBody::Script(asked)) => {
                first_difference(theirs, asked).map_or_else(|| Ok(self.body.clone()), |what| Err(differs(what)))
            }
            (theirs, asked) if theirs == asked => Ok(self.body.clone()),
            _ => Err(differs("its body")),
        }
    }

    fn check_times(&self, order: &Order, now: Timestamp) -> Result<(), Refusal> {
        let guid = order.guid;
        let begins = !matches!(order.body, OrderBody::Cancel { .. });
        let why = if begins && self.due.is_some_and(|due| due.since_ms(now) > CLOCK_SKEW_MS) {
            Some("is not due yet")
        } else if order.issued_at.since_ms(now).saturating_abs() > CLOCK_SKEW_MS {
            Some("was not issued now")
        } else if order.expires_at <= now {
            Some("is over already")
        } else if order.expires_at.since_ms(order.issued_at) > MAX_VALIDITY_MS {
            Some("would be valid for longer than a day")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Refusal::Times { guid, why });
        }
        if order.expires_at > self.grant_ends_at {
            return Err(Refusal::Outlives { guid, what: "grant" });
        }
        // A run that began in time may go on for long, and may be ended as long as the grant holds.
        if begins && order.expires_at > self.run_ends_at {
            return Err(Refusal::Outlives { guid, what: "run" });
        }
        Ok(())
    }
}

/// Verifies that the granted key signed a request, and that the grant was given for it.
fn verified<'c>(call: &'c OperatorCall, granted: &Granted) -> Result<&'c Proof, Refusal> {
    let proof = call.proof.as_ref().ok_or(Refusal::CallUnsigned)?;
    call.verify(proof, &granted.session_key)
        .map_err(Refusal::CallSignature)?;
    if call.granted_digest(&proof.command) != granted.granted_digest {
        return Err(Refusal::OtherCall);
    }
    Ok(proof)
}

/// Finds out whether a request is for a verb, and the parameter of its path.
fn route_of<'c>(call: &'c OperatorCall, verb: &str) -> Option<Option<&'c str>> {
    routes::of_verb(Service::Scheduler, verb)?.matches(&call.method, &call.path)
}

/// Reads a request for a schedule.
fn schedule_of(call: &OperatorCall) -> Result<CreateSchedule, Refusal> {
    route_of(call, "schedules-create").ok_or(Refusal::NotAJob)?;
    Ok(codec::decode_json(&call.body, codec::MAX_JSON_BYTES)?)
}

/// Returns how long a run may wait for its device, in milliseconds.
fn waits_ms(asked: &CreateJob) -> i64 {
    i64::try_from(asked.expires_in_ms.min(MAX_EXPIRES_IN_MS)).unwrap_or(0)
}

/// Builds what the request tells devices to do.
fn body_of(asked: &CreateJob) -> Result<OrderBody, Refusal> {
    let unknown = || Refusal::UnknownAct {
        role: asked.role.clone(),
        verb: asked.verb.clone(),
    };
    match (asked.role.as_str(), asked.verb.as_str(), &asked.script) {
        ("agent", "ping", None) => Ok(OrderBody::Ping),
        ("script", "run", Some(script)) => Ok(OrderBody::Script(ScriptBody {
            language: asked.language.ok_or_else(unknown)?,
            script: script.as_bytes().to_vec(),
            digest: Digest::of(script.as_bytes()),
            args: asked.args.clone(),
            env: asked.env.clone(),
            timeout_ms: asked.timeout_ms,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
        })),
        _ => Err(unknown()),
    }
}

/// Names the first field in which a script differs from the one asked for; its text may be left out.
fn first_difference(theirs: &ScriptBody, asked: &ScriptBody) -> Option<&'static str> {
    let pairs = [
        (theirs.language == asked.language, "the language"),
        (theirs.digest == asked.digest, "the script's digest"),
        (theirs.script.is_empty() || theirs.script == asked.script, "the script"),
        (theirs.args == asked.args, "the arguments"),
        (theirs.env == asked.env, "the environment"),
        (theirs.timeout_ms == asked.timeout_ms, "the timeout"),
        (
            theirs.output_limit_bytes == asked.output_limit_bytes,
            "the output limit",
        ),
    ];
    pairs.into_iter().find_map(|(same, what)| (!same).then_some(what))
}
