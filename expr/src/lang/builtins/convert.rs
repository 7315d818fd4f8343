//! Conversions and rounding.

use crate::lang::ops::{float_to_int, not_a};
use crate::value::Value;

/// `int(x)`, also `asInt(x)`.
pub(in crate::lang) fn int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Float(value) => Ok(Value::Int(float_to_int(*value))),
        Value::Duration(value) | Value::Enum(_, value) => Ok(Value::Int(*value)),
        Value::Str(text) => match text.parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => Err(format!("invalid operation: int({text})")),
        },
        _ => value.as_int().map(Value::Int).ok_or_else(|| format!("invalid operation: int({})", value.go_type())),
    }
}

/// `float(x)`, also `asFloat(x)`.
pub(in crate::lang) fn float(value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::Str(text) => crate::go::parse_float(text).ok_or_else(|| format!("invalid operation: float({text})"))?,
        _ => value.as_number().ok_or_else(|| format!("invalid operation: float({})", value.go_type()))?,
    };
    Ok(Value::Float(number))
}

pub(super) fn type_of(args: &[Value]) -> Result<Value, String> {
    let name = match &args[0] {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Int64(_) => "int",
        Value::Byte(_) => "uint",
        Value::Float(_) => "float",
        Value::Str(_) => "string",
        Value::Array(_) | Value::Bytes(_) => "array",
        Value::Map(map) => match map.kind {
            crate::value::MapKind::Struct(name) => name,
            _ => "map",
        },
        Value::Func(_) => "func",
        Value::Location(_) => "unknown",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Enum(kind, _) => kind.go_type(),
    };
    Ok(Value::str(name))
}

pub(super) fn abs(args: &[Value]) -> Result<Value, String> {
    Ok(match &args[0] {
        Value::Int(value) => Value::Int(value.wrapping_abs()),
        Value::Int64(value) => Value::Int64(value.wrapping_abs()),
        Value::Float(value) => Value::Float(if *value < 0.0 { -value } else { *value }),
        Value::Byte(value) => Value::Byte(*value),
        other => return Err(format!("invalid argument for abs (type {})", other.go_type())),
    })
}

fn rounded(name: &str, args: &[Value], f: fn(f64) -> f64) -> Result<Value, String> {
    match args[0].as_number() {
        Some(number) => Ok(Value::Float(f(number))),
        None => Err(format!("invalid argument for {name} (type {})", args[0].go_type())),
    }
}

pub(super) fn ceil(args: &[Value]) -> Result<Value, String> {
    rounded("ceil", args, f64::ceil)
}

pub(super) fn floor(args: &[Value]) -> Result<Value, String> {
    rounded("floor", args, f64::floor)
}

pub(super) fn round(args: &[Value]) -> Result<Value, String> {
    rounded("round", args, f64::round)
}

pub(super) fn whole(value: &Value) -> Result<i64, String> {
    match value {
        Value::Float(number) => Ok(float_to_int(*number)),
        _ => value.as_int().ok_or_else(|| not_a(value, "int")),
    }
}
