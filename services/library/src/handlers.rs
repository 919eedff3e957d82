//! One file per verb: read, decide who may, command, answer.
//!
//! An assembly is for the devices of its newest version's sites, and those sites decide who sees it: whoever reaches one of
//! them. It is changed by whoever reaches all of them, and all that it is changed to. What is foreign answers like what is
//! missing.

mod assemblies_archive;
mod assemblies_create;
mod assemblies_diff;
mod assemblies_edit;
mod assemblies_file;
mod assemblies_get;
mod assemblies_list;
mod assemblies_publish;
mod assemblies_show;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::assembly::{Assembly, FileRef, MAX_FILE_BYTES};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{AssemblyId, SiteName};
use borealis_bus_schema::messages::library::{AssemblyView, Draft, FileGiven};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::{Caller, Sites};
use borealis_service_kit::operator::OperatorCtx;

use crate::assembly::{By, State, Summary};
use crate::catalogue::{self, Catalogue};
use crate::library::Library;

fn by(ctx: &OperatorCtx) -> By {
    By {
        operator: ctx.caller.operator,
        username: ctx.caller.username.clone(),
        at: ctx.now,
    }
}

fn missing() -> WireError {
    WireError::new(Code::NotFound, "there is no such assembly")
}

/// Tells whether a right reaches one of an assembly's sites.
fn sees(caller: &Caller, right: Right, sites: Option<&BTreeSet<SiteName>>) -> bool {
    match sites {
        Some(sites) => sites.iter().any(|site| caller.may(right, site)),
        None => caller.reach.get(&right).is_some_and(|reached| !reached.is_none()),
    }
}

/// Refuses a caller whose right does not reach all of an assembly's sites.
fn covers(caller: &Caller, right: Right, sites: Option<&BTreeSet<SiteName>>) -> Reply<()> {
    let wanted = sites.map_or(Sites::All, |sites| Sites::Some(sites.clone()));
    if caller.reach.get(&right).is_some_and(|reached| reached.cover(&wanted)) {
        return Ok(());
    }
    let right = right.as_str();
    Err(WireError::new(
        Code::OutOfScope,
        format!("the assembly is for more sites than the right {right} reaches"),
    ))
}

fn sites_of(state: &State) -> Option<&BTreeSet<SiteName>> {
    state.latest().and_then(|version| version.saved.summary.sites.as_ref())
}

/// Finds an assembly that a right reaches.
fn find<'c>(catalogue: &'c Catalogue, caller: &Caller, right: Right, id: &AssemblyId) -> Reply<&'c State> {
    let found = catalogue.get(id).filter(|state| state.latest().is_some());
    found
        .filter(|state| sees(caller, right, sites_of(state)))
        .ok_or_else(missing)
}

fn shown(id: &AssemblyId, state: &State) -> Reply<AssemblyView> {
    catalogue::view(id, state).ok_or_else(missing)
}

/// Refuses a name that another assembly has which the caller sees; of others nobody learns.
fn check_name(catalogue: &Catalogue, caller: &Caller, id: &AssemblyId, name: &str) -> Reply<()> {
    let name = name.to_lowercase();
    let is_taken = catalogue.all().any(|(other, state)| {
        let its_name = state.latest().map(|version| version.saved.summary.name.to_lowercase());
        other != id
            && !state.archived
            && its_name.as_ref() == Some(&name)
            && sees(caller, Right::LibraryWrite, sites_of(state))
    });
    if is_taken {
        return Err(WireError::new(Code::NameTaken, "another assembly has this name"));
    }
    Ok(())
}

/// Is a version that was checked, with the bytes that go to disk before the event.
struct Written {
    digest: Digest,
    summary: Summary,
    bodies: Vec<Vec<u8>>,
}

impl Library {
    /// Checks what an operator wrote; files of earlier versions keep their bytes.
    fn written(draft: Draft, earlier: &State, known: impl Fn(&Digest) -> Option<u64>) -> Reply<Written> {
        let mut bodies = Vec::new();
        let mut files = Vec::new();
        for given in draft.files {
            files.push(file(given, earlier, &known, &mut bodies)?);
        }
        let assembly = Assembly {
            name: draft.name,
            description: draft.description,
            category: draft.category,
            language: draft.language,
            script: draft.script,
            variables: draft.variables,
            files,
            timeout_ms: draft.timeout_ms,
            sites: draft.sites,
            tags: draft.tags,
        };
        assembly
            .check()
            .map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        let content = assembly.encode()?;
        let digest = Digest::of(&content);
        bodies.push(content);
        Ok(Written {
            digest,
            summary: Summary::of(&assembly),
            bodies,
        })
    }

    /// Reads what a version holds.
    ///
    /// Errors: `storage_failed`.
    async fn content(&self, digest: Digest) -> Reply<Assembly> {
        let bytes = self.read(digest).await?;
        Assembly::read(&bytes, &digest)
            .map_err(|_| WireError::new(Code::StorageFailed, "a version in the library cannot be read"))
    }
}

fn file(
    given: FileGiven,
    earlier: &State,
    known: &impl Fn(&Digest) -> Option<u64>,
    bodies: &mut Vec<Vec<u8>>,
) -> Reply<FileRef> {
    let invalid = |what: &str| WireError::new(Code::InvalidField, format!("files: {what}"));
    let (digest, size_bytes) = match (given.data_base64, given.digest) {
        (Some(data), None) => {
            let data = STANDARD
                .decode(data)
                .map_err(|_| invalid("data_base64 cannot be read"))?;
            if data.len() as u64 > MAX_FILE_BYTES {
                return Err(WireError::new(Code::TooLarge, "a file is larger than 512 KiB"));
            }
            let kept = (Digest::of(&data), data.len() as u64);
            bodies.push(data);
            kept
        }
        // A digest alone gives nobody a file that is not this assembly's own.
        (None, Some(digest)) if earlier.has_file(&digest) => {
            let size_bytes = known(&digest).ok_or_else(|| WireError::new(Code::StorageFailed, "a file is missing"))?;
            (digest, size_bytes)
        }
        (None, Some(_)) => return Err(invalid("no version of this assembly has a file of this digest")),
        _ => return Err(invalid("give data_base64, or the digest of an earlier version's file")),
    };
    Ok(FileRef {
        name: given.name,
        size_bytes,
        mime_type: given.mime_type,
        digest,
    })
}
