//! Tokens of an expression.

use super::ast::Span;
use super::escape::{unescape, unescape_bytes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Identifier,
    Number,
    String,
    Bytes,
    Operator,
    Bracket,
    Eof,
}

impl TokenKind {
    fn name(self) -> &'static str {
        match self {
            Self::Identifier => "Identifier",
            Self::Number => "Number",
            Self::String => "String",
            Self::Bytes => "Bytes",
            Self::Operator => "Operator",
            Self::Bracket => "Bracket",
            Self::Eof => "EOF",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub value: String,
    /// Only of byte literals.
    pub bytes: Vec<u8>,
    pub span: Span,
}

impl Token {
    pub fn is(&self, kind: TokenKind, value: &str) -> bool {
        self.kind == kind && self.value == value
    }

    pub fn is_operator(&self, value: &str) -> bool {
        self.is(TokenKind::Operator, value)
    }

    pub fn is_bracket(&self, value: &str) -> bool {
        self.is(TokenKind::Bracket, value)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            TokenKind::Eof => f.write_str("EOF"),
            kind => write!(f, "{}({})", kind.name(), crate::go::quote(&self.value)),
        }
    }
}

pub(super) type LexError = (String, Span);

/// All tokens up to the end or to the first mistake; the parser reports the mistake when it gets there.
pub(super) fn lex(source: &str) -> (Vec<Token>, Option<LexError>) {
    let mut lexer = Lexer { chars: source.chars().collect(), start: 0, end: 0, eof: false, tokens: Vec::new() };
    match lexer.run() {
        Ok(()) => (lexer.tokens, None),
        Err(error) => (lexer.tokens, Some(error)),
    }
}

pub(super) fn is_alphabetic(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphabetic()
}

pub(super) fn is_alphanumeric(c: char) -> bool {
    is_alphabetic(c) || c.is_numeric()
}

struct Lexer {
    chars: Vec<char>,
    start: usize,
    end: usize,
    eof: bool,
    tokens: Vec<Token>,
}

impl Lexer {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.end).copied();
        match c {
            Some(_) => self.end += 1,
            None => self.eof = true,
        }
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.end).copied()
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        self.end += usize::from(found);
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn word(&self) -> String {
        self.chars[self.start..self.end].iter().collect()
    }

    fn emit(&mut self, kind: TokenKind) {
        self.emit_value(kind, self.word());
    }

    fn emit_value(&mut self, kind: TokenKind, value: String) {
        let span = Span { from: self.start as u32, to: self.end as u32 };
        self.tokens.push(Token { kind, value, bytes: Vec::new(), span });
        self.start = self.end;
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        let end = (self.end + usize::from(self.eof)) as u32;
        Err((message.into(), Span { from: end.saturating_sub(1), to: end }))
    }

    fn run(&mut self) -> Result<(), LexError> {
        while let Some(c) = self.next() {
            match c {
                c if c.is_whitespace() => self.start = self.end,
                '\'' | '"' => {
                    self.scan_string(c)?;
                    match unescape(&self.chars[self.start..self.end]) {
                        Ok(text) => self.emit_value(TokenKind::String, text),
                        Err(message) => return self.error(message),
                    }
                }
                '`' => self.raw_string()?,
                'b' | 'B' if matches!(self.peek(), Some('\'' | '"')) => self.byte_string()?,
                '0'..='9' => {
                    self.end -= 1;
                    self.number()?;
                }
                '?' => self.operator(".?"),
                '/' => self.slash()?,
                '#' => self.pointer(),
                '|' => self.operator("|"),
                ':' => self.operator(":"),
                '(' | '[' | '{' | ')' | ']' | '}' => self.emit(TokenKind::Bracket),
                ',' | ';' | '%' | '+' | '-' | '^' => self.emit(TokenKind::Operator),
                '&' | '!' | '=' | '*' | '<' | '>' => self.operator("&=*"),
                '.' if matches!(self.peek(), Some('0'..='9')) => self.number()?,
                '.' => self.operator("."),
                c if is_alphanumeric(c) => self.identifier(),
                c => return self.error(format!("unrecognized character: U+{:04X} '{c}'", c as u32)),
            }
        }
        let end = self.end as u32;
        let span = Span { from: end.saturating_sub(1), to: end };
        self.tokens.push(Token { kind: TokenKind::Eof, value: String::new(), bytes: Vec::new(), span });
        Ok(())
    }

    fn operator(&mut self, second: &str) {
        self.accept(second);
        self.emit(TokenKind::Operator);
    }

    fn number(&mut self) -> Result<(), LexError> {
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        let end = self.end;
        if self.accept(".") {
            if self.peek() == Some('.') {
                // `1..2` is a range.
                self.end = end;
                self.emit(TokenKind::Number);
                return Ok(());
            }
            self.accept_run(digits);
        }
        if self.accept("eE") {
            self.accept("+-");
            self.accept_run(digits);
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.end += 1;
            return self.error(format!("bad number syntax: {}", crate::go::quote(&self.word())));
        }
        self.emit(TokenKind::Number);
        Ok(())
    }

    fn identifier(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.end += 1;
        }
        match self.word().as_str() {
            "not" => self.not(),
            "in" | "or" | "and" | "matches" | "contains" | "startsWith" | "endsWith" | "let" | "if" | "else" => {
                self.emit(TokenKind::Operator);
            }
            _ => self.emit(TokenKind::Identifier),
        }
    }

    fn not(&mut self) {
        self.emit(TokenKind::Operator);
        self.accept_run(" ");
        self.start = self.end;
        let end = self.end;
        while self.peek().is_some_and(is_alphanumeric) {
            self.end += 1;
        }
        match self.word().as_str() {
            "in" | "matches" | "contains" | "startsWith" | "endsWith" => self.emit(TokenKind::Operator),
            _ => self.end = end,
        }
    }

    fn slash(&mut self) -> Result<(), LexError> {
        if self.accept("/") {
            while !matches!(self.next(), None | Some('\n')) {}
            self.eof = false;
        } else if self.accept("*") {
            loop {
                match self.next() {
                    None => return self.error("unclosed comment"),
                    Some('*') if self.accept("/") => break,
                    Some(_) => {}
                }
            }
        } else {
            self.emit(TokenKind::Operator);
        }
        self.start = self.end;
        Ok(())
    }

    fn pointer(&mut self) {
        self.operator("#");
        while self.peek().is_some_and(is_alphanumeric) {
            self.end += 1;
        }
        if self.end > self.start {
            self.emit(TokenKind::Identifier);
        }
    }

    fn scan_string(&mut self, quote: char) -> Result<(), LexError> {
        let mut c = self.next();
        while c != Some(quote) {
            match c {
                None | Some('\n') => return self.error("literal not terminated"),
                Some('\\') => c = self.scan_escape(quote)?,
                Some(_) => c = self.next(),
            }
        }
        Ok(())
    }

    fn scan_escape(&mut self, quote: char) -> Result<Option<char>, LexError> {
        let c = self.next();
        match c {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => Ok(self.next()),
            Some(c) if c == quote => Ok(self.next()),
            Some('0'..='7') => self.scan_digits(c, 8, 3),
            Some('x') => {
                let first = self.next();
                self.scan_digits(first, 16, 2)
            }
            Some('u') if self.peek() == Some('{') => self.scan_braced(),
            Some('u') => {
                let first = self.next();
                self.scan_digits(first, 16, 4)
            }
            Some('U') => {
                let first = self.next();
                self.scan_digits(first, 16, 8)
            }
            _ => self.error("invalid char escape"),
        }
    }

    fn scan_digits(&mut self, first: Option<char>, base: u32, count: usize) -> Result<Option<char>, LexError> {
        let mut c = first;
        for _ in 0..count {
            if !c.is_some_and(|c| c.is_digit(base)) {
                return self.error("invalid char escape");
            }
            c = self.next();
        }
        Ok(c)
    }

    fn scan_braced(&mut self) -> Result<Option<char>, LexError> {
        self.next();
        let mut digits = 0;
        while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) && digits < 7 {
            self.next();
            digits += 1;
        }
        if self.peek() != Some('}') || digits == 0 || digits > 6 {
            return self.error("invalid char escape");
        }
        self.next();
        Ok(self.next())
    }

    fn raw_string(&mut self) -> Result<(), LexError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return self.error("literal not terminated"),
                Some('`') if self.peek() == Some('`') => {
                    self.next();
                    text.push('`');
                }
                Some('`') => break,
                Some(c) => text.push(c),
            }
        }
        self.emit_value(TokenKind::String, text);
        Ok(())
    }

    fn byte_string(&mut self) -> Result<(), LexError> {
        if let Some(quote) = self.next() {
            self.scan_string(quote)?;
        }
        match unescape_bytes(&self.chars[self.start + 1..self.end]) {
            Ok(bytes) => {
                self.emit_value(TokenKind::Bytes, String::from_utf8_lossy(&bytes).into_owned());
                if let Some(token) = self.tokens.last_mut() {
                    token.bytes = bytes;
                }
                Ok(())
            }
            Err(message) => self.error(message),
        }
    }
}
