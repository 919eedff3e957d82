//! The command line of `borealis-server`.

use std::{ffi::OsString, path::PathBuf};

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::{PlaceArgs, ServiceArgs};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Serves a fleet of machines: bus, services and web page.
#[derive(Debug, Parser)]
#[command(name = "borealis-server", version, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line, and refuses options that what is asked for does not know.
    ///
    /// Errors: clap's own, with what to tell whoever asked.
    pub fn read<I, T>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(args)?;
        match &cli.command {
            Command::Recovery(asked) if asked.stolen && asked.act != RecoveryAct::RotateBiscuitRoot => {
                let told = "--stolen is known to rotate-biscuit-root alone";
                Err(Self::command().error(ErrorKind::ArgumentConflict, told))
            }
            _ => Ok(cli),
        }
    }
}

/// Lists the sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes keys, certificates and the bus's config where there are none
    Init(ServiceArgs),
    /// Makes certificates anew that end soon, also while the server runs; `up` does this by itself
    Renew(ServiceArgs),
    /// Starts the bus and every service, and starts again whatever ends
    Up(ServiceArgs),
    /// Like up; then enrols this machine and runs a first script on it
    Quickstart(QuickstartArgs),
    /// Starts the bus alone
    Nats(ServiceArgs),
    /// Starts the service of operators, sessions and tokens alone
    Access(ServiceArgs),
    /// Starts the service that admits devices alone
    Enrollment(ServiceArgs),
    /// Starts the service that signs what devices run alone
    Signing(ServiceArgs),
    /// Starts the service of jobs and runs alone
    Scheduler(ServiceArgs),
    /// Starts the service that knows what devices are alone
    Inventory(ServiceArgs),
    /// Starts the service that keeps scripts alone
    Library(ServiceArgs),
    /// Starts the web page and the API alone
    Gateway(ServiceArgs),
    /// Looks into a service's event store, running or not
    Store(StoreArgs),
    /// Lists every route with the right it needs
    Routes {
        /// Prints JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Opens the recovery file, to renew or replace keys while the server is stopped
    Recovery(RecoveryArgs),
    /// Becomes another program that ends with its parent
    #[command(hide = true)]
    ChildExec {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

impl Command {
    /// Tells whether JSON is asked for.
    pub fn json(&self) -> bool {
        match self {
            Command::Init(args) | Command::Renew(args) | Command::Up(args) | Command::Nats(args) => args.place.json,
            Command::Quickstart(args) => args.server.place.json,
            Command::Store(args) => args.place.json,
            Command::Recovery(args) => args.place.json,
            Command::Routes { json } => *json,
            other => other.service().is_some_and(|(_, args)| args.place.json),
        }
    }

    /// Returns the service that is to be started alone, if it is one.
    pub fn service(&self) -> Option<(Service, &ServiceArgs)> {
        match self {
            Command::Access(args) => Some((Service::Access, args)),
            Command::Enrollment(args) => Some((Service::Enrollment, args)),
            Command::Signing(args) => Some((Service::Signing, args)),
            Command::Scheduler(args) => Some((Service::Scheduler, args)),
            Command::Inventory(args) => Some((Service::Inventory, args)),
            Command::Library(args) => Some((Service::Library, args)),
            Command::Gateway(args) => Some((Service::Gateway, args)),
            _ => None,
        }
    }
}

/// Holds the options of `quickstart`.
#[derive(Debug, Clone, Args)]
pub struct QuickstartArgs {
    /// Those of `up`.
    #[command(flatten)]
    pub server: ServiceArgs,
    /// Stops everything behind the first script and ends with its exit code
    #[arg(long)]
    pub once: bool,
}

/// Holds the options of `recovery`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "The passphrase of the recovery file is read from the first line of stdin.")]
pub struct RecoveryArgs {
    /// What to do
    #[arg(value_enum)]
    pub act: RecoveryAct,
    /// For rotate-biscuit-root: the old root was stolen, so what it signed counts no more at once
    #[arg(long)]
    pub stolen: bool,
    /// Where it is done.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Lists what can be done with the recovery file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecoveryAct {
    /// Signs the code-signing key for another year
    RenewKeySet,
    /// Makes a new code-signing key; devices refuse the old one's orders once they have the new set
    RotateCodeSigning,
    /// Makes a new issuing CA and new certificates under the root that devices pin
    RotateIssuingCa,
    /// Makes new signing keys of the bus and new bus users for every service; devices renew by themselves
    RotateBus,
    /// Makes new keys of every service, and all that rotate-bus makes
    RotateServices,
    /// Makes a new biscuit root, which signs sessions and tokens
    RotateBiscuitRoot,
    /// Seals the recovery file under a new passphrase, which is shown once
    Reseal,
}

/// Holds the options of `store`.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The service whose store it is
    #[arg(value_name = "SERVICE")]
    pub service: Service,
    /// Where it stands.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to do with it.
    #[command(subcommand)]
    pub verb: StoreVerb,
}

/// Lists what can be done with a store.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum StoreVerb {
    /// Prints the last events
    Tail {
        /// Prints the events behind this position instead of the last ten
        #[arg(long, value_name = "POSITION")]
        after: Option<u64>,
        /// Goes on with those to come until it is stopped
        #[arg(long, short)]
        follow: bool,
    },
    /// Checks every link of the chain
    Verify,
    /// Prints every event as a JSON line
    Export {
        /// Writes the form that import reads
        #[arg(long)]
        raw: bool,
    },
    /// Reads a raw export into an empty store, while the service does not run
    Import {
        /// The file; - is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Throws the views away and builds them again from the events
    RebuildViews,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' '))
    }

    #[test]
    fn only_the_biscuit_root_is_said_to_be_stolen() {
        for act in RecoveryAct::value_variants() {
            let name = act.to_possible_value().unwrap();
            let known = parse(&format!("x recovery {} --stolen", name.get_name()));
            assert_eq!(known.is_ok(), *act == RecoveryAct::RotateBiscuitRoot, "{act:?}");
            assert!(
                known.err().is_none_or(|error| error.use_stderr()),
                "an error ends with code 64"
            );
        }
    }

    #[test]
    fn a_sub_command_takes_what_it_uses() {
        for line in [
            "x store access tail --after 7 --follow --root /r --json",
            "x store --root /r access verify",
            "x store access export --raw",
            "x store access import - --root /r",
            "x store access rebuild-views --json",
            "x recovery renew-key-set --root /r --json",
            "x scheduler --root /r --listen 127.0.0.1:0 --nats-listen 127.0.0.1:0 --public-name a --logs /l --ready-file /f",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert!(parse("x store access verify --json --root /r").unwrap().command.json());
    }

    #[test]
    fn what_a_sub_command_does_not_use_is_refused() {
        for line in [
            "x store access tail --listen 127.0.0.1:0",
            "x store access tail --ready-file /f",
            "x store access verify --follow",
            "x store access verify --raw",
            "x store access export --after 3",
            "x store access tail file",
            "x store access import",
            "x recovery renew-key-set --public-name a",
            "x routes --root /r",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
