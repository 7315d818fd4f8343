//! `artifact-plugin-init --plugin-name NAME -- COMMAND`: loads the inputs that a plugin keeps, from within its container.

use std::ffi::OsString;

use nix::sys::stat::{Mode, umask};

use super::inputs::{self, Kept};
use super::settings::Settings;
use super::template;
use crate::paths::Paths;
use crate::{plugins, process};

/// Starts the plugin's server, loads, and ends it.
///
/// # Errors
/// The text for the user.
pub fn run(paths: &Paths, settings: &Settings, plugin: &str, words: &[OsString]) -> Result<(), String> {
    // What is half done then stays under a temporary name, and the Pod goes.
    process::end_when_told();
    umask(Mode::empty());
    let template = template::parse(&template::read(paths, settings)?)?;
    plugins::with_server(paths, plugin, words, || inputs::load(paths, settings, &template, Kept::ByPlugin(plugin)))
}
