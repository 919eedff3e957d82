//! `borealis codes`.

use borealis_bus_schema::messages::enrollment::{CodeView, CreateCode};
use borealis_bus_schema::messages::scheduler::Page;

use crate::api::Api;
use crate::args::CodesCommand;
use crate::error::CliError;
use crate::print::Printer;

const PATH: &str = "/api/v1/codes";

/// Mints, lists or revokes.
pub async fn run(api: &Api, printer: &Printer, command: CodesCommand) -> Result<(), CliError> {
    match command {
        CodesCommand::Create {
            site,
            uses,
            lifetime,
            auto_approve,
        } => {
            let body = CreateCode {
                site,
                uses,
                lifetime_ms: lifetime,
                auto_approve,
            };
            let code: CodeView = api.change(PATH, &body).await?;
            printer.value(&code, || code.code.clone().unwrap_or_default())
        }
        CodesCommand::List => {
            let page: Page<CodeView> = api.get(PATH).await?;
            let head = ["ID", "CODE", "SITE", "LEFT", "STATE", "EXPIRES", "BY"];
            printer.list(&page.items, "No installer codes.", &head, |code| {
                vec![
                    code.id.to_string(),
                    code.masked.clone(),
                    code.site.to_string(),
                    format!("{} of {}", code.uses_left, code.uses),
                    code.state.clone(),
                    code.expires_at.to_string(),
                    code.created_by.clone(),
                ]
            })
        }
        CodesCommand::Revoke { id } => {
            let path = format!("{PATH}/{id}/revoke");
            let code: CodeView = api.change(&path, &serde_json::json!({})).await?;
            printer.value(&code, || format!("The installer code {id} is revoked."))
        }
    }
}
