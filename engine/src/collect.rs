//! Artifact garbage collection: which artifacts are deleted when, and by whom. argo: workflow/controller/artifact_gc.go.

use std::collections::BTreeMap;

use tiphys_api::{Artifact, ArtifactGc, NodeStatus, NodeType, Template, Workflow, WorkflowSpec};

use crate::globals::template_name;
use crate::id::fnv1a_32;

/// When artifacts are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CollectionStrategy {
    /// When the workflow is over.
    OnWorkflowCompletion,
    /// When the workflow is deleted.
    OnWorkflowDeletion,
}

impl CollectionStrategy {
    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            CollectionStrategy::OnWorkflowCompletion => "OnWorkflowCompletion",
            CollectionStrategy::OnWorkflowDeletion => "OnWorkflowDeletion",
        }
    }

    /// Its name in those of Pods.
    fn short(self) -> &'static str {
        match self {
            CollectionStrategy::OnWorkflowCompletion => "wfcomp",
            CollectionStrategy::OnWorkflowDeletion => "wfdel",
        }
    }
}

/// Artifacts that one Pod deletes.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// The Pod's name.
    pub pod_name: String,
    /// The service account that it runs as; empty for the default one.
    pub service_account: String,
    /// Labels of its own.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its own.
    pub annotations: BTreeMap<String, String>,
    /// A patch of its spec.
    pub pod_spec_patch: String,
    /// Ids of nodes, the names of their templates, and their artifacts.
    pub artifacts: Vec<(String, String, Artifact)>,
}

/// Whether a template gives artifacts that are collected. argo: HasArtifactGC.
pub fn is_collected(spec: &WorkflowSpec, template: &Template) -> bool {
    template.outputs.artifacts.iter().any(|artifact| strategy(spec, artifact).is_some())
}

/// What is to be deleted by a strategy, a Pod for each service account and metadata.
pub fn collections(workflow: &Workflow, spec: &WorkflowSpec, by: CollectionStrategy) -> Vec<Collection> {
    let mut found: BTreeMap<String, Collection> = BTreeMap::new();
    for (node, artifact) in artifacts(workflow) {
        if artifact.deleted || strategy(spec, artifact) != Some(by) {
            continue;
        }
        let mut collection = identity(spec, artifact);
        collection.pod_name = pod_name(&workflow.metadata.name, by, &collection);
        let collection = found.entry(collection.pod_name.clone()).or_insert(collection);
        collection.artifacts.push((node.id.clone(), template_name(node).to_string(), artifact.clone()));
    }
    found.into_values().collect()
}

/// Whether nothing is left to delete, at whatever time. argo: allArtifactsDeleted.
pub fn is_all_collected(workflow: &Workflow, spec: &WorkflowSpec) -> bool {
    artifacts(workflow).all(|(_, artifact)| artifact.deleted || strategy(spec, artifact).is_none())
}

fn artifacts(workflow: &Workflow) -> impl Iterator<Item = (&NodeStatus, &Artifact)> {
    let pods = workflow.status.nodes.values().filter(|node| node.r#type == NodeType::Pod);
    pods.flat_map(|node| {
        node.outputs.iter().flat_map(move |outputs| outputs.artifacts.iter().map(move |one| (node, one)))
    })
}

/// The artifact's own strategy, else the workflow's. argo: workflow_types.go, GetArtifactGCStrategy.
fn strategy(spec: &WorkflowSpec, artifact: &Artifact) -> Option<CollectionStrategy> {
    let own = artifact.artifact_gc.as_ref().map(|gc| gc.strategy.as_str()).filter(|strategy| !strategy.is_empty());
    let text = own.or(spec.artifact_gc.as_ref().map(|gc| gc.strategy.as_str()))?;
    [CollectionStrategy::OnWorkflowCompletion, CollectionStrategy::OnWorkflowDeletion]
        .into_iter()
        .find(|one| one.as_str() == text)
}

/// As whom an artifact is deleted. argo: getArtifactGCPodInfo.
fn identity(spec: &WorkflowSpec, artifact: &Artifact) -> Collection {
    let mut collection = Collection {
        pod_name: String::new(),
        service_account: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        pod_spec_patch: String::new(),
        artifacts: Vec::new(),
    };
    if let Some(gc) = &spec.artifact_gc {
        let own = ArtifactGc {
            strategy: String::new(),
            pod_metadata: gc.pod_metadata.clone(),
            service_account_name: gc.service_account_name.clone(),
            extra: BTreeMap::new(),
        };
        collection.take(&own);
        collection.pod_spec_patch.clone_from(&gc.pod_spec_patch);
    }
    artifact.artifact_gc.iter().for_each(|gc| collection.take(gc));
    collection
}

impl Collection {
    fn take(&mut self, gc: &ArtifactGc) {
        if !gc.service_account_name.is_empty() {
            self.service_account.clone_from(&gc.service_account_name);
        }
        if let Some(metadata) = &gc.pod_metadata {
            self.labels.extend(metadata.labels.clone());
            self.annotations.extend(metadata.annotations.clone());
        }
    }
}

/// argo: artGCPodName.
fn pod_name(workflow: &str, by: CollectionStrategy, of: &Collection) -> String {
    let texts = of.labels.iter().chain(&of.annotations).flat_map(|(key, value)| [key, value]);
    let identity: String = std::iter::once(&of.service_account).chain(texts).map(String::as_str).collect();
    format!("{workflow}-artgc-{}-{}", by.short(), fnv1a_32(&identity))
}

/// The label that ties a Pod to its WorkflowArtifactGCTask. argo: artifactGCPodLabel.
pub fn collection_label(pod_name: &str) -> String {
    fnv1a_32(pod_name).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow() -> Workflow {
        let artifact = |name: &str, more: serde_json::Value| {
            let mut artifact = json!({"name": name, "s3": {"key": name}});
            if let (Some(fields), Some(more)) = (artifact.as_object_mut(), more.as_object()) {
                fields.extend(more.clone());
            }
            artifact
        };
        let of = |strategy: &str, account: &str| json!({"artifactGC": {"strategy": strategy, "serviceAccountName": account}});
        serde_json::from_value(json!({"metadata": {"name": "wf"}, "status": {"nodes": {
            "wf-1": {"id": "wf-1", "type": "Pod", "templateName": "a", "outputs": {"artifacts": [
                artifact("whole", json!({})), artifact("own", of("OnWorkflowDeletion", "x")),
                artifact("never", of("Never", "")), artifact("gone", json!({"deleted": true})),
            ]}},
            "wf-2": {"id": "wf-2", "type": "Steps", "outputs": {"artifacts": [artifact("of-a-group", json!({}))]}},
        }}}))
        .unwrap()
    }

    /// Pods, their accounts, and the artifacts that each deletes.
    fn shown(collections: &[Collection]) -> Vec<String> {
        let artifacts = |one: &Collection| one.artifacts.iter().map(|(_, _, one)| one.name.clone()).collect::<Vec<_>>();
        let show =
            |one: &Collection| format!("{} as {}: {}", one.pod_name, one.service_account, artifacts(one).join(" "));
        collections.iter().map(show).collect()
    }

    #[test]
    fn an_artifacts_own_word_comes_first() {
        let spec: WorkflowSpec = serde_json::from_value(json!({
            "artifactGC": {"strategy": "OnWorkflowCompletion", "serviceAccountName": "gc"}}))
        .unwrap();
        let workflow = workflow();
        let now = collections(&workflow, &spec, CollectionStrategy::OnWorkflowCompletion);
        let later = collections(&workflow, &spec, CollectionStrategy::OnWorkflowDeletion);
        assert_eq!(shown(&now), ["wf-artgc-wfcomp-1042313471 as gc: whole"]);
        assert_eq!(shown(&later), ["wf-artgc-wfdel-4245442695 as x: own"]);
        assert!(!is_all_collected(&workflow, &spec));
        assert!(!is_all_collected(&workflow, &WorkflowSpec::default()));
    }

    #[test]
    fn hashes_are_gos() {
        // Of hash/fnv, New32a.
        assert_eq!(fnv1a_32(""), 2_166_136_261);
        assert_eq!(fnv1a_32("a"), 3_826_002_220);
        assert_eq!(collection_label("foobar"), "3214735720");
    }
}
