//! The stored forms of what happens to second factors.

use std::collections::BTreeSet;

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoredError, of_operator, read};
use crate::aggregate::Event;

#[derive(Serialize, Deserialize)]
struct TotpOfferedV1 {
    operator: OperatorId,
    session: SessionId,
    #[serde(with = "serde_bytes")]
    sealed: Vec<u8>,
    at: Timestamp,
    until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TotpConfirmedV1 {
    operator: OperatorId,
    step: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TotpUsedV1 {
    operator: OperatorId,
    step: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct FactorRemovedV1 {
    operator: OperatorId,
    by: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RecoveryCodesMadeV1 {
    operator: OperatorId,
    codes: BTreeSet<Digest>,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RecoveryCodeUsedV1 {
    operator: OperatorId,
    code: Digest,
    at: Timestamp,
}

/// Is a stream, a kind and a body.
type Encoded = (String, &'static str, Result<Vec<u8>, CodecError>);

/// Brings an event to its stored form.
pub(super) fn encode(event: Event) -> Encoded {
    let (operator, kind, body) = match event {
        Event::TotpOffered {
            operator,
            session,
            sealed,
            at,
            until,
        } => {
            let body = TotpOfferedV1 {
                operator,
                session,
                sealed,
                at,
                until,
            };
            (operator, "TotpOffered", codec::encode(&body))
        }
        Event::TotpConfirmed { operator, step, at } => {
            let body = TotpConfirmedV1 { operator, step, at };
            (operator, "TotpConfirmed", codec::encode(&body))
        }
        Event::TotpUsed { operator, step, at } => {
            let body = TotpUsedV1 { operator, step, at };
            (operator, "TotpUsed", codec::encode(&body))
        }
        Event::FactorRemoved { operator, by, at } => {
            let body = FactorRemovedV1 { operator, by, at };
            (operator, "FactorRemoved", codec::encode(&body))
        }
        Event::RecoveryCodesMade { operator, codes, at } => {
            let body = RecoveryCodesMadeV1 { operator, codes, at };
            (operator, "RecoveryCodesMade", codec::encode(&body))
        }
        Event::RecoveryCodeUsed { operator, code, at } => {
            let body = RecoveryCodeUsedV1 { operator, code, at };
            (operator, "RecoveryCodeUsed", codec::encode(&body))
        }
        // The others are encoded beside their own forms.
        other => return (String::new(), "", Err(super::people::unexpected(&other))),
    };
    (of_operator(&operator), kind, body)
}

/// Reads a stored event.
///
/// Errors: [`StoredError`].
pub(super) fn decode(kind: &str, body: &[u8]) -> Result<Event, StoredError> {
    Ok(match kind {
        "TotpOffered" => {
            let stored: TotpOfferedV1 = read(kind, body)?;
            Event::TotpOffered {
                operator: stored.operator,
                session: stored.session,
                sealed: stored.sealed,
                at: stored.at,
                until: stored.until,
            }
        }
        "TotpConfirmed" => {
            let TotpConfirmedV1 { operator, step, at } = read(kind, body)?;
            Event::TotpConfirmed { operator, step, at }
        }
        "TotpUsed" => {
            let TotpUsedV1 { operator, step, at } = read(kind, body)?;
            Event::TotpUsed { operator, step, at }
        }
        "FactorRemoved" => {
            let FactorRemovedV1 { operator, by, at } = read(kind, body)?;
            Event::FactorRemoved { operator, by, at }
        }
        "RecoveryCodesMade" => {
            let RecoveryCodesMadeV1 { operator, codes, at } = read(kind, body)?;
            Event::RecoveryCodesMade { operator, codes, at }
        }
        "RecoveryCodeUsed" => {
            let RecoveryCodeUsedV1 { operator, code, at } = read(kind, body)?;
            Event::RecoveryCodeUsed { operator, code, at }
        }
        _ => return Err(StoredError::UnknownKind { kind: kind.to_owned() }),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{at, json_of};
    use super::*;
    use serde_json::Value;

    pub fn one_of_each() -> Vec<Event> {
        let operator = OperatorId::from_bytes([9; 16]);
        vec![
            Event::TotpOffered {
                operator,
                session: SessionId::from_bytes([2; 16]),
                sealed: vec![7; 48],
                at: at(20),
                until: at(30),
            },
            Event::TotpConfirmed {
                operator,
                step: 60_000_000,
                at: at(21),
            },
            Event::TotpUsed {
                operator,
                step: 60_000_001,
                at: at(22),
            },
            Event::RecoveryCodesMade {
                operator,
                codes: [Digest([1; 32]), Digest([2; 32])].into(),
                at: at(23),
            },
            Event::RecoveryCodeUsed {
                operator,
                code: Digest([1; 32]),
                at: at(24),
            },
            Event::FactorRemoved {
                operator,
                by: OperatorId::from_bytes([1; 16]),
                at: at(25),
            },
        ]
    }

    pub fn fields(kind: &str, body: &[u8]) -> Value {
        match kind {
            "TotpOffered" => json_of::<TotpOfferedV1>(body),
            "TotpConfirmed" => json_of::<TotpConfirmedV1>(body),
            "TotpUsed" => json_of::<TotpUsedV1>(body),
            "FactorRemoved" => json_of::<FactorRemovedV1>(body),
            "RecoveryCodesMade" => json_of::<RecoveryCodesMadeV1>(body),
            "RecoveryCodeUsed" => json_of::<RecoveryCodeUsedV1>(body),
            other => panic!("{other} has no golden form"),
        }
    }
}
