//! How many orders one core covers, signs and brings to their stored form in a second, and how many a device verifies: full
//! batches of a script job.

use std::time::Instant;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, sign};
use borealis_bus_schema::ids::{
    CommandId, GrantId, Guid, JobId, OperatorId, OrderId, RoleName, RunId, SessionId, SiteName, VerbName,
};
use borealis_bus_schema::merkle::MAX_LEAVES;
use borealis_bus_schema::messages::scheduler::OUTPUT_LIMIT_BYTES;
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::{
    Context, Digest, Expected, KeySet, Language, Order, OrderBody, ScriptBody, SignedOrder, key_id, sign_batch,
};
use borealis_bus_schema::time::Timestamp;
use borealis_signing::aggregate::{Facts, SignBatch, State, decide};
use borealis_signing::coverage::{Coverage, Granted};
use borealis_signing::stored;
use ed25519_dalek::SigningKey;

const BATCHES: usize = 20;
const SCRIPT: &str = "uname -a; uptime; df -h";

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000)
}

fn call(key: &SigningKey, command: CommandId) -> OperatorCall {
    let body = format!(r#"{{"targets":{{"all":true}},"language":"sh","script":"{SCRIPT}"}}"#).into_bytes();
    let session = SessionId::from_bytes([1; 16]);
    let proof = Proof::new(key, session, command, now(), "POST", "/api/v1/jobs", &body);
    OperatorCall {
        method: "POST".into(),
        path: "/api/v1/jobs".into(),
        body,
        proof: Some(proof),
        peer: String::new(),
    }
}

fn orders(command: CommandId) -> Vec<Order> {
    let job = JobId::of_command(&command);
    let order = |n: usize| {
        let mut random = [7; 16];
        random.iter_mut().zip(n.to_be_bytes()).for_each(|(byte, n)| *byte = n);
        let guid = Guid::from_random(random);
        Order {
            order: OrderId::from_bytes(random),
            run: RunId::of_job(&job, &guid),
            attempt: 1,
            guid,
            context: Context::System,
            role: RoleName::script(),
            verb: VerbName::run(),
            body: OrderBody::Script(ScriptBody {
                language: Language::Sh,
                script: Vec::new(),
                digest: Digest::of(SCRIPT.as_bytes()),
                args: Vec::new(),
                env: Default::default(),
                timeout_ms: 3_600_000,
                output_limit_bytes: OUTPUT_LIMIT_BYTES,
            }),
            issued_at: now(),
            expires_at: now().plus_ms(3_600_000),
            key_id: String::new(),
        }
    };
    (0..MAX_LEAVES).map(order).collect()
}

/// Holds what one core does in a second.
pub struct Rates {
    /// Orders covered, decided, signed and encoded for the log.
    pub signed: f64,
    /// Orders verified as a device does.
    pub verified: f64,
    /// Bare Ed25519 verifications (`verify_strict`).
    pub bare: f64,
}

/// Measures on this core.
pub fn measure() -> Rates {
    let (author, signer) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let command = CommandId::from_bytes([3; 16]);
    let call = call(&author, command);
    let granted = Granted {
        grant: GrantId::from_bytes([4; 16]),
        author: OperatorId::from_bytes([5; 16]),
        session_key: PublicKey::of(&author),
        granted_digest: call.granted_digest(&command),
        expires_at: now().plus_ms(86_400_000),
    };
    let name = key_id(&PublicKey::of(&signer));
    let site = SiteName::default_site();
    let (mut signing, mut last) = (0.0, Vec::new());
    for _ in 0..BATCHES {
        let asked = orders(command);
        let began = Instant::now();
        let coverage = Coverage::read(&call, &granted, None).unwrap();
        let covered = asked
            .into_iter()
            .map(|order| coverage.cover(order, &site, &name, now()));
        let orders: Vec<Order> = covered.collect::<Result<_, _>>().unwrap();
        last = sign_batch(&signer, &orders).unwrap();
        let batch = SignBatch {
            job: coverage.job,
            command,
            call: coverage.call,
            grant: granted.grant,
            author: granted.author,
            key_id: name.clone(),
            orders,
            named: coverage.named(),
            approved: None,
        };
        let facts = Facts {
            now: now(),
            limit: None,
        };
        for event in &decide(&State::New, &batch, &facts).unwrap() {
            stored::encode(event).unwrap();
        }
        signing += began.elapsed().as_secs_f64();
        assert_eq!(last.len(), MAX_LEAVES);
    }
    let count = |batches: usize| f64::from(u32::try_from(batches * MAX_LEAVES).unwrap());
    Rates {
        signed: count(BATCHES) / signing,
        verified: count(4) / verifying(&last, &signer),
        bare: count(4) / bare(&signer),
    }
}

fn verifying(signed: &[SignedOrder], signer: &SigningKey) -> f64 {
    let pinned = KeySet {
        version: 1,
        keys: vec![PublicKey::of(signer)],
        expires_at: now().plus_ms(86_400_000),
    };
    let guids: Vec<Guid> = signed
        .iter()
        .map(|order| codec::decode::<Order>(&order.order).unwrap().guid)
        .collect();
    let (role, verb) = (RoleName::script(), VerbName::run());
    let began = Instant::now();
    for _ in 0..4 {
        for (order, guid) in signed.iter().zip(&guids) {
            let expected = Expected {
                guid,
                contexts: &[Context::System],
                role: &role,
                verb: &verb,
                now: now(),
            };
            order.verify(&pinned, expected).unwrap();
        }
    }
    began.elapsed().as_secs_f64()
}

fn bare(signer: &SigningKey) -> f64 {
    let key = PublicKey::of(signer);
    let signature: SignatureBytes = sign(signer, Form::OrderBatch, &[&[7; 32]]);
    let began = Instant::now();
    for _ in 0..4 * MAX_LEAVES {
        key.verify(Form::OrderBatch, &[&[7; 32]], &signature).unwrap();
    }
    began.elapsed().as_secs_f64()
}
