//! Before a workflow begins: whether there is a place for it. argo: workflow/controller/controller.go, processNextItem.

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_contract::label;
use tokio::sync::mpsc::UnboundedReceiver;

use super::message::Message;
use super::pods::Workplace;
use tiphys_kubernetes::ApiError;

/// What a workflow says that waits for a place.
const POSTPONED: &str = "Workflow processing has been postponed because too many workflows are already running";

/// Waits until the workflow may begin; gives it as it is then. None: it is gone.
///
/// # Errors
/// It can no longer be read.
pub(super) async fn admitted(
    place: &Workplace,
    mut workflow: Workflow,
    inbox: &mut UnboundedReceiver<Message>,
) -> Result<Option<Workflow>, ApiError> {
    let key = (place.namespace.to_string(), place.workflow.to_string());
    let parallelism = &place.cluster.parallelism;
    loop {
        // One that works goes on, and one that is to end needs no place.
        if workflow.status.phase == WorkflowPhase::Running || workflow.spec.shutdown == "Terminate" {
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
        workflow = match place.read::<Workflow>(&place.path()).await {
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
    let patch = json!({
        "metadata": {"resourceVersion": workflow.metadata.resource_version, "labels": {label::PHASE: "Pending"}},
        "status": {"phase": "Pending", "message": POSTPONED},
    });
    match place.change(&place.path(), &patch).await {
        // Somebody else has written; that is told, and leads back here.
        Err(error) if !error.is_conflict() && !error.is_not_found() => {
            tracing::warn!(namespace = %place.namespace, workflow = %place.workflow, %error, "why a workflow waits cannot be written");
        }
        _ => {}
    }
}

/// A workflow that has waited for a place begins like a new one.
pub(super) fn begin_anew(workflow: &mut Workflow) {
    let status = &mut workflow.status;
    if status.phase == WorkflowPhase::Pending && status.message == POSTPONED && status.nodes.is_empty() {
        status.phase = WorkflowPhase::Unknown;
        status.message.clear();
    }
}
