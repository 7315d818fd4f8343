//! Kubernetes events about a workflow and its nodes, for `kubectl describe` and for those who listen to them.
//! argo: operator.go, markWorkflowPhase, recordNodePhaseEvent; k8s.io/client-go/tools/record.
//!
//! They are told as far as that costs nobody anything: a workflow has 25 at once and one more every five minutes, as with
//! client-go, and one for which the API server has no time at the moment is dropped.

use std::time::Instant;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tiphys_api::{NodePhase, NodeStatus, Time, Workflow, WorkflowPhase};

use super::pods::Workplace;
use tiphys_kubernetes::Kind;

/// Events at once.
const BURST: f64 = 25.0;
/// Seconds until there is one more.
const SECONDS_EACH: f64 = 300.0;
/// Who tells. argo: workflow/controller, eventRecorderManager.
const COMPONENT: &str = "workflow-controller";

/// What was told of a workflow, and how much may be.
pub(super) struct Events {
    place: Workplace,
    phase: WorkflowPhase,
    nodes: FxHashMap<String, NodePhase>,
    left: Budget,
}

/// A bucket of tokens.
struct Budget {
    tokens: f64,
    since: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.since).as_secs_f64() / SECONDS_EACH;
        self.tokens = (self.tokens + gained).min(BURST);
        self.since = now;
        let some = self.tokens >= 1.0;
        if some {
            self.tokens -= 1.0;
        }
        some
    }
}

impl Events {
    /// Of a workflow as it is now: nothing of that is news.
    pub fn of(place: Workplace, workflow: &Workflow) -> Events {
        let nodes = workflow.status.nodes.values().map(|node| (node.id.clone(), node.phase)).collect();
        let left = Budget { tokens: BURST, since: Instant::now() };
        Events { place, phase: workflow.status.phase, nodes, left }
    }

    /// A node may have another phase. `pod` is its Pod's name and uid.
    pub fn node(&mut self, node: &NodeStatus, pod: Option<(&str, &str)>) {
        let before = self.nodes.insert(node.id.clone(), node.phase);
        let worth_telling = node.phase == NodePhase::Running || node.phase.is_completed();
        if before == Some(node.phase) || !worth_telling || !self.place.cluster.config().node_events {
            return;
        }
        let good = matches!(node.phase, NodePhase::Succeeded | NodePhase::Running);
        let mut message = format!("{} node {}", node.phase, node.name);
        if !node.message.is_empty() {
            message = format!("{message}: {}", node.message);
        }
        let started = node.started_at.map_or(0, |time| time.0.as_nanosecond());
        let mut annotations = json!({
            "workflows.argoproj.io/node-id": node.id,
            "workflows.argoproj.io/node-name": node.name,
            "workflows.argoproj.io/node-type": node.r#type.to_string(),
            "workflows.argoproj.io/node-start-time": started.to_string(),
        });
        let reason = format!("WorkflowNode{}", node.phase);
        match pod.filter(|_| self.place.cluster.config().node_events_of_pods) {
            Some((name, uid)) => {
                annotations["workflows.argoproj.io/workflow-name"] = (*self.place.workflow).into();
                annotations["workflows.argoproj.io/workflow-uid"] = (*self.place.uid).into();
                let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
                self.tell_of(pod, good, &reason, &message, &annotations);
            }
            None => self.tell(good, &reason, &message, &annotations),
        }
    }

    /// The workflow may have another phase.
    pub fn workflow(&mut self, workflow: &Workflow) {
        let phase = workflow.status.phase;
        if std::mem::replace(&mut self.phase, phase) == phase || !self.place.cluster.config().workflow_events {
            return;
        }
        match phase {
            WorkflowPhase::Running => self.tell(true, "WorkflowRunning", "Workflow Running", &Value::Null),
            WorkflowPhase::Succeeded => self.tell(true, "WorkflowSucceeded", "Workflow completed", &Value::Null),
            WorkflowPhase::Failed | WorkflowPhase::Error => {
                self.tell(false, "WorkflowFailed", &workflow.status.message, &Value::Null);
            }
            _ => {}
        }
    }

    /// Something went wrong with the workflow as a whole.
    pub fn warn(&mut self, reason: &str, message: &str) {
        self.tell(false, reason, message, &json!({}));
    }

    fn tell(&mut self, good: bool, reason: &str, message: &str, annotations: &Value) {
        let workflow = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": &*self.place.workflow, "uid": &*self.place.uid,
        });
        self.tell_of(workflow, good, reason, message, annotations);
    }

    fn tell_of(&mut self, mut object: Value, good: bool, reason: &str, message: &str, annotations: &Value) {
        if !self.left.take(Instant::now()) {
            return;
        }
        let now = Timestamp::now();
        let time = Time::from_second(now.as_second());
        object["namespace"] = (*self.place.namespace).into();
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{:x}", object["name"].as_str().unwrap_or_default(), now.as_nanosecond()),
                "namespace": &*self.place.namespace, "annotations": annotations,
            },
            "involvedObject": object,
            "type": if good { "Normal" } else { "Warning" }, "reason": reason, "message": message,
            "source": {"component": COMPONENT}, "firstTimestamp": time, "lastTimestamp": time, "count": 1,
        });
        let place = self.place.clone();
        tokio::spawn(async move {
            let Some(_turn) = place.cluster.other.try_acquire() else { return };
            let events = Kind::Event.within(&place.namespace);
            if let Err(error) = place.cluster.api.create(events.path(), &event).await {
                tracing::debug!(workflow = %place.workflow, %error, "an event is not told");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_workflow_has_so_many_events() {
        let start = Instant::now();
        let mut budget = Budget { tokens: BURST, since: start };
        assert_eq!((0..40).filter(|_| budget.take(start)).count(), 25);
        assert!(!budget.take(start + Duration::from_secs(299)));
        assert!(budget.take(start + Duration::from_secs(600)));
    }
}
