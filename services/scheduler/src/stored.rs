//! How jobs and runs stand in the log, one type per event and version, apart from what the aggregates think.
//!
//! Shape: CBOR maps. Fields are added with a default; a change of meaning is a new kind with an upcast here.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{GrantId, JobId, OperatorId, RoleName, ScheduleId, VerbName};
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::messages::waves::Waves;
use borealis_bus_schema::order::{Context, Digest, Language};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::NewEvent;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::job;
use crate::run::{self, End};
use crate::waves::{self, Braked};
use crate::{schedule, schedules};

/// Says that a stored event cannot be read by this program.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The kind is not known here; the store was written by a newer program.
    #[error("the store holds an event of kind {kind:?}, which this version does not know")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The body is damaged.
    #[error("the body of an event of kind {kind:?} cannot be read")]
    Body {
        /// The kind.
        kind: String,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
}

/// Is any event of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Of a job.
    Job(job::Event),
    /// Of a run.
    Run(run::Event),
    /// Of a schedule.
    Schedule(schedule::Event),
}

#[derive(Serialize, Deserialize)]
struct JobCreatedV1 {
    job: JobId,
    author: OperatorId,
    username: String,
    role: RoleName,
    verb: VerbName,
    language: Option<Language>,
    context: Context,
    script_digest: Option<Digest>,
    timeout_ms: u64,
    created_at: Timestamp,
    expires_at: Timestamp,
    grant: GrantId,
    /// Names the file that holds the signed call, the grant and the targets.
    file: Digest,
    runs_total: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    needs_approval: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    firing: Option<FiredV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<RetryV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waves: Option<Waves>,
}

#[derive(Serialize, Deserialize)]
struct WaveOverV1 {
    wave: u32,
    away: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WaveOpenedV1 {
    wave: u32,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JobBrakedV1 {
    failures: u64,
    devices: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JobContinuedV1 {
    by: String,
    forgiven: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct FiredV1 {
    schedule: ScheduleId,
    due: Option<Timestamp>,
    /// Names the file that lists the devices.
    targets: Digest,
}

/// Is how often a run is tried again; left out where it is not.
#[derive(Serialize, Deserialize)]
pub struct RetryV1 {
    times: u32,
    backoff_ms: u64,
}

impl RetryV1 {
    /// Returns what is stored of it.
    pub fn of(retry: run::Retry) -> Option<Self> {
        (retry.times > 0).then_some(Self {
            times: retry.times,
            backoff_ms: retry.backoff_ms,
        })
    }
}

impl From<RetryV1> for run::Retry {
    fn from(v1: RetryV1) -> Self {
        Self {
            times: v1.times,
            backoff_ms: v1.backoff_ms,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RunRetriedV1 {
    end: End,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JobApprovedV1 {
    approver: OperatorId,
    by: String,
    /// Names the file that holds the signed call and the grant.
    file: Digest,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct AtV1 {
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JobCancelledV1 {
    by: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RunOutputV1 {
    stream: OutputStream,
    seq: u64,
    offset: u64,
    size_bytes: u64,
    inline: Option<serde_bytes::ByteBuf>,
}

fn encode_waves(event: &waves::Event) -> Result<(&'static str, Vec<u8>), CodecError> {
    Ok(match event {
        waves::Event::Over { wave, away, at } => {
            let (wave, away, at) = (*wave, *away, *at);
            ("JobWaveOver", codec::encode(&WaveOverV1 { wave, away, at })?)
        }
        waves::Event::Opened { wave, at } => {
            let (wave, at) = (*wave, *at);
            ("JobWaveOpened", codec::encode(&WaveOpenedV1 { wave, at })?)
        }
        waves::Event::Braked { by, at } => {
            let body = JobBrakedV1 {
                failures: by.failures,
                devices: by.devices,
                at: *at,
            };
            ("JobBraked", codec::encode(&body)?)
        }
        waves::Event::Continued { by, forgiven, at } => {
            let body = JobContinuedV1 {
                by: by.clone(),
                forgiven: *forgiven,
                at: *at,
            };
            ("JobContinued", codec::encode(&body)?)
        }
    })
}

impl Stored {
    /// Encodes an event for the log.
    ///
    /// Errors: the codec's, when the event is too large.
    pub fn encode(&self) -> Result<NewEvent, CodecError> {
        let (kind, body) = match self {
            Stored::Job(job::Event::Created(created)) => {
                let job::Created {
                    job,
                    author,
                    username,
                    what,
                    created_at,
                    expires_at,
                    grant,
                    file,
                    runs_total,
                    needs_approval,
                    firing,
                } = created.as_ref();
                let body = JobCreatedV1 {
                    job: *job,
                    author: *author,
                    username: username.clone(),
                    role: what.role.clone(),
                    verb: what.verb.clone(),
                    language: what.language,
                    context: what.context,
                    script_digest: what.script_digest,
                    timeout_ms: what.timeout_ms,
                    created_at: *created_at,
                    expires_at: *expires_at,
                    grant: *grant,
                    file: *file,
                    runs_total: *runs_total,
                    needs_approval: *needs_approval,
                    firing: firing.map(|firing| FiredV1 {
                        schedule: firing.schedule,
                        due: firing.due,
                        targets: firing.targets,
                    }),
                    retry: RetryV1::of(what.retry),
                    waves: what.waves.clone(),
                };
                ("JobCreated", codec::encode(&body)?)
            }
            Stored::Job(job::Event::Approved(approved)) => {
                let body = JobApprovedV1 {
                    approver: approved.approver,
                    by: approved.by.clone(),
                    file: approved.file,
                    at: approved.at,
                };
                ("JobApproved", codec::encode(&body)?)
            }
            Stored::Job(job::Event::Cancelled { by, at }) => (
                "JobCancelled",
                codec::encode(&JobCancelledV1 {
                    by: by.clone(),
                    at: *at,
                })?,
            ),
            Stored::Job(job::Event::Waves(event)) => encode_waves(event)?,
            Stored::Run(run::Event::Delivered { at }) => ("RunDelivered", codec::encode(&AtV1 { at: *at })?),
            Stored::Run(run::Event::Started { at }) => ("RunStarted", codec::encode(&AtV1 { at: *at })?),
            Stored::Run(run::Event::CancelRequested { at }) => {
                ("RunCancelRequested", codec::encode(&AtV1 { at: *at })?)
            }
            Stored::Run(run::Event::Output {
                stream,
                seq,
                offset,
                size_bytes,
                inline,
            }) => {
                let inline = inline.clone().map(serde_bytes::ByteBuf::from);
                let body = RunOutputV1 {
                    stream: *stream,
                    seq: *seq,
                    offset: *offset,
                    size_bytes: *size_bytes,
                    inline,
                };
                ("RunOutput", codec::encode(&body)?)
            }
            Stored::Run(run::Event::Retried { end, at }) => {
                let body = RunRetriedV1 {
                    end: end.clone(),
                    at: *at,
                };
                ("RunRetried", codec::encode(&body)?)
            }
            Stored::Run(run::Event::Ended(end)) => ("RunEnded", codec::encode(end)?),
            Stored::Run(run::Event::EndedAfterAll(end)) => ("RunEndedAfterAll", codec::encode(end)?),
            Stored::Schedule(event) => schedules::stored::encode(event)?,
        };
        Ok(NewEvent {
            kind: kind.to_owned(),
            body,
        })
    }

    /// Decodes an event of the log.
    ///
    /// Errors: [`StoredError`].
    pub fn decode(kind: &str, body: &[u8]) -> Result<Self, StoredError> {
        let bad = |source| StoredError::Body {
            kind: kind.to_owned(),
            source,
        };
        Ok(match kind {
            "JobCreated" => {
                let v1: JobCreatedV1 = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Created(Box::new(job::Created {
                    job: v1.job,
                    author: v1.author,
                    username: v1.username,
                    what: job::What {
                        role: v1.role,
                        verb: v1.verb,
                        language: v1.language,
                        context: v1.context,
                        script_digest: v1.script_digest,
                        timeout_ms: v1.timeout_ms,
                        retry: v1.retry.map(run::Retry::from).unwrap_or_default(),
                        waves: v1.waves,
                    },
                    created_at: v1.created_at,
                    expires_at: v1.expires_at,
                    grant: v1.grant,
                    file: v1.file,
                    runs_total: v1.runs_total,
                    needs_approval: v1.needs_approval,
                    firing: v1.firing.map(|firing| job::Fired {
                        schedule: firing.schedule,
                        due: firing.due,
                        targets: firing.targets,
                    }),
                })))
            }
            "JobApproved" => {
                let v1: JobApprovedV1 = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Approved(job::Approved {
                    approver: v1.approver,
                    by: v1.by,
                    file: v1.file,
                    at: v1.at,
                }))
            }
            "JobCancelled" => {
                let v1: JobCancelledV1 = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Cancelled { by: v1.by, at: v1.at })
            }
            "JobWaveOver" => {
                let WaveOverV1 { wave, away, at } = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Waves(waves::Event::Over { wave, away, at }))
            }
            "JobWaveOpened" => {
                let WaveOpenedV1 { wave, at } = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Waves(waves::Event::Opened { wave, at }))
            }
            "JobBraked" => {
                let JobBrakedV1 { failures, devices, at } = codec::decode(body).map_err(bad)?;
                let by = Braked { failures, devices };
                Stored::Job(job::Event::Waves(waves::Event::Braked { by, at }))
            }
            "JobContinued" => {
                let JobContinuedV1 { by, forgiven, at } = codec::decode(body).map_err(bad)?;
                Stored::Job(job::Event::Waves(waves::Event::Continued { by, forgiven, at }))
            }
            "RunDelivered" => Stored::Run(run::Event::Delivered {
                at: codec::decode::<AtV1>(body).map_err(bad)?.at,
            }),
            "RunStarted" => Stored::Run(run::Event::Started {
                at: codec::decode::<AtV1>(body).map_err(bad)?.at,
            }),
            "RunCancelRequested" => Stored::Run(run::Event::CancelRequested {
                at: codec::decode::<AtV1>(body).map_err(bad)?.at,
            }),
            "RunOutput" => {
                let v1: RunOutputV1 = codec::decode(body).map_err(bad)?;
                Stored::Run(run::Event::Output {
                    stream: v1.stream,
                    seq: v1.seq,
                    offset: v1.offset,
                    size_bytes: v1.size_bytes,
                    inline: v1.inline.map(serde_bytes::ByteBuf::into_vec),
                })
            }
            "RunRetried" => {
                let v1: RunRetriedV1 = codec::decode(body).map_err(bad)?;
                Stored::Run(run::Event::Retried { end: v1.end, at: v1.at })
            }
            "RunEnded" => Stored::Run(run::Event::Ended(codec::decode::<End>(body).map_err(bad)?)),
            "RunEndedAfterAll" => Stored::Run(run::Event::EndedAfterAll(codec::decode::<End>(body).map_err(bad)?)),
            other => match schedules::stored::decode(other, body).map_err(bad)? {
                Some(event) => Stored::Schedule(event),
                None => return Err(StoredError::UnknownKind { kind: other.to_owned() }),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use borealis_bus_schema::codes::Code;
    use borealis_bus_schema::messages::scheduler::RunState;
    use borealis_test_support::pin_all;
    use serde_json::Value;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_unix_ms(1_795_341_600_123)
    }

    fn one_of_each() -> Vec<Stored> {
        let created = job::Created {
            job: JobId::from_bytes([1; 16]),
            author: OperatorId::from_bytes([2; 16]),
            username: "ada".to_owned(),
            what: job::What {
                role: RoleName::script(),
                verb: VerbName::run(),
                language: Some(Language::Sh),
                context: Context::System,
                script_digest: Some(Digest([3; 32])),
                timeout_ms: 60_000,
                retry: run::Retry::default(),
                waves: None,
            },
            created_at: at(),
            expires_at: at().plus_ms(1),
            grant: GrantId::from_bytes([4; 16]),
            file: Digest([5; 32]),
            runs_total: 2,
            needs_approval: false,
            firing: None,
        };
        let approved = job::Approved {
            approver: OperatorId::from_bytes([6; 16]),
            by: "bob".to_owned(),
            file: Digest([7; 32]),
            at: at(),
        };
        let end = End {
            state: RunState::Refused,
            exit_code: Some(3),
            signal: None,
            started_at: Some(at()),
            ended_at: at(),
            duration_ms: Some(7),
            truncated: true,
            reason: Some("no".to_owned()),
            code: Some(Code::NoSpace),
        };
        let output = |inline| run::Event::Output {
            stream: OutputStream::Stderr,
            seq: 1,
            offset: 2,
            size_bytes: 3,
            inline,
        };
        let by = "ada".to_owned();
        let mut events = vec![
            Stored::Job(job::Event::Created(Box::new(created))),
            Stored::Job(job::Event::Approved(approved)),
            Stored::Job(job::Event::Cancelled { by, at: at() }),
            Stored::Job(job::Event::Waves(waves::Event::Over {
                wave: 1,
                away: 2,
                at: at(),
            })),
            Stored::Job(job::Event::Waves(waves::Event::Opened { wave: 2, at: at() })),
            Stored::Job(job::Event::Waves(waves::Event::Braked {
                by: Braked {
                    failures: 3,
                    devices: 4,
                },
                at: at(),
            })),
            Stored::Job(job::Event::Waves(waves::Event::Continued {
                by: "ada".to_owned(),
                forgiven: 3,
                at: at(),
            })),
            Stored::Run(run::Event::Delivered { at: at() }),
            Stored::Run(run::Event::Started { at: at() }),
            Stored::Run(run::Event::CancelRequested { at: at() }),
            Stored::Run(output(Some(vec![0, 255, 10]))),
            Stored::Run(run::Event::Retried {
                end: end.clone(),
                at: at(),
            }),
            Stored::Run(run::Event::Ended(end.clone())),
            Stored::Run(run::Event::EndedAfterAll(end)),
        ];
        events.extend(schedules::stored::one_of_each().into_iter().map(Stored::Schedule));
        events
    }

    #[test]
    fn what_few_ask_for_is_kept() {
        let asks = |what: &mut job::What| {
            what.retry = run::Retry {
                times: 2,
                backoff_ms: 5_000,
            };
            what.waves = Some(Waves {
                sizes: vec!["1".parse().unwrap(), "10%".parse().unwrap(), "rest".parse().unwrap()],
                pause_ms: 600_000,
                until_continued: false,
                brake: Some("5%".parse().unwrap()),
            });
        };
        let mut kept = 0;
        for mut event in one_of_each() {
            match &mut event {
                Stored::Job(job::Event::Created(created)) => asks(&mut created.what),
                Stored::Schedule(schedule::Event::Created(created)) => asks(&mut created.what),
                _ => continue,
            }
            let stored = event.encode().unwrap();
            assert_eq!(Stored::decode(&stored.kind, &stored.body).unwrap(), event);
            kept += 1;
        }
        assert_eq!(kept, 2);
    }

    #[test]
    fn golden_events_stay_readable() {
        let fields = |event: &Stored, stored: &NewEvent| match event {
            // The data of output is bytes, which JSON does not hold.
            Stored::Run(run::Event::Output { .. }) => Value::Null,
            _ => codec::decode(&stored.body).unwrap(),
        };
        let encode = |event: &Stored| (None, event.encode().unwrap());
        pin_all(
            env!("CARGO_MANIFEST_DIR"),
            &one_of_each(),
            encode,
            fields,
            Stored::decode,
        )
        .unwrap();
    }

    #[test]
    fn a_job_that_takes_an_approval_says_so_and_one_of_before_does_not() {
        let Some(Stored::Job(job::Event::Created(created))) = one_of_each().into_iter().next() else {
            panic!("the first is a job")
        };
        let waits = job::Created {
            needs_approval: true,
            firing: Some(job::Fired {
                schedule: ScheduleId::from_bytes([9; 16]),
                due: Some(at()),
                targets: Digest([8; 32]),
            }),
            ..*created
        };
        let event = Stored::Job(job::Event::Created(Box::new(waits)));
        let stored = event.encode().unwrap();
        assert_eq!(Stored::decode(&stored.kind, &stored.body).unwrap(), event);
    }

    #[test]
    fn a_job_that_asks_for_retries_says_so() {
        let Some(Stored::Job(job::Event::Created(created))) = one_of_each().into_iter().next() else {
            panic!("the first is a job")
        };
        let mut again = *created;
        again.what.retry = run::Retry {
            times: 3,
            backoff_ms: 5_000,
        };
        let event = Stored::Job(job::Event::Created(Box::new(again)));
        let stored = event.encode().unwrap();
        assert_eq!(Stored::decode(&stored.kind, &stored.body).unwrap(), event);
    }

    #[test]
    fn a_kind_of_a_newer_program_is_named() {
        assert!(matches!(
            Stored::decode("RunTeleported", b""),
            Err(StoredError::UnknownKind { .. })
        ));
        assert!(matches!(
            Stored::decode("RunEnded", b"\xff"),
            Err(StoredError::Body { .. })
        ));
    }
}
