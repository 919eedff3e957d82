//! How schedules stand in the log, apart from what the aggregate thinks.
//!
//! Shape: CBOR maps. What most schedules do not have is left out: a firing takes some hundred bytes.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{GrantId, Guid, JobId, OperatorId, RoleName, ScheduleId, SiteName, VerbName};
use borealis_bus_schema::messages::schedules::Timing;
use borealis_bus_schema::messages::waves::Waves;
use borealis_bus_schema::order::{Context, Digest, Language};
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::ledger::Span;
use serde::{Deserialize, Serialize};

use crate::job::What;
use crate::run::Retry;
use crate::schedule::{Created, Decided, Event, Firing, LetGo, Outcome, Reason};
use crate::stored::RetryV1;

#[derive(Serialize, Deserialize)]
struct CreatedV1 {
    schedule: ScheduleId,
    name: String,
    author: OperatorId,
    username: String,
    role: RoleName,
    verb: VerbName,
    language: Option<Language>,
    context: Context,
    script_digest: Option<Digest>,
    timeout_ms: u64,
    expires_in_ms: u64,
    timing: Timing,
    signed_at: Timestamp,
    created_at: Timestamp,
    grant: GrantId,
    file: Digest,
    guids: Vec<Guid>,
    sites: Vec<SiteName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<RetryV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waves: Option<Waves>,
}

#[derive(Serialize, Deserialize)]
struct SpanV1 {
    after: Timestamp,
    until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Serialize, Deserialize)]
struct FiringV1 {
    due: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    devices: Option<u64>,
    /// Why it did not run; one without job and reason waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoppedV1 {
    code: Code,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct DecidedV1 {
    at: Timestamp,
    judged: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    let_go: Vec<SpanV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<SpanV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    firings: Vec<FiringV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<StoppedV1>,
}

#[derive(Serialize, Deserialize)]
struct ByV1 {
    by: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct ResumedV1 {
    by: String,
    at: Timestamp,
    judged: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passed: Vec<SpanV1>,
}

#[derive(Serialize, Deserialize)]
struct SkipAskedV1 {
    by: String,
    at: Timestamp,
    due: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RanNowV1 {
    by: String,
    at: Timestamp,
    job: JobId,
    devices: u64,
}

impl From<&LetGo> for SpanV1 {
    fn from(let_go: &LetGo) -> Self {
        Self {
            count: Some(let_go.count),
            reason: Some(let_go.reason),
            ..Self::from(&let_go.span)
        }
    }
}

impl From<&Span> for SpanV1 {
    fn from(span: &Span) -> Self {
        Self {
            after: span.after,
            until: span.until,
            count: None,
            reason: None,
        }
    }
}

impl SpanV1 {
    const fn span(&self) -> Span {
        Span {
            after: self.after,
            until: self.until,
        }
    }
    fn let_go(self) -> LetGo {
        LetGo {
            span: self.span(),
            count: self.count.unwrap_or(0),
            reason: self.reason.unwrap_or(Reason::Missed),
        }
    }
}

impl From<&Firing> for FiringV1 {
    fn from(firing: &Firing) -> Self {
        let mut stored = Self {
            due: firing.due,
            job: None,
            devices: None,
            reason: None,
            code: None,
            note: None,
        };
        match &firing.outcome {
            Outcome::Ran { job, devices } => (stored.job, stored.devices) = (Some(*job), Some(*devices)),
            Outcome::Queued => {}
            Outcome::Not { reason, code, note } => {
                (stored.reason, stored.code, stored.note) = (Some(*reason), *code, note.clone());
            }
        }
        stored
    }
}

impl From<FiringV1> for Firing {
    fn from(stored: FiringV1) -> Self {
        let outcome = match (stored.job, stored.reason) {
            (Some(job), _) => Outcome::Ran {
                job,
                devices: stored.devices.unwrap_or(0),
            },
            (None, Some(reason)) => Outcome::Not {
                reason,
                code: stored.code,
                note: stored.note,
            },
            (None, None) => Outcome::Queued,
        };
        Self {
            due: stored.due,
            outcome,
        }
    }
}

/// Returns the kind and the body of an event.
///
/// Errors: the codec's, when the event is too large.
pub fn encode(event: &Event) -> Result<(&'static str, Vec<u8>), CodecError> {
    Ok(match event {
        Event::Created(created) => ("ScheduleCreated", codec::encode(&created_v1(created))?),
        Event::Decided(decided) => {
            let stopped = decided.stopped.as_ref().map(|(code, reason)| StoppedV1 {
                code: *code,
                reason: reason.clone(),
            });
            let body = DecidedV1 {
                at: decided.at,
                judged: decided.judged,
                let_go: decided.let_go.iter().map(SpanV1::from).collect(),
                open: decided.open.iter().map(SpanV1::from).collect(),
                firings: decided.firings.iter().map(FiringV1::from).collect(),
                stopped,
            };
            ("ScheduleDecided", codec::encode(&body)?)
        }
        Event::Paused { by, at } => ("SchedulePaused", by_at(by, *at)?),
        Event::Archived { by, at } => ("ScheduleArchived", by_at(by, *at)?),
        Event::Resumed { by, at, judged, passed } => {
            let body = ResumedV1 {
                by: by.clone(),
                at: *at,
                judged: *judged,
                passed: passed.iter().map(SpanV1::from).collect(),
            };
            ("ScheduleResumed", codec::encode(&body)?)
        }
        Event::SkipAsked { by, at, due } => {
            let body = SkipAskedV1 {
                by: by.clone(),
                at: *at,
                due: *due,
            };
            ("ScheduleSkipAsked", codec::encode(&body)?)
        }
        Event::RanNow { by, at, job, devices } => {
            let body = RanNowV1 {
                by: by.clone(),
                at: *at,
                job: *job,
                devices: *devices,
            };
            ("ScheduleRanNow", codec::encode(&body)?)
        }
    })
}

fn by_at(by: &str, at: Timestamp) -> Result<Vec<u8>, CodecError> {
    codec::encode(&ByV1 { by: by.to_owned(), at })
}

fn created_v1(created: &Created) -> CreatedV1 {
    let Created {
        schedule,
        name,
        author,
        username,
        what,
        expires_in_ms,
        timing,
        signed_at,
        created_at,
        grant,
        file,
        guids,
        sites,
    } = created.clone();
    CreatedV1 {
        schedule,
        name,
        author,
        username,
        role: what.role,
        verb: what.verb,
        language: what.language,
        context: what.context,
        script_digest: what.script_digest,
        timeout_ms: what.timeout_ms,
        expires_in_ms,
        timing,
        signed_at,
        created_at,
        grant,
        file,
        guids,
        sites,
        retry: RetryV1::of(what.retry),
        waves: what.waves,
    }
}

/// Decodes an event; none for a kind that is not a schedule's.
///
/// Errors: the codec's.
pub fn decode(kind: &str, body: &[u8]) -> Result<Option<Event>, CodecError> {
    Ok(Some(match kind {
        "ScheduleCreated" => {
            let v1: CreatedV1 = codec::decode(body)?;
            Event::Created(Box::new(Created {
                schedule: v1.schedule,
                name: v1.name,
                author: v1.author,
                username: v1.username,
                what: What {
                    role: v1.role,
                    verb: v1.verb,
                    language: v1.language,
                    context: v1.context,
                    script_digest: v1.script_digest,
                    timeout_ms: v1.timeout_ms,
                    retry: v1.retry.map(Retry::from).unwrap_or_default(),
                    waves: v1.waves,
                },
                expires_in_ms: v1.expires_in_ms,
                timing: v1.timing,
                signed_at: v1.signed_at,
                created_at: v1.created_at,
                grant: v1.grant,
                file: v1.file,
                guids: v1.guids,
                sites: v1.sites,
            }))
        }
        "ScheduleDecided" => {
            let v1: DecidedV1 = codec::decode(body)?;
            Event::Decided(Box::new(Decided {
                at: v1.at,
                judged: v1.judged,
                let_go: v1.let_go.into_iter().map(SpanV1::let_go).collect(),
                open: v1.open.iter().map(SpanV1::span).collect(),
                firings: v1.firings.into_iter().map(Firing::from).collect(),
                stopped: v1.stopped.map(|stopped| (stopped.code, stopped.reason)),
            }))
        }
        "SchedulePaused" => {
            let ByV1 { by, at } = codec::decode(body)?;
            Event::Paused { by, at }
        }
        "ScheduleArchived" => {
            let ByV1 { by, at } = codec::decode(body)?;
            Event::Archived { by, at }
        }
        "ScheduleResumed" => {
            let v1: ResumedV1 = codec::decode(body)?;
            Event::Resumed {
                by: v1.by,
                at: v1.at,
                judged: v1.judged,
                passed: v1.passed.into_iter().map(SpanV1::let_go).collect(),
            }
        }
        "ScheduleSkipAsked" => {
            let SkipAskedV1 { by, at, due } = codec::decode(body)?;
            Event::SkipAsked { by, at, due }
        }
        "ScheduleRanNow" => {
            let RanNowV1 { by, at, job, devices } = codec::decode(body)?;
            Event::RanNow { by, at, job, devices }
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
pub(crate) fn one_of_each() -> Vec<Event> {
    use borealis_bus_schema::messages::schedules::{Concurrency, Misfire};

    let at = |ms: i64| Timestamp::from_unix_ms(1_795_341_600_123 + ms);
    let span = Span {
        after: at(0),
        until: at(9),
    };
    let let_go = LetGo {
        span,
        count: 3,
        reason: Reason::Missed,
    };
    let by = || "ada".to_owned();
    let created = Created {
        schedule: ScheduleId::from_bytes([1; 16]),
        name: "nightly".to_owned(),
        author: OperatorId::from_bytes([2; 16]),
        username: by(),
        what: What {
            role: RoleName::script(),
            verb: VerbName::run(),
            language: Some(Language::Sh),
            context: Context::System,
            script_digest: Some(Digest([3; 32])),
            timeout_ms: 60_000,
            retry: Retry::default(),
            waves: None,
        },
        expires_in_ms: 3_600_000,
        timing: Timing {
            cron: Some("0 3 * * *".to_owned()),
            kind: None,
            zone: "Europe/Stockholm".to_owned(),
            start: None,
            end: Some(at(99)),
            misfire: Misfire::All,
            misfire_most: 7,
            late_limit_ms: Some(600_000),
            concurrency: Concurrency::Queue,
            jitter_ms: 1_000,
        },
        signed_at: at(0),
        created_at: at(1),
        grant: GrantId::from_bytes([4; 16]),
        file: Digest([5; 32]),
        guids: vec![Guid::from_random([6; 16])],
        sites: vec![SiteName::default_site()],
    };
    let firing = |ms, outcome| Firing { due: at(ms), outcome };
    let decided = Decided {
        at: at(10),
        judged: at(8),
        let_go: vec![let_go],
        open: vec![span],
        firings: vec![
            firing(
                2,
                Outcome::Ran {
                    job: JobId::from_bytes([7; 16]),
                    devices: 2,
                },
            ),
            firing(3, Outcome::Queued),
            firing(
                4,
                Outcome::Not {
                    reason: Reason::Refused,
                    code: Some(Code::TokenRevoked),
                    note: Some("over".to_owned()),
                },
            ),
        ],
        stopped: Some((Code::TokenRevoked, "over".to_owned())),
    };
    vec![
        Event::Created(Box::new(created)),
        Event::Decided(Box::new(decided)),
        Event::Paused { by: by(), at: at(1) },
        Event::Resumed {
            by: by(),
            at: at(2),
            judged: at(1),
            passed: vec![let_go],
        },
        Event::SkipAsked {
            by: by(),
            at: at(3),
            due: at(4),
        },
        Event::RanNow {
            by: by(),
            at: at(5),
            job: JobId::from_bytes([8; 16]),
            devices: 1,
        },
        Event::Archived { by: by(), at: at(6) },
    ]
}
