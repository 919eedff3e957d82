//! The verbs that services ask each other.

use super::{Asks, Right, Tenancy, right};
use crate::messages::audit::{LIST_VERB, VERIFY_VERB};
use crate::subjects::Service;
use Service::Access;
use Tenancy::{Deployment, Site};

/// Describes a verb that services ask each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusVerb {
    /// The service that answers.
    pub service: Service,
    /// The verb.
    pub verb: &'static str,
    /// The right that the forwarded biscuit must hold; none where the bus user alone decides.
    pub need: Option<Right>,
    /// Whether it changes anything.
    pub changes: bool,
    /// Whose objects it reaches: the whole deployment takes a right that reaches every site.
    pub tenancy: Tenancy,
    /// What it does, in one line.
    pub summary: &'static str,
}

const fn verb(service: Service, verb: &'static str, need: Option<Right>, summary: &'static str) -> BusVerb {
    BusVerb {
        service,
        verb,
        need,
        changes: true,
        tenancy: Deployment,
        summary,
    }
}

impl BusVerb {
    /// Says that it changes nothing.
    const fn reads(mut self) -> Self {
        self.changes = false;
        self
    }

    /// Says that it reaches what the caller's right reaches.
    const fn of_sites(mut self) -> Self {
        self.tenancy = Site;
        self
    }
}

/// Lists the verbs that services ask each other; each service with a store answers `events-read` besides.
pub const BUS_VERBS: &[BusVerb] = &[
    verb(
        Access,
        "grant-mint",
        None,
        "Mints a grant for a signed request that acts later",
    ),
    verb(
        Access,
        "grant-revoke",
        None,
        "Ends a grant of which nothing is to come any more",
    ),
    verb(
        Service::Signing,
        "orders-sign",
        None,
        "Signs orders that a grant and a signed request cover",
    ),
    verb(
        Service::Library,
        "scripts-put",
        Some(Right::JobsRun),
        "Keeps a script under its digest",
    )
    .of_sites(),
    verb(Service::Library, "scripts-get", None, "Returns a script by its digest").reads(),
    verb(
        Service::Library,
        "assemblies-get",
        None,
        "Returns a version of an assembly, which whoever signed for it has named by its digest",
    )
    .reads(),
    verb(
        Service::Signing,
        "countersigned",
        Some(Right::AuditRead),
        "Returns the newest head of a service that was countersigned",
    )
    .reads(),
    verb(Access, "audit-note", None, "Keeps what the gateway refused by itself"),
];

/// Lists the verbs with which the audit of each service that keeps a store is read; all need [`Right::AuditRead`].
pub const AUDIT_VERBS: [&str; 2] = [LIST_VERB, VERIFY_VERB];

/// Is what the verbs of the audit ask of a token: the audit names objects of every site.
pub const AUDIT_ASKS: Asks = Asks {
    need: right(Right::AuditRead),
    tenancy: Deployment,
    serves_tokens: false,
    knows_devices: false,
};
