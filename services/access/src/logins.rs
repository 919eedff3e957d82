//! Log-ins between their steps: few, short, and each good for one try; of a second factor's code for a few.

use std::collections::BTreeMap;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::passkey::{Asked, NONCE_BYTES};
use borealis_bus_schema::time::Timestamp;

use crate::opaque::{Pending, SessionSecret};
use crate::throttle::{Attempt, Throttle};

/// Is how long the second step may take, in milliseconds: stretching a password takes seconds on a slow machine.
const LIFE_MS: i64 = 60_000;

/// Is how many log-ins may be between their steps.
const MAX_PENDING: usize = 2_048;

/// Is how long the code of the second factor may take, in milliseconds: a phone has to be found.
const CODE_LIFE_MS: i64 = 5 * 60_000;

/// Is how many codes may be tried before the password has to be proved again.
const CODE_TRIES: u8 = 5;

/// Is how long an authenticator may take, in milliseconds: its owner has to find it, and to be recognised.
const CEREMONY_LIFE_MS: i64 = 5 * 60_000;

/// Is how many answers of an authenticator may be awaited in one session.
const CEREMONIES_OF_SESSION: usize = 8;

/// Says what a password is proved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session is to be begun.
    LogIn,
    /// Whoever has this session sets another password.
    Change(SessionId),
    /// Whoever has this session is to be believed once more.
    StepUp(SessionId),
    /// Whoever has this session makes the secret of an authenticator app.
    Enrol(SessionId),
    /// Whoever has this session makes recovery codes.
    Codes(SessionId),
}

/// Is a log-in after its first step.
pub struct Login {
    /// What it is for.
    pub purpose: Purpose,
    /// The name as it was given, in its one form.
    pub username: String,
    /// Whose it is; none for a name that nobody has.
    pub operator: Option<OperatorId>,
    /// The digest of what the password is checked against, if there is such an operator.
    pub proved: Option<Digest>,
    /// The key that the session is to be bound to.
    pub session_key: PublicKey,
    /// The server's half of the exchange.
    pub exchange: Pending,
    /// The attempt it costs.
    pub attempt: Attempt,
    /// When it began.
    pub began_at: Timestamp,
}

/// Is a log-in whose password fits, and which waits for the code of the second factor.
pub struct Waiting {
    /// Whose it is.
    pub operator: OperatorId,
    /// The digest of what the password was checked against.
    pub proved: Digest,
    /// The key that the session is to be bound to.
    pub session_key: PublicKey,
    /// What the code is proved with.
    pub secret: SessionSecret,
    /// How many codes were tried.
    pub tries: u8,
    /// When the password was proved.
    pub began_at: Timestamp,
}

/// Is an authenticator that is asked for an answer.
pub struct Ceremony {
    /// What for.
    pub asked: Asked,
    /// The name that the passkey has to be for.
    pub rp_id: String,
    /// The server's half of the challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// The attempt it costs.
    pub attempt: Attempt,
    /// When it began.
    pub began_at: Timestamp,
}

/// Holds what log-ins need between requests; lost at a restart, which costs a user one more try.
#[derive(Default)]
pub struct Logins {
    /// Counts attempts at passwords.
    pub throttle: Throttle,
    /// Counts attempts at codes of second factors.
    pub codes: Throttle,
    /// Counts answers of authenticators.
    pub passkeys: Throttle,
    /// Of log-ins: whoever is not known yet may ask.
    strangers: BTreeMap<SessionId, Ceremony>,
    /// Of sessions.
    ceremonies: BTreeMap<SessionId, Ceremony>,
    pending: BTreeMap<SessionId, Login>,
    waiting: BTreeMap<SessionId, Waiting>,
}

/// Returns the session in which an authenticator is asked; none for a log-in.
const fn session_of(asked: &Asked) -> Option<SessionId> {
    match asked {
        Asked::LogIn { .. } => None,
        Asked::Register { session, .. } | Asked::StepUp { session, .. } => Some(*session),
    }
}

/// Says that too many log-ins are between their steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many log-ins are under way")]
pub struct Full;

impl Logins {
    /// Keeps a log-in until its second step.
    ///
    /// Errors: [`Full`].
    pub fn keep(&mut self, id: SessionId, login: Login) -> Result<(), Full> {
        if self.pending.len() >= MAX_PENDING {
            let now = login.began_at;
            self.pending.retain(|_, other| now.since_ms(other.began_at) < LIFE_MS);
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(Full);
        }
        self.pending.insert(id, login);
        Ok(())
    }

    /// Takes a log-in out, once; none when it is unknown, took too long or is for something else.
    pub fn take(&mut self, id: &SessionId, purpose: Purpose, now: Timestamp) -> Option<Login> {
        self.pending
            .remove(id)
            .filter(|login| login.purpose == purpose && now.since_ms(login.began_at) < LIFE_MS)
    }

    /// Keeps a log-in whose password fits until its code comes.
    ///
    /// Errors: [`Full`].
    pub fn keep_waiting(&mut self, id: SessionId, waiting: Waiting, now: Timestamp) -> Result<(), Full> {
        self.waiting
            .retain(|_, other| now.since_ms(other.began_at) < CODE_LIFE_MS);
        if self.waiting.len() >= MAX_PENDING {
            return Err(Full);
        }
        self.waiting.insert(id, waiting);
        Ok(())
    }

    /// Takes such a log-in out for a try of a code; none when it is unknown or took too long.
    pub fn take_waiting(&mut self, id: &SessionId, now: Timestamp) -> Option<Waiting> {
        self.waiting
            .remove(id)
            .filter(|waiting| now.since_ms(waiting.began_at) < CODE_LIFE_MS)
    }

    /// Keeps what an authenticator is asked until it answers. What strangers ask takes no room of what sessions do, and of one
    /// session only the newest few are kept.
    ///
    /// Errors: [`Full`].
    pub fn keep_ceremony(&mut self, id: SessionId, ceremony: Ceremony) -> Result<(), Full> {
        let now = ceremony.began_at;
        let session = session_of(&ceremony.asked);
        let kept = match session {
            None => &mut self.strangers,
            Some(_) => &mut self.ceremonies,
        };
        kept.retain(|_, other| now.since_ms(other.began_at) < CEREMONY_LIFE_MS);
        if session.is_some() {
            let theirs = kept.iter().filter(|(_, other)| session_of(&other.asked) == session);
            let mut theirs: Vec<_> = theirs.map(|(id, other)| (other.began_at, *id)).collect();
            theirs.sort_unstable();
            let surplus = (theirs.len() + 1).saturating_sub(CEREMONIES_OF_SESSION);
            for (_, old) in theirs.iter().take(surplus) {
                kept.remove(old);
            }
        }
        if kept.len() >= MAX_PENDING {
            return Err(Full);
        }
        kept.insert(id, ceremony);
        Ok(())
    }

    /// Takes what was asked out, once; none when it is unknown or took too long.
    pub fn take_ceremony(&mut self, id: &SessionId, now: Timestamp) -> Option<Ceremony> {
        let kept = self.strangers.remove(id).or_else(|| self.ceremonies.remove(id));
        kept.filter(|ceremony| now.since_ms(ceremony.began_at) < CEREMONY_LIFE_MS)
    }

    /// Puts such a log-in back after a code that did not fit, unless there were too many.
    pub fn tried(&mut self, id: SessionId, mut waiting: Waiting) {
        waiting.tries = waiting.tries.saturating_add(1);
        if waiting.tries < CODE_TRIES {
            self.waiting.insert(id, waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opaque::{Opaque, Suite};
    use opaque_ke::ClientLogin;
    use rand::SeedableRng;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }

    fn login(began_at: Timestamp, exchange: &Pending) -> Login {
        let attempt = Throttle::default().admit("ada", "192.0.2.1", true, began_at).unwrap();
        Login {
            purpose: Purpose::LogIn,
            username: "ada".into(),
            operator: None,
            proved: None,
            session_key: PublicKey::from_bytes([1; 32]),
            exchange: exchange.clone(),
            attempt,
            began_at,
        }
    }

    fn exchange() -> Pending {
        use base64::Engine;
        let rng = &mut rand::rngs::StdRng::seed_from_u64(1);
        let request = ClientLogin::<Suite>::start(rng, b"p").unwrap().message.serialize();
        let request = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(request);
        Opaque::generate(rng).start(rng, "ada", None, &request).unwrap().1
    }

    fn id(n: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    #[test]
    fn a_log_in_is_good_for_one_second_step_within_a_minute() {
        let (mut logins, exchange) = (Logins::default(), exchange());
        logins.keep(id(1), login(at(0), &exchange)).unwrap();
        logins.keep(id(2), login(at(0), &exchange)).unwrap();
        let log_in = Purpose::LogIn;
        assert!(logins.take(&id(1), log_in, at(LIFE_MS - 1)).is_some());
        assert!(logins.take(&id(1), log_in, at(LIFE_MS - 1)).is_none());
        assert!(logins.take(&id(2), log_in, at(LIFE_MS)).is_none());
        assert!(logins.take(&id(3), log_in, at(0)).is_none());
    }

    #[test]
    fn a_password_proved_for_one_thing_serves_no_other() {
        let (mut logins, exchange) = (Logins::default(), exchange());
        let change = |n| Purpose::Change(id(n));
        for (kept, taken) in [
            (change(7), Purpose::LogIn),
            (Purpose::LogIn, change(7)),
            (change(7), change(8)),
            (change(7), Purpose::Enrol(id(7))),
            (Purpose::Enrol(id(7)), Purpose::Codes(id(7))),
        ] {
            let login = Login {
                purpose: kept,
                ..login(at(0), &exchange)
            };
            logins.keep(id(1), login).unwrap();
            assert!(logins.take(&id(1), taken, at(1)).is_none());
        }
    }

    fn waiting(began_at: Timestamp) -> Waiting {
        Waiting {
            operator: OperatorId::from_bytes([1; 16]),
            proved: Digest([2; 32]),
            session_key: PublicKey::from_bytes([1; 32]),
            secret: SessionSecret::of(b"exchange"),
            tries: 0,
            began_at,
        }
    }

    #[test]
    fn a_code_may_be_tried_five_times_within_five_minutes() {
        let mut logins = Logins::default();
        logins.keep_waiting(id(1), waiting(at(0)), at(0)).unwrap();
        for _ in 0..CODE_TRIES {
            let taken = logins.take_waiting(&id(1), at(1)).unwrap();
            assert!(logins.take_waiting(&id(1), at(1)).is_none(), "one try at a time");
            logins.tried(id(1), taken);
        }
        assert!(logins.take_waiting(&id(1), at(1)).is_none());
        logins.keep_waiting(id(2), waiting(at(0)), at(0)).unwrap();
        assert!(logins.take_waiting(&id(2), at(CODE_LIFE_MS)).is_none());
        for n in 0..u32::try_from(MAX_PENDING).unwrap() {
            logins.keep_waiting(id(n), waiting(at(0)), at(0)).unwrap();
        }
        assert_eq!(logins.keep_waiting(id(9_999), waiting(at(1)), at(1)), Err(Full));
        assert_eq!(
            logins.keep_waiting(id(9_999), waiting(at(CODE_LIFE_MS)), at(CODE_LIFE_MS)),
            Ok(())
        );
    }

    #[test]
    fn an_authenticator_is_asked_once_within_five_minutes() {
        let mut logins = Logins::default();
        let ceremony = |began_at| Ceremony {
            asked: Asked::LogIn {
                session_key: PublicKey::from_bytes([1; 32]),
            },
            rp_id: "localhost".into(),
            nonce: [2; NONCE_BYTES],
            attempt: Throttle::default().admit_peer("192.0.2.1", began_at).unwrap(),
            began_at,
        };
        logins.keep_ceremony(id(1), ceremony(at(0))).unwrap();
        assert!(logins.take_ceremony(&id(1), at(CEREMONY_LIFE_MS - 1)).is_some());
        assert!(logins.take_ceremony(&id(1), at(1)).is_none());
        logins.keep_ceremony(id(2), ceremony(at(0))).unwrap();
        assert!(logins.take_ceremony(&id(2), at(CEREMONY_LIFE_MS)).is_none());
        for n in 0..u32::try_from(MAX_PENDING).unwrap() {
            logins.keep_ceremony(id(n), ceremony(at(0))).unwrap();
        }
        assert_eq!(logins.keep_ceremony(id(9_999), ceremony(at(1))), Err(Full));
        // Strangers who take all the room that there is for them take none of those who are known.
        let of = |session, began_at| Ceremony {
            asked: Asked::Register {
                session,
                session_key: PublicKey::from_bytes([1; 32]),
            },
            ..ceremony(began_at)
        };
        assert_eq!(logins.keep_ceremony(id(10_000), of(id(1), at(1))), Ok(()));
        assert!(logins.take_ceremony(&id(10_000), at(2)).is_some());
        assert_eq!(logins.keep_ceremony(id(9_999), ceremony(at(CEREMONY_LIFE_MS))), Ok(()));
    }

    #[test]
    fn a_session_asks_an_authenticator_a_few_things_at_once_and_crowds_out_no_other() {
        let mut logins = Logins::default();
        let mut ask = |number, session, ms| {
            let ceremony = Ceremony {
                asked: Asked::Register {
                    session: id(session),
                    session_key: PublicKey::from_bytes([1; 32]),
                },
                rp_id: "localhost".into(),
                nonce: [2; NONCE_BYTES],
                attempt: Throttle::default().admit_peer("192.0.2.1", at(ms)).unwrap(),
                began_at: at(ms),
            };
            logins.keep_ceremony(id(number), ceremony).unwrap();
        };
        ask(1, 7, 0);
        for n in 0..3_000 {
            ask(100 + n, 8, i64::from(n));
        }
        assert!(logins.take_ceremony(&id(1), at(3_000)).is_some());
        assert!(logins.take_ceremony(&id(100), at(3_000)).is_none());
        let kept = (0..3_000).filter(|n| logins.take_ceremony(&id(100 + n), at(3_000)).is_some());
        assert_eq!(kept.count(), CEREMONIES_OF_SESSION);
    }

    #[test]
    fn their_number_is_bounded_and_old_ones_make_room() {
        let (mut logins, exchange) = (Logins::default(), exchange());
        for n in 0..u32::try_from(MAX_PENDING).unwrap() {
            logins.keep(id(n), login(at(0), &exchange)).unwrap();
        }
        assert_eq!(logins.keep(id(9_999), login(at(1), &exchange)), Err(Full));
        assert_eq!(logins.keep(id(9_999), login(at(LIFE_MS), &exchange)), Ok(()));
    }
}
