//! The operators on values, with Go's numeric rules.

use super::ast::BinaryOp;
use crate::value::Value;
use std::cmp::Ordering;

/// `==`.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(x), Value::Array(y)) if !x.is_nil && !y.is_nil => {
            x.items.len() == y.items.len() && x.items.iter().zip(&y.items).all(|(x, y)| equal(x, y))
        }
        (Value::Time(x), Value::Time(y)) => x.instant == y.instant,
        _ => match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => x == y,
            _ => match (a.as_number(), b.as_number()) {
                (Some(x), Some(y)) => x == y,
                _ => a.is_nil() && b.is_nil() || a == b,
            },
        },
    }
}

/// The order of two values that have one.
fn order(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return Some(Some(x.cmp(&y)));
    }
    if let (Some(x), Some(y)) = (a.as_number(), b.as_number()) {
        return Some(x.partial_cmp(&y));
    }
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => Some(Some(x.cmp(y))),
        (Value::Time(x), Value::Time(y)) => Some(Some(x.instant.cmp(&y.instant))),
        (Value::Duration(x), Value::Duration(y)) => Some(Some(x.cmp(y))),
        _ => None,
    }
}

fn mismatch(op: BinaryOp, a: &Value, b: &Value) -> String {
    format!("invalid operation: {} {} {}", a.go_type(), op.text(), b.go_type())
}

/// `<` and its kin.
pub(crate) fn compare(op: BinaryOp, a: &Value, b: &Value) -> Result<bool, String> {
    let ordering = order(a, b).ok_or_else(|| mismatch(op, a, b))?;
    Ok(match op {
        BinaryOp::Less => ordering == Some(Ordering::Less),
        BinaryOp::More => ordering == Some(Ordering::Greater),
        BinaryOp::LessEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// The strict operators (all but `and`, `or`, `??`).
pub(crate) fn binary(op: BinaryOp, a: &Value, b: &Value) -> Result<Value, String> {
    use BinaryOp as Op;
    match op {
        Op::Equal => Ok(Value::Bool(equal(a, b))),
        Op::NotEqual => Ok(Value::Bool(!equal(a, b))),
        Op::Less | Op::More | Op::LessEqual | Op::MoreEqual => compare(op, a, b).map(Value::Bool),
        Op::Add => add(a, b),
        Op::Subtract => subtract(a, b),
        Op::Multiply => multiply(a, b),
        Op::Divide => match (a.as_number(), b.as_number()) {
            (Some(x), Some(y)) => Ok(Value::Float(x / y)),
            _ => Err(mismatch(op, a, b)),
        },
        Op::Modulo => match (a.as_int(), b.as_int()) {
            (Some(_), Some(0)) => Err("runtime error: integer divide by zero".to_owned()),
            (Some(x), Some(y)) => Ok(Value::Int(x.wrapping_rem(y))),
            _ => Err(mismatch(op, a, b)),
        },
        Op::Power | Op::PowerCaret => Ok(Value::Float(to_float(a)?.powf(to_float(b)?))),
        Op::In => contains(a, b).map(Value::Bool),
        Op::Matches => matches(a, b).map(Value::Bool),
        Op::Contains => texts(a, b, |a, b| a.contains(b)),
        Op::StartsWith => texts(a, b, |a, b| a.starts_with(b)),
        Op::EndsWith => texts(a, b, |a, b| a.ends_with(b)),
        Op::Range => range(a, b),
        Op::Or | Op::OrWord | Op::And | Op::AndWord | Op::Coalesce => Err(mismatch(op, a, b)),
    }
}

fn add(a: &Value, b: &Value) -> Result<Value, String> {
    Ok(match (a, b) {
        (Value::Str(x), Value::Str(y)) => Value::str(format!("{x}{y}")),
        (Value::Time(time), Value::Duration(d)) | (Value::Duration(d), Value::Time(time)) => {
            Value::Time(time.plus(*d).into())
        }
        (Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_add(*y)),
        _ => return arithmetic(BinaryOp::Add, a, b, i64::wrapping_add, |x, y| x + y),
    })
}

fn subtract(a: &Value, b: &Value) -> Result<Value, String> {
    Ok(match (a, b) {
        (Value::Time(x), Value::Time(y)) => Value::Duration(x.minus(y)),
        (Value::Time(time), Value::Duration(d)) => Value::Time(time.plus(d.wrapping_neg()).into()),
        (Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_sub(*y)),
        _ => return arithmetic(BinaryOp::Subtract, a, b, i64::wrapping_sub, |x, y| x - y),
    })
}

fn multiply(a: &Value, b: &Value) -> Result<Value, String> {
    match (a, b) {
        (Value::Duration(x), Value::Duration(y)) => Ok(Value::Duration(x.wrapping_mul(*y))),
        (Value::Duration(x), other) | (other, Value::Duration(x)) => match (other.as_int(), other.as_number()) {
            (Some(y), _) => Ok(Value::Duration(x.wrapping_mul(y))),
            (_, Some(y)) => Ok(Value::Float(*x as f64 * y)),
            _ => Err(mismatch(BinaryOp::Multiply, a, b)),
        },
        _ => arithmetic(BinaryOp::Multiply, a, b, i64::wrapping_mul, |x, y| x * y),
    }
}

fn arithmetic(
    op: BinaryOp,
    a: &Value,
    b: &Value,
    integers: fn(i64, i64) -> i64,
    floats: fn(f64, f64) -> f64,
) -> Result<Value, String> {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return Ok(Value::Int(integers(x, y)));
    }
    match (a.as_number(), b.as_number()) {
        (Some(x), Some(y)) => Ok(Value::Float(floats(x, y))),
        _ => Err(mismatch(op, a, b)),
    }
}

/// `-x`.
pub(super) fn negate(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Int64(value) => Value::Int64(value.wrapping_neg()),
        Value::Byte(value) => Value::Byte(value.wrapping_neg()),
        Value::Float(value) => Value::Float(-value),
        _ => return Err(format!("invalid operation: - {}", value.go_type())),
    })
}

/// Go's conversion of a float64 to int on amd64: what does not fit becomes the smallest int.
pub(crate) fn float_to_int(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) { value as i64 } else { i64::MIN }
}

/// runtime.ToInt.
pub(crate) fn to_int(value: &Value) -> Result<i64, String> {
    match value {
        Value::Float(value) => Ok(float_to_int(*value)),
        _ => value.as_int().ok_or_else(|| format!("invalid operation: int({})", value.go_type())),
    }
}

/// runtime.ToFloat64.
pub(crate) fn to_float(value: &Value) -> Result<f64, String> {
    value.as_number().ok_or_else(|| format!("invalid operation: float({})", value.go_type()))
}

/// `in`.
fn contains(needle: &Value, haystack: &Value) -> Result<bool, String> {
    match haystack {
        Value::Nil => Ok(false),
        Value::Array(array) => Ok(array.items.iter().any(|item| equal(item, needle))),
        Value::Bytes(bytes) => Ok(bytes.iter().any(|byte| equal(&Value::Byte(*byte), needle))),
        Value::Map(map) => match (map.kind, needle) {
            (crate::value::MapKind::AnyAny | crate::value::MapKind::Groups, _) => Ok(map.get(needle).is_some()),
            (_, Value::Str(key)) => Ok(map.entries.contains_key(key)),
            (_, Value::Nil) => Ok(map.entries.contains_key("")),
            _ => Err(key_mismatch(needle)),
        },
        _ => Err(format!("operator \"in\" not defined on {}", haystack.go_type())),
    }
}

/// The panic of reflect for a key of the wrong type.
pub(super) fn key_mismatch(key: &Value) -> String {
    format!("reflect.Value.MapIndex: value of type {} is not assignable to type string", key.go_type())
}

/// The message of Go's failed type assertion.
pub(crate) fn not_a(value: &Value, wanted: &str) -> String {
    if *value == Value::Nil {
        return format!("interface conversion: interface {{}} is nil, not {wanted}");
    }
    format!("interface conversion: interface {{}} is {}, not {wanted}", value.go_type())
}

fn texts(a: &Value, b: &Value, f: fn(&str, &str) -> bool) -> Result<Value, String> {
    if a.is_nil() || b.is_nil() {
        return Ok(Value::Bool(false));
    }
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Ok(Value::Bool(f(a, b))),
        (Value::Str(_), other) | (other, _) => Err(not_a(other, "string")),
    }
}

pub(crate) fn compile_regex(pattern: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(&crate::go::translate_pattern(pattern))
        .size_limit(4 << 20)
        .nest_limit(100)
        .build()
        .map_err(|error| format!("error parsing regexp: {}", crate::go::describe_pattern_error(pattern, &error)))
}

fn matches(a: &Value, b: &Value) -> Result<bool, String> {
    if a.is_nil() || b.is_nil() {
        return Ok(false);
    }
    let Value::Str(pattern) = b else { return Err(not_a(b, "string")) };
    match a {
        Value::Str(text) => Ok(compile_regex(pattern)?.is_match(text)),
        Value::Bytes(bytes) => Ok(compile_regex(pattern)?.is_match(&String::from_utf8_lossy(bytes))),
        _ => Err(not_a(a, "[]uint8")),
    }
}

/// The largest number of elements an expression may create in all (expr-lang's memory budget).
pub(crate) const MAX_ELEMENTS: usize = 1_000_000;
pub(crate) const BUDGET: &str = "memory budget exceeded";

fn range(a: &Value, b: &Value) -> Result<Value, String> {
    let (low, high) = (to_int(a)?, to_int(b)?);
    let size = i128::from(high) - i128::from(low) + 1;
    if size >= MAX_ELEMENTS as i128 {
        return Err(BUDGET.to_owned());
    }
    Ok(Value::slice(crate::value::Elem::Int, (low..=high).map(Value::Int).collect()))
}

/// `node[property]`, and `node.property` of maps and lists.
pub(super) fn fetch(from: &Value, key: &Value) -> Result<Value, String> {
    let out_of_range = |index: i64, length: usize| format!("index out of range: {index} (array length is {length})");
    let at = |length: usize| -> Result<usize, String> {
        let index = to_int(key)?;
        let index = if index < 0 { index + length as i64 } else { index };
        usize::try_from(index).ok().filter(|i| *i < length).ok_or_else(|| out_of_range(index, length))
    };
    match from {
        Value::Array(array) => Ok(array.items[at(array.items.len())?].clone()),
        Value::Str(text) => Ok(Value::Byte(text.as_bytes()[at(text.len())?])),
        Value::Bytes(bytes) => Ok(Value::Byte(bytes[at(bytes.len())?])),
        Value::Map(map) => {
            if let crate::value::MapKind::Struct(name) = map.kind {
                return match key {
                    Value::Str(field) => map.entries.get(field).cloned(),
                    _ => None,
                }
                .ok_or_else(|| format!("cannot fetch {key} from {name}"));
            }
            let any_key = matches!(map.kind, crate::value::MapKind::AnyAny | crate::value::MapKind::Groups);
            let found = match key {
                Value::Nil if !any_key => map.entries.get(""),
                Value::Str(_) => map.get(key),
                _ if any_key => map.get(key),
                _ => return Err(key_mismatch(key)),
            };
            Ok(found.cloned().unwrap_or_else(|| match map.kind {
                crate::value::MapKind::StrStr => Value::str(""),
                crate::value::MapKind::Groups => Value::nil_slice(crate::value::Elem::Any),
                _ => Value::Nil,
            }))
        }
        _ => Err(format!("cannot fetch {key} from {}", from.go_type())),
    }
}

/// `node[from:to]`.
pub(super) fn slice(node: &Value, from: Option<&Value>, to: Option<&Value>) -> Result<Value, String> {
    let length = match node {
        Value::Array(array) => array.items.len(),
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ if to.is_none() => return Err(format!("invalid argument for len (type {})", node.go_type())),
        _ => return Err(format!("cannot slice {}", from.unwrap_or(&Value::Int(0)))),
    };
    let bound = |value: Option<&Value>, default: usize| -> Result<usize, String> {
        let Some(value) = value else { return Ok(default) };
        let value = to_int(value)?;
        let value = if value < 0 { value + length as i64 } else { value };
        Ok(usize::try_from(value).unwrap_or(0))
    };
    let to = bound(to, length)?.min(length);
    let from = bound(from, 0)?.min(to);
    Ok(match node {
        Value::Array(array) => Value::Array(array.part(&array.items[from..to]).into()),
        Value::Str(text) => Value::str(String::from_utf8_lossy(&text.as_bytes()[from..to])),
        Value::Bytes(bytes) => Value::Bytes(bytes[from..to].into()),
        _ => Value::Nil,
    })
}
