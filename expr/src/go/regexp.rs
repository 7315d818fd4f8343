//! Go's regexp on Rust's regex: the two speak nearly the same language (RE2); the differences are smoothed here.

use regex::Captures;

/// The pattern, rewritten where Go means something else than Rust's regex.
///
/// `\Q..\E` is known to Go; in Rust an unescaped `[` inside a class opens a nested class, `&&`, `--` and `~~` are set
/// operators, and a brace that is no repetition is a mistake; `\d`, `\w`, `\s`, `\b` are ASCII-only in Go.
pub fn translate_pattern(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let first = std::mem::take(&mut class_start);
        match c {
            '\\' => match chars.next() {
                Some('Q') => quote_until_end(&mut chars, &mut out),
                Some('d') => out.push_str(if class { "0-9" } else { "[0-9]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str(if class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(if class { "\\t\\n\\f\\r " } else { "[\\t\\n\\f\\r ]" }),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if !class => out.push_str("(?-u:\\b)"),
                // Word boundaries at brackets are Rust's own.
                Some(bracket @ ('<' | '>')) => out.push(bracket),
                Some(class @ ('p' | 'P')) if chars.peek() == Some(&'{') => unicode_class(class, &mut chars, &mut out),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
            }
            '[' if chars.peek() == Some(&':') => out.push('['),
            '[' => out.push_str("\\["),
            ']' if class && first => out.push_str("\\]"),
            ']' if class => {
                // The end of a named class ([:alpha:]) is not the end of the class around it.
                class = out.ends_with(':') && named_class_open(&out);
                out.push(']');
            }
            '{' if !class && !is_repetition(chars.clone()) => out.push_str("\\{"),
            '-' if class && chars.next_if_eq(&'-').is_some() => out.push_str("-\\-"),
            '&' | '~' if class => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// `{2}`, `{2,}`, `{2,5}`: what follows an opening brace. Go takes any other brace for itself.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let inner: String = rest.take_while(|c| c.is_ascii_digit() || *c == ',' || *c == '}').collect();
    let Some((counts, _)) = inner.split_once('}') else { return false };
    let (low, high) = counts.split_once(',').unwrap_or((counts, ""));
    !low.is_empty() && !high.contains(',')
}

/// `\p{Greek}`, of which the brace is no repetition, and `\p{^Greek}`, which Rust writes `\P{Greek}`.
fn unicode_class(class: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    chars.next();
    let negated = chars.next_if_eq(&'^').is_some();
    let class = match (class, negated) {
        ('p', true) => 'P',
        ('P', true) => 'p',
        (class, _) => class,
    };
    out.extend(['\\', class, '{']);
}

fn named_class_open(out: &str) -> bool {
    let Some(start) = out.rfind("[:") else { return false };
    start + 2 < out.len() && out[start + 2..out.len() - 1].chars().all(|c| c.is_ascii_lowercase() || c == '^')
}

fn quote_until_end(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        literal.push(c);
    }
    out.push_str(&regex::escape(&literal));
}

/// What is wrong with a pattern, in the words of Go's regexp where there are the same mistakes.
pub(crate) fn describe_pattern_error(pattern: &str, error: &regex::Error) -> String {
    let text = match error {
        regex::Error::CompiledTooBig(_) => return format!("expression too large: `{pattern}`"),
        other => other.to_string(),
    };
    let from = |c: char| &pattern[pattern.rfind(c).unwrap_or(0)..];
    if text.contains("unclosed group") {
        format!("missing closing ): `{pattern}`")
    } else if text.contains("unopened group") {
        format!("unexpected ): `{pattern}`")
    } else if text.contains("unclosed character class") {
        format!("missing closing ]: `{}`", from('['))
    } else if text.contains("repetition operator missing expression") {
        let operator = pattern.chars().find(|c| "*+?".contains(*c)).unwrap_or('*');
        format!("missing argument to repetition operator: `{operator}`")
    } else if text.contains("escape sequence") {
        format!("invalid escape sequence: `{}`", from('\\').chars().take(2).collect::<String>())
    } else {
        format!("cannot compile `{pattern}`")
    }
}

/// `Regexp.Expand`: `$1`, `${1}`, `$name` and `$$` in a replacement.
pub fn expand_template(template: &str, captures: &Captures<'_>, out: &mut String) {
    // Go and Rust's regex share the syntax, the longest-name rule and the empty text for unknown groups.
    captures.expand(template, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_meaning() {
        let matches =
            |pattern: &str, text: &str| regex::Regex::new(&translate_pattern(pattern)).unwrap().is_match(text);
        assert!(matches(r"^\d+$", "123"));
        assert!(!matches(r"^\d+$", "١٢"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(matches(r"^[[a]+$", "[a"));
        assert!(matches(r"^[[:alpha:]0]+$", "ab0"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^[a&&b]+$", "&&"));
        assert!(matches(r"^[\w.-]+$", "a-b.c_"));
        assert!(matches(r#"^{"a{,2}":.*}$"#, r#"{"a{,2}":1}"#));
        assert!(matches(r"^a{2,3}b{2}$", "aaabb"));
        assert!(matches(r"^\<a\>\/\-\_$", "<a>/-_"));
        assert!(matches(r"a\Bb\b", "ab"));
        assert!(matches(r"^[+--]+$", "+,-"));
        assert!(matches(r"^\pL\p{Lu}\p{Greek}\P{Nd}\p{^Latin}\p{Any}$", "aÄλx☃☃"));
        assert!(matches(r"(?i)^straSSe σ$", "STRASSE ς"));
    }
}
