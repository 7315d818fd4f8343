//! The Pod's volumes (argo: workflowpod.go, createVolumes and addVolumeReferences).

use serde_json::{Value, json};
use tiphys_api::{Template, VolumeMount};
use tiphys_contract::container;

use crate::config::Layout;
use crate::draft::{Draft, empty_dir, parse};
use crate::error::Error;
use crate::executor::kube_config_volume;
use crate::input::Input;
use crate::{names, plugins, secrets};

/// Volumes that every Pod has, and the template's own.
pub(crate) fn add_base(draft: &mut Draft, input: &Input<'_>, template: &Template) {
    if let Some(kube_config) = input.config.kube_config.as_ref().filter(|_| !input.is_solo()) {
        let name = kube_config_volume(kube_config);
        draft.volumes.push(json!({"name": name, "secret": {"secretName": kube_config.secret_name}}));
    }
    if !input.is_solo() {
        draft.volumes.extend([empty_dir(names::VAR_RUN_VOLUME), empty_dir(names::TMP_VOLUME)]);
    }
    draft.volumes.extend(template.volumes.iter().cloned());
    if !input.is_solo() && input.config.layout == Layout::ImageVolume {
        let mut image = json!({"reference": input.config.executor_image});
        if !input.config.executor_image_pull_policy.is_empty() {
            image["pullPolicy"] = json!(input.config.executor_image_pull_policy);
        }
        draft.volumes.push(json!({"name": names::BINARY_VOLUME, "image": image}));
    }
}

/// The workflow's volumes that a container mounts, and those with the artifacts' Secrets.
pub(crate) fn add_references(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let extra =
        template.init_containers.iter().chain(&template.sidecars).flat_map(|container| &container.volume_mounts);
    for mount in shared_mounts(template)?.iter().chain(extra) {
        if find(&draft.volumes, &mount.name).is_some() {
            continue;
        }
        let volume = find(&input.request.volumes, &mount.name)
            .ok_or_else(|| Error::VolumeNotFound { name: mount.name.clone() })?;
        draft.volumes.push(volume.clone());
    }

    let (volumes, mounts) = secrets::volumes_and_mounts(template);
    draft.volumes.extend(volumes);
    if let Some(auxiliary) = draft.containers.iter_mut().find(|made| container::is_auxiliary(&made.name)) {
        auxiliary.volume_mounts.extend(mounts.clone());
    }
    if let Some(init) = draft.init_container_mut(container::INIT) {
        init.volume_mounts.extend(mounts.clone());
    }
    if template.data.is_some()
        && let Some(main) = draft.container_mut(container::MAIN)
    {
        main.volume_mounts.extend(mounts);
    }
    draft.volumes.extend(plugins::of_outputs(input, template).iter().map(|plugin| plugins::volume(plugin)));
    Ok(())
}

/// The mounts by which the executor reaches the user's volumes: those of the container, the script or the whole set.
pub(crate) fn shared_mounts(template: &Template) -> Result<Vec<VolumeMount>, Error> {
    if let Some(container) = template.container.as_ref().or(template.script.as_ref()) {
        return Ok(container.volume_mounts.clone());
    }
    match &template.container_set {
        Some(set) => parse(json!(set.volume_mounts), "containerSet.volumeMounts"),
        None => Ok(Vec::new()),
    }
}

fn find<'a>(volumes: &'a [Value], name: &str) -> Option<&'a Value> {
    volumes.iter().find(|volume| volume.get("name").and_then(Value::as_str) == Some(name))
}
