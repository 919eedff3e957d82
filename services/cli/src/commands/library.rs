//! `borealis library`.
//!
//! Whatever is published or run is named by the digest of its content, which this program computes itself from what it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::assembly::{Assembly, AssemblyUse, Variable, VariableType};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{AssemblyId, SiteName};
use borealis_bus_schema::messages::library::{
    ArchiveAssembly, AssemblyDiff, AssemblyFile, AssemblyShown, AssemblyView, CreateAssembly, EditAssembly,
    PublishAssembly,
};
use borealis_bus_schema::messages::scheduler::{CreateJob, Page};
use borealis_bus_schema::order::{Digest, Language};
use clap::{Args, Subcommand};
use serde::Serialize;

use self::document::Loaded;
use crate::api::{self, Api};
use crate::args::values;
use crate::error::CliError;
use crate::print::{self, Printer};

pub(crate) mod document;
pub(crate) mod sync;

/// Is where the library stands.
const PATH: &str = "/api/v1/library/assemblies";
/// Is how much of a file is read at most: what no assembly takes is refused by the server.
const MAX_READ_BYTES: u64 = 16 << 20;

/// Lists what can be done with the library.
#[derive(Debug, Subcommand)]
pub enum LibraryCommand {
    /// Lists assemblies
    List(FilterArgs),
    /// Lists the assemblies in which all these words stand, also in their scripts
    Search {
        /// Words
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
        /// What else they have to be.
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Shows an assembly: its newest version, or NAME@VERSION, and all versions
    Show {
        /// Name or id, with @VERSION for an older version
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
        /// Prints the script alone
        #[arg(long)]
        script: bool,
    },
    /// Makes an assembly, as a draft
    Create {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// What it holds.
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Writes a further version, as a draft; what is not given stays
    Edit {
        /// Name or id
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
        /// Gives it another name
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        /// What it holds.
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Publishes the newest version, or NAME@VERSION: it is what runs from now on
    Publish {
        /// Name or id, with @VERSION for an older version
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
    },
    /// Puts an assembly into the archive: nothing runs it and nobody changes it
    Archive {
        /// Name or id
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
        /// Takes it out of the archive again
        #[arg(long)]
        restore: bool,
    },
    /// Shows how two versions differ: the published one and the newest unless told
    Diff {
        /// Name or id
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
        /// The one version
        #[arg(long, value_name = "N")]
        from: Option<u32>,
        /// The other version
        #[arg(long, value_name = "N")]
        to: Option<u32>,
    },
    /// Takes in scripts (.sh, .bash, .py, .ps1, .bat) and documents of Borealis' predecessor (.json)
    Import(ImportArgs),
    /// Writes an assembly as a document of Borealis' predecessor, or its script alone
    Export {
        /// Name or id, with @VERSION for an older version; the published one unless told
        #[arg(value_name = "ASSEMBLY")]
        assembly: String,
        /// Writes the script alone
        #[arg(long)]
        script: bool,
        /// File to write, which must not be there [default: stdout]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Brings the library to what a folder holds, one way; shows what would change unless --apply is given
    Sync(sync::SyncArgs),
}

/// Narrows a list.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only those filed under this
    #[arg(long, value_name = "CATEGORY")]
    pub category: Option<String>,
    /// Only those in this language
    #[arg(long, value_name = "LANG", value_parser = values::language)]
    pub lang: Option<Language>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only those for devices of this site
    #[arg(long, value_name = "SITE", value_parser = values::site)]
    pub site: Option<SiteName>,
    /// active, published, draft, archived or all
    #[arg(long, value_name = "STATE", default_value = "active")]
    pub state: String,
}

/// Says what a version holds.
#[derive(Debug, Clone, Default, Args)]
pub struct WriteArgs {
    /// File with the script
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Language: sh, bash, python, powershell or batch [default: by the file's name, else sh]
    #[arg(long, value_name = "LANG", value_parser = values::language)]
    pub lang: Option<Language>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What it is filed under
    #[arg(long, value_name = "CATEGORY")]
    pub category: Option<String>,
    /// Word by which it is found; may be repeated, in place of all tags that it has
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Site for whose devices it is; may be repeated, in place of all sites that it has
    #[arg(long = "site", value_name = "SITE", value_parser = values::site, conflicts_with = "all_sites")]
    pub sites: Vec<SiteName>,
    /// For the devices of all sites
    #[arg(long)]
    pub all_sites: bool,
    /// When a run's process tree is ended: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
    pub timeout: Option<u64>,
    /// Variable NAME[!][:TYPE][=DEFAULT]: ! makes it required, TYPE is string, number, boolean, credential or choice(a|b); may be repeated, in place of all variables that it has
    #[arg(long = "variable", value_name = "VARIABLE", value_parser = variable)]
    pub variables: Vec<Variable>,
    /// File that belongs to it; may be repeated, in place of all files that it has
    #[arg(long = "attach", value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Why, for whoever reads the versions
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
    /// Publishes the version at once
    #[arg(long)]
    pub publish: bool,
}

/// Says what is taken in.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Name of the assembly, where one file is given [default: the document's, else the file's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Site for whose devices it is, whatever a document says; may be repeated
    #[arg(long = "site", value_name = "SITE", value_parser = values::site, conflicts_with = "all_sites")]
    pub sites: Vec<SiteName>,
    /// For the devices of all sites, whatever a document says
    #[arg(long)]
    pub all_sites: bool,
    /// Why, for whoever reads the versions
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
    /// Publishes each version at once
    #[arg(long)]
    pub publish: bool,
}

/// Reads a variable as `--variable` takes it.
fn variable(text: &str) -> Result<Variable, String> {
    let (head, default) = text.split_once('=').unwrap_or((text, ""));
    let (name, kind) = head.split_once(':').unwrap_or((head, "string"));
    let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let (word, choices) = match kind.split_once('(') {
        None => (kind, Vec::new()),
        Some((word, rest)) => {
            let list = rest.strip_suffix(')').ok_or("a choice is choice(a|b)")?;
            (word, list.split('|').map(ToOwned::to_owned).collect())
        }
    };
    let kind = VariableType::ALL.into_iter().find(|kind| kind.as_str() == word);
    Ok(Variable {
        name: name.to_owned(),
        label: String::new(),
        kind: kind.ok_or("a type is string, number, boolean, credential or choice(a|b)")?,
        default: default.to_owned(),
        required,
        choices,
        description: String::new(),
    })
}

/// Does what can be done with the library.
///
/// Errors: [`CliError`].
pub async fn run(api: &Api, printer: &Printer, command: LibraryCommand) -> Result<(), CliError> {
    match command {
        LibraryCommand::List(filter) => list(api, printer, &filter, None).await,
        LibraryCommand::Search { words, filter } => list(api, printer, &filter, Some(words.join(" "))).await,
        LibraryCommand::Show { assembly, script } => show(api, printer, &assembly, script).await,
        LibraryCommand::Create { name, write } => create(api, printer, name, write).await,
        LibraryCommand::Edit {
            assembly,
            rename,
            write,
        } => edit(api, printer, &assembly, rename, write).await,
        LibraryCommand::Publish { assembly } => {
            let (name, version) = split(&assembly);
            let found = find(api, name).await?;
            let shown = read(api, &found, version.or(Some(found.latest))).await?;
            let view = publish(api, &shown).await?;
            told(printer, &view, "is published")
        }
        LibraryCommand::Archive { assembly, restore } => {
            let found = find(api, &assembly).await?;
            let body = ArchiveAssembly { archived: !restore };
            let path = format!("{PATH}/{}/archive", found.assembly);
            let view: AssemblyView = api.change(&path, &body).await?;
            let what = if restore {
                "is out of the archive"
            } else {
                "is in the archive"
            };
            told(printer, &view, what)
        }
        LibraryCommand::Diff { assembly, from, to } => diff(api, printer, &assembly, from, to).await,
        LibraryCommand::Import(args) => import(api, printer, args).await,
        LibraryCommand::Export {
            assembly,
            script,
            output,
        } => export(api, printer, &assembly, script, output.as_deref()).await,
        LibraryCommand::Sync(args) => sync::run(api, printer, &args).await,
    }
}

fn told(printer: &Printer, view: &AssemblyView, what: &str) -> Result<(), CliError> {
    printer.value(view, || {
        print::plain(&format!(
            "{} ({}), version {}: {what}.",
            view.name, view.assembly, view.latest
        ))
    })
}

/// Splits NAME@VERSION.
pub(crate) fn split(text: &str) -> (&str, Option<u32>) {
    match text.rsplit_once('@') {
        Some((name, version)) => match version.parse() {
            Ok(version) => (name, Some(version)),
            Err(_) => (text, None),
        },
        None => (text, None),
    }
}

/// Reads all pages of a list.
async fn all(api: &Api, query: &str) -> Result<Vec<AssemblyView>, CliError> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut path = format!("{PATH}?{query}");
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", api::escape(cursor)));
        }
        let page: Page<AssemblyView> = api.get(&path).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(items),
        }
    }
}

/// Finds an assembly by its id or its name; one that is not archived before one that is.
///
/// Errors: `not_found`; [`CliError::Usage`] where several have the name.
pub(crate) async fn find(api: &Api, text: &str) -> Result<AssemblyView, CliError> {
    if let Ok(id) = text.parse::<AssemblyId>() {
        let shown: AssemblyShown = api.get(&format!("{PATH}/{id}")).await?;
        return Ok(shown.standing);
    }
    let mut found = named(api, text).await?;
    if found.iter().any(|view| !view.archived) {
        found.retain(|view| !view.archived);
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(view), None) => Ok(view),
        (None, _) => Err(CliError::Refused {
            code: Code::NotFound.as_str().to_owned(),
            message: format!("there is no assembly {text:?}"),
            retry: None,
            request_id: None,
        }),
        (Some(one), Some(other)) => Err(CliError::Usage(format!(
            "several assemblies have the name {text:?}; give an id: {}, {}",
            one.assembly, other.assembly
        ))),
    }
}

async fn named(api: &Api, name: &str) -> Result<Vec<AssemblyView>, CliError> {
    let mut found = all(api, &format!("state=all&q={}", api::escape(name))).await?;
    found.retain(|view| view.name.to_lowercase() == name.to_lowercase());
    Ok(found)
}

/// Reads a version and checks that its content is what its digest names.
///
/// Errors: [`CliError::Answer`] for other content.
pub(crate) async fn read(api: &Api, view: &AssemblyView, version: Option<u32>) -> Result<AssemblyShown, CliError> {
    let mut path = format!("{PATH}/{}", view.assembly);
    if let Some(version) = version {
        path.push_str(&format!("?version={version}"));
    }
    let shown: AssemblyShown = api.get(&path).await?;
    if shown.content.digest().ok() != Some(shown.version.digest) {
        return Err(CliError::Answer(
            "what the server shows of the assembly is not what its digest names".to_owned(),
        ));
    }
    Ok(shown)
}

/// Reads the assembly that a request names; none where it names none.
///
/// Errors: as [`content`].
pub(crate) async fn asked(api: &Api, asks: &CreateJob) -> Result<Option<Assembly>, CliError> {
    match &asks.assembly {
        Some(wanted) => content(api, wanted).await.map(Some),
        None => Ok(None),
    }
}

/// Reads the version that a request names, which has the digest that stands there.
///
/// Errors: [`CliError::Answer`] for another one.
async fn content(api: &Api, wanted: &AssemblyUse) -> Result<Assembly, CliError> {
    let path = format!("{PATH}/{}?version={}", wanted.assembly, wanted.version);
    let shown: AssemblyShown = api.get(&path).await?;
    if shown.content.digest().ok() == Some(wanted.digest) {
        return Ok(shown.content);
    }
    let text = "what the server shows of the assembly is not what the request names by its digest";
    Err(CliError::Answer(text.to_owned()))
}

async fn publish(api: &Api, shown: &AssemblyShown) -> Result<AssemblyView, CliError> {
    let body = PublishAssembly {
        version: shown.version.version,
        digest: shown.version.digest,
    };
    let path = format!("{PATH}/{}/publish", shown.standing.assembly);
    api.change(&path, &body).await
}

/// Publishes the newest version where that was asked for and it is not published yet.
async fn publish_if(api: &Api, wanted: bool, view: AssemblyView, digest: Digest) -> Result<AssemblyView, CliError> {
    if !wanted || view.published == Some(view.latest) {
        return Ok(view);
    }
    let body = PublishAssembly {
        version: view.latest,
        digest,
    };
    api.change(&format!("{PATH}/{}/publish", view.assembly), &body).await
}

async fn list(api: &Api, printer: &Printer, filter: &FilterArgs, words: Option<String>) -> Result<(), CliError> {
    let mut query = format!("state={}", api::escape(&filter.state));
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", api::escape(value)));
        }
    };
    add("category", filter.category.as_deref());
    add("type", filter.lang.map(Language::as_str));
    add("tag", filter.tag.as_deref());
    add("site", filter.site.as_ref().map(SiteName::as_str));
    add("q", words.as_deref());
    add("in", words.as_ref().map(|_| "script"));
    let found = all(api, &query).await?;
    let head = [
        "NAME",
        "TYPE",
        "CATEGORY",
        "LATEST",
        "PUBLISHED",
        "SITES",
        "CHANGED",
        "BY",
    ];
    printer.list(&found, "No assemblies.", &head, |view| {
        let archived = if view.archived { ", archived" } else { "" };
        vec![
            view.name.clone(),
            view.language.as_str().to_owned(),
            view.category.clone(),
            view.latest.to_string(),
            view.published
                .map_or_else(|| "-".to_owned(), |version| version.to_string())
                + archived,
            sites(view.sites.as_ref()),
            view.updated_at.to_string(),
            view.updated_by.clone(),
        ]
    })
}

fn sites(sites: Option<&BTreeSet<SiteName>>) -> String {
    match sites {
        None => "all".to_owned(),
        Some(sites) => sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(" "),
    }
}

async fn show(api: &Api, printer: &Printer, text: &str, script: bool) -> Result<(), CliError> {
    let (name, version) = split(text);
    let view = find(api, name).await?;
    let shown = read(api, &view, version).await?;
    if printer.json() {
        return printer.value(&shown, String::new);
    }
    if !script {
        print_sheet(printer, &shown)?;
        printer.line("")?;
    }
    // Nothing in a script may steer the terminal of whoever reads it.
    for line in shown.content.script.trim_end_matches('\n').split('\n') {
        printer.line(&print::plain(&line.replace('\t', "    ")))?;
    }
    Ok(())
}

fn print_sheet(printer: &Printer, shown: &AssemblyShown) -> Result<(), CliError> {
    let (view, content) = (&shown.standing, &shown.content);
    let tags: Vec<&str> = content.tags.iter().map(String::as_str).collect();
    let state = match (view.archived, view.published) {
        (true, _) => "archived".to_owned(),
        (false, None) => "draft".to_owned(),
        (false, Some(version)) => format!("version {version} is published"),
    };
    printer.line(&print::sheet(&[
        ("assembly", view.assembly.to_string()),
        ("name", print::plain(&content.name)),
        (
            "version",
            format!("{} ({})", shown.version.version, shown.version.state),
        ),
        ("digest", shown.version.digest.to_string()),
        ("state", state),
        ("type", content.language.as_str().to_owned()),
        ("category", print::plain(&content.category)),
        ("description", print::plain(&content.description.replace('\n', " "))),
        ("tags", print::plain(&tags.join(" "))),
        ("sites", sites(content.sites.as_ref())),
        ("timeout", print::duration(content.timeout_ms)),
    ]))?;
    if !content.variables.is_empty() {
        printer.line("")?;
        let head = [
            "VARIABLE",
            "TYPE",
            "REQUIRED",
            "DEFAULT",
            "IN THE SCRIPT",
            "DESCRIPTION",
        ];
        printer.list(&content.variables, "", &head, |variable| {
            let exported: Vec<String> = variable.exported().into_iter().collect();
            vec![
                variable.name.clone(),
                match variable.choices.as_slice() {
                    [] => variable.kind.as_str().to_owned(),
                    choices => format!("one of {}", choices.join(", ")),
                },
                if variable.required { "yes" } else { "no" }.to_owned(),
                variable.default.clone(),
                exported.join(" "),
                variable.description.clone(),
            ]
        })?;
    }
    if !content.files.is_empty() {
        printer.line("")?;
        let head = ["FILE", "SIZE", "DIGEST"];
        printer.list(&content.files, "", &head, |file| {
            vec![file.name.clone(), print::size(file.size_bytes), file.digest.to_string()]
        })?;
    }
    printer.line("")?;
    let head = ["VERSION", "STATE", "WRITTEN", "BY", "NOTE"];
    printer.list(&shown.versions, "", &head, |version| {
        vec![
            version.version.to_string(),
            version.state.clone(),
            version.at.to_string(),
            version.author.clone(),
            version.note.clone(),
        ]
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read as _;
    let failed = |source| CliError::File {
        path: path.to_owned(),
        did: "read",
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_READ_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_READ_BYTES {
        return Err(CliError::Usage(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(bytes)
}

impl WriteArgs {
    /// Writes what was given into an assembly.
    fn apply(&self, loaded: &mut Loaded) -> Result<(), CliError> {
        if let Some(path) = &self.file {
            let text = document::of_script("", Language::Sh, read_file(path)?).map_err(CliError::Usage)?;
            loaded.assembly.script = text.assembly.script;
            if let Some(language) = document::language_of(path) {
                loaded.assembly.language = language;
            }
        }
        let assembly = &mut loaded.assembly;
        if let Some(language) = self.lang {
            assembly.language = language;
        }
        if let Some(text) = &self.description {
            assembly.description.clone_from(text);
        }
        if let Some(text) = &self.category {
            assembly.category.clone_from(text);
        }
        if let Some(timeout) = self.timeout {
            assembly.timeout_ms = timeout;
        }
        if !self.tags.is_empty() {
            assembly.tags = self.tags.iter().cloned().collect();
        }
        if self.all_sites {
            assembly.sites = None;
        } else if !self.sites.is_empty() {
            assembly.sites = Some(self.sites.iter().cloned().collect());
        }
        if !self.variables.is_empty() {
            assembly.variables.clone_from(&self.variables);
        }
        if !self.attach.is_empty() {
            assembly.files.clear();
            for path in &self.attach {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let file = document::attach(&mut loaded.data, name, String::new(), read_file(path)?);
                assembly.files.push(file);
            }
        }
        Ok(())
    }
}

fn checked(loaded: &Loaded) -> Result<(), CliError> {
    let refused = |error: borealis_bus_schema::assembly::AssemblyError| CliError::Refused {
        code: error.code().as_str().to_owned(),
        message: error.to_string(),
        retry: None,
        request_id: None,
    };
    loaded.assembly.check().map_err(refused)
}

async fn create(api: &Api, printer: &Printer, name: String, write: WriteArgs) -> Result<(), CliError> {
    if write.file.is_none() {
        return Err(CliError::Usage("an assembly has a script: --file FILE".to_owned()));
    }
    let mut loaded = document::of_script(&name, Language::Sh, Vec::new()).map_err(CliError::Usage)?;
    write.apply(&mut loaded)?;
    checked(&loaded)?;
    let view = put(api, None, &loaded, &write.note).await?;
    let digest = view.latest_digest;
    let view = publish_if(api, write.publish, view, digest).await?;
    told(
        printer,
        &view,
        if write.publish { "is published" } else { "is a draft" },
    )
}

async fn edit(
    api: &Api,
    printer: &Printer,
    text: &str,
    rename: Option<String>,
    write: WriteArgs,
) -> Result<(), CliError> {
    let view = find(api, text).await?;
    let shown = read(api, &view, None).await?;
    let mut loaded = Loaded {
        assembly: shown.content.clone(),
        data: BTreeMap::new(),
        left_out: Vec::new(),
    };
    write.apply(&mut loaded)?;
    if let Some(name) = rename {
        loaded.assembly.name = name;
    }
    checked(&loaded)?;
    if loaded.assembly == shown.content {
        printer.aside("nothing differs from the newest version: no version was written")?;
    }
    let after = put(api, Some(&shown), &loaded, &write.note).await?;
    let digest = after.latest_digest;
    let after = publish_if(api, write.publish, after, digest).await?;
    told(
        printer,
        &after,
        if write.publish {
            "is published"
        } else {
            "is the newest version"
        },
    )
}

/// Writes a version and checks that the server keeps what was sent.
pub(crate) async fn put(
    api: &Api,
    known: Option<&AssemblyShown>,
    loaded: &Loaded,
    note: &str,
) -> Result<AssemblyView, CliError> {
    let files = known.map(|shown| shown.content.files.iter().map(|file| file.digest).collect());
    let draft = loaded.draft(&files.unwrap_or_default());
    let note = note.to_owned();
    let view: AssemblyView = match known {
        None => api.change(PATH, &CreateAssembly { draft, note }).await?,
        Some(shown) => {
            let body = EditAssembly {
                based_on: shown.standing.latest,
                draft,
                note,
            };
            api.change(&format!("{PATH}/{}", shown.standing.assembly), &body)
                .await?
        }
    };
    if loaded.assembly.digest().ok() != Some(view.latest_digest) {
        return Err(CliError::Answer(
            "the server keeps something else than what was sent".to_owned(),
        ));
    }
    Ok(view)
}

async fn diff(api: &Api, printer: &Printer, text: &str, from: Option<u32>, to: Option<u32>) -> Result<(), CliError> {
    let view = find(api, text).await?;
    let query = [("from", from), ("to", to)].map(|(name, version)| match version {
        Some(version) => format!("{name}={version}"),
        None => format!("{name}="),
    });
    let path = format!("{PATH}/{}/diff?{}", view.assembly, query.join("&"));
    let diff: AssemblyDiff = api.get(&path).await?;
    if printer.json() {
        return printer.value(&diff, String::new);
    }
    for field in &diff.fields {
        printer.line(&print::plain(&format!(
            "{}: {} -> {}",
            field.field, field.from, field.to
        )))?;
    }
    for line in diff.script.lines() {
        printer.line(&print::plain(&line.replace('\t', "    ")))?;
    }
    if diff.fields.is_empty() && diff.script.is_empty() {
        printer.line(&format!("Versions {} and {} do not differ.", diff.from, diff.to))?;
    }
    Ok(())
}

/// Reads a file that holds an assembly.
pub(crate) fn load(path: &Path) -> Result<Loaded, CliError> {
    let wrong = |said: String| CliError::Usage(format!("{}: {said}", path.display()));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = read_file(path)?;
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    {
        return document::read(&bytes, &stem).map_err(wrong);
    }
    let language = document::language_of(path).ok_or_else(|| {
        wrong("a script's name ends in .sh, .bash, .py, .ps1 or .bat, a document's in .json".to_owned())
    })?;
    document::of_script(&stem, language, bytes).map_err(wrong)
}

/// Is a file that was taken in.
#[derive(Serialize)]
struct Imported {
    file: PathBuf,
    /// `created`, `changed` or `unchanged`.
    change: &'static str,
    left_out: Vec<String>,
    #[serde(flatten)]
    assembly: AssemblyView,
}

async fn import(api: &Api, printer: &Printer, args: ImportArgs) -> Result<(), CliError> {
    if args.name.is_some() && args.files.len() > 1 {
        return Err(CliError::Usage("--name is for one file".to_owned()));
    }
    // All files are read before the first is sent: a wrong one leaves nothing half done.
    let mut all_loaded = Vec::new();
    for path in &args.files {
        let mut loaded = load(path)?;
        if let Some(name) = &args.name {
            loaded.assembly.name.clone_from(name);
        }
        if args.all_sites {
            loaded.assembly.sites = None;
        } else if !args.sites.is_empty() {
            loaded.assembly.sites = Some(args.sites.iter().cloned().collect());
        }
        checked(&loaded)?;
        all_loaded.push(loaded);
    }
    let mut done = Vec::new();
    for (path, loaded) in args.files.iter().zip(all_loaded) {
        let known = existing(api, &loaded.assembly.name).await?;
        let view = put(api, known.as_ref(), &loaded, &args.note).await?;
        let change = match &known {
            None => "created",
            Some(shown) if shown.standing.latest == view.latest => "unchanged",
            Some(_) => "changed",
        };
        let digest = view.latest_digest;
        done.push(Imported {
            file: path.clone(),
            change,
            left_out: loaded.left_out,
            assembly: publish_if(api, args.publish, view, digest).await?,
        });
    }
    let head = ["FILE", "NAME", "VERSION", "PUBLISHED", "CHANGE", "LEFT OUT"];
    printer.list(&done, "", &head, |one| {
        let view = &one.assembly;
        vec![
            one.file.display().to_string(),
            view.name.clone(),
            view.latest.to_string(),
            view.published
                .map_or_else(|| "-".to_owned(), |version| version.to_string()),
            one.change.to_owned(),
            one.left_out.join("; "),
        ]
    })
}

/// Finds the assembly of a name that is not archived, with its newest version.
pub(crate) async fn existing(api: &Api, name: &str) -> Result<Option<AssemblyShown>, CliError> {
    let mut found = named(api, name).await?;
    found.retain(|view| !view.archived);
    match found.as_slice() {
        [] => Ok(None),
        [view] => read(api, view, None).await.map(Some),
        _ => Err(CliError::Usage(format!("several assemblies have the name {name:?}"))),
    }
}

async fn export(api: &Api, printer: &Printer, text: &str, script: bool, output: Option<&Path>) -> Result<(), CliError> {
    let (name, version) = split(text);
    let view = find(api, name).await?;
    let shown = read(api, &view, version.or(view.published)).await?;
    let bytes = if script {
        shown.content.script.clone().into_bytes()
    } else {
        let data = files(api, &view, &shown.content).await?;
        let document = document::write(&shown.content, &data);
        let text = serde_json::to_string_pretty(&document).map_err(|e| CliError::Answer(e.to_string()))?;
        format!("{text}\n").into_bytes()
    };
    let Some(path) = output else {
        let text = String::from_utf8_lossy(&bytes);
        return printer.line(text.strip_suffix('\n').unwrap_or(&text));
    };
    let failed = |source| CliError::File {
        path: path.to_owned(),
        did: "written",
        source,
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    std::io::Write::write_all(&mut file.map_err(failed)?, &bytes).map_err(failed)?;
    printer.value(&shown.standing, || {
        print::plain(&format!(
            "{}, version {}, stands in {}.",
            shown.content.name,
            shown.version.version,
            path.display()
        ))
    })
}

async fn files(api: &Api, view: &AssemblyView, content: &Assembly) -> Result<BTreeMap<Digest, Vec<u8>>, CliError> {
    let mut data = BTreeMap::new();
    for file in &content.files {
        let path = format!("{PATH}/{}/file?digest={}", view.assembly, file.digest);
        let answer: AssemblyFile = api.get(&path).await?;
        let wrong = || CliError::Answer(format!("the file {:?} is not what its digest names", file.name));
        let bytes = STANDARD.decode(answer.data_base64).map_err(|_| wrong())?;
        if Digest::of(&bytes) != file.digest {
            return Err(wrong());
        }
        data.insert(file.digest, bytes);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_as_it_is_written() {
        let read = |text: &str| {
            let variable = variable(text).unwrap();
            (
                variable.name,
                variable.kind,
                variable.required,
                variable.default,
                variable.choices.len(),
            )
        };
        assert_eq!(read("a"), ("a".into(), VariableType::String, false, String::new(), 0));
        assert_eq!(
            read("a!:number=3"),
            ("a".into(), VariableType::Number, true, "3".into(), 0)
        );
        assert_eq!(
            read("a b=x=y:z"),
            ("a b".into(), VariableType::String, false, "x=y:z".into(), 0)
        );
        assert_eq!(
            read("a:choice(x|y)=y"),
            ("a".into(), VariableType::Choice, false, "y".into(), 2)
        );
        for wrong in ["a:date", "a:choice(x"] {
            assert!(variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_stands_behind_the_last_at() {
        assert_eq!(split("Clean up@12"), ("Clean up", Some(12)));
        assert_eq!(split("Clean up"), ("Clean up", None));
        assert_eq!(split("a@b"), ("a@b", None));
    }
}
