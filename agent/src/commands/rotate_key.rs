//! `borealis-agent rotate-key`: a new identity key, wanted at the device itself.
//!
//! A running agent is told by a file, and does it. Where none runs, this program does it in its place.

use super::RotateKeyArgs;
use super::run::{StartError, lock, private};
use crate::clock;
use crate::identity::api::Api;
use crate::identity::files::IdentityFiles;
use crate::identity::rotate::rotate;
use crate::paths::{Paths, write_whole};
use crate::settings::{Settings, default_context};
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::words::words;
use serde_json::json;
use std::io::{self, Write};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Is the pause between two looks, and between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Gives the device of a root a new identity key, and says which.
///
/// Errors: [`StartError`]; [`StartError::KeyNotTaken`] when it was not done in time. It is tried again by the agent then.
pub fn rotate_key(args: &RotateKeyArgs) -> Result<(), StartError> {
    let paths = Paths::new(&args.place.root(), args.place.logs.as_deref());
    private(&paths.state())?;
    let settings = Settings::load(&paths, args.context)?;
    let context = settings.context.unwrap_or_else(default_context);
    let files = IdentityFiles::new(&paths, context);
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let io_error = |source| StartError::Io {
        path: paths.root().to_owned(),
        source,
    };
    let rt = rt.map_err(io_error)?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let outcome = match lock(&paths) {
        Ok(_held) => {
            let url = settings.server(&paths, args.server_url.clone())?;
            rt.block_on(here(&files, &url, until))
        }
        Err(StartError::RootInUse { .. }) => rt.block_on(by_the_agent(&paths, &files, until)),
        Err(error) => Err(error),
    };
    let fingerprint = outcome?;
    print(args.json, &fingerprint).map_err(io_error)
}

/// Does it while no agent runs.
async fn here(files: &IdentityFiles, url: &str, until: Instant) -> Result<String, StartError> {
    let device = files.load()?.ok_or(StartError::NoDevice)?;
    let next = files.prepare()?;
    let api = Api::of_root(url, &device.trust.ca_pem, 1)?;
    loop {
        match rotate(&api, &device, &next, clock::wall()).await {
            Ok(rotated) => {
                files.save_credentials(device.trust.deployment, &rotated.credentials)?;
                files.adopt()?;
                return Ok(next.public().fingerprint());
            }
            Err(error) if error.may_pass() && Instant::now() < until => {
                tracing::debug!(error = %chain(&error), "the server did not answer");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE).await;
    }
}

/// Tells the running agent, and waits until it has the key.
async fn by_the_agent(paths: &Paths, files: &IdentityFiles, until: Instant) -> Result<String, StartError> {
    let before = files.load()?.ok_or(StartError::NoDevice)?.keys.public();
    let path = paths.new_key_wanted();
    write_whole(&path, b"", 0o600).map_err(|source| StartError::Io { path, source })?;
    while Instant::now() < until {
        let now = files.load()?.ok_or(StartError::NoDevice)?.keys.public();
        if now != before {
            return Ok(now.fingerprint());
        }
        sleep(PAUSE).await;
    }
    Err(StartError::KeyNotTaken)
}

fn print(as_json: bool, fingerprint: &str) -> io::Result<()> {
    let (words, mut out) = (words(fingerprint), io::stdout().lock());
    if as_json {
        return writeln!(out, "{}", json!({"fingerprint": fingerprint, "words": words}));
    }
    writeln!(out, "This device has a new identity key: {words}")
}
