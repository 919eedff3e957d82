use super::*;
use crate::aggregate::approval::tests::{NOW, asked, guid};
use borealis_bus_schema::ids::OperatorId;
use borealis_bus_schema::messages::shared_events::{Actor, DeviceStatus};
use borealis_test_support::pin_all;
use serde_json::{Value, json};

fn every_event() -> Vec<Event> {
    let (code, approval, guid) = (CodeId::from_bytes([2; 16]), asked().id, guid());
    let minted = Minted {
        id: code,
        public_key: asked().public_key,
        masked: "BRL1-ABCD…".into(),
        site: SiteName::default_site(),
        uses: 3,
        auto_approve: true,
        created_by: "ada".into(),
        minter: Some(Minter {
            operator: OperatorId::from_bytes([9; 16]),
            epoch: 2,
            token: Some(SessionId::from_bytes([8; 16])),
        }),
        created_at: NOW,
        expires_at: NOW.plus_ms(60_000),
    };
    let used = CodeEvent::Used {
        public_key: asked().public_key,
        approval,
        at: NOW,
    };
    let revoked = CodeEvent::Revoked {
        by: "ada".into(),
        at: NOW,
    };
    let denied = ApprovalEvent::Denied {
        by: "ada".into(),
        reason: "unknown machine".into(),
        at: NOW,
    };
    let enrolled = DeviceEnrolled {
        guid,
        site: SiteName::default_site(),
        public_key: asked().public_key,
        exchange_key: asked().exchange_key,
        exchange_key_signature: asked().exchange_key_signature,
        facts: asked().facts,
        address: "127.0.0.1".into(),
        first_seen_at: NOW,
        approved_at: NOW,
    };
    let status = DeviceStatusChanged {
        guid,
        status: DeviceStatus::Revoked,
        reason: "stolen".into(),
        at: NOW,
        by: None,
    };
    let status_by_operator = DeviceStatusChanged {
        by: Some(Actor {
            operator: OperatorId::from_bytes([9; 16]),
            username: "ada".into(),
        }),
        ..status.clone()
    };
    let device = |event| Event::Device(guid, event);
    let about = |event| Event::Approval(approval, event);
    vec![
        Event::Code(code, CodeEvent::Minted(minted)),
        Event::Code(code, used),
        Event::Code(code, revoked),
        about(ApprovalEvent::Requested(Box::new(asked()))),
        about(ApprovalEvent::Approved {
            guid,
            by: "ada".into(),
            at: NOW,
        }),
        about(denied),
        about(ApprovalEvent::Expired { at: NOW }),
        about(ApprovalEvent::Completed { guid, at: NOW }),
        device(DeviceEvent::Enrolled(Box::new(enrolled))),
        device(DeviceEvent::StatusChanged(status)),
        device(DeviceEvent::StatusChanged(status_by_operator)),
        device(DeviceEvent::Tagged(DeviceTagged {
            guid,
            tags: ["prod", "web"].map(|tag| tag.parse().unwrap()).into(),
            by: Actor {
                operator: OperatorId::from_bytes([9; 16]),
                username: "ada".into(),
            },
            at: NOW,
        })),
        device(DeviceEvent::CredentialsIssued {
            guid,
            approval,
            at: NOW,
        }),
        device(DeviceEvent::CredentialsRenewed {
            guid,
            family: approval,
            counter: 2,
            at: NOW,
        }),
        device(DeviceEvent::SaidHello {
            guid,
            counter: 7,
            at: NOW,
        }),
        device(DeviceEvent::KeyRotationAsked {
            guid,
            reason: "hygiene".into(),
            by: Actor {
                operator: OperatorId::from_bytes([9; 16]),
                username: "ada".into(),
            },
            at: NOW,
        }),
        device(DeviceEvent::KeyRotated(Box::new(DeviceKeyRotated {
            guid,
            public_key: PublicKey::from_bytes([3; 32]),
            previous_key: asked().public_key,
            exchange_key: PublicKey::from_bytes([4; 32]),
            exchange_key_signature: asked().exchange_key_signature,
            at: NOW,
        }))),
        device(DeviceEvent::RefreshFamilyRevoked {
            guid,
            family: approval,
            counter: 1,
            at: NOW,
        }),
        Event::Connected(DeviceConnected {
            guid,
            address: "127.0.0.1".into(),
            at: NOW,
        }),
        Event::Disconnected(DeviceDisconnected {
            guid,
            at: NOW,
            reason: "Client Closed".into(),
        }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_files_keep_every_stored_event_readable() {
    let encode = |event: &Event| (Some(event.stream().unwrap()), event.to_new().unwrap());
    let fields = |_: &Event, stored: &NewEvent| codec::decode::<Readable>(&stored.body).unwrap().0;
    pin_all(env!("CARGO_MANIFEST_DIR"), &every_event(), encode, fields, Event::read).unwrap();
}

/// Shows CBOR as JSON, byte strings as hex.
struct Readable(Value);

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Readable;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Readable, E> {
                Ok(Readable(json!(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Readable, E> {
                Ok(Readable(json!(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Readable, E> {
                Ok(Readable(json!(v)))
            }
            fn visit_bytes<E>(self, v: &[u8]) -> Result<Readable, E> {
                Ok(Readable(json!(hex(v))))
            }
            fn visit_unit<E>(self) -> Result<Readable, E> {
                Ok(Readable(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Readable, E> {
                Ok(Readable(Value::Null))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Readable, A::Error> {
                let mut out = Vec::new();
                while let Some(Readable(value)) = seq.next_element()? {
                    out.push(value);
                }
                Ok(Readable(Value::Array(out)))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Readable, A::Error> {
                let mut out = serde_json::Map::new();
                while let Some((key, value)) = map.next_entry::<String, Readable>()? {
                    out.insert(key, value.0);
                }
                Ok(Readable(Value::Object(out)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[test]
fn an_unknown_kind_and_a_damaged_body_are_told_apart() {
    assert!(matches!(
        Event::read("CodeEaten", b""),
        Err(StoredError::UnknownKind { .. })
    ));
    assert!(matches!(
        Event::read("CodeUsed", b"\xff"),
        Err(StoredError::Body { .. })
    ));
}

#[test]
fn a_field_that_a_later_version_added_is_tolerated() {
    #[derive(Serialize)]
    struct Newer {
        id: ApprovalId,
        at: Timestamp,
        by_rule: &'static str,
    }
    let newer = Newer {
        id: asked().id,
        at: NOW,
        by_rule: "x",
    };
    let event = Event::read("EnrollmentExpired", &codec::encode(&newer).unwrap()).unwrap();
    assert_eq!(event, Event::Approval(asked().id, ApprovalEvent::Expired { at: NOW }));
}
