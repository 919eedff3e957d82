//! The documents of this product's predecessor, and plain script files: read and written without loss where both know a field.
//!
//! **Shape** of a document: one JSON object with `version` 1, `name`, `description`, `category`, `type`, `script` (in base64 with
//! `script_encoding: "base64"`, else plain) or `script_lines`, `timeout_seconds`, `sites {mode: all|specific, values}`,
//! `variables [{name, label, type, default, required, description}]`, `files [{file_name, size, mime_type, data}]`.
//! What the predecessor did not know is written besides: `tags`, `choices`, the types `sh` and `python`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::assembly::{Assembly, FileRef, Variable, VariableType};
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::library::{Draft, FileGiven};
use borealis_bus_schema::order::{Digest, Language};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Is an assembly as a file holds it: with the bytes of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The assembly.
    pub assembly: Assembly,
    /// The bytes of its files.
    pub data: BTreeMap<Digest, Vec<u8>>,
    /// What was not taken over, in sentences.
    pub left_out: Vec<String>,
}

impl Loaded {
    /// Writes it as it is handed in; files that the server has stay there.
    pub fn draft(&self, known: &BTreeSet<Digest>) -> Draft {
        let mut draft = Draft::of(self.assembly.clone());
        for file in &mut draft.files {
            *file = self.given(file, known);
        }
        draft
    }

    fn given(&self, file: &FileGiven, known: &BTreeSet<Digest>) -> FileGiven {
        let digest = file.digest.filter(|digest| known.contains(digest));
        let bytes = file.digest.and_then(|digest| self.data.get(&digest));
        FileGiven {
            name: file.name.clone(),
            mime_type: file.mime_type.clone(),
            data_base64: bytes.filter(|_| digest.is_none()).map(|bytes| STANDARD.encode(bytes)),
            digest: digest.or(file.digest.filter(|_| bytes.is_none())),
        }
    }
}

/// Adds a file's bytes and returns how the assembly names it.
pub fn attach(data: &mut BTreeMap<Digest, Vec<u8>>, name: String, mime_type: String, bytes: Vec<u8>) -> FileRef {
    let digest = Digest::of(&bytes);
    let size_bytes = bytes.len() as u64;
    data.insert(digest, bytes);
    FileRef {
        name,
        size_bytes,
        mime_type,
        digest,
    }
}

/// Tells a script's language by its file's name; none for what is no script.
pub fn language_of(path: &Path) -> Option<Language> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "sh" => Language::Sh,
        "bash" => Language::Bash,
        "py" => Language::Python,
        "ps1" => Language::Powershell,
        "bat" | "cmd" => Language::Batch,
        _ => return None,
    })
}

/// Reads bytes as a script's text; a byte order mark is left out.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| "the script is no UTF-8 text".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), ToOwned::to_owned))
}

/// Makes an assembly of a plain script file.
///
/// Errors: a sentence where it is no text.
pub fn of_script(name: &str, language: Language, bytes: Vec<u8>) -> Result<Loaded, String> {
    Ok(Loaded {
        assembly: Assembly {
            name: name.to_owned(),
            description: String::new(),
            category: String::new(),
            language,
            script: text(bytes)?,
            variables: Vec::new(),
            files: Vec::new(),
            timeout_ms: 3_600_000,
            sites: None,
            tags: BTreeSet::new(),
        },
        data: BTreeMap::new(),
        left_out: Vec::new(),
    })
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    version: Option<u64>,
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    script: Option<String>,
    #[serde(default)]
    script_encoding: Option<String>,
    #[serde(default)]
    script_lines: Option<Vec<String>>,
    #[serde(default)]
    timeout_seconds: Option<Value>,
    #[serde(default)]
    sites: Option<DocumentSites>,
    #[serde(default)]
    variables: Vec<DocumentVariable>,
    #[serde(default)]
    files: Vec<DocumentFile>,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    nodes: Option<Value>,
}

#[derive(Deserialize)]
struct DocumentSites {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct DocumentVariable {
    name: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    default: Option<Value>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    choices: Vec<String>,
}

#[derive(Deserialize)]
struct DocumentFile {
    file_name: String,
    #[serde(default)]
    mime_type: Option<String>,
    #[serde(default)]
    data: String,
}

/// Tells whether a JSON file is a document of the predecessor at all.
pub fn is_document(bytes: &[u8]) -> bool {
    let object: Option<Map<String, Value>> = serde_json::from_slice(bytes).ok();
    object.is_some_and(|fields| fields.contains_key("script") || fields.contains_key("script_lines"))
}

/// Reads a document.
///
/// Errors: a sentence that names what cannot be taken over.
pub fn read(bytes: &[u8], fallback_name: &str) -> Result<Loaded, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no such document: {error}"))?;
    if document.nodes.is_some() {
        return Err("it is a workflow; the library holds scripts".to_owned());
    }
    if document.version.is_some_and(|version| version != 1) {
        return Err("its version is not 1".to_owned());
    }
    let kind = document.kind.unwrap_or_default().to_ascii_lowercase();
    let language: Language = match kind.as_str() {
        "ansible" => return Err("it is a playbook; the library holds scripts".to_owned()),
        kind => kind.parse()?,
    };
    let script = match (document.script, document.script_lines) {
        (Some(script), _)
            if document
                .script_encoding
                .as_deref()
                .is_some_and(|e| e.eq_ignore_ascii_case("base64")) =>
        {
            let packed: String = script.split_whitespace().collect();
            STANDARD
                .decode(packed)
                .map_err(|_| "its script's base64 cannot be read".to_owned())?
        }
        (Some(script), _) => script.into_bytes(),
        (None, Some(lines)) => lines.join("\n").into_bytes(),
        (None, None) => return Err("it has no script".to_owned()),
    };
    let mut left_out = Vec::new();
    let mut data = BTreeMap::new();
    let mut files = Vec::new();
    for file in document.files {
        let packed: String = file.data.split_whitespace().collect();
        let bytes = STANDARD
            .decode(packed)
            .map_err(|_| format!("the file {:?} cannot be read", file.file_name))?;
        files.push(attach(
            &mut data,
            file.file_name,
            file.mime_type.unwrap_or_default(),
            bytes,
        ));
    }
    let variables = document
        .variables
        .into_iter()
        .map(|variable| of_variable(variable, &mut left_out));
    let assembly = Assembly {
        name: document
            .name
            .unwrap_or_else(|| fallback_name.to_owned())
            .trim()
            .to_owned(),
        description: document.description.unwrap_or_default(),
        category: document.category.unwrap_or_default(),
        language,
        script: text(script)?,
        variables: variables.collect::<Result<_, String>>()?,
        files,
        timeout_ms: timeout_ms(document.timeout_seconds)?,
        sites: sites(document.sites)?,
        tags: document.tags,
    };
    Ok(Loaded {
        assembly,
        data,
        left_out,
    })
}

fn timeout_ms(seconds: Option<Value>) -> Result<u64, String> {
    let wrong = || "its timeout_seconds is no number".to_owned();
    let seconds = match seconds {
        None | Some(Value::Null) => 3_600,
        Some(Value::Number(number)) => number.as_u64().ok_or_else(wrong)?,
        Some(Value::String(text)) => text.trim().parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    Ok(seconds.saturating_mul(1_000))
}

fn sites(sites: Option<DocumentSites>) -> Result<Option<BTreeSet<SiteName>>, String> {
    let Some(sites) = sites.filter(|sites| sites.mode.as_deref() == Some("specific")) else {
        return Ok(None);
    };
    let names = sites.values.into_iter().map(|value| {
        let name = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
        SiteName::new(&name).map_err(|_| format!("its site {name:?} is no name of a site; give --site instead"))
    });
    names.collect::<Result<_, String>>().map(Some)
}

fn of_variable(variable: DocumentVariable, left_out: &mut Vec<String>) -> Result<Variable, String> {
    let kind = match variable.kind.as_deref().unwrap_or("string") {
        "string" | "text" | "" => VariableType::String,
        "number" | "integer" | "int" => VariableType::Number,
        "boolean" | "bool" => VariableType::Boolean,
        "choice" => VariableType::Choice,
        "credential" => VariableType::Credential,
        other => {
            return Err(format!(
                "its variable {:?} has the unknown type {other:?}",
                variable.name
            ));
        }
    };
    let mut default = match variable.default {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    if kind == VariableType::Credential && !default.is_empty() {
        left_out.push(format!("the default of the credential {:?}", variable.name));
        default.clear();
    }
    Ok(Variable {
        name: variable.name,
        label: variable.label.unwrap_or_default(),
        kind,
        default,
        required: variable.required,
        choices: variable.choices,
        description: variable.description.unwrap_or_default(),
    })
}

/// Writes a document; `data` holds the bytes of its files.
pub fn write(assembly: &Assembly, data: &BTreeMap<Digest, Vec<u8>>) -> Value {
    let variables = assembly.variables.iter().map(|variable| {
        let mut fields = json!({
            "name": variable.name,
            "label": variable.label,
            "type": variable.kind,
            "default": default_of(variable),
            "required": variable.required,
            "description": variable.description,
        });
        if let (Some(fields), false) = (fields.as_object_mut(), variable.choices.is_empty()) {
            fields.insert("choices".to_owned(), json!(variable.choices));
        }
        fields
    });
    let files = assembly.files.iter().map(|file| {
        json!({
            "file_name": file.name,
            "size": file.size_bytes,
            "mime_type": file.mime_type,
            "data": data.get(&file.digest).map(|bytes| STANDARD.encode(bytes)),
        })
    });
    let sites = match &assembly.sites {
        None => json!({"mode": "all", "values": []}),
        Some(sites) => json!({"mode": "specific", "values": sites}),
    };
    json!({
        "version": 1,
        "name": assembly.name,
        "description": assembly.description,
        "category": assembly.category,
        "type": assembly.language,
        "script": STANDARD.encode(&assembly.script),
        "script_encoding": "base64",
        "timeout_seconds": assembly.timeout_ms.div_ceil(1_000),
        "sites": sites,
        "variables": variables.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "tags": assembly.tags,
    })
}

/// Writes a default as JSON has it, where that reads back as the same text.
fn default_of(variable: &Variable) -> Value {
    let parsed = match variable.kind {
        VariableType::Number | VariableType::Boolean => serde_json::from_str::<Value>(&variable.default).ok(),
        _ => None,
    };
    parsed
        .filter(|value| serde_json::to_string(value).is_ok_and(|text| text == variable.default))
        .unwrap_or_else(|| Value::String(variable.default.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r##"{
        "version": 1, "name": "Disk report", "description": "Tells", "category": "script", "type": "bash",
        "script": "IyEvYmluL2Jhc2gKZGYgLWggIiRQQVRIXzEiCg==", "script_encoding": "base64", "timeout_seconds": 90,
        "sites": {"mode": "specific", "values": ["berlin"]},
        "variables": [
            {"name": "path-1", "label": "Path", "type": "string", "default": "/", "required": true, "description": "Where"},
            {"name": "depth", "label": "", "type": "number", "default": 3, "required": false, "description": ""},
            {"name": "loud", "label": "", "type": "boolean", "default": false, "required": false, "description": ""}
        ],
        "files": [{"file_name": "a.bin", "size": 4, "mime_type": "application/octet-stream", "data": "AP8KIQ=="}]
    }"##;

    #[test]
    fn a_document_is_read_and_written_as_the_same() {
        let loaded = read(OLD.as_bytes(), "x").unwrap();
        let assembly = &loaded.assembly;
        assembly.check().unwrap();
        assert_eq!(assembly.script, "#!/bin/bash\ndf -h \"$PATH_1\"\n");
        assert_eq!((assembly.timeout_ms, assembly.files[0].size_bytes), (90_000, 4));
        assert_eq!(assembly.variables[1].default, "3");
        let mut written = write(assembly, &loaded.data);
        assert_eq!(read(written.to_string().as_bytes(), "x").unwrap(), loaded);
        written.as_object_mut().unwrap().remove("tags");
        assert_eq!(written, serde_json::from_str::<Value>(OLD).unwrap());
    }

    #[test]
    fn scripts_stand_in_three_forms() {
        for (form, script) in [
            (r#""script": "echo hi""#, "echo hi"),
            (r#""script_lines": ["echo hi", "exit 3"]"#, "echo hi\nexit 3"),
            (r#""script": "ZWNobyBo\naQ==", "script_encoding": "base64""#, "echo hi"),
        ] {
            let loaded = read(format!(r#"{{"type": "powershell", {form}}}"#).as_bytes(), "by file").unwrap();
            assert_eq!(
                (loaded.assembly.script.as_str(), loaded.assembly.name.as_str()),
                (script, "by file")
            );
            assert_eq!((loaded.assembly.timeout_ms, loaded.assembly.sites), (3_600_000, None));
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_named() {
        for (text, said) in [
            ("[]", "no such document"),
            (r#"{"tab_name": "x", "nodes": [], "edges": []}"#, "workflow"),
            (r#"{"type": "ansible", "script": "x"}"#, "playbook"),
            (r#"{"type": "cobol", "script": "x"}"#, "cobol"),
            (r#"{"type": "bash"}"#, "no script"),
            (r#"{"version": 2, "type": "bash", "script": "x"}"#, "version"),
            (
                r#"{"type": "bash", "script": "?", "script_encoding": "base64"}"#,
                "base64",
            ),
            (
                r#"{"type": "bash", "script": "x", "timeout_seconds": "soon"}"#,
                "timeout_seconds",
            ),
            (
                r#"{"type": "bash", "script": "x", "sites": {"mode": "specific", "values": [7]}}"#,
                "site",
            ),
            (
                r#"{"type": "bash", "script": "x", "variables": [{"name": "a", "type": "date"}]}"#,
                "date",
            ),
            (
                r#"{"type": "bash", "script": "x", "files": [{"file_name": "f", "data": "?"}]}"#,
                "\"f\"",
            ),
        ] {
            let refused = read(text.as_bytes(), "x").unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        let credential =
            r#"{"type": "bash", "script": "x", "variables": [{"name": "c", "type": "credential", "default": "7"}]}"#;
        let loaded = read(credential.as_bytes(), "x").unwrap();
        assert_eq!(
            (loaded.left_out.len(), loaded.assembly.variables[0].default.as_str()),
            (1, "")
        );
    }

    #[test]
    fn a_plain_script_keeps_its_text() {
        let loaded = of_script("x", Language::Powershell, b"\xef\xbb\xbfecho 1\r\n".to_vec()).unwrap();
        assert_eq!(loaded.assembly.script, "echo 1\r\n");
        assert!(of_script("x", Language::Sh, vec![0xff]).is_err());
        assert_eq!(language_of(Path::new("a/B.PS1")), Some(Language::Powershell));
        assert_eq!(language_of(Path::new("a/README")), None);
        let extensions = ["sh", "bash", "py", "ps1", "bat"];
        for (language, extension) in Language::ALL.into_iter().zip(extensions) {
            assert_eq!(language_of(Path::new(&format!("x.{extension}"))), Some(language));
        }
    }
}
