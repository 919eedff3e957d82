//! Enrollment's second connection: the bus's own account, where it says who is on and takes account updates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::subjects;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::{BusOptions, Link, UrlSource};
use super::requests::Requests;
use super::{BusError, Incomings};
use crate::keys;
use crate::paths::Paths;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Is the largest answer that the bus gives about itself.
const ANSWER_BYTES: usize = 4 << 20;
/// Is how many connections one page of CONNZ holds.
const PAGE: usize = 1_024;

/// Is one connection of a bus user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The server it stands at.
    pub server: String,
    /// Its number at that server; newer ones are larger.
    pub cid: u64,
    /// The user's public key, `U…`: a device's identity key.
    pub user: String,
    /// The peer's address.
    pub host: String,
    /// The name that the client gave.
    pub name: String,
}

/// Is one change of who is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// A connection stands.
    Connected(Connection),
    /// A connection ended.
    Disconnected {
        /// Which.
        connection: Connection,
        /// Why, in the bus's words.
        reason: String,
    },
}

/// Is the connection to the bus's own account. Handles are cheap to clone.
#[derive(Clone)]
pub struct Sys {
    link: Link,
    requests: Arc<Requests>,
}

#[derive(Deserialize)]
struct WireEvent {
    server: WireServer,
    client: WireClient,
    #[serde(default)]
    reason: String,
}
#[derive(Deserialize)]
struct WireServer {
    id: String,
}
#[derive(Deserialize)]
struct WireClient {
    id: u64,
    #[serde(default)]
    user: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct WireConnz {
    server: WireServer,
    data: Option<WireConnzData>,
}
#[derive(Deserialize)]
struct WireConnzData {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    connections: Vec<WireConn>,
}
#[derive(Deserialize)]
struct WireConn {
    cid: u64,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    authorized_user: String,
    #[serde(default)]
    nkey: String,
}

impl Sys {
    /// Connects with the keys that only enrollment has; waits, saying so, while there is no bus.
    ///
    /// Errors: [`BusError::Credentials`], [`BusError::Unusable`].
    pub async fn connect(paths: &Paths) -> Result<Self, BusError> {
        let options = BusOptions {
            name: "enrollment-sys".to_owned(),
            inbox_owner: INBOX_OWNER.to_owned(),
            urls: UrlSource::Ports(paths.clone()),
            ca_pem: paths.ca_pem(),
            jwt: paths.sys_jwt(),
            key: Arc::new(keys::read_nkey(&paths.sys_seed())?),
        };
        let link = Link::connect(options).await?;
        let requests = Requests::start(&link, &subjects::inbox_prefix(INBOX_OWNER)).await?;
        Ok(Self {
            link,
            requests: Arc::new(requests),
        })
    }

    /// Follows whether the connection stands.
    pub fn connected(&self) -> tokio::sync::watch::Receiver<bool> {
        self.link.connected()
    }

    /// Listens to who of an account connects and disconnects; what the bus drops is found by [`Sys::connections`].
    ///
    /// Errors: [`BusError::Client`].
    pub async fn events(&self, account: &str) -> Result<ConnectionEvents, BusError> {
        // One subscription: the bus's words come in the order in which it said them.
        let words = self.link.subscribe(format!("$SYS.ACCOUNT.{account}.*"), None).await?;
        Ok(ConnectionEvents { words })
    }

    async fn ask(&self, what: &'static str, subject: String, body: Vec<u8>) -> Result<bytes::Bytes, BusError> {
        self.requests
            .ask(&self.link, subject, None, body, TIMEOUT)
            .await
            .map_err(|error| BusError::Answer {
                what,
                reason: error.to_string(),
            })
    }

    /// Gives the bus a newer JWT of an account, reads it back and compares.
    ///
    /// Errors: [`BusError::Answer`] when it was refused or something else is held afterwards.
    pub async fn update_account(&self, account: &str, jwt: &str) -> Result<(), BusError> {
        const WHAT: &str = "an account's update";
        let answer = self
            .ask(WHAT, "$SYS.REQ.CLAIMS.UPDATE".to_owned(), jwt.as_bytes().to_vec())
            .await?;
        let answer: Value = read(WHAT, &answer)?;
        if let Some(error) = answer.get("error") {
            return Err(unexpected(WHAT, error.to_string()));
        }
        if self.lookup_account(account).await? != jwt {
            return Err(unexpected(
                WHAT,
                "it holds another JWT than the one just given".to_owned(),
            ));
        }
        Ok(())
    }

    /// Reads the JWT that the bus holds of an account.
    ///
    /// Errors: [`BusError::Answer`].
    pub async fn lookup_account(&self, account: &str) -> Result<String, BusError> {
        const WHAT: &str = "an account's look-up";
        let subject = format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP");
        let answer = self.ask(WHAT, subject, Vec::new()).await?;
        String::from_utf8(answer.into()).map_err(|_| unexpected(WHAT, "it is no text".to_owned()))
    }

    /// Lists an account's connections of users, page by page.
    ///
    /// Errors: [`BusError::Answer`].
    pub async fn connections(&self, account: &str) -> Result<Vec<Connection>, BusError> {
        const WHAT: &str = "the list of connections";
        let mut all: HashMap<u64, Connection> = HashMap::new();
        let mut offset = 0usize;
        loop {
            let ask = json!({"auth": true, "acc": account, "limit": PAGE, "offset": offset, "state": 0});
            let body = serde_json::to_vec(&ask).map_err(|e| unexpected(WHAT, e.to_string()))?;
            let answer = self.ask(WHAT, "$SYS.REQ.SERVER.PING.CONNZ".to_owned(), body).await?;
            let page: WireConnz = read(WHAT, &answer)?;
            let data = page.data.ok_or_else(|| unexpected(WHAT, "it has no data".to_owned()))?;
            let count = data.connections.len();
            for conn in data.connections {
                let user = if conn.nkey.is_empty() {
                    conn.authorized_user
                } else {
                    conn.nkey
                };
                let connection = Connection {
                    server: page.server.id.clone(),
                    cid: conn.cid,
                    user,
                    host: conn.ip,
                    name: conn.name,
                };
                all.insert(connection.cid, connection);
            }
            offset = offset.saturating_add(count);
            if count == 0 || offset >= data.total {
                break;
            }
        }
        let mut all: Vec<Connection> = all.into_values().collect();
        all.sort_by_key(|connection| connection.cid);
        Ok(all)
    }

    /// Ends one connection; its client may come back unless its user was revoked.
    ///
    /// Errors: [`BusError::Answer`].
    pub async fn kick(&self, server: &str, cid: u64) -> Result<(), BusError> {
        const WHAT: &str = "a kick";
        let body = serde_json::to_vec(&json!({"cid": cid})).map_err(|e| unexpected(WHAT, e.to_string()))?;
        let answer = self.ask(WHAT, format!("$SYS.REQ.SERVER.{server}.KICK"), body).await?;
        let answer: Value = read(WHAT, &answer)?;
        match answer.get("error") {
            Some(error) => Err(unexpected(WHAT, error.to_string())),
            None => Ok(()),
        }
    }
}

/// Names whose private replies this connection hears: `_INBOX_sys.>`.
const INBOX_OWNER: &str = "sys";

fn unexpected(what: &'static str, reason: String) -> BusError {
    BusError::Answer { what, reason }
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, BusError> {
    codec::decode_json(body, ANSWER_BYTES).map_err(|error| unexpected(what, error.to_string()))
}

/// Is a stream of connects and disconnects.
pub struct ConnectionEvents {
    words: Incomings,
}

impl ConnectionEvents {
    /// Waits for the next; `None` once the connection was closed. What cannot be read is left out.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        loop {
            let message = self.words.next().await?;
            let connected = match message.subject().rsplit('.').next() {
                Some("CONNECT") => true,
                Some("DISCONNECT") => false,
                _ => continue,
            };
            let Ok(event) = codec::decode_json::<WireEvent>(message.body(), 64 << 10) else {
                tracing::warn!(
                    subject = message.subject(),
                    "a word of the bus about itself cannot be read"
                );
                continue;
            };
            let connection = Connection {
                server: event.server.id,
                cid: event.client.id,
                user: event.client.user,
                host: event.client.host,
                name: event.client.name,
            };
            return Some(if connected {
                ConnectionEvent::Connected(connection)
            } else {
                ConnectionEvent::Disconnected {
                    connection,
                    reason: event.reason,
                }
            });
        }
    }
}
