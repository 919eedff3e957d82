//! Operators: the account, its name, and what it may do at the moment.

use std::collections::{BTreeMap, BTreeSet};

use borealis_bus_schema::ids::{OperatorId, OperatorRoleName, PasskeyId};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, Sites};

use super::{BOOTSTRAP_NAME, BOOTSTRAP_OPERATOR, BOOTSTRAP_RIGHTS, Factors, Link, Passkey, Rejection, State, Status};

/// Is an operator's name as it was checked and brought to its one form.
///
/// Shape: 1 to 64 of `a-z 0-9 . _ - @`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Username(String);

impl Username {
    /// Takes a name as a person typed it: spaces around it and capitals do not count.
    pub fn new(text: &str) -> Option<Self> {
        let name = text.trim().to_lowercase();
        let fits = (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'@'));
        (fits && name != BOOTSTRAP_NAME).then_some(Self(name))
    }

    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Is an operator's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name.
    pub username: Username,
    /// The roles, whose rights add up.
    pub roles: BTreeSet<OperatorRoleName>,
    /// Whether the operator may act.
    pub status: Status,
    /// How often the standing changed so that what was minted before is worth less.
    pub epoch: u64,
    /// What a password is checked against; none before one is set.
    pub record: Option<Vec<u8>>,
    /// What the operator has besides the password.
    pub factors: Factors,
    /// The keys of authenticators with which the operator logs in without the password.
    pub passkeys: BTreeMap<PasskeyId, Passkey>,
    /// The link by which a password can be set, while there is one.
    pub link: Option<Link>,
    /// Addresses from which this operator proved the password; for log-ins from there some of the attempts are kept.
    pub known_peers: BTreeSet<String>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// By whom; none for the first one.
    pub created_by: Option<OperatorId>,
    /// When the password was last proved.
    pub last_login_at: Option<Timestamp>,
}

impl Operator {
    pub(super) fn new(
        username: Username,
        roles: BTreeSet<OperatorRoleName>,
        created_at: Timestamp,
        created_by: Option<OperatorId>,
    ) -> Self {
        Self {
            username,
            roles,
            status: Status::Active,
            epoch: 0,
            record: None,
            factors: Factors::default(),
            passkeys: BTreeMap::new(),
            link: None,
            known_peers: BTreeSet::new(),
            created_at,
            created_by,
            last_login_at: None,
        }
    }
}

/// Is what an operator is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The name.
    pub username: String,
    /// The rights, each with its sites.
    pub reach: Reach,
    /// How often the standing changed.
    pub epoch: u64,
}

impl State {
    /// Finds an operator by name.
    pub fn operator(&self, name: &Username) -> Option<(OperatorId, &Operator)> {
        let id = self.names.get(name)?;
        self.operators.get(id).map(|operator| (*id, operator))
    }

    /// Tells whether somebody has logged in from an address; of whom would tell which names exist.
    pub fn knows_peer(&self, peer: &str) -> bool {
        self.operators
            .values()
            .any(|account| account.known_peers.contains(peer))
    }

    /// Tells an operator's name and what the operator may do now; those of the first start included.
    ///
    /// Errors: [`Rejection::OperatorUnknown`], also for one who is disabled.
    pub fn standing(&self, operator: &OperatorId) -> Result<Standing, Rejection> {
        if *operator == BOOTSTRAP_OPERATOR {
            return Ok(Standing {
                username: BOOTSTRAP_NAME.to_owned(),
                reach: BOOTSTRAP_RIGHTS.into_iter().map(|right| (right, Sites::All)).collect(),
                epoch: 0,
            });
        }
        let account = self.operators.get(operator).ok_or(Rejection::OperatorUnknown)?;
        if account.status != Status::Active {
            return Err(Rejection::OperatorUnknown);
        }
        Ok(Standing {
            username: account.username.as_str().to_owned(),
            reach: self.reach_of(&account.roles),
            epoch: account.epoch,
        })
    }
}

/// Keeps at most this many addresses of an operator.
const MAX_KNOWN_PEERS: usize = 64;

pub(super) fn remember(peers: &mut BTreeSet<String>, peer: String) {
    if peers.len() < MAX_KNOWN_PEERS {
        peers.insert(peer);
    }
}
