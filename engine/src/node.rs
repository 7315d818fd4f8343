//! Making nodes and changing them: the one place where the status, the counts kept beside it and the queue meet.

use tiphys_api::{NodePhase, NodeStatus, NodeType, Outputs, Template, TemplateType, Time};

use crate::fact::Shutdown;
use crate::frame::{Body, Key, Parent};
use crate::id::NodeId;
use crate::memo::not_kept_yet;
use crate::plan::Action;
use crate::run::{Event, Run, fulfilled, phase_fulfilled};

/// How a node begins.
pub(crate) struct Birth<'a> {
    pub kind: NodeType,
    pub phase: NodePhase,
    pub message: &'a str,
    /// Whether the executor reports results for it.
    pub reports: bool,
    /// The template with arguments, whose inputs the node shows; None for nodes that run nothing themselves.
    pub template: Option<&'a Template>,
}

impl<'a> Birth<'a> {
    pub fn of(kind: NodeType, phase: NodePhase) -> Birth<'a> {
        Birth { kind, phase, message: "", reports: false, template: None }
    }
}

impl Run {
    pub(crate) fn has_node(&self, key: Key) -> bool {
        self.frame_node(key).is_some()
    }

    pub(crate) fn frame_node(&self, key: Key) -> Option<&NodeStatus> {
        let frame = &self.frames[key];
        match frame.node {
            Some(index) => self.wf.status.nodes.at(index),
            None => self.wf.status.nodes.get(frame.id.as_str()),
        }
    }

    /// Makes the node of a frame. argo: operator.go, initializeNode and initializeExecutableNode.
    pub(crate) fn make_node(&mut self, key: Key, birth: Birth<'_>) {
        let frame = &self.frames[key];
        let display_name = match frame.boundary.map(|boundary| self.frames[boundary].name.as_str()) {
            Some(boundary) => display_name(&frame.name, boundary),
            None => frame.name.clone(),
        };
        let now = self.time();
        let mut node = NodeStatus {
            id: frame.id.to_string(),
            name: frame.name.clone(),
            display_name,
            r#type: birth.kind,
            template_name: frame.call.task.template.clone(),
            template_ref: frame.call.task.template_ref.clone(),
            template_scope: frame.call.base.scope(),
            phase: birth.phase,
            boundary_id: frame.boundary.map(|boundary| self.frames[boundary].id.to_string()).unwrap_or_default(),
            message: birth.message.to_string(),
            started_at: Some(now),
            node_flag: frame.flag.clone().map(Box::new),
            ..Default::default()
        };
        if birth.kind == NodeType::StepGroup {
            node.template_name = String::new();
            node.template_ref = None;
        }
        if birth.reports {
            node.task_result_synced = Some(true);
        }
        if birth.phase.is_fulfilled() {
            node.finished_at = Some(now);
        }
        if let Some(template) = birth.template
            && (!template.inputs.parameters.is_empty() || !template.inputs.artifacts.is_empty())
        {
            node.inputs = Some(Box::new(template.inputs.clone()));
        }
        node.memoization_status = birth.template.and_then(|template| template.memoize.as_deref()).map(not_kept_yet);
        let (id, parent) = (frame.id.clone(), frame.parent);
        self.insert(&id, node);
        // Hooks of what is at work from its birth have no later change to wait for.
        if let (NodePhase::Running, Parent::Slot { frame, slot }) = (birth.phase, parent)
            && self.slot(frame, slot).is_some_and(|slot| !slot.hooks.is_empty())
        {
            self.push(Event::Slot(frame, slot));
        }
    }

    /// Puts a new node into the status. Every later change goes through [`Run::change`].
    pub(crate) fn insert(&mut self, id: &NodeId, mut node: NodeStatus) {
        complete_progress(&mut node);
        node.estimated_duration = self.estimated(&node.name);
        let (kind, blank) = (node.r#type, Summary::of(&NodeStatus::default()));
        self.account(id, kind, &blank, &Summary::of(&node));
        let index = self.wf.status.nodes.insert(id.to_string(), node);
        if let Some(key) = self.by_id.get(id) {
            self.frames[*key].node = Some(index);
        }
        self.changed.insert(id.clone());
    }

    /// Changes a node, keeps the counts beside it, and tells whoever waits for it.
    pub(crate) fn change(&mut self, id: &NodeId, change: impl FnOnce(&mut NodeStatus)) {
        let Some(node) = self.node_index(id.as_str()).and_then(|index| self.wf.status.nodes.at_mut(index)) else {
            return;
        };
        let before = Summary::of(node);
        change(node);
        if phase_fulfilled(node) && node.finished_at.is_none() {
            node.finished_at = Some(Time::from_second(self.now.as_second()));
        }
        complete_progress(node);
        let (kind, after) = (node.r#type, Summary::of(node));
        self.changed.insert(id.clone());
        if before != after {
            self.account(id, kind, &before, &after);
            if after.fulfilled && !before.fulfilled {
                self.meter_ends(id);
            }
            self.notify(id);
        }
    }

    /// Sets phase and message. argo: operator.go, markNodePhase.
    pub(crate) fn mark(&mut self, id: &NodeId, phase: NodePhase, message: Option<&str>) {
        self.change(id, |node| {
            if node.phase != NodePhase::Running && phase.is_failed_or_error() && node.task_result_synced.is_some() {
                node.task_result_synced = Some(true);
            }
            node.phase = phase;
            if let Some(message) = message {
                node.message = message.to_string();
            }
        });
    }

    /// The same for a frame's node.
    pub(crate) fn mark_frame(&mut self, key: Key, phase: NodePhase, message: Option<&str>) {
        let id = self.frames[key].id.clone();
        self.mark(&id, phase, message);
    }

    /// Marks a frame's node as erred; one that is not there yet is made as of type Skipped.
    /// argo: operator.go, initializeNodeOrMarkError.
    pub(crate) fn err(&mut self, key: Key, message: &str) {
        if self.has_node(key) {
            self.mark_frame(key, NodePhase::Error, Some(message));
        } else {
            let birth = Birth { message, ..Birth::of(NodeType::Skipped, NodePhase::Error) };
            self.make_node(key, birth);
        }
    }

    /// Adds a child to a node, by ids; one that is there already is not added again. argo: operator.go, addChildNode.
    pub(crate) fn add_child(&mut self, parent: &NodeId, child: &NodeId) {
        let Some(node) = self.wf.status.nodes.get_mut(parent.as_str()) else { return };
        let known = if node.children.len() < 64 {
            node.children.iter().any(|known| known == child.as_str())
        } else {
            let large = self
                .large
                .entry(parent.clone())
                .or_insert_with(|| node.children.iter().map(|child| NodeId::from(child.as_str())).collect());
            !large.insert(child.clone())
        };
        if !known {
            node.children.push(child.to_string());
            self.changed.insert(parent.clone());
        }
    }

    /// Keeps what is counted beside the nodes.
    fn account(&mut self, id: &NodeId, kind: NodeType, old: &Summary, new: &Summary) {
        let active = |node: &Summary| matches!(node.phase, NodePhase::Pending | NodePhase::Running);
        let boundary = self.by_id.get(id).and_then(|key| self.frames[*key].boundary);
        if let Some(boundary) = boundary.filter(|_| counts_for_boundary(kind)) {
            let (was, is) = (active(old), active(new));
            let (was_bad, is_bad) = (old.phase.is_failed_or_error(), new.phase.is_failed_or_error());
            let (waited, waits) = (was && old.waits, is && new.waits);
            if let Some(counts) = self.counts(boundary) {
                counts.active += i64::from(is) - i64::from(was);
                counts.waiting += i64::from(waits) - i64::from(waited);
                counts.unsuccessful += i64::from(is_bad) - i64::from(was_bad);
            }
            if was && !is {
                self.push(Event::Room(Some(boundary)));
            }
        }
        let running = |node: &Summary| kind == NodeType::Pod && node.phase == NodePhase::Running;
        self.running_pods += i64::from(running(new)) - i64::from(running(old));
        let unsynced = |node: &Summary| node.synced == Some(false);
        self.unsynced += i64::from(unsynced(new)) - i64::from(unsynced(old));
        if unsynced(old) && self.unsynced == 0 {
            // The workflow may have waited for nothing but this.
            self.push(Event::Workflow);
        }
        match (old.awaits_results(), new.awaits_results()) {
            (false, true) => {
                let finished = self.node(id.as_str()).and_then(|node| node.finished_at);
                self.await_results(id, finished.map_or(self.now, |time| time.0));
            }
            (true, false) => self.stop_awaiting(id),
            _ => {}
        }
        if new.daemoned == Some(true) {
            self.daemons.insert(id.clone());
        } else if !self.daemons.is_empty() {
            self.daemons.remove(id);
        }
        self.progress.0 += new.progress.0 - old.progress.0;
        self.progress.1 += new.progress.1 - old.progress.1;
        if new.progress != old.progress {
            self.out.status_changed = true;
        }
    }

    /// Tells whoever waits for a node that it changed.
    pub(crate) fn notify(&mut self, id: &NodeId) {
        let Some(key) = self.by_id.get(id).copied() else { return };
        let over = self.node(id.as_str()).is_some_and(phase_fulfilled);
        if over {
            self.leave(key);
        }
        match self.frames[key].parent {
            Parent::Entry | Parent::Exit | Parent::WorkflowHook => self.push(Event::Workflow),
            Parent::Slot { frame, slot } | Parent::Hook { frame, slot } => self.push(Event::Slot(frame, slot)),
            Parent::Attempt { retry } => self.push(Event::Retry(retry)),
            Parent::Group { steps } => self.push(Event::Group(steps)),
        }
        if !self.workflow_hooks.is_empty() {
            self.push(Event::Workflow);
        }
    }

    /// Clears up after a node that is over: its place under the limits, its task, its locks, its daemons.
    fn leave(&mut self, key: Key) {
        self.free_place(key);
        self.end_agent_task(key);
        self.unlock(key);
        if matches!(self.frames[key].body, Body::Steps(_) | Body::Dag(_)) {
            if !self.holds.is_empty() {
                self.let_held_go(key);
            }
            self.end_daemons_of(key);
        }
    }

    /// A Pod that no longer counts against the limits.
    pub(crate) fn free_place(&mut self, key: Key) {
        let boundary = self.frames[key].boundary;
        let Body::Pod(body) = &mut self.frames[key].body else { return };
        if !std::mem::take(&mut body.active) {
            return;
        }
        self.active_pods -= 1;
        if let Some(counts) = boundary.and_then(|boundary| self.counts(boundary)) {
            counts.active_pods -= 1;
        }
        self.push(Event::Room(None));
        if let Some(boundary) = boundary {
            self.push(Event::Room(Some(boundary)));
        }
    }

    /// Ends the daemons of steps or a DAG that is over. argo: exec_control.go, killDaemonedChildren.
    fn end_daemons_of(&mut self, boundary: Key) {
        let id = self.frames[boundary].id.clone();
        let children: Vec<NodeId> = self
            .daemons
            .iter()
            .filter(|daemon| self.node(daemon.as_str()).is_some_and(|node| node.boundary_id == id.as_str()))
            .cloned()
            .collect();
        for daemon in children {
            self.end_daemon(&daemon);
        }
    }

    pub(crate) fn end_daemon(&mut self, id: &NodeId) {
        if let Some(pod_name) = self.pod_name_of(id) {
            self.act(Action::KillPod { node: id.clone(), pod_name });
        }
        self.change(id, |node| {
            node.phase = NodePhase::Succeeded;
            node.daemoned = None;
        });
    }

    /// Whether something may still begin, given how the workflow is asked to end.
    pub(crate) fn may_run(&self, on_exit: bool) -> bool {
        match self.shutdown {
            None => true,
            Some(Shutdown::Stop) => on_exit,
            Some(Shutdown::Terminate) => false,
        }
    }

    /// Sets a node's outputs and what of them is exported to the workflow.
    pub(crate) fn set_outputs(&mut self, id: &NodeId, outputs: Outputs) {
        self.export(&outputs);
        self.change(id, |node| node.outputs = Some(Box::new(outputs)));
    }
}

/// What of a node others wait for, or is counted.
#[derive(PartialEq)]
struct Summary {
    phase: NodePhase,
    fulfilled: bool,
    daemoned: Option<bool>,
    synced: Option<bool>,
    waits: bool,
    progress: (i64, i64),
}

impl Summary {
    fn of(node: &NodeStatus) -> Summary {
        Summary {
            phase: node.phase,
            fulfilled: fulfilled(node),
            daemoned: node.daemoned,
            synced: node.task_result_synced,
            waits: node.synchronization_status.is_some(),
            progress: parse_progress(&node.progress),
        }
    }

    /// Whether it is over but for its results.
    fn awaits_results(&self) -> bool {
        self.phase.is_fulfilled() && self.synced == Some(false)
    }
}

/// The type of the node of a template that is not retried. argo: workflow_types.go, GetNodeType.
pub(crate) fn node_type(template: &Template) -> NodeType {
    match template.template_type() {
        Some(TemplateType::Steps) => NodeType::Steps,
        Some(TemplateType::Dag) => NodeType::Dag,
        Some(TemplateType::Suspend) => NodeType::Suspend,
        Some(TemplateType::Http) => NodeType::Http,
        Some(TemplateType::Plugin) => NodeType::Plugin,
        _ => NodeType::Pod,
    }
}

/// Whether a node counts against the parallelism of the steps or DAG it is in.
pub(crate) fn counts_for_boundary(kind: NodeType) -> bool {
    matches!(kind, NodeType::Pod | NodeType::Steps | NodeType::Dag)
}

pub(crate) fn is_running_pod(node: &NodeStatus) -> bool {
    node.r#type == NodeType::Pod && node.phase == NodePhase::Running
}

/// Whether a node's progress is its own, and not the sum of what is below it. argo: progress/updater.go.
pub(crate) fn has_own_progress(kind: NodeType) -> bool {
    matches!(kind, NodeType::Pod | NodeType::Http | NodeType::Plugin | NodeType::Container | NodeType::Suspend)
}

fn complete_progress(node: &mut NodeStatus) {
    if has_own_progress(node.r#type) {
        if node.progress.is_empty() {
            node.progress = "0/1".into();
        }
        if matches!(node.phase, NodePhase::Succeeded | NodePhase::Skipped | NodePhase::Omitted) {
            let (_, total) = parse_progress(&node.progress);
            node.progress = format!("{total}/{total}");
        }
    }
}

/// `N/M`; nothing where it is not valid. argo: progress.go.
pub(crate) fn parse_progress(text: &str) -> (i64, i64) {
    let parsed = text.split_once('/').and_then(|(done, total)| Some((done.parse().ok()?, total.parse().ok()?)));
    match parsed {
        Some((done, total)) if 0 <= done && done <= total && total > 0 => (done, total),
        _ => (0, 0),
    }
}

/// A node's name without its boundary's. argo: operator.go, stepsOrDagSeparator.
fn display_name(name: &str, boundary: &str) -> String {
    let rest = name.strip_prefix(boundary).unwrap_or(name);
    if let Some(after_dot) = rest.strip_prefix('.') {
        return after_dot.to_string();
    }
    let group = rest.strip_prefix('[').and_then(|inside| inside.split_once("]."));
    match group {
        Some((digits, step)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            step.to_string()
        }
        _ => rest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names() {
        assert_eq!(display_name("wf[0].a", "wf"), "a");
        assert_eq!(display_name("wf[0]", "wf"), "[0]");
        assert_eq!(display_name("wf.task(0:x)(1)", "wf"), "task(0:x)(1)");
        assert_eq!(display_name("wf.onExit", "wf"), "onExit");
    }

    #[test]
    fn progress() {
        assert_eq!(parse_progress("1/2"), (1, 2));
        assert_eq!(parse_progress("3/2"), (0, 0));
        assert_eq!(parse_progress("x"), (0, 0));
    }
}
