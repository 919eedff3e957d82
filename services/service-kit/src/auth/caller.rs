//! Whoever a biscuit speaks for, and what a policy sees beside it.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{GrantId, Guid, OperatorId, SessionId, SiteName};
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::time::Timestamp;

use super::ProvedFor;
use super::reach::{self, Reach, Sites};

/// Is whoever a biscuit speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The operator; a grant's author.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// The session; for a grant the one in which it was asked for.
    pub session: SessionId,
    /// The key that signs this session's changing requests.
    pub session_key: PublicKey,
    /// The rights held anywhere.
    pub rights: BTreeSet<Right>,
    /// The sites that the right in question reaches; of every right where none was in question.
    pub sites: Sites,
    /// The sites of each right.
    pub reach: Reach,
    /// When the biscuit ends at the latest.
    pub expires_at: Timestamp,
    /// The devices that the biscuit is narrowed to; none where it is not narrowed.
    pub devices: Option<BTreeSet<Guid>>,
    /// Whether the biscuit is an API token, or the grant of one.
    pub is_token: bool,
    /// The operator's epoch when it was minted.
    pub epoch: u64,
    /// When password or passkey was last proved in the session, as far as the biscuit says.
    pub proved_at: Option<Timestamp>,
    /// The one request for which a passkey was asked, as far as the biscuit says.
    pub proved_for: Option<ProvedFor>,
    /// The grant, when the biscuit is one.
    pub grant: Option<GrantId>,
    /// The digest of the signed request and its command that the grant covers, when the biscuit is one.
    pub call_digest: Option<[u8; 32]>,
}

impl Caller {
    /// Tells whether the caller holds a right on a site.
    pub fn may(&self, right: Right, site: &SiteName) -> bool {
        self.reach.get(&right).is_some_and(|sites| sites.reach(site))
    }

    /// Tells whether the caller holds a right on a device of a site.
    pub fn may_on(&self, right: Right, site: &SiteName, guid: &Guid) -> bool {
        self.may(right, site) && self.devices.as_ref().is_none_or(|devices| devices.contains(guid))
    }

    /// Tells whether the caller holds a right on every device of every site.
    pub fn may_on_all(&self, right: Right) -> bool {
        self.may_everywhere(right) && self.devices.is_none()
    }

    /// Tells whether the caller holds a right on every site, also those to come.
    pub fn may_everywhere(&self, right: Right) -> bool {
        self.reach.get(&right) == Some(&Sites::All)
    }

    /// Takes away what another word on the same caller does not hold.
    #[must_use]
    pub fn within(mut self, reach: &Reach, need: Need) -> Self {
        self.reach = reach::meet(&self.reach, reach);
        self.facing(need)
    }

    /// Fills in what follows from the reach for whatever is needed.
    pub(super) fn facing(mut self, need: Need) -> Self {
        self.rights = self.reach.keys().copied().collect();
        self.sites = match need {
            Need::Right(right) => self.reach.get(&right).cloned().unwrap_or_else(Sites::none),
            Need::Public | Need::Session => self.reach.values().fold(Sites::none(), |all, sites| all.join(sites)),
        };
        self
    }
}

/// Is a device with its site, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The device; none where only the site matters.
    pub guid: Option<Guid>,
    /// Its site.
    pub site: SiteName,
}
