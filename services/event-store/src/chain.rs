//! The hash chain: one per store, over every event in order.

use sha2::{Digest, Sha256};

use crate::{Position, Version};

/// The hash before the first event.
pub const GENESIS: [u8; 32] = [0; 32];

/// Gives the SHA-256 of an event's body.
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Gives the chain's hash after an event.
///
/// **Shape**: SHA-256 over `prev[32] ‖ position u64 ‖ len(stream) u16 ‖ stream ‖ version u64 ‖ len(kind) u16 ‖ kind ‖ at_ms i64 ‖ body_digest[32]`,
/// numbers big-endian. The body enters by its digest, so that it can be dropped later without breaking the chain.
pub fn chain_hash(
    prev: &[u8; 32],
    position: Position,
    stream: &str,
    version: Version,
    kind: &str,
    at_ms: i64,
    body_digest: &[u8; 32],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    hash.update(position.to_be_bytes());
    hash.update(short_len(stream).to_be_bytes());
    hash.update(stream);
    hash.update(version.to_be_bytes());
    hash.update(short_len(kind).to_be_bytes());
    hash.update(kind);
    hash.update(at_ms.to_be_bytes());
    hash.update(body_digest);
    hash.finalize().into()
}

/// Stream names and kinds are at most 80 and 64 bytes long; a longer text, which only a forged row holds, hashes apart from every real one.
fn short_len(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_field_changes_the_hash() {
        let digest = body_digest(b"body");
        let base = chain_hash(&GENESIS, 1, "job-1", 1, "JobCreated", 7, &digest);
        let others = [
            chain_hash(&[1; 32], 1, "job-1", 1, "JobCreated", 7, &digest),
            chain_hash(&GENESIS, 2, "job-1", 1, "JobCreated", 7, &digest),
            chain_hash(&GENESIS, 1, "job-2", 1, "JobCreated", 7, &digest),
            chain_hash(&GENESIS, 1, "job-1", 2, "JobCreated", 7, &digest),
            chain_hash(&GENESIS, 1, "job-1", 1, "JobCreate", 7, &digest),
            chain_hash(&GENESIS, 1, "job-1", 1, "JobCreated", 8, &digest),
            chain_hash(&GENESIS, 1, "job-1", 1, "JobCreated", 7, &body_digest(b"other")),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_exact_bytes_are_pinned() {
        // Computed apart from this code: sha256 of the bytes in the description above.
        let hash = chain_hash(
            &GENESIS,
            1,
            "job-1",
            1,
            "JobCreated",
            1_700_000_000_000,
            &body_digest(b"body"),
        );
        assert_eq!(
            hex(&hash),
            "e9ad0eec66d0017c87166e20fb1e3b53e1987c7820e317dbfe44eb64eb1af94e"
        );
    }
}
