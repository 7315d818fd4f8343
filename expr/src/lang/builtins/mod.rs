//! expr-lang's own functions: which there are, how calls are checked, and what they do.

mod aggregate;
mod checks;
mod collections;
mod convert;
mod dates;
mod text;

pub(super) use checks::{Check, check_of};
pub(super) use collections::sort_by_key;
pub(super) use convert::{float, int};

use crate::value::Value;

const PREDICATES: [&str; 15] = [
    "all",
    "none",
    "any",
    "one",
    "filter",
    "map",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "count",
    "sum",
    "groupBy",
    "sortBy",
    "reduce",
];

/// The name is a builtin.
pub(super) fn is_builtin(name: &str) -> bool {
    takes_predicate(name) || FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// The builtin takes a closure: it is run by the evaluator.
pub(super) fn takes_predicate(name: &str) -> bool {
    PREDICATES.contains(&name)
}

type Function = fn(&[Value]) -> Result<Value, String>;

/// The functions without closures.
static FUNCTIONS: [(&str, Function); 56] = [
    ("len", collections::len),
    ("type", convert::type_of),
    ("abs", convert::abs),
    ("ceil", convert::ceil),
    ("floor", convert::floor),
    ("round", convert::round),
    ("int", |a| int(&a[0])),
    ("float", |a| float(&a[0])),
    ("string", |a| Ok(Value::str(a[0].to_string()))),
    ("trim", text::trim),
    ("trimPrefix", text::trim_prefix),
    ("trimSuffix", text::trim_suffix),
    ("upper", text::upper),
    ("lower", text::lower),
    ("split", text::split),
    ("splitAfter", text::split_after),
    ("replace", text::replace),
    ("repeat", text::repeat),
    ("join", text::join),
    ("indexOf", text::index_of),
    ("lastIndexOf", text::last_index_of),
    ("hasPrefix", text::has_prefix),
    ("hasSuffix", text::has_suffix),
    ("max", |a| aggregate::min_max("max", a, 0)),
    ("min", |a| aggregate::min_max("min", a, 0)),
    ("mean", aggregate::mean),
    ("median", aggregate::median),
    ("toJSON", text::to_json),
    ("fromJSON", text::from_json),
    ("toBase64", text::to_base64),
    ("fromBase64", text::from_base64),
    ("now", dates::now),
    ("duration", dates::duration),
    ("date", dates::date),
    ("timezone", dates::timezone),
    ("first", |a| Ok(collections::end(&a[0], 0))),
    ("last", |a| Ok(collections::end(&a[0], -1))),
    ("get", collections::get),
    ("take", collections::take),
    ("keys", collections::keys),
    ("values", collections::values),
    ("toPairs", collections::to_pairs),
    ("fromPairs", collections::from_pairs),
    ("reverse", collections::reverse),
    ("uniq", collections::uniq),
    ("concat", collections::concat),
    ("flatten", collections::flatten),
    ("sort", collections::sort),
    ("bitand", |a| bits("bitand", a, |x, y| Ok(x & y))),
    ("bitor", |a| bits("bitor", a, |x, y| Ok(x | y))),
    ("bitxor", |a| bits("bitxor", a, |x, y| Ok(x ^ y))),
    ("bitnand", |a| bits("bitnand", a, |x, y| Ok(x & !y))),
    ("bitshl", |a| bits("bitshl", a, |x, y| shift(y, |by| x.checked_shl(by).unwrap_or(0)))),
    ("bitshr", |a| bits("bitshr", a, |x, y| shift(y, |by| x.checked_shr(by).unwrap_or(if x < 0 { -1 } else { 0 })))),
    ("bitushr", |a| bits("bitushr", a, |x, y| shift(y, |by| (x as u64).checked_shr(by).unwrap_or(0) as i64))),
    ("bitnot", |a| Ok(Value::Int(!bit_operand("bitnot", &a[0])?))),
];

/// Calls a builtin without closure; the number of arguments was checked.
pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, function)) => function(args),
        None => Err(format!("unknown builtin {name}")),
    }
}

fn bit_operand(name: &str, value: &Value) -> Result<i64, String> {
    value.as_int().ok_or_else(|| format!("cannot use {} as argument (type int) to call {name}", value.go_type()))
}

fn bits(name: &str, args: &[Value], f: impl Fn(i64, i64) -> Result<i64, String>) -> Result<Value, String> {
    f(bit_operand(name, &args[0])?, bit_operand(name, &args[1])?).map(Value::Int)
}

fn shift(by: i64, f: impl Fn(u32) -> i64) -> Result<i64, String> {
    if by < 0 {
        return Err(format!("invalid operation: negative shift count {by} (type int)"));
    }
    Ok(f(u32::try_from(by).unwrap_or(u32::MAX)))
}

/// The text of an argument, or the message of Go's failed assertion.
fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| super::ops::not_a(value, "string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seventy_one() {
        assert_eq!(PREDICATES.len() + FUNCTIONS.len(), 71);
    }
}
