//! What a passkey signs: a challenge that both ends make, so that nobody between them can put another key in its place.
//!
//! An authenticator signs over the challenge that its browser hands it, and the browser over the page's origin. The server
//! gives a nonce that serves once; the challenge is a digest of that and of what the passkey is asked for: the session key
//! that a log-in binds, or session and act of a step-up. A gateway that put a session key of its own into a log-in would
//! have to find another key, or another nonce, of the same digest.
//!
//! Source: WebAuthn Level 2, sections 7.1 and 7.2.

use crate::forms::{Form, PublicKey, sha256};
use crate::ids::SessionId;

/// Is how many bytes the server's nonce has.
pub const NONCE_BYTES: usize = 32;

/// Says what a passkey is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To be made, within a session.
    Register {
        /// The session.
        session: SessionId,
        /// The session's key.
        session_key: PublicKey,
    },
    /// To begin a session.
    LogIn {
        /// The key that the session is to be bound to.
        session_key: PublicKey,
    },
    /// To stand for its owner once more, within a session.
    StepUp {
        /// The session.
        session: SessionId,
        /// The session's key.
        session_key: PublicKey,
        /// The one request that it is for, see [`OperatorCall::act`](crate::operator::OperatorCall::act); none where it is
        /// for whatever is done in the next minutes.
        act: Option<[u8; 32]>,
    },
}

impl Asked {
    /// Makes the challenge.
    ///
    /// Shape: `SHA-256` of a form: `passkey-register` over session id, session key and nonce; `passkey-login` over session
    /// key and nonce; `passkey-step-up` over session id, session key, act (no bytes where there is none) and nonce.
    pub fn challenge(&self, nonce: &[u8; NONCE_BYTES]) -> [u8; 32] {
        match self {
            Asked::Register { session, session_key } => {
                let session = session.to_string();
                sha256(&Form::PasskeyRegister.bytes(&[session.as_bytes(), session_key.as_bytes(), nonce]))
            }
            Asked::LogIn { session_key } => sha256(&Form::PasskeyLogin.bytes(&[session_key.as_bytes(), nonce])),
            Asked::StepUp {
                session,
                session_key,
                act,
            } => {
                let session = session.to_string();
                let act: &[u8] = act.as_ref().map_or(&[], |act| act.as_slice());
                sha256(&Form::PasskeyStepUp.bytes(&[session.as_bytes(), session_key.as_bytes(), act, nonce]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_purpose_key_session_act_and_nonce_has_a_challenge_of_its_own() {
        let (one, two) = (PublicKey::from_bytes([1; 32]), PublicKey::from_bytes([2; 32]));
        let (mine, thine) = (SessionId::from_bytes([3; 16]), SessionId::from_bytes([4; 16]));
        let step_up = |session, session_key, act| Asked::StepUp {
            session,
            session_key,
            act,
        };
        let asked = [
            Asked::LogIn { session_key: one },
            Asked::LogIn { session_key: two },
            Asked::Register {
                session: mine,
                session_key: one,
            },
            Asked::Register {
                session: thine,
                session_key: one,
            },
            step_up(mine, one, None),
            step_up(thine, one, None),
            step_up(mine, two, None),
            step_up(mine, one, Some([5; 32])),
            step_up(mine, one, Some([6; 32])),
        ];
        let challenges: BTreeSet<[u8; 32]> = asked
            .iter()
            .flat_map(|asked| [asked.challenge(&[7; 32]), asked.challenge(&[8; 32])])
            .collect();
        assert_eq!(challenges.len(), 2 * asked.len());
    }
}
