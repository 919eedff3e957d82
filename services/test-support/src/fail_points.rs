//! Arms named points at which real processes die, while they run.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use borealis_fail_points::{LINE_BYTES, VARIABLE, line};
use tempfile::TempDir;

use crate::{TestError, programs};

/// Is the file into which all processes of a world look.
pub struct FailPoints {
    file: File,
    dir: TempDir,
}

impl FailPoints {
    /// Makes the file, with no point armed.
    ///
    /// Errors: no file can be made; a program of those named was built without fail points, so that nothing would ever die.
    pub fn new(programs: &[&str]) -> Result<Self, TestError> {
        for name in programs {
            let program = programs::built(name)?;
            if !holds(&program, VARIABLE.as_bytes())? {
                return Err(TestError(format!(
                    "{} was built without fail points: run `cargo build --workspace --bins`, which asks for them",
                    program.display()
                )));
            }
        }
        let of = |error: std::io::Error| TestError::of("file of fail points", &error);
        let dir = TempDir::with_prefix("borealis-points-").map_err(of)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("points"))
            .map_err(of)?;
        file.write_all_at(&line(""), 0).map_err(of)?;
        Ok(Self { file, dir })
    }

    /// Returns the variable that lets a process look into the file.
    pub fn variable(&self) -> (String, String) {
        let path = self.dir.path().join("points");
        (VARIABLE.to_owned(), path.display().to_string())
    }

    /// Arms a point: of the processes with that first argument, whoever makes that hit from now on dies.
    ///
    /// Errors: the file cannot be written.
    pub fn arm(&self, point: &str, who: &str, hit: u64) -> Result<(), TestError> {
        self.write(&format!("{point} {who} {hit}"))
    }

    /// Disarms whatever is armed.
    ///
    /// Errors: the file cannot be written.
    pub fn disarm(&self) -> Result<(), TestError> {
        self.write("")
    }

    fn write(&self, text: &str) -> Result<(), TestError> {
        let locked = self.file.lock().and_then(|()| self.file.write_all_at(&line(text), 0));
        let done = locked.and_then(|()| self.file.unlock());
        done.map_err(|error| TestError::of("file of fail points", &error))
    }

    /// Returns the process that died at a point since that was armed.
    pub fn died(&self, point: &str) -> Option<u32> {
        let mut bytes = [0; LINE_BYTES];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let pid = text.strip_prefix(point)?.trim_start().strip_prefix("died ")?;
        pid.trim().parse().ok()
    }
}

fn holds(program: &Path, text: &[u8]) -> Result<bool, TestError> {
    let bytes = std::fs::read(program).map_err(|error| TestError::of("program", &error))?;
    Ok(bytes.windows(text.len()).any(|window| window == text))
}
