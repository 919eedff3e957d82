//! A core on a desk: orders signed as signing does, a journal that can be cut, time that is set.

use crate::core::record::{Record, RunKey};
use crate::core::time::Now;
use crate::core::{Core, CoreConfig, Ending, Exit, Input, Output, ReplyTo, RoleSpec, TellError, Why};
use crate::identity::DeviceKeys;
use crate::journal::{Journal, JournalError, drive};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, Signed};
use borealis_bus_schema::ids::{Guid, OrderId, RoleName, RunId, VerbName};
use borealis_bus_schema::messages::device::{Accepted, RunResult, Welcome};
use borealis_bus_schema::order::{
    Context, Digest, KeySet, Language, Order, OrderBody, ScriptBody, SignedOrder, key_id, sign_batch,
};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;

/// Is the first instant of every test, in Unix milliseconds.
pub const START_MS: i64 = 1_800_000_000_000;
/// Is an hour, in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}
pub fn signer() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}
pub fn root() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}
pub fn keys() -> DeviceKeys {
    DeviceKeys::of_seeds([5; 32], [6; 32])
}
pub fn guid() -> Guid {
    Guid::from_random([7; 16])
}
pub fn key_set(version: u64) -> KeySet {
    KeySet {
        version,
        keys: vec![PublicKey::of(&signer())],
        expires_at: at(1_000 * HOUR_MS),
    }
}
pub fn signed_key_set(set: &KeySet) -> Signed {
    Signed::seal(&root(), Form::KeySet, set).unwrap()
}
pub fn role(text: &str) -> RoleName {
    RoleName::new(text).unwrap()
}
pub fn verb(text: &str) -> VerbName {
    VerbName::new(text).unwrap()
}

/// Is a journal whose records survive, that can be full or broken.
#[derive(Default)]
pub struct FakeJournal {
    pub records: Vec<Record>,
    pub full: bool,
    pub rewrites: usize,
    pub rewrite_at: Option<usize>,
}

impl Journal for FakeJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.full {
            return Err(JournalError::Full { path: "journal".into() });
        }
        self.records.extend_from_slice(records);
        Ok(())
    }
    fn wants_rewrite(&self) -> bool {
        self.rewrite_at.is_some_and(|at| self.records.len() >= at)
    }
    fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.records = records.to_vec();
        self.rewrites += 1;
        Ok(())
    }
}

pub struct Desk {
    pub core: Core,
    pub journal: FakeJournal,
    pub now: Now,
    next: u8,
}

fn config() -> CoreConfig {
    let spec = |name, verbs: &[&str]| RoleSpec {
        name: role(name),
        verbs: verbs.iter().map(|text| verb(text)).collect(),
    };
    CoreConfig {
        guid: guid(),
        contexts: vec![Context::System],
        agent_version: "1.2.3".into(),
        roles: vec![spec("agent", &["ping"]), spec("script", &["run", "cancel"])],
        code_signing_root: PublicKey::of(&root()),
        key_set: key_set(1),
        max_running: 2,
        jitter_seed: 42,
    }
}

pub fn core_of(records: Vec<Record>) -> Core {
    core_with(keys(), records)
}

/// Makes the core of a device with other keys.
pub fn core_with(keys: DeviceKeys, records: Vec<Record>) -> Core {
    Core::new(config(), Box::new(keys), records)
}

impl Desk {
    /// Is a device that was never told anything, off the bus, whose clock the server has set.
    pub fn new() -> Self {
        let mut desk = Self::unset();
        desk.give(Input::ServerTime(at(0)));
        desk
    }

    /// Is the same before the server said its time.
    pub fn unset() -> Self {
        Self {
            core: core_of(vec![]),
            journal: FakeJournal::default(),
            now: Now {
                wall: at(0),
                mono_ms: 1_000,
            },
            next: 1,
        }
    }

    /// Ends the program and begins it anew with what the journal holds.
    pub fn restart(&mut self) -> Vec<Output> {
        self.core = core_of(self.journal.records.clone());
        let mut outputs = self.give(Input::Began);
        outputs.extend(self.give(Input::ServerTime(self.now.wall)));
        outputs
    }

    pub fn pass(&mut self, ms: i64) -> Vec<Output> {
        self.now.wall = self.now.wall.plus_ms(ms);
        self.now.mono_ms += u64::try_from(ms).unwrap();
        self.give(Input::Tick)
    }

    pub fn give(&mut self, input: Input) -> Vec<Output> {
        drive(&mut self.core, &mut self.journal, input, self.now)
    }

    /// Connects, is welcomed, and throws away what that causes.
    pub fn online(&mut self) {
        self.give(Input::Connected);
        self.welcomed_at(self.now.wall);
    }

    /// Is welcomed by a bus that says a time of its own.
    pub fn welcomed_at(&mut self, server_time: Timestamp) -> Vec<Output> {
        let welcome = Welcome {
            server_time,
            key_set: signed_key_set(&key_set(1)),
            challenge: None,
            quarantined: false,
            renew: false,
        };
        self.give(Input::Welcomed(Ok(welcome)))
    }

    /// Is asked by the server to answer a challenge.
    pub fn challenge(&mut self, challenge: &str) -> Vec<Output> {
        let welcome = Welcome {
            server_time: self.now.wall,
            key_set: signed_key_set(&key_set(1)),
            challenge: Some(challenge.into()),
            quarantined: false,
            renew: false,
        };
        self.give(Input::Welcomed(Ok(welcome)))
    }

    pub fn order(&mut self, body: OrderBody) -> Order {
        self.next = self.next.wrapping_add(1);
        let (role_name, verb_name) = match &body {
            OrderBody::Ping => ("agent", "ping"),
            OrderBody::Script(_) => ("script", "run"),
            OrderBody::Cancel { .. } => ("script", "cancel"),
        };
        Order {
            order: OrderId::from_bytes([self.next; 16]),
            run: RunId::from_bytes([self.next; 16]),
            attempt: 1,
            guid: guid(),
            context: Context::System,
            role: role(role_name),
            verb: verb(verb_name),
            body,
            issued_at: self.now.wall,
            expires_at: self.now.wall.plus_ms(HOUR_MS),
            key_id: key_id(&PublicKey::of(&signer())),
        }
    }

    pub fn script(&mut self) -> Order {
        self.order(OrderBody::Script(script_body()))
    }

    /// Delivers a signed order on its own subject, and returns the answer with what else is to be done.
    pub fn deliver(&mut self, order: &Order) -> (Reply<Accepted>, Vec<Output>) {
        self.deliver_signed(&sign(order), order.role.as_str(), order.verb.as_str())
    }

    pub fn deliver_signed(
        &mut self,
        signed: &SignedOrder,
        on_role: &str,
        on_verb: &str,
    ) -> (Reply<Accepted>, Vec<Output>) {
        self.deliver_bytes(codec::encode(signed).unwrap(), on_role, on_verb)
    }

    pub fn deliver_bytes(&mut self, body: Vec<u8>, on_role: &str, on_verb: &str) -> (Reply<Accepted>, Vec<Output>) {
        let outputs = self.give(Input::Order {
            role: role(on_role),
            verb: verb(on_verb),
            body,
            reply: ReplyTo("r".into()),
        });
        let mut replies = outputs.iter().filter_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply.clone()),
            _ => None,
        });
        let reply = replies.next().expect("every order is answered");
        assert!(replies.next().is_none(), "an order is answered once");
        (reply, outputs)
    }

    /// Delivers a script that begins at once.
    pub fn running(&mut self) -> (Order, RunKey) {
        let order = self.script();
        let (_, outputs) = self.deliver(&order);
        assert!(starts(&outputs, key_of(&order)));
        self.give(Input::Started(key_of(&order)));
        let key = key_of(&order);
        (order, key)
    }

    pub fn exited(&mut self, key: RunKey, ending: Ending) -> Vec<Output> {
        self.give(Input::Exited {
            key,
            exit: exit(ending),
        })
    }

    pub fn code_of(&mut self, order: &Order) -> Code {
        self.deliver(order).0.unwrap_err().code
    }
}

pub fn script_body() -> ScriptBody {
    ScriptBody {
        language: Language::Sh,
        script: b"echo hi".to_vec(),
        digest: Digest::of(b"echo hi"),
        args: vec![],
        env: BTreeMap::new(),
        timeout_ms: 60_000,
        output_limit_bytes: 1 << 20,
    }
}

pub fn exit(ending: Ending) -> Exit {
    Exit {
        ending,
        duration_ms: 12,
        stdout_bytes: 0,
        stderr_bytes: 0,
        truncated: false,
    }
}

pub fn sign(order: &Order) -> SignedOrder {
    sign_batch(&signer(), std::slice::from_ref(order)).unwrap().remove(0)
}

pub fn key_of(order: &Order) -> RunKey {
    RunKey {
        run: order.run,
        attempt: order.attempt,
    }
}

pub fn starts(outputs: &[Output], key: RunKey) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Start(order) if key_of(order) == key))
}

pub fn started(outputs: &[Output]) -> Vec<RunKey> {
    let begun = outputs.iter().filter_map(|output| match output {
        Output::Start(order) => Some(key_of(order)),
        _ => None,
    });
    begun.collect()
}

pub fn ends(outputs: &[Output], key: RunKey, why: Why) -> bool {
    outputs.contains(&Output::End { key, why })
}

/// Opens a result with the device's key.
pub fn opened(signed: &Signed) -> RunResult {
    signed.open(&keys().public(), Form::Result).unwrap()
}

/// Returns the results that are sent, opened.
pub fn results(outputs: &[Output]) -> Vec<RunResult> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::SendResult { result, .. } => Some(opened(result)),
        _ => None,
    });
    sent.collect()
}

pub fn refused(code: Code) -> TellError {
    TellError::Refused {
        code,
        retry: WireError::new(code, "").retry,
    }
}
