//! encoding/json: values as Go marshals them (sorted keys, `<>&` escaped, floats in Go's form).

use crate::value::{MapKind, Value};
use std::fmt::Write;

/// A value that encoding/json refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    /// A type with no JSON form: functions, maps with keys of any type.
    #[error("json: unsupported type: {0}")]
    Type(String),
    /// NaN and the infinities.
    #[error("json: unsupported value: {0}")]
    Value(String),
}

/// `json.Marshal`.
///
/// # Errors
/// As Go's.
pub fn marshal(value: &Value) -> Result<String, MarshalError> {
    let mut out = String::new();
    write_value(&mut out, value, &Style { indent: None, escape_html: true }, 0)?;
    Ok(out)
}

/// `json.MarshalIndent(value, "", indent)`.
///
/// # Errors
/// As Go's.
pub fn marshal_indent(value: &Value, indent: &str) -> Result<String, MarshalError> {
    let mut out = String::new();
    write_value(&mut out, value, &Style { indent: Some(indent), escape_html: true }, 0)?;
    Ok(out)
}

/// `json.Encoder` with SetEscapeHTML(false).
pub(crate) fn marshal_raw(value: &Value) -> Result<String, MarshalError> {
    let mut out = String::new();
    write_value(&mut out, value, &Style { indent: None, escape_html: false }, 0)?;
    Ok(out)
}

/// The text as a JSON string, as `json.Marshal` writes it (with `<`, `>` and `&` escaped).
pub fn json_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(&mut out, text, true);
    out
}

struct Style<'s> {
    indent: Option<&'s str>,
    escape_html: bool,
}

fn line(out: &mut String, style: &Style<'_>, depth: usize) {
    if let Some(indent) = style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn write_value(out: &mut String, value: &Value, style: &Style<'_>, depth: usize) -> Result<(), MarshalError> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) | Value::Int64(value) | Value::Duration(value) | Value::Enum(_, value) => {
            out.push_str(&value.to_string());
        }
        Value::Byte(value) => out.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push_str(&super::float::format_float_json(*value)),
        Value::Float(value) => return Err(MarshalError::Value(super::format_float_g(*value))),
        Value::Str(text) => write_string(out, text, style.escape_html),
        Value::Bytes(bytes) => {
            let _ = write!(out, "\"{}\"", crate::base64_encode(bytes));
        }
        Value::Time(time) => write_string(out, &time.rfc3339(), style.escape_html),
        Value::Location(_) => out.push_str("{}"),
        Value::Func(function) => return Err(MarshalError::Type(function.go_type())),
        Value::Array(array) if array.is_nil => out.push_str("null"),
        Value::Array(array) => {
            out.push('[');
            for (i, item) in array.items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(out, style, depth + 1);
                write_value(out, item, style, depth + 1)?;
            }
            if !array.items.is_empty() {
                line(out, style, depth);
            }
            out.push(']');
        }
        Value::Map(map) => {
            if matches!(map.kind, MapKind::AnyAny | MapKind::Groups) {
                return Err(MarshalError::Type(value.go_type()));
            }
            if let Some(text) = crate::sprig::semver_text(map) {
                write_string(out, text, style.escape_html);
                return Ok(());
            }
            out.push('{');
            for (i, (key, item)) in map.entries.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(out, style, depth + 1);
                write_string(out, key, style.escape_html);
                out.push_str(if style.indent.is_some() { ": " } else { ":" });
                write_value(out, item, style, depth + 1)?;
            }
            if !map.entries.is_empty() {
                line(out, style, depth);
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_string(out: &mut String, text: &str, escape_html: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' if escape_html => drop(write!(out, "\\u{:04x}", c as u32)),
            '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
