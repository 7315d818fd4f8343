//! Pods that nobody has let go of: a controller that ended before it came to that has left them, and their workflows are over.
//!
//! argo: workflow/controller/pod/controller.go, commonPodEvent; there each Pod that is seen is asked about its workflow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tiphys_api::Workflow;
use tiphys_contract::label;
use tiphys_engine::PodPhase;
use tiphys_kubernetes::{Backoff, Collection, Kind, Metadata, Pages, Pod};
use tokio::sync::mpsc;

use super::leaving::is_guarded;
use super::pods::Workplace;
use super::release::decide;
use crate::cluster::Cluster;
use crate::pod_state;

/// Lists the Pods that are selected, and tells each page of it.
pub async fn find<T: Future>(cluster: &Cluster, pods: &Collection, selector: &str, told: impl Fn(Vec<Pod>) -> T) {
    let mut pages = Pages::new(&cluster.api, pods, &[("labelSelector", selector)]);
    let mut backoff = Backoff::default();
    loop {
        match pages.next::<Pod>().await {
            Ok(Some(page)) => {
                told(page.items).await;
            }
            Ok(None) => return,
            Err(error) if error.is_gone() => {}
            Err(error) if error.is_transient() => error.wait(&mut backoff).await,
            Err(error) => return tracing::warn!(%error, "Pods that an earlier controller left are not let go of"),
        }
    }
}

/// Whether a Pod was deleted, and cannot go before somebody has let go of it.
pub fn is_held(metadata: &Metadata) -> bool {
    metadata.deletion_timestamp.is_some() && is_guarded(metadata)
}

/// Lets go of Pods that are of no workflow that is driven, as far as their workflows are over indeed.
pub async fn let_go(cluster: Arc<Cluster>, pods: Vec<Pod>) {
    let mut of: BTreeMap<(String, String), Vec<Pod>> = BTreeMap::new();
    for pod in pods {
        let key = (pod.metadata.namespace.clone(), pod.metadata.label(label::WORKFLOW).to_owned());
        of.entry(key).or_default().push(pod);
    }
    for ((namespace, workflow), pods) in of {
        // Nobody listens: there is nothing to drive.
        let (to, _) = mpsc::unbounded_channel();
        let cluster = cluster.clone();
        let place = Workplace { cluster, to, namespace: namespace.into(), workflow: workflow.into(), uid: "".into() };
        let path = Kind::Workflow.within(&place.namespace).named(&place.workflow);
        match place.cluster.read::<Workflow>(&path).await {
            Ok(owner) => release(&place, &owner, pods),
            // The server deletes them, as far as it can.
            Err(error) if error.is_not_found() => unguard(&place, pods),
            Err(error) => tracing::warn!(%path, %error, "Pods that an earlier controller left are not let go of"),
        }
    }
}

fn unguard(place: &Workplace, pods: Vec<Pod>) {
    for pod in pods.into_iter().filter(|pod| is_guarded(&pod.metadata)) {
        tokio::spawn(place.clone().unguard_after(Duration::ZERO, pod.metadata.into()));
    }
}

fn release(place: &Workplace, owner: &Workflow, pods: Vec<Pod>) {
    let config = place.cluster.config();
    let phase = owner.status.phase;
    if !phase.is_completed() {
        return;
    }
    for pod in pods.into_iter().filter(|pod| pod.metadata.is_of(&owner.metadata.uid)) {
        let state = pod_state::read(&pod).state.phase;
        if matches!(state, PodPhase::Succeeded | PodPhase::Failed) {
            let release = decide(owner.executed_spec().pod_gc.as_deref(), &config, &pod.metadata.labels, state, phase);
            tokio::spawn(place.clone().release(release, pod.metadata.into()));
        } else if pod.metadata.deletion_timestamp.is_some() {
            unguard(place, vec![pod]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::api_server::ApiServer;
    use super::*;
    use crate::config::Config;

    /// What is asked of Pods, by name, where the workflow is that.
    async fn asked(workflow: Option<Value>, pods: &[Value]) -> Vec<(String, Value)> {
        let mut server = ApiServer::default();
        if let Some(workflow) = workflow {
            server = server.with("/apis/argoproj.io/v1alpha1/namespaces/team/workflows/wf", workflow);
        }
        let pods = pods.iter().map(|pod| {
            let mut pod = pod.clone();
            pod["metadata"]["namespace"] = "team".into();
            pod["metadata"]["labels"] = json!({"workflows.argoproj.io/workflow": "wf"});
            pod["metadata"]["ownerReferences"] = json!([{"uid": "u"}]);
            serde_json::from_value(pod).unwrap()
        });
        let (cluster, pods) = (server.cluster(Config::default()), pods.collect());
        let_go(cluster.clone(), pods).await;
        // Whoever is at it holds the cluster.
        while Arc::strong_count(&cluster) > 1 {
            tokio::task::yield_now().await;
        }
        let changes = server.changes().into_iter();
        let mut asked: Vec<(String, Value)> = changes
            .map(|(_, path, body)| (path.rsplit('/').next().unwrap().to_owned(), body["metadata"].clone()))
            .collect();
        asked.sort_by(|(one, _), (other, _)| one.cmp(other));
        asked
    }

    #[tokio::test]
    async fn no_pod_keeps_its_finalizer_when_its_workflow_is_over_or_gone() {
        let guard = "workflows.argoproj.io/status";
        let ended =
            json!({"metadata": {"name": "ended", "uid": "1", "finalizers": [guard]}, "status": {"phase": "Failed"}});
        let deleted = json!({
            "metadata": {"name": "deleted", "uid": "2", "finalizers": [guard], "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Pending"},
        });
        let free = json!({"metadata": {"name": "free", "uid": "3"}, "status": {"phase": "Pending"}});
        let pods = [ended, deleted, free];
        let unguard = |uid: &str| json!({"uid": uid, "$deleteFromPrimitiveList/finalizers": [guard]});
        let gone = asked(None, &pods).await;
        assert_eq!(gone, [("deleted".to_owned(), unguard("2")), ("ended".to_owned(), unguard("1"))]);

        let over = json!({"metadata": {"name": "wf", "uid": "u"}, "spec": {}, "status": {"phase": "Failed"}});
        let mut label = json!({"labels": {"workflows.argoproj.io/completed": "true"}});
        label["$deleteFromPrimitiveList/finalizers"] = json!([guard]);
        let over = asked(Some(over), &pods).await;
        assert_eq!(over, [("deleted".to_owned(), unguard("2")), ("ended".to_owned(), label)]);

        let runs = json!({"metadata": {"name": "wf", "uid": "u"}, "spec": {}, "status": {"phase": "Running"}});
        assert_eq!(asked(Some(runs), &pods).await, []);
    }
}
