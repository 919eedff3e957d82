//! What the gateway refuses by itself: it keeps no store, so access keeps the records.
//!
//! As many are handed over as the limits of the audit allow; the rest is counted. While access is away they wait, a few
//! hundred at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use borealis_bus_schema::audit::{AuditRecord, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::messages::Request as _;
use borealis_bus_schema::messages::audit::{MAX_NOTED, NoteRefusals, RefusalsNoted};
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::routes::{self, Found};
use borealis_service_kit::audit::{Act, Admitted, Limiter, is_refusal};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::random;
use borealis_service_kit::shutdown::Shutdown;
use http::request::Parts;

use crate::auth::token;
use crate::router::Gateway;
use crate::server::Peer;

/// Is how many records wait for access at most.
const MAX_WAITING: usize = 512;
/// Is how often they are handed over.
const EVERY: Duration = Duration::from_secs(1);
/// Is how often what was counted is handed over, in rounds.
const COUNTED_EVERY: u32 = 60;
/// Is how long access may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Holds refusals until access has them.
#[derive(Default)]
pub(crate) struct Refusals {
    limiter: Mutex<Limiter>,
    waiting: Mutex<VecDeque<AuditRecord>>,
}

impl Refusals {
    /// Takes in a refusal of a request for a route that there is.
    pub(crate) fn note(&self, gateway: &Gateway, parts: &Parts, code: Code, id: CorrelationId) {
        let Some((action, verb)) = route_of(parts) else { return };
        if !is_refusal(code) {
            return;
        }
        let now = gateway.clock.now();
        let act = Act::new(now, &action, verb, id);
        let biscuit = token::find(&parts.headers, &gateway.cookie).ok();
        let speaker = gateway.authoriser.speaker(biscuit.as_ref().map(token::Token::biscuit));
        act.note(|record| {
            record.address = parts.extensions.get::<Peer>().map(|peer| peer.0.to_string());
            record.outcome = Outcome::Refused(code);
        });
        if let Some(caller) = speaker {
            act.note_caller(&caller);
        }
        let record = act.record();
        let admitted = lock(&self.limiter).admit(&record, now.unix_ms());
        if admitted == Admitted::Kept {
            self.wait([record]);
        }
    }

    fn wait(&self, records: impl IntoIterator<Item = AuditRecord>) {
        let mut waiting = lock(&self.waiting);
        waiting.extend(records);
        let too_many = waiting.len().saturating_sub(MAX_WAITING);
        if too_many > 0 {
            waiting.drain(..too_many);
            tracing::warn!(
                lost = too_many,
                "refusals were not recorded in the audit: access is away"
            );
        }
    }

    fn take_some(&self) -> Vec<AuditRecord> {
        let mut waiting = lock(&self.waiting);
        let some = waiting.len().min(MAX_NOTED);
        waiting.drain(..some).collect()
    }

    fn count_in(&self) {
        let counted = lock(&self.limiter).counted();
        self.wait(counted);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names the route that a request is for, and its verb; none for what is no route: nobody acts on anything there.
fn route_of(parts: &Parts) -> Option<(String, &'static str)> {
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    match routes::find(method, path)? {
        Found::Forwarded(route) => Some((format!("{} {}", route.method, route.path), route.verb)),
        Found::Own(own) => {
            let verb = own.path.rsplit('/').next().unwrap_or_default();
            Some((format!("{} {}", own.method, own.path), verb))
        }
    }
}

/// Hands over what the gateway refused by itself.
pub struct HandOver(Arc<Gateway>);

impl HandOver {
    pub(crate) const fn of(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }

    /// Hands over until everything is answered, then once more, with what was only counted.
    pub async fn run(self, answered: Shutdown) {
        let Self(gateway) = self;
        let (mut round, mut batch) = (0u32, Vec::new());
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                () = answered.wait() => true,
            };
            round = round.wrapping_add(1);
            if last || round.is_multiple_of(COUNTED_EVERY) {
                gateway.refusals.count_in();
            }
            loop {
                if batch.is_empty() {
                    batch = gateway.refusals.take_some();
                }
                if batch.is_empty() {
                    break;
                }
                match hand(&gateway, &batch).await {
                    Ok(_) => batch.clear(),
                    Err(error) if error.code.retry() != Retry::Later => {
                        tracing::warn!(code = %error.code, lost = batch.len(), "access refused to record refusals");
                        batch.clear();
                    }
                    Err(error) => {
                        // The same batch again: access knows it when it was only the answer that was lost.
                        tracing::debug!(code = %error.code, "access did not take refusals; they are handed over again");
                        break;
                    }
                }
            }
            if last {
                if !batch.is_empty() {
                    tracing::warn!("the last refusals were not recorded in the audit: access is away");
                }
                return;
            }
        }
    }
}

async fn hand(gateway: &Gateway, records: &[AuditRecord]) -> Reply<RefusalsNoted> {
    let ask = NoteRefusals {
        records: records.to_vec(),
    };
    let options = RequestOptions {
        biscuit: None,
        correlation: Some(random::id()),
        timeout: Some(WITHIN),
    };
    let body = codec::encode(&ask)?;
    let answer = gateway
        .backend
        .ask(NoteRefusals::SERVICE, NoteRefusals::VERB, body, options)
        .await?;
    reply::decode(&answer)
}
