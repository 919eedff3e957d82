//! Whether whoever minted a code that approves by itself may still do so, and whether a site exists: what access says.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::STALE_AFTER_MS;
use borealis_service_kit::clock::Clock;
use borealis_service_kit::follow::Freshness;
use borealis_service_kit::revocation::{Limit, RevocationSet};

use crate::aggregate::code::Minted;
use crate::error::Refusal;

/// Is how long a site that was made just now is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Is how often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Holds what was heard of access.
pub struct Minters {
    heard: Arc<RevocationSet>,
    fresh: Option<Freshness>,
    clock: Arc<dyn Clock>,
}

impl Minters {
    /// Takes what is fed by following access; without a measure of freshness nothing is too old.
    pub fn new(heard: Arc<RevocationSet>, fresh: Option<Freshness>, clock: Arc<dyn Clock>) -> Self {
        Self { heard, fresh, clock }
    }

    /// Tells whether a code still admits devices by itself: its minter is enabled, and could approve them in person.
    ///
    /// Errors: `stale` when the newest word from access is too old to decide by.
    pub fn let_it_approve(&self, code: &Minted) -> Result<bool, Refusal> {
        let Some(minter) = code.minter.filter(|_| code.auto_approve) else {
            return Ok(false);
        };
        if self.fresh.as_ref().is_some_and(|fresh| !fresh.within(STALE_AFTER_MS)) {
            let told = "the newest word from access on who may do what is too old to decide by";
            return Err(WireError::new(Code::Stale, told).into());
        }
        if minter.token.is_some_and(|token| self.heard.session_ended(&token)) {
            return Ok(false);
        }
        Ok(match self.heard.limit(&minter.operator, minter.epoch) {
            Limit::None => true,
            Limit::To(reach) => [Right::CodesCreate, Right::ApprovalsDecide]
                .iter()
                .all(|right| reach.get(right).is_some_and(|sites| sites.reach(&code.site))),
            Limit::Void => false,
        })
    }

    /// Refuses a site that access does not know, once all that access said until `now` was heard.
    ///
    /// Errors: [`Refusal::UnknownSite`].
    pub async fn known_site(&self, site: &SiteName, now: Timestamp) -> Result<(), Refusal> {
        let mut waited = Duration::ZERO;
        while !self.heard.knows_site(site) {
            let heard_all = match &self.fresh {
                Some(fresh) => fresh.within(self.clock.now().since_ms(now)),
                None => true,
            };
            if heard_all || waited >= PATIENCE {
                return Err(Refusal::UnknownSite { site: site.clone() });
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        Ok(())
    }
}
