//! How a run is run, as far as it must stay the same when it is resumed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tiphys_api::ArtifactRepository;

/// What steps run in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The step's image where it can be had, else this machine, with a warning.
    #[default]
    Auto,
    /// This machine's own root, read-only below a private writable layer; images are not used.
    Host,
    /// The step's image; a step whose image cannot be had fails.
    Oci,
}

/// The settings of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// What steps run in.
    pub runtime: Runtime,
    /// How many Pods run at once.
    pub parallelism: NonZeroUsize,
    /// Whether each step's log becomes an artifact.
    pub archive_logs: bool,
    /// Registries to ask first, each as `HOST=URL`.
    pub mirrors: Vec<String>,
    /// Where the logins of registries are: a docker `config.json`.
    pub docker_config: Option<PathBuf>,
    /// Level of the executor's log: `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// An artifact repository, in the form of the controller's `artifactRepository`, instead of the embedded one.
    pub artifact_repository: Option<ArtifactRepository>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            runtime: Runtime::Auto,
            parallelism: default_parallelism(),
            archive_logs: true,
            mirrors: Vec::new(),
            docker_config: None,
            log_level: "warn".to_owned(),
            artifact_repository: None,
        }
    }
}

/// Steps mostly wait, for one another or for the network: so more of them than there are processors.
fn default_parallelism() -> NonZeroUsize {
    const LEAST: usize = 16;
    const PER_PROCESSOR: usize = 4;
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(LEAST.max(PER_PROCESSOR * processors)).unwrap_or(NonZeroUsize::MIN)
}
