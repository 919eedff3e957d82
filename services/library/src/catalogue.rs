//! What assemblies there are: the fold of the log, in memory, by id.

use std::collections::BTreeMap;

use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{AssemblyView, VersionView};
use borealis_event_store::{EventRecord, Position};

use crate::assembly::{State, Version, evolve};
use crate::stored::{Stored, StoredError, assembly_of};

/// Holds every assembly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    assemblies: BTreeMap<AssemblyId, Entry>,
    position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    state: State,
    stream_version: u64,
}

impl Catalogue {
    /// Takes in the next event of the log.
    ///
    /// Errors: [`StoredError`] for one that cannot be read.
    pub fn apply(&mut self, record: &EventRecord) -> Result<(), StoredError> {
        self.position = record.position;
        let (Some(id), Some(body)) = (assembly_of(record), &record.body) else {
            return Ok(());
        };
        if let Stored::Assembly(event) = Stored::decode(&record.kind, body)? {
            let entry = self.assemblies.entry(id).or_default();
            entry.state = evolve(std::mem::take(&mut entry.state), &event);
            entry.stream_version = record.version;
        }
        Ok(())
    }

    /// Returns how far the log was taken in.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns an assembly.
    pub fn get(&self, id: &AssemblyId) -> Option<&State> {
        self.assemblies.get(id).map(|entry| &entry.state)
    }

    /// Returns the version of an assembly's stream; 0 where there is none.
    pub fn stream_version(&self, id: &AssemblyId) -> u64 {
        self.assemblies.get(id).map_or(0, |entry| entry.stream_version)
    }

    /// Goes through all assemblies.
    pub fn all(&self) -> impl Iterator<Item = (&AssemblyId, &State)> {
        self.assemblies.iter().map(|(id, entry)| (id, &entry.state))
    }
}

/// Shows an assembly as lists do; none for one without a version.
pub fn view(id: &AssemblyId, state: &State) -> Option<AssemblyView> {
    let (first, latest) = (&state.versions.first()?.saved, &state.latest()?.saved);
    let published = state.published.and_then(|number| state.version(number));
    Some(AssemblyView {
        assembly: *id,
        name: latest.summary.name.clone(),
        description: latest.summary.description.clone(),
        category: latest.summary.category.clone(),
        language: latest.summary.language,
        sites: latest.summary.sites.clone(),
        tags: latest.summary.tags.clone(),
        latest: latest.version,
        latest_digest: latest.digest,
        published: state.published,
        published_digest: published.map(|version| version.saved.digest),
        archived: state.archived,
        created_at: first.by.at,
        created_by: first.by.username.clone(),
        updated_at: latest.by.at,
        updated_by: latest.by.username.clone(),
    })
}

/// Shows a version as the list of versions does.
pub fn version_view(version: &Version) -> VersionView {
    let published = version.published.as_ref();
    VersionView {
        version: version.saved.version,
        digest: version.saved.digest,
        state: if published.is_some() { "published" } else { "draft" }.to_owned(),
        author: version.saved.by.username.clone(),
        at: version.saved.by.at,
        note: version.saved.note.clone(),
        published_by: published.map(|by| by.username.clone()),
        published_at: published.map(|by| by.at),
    }
}
