//! Kubernetes events about a workflow and its nodes, for `kubectl describe` and for those who listen to them.
//! argo: operator.go, markWorkflowPhase, recordNodePhaseChangeEvents; workflow/events/event_recorder_manager.go.
//!
//! They are told beside everything else, few at a time. Those of the workflow itself are kept until they are told; of nodes a
//! workflow has 10,000 at once and one more every five minutes, and of all workflows together a thousand wait.

use std::time::Instant;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tiphys_api::{NodePhase, NodeStatus, Time, Workflow, WorkflowPhase};

use super::pods::Workplace;
use tiphys_kubernetes::{Backoff, Kind};

/// Events at once.
const BURST: f64 = 10_000.0;
/// Seconds until there is one more.
const SECONDS_EACH: f64 = 300.0;
/// How often an event of a workflow is tried. argo: k8s.io/client-go/tools/record, maxTriesPerEvent.
const TRIES: u32 = 12;
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
        if before == Some(node.phase) || !self.place.cluster.config().node_events {
            return;
        }
        if node.phase.is_completed() && before.is_none_or(|before| before == NodePhase::Pending) {
            // That it ran was too short to be seen.
            self.node_in(node, NodePhase::Running, pod);
        }
        if node.phase == NodePhase::Running || node.phase.is_completed() {
            self.node_in(node, node.phase, pod);
        }
    }

    fn node_in(&mut self, node: &NodeStatus, phase: NodePhase, pod: Option<(&str, &str)>) {
        if !self.left.take(Instant::now()) {
            return;
        }
        let Ok(in_line) = self.place.cluster.untold.clone().try_acquire_owned() else { return };
        let good = matches!(phase, NodePhase::Succeeded | NodePhase::Running);
        let mut message = format!("{phase} node {}", node.name);
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
        let reason = format!("WorkflowNode{phase}");
        let object = match pod.filter(|_| self.place.cluster.config().node_events_of_pods) {
            Some((name, uid)) => {
                annotations["workflows.argoproj.io/workflow-name"] = (*self.place.workflow).into();
                annotations["workflows.argoproj.io/workflow-uid"] = (*self.place.uid).into();
                json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})
            }
            None => self.place.itself(),
        };
        let event = self.place.event(object, good, &reason, &message, &annotations);
        let place = self.place.clone();
        tokio::spawn(async move {
            let _turn = place.cluster.telling.acquire().await;
            drop(in_line);
            let events = Kind::Event.within(&place.namespace);
            if let Err(error) = place.cluster.api.create(events.path(), &event).await {
                tracing::debug!(workflow = %place.workflow, %error, "an event is not told");
            }
        });
    }

    /// The workflow may have another phase.
    pub fn workflow(&mut self, workflow: &Workflow) {
        let phase = workflow.status.phase;
        if std::mem::replace(&mut self.phase, phase) == phase || !self.place.cluster.config().workflow_events {
            return;
        }
        match phase {
            WorkflowPhase::Running => self.place.tell_event(true, "WorkflowRunning", "Workflow Running"),
            WorkflowPhase::Succeeded => self.place.tell_event(true, "WorkflowSucceeded", "Workflow completed"),
            WorkflowPhase::Failed | WorkflowPhase::Error => {
                self.place.tell_event(false, "WorkflowFailed", &workflow.status.message);
            }
            _ => {}
        }
    }
}

impl Workplace {
    /// Something went wrong with the workflow as a whole.
    pub(super) fn warn(&self, reason: &str, message: &str) {
        self.tell_event(false, reason, message);
    }

    fn itself(&self) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": &*self.workflow, "uid": &*self.uid,
        })
    }

    fn tell_event(&self, good: bool, reason: &str, message: &str) {
        let event = self.event(self.itself(), good, reason, message, &json!({}));
        let place = self.clone();
        tokio::spawn(async move {
            let events = Kind::Event.within(&place.namespace);
            let mut backoff = Backoff::default();
            for _ in 0..TRIES {
                let turn = place.cluster.telling.acquire().await;
                let outcome = place.cluster.api.create(events.path(), &event).await;
                drop(turn);
                match outcome {
                    Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                    Err(error) => return tracing::debug!(workflow = %place.workflow, %error, "an event is not told"),
                    Ok(_) => return,
                }
            }
        });
    }

    fn event(&self, mut object: Value, good: bool, reason: &str, message: &str, annotations: &Value) -> Value {
        let now = Timestamp::now();
        let time = Time::from_second(now.as_second());
        object["namespace"] = (*self.namespace).into();
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{:x}", object["name"].as_str().unwrap_or_default(), now.as_nanosecond()),
                "namespace": &*self.namespace, "annotations": annotations,
            },
            "involvedObject": object,
            "type": if good { "Normal" } else { "Warning" }, "reason": reason, "message": message,
            "source": {"component": COMPONENT}, "firstTimestamp": time, "lastTimestamp": time, "count": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_workflow_has_so_many_events() {
        let start = Instant::now();
        let mut budget = Budget { tokens: BURST, since: start };
        assert_eq!((0..10_040).filter(|_| budget.take(start)).count(), 10_000);
        assert!(!budget.take(start + Duration::from_secs(299)));
        assert!(budget.take(start + Duration::from_secs(600)));
    }

    #[tokio::test]
    async fn an_end_that_comes_at_once_is_told_after_the_beginning() {
        let server = ApiServer::default();
        let config = Config { node_events: true, workflow_events: true, ..Config::default() };
        let (place, _inbox) = place(server.cluster(config));
        let mut workflow = Workflow::default();
        let mut events = Events::of(place, &workflow);
        let node = |id: &str, phase| NodeStatus { id: id.into(), name: id.into(), phase, ..NodeStatus::default() };
        events.node(&node("a", NodePhase::Pending), None);
        events.node(&node("a", NodePhase::Failed), None);
        events.node(&node("b", NodePhase::Succeeded), None);
        events.node(&node("c", NodePhase::Running), None);
        events.node(&node("c", NodePhase::Succeeded), None);
        // Where a thousand wait no more are kept, but the workflow's own.
        let _all = events.place.cluster.untold.clone().acquire_many_owned(1000).await.unwrap();
        events.node(&node("d", NodePhase::Running), None);
        workflow.status.phase = WorkflowPhase::Succeeded;
        events.workflow(&workflow);

        let told = || {
            server
                .changes()
                .into_iter()
                .map(|(_, _, event)| event["reason"].to_string() + &event["message"].to_string())
        };
        while told().count() < 7 {
            tokio::task::yield_now().await;
        }
        let mut told: Vec<String> = told().map(|text| text.replace("\"\"", " ").replace('"', "")).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "WorkflowNodeFailed Failed node a",
                "WorkflowNodeRunning Running node a",
                "WorkflowNodeRunning Running node b",
                "WorkflowNodeRunning Running node c",
                "WorkflowNodeSucceeded Succeeded node b",
                "WorkflowNodeSucceeded Succeeded node c",
                "WorkflowSucceeded Workflow completed",
            ]
        );
    }
}
