//! Where artifacts of a workflow are.

use serde_json::Value;
use tiphys_api::{Artifact, Workflow};

/// The key of an artifact, whatever its store calls it.
pub(super) fn key_of(artifact: &Artifact) -> String {
    let location = serde_json::to_value(artifact.location()).unwrap_or_default();
    let store = artifact.location().store().map(|store| location[store].clone()).unwrap_or_default();
    let key = store["key"].as_str().or(store["blob"].as_str());
    key.unwrap_or_default().to_owned()
}

/// An artifact with the rest of its location, which is its repository's. argo: artifact_repository_types.go, Relocate.
pub(super) fn located(workflow: &Workflow, artifact: &Artifact) -> Artifact {
    let repository =
        workflow.status.artifact_repository_ref.as_ref().and_then(|found| found.artifact_repository.as_ref());
    let repository = repository.and_then(|repository| serde_json::to_value(repository).ok()).unwrap_or_default();
    let (Some(store), Ok(mut value)) = (artifact.location().store(), serde_json::to_value(artifact)) else {
        return artifact.clone();
    };
    if let (Value::Object(own), Value::Object(rest)) = (&mut value[store], &repository[store]) {
        let formats = ["keyFormat", "blobNameFormat"];
        for (field, value) in rest.iter().filter(|(field, _)| !formats.contains(&field.as_str())) {
            own.entry(field.as_str()).or_insert_with(|| value.clone());
        }
    }
    serde_json::from_value(value).unwrap_or_else(|_| artifact.clone())
}
