//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use borealis_bus_schema::causes::Chain;

/// Is how long a test waits for what must happen soon; a loaded machine is slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Says what a test's surroundings could not do.
#[derive(Debug)]
pub struct TestError(pub String);

impl std::fmt::Display for TestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for TestError {}

impl TestError {
    /// Makes the error of something that failed, with its causes.
    pub fn of(what: &str, error: &dyn std::error::Error) -> Self {
        Self(format!("{what}: {}", Chain(error)))
    }
}

/// Asks again and again until there is an answer, for at most [`DEADLINE`].
///
/// Errors: the deadline passed; names what was waited for.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> Result<T, TestError> {
    eventually_within(what, DEADLINE, ask).await
}

/// Asks again and again until there is an answer, for at most the given time.
///
/// Errors: the deadline passed; names what was waited for.
pub async fn eventually_within<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TestError> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if began.elapsed() > within {
            return Err(TestError(format!("waited {within:?} in vain for: {what}")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
