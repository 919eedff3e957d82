//! Fingerprints as short words, which people can compare by reading them aloud.

/// Is how many bytes of a fingerprint become words.
const WORD_COUNT: usize = 6;

/// Holds one word for each value of a byte; the order is part of the meaning and never changes.
#[rustfmt::skip]
const WORDS: [&str; 256] = [
    "acid", "acorn", "actor", "adobe", "agent", "alarm", "album", "alder", "amber", "anchor", "angle", "apple",
    "april", "arbor", "arena", "arrow", "aspen", "atlas", "attic", "autumn", "badge", "bagel", "baker", "bamboo",
    "banjo", "barge", "basil", "basin", "beach", "beacon", "beaver", "bench", "berry", "birch", "bison", "blade",
    "blaze", "bloom", "board", "bonus", "boot", "bottle", "branch", "brass", "bread", "brick", "bridge", "bronze",
    "brook", "brush", "bucket", "bugle", "cabin", "cable", "cactus", "camel", "candle", "canoe", "canyon", "carbon",
    "cargo", "carrot", "castle", "cedar", "cello", "chalk", "cherry", "chess", "chord", "cider", "cinema", "circle",
    "citrus", "clay", "cliff", "clock", "cloud", "clover", "coast", "cobalt", "cocoa", "comet", "copper", "coral",
    "cotton", "crane", "crater", "crayon", "creek", "crown", "cube", "curtain", "cypress", "daisy", "dance", "dawn",
    "delta", "denim", "desert", "diary", "dome", "donkey", "dragon", "drum", "dune", "eagle", "earth", "echo",
    "elbow", "elder", "ember", "emu", "engine", "equal", "fable", "falcon", "farm", "feather", "fern", "ferry",
    "fiddle", "field", "finch", "fjord", "flag", "flame", "flint", "flute", "forest", "fossil", "fox", "frost",
    "galaxy", "garden", "garlic", "gate", "geyser", "ginger", "glacier", "globe", "goose", "granite", "grape",
    "grove", "guitar", "gulf", "hammer", "harbor", "harp", "hawk", "hazel", "helmet", "heron", "hill", "honey",
    "horizon", "husky", "ice", "igloo", "indigo", "iris", "iron", "island", "ivory", "ivy", "jacket", "jaguar",
    "jasmine", "jelly", "jigsaw", "juniper", "kayak", "kernel", "kettle", "kite", "koala", "ladder", "lagoon", "lake",
    "lantern", "lark", "laurel", "lemon", "lilac", "lime", "linen", "lion", "lizard", "llama", "lotus", "lunar",
    "magnet", "mango", "maple", "marble", "meadow", "melon", "mint", "mirror", "moose", "moss", "motor", "nectar",
    "needle", "nickel", "north", "nutmeg", "oak", "oasis", "oboe", "ocean", "olive", "onion", "opal", "orbit",
    "orchid", "otter", "owl", "oyster", "paddle", "palm", "panda", "paper", "parrot", "peach", "pearl", "pebble",
    "pepper", "piano", "pigeon", "pilot", "pine", "planet", "plum", "polar", "pond", "poppy", "prism", "pumpkin",
    "quartz", "quill", "rabbit", "radish", "raven", "reef", "ribbon", "river", "robin", "rocket", "rose", "ruby",
    "saddle", "sage", "salmon", "sand", "sapphire",
];

/// Returns the first six bytes of a fingerprint as six words joined by hyphens, or an empty text for what is no hex.
///
/// The same words stand in the approval queue and in the agent's log, so that an operator sees that both mean one key.
pub fn words(fingerprint: &str) -> String {
    let bytes = hex::decode(fingerprint).unwrap_or_default();
    let words = bytes
        .iter()
        .take(WORD_COUNT)
        .filter_map(|byte| WORDS.get(usize::from(*byte)));
    words.copied().collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_fingerprint_begins_with_its_words() {
        assert_eq!(words("000102fdfeff0099"), "acid-acorn-actor-salmon-sand-sapphire");
        assert_eq!(words("not hex"), "");
    }

    #[test]
    fn every_word_is_another_and_lower_case() {
        assert_eq!(WORDS.iter().collect::<BTreeSet<_>>().len(), WORDS.len());
        assert!(
            WORDS
                .iter()
                .all(|word| word.len() <= 8 && word.bytes().all(|b| b.is_ascii_lowercase()))
        );
    }
}
