//! Maps. Unlike Go's, `set` and its like do not change their argument: they give the changed map.

use super::{defaults, strings, text};
use crate::lang::ops::not_a;
use crate::value::{Elem, Map, MapKind, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

fn entries(value: &Value) -> BTreeMap<Arc<str>, Value> {
    match value {
        Value::Map(map) => map.entries.clone(),
        _ => BTreeMap::new(),
    }
}

fn of(entries: BTreeMap<Arc<str>, Value>) -> Value {
    Value::Map(Arc::new(Map::of(MapKind::StrAny, entries)))
}

fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Map(map) => map.entries.get(key),
        _ => None,
    }
}

pub(super) fn dict(args: &[Value]) -> Result<Value, String> {
    let pairs = args.chunks(2).map(|pair| {
        let key: Arc<str> = strings::strval(&pair[0]).into();
        (key, pair.get(1).cloned().unwrap_or_else(|| Value::str("")))
    });
    Ok(of(pairs.collect()))
}

pub(super) fn get(args: &[Value]) -> Result<Value, String> {
    Ok(find(&args[0], text(&args[1])).cloned().unwrap_or_else(|| Value::str("")))
}

pub(super) fn set(args: &[Value]) -> Result<Value, String> {
    let mut map = entries(&args[0]);
    map.insert(text(&args[1]).into(), args[2].clone());
    Ok(of(map))
}

pub(super) fn unset(args: &[Value]) -> Result<Value, String> {
    let mut map = entries(&args[0]);
    map.remove(text(&args[1]));
    Ok(of(map))
}

pub(super) fn has_key(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Bool(find(&args[0], text(&args[1])).is_some()))
}

pub(super) fn pluck(args: &[Value]) -> Result<Value, String> {
    let key = text(&args[0]);
    Ok(Value::array(args[1..].iter().filter_map(|map| find(map, key).cloned()).collect()))
}

pub(super) fn keys(args: &[Value]) -> Result<Value, String> {
    let keys = args.iter().flat_map(|map| entries(map).into_keys());
    Ok(Value::slice(Elem::Str, keys.map(Value::Str).collect()))
}

pub(super) fn values(args: &[Value]) -> Result<Value, String> {
    Ok(Value::array(entries(&args[0]).into_values().collect()))
}

pub(super) fn pick(args: &[Value]) -> Result<Value, String> {
    let picked = args[1..].iter().filter_map(|key| Some((text(key).into(), find(&args[0], text(key))?.clone())));
    Ok(of(picked.collect()))
}

pub(super) fn omit(args: &[Value]) -> Result<Value, String> {
    let mut map = entries(&args[0]);
    map.retain(|key, _| !args[1..].iter().any(|omitted| text(omitted) == &**key));
    Ok(of(map))
}

/// All maps in one: the first that has a value for a key wins, or with `overwrite` the last that has one.
pub(super) fn merged(maps: &[Value], overwrite: bool) -> Value {
    let mut out = maps.first().map(entries).unwrap_or_default();
    for map in maps.iter().skip(1) {
        merge_into(&mut out, &entries(map), overwrite, 0);
    }
    of(out)
}

fn merge_into(into: &mut BTreeMap<Arc<str>, Value>, from: &BTreeMap<Arc<str>, Value>, overwrite: bool, depth: usize) {
    for (key, value) in from {
        match (into.get(key), value) {
            (Some(Value::Map(mine)), Value::Map(theirs)) if depth < 100 => {
                let mut nested = mine.entries.clone();
                merge_into(&mut nested, &theirs.entries, overwrite, depth + 1);
                into.insert(key.clone(), of(nested));
            }
            (Some(mine), _) => {
                if overwrite || defaults::is_empty(mine) {
                    into.insert(key.clone(), value.clone());
                }
            }
            (None, _) => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

pub(super) fn dig(args: &[Value]) -> Result<Value, String> {
    let [path @ .., default, map] = args else { return Err("dig needs at least three arguments".to_owned()) };
    if path.is_empty() {
        return Err("dig needs at least three arguments".to_owned());
    }
    let is_dict = |value: &Value| match value {
        Value::Map(map) if map.kind == MapKind::StrAny => Ok(()),
        other => Err(not_a(other, "map[string]interface {}")),
    };
    is_dict(map)?;
    if let Some(key) = path.iter().find(|key| key.as_str().is_none()) {
        return Err(not_a(key, "string"));
    }
    let mut current = map;
    for (i, key) in path.iter().enumerate() {
        if i > 0 {
            is_dict(current)?;
        }
        match find(current, text(key)) {
            Some(value) => current = value,
            None => return Ok(default.clone()),
        }
    }
    Ok(current.clone())
}
