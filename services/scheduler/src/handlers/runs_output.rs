//! `runs-output`: a run's output by range.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::scheduler::{OutputRange, OutputStream, text_or_base64};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::OperatorCtx;

use super::no_such_run;
use crate::commit::run_stream;
use crate::run::{self, Kept};
use crate::scheduler::{Scheduler, decode};
use crate::stored::Stored;

/// Is how much one answer holds.
pub const MAX_RANGE_BYTES: usize = 128 << 10;

impl Scheduler {
    /// Reads a part of a run's output.
    ///
    /// Errors: `not_found`, `invalid_field`, `storage_failed`.
    pub async fn runs_output(self: Arc<Self>, ctx: OperatorCtx) -> Reply<OutputRange> {
        let id: RunId = ctx.id()?;
        let (job, index) = self.run_for(&ctx)?;
        let invalid = |what: &str| WireError::new(Code::InvalidField, what);
        let stream = match ctx.call.query("stream").as_deref() {
            None | Some("stdout") => OutputStream::Stdout,
            Some("stderr") => OutputStream::Stderr,
            Some(_) => return Err(invalid("stream has to be stdout or stderr")),
        };
        let number = |name: &str, default: u64| match ctx.call.query(name).map(|text| text.parse()) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(invalid("offset and limit have to be numbers")),
        };
        let offset = number("offset", 0)?;
        let limit = usize::try_from(number("limit", MAX_RANGE_BYTES as u64)?).unwrap_or(MAX_RANGE_BYTES);
        let slot = job.slot(index).ok_or_else(no_such_run)?;
        let (kept, state, truncated) = {
            let slot = slot.lock().await;
            (
                slot.state.kept(stream),
                slot.state.state,
                slot.state.end.as_ref().is_some_and(|end| end.truncated),
            )
        };
        let data = self
            .read_output(id, stream, kept, offset, limit.min(MAX_RANGE_BYTES))
            .await?;
        let (data, data_base64) = text_or_base64(data);
        Ok(OutputRange {
            stream,
            offset,
            size_bytes: kept.bytes,
            data,
            data_base64,
            truncated,
            state,
        })
    }

    /// Reads bytes of a stream of a run: first what stands in the log, then the file.
    ///
    /// Errors: `storage_failed`.
    pub async fn read_output(
        &self,
        run: RunId,
        stream: OutputStream,
        kept: Kept,
        offset: u64,
        limit: usize,
    ) -> Reply<Vec<u8>> {
        let failed = || WireError::new(Code::StorageFailed, "the output cannot be read");
        let end = kept.bytes.min(offset.saturating_add(limit as u64));
        if offset >= end {
            return Ok(Vec::new());
        }
        let mut data = Vec::new();
        if offset < kept.inline_bytes {
            let inline = self.inline_of(run, stream)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let to = usize::try_from(end).unwrap_or(usize::MAX).min(inline.len());
            data.extend_from_slice(inline.get(from..to).ok_or_else(failed)?);
        }
        if end > kept.inline_bytes {
            let at = offset.max(kept.inline_bytes);
            let want = usize::try_from(end - at).unwrap_or(0);
            let files = self.output.clone();
            let read = tokio::task::spawn_blocking(move || files.read(run, stream, kept.inline_bytes, at, want)).await;
            data.extend(read.map_err(|_| failed())?.map_err(|error| {
                tracing::error!(error = &error as &dyn std::error::Error, "output cannot be read");
                failed()
            })?);
        }
        Ok(data)
    }

    /// Reads what of a stream stands in the log.
    ///
    /// Errors: `storage_failed`.
    pub fn inline_of(&self, run: RunId, stream: OutputStream) -> Reply<Vec<u8>> {
        let failed = || WireError::new(Code::StorageFailed, "the output cannot be read");
        let name = run_stream(&run)?;
        let (mut data, mut after) = (Vec::new(), 0);
        loop {
            let page = self.log.read_stream(&name, after, 256).map_err(|_| failed())?;
            let Some(last) = page.last() else { return Ok(data) };
            after = last.version;
            for record in &page {
                if let Ok(Some(Stored::Run(run::Event::Output {
                    stream: of,
                    inline: Some(bytes),
                    ..
                }))) = decode(record)
                    && of == stream
                {
                    data.extend(bytes);
                }
            }
        }
    }
}
