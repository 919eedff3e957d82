//! From a job to the orders of its devices: pure.

use borealis_bus_schema::assembly::{self, Assembly, AssemblyError};
use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{Guid, OrderId, RunId, VerbName};
use borealis_bus_schema::messages::scheduler::{CreateJob, MAX_EXPIRES_IN_MS, OUTPUT_LIMIT_BYTES};
use borealis_bus_schema::messages::schedules::CreateSchedule;
use borealis_bus_schema::messages::signing::{Author, Firing};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::{Digest, Language, MAX_VALIDITY_MS, Order, OrderBody, ScriptBody};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::job::Fired;

/// Is what a job needs again and again to ask for signatures; a file named by its digest.
#[derive(Clone, Serialize, Deserialize)]
pub struct Warrant {
    /// The operator's request, as it was signed.
    pub call: OperatorCall,
    /// The grant's biscuit, base64url.
    pub grant: String,
    /// The file that lists the devices.
    pub targets: Digest,
    /// The request for the schedule that the call lets run now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Author>,
    /// The bytes of the assembly that the request names, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assembly: Option<ByteBuf>,
}

impl Warrant {
    /// Reads the job's request; one that names an assembly says the same without it. `firing` tells that a schedule made it.
    ///
    /// Errors: the codec's; `digest_mismatch` and others of the assembly, which was sound when the job was made.
    pub fn request(&self, firing: Option<&Fired>) -> Reply<CreateJob> {
        let asked = request_of(self, firing)?;
        let assembly = self.assembly_of(&asked)?;
        assembly::plain(asked, assembly.as_ref()).map_err(refused)
    }

    /// Reads the assembly that a request of this warrant names; none where it names none.
    ///
    /// Errors: `digest_mismatch` for other bytes, `malformed`.
    pub fn assembly_of(&self, asked: &CreateJob) -> Reply<Option<Assembly>> {
        match (&asked.assembly, &self.assembly) {
            (Some(wanted), Some(bytes)) => Assembly::read(bytes, &wanted.digest).map(Some).map_err(refused),
            _ => Ok(None),
        }
    }
}

/// Says why an assembly is refused.
pub fn refused(error: AssemblyError) -> WireError {
    WireError::new(error.code(), error.to_string())
}

/// Is what another operator's approval is shown by; a file named by its digest.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecondWarrant {
    /// The approver's request, as it was signed.
    pub call: OperatorCall,
    /// The approver's grant, base64url.
    pub grant: String,
}

/// Reads a job's request; of one that a schedule made, the schedule's.
///
/// Errors: the codec's.
fn request_of(warrant: &Warrant, firing: Option<&Fired>) -> Result<CreateJob, CodecError> {
    if firing.is_none() {
        return codec::decode_json(&warrant.call.body, codec::MAX_JSON_BYTES);
    }
    let call = warrant.schedule.as_ref().map_or(&warrant.call, |author| &author.call);
    schedule_of(call).map(|asked| asked.job)
}

/// Reads a request for a schedule.
///
/// Errors: the codec's.
pub fn schedule_of(call: &OperatorCall) -> Result<CreateSchedule, CodecError> {
    codec::decode_json(&call.body, codec::MAX_JSON_BYTES)
}

/// Says to the signer how a schedule made a job; none for a job of its own.
pub fn firing_of(warrant: &Warrant, firing: Option<&Fired>) -> Option<Firing> {
    match firing?.due {
        Some(due) => Some(Firing::Due(due)),
        None => warrant.schedule.clone().map(|author| Firing::Now(Box::new(author))),
    }
}

/// Tells an order to begin from one to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Do what the job says.
    Begin,
    /// End the run.
    Cancel,
}

/// Is one run that wants an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The run.
    pub run: RunId,
    /// Which try.
    pub attempt: u32,
    /// The device.
    pub guid: Guid,
    /// What to do.
    pub act: Act,
    /// The order's id.
    pub order: OrderId,
}

/// Says until when a job may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// When a run that did not begin ends.
    pub run: Timestamp,
    /// When the grant ends: runs that began in time are over by then.
    pub grant: Timestamp,
}

impl Ends {
    /// Computes both ends of a job.
    pub fn of(created_at: Timestamp, run: Timestamp, timeout_ms: u64) -> Self {
        let timeout_ms = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
        let last = created_at.plus_ms(MAX_EXPIRES_IN_MS.cast_signed());
        Self {
            run,
            grant: run.plus_ms(timeout_ms).plus_ms(3_600_000).min(last),
        }
    }
}

/// Builds the order of a run; the key id is the signer's to fill in, `begins` is [`body_of`] the request.
///
/// The order ends with the run's life or after a day, whatever comes first; an order to end a run lives ten minutes, while
/// the grant does. The script's text is left out: the signer takes it from the author's request.
pub fn build(request: &CreateJob, begins: &OrderBody, wanted: &Wanted, now: Timestamp, ends: Ends) -> Order {
    let (verb, body, expires_at) = match wanted.act {
        Act::Begin => (
            request.verb.clone(),
            begins.clone(),
            ends.run.min(now.plus_ms(MAX_VALIDITY_MS)),
        ),
        Act::Cancel => (
            VerbName::cancel(),
            OrderBody::Cancel { run: wanted.run },
            ends.grant.min(now.plus_ms(600_000)),
        ),
    };
    Order {
        order: wanted.order,
        run: wanted.run,
        attempt: wanted.attempt,
        guid: wanted.guid,
        context: request.context,
        role: request.role.clone(),
        verb,
        body,
        issued_at: now,
        expires_at,
        key_id: String::new(),
    }
}

/// Makes what all orders of a job to begin say; `script` is the digest of its script, known since the job was made.
pub fn body_of(request: &CreateJob, script: Option<Digest>) -> OrderBody {
    match script {
        None => OrderBody::Ping,
        Some(digest) => OrderBody::Script(ScriptBody {
            language: request.language.unwrap_or(Language::Sh),
            script: Vec::new(),
            digest,
            args: request.args.clone(),
            env: request.env.clone(),
            timeout_ms: request.timeout_ms,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::RoleName;
    use borealis_bus_schema::messages::scheduler::Targets;
    use borealis_bus_schema::order::Context;

    fn request(script: Option<&str>) -> CreateJob {
        CreateJob {
            targets: Targets::default(),
            role: if script.is_some() {
                RoleName::script()
            } else {
                RoleName::agent()
            },
            verb: if script.is_some() {
                VerbName::run()
            } else {
                VerbName::ping()
            },
            language: Some(Language::Bash),
            context: Context::System,
            script: script.map(str::to_owned),
            args: vec!["a".into()],
            env: Default::default(),
            assembly: None,
            timeout_ms: 5,
            expires_in_ms: 6,
            retries: 0,
            backoff_ms: 1_000,
            waves: None,
        }
    }
    fn wanted(act: Act) -> Wanted {
        Wanted {
            run: RunId::from_bytes([1; 16]),
            attempt: 1,
            guid: Guid::from_random([2; 16]),
            act,
            order: OrderId::from_bytes([3; 16]),
        }
    }
    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn an_order_ends_with_its_run_and_after_a_day_at_most() {
        let request = request(Some("echo"));
        let body = body_of(&request, Some(Digest::of(b"echo")));
        let OrderBody::Script(script) = &body else {
            panic!("{body:?}");
        };
        assert_eq!((script.digest, script.args.len()), (Digest::of(b"echo"), 1));
        let ends = |run| Ends {
            run: at(run),
            grant: at(run + 900_000),
        };
        assert_eq!(
            build(&request, &body, &wanted(Act::Begin), at(0), ends(100)).expires_at,
            at(100)
        );
        let long = build(&request, &body, &wanted(Act::Begin), at(0), ends(MAX_VALIDITY_MS * 3));
        assert_eq!(long.expires_at, at(MAX_VALIDITY_MS));
    }

    #[test]
    fn a_ping_has_no_script_and_a_cancel_names_the_run() {
        assert_eq!(body_of(&request(None), None), OrderBody::Ping);
        let cancel = build(
            &request(Some("x")),
            &OrderBody::Ping,
            &wanted(Act::Cancel),
            at(0),
            Ends::of(at(0), at(1), 5),
        );
        assert_eq!(
            (cancel.verb.as_str(), cancel.body),
            (
                "cancel",
                OrderBody::Cancel {
                    run: wanted(Act::Cancel).run
                }
            )
        );
        assert_eq!(cancel.expires_at, at(600_000));
    }
}
