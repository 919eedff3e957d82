//! One log file: its lock, its day, its lines.

use crate::{Clock, LogError};
use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Time after which a failed rename is tried again.
const RETRY_ROLL: TimeDelta = TimeDelta::seconds(60);

/// The bit by which an administrator shares a folder with a group.
#[cfg(unix)]
const SETGID: u32 = 0o2000;

/// Which half of the product writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `Logs/Server/`.
    Server,
    /// `Logs/Agent/`.
    Agent,
}

impl Side {
    /// Returns the name of the side's folder.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Agent => "Agent",
        }
    }
}

/// Returns the path of a service's log of today, below the folder `logs`.
#[must_use]
pub fn log_path(logs: &Path, side: Side, service: &str) -> PathBuf {
    logs.join(side.folder()).join(format!("{service}.log"))
}

/// A log file that this process owns.
///
/// It takes lines from any thread. Also the sink for text that another program prints (`nats.log`).
pub struct LogFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// The local day of the lines in the file.
    day: NaiveDate,
    /// Set while a rename fails: when to try again.
    retry_roll_at: Option<DateTime<FixedOffset>>,
    /// Lines that could not be written since the last that could.
    lost: u64,
    /// Whether the file ends inside a line.
    torn: bool,
    /// Held for as long as this process owns the log; its name does not change at midnight, as the log's does.
    _lock: File,
}

impl LogFile {
    /// Opens, or creates, `<logs>/<side>/<service>.log` and becomes its owner.
    ///
    /// A file whose last line belongs to another day is renamed first.
    ///
    /// # Errors
    /// [`LogError::Owned`] while another process, or this one, has it open; the others name what the system refused.
    pub fn open(logs: &Path, side: Side, service: &str, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        if !is_name(service) {
            return Err(LogError::Name { name: service.into() });
        }
        let folder = logs.join(side.folder());
        private_folder(&folder).map_err(|source| LogError::Folder {
            path: folder.clone(),
            source,
        })?;
        let path = log_path(logs, side, service);
        let lock = own(&folder.join(format!(".{service}.lock")), &path)?;
        let open_error = |source| LogError::Open {
            path: path.clone(),
            source,
        };
        let today = clock.now_local().date_naive();
        let file = open_for_append(&path).map_err(open_error)?;
        let meta = file.metadata().map_err(open_error)?;
        let day = match meta.len() {
            0 => today,
            _ => clock.local_day(meta.modified().map_err(open_error)?),
        };
        let torn = ends_inside_a_line(&path, meta.len()).map_err(open_error)?;
        let mut state = State {
            file,
            day,
            retry_roll_at: None,
            lost: 0,
            torn,
            _lock: lock,
        };
        if day != today {
            state.roll(&path, today).map_err(open_error)?;
        }
        Ok(Self {
            path,
            clock,
            state: Mutex::new(state),
        })
    }

    /// Returns the path of today's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the clock that decides the day of a line.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Writes one line; the end of line is added, text with several lines becomes several.
    ///
    /// Never fails and never waits for anything but the disk: a line that the disk refuses is counted and reported
    /// with the next that it takes.
    pub fn write_line(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read behind the lock: a thread that waited for it would bring yesterday back.
        state.roll_if_due(&self.path, self.clock.now_local());
        state.write(&self.path, text);
    }

    /// Renames the file when the day has changed since its last line; for programs that are silent for days.
    pub fn roll_if_due(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.roll_if_due(&self.path, self.clock.now_local());
    }
}

impl std::fmt::Debug for LogFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl State {
    fn roll_if_due(&mut self, path: &Path, now: DateTime<FixedOffset>) {
        let today = now.date_naive();
        if today == self.day || self.retry_roll_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_roll_at = None;
        if let Err(error) = self.roll(path, today) {
            // Yesterday's file takes the lines until the rename succeeds: better there than nowhere.
            complain(&format!("{}: not renamed at day change: {error}", path.display()));
            self.retry_roll_at = now.checked_add_signed(RETRY_ROLL);
        }
    }

    /// Gives the file the name of its day and begins the file of `today`. Safe to repeat after any step.
    fn roll(&mut self, path: &Path, today: NaiveDate) -> io::Result<()> {
        if self.file.metadata()?.len() > 0 {
            let dated = dated_path(path, self.day);
            if path.try_exists()? {
                if dated.try_exists()? {
                    append_and_remove(path, &dated)?;
                } else {
                    fs::rename(path, &dated)?;
                }
            }
            self.file = open_for_append(path)?;
            self.torn = false;
        }
        self.day = today;
        Ok(())
    }

    fn write(&mut self, path: &Path, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 2);
        if self.torn {
            bytes.push(b'\n');
        }
        if self.lost > 0 {
            let note = format!(
                "{{\"level\":\"ERROR\",\"message\":\"{} lines before this one could not be written\"}}\n",
                self.lost
            );
            bytes.extend_from_slice(note.as_bytes());
        }
        bytes.extend_from_slice(text.trim_end_matches(['\r', '\n']).as_bytes());
        bytes.push(b'\n');
        match self.file.write_all(&bytes) {
            Ok(()) => {
                self.torn = false;
                self.lost = 0;
            }
            Err(error) => {
                if self.lost == 0 {
                    complain(&format!("{}: not written: {error}", path.display()));
                }
                self.lost += 1;
                // A part of the line may have arrived; a needless empty line costs nothing.
                self.torn = true;
            }
        }
    }
}

/// Tells stderr what the log cannot hold. A closed stderr is no reason to stop.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn is_name(service: &str) -> bool {
    service.starts_with(|first: char| first.is_ascii_lowercase())
        && service
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

fn dated_path(path: &Path, day: NaiveDate) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{day}"));
    name.into()
}

/// Makes the folder, and closes it to other users also when it stood already; one with the setgid bit is shared with a group
/// by an administrator, and stands as it is.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700).create(folder)?;
        let mode = fs::metadata(folder)?.permissions().mode() & 0o7777;
        if mode & SETGID == 0 && mode != 0o700 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(folder)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn open_for_append(path: &Path) -> io::Result<File> {
    private_file().append(true).open(path)
}

/// Takes the lock that makes this process the owner of the log `path`, and leaves its process id there.
fn own(lock_path: &Path, path: &Path) -> Result<File, LogError> {
    let open_error = |source| LogError::Open {
        path: lock_path.to_owned(),
        source,
    };
    let mut lock = private_file()
        .read(true)
        .write(true)
        .truncate(false)
        .open(lock_path)
        .map_err(open_error)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = lock.read_to_string(&mut pid);
            let owner = read.ok().and_then(|_| pid.trim().parse().ok());
            return Err(LogError::Owned {
                path: path.to_owned(),
                owner,
            });
        }
        Err(TryLockError::Error(source)) => return Err(open_error(source)),
    }
    lock.set_len(0).map_err(open_error)?;
    writeln!(lock, "{}", std::process::id()).map_err(open_error)?;
    Ok(lock)
}

fn ends_inside_a_line(path: &Path, len: u64) -> io::Result<bool> {
    if len == 0 {
        return Ok(false);
    }
    let mut last = [0];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Appends `from` to `to`, syncs, and only then removes `from`: no line is lost, wherever it stops.
///
/// Stopped between the two, the next try finds the bytes at the end of `to` and does not append them again.
fn append_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = private_file().read(true).append(true).open(to)?;
    let before = target.metadata()?.len();
    if !ends_with(&mut target, &mut source)? {
        source.rewind()?;
        let appended = separate(&mut target, before)
            .and_then(|()| io::copy(&mut source, &mut target))
            .and_then(|_| target.sync_all());
        if let Err(error) = appended {
            target.set_len(before)?;
            return Err(error);
        }
    }
    fs::remove_file(from)
}

/// Ends a last line that was cut off, so that the next does not join it.
fn separate(target: &mut File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let mut last = [0];
    target.seek(SeekFrom::End(-1))?;
    target.read_exact(&mut last)?;
    if last == *b"\n" {
        Ok(())
    } else {
        target.write_all(b"\n")
    }
}

/// Tells whether the last bytes of `target` are those of `source`.
fn ends_with(target: &mut File, source: &mut File) -> io::Result<bool> {
    let len = source.metadata()?.len();
    let Some(start) = target.metadata()?.len().checked_sub(len) else {
        return Ok(false);
    };
    target.seek(SeekFrom::Start(start))?;
    source.rewind()?;
    let mut ours = io::BufReader::new(source).bytes();
    for theirs in io::BufReader::new(target).bytes() {
        let theirs = theirs?;
        if ours.next().transpose()? != Some(theirs) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
pub(crate) mod tests;
