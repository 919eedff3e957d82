//! How the devices of a job are named.

use borealis_bus_schema::filter::Filter;
use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::messages::scheduler::Targets;
use clap::Args;

use super::values;
use crate::api::Api;
use crate::commands::devices;
use crate::error::CliError;

/// Says on which devices a job is.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct TargetArgs {
    /// GUID or name of a device; may be repeated
    #[arg(long, value_name = "DEVICE", required_unless_present_any = ["all", "site", "filter"], conflicts_with_all = ["all", "filter"])]
    pub device: Vec<String>,
    /// All devices
    #[arg(long, conflicts_with = "site")]
    pub all: bool,
    /// All devices of a site; may be repeated
    #[arg(long, value_name = "SITE", value_parser = values::site)]
    pub site: Vec<SiteName>,
    /// Only devices that the filter lets through, as: "os = linux and hostname = web-* and online"
    ///
    /// Fields: hostname, site, tag, os, os_version, arch, context; tests: =, !=, in (a, b); * stands for any characters; online and
    /// offline stand alone; and, or, not and brackets join them. A job's is judged once, when
    /// the job is accepted; a schedule's each time it fires.
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub filter: Option<String>,
    /// None of these, by GUID or name; may be repeated
    #[arg(long, value_name = "DEVICE")]
    pub except: Vec<String>,
}

/// Reads a filter as it is sent: a mistake is shown before anything is.
fn filter(text: &str) -> Result<String, String> {
    Filter::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

impl TargetArgs {
    /// Finds the devices that are named.
    ///
    /// Errors: [`CliError`] for a name that no device has, or several have.
    pub async fn targets(&self, api: &Api) -> Result<Targets, CliError> {
        Ok(Targets {
            all: self.all,
            guids: guids(api, &self.device).await?,
            sites: self.site.clone(),
            filter: self.filter.clone(),
            except: guids(api, &self.except).await?,
        })
    }
}

async fn guids(api: &Api, names: &[String]) -> Result<Vec<Guid>, CliError> {
    let mut guids = Vec::new();
    for name in names {
        let guid = devices::resolve(api, name).await?;
        if !guids.contains(&guid) {
            guids.push(guid);
        }
    }
    Ok(guids)
}
