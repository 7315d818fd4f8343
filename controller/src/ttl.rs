//! Workflows that are over go after a while, where they say so. argo: workflow/gccontroller/gc_controller.go.
//!
//! A timer for each of them, set when it ends; at the start those that ended before are looked through once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::json;
use tiphys_api::{Time, TtlStrategy, WorkflowPhase};
use tiphys_contract::label;

use crate::cluster::Cluster;
use crate::persistence::is_awaited;
use crate::shards::shard_of;
use tiphys_kubernetes::Backoff;
use tiphys_kubernetes::{ApiError, Kind, Metadata, Pages};

/// Workflows a page.
const PAGE: &str = "200";

/// Of a workflow that is over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Over {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

impl Over {
    fn moment(&self) -> Option<Timestamp> {
        let executed = self.status.stored_workflow_template_spec.as_ref().unwrap_or(&self.spec);
        moment(executed.ttl_strategy.as_ref(), self.status.phase, self.status.finished_at)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    ttl_strategy: Option<TtlStrategy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: WorkflowPhase,
    finished_at: Option<Time>,
    /// What was executed, where that came from a template.
    stored_workflow_template_spec: Option<Spec>,
}

/// When a workflow goes; None where it stays.
pub fn moment(strategy: Option<&TtlStrategy>, phase: WorkflowPhase, finished: Option<Time>) -> Option<Timestamp> {
    let strategy = strategy?;
    let special = match phase {
        WorkflowPhase::Succeeded => strategy.seconds_after_success,
        WorkflowPhase::Failed => strategy.seconds_after_failure,
        _ => None,
    };
    let seconds = special.or(strategy.seconds_after_completion)?;
    finished?.0.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Deletes a workflow at a moment, unless it is at work again by then.
pub fn delete_at(cluster: Arc<Cluster>, namespace: String, name: String, uid: String, mut at: Timestamp) {
    tokio::spawn(async move {
        let path = Kind::Workflow.within(&namespace).named(&name);
        let mut backoff = Backoff::default();
        loop {
            let left = at.duration_since(Timestamp::now());
            tokio::time::sleep(left.try_into().unwrap_or_default()).await;
            match cluster.other.send(delete(&cluster, &path, &uid)).await {
                Ok(None) => return,
                Ok(Some(later)) => at = later,
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                // Another one has the name by now.
                Err(error) if error.is_conflict() => return,
                // Whoever has its shard now has set a timer too.
                Err(error) if error.is_shut() => return,
                Err(error) => {
                    return tracing::error!(namespace, workflow = name, %error, "a workflow cannot be deleted");
                }
            }
        }
    });
}

/// Deletes a workflow whose time has come; tells when it comes for one that ended again meanwhile.
async fn delete(cluster: &Cluster, path: &str, uid: &str) -> Result<Option<Timestamp>, ApiError> {
    let over: Over = match cluster.api.get(path).await {
        Err(error) if error.is_not_found() => return Ok(None),
        over => over?,
    };
    if over.metadata.uid != uid || over.metadata.label(label::COMPLETED) != "true" {
        return Ok(None);
    }
    // Whoever archives it sets the timer again.
    if is_awaited(&cluster.config(), &over.metadata.labels) {
        return Ok(None);
    }
    match over.moment() {
        Some(at) if at <= Timestamp::now() => {
            let policy = cluster.config().propagation;
            let options = json!({"propagationPolicy": policy, "preconditions": {"uid": uid}});
            cluster.api.delete(path, &options).await.map(|()| None)
        }
        later => Ok(later),
    }
}

/// Sets timers for the workflows of these shards that are over already. `selector` is that of the controller's instance.
pub async fn sweep(cluster: Arc<Cluster>, namespace: String, selector: String, shards: FxHashMap<u32, Arc<Cluster>>) {
    let selector = format!("{selector},{}=true", label::COMPLETED);
    let workflows = Kind::Workflow.within(&namespace);
    let mut pages = Pages::new(&cluster.api, &workflows, &[("labelSelector", &selector)]).of(PAGE);
    let mut backoff = Backoff::default();
    loop {
        let page = match pages.next::<Over>().await {
            Ok(Some(page)) => page,
            Ok(None) => return,
            Err(error) if error.is_gone() => continue,
            Err(error) if error.is_transient() => {
                error.wait(&mut backoff).await;
                continue;
            }
            Err(error) => return tracing::error!(%error, "workflows that are over cannot be listed: they stay"),
        };
        for over in page.items {
            if let Some(at) = over.moment()
                && let Some(of_shard) = shards.get(&shard_of(&over.metadata, cluster.shards))
            {
                let Metadata { namespace, name, uid, .. } = over.metadata;
                delete_at(of_shard.clone(), namespace, name, uid, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_special_value_comes_first() {
        let strategy: TtlStrategy =
            serde_json::from_value(json!({"secondsAfterCompletion": 10, "secondsAfterSuccess": 5})).unwrap();
        let at = |phase| moment(Some(&strategy), phase, Some(Time::from_second(100))).map(|at| at.as_second());
        assert_eq!(at(WorkflowPhase::Succeeded), Some(105));
        assert_eq!(at(WorkflowPhase::Failed), Some(110));
        assert_eq!(at(WorkflowPhase::Error), Some(110));
        assert_eq!(moment(Some(&TtlStrategy::default()), WorkflowPhase::Failed, Some(Time::from_second(1))), None);
        assert_eq!(moment(None, WorkflowPhase::Failed, Some(Time::from_second(1))), None);
    }
}
