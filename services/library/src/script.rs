//! A script that somebody ran: kept once, under its digest, for ever the same.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::OperatorId;
use borealis_bus_schema::messages::scheduler::MAX_SCRIPT_BYTES;
use borealis_bus_schema::order::{Digest, Language};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Is what is known of a digest: the fold of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The interpreters it was kept for.
    pub languages: Vec<Language>,
}

/// Asks to keep a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The script's digest.
    pub digest: Digest,
    /// The interpreter.
    pub language: Language,
    /// How long the text is.
    pub size_bytes: usize,
    /// Who wants it kept.
    pub author: OperatorId,
    /// When.
    pub at: Timestamp,
}

/// Says that a script was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptKept {
    /// The script's digest, which names its file.
    pub digest: Digest,
    /// The interpreter.
    pub language: Language,
    /// How long the text is.
    pub size_bytes: u64,
    /// Who had it kept.
    pub author: OperatorId,
    /// When.
    pub at: Timestamp,
}

/// Says why a script is not kept.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is nothing in it.
    #[error("the script is empty")]
    Empty,
    /// It is too long.
    #[error("the script has {size_bytes} bytes; at most {MAX_SCRIPT_BYTES} are kept")]
    TooLarge {
        /// How long it is.
        size_bytes: usize,
    },
}

impl Rejection {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> Code {
        match self {
            Rejection::Empty => Code::InvalidField,
            Rejection::TooLarge { .. } => Code::TooLarge,
        }
    }
}

/// Decides whether a script has to be recorded; an empty list says that it is kept already.
///
/// Errors: [`Rejection`].
pub fn decide(state: &State, keep: &Keep) -> Result<Vec<ScriptKept>, Rejection> {
    if keep.size_bytes == 0 {
        return Err(Rejection::Empty);
    }
    if keep.size_bytes > MAX_SCRIPT_BYTES {
        return Err(Rejection::TooLarge {
            size_bytes: keep.size_bytes,
        });
    }
    if state.languages.contains(&keep.language) {
        return Ok(Vec::new());
    }
    Ok(vec![ScriptKept {
        digest: keep.digest,
        language: keep.language,
        size_bytes: keep.size_bytes as u64,
        author: keep.author,
        at: keep.at,
    }])
}

/// Folds an event.
pub fn evolve(mut state: State, event: &ScriptKept) -> State {
    state.languages.push(event.language);
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(language: Language, size_bytes: usize) -> Keep {
        Keep {
            digest: Digest::of(b"x"),
            language,
            size_bytes,
            author: OperatorId::from_bytes([1; 16]),
            at: Timestamp::from_unix_ms(1),
        }
    }

    #[test]
    fn a_script_is_recorded_once_per_language() {
        let events = decide(&State::default(), &keep(Language::Sh, 1)).unwrap();
        let state = events.iter().fold(State::default(), evolve);
        assert_eq!(decide(&state, &keep(Language::Sh, 1)), Ok(vec![]));
        assert_eq!(decide(&state, &keep(Language::Python, 1)).unwrap().len(), 1);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert_eq!(decide(&State::default(), &keep(Language::Sh, 0)), Err(Rejection::Empty));
        let size_bytes = MAX_SCRIPT_BYTES + 1;
        assert_eq!(
            decide(&State::default(), &keep(Language::Sh, size_bytes)),
            Err(Rejection::TooLarge { size_bytes })
        );
    }
}
