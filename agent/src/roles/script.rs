//! The role `script`: runs a signed script in its own folder, with its own small environment, as one process tree.

mod interpreter;

use super::{Action, Hands, Role, RoleEvent};
use crate::core::Exit;
use crate::core::record::RunKey;
use crate::paths::write_whole;
use crate::process::reaper::Plan;
use crate::process::run::{self, RunEvent, RunSpec};
use crate::process::{spool, tree};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::order::{Context, EnvValue, Order, OrderBody, ScriptBody};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Holds the runs under way, each with the word that ends it.
type Living = Arc<Mutex<HashMap<RunKey, oneshot::Sender<()>>>>;

/// Runs scripts.
#[derive(Debug, Clone, Default)]
pub struct ScriptRole {
    living: Living,
}

/// Says why a script cannot begin.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no interpreter for {0} was found")]
    InterpreterMissing(&'static str),
    #[error("the run's folder cannot be made: {0}")]
    Folder(#[from] std::io::Error),
    #[error("the order holds no script")]
    NoScript,
}

impl Refusal {
    fn exit(&self) -> Exit {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let code = match self {
            Refusal::InterpreterMissing(_) => Code::InterpreterMissing,
            Refusal::Folder(error) if matches!(error.kind(), StorageFull | QuotaExceeded) => Code::NoSpace,
            Refusal::Folder(_) => Code::Internal,
            Refusal::NoScript => Code::OrderMalformed,
        };
        run::not_begun(code, self.to_string())
    }
}

impl Role for ScriptRole {
    fn name(&self) -> &'static str {
        "script"
    }
    fn contexts(&self) -> &'static [Context] {
        &[Context::System, Context::CurrentUser]
    }
    fn verbs(&self) -> &'static [&'static str] {
        &["run", "cancel"]
    }

    fn handle(&self, action: Action, hands: &Hands) {
        match action {
            Action::Begin(order) => self.begin(&order, hands),
            // Dropping the sender is the word.
            Action::End(key, _) => drop(self.living().remove(&key)),
            Action::EndLeftovers(key) => {
                let hands = hands.clone();
                tokio::task::spawn_blocking(move || {
                    let exit = run::end_leftovers(&hands.work, key);
                    hands.tell(RoleEvent::LeftoversEnded(key, exit));
                });
            }
            Action::Gather => {}
        }
    }

    fn stop(&self) {
        self.living().clear();
    }
}

impl ScriptRole {
    fn living(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, oneshot::Sender<()>>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, order: &Order, hands: &Hands) {
        let key = RunKey {
            run: order.run,
            attempt: order.attempt,
        };
        let spec = match stage(order, key, hands) {
            Ok(spec) => spec,
            Err(refusal) => return hands.tell(RoleEvent::Exited(key, refusal.exit())),
        };
        let (end, ended) = oneshot::channel();
        self.living().insert(key, end);
        let (hands, living) = (hands.clone(), Arc::clone(&self.living));
        tokio::spawn(async move {
            let teller = hands.clone();
            let exit = run::run(spec, ended, move |event| match event {
                RunEvent::Started => teller.tell(RoleEvent::Started(key)),
                RunEvent::Grew(stream, size) => teller.tell(RoleEvent::Grew(key, stream, size)),
            })
            .await;
            living.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            hands.tell(RoleEvent::Exited(key, exit));
        });
    }
}

/// Writes the script into the run's own folder and decides how it is run.
fn stage(order: &Order, key: RunKey, hands: &Hands) -> Result<RunSpec, Refusal> {
    let OrderBody::Script(script) = &order.body else {
        return Err(Refusal::NoScript);
    };
    let language = script.language;
    let interpreter = interpreter::find(language).ok_or(Refusal::InterpreterMissing(language.as_str()))?;
    let folder = spool::prepare(&hands.work, key)?;
    let file = folder.join(interpreter::file_name(language));
    write_whole(&file, &script.script, 0o700)?;
    let mut args = interpreter::arguments(language);
    args.push(file.into_os_string());
    args.extend(script.args.iter().map(Into::into));
    Ok(RunSpec {
        wrapper: hands.wrapper.clone(),
        work: hands.work.clone(),
        key,
        limit_bytes: script.output_limit_bytes,
        plan: Plan {
            program: interpreter,
            args,
            env: environment(script, key, &folder),
            folder,
        },
    })
}

/// Returns the script's whole environment: a small set, then what the order gives, then the run's mark.
fn environment(script: &ScriptBody, key: RunKey, folder: &Path) -> BTreeMap<String, OsString> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), interpreter::SEARCH.into()),
        ("LANG".to_owned(), "C.UTF-8".into()),
        ("TMPDIR".to_owned(), folder.as_os_str().to_owned()),
    ]);
    for name in ["HOME", "USER", "LOGNAME", "TZ"] {
        if let Some(value) = std::env::var_os(name) {
            env.insert(name.to_owned(), value);
        }
    }
    let given = |(name, value): (&String, &EnvValue)| (name.clone(), OsString::from_vec(value.as_bytes().to_vec()));
    env.extend(script.env.iter().map(given));
    env.insert(tree::MARK.to_owned(), key.to_string().into());
    env
}
