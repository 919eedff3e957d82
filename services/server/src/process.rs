//! What a child process does to itself before anything else, and the other way round.

use std::{ffi::OsString, io, path::Path};

use borealis_service_kit::exit;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

use crate::error::ServerError;

/// Is the environment variable that names the parent with which a child ends.
pub const PARENT: &str = "BOREALIS_PARENT_PID";

/// Ends this process when its parent ends, if the parent wants that.
///
/// Errors: the system's; the parent that asked for it is gone already.
pub fn end_with_parent() -> Result<(), ServerError> {
    let Some(wanted) = std::env::var(PARENT).ok().and_then(|pid| pid.parse::<i32>().ok()) else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| ServerError::io("ending with the parent")(errno.into()))?;
    // A parent that ended before the line above would never be missed.
    if getppid() != Pid::from_raw(wanted) {
        return Err(ServerError::Failed("the parent process is gone".to_owned()));
    }
    Ok(())
}

/// Keeps other processes of this user from reading this one's memory.
pub fn hide_memory() {
    // An old kernel refuses; a service says so through its isolation.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Raises the limit of open files as far as it goes: each device is a connection.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%errno, "the limit of open files stays as it is");
    }
}

/// Becomes another program, which ends with its parent: the process id stays, so that the parent supervises the program
/// itself.
///
/// Returns only when that fails, with the exit code.
pub fn become_child(program: &Path, args: &[OsString]) -> u8 {
    use std::os::unix::process::CommandExt;
    if end_with_parent().is_err() {
        return exit::FAILED;
    }
    raise_open_files();
    let error: io::Error = std::process::Command::new(program).args(args).env_remove(PARENT).exec();
    eprintln!("{} cannot be started: {error}", program.display());
    exit::NATS_SERVER
}
