//! Which workflow runs, with what the command line says of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tiphys_api::document::{Document, Object};
use tiphys_api::{AnyString, CronWorkflow, ObjectMeta, Parameter, Workflow, WorkflowSpec, WorkflowTemplateRef};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::input::Input;

const API_VERSION: &str = "argoproj.io/v1alpha1";

/// A workflow to run, and the document that it comes from, for messages about its fields.
pub struct Submission<'a> {
    pub workflow: Workflow,
    pub document: Option<&'a Document>,
}

/// Chooses the workflow and applies the command line to it.
pub fn submission<'a>(input: &'a Input, args: &RunArgs) -> Result<Submission<'a>, Failure> {
    let mut submission = match &args.from {
        Some(from) => Submission { workflow: of_reference(input, from)?, document: None },
        None => first_workflow(input)?,
    };
    let workflow = &mut submission.workflow;
    API_VERSION.clone_into(&mut workflow.api_version);
    "Workflow".clone_into(&mut workflow.kind);
    if let Some(name) = &args.name {
        workflow.metadata.name.clone_from(name);
        workflow.metadata.generate_name.clear();
    }
    if let Some(entrypoint) = &args.entrypoint {
        workflow.spec.entrypoint.clone_from(entrypoint);
    }
    if let Some(timeout) = &args.timeout {
        let seconds = seconds(timeout)?;
        let shorter = workflow.spec.active_deadline_seconds.is_none_or(|given| seconds < given);
        if shorter {
            workflow.spec.active_deadline_seconds = Some(seconds);
        }
    }
    set_parameters(&mut workflow.spec, args)?;
    Ok(submission)
}

fn first_workflow(input: &Input) -> Result<Submission<'_>, Failure> {
    let found = input.own.iter().find_map(|document| match &document.object {
        Object::Workflow(workflow) => Some(Submission { workflow: (**workflow).clone(), document: Some(document) }),
        _ => None,
    });
    found.ok_or_else(|| {
        let other = input.own.iter().find_map(|document| match &document.object {
            Object::WorkflowTemplate(_) => Some(format!("workflowtemplate/{}", document.name())),
            Object::ClusterWorkflowTemplate(_) => Some(format!("clusterworkflowtemplate/{}", document.name())),
            Object::CronWorkflow(_) => Some(format!("cronworkflow/{}", document.name())),
            _ => None,
        });
        let advice = other.map(|other| format!("; to run what there is, add --from {other}")).unwrap_or_default();
        Failure::invalid(Some(format!("there is no Workflow in what was given{advice}")))
    })
}

/// The workflow that refers to a template, or that a schedule would start. argo: workflow/common/convert.go.
fn of_reference(input: &Input, from: &str) -> Result<Workflow, Failure> {
    let usage = || {
        Failure::usage(format!(
            "--from {from}: expected workflowtemplate/NAME, clusterworkflowtemplate/NAME or cronworkflow/NAME"
        ))
    };
    let (kind, name) = from.split_once('/').ok_or_else(usage)?;
    let found = |wanted: fn(&Object) -> bool| {
        let document = input.all().find(|document| wanted(&document.object) && document.name() == name);
        document.map(|document| &document.object)
    };
    let object = match kind.to_ascii_lowercase().as_str() {
        "workflowtemplate" | "wftmpl" => found(|object| matches!(object, Object::WorkflowTemplate(_))),
        "clusterworkflowtemplate" | "cwft" | "cwftmpl" => {
            found(|object| matches!(object, Object::ClusterWorkflowTemplate(_)))
        }
        "cronworkflow" | "cronwf" | "cwf" => found(|object| matches!(object, Object::CronWorkflow(_))),
        _ => return Err(usage()),
    };
    match object {
        Some(Object::WorkflowTemplate(template)) => Ok(referring(name, false, &template.spec)),
        Some(Object::ClusterWorkflowTemplate(template)) => Ok(referring(name, true, &template.spec)),
        Some(Object::CronWorkflow(cron)) => Ok(scheduled(cron)),
        _ => Err(Failure::usage(format!("--from {from}: there is no such document in what was given"))),
    }
}

fn referring(name: &str, cluster_scope: bool, spec: &WorkflowSpec) -> Workflow {
    let label = if cluster_scope { "cluster-workflow-template" } else { "workflow-template" };
    let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    if let Some(metadata) = &spec.workflow_metadata {
        labels.clone_from(&metadata.labels);
        annotations.clone_from(&metadata.annotations);
    }
    labels.insert(format!("workflows.argoproj.io/{label}"), name.to_owned());
    let reference = WorkflowTemplateRef { name: name.to_owned(), cluster_scope, ..WorkflowTemplateRef::default() };
    Workflow {
        metadata: ObjectMeta { generate_name: format!("{name}-"), labels, annotations, ..ObjectMeta::default() },
        spec: WorkflowSpec { workflow_template_ref: Some(Box::new(reference)), ..WorkflowSpec::default() },
        ..Workflow::default()
    }
}

fn scheduled(cron: &CronWorkflow) -> Workflow {
    let name = &cron.metadata.name;
    let mut metadata = ObjectMeta { generate_name: format!("{name}-"), ..ObjectMeta::default() };
    if let Some(given) = &cron.spec.workflow_metadata {
        metadata.labels.clone_from(&given.labels);
        metadata.annotations.clone_from(&given.annotations);
        metadata.finalizers.clone_from(&given.finalizers);
    }
    metadata.labels.insert("workflows.argoproj.io/cron-workflow".to_owned(), name.clone());
    let now = tiphys_api::Time(jiff::Timestamp::now());
    metadata.annotations.insert("workflows.argoproj.io/scheduled-time".to_owned(), now.to_string());
    Workflow { metadata, spec: cron.spec.workflow_spec.clone(), ..Workflow::default() }
}

/// Parameters of the command line come first, then those of the file, then the workflow's own.
/// argo: workflow/util/util.go, overrideParameters.
fn set_parameters(spec: &mut WorkflowSpec, args: &RunArgs) -> Result<(), Failure> {
    let mut given: Vec<(String, String)> = Vec::new();
    for text in &args.parameters {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--parameter {text}: expected NAME=VALUE")))?;
        given.push((name.to_owned(), value.to_owned()));
    }
    if let Some(path) = &args.parameter_file {
        for (name, value) in parameter_file(path)? {
            if !given.iter().any(|(known, _)| *known == name) {
                given.push((name, value));
            }
        }
    }
    let parameter = |(name, value): (String, String)| Parameter {
        name,
        value: Some(AnyString::from(value)),
        ..Parameter::default()
    };
    let before = std::mem::take(&mut spec.arguments.parameters);
    spec.arguments.parameters = given.into_iter().map(parameter).collect();
    for mut old in before {
        match spec.arguments.parameters.iter_mut().find(|new| new.name == old.name) {
            // What else is said of the parameter (its values, its description) stays.
            Some(new) => {
                old.value = new.value.take();
                old.value_from = None;
                *new = old;
            }
            None => spec.arguments.parameters.push(old),
        }
    }
    Ok(())
}

fn parameter_file(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |problem: String| Failure::usage(format!("--parameter-file {}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match tiphys_api::yaml::to_json(&text).map_err(|error| wrong(error.to_string()))? {
        Value::Object(entries) => Ok(entries
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect()),
        Value::Null => Ok(Vec::new()),
        _ => Err(wrong("expected a mapping of names to values".to_owned())),
    }
}

/// Whole seconds of a Go duration; a bare number is seconds.
fn seconds(text: &str) -> Result<i64, Failure> {
    let wrong = || Failure::usage(format!("--timeout {text}: expected a duration such as 90s, 5m or 1h30m"));
    let mut rest = text;
    let mut total = 0.0;
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(i64::from(seconds.max(1)));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return Err(wrong()),
            };
        rest = &rest[unit..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok((total.ceil() as i64).max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h30m", Some(5400)),
            ("7", Some(7)),
            ("10ms", Some(1)),
            ("1.5m", Some(90)),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in ["", "x", "5", "5d", "-1s", "s"] {
            assert_eq!(seconds(text).is_ok(), text == "5", "{text}");
        }
    }
}
