//! The stored forms of what happens to operators, roles, sites and API tokens.

use std::collections::BTreeSet;

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, OperatorId, OperatorRoleName, SessionId, SiteName};
use borealis_bus_schema::messages::access::RightOnSites;
use borealis_bus_schema::messages::shared_events::{
    OperatorDisabled, OperatorEnabled, OperatorRightsChanged, SharedEvent,
};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::reach;
use serde::{Deserialize, Serialize};

use super::{StoredError, of_operator, of_session, read};
use crate::aggregate::{Event, TokenFacts, Username};

#[derive(Serialize, Deserialize)]
struct OperatorInvitedV1 {
    operator: OperatorId,
    username: String,
    roles: BTreeSet<OperatorRoleName>,
    by: OperatorId,
    at: Timestamp,
}

/// Is a link of the time when its secret was sent: the digest is nobody's public key, so it opens nothing any more.
#[derive(Serialize, Deserialize)]
struct LinkMadeV1 {
    operator: OperatorId,
    secret: Digest,
    by: OperatorId,
    at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct LinkMadeV2 {
    operator: OperatorId,
    link: PublicKey,
    by: OperatorId,
    at: Timestamp,
    expires_at: Timestamp,
}

impl From<LinkMadeV1> for LinkMadeV2 {
    fn from(old: LinkMadeV1) -> Self {
        Self {
            operator: old.operator,
            link: PublicKey::from_bytes(old.secret.0),
            by: old.by,
            at: old.at,
            expires_at: old.expires_at,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LinkUsedV1 {
    operator: OperatorId,
    peer: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RolesAssignedV1 {
    operator: OperatorId,
    roles: BTreeSet<OperatorRoleName>,
    by: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct OperatorDisabledV1 {
    operator: OperatorId,
    reason: String,
    at: Timestamp,
    for_good: bool,
    by: OperatorId,
}

#[derive(Serialize, Deserialize)]
struct OperatorEnabledV1 {
    operator: OperatorId,
    epoch: u64,
    at: Timestamp,
    by: OperatorId,
}

#[derive(Serialize, Deserialize)]
struct PasswordClearedV1 {
    operator: OperatorId,
    by: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RoleSetV1 {
    role: OperatorRoleName,
    description: String,
    rights: Vec<RightOnSites>,
    by: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SiteSetV1 {
    site: SiteName,
    description: String,
    by: OperatorId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TokenMintedV1 {
    token: SessionId,
    author: OperatorId,
    name: String,
    key_fingerprint: Digest,
    rights: Vec<RightOnSites>,
    devices: Option<BTreeSet<Guid>>,
    epoch: u64,
    at: Timestamp,
    expires_at: Timestamp,
}

/// Is a stream, a kind and a body.
type Encoded = (String, &'static str, Result<Vec<u8>, CodecError>);

/// Brings an event to its stored form.
pub(super) fn encode(event: Event) -> Encoded {
    match event {
        Event::OperatorInvited {
            operator,
            username,
            roles,
            by,
            at,
        } => {
            let body = OperatorInvitedV1 {
                operator,
                username: username.as_str().to_owned(),
                roles,
                by,
                at,
            };
            (of_operator(&operator), "OperatorInvited", codec::encode(&body))
        }
        Event::LinkMade {
            operator,
            link,
            by,
            at,
            expires_at,
        } => {
            let body = LinkMadeV2 {
                operator,
                link,
                by,
                at,
                expires_at,
            };
            (of_operator(&operator), "LinkMade2", codec::encode(&body))
        }
        Event::LinkUsed { operator, peer, at } => {
            let body = LinkUsedV1 { operator, peer, at };
            (of_operator(&operator), "LinkUsed", codec::encode(&body))
        }
        Event::RolesAssigned {
            operator,
            roles,
            by,
            at,
        } => {
            let body = RolesAssignedV1 {
                operator,
                roles,
                by,
                at,
            };
            (of_operator(&operator), "RolesAssigned", codec::encode(&body))
        }
        Event::RightsChanged {
            operator,
            epoch,
            reach,
            at,
        } => {
            let body = OperatorRightsChanged {
                operator,
                epoch,
                rights: reach::write(&reach),
                at,
            };
            (
                of_operator(&operator),
                OperatorRightsChanged::KIND,
                codec::encode(&body),
            )
        }
        Event::OperatorDisabled {
            operator,
            reason,
            for_good,
            by,
            at,
        } => {
            let body = OperatorDisabledV1 {
                operator,
                reason,
                at,
                for_good,
                by,
            };
            (of_operator(&operator), OperatorDisabled::KIND, codec::encode(&body))
        }
        Event::OperatorEnabled {
            operator,
            epoch,
            by,
            at,
        } => {
            let body = OperatorEnabledV1 {
                operator,
                epoch,
                at,
                by,
            };
            (of_operator(&operator), OperatorEnabled::KIND, codec::encode(&body))
        }
        Event::PasswordCleared { operator, by, at } => {
            let body = PasswordClearedV1 { operator, by, at };
            (of_operator(&operator), "PasswordCleared", codec::encode(&body))
        }
        Event::RoleSet {
            role,
            description,
            reach,
            by,
            at,
        } => {
            let body = RoleSetV1 {
                role,
                description,
                rights: reach::write(&reach),
                by,
                at,
            };
            (format!("role-{}", body.role), "RoleSet", codec::encode(&body))
        }
        Event::SiteSet {
            site,
            description,
            by,
            at,
        } => {
            let body = SiteSetV1 {
                site,
                description,
                by,
                at,
            };
            (format!("site-{}", body.site), "SiteSet", codec::encode(&body))
        }
        Event::TokenMinted(facts) => {
            let body = TokenMintedV1 {
                token: facts.token,
                author: facts.author,
                name: facts.name,
                key_fingerprint: facts.key_fingerprint,
                rights: reach::write(&facts.reach),
                devices: facts.devices,
                epoch: facts.epoch,
                at: facts.at,
                expires_at: facts.expires_at,
            };
            // Where its end is written, too.
            (of_session(&body.token), "TokenMinted", codec::encode(&body))
        }
        // These are encoded beside their own forms.
        other @ (Event::SetupOpened { .. }
        | Event::SetupUsed { .. }
        | Event::OperatorCreated { .. }
        | Event::PasswordSet { .. }
        | Event::SessionStarted { .. }
        | Event::BootstrapSessionStarted { .. }
        | Event::SessionProved { .. }
        | Event::SessionEnded { .. }
        | Event::GrantMinted(_)
        | Event::GrantRevoked { .. }
        | Event::TotpOffered { .. }
        | Event::TotpConfirmed { .. }
        | Event::TotpUsed { .. }
        | Event::FactorRemoved { .. }
        | Event::PasskeyAdded { .. }
        | Event::PasskeyNamed { .. }
        | Event::PasskeyUsed { .. }
        | Event::PasskeyRemoved { .. }
        | Event::RecoveryCodesMade { .. }
        | Event::RecoveryCodeUsed { .. }) => (String::new(), "", Err(unexpected(&other))),
    }
}

pub(super) fn unexpected(event: &Event) -> CodecError {
    debug_assert!(false, "{event:?} is encoded elsewhere");
    CodecError::Malformed {
        reason: "the event is none of operators, roles and sites".to_owned(),
    }
}

fn link_made(stored: LinkMadeV2) -> Event {
    Event::LinkMade {
        operator: stored.operator,
        link: stored.link,
        by: stored.by,
        at: stored.at,
        expires_at: stored.expires_at,
    }
}

/// Reads a stored event.
///
/// Errors: [`StoredError`].
pub(super) fn decode(kind: &str, body: &[u8]) -> Result<Event, StoredError> {
    let field = || StoredError::Field { kind: kind.to_owned() };
    Ok(match kind {
        "OperatorInvited" => {
            let stored: OperatorInvitedV1 = read(kind, body)?;
            Event::OperatorInvited {
                operator: stored.operator,
                username: Username::new(&stored.username).ok_or_else(field)?,
                roles: stored.roles,
                by: stored.by,
                at: stored.at,
            }
        }
        "LinkMade" => link_made(read::<LinkMadeV1>(kind, body)?.into()),
        "LinkMade2" => link_made(read(kind, body)?),
        "LinkUsed" => {
            let LinkUsedV1 { operator, peer, at } = read(kind, body)?;
            Event::LinkUsed { operator, peer, at }
        }
        "RolesAssigned" => {
            let stored: RolesAssignedV1 = read(kind, body)?;
            Event::RolesAssigned {
                operator: stored.operator,
                roles: stored.roles,
                by: stored.by,
                at: stored.at,
            }
        }
        OperatorRightsChanged::KIND => {
            let stored: OperatorRightsChanged = read(kind, body)?;
            Event::RightsChanged {
                operator: stored.operator,
                epoch: stored.epoch,
                reach: reach::read(&stored.rights).map_err(|_| field())?,
                at: stored.at,
            }
        }
        OperatorDisabled::KIND => {
            let stored: OperatorDisabledV1 = read(kind, body)?;
            Event::OperatorDisabled {
                operator: stored.operator,
                reason: stored.reason,
                for_good: stored.for_good,
                by: stored.by,
                at: stored.at,
            }
        }
        OperatorEnabled::KIND => {
            let stored: OperatorEnabledV1 = read(kind, body)?;
            Event::OperatorEnabled {
                operator: stored.operator,
                epoch: stored.epoch,
                by: stored.by,
                at: stored.at,
            }
        }
        "PasswordCleared" => {
            let PasswordClearedV1 { operator, by, at } = read(kind, body)?;
            Event::PasswordCleared { operator, by, at }
        }
        "RoleSet" => {
            let stored: RoleSetV1 = read(kind, body)?;
            Event::RoleSet {
                role: stored.role,
                description: stored.description,
                reach: reach::read(&stored.rights).map_err(|_| field())?,
                by: stored.by,
                at: stored.at,
            }
        }
        "SiteSet" => {
            let stored: SiteSetV1 = read(kind, body)?;
            Event::SiteSet {
                site: stored.site,
                description: stored.description,
                by: stored.by,
                at: stored.at,
            }
        }
        "TokenMinted" => {
            let stored: TokenMintedV1 = read(kind, body)?;
            Event::TokenMinted(TokenFacts {
                token: stored.token,
                author: stored.author,
                name: stored.name,
                key_fingerprint: stored.key_fingerprint,
                reach: reach::read(&stored.rights).map_err(|_| field())?,
                devices: stored.devices,
                epoch: stored.epoch,
                at: stored.at,
                expires_at: stored.expires_at,
            })
        }
        _ => return Err(StoredError::UnknownKind { kind: kind.to_owned() }),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{at, json_of};
    use super::*;
    use borealis_bus_schema::routes::Right;
    use borealis_service_kit::auth::{Reach, Sites};
    use serde_json::Value;

    pub fn one_of_each() -> Vec<Event> {
        let (operator, by) = (OperatorId::from_bytes([9; 16]), OperatorId::from_bytes([1; 16]));
        let reach = Reach::from([
            (Right::DevicesRead, Sites::All),
            (Right::JobsRun, Sites::Some([SiteName::default_site()].into())),
        ]);
        let roles = BTreeSet::from([OperatorRoleName::new("technician").unwrap()]);
        vec![
            Event::OperatorInvited {
                operator,
                username: Username::new("bob").unwrap(),
                roles: roles.clone(),
                by,
                at: at(10),
            },
            Event::LinkMade {
                operator,
                link: PublicKey::from_bytes([5; 32]),
                by,
                at: at(10),
                expires_at: at(20),
            },
            Event::LinkUsed {
                operator,
                peer: "192.0.2.9".into(),
                at: at(11),
            },
            Event::RolesAssigned {
                operator,
                roles,
                by,
                at: at(12),
            },
            Event::RightsChanged {
                operator,
                epoch: 1,
                reach: reach.clone(),
                at: at(12),
            },
            Event::OperatorDisabled {
                operator,
                reason: "left".into(),
                for_good: false,
                by,
                at: at(13),
            },
            Event::OperatorEnabled {
                operator,
                epoch: 2,
                by,
                at: at(14),
            },
            Event::PasswordCleared {
                operator,
                by,
                at: at(15),
            },
            Event::RoleSet {
                role: OperatorRoleName::new("night-shift").unwrap(),
                description: "Runs jobs at night".into(),
                reach: reach.clone(),
                by,
                at: at(16),
            },
            Event::SiteSet {
                site: SiteName::new("berlin").unwrap(),
                description: "The office in Berlin".into(),
                by,
                at: at(17),
            },
            Event::TokenMinted(TokenFacts {
                token: SessionId::from_bytes([10; 16]),
                author: operator,
                name: "backup".into(),
                key_fingerprint: Digest([11; 32]),
                reach,
                devices: Some([Guid::from_random([12; 16])].into()),
                epoch: 1,
                at: at(18),
                expires_at: at(19),
            }),
        ]
    }

    pub fn fields(kind: &str, body: &[u8]) -> Value {
        match kind {
            "OperatorInvited" => json_of::<OperatorInvitedV1>(body),
            "LinkMade2" => json_of::<LinkMadeV2>(body),
            "LinkUsed" => json_of::<LinkUsedV1>(body),
            "RolesAssigned" => json_of::<RolesAssignedV1>(body),
            "OperatorRightsChanged" => json_of::<OperatorRightsChanged>(body),
            "OperatorDisabled" => json_of::<OperatorDisabledV1>(body),
            "OperatorEnabled" => json_of::<OperatorEnabledV1>(body),
            "PasswordCleared" => json_of::<PasswordClearedV1>(body),
            "RoleSet" => json_of::<RoleSetV1>(body),
            "SiteSet" => json_of::<SiteSetV1>(body),
            "TokenMinted" => json_of::<TokenMintedV1>(body),
            other => panic!("{other} has no golden form"),
        }
    }
}
