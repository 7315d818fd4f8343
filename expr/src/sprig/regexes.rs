//! Regular expressions.

use super::{int, text};
use crate::lang::ops::compile_regex;
use crate::value::{Elem, Value};

pub(super) fn is_match(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Bool(compile_regex(text(&args[0]))?.is_match(text(&args[1]))))
}

fn limit(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

pub(super) fn find_all(args: &[Value]) -> Result<Value, String> {
    let regex = compile_regex(text(&args[0]))?;
    let found: Vec<&str> =
        regex.find_iter(text(&args[1])).take(limit(int(&args[2]))).map(|found| found.as_str()).collect();
    Ok(if found.is_empty() { Value::nil_slice(Elem::Str) } else { Value::strs(found) })
}

pub(super) fn find(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(compile_regex(text(&args[0]))?.find(text(&args[1])).map_or("", |found| found.as_str())))
}

pub(super) fn replace_all(args: &[Value]) -> Result<Value, String> {
    let regex = compile_regex(text(&args[0]))?;
    let replaced = regex.replace_all(text(&args[1]), |captures: &regex::Captures<'_>| {
        let mut out = String::new();
        crate::go::expand_template(text(&args[2]), captures, &mut out);
        out
    });
    Ok(Value::str(&*replaced))
}

pub(super) fn replace_all_literal(args: &[Value]) -> Result<Value, String> {
    let regex = compile_regex(text(&args[0]))?;
    Ok(Value::str(&*regex.replace_all(text(&args[1]), regex::NoExpand(text(&args[2])))))
}

/// `Regexp.Split`: an empty match at the very start splits nothing off.
pub(super) fn split(args: &[Value]) -> Result<Value, String> {
    let (pattern, subject, count) = (text(&args[0]), text(&args[1]), int(&args[2]));
    let regex = compile_regex(pattern)?;
    if count == 0 {
        return Ok(Value::nil_slice(Elem::Str));
    }
    if !pattern.is_empty() && subject.is_empty() {
        return Ok(Value::strs([""]));
    }
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for found in regex.find_iter(subject) {
        if count > 0 && parts.len() + 1 == limit(count) {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&subject[begin..end]);
        }
        begin = found.end();
    }
    if end != subject.len() {
        parts.push(&subject[begin..]);
    }
    Ok(Value::strs(parts))
}

pub(super) fn quote_meta(args: &[Value]) -> Result<Value, String> {
    let mut out = String::new();
    for c in text(&args[0]).chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(Value::str(out))
}
