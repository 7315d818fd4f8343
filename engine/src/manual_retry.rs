//! Retrying a workflow that failed: what went well is kept, the rest runs again under the same name.
//!
//! argo: workflow/util/util.go, FormulateRetryWorkflow.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use tiphys_api::{Condition, NodePhase, NodeStatus, NodeType, Nodes, Parameter, Time, Workflow, WorkflowPhase};

use crate::field_selector::NodeSelector;
use crate::globals::template_name;
use crate::id::{PodNameFormat, pod_name};

/// What is to run again besides what failed.
#[derive(Clone, Debug, Default)]
pub struct RetryOptions {
    /// Whether nodes that went well and that `nodes` selects run again, too.
    pub restart_successful: bool,
    /// A field selector such as `displayName=build,phase!=Skipped`. The fields are `displayName`, `templateName`, `phase`,
    /// `name`, `id`, `templateRef.name`, `templateRef.template` and `inputs.parameters.NAME.value`.
    pub nodes: String,
    /// Parameters of the workflow, as `NAME=VALUE`.
    pub parameters: Vec<String>,
}

/// A workflow that is ready to go on.
#[derive(Clone, Debug)]
pub struct Retried {
    /// The workflow, to be stored in place of the old one and given to [`crate::Run::restore`].
    pub workflow: Workflow,
    /// The names of the Pods that must be gone before it does, without repetition, in order.
    pub pods: Vec<String>,
}

/// Makes a workflow that has ended ready to run again from where it failed.
///
/// Pods, container and HTTP nodes that failed are removed with everything after them; what is around them is open again;
/// exit handlers are removed.
///
/// # Errors
/// In words for the user: a phase in which there is nothing to retry, a selector or a parameter that cannot be read, a
/// status whose nodes do not hang together.
pub fn retry_workflow(workflow: Workflow, options: RetryOptions, now: Timestamp) -> Result<Retried, String> {
    let selects = options.restart_successful && !options.nodes.is_empty();
    match workflow.status.phase {
        WorkflowPhase::Failed | WorkflowPhase::Error => {}
        WorkflowPhase::Succeeded if selects => {}
        WorkflowPhase::Succeeded => {
            return Err(
                "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector".to_string()
            );
        }
        phase => return Err(format!("Cannot retry a workflow in phase {phase}")),
    }
    let selector = if selects { NodeSelector::parse(&options.nodes)? } else { NodeSelector::default() };
    let tree = Tree::of(&workflow)?;
    let (mut reset, removed) = tree.choose(selects.then_some(&selector));
    let mut removed = removed;
    if !options.parameters.is_empty() {
        // Loops may have other items now.
        let groups = reset.iter().filter(|id| tree.is_kind(id, &[NodeType::TaskGroup, NodeType::StepGroup]));
        let below: Vec<&str> = groups.flat_map(|id| tree.below(id)).collect();
        removed.extend(below);
    }
    let exit = format!("{}.onExit", workflow.metadata.name);
    let handlers = workflow.status.nodes.values().filter(|node| node.name.starts_with(&exit));
    removed.extend(handlers.map(|node| node.id.as_str()));
    reset.retain(|id| !removed.contains(id));
    let pods = pods_of(&workflow, &removed);
    let reset: HashSet<String> = reset.into_iter().map(str::to_string).collect();
    let removed: HashSet<String> = removed.into_iter().map(str::to_string).collect();
    let mut workflow = workflow;
    reopen(&mut workflow, now);
    override_parameters(&mut workflow, &options.parameters)?;
    keep(&mut workflow.status.nodes, &reset, &removed, now);
    Ok(Retried { workflow, pods })
}

/// Sets parameters of a workflow from texts of the form `NAME=VALUE`. Those that are set come first, the others after
/// them. argo: util.go, overrideParameters.
///
/// # Errors
/// A text without an equals sign.
pub fn override_parameters(workflow: &mut Workflow, parameters: &[String]) -> Result<(), String> {
    if parameters.is_empty() {
        return Ok(());
    }
    let mut given = Vec::with_capacity(parameters.len());
    for text in parameters {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("expected parameter of the form: NAME=VALUE. Received: {text}"));
        };
        given.push(Parameter { name: name.to_string(), value: Some(value.into()), ..Default::default() });
    }
    let names: HashSet<String> = given.iter().map(|parameter| parameter.name.clone()).collect();
    let own = std::mem::take(&mut workflow.spec.arguments.parameters);
    given.extend(own.into_iter().filter(|parameter| !names.contains(&parameter.name)));
    if let Some(stored) = &mut workflow.status.stored_workflow_template_spec {
        // Those of the template that the workflow itself does not name stay, unlike in Argo, which loses them.
        let known: HashSet<String> = given.iter().map(|parameter| parameter.name.clone()).collect();
        let kept = std::mem::take(&mut stored.arguments.parameters);
        let kept = kept.into_iter().filter(|parameter| !known.contains(&parameter.name));
        stored.arguments.parameters = given.iter().cloned().chain(kept).collect();
    }
    workflow.spec.arguments.parameters = given;
    Ok(())
}

/// Takes away what says that the workflow is over. argo: createNewRetryWorkflow.
fn reopen(workflow: &mut Workflow, now: Timestamp) {
    let labels = &mut workflow.metadata.labels;
    labels.remove("workflows.argoproj.io/completed");
    labels.remove("workflows.argoproj.io/workflow-archiving-status");
    workflow.spec.shutdown = String::new();
    if workflow.spec.active_deadline_seconds == Some(0) {
        workflow.spec.active_deadline_seconds = None;
    }
    let status = &mut workflow.status;
    if let Some(stored) = &mut status.stored_workflow_template_spec {
        stored.shutdown = String::new();
    }
    status.phase = WorkflowPhase::Unknown;
    status.message = String::new();
    status.started_at = Some(Time::from_second(now.as_second()));
    status.finished_at = None;
    status.persistent_volume_claims.clear();
    match status.conditions.iter_mut().find(|condition| condition.r#type == "Completed") {
        Some(condition) => condition.status = "False".into(),
        None => status.conditions.push(Condition {
            r#type: "Completed".into(),
            status: "False".into(),
            ..Default::default()
        }),
    }
}

/// Removes nodes and what refers to them, and opens others again.
fn keep(nodes: &mut Nodes, reset: &HashSet<String>, removed: &HashSet<String>, now: Timestamp) {
    nodes.retain(|id, _| !removed.contains(id));
    for (id, node) in nodes.iter_mut() {
        node.children.retain(|child| !removed.contains(child));
        node.outbound_nodes.retain(|outbound| !removed.contains(outbound));
        if reset.contains(id) {
            open_again(node, now);
        }
    }
}

/// argo: resetNode.
fn open_again(node: &mut NodeStatus, now: Timestamp) {
    if node.r#type == NodeType::Suspend {
        for parameter in node.outputs.iter_mut().flat_map(|outputs| &mut outputs.parameters) {
            let from = tiphys_api::ValueFrom { supplied: Some(Default::default()), ..Default::default() };
            let name = std::mem::take(&mut parameter.name);
            *parameter = Parameter { name, value_from: Some(Box::new(from)), ..Default::default() };
        }
    }
    if node.phase != NodePhase::Skipped {
        node.phase = NodePhase::Running;
    }
    node.message = String::new();
    node.started_at = Some(Time::from_second(now.as_second()));
    node.finished_at = None;
}

fn pods_of(workflow: &Workflow, removed: &HashSet<&str>) -> Vec<String> {
    let annotation = workflow.metadata.annotations.get("workflows.argoproj.io/pod-name-format");
    let format = if annotation.is_some_and(|format| format == "v1") { PodNameFormat::V1 } else { PodNameFormat::V2 };
    let renamed = crate::run::renamed(workflow);
    let nodes = removed.iter().filter_map(|id| workflow.status.nodes.get(id));
    let pods = nodes.filter(|node| node.r#type == NodeType::Pod).map(|node| {
        let plain = pod_name(format, &workflow.metadata.name, &node.name, template_name(node));
        renamed.get(&node.name).map_or_else(|| plain.clone(), |(_, number)| format!("{plain}-{number}"))
    });
    pods.collect::<BTreeSet<String>>().into_iter().collect()
}

/// The nodes of a status with one parent each.
struct Tree<'a> {
    nodes: &'a Nodes,
    parents: HashMap<&'a str, &'a str>,
    root: &'a str,
}

impl<'a> Tree<'a> {
    fn of(workflow: &'a Workflow) -> Result<Tree<'a>, String> {
        let nodes = &workflow.status.nodes;
        let name = workflow.metadata.name.as_str();
        let mut parents = HashMap::new();
        for (id, node) in nodes {
            for child in &node.children {
                let (child, _) = nodes
                    .get_key_value(child)
                    .ok_or_else(|| format!("node {} has a child {child} that is not in the status", node.name))?;
                // Of several parents the last one by id, as in Argo.
                parents.insert(child.as_str(), id.as_str());
            }
        }
        let root = nodes.values().find(|node| node.name == name).map(|node| node.id.as_str());
        let root = root.ok_or_else(|| format!("the status of workflow {name} has no node of that name"))?;
        Ok(Tree { nodes, parents, root })
    }

    fn is_kind(&self, id: &str, kinds: &[NodeType]) -> bool {
        self.nodes.get(id).is_some_and(|node| kinds.contains(&node.r#type))
    }

    /// Everything that hangs below a node.
    fn below(&self, id: &str) -> Vec<&'a str> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&'a String> = self.nodes.get(id).into_iter().flat_map(|node| &node.children).collect();
        let mut found = Vec::new();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                found.push(next.as_str());
                open.extend(self.nodes.get(next).into_iter().flat_map(|node| &node.children));
            }
        }
        found
    }

    /// What is opened again, and what is removed.
    fn choose(&self, selector: Option<&NodeSelector>) -> (HashSet<&'a str>, HashSet<&'a str>) {
        let selected: HashSet<&str> = match selector {
            Some(selector) => {
                self.nodes.values().filter(|node| selector.matches(node)).map(|node| node.id.as_str()).collect()
            }
            None => HashSet::new(),
        };
        let mut wanted = selected.clone();
        let old_attempts = self.old_attempts();
        for node in self.nodes.values() {
            if !may_run_again(node) || old_attempts.iter().any(|attempt| self.is_within(node, attempt)) {
                continue;
            }
            let retried = node.node_flag.as_ref().is_some_and(|flag| flag.retried);
            let whole = if retried { self.retry_around(node) } else { &node.id };
            // What was gone on from is not run again.
            let gone_on = self.below(whole).into_iter().filter(|id| !selected.contains(id)).any(|id| {
                let node = self.nodes.get(id).filter(|node| node.phase == NodePhase::Succeeded);
                node.is_some_and(|node| !self.is_of_a_hook(node))
            });
            if !gone_on {
                wanted.insert(&node.id);
            }
        }
        let (mut reset, mut removed) = (HashSet::new(), HashSet::new());
        for id in self.nearest_first() {
            if wanted.contains(id) && !removed.contains(id) {
                self.reset_path(id, &mut reset, &mut removed);
            }
        }
        (reset, removed)
    }

    /// Steps and DAGs that were attempts, and were followed by another. They stay as they are: Argo opens them again,
    /// side by side with the last one.
    fn old_attempts(&self) -> Vec<&'a str> {
        let mut found = Vec::new();
        for node in self.nodes.values().filter(|node| node.r#type == NodeType::Retry) {
            let is_attempt = |id: &&String| {
                let flag = self.nodes.get(id).and_then(|node| node.node_flag.as_ref());
                flag.is_some_and(|flag| flag.retried && !flag.hooked)
            };
            let attempts: Vec<&String> = node.children.iter().filter(is_attempt).collect();
            let old = attempts.split_last().map(|(_, old)| old).unwrap_or_default();
            found.extend(
                old.iter().map(|id| id.as_str()).filter(|id| self.is_kind(id, &[NodeType::Steps, NodeType::Dag])),
            );
        }
        found
    }

    /// A hook that went well is nothing that was gone on with. To Argo it is, so that a step that failed is not run again
    /// where it had an exit hook.
    fn is_of_a_hook(&self, node: &NodeStatus) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node.node_flag.as_ref().is_some_and(|flag| flag.hooked) {
                return true;
            }
            at = self.nodes.get(&node.boundary_id);
        }
        false
    }

    fn is_within(&self, node: &NodeStatus, boundary: &str) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node.boundary_id == boundary {
                return true;
            }
            at = self.nodes.get(&node.boundary_id);
        }
        false
    }

    fn retry_around(&self, node: &'a NodeStatus) -> &'a str {
        let parent = self.parents.get(node.id.as_str()).copied();
        parent.filter(|parent| self.is_kind(parent, &[NodeType::Retry])).unwrap_or(&node.id)
    }

    /// Every node that hangs below the entry point, nearest first.
    fn nearest_first(&self) -> Vec<&'a str> {
        let mut seen: HashSet<&str> = HashSet::from([self.root]);
        let mut queue: VecDeque<&'a str> = VecDeque::from([self.root]);
        let mut found = Vec::new();
        while let Some(id) = queue.pop_front() {
            found.push(id);
            let children = self.nodes.get(id).into_iter().flat_map(|node| &node.children);
            queue.extend(children.map(String::as_str).filter(|child| seen.insert(child)));
        }
        found
    }

    /// Removes a node with what is below it, and opens what is around it. argo: resetPath.
    fn reset_path(&self, id: &'a str, reset: &mut HashSet<&'a str>, removed: &mut HashSet<&'a str>) {
        removed.insert(id);
        removed.extend(self.below(id));
        if id == self.root {
            return;
        }
        const GROUPS: [NodeType; 4] = [NodeType::Dag, NodeType::TaskGroup, NodeType::StepGroup, NodeType::Steps];
        let mut at = Some(id);
        while let Some(current) = at {
            if self.is_kind(current, &GROUPS) {
                reset.insert(current);
                at = self.reset_boundaries(current, reset);
                continue;
            }
            let failed = self.nodes.get(current).is_some_and(|node| node.phase.is_failed_or_error());
            if failed && self.is_kind(current, &[NodeType::Retry]) {
                reset.insert(current);
            }
            if self.is_kind(current, &[NodeType::Container]) {
                at = self.up_to(current, |node| node.r#type == NodeType::Pod);
                if let Some(pod) = at {
                    removed.insert(pod);
                    removed.extend(self.below(pod));
                }
                continue;
            }
            at = self.parent(current);
        }
    }

    /// argo: resetBoundaries.
    fn reset_boundaries(&self, from: &'a str, reset: &mut HashSet<&'a str>) -> Option<&'a str> {
        let mut current = from;
        loop {
            if let Some(retry) = self.parent(current).filter(|parent| self.is_kind(parent, &[NodeType::Retry])) {
                reset.insert(retry);
                current = retry;
            }
            let group = self.parent(current).filter(|id| self.is_kind(id, &[NodeType::StepGroup, NodeType::TaskGroup]));
            reset.extend(group);
            let boundary = self.nodes.get(current).map(|node| node.boundary_id.as_str()).unwrap_or_default();
            if boundary.is_empty() {
                return self.parent(current);
            }
            let found = self.up_to(current, |node| node.id == boundary)?;
            reset.insert(found);
            current = found;
        }
    }

    fn parent(&self, id: &str) -> Option<&'a str> {
        self.parents.get(id).copied()
    }

    /// The first node from here upwards that is meant.
    fn up_to(&self, from: &'a str, is_meant: impl Fn(&NodeStatus) -> bool) -> Option<&'a str> {
        let mut at = Some(from);
        while let Some(id) = at {
            if self.nodes.get(id).is_some_and(&is_meant) {
                return Some(id);
            }
            at = self.parent(id);
        }
        None
    }
}

/// Whether a node failed by itself, and not because of what is in it. Argo leaves out pauses that were ended, and nodes
/// that could not even be begun (those that waited for a lock, too), so that a workflow that failed because of them fails
/// again at once.
fn may_run_again(node: &NodeStatus) -> bool {
    let kinds =
        [NodeType::Container, NodeType::Pod, NodeType::Http, NodeType::Plugin, NodeType::Suspend, NodeType::Skipped];
    let composite = [NodeType::Steps, NodeType::Dag, NodeType::Retry];
    let not_begun = composite.contains(&node.r#type) && node.children.is_empty();
    node.phase.is_failed_or_error() && (kinds.contains(&node.r#type) || not_begun)
}
