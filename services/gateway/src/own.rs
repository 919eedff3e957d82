//! Who may use the routes that the gateway answers by itself: one check for all of them, by the table of routes.
//!
//! It is the same that services make of a call, with one difference: the gateway follows nobody, so it does not know what was
//! revoked. Where no service decides anew, access is asked what the session may do now, and only that counts.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::{LOOK_ONLY, RightOnSites};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{Need, OwnRoute, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{Caller, HOP_LIFE_MS, Reach, attenuate, reach};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::operator::fits;
use http::header;
use http::request::Parts;
use serde::Deserialize;
use std::time::Duration;

use crate::auth::token;
use crate::router::Gateway;
use crate::server::Peer;

/// Is how long access may take.
const WITHIN: Duration = Duration::from_secs(3);

/// Is whoever may use a route.
pub(crate) struct Admitted {
    /// Who it is; the reach is what access says, where access was asked.
    pub(crate) caller: Caller,
    /// The session behind it.
    pub(crate) session: Session,
    /// What access said that it may do; none where services decide anew.
    pub(crate) standing: Option<Standing>,
}

/// Admits a request to a route that the gateway answers by itself; none where anyone may ask.
///
/// Errors: `wrong_origin`, `token_missing`, those of the authoriser and of [`fits`], and those of access.
pub(crate) async fn admit(gateway: &Gateway, route: &'static OwnRoute, parts: &Parts) -> Reply<Option<Admitted>> {
    if route.need == Need::Public {
        return Ok(None);
    }
    let upgrades = route.method == "WS";
    if upgrades && parts.headers.contains_key(header::ORIGIN) {
        gateway.origins.check_upgrade(&parts.headers)?;
    }
    gateway.origins.check(&parts.method, &parts.headers)?;
    let biscuit = token::find(&parts.headers, &gateway.cookie)?.biscuit().to_owned();
    if upgrades {
        gateway.origins.check_upgrade(&parts.headers)?;
    }
    let caller = gateway.authoriser.authorise(Some(&biscuit), route.need, None)?;
    fits(&caller, route.asks())?;
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.map_or_else(String::new, |peer| peer.0.to_string());
    let session = Session { biscuit, peer };
    if route.decided_elsewhere {
        return Ok(Some(Admitted {
            caller,
            session,
            standing: None,
        }));
    }
    // An open page connects again by itself: that it listens is no use of the session.
    let standing = match upgrades {
        true => session.look(gateway).await?,
        false => session.check(gateway).await?,
    };
    let caller = caller.within(&standing.reach()?, route.need);
    if let Need::Right(right) = route.need
        && !caller.reach.contains_key(&right)
    {
        let text = format!("the right {} is held no more", right.as_str());
        return Err(WireError::new(Code::RightMissing, text));
    }
    fits(&caller, route.asks())?;
    Ok(Some(Admitted {
        caller,
        session,
        standing: Some(standing),
    }))
}

/// Is the session behind a request.
pub(crate) struct Session {
    pub(crate) biscuit: String,
    pub(crate) peer: String,
}

impl Session {
    /// Asks access whether it still stands, and what it may do; that counts as use of the session.
    async fn check(&self, gateway: &Gateway) -> Reply<Standing> {
        self.ask(gateway, "").await
    }

    /// Asks the same without counting as use: whoever only listens is not there.
    pub(crate) async fn look(&self, gateway: &Gateway) -> Reply<Standing> {
        self.ask(gateway, &format!("?{LOOK_ONLY}=true")).await
    }

    async fn ask(&self, gateway: &Gateway, query: &str) -> Reply<Standing> {
        let Some(route) = of_verb(Service::Access, "session") else {
            return Err(WireError::new(
                Code::Internal,
                "there is no route that tells of a session",
            ));
        };
        let narrowed = attenuate(
            &self.biscuit,
            route.service,
            route.need,
            gateway.clock.now(),
            HOP_LIFE_MS,
        )
        .map_err(|_| WireError::new(Code::TokenInvalid, "the request's token is no token of this server"))?;
        let call = OperatorCall {
            method: route.method.to_owned(),
            path: format!("{}{query}", route.path),
            body: Vec::new(),
            proof: None,
            peer: self.peer.clone(),
        };
        let options = RequestOptions {
            biscuit: Some(narrowed),
            correlation: None,
            timeout: Some(WITHIN),
        };
        let answer = gateway.backend.call(route.service, route.verb, &call, options).await?;
        serde_json::from_str(&answer.json).map_err(|_| unreadable())
    }
}

/// Is what access says that a session may do; nothing where it says nothing.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Standing {
    #[serde(default)]
    reach: Vec<RightOnSites>,
}

impl Standing {
    fn reach(&self) -> Reply<Reach> {
        reach::read(&self.reach).map_err(|_| unreadable())
    }
}

fn unreadable() -> WireError {
    WireError::new(Code::Internal, "what access says of the session cannot be read")
}
