//! Which files there are, what they are called, and what they point at.

use crate::demand_none;
use crate::files::{self, TextFile};

const TOP_FOLDERS: [&str; 9] = [
    "services",
    "agent",
    "bus-schema",
    "ui",
    "deploy",
    "docs",
    "Logs",
    ".ci",
    ".config",
];
const TOP_FILES: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "Borealis.sh",
    "justfile",
    "LICENSE",
    ".clippy.toml",
    ".rustfmt.toml",
    ".gitignore",
    ".gitattributes",
    ".editorconfig",
    ".dockerignore",
];
/// Folders of one machine; a text that names one works nowhere else.
const MACHINE_PATHS: [&str; 5] = ["/home/", "/root/", "/work/", "/Users/", "C:\\Users\\"];

/// Names a file that stands where none is expected.
fn misplaced(path: &str) -> Option<String> {
    let offence = match path.split_once('/') {
        None if TOP_FILES.contains(&path) || path.ends_with(".md") => return None,
        None => "an unexpected file at the top",
        Some((folder, _)) if !TOP_FOLDERS.contains(&folder) => "an unexpected folder at the top",
        Some(("Logs", rest)) if rest != ".gitkeep" => "logs are not kept in git",
        Some(("docs", rest)) if rest.starts_with("adr/") && !is_adr(rest) => {
            "a decision is called docs/adr/NNNN-title.md"
        }
        Some((_, rest)) if rest.ends_with("/mod.rs") => "foo.rs stands beside foo/",
        Some(_) => return None,
    };
    Some(format!("{path}: {offence}"))
}

/// Tells whether a path below `docs/` is `adr/NNNN-title.md`.
fn is_adr(path: &str) -> bool {
    let Some(name) = path.strip_prefix("adr/").and_then(|name| name.strip_suffix(".md")) else {
        return false;
    };
    let Some((number, title)) = name.split_once('-') else {
        return false;
    };
    number.len() == 4
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && title
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !title.is_empty()
}

/// Names each number that two decisions share.
fn shared_numbers<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut numbers: Vec<&str> = paths
        .filter_map(|path| path.strip_prefix("docs/adr/")?.get(..4))
        .collect();
    numbers.sort_unstable();
    numbers
        .windows(2)
        .filter_map(|pair| match pair {
            [first, second] if first == second => Some(format!("two decisions have number {first}")),
            _ => None,
        })
        .collect()
}

/// Names each line that points at a folder of one machine.
fn foreign_paths(file: &TextFile) -> Vec<String> {
    if file.path.ends_with("package-lock.json") {
        return Vec::new();
    }
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(found) = MACHINE_PATHS.iter().find(|path| begins_a_path(line, path)) {
            offences.push(format!("{}:{}: {found}", file.path, index + 1));
        }
    }
    offences
}

/// Tells whether `path` stands in the line as the beginning of a path, not in the middle of one.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | ')' | '~'))
    })
}

/// Names each page that a text mentions and the repository does not have.
fn missing_pages(file: &TextFile, paths: &[String]) -> Vec<String> {
    let is_source = ["rs", "md", "sh", "py", "toml", "yaml", "yml", "ts", "tsx"]
        .iter()
        .any(|suffix| file.path.ends_with(&format!(".{suffix}")));
    if !is_source {
        return Vec::new();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in line.split(|c| !is_part(c)) {
            let name = word.trim_start_matches("./").trim_start_matches("../");
            let is_page = name.len() > 3 && name.ends_with(".md") && !line.contains("://");
            let is_known = |path: &String| path == name || path.ends_with(&format!("/{name}"));
            let is_pattern = name.contains("NNNN");
            if is_page && !is_pattern && !paths.iter().any(is_known) {
                offences.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    offences
}

#[test]
fn files_stand_where_they_are_expected() {
    let paths = files::paths();
    demand_none("layout", paths.iter().filter_map(|path| misplaced(path)));
    demand_none("layout", shared_numbers(paths.iter().map(String::as_str)));
}

#[test]
fn no_text_points_at_one_machine_or_at_working_notes() {
    let texts = files::texts();
    demand_none("foreign paths", texts.iter().flat_map(foreign_paths));
}

#[test]
fn every_page_that_is_mentioned_exists() {
    let (texts, paths) = (files::texts(), files::paths());
    demand_none(
        "missing pages",
        texts.iter().flat_map(|file| missing_pages(file, &paths)),
    );
}

#[cfg(test)]
mod samples {
    use super::*;

    fn file(text: &str) -> TextFile {
        TextFile {
            path: "docs/page.md".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_unexpected_place_is_refused() {
        for path in [
            "notes.txt",
            "scripts/run.sh",
            "Logs/Server/access.log",
            "services/access/src/views/mod.rs",
            "docs/adr/1-title.md",
            "docs/adr/0001.md",
            "docs/adr/0001-Title.md",
            "docs/adr/0001-title.txt",
        ] {
            assert!(misplaced(path).is_some(), "{path}");
        }
        for path in [
            "README.md",
            "Logs/.gitkeep",
            ".config/nextest.toml",
            "docs/adr/0001-one-binary.md",
            "services/access/src/lib.rs",
        ] {
            assert_eq!(misplaced(path), None);
        }
    }

    #[test]
    fn a_shared_number_is_refused() {
        let paths = ["docs/adr/0001-a.md", "docs/adr/0002-b.md", "docs/adr/0001-c.md"];
        assert_eq!(shared_numbers(paths.into_iter()), ["two decisions have number 0001"]);
    }

    #[test]
    fn a_path_of_one_machine_is_refused() {
        for line in ["see /home/alice/notes", "root=\"/work/main\"", "(/root/.cargo)"] {
            assert_eq!(foreign_paths(&file(line)).len(), 1, "{line}");
        }
        for line in [
            "$HOME/notes",
            "https://example.org/home/page",
            "Agent/root/x",
            "at work/life",
        ] {
            assert!(foreign_paths(&file(line)).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_page_that_is_not_there_is_refused() {
        let paths = ["docs/page.md".to_owned(), "README.md".to_owned()];
        let found = missing_pages(&file("see [this](page.md), `../README.md`,\n`docs/lost.md`."), &paths);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("docs/page.md:2"), "{found:?}");
        assert!(missing_pages(&file("https://example.org/OTHER.md"), &paths).is_empty());
    }
}
