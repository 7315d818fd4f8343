//! Arguments: what is given to a workflow, step or task, and whether it is what the template asks for.

use std::collections::BTreeMap;

use tiphys_api::{Arguments, Artifact, Parameter, Template};
use tiphys_expr::template::{Layered, TemplateError, replace};

use super::location;
use super::names::{self, Rule};
use super::report::{Outcome, Place, Report};
use super::scope::Globals;

/// Where a template's inputs come from.
#[derive(Clone, Copy)]
pub(super) enum Supply<'a> {
    /// Anything that is asked for, as placeholders.
    Anything,
    /// What was written.
    Given(&'a Arguments),
}

/// Checks arguments. `prefix` begins the messages and ends with a dot.
pub(super) fn check(
    report: &mut Report,
    place: &Place,
    prefix: &str,
    arguments: &Arguments,
    allow_empty: bool,
) -> Outcome {
    let parameters = place.below(".parameters");
    let given = arguments.parameters.iter().map(|parameter| parameter.name.as_str());
    names::check(report, &parameters, &format!("{prefix}parameters"), Rule::Value, given)?;
    let artifacts = place.below(".artifacts");
    let given = arguments.artifacts.iter().map(|artifact| artifact.name.as_str());
    names::check(report, &artifacts, &format!("{prefix}artifacts"), Rule::Value, given)?;

    for (index, parameter) in arguments.parameters.iter().enumerate() {
        let place = parameters.below(format_args!("[{index}]"));
        check_parameter(report, &place, &format!("{prefix}{}", parameter.name), parameter, allow_empty)?;
    }
    for (index, artifact) in arguments.artifacts.iter().enumerate() {
        let place = artifacts.below(format_args!("[{index}]"));
        let name = format!("{prefix}{}", artifact.name);
        if artifact.from.is_empty() && !location::is_located(artifact) {
            report.error(&place, format!("{name}.from, artifact location, or key is required"))?;
        }
        if !artifact.from.is_empty() && !artifact.from_expression.is_empty() {
            report.error(&place, format!("{name} shouldn't have both `from` and `fromExpression` in Artifact"))?;
        }
    }
    Ok(())
}

fn check_parameter(
    report: &mut Report,
    place: &Place,
    name: &str,
    parameter: &Parameter,
    allow_empty: bool,
) -> Outcome {
    if parameter.value.is_none() && parameter.value_from.is_none() && !allow_empty {
        report.error(place, format!("{name}.value or {name}.valueFrom is required"))?;
    }
    if let Some(from) = &parameter.value_from {
        let allowed = from.config_map_key_ref.is_some() || !from.event.is_empty() || from.supplied.is_some();
        let others = [&from.path, &from.json_path, &from.parameter, &from.expression];
        if !allowed || others.iter().any(|other| !other.is_empty()) {
            let message = format!("{name}.valueFrom only allows: default, configMapKeyRef and supplied");
            report.error(&place.below(".valueFrom"), message)?;
        }
    }
    if !parameter.r#enum.is_empty() {
        match &parameter.value {
            Some(value) if !parameter.r#enum.contains(value) => {
                let message = format!("{name}.value should be present in {name}.enum list");
                report.error(&place.below(".value"), message)?;
            }
            None if !allow_empty => report.error(place, format!("{name}.value is required"))?,
            _ => {}
        }
    }
    Ok(())
}

/// Hands arguments to a template and fills in what is known of its tags. argo: workflow/common/util.go, ProcessArgs.
///
/// None: an input is missing, which was reported at `caller`. Without `fills`, tags stay: the inputs are only compared.
pub(super) fn supply(
    report: &mut Report,
    caller: &Place,
    template: &Template,
    supply: Supply<'_>,
    globals: &mut Globals,
    fills: bool,
) -> Outcome<Option<Template>> {
    let mut supplied = template.clone();
    let mut missing = false;
    for input in &mut supplied.inputs.parameters {
        if input.value.is_none() {
            input.value = input.default.clone();
        }
        match supply {
            Supply::Anything => {
                input.value = Some(globals.placeholder().into());
                input.value_from = None;
            }
            Supply::Given(arguments) => {
                if let Some(argument) = arguments.parameter(&input.name) {
                    input.value = argument.value.clone();
                    input.value_from = argument.value_from.clone().filter(|_| argument.value.is_none());
                }
            }
        }
        let from_config_map = input.value_from.as_ref().is_some_and(|from| from.config_map_key_ref.is_some());
        if input.value.is_none() && !from_config_map {
            missing = true;
            report.error(
                caller,
                format!("templates.{} inputs.parameters.{} was not supplied", template.name, input.name),
            )?;
        }
    }
    for input in &mut supplied.inputs.artifacts {
        let argument = match supply {
            Supply::Anything => Some(Artifact { name: input.name.clone(), ..Artifact::default() }),
            Supply::Given(arguments) => arguments.artifact(&input.name).cloned(),
        };
        match argument {
            Some(argument) => {
                *input = Artifact {
                    path: std::mem::take(&mut input.path),
                    mode: input.mode,
                    recurse_mode: input.recurse_mode,
                    ..argument
                };
            }
            None if !input.optional && !location::is_located(input) => {
                missing = true;
                let message = format!("templates.{} inputs.artifacts.{} was not supplied", template.name, input.name);
                report.error(caller, message)?;
            }
            None => {}
        }
    }
    if missing {
        return Ok(None);
    }
    // Argo loses an empty list on the way, and with it the type.
    supplied.steps = supplied.steps.filter(|steps| !steps.is_empty());
    if !fills {
        return Ok(Some(supplied));
    }
    match fill(&supplied, globals) {
        Ok(filled) => Ok(Some(filled)),
        Err(error) => {
            report.error(caller, format!("templates.{} {error}", template.name))?;
            Ok(None)
        }
    }
}

/// Why known tags could not be filled in.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Fills in globals, then inputs and paths, which may themselves have held globals.
fn fill(template: &Template, globals: &mut Globals) -> Result<Template, FillError> {
    let json = serde_json::to_string(template)?;
    if !json.contains("{{") {
        return Ok(template.clone());
    }
    let mut locals: BTreeMap<String, String> = BTreeMap::new();
    if template.is_pod() {
        locals.insert("pod.name".to_string(), globals.placeholder());
    }
    if template.retry_strategy.is_some() {
        for name in RETRIES {
            locals.insert(name.to_string(), globals.placeholder());
        }
    }
    let json = replace(&json, &Layered(&locals, &globals.values), true)?;
    let filled: Template = serde_json::from_str(&json)?;
    for input in &filled.inputs.parameters {
        if let Some(value) = &input.value {
            locals.insert(format!("inputs.parameters.{}", input.name), value.to_string());
        }
    }
    locals.insert("inputs.parameters".to_string(), serde_json::to_string(&filled.inputs.parameters)?);
    for (kind, artifacts) in [("inputs", &filled.inputs.artifacts), ("outputs", &filled.outputs.artifacts)] {
        for artifact in artifacts.iter().filter(|artifact| !artifact.path.is_empty()) {
            locals.insert(format!("{kind}.artifacts.{}.path", artifact.name), artifact.path.clone());
        }
    }
    for parameter in &filled.outputs.parameters {
        if let Some(from) = parameter.value_from.as_ref().filter(|from| !from.path.is_empty()) {
            locals.insert(format!("outputs.parameters.{}.path", parameter.name), from.path.clone());
        }
    }
    let json = replace(&json, &Layered(&locals, &globals.values), true)?;
    Ok(serde_json::from_str(&json)?)
}

/// What can be asked of earlier attempts.
pub(super) const RETRIES: &[&str] =
    &["retries", "lastRetry.exitCode", "lastRetry.status", "lastRetry.duration", "lastRetry.message"];
