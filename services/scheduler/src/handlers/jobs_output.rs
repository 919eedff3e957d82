//! `jobs-output`: a job's output as it comes, by long poll.
//!
//! The cursor is a position in the log, so that it holds across restarts of whoever asks and whoever answers.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::{ChunkLine, FinalLine, FollowLine, FollowPage, text_or_base64};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{bad_cursor, no_such_run};
use crate::book::{FeedItem, FeedWhat, Job};
use crate::run;
use crate::scheduler::{Scheduler, decode};
use crate::stored::Stored;

const MAX_WAIT_MS: u64 = 20_000;
const PAGE_BYTES: usize = 128 << 10;
const PAGE_LINES: usize = 500;

impl Scheduler {
    /// Returns what came behind the cursor, or waits for it.
    ///
    /// Errors: `not_found`, `invalid_field` for a cursor, `storage_failed`.
    pub async fn jobs_output(self: Arc<Self>, ctx: OperatorCtx) -> Reply<FollowPage> {
        let job = self.job_for(&ctx, Right::JobsRead)?;
        let after: u64 = match ctx.call.query("cursor").filter(|text| !text.is_empty()) {
            Some(text) => text.parse().map_err(|_| bad_cursor())?,
            None => 0,
        };
        let wait_ms = ctx
            .call
            .query("wait_ms")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
            .min(MAX_WAIT_MS);
        let mut filled = job.filled.subscribe();
        let wait = tokio::time::sleep(Duration::from_millis(wait_ms));
        tokio::pin!(wait);
        loop {
            filled.borrow_and_update();
            let page = self.page(&job, after).await?;
            if !page.lines.is_empty() || page.done || wait_ms == 0 {
                return Ok(page);
            }
            tokio::select! {
                _ = filled.changed() => {}
                () = &mut wait => return Ok(page),
                () = ctx.shutdown.wait() => return Ok(page),
            }
        }
    }

    async fn page(&self, job: &Job, after: u64) -> Reply<FollowPage> {
        let (items, rest, ended) = {
            let feed = job.feed.lock();
            let from = feed.items.partition_point(|item| item.position <= after);
            let items: Vec<FeedItem> = feed.items.iter().skip(from).take(PAGE_LINES).copied().collect();
            (items, feed.items.len() - from, feed.ended)
        };
        let (mut lines, mut cursor, mut bytes) = (Vec::new(), after, 0usize);
        let mut taken = 0;
        for item in &items {
            let size = match item.what {
                FeedWhat::Chunk { size_bytes, .. } => size_bytes as usize,
                FeedWhat::Ended => 512,
            };
            if !lines.is_empty() && bytes + size > PAGE_BYTES {
                break;
            }
            bytes += size;
            lines.extend(self.line(job, item).await?);
            cursor = item.position;
            taken += 1;
        }
        let done = taken == rest && ended == job.created.runs_total;
        Ok(FollowPage {
            lines,
            cursor: cursor.to_string(),
            done,
        })
    }

    async fn line(&self, job: &Job, item: &FeedItem) -> Reply<Option<FollowLine>> {
        let Some(target) = job.target(item.index) else {
            return Ok(None);
        };
        let (guid, hostname, id) = (target.guid, target.hostname.clone(), job.created.job);
        let run = RunId::of_job(&id, &guid);
        Ok(Some(match item.what {
            FeedWhat::Chunk {
                stream,
                seq,
                offset,
                size_bytes,
                inline,
            } => {
                let data = if inline {
                    self.inline_at(item.position)?
                } else {
                    let slot = job.slot(item.index).ok_or_else(no_such_run)?;
                    let kept = slot.lock().await.state.kept(stream);
                    self.read_output(run, stream, kept, offset, size_bytes as usize).await?
                };
                let (data, data_base64) = text_or_base64(data);
                FollowLine::Chunk(ChunkLine {
                    job: id,
                    run,
                    guid,
                    hostname,
                    stream,
                    seq,
                    data,
                    data_base64,
                })
            }
            FeedWhat::Ended => {
                let view = job.run_view(item.index).await;
                let view = view.ok_or_else(no_such_run)?;
                FollowLine::Final(Box::new(FinalLine {
                    is_final: true,
                    job: id,
                    run,
                    guid,
                    hostname,
                    state: view.state,
                    exit_code: view.exit_code,
                    stdout: None,
                    stdout_base64: None,
                    stderr: None,
                    stderr_base64: None,
                    duration_ms: view.duration_ms,
                    truncated: view.truncated,
                    reason: view.reason,
                    code: view.code,
                }))
            }
        }))
    }

    /// Reads the data of a chunk that stands in the log.
    fn inline_at(&self, position: u64) -> Reply<Vec<u8>> {
        let failed = || WireError::new(Code::StorageFailed, "the output cannot be read");
        let records = self.log.read_all(position.saturating_sub(1), 1).map_err(|_| failed())?;
        match records.first().map(decode) {
            Some(Ok(Some(Stored::Run(run::Event::Output { inline: Some(data), .. })))) => Ok(data),
            _ => Err(failed()),
        }
    }
}
