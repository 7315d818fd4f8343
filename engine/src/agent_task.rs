//! Nodes without a Pod: `http` and `plugin` templates, which the workflow's agent carries out, or the driver itself.
//!
//! argo: http_template.go, plugin_template.go, taskset.go.

use std::sync::Arc;

use tiphys_api::{NodePhase, NodeResult, NodeStatus, NodeType, Template};

use crate::frame::{AgentTaskBody, Body, Key};
use crate::id::NodeId;
use crate::node::{Birth, node_type, parse_progress};
use crate::plan::{Action, TaskRequest};
use crate::run::{Run, Stop};

impl Run {
    /// Makes the node of a task and asks for it to be carried out, unless the workflow may not go on.
    pub(crate) fn begin_agent_task(&mut self, key: Key, template: Arc<Template>) -> Result<(), Stop> {
        let known = self.has_node(key);
        if !known {
            let birth = Birth { template: Some(&template), ..Birth::of(node_type(&template), NodePhase::Pending) };
            self.make_node(key, birth);
            self.link_to_parent(key);
        }
        // One that was taken over may have been asked for before the restart, and its result be there already.
        let memoized = template.memoize.is_some();
        self.frames[key].body = Body::AgentTask(AgentTaskBody { asked: known, memoized });
        let node = self.frames[key].id.clone();
        self.catch_up(&node);
        let on_exit = self.frames[key].on_exit;
        let phase = self.frame_node(key).map_or(NodePhase::Pending, |node| node.phase);
        if phase.is_fulfilled() || !self.may_run(on_exit) || self.is_overdue(on_exit) {
            // What may not go on is ended by whoever begins it.
            return Ok(());
        }
        if phase == NodePhase::Pending
            && let Some(limit) = self.pending_limit(key, &template)?
        {
            if limit <= self.now && self.began_before(key) {
                self.end_pending(key);
                return Ok(());
            }
            self.watch_pending(key, limit);
        }
        if let Body::AgentTask(body) = &mut self.frames[key].body {
            body.asked = true;
        }
        let node_name = self.frames[key].name.clone();
        self.act(Action::RunTask(Box::new(TaskRequest { node, node_name, template })));
        Ok(())
    }

    /// What an agent reported. argo: taskset.go, reconcileTaskSet.
    pub(crate) fn node_result(&mut self, id: &NodeId, result: NodeResult) {
        let open = self.node(id.as_str()).is_some_and(|node| is_task(node) && !node.phase.is_fulfilled());
        if !open {
            // Whether it was taken back before a restart is not known.
            self.act(Action::EndTask { node: id.clone() });
            return;
        }
        if !self.is_news(id, &result) {
            return;
        }
        let NodeResult { phase, message, outputs, progress, .. } = result;
        if let Some(outputs) = &outputs {
            self.export(outputs);
        }
        self.change(id, |node| {
            node.outputs = outputs;
            node.message = message;
            if parse_progress(&progress) != (0, 0) {
                node.progress = progress;
            }
            node.phase = phase;
        });
        self.note_running();
        match self.by_id.get(id).copied() {
            Some(key) => {
                let memoized = matches!(&self.frames[key].body, Body::AgentTask(body) if body.memoized);
                if memoized && phase == NodePhase::Succeeded {
                    self.save_memo(key);
                }
            }
            // Its steps or DAG ended without it, and the engine does not come to it again.
            None if phase.is_fulfilled() => self.act(Action::EndTask { node: id.clone() }),
            None => {}
        }
    }

    /// Whether a report says more than is known. One that was overtaken by another does not.
    fn is_news(&self, id: &NodeId, result: &NodeResult) -> bool {
        let Some(node) = self.node(id.as_str()) else { return false };
        let overtaken = result.phase == NodePhase::Pending && node.phase == NodePhase::Running;
        let known = result.phase == node.phase
            && result.message == node.message
            && result.outputs == node.outputs
            && (parse_progress(&result.progress) == (0, 0) || result.progress == node.progress);
        result.phase != NodePhase::Unknown && !overtaken && !known
    }

    /// A task whose node is over is taken back.
    pub(crate) fn end_agent_task(&mut self, key: Key) {
        if let Body::AgentTask(body) = &mut self.frames[key].body
            && std::mem::take(&mut body.asked)
        {
            let node = self.frames[key].id.clone();
            self.act(Action::EndTask { node });
        }
    }
}

/// argo: workflow_types.go, IsTaskSetNode.
fn is_task(node: &NodeStatus) -> bool {
    matches!(node.r#type, NodeType::Http | NodeType::Plugin)
}
