//! `borealis jobs`.

use borealis_bus_schema::assembly::{self, Assembly};
use borealis_bus_schema::ids::{Guid, JobId, SiteName};
use borealis_bus_schema::messages::scheduler::{
    ApproveJob, CreateJob, JobRequest, JobView, Page, RunView, Targets, devices_digest,
};
use borealis_bus_schema::order::Digest;
use clap::Subcommand;
use serde::Serialize;

use super::library;
use super::rerun::{self, RerunArgs};
use crate::api::{self, Api};
use crate::error::CliError;
use crate::exit;
use crate::folded;
use crate::follow;
use crate::print::{self, Printer};

/// Lists what can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Lists jobs, newest first
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Shows a job with its runs
    Show {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Prints a job's output as it comes and ends with the worst exit code
    Follow {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Prints what a job's runs printed, those that printed the same as one, and ends with the worst exit code
    Output {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
        /// Prints what many printed alike once, with how many they are; without it each line carries its device's name
        #[arg(long)]
        fold: bool,
        /// Prints only who printed this text, with the first line that holds it, and ends with 0
        #[arg(long, value_name = "TEXT", conflicts_with = "fold")]
        find: Option<String>,
    },
    /// Does a job again on the devices where it failed, as a request of its own
    ///
    /// Asking again while the same runs have failed gives the same new job. Who made the job can; of a job that took another
    /// operator's approval, whoever may run jobs on all of its devices. Nobody else is shown what it asks for.
    Rerun(RerunArgs),
    /// Shows what a job asks for that waits for another operator's approval, with its devices
    Review {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Approves another operator's job that is on more devices than its author's limit
    ///
    /// What is signed is computed from the request and the devices as they are shown by `jobs review`. It takes a proof of the
    /// password of the last ten minutes (`borealis step-up`), and the right to run jobs on all of its devices.
    Approve {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
        /// What `jobs review` printed as `review`: nothing else is approved
        #[arg(long, value_name = "DIGEST")]
        review: Option<Digest>,
    },
    /// Continues a job whose waves wait, or that its brake stopped; what failed until then counts no more
    Continue {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Cancels a job: what waits will not start, what runs is ended
    Cancel {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
}

/// Is where jobs are.
pub(super) const PATH: &str = "/api/v1/jobs";

/// Is what `jobs show` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    job: JobView,
    runs: Vec<RunView>,
}

/// Lists, shows, follows, reviews, approves, continues or cancels.
pub async fn run(api: &Api, printer: &Printer, command: JobsCommand) -> Result<u8, CliError> {
    match command {
        JobsCommand::List { limit } => list(api, printer, limit).await?,
        JobsCommand::Show { id } => show(api, printer, id).await?,
        JobsCommand::Follow { id } => {
            let job: JobView = api.get(&format!("{PATH}/{id}")).await?;
            return follow::job(api, printer, id, job.runs_total).await;
        }
        JobsCommand::Output {
            id, find: Some(text), ..
        } => return folded::find(api, printer, id, &text).await,
        JobsCommand::Output { id, fold: true, .. } => return folded::print(api, printer, id).await,
        JobsCommand::Output { id, fold: false, .. } => {
            let job: JobView = api.get(&format!("{PATH}/{id}")).await?;
            return follow::printed(api, printer, id, job.runs_total).await;
        }
        JobsCommand::Rerun(args) => return rerun::run(api, printer, &args).await,
        JobsCommand::Review { id } => {
            let review = Review::read(api, id).await?;
            review.print(printer)?;
        }
        JobsCommand::Approve { id, review } => approve(api, printer, id, review).await?,
        JobsCommand::Continue { id } => {
            let job: JobView = api
                .change(&format!("{PATH}/{id}/continue"), &serde_json::json!({}))
                .await?;
            printer.value(&job, || format!("Job {id} goes on: {}.", waves(&job)))?;
        }
        JobsCommand::Cancel { id } => {
            let job: JobView = api
                .change(&format!("{PATH}/{id}/cancel"), &serde_json::json!({}))
                .await?;
            printer.value(&job, || {
                format!("Job {id} is cancelled; {}.", print::counts(&job.counts))
            })?;
        }
    }
    Ok(exit::OK)
}

/// Is what an approval is for, computed from what was read, never taken from an answer.
#[derive(Serialize)]
pub(super) struct Review {
    job: JobId,
    created_by: String,
    /// What the author signed.
    pub(super) asks: CreateJob,
    /// The assembly that it names: the bytes of the digest that the author signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Assembly>,
    pub(super) devices: Vec<ReviewedDevice>,
    /// Digests both; `jobs approve --review` takes it.
    review: Digest,
    #[serde(skip)]
    body: ApproveJob,
    /// Whether the author signed for a schedule, which made this job.
    #[serde(skip)]
    of_schedule: bool,
}

/// Is a device of a job under review.
#[derive(Serialize)]
pub(super) struct ReviewedDevice {
    pub(super) guid: Guid,
    pub(super) hostname: String,
}

/// Is what somebody asked for, as whoever signs for it is shown it.
pub(super) struct Asked<'a> {
    /// What it makes or made: its noun and its name.
    pub(super) of: (&'static str, String),
    /// Its author's name.
    pub(super) created_by: &'a str,
    /// What the author signed.
    pub(super) asks: &'a CreateJob,
    /// The assembly that it names.
    pub(super) content: Option<&'a Assembly>,
    pub(super) devices: &'a [ReviewedDevice],
    /// Names what is shown.
    pub(super) review: Digest,
}

impl Review {
    pub(super) async fn read(api: &Api, id: JobId) -> Result<Self, CliError> {
        let request: JobRequest = api.get(&format!("{PATH}/{id}/request")).await?;
        let runs: Vec<RunView> = pages(api, &format!("{PATH}/{id}/runs"), usize::MAX).await?;
        let unreadable = || CliError::Usage("the job's request cannot be read".to_owned());
        let call = request.request.call().ok_or_else(unreadable)?;
        let asks = request.request.asks().ok_or_else(unreadable)?;
        let content = library::asked(api, &asks).await?;
        let of_schedule = call.path_only() != PATH;
        let body = ApproveJob {
            request: Digest(call.digest()),
            devices: devices_digest(&runs.iter().map(|run| run.guid).collect()),
        };
        let devices = runs.into_iter().map(|run| ReviewedDevice {
            guid: run.guid,
            hostname: run.hostname,
        });
        Ok(Self {
            job: id,
            created_by: request.request.created_by,
            asks,
            content,
            devices: devices.collect(),
            review: Digest::of(&[body.request.0, body.devices.0].concat()),
            body,
            of_schedule,
        })
    }

    pub(super) fn print(&self, printer: &Printer) -> Result<(), CliError> {
        if printer.json() {
            return printer.value(self, String::new);
        }
        self.asked().print(printer)
    }

    /// Returns what is shown of it.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            of: ("job", self.job.to_string()),
            created_by: &self.created_by,
            asks: &self.asks,
            content: self.content.as_ref(),
            devices: &self.devices,
            review: self.review,
        }
    }
}

impl Asked<'_> {
    /// Shows it to people, whole.
    pub(super) fn print(&self, printer: &Printer) -> Result<(), CliError> {
        // What it runs is shown as it stands in the assembly of the digest that was signed.
        let asks = assembly::plain(self.asks.clone(), self.content).map_err(|e| CliError::Usage(e.to_string()))?;
        let kept = match (&self.asks.assembly, self.content) {
            (Some(wanted), Some(content)) => print::plain(&format!(
                "{} ({}), version {}",
                content.name, wanted.assembly, wanted.version
            )),
            _ => "-".to_owned(),
        };
        let env = asks.env.iter().map(|(name, value)| format!("{name}={value:?}"));
        let args = asks.args.iter().map(|arg| format!("{arg:?}"));
        let language = asks
            .language
            .map_or_else(|| "-".to_owned(), |language| language.as_str().to_owned());
        printer.line(&print::sheet(&[
            self.of.clone(),
            ("made by", self.created_by.to_owned()),
            ("what", format!("{}.{} as {}", asks.role, asks.verb, asks.context)),
            ("assembly", kept),
            ("language", language),
            ("arguments", args.collect::<Vec<_>>().join(" ")),
            ("environment", env.collect::<Vec<_>>().join(" ")),
            ("timeout", print::duration(asks.timeout_ms)),
            ("tried again", retries(&asks)),
            ("waves", parts(&asks)),
            (
                "expires",
                format!("{} after it was made", print::duration(asks.expires_in_ms)),
            ),
            ("targets", targets(&asks.targets)),
            ("devices", self.devices.len().to_string()),
            ("review", self.review.to_string()),
        ]))?;
        printer.line("")?;
        let head = ["GUID", "NAME"];
        printer.list(self.devices, "No devices.", &head, |device| {
            vec![device.guid.to_string(), device.hostname.clone()]
        })?;
        printer.line("")?;
        let script = asks.script.as_deref().unwrap_or_default();
        // Whoever reads it must see all of it: nothing in it may steer the terminal.
        for line in script.split('\n') {
            printer.line(&print::plain(&line.replace('\t', "    ")))?;
        }
        Ok(())
    }
}

/// Says in words how often a run is tried again.
fn retries(asks: &CreateJob) -> String {
    match asks.retries {
        0 => "never".to_owned(),
        times => format!(
            "{times} times where it fails, first after {}",
            print::duration(asks.backoff_ms)
        ),
    }
}

/// Says in words in which parts a job reaches its devices.
fn parts(asks: &CreateJob) -> String {
    let Some(waves) = &asks.waves else {
        return "all at once".to_owned();
    };
    let sizes: Vec<String> = waves.sizes.iter().map(ToString::to_string).collect();
    let pause = match (waves.until_continued, waves.pause_ms) {
        (true, _) => ", each when an operator continues the job".to_owned(),
        (false, 0) => String::new(),
        (false, pause_ms) => format!(", {} between them", print::duration(pause_ms)),
    };
    let brake = waves.brake.map_or_else(String::new, |brake| {
        format!("; no more begin when more than {brake} failed")
    });
    format!("{}{pause}{brake}", sizes.join(", "))
}

/// Says in words where a job's waves stand.
fn waves(job: &JobView) -> String {
    let Some(waves) = &job.waves else {
        return "-".to_owned();
    };
    let (wave, total, devices) = (waves.wave, waves.waves_total, waves.devices);
    let brake = waves.brake.map_or_else(String::new, |brake| format!(", {brake} may"));
    let reason = waves
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!("; {reason}"));
    let failures = waves.failures;
    format!("wave {wave} of {total}, {devices} devices so far; {failures} failed{brake}{reason}")
}

/// Says in words how a job names its devices.
fn targets(targets: &Targets) -> String {
    let mut words = Vec::new();
    if !targets.guids.is_empty() {
        words.push(format!("{} by name", targets.guids.len()));
    }
    if !targets.sites.is_empty() {
        let sites: Vec<&str> = targets.sites.iter().map(SiteName::as_str).collect();
        words.push(format!("every active device of {}", sites.join(", ")));
    }
    if words.is_empty() {
        words.push("every active device that its author's rights reached when it was made".to_owned());
    }
    if let Some(filter) = &targets.filter {
        words.push(format!("as far as {filter}"));
    }
    if !targets.except.is_empty() {
        words.push(format!("without {} by name", targets.except.len()));
    }
    words.join("; ")
}

async fn approve(api: &Api, printer: &Printer, id: JobId, expected: Option<Digest>) -> Result<(), CliError> {
    let review = Review::read(api, id).await?;
    if review.of_schedule {
        let text = format!("job {id} was made by a schedule; such a job takes no approval");
        return Err(CliError::Usage(text));
    }
    if expected.is_some_and(|expected| expected != review.review) {
        let text = format!("what job {id} asks for is not what was reviewed; nothing was approved");
        return Err(CliError::Usage(text));
    }
    let job: JobView = api.change(&format!("{PATH}/{id}/approve"), &review.body).await?;
    printer.value(&job, || {
        format!(
            "Job {id} of {} on {} devices is approved (review {}).",
            review.created_by,
            review.devices.len(),
            review.review
        )
    })
}

async fn list(api: &Api, printer: &Printer, limit: usize) -> Result<(), CliError> {
    let mut jobs: Vec<JobView> = pages(api, PATH, limit).await?;
    jobs.truncate(limit);
    let head = ["ID", "MADE", "BY", "WHAT", "STATE", "RUNS"];
    printer.list(&jobs, "No jobs.", &head, |job| {
        vec![
            job.job.to_string(),
            job.created_at.to_string(),
            job.created_by.clone(),
            format!("{}.{}", job.role, job.verb),
            job.state.replace('_', " "),
            print::counts(&job.counts),
        ]
    })
}

async fn show(api: &Api, printer: &Printer, id: JobId) -> Result<(), CliError> {
    let job: JobView = api.get(&format!("{PATH}/{id}")).await?;
    let runs: Vec<RunView> = pages(api, &format!("{PATH}/{id}/runs"), usize::MAX).await?;
    let shown = Shown { job, runs };
    if printer.json() {
        return printer.value(&shown, String::new);
    }
    let job = &shown.job;
    let cancelled = if job.cancelled { ", cancelled" } else { "" };
    let state = job.state.replace('_', " ") + cancelled;
    printer.line(&print::sheet(&[
        ("job", job.job.to_string()),
        ("made", format!("{} by {}", job.created_at, job.created_by)),
        ("what", format!("{}.{} as {}", job.role, job.verb, job.context)),
        ("timeout", print::duration(job.timeout_ms)),
        ("expires", job.expires_at.to_string()),
        ("state", state),
        (
            "approved",
            job.approved_by
                .clone()
                .map_or_else(|| "-".to_owned(), |by| format!("by {by}")),
        ),
        ("waves", waves(job)),
        ("runs", print::counts(&job.counts)),
    ]))?;
    printer.line("")?;
    let head = ["RUN", "NAME", "STATE", "TRY", "EXIT", "TOOK", "REASON"];
    printer.list(&shown.runs, "No runs.", &head, |run| {
        vec![
            run.run.to_string(),
            run.hostname.clone(),
            run.state.as_str().replace('_', " "),
            run.attempt.to_string(),
            run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            run.duration_ms.map_or_else(|| "-".to_owned(), print::duration),
            run.reason.clone().unwrap_or_default(),
        ]
    })
}

/// Reads pages until there are enough items or no more.
pub(super) async fn pages<T: serde::de::DeserializeOwned>(
    api: &Api,
    path: &str,
    enough: usize,
) -> Result<Vec<T>, CliError> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut full = format!("{path}?limit={}", enough.min(200));
        if let Some(cursor) = &cursor {
            full.push_str(&format!("&cursor={}", api::escape(cursor)));
        }
        let page: Page<T> = api.get(&full).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) if items.len() < enough && cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(items),
        }
    }
}
