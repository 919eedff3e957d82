//! `borealis approvals`.

use borealis_bus_schema::ids::{ApprovalId, SiteName, TagName};
use borealis_bus_schema::messages::enrollment::{ApprovalView, Approve, Deny, Resolution};
use borealis_bus_schema::messages::scheduler::Page;
use clap::Subcommand;
use serde::Serialize;

use crate::api::{self, Api};
use crate::args::values;
use crate::error::CliError;
use crate::print::{self, Printer};

/// Lists what can be done with enrolment requests.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// Lists requests, by default those that wait
    List {
        /// Only those in this state: pending, approved, denied, expired, completed, or all
        #[arg(long, value_name = "STATE", default_value = "pending")]
        state: String,
    },
    /// Approves requests
    Approve {
        /// Id of a request; may be repeated
        #[arg(value_name = "ID", required = true)]
        ids: Vec<ApprovalId>,
        /// Site to which the devices belong [default: that of their installer code]
        #[arg(long, value_name = "SITE", value_parser = values::site)]
        site: Option<SiteName>,
        /// What becomes of the device that is, or was, known for the same machine under another key: overwrite or merge
        /// (it goes on under the new key, its old one is worthless) or co-exist (the new key is another device)
        #[arg(long, value_name = "HOW")]
        conflict: Option<Resolution>,
        /// Tag that the devices get; may be repeated
        #[arg(long = "tag", value_name = "TAG", value_parser = values::tag)]
        tags: Vec<TagName>,
    },
    /// Denies requests
    Deny {
        /// Id of a request; may be repeated
        #[arg(value_name = "ID", required = true)]
        ids: Vec<ApprovalId>,
        /// Why, for the log and the machine's owner
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

const PATH: &str = "/api/v1/approvals";

/// Lists or decides.
pub async fn run(api: &Api, printer: &Printer, command: ApprovalsCommand) -> Result<(), CliError> {
    match command {
        ApprovalsCommand::List { state } => {
            let path = if state == "all" {
                PATH.to_owned()
            } else {
                format!("{PATH}?state={}", api::escape(&state))
            };
            let page: Page<ApprovalView> = api.get(&path).await?;
            let head = ["ID", "NAME", "SITE", "OS", "ADDRESS", "STATE", "WORDS", "NOTE"];
            printer.list(&page.items, "Nobody waits for approval.", &head, |approval| {
                vec![
                    approval.id.to_string(),
                    approval.hostname.clone(),
                    approval.site.to_string(),
                    format!("{} {}", approval.os, approval.arch),
                    approval.address.clone(),
                    approval.state.clone(),
                    approval.words.clone(),
                    approval.reason.clone().unwrap_or_default(),
                ]
            })
        }
        ApprovalsCommand::Approve {
            ids,
            site,
            conflict,
            tags,
        } => {
            let tags = tags.into_iter().collect();
            let how = Approve { site, conflict, tags };
            let approve = async |id: &ApprovalId| decide(api, printer, id, "approve", &how, "approved").await;
            super::each(printer, &ids, approve).await
        }
        ApprovalsCommand::Deny { ids, reason } => {
            let why = Deny { reason };
            let deny = async |id: &ApprovalId| decide(api, printer, id, "deny", &why, "denied").await;
            super::each(printer, &ids, deny).await
        }
    }
}

async fn decide<B: Serialize>(
    api: &Api,
    printer: &Printer,
    id: &ApprovalId,
    act: &str,
    body: &B,
    past: &str,
) -> Result<(), CliError> {
    let approval: ApprovalView = api.change(&format!("{PATH}/{id}/{act}"), body).await?;
    printer.value(&approval, || format!("{} is {past}.", print::plain(&approval.hostname)))
}
