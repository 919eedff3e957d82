//! How far rights go: sites, and a set of rights with the sites of each, compared and narrowed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

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
///
/// What says how many devices a job may have without a second operator's approval ([`Reach::job_limit`]) belongs to it: a
/// lower limit is less than a higher one, and none is most of all. So whoever hands on rights hands on no higher limit, and
/// whoever loses rights or has several of them is limited by the same sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    sites: BTreeMap<Right, Sites>,
    limits: JobLimits,
}

/// Is how many devices a job may have on sites; a number for each site, none where there is no limit.
///
/// Sites that the right to run jobs does not reach count for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct JobLimits {
    elsewhere: Option<u64>,
    of_site: BTreeMap<SiteName, Option<u64>>,
}

/// Orders limits: none is above every number.
fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn largest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.max(other?))
}

fn is_within(narrow: Option<u64>, wide: Option<u64>) -> bool {
    least(narrow, wide) == narrow
}

impl JobLimits {
    fn on(&self, site: &SiteName) -> Option<u64> {
        self.of_site.get(site).copied().unwrap_or(self.elsewhere)
    }

    fn new(elsewhere: Option<u64>, of_site: impl Iterator<Item = (SiteName, Option<u64>)>) -> Self {
        let of_site = of_site.filter(|(_, limit)| *limit != elsewhere).collect();
        Self { elsewhere, of_site }
    }
}

impl Deref for Reach {
    type Target = BTreeMap<Right, Sites>;
    fn deref(&self) -> &Self::Target {
        &self.sites
    }
}

impl DerefMut for Reach {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.sites
    }
}

impl From<BTreeMap<Right, Sites>> for Reach {
    fn from(sites: BTreeMap<Right, Sites>) -> Self {
        let limits = JobLimits::default();
        Self { sites, limits }
    }
}

impl<const N: usize> From<[(Right, Sites); N]> for Reach {
    fn from(pairs: [(Right, Sites); N]) -> Self {
        BTreeMap::from(pairs).into()
    }
}

impl FromIterator<(Right, Sites)> for Reach {
    fn from_iter<I: IntoIterator<Item = (Right, Sites)>>(pairs: I) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl<'r> IntoIterator for &'r Reach {
    type Item = (&'r Right, &'r Sites);
    type IntoIter = std::collections::btree_map::Iter<'r, Right, Sites>;
    fn into_iter(self) -> Self::IntoIter {
        self.sites.iter()
    }
}

impl Reach {
    /// Returns no right at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the same rights with another limit to the devices of a job, on every site that they reach.
    #[must_use]
    pub fn with_job_limit(mut self, max_devices: Option<u64>) -> Self {
        self.limits = JobLimits::new(max_devices, std::iter::empty());
        self
    }

    /// Returns the same rights without any limit to the devices of a job.
    #[must_use]
    pub fn without_job_limits(self) -> Self {
        self.with_job_limit(None)
    }

    /// Returns how many devices a job on a site may have without a second operator's approval; none where there is no limit.
    pub fn job_limit(&self, site: &SiteName) -> Option<u64> {
        self.limits.on(site)
    }

    /// Returns how many devices a job may have that is for devices of all of these sites: the strictest of their limits.
    pub fn job_limit_on<'s>(&self, sites: impl IntoIterator<Item = &'s SiteName>) -> Option<u64> {
        let limits = sites.into_iter().map(|site| self.job_limit(site));
        limits.fold(None, least)
    }

    /// Tells whether jobs are limited on any site that the right to run them reaches.
    pub fn has_job_limit(&self) -> bool {
        self.strictest_job_limit().is_some()
    }

    /// Returns the strictest limit on any site that the right to run jobs reaches.
    pub fn strictest_job_limit(&self) -> Option<u64> {
        match self.sites.get(&Right::JobsRun) {
            None => None,
            Some(Sites::All) => self.limits.of_site.values().copied().fold(self.limits.elsewhere, least),
            Some(Sites::Some(some)) => self.job_limit_on(some),
        }
    }

    /// Returns only the right to run jobs, as far as it goes.
    #[must_use]
    pub fn of_jobs(&self) -> Self {
        let sites = self.sites.get(&Right::JobsRun);
        Self {
            sites: sites.map(|sites| (Right::JobsRun, sites.clone())).into_iter().collect(),
            limits: self.limits.clone(),
        }
    }

    /// Lists the limits as pairs of a site, or `*`, and a number; the largest of those that fit a site is its limit.
    ///
    /// None where nothing is limited. A number that is none stands for a site that is not limited while others are.
    pub(super) fn limit_pairs(&self) -> Vec<(String, Option<u64>)> {
        if !self.has_job_limit() {
            return Vec::new();
        }
        let pairs = |line: RightOnSites| {
            let max_devices = line.max_devices;
            line.sites.into_iter().map(move |site| (site, max_devices))
        };
        write(&self.of_jobs()).into_iter().flat_map(pairs).collect()
    }

    /// Takes limits as [`Reach::limit_pairs`] lists them.
    ///
    /// Errors: [`AuthError::Facts`] for a site that is none.
    pub(super) fn limit_by(&mut self, pairs: &[(String, Option<u64>)]) -> Result<(), AuthError> {
        let Some(held) = self.sites.get(&Right::JobsRun).filter(|_| !pairs.is_empty()) else {
            return Ok(());
        };
        let mut limited = Reach::new();
        for (site, max_devices) in pairs {
            let mut sites = Sites::none();
            sites.add(site)?;
            let one = Reach::from([(Right::JobsRun, sites)]).with_job_limit(*max_devices);
            limited = join(&limited, &one);
        }
        // Whatever no limit is given for must not be without one.
        let covered = limited.get(&Right::JobsRun).is_some_and(|sites| sites.cover(held));
        if !covered {
            return Err(AuthError::Facts);
        }
        self.limits = limited.limits;
        Ok(())
    }
}

/// Returns every right on every site.
pub fn everything() -> Reach {
    Right::ALL.into_iter().map(|right| (right, Sites::All)).collect()
}

/// Tells whether the first holds all that the second holds, and limits the devices of jobs no more strictly.
pub fn covers(wide: &Reach, narrow: &Reach) -> bool {
    let rights = narrow
        .iter()
        .all(|(right, sites)| sites.is_none() || wide.get(right).is_some_and(|held| held.cover(sites)));
    rights && limits_cover(wide, narrow)
}

fn limits_cover(wide: &Reach, narrow: &Reach) -> bool {
    let on = |site: &SiteName| is_within(narrow.job_limit(site), wide.job_limit(site));
    match narrow.get(&Right::JobsRun) {
        None => true,
        Some(Sites::Some(some)) => some.iter().all(on),
        Some(Sites::All) => {
            let named = wide.limits.of_site.keys().chain(narrow.limits.of_site.keys());
            is_within(narrow.limits.elsewhere, wide.limits.elsewhere) && named.into_iter().all(on)
        }
    }
}

/// Returns what both hold; the stricter limit counts.
#[must_use]
pub fn meet(one: &Reach, other: &Reach) -> Reach {
    let both = |(right, sites): (&Right, &Sites)| {
        let sites = sites.meet(other.get(right)?);
        (!sites.is_none()).then_some((*right, sites))
    };
    let sites = one.iter().filter_map(both).collect();
    let named = one.limits.of_site.keys().chain(other.limits.of_site.keys());
    let limits = JobLimits::new(
        least(one.limits.elsewhere, other.limits.elsewhere),
        named.map(|site| (site.clone(), least(one.job_limit(site), other.job_limit(site)))),
    );
    Reach { sites, limits }
}

/// Returns what either holds; on each site the largest limit counts of those who may run jobs there.
#[must_use]
pub fn join(one: &Reach, other: &Reach) -> Reach {
    let limits = join_limits(one, other);
    let mut sites = one.sites.clone();
    for (right, more) in other.iter().filter(|(_, sites)| !sites.is_none()) {
        sites
            .entry(*right)
            .and_modify(|held| *held = held.join(more))
            .or_insert_with(|| more.clone());
    }
    Reach { sites, limits }
}

fn join_limits(one: &Reach, other: &Reach) -> JobLimits {
    const NOWHERE: Sites = Sites::none();
    let sites_of = |reach: &'_ Reach| reach.get(&Right::JobsRun).cloned().unwrap_or(NOWHERE);
    let (ours, theirs) = (sites_of(one), sites_of(other));
    let of_both = |held: (bool, bool), limits: (Option<u64>, Option<u64>)| match held {
        (true, true) => largest(limits.0, limits.1),
        (true, false) => limits.0,
        (false, true) => limits.1,
        (false, false) => None,
    };
    let elsewhere = of_both(
        (ours == Sites::All, theirs == Sites::All),
        (one.limits.elsewhere, other.limits.elsewhere),
    );
    let mut named: BTreeSet<&SiteName> = one.limits.of_site.keys().chain(other.limits.of_site.keys()).collect();
    for sites in [&ours, &theirs] {
        if let Sites::Some(some) = sites {
            named.extend(some);
        }
    }
    let on = |site: &SiteName| {
        of_both(
            (ours.reach(site), theirs.reach(site)),
            (one.job_limit(site), other.job_limit(site)),
        )
    };
    JobLimits::new(elsewhere, named.into_iter().map(|site| (site.clone(), on(site))))
}

/// Writes a set of rights in the form in which it travels; the right to run jobs has a line for each limit.
pub fn write(reach: &Reach) -> Vec<RightOnSites> {
    let line = |right: &Right, sites: &Sites, max_devices| RightOnSites {
        right: right.as_str().to_owned(),
        sites: sites.names(),
        max_devices,
    };
    let lines = |(right, sites): (&Right, &Sites)| {
        if *right != Right::JobsRun {
            return vec![line(right, sites, None)];
        }
        let mut by_limit: BTreeMap<Option<u64>, BTreeSet<SiteName>> = BTreeMap::new();
        let (first, named) = match sites {
            Sites::All => (
                Some(line(right, sites, reach.limits.elsewhere)),
                reach.limits.of_site.keys().collect(),
            ),
            Sites::Some(some) => (None, some.iter().collect::<Vec<_>>()),
        };
        for site in named {
            by_limit.entry(reach.job_limit(site)).or_default().insert(site.clone());
        }
        let others = by_limit
            .into_iter()
            .map(|(limit, sites)| line(right, &Sites::Some(sites), limit));
        first.into_iter().chain(others).collect()
    };
    reach.iter().flat_map(lines).collect()
}

/// Reads what [`write`] wrote; a right of a newer version is none of this one's.
///
/// Errors: [`AuthError::Facts`] for a site that is none.
pub fn read(lines: &[RightOnSites]) -> Result<Reach, AuthError> {
    let mut reach = Reach::new();
    for line in lines {
        let sites = Sites::of_names(&line.sites).ok_or(AuthError::Facts)?;
        if let Ok(right) = line.right.parse() {
            let one = Reach::from([(right, sites)]).with_job_limit(line.max_devices);
            reach = join(&reach, &one);
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

    fn any_limit() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![Just(None), (0u64..4).prop_map(Some)]
    }

    /// Is what some roles add up to, narrowed by what some others do.
    fn any_reach() -> impl Strategy<Value = Reach> {
        let rights = prop::sample::select([Right::ALL.to_vec(), vec![Right::JobsRun; Right::ALL.len()]].concat());
        let role = (prop::collection::btree_map(rights, any_sites(), 0..5), any_limit())
            .prop_map(|(rights, limit)| Reach::from(rights).with_job_limit(limit));
        let roles = (prop::collection::vec(role, 1..6), 0usize..4);
        let sum = |roles: &[Reach]| roles.iter().fold(Reach::new(), |all, role| join(&all, role));
        roles.prop_map(move |(roles, split)| match roles.split_at_checked(split) {
            Some((some, others)) if !some.is_empty() && !others.is_empty() => meet(&sum(some), &sum(others)),
            _ => sum(&roles),
        })
    }

    fn sites() -> [SiteName; 4] {
        ["berlin", "oslo", "rome", "elsewhere"].map(|name| SiteName::new(name).unwrap())
    }
    fn runs(reach: &Reach, site: &SiteName) -> bool {
        reach.get(&Right::JobsRun).is_some_and(|sites| sites.reach(site))
    }
    /// Is how large a job may be on a site; 0 beyond the right to run any, a number above all others without a limit.
    fn size(reach: &Reach, site: &SiteName) -> u64 {
        match reach.job_limit(site) {
            _ if !runs(reach, site) => 0,
            None => u64::MAX,
            Some(limit) => limit + 1,
        }
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
            let holds = |reach: &Reach, right: Right, site: &SiteName| reach.get(&right).is_some_and(|sites| sites.reach(site));
            let escapes = Right::ALL.iter().any(|right| {
                sites().iter().any(|site| holds(&other, *right, site) && !holds(&one, *right, site))
            });
            let larger = sites().iter().any(|site| size(&other, site) > size(&one, site));
            prop_assert_eq!(covers(&one, &other), !escapes && !larger);
        }

        #[test]
        fn on_each_site_the_largest_limit_counts_of_what_is_added_and_the_stricter_of_what_is_shared(
            one in any_reach(), other in any_reach(),
        ) {
            let (both, either) = (meet(&one, &other), join(&one, &other));
            for site in &sites() {
                prop_assert_eq!(size(&either, site), size(&one, site).max(size(&other, site)));
                prop_assert_eq!(size(&both, site), size(&one, site).min(size(&other, site)));
            }
        }

        #[test]
        fn limits_travel_as_pairs(reach in any_reach()) {
            let mut bare = reach.clone().without_job_limits();
            bare.limit_by(&reach.limit_pairs()).unwrap();
            prop_assert!(covers(&bare, &reach) && covers(&reach, &bare));
        }

        #[test]
        fn what_is_written_reads_back(reach in any_reach()) {
            let back = read(&write(&reach)).unwrap();
            prop_assert!(covers(&back, &reach) && covers(&reach, &back));
        }
    }

    #[test]
    fn the_strictest_site_of_a_job_counts() {
        let (berlin, oslo) = (SiteName::new("berlin").unwrap(), SiteName::new("oslo").unwrap());
        let run = |sites, limit| Reach::from([(Right::JobsRun, sites)]).with_job_limit(limit);
        let held = join(&run(some(&["berlin"]), Some(2)), &run(some(&["oslo"]), None));
        assert_eq!((held.job_limit(&berlin), held.job_limit(&oslo)), (Some(2), None));
        assert_eq!(held.job_limit_on([&oslo, &berlin]), Some(2));
        assert_eq!(held.job_limit_on([&oslo]), None);
        assert!(held.has_job_limit());
        let free = join(&held, &run(Sites::All, None));
        assert!(!free.has_job_limit() && free.limit_pairs().is_empty());
        let mut gap = run(Sites::All, None);
        assert!(
            gap.limit_by(&[("berlin".into(), Some(2))]).is_err(),
            "the rest would have none"
        );
    }

    #[test]
    fn every_site_is_more_than_all_that_are_named() {
        assert!(!some(&["berlin", "oslo"]).cover(&Sites::All));
        assert!(Sites::All.cover(&some(&["berlin"])));
        assert_eq!(Sites::of_names(&["berlin".into(), "*".into()]), Some(Sites::All));
        assert_eq!(Sites::of_names(&["not a site".into()]), None);
    }
}
