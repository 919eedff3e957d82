//! `jobs-outputs`: what a job's runs printed, those that printed the same as one.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{JobOutputs, OutputStream};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use sha2::Digest as _;

use super::{bad_cursor, page_size};
use crate::book::Job;
use crate::fold::{self, Over, Print};
use crate::output::OutputFiles;
use crate::run::Kept;
use crate::scheduler::Scheduler;

/// Is how much output one request digests at most, in bytes; whoever asks again goes on.
const DIGESTED_AT_ONCE: u64 = 64 << 20;
/// Is how much of a file is read at once.
const PIECE: usize = 256 << 10;

impl Scheduler {
    /// Folds what a job's runs printed.
    ///
    /// Errors: `not_found`, `invalid_field`, `storage_failed`.
    pub async fn jobs_outputs(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobOutputs> {
        let job = self.job_for(&ctx, Right::JobsRead)?;
        let size = page_size(ctx.call.query("limit"))?;
        let from = match ctx.call.query("cursor") {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| bad_cursor())?,
        };
        let (mut over, mut pending, mut budget) = (Vec::new(), 0, DIGESTED_AT_ONCE);
        for index in 0..u32::try_from(job.slots.len()).unwrap_or(u32::MAX) {
            if !self.is_over(&job, index).await {
                continue;
            }
            match self.folded(&job, index, &mut budget).await? {
                Some(run) => over.push(run),
                None => pending += 1,
            }
        }
        let open = job.slots.len() as u64 - over.len() as u64 - pending;
        let groups = fold::fold(over);
        let total = groups.len();
        let items: Vec<_> = groups.into_iter().skip(from).take(size).collect();
        let next = from.saturating_add(items.len());
        Ok(JobOutputs {
            job: job.created.job,
            open,
            pending,
            groups_total: total as u64,
            items,
            next_cursor: (next < total).then(|| next.to_string()),
        })
    }

    async fn is_over(&self, job: &Job, index: u32) -> bool {
        match job.slot(index) {
            Some(slot) => slot.lock().await.state.end.is_some(),
            None => false,
        }
    }

    /// Returns a run that is over as it is folded; `None` while its output is not digested.
    async fn folded(&self, job: &Job, index: u32, budget: &mut u64) -> Reply<Option<Over>> {
        let (Some(slot), Some(target)) = (job.slot(index), job.target(index)) else {
            return Ok(None);
        };
        let mut printed = [None; 2];
        for (stream, printed) in [OutputStream::Stdout, OutputStream::Stderr]
            .into_iter()
            .zip(&mut printed)
        {
            let (run, kept, known, before) = {
                let mut slot = slot.lock().await;
                let (run, kept) = (slot.run, slot.state.kept(stream));
                let print = slot.print(stream);
                (run, kept, print.known(), print.before_file())
            };
            *printed = match (known, before) {
                (Some(known), _) => known,
                (None, Some(before)) => {
                    let in_file = kept.bytes.saturating_sub(kept.inline_bytes);
                    if in_file > *budget && *budget < DIGESTED_AT_ONCE {
                        return Ok(None);
                    }
                    *budget = budget.saturating_sub(in_file);
                    let files = self.output.clone();
                    let digested = tokio::task::spawn_blocking(move || digest(&files, run, stream, kept, before));
                    let failed = || WireError::new(Code::StorageFailed, "the output cannot be read");
                    let digest = digested.await.map_err(|_| failed())?.ok_or_else(failed)?;
                    let mut slot = slot.lock().await;
                    // More may have come meanwhile where no process is known to stand behind the end.
                    if slot.state.kept(stream) == kept
                        && slot.state.end.as_ref().is_some_and(|end| !end.is_without_process())
                    {
                        *slot.print(stream) = Print::Done(digest);
                    }
                    Some(digest)
                }
                (None, None) => None,
            };
        }
        let slot = slot.lock().await;
        let Some(end) = slot.state.end.as_deref() else {
            return Ok(None);
        };
        Ok(Some(Over {
            run: slot.run,
            hostname: target.hostname.clone(),
            state: end.state,
            exit_code: end.exit_code,
            code: end.code,
            printed,
            bytes: [slot.state.stdout.bytes, slot.state.stderr.bytes],
            truncated: end.truncated,
        }))
    }
}

/// Digests a stream to its end; `None` when its file cannot be read.
fn digest(
    files: &OutputFiles,
    run: borealis_bus_schema::ids::RunId,
    stream: OutputStream,
    kept: Kept,
    mut hash: sha2::Sha256,
) -> Option<Digest> {
    let (mut at, end) = (0u64, kept.bytes.saturating_sub(kept.inline_bytes));
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let piece = match files.read(run, stream, at, want) {
            Ok(piece) if !piece.is_empty() => piece,
            Ok(_) => return None,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "output cannot be read");
                return None;
            }
        };
        hash.update(&piece);
        at += piece.len() as u64;
    }
    Some(fold::finished(&hash))
}
