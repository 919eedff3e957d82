//! Golden files: what was stored once has to stay readable for ever.

use std::path::Path;

use serde_json::{Value, json};

use crate::TestError;

/// Compares a stored event with its golden file, `<folder>/<kind>.v1.json`, and returns the bytes on file.
///
/// A missing file is added when `BOREALIS_GEN=1`; one that is there is never rewritten.
///
/// Errors: the file is missing, or holds other bytes.
pub fn golden(folder: &Path, kind: &str, body: &[u8], fields: &Value) -> Result<Vec<u8>, TestError> {
    let path = folder.join(format!("{kind}.v1.json"));
    let of = |error: &dyn std::error::Error| TestError::of(&path.display().to_string(), error);
    let found = json!({ "kind": kind, "cbor_hex": hex::encode(body), "fields": fields });
    if !path.exists() && std::env::var_os("BOREALIS_GEN").is_some() {
        std::fs::create_dir_all(folder).map_err(|error| of(&error))?;
        std::fs::write(&path, format!("{found:#}\n")).map_err(|error| of(&error))?;
    }
    let text =
        std::fs::read(&path).map_err(|_| TestError(format!("{} is missing; `just gen` adds it", path.display())))?;
    let pinned: Value = serde_json::from_slice(&text).map_err(|error| of(&error))?;
    if pinned != found {
        return Err(TestError(format!(
            "{kind} is stored in other bytes than {}",
            path.display()
        )));
    }
    let hex = pinned.get("cbor_hex").and_then(Value::as_str).unwrap_or_default();
    hex::decode(hex).map_err(|error| of(&error))
}
