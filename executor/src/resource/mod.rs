//! `resource ACTION`: an operation on Kubernetes objects, what must come of them, and what is read from them.
//!
//! argo: cmd/argoexec/commands/resource.go, workflow/executor/resource.go. There a whole kubectl works inside of argoexec;
//! here are its create, apply, patch, replace, delete and get, with the flags listed in [`flags`].
//!
//! Where a manifest holds several objects, the action is carried out on each in turn, then each must meet the conditions,
//! and output parameters are read from the last.

mod act;
mod apply;
mod conditions;
mod delete;
mod flags;
pub mod jq;
pub mod jsonpath;
mod kinds;
mod label;
mod manifest;
#[cfg(test)]
mod recorded;
pub mod selector;

use std::time::Duration;

use serde_json::Value;
use tiphys_api::{AnyString, Parameter, Template};

use crate::cluster::Cluster;
use act::{Acted, Work};
use conditions::Conditions;
use flags::{Action, Flags};
use manifest::Manifest;

/// Carries out a resource template's action, waits for its conditions, and returns the output parameters with their
/// values. `interval` is the pause between two looks at an object whose changes cannot be watched.
///
/// # Errors
/// The text for the user; that of a failed action is Argo's and kubectl's.
pub async fn run(
    cluster: &Cluster,
    action: &str,
    template: &Template,
    interval: Duration,
) -> Result<Vec<Parameter>, String> {
    let action = Action::parse(action)?;
    let resource = template.resource.as_ref().ok_or("the template is no resource template")?;
    let parameters = &template.outputs.parameters;
    let has_conditions = !resource.success_condition.is_empty() || !resource.failure_condition.is_empty();
    if action == Action::Delete && (has_conditions || !parameters.is_empty()) {
        return Err("successCondition, failureCondition and outputs are not supported for delete action".to_owned());
    }
    // What cannot be read must not be found out after the action.
    let conditions = Conditions::parse(&resource.success_condition, &resource.failure_condition)?;
    let templates = parse_paths(parameters)?;
    let flags = Flags::parse(action, &resource.flags)?;
    let manifest = Manifest::of(resource, &template.inputs.artifacts)?;
    let work = Work { cluster, action, flags: &flags, manifest: &manifest, merge_strategy: &resource.merge_strategy };
    let mut acted = work.run().await.map_err(|reason| match reason.starts_with("Must provide") {
        true => reason,
        false => format!("no more retries {reason}"),
    })?;
    for one in &acted {
        tracing::info!("{action} {}/{} in namespace {:?}", one.resource.shown(), one.name, one.namespace);
    }
    if let Some(conditions) = conditions {
        for one in &mut acted {
            one.object = conditions.wait(cluster, one, interval).await?;
        }
    }
    values(parameters, templates, acted.last())
}

/// The parsed jsonPath of each parameter that has one.
fn parse_paths(parameters: &[Parameter]) -> Result<Vec<Option<jsonpath::Template>>, String> {
    let paths = parameters.iter().map(|parameter| {
        let path = parameter.value_from.as_ref().map(|from| from.json_path.as_str()).filter(|path| !path.is_empty());
        path.map(|path| {
            jsonpath::Template::parse(path).map_err(|reason| {
                format!("output parameter {:?}: error: error parsing jsonpath {path}, {reason}", parameter.name)
            })
        })
        .transpose()
    });
    paths.collect()
}

/// The parameters with what the object gives; their defaults where there is no object (argo: SaveResourceParameters).
fn values(
    parameters: &[Parameter],
    templates: Vec<Option<jsonpath::Template>>,
    acted: Option<&Acted>,
) -> Result<Vec<Parameter>, String> {
    let mut parameters = parameters.to_vec();
    for (parameter, template) in parameters.iter_mut().zip(templates) {
        let Some(from) = &parameter.value_from else {
            continue;
        };
        let failed = |reason: String| format!("output parameter {:?}: {reason}", parameter.name);
        let value = match (acted, template) {
            (None, _) => from.default.as_ref().map(ToString::to_string).unwrap_or_default(),
            (Some(acted), Some(template)) => rendered(&template, &from.json_path, &acted.object).map_err(failed)?,
            (Some(acted), None) if !from.jq_filter.is_empty() => {
                jq::filter(&from.jq_filter, &acted.object).map_err(failed)?
            }
            (Some(_), None) => continue,
        };
        parameter.value = Some(AnyString(value));
    }
    Ok(parameters)
}

fn rendered(template: &jsonpath::Template, path: &str, object: &Value) -> Result<String, String> {
    let rendered = template.render(object);
    rendered.map_err(|reason| format!("error executing jsonpath {path:?}: Error executing template: {reason}"))
}
