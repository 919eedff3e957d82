//! `borealis devices`, and how a device's name becomes its GUID.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, TagName};
use borealis_bus_schema::messages::enrollment::{ChangeStatus, ChangeTags, DeviceStanding, DeviceTags};
use borealis_bus_schema::messages::inventory::{DeviceDetail, DeviceView, Presence};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Subcommand};

use crate::api::{self, Api};
use crate::args::values;
use crate::error::CliError;
use crate::print::{self, Printer};

/// Lists what can be done with devices.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Lists devices
    List {
        /// Only those whose name or address has this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only those that have this tag
        #[arg(long, value_name = "TAG", value_parser = values::tag)]
        tag: Option<TagName>,
    },
    /// Shows a device with its facts
    Show {
        /// GUID or name
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Quarantines devices: they may report and get no orders; what waits for them waits on
    Quarantine(StatusArgs),
    /// Releases devices from quarantine: what waits for them goes out
    Release(ReleaseArgs),
    /// Revokes devices: they are cut off until an operator approves a new enrolment of them
    Revoke(StatusArgs),
    /// Gives devices tags, and takes some away
    Tag(TagArgs),
    /// Has devices draw new identity keys, soon when they are on the bus; their old ones are worthless then
    RotateKey(StatusArgs),
    /// Decommissions devices for good: their keys never make a device again
    Decommission(StatusArgs),
}

/// Says which devices, and why.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// GUID or name; may be repeated
    #[arg(value_name = "DEVICE", required = true)]
    pub devices: Vec<String>,
    /// Why, for the log and whoever looks at the device
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Says which devices, and which tags.
#[derive(Debug, Args)]
pub struct TagArgs {
    /// GUID or name; may be repeated
    #[arg(value_name = "DEVICE", required = true)]
    pub devices: Vec<String>,
    /// Tag that they get; may be repeated
    #[arg(long, value_name = "TAG", value_parser = values::tag, required_unless_present = "remove")]
    pub add: Vec<TagName>,
    /// Tag that they lose; may be repeated
    #[arg(long, value_name = "TAG", value_parser = values::tag)]
    pub remove: Vec<TagName>,
}

/// Says which devices are released, and why.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// GUID or name; may be repeated
    #[arg(
        value_name = "DEVICE",
        required_unless_present = "quarantined_since",
        conflicts_with = "quarantined_since"
    )]
    pub devices: Vec<String>,
    /// All that were quarantined at this instant or later: 2026-11-22T10:00:00Z, or a time ago: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub quarantined_since: Option<Timestamp>,
    /// Of these only those that the server quarantined by itself
    #[arg(long, requires = "quarantined_since", conflicts_with = "devices")]
    pub by_server: bool,
    /// Why, for the log and whoever looks at the device
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

const PATH: &str = "/api/v1/devices";

/// Lists, shows, or changes a status.
pub async fn run(api: &Api, printer: &Printer, command: DevicesCommand) -> Result<(), CliError> {
    match command {
        DevicesCommand::List { search, tag } => {
            let devices = all(api, search.as_deref(), tag.as_ref()).await?;
            let head = ["GUID", "NAME", "SITE", "STATUS", "PRESENCE", "OS", "AGENT", "TAGS"];
            printer.list(&devices, "No devices.", &head, |device| {
                vec![
                    device.guid.to_string(),
                    device.hostname.clone(),
                    device.site.to_string(),
                    device.status.clone(),
                    presence(device.presence).to_owned(),
                    format!("{} {}", device.os_version, device.arch),
                    device.agent_version.clone(),
                    words(&device.tags),
                ]
            })
        }
        DevicesCommand::Show { device } => {
            let guid = resolve(api, &device).await?;
            let detail: DeviceDetail = api.get(&format!("{PATH}/{guid}")).await?;
            printer.value(&detail, || sheet(&detail))
        }
        DevicesCommand::Quarantine(args) => change(api, printer, "quarantine", args).await,
        DevicesCommand::Release(args) => release(api, printer, args).await,
        DevicesCommand::Tag(args) => tag(api, printer, args).await,
        DevicesCommand::RotateKey(args) => change(api, printer, "rotate-key", args).await,
        DevicesCommand::Revoke(args) => change(api, printer, "revoke", args).await,
        DevicesCommand::Decommission(args) => change(api, printer, "decommission", args).await,
    }
}

/// Changes the status of each device; nothing is changed when one of the names means none.
async fn change(api: &Api, printer: &Printer, act: &str, args: StatusArgs) -> Result<(), CliError> {
    let guids = resolve_all(api, &args.devices).await?;
    change_all(api, printer, act, &guids, args.reason).await
}

/// Changes the tags of each device; nothing is changed when one of the names means none.
async fn tag(api: &Api, printer: &Printer, args: TagArgs) -> Result<(), CliError> {
    let guids = resolve_all(api, &args.devices).await?;
    let body = ChangeTags {
        add: args.add.into_iter().collect(),
        remove: args.remove.into_iter().collect(),
    };
    let tag = async |guid: &Guid| {
        let now: DeviceTags = api.change(&format!("{PATH}/{guid}/tags"), &body).await?;
        let tags = now.tags.iter().cloned().collect::<Vec<_>>();
        printer.value(&now, || {
            format!("{} has the tags: {}.", print::plain(&now.hostname), words(&tags))
        })
    };
    super::each(printer, &guids, tag).await
}

/// Finds the devices that GUIDs or names mean, each once.
async fn resolve_all(api: &Api, devices: &[String]) -> Result<Vec<Guid>, CliError> {
    let mut guids = Vec::with_capacity(devices.len());
    for device in devices {
        let guid = resolve(api, device).await?;
        if !guids.contains(&guid) {
            guids.push(guid);
        }
    }
    Ok(guids)
}

/// Writes tags one behind the other; a dash for none.
fn words(tags: &[TagName]) -> String {
    let words: Vec<&str> = tags.iter().map(TagName::as_str).collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}

/// Releases the devices that are named, or all that were quarantined since some time.
async fn release(api: &Api, printer: &Printer, args: ReleaseArgs) -> Result<(), CliError> {
    let ReleaseArgs {
        devices,
        quarantined_since,
        by_server,
        reason,
    } = args;
    let Some(since) = quarantined_since else {
        return change(api, printer, "release", StatusArgs { devices, reason }).await;
    };
    let all = all(api, None, None).await?;
    let guids: Vec<Guid> = all
        .iter()
        .filter(|device| is_quarantined_since(device, since, by_server))
        .map(|device| device.guid)
        .collect();
    if guids.is_empty() {
        printer.aside("No device was quarantined since then.")?;
    }
    change_all(api, printer, "release", &guids, reason).await
}

fn is_quarantined_since(device: &DeviceView, since: Timestamp, by_server: bool) -> bool {
    device.status == DeviceStatus::Quarantined.as_str()
        && device.status_at.is_some_and(|at| at >= since)
        && !(by_server && device.status_by.is_some())
}

async fn change_all(api: &Api, printer: &Printer, act: &str, guids: &[Guid], reason: String) -> Result<(), CliError> {
    let body = ChangeStatus { reason };
    let change_one = async |guid: &Guid| {
        let path = format!("{PATH}/{guid}/{act}");
        let now: DeviceStanding = api.change(&path, &body).await?;
        printer.value(&now, || {
            let hostname = print::plain(&now.hostname);
            match act {
                "rotate-key" => format!("{hostname} draws a new key at its next renewal, soon when it is online."),
                _ => format!("{hostname} is {}.", now.status.as_str()),
            }
        })
    };
    super::each(printer, guids, change_one).await
}

const fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "online",
        Presence::Offline => "offline",
        Presence::Stale => "stale",
    }
}

fn sheet(detail: &DeviceDetail) -> String {
    let device = &detail.device;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut lines = vec![
        ("guid", device.guid.to_string()),
        ("name", device.hostname.clone()),
        ("site", device.site.to_string()),
        ("status", status(device)),
        ("presence", presence(device.presence).to_owned()),
        ("system", format!("{} {}", device.os_version, device.arch)),
        ("agent", format!("{} as {}", device.agent_version, device.context)),
        ("addresses", device.addresses.join(", ")),
        ("tags", words(&device.tags)),
        ("last user", or_dash(device.last_user.clone())),
        ("up for", or_dash(device.uptime_ms.map(print::duration))),
        ("processor", or_dash(device.cpu.clone())),
        ("memory", or_dash(device.memory_bytes.map(print::size))),
        ("fingerprint", device.fingerprint.clone()),
        ("approved", device.approved_at.to_string()),
        ("last seen", or_dash(device.last_seen_at.map(|at| at.to_string()))),
    ];
    if let Some(facts) = &detail.facts {
        for volume in &facts.storage {
            let (free, total) = (print::size(volume.free_bytes), print::size(volume.total_bytes));
            lines.push(("storage", format!("{}  {free} of {total} free", volume.mount)));
        }
        for interface in &facts.network {
            lines.push((
                "network",
                format!("{}  {}", interface.name, interface.addresses.join(", ")),
            ));
        }
        lines.push(("packages", facts.software.len().to_string()));
    }
    print::sheet(&lines)
}

/// Tells the status with who made it so and why.
fn status(device: &DeviceView) -> String {
    let Some(at) = device.status_at else {
        return device.status.clone();
    };
    let by = device.status_by.as_deref().unwrap_or("the server");
    let why = device.status_reason.as_deref().map(|reason| format!(": {reason}"));
    format!("{} since {at}, by {by}{}", device.status, why.unwrap_or_default())
}

/// Reads every page of devices.
async fn all(api: &Api, search: Option<&str>, tag: Option<&TagName>) -> Result<Vec<DeviceView>, CliError> {
    let (mut devices, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut path = format!("{PATH}?limit=500");
        if let Some(search) = search {
            path.push_str(&format!("&q={}", api::escape(search)));
        }
        if let Some(tag) = tag {
            path.push_str(&format!("&tag={tag}"));
        }
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", api::escape(cursor)));
        }
        let page: Page<DeviceView> = api.get(&path).await?;
        devices.extend(page.items);
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(devices),
        }
    }
}

/// Finds the device that a GUID or a name means.
///
/// Errors: `not_found`, and a usage error that lists the GUIDs when several devices have the name.
pub async fn resolve(api: &Api, text: &str) -> Result<Guid, CliError> {
    if let Ok(guid) = text.parse() {
        return Ok(guid);
    }
    choose(text, &all(api, Some(text), None).await?)
}

fn choose(name: &str, devices: &[DeviceView]) -> Result<Guid, CliError> {
    let named = |device: &&DeviceView| device.hostname.eq_ignore_ascii_case(name);
    let living = |device: &&DeviceView| !matches!(device.status.as_str(), "revoked" | "decommissioned");
    let mut found: Vec<&DeviceView> = devices.iter().filter(named).collect();
    if found.len() > 1 && found.iter().any(living) {
        found.retain(living);
    }
    match found.as_slice() {
        [device] => Ok(device.guid),
        [] => Err(CliError::Refused {
            code: Code::NotFound.to_string(),
            message: format!("no device has the name {name:?}"),
            retry: None,
            request_id: None,
        }),
        several => {
            let guids: Vec<String> = several.iter().map(|device| device.guid.to_string()).collect();
            Err(CliError::Usage(format!(
                "{} devices have the name {name:?}; name one by its GUID: {}",
                several.len(),
                guids.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(seed: u8, hostname: &str, status: &str) -> DeviceView {
        let guid = Guid::from_random([seed; 16]);
        let json = serde_json::json!({
            "guid": guid, "hostname": hostname, "site": "default", "status": status, "presence": "online",
            "os": "linux", "os_version": "Debian 12", "arch": "x86_64", "agent_version": "0.1.0", "context": "SYSTEM",
            "fingerprint": "", "addresses": [], "last_user": null, "uptime_ms": null, "cpu": null, "memory_bytes": null,
            "approved_at": "2026-01-01T00:00:00.000Z", "first_seen_at": "2026-01-01T00:00:00.000Z", "last_seen_at": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_name_means_one_device_or_none() {
        let devices = [
            device(1, "web", "active"),
            device(2, "web-2", "active"),
            device(3, "db", "revoked"),
        ];
        assert_eq!(choose("WEB", &devices).unwrap(), devices[0].guid);
        assert_eq!(choose("db", &devices).unwrap(), devices[2].guid);
        assert_eq!(choose("mail", &devices).unwrap_err().code(), "not_found");
    }

    #[test]
    fn those_that_were_quarantined_since_some_time_are_told_from_the_others() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let quarantined = |by: Option<&str>| DeviceView {
            status_by: by.map(ToOwned::to_owned),
            status_at: Some(at("2026-11-22T10:00:00Z")),
            ..device(1, "web", "quarantined")
        };
        let active = DeviceView {
            status: "active".into(),
            ..quarantined(None)
        };
        let (before, after) = (at("2026-11-22T10:00:00Z"), at("2026-11-22T10:00:01Z"));
        assert!(is_quarantined_since(&quarantined(None), before, true));
        assert!(is_quarantined_since(&quarantined(Some("ada")), before, false));
        assert!(!is_quarantined_since(&quarantined(Some("ada")), before, true));
        assert!(!is_quarantined_since(&quarantined(None), after, false));
        assert!(!is_quarantined_since(&active, before, false));
    }

    #[test]
    fn an_ambiguous_name_lists_the_guids() {
        let devices = [
            device(1, "web", "active"),
            device(2, "web", "active"),
            device(3, "web", "revoked"),
        ];
        let error = choose("web", &devices).unwrap_err();
        assert_eq!(error.exit_code(), 64);
        assert!(error.to_string().contains(&devices[0].guid.to_string()));
        assert!(!error.to_string().contains(&devices[2].guid.to_string()));
        assert_eq!(choose("web", &devices[1..]).unwrap(), devices[1].guid);
    }
}
