//! Types and kinds.

use super::text;
use crate::value::{Elem, MapKind, Value};

/// reflect.Kind's name.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Enum(..) => "int",
        Value::Int64(_) | Value::Duration(_) => "int64",
        Value::Byte(_) => "uint8",
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::Array(array) if array.elem == Elem::PairItem => "array",
        Value::Array(_) | Value::Bytes(_) => "slice",
        Value::Map(map) => match map.kind {
            MapKind::Struct(name) if name.starts_with('*') => "ptr",
            MapKind::Struct(_) => "struct",
            _ => "map",
        },
        Value::Func(_) => "func",
        Value::Time(_) => "struct",
        Value::Location(_) => "ptr",
    }
}

pub(super) fn type_is_like(args: &[Value]) -> Result<Value, String> {
    let (target, name) = (text(&args[0]), args[1].go_type());
    Ok(Value::Bool(target == name || name.strip_prefix('*') == Some(target)))
}

/// reflect.DeepEqual: types must agree, NaN is not itself.
pub(super) fn deep_equal(a: &Value, b: &Value) -> bool {
    a == b
}
