//! Tokens of a `when`, and which may follow which.

use super::kind::TokenKind;
use crate::go::{Time, Zone, parse_time};

#[derive(Debug, Clone)]
pub(super) enum TokenValue {
    Number(f64),
    Bool(bool),
    Text(String),
    Time(Time),
    /// The compiled pattern and its source.
    Pattern(Box<regex::Regex>, String),
    /// `(` and `)`, which Go prints as numbers.
    Paren(char),
    Path(Vec<String>),
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub value: TokenValue,
}

impl Token {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            TokenValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn show(&self) -> String {
        match &self.value {
            TokenValue::Number(number) => crate::go::format_float_g(*number),
            TokenValue::Bool(value) => value.to_string(),
            TokenValue::Text(text) => text.clone(),
            TokenValue::Time(time) => time.text(),
            TokenValue::Pattern(_, source) => source.clone(),
            TokenValue::Paren(c) => (*c as u32).to_string(),
            TokenValue::Path(parts) => format!("[{}]", parts.join(" ")),
        }
    }

    pub fn kind_name(&self) -> &'static str {
        self.kind.name()
    }
}

/// Conditions with more tokens or deeper brackets are refused.
const MAX_TOKENS: usize = 1_000;
const MAX_NESTING: i32 = 50;

/// Checks that brackets balance and that each token may follow the one before it.
pub(super) fn check_syntax(tokens: &[Token]) -> Result<(), String> {
    let (mut open, mut too_early) = (0_i32, false);
    for token in tokens {
        open += match token.kind {
            TokenKind::Clause => 1,
            TokenKind::ClauseClose => -1,
            _ => 0,
        };
        if open > MAX_NESTING {
            return Err(format!("brackets are nested deeper than {MAX_NESTING} levels"));
        }
        too_early |= open < 0;
    }
    if open != 0 {
        return Err("Unbalanced parenthesis".to_owned());
    }
    let mut state = TokenKind::Unknown;
    let mut last: Option<&Token> = None;
    for token in tokens {
        if !state.followers().0.contains(&token.kind) {
            if let Some(word) = last.filter(|l| l.kind == TokenKind::Variable && token.kind == TokenKind::Clause) {
                return Err(format!("Undefined function {}", word.show()));
            }
            let from = last.map_or_else(|| "<nil>".to_owned(), Token::show);
            return Err(format!(
                "Cannot transition token types from {} [{from}] to {} [{}]",
                state.name(),
                token.kind.name(),
                token.show()
            ));
        }
        state = token.kind;
        last = Some(token);
    }
    if too_early {
        return Err("Unbalanced parenthesis".to_owned());
    }
    if state.followers().1 { Ok(()) } else { Err("Unexpected end of expression".to_owned()) }
}

/// Splits a condition into tokens.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        let state = tokens.last().map_or(TokenKind::Unknown, |token| token.kind);
        match lexer.token(state)? {
            Some(token) => tokens.push(token),
            None => return Ok(tokens),
        }
        if tokens.len() > MAX_TOKENS {
            return Err(format!("it has more than {MAX_TOKENS} tokens"));
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

const MODIFIERS: [&str; 11] = ["+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"];
const COMPARATORS: [&str; 8] = ["==", "!=", ">", ">=", "<", "<=", "=~", "!~"];

/// Layouts of texts that are taken for dates.
const DATES: [&str; 14] = [
    "Mon Jan _2 15:04:05 2006",
    "Mon Jan _2 15:04:05 MST 2006",
    "Mon Jan 02 15:04:05 -0700 2006",
    "3:04PM",
    "2006-01-02T15:04:05Z07:00",
    "2006-01-02T15:04:05.999999999Z07:00",
    "2006-01-02",
    "2006-01-02 15:04",
    "2006-01-02 15:04:05",
    "2006-01-02 15:04:05-07:00",
    "2006-01-02T15Z0700",
    "2006-01-02T15:04Z0700",
    "2006-01-02T15:04:05Z0700",
    "2006-01-02T15:04:05.999999999Z0700",
];

fn is_quote(c: char) -> bool {
    c == '\'' || c == '"'
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}

fn is_symbol(c: char) -> bool {
    !(is_digit(c) || c.is_alphabetic() || "()[]".contains(c) || is_quote(c))
}

impl Lexer {
    fn token(&mut self, state: TokenKind) -> Result<Option<Token>, String> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        let Some(c) = self.chars.get(self.at).copied() else { return Ok(None) };
        let text = |kind, text: String| Ok(Some(Token { kind, value: TokenValue::Text(text) }));
        if is_digit(c) || c == '.' {
            return self.number().map(Some);
        }
        if c.is_alphabetic() {
            return self.word().map(Some);
        }
        if is_quote(c) {
            self.at += 1;
            let (content, closed) = self.read(true, |c| !is_quote(c));
            if !closed {
                return Err("Unclosed string literal".to_owned());
            }
            self.at += 1;
            if let Some(time) = DATES.iter().find_map(|layout| parse_time(layout, &content, &Zone::Utc)) {
                return Ok(Some(Token { kind: TokenKind::Time, value: TokenValue::Time(time) }));
            }
            return text(TokenKind::String, content);
        }
        match c {
            ',' => {
                self.at += 1;
                text(TokenKind::Separator, ",".to_owned())
            }
            '[' => {
                self.at += 1;
                let (content, closed) = self.read(true, |c| c != ']');
                if !closed {
                    return Err("Unclosed parameter bracket".to_owned());
                }
                self.at += 1;
                text(TokenKind::Variable, content)
            }
            '(' | ')' => {
                self.at += 1;
                let kind = if c == '(' { TokenKind::Clause } else { TokenKind::ClauseClose };
                Ok(Some(Token { kind, value: TokenValue::Paren(c) }))
            }
            _ => {
                let (symbol, _) = self.read(false, is_symbol);
                let kind = match symbol.as_str() {
                    "-" | "!" | "~" if state.followers().0.contains(&TokenKind::Prefix) => TokenKind::Prefix,
                    s if MODIFIERS.contains(&s) => TokenKind::Modifier,
                    "&&" | "||" => TokenKind::LogicalOp,
                    s if COMPARATORS.contains(&s) => TokenKind::Comparator,
                    "?" | ":" | "??" => TokenKind::Ternary,
                    _ => return Err(format!("Invalid token: '{symbol}'")),
                };
                text(kind, symbol)
            }
        }
    }

    /// Reads while `fits`; a backslash takes the next character as it is. White space ends a word, but belongs to a
    /// literal. True if the reading was ended by a character.
    fn read(&mut self, literal: bool, fits: impl Fn(char) -> bool) -> (String, bool) {
        let mut out = String::new();
        while let Some(c) = self.chars.get(self.at).copied() {
            self.at += 1;
            if c == '\\' {
                if let Some(escaped) = self.chars.get(self.at) {
                    out.push(*escaped);
                }
                self.at += 1;
                continue;
            }
            if c.is_whitespace() && !literal {
                if out.is_empty() {
                    continue;
                }
                return (out, true);
            }
            if !(fits(c) || c.is_whitespace() && literal && fits(c)) {
                self.at -= 1;
                return (out, true);
            }
            out.push(c);
        }
        (out, false)
    }

    fn number(&mut self) -> Result<Token, String> {
        let number = |value| Ok(Token { kind: TokenKind::Numeric, value: TokenValue::Number(value) });
        let hex = self.chars[self.at] == '0' && self.chars.get(self.at + 1) == Some(&'x');
        if hex && self.at + 2 < self.chars.len() {
            self.at += 2;
            let (digits, _) = self.read(false, |c| c.is_ascii_hexdigit() || is_digit(c));
            return match u64::from_str_radix(&digits, 16) {
                Ok(value) => number(value as f64),
                Err(_) => Err(format!("Unable to parse hex value '{digits}' to uint64\n")),
            };
        }
        let (digits, _) = self.read(false, |c| is_digit(c) || c == '.');
        match crate::go::parse_float(&digits) {
            Some(value) => number(value),
            None => Err(format!("Unable to parse numeric value '{digits}' to float64\n")),
        }
    }

    fn word(&mut self) -> Result<Token, String> {
        let (word, _) = self.read(false, |c| c.is_alphabetic() || is_digit(c) || c == '_' || c == '.');
        let text = |kind, word: String| Ok(Token { kind, value: TokenValue::Text(word) });
        match word.as_str() {
            "true" | "false" => {
                return Ok(Token { kind: TokenKind::Boolean, value: TokenValue::Bool(word == "true") });
            }
            "in" | "IN" => return text(TokenKind::Comparator, "in".to_owned()),
            _ => {}
        }
        if word.find('.').is_none_or(|at| at == 0) {
            return text(TokenKind::Variable, word);
        }
        if word.ends_with('.') {
            return Err(format!("Hanging accessor on token '{word}'"));
        }
        let parts: Vec<String> = word.split('.').map(str::to_owned).collect();
        for part in &parts[1..] {
            let first = part.chars().next();
            if first.is_some_and(|c| c.to_uppercase().next() != Some(c)) {
                return Err(format!("Unable to access unexported field '{part}' in token '{word}'"));
            }
        }
        Ok(Token { kind: TokenKind::Accessor, value: TokenValue::Path(parts) })
    }
}
