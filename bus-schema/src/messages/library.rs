//! What library is asked: assemblies by operators, scripts and versions by services.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Request;
use crate::assembly::{Assembly, Variable};
use crate::ids::{AssemblyId, SiteName};
use crate::order::{Digest, Language};
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is how many bytes a note on a version has at most.
pub const MAX_NOTE_BYTES: usize = 1_024;

/// Is a file as it is handed in: new bytes, or one that an earlier version of the same assembly has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileGiven {
    /// Its name, without a folder.
    pub name: String,
    /// What kind of file it says it is.
    #[serde(default)]
    pub mime_type: String,
    /// Its bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// The digest of one that an earlier version has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Is what an operator writes of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it is filed under.
    #[serde(default)]
    pub category: String,
    /// The interpreter.
    #[serde(rename = "type")]
    pub language: Language,
    /// The script's text.
    pub script: String,
    /// The variables it takes.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The files that belong to it.
    #[serde(default)]
    pub files: Vec<FileGiven>,
    /// When a run's process tree is ended; default one hour.
    #[serde(default = "hour")]
    pub timeout_ms: u64,
    /// The sites whose devices it is for; null where it is for all.
    #[serde(default)]
    pub sites: Option<BTreeSet<SiteName>>,
    /// Words by which it is found.
    #[serde(default)]
    pub tags: BTreeSet<String>,
}

const fn hour() -> u64 {
    3_600_000
}

impl Draft {
    /// Writes a version anew: its files stay what they are.
    pub fn of(assembly: Assembly) -> Self {
        let files = assembly.files.into_iter().map(|file| FileGiven {
            name: file.name,
            mime_type: file.mime_type,
            data_base64: None,
            digest: Some(file.digest),
        });
        Self {
            name: assembly.name,
            description: assembly.description,
            category: assembly.category,
            language: assembly.language,
            script: assembly.script,
            variables: assembly.variables,
            files: files.collect(),
            timeout_ms: assembly.timeout_ms,
            sites: assembly.sites,
            tags: assembly.tags,
        }
    }
}

/// Is the body of `POST /api/v1/library/assemblies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAssembly {
    /// Its first version.
    pub draft: Draft,
    /// Why, for whoever reads the versions.
    #[serde(default)]
    pub note: String,
}

/// Is the body of `POST /api/v1/library/assemblies/{id}`: a further version, which nothing runs before it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditAssembly {
    /// The newest version that its author has seen.
    pub based_on: u32,
    /// The further version.
    pub draft: Draft,
    /// Why, for whoever reads the versions.
    #[serde(default)]
    pub note: String,
}

/// Is the body of `POST /api/v1/library/assemblies/{id}/publish`: it names exactly what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishAssembly {
    /// Which version.
    pub version: u32,
    /// Its digest.
    pub digest: Digest,
}

/// Is the body of `POST /api/v1/library/assemblies/{id}/archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveAssembly {
    /// Whether it goes into the archive or comes back.
    pub archived: bool,
}

/// Is an assembly as lists show it: its newest version, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblyView {
    /// The assembly.
    pub assembly: AssemblyId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it is filed under.
    pub category: String,
    /// The interpreter.
    #[serde(rename = "type")]
    pub language: Language,
    /// The sites whose devices it is for; null where it is for all.
    pub sites: Option<BTreeSet<SiteName>>,
    /// Words by which it is found.
    pub tags: BTreeSet<String>,
    /// The number of its newest version.
    pub latest: u32,
    /// The digest of that version.
    pub latest_digest: Digest,
    /// The version that runs unless another is named; null before the first was published.
    pub published: Option<u32>,
    /// The digest of that version.
    pub published_digest: Option<Digest>,
    /// Whether it is in the archive: nothing runs it and nobody changes it.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When its newest version was written.
    pub updated_at: Timestamp,
    /// Who wrote that.
    pub updated_by: String,
}

/// Is a version as the list of versions shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its number.
    pub version: u32,
    /// The digest of its content.
    pub digest: Digest,
    /// `draft` or `published`.
    pub state: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub note: String,
    /// Who published it last; null for a draft.
    pub published_by: Option<String>,
    /// When; null for a draft.
    pub published_at: Option<Timestamp>,
}

/// Answers `GET /api/v1/library/assemblies/{id}`: where it stands, one version's content, and all versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblyShown {
    /// Where it stands.
    pub standing: AssemblyView,
    /// The version that is shown.
    pub version: VersionView,
    /// What that version holds; its digest is that of these fields in canonical CBOR.
    pub content: Assembly,
    /// The versions, the newest first, 100 at most.
    pub versions: Vec<VersionView>,
}

/// Answers `GET /api/v1/library/assemblies/{id}/diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblyDiff {
    /// The assembly.
    pub assembly: AssemblyId,
    /// The one version.
    pub from: u32,
    /// The other version.
    pub to: u32,
    /// The fields that differ, besides the script.
    pub fields: Vec<FieldDiff>,
    /// How the script differs, as a unified diff; empty where it does not.
    pub script: String,
}

/// Is a field that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Its name.
    pub field: String,
    /// What it was.
    pub from: serde_json::Value,
    /// What it is.
    pub to: serde_json::Value,
}

/// Answers `GET /api/v1/library/assemblies/{id}/file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblyFile {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How long it is.
    pub size_bytes: u64,
    /// Its bytes, in base64.
    pub data_base64: String,
}

/// Asks for a version that a job is to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetAssembly {
    /// The assembly.
    pub assembly: AssemblyId,
    /// Which version.
    pub version: u32,
}

/// Answers [`GetAssembly`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssemblyBytes {
    /// The version's canonical bytes; whoever takes them compares their digest.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    /// Whether the version was published.
    pub published: bool,
    /// Whether the assembly is in the archive.
    pub archived: bool,
}

impl Request for GetAssembly {
    type Reply = AssemblyBytes;
    const SERVICE: Service = Service::Library;
    const VERB: &'static str = "assemblies-get";
}

/// Keeps a script as an unnamed assembly; the biscuit travels in the header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutScript {
    /// The interpreter.
    pub language: Language,
    /// The text.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
}

/// Answers [`PutScript`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScriptKept {
    /// The script's name for ever.
    pub digest: Digest,
}

impl Request for PutScript {
    type Reply = ScriptKept;
    const SERVICE: Service = Service::Library;
    const VERB: &'static str = "scripts-put";
}

/// Asks for a script by its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetScript {
    /// SHA-256 of the text.
    pub digest: Digest,
}

/// Answers [`GetScript`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// The interpreter.
    pub language: Language,
    /// The text.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
}

impl Request for GetScript {
    type Reply = Script;
    const SERVICE: Service = Service::Library;
    const VERB: &'static str = "scripts-get";
}
