//! DAGs. argo: validate.go, validateDAG.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use tiphys_api::{Arguments, Dag, Task, Template};

use super::args::{self, Supply};
use super::depends::{self, Needs};
use super::graph::{self, Unordered};
use super::names::{self, Rule};
use super::report::{Outcome, Place, Report};
use super::scope::{Scope, Visible};
use super::steps;
use super::template::{Base, Call, Validation};

/// The tasks of a DAG, and what each needs.
struct Tasks<'t> {
    /// The template's name.
    template: &'t str,
    tasks: &'t [Task],
    needs: Vec<Needs<'t>>,
    /// The order in which they can run, where there is one.
    order: Vec<usize>,
}

pub(super) fn check(
    validation: &mut Validation<'_>,
    scope: &mut Scope,
    base: &Base<'_>,
    place: &Place,
    template: &Template,
) -> Outcome {
    let Some(dag) = &template.dag else { return Ok(()) };
    steps::check_not_leaf(&mut validation.report, place, template)?;
    if dag.tasks.is_empty() {
        let message = format!("templates.{} must have at least one task", template.name);
        return validation.report.error(&place.below(".dag"), message);
    }
    let place = place.below(".dag");
    let mut tasks = Tasks {
        template: &template.name,
        tasks: &dag.tasks,
        needs: dag.tasks.iter().map(depends::needs).collect(),
        order: (0..dag.tasks.len()).collect(),
    };
    tasks.sort(&mut validation.report, &place)?;
    let in_order = tasks.order.iter().map(|index| dag.tasks[*index].name.as_str());
    let prefix = format!("templates.{}.tasks", template.name);
    names::check(&mut validation.report, &place.below(".tasks"), &prefix, Rule::Field, in_order)?;

    let called = tasks.check_calls(validation, scope, base, &place)?;
    check_targets(validation, scope, &place, &template.name, dag)?;
    tasks.check_arguments(validation, scope, base, &place, &called)
}

impl<'t> Tasks<'t> {
    fn sort(&mut self, report: &mut Report, place: &Place) -> Outcome {
        let named: Vec<(&str, Vec<&str>)> = self
            .tasks
            .iter()
            .zip(&self.needs)
            .map(|(task, needs)| (task.name.as_str(), needs.iter().map(|need| need.task).collect()))
            .collect();
        let failed = format!("templates.{} sorting failed:", self.template);
        let place = |index: usize| place.below(format_args!(".tasks[{index}]"));
        match graph::order(&named) {
            Ok(order) => {
                self.order = order;
                Ok(())
            }
            Err(Unordered::Duplicate { index }) => {
                report.error(&place(index).below(".name"), format!("{failed} duplicated nodeName {}", named[index].0))
            }
            Err(Unordered::Cycle { index }) => {
                let needs: BTreeMap<&str, Vec<&str>> = named.into_iter().collect();
                let cycle = graph::cycle(&needs).unwrap_or_default();
                let hint = format!("the tasks wait for each other: {}", cycle.join(" -> "));
                report.error_with_hint(&place(index), format!("{failed} graph with cycle"), hint)
            }
            Err(Unordered::Unknown { .. }) => {
                let known: std::collections::HashSet<&str> = named.iter().map(|(name, _)| *name).collect();
                for (index, (_, needs)) in named.iter().enumerate() {
                    for unknown in needs.iter().filter(|need| !known.contains(*need)) {
                        let field = if self.tasks[index].depends.is_empty() { ".dependencies" } else { ".depends" };
                        report.error(&place(index).below(field), format!("{failed} invalid dependency {unknown}"))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Checks dependencies and templates, and notes what each task gives. The answer has an entry for each task.
    fn check_calls<'a: 'b, 'b>(
        &self,
        validation: &mut Validation<'a>,
        scope: &mut Scope,
        base: &Base<'b>,
        place: &Place,
    ) -> Outcome<Vec<Option<Cow<'b, Template>>>>
    where
        't: 'b,
    {
        let template = self.template;
        let uses_depends = self.tasks.iter().any(|task| !task.depends.is_empty());
        let by_name: HashMap<&str, &Task> = self.tasks.iter().map(|task| (task.name.as_str(), task)).collect();
        let mut called = vec![None; self.tasks.len()];
        for index in self.order.iter().copied() {
            let task = &self.tasks[index];
            let (name, place) = (&task.name, place.below(format_args!(".tasks[{index}]")));
            let report = &mut validation.report;
            let named_digit = name.starts_with(|c: char| c.is_ascii_digit());
            if named_digit && (uses_depends || !task.dependencies.is_empty()) {
                let message = format!(
                    "templates.{template}.tasks.{name} name cannot begin with a digit when using either 'depends' or 'dependencies'"
                );
                report.error(&place.below(".name"), message)?;
            }
            if uses_depends && !task.dependencies.is_empty() {
                let message = format!(
                    "templates.{template} cannot use both 'depends' and 'dependencies' in the same DAG template"
                );
                report.error(&place.below(".dependencies"), message)?;
            }
            if uses_depends && task.continue_on.is_some() {
                let message = format!(
                    "templates.{template} cannot use 'continueOn' when using 'depends'. Instead use 'dep-task.Failed'/'dep-task.Errored'"
                );
                report.error(&place.below(".continueOn"), message)?;
            }

            report.enter(format!("templates.{template}.tasks.{name}"));
            let outcome = validation.call(base, Call::from(task), &place, Supply::Anything);
            validation.report.leave();
            called[index] = outcome?;

            let aggregate = !task.with_items.is_empty() || !task.with_param.is_empty();
            let globals = &mut validation.globals;
            scope.add_node(globals, "tasks", name, called[index].as_deref(), aggregate);
            self.check_needs(&mut validation.report, &place, index, &by_name)?;
        }
        Ok(called)
    }

    fn check_needs(&self, report: &mut Report, place: &Place, index: usize, by_name: &HashMap<&str, &Task>) -> Outcome {
        let (template, task) = (self.template, &self.tasks[index]);
        for (of, result) in depends::unknown_results(&task.depends) {
            let message =
                format!("templates.{template}.tasks.{} task result '{result}' for task '{of}' is invalid", task.name);
            report.error(&place.below(".depends"), message)?;
        }
        for need in &self.needs[index] {
            let Some(needed) = by_name.get(need.task) else { continue };
            let loops =
                !needed.with_items.is_empty() || !needed.with_param.is_empty() || needed.with_sequence.is_some();
            if need.of_items && !loops {
                let message = format!(
                    "templates.{template}.tasks.{0} dependency '{0}' uses an items-based condition such as .AnySucceeded or .AllFailed but does not contain any items",
                    need.task
                );
                report.error(&place.below(".depends"), message)?;
            }
        }
        Ok(())
    }

    fn check_arguments(
        &self,
        validation: &mut Validation<'_>,
        scope: &mut Scope,
        base: &Base<'_>,
        place: &Place,
        called: &[Option<Cow<'_, Template>>],
    ) -> Outcome {
        let template = self.template;
        let needs: HashMap<&str, Vec<&str>> = self
            .tasks
            .iter()
            .zip(&self.needs)
            .map(|(task, needs)| (task.name.as_str(), needs.iter().map(|need| need.task).collect()))
            .collect();
        for index in self.order.iter().copied() {
            let task = &self.tasks[index];
            let place = place.below(format_args!(".tasks[{index}]"));
            let field = format!("templates.{template}.tasks.{}", task.name);
            if !task.hooks.is_empty() {
                scope.add(format!("tasks.{}.status", task.name));
            }
            let mut items = Scope::default();
            if let Err(wrong) = items.add_items(&task.with_items, &task.with_param, task.with_sequence.as_deref()) {
                validation.report.error(&place, format!("{field} {wrong}"))?;
            }
            let is_earlier = |name: &str| graph::is_ancestor(&needs, &task.name, name);
            let visible = Visible {
                scope,
                globals: &validation.globals,
                also: &|tag| {
                    let status = tag.strip_prefix("tasks.").and_then(|tag| tag.strip_suffix(".status"));
                    items.contains(tag) || steps::is_inline_input(task, tag) || status.is_some_and(is_earlier)
                },
                any_workflow_parameter: validation.of_template,
            };
            let json = serde_json::to_string(task).unwrap_or_default();
            visible.check(&mut validation.report, &place, &field, &json)?;
            let arguments = place.below(".arguments");
            args::check(&mut validation.report, &arguments, &format!("{field}.arguments."), &task.arguments, false)?;
            check_sources(&mut validation.report, &arguments, &field, &task.arguments, &is_earlier)?;
            if called[index].is_none() {
                continue;
            }
            validation.report.enter(field);
            let again = validation.call(base, Call::from(task), &place, Supply::Given(&task.arguments));
            validation.report.leave();
            again?;
        }
        Ok(())
    }
}

/// An argument may only come from a task that runs before.
fn check_sources(
    report: &mut Report,
    place: &Place,
    field: &str,
    arguments: &Arguments,
    is_earlier: &dyn Fn(&str) -> bool,
) -> Outcome {
    let source = |text: &'_ str| {
        let rest = text.strip_prefix("{{tasks.")?;
        let task = rest.split('.').next().unwrap_or_default();
        (!is_earlier(task)).then(|| task.to_string())
    };
    for (index, parameter) in arguments.parameters.iter().enumerate() {
        if let Some(task) = parameter.value.as_ref().and_then(|value| source(value.as_str())) {
            let message = format!("{field} missing dependency '{task}' for parameter '{}'", parameter.name);
            report.error(&place.below(format_args!(".parameters[{index}].value")), message)?;
        }
    }
    for (index, artifact) in arguments.artifacts.iter().enumerate() {
        if let Some(task) = source(&artifact.from) {
            let message = format!("{field} missing dependency '{task}' for artifact '{}'", artifact.name);
            report.error(&place.below(format_args!(".artifacts[{index}].from")), message)?;
        }
    }
    Ok(())
}

fn check_targets(validation: &mut Validation<'_>, scope: &Scope, place: &Place, template: &str, dag: &Dag) -> Outcome {
    let place = place.below(".target");
    let json = serde_json::Value::from(dag.target.as_str()).to_string();
    let visible = Visible {
        scope,
        globals: &validation.globals,
        also: &|_| false,
        any_workflow_parameter: validation.of_template,
    };
    visible.check(&mut validation.report, &place, &format!("templates.{template}.targets"), &json)?;
    if dag.target.is_empty() {
        return Ok(());
    }
    for target in dag.target.split(' ').filter(|target| !names::holds_parameter(target)) {
        if dag.tasks.iter().all(|task| task.name != target) {
            let message = format!("templates.{template}.targets: target '{target}' is not defined");
            validation.report.error(&place, message)?;
        }
    }
    Ok(())
}
