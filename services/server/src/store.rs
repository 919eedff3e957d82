//! A look into a service's event store: asked of the service while it runs, opened here while it does not.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use borealis_bus_schema::causes::chain;
use borealis_event_store as event_store;
use borealis_service_kit::{
    control::{self, ControlError, ControlRequest},
    exit,
    paths::Paths,
};
use serde_json::{Value, json};

use crate::{
    args::{StoreArgs, StoreVerb},
    error::ServerError,
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
        StoreVerb::Verify => ControlRequest::Verify,
        StoreVerb::Export { raw: true } => ControlRequest::Export,
        StoreVerb::Export { raw: false } => ControlRequest::Events,
        StoreVerb::RebuildViews => ControlRequest::RebuildViews,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::io("the runtime"))?;
    let outcome = runtime.block_on(ask(&paths, &args, request));
    finish(&args.verb, outcome)
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
            if matches!(verb, StoreVerb::Verify | StoreVerb::RebuildViews) {
                print(summary).map_err(ServerError::io("printing"))?;
            }
            return Ok(exit::OK);
        }
        Err(ControlError::Refused(why)) if *verb == StoreVerb::Verify => why,
        Err(ControlError::Store(error)) => chain(&error),
        Err(error) => return Err(ServerError::Failed(chain(&error))),
    };
    say_broken(&broken)
}

fn say_broken(why: &str) -> Result<u8, ServerError> {
    print(json!({"whole": false, "error": why})).map_err(ServerError::io("printing"))?;
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
        Err(error) => say_broken(&chain(&error)),
    }
}
