//! The installer code: minted by an operator, used by machines, revoked or over.

use std::collections::BTreeSet;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{ApprovalId, CodeId, OperatorId, SessionId, SiteName};
use borealis_bus_schema::installer_code;
use borealis_bus_schema::messages::enrollment::CreateCode;
use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

/// Is how often a code may be used at most.
pub const MAX_USES: u32 = 100_000;
/// Is how long a code may live at most, in milliseconds: 30 days.
pub const MAX_LIFETIME_MS: u64 = 30 * 24 * 3_600_000;
/// Is how long a code lives at least, in milliseconds: one second.
pub const MIN_LIFETIME_MS: u64 = 1_000;

/// Holds an installer code as the server knows it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// How it was minted.
    pub minted: Minted,
    /// The keys that used it; the same key uses it once however often it asks.
    pub used_by: BTreeSet<PublicKey>,
    /// Since when it is worthless.
    pub revoked_at: Option<Timestamp>,
}

/// Is what never changes about a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// Names the code.
    pub id: CodeId,
    /// The public key of its secret.
    pub public_key: PublicKey,
    /// Its beginning, for people to tell codes apart.
    pub masked: String,
    /// Where its devices belong.
    pub site: SiteName,
    /// How often it may be used.
    pub uses: u32,
    /// Whether its devices need no approval.
    pub auto_approve: bool,
    /// By whom it was minted.
    pub created_by: String,
    /// The same as a standing that can be lost; none in codes of before it was kept.
    pub minter: Option<Minter>,
    /// When.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Is whoever minted a code: it admits devices by itself only while they still may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minter {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's epoch of the token in use.
    pub epoch: u64,
    /// The API token in use; none for a log-in, which a code outlives.
    pub token: Option<SessionId>,
}

/// Says what happened to a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeEvent {
    /// It exists.
    Minted(Minted),
    /// A machine used it.
    Used {
        /// The machine's key.
        public_key: PublicKey,
        /// The enrolment request it was used for.
        approval: ApprovalId,
        /// When.
        at: Timestamp,
    },
    /// It is worthless from now on.
    Revoked {
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
}

/// Says why a code does not do what was asked.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum CodeRejection {
    /// Its uses are out of range.
    #[error("a code may be used 1 to {MAX_USES} times")]
    UsesOutOfRange,
    /// What is to be shown of it is not the beginning of a code.
    #[error("hint is not the first four letters behind a code's prefix")]
    NoHint,
    /// Its public key is that of another code.
    #[error("a code with this public key was minted before")]
    KeyTaken,
    /// Its lifetime is out of range.
    #[error("a code lives between one second and 30 days")]
    LifetimeOutOfRange,
    /// It was revoked.
    #[error("the installer code was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the installer code's time is over")]
    Expired,
    /// It was used as often as it may be.
    #[error("the installer code was used as often as it may be")]
    UsedUp,
}

/// Is who mints a code, and what of it is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mint {
    /// Its name.
    pub id: CodeId,
    /// The operator's name.
    pub by: String,
    /// The operator.
    pub minter: Minter,
    /// Whether there is a code with this public key already.
    pub key_taken: bool,
    /// Now.
    pub now: Timestamp,
}

/// Decides whether a code is minted as asked.
///
/// Errors: [`CodeRejection::UsesOutOfRange`], [`CodeRejection::LifetimeOutOfRange`], [`CodeRejection::NoHint`],
/// [`CodeRejection::KeyTaken`].
pub fn mint(asked: &CreateCode, facts: Mint) -> Result<Minted, CodeRejection> {
    if !(1..=MAX_USES).contains(&asked.uses) {
        return Err(CodeRejection::UsesOutOfRange);
    }
    if !(MIN_LIFETIME_MS..=MAX_LIFETIME_MS).contains(&asked.lifetime_ms) {
        return Err(CodeRejection::LifetimeOutOfRange);
    }
    let lifetime_ms = i64::try_from(asked.lifetime_ms).map_err(|_| CodeRejection::LifetimeOutOfRange)?;
    let masked = installer_code::masked(&asked.hint).ok_or(CodeRejection::NoHint)?;
    if facts.key_taken {
        return Err(CodeRejection::KeyTaken);
    }
    Ok(Minted {
        id: facts.id,
        public_key: asked.public_key,
        masked,
        site: asked.site.clone(),
        uses: asked.uses,
        auto_approve: asked.auto_approve,
        created_by: facts.by,
        minter: Some(facts.minter),
        created_at: facts.now,
        expires_at: facts.now.plus_ms(lifetime_ms),
    })
}

impl Code {
    /// Decides whether a machine may use the code; a key that used it before uses nothing up.
    ///
    /// Errors: [`CodeRejection::Revoked`], then [`CodeRejection::Expired`], then [`CodeRejection::UsedUp`].
    pub fn r#use(
        &self,
        public_key: PublicKey,
        approval: ApprovalId,
        now: Timestamp,
    ) -> Result<Option<CodeEvent>, CodeRejection> {
        if self.revoked_at.is_some() {
            return Err(CodeRejection::Revoked);
        }
        if now >= self.minted.expires_at {
            return Err(CodeRejection::Expired);
        }
        if self.used_by.contains(&public_key) {
            return Ok(None);
        }
        if self.uses_left() == 0 {
            return Err(CodeRejection::UsedUp);
        }
        Ok(Some(CodeEvent::Used {
            public_key,
            approval,
            at: now,
        }))
    }

    /// Decides a revocation; a code that is revoked stays so.
    pub fn revoke(&self, by: &str, now: Timestamp) -> Option<CodeEvent> {
        let event = || CodeEvent::Revoked {
            by: by.to_owned(),
            at: now,
        };
        self.revoked_at.is_none().then(event)
    }

    /// Makes the state of a code that was just minted.
    pub const fn new(minted: Minted) -> Self {
        Self {
            minted,
            used_by: BTreeSet::new(),
            revoked_at: None,
        }
    }

    /// Takes in what happened.
    pub fn evolve(&mut self, event: &CodeEvent) {
        match event {
            CodeEvent::Minted(minted) => self.minted = minted.clone(),
            CodeEvent::Used { public_key, .. } => {
                self.used_by.insert(*public_key);
            }
            CodeEvent::Revoked { at, .. } => self.revoked_at = Some(*at),
        }
    }

    /// Returns how often the code may still be used.
    pub fn uses_left(&self) -> u32 {
        let used = u32::try_from(self.used_by.len()).unwrap_or(u32::MAX);
        self.minted.uses.saturating_sub(used)
    }

    /// Returns the code's state for people: `active`, `used`, `expired` or `revoked`.
    pub fn state_text(&self, now: Timestamp) -> &'static str {
        match () {
            () if self.revoked_at.is_some() => "revoked",
            () if self.uses_left() == 0 => "used",
            () if now >= self.minted.expires_at => "expired",
            () => "active",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn asked(uses: u32, lifetime_ms: u64) -> CreateCode {
        CreateCode {
            public_key: key(2),
            hint: "ABCD".into(),
            site: SiteName::default_site(),
            uses,
            lifetime_ms,
            auto_approve: false,
        }
    }
    fn facts() -> Mint {
        Mint {
            id: CodeId::from_bytes([1; 16]),
            by: "ada".into(),
            minter: Minter {
                operator: OperatorId::from_bytes([3; 16]),
                epoch: 0,
                token: None,
            },
            key_taken: false,
            now: NOW,
        }
    }
    fn given(uses: u32, events: &[CodeEvent]) -> Code {
        let mut code = Code::new(mint(&asked(uses, 60_000), facts()).unwrap());
        for event in events {
            code.evolve(event);
        }
        code
    }
    fn key(seed: u8) -> PublicKey {
        PublicKey::from_bytes([seed; 32])
    }
    fn used(seed: u8) -> CodeEvent {
        CodeEvent::Used {
            public_key: key(seed),
            approval: ApprovalId::from_bytes([seed; 16]),
            at: NOW,
        }
    }
    fn when_used_by(code: &Code, seed: u8, now: Timestamp) -> Result<Option<CodeEvent>, CodeRejection> {
        code.r#use(key(seed), ApprovalId::from_bytes([seed; 16]), now)
    }

    #[test]
    fn given_nothing_when_minted_then_it_ends_after_its_lifetime() {
        let code = given(1, &[]);
        assert_eq!(code.minted.expires_at, NOW.plus_ms(60_000));
        assert_eq!((code.uses_left(), code.state_text(NOW)), (1, "active"));
        assert_eq!(
            (code.minted.masked.as_str(), code.minted.public_key),
            ("BRL1-ABCD…", key(2))
        );
    }

    #[test]
    fn given_nothing_when_minted_out_of_range_then_it_is_rejected() {
        for uses in [0, MAX_USES + 1] {
            assert_eq!(mint(&asked(uses, 60_000), facts()), Err(CodeRejection::UsesOutOfRange));
        }
        for lifetime_ms in [0, MIN_LIFETIME_MS - 1, MAX_LIFETIME_MS + 1, u64::MAX] {
            assert_eq!(
                mint(&asked(1, lifetime_ms), facts()),
                Err(CodeRejection::LifetimeOutOfRange)
            );
        }
    }

    #[test]
    fn given_a_key_of_another_code_or_no_hint_when_minted_then_it_is_rejected() {
        let taken = Mint {
            key_taken: true,
            ..facts()
        };
        assert_eq!(mint(&asked(1, 60_000), taken), Err(CodeRejection::KeyTaken));
        let shouted = CreateCode {
            hint: "$(x)".into(),
            ..asked(1, 60_000)
        };
        assert_eq!(mint(&shouted, facts()), Err(CodeRejection::NoHint));
    }

    #[test]
    fn given_a_code_when_used_then_one_use_is_gone() {
        assert_eq!(when_used_by(&given(2, &[]), 7, NOW), Ok(Some(used(7))));
        let code = given(2, &[used(7)]);
        assert_eq!(code.uses_left(), 1);
    }

    #[test]
    fn given_a_used_code_when_the_same_key_asks_then_nothing_is_used_up() {
        let code = given(1, &[used(7)]);
        assert_eq!(when_used_by(&code, 7, NOW), Ok(None));
        assert_eq!(when_used_by(&code, 8, NOW), Err(CodeRejection::UsedUp));
        assert_eq!(code.state_text(NOW), "used");
    }

    #[test]
    fn given_an_old_code_when_used_then_it_is_expired() {
        let code = given(1, &[]);
        assert_eq!(
            when_used_by(&code, 7, NOW.plus_ms(59_999)),
            Ok(Some(CodeEvent::Used {
                public_key: key(7),
                approval: ApprovalId::from_bytes([7; 16]),
                at: NOW.plus_ms(59_999),
            }))
        );
        assert_eq!(when_used_by(&code, 7, NOW.plus_ms(60_000)), Err(CodeRejection::Expired));
        assert_eq!(code.state_text(NOW.plus_ms(60_000)), "expired");
    }

    #[test]
    fn given_a_revoked_code_when_used_then_it_is_rejected_and_stays_revoked() {
        let revoked = given(1, &[]).revoke("ada", NOW).unwrap();
        let code = given(1, &[revoked]);
        assert_eq!(when_used_by(&code, 7, NOW), Err(CodeRejection::Revoked));
        assert_eq!(code.revoke("ada", NOW), None);
        assert_eq!(code.state_text(NOW), "revoked");
    }
}
