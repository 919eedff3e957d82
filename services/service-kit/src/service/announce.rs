//! The NATS services API: who is there, what it offers, how much it did.
//!
//! Source: NATS ADR-32.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::{Service, filter};
use borealis_bus_schema::time::Timestamp;
use serde_json::{Value, json};

use super::dispatch::Core;
use crate::bus::Incomings;
use crate::clock::{Clock as _, SystemClock};
use crate::confine;
use crate::random;
use crate::shutdown::Shutdown;

#[derive(Debug, Default, Clone)]
struct Count {
    requests: u64,
    errors: u64,
    spent_ns: u128,
    last_error: Option<String>,
}

/// Counts requests per verb.
pub(super) struct Stats {
    id: String,
    started: Timestamp,
    counts: Mutex<BTreeMap<String, Count>>,
}

impl Stats {
    pub(super) fn new<'a>(verbs: impl Iterator<Item = &'a String>) -> Self {
        Self {
            id: hex::encode(random::bytes::<11>()),
            started: SystemClock.now(),
            counts: Mutex::new(verbs.map(|verb| (verb.clone(), Count::default())).collect()),
        }
    }

    /// Counts a request; unknown verbs are not counted, since anyone can invent them.
    pub(super) fn note(&self, verb: &str, spent: Duration, error: Option<&WireError>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(verb) {
            count.requests += 1;
            count.spent_ns += spent.as_nanos();
            if let Some(error) = error {
                count.errors += 1;
                count.last_error = Some(error.code.to_string());
            }
        }
    }

    fn endpoints(&self, service: Service, with_counts: bool) -> Vec<Value> {
        let all = filter::service(service);
        let prefix = all.trim_end_matches('>');
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |(verb, count): (&String, &Count)| {
            let mut endpoint = json!({
                "name": verb, "subject": format!("{prefix}{verb}"), "queue_group": service.name(),
            });
            if with_counts && let Some(fields) = endpoint.as_object_mut() {
                let average = count.spent_ns.checked_div(u128::from(count.requests)).unwrap_or(0);
                fields.insert("num_requests".into(), json!(count.requests));
                fields.insert("num_errors".into(), json!(count.errors));
                fields.insert("last_error".into(), json!(count.last_error.clone().unwrap_or_default()));
                fields.insert(
                    "processing_time".into(),
                    json!(u64::try_from(count.spent_ns).unwrap_or(u64::MAX)),
                );
                fields.insert(
                    "average_processing_time".into(),
                    json!(u64::try_from(average).unwrap_or(u64::MAX)),
                );
            }
            endpoint
        };
        counts.iter().map(one).collect()
    }

    fn answer(&self, service: Service, subject: &str) -> Option<Value> {
        let mut words = subject.split('.').skip(1);
        let verb = words.next()?;
        let for_me =
            words.next().is_none_or(|name| name == service.name()) && words.next().is_none_or(|id| id == self.id);
        if !for_me {
            return None;
        }
        let kind = verb.to_ascii_lowercase();
        let mut answer = json!({
            "type": format!("io.nats.micro.v1.{kind}_response"),
            "name": service.name(),
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": {"keys": if confine::isolation().keys_isolated() { "isolated" } else { "not isolated" }},
        });
        let fields = answer.as_object_mut()?;
        match verb {
            "PING" => {}
            "INFO" => {
                fields.insert("description".into(), json!(format!("Borealis {service}")));
                fields.insert("endpoints".into(), json!(self.endpoints(service, false)));
            }
            "STATS" => {
                fields.insert("started".into(), json!(self.started));
                fields.insert("endpoints".into(), json!(self.endpoints(service, true)));
            }
            _ => return None,
        }
        Some(answer)
    }
}

/// Answers until the shutdown begins.
pub(super) async fn answer(core: Arc<Core>, mut incomings: Incomings, shutdown: Shutdown) {
    let _needed = shutdown.needs("announcer");
    loop {
        let message = tokio::select! {
            message = incomings.next() => message,
            () = shutdown.wait() => return,
        };
        let Some(message) = message else { return };
        if !message.wants_answer() {
            continue;
        }
        if let Some(value) = core.stats.answer(core.service, message.subject())
            && let Err(error) = message.answer(value.to_string().into_bytes()).await
        {
            tracing::debug!(%error, "an announcement could not be sent");
        }
    }
}
