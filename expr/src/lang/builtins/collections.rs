//! Functions on lists and maps.

use crate::lang::ast::BinaryOp;
use crate::lang::ops;
use crate::value::{Array, Elem, Map, MapKind, Value};
use std::sync::Arc;

/// The kind of a value as reflect names it in messages.
pub(crate) fn kind(value: &Value) -> &'static str {
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
            MapKind::Struct(_) => "struct",
            _ => "map",
        },
        Value::Func(_) => "func",
        Value::Time(_) => "struct",
        Value::Location(_) => "ptr",
    }
}

fn list<'a>(what: &str, value: &'a Value) -> Result<&'a Array, String> {
    match value {
        Value::Array(array) => Ok(array),
        _ => Err(format!("cannot {what} {}", kind(value))),
    }
}

fn map<'a>(what: &str, value: &'a Value, tail: &str) -> Result<&'a Map, String> {
    match value {
        Value::Map(map) if !matches!(map.kind, MapKind::Struct(_)) => Ok(map),
        _ => Err(format!("cannot {what} {}{tail}", kind(value))),
    }
}

pub(super) fn len(args: &[Value]) -> Result<Value, String> {
    let length = match &args[0] {
        Value::Array(array) => array.items.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Str(text) => text.chars().count(),
        Value::Map(map) if !matches!(map.kind, MapKind::Struct(_)) => map.len(),
        other => return Err(format!("invalid argument for len (type {})", other.go_type())),
    };
    Ok(Value::Int(length as i64))
}

/// The item at an index counted from either end, or nil.
pub(super) fn end(value: &Value, index: i64) -> Value {
    ops::fetch(value, &Value::Int(index)).unwrap_or(Value::Nil)
}

pub(super) fn get(args: &[Value]) -> Result<Value, String> {
    let (from, key) = (&args[0], &args[1]);
    match from {
        Value::Nil => Ok(Value::Nil),
        Value::Array(_) | Value::Str(_) | Value::Bytes(_) => {
            let index = ops::to_int(key)?;
            Ok(ops::fetch(from, &Value::Int(index)).unwrap_or(Value::Nil))
        }
        Value::Map(map) => {
            let text_keys = matches!(map.kind, MapKind::StrAny | MapKind::StrStr);
            match key {
                Value::Nil if text_keys => Ok(map.entries.get("").cloned().unwrap_or(Value::Nil)),
                Value::Str(_) => Ok(map.get(key).cloned().unwrap_or(Value::Nil)),
                _ if text_keys => Err(ops::key_mismatch(key)),
                _ => Ok(map.get(key).cloned().unwrap_or(Value::Nil)),
            }
        }
        _ => {
            let method = key.as_str().and_then(|name| crate::lang::methods::method_of(from, name));
            Ok(method.map_or(Value::Nil, |method| crate::lang::eval::bound(from, method)))
        }
    }
}

pub(super) fn take(args: &[Value]) -> Result<Value, String> {
    let array = list("take from", &args[0])?;
    let count = match &args[1] {
        Value::Duration(value) | Value::Enum(_, value) => *value,
        Value::Int(value) | Value::Int64(value) => *value,
        other => return Err(format!("cannot take {} elements", kind(other))),
    };
    let length = array.items.len();
    let Ok(count) = usize::try_from(count) else {
        return Err("reflect.Value.Slice: slice index out of bounds".to_owned());
    };
    Ok(Value::Array(Arc::new(array.part(&array.items[..count.min(length)]))))
}

pub(super) fn keys(args: &[Value]) -> Result<Value, String> {
    Ok(Value::array(map("get keys from", &args[0], "")?.iter().map(|(key, _)| key).collect()))
}

pub(super) fn values(args: &[Value]) -> Result<Value, String> {
    Ok(Value::array(map("get values from", &args[0], "")?.iter().map(|(_, value)| value.clone()).collect()))
}

pub(super) fn to_pairs(args: &[Value]) -> Result<Value, String> {
    let pairs = map("transform", &args[0], " to pairs")?
        .iter()
        .map(|(key, value)| Value::slice(Elem::PairItem, vec![key, value.clone()]));
    Ok(Value::slice(Elem::Pair, pairs.collect()))
}

pub(super) fn from_pairs(args: &[Value]) -> Result<Value, String> {
    let Value::Array(array) = &args[0] else {
        return Err(format!("cannot transform {} from pairs", args[0]));
    };
    let mut out = Map::new(MapKind::AnyAny);
    for pair in &array.items {
        let Value::Array(pair) = pair else { return Err(format!("invalid pair {pair}")) };
        let [key, value] = pair.items.as_slice() else {
            return Err(format!("invalid pair length {}", Value::Array(pair.clone())));
        };
        if matches!(key, Value::Array(_) | Value::Map(_) | Value::Func(_) | Value::Bytes(_)) {
            return Err(format!("runtime error: hash of unhashable type {}", key.go_type()));
        }
        out.insert(key.clone(), value.clone());
    }
    Ok(Value::Map(Arc::new(out)))
}

pub(super) fn reverse(args: &[Value]) -> Result<Value, String> {
    Ok(Value::array(list("reverse", &args[0])?.items.iter().rev().cloned().collect()))
}

pub(super) fn uniq(args: &[Value]) -> Result<Value, String> {
    let array = list("uniq", &args[0])?;
    // Comparing all with all takes a while for long lists.
    if array.items.len() > 10_000 {
        return Err(ops::BUDGET.to_owned());
    }
    let mut out: Vec<Value> = Vec::new();
    for item in &array.items {
        if !out.iter().any(|known| ops::equal(item, known)) {
            out.push(item.clone());
        }
    }
    Ok(Value::array(out))
}

pub(super) fn concat(args: &[Value]) -> Result<Value, String> {
    let mut out = Vec::new();
    for arg in args {
        out.extend(list("concat", arg)?.items.iter().cloned());
    }
    Ok(if out.is_empty() { Value::nil_slice(Elem::Any) } else { Value::array(out) })
}

pub(super) fn flatten(args: &[Value]) -> Result<Value, String> {
    fn into(array: &Array, depth: usize, out: &mut Vec<Value>) -> Result<(), String> {
        if depth > 100 {
            return Err("recursion depth exceeded".to_owned());
        }
        for item in &array.items {
            match item {
                Value::Array(nested) => into(nested, depth + 1, out)?,
                _ => out.push(item.clone()),
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    into(list("flatten", &args[0])?, 0, &mut out)?;
    Ok(Value::array(out))
}

pub(super) fn sort(args: &[Value]) -> Result<Value, String> {
    let items = match &args[0] {
        Value::Array(array) if matches!(array.elem, Elem::Any | Elem::Int | Elem::Str) => array.items.clone(),
        _ => Vec::new(),
    };
    let descending = match args.get(1) {
        None => false,
        Some(Value::Str(order)) => match &**order {
            "asc" => false,
            "desc" => true,
            other => return Err(format!("invalid order {other}, expected asc or desc")),
        },
        Some(other) => return Err(format!("sort order argument must be a string (got {})", other.go_type())),
    };
    let mut keyed: Vec<(Value, Value)> = items.into_iter().map(|item| (item.clone(), item)).collect();
    sort_by_key(&mut keyed, descending)?;
    let sorted: Vec<Value> = keyed.into_iter().map(|(_, item)| item).collect();
    if sorted.is_empty() && !matches!(&args[0], Value::Array(_)) {
        return Ok(Value::nil_slice(Elem::Any));
    }
    Ok(Value::array(sorted))
}

/// Sorts by the first of each pair; fails if two of them have no order. Go's sort of equal items is not stable; for up
/// to twelve items it is an insertion sort, which is.
pub(in crate::lang) fn sort_by_key(items: &mut [(Value, Value)], descending: bool) -> Result<(), String> {
    let mut failure = None;
    items.sort_by(|(a, _), (b, _)| {
        let (first, second) = if descending { (b, a) } else { (a, b) };
        let less = |x: &Value, y: &Value| ops::compare(BinaryOp::Less, x, y);
        match (less(first, second), less(second, first)) {
            (Ok(true), _) => std::cmp::Ordering::Less,
            (Ok(false), Ok(true)) => std::cmp::Ordering::Greater,
            (Ok(false), Ok(false)) => std::cmp::Ordering::Equal,
            (Err(message), _) | (_, Err(message)) => {
                failure.get_or_insert(message);
                std::cmp::Ordering::Equal
            }
        }
    });
    failure.map_or(Ok(()), Err)
}
