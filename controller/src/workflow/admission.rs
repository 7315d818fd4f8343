//! Before a workflow begins: whether there is a place for it. argo: workflow/controller/controller.go, processNextItem.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_contract::label;
use tokio::sync::mpsc::UnboundedReceiver;

use super::message::Message;
use super::pods::Workplace;
use tiphys_kubernetes::ApiError;

/// What a workflow says that waits for a place.
const POSTPONED: &str = "Workflow processing has been postponed because too many workflows are already running";

/// Waits until the workflow may begin; gives it as it is then. None: it is gone. Where replicas share the work, whoever is told
/// to drive a workflow has nothing to wait for.
///
/// # Errors
/// It can no longer be read.
pub(super) async fn admitted(
    place: &Workplace,
    mut workflow: Workflow,
    inbox: &mut UnboundedReceiver<Message>,
) -> Result<Option<Workflow>, ApiError> {
    if place.cluster.shards > 1 {
        return Ok(Some(workflow));
    }
    let key = (place.namespace.to_string(), place.workflow.to_string());
    let parallelism = &place.cluster.parallelism;
    loop {
        // One that works goes on, be it that it waits for a lock, and one that is to end needs no place.
        let works = workflow.status.phase == WorkflowPhase::Running || workflow.status.synchronization.is_some();
        if works || workflow.spec.shutdown == "Terminate" {
            parallelism.works(&key);
            return Ok(Some(workflow));
        }
        let created = workflow.metadata.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let mut answer = parallelism.ask(&key, workflow.spec.priority.unwrap_or_default(), created);
        if answer.try_recv().is_ok() {
            return Ok(Some(workflow));
        }
        if workflow.status.phase == WorkflowPhase::Unknown {
            postpone(place, &workflow).await;
        }
        let admitted = loop {
            tokio::select! {
                given = &mut answer => break given.is_ok(),
                message = inbox.recv() => match message {
                    Some(Message::Deleted) | None => return Ok(None),
                    // It is being deleted, and has to end.
                    Some(Message::Fact(fact)) => {
                        parallelism.works(&key);
                        place.tell(Message::Fact(fact));
                        return Ok(Some(workflow));
                    }
                    // Its priority may be another, or it may have been shut down.
                    Some(Message::Changed { version }) if version != workflow.metadata.resource_version => break false,
                    // It has no Pods yet.
                    Some(_) => {}
                },
            }
        };
        workflow = match place.cluster.read::<Workflow>(&place.path()).await {
            Ok(workflow) if workflow.metadata.uid == *place.uid => workflow,
            Ok(_) => return Ok(None),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if admitted {
            return Ok(Some(workflow));
        }
    }
}

/// Tells the user why nothing happens.
async fn postpone(place: &Workplace, workflow: &Workflow) {
    tracing::info!(namespace = %place.namespace, workflow = %place.workflow, "postponed due to max parallelism limit");
    match place.cluster.change(&place.path(), &postponement(&workflow.metadata.resource_version)).await {
        // Somebody else has written; that is told, and leads back here.
        Err(error) if !error.is_conflict() && !error.is_not_found() => {
            tracing::warn!(namespace = %place.namespace, workflow = %place.workflow, %error, "why a workflow waits cannot be written");
        }
        _ => {}
    }
}

/// The patch by which a workflow of this version says that it waits for a place.
pub(crate) fn postponement(version: &str) -> Value {
    json!({
        "metadata": {"resourceVersion": version, "labels": {label::PHASE: "Pending"}},
        "status": {"phase": "Pending", "message": POSTPONED},
    })
}

/// A workflow that has waited for a place begins like a new one.
pub(super) fn begin_anew(workflow: &mut Workflow) {
    let status = &mut workflow.status;
    if status.phase == WorkflowPhase::Pending && status.message == POSTPONED && status.nodes.is_empty() {
        status.phase = WorkflowPhase::Unknown;
        status.message.clear();
    }
}
