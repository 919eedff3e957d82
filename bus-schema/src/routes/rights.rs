//! The rights that an operator can hold.

/// Lists the rights an operator can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See devices and their facts.
    DevicesRead,
    /// Quarantine devices and release them.
    DevicesQuarantine,
    /// Revoke and decommission devices.
    DevicesRevoke,
    /// Give devices tags and take them away.
    DevicesTag,
    /// See jobs, runs and output.
    JobsRead,
    /// Run something on devices.
    JobsRun,
    /// Cancel jobs.
    JobsCancel,
    /// See assemblies.
    LibraryRead,
    /// Make, change and archive assemblies.
    LibraryWrite,
    /// Publish versions of assemblies.
    LibraryPublish,
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
    pub const ALL: [Right; 21] = [
        Right::DevicesRead,
        Right::DevicesQuarantine,
        Right::DevicesRevoke,
        Right::DevicesTag,
        Right::JobsRead,
        Right::JobsRun,
        Right::JobsCancel,
        Right::LibraryRead,
        Right::LibraryWrite,
        Right::LibraryPublish,
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

    /// Tells whether the right can be given for some sites; the others reach the whole deployment or nothing.
    pub const fn is_of_sites(self) -> bool {
        match self {
            Right::DevicesRead
            | Right::DevicesQuarantine
            | Right::DevicesRevoke
            | Right::DevicesTag
            | Right::JobsRead
            | Right::JobsRun
            | Right::JobsCancel
            | Right::LibraryRead
            | Right::LibraryWrite
            | Right::LibraryPublish
            | Right::CodesRead
            | Right::CodesCreate
            | Right::CodesRevoke
            | Right::ApprovalsRead
            | Right::ApprovalsDecide => true,
            Right::UsersRead
            | Right::UsersManage
            | Right::RolesManage
            | Right::SitesManage
            | Right::AuditRead
            | Right::MetricsRead => false,
        }
    }

    /// Returns the right's stable text, as it stands in biscuits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::DevicesRead => "devices.read",
            Right::DevicesQuarantine => "devices.quarantine",
            Right::DevicesRevoke => "devices.revoke",
            Right::DevicesTag => "devices.tag",
            Right::JobsRead => "jobs.read",
            Right::JobsRun => "jobs.run",
            Right::JobsCancel => "jobs.cancel",
            Right::LibraryRead => "library.read",
            Right::LibraryWrite => "library.write",
            Right::LibraryPublish => "library.publish",
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
