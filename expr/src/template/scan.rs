//! Finding tags (`argo: fasttemplate, parseTag`).

use super::TemplateError;
use crate::ambient::has_expressions;
use std::ops::Range;

/// What a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// `{{name}}`
    Simple,
    /// `{{=expression}}`
    Expression,
}

/// A tag of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it is.
    pub kind: TagKind,
    /// What stands between the braces.
    pub text: String,
    /// The name without white space; of an expression its text, still JSON-escaped but for `<`, `>` and `&`.
    pub name: String,
    /// The bytes of the text that the tag takes, braces included.
    pub span: Range<usize>,
}

/// Lists the tags of a text, in order. A tag ends at the first `}}`.
///
/// # Errors
/// [`TemplateError::UnclosedTag`].
pub fn scan(text: &str) -> Result<Vec<Tag>, TemplateError> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{") {
        let start = at + open;
        let Some(length) = text[start + 2..].find("}}") else {
            let from: String = text[start + 2..].chars().take(80).collect();
            return Err(TemplateError::UnclosedTag(from));
        };
        let end = start + 2 + length + 2;
        let inner = &text[start + 2..end - 2];
        let (kind, name) = match expression_of(inner) {
            Some(expression) => (TagKind::Expression, unescape_html(expression)),
            None => (TagKind::Simple, inner.trim().to_owned()),
        };
        tags.push(Tag { kind, text: inner.to_owned(), name, span: start..end });
        at = end;
    }
    Ok(tags)
}

/// The expression of a tag, by what stands between its braces; None where it is none, or where there are no expressions
/// ([`crate::ambient::without_expressions`]).
pub fn expression_of(tag: &str) -> Option<&str> {
    tag.strip_prefix('=').filter(|_| has_expressions())
}

/// Undoes the escapes that Go's JSON puts in the place of `<`, `>` and `&`.
fn unescape_html(text: &str) -> String {
    text.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
}
