//! Workflows that are over go into the archive. argo: workflow/controller/controller.go, archiveWorkflowAux.
//!
//! The write that tells the end of a workflow also says, by a label, that it waits to be archived; a watch of that label
//! brings those that wait, after a restart too. One that cannot be archived now is tried again for as long as it takes, and
//! its time to live does not begin before.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde_json::json;
use tiphys_api::Workflow;
use tiphys_archive::{ARCHIVED, ARCHIVING_STATUS, PENDING};
use tiphys_contract::label;
use tiphys_kubernetes::{ApiError, Backoff, Event, Kind, METADATA_ALONE, ObjectMeta, watch};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::PersistenceError;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::ttl;
use crate::workflow::{NodesError, make_whole};

/// Workflows that are archived at a time. argo: --workflow-archive-workers.
const WORKERS: usize = 8;

/// Whether a workflow with these labels must stay until it is archived.
pub fn is_awaited(config: &Config, labels: &BTreeMap<String, String>) -> bool {
    let archive = config.persistence.as_ref().is_some_and(|persistence| persistence.archive);
    archive && labels.get(ARCHIVING_STATUS).map(String::as_str) == Some(PENDING)
}

/// What came of an attempt that was refused.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
    #[error(transparent)]
    Nodes(#[from] NodesError),
}

/// A workflow that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    namespace: String,
    name: String,
    uid: String,
}

/// Archives for as long as it is polled. `selector` is that of the controller's instance.
pub async fn keep(cluster: Arc<Cluster>, namespace: String, selector: String) {
    let selector = format!("{selector},{}=true,{ARCHIVING_STATUS}={PENDING}", label::COMPLETED);
    let (to, mut told) = mpsc::unbounded_channel::<Waiting>();
    let seen = move |object: ObjectMeta| {
        let metadata = object.metadata;
        to.send(Waiting { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid }).is_ok()
    };
    let watched = async {
        cluster.until(|config| config.persistence.as_ref().is_some_and(|persistence| persistence.archive)).await;
        let collection = Kind::Workflow.within(&namespace);
        watch::<ObjectMeta>(&cluster.api, &collection, &selector, Some(METADATA_ALONE), |event| match event {
            Event::Page(all) => all.into_iter().all(&seen),
            Event::Applied(one) => seen(one),
            Event::Deleted(_) | Event::Listed => true,
        })
        .await;
    };
    let archived = async {
        let turns = Arc::new(Semaphore::new(WORKERS));
        let mut under_way = JoinSet::new();
        let mut known = FxHashSet::default();
        loop {
            tokio::select! {
                waiting = told.recv() => {
                    let Some(waiting) = waiting else { return };
                    if known.insert(waiting.clone()) {
                        under_way.spawn(until_archived(cluster.clone(), turns.clone(), waiting));
                    }
                }
                Some(ended) = under_way.join_next() => match ended {
                    Ok(waiting) => drop(known.remove(&waiting)),
                    Err(error) => tracing::error!(%error, "archiving a workflow has died"),
                },
            }
        }
    };
    tokio::join!(watched, archived);
}

async fn until_archived(cluster: Arc<Cluster>, turns: Arc<Semaphore>, waiting: Waiting) -> Waiting {
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        cluster.until(|config| config.persistence.as_ref().is_some_and(|persistence| persistence.archive)).await;
        let outcome = {
            let _turn = turns.acquire().await;
            once(&cluster, &waiting).await
        };
        let Err(error) = outcome else { return waiting };
        let message = error.to_string();
        if message != told {
            let Waiting { namespace, name, .. } = &waiting;
            tracing::warn!(namespace, workflow = name, error = message, "not archived yet; it is tried again");
            told = message;
        }
        match error {
            Failure::Api(error) if error.is_conflict() => {}
            Failure::Api(error) => error.wait(&mut backoff).await,
            Failure::Persistence(_) | Failure::Nodes(_) => tokio::time::sleep(backoff.pause()).await,
        }
    }
}

/// One attempt. A workflow that no longer waits is none.
async fn once(cluster: &Arc<Cluster>, waiting: &Waiting) -> Result<(), Failure> {
    let path = Kind::Workflow.within(&waiting.namespace).named(&waiting.name);
    let mut whole: Workflow = match cluster.api.get(&path).await {
        Err(error) if error.is_not_found() => return Ok(()),
        read => read?,
    };
    let labels = &whole.metadata.labels;
    let over = labels.get(label::COMPLETED).map(String::as_str) == Some("true");
    if whole.metadata.uid != waiting.uid || !over || labels.get(ARCHIVING_STATUS).map(String::as_str) != Some(PENDING) {
        return Ok(());
    }
    make_whole(cluster, &mut whole, "").await?;
    whole.metadata.extra.remove("managedFields");
    let archived = async {
        let archive = cluster.database.archive(cluster).await?;
        archive.archive(&whole).await.map_err(PersistenceError::from)
    };
    let archived = archived.await;
    cluster.database.note(&archived).await;
    archived?;
    // Whoever has written in the meantime wants to see that archived too.
    let patch = json!({"metadata": {
        "resourceVersion": whole.metadata.resource_version,
        "labels": {ARCHIVING_STATUS: ARCHIVED},
    }});
    match cluster.other.send(cluster.api.patch(&path, &patch)).await {
        Err(error) if error.is_not_found() => return Ok(()),
        written => written?,
    };
    tracing::debug!(namespace = waiting.namespace, workflow = waiting.name, "archived");
    let strategy = whole.executed_spec().ttl_strategy.as_deref();
    if let Some(at) = ttl::moment(strategy, whole.status.phase, whole.status.finished_at) {
        let Waiting { namespace, name, uid } = waiting.clone();
        ttl::delete_at(cluster.clone(), namespace, name, uid, at);
    }
    Ok(())
}
