//! Setting up a process's log.

use crate::{Clock, JsonLayer, LogError, LogFile, Side, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;

/// What a process says about its log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The folder that holds `Server/` and `Agent/`.
    pub dir: PathBuf,
    /// Which of the two.
    pub side: Side,
    /// The name of the file, without `.log`.
    pub service: String,
    /// Whether to repeat the lines on stderr in a form for people.
    pub stderr: bool,
    /// Whether errors go to `<service>.error.log` too.
    pub errors: bool,
    /// Directives like `info` or `info,borealis_signing=debug`.
    pub filter: String,
}

/// Keeps the process the owner of its log; held until the end of `main`.
///
/// Nothing is buffered, so that nothing needs to be flushed.
#[derive(Debug)]
pub struct Guard {
    file: Arc<LogFile>,
    errors: Option<Arc<LogFile>>,
}

impl Guard {
    /// Returns the log's file, for lines that do not come from `tracing`.
    #[must_use]
    pub fn file(&self) -> &Arc<LogFile> {
        &self.file
    }

    /// Renames the files when the day has changed; for a timer in programs that are silent for days.
    pub fn roll_if_due(&self) {
        self.file.roll_if_due();
        if let Some(errors) = &self.errors {
            errors.roll_if_due();
        }
    }
}

/// Opens the log of this process and sends every `tracing` event there, panics too.
///
/// # Errors
/// [`LogError`]; [`LogError::AlreadySet`] on a second call in a process.
pub fn init(config: &LogConfig) -> Result<Guard, LogError> {
    let (subscriber, guard) = subscriber(config, Arc::new(SystemClock))?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)?;
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, text = panic.payload_as_str(), "a thread panicked");
        print(panic);
    }));
    Ok(guard)
}

/// Opens the log without making it the process's; for tests and for several logs in one process.
///
/// # Errors
/// [`LogError`].
pub fn subscriber(
    config: &LogConfig,
    clock: Arc<dyn Clock>,
) -> Result<(impl Subscriber + Send + Sync + use<>, Guard), LogError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|source| LogError::Filter {
        filter: config.filter.clone(),
        source,
    })?;
    let open = |service: &str| LogFile::open(&config.dir, config.side, service, Arc::clone(&clock)).map(Arc::new);
    let file = open(&config.service)?;
    let errors = config
        .errors
        .then(|| open(&format!("{}.error", config.service)))
        .transpose()?;
    let layer = JsonLayer::new(&config.service, Arc::clone(&file), errors.clone(), config.stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    Ok((subscriber, Guard { file, errors }))
}
