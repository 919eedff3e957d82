//! Every route an operator or an enrolling device may call, with the service that answers and the right it needs.
//!
//! Gateway, services, CLI and `borealis-server routes` read this table; the checked-in matrix is compared with it in every
//! build. A route that is not here does not exist.

use serde::Serialize;

use crate::subjects::Service;

mod rights;

mod table;

mod own;

mod bus_verbs;

mod matrix;

pub use bus_verbs::{AUDIT_ASKS, AUDIT_VERBS, BUS_VERBS, BusVerb};
pub use matrix::{Line, lines};
pub use own::{OWN_ROUTES, OwnRoute};
pub use rights::Right;
pub use table::ROUTES;

/// Tells who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anyone: the body itself proves what it must.
    Public,
    /// Anyone with a valid session.
    Session,
    /// Whoever holds the right.
    Right(Right),
}

/// Tells whose objects a route reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenancy {
    /// Objects of the sites the caller's rights reach.
    Site,
    /// The caller's own session.
    Own,
    /// The whole deployment.
    Deployment,
    /// The device that signs.
    Device,
}

/// Describes one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path; a segment in braces is a parameter.
    pub path: &'static str,
    /// The service that answers.
    pub service: Service,
    /// The verb it is asked.
    pub verb: &'static str,
    /// Who may ask.
    pub need: Need,
    /// Whether the request changes anything, and so is signed by the session key.
    pub changes: bool,
    /// Whether it is dangerous, so that the password must have been proved not long ago.
    pub step_up: bool,
    /// Whose objects it reaches.
    pub tenancy: Tenancy,
    /// Whether an API token serves although no right is needed.
    pub serves_tokens: bool,
    /// Whether the service compares the devices that a token is for.
    pub knows_devices: bool,
    /// What it does, in one line.
    pub summary: &'static str,
}

/// Is how old the proof of the password may be for a dangerous act, in milliseconds: 10 minutes.
pub const STEP_UP_MS: i64 = 10 * 60_000;

/// Is what a route asks of a token besides its right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// Who may ask.
    pub need: Need,
    /// Whose objects it reaches: the whole deployment takes a right that reaches every site.
    pub tenancy: Tenancy,
    /// Whether an API token serves where no right is needed. What a token holds was chosen when it was made; what belongs to
    /// a log-in itself is not among it.
    pub serves_tokens: bool,
    /// Whether a token that is for some devices serves.
    pub knows_devices: bool,
}

impl Route {
    /// Takes a proof of the password that is not old.
    const fn dangerous(mut self) -> Self {
        self.step_up = true;
        self
    }

    /// Lets an API token serve although no right is needed.
    const fn for_tokens(mut self) -> Self {
        self.serves_tokens = true;
        self
    }

    /// Takes a token that is for some devices: the service compares them.
    const fn for_devices(mut self) -> Self {
        self.knows_devices = true;
        self
    }

    /// Returns what it asks of a token besides its right.
    pub const fn asks(&self) -> Asks {
        Asks {
            need: self.need,
            tenancy: self.tenancy,
            serves_tokens: self.serves_tokens,
            knows_devices: self.knows_devices,
        }
    }
}

impl Route {
    /// Returns the parameter in braces when a path fits the template.
    ///
    /// The outer `None` says that it does not fit; the inner one that the template has no parameter.
    pub fn matches<'p>(&self, method: &str, path: &'p str) -> Option<Option<&'p str>> {
        if method != self.method {
            return None;
        }
        let (mut parameter, mut theirs) = (None, path.split('/'));
        for ours in self.path.split('/') {
            let segment = theirs.next()?;
            if ours.starts_with('{') {
                if segment.is_empty() {
                    return None;
                }
                parameter = Some(segment);
            } else if ours != segment {
                return None;
            }
        }
        if theirs.next().is_some() { None } else { Some(parameter) }
    }
}

impl Need {
    /// Returns the right's text, `session` or `public`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Need::Public => "public",
            Need::Session => "session",
            Need::Right(right) => right.as_str(),
        }
    }
}

const fn right(right: Right) -> Need {
    Need::Right(right)
}

/// Finds the route of a verb of a service.
pub fn of_verb(service: Service, verb: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|r| r.service == service && r.verb == verb)
}

/// Is a route that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// One that the gateway forwards.
    Forwarded(&'static Route),
    /// One that the gateway answers by itself.
    Own(&'static OwnRoute),
}

/// Finds the route that a request is for.
pub fn find(method: &str, path: &str) -> Option<Found> {
    let own = || OWN_ROUTES.iter().find(|route| route.matches(method, path));
    ROUTES
        .iter()
        .find(|route| route.matches(method, path).is_some())
        .map(Found::Forwarded)
        .or_else(|| own().map(Found::Own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VerbName;
    use std::collections::BTreeSet;

    #[test]
    fn each_route_and_each_verb_stands_once() {
        let paths: BTreeSet<_> = ROUTES.iter().map(|r| (r.method, r.path)).collect();
        let verbs: BTreeSet<_> = ROUTES.iter().map(|r| (r.service, r.verb)).collect();
        assert_eq!((paths.len(), verbs.len()), (ROUTES.len(), ROUTES.len()));
        assert!(ROUTES.iter().all(|r| VerbName::new(r.verb).is_ok()));
    }

    #[test]
    fn a_path_finds_its_parameter() {
        let show = of_verb(Service::Inventory, "devices-show").unwrap();
        assert_eq!(show.matches("GET", "/api/v1/devices/x"), Some(Some("x")));
        assert_eq!(show.matches("GET", "/api/v1/devices/"), None);
        assert_eq!(show.matches("GET", "/api/v1/devices/x/y"), None);
        assert_eq!(show.matches("POST", "/api/v1/devices/x"), None);
        let list = of_verb(Service::Inventory, "devices-list").unwrap();
        assert_eq!(list.matches("GET", "/api/v1/devices"), Some(None));
    }

    #[test]
    fn only_what_changes_anything_is_dangerous() {
        assert!(ROUTES.iter().filter(|r| r.step_up).all(|r| r.changes));
        let dangerous = [
            "users-invite",
            "users-reset-factor",
            "roles-update",
            "tokens-create",
            "totp-remove",
            "passkeys-register",
            "passkeys-remove",
        ];
        for verb in dangerous {
            assert!(of_verb(Service::Access, verb).unwrap().step_up, "{verb}");
        }
    }

    #[test]
    fn whatever_changes_is_signed_unless_its_body_proves_itself() {
        for route in ROUTES {
            assert_eq!(
                route.changes,
                route.method == "POST" && route.need != Need::Public,
                "{}",
                route.path
            );
        }
    }
}
