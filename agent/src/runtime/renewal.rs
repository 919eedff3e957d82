//! When credentials are renewed, and what becomes of it.

use crate::clock;
use crate::core::backoff::{Backoff, Jitter};
use crate::identity::api::{Api, ApiError};
use crate::identity::{Device, DeviceKeys, renew, rotate};
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::enrollment::{Credentials, KeyRotated, Renewed};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Is how soon a renewal is tried again at the earliest when the bus refuses the device.
const HURRY_PAUSE: Duration = Duration::from_secs(15);

/// Is how soon a new key is offered again after the server refused one.
const REFUSED_PAUSE: Duration = Duration::from_hours(1);

/// Is by how much a renewal waits for output to end.
const STREAM_PAUSE: Duration = Duration::from_secs(30);

/// Is what became of a renewal.
pub(super) enum RenewalEvent {
    /// There are fresh credentials.
    Renewed(Box<Renewed>),
    /// The server took these keys in the place of the device's own.
    Rotated(Box<(DeviceKeys, KeyRotated)>),
    /// Not this time; it is tried again.
    Failed,
    /// The server does not know this device any more.
    Disowned,
}

/// Is what the server answered.
enum Answer {
    Renewed(Box<Renewed>),
    Rotated(Box<(DeviceKeys, KeyRotated)>),
}

/// Renews a device's credentials at about half of their life, and has its keys replaced.
///
/// Nothing is renewed while keys wait to take the place of the device's own: with which of them it would be is not known.
pub(super) struct Renewal {
    device: Device,
    api: Arc<dyn Fn() -> Option<Api> + Send + Sync>,
    due: Instant,
    asked: Option<Instant>,
    hurried: bool,
    rotates_from: Option<Instant>,
    under_way: Option<JoinHandle<Result<Answer, ApiError>>>,
    jitter: Jitter,
    backoff: Backoff,
}

impl Renewal {
    pub(super) fn new(device: Device, api: Arc<dyn Fn() -> Option<Api> + Send + Sync>, seed: u64) -> Self {
        let mut jitter = Jitter::new(seed.rotate_left(31));
        let due_ms = if device.next.is_some() {
            0
        } else {
            renew::due_in_ms(&device.credentials, clock::wall(), &mut jitter)
        };
        Self {
            device,
            api,
            due: Instant::now() + Duration::from_millis(due_ms),
            asked: None,
            hurried: false,
            rotates_from: None,
            under_way: None,
            jitter,
            backoff: Backoff::new(2_000, 600_000),
        }
    }

    /// Renews soon, also while a run is under way: the bus refuses what the device has, or something waits at the server.
    pub(super) fn hurry(&mut self) {
        let soon = Instant::now() + Duration::from_millis(self.jitter.below(2_000));
        let earliest = self.asked.map_or(soon, |asked| soon.max(asked + HURRY_PAUSE));
        self.due = self.due.min(earliest);
        self.hurried = true;
    }

    /// Asks the server to take these keys in the place of the device's own.
    pub(super) fn rotate(&mut self, next: DeviceKeys) {
        let now = Instant::now();
        if self.rotates_from.is_some_and(|from| now < from) {
            tracing::warn!("the server refused a new key of this device a short time ago; it is not asked again yet");
            return;
        }
        self.device.next = Some(next);
        self.due = now;
    }

    /// Takes over keys that the server took.
    pub(super) fn rekeyed(&mut self, keys: DeviceKeys, credentials: Credentials) {
        self.device.keys = keys;
        self.device.next = None;
        self.took(credentials);
    }

    /// Returns the refresh token that is shown at the next renewal.
    pub(super) fn refresh_token(&self) -> String {
        self.device.credentials.refresh_token.clone()
    }

    /// Takes over fresh credentials.
    pub(super) fn took(&mut self, credentials: Credentials) {
        let whole = credentials.bus_jwt_expires_at.since_ms(credentials.server_time);
        let due_ms = renew::due_in_ms(&credentials, credentials.server_time, &mut self.jitter);
        tracing::info!(life_ms = whole, "the credentials are renewed");
        self.device.credentials = credentials;
        self.backoff.reset();
        let due_ms = if self.device.next.is_some() { 0 } else { due_ms };
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
            let may_wait = !self.hurried && self.device.next.is_none();
            if streaming && may_wait && ends_in_ms > 120_000 {
                self.due = Instant::now() + STREAM_PAUSE;
                continue;
            }
            self.asked = Some(Instant::now());
            self.hurried = false;
            let Some(api) = (self.api)() else {
                self.due = Instant::now() + Duration::from_millis(self.backoff.next_ms(&mut self.jitter));
                continue;
            };
            let device = self.device.clone();
            let server_now = clock::wall().plus_ms(skew_ms.saturating_neg());
            self.under_way = Some(tokio::spawn(async move {
                if let Some(next) = device.next.clone() {
                    let rotated = rotate::rotate(&api, &device, &next, server_now).await?;
                    return Ok(Answer::Rotated(Box::new((next, rotated))));
                }
                let renewed = renew::renew(&api, &device, server_now).await?;
                Ok(Answer::Renewed(Box::new(renewed)))
            }));
        }
    }

    fn judge(&mut self, outcome: Result<Answer, ApiError>) -> RenewalEvent {
        match outcome {
            Ok(Answer::Renewed(renewed)) => RenewalEvent::Renewed(renewed),
            Ok(Answer::Rotated(rotated)) => RenewalEvent::Rotated(rotated),
            Err(error) if self.device.next.is_some() => {
                tracing::warn!(error = %chain(&error), "the server did not take a new key of this device");
                self.due = Instant::now() + Duration::from_millis(self.backoff.next_ms(&mut self.jitter));
                if is_no(&error) {
                    // The key that it has still counts, or none. The new one stays on disk and is offered at the next start.
                    self.device.next = None;
                    self.rotates_from = Some(Instant::now() + REFUSED_PAUSE);
                }
                RenewalEvent::Failed
            }
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

/// Tells whether the server said no, rather than that it cannot say now.
const fn is_no(error: &ApiError) -> bool {
    match error {
        ApiError::Refused { code, .. } => !matches!(code, Code::Throttled) && code.http_status() < 500,
        _ => false,
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
