//! Pods that nobody has let go of: a controller that ended before it came to that has left them, and their workflows are over.
//!
//! argo: workflow/controller/pod/controller.go, commonPodEvent; there each Pod that is seen is asked about its workflow.

use std::collections::BTreeMap;
use std::sync::Arc;

use tiphys_api::Workflow;
use tiphys_contract::label;
use tiphys_engine::PodPhase;
use tiphys_kubernetes::{Backoff, Collection, Kind, Pages, Pod};
use tokio::sync::mpsc;

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
        match place.read::<Workflow>(&path).await {
            Ok(owner) => release(&place, &owner, pods),
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(%path, %error, "Pods that an earlier controller left are not let go of"),
        }
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
            tokio::spawn(place.clone().release(release, pod.metadata.name, pod.metadata.uid));
        }
    }
}
