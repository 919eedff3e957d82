//! `jobs-create`: an operator's signed request becomes a job whose runs wait for their devices.

use std::collections::BTreeSet;
use std::sync::Arc;

use borealis_bus_schema::assembly::{self, Assembly};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{AssemblyId, Guid, JobId, SiteName};
use borealis_bus_schema::messages::access::MintGrant;
use borealis_bus_schema::messages::library::{GetAssembly, PutScript};
use borealis_bus_schema::messages::scheduler::{CreateJob, JobCreated, MAX_APPROVED_BYTES, MAX_APPROVED_DEVICES};
use borealis_bus_schema::order::{Digest, Language};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::StreamWrite;
use borealis_service_kit::audit;
use borealis_service_kit::auth::{self, HOP_LIFE_MS};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::operator::OperatorCtx;
use serde_bytes::ByteBuf;

use crate::aim;
use crate::book::{Job, Target};
use crate::commit::job_stream;
use crate::job::{self, Created, What};
use crate::orders::{Ends, Warrant, refused};
use crate::scheduler::Scheduler;
use crate::stored::Stored;
use crate::targets;

/// Is how many of the named devices the job's audit record names; the job itself names all.
const NAMED_IN_AUDIT: usize = 12;

impl Scheduler {
    /// Accepts a job; one that is on more devices than its author's limit waits for another operator's approval.
    ///
    /// Errors: what [`job::check`] and [`assembly::plain`] refuse; `digest_mismatch`, `not_published`, `wrong_state` for its
    /// assembly; `not_found`, `out_of_scope`, `device_revoked` for a target; what access or library answer; `storage_failed`.
    pub async fn jobs_create(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobCreated> {
        let asked: CreateJob = ctx.body()?;
        let assembly = self.assembly_of(&ctx, &asked).await?;
        let wanted = assembly::plain(asked, assembly.as_ref().map(|(assembly, _)| assembly)).map_err(refused)?;
        let what = job::check(&wanted).map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        if let Some((assembly, _)) = &assembly {
            audit::note_object("assembly", &assembly.name);
        }
        let runs = assembly.as_ref().map(|(assembly, _)| assembly);
        let targets = self.targets_wanted(&ctx, &wanted, runs).await?;
        job::check_pauses(&what, targets.len() as u64, wanted.expires_in_ms)
            .map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        for guid in wanted.targets.guids.iter().take(NAMED_IN_AUDIT) {
            audit::note_object("device", guid);
        }
        let needs_approval = self.needs_approval(&ctx, &targets)?;
        if needs_approval && ctx.call.body.len() > MAX_APPROVED_BYTES {
            return Err(too_large_to_approve());
        }
        let now = ctx.now;
        let lives_ms = i64::try_from(wanted.expires_in_ms).unwrap_or(i64::MAX);
        let expires_at = now.plus_ms(lives_ms);
        let mint = MintGrant {
            call: ctx.call.clone(),
            expires_at: Ends::of(now, expires_at, wanted.timeout_ms).grant,
        };
        // access takes what this biscuit was narrowed to into the grant.
        let options = RequestOptions {
            biscuit: Some(ctx.biscuit.clone()),
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let (grant, list) = tokio::join!(
            self.bus.request(&mint, options),
            self.files.put(targets::write(&targets))
        );
        let (grant, list) = (grant?, list?);
        self.put_script(&ctx, &wanted, &what, &grant.token, now).await?;
        let warrant = Warrant {
            call: ctx.call.clone(),
            grant: grant.token,
            targets: list,
            schedule: None,
            assembly: assembly.map(|(_, bytes)| ByteBuf::from(bytes)),
        };
        let file = self.files.put(codec::encode(&warrant)?).await?;
        let created = Created {
            job: JobId::of_command(&ctx.command),
            author: ctx.caller.operator,
            username: ctx.caller.username.clone(),
            what,
            created_at: now,
            expires_at,
            grant: grant.grant,
            file,
            runs_total: targets.len() as u64,
            needs_approval,
            firing: None,
        };
        let answer = JobCreated {
            job: created.job,
            runs_total: created.runs_total,
            awaiting_approval: needs_approval,
        };
        let event = Stored::Job(job::Event::Created(Box::new(created.clone()))).encode()?;
        let write = StreamWrite {
            stream: job_stream(&created.job)?,
            expected: 0,
            events: vec![event],
        };
        // A task of its own: whoever asked may go away between the append and the book, and a job that is durable is entered.
        let me = Arc::clone(&self);
        let made = tokio::spawn(async move {
            let _entering = me.entering.lock().await;
            let answer: JobCreated = ctx.append(me.log.as_ref(), vec![write], &answer).await?;
            me.enter(created, targets)?;
            Ok(answer)
        });
        made.await
            .unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the job could not be made")))
    }

    /// Takes a durable job into the book and begins its delivery, unless a repetition of the command did so already.
    pub(crate) fn enter(&self, created: Created, targets: Vec<Target>) -> Reply<()> {
        if self.book.job(&created.job).is_some() {
            return Ok(());
        }
        let version = self.version_of(&job_stream(&created.job)?)?;
        let job = Arc::new(Job::new(created, targets, version));
        self.book.add(Arc::clone(&job));
        self.hasten((0u32..).zip(&job.slots).map(|(index, _)| job.key(index)));
        self.rolls(&job);
        Ok(())
    }

    /// Tells whether a job is on more devices than its author may have it without another operator's approval.
    ///
    /// Errors: `too_large` for one that no approval could be shown for.
    pub(crate) fn needs_approval(&self, ctx: &OperatorCtx, targets: &[Target]) -> Reply<bool> {
        let devices = targets.iter().filter_map(|target| self.devices.get(&target.guid));
        let sites: BTreeSet<SiteName> = devices.map(|device| device.site.clone()).collect();
        let limit = ctx.caller.reach.job_limit_on(&sites);
        let is_beyond = limit.is_some_and(|limit| targets.len() as u64 > limit);
        if is_beyond && targets.len() > MAX_APPROVED_DEVICES {
            return Err(too_large_to_approve());
        }
        Ok(is_beyond)
    }

    /// Finds the devices that a request means for whoever asks, of those that the assembly is for, where it runs one.
    ///
    /// Errors: as [`aim::aim`] and [`aim::targets_of`]; `out_of_scope` for a named device of a site that the assembly is not
    /// for, `invalid_field` where no device is left.
    pub(crate) async fn targets_wanted(
        &self,
        ctx: &OperatorCtx,
        wanted: &CreateJob,
        assembly: Option<&Assembly>,
    ) -> Reply<Vec<Target>> {
        let mut targets = aim::targets_of(&self.aim(&wanted.targets, &ctx.caller).await?)?;
        if let Some(assembly) = assembly {
            self.keep_to_sites(&mut targets, assembly, &wanted.targets.guids)?;
        }
        Ok(targets)
    }

    /// Asks library for the version that the request names, and checks that it may be run.
    ///
    /// Errors: as [`Scheduler::version_for`]; `digest_mismatch`.
    pub(crate) async fn assembly_of(&self, ctx: &OperatorCtx, asked: &CreateJob) -> Reply<Option<(Assembly, Vec<u8>)>> {
        let Some(wanted) = &asked.assembly else {
            return Ok(None);
        };
        let bytes = self.version_for(ctx, wanted.assembly, wanted.version).await?.1;
        let assembly = Assembly::read(&bytes, &wanted.digest).map_err(refused)?;
        Ok(Some((assembly, bytes)))
    }

    /// Asks library for a version of an assembly, and checks that whoever asks may run it.
    ///
    /// Errors: `not_found`, also for one beyond the caller's sites; `not_published`; `wrong_state` in the archive; what
    /// library answers.
    pub(crate) async fn version_for(
        &self,
        ctx: &OperatorCtx,
        assembly: AssemblyId,
        version: u32,
    ) -> Reply<(Assembly, Vec<u8>)> {
        let missing = || WireError::new(Code::NotFound, "there is no such assembly");
        let options = RequestOptions {
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let asked = self.bus.request(&GetAssembly { assembly, version }, options).await;
        let found = asked.map_err(|error| match error.code {
            Code::NotFound => missing(),
            _ => error,
        })?;
        let assembly = Assembly::read(&found.content, &Digest::of(&found.content)).map_err(refused)?;
        let may = |site: &SiteName| ctx.caller.may(Right::JobsRun, site);
        // One beyond the caller's sites answers like one that does not exist.
        if assembly.sites.as_ref().is_some_and(|sites| !sites.iter().any(may)) {
            return Err(missing());
        }
        if found.archived {
            return Err(WireError::new(Code::WrongState, "the assembly is in the archive"));
        }
        if !found.published {
            return Err(WireError::new(Code::NotPublished, "this version was never published"));
        }
        Ok((assembly, found.content))
    }

    /// Leaves out devices of sites that an assembly is not for; one that was named is refused.
    pub(crate) fn keep_to_sites(&self, targets: &mut Vec<Target>, assembly: &Assembly, named: &[Guid]) -> Reply<()> {
        let is_for = |guid: &Guid| {
            self.devices
                .get(guid)
                .is_some_and(|device| assembly.is_for(&device.site))
        };
        if let Some(target) = targets
            .iter()
            .find(|target| named.contains(&target.guid) && !is_for(&target.guid))
        {
            let text = format!("the assembly is not for the site of device {}", target.guid);
            return Err(WireError::new(Code::OutOfScope, text));
        }
        targets.retain(|target| is_for(&target.guid));
        if targets.is_empty() {
            let text = "there is no active device of the assembly's sites that your rights reach";
            return Err(WireError::new(Code::InvalidField, text));
        }
        Ok(())
    }

    /// Has the library keep a request's script.
    ///
    /// Errors: what the library answers.
    pub(crate) async fn put_script(
        &self,
        ctx: &OperatorCtx,
        wanted: &CreateJob,
        what: &What,
        grant: &str,
        now: Timestamp,
    ) -> Reply<()> {
        let (Some(script), Some(digest)) = (&wanted.script, what.script_digest) else {
            return Ok(());
        };
        let biscuit = auth::attenuate(grant, Service::Library, Need::Right(Right::JobsRun), now, HOP_LIFE_MS)
            .map_err(|_| WireError::new(Code::Internal, "the grant cannot be narrowed"))?;
        let put = PutScript {
            language: what.language.unwrap_or(Language::Sh),
            script: script.clone().into_bytes(),
        };
        let options = RequestOptions {
            biscuit: Some(biscuit),
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let kept = self.bus.request(&put, options).await?;
        if kept.digest == digest {
            Ok(())
        } else {
            Err(WireError::new(
                Code::Internal,
                "the library keeps the script under another name",
            ))
        }
    }
}

fn too_large_to_approve() -> WireError {
    let text = format!(
        "a job that takes another operator's approval is on {MAX_APPROVED_DEVICES} devices at most, and its request has {MAX_APPROVED_BYTES} bytes at most"
    );
    WireError::new(Code::TooLarge, text)
}
