//! Results as Go prints them: plain values as `%v`, lists and objects as encoding/json writes them.

use serde_json::Value;
use tiphys_expr::go;

use super::walk::Found;

/// The results of one piece of a template, with spaces between them.
pub(super) fn results(out: &mut String, results: &[Found<'_>]) -> Result<(), String> {
    for (at, result) in results.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(&printed(result)?);
    }
    Ok(())
}

fn printed(found: &Found<'_>) -> Result<String, String> {
    match found {
        Found::Part(Value::Null) => Ok("null".to_owned()),
        Found::Part(part @ (Value::Object(_) | Value::Array(_))) => {
            go::marshal(&held(part)).map_err(|error| error.to_string())
        }
        found => Ok(value(found)),
    }
}

/// `%v` of a result.
pub(super) fn value(found: &Found<'_>) -> String {
    match found {
        Found::Part(Value::String(text)) => text.clone(),
        Found::Part(part) => go::display_value(&held(part)),
        Found::Text(text) => (*text).to_owned(),
        Found::Int(value) => value.to_string(),
        Found::Byte(value) => value.to_string(),
        Found::Float(value) => go::format_float_g(*value),
        Found::Bool(value) => value.to_string(),
        Found::Nothing => "<no value>".to_owned(),
    }
}

/// Go's name for the type of a result.
pub(super) fn type_name(found: &Found<'_>) -> &'static str {
    match found {
        Found::Part(Value::Object(_)) => "map[string]interface {}",
        Found::Part(Value::Array(_)) => "[]interface {}",
        Found::Part(Value::String(_)) | Found::Text(_) => "string",
        Found::Part(Value::Bool(_)) | Found::Bool(_) => "bool",
        Found::Part(Value::Number(number)) if number.is_i64() => "int64",
        Found::Part(Value::Number(_)) | Found::Float(_) => "float64",
        Found::Int(_) => "int",
        Found::Byte(_) => "uint8",
        Found::Part(Value::Null) | Found::Nothing => "<nil>",
    }
}

/// The value as Kubernetes' clients hold it: whole numbers are integers.
pub(crate) fn held(json: &Value) -> tiphys_expr::Value {
    use tiphys_expr::Value as Held;
    match json {
        Value::Null => Held::Nil,
        Value::Bool(value) => Held::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Held::Int64(value),
            None => Held::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Held::str(text.as_str()),
        Value::Array(items) => Held::array(items.iter().map(held).collect()),
        Value::Object(fields) => Held::map(fields.iter().map(|(name, value)| (name.as_str(), held(value)))),
    }
}
