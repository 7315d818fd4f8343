//! Artifacts that a plugin keeps (`artifacts[].plugin`). How to talk to a plugin is the executor's matter: it offers
//! each artifact's store here, and everything else is as with any other store.

use std::sync::Arc;

use tiphys_api::{Artifact, PluginArtifact};

use crate::error::Result;
use crate::store::Store;

/// Where plugins' stores come from.
pub trait Plugins: Send + Sync {
    /// The store that `plugin` is for `artifact`, whose plugin it is. Keys asked of the store are the artifact's own
    /// ([`PluginArtifact::key`]) or what the store's own listing gave. Connecting is left to the first request.
    ///
    /// # Errors
    /// When there is no such plugin in this Pod, with a message that names it.
    fn store(&self, plugin: &PluginArtifact, artifact: &Artifact) -> Result<Arc<dyn Store>>;
}

impl<F> Plugins for F
where
    F: Fn(&PluginArtifact, &Artifact) -> Result<Arc<dyn Store>> + Send + Sync,
{
    fn store(&self, plugin: &PluginArtifact, artifact: &Artifact) -> Result<Arc<dyn Store>> {
        self(plugin, artifact)
    }
}
