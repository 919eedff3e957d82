//! The shell: one loop that feeds the core and does what it says.
//!
//! Everything that happens arrives here: orders and the state of the connection, what roles tell, answers of the server,
//! time, renewal, the wish to stop. [`crate::journal::drive`] runs the core; the rest of this module is its hands.

mod line;
mod renewal;
mod speech;

use crate::clock::Clocks;
use crate::core::record::Record;
use crate::core::{Core, CoreConfig, Input, Output, ReplyTo};
use crate::identity::api::Api;
use crate::identity::{Device, DeviceKeys};
use crate::journal::{Journal, drive};
use crate::process::spool;
use crate::random;
use crate::roles::{Action, Hands, RoleEvent, Roles};
use crate::transport::{Bus, BusError, Incoming, Link};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{DeploymentId, IdError};
use borealis_bus_schema::messages::enrollment::Credentials;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::time::Timestamp;
use line::{Away, Line};
use renewal::{Renewal, RenewalEvent};
use speech::Speaker;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Is how long a stop may take before it is forced.
const STOP_PATIENCE: Duration = Duration::from_secs(9);

/// Is how often it is looked whether somebody at the device wants something.
const LOOK: Duration = Duration::from_secs(5);

/// Is how long a stopping agent waits for the server to take its last results.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Keeps what an agent may not forget.
pub trait Keeper: Send {
    /// Keeps fresh credentials before they are used.
    ///
    /// Errors: a text that says what could not be kept.
    fn credentials(&mut self, deployment: DeploymentId, credentials: &Credentials) -> Result<(), String>;
    /// Keeps a newer key set.
    ///
    /// Errors: as [`Keeper::credentials`].
    fn key_set(&mut self, signed: &Signed) -> Result<(), String>;
    /// Learns how the agent stands, whenever that changes.
    fn status(&mut self, status: &Standing);
    /// Draws keys that are to take the place of the device's own, and keeps them beside.
    ///
    /// Errors: as [`Keeper::credentials`].
    fn draw_keys(&mut self) -> Result<DeviceKeys, String> {
        Err("the keys of this device are not replaced".to_owned())
    }
    /// Puts keys that the server took into their place, with the credentials that belong to them.
    ///
    /// Errors: as [`Keeper::credentials`].
    fn adopt_keys(
        &mut self,
        _keys: &DeviceKeys,
        _deployment: DeploymentId,
        _credentials: &Credentials,
    ) -> Result<(), String> {
        Ok(())
    }
    /// Tells whether somebody at the device wants a new key of it, once; asked every few seconds where it is to be asked.
    fn new_key_is_wanted(&mut self) -> Option<bool> {
        None
    }
}

/// Tells how an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the bus is there.
    pub connected: bool,
    /// Whether the server answered the hello.
    pub welcome: bool,
    /// By how much the device's clock is ahead of the server's.
    pub skew_ms: Option<i64>,
    /// How many runs are under way.
    pub running: usize,
    /// How many runs wait.
    pub queued: usize,
}

/// Is what an agent is made of.
pub struct Parts {
    /// The enrolled device.
    pub device: Device,
    /// With which rights it acts.
    pub context: Context,
    /// Its journal.
    pub journal: Box<dyn Journal>,
    /// What the journal held.
    pub records: Vec<Record>,
    /// What it can do.
    pub roles: Roles,
    /// The folder of its runs.
    pub work: PathBuf,
    /// The program that wraps a run.
    pub wrapper: PathBuf,
    /// What it may not forget.
    pub keeper: Box<dyn Keeper>,
    /// How the server is asked over HTTPS; made when it is needed and dropped afterwards.
    pub api: Arc<dyn Fn() -> Option<Api> + Send + Sync>,
    /// How many runs may be under way at once.
    pub max_running: usize,
}

/// Says why an agent ended.
#[derive(Debug)]
pub enum Ended {
    /// It was to stop.
    Stopped,
    /// The server does not know the device any more: it has to enrol again.
    Disowned,
}

/// Says why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bus cannot be used.
    #[error("the bus cannot be used")]
    Bus(#[from] BusError),
    /// A role is misnamed.
    #[error("a role is misnamed")]
    Role(#[from] IdError),
}

/// Runs an agent until it is stopped or disowned.
///
/// Errors: [`RunError`] for what can never work; outages are waited out.
pub async fn run(parts: Parts, stop: watch::Receiver<bool>) -> Result<Ended, RunError> {
    Shell::new(parts).await?.live(stop).await
}

struct Shell {
    core: Core,
    journal: Box<dyn Journal>,
    clocks: Clocks,
    bus: Bus,
    links: UnboundedReceiver<Link>,
    heard: UnboundedReceiver<Input>,
    told: UnboundedReceiver<RoleEvent>,
    speaker: Speaker,
    roles: Roles,
    hands: Hands,
    keeper: Box<dyn Keeper>,
    renewal: Renewal,
    drawn: Option<DeviceKeys>,
    deployment: DeploymentId,
    line: Line,
    away: Away,
    standing: Option<Standing>,
    connected: bool,
    reconnect_wanted: bool,
    look_at: Option<Instant>,
    stopped_at: Option<Instant>,
}

impl Shell {
    async fn new(parts: Parts) -> Result<Self, RunError> {
        let Parts {
            device,
            context,
            journal,
            records,
            roles,
            work,
            wrapper,
            keeper,
            api,
            max_running,
        } = parts;
        let seed = random::spread();
        let config = CoreConfig {
            guid: device.guid,
            contexts: vec![context],
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            roles: roles.specs(context)?,
            code_signing_root: device.trust.code_signing_root,
            key_set: device.key_set.clone(),
            max_running,
            jitter_seed: seed,
        };
        let core = Core::new(config, Box::new(device.keys.clone()), records);
        let line = Line::new(&device, seed);
        let (bus, links) = line.connect().await?;
        let (hear, heard) = unbounded_channel();
        let (tell, told) = unbounded_channel();
        let speaker = Speaker::new(bus.voice(), hear);
        Ok(Self {
            core,
            journal,
            clocks: Clocks::new(),
            bus,
            links,
            heard,
            told,
            speaker,
            roles,
            hands: Hands { tell, work, wrapper },
            keeper,
            deployment: device.trust.deployment,
            renewal: Renewal::new(device, api, seed),
            drawn: None,
            line,
            away: Away::new(seed),
            standing: None,
            connected: false,
            reconnect_wanted: false,
            look_at: Some(Instant::now()),
            stopped_at: None,
        })
    }

    async fn live(mut self, mut stop: watch::Receiver<bool>) -> Result<Ended, RunError> {
        self.feed(Input::Began).await;
        let mut stop_by: Option<Instant> = None;
        loop {
            self.report();
            if self.is_finished(stop_by) {
                break;
            }
            if let Some(keys) = self.drawn.take() {
                self.renewal.rotate(keys);
            }
            let wake = self.wake_at(stop_by);
            tokio::select! {
                biased;
                changed = stop.changed(), if stop_by.is_none() => {
                    if changed.is_err() || *stop.borrow() {
                        tracing::info!("the agent stops");
                        stop_by = Some(Instant::now() + STOP_PATIENCE);
                        self.feed(Input::Stop).await;
                    }
                }
                Some(link) = self.links.recv() => self.link(link).await,
                Some(event) = self.told.recv() => self.role_told(event).await,
                Some(input) = self.heard.recv() => self.feed(input).await,
                incoming = self.bus.next() => match incoming {
                    Some(order) => self.order(order).await,
                    None if stop_by.is_some() => break,
                    None => self.reconnect_anew().await?,
                },
                event = self.renewal.next(self.connected && self.core.is_streaming(), self.core.skew_ms().unwrap_or(0)), if stop_by.is_none() => {
                    if self.renewed(event).await {
                        self.roles.stop();
                        self.bus.close().await;
                        return Ok(Ended::Disowned);
                    }
                }
                () = sleep_until(self.away.asks_at()), if !self.connected && stop_by.is_none() => {
                    tracing::info!("the bus is away for long; the server is asked whether it moved");
                    self.away.asked();
                    self.renewal.hurry();
                }
                () = sleep_until(self.look_at.unwrap_or(wake)), if self.look_at.is_some() && stop_by.is_none() => self.look(),
                () = sleep_until(wake) => self.feed(Input::Tick).await,
            }
        }
        self.roles.stop();
        self.bus.close().await;
        Ok(Ended::Stopped)
    }

    /// Tells whether a stopping agent has done what it can.
    fn is_finished(&self, stop_by: Option<Instant>) -> bool {
        let speaks = self.connected && self.core.is_streaming();
        stop_by.is_some_and(|stop_by| is_over(stop_by, self.stopped_at, speaks, Instant::now()))
    }

    fn wake_at(&self, stop_by: Option<Instant>) -> Instant {
        let core = self
            .core
            .deadline_ms()
            .map(|at| Instant::from_std(self.clocks.instant_of(at)));
        let wake = core.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
        match stop_by {
            Some(_) => wake.min(Instant::now() + Duration::from_millis(100)),
            None => wake,
        }
    }

    async fn feed(&mut self, input: Input) {
        let outputs = drive(&mut self.core, &mut *self.journal, input, self.clocks.now());
        for output in outputs {
            self.perform(output).await;
        }
        if self.reconnect_wanted && !self.core.is_streaming() {
            self.reconnect_wanted = false;
            self.bus.reconnect().await;
        }
    }

    async fn perform(&mut self, output: Output) {
        match output {
            // `drive` writes these itself.
            Output::Append { .. } => {}
            Output::Reply { to, reply } => self.speaker.answer(to, &reply),
            Output::SendHello(signed) => self.speaker.hello(&signed),
            Output::AskTime => self.renewal.hurry(),
            Output::KeepKeySet(signed) => {
                if let Err(error) = self.keeper.key_set(&signed) {
                    tracing::error!(error, "a newer key set cannot be kept");
                }
            }
            Output::Start(order) => self.roles.begin(order, &self.hands),
            Output::End { key, why } => self.roles.handle(&Action::End(key, why), &self.hands),
            Output::EndLeftovers(key) => self.roles.handle(&Action::EndLeftovers(key), &self.hands),
            Output::SendState { role, state } => self.speaker.state(role, &state),
            Output::SendOutput {
                key,
                role,
                stream,
                offset,
                len,
            } => {
                self.speaker.output(&self.hands.work, key, role, stream, offset, len);
            }
            Output::SendResult { key, role, result } => self.speaker.result(key, role, result),
            Output::Forget(key) => {
                if let Err(error) = spool::remove(&self.hands.work, key) {
                    tracing::warn!(run = %key, error = %error, "a run's folder cannot be removed");
                }
            }
            Output::GatherFacts => self.roles.handle(&Action::Gather, &self.hands),
            Output::SendFacts(signed) => self.speaker.facts(&signed),
            Output::Stopped => self.stopped_at = Some(Instant::now()),
        }
    }

    async fn order(&mut self, incoming: Incoming) {
        let Incoming {
            role,
            verb,
            body,
            reply,
        } = incoming;
        let reply = ReplyTo(reply);
        borealis_fail_points::reached("CA1");
        self.feed(Input::Order {
            role,
            verb,
            body,
            reply,
        })
        .await;
    }

    async fn link(&mut self, link: Link) {
        match link {
            Link::Up => {
                tracing::info!("connected to the bus");
                self.connected = true;
                self.away.is_back();
                self.feed(Input::Connected).await;
            }
            Link::Down => {
                tracing::warn!("the connection to the bus is gone");
                if std::mem::take(&mut self.connected) {
                    self.away.begins();
                }
                self.feed(Input::Disconnected).await;
            }
            // Expired or revoked: only the server's own route can tell which.
            Link::Refused => self.renewal.hurry(),
        }
    }

    async fn role_told(&mut self, event: RoleEvent) {
        let input = match event {
            RoleEvent::Started(key) => {
                borealis_fail_points::reached("CA5");
                Input::Started(key)
            }
            RoleEvent::Grew(key, stream, size) => Input::OutputGrew { key, stream, size },
            RoleEvent::Exited(key, exit) => Input::Exited { key, exit },
            RoleEvent::LeftoversEnded(key, exit) => Input::LeftoversEnded { key, exit },
            RoleEvent::Facts(facts) => Input::Facts(facts),
        };
        self.feed(input).await;
    }

    /// Takes a renewal's outcome; returns whether the device was disowned.
    async fn renewed(&mut self, event: RenewalEvent) -> bool {
        match event {
            RenewalEvent::Disowned => return true,
            RenewalEvent::Failed => {}
            RenewalEvent::Rotated(rotated) => {
                let (keys, rotated) = *rotated;
                self.rekeyed(keys, rotated.credentials).await;
            }
            RenewalEvent::Renewed(renewed) => {
                if renewed.rotate_key {
                    self.draw_keys("an operator");
                }
                let mut credentials = renewed.credentials;
                if let Err(error) = self.keeper.credentials(self.deployment, &credentials) {
                    tracing::error!(error, "fresh credentials cannot be kept");
                    // The token on disk counts until its successor is shown: after a restart it is all that there is.
                    credentials.refresh_token = self.renewal.refresh_token();
                }
                if self.line.took(&credentials) {
                    tracing::info!("the bus has moved");
                    if let Err(error) = self.reconnect_anew().await {
                        tracing::error!(error = %error, "the bus has moved to where it cannot be used");
                    }
                }
                self.speaker.set_voice(self.bus.voice());
                let server_time: Timestamp = credentials.server_time;
                self.renewal.took(credentials);
                self.feed(Input::ServerTime(server_time)).await;
                if let Some(signed) = renewed.key_set.signed() {
                    self.feed(Input::KeySet(signed)).await;
                }
                self.reconnect_wanted = true;
                self.feed(Input::Tick).await;
            }
        }
        false
    }

    /// Looks whether somebody at the device wants a new key.
    fn look(&mut self) {
        let wanted = self.keeper.new_key_is_wanted();
        self.look_at = wanted.map(|_| Instant::now() + LOOK);
        if wanted == Some(true) {
            self.draw_keys("somebody at this device");
        }
    }

    /// Draws new keys, which the server is asked to take.
    fn draw_keys(&mut self, by: &str) {
        match self.keeper.draw_keys() {
            Ok(keys) => {
                tracing::info!(by, words = keys.words(), "this device wants a new identity key");
                self.drawn = Some(keys);
            }
            Err(error) => tracing::error!(error, by, "no new identity key can be made"),
        }
    }

    /// Goes on with the keys that the server took: runs go on, and what they came to is signed with the new key.
    async fn rekeyed(&mut self, keys: DeviceKeys, mut credentials: Credentials) {
        if let Err(error) = self.keeper.adopt_keys(&keys, self.deployment, &credentials) {
            tracing::error!(
                error,
                "the new identity key is not in its place yet; that is done at the next start"
            );
            credentials.refresh_token = self.renewal.refresh_token();
        }
        tracing::info!(words = keys.words(), "this device has a new identity key");
        self.core.rekey(Box::new(keys.clone()), self.clocks.now());
        self.line.rekeyed(keys.clone());
        self.line.took(&credentials);
        let server_time: Timestamp = credentials.server_time;
        self.renewal.rekeyed(keys, credentials);
        if let Err(error) = self.reconnect_anew().await {
            tracing::error!(error = %error, "the bus cannot be used with the new key");
        }
        self.standing = None;
        self.feed(Input::ServerTime(server_time)).await;
        self.feed(Input::Tick).await;
    }

    /// Connects with a new client, to where the bus is now.
    async fn reconnect_anew(&mut self) -> Result<(), RunError> {
        let (bus, links) = self.line.connect().await?;
        self.speaker.set_voice(bus.voice());
        let old = std::mem::replace(&mut self.bus, bus);
        self.links = links;
        self.connected = false;
        self.away.begins();
        drop(old);
        self.feed(Input::Disconnected).await;
        Ok(())
    }

    fn report(&mut self) {
        let (running, queued) = self.core.load();
        let standing = Standing {
            connected: self.connected,
            welcome: self.core.is_welcome(),
            skew_ms: self.core.skew_ms(),
            running,
            queued,
        };
        if self.standing != Some(standing) {
            self.standing = Some(standing);
            self.keeper.status(&standing);
        }
    }
}

/// Tells whether a stop is over: the core has stopped and the server took its last words, or the time has run out.
fn is_over(stop_by: Instant, stopped_at: Option<Instant>, speaks: bool, now: Instant) -> bool {
    now >= stop_by || stopped_at.is_some_and(|at| !speaks || now >= at + LAST_WORDS)
}

/// Hears what the server answers, as inputs of the core.
type Hear = UnboundedSender<Input>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_over_within_ten_seconds_whatever_is_left() {
        let asked = Instant::now();
        let (at, by) = (|ms| asked + Duration::from_millis(ms), asked + STOP_PATIENCE);
        // Whoever waits for the program's end has a second left for what follows.
        assert!(STOP_PATIENCE + Duration::from_secs(1) <= Duration::from_secs(10));
        assert!(!is_over(by, None, true, at(8_999)));
        assert!(
            is_over(by, None, true, at(9_000)),
            "a run that does not end is not waited for"
        );
        assert!(
            is_over(by, Some(at(100)), false, at(100)),
            "with nothing to say it is over at once"
        );
        assert!(!is_over(by, Some(at(100)), true, at(3_099)));
        assert!(
            is_over(by, Some(at(100)), true, at(3_100)),
            "a server that takes nothing is not waited for"
        );
        assert!(
            is_over(by, Some(at(8_000)), true, at(9_000)),
            "last words do not make it longer"
        );
    }
}
