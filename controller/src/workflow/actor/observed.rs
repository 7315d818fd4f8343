//! What is told of the workflow's Pods and of their results.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustc_hash::FxHashSet;
use tiphys_api::{NodeType, Time};
use tiphys_contract::label;
use tiphys_engine::{Fact, NodeId, PodPhase};
use tiphys_kubernetes::{Kind, List, Pod, TaskResultObject, TaskSetObject};

use super::{Actor, Running, until};
use crate::pod_state::{self, Seen};
use crate::workflow::leaving::{Leaving, is_guarded};
use crate::workflow::message::Message;
use crate::workflow::signals::executor_in;
use crate::workflow::tasks;

/// A node is young for so long. argo: RECENTLY_STARTED_POD_DURATION.
const RECENTLY_SECONDS: i64 = 10;
/// How long a Pod that somebody else deletes stays for its end to be seen, where its node does not answer. argo:
/// workflow/controller/pod/controller.go, commonPodEvent.
const LAST_WORDS: Duration = Duration::from_secs(120);

impl Actor {
    /// Another controller, or this one before a restart, has begun it: its Pods and results are told as they are now.
    pub(super) async fn find_what_is_there(&mut self) {
        let selector = format!("{}={}", label::WORKFLOW, self.place.workflow);
        let results = Kind::WorkflowTaskResult.within(&self.place.namespace).query(&[("labelSelector", &selector)]);
        match self.place.cluster.read::<List<TaskResultObject>>(&results).await {
            Ok(list) => list.items.into_iter().for_each(|result| self.task_result(result)),
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "task results cannot be listed"),
        }
        let set = Kind::WorkflowTaskSet.within(&self.place.namespace).named(&self.place.workflow);
        match self.place.cluster.read::<TaskSetObject>(&set).await {
            Ok(set) => {
                // Its agent ends with the workflow, also where it has nothing more to do.
                self.tasks();
                self.take(Message::TaskSet(Box::new(set)));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "the task set cannot be read"),
        }
        let unfinished = format!("{selector},{}=false", label::COMPLETED);
        let pods = Kind::Pod.within(&self.place.namespace).query(&[("labelSelector", &unfinished)]);
        let list = match self.place.cluster.read::<List<Pod>>(&pods).await {
            Ok(list) => list.items,
            Err(error) => return tracing::error!(workflow = %self.place.workflow, %error, "Pods cannot be listed"),
        };
        for pod in list {
            self.pod(pod, Instant::now());
        }
        let nodes = self.run.workflow().status.nodes.values();
        let lost = nodes.filter(|node| node.r#type == NodeType::Pod && !node.phase.is_fulfilled());
        let lost = lost.map(|node| NodeId::from(node.id.as_str())).filter(|id| !self.pods.contains_key(id));
        for node in lost.collect::<Vec<_>>() {
            self.observe(Fact::PodGone { node });
        }
    }

    pub(super) fn pod(&mut self, pod: Pod, seen_at: Instant) {
        if !pod.metadata.is_of(&self.place.uid) {
            return;
        }
        let Some(id) = pod.metadata.annotations.get(label::NODE_ID) else {
            // The only Pod of a workflow that is no node's is the agent's.
            if pod.status.phase == "Failed"
                && pod.metadata.deletion_timestamp.is_none()
                && let Some(tasks) = &self.tasks
            {
                let facts = tasks.agent_failed(&pod.status.message);
                facts.into_iter().for_each(|fact| self.observe(fact));
            }
            return;
        };
        let node = NodeId::from(id.as_str());
        if self.run.node(node.as_str()).is_none() && !self.run.is_finished() {
            // Whoever drove it before has made the Pod and ended before it told of the node. It will be asked for again.
            self.unexpected.insert(node, pod);
            return;
        }
        let seen = pod_state::read(&pod);
        let phase = seen.state.phase;
        let told = self.with_results(&node, &pod, seen);
        if let Some(known) = self.pods.get(&node).filter(|known| known.uid != pod.metadata.uid) {
            // A retry by hand makes a Pod of the same name anew; the old one may still be on its way out.
            tracing::debug!(pod = %pod.metadata.name, was = %known.uid, "another Pod of the same name");
        }
        self.tally.pod(&node, phase, &pod);
        let known = self.pods.entry(node.clone()).or_default();
        let is_over = |phase| matches!(phase, PodPhase::Succeeded | PodPhase::Failed);
        if is_over(phase) && !is_over(known.phase) {
            self.ended.get_or_insert(seen_at);
        }
        known.guarded = is_guarded(&pod.metadata);
        if let Some(Time(end)) = pod.metadata.deletion_timestamp.filter(|_| known.guarded && !known.leaves) {
            known.leaves = true;
            let wait = if phase == PodPhase::Pending { Duration::ZERO } else { until(end) + LAST_WORDS };
            let leaving = Leaving { name: pod.metadata.name.clone(), uid: pod.metadata.uid.clone(), guarded: true };
            tokio::spawn(self.place.clone().unguard_after(wait, leaving));
        }
        known.failure = (pod.status.reason, pod.status.message);
        known.name = pod.metadata.name;
        known.uid = pod.metadata.uid;
        known.phase = phase;
        known.labels = pod.metadata.labels;
        known.annotations = pod.metadata.annotations;
        known.grace = pod.spec.termination_grace_period_seconds;
        let statuses = pod.status.container_statuses.into_iter().filter(|status| status.state.running.is_some());
        known.running = statuses
            .map(|status| Running { executor: executor_in(&pod.spec.containers, &status.name), name: status.name })
            .collect();
        self.releases[1].push(node.clone());
        self.unwritten |= matches!(known.phase, PodPhase::Succeeded | PodPhase::Failed);
        if let Some(seen) = told {
            self.tell_pod(node, seen);
        }
    }

    /// What a step's Pod has to tell goes to the engine.
    pub(super) fn tell_pod(&mut self, node: NodeId, seen: Seen) {
        let reporting = self.reporting.contains(&node);
        seen.facts(node, reporting).for_each(|fact| self.observe(fact));
    }

    pub(super) fn pod_gone(&mut self, pod: Pod) {
        let Some(id) = pod.metadata.annotations.get(label::NODE_ID) else {
            let is_agent = pod.metadata.name == tasks::agent_name(&self.place.workflow);
            if let Some(tasks) = self.tasks.as_ref().filter(|_| is_agent && !self.run.is_finished()) {
                tasks.agent_gone();
            }
            return;
        };
        let node = NodeId::from(id.as_str());
        if self.pods.get(&node).is_some_and(|known| known.uid != pod.metadata.uid) {
            return;
        }
        let Some(pod) = self.gone_with_results(&node, pod) else { return };
        let completed = pod.metadata.label(label::COMPLETED) == "true";
        // What it was at last may not have been told before.
        self.pod(pod, Instant::now());
        self.pods.remove(&node);
        self.unexpected.remove(&node);
        self.tally.pod_gone(&node);
        if !completed {
            if let Some(node) = self.run.node(node.as_str()).filter(|node| !node.phase.is_fulfilled()) {
                let started = node.started_at.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
                let recently = Timestamp::now().duration_since(started).as_secs() < RECENTLY_SECONDS;
                self.place.cluster.metrics.pod_missing(recently, node.phase.as_str());
            }
            self.observe(Fact::PodGone { node });
        }
    }

    pub(super) fn pods_listed(&mut self, uids: &FxHashSet<String>) {
        for (node, pod) in &self.pods {
            if !uids.contains(&pod.uid) && !pod.released && !self.waits_for_results(node) {
                tokio::spawn(self.place.clone().look_for(node.clone(), pod.name.clone(), pod.uid.clone()));
            }
        }
    }

    pub(super) fn task_result(&mut self, result: TaskResultObject) {
        if !result.metadata.is_of(&self.place.uid) {
            return;
        }
        self.has_task_results = true;
        let complete = result.metadata.label(label::REPORT_OUTPUTS_COMPLETED) == "true";
        let node = NodeId::from(result.metadata.name.as_str());
        match complete {
            true => self.reporting.remove(&node),
            false => self.reporting.insert(node.clone()),
        };
        self.observe(Fact::TaskResult {
            node,
            outputs: Box::new(result.outputs.unwrap_or_default()),
            progress: result.progress,
            complete,
        });
    }
}
