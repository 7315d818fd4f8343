//! Artifact garbage collection of workflows that are over. argo: workflow/controller/artifact_gc.go.
//!
//! A finalizer is put on a workflow before the first Pod that may write such an artifact, so that it does not go without
//! its artifacts. When it is over, or deleted, WorkflowArtifactGCTasks list what is to be deleted, Pods of the executor do
//! it, and what they say of each artifact is written into the workflow. How far this has come is in the workflow's status
//! alone: after a restart it goes on from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tiphys_api::{ArtGcStatus, ArtifactGcStatus, Condition, Workflow, WorkflowSpec};
use tiphys_contract::label;
use tiphys_engine::{Collection, CollectionStrategy, collection_label, collections, is_all_collected};
use tiphys_kubernetes::{ApiError, Kind, List, Metadata, ObjectMeta, changed};
use tiphys_podspec::{ArtifactGc, artifact_gc, owner_reference};
use tokio::sync::mpsc::unbounded_channel;

use super::nodes::{Held, NodesError, make_whole};
use super::pods::Workplace;
use super::repository::Archives;
use super::status::Going;
use crate::cluster::Cluster;

/// Keeps a workflow until its artifacts are gone.
const FINALIZER: &str = "workflows.argoproj.io/artifact-gc";
const STRATEGY: &str = "workflows.argoproj.io/artifact-gc-strategy";
const OF_WORKFLOW: &str = "workflows.argoproj.io/component=artifact-gc";
/// How long a Pod is watched at a time.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The workflows whose artifacts are being deleted, by uid, and whether they were seen again meanwhile.
#[derive(Default)]
pub struct Collector {
    at_work: Mutex<FxHashMap<String, bool>>,
}

/// Of a Pod that deletes.
#[derive(Deserialize)]
struct GcPod {
    metadata: Metadata,
    #[serde(default)]
    status: GcPodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GcPodStatus {
    phase: String,
}

impl GcPod {
    fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }
}

#[derive(Deserialize)]
struct Task {
    metadata: Metadata,
    #[serde(default)]
    status: ArtifactGcStatus,
}

impl Collector {
    /// A workflow that is over was seen: new, changed, or deleted.
    pub fn look(self: &Arc<Self>, cluster: &Arc<Cluster>, metadata: &Metadata) {
        // argo: what is switched off for an emergency leaves the finalizer where it is.
        if cluster.config().keeps_artifacts || !metadata.finalizers.iter().any(|one| one == FINALIZER) {
            return;
        }
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(again) = at_work.get_mut(&metadata.uid) {
            *again = true;
            return;
        }
        at_work.insert(metadata.uid.clone(), false);
        // What is told to the workflow is of no interest to anybody any more.
        let (to, _) = unbounded_channel();
        let place = Workplace {
            cluster: cluster.clone(),
            to,
            namespace: metadata.namespace.as_str().into(),
            workflow: metadata.name.as_str().into(),
            uid: metadata.uid.as_str().into(),
        };
        let collector = self.clone();
        tokio::spawn(async move {
            loop {
                let outcome = place.collect().await;
                if let Err(error) = &outcome {
                    tracing::warn!(namespace = %place.namespace, workflow = %place.workflow, %error, "artifacts are not collected");
                }
                let mut at_work = collector.at_work.lock().unwrap_or_else(PoisonError::into_inner);
                if !at_work.get_mut(&*place.uid).is_some_and(std::mem::take) {
                    at_work.remove(&*place.uid);
                    return;
                }
            }
        });
    }
}

impl Workplace {
    /// Keeps the workflow from going without its artifacts.
    ///
    /// # Errors
    /// The API server's.
    pub(super) async fn guard_artifacts(&self) -> Result<(), ApiError> {
        loop {
            let workflow = self.cluster.read::<ObjectMeta>(&self.path()).await?;
            let mut finalizers = workflow.metadata.finalizers;
            if finalizers.iter().any(|one| one == FINALIZER) {
                return Ok(());
            }
            finalizers.push(FINALIZER.to_owned());
            let version = workflow.metadata.resource_version;
            let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
            match self.cluster.change(&self.path(), &patch).await {
                Err(error) if error.is_conflict() => {}
                outcome => return outcome,
            }
        }
    }

    /// Does what can be done now, and waits for Pods that are at it.
    async fn collect(&self) -> Result<(), ApiError> {
        loop {
            let workflow = match self.cluster.read::<Workflow>(&self.path()).await {
                Err(error) if error.is_not_found() => return Ok(()),
                workflow => workflow?,
            };
            let is_over = workflow.metadata.labels.get(label::COMPLETED).is_some_and(|completed| completed == "true");
            if *workflow.metadata.uid != *self.uid || !is_over {
                return Ok(());
            }
            match self.collect_once(workflow).await {
                Ok(Some(pod)) => {
                    let pods = Kind::Pod.within(&self.namespace);
                    let Metadata { name, resource_version, .. } = pod.metadata;
                    changed(&self.cluster.api, &pods, &name, &resource_version, LOOK_AGAIN).await;
                }
                Ok(None) => return Ok(()),
                // Somebody else has written: the workflow is looked at anew.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a Pod to wait for; None where nothing is left to do now.
    async fn collect_once(&self, mut workflow: Workflow) -> Result<Option<GcPod>, ApiError> {
        let held = match make_whole(&self.cluster, &mut workflow, "").await {
            Ok(held) => held,
            Err(error) if error.is_transient() => return Err(away(&error)),
            Err(error) => {
                tracing::error!(namespace = %self.namespace, workflow = %self.workflow, %error, "artifacts are not collected");
                return Ok(None);
            }
        };
        let spec = workflow.executed_spec().clone();
        let mut progress = workflow.status.artifact_gc_status.as_deref().cloned().unwrap_or_default();
        let is_deleted = workflow.metadata.deletion_timestamp.is_some();
        let ready = [CollectionStrategy::OnWorkflowCompletion, CollectionStrategy::OnWorkflowDeletion];
        for strategy in ready.into_iter().take(if is_deleted { 2 } else { 1 }) {
            if progress.strategies_processed.get(strategy.as_str()) == Some(&true) {
                continue;
            }
            for collection in collections(&workflow, &spec, strategy) {
                self.begin_collection(&workflow, &spec, strategy, &collection).await?;
            }
            progress.strategies_processed.insert(strategy.as_str().to_owned(), true);
            let done = json!({"status": {"artifactGCStatus": {"strategiesProcessed": {strategy.as_str(): true}}}});
            self.cluster.change(&self.path(), &done).await?;
        }
        let selector = format!("{}={},{OF_WORKFLOW}", label::WORKFLOW, self.workflow);
        let pods = Kind::Pod.within(&self.namespace).query(&[("labelSelector", &selector)]);
        let pods = self.cluster.read::<List<GcPod>>(&pods).await?.items;
        let is_new = |pod: &GcPod| progress.pods_recouped.get(&pod.metadata.name) != Some(&true);
        let (over, open): (Vec<GcPod>, Vec<GcPod>) = pods.into_iter().filter(is_new).partition(GcPod::is_over);
        if !over.is_empty() {
            self.recoup(&mut workflow, &over, &held).await?;
        }
        let forced = spec.artifact_gc.as_ref().is_some_and(|gc| gc.force_finalizer_removal);
        let is_last = is_deleted || collections(&workflow, &spec, CollectionStrategy::OnWorkflowDeletion).is_empty();
        if is_all_collected(&workflow, &spec) || (forced && is_last && open.is_empty()) {
            self.let_go().await?;
            return Ok(None);
        }
        Ok(open.into_iter().next())
    }

    /// Makes the list of what is to be deleted, and the Pod that does it.
    async fn begin_collection(
        &self,
        workflow: &Workflow,
        spec: &WorkflowSpec,
        strategy: CollectionStrategy,
        collection: &Collection,
    ) -> Result<(), ApiError> {
        let mut config = self.cluster.config().pod.clone();
        let archives = Archives::of(workflow, spec, &config.artifact_repository);
        let mut by_node: BTreeMap<&str, Value> = BTreeMap::new();
        let mut locations = Vec::new();
        for (node, template, artifact) in &collection.artifacts {
            let archive = archives.of_template(template);
            let listed = by_node.entry(node).or_insert_with(|| json!({"archiveLocation": archive, "artifacts": {}}));
            listed["artifacts"][&artifact.name] = json!(artifact);
            for location in [archive.clone(), artifact.location()] {
                if !locations.contains(&location) {
                    locations.push(location);
                }
            }
        }
        let hash = collection_label(&collection.pod_name);
        let name = format!("{}-0", collection.pod_name);
        let tasks = Kind::WorkflowArtifactGCTask.within(&self.namespace);
        let task = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowArtifactGCTask",
            "metadata": {
                "name": name, "labels": {label::ARTIFACT_GC_POD: hash},
                "ownerReferences": [owner_reference(&self.workflow, &self.uid)],
            },
            "spec": {"artifactsByNode": by_node},
        });
        self.cluster.make(tasks.path(), &task).await?;
        let made: ObjectMeta = self.cluster.read(&tasks.named(&name)).await?;
        let owner = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowArtifactGCTask", "name": name,
            "uid": made.metadata.uid, "controller": true, "blockOwnerDeletion": true,
        });
        let built = loop {
            let built = artifact_gc(&ArtifactGc {
                name: &collection.pod_name,
                namespace: &self.namespace,
                workflow: &self.workflow,
                workflow_uid: &self.uid,
                strategy: strategy.as_str(),
                hash: &hash,
                owner: &owner,
                service_account: &collection.service_account,
                labels: &collection.labels,
                annotations: &collection.annotations,
                pod_spec_patch: &collection.pod_spec_patch,
                locations: &locations,
                config: &config,
            });
            match built {
                Ok(pod) => break Ok(pod),
                Err(error) => match self.learn(spec, &mut config, error).await {
                    Ok(()) => {}
                    Err(reason) => break Err(reason),
                },
            }
        };
        match built {
            Ok(pod) => self.cluster.make(Kind::Pod.within(&self.namespace).path(), &pod).await.map(|_| ()),
            Err(reason) => self.tell_failure(workflow, strategy.as_str(), &reason).await,
        }
    }

    /// Takes in what Pods say of artifacts.
    async fn recoup(&self, workflow: &mut Workflow, pods: &[GcPod], held: &Held) -> Result<(), ApiError> {
        let mut nodes: BTreeMap<String, Value> = BTreeMap::new();
        let mut finished = Vec::new();
        for pod in pods {
            let strategy = pod.metadata.annotations.get(STRATEGY).map_or("", String::as_str);
            let mut failures = Vec::new();
            if pod.status.phase == "Failed" {
                failures.push(format!(
                    "Artifact Garbage Collection failed for strategy {strategy}, pod {} exited with non-zero exit code: check pod logs for more information",
                    pod.metadata.name
                ));
            }
            let selector = format!("{}={}", label::ARTIFACT_GC_POD, collection_label(&pod.metadata.name));
            let tasks = Kind::WorkflowArtifactGCTask.within(&self.namespace).query(&[("labelSelector", &selector)]);
            for task in self.cluster.read::<List<Task>>(&tasks).await?.items {
                let failed = take_results(workflow, &task, &mut nodes);
                if failed.is_empty() && pod.status.phase == "Succeeded" {
                    finished.push(task.metadata.name);
                }
                failures.extend(failed);
            }
            for failure in &failures {
                self.tell_failure_in(workflow, strategy, failure);
            }
            let status = workflow.status.artifact_gc_status.get_or_insert_with(Box::<ArtGcStatus>::default);
            status.pods_recouped.insert(pod.metadata.name.clone(), true);
        }
        let status = &workflow.status;
        let mut patch = json!({
            "metadata": {"resourceVersion": workflow.metadata.resource_version},
            "status": {
                "conditions": status.conditions,
                "artifactGCStatus": {"podsRecouped": status.artifact_gc_status.as_ref().map(|gc| &gc.pods_recouped)},
            },
        });
        if !nodes.is_empty() {
            let all = || tiphys_nodes::to_json(&status.nodes);
            match held.going {
                Going::Whole => patch["status"]["nodes"] = json!(nodes),
                Going::Packed => patch["status"]["compressedNodes"] = tiphys_nodes::pack(&all()).into(),
                Going::Outside => {
                    let repository = workflow.executed_spec().artifact_repository_ref.as_deref();
                    let version = self.keep_outside(all(), repository).await.map_err(|error| away(&error))?;
                    patch["status"]["offloadNodeStatusVersion"] = version.into();
                }
            }
        }
        self.cluster.change(&self.path(), &patch).await?;
        let named = &patch["status"]["offloadNodeStatusVersion"];
        if named.is_string() && *named != held.version.as_str() {
            self.clone().forget_outside(held.version.clone()).await;
        }
        // With its task goes the Pod. One that failed stays, to be looked at.
        for name in finished {
            let path = Kind::WorkflowArtifactGCTask.within(&self.namespace).named(&name);
            self.cluster.remove(&path, &json!({"propagationPolicy": "Background"})).await?;
        }
        Ok(())
    }

    /// Nothing keeps the workflow any longer.
    async fn let_go(&self) -> Result<(), ApiError> {
        let workflow = match self.cluster.read::<ObjectMeta>(&self.path()).await {
            Err(error) if error.is_not_found() => return Ok(()),
            workflow => workflow?,
        };
        let Metadata { finalizers, resource_version, .. } = workflow.metadata;
        let left: Vec<String> = finalizers.into_iter().filter(|one| one != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": left, "resourceVersion": resource_version}});
        match self.cluster.change(&self.path(), &patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    async fn tell_failure(&self, workflow: &Workflow, strategy: &str, reason: &str) -> Result<(), ApiError> {
        let mut workflow = workflow.clone();
        self.tell_failure_in(&mut workflow, strategy, reason);
        self.cluster.change(&self.path(), &json!({"status": {"conditions": workflow.status.conditions}})).await
    }

    /// Sets the condition, and tells the event.
    fn tell_failure_in(&self, workflow: &mut Workflow, strategy: &str, reason: &str) {
        const ERROR: &str = "ArtifactGCError";
        let condition = Condition {
            r#type: ERROR.into(),
            status: "True".into(),
            message: reason.to_owned(),
            ..Condition::default()
        };
        let conditions = &mut workflow.status.conditions;
        match conditions.iter_mut().find(|one| one.r#type == ERROR) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
        let told = format!("Artifact Garbage Collection failed for strategy {strategy}, err:{reason}");
        self.warn("ArtifactGCFailed", &told);
    }
}

/// Marks a task's artifacts as deleted, keeps the parts of nodes that have changed, and gives what failed.
fn take_results(workflow: &mut Workflow, task: &Task, nodes: &mut BTreeMap<String, Value>) -> Vec<String> {
    let mut failures = Vec::new();
    for (id, results) in &task.status.artifact_results_by_node {
        let Some(outputs) = workflow.status.nodes.get_mut(id).and_then(|node| node.outputs.as_deref_mut()) else {
            continue;
        };
        for artifact in &mut outputs.artifacts {
            let Some(result) = results.artifact_results.get(&artifact.name) else { continue };
            artifact.deleted = result.success;
            let error = result.error.as_ref().map(|error| format!("{error} (artifactGCTask: {})", task.metadata.name));
            failures.extend(error);
        }
        nodes.insert(id.clone(), json!({"outputs": {"artifacts": outputs.artifacts}}));
    }
    failures
}

/// Nodes outside the object are as far away as the object itself would be.
fn away(error: &NodesError) -> ApiError {
    ApiError::Unreachable(error.to_string())
}
