//! The status of a CronWorkflow: conditions, the phase, and what of it has to be written.

use serde_json::{Map, Value, json};
use tiphys_api::{Condition, CronWorkflow, CronWorkflowStatus};

use super::variables;

/// The spec is wrong.
pub(super) const SPEC_ERROR: &str = "SpecError";
/// A run could not be made.
pub(super) const SUBMISSION_ERROR: &str = "SubmissionError";
/// No run is made any more.
const STOPPED: &str = "Stopped";
/// Label of one that is stopped.
const COMPLETED: &str = "cronworkflows.argoproj.io/completed";

/// Whether its stop strategy has ended it.
pub fn is_stopped(cron: &CronWorkflow) -> bool {
    cron.status.phase == STOPPED || cron.metadata.labels.get(COMPLETED).is_some_and(|word| word == "true")
}

/// Sets a condition, or takes it away.
pub(super) fn set_condition(cron: &mut CronWorkflow, name: &str, message: Option<String>) {
    let conditions = &mut cron.status.conditions;
    let Some(message) = message else { return conditions.retain(|one| one.r#type != name) };
    let condition = Condition { r#type: name.into(), status: "True".into(), message, ..Condition::default() };
    match conditions.iter_mut().find(|one| one.r#type == name) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// Stops it where its stop strategy says so; what is wrong with that becomes a condition, and false is the answer.
pub(super) fn stop_if_due(cron: &mut CronWorkflow) -> bool {
    match variables::stops(cron) {
        Ok(true) => {
            cron.status.phase = STOPPED.into();
            cron.metadata.labels.insert(COMPLETED.into(), "true".into());
            true
        }
        Ok(false) => true,
        Err(message) => {
            set_condition(cron, SPEC_ERROR, Some(message));
            false
        }
    }
}

/// The merge patch that makes one of the other: labels, annotations and status, of which the first two only ever gain. None
/// where they are alike.
pub fn changes(before: &CronWorkflow, after: &CronWorkflow) -> Option<Value> {
    let mut metadata = Map::new();
    for (name, old, new) in [
        ("labels", &before.metadata.labels, &after.metadata.labels),
        ("annotations", &before.metadata.annotations, &after.metadata.annotations),
    ] {
        let gained = new.iter().filter(|(key, text)| old.get(*key) != Some(text));
        let gained: Map<String, Value> = gained.map(|(key, text)| (key.clone(), text.as_str().into())).collect();
        if !gained.is_empty() {
            metadata.insert(name.into(), gained.into());
        }
    }
    let mut patch = Map::new();
    if !metadata.is_empty() {
        patch.insert("metadata".into(), metadata.into());
    }
    if before.status != after.status {
        patch.insert("status".into(), written(&after.status));
    }
    (!patch.is_empty()).then(|| patch.into())
}

/// Every field, as Go's types write them.
fn written(status: &CronWorkflowStatus) -> Value {
    json!({
        "active": status.active,
        "lastScheduledTime": status.last_scheduled_time,
        "conditions": status.conditions,
        "succeeded": status.succeeded,
        "failed": status.failed,
        "phase": status.phase,
    })
}
