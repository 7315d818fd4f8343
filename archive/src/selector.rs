//! Label selectors. Source: Kubernetes, "Labels and Selectors"; apimachinery/pkg/labels/selector.go.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::schema::{ARCHIVED, LABELS};
use crate::statement::Statement;

/// What is wanted of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is a number, and more than the value.
    GreaterThan,
    /// It is a number, and less than the value.
    LessThan,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is wanted of it.
    pub operator: Operator,
    /// Values to compare with.
    pub values: Vec<String>,
}

/// A selector that is none.
#[derive(Debug, thiserror::Error)]
#[error("label selector '{selector}': {reason}")]
pub struct SelectorError {
    selector: String,
    reason: String,
}

impl Requirement {
    /// Reads a selector as text: `a=b,c in (d, e),!f,g!=h,i>3`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(selector: &str) -> Result<Vec<Requirement>, SelectorError> {
        let parts = split(selector).into_iter().map(str::trim).filter(|part| !part.is_empty());
        parts.map(one).collect::<Result<_, _>>().map_err(|reason| SelectorError { selector: selector.into(), reason })
    }

    /// Reads a selector as an object: `matchLabels`, `matchExpressions`.
    ///
    /// # Errors
    /// It has an operator that there is not.
    pub fn of_object(selector: &Value) -> Result<Vec<Requirement>, SelectorError> {
        let equal = selector["matchLabels"].as_object().into_iter().flatten();
        let equal = equal.map(|(key, value)| {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            Ok(Requirement { key: key.clone(), operator: Operator::In, values })
        });
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        let expressions = expressions.map(|one| {
            let operator = match one["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("\"{other}\" is not a valid label selector operator")),
            };
            let values = one["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            Ok(Requirement { key: one["key"].as_str().unwrap_or_default().to_owned(), operator, values })
        });
        let all: Result<_, String> = equal.chain(expressions).collect();
        all.map_err(|reason| SelectorError { selector: selector.to_string(), reason })
    }

    /// Whether a label's value is what is wanted; None where there is no such label.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        let numbers = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::GreaterThan => numbers().is_some_and(|(value, than)| value > than),
            Operator::LessThan => numbers().is_some_and(|(value, than)| value < than),
        }
    }

    /// As a condition on the archive's rows.
    pub(crate) fn condition(&self, statement: Statement) -> Statement {
        let negated = matches!(self.operator, Operator::DoesNotExist | Operator::NotIn);
        let statement = statement.sql(if negated { " and not exists (" } else { " and exists (" });
        let rows = format!(
            "select 1 from {LABELS} where {LABELS}.clustername = {ARCHIVED}.clustername and {LABELS}.uid = {ARCHIVED}.uid \
             and {LABELS}.name = "
        );
        let mut statement = statement.sql(&rows).value(&*self.key);
        let number = |comparison, dialect: Dialect| {
            // Checked when it was read.
            let than = self.values.first().and_then(|value| value.parse().ok()).unwrap_or_default();
            format!(" and {}", dialect.number(comparison, than))
        };
        match self.operator {
            Operator::Exists | Operator::DoesNotExist => {}
            Operator::In | Operator::NotIn => {
                for (index, value) in self.values.iter().enumerate() {
                    let before = if index == 0 { " and value in (" } else { ", " };
                    statement = statement.sql(before).value(&**value);
                }
                statement = statement.sql(if self.values.is_empty() { " and 1 = 0" } else { ")" });
            }
            Operator::GreaterThan => {
                let condition = number('>', statement.dialect);
                statement = statement.sql(&condition);
            }
            Operator::LessThan => {
                let condition = number('<', statement.dialect);
                statement = statement.sql(&condition);
            }
        }
        statement.sql(")")
    }
}

/// The requirements, at commas that are not between parentheses.
fn split(selector: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, character) in selector.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&selector[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[begin..]);
    parts
}

fn one(part: &str) -> Result<Requirement, String> {
    let made = |key: &str, operator, values: Vec<String>| {
        let key = key.trim();
        match is_key(key) {
            true => Ok(Requirement { key: key.to_owned(), operator, values }),
            false => Err(format!("'{key}' is no label's name")),
        }
    };
    if let Some(key) = part.strip_prefix('!') {
        return made(key, Operator::DoesNotExist, Vec::new());
    }
    for (sign, operator) in [
        ("!=", Operator::NotIn),
        ("==", Operator::In),
        ("=", Operator::In),
        (">", Operator::GreaterThan),
        ("<", Operator::LessThan),
    ] {
        let Some((key, value)) = part.split_once(sign) else { continue };
        let value = value.trim();
        let numeric = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        if numeric && value.parse::<i64>().is_err() {
            return Err(format!("'{value}' is no number"));
        }
        return made(key, operator, vec![value.to_owned()]);
    }
    let Some((head, list)) = part.split_once('(') else { return made(part, Operator::Exists, Vec::new()) };
    let list = list.trim().strip_suffix(')').ok_or_else(|| format!("'{part}' has no closing parenthesis"))?;
    let values = list.split(',').map(|value| value.trim().to_owned()).collect();
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [key, "in"] => made(key, Operator::In, values),
        [key, "notin"] => made(key, Operator::NotIn, values),
        _ => Err(format!("'{part}': expected `name in (values)` or `name notin (values)`")),
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts() {
        let holds = |selector: &str, value: Option<&str>| {
            let all = Requirement::parse(selector).unwrap();
            assert!(all.iter().all(|one| one.key == "a/b"));
            all.iter().all(|one| one.holds(value))
        };
        for (selector, value, expected) in [
            ("a/b=1", Some("1"), true),
            ("a/b == 1", Some("2"), false),
            ("a/b!=1", None, true),
            ("a/b", Some(""), true),
            ("!a/b", Some(""), false),
            ("a/b in (1, 2),a/b notin (3)", Some("2"), true),
            ("a/b notin (1,2)", None, true),
            ("a/b>1, a/b<4", Some("3"), true),
            ("a/b>1", Some("x"), false),
            ("", None, true),
        ] {
            assert_eq!(holds(selector, value), expected, "{selector} of {value:?}");
        }
        for (wrong, words) in [
            ("a in (1", "no closing"),
            ("a>b", "'b' is no number"),
            ("a b", "no label's name"),
            ("a of (b)", "expected"),
        ] {
            let error = Requirement::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn objects() {
        let read = |selector: &Value| Requirement::of_object(selector);
        let expression =
            |operator: &str| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": ["1"]}]});
        for (selector, value, expected) in [
            (json!({"matchLabels": {"a": "1"}}), Some("1"), true),
            (expression("In"), Some("2"), false),
            (expression("NotIn"), None, true),
            (expression("Exists"), Some("2"), true),
            (expression("DoesNotExist"), Some("2"), false),
        ] {
            assert_eq!(
                read(&selector).unwrap().iter().all(|one| one.holds(value)),
                expected,
                "{selector} of {value:?}"
            );
        }
        assert!(read(&expression("Is")).unwrap_err().to_string().contains("\"Is\" is not a valid"));
    }
}
