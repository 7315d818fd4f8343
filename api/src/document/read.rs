//! From JSON to the typed object of its kind, with every field of the wrong type reported where it was written.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::object::Object;
use super::place::Place;
use super::secret::Secret;
use crate::diagnostic::{Diagnostic, Severity};

/// Most mistakes that are reported for one document.
const MOST: usize = 20;

/// Reads a value as the kind that it names.
pub(super) fn object(place: &Place, value: Value) -> Result<Object, Vec<Diagnostic>> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind").to_string(), text("apiVersion").to_string());
    let argo = version.is_empty() || version.starts_with("argoproj.io/");
    let core = version.is_empty() || version == "v1";
    Ok(match kind.as_str() {
        "Workflow" if argo => Object::Workflow(typed(place, value)?),
        "WorkflowTemplate" if argo => Object::WorkflowTemplate(typed(place, value)?),
        "ClusterWorkflowTemplate" if argo => Object::ClusterWorkflowTemplate(typed(place, value)?),
        "CronWorkflow" if argo => Object::CronWorkflow(typed(place, value)?),
        "WorkflowTaskResult" if argo => Object::WorkflowTaskResult(typed(place, value)?),
        "WorkflowTaskSet" if argo => Object::WorkflowTaskSet(typed(place, value)?),
        "WorkflowEventBinding" if argo => Object::WorkflowEventBinding(typed(place, value)?),
        "WorkflowArtifactGCTask" if argo => Object::WorkflowArtifactGCTask(typed(place, value)?),
        "ConfigMap" if core => Object::ConfigMap(typed(place, value)?),
        "Secret" if core => match Secret::from_value(value) {
            Ok(secret) => Object::Secret(Box::new(secret)),
            Err((path, message)) => return Err(vec![place.diagnostic(Severity::Error, &path, message)]),
        },
        _ => Object::Other(value),
    })
}

/// Reads a type. After a mistake the field is taken out and the rest read again, so that all mistakes come at once.
fn typed<T: DeserializeOwned>(place: &Place, mut value: Value) -> Result<Box<T>, Vec<Diagnostic>> {
    let mut mistakes = Vec::new();
    loop {
        // Only a mistake needs the value afterwards, so the first reading, which is the usual one, borrows it.
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(object) if mistakes.is_empty() => return Ok(Box::new(object)),
            Ok(_) => return Err(mistakes),
            Err(error) => error,
        };
        mistakes.push(mistake(place, error.path(), &error.inner().to_string()));
        if mistakes.len() == MOST || !remove(&mut value, error.path()) {
            return Err(mistakes);
        }
    }
}

fn mistake(place: &Place, path: &Path, error: &str) -> Diagnostic {
    let path = if path.iter().next().is_none() { String::new() } else { path.to_string() };
    let expectation = error.strip_prefix("invalid type: ").and_then(|error| error.rsplit_once(", expected "));
    let (message, hint) = match expectation {
        Some((found, expected)) => {
            let expected = if expected.starts_with("a map") { "an object" } else { expected };
            (format!("`{path}`: expected {expected}, found {found}"), hint(expected, found))
        }
        None => (format!("`{path}`: {error}"), None),
    };
    place.value_diagnostic(Severity::Error, &path, message).hinting(hint)
}

fn hint(expected: &str, found: &str) -> Option<String> {
    if expected != "a string" {
        return None;
    }
    match found.split(' ').next()? {
        "boolean" => Some("put the value in quotes: YAML takes yes, no, on, off, y and n for booleans".to_string()),
        "integer" | "floating" => Some("put the value in quotes".to_string()),
        _ => None,
    }
}

/// Takes out the field at a path; false where that cannot be done without touching its neighbours.
fn remove(value: &mut Value, path: &Path) -> bool {
    let segments: Vec<&Segment> = path.iter().collect();
    let Some((Segment::Map { key: last }, parents)) = segments.split_last() else { return false };
    let mut parent = value;
    for segment in parents {
        let below = match segment {
            Segment::Map { key } => parent.get_mut(key.as_str()),
            Segment::Seq { index } => parent.get_mut(*index),
            _ => None,
        };
        let Some(below) = below else { return false };
        parent = below;
    }
    parent.as_object_mut().is_some_and(|fields| fields.remove(last.as_str()).is_some())
}
