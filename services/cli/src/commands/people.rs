//! `borealis users`, `borealis roles`, `borealis sites`: who may do what, where.

use borealis_bus_schema::ids::{OperatorId, OperatorRoleName, SiteName};
use borealis_bus_schema::messages::access::{
    CreateRole, CreateSite, DisableUser, InviteUser, ResetUser, RightOnSites, RoleView, SetUserRoles, SiteView,
    UpdateRole, UpdateSite, UserView,
};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::seeds::LinkSecret;
use clap::Subcommand;
use rand::RngCore;
use serde::Serialize;
use serde_json::json;

use crate::api::Api;
use crate::args::values;
use crate::error::CliError;
use crate::opaque;
use crate::print::{Printer, plain};

/// Lists what can be done with operators.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Lists operators
    List,
    /// Invites an operator and prints the link: it is shown once, works once and for 24 hours
    Invite {
        /// Name of the new operator
        #[arg(long, value_name = "NAME")]
        username: String,
        /// Role of the new operator; may be repeated
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<OperatorRoleName>,
    },
    /// Gives an operator other roles, in place of those that there were
    Roles {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
        /// A role; may be repeated
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<OperatorRoleName>,
    },
    /// Disables an operator: sessions, waiting jobs and tokens are over within seconds
    Disable {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Deletes the operator; the name is free again
        #[arg(long)]
        for_good: bool,
    },
    /// Enables a disabled operator
    Enable {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Takes the second factor away from an operator who lost it, and the recovery codes
    ResetFactor {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Takes the password away, ends the sessions, and prints a link for another password
    Reset {
        /// Name or id of the operator
        #[arg(value_name = "USER")]
        user: String,
    },
}

/// Lists what can be done with roles.
#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// Lists roles with their rights
    List,
    /// Makes a role
    Create {
        /// Its name
        #[arg(value_name = "NAME")]
        name: OperatorRoleName,
        /// What it may do and where: RIGHT for every site, RIGHT@SITE for one; may be repeated
        #[arg(long = "right", value_name = "RIGHT[@SITE]", required = true, value_parser = values::right_on_site)]
        rights: Vec<RightOnSites>,
        /// On how many devices a job may be without another operator's approval; without it there is no limit
        #[arg(long, value_name = "N")]
        max_devices: Option<Limit>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Changes a role; rights given here take the place of those that there were
    #[command(visible_alias = "edit")]
    Update {
        /// Its name
        #[arg(value_name = "NAME")]
        name: OperatorRoleName,
        /// What it may do and where: RIGHT for every site, RIGHT@SITE for one; may be repeated
        #[arg(long = "right", value_name = "RIGHT[@SITE]", value_parser = values::right_on_site)]
        rights: Vec<RightOnSites>,
        /// On how many devices a job may be without another operator's approval; `none` ends the limit
        #[arg(long, value_name = "N")]
        max_devices: Option<Limit>,
        /// What it is for
        #[arg(long, value_name = "TEXT", required_unless_present_any = ["rights", "max_devices"])]
        description: Option<String>,
    },
}

/// Is a limit as it is typed: a number, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<u64>);

impl std::str::FromStr for Limit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            number => match number.parse() {
                Ok(number) => Ok(Self(Some(number))),
                Err(_) => Err("a limit is a number of devices, or none".to_owned()),
            },
        }
    }
}

/// Lists what can be done with sites.
#[derive(Debug, Subcommand)]
pub enum SitesCommand {
    /// Lists the sites that your rights reach
    List,
    /// Makes a site
    Create {
        /// Its name
        #[arg(value_name = "NAME", value_parser = values::site)]
        name: SiteName,
        /// What it is
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Describes a site
    Describe {
        /// Its name
        #[arg(value_name = "NAME", value_parser = values::site)]
        name: SiteName,
        /// What it is
        #[arg(value_name = "TEXT")]
        description: String,
    },
}

const USERS: &str = "/api/v1/users";
const ROLES: &str = "/api/v1/roles";
const SITES: &str = "/api/v1/sites";

/// Lists, invites, disables, enables, resets, or gives roles.
pub async fn users(api: &Api, printer: &Printer, command: UsersCommand) -> Result<(), CliError> {
    match command {
        UsersCommand::List => {
            let page: Page<UserView> = api.get(USERS).await?;
            let head = ["ID", "NAME", "STATE", "ROLES", "SECOND FACTOR", "LAST LOG-IN", "BY"];
            printer.list(&page.items, "No operators.", &head, |user| {
                vec![
                    user.id.to_string(),
                    user.username.clone(),
                    user.state.clone(),
                    names(&user.roles),
                    if user.second_factor { "yes" } else { "no" }.to_owned(),
                    user.last_login_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
                    user.created_by.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            })
        }
        UsersCommand::Invite { username, roles } => {
            let username = opaque::canonical(&username);
            let secret = draw_link();
            let body = InviteUser {
                link: secret.public_key(),
                username,
                roles,
            };
            let user: UserView = api.change(USERS, &body).await?;
            show_link(api, printer, &user, &secret)
        }
        UsersCommand::ResetFactor { user } => {
            let id = find(api, &user).await?;
            let path = format!("{USERS}/{id}/reset-factor");
            let user: UserView = api.change(&path, &json!({})).await?;
            printer.value(&user, || {
                format!("{} logs in by the password alone from now on.", user.username)
            })
        }
        UsersCommand::Reset { user } => {
            let id = find(api, &user).await?;
            let secret = draw_link();
            let body = ResetUser {
                link: secret.public_key(),
            };
            let user: UserView = api.change(&format!("{USERS}/{id}/reset"), &body).await?;
            show_link(api, printer, &user, &secret)
        }
        UsersCommand::Roles { user, roles } => {
            let id = find(api, &user).await?;
            let user: UserView = api
                .change(&format!("{USERS}/{id}/roles"), &SetUserRoles { roles })
                .await?;
            printer.value(&user, || format!("{} is now: {}.", user.username, names(&user.roles)))
        }
        UsersCommand::Disable { user, reason, for_good } => {
            let id = find(api, &user).await?;
            let path = format!("{USERS}/{id}/disable");
            let user: UserView = api.change(&path, &DisableUser { reason, for_good }).await?;
            printer.value(&user, || format!("{} is {}.", user.username, user.state))
        }
        UsersCommand::Enable { user } => {
            let id = find(api, &user).await?;
            let user: UserView = api.change(&format!("{USERS}/{id}/enable"), &json!({})).await?;
            printer.value(&user, || format!("{} is {}.", user.username, user.state))
        }
    }
}

/// Is an operator with the link that sets the password.
#[derive(Serialize)]
struct WithLink<'a> {
    #[serde(flatten)]
    user: &'a UserView,
    link: String,
}

/// Draws the secret of a link; it is printed once, and the server is told its public key.
fn draw_link() -> LinkSecret {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    LinkSecret::new(bytes)
}

/// Prints the link; its secret stands behind `#`, where browsers keep it to themselves.
fn show_link(api: &Api, printer: &Printer, user: &UserView, secret: &LinkSecret) -> Result<(), CliError> {
    let link = format!("{}/setup#{}", api.url(), secret.reveal());
    let shown = WithLink { user, link };
    printer.value(&shown, || shown.link.clone())
}

/// Finds an operator by name or id.
async fn find(api: &Api, user: &str) -> Result<OperatorId, CliError> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    let name = opaque::canonical(user);
    let page: Page<UserView> = api.get(USERS).await?;
    let found = page
        .items
        .iter()
        .find(|user| user.username == name && user.state != "deleted");
    found
        .map(|user| user.id)
        .ok_or_else(|| CliError::Usage(format!("there is no operator {:?}", plain(&name))))
}

/// Lists, makes or changes.
pub async fn roles(api: &Api, printer: &Printer, command: RolesCommand) -> Result<(), CliError> {
    match command {
        RolesCommand::List => {
            let page: Page<RoleView> = api.get(ROLES).await?;
            let head = ["NAME", "USERS", "MAX DEVICES", "RIGHTS", "DESCRIPTION"];
            printer.list(&page.items, "No roles.", &head, |role| {
                vec![
                    role.name.to_string(),
                    role.users.to_string(),
                    role.max_devices
                        .map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
                    rights(&role.rights),
                    role.description.clone(),
                ]
            })
        }
        RolesCommand::Create {
            name,
            rights,
            max_devices,
            description,
        } => {
            let body = CreateRole {
                name,
                description,
                rights: gathered(rights),
                max_devices: max_devices.and_then(|limit| limit.0),
            };
            let role: RoleView = api.change(ROLES, &body).await?;
            printer.value(&role, || format!("The role {} exists.", role.name))
        }
        RolesCommand::Update {
            name,
            rights,
            max_devices,
            description,
        } => {
            let body = UpdateRole {
                description,
                max_devices: max_devices.map(|limit| limit.0),
                rights: (!rights.is_empty()).then(|| gathered(rights)),
            };
            let role: RoleView = api.change(&format!("{ROLES}/{name}"), &body).await?;
            printer.value(&role, || format!("The role {} was changed.", role.name))
        }
    }
}

/// Lists, makes or describes.
pub async fn sites(api: &Api, printer: &Printer, command: SitesCommand) -> Result<(), CliError> {
    match command {
        SitesCommand::List => {
            let page: Page<SiteView> = api.get(SITES).await?;
            let head = ["NAME", "DESCRIPTION"];
            printer.list(&page.items, "No sites.", &head, |site| {
                vec![site.name.to_string(), site.description.clone()]
            })
        }
        SitesCommand::Create { name, description } => {
            let site: SiteView = api.change(SITES, &CreateSite { name, description }).await?;
            printer.value(&site, || format!("The site {} exists.", site.name))
        }
        SitesCommand::Describe { name, description } => {
            let site: SiteView = api
                .change(&format!("{SITES}/{name}"), &UpdateSite { description })
                .await?;
            printer.value(&site, || format!("The site {} was described.", site.name))
        }
    }
}

fn names<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Puts the sites of each right together.
fn gathered(lines: Vec<RightOnSites>) -> Vec<RightOnSites> {
    let mut all: Vec<RightOnSites> = Vec::new();
    for line in lines {
        match all.iter_mut().find(|known| known.right == line.right) {
            Some(known) => known.sites.extend(line.sites),
            None => all.push(line),
        }
    }
    all
}

/// Prints rights as the command line takes them.
pub fn rights(lines: &[RightOnSites]) -> String {
    let each = lines.iter().map(|line| {
        if line.sites.iter().any(|site| site == "*") {
            line.right.clone()
        } else {
            format!("{}@{}", line.right, line.sites.join("+"))
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(right: &str, sites: &[&str]) -> RightOnSites {
        RightOnSites {
            right: right.into(),
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            max_devices: None,
        }
    }

    #[test]
    fn the_sites_of_a_right_come_together_and_print_short() {
        let given = vec![
            line("jobs.run", &["berlin"]),
            line("jobs.read", &["*"]),
            line("jobs.run", &["oslo"]),
        ];
        let together = gathered(given);
        assert_eq!(together.len(), 2);
        assert_eq!(rights(&together), "jobs.run@berlin+oslo, jobs.read");
    }
}
