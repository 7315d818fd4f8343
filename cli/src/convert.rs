//! `tiphys convert`: manifests with fields of Argo 3.5 and before become manifests with today's.
//! argo: workflow/convert/legacy_types.go.

use serde_json::{Value, json};

use crate::args::{ConvertArgs, ConvertOutput, Output};
use crate::failure::Failure;
use crate::{input, output};

/// Prints manifests as they are written today.
pub fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    for mut object in input::values(&args.files)? {
        converted(&mut object);
        output::print(&match args.output {
            ConvertOutput::Yaml => format!("---\n{}", output::value(&object, Output::Yaml)),
            ConvertOutput::Json => output::value(&object, Output::Json),
        });
    }
    Ok(())
}

/// Changes an object of Argo's kinds; others stay as they are.
fn converted(object: &mut Value) {
    match object["kind"].as_str() {
        Some("Workflow" | "WorkflowTemplate" | "ClusterWorkflowTemplate") => workflow_spec(object.get_mut("spec")),
        Some("CronWorkflow") => {
            let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
            workflow_spec(spec.get_mut("workflowSpec"));
            // argo: the one goes before the many.
            match spec.remove("schedule") {
                Some(Value::String(schedule)) if schedule.is_empty() => {}
                Some(schedule) => drop(spec.insert("schedules".to_owned(), json!([schedule]))),
                None => {}
            }
        }
        _ => {}
    }
}

fn workflow_spec(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    synchronization(spec);
    if let Some(defaults) = spec.get_mut("templateDefaults") {
        template(defaults);
    }
    for one in spec.get_mut("templates").and_then(Value::as_array_mut).into_iter().flatten() {
        template(one);
    }
}

/// A template, and those that are written within it.
fn template(value: &mut Value) {
    synchronization(value);
    let groups = value.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    let mut calls: Vec<&mut Value> = Vec::new();
    for group in groups {
        match group {
            Value::Array(steps) => calls.extend(steps),
            other => calls.push(other),
        }
    }
    for call in calls {
        call.get_mut("inline").into_iter().for_each(template);
    }
    let tasks = value.get_mut("dag").and_then(|dag| dag.get_mut("tasks")).and_then(Value::as_array_mut);
    for task in tasks.into_iter().flatten() {
        task.get_mut("inline").into_iter().for_each(template);
    }
}

/// The one lock goes behind the many. argo: LegacySynchronization, ToCurrent.
fn synchronization(holder: &mut Value) {
    let Some(Value::Object(locks)) = holder.get_mut("synchronization") else { return };
    for (one, many) in [("semaphore", "semaphores"), ("mutex", "mutexes")] {
        let Some(lock) = locks.remove(one).filter(|lock| !lock.is_null()) else { continue };
        match locks.get_mut(many) {
            Some(Value::Array(known)) => known.push(lock),
            _ => drop(locks.insert(many.to_owned(), json!([lock]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut before: Value, after: Value) {
        converted(&mut before);
        assert_eq!(before, after);
    }

    #[test]
    fn one_lock_becomes_one_of_many() {
        check(
            json!({"kind": "Workflow", "spec": {
            "synchronization": {"mutex": {"name": "a"}, "mutexes": [{"name": "b"}]},
            "templates": [
                {"name": "t", "synchronization": {"semaphore": {"configMapKeyRef": {"name": "c", "key": "k"}}}},
                {"name": "s", "steps": [[{"name": "x", "inline": {"synchronization": {"mutex": {"name": "d"}}}}]]},
                {"name": "g", "dag": {"tasks": [{"name": "y", "inline": {"synchronization": {"mutex": {"name": "e"}}}}]}},
            ]}}),
            json!({"kind": "Workflow", "spec": {
            "synchronization": {"mutexes": [{"name": "b"}, {"name": "a"}]},
            "templates": [
                {"name": "t", "synchronization": {"semaphores": [{"configMapKeyRef": {"name": "c", "key": "k"}}]}},
                {"name": "s", "steps": [[{"name": "x", "inline": {"synchronization": {"mutexes": [{"name": "d"}]}}}]]},
                {"name": "g", "dag": {"tasks": [{"name": "y", "inline": {"synchronization": {"mutexes": [{"name": "e"}]}}}]}},
            ]}}),
        );
    }

    #[test]
    fn one_schedule_goes_before_many() {
        check(
            json!({"kind": "CronWorkflow", "spec": {"schedule": "@daily", "schedules": ["@hourly"],
                "workflowSpec": {"synchronization": {"mutex": {"name": "a"}}}}}),
            json!({"kind": "CronWorkflow", "spec": {"schedules": ["@daily"],
                "workflowSpec": {"synchronization": {"mutexes": [{"name": "a"}]}}}}),
        );
    }

    #[test]
    fn what_is_not_argos_stays() {
        let map = json!({"kind": "ConfigMap", "spec": {"schedule": "x", "synchronization": {"mutex": {}}}});
        check(map.clone(), map);
    }
}
