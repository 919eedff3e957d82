//! Tells access that a session is in use: reads go to other services, and a session that nobody uses is to end.
//!
//! For each biscuit that was served, at most every five minutes, `session` is asked in its name; the answer does not matter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::routes;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::bus::RequestOptions;
use tokio::time::Instant;

use crate::forward::narrow;
use crate::router::Gateway;

/// Is how often access is told.
const EVERY: Duration = Duration::from_secs(300);

/// Is how many biscuits are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Remembers when access was told, by the biscuits' digests.
#[derive(Default)]
pub(crate) struct InUse(Mutex<HashMap<[u8; 32], Instant>>);

impl InUse {
    /// Tells whether access is to be told of a biscuit now, and notes that it was.
    fn due(&self, biscuit: &str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = sha256(biscuit.as_bytes());
        if told.get(&key).is_some_and(|at| now.duration_since(*at) < EVERY) {
            return false;
        }
        if told.len() >= MAX_REMEMBERED {
            told.retain(|_, at| now.duration_since(*at) < EVERY);
        }
        if told.len() >= MAX_REMEMBERED {
            told.clear();
        }
        told.insert(key, now);
        true
    }
}

/// Tells access, unless it was told a short time ago; nobody waits for it.
pub(crate) fn note(gateway: &Arc<Gateway>, biscuit: &str, peer: &str, id: CorrelationId) {
    if !gateway.in_use.due(biscuit, Instant::now()) {
        return;
    }
    let Some(route) = routes::of_verb(Service::Access, "session") else {
        return;
    };
    let Ok(narrowed) = narrow(gateway, route, biscuit) else {
        return;
    };
    let call = OperatorCall {
        method: route.method.to_owned(),
        path: route.path.to_owned(),
        body: Vec::new(),
        proof: None,
        peer: peer.to_owned(),
    };
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        let options = RequestOptions {
            biscuit: Some(narrowed),
            correlation: Some(id),
            timeout: Some(Duration::from_secs(10)),
        };
        if let Err(error) = gateway.backend.call(route.service, route.verb, &call, options).await {
            tracing::debug!(code = %error.code, "access could not be told that a session is in use");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_told_every_five_minutes_at_most() {
        let (told, now) = (InUse::default(), Instant::now());
        assert!(told.due("one", now) && told.due("other", now));
        assert!(!told.due("one", now + EVERY - Duration::from_millis(1)));
        assert!(told.due("one", now + EVERY));
        assert!(!told.due("one", now + EVERY));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (told, now) = (InUse::default(), Instant::now());
        for n in 0..=MAX_REMEMBERED {
            assert!(told.due(&n.to_string(), now));
        }
        assert!(told.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
