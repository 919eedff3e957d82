//! The answer to every request: the value, or an error that says who has to act.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError};
use crate::codes::{Code, Retry};

/// Carries a failure to the side that asked.
///
/// Shape: `{code, message, retry}`; `message` is for people and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// The stable code.
    pub code: Code,
    /// What happened, in a sentence.
    pub message: String,
    /// Whether to send the same again.
    pub retry: Retry,
}

impl WireError {
    /// Makes the error of a code with a sentence for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry: code.retry(),
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}
impl std::error::Error for WireError {}

impl From<CodecError> for WireError {
    fn from(error: CodecError) -> Self {
        WireError::new(error.code(), error.to_string())
    }
}

/// Holds what a verb answers.
pub type Reply<T> = Result<T, WireError>;

#[derive(Serialize, Deserialize)]
enum Wire<T> {
    #[serde(rename = "ok")]
    Ok(T),
    #[serde(rename = "error")]
    Error(WireError),
}

/// Encodes a reply.
///
/// Shape: CBOR `{"ok": T}` or `{"error": WireError}`.
///
/// Errors: [`CodecError`] when the value is too large for a message.
pub fn encode<T: Serialize>(reply: &Reply<T>) -> Result<Vec<u8>, CodecError> {
    match reply {
        Ok(value) => codec::encode(&Wire::Ok(value)),
        Err(error) => codec::encode(&Wire::<()>::Error(error.clone())),
    }
}

/// Decodes a reply.
///
/// Errors: the [`WireError`] that was answered, or one with code `malformed` when the bytes are no reply.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Reply<T> {
    match codec::decode::<Wire<T>>(bytes)? {
        Wire::Ok(value) => Ok(value),
        Wire::Error(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_arms_come_back_as_they_went() {
        let fine: Reply<u64> = Ok(7);
        assert_eq!(decode::<u64>(&encode(&fine).unwrap()), fine);
        let refused: Reply<u64> = Err(WireError::new(Code::NotFound, "no such job"));
        assert_eq!(decode::<u64>(&encode(&refused).unwrap()), refused);
    }

    #[test]
    fn rubbish_is_malformed() {
        assert_eq!(decode::<u64>(b"\xff\xff").unwrap_err().code, Code::Malformed);
    }
}
