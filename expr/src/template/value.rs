//! Substitution in decoded JSON.

use super::{Demand, TemplateError, Variables, scan, strict, substitute, whole};
use crate::go::json_quote;
use serde_json::Value;

/// As [`super::replace`] on the JSON text of the value: substitutes inside its strings and object keys.
///
/// # Errors
/// As [`super::replace`].
pub fn replace_value(json: &Value, variables: &dyn Variables, allow_unresolved: bool) -> Result<Value, TemplateError> {
    let demand = if allow_unresolved { Demand::Nothing } else { Demand::Everything };
    replace_with(json, variables, demand)
}

/// As [`super::replace_strict`] on the JSON text of the value.
///
/// # Errors
/// As [`super::replace_strict`].
pub fn replace_strict_value(
    json: &Value,
    variables: &dyn Variables,
    prefixes: &[&str],
) -> Result<Value, TemplateError> {
    replace_with(json, variables, strict(prefixes))
}

fn replace_with(json: &Value, variables: &dyn Variables, demand: Demand<'_>) -> Result<Value, TemplateError> {
    match tags_of(json) {
        Tags::None => Ok(json.clone()),
        Tags::Closed => walk(json, variables, demand),
        Tags::Open => {
            // A tag opens in one string and closes in another: only the text as a whole shows it.
            let text = serde_json::to_string(json).map_err(|_| TemplateError::InvalidJson)?;
            let replaced = whole(&text, variables, demand)?;
            serde_json::from_str(&replaced).map_err(|_| TemplateError::InvalidResult)
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Tags {
    None,
    Closed,
    Open,
}

fn tags_of(json: &Value) -> Tags {
    let text = |text: &str| match scan(text) {
        Ok(tags) if tags.is_empty() => Tags::None,
        Ok(_) => Tags::Closed,
        Err(_) => Tags::Open,
    };
    match json {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(tags_of).max().unwrap_or(Tags::None),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| text(key).max(tags_of(value))).max().unwrap_or(Tags::None)
        }
        _ => Tags::None,
    }
}

fn walk(json: &Value, variables: &dyn Variables, demand: Demand<'_>) -> Result<Value, TemplateError> {
    Ok(match json {
        Value::String(text) => Value::String(string(text, variables, demand)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| walk(item, variables, demand)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let mut out = serde_json::Map::new();
            for (key, value) in fields {
                out.insert(string(key, variables, demand)?, walk(value, variables, demand)?);
            }
            Value::Object(out)
        }
        other => other.clone(),
    })
}

fn string(text: &str, variables: &dyn Variables, demand: Demand<'_>) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let quoted = json_quote(text);
    let replaced = substitute(&quoted, variables, demand)?;
    serde_json::from_str(&replaced).map_err(|_| TemplateError::InvalidResult)
}
