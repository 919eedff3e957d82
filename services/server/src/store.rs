//! A look into a service's event store: asked of the service while it runs, opened here while it does not.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::messages::audit::KnownHead;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{self as event_store, Head, StoreError};
use borealis_service_kit::{
    control::{self, ControlError, ControlRequest},
    exit,
    paths::Paths,
};
use serde_json::{Value, json};

use crate::{
    args::{StoreArgs, StoreVerb},
    error::ServerError,
    vouched,
};

/// Does what was asked of a store, and returns the exit code: 74 for a store that is not whole.
///
/// Errors: the service refuses; a file cannot be used.
pub fn run(args: StoreArgs) -> Result<u8, ServerError> {
    let paths = args.place.paths().map_err(ServerError::io("the root"))?;
    if !args.service.has_store() {
        return Err(ServerError::Failed(format!("{} keeps no store", args.service)));
    }
    let request = match &args.verb {
        StoreVerb::Import { file } => return import(&paths.state(args.service), file),
        StoreVerb::Tail { after, follow } => ControlRequest::Tail {
            after: *after,
            follow: *follow,
        },
        StoreVerb::Verify => ControlRequest::Verify { known: Vec::new() },
        StoreVerb::Export { raw: true } => ControlRequest::Export,
        StoreVerb::Export { raw: false } => ControlRequest::Events,
        StoreVerb::RebuildViews => ControlRequest::RebuildViews,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::io("the runtime"))?;
    if args.verb == StoreVerb::Verify {
        return runtime.block_on(verify(&paths, args.service));
    }
    let outcome = runtime.block_on(ask(&paths, &args, request));
    finish(&args.verb, outcome)
}

/// Checks a store's chain, and that the heads that signing countersigned stand in it.
async fn verify(paths: &Paths, service: Service) -> Result<u8, ServerError> {
    let vouched = vouched::heads(paths, service).await;
    let (known, not_compared) = match &vouched {
        Ok((known, 0)) => (known.as_slice(), None),
        Ok((known, forged)) => {
            let why = format!("{forged} countersigned heads in the store of signing are not signed by signing");
            return say_broken(&why, known.last().map(|head| head.position));
        }
        Err(error) => (&[][..], Some(chain(error))),
    };
    // A running service takes the newest only: its request is bounded, and one head vouches for all before it.
    let newest = known.get(known.len().saturating_sub(SENT)..).unwrap_or_default();
    let request = ControlRequest::Verify { known: newest.to_vec() };
    let outcome = match control::ask(paths, service, &request, print).await {
        Err(error) if control::not_running(&error) => verify_folder(paths, service, known).await,
        asked => asked.map_err(|error| match error {
            ControlError::Refused(why) => Found::Broken(why, None),
            other => Found::Failed(other),
        }),
    };
    match outcome {
        Ok(mut summary) => {
            if let Some(fields) = summary.as_object_mut() {
                fields.insert("countersigned".to_owned(), json!(known.last()));
                if let Some(why) = not_compared {
                    fields.insert("not_compared".to_owned(), json!(why));
                }
            }
            print(summary).map_err(ServerError::io("printing"))?;
            Ok(exit::OK)
        }
        Err(Found::Broken(why, position)) => say_broken(&why, position),
        Err(Found::Failed(error)) => Err(ServerError::Failed(chain(&error))),
    }
}

/// Is how many heads a running service is sent.
const SENT: usize = 1_000;

/// Says how a check ended that did not end well.
enum Found {
    Broken(String, Option<u64>),
    Failed(ControlError),
}

/// Checks a store that no process has open, also one that does not open any more.
async fn verify_folder(paths: &Paths, service: Service, known: &[KnownHead]) -> Result<Value, Found> {
    let folder = paths.state(service);
    if !folder.join("db").exists() {
        let why = format!("{service} has no event store here");
        // Where heads were countersigned there was one.
        return Err(match known.last() {
            Some(_) => Found::Broken(why, Some(1)),
            None => Found::Failed(ControlError::Refused(why)),
        });
    }
    let known: Vec<Head> = known
        .iter()
        .map(|head| Head {
            position: head.position,
            hash: head.hash.0,
        })
        .collect();
    let checking = tokio::task::spawn_blocking(move || event_store::verify_folder(&folder, &known));
    let checked = checking.await.map_err(|error| Found::Broken(error.to_string(), None))?;
    checked.map(|report| control::report_line(&report)).map_err(|error| {
        let position = match &error {
            StoreError::Broken { position, .. } => Some(*position),
            _ => None,
        };
        Found::Broken(chain(&error), position)
    })
}

async fn ask(paths: &Paths, args: &StoreArgs, request: ControlRequest) -> Result<Value, ControlError> {
    let asked = control::ask(paths, args.service, &request, print).await;
    match asked {
        Err(error) if control::not_running(&error) => {
            let asks_a_process = matches!(
                args.verb,
                StoreVerb::Tail { follow: true, .. } | StoreVerb::RebuildViews
            );
            if asks_a_process {
                return Err(ControlError::Refused(format!("{} does not run", args.service)));
            }
            control::ask_off_line(paths, args.service, request, None, print).await
        }
        asked => asked,
    }
}

fn finish(verb: &StoreVerb, outcome: Result<Value, ControlError>) -> Result<u8, ServerError> {
    let broken = match outcome {
        Ok(summary) => {
            if *verb == StoreVerb::RebuildViews {
                print(summary).map_err(ServerError::io("printing"))?;
            }
            return Ok(exit::OK);
        }
        Err(ControlError::Store(error)) => chain(&error),
        Err(error) => return Err(ServerError::Failed(chain(&error))),
    };
    say_broken(&broken, None)
}

fn say_broken(why: &str, position: Option<u64>) -> Result<u8, ServerError> {
    print(json!({"whole": false, "position": position, "error": why})).map_err(ServerError::io("printing"))?;
    Ok(exit::STORAGE)
}

/// Prints one object on a line, or a piece of a raw export as it is; a reader that went away ends the program.
fn print(value: Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match control::export_piece(&value) {
        Some(piece) => out.write_all(&piece)?,
        None => writeln!(out, "{value}")?,
    }
    out.flush()
}

fn import(folder: &Path, file: &Path) -> Result<u8, ServerError> {
    let head = if file == Path::new("-") {
        event_store::import(folder, &mut io::stdin().lock())
    } else {
        let mut input = File::open(file).map_err(ServerError::io(format!("{}", file.display())))?;
        event_store::import(folder, &mut io::BufReader::new(&mut input))
    };
    match head {
        Ok(head) => {
            print(json!({"events": head.position})).map_err(ServerError::io("printing"))?;
            Ok(exit::OK)
        }
        Err(error) => say_broken(&chain(&error), None),
    }
}
