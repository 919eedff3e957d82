//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::account::SessionsCommand;
use crate::commands::approvals::ApprovalsCommand;
use crate::commands::audit::AuditCommand;
use crate::commands::codes::CodesCommand;
use crate::commands::devices::DevicesCommand;
use crate::commands::factor::{RecoveryCodesCommand, TotpCommand};
use crate::commands::grants::GrantsCommand;
use crate::commands::jobs::JobsCommand;
use crate::commands::library::LibraryCommand;
use crate::commands::people::{RolesCommand, SitesCommand, UsersCommand};
use crate::commands::run::RunArgs;
use crate::commands::schedules::SchedulesCommand;
use crate::commands::token::TokenCommand;

pub mod targets;
pub mod values;

/// Runs a fleet of machines with Borealis from the command line.
#[derive(Debug, Parser)]
#[command(name = "borealis", version, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    /// Where and as whom.
    #[command(flatten)]
    pub server: ServerArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Names the server, the CA and the session.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArgs {
    /// Prints one JSON object, or JSON lines for lists and followed output
    #[arg(long, global = true)]
    pub json: bool,
    /// Address of the server [default: that of the stored session, else https://localhost:5000]
    #[arg(long, global = true, value_name = "URL", env = "BOREALIS_URL")]
    pub url: Option<String>,
    /// Token of a log-in, or @FILE
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "BOREALIS_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// File with the CA certificate, the only one that is trusted [default: that of the root]
    #[arg(long, global = true, value_name = "FILE", env = "BOREALIS_CA")]
    pub ca: Option<String>,
    /// Folder of the deployment; a log-in is stored under it
    #[arg(long, global = true, value_name = "DIR", env = "BOREALIS_ROOT")]
    pub root: Option<PathBuf>,
}

/// Lists the commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sets a password through the set-up link or an invitation, and logs in
    Setup {
        /// The link that the server printed or an administrator handed over, or @FILE
        #[arg(long, value_name = "URL", env = "BOREALIS_SETUP_LINK", hide_env_values = true)]
        link: String,
        /// The operator's name.
        #[command(flatten)]
        who: WhoArgs,
        /// The second factor of an operator whose password was reset.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Logs in; prints the token, and stores it when a root is given
    Login {
        /// The operator's name.
        #[command(flatten)]
        who: WhoArgs,
        /// The second factor.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Ends the session
    Logout,
    /// Tells who is logged in, with which rights
    Session,
    /// Lists and ends sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Changes your password: stdin holds the old one on its first line, the new one on its second
    Password {
        /// Reads both passwords from stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Proves your password once more, for dangerous acts of the next ten minutes; prints or stores the new token
    StepUp {
        /// Reads the password from the first line of stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Makes an authenticator app your second factor, or takes it away
    #[command(subcommand)]
    Totp(TotpCommand),
    /// Makes recovery codes for the day on which the authenticator app is lost
    #[command(subcommand)]
    RecoveryCodes(RecoveryCodesCommand),
    /// Makes, lists, revokes, narrows and shows API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Lists and revokes what may still act later in an operator's name: waiting jobs, schedules, approvals
    #[command(subcommand)]
    Grants(GrantsCommand),
    /// Lists, invites, disables and enables operators, and gives them roles
    #[command(subcommand)]
    Users(UsersCommand),
    /// Lists, makes and changes roles
    #[command(subcommand)]
    Roles(RolesCommand),
    /// Lists, makes and describes sites
    #[command(subcommand)]
    Sites(SitesCommand),
    /// Mints, lists and revokes installer codes
    #[command(subcommand)]
    Codes(CodesCommand),
    /// Lists and decides enrolment requests
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Lists and shows devices, quarantines, releases, revokes and decommissions them, replaces their keys
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Runs a command or a script on devices
    Run(RunArgs),
    /// Lists, shows, follows, reviews, approves and cancels jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Lists, shows, writes, publishes and archives assemblies: scripts that are kept to run again
    #[command(subcommand)]
    Library(LibraryCommand),
    /// Makes, lists, shows, pauses and archives schedules, and shows when they fire
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Lists, checks and exports who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Prints what a shell needs to complete these commands
    Completion {
        /// The shell: bash, zsh, fish, elvish or powershell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// Names an operator who types a password.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// Name of the operator
    #[arg(long, value_name = "NAME")]
    pub username: String,
    /// Reads the password from the first line of stdin
    #[arg(long, required = true)]
    pub password_stdin: bool,
}

/// Says where the code of the second factor comes from.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct FactorArgs {
    /// Code that the authenticator app shows, or @FILE
    #[arg(long, value_name = "CODE", env = "BOREALIS_TOTP", hide_env_values = true)]
    pub totp: Option<String>,
    /// Reads that code from stdin, from the line behind the passwords
    #[arg(long)]
    pub totp_stdin: bool,
    /// A recovery code, or @FILE; it is used up
    #[arg(long, value_name = "CODE", env = "BOREALIS_RECOVERY_CODE", hide_env_values = true)]
    pub recovery_code: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_lines_of_the_contract_are_understood() {
        for line in [
            "setup --link https://h/setup#s --username ada --password-stdin",
            "login --username ada --password-stdin --json",
            "login --username ada --password-stdin --totp-stdin",
            "login --username ada --password-stdin --totp @code",
            "login --username ada --password-stdin --recovery-code @code",
            "step-up --password-stdin --json",
            "step-up --password-stdin --totp-stdin",
            "totp enrol --password-stdin --json",
            "totp enrol --password-stdin --totp-stdin",
            "totp confirm --totp @code",
            "totp confirm --totp-stdin",
            "totp remove",
            "recovery-codes create --password-stdin --totp-stdin",
            "users reset-factor bob",
            "logout",
            "schedules preview --cron 0_9_*_*_5 --zone Europe/Stockholm --from 2027-01-01T00:00:00Z --count 20 --json",
            "schedules preview --cron @daily --last-month",
            "schedules create --name nightly --cron @daily --zone Europe/Stockholm --device web-1 --misfire skip --json -- uptime",
            "schedules create --name all --kind every_hour --all --concurrency queue --jitter 5m --late-limit 10m --file x.sh",
            "schedules create --name y --kind daily --all --misfire all --misfire-most 5 --timeout 5m --expires-in 1h -- uptime",
            "schedules list --json",
            "schedules show 0123456789abcdef0123456789abcdef",
            "schedules pause 0123456789abcdef0123456789abcdef",
            "schedules resume 0123456789abcdef0123456789abcdef",
            "schedules run-now 0123456789abcdef0123456789abcdef --follow",
            "schedules skip-next 0123456789abcdef0123456789abcdef",
            "schedules history 0123456789abcdef0123456789abcdef --limit 5 --json",
            "schedules delete 0123456789abcdef0123456789abcdef",
            "schedules archive 0123456789abcdef0123456789abcdef",
            "schedules preview --kind daily --start 2027-01-01T00:00:00Z --end 2028-01-01T00:00:00Z --until 2027-02-01T00:00:00Z",
            "session --json",
            "sessions list --json",
            "sessions end 0123456789abcdef0123456789abcdef",
            "password --password-stdin",
            "token create --name backup --right jobs.run --right jobs.read --site berlin --expires 90d",
            "token list --json",
            "token revoke 0123456789abcdef0123456789abcdef",
            "token attenuate --right jobs.read --device abababab-abab-4bab-abab-abababababab --expires 1h",
            "token inspect",
            "users list",
            "users invite --username bob --role technician --role approver --json",
            "users roles bob --role viewer",
            "users disable bob --reason left --for-good",
            "users enable bob",
            "users reset bob",
            "roles list --json",
            "roles create night --right jobs.run@berlin --right jobs.read",
            "roles update night --right jobs.read",
            "sites list",
            "sites create berlin --description office",
            "sites describe berlin office",
            "codes create --site default --uses 2 --lifetime 24h --auto-approve --json",
            "codes list",
            "codes revoke 0123456789abcdef0123456789abcdef",
            "approvals list --json",
            "approvals approve 0123456789abcdef0123456789abcdef",
            "approvals approve 0123456789abcdef0123456789abcdef 1123456789abcdef0123456789abcdef --site lyon",
            "approvals approve 0123456789abcdef0123456789abcdef --conflict overwrite",
            "approvals approve 0123456789abcdef0123456789abcdef --conflict co-exist",
            "approvals approve 0123456789abcdef0123456789abcdef --conflict merge",
            "approvals approve 0123456789abcdef0123456789abcdef --tag web --tag prod",
            "approvals deny 0123456789abcdef0123456789abcdef --reason no",
            "devices list --json",
            "devices show somewhere",
            "devices list --tag web",
            "devices tag a b --add web --add prod --remove test",
            "devices tag a --remove test",
            "devices quarantine a b --reason odd --json",
            "devices release a b",
            "devices release --quarantined-since 10m --by-server --reason checked",
            "devices release --quarantined-since 2026-11-22T10:00:00Z",
            "devices revoke a --reason stolen",
            "devices rotate-key a --reason hygiene",
            "devices decommission a",
            "run --device a --device b --lang bash --context currentuser --timeout 10m --follow -- uname -a",
            "run --all --file x.sh --json",
            "run --all --assembly cleanup@3 --var a=b --var c=d=e --follow",
            "library list --category disk --lang sh --tag t --site berlin --state all --json",
            "library search df berlin",
            "library show cleanup@3 --script",
            "library create cleanup --file x.sh --variable a!:number=3 --variable b:choice(x|y) --tag t --site berlin --publish",
            "library edit cleanup --rename other --timeout 10m --all-sites --attach x --note why",
            "library publish cleanup@2",
            "library archive cleanup",
            "library archive cleanup --restore",
            "library diff cleanup --from 1 --to 2",
            "library import a.json b.sh --publish --note n",
            "library export cleanup --output x.json",
            "library export cleanup@1 --script",
            "library sync scripts --source git --apply --publish --note commit",
            "completion bash",
            "audit list --object device/x --actor ada --from 24h --to 2026-11-22T10:00:00Z --outcome refused --json",
            "audit verify --service signing",
            "audit export --format syslog --to tls://h:6514 --to-ca ca.pem",
            "audit follow --format jsonl --to-file audit.jsonl --cursor-file audit.cursor",
            "jobs list",
            "jobs show 0123456789abcdef0123456789abcdef",
            "jobs cancel 0123456789abcdef0123456789abcdef",
        ] {
            let words = std::iter::once("borealis").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "approvals approve",
            "approvals approve 0123456789abcdef0123456789abcdef --conflict rename",
            "devices tag a",
            "devices revoke",
            "devices release",
            "devices release a --quarantined-since 10m",
            "devices release a --by-server",
            "devices decommission --reason x",
            "run -- uname",
            "run --all",
            "run --all --device a -- uname",
            "run --all --file x -- uname",
            "run --all --lang cobol -- uname",
            "run --all --assembly x -- uname",
            "run --all --assembly x --file y",
            "run --all --assembly x --lang sh",
            "run --all --var a=b -- uname",
            "run --all --assembly x --var a",
            "library create",
            "library import",
            "library sync",
            "library create x --file y --variable a:date",
            "library edit x --site berlin --all-sites",
            "run --all --timeout 0 -- uname",
            "login --username ada",
            "login --username ada --password-stdin --totp-stdin --totp 123456",
            "step-up",
            "totp enrol",
            "totp confirm",
            "recovery-codes create",
            "token create --name backup --right jobs.run",
            "token create --name backup --expires 1d",
            "token attenuate",
            "users invite --username bob",
            "users invite --role viewer",
            "roles create night --right jobs.fly",
            "roles create night --right jobs.run@Berlin",
            "roles update night",
            "jobs show x",
            "audit list --from yesterday",
            "audit verify --service gateway",
            "audit export --to tcp://h:1 --to-file x",
            "audit follow --to-ca x",
        ] {
            let words = std::iter::once("borealis").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
