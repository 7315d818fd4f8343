//! Template tags in JSON text (`argo: util/template`): `{{name}}` and `{{=expression}}`.
//!
//! The text is JSON and tags stand inside its strings: values are inserted as `strconv.Quote` writes them, the text of
//! an expression is JSON-unescaped before it is read. What cannot be resolved yet stays as it is where that is allowed.

mod error;
mod expression;
mod scan;
mod value;
mod variables;

pub use error::TemplateError;
pub use expression::{LATE_VARIABLES, expression_identifiers};
pub use scan::{Tag, TagKind, expression_of, scan};
pub use value::{replace_strict_value, replace_value};
pub use variables::{Layered, Variables};

use crate::go::quote_inner;

/// Values that stand for something unknown while a workflow is validated: expressions that see one may fail.
pub const PLACEHOLDER_PREFIX: &str = "__argo__internal__placeholder-";

/// What Argo puts in the place of an argument that refers to an absent optional output, so that the consumer's default
/// applies (`argo: absent optional outputs`).
pub const ABSENT_OPTIONAL_OUTPUT: &str = "__argo-internal.absent-optional-output__";

/// The text is nothing but one simple tag whose value is known and absent: an argument that Argo replaces by
/// [`ABSENT_OPTIONAL_OUTPUT`] before it substitutes (`argo: scope.go, absentOptionalRef`).
pub fn is_absent_reference(text: &str, variables: &dyn Variables) -> bool {
    let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    inner.is_some_and(|name| {
        !name.contains("{{") && !name.contains("}}") && variables.get(name).is_some_and(|value| value.is_none())
    })
}

/// What must be resolved.
#[derive(Debug, Clone, Copy)]
enum Demand<'p> {
    /// Nothing: unknown names and failing expressions stay.
    Nothing,
    /// Everything.
    Everything,
    /// Names that are one of these prefixes or stand below one. References to artifacts of simple tags may stay.
    Prefixes(&'p [&'p str]),
}

impl Demand<'_> {
    fn demands(self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Prefixes(prefixes) => prefixes
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))),
        }
    }

    fn missing(self, name: String, tag: String, in_expression: bool) -> TemplateError {
        match self {
            Self::Prefixes(_) => TemplateError::StrictMissing { name, tag, in_expression },
            _ => TemplateError::Unresolved { name, tag, in_expression },
        }
    }
}

/// Substitutes the tags of a JSON text (`argo: template.Replace`).
///
/// With `allow_unresolved`, tags with unknown names and expressions without a result stay as they are.
///
/// # Errors
/// [`TemplateError`]; see there which are final.
pub fn replace(text: &str, variables: &dyn Variables, allow_unresolved: bool) -> Result<String, TemplateError> {
    let demand = if allow_unresolved { Demand::Nothing } else { Demand::Everything };
    whole(text, variables, demand)
}

/// Substitutes the tags of a JSON text; names below one of `prefixes` (like `steps`, `tasks`) must be known, others may
/// stay (`argo: template.ReplaceStrict`).
///
/// # Errors
/// [`TemplateError::StrictMissing`] for a demanded name that is not known yet: ask again when more is known.
pub fn replace_strict(text: &str, variables: &dyn Variables, prefixes: &[&str]) -> Result<String, TemplateError> {
    whole(text, variables, strict(prefixes))
}

fn strict<'p>(prefixes: &'p [&'p str]) -> Demand<'p> {
    if prefixes.is_empty() { Demand::Nothing } else { Demand::Prefixes(prefixes) }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn whole(text: &str, variables: &dyn Variables, demand: Demand<'_>) -> Result<String, TemplateError> {
    if !is_json(text) {
        return Err(TemplateError::InvalidJson);
    }
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let replaced = substitute(text, variables, demand)?;
    if is_json(&replaced) { Ok(replaced) } else { Err(TemplateError::InvalidResult) }
}

/// Substitutes the tags of text that stands inside JSON strings.
fn substitute(text: &str, variables: &dyn Variables, demand: Demand<'_>) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut at = 0;
    for tag in scan(text)? {
        out.push_str(&text[at..tag.span.start]);
        at = tag.span.end;
        match tag.kind {
            TagKind::Expression => expression::insert(&mut out, &tag.name, variables, demand)?,
            TagKind::Simple => simple(&mut out, &tag, variables, demand)?,
        }
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn simple(out: &mut String, tag: &Tag, variables: &dyn Variables, demand: Demand<'_>) -> Result<(), TemplateError> {
    match variables.get(&tag.name) {
        Some(Some(value)) => {
            out.push_str(&quote_inner(&value));
            return Ok(());
        }
        Some(None) => return Err(TemplateError::AbsentOptional { tag: tag.text.clone(), nested: None }),
        None => {}
    }
    // A tag in a tag: the inner one is resolved now, what comes out is a tag for the next time.
    if let Some(index) = tag.text.rfind("{{").filter(|index| *index > 0) {
        let inner = &tag.text[index + 2..];
        match variables.get(inner) {
            Some(Some(value)) => {
                out.push_str("{{");
                out.push_str(&tag.text[..index]);
                out.push_str(&quote_inner(&value));
                return Ok(());
            }
            Some(None) => {
                return Err(TemplateError::AbsentOptional { tag: tag.text.clone(), nested: Some(inner.to_owned()) });
            }
            None => {}
        }
    }
    let may_stay = matches!(demand, Demand::Prefixes(_)) && tag.name.contains(".outputs.artifacts.");
    if demand.demands(&tag.name) && !may_stay {
        return Err(demand.missing(tag.name.clone(), tag.text.clone(), false));
    }
    out.push_str("{{");
    out.push_str(&tag.text);
    out.push_str("}}");
    Ok(())
}

#[cfg(test)]
mod tests;
