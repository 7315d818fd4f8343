//! `{{tags}}` in the JSON text of a template.
//!
//! Argo looks for them in the text of a whole template, so do we: a tag that is never closed swallows what follows.

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
}
