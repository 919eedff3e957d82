//! Given what happened to a device, when something is asked, then this event or that rejection.

use super::*;
use crate::aggregate::approval::tests::{NOW, asked, guid};
use borealis_bus_schema::forms::SignatureBytes;
use borealis_bus_schema::ids::OperatorId;

const FAMILY: ApprovalId = ApprovalId::from_bytes([1; 16]);

fn enrolled() -> DeviceEnrolled {
    let asked = asked();
    DeviceEnrolled {
        guid: guid(),
        site: asked.site,
        public_key: asked.public_key,
        exchange_key: asked.exchange_key,
        exchange_key_signature: asked.exchange_key_signature,
        facts: asked.facts,
        address: asked.address,
        first_seen_at: NOW,
        approved_at: NOW,
    }
}
fn given(events: &[DeviceEvent]) -> Device {
    let mut device = Device::new(enrolled());
    for event in events {
        device.evolve(event);
    }
    device
}
fn issued() -> DeviceEvent {
    given(&[]).issue(FAMILY, NOW).unwrap().unwrap()
}
fn renewed(counter: u64) -> DeviceEvent {
    DeviceEvent::CredentialsRenewed {
        guid: guid(),
        family: FAMILY,
        counter,
        at: NOW,
    }
}
fn token(counter: u64) -> Option<Presented> {
    Some(Presented {
        family: FAMILY,
        counter,
    })
}
const WHY: Why<'static> = Why {
    reason: "test",
    by: None,
    now: NOW,
};
fn changed(change: Change) -> DeviceEvent {
    given(&[]).change_status(change, WHY).unwrap()
}

fn new_key(seed: u8) -> NewKey {
    NewKey {
        public_key: PublicKey::from_bytes([seed; 32]),
        exchange_key: PublicKey::from_bytes([seed + 1; 32]),
        exchange_key_signature: SignatureBytes::from_bytes([seed; 64]),
        issued_at: NOW,
    }
}

#[test]
fn given_a_new_key_when_it_is_shown_again_then_nothing_happens_twice() {
    let mut device = given(&[issued()]);
    let (old, new) = (device.public_key(), new_key(5));
    let ada = Actor {
        operator: OperatorId::from_bytes([9; 16]),
        username: "ada".into(),
    };
    let asked = device.ask_key_rotation(" hygiene ", &ada, NOW).unwrap().unwrap();
    device.evolve(&asked);
    assert_eq!(device.rotation_asked_at, Some(NOW));
    assert_eq!(device.ask_key_rotation("again", &ada, NOW), Ok(None));

    let late = NOW.plus_ms(RENEW_SKEW_MS + 1);
    assert_eq!(device.rotate_key(&new, late), Err(DeviceRejection::ClockSkew));
    device.evolve(&device.rotate_key(&new, NOW).unwrap().unwrap());
    assert_eq!((device.public_key(), device.rotation_asked_at), (new.public_key, None));
    assert_eq!(device.previous_key, Some((old, NOW)));
    assert_eq!(device.family.map(|f| f.newest), Some(1), "its tokens go on");
    assert_eq!(device.rotate_key(&new, late), Ok(None), "the answer was lost");

    // Whoever uses the old key after the change is not the device.
    assert!(device.gave_up(&old, late));
    assert!(!device.gave_up(&old, NOW), "it may have been asked before the change");
    assert!(!device.gave_up(&new.public_key, late));
}

#[test]
fn given_a_device_that_is_not_active_when_it_has_a_new_key_then_it_keeps_the_old_one() {
    let quarantined = given(&[issued(), changed(Change::Quarantine)]);
    let status = DeviceStatus::Quarantined;
    assert_eq!(
        quarantined.rotate_key(&new_key(5), NOW),
        Err(DeviceRejection::WrongStatus { status })
    );
    let revoked = given(&[issued(), changed(Change::Revoke)]);
    assert_eq!(revoked.rotate_key(&new_key(5), NOW), Err(DeviceRejection::Revoked));
    assert_eq!(
        given(&[]).rotate_key(&new_key(5), NOW),
        Err(DeviceRejection::RefreshInvalid)
    );
}

fn tags(names: &[&str]) -> BTreeSet<TagName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn given_a_device_when_its_tags_change_then_it_has_what_was_given_and_not_what_was_taken() {
    let ada = Actor {
        operator: OperatorId::from_bytes([9; 16]),
        username: "ada".into(),
    };
    let mut device = given(&[]);
    let steps: [(&[&str], &[&str], &[&str]); 4] = [
        (&["web", "prod"], &[], &["prod", "web"]),
        (&["db"], &["web", "absent"], &["db", "prod"]),
        (&["prod"], &["prod"], &["db", "prod"]),
        (&[], &["db", "prod"], &[]),
    ];
    for (add, remove, left) in steps {
        let event = device.retag(&tags(add), &tags(remove), &ada, NOW).unwrap();
        event.iter().for_each(|event| device.evolve(event));
        assert_eq!(device.tags, tags(left));
    }
    assert_eq!(device.retag(&tags(&[]), &tags(&["db"]), &ada, NOW), Ok(None));

    let names: Vec<String> = (0..=MAX_TAGS).map(|n| format!("t{n}")).collect();
    let many: BTreeSet<TagName> = names.iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(
        device.retag(&many, &tags(&[]), &ada, NOW),
        Err(DeviceRejection::TooManyTags)
    );
    let gone = given(&[changed(Change::Decommission)]);
    let status = DeviceStatus::Decommissioned;
    assert_eq!(
        gone.retag(&tags(&["web"]), &tags(&[]), &ada, NOW),
        Err(DeviceRejection::WrongStatus { status })
    );
}

#[test]
fn given_an_approval_when_credentials_are_issued_twice_then_they_are_the_same() {
    let device = given(&[issued()]);
    assert_eq!(device.issue(FAMILY, NOW.plus_ms(9)), Ok(None));
    assert_eq!(device.family.map(|f| (f.newest, f.issued_at)), Some((1, NOW)));
}

#[test]
fn given_the_newest_token_when_used_then_the_next_is_issued() {
    let outcome = given(&[issued()]).renew(token(1), NOW, NOW).unwrap();
    assert_eq!((outcome.events, outcome.refused), (vec![renewed(2)], None));
}

#[test]
fn given_a_rotated_token_when_its_successor_is_unused_then_the_successor_comes_again() {
    let outcome = given(&[issued(), renewed(2)]).renew(token(1), NOW, NOW).unwrap();
    assert_eq!((outcome.events, outcome.refused), (vec![], None));
}

#[test]
fn given_a_used_successor_when_the_older_token_comes_then_the_family_is_over() {
    let events = [issued(), renewed(2), renewed(3)];
    let outcome = given(&events).renew(token(1), NOW, NOW).unwrap();
    assert_eq!(outcome.refused, Some(DeviceRejection::RefreshInvalid));
    let device = given(&[events.to_vec(), outcome.events].concat());
    for presented in [token(3), token(2), token(1), None] {
        assert_eq!(device.renew(presented, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
    }
}

#[test]
fn given_a_revoked_family_when_enrolled_again_then_a_new_family_begins() {
    let revoked = DeviceEvent::RefreshFamilyRevoked {
        guid: guid(),
        family: FAMILY,
        counter: 1,
        at: NOW,
    };
    let device = given(&[issued(), revoked]);
    let next = ApprovalId::from_bytes([2; 16]);
    let again = device.issue(next, NOW).unwrap().unwrap();
    let mut device = device;
    device.evolve(&again);
    assert_eq!(device.renew(token(1), NOW, NOW), Err(DeviceRejection::RefreshInvalid));
    let presented = Some(Presented {
        family: next,
        counter: 1,
    });
    assert!(device.renew(presented, NOW, NOW).is_ok());
}

#[test]
fn given_a_token_from_the_future_or_another_family_when_used_then_it_is_rejected() {
    let device = given(&[issued()]);
    let stranger = Presented {
        family: ApprovalId::from_bytes([8; 16]),
        counter: 1,
    };
    for presented in [token(2), token(u64::MAX), Some(stranger)] {
        assert_eq!(device.renew(presented, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
    }
    assert_eq!(
        given(&[]).renew(token(1), NOW, NOW),
        Err(DeviceRejection::RefreshInvalid)
    );
}

#[test]
fn given_a_long_silence_when_renewed_then_the_signature_is_enough() {
    let (device, late) = (given(&[issued()]), NOW.plus_ms(REFRESH_LIFE_MS));
    assert_eq!(device.renew(None, NOW, NOW), Err(DeviceRejection::RefreshInvalid));
    for presented in [None, token(1)] {
        assert_eq!(device.renew(presented, late, late).unwrap().events.len(), 1);
    }
}

#[test]
fn given_a_disk_that_keeps_no_credentials_then_the_token_that_is_kept_serves_for_months() {
    let mut device = given(&[issued()]);
    for weeks in 0..30 {
        let at = NOW.plus_ms(weeks * 7 * 24 * 3_600_000);
        let renewal = device.renew(token(1), at, at).unwrap();
        assert_eq!(renewal.refused, None, "week {weeks}");
        renewal.events.iter().for_each(|event| device.evolve(event));
    }
    // What the server counts as the newest is what it gave all the time.
    assert_eq!(device.family.map(|family| family.newest), Some(2));
}

#[test]
fn given_a_clock_that_is_off_when_renewed_then_it_is_rejected() {
    for off in [RENEW_SKEW_MS + 1, -RENEW_SKEW_MS - 1] {
        let result = given(&[issued()]).renew(token(1), NOW.plus_ms(off), NOW);
        assert_eq!(result, Err(DeviceRejection::ClockSkew));
    }
}

#[test]
fn given_a_revoked_device_then_it_gets_nothing() {
    for (change, rejection) in [
        (Change::Revoke, DeviceRejection::Revoked),
        (Change::Decommission, DeviceRejection::Decommissioned),
    ] {
        let device = given(&[issued(), changed(change)]);
        assert_eq!(device.renew(token(1), NOW, NOW), Err(rejection));
        assert_eq!(device.issue(ApprovalId::from_bytes([2; 16]), NOW), Err(rejection));
    }
    assert!(
        given(&[issued(), changed(Change::Quarantine)])
            .renew(token(1), NOW, NOW)
            .is_ok()
    );
}

#[test]
fn given_each_status_then_only_the_changes_that_lead_from_it_are_made() {
    use DeviceStatus::{Active, Decommissioned, Quarantined, Revoked};
    let all = [
        Change::Quarantine,
        Change::Release,
        Change::Revoke,
        Change::Decommission,
    ];
    for (events, status, leads) in [
        (
            vec![],
            Active,
            [Some(Quarantined), None, Some(Revoked), Some(Decommissioned)],
        ),
        (
            vec![changed(Change::Quarantine)],
            Quarantined,
            [None, Some(Active), Some(Revoked), Some(Decommissioned)],
        ),
        (
            vec![changed(Change::Revoke)],
            Revoked,
            [None, None, None, Some(Decommissioned)],
        ),
        (vec![changed(Change::Decommission)], Decommissioned, [None; 4]),
    ] {
        let device = given(&events);
        assert_eq!(device.status, status);
        for (change, to) in all.into_iter().zip(leads) {
            let found = match device.change_status(change, WHY) {
                Ok(DeviceEvent::StatusChanged(changed)) => Some(changed.status),
                Ok(other) => panic!("{other:?}"),
                Err(rejection) => {
                    assert_eq!(rejection, DeviceRejection::WrongStatus { status });
                    None
                }
            };
            assert_eq!(found, to, "{change:?} of a device that is {status:?}");
        }
    }
}

#[test]
fn given_a_change_then_it_tells_who_why_and_when() {
    let actor = Actor {
        operator: OperatorId::from_bytes([6; 16]),
        username: "ada".into(),
    };
    let why = Why {
        reason: " stolen ",
        by: Some(&actor),
        now: NOW,
    };
    let mut device = given(&[]);
    device.evolve(&device.change_status(Change::Revoke, why).unwrap());
    let standing = Standing {
        reason: "stolen".into(),
        by: Some(actor.clone()),
        at: NOW,
    };
    assert_eq!(device.standing, Some(standing));
    let long = "x".repeat(MAX_REASON_CHARS + 1);
    let refused = given(&[]).change_status(Change::Revoke, Why { reason: &long, ..why });
    assert_eq!(refused, Err(DeviceRejection::ReasonTooLong));
}

#[test]
fn given_a_new_approval_then_a_revoked_device_is_admitted_again_and_a_decommissioned_one_never() {
    let mut revoked = given(&[issued(), changed(Change::Revoke)]);
    let event = revoked.readmit(WHY).unwrap().unwrap();
    revoked.evolve(&event);
    assert_eq!(revoked.status, DeviceStatus::Active);
    for (change, outcome) in [
        (Change::Quarantine, Ok(None)),
        (Change::Decommission, Err(DeviceRejection::Decommissioned)),
    ] {
        assert_eq!(given(&[changed(change)]).readmit(WHY), outcome);
    }
    assert_eq!(given(&[]).readmit(WHY), Ok(None));
}

#[test]
fn given_a_new_key_then_tokens_and_numbers_of_the_old_one_are_over() {
    let mut device = given(&[
        issued(),
        DeviceEvent::SaidHello {
            guid: guid(),
            counter: 9,
            at: NOW,
        },
    ]);
    device.evolve(&DeviceEvent::Enrolled(Box::new(enrolled())));
    assert!(
        device.family.is_some() && device.hello_counter.is_some(),
        "the same key goes on"
    );
    let fresh = DeviceEnrolled {
        public_key: PublicKey::from_bytes([8; 32]),
        ..enrolled()
    };
    device.evolve(&DeviceEvent::Enrolled(Box::new(fresh)));
    assert_eq!((device.family, device.hello_counter), (None, None));
    assert_eq!(device.renew(token(1), NOW, NOW), Err(DeviceRejection::RefreshInvalid));
}

#[test]
fn given_hellos_then_each_counts_up_or_quarantines_the_device() {
    let mut device = given(&[]);
    for counter in [4, 5, 9] {
        let event = device.say_hello(counter, NOW).unwrap();
        assert_eq!(
            event,
            DeviceEvent::SaidHello {
                guid: guid(),
                counter,
                at: NOW
            }
        );
        device.evolve(&event);
    }
    for counter in [9, 8, 0] {
        let mut device = device.clone();
        device.evolve(&device.say_hello(counter, NOW).unwrap());
        assert_eq!(
            device.status,
            DeviceStatus::Quarantined,
            "hello {counter} after hello 9"
        );
        let standing = device.standing.clone().unwrap();
        assert!(
            standing.by.is_none() && standing.reason.contains("from hello 9"),
            "{standing:?}"
        );
        assert_eq!(
            device.say_hello(1, NOW),
            None,
            "what a quarantined device says is not counted"
        );
        // Whoever releases it says that its present state is the right one.
        device.evolve(&device.change_status(Change::Release, WHY).unwrap());
        device.evolve(&device.say_hello(1, NOW).unwrap());
        assert_eq!((device.status, device.hello_counter), (DeviceStatus::Active, Some(1)));
    }
}
