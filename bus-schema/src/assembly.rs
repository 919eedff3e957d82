//! The assembly: a script with everything that decides what it does, and the variables it takes; pure.
//!
//! A version of an assembly is named by the digest of its canonical CBOR. Whoever asks for it to be run signs that digest, so
//! that library, scheduler and signer can each be asked for the bytes and none of them has to be believed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{self, CodecError};
use crate::codes::Code;
use crate::ids::{AssemblyId, SiteName};
use crate::messages::scheduler::{CreateJob, MAX_SCRIPT_BYTES};
use crate::order::{Digest, EnvValue, Language};

/// Is the largest assembly in its canonical form, in bytes, without its files: 320 KiB.
pub const MAX_ASSEMBLY_BYTES: usize = 320 << 10;
/// Is the largest file of an assembly, in bytes: 512 KiB.
pub const MAX_FILE_BYTES: u64 = 512 << 10;
/// Is how many files an assembly has at most.
pub const MAX_FILES: usize = 16;
/// Is how many variables an assembly has at most.
pub const MAX_VARIABLES: usize = 64;
/// Is the longest value of a variable, in bytes: 32 KiB.
pub const MAX_VALUE_BYTES: usize = 32 << 10;
/// Is how long all values are together at most, in bytes: 64 KiB. Each stands in the environment twice, in each order.
pub const MAX_VALUES_BYTES: usize = 64 << 10;
/// Is the longest time after which a run of an assembly is ended, in milliseconds: seven days.
pub const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3_600_000;

const MAX_NAME: usize = 120;
const MAX_TEXT: usize = 4_096;
const MAX_WORD: usize = 64;
const MAX_LIST: usize = 64;

/// Lists names that mean something to shells, loaders and the agent, besides all that begin with `LD_` or `BOREALIS`.
const RESERVED: [&str; 12] = [
    "BASH_ENV", "ENV", "HOME", "IFS", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TMPDIR", "USER",
];

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("LD_") || name.starts_with("BOREALIS")
}

/// Is what a version of an assembly holds; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assembly {
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
    pub files: Vec<FileRef>,
    /// When a run's process tree is ended.
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

/// Lists what a variable can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableType {
    /// Any bytes but zero.
    String,
    /// A decimal number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of some texts.
    Choice,
    /// A secret.
    Credential,
}

impl VariableType {
    /// Lists every type.
    pub const ALL: [VariableType; 5] = [
        VariableType::String,
        VariableType::Number,
        VariableType::Boolean,
        VariableType::Choice,
        VariableType::Credential,
    ];

    /// Returns the type's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            VariableType::String => "string",
            VariableType::Number => "number",
            VariableType::Boolean => "boolean",
            VariableType::Choice => "choice",
            VariableType::Credential => "credential",
        }
    }
}

/// Is a variable that an assembly takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What a form calls it.
    #[serde(default)]
    pub label: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: VariableType,
    /// What it holds unless told.
    #[serde(default)]
    pub default: String,
    /// Whether there has to be a value.
    #[serde(default)]
    pub required: bool,
    /// The texts of a choice.
    #[serde(default)]
    pub choices: Vec<String>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// Is a file that belongs to an assembly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its name, without a folder.
    pub name: String,
    /// How long it is.
    pub size_bytes: u64,
    /// What kind of file it says it is.
    #[serde(default)]
    pub mime_type: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// Names a version of an assembly and gives its variables: what a job runs in place of a script of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssemblyUse {
    /// The assembly.
    pub assembly: AssemblyId,
    /// Which version.
    pub version: u32,
    /// The digest of that version: what whoever asks has seen.
    pub digest: Digest,
    /// Values of its variables, by name; those left out have their defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, EnvValue>,
}

/// Says why an assembly, or its use, is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum AssemblyError {
    /// A field has a value that is not allowed.
    #[error("{field}: {rule}")]
    Field {
        /// The field.
        field: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// It is too large.
    #[error("the assembly has {size_bytes} bytes; at most {MAX_ASSEMBLY_BYTES} are kept")]
    TooLarge {
        /// How large it is.
        size_bytes: usize,
    },
    /// The bytes are not the version that was asked for.
    #[error("this is not the version that was asked for: its digest is another")]
    Digest,
    /// The bytes of the assembly did not come with the request that names it.
    #[error("the request names an assembly that did not come with it")]
    Absent,
    /// The bytes are no assembly in canonical form.
    #[error("the assembly cannot be read")]
    Unreadable,
    /// A value was given for a variable that the assembly does not declare.
    #[error("the assembly declares no variable {name:?}")]
    Undeclared {
        /// The name.
        name: String,
    },
    /// A variable that has to have a value has none.
    #[error("the variable {name:?} has to have a value")]
    Missing {
        /// The name.
        name: String,
    },
    /// A value does not fit its variable.
    #[error("the variable {name:?} takes {takes}")]
    Value {
        /// The name.
        name: String,
        /// What it takes.
        takes: String,
    },
    /// The assembly takes a secret, which nothing hands over yet.
    #[error("the variable {name:?} is a credential; credentials are not handed to devices yet")]
    Credential {
        /// The name.
        name: String,
    },
    /// The assembly has files, which nothing hands over yet.
    #[error("the assembly has files; files are not handed to devices yet")]
    Files,
    /// The request holds a script or an environment beside the assembly.
    #[error("a job that runs an assembly takes no {0} besides")]
    Besides(&'static str),
}

impl AssemblyError {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> Code {
        match self {
            AssemblyError::Field { .. } | AssemblyError::Besides(_) => Code::InvalidField,
            AssemblyError::TooLarge { .. } => Code::TooLarge,
            AssemblyError::Digest => Code::DigestMismatch,
            AssemblyError::Absent | AssemblyError::Unreadable => Code::Malformed,
            AssemblyError::Undeclared { .. } => Code::VariableUndeclared,
            AssemblyError::Missing { .. } => Code::VariableMissing,
            AssemblyError::Value { .. } => Code::VariableInvalid,
            AssemblyError::Credential { .. } => Code::CredentialsUnsupported,
            AssemblyError::Files => Code::FilesUnsupported,
        }
    }
}

fn field(field: impl Into<String>, rule: &'static str) -> AssemblyError {
    AssemblyError::Field {
        field: field.into(),
        rule,
    }
}

/// Tells whether a text is one line that people can read.
fn is_line(text: &str, most: usize) -> bool {
    text.len() <= most && text.trim() == text && !text.chars().any(char::is_control)
}

/// Tells whether a text can stand behind its name in a list, over several lines.
fn is_text(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

impl Assembly {
    /// Checks an assembly by itself.
    ///
    /// Errors: the first rule of [`AssemblyError`] that it breaks.
    pub fn check(&self) -> Result<(), AssemblyError> {
        if self.name.is_empty() || !is_line(&self.name, MAX_NAME) || self.name.contains('@') {
            return Err(field(
                "name",
                "one line of 1 to 120 bytes without @ and without space around it",
            ));
        }
        if !is_text(&self.description, MAX_TEXT) {
            return Err(field("description", "at most 4 KiB of text"));
        }
        if !is_line(&self.category, MAX_WORD) {
            return Err(field("category", "one line of at most 64 bytes"));
        }
        if self.script.trim().is_empty() {
            return Err(field("script", "it is empty"));
        }
        if self.script.len() > MAX_SCRIPT_BYTES {
            return Err(field("script", "it is larger than 256 KiB"));
        }
        if self.script.contains('\0') {
            return Err(field("script", "it holds a zero byte"));
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&self.timeout_ms) {
            return Err(field("timeout_ms", "more than nothing, and seven days at most"));
        }
        if self
            .sites
            .as_ref()
            .is_some_and(|sites| !(1..=MAX_LIST).contains(&sites.len()))
        {
            return Err(field("sites", "1 to 64 sites, or null for all of them"));
        }
        let is_tag = |tag: &String| !tag.is_empty() && is_line(tag, MAX_WORD);
        if self.tags.len() > MAX_LIST || !self.tags.iter().all(is_tag) {
            return Err(field("tags", "at most 64 of 1 to 64 bytes"));
        }
        self.check_variables()?;
        self.check_files()?;
        let size_bytes = self.encode().map_err(|_| AssemblyError::Unreadable)?.len();
        if size_bytes > MAX_ASSEMBLY_BYTES {
            return Err(AssemblyError::TooLarge { size_bytes });
        }
        Ok(())
    }

    fn check_variables(&self) -> Result<(), AssemblyError> {
        if self.variables.len() > MAX_VARIABLES {
            return Err(field("variables", "at most 64"));
        }
        let mut taken = BTreeSet::new();
        for variable in &self.variables {
            variable.check()?;
            if !variable.exported().into_iter().all(|name| taken.insert(name)) {
                return Err(field(
                    format!("variables: {:?}", variable.name),
                    "another variable has the same name in the environment",
                ));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), AssemblyError> {
        if self.files.len() > MAX_FILES {
            return Err(field("files", "at most 16"));
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            let is_name = is_line(&file.name, MAX_NAME)
                && !matches!(file.name.as_str(), "" | "." | "..")
                && !file.name.contains(['/', '\\', ':']);
            let at = || format!("files: {:?}", file.name.chars().take(MAX_NAME).collect::<String>());
            if !is_name {
                return Err(field(at(), "a file's name of at most 120 bytes without a folder"));
            }
            if !names.insert(file.name.to_lowercase()) {
                return Err(field(at(), "the name stands twice"));
            }
            if file.size_bytes > MAX_FILE_BYTES {
                return Err(field(at(), "it is larger than 512 KiB"));
            }
            if !is_line(&file.mime_type, MAX_NAME) {
                return Err(field(at(), "its mime_type is no line of at most 120 bytes"));
            }
        }
        Ok(())
    }

    /// Returns the canonical bytes, which the digest names.
    ///
    /// Errors: the codec's.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Returns the digest that names this version's content.
    ///
    /// Errors: the codec's.
    pub fn digest(&self) -> Result<Digest, CodecError> {
        Ok(Digest::of(&self.encode()?))
    }

    /// Reads the bytes of the version that a digest names.
    ///
    /// Errors: [`AssemblyError::Digest`] for other bytes, [`AssemblyError::Unreadable`] for what is no assembly in its
    /// canonical form.
    pub fn read(bytes: &[u8], digest: &Digest) -> Result<Self, AssemblyError> {
        if Digest::of(bytes) != *digest {
            return Err(AssemblyError::Digest);
        }
        let assembly: Self = codec::decode(bytes).map_err(|_| AssemblyError::Unreadable)?;
        match assembly.encode() {
            Ok(again) if again == bytes => Ok(assembly),
            _ => Err(AssemblyError::Unreadable),
        }
    }

    /// Tells whether it is for the devices of a site.
    pub fn is_for(&self, site: &SiteName) -> bool {
        self.sites.as_ref().is_none_or(|sites| sites.contains(site))
    }

    /// Makes the environment in which the script finds its variables.
    ///
    /// Each variable has its own name there, where that can be one, and the name in upper case with everything that is no
    /// letter or digit turned to `_`. A variable without a value is there and empty.
    ///
    /// Errors: [`AssemblyError::Undeclared`], [`AssemblyError::Missing`], [`AssemblyError::Value`],
    /// [`AssemblyError::Credential`].
    pub fn environment(&self, given: &BTreeMap<String, EnvValue>) -> Result<BTreeMap<String, EnvValue>, AssemblyError> {
        for name in given.keys() {
            if !self.variables.iter().any(|variable| variable.name == *name) {
                return Err(AssemblyError::Undeclared {
                    name: name.chars().take(MAX_WORD).collect(),
                });
            }
        }
        let mut environment = BTreeMap::new();
        let mut size_bytes = 0;
        for variable in &self.variables {
            let value = variable.value(given.get(&variable.name))?;
            size_bytes += value.as_bytes().len();
            if size_bytes > MAX_VALUES_BYTES {
                return Err(AssemblyError::Value {
                    name: variable.name.clone(),
                    takes: "at most 64 KiB together with the others".to_owned(),
                });
            }
            for name in variable.exported() {
                environment.insert(name, value.clone());
            }
        }
        Ok(environment)
    }
}

impl Variable {
    fn check(&self) -> Result<(), AssemblyError> {
        let at = || format!("variables: {:?}", self.name.chars().take(MAX_WORD).collect::<String>());
        if self.name.is_empty() || !is_line(&self.name, MAX_WORD) || self.name.contains('=') {
            return Err(field(at(), "a name has 1 to 64 bytes, and no = or space around it"));
        }
        if !self.name.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Err(field(at(), "a name holds a letter or a digit"));
        }
        if is_reserved(&self.name) || self.exported().is_empty() {
            return Err(field(at(), "the name means something to the shell or the agent"));
        }
        if !is_line(&self.label, MAX_NAME) || !is_text(&self.description, 1_024) {
            return Err(field(
                at(),
                "the label is a line of 120 bytes, the description 1 KiB at most",
            ));
        }
        if self.default.len() > MAX_TEXT || self.default.contains('\0') {
            return Err(field(at(), "a default has at most 4 KiB and no zero byte"));
        }
        let is_choice = self.kind == VariableType::Choice;
        if is_choice == self.choices.is_empty() || self.choices.len() > MAX_LIST {
            return Err(field(at(), "a choice has 1 to 64 choices, other types have none"));
        }
        if self
            .choices
            .iter()
            .any(|choice| choice.is_empty() || !is_line(choice, MAX_NAME))
        {
            return Err(field(at(), "a choice is a line of 1 to 120 bytes"));
        }
        if self.kind == VariableType::Credential {
            // What is in an assembly is read by everybody who reads the library.
            return if self.default.is_empty() {
                Ok(())
            } else {
                Err(field(
                    at(),
                    "a credential has no default: a secret does not stand in an assembly",
                ))
            };
        }
        match self.value_of(self.default.as_bytes()) {
            Ok(_) => Ok(()),
            Err(_) => Err(field(at(), "the default is no value of its type")),
        }
    }

    /// Lists the names under which the script finds it: its own, and the one in upper case where that means nothing else.
    pub fn exported(&self) -> BTreeSet<String> {
        let mut upper: String = self
            .name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        if upper.starts_with(|c: char| c.is_ascii_digit()) {
            upper.insert(0, '_');
        }
        let is_name = self.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        // One that is called `path` must not take the shell's `PATH` away.
        let upper = Some(upper).filter(|upper| !is_reserved(upper));
        let own = is_name.then(|| self.name.clone());
        own.into_iter().chain(upper).collect()
    }

    fn value(&self, given: Option<&EnvValue>) -> Result<EnvValue, AssemblyError> {
        let name = || self.name.clone();
        if self.kind == VariableType::Credential {
            // One that nobody asks for may stay empty.
            return match given {
                None if !self.required => Ok(EnvValue::default()),
                _ => Err(AssemblyError::Credential { name: name() }),
            };
        }
        let bytes = given.map_or(self.default.as_bytes(), EnvValue::as_bytes);
        if bytes.is_empty() && self.required {
            return Err(AssemblyError::Missing { name: name() });
        }
        self.value_of(bytes)
    }

    /// Reads a value as its type says; nothing is a value of every type.
    fn value_of(&self, bytes: &[u8]) -> Result<EnvValue, AssemblyError> {
        let takes = |takes: String| AssemblyError::Value {
            name: self.name.clone(),
            takes,
        };
        if bytes.contains(&0) {
            return Err(takes("no zero byte".to_owned()));
        }
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(takes("at most 32 KiB".to_owned()));
        }
        if bytes.is_empty() {
            return Ok(EnvValue::default());
        }
        let text = std::str::from_utf8(bytes).ok();
        match self.kind {
            VariableType::String | VariableType::Credential => Ok(EnvValue::from_bytes(bytes.to_vec())),
            VariableType::Number => match text.filter(|text| is_number(text)) {
                Some(text) => Ok(text.into()),
                None => Err(takes("a decimal number".to_owned())),
            },
            VariableType::Boolean => match text.map(str::to_ascii_lowercase).as_deref() {
                Some("true" | "yes" | "1") => Ok("true".into()),
                Some("false" | "no" | "0") => Ok("false".into()),
                _ => Err(takes("true or false".to_owned())),
            },
            VariableType::Choice => match text.filter(|text| self.choices.iter().any(|choice| choice == text)) {
                Some(text) => Ok(text.into()),
                None => Err(takes(format!("one of {}", self.choices.join(", ")))),
            },
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 40 && is_digits(whole) && is_digits(part)
}

/// Makes of a request that names an assembly the one that says the same without it: with its script, language and variables.
///
/// Scheduler and signer each come to it by themselves, from the request that its author signed and the bytes that the request
/// names by their digest. A request that names none stays what it is.
///
/// Errors: [`AssemblyError`].
pub fn plain(asked: CreateJob, assembly: Option<&Assembly>) -> Result<CreateJob, AssemblyError> {
    let Some(wanted) = &asked.assembly else {
        return Ok(asked);
    };
    let assembly = assembly.ok_or(AssemblyError::Absent)?;
    if asked.script.is_some() {
        return Err(AssemblyError::Besides("script"));
    }
    if asked.language.is_some() {
        return Err(AssemblyError::Besides("language"));
    }
    if !asked.env.is_empty() {
        return Err(AssemblyError::Besides("environment"));
    }
    if !assembly.files.is_empty() {
        return Err(AssemblyError::Files);
    }
    Ok(CreateJob {
        language: Some(assembly.language),
        script: Some(assembly.script.clone()),
        env: assembly.environment(&wanted.variables)?,
        assembly: None,
        ..asked
    })
}

#[cfg(test)]
mod tests;
