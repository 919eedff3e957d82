//! When a session was last in use, so that one that nobody uses ends.
//!
//! Reads do not reach access; the gateway tells it at most every few minutes that a session is in use, by asking `session`
//! in its name. Whoever only looks whether a session stands says so ([`LOOK_ONLY`]): that is no use. What is known stands in memory only: a restart begins the hour anew. A gateway that was taken over could
//! keep a session that it sees alive until its absolute end, and can do nothing with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::LOOK_ONLY;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::shutdown::Shutdown;

use crate::aggregate::{Command, SESSION_IDLE_MS};
use crate::service::{Access, CommandKey};

/// Is how often idle sessions are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// Remembers when sessions were last in use.
#[derive(Debug)]
pub struct Presence {
    since: Timestamp,
    seen: Mutex<BTreeMap<SessionId, Timestamp>>,
}

impl Presence {
    /// Begins to remember; before this instant nothing is known.
    pub fn new(since: Timestamp) -> Self {
        Self {
            since,
            seen: Mutex::default(),
        }
    }

    /// Notes that a session is in use.
    pub fn note(&self, session: SessionId, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.entry(session).or_insert(now);
        *last = (*last).max(now);
    }

    /// Notes that a session is in use when `session` was asked of it, unless it was only looked whether it stands: a live
    /// connection does so for as long as a page is open.
    pub fn note_asked(&self, session: SessionId, call: &OperatorCall, now: Timestamp) {
        if call.query(LOOK_ONLY).is_none() {
            self.note(session, now);
        }
    }

    /// Tells when a session was last in use.
    pub fn last_seen(&self, session: &SessionId, started_at: Timestamp) -> Timestamp {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = seen.get(session).copied().unwrap_or(started_at);
        noted.max(started_at).max(self.since)
    }

    fn keep_only(&self, live: impl Fn(&SessionId) -> bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|session, _| live(session));
    }
}

/// Ends idle sessions until the service stops.
pub async fn watch(access: Arc<Access>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => end_idle(&access).await,
            () = shutdown.wait() => return,
        }
    }
}

/// Ends the sessions that nobody used for too long.
async fn end_idle(access: &Access) {
    let now = access.clock.now();
    let idle: Vec<SessionId> = {
        let state = access.state().await;
        access
            .presence
            .keep_only(|session| state.live_session(session, now).is_ok());
        let live = state
            .sessions
            .iter()
            .filter(|(id, _)| state.live_session(id, now).is_ok());
        live.filter(|(id, session)| now.since_ms(access.presence.last_seen(id, session.started_at)) >= SESSION_IDLE_MS)
            .map(|(id, _)| *id)
            .collect()
    };
    for session in idle {
        let command = Command::EndSession {
            session,
            reason: "idle".to_owned(),
        };
        match access.execute(command, CommandKey::once()).await {
            Ok(_) => tracing::info!(session = %session, "a session ended that nobody used"),
            Err(error) => tracing::warn!(session = %session, %error, "an idle session could not be ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opaque::Opaque;
    use crate::service::Parts;
    use crate::setup_link::SetupLink;
    use borealis_bus_schema::forms::PublicKey;
    use borealis_bus_schema::subjects::Service;
    use borealis_event_store::{OpenOptions, SledLog};
    use borealis_service_kit::auth::BiscuitRoot;
    use borealis_service_kit::clock::ManualClock;
    use borealis_service_kit::paths::Paths;
    use borealis_service_kit::revocation::RevocationSet;
    use borealis_service_kit::{keys, random};

    use crate::aggregate::{Event, Proved, Username};
    use borealis_bus_schema::order::Digest;

    const BEGIN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    async fn log_in(access: &Access) -> SessionId {
        let operator = *access.state().await.operators.keys().next().unwrap();
        let command = Command::StartSession {
            operator,
            proved: Proved {
                password: Digest::of(&[1]),
                factor: None,
            },
            session_key: PublicKey::from_bytes([1; 32]),
            peer: "192.0.2.1".into(),
        };
        let (events, _) = access.execute(command, CommandKey::once()).await.unwrap();
        match events.first() {
            Some(Event::SessionStarted { session, .. }) => *session,
            other => panic!("{other:?}"),
        }
    }

    fn asked(path: &str) -> OperatorCall {
        OperatorCall {
            method: "GET".into(),
            path: path.into(),
            body: Vec::new(),
            proof: None,
            peer: "192.0.2.1".into(),
        }
    }

    #[tokio::test]
    async fn a_session_that_nobody_uses_ends_after_an_hour_and_one_in_use_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path(), None).unwrap();
        keys::private_folder(&paths.state(Service::Access)).unwrap();
        let log = SledLog::open(paths.state(Service::Access), OpenOptions::new()).unwrap();
        let clock = Arc::new(ManualClock::at(BEGIN));
        let access = Access::open(Parts {
            log: Arc::new(log),
            clock: Arc::clone(&clock) as _,
            opaque: Opaque::generate(&mut rand::rngs::OsRng),
            places: crate::webauthn::Places::new(&[], 0),
            link: SetupLink::new(&paths),
            root: BiscuitRoot::new(&random::signing_key()).unwrap(),
            revoked: Arc::new(RevocationSet::new()),
        })
        .await
        .unwrap();
        let secret = access.setup_secret().await.unwrap().unwrap();
        let finish = Command::FinishSetup {
            link: borealis_bus_schema::seeds::LinkSecret::parse(&secret)
                .unwrap()
                .public_key(),
            username: Username::new("ada").unwrap(),
            record: vec![1],
            peer: "192.0.2.1".into(),
        };
        access.execute(finish, CommandKey::once()).await.unwrap();
        let (idle, used) = (log_in(&access).await, log_in(&access).await);
        let lives = async |session: &SessionId| {
            let state = access.state().await;
            state.live_session(session, access.clock.now()).is_ok()
        };
        clock.set(BEGIN.plus_ms(SESSION_IDLE_MS - 1));
        access.presence.note(used, access.clock.now());
        end_idle(&access).await;
        assert!(lives(&idle).await && lives(&used).await);
        clock.set(BEGIN.plus_ms(SESSION_IDLE_MS));
        end_idle(&access).await;
        assert!(!lives(&idle).await && lives(&used).await);
        clock.set(BEGIN.plus_ms(2 * SESSION_IDLE_MS - 1));
        end_idle(&access).await;
        assert!(!lives(&used).await);

        // Two pages are open for 61 minutes, and the gateway looks all the time; one of them reads.
        let (open, reads) = (log_in(&access).await, log_in(&access).await);
        let begin = access.clock.now();
        let look = asked(&format!("/api/v1/session?{LOOK_ONLY}=true"));
        for minute in 0..61 {
            clock.set(begin.plus_ms(minute * 60_000));
            let now = access.clock.now();
            for session in [open, reads] {
                access.presence.note_asked(session, &look, now);
            }
            if minute == 30 {
                access.presence.note_asked(reads, &asked("/api/v1/session"), now);
            }
        }
        clock.set(begin.plus_ms(61 * 60_000));
        end_idle(&access).await;
        assert!(!lives(&open).await && lives(&reads).await);
    }
}
