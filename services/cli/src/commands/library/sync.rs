//! `borealis library sync`: the library follows a folder, one way.
//!
//! What the folder holds becomes a new version where it differs from the newest one; what the folder no longer holds, and came
//! from it, goes into the archive. Nothing in the folder is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::messages::library::{ArchiveAssembly, AssemblyShown, AssemblyView};
use clap::Args;
use serde::Serialize;

use super::document::{self, Loaded};
use super::{PATH, all, checked, existing, load, publish_if, put};
use crate::api::{self, Api};
use crate::error::CliError;
use crate::print::Printer;

/// Is how many files a folder holds at most.
const MAX_FILES: usize = 2_000;
/// Begins the tag that tells where an assembly came from.
const SOURCE: &str = "source:";
/// Is how deep folders stand in each other at most.
const MAX_DEPTH: usize = 16;

/// Says what the library follows.
#[derive(Debug, Clone, Args)]
pub struct SyncArgs {
    /// Folder with scripts and documents, as a working tree of Git; the newest state is fetched by you (git pull)
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Name of the source: its assemblies have the tag source:NAME [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Makes the changes; without it they are only shown
    #[arg(long)]
    pub apply: bool,
    /// Publishes each version that is written
    #[arg(long)]
    pub publish: bool,
    /// Takes over assemblies of the same name that did not come from this folder; without it they are refused
    #[arg(long)]
    pub adopt: bool,
    /// Why, for whoever reads the versions; the commit, for instance
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
}

/// Is one change that is to be made, or was.
#[derive(Serialize)]
struct Change {
    /// `create`, `change`, `archive` or `none`.
    change: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// The fields that differ.
    fields: Vec<String>,
    /// The version that was written, or archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    left_out: Vec<String>,
    applied: bool,
}

/// Is what one file asks for.
struct Step {
    file: PathBuf,
    loaded: Loaded,
    known: Option<AssemblyShown>,
}

/// Shows what differs, and makes the changes when asked to.
pub(super) async fn run(api: &Api, printer: &Printer, args: &SyncArgs) -> Result<(), CliError> {
    let tag = tag(args)?;
    let mut steps = Vec::new();
    let mut names = BTreeMap::new();
    for file in files(&args.folder)? {
        let mut loaded = load(&args.folder.join(&file))?;
        let name = loaded.assembly.name.clone();
        if let Some(other) = names.insert(name.to_lowercase(), file.clone()) {
            let text = format!("{} and {} are both called {name:?}", other.display(), file.display());
            return Err(CliError::Usage(text));
        }
        let known = existing(api, &name).await?;
        if let Some(shown) = &known
            && !args.adopt
            && !shown.content.tags.contains(&tag)
        {
            let text = format!(
                "{} is called {name:?} as an assembly that did not come from here: give it another name, or --adopt",
                file.display()
            );
            return Err(CliError::Usage(text));
        }
        let is_document = file
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if !is_document {
            place(&mut loaded.assembly, known.as_ref().map(|shown| &shown.content), &file);
        }
        // What a file says of sources is not what the library is told: the next one to sync would put it away.
        loaded.assembly.tags.retain(|tag| !tag.starts_with(SOURCE));
        loaded.assembly.tags.insert(tag.clone());
        checked(&loaded)?;
        steps.push(Step { file, loaded, known });
    }
    let gone = all(api, &format!("state=active&tag={}", api::escape(&tag))).await?;
    let gone = gone
        .into_iter()
        .filter(|view| !names.contains_key(&view.name.to_lowercase()));
    let gone: Vec<AssemblyView> = gone.collect();
    if steps.is_empty() && !gone.is_empty() {
        let text = format!(
            "the folder holds no scripts, and {} assemblies came from it: archive them by name if that is meant",
            gone.len()
        );
        return Err(CliError::Usage(text));
    }

    let mut changes = Vec::new();
    for step in steps {
        changes.push(take(api, args, step).await?);
    }
    for view in gone {
        if args.apply {
            let body = ArchiveAssembly { archived: true };
            let _: AssemblyView = api.change(&format!("{PATH}/{}/archive", view.assembly), &body).await?;
        }
        changes.push(Change {
            change: "archive",
            name: view.name,
            file: None,
            fields: Vec::new(),
            version: Some(view.latest),
            left_out: Vec::new(),
            applied: args.apply,
        });
    }
    report(printer, args, &changes)
}

fn report(printer: &Printer, args: &SyncArgs, changes: &[Change]) -> Result<(), CliError> {
    let head = ["CHANGE", "NAME", "FILE", "WHAT", "LEFT OUT"];
    printer.list(changes, "The folder holds no scripts.", &head, |change| {
        let file = change.file.as_ref().map(|file| file.display().to_string());
        vec![
            change.change.to_owned(),
            change.name.clone(),
            file.unwrap_or_default(),
            change.fields.join(" "),
            change.left_out.join("; "),
        ]
    })?;
    let open = changes.iter().any(|change| change.change != "none");
    if !args.apply && open && !printer.json() {
        printer.aside("nothing was changed: give --apply to make these changes")?;
    }
    Ok(())
}

async fn take(api: &Api, args: &SyncArgs, step: Step) -> Result<Change, CliError> {
    let fields = fields(step.known.as_ref().map(|shown| &shown.content), &step.loaded.assembly);
    let change = match (&step.known, fields.is_empty()) {
        (None, _) => "create",
        (Some(_), true) => "none",
        (Some(_), false) => "change",
    };
    let mut version = step.known.as_ref().map(|shown| shown.standing.latest);
    let applied = args.apply && change != "none";
    if applied {
        let view = put(api, step.known.as_ref(), &step.loaded, &args.note).await?;
        version = Some(view.latest);
        let digest = view.latest_digest;
        publish_if(api, args.publish, view, digest).await?;
    }
    Ok(Change {
        change,
        name: step.loaded.assembly.name,
        file: Some(step.file),
        fields,
        version,
        left_out: step.loaded.left_out,
        applied,
    })
}

fn tag(args: &SyncArgs) -> Result<String, CliError> {
    let unreadable = |source| CliError::File {
        path: args.folder.clone(),
        did: "read",
        source,
    };
    let folder = args.folder.canonicalize().map_err(unreadable)?;
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = args.source.clone().or(own).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
        let text = "a source's name has 1 to 40 letters, digits, - _ and .: give --source NAME";
        return Err(CliError::Usage(text.to_owned()));
    }
    Ok(format!("{SOURCE}{name}"))
}

/// Keeps of the library's assembly what a plain script cannot say; its folder is what it is filed under.
fn place(assembly: &mut Assembly, known: Option<&Assembly>, file: &Path) {
    if let Some(known) = known {
        let (name, script, language) = (
            std::mem::take(&mut assembly.name),
            std::mem::take(&mut assembly.script),
            assembly.language,
        );
        *assembly = Assembly {
            name,
            script,
            language,
            ..known.clone()
        };
    }
    let folder = file.parent().map(|folder| folder.to_string_lossy().into_owned());
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        assembly.category = folder;
    }
}

/// Names the fields that differ.
fn fields(known: Option<&Assembly>, wanted: &Assembly) -> Vec<String> {
    let object = |assembly: &Assembly| match serde_json::to_value(assembly) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let Some(known) = known.map(object) else {
        return Vec::new();
    };
    let wanted = object(wanted);
    let differ = wanted.iter().filter(|(name, value)| known.get(*name) != Some(value));
    differ.map(|(name, _)| name.clone()).collect()
}

/// Lists scripts and documents below a folder, in the order of their paths; what is hidden and what is a link is left out.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>, CliError> {
    let mut found = BTreeSet::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let path = root.join(&folder);
        let failed = |source| CliError::File {
            path: path.clone(),
            did: "read",
            source,
        };
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
            let relative = folder.join(&name);
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                // What is not looked at would count as gone.
                if depth == MAX_DEPTH {
                    let text = format!(
                        "folders stand deeper than {MAX_DEPTH} in each other: {}",
                        relative.display()
                    );
                    return Err(CliError::Usage(text));
                }
                folders.push((relative, depth + 1));
            } else if kind.is_file() && is_assembly(root, &relative)? {
                found.insert(relative);
            }
        }
        if found.len() > MAX_FILES {
            return Err(CliError::Usage(format!(
                "the folder holds more than {MAX_FILES} scripts"
            )));
        }
    }
    Ok(found)
}

/// Tells whether a file is a script, or a JSON file that holds one.
fn is_assembly(root: &Path, file: &Path) -> Result<bool, CliError> {
    if file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    {
        return Ok(document::is_document(&super::read_file(&root.join(file))?));
    }
    Ok(document::language_of(file).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_searched_without_what_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("a.sh", "true"),
            ("disk/b.py", "pass"),
            ("disk/c.json", r#"{"type": "bash", "script": "x"}"#),
            ("package.json", r#"{"name": "x"}"#),
            ("README.md", "x"),
            (".git/hooks/d.sh", "x"),
            (".hidden.sh", "x"),
        ] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("e.sh")).unwrap();
        let found: Vec<PathBuf> = files(dir.path()).unwrap().into_iter().collect();
        assert_eq!(found, ["a.sh", "disk/b.py", "disk/c.json"].map(PathBuf::from));
    }

    #[test]
    fn a_folder_that_is_too_deep_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..MAX_DEPTH).fold(dir.path().to_path_buf(), |path, _| path.join("d"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("a.sh"), "true").unwrap();
        assert_eq!(files(dir.path()).unwrap().len(), 1);
        std::fs::create_dir_all(deep.join("d")).unwrap();
        assert!(matches!(files(dir.path()), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_plain_script_keeps_what_the_library_knows_of_it() {
        let mut known = document::of_script("b", borealis_bus_schema::order::Language::Sh, b"old".to_vec())
            .unwrap()
            .assembly;
        known.description = "kept".to_owned();
        let mut wanted = document::of_script("b", borealis_bus_schema::order::Language::Sh, b"new".to_vec())
            .unwrap()
            .assembly;
        place(&mut wanted, Some(&known), Path::new("disk/b.sh"));
        assert_eq!(
            (wanted.description.as_str(), wanted.category.as_str()),
            ("kept", "disk")
        );
        assert_eq!(fields(Some(&known), &wanted), ["category", "script"]);
        assert!(fields(Some(&known), &known.clone()).is_empty());
    }
}
