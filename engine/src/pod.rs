//! Nodes that are Pods: asking for them, and reading their state.
//!
//! argo: operator.go, executeContainer, assessNodeStatus, inferFailedReason; workflowpod.go.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tiphys_api::{IntOrString, NodePhase, NodeStatus, NodeType, Outputs, Task, Template, TemplateType, Time};

use crate::fact::{ContainerState, ContainerStatus, PodPhase, PodState};
use crate::frame::{Body, Key, Parent, PodBody};
use crate::id::NodeId;
use crate::node::{Birth, parse_progress};
use crate::plan::{Action, PodRequest};
use crate::run::{Run, Stop, fulfilled, phase_fulfilled};
use crate::templates::{Base, Resolved};

const MAIN: &str = "main";
const WAIT: &str = "wait";
const SUPERVISOR: &str = "supervisor";
const INIT: &str = "init";
/// The exit code by which main says that the supervisor could not prepare it.
const SUPERVISOR_FAILED: i32 = 65;
const DEADLINE: &str = "Step exceeded its deadline";

impl Run {
    /// Makes the node of a Pod and asks for the Pod.
    pub(crate) fn begin_pod(&mut self, key: Key, resolved: Resolved, template: Arc<Template>) -> Result<(), Stop> {
        let pod_name = self.pod_name(&self.frames[key].name, &template.name);
        if !self.has_node(key) {
            let birth = Birth {
                template: Some(&template),
                reports: !template.is_daemon(),
                ..Birth::of(NodeType::Pod, NodePhase::Pending)
            };
            self.make_node(key, birth);
            self.link_to_parent(key);
        } else if self.frame_node(key).is_some_and(|node| node.started_at.is_none()) {
            // It failed in the workflow that this one was made from (memoized resubmit), and begins only now.
            let (id, now) = (self.frames[key].id.clone(), Time::from_second(self.now.as_second()));
            let estimated = self.frame_node(key).map_or(0, |node| self.estimated(&node.name));
            self.change(&id, |node| {
                node.started_at = Some(now);
                node.estimated_duration = estimated;
            });
        }
        self.frames[key].body = Body::Pod(PodBody {
            pod_name,
            template: resolved,
            rank: 0,
            active: false,
            killed: false,
            complete: false,
            held: None,
        });
        if self.adopted_places.contains(&self.frames[key].id) {
            // Whatever becomes of the node from here on, it gives its place back.
            self.take_place(key);
        }
        if let (Some(NodePhase::Running), Body::Pod(body)) =
            (self.frame_node(key).map(|node| node.phase), &mut self.frames[key].body)
        {
            body.rank = rank(PodPhase::Running);
        }
        let lost = |node: &&NodeStatus| node.phase != NodePhase::Pending && !phase_fulfilled(node);
        if let Some(node) = self.frame_node(key).filter(|_| self.config.rerun_lost_pods).filter(lost) {
            let (over, on_exit) = (node.phase.is_fulfilled(), self.frames[key].on_exit);
            if !over && self.may_run(on_exit) && !self.is_overdue(on_exit) {
                self.run_again(key);
            } else {
                let id = self.frames[key].id.clone();
                self.nothing_more_is_reported(&id);
            }
        }
        let phase = self.frame_node(key).map_or(NodePhase::Pending, |node| node.phase);
        if phase == NodePhase::Pending {
            self.ask_for_pod(key, &template)?;
        } else {
            self.take_place(key);
        }
        self.make_container_nodes(key, &template);
        let id = self.frames[key].id.clone();
        self.catch_up(&id);
        Ok(())
    }

    /// Nothing is left of a Pod: its node begins anew.
    fn run_again(&mut self, key: Key) {
        let id = self.frames[key].id.clone();
        if let Body::Pod(body) = &mut self.frames[key].body {
            body.rank = 0;
        }
        self.change(&id, |node| {
            node.phase = NodePhase::Pending;
            node.message = String::new();
            node.daemoned = None;
            node.outputs = None;
            node.finished_at = None;
            node.task_result_synced = node.task_result_synced.map(|_| true);
        });
        for container in self.containers_of(&id) {
            self.change(&container, |node| {
                node.phase = NodePhase::Pending;
                node.message = String::new();
                node.finished_at = None;
            });
        }
    }

    /// Emits the request for a Pod, unless the workflow is being shut down or out of time.
    fn ask_for_pod(&mut self, key: Key, template: &Arc<Template>) -> Result<(), Stop> {
        let (on_exit, boundary, id) =
            (self.frames[key].on_exit, self.frames[key].boundary, self.frames[key].id.clone());
        if let (false, Some(strategy)) = (self.may_run(on_exit), self.shutdown) {
            let message = format!("workflow shutdown with strategy: {}", strategy.as_str());
            self.mark(&id, NodePhase::Failed, Some(&message));
            return Ok(());
        }
        if self.is_overdue(on_exit) {
            self.mark(&id, NodePhase::Failed, Some(DEADLINE));
            return Ok(());
        }
        if self.pending_limit(key, template)?.is_some_and(|limit| limit <= self.now) && self.began_before(key) {
            self.end_pending(key);
            return Ok(());
        }
        let active_deadline_seconds = self.pod_deadline(key, template)?;
        let include_script_output = template.template_type() == Some(TemplateType::Data) || self.result_is_used(key);
        let pod_name = match &self.frames[key].body {
            Body::Pod(body) => body.pod_name.clone(),
            _ => return Ok(()),
        };
        let mut variables = BTreeMap::from([
            ("pod.name".to_owned(), pod_name.clone()),
            ("node.name".to_owned(), self.frames[key].name.clone()),
        ]);
        for input in &template.inputs.parameters {
            let value = input.value.as_ref().map_or("", |value| value.as_str());
            variables.insert(format!("inputs.parameters.{}", input.name), value.to_string());
        }
        if let Parent::Attempt { retry } = self.frames[key].parent {
            variables.extend(self.attempt_variables_of(retry, key));
        }
        let request = PodRequest {
            node: id,
            node_name: self.frames[key].name.clone(),
            pod_name,
            template: template.clone(),
            boundary: boundary.and_then(|boundary| self.template_of(boundary)),
            on_exit,
            include_script_output,
            deadline: self.executor_deadline(key),
            active_deadline_seconds,
            volumes: self.volumes_for(key)?,
            globals: self.globals.snapshot(),
            variables,
            avoid_hosts: self.hosts_to_avoid(key),
        };
        self.take_place(key);
        self.act(Action::CreatePod(Box::new(request)));
        Ok(())
    }

    /// The processed template of a boundary.
    pub(crate) fn template_of(&self, boundary: Key) -> Option<Arc<Template>> {
        match &self.frames[boundary].body {
            Body::Steps(body) => Some(body.template.clone()),
            Body::Dag(body) => Some(body.template.clone()),
            _ => None,
        }
    }

    /// `activeDeadlineSeconds` of the Pod. argo: workflowpod.go: what is left of the workflow's deadline or the
    /// template's own, whichever is less; a `timeout` replaces both.
    fn pod_deadline(&mut self, key: Key, template: &Template) -> Result<Option<i64>, Stop> {
        let own = match &template.active_deadline_seconds {
            None => None,
            Some(IntOrString::Int(seconds)) => Some(*seconds),
            Some(text @ IntOrString::String(_)) => Some(text.as_i64().ok_or_else(|| {
                Stop::Failed(format!(
                    "template '{}': activeDeadlineSeconds '{text}' is no number of seconds",
                    template.name
                ))
            })?),
        };
        let on_exit = self.frames[key].on_exit;
        let left = self.deadline.filter(|_| !on_exit).map(|deadline| whole_seconds(deadline.duration_since(self.now)));
        let mut seconds = match (own, left) {
            (Some(own), Some(left)) => Some(own.min(left)),
            (own, left) => own.or(left),
        };
        if let Some(limit) = self.limit(key, &template.timeout)? {
            if limit <= self.now {
                return Err(Stop::Failed(format!("{} exceeded its deadline", self.frames[key].name)));
            }
            seconds = Some(whole_seconds(limit.duration_since(self.now)).max(1));
        }
        if let Some(limit) = self.pending_limit(key, template)? {
            self.watch_pending(key, limit);
        }
        Ok(seconds)
    }

    /// The moment that a duration from the node's beginning leads to; None for an empty text.
    fn limit(&self, key: Key, text: &str) -> Result<Option<Timestamp>, Stop> {
        if text.is_empty() {
            return Ok(None);
        }
        let started = self.frame_node(key).and_then(|node| node.started_at).map_or(self.now, |time| time.0);
        let length = duration(text).map_err(|error| format!("invalid timeout format {error}"))?;
        Ok(Some(started.checked_add(length).unwrap_or(Timestamp::MAX)))
    }

    /// Until when the node may be Pending.
    pub(crate) fn pending_limit(&self, key: Key, template: &Template) -> Result<Option<Timestamp>, Stop> {
        let (whole, pending) = (self.limit(key, &template.timeout)?, self.limit(key, &template.pending_timeout)?);
        Ok(whole.into_iter().chain(pending).min())
    }

    /// Whether the node was there before this moment.
    pub(crate) fn began_before(&self, key: Key) -> bool {
        self.frame_node(key).and_then(|node| node.started_at).is_some_and(|started| started.0 < self.time().0)
    }

    /// ARGO_DEADLINE: what is left of the workflow or of the retries' `maxDuration`.
    fn executor_deadline(&self, key: Key) -> Option<Timestamp> {
        let workflow = self.deadline.filter(|_| !self.frames[key].on_exit);
        let retries = match self.frames[key].parent {
            Parent::Attempt { retry } => match &self.frames[retry].body {
                Body::Retry(body) => body.deadline,
                _ => None,
            },
            _ => None,
        };
        match (workflow, retries) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// A Pending node has waited as long as its template allows.
    pub(crate) fn pending_too_long(&mut self, key: Key) {
        if self.frame_node(key).is_some_and(|node| node.phase == NodePhase::Pending) {
            self.end_pending(key);
        }
    }

    pub(crate) fn end_pending(&mut self, key: Key) {
        const MESSAGE: &str = "timeout";
        match &self.frames[key].body {
            Body::Pod(_) => self.end_pod_node(key, MESSAGE),
            Body::New => self.end_waiting(key, MESSAGE),
            _ => self.mark_frame(key, NodePhase::Failed, Some(MESSAGE)),
        }
    }

    /// The nodes of a container set's containers.
    fn make_container_nodes(&mut self, key: Key, template: &Template) {
        let Some(set) = &template.container_set else { return };
        if self.frame_node(key).is_some_and(|node| node.phase.is_fulfilled()) {
            return;
        }
        let (pod_id, pod_name) = (self.frames[key].id.clone(), self.frames[key].name.clone());
        let id_of = |run: &Run, container: &str| run.id_of(&format!("{pod_name}.{container}"));
        for container in &set.containers {
            let id = id_of(self, &container.name);
            if self.node(id.as_str()).is_some() {
                continue;
            }
            let task = self.frames[key].call.task.clone();
            let node = NodeStatus {
                id: id.to_string(),
                name: format!("{pod_name}.{}", container.name),
                display_name: container.name.clone(),
                r#type: NodeType::Container,
                template_name: task.template.clone(),
                template_ref: task.template_ref.clone(),
                template_scope: self.frames[key].call.base.scope(),
                phase: NodePhase::Pending,
                boundary_id: pod_id.to_string(),
                started_at: Some(self.time()),
                node_flag: self.frames[key].flag.clone().map(Box::new),
                ..Default::default()
            };
            self.insert(&id, node);
        }
        for container in &set.containers {
            let id = id_of(self, &container.name);
            if container.dependencies.is_empty() {
                self.add_child(&pod_id, &id);
            }
            for dependency in &container.dependencies {
                let parent = id_of(self, dependency);
                self.add_child(&parent, &id);
            }
        }
    }

    /// The Pod could not be made.
    pub(crate) fn pod_refused(&mut self, id: &NodeId, message: &str, transient: bool) {
        let Some(key) = self.by_id.get(id).copied() else { return };
        if self.frame_node(key).is_none_or(|node| node.phase != NodePhase::Pending) {
            return;
        }
        if transient {
            self.mark(id, NodePhase::Pending, Some(message));
            return;
        }
        self.free_place(key);
        self.mark(id, NodePhase::Error, Some(message));
        self.child_erred(key, message);
    }

    /// The Pod is not there (any more).
    pub(crate) fn pod_gone(&mut self, id: &NodeId) {
        let Some(node) = self.node(id.as_str()) else { return };
        if node.r#type != NodeType::Pod || phase_fulfilled(node) {
            return;
        }
        if node.phase.is_fulfilled() {
            // It was ended for another reason, and nobody is left to report.
            self.nothing_more_is_reported(id);
            return;
        }
        if node.phase == NodePhase::Pending {
            // It was never there: ask again.
            if let Some(key) = self.by_id.get(id).copied() {
                self.ask_again(key);
            }
            return;
        }
        self.nothing_more_is_reported(id);
        self.change(id, |node| node.daemoned = None);
        self.mark(id, NodePhase::Error, Some("pod deleted"));
        for child in self.open_containers_of(id) {
            self.mark(&child, NodePhase::Error, Some("container deleted"));
        }
    }

    /// No result of the node is waited for any longer.
    pub(crate) fn nothing_more_is_reported(&mut self, id: &NodeId) {
        if let Some(Body::Pod(body)) = self.by_id.get(id).map(|key| &mut self.frames[*key].body) {
            body.complete = true;
        }
        self.change(id, |node| node.task_result_synced = node.task_result_synced.map(|_| true));
    }

    fn ask_again(&mut self, key: Key) {
        let Body::Pod(_) = &self.frames[key].body else { return };
        self.free_place(key);
        self.frames[key].body = Body::New;
        self.push(crate::run::Event::Begin(key));
    }

    /// The nodes of a Pod's containers, where it is a container set.
    fn containers_of(&self, id: &NodeId) -> Vec<NodeId> {
        let Some(frame) = self.by_id.get(id).map(|key| &self.frames[*key]) else { return Vec::new() };
        let Body::Pod(body) = &frame.body else { return Vec::new() };
        let containers = body.template.template().container_set.iter().flat_map(|set| &set.containers);
        let ids = containers.map(|container| self.id_of(&format!("{}.{}", frame.name, container.name)));
        ids.filter(|id| self.node(id.as_str()).is_some_and(|node| node.r#type == NodeType::Container)).collect()
    }

    /// Those of them that are not over.
    fn open_containers_of(&self, id: &NodeId) -> Vec<NodeId> {
        let mut containers = self.containers_of(id);
        containers.retain(|id| self.node(id.as_str()).is_some_and(|node| !node.phase.is_fulfilled()));
        containers
    }

    /// Ends a node whose Pod is killed for a reason outside of it, and its containers' nodes. argo: exec_control.go.
    pub(crate) fn end_pod_node(&mut self, key: Key, message: &str) {
        let id = self.frames[key].id.clone();
        if let Body::Pod(body) = &mut self.frames[key].body {
            body.killed = true;
            let pod_name = body.pod_name.clone();
            self.act(Action::KillPod { node: id.clone(), pod_name });
        }
        self.mark(&id, NodePhase::Failed, Some(message));
        for child in self.open_containers_of(&id) {
            self.mark(&child, NodePhase::Failed, Some(message));
        }
    }

    fn template_of_pod(&self, id: &NodeId) -> Option<&Arc<Template>> {
        match &self.frames[*self.by_id.get(id)?].body {
            Body::Pod(body) => Some(body.template.template()),
            _ => None,
        }
    }

    /// What the executor reported. argo: taskresult.go.
    pub(crate) fn task_result(&mut self, id: &NodeId, outputs: Outputs, progress: &str, complete: bool) {
        let Some(node) = self.node(id.as_str()) else { return };
        let mut held = None;
        let mut known = phase_fulfilled(node);
        // Nobody waits for what a daemon leaves behind: Argo has closed the node by then.
        if fulfilled(node) && self.template_of_pod(id).is_some_and(|template| template.is_daemon()) {
            return;
        }
        if let Some(Body::Pod(body)) = self.by_id.get(id).map(|key| &mut self.frames[*key].body) {
            known |= body.complete;
            body.complete |= complete;
            held = if complete { body.held.take() } else { None };
        }
        if known && !complete {
            // It comes late: the whole was reported before.
            return;
        }
        self.take_results(id, outputs, progress, complete);
        if let Some(state) = held {
            self.pod_observed(id, &state);
        }
    }

    /// Puts what was reported into the node, and exports it; nothing where it was told before.
    fn take_results(&mut self, id: &NodeId, outputs: Outputs, progress: &str, complete: bool) {
        let Some(node) = self.node(id.as_str()) else { return };
        let is_same = |known: &Outputs| Outputs { exit_code: outputs.exit_code.clone(), ..known.clone() } == outputs;
        let news = outputs != Outputs::default() && !node.outputs.as_deref().is_some_and(is_same);
        let progressed = parse_progress(progress) != (0, 0) && node.progress != progress;
        if !news && !progressed && node.task_result_synced.is_none_or(|synced| synced == complete) {
            return;
        }
        if news {
            self.export(&outputs);
        }
        self.change(id, |node| {
            if news {
                let exit_code = node.outputs.take().and_then(|known| known.exit_code);
                let exit_code = exit_code.or_else(|| outputs.exit_code.clone());
                node.outputs = Some(Box::new(Outputs { exit_code, ..outputs }));
            }
            if progressed {
                node.progress = progress.to_string();
            }
            if node.task_result_synced.is_some() {
                node.task_result_synced = Some(complete);
            }
        });
    }

    /// The state of a Pod. argo: operator.go, assessNodeStatus.
    pub(crate) fn pod_observed(&mut self, id: &NodeId, state: &PodState) {
        let Some(node) = self.node(id.as_str()) else { return };
        let over = node.phase.is_fulfilled();
        let key = self.by_id.get(id).copied();
        let Some((key, Body::Pod(body))) = key.map(|key| (key, &mut self.frames[key].body)) else {
            if over {
                self.look_after(id, state);
            } else {
                self.left_pod_observed(id, state);
            }
            return;
        };
        let rank = rank(state.phase);
        if rank < body.rank || body.killed && rank < 2 {
            return;
        }
        body.rank = body.rank.max(rank);
        if over {
            self.look_after(id, state);
            return;
        }
        let (template, complete) = (body.template.template().clone(), body.complete);
        if self.restart_if_lost(key, id, state, &template) {
            return;
        }
        let Some(node) = self.node(id.as_str()) else { return };
        let old_phase = node.phase;
        let pod_name = || self.pod_name_of(id).unwrap_or_default();
        let (phase, message) = match judge(&template, state, pod_name, &self.wf.metadata.namespace) {
            Verdict::Ignore => return,
            Verdict::Is(phase, message) => (phase, message),
        };
        if template.container_set.is_some() {
            self.note_containers(id, state);
        }
        let mut phase = phase;
        if aux(state).is_some_and(|aux| matches!(aux.status, ContainerStatus::Running))
            && phase.is_completed()
            && state.phase != PodPhase::Failed
        {
            phase = old_phase;
        }
        let silent = is_silent(Some(&template), state);
        // What the supervisor reported is known before the node is over, in whatever order the two facts come.
        let will_report = !template.is_daemon() && aux_exit_code(state) == Some(0) && !complete;
        let held = phase.is_completed() && will_report;
        if held {
            phase = old_phase;
        }
        let message = message.filter(|_| !held);
        let daemon = template.is_daemon() && phase == NodePhase::Running;
        let finished = latest_finish(state).unwrap_or_else(|| self.time());
        let exit_code = exit_code(state);
        let now_daemoned = daemon;
        let mut used_before = None;
        self.change(id, |node| {
            if let Some(code) = exit_code {
                node.outputs.get_or_insert_default().exit_code = Some(code.to_string());
            }
            if silent {
                node.task_result_synced = node.task_result_synced.map(|_| true);
            }
            node.host_node_name.clone_from(&state.host);
            if phase == NodePhase::Succeeded && !outputs_ready(&template, node) {
                phase = old_phase;
            }
            let leaves_pending = node.phase == NodePhase::Pending
                && !matches!(phase, NodePhase::Pending | NodePhase::Failed | NodePhase::Error);
            match message {
                Some(message) => node.message = message,
                None if leaves_pending => node.message = String::new(),
                None => {}
            }
            node.daemoned = now_daemoned.then_some(true);
            if now_daemoned {
                node.pod_ip.clone_from(&state.ip);
            }
            node.phase = phase;
            if phase.is_fulfilled() && node.finished_at.is_none() {
                node.finished_at = Some(finished);
                let used = state.resources_duration.clone();
                used_before = Some(std::mem::replace(&mut node.resources_duration, used));
            }
        });
        if let Some(before) = used_before {
            self.note_use(&before, &state.resources_duration);
        }
        if let Body::Pod(body) = &mut self.frames[key].body {
            body.complete |= silent;
            body.held = (rank == 2 && !phase.is_completed()).then(|| Box::new(state.clone()));
        }
        if rank == 2 && !phase.is_completed() {
            self.await_results(id, finished.0);
        } else if self.node(id.as_str()).is_some_and(phase_fulfilled) {
            self.stop_awaiting(id);
        }
        self.note_running();
        if phase == NodePhase::Succeeded && template.memoize.is_some() {
            self.save_memo(key);
        }
        let cleanup = state.phase == PodPhase::Running && mains_need_ending(&template, state);
        if cleanup
            && let Some(pod_name) = self.pod_name_of(id)
            && let Body::Pod(body) = &mut self.frames[key].body
            && !std::mem::replace(&mut body.killed, true)
        {
            self.act(Action::EndSidecars { node: id.clone(), pod_name });
        }
    }

    /// The Pod of a node whose steps or DAG ended without it, and to which the engine does not come again.
    fn left_pod_observed(&mut self, id: &NodeId, state: &PodState) {
        let Some(node) = self.node(id.as_str()).filter(|node| node.r#type == NodeType::Pod) else { return };
        let task = Task {
            template: node.template_name.clone(),
            template_ref: node.template_ref.clone(),
            ..Default::default()
        };
        let base = Base::of_scope(&node.template_scope);
        let Some(template) = base.and_then(|base| self.peek_template(&base, &task)) else { return };
        let pod_name = || self.pod_name_of(id).unwrap_or_default();
        let verdict = judge(&template, state, pod_name, &self.wf.metadata.namespace);
        let Verdict::Is(phase, message) = verdict else { return };
        if phase.is_completed() {
            self.nothing_more_is_reported(id);
        }
        self.mark(id, phase, message.as_deref());
    }

    /// After a restart that took the Pods with it: nobody tells of those to which the engine does not come again.
    pub(crate) fn give_up_left_pods(&mut self) {
        let nodes = self.wf.status.nodes.values().filter(|node| node.r#type == NodeType::Pod && !phase_fulfilled(node));
        let left = nodes.filter(|node| !self.is_within_reach(node)).map(|node| NodeId::from(node.id.as_str()));
        for id in left.collect::<Vec<NodeId>>() {
            self.pod_gone(&id);
        }
    }

    /// The Pod of a node that is over. One that is still there has to be ended, again if need be: whether it was before
    /// a restart is not known.
    fn look_after(&mut self, id: &NodeId, state: &PodState) {
        if is_silent(self.template_of_pod(id).map(AsRef::as_ref), state)
            && self.node(id.as_str()).is_some_and(|node| node.task_result_synced == Some(false))
        {
            self.nothing_more_is_reported(id);
        }
        if matches!(state.phase, PodPhase::Succeeded | PodPhase::Failed) {
            return;
        }
        let Some(pod_name) = self.pod_name_of(id) else { return };
        if let Some(Body::Pod(body)) = self.by_id.get(id).map(|key| &mut self.frames[*key].body) {
            body.killed = true;
        }
        self.act(Action::KillPod { node: id.clone(), pod_name });
    }

    /// The nodes of a container set follow their containers.
    fn note_containers(&mut self, id: &NodeId, state: &PodState) {
        let Some(pod_name) = self.node(id.as_str()).map(|node| node.name.clone()) else { return };
        for container in state.containers.iter().filter(|container| !container.init) {
            let child = self.id_of(&format!("{pod_name}.{}", container.name));
            if self.node(child.as_str()).is_none_or(|node| node.r#type != NodeType::Container) {
                continue;
            }
            let name = &container.name;
            match &container.status {
                ContainerStatus::Terminated { exit_code, reason, message, .. } => {
                    let text = format!("{name}: {reason} (exit code {exit_code}): {message}");
                    match exit_code {
                        0 => self.mark(&child, NodePhase::Succeeded, None),
                        64 => self.mark(&child, NodePhase::Error, Some(&text)),
                        _ => self.mark(&child, NodePhase::Failed, Some(&text)),
                    }
                }
                _ if state.phase == PodPhase::Failed => {
                    self.mark(&child, NodePhase::Failed, Some("Pod Failed whilst container running"));
                }
                ContainerStatus::Waiting { .. } => self.mark(&child, NodePhase::Pending, None),
                ContainerStatus::Running => self.mark(&child, NodePhase::Running, None),
            }
        }
    }

    /// Variables that hold for one Pod's volumes: `spec.volumes` may use whatever the step can see.
    fn volumes_for(&self, key: Key) -> Result<Vec<serde_json::Value>, Stop> {
        if self.spec.volumes.is_empty() {
            return Ok(Vec::new());
        }
        let text = crate::templates::to_json(&self.spec.volumes);
        if !text.contains("{{") {
            return Ok(self.spec.volumes.clone());
        }
        let replaced = match self.place_of(key) {
            Some(place) => {
                let scope = crate::scope::Scope::new(self, place);
                tiphys_expr::template::replace(&text, &scope, true)
            }
            None => tiphys_expr::template::replace(&text, &self.globals, true),
        };
        let replaced = replaced.map_err(|error| Stop::Failed(error.to_string()))?;
        serde_json::from_str(&replaced).map_err(|error| Stop::Failed(error.to_string()))
    }

    /// Whether somebody refers to the node's `outputs.result`. argo: operator.go, includeScriptOutput.
    fn result_is_used(&mut self, key: Key) -> bool {
        let Some(boundary) = self.frames[key].boundary else { return false };
        let name = written_name(&self.frames[key].name).to_string();
        match &mut self.frames[boundary].body {
            Body::Steps(body) => body.result_refs.contains(&name),
            Body::Dag(body) => body.result_refs.contains(&name),
            _ => false,
        }
    }

    /// Hosts on which something failed below the retry node that the Pod, or the steps or DAG it is in, is an attempt of, where
    /// the strategy asks to keep away from them. argo: retry_tweak.go.
    fn hosts_to_avoid(&self, key: Key) -> Vec<String> {
        let retry_of = |key: Key| match self.frames[key].parent {
            Parent::Attempt { retry } => Some(retry),
            _ => None,
        };
        let Some(retry) = retry_of(key).or_else(|| self.frames[key].boundary.and_then(retry_of)) else {
            return Vec::new();
        };
        let affinity = self.strategy(retry).and_then(|strategy| strategy.affinity);
        if affinity.is_none_or(|affinity| affinity.node_anti_affinity.is_none()) {
            return Vec::new();
        }
        let mut hosts: Vec<String> = Vec::new();
        let (mut seen, mut open) = (HashSet::new(), vec![self.frames[retry].id.as_str()]);
        while let Some(node) = open.pop().and_then(|id| self.node(id)) {
            let host = &node.host_node_name;
            let failed = node.r#type == NodeType::Pod && node.phase.is_failed_or_error() && !host.is_empty();
            if failed && !hosts.contains(host) {
                hosts.push(host.clone());
            }
            open.extend(node.children.iter().map(String::as_str).filter(|child| seen.insert(*child)).rev());
        }
        hosts
    }

    fn attempt_variables_of(&self, retry: Key, key: Key) -> BTreeMap<String, String> {
        let Body::Retry(body) = &self.frames[retry].body else { return BTreeMap::new() };
        let number = body.attempts.iter().position(|attempt| *attempt == key).unwrap_or(0);
        let previous = number.checked_sub(1).and_then(|index| body.attempts.get(index)).copied();
        self.attempt_variables(number, previous)
    }
}

fn rank(phase: PodPhase) -> u8 {
    match phase {
        PodPhase::Pending => 0,
        PodPhase::Running => 1,
        PodPhase::Succeeded | PodPhase::Failed => 2,
    }
}

enum Verdict {
    /// Nothing to say yet.
    Ignore,
    /// The phase, and a message where one is set.
    Is(NodePhase, Option<String>),
}

fn judge(template: &Template, state: &PodState, pod_name: impl Fn() -> String, namespace: &str) -> Verdict {
    match state.phase {
        PodPhase::Pending => Verdict::Is(NodePhase::Pending, Some(pending_reason(state))),
        PodPhase::Succeeded if template.is_daemon() => Verdict::Is(NodePhase::Failed, None),
        PodPhase::Succeeded => Verdict::Is(NodePhase::Succeeded, None),
        PodPhase::Failed => {
            let (phase, message) = failed_reason(template, state, pod_name, namespace);
            Verdict::Is(phase, Some(message))
        }
        PodPhase::Running if template.is_daemon() => {
            let all_ready =
                state.containers.iter().filter(|container| !container.init).all(|container| container.ready);
            if all_ready { Verdict::Is(NodePhase::Running, None) } else { Verdict::Ignore }
        }
        PodPhase::Running => Verdict::Is(NodePhase::Running, None),
    }
}

fn pending_reason(state: &PodState) -> String {
    for container in state.containers.iter().filter(|container| !container.init) {
        if let ContainerStatus::Waiting { reason, message } = &container.status {
            return if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
        }
    }
    if state.unschedulable.is_empty() { String::new() } else { format!("Unschedulable: {}", state.unschedulable) }
}

/// Whether a container is one of the template's main ones.
fn is_main(template: &Template, name: &str) -> bool {
    match &template.container_set {
        Some(set) => set.containers.iter().any(|container| container.name == name),
        None => name == MAIN,
    }
}

fn aux(state: &PodState) -> Option<&ContainerState> {
    state
        .containers
        .iter()
        .find(|container| !container.init && (container.name == WAIT || container.name == SUPERVISOR))
}

fn aux_exit_code(state: &PodState) -> Option<i32> {
    aux(state).and_then(|aux| match aux.status {
        ContainerStatus::Terminated { exit_code, .. } => Some(exit_code),
        _ => None,
    })
}

/// Whether whoever reports can tell nothing (more), because it ended badly or was evicted with its Pod. That is the supervisor,
/// or the main container where that is the executor itself.
fn is_silent(template: Option<&Template>, state: &PodState) -> bool {
    if aux(state).is_some() {
        return aux_exit_code(state).is_some_and(|code| code != 0);
    }
    let executor =
        |template: &Template| matches!(template.template_type(), Some(TemplateType::Resource | TemplateType::Data));
    let evicted = state.phase == PodPhase::Failed && state.reason == "Evicted";
    evicted || template.is_some_and(executor) && exit_code(state).is_some_and(|code| code != 0)
}

/// Why a Pod failed. argo: operator.go, inferFailedReason.
fn failed_reason(
    template: &Template,
    state: &PodState,
    pod_name: impl Fn() -> String,
    namespace: &str,
) -> (NodePhase, String) {
    if !state.message.is_empty() {
        return (NodePhase::Failed, state.message.clone());
    }
    let sentinel = state.containers.iter().any(|container| {
        is_main(template, &container.name)
            && matches!(container.status, ContainerStatus::Terminated { exit_code: SUPERVISOR_FAILED, .. })
    });
    let order = |name: &str| match name {
        SUPERVISOR if sentinel => 0,
        name if is_main(template, name) => 1,
        SUPERVISOR | WAIT => 2,
        _ => 3,
    };
    let mut containers: Vec<&ContainerState> = state.containers.iter().filter(|container| !container.init).collect();
    containers.sort_by_key(|container| order(&container.name));
    let all: Vec<&ContainerState> =
        state.containers.iter().filter(|container| container.init).chain(containers).collect();
    if all.is_empty() {
        return (NodePhase::Failed, format!("can't find failed message for pod {} namespace {namespace}", pod_name()));
    }
    let (mut main_ok, mut wait_ok) = (false, false);
    for container in all {
        let name = &container.name;
        match &container.status {
            ContainerStatus::Waiting { reason, message } => {
                let text = format!("Pod failed before {name} container starts due to {reason}: {message}");
                return (NodePhase::Error, text);
            }
            ContainerStatus::Running => {}
            ContainerStatus::Terminated { exit_code: 0, .. } => {
                main_ok |= is_main(template, name);
                wait_ok |= name == WAIT || name == SUPERVISOR;
            }
            ContainerStatus::Terminated { exit_code, reason, message, .. } => {
                let mut text = format!("{name}: {reason} (exit code {exit_code})");
                if !message.is_empty() {
                    text.push_str(": ");
                    text.push_str(message);
                }
                if name == INIT || name == WAIT || name == SUPERVISOR {
                    return (NodePhase::Error, text);
                }
                if is_main(template, name) || !matches!(exit_code, 137 | 143) {
                    return (NodePhase::Failed, text);
                }
            }
        }
    }
    match (main_ok, wait_ok) {
        (true, true) => (NodePhase::Succeeded, String::new()),
        (true, false) => (NodePhase::Failed, "pod failed: wait container did not complete successfully".into()),
        (false, true) => (NodePhase::Failed, "pod failed: main container did not complete successfully".into()),
        (false, false) => {
            (NodePhase::Failed, "pod failed: neither main nor wait container completed successfully".into())
        }
    }
}

/// A running Pod whose main containers are over, or one of them badly. argo: operator.go, podHasContainerNeedingTermination.
fn mains_need_ending(template: &Template, state: &PodState) -> bool {
    let mains = || state.containers.iter().filter(|container| !container.init && is_main(template, &container.name));
    let code = |container: &ContainerState| match container.status {
        ContainerStatus::Terminated { exit_code, .. } => Some(exit_code),
        _ => None,
    };
    mains().any(|container| code(container).is_some_and(|code| code != 0))
        || mains().all(|container| code(container).is_some())
}

fn exit_code(state: &PodState) -> Option<i32> {
    state.containers.iter().filter(|container| !container.init && container.name == MAIN).find_map(|container| {
        match container.status {
            ContainerStatus::Terminated { exit_code, .. } => Some(exit_code),
            _ => None,
        }
    })
}

fn latest_finish(state: &PodState) -> Option<Time> {
    let finishes = state.containers.iter().filter_map(|container| match container.status {
        ContainerStatus::Terminated { finished, .. } => finished,
        _ => None,
    });
    finishes.max()
}

/// Whether what the template declares as outputs has come. argo: operator.go, assessNodeStatus.
fn outputs_ready(template: &Template, node: &NodeStatus) -> bool {
    let Some(outputs) = &node.outputs else { return true };
    let declared = &template.outputs;
    let parameters = declared.parameters.is_empty() || !outputs.parameters.is_empty();
    let required = declared.artifacts.iter().any(|artifact| !artifact.optional);
    let artifacts = !required || !outputs.artifacts.is_empty();
    let result = declared.result.is_none() || outputs.result.is_some();
    parameters && artifacts && result
}

/// The name of the step or task as written, from a node's name. argo: operator.go, getStepOrDAGTaskName.
fn written_name(node_name: &str) -> &str {
    let mut opener = None;
    let mut end = 0;
    for (index, char) in node_name.char_indices().rev() {
        match (opener, char) {
            (Some(open), char) if open == char => opener = None,
            (Some(_), _) => {}
            (None, ')') => opener = Some('('),
            (None, ']') => opener = Some('['),
            (None, _) => {
                end = index + char.len_utf8();
                break;
            }
        }
    }
    let name = &node_name[..end];
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// A duration as Argo reads it, a bare number being seconds. argo: utils.go, ParseStringToDuration.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let nanoseconds = tiphys_expr::go::parse_argo_duration(text);
    nanoseconds
        .map(SignedDuration::from_nanos)
        .map_err(|error| format!("unable to parse {text} as a duration: {error}"))
}

fn whole_seconds(duration: SignedDuration) -> i64 {
    duration.as_secs() + i64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_indices() {
        assert_eq!(written_name("wf[0].fan(2:foo)(1)"), "fan");
        assert_eq!(written_name("wf.a.b"), "b");
        assert_eq!(written_name("wf"), "wf");
    }

    #[test]
    fn a_pod_without_containers_is_named_with_its_namespace() {
        let state = PodState { phase: PodPhase::Failed, ..PodState::default() };
        let (phase, message) = failed_reason(&Template::default(), &state, || "wf-pod-1".to_owned(), "team");
        assert_eq!(phase, NodePhase::Failed);
        assert_eq!(message, "can't find failed message for pod wf-pod-1 namespace team");
    }
}
