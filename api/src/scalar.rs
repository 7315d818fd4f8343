//! Scalars that Kubernetes and Argo write in more than one way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::object::Field;

/// Text that may be written as a number or a boolean in a manifest; it is always written back as text.
///
/// argo: anystring.go. Numbers print in full without exponent, as Go's `FormatFloat(v, 'f', -1)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AnyString(pub String);

impl AnyString {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AnyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for AnyString {
    fn from(text: T) -> Self {
        AnyString(text.into())
    }
}

impl<'de> Deserialize<'de> for AnyString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(AnyString(match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => plain_number(&number),
            // Go's decoder leaves the text empty for anything else.
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        }))
    }
}

impl Field for AnyString {
    fn is_empty(&self) -> bool {
        false // Go keeps a pointer: present, even when it is empty text.
    }
}

/// A JSON number as Go prints it without exponent: `1000` for 1e3, `0.5` for .5.
pub fn plain_number(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => integer.to_string(),
        (_, Some(integer), _) => integer.to_string(),
        (_, _, Some(float)) => format!("{float}"),
        _ => number.to_string(),
    }
}

/// A number, or text that may hold a template tag or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// Written as a number.
    Int(i64),
    /// Written as text.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        IntOrString::Int(0)
    }
}

impl IntOrString {
    /// The number, parsed from the text where it is text. None where it is no integer.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(text) => text.trim().parse().ok(),
        }
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrString::Int(number) => number.fmt(f),
            IntOrString::String(text) => f.write_str(text),
        }
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            IntOrString::Int(number) => serializer.serialize_i64(*number),
            IntOrString::String(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(IntOrString::String(text)),
            Value::Number(number) => number
                .as_i64()
                .map(IntOrString::Int)
                .ok_or_else(|| D::Error::custom(format!("expected an integer or text, found {number}"))),
            other => Err(D::Error::custom(format!("expected an integer or text, found {other}"))),
        }
    }
}

impl Field for IntOrString {
    fn is_empty(&self) -> bool {
        false
    }
    fn schema(_above: &mut Vec<&'static str>) -> Value {
        serde_json::json!({"x-kubernetes-int-or-string": true, "nullable": true})
    }
}

/// A moment with a precision of a second, as Kubernetes writes it (`2006-01-02T15:04:05Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub jiff::Timestamp);

impl Time {
    /// The moment `seconds` after the epoch.
    pub fn from_second(seconds: i64) -> Time {
        Time(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Seconds since the epoch.
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }
}

impl Default for Time {
    fn default() -> Self {
        Time(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Time).map_err(|error| D::Error::custom(format!("`{text}` is no RFC 3339 time: {error}")))
    }
}

impl Field for Time {
    fn is_empty(&self) -> bool {
        false
    }
    fn schema(_above: &mut Vec<&'static str>) -> Value {
        crate::object::scalar("string")
    }
}

/// One element of a loop: any JSON value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Item(pub Value);

impl Field for Item {
    fn is_empty(&self) -> bool {
        false
    }
}

/// A number that keeps its text (histogram buckets).
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Amount(pub Value);

impl Field for Amount {
    fn is_empty(&self) -> bool {
        false
    }
}
