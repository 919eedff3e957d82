//! The stored forms of access's events, apart from the domain's, one struct per version.
//!
//! Shape: CBOR maps. An event's kind names form and version: `SessionStarted` is version 1, a second version would be
//! `SessionStarted2` with an upcast from the first. `SessionEnded`, `GrantMinted`, `GrantRevoked`, `OperatorDisabled`, `OperatorEnabled` and
//! `OperatorRightsChanged` are read by others too and hold all fields of the shared forms.

use std::collections::BTreeSet;

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, OperatorRoleName, SessionId};
use borealis_bus_schema::messages::access::{GrantFor, RightOnSites};
use borealis_bus_schema::messages::shared_events::{GrantRevoked, SessionEnded, SharedEvent};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{NewEvent, StreamId};
use borealis_service_kit::auth::{Reach, Sites, reach};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::aggregate::{Event, GrantFacts, Username};

mod factors;
mod passkeys;
mod people;

/// Lists the kinds whose bodies never leave access.
pub const SECRET_KINDS: &[&str] = &[
    "PasswordSet",
    "TotpOffered",
    "RecoveryCodesMade",
    "RecoveryCodeUsed",
    "PasskeyAdded",
];

/// Says why a stored event cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The codec refused.
    #[error("the body of {kind} does not fit its form")]
    Body {
        /// The event's kind.
        kind: String,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
    /// A field holds what it cannot hold.
    #[error("{kind} has a field with a value that does not exist")]
    Field {
        /// The event's kind.
        kind: String,
    },
    /// This version does not know the kind; a newer one wrote it.
    #[error("the kind {kind} is not known to this version")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The stream's name is none.
    #[error("the name of a stream does not fit")]
    Stream(#[from] borealis_event_store::InvalidStreamId),
}

/// Is a link of the time when its secret was sent: the digest is nobody's public key, so it opens nothing any more.
#[derive(Serialize, Deserialize)]
struct SetupOpenedV1 {
    secret: Digest,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SetupOpenedV2 {
    link: PublicKey,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SetupUsedV1 {
    operator: OperatorId,
    at: Timestamp,
}

/// Before there were roles, only the first operator was made, with every right everywhere.
#[derive(Serialize, Deserialize)]
struct OperatorCreatedV1 {
    operator: OperatorId,
    username: String,
    rights: Vec<String>,
    sites: Vec<String>,
    peer: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct OperatorCreatedV2 {
    operator: OperatorId,
    username: String,
    roles: BTreeSet<OperatorRoleName>,
    peer: String,
    at: Timestamp,
}

impl From<OperatorCreatedV1> for OperatorCreatedV2 {
    fn from(first: OperatorCreatedV1) -> Self {
        Self {
            operator: first.operator,
            username: first.username,
            roles: [OperatorRoleName::administrator()].into(),
            peer: first.peer,
            at: first.at,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct PasswordSetV1 {
    operator: OperatorId,
    #[serde(with = "serde_bytes")]
    record: Vec<u8>,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SessionStartedV1 {
    session: SessionId,
    operator: OperatorId,
    session_key: PublicKey,
    peer: String,
    at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct BootstrapSessionStartedV1 {
    session: SessionId,
    session_key: PublicKey,
    at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SessionProvedV1 {
    session: SessionId,
    operator: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct GrantMintedV1 {
    grant: GrantId,
    author: OperatorId,
    /// Lower hex.
    call_digest: Digest,
    expires_at: Timestamp,
    username: String,
    session: SessionId,
    session_key: PublicKey,
    command: CommandId,
    sites: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    devices: Option<BTreeSet<Guid>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_token: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acts: Option<GrantFor>,
    /// The right to run jobs once more, with its limits; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limited: Vec<RightOnSites>,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Brings an event to its stored form, with the stream it belongs to.
///
/// Errors: [`StoredError::Body`] for a body that is too large.
pub fn encode(event: &Event) -> Result<(StreamId, NewEvent), StoredError> {
    let (stream, kind, body) = match event.clone() {
        Event::SetupOpened { link, at } => (
            "setup".to_owned(),
            "SetupOpened2",
            codec::encode(&SetupOpenedV2 { link, at }),
        ),
        Event::SetupUsed { operator, at } => (
            "setup".to_owned(),
            "SetupUsed",
            codec::encode(&SetupUsedV1 { operator, at }),
        ),
        Event::OperatorCreated {
            operator,
            username,
            roles,
            peer,
            at,
        } => {
            let body = OperatorCreatedV2 {
                operator,
                username: username.as_str().to_owned(),
                roles,
                peer,
                at,
            };
            (of_operator(&operator), "OperatorCreated2", codec::encode(&body))
        }
        Event::PasswordSet { operator, record, at } => {
            let body = PasswordSetV1 { operator, record, at };
            (of_operator(&operator), "PasswordSet", codec::encode(&body))
        }
        Event::SessionStarted {
            session,
            operator,
            session_key,
            peer,
            at,
            expires_at,
        } => {
            let body = SessionStartedV1 {
                session,
                operator,
                session_key,
                peer,
                at,
                expires_at,
            };
            (of_session(&session), "SessionStarted", codec::encode(&body))
        }
        Event::BootstrapSessionStarted {
            session,
            session_key,
            at,
            expires_at,
        } => {
            let body = BootstrapSessionStartedV1 {
                session,
                session_key,
                at,
                expires_at,
            };
            (of_session(&session), "BootstrapSessionStarted", codec::encode(&body))
        }
        Event::SessionProved { session, operator, at } => {
            let body = SessionProvedV1 { session, operator, at };
            (of_session(&session), "SessionProved", codec::encode(&body))
        }
        Event::SessionEnded { session, reason, at } => {
            let body = SessionEnded { session, reason, at };
            (of_session(&session), SessionEnded::KIND, codec::encode(&body))
        }
        Event::GrantMinted(grant) => {
            let stream = format!("grant-{}", grant.grant);
            let sites = grant.reach.get(&Right::JobsRun).map(Sites::names);
            let limited = if grant.reach.has_job_limit() {
                reach::write(&grant.reach)
            } else {
                Vec::new()
            };
            let body = GrantMintedV1 {
                grant: grant.grant,
                author: grant.author,
                call_digest: grant.call_digest,
                expires_at: grant.expires_at,
                username: grant.username,
                session: grant.session,
                session_key: grant.session_key,
                command: grant.command,
                sites: sites.unwrap_or_default(),
                epoch: grant.epoch,
                devices: grant.devices,
                by_token: grant.by_token,
                acts: grant.acts,
                limited,
            };
            (stream, "GrantMinted", codec::encode(&body))
        }
        Event::GrantRevoked { grant, reason, at } => {
            let body = GrantRevoked { grant, reason, at };
            (format!("grant-{grant}"), GrantRevoked::KIND, codec::encode(&body))
        }
        of_factors @ (Event::TotpOffered { .. }
        | Event::TotpConfirmed { .. }
        | Event::TotpUsed { .. }
        | Event::FactorRemoved { .. }
        | Event::RecoveryCodesMade { .. }
        | Event::RecoveryCodeUsed { .. }) => factors::encode(of_factors),
        of_passkeys @ (Event::PasskeyAdded { .. }
        | Event::PasskeyNamed { .. }
        | Event::PasskeyUsed { .. }
        | Event::PasskeyRemoved { .. }) => passkeys::encode(of_passkeys),
        of_people => people::encode(of_people),
    };
    let body = body.map_err(|source| StoredError::Body {
        kind: kind.to_owned(),
        source,
    })?;
    let kind = kind.to_owned();
    Ok((StreamId::new(&stream)?, NewEvent { kind, body }))
}

/// Reads a stored event of any version.
///
/// Errors: [`StoredError`]; nothing may be decided without the event.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, StoredError> {
    let field = || StoredError::Field { kind: kind.to_owned() };
    Ok(match kind {
        "SetupOpened" => {
            let SetupOpenedV1 { secret, at } = read(kind, body)?;
            let link = PublicKey::from_bytes(secret.0);
            Event::SetupOpened { link, at }
        }
        "SetupOpened2" => {
            let SetupOpenedV2 { link, at } = read(kind, body)?;
            Event::SetupOpened { link, at }
        }
        "SetupUsed" => {
            let SetupUsedV1 { operator, at } = read(kind, body)?;
            Event::SetupUsed { operator, at }
        }
        "OperatorCreated" => created(read::<OperatorCreatedV1>(kind, body)?.into()).ok_or_else(field)?,
        "OperatorCreated2" => created(read(kind, body)?).ok_or_else(field)?,
        "PasswordSet" => {
            let PasswordSetV1 { operator, record, at } = read(kind, body)?;
            Event::PasswordSet { operator, record, at }
        }
        "SessionStarted" => {
            let stored: SessionStartedV1 = read(kind, body)?;
            Event::SessionStarted {
                session: stored.session,
                operator: stored.operator,
                session_key: stored.session_key,
                peer: stored.peer,
                at: stored.at,
                expires_at: stored.expires_at,
            }
        }
        "BootstrapSessionStarted" => {
            let stored: BootstrapSessionStartedV1 = read(kind, body)?;
            Event::BootstrapSessionStarted {
                session: stored.session,
                session_key: stored.session_key,
                at: stored.at,
                expires_at: stored.expires_at,
            }
        }
        "SessionProved" => {
            let SessionProvedV1 { session, operator, at } = read(kind, body)?;
            Event::SessionProved { session, operator, at }
        }
        SessionEnded::KIND => {
            let SessionEnded { session, reason, at } = read(kind, body)?;
            Event::SessionEnded { session, reason, at }
        }
        "GrantMinted" => {
            let stored: GrantMintedV1 = read(kind, body)?;
            let sites = Sites::of_names(&stored.sites).ok_or_else(field)?;
            let reach = if stored.limited.is_empty() {
                Reach::from([(Right::JobsRun, sites)])
            } else {
                reach::read(&stored.limited).map_err(|_| field())?.of_jobs()
            };
            Event::GrantMinted(GrantFacts {
                grant: stored.grant,
                author: stored.author,
                username: stored.username,
                session: stored.session,
                session_key: stored.session_key,
                command: stored.command,
                call_digest: stored.call_digest,
                reach,
                expires_at: stored.expires_at,
                epoch: stored.epoch,
                devices: stored.devices,
                by_token: stored.by_token,
                acts: stored.acts,
            })
        }
        GrantRevoked::KIND => {
            let GrantRevoked { grant, reason, at } = read(kind, body)?;
            Event::GrantRevoked { grant, reason, at }
        }
        "TotpOffered" | "TotpConfirmed" | "TotpUsed" | "FactorRemoved" | "RecoveryCodesMade" | "RecoveryCodeUsed" => {
            factors::decode(kind, body)?
        }
        "PasskeyAdded" | "PasskeyNamed" | "PasskeyUsed" | "PasskeyRemoved" => passkeys::decode(kind, body)?,
        _ => people::decode(kind, body)?,
    })
}

fn created(stored: OperatorCreatedV2) -> Option<Event> {
    Some(Event::OperatorCreated {
        operator: stored.operator,
        username: Username::new(&stored.username)?,
        roles: stored.roles,
        peer: stored.peer,
        at: stored.at,
    })
}

fn read<T: DeserializeOwned>(kind: &str, body: &[u8]) -> Result<T, StoredError> {
    codec::decode(body).map_err(|source| StoredError::Body {
        kind: kind.to_owned(),
        source,
    })
}

fn of_operator(operator: &OperatorId) -> String {
    format!("operator-{operator}")
}

fn of_session(session: &SessionId) -> String {
    format!("session-{session}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use borealis_bus_schema::messages::shared_events::{
        GrantMinted, OperatorDisabled, OperatorEnabled, OperatorRightsChanged, SiteSet,
    };
    use borealis_test_support::{golden_files, pin_all};
    use serde_json::Value;
    use std::path::Path;

    pub(super) fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }

    fn one_of_each() -> Vec<Event> {
        let (operator, session) = (OperatorId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let session_key = PublicKey::from_bytes([3; 32]);
        vec![
            Event::SetupOpened {
                link: PublicKey::from_bytes([4; 32]),
                at: at(0),
            },
            Event::SetupUsed { operator, at: at(1) },
            Event::OperatorCreated {
                operator,
                username: Username::new("ada").unwrap(),
                roles: [OperatorRoleName::administrator()].into(),
                peer: "192.0.2.1".into(),
                at: at(1),
            },
            Event::PasswordSet {
                operator,
                record: vec![5; 4],
                at: at(1),
            },
            Event::SessionStarted {
                session,
                operator,
                session_key,
                peer: "192.0.2.1".into(),
                at: at(2),
                expires_at: at(3),
            },
            Event::BootstrapSessionStarted {
                session,
                session_key,
                at: at(2),
                expires_at: at(3),
            },
            Event::SessionProved {
                session,
                operator,
                at: at(3),
            },
            Event::SessionEnded {
                session,
                reason: "log-out".into(),
                at: at(4),
            },
            Event::GrantMinted(GrantFacts {
                grant: GrantId::from_bytes([6; 16]),
                author: operator,
                username: "ada".into(),
                session,
                session_key,
                command: CommandId::from_bytes([7; 16]),
                call_digest: Digest([8; 32]),
                reach: Reach::from([(Right::JobsRun, Sites::All)]),
                expires_at: at(5),
                epoch: 0,
                devices: None,
                by_token: false,
                acts: None,
            }),
            Event::GrantRevoked {
                grant: GrantId::from_bytes([6; 16]),
                reason: "revoked".into(),
                at: at(6),
            },
        ]
        .into_iter()
        .chain(people::tests::one_of_each())
        .chain(factors::tests::one_of_each())
        .chain(passkeys::tests::one_of_each())
        .collect()
    }

    #[test]
    fn every_event_reads_back() {
        for event in one_of_each() {
            let (_, stored) = encode(&event).unwrap();
            assert_eq!(decode(&stored.kind, &stored.body).unwrap(), event);
        }
    }

    pub(super) fn json_of<T: DeserializeOwned + Serialize>(body: &[u8]) -> Value {
        serde_json::to_value(codec::decode::<T>(body).unwrap()).unwrap()
    }
    fn fields(stored: &NewEvent) -> Value {
        let body = &stored.body;
        match stored.kind.as_str() {
            "SetupOpened2" => json_of::<SetupOpenedV2>(body),
            "SetupUsed" => json_of::<SetupUsedV1>(body),
            "OperatorCreated2" => json_of::<OperatorCreatedV2>(body),
            "PasswordSet" => json_of::<PasswordSetV1>(body),
            "SessionStarted" => json_of::<SessionStartedV1>(body),
            "BootstrapSessionStarted" => json_of::<BootstrapSessionStartedV1>(body),
            "SessionProved" => json_of::<SessionProvedV1>(body),
            "SessionEnded" => json_of::<SessionEnded>(body),
            "GrantMinted" => json_of::<GrantMintedV1>(body),
            "GrantRevoked" => json_of::<GrantRevoked>(body),
            kind @ ("TotpOffered" | "TotpConfirmed" | "TotpUsed" | "FactorRemoved" | "RecoveryCodesMade"
            | "RecoveryCodeUsed") => factors::tests::fields(kind, body),
            kind @ ("PasskeyAdded" | "PasskeyNamed" | "PasskeyUsed" | "PasskeyRemoved") => {
                passkeys::tests::fields(kind, body)
            }
            other => people::tests::fields(other, body),
        }
    }

    #[test]
    fn golden_events_stay_readable() {
        let encode = |event: &Event| {
            let (stream, stored) = encode(event).unwrap();
            (Some(stream), stored)
        };
        let fields = |_: &Event, stored: &NewEvent| fields(stored);
        pin_all(env!("CARGO_MANIFEST_DIR"), &one_of_each(), encode, fields, decode).unwrap();
    }

    #[test]
    fn golden_bytes_of_an_operator_without_roles_read_as_an_administrator() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let files = golden_files(&folder).unwrap();
        let first = files.into_iter().find(|file| file.kind == "OperatorCreated").unwrap();
        let now = one_of_each()
            .into_iter()
            .find(|event| matches!(event, Event::OperatorCreated { .. }));
        assert_eq!(Some(decode(&first.kind, &first.body).unwrap()), now);
    }

    #[test]
    fn limits_are_kept_with_what_they_limit() {
        let reach = Reach::from([(Right::JobsRun, Sites::All)]).with_job_limit(Some(3));
        for mut event in one_of_each() {
            match &mut event {
                Event::GrantMinted(grant) => grant.reach = reach.clone(),
                Event::RoleSet { reach: kept, .. } | Event::RightsChanged { reach: kept, .. } => *kept = reach.clone(),
                Event::TokenMinted(token) => token.reach = reach.clone(),
                _ => continue,
            }
            let (_, stored) = encode(&event).unwrap();
            assert_eq!(decode(&stored.kind, &stored.body).unwrap(), event);
        }
    }

    #[test]
    fn what_others_read_fits_the_shared_form() {
        for event in one_of_each() {
            let (_, stored) = encode(&event).unwrap();
            match event {
                Event::GrantMinted(facts) => {
                    let shared: GrantMinted = codec::decode(&stored.body).unwrap();
                    assert_eq!((stored.kind.as_str(), shared.grant), (GrantMinted::KIND, facts.grant));
                    assert_eq!(shared.call_digest, facts.call_digest.to_string());
                }
                Event::SessionEnded { session, .. } => {
                    assert_eq!(codec::decode::<SessionEnded>(&stored.body).unwrap().session, session);
                }
                Event::OperatorDisabled { operator, .. } => {
                    let shared: OperatorDisabled = codec::decode(&stored.body).unwrap();
                    assert_eq!(
                        (stored.kind.as_str(), shared.operator),
                        (OperatorDisabled::KIND, operator)
                    );
                }
                Event::OperatorEnabled { operator, epoch, .. } => {
                    let shared: OperatorEnabled = codec::decode(&stored.body).unwrap();
                    assert_eq!(stored.kind, OperatorEnabled::KIND);
                    assert_eq!((shared.operator, shared.epoch), (operator, epoch));
                }
                Event::RightsChanged { operator, reach, .. } => {
                    let shared: OperatorRightsChanged = codec::decode(&stored.body).unwrap();
                    assert_eq!(
                        (stored.kind.as_str(), shared.operator),
                        (OperatorRightsChanged::KIND, operator)
                    );
                    assert_eq!(borealis_service_kit::auth::reach::read(&shared.rights).unwrap(), reach);
                }
                Event::SiteSet { site, at, .. } => {
                    let shared: SiteSet = codec::decode(&stored.body).unwrap();
                    assert_eq!((stored.kind.as_str(), shared), (SiteSet::KIND, SiteSet { site, at }));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_stops_everything() {
        assert!(matches!(
            decode("SessionStarted9", b""),
            Err(StoredError::UnknownKind { .. })
        ));
        assert!(matches!(
            decode("SessionStarted", b"\xff"),
            Err(StoredError::Body { .. })
        ));
    }
}
