//! The variables that can be seen from inside a steps or DAG template, looked up when they are asked for.
//!
//! argo: scope.go, operator.go buildLocalScope, dag.go buildLocalScopeFromTask. Argo copies the outputs of all earlier
//! nodes into a map before each step; here a name is parsed and answered from the node it means, so that a task costs
//! what it refers to and not what came before it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use tiphys_api::{Artifact, NodePhase, NodeStatus, NodeType, Task, Template};
use tiphys_expr::template::Variables;

use crate::aggregate;
use crate::frame::{Body, Key};
use crate::globals::Globals;
use crate::run::{Run, Stop};

/// What a scope belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Steps: groups before this one can be seen.
    Steps { steps: Key, before: usize },
    /// A DAG task: its ancestors can be seen.
    Dag { dag: Key, task: usize },
    /// A DAG that is over: all of its tasks can be seen.
    DagEnd { dag: Key },
    /// The workflow's exit handler and hooks: globals only.
    Workflow,
}

/// Variables of a place, over the workflow's.
pub(crate) struct Scope<'a> {
    run: &'a Run,
    place: Place,
    /// Values that hide those of nodes: a hook's own outputs, loop items.
    pub overlay: BTreeMap<String, Option<String>>,
    /// The same for artifacts.
    pub artifacts: BTreeMap<String, Artifact>,
    with_globals: bool,
}

/// What a name like `steps.NAME.…` means.
enum Meaning<'a> {
    /// One node, or for a retried one its last attempt.
    Node { node: &'a NodeStatus, task: Option<&'a Task> },
    /// The iterations of a loop; `outer` is the task group, or the step group that they hang off.
    Loop { children: Vec<&'a NodeStatus>, outer: &'a NodeStatus },
}

impl<'a> Scope<'a> {
    pub fn new(run: &'a Run, place: Place) -> Scope<'a> {
        Scope { run, place, overlay: BTreeMap::new(), artifacts: BTreeMap::new(), with_globals: true }
    }

    /// Without the workflow's variables, for texts in which they were substituted before.
    pub fn local(run: &'a Run, place: Place) -> Scope<'a> {
        Scope { with_globals: false, ..Scope::new(run, place) }
    }

    fn template(&self) -> Option<&'a Arc<Template>> {
        match self.place {
            Place::Steps { steps, .. } => match &self.run.frames[steps].body {
                Body::Steps(body) => Some(&body.template),
                _ => None,
            },
            Place::Dag { dag, .. } | Place::DagEnd { dag } => match &self.run.frames[dag].body {
                Body::Dag(body) => Some(&body.template),
                _ => None,
            },
            Place::Workflow => None,
        }
    }

    fn prefix(&self) -> &'static str {
        match self.place {
            Place::Steps { .. } => "steps.",
            Place::Dag { .. } | Place::DagEnd { .. } => "tasks.",
            Place::Workflow => "\0",
        }
    }

    /// The node or nodes that a step's or task's name means; None while it cannot be seen from here.
    fn meaning(&self, name: &str) -> Option<Meaning<'a>> {
        match self.place {
            Place::Steps { steps, before } => self.step(steps, before, name),
            Place::Dag { dag, task } => {
                let Body::Dag(body) = &self.run.frames[dag].body else { return None };
                let wanted = *body.index.get(name)?;
                (wanted == task || self.is_ancestor(dag, wanted, task)).then(|| self.dag_task(dag, wanted)).flatten()
            }
            Place::DagEnd { dag } => {
                let Body::Dag(body) = &self.run.frames[dag].body else { return None };
                self.dag_task(dag, *body.index.get(name)?)
            }
            Place::Workflow => None,
        }
    }

    fn step(&self, steps: Key, before: usize, name: &str) -> Option<Meaning<'a>> {
        let Body::Steps(body) = &self.run.frames[steps].body else { return None };
        let index = *body.names.get(name)?;
        if index >= before {
            return None;
        }
        let group = *body.groups.get(index)?;
        let frame = &self.run.frames[group];
        if let Some(node) = self.run.node_named(&format!("{}.{name}", frame.name)) {
            let written = body.template.steps.as_deref()?.get(index)?;
            return Some(Meaning::Node { node, task: written.iter().find(|task| task.name == name) });
        }
        let slots = match &frame.body {
            Body::Group(group) => &group.slots,
            _ => return None,
        };
        let children = slots
            .iter()
            .filter(|slot| &*slot.origin == name)
            .filter_map(|slot| self.run.node(slot.node.as_str()))
            .filter(|node| node.r#type != NodeType::Skipped)
            .collect();
        Some(Meaning::Loop { children, outer: self.run.node(frame.id.as_str())? })
    }

    fn dag_task(&self, dag: Key, index: usize) -> Option<Meaning<'a>> {
        let Body::Dag(body) = &self.run.frames[dag].body else { return None };
        let task = &body.tasks[index];
        let node = self.run.node_named(&format!("{}.{}", self.run.frames[dag].name, task.task.name))?;
        if node.r#type == NodeType::TaskGroup {
            let children = node.children.iter().filter_map(|id| self.run.node(id));
            return Some(Meaning::Loop { children: children.collect(), outer: node });
        }
        Some(Meaning::Node { node, task: Some(&task.task) })
    }

    /// Whether a task comes before another one; the common case, a direct dependency, costs nothing.
    fn is_ancestor(&self, dag: Key, wanted: usize, of: usize) -> bool {
        let Body::Dag(body) = &self.run.frames[dag].body else { return false };
        if body.tasks[of].dependencies.contains(&wanted) {
            return true;
        }
        let mut seen = HashSet::new();
        let mut open = body.tasks[of].dependencies.clone();
        while let Some(task) = open.pop() {
            if task == wanted {
                return true;
            }
            if seen.insert(task) {
                open.extend(&body.tasks[task].dependencies);
            }
        }
        false
    }

    /// The names of all steps or tasks that can be seen.
    fn visible(&self) -> Vec<String> {
        match self.place {
            Place::Steps { steps, before } => match &self.run.frames[steps].body {
                Body::Steps(body) => {
                    body.names.iter().filter(|(_, index)| **index < before).map(|(name, _)| name.clone()).collect()
                }
                _ => Vec::new(),
            },
            Place::Dag { dag, task } => {
                let Body::Dag(body) = &self.run.frames[dag].body else { return Vec::new() };
                let mut seen = HashSet::new();
                let mut open = body.tasks[task].dependencies.clone();
                while let Some(task) = open.pop() {
                    if seen.insert(task) {
                        open.extend(&body.tasks[task].dependencies);
                    }
                }
                seen.into_iter().map(|task| body.tasks[task].task.name.clone()).collect()
            }
            Place::DagEnd { dag } => match &self.run.frames[dag].body {
                Body::Dag(body) => body.tasks.iter().map(|task| task.task.name.clone()).collect(),
                _ => Vec::new(),
            },
            Place::Workflow => Vec::new(),
        }
    }

    /// Every variable of one step or task, without its prefix and name.
    fn all_of(&self, name: &str, found: &mut dyn FnMut(&str, Option<&str>)) {
        match self.meaning(name) {
            None => {}
            Some(Meaning::Node { node, task }) => {
                let effective = self.run.last_attempt(node);
                for (rest, value) in node_variables(effective) {
                    found(&rest, Some(&value));
                }
                for (parameter, default) in self.skipped_outputs(node, task) {
                    found(&format!("outputs.parameters.{parameter}"), default.as_deref());
                }
            }
            Some(Meaning::Loop { children, outer }) => {
                for (rest, value) in node_variables(outer) {
                    found(&rest, Some(&value));
                }
                for (rest, value) in aggregate::variables(&children).unwrap_or_default() {
                    found(&rest, Some(&value));
                }
            }
        }
    }

    /// Declared output parameters of a node that was skipped or omitted: their default, or nothing.
    fn skipped_outputs(&self, node: &NodeStatus, task: Option<&Task>) -> Vec<(String, Option<String>)> {
        if node.outputs.is_some() || !matches!(node.phase, NodePhase::Skipped | NodePhase::Omitted) {
            return Vec::new();
        }
        let Some(template) = task.and_then(|task| self.declared(task)) else { return Vec::new() };
        let parameters = template.outputs.parameters.iter().map(|parameter| {
            let default = parameter.value_from.as_ref().and_then(|from| from.default.clone());
            (parameter.name.clone(), default.map(|default| default.0))
        });
        parameters.collect()
    }

    /// The template that a task would have called, as far as it is known.
    fn declared(&self, task: &Task) -> Option<Arc<Template>> {
        let base = match self.place {
            Place::Steps { steps, .. } => match &self.run.frames[steps].body {
                Body::Steps(body) => &body.base,
                _ => return None,
            },
            Place::Dag { dag, .. } | Place::DagEnd { dag } => match &self.run.frames[dag].body {
                Body::Dag(body) => &body.base,
                _ => return None,
            },
            Place::Workflow => return None,
        };
        self.run.peek_template(base, task)
    }

    /// An artifact by its variable name. argo: scope.go, resolveVar.
    pub fn artifact(&self, name: &str) -> Option<Artifact> {
        if let Some(artifact) = self.artifacts.get(name) {
            return Some(artifact.clone());
        }
        if let Some(input) = name.strip_prefix("inputs.artifacts.") {
            return self.template()?.inputs.artifact(input).cloned();
        }
        if let Some(global) = name.strip_prefix("workflow.outputs.artifacts.") {
            return self.run.wf.status.outputs.as_ref()?.artifact(global).cloned();
        }
        let rest = name.strip_prefix(self.prefix())?;
        let (node_name, artifact_name) = rest.split_once(".outputs.artifacts.")?;
        match self.meaning(node_name)? {
            Meaning::Node { node, task } => {
                let effective = self.run.last_attempt(node);
                let own = effective.outputs.as_ref().and_then(|outputs| outputs.artifact(artifact_name).cloned());
                own.or_else(|| self.placeholder(node, task, artifact_name))
            }
            Meaning::Loop { outer, .. } => outer.outputs.as_ref()?.artifact(artifact_name).cloned(),
        }
    }

    /// In steps, the artifacts of a skipped step are there without a location. argo: addSkippedNodeOutputsToScope.
    fn placeholder(&self, node: &NodeStatus, task: Option<&Task>, name: &str) -> Option<Artifact> {
        let skipped = node.outputs.is_none() && matches!(node.phase, NodePhase::Skipped | NodePhase::Omitted);
        let in_steps = matches!(self.place, Place::Steps { .. });
        if !(skipped && in_steps) {
            return None;
        }
        self.declared(task?)?.outputs.artifact(name).map(|_| Artifact::default())
    }

    /// The environment of an expression that may give an artifact: variables, with artifacts as objects.
    fn artifact_environment(&self) -> tiphys_expr::Value {
        let mut root = Map::new();
        let mut put = |name: &str, value: Value| insert_nested(&mut root, name, value);
        self.visit("", &mut |name, value| {
            put(name, value.map_or(Value::Null, |value| Value::String(value.to_string())));
        });
        if let Some(template) = self.template() {
            for artifact in &template.inputs.artifacts {
                put(&format!("inputs.artifacts.{}", artifact.name), artifact_value(artifact));
            }
        }
        for name in self.visible() {
            let Some(Meaning::Node { node, task }) = self.meaning(&name) else { continue };
            let effective = self.run.last_attempt(node);
            let prefix = self.prefix();
            for artifact in effective.outputs.iter().flat_map(|outputs| &outputs.artifacts) {
                put(&format!("{prefix}{name}.outputs.artifacts.{}", artifact.name), artifact_value(artifact));
            }
            let declared = task.and_then(|task| self.declared(task));
            for artifact in declared.iter().flat_map(|template| &template.outputs.artifacts) {
                if self.placeholder(node, task, &artifact.name).is_some() {
                    put(
                        &format!("{prefix}{name}.outputs.artifacts.{}", artifact.name),
                        artifact_value(&Artifact::default()),
                    );
                }
            }
        }
        let entries = root.iter().map(|(name, value)| (Arc::from(name.as_str()), tiphys_expr::Value::from_json(value)));
        tiphys_expr::lang::argo_env(entries)
    }

    /// Follows `from` or `fromExpression`, and appends `subPath`. argo: scope.go, resolveArtifact.
    pub fn resolve_artifact(&self, artifact: &Artifact) -> Result<Artifact, Stop> {
        let mut found = if artifact.from_expression.is_empty() {
            let tag = artifact.from.trim();
            let tag = tag.strip_prefix("{{").unwrap_or(tag);
            let tag = tag.strip_suffix("}}").unwrap_or(tag).trim();
            match tiphys_expr::template::expression_of(tag) {
                Some(expression) => self.artifact_by_expression(expression)?,
                None => self.artifact(tag).ok_or_else(|| Stop::Failed(format!("Unable to resolve: \"{tag}\"")))?,
            }
        } else {
            self.artifact_by_expression(&artifact.from_expression)?
        };
        if !artifact.sub_path.is_empty() {
            let sub_path = self.run.replace_text(&artifact.sub_path, self)?;
            crate::artifacts::append_to_key(&mut found, &sub_path)?;
        }
        Ok(found)
    }

    fn artifact_by_expression(&self, expression: &str) -> Result<Artifact, Stop> {
        let environment = self.artifact_environment();
        let value =
            tiphys_expr::lang::eval(expression, &environment).map_err(|error| Stop::Failed(error.to_string()))?;
        let json = value.to_json().map_err(|error| Stop::Failed(error.to_string()))?;
        if !json.is_object() {
            return Err(Stop::Failed(format!("the expression '{expression}' gives no artifact")));
        }
        serde_json::from_value(json).map_err(|error| Stop::Failed(format!("'{expression}' gives no artifact: {error}")))
    }
}

fn artifact_value(artifact: &Artifact) -> Value {
    serde_json::to_value(artifact).unwrap_or(Value::Null)
}

fn insert_nested(root: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            // An object that is there already wins over the plain value of its own name.
            if !matches!(root.get(name), Some(Value::Object(_))) {
                root.insert(name.to_string(), value);
            }
        }
        Some((head, rest)) => {
            let entry = root.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            if let Value::Object(inner) = entry {
                insert_nested(inner, rest, value);
            }
        }
    }
}

/// The variables of a node, without prefix and name. argo: operator.go, buildLocalScope.
fn node_variables(node: &NodeStatus) -> Vec<(String, String)> {
    const NAMES: [&str; 8] =
        ["id", "startedAt", "finishedAt", "ip", "status", "hostNodeName", "outputs.result", "exitCode"];
    let mut found: Vec<(String, String)> =
        NAMES.iter().filter_map(|name| Some(((*name).to_string(), node_variable(node, name)?.into_owned()))).collect();
    for parameter in node.outputs.iter().flat_map(|outputs| &outputs.parameters) {
        if let Some(value) = &parameter.value {
            found.push((format!("outputs.parameters.{}", parameter.name), value.0.clone()));
        }
    }
    found
}

fn node_variable<'n>(node: &'n NodeStatus, rest: &str) -> Option<Cow<'n, str>> {
    let text = |text: &'n String| (!text.is_empty()).then_some(Cow::Borrowed(text.as_str()));
    let outputs = || node.outputs.as_ref();
    match rest {
        "id" => text(&node.id),
        "startedAt" => node.started_at.map(|time| Cow::Owned(time.to_string())),
        "finishedAt" => node.finished_at.map(|time| Cow::Owned(time.to_string())),
        "ip" => text(&node.pod_ip),
        "status" => (node.phase != NodePhase::Unknown).then(|| Cow::Borrowed(node.phase.as_str())),
        "hostNodeName" => text(&node.host_node_name),
        "outputs.result" => outputs()?.result.as_deref().map(Cow::Borrowed),
        "exitCode" => outputs()?.exit_code.as_deref().map(Cow::Borrowed),
        _ => {
            let name = rest.strip_prefix("outputs.parameters.")?;
            let parameter = outputs()?.parameters.iter().find(|parameter| parameter.name == name)?;
            parameter.value.as_ref().map(|value| Cow::Borrowed(value.as_str()))
        }
    }
}

impl Variables for Scope<'_> {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        if let Some(value) = self.overlay.get(name) {
            return Some(value.as_deref().map(Cow::Borrowed));
        }
        if let Some(rest) = name.strip_prefix(self.prefix()) {
            let (node_name, variable) = rest.split_once('.')?;
            return match self.meaning(node_name)? {
                Meaning::Node { node, task } => {
                    let effective = self.run.last_attempt(node);
                    if let Some(value) = node_variable(effective, variable) {
                        return Some(Some(value));
                    }
                    let parameter = variable.strip_prefix("outputs.parameters.")?;
                    let skipped = self.skipped_outputs(node, task);
                    let (_, default) = skipped.into_iter().find(|(name, _)| name == parameter)?;
                    Some(default.map(Cow::Owned))
                }
                Meaning::Loop { children, outer } => {
                    if variable.starts_with("outputs") {
                        let aggregated = aggregate::variable(&children, variable).ok().flatten();
                        return aggregated.map(|value| Some(Cow::Owned(value)));
                    }
                    node_variable(outer, variable).map(Some)
                }
            };
        }
        if let Some(parameter) = name.strip_prefix("inputs.parameters.") {
            let parameter = self.template()?.inputs.parameter(parameter)?;
            return Some(Some(
                parameter.value.as_ref().map_or(Cow::Borrowed(""), |value| Cow::Borrowed(value.as_str())),
            ));
        }
        if let Some(parameter) = name.strip_prefix("workflow.outputs.parameters.") {
            let outputs = self.run.wf.status.outputs.as_ref()?;
            let parameter = outputs.parameters.iter().find(|found| found.name == parameter)?;
            return parameter.value.as_ref().map(|value| Some(Cow::Borrowed(value.as_str())));
        }
        if self.with_globals { self.run.globals.get(name) } else { None }
    }

    fn visit(&self, prefix: &str, found: &mut dyn FnMut(&str, Option<&str>)) {
        let mut emit = |name: &str, value: Option<&str>| {
            if name.starts_with(prefix) && !self.overlay.contains_key(name) {
                found(name, value);
            }
        };
        if self.with_globals {
            self.run.globals.visit(prefix, &mut emit);
        }
        if let Some(template) = self.template() {
            for parameter in &template.inputs.parameters {
                let value = parameter.value.as_ref().map_or("", |value| value.as_str());
                emit(&format!("inputs.parameters.{}", parameter.name), Some(value));
            }
        }
        for parameter in self.run.wf.status.outputs.iter().flat_map(|outputs| &outputs.parameters) {
            if let Some(value) = &parameter.value {
                emit(&format!("workflow.outputs.parameters.{}", parameter.name), Some(value.as_str()));
            }
        }
        let own = self.prefix();
        let overlaps = own.starts_with(prefix) || prefix.starts_with(own);
        if overlaps {
            let only = prefix.strip_prefix(own).and_then(|rest| rest.split_once('.')).map(|(name, _)| name.to_string());
            let names = only.map_or_else(|| self.visible(), |name| vec![name]);
            for name in names {
                self.all_of(&name, &mut |rest, value| emit(&format!("{own}{name}.{rest}"), value));
            }
        }
        for (name, value) in &self.overlay {
            if name.starts_with(prefix) {
                found(name, value.as_deref());
            }
        }
    }
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.value(name).map(|value| Some(Cow::Borrowed(value)))
    }

    fn visit(&self, prefix: &str, found: &mut dyn FnMut(&str, Option<&str>)) {
        for (name, value) in self.with_prefix(prefix) {
            found(name, Some(value));
        }
    }
}
