//! Steps. argo: validate.go, validateSteps.

use std::collections::{BTreeMap, HashSet};

use tiphys_api::{LifecycleHook, Task, Template};

use super::args::{self, Supply};
use super::names;
use super::report::{Outcome, Place, Report};
use super::scope::{Scope, Visible};
use super::template::{Base, Call, Validation};

pub(super) fn check(
    validation: &mut Validation<'_>,
    scope: &mut Scope,
    base: &Base<'_>,
    place: &Place,
    template: &Template,
) -> Outcome {
    check_not_leaf(&mut validation.report, place, template)?;
    let mut seen = HashSet::new();
    for (group, steps) in template.steps.iter().flatten().enumerate() {
        for (index, step) in steps.iter().enumerate() {
            let place = place.below(format_args!(".steps[{group}][{index}]"));
            if check_name(&mut validation.report, &place, &template.name, group, step, &mut seen)? {
                check_step(validation, scope, base, &place, &template.name, group, step)?;
            }
        }
    }
    Ok(())
}

/// Steps and DAGs take no deadline of their own.
pub(super) fn check_not_leaf(report: &mut Report, place: &Place, template: &Template) -> Outcome {
    if template.active_deadline_seconds.is_none() {
        return Ok(());
    }
    let message = format!("templates.{}.activeDeadlineSeconds is only valid for leaf templates", template.name);
    report.error(&place.below(".activeDeadlineSeconds"), message)
}

/// False where there is no name to speak of the step by.
fn check_name<'t>(
    report: &mut Report,
    place: &Place,
    template: &str,
    group: usize,
    step: &'t Task,
    seen: &mut HashSet<&'t str>,
) -> Outcome<bool> {
    let name = step.name.as_str();
    let field = format!("templates.{template}.steps[{group}].name");
    if name.is_empty() {
        report.error(place, format!("{field} is required"))?;
        return Ok(false);
    }
    if !seen.insert(name) {
        report.error(&place.below(".name"), format!("{field} '{name}' is not unique"))?;
    }
    if let Some(wrong) = names::step(name) {
        report.error(&place.below(".name"), format!("{field} '{name}' is invalid: {wrong}"))?;
    }
    Ok(true)
}

fn check_step(
    validation: &mut Validation<'_>,
    scope: &mut Scope,
    base: &Base<'_>,
    place: &Place,
    template: &str,
    group: usize,
    step: &Task,
) -> Outcome {
    let name = &step.name;
    let field = format!("templates.{template}.steps[{group}].{name}");
    scope.add(format!("steps.{name}.status"));
    if let Err(wrong) = scope.add_items(&step.with_items, &step.with_param, step.with_sequence.as_deref()) {
        validation.report.error(place, format!("{field} {wrong}"))?;
    }
    args::check(
        &mut validation.report,
        &place.below(".arguments"),
        &format!("{field}.arguments."),
        &step.arguments,
        false,
    )?;

    validation.report.enter(field.clone());
    let called = validation.call(base, Call::from(step), place, Supply::Anything);
    validation.report.leave();
    let called = called?;

    if !step.on_exit.is_empty() || step.hooks.contains_key("exit") {
        scope.add_node(&mut validation.globals, "steps", name, called.as_deref(), false);
    }
    check_hooks(&mut validation.report, &place.below(".hooks"), &field, &step.hooks)?;
    check_tags(validation, scope, place, template, step)?;

    let aggregate = !step.with_items.is_empty() || !step.with_param.is_empty();
    scope.add_node(&mut validation.globals, "steps", name, called.as_deref(), aggregate);

    if called.is_none() {
        return Ok(());
    }
    validation.report.enter(field);
    let again = validation.call(base, Call::from(step), place, Supply::Given(&step.arguments));
    validation.report.leave();
    again.map(drop)
}

fn check_tags(validation: &mut Validation<'_>, scope: &Scope, place: &Place, template: &str, step: &Task) -> Outcome {
    let json = serde_json::to_string(step).unwrap_or_default();
    let visible = Visible {
        scope,
        globals: &validation.globals,
        also: &|tag| is_inline_input(step, tag),
        any_workflow_parameter: validation.of_template,
    };
    visible.check(&mut validation.report, place, &format!("templates.{template}.steps"), &json)
}

/// Whether a tag names an input of the template that is written in the step itself.
pub(super) fn is_inline_input(task: &Task, tag: &str) -> bool {
    let Some(name) = tag.strip_prefix("inputs.parameters.") else { return false };
    task.inline.as_ref().is_some_and(|inline| inline.inputs.parameter(name).is_some())
}

/// Hooks other than `exit` need an expression. `name` begins the messages.
pub(super) fn check_hooks(
    report: &mut Report,
    place: &Place,
    name: &str,
    hooks: &BTreeMap<String, LifecycleHook>,
) -> Outcome {
    for hook in hooks.iter().filter(|(hook, of)| *hook != "exit" && of.expression.is_empty()).map(|(hook, _)| hook) {
        report.error(&place.below(format_args!(".{hook}")), format!("{name}.{hook} Expression required"))?;
    }
    Ok(())
}
