//! The service itself: one state, one writer, and what it signs with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use borealis_bus_schema::audit::Actor;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::operator::granted_digest;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, Appended, EventLog, NewEvent, Position, StreamId, StreamWrite};
use borealis_service_kit::audit;
use borealis_service_kit::auth::{self, BiscuitRoot, Bounds, ProvedFor, SessionClaims};
use borealis_service_kit::clock::Clock;
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use tokio::sync::{MappedMutexGuard, Mutex as AsyncMutex, MutexGuard, OwnedMutexGuard};
use zeroize::Zeroizing;

use crate::aggregate::{
    Command, Event, Facts, GrantFacts, LiveGrants, Setup, Standing, State, TokenFacts, decide, evolve,
};
use crate::error::AccessError;
use crate::logins::Logins;
use crate::opaque::Opaque;
use crate::presence::Presence;
use crate::setup_link::SetupLink;
use crate::stored::{self, StoredError};
use crate::totp::Sealer;
use crate::webauthn::Places;

/// Is how many events are read at once when the state is rebuilt.
const PAGE_EVENTS: usize = 1_000;

/// Names a command and the answer that a repetition gets.
pub struct CommandKey {
    /// The id.
    pub id: [u8; 16],
    /// What tells a repetition from another command.
    pub digest: [u8; 32],
    /// The answer.
    pub answer: Vec<u8>,
}

impl CommandKey {
    /// Names a command that nobody repeats.
    pub fn once() -> Self {
        Self {
            id: random::bytes(),
            digest: [0; 32],
            answer: Vec::new(),
        }
    }
}

/// Is a session as it was just begun.
pub struct NewSession {
    /// The session.
    pub session: SessionId,
    /// Its biscuit, base64url.
    pub token: String,
    /// The operator's name.
    pub username: String,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// Is the state with the place in the log up to which it is folded.
#[derive(Default)]
struct Held {
    state: State,
    grants: LiveGrants,
    reached: Position,
}

/// Is everything that access's handlers share.
pub struct Access {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Proves passwords.
    pub opaque: Opaque,
    /// Remembers which sessions are in use.
    pub presence: Presence,
    /// Seals the secrets of authenticator apps.
    pub sealer: Sealer,
    /// The names and pages that passkeys can be for.
    pub places: Places,
    link: SetupLink,
    root: BiscuitRoot,
    revoked: Arc<RevocationSet>,
    held: Arc<AsyncMutex<Held>>,
    logins: Mutex<Logins>,
}

/// Is what access is made of.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Proves passwords.
    pub opaque: Opaque,
    /// The names and pages that passkeys can be for.
    pub places: Places,
    /// Where the secret of the set-up link stands.
    pub link: SetupLink,
    /// The key that signs biscuits.
    pub root: BiscuitRoot,
    /// What access itself refuses by.
    pub revoked: Arc<RevocationSet>,
}

impl Access {
    /// Rebuilds the state from the log and makes a set-up link where there is no operator.
    ///
    /// Errors: [`AccessError`], when an event or a file cannot be read.
    pub async fn open(parts: Parts) -> Result<Self, AccessError> {
        let mut held = Held::default();
        held.catch_up(parts.log.as_ref(), &parts.revoked)?;
        let access = Self {
            presence: Presence::new(parts.clock.now()),
            log: parts.log,
            clock: parts.clock,
            sealer: parts.opaque.sealer(),
            opaque: parts.opaque,
            places: parts.places,
            link: parts.link,
            root: parts.root,
            revoked: parts.revoked,
            held: Arc::new(AsyncMutex::new(held)),
            logins: Mutex::default(),
        };
        access.renew_link().await?;
        Ok(access)
    }

    /// Makes a set-up link unless there is an operator, or a link whose secret is still at hand.
    async fn renew_link(&self) -> Result<(), AccessError> {
        let setup = self.state().await.setup;
        if setup == Setup::Done {
            return self.link.remove();
        }
        if self.link.read(setup)?.is_some() {
            return Ok(());
        }
        let link = self.link.renew(random::bytes())?;
        self.execute(Command::OpenSetup { link }, CommandKey::once()).await?;
        tracing::info!("a set-up link was made; it works until the first operator exists");
        Ok(())
    }

    /// Returns the secret of the set-up link while there is no operator.
    ///
    /// Errors: the file is not private.
    pub async fn setup_secret(&self) -> Result<Option<Zeroizing<String>>, AccessError> {
        let setup = self.state().await.setup;
        self.link.read(setup)
    }

    /// Forgets the secret of the set-up link.
    pub fn close_link(&self) {
        if let Err(error) = self.link.remove() {
            tracing::warn!(%error, "the set-up secret is worthless, but its file could not be removed");
        }
    }

    /// Gives the state to look at; nothing changes while it is held.
    pub async fn state(&self) -> MappedMutexGuard<'_, State> {
        MutexGuard::map(self.held.lock().await, |held| &mut held.state)
    }

    /// Returns the grants that live now.
    pub async fn grants(&self) -> MappedMutexGuard<'_, LiveGrants> {
        let mut held = self.held.lock().await;
        held.grants.forget_ended(self.clock.now());
        MutexGuard::map(held, |held| &mut held.grants)
    }

    /// Works on the log-ins under way.
    pub fn logins<T>(&self, work: impl FnOnce(&mut Logins) -> T) -> T {
        work(&mut self.logins.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides a command, writes what happened and applies it, one command after the other.
    ///
    /// Errors: [`AccessError::Rejected`], [`AccessError::Append`], [`AccessError::Store`].
    pub async fn execute(&self, command: Command, key: CommandKey) -> Result<(Vec<Event>, Appended), AccessError> {
        let answer = key.answer.clone();
        self.execute_answering(command, key, |_, _| Ok(answer)).await
    }

    /// Does the same with an answer that is made of the state as it is afterwards.
    ///
    /// A command that was made before gets its first answer. The append and what follows of it are one task, which ends also
    /// when whoever asked went away: what is durable is in force.
    ///
    /// Errors: as [`Access::execute`], and what `answer` says.
    pub async fn execute_answering(
        &self,
        command: Command,
        key: CommandKey,
        answer: impl FnOnce(&State, &[Event]) -> Result<Vec<u8>, AccessError>,
    ) -> Result<(Vec<Event>, Appended), AccessError> {
        let mut held = Arc::clone(&self.held).lock_owned().await;
        if let Some(first) = self.made_before(&key)? {
            return Ok((self.events_of(&first)?, first));
        }
        let facts = Facts {
            now: self.clock.now(),
            id: random::bytes(),
        };
        held.state.forget_ended(facts.now);
        let events = decide(&held.state, command, &facts)?;
        note_actor(&held.state, &events);
        let next = events.iter().fold(held.state.clone(), evolve);
        let append = Append {
            command_id: key.id,
            command_digest: key.digest,
            at_ms: facts.now.unix_ms(),
            writes: self.writes(&events, held.reached)?,
            answer: answer(&next, &events)?,
        };
        let change = Change {
            log: Arc::clone(&self.log),
            revoked: Arc::clone(&self.revoked),
            held,
            append,
            events,
            next,
        };
        let made = tokio::spawn(audit::carried(change.make())).await;
        let (events, appended) = made.map_err(|_| AccessError::Unfinished)??;
        if appended.replayed {
            return Ok((self.events_of(&appended)?, appended));
        }
        Ok((events, appended))
    }

    /// Looks up what a command did before.
    ///
    /// Errors: [`AccessError::Append`] when its id was used for another one, [`AccessError::Store`].
    fn made_before(&self, key: &CommandKey) -> Result<Option<Appended>, AccessError> {
        let Some(first) = self.log.command(&key.id)? else {
            return Ok(None);
        };
        if first.digest != key.digest {
            return Err(AppendError::IdReused.into());
        }
        Ok(Some(Appended {
            first: first.first,
            last: first.last,
            answer: first.answer,
            replayed: true,
        }))
    }

    /// Reads what an earlier append wrote.
    ///
    /// Errors: [`AccessError::Store`], [`AccessError::Stored`].
    pub fn events_of(&self, appended: &Appended) -> Result<Vec<Event>, AccessError> {
        let count = usize::try_from(appended.last.saturating_sub(appended.first).saturating_add(1)).unwrap_or(1);
        let records = self.log.read_all(appended.first.saturating_sub(1), count)?;
        let mut events = Vec::new();
        for record in records {
            if let Some(body) = &record.body {
                events.push(stored::decode(&record.kind, body)?);
            }
        }
        Ok(events)
    }

    /// Sorts events by stream; what moved behind the place that the state has reached is a conflict.
    fn writes(&self, events: &[Event], reached: Position) -> Result<Vec<StreamWrite>, AccessError> {
        let mut by_stream: BTreeMap<StreamId, Vec<NewEvent>> = BTreeMap::new();
        for event in events {
            let (stream, event) = stored::encode(event)?;
            by_stream.entry(stream).or_default().push(event);
        }
        let mut writes = Vec::new();
        for (stream, events) in by_stream {
            let expected = self.log.stream_version(&stream)?.min(reached);
            writes.push(StreamWrite {
                stream,
                expected,
                events,
            });
        }
        Ok(writes)
    }

    /// Mints the biscuit of a session, which says when password or passkey was last proved in it, and for what.
    ///
    /// Errors: [`AccessError::Mint`], [`AccessError::Rejected`].
    pub async fn mint_session(
        &self,
        session: SessionId,
        operator: OperatorId,
        session_key: PublicKey,
        expires_at: Timestamp,
        (proved_at, proved_for): (Option<Timestamp>, Option<ProvedFor>),
    ) -> Result<NewSession, AccessError> {
        let Standing { username, reach, epoch } = self.state().await.standing(&operator)?;
        let claims = SessionClaims {
            operator,
            username,
            session,
            session_key,
            rights: reach,
            expires_at,
        };
        let bounds = Bounds {
            epoch,
            proved_at,
            proved_for,
            ..Bounds::default()
        };
        let token = auth::mint_session_within(&self.root, &claims, &bounds)?;
        Ok(NewSession {
            session,
            token,
            username: claims.username,
            expires_at,
        })
    }

    /// Mints the biscuit of an API token, as often as it is asked for.
    ///
    /// Errors: [`AccessError::Mint`].
    pub fn mint_token(&self, token: &TokenFacts, username: String, key: PublicKey) -> Result<String, AccessError> {
        let claims = SessionClaims {
            operator: token.author,
            username,
            session: token.token,
            session_key: key,
            rights: token.reach.clone(),
            expires_at: token.expires_at,
        };
        let bounds = Bounds {
            epoch: token.epoch,
            devices: token.devices.clone(),
            is_token: true,
            proved_at: None,
            proved_for: None,
        };
        Ok(auth::mint_session_within(&self.root, &claims, &bounds)?)
    }

    /// Mints the biscuit of a grant, as often as it is asked for.
    ///
    /// Errors: [`AccessError::Mint`].
    pub fn mint_grant(&self, grant: &GrantFacts) -> Result<String, AccessError> {
        let claims = SessionClaims {
            operator: grant.author,
            username: grant.username.clone(),
            session: grant.session,
            session_key: grant.session_key,
            rights: grant.reach.clone(),
            expires_at: grant.expires_at,
        };
        let bounds = Bounds {
            epoch: grant.epoch,
            devices: grant.devices.clone(),
            is_token: grant.by_token,
            proved_at: None,
            proved_for: None,
        };
        let digest = &granted_digest(&grant.call_digest.0, &grant.command);
        Ok(auth::mint_grant_within(
            &self.root,
            &claims,
            grant.grant,
            digest,
            &bounds,
        )?)
    }
}

/// Names for the audit whoever a public route's body has proved.
fn note_actor(state: &State, events: &[Event]) {
    for event in events {
        match event {
            Event::OperatorCreated { operator, username, .. } => {
                audit::note_actor(Actor::operator(operator, username.as_str()));
            }
            Event::SessionStarted { session, operator, .. } => {
                audit::note_session(*session);
                if let Ok(standing) = state.standing(operator) {
                    audit::note_actor(Actor::operator(operator, &standing.username));
                }
            }
            Event::GrantMinted(grant) => {
                audit::note_session(grant.session);
                audit::note_actor(Actor::operator(&grant.author, &grant.username));
            }
            _ => {}
        }
    }
}

impl Held {
    /// Applies every event of the log behind the place that was reached.
    fn catch_up(&mut self, log: &dyn EventLog, revoked: &RevocationSet) -> Result<(), AccessError> {
        loop {
            let records = log.read_all(self.reached, PAGE_EVENTS)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in &records {
                // What retention dropped is too old to decide by.
                if let Some(body) = &record.body
                    && record.kind != borealis_bus_schema::audit::KIND
                {
                    let event = stored::decode(&record.kind, body)?;
                    revoke(revoked, &record.kind, body)?;
                    self.grants.note(&event);
                    self.state = evolve(std::mem::take(&mut self.state), &event);
                }
                self.reached = record.position;
            }
        }
    }
}

/// Is a change that was decided, and holds the state until it is made.
struct Change {
    log: Arc<dyn EventLog>,
    revoked: Arc<RevocationSet>,
    held: OwnedMutexGuard<Held>,
    append: Append,
    events: Vec<Event>,
    next: State,
}

impl Change {
    /// Writes it, then lets it count; a state that missed something is brought forward for whoever asks next.
    async fn make(self) -> Result<(Vec<Event>, Appended), AccessError> {
        let Self {
            log,
            revoked,
            mut held,
            append,
            events,
            next,
        } = self;
        let appended = match log.append(append).await {
            Ok(appended) => appended,
            Err(error) => {
                if matches!(error, AppendError::Conflict { .. }) {
                    held.catch_up(log.as_ref(), &revoked)?;
                }
                return Err(error.into());
            }
        };
        if !appended.replayed {
            held.state = next;
            held.reached = appended.last;
            for event in &events {
                let (_, stored) = stored::encode(event)?;
                revoke(&revoked, &stored.kind, &stored.body)?;
                held.grants.note(event);
            }
        }
        Ok((events, appended))
    }
}

/// Lets access itself refuse by what it has just written, as the others do once they have read it.
fn revoke(revoked: &RevocationSet, kind: &str, body: &[u8]) -> Result<(), AccessError> {
    revoked.apply(kind, body).map_err(|source| {
        AccessError::Stored(StoredError::Body {
            kind: kind.to_owned(),
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::seeds::LinkSecret;
    use borealis_bus_schema::subjects::Service;
    use borealis_event_store::{OpenOptions, SledLog};
    use borealis_service_kit::clock::SystemClock;
    use borealis_service_kit::keys;
    use borealis_service_kit::paths::Paths;
    use borealis_test_support::eventually;

    use crate::aggregate::Username;

    async fn open(folder: &tempfile::TempDir) -> Access {
        let paths = Paths::new(folder.path(), None).unwrap();
        keys::private_folder(&paths.state(Service::Access)).unwrap();
        let log = SledLog::open(paths.state(Service::Access), OpenOptions::new()).unwrap();
        let parts = Parts {
            log: Arc::new(log),
            clock: Arc::new(SystemClock),
            opaque: Opaque::generate(&mut rand::rngs::OsRng),
            places: crate::webauthn::Places::new(&[], 0),
            link: SetupLink::new(&paths),
            root: BiscuitRoot::new(&random::signing_key()).unwrap(),
            revoked: Arc::new(RevocationSet::new()),
        };
        Access::open(parts).await.unwrap()
    }

    async fn first_operator(access: &Access) -> Command {
        let secret = access.setup_secret().await.unwrap().unwrap();
        Command::FinishSetup {
            link: LinkSecret::parse(&secret).unwrap().public_key(),
            username: Username::new("ada").unwrap(),
            record: vec![1],
            peer: "192.0.2.1".into(),
        }
    }

    #[tokio::test]
    async fn what_is_durable_is_in_force_also_when_whoever_asked_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let access = open(&folder).await;
        let setup = first_operator(&access).await;
        {
            let mut work = Box::pin(access.execute(setup, CommandKey::once()));
            tokio::select! {
                biased;
                _ = &mut work => panic!("it was done at once"),
                () = std::future::ready(()) => {}
            }
        }
        eventually("the operator in the state", async || {
            (access.state().await.operators.len() == 1).then_some(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn what_the_state_missed_is_a_conflict_and_is_known_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let access = open(&folder).await;
        let setup = first_operator(&access).await;
        {
            // The log goes on while the state stands still.
            let mut held = access.held.lock().await;
            let (state, reached) = (held.state.clone(), held.reached);
            drop(held);
            access.execute(setup, CommandKey::once()).await.unwrap();
            held = access.held.lock().await;
            (held.state, held.reached) = (state, reached);
        }
        let again = Command::OpenSetup {
            link: PublicKey::from_bytes([1; 32]),
        };
        let refused = access.execute(again, CommandKey::once()).await.unwrap_err();
        assert!(
            matches!(refused, AccessError::Append(AppendError::Conflict { .. })),
            "{refused:?}"
        );
        assert_eq!(access.state().await.operators.len(), 1);
    }

    #[tokio::test]
    async fn the_same_command_at_the_same_time_gets_the_first_answer() {
        let folder = tempfile::tempdir().unwrap();
        let access = open(&folder).await;
        let (one, two) = (first_operator(&access).await, first_operator(&access).await);
        let key = |digest| CommandKey {
            id: [7; 16],
            digest: [digest; 32],
            answer: b"{}".to_vec(),
        };
        let (one, two) = tokio::join!(access.execute(one, key(1)), access.execute(two, key(1)));
        let ((events, first), (again, second)) = (one.unwrap(), two.unwrap());
        assert_eq!((first.replayed, second.replayed), (false, true));
        // Read back they stand in the order of their streams.
        assert!(events.len() == again.len() && events.iter().all(|event| again.contains(event)));
        let other = first_operator_of("eve");
        let refused = access.execute(other, key(2)).await.unwrap_err();
        assert!(matches!(refused, AccessError::Append(AppendError::IdReused)));
    }

    fn first_operator_of(name: &str) -> Command {
        Command::FinishSetup {
            link: PublicKey::from_bytes([1; 32]),
            username: Username::new(name).unwrap(),
            record: vec![1],
            peer: "192.0.2.1".into(),
        }
    }
}
