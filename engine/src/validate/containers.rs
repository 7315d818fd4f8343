//! Leaf templates: containers, scripts, container sets, resources. argo: validate.go, validateLeaf.

use tiphys_api::{ContainerSet, IntOrString, Resource, Template};

use super::graph;
use super::names::{self, Rule};
use super::report::{Outcome, Place, Report};
use super::scope::PLACEHOLDER;

/// What the workflow or template around a leaf gives for its image.
#[derive(Clone, Copy, Default)]
pub(super) struct DefaultImages {
    pub(super) container: bool,
    pub(super) script: bool,
}

/// Checks a leaf in which the known tags have been filled in.
pub(super) fn check(report: &mut Report, place: &Place, template: &Template, defaults: DefaultImages) -> Outcome {
    let name = &template.name;
    if let Some(container) = &template.container {
        check_mounts(report, place, template)?;
        if container.image.is_empty() && !defaults.container {
            report.error(&place.below(".container"), format!("templates.{name}.container.image may not be empty"))?;
        }
    }
    if let Some(set) = &template.container_set {
        check_container_set(report, &place.below(".containerSet"), template, set)?;
    }
    for (index, sidecar) in template.sidecars.iter().enumerate().filter(|(_, sidecar)| is_reserved(&sidecar.name)) {
        let message = format!("templates.{name}.sidecars: {:?} is a reserved Argo container name", sidecar.name);
        report.error(&place.below(format_args!(".sidecars[{index}].name")), message)?;
    }
    if let Some(resource) = &template.resource {
        check_resource(report, &place.below(".resource"), template, resource)?;
    }
    if let Some(script) = &template.script
        && script.image.is_empty()
        && !defaults.script
    {
        report.error(&place.below(".script"), format!("templates.{name}.script.image may not be empty"))?;
    }
    if let Some(deadline) = &template.active_deadline_seconds
        && !is_deadline(deadline)
    {
        let message =
            format!("templates.{name}.activeDeadlineSeconds must be a positive integer > 0 or an argo variable");
        report.error(&place.below(".activeDeadlineSeconds"), message)?;
    }
    if template.parallelism.is_some() {
        let message = format!("templates.{name}.parallelism is only valid for steps and dag templates");
        report.error(&place.below(".parallelism"), message)?;
    }
    Ok(())
}

fn is_deadline(deadline: &IntOrString) -> bool {
    match deadline {
        IntOrString::Int(seconds) => *seconds >= 0,
        IntOrString::String(text) => match text.parse::<i64>() {
            Ok(seconds) => seconds >= 0,
            Err(_) => text.starts_with("{{") && text.ends_with("}}") || text.starts_with(PLACEHOLDER),
        },
    }
}

fn check_mounts(report: &mut Report, place: &Place, template: &Template) -> Outcome {
    let Some(container) = &template.container else { return Ok(()) };
    let name = &template.name;
    let mounts = container.volume_mounts.iter().enumerate().map(|(index, mount)| {
        (
            format!("container.volumeMounts[{index}].mountPath"),
            &mount.mount_path,
            format!("container.volumeMounts.{}", mount.name),
        )
    });
    let artifacts = template.inputs.artifacts.iter().enumerate().map(|(index, artifact)| {
        (format!("inputs.artifacts[{index}].path"), &artifact.path, format!("inputs.artifacts.{}", artifact.name))
    });
    let mut mounted = std::collections::HashMap::new();
    for (field, path, what) in mounts.chain(artifacts) {
        if let Some(earlier) = mounted.get(path) {
            let message = format!("templates.{name}.{field} '{path}' already mounted in {earlier}");
            report.error(&place.below(format_args!(".{field}")), message)?;
        }
        mounted.insert(path, what);
    }
    Ok(())
}

fn check_container_set(report: &mut Report, place: &Place, template: &Template, set: &ContainerSet) -> Outcome {
    let prefix = format!("templates.{}.containerSet", template.name);
    if set.containers.is_empty() {
        report.error(place, format!("{prefix}.containers must have at least one container"))?;
    }
    let containers = place.below(".containers");
    let given = set.containers.iter().map(|container| container.name.as_str());
    names::check(report, &containers, &format!("{prefix}.containers"), Rule::Field, given)?;
    let mut mounted = std::collections::HashMap::new();
    for (index, mount) in set.volume_mounts.iter().enumerate() {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        if let Some(earlier) = mounted.get(path) {
            let field = format!("volumeMounts[{index}].mountPath");
            let message = format!("{prefix}.{field} '{path}' already mounted in volumeMounts.{earlier}");
            report.error(&place.below(format_args!(".{field}")), message)?;
        }
        mounted.insert(path, mount["name"].as_str().unwrap_or_default());
    }
    for (index, container) in set.containers.iter().enumerate() {
        for needed in container.dependencies.iter().filter(|n| set.containers.iter().all(|c| c.name != **n)) {
            let message = format!("{prefix}.containers.{} dependency '{needed}' not defined", container.name);
            report.error(&containers.below(format_args!("[{index}].dependencies")), message)?;
        }
    }
    let needs = set.containers.iter().map(|c| (c.name.as_str(), c.dependencies.iter().map(String::as_str).collect()));
    if let Some(cycle) = graph::cycle(&needs.collect()) {
        report.error(&containers, format!("{prefix}.containers dependency cycle detected: {}", cycle.join("->")))?;
    }
    let passes = !template.inputs.artifacts.is_empty()
        || !template.outputs.parameters.is_empty()
        || !template.outputs.artifacts.is_empty();
    if passes && set.containers.iter().all(|container| container.name != "main") {
        let message = format!("{prefix}.containers must have a container named \"main\" for input or output");
        report.error(&containers, message)?;
    }
    for (index, container) in set.containers.iter().enumerate().filter(|(_, container)| is_reserved(&container.name)) {
        let message = format!("{prefix}.containers: {:?} is a reserved Argo container name", container.name);
        report.error(&containers.below(format_args!("[{index}].name")), message)?;
    }
    Ok(())
}

/// Names of containers that the controller adds to Pods. argo: workflow/common/common.go, IsArgoSidecar.
fn is_reserved(name: &str) -> bool {
    matches!(name, "wait" | "supervisor") || name.starts_with("artifact-plugin-")
}

fn check_resource(report: &mut Report, place: &Place, template: &Template, resource: &Resource) -> Outcome {
    const ACTIONS: &[&str] = &["get", "create", "apply", "delete", "replace", "patch"];
    let name = &template.name;
    if !ACTIONS.contains(&resource.action.as_str()) && !resource.action.starts_with(PLACEHOLDER) {
        let message = format!("templates.{name}.resource.action must be one of: {}", ACTIONS.join(", "));
        report.error(&place.below(".action"), message)?;
    }
    if matches!(resource.action.as_str(), "get" | "delete") {
        return Ok(());
    }
    match (&resource.manifest_from, resource.manifest.as_str()) {
        (None, "") => {
            let message = format!(
                "either templates.{name}.resource.manifest or templates.{name}.resource.manifestFrom must be specified"
            );
            report.error(place, message)?;
        }
        (Some(from), "") => {
            if let Some(artifact) = &from.artifact
                && template.inputs.artifact(&artifact.name).is_none()
            {
                let message = format!("artifact {} in `manifestFrom` refer to a non-exist artifact", artifact.name);
                report.error(&place.below(".manifestFrom"), message)?;
            }
        }
        (Some(_), _) => {
            let message =
                "shouldn't have both `manifest` and `manifestFrom` specified in `Manifest` for resource template";
            report.error(place, message)?;
        }
        (None, manifest) if manifest.starts_with(PLACEHOLDER) => {}
        (None, manifest) => {
            if tiphys_api::yaml::to_json(&without_expressions(manifest)).is_err() {
                let message = format!("templates.{name}.resource.manifest must be a valid yaml");
                report.error(&place.below(".manifest"), message)?;
            }
        }
    }
    Ok(())
}

/// A manifest in which each `{{=…}}`, whose value is not known yet, stands as plain text.
fn without_expressions(manifest: &str) -> String {
    let mut plain = String::new();
    for piece in super::tags::pieces(manifest) {
        match piece {
            super::tags::Piece::Text(text) => plain.push_str(text),
            super::tags::Piece::Tag(tag) if tag.trim_start().starts_with('=') => plain.push_str(PLACEHOLDER),
            super::tags::Piece::Tag(tag) => plain.push_str(&format!("{{{{{tag}}}}}")),
        }
    }
    plain
}
