//! `jobs-approve`: a second operator lets a job begin that is on more devices than its author's limit.
//!
//! What is kept is the approver's own signed request and a grant of its own: signing verifies both at each order, so that
//! nothing here could approve in anybody's place.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::MintGrant;
use borealis_bus_schema::messages::scheduler::{ApproveJob, JobView, devices_digest};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::operator::OperatorCtx;

use crate::book::Job;
use crate::job::{self, Approved};
use crate::orders::{Ends, SecondWarrant};
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Approves a job.
    ///
    /// Errors: `not_found`, `own_approval`, `wrong_state` for a job that does not wait for it, `conflict` for digests that are
    /// not this job's, what access answers, `storage_failed`.
    pub async fn jobs_approve(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        let job = self.job_for(&ctx, Right::JobsRun)?;
        // A task of its own: whoever asked may go away, and what is durable has its effect.
        let approved = tokio::spawn(self.approve(job, ctx)).await;
        approved.unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the job could not be approved")))
    }

    async fn approve(self: Arc<Self>, job: Arc<Job>, ctx: OperatorCtx) -> Reply<JobView> {
        let mut version = job.version.lock().await;
        let approved = |file| Approved {
            approver: ctx.caller.operator,
            by: ctx.caller.username.clone(),
            file,
            at: ctx.now,
        };
        let decide = |file| {
            job::decide_approve(&job.created, job.standing(), approved(file))
                .map_err(|refused| WireError::new(refused.code(), refused.to_string()))
        };
        decide(job.created.file)?;
        let asked: ApproveJob = ctx.body()?;
        let warrant = self.warrant(&job.created.file).await?;
        let is_this = asked.request == Digest(warrant.call.digest()) && asked.devices == devices_digest(&job.devices());
        if !is_this {
            let text = "the approval names another request, or other devices, than the job has";
            return Err(WireError::new(Code::Conflict, text));
        }
        let ends = Ends::of(
            job.created.created_at,
            job.created.expires_at,
            job.created.what.timeout_ms,
        );
        let mint = MintGrant {
            call: ctx.call.clone(),
            expires_at: ends.grant,
        };
        let options = RequestOptions {
            biscuit: Some(ctx.biscuit.clone()),
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let grant = self.bus.request(&mint, options).await?;
        let second = SecondWarrant {
            call: ctx.call.clone(),
            grant: grant.token,
        };
        let file = self.files.put(codec::encode(&second)?).await?;
        let view = JobView {
            state: "active".to_owned(),
            approved_by: Some(ctx.caller.username.clone()),
            ..job.view()
        };
        self.append_of_job(&ctx, &job, &mut version, decide(file)?, &view)
            .await?;
        job.approved.get_or_init(|| approved(file));
        drop(version);
        tracing::info!(job = %job.created.job, by = %ctx.caller.operator, "a job was approved");
        self.hasten((0u32..).zip(&job.slots).map(|(index, _)| job.key(index)));
        self.rolls(&job);
        Ok(view)
    }
}
