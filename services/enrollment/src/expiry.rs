//! Requests that nobody decided in time are written off.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::causes::Chain;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::clock::Clock;
use borealis_service_kit::random;
use borealis_service_kit::shutdown::Shutdown;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;

/// Is how often it is looked.
const PERIOD: Duration = Duration::from_secs(5);
/// Is how many are written off at once.
const BATCH: usize = 200;

/// Writes off what is over until the service stops.
pub async fn run(app: Arc<App>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.wait() => return,
        }
        if let Err(error) = sweep(&app, clock.now()).await {
            tracing::warn!(error = %Chain(&error), "requests that are over could not be written off; it is tried again");
        }
    }
}

/// Writes off every pending request whose time is over.
///
/// Errors: [`Refusal::Fault`].
pub async fn sweep(app: &App, now: Timestamp) -> Result<(), Refusal> {
    let decide = |state: &State| -> Result<Outcome<()>, Refusal> {
        let over = state
            .approvals()
            .filter_map(|approval| Some(Event::Approval(approval.asked.id, approval.expire(now)?)));
        Ok(Outcome {
            events: over.take(BATCH).collect(),
            value: (),
        })
    };
    app.ledger.commit(Stamp::own(random::id(), now), decide).await
}
