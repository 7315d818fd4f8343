//! The workflow as a whole: how it begins, its hooks and exit handler, how it is stopped, how it ends.
//! argo: operator.go, operate and markWorkflowPhase.

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_api::{Arguments, Condition, LifecycleHook, NodeFlag, NodePhase, NodeStatus, NodeType, Task, WorkflowPhase};

use crate::fact::Shutdown;
use crate::frame::{Body, Counts, Key, Parent};
use crate::globals::template_name;
use crate::id::{NodeId, PodNameFormat, pod_name};
use crate::plan::{Action, Need};
use crate::run::{Event, Event2, Run, Stage, fulfilled, phase_fulfilled};
use crate::setup::Refusal;
use crate::slot::{evaluate_globally, has_open_hooks};
use crate::templates::Base;
use crate::unreported::awaits_results;

const LABEL_PHASE: &str = "workflows.argoproj.io/phase";
const LABEL_COMPLETED: &str = "workflows.argoproj.io/completed";
const POD_NAME_FORMAT: &str = "workflows.argoproj.io/pod-name-format";
const DEADLINE: &str = "Step exceeded its deadline";

impl Run {
    /// Goes on with the workflow as a whole.
    pub(crate) fn advance_workflow(&mut self) {
        match self.stage {
            Stage::SetUp => self.start(),
            Stage::Locks => self.open(),
            Stage::Main => self.advance_main(),
            Stage::Exit => self.advance_exit(),
            Stage::Done => {}
        }
    }

    fn start(&mut self) {
        match self.set_up() {
            Ok(()) => {}
            Err(Refusal::Wait) => return,
            Err(Refusal::End(phase, message)) => {
                self.end(phase, &message);
                return;
            }
        }
        self.pod_names = match self.wf.metadata.annotations.get(POD_NAME_FORMAT).map(String::as_str) {
            Some("v1") => PodNameFormat::V1,
            Some(_) => PodNameFormat::V2,
            None => self.config.pod_names,
        };
        self.stage = Stage::Locks;
        self.open();
    }

    /// Begins the work, once the workflow has its locks.
    fn open(&mut self) {
        if !self.lock_workflow() {
            return;
        }
        if matches!(self.wf.status.phase, WorkflowPhase::Unknown | WorkflowPhase::Pending) {
            self.set_phase(WorkflowPhase::Running, "");
            self.pod_names = self.config.pod_names;
            self.wf.metadata.annotations.insert(POD_NAME_FORMAT.into(), self.pod_names.as_str().into());
        }
        self.set_deadline();
        self.stage = Stage::Main;
        self.globals.set("workflow.status", WorkflowPhase::Running.as_str());
        self.note_duration();
        if self.suspended() {
            return;
        }
        self.enter();
    }

    /// Sets the workflow's deadline by its spec.
    pub(crate) fn set_deadline(&mut self) {
        if let Some(before) = self.deadline.take() {
            self.timers.remove(&(before, Event2::Deadline));
        }
        if let (Some(seconds), Some(started)) = (self.spec.active_deadline_seconds, self.wf.status.started_at) {
            let deadline = started.0 + jiff::SignedDuration::from_secs(seconds);
            self.deadline = Some(deadline);
            self.timers.insert((deadline, Event2::Deadline));
        }
    }

    fn enter(&mut self) {
        if self.awaits_claims() {
            return self.need(Need::VolumeClaims, None);
        }
        if self.wf.status.phase == WorkflowPhase::Pending {
            self.set_phase(WorkflowPhase::Running, "");
        }
        self.workflow_hooks =
            self.spec.hooks.keys().filter(|name| *name != "exit").map(|name| (name.clone(), None)).collect();
        self.account_for_adopted();
        self.meter_workflow_begins();
        let task = Task { template: self.spec.entrypoint.clone(), ..Default::default() };
        let call = self.plain_call(self.local_base(), task, self.spec.arguments.clone());
        let name = self.wf.metadata.name.clone();
        let key = self.new_call(name, Parent::Entry, None, false, 1, None, call);
        self.entry = Some(key);
        self.begin(key);
        self.push(Event::Workflow);
    }

    /// The counts of a status that was taken over.
    fn account_for_adopted(&mut self) {
        if !self.restoring {
            return;
        }
        let nodes = self.wf.status.nodes.values();
        let sums = nodes
            .clone()
            .filter(|node| crate::node::has_own_progress(node.r#type))
            .map(|node| crate::node::parse_progress(&node.progress));
        self.progress = sums.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        self.unsynced =
            i64::try_from(nodes.clone().filter(|node| node.task_result_synced == Some(false)).count()).unwrap_or(0);
        let unreported = nodes.clone().filter(|node| awaits_results(node));
        let unreported: Vec<(NodeId, Timestamp)> = unreported
            .map(|node| (NodeId::from(node.id.as_str()), node.finished_at.map_or(self.now, |time| time.0)))
            .collect();
        self.daemons = nodes
            .clone()
            .filter(|node| node.daemoned == Some(true))
            .map(|node| NodeId::from(node.id.as_str()))
            .collect();
        let mut counts: FxHashMap<NodeId, Counts> = FxHashMap::default();
        let counted = nodes.clone().filter(|node| crate::node::counts_for_boundary(node.r#type));
        for node in counted.filter(|node| !node.boundary_id.is_empty()) {
            let counts = counts.entry(NodeId::from(node.boundary_id.as_str())).or_default();
            let active = matches!(node.phase, NodePhase::Pending | NodePhase::Running);
            counts.active += i64::from(active);
            counts.waiting += i64::from(active && node.synchronization_status.is_some());
            counts.unsuccessful += i64::from(node.phase.is_failed_or_error());
        }
        let mut places = FxHashSet::default();
        let waits = |node: &NodeStatus| node.synchronization_status.is_some();
        for node in nodes.clone().filter(|node| node.r#type == NodeType::Pod && !phase_fulfilled(node)) {
            if !waits(node) && self.is_within_reach(node) {
                places.insert(NodeId::from(node.id.as_str()));
                counts.entry(NodeId::from(node.boundary_id.as_str())).or_default().active_pods += 1;
            }
        }
        self.active_pods = i64::try_from(places.len()).unwrap_or(i64::MAX);
        self.adopted_places = places;
        self.adopted_counts = counts;
        self.running_pods = i64::try_from(nodes.filter(|node| crate::node::is_running_pod(node)).count()).unwrap_or(0);
        unreported.iter().for_each(|(id, ended)| self.await_results(id, *ended));
        self.sum_use();
        self.save_memos_again();
        if self.config.rerun_lost_pods {
            self.give_up_left_pods();
        }
    }

    /// Whether everything around a node is still at work, so that the engine comes to it again.
    pub(crate) fn is_within_reach(&self, node: &NodeStatus) -> bool {
        let mut boundary = node.boundary_id.as_str();
        while let Some(around) = self.node(boundary) {
            if around.phase.is_fulfilled() {
                return false;
            }
            boundary = around.boundary_id.as_str();
        }
        true
    }

    /// The base of the workflow's own templates: nameless where its spec came from a template.
    fn local_base(&self) -> Base {
        let name = if self.wf.spec.workflow_template_ref.is_some() { "" } else { self.wf.metadata.name.as_str() };
        Base::Local(name.into())
    }

    fn advance_main(&mut self) {
        let Some(entry) = self.entry else {
            if !self.suspended() {
                self.enter();
            }
            return;
        };
        self.note_duration();
        let Some((phase, over)) = self.frame_node(entry).map(|node| (node.phase, fulfilled(node))) else { return };
        // Hooks and exit handler see how the entry point is, whatever the workflow's own phase.
        self.globals.set("workflow.status", outcome(phase).as_str());
        if over {
            self.note_failures();
        }
        let hooks_done = self.run_workflow_hooks();
        if !over {
            self.globals.set("workflow.status", WorkflowPhase::Running.as_str());
        }
        let Some(node) = self.frame_node(entry) else { return };
        if !over || !hooks_done || has_open_hooks(self, node) {
            return;
        }
        let Some(hook) = self.exit_handler().filter(|_| self.may_run(true) || self.exit_node_exists()) else {
            self.conclude(None);
            return;
        };
        self.stage = Stage::Exit;
        let task =
            Task { template: hook.template.clone(), template_ref: hook.template_ref.clone(), ..Default::default() };
        let arguments = self.with_own_variables(hook.arguments);
        let call = self.plain_call(self.local_base(), task, arguments);
        let name = format!("{}.onExit", self.wf.metadata.name);
        let flag = NodeFlag { hooked: true, ..Default::default() };
        let key = self.new_call(name, Parent::Exit, None, true, 1, Some(flag), call);
        self.exit = Some(key);
        self.begin(key);
        self.push(Event::Workflow);
    }

    /// Writes down which nodes have failed so far.
    fn note_failures(&mut self) {
        let (workflow, format) = (self.wf.metadata.name.clone(), self.config.pod_names);
        let mut globals = std::mem::take(&mut self.globals);
        globals.set_failures(self.wf.status.nodes.values(), |node| {
            pod_name(format, &workflow, &node.name, template_name(node))
        });
        self.globals = globals;
    }

    /// Arguments of the exit handler may use what is known only now.
    fn with_own_variables(&self, arguments: Arguments) -> Arguments {
        let scope = crate::scope::Scope::new(self, crate::scope::Place::Workflow);
        crate::slot::resolve_arguments(&arguments, &scope).unwrap_or(arguments)
    }

    fn exit_node_exists(&self) -> bool {
        self.node_named(&format!("{}.onExit", self.wf.metadata.name)).is_some()
    }

    fn exit_handler(&self) -> Option<LifecycleHook> {
        let arguments = || self.spec.arguments.clone();
        if !self.spec.on_exit.is_empty() {
            return Some(LifecycleHook {
                template: self.spec.on_exit.clone(),
                arguments: arguments(),
                ..Default::default()
            });
        }
        self.spec.hooks.get("exit").map(|hook| {
            let mut hook = hook.clone();
            if hook.arguments == Arguments::default() {
                hook.arguments = arguments();
            }
            hook
        })
    }

    fn advance_exit(&mut self) {
        self.note_duration();
        let done = self.exit.and_then(|exit| self.frame_node(exit)).is_some_and(fulfilled);
        if done && self.run_workflow_hooks() {
            self.conclude(self.exit);
        }
    }

    fn note_duration(&mut self) {
        let started = self.wf.status.started_at.map_or(self.now, |time| time.0);
        let seconds = self.now.duration_since(started).as_secs_f64();
        self.globals.set("workflow.duration", format!("{seconds:.6}"));
    }

    /// Starts the workflow's life-cycle hooks whose expression is true; whether all that were started are done.
    fn run_workflow_hooks(&mut self) -> bool {
        let mut done = true;
        for index in 0..self.workflow_hooks.len() {
            let (name, started) = self.workflow_hooks[index].clone();
            if let Some(key) = started {
                done &= self.frame_node(key).is_some_and(fulfilled);
                continue;
            }
            let Some(hook) = self.spec.hooks.get(&name).cloned() else { continue };
            let hook_name = format!("{}.hooks.{name}", self.wf.metadata.name);
            let root = NodeId::from(self.wf.metadata.name.as_str());
            let wanted = if hook.expression.is_empty() {
                Err(crate::run::Stop::Failed(format!("Expression required for hook {hook_name}")))
            } else {
                evaluate_globally(&hook.expression, self)
            };
            match wanted {
                Ok(false) if self.node_named(&hook_name).is_none() => continue,
                Ok(_) => {}
                Err(crate::run::Stop::Failed(message)) => {
                    self.mark(&root, NodePhase::Error, Some(&message));
                    continue;
                }
                Err(_) => continue,
            }
            let task =
                Task { template: hook.template.clone(), template_ref: hook.template_ref.clone(), ..Default::default() };
            let call = self.plain_call(self.local_base(), task, hook.arguments.clone());
            let flag = NodeFlag { hooked: true, ..Default::default() };
            let key = self.new_call(hook_name, Parent::WorkflowHook, None, false, 1, Some(flag), call);
            self.workflow_hooks[index].1 = Some(key);
            self.begin(key);
            done &= self.frame_node(key).is_some_and(fulfilled);
        }
        done
    }

    /// The workflow's end, from that of its entry point and its exit handler.
    fn conclude(&mut self, exit: Option<Key>) {
        if self.unsynced > 0 || !self.daemons.is_empty() {
            for daemon in self.daemons.clone() {
                self.end_daemon(&daemon);
            }
            if self.unsynced > 0 {
                return;
            }
        }
        let Some(node) = self.entry.and_then(|entry| self.frame_node(entry)) else { return };
        let (phase, message) = match (outcome(node.phase), self.shutdown) {
            (WorkflowPhase::Succeeded, _) => (WorkflowPhase::Succeeded, String::new()),
            (phase, Some(strategy)) => (phase, format!("Stopped with strategy '{}'", strategy.as_str())),
            (phase, None) => (phase, node.message.clone()),
        };
        let exit = exit.and_then(|exit| self.frame_node(exit)).filter(|node| node.phase.is_failed_or_error());
        let (phase, message) = match exit {
            Some(exit) if phase == WorkflowPhase::Succeeded => (outcome(exit.phase), exit.message.clone()),
            _ => (phase, message),
        };
        self.end(phase, &message);
        self.meter_workflow_ends();
    }

    /// argo: operator.go: the entry point could not be run at all.
    pub(crate) fn entry_erred(&mut self, message: &str) {
        self.end(WorkflowPhase::Error, &format!("error in entry template execution: {message}"));
    }

    pub(crate) fn exit_erred(&mut self, message: &str) {
        self.end(WorkflowPhase::Error, &format!("error in exit template execution : {message}"));
    }

    /// Ends the workflow for good.
    pub(crate) fn end(&mut self, phase: WorkflowPhase, message: &str) {
        if self.stage == Stage::Done {
            return;
        }
        self.stage = Stage::Done;
        let root = NodeId::from(self.wf.metadata.name.as_str());
        if phase == WorkflowPhase::Error
            && self.node(root.as_str()).is_some_and(|node| node.phase == NodePhase::Running)
        {
            self.mark(&root, NodePhase::Error, Some("Workflow operation error"));
        }
        self.set_phase(phase, message);
        self.wf.status.finished_at = Some(self.time());
        self.wf.metadata.labels.insert(LABEL_COMPLETED.into(), "true".into());
        if self.wf.status.conditions.iter().any(|condition| condition.r#type == "PodRunning") {
            self.set_condition("PodRunning", "False");
        }
        self.set_condition("Completed", "True");
        self.sum_up();
        self.show_progress();
        self.timers.clear();
        self.unlock_workflow();
        self.act(Action::Finish);
    }

    /// Ends the workflow in Error, also where it was over: what it had come to cannot be told.
    pub(crate) fn unwritable(&mut self, message: &str) {
        match self.stage {
            Stage::Done => self.set_phase(WorkflowPhase::Error, message),
            _ => self.end(WorkflowPhase::Error, message),
        }
    }

    /// Whether there is no node before the workflow's volume claims are there. One that is asked to end, or out of time, waits for
    /// nothing. argo: operator.go, createPVCs.
    fn awaits_claims(&self) -> bool {
        let made = self.wf.status.persistent_volume_claims.len();
        made < self.spec.volume_claim_templates.len() && self.shutdown.is_none() && !self.is_overdue(false)
    }

    /// A volume claim cannot be made, now or at all. argo: operator.go, operate.
    pub(crate) fn claim_refused(&mut self, reason: &str, transient: bool) {
        if self.stage != Stage::Main || self.entry.is_some() {
            return;
        }
        if !transient {
            return self.end(WorkflowPhase::Error, &format!("pvc create error: {reason}"));
        }
        let message = format!("Waiting for a PVC to be created. {reason}");
        if self.wf.status.phase != WorkflowPhase::Pending || self.wf.status.message != message {
            self.set_phase(WorkflowPhase::Pending, &message);
        }
    }

    pub(crate) fn set_phase(&mut self, phase: WorkflowPhase, message: &str) {
        self.wf.status.phase = phase;
        self.wf.status.message = message.to_string();
        self.wf.metadata.labels.insert(LABEL_PHASE.into(), phase.to_string());
        self.wf.metadata.labels.entry(LABEL_COMPLETED.into()).or_insert_with(|| "false".into());
        if self.wf.status.started_at.is_none() && phase != WorkflowPhase::Pending {
            self.wf.status.started_at = Some(self.time());
        }
        self.show_progress();
        self.out.status_changed = true;
    }

    /// Writes the workflow's own progress.
    pub(crate) fn show_progress(&mut self) {
        self.wf.status.progress = format!("{}/{}", self.progress.0, self.progress.1);
    }

    /// The condition PodRunning, which Argo writes each time it looks at a workflow again.
    pub(crate) fn note_running(&mut self) {
        self.set_condition("PodRunning", if self.running_pods > 0 { "True" } else { "False" });
    }

    fn set_condition(&mut self, name: &str, status: &str) {
        let conditions = &mut self.wf.status.conditions;
        match conditions.iter_mut().find(|condition| condition.r#type == name) {
            Some(condition) if condition.status == status => {}
            Some(condition) => {
                condition.status = status.into();
                self.out.status_changed = true;
            }
            None => {
                conditions.push(Condition { r#type: name.into(), status: status.into(), ..Default::default() });
                self.out.status_changed = true;
            }
        }
    }

    /// The user asks to stop. argo: exec_control.go, failNodesWithoutCreatedPodsAfterDeadlineOrShutdown.
    pub(crate) fn shut_down(&mut self, strategy: Shutdown) {
        if self.stage == Stage::Done {
            return;
        }
        let strategy = self.shutdown.map_or(strategy, |known| known.max(strategy));
        self.shutdown = Some(strategy);
        self.wf.spec.shutdown = strategy.as_str().into();
        self.out.status_changed = true;
        self.wf.spec.suspend = None;
        self.give_up_if_terminated();
        self.end_active();
        let held: Vec<Key> = self.held.drain(..).collect();
        for key in held {
            self.push(Event::Begin(key));
        }
        for key in 0..self.frames.len() {
            let waiting = match &mut self.frames[key].body {
                Body::Steps(body) => std::mem::take(&mut body.held),
                Body::Dag(body) => std::mem::take(&mut body.held),
                _ => continue,
            };
            for key in waiting {
                self.push(Event::Begin(key));
            }
        }
        self.push(Event::Workflow);
    }

    /// The workflow's deadline has passed.
    pub(crate) fn deadline_passed(&mut self) {
        self.end_active();
        // It may not have begun yet.
        self.push(Event::Workflow);
    }

    /// Ends whatever is at work and may not be any longer.
    fn end_active(&mut self) {
        for key in 0..self.frames.len() {
            self.end_unless_allowed(key);
        }
    }

    /// Ends what is at work, for a shutdown or for the deadline; exit handlers go on unless the workflow is terminated.
    /// Daemons that are up go on until the steps or DAG around them is over.
    pub(crate) fn end_unless_allowed(&mut self, key: Key) {
        if self.frame_node(key).is_none_or(|node| fulfilled(node) || node.phase.is_fulfilled()) {
            return;
        }
        let on_exit = self.frames[key].on_exit;
        let stopped = self.shutdown.filter(|_| !self.may_run(on_exit));
        let (of_pods, of_pauses) = match stopped {
            Some(strategy) => (
                format!("workflow shutdown with strategy:  {}", strategy.as_str()),
                format!("Stopped with strategy '{}'", strategy.as_str()),
            ),
            None if self.is_overdue(on_exit) => (DEADLINE.to_string(), DEADLINE.to_string()),
            None => return,
        };
        match &self.frames[key].body {
            Body::Pod(_) => self.end_pod_node(key, &of_pods),
            Body::Suspend | Body::AgentTask(_) => self.mark_frame(key, NodePhase::Failed, Some(&of_pauses)),
            Body::Retry(_) => self.push(Event::Retry(key)),
            Body::New => self.end_waiting(key, &of_pauses),
            _ => {}
        }
    }

    /// Whether the workflow's deadline has passed for a node.
    pub(crate) fn is_overdue(&self, on_exit: bool) -> bool {
        !on_exit && self.deadline.is_some_and(|deadline| deadline <= self.now)
    }
}

/// argo: operate: what a workflow's phase is for its root node's.
fn outcome(phase: NodePhase) -> WorkflowPhase {
    match phase {
        NodePhase::Failed => WorkflowPhase::Failed,
        NodePhase::Error => WorkflowPhase::Error,
        NodePhase::Pending => WorkflowPhase::Pending,
        NodePhase::Running | NodePhase::Unknown => WorkflowPhase::Running,
        NodePhase::Succeeded | NodePhase::Skipped | NodePhase::Omitted => WorkflowPhase::Succeeded,
    }
}
