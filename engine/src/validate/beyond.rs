//! What Argo only meets when the workflow runs: expressions that are none, durations that are none, handlers that do not
//! exist, recursion without end. Told where all problems are asked for; the first problem stays Argo's.

use std::collections::{BTreeMap, HashMap};

use tiphys_api::{IntOrString, LifecycleHook, Task, Template, WorkflowSpec};
use tiphys_expr::lang;
use tiphys_expr::when::{self, WhenError};

use super::graph;
use super::report::{Outcome, Place, Report};
use super::tags::{self, Piece};
use super::template::{Base, Validation};

/// Checks a whole spec. `refers` where its templates are those of another.
pub(super) fn check(validation: &mut Validation<'_>, base: &Base<'_>, refers: bool) -> Outcome {
    if !validation.report.is_thorough() {
        return Ok(());
    }
    let report = &mut validation.report;
    let exists = |name: &str| refers || base.spec.templates.iter().any(|template| template.name == name);
    let (spec, place) = (base.spec, &base.place);
    check_hooks(report, &place.below(".hooks"), &spec.hooks, &exists)?;
    if let Some(metadata) = &spec.workflow_metadata {
        for (label, from) in &metadata.labels_from {
            let place = place.below(format_args!(".workflowMetadata.labelsFrom.{label}.expression"));
            check_expression(report, &place, &from.expression)?;
        }
    }
    if let Some(pod_gc) = &spec.pod_gc {
        check_duration(report, &place.below(".podGC.deleteDelayDuration"), &pod_gc.delete_delay_duration)?;
    }
    for (index, template) in spec.templates.iter().enumerate() {
        check_template(report, &place.below(format_args!(".templates[{index}]")), template, &exists)?;
    }
    check_recursion(report, place, spec)
}

fn check_template(report: &mut Report, place: &Place, template: &Template, exists: &dyn Fn(&str) -> bool) -> Outcome {
    check_expression_tags(report, place, template)?;
    check_duration(report, &place.below(".timeout"), &template.timeout)?;
    check_duration(report, &place.below(".pendingTimeout"), &template.pending_timeout)?;
    if let Some(suspend) = &template.suspend {
        check_duration(report, &place.below(".suspend.duration"), &suspend.duration)?;
    }
    if let Some(retry) = &template.retry_strategy {
        check_expression(report, &place.below(".retryStrategy.expression"), &retry.expression)?;
        if let Some(backoff) = &retry.backoff {
            check_duration(report, &place.below(".retryStrategy.backoff.duration"), &backoff.duration)?;
            check_duration(report, &place.below(".retryStrategy.backoff.maxDuration"), &backoff.max_duration)?;
        }
    }
    for (index, parameter) in template.outputs.parameters.iter().enumerate() {
        if let Some(from) = &parameter.value_from {
            let place = place.below(format_args!(".outputs.parameters[{index}].valueFrom.expression"));
            check_expression(report, &place, &from.expression)?;
        }
    }
    for (index, artifact) in template.outputs.artifacts.iter().enumerate() {
        let place = place.below(format_args!(".outputs.artifacts[{index}].fromExpression"));
        check_expression(report, &place, &artifact.from_expression)?;
    }
    for (task, place) in calls(template, place) {
        check_task(report, &place, task, exists)?;
    }
    Ok(())
}

fn check_task(report: &mut Report, place: &Place, task: &Task, exists: &dyn Fn(&str) -> bool) -> Outcome {
    check_when(report, &place.below(".when"), &task.when)?;
    // Names of tasks may hold hyphens, which expressions do not know. argo: workflow/controller/dag.go
    check_expression(report, &place.below(".depends"), &task.depends.replace('-', "_"))?;
    check_hooks(report, &place.below(".hooks"), &task.hooks, exists)?;
    if !task.on_exit.is_empty() && is_plain(&task.on_exit) && !exists(&task.on_exit) {
        report.error(&place.below(".onExit"), format!("template name '{}' undefined", task.on_exit))?;
    }
    if !task.with_param.is_empty() && is_plain(&task.with_param) {
        let list: Result<Vec<serde_json::Value>, _> = serde_json::from_str(&task.with_param);
        if let Err(error) = list {
            report.error(&place.below(".withParam"), format!("withParam value is no JSON list: {error}"))?;
        }
    }
    let Some(sequence) = &task.with_sequence else { return Ok(()) };
    let numbers = [("count", &sequence.count), ("start", &sequence.start), ("end", &sequence.end)];
    for (field, number) in numbers {
        if let Some(IntOrString::String(text)) = number
            && is_plain(text)
            && text.parse::<i64>().is_err()
        {
            let message = format!("withSequence.{field} must be a whole number, found {text:?}");
            report.error(&place.below(format_args!(".withSequence.{field}")), message)?;
        }
    }
    Ok(())
}

/// The steps or tasks of a template, each with its place.
fn calls<'t>(template: &'t Template, place: &Place) -> Vec<(&'t Task, Place)> {
    let mut calls = Vec::new();
    for (group, steps) in template.steps.iter().flatten().enumerate() {
        for (index, step) in steps.iter().enumerate() {
            calls.push((step, place.below(format_args!(".steps[{group}][{index}]"))));
        }
    }
    for (index, task) in template.dag.iter().flat_map(|dag| &dag.tasks).enumerate() {
        calls.push((task, place.below(format_args!(".dag.tasks[{index}]"))));
    }
    calls
}

fn check_hooks(
    report: &mut Report,
    place: &Place,
    hooks: &BTreeMap<String, LifecycleHook>,
    exists: &dyn Fn(&str) -> bool,
) -> Outcome {
    for (name, hook) in hooks {
        let place = place.below(format_args!(".{name}"));
        check_expression(report, &place.below(".expression"), &hook.expression)?;
        if hook.template_ref.is_none() && is_plain(&hook.template) && !exists(&hook.template) {
            report.error(&place, format!("template name '{}' undefined", hook.template))?;
        }
    }
    Ok(())
}

/// Whether a text is what it will be when the workflow runs.
fn is_plain(text: &str) -> bool {
    !text.contains("{{")
}

fn check_duration(report: &mut Report, place: &Place, duration: &str) -> Outcome {
    if duration.is_empty() || !is_plain(duration) {
        return Ok(());
    }
    match tiphys_expr::go::parse_argo_duration(duration) {
        Ok(_) => Ok(()),
        Err(error) => {
            report.error_with_hint(place, error.to_string(), "write it as `30s`, `5m` or `1h30m`".to_string())
        }
    }
}

/// Checks that a text can be read as an expression; whether it has a value is only known when the workflow runs.
fn check_expression(report: &mut Report, place: &Place, expression: &str) -> Outcome {
    if expression.is_empty() || !is_plain(expression) {
        return Ok(());
    }
    match lang::parse(expression) {
        Ok(_) => Ok(()),
        Err(error) => report.error(place, format!("expression does not compile: {error}")),
    }
}

/// Checks each `{{=…}}` of a template.
fn check_expression_tags(report: &mut Report, place: &Place, template: &Template) -> Outcome {
    let value = serde_json::to_value(template).unwrap_or_default();
    let mut ahead = vec![(place.clone(), &value)];
    while let Some((place, value)) = ahead.pop() {
        match value {
            serde_json::Value::String(text) => {
                for piece in tags::pieces(text) {
                    if let Piece::Tag(tag) = piece
                        && let Some(expression) = tiphys_expr::template::expression_of(tag)
                    {
                        check_expression(report, &place, expression)?;
                    }
                }
            }
            serde_json::Value::Array(items) => {
                ahead.extend(
                    items.iter().enumerate().map(|(index, item)| (place.below(format_args!("[{index}]")), item)),
                );
            }
            serde_json::Value::Object(fields) => {
                ahead.extend(fields.iter().map(|(key, field)| (place.below(format_args!(".{key}")), field)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that a condition can be read, with a word in the place of each tag.
fn check_when(report: &mut Report, place: &Place, when: &str) -> Outcome {
    let mut plain = String::new();
    for piece in tags::pieces(when) {
        match piece {
            Piece::Text(text) => plain.push_str(text),
            Piece::Tag(_) => plain.push_str("tag"),
        }
    }
    match when::evaluate(&plain) {
        // What the tags hold may make it readable.
        Err(WhenError::Invalid { reason, .. }) if plain != when => {
            report.warning(place, format!("Invalid 'when' expression '{when}': {reason}"))
        }
        Err(error) if plain == when => report.error(place, error.to_string()),
        _ => Ok(()),
    }
}

/// Warns of templates that call themselves, directly or not, whatever happens.
fn check_recursion(report: &mut Report, place: &Place, spec: &WorkflowSpec) -> Outcome {
    let nowhere = Place::default();
    let always = |task: &&Task| task.when.is_empty() && task.with_param.is_empty() && task.depends.is_empty();
    let edges: HashMap<&str, Vec<&str>> = spec
        .templates
        .iter()
        .map(|template| {
            let calls = calls(template, &nowhere).into_iter().map(|(task, _)| task).filter(always);
            (template.name.as_str(), calls.map(|task| task.template.as_str()).collect())
        })
        .collect();
    for (index, template) in spec.templates.iter().enumerate() {
        let name = template.name.as_str();
        if graph::leads_to(&edges, name, name) {
            let message = format!("template '{name}' calls itself without a condition: it will not end");
            report.warning(&place.below(format_args!(".templates[{index}]")), message)?;
        }
    }
    Ok(())
}
