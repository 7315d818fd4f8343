//! What differs between two outcomes, in few lines.

use serde_json::Value;

/// The first differences between two values, with their paths.
pub fn difference(path: &str, expected: &Value, got: &Value) -> Option<String> {
    match (expected, got) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let found: Vec<String> = keys
                .into_iter()
                .filter_map(|key| {
                    let (one, other) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                    difference(&format!("{path}/{key}"), one, other)
                })
                .collect();
            (!found.is_empty()).then(|| found.into_iter().take(12).collect::<Vec<_>>().join("\n"))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let found: Vec<String> = one
                .iter()
                .zip(other)
                .enumerate()
                .filter_map(|(index, (one, other))| difference(&format!("{path}[{index}]"), one, other))
                .collect();
            (!found.is_empty()).then(|| found.join("\n"))
        }
        _ if expected == got => None,
        _ => Some(format!("{path}: expected {expected} got {got}")),
    }
}
