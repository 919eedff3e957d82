//! Packs what finished runs printed, one after the other, behind everything else.
//!
//! Only a run whose device's process is known to have ended is packed: of any other its device may still bring output. What a
//! stop leaves is found again at the next start.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::OutputStream;
use tokio::sync::mpsc;

use crate::book::RunKey;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Packs runs as they end, until the service stops; those first that an earlier life left.
    pub async fn pack(self: Arc<Self>, mut over: mpsc::UnboundedReceiver<RunKey>) {
        let all = async {
            for job in self.book.all() {
                for index in 0u32..job.created.runs_total.try_into().unwrap_or(u32::MAX) {
                    self.pack_run(job.key(index)).await;
                }
            }
            while let Some(key) = over.recv().await {
                self.pack_run(key).await;
            }
        };
        tokio::select! {
            () = all => {}
            () = self.shutdown.wait() => {}
        }
    }

    /// Packs both streams of a run where it is time; what fails is left as it is until the next start.
    async fn pack_run(&self, key: RunKey) {
        let Some(job) = self.book.job(&key.job) else { return };
        let Some(slot) = job.slot(key.index) else { return };
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let (run, kept) = {
                let slot = slot.lock().await;
                let ended = slot.state.end.as_ref();
                if ended.is_none_or(|end| end.is_without_process()) {
                    return;
                }
                (slot.run, slot.state.kept(stream))
            };
            let in_file = kept.bytes.saturating_sub(kept.inline_bytes);
            if in_file == 0 {
                continue;
            }
            let (files, head) = (self.output.clone(), self.inline_of(run, stream));
            let Ok(head) = head else { continue };
            let packed = tokio::task::spawn_blocking(move || match files.digest(run, stream)? {
                Some(digest) => Ok(digest),
                None => files.pack(run, stream, &head, in_file),
            });
            match packed.await {
                Ok(Ok(digest)) => slot.lock().await.print(stream).keep(digest),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "output stays as it came until the next start"
                    );
                }
                // The service stops.
                Err(_) => return,
            }
        }
    }
}
