use super::mint::finish;
use super::*;
use crate::clock::ManualClock;
use biscuit_auth::UnverifiedBiscuit;
use biscuit_auth::builder::BlockBuilder;
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{GrantId, Guid, OperatorId, SessionId, SiteName};
use borealis_bus_schema::messages::shared_events::{OperatorDisabled, OperatorEnabled, OperatorRightsChanged};
use borealis_bus_schema::routes::Right;
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;

pub(super) const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

pub(super) struct World {
    pub(super) root: BiscuitRoot,
    clock: Arc<ManualClock>,
    revoked: Arc<RevocationSet>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            root: BiscuitRoot::new(&SigningKey::from_bytes(&[5; 32])).unwrap(),
            clock: Arc::new(ManualClock::at(NOW)),
            revoked: Arc::new(RevocationSet::new()),
        }
    }

    pub(super) fn claims(&self) -> SessionClaims {
        let berlin = Sites::Some(BTreeSet::from([site("berlin")]));
        SessionClaims {
            operator: OperatorId::from_bytes([1; 16]),
            username: "ada".into(),
            session: SessionId::from_bytes([2; 16]),
            session_key: PublicKey::of(&SigningKey::from_bytes(&[6; 32])),
            rights: Reach::from([(Right::DevicesRead, Sites::All), (Right::JobsRun, berlin)]),
            expires_at: NOW.plus_ms(3_600_000),
        }
    }

    pub(super) fn session(&self) -> String {
        mint_session(&self.root, &self.claims()).unwrap()
    }

    fn grant(&self) -> String {
        mint_grant(&self.root, &self.claims(), GrantId::from_bytes([3; 16]), &[9; 32]).unwrap()
    }

    pub(super) fn authoriser(&self, service: Service) -> Authoriser {
        let (revoked, clock) = (Arc::clone(&self.revoked), Arc::clone(&self.clock));
        Authoriser::new(self.root.public().unwrap(), service, revoked, clock).unwrap()
    }

    pub(super) fn code(&self, token: &str, need: Need, resource: Option<&Resource>) -> Option<Code> {
        let decided = self
            .authoriser(Service::Scheduler)
            .authorise(Some(token), need, resource);
        decided.err().map(|error| error.code)
    }
}

pub(super) fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

pub(super) fn at(name: &str) -> Resource {
    Resource {
        guid: Some(Guid::from_random([4; 16])),
        site: site(name),
    }
}

pub(super) const RUN: Need = Need::Right(Right::JobsRun);

#[test]
fn a_session_says_who_may_do_what_where() {
    let world = World::new();
    let caller = world
        .authoriser(Service::Scheduler)
        .authorise(Some(&world.session()), RUN, None)
        .unwrap();
    assert_eq!((caller.username.as_str(), caller.grant), ("ada", None));
    assert_eq!(caller.rights, BTreeSet::from([Right::DevicesRead, Right::JobsRun]));
    assert_eq!(caller.sites.names(), ["berlin"]);
    assert_eq!(caller.expires_at, NOW.plus_ms(3_600_000));
    assert!(caller.may(Right::JobsRun, &site("berlin")) && !caller.may(Right::JobsRun, &site("oslo")));
    assert!(caller.may(Right::DevicesRead, &site("oslo")) && !caller.may(Right::JobsCancel, &site("berlin")));
}

#[test]
fn what_is_allowed_passes_at_every_service() {
    let world = World::new();
    for service in Service::ALL {
        let authoriser = world.authoriser(service);
        let token = attenuate(&world.session(), service, RUN, NOW, HOP_LIFE_MS).unwrap();
        for resource in [None, Some(&at("berlin"))] {
            authoriser.authorise(Some(&token), RUN, resource).unwrap();
        }
        let token = attenuate(&world.session(), service, Need::Session, NOW, HOP_LIFE_MS).unwrap();
        authoriser.authorise(Some(&token), Need::Session, None).unwrap();
    }
}

#[test]
fn no_token_is_missing_and_rubbish_is_invalid() {
    let world = World::new();
    let none = world
        .authoriser(Service::Access)
        .authorise(None, RUN, None)
        .unwrap_err();
    assert_eq!(none.code, Code::TokenMissing);
    let other = BiscuitRoot::new(&SigningKey::from_bytes(&[7; 32])).unwrap();
    let stranger = mint_session(&other, &world.claims()).unwrap();
    for token in [
        "",
        "rubbish",
        &"A".repeat(10_000),
        &"A".repeat(MAX_TOKEN_BYTES + 1),
        &stranger,
    ] {
        assert_eq!(world.code(token, RUN, None), Some(Code::TokenInvalid));
    }
}

#[test]
fn a_changed_byte_is_invalid() {
    let (world, token) = (World::new(), World::new().session());
    let mut bytes = token.into_bytes();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    let token = String::from_utf8(bytes).unwrap();
    assert_eq!(world.code(&token, RUN, None), Some(Code::TokenInvalid));
}

#[test]
fn a_token_of_another_shape_is_invalid() {
    let world = World::new();
    let builder = Biscuit::builder()
        .fact(fact("right", &[string("*"), string("jobs.run")]))
        .unwrap();
    let token = finish(&world.root, builder).unwrap();
    assert_eq!(world.code(&token, RUN, None), Some(Code::TokenInvalid));
}

#[test]
fn a_hop_ends_after_thirty_seconds_and_a_session_at_its_end() {
    let world = World::new();
    let hop = attenuate(&world.session(), Service::Scheduler, RUN, NOW, HOP_LIFE_MS).unwrap();
    world.clock.set(NOW.plus_ms(29_000));
    assert_eq!(world.code(&hop, RUN, None), None);
    world.clock.set(NOW.plus_ms(31_000));
    assert_eq!(world.code(&hop, RUN, None), Some(Code::TokenExpired));
    assert_eq!(world.code(&world.session(), RUN, None), None);
    world.clock.set(NOW.plus_ms(3_600_000));
    assert_eq!(world.code(&world.session(), RUN, None), Some(Code::TokenExpired));
}

#[test]
fn a_narrowed_token_serves_nothing_else() {
    let world = World::new();
    let elsewhere = attenuate(&world.session(), Service::Inventory, RUN, NOW, HOP_LIFE_MS).unwrap();
    assert_eq!(world.code(&elsewhere, RUN, None), Some(Code::WrongService));
    let read = Need::Right(Right::DevicesRead);
    let other = attenuate(&world.session(), Service::Scheduler, read, NOW, HOP_LIFE_MS).unwrap();
    assert_eq!(world.code(&other, RUN, None), Some(Code::WrongAction));
    assert_eq!(world.code(&other, read, None), None);
}

#[test]
fn a_right_that_is_missing_differs_from_one_that_does_not_reach() {
    let world = World::new();
    let (token, cancel) = (world.session(), Need::Right(Right::JobsCancel));
    assert_eq!(world.code(&token, cancel, None), Some(Code::RightMissing));
    assert_eq!(
        world.code(&token, cancel, Some(&at("berlin"))),
        Some(Code::RightMissing)
    );
    assert_eq!(world.code(&token, RUN, Some(&at("berlin"))), None);
    assert_eq!(world.code(&token, RUN, Some(&at("oslo"))), Some(Code::OutOfScope));
    let read = Need::Right(Right::DevicesRead);
    assert_eq!(world.code(&token, read, Some(&at("oslo"))), None);
}

#[test]
fn whoever_holds_a_token_can_narrow_it_but_not_widen_it() {
    let world = World::new();
    let append = |block: BlockBuilder| {
        let token = UnverifiedBiscuit::from_base64(world.session()).unwrap();
        token.append(block).unwrap().to_base64().unwrap()
    };
    let more = append(
        BlockBuilder::new()
            .fact(fact("right", &[string("*"), string("jobs.cancel")]))
            .unwrap(),
    );
    assert_eq!(
        world.code(&more, Need::Right(Right::JobsCancel), None),
        Some(Code::RightMissing)
    );
    let other_key = append(BlockBuilder::new().fact(text_fact("session_key", "x")).unwrap());
    let caller = world
        .authoriser(Service::Scheduler)
        .authorise(Some(&other_key), RUN, None)
        .unwrap();
    assert_eq!(caller.session_key, world.claims().session_key);
    let one = append(BlockBuilder::new().check("check if resource(\"other\", $s)").unwrap());
    assert_eq!(world.code(&one, RUN, Some(&at("berlin"))), Some(Code::OutOfScope));
}

#[test]
fn what_was_revoked_is_over() {
    let world = World::new();
    let (session, grant) = (world.session(), world.grant());
    world.revoked.end_session(SessionId::from_bytes([2; 16]));
    assert_eq!(world.code(&session, RUN, None), Some(Code::TokenRevoked));
    assert_eq!(world.code(&grant, RUN, None), None, "a grant survives the log-out");
    world.revoked.revoke_grant(GrantId::from_bytes([3; 16]));
    assert_eq!(world.code(&grant, RUN, None), Some(Code::TokenRevoked));
    let world = World::new();
    world.revoked.disable_operator(OperatorId::from_bytes([1; 16]));
    assert_eq!(world.code(&session, RUN, None), Some(Code::TokenRevoked));
    assert_eq!(world.code(&grant, RUN, None), Some(Code::TokenRevoked));
}

#[test]
fn a_grant_names_what_it_covers() {
    let world = World::new();
    let caller = world
        .authoriser(Service::Signing)
        .authorise(Some(&world.grant()), RUN, Some(&at("berlin")))
        .unwrap();
    assert_eq!(caller.grant, Some(GrantId::from_bytes([3; 16])));
    assert_eq!(caller.call_digest, Some([9; 32]));
    assert_eq!(caller.operator, OperatorId::from_bytes([1; 16]));
}

#[test]
fn a_grant_opens_no_session_routes() {
    let world = World::new();
    let session = world
        .authoriser(Service::Access)
        .authorise(Some(&world.session()), Need::Session, None);
    assert!(session.is_ok());
    let caller = world
        .authoriser(Service::Access)
        .authorise(Some(&world.grant()), RUN, None)
        .unwrap();
    assert!(caller.grant.is_some(), "the request loop refuses it by this");
}

#[test]
fn an_old_word_from_access_decides_nothing() {
    let world = World::new();
    let fresh = Freshness::new(world.clock.clone());
    let authoriser = world.authoriser(Service::Scheduler).with_freshness(fresh.clone());
    let code = || {
        authoriser
            .authorise(Some(&world.session()), RUN, None)
            .err()
            .map(|e| e.code)
    };
    assert_eq!(code(), Some(Code::Stale));
    fresh.note(NOW.unix_ms());
    assert_eq!(code(), None);
    world.clock.advance_ms(STALE_AFTER_MS + 1);
    assert_eq!(code(), Some(Code::Stale));
}

#[test]
fn a_token_narrowed_for_the_asker_serves_where_the_asker_asks() {
    let world = World::new();
    let token = attenuate(&world.session(), Service::Scheduler, RUN, NOW, HOP_LIFE_MS).unwrap();
    let access = world.authoriser(Service::Access);
    assert_eq!(
        access.authorise(Some(&token), RUN, None).unwrap_err().code,
        Code::WrongService
    );
    let question = Question {
        need: RUN,
        resource: None,
        via: &[Service::Scheduler],
    };
    access.decide(Some(&token), question).unwrap();
    let next = attenuate(&token, Service::Access, RUN, NOW, HOP_LIFE_MS).unwrap();
    access.decide(Some(&next), question).unwrap();
    let other = attenuate(&token, Service::Library, RUN, NOW, HOP_LIFE_MS).unwrap();
    assert_eq!(
        access.decide(Some(&other), question).unwrap_err().code,
        Code::WrongService
    );
}

#[test]
fn many_sites_fit() {
    let world = World::new();
    let sites = (0..40).map(|n| site(&format!("site-{n}"))).collect();
    let claims = SessionClaims {
        rights: Reach::from([(Right::JobsRun, Sites::Some(sites))]),
        ..world.claims()
    };
    let token = mint_session(&world.root, &claims).unwrap();
    assert_eq!(world.code(&token, RUN, Some(&at("site-39"))), None);
    assert_eq!(world.code(&token, RUN, Some(&at("berlin"))), Some(Code::OutOfScope));
}

/// Tells the services that ada's rights are others from an epoch on.
fn change_rights(world: &World, epoch: u64, rights: &[(Right, Sites)]) {
    let changed = OperatorRightsChanged {
        operator: world.claims().operator,
        epoch,
        rights: reach::write(&rights.iter().cloned().collect()),
        at: NOW,
    };
    let body = codec::encode(&changed).unwrap();
    world.revoked.apply("OperatorRightsChanged", &body).unwrap();
}

#[test]
fn a_right_that_was_taken_away_is_gone_from_session_and_grant_at_once() {
    let world = World::new();
    assert_eq!(world.code(&world.session(), RUN, None), None);
    change_rights(&world, 1, &[(Right::DevicesRead, Sites::All)]);
    assert_eq!(world.code(&world.session(), RUN, None), Some(Code::RightMissing));
    assert_eq!(world.code(&world.grant(), RUN, None), Some(Code::NoLongerPermitted));
    let read = Need::Right(Right::DevicesRead);
    assert_eq!(world.code(&world.session(), read, None), None);
    // Given back, it comes with what is minted from then on.
    change_rights(&world, 2, &[(Right::JobsRun, Sites::All)]);
    assert_eq!(world.code(&world.session(), RUN, None), Some(Code::RightMissing));
    let fresh = mint_session_within(&world.root, &world.claims(), &in_epoch(2)).unwrap();
    assert_eq!(world.code(&fresh, RUN, None), None);
}

#[test]
fn a_site_that_was_taken_away_is_out_of_scope() {
    let world = World::new();
    let oslo = Sites::Some(BTreeSet::from([site("oslo")]));
    let both = Sites::Some(BTreeSet::from([site("oslo"), site("berlin")]));
    let claims = SessionClaims {
        rights: Reach::from([(Right::JobsRun, both)]),
        ..world.claims()
    };
    let token = mint_session(&world.root, &claims).unwrap();
    change_rights(&world, 1, &[(Right::JobsRun, oslo)]);
    let authoriser = world.authoriser(Service::Scheduler);
    let caller = authoriser.authorise(Some(&token), RUN, None).unwrap();
    assert_eq!(caller.sites.names(), ["oslo"]);
    assert!(caller.may(Right::JobsRun, &site("oslo")) && !caller.may(Right::JobsRun, &site("berlin")));
    assert_eq!(world.code(&token, RUN, Some(&at("oslo"))), None);
    assert_eq!(world.code(&token, RUN, Some(&at("berlin"))), Some(Code::OutOfScope));
}

#[test]
fn what_was_minted_before_the_operator_was_disabled_is_over_for_good() {
    let world = World::new();
    let operator = world.claims().operator;
    let disabled = OperatorDisabled {
        operator,
        reason: "left".into(),
        at: NOW,
    };
    let body = codec::encode(&disabled).unwrap();
    world.revoked.apply("OperatorDisabled", &body).unwrap();
    let tokens = [world.session(), world.grant()];
    for token in &tokens {
        assert_eq!(world.code(token, RUN, None), Some(Code::TokenRevoked));
    }
    let enabled = OperatorEnabled {
        operator,
        epoch: 1,
        at: NOW,
    };
    let body = codec::encode(&enabled).unwrap();
    world.revoked.apply("OperatorEnabled", &body).unwrap();
    for token in &tokens {
        assert_eq!(world.code(token, RUN, None), Some(Code::TokenRevoked));
    }
    let fresh = mint_session_within(&world.root, &world.claims(), &in_epoch(1)).unwrap();
    assert_eq!(world.code(&fresh, RUN, None), None);
}

fn in_epoch(epoch: u64) -> Bounds {
    Bounds {
        epoch,
        ..Bounds::default()
    }
}

#[test]
fn a_limit_to_the_devices_of_jobs_travels_and_only_shrinks() {
    let world = World::new();
    let mut claims = world.claims();
    claims.rights = claims.rights.with_job_limit(Some(2));
    let token = mint_session(&world.root, &claims).unwrap();
    let caller = |token: &str| {
        let authoriser = world.authoriser(Service::Scheduler);
        authoriser.authorise(Some(token), RUN, None).unwrap()
    };
    assert_eq!(caller(&token).reach.job_limit(&site("berlin")), Some(2));
    assert_eq!(caller(&world.session()).reach.job_limit(&site("berlin")), None);
    // Whoever narrows a token cannot take the limit away by a block of his own.
    let wider = biscuit_auth::builder::BlockBuilder::new()
        .code("max_devices(\"berlin\", 99)")
        .unwrap();
    let wider = UnverifiedBiscuit::from_base64(&token).unwrap().append(wider).unwrap();
    assert_eq!(
        caller(&wider.to_base64().unwrap()).reach.job_limit(&site("berlin")),
        Some(2)
    );
    // A role that was given a limit since limits what was minted before.
    let lowered = OperatorRightsChanged {
        operator: world.claims().operator,
        epoch: 1,
        rights: reach::write(&world.claims().rights.with_job_limit(Some(1))),
        at: NOW,
    };
    let lowered = codec::encode(&lowered).unwrap();
    world.revoked.apply("OperatorRightsChanged", &lowered).unwrap();
    assert_eq!(caller(&token).reach.job_limit(&site("berlin")), Some(1));
}
