//! The way to the cluster's API server, for sub-commands that cannot do without.

use crate::cluster::{Cluster, ClusterError, Config, Patience};
use crate::paths::Paths;

/// A client for the API server that flags, kubeconfig and environment name.
///
/// # Errors
/// The text for the user when there is none, or when what names it cannot be used.
pub fn open(paths: &Paths, cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>) -> Result<Cluster, String> {
    let config = cluster().map_err(|error| error.to_string())?.ok_or_else(|| {
        format!(
            "no Kubernetes API server is known: there is neither a kubeconfig nor a service account's token in {}; give \
             the Pod a service account whose token is mounted",
            paths.service_account.display()
        )
    })?;
    Cluster::new(config, Patience::endless()).map_err(|error| error.to_string())
}

/// Runs asynchronous work to its end on this thread.
///
/// # Errors
/// The text for the user when the runtime cannot be started, or that of the work.
pub fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let result = runtime.block_on(work);
    // Nothing that still runs matters any more.
    runtime.shutdown_background();
    result
}
