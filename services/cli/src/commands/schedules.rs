//! `borealis schedules`.

use borealis_bus_schema::messages::scheduler::SchedulePreview;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Subcommand};

use crate::api::{Api, escape};
use crate::args::values;
use crate::error::CliError;
use crate::print::{Printer, plain};

/// Lists what can be done with schedules.
#[derive(Debug, Subcommand)]
pub enum SchedulesCommand {
    /// Shows when a schedule would fire, or would have: one line each, with a note where a clock change matters
    Preview(Box<PreviewArgs>),
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

/// Shows when a schedule fires.
pub async fn preview(api: &Api, printer: &Printer, args: &PreviewArgs) -> Result<(), CliError> {
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
