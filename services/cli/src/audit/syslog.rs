//! Syslog messages of audit records.
//!
//! Source: RFC 5424 (the message), RFC 6587 section 3.4.1 (octet counting), RFC 5612 (the enterprise number for examples: a
//! deployment with a number of its own maps it at the receiver).

use borealis_bus_schema::audit::{AuditEntry, Outcome};

/// Is the name of the structured data.
const SD_ID: &str = "audit@32473";
/// Is the facility `log audit`.
const FACILITY: u8 = 13;
/// Are the severities of what was accepted and of what was refused.
const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;
/// Are the longest header fields.
const MAX_HOSTNAME: usize = 255;
const MAX_APP_NAME: usize = 48;
const MAX_MSGID: usize = 32;

/// Writes a record as one message without a line's end.
///
/// Shape: `<110>1 2026-11-22T10:00:00.000Z host borealis-access - login [audit@32473 position="7" …] POST /api/v1/login: accepted`;
/// the priority is facility 13 with severity 6 (accepted) or 4 (refused). `service` and `position` name the record for good.
pub fn message(entry: &AuditEntry, host: &str) -> String {
    let record = &entry.record;
    let severity = match record.outcome {
        Outcome::Accepted => INFORMATIONAL,
        Outcome::Refused(_) => WARNING,
    };
    let priority = FACILITY * 8 + severity;
    let mut out = format!(
        "<{priority}>1 {} {} {} - {} [{SD_ID}",
        record.at,
        field(host, MAX_HOSTNAME),
        field(&format!("borealis-{}", entry.service), MAX_APP_NAME),
        field(&record.verb, MAX_MSGID),
    );
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!(" {name}=\"{}\"", escaped(&value)));
        }
    };
    add("service", Some(entry.service.to_string()));
    add("position", Some(entry.position.to_string()));
    add("actor_kind", Some(record.actor.kind.as_str().to_owned()));
    add("actor_id", record.actor.id.clone());
    add("actor_name", record.actor.name.clone());
    add("session", record.session.map(|id| id.to_string()));
    add("grant", record.grant.map(|id| id.to_string()));
    add("address", record.address.clone());
    add("via", record.via.map(|service| service.to_string()));
    add("action", Some(record.action.clone()));
    for object in &record.objects {
        add("object", Some(object.clone()));
    }
    add("outcome", Some(record.outcome.to_string()));
    add("correlation", Some(record.correlation.to_string()));
    add("command", record.command.map(|id| id.to_string()));
    add("more", (record.more > 0).then(|| record.more.to_string()));
    out.push_str("] ");
    // Only printable ASCII, so that the message needs no byte order mark.
    out.push_str(&ascii(&format!("{}: {}", record.action, record.outcome)));
    out
}

/// Puts a message's length in bytes before it.
pub fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// Makes a header field: printable ASCII without spaces, cut to its length, `-` when nothing is left.
fn field(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

/// Escapes a parameter's value: `"`, `\` and `]`; what steers a terminal or ends a line is made visible.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn ascii(text: &str) -> String {
    let shown = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::audit::{Actor, AuditRecord};
    use borealis_bus_schema::codes::Code;
    use borealis_bus_schema::ids::{CorrelationId, OperatorId};
    use borealis_bus_schema::subjects::Service;
    use borealis_bus_schema::time::Timestamp;

    fn entry() -> AuditEntry {
        AuditEntry {
            service: Service::Scheduler,
            position: 7,
            record: AuditRecord {
                at: Timestamp::from_unix_ms(1_795_341_600_003),
                actor: Actor::operator(&OperatorId::from_bytes([1; 16]), "ada"),
                session: None,
                grant: None,
                address: Some("2001:db8::1".into()),
                via: None,
                action: "POST /api/v1/jobs".into(),
                verb: "jobs-create".into(),
                objects: vec!["job/1".into(), "device/2".into()],
                outcome: Outcome::Accepted,
                correlation: CorrelationId::from_bytes([2; 16]),
                command: None,
                more: 0,
            },
        }
    }

    #[test]
    fn a_record_is_one_message_of_the_rfc() {
        assert_eq!(
            message(&entry(), "fleet.example"),
            "<110>1 2026-11-22T10:00:00.003Z fleet.example borealis-scheduler - jobs-create [audit@32473 \
             service=\"scheduler\" position=\"7\" actor_kind=\"operator\" actor_id=\"01010101010101010101010101010101\" \
             actor_name=\"ada\" address=\"2001:db8::1\" action=\"POST /api/v1/jobs\" object=\"job/1\" object=\"device/2\" \
             outcome=\"accepted\" correlation=\"02020202020202020202020202020202\"] POST /api/v1/jobs: accepted"
        );
    }

    #[test]
    fn what_was_refused_is_a_warning() {
        let mut refused = entry();
        refused.record.outcome = Outcome::Refused(Code::RightMissing);
        refused.record.more = 41;
        let text = message(&refused, "h");
        assert!(text.starts_with("<108>1 "), "{text}");
        assert!(
            text.contains(" outcome=\"right_missing\"") && text.contains(" more=\"41\"]"),
            "{text}"
        );
    }

    /// RFC 5424 section 6.3.3: `"`, `\` and `]` are escaped in a value, and nothing else is.
    #[test]
    fn values_are_escaped_as_the_rfc_says() {
        assert_eq!(escaped(r#"a"b\c]d[e"#), r#"a\"b\\c\]d[e"#);
        assert_eq!(escaped("ä=€ '"), "ä=€ '");
        assert_eq!(escaped("a\r\nb\u{1b}c\0"), "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}");
        let mut hostile = entry();
        hostile.record.objects = vec!["x\"] evil [y z=\"1\\".into()];
        let text = message(&hostile, "h");
        assert!(text.contains(r#"object="x\"\] evil [y z=\"1\\""#), "{text}");
        assert!(!text.contains('\n'));
    }

    /// RFC 5424 section 6: header fields are printable ASCII of bounded length, `-` where there is nothing.
    #[test]
    fn header_fields_are_printable_ascii_of_bounded_length() {
        assert_eq!(field("a b\tc\nd", 9), "abcd");
        assert_eq!(field("", 9), "-");
        assert_eq!(field("äöü", 9), "-");
        assert_eq!(field(&"x".repeat(300), MAX_HOSTNAME).len(), 255);
        let mut odd = entry();
        odd.record.verb = "v v".repeat(40);
        odd.record.action = "GET /\u{202e}ä".into();
        let text = message(&odd, &"h".repeat(999));
        let words: Vec<&str> = text.splitn(7, ' ').collect();
        assert_eq!((words[2].len(), words[5].len()), (255, 32));
        assert!(text.ends_with("] GET /??: accepted"), "{text}");
    }

    /// RFC 6587 section 3.4.1: the count is of bytes.
    #[test]
    fn a_frame_counts_bytes_not_characters() {
        assert_eq!(counted("äb"), "3 äb");
        assert_eq!(counted(""), "0 ");
    }
}
