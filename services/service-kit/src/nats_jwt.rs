//! The bus's decentralised JWTs: operator signs account, account signs user.
//!
//! A JWT is signed by an nkey over `base64url(header).base64url(claims)`. The three kinds differ only in their claims, so
//! one function signs them all. A device's bus user key is its own Ed25519 identity key.
//!
//! Source: the claims of nats-io/jwt version 2, checked against nats-server 2.15.1 by the server's tests.

use std::collections::BTreeMap;

use borealis_bus_schema::{forms::PublicKey, permissions::Permissions, time::Timestamp};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha512_256};
use thiserror::Error;

/// Is how many subscriptions one device may hold.
pub const DEVICE_SUBSCRIPTIONS: i64 = 32;

/// Is the largest message that one user may publish, in bytes; the server's own limit is the same.
pub const MAX_PAYLOAD_BYTES: i64 = 1 << 20;

/// Is the prefix of the private replies of the system account's user.
pub const SYSTEM_INBOX: &str = "_INBOX_sys";

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// Says why a JWT could not be made or read; never repeats it.
#[derive(Debug, Error)]
pub enum JwtError {
    /// The key cannot sign or verify.
    #[error("the key is not usable for a JWT of the bus")]
    Key(#[source] nkeys::error::Error),
    /// The text is no JWT of the bus.
    #[error("this is no JWT of the bus")]
    Malformed,
    /// The signature does not fit the issuer in the claims.
    #[error("the signature of the JWT does not fit its issuer")]
    Signature,
}

/// Describes an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountClaims {
    /// The account's public key, `A…`.
    pub public_key: String,
    /// The account's name, for people.
    pub name: String,
    /// The keys that may sign its users.
    pub signing_keys: Vec<String>,
    /// The users that are cut: key, and the Unix second up to which their JWTs are worthless.
    pub revocations: BTreeMap<String, i64>,
}

/// Describes a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    /// The user's public key, `U…`.
    pub public_key: String,
    /// The account's public key, `A…`; the issuer may be one of its signing keys.
    pub account: String,
    /// The user's name: a GUID or a service.
    pub name: String,
    /// What it may publish and subscribe; `None` allows everything in its account.
    pub permissions: Option<Permissions>,
    /// How many subscriptions it may hold; -1 for any number.
    pub subscriptions: i64,
    /// When the JWT ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

impl UserClaims {
    /// Describes a device's user: its own key, its own subjects, some hours.
    pub fn device(
        public_key: &PublicKey,
        guid: &borealis_bus_schema::ids::Guid,
        account: &str,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            public_key: user_key(public_key),
            account: account.to_owned(),
            name: guid.to_string(),
            permissions: Some(borealis_bus_schema::permissions::device(guid)),
            subscriptions: DEVICE_SUBSCRIPTIONS,
            expires_at: Some(expires_at),
        }
    }

    /// Describes the one user of the system account, which speaks with the bus itself.
    pub fn system(public_key: &str, account: &str) -> Self {
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let inbox = format!("{SYSTEM_INBOX}.>");
        Self {
            public_key: public_key.to_owned(),
            account: account.to_owned(),
            name: "system".to_owned(),
            permissions: Some(Permissions {
                publish: lines(&["$SYS.REQ.>"]),
                subscribe: lines(&["$SYS.ACCOUNT.>", "$SYS.SERVER.>", &inbox]),
                responses: (1, 1_000),
            }),
            subscriptions: -1,
            expires_at: None,
        }
    }

    /// Describes a service's user.
    pub fn service(service: borealis_bus_schema::subjects::Service, public_key: &str, account: &str) -> Self {
        Self {
            public_key: public_key.to_owned(),
            account: account.to_owned(),
            name: service.name().to_owned(),
            permissions: Some(borealis_bus_schema::permissions::service(service)),
            subscriptions: -1,
            expires_at: None,
        }
    }
}

/// Returns an Ed25519 public key as the bus names a user, `U…`.
pub fn user_key(key: &PublicKey) -> String {
    const USER_PREFIX: u8 = 20 << 3;
    let mut raw = Vec::with_capacity(35);
    raw.push(USER_PREFIX);
    raw.extend_from_slice(key.as_bytes());
    let checksum = crc16_xmodem(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    BASE32_NOPAD.encode(&raw)
}

/// Returns the Ed25519 public key behind a name of the bus; `None` when the text is none.
pub fn public_key_of(name: &str) -> Option<PublicKey> {
    nkeys::from_public_key(name)
        .ok()
        .map(|(_, bytes)| PublicKey::from_bytes(bytes))
}

fn crc16_xmodem(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

fn seconds(at: Timestamp) -> i64 {
    at.unix_ms().div_euclid(1000)
}

fn sign(
    issuer: &KeyPair,
    subject: &str,
    name: &str,
    at: Timestamp,
    expires_at: Option<Timestamp>,
    nats: Value,
) -> Result<String, JwtError> {
    let mut claims = serde_json::Map::from_iter([
        ("iss".to_owned(), json!(issuer.public_key())),
        ("sub".to_owned(), json!(subject)),
        ("name".to_owned(), json!(name)),
        ("iat".to_owned(), json!(seconds(at))),
        ("nats".to_owned(), nats),
    ]);
    if let Some(end) = expires_at {
        claims.insert("exp".to_owned(), json!(seconds(end)));
    }
    let unnamed = Value::Object(claims.clone()).to_string();
    claims.insert(
        "jti".to_owned(),
        json!(BASE32_NOPAD.encode(&Sha512_256::digest(unnamed))),
    );
    let claims = Value::Object(claims).to_string();
    let input = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(HEADER),
        BASE64URL_NOPAD.encode(claims.as_bytes())
    );
    let signature = issuer.sign(input.as_bytes()).map_err(JwtError::Key)?;
    Ok(format!("{input}.{}", BASE64URL_NOPAD.encode(&signature)))
}

/// Signs the operator's own JWT with its root.
///
/// With `strict_signing_key_usage` only signing keys sign accounts and users, so that no root is needed on line.
///
/// Errors: [`JwtError::Key`].
pub fn operator(
    root: &KeyPair,
    name: &str,
    signing_keys: &[String],
    system_account: &str,
    at: Timestamp,
) -> Result<String, JwtError> {
    let nats = json!({
        "type": "operator",
        "version": 2,
        "signing_keys": signing_keys,
        "system_account": system_account,
        "strict_signing_key_usage": true,
    });
    sign(root, &root.public_key(), name, at, None, nats)
}

/// Signs an account with the operator's signing key.
///
/// Errors: [`JwtError::Key`].
pub fn account(issuer: &KeyPair, account: &AccountClaims, at: Timestamp) -> Result<String, JwtError> {
    let nats = json!({
        "type": "account",
        "version": 2,
        "signing_keys": account.signing_keys,
        "revocations": account.revocations,
        "default_permissions": {"pub": {}, "sub": {}},
        // No JetStream: the account may keep nothing on the bus.
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": 0, "exports": 0, "wildcards": true, "conn": -1, "leaf": 0,
            "mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0,
        },
    });
    sign(issuer, &account.public_key, &account.name, at, None, nats)
}

/// Signs a user with a signing key of its account.
///
/// Errors: [`JwtError::Key`].
pub fn user(issuer: &KeyPair, user: &UserClaims, at: Timestamp) -> Result<String, JwtError> {
    const NANOSECONDS_PER_MS: i64 = 1_000_000;
    let mut nats = json!({
        "type": "user",
        "version": 2,
        "issuer_account": user.account,
        "subs": user.subscriptions,
        "data": -1,
        "payload": MAX_PAYLOAD_BYTES,
        "allowed_connection_types": ["STANDARD"],
    });
    if let (Some(may), Some(fields)) = (&user.permissions, nats.as_object_mut()) {
        let (times, ms) = may.responses;
        fields.insert("pub".to_owned(), json!({"allow": may.publish}));
        fields.insert("sub".to_owned(), json!({"allow": may.subscribe}));
        fields.insert(
            "resp".to_owned(),
            json!({"max": times, "ttl": ms.saturating_mul(NANOSECONDS_PER_MS)}),
        );
    }
    sign(issuer, &user.public_key, &user.name, at, user.expires_at, nats)
}

/// Holds the claims that all three kinds share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Claims {
    /// Who signed.
    pub iss: String,
    /// Whom it is about.
    pub sub: String,
    /// The name, for people.
    #[serde(default)]
    pub name: String,
    /// When it was signed, in Unix seconds.
    pub iat: i64,
    /// When it ends, in Unix seconds.
    #[serde(default)]
    pub exp: Option<i64>,
    /// What it says, by kind.
    pub nats: Value,
}

/// Reads a JWT and verifies that its issuer signed it; whether that issuer may is for the caller to decide.
///
/// Errors: [`JwtError::Malformed`], [`JwtError::Signature`].
pub fn read(jwt: &str) -> Result<Claims, JwtError> {
    let (input, signature) = jwt.trim().rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = input.split_once('.').ok_or(JwtError::Malformed)?;
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JwtError::Malformed);
    if decode(header)? != HEADER {
        return Err(JwtError::Malformed);
    }
    let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| JwtError::Malformed)?;
    let issuer = KeyPair::from_public_key(&claims.iss).map_err(JwtError::Key)?;
    issuer
        .verify(input.as_bytes(), &decode(signature)?)
        .map_err(|_| JwtError::Signature)?;
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::Guid;
    use ed25519_dalek::SigningKey;

    const AT: Timestamp = Timestamp::from_unix_ms(1_800_000_000_999);

    #[test]
    fn a_device_key_is_named_as_nkeys_names_it() {
        let key = SigningKey::from_bytes(&[4; 32]);
        let name = user_key(&PublicKey::of(&key));
        let pair = KeyPair::new_from_raw(nkeys::KeyPairType::User, key.to_bytes()).unwrap();
        assert_eq!(name, pair.public_key());
        assert_eq!(public_key_of(&name), Some(PublicKey::of(&key)));
        assert_eq!(public_key_of("nonsense"), None);
    }

    #[test]
    fn a_user_reads_back_with_its_allow_lists() {
        let issuer = KeyPair::new_account();
        let guid = Guid::from_random([3; 16]);
        let key = PublicKey::of(&SigningKey::from_bytes(&[4; 32]));
        let jwt = user(&issuer, &UserClaims::device(&key, &guid, "AXX", AT.plus_ms(1000)), AT).unwrap();
        let claims = read(&jwt).unwrap();
        assert_eq!(
            (claims.iss, claims.iat, claims.exp),
            (issuer.public_key(), 1_800_000_000, Some(1_800_000_001))
        );
        assert_eq!(claims.name, guid.to_string());
        assert_eq!(
            claims.nats["pub"]["allow"],
            json!([format!("borealis.v1.device.{guid}.tell.>")])
        );
        assert_eq!(claims.nats["issuer_account"], "AXX");
        assert!(claims.nats["sub"].get("deny").is_none());
    }

    #[test]
    fn a_changed_jwt_is_refused() {
        let issuer = KeyPair::new_operator();
        let jwt = operator(&issuer, "Borealis", &[], "AXX", AT).unwrap();
        let mut parts: Vec<String> = jwt.split('.').map(str::to_owned).collect();
        let claims = String::from_utf8(BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap()).unwrap();
        parts[1] = BASE64URL_NOPAD.encode(claims.replace("AXX", "AYY").as_bytes());
        assert!(matches!(read(&parts.join(".")), Err(JwtError::Signature)));
        for text in ["", "a.b", "a.b.c", &jwt[..jwt.len() / 2]] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
