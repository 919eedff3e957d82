//! A job: what its author asked for, once, and whether it was approved or cancelled.
//!
//! A job's own stream is short: it was created, perhaps approved by another operator, perhaps cancelled. What happens on a device stands in the streams of its
//! runs ([`crate::run`]), so that ten thousand devices never wait for one version.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::filter::{Filter, FilterError};
use borealis_bus_schema::ids::{GrantId, JobId, OperatorId, RoleName, ScheduleId, VerbName};
use borealis_bus_schema::messages::scheduler::{
    CreateJob, MAX_BACKOFF_MS, MAX_EXPIRES_IN_MS, MAX_RETRIES, MAX_SCRIPT_BYTES, Targets,
};
use borealis_bus_schema::messages::waves::{MAX_WAVE_SIZES, WaveSize, Waves};
use borealis_bus_schema::order::{Context, Digest, Language};
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

use crate::run::Retry;
use crate::waves;

/// Is what a job does on each device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The role that acts.
    pub role: RoleName,
    /// What it does.
    pub verb: VerbName,
    /// The interpreter.
    pub language: Option<Language>,
    /// With which rights.
    pub context: Context,
    /// The script's digest.
    pub script_digest: Option<Digest>,
    /// When a run's process tree is ended.
    pub timeout_ms: u64,
    /// How often a run that failed is tried again.
    pub retry: Retry,
    /// In which parts it reaches its devices.
    pub waves: Option<Waves>,
}

/// Is a job's first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The job.
    pub job: JobId,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// What it does.
    pub what: What,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When a run that did not begin ends.
    pub expires_at: Timestamp,
    /// The grant under which it acts.
    pub grant: GrantId,
    /// The file that holds the signed call, the grant and the targets.
    pub file: Digest,
    /// How many runs it has.
    pub runs_total: u64,
    /// Whether it is on more devices than its author's limit, so that nothing happens before another operator approves it.
    pub needs_approval: bool,
    /// The schedule that made it, where one did.
    pub firing: Option<Fired>,
}

/// Says which schedule made a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The schedule.
    pub schedule: ScheduleId,
    /// When it was due; none where an operator let it run at once.
    pub due: Option<Timestamp>,
    /// The file that lists the devices.
    pub targets: Digest,
}

/// Is another operator's approval of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Who approved.
    pub approver: OperatorId,
    /// The approver's name.
    pub by: String,
    /// The file that holds the approver's signed call and grant.
    pub file: Digest,
    /// When.
    pub at: Timestamp,
}

/// Is what happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Created(Box<Created>),
    /// Another operator approved it.
    Approved(Approved),
    /// An operator cancelled it.
    Cancelled {
        /// The operator's name.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Its waves went on, or stopped.
    Waves(waves::Event),
}

/// Says why a request for a job is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// Nothing is named.
    #[error("the job names no device: give targets.guids, targets.sites, targets.filter or targets.all")]
    NoTargets,
    /// Both are named.
    #[error("the job names devices or sites, and all of them: give one or the other")]
    BothTargets,
    /// A filter stands beside devices that are named.
    #[error("a filter picks among all devices or those of sites; leave targets.guids out, or the filter")]
    FilterOnNames,
    /// The filter is none.
    #[error("{0}")]
    Filter(#[from] FilterError),
    /// Nothing can run.
    #[error("role {role} has no verb {verb}")]
    UnknownVerb {
        /// The role.
        role: String,
        /// The verb.
        verb: String,
    },
    /// A script is missing, or stands where none can be.
    #[error("{0}")]
    Script(&'static str),
    /// A time is out of range.
    #[error("{field} has to be between {least} and {most}")]
    Time {
        /// The field.
        field: &'static str,
        /// The least value.
        least: u64,
        /// The greatest value.
        most: u64,
    },
    /// The waves are none.
    #[error("{0}")]
    Waves(&'static str),
    /// A name in `env` is none.
    #[error("{0:?} is no name of an environment variable")]
    EnvName(String),
    /// An argument or a value holds a zero byte.
    #[error("arguments and environment cannot hold a zero byte")]
    ZeroByte,
    /// It was cancelled before.
    #[error("the job was cancelled before")]
    Cancelled,
    /// There is nothing to approve.
    #[error("the job does not wait for an approval")]
    NotAwaited,
    /// Its time is over.
    #[error("the job's time is over")]
    Over,
    /// The author wants to approve it.
    #[error("nobody approves what they asked for themselves; another operator has to")]
    OwnApproval,
}

impl Rejection {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> Code {
        match self {
            Rejection::UnknownVerb { .. } => Code::UnknownVerb,
            Rejection::Cancelled | Rejection::NotAwaited | Rejection::Over => Code::WrongState,
            Rejection::OwnApproval => Code::OwnApproval,
            Rejection::Filter(_) => Code::FilterInvalid,
            _ => Code::InvalidField,
        }
    }
}

const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3_600_000;

/// Checks a request for a job by itself, before anything is looked up.
///
/// Errors: the first rule of [`Rejection`] that it breaks.
pub fn check(wanted: &CreateJob) -> Result<What, Rejection> {
    check_targets(&wanted.targets)?;
    let digest = match (wanted.role.as_str(), wanted.verb.as_str()) {
        // Whoever asks for one is asked by its script: `borealis_bus_schema::assembly::plain` comes first.
        _ if wanted.assembly.is_some() => return Err(Rejection::Script("this takes no assembly")),
        ("agent", "ping") if wanted.script.is_some() => return Err(Rejection::Script("a ping takes no script")),
        ("agent", "ping") => None,
        ("script", "run") => Some(script_digest(wanted)?),
        (role, verb) => {
            return Err(Rejection::UnknownVerb {
                role: role.to_owned(),
                verb: verb.to_owned(),
            });
        }
    };
    within("timeout_ms", wanted.timeout_ms, 1, MAX_TIMEOUT_MS)?;
    within("retries", u64::from(wanted.retries), 0, u64::from(MAX_RETRIES))?;
    within("backoff_ms", wanted.backoff_ms, 1_000, MAX_BACKOFF_MS)?;
    within("expires_in_ms", wanted.expires_in_ms, 1_000, MAX_EXPIRES_IN_MS)?;
    check_waves(wanted)?;
    for (name, value) in &wanted.env {
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(Rejection::EnvName(name.chars().take(64).collect()));
        }
        if value.has_zero() {
            return Err(Rejection::ZeroByte);
        }
    }
    if wanted.args.iter().any(|arg| arg.contains('\0')) {
        return Err(Rejection::ZeroByte);
    }
    Ok(What {
        role: wanted.role.clone(),
        verb: wanted.verb.clone(),
        language: digest.and(wanted.language),
        context: wanted.context,
        script_digest: digest,
        timeout_ms: wanted.timeout_ms,
        retry: match wanted.retries {
            0 => Retry::default(),
            times => Retry {
                times,
                backoff_ms: wanted.backoff_ms,
            },
        },
        waves: wanted.waves.clone(),
    })
}

fn check_waves(wanted: &CreateJob) -> Result<(), Rejection> {
    let Some(waves) = &wanted.waves else { return Ok(()) };
    let why = match waves.sizes.split_last() {
        None => "waves.sizes names no size",
        Some((_, before)) if before.len() >= MAX_WAVE_SIZES => "waves.sizes has at most 64 sizes",
        Some((_, before)) if before.contains(&WaveSize::Rest) => "in waves.sizes nothing stands behind rest",
        _ if waves.until_continued && waves.pause_ms > 0 => "give waves.pause_ms or waves.until_continued",
        _ => return within("waves.pause_ms", waves.pause_ms, 0, wanted.expires_in_ms),
    };
    Err(Rejection::Waves(why))
}

/// Checks that a job's pauses leave time for its last wave.
///
/// Errors: [`Rejection::Waves`].
pub fn check_pauses(what: &What, devices: u64, expires_in_ms: u64) -> Result<(), Rejection> {
    let pauses_ms = what
        .waves
        .as_ref()
        .map(|waves| waves::Plan::of(waves, devices).pauses_ms());
    if pauses_ms.is_some_and(|pauses_ms| pauses_ms >= expires_in_ms) {
        let why = "the pauses between the waves take all of expires_in_ms: the last wave would never begin";
        return Err(Rejection::Waves(why));
    }
    Ok(())
}

/// Checks how devices are named, before it is looked up which they are.
///
/// Errors: [`Rejection::NoTargets`], [`Rejection::BothTargets`], [`Rejection::FilterOnNames`], [`Rejection::Filter`].
pub fn check_targets(targets: &Targets) -> Result<Option<Filter>, Rejection> {
    let is_named = !targets.guids.is_empty() || !targets.sites.is_empty();
    match (&targets.filter, is_named, targets.all) {
        (None, false, false) => Err(Rejection::NoTargets),
        (_, true, true) => Err(Rejection::BothTargets),
        (Some(_), ..) if !targets.guids.is_empty() => Err(Rejection::FilterOnNames),
        (None, ..) => Ok(None),
        (Some(text), ..) => Ok(Some(Filter::parse(text)?)),
    }
}

fn script_digest(wanted: &CreateJob) -> Result<Digest, Rejection> {
    let script = wanted.script.as_deref().filter(|text| !text.trim().is_empty());
    let script = script.ok_or(Rejection::Script("the job has no script"))?;
    if wanted.language.is_none() {
        return Err(Rejection::Script("the job names no language for its script"));
    }
    if script.len() > MAX_SCRIPT_BYTES {
        return Err(Rejection::Script("the script is larger than 256 KiB"));
    }
    Ok(Digest::of(script.as_bytes()))
}

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), Rejection> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::Time { field, least, most })
    }
}

/// Decides whether a job can be cancelled.
///
/// Errors: [`Rejection::Cancelled`].
pub fn decide_cancel(cancelled: bool, by: &str, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    if cancelled {
        Err(Rejection::Cancelled)
    } else {
        Ok(vec![Event::Cancelled { by: by.to_owned(), at }])
    }
}

/// Says where a job stands for whoever wants to approve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it waits for an approval.
    pub awaited: bool,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// Decides whether an operator can approve a job.
///
/// Errors: [`Rejection::OwnApproval`], [`Rejection::Cancelled`], [`Rejection::NotAwaited`], [`Rejection::Over`].
pub fn decide_approve(created: &Created, standing: Standing, approved: Approved) -> Result<Vec<Event>, Rejection> {
    if approved.approver == created.author {
        Err(Rejection::OwnApproval)
    } else if standing.cancelled {
        Err(Rejection::Cancelled)
    } else if !standing.awaited {
        Err(Rejection::NotAwaited)
    } else if approved.at >= created.expires_at {
        Err(Rejection::Over)
    } else {
        Ok(vec![Event::Approved(approved)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::Guid;
    fn wanted() -> CreateJob {
        CreateJob {
            targets: Targets {
                guids: vec![Guid::from_random([1; 16])],
                ..Targets::default()
            },
            role: RoleName::script(),
            verb: VerbName::run(),
            language: Some(Language::Sh),
            context: Context::System,
            script: Some("echo hi".into()),
            args: vec![],
            env: Default::default(),
            assembly: None,
            timeout_ms: 1_000,
            expires_in_ms: 60_000,
            retries: 0,
            backoff_ms: 30_000,
            waves: None,
        }
    }

    fn waves(sizes: &[&str]) -> Waves {
        Waves {
            sizes: sizes.iter().map(|size| size.parse().unwrap()).collect(),
            pause_ms: 0,
            until_continued: false,
            brake: None,
        }
    }

    #[test]
    fn pauses_leave_time_for_the_last_wave() {
        let asks = CreateJob {
            waves: Some(Waves {
                pause_ms: 20_000,
                ..waves(&["1"])
            }),
            ..wanted()
        };
        let what = check(&asks).unwrap();
        assert_eq!(check_pauses(&what, 3, asks.expires_in_ms), Ok(()));
        assert!(matches!(
            check_pauses(&what, 4, asks.expires_in_ms),
            Err(Rejection::Waves(_))
        ));
    }

    #[test]
    fn a_script_for_a_device_is_fine() {
        assert_eq!(check(&wanted()).unwrap().script_digest, Some(Digest::of(b"echo hi")));
    }

    #[test]
    fn a_ping_takes_no_script() {
        let ping = CreateJob {
            role: RoleName::agent(),
            verb: VerbName::ping(),
            script: None,
            ..wanted()
        };
        assert_eq!(check(&ping).unwrap().script_digest, None);
        assert!(matches!(
            check(&CreateJob {
                script: Some("x".into()),
                ..ping
            }),
            Err(Rejection::Script(_))
        ));
    }

    #[test]
    fn each_rule_refuses() {
        let guids = wanted().targets.guids;
        let cases = [
            (
                CreateJob {
                    targets: Targets::default(),
                    ..wanted()
                },
                Rejection::NoTargets,
            ),
            (
                CreateJob {
                    targets: Targets {
                        all: true,
                        guids,
                        ..Targets::default()
                    },
                    ..wanted()
                },
                Rejection::BothTargets,
            ),
            (
                CreateJob {
                    script: None,
                    ..wanted()
                },
                Rejection::Script("the job has no script"),
            ),
            (
                CreateJob {
                    script: Some(" \n".into()),
                    ..wanted()
                },
                Rejection::Script("the job has no script"),
            ),
            (
                CreateJob {
                    language: None,
                    ..wanted()
                },
                Rejection::Script("the job names no language for its script"),
            ),
            (
                CreateJob {
                    script: Some("x".repeat(MAX_SCRIPT_BYTES + 1)),
                    ..wanted()
                },
                Rejection::Script("the script is larger than 256 KiB"),
            ),
            (
                CreateJob {
                    verb: VerbName::ping(),
                    ..wanted()
                },
                Rejection::UnknownVerb {
                    role: "script".into(),
                    verb: "ping".into(),
                },
            ),
            (
                CreateJob {
                    timeout_ms: 0,
                    ..wanted()
                },
                Rejection::Time {
                    field: "timeout_ms",
                    least: 1,
                    most: MAX_TIMEOUT_MS,
                },
            ),
            (
                CreateJob {
                    retries: 11,
                    ..wanted()
                },
                Rejection::Time {
                    field: "retries",
                    least: 0,
                    most: 10,
                },
            ),
            (
                CreateJob {
                    backoff_ms: 999,
                    ..wanted()
                },
                Rejection::Time {
                    field: "backoff_ms",
                    least: 1_000,
                    most: MAX_BACKOFF_MS,
                },
            ),
            (
                CreateJob {
                    expires_in_ms: MAX_EXPIRES_IN_MS + 1,
                    ..wanted()
                },
                Rejection::Time {
                    field: "expires_in_ms",
                    least: 1_000,
                    most: MAX_EXPIRES_IN_MS,
                },
            ),
            (
                CreateJob {
                    waves: Some(waves(&["rest", "1"])),
                    ..wanted()
                },
                Rejection::Waves("in waves.sizes nothing stands behind rest"),
            ),
            (
                CreateJob {
                    waves: Some(waves(&[])),
                    ..wanted()
                },
                Rejection::Waves("waves.sizes names no size"),
            ),
            (
                CreateJob {
                    waves: Some(Waves {
                        pause_ms: 60_001,
                        ..waves(&["1"])
                    }),
                    ..wanted()
                },
                Rejection::Time {
                    field: "waves.pause_ms",
                    least: 0,
                    most: 60_000,
                },
            ),
            (
                CreateJob {
                    env: [("A B".into(), "".into())].into(),
                    ..wanted()
                },
                Rejection::EnvName("A B".into()),
            ),
            (
                CreateJob {
                    env: [("A".into(), "\0".into())].into(),
                    ..wanted()
                },
                Rejection::ZeroByte,
            ),
            (
                CreateJob {
                    args: vec!["\0".into()],
                    ..wanted()
                },
                Rejection::ZeroByte,
            ),
        ];
        for (wanted, rejection) in cases {
            assert_eq!(check(&wanted), Err(rejection));
        }
    }

    #[test]
    fn devices_are_named_in_one_way() {
        let guids = wanted().targets.guids;
        let site = || vec![borealis_bus_schema::ids::SiteName::default_site()];
        let filter = || Some("online".to_owned());
        let none = Targets::default;
        let fine = [
            Targets {
                guids: guids.clone(),
                sites: site(),
                except: guids.clone(),
                ..none()
            },
            Targets {
                sites: site(),
                filter: filter(),
                ..none()
            },
            Targets {
                filter: filter(),
                ..none()
            },
            Targets {
                all: true,
                filter: filter(),
                ..none()
            },
        ];
        for targets in fine {
            assert_eq!(
                check_targets(&targets).map(|filter| filter.is_some()),
                Ok(targets.filter.is_some())
            );
        }
        let bad = [
            (
                Targets {
                    except: guids.clone(),
                    ..none()
                },
                Rejection::NoTargets,
            ),
            (
                Targets {
                    all: true,
                    sites: site(),
                    ..none()
                },
                Rejection::BothTargets,
            ),
            (
                Targets {
                    guids,
                    filter: filter(),
                    ..none()
                },
                Rejection::FilterOnNames,
            ),
        ];
        for (targets, rejection) in bad {
            assert_eq!(check_targets(&targets), Err(rejection));
        }
        let unreadable = Targets {
            filter: Some("online and".to_owned()),
            ..none()
        };
        let refused = check_targets(&unreadable).unwrap_err();
        assert_eq!(refused.code(), Code::FilterInvalid);
        assert!(
            refused.to_string().starts_with("at character 11 of the filter"),
            "{refused}"
        );
    }

    #[test]
    fn another_operator_approves_a_job_that_waits_for_it_in_time() {
        let at = Timestamp::from_unix_ms(10);
        let created = Created {
            job: JobId::from_bytes([1; 16]),
            author: OperatorId::from_bytes([1; 16]),
            username: "ada".into(),
            what: check(&wanted()).unwrap(),
            created_at: Timestamp::from_unix_ms(1),
            expires_at: Timestamp::from_unix_ms(20),
            grant: GrantId::from_bytes([2; 16]),
            file: Digest::of(b"x"),
            runs_total: 3,
            needs_approval: true,
            firing: None,
        };
        let approved = |approver: u8, at| Approved {
            approver: OperatorId::from_bytes([approver; 16]),
            by: "bob".into(),
            file: Digest::of(b"y"),
            at,
        };
        let waits = Standing {
            awaited: true,
            cancelled: false,
        };
        let decide = |standing, approved| decide_approve(&created, standing, approved);
        assert_eq!(
            decide(waits, approved(2, at)),
            Ok(vec![Event::Approved(approved(2, at))])
        );
        assert_eq!(decide(waits, approved(1, at)), Err(Rejection::OwnApproval));
        assert_eq!(decide(waits, approved(2, created.expires_at)), Err(Rejection::Over));
        let runs = Standing {
            awaited: false,
            ..waits
        };
        assert_eq!(decide(runs, approved(2, at)), Err(Rejection::NotAwaited));
        let ended = Standing {
            cancelled: true,
            ..waits
        };
        assert_eq!(decide(ended, approved(2, at)), Err(Rejection::Cancelled));
    }

    #[test]
    fn a_job_is_cancelled_once() {
        let at = Timestamp::from_unix_ms(1);
        assert_eq!(
            decide_cancel(false, "ada", at),
            Ok(vec![Event::Cancelled { by: "ada".into(), at }])
        );
        assert_eq!(decide_cancel(true, "ada", at), Err(Rejection::Cancelled));
    }
}
