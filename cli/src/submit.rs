//! Which workflow runs or is submitted, with what the command line says of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tiphys_api::document::{Document, Object};
use tiphys_api::{AnyString, CronWorkflow, ObjectMeta, Parameter, Workflow, WorkflowSpec, WorkflowTemplateRef};
use tiphys_engine::{CRON_WORKFLOW, of_template};

use crate::args::{RunArgs, SubmitOptions};
use crate::duration;
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
    apply(
        workflow,
        &SubmitOptions {
            name: args.name.clone(),
            entrypoint: args.entrypoint.clone(),
            parameters: args.parameters.clone(),
            parameter_file: args.parameter_file.clone(),
            ..SubmitOptions::default()
        },
    )?;
    if let Some(timeout) = &args.timeout {
        let wrong = || Failure::usage(format!("--timeout {timeout}: expected a duration such as 90s, 5m or 1h30m"));
        let seconds = (duration::seconds(timeout).ok_or_else(wrong)?.ceil() as i64).max(1);
        let shorter = workflow.spec.active_deadline_seconds.is_none_or(|given| seconds < given);
        if shorter {
            workflow.spec.active_deadline_seconds = Some(seconds);
        }
    }
    Ok(submission)
}

/// Applies what the command line says to a workflow. argo: workflow/util/util.go, ApplySubmitOpts.
pub fn apply(workflow: &mut Workflow, options: &SubmitOptions) -> Result<(), Failure> {
    API_VERSION.clone_into(&mut workflow.api_version);
    "Workflow".clone_into(&mut workflow.kind);
    let metadata = &mut workflow.metadata;
    if let Some(prefix) = &options.generate_name {
        metadata.generate_name.clone_from(prefix);
        metadata.name.clear();
    }
    if let Some(name) = &options.name {
        metadata.name.clone_from(name);
        metadata.generate_name.clear();
    }
    for text in &options.labels {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--labels {text}: expected NAME=VALUE")))?;
        metadata.labels.insert(name.to_owned(), value.to_owned());
    }
    if let Some(entrypoint) = &options.entrypoint {
        workflow.spec.entrypoint.clone_from(entrypoint);
    }
    if let Some(account) = &options.service_account {
        workflow.spec.service_account_name.clone_from(account);
    }
    set_parameters(&mut workflow.spec, options)
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

/// What a workflow is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Template,
    ClusterTemplate,
    Cron,
}

/// Reads KIND/NAME. argo: server/workflow, SubmitWorkflow.
pub fn reference(from: &str) -> Result<(From, &str), Failure> {
    let usage = || {
        Failure::usage(format!(
            "--from {from}: expected workflowtemplate/NAME, clusterworkflowtemplate/NAME or cronworkflow/NAME"
        ))
    };
    let (kind, name) = from.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(usage)?;
    let kind = match kind.to_ascii_lowercase().as_str() {
        "workflowtemplate" | "wftmpl" => From::Template,
        "clusterworkflowtemplate" | "cwft" | "cwftmpl" => From::ClusterTemplate,
        "cronworkflow" | "cronwf" | "cwf" => From::Cron,
        _ => return Err(usage()),
    };
    Ok((kind, name))
}

/// The workflow that refers to a template, or that a schedule would start. argo: workflow/common/convert.go.
fn of_reference(input: &Input, from: &str) -> Result<Workflow, Failure> {
    let (kind, name) = reference(from)?;
    let found = |wanted: fn(&Object) -> bool| {
        let document = input.all().find(|document| wanted(&document.object) && document.name() == name);
        document.map(|document| &document.object)
    };
    let object = match kind {
        From::Template => found(|object| matches!(object, Object::WorkflowTemplate(_))),
        From::ClusterTemplate => found(|object| matches!(object, Object::ClusterWorkflowTemplate(_))),
        From::Cron => found(|object| matches!(object, Object::CronWorkflow(_))),
    };
    match object {
        Some(Object::WorkflowTemplate(template)) => Ok(referring(name, false, &template.spec)),
        Some(Object::ClusterWorkflowTemplate(template)) => Ok(referring(name, true, &template.spec)),
        Some(Object::CronWorkflow(cron)) => Ok(scheduled(cron)),
        _ => Err(Failure::usage(format!("--from {from}: there is no such document in what was given"))),
    }
}

/// A workflow that takes a template as a whole.
pub fn referring(name: &str, cluster_scope: bool, spec: &WorkflowSpec) -> Workflow {
    let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    if let Some(metadata) = &spec.workflow_metadata {
        labels.clone_from(&metadata.labels);
        annotations.clone_from(&metadata.annotations);
    }
    labels.insert(of_template(cluster_scope).to_owned(), name.to_owned());
    let reference = WorkflowTemplateRef { name: name.to_owned(), cluster_scope, ..WorkflowTemplateRef::default() };
    Workflow {
        metadata: ObjectMeta { generate_name: format!("{name}-"), labels, annotations, ..ObjectMeta::default() },
        spec: WorkflowSpec { workflow_template_ref: Some(Box::new(reference)), ..WorkflowSpec::default() },
        ..Workflow::default()
    }
}

/// A workflow that a schedule would start now.
pub fn scheduled(cron: &CronWorkflow) -> Workflow {
    let name = &cron.metadata.name;
    let mut metadata = ObjectMeta { generate_name: format!("{name}-"), ..ObjectMeta::default() };
    if let Some(given) = &cron.spec.workflow_metadata {
        metadata.labels.clone_from(&given.labels);
        metadata.annotations.clone_from(&given.annotations);
        metadata.finalizers.clone_from(&given.finalizers);
    }
    metadata.labels.insert(CRON_WORKFLOW.to_owned(), name.clone());
    let now = tiphys_api::Time(jiff::Timestamp::now());
    metadata.annotations.insert("workflows.argoproj.io/scheduled-time".to_owned(), now.to_string());
    Workflow { metadata, spec: cron.spec.workflow_spec.clone(), ..Workflow::default() }
}

/// Names and values of texts of the form `NAME=VALUE`.
pub fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--parameter {text}: expected NAME=VALUE")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// Parameters of the command line come first, then those of the file, then the workflow's own.
/// argo: workflow/util/util.go, overrideParameters.
fn set_parameters(spec: &mut WorkflowSpec, args: &SubmitOptions) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_command_line_changes_a_workflow() {
        let mut workflow: Workflow = serde_json::from_value(json!({
            "metadata": {"generateName": "a-", "labels": {"kept": "1", "team": "x"}},
            "spec": {"entrypoint": "main", "arguments": {"parameters": [
                {"name": "p", "value": "1", "description": "says"}, {"name": "q", "value": "2"}]}},
        }))
        .unwrap();
        let options = SubmitOptions {
            name: Some("b".into()),
            entrypoint: Some("other".into()),
            parameters: vec!["q=3=4".into(), "new=".into()],
            labels: vec!["team=y".into()],
            service_account: Some("robot".into()),
            ..SubmitOptions::default()
        };
        apply(&mut workflow, &options).unwrap();
        assert_eq!(
            serde_json::to_value(&workflow).unwrap(),
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
                "metadata": {"name": "b", "labels": {"kept": "1", "team": "y"}},
                "spec": {"entrypoint": "other", "serviceAccountName": "robot", "arguments": {"parameters": [
                    {"name": "q", "value": "3=4"}, {"name": "new", "value": ""},
                    {"name": "p", "value": "1", "description": "says"}]}},
            })
        );
        apply(&mut workflow, &SubmitOptions { generate_name: Some("c-".into()), ..SubmitOptions::default() }).unwrap();
        assert_eq!((workflow.metadata.name.as_str(), workflow.metadata.generate_name.as_str()), ("", "c-"));
        let wrong = SubmitOptions { labels: vec!["x".into()], ..SubmitOptions::default() };
        assert_eq!(apply(&mut workflow, &wrong).unwrap_err().message(), Some("--labels x: expected NAME=VALUE"));
    }

    #[test]
    fn kinds_have_short_names() {
        for (text, kind) in
            [("wftmpl/a", From::Template), ("cwft/a", From::ClusterTemplate), ("CronWorkflow/a", From::Cron)]
        {
            assert_eq!(reference(text).ok(), Some((kind, "a")), "{text}");
        }
        assert!(reference("workflow/a").is_err() && reference("wftmpl/").is_err() && reference("a").is_err());
    }
}
