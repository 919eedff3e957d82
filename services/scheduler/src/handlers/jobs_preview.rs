//! `jobs-preview`: on which devices a job would be, before there is one; nothing is written.
//!
//! What is known against a device is told: what it may be, and with which rights its agent acts. Whether an interpreter is
//! there only the device itself can tell, and does when the job runs.

use std::str::FromStr;
use std::sync::Arc;

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{JobPreview, PreviewedDevice, Targets, Unable};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::OperatorCtx;

use super::{bad_cursor, page_size};
use crate::aim::{self, Aimed};
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows on which devices a job would be.
    ///
    /// Errors: what [`crate::job::check_targets`] refuses, `invalid_field`; as [`Scheduler::version_for`].
    pub async fn jobs_preview(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobPreview> {
        let wanted = wanted(&ctx.call)?;
        let context = match ctx.call.query("context") {
            None => Context::System,
            Some(text) => one(&text, "context")?,
        };
        let size = page_size(ctx.call.query("limit"))?;
        let from = match ctx.call.query("cursor") {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| bad_cursor())?,
        };
        let aimed = self.aim(&wanted, &ctx.caller).await?;
        let assembly = self.previewed(&ctx).await?;
        let made = aim::targets_of(&aimed).and_then(|mut targets| {
            if let Some(assembly) = &assembly {
                self.keep_to_sites(&mut targets, assembly, &wanted.guids)?;
            }
            self.needs_approval(&ctx, &targets)
        });
        let (awaiting_approval, refused) = match made {
            Ok(awaiting) => (awaiting, None),
            Err(error) => {
                let (code, reason) = (error.code, error.message);
                (false, Some(Unable { code, reason }))
            }
        };
        let mut items: Vec<PreviewedDevice> = aimed.iter().map(|aimed| shown(aimed, context)).collect();
        if let Some(assembly) = &assembly {
            let is_for = |item: &PreviewedDevice| item.site.as_ref().is_some_and(|site| assembly.is_for(site));
            items.retain(|item| is_for(item) || wanted.guids.contains(&item.guid));
            for item in items.iter_mut().filter(|item| item.unable.is_none() && !is_for(item)) {
                item.unable = Some(not_for_its_site());
            }
        }
        items.sort_by(|a, b| {
            let key = |item: &PreviewedDevice| (item.unable.is_none(), item.hostname.clone(), item.guid);
            key(a).cmp(&key(b))
        });
        let total = items.len();
        let page: Vec<_> = items.iter().skip(from).take(size).cloned().collect();
        let next = from.saturating_add(page.len());
        Ok(JobPreview {
            devices_total: total as u64,
            online: items.iter().filter(|item| item.online).count() as u64,
            unable: items.iter().filter(|item| item.unable.is_some()).count() as u64,
            awaiting_approval,
            refused,
            items: page,
            next_cursor: (next < total).then(|| next.to_string()),
        })
    }

    /// Finds the version of an assembly that the job would run.
    async fn previewed(&self, ctx: &OperatorCtx) -> Reply<Option<Assembly>> {
        let Some(id) = ctx.call.query("assembly") else {
            return Ok(None);
        };
        let version = ctx.call.query("version").unwrap_or_default();
        let found = self
            .version_for(ctx, one(&id, "assembly")?, one(&version, "version")?)
            .await?;
        Ok(Some(found.0))
    }
}

fn not_for_its_site() -> Unable {
    Unable {
        code: Code::OutOfScope,
        reason: "the assembly is not for its site".to_owned(),
    }
}

fn shown(aimed: &Aimed, context: Context) -> PreviewedDevice {
    let device = aimed.device.as_deref();
    let other = device.filter(|device| device.context != context).map(|device| Unable {
        code: Code::OrderWrongContext,
        reason: format!("its agent acts as {}, and the job asks for {context}", device.context),
    });
    PreviewedDevice {
        guid: aimed.guid,
        hostname: device.map(|device| device.hostname.clone()).unwrap_or_default(),
        site: device.map(|device| device.site.clone()),
        online: device.is_some_and(|device| device.online),
        unable: aimed.unable().or(other),
    }
}

/// Reads how devices are named out of a query.
fn wanted(call: &OperatorCall) -> Reply<Targets> {
    let all = match call.query("all").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(WireError::new(Code::InvalidField, "all has to be true or false")),
    };
    Ok(Targets {
        all,
        guids: list(call, "devices")?,
        sites: list(call, "sites")?,
        filter: call.query("filter"),
        except: list(call, "except")?,
    })
}

fn list<T: FromStr>(call: &OperatorCall, name: &str) -> Reply<Vec<T>> {
    let Some(text) = call.query(name).filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    text.split(',').map(|item| one(item, name)).collect()
}

fn one<T: FromStr>(text: &str, name: &str) -> Reply<T> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        WireError::new(Code::InvalidField, format!("{text:?} is none of {name}"))
    })
}
