//! `borealis run`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use borealis_bus_schema::assembly::AssemblyUse;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{RoleName, VerbName};
use borealis_bus_schema::messages::scheduler::{CreateJob, JobCreated, MAX_SCRIPT_BYTES};
use borealis_bus_schema::messages::waves::{Brake, WaveSize, Waves};
use borealis_bus_schema::order::{Context, EnvValue, Language};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::{dry_run, library};
use crate::api::{self, Api};
use crate::args::targets::TargetArgs;
use crate::args::values::{self, Pause};
use crate::error::CliError;
use crate::exit;
use crate::follow;
use crate::print::Printer;

/// Is when a script's process tree is ended unless told.
const HOUR_MS: u64 = 3_600_000;

/// Says what to run where.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RunArgs {
    /// Where.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// Shows on which devices it would be, how many are on line and which cannot run it; nothing is sent to any of them
    #[arg(long, conflicts_with = "follow")]
    pub dry_run: bool,
    /// Language: sh, bash, python, powershell or batch [default: by the file's name, else sh]
    #[arg(long, value_name = "LANG", value_parser = values::language, conflicts_with = "assembly")]
    pub lang: Option<Language>,
    /// Rights it runs with: SYSTEM or CURRENTUSER
    #[arg(long, value_name = "CONTEXT", default_value = "SYSTEM", value_parser = values::context)]
    pub context: Context,
    /// When its process tree is ended: 30s, 10m, 2h [default: that of the assembly, else 1h]
    #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
    pub timeout: Option<u64>,
    /// When a run whose device did not come ends: 1h, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = values::duration_ms)]
    pub expires_in: u64,
    /// How often a script that failed, or whose time was over, is tried again: 0 to 10
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub retries: u32,
    /// How long to wait before the first of these, doubled for each after it: 1s to 24h
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::duration_ms)]
    pub backoff: u64,
    /// Reaches the devices in waves: sizes such as 1,10%,rest, of which the last is repeated until all had their turn
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub waves: Vec<WaveSize>,
    /// What lies between two waves: a time such as 10m, or continue, to wait for `borealis jobs continue`
    #[arg(long, value_name = "TIME", requires = "waves", value_parser = values::pause)]
    pub pause: Option<Pause>,
    /// How many may fail before no more begin, 3 or 5% of the devices whose waves have begun
    #[arg(long, value_name = "MOST", requires = "waves")]
    pub brake: Option<Brake>,
    /// Prints output as it comes and ends with the worst exit code
    #[arg(long)]
    pub follow: bool,
    /// File with the script; - is stdin
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "command",
        required_unless_present_any = ["command", "assembly"]
    )]
    pub file: Option<PathBuf>,
    /// Name or id of an assembly of the library; its published version, or NAME@VERSION
    #[arg(long, value_name = "ASSEMBLY", conflicts_with_all = ["file", "command"])]
    pub assembly: Option<String>,
    /// Value of one of its variables, NAME=VALUE; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", requires = "assembly", conflicts_with_all = ["file", "command"], value_parser = given())]
    pub vars: Vec<Given>,
    /// File with the value of one of its variables, NAME=FILE; may be repeated
    #[arg(long = "var-file", value_name = "NAME=FILE", requires = "assembly", conflicts_with_all = ["file", "command"], value_parser = given())]
    pub var_files: Vec<Given>,
    /// One word is the script's text; several are a command with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Submits a job and, when it is to be followed, prints its output.
pub async fn run(api: &Api, printer: &Printer, args: RunArgs) -> Result<u8, CliError> {
    if args.follow {
        api.be_patient(api::FOLLOWING);
    }
    if args.dry_run {
        let targets = args.targets.targets(api).await?;
        let runs = match &args.assembly {
            None => None,
            Some(text) => Some(assembly(api, &args, text).await?.0),
        };
        return dry_run::run(api, printer, &targets, args.context, runs.as_ref()).await;
    }
    let body = body(api, &args).await?;
    let created: JobCreated = api.change("/api/v1/jobs", &body).await?;
    tell(api, printer, &created, args.follow, "has", "runs").await
}

/// Tells of a job that was made, or follows it to its end; returns the exit code.
pub async fn tell(
    api: &Api,
    printer: &Printer,
    made: &JobCreated,
    follows: bool,
    does: &str,
    what: &str,
) -> Result<u8, CliError> {
    let JobCreated { job, runs_total, .. } = made;
    if made.awaiting_approval {
        printer.aside(&format!(
            "Job {job} is on more devices than your limit: it waits until another operator approves it (borealis jobs approve {job})."
        ))?;
    }
    if follows {
        return follow::job(api, printer, *job, *runs_total).await;
    }
    printer.value(made, || format!("Job {job} {does} {runs_total} {what}."))?;
    Ok(exit::OK)
}

/// Makes the body of a job.
pub async fn body(api: &Api, args: &RunArgs) -> Result<CreateJob, CliError> {
    let (script, language, assembly, timeout_ms) = match &args.assembly {
        None => {
            let (script, language) = script(args)?;
            (Some(script), Some(language), None, HOUR_MS)
        }
        Some(text) => {
            let (assembly, timeout_ms) = assembly(api, args, text).await?;
            (None, None, Some(assembly), timeout_ms)
        }
    };
    Ok(CreateJob {
        targets: args.targets.targets(api).await?,
        role: RoleName::script(),
        verb: VerbName::run(),
        language,
        context: args.context,
        script,
        args: Vec::new(),
        env: BTreeMap::new(),
        assembly,
        timeout_ms: args.timeout.unwrap_or(timeout_ms),
        expires_in_ms: args.expires_in,
        retries: args.retries,
        backoff_ms: args.backoff,
        waves: waves(args),
    })
}

/// Says in which parts it reaches its devices; none where it is all at once.
fn waves(args: &RunArgs) -> Option<Waves> {
    let pause = args.pause.unwrap_or(Pause::For(0));
    (!args.waves.is_empty()).then(|| Waves {
        sizes: args.waves.clone(),
        pause_ms: if let Pause::For(pause_ms) = pause { pause_ms } else { 0 },
        until_continued: pause == Pause::UntilContinued,
        brake: args.brake,
    })
}

/// Is a name with the bytes behind it.
pub type Given = (String, Vec<u8>);

/// Reads NAME=BYTES, whatever the bytes are.
fn given() -> impl TypedValueParser<Value = Given> {
    OsStringValueParser::new().try_map(|text| {
        let bytes = text.into_vec();
        let mut halves = bytes.splitn(2, |byte| *byte == b'=');
        match (
            halves.next().map(|name| String::from_utf8(name.to_vec())),
            halves.next(),
        ) {
            (Some(Ok(name)), Some(value)) if !name.is_empty() => Ok((name, value.to_vec())),
            _ => Err("it is NAME=VALUE"),
        }
    })
}

/// Finds the version of an assembly that is asked for, and checks that it is what its digest names.
async fn assembly(api: &Api, args: &RunArgs, text: &str) -> Result<(AssemblyUse, u64), CliError> {
    let (name, version) = library::split(text);
    let view = library::find(api, name).await?;
    let version = version.or(view.published).ok_or_else(|| CliError::Refused {
        code: Code::NotPublished.as_str().to_owned(),
        message: format!("no version of {name:?} is published"),
        retry: None,
        request_id: None,
    })?;
    let shown = library::read(api, &view, Some(version)).await?;
    let mut variables = BTreeMap::new();
    let mut add = |name: &String, value: Vec<u8>| match variables.insert(name.clone(), EnvValue::from_bytes(value)) {
        None => Ok(()),
        Some(_) => Err(CliError::Usage(format!("the variable {name:?} is given twice"))),
    };
    for (name, value) in &args.vars {
        add(name, value.clone())?;
    }
    for (name, path) in &args.var_files {
        let path = PathBuf::from(OsString::from_vec(path.clone()));
        let value = read(&path).map_err(|source| CliError::File {
            path,
            did: "read",
            source,
        })?;
        if value.len() > MAX_SCRIPT_BYTES {
            return Err(CliError::Usage(format!(
                "the value of {name:?} is larger than {MAX_SCRIPT_BYTES} bytes"
            )));
        }
        add(name, value)?;
    }
    let wanted = AssemblyUse {
        assembly: view.assembly,
        version,
        digest: shown.version.digest,
        variables,
    };
    Ok((wanted, shown.content.timeout_ms))
}

fn script(args: &RunArgs) -> Result<(String, Language), CliError> {
    let Some(path) = &args.file else {
        let language = args.lang.unwrap_or(Language::Sh);
        return Ok((command(&args.command, language), language));
    };
    let language = args.lang.unwrap_or_else(|| by_name(path));
    let bytes = read(path).map_err(|source| CliError::File {
        path: path.clone(),
        did: "read",
        source,
    })?;
    if bytes.len() > MAX_SCRIPT_BYTES {
        return Err(CliError::Usage(format!(
            "the script is larger than {MAX_SCRIPT_BYTES} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| CliError::Usage("the script is no UTF-8 text".to_owned()))?;
    Ok((text, language))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_SCRIPT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?
            .take(MAX_SCRIPT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Tells a script's language by its file's name.
fn by_name(path: &Path) -> Language {
    match path.extension().and_then(|e| e.to_str()) {
        Some("py") => Language::Python,
        Some("ps1") => Language::Powershell,
        Some("bash") => Language::Bash,
        Some("bat" | "cmd") => Language::Batch,
        _ => Language::Sh,
    }
}

/// Makes a script of the words: one is the text itself; several are a command whose arguments stay apart.
fn command(words: &[String], language: Language) -> String {
    match (words, language) {
        ([text], _) => text.clone(),
        (words, Language::Sh | Language::Bash) => words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "),
        (words, _) => words.join(" "),
    }
}

fn quoted(word: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn one_word_is_a_script_and_several_are_a_command() {
        assert_eq!(command(&words(&["uname; uptime"]), Language::Sh), "uname; uptime");
        assert_eq!(
            command(&words(&["sh", "-c", "echo 'a b'; exit 3"]), Language::Sh),
            r"sh -c 'echo '\''a b'\''; exit 3'"
        );
        assert_eq!(command(&words(&["echo", ""]), Language::Bash), "echo ''");
        assert_eq!(command(&words(&["print(1)"]), Language::Python), "print(1)");
    }

    #[test]
    fn a_name_tells_the_language() {
        assert_eq!(by_name(Path::new("x.py")), Language::Python);
        assert_eq!(by_name(Path::new("x.ps1")), Language::Powershell);
        assert_eq!(by_name(Path::new("x")), Language::Sh);
    }
}
