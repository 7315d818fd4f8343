//! What is told of the live controller's Pods and of their results.

use rustc_hash::FxHashSet;
use tiphys_api::NodeType;
use tiphys_contract::label;
use tiphys_engine::{Fact, NodeId};
use tiphys_kubernetes::{Kind, List, Pod, TaskResultObject, TaskSetObject};

use super::Shadow;
use crate::pod_state;
use crate::workflow::tasks;

impl Shadow {
    /// Pods and results as they are now.
    pub(super) async fn find_what_is_there(&mut self) {
        let selector = format!("{}={}", label::WORKFLOW, self.place.workflow);
        let selected = |kind: Kind| kind.within(&self.place.namespace).query(&[("labelSelector", &selector)]);
        let (results, pods) = (selected(Kind::WorkflowTaskResult), selected(Kind::Pod));
        match self.place.cluster.read::<List<TaskResultObject>>(&results).await {
            Ok(list) => list.items.into_iter().for_each(|result| self.task_result(result)),
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "task results cannot be listed"),
        }
        let set = Kind::WorkflowTaskSet.within(&self.place.namespace).named(&self.place.workflow);
        match self.place.cluster.read::<TaskSetObject>(&set).await {
            Ok(set) => self.task_set(set),
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "the task set cannot be read"),
        }
        let list = match self.place.cluster.read::<List<Pod>>(&pods).await {
            Ok(list) => list.items,
            Err(error) => return tracing::error!(workflow = %self.place.workflow, %error, "Pods cannot be listed"),
        };
        let there: FxHashSet<NodeId> = list.iter().filter_map(node_of).collect();
        list.into_iter().for_each(|pod| self.pod(pod));
        let nodes = self.run.workflow().status.nodes.values();
        let lost = nodes.filter(|node| node.r#type == NodeType::Pod && !node.phase.is_fulfilled());
        let lost = lost.map(|node| NodeId::from(node.id.as_str()));
        // One that our engine only would have made is no loss.
        let lost = lost.filter(|node| !there.contains(node) && self.pods.is_there(node));
        for node in lost.collect::<Vec<_>>() {
            self.observe(Fact::PodGone { node });
        }
    }

    pub(super) fn pod(&mut self, pod: Pod) {
        if !pod.metadata.is_of(&self.place.uid) {
            return;
        }
        // Agents and Pods that delete artifacts are no node's.
        let Some(node) = node_of(&pod) else { return };
        let pair = self.pods.see(&node, &pod);
        self.compare(pair);
        if self.run.node(node.as_str()).is_none() && !self.run.is_finished() {
            self.early_pods.insert(node, pod);
        } else {
            self.tell_pod(node, pod);
        }
    }

    fn tell_pod(&mut self, node: NodeId, pod: Pod) {
        let seen = pod_state::read(&pod);
        if seen.offloaded().is_some() {
            self.away.insert(node, pod);
            return;
        }
        let reporting = self.reporting.contains(&node);
        seen.facts(node, reporting).for_each(|fact| self.observe(fact));
    }

    pub(super) fn pod_gone(&mut self, pod: Pod) {
        let Some(node) = node_of(&pod) else { return };
        let is_known = self.pods.theirs().any(|(known, _, uid)| *known == node && uid == pod.metadata.uid);
        let is_other = !is_known && self.pods.is_there(&node);
        if is_other {
            return;
        }
        let completed = pod.metadata.label(label::COMPLETED) == "true";
        // What it was at last may not have been told before.
        self.pod(pod);
        if !completed {
            self.observe(Fact::PodGone { node });
        }
    }

    pub(super) fn pods_listed(&mut self, uids: &FxHashSet<String>) {
        for (node, name, uid) in self.pods.theirs().filter(|(_, _, uid)| !uids.contains(*uid)) {
            if self.run.node(node.as_str()).is_some_and(|node| !node.phase.is_fulfilled()) {
                tokio::spawn(self.place.clone().look_for(node.clone(), name.to_owned(), uid.to_owned()));
            }
        }
    }

    pub(super) fn task_result(&mut self, result: TaskResultObject) {
        if !result.metadata.is_of(&self.place.uid) {
            return;
        }
        let complete = result.metadata.label(label::REPORT_OUTPUTS_COMPLETED) == "true";
        let node = NodeId::from(result.metadata.name.as_str());
        match complete {
            true => self.reporting.remove(&node),
            false => self.reporting.insert(node.clone()),
        };
        let (outputs, progress) = (Box::new(result.outputs.unwrap_or_default()), result.progress);
        self.observe_of(node.clone(), Fact::TaskResult { node, outputs, progress, complete });
    }

    pub(super) fn task_set(&mut self, set: TaskSetObject) {
        if !set.metadata.is_of(&self.place.uid) {
            return;
        }
        for fact in tasks::facts(set) {
            let Fact::NodeResult { node, .. } = &fact else { continue };
            self.observe_of(node.clone(), fact);
        }
    }

    /// A fact of a node that our engine may not have come to yet.
    fn observe_of(&mut self, node: NodeId, fact: Fact) {
        if self.run.node(node.as_str()).is_none() && !self.run.is_finished() {
            self.early_facts.insert(node, fact);
        } else {
            self.observe(fact);
        }
    }

    /// Tells of nodes that our engine has come to what was known of them before. Whether there was anything.
    pub(super) fn catch_up(&mut self, changed: &[NodeId]) -> bool {
        if self.early_facts.is_empty() && self.early_pods.is_empty() {
            return false;
        }
        let mut told = false;
        for node in changed {
            if let Some(fact) = self.early_facts.remove(node) {
                self.observe(fact);
                told = true;
            }
            if let Some(pod) = self.early_pods.remove(node) {
                self.tell_pod(node.clone(), pod);
                told = true;
            }
        }
        told
    }

    /// Results that lie elsewhere are as the live controller has found them.
    pub(super) fn bring_back(&mut self, theirs: &tiphys_api::Workflow) {
        let is_over = |node: &NodeId| theirs.status.nodes.get(node.as_str()).filter(|node| node.phase.is_fulfilled());
        let back: Vec<NodeId> = self.away.keys().filter(|node| is_over(node).is_some()).cloned().collect();
        for node in back {
            let (Some(pod), Some(their)) = (self.away.remove(&node), is_over(&node)) else { continue };
            let outputs = Box::new(their.outputs.as_deref().cloned().unwrap_or_default());
            let progress = their.progress.clone();
            self.observe(Fact::TaskResult { node: node.clone(), outputs, progress, complete: true });
            self.observe(Fact::Pod { node, state: Box::new(pod_state::read(&pod).state) });
        }
    }
}

/// The node whose Pod it is.
fn node_of(pod: &Pod) -> Option<NodeId> {
    pod.metadata.annotations.get(label::NODE_ID).map(|id| NodeId::from(id.as_str()))
}
