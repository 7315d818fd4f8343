//! `when` conditions: govaluate's language, in which Argo turns every bare word into a text (`argo: shouldExecute`).
//!
//! `{{=...}}` conditions have become the text `true` or `false` before they come here.

mod kind;
mod lexer;
mod plan;

use crate::go::{display_value, quote};
use crate::value::Value;
use kind::TokenKind;
use lexer::{Token, TokenValue};
use plan::{Plan, Symbol};

/// Why a `when` gives no answer. The texts are Argo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// It is not in the language.
    #[error("Invalid 'when' expression '{when}': {reason}{}", hint(.reason))]
    Invalid {
        /// The condition.
        when: String,
        /// What is wrong.
        reason: String,
    },
    /// With its words taken as texts it is not in the language (a text that is no pattern behind `=~`).
    #[error("Failed to parse 'when' expression '{when}': {reason}")]
    Parse {
        /// The condition.
        when: String,
        /// What is wrong.
        reason: String,
    },
    /// It fails while running: values that an operator does not take.
    #[error("Failed to evaluate 'when' expresion '{when}': {reason}")]
    Evaluate {
        /// The condition.
        when: String,
        /// What is wrong.
        reason: String,
    },
    /// It gives something else than true or false.
    #[error("Expected boolean evaluation for '{when}'. Got {got}")]
    NotBool {
        /// The condition.
        when: String,
        /// What it gave.
        got: String,
    },
}

fn hint(reason: &str) -> &'static str {
    if reason.contains("Invalid token") { " (hint: try wrapping the affected expression in quotes (\"))" } else { "" }
}

/// Evaluates a condition whose tags have been substituted. An empty one holds.
///
/// # Errors
/// [`WhenError`], with Argo's messages.
pub fn evaluate(when: &str) -> Result<bool, WhenError> {
    if when.is_empty() {
        return Ok(true);
    }
    match value(when)? {
        Value::Bool(value) => Ok(value),
        other => Err(WhenError::NotBool { when: when.to_owned(), got: display_value(&other) }),
    }
}

/// The value of a condition, whatever it is.
fn value(when: &str) -> Result<Value, WhenError> {
    let invalid = |reason: String| WhenError::Invalid { when: when.to_owned(), reason };
    let parse = |reason: String| WhenError::Parse { when: when.to_owned(), reason };
    let mut tokens = lexer::tokens(when).map_err(invalid)?;
    prepare(&mut tokens).map_err(invalid)?;
    Plan::of(&tokens).map_err(invalid)?;
    for token in &mut tokens {
        if token.kind == TokenKind::Variable {
            token.kind = TokenKind::String;
        }
    }
    prepare(&mut tokens).map_err(parse)?;
    let plan = Plan::of(&tokens).map_err(parse)?;
    let result = match plan.root {
        Some(root) => run(&plan, root),
        None => Ok(Operand::Value(Value::Nil)),
    };
    match result {
        Ok(Operand::Value(value)) => Ok(value),
        Ok(Operand::Pattern(pattern)) => Ok(Value::str(pattern.as_str())),
        Err(reason) => Err(WhenError::Evaluate { when: when.to_owned(), reason }),
    }
}

/// Checks the order of the tokens and compiles texts behind `=~` and `!~`.
fn prepare(tokens: &mut [Token]) -> Result<(), String> {
    lexer::check_syntax(tokens)?;
    for i in 1..tokens.len() {
        let operator = &tokens[i - 1];
        let matching = operator.kind == TokenKind::Comparator && matches!(operator.text(), Some("=~" | "!~"));
        if matching
            && tokens[i].kind == TokenKind::String
            && let Some(text) = tokens[i].text()
        {
            let pattern = crate::lang::ops::compile_regex(text)?;
            let source = text.to_owned();
            tokens[i] = Token { kind: TokenKind::Pattern, value: TokenValue::Pattern(Box::new(pattern), source) };
        }
    }
    Ok(())
}

/// What a stage gives: a value, or a compiled pattern.
#[derive(Debug, Clone)]
enum Operand {
    Value(Value),
    Pattern(regex::Regex),
}

impl Operand {
    fn show(&self) -> String {
        match self {
            Self::Value(value) => display_value(value),
            Self::Pattern(pattern) => pattern.as_str().to_owned(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Value(Value::Float(value)) => Some(*value),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Value(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    fn truth(&self) -> Option<bool> {
        match self {
            Self::Value(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn is_nil(&self) -> bool {
        matches!(self, Self::Value(Value::Nil))
    }
}

const NIL: Operand = Operand::Value(Value::Nil);

fn run(plan: &Plan, at: usize) -> Result<Operand, String> {
    let stage = &plan.stages[at];
    if let Some(literal) = &stage.literal {
        return Ok(literal.clone());
    }
    let left = match stage.left {
        Some(left) => run(plan, left)?,
        None => NIL,
    };
    let skip = match stage.symbol {
        Symbol::And if left.truth() == Some(false) => return Ok(left),
        Symbol::Or if left.truth() == Some(true) => return Ok(left),
        Symbol::Coalesce if !left.is_nil() => return Ok(left),
        Symbol::TernaryTrue => left.truth() == Some(false),
        Symbol::TernaryFalse => !left.is_nil(),
        _ => false,
    };
    let right = match stage.right {
        Some(right) if !skip => run(plan, right)?,
        _ => NIL,
    };
    apply(stage.symbol, left, right)
}

fn refuse<T>(value: &Operand, symbol: Symbol) -> Result<T, String> {
    let (value, operator) = (value.show(), symbol.text());
    Err(match symbol.kind() {
        plan::Level::Logical => {
            format!("Value '{value}' cannot be used with the logical operator '{operator}', it is not a bool")
        }
        plan::Level::Comparator => {
            format!("Value '{value}' cannot be used with the comparator '{operator}', it is not a number")
        }
        plan::Level::Ternary => {
            format!("Value '{value}' cannot be used with the ternary operator '{operator}', it is not a bool")
        }
        plan::Level::Prefix => format!("Value '{value}' cannot be used with the prefix '{operator}'"),
        plan::Level::Modifier => {
            format!("Value '{value}' cannot be used with the modifier '{operator}', it is not a number")
        }
    })
}

fn bool_value(value: bool) -> Result<Operand, String> {
    Ok(Operand::Value(Value::Bool(value)))
}

fn number_value(value: f64) -> Result<Operand, String> {
    Ok(Operand::Value(Value::Float(value)))
}

fn apply(symbol: Symbol, left: Operand, right: Operand) -> Result<Operand, String> {
    use Symbol as S;
    match symbol {
        S::Noop => Ok(right),
        S::Eq => bool_value(same(&left, &right)),
        S::Neq => bool_value(!same(&left, &right)),
        S::Gt | S::Lt | S::Gte | S::Lte => {
            let order = match ((left.number(), right.number()), (left.text(), right.text())) {
                ((Some(a), Some(b)), _) => a.partial_cmp(&b),
                (_, (Some(a), Some(b))) => Some(a.cmp(b)),
                _ => return refuse(&left, symbol),
            };
            bool_value(order.is_some_and(|order| match symbol {
                S::Gt => order.is_gt(),
                S::Lt => order.is_lt(),
                S::Gte => order.is_ge(),
                _ => order.is_le(),
            }))
        }
        S::Match | S::NotMatch => {
            let Some(text) = left.text() else { return refuse(&left, symbol) };
            let found = match (&right, right.text()) {
                (Operand::Pattern(pattern), _) => pattern.is_match(text),
                (_, Some(pattern)) => crate::lang::ops::compile_regex(pattern)
                    .map_err(|reason| format!("Unable to compile regexp pattern '{pattern}': {reason}"))?
                    .is_match(text),
                _ => return refuse(&right, symbol),
            };
            bool_value(found == (symbol == S::Match))
        }
        S::And | S::Or => {
            let Some(a) = left.truth() else { return refuse(&left, symbol) };
            let Some(b) = right.truth() else { return refuse(&right, symbol) };
            bool_value(if symbol == S::And { a && b } else { a || b })
        }
        S::In => match &right {
            Operand::Value(Value::Array(items)) => match &left {
                Operand::Value(left) => bool_value(items.items.contains(left)),
                Operand::Pattern(_) => bool_value(false),
            },
            _ => refuse(&right, symbol),
        },
        S::Plus if left.number().is_none() || right.number().is_none() => {
            if left.text().is_none() && right.text().is_none() {
                return refuse(&left, symbol);
            }
            Ok(Operand::Value(Value::str(format!("{}{}", left.show(), right.show()))))
        }
        S::TernaryTrue => match left.truth() {
            Some(true) => Ok(right),
            Some(false) => Ok(NIL),
            None => refuse(&left, symbol),
        },
        S::TernaryFalse | S::Coalesce => Ok(if left.is_nil() { right } else { left }),
        S::Access => Err(format!("No parameter '{}' found.", left.show())),
        S::Separate => Ok(Operand::Value(separated(left, right))),
        S::Negate | S::BitNot => {
            let Some(number) = right.number() else { return refuse(&right, symbol) };
            let inverted = !crate::lang::ops::float_to_int(number);
            number_value(if symbol == S::Negate { -number } else { inverted as f64 })
        }
        S::Invert => match right.truth() {
            Some(value) => bool_value(!value),
            None => refuse(&right, symbol),
        },
        _ => {
            let Some(a) = left.number() else { return refuse(&left, symbol) };
            let Some(b) = right.number() else { return refuse(&right, symbol) };
            number_value(arithmetic(symbol, a, b))
        }
    }
}

fn arithmetic(symbol: Symbol, a: f64, b: f64) -> f64 {
    let int = crate::lang::ops::float_to_int;
    let shift = |b: f64| u32::try_from(int(b)).unwrap_or(u32::MAX);
    match symbol {
        Symbol::Plus => a + b,
        Symbol::Minus => a - b,
        Symbol::Multiply => a * b,
        Symbol::Divide => a / b,
        Symbol::Modulus => a % b,
        Symbol::Exponent => a.powf(b),
        Symbol::BitAnd => (int(a) & int(b)) as f64,
        Symbol::BitOr => (int(a) | int(b)) as f64,
        Symbol::BitXor => (int(a) ^ int(b)) as f64,
        Symbol::ShiftLeft => (int(a) as u64).checked_shl(shift(b)).unwrap_or(0) as f64,
        _ => (int(a) as u64).checked_shr(shift(b)).unwrap_or(0) as f64,
    }
}

/// reflect.DeepEqual of what the language has: types must agree.
fn same(left: &Operand, right: &Operand) -> bool {
    match (left, right) {
        (Operand::Value(a), Operand::Value(b)) => a == b,
        (Operand::Pattern(a), Operand::Pattern(b)) => a.as_str() == b.as_str(),
        _ => false,
    }
}

fn separated(left: Operand, right: Operand) -> Value {
    let plain = |operand: Operand| match operand {
        Operand::Value(value) => value,
        Operand::Pattern(pattern) => Value::str(quote(pattern.as_str())),
    };
    match plain(left) {
        Value::Array(items) => {
            let mut items = items.items.clone();
            items.push(plain(right));
            Value::array(items)
        }
        left => Value::array(vec![left, plain(right)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_argos() {
        let message = |when| evaluate(when).unwrap_err().to_string();
        assert_eq!(
            message("{{x}} == b"),
            "Invalid 'when' expression '{{x}} == b': Invalid token: '{{' (hint: try wrapping the affected expression in \
             quotes (\"))"
        );
        assert_eq!(message("a ?? b"), "Expected boolean evaluation for 'a ?? b'. Got a");
        assert_eq!(
            message("1 && 2"),
            "Failed to evaluate 'when' expresion '1 && 2': Value '1' cannot be used with the logical operator '&&', it is \
             not a bool"
        );
        assert_eq!(
            message("a and b"),
            "Invalid 'when' expression 'a and b': Cannot transition token types from VARIABLE [a] to VARIABLE [and]"
        );
        assert_eq!(evaluate(""), Ok(true));
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
        assert!(evaluate(&deep).is_err());
        let long = vec!["true"; 300].join(" && ");
        assert_eq!(evaluate(&long), Ok(true));
        assert!(evaluate(&vec!["true"; 3000].join(" && ")).is_err());
    }
}
