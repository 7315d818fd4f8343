//! The text of a template, split into nodes (client-go: util/jsonpath/parser.go).

use super::{Bound, Node};

/// Unions and filters hold paths that hold unions and filters: no deeper than this.
const MAX_DEPTH: usize = 16;
/// Loops in loops.
const MAX_RANGES: usize = 64;

pub(super) fn template(text: &str, depth: usize) -> Result<Vec<Node>, String> {
    if depth > MAX_DEPTH {
        return Err(format!("the template nests deeper than {MAX_DEPTH}"));
    }
    if text.matches("{range").count() > MAX_RANGES {
        return Err(format!("the template has more than {MAX_RANGES} ranges"));
    }
    let mut parser = Parser { rest: text, depth };
    let mut nodes = Vec::new();
    loop {
        match parser.rest.find('{') {
            None => {
                if !parser.rest.is_empty() {
                    nodes.push(Node::Text(parser.rest.to_owned()));
                }
                return Ok(nodes);
            }
            Some(at) => {
                if at > 0 {
                    nodes.push(Node::Text(parser.rest[..at].to_owned()));
                }
                parser.rest = &parser.rest[at + 1..];
                nodes.push(Node::List(parser.action()?));
            }
        }
    }
}

/// The steps of a text that is put in braces first.
fn action(text: &str, depth: usize) -> Result<Vec<Node>, String> {
    match template(&format!("{{{text}}}"), depth)?.into_iter().next() {
        Some(Node::List(nodes)) => Ok(nodes),
        _ => Ok(Vec::new()),
    }
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the first `length` bytes.
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// What stands between braces, the closing one included.
    fn action(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            if self.rest.starts_with("[?(") {
                nodes.push(self.filter()?);
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix("..") {
                if matches!(nodes.last(), Some(Node::Recursive)) {
                    return Err("invalid multiple recursive descent".to_owned());
                }
                self.rest = rest;
                nodes.push(Node::Recursive);
                if self.peek().is_some_and(is_alphanumeric) {
                    nodes.push(self.field());
                }
                continue;
            }
            match self.peek() {
                Some('}') => {
                    self.next();
                    return Ok(nodes);
                }
                None | Some('\r' | '\n') => return Err("unclosed action".to_owned()),
                Some(' ' | '@' | '$') => {
                    self.next();
                }
                Some('[') => self.array(&mut nodes)?,
                Some(quote @ ('"' | '\'')) => nodes.push(Node::Text(self.quoted(quote)?)),
                Some('.') => {
                    self.next();
                    nodes.push(self.field());
                }
                Some(c) if c == '+' || c == '-' || c.is_ascii_digit() => nodes.push(self.number()?),
                Some(c) if is_alphanumeric(c) => nodes.push(self.identifier()),
                Some(c) => {
                    return Err(format!("unrecognized character in action: U+{:04X} '{c}'", c as u32));
                }
            }
        }
    }

    fn identifier(&mut self) -> Node {
        let length = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        match self.take(length) {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            name => Node::Identifier(name.to_owned()),
        }
    }

    fn number(&mut self) -> Result<Node, String> {
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let digits = self.rest[sign..].find(|c: char| c != '.' && !c.is_ascii_digit());
        let text = self.take(digits.map_or(self.rest.len(), |digits| digits + sign));
        if let Ok(value) = text.parse() {
            return Ok(Node::Int(value));
        }
        match tiphys_expr::go::parse_float(text) {
            Some(value) => Ok(Node::Float(value)),
            None => Err(format!("cannot parse number {text}")),
        }
    }

    /// A name up to the next terminator without a backslash before it.
    fn field(&mut self) -> Node {
        let text = self.rest;
        while let Some(c) = self.peek() {
            if is_terminator(c) {
                break;
            }
            self.next();
            if c == '\\' {
                self.next();
            }
        }
        match &text[..text.len() - self.rest.len()] {
            "*" => Node::Wildcard,
            name => Node::Field(name.replace('\\', "")),
        }
    }

    fn array(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        let end = self.rest.find([']', '\n']).filter(|end| self.rest[*end..].starts_with(']'));
        let end = end.ok_or("unterminated array")?;
        let text = &self.take(end + 1)[1..end];
        if text.contains(',') {
            let parts = text.split(',').map(|part| action(&format!("[{}]", part.trim_matches(' ')), self.depth + 1));
            nodes.push(Node::Union(parts.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let key = text.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
        if let Some(key) = key.filter(|key| !key.contains('\'')) {
            nodes.extend(action(&format!(".{key}"), self.depth + 1)?);
            return Ok(());
        }
        nodes.push(Node::Slice(slice(text)?));
        Ok(())
    }

    fn filter(&mut self) -> Result<Node, String> {
        self.take("[?(".len());
        let text = self.take(filter_end(self.rest).ok_or("unterminated filter")?);
        self.next();
        if self.next() != Some(']') {
            return Err("unclosed array expect ]".to_owned());
        }
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let sides = text.find(is_operator).filter(|at| *at > 0).and_then(|at| {
            let (left, rest) = text.split_at(at);
            let (operator, right) = rest.split_at(rest.find(|c| !is_operator(c)).unwrap_or(rest.len() - 1));
            (!operator.is_empty() && !right.is_empty()).then_some((left, operator, right))
        });
        let depth = self.depth + 1;
        Ok(match sides {
            None => Node::Filter { left: action(text, depth)?, compared: None },
            Some((left, operator, right)) => Node::Filter {
                left: action(left, depth)?,
                compared: Some((operator.to_owned(), action(right, depth)?)),
            },
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let text = self.rest;
        self.next();
        let mut before = quote;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                Some(c) if c == quote && before != '\\' => break,
                Some(c) => before = c,
            }
        }
        let literal = &text[..text.len() - self.rest.len()];
        let inner = &literal[1..literal.len() - 1];
        unescape(inner, quote).ok_or_else(|| format!("unquote string {literal} error invalid syntax"))
    }
}

/// Where the parenthesis is that closes a filter: the first one outside of quotes. Only the first pair of quotes counts.
fn filter_end(text: &str) -> Option<usize> {
    let (mut quote, mut closed, mut before) = (None, false, '(');
    for (at, c) in text.char_indices() {
        match c {
            '\n' => return None,
            '"' | '\'' => match quote {
                None => quote = Some(c),
                Some(open) => closed |= c == open && before != '\\',
            },
            ')' if quote.is_some() == closed => return Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

/// `a`, `a:b`, `a:b:c`, each number possibly missing.
fn slice(text: &str) -> Result<[Bound; 3], String> {
    let text = if text == "*" { ":" } else { text };
    let parts: Vec<&str> = text.split(':').collect();
    let is_number = |part: &&str| part.strip_prefix('-').unwrap_or(part).bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() > 3 || !parts.iter().all(is_number) {
        return Err(format!("invalid array index {text}"));
    }
    let mut bounds = [Bound::default(); 3];
    for (bound, part) in bounds.iter_mut().zip(&parts).filter(|(_, part)| !part.is_empty()) {
        bound.value = part.parse().map_err(|_| format!("array index {part} is not a number"))?;
        bound.known = true;
    }
    if parts.len() == 1 {
        bounds[1] = Bound { value: bounds[0].value.saturating_add(1), known: true, derived: true };
    }
    Ok(bounds)
}

/// Go's escapes; None where Go finds a mistake.
fn unescape(text: &str, quote: char) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            if c == quote {
                return None;
            }
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next()?;
        let mut digits = |count: usize, radix: u32, first: u32| {
            (0..count).try_fold(first, |value, _| Some(value * radix + chars.next()?.to_digit(radix)?))
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            'x' => out.push(u8::try_from(digits(2, 16, 0)?).ok()?),
            'u' | 'U' => {
                let code = char::from_u32(digits(if escape == 'u' { 4 } else { 8 }, 16, 0)?)?;
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '0'..='7' => out.push(u8::try_from(digits(2, 8, escape.to_digit(8)?)?).ok()?),
            other if other == quote => out.push(quote as u8),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
