//! Roles and sites: what operators may do, and where.
//!
//! A role is a set of rights, each with the sites that it reaches. Four roles are there from the start; `administrator` holds
//! every right on every site, also those of later versions, and never changes. Whoever changes a role must hold everything
//! that it held before and everything that it holds afterwards.
//!
//! A role that runs jobs may say on how many devices a job may be without another operator's approval. None of the four says
//! so by itself, and `administrator` never does.

use std::collections::BTreeSet;

use borealis_bus_schema::ids::{OperatorId, OperatorRoleName, SiteName};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Reach, Sites, reach};

use super::checks::{hand, narrow_enough, short, within};
use super::people::shrink;
use super::{Actor, Event, Facts, Rejection, State};

/// Is a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What it is for.
    pub description: String,
    /// What it may do, and where.
    pub reach: Reach,
}

impl Role {
    /// Returns on how many devices a job may be without another operator's approval; it is the same on all of its sites.
    pub fn max_devices(&self) -> Option<u64> {
        self.reach.strictest_job_limit()
    }
}

/// Limits the jobs of a role.
///
/// Errors: [`Rejection::NothingToLimit`] for a role that runs none.
fn limited(reach: Reach, max_devices: Option<u64>) -> Result<Reach, Rejection> {
    if max_devices.is_some() && !reach.contains_key(&Right::JobsRun) {
        return Err(Rejection::NothingToLimit);
    }
    Ok(reach.with_job_limit(max_devices))
}

/// Is a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// What it is.
    pub description: String,
    /// When it was made; none for the one that every deployment has.
    pub created_at: Option<Timestamp>,
}

/// Is a change of roles or sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleCommand {
    /// Makes a role.
    Create {
        /// Who asks.
        by: Actor,
        /// Its name.
        role: OperatorRoleName,
        /// What it is for.
        description: String,
        /// What it may do.
        reach: Reach,
        /// On how many devices a job may be without another operator's approval.
        max_devices: Option<u64>,
    },
    /// Changes a role; what is none stays.
    Update {
        /// Who asks.
        by: Actor,
        /// Its name.
        role: OperatorRoleName,
        /// What it is for.
        description: Option<String>,
        /// What it may do.
        reach: Option<Reach>,
        /// On how many devices a job may be without another operator's approval.
        max_devices: Option<Option<u64>>,
    },
    /// Makes a site.
    CreateSite {
        /// Who asks.
        by: Actor,
        /// Its name.
        site: SiteName,
        /// What it is.
        description: String,
    },
    /// Describes a site.
    DescribeSite {
        /// Who asks.
        by: Actor,
        /// Its name.
        site: SiteName,
        /// What it is.
        description: String,
    },
}

/// Lists the other default roles: name, what for, rights on every site.
const DEFAULTS: [(&str, &str, &[Right]); 3] = [
    (
        "approver",
        "Lets devices in",
        &[Right::DevicesRead, Right::ApprovalsRead, Right::ApprovalsDecide],
    ),
    (
        "technician",
        "Enrols devices and runs jobs on them",
        &[
            Right::DevicesRead,
            Right::DevicesQuarantine,
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
        ],
    ),
    (
        "viewer",
        "Sees devices, jobs and enrolment, and changes nothing",
        &[
            Right::DevicesRead,
            Right::JobsRead,
            Right::LibraryRead,
            Right::CodesRead,
            Right::ApprovalsRead,
        ],
    ),
];

fn named(name: &str) -> Option<OperatorRoleName> {
    OperatorRoleName::new(name).ok()
}

impl State {
    /// Finds a role.
    pub fn role(&self, name: &OperatorRoleName) -> Option<Role> {
        if is_fixed(name) {
            return Some(Role {
                description: "May do everything, everywhere".to_owned(),
                reach: reach::everything(),
            });
        }
        let default = || {
            let (_, description, rights) = DEFAULTS.iter().find(|(default, ..)| *default == name.as_str())?;
            Some(Role {
                description: (*description).to_owned(),
                reach: rights.iter().map(|right| (*right, Sites::All)).collect(),
            })
        };
        self.roles.get(name).cloned().or_else(default)
    }

    /// Lists the names of all roles.
    pub fn role_names(&self) -> BTreeSet<OperatorRoleName> {
        let defaults = DEFAULTS.iter().filter_map(|(name, ..)| named(name));
        let mut names: BTreeSet<_> = self.roles.keys().cloned().chain(defaults).collect();
        names.insert(OperatorRoleName::administrator());
        names
    }

    /// Adds up what roles may do.
    pub fn reach_of(&self, roles: &BTreeSet<OperatorRoleName>) -> Reach {
        let each = roles.iter().filter_map(|name| self.role(name));
        each.fold(Reach::new(), |all, role| reach::join(&all, &role.reach))
    }

    /// Tells whether there is a site.
    pub fn has_site(&self, site: &SiteName) -> bool {
        *site == SiteName::default_site() || self.sites.contains_key(site)
    }

    fn check_sites(&self, asked: &Reach) -> Result<(), Rejection> {
        let named = asked.values().filter_map(|sites| match sites {
            Sites::Some(some) => Some(some),
            Sites::All => None,
        });
        if named.flatten().all(|site| self.has_site(site)) {
            Ok(())
        } else {
            Err(Rejection::SiteUnknown)
        }
    }
}

/// Tells whether a role can be changed.
pub fn is_fixed(role: &OperatorRoleName) -> bool {
    *role == OperatorRoleName::administrator()
}

/// Decides a change of roles or sites.
///
/// Errors: the [`Rejection`] that names the broken rule.
pub(super) fn decide(state: &State, command: RoleCommand, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    match command {
        RoleCommand::Create {
            by,
            role,
            description,
            reach,
            max_devices,
        } => {
            let held = hand(state, &by, Right::RolesManage)?;
            if state.role(&role).is_some() {
                return Err(Rejection::RoleExists);
            }
            let reach = limited(reach, max_devices)?;
            state.check_sites(&reach)?;
            narrow_enough(&reach)?;
            within(&held, &reach)?;
            Ok(vec![Event::RoleSet {
                role,
                description: short(description)?,
                reach,
                by: by.operator,
                at,
            }])
        }
        RoleCommand::Update {
            by,
            role,
            description,
            reach,
            max_devices,
        } => {
            let held = hand(state, &by, Right::RolesManage)?;
            if is_fixed(&role) {
                return Err(Rejection::RoleFixed);
            }
            let before = state.role(&role).ok_or(Rejection::RoleMissing)?;
            let reach = reach.unwrap_or_else(|| before.reach.clone());
            let reach = match max_devices {
                Some(max_devices) => limited(reach, max_devices)?,
                None if reach.contains_key(&Right::JobsRun) => reach.with_job_limit(before.max_devices()),
                // Without the right there is nothing to limit any more.
                None => reach.without_job_limits(),
            };
            state.check_sites(&reach)?;
            narrow_enough(&reach)?;
            within(&held, &before.reach)?;
            within(&held, &reach)?;
            let set = Event::RoleSet {
                role: role.clone(),
                description: short(description.unwrap_or(before.description))?,
                reach,
                by: by.operator,
                at,
            };
            let mut after = state.clone();
            evolve(&mut after, &set);
            for account in after.operators.values().filter(|account| account.roles.contains(&role)) {
                narrow_enough(&after.reach_of(&account.roles))?;
            }
            let shrunk = state
                .operators
                .iter()
                .filter(|(_, account)| account.roles.contains(&role));
            let shrunk = shrunk.filter_map(|(id, account)| {
                shrink(
                    *id,
                    account,
                    &state.reach_of(&account.roles),
                    after.reach_of(&account.roles),
                    at,
                )
            });
            Ok(std::iter::once(set).chain(shrunk).collect())
        }
        RoleCommand::CreateSite { by, site, description } => {
            hand(state, &by, Right::SitesManage)?;
            if state.has_site(&site) {
                return Err(Rejection::SiteExists);
            }
            site_set(site, description, by.operator, at)
        }
        RoleCommand::DescribeSite { by, site, description } => {
            hand(state, &by, Right::SitesManage)?;
            if !state.has_site(&site) {
                return Err(Rejection::SiteMissing);
            }
            site_set(site, description, by.operator, at)
        }
    }
}

fn site_set(site: SiteName, description: String, by: OperatorId, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    let description = short(description)?;
    Ok(vec![Event::SiteSet {
        site,
        description,
        by,
        at,
    }])
}

/// Applies what happened to roles and sites.
pub(super) fn evolve(state: &mut State, event: &Event) {
    match event.clone() {
        Event::RoleSet {
            role,
            description,
            reach,
            ..
        } => {
            state.roles.insert(role, Role { description, reach });
        }
        Event::SiteSet {
            site, description, at, ..
        } => {
            let is_default = site == SiteName::default_site();
            let known = state.sites.entry(site).or_insert_with(|| Site {
                description: String::new(),
                created_at: (!is_default).then_some(at),
            });
            known.description = description;
        }
        _ => {}
    }
}
