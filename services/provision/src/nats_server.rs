//! Finds nats-server: exactly the pinned one, recognised by its digest, or none.
//!
//! Another version is another set of known weaknesses, so it is not used, whatever it calls itself.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use borealis_service_kit::{args::ServiceArgs, paths::Paths};
use sha2::{Digest, Sha256};
use thiserror::Error;

const PAYLOADS: &str = include_str!("../../../deploy/payloads.lock");
const NAME: &str = "nats-server";

/// Says why there is no nats-server to start.
#[derive(Debug, Error)]
pub enum NatsServerError {
    /// None was found.
    #[error(
        "nats-server {version} is missing; `./Borealis.sh fetch` puts it where it is looked for: {}",
        list(searched)
    )]
    Missing {
        /// The version that is pinned.
        version: String,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// One was found, but it is another one.
    #[error("{} is not the pinned nats-server {version} (its SHA-256 differs); remove it, then `./Borealis.sh fetch` puts the right one there", path.display())]
    Wrong {
        /// The program.
        path: PathBuf,
        /// The version that is pinned.
        version: String,
    },
    /// One was found but cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The program.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing is pinned for this kind of machine.
    #[error("there is no pinned nats-server for {arch}")]
    Architecture {
        /// The machine's architecture.
        arch: &'static str,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", ")
}

/// Says which nats-server is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its version.
    pub version: String,
    /// The program's path below its own folder.
    pub program: String,
    /// The program's SHA-256, lower hex.
    pub sha256: String,
}

/// Returns the pinned nats-server of this kind of machine.
///
/// Errors: [`NatsServerError::Architecture`].
pub fn pinned() -> Result<Pinned, NatsServerError> {
    let arch = std::env::consts::ARCH;
    let heading = format!("[{NAME} {arch}]");
    let section = PAYLOADS
        .lines()
        .skip_while(|line| line.trim() != heading)
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['));
    let values: Vec<(&str, &str)> = section
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let value = |key: &str| {
        let found = values.iter().find(|(name, _)| *name == key);
        found
            .map(|(_, value)| (*value).to_owned())
            .ok_or(NatsServerError::Architecture { arch })
    };
    Ok(Pinned {
        version: value("version")?,
        program: value("binary")?,
        sha256: value("binary_sha256")?,
    })
}

/// Finds the pinned nats-server.
///
/// A folder that was named (`BOREALIS_DEPENDENCIES`) is the only one that is looked into; else the root's, then those
/// above this program, then the PATH.
///
/// Errors: every [`NatsServerError`].
pub fn find(args: &ServiceArgs, paths: &Paths) -> Result<PathBuf, NatsServerError> {
    let program = std::env::current_exe().unwrap_or_default();
    let above = program.ancestors().skip(1).map(|folder| folder.join("Dependencies"));
    match &args.dependencies {
        Some(folder) => find_in(std::slice::from_ref(folder), &[]),
        None => {
            let folders: Vec<PathBuf> = [paths.dependencies()].into_iter().chain(above).collect();
            let path = std::env::var_os("PATH").unwrap_or_default();
            find_in(&folders, &std::env::split_paths(&path).collect::<Vec<_>>())
        }
    }
}

/// Finds the pinned nats-server in folders of fetched programs, then in folders of installed ones.
///
/// Errors: every [`NatsServerError`].
pub fn find_in(dependencies: &[PathBuf], installed: &[PathBuf]) -> Result<PathBuf, NatsServerError> {
    let pinned = pinned()?;
    let folder = format!("{NAME}-{}", pinned.version);
    let fetched = dependencies.iter().map(|base| base.join(&folder).join(&pinned.program));
    for path in fetched {
        if !path.exists() {
            continue;
        }
        if digest(&path)? != pinned.sha256 {
            let version = pinned.version;
            return Err(NatsServerError::Wrong { path, version });
        }
        return Ok(path);
    }
    // What is installed may well be another version: it is passed over, not complained about.
    let installed = installed.iter().map(|folder| folder.join(NAME));
    if let Some(path) = installed
        .filter(|path| path.is_file())
        .find(|path| digest(path).is_ok_and(|found| found == pinned.sha256))
    {
        return Ok(path);
    }
    let mut searched: Vec<PathBuf> = dependencies.iter().take(2).map(|base| base.join(&folder)).collect();
    searched.dedup();
    Err(NatsServerError::Missing {
        version: pinned.version,
        searched,
    })
}

fn digest(path: &Path) -> Result<String, NatsServerError> {
    let read = || {
        let mut file = File::open(path)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0u8; 1 << 18]);
        loop {
            let read = file.read(&mut buffer)?;
            match buffer.get(..read) {
                Some(part) if !part.is_empty() => hash.update(part),
                _ => break,
            }
        }
        Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
    };
    read().map_err(|source| NatsServerError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_one_is_read_from_the_list() {
        let pinned = pinned().unwrap();
        assert_eq!((pinned.program.as_str(), pinned.sha256.len()), ("nats-server", 64));
        assert!(PAYLOADS.contains(&pinned.version));
    }

    #[test]
    fn a_missing_and_a_wrong_one_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_owned()];
        assert!(matches!(find_in(&folders, &[]), Err(NatsServerError::Missing { .. })));
        let place = dir.path().join(format!("nats-server-{}", pinned().unwrap().version));
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("nats-server"), b"#!/bin/sh\n").unwrap();
        assert!(matches!(find_in(&folders, &[]), Err(NatsServerError::Wrong { .. })));
        std::fs::write(dir.path().join("nats-server"), b"#!/bin/sh\n").unwrap();
        assert!(matches!(
            find_in(&[], &[dir.path().to_owned()]),
            Err(NatsServerError::Missing { .. })
        ));
    }
}
