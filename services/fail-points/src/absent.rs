//! No fail points: nothing is left of them in the program.

/// Tells whether this process may be ended at a point.
#[inline(always)]
pub const fn is_on() -> bool {
    false
}

/// Opens the file, before the process shuts itself off from it.
#[inline(always)]
pub const fn open() {}

/// Says that the process is at a point.
#[inline(always)]
pub const fn reached(_point: &'static str) {}

/// Waits for an answer, and reaches a point once the question has left.
#[inline(always)]
pub async fn under_way<T>(_point: &'static str, answer: impl Future<Output = T>, _left: impl Future) -> T {
    answer.await
}
