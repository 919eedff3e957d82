//! The command line.

use std::path::PathBuf;

use borealis_bus_schema::ids::{ApprovalId, CodeId, Guid, JobId, OperatorRoleName, SessionId, SiteName};
use borealis_bus_schema::messages::access::RightOnSites;
use borealis_bus_schema::messages::enrollment::Resolution;
use borealis_bus_schema::order::{Context, Digest, Language};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::audit::Format;
use crate::clock;

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
    /// Lists, shows, follows and cancels jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Shows when schedules fire
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

/// Lists what can be done with an authenticator app.
#[derive(Debug, Subcommand)]
pub enum TotpCommand {
    /// Makes the secret for an app and shows it as a QR code: confirm a code of it within 15 minutes
    Enrol {
        /// Reads the password from the first line of stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor that there is, if any.
        #[command(flatten)]
        factor: FactorArgs,
    },
    /// Makes the app your second factor, by a code that it shows
    Confirm {
        /// Code that the authenticator app shows, or @FILE
        #[arg(
            long,
            value_name = "CODE",
            env = "BOREALIS_TOTP",
            hide_env_values = true,
            required_unless_present = "totp_stdin"
        )]
        totp: Option<String>,
        /// Reads that code from the first line of stdin
        #[arg(long, conflicts_with = "totp")]
        totp_stdin: bool,
    },
    /// Takes your second factor away, and its recovery codes
    Remove,
}

/// Lists what can be done with recovery codes.
#[derive(Debug, Subcommand)]
pub enum RecoveryCodesCommand {
    /// Makes ten codes in place of earlier ones and prints them: they are shown once, and each serves once
    Create {
        /// Reads the password from the first line of stdin
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The second factor.
        #[command(flatten)]
        factor: FactorArgs,
    },
}

/// Lists what can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Lists your sessions; everybody's with the right users.read
    List,
    /// Ends a session: your own, or another's with the right users.manage
    End {
        /// Id of the session
        #[arg(value_name = "ID")]
        id: SessionId,
    },
}

/// Lists what can be done with API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes an API token and prints it: it is shown once
    Create {
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// A right that it holds; may be repeated
        #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = right)]
        rights: Vec<Right>,
        /// Site that its rights reach; may be repeated [default: those that yours reach]
        #[arg(long = "site", value_name = "SITE", value_parser = site)]
        sites: Vec<SiteName>,
        /// GUID of a device that it is for; may be repeated [default: all of its sites]
        #[arg(long = "device", value_name = "GUID")]
        devices: Vec<Guid>,
        /// How long it lives, at most a year: 12h, 90d
        #[arg(long, value_name = "TIME", value_parser = duration_ms)]
        expires: u64,
    },
    /// Lists your API tokens; everybody's with the right users.read
    List,
    /// Revokes an API token: your own, or another's with the right users.manage
    Revoke {
        /// Id of the token
        #[arg(value_name = "ID")]
        id: SessionId,
    },
    /// Prints a narrower copy of the token in BOREALIS_TOKEN, or of --token @FILE, without asking the server
    Attenuate(NarrowArgs),
    /// Shows what the token in BOREALIS_TOKEN, or in --token @FILE, says, without asking the server
    Inspect,
}

/// Says what stays of a token; at least one thing has to be named.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
pub struct NarrowArgs {
    /// A right that stays; may be repeated
    #[arg(long = "right", value_name = "RIGHT", value_parser = right)]
    pub rights: Vec<Right>,
    /// A site that stays; may be repeated
    #[arg(long = "site", value_name = "SITE", value_parser = site)]
    pub sites: Vec<SiteName>,
    /// GUID of a device that stays; may be repeated
    #[arg(long = "device", value_name = "GUID")]
    pub devices: Vec<Guid>,
    /// When it ends, counted from now: 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration_ms)]
    pub expires: Option<u64>,
}

/// Lists what can be done with operators.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Lists operators
    List,
    /// Invites an operator and prints the link: it is shown once, works once and for 24 hours
    Invite {
        /// Name of the new operator
        #[arg(long, value_name = "NAME")]
        username: String,
        /// Role of the new operator; may be repeated
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<OperatorRoleName>,
    },
    /// Gives an operator other roles, in place of those that there were
    Roles {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
        /// A role; may be repeated
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<OperatorRoleName>,
    },
    /// Disables an operator: sessions, waiting jobs and tokens are over within seconds
    Disable {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Deletes the operator; the name is free again
        #[arg(long)]
        for_good: bool,
    },
    /// Enables a disabled operator
    Enable {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Takes the second factor away from an operator who lost it, and the recovery codes
    ResetFactor {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Takes the password away, ends the sessions, and prints a link for another password
    Reset {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
}

/// Lists what can be done with roles.
#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// Lists roles with their rights
    List,
    /// Makes a role
    Create {
        /// Its name
        #[arg(value_name = "NAME")]
        name: OperatorRoleName,
        /// What it may do and where: RIGHT for every site, RIGHT@SITE for one; may be repeated
        #[arg(long = "right", value_name = "RIGHT[@SITE]", required = true, value_parser = right_on_site)]
        rights: Vec<RightOnSites>,
        /// On how many devices a job may be without another operator's approval; without it there is no limit
        #[arg(long, value_name = "N")]
        max_devices: Option<Limit>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Changes a role; rights given here take the place of those that there were
    #[command(visible_alias = "edit")]
    Update {
        /// Its name
        #[arg(value_name = "NAME")]
        name: OperatorRoleName,
        /// What it may do and where: RIGHT for every site, RIGHT@SITE for one; may be repeated
        #[arg(long = "right", value_name = "RIGHT[@SITE]", value_parser = right_on_site)]
        rights: Vec<RightOnSites>,
        /// On how many devices a job may be without another operator's approval; `none` ends the limit
        #[arg(long, value_name = "N")]
        max_devices: Option<Limit>,
        /// What it is for
        #[arg(long, value_name = "TEXT", required_unless_present_any = ["rights", "max_devices"])]
        description: Option<String>,
    },
}

/// Is a limit as it is typed: a number, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<u64>);

impl std::str::FromStr for Limit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            number => match number.parse() {
                Ok(number) => Ok(Self(Some(number))),
                Err(_) => Err("a limit is a number of devices, or none".to_owned()),
            },
        }
    }
}

/// Lists what can be done with sites.
#[derive(Debug, Subcommand)]
pub enum SitesCommand {
    /// Lists the sites that your rights reach
    List,
    /// Makes a site
    Create {
        /// Its name
        #[arg(value_name = "NAME", value_parser = site)]
        name: SiteName,
        /// What it is
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Describes a site
    Describe {
        /// Its name
        #[arg(value_name = "NAME", value_parser = site)]
        name: SiteName,
        /// What it is
        #[arg(value_name = "TEXT")]
        description: String,
    },
}

/// Lists what can be done with installer codes.
#[derive(Debug, Subcommand)]
pub enum CodesCommand {
    /// Mints a code and prints it: it is shown once
    Create {
        /// Site to which its devices belong
        #[arg(long, value_name = "SITE", default_value = "default", value_parser = site)]
        site: SiteName,
        /// How many devices may use it
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it lives: 30m, 24h, 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration_ms)]
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
        #[arg(long, value_name = "SITE", value_parser = site)]
        site: Option<SiteName>,
        /// What becomes of the device that is, or was, known for the same machine under another key: overwrite or merge
        /// (it goes on under the new key, its old one is worthless) or co-exist (the new key is another device)
        #[arg(long, value_name = "HOW")]
        conflict: Option<Resolution>,
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

/// Lists what can be done with devices.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Lists devices
    List {
        /// Only those whose name or address has this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Shows a device with its facts
    Show {
        /// GUID or name
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Quarantines devices: they may report and get no orders; what waits for them waits on
    Quarantine(StatusArgs),
    /// Releases devices from quarantine: what waits for them goes out
    Release(ReleaseArgs),
    /// Revokes devices: they are cut off until an operator approves a new enrolment of them
    Revoke(StatusArgs),
    /// Has devices draw new identity keys, soon when they are on the bus; their old ones are worthless then
    RotateKey(StatusArgs),
    /// Decommissions devices for good: their keys never make a device again
    Decommission(StatusArgs),
}

/// Says which devices, and why.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// GUID or name; may be repeated
    #[arg(value_name = "DEVICE", required = true)]
    pub devices: Vec<String>,
    /// Why, for the log and whoever looks at the device
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Says which devices are released, and why.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// GUID or name; may be repeated
    #[arg(
        value_name = "DEVICE",
        required_unless_present = "quarantined_since",
        conflicts_with = "quarantined_since"
    )]
    pub devices: Vec<String>,
    /// All that were quarantined at this instant or later: 2026-11-22T10:00:00Z, or a time ago: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub quarantined_since: Option<Timestamp>,
    /// Of these only those that the server quarantined by itself
    #[arg(long, requires = "quarantined_since", conflicts_with = "devices")]
    pub by_server: bool,
    /// Why, for the log and whoever looks at the device
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Says what to run where.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RunArgs {
    /// GUID or name of a device; may be repeated
    #[arg(long, value_name = "DEVICE", required_unless_present = "all", conflicts_with = "all")]
    pub device: Vec<String>,
    /// All devices
    #[arg(long)]
    pub all: bool,
    /// Language: sh, bash, python or powershell [default: by the file's name, else sh]
    #[arg(long, value_name = "LANG", value_parser = language)]
    pub lang: Option<Language>,
    /// Rights it runs with: SYSTEM or CURRENTUSER
    #[arg(long, value_name = "CONTEXT", default_value = "SYSTEM", value_parser = context)]
    pub context: Context,
    /// When its process tree is ended: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration_ms)]
    pub timeout: u64,
    /// When a run whose device did not come ends: 1h, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration_ms)]
    pub expires_in: u64,
    /// Prints output as it comes and ends with the worst exit code
    #[arg(long)]
    pub follow: bool,
    /// File with the script; - is stdin
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "command",
        required_unless_present = "command"
    )]
    pub file: Option<PathBuf>,
    /// One word is the script's text; several are a command with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Lists what can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Lists jobs, newest first
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Shows a job with its runs
    Show {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Prints a job's output as it comes and ends with the worst exit code
    Follow {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Shows what a job asks for that waits for another operator's approval, with its devices
    Review {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Approves another operator's job that is on more devices than its author's limit
    ///
    /// What is signed is computed from the request and the devices as they are shown by `jobs review`. It takes a proof of the
    /// password of the last ten minutes (`borealis step-up`), and the right to run jobs on all of its devices.
    Approve {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
        /// What `jobs review` printed as `review`: nothing else is approved
        #[arg(long, value_name = "DIGEST")]
        review: Option<Digest>,
    },
    /// Cancels a job: what waits will not start, what runs is ended
    Cancel {
        /// Id of the job
        #[arg(value_name = "ID")]
        id: JobId,
    },
}

fn right(text: &str) -> Result<Right, String> {
    text.parse()
}
fn right_on_site(text: &str) -> Result<RightOnSites, String> {
    let (right, at) = text.split_once('@').unwrap_or((text, "*"));
    right.parse::<Right>()?;
    if at != "*" {
        site(at)?;
    }
    Ok(RightOnSites {
        right: right.to_owned(),
        sites: vec![at.to_owned()],
        max_devices: None,
    })
}
/// Lists what can be done with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists records, newest first
    List {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
        /// Before this instant, or a time ago
        #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = instant)]
        to: Option<Timestamp>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Checks each store's hash chain, and that the newest head that was countersigned stands in it
    Verify {
        /// Only this service's store
        #[arg(long, value_name = "SERVICE", value_parser = service)]
        service: Option<Service>,
    },
    /// Writes every record to stdout, a file or an address, oldest first, and ends
    Export {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
        /// Before this instant, or a time ago
        #[arg(long, value_name = "TIME", value_parser = instant)]
        until: Option<Timestamp>,
        /// Where to.
        #[command(flatten)]
        target: AuditTargetArgs,
    },
    /// Writes records as they come, from now on or from --from, until it is stopped
    Follow {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
        /// Where to.
        #[command(flatten)]
        target: AuditTargetArgs,
    },
}

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
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub start: Option<Timestamp>,
    /// What the schedule does not fire at or after
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub end: Option<Timestamp>,
    /// Shows firings from this instant on: 2026-11-22T10:00:00Z, or a time ago: 24h, 7d; now unless told
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// Shows firings before this instant, or a time ago
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
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
    /// once, every_5_minutes, every_hour, daily, weekly, monthly, yearly, or every_<n>_minutes|hours|days|weeks|months|years
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
}

/// Says which records of the audit are wanted.
#[derive(Debug, Clone, Default, Args)]
pub struct AuditFilterArgs {
    /// From this instant on: 2026-11-22T10:00:00Z, or a time ago: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// About this: device/GUID, job/ID, code/ID, approval/ID, …, or the id alone
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// By this one: an operator's name or id, a device's GUID, a service, or operator, device, service, anonymous
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// With this outcome: accepted, refused, or an error's code
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Of this kind: users-invite, or users for every act of that name
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
}

/// Says where records of the audit go.
#[derive(Debug, Clone, Args)]
pub struct AuditTargetArgs {
    /// Form of the records
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// Appends to this file instead of stdout
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub to_file: Option<PathBuf>,
    /// Sends to tcp://HOST:PORT or tls://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    /// CA of the receiver's certificate, for tls://
    #[arg(long, value_name = "FILE", requires = "to")]
    pub to_ca: Option<PathBuf>,
    /// Keeps the place that was reached in this file, and goes on there at the next start
    #[arg(long, value_name = "FILE")]
    pub cursor_file: Option<PathBuf>,
}

fn service(text: &str) -> Result<Service, String> {
    let stores = || Service::ALL.into_iter().filter(|service| service.has_store());
    stores().find(|service| service.name() == text).ok_or_else(|| {
        let names: Vec<&str> = stores().map(Service::name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// Reads an instant, or a time ago.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let bad = || format!("{text:?} is no instant (2026-11-22T10:00:00Z) and no time ago (24h)");
    let ago = duration_ms(text).map_err(|_| bad())?;
    Ok(clock::now().plus_ms(-i64::try_from(ago).map_err(|_| bad())?))
}

fn site(text: &str) -> Result<SiteName, String> {
    SiteName::new(text).map_err(|e| e.to_string())
}
fn language(text: &str) -> Result<Language, String> {
    text.to_lowercase().parse()
}
fn context(text: &str) -> Result<Context, String> {
    text.to_uppercase()
        .parse()
        .map_err(|_| "SYSTEM or CURRENTUSER".to_owned())
}

/// Reads a time such as `500ms`, `30s`, `10m`, `24h` or `7d`; a bare number counts seconds.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no time: 500ms, 30s, 10m, 24h or 7d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).filter(|ms| *ms > 0).ok_or_else(bad)
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
            "approvals deny 0123456789abcdef0123456789abcdef --reason no",
            "devices list --json",
            "devices show somewhere",
            "devices quarantine a b --reason odd --json",
            "devices release a b",
            "devices release --quarantined-since 10m --by-server --reason checked",
            "devices release --quarantined-since 2026-11-22T10:00:00Z",
            "devices revoke a --reason stolen",
            "devices rotate-key a --reason hygiene",
            "devices decommission a",
            "run --device a --device b --lang bash --context currentuser --timeout 10m --follow -- uname -a",
            "run --all --file x.sh --json",
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

    #[test]
    fn times_have_units() {
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_ms("30"), Ok(30_000));
        assert_eq!(duration_ms("7d"), Ok(604_800_000));
        for bad in ["", "s", "1y", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
