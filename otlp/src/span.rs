//! A span, as whoever saw it tells it: when it is over.

use std::time::SystemTime;

use tiphys_contract::{SpanId, TraceId};

use crate::message::{AnyValue, KeyValue, any_value, nanos};
use crate::message::{Span as Encoded, Status};

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// W3C's `tracestate` of that trace.
    pub state: String,
    /// Which one it is.
    pub id: SpanId,
    /// What it is part of.
    pub parent: Option<SpanId>,
    /// What kind of thing it was.
    pub name: &'static str,
    /// Who waits for it.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// When it was over.
    pub end: SystemTime,
    /// More about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// How it came out.
    pub outcome: Outcome,
}

/// Who waits for a span's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What began it, in the same process.
    Internal,
    /// Nobody: others go on with what it made.
    Producer,
}

/// How a span came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is said.
    #[default]
    Unset,
    /// As it should.
    Ok,
    /// It failed, and why.
    Failed(String),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<Value> for AnyValue {
    fn from(value: Value) -> AnyValue {
        let value = match value {
            Value::Text(text) => any_value::Value::Text(text),
            Value::Bool(value) => any_value::Value::Bool(value),
            Value::Int(number) => any_value::Value::Int(number),
        };
        AnyValue { value: Some(value) }
    }
}

impl From<Span> for Encoded {
    fn from(span: Span) -> Encoded {
        let attribute = |(key, value): (&str, Value)| KeyValue { key: key.to_owned(), value: Some(value.into()) };
        Encoded {
            trace_id: span.trace.bytes().to_vec(),
            span_id: span.id.bytes().to_vec(),
            trace_state: span.state,
            parent_span_id: span.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
            name: span.name.to_owned(),
            kind: match span.kind {
                Kind::Internal => 1,
                Kind::Producer => 4,
            },
            start_time_unix_nano: nanos(span.start),
            // A clock that was set back in between makes no time negative.
            end_time_unix_nano: nanos(span.end).max(nanos(span.start)),
            attributes: span.attributes.into_iter().map(attribute).collect(),
            status: match span.outcome {
                Outcome::Unset => None,
                Outcome::Ok => Some(Status { message: String::new(), code: 1 }),
                Outcome::Failed(message) => Some(Status { message, code: 2 }),
            },
            // The parent's process is another one, or may be: it is not known here.
            flags: 1,
        }
    }
}
