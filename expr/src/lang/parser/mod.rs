//! The parser: operators by precedence, as expr-lang binds them.

mod atoms;

use super::ast::{Ast, BinaryOp, Kind, Node, NodeId, Span, UnaryOp};
use super::error::Error;
use super::lexer::{self, LexError, Token, TokenKind};
use std::sync::Arc;

/// As expr-lang's default.
const MAX_NODES: usize = 10_000;
/// Levels of nesting. Go's stacks grow; ours do not. Chains of one left-bound operator do not nest.
const MAX_DEPTH: u16 = 96;
/// Longer texts than this are refused before they are read.
const MAX_LENGTH: usize = 1 << 20;

/// Arguments of the builtins that take closures: `p` a predicate, `e` an expression, `?` before the optional ones.
const PREDICATES: [(&str, &str); 15] = [
    ("all", "ep"),
    ("none", "ep"),
    ("any", "ep"),
    ("one", "ep"),
    ("filter", "ep"),
    ("map", "ep"),
    ("count", "e?p"),
    ("sum", "e?p"),
    ("find", "ep"),
    ("findIndex", "ep"),
    ("findLast", "ep"),
    ("findLastIndex", "ep"),
    ("groupBy", "ep"),
    ("sortBy", "ep?e"),
    ("reduce", "ep?e"),
];

/// Parses an expression.
///
/// # Errors
/// [`Error::Compile`] for syntax mistakes and for expressions beyond the limits (10 000 nodes as in expr-lang, 96 levels).
pub fn parse(source: &str) -> Result<Ast, Error> {
    parse_with(source, &|_| false)
}

/// Parses an expression; names for which `overridden` says true are not builtins.
pub(super) fn parse_with(source: &str, overridden: &dyn Fn(&str) -> bool) -> Result<Ast, Error> {
    if source.len() > MAX_LENGTH {
        return Err(Error::compile("compilation failed: expression is longer than 1 MiB", Span::default(), ""));
    }
    let (tokens, lex_error) = lexer::lex(source);
    let mut parser = Parser { tokens, lex_error, at: 0, nodes: Vec::new(), closures: 0, depth: 0, overridden };
    let parsed = parser.whole();
    match parsed {
        Ok(root) => Ok(Ast { nodes: parser.nodes, root }),
        Err((message, span)) => Err(Error::compile(message, span, source)),
    }
}

type Parsed<T = NodeId> = Result<T, LexError>;

struct Parser<'a> {
    tokens: Vec<Token>,
    lex_error: Option<LexError>,
    at: usize,
    nodes: Vec<Node>,
    /// Closures around the current place.
    closures: u32,
    depth: u16,
    overridden: &'a dyn Fn(&str) -> bool,
}

impl Parser<'_> {
    fn whole(&mut self) -> Parsed {
        if self.tokens.is_empty() {
            return self.lex_failure();
        }
        let root = self.sequence()?;
        if self.current().kind != TokenKind::Eof {
            return self.unexpected();
        }
        Ok(root)
    }

    fn lex_failure<T>(&mut self) -> Parsed<T> {
        Err(self.lex_error.take().unwrap_or_else(|| ("unexpected end of expression".to_owned(), Span::default())))
    }

    fn current(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Parsed<()> {
        if self.at + 1 >= self.tokens.len() {
            if self.lex_error.is_some() {
                return self.lex_failure();
            }
            let span = self.current().span;
            return Err(("unexpected end of expression".to_owned(), span));
        }
        self.at += 1;
        Ok(())
    }

    fn take(&mut self) -> Parsed<Token> {
        let token = self.current().clone();
        self.next()?;
        Ok(token)
    }

    fn unexpected<T>(&self) -> Parsed<T> {
        self.error(format!("unexpected token {}", self.current()))
    }

    fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err((message.into(), self.current().span))
    }

    fn expect_operator(&mut self, value: &str) -> Parsed<()> {
        if self.current().is_operator(value) { self.next() } else { self.unexpected() }
    }

    fn expect_bracket(&mut self, value: &str) -> Parsed<()> {
        if self.current().is_bracket(value) { self.next() } else { self.unexpected() }
    }

    fn expect_identifier(&mut self) -> Parsed<Token> {
        if self.current().kind == TokenKind::Identifier { self.take() } else { self.unexpected() }
    }

    fn node(&mut self, kind: Kind, span: Span) -> Parsed {
        if self.nodes.len() >= MAX_NODES {
            return self.error("compilation failed: expression exceeds maximum allowed nodes");
        }
        let depth = self.depth_of(&kind);
        if depth > MAX_DEPTH {
            return self.error("compilation failed: expression is nested too deeply");
        }
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { kind, span, depth });
        Ok(id)
    }

    fn depth_of(&self, kind: &Kind) -> u16 {
        let depth = |id: NodeId| self.nodes[id.index()].depth;
        // The left spine of operators is walked in a loop.
        if let Kind::Binary(_, left, right) = kind {
            return depth(*left).max(depth(*right) + 1);
        }
        let mut deepest = 0;
        kind.children(&mut |child| deepest = deepest.max(depth(child)));
        deepest + 1
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("compilation failed: expression is nested too deeply");
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn sequence(&mut self) -> Parsed {
        let first = self.expression(0)?;
        let mut nodes = vec![first];
        while self.current().is_operator(";") {
            self.next()?;
            if self.current().kind == TokenKind::Eof {
                break;
            }
            nodes.push(self.expression(0)?);
        }
        if nodes.len() == 1 {
            return Ok(first);
        }
        let span = self.nodes[first.index()].span;
        self.node(Kind::Sequence(nodes), span)
    }

    fn expression(&mut self, precedence: u16) -> Parsed {
        self.nested(|p| p.expression_here(precedence))
    }

    fn expression_here(&mut self, precedence: u16) -> Parsed {
        if precedence == 0 && self.current().is_operator("let") {
            return self.declaration();
        }
        if precedence == 0 && self.current().is_operator("if") {
            return self.conditional_if();
        }
        let mut left = self.primary()?;
        let mut previous = None;
        while self.current().kind == TokenKind::Operator {
            let Some((token, negate, at)) = self.operator(precedence)? else { break };
            if token.value == "|" {
                self.at = at;
                let name = self.expect_identifier()?;
                left = self.call(&name, vec![left], true)?;
                previous = None;
                continue;
            }
            let Some((op, _, level)) = binary(&token.value) else { break };
            self.at = at;
            if previous == Some(BinaryOp::Coalesce) && op != BinaryOp::Coalesce {
                let text = token.value;
                let message = format!(
                    "Operator ({text}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses."
                );
                return Err((message, token.span));
            }
            previous = Some(op);
            if op.is_comparison() {
                left = self.comparison(left, op, token.span, level)?;
                continue;
            }
            let right = self.expression(if op.is_power() { level } else { level + 1 })?;
            left = self.node(Kind::Binary(op, left, right), token.span)?;
            if negate {
                left = self.node(Kind::Unary(UnaryOp::Not, left), token.span)?;
            }
        }
        if precedence == 0 { self.conditional(left) } else { Ok(left) }
    }

    /// The operator at the current place if it binds at least as strongly as asked: its token, whether `not` stands
    /// before it, and the place behind it. The parser does not move.
    fn operator(&mut self, precedence: u16) -> Parsed<Option<(Token, bool, usize)>> {
        let start = self.at;
        let negate = self.current().is_operator("not");
        if negate {
            self.next()?;
            let suffix = ["contains", "matches", "startsWith", "endsWith", "in"];
            if !suffix.contains(&self.current().value.as_str()) {
                return self.unexpected();
            }
        }
        let token = self.current().clone();
        let level = if token.value == "|" { Some(0) } else { binary(&token.value).map(|(.., level)| level) };
        if level.is_none_or(|level| level < precedence) {
            self.at = start;
            return Ok(None);
        }
        self.next()?;
        let behind = std::mem::replace(&mut self.at, start);
        Ok(Some((token, negate, behind)))
    }

    fn comparison(&mut self, left: NodeId, op: BinaryOp, span: Span, level: u16) -> Parsed {
        let (mut left, mut op, mut span) = (left, op, span);
        let mut root = None;
        loop {
            let right = self.expression(level + 1)?;
            let compared = self.node(Kind::Binary(op, left, right), span)?;
            let joined = match root {
                None => compared,
                Some(root) => self.node(Kind::Binary(BinaryOp::And, root, compared), span)?,
            };
            root = Some(joined);
            let token = self.current().clone();
            let next = binary(&token.value).filter(|(next, ..)| next.is_comparison());
            match next {
                Some((next, ..)) if token.kind == TokenKind::Operator => (op, span, left) = (next, token.span, right),
                _ => return Ok(joined),
            }
            self.next()?;
        }
    }

    fn declaration(&mut self) -> Parsed {
        self.expect_operator("let")?;
        let name = self.expect_identifier()?;
        self.expect_operator("=")?;
        let value = self.expression(0)?;
        self.expect_operator(";")?;
        let body = self.sequence()?;
        self.node(Kind::Let { name: name.value.into(), value, body }, name.span)
    }

    fn conditional_if(&mut self) -> Parsed {
        let span = self.current().span;
        self.next()?;
        let condition = self.expression(0)?;
        self.expect_bracket("{")?;
        let then = self.sequence()?;
        self.expect_bracket("}")?;
        self.expect_operator("else")?;
        let otherwise = if self.current().is_operator("if") {
            self.nested(Self::conditional_if)?
        } else {
            self.expect_bracket("{")?;
            let otherwise = self.sequence()?;
            self.expect_bracket("}")?;
            otherwise
        };
        self.node(Kind::Conditional { condition, then, otherwise }, span)
    }

    fn conditional(&mut self, node: NodeId) -> Parsed {
        let mut node = node;
        while self.current().is_operator("?") {
            self.next()?;
            let then = if self.current().is_operator(":") { node } else { self.expression(0)? };
            self.expect_operator(":")?;
            let otherwise = self.expression(0)?;
            let span = self.current().span;
            node = self.node(Kind::Conditional { condition: node, then, otherwise }, span)?;
        }
        Ok(node)
    }

    fn primary(&mut self) -> Parsed {
        let token = self.current().clone();
        if token.kind == TokenKind::Operator {
            let unary = match token.value.as_str() {
                "not" => Some((UnaryOp::Not, 50)),
                "!" => Some((UnaryOp::Bang, 50)),
                "-" => Some((UnaryOp::Minus, 90)),
                "+" => Some((UnaryOp::Plus, 90)),
                _ => None,
            };
            if let Some((op, level)) = unary {
                self.next()?;
                let operand = self.expression(level)?;
                let node = self.node(Kind::Unary(op, operand), token.span)?;
                return self.postfix(node);
            }
        }
        if token.is_bracket("(") {
            self.next()?;
            let node = self.sequence()?;
            self.expect_bracket(")")?;
            return self.postfix(node);
        }
        if self.closures > 0 && (token.is_operator("#") || token.is_operator(".")) {
            let mut name = Arc::from("");
            if token.value == "#" {
                self.next()?;
                if self.current().kind == TokenKind::Identifier {
                    name = self.take()?.value.into();
                }
            }
            let node = self.node(Kind::Pointer(name), token.span)?;
            return self.postfix(node);
        }
        if token.is_operator("::") {
            self.next()?;
            let name = self.expect_identifier()?;
            let call = self.call(&name, Vec::new(), false)?;
            return self.postfix(call);
        }
        self.secondary(token)
    }

    fn secondary(&mut self, token: Token) -> Parsed {
        let node = match token.kind {
            TokenKind::Identifier => {
                self.next()?;
                match token.value.as_str() {
                    "true" => return self.node(Kind::Bool(true), token.span),
                    "false" => return self.node(Kind::Bool(false), token.span),
                    "nil" => return self.node(Kind::Nil, token.span),
                    _ if self.current().is_bracket("(") => self.call(&token, Vec::new(), true)?,
                    _ => self.node(Kind::Ident(token.value.into()), token.span)?,
                }
            }
            TokenKind::Number => {
                self.next()?;
                return self.number(&token);
            }
            TokenKind::String => {
                self.next()?;
                self.node(Kind::Str(token.value.into()), token.span)?
            }
            TokenKind::Bytes => {
                self.next()?;
                self.node(Kind::Bytes(token.bytes.into()), token.span)?
            }
            _ if token.is_bracket("[") => self.array(&token)?,
            _ if token.is_bracket("{") => self.map(&token)?,
            _ => return self.unexpected(),
        };
        self.postfix(node)
    }

    fn call(&mut self, name: &Token, arguments: Vec<NodeId>, check_overrides: bool) -> Parsed {
        let overridden = check_overrides && (self.overridden)(&name.value);
        if !overridden && let Some((_, shape)) = PREDICATES.iter().find(|(known, _)| *known == name.value) {
            return self.predicate_call(name, arguments, shape);
        }
        if !overridden && super::builtins::is_builtin(&name.value) {
            let args = self.arguments(arguments)?;
            return self.node(Kind::Builtin { name: name.value.as_str().into(), args }, name.span);
        }
        let callee = self.node(Kind::Ident(name.value.as_str().into()), name.span)?;
        let args = self.arguments(arguments)?;
        self.node(Kind::Call { callee, args }, name.span)
    }

    fn predicate_call(&mut self, name: &Token, mut arguments: Vec<NodeId>, shape: &str) -> Parsed {
        self.expect_bracket("(")?;
        let mut optional = false;
        let wanted = shape.chars().filter(|c| *c != '?').count() - arguments.len();
        let mut skip = arguments.len();
        let mut first = true;
        for part in shape.chars() {
            if part == '?' {
                optional = true;
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if self.current().is_bracket(")") {
                if optional {
                    break;
                }
                return self.error(format!("expected at least {wanted} arguments"));
            }
            if !first {
                self.expect_operator(",")?;
            }
            first = false;
            let argument = if part == 'p' { self.predicate()? } else { self.expression(0)? };
            arguments.push(argument);
        }
        if self.current().is_operator(",") {
            self.next()?;
        }
        self.expect_bracket(")")?;
        self.node(Kind::Builtin { name: name.value.as_str().into(), args: arguments }, name.span)
    }

    fn arguments(&mut self, mut arguments: Vec<NodeId>) -> Parsed<Vec<NodeId>> {
        let piped = arguments.len();
        self.expect_bracket("(")?;
        while !self.current().is_bracket(")") {
            if arguments.len() > piped {
                self.expect_operator(",")?;
            }
            if self.current().is_bracket(")") {
                break;
            }
            arguments.push(self.expression(0)?);
        }
        self.expect_bracket(")")?;
        Ok(arguments)
    }

    fn predicate(&mut self) -> Parsed {
        let start = self.current().span;
        let brackets = self.current().is_bracket("{");
        if brackets {
            self.next()?;
        }
        self.closures += 1;
        let node = if brackets { self.sequence()? } else { self.expression(0)? };
        if !brackets && self.current().is_operator(";") {
            return self.error("wrap predicate with brackets { and }");
        }
        self.closures -= 1;
        if brackets {
            self.expect_bracket("}")?;
        }
        self.node(Kind::Predicate(node), start)
    }
}

fn binary(text: &str) -> Option<(BinaryOp, &'static str, u16)> {
    BinaryOp::ALL.iter().find(|(_, known, _)| *known == text).copied()
}
