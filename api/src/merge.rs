//! Strategic merge patch, as Kubernetes' apimachinery does it, and JSON merge patch (RFC 7396).
//!
//! Argo merges with it wherever one specification overrides another: `podSpecPatch`, `mainContainer` of the controller's
//! configuration, `templateDefaults`, a workflow and its `workflowTemplateRef`, an artifact's location. What a list means
//! (replaced as a whole, or merged by a key) is a property of the field, so a [`Schema`] is needed.
//!
//! Results equal apimachinery's, including the order of lists. Two differences are deliberate:
//! - a field that the schema does not know merges as an object or is replaced as a list, where Go refuses the patch:
//!   fields of newer versions survive;
//! - maps whose values are objects (`hooks`, `labelsFrom`) merge entry by entry, the patch's entry whole, where Go
//!   refuses the patch; Argo takes these fields out before and merges them by hand in the same way.

mod list;
mod schema;

pub use schema::Schema;

use serde_json::{Map, Value};

use schema::Rule;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a patch cannot be applied. `at` is the field, as `spec.containers`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A whole document is no object.
    #[error("{what} is no object; a patch is applied to an object and is one itself")]
    NotAnObject {
        /// `original` or `patch`.
        what: &'static str,
    },
    /// A `$patch` that is not understood there.
    #[error("`{at}`: `$patch: {directive}` is not known here; objects take `replace` and `delete`")]
    UnknownDirective {
        /// The field.
        at: String,
        /// What was written.
        directive: String,
    },
    /// An element of a list that is merged by a key lacks the key.
    #[error("`{at}`: an element has no `{key}`, which tells the elements of this list apart; add it")]
    MissingKey {
        /// The list.
        at: String,
        /// The key.
        key: &'static str,
    },
    /// A list that is merged has elements of different kinds, or lists, or null.
    #[error("`{at}`: elements of different kinds, or lists of lists, cannot be merged")]
    MixedList {
        /// The list.
        at: String,
    },
    /// `$retainKeys` is no list of names, or leaves out a field of the patch.
    #[error("`{at}`: `$retainKeys` must list every field of the patch")]
    RetainKeys {
        /// The object.
        at: String,
    },
    /// `$setElementOrder` is no list, or does not name the elements of the patch in their order.
    #[error("`{at}`: `$setElementOrder` must name the elements of the patch in their order")]
    SetElementOrder {
        /// The list.
        at: String,
    },
    /// `$deleteFromPrimitiveList` is not applied to, or is not itself, a list of plain values.
    #[error("`{at}`: `$deleteFromPrimitiveList` deletes plain values from a list of plain values")]
    DeleteFromList {
        /// The list.
        at: String,
    },
}

/// The original with the patch applied; `schema` says what the original is.
///
/// # Errors
/// See [`MergeError`]; nothing is applied then.
pub fn strategic_merge(original: &Value, patch: &Value, schema: Schema) -> Result<Value, MergeError> {
    let original = original.as_object().ok_or(MergeError::NotAnObject { what: "original" })?;
    let patch = patch.as_object().ok_or(MergeError::NotAnObject { what: "patch" })?;
    merge_objects(original.clone(), patch.clone(), schema, "").map(Value::Object)
}

/// RFC 7396: objects merge, null deletes, everything else replaces.
pub fn json_merge(original: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result = match original {
        Value::Object(original) => original.clone(),
        _ => Map::new(),
    };
    for (name, value) in patch {
        match value {
            Value::Null => {
                result.remove(name);
            }
            value => {
                let merged = json_merge(result.get(name).unwrap_or(&Value::Null), value);
                result.insert(name.clone(), merged);
            }
        }
    }
    Value::Object(result)
}

type Object = Map<String, Value>;

fn merge_objects(mut original: Object, mut patch: Object, schema: Schema, at: &str) -> Result<Object, MergeError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => Err(MergeError::UnknownDirective { at: at.into(), directive: plain(&directive) }),
        };
    }
    retain_keys(&mut original, &mut patch, at)?;
    list::set_orders(&mut original, &mut patch, schema, at)?;

    // Deleted first: an element that is also added stays.
    let names: Vec<String> = patch.keys().filter(|name| name.starts_with(DELETE_FROM_LIST)).cloned().collect();
    for name in names {
        let unwanted = patch.remove(&name).unwrap_or_default();
        list::delete_plain(&mut original, &name[DELETE_FROM_LIST.len()..], unwanted, at)?;
    }
    for (name, value) in patch {
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let here = field(at, &name);
        let merged = match (original.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Some(merge_field(old, new, schema.rule(&name), &here)?),
            (Some(Value::Array(old)), Value::Array(new)) => {
                Some(Value::Array(list::merge(old, new, schema.rule(&name), &here)?))
            }
            (_, new) => without_directives(without_nulls(new)),
        };
        if let Some(value) = merged {
            original.insert(name, value);
        }
    }
    Ok(original)
}

fn merge_field(old: Object, new: Object, rule: Rule, at: &str) -> Result<Value, MergeError> {
    let schema = match rule {
        Rule::Object(schema) => schema,
        Rule::Entries => {
            let mut merged = old;
            merged.extend(new);
            return Ok(Value::Object(merged));
        }
        Rule::List { .. } | Rule::Set | Rule::Plain => Schema::Unknown,
    };
    merge_objects(old, new, schema, at).map(Value::Object)
}

/// Applies `$retainKeys`: every other field of the original goes.
fn retain_keys(original: &mut Object, patch: &mut Object, at: &str) -> Result<(), MergeError> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let bad = || MergeError::RetainKeys { at: at.into() };
    let retained: Vec<&str> = directive.as_array().ok_or_else(bad)?.iter().filter_map(Value::as_str).collect();
    let is_directive = |name: &str| name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !retained.contains(&name.as_str())) {
        return Err(bad());
    }
    original.retain(|name, _| retained.contains(&name.as_str()));
    Ok(())
}

/// The value without fields that are null, at any depth.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name, without_nulls(v))).collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        plain => plain,
    }
}

/// The value without objects that carry `$patch`; None where it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(object) if object.contains_key(DIRECTIVE) => None,
        Value::Object(object) => Some(Value::Object(
            object.into_iter().filter_map(|(name, v)| without_directives(v).map(|v| (name, v))).collect(),
        )),
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(without_directives).collect())),
        plain => Some(plain),
    }
}

fn field(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each row is a case and what apimachinery made of it (tests/oracles/merge).
    #[test]
    fn results_equal_apimachinerys() {
        let table = include_str!("../../tests/oracles/merge/table.jsonl");
        let mut wrong = Vec::new();
        for line in table.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let schema = match row["schema"].as_str().unwrap() {
                "Container" => Schema::Container,
                "PodSpec" => Schema::PodSpec,
                "Template" => Schema::Template,
                "Workflow" => Schema::Workflow,
                "ArtifactLocation" => Schema::ArtifactLocation,
                other => panic!("no schema {other}"),
            };
            let ours = strategic_merge(&row["original"], &row["patch"], schema);
            if ours.as_ref().ok() != row.get("result") {
                wrong.push(format!(
                    "{}\n  theirs {}\n  ours   {ours:?}",
                    row["name"],
                    row.get("result").unwrap_or(&row["error"])
                ));
            }
        }
        assert!(table.lines().count() > 60);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn maps_of_objects_merge_entry_by_entry() {
        let below = json!({"spec": {"hooks": {"exit": {"template": "a"}, "running": {"template": "b"}}}});
        let above = json!({"spec": {"hooks": {"exit": {"templateRef": {"name": "t", "template": "c"}}}}});
        assert_eq!(
            strategic_merge(&below, &above, Schema::Workflow).unwrap()["spec"]["hooks"],
            json!({"exit": {"templateRef": {"name": "t", "template": "c"}}, "running": {"template": "b"}})
        );
    }

    #[test]
    fn an_error_names_the_field() {
        let original = json!({"containers": [{"name": "main", "env": [{"name": "A"}]}]});
        let patch = json!({"containers": [{"name": "main", "env": [{"value": "A"}]}]});
        assert_eq!(
            strategic_merge(&original, &patch, Schema::PodSpec).unwrap_err().to_string(),
            "`containers[main].env`: an element has no `name`, which tells the elements of this list apart; add it"
        );
        assert_eq!(
            strategic_merge(&original, &json!([]), Schema::PodSpec).unwrap_err().to_string(),
            "patch is no object; a patch is applied to an object and is one itself"
        );
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn json_merge_follows_the_rfc() {
        for (original, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), Value::Null, Value::Null),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(json_merge(&original, &patch), expected, "{original} + {patch}");
        }
    }
}
