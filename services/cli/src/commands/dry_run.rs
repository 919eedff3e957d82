//! `borealis run --dry-run`: on which devices a job would be, before there is one.

use borealis_bus_schema::assembly::AssemblyUse;
use borealis_bus_schema::messages::scheduler::{JobPreview, PreviewedDevice, Targets};
use borealis_bus_schema::order::Context;

use crate::api::{Api, escape};
use crate::error::CliError;
use crate::exit;
use crate::print::{self, Printer};

/// Is how many devices that can run it people are shown.
const SHOWN: usize = 20;

/// Is how long a path the server takes for certain, in bytes.
const MAX_PATH_BYTES: usize = 8_000;

/// Shows on which devices a job would be; the exit code is that of the refusal, where it would be refused.
pub async fn run(
    api: &Api,
    printer: &Printer,
    targets: &Targets,
    context: Context,
    runs: Option<&AssemblyUse>,
) -> Result<u8, CliError> {
    let shown = preview(api, targets, context, runs).await?;
    if printer.json() {
        printer.value(&shown, String::new)?;
    } else {
        people(printer, &shown)?;
    }
    Ok(shown.refused.map_or(exit::OK, |refused| exit::of_code(refused.code)))
}

/// Finds the devices on which a job would be, all of them.
pub(super) async fn preview(
    api: &Api,
    targets: &Targets,
    context: Context,
    runs: Option<&AssemblyUse>,
) -> Result<JobPreview, CliError> {
    let path = path(targets, context, runs)?;
    let mut shown: JobPreview = api.get(&path).await?;
    while let Some(cursor) = shown.next_cursor.take() {
        let more: JobPreview = api.get(&format!("{path}&cursor={}", escape(&cursor))).await?;
        shown.items.extend(more.items);
        // Devices come and go meanwhile: a page that says the same again ends it.
        shown.next_cursor = more.next_cursor.filter(|next| *next != cursor);
    }
    Ok(shown)
}

fn path(targets: &Targets, context: Context, runs: Option<&AssemblyUse>) -> Result<String, CliError> {
    let mut path = format!("/api/v1/jobs/preview?context={context}&limit=500");
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            path.push_str(&format!("&{name}={}", escape(&value)));
        }
    };
    let join = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    add("all", if targets.all { "true".to_owned() } else { String::new() });
    add("devices", join(&mut targets.guids.iter().map(ToString::to_string)));
    add("sites", join(&mut targets.sites.iter().map(ToString::to_string)));
    add("filter", targets.filter.clone().unwrap_or_default());
    add("except", join(&mut targets.except.iter().map(ToString::to_string)));
    if let Some(runs) = runs {
        add("assembly", runs.assembly.to_string());
        add("version", runs.version.to_string());
    }
    if path.len() > MAX_PATH_BYTES {
        let text = "too many devices are named one by one for --dry-run; name sites, or a filter".to_owned();
        return Err(CliError::Usage(text));
    }
    Ok(path)
}

fn people(printer: &Printer, shown: &JobPreview) -> Result<(), CliError> {
    let approval = if shown.awaiting_approval {
        "another operator has to approve it: it is on more devices than your limit"
    } else {
        "not needed"
    };
    let refused = shown.refused.as_ref();
    printer.line(&print::sheet(&[
        ("devices", shown.devices_total.to_string()),
        ("online", shown.online.to_string()),
        ("cannot run it", shown.unable.to_string()),
        ("approval", approval.to_owned()),
        (
            "would be",
            refused.map_or_else(
                || "accepted".to_owned(),
                |refused| format!("refused: {}", refused.reason),
            ),
        ),
    ]))?;
    let unable = shown.items.iter().filter(|item| item.unable.is_some()).count();
    let named: Vec<&PreviewedDevice> = shown.items.iter().take(unable.saturating_add(SHOWN)).collect();
    if !named.is_empty() {
        printer.line("")?;
        let head = ["GUID", "NAME", "SITE", "PRESENCE", "CANNOT RUN IT BECAUSE"];
        printer.list(&named, "", &head, |item| {
            vec![
                item.guid.to_string(),
                item.hostname.clone(),
                item.site.as_ref().map(ToString::to_string).unwrap_or_default(),
                if item.online { "online" } else { "offline" }.to_owned(),
                item.unable
                    .as_ref()
                    .map(|unable| unable.reason.clone())
                    .unwrap_or_default(),
            ]
        })?;
    }
    let rest = shown.items.len().saturating_sub(named.len());
    if rest > 0 {
        printer.line(&format!("and {rest} more; --json names all"))?;
    }
    printer.line("Nothing was sent: this was a dry run.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::{Guid, SiteName};

    #[test]
    fn a_path_says_what_the_job_would_say() {
        let targets = Targets {
            sites: vec![SiteName::new("oslo").unwrap(), SiteName::new("bergen").unwrap()],
            filter: Some("os = linux".into()),
            except: vec![Guid::from_random([1; 16])],
            ..Targets::default()
        };
        assert_eq!(
            path(&targets, Context::System, None).unwrap(),
            "/api/v1/jobs/preview?context=SYSTEM&limit=500&sites=oslo%2Cbergen&filter=os%20%3D%20linux\
             &except=01010101-0101-4101-8101-010101010101"
        );
        let many = Targets {
            guids: (0..=255).map(|n| Guid::from_random([n; 16])).collect(),
            ..Targets::default()
        };
        assert!(matches!(path(&many, Context::System, None), Err(CliError::Usage(_))));
    }
}
