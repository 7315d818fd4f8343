//! Lists: merged by a key or as a set, and put in order.
//!
//! Order: elements of the patch keep the patch's order (or that of `$setElementOrder`), the others keep the original's;
//! where both orders leave a choice the original's decides, and an element that the original did not have goes first.

use std::collections::HashSet;

use serde_json::Value;

use super::schema::{Rule, Schema};
use super::{DIRECTIVE, MergeError, Object, SET_ORDER, field, merge_objects, plain, without_directives};

/// Merges two lists that both documents have.
pub(super) fn merge(old: Vec<Value>, new: Vec<Value>, rule: Rule, at: &str) -> Result<Vec<Value>, MergeError> {
    match rule {
        Rule::List { key, of } => merge_by_key(old, new, key, of, at),
        Rule::Set => merge_set(old, new, at),
        Rule::Plain | Rule::Object(_) | Rule::Entries => Ok(new),
    }
}

fn merge_set(old: Vec<Value>, new: Vec<Value>, at: &str) -> Result<Vec<Value>, MergeError> {
    if old.is_empty() && new.is_empty() {
        return Ok(old);
    }
    if old.iter().chain(&new).any(|value| value.is_object()) {
        return Err(MergeError::MixedList { at: at.into() });
    }
    same_kind(old.iter().chain(&new), at)?;
    let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
    for value in old.iter().chain(&new) {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    Ok(in_order(merged, &new, &old, None))
}

fn merge_by_key(
    old: Vec<Value>,
    new: Vec<Value>,
    key: &'static str,
    of: Schema,
    at: &str,
) -> Result<Vec<Value>, MergeError> {
    if old.is_empty() && new.is_empty() {
        return Ok(old);
    }
    let mixed = || MergeError::MixedList { at: at.into() };
    let missing = || MergeError::MissingKey { at: at.into(), key };
    same_kind(old.iter().chain(&new), at)?;
    if !old.iter().chain(&new).all(Value::is_object) {
        return Err(mixed());
    }
    let (mut old, new) = special_elements(old, new, key, at)?;
    let order = old.clone();
    for element in &new {
        let id = element.get(key).ok_or_else(missing)?;
        match old.iter_mut().find(|other| other.get(key) == Some(id)) {
            Some(slot) => {
                let merged =
                    merge_objects(object(slot.take()), object(element.clone()), of, &format!("{at}[{}]", plain(id)))?;
                *slot = Value::Object(merged);
            }
            None => old.push(element.clone()),
        }
    }
    if old.iter().any(|element| element.get(key).is_none()) {
        return Err(missing());
    }
    Ok(in_order(old, &new, &order, Some(key)))
}

/// Takes the elements with `$patch` out of the patch: `delete` removes the element of that key, `replace` all of them.
fn special_elements(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &'static str,
    at: &str,
) -> Result<(Vec<Value>, Vec<Value>), MergeError> {
    let mut rest = Vec::with_capacity(new.len());
    let mut replace = false;
    for element in new {
        let Some(directive) = element.get(DIRECTIVE) else {
            rest.push(element);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let id = element.get(key).ok_or_else(|| MergeError::MissingKey { at: at.into(), key })?;
                old.retain(|other| other.get(key) != Some(id));
            }
            Some("replace") => replace = true,
            _ => return Err(MergeError::UnknownDirective { at: at.into(), directive: plain(directive) }),
        }
    }
    Ok(if replace { (rest, Vec::new()) } else { (old, rest) })
}

/// Puts merged elements in order: `patch_order` for those that it names, `old_order` for the others.
fn in_order(merged: Vec<Value>, patch_order: &[Value], old_order: &[Value], key: Option<&str>) -> Vec<Value> {
    let id = |value: &Value| match key {
        Some(key) => value.get(key).cloned().unwrap_or_default().to_string(),
        None => value.to_string(),
    };
    let position = |order: &[Value]| {
        let mut positions = std::collections::HashMap::with_capacity(order.len());
        for (index, value) in order.iter().enumerate() {
            positions.entry(id(value)).or_insert(index);
        }
        positions
    };
    let (in_patch, in_old) = (position(patch_order), position(old_order));
    let (mut patched, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|value| in_patch.contains_key(&id(value)));
    // An added element brings its own lists as they are, so that directives may be left in them: they go last.
    let deletes = |value: &Value| key.is_some() && value.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
    patched.sort_by_key(|value| (deletes(value), in_patch.get(&id(value)).copied()));
    others.sort_by_key(|value| (deletes(value), in_old.get(&id(value)).copied()));

    let mut result = Vec::with_capacity(patched.len() + others.len());
    let mut patched = patched.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    while let (Some(other), Some(patch)) = (others.peek(), patched.peek()) {
        let before = match (in_old.get(&id(other)), in_old.get(&id(patch))) {
            (Some(other), Some(patch)) => other < patch,
            _ => false,
        };
        result.extend(if before { others.next() } else { patched.next() });
    }
    result.extend(others);
    result.extend(patched);
    result
}

/// Applies every `$setElementOrder` of the patch, together with the list that it orders.
pub(super) fn set_orders(
    original: &mut Object,
    patch: &mut Object,
    schema: Schema,
    at: &str,
) -> Result<(), MergeError> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let name = &directive[SET_ORDER.len()..];
        let here = field(at, name);
        let bad = || MergeError::SetElementOrder { at: here.clone() };
        let Some(Value::Array(order)) = patch.remove(&directive) else { return Err(bad()) };
        let rule = schema.rule(name);
        let key = match rule {
            Rule::List { key, .. } => Some(key),
            _ => None,
        };
        let old = original.get(name).map(|list| list.as_array().cloned().ok_or_else(bad)).transpose()?;
        let new = patch.get(name).map(|list| list.as_array().cloned().ok_or_else(bad)).transpose()?;
        check_order(new.as_deref().unwrap_or_default(), &order, key).ok_or_else(bad)?;
        let before = old.clone().unwrap_or_default();
        if before.is_empty() && new.as_ref().is_some_and(Vec::is_empty) {
            return Err(bad());
        }
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => merge(old, new, rule, &here)?,
        };
        if let Some(key) = key
            && merged.iter().chain(&order).any(|element| element.get(key).is_none())
        {
            return Err(MergeError::MissingKey { at: here, key });
        }
        patch.remove(name);
        original.insert(name.to_owned(), Value::Array(in_order(merged, &order, &before, key)));
    }
    Ok(())
}

/// Some where the patch's elements appear in the order in that order.
fn check_order(new: &[Value], order: &[Value], key: Option<&str>) -> Option<()> {
    if new.is_empty() || order.is_empty() {
        return Some(());
    }
    let mut order = order.iter();
    for element in new.iter().filter(|element| element.get(DIRECTIVE).is_none()) {
        let found = match key {
            Some(key) => {
                let id = element.get(key)?;
                order.any(|other| other.get(key) == Some(id))
            }
            None => order.any(|other| other == element),
        };
        found.then_some(())?;
    }
    Some(())
}

/// Applies `$deleteFromPrimitiveList` to one list of the original.
pub(super) fn delete_plain(original: &mut Object, name: &str, unwanted: Value, at: &str) -> Result<(), MergeError> {
    let bad = || MergeError::DeleteFromList { at: field(at, name) };
    if unwanted.is_null() {
        original.remove(name);
        return Ok(());
    }
    let (Some(Value::Array(list)), Value::Array(unwanted)) = (original.get_mut(name), &unwanted) else {
        return Ok(()); // As apimachinery: nothing to delete from is no error.
    };
    if list.iter().chain(unwanted).any(|value| value.is_object() || value.is_array()) {
        return Err(bad());
    }
    let unwanted: HashSet<String> = unwanted.iter().map(Value::to_string).collect();
    list.retain(|value| !unwanted.contains(&value.to_string()));
    Ok(())
}

fn same_kind<'a>(mut values: impl Iterator<Item = &'a Value>, at: &str) -> Result<(), MergeError> {
    let Some(first) = values.next() else { return Ok(()) };
    let kind = std::mem::discriminant(first);
    if first.is_array() || first.is_null() || values.any(|value| std::mem::discriminant(value) != kind) {
        return Err(MergeError::MixedList { at: at.into() });
    }
    Ok(())
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(), // Callers have checked that it is one.
    }
}
