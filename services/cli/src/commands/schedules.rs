//! `borealis schedules`.

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::ids::{Guid, ScheduleId};
use borealis_bus_schema::messages::scheduler::{CreateJob, JobCreated, PreviewedDevice, SchedulePreview};
use borealis_bus_schema::messages::schedules::{
    Concurrency, CreateSchedule, Misfire, RunSchedule, ScheduleHistory, ScheduleRequest, ScheduleView,
};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;

use super::jobs::{self, Asked, ReviewedDevice};
use super::reviewed::reviewed;
use super::run::{RunArgs, body as job_of, tell};
use super::{dry_run, library};
use crate::api::{self, Api, escape};
use crate::args::values;
use crate::error::CliError;
use crate::exit;
use crate::print::{self, Printer, plain};

/// Lists what can be done with schedules.
#[derive(Debug, Subcommand)]
pub enum SchedulesCommand {
    /// Shows when a schedule would fire, or would have: one line each, with a note where a clock change matters
    Preview(Box<PreviewArgs>),
    /// Makes a schedule: what runs where, as for `run`, and when
    Create(Box<CreateArgs>),
    /// Lists schedules, newest first
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Shows a schedule
    Show(IdArgs),
    /// Pauses a schedule: nothing of it is due until it goes on
    Pause(IdArgs),
    /// Lets a paused or stopped schedule go on; what was due meanwhile does not run
    Resume(IdArgs),
    /// Lets a schedule run now, in your name, besides its times
    RunNow {
        /// Which one.
        #[command(flatten)]
        id: IdArgs,
        /// Signs what the server says the schedule asks for, without showing it and asking first
        #[arg(long)]
        yes: bool,
        /// Prints output as it comes and ends with the worst exit code
        #[arg(long)]
        follow: bool,
    },
    /// Leaves the next firing out; again: the one behind it too
    SkipNext(IdArgs),
    /// Lists what became of the firings, newest first, with the reason for each that did not run
    History {
        /// Which one.
        #[command(flatten)]
        id: IdArgs,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Ends a schedule for good; its history stays
    #[command(visible_alias = "archive")]
    Delete(IdArgs),
}

/// Names a schedule.
#[derive(Debug, Clone, Copy, Args)]
pub struct IdArgs {
    /// Id of the schedule
    #[arg(value_name = "ID")]
    pub id: ScheduleId,
}

/// Says what a new schedule does, and when.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What people call it
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// What it follows.
    #[command(flatten)]
    pub rule: RuleArgs,
    /// Time zone, as Europe/Stockholm
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub zone: String,
    /// What it does not fire before, and where --kind begins; now unless told
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub start: Option<Timestamp>,
    /// What it does not fire at or after
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub end: Option<Timestamp>,
    /// What becomes of firings whose time passed while the server was away: skip, once (one runs for all), all
    #[arg(long, value_name = "POLICY", default_value = "once", value_parser = word::<Misfire>)]
    pub misfire: Misfire,
    /// How many late firings run with --misfire all, at most; the newest
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub misfire_most: u32,
    /// How late a firing may be and still run: 10m, 2h; however late unless told
    #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
    pub late_limit: Option<u64>,
    /// While one before still runs: allow both, forbid the new one, queue it, or replace the old one
    #[arg(long, value_name = "POLICY", default_value = "allow", value_parser = word::<Concurrency>)]
    pub concurrency: Concurrency,
    /// Spreads schedules: each comes late by its own share of this, the same each time
    #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
    pub jitter: Option<u64>,
    /// What runs where.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Reads a word as the API writes it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Says which schedule to show, and which of its firings.
#[derive(Debug, Clone, Args)]
pub struct PreviewArgs {
    /// What it follows.
    #[command(flatten)]
    pub rule: RuleArgs,
    /// Time zone, as Europe/Stockholm
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub zone: String,
    /// Where --kind begins, and what the schedule does not fire before
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub start: Option<Timestamp>,
    /// What the schedule does not fire at or after
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub end: Option<Timestamp>,
    /// Shows firings from this instant on: 2026-11-22T10:00:00Z, or a time ago: 24h, 7d; now unless told
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub from: Option<Timestamp>,
    /// Shows firings before this instant, or a time ago
    #[arg(long, value_name = "INSTANT", value_parser = values::instant)]
    pub until: Option<Timestamp>,
    /// Shows the firings of the last calendar month
    #[arg(long, conflicts_with_all = ["from", "until"])]
    pub last_month: bool,
    /// How many at most: 1 to 1000; 20 unless told, all of the span with --until or --last-month
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
}

/// Says what a schedule follows.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct RuleArgs {
    /// Cron text: minute hour day-of-month month weekday, or six fields with the second first
    #[arg(long, value_name = "EXPR")]
    pub cron: Option<String>,
    /// immediately, once, every_5_minutes, every_hour, daily, weekly, monthly, yearly, or every_<n>_minutes|hours|days|weeks|months|years
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
}

/// Is how many firings the server shows at most.
const MOST: usize = 1000;

const PATH: &str = "/api/v1/schedules";

/// Shows, makes, lists and changes schedules.
pub async fn run(api: &Api, printer: &Printer, command: SchedulesCommand) -> Result<u8, CliError> {
    match command {
        SchedulesCommand::Preview(args) => preview(api, printer, &args).await?,
        SchedulesCommand::Create(args) => create(api, printer, *args).await?,
        SchedulesCommand::List { limit } => list(api, printer, limit).await?,
        SchedulesCommand::Show(IdArgs { id }) => {
            let view: ScheduleView = api.get(&format!("{PATH}/{id}")).await?;
            printer.value(&view, || sheet(&view))?;
        }
        SchedulesCommand::Pause(IdArgs { id }) => change(api, printer, id, "pause", "is paused").await?,
        SchedulesCommand::Resume(IdArgs { id }) => change(api, printer, id, "resume", "goes on").await?,
        SchedulesCommand::SkipNext(IdArgs { id }) => {
            change(api, printer, id, "skip", "leaves its next firing out").await?;
        }
        SchedulesCommand::Delete(IdArgs { id }) => change(api, printer, id, "archive", "is archived").await?,
        SchedulesCommand::RunNow {
            id: IdArgs { id },
            yes,
            follow,
        } => return run_now(api, printer, id, yes, follow).await,
        SchedulesCommand::History {
            id: IdArgs { id },
            limit,
        } => history(api, printer, id, limit).await?,
    }
    Ok(exit::OK)
}

async fn create(api: &Api, printer: &Printer, args: CreateArgs) -> Result<(), CliError> {
    if args.run.follow || args.run.dry_run {
        let text = "a schedule is neither followed nor tried: `run --dry-run` shows its devices, `schedules run-now --follow` runs it";
        return Err(CliError::Usage(text.to_owned()));
    }
    let body = CreateSchedule {
        name: args.name,
        job: job_of(api, &args.run).await?,
        cron: args.rule.cron,
        kind: args.rule.kind,
        zone: args.zone,
        start: args.start,
        end: args.end,
        misfire: args.misfire,
        misfire_most: args.misfire_most,
        late_limit_ms: args.late_limit,
        concurrency: args.concurrency,
        jitter_ms: args.jitter.unwrap_or(0),
    };
    let made: ScheduleView = api.change(PATH, &body).await?;
    printer.value(&made, || {
        let next = made.next_local.clone().unwrap_or_else(|| "-".to_owned());
        plain(&format!(
            "Schedule {} ({}) is due next at {next}.",
            made.schedule, made.name
        ))
    })
}

async fn change(api: &Api, printer: &Printer, id: ScheduleId, verb: &str, said: &str) -> Result<(), CliError> {
    let view: ScheduleView = api
        .change(&format!("{PATH}/{id}/{verb}"), &serde_json::json!({}))
        .await?;
    printer.value(&view, || {
        let next = view.next_local.as_deref().map(|next| format!("; due next at {next}"));
        plain(&format!("Schedule {} {said}{}.", view.name, next.unwrap_or_default()))
    })
}

/// Signs for what the author's request is as it was read and shown, and for nothing else.
async fn run_now(api: &Api, printer: &Printer, id: ScheduleId, yes: bool, follows: bool) -> Result<u8, CliError> {
    let ScheduleRequest { request, .. } = api.get(&format!("{PATH}/{id}/request")).await?;
    let unreadable = || CliError::Usage("the schedule's request cannot be read".to_owned());
    let call = request.call().ok_or_else(unreadable)?;
    let asks = request.asks().ok_or_else(unreadable)?;
    let digest = Digest(call.digest());
    if !yes {
        let content = library::asked(api, &asks).await?;
        let devices = devices(api, &asks, content.as_ref()).await?;
        let asked = Asked {
            of: ("schedule", id.to_string()),
            created_by: &request.created_by,
            asks: &asks,
            content: content.as_ref(),
            devices: &devices,
            review: digest,
        };
        reviewed(printer, &asked, yes)?;
    }
    if follows {
        api.be_patient(api::FOLLOWING);
    }
    let body = RunSchedule { request: digest };
    let made: JobCreated = api.change(&format!("{PATH}/{id}/run"), &body).await?;
    tell(api, printer, &made, follows, "has", "runs").await
}

/// Finds the devices that a schedule would run on now, for whoever lets it.
async fn devices(api: &Api, asks: &CreateJob, content: Option<&Assembly>) -> Result<Vec<ReviewedDevice>, CliError> {
    let targets = &asks.targets;
    if targets.sites.is_empty() && !targets.guids.is_empty() {
        let named = targets.guids.iter().filter(|guid| !targets.except.contains(guid));
        let device = |guid: &Guid| ReviewedDevice {
            guid: *guid,
            hostname: String::new(),
        };
        return Ok(named.map(device).collect());
    }
    // What it runs may be in the archive by now, where a job of its own could not run it.
    let shown = dry_run::preview(api, targets, asks.context, None).await?;
    let is_for = |device: &PreviewedDevice| {
        content.is_none_or(|content| device.site.as_ref().is_some_and(|site| content.is_for(site)))
    };
    let device = |device: PreviewedDevice| ReviewedDevice {
        guid: device.guid,
        hostname: device.hostname,
    };
    Ok(shown.items.into_iter().filter(is_for).map(device).collect())
}

async fn list(api: &Api, printer: &Printer, limit: usize) -> Result<(), CliError> {
    let mut all: Vec<ScheduleView> = jobs::pages(api, PATH, limit).await?;
    all.truncate(limit);
    let head = ["ID", "NAME", "BY", "FOLLOWS", "ZONE", "STATE", "NEXT", "RAN"];
    printer.list(&all, "No schedules.", &head, |view| {
        vec![
            view.schedule.to_string(),
            view.name.clone(),
            view.created_by.clone(),
            view.follows.clone(),
            view.zone.clone(),
            view.state.clone(),
            view.next_local.clone().unwrap_or_else(|| "-".to_owned()),
            view.fired.to_string(),
        ]
    })
}

fn sheet(view: &ScheduleView) -> String {
    let instant = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let state = match &view.reason {
        None => view.state.clone(),
        Some(reason) => format!("{}: {reason}", view.state),
    };
    let late = match view.misfire {
        Misfire::Skip => "let go".to_owned(),
        Misfire::Once => "one runs for all".to_owned(),
        Misfire::All => format!("the newest {} run", view.misfire_most),
    };
    let late = match view.late_limit_ms {
        None => late,
        Some(limit) => format!("{late}, none later than {}", print::duration(limit)),
    };
    let concurrency = match view.concurrency {
        Concurrency::Allow => "allow",
        Concurrency::Forbid => "forbid",
        Concurrency::Queue => "queue",
        Concurrency::Replace => "replace",
    };
    let devices = match view.guids.len() {
        0 => "those that it finds when it fires".to_owned(),
        number => number.to_string(),
    };
    let last = view.last_job.map_or_else(
        || "-".to_owned(),
        |job| format!("job {job} at {}", instant(view.last_at)),
    );
    print::sheet(&[
        ("schedule", view.schedule.to_string()),
        ("name", view.name.clone()),
        ("made", format!("{} by {}", view.created_at, view.created_by)),
        ("state", state),
        ("follows", format!("{} in {}", view.follows, view.zone)),
        ("from", view.start.to_string()),
        ("until", instant(view.end)),
        ("late firings", late),
        ("while one runs", concurrency.to_owned()),
        ("own delay", print::duration(view.delay_ms)),
        ("what", format!("{}.{} as {}", view.role, view.verb, view.context)),
        ("devices", devices),
        ("timeout", print::duration(view.timeout_ms)),
        ("next", view.next_local.clone().unwrap_or_else(|| "-".to_owned())),
        (
            "left out",
            view.skips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ),
        ("waits", instant(view.queued)),
        ("ran", format!("{} times, {} did not run", view.fired, view.not_run)),
        ("last", last),
    ])
}

async fn history(api: &Api, printer: &Printer, id: ScheduleId, limit: usize) -> Result<(), CliError> {
    let mut lines: Vec<ScheduleHistory> = jobs::pages(api, &format!("{PATH}/{id}/history"), limit).await?;
    lines.truncate(limit);
    let head = ["AT", "WHAT", "DUE", "COUNT", "JOB", "WHY"];
    printer.list(&lines, "Nothing yet.", &head, |line| {
        let what = match &line.by {
            None => line.what.replace('_', " "),
            Some(by) => format!("{} by {by}", line.what.replace('_', " ")),
        };
        let why = [line.reason.clone(), line.note.clone()];
        vec![
            line.at.to_string(),
            what,
            line.due.map_or_else(|| "-".to_owned(), |due| due.to_string()),
            line.count.to_string(),
            line.job.map_or_else(|| "-".to_owned(), |job| job.to_string()),
            why.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]
    })
}

/// Shows when a schedule fires.
async fn preview(api: &Api, printer: &Printer, args: &PreviewArgs) -> Result<(), CliError> {
    let preview: SchedulePreview = api.get(&path(args)).await?;
    if !printer.json() {
        printer.line(&plain(&format!(
            "{} in {}, zones of {}",
            preview.schedule, preview.zone, preview.zones_release
        )))?;
    }
    let head = ["LOCAL TIME", "UTC", "NOTE"];
    printer.list(&preview.items, "It does not fire then.", &head, |firing| {
        vec![
            firing.local.clone(),
            firing.at.to_string(),
            firing.note.clone().unwrap_or_default(),
        ]
    })?;
    if preview.more && (args.until.is_some() || args.last_month) {
        printer.aside("there are more: --count shows up to 1000, --from goes on behind the last one")?;
    }
    Ok(())
}

fn path(args: &PreviewArgs) -> String {
    let mut path = format!("/api/v1/schedules/preview?zone={}", escape(&args.zone));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escape(&value)));
        }
    };
    let is_span = args.until.is_some() || args.last_month;
    add("cron", args.rule.cron.clone());
    add("kind", args.rule.kind.clone());
    add("start", args.start.map(|at| at.to_string()));
    add("end", args.end.map(|at| at.to_string()));
    add("from", args.from.map(|at| at.to_string()));
    add("until", args.until.map(|at| at.to_string()));
    add("period", args.last_month.then(|| "last_month".to_owned()));
    add(
        "count",
        args.count.or(is_span.then_some(MOST)).map(|count| count.to_string()),
    );
    path
}
