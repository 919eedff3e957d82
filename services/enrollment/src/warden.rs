//! The warden of the bus: who is on, and who is shut out.
//!
//! It hears the bus's own words on connects and disconnects, asks for all connections at its start, after each reconnect and
//! once a minute, and writes what changed. It pushes the account with its revocations, reads it back, and puts it right when
//! the bus holds something else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::audit::{self, Actor, AuditRecord};
use borealis_bus_schema::causes::Chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::device::AGENT_LABEL_CHARS;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit::{Act as Underway, AuditedLog};
use borealis_service_kit::bus::{BusError, Connection as BusConnection, ConnectionEvent, ConnectionEvents, Sys};
use borealis_service_kit::clock::Clock;
use borealis_service_kit::nats_jwt::{self, AccountClaims, JwtError};
use borealis_service_kit::paths::Paths;
use borealis_service_kit::random;
use borealis_service_kit::shutdown::Shutdown;
use futures_util::FutureExt as _;
use nkeys::KeyPair;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::{App, completion};
use crate::credentials::BUS_JWT_LIFE_MS;
use crate::error::Refusal;
use crate::findings::{Alarm, Brake};
use crate::ledger::{Outcome, Stamp};
use crate::presence::{Act, Connection, Presence, TAKE_OVERS};
use crate::state::State;
use crate::stored::Event;

/// Is how often time is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Is how often all connections are asked for, and the account is read back.
const RECONCILE: Duration = Duration::from_secs(60);
/// Is the pause before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Is the pause before findings that could not be written are tried again.
const FINDINGS_RETRY: Duration = Duration::from_secs(1);
/// Is for how long after an operator asked a device for a new key its connection is ended to tell it, in milliseconds.
const CALL_FOR_KEYS_MS: i64 = 60_000;
/// Is how many alarms wait for the audit at most; each is in the log file as well.
const MAX_ALARMS: usize = 64;
/// Is how many words of the bus are taken together.
const BATCH: usize = 256;
/// Is how long a revocation stays in the account after the last JWT that it could stop has ended.
const REVOCATION_MARGIN_MS: i64 = 3_600_000;

/// Says why the warden could not do its work.
#[derive(Debug, Error)]
pub enum WardenError {
    /// The bus did not do what was asked.
    #[error("the bus did not do what was asked")]
    Bus(#[from] BusError),
    /// The account could not be signed.
    #[error("the account could not be signed")]
    Jwt(#[from] JwtError),
    /// The connection to the bus's own account was closed for good.
    #[error("the bus tells of connections no more")]
    Closed,
    /// What happened could not be written.
    #[error("what happened on the bus could not be written")]
    Write(#[from] Refusal),
}

/// Watches the bus.
pub struct Warden {
    app: Arc<App>,
    clock: Arc<dyn Clock>,
    account: AccountClaims,
    operator_signer: KeyPair,
    records: AuditedLog,
    shutdown: Shutdown,
}

#[derive(Deserialize, Default)]
struct OfAccount {
    #[serde(default)]
    revocations: BTreeMap<String, i64>,
}

impl Warden {
    /// Makes the warden of an account.
    pub fn new(
        app: Arc<App>,
        clock: Arc<dyn Clock>,
        account: AccountClaims,
        operator_signer: KeyPair,
        shutdown: Shutdown,
    ) -> Self {
        let records = AuditedLog::for_refusals(Arc::clone(app.ledger.log()));
        Self {
            app,
            clock,
            account,
            operator_signer,
            records,
            shutdown,
        }
    }

    /// Watches until the service stops; waits while there is no bus.
    pub async fn run(self, paths: Paths) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            outcome = self.watch(&paths) => {
                if let Err(error) = outcome {
                    // Without a warden nobody is shut out: the process ends, and its supervisor starts it anew.
                    tracing::error!(error = %Chain(&error), "the bus cannot be watched, the service stops");
                    shutdown.fail();
                }
            }
            () = shutdown.wait() => {}
        }
    }

    async fn watch(&self, paths: &Paths) -> Result<(), WardenError> {
        let sys = Sys::connect(paths).await?;
        let events = sys.events(&self.account.public_key).await?;
        let presence = Presence::new(self.app.ledger.state().connected(), self.clock.now());
        let watch = Watch {
            warden: self,
            connected: sys.connected(),
            heads: self.app.ledger.subscribe(),
            sys,
            events,
            presence,
            held: Held::Unknown,
            releases: self.app.ledger.state().releases(),
            reconcile_at: Instant::now(),
            push_at: Instant::now(),
            findings_at: Instant::now(),
            brake: Brake::default(),
            called: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            write_at: Instant::now(),
            alarms: Vec::new(),
            record_at: Instant::now(),
        };
        watch.run().await;
        Err(WardenError::Closed)
    }

    /// Returns the users that must be shut out: those whose device was, or whose key was replaced, until no JWT of theirs can be good any more.
    fn revocations(&self, now: Timestamp) -> BTreeMap<String, i64> {
        revocations(&self.app.ledger.state(), now)
    }
}

fn revocations(state: &State, now: Timestamp) -> BTreeMap<String, i64> {
    let shut_out = state.shut_out().map(|(device, at)| (device.public_key(), at));
    shut_out
        .chain(state.retired())
        .filter(|(_, at)| now.since_ms(*at) < BUS_JWT_LIFE_MS + REVOCATION_MARGIN_MS)
        // The bus compares whole seconds: one more covers a JWT of the same second.
        .map(|(key, at)| (nats_jwt::user_key(&key), at.unix_ms().div_euclid(1_000) + 1))
        .collect()
}

/// Finds the label of an agent in the name that a client gave: `<GUID>/<16 hex digits>`.
fn agent_label<'n>(name: &'n str, guid: &Guid) -> Option<&'n str> {
    let label = name.strip_prefix(&guid.to_string())?.strip_prefix('/')?;
    (label.len() == AGENT_LABEL_CHARS && label.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(label)
}

fn named(guid: Guid, connection: BusConnection) -> (Guid, Connection) {
    let label = agent_label(&connection.name, &guid).map(Into::into);
    let connection = Connection {
        label,
        server: connection.server.into(),
        number: connection.cid,
        address: connection.host,
    };
    (guid, connection)
}

struct Watch<'w> {
    warden: &'w Warden,
    sys: Sys,
    events: ConnectionEvents,
    connected: tokio::sync::watch::Receiver<bool>,
    heads: tokio::sync::watch::Receiver<borealis_event_store::Head>,
    presence: Presence,
    held: Held,
    releases: u64,
    reconcile_at: Instant,
    push_at: Instant,
    findings_at: Instant,
    brake: Brake,
    called: BTreeMap<Guid, Timestamp>,
    /// What is not written yet of who is on the bus: of each device what was seen last.
    unwritten: BTreeMap<Guid, Event>,
    write_at: Instant,
    /// The alarms that are not in the audit yet.
    alarms: Vec<AuditRecord>,
    record_at: Instant,
}

/// Is what the bus holds of the account, as far as that is known.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// It was not asked yet.
    Unknown,
    /// An account that enrollment signed, with these revocations.
    Ours(BTreeMap<String, i64>),
    /// Something else.
    Foreign,
}

impl Watch<'_> {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut acts = Vec::new();
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => self.take_all(event, &mut acts),
                    None => return,
                },
                _ = tick.tick() => {
                    // While the bus is away nobody's absence can be told.
                    if *self.connected.borrow() {
                        acts.extend(self.presence.passed(self.warden.clock.now()));
                    }
                }
                Ok(()) = self.connected.changed() => {
                    self.connected.borrow_and_update();
                    self.presence.lost(self.warden.clock.now());
                    self.reconcile_at = Instant::now();
                }
                Ok(()) = self.heads.changed() => {}
            }
            self.shut_out().await;
            self.notice_releases();
            if Instant::now() >= self.reconcile_at && *self.connected.borrow() {
                acts.extend(self.reconcile().await);
            }
            self.perform(acts).await;
            self.write_presence().await;
            self.follow_findings().await;
            self.raise_alarm();
            self.record_alarms().await;
            self.call_for_keys().await;
        }
    }

    /// Looks at all connections when a device was released: more than one of them may live with its key.
    fn notice_releases(&mut self) {
        let releases = self.warden.app.ledger.state().releases();
        if releases != self.releases {
            self.releases = releases;
            self.reconcile_at = Instant::now();
        }
    }

    /// Takes in a word of the bus, and those that came with it.
    fn take_all(&mut self, event: ConnectionEvent, acts: &mut Vec<Act>) {
        let mut next = Some(event);
        let mut left = BATCH;
        while let Some(event) = next {
            self.take(event, acts);
            left = left.saturating_sub(1);
            next = if left == 0 {
                None
            } else {
                self.events.next().now_or_never().flatten()
            };
        }
    }

    fn take(&mut self, event: ConnectionEvent, acts: &mut Vec<Act>) {
        let now = self.warden.clock.now();
        match event {
            ConnectionEvent::Connected(connection) => {
                if let Some((guid, connection)) = self.device_of(connection) {
                    acts.extend(self.presence.opened(guid, connection, now));
                }
            }
            ConnectionEvent::Disconnected { connection, reason } => {
                if let Some((guid, connection)) = self.former_device_of(connection) {
                    self.presence.closed(guid, &connection, reason, now);
                }
            }
        }
    }

    /// Finds the device of a connection; services' connections are nobody's, and so are those of keys that were replaced.
    fn device_of(&self, connection: BusConnection) -> Option<(Guid, Connection)> {
        let key = nats_jwt::public_key_of(&connection.user)?;
        let guid = self.warden.app.ledger.state().device_by_key(&key)?.guid();
        Some(named(guid, connection))
    }

    /// Finds the device of a connection that ended, also when its key was replaced since it began.
    fn former_device_of(&self, connection: BusConnection) -> Option<(Guid, Connection)> {
        let key = nats_jwt::public_key_of(&connection.user)?;
        let guid = {
            let state = self.warden.app.ledger.state();
            let of_key = state.device_by_key(&key).map(crate::aggregate::device::Device::guid);
            of_key.or_else(|| state.retired_of(&key))?
        };
        Some(named(guid, connection))
    }

    /// Ends the connections of devices of which an operator just asked a new key: they come back at once, are told in the
    /// answer to their hello, and renew.
    async fn call_for_keys(&mut self) {
        let now = self.warden.clock.now();
        let asked: BTreeMap<Guid, Timestamp> = self.warden.app.ledger.state().rotations_asked().collect();
        self.called.retain(|guid, at| asked.get(guid) == Some(at));
        for (guid, at) in asked {
            let is_new = self.called.insert(guid, at) != Some(at);
            let is_fresh = now.since_ms(at) < CALL_FOR_KEYS_MS;
            if is_new
                && is_fresh
                && let Some(connection) = self.presence.connection(&guid)
                && let Err(error) = self.sys.kick(&connection.server, connection.number).await
            {
                tracing::debug!(%guid, error = %Chain(&error), "the connection could not be ended");
            }
        }
    }

    /// Asks for all connections, and reads the account back.
    async fn reconcile(&mut self) -> Vec<Act> {
        let asked_at = self.warden.clock.now();
        self.reconcile_at = Instant::now() + RECONCILE;
        let account = &self.warden.account.public_key;
        let listed = match self.sys.connections(account).await {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the bus's connections could not be listed; it is tried again");
                self.reconcile_at = Instant::now() + RETRY;
                return Vec::new();
            }
        };
        match self.sys.lookup_account(account).await {
            Ok(jwt) => self.held = self.held(&jwt),
            Err(error) => tracing::warn!(error = %Chain(&error), "the account could not be read back"),
        }
        self.shut_out().await;
        let all = listed
            .into_iter()
            .filter_map(|connection| self.device_of(connection))
            .collect();
        self.presence.listed(all, asked_at, self.warden.clock.now())
    }

    /// Reads the account that the bus holds.
    fn held(&self, jwt: &str) -> Held {
        let claims = nats_jwt::read(jwt).ok().filter(|claims| {
            claims.sub == self.warden.account.public_key && claims.iss == self.warden.operator_signer.public_key()
        });
        match claims.and_then(|claims| serde_json::from_value::<OfAccount>(claims.nats).ok()) {
            Some(account) => Held::Ours(account.revocations),
            None => {
                tracing::warn!("the bus holds an account that enrollment did not sign; it is put right");
                Held::Foreign
            }
        }
    }

    /// Pushes the account when the bus does not shut out exactly those that it must.
    async fn shut_out(&mut self) {
        let now = self.warden.clock.now();
        let wanted = self.warden.revocations(now);
        let right = match &self.held {
            // The first look comes with the first reconciliation; a revocation does not wait for it.
            Held::Unknown => wanted.is_empty(),
            Held::Ours(held) => *held == wanted,
            Held::Foreign => false,
        };
        if right || !*self.connected.borrow() || Instant::now() < self.push_at {
            return;
        }
        match self.push(&wanted, now).await {
            Ok(()) => {
                tracing::info!(revoked = wanted.len(), "the bus shuts out every revoked device");
                self.forget_revoked(now);
                self.held = Held::Ours(wanted);
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "revocations could not be given to the bus; they are tried again");
                self.push_at = Instant::now() + TICK;
            }
        }
    }

    async fn push(&self, wanted: &BTreeMap<String, i64>, now: Timestamp) -> Result<(), WardenError> {
        let claims = AccountClaims {
            revocations: wanted.clone(),
            ..self.warden.account.clone()
        };
        let jwt = nats_jwt::account(&self.warden.operator_signer, &claims, now)?;
        Ok(self.sys.update_account(&claims.public_key, &jwt).await?)
    }

    fn forget_revoked(&mut self, now: Timestamp) {
        let gone: Vec<Guid> = self
            .warden
            .app
            .ledger
            .state()
            .shut_out()
            .filter(|(device, _)| device.admitted().is_err())
            .map(|(device, _)| device.guid())
            .collect();
        for guid in gone {
            self.presence.forget(guid, "revoked", now);
        }
    }

    /// Notes what changed, and kicks connections that a newer one replaced.
    async fn perform(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Connected(connected) => {
                    self.unwritten.insert(connected.guid, Event::Connected(connected));
                }
                Act::Disconnected(left) => {
                    self.unwritten.insert(left.guid, Event::Disconnected(left));
                }
                Act::Kick(guid, connection) => self.kick(guid, &connection).await,
                Act::Clone(guid) => self.found(guid),
            }
        }
    }

    /// Writes who came and who left, again and again until it is written: nobody says it a second time.
    async fn write_presence(&mut self) {
        if self.unwritten.is_empty() || Instant::now() < self.write_at {
            return;
        }
        let waiting: Vec<(Guid, Event)> = self
            .unwritten
            .iter()
            .map(|(guid, event)| (*guid, event.clone()))
            .collect();
        let mut failed = None;
        for chunk in waiting.chunks(BATCH) {
            failed = self.write_chunk(chunk).await.err().or(failed);
        }
        if let Some(error) = failed {
            let waiting = self.unwritten.len();
            tracing::error!(error = %Chain(&error), waiting, "presence could not be written; it is tried again");
            self.write_at = Instant::now() + RETRY;
        }
    }

    /// Writes some together, and each by itself when they cannot be written together: one device holds up no other.
    async fn write_chunk(&mut self, chunk: &[(Guid, Event)]) -> Result<(), Refusal> {
        let error = match self.write(chunk).await {
            Ok(()) => {
                chunk.iter().for_each(|(guid, _)| drop(self.unwritten.remove(guid)));
                return Ok(());
            }
            Err(error) => error,
        };
        if chunk.len() == 1 || error.code() == Code::StorageFull {
            return Err(error);
        }
        let mut failed = None;
        for one in chunk.chunks(1) {
            match self.write(one).await {
                Ok(()) => one.iter().for_each(|(guid, _)| drop(self.unwritten.remove(guid))),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes in that two agents use a device's key, as far as the bus says so; of a device that is not active any more there
    /// is nothing to find.
    fn found(&mut self, guid: Guid) {
        if self.status(&guid) != Some(DeviceStatus::Active) {
            return;
        }
        if self.brake.admit(guid, self.warden.clock.now()) {
            let reason = format!(
                "two connections with its key took each other's place {TAKE_OVERS} times within a minute: a copy of the device is at work"
            );
            self.warden.app.find_copy(guid, reason);
            self.findings_at = Instant::now();
        }
    }

    /// Writes the quarantines that findings ask for, again and again until they are written, and ends those devices'
    /// connections, so that both come back and are told.
    async fn follow_findings(&mut self) {
        let (app, now) = (&self.warden.app, self.warden.clock.now());
        if Instant::now() < self.findings_at || !app.has_findings() {
            return;
        }
        for guid in app.follow_findings(now).await {
            if let Some(connection) = self.presence.connection(&guid)
                && let Err(error) = self.sys.kick(&connection.server, connection.number).await
            {
                tracing::debug!(%guid, error = %Chain(&error), "the newer connection could not be ended");
            }
        }
        self.findings_at = Instant::now() + FINDINGS_RETRY;
    }

    /// Says aloud that the bus says of more devices that they are copied than can be believed, and keeps a record of it.
    fn raise_alarm(&mut self) {
        let now = self.warden.clock.now();
        let Some(Alarm { held, named }) = self.brake.alarm(now) else {
            return;
        };
        let devices: Vec<String> = named.iter().map(ToString::to_string).collect();
        tracing::error!(
            held,
            ?devices,
            "the bus says of many devices at once that they are copied; these are not quarantined for it: look whether somebody else holds the bus's system account"
        );
        let act = Underway::new(
            now,
            "find copied devices on the bus",
            "devices-quarantine",
            random::id(),
        );
        let mut record = act.record();
        record.actor = Actor::service(Service::Enrollment);
        record.outcome = audit::Outcome::Refused(Code::Throttled);
        record.more = held.saturating_sub(1);
        for guid in &devices {
            record.add_object("device", guid);
        }
        if self.alarms.len() < MAX_ALARMS {
            self.alarms.push(record);
        }
        self.record_at = Instant::now();
    }

    /// Keeps alarms in the audit, again and again until they are kept.
    async fn record_alarms(&mut self) {
        if self.alarms.is_empty() || Instant::now() < self.record_at {
            return;
        }
        match self.warden.records.append_records(&self.alarms, random::bytes()).await {
            Ok(()) => self.alarms.clear(),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the alarm could not be kept in the audit; it is tried again");
                self.record_at = Instant::now() + RETRY;
            }
        }
    }

    fn status(&self, guid: &Guid) -> Option<DeviceStatus> {
        self.warden.app.ledger.state().device(guid).map(|device| device.status)
    }

    /// Ends a connection that a newer one replaced. Nothing is delivered to a quarantined device, whichever it is, and two
    /// that go on replacing each other would only load the bus.
    async fn kick(&self, guid: Guid, connection: &Connection) {
        if self.status(&guid) == Some(DeviceStatus::Quarantined) {
            return;
        }
        tracing::warn!(%guid, address = connection.address, "a second connection with the same key: the older one is ended");
        if let Err(error) = self.sys.kick(&connection.server, connection.number).await {
            tracing::warn!(%guid, error = %Chain(&error), "the older connection could not be ended");
        }
    }

    async fn write(&self, events: &[(Guid, Event)]) -> Result<(), Refusal> {
        let now = self.warden.clock.now();
        let decide = |state: &State| -> Result<Outcome<()>, Refusal> {
            let mut all = Vec::new();
            for (guid, event) in events {
                let connected = matches!(event, Event::Connected(_));
                if state.seen(guid).is_some_and(|seen| seen.connected) == connected {
                    continue;
                }
                all.push(event.clone());
                if connected && let Some(device) = state.device(guid) {
                    let completed = completion(state, &device.public_key(), now);
                    all.extend(completed.map(|(id, event)| Event::Approval(id, event)));
                }
            }
            Ok(Outcome { events: all, value: () })
        };
        self.warden
            .app
            .ledger
            .commit(Stamp::own(random::id(), now), decide)
            .await
    }
}
