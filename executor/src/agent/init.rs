//! `init`: everything that the user's containers need is in its place before the first of them starts.
//!
//! argo: cmd/argoexec/commands/init.go. No call goes to Kubernetes.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use tiphys_api::Template;
use tiphys_contract::{env, path};

use super::inputs::{self, Kept};
use super::settings::Settings;
use super::{locations, template};
use crate::paths::Paths;
use crate::process;
use crate::shared_files::{Context, FileError, create_open_dir, replace};

/// Delivers the emissary, the template, the script and the input artifacts.
///
/// # Errors
/// The text for the user: the first thing that could not be delivered.
pub fn run(paths: &Paths, settings: &Settings) -> Result<(), String> {
    // What is half done then stays under a temporary name, and the Pod goes.
    process::end_when_told();
    umask(Mode::empty());
    let text = |error: FileError| error.to_string();
    create_open_dir(&paths.shared).map_err(text)?;
    let json = template::read(paths, settings)?;
    deliver_emissary(paths, settings, loads_by_plugin(&template::parse(&json)?))?;
    stage(paths, settings, &json, Kept::WithoutPlugin)
}

/// Delivers the template, the script and the input artifacts.
///
/// # Errors
/// The text for the user: the first thing that could not be delivered.
pub fn stage(paths: &Paths, settings: &Settings, json: &str, kept: Kept<'_>) -> Result<(), String> {
    let text = |error: FileError| error.to_string();
    let template = template::parse(json)?;
    let staging = tracing::info_span!("stageFiles").entered();
    replace(&paths.template(), json.as_bytes(), 0o444).map_err(text)?;
    if let Some(script) = &template.script {
        // The structure of a script is a container's; its source is a field of its own.
        let source = script.source.as_str();
        if let Some(folder) = paths.script.parent() {
            create_open_dir(folder).map_err(text)?;
        }
        replace(&paths.script, source.as_bytes(), 0o755).map_err(text)?;
    }
    drop(staging);
    inputs::load(paths, settings, &template, kept)
}

/// Puts the emissary into the shared volume, unless somebody has done so already.
///
/// In a Pod where plugins load inputs the same file is the command of their init containers, so the whole executor is
/// delivered, which is an emissary too.
fn deliver_emissary(paths: &Paths, settings: &Settings, whole: bool) -> Result<(), String> {
    let target = paths.emissary();
    if target.exists() {
        return Ok(());
    }
    let source = match &settings.emissary {
        _ if whole => this_program()?,
        Some(path) => path.clone(),
        None => beside_this_program()?,
    };
    copy_program(&source, &target).map_err(|error| {
        let variable = env::EMISSARY;
        format!("cannot deliver the emissary: {error}; set {variable} to the emissary's path if it is elsewhere")
    })
}

fn beside_this_program() -> Result<PathBuf, String> {
    Ok(this_program()?.with_file_name(path::EMISSARY_FILE))
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))
}

/// Whether a plugin keeps an input, by itself or as the template's repository.
fn loads_by_plugin(template: &Template) -> bool {
    let of_template = template.archive_location.as_deref();
    let mut supplied = template.inputs.artifacts.iter().filter(|artifact| locations::is_supplied(artifact));
    supplied.any(|artifact| locations::complete(artifact, of_template).is_ok_and(|whole| whole.plugin.is_some()))
}

/// Copies by way of a temporary name: a container never finds half a program.
fn copy_program(source: &Path, target: &Path) -> Result<(), FileError> {
    let temporary = target.with_extension("tmp");
    let mut from = fs::File::open(source).on("open", source)?;
    let mut to = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&temporary)
        .on("create", &temporary)?;
    std::io::copy(&mut from, &mut to).on("write", &temporary)?;
    to.set_permissions(fs::Permissions::from_mode(0o555)).on("make executable", &temporary)?;
    drop(to);
    fs::rename(&temporary, target).on("rename", &temporary)
}
