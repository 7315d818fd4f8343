//! The expressions in filters and scripts of a path: `@.price > 10 && @.title =~ 'x'`.
//!
//! Texts carry their single quotes while they are compared, numbers are whatever prints as one.

use super::parse::steps_at;
use super::{JsonPathError, Step, Walk, error};
use crate::go::{display_value, parse_float};
use crate::value::Value;

/// Operators from the loosest to the tightest.
const OPERATORS: [&str; 18] =
    ["||", "&&", "==", "!=", "<=", ">=", "<", ">", "=~", "!", "+", "-", "**", "*", "/", "%", "not in", "in"];

const MAX_DEPTH: usize = 32;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) enum Script {
    /// Nothing stands there.
    Empty,
    /// A path.
    Path(Vec<Step>),
    /// A word, a number, a quoted text, or JSON.
    Word(String),
    /// A list or object written as JSON.
    Json(Value),
    Not(Box<Script>),
    Operation(&'static str, Box<Script>, Box<Script>),
}

/// The text without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if text.len() > 1 && text.starts_with(quote) && text.ends_with(quote) {
            return &text[1..text.len() - 1];
        }
    }
    text
}

impl Script {
    pub fn compile(source: &str, depth: usize) -> Result<Self, JsonPathError> {
        if source.trim().is_empty() {
            return error("invalid expression. is empty");
        }
        Self::at_level(source, 0, depth)
    }

    fn at_level(source: &str, level: usize, depth: usize) -> Result<Self, JsonPathError> {
        if depth > MAX_DEPTH {
            return error("invalid expression. nested too deeply");
        }
        let mut source = source.trim();
        let mut level = level;
        if source.is_empty() {
            return Ok(Self::Empty);
        }
        while source.len() > 1 && source.starts_with('(') && source.ends_with(')') {
            source = source[1..source.len() - 1].trim();
            level = 0;
        }
        for (at, operator) in OPERATORS.iter().enumerate().skip(level) {
            let Some(index) = find_operator(source, operator) else { continue };
            let (left, right) = (source[..index].trim(), source[index + operator.len()..].trim());
            if right.is_empty() || (left.is_empty() != (*operator == "!")) {
                continue;
            }
            let right = Self::at_level(right, at, depth + 1)?;
            if *operator == "!" {
                return Ok(Self::Not(Box::new(right)));
            }
            let left = Self::at_level(left, at, depth + 1)?;
            return Ok(Self::Operation(operator, Box::new(left), Box::new(right)));
        }
        if source.starts_with(['@', '$']) {
            return Ok(Self::Path(steps_at(source, depth + 1)?));
        }
        let bracketed =
            source.starts_with('[') && source.ends_with(']') || source.starts_with('{') && source.ends_with('}');
        if bracketed && let Ok(json) = serde_json::from_str::<serde_json::Value>(source) {
            return Ok(Self::Json(Value::from_json(&json)));
        }
        Ok(Self::Word(source.to_owned()))
    }

    pub fn evaluate(&self, walk: &mut Walk<'_>, current: &Value) -> Result<Value, JsonPathError> {
        // A word alone is taken for what it looks like.
        if let Self::Word(word) = self {
            return Ok(match (word.as_str(), parse_float(word), parse_bool(word)) {
                ("nil" | "null", ..) => Value::Nil,
                (_, Some(number), _) => Value::Float(number),
                (_, _, Some(value)) => Value::Bool(value),
                _ => Value::str(word.as_str()),
            });
        }
        self.argument(walk, current)
    }

    /// The value as an operand: texts found by a path are put into single quotes.
    fn argument(&self, walk: &mut Walk<'_>, current: &Value) -> Result<Value, JsonPathError> {
        match self {
            Self::Empty => Ok(Value::Nil),
            Self::Word(word) if word == "nil" || word == "null" => Ok(Value::Nil),
            Self::Word(word) => Ok(Value::str(word.as_str())),
            Self::Json(value) => Ok(value.clone()),
            Self::Path(steps) => match walk.apply(steps, current)? {
                Value::Str(text) if text.len() > 1 && text.starts_with('\'') && text.ends_with('\'') => {
                    Ok(Value::Str(text))
                }
                Value::Str(text) => Ok(Value::str(format!("'{text}'"))),
                other => Ok(other),
            },
            Self::Not(operand) => {
                let operand = operand.argument(walk, current)?;
                Ok(Value::Bool(!boolean(&operand)?))
            }
            Self::Operation(operator, left, right) => {
                let left_value = left.argument(walk, current);
                let right_value = right.argument(walk, current);
                apply(operator, left, left_value?, right_value?)
            }
        }
    }
}

fn apply(operator: &str, left_script: &Script, left: Value, right: Value) -> Result<Value, JsonPathError> {
    let numbers = || -> Result<(f64, f64), JsonPathError> { Ok((number(&left)?, number(&right)?)) };
    Ok(match operator {
        "||" => Value::Bool(boolean(&left)? | boolean(&right)?),
        "&&" => Value::Bool(boolean(&left)? & boolean(&right)?),
        "==" | "!=" => {
            let same = match numbers() {
                Ok((a, b)) => a == b,
                Err(_) => text(&left) == text(&right),
            };
            Value::Bool(same == (operator == "=="))
        }
        "<=" => numbers().map(|(a, b)| Value::Bool(a <= b))?,
        ">=" => numbers().map(|(a, b)| Value::Bool(a >= b))?,
        "<" => numbers().map(|(a, b)| Value::Bool(a < b))?,
        ">" => numbers().map(|(a, b)| Value::Bool(a > b))?,
        "+" => numbers().map(|(a, b)| Value::Float(a + b))?,
        "-" => numbers().map(|(a, b)| Value::Float(a - b))?,
        "*" => numbers().map(|(a, b)| Value::Float(a * b))?,
        "/" => numbers().map(|(a, b)| Value::Float(a / b))?,
        "**" => numbers().map(|(a, b)| Value::Float(a.powf(b)))?,
        "%" => {
            let integer = |value: &Value| {
                let parsed = display_value(value).parse::<i64>();
                parsed.map_err(|_| JsonPathError("invalid argument. expected integer".to_owned()))
            };
            match integer(&right)? {
                0 => return error("runtime error: integer divide by zero"),
                divisor => Value::Int64(integer(&left)?.wrapping_rem(divisor)),
            }
        }
        "=~" => {
            let pattern = text(&right);
            let pattern = crate::lang::ops::compile_regex(single_unquoted(&pattern))
                .map_err(|_| JsonPathError("invalid argument. expected a valid regexp".to_owned()))?;
            Value::Bool(pattern.is_match(single_unquoted(&text(&left))))
        }
        _ => {
            let found = is_in(left_script, &left, &right)?;
            Value::Bool(found == (operator == "in"))
        }
    })
}

fn single_unquoted(text: &str) -> &str {
    let quoted = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
    if quoted { &text[1..text.len() - 1] } else { text }
}

fn is_in(left_script: &Script, left: &Value, right: &Value) -> Result<bool, JsonPathError> {
    let elements: Vec<Value> = match right {
        Value::Array(array) => array.items.clone(),
        Value::Map(map) => map.entries.values().cloned().collect(),
        _ => return error("invalid argument. expected array, map, or slice"),
    };
    let item = match number(left) {
        Ok(number) => Value::Float(number),
        Err(_) if matches!(left_script, Script::Empty) => Value::Nil,
        Err(_) => Value::str(text(left)),
    };
    Ok(elements.contains(&item))
}

fn number(value: &Value) -> Result<f64, JsonPathError> {
    match value {
        Value::Nil => error("invalid argument. is nil"),
        _ => {
            parse_float(&display_value(value)).ok_or_else(|| JsonPathError("invalid argument. expected number".into()))
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn boolean(value: &Value) -> Result<bool, JsonPathError> {
    match value {
        Value::Nil => Ok(false),
        _ => {
            parse_bool(&display_value(value)).ok_or_else(|| JsonPathError("invalid argument. expected boolean".into()))
        }
    }
}

/// A text with single quotes, whatever quotes it had.
fn text(value: &Value) -> String {
    match value {
        Value::Str(text) if text.len() > 1 && text.starts_with('"') && text.ends_with('"') => {
            format!("'{}'", &text[1..text.len() - 1])
        }
        _ => display_value(value),
    }
}

/// The first place of an operator outside of quotes and brackets.
fn find_operator(source: &str, operator: &str) -> Option<usize> {
    let (mut single, mut double) = (false, false);
    let (mut square, mut round) = (0_i32, 0_i32);
    for (at, c) in source.char_indices() {
        match c {
            '(' if !(single || double || square > 0) => round += 1,
            ')' if !(single || double || square > 0) => round -= 1,
            '[' if !(single || double || round > 0) => square += 1,
            ']' if !(single || double || round > 0) => square -= 1,
            '\'' if !(double || square > 0 || round > 0) => single = !single,
            '"' if !(single || square > 0 || round > 0) => double = !double,
            _ => {}
        }
        let behind = at + c.len_utf8();
        if !(single || double || square > 0 || round > 0) && source[..behind].ends_with(operator) {
            return Some(behind - operator.len());
        }
    }
    None
}
