//! Loads a template's input artifacts, several at once.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tiphys_api::{Artifact, Template};
use tiphys_artifact::Artifacts;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::settings::Settings;
use super::{locations, template, transfers};
use crate::paths::Paths;
use crate::shared_files::Context;

/// Whose inputs are loaded.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// Those of no plugin: `init`, beside which each plugin has an init container of its own.
    WithoutPlugin,
    /// Those of one plugin, from within its container.
    ByPlugin(&'a str),
    /// All: the plugins run as sidecars.
    Anyhow,
}

impl Kept<'_> {
    fn includes(self, whole: &Artifact) -> bool {
        match (self, &whole.plugin) {
            (Self::WithoutPlugin, plugin) => plugin.is_none(),
            (Self::ByPlugin(name), plugin) => plugin.as_ref().is_some_and(|plugin| plugin.name == name),
            (Self::Anyhow, _) => true,
        }
    }
}

/// Loads all inputs that were supplied to where `main` finds them.
///
/// # Errors
/// The text for the user: the first input, in the template's order, that is missing or could not be loaded.
pub fn load(paths: &Paths, settings: &Settings, template: &Template, kept: Kept<'_>) -> Result<(), String> {
    let span = tracing::info_span!("loadArtifacts", error = Empty);
    let _entered = span.enter();
    let loaded = load_all(paths, settings, template, kept);
    loaded.inspect_err(|failure| {
        span.record("error", failure.as_str());
    })
}

fn load_all(paths: &Paths, settings: &Settings, template: &Template, kept: Kept<'_>) -> Result<(), String> {
    let mut jobs = Vec::new();
    for artifact in &template.inputs.artifacts {
        if locations::is_supplied(artifact) {
            let mut artifact = artifact.clone();
            artifact.path = locations::clean_path(&artifact)?;
            let whole = locations::complete(&artifact, template.archive_location.as_deref())?;
            if kept.includes(&whole) {
                jobs.push((target(paths, template, &artifact), whole));
            }
        } else if !artifact.optional {
            return Err(format!("required artifact '{}' not supplied", artifact.name));
        }
    }
    if jobs.is_empty() {
        return Ok(());
    }
    let results = transfers::run(paths, settings, async |artifacts| {
        let load = async |(target, artifact): &(PathBuf, Artifact)| {
            let span = tracing::info_span!("loadArtifact", path = artifact.path.as_str(), error = Empty);
            let loaded = load_one(artifacts, artifact, target).instrument(span.clone()).await;
            loaded.inspect_err(|failure| {
                span.record("error", failure.as_str());
            })
        };
        transfers::all(jobs.iter().map(load)).await
    })?;
    results.into_iter().collect()
}

/// The folder of inputs that is mounted into `main` piece by piece, or the user's own volume where the path lies on one.
fn target(paths: &Paths, template: &Template, artifact: &Artifact) -> PathBuf {
    match template::mount_of(template, &artifact.path) {
        Some(_) => paths.mirrored(&artifact.path),
        None => paths.input_artifacts.join(&artifact.name),
    }
}

async fn load_one(artifacts: &Artifacts, artifact: &Artifact, target: &Path) -> Result<(), String> {
    let failed = |reason: String| format!("artifact {} failed to load: {reason}", artifact.name);
    if let Some(parent) = target.parent() {
        let created = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        created.on("create folder", parent).map_err(|error| failed(error.to_string()))?;
    }
    artifacts.load_input(artifact, target).await.map(drop).map_err(|error| failed(error.to_string()))
}
