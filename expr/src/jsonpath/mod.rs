//! JSONPath as the expression function `jsonpath()` has it (github.com/evilmonkeyinc/jsonpath v0.8.1): keys, indexes,
//! slices, unions, wildcards, `..`, `.length`, filters `[?(...)]` and scripts `[(...)]`.
//!
//! A path without any of the plural steps gives the value; with one it gives a list, and what does not fit is left out.

mod parse;
mod script;

use crate::value::{Array, MapKind, Value};
use script::Script;

/// A path that is wrong, or that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(String);

fn error<T>(message: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(message.into()))
}

/// One step of a path.
#[derive(Debug, Clone)]
enum Step {
    Root,
    Current,
    Key(String),
    Length,
    Index(i64),
    Range([Option<Bound>; 3]),
    Union(Vec<Bound>),
    Wildcard,
    Recursive,
    Filter(Script),
    Script(Script),
}

/// A number, a key, or a script that gives one.
#[derive(Debug, Clone)]
enum Bound {
    Int(i64),
    Key(String),
    Script(Script),
}

/// Finds what a path leads to in a document.
///
/// # Errors
/// For a malformed path, and for a single step that leads nowhere (a missing key, an index out of range).
pub fn query(path: &str, document: &Value) -> Result<Value, JsonPathError> {
    let steps = parse::steps(path)?;
    let mut walk = Walk { root: document, budget: MAX_STEPS };
    walk.apply(&steps, document)
}

/// Steps that one query may take: `..` in `..` multiplies.
const MAX_STEPS: u32 = 300_000;

struct Walk<'d> {
    root: &'d Value,
    budget: u32,
}

fn target<T>(step: &str, value: &Value) -> Result<T, JsonPathError> {
    let kind = if *value == Value::Nil { "nil".to_owned() } else { value.go_type() };
    error(format!("{step}: invalid token target. unexpected {kind}"))
}

fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Float(number) if number.trunc() == *number => Some(crate::lang::ops::float_to_int(*number)),
        _ => value.as_int(),
    }
}

impl Walk<'_> {
    fn apply(&mut self, steps: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        self.budget = self.budget.checked_sub(1).ok_or_else(|| JsonPathError("the query takes too long".to_owned()))?;
        let Some((step, next)) = steps.split_first() else { return Ok(current.clone()) };
        match step {
            Step::Root => {
                let root = self.root.clone();
                self.apply(next, &root)
            }
            Step::Current => self.apply(next, current),
            Step::Key(key) => self.key(key, next, current),
            Step::Length => self.length(next, current),
            Step::Index(index) => self.index(*index, next, current),
            Step::Range(bounds) => self.range(bounds, next, current),
            Step::Union(bounds) => self.union(bounds, next, current),
            Step::Wildcard => {
                let items = match current {
                    Value::Array(array) => array.items.clone(),
                    Value::Map(map) => map.entries.values().cloned().collect(),
                    _ => return target("wildcard", current),
                };
                Ok(Value::array(self.each(items, next)))
            }
            Step::Recursive => Ok(Value::array(self.recursive(next, current, 0))),
            Step::Filter(script) => self.filter(script, next, current),
            Step::Script(script) => match self.evaluate(script, current)? {
                Value::Str(key) => self.key(&key, next, current),
                value => match as_integer(&value) {
                    Some(index) => self.index(index, next, current),
                    None => error("unexpected expression result. expected [int string]"),
                },
            },
        }
    }

    /// Applies the rest of the path to each item; what fails or is null is left out.
    fn each(&mut self, items: Vec<Value>, next: &[Step]) -> Vec<Value> {
        if next.is_empty() {
            return items;
        }
        items.iter().filter_map(|item| self.apply(next, item).ok()).filter(|value| *value != Value::Nil).collect()
    }

    /// After several items: an index counts in their list, other steps apply to each.
    fn plural(&mut self, items: Vec<Value>, next: &[Step]) -> Result<Value, JsonPathError> {
        match next.first() {
            Some(Step::Index(_)) => self.apply(next, &Value::array(items)),
            _ => Ok(Value::array(self.each(items, next))),
        }
    }

    fn evaluate(&mut self, script: &Script, current: &Value) -> Result<Value, JsonPathError> {
        script.evaluate(self, current)
    }

    fn key(&mut self, key: &str, next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        match current {
            Value::Map(map) => match map.entries.get(key) {
                Some(value) => self.apply(next, value),
                None => error(format!("key: invalid token key '{key}' not found")),
            },
            _ => target("key", current),
        }
    }

    fn length(&mut self, next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        let length = match current {
            Value::Map(map) => match map.entries.get("length") {
                Some(value) => value.clone(),
                None => Value::Int64(map.entries.len() as i64),
            },
            Value::Array(array) => Value::Int64(array.items.len() as i64),
            Value::Str(text) => Value::Int64(text.len() as i64),
            _ => return target("length", current),
        };
        self.apply(next, &length)
    }

    fn index(&mut self, index: i64, next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        let items = list("index", current)?;
        match at(&items.items, index) {
            Some(value) => self.apply(next, value),
            None => error("index: invalid token out of range"),
        }
    }

    fn bound(&mut self, bound: &Bound, current: &Value) -> Result<Value, JsonPathError> {
        match bound {
            Bound::Int(value) => Ok(Value::Int64(*value)),
            Bound::Key(key) => Ok(Value::str(key.as_str())),
            Bound::Script(script) => self.evaluate(script, current),
        }
    }

    fn range(&mut self, bounds: &[Option<Bound>; 3], next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        let items = list("range", current)?.items.clone();
        let length = items.len() as i64;
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                let value = self.bound(bound, current)?;
                *number = Some(
                    as_integer(&value)
                        .ok_or_else(|| JsonPathError("range: invalid token argument. expected [int]".to_owned()))?,
                );
            }
        }
        let clamp = |value: i64| (if value < 0 { length.saturating_add(value) } else { value }).clamp(0, length);
        let (from, to) = (clamp(numbers[0].unwrap_or(0)), clamp(numbers[1].unwrap_or(length)));
        let step = numbers[2].unwrap_or(1);
        if step == 0 {
            return error("range: invalid token out of range");
        }
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        let inside = items.get(from as usize..(to as usize).max(from as usize)).unwrap_or(&[]);
        let chosen: Vec<Value> = if step < 0 {
            inside.iter().rev().step_by(stride).cloned().collect()
        } else {
            inside.iter().step_by(stride).cloned().collect()
        };
        self.plural(chosen, next)
    }

    fn union(&mut self, bounds: &[Bound], next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        let (mut keys, mut indexes) = (Vec::new(), Vec::new());
        for bound in bounds {
            let value = self.bound(bound, current)?;
            match (&value, as_integer(&value)) {
                (Value::Str(key), _) => keys.push(key.clone()),
                (_, Some(index)) => indexes.push(index),
                _ => return error("union: invalid token argument. expected [int string]"),
            }
        }
        if !keys.is_empty() && !indexes.is_empty() {
            return error("union: invalid token argument. keys and indexes are mixed");
        }
        let chosen = if keys.is_empty() {
            let items = list("union", current)?;
            indexes.into_iter().filter_map(|index| at(&items.items, index).cloned()).collect()
        } else {
            match current {
                Value::Map(map) => keys.iter().filter_map(|key| map.entries.get(key).cloned()).collect(),
                _ => return target("union", current),
            }
        };
        self.plural(chosen, next)
    }

    fn filter(&mut self, script: &Script, next: &[Step], current: &Value) -> Result<Value, JsonPathError> {
        let items = match current {
            Value::Array(array) => array.items.clone(),
            Value::Map(map) => map.entries.values().cloned().collect(),
            _ => return target("filter", current),
        };
        let mut chosen = Vec::new();
        for item in items {
            if self.evaluate(script, &item).is_ok_and(|value| is_truthy(&value)) {
                chosen.push(item);
            }
        }
        self.plural(chosen, next)
    }

    fn recursive(&mut self, next: &[Step], current: &Value, depth: usize) -> Vec<Value> {
        let mut found = Vec::new();
        if *current == Value::Nil || depth > 100 {
            return found;
        }
        match self.apply(next, current) {
            Ok(Value::Array(array)) if !next.is_empty() => found.extend(array.items.iter().cloned()),
            Ok(Value::Nil) | Err(_) => {}
            Ok(value) => found.push(value),
        }
        match current {
            Value::Map(map) => {
                map.entries.values().for_each(|value| found.extend(self.recursive(next, value, depth + 1)));
            }
            Value::Array(array) => {
                array.items.iter().for_each(|value| found.extend(self.recursive(next, value, depth + 1)));
            }
            _ => {}
        }
        found
    }
}

fn list<'v>(step: &str, value: &'v Value) -> Result<&'v Array, JsonPathError> {
    match value {
        Value::Array(array) => Ok(array),
        _ => target(step, value),
    }
}

fn at(items: &[Value], index: i64) -> Option<&Value> {
    let index = if index < 0 { index + items.len() as i64 } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Nil => false,
        Value::Bool(value) => *value,
        Value::Array(array) => !array.items.is_empty(),
        Value::Map(map) => !matches!(map.kind, MapKind::Struct(_)) && !map.entries.is_empty(),
        Value::Str(text) => !script::unquoted(text).is_empty(),
        _ => value.as_number() != Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> String {
        let document = serde_json::json!({
            "store": {
                "book": [
                    {"title": "A", "price": 8, "tags": ["x"]},
                    {"title": "B", "price": 12.5},
                    {"title": "C", "price": 20, "isbn": "1"},
                ],
                "bike": {"price": 100},
            },
            "length-": 1,
        });
        match query(path, &Value::from_json(&document)) {
            Ok(value) => crate::go::marshal(&value).unwrap(),
            Err(error) => format!("ERROR {error}"),
        }
    }

    #[test]
    fn paths() {
        let cases = [
            ("$.store.book[0].title", r#""A""#),
            ("$['store']['bike'].price", "100"),
            ("$.store.book[-1].title", r#""C""#),
            ("$.store.book[*].title", r#"["A","B","C"]"#),
            ("$.store.book[0:2].title", r#"["A","B"]"#),
            ("$.store.book[::-1].title", r#"["C","B","A"]"#),
            ("$.store.book[0,2].title", r#"["A","C"]"#),
            ("$.store.book[0]['title','price']", r#"["A",8]"#),
            ("$..price", "[100,8,12.5,20]"),
            ("$.store.book.length", "3"),
            ("$.store.book[(@.length-1)].title", r#""C""#),
            ("$.store.book[?(@.price > 10)].title", r#"["B","C"]"#),
            ("$.store.book[?(@.isbn)].title", r#"["C"]"#),
            ("$.store.book[?(@.title == 'A' || @.price == 20)].title", r#"["A","C"]"#),
            ("$.store.book[?(@.title =~ '[BC]')].price", "[12.5,20]"),
            ("$.nope", "ERROR key: invalid token key 'nope' not found"),
            ("$.store.book[9]", "ERROR index: invalid token out of range"),
            ("store", "ERROR unexpected token 's' at index 0"),
        ];
        for (path, expected) in cases {
            assert_eq!(find(path), expected, "{path}");
        }
    }
}
