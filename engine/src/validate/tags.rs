//! `{{tags}}` in the JSON text of a template: finding them, and filling in those whose value is known.
//!
//! Argo works on the text of a whole template, so do we: a tag that is never closed then swallows what follows, with the
//! same message. Expression tags (`{{=…}}`) stay as they are: Argo accepts whatever it cannot evaluate here.

/// A piece of a text.
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What is between `{{` and the next `}}`.
    Tag(&'a str),
}

/// Splits a text. An opening without a closing is text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(tag) = pending.take() {
            return Some(Piece::Tag(tag));
        }
        if rest.is_empty() {
            return None;
        }
        let opened = rest.find("{{").and_then(|from| Some((from, from + 2 + rest[from + 2..].find("}}")?)));
        let Some((from, until)) = opened else { return Some(Piece::Text(std::mem::take(&mut rest))) };
        let (before, tag) = (&rest[..from], &rest[from + 2..until]);
        rest = &rest[until + 2..];
        if before.is_empty() {
            return Some(Piece::Tag(tag));
        }
        pending = Some(tag);
        Some(Piece::Text(before))
    })
}

/// The tags of a text that are not expressions.
pub(super) fn simple_tags(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Tag(tag) if !tag.starts_with('=') => Some(tag),
        _ => None,
    })
}

/// Fills in the tags of a JSON text that `value` knows; the others stay.
pub(super) fn fill<'v>(json: &str, value: &dyn Fn(&str) -> Option<&'v str>) -> String {
    let mut filled = String::with_capacity(json.len());
    for piece in pieces(json) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Tag(tag) => fill_tag(tag, value, &mut filled),
        }
    }
    filled
}

fn fill_tag<'v>(tag: &str, value: &dyn Fn(&str) -> Option<&'v str>, filled: &mut String) {
    let known = if tag.starts_with('=') { None } else { value(tag.trim()) };
    if let Some(known) = known {
        return push_escaped(known, filled);
    }
    // In `{{a {{b}}` the inner tag is filled in, for another round to find the outer one.
    if !tag.starts_with('=')
        && let Some((outer, inner)) = tag.rsplit_once("{{")
        && !outer.is_empty()
        && let Some(known) = value(inner)
    {
        filled.push_str("{{");
        filled.push_str(outer);
        return push_escaped(known, filled);
    }
    filled.push_str("{{");
    filled.push_str(tag);
    filled.push_str("}}");
}

fn push_escaped(text: &str, filled: &mut String) {
    let quoted = serde_json::Value::from(text).to_string();
    filled.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_as_they_are_written() {
        let found = |text: &'static str| simple_tags(text).collect::<Vec<_>>();
        assert_eq!(found("a {{b}} {{ c }}{{=d}} {{e"), ["b", " c "]);
        assert_eq!(found("{{a {{b}} }}"), ["a {{b"]);
        assert_eq!(found("{{}}"), [""]);
    }

    #[test]
    fn known_tags_are_filled_in() {
        let value = |tag: &str| (tag == "a").then_some("\"1\"\n");
        assert_eq!(fill("x {{ a }} {{b}} {{=a}} {{c {{a}}", &value), "x \\\"1\\\"\\n {{b}} {{=a}} {{c \\\"1\\\"\\n");
    }
}
