//! Every route an operator or an enrolling device may call, with the service that answers and the right it needs.
//!
//! Gateway, services, CLI and `borealis-server routes` read this table; the checked-in matrix is compared with it in every
//! build. A route that is not here does not exist.

use serde::Serialize;

use crate::messages::audit::{LIST_VERB, VERIFY_VERB};
use crate::subjects::Service;

/// Lists the rights an operator can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See devices and their facts.
    DevicesRead,
    /// Quarantine devices and release them.
    DevicesQuarantine,
    /// Revoke and decommission devices.
    DevicesRevoke,
    /// See jobs, runs and output.
    JobsRead,
    /// Run something on devices.
    JobsRun,
    /// Cancel jobs.
    JobsCancel,
    /// See installer codes.
    CodesRead,
    /// Mint installer codes.
    CodesCreate,
    /// Revoke installer codes.
    CodesRevoke,
    /// See who waits for approval.
    ApprovalsRead,
    /// Approve or deny.
    ApprovalsDecide,
    /// See operators, their roles and their sessions.
    UsersRead,
    /// Invite, disable and enable operators, and give them roles.
    UsersManage,
    /// Make and change roles.
    RolesManage,
    /// Make and describe sites.
    SitesManage,
    /// See who did what.
    AuditRead,
    /// See the server's own figures.
    MetricsRead,
}

impl Right {
    /// Lists every right; the administrator's role holds them all.
    pub const ALL: [Right; 17] = [
        Right::DevicesRead,
        Right::DevicesQuarantine,
        Right::DevicesRevoke,
        Right::JobsRead,
        Right::JobsRun,
        Right::JobsCancel,
        Right::CodesRead,
        Right::CodesCreate,
        Right::CodesRevoke,
        Right::ApprovalsRead,
        Right::ApprovalsDecide,
        Right::UsersRead,
        Right::UsersManage,
        Right::RolesManage,
        Right::SitesManage,
        Right::AuditRead,
        Right::MetricsRead,
    ];

    /// Returns the right's stable text, as it stands in biscuits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::DevicesRead => "devices.read",
            Right::DevicesQuarantine => "devices.quarantine",
            Right::DevicesRevoke => "devices.revoke",
            Right::JobsRead => "jobs.read",
            Right::JobsRun => "jobs.run",
            Right::JobsCancel => "jobs.cancel",
            Right::CodesRead => "codes.read",
            Right::CodesCreate => "codes.create",
            Right::CodesRevoke => "codes.revoke",
            Right::ApprovalsRead => "approvals.read",
            Right::ApprovalsDecide => "approvals.decide",
            Right::UsersRead => "users.read",
            Right::UsersManage => "users.manage",
            Right::RolesManage => "roles.manage",
            Right::SitesManage => "sites.manage",
            Right::AuditRead => "audit.read",
            Right::MetricsRead => "metrics.read",
        }
    }
}

impl std::str::FromStr for Right {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Right::ALL
            .into_iter()
            .find(|r| r.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no right"))
    }
}

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

const fn route(
    method: &'static str,
    path: &'static str,
    service: Service,
    verb: &'static str,
    need: Need,
    tenancy: Tenancy,
    summary: &'static str,
) -> Route {
    let changes = matches!(method.as_bytes(), b"POST") && !matches!(need, Need::Public);
    Route {
        method,
        path,
        service,
        verb,
        need,
        changes,
        step_up: false,
        tenancy,
        serves_tokens: false,
        knows_devices: false,
        summary,
    }
}

use Need::{Public, Session};
use Right as R;
use Service::{Access, Enrollment, Inventory, Scheduler};
use Tenancy::{Deployment, Device, Own, Site};

const fn right(right: Right) -> Need {
    Need::Right(right)
}

/// Lists every route that the gateway forwards.
pub const ROUTES: &[Route] = &[
    route(
        "POST",
        "/api/v1/setup",
        Access,
        "setup",
        Public,
        Deployment,
        "Sets an operator's password through the set-up link or an invitation",
    ),
    route(
        "POST",
        "/api/v1/login",
        Access,
        "login",
        Public,
        Own,
        "Logs in by OPAQUE and binds a session key",
    ),
    route(
        "POST",
        "/api/v1/logout",
        Access,
        "logout",
        Session,
        Own,
        "Ends the session",
    ),
    route(
        "GET",
        "/api/v1/session",
        Access,
        "session",
        Session,
        Own,
        "Tells who is logged in and with which rights",
    )
    .for_tokens()
    .for_devices(),
    route(
        "GET",
        "/api/v1/sessions",
        Access,
        "sessions-list",
        Session,
        Own,
        "Lists the caller's sessions; everybody's with the right users.read",
    ),
    route(
        "POST",
        "/api/v1/sessions/{id}/end",
        Access,
        "sessions-end",
        Session,
        Own,
        "Ends a session: the caller's own, another's with the right users.manage",
    ),
    route(
        "POST",
        "/api/v1/password",
        Access,
        "password",
        Session,
        Own,
        "Changes the caller's password, proving the old one",
    ),
    route(
        "POST",
        "/api/v1/step-up",
        Access,
        "step-up",
        Session,
        Own,
        "Proves the password once more, for dangerous acts of the next minutes",
    ),
    route(
        "POST",
        "/api/v1/totp/enrol",
        Access,
        "totp-enrol",
        Session,
        Own,
        "Makes the secret of an authenticator app, proving the password",
    ),
    route(
        "POST",
        "/api/v1/totp/confirm",
        Access,
        "totp-confirm",
        Session,
        Own,
        "Makes an authenticator app the caller's second factor, by a code of it",
    ),
    route(
        "POST",
        "/api/v1/totp/remove",
        Access,
        "totp-remove",
        Session,
        Own,
        "Takes the caller's second factor away",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/recovery-codes",
        Access,
        "recovery-codes",
        Session,
        Own,
        "Makes recovery codes in place of earlier ones, proving the password",
    ),
    route(
        "GET",
        "/api/v1/tokens",
        Access,
        "tokens-list",
        Session,
        Own,
        "Lists the caller's API tokens; everybody's with the right users.read",
    ),
    route(
        "POST",
        "/api/v1/tokens",
        Access,
        "tokens-create",
        Session,
        Own,
        "Makes an API token, which holds no more than the caller",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/tokens/{id}/revoke",
        Access,
        "tokens-revoke",
        Session,
        Own,
        "Revokes an API token: the caller's own, another's with the right users.manage",
    ),
    route(
        "GET",
        "/api/v1/users",
        Access,
        "users-list",
        right(R::UsersRead),
        Deployment,
        "Lists operators",
    ),
    route(
        "POST",
        "/api/v1/users",
        Access,
        "users-invite",
        right(R::UsersManage),
        Deployment,
        "Invites an operator by a link that works once",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/users/{id}/roles",
        Access,
        "users-roles",
        right(R::UsersManage),
        Deployment,
        "Gives an operator other roles",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/users/{id}/disable",
        Access,
        "users-disable",
        right(R::UsersManage),
        Deployment,
        "Disables an operator, for a time or for good",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/users/{id}/enable",
        Access,
        "users-enable",
        right(R::UsersManage),
        Deployment,
        "Enables a disabled operator",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/users/{id}/reset",
        Access,
        "users-reset",
        right(R::UsersManage),
        Deployment,
        "Takes an operator's password away and makes a link for another",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/users/{id}/reset-factor",
        Access,
        "users-reset-factor",
        right(R::UsersManage),
        Deployment,
        "Takes an operator's second factor away, for one who lost it",
    )
    .dangerous(),
    route(
        "GET",
        "/api/v1/roles",
        Access,
        "roles-list",
        right(R::UsersRead),
        Deployment,
        "Lists roles with their rights",
    ),
    route(
        "POST",
        "/api/v1/roles",
        Access,
        "roles-create",
        right(R::RolesManage),
        Deployment,
        "Makes a role",
    )
    .dangerous(),
    route(
        "POST",
        "/api/v1/roles/{id}",
        Access,
        "roles-update",
        right(R::RolesManage),
        Deployment,
        "Changes what a role may do",
    )
    .dangerous(),
    route(
        "GET",
        "/api/v1/sites",
        Access,
        "sites-list",
        Session,
        Site,
        "Lists the sites that the caller reaches",
    )
    .for_tokens(),
    route(
        "POST",
        "/api/v1/sites",
        Access,
        "sites-create",
        right(R::SitesManage),
        Deployment,
        "Makes a site",
    ),
    route(
        "POST",
        "/api/v1/sites/{id}",
        Access,
        "sites-update",
        right(R::SitesManage),
        Deployment,
        "Describes a site",
    ),
    route(
        "GET",
        "/api/v1/codes",
        Enrollment,
        "codes-list",
        right(R::CodesRead),
        Site,
        "Lists installer codes, masked",
    ),
    route(
        "POST",
        "/api/v1/codes",
        Enrollment,
        "codes-create",
        right(R::CodesCreate),
        Site,
        "Mints an installer code",
    ),
    route(
        "POST",
        "/api/v1/codes/{id}/revoke",
        Enrollment,
        "codes-revoke",
        right(R::CodesRevoke),
        Site,
        "Revokes an installer code",
    ),
    route(
        "GET",
        "/api/v1/approvals",
        Enrollment,
        "approvals-list",
        right(R::ApprovalsRead),
        Site,
        "Lists enrolment requests",
    ),
    route(
        "POST",
        "/api/v1/approvals/{id}/approve",
        Enrollment,
        "approvals-approve",
        right(R::ApprovalsDecide),
        Site,
        "Approves an enrolment request",
    ),
    route(
        "POST",
        "/api/v1/approvals/{id}/deny",
        Enrollment,
        "approvals-deny",
        right(R::ApprovalsDecide),
        Site,
        "Denies an enrolment request",
    ),
    route(
        "GET",
        "/api/v1/devices",
        Inventory,
        "devices-list",
        right(R::DevicesRead),
        Site,
        "Lists devices",
    ),
    route(
        "GET",
        "/api/v1/devices/{id}",
        Inventory,
        "devices-show",
        right(R::DevicesRead),
        Site,
        "Shows a device with its facts",
    )
    .for_devices(),
    route(
        "POST",
        "/api/v1/devices/{id}/quarantine",
        Enrollment,
        "devices-quarantine",
        right(R::DevicesQuarantine),
        Site,
        "Quarantines a device: it may report and gets no orders",
    ),
    route(
        "POST",
        "/api/v1/devices/{id}/release",
        Enrollment,
        "devices-release",
        right(R::DevicesQuarantine),
        Site,
        "Releases a device from quarantine: what waits for it goes out",
    ),
    route(
        "POST",
        "/api/v1/devices/{id}/revoke",
        Enrollment,
        "devices-revoke",
        right(R::DevicesRevoke),
        Site,
        "Revokes a device: it is cut off until an operator approves a new enrolment of it",
    ),
    route(
        "POST",
        "/api/v1/devices/{id}/rotate-key",
        Enrollment,
        "devices-rotate-key",
        right(R::DevicesRevoke),
        Site,
        "Has a device draw a new identity key; its old one is worthless then",
    ),
    route(
        "POST",
        "/api/v1/devices/{id}/decommission",
        Enrollment,
        "devices-decommission",
        right(R::DevicesRevoke),
        Site,
        "Decommissions a device for good: its key never makes a device again",
    ),
    route(
        "POST",
        "/api/v1/jobs",
        Scheduler,
        "jobs-create",
        right(R::JobsRun),
        Site,
        "Runs something on devices",
    )
    .for_devices(),
    route(
        "GET",
        "/api/v1/jobs",
        Scheduler,
        "jobs-list",
        right(R::JobsRead),
        Site,
        "Lists jobs",
    ),
    route(
        "GET",
        "/api/v1/jobs/{id}",
        Scheduler,
        "jobs-show",
        right(R::JobsRead),
        Site,
        "Shows a job",
    )
    .for_devices(),
    route(
        "GET",
        "/api/v1/jobs/{id}/runs",
        Scheduler,
        "jobs-runs",
        right(R::JobsRead),
        Site,
        "Lists a job's runs",
    )
    .for_devices(),
    route(
        "GET",
        "/api/v1/jobs/{id}/output",
        Scheduler,
        "jobs-output",
        right(R::JobsRead),
        Site,
        "Follows a job's output",
    )
    .for_devices(),
    route(
        "POST",
        "/api/v1/jobs/{id}/cancel",
        Scheduler,
        "jobs-cancel",
        right(R::JobsCancel),
        Site,
        "Cancels a job",
    )
    .for_devices(),
    route(
        "GET",
        "/api/v1/runs/{id}",
        Scheduler,
        "runs-show",
        right(R::JobsRead),
        Site,
        "Shows a run",
    )
    .for_devices(),
    route(
        "GET",
        "/api/v1/runs/{id}/output",
        Scheduler,
        "runs-output",
        right(R::JobsRead),
        Site,
        "Reads a run's output by range",
    )
    .for_devices(),
    route(
        "POST",
        "/api/v1/enroll/request",
        Enrollment,
        "enroll-request",
        Public,
        Device,
        "Asks for enrolment with an installer code",
    ),
    route(
        "POST",
        "/api/v1/enroll/poll",
        Enrollment,
        "enroll-poll",
        Public,
        Device,
        "Asks whether the enrolment was approved",
    ),
    route(
        "POST",
        "/api/v1/device/renew",
        Enrollment,
        "device-renew",
        Public,
        Device,
        "Renews a device's credentials by its signature",
    ),
    route(
        "POST",
        "/api/v1/device/rotate-key",
        Enrollment,
        "device-rotate-key",
        Public,
        Device,
        "Gives a device a new identity key by the signatures of both keys",
    ),
];

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
        Service::Signing,
        "orders-sign",
        None,
        "Signs orders that a grant and a signed request cover",
    ),
    verb(
        Service::Library,
        "scripts-put",
        Some(R::JobsRun),
        "Keeps a script under its digest",
    )
    .of_sites(),
    verb(Service::Library, "scripts-get", None, "Returns a script by its digest").reads(),
    verb(
        Service::Signing,
        "countersigned",
        Some(R::AuditRead),
        "Returns the newest head of a service that was countersigned",
    )
    .reads(),
    verb(Access, "audit-note", None, "Keeps what the gateway refused by itself"),
];

/// Lists the verbs with which the audit of each service that keeps a store is read; all need [`Right::AuditRead`].
pub const AUDIT_VERBS: [&str; 2] = [LIST_VERB, VERIFY_VERB];

/// Is what the verbs of the audit ask of a token: the audit names objects of every site.
pub const AUDIT_ASKS: Asks = Asks {
    need: right(R::AuditRead),
    tenancy: Deployment,
    serves_tokens: false,
    knows_devices: false,
};

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
        tenancy: Deployment,
    };
    let http = ROUTES.iter().map(|r| Line {
        method: Some(r.method),
        path: Some(r.path),
        right: right_of(r.need),
        public: r.need == Public,
        changes: r.changes,
        step_up: r.step_up,
        tenancy: r.tenancy,
        ..empty.clone()
    });
    let own = OWN_ROUTES.iter().map(|r| Line {
        method: Some(r.method),
        path: Some(r.path),
        right: right_of(r.need),
        public: r.need == Public,
        tenancy: r.tenancy,
        ..empty.clone()
    });
    let forwarded = ROUTES.iter().map(|r| Line {
        kind: "bus",
        service: Some(r.service),
        verb: Some(r.verb),
        right: right_of(r.need),
        public: r.need == Public,
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
