//! Template tags that are left for the Pod: the engine's variables of a node, put in by the same rules.

use std::collections::BTreeMap;

/// Replaces the tags in a JSON text; tags that cannot be resolved stay.
///
/// # Errors
/// An expression fails; the text is for the node's message.
pub(crate) fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    tiphys_expr::template::replace(text, variables, true).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_put_in_escaped() {
        let variables = BTreeMap::from([("pod.name".to_owned(), "a\"b".to_owned())]);
        let text = r#"{"x": "{{pod.name}} {{unknown}} {{=1 + 1}}"}"#;
        assert_eq!(substitute(text, &variables).unwrap(), r#"{"x": "a\"b {{unknown}} 2"}"#);
    }
}
