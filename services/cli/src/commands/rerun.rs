//! `borealis jobs rerun JOB --failed`: the same request again, for the devices on which it did not succeed.
//!
//! It is a request of its own, signed by whoever asks. Its command id follows from the job and the runs that failed, so that
//! asking twice makes one job, also when the first answer was lost.

use borealis_bus_schema::ids::{CommandId, Guid, JobId, RunId};
use borealis_bus_schema::messages::scheduler::{CreateJob, JobCreated, RunState, RunView, Targets};
use clap::Args;

use super::jobs::{PATH, Review, pages};
use super::reviewed::reviewed;
use super::run::tell;
use crate::api::{self, Api};
use crate::error::CliError;
use crate::print::Printer;

/// Says which runs of which job.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RerunArgs {
    /// Id of the job
    #[arg(value_name = "ID")]
    pub id: JobId,
    /// Where it failed, timed out, expired, was refused or interrupted; not where it was cancelled or is not over
    #[arg(long, required = true)]
    pub failed: bool,
    /// Also when exactly these runs were done again before
    #[arg(long)]
    pub again: bool,
    /// Signs what the server says the job asked for, without showing it and asking first
    #[arg(long)]
    pub yes: bool,
    /// Prints output as it comes and ends with the worst exit code
    #[arg(long)]
    pub follow: bool,
}

/// Does a job again on the devices where it failed.
pub async fn run(api: &Api, printer: &Printer, args: &RerunArgs) -> Result<u8, CliError> {
    if args.follow {
        api.be_patient(api::FOLLOWING);
    }
    let job = args.id;
    let runs: Vec<RunView> = pages(api, &format!("{PATH}/{job}/runs"), usize::MAX).await?;
    let failed: Vec<(RunId, Guid)> = failed(&runs);
    if failed.is_empty() {
        return Err(CliError::Usage(format!(
            "no run of job {job} failed; there is nothing to do again"
        )));
    }
    // It is signed in the name of whoever asks, who looks at it as at anything that is signed.
    let mut review = Review::read(api, job).await?;
    review
        .devices
        .retain(|device| failed.iter().any(|(_, guid)| *guid == device.guid));
    reviewed(printer, &review.asked(), args.yes)?;
    let asks = review.asks;
    let body = CreateJob {
        targets: Targets {
            guids: failed.iter().map(|(_, guid)| *guid).collect(),
            ..Targets::default()
        },
        ..asks
    };
    let created: JobCreated = if args.again {
        api.change(PATH, &body).await?
    } else {
        let runs: Vec<RunId> = failed.iter().map(|(run, _)| *run).collect();
        api.change_as(CommandId::of_rerun(&job, &runs), PATH, &body).await?
    };
    tell(api, printer, &created, args.follow, "does it again on", "devices").await
}

/// Picks the runs that did not succeed, sorted by their devices.
fn failed(runs: &[RunView]) -> Vec<(RunId, Guid)> {
    use RunState as S;
    let did = |state| {
        matches!(
            state,
            S::Failed | S::TimedOut | S::Expired | S::Refused | S::Interrupted
        )
    };
    let mut failed: Vec<_> = runs
        .iter()
        .filter(|run| did(run.state))
        .map(|run| (run.run, run.guid))
        .collect();
    failed.sort_unstable_by_key(|(_, guid)| *guid);
    failed
}
