//! Pods that nobody has let go of: a controller that ended before it came to that has left them, and their workflows are over.
//!
//! argo: workflow/controller/pod/controller.go, commonPodEvent; there each Pod that is seen is asked about its workflow.

use std::sync::Arc;

use tiphys_api::Workflow;
use tiphys_engine::PodPhase;
use tiphys_kubernetes::{Kind, Pod};
use tokio::sync::mpsc;

use super::pods::Workplace;
use super::release::decide;
use crate::cluster::Cluster;
use crate::pod_state;

/// Pods of one workflow that this controller does not drive.
#[derive(Debug, Default)]
pub struct Strays {
    namespace: String,
    workflow: String,
    pods: Vec<Pod>,
}

impl Strays {
    /// One more.
    pub fn add(&mut self, (namespace, workflow): (String, String), pod: Pod) {
        (self.namespace, self.workflow) = (namespace, workflow);
        self.pods.push(pod);
    }

    /// Lets go of them, if their workflow is over indeed.
    pub async fn let_go(self, cluster: Arc<Cluster>) {
        let path = Kind::Workflow.within(&self.namespace).named(&self.workflow);
        // Nobody listens: there is nothing to drive.
        let (to, _) = mpsc::unbounded_channel();
        let (namespace, workflow) = (self.namespace.into(), self.workflow.into());
        let place = Workplace { cluster, to, namespace, workflow, uid: "".into() };
        let owner: Workflow = match place.read(&path).await {
            Ok(owner) => owner,
            Err(error) if error.is_not_found() => return,
            Err(error) => return tracing::warn!(%path, %error, "Pods of a workflow are not let go of"),
        };
        if !owner.status.phase.is_completed() {
            return;
        }
        let config = place.cluster.config();
        for pod in self.pods.into_iter().filter(|pod| pod.metadata.is_of(&owner.metadata.uid)) {
            let phase = pod_state::read(&pod).state.phase;
            if matches!(phase, PodPhase::Succeeded | PodPhase::Failed) {
                let gc = owner.spec.pod_gc.as_deref();
                let release = decide(gc, &config, &pod.metadata.labels, phase, owner.status.phase);
                tokio::spawn(place.clone().release(release, pod.metadata.name, pod.metadata.uid));
            }
        }
    }
}
