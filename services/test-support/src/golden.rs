//! Golden files: what was stored or sent once has to stay readable for ever.

use std::error::Error;
use std::fmt::Debug;
use std::path::Path;

use borealis_event_store::{NewEvent, StreamId};
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

/// Pins what a service stores, in `<crate>/tests/golden/<kind>.v<version>.json`: stream, bytes, and the fields for people to read.
///
/// Each event is written as its file says and read back; a second event of a kind is the kind's next version. Then every file
/// of the folder is read, also those of forms that no program writes any more.
///
/// Errors: as [`pinned`]; an event or a file is not read as what it was, or belongs to another stream.
pub fn pin_all<E: Debug + PartialEq, X: Error>(
    crate_folder: &str,
    events: &[E],
    encode: impl Fn(&E) -> (Option<StreamId>, NewEvent),
    fields: impl Fn(&E, &NewEvent) -> Value,
    decode: impl Fn(&str, &[u8]) -> Result<E, X>,
) -> Result<(), TestError> {
    let folder = Path::new(crate_folder).join("tests/golden");
    let read = |kind: &str, body: &[u8]| decode(kind, body).map_err(|error| TestError::of(kind, &error));
    let mut seen: Vec<String> = Vec::new();
    for event in events {
        let (stream, stored) = encode(event);
        let fields = fields(event, &stored);
        seen.push(stored.kind.clone());
        let written = Golden {
            version: seen.iter().filter(|kind| **kind == stored.kind).count(),
            kind: stored.kind,
            stream: stream.map(|stream| stream.as_str().to_owned()),
            body: stored.body,
        };
        golden(&folder, &written, &fields)?;
        let back = read(&written.kind, &written.body)?;
        if back != *event {
            return Err(TestError(format!("{event:?} is read back as {back:?}")));
        }
    }
    for on_file in golden_files(&folder)? {
        let (stream, _) = encode(&read(&on_file.kind, &on_file.body)?);
        if stream.as_ref().map(StreamId::as_str) != on_file.stream.as_deref() {
            return Err(TestError(format!(
                "{} is read into the stream {stream:?}",
                on_file.kind
            )));
        }
    }
    Ok(())
}

fn golden(folder: &Path, event: &Golden, fields: &Value) -> Result<(), TestError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Said(String);

    fn encode(said: &Said) -> (Option<StreamId>, NewEvent) {
        let stored = NewEvent {
            kind: "Said".to_owned(),
            body: said.0.clone().into_bytes(),
        };
        (StreamId::new("talk").ok(), stored)
    }

    fn decode(kind: &str, body: &[u8]) -> Result<Said, TestError> {
        match kind {
            "Said" => Ok(Said(String::from_utf8_lossy(body).into_owned())),
            other => Err(TestError(format!("{other} is unknown"))),
        }
    }

    #[test]
    fn files_of_forms_that_nobody_writes_any_more_are_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tests/golden");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, kind: &str, stream: &str, text: &str| {
            let file = json!({"kind": kind, "stream": stream, "cbor_hex": hex::encode(text), "fields": text});
            std::fs::write(folder.join(name), file.to_string()).unwrap();
        };
        let check = |events: &[&str]| {
            let events: Vec<Said> = events.iter().map(|text| Said((*text).to_owned())).collect();
            let done = pin_all(
                dir.path().to_str().unwrap(),
                &events,
                encode,
                |said, _| json!(said.0),
                decode,
            );
            done.map_err(|error| error.to_string())
        };
        write("Said.v1.json", "Said", "talk", "one");
        write("Said.v2.json", "Said", "talk", "two");
        check(&["one", "two"]).unwrap();
        check(&["one"]).unwrap();
        assert!(check(&["two"]).unwrap_err().contains("pins something else"));
        assert!(check(&["one", "two", "three"]).unwrap_err().contains("is missing"));

        write("Said.v3.json", "Said", "elsewhere", "old");
        assert!(check(&["one"]).unwrap_err().contains("into the stream"));
        std::fs::remove_file(folder.join("Said.v3.json")).unwrap();
        write("Shouted.v1.json", "Shouted", "talk", "old");
        assert!(check(&["one"]).unwrap_err().contains("Shouted is unknown"));
    }
}
