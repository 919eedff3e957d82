//! Golden files: what was stored or sent once has to stay readable for ever.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::TestError;

/// Compares a value with the golden file that pins it.
///
/// A missing file is added when `BOREALIS_GEN` is set; one that is there is never rewritten.
///
/// Errors: the file is missing, or holds something else.
pub fn pinned(path: &Path, found: &Value) -> Result<(), TestError> {
    let of = |error: &dyn std::error::Error| TestError::of(&path.display().to_string(), error);
    if !path.exists() && std::env::var_os("BOREALIS_GEN").is_some() {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| of(&error))?;
        std::fs::write(path, format!("{found:#}\n")).map_err(|error| of(&error))?;
    }
    if read(path)? == *found {
        Ok(())
    } else {
        Err(TestError(format!(
            "{} pins something else than {found}",
            path.display()
        )))
    }
}

fn read(path: &Path) -> Result<Value, TestError> {
    let text =
        std::fs::read(path).map_err(|_| TestError(format!("{} is missing; `just gen` adds it", path.display())))?;
    serde_json::from_slice(&text).map_err(|error| TestError::of(&path.display().to_string(), &error))
}

/// Is a stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// Its kind.
    pub kind: String,
    /// Which form of its bytes, counted from 1: a field that was added makes another.
    pub version: usize,
    /// Its stream, where the service pins it.
    pub stream: Option<String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Compares a stored event with its golden file, `<folder>/<kind>.v<version>.json`: stream, bytes, and the fields for people to read.
///
/// Errors: as [`pinned`].
pub fn golden(folder: &Path, event: &Golden, fields: &Value) -> Result<(), TestError> {
    let mut found = Map::new();
    found.insert("kind".to_owned(), json!(event.kind));
    if let Some(stream) = &event.stream {
        found.insert("stream".to_owned(), json!(stream));
    }
    found.insert("cbor_hex".to_owned(), json!(hex::encode(&event.body)));
    found.insert("fields".to_owned(), fields.clone());
    let name = format!("{}.v{}.json", event.kind, event.version);
    pinned(&folder.join(name), &Value::Object(found))
}

/// Returns kind, stream and bytes of every golden file, also of those that no program writes any more.
///
/// Errors: a file cannot be read, or is no golden file.
pub fn golden_files(folder: &Path) -> Result<Vec<Golden>, TestError> {
    let version_of = |path: &Path| -> Option<usize> {
        let name = path.file_stem()?.to_str()?;
        name.rsplit_once(".v")?.1.parse().ok()
    };
    let of = |error: &dyn std::error::Error| TestError::of(&folder.display().to_string(), error);
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| of(&error))? {
        let path = entry.map_err(|error| of(&error))?.path();
        let version = version_of(&path).ok_or_else(|| TestError(format!("{} names no version", path.display())))?;
        let file = read(&path)?;
        let text = |field| file.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
        events.push(Golden {
            kind: text("kind").unwrap_or_default(),
            version,
            stream: text("stream"),
            body: hex::decode(text("cbor_hex").unwrap_or_default()).map_err(|error| of(&error))?,
        });
    }
    Ok(events)
}
