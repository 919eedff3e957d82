//! The stored forms of what happens to passkeys.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::{OperatorId, PasskeyId, SessionId};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoredError, of_operator, read};
use crate::aggregate::Event;

#[derive(Serialize, Deserialize)]
struct PasskeyAddedV1 {
    operator: OperatorId,
    passkey: PasskeyId,
    #[serde(with = "serde_bytes")]
    credential: Vec<u8>,
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    rp_id: String,
    name: String,
    counter: u32,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct PasskeyNamedV1 {
    operator: OperatorId,
    passkey: PasskeyId,
    name: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct PasskeyUsedV1 {
    operator: OperatorId,
    passkey: PasskeyId,
    session: SessionId,
    counter: u32,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct PasskeyRemovedV1 {
    operator: OperatorId,
    passkey: PasskeyId,
    by: OperatorId,
    at: Timestamp,
}

/// Is a stream, a kind and a body.
type Encoded = (String, &'static str, Result<Vec<u8>, CodecError>);

/// Brings an event to its stored form.
pub(super) fn encode(event: Event) -> Encoded {
    let (operator, kind, body) = match event {
        Event::PasskeyAdded {
            operator,
            passkey,
            credential,
            key,
            rp_id,
            name,
            counter,
            at,
        } => {
            let body = PasskeyAddedV1 {
                operator,
                passkey,
                credential,
                key,
                rp_id,
                name,
                counter,
                at,
            };
            (operator, "PasskeyAdded", codec::encode(&body))
        }
        Event::PasskeyNamed {
            operator,
            passkey,
            name,
            at,
        } => {
            let body = PasskeyNamedV1 {
                operator,
                passkey,
                name,
                at,
            };
            (operator, "PasskeyNamed", codec::encode(&body))
        }
        Event::PasskeyUsed {
            operator,
            passkey,
            session,
            counter,
            at,
        } => {
            let body = PasskeyUsedV1 {
                operator,
                passkey,
                session,
                counter,
                at,
            };
            (operator, "PasskeyUsed", codec::encode(&body))
        }
        Event::PasskeyRemoved {
            operator,
            passkey,
            by,
            at,
        } => {
            let body = PasskeyRemovedV1 {
                operator,
                passkey,
                by,
                at,
            };
            (operator, "PasskeyRemoved", codec::encode(&body))
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
        "PasskeyAdded" => {
            let stored: PasskeyAddedV1 = read(kind, body)?;
            Event::PasskeyAdded {
                operator: stored.operator,
                passkey: stored.passkey,
                credential: stored.credential,
                key: stored.key,
                rp_id: stored.rp_id,
                name: stored.name,
                counter: stored.counter,
                at: stored.at,
            }
        }
        "PasskeyNamed" => {
            let stored: PasskeyNamedV1 = read(kind, body)?;
            Event::PasskeyNamed {
                operator: stored.operator,
                passkey: stored.passkey,
                name: stored.name,
                at: stored.at,
            }
        }
        "PasskeyUsed" => {
            let stored: PasskeyUsedV1 = read(kind, body)?;
            Event::PasskeyUsed {
                operator: stored.operator,
                passkey: stored.passkey,
                session: stored.session,
                counter: stored.counter,
                at: stored.at,
            }
        }
        "PasskeyRemoved" => {
            let stored: PasskeyRemovedV1 = read(kind, body)?;
            Event::PasskeyRemoved {
                operator: stored.operator,
                passkey: stored.passkey,
                by: stored.by,
                at: stored.at,
            }
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
        let (operator, passkey) = (OperatorId::from_bytes([9; 16]), PasskeyId::from_bytes([8; 16]));
        vec![
            Event::PasskeyAdded {
                operator,
                passkey,
                credential: vec![1; 32],
                key: vec![2; 77],
                rp_id: "fleet.example".into(),
                name: "Ada's phone".into(),
                counter: 0,
                at: at(40),
            },
            Event::PasskeyNamed {
                operator,
                passkey,
                name: "Old phone".into(),
                at: at(41),
            },
            Event::PasskeyUsed {
                operator,
                passkey,
                session: SessionId::from_bytes([2; 16]),
                counter: 7,
                at: at(42),
            },
            Event::PasskeyRemoved {
                operator,
                passkey,
                by: operator,
                at: at(43),
            },
        ]
    }

    pub fn fields(kind: &str, body: &[u8]) -> Value {
        match kind {
            "PasskeyAdded" => json_of::<PasskeyAddedV1>(body),
            "PasskeyNamed" => json_of::<PasskeyNamedV1>(body),
            "PasskeyUsed" => json_of::<PasskeyUsedV1>(body),
            "PasskeyRemoved" => json_of::<PasskeyRemovedV1>(body),
            other => panic!("{other} has no golden form"),
        }
    }
}
