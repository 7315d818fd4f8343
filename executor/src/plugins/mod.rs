//! Artifact plugins: stores behind Argo's artifact service, a gRPC server at a unix socket in the same Pod.
//!
//! argo: workflow/artifacts/plugin/plugin.go, cmd/argoexec/commands/artifact_plugin_{init,sidecar}.go. The plugin's image
//! holds the server; `artifact-plugin-init` and `artifact-plugin-sidecar` start it. Both sides see the same folders, so
//! that most artifacts are handed over as paths.

mod grpc;
mod init;
mod proto;
mod socket;
mod store;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tiphys_api::{Artifact, PluginArtifact};
use tiphys_artifact::{Error, Plugins, Result, Store};

use crate::paths::Paths;
use grpc::Channel;
use store::PluginStore;

pub use init::with_server;

/// The plugins' sockets.
#[derive(Debug)]
pub struct Sockets {
    root: PathBuf,
    staging: PathBuf,
    channels: Mutex<BTreeMap<String, Arc<Channel>>>,
}

impl Sockets {
    /// Those of this Pod.
    pub fn new(paths: &Paths) -> Self {
        // The folder that `wait` shares with the plugins' containers.
        let staging = paths.scratch.join("argo/outputs/artifacts");
        Self { root: paths.plugins.clone(), staging, channels: Mutex::default() }
    }
}

impl Plugins for Sockets {
    fn store(&self, plugin: &PluginArtifact, artifact: &Artifact) -> Result<Arc<dyn Store>> {
        let name = &plugin.name;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::Refused(format!("artifacts[].plugin.name {name:?} is no name of a plugin")));
        }
        let folder = self.root.join(name);
        if !folder.is_dir() {
            return Err(Error::Refused(format!(
                "there is no plugin {name:?} in this Pod: {} does not exist; is it among the controller's artifactDrivers?",
                folder.display()
            )));
        }
        // A map of channels is whole after any panic.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Channel::new(folder.join("socket")));
        let channel = channels.entry(name.clone()).or_insert_with(made).clone();
        Ok(Arc::new(PluginStore::new(channel, artifact.clone(), plugin.clone(), self.staging.clone())))
    }
}
