//! DAGs: a task begins when what it depends on is over and came out as asked. argo: dag.go.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::json;
use tiphys_api::{NodeFlag, NodePhase, NodeStatus, NodeType, Task, Template};
use tiphys_expr::lang;

use crate::depends::depends;
use crate::expand::{expand, is_loop, resolve_task};
use crate::frame::{Body, CallerKind, Counts, DagBody, DagTask, GroupBody, Key, ResultRefs, Slot, continues_on};
use crate::id::NodeId;
use crate::node::Birth;
use crate::outputs::template_outputs;
use crate::run::{Run, Stop, fulfilled};
use crate::scope::{Place, Scope};
use crate::templates::{Base, to_json};

impl Run {
    pub(crate) fn begin_dag(&mut self, key: Key, base: Base, template: Arc<Template>) -> Result<(), Stop> {
        if !self.has_node(key) {
            let birth = Birth { template: Some(&template), ..Birth::of(NodeType::Dag, NodePhase::Running) };
            self.make_node(key, birth);
            self.link_to_parent(key);
        }
        let mut body = self.read_dag(key, base, &template)?;
        body.counts = self.adopted_counts.remove(&self.frames[key].id).unwrap_or_default();
        let roots: Vec<usize> = body
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| task.needed && task.unmet == 0)
            .map(|(index, _)| index)
            .collect();
        let empty = body.open == 0;
        self.frames[key].body = Body::Dag(Box::new(body));
        for task in roots {
            self.begin_task(key, task);
        }
        if empty {
            self.finish_dag(key);
        }
        Ok(())
    }

    /// Reads the tasks of a DAG: who waits for whom, and which of them the targets need.
    fn read_dag(&self, key: Key, base: Base, template: &Arc<Template>) -> Result<DagBody, Stop> {
        let written = template.dag.as_ref().map(|dag| dag.tasks.as_slice()).unwrap_or_default();
        let index: FxHashMap<String, usize> =
            written.iter().enumerate().map(|(index, task)| (task.name.clone(), index)).collect();
        let find = |name: &str| index.get(name).map(|index| &written[*index]);
        let mut tasks: Vec<DagTask> = Vec::with_capacity(written.len());
        for task in written {
            let read = depends(task, &find);
            let mut dependencies = Vec::with_capacity(read.tasks.len());
            for name in &read.tasks {
                let Some(found) = index.get(name) else {
                    return Err(Stop::Failed(format!(
                        "task '{}' depends on '{name}', which does not exist",
                        task.name
                    )));
                };
                dependencies.push(*found);
            }
            tasks.push(DagTask {
                task: Arc::new(task.clone()),
                unmet: dependencies.len(),
                dependencies,
                dependents: Vec::new(),
                logic: read.logic,
                needed: false,
                begun: false,
                released: false,
            });
        }
        for of in 0..tasks.len() {
            for on in tasks[of].dependencies.clone() {
                tasks[on].dependents.push(of);
            }
        }
        let target = template.dag.as_ref().map_or("", |dag| dag.target.as_str());
        let mut targets = Vec::new();
        if target.is_empty() {
            targets.extend((0..tasks.len()).filter(|index| tasks[*index].dependents.is_empty()));
            targets.sort_by(|one, other| written[*one].name.cmp(&written[*other].name));
        } else {
            for name in target.split(' ').filter(|name| !name.is_empty()) {
                let found = index.get(name);
                targets.push(*found.ok_or_else(|| Stop::Failed(format!("target {name} does not exist")))?);
            }
        }
        let mut open = targets.clone();
        while let Some(task) = open.pop() {
            if !std::mem::replace(&mut tasks[task].needed, true) {
                open.extend(&tasks[task].dependencies);
            }
        }
        let name = &self.frames[key].name;
        let slots = tasks
            .iter()
            .map(|task| {
                let node = self.id_of(&format!("{name}.{}", task.task.name));
                Slot::new(task.task.clone(), task.task.name.as_str().into(), node, true)
            })
            .collect();
        let open = tasks.iter().filter(|task| task.needed).count();
        let result_refs = ResultRefs::new(&to_json(&**template), "tasks");
        let template = template.clone();
        Ok(DagBody {
            template,
            base,
            tasks,
            slots,
            index,
            targets,
            open,
            held: Vec::new(),
            counts: Counts::default(),
            result_refs,
        })
    }

    /// Begins a task whose dependencies are over.
    fn begin_task(&mut self, dag: Key, index: usize) {
        if self.frame_node(dag).is_some_and(|node| node.phase.is_fulfilled()) {
            // It failed fast while its tasks were begun.
            return;
        }
        let Body::Dag(body) = &mut self.frames[dag].body else { return };
        if std::mem::replace(&mut body.tasks[index].begun, true) {
            return;
        }
        let (task, logic) = (body.tasks[index].task.clone(), body.tasks[index].logic.clone());
        let name = format!("{}.{}", self.frames[dag].name, task.name);
        let known = self.node_named(&name).map(|node| node.r#type);
        if known.is_none() && !logic.is_empty() {
            match self.dependencies_hold(dag, index, &logic) {
                Ok(true) => {}
                Ok(false) => {
                    let key = self.slot_frame(dag, index, name, &task, CallerKind::Task);
                    self.leave_out(key, NodePhase::Omitted, "omitted: depends condition not met");
                    return;
                }
                Err(message) => {
                    let key = self.slot_frame(dag, index, name, &task, CallerKind::Task);
                    self.err_in_slot(key, &message);
                    return;
                }
            }
        }
        if known == Some(NodeType::Skipped) {
            let key = self.slot_frame(dag, index, name, &task, CallerKind::Task);
            self.begin(key);
            return;
        }
        match self.expand_task(dag, index, &task) {
            Ok((resolved, None)) => self.begin_single(dag, index, name, &resolved),
            Ok((_, Some(tasks))) => self.begin_loop(dag, index, name, &task, tasks),
            Err(Stop::Failed(message)) => {
                let key = self.slot_frame(dag, index, name, &task, CallerKind::Task);
                self.err_in_slot(key, &message);
            }
            Err(Stop::Need(need)) => self.need(need, None),
            Err(_) => {}
        }
    }

    fn expand_task(&self, dag: Key, index: usize, task: &Task) -> Result<(Task, Option<Vec<Task>>), Stop> {
        let scope = Scope::new(self, Place::Dag { dag, task: index });
        let resolved = resolve_task(task, &scope, "")?;
        let expanded = if is_loop(&resolved) { expand(&resolved, &scope)? } else { None };
        Ok((resolved, expanded))
    }

    fn begin_single(&mut self, dag: Key, index: usize, name: String, task: &Task) {
        let key = self.slot_frame(dag, index, name, task, CallerKind::Task);
        if self.has_node(key) {
            self.begin(key);
            return;
        }
        self.begin_if(key, task);
    }

    /// Begins a call unless its condition is false.
    fn begin_if(&mut self, key: Key, task: &Task) {
        match tiphys_expr::when::evaluate(&task.when) {
            Err(error) => self.err_in_slot(key, &error.to_string()),
            Ok(false) => self.skip(key, &format!("when '{}' evaluated false", task.when)),
            Ok(true) => self.begin(key),
        }
    }

    /// The iterations of a task hang off a node of their own.
    fn begin_loop(&mut self, dag: Key, index: usize, name: String, task: &Task, tasks: Vec<Task>) {
        let group = self.slot_frame(dag, index, name.clone(), task, CallerKind::Task);
        if tasks.is_empty() {
            self.skip(group, "Skipped, empty params");
            return;
        }
        self.frames[group].flag = Some(NodeFlag::default());
        if !self.has_node(group) {
            self.make_node(group, Birth::of(NodeType::TaskGroup, NodePhase::Running));
            self.link_to_parent(group);
        } else if self.frame_node(group).is_some_and(fulfilled) {
            self.frames[group].body = Body::Closed;
            self.tell(group);
            return;
        }
        let origin: Arc<str> = task.name.as_str().into();
        let prefix = format!("{}.", self.frames[dag].name);
        let slots: Vec<Slot> = tasks
            .iter()
            .map(|iteration| {
                let node = self.id_of(&format!("{prefix}{}", iteration.name));
                let own = Task { on_exit: task.on_exit.clone(), hooks: task.hooks.clone(), ..iteration.clone() };
                Slot::new(Arc::new(own), origin.clone(), node, false)
            })
            .collect();
        let open = slots.len();
        self.frames[group].body = Body::TaskGroup(Box::new(GroupBody { slots, open }));
        for (slot, iteration) in tasks.into_iter().enumerate() {
            let name = format!("{prefix}{}", iteration.name);
            let key = self.slot_frame(group, slot, name, &iteration, CallerKind::Task);
            if self.has_node(key) {
                self.begin(key);
            } else {
                self.begin_if(key, &iteration);
            }
        }
    }

    /// A task that is not run because of how others came out.
    fn leave_out(&mut self, key: Key, phase: NodePhase, message: &str) {
        self.frames[key].body = Body::Closed;
        self.frames[key].flag = Some(NodeFlag::default());
        self.make_node(key, Birth { message, ..Birth::of(NodeType::Skipped, phase) });
        self.tell(key);
    }

    /// Evaluates `depends`. argo: dag.go, evaluateDependsLogic.
    fn dependencies_hold(&self, dag: Key, index: usize, logic: &str) -> Result<bool, String> {
        let Body::Dag(body) = &self.frames[dag].body else { return Ok(false) };
        let mut environment = serde_json::Map::new();
        for dependency in &body.tasks[index].dependencies {
            let slot = &body.slots[*dependency];
            let Some(node) = self.node(slot.node.as_str()) else { continue };
            let name = slot.origin.replace('-', "_");
            if !environment.contains_key(&name) {
                environment.insert(name, self.results(node));
            }
        }
        let logic = logic.replace('-', "_");
        let environment = tiphys_expr::Value::from_json(&serde_json::Value::Object(environment));
        lang::eval_bool(&logic, &environment)
            .map_err(|error| format!("unable to evaluate expression '{logic}': {error}"))
    }

    fn results(&self, node: &NodeStatus) -> serde_json::Value {
        let is_group = node.r#type == NodeType::TaskGroup;
        let children = || node.children.iter().filter_map(|id| self.node(id)).map(|child| child.phase);
        json!({
            "Succeeded": node.phase == NodePhase::Succeeded,
            "Failed": node.phase == NodePhase::Failed,
            "Errored": node.phase == NodePhase::Error,
            "Skipped": node.phase == NodePhase::Skipped,
            "Omitted": node.phase == NodePhase::Omitted,
            "Daemoned": node.daemoned == Some(true) && node.phase != NodePhase::Pending,
            "AnySucceeded": is_group && children().any(|phase| phase == NodePhase::Succeeded),
            "AllFailed": is_group && !node.children.is_empty() && children().all(|phase| phase == NodePhase::Failed),
        })
    }

    /// Hangs a task's node under what it depends on.
    pub(crate) fn link_task(&mut self, dag: Key, index: usize, child: &NodeId) {
        let Body::Dag(body) = &self.frames[dag].body else { return };
        let before: Vec<NodeId> =
            body.tasks[index].dependencies.iter().map(|dependency| body.slots[*dependency].node.clone()).collect();
        if before.is_empty() {
            let parent = self.frames[dag].id.clone();
            self.add_child(&parent, child);
        }
        for dependency in before {
            for outbound in self.outbound(&dependency) {
                self.add_child(&outbound, child);
            }
        }
    }

    /// A task and its hooks are done: who waits for it may begin.
    pub(crate) fn task_settled(&mut self, dag: Key, index: usize) {
        let Body::Dag(body) = &mut self.frames[dag].body else { return };
        if std::mem::replace(&mut body.tasks[index].released, true) {
            return;
        }
        body.open -= 1;
        let mut ready = Vec::new();
        for dependent in body.tasks[index].dependents.clone() {
            let task = &mut body.tasks[dependent];
            task.unmet -= 1;
            if task.unmet == 0 && task.needed {
                ready.push(dependent);
            }
        }
        for dependent in ready {
            self.begin_task(dag, dependent);
        }
        if matches!(&self.frames[dag].body, Body::Dag(body) if body.open == 0) {
            self.finish_dag(dag);
        }
    }

    /// Every iteration is done: the group fails as the last one that failed. argo: executeDAGTask.
    pub(crate) fn finish_task_group(&mut self, group: Key) {
        let Body::TaskGroup(body) = &self.frames[group].body else { return };
        let mut phase = NodePhase::Succeeded;
        for slot in &body.slots {
            if let Some(node) = self.node(slot.node.as_str()).filter(|node| node.phase.is_failed_or_error()) {
                phase = node.phase;
            }
        }
        self.mark_frame(group, phase, None);
    }

    fn finish_dag(&mut self, dag: Key) {
        if self.frame_node(dag).is_none_or(|node| node.phase.is_fulfilled()) {
            return;
        }
        // A DAG that is at work when the workflow is shut down has failed, however its tasks come out.
        let stopped = self.shutdown.is_some() && !self.frames[dag].on_exit;
        let phase = if stopped { NodePhase::Failed } else { self.assess(dag) };
        if phase.is_failed_or_error() {
            self.mark_outbound(dag);
            self.mark_frame(dag, phase, None);
            return;
        }
        let Body::Dag(body) = &self.frames[dag].body else { return };
        let template = body.template.clone();
        let found = {
            let scope = Scope::local(self, Place::DagEnd { dag });
            template_outputs(&template, &scope)
        };
        self.mark_outbound(dag);
        self.finish_composite(dag, found);
    }

    /// The phase of a DAG whose tasks are all done: branches carry the last completed phase down to the targets.
    /// argo: dag.go, assessDAGPhase.
    fn assess(&self, dag: Key) -> NodePhase {
        let Body::Dag(body) = &self.frames[dag].body else { return NodePhase::Succeeded };
        let mut targets: HashMap<&str, NodePhase> =
            body.targets.iter().map(|target| (body.slots[*target].node.as_str(), NodePhase::Unknown)).collect();
        let start = self.frame_node(dag).map(|node| node.children.as_slice()).unwrap_or_default();
        let mut queue: VecDeque<(&str, NodePhase)> =
            start.iter().map(|id| (id.as_str(), NodePhase::Succeeded)).collect();
        let mut seen: HashSet<(&str, NodePhase)> = queue.iter().copied().collect();
        while let Some((id, inherited)) = queue.pop_front() {
            let Some(node) = self.node(id) else { continue };
            let branch = if node.phase.is_completed() { node.phase } else { inherited };
            if let Some(known) = targets.get_mut(id)
                && !known.is_failed_or_error()
            {
                *known = branch;
            }
            let mut follow = |next: &'_ str| {
                if let Some((key, _)) = self.wf.status.nodes.get_key_value(next)
                    && seen.insert((key.as_str(), branch))
                {
                    queue.push_back((key.as_str(), branch));
                }
            };
            if node.r#type == NodeType::Retry {
                for child in node.children.iter().rev().filter_map(|id| self.node(id)) {
                    if child.node_flag.as_ref().is_some_and(|flag| flag.hooked) {
                        follow(&child.id);
                    } else {
                        child.children.iter().for_each(|id| follow(id));
                    }
                }
            } else {
                node.children.iter().for_each(|id| follow(id));
            }
        }
        let fail_fast = body.template.dag.as_ref().and_then(|template| template.fail_fast) != Some(false);
        let mut result = NodePhase::Succeeded;
        for target in &body.targets {
            let slot = &body.slots[*target];
            let phase = targets.get(slot.node.as_str()).copied().unwrap_or_default();
            if phase.is_failed_or_error() && !continues_on(&slot.task, phase) {
                result = phase;
                if fail_fast {
                    break;
                }
            }
        }
        result
    }
}
