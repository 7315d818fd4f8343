//! Numbers, lists, maps, and what is attached to them: members, indexes, slices, calls of methods.

use super::{Parsed, Parser};
use crate::lang::ast::{Kind, NodeId, Span};
use crate::lang::lexer::{self, Token, TokenKind, is_alphanumeric};

impl Parser<'_> {
    pub(super) fn number(&mut self, token: &Token) -> Parsed {
        let text = token.value.replace('_', "").to_lowercase();
        let radix = |digits: &str, base: u32, what: &str| match i64::from_str_radix(digits, base) {
            Ok(number) => Ok(Kind::Int(number)),
            Err(_) => {
                Err(format!("invalid {what} literal: {}", parse_int_error(&token.value.replace('_', ""), digits)))
            }
        };
        let kind = if let Some(digits) = text.strip_prefix("0x") {
            radix(digits, 16, "hex")
        } else if text.contains(['.', 'e']) {
            crate::go::parse_float(&text).map(Kind::Float).ok_or_else(|| {
                let quoted = crate::go::quote(&token.value.replace('_', ""));
                let reason = if text.parse::<f64>().is_ok() { "value out of range" } else { "invalid syntax" };
                format!("invalid float literal: strconv.ParseFloat: parsing {quoted}: {reason}")
            })
        } else if let Some(digits) = text.strip_prefix("0b") {
            radix(digits, 2, "binary")
        } else if let Some(digits) = text.strip_prefix("0o") {
            radix(digits, 8, "octal")
        } else {
            radix(&text, 10, "integer")
        };
        match kind {
            Ok(kind) => self.node(kind, token.span),
            Err(message) => self.error(message),
        }
    }

    pub(super) fn array(&mut self, token: &Token) -> Parsed {
        self.expect_bracket("[")?;
        let mut nodes = Vec::new();
        while !self.current().is_bracket("]") {
            if !nodes.is_empty() {
                self.expect_operator(",")?;
                if self.current().is_bracket("]") {
                    break;
                }
            }
            nodes.push(self.expression(0)?);
        }
        self.expect_bracket("]")?;
        self.node(Kind::Array(nodes), token.span)
    }

    pub(super) fn map(&mut self, token: &Token) -> Parsed {
        self.expect_bracket("{")?;
        let mut pairs = Vec::new();
        while !self.current().is_bracket("}") {
            if !pairs.is_empty() {
                self.expect_operator(",")?;
                if self.current().is_bracket("}") {
                    break;
                }
                if self.current().is_operator(",") {
                    return self.unexpected();
                }
            }
            let key = match self.current().kind {
                TokenKind::Number | TokenKind::String | TokenKind::Identifier => {
                    let key = self.take()?;
                    self.node(Kind::Str(key.value.into()), key.span)?
                }
                _ if self.current().is_bracket("(") => self.expression(0)?,
                _ => {
                    return self.error(format!(
                        "a map key must be a quoted string, a number, a identifier, or an expression enclosed in \
                         parentheses (unexpected token {})",
                        self.current()
                    ));
                }
            };
            self.expect_operator(":")?;
            pairs.push((key, self.expression(0)?));
        }
        self.expect_bracket("}")?;
        self.node(Kind::Map(pairs), token.span)
    }

    pub(super) fn postfix(&mut self, node: NodeId) -> Parsed {
        let mut node = node;
        loop {
            let token = self.current().clone();
            if !matches!(token.kind, TokenKind::Operator | TokenKind::Bracket) {
                return Ok(node);
            }
            match token.value.as_str() {
                "." | "?." => {
                    let optional = token.value == "?.";
                    self.next()?;
                    node = if optional && self.current().is_bracket("[") {
                        let bracket = self.current().span;
                        self.index(node, true, bracket)?
                    } else {
                        self.member(node, optional)?
                    };
                }
                "[" => node = self.index(node, false, token.span)?,
                _ => return Ok(node),
            }
        }
    }

    fn member(&mut self, node: NodeId, optional: bool) -> Parsed {
        let name = self.take()?;
        let is_word = name.kind == TokenKind::Operator && is_word(&name.value);
        if name.kind != TokenKind::Identifier && !is_word {
            return self.error("expected name");
        }
        let property = self.node(Kind::Str(name.value.as_str().into()), name.span)?;
        let (inner, chained) = match self.nodes[node.index()].kind {
            Kind::Chain(inner) => (inner, true),
            _ => (node, false),
        };
        let method = self.current().is_bracket("(");
        let mut result = self.node(Kind::Member { node: inner, property, optional, method }, name.span)?;
        if method {
            let args = self.arguments(Vec::new())?;
            result = self.node(Kind::Call { callee: result, args }, name.span)?;
        }
        if chained || optional {
            result = self.node(Kind::Chain(result), name.span)?;
        }
        Ok(result)
    }

    fn index(&mut self, node: NodeId, optional: bool, span: Span) -> Parsed {
        self.next()?;
        let from = if self.current().is_operator(":") { None } else { Some(self.expression(0)?) };
        if self.current().is_operator(":") {
            self.next()?;
            let to = if self.current().is_bracket("]") { None } else { Some(self.expression(0)?) };
            let slice = self.node(Kind::Slice { node, from, to }, span)?;
            self.expect_bracket("]")?;
            return Ok(slice);
        }
        let Some(property) = from else { return self.unexpected() };
        let mut result = self.node(Kind::Member { node, property, optional, method: false }, span)?;
        if optional {
            result = self.node(Kind::Chain(result), span)?;
        }
        self.expect_bracket("]")?;
        Ok(result)
    }
}

fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(lexer::is_alphabetic) && chars.all(is_alphanumeric)
}

fn parse_int_error(literal: &str, digits: &str) -> String {
    let reason = if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        "invalid syntax"
    } else {
        "value out of range"
    };
    format!("strconv.ParseInt: parsing {}: {reason}", crate::go::quote(literal))
}
