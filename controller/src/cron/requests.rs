//! Requests about CronWorkflows and their workflows, each in its turn.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::Time;
use tiphys_kubernetes::{ApiError, Kind, retried};

use crate::cluster::Cluster;

/// Changes an object, in the line of those that write statuses; gives its new version.
pub(super) async fn change(cluster: &Cluster, path: &str, patch: &Value) -> Result<String, ApiError> {
    retried(|| cluster.writing.send(cluster.api.patch(path, patch))).await
}

/// Terminates a workflow. One that is gone is no error. argo: workflow/util, TerminateWorkflow.
pub(super) async fn terminate(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), ApiError> {
    let path = Kind::Workflow.within(namespace).named(name);
    match change(cluster, &path, &json!({"spec": {"shutdown": "Terminate"}})).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// Deletes a workflow, once.
pub(super) async fn delete(cluster: &Cluster, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
    let options = json!({"propagationPolicy": "Background", "preconditions": {"uid": uid}});
    let path = Kind::Workflow.within(namespace).named(name);
    match cluster.other.send(cluster.api.delete(&path, &options)).await {
        // Another one has the name by now.
        Err(error) if error.is_conflict() => Ok(()),
        answer => answer,
    }
}

/// A Kubernetes event about a CronWorkflow: namespace, name and uid.
pub(super) fn warning((namespace, name, uid): (&str, &str, &str), reason: &str, message: &str) -> Value {
    let now = Timestamp::now();
    let time = Time::from_second(now.as_second());
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{:x}", now.as_nanosecond()), "namespace": namespace},
        "involvedObject": {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", "name": name, "namespace": namespace, "uid": uid,
        },
        "type": "Warning", "reason": reason, "message": message, "source": {"component": "workflow-controller"},
        "firstTimestamp": time, "lastTimestamp": time, "count": 1,
    })
}

/// Tells an event, where the API server has time for it.
pub(super) async fn tell(cluster: Arc<Cluster>, namespace: String, event: Value) {
    let Some(_turn) = cluster.other.try_acquire() else { return };
    if let Err(error) = cluster.api.create(Kind::Event.within(&namespace).path(), &event).await {
        tracing::debug!(namespace, %error, "an event is not told");
    }
}
