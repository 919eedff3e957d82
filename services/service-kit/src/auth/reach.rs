//! How far rights go: sites, and a set of rights with the sites of each, compared and narrowed.

use std::collections::{BTreeMap, BTreeSet};

use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::access::RightOnSites;
use borealis_bus_schema::routes::Right;

use super::AuthError;

/// Says which sites a right reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sites {
    /// Every site, also those to come.
    All,
    /// Just these.
    Some(BTreeSet<SiteName>),
}

impl Sites {
    /// Tells whether a site is among them.
    pub fn reach(&self, site: &SiteName) -> bool {
        match self {
            Sites::All => true,
            Sites::Some(some) => some.contains(site),
        }
    }

    /// Returns the names for people and programs; `*` stands for all.
    pub fn names(&self) -> Vec<String> {
        match self {
            Sites::All => vec!["*".to_owned()],
            Sites::Some(some) => some.iter().map(ToString::to_string).collect(),
        }
    }

    /// Reads names as [`Sites::names`] writes them.
    pub fn of_names(names: &[String]) -> Option<Self> {
        let mut sites = Self::none();
        for name in names {
            sites.add(name).ok()?;
        }
        Some(sites)
    }

    /// Tells whether every one of the others is among them.
    pub fn cover(&self, others: &Self) -> bool {
        match (self, others) {
            (Sites::All, _) => true,
            (Sites::Some(_), Sites::All) => false,
            (Sites::Some(ours), Sites::Some(theirs)) => theirs.is_subset(ours),
        }
    }

    /// Returns those that are among both.
    #[must_use]
    pub fn meet(&self, others: &Self) -> Self {
        match (self, others) {
            (Sites::All, other) | (other, Sites::All) => other.clone(),
            (Sites::Some(ours), Sites::Some(theirs)) => Sites::Some(ours & theirs),
        }
    }

    /// Returns those that are among either.
    #[must_use]
    pub fn join(&self, others: &Self) -> Self {
        match (self, others) {
            (Sites::All, _) | (_, Sites::All) => Sites::All,
            (Sites::Some(ours), Sites::Some(theirs)) => Sites::Some(ours | theirs),
        }
    }

    /// Tells whether there is none among them.
    pub fn is_none(&self) -> bool {
        matches!(self, Sites::Some(some) if some.is_empty())
    }

    pub(super) fn add(&mut self, site: &str) -> Result<(), AuthError> {
        match (site, &mut *self) {
            ("*", _) => *self = Sites::All,
            (_, Sites::All) => {}
            (name, Sites::Some(some)) => {
                some.insert(SiteName::new(name).map_err(|_| AuthError::Facts)?);
            }
        }
        Ok(())
    }

    /// Returns no site at all.
    pub const fn none() -> Self {
        Sites::Some(BTreeSet::new())
    }
}

/// Is a set of rights with the sites that each reaches; a right that reaches no site is not in it.
pub type Reach = BTreeMap<Right, Sites>;

/// Returns every right on every site.
pub fn everything() -> Reach {
    Right::ALL.into_iter().map(|right| (right, Sites::All)).collect()
}

/// Tells whether the first holds all that the second holds.
pub fn covers(wide: &Reach, narrow: &Reach) -> bool {
    narrow
        .iter()
        .all(|(right, sites)| sites.is_none() || wide.get(right).is_some_and(|held| held.cover(sites)))
}

/// Returns what both hold.
#[must_use]
pub fn meet(one: &Reach, other: &Reach) -> Reach {
    let both = |(right, sites): (&Right, &Sites)| {
        let sites = sites.meet(other.get(right)?);
        (!sites.is_none()).then_some((*right, sites))
    };
    one.iter().filter_map(both).collect()
}

/// Returns what either holds.
#[must_use]
pub fn join(one: &Reach, other: &Reach) -> Reach {
    let mut all = one.clone();
    for (right, sites) in other.iter().filter(|(_, sites)| !sites.is_none()) {
        all.entry(*right)
            .and_modify(|held| *held = held.join(sites))
            .or_insert_with(|| sites.clone());
    }
    all
}

/// Writes a set of rights in the form in which it travels.
pub fn write(reach: &Reach) -> Vec<RightOnSites> {
    let line = |(right, sites): (&Right, &Sites)| RightOnSites {
        right: right.as_str().to_owned(),
        sites: sites.names(),
    };
    reach.iter().map(line).collect()
}

/// Reads what [`write`] wrote; a right of a newer version is none of this one's.
///
/// Errors: [`AuthError::Facts`] for a site that is none.
pub fn read(lines: &[RightOnSites]) -> Result<Reach, AuthError> {
    let mut reach = Reach::new();
    for line in lines {
        let sites = Sites::of_names(&line.sites).ok_or(AuthError::Facts)?;
        if let Ok(right) = line.right.parse() {
            reach = join(&reach, &Reach::from([(right, sites)]));
        }
    }
    Ok(reach)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(names: &[&str]) -> Sites {
        Sites::Some(names.iter().map(|name| SiteName::new(name).unwrap()).collect())
    }

    fn any_sites() -> impl Strategy<Value = Sites> {
        prop_oneof![
            1 => Just(Sites::All),
            4 => prop::collection::btree_set(prop::sample::select(vec!["berlin", "oslo", "rome"]), 0..3)
                .prop_map(|names| some(&names.into_iter().collect::<Vec<_>>())),
        ]
    }

    fn any_reach() -> impl Strategy<Value = Reach> {
        prop::collection::btree_map(prop::sample::select(Right::ALL.to_vec()), any_sites(), 0..5)
    }

    proptest! {
        #[test]
        fn what_both_hold_is_covered_by_each_and_what_either_holds_covers_each(one in any_reach(), other in any_reach()) {
            let (both, either) = (meet(&one, &other), join(&one, &other));
            prop_assert!(covers(&one, &both) && covers(&other, &both));
            prop_assert!(covers(&either, &one) && covers(&either, &other));
            prop_assert_eq!(meet(&one, &other), meet(&other, &one));
            prop_assert!(covers(&everything(), &either));
        }

        #[test]
        fn covering_means_that_no_site_is_reached_that_the_other_does_not(one in any_reach(), other in any_reach()) {
            let sites = ["berlin", "oslo", "rome", "elsewhere"].map(|name| SiteName::new(name).unwrap());
            let holds = |reach: &Reach, right, site| reach.get(&right).is_some_and(|sites| sites.reach(site));
            let escapes = Right::ALL.iter().any(|right| {
                sites.iter().any(|site| holds(&other, *right, site) && !holds(&one, *right, site))
            });
            prop_assert_eq!(covers(&one, &other), !escapes);
        }

        #[test]
        fn what_is_written_reads_back(reach in any_reach()) {
            let kept: Reach = reach.into_iter().filter(|(_, sites)| !sites.is_none()).collect();
            prop_assert_eq!(read(&write(&kept)).unwrap(), kept);
        }
    }

    #[test]
    fn every_site_is_more_than_all_that_are_named() {
        assert!(!some(&["berlin", "oslo"]).cover(&Sites::All));
        assert!(Sites::All.cover(&some(&["berlin"])));
        assert_eq!(Sites::of_names(&["berlin".into(), "*".into()]), Some(Sites::All));
        assert_eq!(Sites::of_names(&["not a site".into()]), None);
    }
}
