//! The one place that draws random numbers.

/// Says that the system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct RandomError(getrandom::Error);

/// Draws that many bytes.
///
/// Errors: [`RandomError`] when the system has none; nothing is ever made up instead.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(RandomError)?;
    Ok(bytes)
}

/// Draws a number that only spreads devices; never a secret.
pub fn spread() -> u64 {
    bytes().map_or(0x9e37_79b9_7f4a_7c15, u64::from_le_bytes)
}
