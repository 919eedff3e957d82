use super::*;
use borealis_bus_schema::ids::{CorrelationId, Guid, OperatorId};
use borealis_bus_schema::time::Timestamp;

fn refusal(address: &str, code: Code) -> AuditRecord {
    AuditRecord {
        at: Timestamp::from_unix_ms(0),
        actor: Actor::anonymous(),
        session: None,
        grant: None,
        address: Some(address.to_owned()),
        via: None,
        action: "POST /api/v1/login".into(),
        verb: "login".into(),
        objects: vec!["x/y".into()],
        outcome: Outcome::Refused(code),
        correlation: CorrelationId::from_bytes([1; 16]),
        command: None,
        more: 0,
    }
}

fn kept(limiter: &mut Limiter, records: impl Iterator<Item = AuditRecord>, now_ms: i64) -> usize {
    records
        .filter(|record| limiter.admit(record, now_ms) == Admitted::Kept)
        .count()
}

#[test]
fn a_hammering_address_leaves_a_burst_then_a_trickle_and_one_count() {
    let mut limiter = Limiter::default();
    let hammer = || std::iter::repeat_with(|| refusal("192.0.2.7", Code::LoginFailed));
    assert_eq!(kept(&mut limiter, hammer().take(100_000), 0), 20);
    let counted = limiter.counted();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].more, 100_000 - 20);
    assert_eq!(counted[0].address.as_deref(), Some("192.0.2.7"));
    // An hour later there was room for one each ten seconds, but never for more than a burst.
    let trickle: usize = (1..=360)
        .map(|n| kept(&mut limiter, hammer().take(50), n * 10_000))
        .sum();
    assert_eq!(trickle, 360);
    // Nothing is counted twice.
    assert_eq!(limiter.counted().iter().map(|r| r.more).sum::<u64>(), 360 * 49);
    assert!(limiter.counted().is_empty());
}

#[test]
fn many_addresses_share_what_strangers_may_and_memory_stays_bounded() {
    let mut limiter = Limiter::default();
    let many = (0..200_000u32).map(|n| refusal(&std::net::Ipv4Addr::from(n).to_string(), Code::TokenInvalid));
    assert_eq!(kept(&mut limiter, many, 0), 200);
    assert!(limiter.buckets.len() <= MAX_SOURCES + 1, "{}", limiter.buckets.len());
    assert!(limiter.counts.len() <= MAX_COUNTS + 1, "{}", limiter.counts.len());
    let counted = limiter.counted();
    assert!(counted.len() <= MAX_TOLD + 1, "{}", counted.len());
    assert_eq!(counted.iter().map(|record| record.more).sum::<u64>(), 200_000 - 200);
    let others = counted.iter().find(|record| record.address.is_none()).unwrap();
    assert!(others.objects.is_empty(), "an object of one stands for many");
}

#[test]
fn one_subscriber_of_ipv6_is_one_source() {
    let mut limiter = Limiter::default();
    let many = (0..1_000).map(|n| refusal(&format!("2001:db8:1:2::{n:x}"), Code::LoginFailed));
    assert_eq!(kept(&mut limiter, many, 0), 20);
    assert_eq!(
        kept(
            &mut limiter,
            std::iter::once(refusal("2001:db8:1:3::1", Code::LoginFailed)),
            0
        ),
        1
    );
}

#[test]
fn strangers_do_not_use_up_what_operators_and_devices_have() {
    let mut limiter = Limiter::default();
    let many = (0..5_000u32).map(|n| refusal(&std::net::Ipv4Addr::from(n).to_string(), Code::TokenInvalid));
    kept(&mut limiter, many, 0);
    let by = AuditRecord {
        actor: Actor::operator(&OperatorId::from_bytes([7; 16]), "ada"),
        ..refusal("192.0.2.7", Code::RightMissing)
    };
    assert_eq!(kept(&mut limiter, std::iter::repeat_n(by, 101), 1), 100);
}

#[test]
fn different_outcomes_are_counted_apart() {
    let mut limiter = Limiter::default();
    kept(
        &mut limiter,
        std::iter::repeat_n(refusal("192.0.2.7", Code::LoginFailed), 20),
        0,
    );
    kept(
        &mut limiter,
        std::iter::repeat_n(refusal("192.0.2.7", Code::LoginFailed), 3),
        0,
    );
    kept(
        &mut limiter,
        std::iter::repeat_n(refusal("192.0.2.7", Code::Throttled), 5),
        0,
    );
    let counted: Vec<(Outcome, u64)> = limiter.counted().into_iter().map(|r| (r.outcome, r.more)).collect();
    assert_eq!(
        counted,
        vec![
            (Outcome::Refused(Code::Throttled), 5),
            (Outcome::Refused(Code::LoginFailed), 3)
        ]
    );
}

#[test]
fn a_fleet_that_refuses_together_fills_no_disk_and_hides_no_operator() {
    let mut limiter = Limiter::default();
    let fleet = |n: u32| AuditRecord {
        actor: Actor::device(&Guid::from_random(u128::from(n).to_be_bytes())),
        address: None,
        ..refusal("", Code::OrderExpired)
    };
    // Ten devices out of all say no ten times a second, for an hour; others say it once.
    let kept_all: usize = (0..3_600)
        .map(|second| kept(&mut limiter, (0..100).map(|n| fleet(n % 1_000)), second * 1_000))
        .sum();
    assert!(kept_all <= 1_000 + 3_600, "{kept_all}");
    let many: usize = kept(
        &mut limiter,
        (0..1_000).flat_map(|n| std::iter::repeat_n(fleet(n), 20)),
        3_600_000,
    );
    assert!(many <= 1_000, "{many}");
    let by = AuditRecord {
        actor: Actor::operator(&OperatorId::from_bytes([7; 16]), "ada"),
        ..refusal("192.0.2.7", Code::RightMissing)
    };
    assert_eq!(kept(&mut limiter, std::iter::once(by), 3_600_000), 1);
}

#[test]
fn whom_another_process_names_is_a_stranger() {
    let mut limiter = Limiter::default();
    let claimed = |n: u32| AuditRecord {
        actor: Actor::operator(&OperatorId::from_bytes(u128::from(n).to_be_bytes()), "invented"),
        address: None,
        ..refusal("", Code::RightMissing)
    };
    let kept = (0..5_000)
        .filter(|n| limiter.admit_claimed(&claimed(*n), 0) == Admitted::Kept)
        .count();
    assert_eq!(kept, 200);
}
