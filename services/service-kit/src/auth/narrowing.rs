//! What the holder of an API token takes away from it, off-line.
//!
//! A block may say `only_right(text)`, `only_site(name)` and `only_device(guid)`, each as often as it likes: what is named
//! stays, the rest of its kind goes. Blocks are read one by one, since facts of all blocks together could widen what one of
//! them narrowed. A block whose narrowing cannot be read makes the token invalid.

use std::collections::BTreeSet;

use biscuit_auth::Biscuit;
use biscuit_auth::builder::{BlockBuilder, Fact, Term};
use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::narrowing::{DEVICE, PREFIX, RIGHT, SITE};
use borealis_bus_schema::routes::Right;

use super::{AuthError, Caller, Sites, failed, text_fact};

/// Is what a block leaves; none of a kind leaves all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// The rights.
    pub rights: Option<BTreeSet<Right>>,
    /// The sites.
    pub sites: Option<BTreeSet<SiteName>>,
    /// The devices.
    pub devices: Option<BTreeSet<Guid>>,
}

impl Narrowing {
    /// Writes it as facts.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let rights = self
            .rights
            .iter()
            .flatten()
            .map(|right| text_fact(RIGHT, right.as_str()));
        let sites = self.sites.iter().flatten().map(|site| text_fact(SITE, site.as_str()));
        let devices = self.devices.iter().flatten();
        let devices = devices.map(|guid| text_fact(DEVICE, &guid.to_string()));
        rights.chain(sites).chain(devices).collect()
    }

    fn read(facts: &[Fact]) -> Option<Self> {
        let mut narrowing = Self::default();
        for fact in facts.iter().filter(|fact| fact.predicate.name.starts_with(PREFIX)) {
            let [Term::Str(text)] = fact.predicate.terms.as_slice() else {
                return None;
            };
            match fact.predicate.name.as_str() {
                // A right of a newer version leaves none of this one's.
                RIGHT => narrowing.rights.get_or_insert_default().extend(text.parse::<Right>()),
                SITE => {
                    narrowing.sites.get_or_insert_default().insert(text.parse().ok()?);
                }
                DEVICE => {
                    narrowing.devices.get_or_insert_default().insert(text.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(narrowing)
    }

    fn apply(self, caller: &mut Caller) {
        if let Some(rights) = self.rights {
            caller.reach.retain(|right, _| rights.contains(right));
        }
        if let Some(sites) = self.sites {
            let sites = Sites::Some(sites);
            caller.reach.retain(|_, held| {
                *held = held.meet(&sites);
                !held.is_none()
            });
        }
        if let Some(devices) = self.devices {
            caller.devices = Some(match caller.devices.take() {
                Some(before) => &before & &devices,
                None => devices,
            });
        }
    }
}

/// Takes from a caller what the blocks of the biscuit take away.
///
/// Errors: [`AuthError::Biscuit`], [`AuthError::Facts`] for a narrowing that cannot be read.
pub(super) fn apply(biscuit: &Biscuit, caller: &mut Caller) -> Result<(), AuthError> {
    // A block may use the words of those before it; where nobody has brought such a word yet, nothing needs reading.
    let mut is_worded = false;
    for index in 0..biscuit.block_count() {
        let words = biscuit.block_symbols(index).map_err(failed("read"))?;
        is_worded |= words.iter().any(|word| word.starts_with(PREFIX));
        if !is_worded {
            continue;
        }
        let source = biscuit.print_block_source(index).map_err(failed("read"))?;
        let block = BlockBuilder::new().code(&source).map_err(failed("read"))?;
        // A rule could say more than its block shows.
        if block.rules.iter().any(|rule| rule.head.name.starts_with(PREFIX)) {
            return Err(AuthError::Facts);
        }
        Narrowing::read(&block.facts).ok_or(AuthError::Facts)?.apply(caller);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{RUN, World, at, site};
    use super::super::{Bounds, HOP_LIFE_MS, Need, attenuate, mint_session_within};
    use super::*;
    use biscuit_auth::UnverifiedBiscuit;
    use borealis_bus_schema::codes::Code;
    use borealis_bus_schema::subjects::Service;

    fn guid(number: u8) -> Guid {
        Guid::from_random([number; 16])
    }

    /// Appends a block, as the holder of a token does.
    fn narrowed(token: &str, block: &str) -> String {
        let block = BlockBuilder::new().code(block).unwrap();
        let token = UnverifiedBiscuit::from_base64(token).unwrap();
        token.append(block).unwrap().to_base64().unwrap()
    }

    fn caller(world: &World, token: &str) -> Caller {
        world
            .authoriser(Service::Scheduler)
            .authorise(Some(token), Need::Session, None)
            .unwrap()
    }

    #[test]
    fn a_block_takes_rights_sites_and_devices_away() {
        let world = World::new();
        let session = world.session();
        let rights = caller(&world, &narrowed(&session, "only_right(\"jobs.run\");"));
        assert_eq!(rights.rights, BTreeSet::from([Right::JobsRun]));
        let sites = caller(&world, &narrowed(&session, "only_site(\"oslo\");"));
        assert!(sites.may(Right::DevicesRead, &site("oslo")) && !sites.may(Right::DevicesRead, &site("berlin")));
        assert!(!sites.rights.contains(&Right::JobsRun), "it reached berlin only");
        let device = format!("only_device(\"{}\");", guid(4));
        let devices = caller(&world, &narrowed(&session, &device));
        assert!(devices.may_on(Right::DevicesRead, &site("oslo"), &guid(4)));
        assert!(!devices.may_on(Right::DevicesRead, &site("oslo"), &guid(5)));
        assert!(!devices.may_on_all(Right::DevicesRead));
    }

    #[test]
    fn a_narrowed_right_is_missing_and_a_narrowed_device_out_of_scope() {
        let world = World::new();
        let read = narrowed(&world.session(), "only_right(\"devices.read\");");
        assert_eq!(world.code(&read, RUN, None), Some(Code::RightMissing));
        let here = format!("only_device(\"{}\");", at("berlin").guid.unwrap());
        let (here, elsewhere) = (
            narrowed(&world.session(), &here),
            narrowed(&world.session(), &format!("only_device(\"{}\");", guid(9))),
        );
        assert_eq!(world.code(&here, RUN, Some(&at("berlin"))), None);
        assert_eq!(world.code(&elsewhere, RUN, Some(&at("berlin"))), Some(Code::OutOfScope));
    }

    #[test]
    fn a_later_block_never_widens_an_earlier_one() {
        let world = World::new();
        let mut token = narrowed(&world.session(), "only_right(\"devices.read\"); only_site(\"oslo\");");
        for block in [
            "only_right(\"jobs.run\"); only_right(\"devices.read\"); only_site(\"berlin\"); only_site(\"oslo\");",
            "right(\"*\", \"jobs.run\");",
            "only_right(\"jobs.run\");",
        ] {
            token = narrowed(&token, block);
        }
        assert!(caller(&world, &token).rights.is_empty());
        let hop = attenuate(&token, Service::Scheduler, RUN, super::super::tests::NOW, HOP_LIFE_MS).unwrap();
        assert_eq!(world.code(&hop, RUN, None), Some(Code::RightMissing));
    }

    #[test]
    fn a_narrowing_that_cannot_be_read_makes_the_token_invalid() {
        let world = World::new();
        for block in [
            "only_site(\"Not a site\");",
            "only_device(\"x\");",
            "only_right(1);",
            "only_right(\"jobs.run\", \"x\");",
            "only_weekday(\"monday\");",
            "only_site($s) <- right($s, $r);",
        ] {
            let token = narrowed(&world.session(), block);
            assert_eq!(world.code(&token, RUN, None), Some(Code::TokenInvalid), "{block}");
        }
        let newer = narrowed(&world.session(), "only_right(\"jobs.fly\");");
        assert_eq!(world.code(&newer, RUN, None), Some(Code::RightMissing));
    }

    #[test]
    fn a_token_says_that_it_is_one_and_for_which_devices() {
        let world = World::new();
        let bounds = Bounds {
            devices: Some([guid(1), guid(2)].into()),
            is_token: true,
            ..Bounds::default()
        };
        let token = mint_session_within(&world.root, &world.claims(), &bounds).unwrap();
        let found = caller(&world, &token);
        assert!(found.is_token && !caller(&world, &world.session()).is_token);
        assert_eq!(found.devices, bounds.devices);
        let one = narrowed(
            &token,
            &format!("only_device(\"{}\"); only_device(\"{}\");", guid(2), guid(3)),
        );
        assert_eq!(caller(&world, &one).devices, Some([guid(2)].into()));
    }
}
