//! Typed ids: no bare string crosses a function boundary as an identity.
//!
//! Random ids are 128 bits made by the caller's source of randomness; this crate only gives them types and text forms.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::time::Timestamp;

/// Says why a text is not an id.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum IdError {
    /// The text has another shape than the id's.
    #[error("{text:?} is not a {kind}: {expected}")]
    Malformed {
        /// What was to be read.
        kind: &'static str,
        /// The shape that was expected.
        expected: &'static str,
        /// What stood there, at most 64 characters of it.
        text: String,
    },
}

fn malformed(kind: &'static str, expected: &'static str, text: &str) -> IdError {
    IdError::Malformed {
        kind,
        expected,
        text: text.chars().take(64).collect(),
    }
}

fn parse_hex(kind: &'static str, text: &str) -> Result<[u8; 16], IdError> {
    let mut bytes = [0u8; 16];
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match (lower, hex::decode_to_slice(text, &mut bytes)) {
        (true, Ok(())) => Ok(bytes),
        _ => Err(malformed(kind, "32 lower-case hex digits", text)),
    }
}

macro_rules! hex_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        ///
        /// Shape: 128 random bits as 32 lower-case hex digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes the id from 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self { Self(bytes) }
            /// Returns the id's 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&hex::encode(self.0)) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self) }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { parse_hex(stringify!($name), text).map(Self) }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

hex_id! {
    /// Names one message on the bus.
    MessageId,
    /// Ties together every message that one act caused.
    CorrelationId,
    /// Names one command; the same id with the same body is the same command.
    CommandId,
    /// Names an operator's account.
    OperatorId,
    /// Names a log-in.
    SessionId,
    /// Names an operator's passkey; the authenticator's own name for it is another.
    PasskeyId,
    /// Names a grant: the right to act later than the request that asked for it.
    GrantId,
    /// Names an installer code without revealing it.
    CodeId,
    /// Names one enrolment request; its holder polls for the answer by it.
    ApprovalId,
    /// Names a job.
    JobId,
    /// Names a run: one job on one device.
    RunId,
    /// Names a schedule.
    ScheduleId,
    /// Names one signed order.
    OrderId,
    /// Names an assembly of the library.
    AssemblyId,
    /// Names a deployment: one set of roots.
    DeploymentId,
}

/// Names a device for good; the hostname is only an attribute.
///
/// Shape: a hyphenated lower-case GUID, `8-4-4-4-12` hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// Makes a version 4 GUID from 16 random bytes (RFC 9562, section 5.4).
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
    /// Returns the GUID's 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}
impl FromStr for Guid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || malformed("Guid", "a hyphenated lower-case GUID", text);
        let hyphens_fit = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, b)| (b == b'-') == matches!(at, 8 | 13 | 18 | 23));
        if !hyphens_fit {
            return Err(bad());
        }
        parse_hex("Guid", &text.replace('-', "")).map(Self).map_err(|_| bad())
    }
}
impl Serialize for Guid {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JobId {
    /// Derives the job of a command, so that a command makes one job whoever computes it.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis job" ‖ command id)`.
    pub fn of_command(command: &CommandId) -> Self {
        Self(derived(&[b"borealis job", command.as_bytes()]))
    }

    /// Derives the job of a firing, so that an instant of a schedule makes one job whoever computes it.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis firing" ‖ schedule id ‖ due in Unix milliseconds, 8 bytes big endian)`.
    pub fn of_firing(schedule: &ScheduleId, due: Timestamp) -> Self {
        let due = due.unix_ms().to_be_bytes();
        Self(derived(&[b"borealis firing", schedule.as_bytes(), &due]))
    }
}

impl ScheduleId {
    /// Derives the schedule of a command, so that a command makes one schedule whoever computes it.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis schedule" ‖ command id)`.
    pub fn of_command(command: &CommandId) -> Self {
        Self(derived(&[b"borealis schedule", command.as_bytes()]))
    }
}

impl CommandId {
    /// Derives the command that does some runs of a job again, so that asking twice makes one job.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis rerun" ‖ job id ‖ the runs' ids, in ascending order)`.
    pub fn of_rerun(job: &JobId, runs: &[RunId]) -> Self {
        let mut runs: Vec<&[u8]> = runs.iter().map(|run| run.as_bytes().as_slice()).collect();
        runs.sort_unstable();
        let mut parts: Vec<&[u8]> = vec![b"borealis rerun", job.as_bytes()];
        parts.extend(runs);
        Self(derived(&parts))
    }
}

impl AssemblyId {
    /// Derives the assembly of a command, so that a command makes one assembly whoever computes it.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis assembly" ‖ command id)`.
    pub fn of_command(command: &CommandId) -> Self {
        Self(derived(&[b"borealis assembly", command.as_bytes()]))
    }
}

impl RunId {
    /// Derives the run of a job on a device, so that it happens once whoever computes it.
    ///
    /// Shape: the first 16 bytes of `SHA-256("borealis run" ‖ job id ‖ GUID)`.
    pub fn of_job(job: &JobId, guid: &Guid) -> Self {
        Self(derived(&[b"borealis run", job.as_bytes(), guid.as_bytes()]))
    }
}

fn derived(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut id = [0u8; 16];
    for (byte, hashed) in id.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    id
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        ///
        /// Shape: 1 to the stated number of characters out of `a-z 0-9 -`, beginning with a letter.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Reads the name.
            ///
            /// Errors: [`IdError::Malformed`] when a character or the length does not fit.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let fits = !text.is_empty()
                    && text.len() <= $max
                    && text.starts_with(|c: char| c.is_ascii_lowercase())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if fits { Ok(Self(text.to_owned())) } else {
                    Err(malformed(stringify!($name), "a lower-case name of letters, digits and hyphens", text))
                }
            }
            /// Returns the name's text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { Self::new(text) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// Names a site, the unit that rights are scoped to.
    SiteName, 40
}
name_type! {
    /// Names a tag, by which operators group devices.
    TagName, 40
}
name_type! {
    /// Names a role of operators: a set of rights, each with the sites that it reaches.
    OperatorRoleName, 40
}
name_type! {
    /// Names a role of the agent.
    RoleName, 32
}
name_type! {
    /// Names a verb of a role or of a service.
    VerbName, 48
}

impl RoleName {
    /// Returns the role that runs scripts.
    pub fn script() -> Self {
        Self("script".to_owned())
    }
    /// Returns the agent's own role, which answers pings.
    pub fn agent() -> Self {
        Self("agent".to_owned())
    }
}

impl VerbName {
    /// Returns the verb that runs a script.
    pub fn run() -> Self {
        Self("run".to_owned())
    }
    /// Returns the no-op.
    pub fn ping() -> Self {
        Self("ping".to_owned())
    }
    /// Returns the verb that ends a run.
    pub fn cancel() -> Self {
        Self("cancel".to_owned())
    }
}

impl OperatorRoleName {
    /// Returns the role that holds every right on every site.
    pub fn administrator() -> Self {
        Self("administrator".to_owned())
    }
}

impl SiteName {
    /// Returns the site that every deployment has, `default`.
    pub fn default_site() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_prints_and_reads_the_same() {
        let guid = Guid::from_random([0xab; 16]);
        assert_eq!(guid.to_string(), "abababab-abab-4bab-abab-abababababab");
        assert_eq!(guid.to_string().parse(), Ok(guid));
    }

    #[test]
    fn a_rerun_is_one_command_whatever_order_its_runs_come_in() {
        let (job, run) = (JobId::from_bytes([1; 16]), |n| RunId::from_bytes([n; 16]));
        let command = CommandId::of_rerun(&job, &[run(1), run(2)]);
        assert_eq!(CommandId::of_rerun(&job, &[run(2), run(1)]), command);
        assert_ne!(CommandId::of_rerun(&job, &[run(1)]), command);
        assert_ne!(
            CommandId::of_rerun(&JobId::from_bytes([2; 16]), &[run(1), run(2)]),
            command
        );
    }

    #[test]
    fn what_is_no_guid_is_refused() {
        for text in [
            "",
            "abababab-abab-4bab-abab-ABABABABABAB",
            "abababababab4bababab-abababababab---",
            "../x",
            "a.b",
            "*",
            ">",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    #[test]
    fn hex_ids_take_lower_case_only() {
        assert!("0123456789abcdef0123456789abcdef".parse::<JobId>().is_ok());
        assert!("0123456789ABCDEF0123456789abcdef".parse::<JobId>().is_err());
        assert!("0123".parse::<JobId>().is_err());
    }

    #[test]
    fn names_cannot_carry_subject_syntax() {
        for text in ["a.b", "*", ">", "", "A", "-a", "a b", "ä"] {
            assert!(VerbName::new(text).is_err(), "{text}");
        }
        assert!(VerbName::new("jobs-create").is_ok());
    }
}
