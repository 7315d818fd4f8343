//! Artifact plugins: containers that load and save artifacts over a socket (argo: workflowpod.go, artifactContainer,
//! addArtifactPluginsLegacy, addArtifactPluginsInitless; workflow_types.go, GetPluginNames).

use std::collections::BTreeSet;

use serde_json::Value;
use tiphys_api::{Artifact, Container, PluginArtifact, Template, VolumeMount};
use tiphys_contract::{container, env};

use crate::archive::saves_logs;
use crate::artifacts::executor_mounts;
use crate::config::{Layout, PodConfig};
use crate::draft::{Draft, empty_dir, mount, mount_read_only, variable};
use crate::error::Error;
use crate::executor;
use crate::input::Input;
use crate::names;

/// Plugins that load the template's inputs, by name.
pub(crate) fn of_inputs(input: &Input<'_>, template: &Template) -> BTreeSet<String> {
    of_artifacts(&template.inputs.artifacts, input, template)
}

/// Plugins that save the template's outputs and logs, by name.
pub(crate) fn of_outputs(input: &Input<'_>, template: &Template) -> BTreeSet<String> {
    let mut plugins = of_artifacts(&template.outputs.artifacts, input, template);
    let repository = &input.config.artifact_repository;
    if (repository.archive_logs == Some(true) || input.config.archive_logs)
        && let Some(plugin) = &repository.plugin
    {
        plugins.insert(plugin.name.clone());
    }
    // Where only the workflow or the template asks for logs, Argo forgets their plugin.
    let archive = template.archive_location.as_ref().filter(|_| saves_logs(template));
    plugins.extend(archive.and_then(|location| location.plugin.as_ref()).map(|plugin| plugin.name.clone()));
    plugins
}

/// An artifact's own plugin, else the archive location's, else the repository's.
fn of_artifacts(artifacts: &[Artifact], input: &Input<'_>, template: &Template) -> BTreeSet<String> {
    let archive = template.archive_location.as_ref().and_then(|location| location.plugin.as_ref());
    let repository = input.config.artifact_repository.plugin.as_ref();
    artifacts
        .iter()
        .filter_map(|artifact| {
            let own = artifact.plugin.as_ref().map(|plugin| &plugin.name);
            let names = [own, archive.map(|plugin| &plugin.name), repository.map(|plugin| &plugin.name)];
            names.into_iter().flatten().find(|name| !name.is_empty()).cloned()
        })
        .collect()
}

/// Puts the configured connection timeout where a plugin artifact has none.
pub(crate) fn fill_timeouts(template: &mut Template, config: &PodConfig) {
    let fill = |plugin: &mut PluginArtifact| {
        if let (0, Some(driver)) = (plugin.connection_timeout_seconds, config.artifact_drivers.get(&plugin.name)) {
            plugin.connection_timeout_seconds = driver.connection_timeout_seconds;
        }
    };
    let artifacts = template.inputs.artifacts.iter_mut().chain(&mut template.outputs.artifacts);
    let locations = template.archive_location.iter_mut().filter_map(|location| location.plugin.as_deref_mut());
    artifacts.filter_map(|artifact| artifact.plugin.as_deref_mut()).chain(locations).for_each(fill);
}

/// The volume with a plugin's socket.
pub(crate) fn volume(plugin: &str) -> Value {
    empty_dir(&format!("{}{plugin}", container::ARTIFACT_PLUGIN_PREFIX))
}

/// Init containers that load inputs (legacy layout).
pub(crate) fn init_containers(input: &Input<'_>, template: &Template) -> Result<Vec<Container>, Error> {
    of_inputs(input, template)
        .iter()
        .map(|plugin| {
            let name = format!("{}{plugin}", container::INIT_ARTIFACT_PLUGIN_PREFIX);
            plugin_container(input, template, plugin, &name, &["artifact-plugin-init", "--plugin-name", plugin])
        })
        .collect()
}

/// Sidecars that save outputs (without an init container: load inputs too).
pub(crate) fn add_sidecars(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    match input.config.layout {
        Layout::Legacy => add_legacy(draft, input, template),
        Layout::ImageVolume => add_initless(draft, input, template),
    }
}

fn add_legacy(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let plugins = of_outputs(input, template);
    let sidecars = plugins.iter().map(|plugin| sidecar(input, template, plugin)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = sidecars.iter().map(|sidecar| sidecar.name.clone()).collect();
    draft.containers.extend(sidecars);
    if let Some(wait) = draft.container_mut(container::WAIT) {
        wait.volume_mounts.extend(plugins.iter().map(|plugin| socket_mount(plugin)));
        wait.env.push(variable(env::ARTIFACT_PLUGIN_NAMES, names.join(",")));
    }
    Ok(())
}

fn add_initless(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let (inputs, outputs) = (of_inputs(input, template), of_outputs(input, template));
    let all: Vec<&String> = inputs.union(&outputs).collect();
    // Without a supervisor nobody would talk to the plugins.
    if all.is_empty() || draft.container(container::SUPERVISOR).is_none() {
        return Ok(());
    }
    draft.volumes.extend(inputs.difference(&outputs).map(|plugin| volume(plugin)));
    let mut names = Vec::new();
    for plugin in &all {
        let mut made = sidecar(input, template, plugin)?;
        made.volume_mounts.push(binary_mount());
        if !template.inputs.artifacts.is_empty() {
            made.volume_mounts.extend(executor_mounts(template)?);
        }
        names.push(made.name.clone());
        draft.containers.push(made);
    }
    if let Some(supervisor) = draft.container_mut(container::SUPERVISOR) {
        supervisor.volume_mounts.extend(all.iter().map(|plugin| socket_mount(plugin)));
        supervisor.env.push(variable(env::ARTIFACT_PLUGIN_NAMES, names.join(",")));
        if !inputs.is_empty() {
            let inputs: Vec<String> = inputs.into_iter().collect();
            supervisor.env.push(variable(names::INPUT_PLUGIN_NAMES, inputs.join(",")));
        }
    }
    Ok(())
}

/// The mount of the executor's image, for containers of other images.
pub(crate) fn binary_mount() -> VolumeMount {
    mount_read_only(names::BINARY_VOLUME, tiphys_contract::path::IMAGE_VOLUME)
}

pub(crate) fn sidecar(input: &Input<'_>, template: &Template, plugin: &str) -> Result<Container, Error> {
    let name = format!("{}{plugin}", container::ARTIFACT_PLUGIN_PREFIX);
    let mut made = plugin_container(input, template, plugin, &name, &["artifact-plugin-sidecar"])?;
    made.volume_mounts = vec![socket_mount(plugin)];
    Ok(made)
}

/// The plugin's image, its own entry point run by the executor, which waits for the socket.
fn plugin_container(
    input: &Input<'_>,
    template: &Template,
    plugin: &str,
    name: &str,
    words: &[&str],
) -> Result<Container, Error> {
    let driver =
        input.config.artifact_drivers.get(plugin).ok_or_else(|| Error::PluginUnknown { name: plugin.to_owned() })?;
    let image = input
        .config
        .images
        .get(&driver.image)
        .ok_or_else(|| Error::CommandUnknown { image: driver.image.clone(), container: name.to_owned() })?;
    let mut command = vec![executor::emissary(input.config.layout).to_owned()];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    command.extend(executor::log_options(input.config));
    command.push("--".into());
    command.extend(image.entrypoint.iter().cloned());
    command.push(format!("{}/{plugin}/socket", names::PLUGIN_SOCKETS));

    let mut made = executor::container(input, name, template);
    made.env.push(variable(env::CONTAINER_NAME, name));
    made.image = driver.image.clone();
    made.command = command;
    Ok(made)
}

pub(crate) fn socket_mount(plugin: &str) -> VolumeMount {
    mount(&format!("{}{plugin}", container::ARTIFACT_PLUGIN_PREFIX), &format!("{}/{plugin}", names::PLUGIN_SOCKETS))
}
