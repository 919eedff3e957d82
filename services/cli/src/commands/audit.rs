//! `borealis audit`.

use std::path::PathBuf;
use std::time::Duration;

use borealis_bus_schema::audit::{Actor, ActorKind};
use borealis_bus_schema::messages::audit::{AuditFinding, AuditListed, AuditPiece, AuditVouched};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Subcommand};
use reqwest::Url;
use serde::Serialize;

use crate::api::{Api, escape};
use crate::args::values;
use crate::audit::Format;
use crate::audit::sink::{Sink, Target};
use crate::clock;
use crate::error::CliError;
use crate::exit;
use crate::print::{self, Printer};

/// Lists what can be done with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists records, newest first
    List {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
        /// Before this instant, or a time ago
        #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = values::instant)]
        to: Option<Timestamp>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Checks each store's hash chain, and that the newest head that was countersigned stands in it
    Verify {
        /// Only this service's store
        #[arg(long, value_name = "SERVICE", value_parser = values::service)]
        service: Option<Service>,
    },
    /// Writes every record to stdout, a file or an address, oldest first, and ends
    Export {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
        /// Before this instant, or a time ago
        #[arg(long, value_name = "TIME", value_parser = values::instant)]
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

/// Says which records of the audit are wanted.
#[derive(Debug, Clone, Default, Args)]
pub struct AuditFilterArgs {
    /// From this instant on: 2026-11-22T10:00:00Z, or a time ago: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
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

const PATH: &str = "/api/v1/audit";
/// Is how many records are asked for at once.
const PAGE: usize = 500;
/// Is the pause when there is nothing new.
const PAUSE: Duration = Duration::from_secs(1);

/// Is what came of checking one service's log.
///
/// Shape: `{service, whole, position, hash, checked, dropped, countersigned, finding, error}`; `whole` is null when it could
/// not be checked.
#[derive(Debug, Serialize)]
struct Checked {
    service: Service,
    whole: Option<bool>,
    position: u64,
    hash: Option<Digest>,
    checked: u64,
    dropped: u64,
    countersigned: Option<AuditVouched>,
    finding: Option<AuditFinding>,
    error: Option<String>,
}

/// Lists, checks, or brings elsewhere.
pub async fn run(api: &Api, printer: &Printer, command: AuditCommand) -> Result<u8, CliError> {
    match command {
        AuditCommand::List { filter, to, limit } => list(api, printer, &filter, to, limit).await?,
        AuditCommand::Verify { service } => return verify(api, printer, service).await,
        AuditCommand::Export { filter, until, target } => copy(api, printer, (&filter, until), &target, false).await?,
        AuditCommand::Follow { filter, target } => {
            api.be_patient(Duration::MAX);
            copy(api, printer, (&filter, None), &target, true).await?;
        }
    }
    Ok(exit::OK)
}

/// Is which records are wanted, and before which instant.
type Wanted<'a> = (&'a AuditFilterArgs, Option<Timestamp>);

fn query(wanted: Wanted<'_>, newest_first: bool, limit: usize, cursor: Option<&str>) -> String {
    let (filter, to) = wanted;
    let order = if newest_first { "desc" } else { "asc" };
    let mut path = format!("{PATH}?order={order}&limit={limit}");
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escape(&value)));
        }
    };
    add("from", filter.from.map(|at| at.to_string()));
    add("to", to.map(|at| at.to_string()));
    add("object", filter.object.clone());
    add("actor", filter.actor.clone());
    add("outcome", filter.outcome.clone());
    add("action", filter.action.clone());
    add("cursor", cursor.map(ToOwned::to_owned));
    path
}

async fn list(
    api: &Api,
    printer: &Printer,
    filter: &AuditFilterArgs,
    to: Option<Timestamp>,
    limit: usize,
) -> Result<(), CliError> {
    let (mut found, mut cursor, mut missing) = (Vec::new(), None::<String>, Vec::new());
    while found.len() < limit {
        let wanted = (limit - found.len()).min(PAGE);
        let page: AuditListed = api.get(&query((filter, to), true, wanted, cursor.as_deref())).await?;
        found.extend(page.items);
        missing = page.missing;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    tell_missing(printer, &missing)?;
    let head = ["AT", "WHO", "FROM", "ACTION", "OBJECT", "OUTCOME"];
    printer.list(&found, "Nothing of this kind is recorded.", &head, |entry| {
        let record = &entry.record;
        let outcome = match record.more {
            0 => record.outcome.to_string(),
            more => format!("{}, {more} more like this", record.outcome),
        };
        vec![
            record.at.to_string(),
            who(&record.actor),
            record.address.clone().unwrap_or_default(),
            record.action.clone(),
            record.objects.first().cloned().unwrap_or_default(),
            outcome,
        ]
    })
}

fn who(actor: &Actor) -> String {
    match (&actor.name, &actor.id) {
        (Some(name), _) => name.clone(),
        (None, Some(id)) if actor.kind == ActorKind::Device => id.clone(),
        (None, Some(id)) => format!("{} {id}", actor.kind.as_str()),
        (None, None) => actor.kind.as_str().to_owned(),
    }
}

fn tell_missing(printer: &Printer, missing: &[Service]) -> Result<(), CliError> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|service| service.name()).collect();
    printer.aside(&format!(
        "without the records of {}: they do not answer",
        names.join(", ")
    ))
}

/// Copies records, oldest first, to where they are wanted; to the end that there is now, or for good.
async fn copy(
    api: &Api,
    printer: &Printer,
    (filter, until): Wanted<'_>,
    args: &AuditTargetArgs,
    follows: bool,
) -> Result<(), CliError> {
    let target = Target {
        file: args.to_file.clone(),
        address: args.to.clone(),
        ca: args.to_ca.clone(),
        cursor_file: args.cursor_file.clone(),
    };
    let host = Url::parse(api.url()).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or("-");
    let (mut sink, mut cursor) = Sink::open(&target, args.format, host, follows)?;
    let mut filter = filter.clone();
    // Whoever goes on at a cursor gets what came meanwhile.
    if follows && cursor.is_none() && filter.from.is_none() {
        filter.from = Some(clock::now());
    }
    let mut told: Vec<Service> = Vec::new();
    loop {
        let page: AuditListed = api
            .get(&query((&filter, until), false, PAGE, cursor.as_deref()))
            .await?;
        // The place is kept also when nothing came, so that the next look begins there.
        sink.take(&page.items, &page.cursor, printer).await?;
        cursor = Some(page.cursor);
        if page.missing != told {
            tell_missing(printer, &page.missing)?;
            told = page.missing;
        }
        if page.next_cursor.is_some() {
            continue;
        }
        if !follows {
            return match told.first() {
                None => Ok(()),
                Some(service) => Err(CliError::Unreachable {
                    url: api.url().to_owned(),
                    reason: format!("{} does not answer: what was exported is not complete", service.name()),
                }),
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn verify(api: &Api, printer: &Printer, service: Option<Service>) -> Result<u8, CliError> {
    let stores = Service::ALL.into_iter().filter(|service| service.has_store());
    let mut worst = exit::OK;
    for service in stores.filter(|store| service.is_none_or(|wanted| wanted == *store)) {
        let checked = check(api, service).await?;
        worst = worst.max(match checked.whole {
            Some(true) => exit::OK,
            Some(false) => exit::FAILED,
            None => exit::UNREACHABLE,
        });
        printer.value(&checked, || sentence(&checked))?;
    }
    Ok(worst)
}

/// Checks one log in pieces.
async fn check(api: &Api, service: Service) -> Result<Checked, CliError> {
    let mut checked = Checked {
        service,
        whole: None,
        position: 0,
        hash: None,
        checked: 0,
        dropped: 0,
        countersigned: None,
        finding: None,
        error: None,
    };
    loop {
        let mut path = format!("{PATH}/verify?service={service}");
        if let Some(hash) = checked.hash {
            path.push_str(&format!("&position={}&hash={hash}", checked.position));
        }
        let piece: AuditPiece = match api.get(&path).await {
            Ok(piece) => piece,
            Err(error) if error.is_passing() => {
                checked.error = Some(error.to_string());
                return Ok(checked);
            }
            Err(error) => return Err(error),
        };
        checked.position = piece.position;
        checked.hash = Some(piece.hash);
        checked.checked += piece.checked;
        checked.dropped += piece.dropped;
        checked.countersigned = piece.countersigned;
        checked.error = piece
            .countersigned_error
            .map(|code| format!("not compared with a countersigned head: {code}"));
        if piece.finding.is_some() {
            checked.whole = Some(false);
            checked.finding = piece.finding;
            return Ok(checked);
        }
        if piece.end {
            // A chain that nobody vouches for may have been cut off, or written anew from its beginning.
            checked.whole = checked.error.is_none().then_some(true);
            return Ok(checked);
        }
    }
}

fn sentence(checked: &Checked) -> String {
    let name = checked.service.name();
    let compared = match &checked.countersigned {
        Some(newest) => format!("countersigned up to {} at {}", newest.position, newest.at),
        None => "nothing countersigned yet".to_owned(),
    };
    match (&checked.finding, checked.whole) {
        (Some(finding), _) => format!(
            "{name}: NOT WHOLE at position {}: {}",
            finding.position,
            print::plain(&finding.what)
        ),
        (None, Some(_)) => format!("{name}: whole, {} events, {compared}", checked.checked),
        (None, None) => {
            let why = checked.error.as_deref().unwrap_or("it does not answer");
            format!("{name}: not checked: {}", print::plain(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_every_filter_and_escapes_it() {
        let filter = AuditFilterArgs {
            from: Some(Timestamp::from_unix_ms(1_795_341_600_000)),
            object: Some("device/a b".into()),
            actor: Some("ada&x".into()),
            outcome: Some("refused".into()),
            action: Some("jobs".into()),
        };
        assert_eq!(
            query((&filter, None), false, 7, Some("asc.access-1")),
            "/api/v1/audit?order=asc&limit=7&from=2026-11-22T10%3A00%3A00.000Z&object=device%2Fa%20b&actor=ada%26x\
             &outcome=refused&action=jobs&cursor=asc.access-1"
        );
    }
}
