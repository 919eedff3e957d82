//! The home of randomness: ids, nonces and keys are drawn here and handed to pure code as facts.

use borealis_bus_schema::ids;
use ed25519_dalek::SigningKey;

/// Draws bytes from the system's source.
///
/// Without randomness no id and no key is worth anything, so a system that refuses it ends the process (exit code 70).
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    if let Err(error) = getrandom::fill(&mut out) {
        tracing::error!(%error, "the system gives no random bytes, the process ends");
        std::process::exit(70);
    }
    out
}

/// Draws a number from 0 up to, but not including, a bound; 0 when the bound is 0.
pub fn below(bound: u64) -> u64 {
    u64::from_be_bytes(bytes()).checked_rem(bound).unwrap_or(0)
}

/// Draws a new Ed25519 key.
pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&zeroize::Zeroizing::new(bytes()))
}

/// Is what can be drawn at random: the ids of the bus.
pub trait RandomId {
    /// Makes the id of 16 random bytes.
    fn of(random: [u8; 16]) -> Self;
}

macro_rules! random_ids {
    ($($name:ident)+) => {$(
        impl RandomId for ids::$name {
            fn of(random: [u8; 16]) -> Self { Self::from_bytes(random) }
        }
    )+};
}
random_ids!(MessageId CorrelationId CommandId OperatorId SessionId GrantId CodeId ApprovalId JobId RunId OrderId DeploymentId);

impl RandomId for ids::Guid {
    fn of(random: [u8; 16]) -> Self {
        Self::from_random(random)
    }
}

/// Draws a new id, such as `random::id::<JobId>()`.
pub fn id<T: RandomId>() -> T {
    T::of(bytes())
}
