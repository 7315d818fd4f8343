//! The order in which the operators of a `when` are applied.
//!
//! govaluate reads operators of one level from right to left and then turns runs of one level around, a repair with
//! edges of its own (levels of the reader and of the repair differ for `|` and `<<`); results depend on both, so both
//! are done here the same way.

use super::Operand;
use super::kind::TokenKind;
use super::lexer::{Token, TokenValue};
use crate::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Literal,
    Noop,
    Access,
    Eq,
    Neq,
    Gt,
    Lt,
    Gte,
    Lte,
    Match,
    NotMatch,
    In,
    And,
    Or,
    Plus,
    Minus,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Multiply,
    Divide,
    Modulus,
    Exponent,
    Negate,
    Invert,
    BitNot,
    TernaryTrue,
    TernaryFalse,
    Coalesce,
    Separate,
}

/// Groups of operators that share the words of their error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Prefix,
    Modifier,
    Comparator,
    Logical,
    Ternary,
}

/// Levels of the reader, from the loosest: the kind of token and the operators.
const LEVELS: [(TokenKind, &[(&str, Symbol)]); 10] = [
    (TokenKind::Separator, &[(",", Symbol::Separate)]),
    (TokenKind::Ternary, &[("?", Symbol::TernaryTrue), (":", Symbol::TernaryFalse), ("??", Symbol::Coalesce)]),
    (TokenKind::LogicalOp, &[("||", Symbol::Or)]),
    (TokenKind::LogicalOp, &[("&&", Symbol::And)]),
    (
        TokenKind::Comparator,
        &[
            ("==", Symbol::Eq),
            ("!=", Symbol::Neq),
            (">", Symbol::Gt),
            (">=", Symbol::Gte),
            ("<", Symbol::Lt),
            ("<=", Symbol::Lte),
            ("=~", Symbol::Match),
            ("!~", Symbol::NotMatch),
            ("in", Symbol::In),
        ],
    ),
    (TokenKind::Modifier, &[("^", Symbol::BitXor), ("&", Symbol::BitAnd), ("|", Symbol::BitOr)]),
    (TokenKind::Modifier, &[(">>", Symbol::ShiftRight), ("<<", Symbol::ShiftLeft)]),
    (TokenKind::Modifier, &[("+", Symbol::Plus), ("-", Symbol::Minus)]),
    (TokenKind::Modifier, &[("*", Symbol::Multiply), ("/", Symbol::Divide), ("%", Symbol::Modulus)]),
    (TokenKind::Modifier, &[("**", Symbol::Exponent)]),
];

impl Symbol {
    pub fn text(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Negate => "-",
            Self::Invert => "!",
            Self::BitNot => "~",
            Self::Noop => "NOOP",
            // These have no text of their own in govaluate.
            Self::Separate | Self::Literal | Self::Access => "",
            _ => LEVELS
                .iter()
                .flat_map(|(_, symbols)| symbols.iter())
                .find(|(_, symbol)| *symbol == self)
                .map_or("", |(text, _)| text),
        }
    }

    pub fn kind(self) -> Level {
        match self {
            Self::And | Self::Or => Level::Logical,
            Self::Negate | Self::Invert | Self::BitNot => Level::Prefix,
            Self::TernaryTrue | Self::TernaryFalse | Self::Coalesce => Level::Ternary,
            Self::Eq
            | Self::Neq
            | Self::Gt
            | Self::Lt
            | Self::Gte
            | Self::Lte
            | Self::Match
            | Self::NotMatch
            | Self::In => Level::Comparator,
            _ => Level::Modifier,
        }
    }

    /// The level by which runs are turned around.
    fn precedence(self) -> u8 {
        match self {
            Self::Noop => 0,
            Self::Literal => 1,
            Self::Access => 2,
            Self::Negate | Self::Invert | Self::BitNot => 3,
            Self::Exponent => 4,
            Self::Plus | Self::Minus => 5,
            Self::BitAnd | Self::BitOr | Self::BitXor => 6,
            Self::ShiftLeft | Self::ShiftRight => 7,
            Self::Multiply | Self::Divide | Self::Modulus => 8,
            Self::TernaryTrue | Self::TernaryFalse | Self::Coalesce => 10,
            Self::And => 11,
            Self::Or => 12,
            Self::Separate => 13,
            _ => 9,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub symbol: Symbol,
    pub left: Option<usize>,
    pub right: Option<usize>,
    pub literal: Option<Operand>,
}

/// The stages of a condition.
pub(super) struct Plan {
    pub stages: Vec<Stage>,
    pub root: Option<usize>,
}

impl Plan {
    pub fn of(tokens: &[Token]) -> Result<Self, String> {
        let mut planner = Planner { tokens, at: 0, stages: Vec::new() };
        let root = planner.level(0)?;
        let mut plan = Self { stages: planner.stages, root };
        if let Some(root) = root {
            plan.reorder(root);
        }
        Ok(plan)
    }

    fn reorder(&mut self, root: usize) {
        let mut run = Vec::new();
        let mut precedence = self.stages[root].symbol.precedence();
        let mut next = Some(root);
        while let Some(current) = next {
            next = self.stages[current].right;
            if let Some(left) = self.stages[current].left {
                self.reorder(left);
            }
            let own = self.stages[current].symbol.precedence();
            if own == precedence {
                run.push(current);
                continue;
            }
            self.mirror(&run);
            run = vec![current];
            precedence = own;
        }
        self.mirror(&run);
    }

    /// Turns `a op (b op (c op d))` into `((a op b) op c) op d`: the stages stay where they are and change operands
    /// and operators.
    fn mirror(&mut self, run: &[usize]) {
        if run.len() < 2 {
            return;
        }
        let end = run[run.len() - 1];
        // Operands from left to right; the stages of the run are each other's right operand.
        let mut operands: Vec<Option<usize>> = run.iter().map(|stage| self.stages[*stage].left).collect();
        operands.push(self.stages[end].right);
        let operators: Vec<_> =
            run.iter().map(|at| (self.stages[*at].symbol, self.stages[*at].literal.clone())).collect();
        for (i, at) in run.iter().enumerate() {
            let mirrored = run.len() - 1 - i;
            let (symbol, literal) = operators[mirrored].clone();
            let stage = &mut self.stages[*at];
            stage.symbol = symbol;
            stage.literal = literal;
            stage.left = run.get(i + 1).copied();
            stage.right = operands[mirrored + 1];
        }
        self.stages[end].left = operands[0];
    }
}

struct Planner<'t> {
    tokens: &'t [Token],
    at: usize,
    stages: Vec<Stage>,
}

impl Planner<'_> {
    fn push(&mut self, symbol: Symbol, left: Option<usize>, right: Option<usize>, literal: Option<Operand>) -> usize {
        self.stages.push(Stage { symbol, left, right, literal });
        self.stages.len() - 1
    }

    fn level(&mut self, level: usize) -> Result<Option<usize>, String> {
        let Some((kind, symbols)) = LEVELS.get(level) else { return self.value() };
        let left = self.level(level + 1)?;
        let operator = self.tokens.get(self.at).filter(|token| token.kind == *kind);
        let symbol = operator.and_then(|token| symbols.iter().find(|(text, _)| token.text() == Some(text)));
        let Some((_, symbol)) = symbol else { return Ok(left) };
        self.at += 1;
        let right = self.level(level)?;
        Ok(Some(self.push(*symbol, left, right, None)))
    }

    fn value(&mut self) -> Result<Option<usize>, String> {
        let Some(token) = self.tokens.get(self.at) else { return Ok(None) };
        self.at += 1;
        let literal = match (&token.kind, &token.value) {
            (TokenKind::Clause, _) => {
                let inner = self.level(0)?;
                self.at += 1;
                return Ok(Some(self.push(Symbol::Noop, None, inner, None)));
            }
            (TokenKind::ClauseClose, _) => {
                self.at -= 1;
                return Ok(None);
            }
            (TokenKind::Prefix, _) => {
                let symbol = match token.text() {
                    Some("-") => Symbol::Negate,
                    Some("!") => Symbol::Invert,
                    _ => Symbol::BitNot,
                };
                let right = self.value()?;
                return Ok(Some(self.push(symbol, None, right, None)));
            }
            (TokenKind::Accessor, TokenValue::Path(parts)) => {
                let name = parts.first().cloned().unwrap_or_default();
                let call = self.tokens.get(self.at).is_some_and(|next| next.kind == TokenKind::Clause);
                let right = if call { self.level(0)? } else { None };
                let access = self.push(Symbol::Access, None, right, None);
                self.stages[access].left =
                    Some(self.push(Symbol::Literal, None, None, Some(Operand::Value(name.into()))));
                return Ok(Some(access));
            }
            (_, TokenValue::Number(number)) => Operand::Value(Value::Float(*number)),
            (_, TokenValue::Bool(value)) => Operand::Value(Value::Bool(*value)),
            (_, TokenValue::Time(time)) => {
                Operand::Value(Value::Float(time.instant.as_nanosecond().div_euclid(1_000_000_000) as f64))
            }
            (_, TokenValue::Pattern(pattern, _)) => Operand::Pattern((**pattern).clone()),
            (TokenKind::String | TokenKind::Variable, TokenValue::Text(text)) => {
                Operand::Value(Value::str(text.as_str()))
            }
            _ => {
                return Err(format!("Unable to plan token kind: '{}', value: '{}'", token.kind_name(), token.show()));
            }
        };
        Ok(Some(self.push(Symbol::Literal, None, None, Some(literal))))
    }
}
