//! The routes that the gateway answers by itself.

use super::{Asks, Need, Right as R, Tenancy, right};
use Need::Public;
use Tenancy::{Deployment, Site};

/// Describes a route that the gateway answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnRoute {
    /// The HTTP method, `WS` for a WebSocket.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Who may ask.
    pub need: Need,
    /// Whose objects it reaches.
    pub tenancy: Tenancy,
    /// Whether services decide anew, each by itself; else the gateway asks access what the session may do now.
    pub decided_elsewhere: bool,
    /// What it does, in one line.
    pub summary: &'static str,
}

impl OwnRoute {
    /// Returns what it asks of a token besides its right; one that is for some devices serves nowhere here.
    pub const fn asks(&self) -> Asks {
        Asks {
            need: self.need,
            tenancy: self.tenancy,
            serves_tokens: false,
            knows_devices: false,
        }
    }

    /// Tells whether a request is for it.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        let taken = match self.method {
            "GET" => matches!(method, "GET" | "HEAD"),
            "WS" => method == "GET",
            other => method == other,
        };
        taken && path == self.path
    }
}

const fn own(
    method: &'static str,
    path: &'static str,
    need: Need,
    tenancy: Tenancy,
    summary: &'static str,
) -> OwnRoute {
    OwnRoute {
        method,
        path,
        need,
        tenancy,
        decided_elsewhere: false,
        summary,
    }
}

/// Lists the routes that the gateway answers by itself.
pub const OWN_ROUTES: &[OwnRoute] = &[
    own("GET", "/", Public, Deployment, "Serves the web page"),
    own("GET", "/healthz", Public, Deployment, "Tells that the gateway lives"),
    own(
        "GET",
        "/readyz",
        Public,
        Deployment,
        "Tells whether every service answers",
    ),
    own("GET", "/api/v1/openapi.json", Public, Deployment, "Describes this API"),
    own(
        "GET",
        "/metrics",
        right(R::MetricsRead),
        Deployment,
        "Tells figures of the gateway as Prometheus text",
    ),
    OwnRoute {
        decided_elsewhere: true,
        ..own(
            "GET",
            "/api/v1/audit",
            right(R::AuditRead),
            Deployment,
            "Lists who did what, over every service",
        )
    },
    OwnRoute {
        decided_elsewhere: true,
        ..own(
            "GET",
            "/api/v1/audit/verify",
            right(R::AuditRead),
            Deployment,
            "Checks a piece of a service's log against its chain and the countersigned head",
        )
    },
    own(
        "WS",
        "/api/v1/live",
        right(R::DevicesRead),
        Site,
        "Streams what changes",
    ),
];
