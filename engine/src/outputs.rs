//! Outputs of steps and DAGs, and what is exported to the workflow. argo: getTemplateOutputsFromScope.

use serde_json::Value;
use tiphys_api::{Artifact, Outputs, Parameter, Template};
use tiphys_expr::lang;
use tiphys_expr::template::Variables;

use crate::run::{Run, Stop};
use crate::scope::Scope;

/// The outputs that a composite template declares, from what its children gave; None where it declares none.
pub(crate) fn template_outputs(template: &Template, scope: &Scope<'_>) -> Result<Option<Outputs>, Stop> {
    let declared = &template.outputs;
    if declared.parameters.is_empty() && declared.artifacts.is_empty() && declared.result.is_none() {
        return Ok(None);
    }
    let mut outputs = Outputs::default();
    for parameter in &declared.parameters {
        outputs.parameters.push(output_parameter(parameter, scope)?);
    }
    for artifact in &declared.artifacts {
        if artifact.from.is_empty() && artifact.from_expression.is_empty() {
            continue;
        }
        match scope.resolve_artifact(artifact) {
            Ok(found) => outputs.artifacts.push(Artifact { name: artifact.name.clone(), ..found }),
            Err(Stop::Failed(message)) if message.contains("Unable to resolve") && artifact.optional => {}
            Err(Stop::Failed(message)) => {
                return Err(Stop::Failed(format!("unable to resolve outputs from scope: {message}")));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(Some(outputs))
}

fn output_parameter(parameter: &Parameter, scope: &Scope<'_>) -> Result<Parameter, Stop> {
    let Some(from) = &parameter.value_from else {
        return Err(Stop::Failed("output parameters must have a valueFrom specified".into()));
    };
    let found = if from.expression.is_empty() {
        by_reference(&from.parameter, scope)
    } else {
        by_expression(&from.expression, scope)
    };
    let value = match (found, &from.default) {
        (Ok(Some(value)), _) => value,
        (Ok(None) | Err(_), Some(default)) => default.0.clone(),
        (Err(stop), None) => return Err(stop),
        (Ok(None), None) => {
            return Err(Stop::Failed(format!(
                "output parameter \"{}\": \"{}\" is an absent optional (skipped/omitted node output with no default)",
                parameter.name, from.parameter
            )));
        }
    };
    Ok(Parameter { value: Some(value.into()), value_from: None, ..parameter.clone() })
}

/// None: an output that is known but absent.
fn by_reference(text: &str, scope: &Scope<'_>) -> Result<Option<String>, Stop> {
    if text.is_empty() {
        return Ok(Some(String::new()));
    }
    let tag = text.strip_prefix("{{").unwrap_or(text);
    let tag = tag.strip_suffix("}}").unwrap_or(tag).trim();
    if let Some(expression) = tiphys_expr::template::expression_of(tag) {
        return by_expression(expression, scope);
    }
    match scope.get(tag) {
        Some(value) => Ok(value.map(std::borrow::Cow::into_owned)),
        None => Err(Stop::Failed(format!("Unable to resolve: \"{tag}\""))),
    }
}

fn by_expression(expression: &str, scope: &Scope<'_>) -> Result<Option<String>, Stop> {
    let value =
        lang::eval(expression, &lang::nested_env(scope, &[])).map_err(|error| Stop::Failed(error.to_string()))?;
    let json = value.to_json().map_err(|error| Stop::Failed(error.to_string()))?;
    match json {
        Value::Null => Err(Stop::Failed(format!("failed to evaluate expression \"{expression}\""))),
        Value::String(text) => Ok(Some(text)),
        other => Ok(Some(tiphys_expr::go::display_json(&other))),
    }
}

impl Run {
    /// Outputs with a `globalName` become the workflow's. argo: addOutputsToGlobalScope.
    pub(crate) fn export(&mut self, outputs: &Outputs) {
        for parameter in outputs.parameters.iter().filter(|parameter| !parameter.global_name.is_empty()) {
            let Some(value) = &parameter.value else { continue };
            let name = parameter.global_name.clone();
            self.globals.set(&format!("workflow.outputs.parameters.{name}"), value.as_str());
            let exported = Parameter { name, value: Some(value.clone()), ..Default::default() };
            let all = &mut self.wf.status.outputs.get_or_insert_default().parameters;
            match all.iter_mut().find(|known| known.name == exported.name) {
                Some(known) => *known = exported,
                None => all.push(exported),
            }
            self.out.status_changed = true;
        }
        for artifact in outputs.artifacts.iter().filter(|artifact| !artifact.global_name.is_empty()) {
            let name = artifact.global_name.clone();
            let exported = Artifact { name, global_name: String::new(), path: String::new(), ..artifact.clone() };
            let all = &mut self.wf.status.outputs.get_or_insert_default().artifacts;
            match all.iter_mut().find(|known| known.name == exported.name) {
                Some(known) => *known = exported,
                None => all.push(exported),
            }
            self.out.status_changed = true;
        }
    }
}
