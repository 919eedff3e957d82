//! A gateway that was taken over, with the bus to itself: it gets no order signed that no operator asked for, no second order
//! out of one request, and no token, operator, role, session or code.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use borealis_bus_schema::audit::AuditFilter;
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, Guid, JobId, RunId};
use borealis_bus_schema::messages::access::{Grant, MintGrant};
use borealis_bus_schema::messages::audit::{AuditList, AuditPage, LIST_VERB};
use borealis_bus_schema::messages::signing::SignOrders;
use borealis_bus_schema::operator::{OperatorCall, OperatorToken, Proof};
use borealis_bus_schema::order::{Digest, Order, OrderBody, SignedOrder};
use borealis_bus_schema::reply;
use borealis_bus_schema::routes::{Need, ROUTES, Right, Route, of_verb};
use borealis_bus_schema::subjects::{Service, Subject, filter, inbox_prefix};
use borealis_service_kit::auth::{HOP_LIFE_MS, attenuate};
use borealis_service_kit::bus::{Bus, BusConfig, RequestOptions};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::trust::TrustFile;
use borealis_test_support::{Messages, narrowed, programs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, said, shared};
use crate::operators::join;
use crate::played::{Deed, Played};
use crate::trust::{everything, send};

/// Is a fleet whose operator's command line speaks to the played gateway.
struct Scene {
    fleet: Fleet,
    gateway: Played,
    guid: Guid,
    context: String,
}

impl Scene {
    /// Runs the command line through the played gateway.
    fn through(&self, args: &[&str]) -> Output {
        let mut command = self.fleet.command(args);
        command.env("BOREALIS_URL", &self.gateway.url);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Has the operator run a script on the first device through the played gateway, and follow it to its end.
    async fn run(&self, script: &str) -> Output {
        let guid = self.guid.to_string();
        let (script, context) = (script.to_owned(), self.context.clone());
        let args = [
            "run",
            "--device",
            &guid,
            "--lang",
            "sh",
            "--context",
            &context,
            "--follow",
            "--json",
            "--",
            &script,
        ];
        let mut command = self.fleet.command(&args);
        command.env("BOREALIS_URL", &self.gateway.url);
        command.stdin(std::process::Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Returns all that an operator could find changed.
    fn standing(&self) -> Vec<String> {
        let lists: [&[&str]; 7] = [
            &["users", "list"],
            &["roles", "list"],
            &["sites", "list"],
            &["token", "list"],
            &["codes", "list"],
            &["approvals", "list"],
            &["sessions", "list"],
        ];
        let mut found = Vec::new();
        for list in lists {
            let out = self.fleet.cli(&[list, &["--json"]].concat());
            assert!(out.status.success(), "{}", said(&out));
            for line in lines(&out.stdout) {
                let what = [
                    "id",
                    "username",
                    "name",
                    "site",
                    "roles",
                    "rights",
                    "state",
                    "uses_left",
                    "revoked_at",
                ];
                let kept: Vec<String> = what.iter().map(|name| line[*name].to_string()).collect();
                found.push(format!("{list:?} {}", kept.join(" ")));
            }
        }
        found.extend(self.fleet.devices().iter().map(|device| device["status"].to_string()));
        found.extend(self.jobs().iter().map(|job| job["job"].to_string()));
        found.sort();
        found
    }

    fn job_ids(&self) -> BTreeSet<String> {
        let jobs = self.jobs();
        jobs.iter().map(|job| job["job"].as_str().unwrap().to_owned()).collect()
    }

    fn jobs(&self) -> Vec<Value> {
        let out = self.fleet.cli(&["jobs", "list", "--json"]);
        assert!(out.status.success(), "{}", said(&out));
        lines(&out.stdout)
    }
}

/// Lists what a thief would like, by verb: the object in the path, and the body.
fn wishes(scene: &Scene, bob: &str, evil: &str) -> Vec<(&'static Route, String, Vec<u8>)> {
    let guid = scene.guid.to_string();
    let session = random::id::<CommandId>().to_string();
    let body = |verb: &str| match verb {
        "jobs-create" => json!({
            "targets": {"all": true}, "language": "sh", "script": evil, "context": scene.context, "timeout_ms": 60_000,
        }),
        "users-invite" => json!({"username": "mallory", "roles": ["administrator"]}),
        "users-roles" => json!({"roles": ["administrator"]}),
        "roles-create" => json!({"name": "evil", "rights": [{"right": "jobs.run", "sites": ["*"]}]}),
        "tokens-create" => json!({
            "name": "evil", "rights": ["jobs.run"], "expires_in_ms": 86_400_000,
            "public_key": PublicKey::of(&random::signing_key()),
        }),
        "codes-create" => json!({"auto_approve": true}),
        "sites-create" => json!({"name": "evil"}),
        _ => json!({}),
    };
    let routes = ROUTES.iter().filter(|route| route.changes);
    let wish = |route: &'static Route| {
        let id = match route.path {
            path if path.contains("/devices/") => guid.as_str(),
            path if path.contains("/users/") => bob,
            path if path.contains("/roles/") => "viewer",
            path if path.contains("/sites/") => "default",
            _ => session.as_str(),
        };
        (
            route,
            route.path.replace("{id}", id),
            body(route.verb).to_string().into_bytes(),
        )
    };
    routes.map(wish).collect()
}

/// Takes what the scheduler was answered until it is a grant.
async fn grants(answers: &mut Messages) -> Vec<Grant> {
    let mut found = Vec::new();
    while let Some(message) = answers.next_within(Duration::from_millis(200)).await {
        if let Ok(grant) = reply::decode::<Grant>(&message.body) {
            found.push(grant);
        }
    }
    found
}

async fn orders(seen: &mut Messages) -> Vec<SignedOrder> {
    let mut found = Vec::new();
    while let Some(message) = seen.next_within(Duration::from_millis(200)).await {
        if let Ok(order) = codec::decode::<SignedOrder>(&message.body) {
            found.push(order);
        }
    }
    found
}

/// Reads the jobs that signing signed for.
fn signed_jobs(fleet: &Fleet) -> BTreeSet<String> {
    let out = Command::new(programs::built("borealis-server").unwrap())
        .args(["store", "signing", "export", "--root"])
        .arg(fleet.server.paths().root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let events = lines(&out.stdout);
    let signed = events.iter().filter(|event| event["kind"] == "OrdersSigned");
    signed
        .map(|event| event["stream"].as_str().unwrap().trim_start_matches("job-").to_owned())
        .collect()
}

/// Asks each service that keeps a log with a biscuit, and returns what each says.
async fn asked_everywhere(bus: &Bus, biscuit: &str) -> Vec<(Service, Result<(), Code>)> {
    let need = Need::Right(Right::AuditRead);
    let mut found = Vec::new();
    for service in Service::ALL.into_iter().filter(|service| service.has_store()) {
        let narrowed = attenuate(biscuit, service, need, SystemClock.now(), HOP_LIFE_MS).unwrap();
        let ask = AuditList {
            at: None,
            newest_first: true,
            filter: AuditFilter::default(),
            limit: 1,
        };
        let subject = Subject::Service {
            service,
            verb: LIST_VERB.parse().unwrap(),
        };
        let options = RequestOptions {
            biscuit: Some(narrowed),
            timeout: Some(Duration::from_secs(10)),
            ..RequestOptions::default()
        };
        let answer = bus.request_raw(&subject, codec::encode(&ask).unwrap(), &options).await;
        let said = answer.and_then(|bytes| reply::decode::<AuditPage>(&bytes));
        found.push((service, said.map(|_| ()).map_err(|error| error.code)));
    }
    found
}

async fn connect_as(fleet: &Fleet, service: Service) -> Bus {
    let paths = fleet.server.paths().clone();
    let trust = std::sync::Arc::new(TrustFile::read(&paths).unwrap());
    Bus::connect(BusConfig { service, paths, trust }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_taken_over_gets_nothing_that_no_operator_asked_for() {
    let mut fleet = Fleet::start(2).await;
    let bob = join(&mut fleet, "bob", &["viewer"]);
    let device = fleet.devices().remove(0);
    let gateway = Played::start(&fleet).await;
    let scene = Scene {
        guid: device["guid"].as_str().unwrap().parse().unwrap(),
        context: context_of(&device),
        gateway,
        fleet,
    };
    let thief = everything(&scene.fleet).await;
    let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
    let mut answers = thief
        .subscribe(&format!("{}.>", inbox_prefix(Service::Scheduler.name())))
        .await
        .unwrap();
    thief.settle().await.unwrap();
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let (evil, evil_text) = shared(&dir, "evil");
    let ran = |times: usize| {
        let text = std::fs::read_to_string(&effect).unwrap_or_default();
        assert_eq!(text, "ran\n".repeat(times));
        assert!(!evil.exists(), "something ran that no operator asked for");
    };
    let script = format!("echo ran >> {effect_text}");

    // What an operator asks for once happens once, whatever the gateway makes of it.
    let mut asked = 0;
    for deeds in [
        &[Deed::Honest][..],
        &[Deed::LoseAnswer, Deed::LoseAnswer],
        &[Deed::Repeat(5)],
        &[Deed::LoseAnswer, Deed::Repeat(3)],
    ] {
        scene.gateway.will(deeds);
        let out = scene.run(&script).await;
        assert!(out.status.success(), "{deeds:?}: {}", said(&out));
        asked += 1;
        ran(asked);
    }
    let requests = scene.gateway.changes("/api/v1/jobs");
    assert_eq!(requests.len(), asked + 3, "an answer that was lost is asked for again");
    let commands: BTreeSet<String> = requests
        .iter()
        .map(|kept| kept.call.proof.as_ref().unwrap().command.to_string())
        .collect();
    assert_eq!((commands.len(), scene.jobs().len()), (asked, asked));
    let create = of_verb(Service::Scheduler, "jobs-create").unwrap();
    let newest = requests.last().unwrap();
    let again = scene
        .gateway
        .send(create, &newest.call, newest.biscuit.as_deref())
        .await
        .unwrap();
    assert!(scene.job_ids().iter().any(|job| again.contains(job)), "{again}");
    ran(asked);

    // A request that it keeps and refuses.
    scene.gateway.will(&[Deed::Keep("right_missing")]);
    let out = scene.run(&format!("echo held >> {evil_text}")).await;
    assert_eq!(out.status.code(), Some(77), "{}", said(&out));
    let held = scene.gateway.changes("/api/v1/jobs").pop().unwrap();
    // Other changes, so that it has proofs of many kinds.
    for args in [
        &["codes", "create", "--json"][..],
        &["sites", "create", "berlin", "--json"],
        &["devices", "quarantine", &scene.guid.to_string(), "--json"],
        &["devices", "release", &scene.guid.to_string(), "--json"],
    ] {
        let out = scene.through(args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
    }
    let users = scene.fleet.cli(&["users", "list", "--json"]);
    let users = lines(&users.stdout);
    let bobs_id = users.iter().find(|user| user["username"] == "bob").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let bob: OperatorToken = bob.parse().unwrap();
    let before = scene.standing();

    // Everything it kept, put to every other use.
    let kept = scene.gateway.kept();
    let adas = kept.iter().find_map(|kept| kept.biscuit.clone()).unwrap();
    let mut proofs: Vec<Proof> = kept.iter().filter_map(|kept| kept.call.proof.clone()).collect();
    proofs.dedup_by_key(|proof| proof.command);
    assert!(proofs.len() > 8, "{} proofs", proofs.len());
    let session = proofs[0].session;
    let mut tried = 0;
    for (route, path, body) in wishes(&scene, &bobs_id, &format!("echo evil >> {evil_text}")) {
        let call = |proof: Option<Proof>| OperatorCall {
            method: route.method.to_owned(),
            path: path.clone(),
            body: body.clone(),
            proof,
            peer: "127.0.0.1".to_owned(),
        };
        let own = |key: &ed25519_dalek::SigningKey| {
            Proof::new(
                key,
                session,
                random::id(),
                SystemClock.now(),
                route.method,
                &path,
                &body,
            )
        };
        let with_bobs_key = own(&bob.key);
        let mut cases: Vec<(Option<Proof>, &str)> = vec![
            (None, adas.as_str()),
            (Some(own(&random::signing_key())), adas.as_str()),
            (Some(with_bobs_key.clone()), adas.as_str()),
        ];
        cases.extend(proofs.iter().map(|proof| (Some(proof.clone()), adas.as_str())));
        // Somebody who may little lends his session: ada's signatures do not serve there.
        cases.push((proofs.first().cloned(), bob.biscuit.as_str()));
        for (proof, biscuit) in cases {
            let refused = scene.gateway.send(route, &call(proof), Some(biscuit)).await;
            let code = refused.expect_err(route.verb).code;
            assert!(
                matches!(
                    code,
                    Code::SignatureMissing | Code::SignatureInvalid | Code::RightMissing
                ),
                "{}: {code:?}",
                route.verb
            );
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried} tries");
    // The kept requests once more, which gives the first answer or none any more, and with one thing changed.
    let jobs: BTreeSet<String> = scene.job_ids();
    for kept in &requests {
        match scene.gateway.send(create, &kept.call, Some(&adas)).await {
            Ok(again) => assert!(jobs.iter().any(|job| again.contains(job)), "{again}"),
            Err(error) => assert_eq!(error.code, Code::SignatureExpired),
        }
        let mut other = kept.call.clone();
        other.body = String::from_utf8(other.body)
            .unwrap()
            .replace("ran", "evil")
            .into_bytes();
        let refused = scene.gateway.send(create, &other, Some(&adas)).await.unwrap_err();
        assert_eq!(refused.code, Code::SignatureInvalid);
    }
    assert_eq!(scene.standing(), before, "something changed that no operator asked for");
    ran(asked);

    // With the bus to itself it is the scheduler too, and holds every grant that access gave.
    let grants = grants(&mut answers).await;
    assert!(grants.len() >= asked, "{} grants", grants.len());
    let scheduler = connect_as(&scene.fleet, Service::Scheduler).await;
    let honest = orders(&mut seen).await;
    let first: Order = codec::decode(&honest.first().unwrap().order).unwrap();
    for grant in &grants {
        // A grant is no session.
        for route in ROUTES
            .iter()
            .filter(|route| route.need != Need::Public && !route.changes)
        {
            let call = OperatorCall {
                method: route.method.to_owned(),
                path: route.path.replace("{id}", &scene.guid.to_string()),
                body: Vec::new(),
                proof: None,
                peer: "127.0.0.1".to_owned(),
            };
            let refused = scene.gateway.send(route, &call, Some(&grant.token)).await.unwrap_err();
            assert!(
                matches!(
                    refused.code,
                    Code::TokenInvalid | Code::RightMissing | Code::WrongAction
                ),
                "{}: {:?}",
                route.verb,
                refused.code
            );
        }
        for kept in &requests {
            for order in wanted_orders(&first, &kept.call, &evil_text) {
                let ask = SignOrders {
                    grant: grant.token.clone(),
                    call: kept.call.clone(),
                    orders: vec![order],
                    approval: None,
                    firing: None,
                    assembly: None,
                };
                let refused = scheduler.request(&ask, RequestOptions::default()).await.unwrap_err();
                assert!(
                    matches!(refused.code, Code::GrantMismatch | Code::InvalidField | Code::NotFound),
                    "{:?}",
                    refused.code
                );
            }
        }
        // The request that it held back, under the grant of another.
        let command = held.call.proof.as_ref().unwrap().command;
        let ask = SignOrders {
            grant: grant.token.clone(),
            call: held.call.clone(),
            orders: vec![Order {
                run: RunId::of_job(&JobId::of_command(&command), &scene.guid),
                issued_at: SystemClock.now(),
                ..first.clone()
            }],
            approval: None,
            firing: None,
            assembly: None,
        };
        let refused = scheduler.request(&ask, RequestOptions::default()).await.unwrap_err();
        assert_eq!(refused.code, Code::GrantMismatch);
    }
    // A grant for what nobody signed.
    let mut altered = requests[0].call.clone();
    altered.body = String::from_utf8(altered.body)
        .unwrap()
        .replace("ran", "evil")
        .into_bytes();
    let ask = MintGrant {
        call: altered,
        expires_at: SystemClock.now().plus_ms(3_600_000),
    };
    let need = Need::Right(Right::JobsRun);
    let biscuit = requests[0].biscuit.as_deref().unwrap();
    let with_biscuit = RequestOptions {
        biscuit: Some(narrowed(biscuit, Service::Scheduler, need, 0).unwrap()),
        ..RequestOptions::default()
    };
    let cases = [
        (RequestOptions::default(), [Code::TokenMissing, Code::IdReused]),
        (with_biscuit, [Code::SignatureInvalid, Code::IdReused]),
    ];
    for (options, expected) in cases {
        let granted = scheduler.request(&ask, options).await;
        let refused = granted.map(|_| ()).unwrap_err();
        assert!(expected.contains(&refused.code), "{:?}", refused.code);
    }
    // The orders that it saw, again and again.
    for order in &honest {
        let decoded: Order = codec::decode(&order.order).unwrap();
        let answer = send(&thief, &decoded.guid, order).await.unwrap();
        assert!(answer.state.is_final());
    }
    ran(asked);

    // As many runs were signed for and travelled as operators asked for: not one more.
    let jobs = scene.job_ids();
    assert_eq!(signed_jobs(&scene.fleet), jobs);
    let runs: BTreeSet<RunId> = honest
        .iter()
        .map(|order| codec::decode::<Order>(&order.order).unwrap().run)
        .collect();
    assert_eq!((runs.len(), jobs.len()), (asked, asked));

    // Logged out, nothing that it kept is of any use, anywhere, five seconds later.
    let gateway_bus = connect_as(&scene.fleet, Service::Gateway).await;
    let all = asked_everywhere(&gateway_bus, &adas).await;
    assert!(all.len() == 6 && all.iter().all(|(_, said)| said.is_ok()), "{all:?}");
    let began = Instant::now();
    let out = scene.fleet.cli(&["logout", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let over = loop {
        let all = asked_everywhere(&gateway_bus, &adas).await;
        if all.iter().all(|(_, said)| *said == Err(Code::TokenRevoked)) {
            break began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(5), "after five seconds: {all:?}");
    };
    assert!(over < Duration::from_secs(5), "it took {over:?}");
    for kept in scene.gateway.kept() {
        let path = kept.call.path_only().to_owned();
        let found = ROUTES
            .iter()
            .find(|route| route.matches(&kept.call.method, &path).is_some());
        let Some(route) = found else { continue };
        if let Some(biscuit) = &kept.biscuit {
            let refused = scene.gateway.send(route, &kept.call, Some(biscuit)).await.unwrap_err();
            assert_eq!(refused.code, Code::TokenRevoked, "{path}");
        }
    }
    ran(asked);
    drop((thief, PATIENCE));
}

/// Lists the orders that a thief would have signed in the place of an honest one, for the runs of a request.
fn wanted_orders(honest: &Order, call: &OperatorCall, evil: &str) -> Vec<Order> {
    let command = call.proof.as_ref().unwrap().command;
    let run = RunId::of_job(&JobId::of_command(&command), &honest.guid);
    let order = Order {
        run,
        issued_at: SystemClock.now(),
        expires_at: SystemClock.now().plus_ms(60_000),
        ..honest.clone()
    };
    let OrderBody::Script(script) = &order.body else {
        panic!("an order without a script")
    };
    let mut hooked = script.clone();
    hooked.env.insert("BASH_ENV".into(), evil.into());
    let mut other = script.clone();
    other.script = format!("echo evil >> {evil}").into_bytes();
    other.digest = Digest::of(&other.script);
    let with = |body| Order {
        body: OrderBody::Script(body),
        ..order.clone()
    };
    vec![
        with(hooked),
        with(other),
        Order {
            attempt: 2,
            ..order.clone()
        },
        Order {
            run: random::id(),
            ..order.clone()
        },
        Order {
            guid: random::id(),
            ..order.clone()
        },
    ]
}
