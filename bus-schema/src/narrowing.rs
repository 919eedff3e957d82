//! The words with which whoever holds a token takes away from it: facts in a block of the biscuit.
//!
//! What is named stays, the rest of its kind goes.

/// Begins the name of each.
pub const PREFIX: &str = "only_";
/// Names a right that stays, by its text.
pub const RIGHT: &str = "only_right";
/// Names a site that stays.
pub const SITE: &str = "only_site";
/// Names a device that stays, by its GUID.
pub const DEVICE: &str = "only_device";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_known_by_its_beginning() {
        assert!([RIGHT, SITE, DEVICE].iter().all(|word| word.starts_with(PREFIX)));
    }
}
