//! How artifacts and scripts reach the user's container, and how the executor reaches the user's files
//! (argo: workflowpod.go, addInputArtifactsVolumes, addScriptStagingVolume, addOutputArtifactsVolumes).

use tiphys_api::{Artifact, Container, Template, VolumeMount};
use tiphys_contract::overlap::{clean, mount_nested_under, overlapping_mount};
use tiphys_contract::{container, path};

use crate::archive::{has_key, has_location};
use crate::config::Layout;
use crate::draft::{Draft, empty_dir, mount, mount_part};
use crate::error::Error;
use crate::input::Input;
use crate::main_containers::user_container;
use crate::names;
use crate::volumes::shared_mounts;

/// A volume for input artifacts, filled by the executor and mounted into `main`.
pub(crate) fn add_inputs(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let artifacts = &template.inputs.artifacts;
    if artifacts.is_empty() {
        return Ok(());
    }
    let user_mounts = shared_mounts(template)?;
    let paths = || user_mounts.iter().map(|mount| mount.mount_path.as_str());
    if input.config.layout == Layout::ImageVolume {
        for artifact in artifacts.iter().filter(|artifact| !artifact.path.is_empty()) {
            if let Some(mount) = mount_nested_under(paths(), &artifact.path) {
                return Err(Error::ArtifactOverMount {
                    artifact: artifact.name.clone(),
                    path: artifact.path.clone(),
                    mount: mount.to_owned(),
                });
            }
        }
    }
    draft.volumes.push(empty_dir(names::INPUT_ARTIFACTS_VOLUME));

    let mounts = executor_mounts(template)?;
    let loads = |name: &str| name == container::INIT || name.starts_with(container::INIT_ARTIFACT_PLUGIN_PREFIX);
    for init in draft.init_containers.iter_mut().filter(|init| loads(&init.name)) {
        init.volume_mounts.extend(mounts.clone());
    }
    if let Some(supervisor) = draft.container_mut(container::SUPERVISOR) {
        supervisor.volume_mounts.extend(mounts);
    }
    let Some(main) = draft.container_mut(container::MAIN) else { return Ok(()) };
    if input.config.layout == Layout::ImageVolume {
        // The emissary links each artifact to its place once it is there: kubelet would make a directory of a sub path
        // that is mounted before the artifact is loaded.
        main.volume_mounts.push(mount(names::INPUT_ARTIFACTS_VOLUME, path::INPUT_ARTIFACTS));
        return Ok(());
    }
    for artifact in artifacts {
        let path = clean_path(artifact)?;
        let location = artifact.location();
        let unsupplied = artifact.optional && !has_location(&location) && !has_key(&location);
        // An artifact in a volume of the user's is written there, through the mirrored mount.
        if !unsupplied && overlapping_mount(paths(), &path).is_none() {
            main.volume_mounts.push(mount_part(names::INPUT_ARTIFACTS_VOLUME, &path, &artifact.name));
        }
    }
    Ok(())
}

/// Mounts with which an executor's container loads input artifacts: their volume, and the user's volumes mirrored.
pub(crate) fn executor_mounts(template: &Template) -> Result<Vec<VolumeMount>, Error> {
    let mut mounts = vec![mount(names::INPUT_ARTIFACTS_VOLUME, path::INPUT_ARTIFACTS)];
    mounts.extend(shared_mounts(template)?.into_iter().map(mirrored));
    Ok(mounts)
}

/// A volume into which the script's source is staged.
pub(crate) fn add_staging(draft: &mut Draft) {
    draft.volumes.push(empty_dir(names::STAGING_VOLUME));
    let staging = || mount(names::STAGING_VOLUME, path::STAGING);
    if let Some(init) = draft.init_container_mut(container::INIT) {
        init.volume_mounts.push(staging());
    }
    for name in [container::SUPERVISOR, container::MAIN] {
        if let Some(made) = draft.container_mut(name) {
            made.volume_mounts.push(staging());
        }
    }
}

/// The user's init containers and sidecars, with `main`'s mounts where they ask for them.
pub(crate) fn add_user_containers(draft: &mut Draft, template: &Template) {
    let main_mounts = draft.container(container::MAIN).map(|main| main.volume_mounts.clone()).unwrap_or_default();
    let prepare = |written: &Container| {
        let mut made = user_container(written.clone());
        if written.mirror_volume_mounts == Some(true) {
            made.volume_mounts.extend(main_mounts.clone());
        }
        made
    };
    draft.init_containers.extend(template.init_containers.iter().map(prepare));
    draft.containers.extend(template.sidecars.iter().map(prepare));
}

/// Mirrors `main`'s mounts into the executor's containers, which collect outputs from volumes there.
pub(crate) fn mirror_main(draft: &mut Draft, template: &Template) {
    if template.resource.is_some() || template.data.is_some() {
        return;
    }
    let mounts = draft.container(container::MAIN).map(|main| main.volume_mounts.clone()).unwrap_or_default();
    for made in draft.containers.iter_mut().filter(|made| !container::is_user(&made.name)) {
        for mount in mounts.iter().cloned().map(mirrored) {
            // An artifact may lie in a volume that `main` only reads.
            let mount = VolumeMount { read_only: false, ..mount };
            if !made.volume_mounts.iter().any(|other| other.mount_path == mount.mount_path) {
                made.volume_mounts.push(mount);
            }
        }
    }
}

fn mirrored(mount: VolumeMount) -> VolumeMount {
    let mount_path = clean(&format!("{}/{}", path::MAIN_FILESYSTEM, mount.mount_path));
    VolumeMount { mount_path, ..mount }
}

/// The artifact's path without detours. What stands before the first `..` must contain the result: a parameter in a path
/// must not lead elsewhere (argo: workflow_types.go, Artifact.CleanPath).
fn clean_path(artifact: &Artifact) -> Result<String, Error> {
    let path = artifact.path.as_str();
    if path.is_empty() {
        return Err(Error::ArtifactPathMissing { artifact: artifact.name.clone() });
    }
    let cleaned = clean(path);
    let cleaned = if path.starts_with('/') { cleaned } else { cleaned.trim_start_matches('/').to_owned() };
    let safe = match path.split_once("/../") {
        Some((before, _)) => before,
        None => path.strip_suffix("/..").unwrap_or(""),
    };
    let inside =
        cleaned.strip_prefix(safe).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.is_empty());
    if !safe.is_empty() && !inside {
        return Err(Error::ArtifactPathEscapes { artifact: artifact.name.clone() });
    }
    Ok(cleaned)
}
