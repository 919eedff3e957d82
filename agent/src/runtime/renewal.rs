//! When credentials are renewed, and what becomes of it.

use crate::clock;
use crate::core::backoff::{Backoff, Jitter};
use crate::identity::api::{Api, ApiError};
use crate::identity::{Device, renew};
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::enrollment::{Credentials, Renewed};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Is how soon a renewal is tried again at the earliest when the bus refuses the device.
const HURRY_PAUSE: Duration = Duration::from_secs(15);

/// Is by how much a renewal waits for output to end.
const STREAM_PAUSE: Duration = Duration::from_secs(30);

/// Is what became of a renewal.
pub(super) enum RenewalEvent {
    /// There are fresh credentials.
    Renewed(Box<Renewed>),
    /// Not this time; it is tried again.
    Failed,
    /// The server does not know this device any more.
    Disowned,
}

/// Renews a device's credentials at about half of their life.
pub(super) struct Renewal {
    device: Device,
    api: Arc<dyn Fn() -> Option<Api> + Send + Sync>,
    due: Instant,
    asked: Option<Instant>,
    under_way: Option<JoinHandle<Result<Renewed, ApiError>>>,
    jitter: Jitter,
    backoff: Backoff,
}

impl Renewal {
    pub(super) fn new(device: Device, api: Arc<dyn Fn() -> Option<Api> + Send + Sync>, seed: u64) -> Self {
        let mut jitter = Jitter::new(seed.rotate_left(31));
        let due_ms = renew::due_in_ms(&device.credentials, clock::wall(), &mut jitter);
        Self {
            device,
            api,
            due: Instant::now() + Duration::from_millis(due_ms),
            asked: None,
            under_way: None,
            jitter,
            backoff: Backoff::new(2_000, 600_000),
        }
    }

    /// Renews soon: the bus refuses what the device has.
    pub(super) fn hurry(&mut self) {
        let soon = Instant::now() + Duration::from_millis(self.jitter.below(2_000));
        let earliest = self.asked.map_or(soon, |asked| soon.max(asked + HURRY_PAUSE));
        self.due = self.due.min(earliest);
    }

    /// Takes over fresh credentials.
    pub(super) fn took(&mut self, credentials: Credentials) {
        let whole = credentials.bus_jwt_expires_at.since_ms(credentials.server_time);
        let due_ms = renew::due_in_ms(&credentials, credentials.server_time, &mut self.jitter);
        tracing::info!(life_ms = whole, "the credentials are renewed");
        self.device.credentials = credentials;
        self.backoff.reset();
        self.due = Instant::now() + Duration::from_millis(due_ms.max(1_000));
    }

    /// Waits until a renewal came to its end; may be dropped and called again at any time.
    pub(super) async fn next(&mut self, streaming: bool, skew_ms: i64) -> RenewalEvent {
        loop {
            if let Some(task) = &mut self.under_way {
                let outcome = task.await;
                self.under_way = None;
                return self.judge(outcome.unwrap_or_else(|error| Err(ApiError::Request(error.to_string()))));
            }
            sleep_until(self.due).await;
            let ends_in_ms = self.device.credentials.bus_jwt_expires_at.since_ms(clock::wall());
            if streaming && ends_in_ms > 120_000 {
                self.due = Instant::now() + STREAM_PAUSE;
                continue;
            }
            self.asked = Some(Instant::now());
            let Some(api) = (self.api)() else {
                self.due = Instant::now() + Duration::from_millis(self.backoff.next_ms(&mut self.jitter));
                continue;
            };
            let device = self.device.clone();
            let server_now = clock::wall().plus_ms(skew_ms.saturating_neg());
            self.under_way = Some(tokio::spawn(
                async move { renew::renew(&api, &device, server_now).await },
            ));
        }
    }

    fn judge(&mut self, outcome: Result<Renewed, ApiError>) -> RenewalEvent {
        match outcome {
            Ok(renewed) => RenewalEvent::Renewed(Box::new(renewed)),
            Err(error) => {
                let is_final = is_disowned(&error);
                tracing::warn!(error = %chain(&error), "the credentials could not be renewed");
                self.due = Instant::now() + Duration::from_millis(self.backoff.next_ms(&mut self.jitter));
                if is_final {
                    RenewalEvent::Disowned
                } else {
                    RenewalEvent::Failed
                }
            }
        }
    }
}

/// Tells whether the server's answer means that it does not know the device, rather than that something is wrong.
const fn is_disowned(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Refused {
            code: Code::ProofInvalid
                | Code::RefreshInvalid
                | Code::DeviceRevoked
                | Code::DeviceDecommissioned
                | Code::NotFound,
            ..
        }
    )
}
