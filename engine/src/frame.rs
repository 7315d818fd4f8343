//! The engine's working memory: a frame for each node that is, or will be, in the workflow.
//!
//! Frames hold what the status does not say but what is needed to go on from one event to the next at a cost that does
//! not grow with the workflow: who waits for a node, how many children are still open, what a call has been resolved to.
//! All of it can be rebuilt from the spec and the status.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tiphys_api::{Arguments, LifecycleHook, NodeFlag, NodePhase, Task, Template};

use crate::fact::PodState;
use crate::id::NodeId;
use crate::templates::{Base, Resolved};

/// The index of a frame.
pub(crate) type Key = usize;

/// Who is told when a frame is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parent {
    /// The workflow: this is the entry point.
    Entry,
    /// The workflow: this is its exit handler.
    Exit,
    /// The workflow: this is a life-cycle hook of it.
    WorkflowHook,
    /// A step group, DAG or task group.
    Slot { frame: Key, slot: usize },
    /// A retry node: this is one of its attempts.
    Attempt { retry: Key },
    /// A step or task: this is a hook of it.
    Hook { frame: Key, slot: usize },
    /// A steps template: this is one of its groups.
    Group { steps: Key },
}

/// Whether the caller's task is a step or a DAG task; it decides whether `steps.name` or `tasks.name` is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CallerKind {
    Step,
    Task,
}

/// What to execute, and for whom.
#[derive(Clone)]
pub(crate) struct Call {
    pub task: Arc<Task>,
    pub caller: CallerKind,
    /// Where template names are looked up.
    pub base: Base,
    pub arguments: Arc<Arguments>,
}

/// One node's working memory.
pub(crate) struct Frame {
    pub name: String,
    pub id: NodeId,
    /// The index of its node in the status, once there is one.
    pub node: Option<usize>,
    pub parent: Parent,
    /// The enclosing steps or DAG.
    pub boundary: Option<Key>,
    pub on_exit: bool,
    pub depth: u32,
    pub flag: Option<NodeFlag>,
    pub call: Call,
    pub body: Body,
    /// Whether the node hangs under what comes before it.
    pub linked: bool,
}

/// What a frame does.
pub(crate) enum Body {
    /// Not begun: waiting for a fact, a lock or room.
    New,
    Pod(PodBody),
    AgentTask(AgentTaskBody),
    Suspend,
    Steps(Box<StepsBody>),
    Group(Box<GroupBody>),
    Dag(Box<DagBody>),
    TaskGroup(Box<GroupBody>),
    Retry(Box<RetryBody>),
    /// Over, or never to run.
    Closed,
}

/// A Pod.
pub(crate) struct PodBody {
    pub pod_name: String,
    pub template: Resolved,
    /// The furthest state seen of the current Pod.
    pub rank: u8,
    /// Whether it counts against the workflow's parallelism.
    pub active: bool,
    /// Whether the kill was asked for.
    pub killed: bool,
    /// Whether everything that will be reported was.
    pub complete: bool,
    /// The Pod's end, held back until its outputs are there.
    pub held: Option<Box<PodState>>,
}

/// An `http` or `plugin` template.
pub(crate) struct AgentTaskBody {
    /// Whether it was asked for and not taken back.
    pub asked: bool,
    /// Whether its result is kept.
    pub memoized: bool,
}

/// A steps template at work.
pub(crate) struct StepsBody {
    pub template: Arc<Template>,
    pub base: Base,
    /// Frames of the groups that have begun.
    pub groups: Vec<Key>,
    /// In which group each step is.
    pub names: HashMap<String, usize>,
    /// Calls that wait for room under the template's parallelism.
    pub held: Vec<Key>,
    pub counts: Counts,
    /// The template's text, to see which results are referred to.
    pub result_refs: ResultRefs,
}

/// The children of a boundary that count against its parallelism.
#[derive(Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Pods, steps and DAGs that are Pending or Running.
    pub active: i64,
    /// Those of them that wait for locks.
    pub waiting: i64,
    /// Pods that are Pending or Running and really exist.
    pub active_pods: i64,
    /// Pods, steps and DAGs that Failed or erred.
    pub unsuccessful: i64,
}

/// Steps side by side, or the iterations of a task.
pub(crate) struct GroupBody {
    pub slots: Vec<Slot>,
    pub open: usize,
}

/// A place for one child of a group or DAG, with the hooks around it.
pub(crate) struct Slot {
    /// References resolved, loop variables filled in.
    pub task: Arc<Task>,
    /// The name as written, without loop index.
    pub origin: Arc<str>,
    pub node: NodeId,
    pub frame: Option<Key>,
    pub hooks: Vec<HookRun>,
    pub exit: ExitRun,
    /// Whether life-cycle hooks other than `exit` apply (not to the iterations of a DAG task).
    pub has_hooks: bool,
    pub settled: bool,
}

/// A life-cycle hook of a slot.
pub(crate) struct HookRun {
    pub name: String,
    pub hook: LifecycleHook,
    pub frame: Option<Key>,
}

/// The exit hook of a slot.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ExitRun {
    /// It has not been decided yet.
    Undecided,
    /// At work.
    Running(Key),
    /// Done, not to be run, or there is none.
    Done,
}

/// A DAG at work.
pub(crate) struct DagBody {
    pub template: Arc<Template>,
    pub base: Base,
    pub tasks: Vec<DagTask>,
    pub slots: Vec<Slot>,
    pub index: FxHashMap<String, usize>,
    pub targets: Vec<usize>,
    /// Tasks that are needed and not settled.
    pub open: usize,
    pub held: Vec<Key>,
    pub counts: Counts,
    pub result_refs: ResultRefs,
}

/// One task of a DAG.
pub(crate) struct DagTask {
    pub task: Arc<Task>,
    pub dependencies: Vec<usize>,
    pub dependents: Vec<usize>,
    /// Dependencies that are not over yet.
    pub unmet: usize,
    /// `depends` with explicit results; empty where there are no dependencies.
    pub logic: String,
    /// Whether a target needs it.
    pub needed: bool,
    pub begun: bool,
    /// Whether dependents were told.
    pub released: bool,
}

/// A template with a retry strategy at work.
pub(crate) struct RetryBody {
    /// The template with arguments, before attempt variables.
    pub processed: Arc<Template>,
    pub resolved: Resolved,
    pub template_base: Base,
    pub attempts: Vec<Key>,
    /// The moment at which attempts are ended (`backoff.maxDuration`).
    pub deadline: Option<Timestamp>,
}

/// Which steps' or tasks' `outputs.result` a template refers to.
pub(crate) struct ResultRefs(HashSet<String>);

impl ResultRefs {
    /// From a template's JSON text; `prefix` is `steps` or `tasks`. argo: operator.go, hasOutputResultRef: Argo searches
    /// the text for each name; here it is read once, so that a step costs nothing of its template's length.
    pub fn new(text: &str, prefix: &'static str) -> ResultRefs {
        const RESULT: &str = ".outputs.result";
        let named = |end: usize| -> Option<&str> {
            let before = &text[..end];
            let (name, rest) = match before.strip_suffix(']') {
                Some(inside) => {
                    let inside = inside.strip_suffix(['\'', '"'])?;
                    let inside = inside.strip_suffix('\\').unwrap_or(inside);
                    let start = inside.rfind(['\'', '"'])? + 1;
                    let rest = inside[..start - 1].trim_end_matches('\\');
                    (&inside[start..], rest.strip_suffix('[')?)
                }
                None => {
                    let is_name = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_');
                    let start = before.trim_end_matches(is_name).len();
                    (&before[start..], before[..start].strip_suffix('.')?)
                }
            };
            rest.ends_with(prefix).then_some(name)
        };
        ResultRefs(text.match_indices(RESULT).filter_map(|(at, _)| named(at)).map(str::to_string).collect())
    }

    /// Whether the step's or task's result is referred to.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

impl Slot {
    pub fn new(task: Arc<Task>, origin: Arc<str>, node: NodeId, has_hooks: bool) -> Slot {
        let hooks = if has_hooks {
            task.hooks
                .iter()
                .filter(|(name, _)| *name != "exit")
                .map(|(name, hook)| HookRun { name: name.clone(), hook: hook.clone(), frame: None })
                .collect()
        } else {
            Vec::new()
        };
        let exit = match exit_hook(&task, &Arguments::default()) {
            Some(_) => ExitRun::Undecided,
            None => ExitRun::Done,
        };
        Slot { task, origin, node, frame: None, hooks, exit, has_hooks, settled: false }
    }
}

/// The exit hook of a task: `onExit` is the older spelling. argo: workflow_types.go, GetExitHook.
pub(crate) fn exit_hook(task: &Task, workflow_arguments: &Arguments) -> Option<LifecycleHook> {
    if !task.on_exit.is_empty() {
        let arguments = workflow_arguments.clone();
        return Some(LifecycleHook { template: task.on_exit.clone(), arguments, ..Default::default() });
    }
    task.hooks.get("exit").map(|hook| {
        let mut hook = hook.clone();
        if hook.arguments.parameters.is_empty() && hook.arguments.artifacts.is_empty() {
            hook.arguments = workflow_arguments.clone();
        }
        hook
    })
}

/// Whether a failure of that phase does not stop what follows.
pub(crate) fn continues_on(task: &Task, phase: NodePhase) -> bool {
    task.continue_on
        .as_ref()
        .is_some_and(|on| (on.error && phase == NodePhase::Error) || (on.failed && phase == NodePhase::Failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_referred_to() {
        let text = r#"{"a":"{{tasks.one-1.outputs.result}} {{=tasks['two'].outputs.result}}","b":"{{=tasks[\"three\"].outputs.result}}","c":"{{steps.four.outputs.result}} {{tasks.five.outputs.parameters.x}}"}"#;
        let refs = ResultRefs::new(text, "tasks");
        let known: Vec<bool> =
            ["one-1", "two", "three", "four", "five"].iter().map(|name| refs.contains(name)).collect();
        assert_eq!(known, [true, true, true, false, false]);
    }
}
