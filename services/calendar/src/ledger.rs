//! What is due now: what ran, what was let go, and what a clock that jumped must not change.
//!
//! A [`Ledger`] is what a scheduler remembers of one schedule. [`Ledger::decide`] takes it, the schedule, a policy and an
//! instant that claims to be now, and says what to run, what is missed and what to remember. It asks no clock; whoever asks it
//! stores what it answers before acting on it.
//!
//! Two things hold whatever the clock does. **No instant runs twice**: what was decided up to the latest instant ever seen
//! stays decided. **None is swallowed by a clock that was ahead**: what was let go because the clock seemed to be late is
//! remembered as a span, and is open again as soon as the clock shows that the span had not passed.
//!
//! A clock that was set back makes nothing due before it has caught up, since all that did run. A server that was away is the
//! same as a clock that leaps forward, and stays so when it does not come back.

use borealis_bus_schema::time::Timestamp;

use crate::schedule::Schedule;

/// How many spans that were let go are remembered; of more, the oldest are let go for good.
const SPANS: usize = 256;

/// What to do with firings that are late by more than the policy's grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfire {
    /// Let them go.
    Skip,
    /// Run once for all of them, as the newest; where one is due on time, that one stands for them.
    RunOnce,
    /// Run the newest so many of them, each.
    RunAll(u32),
}

/// How late firings are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do with those that are late.
    pub misfire: Misfire,
    /// How late a firing may be and still be on time.
    pub grace_ms: i64,
    /// How late a firing may be and still run at all; `None` for however late.
    pub expires_ms: Option<i64>,
}

impl Policy {
    /// Returns the last instant that is late at one that claims to be now.
    const fn on_time(self, now: Timestamp) -> Timestamp {
        let grace_ms = if self.grace_ms > 0 { self.grace_ms } else { 0 };
        now.plus_ms(-grace_ms).plus_ms(-1)
    }
}

/// A stretch of instants: those after one, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The instant before its first.
    pub after: Timestamp,
    /// Its last.
    pub until: Timestamp,
}

impl Span {
    fn is_empty(self) -> bool {
        self.until <= self.after
    }
}

/// What is remembered of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Everything due up to here was decided, save what is open again.
    pub through: Timestamp,
    /// Spans whose firings were let go, in the order of their decisions.
    pub let_go: Vec<Span>,
    /// Spans that were let go by a clock that was ahead, sorted: their firings are to be decided again.
    pub open: Vec<Span>,
}

/// One firing that is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was due; with the schedule, it names the firing.
    pub due: Timestamp,
    /// How late it is.
    pub late_ms: i64,
}

/// Why firings did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They were late, and the policy lets them go.
    Missed,
    /// They were later than a firing of this schedule may be.
    Expired,
}

impl Reason {
    /// Returns the word by which history calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Expired => "expired",
        }
    }
}

/// Firings that were let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// Where they lie.
    pub span: Span,
    /// How many they are, exactly.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to run, the earliest first.
    pub run: Vec<Due>,
    /// What to record as not run.
    pub let_go: Vec<LetGo>,
    /// What to remember.
    pub ledger: Ledger,
}

impl Ledger {
    /// Begins with nothing decided after `from`.
    pub const fn new(from: Timestamp) -> Self {
        Self {
            through: from,
            let_go: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Decides what is due at an instant that claims to be now.
    pub fn decide(&self, schedule: &Schedule, policy: Policy, now: Timestamp) -> Decision {
        let on_time = policy.on_time(now);
        let mut ledger = self.clone();
        ledger.reopen(on_time);
        let spans = ledger.take(now);

        let mut run: Vec<Due> = Vec::new();
        let mut late = Vec::new();
        for span in spans {
            let (before, after) = split(span, on_time);
            if !before.is_empty() {
                late.push(before);
            }
            run.extend(due_in(schedule, after).map(|due| lateness(due, now)));
        }

        let (expired, missed) = match policy.expires_ms {
            Some(expires) => divide(&late, now.plus_ms(-expires.max(0)).plus_ms(-1)),
            None => (Vec::new(), late),
        };
        let most = match policy.misfire {
            Misfire::Skip => 0,
            Misfire::RunOnce => usize::from(run.is_empty()),
            Misfire::RunAll(most) => usize::try_from(most).unwrap_or(usize::MAX),
        };
        let (missed, mut caught_up) = newest(schedule, &missed, most);
        caught_up.reverse();
        run.splice(0..0, caught_up.into_iter().map(|due| lateness(due, now)));

        let mut let_go = Vec::new();
        for (spans, reason) in [(expired, Reason::Expired), (missed, Reason::Missed)] {
            for span in spans {
                let count = schedule.count_between(span.after.plus_ms(1), span.until.plus_ms(1));
                if count > 0 {
                    ledger.let_go.push(span);
                    let_go.push(LetGo { span, count, reason });
                }
            }
        }
        let surplus = ledger.let_go.len().saturating_sub(SPANS);
        ledger.let_go.drain(..surplus);
        Decision { run, let_go, ledger }
    }

    /// Repeats what a decision at an instant made of it, by what was written down of the decision.
    #[must_use]
    pub fn replay(
        &self,
        policy: Policy,
        now: Timestamp,
        let_go: impl IntoIterator<Item = Span>,
        open: Vec<Span>,
    ) -> Self {
        let mut ledger = self.clone();
        let on_time = policy.on_time(now);
        ledger.let_go.retain(|span| span.until <= on_time);
        ledger.open = open;
        ledger.through = ledger.through.max(now);
        ledger.note(let_go);
        ledger
    }

    /// Lets all that is open up to an instant pass undecided; returns what that was.
    pub fn pass(&self, policy: Policy, now: Timestamp) -> (Self, Vec<Span>) {
        let mut ledger = self.clone();
        let on_time = policy.on_time(now);
        ledger.reopen(on_time);
        let passed = ledger.take(now);
        // What is not late yet would be judged anew.
        let (late, _) = divide(&passed, on_time);
        ledger.note(late);
        (ledger, passed)
    }

    fn note(&mut self, let_go: impl IntoIterator<Item = Span>) {
        self.let_go.extend(let_go);
        let surplus = self.let_go.len().saturating_sub(SPANS);
        self.let_go.drain(..surplus);
    }

    /// Tells whether something was let go that is not late at an instant: the clock was ahead.
    pub fn was_ahead(&self, policy: Policy, now: Timestamp) -> bool {
        let on_time = policy.on_time(now);
        self.let_go.iter().any(|span| span.until > on_time)
    }

    /// Returns the next instant at which something is due, so that nobody needs to ask before.
    pub fn next_due(&self, schedule: &Schedule) -> Option<Timestamp> {
        let opened = self.open.iter().find_map(|span| due_in(schedule, *span).next());
        match (opened, schedule.next_after(self.through)) {
            (Some(opened), Some(next)) => Some(opened.min(next)),
            (opened, next) => opened.or(next),
        }
    }

    /// Opens what was let go by a clock that was ahead of this one.
    ///
    /// A span was let go because it was late, and what ends behind `on_time`, the last instant that is late now, is not: it
    /// was judged by a wrong clock, as a whole.
    fn reopen(&mut self, on_time: Timestamp) {
        let opened = self.let_go.extract_if(.., |span| span.until > on_time);
        self.open.extend(opened);
        self.open.sort_unstable_by_key(|span| span.after);
    }

    /// Takes out what has come up to now, sorted.
    fn take(&mut self, now: Timestamp) -> Vec<Span> {
        let (mut taken, open) = divide(&self.open, now);
        self.open = open;
        let fresh = Span {
            after: self.through,
            until: now,
        };
        if !fresh.is_empty() {
            taken.push(fresh);
            self.through = now;
        }
        taken
    }
}

/// Parts a span into what lies up to an instant and what lies after it.
fn split(span: Span, at: Timestamp) -> (Span, Span) {
    let at = at.clamp(span.after, span.until);
    (Span { until: at, ..span }, Span { after: at, ..span })
}

/// Parts sorted spans likewise, leaving out what is empty.
fn divide(spans: &[Span], at: Timestamp) -> (Vec<Span>, Vec<Span>) {
    let (mut before, mut after): (Vec<_>, Vec<_>) = spans.iter().map(|span| split(*span, at)).unzip();
    before.retain(|span| !span.is_empty());
    after.retain(|span| !span.is_empty());
    (before, after)
}

fn due_in(schedule: &Schedule, span: Span) -> impl Iterator<Item = Timestamp> + '_ {
    schedule.due_after(span.after).take_while(move |due| *due <= span.until)
}

/// Takes the newest firings out of sorted spans; returns what is left of the spans, and the firings, the newest first.
fn newest(schedule: &Schedule, spans: &[Span], most: usize) -> (Vec<Span>, Vec<Timestamp>) {
    let (mut left, mut found) = (spans.to_vec(), Vec::new());
    while found.len() < most
        && let Some(span) = left.pop()
    {
        if let Some(due) = schedule.previous(span.until.plus_ms(1)).filter(|due| *due > span.after) {
            found.push(due);
            left.push(Span {
                until: due.plus_ms(-1),
                ..span
            });
        }
    }
    left.retain(|span| !span.is_empty());
    (left, found)
}

const fn lateness(due: Timestamp, now: Timestamp) -> Due {
    Due {
        due,
        late_ms: now.since_ms(due),
    }
}

#[cfg(test)]
mod tests;
