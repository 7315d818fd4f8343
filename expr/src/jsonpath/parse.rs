//! The text of a path, split into steps.

use super::script::Script;
use super::{Bound, JsonPathError, Step, error};

pub(super) fn steps(path: &str) -> Result<Vec<Step>, JsonPathError> {
    steps_at(path, 0)
}

/// Scripts hold paths that hold scripts: no deeper than this.
const MAX_DEPTH: usize = 16;
/// Bytes of a path, and its steps.
const MAX_LENGTH: usize = 4096;
const MAX_STEPS: usize = 100;

pub(super) fn steps_at(path: &str, depth: usize) -> Result<Vec<Step>, JsonPathError> {
    if depth > MAX_DEPTH || path.len() > MAX_LENGTH {
        return error("the path is too long or nested too deeply");
    }
    let tokens = tokenize(path)?;
    if tokens.len() > MAX_STEPS {
        return error("the path has too many steps");
    }
    tokens.iter().map(|token| step(token, depth)).collect()
}

fn unexpected<T>(c: char, at: usize) -> Result<T, JsonPathError> {
    error(format!("unexpected token '{c}' at index {at}"))
}

/// Splits a path at its dots and brackets.
fn tokenize(path: &str) -> Result<Vec<String>, JsonPathError> {
    let mut chars = path.chars();
    let first = match chars.next() {
        Some(c @ ('$' | '@')) => c,
        Some(c) => return unexpected(c, 0),
        None => return error("unexpected token '' at index 0"),
    };
    if let Some(c) = chars.clone().next().filter(|c| !matches!(c, '.' | '[')) {
        return unexpected(c, 1);
    }
    let mut tokens = vec![first.to_string()];
    let mut token = String::new();
    let (mut quotes, mut round, mut square) = (0_u32, 0_i32, 0_i32);
    for c in chars {
        if token.is_empty() {
            (quotes, round) = (0, 0);
        }
        match c {
            '\'' => quotes += 1,
            '(' => round += 1,
            ')' => round -= 1,
            '[' => square += 1,
            ']' => square -= 1,
            _ => {}
        }
        token.push(c);
        let inside = quotes % 2 == 1 || round != 0;
        if token == "." {
            continue;
        }
        if token == ".." {
            tokens.push(std::mem::take(&mut token));
        } else if c == '[' {
            let opened_before = token.matches('[').count() > 1;
            if token != "[" && token != ".[" && !opened_before {
                token.pop();
                tokens.push(undotted(&token));
                token = "[".to_owned();
            }
        } else if token.contains('[') {
            if !inside && c == ']' && square == 0 {
                tokens.push(undotted(&std::mem::take(&mut token)));
            }
        } else if c == '.' && !inside {
            token.pop();
            tokens.push(undotted(&token));
            token = ".".to_owned();
        }
    }
    if !token.is_empty() {
        tokens.push(undotted(&token));
    }
    Ok(tokens)
}

fn undotted(token: &str) -> String {
    token.strip_prefix('.').unwrap_or(token).to_owned()
}

fn malformed<T>(token: &str) -> Result<T, JsonPathError> {
    error(format!("invalid token. '{token}' does not match any token format"))
}

fn step(token: &str, depth: usize) -> Result<Step, JsonPathError> {
    let token = token.trim();
    match token {
        "" => return error("invalid token. token string is empty"),
        "$" => return Ok(Step::Root),
        "@" => return Ok(Step::Current),
        "*" => return Ok(Step::Wildcard),
        ".." => return Ok(Step::Recursive),
        "length" => return Ok(Step::Length),
        _ if !token.starts_with('[') => return Ok(Step::Key(token.to_owned())),
        _ => {}
    }
    let Some(subscript) = token.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim) else {
        return malformed(token);
    };
    if subscript == "*" {
        return Ok(Step::Wildcard);
    }
    if subscript.starts_with('?') {
        let inner = subscript.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')'));
        return match inner {
            Some(inner) => Ok(Step::Filter(Script::compile(inner.trim(), depth + 1)?)),
            None => malformed(token),
        };
    }
    subscripted(token, subscript, depth)
}

#[derive(Debug, PartialEq)]
enum Part {
    Arg(String),
    Colon,
    Comma,
}

/// Splits a subscript at the colons and commas outside of quotes and brackets.
fn parts(subscript: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut arg = String::new();
    let mut quote = None;
    let mut round = 0_i32;
    let mut escaped = false;
    for c in subscript.chars() {
        let plain = quote.is_none() && round == 0;
        match c {
            ':' | ',' if plain => {
                let done = std::mem::take(&mut arg);
                if !done.trim().is_empty() {
                    parts.push(Part::Arg(done.trim().to_owned()));
                }
                parts.push(if c == ':' { Part::Colon } else { Part::Comma });
                continue;
            }
            '\'' | '"' if round == 0 && escaped => {
                // The backslash before a quote goes.
                arg.pop();
            }
            '\'' | '"' if round == 0 => match quote {
                None => quote = Some(c),
                Some(open) if open == c => quote = None,
                Some(_) => {}
            },
            '(' if quote.is_none() => round += 1,
            ')' if quote.is_none() => round -= 1,
            _ => {}
        }
        escaped = c == '\\';
        arg.push(c);
    }
    if !arg.trim().is_empty() {
        parts.push(Part::Arg(arg.trim().to_owned()));
    }
    parts
}

fn bound(token: &str, arg: &str, depth: usize) -> Result<Bound, JsonPathError> {
    if let Ok(number) = arg.parse() {
        return Ok(Bound::Int(number));
    }
    for quote in ['\'', '"'] {
        if arg.len() > 1 && arg.starts_with(quote) && arg.ends_with(quote) {
            return Ok(Bound::Key(arg[1..arg.len() - 1].to_owned()));
        }
    }
    match arg.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).filter(|inner| !inner.is_empty()) {
        Some(inner) => Ok(Bound::Script(Script::compile(inner, depth + 1)?)),
        None => malformed(token),
    }
}

fn subscripted(token: &str, subscript: &str, depth: usize) -> Result<Step, JsonPathError> {
    let parts = parts(subscript);
    let colons = parts.iter().filter(|part| **part == Part::Colon).count();
    let commas = parts.iter().filter(|part| **part == Part::Comma).count();
    if colons > 2 || (colons > 0 && commas > 0) {
        return malformed(token);
    }
    if colons > 0 {
        let mut bounds = [None, None, None];
        let mut at = 0;
        for part in &parts {
            match part {
                Part::Arg(arg) => match bound(token, arg, depth)? {
                    Bound::Key(_) => return malformed(token),
                    bound => bounds[at] = Some(bound),
                },
                _ => at += 1,
            }
        }
        return Ok(Step::Range(bounds));
    }
    let mut bounds = Vec::new();
    for part in &parts {
        if let Part::Arg(arg) = part {
            bounds.push(bound(token, arg, depth)?);
        }
    }
    match (bounds.len(), commas) {
        (count, 1..) if commas < count => Ok(Step::Union(bounds)),
        (1, 0) => Ok(match bounds.remove(0) {
            Bound::Int(index) => Step::Index(index),
            Bound::Key(key) => Step::Key(key),
            Bound::Script(script) => Step::Script(script),
        }),
        _ => malformed(token),
    }
}
