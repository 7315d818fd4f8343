//! The place of one child in a group or DAG: its life-cycle hooks, its exit hook, and when it counts as done.
//!
//! argo: hooks.go, exit_handler.go; the loops over children in steps.go and dag.go.

use std::sync::Arc;

use tiphys_api::{Arguments, LifecycleHook, NodeFlag, NodePhase, NodeStatus, Outputs, Task};
use tiphys_expr::lang;

use crate::call::ABSENT;
use crate::frame::{Body, ExitRun, Key, Parent, Slot, exit_hook};
use crate::id::NodeId;
use crate::run::{Run, Stop, fulfilled};
use crate::scope::{Place, Scope};
use crate::templates::{Base, to_json};

impl Run {
    pub(crate) fn slot(&self, frame: Key, slot: usize) -> Option<&Slot> {
        match &self.frames[frame].body {
            Body::Group(body) | Body::TaskGroup(body) => body.slots.get(slot),
            Body::Dag(body) => body.slots.get(slot),
            _ => None,
        }
    }

    fn slot_mut(&mut self, frame: Key, slot: usize) -> Option<&mut Slot> {
        match &mut self.frames[frame].body {
            Body::Group(body) | Body::TaskGroup(body) => body.slots.get_mut(slot),
            Body::Dag(body) => body.slots.get_mut(slot),
            _ => None,
        }
    }

    pub(crate) fn slot_node(&self, frame: Key, slot: usize) -> NodeId {
        self.slot(frame, slot).map_or_else(|| self.frames[frame].id.clone(), |slot| slot.node.clone())
    }

    /// From where a slot's task looks at variables.
    pub(crate) fn slot_place(&self, frame: Key, slot: usize) -> Place {
        match (&self.frames[frame].body, self.frames[frame].parent) {
            (Body::Dag(_), _) => Place::Dag { dag: frame, task: slot },
            (_, Parent::Slot { frame: dag, slot: task }) => Place::Dag { dag, task },
            (_, Parent::Group { steps }) => {
                let before = match &self.frames[steps].body {
                    Body::Steps(body) => body.groups.iter().position(|group| *group == frame).unwrap_or(0),
                    _ => 0,
                };
                Place::Steps { steps, before }
            }
            _ => Place::Workflow,
        }
    }

    /// From where a call looks at variables; None for the entry point and handlers of the workflow.
    pub(crate) fn place_of(&self, key: Key) -> Option<Place> {
        match self.frames[key].parent {
            Parent::Slot { frame, slot } | Parent::Hook { frame, slot } => Some(self.slot_place(frame, slot)),
            Parent::Attempt { retry } => self.place_of(retry),
            _ => None,
        }
    }

    /// Hangs a new node under what comes before it.
    pub(crate) fn link_slot(&mut self, frame: Key, slot: usize, child: &NodeId) {
        if matches!(self.frames[frame].body, Body::Dag(_)) {
            self.link_task(frame, slot, child);
        } else {
            let parent = self.frames[frame].id.clone();
            self.add_child(&parent, child);
        }
    }

    /// A slot's node or one of its hooks changed.
    pub(crate) fn advance_slot(&mut self, frame: Key, slot: usize) {
        if let Some(boundary) = self.boundary_of(frame) {
            self.fail_fast_now(boundary);
            let over = |key: Key| self.frame_node(key).is_some_and(|node| node.phase.is_fulfilled());
            if over(boundary) || over(frame) {
                return;
            }
        }
        let Some((settled, has_hooks, id)) =
            self.slot(frame, slot).map(|slot| (slot.settled, slot.has_hooks, slot.node.clone()))
        else {
            return;
        };
        let Some(node) = self.node(id.as_str()) else { return };
        if settled {
            return;
        }
        let (over, completed) = (fulfilled(node), node.phase.is_completed());
        if has_hooks && !self.hooks_are_over(frame, slot, Self::run_hooks) {
            return;
        }
        if !over {
            return;
        }
        if completed && !self.hooks_are_over(frame, slot, Self::run_exit) {
            return;
        }
        if let Some(slot) = self.slot_mut(frame, slot) {
            slot.settled = true;
        }
        self.slot_settled(frame, slot);
    }

    /// Runs hooks, and says whether they leave nothing to wait for. One that cannot be run is an error of the slot.
    fn hooks_are_over(
        &mut self,
        frame: Key,
        slot: usize,
        run: fn(&mut Self, Key, usize) -> Result<bool, Stop>,
    ) -> bool {
        match run(self, frame, slot) {
            Ok(over) => over,
            Err(Stop::Failed(message)) => {
                self.hook_erred(frame, slot, &message);
                false
            }
            Err(_) => false,
        }
    }

    /// The steps or DAG a frame's slots belong to.
    fn boundary_of(&self, frame: Key) -> Option<Key> {
        if matches!(self.frames[frame].body, Body::Dag(_)) { Some(frame) } else { self.frames[frame].boundary }
    }

    fn slot_settled(&mut self, frame: Key, slot: usize) {
        match &mut self.frames[frame].body {
            Body::Group(body) => {
                body.open -= 1;
                if body.open == 0 {
                    self.finish_group(frame);
                }
            }
            Body::TaskGroup(body) => {
                body.open -= 1;
                if body.open == 0 {
                    self.finish_task_group(frame);
                }
            }
            Body::Dag(_) => self.task_settled(frame, slot),
            _ => {}
        }
    }

    /// A call in a slot ended in an error. In steps it ends the group; in a DAG it is the task's phase.
    pub(crate) fn slot_erred(&mut self, frame: Key, slot: usize, child: Key, message: &str) {
        let name = self.frames[child].name.clone();
        if matches!(self.frames[frame].body, Body::Group(_)) {
            let text = format!("step group deemed errored due to child {name} error: {message}");
            self.end_group(frame, NodePhase::Error, &text);
        } else {
            let id = self.slot_node(frame, slot);
            self.mark(&id, NodePhase::Error, Some(&format!("task '{name}' errored: {message}")));
        }
    }

    /// A hook could not be run.
    pub(crate) fn hook_erred(&mut self, frame: Key, slot: usize, message: &str) {
        if matches!(self.frames[frame].body, Body::Group(_)) {
            self.end_group(frame, NodePhase::Error, message);
            return;
        }
        let id = self.slot_node(frame, slot);
        self.mark(&id, NodePhase::Error, Some(message));
        if let Some(slot) = self.slot_mut(frame, slot) {
            slot.hooks.clear();
            slot.exit = ExitRun::Done;
        }
        self.push(crate::run::Event::Slot(frame, slot));
    }

    /// The scope in which a slot's hooks are evaluated: what its task sees, and its own status and outputs.
    fn hook_scope(&self, frame: Key, slot: usize) -> Scope<'_> {
        let place = self.slot_place(frame, slot);
        let mut scope = Scope::new(self, place);
        let Some(slot) = self.slot(frame, slot) else { return scope };
        let Some(node) = self.node(slot.node.as_str()) else { return scope };
        let prefix = if matches!(place, Place::Steps { .. }) { "steps" } else { "tasks" };
        let called = if matches!(place, Place::Steps { .. }) { node.display_name.as_str() } else { &*slot.origin };
        scope.overlay.insert(format!("{prefix}.{called}.status"), Some(node.phase.to_string()));
        scope
    }

    /// Starts the life-cycle hooks whose expression is true. Returns whether all that were started are done.
    fn run_hooks(&mut self, frame: Key, slot: usize) -> Result<bool, Stop> {
        let count = self.slot(frame, slot).map_or(0, |slot| slot.hooks.len());
        let mut done = true;
        for index in 0..count {
            let Some(run) = self.slot(frame, slot).and_then(|slot| slot.hooks.get(index)) else { break };
            if let Some(hook) = run.frame {
                done &= self.frame_node(hook).is_some_and(fulfilled);
                continue;
            }
            let (name, hook) = (run.name.clone(), run.hook.clone());
            let parent = self.slot_node(frame, slot);
            let parent_name = self.node(parent.as_str()).map(|node| node.name.clone()).unwrap_or_default();
            let hook_name = format!("{parent_name}.hooks.{name}");
            if hook.expression.is_empty() {
                return Err(Stop::Failed(format!("Expression required for hook {hook_name}")));
            }
            let known = self.node_named(&hook_name).is_some();
            if !known && !evaluate(&hook.expression, &self.hook_scope(frame, slot))? {
                continue;
            }
            let arguments = self.hook_arguments(frame, slot, &hook)?;
            let key = self.start_hook(frame, slot, hook_name, &hook, arguments, false);
            if let Some(run) = self.slot_mut(frame, slot).and_then(|slot| slot.hooks.get_mut(index)) {
                run.frame = Some(key);
            }
            self.begin(key);
            done &= self.frame_node(key).is_some_and(fulfilled);
        }
        Ok(done)
    }

    /// Starts the exit hook, if there is one. Returns whether it is done.
    fn run_exit(&mut self, frame: Key, slot: usize) -> Result<bool, Stop> {
        let Some(of) = self.slot(frame, slot) else { return Ok(true) };
        match of.exit {
            ExitRun::Done => return Ok(true),
            ExitRun::Running(key) => return Ok(self.frame_node(key).is_some_and(fulfilled)),
            ExitRun::Undecided => {}
        }
        let hook = exit_hook(&of.task, &self.spec.arguments).filter(|_| self.may_run(true));
        let wanted = match &hook {
            Some(hook) if !hook.expression.is_empty() => evaluate(&hook.expression, &self.hook_scope(frame, slot))?,
            Some(_) => true,
            None => false,
        };
        let Some(hook) = hook.filter(|_| wanted) else {
            if let Some(slot) = self.slot_mut(frame, slot) {
                slot.exit = ExitRun::Done;
            }
            return Ok(true);
        };
        let arguments = self.hook_arguments(frame, slot, &hook)?;
        let parent = self.slot_node(frame, slot);
        let parent_name = self.node(parent.as_str()).map(|node| node.name.clone()).unwrap_or_default();
        let key = self.start_hook(frame, slot, format!("{parent_name}.onExit"), &hook, arguments, true);
        if let Some(slot) = self.slot_mut(frame, slot) {
            slot.exit = ExitRun::Running(key);
        }
        self.begin(key);
        Ok(self.frame_node(key).is_some_and(fulfilled))
    }

    fn start_hook(
        &mut self,
        frame: Key,
        slot: usize,
        name: String,
        hook: &LifecycleHook,
        arguments: Arguments,
        on_exit: bool,
    ) -> Key {
        let boundary = self.boundary_of(frame);
        let base = self.slot_base(frame);
        let task =
            Task { template: hook.template.clone(), template_ref: hook.template_ref.clone(), ..Default::default() };
        let call = self.plain_call(base, task, arguments);
        let depth = self.frames[frame].depth + 1;
        let flag = NodeFlag { hooked: true, ..Default::default() };
        self.new_call(
            name,
            Parent::Hook { frame, slot },
            boundary,
            on_exit || self.frames[frame].on_exit,
            depth,
            Some(flag),
            call,
        )
    }

    /// Where the names in a slot's task are looked up.
    pub(crate) fn slot_base(&self, frame: Key) -> Base {
        let boundary = self.boundary_of(frame).unwrap_or(frame);
        match &self.frames[boundary].body {
            Body::Steps(body) => body.base.clone(),
            Body::Dag(body) => body.base.clone(),
            _ => self.frames[frame].call.base.clone(),
        }
    }

    /// The arguments of a hook, which may use the outputs of the node it belongs to. argo: resolveExitTmplArgument.
    fn hook_arguments(&self, frame: Key, slot: usize, hook: &LifecycleHook) -> Result<Arguments, Stop> {
        let mut scope = self.hook_scope(frame, slot);
        let Some(slot) = self.slot(frame, slot) else { return Ok(hook.arguments.clone()) };
        let prefix = match self.slot_place_of(frame) {
            true => "steps",
            false => "tasks",
        };
        if let Some(node) = self.node(slot.node.as_str()) {
            let effective = self.last_attempt(node);
            add_outputs(&mut scope, &format!("{prefix}.{}", slot.origin), effective.outputs.as_deref());
        }
        resolve_arguments(&hook.arguments, &scope)
    }

    fn slot_place_of(&self, frame: Key) -> bool {
        matches!(self.frames[frame].parent, Parent::Group { .. })
    }
}

fn add_outputs(scope: &mut Scope<'_>, name: &str, outputs: Option<&Outputs>) {
    let Some(outputs) = outputs else { return };
    for parameter in &outputs.parameters {
        let value = parameter.value.as_ref().map_or("", |value| value.as_str());
        scope.overlay.insert(format!("{name}.outputs.parameters.{}", parameter.name), Some(value.to_string()));
    }
    if let Some(result) = &outputs.result {
        scope.overlay.insert(format!("{name}.outputs.result"), Some(result.clone()));
    }
    if let Some(code) = &outputs.exit_code {
        scope.overlay.insert(format!("{name}.exitCode"), Some(code.clone()));
    }
    for artifact in &outputs.artifacts {
        scope.artifacts.insert(format!("{name}.outputs.artifacts.{}", artifact.name), artifact.clone());
    }
}

/// Fills in arguments; names that are not known stay as they are. Artifacts are followed.
pub(crate) fn resolve_arguments(arguments: &Arguments, scope: &Scope<'_>) -> Result<Arguments, Stop> {
    if arguments.parameters.is_empty() && arguments.artifacts.is_empty() {
        return Ok(arguments.clone());
    }
    let mut arguments = arguments.clone();
    mark_absent(&mut arguments, scope);
    let text =
        tiphys_expr::template::replace_strict(&to_json(&arguments), scope, &[]).map_err(|error| error.to_string())?;
    let mut arguments: Arguments = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    arguments.artifacts =
        resolve_artifacts(arguments.artifacts, scope, |message| format!("unable to resolve references: {message}"))?;
    Ok(arguments)
}

/// Follows `from` of argument artifacts; optional ones that lead nowhere are left out.
pub(crate) fn resolve_artifacts(
    artifacts: Vec<tiphys_api::Artifact>,
    scope: &Scope<'_>,
    wrap: impl Fn(String) -> String,
) -> Result<Vec<tiphys_api::Artifact>, Stop> {
    let mut found = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        if artifact.from.is_empty() && artifact.from_expression.is_empty() {
            found.push(artifact);
            continue;
        }
        match scope.resolve_artifact(&artifact) {
            Ok(mut resolved) => {
                resolved.name = artifact.name;
                found.push(resolved);
            }
            Err(_) if artifact.optional => {}
            Err(Stop::Failed(message)) => return Err(Stop::Failed(wrap(message))),
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// Arguments that are nothing but a reference to an output that is absent are marked, so that the consumer's default
/// applies. argo: scope.go, markAbsentOptionalArgs.
pub(crate) fn mark_absent(arguments: &mut Arguments, scope: &Scope<'_>) {
    use tiphys_expr::template::Variables;
    for parameter in &mut arguments.parameters {
        let Some(value) = &mut parameter.value else { continue };
        let inner = value.as_str().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        let Some(name) = inner.filter(|inner| !inner.contains("{{") && !inner.contains("}}")) else { continue };
        if scope.get(name) == Some(None) {
            *value = ABSENT.into();
        }
    }
}

/// Whether a hook's expression is true.
fn evaluate(expression: &str, scope: &Scope<'_>) -> Result<bool, Stop> {
    lang::eval_bool(expression, &lang::nested_env(scope, &[])).map_err(|error| Stop::Failed(error.to_string()))
}

/// The workflow's own hooks see the workflow's variables only.
pub(crate) fn evaluate_globally(expression: &str, run: &Run) -> Result<bool, Stop> {
    evaluate(expression, &Scope::new(run, Place::Workflow))
}

/// Hooked children of a node that are not over.
pub(crate) fn has_open_hooks(run: &Run, node: &NodeStatus) -> bool {
    node.children
        .iter()
        .filter_map(|id| run.node(id))
        .any(|child| child.node_flag.as_ref().is_some_and(|flag| flag.hooked) && !fulfilled(child))
}

/// A task whose loop variables are filled in, shared by slot and call.
pub(crate) fn shared(task: Task) -> (Arc<Task>, Arc<Arguments>) {
    let arguments = Arc::new(task.arguments.clone());
    (Arc::new(task), arguments)
}
