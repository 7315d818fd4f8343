//! The containers that do the template's work (argo: operator.go, executeContainer and its siblings).

use serde_json::{Value, json};
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::{Container, Template, TemplateType};
use tiphys_contract::{container, path};

use crate::draft::parse;
use crate::error::Error;
use crate::executor;
use crate::input::Input;

/// The template's main containers, the configuration's defaults below them.
pub(crate) fn of(input: &Input<'_>, template: &Template) -> Result<Vec<Container>, Error> {
    let mut containers = written(input, template)?;
    for main in &mut containers {
        if main.name.is_empty() || template.container_set.is_none() {
            main.name = container::MAIN.into();
        }
        let own = user_container(std::mem::take(main));
        *main = match &input.config.main_container {
            Some(defaults) => {
                let merged = strategic_merge(&json!(defaults), &json!(own), Schema::Container)
                    .map_err(|source| Error::Merge { what: "mainContainer of the configuration", source })?;
                parse(merged, "mainContainer of the configuration")?
            }
            None => own,
        };
    }
    Ok(containers)
}

/// A container without the fields that Argo adds to Kubernetes'.
pub(crate) fn user_container(container: Container) -> Container {
    Container {
        resources: container.resources.or_else(|| Some(json!({}))),
        source: String::new(),
        dependencies: Vec::new(),
        mirror_volume_mounts: None,
        ..container
    }
}

fn written(input: &Input<'_>, template: &Template) -> Result<Vec<Container>, Error> {
    let no_pod = || Error::NoPod { template: template.name.clone() };
    Ok(match template.template_type().ok_or_else(no_pod)? {
        TemplateType::Container => template.container.as_deref().cloned().into_iter().collect(),
        TemplateType::Script => {
            let mut main = template.script.as_deref().cloned().unwrap_or_default();
            if !main.source.is_empty() {
                main.args.push(path::SCRIPT.into());
            }
            vec![main]
        }
        TemplateType::ContainerSet => {
            let set = template.container_set.as_deref().cloned().unwrap_or_default();
            let shared = parse(Value::Array(set.volume_mounts), "containerSet.volumeMounts").map(Vec::into_iter)?;
            let mut members = set.containers;
            for member in &mut members {
                member.volume_mounts.extend(shared.clone());
            }
            members
        }
        TemplateType::Resource => {
            let action = template.resource.as_ref().map_or("", |resource| resource.action.as_str());
            let mut main = executor::container(input, container::MAIN, template);
            main.command = executor::command(input.config, &["resource", action]);
            vec![main]
        }
        TemplateType::Data => {
            let data = serde_json::to_string(&template.data)
                .map_err(|error| Error::Shape { what: "data", reason: error.to_string() })?;
            let mut main = executor::container(input, container::MAIN, template);
            main.command = executor::command(input.config, &["data", &data]);
            vec![main]
        }
        TemplateType::Steps | TemplateType::Dag | TemplateType::Suspend | TemplateType::Http | TemplateType::Plugin => {
            return Err(no_pod());
        }
    })
}

/// Puts the workflow's owner reference into the manifest of a resource template that asks for it. The manifest becomes
/// JSON, which is YAML.
pub(crate) fn own_manifest(template: &mut Template, input: &Input<'_>) -> Result<(), Error> {
    let Some(resource) = template.resource.as_mut().filter(|resource| resource.set_owner_reference) else {
        return Ok(());
    };
    let bad = |reason: String| Error::Manifest { reason };
    let mut manifest = tiphys_api::yaml::to_json(&resource.manifest).map_err(|error| bad(error.to_string()))?;
    let Some(fields) = manifest.as_object_mut() else { return Err(bad("it is not an object".into())) };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return Err(bad("its metadata is no object".into())) };
    let owners = metadata.entry("ownerReferences").or_insert_with(|| json!([]));
    match owners {
        Value::Array(owners) => owners.extend(crate::metadata::owner(input)),
        _ => return Err(bad("its ownerReferences are no list".into())),
    }
    resource.manifest = manifest.to_string();
    Ok(())
}
