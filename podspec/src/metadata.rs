//! Labels, annotations and owner (argo: workflowpod.go, build and addMetadata).

use serde_json::{Value, json};
use tiphys_api::Template;
use tiphys_contract::{container, label};

use crate::draft::Draft;
use crate::error::Error;
use crate::go;
use crate::input::Input;

/// What identifies the Pod to the driver.
pub(crate) fn identify(draft: &mut Draft, input: &Input<'_>) {
    let mut labelled = |key: &str, value: &str| draft.labels.insert(key.into(), value.into());
    labelled(label::WORKFLOW, input.workflow_name);
    labelled(label::COMPLETED, "false");
    if input.request.on_exit {
        labelled(label::ON_EXIT, "true");
    }
    if !input.config.instance_id.is_empty() {
        labelled(label::CONTROLLER_INSTANCE_ID, &input.config.instance_id);
    }
    draft.annotations.insert(label::NODE_NAME.into(), input.request.node_name.clone());
    draft.annotations.insert(label::NODE_ID.into(), input.request.node_id.clone());
}

/// Which container `kubectl logs` shows: `main`, or the last one so far.
pub(crate) fn name_default_container(draft: &mut Draft) {
    let chosen = draft.container(container::MAIN).or(draft.containers.last()).map(|container| container.name.clone());
    if let Some(name) = chosen {
        draft.annotations.insert(label::DEFAULT_CONTAINER.into(), name);
    }
}

/// When the Pod is deleted, for the case that the workflow is gone by then.
pub(crate) fn note_pod_gc(draft: &mut Draft, input: &Input<'_>) -> Result<(), Error> {
    let Some(gc) = &input.spec.pod_gc else { return Ok(()) };
    let delay = match gc.delete_delay_duration.as_str() {
        "" => input.config.pod_gc_delay,
        text => go::parse_duration(text)
            .ok_or_else(|| Error::Duration { field: "podGC.deleteDelayDuration", text: text.into() })?,
    };
    draft.annotations.insert(label::POD_GC_STRATEGY.into(), format!("{}/{}", gc.strategy, go::duration(delay)));
    Ok(())
}

/// The user's own labels and annotations: the workflow's, then the template's.
pub(crate) fn add_users(draft: &mut Draft, input: &Input<'_>, template: &Template) {
    for metadata in input.spec.pod_metadata.as_deref().into_iter().chain([&template.metadata]) {
        draft.labels.extend(metadata.labels.clone());
        draft.annotations.extend(metadata.annotations.clone());
    }
}

/// Which trace the Pod goes on with; what the user says of it does not count (argo: workflowpod_submit.go).
pub(crate) fn note_trace(draft: &mut Draft, input: &Input<'_>) {
    if let Some(trace) = &input.request.trace {
        draft.annotations.insert(label::TRACE_ID.into(), trace.parent.trace.to_string());
        draft.annotations.insert(label::SPAN_ID.into(), trace.parent.span.to_string());
    }
}

/// The owner reference to the workflow; none where the workflow is no object of a cluster.
pub(crate) fn owner(input: &Input<'_>) -> Option<Value> {
    (!input.workflow_uid.is_empty()).then(|| owner_reference(input.workflow_name, input.workflow_uid))
}

/// The owner reference of what belongs to a workflow and goes with it.
pub fn owner_reference(workflow: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "name": workflow,
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
