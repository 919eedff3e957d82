//! What travels around a body: the headers of a message.
//!
//! Nothing is ever authorised by a plain header. The biscuit authorises because it is signed; the device is known by the
//! subject it may publish to and by its signature.

use crate::ids::{CorrelationId, MessageId};

/// Is the header that carries the message's id.
pub const MESSAGE_ID: &str = "Borealis-Message-Id";
/// Is the header that carries the correlation id.
pub const CORRELATION_ID: &str = "Borealis-Correlation-Id";
/// Is the header that carries the trace context.
///
/// Source: W3C Trace Context.
pub const TRACE_PARENT: &str = "traceparent";
/// Is the header that names the body's schema.
pub const SCHEMA: &str = "Borealis-Schema";
/// Is the header that carries the operator's attenuated biscuit.
pub const BISCUIT: &str = "Borealis-Biscuit";

/// Is the schema that this program speaks; a peer that names another major version is refused.
pub const SCHEMA_V1: &str = "borealis/1.0";

/// Holds the headers of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// This message.
    pub message_id: MessageId,
    /// The act that caused it.
    pub correlation_id: CorrelationId,
    /// The trace it belongs to, if any.
    pub trace_parent: Option<String>,
    /// The attenuated biscuit of an operator's request, base64url.
    pub biscuit: Option<String>,
}

impl Envelope {
    /// Lists the headers as (name, value).
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            (MESSAGE_ID, self.message_id.to_string()),
            (CORRELATION_ID, self.correlation_id.to_string()),
            (SCHEMA, SCHEMA_V1.to_owned()),
        ];
        all.extend(self.trace_parent.clone().map(|v| (TRACE_PARENT, v)));
        all.extend(self.biscuit.clone().map(|v| (BISCUIT, v)));
        all
    }
}

/// Tells whether a body of that schema can be read here: the same major version, or none named.
pub fn schema_is_known(schema: Option<&str>) -> bool {
    schema.is_none_or(|s| s == SCHEMA_V1 || s.starts_with("borealis/1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_is_tolerated_a_major_one_is_not() {
        assert!(schema_is_known(None) && schema_is_known(Some("borealis/1.9")));
        assert!(!schema_is_known(Some("borealis/2.0")) && !schema_is_known(Some("other")));
    }
}
