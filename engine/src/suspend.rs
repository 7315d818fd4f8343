//! Pauses: suspend nodes, and the suspension of the whole workflow. argo: operator.go, executeSuspend; util.go.

use std::collections::BTreeMap;

use tiphys_api::{NodePhase, NodeStatus, NodeType, Outputs, Parameter, Template};

use crate::frame::{Body, Key};
use crate::id::NodeId;
use crate::node::Birth;
use crate::pod::duration;
use crate::run::{Event, Event2, Run, Stop};

impl Run {
    pub(crate) fn begin_suspend(&mut self, key: Key, template: &Template) -> Result<(), Stop> {
        let id = self.frames[key].id.clone();
        if !self.has_node(key) {
            let birth = Birth { template: Some(template), ..Birth::of(NodeType::Suspend, NodePhase::Pending) };
            self.make_node(key, birth);
            self.link_to_parent(key);
        }
        let pending = |node: &NodeStatus| node.phase == NodePhase::Pending;
        if self.frame_node(key).is_some_and(pending) {
            let supplied = supplied_outputs(template);
            self.change(&id, |node| {
                if !supplied.is_empty() {
                    node.outputs = Some(Box::new(Outputs { parameters: supplied, ..Default::default() }));
                }
                for input in node.inputs.iter_mut().flat_map(|inputs| &mut inputs.parameters) {
                    take_form(input);
                }
            });
        }
        self.frames[key].body = Body::Suspend;
        let text = template.suspend.as_ref().map_or("", |suspend| suspend.duration.as_str());
        if !text.is_empty() {
            let started = self.frame_node(key).and_then(|node| node.started_at).map_or(self.now, |time| time.0);
            self.timers.insert((started + duration(text)?, Event2::Suspend(key)));
        }
        if self.frame_node(key).is_some_and(|node| node.phase == NodePhase::Pending) {
            self.mark(&id, NodePhase::Running, None);
        }
        Ok(())
    }

    /// The duration of a suspend node is over.
    pub(crate) fn suspend_over(&mut self, key: Key) {
        let id = self.frames[key].id.clone();
        if self.frame_node(key).is_none_or(|node| node.phase.is_fulfilled()) {
            return;
        }
        self.finish_suspend(&id);
        let erred = self.frame_node(key).filter(|node| node.phase == NodePhase::Error).map(|node| node.message.clone());
        if let Some(message) = erred {
            self.child_erred(key, &message);
        }
    }

    /// Ends a suspend node with success; outputs that nobody supplied take their defaults.
    fn finish_suspend(&mut self, id: &NodeId) {
        let mut missing = None;
        self.change(id, |node| {
            for parameter in node.outputs.iter_mut().flat_map(|outputs| &mut outputs.parameters) {
                if parameter.value.is_some() {
                    parameter.value_from = None;
                    continue;
                }
                match parameter.value_from.as_ref().and_then(|from| from.default.clone()) {
                    Some(default) => {
                        parameter.value = Some(default);
                        parameter.value_from = None;
                    }
                    None => missing = Some(parameter.name.clone()),
                }
            }
        });
        match missing {
            None => {
                if let Some(outputs) = self.node(id.as_str()).and_then(|node| node.outputs.clone()) {
                    self.export(&outputs);
                }
                self.mark(id, NodePhase::Succeeded, None);
            }
            Some(name) => {
                let message =
                    format!("raw output parameter '{name}' has not been set and does not have a default value");
                self.mark(id, NodePhase::Error, Some(&message));
            }
        }
    }

    /// `spec.suspend` was set or cleared. Clearing it also ends every running suspend node.
    pub(crate) fn suspend_workflow(&mut self, suspended: bool) {
        self.wf.spec.suspend = suspended.then_some(true);
        self.out.status_changed = true;
        if suspended {
            return;
        }
        let waiting: Vec<NodeId> = self
            .wf
            .status
            .nodes
            .values()
            .filter(|node| node.r#type == NodeType::Suspend && node.phase == NodePhase::Running)
            .map(|node| NodeId::from(node.id.as_str()))
            .collect();
        for id in waiting {
            self.finish_suspend(&id);
        }
        self.note_running();
        self.push(Event::Workflow);
    }

    /// One suspend node is given outputs, a message or an end.
    pub(crate) fn suspend_node(
        &mut self,
        id: &NodeId,
        phase: Option<NodePhase>,
        message: &str,
        parameters: &BTreeMap<String, String>,
    ) {
        let active = |run: &Run| {
            run.node(id.as_str()).is_some_and(|node| node.r#type == NodeType::Suspend && !node.phase.is_fulfilled())
        };
        if !active(self) {
            return;
        }
        self.change(id, |node| {
            for parameter in node.outputs.iter_mut().flat_map(|outputs| &mut outputs.parameters) {
                if let Some(value) = parameters.get(&parameter.name) {
                    parameter.value = Some(value.as_str().into());
                    parameter.value_from = None;
                }
            }
            if !message.is_empty() {
                node.message =
                    if node.message.is_empty() { message.to_string() } else { format!("{}; {message}", node.message) };
            }
        });
        match phase {
            Some(NodePhase::Succeeded) => self.finish_suspend(id),
            Some(phase) => self.mark(id, phase, None),
            None => {}
        }
    }
}

/// Output parameters that are typed in at resume; an input of the same name gives the default.
/// argo: operator.go, addRawOutputFields.
fn supplied_outputs(template: &Template) -> Vec<Parameter> {
    let supplied = template
        .outputs
        .parameters
        .iter()
        .filter(|parameter| parameter.value_from.as_ref().is_some_and(|from| from.supplied.is_some()));
    supplied
        .map(|parameter| {
            let mut parameter = parameter.clone();
            if let Some(from) = parameter.value_from.as_mut().filter(|from| from.default.is_none()) {
                let input = template.inputs.parameter(&parameter.name);
                from.default = input.and_then(|input| input.default.clone());
            }
            parameter
        })
        .collect()
}

/// An input whose value is a parameter in JSON, with choices, becomes a form. argo: resolveInputFieldsForSuspendNode.
fn take_form(input: &mut Parameter) {
    let Some(value) = &input.value else { return };
    let Ok(form) = serde_json::from_str::<Parameter>(value.as_str()) else { return };
    let Some(first) = form.r#enum.first().cloned() else { return };
    input.r#enum = form.r#enum;
    input.default.get_or_insert(first);
}
