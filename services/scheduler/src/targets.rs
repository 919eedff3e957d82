//! A job's devices as a file: long lists stay out of the log.

use borealis_bus_schema::ids::Guid;
use thiserror::Error;

use crate::book::Target;

/// Says that a file holds no list of targets.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("line {line} of a list of targets is none")]
pub struct TargetsError {
    /// Counted from 1.
    pub line: usize,
}

/// Writes a list.
///
/// Shape: a line a device: GUID, a space, hostname with control characters left out.
pub fn write(targets: &[Target]) -> Vec<u8> {
    let mut out = String::new();
    for target in targets {
        out.push_str(&target.guid.to_string());
        out.push(' ');
        out.extend(target.hostname.chars().filter(|c| !c.is_control()));
        out.push('\n');
    }
    out.into_bytes()
}

/// Reads a list.
///
/// Errors: [`TargetsError`] names the line.
pub fn read(bytes: &[u8]) -> Result<Vec<Target>, TargetsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TargetsError { line: 1 })?;
    let line_of = |(at, line): (usize, &str)| {
        let (guid, hostname) = line.split_once(' ').ok_or(TargetsError { line: at + 1 })?;
        let guid: Guid = guid.parse().map_err(|_| TargetsError { line: at + 1 })?;
        Ok(Target {
            guid,
            hostname: hostname.to_owned(),
        })
    };
    text.lines().enumerate().map(line_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back() {
        let target = |n: u8, name: &str| Target {
            guid: Guid::from_random([n; 16]),
            hostname: name.into(),
        };
        let list = vec![target(1, "web-1"), target(2, "a b"), target(3, "")];
        assert_eq!(read(&write(&list)), Ok(list));
        assert_eq!(read(b"x y\n"), Err(TargetsError { line: 1 }));
        let odd = vec![target(1, "a\nb")];
        assert_eq!(read(&write(&odd)).unwrap()[0].hostname, "ab");
    }
}
