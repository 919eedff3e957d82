//! Every HTTP route and every bus verb as lines, to be printed and compared.

use serde::Serialize;

use super::{AUDIT_VERBS, BUS_VERBS, Need, OWN_ROUTES, ROUTES, Right, Tenancy};
use crate::subjects::Service;

/// Is one line of `borealis-server routes --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `http` or `bus`.
    pub kind: &'static str,
    /// The HTTP method, for `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// The path, for `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'static str>,
    /// The service, for `bus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The verb, for `bus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<&'static str>,
    /// The right it needs; null where none.
    pub right: Option<&'static str>,
    /// Whether anyone may call it.
    pub public: bool,
    /// Whether it changes anything.
    pub changes: bool,
    /// Whether the password must have been proved not long ago.
    pub step_up: bool,
    /// Whose objects it reaches.
    pub tenancy: Tenancy,
}

fn right_of(need: Need) -> Option<&'static str> {
    match need {
        Need::Public => None,
        other => Some(other.as_str()),
    }
}

/// Lists every HTTP route and every bus verb, in a stable order.
pub fn lines() -> Vec<Line> {
    let empty = Line {
        kind: "http",
        method: None,
        path: None,
        service: None,
        verb: None,
        right: None,
        public: false,
        changes: false,
        step_up: false,
        tenancy: Tenancy::Deployment,
    };
    let http = ROUTES.iter().map(|r| Line {
        method: Some(r.method),
        path: Some(r.path),
        right: right_of(r.need),
        public: r.need == Need::Public,
        changes: r.changes,
        step_up: r.step_up,
        tenancy: r.tenancy,
        ..empty.clone()
    });
    let own = OWN_ROUTES.iter().map(|r| Line {
        method: Some(r.method),
        path: Some(r.path),
        right: right_of(r.need),
        public: r.need == Need::Public,
        tenancy: r.tenancy,
        ..empty.clone()
    });
    let forwarded = ROUTES.iter().map(|r| Line {
        kind: "bus",
        service: Some(r.service),
        verb: Some(r.verb),
        right: right_of(r.need),
        public: r.need == Need::Public,
        changes: r.changes,
        step_up: r.step_up,
        tenancy: r.tenancy,
        ..empty.clone()
    });
    let between = BUS_VERBS.iter().map(|v| Line {
        kind: "bus",
        service: Some(v.service),
        verb: Some(v.verb),
        right: v.need.map(Right::as_str),
        changes: v.changes,
        tenancy: v.tenancy,
        ..empty.clone()
    });
    let reads = Service::ALL.into_iter().filter(|s| s.has_store()).map(|service| Line {
        kind: "bus",
        service: Some(service),
        verb: Some("events-read"),
        ..empty.clone()
    });
    let audit = Service::ALL
        .into_iter()
        .filter(|s| s.has_store())
        .flat_map(|service| AUDIT_VERBS.into_iter().map(move |verb| (service, verb)));
    let audit = audit.map(|(service, verb)| Line {
        kind: "bus",
        service: Some(service),
        verb: Some(verb),
        right: Some(Right::AuditRead.as_str()),
        ..empty.clone()
    });
    let all = http.chain(own).chain(forwarded).chain(between).chain(reads);
    all.chain(audit).collect()
}
