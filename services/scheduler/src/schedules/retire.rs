//! Ends the grants of schedules that were ended: what was signed for them serves nobody any more.
//!
//! What a schedule made before it was ended still waits or runs, and needs the grant; so it goes when the last of that is
//! over. Access is asked until it says so, also after a restart: nothing of this is written down here.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::ScheduleId;
use borealis_bus_schema::messages::access::RevokeGrant;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::bus::RequestOptions;
use tracing::{info, warn};

use crate::schedule::Standing;
use crate::scheduler::Scheduler;

/// Is how often it is looked whether a grant can end.
const EACH: Duration = Duration::from_secs(5);
/// Is the pause after access could not be asked.
const PAUSE: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Ends grants until the service stops.
    pub async fn retire(self: Arc<Self>) {
        let mut pause = EACH;
        while !self.shutdown.begun() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.schedules.retire.notified() => {}
                () = self.shutdown.wait() => return,
            }
            pause = EACH;
            let ids: Vec<ScheduleId> = self.schedules.retiring.lock().iter().copied().collect();
            for id in ids {
                match self.end_grant(&id).await {
                    Ok(true) => {
                        self.schedules.retiring.lock().remove(&id);
                    }
                    Ok(false) => {}
                    Err(error) => {
                        warn!(schedule = %id, code = %error.code, error = %error.message, "the grant of a schedule could not be ended; it is tried again");
                        pause = PAUSE;
                        if matches!(error.code, Code::Unavailable | Code::DeadlineExceeded) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Notes every schedule that was ended: its grant may live.
    pub async fn note_retired(&self) {
        for entry in self.schedules.every() {
            if entry.slot.lock().await.state.standing == Standing::Archived {
                self.schedules.retiring.lock().insert(entry.created.schedule);
            }
        }
    }

    /// Ends a schedule's grant; returns whether there is nothing left to do.
    async fn end_grant(&self, id: &ScheduleId) -> Reply<bool> {
        let Some(entry) = self.schedules.get(id) else {
            return Ok(true);
        };
        let (grant, now) = (entry.created.grant, self.clock.now());
        if self.revoked.grant_revoked(&grant) {
            return Ok(true);
        }
        let is_needed = {
            let slot = entry.slot.lock().await;
            let mut jobs = slot.jobs.iter().filter_map(|job| self.book.job(job));
            jobs.any(|job| job.created.grant == grant && !job.is_over())
        };
        if is_needed {
            return Ok(false);
        }
        let ask = RevokeGrant {
            grant,
            reason: "its schedule was archived".to_owned(),
        };
        self.bus.request(&ask, RequestOptions::default()).await?;
        info!(schedule = %id, grant = %grant, at = %now, "the grant of a schedule is over");
        Ok(true)
    }
}
