//! Lists.

use super::{int, math, reflect, strings};
use crate::value::{Array, Elem, MapKind, Value};

/// The items of a slice; nil has no type in Go, and asking for it is a panic.
fn items<'a>(what: &str, value: &'a Value) -> Result<&'a Array, String> {
    match value {
        Value::Array(array) => Ok(array),
        Value::Nil => Err("runtime error: invalid memory address or nil pointer dereference".to_owned()),
        other => Err(format!("Cannot {what} type {}", reflect::kind(other))),
    }
}

fn anys(items: Vec<Value>) -> Result<Value, String> {
    Ok(Value::array(items))
}

pub(super) fn list(args: &[Value]) -> Result<Value, String> {
    anys(args.to_vec())
}

pub(super) fn push(args: &[Value]) -> Result<Value, String> {
    let mut out = items("push on", &args[0])?.items.clone();
    out.push(args[1].clone());
    anys(out)
}

pub(super) fn prepend(args: &[Value]) -> Result<Value, String> {
    let mut out = vec![args[1].clone()];
    out.extend(items("prepend on", &args[0])?.items.iter().cloned());
    anys(out)
}

pub(super) fn end(name: &str, value: &Value, last: bool) -> Result<Value, String> {
    let items = &items(&format!("find {name} on"), value)?.items;
    let item = if last { items.last() } else { items.first() };
    Ok(item.cloned().unwrap_or(Value::Nil))
}

/// All but some items at the front and at the back; nil for an empty list.
pub(super) fn part(name: &str, value: &Value, front: usize, back: usize) -> Result<Value, String> {
    let items = &items(&format!("find {name} on"), value)?.items;
    if items.is_empty() {
        return Ok(Value::nil_slice(Elem::Any));
    }
    anys(items[front..items.len() - back].to_vec())
}

pub(super) fn reverse(args: &[Value]) -> Result<Value, String> {
    anys(items("find reverse on", &args[0])?.items.iter().rev().cloned().collect())
}

pub(super) fn compact(args: &[Value]) -> Result<Value, String> {
    let items = &items("compact on", &args[0])?.items;
    anys(items.iter().filter(|item| !super::defaults::is_empty(item)).cloned().collect())
}

/// Comparing all with all takes a while for long lists.
const MAX_COMPARED: usize = 10_000;

pub(super) fn uniq(args: &[Value]) -> Result<Value, String> {
    let items = &items("find uniq on", &args[0])?.items;
    if items.len() > MAX_COMPARED {
        return Err(crate::lang::ops::BUDGET.to_owned());
    }
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.iter().any(|known| reflect::deep_equal(known, item)) {
            out.push(item.clone());
        }
    }
    anys(out)
}

pub(super) fn without(args: &[Value]) -> Result<Value, String> {
    let items = &items("find without on", &args[0])?.items;
    let kept = items.iter().filter(|item| !args[1..].iter().any(|omitted| reflect::deep_equal(omitted, item)));
    anys(kept.cloned().collect())
}

pub(super) fn has(args: &[Value]) -> Result<Value, String> {
    if args[1] == Value::Nil {
        return Ok(Value::Bool(false));
    }
    let items = &items("find has on", &args[1])?.items;
    Ok(Value::Bool(items.iter().any(|item| reflect::deep_equal(item, &args[0]))))
}

pub(super) fn slice(args: &[Value]) -> Result<Value, String> {
    let array = items("slice", &args[0])?;
    let length = array.items.len();
    if length == 0 {
        return Ok(Value::Nil);
    }
    let bound = |at: usize, default: usize| -> Result<usize, String> {
        let Some(value) = args.get(at) else { return Ok(default) };
        let out_of_bounds = || "reflect.Value.Slice: slice index out of bounds".to_owned();
        usize::try_from(math::to_int(value)).ok().filter(|i| *i <= length).ok_or_else(out_of_bounds)
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    if from > to {
        return Err("reflect.Value.Slice: slice index out of bounds".to_owned());
    }
    let items = array.items[from..to].to_vec();
    Ok(Value::slice(array.elem, items))
}

pub(super) fn concat(args: &[Value]) -> Result<Value, String> {
    let mut out = Vec::new();
    for list in args {
        match list {
            Value::Array(array) => out.extend(array.items.iter().cloned()),
            Value::Nil => return items("concat", list).map(|_| Value::Nil),
            other => return Err(format!("Cannot concat type {} as list", reflect::kind(other))),
        }
    }
    if out.is_empty() { Ok(Value::nil_slice(Elem::Any)) } else { anys(out) }
}

pub(super) fn chunk(args: &[Value]) -> Result<Value, String> {
    let items = &items("chunk", &args[1])?.items;
    let Some(size) = usize::try_from(int(&args[0])).ok().filter(|size| *size > 0) else {
        return Err("runtime error: makeslice: len out of range".to_owned());
    };
    let chunks = items.chunks(size).map(|chunk| Value::array(chunk.to_vec()));
    Ok(Value::slice(Elem::Anys, chunks.collect()))
}

/// A list as texts, without its nils.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(array) => array.items.iter().filter(|item| **item != Value::Nil).map(strings::strval).collect(),
        Value::Bytes(bytes) => bytes.iter().map(u8::to_string).collect(),
        Value::Nil => Vec::new(),
        other => vec![strings::strval(other)],
    }
}

pub(super) fn sort_alpha(args: &[Value]) -> Result<Value, String> {
    let mut texts = match &args[0] {
        Value::Nil => vec!["<nil>".to_owned()],
        other => strings(other),
    };
    if matches!(args[0], Value::Array(_)) {
        texts.sort_unstable();
    }
    Ok(Value::strs(texts))
}

/// The parts as a map with the keys `_0`, `_1`, ...
pub(super) fn numbered(parts: Option<Vec<String>>) -> Result<Value, String> {
    let parts = parts.unwrap_or_default().into_iter().enumerate();
    Ok(Value::map_of(MapKind::StrStr, parts.map(|(i, part)| (format!("_{i}"), Value::str(part)))))
}
