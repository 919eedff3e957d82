//! How a service keeps its hands off what is not its own.
//!
//! A service's process gives up, before it reads any input, every file but its own keys, its own state, the logs and what
//! everyone may read (Landlock), and what it holds in memory cannot be read by other processes of the same user (not
//! dumpable). It can execute nothing. Landlock holds for the calling thread and what it starts, so [`confine`] must run
//! before a runtime starts threads.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use borealis_bus_schema::subjects::Service;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::paths::Paths;

/// Tells how well a process is shut off from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isolation {
    /// Landlock holds: other services' files cannot be opened.
    pub landlock: bool,
    /// Other processes of the same user may read this one's memory.
    pub dumpable: bool,
}

impl Isolation {
    /// Tells whether this service's keys are its own alone.
    pub const fn keys_isolated(self) -> bool {
        self.landlock && !self.dumpable
    }
}

static ISOLATION: OnceLock<Isolation> = OnceLock::new();

/// Returns what [`confine`] achieved for this process; nothing before it ran.
pub fn isolation() -> Isolation {
    ISOLATION.get().copied().unwrap_or(Isolation {
        landlock: false,
        dumpable: true,
    })
}

/// Shuts the process off, as far as the kernel can, and tells how far that is.
///
/// Never fails: a kernel without Landlock gives `landlock: false`, which `readyz` and the start screen show.
pub fn confine(paths: &Paths, service: Service) -> Isolation {
    borealis_fail_points::open();
    let undumpable = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).is_ok();
    let landlock = restrict(paths, service).unwrap_or(false);
    *ISOLATION.get_or_init(|| Isolation {
        landlock,
        dumpable: !undumpable,
    })
}

fn restrict(paths: &Paths, service: Service) -> Result<bool, RulesetError> {
    let abi = ABI::V6;
    let (read, all) = (AccessFs::from_read(abi) & !AccessFs::Execute, AccessFs::from_all(abi));
    let write = (read | AccessFs::from_write(abi)) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::Signal)?
        .create()?;
    let mut rules = rules;
    for path in readable(paths) {
        rules = beneath(rules, &path, read)?;
    }
    let own_keys = paths.keys(service);
    // access and enrollment make keys of their own at their first start.
    let makes_keys = matches!(service, Service::Access | Service::Enrollment);
    let keys = if makes_keys { write } else { read };
    rules = beneath(rules, &own_keys, keys)?;
    for path in [paths.state(service), paths.server_logs()] {
        rules = beneath(rules, &path, write)?;
    }
    for device in ["/dev/null", "/dev/urandom", "/dev/random", "/dev/full"] {
        rules = beneath(
            rules,
            Path::new(device),
            AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        )?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn readable(paths: &Paths) -> Vec<PathBuf> {
    let system = [
        "/usr",
        "/lib",
        "/lib64",
        "/etc/localtime",
        "/etc/ssl",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/ld.so.cache",
        "/proc",
        "/sys/fs/cgroup",
        "/sys/devices/system/cpu",
    ];
    let own = [paths.ca_pem(), paths.trust_json(), paths.nats_state()];
    system.into_iter().map(PathBuf::from).chain(own).collect()
}

fn beneath(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    // What does not exist on this machine needs no rule.
    let Ok(opened) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(ABI::V6)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// Tries to open keys and state of the other services, and returns what could be opened; empty is what is wanted.
///
/// A folder counts when it can be listed, a file when it can be read.
pub fn probe_others(paths: &Paths, own: Service) -> Vec<PathBuf> {
    let holders = Service::ALL
        .into_iter()
        .filter(|service| *service != own)
        .map(Service::name)
        .chain(["nats"]);
    let mut open = Vec::new();
    for holder in holders {
        let folder = paths.key_folder(holder);
        for name in KEY_FILES {
            let file = folder.join(name);
            if File::open(&file).is_ok() {
                open.push(file);
            }
        }
        if std::fs::read_dir(&folder).is_ok() {
            open.push(folder);
        }
    }
    let states = Service::ALL.into_iter().filter(|service| *service != own);
    open.extend(
        states
            .map(|service| paths.state(service))
            .filter(|state| std::fs::read_dir(state).is_ok()),
    );
    if File::open(paths.recovery()).is_ok() {
        open.push(paths.recovery());
    }
    open
}

const KEY_FILES: [&str; 13] = [
    "service.ed25519",
    "bus.seed",
    "bus.jwt",
    "operator_signing.seed",
    "account_signing.seed",
    "sys.seed",
    "sys.jwt",
    "issuing_ca.key.pem",
    "derive.secret",
    "code_signing.ed25519",
    "biscuit_root.ed25519",
    "opaque_setup",
    "leaf.key.pem",
];
