//! Go's strings package, where Rust's str differs.

const LIMIT: usize = 16 << 20;

/// `strings.TrimSpace`.
pub(crate) fn trim_space(text: &str) -> &str {
    text.trim_matches(char::is_whitespace)
}

/// `strings.ToUpper`: character by character (`ß` stays).
pub(crate) fn to_upper(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_uppercase())).collect()
}

/// `strings.ToLower`: character by character.
pub(crate) fn to_lower(text: &str) -> String {
    // The dotted capital I has a single small letter in Go, two characters in Rust.
    text.chars().map(|c| if c == 'İ' { 'i' } else { single(c, c.to_lowercase()) }).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(mapped), None) => mapped,
        _ => c,
    }
}

/// `strings.SplitN` and `SplitAfterN`; None (a nil slice) for a limit of 0.
pub(crate) fn split_n(text: &str, separator: &str, limit: i64, keep: bool) -> Option<Vec<String>> {
    if limit == 0 {
        return None;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if separator.is_empty() {
        let mut chars = text.char_indices();
        let mut parts: Vec<String> = Vec::new();
        while parts.len() + 1 < limit {
            let Some((_, c)) = chars.next() else { return Some(parts) };
            parts.push(c.to_string());
        }
        if !chars.as_str().is_empty() {
            parts.push(chars.as_str().to_owned());
        }
        return Some(parts);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < limit {
        let Some(at) = rest.find(separator) else { break };
        let end = if keep { at + separator.len() } else { at };
        parts.push(rest[..end].to_owned());
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest.to_owned());
    Some(parts)
}

/// `strings.Replace`; a negative count replaces all. Refuses results beyond 16 MiB.
pub(crate) fn replace(text: &str, old: &str, new: &str, count: i64) -> Result<String, String> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    if text.len().saturating_add(found.min(count).saturating_mul(new.len())) > LIMIT {
        return Err(crate::lang::ops::BUDGET.to_owned());
    }
    Ok(text.replacen(old, new, count))
}

/// `strings.Title`: the first letter of each word in title case.
pub(crate) fn title(text: &str) -> String {
    let mut previous = ' ';
    text.chars()
        .map(|c| {
            let starts = is_separator(previous);
            previous = c;
            if starts { single(c, c.to_uppercase()) } else { c }
        })
        .collect()
}

fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !c.is_alphanumeric() && c.is_whitespace()
}

/// A text of `count` repetitions; refuses what is beyond 16 MiB, or a negative count.
pub(crate) fn repeat(text: &str, count: i64) -> Result<String, String> {
    let Ok(count) = usize::try_from(count) else { return Err("strings: negative Repeat count".to_owned()) };
    if text.len().saturating_mul(count) > LIMIT {
        return Err(crate::lang::ops::BUDGET.to_owned());
    }
    Ok(text.repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting() {
        assert_eq!(split_n("a,b,c", ",", 2, false).unwrap(), ["a", "b,c"]);
        assert_eq!(split_n("a,b,c", ",", -1, true).unwrap(), ["a,", "b,", "c"]);
        assert_eq!(split_n("añc", "", -1, false).unwrap(), ["a", "ñ", "c"]);
        assert_eq!(split_n("abc", "", 2, false).unwrap(), ["a", "bc"]);
        assert_eq!(split_n("", "", -1, false).unwrap(), Vec::<String>::new());
        assert_eq!(split_n("abc", ",", 0, false), None);
    }

    #[test]
    fn cases() {
        assert_eq!(to_upper("straße"), "STRAßE");
        assert_eq!(title("hello wOrld foo_bar a-b"), "Hello WOrld Foo_bar A-B");
    }
}
