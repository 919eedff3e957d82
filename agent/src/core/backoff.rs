//! Pauses between attempts: doubling, bounded, with jitter.

/// Draws numbers for jitter from a seed; good enough to spread devices, for nothing else.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Draws a number below `bound`.
    ///
    /// Source: Marsaglia, Xorshift RNGs (2003).
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { self.0 % bound }
    }
}

/// Counts failed attempts and says how long to pause.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first_ms: u64,
    longest_ms: u64,
    attempts: u32,
}

impl Backoff {
    /// Makes a backoff from the first and the longest pause.
    pub const fn new(first_ms: u64, longest_ms: u64) -> Self {
        Self {
            first_ms,
            longest_ms,
            attempts: 0,
        }
    }

    /// Returns the next pause: between half and all of the doubled one.
    pub const fn next_ms(&mut self, jitter: &mut Jitter) -> u64 {
        let shift = if self.attempts < 20 { self.attempts } else { 20 };
        self.attempts = self.attempts.saturating_add(1);
        let full = self.first_ms.saturating_mul(1 << shift);
        let full = if full < self.longest_ms { full } else { self.longest_ms };
        full / 2 + jitter.below(full / 2 + 1)
    }

    /// Begins anew after a success.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_failures_then_pauses_double_up_to_the_longest() {
        let (mut backoff, mut jitter) = (Backoff::new(100, 1_000), Jitter::new(7));
        let pauses: Vec<u64> = (0..40).map(|_| backoff.next_ms(&mut jitter)).collect();
        assert!((50..=100).contains(&pauses[0]) && (100..=200).contains(&pauses[1]));
        assert!(
            pauses[4..].iter().all(|pause| (500..=1_000).contains(pause)),
            "{pauses:?}"
        );
        backoff.reset();
        assert!(backoff.next_ms(&mut jitter) <= 100);
    }
}
