//! Waves: a job that reaches its devices part by part, and stops when too many of them fail.
//!
//! Shape: `{"sizes": ["1", "10%", "rest"], "pause_ms": 600000, "until_continued": false, "brake": "5%"}`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::time::Timestamp;

/// Is how many sizes of waves a job names at most.
pub const MAX_WAVE_SIZES: usize = 64;

/// Says in which parts a job reaches its devices.
///
/// It only delays what its author signed: a device runs nothing else, and nothing at another time than an order allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waves {
    /// How large the waves are, in their order; the last size is repeated until every device has its turn.
    pub sizes: Vec<WaveSize>,
    /// How long to wait between the end of a wave and the next one, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// Whether each wave but the first waits until an operator continues the job.
    #[serde(default)]
    pub until_continued: bool,
    /// How many may fail before nothing more begins; without it none are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
}

/// Is how many devices a wave has.
///
/// Shape: `"7"`, `"10%"` of all devices of the job, rounded up, or `"rest"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WaveSize {
    /// So many.
    Count(u32),
    /// So many in a hundred of the job's devices.
    Percent(u32),
    /// All that are left.
    Rest,
}

/// Is how many runs may fail.
///
/// Shape: `"3"`: a fourth is too many; `"5%"` of the devices whose waves have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Brake {
    /// So many.
    Failures(u32),
    /// So many in a hundred.
    Percent(u32),
}

/// Says why a text is no size and no brake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WavesError {
    /// A wave's size is none.
    #[error("{0:?} is no size of a wave: give a number, a share such as 10%, or rest")]
    Size(String),
    /// A brake is none.
    #[error("{0:?} is no brake: give a number or a share such as 5%")]
    Brake(String),
}

fn share(text: &str) -> Option<u32> {
    number(text.strip_suffix('%')?).filter(|percent| *percent <= 100)
}

fn number(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

impl FromStr for WaveSize {
    type Err = WavesError;

    fn from_str(text: &str) -> Result<Self, WavesError> {
        let found = match text {
            "rest" => Some(Self::Rest),
            _ if text.ends_with('%') => share(text).filter(|percent| *percent > 0).map(Self::Percent),
            _ => number(text).filter(|count| *count > 0).map(Self::Count),
        };
        found.ok_or_else(|| WavesError::Size(text.chars().take(64).collect()))
    }
}

impl FromStr for Brake {
    type Err = WavesError;

    fn from_str(text: &str) -> Result<Self, WavesError> {
        let found = if text.ends_with('%') {
            share(text).map(Self::Percent)
        } else {
            number(text).map(Self::Failures)
        };
        found.ok_or_else(|| WavesError::Brake(text.chars().take(64).collect()))
    }
}

impl fmt::Display for WaveSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rest => f.write_str("rest"),
        }
    }
}

impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl TryFrom<String> for WaveSize {
    type Error = WavesError;

    fn try_from(text: String) -> Result<Self, WavesError> {
        text.parse()
    }
}

impl TryFrom<String> for Brake {
    type Error = WavesError;

    fn try_from(text: String) -> Result<Self, WavesError> {
        text.parse()
    }
}

impl From<WaveSize> for String {
    fn from(size: WaveSize) -> Self {
        size.to_string()
    }
}

impl From<Brake> for String {
    fn from(brake: Brake) -> Self {
        brake.to_string()
    }
}

/// Says where a job's waves stand, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WavesView {
    /// Which wave began last, counted from 1.
    pub wave: u32,
    /// How many there are.
    pub waves_total: u32,
    /// On how many devices the waves are that have begun.
    pub devices: u64,
    /// How many runs failed, were refused or interrupted, or took too long, since the job was made or continued.
    pub failures: u64,
    /// How many may.
    pub brake: Option<Brake>,
    /// `running`; `paused` between two waves; `braked` when too many failed.
    pub state: String,
    /// When the next wave begins, where the clock decides it.
    pub next_at: Option<Timestamp>,
    /// What it waits for, in a sentence.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_brakes_are_read_as_they_are_written() {
        for text in ["1", "4294967295", "1%", "100%", "rest"] {
            assert_eq!(text.parse::<WaveSize>().unwrap().to_string(), text);
        }
        for text in ["0", "3", "0%", "100%"] {
            assert_eq!(text.parse::<Brake>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0%", "101%", "-1", "+1", " 1", "1.5", "all", "%", "4294967296"] {
            assert!(text.parse::<WaveSize>().is_err(), "{text}");
        }
        for text in ["", "101%", "-1", "+1", "rest", "%", "3 "] {
            assert!(text.parse::<Brake>().is_err(), "{text}");
        }
    }
}
