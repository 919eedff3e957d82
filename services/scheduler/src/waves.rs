//! Waves: which runs of a job may begin, what waits between them, and when too many failed for anything to begin: pure.
//!
//! A job's runs stand in a row; a wave is a stretch of it. The first begins with the job. A wave is over when every run that
//! began is, and none of its runs waits for a device that is there; a device that is away holds nothing up as long as another
//! of the same wave came to its end. Then comes the pause, and then the next wave.
//!
//! ```text
//! running ──► over, paused ──► running (next wave) …
//!    └────────────┴──► braked ──► continued by an operator, or cancelled
//! ```
//!
//! The brake looks at the runs of all waves so far. Whoever continues a job that it stopped lets what failed until then count
//! no more.

use borealis_bus_schema::messages::waves::{Brake, WaveSize, Waves};
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Is a job's waves for the number of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where each wave ends in the row of runs: never empty, growing.
    ends: Vec<u64>,
    pause_ms: u64,
    until_continued: bool,
    brake: Option<Brake>,
}

/// Is where a job's waves stand: the fold of their events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which wave began last, counted from 1.
    pub wave: u32,
    /// Since when it is over.
    pub over_at: Option<Timestamp>,
    /// What stopped the job, until it is continued.
    pub braked: Option<Braked>,
    /// How many failures count no more.
    pub forgiven: u64,
}

/// Says by how many failures of how many runs the brake was set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Braked {
    /// How many failed since the job was made or continued.
    pub failures: u64,
    /// On how many devices the waves were that had begun.
    pub devices: u64,
}

/// Is what happened to a job's waves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A wave is over, and another one follows.
    Over {
        /// Which, counted from 1.
        wave: u32,
        /// How many of its devices, and of those before it, were away and have their turn when they come.
        away: u64,
        /// When.
        at: Timestamp,
    },
    /// A wave began.
    Opened {
        /// Which.
        wave: u32,
        /// When.
        at: Timestamp,
    },
    /// Too many failed: nothing more begins.
    Braked {
        /// By what.
        by: Braked,
        /// When.
        at: Timestamp,
    },
    /// An operator lets it go on.
    Continued {
        /// The operator's name.
        by: String,
        /// How many failures count no more.
        forgiven: u64,
        /// When.
        at: Timestamp,
    },
}

/// Is what is known of a job's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What time it is.
    pub now: Timestamp,
    /// How many runs failed since the job was made.
    pub failures: u64,
    /// How many runs have not begun, of all waves.
    pub waiting: u64,
    /// How many runs of the newest wave are over.
    pub over: u64,
    /// How many runs of the waves so far are on their devices, or wait for a device that is there.
    pub busy: u64,
    /// How many runs of the waves so far wait for a device that is away.
    pub away: u64,
}

/// Says why a job cannot be continued.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It does not wait.
    #[error("the job does not wait to be continued")]
    NotPaused,
}

impl Plan {
    /// Lays out waves over so many devices.
    pub fn of(waves: &Waves, devices: u64) -> Self {
        let mut ends = Vec::new();
        let mut reached = 0u64;
        let mut sizes = waves.sizes.iter();
        let mut size = WaveSize::Rest;
        while reached < devices || ends.is_empty() {
            size = sizes.next().copied().unwrap_or(size);
            let length = match size {
                WaveSize::Count(count) => u64::from(count),
                WaveSize::Percent(percent) => devices.saturating_mul(u64::from(percent)).div_ceil(100),
                WaveSize::Rest => devices,
            };
            reached = reached.saturating_add(length.max(1)).min(devices);
            ends.push(reached);
        }
        Self {
            ends,
            pause_ms: waves.pause_ms,
            until_continued: waves.until_continued,
            brake: waves.brake,
        }
    }

    /// Returns how many waves there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Tells that there is no wave: never.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the wave of a run by its place in the row, counted from 1.
    pub fn wave_of(&self, index: u64) -> u32 {
        let before = self.ends.partition_point(|end| *end <= index);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Returns how many runs the waves up to one have.
    pub fn end_of(&self, wave: u32) -> u64 {
        let at = usize::try_from(wave).unwrap_or(usize::MAX);
        let end = at.checked_sub(1).and_then(|at| self.ends.get(at));
        end.or_else(|| self.ends.last().filter(|_| at > 0))
            .copied()
            .unwrap_or(0)
    }

    /// Returns the brake.
    pub const fn brake(&self) -> Option<Brake> {
        self.brake
    }

    /// Returns how long the pauses take, all together, in milliseconds.
    pub fn pauses_ms(&self) -> u64 {
        u64::from(self.len().saturating_sub(1)).saturating_mul(self.pause_ms)
    }

    /// Tells whether so many failures set off the brake, and by what.
    pub fn brakes(&self, state: &State, failures: u64) -> Option<Braked> {
        let devices = self.end_of(state.wave);
        let failures = failures.saturating_sub(state.forgiven);
        let too_many = match self.brake? {
            Brake::Failures(most) => failures > u64::from(most),
            Brake::Percent(most) => failures.saturating_mul(100) > devices.saturating_mul(u64::from(most)),
        };
        too_many.then_some(Braked { failures, devices })
    }

    /// Says why a run may not begin yet; none when it may.
    pub fn holds(&self, state: &State, index: u64, failures: u64) -> Option<String> {
        if let Some(braked) = state.braked.or_else(|| self.brakes(state, failures)) {
            return Some(braked.to_string());
        }
        let wave = self.wave_of(index);
        (wave > state.wave).then(|| {
            let waits = self.waits(state);
            format!("its wave is {wave} of {}; {waits}", self.len())
        })
    }

    /// Says what the next wave waits for.
    pub fn waits(&self, state: &State) -> String {
        let (wave, next) = (state.wave, state.wave.saturating_add(1));
        if let Some(braked) = state.braked {
            return braked.to_string();
        }
        match self.next_at(state) {
            None if state.over_at.is_none() => format!("wave {wave} is not over yet"),
            None => format!("wave {wave} is over; wave {next} begins when an operator continues the job"),
            Some(at) => format!("wave {wave} is over; wave {next} begins at {at}"),
        }
    }

    /// Tells when the clock lets the next wave begin.
    pub fn next_at(&self, state: &State) -> Option<Timestamp> {
        let over_at = state
            .over_at
            .filter(|_| !self.until_continued && state.braked.is_none())?;
        Some(over_at.plus_ms(i64::try_from(self.pause_ms).unwrap_or(i64::MAX)))
    }

    /// Tells whether nothing goes on before an operator continues the job.
    pub const fn needs_operator(&self, state: &State) -> bool {
        state.braked.is_some() || (state.over_at.is_some() && self.until_continued)
    }

    const fn is_over(facts: &Facts) -> bool {
        facts.busy == 0 && (facts.away == 0 || facts.over > 0)
    }
}

impl std::fmt::Display for Braked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { failures, devices } = self;
        write!(
            f,
            "the brake stopped the job: {failures} of {devices} failed; an operator has to continue or to cancel it"
        )
    }
}

impl State {
    /// Returns the waves of a job that was just made: the first begins with it.
    pub const fn new() -> Self {
        Self {
            wave: 1,
            over_at: None,
            braked: None,
            forgiven: 0,
        }
    }

    /// Tells whether nothing begins before an operator says so, or the clock.
    pub const fn word(&self) -> &'static str {
        match (&self.braked, &self.over_at) {
            (Some(_), _) => "braked",
            (None, Some(_)) => "paused",
            (None, None) => "running",
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Decides what happens to the waves now, by themselves; nothing when nothing does.
pub fn decide(plan: &Plan, state: &State, facts: &Facts) -> Vec<Event> {
    let at = facts.now;
    if state.braked.is_some() {
        return Vec::new();
    }
    // With nothing left that could begin there is nothing to stop.
    if facts.waiting > 0
        && let Some(by) = plan.brakes(state, facts.failures)
    {
        return vec![Event::Braked { by, at }];
    }
    if state.wave >= plan.len() {
        return Vec::new();
    }
    let next = Event::Opened {
        wave: state.wave.saturating_add(1),
        at,
    };
    match state.over_at {
        Some(_) => match plan.next_at(state) {
            Some(begins) if at >= begins => vec![next],
            _ => Vec::new(),
        },
        None if Plan::is_over(facts) => {
            let over = Event::Over {
                wave: state.wave,
                away: facts.away,
                at,
            };
            if plan.until_continued || plan.pause_ms > 0 {
                vec![over]
            } else {
                vec![over, next]
            }
        }
        None => Vec::new(),
    }
}

/// Decides what an operator's word to continue does: it lets go of the brake, and ends a pause.
///
/// Errors: [`Rejection::NotPaused`].
pub fn decide_continue(plan: &Plan, state: &State, facts: &Facts, by: &str) -> Result<Vec<Event>, Rejection> {
    let at = facts.now;
    if state.braked.is_none() && state.over_at.is_none() {
        return Err(Rejection::NotPaused);
    }
    // What is due and was not written yet comes before the operator's word, who did not know of it.
    if state.braked.is_none()
        && facts.waiting > 0
        && let Some(by) = plan.brakes(state, facts.failures)
    {
        return Ok(vec![Event::Braked { by, at }]);
    }
    let forgiven = if state.braked.is_some() {
        facts.failures
    } else {
        state.forgiven
    };
    let by = by.to_owned();
    let mut events = vec![Event::Continued { by, forgiven, at }];
    let is_over = state.over_at.is_some() || Plan::is_over(facts);
    if is_over && state.wave < plan.len() {
        events.push(Event::Opened {
            wave: state.wave.saturating_add(1),
            at,
        });
    }
    Ok(events)
}

/// Folds an event.
pub fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::Over { at, .. } => state.over_at = Some(*at),
        Event::Opened { wave, .. } => {
            state.wave = *wave;
            state.over_at = None;
        }
        Event::Braked { by, .. } => state.braked = Some(*by),
        Event::Continued { forgiven, .. } => {
            state.braked = None;
            state.forgiven = *forgiven;
        }
    }
    state
}
