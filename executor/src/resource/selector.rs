//! Conditions on an object: Kubernetes' label selectors whose keys are paths into the object.
//!
//! argo: workflow/executor/resource.go, gjsonLabels. The grammar and its messages are apimachinery's
//! (pkg/labels/selector.go). A key must be a valid label key, so of gjson's paths only names and indexes between dots can
//! be written at all: queries, wildcards, modifiers and escapes are refused by the grammar, here as there.

use serde_json::Value;
use tiphys_expr::go;

use super::label::{key_problems, value_problems};

/// A condition: requirements that are looked at one by one, sorted by key.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The requirements; an empty condition has none.
    pub requirements: Vec<Requirement>,
}

/// One requirement, such as `status.phase in (Succeeded,Failed)`. Its text is apimachinery's.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted, each once.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    DoesNotExist,
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Greater,
    Less,
}

impl Selector {
    /// Reads a condition.
    ///
    /// # Errors
    /// apimachinery's text of what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Parser { tokens: tokens(text), at: 0 }.selector()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }
}

impl Requirement {
    /// Whether the object meets it.
    pub fn is_met_by(&self, object: &Value) -> bool {
        let value = find(object, &self.key).map(text);
        let number = |text: &str| text.parse::<i64>().ok();
        let compared = |holds: fn(&i64, &i64) -> bool| {
            let left = value.as_deref().and_then(number);
            left.zip(self.values.first().and_then(|value| number(value))).is_some_and(|(a, b)| holds(&a, &b))
        };
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                value.is_some_and(|value| self.values.contains(&value))
            }
            Operator::NotEquals | Operator::NotIn => value.is_none_or(|value| !self.values.contains(&value)),
            Operator::Greater => compared(i64::gt),
            Operator::Less => compared(i64::lt),
        }
    }
}

impl Requirement {
    /// The requirement as Argo's message of a failure shows it, which is Go's print of the structure.
    pub fn shown(&self) -> String {
        let operator = match self.operator {
            Operator::Exists => "exists",
            Operator::DoesNotExist => "!",
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Greater => "gt",
            Operator::Less => "lt",
        };
        format!("{{{} {operator} [{}]}}", self.key, self.values.join(" "))
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Greater => write!(f, "{key}>{values}"),
            Operator::Less => write!(f, "{key}<{values}"),
        }
    }
}

/// What a path of names and indexes leads to (argo: gjson.GetBytes).
fn find<'o>(object: &'o Value, path: &str) -> Option<&'o Value> {
    path.split('.').try_fold(object, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        // A number without a sign: "-1" is no index there, and "01" is one.
        Value::Array(items) if part.bytes().all(|byte| byte.is_ascii_digit()) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A value as gjson's `String()` gives it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => go::format_float_f(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Symbol,
    End,
}

/// A token and its kind; what a symbol is, its text tells.
type Token = (Kind, String);

const SYMBOLS: &[&str] = &["=", "==", "!", "!=", ">", "<", ",", "(", ")"];

fn tokens(text: &str) -> Vec<Token> {
    let is_symbol = |c: char| "=!><,()".contains(c);
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let length = match is_symbol(first) {
            true if SYMBOLS.contains(&rest.get(..2).unwrap_or_default()) => 2,
            true => 1,
            false => rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push((if is_symbol(first) { Kind::Symbol } else { Kind::Word }, token.to_owned()));
        rest = after.trim_start_matches(is_space);
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> (Kind, &str) {
        self.tokens.get(self.at).map_or((Kind::End, ""), |(kind, text)| (*kind, text.as_str()))
    }

    fn next(&mut self) -> (Kind, String) {
        let (kind, text) = self.peek();
        let token = (kind, text.to_owned());
        self.at += 1;
        token
    }

    fn starts_requirement(&self) -> bool {
        matches!(self.peek(), (Kind::Word, _) | (Kind::Symbol, "!"))
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().0 == Kind::End {
            return Ok(requirements);
        }
        if !self.starts_requirement() {
            return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.peek().1));
        }
        loop {
            let requirement = self.requirement();
            requirements.push(requirement.map_err(|reason| format!("unable to parse requirement: {reason}"))?);
            match self.next() {
                (Kind::End, _) => return Ok(requirements),
                (Kind::Symbol, text) if text == "," => {}
                (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
            }
            if !self.starts_requirement() {
                return Err(format!("found '{}', expected: identifier after ','", self.peek().1));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut first = self.next();
        let negated = first.1 == "!";
        if negated {
            first = self.next();
        }
        let (Kind::Word, key) = first else {
            return Err(format!("found '{}', expected: identifier", first.1));
        };
        let problems = key_problems(&key);
        if !problems.is_empty() {
            return Err(invalid("<nil>", &key, &problems.join("; ")));
        }
        let operator = match (negated, self.peek()) {
            (true, _) => Operator::DoesNotExist,
            (false, (Kind::End, _) | (Kind::Symbol, ",")) => Operator::Exists,
            _ => self.operator()?,
        };
        let values = match operator {
            Operator::Exists | Operator::DoesNotExist => Vec::new(),
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        check_values(&key, operator, &values)?;
        Ok(Requirement { key, operator, values })
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let (_, text) = self.next();
        Ok(match text.as_str() {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            "=" => Operator::Equals,
            "==" => Operator::DoubleEquals,
            "!=" => Operator::NotEquals,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            (Kind::End, _) | (Kind::Symbol, ",") => Ok(String::new()),
            _ => match self.next() {
                (Kind::Word, value) => Ok(value),
                (_, text) => Err(format!("found '{text}', expected: identifier")),
            },
        }
    }

    /// A list in parentheses; an element may be empty.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            (Kind::Symbol, text) if text == "(" => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        let mut values = vec![];
        loop {
            match self.next() {
                (Kind::Word, value) => values.push(value),
                (Kind::Symbol, text) if text == "," || text == ")" => {
                    values.push(String::new());
                    self.at -= 1;
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', ')' or identifier")),
            }
            match self.next() {
                (Kind::Symbol, text) if text == "," => {}
                (Kind::Symbol, text) if text == ")" => break,
                (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

fn check_values(key: &str, operator: Operator, values: &[String]) -> Result<(), String> {
    let mut wrong = Vec::new();
    if matches!(operator, Operator::Greater | Operator::Less) {
        for (at, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
            let reason = "for 'Gt', 'Lt' operators, the value must be an integer";
            wrong.push(invalid(&format!("values[{at}]"), value, reason));
        }
    }
    for (at, value) in values.iter().enumerate() {
        let problems = value_problems(value);
        if !problems.is_empty() {
            wrong.push(invalid(&format!("values[{at}][{key}]"), value, &problems.join("; ")));
        }
    }
    match wrong.len() {
        0 => Ok(()),
        1 => Err(wrong.remove(0)),
        _ => Err(format!("[{}]", wrong.join(", "))),
    }
}

fn invalid(at: &str, value: &str, reason: &str) -> String {
    format!("{at}: Invalid value: {}: {reason}", go::quote(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::recorded::{object, rows};
    use serde_json::json;

    #[test]
    fn conditions_come_out_as_recorded() {
        let object = object();
        for (text, outcome, message) in rows("selectors.tsv") {
            let got = Selector::parse(&text).map(|selector| {
                let verdicts = selector.requirements.iter().map(|one| json!([one.to_string(), one.is_met_by(&object)]));
                Value::Array(verdicts.collect())
            });
            let expected = match outcome.as_str() {
                "PARSE_ERR" => Err(message),
                verdicts => Ok(serde_json::from_str(verdicts).unwrap()),
            };
            assert_eq!(got, expected, "{text}");
        }
    }
}
