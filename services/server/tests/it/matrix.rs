//! Every verb of the table of routes, asked with every wrong kind of token: distinct codes, and no event written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use biscuit_auth::UnverifiedBiscuit;
use biscuit_auth::builder::BlockBuilder;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, Guid, SessionId};
use borealis_bus_schema::operator::{OperatorCall, OperatorToken, Proof};
use borealis_bus_schema::routes::STEP_UP_MS;
use borealis_bus_schema::routes::{Need, ROUTES, Right, Route};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{self, BiscuitRoot, Bounds, SessionClaims, Sites};
use borealis_service_kit::bus::{Bus, BusConfig, RequestOptions};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::{keys, random, trust::TrustFile};
use borealis_test_support::eventually_within;
use ed25519_dalek::SigningKey;

use crate::fleet::{Fleet, PATIENCE};

struct Prober {
    bus: Bus,
    root: BiscuitRoot,
    key: SigningKey,
    session: SessionId,
}

impl Prober {
    async fn new(fleet: &Fleet) -> Self {
        let paths = fleet.server.paths().clone();
        let trust = Arc::new(TrustFile::read(&paths).unwrap());
        let root = BiscuitRoot::new(&keys::read_signing_key(&paths.biscuit_root_key()).unwrap()).unwrap();
        let bus = Bus::connect(BusConfig {
            service: Service::Gateway,
            paths,
            trust,
        })
        .await
        .unwrap();
        Self {
            bus,
            root,
            key: random::signing_key(),
            session: random::id(),
        }
    }

    /// Mints a session as access would, with given rights, of which the password has just been proved.
    fn session(&self, rights: impl Iterator<Item = Right>) -> String {
        self.session_within(rights, &proved(0))
    }

    fn session_within(&self, rights: impl Iterator<Item = Right>, bounds: &Bounds) -> String {
        let claims = SessionClaims {
            operator: random::id(),
            username: "prober".to_owned(),
            session: self.session,
            session_key: PublicKey::of(&self.key),
            rights: rights.map(|right| (right, Sites::All)).collect(),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        auth::mint_session_within(&self.root, &claims, bounds).unwrap()
    }

    fn narrowed(&self, biscuit: &str, service: Service, need: Need, ago_ms: i64) -> String {
        auth::attenuate(
            biscuit,
            service,
            need,
            SystemClock.now().plus_ms(-ago_ms),
            auth::HOP_LIFE_MS,
        )
        .unwrap()
    }

    fn call(&self, route: &Route, key: &SigningKey, ago_ms: i64) -> OperatorCall {
        let id = "0123456789abcdef0123456789abcdef";
        let guid = Guid::from_random([1; 16]).to_string();
        let id = if route.path.contains("/devices/") {
            guid.as_str()
        } else {
            id
        };
        let (path, body) = (route.path.replace("{id}", id), b"{}".to_vec());
        let command: CommandId = random::id();
        let at = SystemClock.now().plus_ms(-ago_ms);
        let proof = route
            .changes
            .then(|| Proof::new(key, self.session, command, at, route.method, &path, &body));
        OperatorCall {
            method: route.method.to_owned(),
            path,
            body,
            proof,
            peer: "127.0.0.1".to_owned(),
        }
    }

    async fn code(&self, route: &Route, call: &OperatorCall, biscuit: Option<String>) -> Option<Code> {
        let options = RequestOptions {
            biscuit,
            timeout: Some(Duration::from_secs(20)),
            ..RequestOptions::default()
        };
        self.bus
            .call(route.service, route.verb, call, options)
            .await
            .err()
            .map(|error| error.code)
    }
}

/// Says that the password was proved some time ago.
fn proved(ago_ms: i64) -> Bounds {
    Bounds {
        proved_at: Some(SystemClock.now().plus_ms(-ago_ms)),
        ..Bounds::default()
    }
}

/// Counts the events of each store. What signing notes by its own clock answers nobody and is left out, and so is the audit.
fn events(fleet: &Fleet) -> BTreeMap<Service, usize> {
    let count = |service: Service| {
        let counts = |event: &serde_json::Value| event["kind"] != "HeadCountersigned" && event["kind"] != "Audited";
        (
            service,
            fleet.stored(service).iter().filter(|event| counts(event)).count(),
        )
    };
    Service::ALL.into_iter().filter(|s| s.has_store()).map(count).collect()
}

/// Narrows a biscuit to a device that no request here is about.
fn for_one_device(biscuit: &str) -> String {
    let device = Guid::from_random([0xee; 16]);
    let check = format!("check if resource(\"{device}\", $site)");
    let block = BlockBuilder::new().check(check.as_str()).unwrap();
    UnverifiedBiscuit::from_base64(biscuit)
        .unwrap()
        .append(block)
        .unwrap()
        .to_base64()
        .unwrap()
}

#[tokio::test]
async fn each_verb_refuses_each_wrong_token_and_writes_nothing() {
    let fleet = Fleet::start(0).await;
    let prober = Prober::new(&fleet).await;
    let all = prober.session(Right::ALL.into_iter());
    let none = prober.session(std::iter::empty());
    let unproved = prober.session_within(Right::ALL.into_iter(), &Bounds::default());
    let old_proof = prober.session_within(Right::ALL.into_iter(), &proved(STEP_UP_MS));
    let token = prober.session_within(
        Right::ALL.into_iter(),
        &Bounds {
            is_token: true,
            ..proved(0)
        },
    );
    let stranger = BiscuitRoot::new(&random::signing_key()).unwrap();
    let forged = {
        let claims = SessionClaims {
            operator: random::id(),
            username: "stranger".to_owned(),
            session: prober.session,
            session_key: PublicKey::of(&prober.key),
            rights: Right::ALL.into_iter().map(|right| (right, Sites::All)).collect(),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        auth::mint_session(&stranger, &claims).unwrap()
    };
    // A session that really was, and was ended.
    let ended: OperatorToken = fleet.log_in().parse().unwrap();
    let mut fleet = fleet;
    fleet.token = ended.reveal();
    let out = fleet.cli(&["logout", "--json"]);
    assert!(out.status.success(), "{}", crate::fleet::said(&out));
    let list = ROUTES.iter().find(|r| r.verb == "jobs-list").unwrap();
    eventually_within("the log-out to be known", PATIENCE, async || {
        let biscuit = prober.narrowed(&ended.biscuit, list.service, list.need, 0);
        let code = prober
            .code(list, &prober.call(list, &prober.key, 0), Some(biscuit))
            .await;
        (code == Some(Code::TokenRevoked)).then_some(())
    })
    .await
    .unwrap();

    let before = events(&fleet);
    for route in ROUTES.iter().filter(|route| route.need != Need::Public) {
        let (service, verb, need) = (route.service, route.verb, route.need);
        let other = if service == Service::Access {
            Service::Library
        } else {
            Service::Access
        };
        let call = prober.call(route, &prober.key, 0);
        let narrowed = |biscuit: &str| prober.narrowed(biscuit, service, need, 0);
        let expect = async |biscuit: Option<String>, call: &OperatorCall, wanted: Code, what: &str| {
            assert_eq!(
                prober.code(route, call, biscuit).await,
                Some(wanted),
                "{service}.{verb}: {what}"
            );
        };
        expect(None, &call, Code::TokenMissing, "no token").await;
        expect(Some("rubbish".to_owned()), &call, Code::TokenInvalid, "rubbish").await;
        expect(Some(narrowed(&forged)), &call, Code::TokenInvalid, "another root").await;
        expect(
            Some(prober.narrowed(&all, other, need, 0)),
            &call,
            Code::WrongService,
            "another service's",
        )
        .await;
        expect(
            Some(prober.narrowed(&all, service, need, 31_000)),
            &call,
            Code::TokenExpired,
            "31 s old",
        )
        .await;
        expect(Some(narrowed(&ended.biscuit)), &call, Code::TokenRevoked, "revoked").await;
        let another = if need == Need::Right(Right::CodesRead) {
            Right::JobsRead
        } else {
            Right::CodesRead
        };
        let action = prober.narrowed(&all, service, Need::Right(another), 0);
        expect(Some(action), &call, Code::WrongAction, "another act's").await;
        expect(
            Some(narrowed(&for_one_device(&all))),
            &call,
            Code::OutOfScope,
            "another device's",
        )
        .await;
        if matches!(need, Need::Right(_)) {
            expect(Some(narrowed(&none)), &call, Code::RightMissing, "a right missing").await;
        }
        if route.changes {
            let good = narrowed(&all);
            let unsigned = OperatorCall {
                proof: None,
                ..call.clone()
            };
            expect(Some(good.clone()), &unsigned, Code::SignatureMissing, "unsigned").await;
            let other_key = prober.call(route, &random::signing_key(), 0);
            expect(
                Some(good.clone()),
                &other_key,
                Code::SignatureInvalid,
                "another key's signature",
            )
            .await;
            let other_body = OperatorCall {
                body: b"{ }".to_vec(),
                ..call.clone()
            };
            expect(Some(good.clone()), &other_body, Code::SignatureInvalid, "another body").await;
            let old = prober.call(route, &prober.key, 31_000);
            expect(Some(good), &old, Code::SignatureExpired, "an old signature").await;
        }
        if route.step_up {
            for (biscuit, what) in [(&unproved, "never proved"), (&old_proof, "proved long ago")] {
                expect(Some(narrowed(biscuit)), &call, Code::StepUpRequired, what).await;
            }
            expect(Some(narrowed(&token)), &call, Code::SessionRequired, "an API token").await;
        }
    }
    assert_eq!(events(&fleet), before, "a refused request wrote an event");
}
