//! `borealis jobs`.

use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::messages::scheduler::{JobView, Page, RunView};
use serde::Serialize;

use crate::api::{self, Api};
use crate::args::JobsCommand;
use crate::error::CliError;
use crate::exit;
use crate::follow;
use crate::print::{self, Printer};

const PATH: &str = "/api/v1/jobs";

/// Is what `jobs show` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    job: JobView,
    runs: Vec<RunView>,
}

/// Lists, shows, follows or cancels.
pub async fn run(api: &Api, printer: &Printer, command: JobsCommand) -> Result<u8, CliError> {
    match command {
        JobsCommand::List { limit } => list(api, printer, limit).await?,
        JobsCommand::Show { id } => show(api, printer, id).await?,
        JobsCommand::Follow { id } => {
            let job: JobView = api.get(&format!("{PATH}/{id}")).await?;
            return follow::job(api, printer, id, job.runs_total).await;
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
            job.state.clone(),
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
    let state = if job.cancelled {
        format!("{}, cancelled", job.state)
    } else {
        job.state.clone()
    };
    printer.line(&print::sheet(&[
        ("job", job.job.to_string()),
        ("made", format!("{} by {}", job.created_at, job.created_by)),
        ("what", format!("{}.{} as {}", job.role, job.verb, job.context)),
        ("timeout", print::duration(job.timeout_ms)),
        ("expires", job.expires_at.to_string()),
        ("state", state),
        ("runs", print::counts(&job.counts)),
    ]))?;
    printer.line("")?;
    let head = ["RUN", "NAME", "STATE", "EXIT", "TOOK", "REASON"];
    printer.list(&shown.runs, "No runs.", &head, |run| {
        vec![
            run.run.to_string(),
            run.hostname.clone(),
            run.state.as_str().replace('_', " "),
            run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            run.duration_ms.map_or_else(|| "-".to_owned(), print::duration),
            run.reason.clone().unwrap_or_default(),
        ]
    })
}

/// Reads pages until there are enough items or no more.
async fn pages<T: serde::de::DeserializeOwned>(api: &Api, path: &str, enough: usize) -> Result<Vec<T>, CliError> {
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
