//! A look into a service's event store: asked of the service while it runs, opened here while it does not.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use borealis_event_store::{self as event_store, EventLog, OpenOptions, SledLog, StoreError};
use borealis_service_kit::{
    control::{self, ControlError, ControlRequest},
    exit,
};
use serde_json::{Value, json};

use crate::{
    args::{StoreArgs, StoreVerb},
    error::ServerError,
};

/// Is how many events are read at once.
const PAGE: usize = 500;

/// Does what was asked of a store, and returns the exit code: 74 for a store that is not whole.
///
/// Errors: the service refuses; a file cannot be used.
pub fn run(args: StoreArgs) -> Result<u8, ServerError> {
    let paths = args.server.paths().map_err(ServerError::io("the root"))?;
    if !args.service.has_store() {
        return Err(ServerError::Failed(format!("{} keeps no store", args.service)));
    }
    let folder = paths.state(args.service);
    let request = match args.verb {
        StoreVerb::Tail => ControlRequest::Tail {
            after: args.after,
            follow: args.follow,
        },
        StoreVerb::Verify => ControlRequest::Verify,
        StoreVerb::Export if !args.raw => ControlRequest::Export,
        StoreVerb::RebuildViews => ControlRequest::RebuildViews,
        StoreVerb::Export | StoreVerb::Import => return offline(&args, &folder),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::io("the runtime"))?;
    match runtime.block_on(control::ask(&paths, args.service, &request, print)) {
        Ok(summary) => {
            if matches!(args.verb, StoreVerb::Verify | StoreVerb::RebuildViews) {
                print(summary).map_err(ServerError::io("printing"))?;
            }
            Ok(exit::OK)
        }
        Err(error) if control::not_running(&error) => offline(&args, &folder),
        Err(ControlError::Refused(why)) => refused(args.verb, &why),
        Err(error) => Err(ServerError::Failed(borealis_service_kit::run::chain(&error))),
    }
}

fn refused(verb: StoreVerb, why: &str) -> Result<u8, ServerError> {
    if verb != StoreVerb::Verify {
        return Err(ServerError::Failed(why.to_owned()));
    }
    print(json!({"whole": false, "error": why})).map_err(ServerError::io("printing"))?;
    Ok(exit::STORAGE)
}

/// Prints one object on a line; a reader that went away ends the program.
fn print(value: Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn offline(args: &StoreArgs, folder: &Path) -> Result<u8, ServerError> {
    let needs_service = args.verb == StoreVerb::RebuildViews || args.verb == StoreVerb::Tail && args.follow;
    if needs_service {
        let text = "the service does not run; it rebuilds what it needs when it starts";
        return Err(ServerError::Failed(text.to_owned()));
    }
    finish(match (args.verb, &args.file) {
        (StoreVerb::Verify, _) => verify(folder),
        (StoreVerb::Export, _) if args.raw => export(folder),
        (StoreVerb::Export, _) => events(folder, 0, true),
        (StoreVerb::Import, Some(file)) => return import(folder, file),
        _ => tail(folder, args.after),
    })
}

fn export(folder: &Path) -> Result<(), StoreError> {
    let log = open(folder)?;
    event_store::export(&log, &mut io::stdout().lock()).map(|_| ())
}

fn finish(done: Result<(), StoreError>) -> Result<u8, ServerError> {
    match done {
        Ok(()) => Ok(exit::OK),
        Err(error) => {
            let text = borealis_service_kit::run::chain(&error);
            print(json!({"whole": false, "error": text})).map_err(ServerError::io("printing"))?;
            Ok(exit::STORAGE)
        }
    }
}

fn open(folder: &Path) -> Result<SledLog, StoreError> {
    SledLog::open(folder, OpenOptions::new())
}

fn tail(folder: &Path, after: Option<u64>) -> Result<(), StoreError> {
    let head = open(folder)?.head().position;
    events(folder, after.unwrap_or(head.saturating_sub(10)), false)
}

fn events(folder: &Path, mut after: u64, with_body: bool) -> Result<(), StoreError> {
    let log = open(folder)?;
    loop {
        let page = log.read_all(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.position;
        for event in &page {
            if print(control::event_line(event, with_body)).is_err() {
                return Ok(());
            }
        }
    }
}

fn verify(folder: &Path) -> Result<(), StoreError> {
    let report = event_store::verify_folder(folder, &[])?;
    let line = json!({
        "position": report.head.position,
        "hash": data_encoding::HEXLOWER.encode(&report.head.hash),
        "dropped": report.dropped,
        "whole": true,
    });
    // Nobody reads it any more when this fails.
    let _ = print(line);
    Ok(())
}

fn import(folder: &Path, file: &Path) -> Result<u8, ServerError> {
    let head = if file == Path::new("-") {
        event_store::import(folder, &mut io::stdin().lock())
    } else {
        let mut input = File::open(file).map_err(ServerError::io(format!("{}", file.display())))?;
        event_store::import(folder, &mut io::BufReader::new(&mut input))
    };
    finish(head.map(|head| {
        let _ = print(json!({"events": head.position}));
    }))
}
