//! The enrolment request: a machine asks, an operator or the code itself decides, the device takes its identity.

use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes};
use borealis_bus_schema::ids::{ApprovalId, CodeId, Guid, SiteName};
use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

/// Is how long a request waits for a decision, in milliseconds: one hour.
pub const WAIT_MS: i64 = 3_600_000;
/// Is how long a reason may be, in characters.
pub const MAX_REASON_CHARS: usize = 400;

/// Is what a machine asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Names the request.
    pub id: ApprovalId,
    /// The installer code it used.
    pub code: CodeId,
    /// Where the device would belong.
    pub site: SiteName,
    /// Its identity key.
    pub public_key: PublicKey,
    /// Its X25519 key.
    pub exchange_key: PublicKey,
    /// The identity key's signature over the X25519 key.
    pub exchange_key_signature: SignatureBytes,
    /// What it says of itself.
    pub facts: HostFacts,
    /// The address it came from.
    pub address: String,
    /// What the device must sign, from the server.
    pub server_nonce: String,
    /// What the device must sign, from itself.
    pub client_nonce: String,
    /// When it asked.
    pub at: Timestamp,
    /// The device that is known for the same machine under another key.
    pub conflict: Option<Guid>,
}

/// Tells where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody decided yet.
    Pending,
    /// It is a device now; the device has not shown itself yet.
    Approved {
        /// The device.
        guid: Guid,
        /// Since when.
        at: Timestamp,
    },
    /// Somebody said no.
    Denied {
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired,
    /// The device took its identity and showed it.
    Completed {
        /// The device.
        guid: Guid,
    },
}

/// Holds an enrolment request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What was asked, last.
    pub asked: Asked,
    /// When it was asked first.
    pub requested_at: Timestamp,
    /// Where it stands.
    pub decision: Decision,
}

/// Says what happened to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// A machine asked, or asked again with the same key before it was a device.
    Requested(Box<Asked>),
    /// It may become a device.
    Approved {
        /// The device.
        guid: Guid,
        /// Who said so: an operator, or `installer code`.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It may not.
    Denied {
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Nobody decided in time.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The device showed its identity.
    Completed {
        /// The device.
        guid: Guid,
        /// When.
        at: Timestamp,
    },
}

/// Says why a request does not do what was asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ApprovalRejection {
    /// It was decided before.
    #[error("the enrolment request is {state}, not pending")]
    NotPending {
        /// Where it stands.
        state: &'static str,
    },
    /// Its time is over.
    #[error("the enrolment request waited too long")]
    Expired,
    /// The proof does not fit.
    #[error("the proof does not fit the enrolment request")]
    BadProof,
    /// The identity was taken and shown; the proof is used up.
    #[error("the device took its identity already")]
    Completed,
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_CHARS} characters")]
    ReasonTooLong,
}

impl Approval {
    /// Makes the state of a request that was just made.
    pub const fn new(asked: Asked) -> Self {
        Self {
            requested_at: asked.at,
            asked,
            decision: Decision::Pending,
        }
    }

    /// Decides what becomes of the same key asking again while it is not a device yet.
    ///
    /// The same client nonce is the same request and changes nothing; another one starts the proof anew. What an operator
    /// already approved stays as it was seen: only the nonces change.
    pub fn ask_again(&self, asked: Asked) -> Option<ApprovalEvent> {
        if asked.client_nonce == self.asked.client_nonce {
            return None;
        }
        let next = match self.decision {
            Decision::Approved { .. } => Asked {
                server_nonce: asked.server_nonce,
                client_nonce: asked.client_nonce,
                at: asked.at,
                ..self.asked.clone()
            },
            _ => Asked {
                id: self.asked.id,
                ..asked
            },
        };
        Some(ApprovalEvent::Requested(Box::new(next)))
    }

    /// Tells whether the same key asking again continues this request.
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self.decision {
            Decision::Pending => now < self.expires_at(),
            Decision::Approved { .. } => true,
            _ => false,
        }
    }

    /// Decides an approval.
    ///
    /// Errors: [`ApprovalRejection::NotPending`], [`ApprovalRejection::Expired`].
    pub fn approve(&self, guid: Guid, by: &str, now: Timestamp) -> Result<ApprovalEvent, ApprovalRejection> {
        self.pending(now)?;
        Ok(ApprovalEvent::Approved {
            guid,
            by: by.to_owned(),
            at: now,
        })
    }

    /// Decides a denial.
    ///
    /// Errors: [`ApprovalRejection::NotPending`], [`ApprovalRejection::Expired`], [`ApprovalRejection::ReasonTooLong`].
    pub fn deny(&self, reason: &str, by: &str, now: Timestamp) -> Result<ApprovalEvent, ApprovalRejection> {
        self.pending(now)?;
        if reason.chars().count() > MAX_REASON_CHARS {
            return Err(ApprovalRejection::ReasonTooLong);
        }
        Ok(ApprovalEvent::Denied {
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: now,
        })
    }

    /// Decides whether the request's time is over.
    pub fn expire(&self, now: Timestamp) -> Option<ApprovalEvent> {
        let over = self.decision == Decision::Pending && now >= self.expires_at();
        over.then_some(ApprovalEvent::Expired { at: now })
    }

    /// Decides that the device showed its identity.
    pub fn complete(&self, now: Timestamp) -> Option<ApprovalEvent> {
        match self.decision {
            Decision::Approved { guid, .. } => Some(ApprovalEvent::Completed { guid, at: now }),
            _ => None,
        }
    }

    /// Verifies the device's proof: a signature over server nonce, reference and client nonce.
    ///
    /// Errors: [`ApprovalRejection::BadProof`].
    pub fn verify(&self, proof: &SignatureBytes) -> Result<(), ApprovalRejection> {
        let reference = self.asked.id.to_string();
        let fields = [
            self.asked.server_nonce.as_bytes(),
            reference.as_bytes(),
            self.asked.client_nonce.as_bytes(),
        ];
        self.asked
            .public_key
            .verify(Form::Enroll, &fields, proof)
            .map_err(|_| ApprovalRejection::BadProof)
    }

    /// Takes in what happened.
    pub fn evolve(&mut self, event: &ApprovalEvent) {
        match event {
            ApprovalEvent::Requested(asked) => self.asked = (**asked).clone(),
            ApprovalEvent::Approved { guid, at, .. } => self.decision = Decision::Approved { guid: *guid, at: *at },
            ApprovalEvent::Denied { reason, .. } => {
                self.decision = Decision::Denied { reason: reason.clone() };
            }
            ApprovalEvent::Expired { .. } => self.decision = Decision::Expired,
            ApprovalEvent::Completed { guid, .. } => self.decision = Decision::Completed { guid: *guid },
        }
    }

    /// Returns when nobody can decide any more.
    pub const fn expires_at(&self) -> Timestamp {
        self.asked.at.plus_ms(WAIT_MS)
    }

    /// Returns the request's state for people: `pending`, `approved`, `denied`, `expired` or `completed`.
    pub fn state_text(&self, now: Timestamp) -> &'static str {
        match self.decision {
            Decision::Pending if now >= self.expires_at() => "expired",
            Decision::Pending => "pending",
            Decision::Approved { .. } => "approved",
            Decision::Denied { .. } => "denied",
            Decision::Expired => "expired",
            Decision::Completed { .. } => "completed",
        }
    }

    fn pending(&self, now: Timestamp) -> Result<(), ApprovalRejection> {
        match self.state_text(now) {
            "pending" => Ok(()),
            "expired" => Err(ApprovalRejection::Expired),
            state => Err(ApprovalRejection::NotPending { state }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use borealis_bus_schema::forms::sign;
    use borealis_test_support::host_facts;
    use ed25519_dalek::SigningKey;

    pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    pub(crate) fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }
    pub(crate) fn guid() -> Guid {
        Guid::from_random([4; 16])
    }
    pub(crate) fn asked() -> Asked {
        Asked {
            id: ApprovalId::from_bytes([1; 16]),
            code: CodeId::from_bytes([2; 16]),
            site: SiteName::default_site(),
            public_key: PublicKey::of(&key()),
            exchange_key: PublicKey::from_bytes([3; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            facts: host_facts("web-1", &"ab".repeat(32)),
            address: "127.0.0.1".into(),
            server_nonce: "server".into(),
            client_nonce: "client".into(),
            at: NOW,
            conflict: None,
        }
    }
    fn given(events: &[ApprovalEvent]) -> Approval {
        let mut approval = Approval::new(asked());
        for event in events {
            approval.evolve(event);
        }
        approval
    }
    fn approved() -> ApprovalEvent {
        given(&[]).approve(guid(), "ada", NOW).unwrap()
    }

    #[test]
    fn given_a_request_when_approved_then_it_names_the_device() {
        let approval = given(&[approved()]);
        assert_eq!(approval.decision, Decision::Approved { guid: guid(), at: NOW });
        assert_eq!(approval.state_text(NOW.plus_ms(2 * WAIT_MS)), "approved");
    }

    #[test]
    fn given_a_decided_request_when_decided_again_then_it_is_rejected() {
        let denied = given(&[]).deny("who is this", "ada", NOW).unwrap();
        for (event, state) in [(approved(), "approved"), (denied, "denied")] {
            let approval = given(&[event]);
            let rejection = ApprovalRejection::NotPending { state };
            assert_eq!(approval.approve(guid(), "bob", NOW), Err(rejection.clone()));
            assert_eq!(approval.deny("", "bob", NOW), Err(rejection));
        }
    }

    #[test]
    fn given_a_request_when_its_hour_is_over_then_it_can_only_expire() {
        let (approval, late) = (given(&[]), NOW.plus_ms(WAIT_MS));
        assert_eq!(approval.expire(late.plus_ms(-1)), None);
        assert_eq!(approval.expire(late), Some(ApprovalEvent::Expired { at: late }));
        assert_eq!(approval.approve(guid(), "ada", late), Err(ApprovalRejection::Expired));
        assert_eq!(approval.deny("", "ada", late), Err(ApprovalRejection::Expired));
        assert!(!approval.is_open(late));
        assert_eq!(given(&[approved()]).expire(late), None);
    }

    #[test]
    fn given_a_request_when_denied_at_length_then_it_is_rejected() {
        let long = "x".repeat(MAX_REASON_CHARS + 1);
        assert_eq!(
            given(&[]).deny(&long, "ada", NOW),
            Err(ApprovalRejection::ReasonTooLong)
        );
    }

    #[test]
    fn given_a_request_when_proved_then_only_this_key_these_nonces_and_this_reference_fit() {
        let approval = given(&[]);
        let reference = approval.asked.id.to_string();
        let prove = |key: &SigningKey, server: &str, reference: &str, client: &str| {
            sign(
                key,
                Form::Enroll,
                &[server.as_bytes(), reference.as_bytes(), client.as_bytes()],
            )
        };
        let other = SigningKey::from_bytes(&[6; 32]);
        let zeros = "0".repeat(32);
        assert_eq!(approval.verify(&prove(&key(), "server", &reference, "client")), Ok(()));
        for bad in [
            prove(&other, "server", &reference, "client"),
            prove(&key(), "servex", &reference, "client"),
            prove(&key(), "server", &zeros, "client"),
            prove(&key(), "server", &reference, "clienx"),
        ] {
            assert_eq!(approval.verify(&bad), Err(ApprovalRejection::BadProof));
        }
    }

    #[test]
    fn given_a_request_when_the_same_key_asks_again_then_the_proof_starts_anew() {
        let again = Asked {
            id: ApprovalId::from_bytes([9; 16]),
            client_nonce: "client 2".into(),
            server_nonce: "server 2".into(),
            address: "10.0.0.9".into(),
            at: NOW.plus_ms(5),
            ..asked()
        };
        assert_eq!(given(&[]).ask_again(asked()), None);
        let mut pending = given(&[]);
        pending.evolve(&pending.ask_again(again.clone()).unwrap());
        assert_eq!((pending.asked.id, pending.requested_at), (asked().id, NOW));
        assert_eq!(
            (pending.asked.client_nonce.as_str(), pending.asked.address.as_str()),
            ("client 2", "10.0.0.9")
        );
        let mut decided = given(&[approved()]);
        decided.evolve(&decided.ask_again(again).unwrap());
        assert_eq!(decided.state_text(NOW), "approved");
        assert_eq!(
            (decided.asked.client_nonce.as_str(), decided.asked.address.as_str()),
            ("client 2", "127.0.0.1")
        );
    }

    #[test]
    fn given_an_approved_request_when_the_device_shows_itself_then_it_is_completed_once() {
        let mut approval = given(&[approved()]);
        approval.evolve(&approval.complete(NOW).unwrap());
        assert_eq!(approval.state_text(NOW), "completed");
        assert_eq!(approval.complete(NOW), None);
        assert_eq!(given(&[]).complete(NOW), None);
    }
}
