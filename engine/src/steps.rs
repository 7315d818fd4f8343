//! Steps: groups one after another, steps of a group side by side. argo: steps.go.

use std::collections::HashMap;
use std::sync::Arc;

use tiphys_api::{NodeFlag, NodePhase, NodeStatus, NodeType, Task, Template};

use crate::aggregate::check_results;
use crate::expand::{expand, resolve_task};
use crate::frame::{Body, Call, CallerKind, Frame, GroupBody, Key, Parent, ResultRefs, Slot, StepsBody, continues_on};
use crate::id::NodeId;
use crate::node::Birth;
use crate::outputs::template_outputs;
use crate::run::{Event, Run, Stop, fulfilled};
use crate::scope::{Place, Scope};
use crate::slot::shared;
use crate::templates::{Base, to_json};

impl Run {
    pub(crate) fn begin_steps(&mut self, key: Key, base: Base, template: Arc<Template>) -> Result<(), Stop> {
        if !self.has_node(key) {
            let birth = Birth { template: Some(&template), ..Birth::of(NodeType::Steps, NodePhase::Running) };
            self.make_node(key, birth);
            self.link_to_parent(key);
        }
        let mut names = HashMap::new();
        for (index, group) in template.steps.iter().flatten().enumerate() {
            names.extend(group.iter().map(|step| (step.name.clone(), index)));
        }
        let result_refs = ResultRefs::new(&to_json(&*template), "steps");
        let body = StepsBody {
            template,
            base,
            groups: Vec::new(),
            names,
            held: Vec::new(),
            counts: self.adopted_counts.remove(&self.frames[key].id).unwrap_or_default(),
            result_refs,
        };
        self.frames[key].body = Body::Steps(Box::new(body));
        self.advance_steps(key);
        Ok(())
    }

    /// Goes on after a group is over, or begins the first one.
    pub(crate) fn advance_steps(&mut self, key: Key) {
        let Body::Steps(body) = &self.frames[key].body else { return };
        let (last, total) = (body.groups.last().copied(), body.template.steps.as_ref().map_or(0, Vec::len));
        let begun = body.groups.len();
        if self.frame_node(key).is_some_and(|node| node.phase.is_fulfilled()) {
            return;
        }
        if let Some(group) = last {
            let Some(node) = self.frame_node(group) else { return };
            if !fulfilled(node) {
                return;
            }
            if node.phase.is_failed_or_error() {
                let message = node.message.clone();
                self.mark_outbound(key);
                self.mark_frame(key, NodePhase::Failed, Some(&message));
                return;
            }
            if let Err(Stop::Failed(message)) = self.check_loops(key, group) {
                self.mark_frame(key, NodePhase::Error, Some(&message));
                self.child_erred(key, &message);
                return;
            }
        }
        if begun < total {
            self.begin_group(key, begun);
        } else {
            self.finish_steps(key);
        }
    }

    /// Results of a group's loops that are referred to have to be such that they can be listed. Others are not captured.
    fn check_loops(&self, steps: Key, group: Key) -> Result<(), Stop> {
        let (Body::Steps(around), Body::Group(body)) = (&self.frames[steps].body, &self.frames[group].body) else {
            return Ok(());
        };
        let is_listed = |slot: &&Slot| slot.task.name != *slot.origin && around.result_refs.contains(&slot.origin);
        let iterations = body.slots.iter().filter(is_listed);
        let nodes: Vec<&NodeStatus> = iterations.filter_map(|slot| self.node(slot.node.as_str())).collect();
        check_results(&nodes)
    }

    fn begin_group(&mut self, steps: Key, index: usize) {
        let frame = &self.frames[steps];
        let (name, boundary) = (format!("{}[{index}]", frame.name), steps);
        let (depth, on_exit, base) = (frame.depth, frame.on_exit, self.steps_base(steps));
        let call = Call { task: Arc::default(), caller: CallerKind::Step, base, arguments: Arc::default() };
        let id = self.new_id(&name);
        let node = self.wf.status.nodes.index_of(id.as_str());
        let group = self.add_frame(Frame {
            name,
            id,
            node,
            parent: Parent::Group { steps },
            boundary: Some(boundary),
            on_exit,
            depth,
            flag: Some(NodeFlag::default()),
            call,
            body: Body::Group(Box::new(GroupBody { slots: Vec::new(), open: 0 })),
            linked: true,
        });
        let known = self.frame_node(group).map(fulfilled);
        if known.is_none() {
            self.make_node(group, Birth::of(NodeType::StepGroup, NodePhase::Running));
            self.link_group(steps, index, group);
        }
        if let Body::Steps(body) = &mut self.frames[steps].body {
            body.groups.push(group);
        }
        match self.fill_group(steps, index, group) {
            _ if known == Some(true) => self.push(Event::Group(steps)),
            Ok(()) => {}
            Err(Stop::Failed(message)) => self.end_group(group, NodePhase::Error, &message),
            Err(Stop::Need(need)) => self.need(need, None),
            Err(_) => {}
        }
    }

    fn steps_base(&self, steps: Key) -> Base {
        match &self.frames[steps].body {
            Body::Steps(body) => body.base.clone(),
            _ => self.frames[steps].call.base.clone(),
        }
    }

    /// Hangs a group under what came before it.
    fn link_group(&mut self, steps: Key, index: usize, group: Key) {
        let child = self.frames[group].id.clone();
        let previous = match (&self.frames[steps].body, index) {
            (Body::Steps(body), 1..) => body.groups.get(index - 1).copied(),
            _ => None,
        };
        let Some(previous) = previous else {
            let parent = self.frames[steps].id.clone();
            self.add_child(&parent, &child);
            return;
        };
        let children = self.frame_node(previous).map(|node| node.children.clone()).unwrap_or_default();
        if children.is_empty() {
            let parent = self.frames[previous].id.clone();
            self.add_child(&parent, &child);
        }
        for id in children {
            for outbound in self.outbound(&NodeId::from(id.as_str())) {
                self.add_child(&outbound, &child);
            }
        }
    }

    /// Resolves and expands the steps of a group, and begins them.
    fn fill_group(&mut self, steps: Key, index: usize, group: Key) -> Result<(), Stop> {
        let Body::Steps(body) = &self.frames[steps].body else { return Ok(()) };
        let written = body.template.steps.as_ref().and_then(|steps| steps.get(index)).cloned().unwrap_or_default();
        let place = Place::Steps { steps, before: index };
        let mut resolved = Vec::with_capacity(written.len());
        for step in &written {
            let scope = Scope::new(self, place);
            let task = resolve_task(step, &scope, "unable to resolve references: ").map_err(|stop| match stop {
                Stop::Failed(message) => Stop::Failed(format!("failed to resolve references: {message}")),
                other => other,
            })?;
            resolved.push(task);
        }
        let mut slots = Vec::new();
        let group_name = self.frames[group].name.clone();
        for (step, written) in resolved.into_iter().zip(&written) {
            let origin: Arc<str> = written.name.as_str().into();
            let expanded = {
                let scope = Scope::new(self, place);
                expand(&step, &scope)?
            };
            let looped = expanded.is_some();
            let tasks = expanded.unwrap_or_else(|| vec![step.clone()]);
            if looped && tasks.is_empty() {
                slots.push((step, origin, Some("Skipped, empty params")));
                continue;
            }
            slots.extend(tasks.into_iter().map(|task| (task, origin.clone(), None)));
        }
        let open = slots.len();
        let made: Vec<Slot> = slots
            .iter()
            .map(|(task, origin, _)| {
                let node = self.id_of(&format!("{group_name}.{}", task.name));
                Slot::new(Arc::new(task.clone()), origin.clone(), node, true)
            })
            .collect();
        self.frames[group].body = Body::Group(Box::new(GroupBody { slots: made, open }));
        for (slot, (task, _, skipped)) in slots.into_iter().enumerate() {
            if !matches!(self.frames[group].body, Body::Group(_)) {
                break;
            }
            self.begin_slot(group, slot, task, skipped);
        }
        if open == 0 {
            self.finish_group(group);
        }
        Ok(())
    }

    /// Begins what is in a slot of a group, unless its condition is false.
    fn begin_slot(&mut self, group: Key, slot: usize, task: Task, skipped: Option<&str>) {
        let name = format!("{}.{}", self.frames[group].name, task.name);
        let key = self.slot_frame(group, slot, name, &task, CallerKind::Step);
        if self.has_node(key) {
            self.begin(key);
            return;
        }
        if self.frame_node(group).is_none_or(|node| node.phase.is_fulfilled()) {
            self.frames[key].body = Body::Closed;
            return;
        }
        if let Some(reason) = skipped {
            self.skip(key, reason);
            return;
        }
        match tiphys_expr::when::evaluate(&task.when) {
            Err(error) => {
                let message = error.to_string();
                self.err_in_slot(key, &message);
                self.end_group(group, NodePhase::Error, &message);
            }
            Ok(false) => self.skip(key, &format!("when '{}' evaluated false", task.when)),
            Ok(true) => self.begin(key),
        }
    }

    /// The frame of the call in a slot.
    pub(crate) fn slot_frame(&mut self, owner: Key, slot: usize, name: String, task: &Task, caller: CallerKind) -> Key {
        let base = self.slot_base(owner);
        let (task, arguments) = shared(task.clone());
        let call = Call { task, caller, base, arguments };
        let boundary =
            if matches!(self.frames[owner].body, Body::Dag(_)) { Some(owner) } else { self.frames[owner].boundary };
        let (on_exit, depth) = (self.frames[owner].on_exit, self.frames[owner].depth + 1);
        let key = self.new_call(name, Parent::Slot { frame: owner, slot }, boundary, on_exit, depth, None, call);
        let node = self.frames[key].id.clone();
        let place = match &mut self.frames[owner].body {
            Body::Group(body) | Body::TaskGroup(body) => body.slots.get_mut(slot),
            Body::Dag(body) => body.slots.get_mut(slot),
            _ => None,
        };
        if let Some(place) = place {
            place.frame = Some(key);
            place.node = node;
        }
        key
    }

    /// A node that is not run.
    pub(crate) fn skip(&mut self, key: Key, reason: &str) {
        self.frames[key].body = Body::Closed;
        self.frames[key].flag = Some(NodeFlag::default());
        if !self.has_node(key) {
            self.make_node(key, Birth { message: reason, ..Birth::of(NodeType::Skipped, NodePhase::Skipped) });
        }
        self.tell(key);
    }

    /// A node that could not be run, for a reason that lies before its template.
    pub(crate) fn err_in_slot(&mut self, key: Key, message: &str) {
        self.frames[key].body = Body::Closed;
        self.frames[key].flag = Some(NodeFlag::default());
        self.err(key, message);
        self.tell(key);
    }

    /// Every step of a group is done: the group fails with the first that failed. argo: executeStepGroup.
    pub(crate) fn finish_group(&mut self, group: Key) {
        let Body::Group(body) = &self.frames[group].body else { return };
        if self.frame_node(group).is_some_and(|node| node.phase.is_fulfilled()) {
            return;
        }
        let by_node: HashMap<&str, &Slot> = body.slots.iter().map(|slot| (slot.node.as_str(), slot)).collect();
        let children = self.frame_node(group).map(|node| node.children.clone()).unwrap_or_default();
        let failed = children.iter().find(|child| {
            self.node(child).is_some_and(|node| {
                let goes_on = by_node.get(child.as_str()).is_some_and(|slot| continues_on(&slot.task, node.phase));
                node.phase.is_failed_or_error() && !goes_on
            })
        });
        match failed {
            Some(child) => {
                let message = format!("child '{child}' failed");
                self.mark_frame(group, NodePhase::Failed, Some(&message));
            }
            None => self.mark_frame(group, NodePhase::Succeeded, None),
        }
    }

    /// A group ends at once, whatever its steps do.
    pub(crate) fn end_group(&mut self, group: Key, phase: NodePhase, message: &str) {
        self.frames[group].body = Body::Closed;
        self.mark_frame(group, phase, Some(message));
    }

    fn finish_steps(&mut self, key: Key) {
        self.mark_outbound(key);
        let Body::Steps(body) = &self.frames[key].body else { return };
        let (template, before) = (body.template.clone(), body.groups.len());
        let found = {
            let scope = Scope::local(self, Place::Steps { steps: key, before });
            template_outputs(&template, &scope)
        };
        self.finish_composite(key, found);
    }

    /// Steps or a DAG succeeded; its outputs are taken from its children, unless that fails.
    pub(crate) fn finish_composite(&mut self, key: Key, outputs: Result<Option<tiphys_api::Outputs>, Stop>) {
        let id = self.frames[key].id.clone();
        match outputs {
            Ok(outputs) => {
                if let Some(outputs) = outputs {
                    self.set_outputs(&id, outputs);
                }
                self.save_memo(key);
                self.mark(&id, NodePhase::Succeeded, None);
            }
            Err(Stop::Failed(message)) => {
                self.mark(&id, NodePhase::Error, Some(&message));
                self.child_erred(key, &message);
            }
            Err(Stop::Need(need)) => self.need(need, None),
            Err(_) => {}
        }
    }
}
