//! `borealis schedules`.

use borealis_bus_schema::messages::scheduler::SchedulePreview;

use crate::api::{Api, escape};
use crate::args::PreviewArgs;
use crate::error::CliError;
use crate::print::{Printer, plain};

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
