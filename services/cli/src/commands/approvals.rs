//! `borealis approvals`.

use borealis_bus_schema::messages::enrollment::{ApprovalView, Deny};
use borealis_bus_schema::messages::scheduler::Page;

use crate::api::{self, Api};
use crate::args::ApprovalsCommand;
use crate::error::CliError;
use crate::print::{self, Printer};

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
            let head = ["ID", "NAME", "SITE", "OS", "ADDRESS", "STATE", "WORDS"];
            printer.list(&page.items, "Nobody waits for approval.", &head, |approval| {
                vec![
                    approval.id.to_string(),
                    approval.hostname.clone(),
                    approval.site.to_string(),
                    format!("{} {}", approval.os, approval.arch),
                    approval.address.clone(),
                    approval.state.clone(),
                    approval.words.clone(),
                ]
            })
        }
        ApprovalsCommand::Approve { id } => {
            let path = format!("{PATH}/{id}/approve");
            let approval: ApprovalView = api.change(&path, &serde_json::json!({})).await?;
            printer.value(&approval, || {
                format!("{} is approved.", print::plain(&approval.hostname))
            })
        }
        ApprovalsCommand::Deny { id, reason } => {
            let path = format!("{PATH}/{id}/deny");
            let approval: ApprovalView = api.change(&path, &Deny { reason }).await?;
            printer.value(&approval, || format!("{} is denied.", print::plain(&approval.hostname)))
        }
    }
}
