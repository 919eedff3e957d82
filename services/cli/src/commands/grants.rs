//! `borealis grants`: what may still act later in an operator's name.

use borealis_bus_schema::ids::GrantId;
use borealis_bus_schema::messages::access::{GrantFor, GrantView};
use clap::Subcommand;

use super::{each, jobs};
use crate::api::Api;
use crate::error::CliError;
use crate::print::Printer;

/// Lists what can be done with grants.
#[derive(Debug, Subcommand)]
pub enum GrantsCommand {
    /// Lists the grants that live, what ends last first: yours; everybody's with the right users.read
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Revokes grants: within five seconds nothing is signed under them any more; what runs goes on to its end
    Revoke {
        /// Id of a grant; may be repeated
        #[arg(value_name = "ID", required = true)]
        ids: Vec<GrantId>,
    },
}

const PATH: &str = "/api/v1/grants";

/// Lists or revokes.
pub async fn run(api: &Api, printer: &Printer, command: GrantsCommand) -> Result<(), CliError> {
    match command {
        GrantsCommand::List { limit } => {
            let mut all: Vec<GrantView> = jobs::pages(api, PATH, limit).await?;
            all.truncate(limit);
            let head = ["ID", "OF", "FOR", "WHICH", "ENDS"];
            printer.list(&all, "No grants.", &head, |grant| {
                let job = grant.job.map(|job| job.to_string());
                let which = job.or_else(|| grant.schedule.map(|schedule| schedule.to_string()));
                vec![
                    grant.id.to_string(),
                    grant.username.clone(),
                    word(grant).to_owned(),
                    which.unwrap_or_else(|| "-".to_owned()),
                    grant.expires_at.to_string(),
                ]
            })
        }
        GrantsCommand::Revoke { ids } => {
            each(printer, &ids, async |id| {
                let path = format!("{PATH}/{id}/revoke");
                let grant: GrantView = api.change(&path, &serde_json::json!({})).await?;
                printer.value(&grant, || format!("The grant {id} of {} is revoked.", grant.username))
            })
            .await
        }
    }
}

const fn word(grant: &GrantView) -> &'static str {
    match grant.acts {
        Some(GrantFor::Job) => "job",
        Some(GrantFor::Schedule) => "schedule",
        Some(GrantFor::Approval) => "approval",
        None => "-",
    }
}
