//! What of a workflow is counted in the metrics: its phase, its conditions, its Pods, and what it measures itself.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_engine::{Measurement, NodeId, PodPhase};
use tiphys_kubernetes::Pod;

use crate::metrics::{Held, Metrics};

/// What one workflow counts for, until it is dropped.
pub(super) struct Tally {
    metrics: Arc<Metrics>,
    namespace: Arc<str>,
    uid: Arc<str>,
    phase: WorkflowPhase,
    /// Its phase, and its conditions.
    held: Vec<Held>,
    pods: FxHashMap<NodeId, PodTally>,
}

struct PodTally {
    phase: PodPhase,
    reason: String,
    _held: Held,
}

impl Tally {
    /// A workflow that was begun by another controller is in its phase without entering it.
    pub fn of(metrics: Arc<Metrics>, namespace: Arc<str>, uid: Arc<str>, workflow: &Workflow) -> Tally {
        let phase = workflow.status.phase;
        let mut tally = Tally { metrics, namespace, uid, phase, held: Vec::new(), pods: FxHashMap::default() };
        tally.hold(workflow);
        tally
    }

    fn hold(&mut self, workflow: &Workflow) {
        let conditions = &workflow.status.conditions;
        let conditions = conditions.iter().map(|one| self.metrics.condition(&one.r#type, &one.status));
        let phase = workflow.status.phase;
        let phase = (phase != WorkflowPhase::Unknown).then(|| self.metrics.workflow(phase.as_str()));
        self.held = conditions.chain(phase).collect();
    }

    /// The workflow's own status has changed.
    pub fn workflow(&mut self, workflow: &Workflow) {
        self.hold(workflow);
        let status = &workflow.status;
        let before = std::mem::replace(&mut self.phase, status.phase);
        if before == status.phase {
            return;
        }
        self.metrics.workflow_entered(status.phase.as_str(), &self.namespace);
        if let Some(reference) = &workflow.spec.workflow_template_ref {
            let took = match (status.started_at, status.finished_at) {
                (Some(began), Some(ended)) => Duration::try_from(ended.0.duration_since(began.0)).ok(),
                _ => None,
            };
            let phase = status.phase.as_str();
            if before == WorkflowPhase::Unknown {
                // argo: operator.go, setStoredWfSpec
                self.metrics.template(&reference.name, &self.namespace, reference.cluster_scope, "New", None);
            }
            self.metrics.template(&reference.name, &self.namespace, reference.cluster_scope, phase, took);
        }
    }

    /// A Pod is told of.
    pub fn pod(&mut self, node: &NodeId, phase: PodPhase, pod: &Pod) {
        let name = name(phase);
        let known = self.pods.get(node);
        if known.is_none_or(|known| known.phase != phase) {
            self.metrics.pod_entered(name, &self.namespace);
        }
        let mut statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
        let waiting = statuses.find_map(|one| one.state.waiting.as_ref().filter(|waiting| !waiting.reason.is_empty()));
        let reason = waiting.filter(|_| phase == PodPhase::Pending).map_or("", |waiting| waiting.reason.as_str());
        if known.is_none_or(|known| known.reason != reason) {
            self.metrics.pod_pending(reason, &self.namespace);
        } else if known.is_some_and(|known| known.phase == phase) {
            return;
        }
        let tally = PodTally { phase, reason: reason.to_owned(), _held: self.metrics.pod(name) };
        self.pods.insert(node.clone(), tally);
    }

    /// A Pod is gone, or nothing more is wanted of it.
    pub fn pod_gone(&mut self, node: &NodeId) {
        self.pods.remove(node);
    }

    /// Takes a measurement in.
    ///
    /// # Errors
    /// It contradicts what the metric was before.
    pub fn measure(&self, measurement: Measurement) -> Result<(), String> {
        self.metrics.custom.take(&self.uid, measurement)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics.custom.stop(&self.uid);
    }
}

fn name(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "Pending",
        PodPhase::Running => "Running",
        PodPhase::Succeeded => "Succeeded",
        PodPhase::Failed => "Failed",
    }
}
