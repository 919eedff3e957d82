//! Each field of an order, changed alone, is refused by its name.

use super::*;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{OrderId, SessionId};
use borealis_bus_schema::messages::signing::Author;
use borealis_bus_schema::operator::Proof;
use borealis_bus_schema::order::Language;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000)
}
pub(crate) fn author_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}
pub(crate) fn guid(n: u8) -> Guid {
    Guid::from_random([n; 16])
}
fn command() -> CommandId {
    CommandId::from_bytes([3; 16])
}
fn asked() -> Value {
    json!({
        "targets": {"guids": [guid(1), guid(2)]}, "language": "sh", "script": "echo hi",
        "args": ["a"], "env": {"K": "v"}, "timeout_ms": 60_000, "expires_in_ms": 3_600_000,
    })
}
pub(crate) fn call_of(body: &Value) -> OperatorCall {
    let (path, body) = ("/api/v1/jobs", body.to_string().into_bytes());
    let session = SessionId::from_bytes([2; 16]);
    let proof = Proof::new(&author_key(), session, command(), now(), "POST", path, &body);
    OperatorCall {
        method: "POST".into(),
        path: path.into(),
        body,
        proof: Some(proof),
        peer: "192.0.2.1".into(),
    }
}
pub(crate) fn granted_for(call: &OperatorCall) -> Granted {
    Granted {
        grant: GrantId::from_bytes([4; 16]),
        author: OperatorId::from_bytes([5; 16]),
        session_key: PublicKey::of(&author_key()),
        granted_digest: call.granted_digest(&command()),
        expires_at: now().plus_ms(3_600_000),
    }
}
fn coverage() -> Coverage {
    let call = call_of(&asked());
    Coverage::read(&call, &granted_for(&call), None).unwrap()
}
pub(crate) fn order_for(guid: Guid) -> Order {
    Order {
        order: OrderId::from_bytes([6; 16]),
        run: RunId::of_job(&JobId::of_command(&command()), &guid),
        attempt: 1,
        guid,
        context: Context::System,
        role: RoleName::script(),
        verb: VerbName::run(),
        body: OrderBody::Script(ScriptBody {
            language: Language::Sh,
            script: b"echo hi".to_vec(),
            digest: Digest::of(b"echo hi"),
            args: vec!["a".into()],
            env: [("K".to_owned(), "v".into())].into(),
            timeout_ms: 60_000,
            output_limit_bytes: OUTPUT_LIMIT_BYTES,
        }),
        issued_at: now(),
        expires_at: now().plus_ms(60_000),
        key_id: "whatever the caller says".into(),
    }
}
fn oslo() -> SiteName {
    SiteName::new("oslo").unwrap()
}
fn with_script(change: impl FnOnce(&mut ScriptBody)) -> Order {
    let mut order = order_for(guid(1));
    if let OrderBody::Script(script) = &mut order.body {
        change(script);
    }
    order
}
fn refusal(order: Order) -> Refusal {
    coverage().cover(order, &oslo(), "k", now()).unwrap_err()
}
fn differs(order: Order) -> &'static str {
    match refusal(order) {
        Refusal::Differs { what, .. } => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_that_does_what_was_asked_is_signed_under_our_key() {
    let covered = coverage().cover(order_for(guid(1)), &oslo(), "ours", now()).unwrap();
    assert_eq!(
        (covered.key_id.as_str(), covered.body),
        ("ours", order_for(guid(1)).body)
    );
}

#[test]
fn a_script_left_out_is_filled_in_from_the_request() {
    let covered = coverage()
        .cover(with_script(|s| s.script.clear()), &oslo(), "ours", now())
        .unwrap();
    assert_eq!(covered.body, order_for(guid(1)).body);
}

#[test]
fn every_field_of_the_script_counts() {
    assert_eq!(differs(with_script(|s| s.script = b"echo ho".to_vec())), "the script");
    assert_eq!(
        differs(with_script(|s| s.digest = Digest::of(b"x"))),
        "the script's digest"
    );
    assert_eq!(differs(with_script(|s| s.language = Language::Bash)), "the language");
    assert_eq!(differs(with_script(|s| s.args.push("b".into()))), "the arguments");
    assert_eq!(
        differs(with_script(|s| {
            s.env.insert("LD_PRELOAD".into(), "x".into());
        })),
        "the environment"
    );
    assert_eq!(differs(with_script(|s| s.timeout_ms += 1)), "the timeout");
    assert_eq!(differs(with_script(|s| s.output_limit_bytes += 1)), "the output limit");
}

#[test]
fn every_other_field_counts() {
    let order = || order_for(guid(1));
    let run = RunId::of_job(&JobId::of_command(&command()), &guid(2));
    assert_eq!(differs(Order { run, ..order() }), "its run");
    assert_eq!(differs(Order { attempt: 2, ..order() }), "its attempt");
    assert_eq!(
        differs(Order {
            context: Context::CurrentUser,
            ..order()
        }),
        "its context"
    );
    assert_eq!(
        differs(Order {
            role: RoleName::agent(),
            ..order()
        }),
        "its role"
    );
    assert_eq!(
        differs(Order {
            verb: VerbName::ping(),
            ..order()
        }),
        "its verb"
    );
    assert_eq!(
        differs(Order {
            body: OrderBody::Ping,
            ..order()
        }),
        "its body"
    );
    assert_eq!(refusal(order_for(guid(9))), Refusal::NotATarget { guid: guid(9) });
}

#[test]
fn all_devices_are_targets_when_asked_for() {
    let mut everywhere = asked();
    everywhere["targets"] = json!({"all": true});
    let call = call_of(&everywhere);
    let coverage = Coverage::read(&call, &granted_for(&call), None).unwrap();
    assert!(coverage.cover(order_for(guid(9)), &oslo(), "k", now()).is_ok());
}

#[test]
fn sites_and_exclusions_bind_and_a_filter_reaches_what_its_author_reaches() {
    let bergen = SiteName::new("bergen").unwrap();
    let covers = |targets: serde_json::Value, n: u8, site: &SiteName| {
        let mut body = asked();
        body["targets"] = targets;
        let call = call_of(&body);
        let coverage = Coverage::read(&call, &granted_for(&call), None).unwrap();
        coverage.cover(order_for(guid(n)), site, "k", now()).is_ok()
    };
    for (targets, expected) in [
        (json!({"sites": ["oslo"]}), [true, true, false]),
        (json!({"sites": ["oslo"], "guids": [guid(3)]}), [true, true, true]),
        (json!({"sites": ["oslo"], "except": [guid(2)]}), [true, false, false]),
        (
            json!({"guids": [guid(1), guid(2)], "except": [guid(2)]}),
            [true, false, false],
        ),
        (json!({"all": true, "except": [guid(1)]}), [false, true, true]),
        (json!({"filter": "online", "except": [guid(3)]}), [true, true, false]),
        (json!({"filter": "online", "sites": ["bergen"]}), [false, false, true]),
    ] {
        let found = [(1, oslo()), (2, oslo()), (3, bergen.clone())].map(|(n, site)| covers(targets.clone(), n, &site));
        assert_eq!(found, expected, "{targets}");
    }
}

#[test]
fn a_run_has_as_many_attempts_as_its_author_asked_for() {
    for (retries, covered) in [
        (json!(null), 1),
        (json!(0), 1),
        (json!(2), 3),
        (json!(4_000_000_000_u32), 11),
    ] {
        let mut body = asked();
        if !retries.is_null() {
            body["retries"] = retries.clone();
        }
        let call = call_of(&body);
        let coverage = Coverage::read(&call, &granted_for(&call), None).unwrap();
        let attempt = |attempt| Order {
            attempt,
            ..order_for(guid(1))
        };
        for n in 0..=12 {
            let is_covered = coverage.cover(attempt(n), &oslo(), "k", now()).is_ok();
            assert_eq!(is_covered, (1..=covered).contains(&n), "attempt {n} of {retries}");
        }
    }
}

#[test]
fn times_are_now_short_and_within_grant_and_run() {
    let order = || order_for(guid(1));
    let why = |order| match refusal(order) {
        Refusal::Times { why, .. } => why,
        other => panic!("{other:?}"),
    };
    for ms in [-60_001, 60_001] {
        let issued_at = now().plus_ms(ms);
        assert_eq!(why(Order { issued_at, ..order() }), "was not issued now");
    }
    let until = |ms| Order {
        expires_at: now().plus_ms(ms),
        ..order()
    };
    assert_eq!(why(until(0)), "is over already");
    assert_eq!(why(until(MAX_VALIDITY_MS + 1)), "would be valid for longer than a day");
    let outlives = |what| Refusal::Outlives { guid: guid(1), what };
    assert_eq!(refusal(until(3_600_001)), outlives("grant"));
    let call = call_of(&asked());
    let granted = Granted {
        expires_at: now().plus_ms(MAX_VALIDITY_MS),
        ..granted_for(&call)
    };
    let longer = Coverage::read(&call, &granted, None).unwrap();
    assert!(
        longer
            .cover(until(3_600_000 + CLOCK_SKEW_MS), &oslo(), "k", now())
            .is_ok()
    );
    assert_eq!(
        longer.cover(until(3_600_001 + CLOCK_SKEW_MS), &oslo(), "k", now()),
        Err(outlives("run"))
    );
    let cancel = Order {
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run: order().run },
        ..until(3_600_001 + CLOCK_SKEW_MS)
    };
    assert!(longer.cover(cancel, &oslo(), "k", now()).is_ok());
}

#[test]
fn a_run_is_ended_only_by_naming_itself() {
    let cancel = |run| Order {
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run },
        ..order_for(guid(1))
    };
    assert!(
        coverage()
            .cover(cancel(order_for(guid(1)).run), &oslo(), "k", now())
            .is_ok()
    );
    assert_eq!(differs(cancel(order_for(guid(2)).run)), "the run to end");
    let as_run = Order {
        verb: VerbName::run(),
        ..cancel(order_for(guid(1)).run)
    };
    assert_eq!(differs(as_run), "the run to end");
}

#[test]
fn the_request_is_the_granted_one_signed_by_the_granted_key() {
    let call = call_of(&asked());
    let read = |call: &OperatorCall, granted: &Granted| Coverage::read(call, granted, None).unwrap_err();
    let unsigned = OperatorCall {
        proof: None,
        ..call.clone()
    };
    assert_eq!(read(&unsigned, &granted_for(&call)), Refusal::CallUnsigned);
    let other_key = Granted {
        session_key: PublicKey::of(&SigningKey::from_bytes(&[9; 32])),
        ..granted_for(&call)
    };
    assert!(matches!(read(&call, &other_key), Refusal::CallSignature(_)));
    let mut altered = call.clone();
    altered.body = asked().to_string().replace("echo hi", "echo ho").into_bytes();
    assert!(matches!(
        read(&altered, &granted_for(&altered)),
        Refusal::CallSignature(_)
    ));
    let mut wider = asked();
    wider["targets"] = json!({"all": true});
    assert_eq!(read(&call_of(&wider), &granted_for(&call)), Refusal::OtherCall);
    // The same content asked for by another command, which somebody held back.
    let session = SessionId::from_bytes([2; 16]);
    let another = Proof::new(
        &author_key(),
        session,
        CommandId::from_bytes([77; 16]),
        now(),
        "POST",
        &call.path,
        &call.body,
    );
    let held_back = OperatorCall {
        proof: Some(another),
        ..call.clone()
    };
    assert_eq!(read(&held_back, &granted_for(&call)), Refusal::OtherCall);
}

#[test]
fn only_a_request_that_makes_a_job_is_signed_for() {
    let signed = |method: &str, path: &str, body: &Value| {
        let body = body.to_string().into_bytes();
        let proof = Proof::new(
            &author_key(),
            SessionId::from_bytes([2; 16]),
            command(),
            now(),
            method,
            path,
            &body,
        );
        OperatorCall {
            method: method.into(),
            path: path.into(),
            body,
            proof: Some(proof),
            peer: String::new(),
        }
    };
    let refused = |call: OperatorCall| Coverage::read(&call, &granted_for(&call), None).unwrap_err();
    assert_eq!(refused(signed("POST", "/api/v1/codes", &asked())), Refusal::NotAJob);
    assert_eq!(refused(signed("POST", "/api/v1/jobs?x=1", &asked())), Refusal::NotAJob);
    assert_eq!(refused(signed("PUT", "/api/v1/jobs", &asked())), Refusal::NotAJob);
    let unreadable = json!({"targets": {}, "surprise": 1});
    assert!(matches!(
        refused(signed("POST", "/api/v1/jobs", &unreadable)),
        Refusal::CallBody(_)
    ));
    for (role, verb) in [("script", "ping"), ("agent", "run"), ("terminal", "open")] {
        let body = json!({"targets": {"all": true}, "role": role, "verb": verb, "language": "sh", "script": "x"});
        assert!(matches!(
            refused(signed("POST", "/api/v1/jobs", &body)),
            Refusal::UnknownAct { .. }
        ));
    }
}

#[test]
fn a_ping_has_no_body() {
    let call = call_of(&json!({"targets": {"all": true}, "role": "agent", "verb": "ping"}));
    let coverage = Coverage::read(&call, &granted_for(&call), None).unwrap();
    let ping = Order {
        role: RoleName::agent(),
        verb: VerbName::ping(),
        body: OrderBody::Ping,
        ..order_for(guid(7))
    };
    assert_eq!(
        coverage.cover(ping.clone(), &oslo(), "k", now()).unwrap().body,
        OrderBody::Ping
    );
    let cancel = Order {
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run: ping.run },
        ..ping
    };
    assert!(coverage.cover(cancel, &oslo(), "k", now()).is_err());
}

fn signed(path: &str, body: &Value, number: u8) -> OperatorCall {
    let body = body.to_string().into_bytes();
    let (session, command) = (SessionId::from_bytes([2; 16]), CommandId::from_bytes([number; 16]));
    let proof = Proof::new(&author_key(), session, command, now(), "POST", path, &body);
    OperatorCall {
        method: "POST".into(),
        path: path.into(),
        body,
        proof: Some(proof),
        peer: String::new(),
    }
}
fn for_ten_years(call: &OperatorCall) -> Granted {
    let proof = call.proof.as_ref().unwrap();
    Granted {
        granted_digest: call.granted_digest(&proof.command),
        expires_at: now().plus_ms(3_652 * 24 * 3_600_000),
        ..granted_for(call)
    }
}
/// Is a ping each full hour; it was signed at 08:00.
fn hourly(more: Value) -> OperatorCall {
    let mut body = json!({
        "name": "hourly", "cron": "0 * * * *", "end": now().plus_ms(48 * HOUR),
        "job": {"targets": {"guids": [guid(1)]}, "role": "agent", "verb": "ping", "expires_in_ms": HOUR},
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    signed("/api/v1/schedules", &body, 3)
}
fn ping(job: &JobId, at: Timestamp) -> Order {
    Order {
        run: RunId::of_job(job, &guid(1)),
        role: RoleName::agent(),
        verb: VerbName::ping(),
        body: OrderBody::Ping,
        issued_at: at,
        expires_at: at.plus_ms(60_000),
        ..order_for(guid(1))
    }
}
const HOUR: i64 = 3_600_000;

#[test]
fn a_schedule_makes_one_job_at_each_of_its_times_and_none_besides() {
    let call = hourly(json!({}));
    let id = ScheduleId::of_command(&CommandId::from_bytes([3; 16]));
    let read = |due| Coverage::read_firing(&call, &for_ten_years(&call), &Firing::Due(due), None, None);
    let at = now().plus_ms(HOUR);
    let coverage = read(at).unwrap();
    assert_eq!(coverage.job, JobId::of_firing(&id, at));
    let order = ping(&coverage.job, at);
    assert_eq!(
        coverage.cover(order.clone(), &oslo(), "k", at).unwrap().body,
        OrderBody::Ping
    );
    // Nothing begins before it is due, and no run of another firing is this one's.
    let early = at.plus_ms(-CLOCK_SKEW_MS - 1);
    assert!(matches!(
        coverage.cover(ping(&coverage.job, early), &oslo(), "k", early),
        Err(Refusal::Times { .. })
    ));
    let other = JobId::of_firing(&id, now().plus_ms(2 * HOUR));
    assert!(matches!(
        coverage.cover(ping(&other, at), &oslo(), "k", at),
        Err(Refusal::Differs { .. })
    ));
    for not_due in [
        at.plus_ms(1_000),
        at.plus_ms(1),
        at.plus_ms(-HOUR * 2),
        now().plus_ms(48 * HOUR),
    ] {
        assert!(matches!(read(not_due), Err(Refusal::Firing { .. })), "{not_due}");
    }
    // The request of a schedule is none of a job, and the other way round.
    assert_eq!(
        Coverage::read(&call, &for_ten_years(&call), None),
        Err(Refusal::NotAJob)
    );
    let job = call_of(&asked());
    assert_eq!(
        Coverage::read_firing(&job, &granted_for(&job), &Firing::Due(at), None, None),
        Err(Refusal::NotAJob)
    );
}

fn kept() -> Assembly {
    serde_json::from_value(json!({
        "name": "a", "type": "bash", "script": "echo \"$WHO\"", "sites": ["berlin"],
        "variables": [{"name": "who", "type": "string", "required": true}],
    }))
    .unwrap()
}

fn asks_for(assembly: &Assembly, variables: &Value) -> OperatorCall {
    call_of(&json!({
        "targets": {"all": true}, "timeout_ms": 60_000,
        "assembly": {
            "assembly": "01".repeat(16), "version": 3, "digest": assembly.digest().unwrap(), "variables": variables,
        },
    }))
}

#[test]
fn what_an_assembly_says_is_read_from_the_bytes_that_the_author_signed_for() {
    let call = asks_for(&kept(), &json!({"who": "x; reboot"}));
    let bytes = kept().encode().unwrap();
    let coverage = Coverage::read(&call, &granted_for(&call), Some(&bytes)).unwrap();
    let berlin = SiteName::new("berlin").unwrap();
    let mut order = order_for(guid(1));
    let OrderBody::Script(asked) = &mut order.body else {
        panic!("{order:?}");
    };
    let text = b"echo \"$WHO\"";
    *asked = ScriptBody {
        language: Language::Bash,
        script: Vec::new(),
        digest: Digest::of(text),
        args: Vec::new(),
        env: [
            ("WHO".to_owned(), "x; reboot".into()),
            ("who".to_owned(), "x; reboot".into()),
        ]
        .into(),
        timeout_ms: 60_000,
        output_limit_bytes: OUTPUT_LIMIT_BYTES,
    };
    let signed = coverage.cover(order.clone(), &berlin, "key", now()).unwrap();
    let OrderBody::Script(script) = signed.body else {
        panic!("{:?}", signed.body);
    };
    assert_eq!(script.script, text);
    assert!(coverage.is_for(&berlin) && !coverage.is_for(&SiteName::default_site()));
    if let OrderBody::Script(other) = &mut order.body {
        other.env.insert("LD_PRELOAD".into(), "x".into());
    }
    let differs = coverage.cover(order, &berlin, "key", now()).unwrap_err();
    assert!(
        matches!(
            differs,
            Refusal::Differs {
                what: "the environment",
                ..
            }
        ),
        "{differs}"
    );
}

#[test]
fn a_schedule_that_lets_late_firings_go_is_not_signed_for_late() {
    let late = |more| {
        let call = hourly(more);
        let due = now().plus_ms(HOUR);
        let coverage = Coverage::read_firing(&call, &for_ten_years(&call), &Firing::Due(due), None, None).unwrap();
        let at = due.plus_ms(3 * HOUR);
        coverage.cover(ping(&coverage.job, at), &oslo(), "k", at).is_ok()
    };
    assert!(!late(json!({})), "a later one runs for all that were missed");
    assert!(late(json!({"misfire": "all"})));
    assert!(!late(json!({"misfire": "all", "misfire_most": 1})));
    assert!(!late(json!({"misfire": "skip"})));
    assert!(!late(json!({"misfire": "all", "late_limit_ms": 600_000})));
    assert!(late(json!({"misfire": "all", "late_limit_ms": 3 * HOUR})));
    assert!(late(json!({"concurrency": "queue"})), "one waits for the one before");
    assert!(!late(json!({"concurrency": "queue", "late_limit_ms": 600_000})));
}

#[test]
fn an_operator_lets_exactly_the_request_run_that_was_signed_for() {
    let schedule = hourly(json!({}));
    let id = ScheduleId::of_command(&CommandId::from_bytes([3; 16]));
    let run_of = |id: &ScheduleId, request| {
        let path = format!("/api/v1/schedules/{id}/run");
        signed(&path, &json!({ "request": request }), 8)
    };
    let run = |request| run_of(&id, request);
    let read = |call: &OperatorCall, schedule: &OperatorCall| {
        let author = Author {
            call: schedule.clone(),
            grant: String::new(),
        };
        let (now, granted) = (Firing::Now(Box::new(author)), for_ten_years(schedule));
        Coverage::read_firing(call, &for_ten_years(call), &now, Some(&granted), None)
    };
    let call = run(Digest(schedule.digest()));
    let coverage = read(&call, &schedule).unwrap();
    assert_eq!(coverage.job, JobId::of_command(&CommandId::from_bytes([8; 16])));
    assert!(coverage.cover(ping(&coverage.job, now()), &oslo(), "k", now()).is_ok());
    let other = hourly(json!({"name": "other"}));
    assert!(matches!(read(&call, &other), Err(Refusal::Firing { .. })));
    assert_eq!(read(&schedule, &schedule), Err(Refusal::NotAJob));

    // Whoever stands between hands out the digest of a request of their own: no author granted it, or it is another's.
    let forged = signed("/api/v1/schedules", &json!({"name": "forged"}), 4);
    let elsewhere = run(Digest(forged.digest()));
    assert!(matches!(read(&elsewhere, &forged), Err(Refusal::Firing { .. })));
    let now = Firing::Now(Box::new(Author {
        call: schedule.clone(),
        grant: String::new(),
    }));
    let by = |author: Option<&Granted>| Coverage::read_firing(&call, &for_ten_years(&call), &now, author, None);
    assert!(matches!(by(None), Err(Refusal::Firing { .. })));
    assert_eq!(by(Some(&for_ten_years(&other))), Err(Refusal::OtherCall));
    let stranger = Granted {
        session_key: PublicKey::from_bytes([9; 32]),
        ..for_ten_years(&schedule)
    };
    assert!(matches!(by(Some(&stranger)), Err(Refusal::CallSignature(_))));
}

#[test]
fn a_request_that_means_no_device_covers_none() {
    for targets in [json!({}), json!({"except": [guid(3)]})] {
        let mut body = asked();
        body["targets"] = targets;
        let call = call_of(&body);
        let coverage = Coverage::read(&call, &granted_for(&call), None).unwrap();
        let refused = coverage.cover(order_for(guid(1)), &oslo(), "k", now());
        assert_eq!(refused, Err(Refusal::NotATarget { guid: guid(1) }));
    }
}

#[test]
fn a_schedule_runs_the_assembly_that_its_author_signed_for() {
    let digest = kept().digest().unwrap();
    let call = hourly(json!({"job": {
        "targets": {"guids": [guid(1)]}, "expires_in_ms": HOUR, "timeout_ms": 60_000,
        "assembly": {"assembly": "01".repeat(16), "version": 3, "digest": digest, "variables": {"who": "x"}},
    }}));
    let due = Firing::Due(now().plus_ms(HOUR));
    let read = |bytes: Option<&[u8]>| Coverage::read_firing(&call, &for_ten_years(&call), &due, None, bytes);
    let bytes = kept().encode().unwrap();
    let coverage = read(Some(&bytes)).unwrap();
    assert!(matches!(&coverage.body, OrderBody::Script(script) if script.script == b"echo \"$WHO\""));
    assert!(!coverage.is_for(&oslo()));
    let newer = Assembly {
        script: "reboot".into(),
        ..kept()
    }
    .encode()
    .unwrap();
    assert_eq!(read(Some(&newer)), Err(Refusal::Assembly(AssemblyError::Digest)));
    assert_eq!(read(None), Err(Refusal::Assembly(AssemblyError::Absent)));
}

#[test]
fn another_assembly_than_the_one_that_was_signed_for_is_refused() {
    let refused = |variables: &Value, bytes: Option<&[u8]>| {
        let call = asks_for(&kept(), variables);
        let refusal = Coverage::read(&call, &granted_for(&call), bytes).unwrap_err();
        borealis_bus_schema::reply::WireError::from(crate::error::SigningError::from(refusal)).code
    };
    let bytes = kept().encode().unwrap();
    let other = Assembly {
        script: "reboot".into(),
        ..kept()
    }
    .encode()
    .unwrap();
    let who = json!({"who": "x"});
    assert_eq!(refused(&who, Some(&other)), Code::DigestMismatch);
    assert_eq!(refused(&who, None), Code::Malformed);
    assert_eq!(refused(&json!({}), Some(&bytes)), Code::VariableMissing);
    assert_eq!(
        refused(&json!({"who": "x", "PATH": "/tmp"}), Some(&bytes)),
        Code::VariableUndeclared
    );
    assert_eq!(refused(&json!({"who": "a\u{0}"}), Some(&bytes)), Code::VariableInvalid);
}
