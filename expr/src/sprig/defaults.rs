//! Empty values and defaults.

use crate::value::{MapKind, Value};

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::Bool(value) => !value,
        Value::Int(value) | Value::Int64(value) | Value::Duration(value) | Value::Enum(_, value) => *value == 0,
        Value::Byte(value) => *value == 0,
        Value::Float(value) => *value == 0.0,
        Value::Str(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Array(array) => array.items.is_empty(),
        Value::Map(map) => !matches!(map.kind, MapKind::Struct(_)) && map.len() == 0,
        Value::Func(_) | Value::Time(_) | Value::Location(_) => false,
    }
}

pub(super) fn default_value(args: &[Value]) -> Result<Value, String> {
    Ok(match args.get(1) {
        Some(given) if !is_empty(given) => given.clone(),
        _ => args[0].clone(),
    })
}

/// Values cannot be changed, so the value is its own copy; nil has none in Go.
pub(super) fn deep_copy(args: &[Value]) -> Result<Value, String> {
    match &args[0] {
        Value::Nil => Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        value => Ok(value.clone()),
    }
}
