//! What has been in the database for long enough goes. argo: workflow/controller/controller.go,
//! archivedWorkflowGarbageCollector.

use std::sync::Arc;

use super::{PersistenceError, PersistenceOptions};
use crate::cluster::Cluster;

/// Collects for as long as it is polled.
pub async fn collect(cluster: Arc<Cluster>, options: PersistenceOptions) {
    let mut period = tokio::time::interval(options.archived_workflow_gc_period);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is now: what has become old while nobody looked does not stay for another period.
    loop {
        period.tick().await;
        let outcome = old_workflows(&cluster).await;
        cluster.database.note(&outcome).await;
        match outcome {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "archived workflows deleted, as persistence.archiveTTL says"),
            Err(error) => tracing::error!(%error, "old archived workflows cannot be deleted"),
        }
    }
}

async fn old_workflows(cluster: &Cluster) -> Result<u64, PersistenceError> {
    let config = cluster.config();
    let Some(ttl) = config.persistence.as_ref().filter(|one| one.archive).and_then(|one| one.archive_ttl) else {
        return Ok(0);
    };
    Ok(cluster.database.archive(cluster).await?.delete_expired(ttl).await?)
}
