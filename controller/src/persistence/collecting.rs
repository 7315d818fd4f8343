//! What has been in the database for long enough goes. argo: workflow/controller/controller.go,
//! archivedWorkflowGarbageCollector, workflowGarbageCollector.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use tiphys_kubernetes::{Kind, Metadata, Pages};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{PersistenceError, PersistenceOptions};
use crate::cluster::Cluster;

/// Workflows a page.
const PAGE: &str = "200";

/// Collects for as long as it is polled. The first look is at once: what has become old while nobody looked does not stay
/// for another period.
pub async fn collect(cluster: Arc<Cluster>, options: PersistenceOptions) {
    let mut workflows = every(options.archived_workflow_gc_period);
    let mut nodes = every(options.workflow_gc_period);
    loop {
        let (what, outcome) = tokio::select! {
            _ = workflows.tick() => ("archived workflows", old_workflows(&cluster).await),
            _ = nodes.tick() => ("nodes of large workflows", old_nodes(&cluster, options.offload_node_status_ttl).await),
        };
        cluster.database.note(&outcome).await;
        match outcome {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, what, "deleted from the database, as they are old"),
            Err(error) => tracing::error!(%error, what, "cannot be deleted from the database"),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn old_workflows(cluster: &Cluster) -> Result<u64, PersistenceError> {
    let config = cluster.config();
    let Some(ttl) = config.persistence.as_ref().filter(|one| one.archive).and_then(|one| one.archive_ttl) else {
        return Ok(0);
    };
    Ok(cluster.database.archive(cluster).await?.delete_expired(ttl).await?)
}

/// Of a workflow that may name nodes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Naming {
    metadata: Metadata,
    status: NamingStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamingStatus {
    offload_node_status_version: String,
}

/// Versions that no workflow names. Whoever saves nodes names them soon after, or saves them again: what is old and not
/// named is not needed.
async fn old_nodes(cluster: &Cluster, ttl: Duration) -> Result<u64, PersistenceError> {
    if !cluster.config().persistence.as_ref().is_some_and(|persistence| persistence.offload) {
        return Ok(0);
    }
    let nodes = cluster.database.nodes(cluster).await?;
    let old = nodes.old(&cluster.watched, ttl).await?;
    if old.is_empty() {
        return Ok(0);
    }
    let named = named(cluster).await.map_err(PersistenceError::Workflows)?;
    let mut count = 0;
    for (uid, version) in old {
        if named.get(&uid).is_none_or(|named| named != version.as_str()) {
            nodes.delete(&uid, &version, ttl).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// Which version each workflow names, by uid.
async fn named(cluster: &Cluster) -> Result<FxHashMap<String, String>, tiphys_kubernetes::ApiError> {
    let mut named = FxHashMap::default();
    let workflows = Kind::Workflow.within(&cluster.watched);
    let mut pages = Pages::new(&cluster.api, &workflows, &[]).of(PAGE);
    while let Some(page) = pages.next::<Naming>().await? {
        let some = page.items.into_iter().filter(|one| !one.status.offload_node_status_version.is_empty());
        named.extend(some.map(|one| (one.metadata.uid, one.status.offload_node_status_version)));
    }
    Ok(named)
}
