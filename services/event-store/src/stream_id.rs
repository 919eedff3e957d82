//! Names of streams.

use std::fmt;

/// Longest name in bytes.
const MAX_LEN: usize = 80;

/// Names one stream: the events of one aggregate, in order.
///
/// **Shape**: 1 to 80 of `a-z`, `0-9` and `-`, by habit `<aggregate>-<id>`, such as `job-6f…` or `device-<guid>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(String);

/// Says why a text is no stream name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stream name has 1 to 80 of a-z, 0-9 and -, this one has {len} bytes: {shown:?}")]
pub struct InvalidStreamId {
    /// Length of the refused text in bytes.
    pub len: usize,
    /// The refused text, cut to 80 characters.
    pub shown: String,
}

impl StreamId {
    /// Checks a text and takes it as a stream name.
    ///
    /// **Errors**: [`InvalidStreamId`] when it is empty, longer than 80 bytes or has another character.
    pub fn new(name: &str) -> Result<Self, InvalidStreamId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_LEN || !name.bytes().all(allowed) {
            return Err(InvalidStreamId {
                len: name.len(),
                shown: name.chars().take(MAX_LEN).collect(),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::str::FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_of_the_alphabet_only() {
        for good in ["a", "job-0123456789abcdef", &"z".repeat(80)] {
            assert_eq!(StreamId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Job", "job/1", "job 1", "jöb", "a\0b", &"z".repeat(81)] {
            assert!(StreamId::new(bad).is_err(), "{bad:?}");
        }
    }
}
