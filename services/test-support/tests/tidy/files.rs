//! The repository's files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub struct TextFile {
    /// The path below the root, with `/`.
    pub path: String,
    pub text: String,
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Returns the paths of all files that git tracks or would track, below the root.
pub fn paths() -> Vec<String> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut paths: Vec<String> = listed
        .split_terminator('\0')
        .map(str::to_owned)
        .filter(|path| root().join(path).is_file())
        .collect();
    paths.sort();
    paths.dedup();
    assert!(paths.len() > 20, "the repository has more files than {paths:?}");
    paths
}

/// Returns the text files, but for these rules themselves, which hold samples of what they refuse.
pub fn texts() -> Vec<TextFile> {
    paths()
        .into_iter()
        .filter(|path| !path.starts_with("services/test-support/tests/tidy/"))
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).ok()?;
            Some(TextFile { path, text })
        })
        .collect()
}

/// Returns the Rust sources.
pub fn sources() -> Vec<TextFile> {
    let mut files = texts();
    files.retain(|file| file.path.ends_with(".rs"));
    files
}
