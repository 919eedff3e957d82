//! `jobs-outputs`: what a job's runs printed, those that printed the same as one; with `find` only those that printed a text.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::{JobOutputs, OutputGroup, OutputStream};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use sha2::Digest as _;

use super::{bad_cursor, page_size};
use crate::book::Job;
use crate::fold::search::Search;
use crate::fold::{self, Over};
use crate::output::{OutputError, OutputFiles};
use crate::run::Kept;
use crate::scheduler::Scheduler;

/// Is how much output one request digests at most, in bytes; whoever asks again goes on.
const DIGESTED_AT_ONCE: u64 = 64 << 20;
/// Is how long a text may be that is looked for, in bytes.
const FIND_BYTES: usize = 256;
/// Is how much of a file is read at once.
const PIECE: usize = 256 << 10;

impl Scheduler {
    /// Folds what a job's runs printed; a page may be empty where something is looked for and more follow.
    ///
    /// Errors: `not_found`, `invalid_field`, `storage_failed`.
    pub async fn jobs_outputs(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobOutputs> {
        let job = self.job_for(&ctx, Right::JobsRead)?;
        let size = page_size(ctx.call.query("limit"))?;
        let from = match ctx.call.query("cursor") {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| bad_cursor())?,
        };
        let (mut over, mut pending, mut unreadable, mut budget) = (Vec::new(), 0, 0, DIGESTED_AT_ONCE);
        for index in 0..u32::try_from(job.slots.len()).unwrap_or(u32::MAX) {
            if !self.is_over(&job, index).await {
                continue;
            }
            match self.folded(&job, index, &mut budget).await {
                Folded::Run(run) => over.push(*run),
                Folded::Pending => pending += 1,
                Folded::Unreadable => unreadable += 1,
            }
        }
        let open = job.slots.len() as u64 - over.len() as u64 - pending - unreadable;
        let groups = fold::fold(over);
        let total = groups.len();
        let rest = groups.into_iter().skip(from);
        let (items, next) = match ctx.call.query("find").filter(|text| !text.is_empty()) {
            None => {
                let items: Vec<_> = rest.take(size).collect();
                let next = from.saturating_add(items.len());
                (items, next)
            }
            Some(text) if text.len() > FIND_BYTES => {
                return Err(WireError::new(
                    Code::InvalidField,
                    format!("what is looked for may be {FIND_BYTES} bytes long"),
                ));
            }
            Some(text) => self.found(rest, from, size, text.as_bytes()).await?,
        };
        Ok(JobOutputs {
            job: job.created.job,
            open,
            pending,
            unreadable,
            groups_total: total as u64,
            items,
            next_cursor: (next < total).then(|| next.to_string()),
        })
    }

    /// Picks the groups that printed a text; returns them and where to go on.
    ///
    /// Errors: `storage_failed`.
    async fn found(
        &self,
        groups: impl Iterator<Item = OutputGroup>,
        from: usize,
        size: usize,
        text: &[u8],
    ) -> Reply<(Vec<OutputGroup>, usize)> {
        let (mut items, mut next, mut read) = (Vec::new(), from, 0u64);
        for group in groups {
            let bytes = group.stdout_bytes + group.stderr_bytes;
            if items.len() == size || (read > 0 && read + bytes > DIGESTED_AT_ONCE) {
                break;
            }
            (next, read) = (next + 1, read + bytes);
            if let Some(found) = self.line_with(group.run, text).await? {
                items.push(OutputGroup {
                    found: Some(found),
                    ..group
                });
            }
        }
        Ok((items, next))
    }

    /// Returns the first line with a text that a run printed.
    async fn line_with(&self, run: RunId, text: &[u8]) -> Reply<Option<String>> {
        let Some((job, index)) = self.book.run(&run) else {
            return Ok(None);
        };
        let Some(slot) = job.slot(index) else { return Ok(None) };
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let kept = slot.lock().await.state.kept(stream);
            let mut search = Search::new(text);
            let mut at = 0;
            while at < kept.bytes {
                let piece = self.read_output(run, stream, kept, at, PIECE).await?;
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                if let Some(line) = search.take(&piece, at == kept.bytes) {
                    return Ok(Some(line));
                }
            }
        }
        Ok(None)
    }

    async fn is_over(&self, job: &Job, index: u32) -> bool {
        match job.slot(index) {
            Some(slot) => slot.lock().await.state.end.is_some(),
            None => false,
        }
    }

    /// Returns a run that is over as it is folded.
    async fn folded(&self, job: &Job, index: u32, budget: &mut u64) -> Folded {
        let (Some(slot), Some(target)) = (job.slot(index), job.target(index)) else {
            return Folded::Unreadable;
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
                        return Folded::Pending;
                    }
                    *budget = budget.saturating_sub(in_file);
                    let files = self.output.clone();
                    let digested = tokio::task::spawn_blocking(move || digest(&files, run, stream, kept, before));
                    let Ok(Some(digest)) = digested.await else {
                        return Folded::Unreadable;
                    };
                    let mut slot = slot.lock().await;
                    // More may have come meanwhile where no process is known to stand behind the end.
                    if slot.state.kept(stream) == kept {
                        slot.print(stream).keep(digest);
                    }
                    Some(digest)
                }
                (None, None) => None,
            };
        }
        let slot = slot.lock().await;
        let Some(end) = slot.state.end.as_deref() else {
            return Folded::Pending;
        };
        Folded::Run(Box::new(Over {
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

/// Is what became of a run that is over.
enum Folded {
    /// It is one of those that are folded.
    Run(Box<Over>),
    /// Its output is not digested yet.
    Pending,
    /// Its output cannot be read.
    Unreadable,
}

/// Digests a stream to its end; `None` when its file cannot be read.
fn digest(files: &OutputFiles, run: RunId, stream: OutputStream, kept: Kept, mut hash: sha2::Sha256) -> Option<Digest> {
    let failed =
        |error: OutputError| tracing::error!(error = &error as &dyn std::error::Error, "output cannot be read");
    if let Some(digest) = files.digest(run, stream).map_err(failed).ok()? {
        return Some(digest);
    }
    let mut at = kept.inline_bytes;
    while at < kept.bytes {
        let want = usize::try_from(kept.bytes - at).unwrap_or(PIECE).min(PIECE);
        let piece = match files.read(run, stream, kept.inline_bytes, at, want).map_err(failed) {
            Ok(piece) if !piece.is_empty() => piece,
            _ => return None,
        };
        hash.update(&piece);
        at += piece.len() as u64;
    }
    Some(fold::finished(&hash))
}
