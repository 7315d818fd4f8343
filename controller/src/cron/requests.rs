//! Requests about CronWorkflows and their workflows, each in its turn.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::Time;
use tiphys_kubernetes::{ApiError, Kind};

use crate::cluster::Cluster;

/// Terminates a workflow. One that is gone is no error. argo: workflow/util, TerminateWorkflow.
pub(super) async fn terminate(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), ApiError> {
    let path = Kind::Workflow.within(namespace).named(name);
    match cluster.change(&path, &json!({"spec": {"shutdown": "Terminate"}})).await {
        Err(error) if error.is_not_found() => Ok(()),
        answer => answer,
    }
}

/// Deletes a workflow, once.
pub(super) async fn delete(cluster: &Cluster, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
    let _turn = cluster.other.acquire().await;
    let options = json!({"propagationPolicy": "Background", "preconditions": {"uid": uid}});
    match cluster.api.delete(&Kind::Workflow.within(namespace).named(name), &options).await {
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
