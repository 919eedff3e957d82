//! `borealis codes`.
//!
//! A code's secret is drawn here and printed once; the server is told its public key.

use borealis_bus_schema::ids::{CodeId, SiteName};
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::enrollment::{CodeView, CreateCode};
use borealis_bus_schema::messages::scheduler::Page;
use clap::Subcommand;
use rand::RngCore;
use serde::Serialize;

use crate::api::Api;
use crate::args::values;
use crate::error::CliError;
use crate::print::Printer;

/// Lists what can be done with installer codes.
#[derive(Debug, Subcommand)]
pub enum CodesCommand {
    /// Mints a code and prints it: it is shown once
    Create {
        /// Site to which its devices belong
        #[arg(long, value_name = "SITE", default_value = "default", value_parser = values::site)]
        site: SiteName,
        /// How many devices may use it
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it lives: 30m, 24h, 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = values::duration_ms)]
        lifetime: u64,
        /// Enrols its devices without asking anyone, while you may approve them yourself
        #[arg(long)]
        auto_approve: bool,
        /// Prints the lines for a device's shell instead: they enrol it and run its agent
        #[arg(long)]
        show_install: bool,
    },
    /// Lists codes, masked
    List,
    /// Revokes a code
    Revoke {
        /// Id of the code
        #[arg(value_name = "ID")]
        id: CodeId,
    },
}

const PATH: &str = "/api/v1/codes";

/// Is a code as it was minted, with what only this program knows.
#[derive(Serialize)]
struct Minted {
    #[serde(flatten)]
    minted: CodeView,
    code: String,
    /// What a device's shell is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    install: Option<Vec<String>>,
}

/// Checks that the CA which this program trusts, and which the code names, is the one that devices will see.
///
/// Errors: [`CliError::Answer`]; the code that was minted is of no use then.
fn check(minted: &CodeView, code: &InstallerCode) -> Result<(), CliError> {
    let ours: String = code.ca_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    if minted.ca_sha256.as_deref() == Some(ours.as_str()) {
        return Ok(());
    }
    let told = format!(
        "it names another CA than --ca does, so no code is shown; revoke {} and use the deployment's own CA certificate",
        minted.id
    );
    Err(CliError::Answer(told))
}

/// Returns the lines that enrol a device and run its agent; nothing in them is anything but text to a shell.
///
/// The code goes through the environment, where other users cannot read it, and the space before it keeps it out of the
/// shell's history. Source: POSIX.1-2017, Shell Command Language 2.2.2.
fn install_lines(url: &str, code: &str) -> Vec<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    vec![
        format!(" export BOREALIS_INSTALLER_CODE={}", quoted(code)),
        format!("borealis-agent run --server-url {} --root /opt/borealis", quoted(url)),
    ]
}

/// Mints, lists or revokes.
pub async fn run(api: &Api, printer: &Printer, command: CodesCommand) -> Result<(), CliError> {
    match command {
        CodesCommand::Create {
            site,
            uses,
            lifetime,
            auto_approve,
            show_install,
        } => {
            let mut secret = [0; 16];
            rand::rngs::OsRng.fill_bytes(&mut secret);
            let code = InstallerCode::new(secret, *api.ca_sha256());
            let body = CreateCode {
                public_key: code.public_key(),
                hint: code.hint(),
                site,
                uses,
                lifetime_ms: lifetime,
                auto_approve,
            };
            let minted: CodeView = api.change(PATH, &body).await?;
            check(&minted, &code)?;
            let code = code.reveal();
            let shown = Minted {
                minted: CodeView {
                    ca_sha256: None,
                    ..minted
                },
                install: show_install.then(|| install_lines(api.url(), &code)),
                code,
            };
            let text = || match &shown.install {
                Some(lines) => lines.join("\n"),
                None => shown.code.clone(),
            };
            printer.value(&shown, text)
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

#[cfg(test)]
mod tests {
    use super::install_lines;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn a_shell_takes_the_lines_as_text_whatever_stands_in_them() {
        let url = "https://a'$(echo b)`echo c`;\"&|\\ d:5000";
        let lines = install_lines(url, "BRL1-A'B$HOME");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("borealis-agent");
        std::fs::write(
            &program,
            "#!/bin/sh\nprintf '%s\\n' \"$BOREALIS_INSTALLER_CODE\" \"$@\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut shell = Command::new("sh");
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let out = shell
            .arg("-c")
            .arg(lines.join("\n"))
            .env("PATH", path)
            .output()
            .unwrap();
        let wanted = format!("BRL1-A'B$HOME\nrun\n--server-url\n{url}\n--root\n/opt/borealis\n");
        assert_eq!(String::from_utf8(out.stdout).unwrap(), wanted);
        assert!(lines[0].starts_with(' '), "a shell's history leaves it out");
    }
}
