//! Bytes in, values out: the one place that names the CBOR library.
//!
//! Bodies are maps with named fields, so fields can be added. A body has a size limit and a depth limit; bytes behind the
//! value are refused. What is signed must also re-encode to itself ([`decode_canonical`]).

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::codes::Code;

/// Is the largest message body, in bytes; the bus carries at most 1 MiB with headers.
pub const MAX_BODY_BYTES: usize = 1_000_000;

/// Is the largest JSON body of a request at the API, in bytes.
///
/// The request travels on to its service, and with a grant and orders to the signer, in one message of [`MAX_BODY_BYTES`].
pub const MAX_JSON_BYTES: usize = 768 << 10;

/// Is how deep a body may nest.
pub const MAX_DEPTH: usize = 32;

/// Says why bytes could not become a value, or a value bytes.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The body is larger than allowed.
    #[error("the body has {size_bytes} bytes; at most {limit_bytes} are taken")]
    TooLarge {
        /// The size found.
        size_bytes: usize,
        /// The size allowed.
        limit_bytes: usize,
    },
    /// The body nests deeper than [`MAX_DEPTH`].
    #[error("the body nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The bytes are not the expected value.
    #[error("the body is not what the verb takes: {reason}")]
    Malformed {
        /// What the decoder said, without any of the content.
        reason: String,
    },
    /// The bytes decode, but encoding the value gives other bytes.
    #[error("the signed bytes are not in canonical form")]
    NotCanonical,
    /// The value cannot be encoded.
    #[error("the value cannot be encoded: {reason}")]
    Unencodable {
        /// What the encoder said.
        reason: String,
    },
}

impl CodecError {
    /// Returns the stable code of the error.
    pub fn code(&self) -> Code {
        match self {
            CodecError::TooLarge { .. } => Code::TooLarge,
            CodecError::TooDeep => Code::TooDeep,
            CodecError::Malformed { .. } => Code::Malformed,
            CodecError::NotCanonical => Code::OrderNotCanonical,
            CodecError::Unencodable { .. } => Code::Internal,
        }
    }
}

/// Encodes a value as CBOR.
///
/// Errors: [`CodecError::TooLarge`] above [`MAX_BODY_BYTES`], [`CodecError::Unencodable`] when serde refuses.
///
/// Source: RFC 8949.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = serde_cbor::to_vec(value).map_err(|e| CodecError::Unencodable { reason: e.to_string() })?;
    within(bytes.len(), MAX_BODY_BYTES)?;
    Ok(bytes)
}

/// Decodes a whole CBOR body.
///
/// Errors: [`CodecError::TooLarge`], [`CodecError::TooDeep`], [`CodecError::Malformed`] (also for trailing bytes).
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_limited(bytes, MAX_BODY_BYTES)
}

/// Decodes a whole CBOR body of at most `limit_bytes`.
///
/// Errors: as [`decode`].
pub fn decode_limited<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<T, CodecError> {
    within(bytes.len(), limit_bytes)?;
    check_depth(bytes)?;
    serde_cbor::from_slice(bytes).map_err(|e| CodecError::Malformed { reason: reason(&e) })
}

/// Decodes the CBOR value at the beginning of bytes, and returns what stands behind it.
///
/// Errors: as [`decode_limited`], but for trailing bytes.
pub fn decode_first<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<(T, &[u8]), CodecError> {
    within(bytes.len(), limit_bytes)?;
    check_depth(bytes)?;
    let mut decoder = serde_cbor::Deserializer::from_slice(bytes);
    let malformed = |e: serde_cbor::Error| CodecError::Malformed { reason: reason(&e) };
    let value = T::deserialize(&mut decoder).map_err(malformed)?;
    Ok((value, bytes.get(decoder.byte_offset()..).unwrap_or_default()))
}

/// Decodes a body that was signed: the value must encode to exactly these bytes.
///
/// Errors: as [`decode`], and [`CodecError::NotCanonical`].
pub fn decode_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CodecError> {
    let value: T = decode(bytes)?;
    if encode(&value)? == bytes {
        Ok(value)
    } else {
        Err(CodecError::NotCanonical)
    }
}

/// Decodes a whole JSON body of at most `limit_bytes`.
///
/// Errors: as [`decode`].
pub fn decode_json<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<T, CodecError> {
    within(bytes.len(), limit_bytes)?;
    check_json_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| CodecError::Malformed {
        reason: json_reason(&e),
    })
}

fn within(size_bytes: usize, limit_bytes: usize) -> Result<(), CodecError> {
    if size_bytes > limit_bytes {
        Err(CodecError::TooLarge {
            size_bytes,
            limit_bytes,
        })
    } else {
        Ok(())
    }
}

/// Keeps the category and the place of a decoding error; its text could repeat content.
fn reason(error: &serde_cbor::Error) -> String {
    use serde_cbor::error::Category;
    let what = match error.classify() {
        Category::Io => "reading failed",
        Category::Syntax => "no CBOR",
        Category::Data => "fields missing, doubled or of another type",
        Category::Eof => "it ends too early",
    };
    format!("{what} at byte {}", error.offset())
}

fn json_reason(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Io => "reading failed",
        Category::Syntax => "no JSON",
        Category::Data => "fields missing, doubled or of another type",
        Category::Eof => "it ends too early",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// Walks the CBOR items without recursion and refuses what nests too deep, before the decoder sees it.
fn check_depth(bytes: &[u8]) -> Result<(), CodecError> {
    let malformed = |reason: &str| CodecError::Malformed {
        reason: reason.to_owned(),
    };
    let mut at = 0usize;
    // One entry per open container: items left in it; `None` for one of indefinite length.
    let mut open: Vec<Option<u64>> = Vec::new();
    while let Some(&head) = bytes.get(at) {
        at += 1;
        let (major, info) = (head >> 5, head & 0x1f);
        if head == 0xff {
            match open.pop() {
                Some(None) => {}
                _ => return Err(malformed("a break stands where none can")),
            }
            finish_item(&mut open);
            continue;
        }
        let (argument, width) = match info {
            0..=23 => (Some(u64::from(info)), 0),
            24..=27 => {
                let width = 1usize << (info - 24);
                let raw = bytes
                    .get(at..at + width)
                    .ok_or_else(|| malformed("it ends too early"))?;
                (
                    Some(raw.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte))),
                    width,
                )
            }
            31 => (None, 0),
            _ => return Err(malformed("a reserved length")),
        };
        at += width;
        match (major, argument) {
            (0 | 1 | 7, _) => finish_item(&mut open),
            (2 | 3, Some(length)) => {
                let length = usize::try_from(length).map_err(|_| malformed("it ends too early"))?;
                at = at
                    .checked_add(length)
                    .filter(|end| *end <= bytes.len())
                    .ok_or_else(|| malformed("it ends too early"))?;
                finish_item(&mut open);
            }
            (4, Some(0)) | (5, Some(0)) => finish_item(&mut open),
            (4, Some(items)) => open.push(Some(items)),
            (5, Some(pairs)) => open.push(Some(pairs.saturating_mul(2))),
            (6, Some(_)) => open.push(Some(1)),
            (_, None) => open.push(None),
            _ => return Err(malformed("an unknown item")),
        }
        if open.len() > MAX_DEPTH {
            return Err(CodecError::TooDeep);
        }
    }
    Ok(())
}

/// Counts an item off the container it stands in, and closes every container that it filled.
fn finish_item(open: &mut Vec<Option<u64>>) {
    while let Some(Some(left)) = open.last_mut() {
        *left -= 1;
        if *left > 0 {
            return;
        }
        open.pop();
    }
}

fn check_json_depth(bytes: &[u8]) -> Result<(), CodecError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(CodecError::TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        count: u32,
    }

    fn sample() -> Sample {
        Sample {
            name: "a".into(),
            count: 3,
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        assert_eq!(decode::<Sample>(&encode(&sample()).unwrap()).unwrap(), sample());
    }

    #[test]
    fn an_unknown_field_is_tolerated_but_not_in_signed_bytes() {
        #[derive(Serialize)]
        struct Newer {
            name: String,
            count: u32,
            extra: bool,
        }
        let bytes = encode(&Newer {
            name: "a".into(),
            count: 3,
            extra: true,
        })
        .unwrap();
        assert_eq!(decode::<Sample>(&bytes).unwrap(), sample());
        assert!(matches!(
            decode_canonical::<Sample>(&bytes),
            Err(CodecError::NotCanonical)
        ));
    }

    #[test]
    fn trailing_bytes_and_duplicate_fields_are_refused() {
        let mut bytes = encode(&sample()).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<Sample>(&bytes), Err(CodecError::Malformed { .. })));
        let doubled = b"\xa3\x64name\x61a\x65count\x03\x65count\x04";
        assert!(matches!(decode::<Sample>(doubled), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn long_integers_are_not_canonical() {
        let bytes = b"\xa2\x64name\x61a\x65count\x18\x03";
        assert_eq!(decode::<Sample>(bytes).unwrap(), sample());
        assert!(matches!(
            decode_canonical::<Sample>(bytes),
            Err(CodecError::NotCanonical)
        ));
    }

    #[test]
    fn depth_is_bounded_for_arrays_maps_tags_and_indefinite_items() {
        for head in [0x81u8, 0xa1, 0xc1, 0x9f, 0xbf] {
            let bytes = vec![head; 100_000];
            assert!(matches!(decode::<Sample>(&bytes), Err(CodecError::TooDeep)), "{head:x}");
        }
        let json = "[".repeat(100_000);
        assert!(matches!(
            decode_json::<Sample>(json.as_bytes(), 1 << 20),
            Err(CodecError::TooDeep)
        ));
        assert!(decode_json::<String>(br#""[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[""#, 100).is_ok());
    }

    #[test]
    fn huge_declared_lengths_fail_at_once() {
        for bytes in [
            &b"\x9b\x00\x00\x80\x00\x00\x00\x00\x00"[..],
            b"\x5b\x00\x00\x80\x00\x00\x00\x00\x00",
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode::<Sample>(bytes).is_err());
        }
    }

    #[test]
    fn size_is_bounded() {
        assert!(matches!(
            decode_limited::<Sample>(&encode(&sample()).unwrap(), 3),
            Err(CodecError::TooLarge { .. })
        ));
        assert!(matches!(
            encode(&vec![0u8; MAX_BODY_BYTES]),
            Err(CodecError::TooLarge { .. })
        ));
    }
}
