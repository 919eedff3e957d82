//! What is kept of an act: who did what to what, from where, and whether it was accepted.
//!
//! The service that owns an act keeps the record in its own hash-chained log, as an event of the kind [`KIND`]: in the same
//! append as the change where there is one, so that no change exists without its record. Records hold no secret, nothing of a
//! body, and are bounded: whoever invents long texts fills no disk.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::ids::{CommandId, CorrelationId, GrantId, Guid, OperatorId, SessionId};
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is the kind under which every service stores an [`AuditRecord`]; a second version would be `Audited2`.
pub const KIND: &str = "Audited";

/// Is how the names of the streams begin in which records stand.
pub const STREAM_PREFIX: &str = "audit-";

/// Is how many objects a record names at most.
pub const MAX_OBJECTS: usize = 16;

/// Is the longest text of a record, in characters.
pub const MAX_TEXT: usize = 96;

/// Tells what kind of actor did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person, or a program with a person's token.
    Operator,
    /// A device, known by its key.
    Device,
    /// A service of this deployment, by itself.
    Service,
    /// Whoever proved nothing.
    Anonymous,
}

impl ActorKind {
    /// Returns the kind's stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActorKind::Operator => "operator",
            ActorKind::Device => "device",
            ActorKind::Service => "service",
            ActorKind::Anonymous => "anonymous",
        }
    }
}

/// Is whoever did it.
///
/// Shape: `{kind, id, name}`; `id` is the operator's id, the device's GUID or the service's name, `name` the operator's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Which one; none for whoever proved nothing.
    pub id: Option<String>,
    /// Its name, where it has one besides.
    pub name: Option<String>,
}

impl Actor {
    /// Names an operator.
    pub fn operator(id: &OperatorId, username: &str) -> Self {
        Self {
            kind: ActorKind::Operator,
            id: Some(id.to_string()),
            name: Some(bounded(username)),
        }
    }

    /// Names a device.
    pub fn device(guid: &Guid) -> Self {
        Self {
            kind: ActorKind::Device,
            id: Some(guid.to_string()),
            name: None,
        }
    }

    /// Names a service.
    pub fn service(service: Service) -> Self {
        Self {
            kind: ActorKind::Service,
            id: Some(service.name().to_owned()),
            name: None,
        }
    }

    /// Names whoever proved nothing.
    pub const fn anonymous() -> Self {
        Self {
            kind: ActorKind::Anonymous,
            id: None,
            name: None,
        }
    }

    /// Tells whether a filter means this actor: by id, by name, or by kind.
    pub fn is(&self, text: &str) -> bool {
        self.id.as_deref() == Some(text) || self.name.as_deref() == Some(text) || self.kind.as_str() == text
    }
}

/// Tells how an act ended.
///
/// Shape: the text `accepted`, or the error's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done.
    Accepted,
    /// It was refused, and why.
    Refused(Code),
}

impl Outcome {
    /// Returns the outcome's stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Refused(code) => code.as_str(),
        }
    }

    /// Tells whether a filter means this outcome: `accepted`, `refused` for every code, or the code.
    pub fn is(self, text: &str) -> bool {
        self.as_str() == text || (text == "refused" && self != Outcome::Accepted)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "accepted" {
            return Ok(Outcome::Accepted);
        }
        let code = Code::ALL.iter().find(|code| code.as_str() == text);
        // A code of a newer version is still a refusal.
        Ok(Outcome::Refused(code.copied().unwrap_or(Code::Internal)))
    }
}

/// Is one act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When it was asked for, by the clock of the service that keeps the record.
    pub at: Timestamp,
    /// Who asked.
    pub actor: Actor,
    /// The session in which it was asked; none where there is none.
    pub session: Option<SessionId>,
    /// The grant under which it was asked.
    pub grant: Option<GrantId>,
    /// The address of the peer that connected to the gateway; none for what came on the bus.
    pub address: Option<String>,
    /// The service that passed it on, where it was not the gateway with an operator's own request.
    pub via: Option<Service>,
    /// What was asked: method and path template, `bus <service>.<verb>`, or `tell <role>.<verb>` and `do <role>.<verb>` of devices.
    pub action: String,
    /// The verb of the service.
    pub verb: String,
    /// To what: `<kind>/<id>` each, as `device/<guid>`: what the path names, and every stream that was written to.
    pub objects: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The act it belongs to; the same in every service that had to do with it.
    pub correlation: CorrelationId,
    /// The command's id, for what changes something.
    pub command: Option<CommandId>,
    /// How many refusals like this one came besides and are not kept singly.
    pub more: u64,
}

impl AuditRecord {
    /// Adds an object; what is there already, and what is beyond [`MAX_OBJECTS`], is left out.
    pub fn add_object(&mut self, kind: &str, id: &str) {
        let object = bounded(&format!("{kind}/{id}"));
        if self.objects.len() < MAX_OBJECTS && !self.objects.contains(&object) {
            self.objects.push(object);
        }
    }

    /// Cuts every text to what a record may hold; for records that others made.
    #[must_use]
    pub fn within_bounds(mut self) -> Self {
        self.actor.id = self.actor.id.as_deref().map(bounded);
        self.actor.name = self.actor.name.as_deref().map(bounded);
        self.address = self.address.as_deref().map(bounded);
        self.action = bounded(&self.action);
        self.verb = bounded(&self.verb);
        self.objects.truncate(MAX_OBJECTS);
        self.objects = self.objects.iter().map(|object| bounded(object)).collect();
        self
    }
}

/// Is a record with its place: the service that keeps it and the position in that service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Who keeps it.
    pub service: Service,
    /// Where it stands in that service's log.
    pub position: u64,
    /// The act.
    #[serde(flatten)]
    pub record: AuditRecord,
}

/// Says which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFilter {
    /// At this instant or later.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// About this object: `<kind>/<id>`, or the id alone.
    pub object: Option<String>,
    /// By this actor: id, name, or kind.
    pub actor: Option<String>,
    /// With this outcome: `accepted`, `refused`, or a code.
    pub outcome: Option<String>,
    /// Of this kind: the whole action, its verb, or what verbs begin with, as `jobs` in `jobs-create`.
    pub action: Option<String>,
}

impl AuditFilter {
    /// Tells whether a record is wanted.
    pub fn takes(&self, record: &AuditRecord) -> bool {
        let about = |object: &String, wanted: &str| {
            object == wanted || object.split_once('/').is_some_and(|(_, id)| id == wanted)
        };
        let kind = |wanted: &str| {
            let rest = record.verb.strip_prefix(wanted);
            record.action == wanted || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.from.is_none_or(|from| record.at >= from)
            && self.to.is_none_or(|to| record.at < to)
            && (self.object.as_deref()).is_none_or(|wanted| record.objects.iter().any(|object| about(object, wanted)))
            && (self.actor.as_deref()).is_none_or(|wanted| record.actor.is(wanted))
            && (self.outcome.as_deref()).is_none_or(|wanted| record.outcome.is(wanted))
            && (self.action.as_deref()).is_none_or(kind)
    }
}

/// Makes a text fit for a record: at most [`MAX_TEXT`] characters, none of them a control character.
pub fn bounded(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(MAX_TEXT).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            at: Timestamp::from_unix_ms(1_795_341_600_000),
            actor: Actor::operator(&OperatorId::from_bytes([1; 16]), "ada"),
            session: None,
            grant: None,
            address: None,
            via: None,
            action: "POST /api/v1/jobs".into(),
            verb: "jobs-create".into(),
            objects: vec!["jobs/0123".into()],
            outcome: Outcome::Accepted,
            correlation: CorrelationId::from_bytes([2; 16]),
            command: None,
            more: 0,
        }
    }

    #[test]
    fn texts_and_objects_are_bounded() {
        let mut long = record();
        for n in 0..40 {
            long.add_object("devices", &n.to_string());
        }
        assert_eq!(long.objects.len(), MAX_OBJECTS);
        long.address = Some("x".repeat(5_000));
        long.action = "a\nb\u{1b}[2J".into();
        let cut = long.within_bounds();
        assert_eq!(cut.address.unwrap().len(), MAX_TEXT);
        assert!(!cut.action.chars().any(char::is_control), "{}", cut.action);
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let all = AuditFilter::default();
        assert!(all.takes(&record()));
        let by = |field: fn(&mut AuditFilter, String), text: &str| {
            let mut filter = AuditFilter::default();
            field(&mut filter, text.to_owned());
            filter.takes(&record())
        };
        let object: fn(&mut AuditFilter, String) = |f, t| f.object = Some(t);
        assert!(by(object, "jobs/0123") && by(object, "0123") && !by(object, "jobs") && !by(object, "012"));
        let actor: fn(&mut AuditFilter, String) = |f, t| f.actor = Some(t);
        assert!(by(actor, "ada") && by(actor, "operator") && !by(actor, "bob") && !by(actor, "device"));
        let outcome: fn(&mut AuditFilter, String) = |f, t| f.outcome = Some(t);
        assert!(by(outcome, "accepted") && !by(outcome, "refused"));
        let action: fn(&mut AuditFilter, String) = |f, t| f.action = Some(t);
        for wanted in ["POST /api/v1/jobs", "jobs-create", "jobs"] {
            assert!(by(action, wanted), "{wanted}");
        }
        assert!(!by(action, "job") && !by(action, "create") && !by(action, "jobs-"));
        let at = record().at;
        let span = |from: i64, to: i64| AuditFilter {
            from: Some(at.plus_ms(from)),
            to: Some(at.plus_ms(to)),
            ..AuditFilter::default()
        };
        assert!(span(0, 1).takes(&record()) && !span(-1, 0).takes(&record()) && !span(1, 2).takes(&record()));
    }

    #[test]
    fn an_outcome_is_a_text_and_an_unknown_code_a_refusal() {
        let read = |text: &str| serde_json::from_str::<Outcome>(text).unwrap();
        assert_eq!(read("\"accepted\""), Outcome::Accepted);
        assert_eq!(read("\"right_missing\""), Outcome::Refused(Code::RightMissing));
        assert_eq!(read("\"code_of_next_year\""), Outcome::Refused(Code::Internal));
        assert!(Outcome::Refused(Code::Stale).is("refused") && !Outcome::Accepted.is("refused"));
    }
}
