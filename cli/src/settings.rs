//! What the environment says, read here and nowhere else.

use std::path::PathBuf;

use tiphys_local::{DataDir, RunFolder, RunName};

use crate::args::Global;
use crate::failure::Failure;

/// The data folder.
pub fn data_dir(global: &Global) -> Result<DataDir, Failure> {
    let root = global.data_dir.clone().filter(|path| !path.as_os_str().is_empty()).or_else(default_data_dir);
    let root = root.ok_or_else(|| {
        Failure::usage("neither XDG_DATA_HOME nor HOME is set: name a folder for runs with --data-dir or TIPHYS_DATA")
    })?;
    DataDir::new(&root).map_err(Failure::usage)
}

fn default_data_dir() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG rules: a relative path is as good as none.
    let data = folder("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.or_else(|| folder("HOME").map(|home| home.join(".local/share"))).map(|data| data.join("tiphys"))
}

/// The folder of a run, where there is one of that name on this machine.
pub fn local_run(global: &Global, name: &str) -> Option<RunFolder> {
    let folder = data_dir(global).ok()?.run(&RunName::new(name).ok()?);
    folder.exists().then_some(folder)
}

/// The folder of a run that there is.
pub fn existing_run(global: &Global, name: &str) -> Result<RunFolder, Failure> {
    let folder = data_dir(global)?.run(&RunName::new(name).map_err(Failure::usage)?);
    if folder.exists() {
        return Ok(folder);
    }
    Err(Failure::usage(format!("there is no run {name:?}; `tiphys runs` lists what there is")))
}

/// A variable that holds something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The namespace that is meant on a cluster, where that is said. argo: ARGO_NAMESPACE.
pub fn namespace(global: &Global) -> Option<String> {
    global.place.namespace.clone().or_else(|| variable("ARGO_NAMESPACE"))
}

/// The instance ID of the controller that is meant; empty where there is but one. argo: ARGO_INSTANCEID.
pub fn instance_id(global: &Global) -> String {
    global.place.instance_id.clone().or_else(|| variable("ARGO_INSTANCEID")).unwrap_or_default()
}

/// The address of the archive, where the user names it, and by what.
pub fn archive(global: &Global) -> Option<(String, &'static str)> {
    let given = global.place.archive.clone().map(|address| (address, "--archive"));
    given.or_else(|| Some((variable("TIPHYS_ARCHIVE")?, "TIPHYS_ARCHIVE")))
}

/// The password that goes with the address of the archive.
pub fn archive_password() -> Option<String> {
    variable("TIPHYS_ARCHIVE_PASSWORD")
}

/// Where the controller's ConfigMap is, where the user says it.
pub fn controller(global: &Global) -> Option<String> {
    global.place.controller.clone().or_else(|| variable("TIPHYS_CONTROLLER"))
}

/// The docker configuration with the logins of registries.
pub fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    folder
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))
        .map(|folder| folder.join("config.json"))
}

/// Whether the user lets us use colours.
pub fn may_colour(global: &Global) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !global.no_color && !forbidden
}
