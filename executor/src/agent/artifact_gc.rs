//! `artifact delete`: deletes the artifacts that the controller has listed in WorkflowArtifactGCTasks, and tells in their
//! status what became of each.
//!
//! argo: cmd/argoexec/commands/artifact/delete.go. Unlike there artifacts go several at once, and one that has no
//! location or no driver is told in its task as any other failure, instead of leaving the rest untold.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Map, Value, json};
use tiphys_api::{Artifact, ArtifactLocation};
use tiphys_artifact::Artifacts;
use tiphys_contract::label;

use super::connection::block_on;
use super::settings::Settings;
use super::{locations, transfers};
use crate::cluster::{Cluster, ListOptions, Patch, Resource};
use crate::paths::Paths;
use crate::{process, sidecar};

/// Deletes and tells.
///
/// # Errors
/// The text for the user: tasks could not be read or written. An artifact that could not be deleted is no failure of this
/// process; its task tells it.
pub fn run(paths: &Paths, settings: &Settings, cluster: &Cluster, words: &[OsString]) -> Result<(), String> {
    // The task then stays untold; to the next Pod that takes it up what is gone counts as deleted.
    process::end_when_told();
    if words.first().is_none_or(|word| word != "delete") || words.len() > 1 {
        return Err("usage: artifact delete".to_owned());
    }
    // Without the label there is nothing that this Pod was made for.
    let Some(pod) = &settings.artifact_gc_pod else {
        return Ok(());
    };
    let artifacts = transfers::open(paths, settings.transfers.clone());
    let deleted = block_on(async {
        let tasks = cluster.objects(&Resource::ARTIFACT_GC_TASK);
        let options = ListOptions::labelled(format!("{}={pod}", label::ARTIFACT_GC_POD));
        let list = tasks.list(&options).await.map_err(|error| error.to_string())?;
        for task in list["items"].as_array().into_iter().flatten() {
            let name = task["metadata"]["name"].as_str().unwrap_or_default();
            let results = delete_all(&artifacts, &task["spec"]["artifactsByNode"]).await?;
            let status = json!({"status": {"artifactResultsByNode": results}});
            let told = tasks.clone().status().patch(name, &Patch::Merge(status), &[]).await;
            told.map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    sidecar::end_all(paths, &settings.plugin_containers);
    deleted
}

/// The artifacts of one task: nodes by name, each with its artifacts by name and the location of those that have none.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeArtifacts {
    archive_location: Option<ArtifactLocation>,
    artifacts: BTreeMap<String, Artifact>,
}

async fn delete_all(artifacts: &Artifacts, by_node: &Value) -> Result<Value, String> {
    let nodes: Option<BTreeMap<String, NodeArtifacts>> = serde_json::from_value(by_node.clone())
        .map_err(|error| format!("a WorkflowArtifactGCTask cannot be read: {error}"))?;
    let nodes = nodes.unwrap_or_default();
    let jobs = nodes.iter().flat_map(|(node, listed)| {
        let location = listed.archive_location.as_ref();
        listed.artifacts.values().map(move |artifact| (node, artifact, location))
    });
    let deletions = jobs.map(|(node, artifact, location)| async move {
        let outcome = delete(artifacts, artifact, location).await;
        let mut result = json!({"name": artifact.name, "success": outcome.is_ok()});
        if let Err(reason) = outcome {
            tracing::warn!("artifact {} of node {node} failed to delete: {reason}", artifact.name);
            result["error"] = json!(reason);
        }
        (node, artifact.name.clone(), result)
    });
    // A node without artifacts is told as well.
    let mut results: Map<String, Value> = nodes.keys().map(|node| (node.clone(), json!({}))).collect();
    for (node, name, result) in transfers::all(deletions).await {
        results[node]["artifactResults"][name] = result;
    }
    Ok(Value::Object(results))
}

async fn delete(artifacts: &Artifacts, artifact: &Artifact, location: Option<&ArtifactLocation>) -> Result<(), String> {
    let whole = locations::complete(artifact, location)?;
    artifacts.delete(&whole).await.map_err(|error| error.to_string())
}
