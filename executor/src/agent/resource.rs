//! `resource ACTION`, the command of a resource template's `main`.

use std::ffi::OsString;

use tiphys_api::Outputs;

use super::connection::{self, block_on};
use super::own_work;
use super::settings::Settings;
use crate::cluster::{ClusterError, Config};
use crate::paths::Paths;
use crate::resource;

/// Carries out the template's action and reports its output parameters. Returns the exit code.
///
/// # Errors
/// The text for the user.
pub fn run(
    paths: &Paths,
    settings: &Settings,
    cluster: impl Fn() -> Result<Option<Config>, ClusterError>,
    words: &[OsString],
) -> Result<i32, String> {
    let [action] = words else {
        return Err("usage: resource (get|create|apply|delete|replace|patch)".to_owned());
    };
    let client = connection::open(paths, &cluster)?;
    own_work::run(paths, settings, &cluster, |template| {
        let action = action.to_string_lossy();
        let parameters = block_on(resource::run(&client, &action, template, settings.check_interval))?;
        Ok(Outputs { parameters, ..Outputs::default() })
    })
}
