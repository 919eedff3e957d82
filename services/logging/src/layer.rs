//! From a `tracing` event to one line of JSON.

use crate::LogFile;
use crate::redact::redact;
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Writes each event that it is shown as one line.
///
/// **Shape**: the module page of the crate. Fields of the enclosing spans are fields of the line; the innermost value
/// of a name wins, and the event's own over all.
#[derive(Debug)]
pub struct JsonLayer {
    service: String,
    file: Arc<LogFile>,
    errors: Option<Arc<LogFile>>,
    stderr: bool,
}

impl JsonLayer {
    /// Makes the layer for a service; errors go to the second file too, and with `stderr` a short form to the terminal.
    #[must_use]
    pub fn new(service: &str, file: Arc<LogFile>, errors: Option<Arc<LogFile>>, stderr: bool) -> Self {
        Self {
            service: service.to_owned(),
            file,
            errors,
            stderr,
        }
    }

    fn write(&self, event: &Event<'_>, mut fields: Fields) {
        let now = self.file.clock().now_local();
        let meta = event.metadata();
        let message = fields.take_text("message");
        if self.stderr {
            let text = short_form(now, *meta.level(), &message, &fields);
            // A closed terminal is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{}", redact(&text));
        }
        let line = Line {
            ts: now.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Millis, true),
            level: meta.level().as_str(),
            service: &self.service,
            target: meta.target(),
            correlation_id: fields.0.remove("correlation_id"),
            message_id: fields.0.remove("message_id"),
            message,
            fields: fields.0,
        };
        // Texts and numbers always have a JSON form.
        let Ok(json) = serde_json::to_string(&line) else {
            return;
        };
        let json = redact(&json);
        self.file.write_line(&json);
        if *meta.level() == Level::ERROR
            && let Some(errors) = &self.errors
        {
            errors.write_line(&json);
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    level: &'a str,
    service: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Value>,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, Value>,
}

/// What a person at a terminal wants: local time, level, text, fields.
fn short_form(now: DateTime<FixedOffset>, level: Level, message: &str, fields: &Fields) -> String {
    let mut text = format!("{} {level:5} {message}", now.format("%H:%M:%S"));
    for (name, value) in &fields.0 {
        let _ = match value {
            Value::String(value) => write!(text, " {name}={value}"),
            value => write!(text, " {name}={value}"),
        };
    }
    text.replace('\n', "\\n")
}

impl<S> Layer<S> for JsonLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields
                    .0
                    .extend(outer.0.iter().map(|(name, value)| (*name, value.clone())));
            }
        }
        event.record(&mut fields);
        self.write(event, fields);
    }
}

/// The fields of a span or event, by name.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

impl Fields {
    fn take_text(&mut self, name: &str) -> String {
        match self.0.remove(name) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    /// Records an error with the chain of its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.0.insert(field.name(), text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests;
