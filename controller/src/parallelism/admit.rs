//! What the first shard's holder does so that no more workflows work than may, whoever drives them: it gives the places, and
//! labels each workflow that gets one.
//!
//! It watches all workflows that are not over by itself, beginning with a list. So it finds whomever the holder before it has
//! admitted, which what this replica was told of earlier need not say yet.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tiphys_contract::label;
use tiphys_kubernetes::{ApiError, Backoff, Kind, METADATA_ALONE, Metadata, ObjectMeta, watch};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinSet;

use super::admissions::{Admissions, Answer, Named, Request, Step};
use super::places::AllLimits;
use crate::cluster::Cluster;
use crate::workflow::postponement;

/// Admits workflows for as long as there is any limit, where replicas share the work. `namespace` is the one that is looked at,
/// all where it is empty; `selector` is that of the workflows that are not over.
pub async fn admit(cluster: Arc<Cluster>, namespace: String, selector: String) {
    if cluster.shards == 1 {
        return;
    }
    let (mut limits, mut lifted) = (cluster.parallelism.limits(), cluster.parallelism.limits());
    // The sender is the cluster's own, so that it is never gone.
    while limits.wait_for(|limits| limits.are_known && limits.concern_anybody()).await.is_ok() {
        tokio::select! {
            () = keep_to(&mut limits, &cluster, &namespace, &selector) => {}
            // Nobody has to wait for a label any more.
            _ = lifted.wait_for(|limits| !limits.concern_anybody()) => {}
        }
    }
}

async fn keep_to(limits: &mut latest::Receiver<AllLimits>, cluster: &Arc<Cluster>, namespace: &str, selector: &str) {
    let workflows = Kind::Workflow.within(namespace);
    let (to, mut told) = mpsc::unbounded_channel();
    let watched =
        watch::<ObjectMeta>(&cluster.api, &workflows, selector, Some(METADATA_ALONE), |event| to.send(event).is_ok());
    let kept = async {
        let mut admissions = Admissions::new(limits.borrow_and_update().clone());
        let mut under_way = JoinSet::new();
        loop {
            let steps = tokio::select! {
                Some(event) = told.recv() => admissions.observe(event),
                Some(ended) = under_way.join_next() => match ended {
                    Ok(Some(answer)) => admissions.answered(answer),
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::error!(%error, "who admitted a workflow has died");
                        continue;
                    }
                },
                Ok(()) = limits.changed() => admissions.limit(limits.borrow_and_update().clone()),
                else => return,
            };
            for step in steps {
                under_way.spawn(take(cluster.clone(), step));
            }
        }
    };
    tokio::join!(watched, kept);
}

/// Takes a step, for as long as it takes.
async fn take(cluster: Arc<Cluster>, step: Step) -> Option<Answer> {
    match step {
        Step::Read(workflow) => {
            let request = read(&cluster, &workflow).await;
            Some(Answer::Read(workflow, request))
        }
        Step::Postpone(workflow, version) => {
            let version = postpone(&cluster, &workflow, &version).await;
            Some(Answer::Postponed(workflow, version))
        }
        Step::Admit(workflow) => {
            label_admitted(&cluster, &workflow).await;
            None
        }
    }
}

/// As much of a workflow as decides when it may begin.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asking {
    metadata: Metadata,
    spec: Option<AskingSpec>,
    status: Option<AskingStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AskingSpec {
    priority: Option<i64>,
    shutdown: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AskingStatus {
    phase: Option<String>,
    synchronization: Option<IgnoredAny>,
}

impl Asking {
    fn request(self) -> Request {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        let phase = status.phase.unwrap_or_default();
        let works = phase == "Running" || status.synchronization.is_some();
        Request {
            version: self.metadata.resource_version,
            priority: spec.priority.unwrap_or_default(),
            created: self.metadata.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            goes_on: works || spec.shutdown.as_deref() == Some("Terminate"),
            is_new: phase.is_empty(),
        }
    }
}

/// What a workflow asks with; None: it is gone.
async fn read(cluster: &Cluster, workflow: &Named) -> Option<Request> {
    let path = path(workflow);
    let failing = "a workflow that wants to begin cannot be read yet";
    match insist(cluster, workflow, failing, || cluster.api.get::<Asking>(&path)).await {
        Ok(asking) => (asking.metadata.uid == workflow.uid).then(|| asking.request()),
        // Whoever drives it says so to the user, and it is over then.
        Err(ApiError::Unreadable(_)) => Some(Request { goes_on: true, ..Asking::default().request() }),
        Err(_) => None,
    }
}

/// Tells the user why nothing happens; gives the version in which that stands.
async fn postpone(cluster: &Cluster, workflow: &Named, version: &str) -> Option<String> {
    let (namespace, name) = &workflow.key;
    tracing::info!(namespace, workflow = name, "postponed due to max parallelism limit");
    let (path, patch) = (path(workflow), postponement(version));
    match cluster.retried(|| cluster.api.patch(&path, &patch)).await {
        Ok(version) => Some(version),
        // Somebody else has written; that is told, and it is read again.
        Err(error) if error.is_conflict() || error.is_not_found() || error.is_shut() => None,
        Err(error) => {
            tracing::warn!(namespace, workflow = name, %error, "why a workflow waits cannot be written");
            None
        }
    }
}

async fn label_admitted(cluster: &Cluster, workflow: &Named) {
    let path = path(workflow);
    let patch = json!({"metadata": {"labels": {label::ADMITTED: workflow.uid}}});
    let failing = "a workflow cannot be labelled as admitted yet; it keeps its place";
    // Where it is gone, or the shard is, nobody waits for the label.
    let _ = insist(cluster, workflow, failing, || cluster.api.patch(&path, &patch)).await;
}

/// Sends a request, again until it is answered, the workflow is gone or the shard is: whatever else is wrong may pass.
async fn insist<T, F>(
    cluster: &Cluster,
    workflow: &Named,
    failing: &str,
    request: impl Fn() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let (namespace, name) = &workflow.key;
    let mut backoff = Backoff::default();
    loop {
        match cluster.other.send(request()).await {
            Err(error) if error.is_not_found() || error.is_shut() || matches!(error, ApiError::Unreadable(_)) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(namespace, workflow = name, %error, "{failing}");
                error.wait(&mut backoff).await;
            }
            answer => return answer,
        }
    }
}

fn path(workflow: &Named) -> String {
    let (namespace, name) = &workflow.key;
    Kind::Workflow.within(namespace).named(name)
}
