//! An assembly: its numbered versions, which of them runs, and whether it is in the archive.
//!
//! A version never changes. What it holds is a file named by its digest; the event keeps what lists show. A version that
//! was published once stays one that may be run by its number.

use std::collections::BTreeSet;

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{OperatorId, SiteName};
use borealis_bus_schema::messages::library::MAX_NOTE_BYTES;
use borealis_bus_schema::order::{Digest, Language};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Is how many versions an assembly has at most.
pub const MAX_VERSIONS: u32 = 1_000;

/// Is who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name then.
    pub username: String,
    /// When.
    pub at: Timestamp,
}

/// Is what lists show of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it is filed under.
    pub category: String,
    /// The interpreter.
    pub language: Language,
    /// The sites whose devices it is for; none where it is for all.
    pub sites: Option<BTreeSet<SiteName>>,
    /// Words by which it is found.
    pub tags: BTreeSet<String>,
    /// Its files.
    pub files: BTreeSet<Digest>,
}

impl Summary {
    /// Takes out of a version what lists show.
    pub fn of(assembly: &Assembly) -> Self {
        Self {
            name: assembly.name.clone(),
            description: assembly.description.clone(),
            category: assembly.category.clone(),
            language: assembly.language,
            sites: assembly.sites.clone(),
            tags: assembly.tags.clone(),
            files: assembly.files.iter().map(|file| file.digest).collect(),
        }
    }
}

/// Is a version that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its number, counted from 1.
    pub version: u32,
    /// The digest of what it holds.
    pub digest: Digest,
    /// What lists show of it.
    pub summary: Summary,
    /// Why it was written.
    pub note: String,
    /// Who wrote it.
    pub by: By,
}

/// Is a version that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its number.
    pub version: u32,
    /// Who published it.
    pub by: By,
}

/// Is what happened to an assembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A version was written; the first one makes the assembly.
    Saved(Box<Saved>),
    /// A version was published.
    Published(Published),
    /// It went into the archive.
    Archived(By),
    /// It came out of the archive.
    Restored(By),
}

/// Is a version as the fold knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// How it was written.
    pub saved: Saved,
    /// Who published it last.
    pub published: Option<By>,
}

/// Is an assembly: the fold of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Its versions, in the order of their numbers.
    pub versions: Vec<Version>,
    /// The number of the version that runs unless another is named.
    pub published: Option<u32>,
    /// Whether it is in the archive.
    pub archived: bool,
}

impl State {
    /// Returns its newest version; none for an assembly that there is not.
    pub fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// Returns a version by its number.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.saved.version == number)
    }

    /// Tells whether one of its versions has a file.
    pub fn has_file(&self, digest: &Digest) -> bool {
        self.versions
            .iter()
            .any(|version| version.saved.summary.files.contains(digest))
    }
}

/// Asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Writes a version.
    Save {
        /// The newest version that its author has seen; none for the first.
        based_on: Option<u32>,
        /// The digest of what it holds.
        digest: Digest,
        /// What lists show of it.
        summary: Summary,
        /// Why.
        note: String,
        /// Who.
        by: By,
    },
    /// Publishes a version.
    Publish {
        /// Its number.
        version: u32,
        /// Its digest, as whoever publishes has seen it.
        digest: Digest,
        /// Who.
        by: By,
    },
    /// Puts it into the archive or takes it out.
    Archive {
        /// Whether it goes in.
        archived: bool,
        /// Who.
        by: By,
    },
}

/// Says why nothing changes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such assembly, or version.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// There is one already.
    #[error("the assembly exists already")]
    Exists,
    /// Somebody wrote a version that its author has not seen.
    #[error("version {latest} is newer than the one that this was based on")]
    Moved {
        /// The newest one.
        latest: u32,
    },
    /// There are too many.
    #[error("an assembly has at most {MAX_VERSIONS} versions")]
    TooMany,
    /// The note is too long.
    #[error("note: one to {MAX_NOTE_BYTES} bytes of text at most")]
    Note,
    /// The version is another than the one that was seen.
    #[error("the version's digest is another than the one that was sent")]
    Digest,
    /// It is in the archive.
    #[error("the assembly is in the archive")]
    Archived,
    /// It is so already.
    #[error("{0}")]
    Already(&'static str),
}

impl Rejection {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> Code {
        match self {
            Rejection::Missing(_) => Code::NotFound,
            Rejection::Exists | Rejection::Moved { .. } => Code::Conflict,
            Rejection::TooMany => Code::TooLarge,
            Rejection::Note => Code::InvalidField,
            Rejection::Digest => Code::DigestMismatch,
            Rejection::Archived | Rejection::Already(_) => Code::WrongState,
        }
    }
}

/// Decides what a command changes; no events say that everything is so already.
///
/// Errors: the first rule of [`Rejection`] that it breaks.
pub fn decide(state: &State, command: Command) -> Result<Vec<Event>, Rejection> {
    let latest = state.latest().map(|version| &version.saved);
    match command {
        Command::Save {
            based_on,
            digest,
            summary,
            note,
            by,
        } => {
            let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
            if note.len() > MAX_NOTE_BYTES || !note.chars().all(is_text) {
                return Err(Rejection::Note);
            }
            let version = match (latest, based_on) {
                (None, None) => 1,
                (None, Some(_)) => return Err(Rejection::Missing("assembly")),
                (Some(_), None) => return Err(Rejection::Exists),
                (Some(latest), Some(seen)) => {
                    if state.archived {
                        return Err(Rejection::Archived);
                    }
                    if latest.version != seen {
                        return Err(Rejection::Moved { latest: latest.version });
                    }
                    if latest.digest == digest {
                        return Ok(Vec::new());
                    }
                    latest.version.saturating_add(1)
                }
            };
            if version > MAX_VERSIONS {
                return Err(Rejection::TooMany);
            }
            Ok(vec![Event::Saved(Box::new(Saved {
                version,
                digest,
                summary,
                note,
                by,
            }))])
        }
        Command::Publish { version, digest, by } => {
            let found = state.version(version).ok_or(Rejection::Missing("version"))?;
            if state.archived {
                return Err(Rejection::Archived);
            }
            if found.saved.digest != digest {
                return Err(Rejection::Digest);
            }
            if state.published == Some(version) {
                return Err(Rejection::Already("this version is the published one already"));
            }
            Ok(vec![Event::Published(Published { version, by })])
        }
        Command::Archive { archived, by } => {
            if latest.is_none() {
                return Err(Rejection::Missing("assembly"));
            }
            match (state.archived, archived) {
                (true, true) => Err(Rejection::Already("the assembly is in the archive already")),
                (false, false) => Err(Rejection::Already("the assembly is not in the archive")),
                (false, true) => Ok(vec![Event::Archived(by)]),
                (true, false) => Ok(vec![Event::Restored(by)]),
            }
        }
    }
}

/// Folds an event.
pub fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::Saved(saved) => state.versions.push(Version {
            saved: (**saved).clone(),
            published: None,
        }),
        Event::Published(published) => {
            state.published = Some(published.version);
            let mut versions = state.versions.iter_mut();
            if let Some(version) = versions.find(|version| version.saved.version == published.version) {
                version.published = Some(published.by.clone());
            }
        }
        Event::Archived(_) => state.archived = true,
        Event::Restored(_) => state.archived = false,
    }
    state
}

#[cfg(test)]
mod tests;
