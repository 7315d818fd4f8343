//! Whether two normalised outcomes are the same, but for what the corpus's README lets differ.

use serde_json::Value;
use tiphys_tests::corpus::Case;

/// Fields of an artifact's S3 location that depend on the repository.
const S3_KEY: &str = "key";

/// The first differences; None where the outcomes are equal.
pub fn difference(case: &Case, expected: &Value, got: &Value) -> Option<String> {
    if case.tags.contains("network") {
        return compare("/phase", &expected["phase"], &got["phase"]);
    }
    if case.tags.contains("varies") {
        return by_chance(expected, got);
    }
    let tells_progress = case.manifest.contains("PROGRESS_FILE");
    compare("", &without(expected, tells_progress), &without(got, tells_progress))
}

/// An executor that reports its progress late reports another one.
fn without(outcome: &Value, progress: bool) -> Value {
    let mut outcome = outcome.clone();
    if progress {
        let nodes = outcome["nodes"].as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut());
        for node in nodes {
            node.as_object_mut().map(|node| node.remove("progress"));
        }
        outcome.as_object_mut().map(|outcome| outcome.remove("progress"));
    }
    outcome
}

/// Chance decides how far such a workflow goes, so what it decides may differ: values, phases, numbers of attempts. What
/// both outcomes have must be of the same making, and the workflow must have ended in a way that the recorded one could.
fn by_chance(expected: &Value, got: &Value) -> Option<String> {
    const MADE: [&str; 6] = ["type", "templateName", "templateRef", "templateScope", "displayName", "boundary"];
    let over = ["Succeeded", "Failed"].iter().any(|phase| got["phase"] == *phase);
    if !over {
        return Some(format!("/phase: expected {}, got {}", expected["phase"], got["phase"]));
    }
    let nodes = expected["nodes"].as_object().into_iter().flatten();
    let found: Vec<String> = nodes
        .filter(|(name, node)| got["nodes"].get(name.as_str()).is_some_and(|other| other["type"] == node["type"]))
        .flat_map(|(name, node)| MADE.iter().map(move |field| (name, node, *field)))
        .filter_map(|(name, node, field)| {
            compare(&format!("/nodes/{name}/{field}"), &node[field], &got["nodes"][name.as_str()][field])
        })
        .take(6)
        .collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

/// The first differences below `path`; None where there are none.
pub fn compare(path: &str, expected: &Value, got: &Value) -> Option<String> {
    match (expected, got) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let in_s3 = path.ends_with("/s3");
            let found: Vec<String> = keys
                .into_iter()
                .filter(|key| !in_s3 || key.as_str() == S3_KEY)
                .filter_map(|key| {
                    let (one, other) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                    compare(&format!("{path}/{key}"), one, other)
                })
                .take(6)
                .collect();
            (!found.is_empty()).then(|| found.join("\n"))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            let found: Vec<String> =
                pairs.filter_map(|(index, (one, other))| compare(&format!("{path}[{index}]"), one, other)).collect();
            (!found.is_empty()).then(|| found.join("\n"))
        }
        // A Pod's address here is that of this machine.
        (Value::String(one), Value::String(other))
            if one.contains("{ip}") && one.replace("{ip}", "127.0.0.1") == *other =>
        {
            None
        }
        _ if expected == got || (path.ends_with("/message") && same_message(expected, got)) => None,
        _ => Some(format!("{path}: expected {expected}, got {got}")),
    }
}

/// Texts that come from below may differ behind what the controller wrote: `main: Error (exit code 1): …`.
fn same_message(expected: &Value, got: &Value) -> bool {
    let (Some(expected), Some(got)) = (expected.as_str(), got.as_str()) else { return false };
    let own = |text: &str| text.find(')').filter(|_| text.contains("(exit code ")).map(|end| text[..=end].to_string());
    own(expected).is_some() && own(expected) == own(got)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_controllers_part_must_match() {
        let same = |one: &str, other: &str| compare("/message", &json!(one), &json!(other)).is_none();
        assert!(same("main: Error (exit code 64): exec: x", "main: Error (exit code 64): other words"));
        assert!(!same("main: Error (exit code 64): x", "main: Error (exit code 1): x"));
        assert!(!same("child 'a' failed", "child 'b' failed"));
    }
}
