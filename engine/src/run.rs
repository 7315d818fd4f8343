//! A workflow at work: facts come in, plans go out.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet, FxHasher};
use tiphys_api::{
    ArtifactRepository, NodePhase, NodeStatus, NodeType, Task, Template, Time, Workflow, WorkflowPhase, WorkflowSpec,
};
use tiphys_expr::ambient;
use tiphys_expr::template::Variables;

use crate::estimate::Baseline;
use crate::fact::{ConfigMapFound, Fact, MemoEntry, Shutdown};
use crate::frame::{Body, Counts, Frame, Key};
use crate::globals::Globals;
use crate::id::{NodeId, PodNameFormat};
use crate::locking::Hold;
use crate::locks::LockName;
use crate::plan::{Action, Need, Plan};
use crate::repository::ConfigMaps;
use crate::restrictions::Restriction;
use crate::templates::{Base, Templates};

/// What the engine is told of its surroundings.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Values under everything else (`workflowDefaults`): spec, labels and annotations.
    pub workflow_defaults: Option<Arc<Workflow>>,
    /// How deep templates may call each other; 0 means Argo's default of 100.
    pub max_depth: u32,
    /// Nodes that were Running when a driver that owns its Pods was killed are run again, not given up: there is
    /// nothing left to observe of them.
    pub rerun_lost_pods: bool,
    /// How often a node's Pod is made anew that failed before its main containers began, for a reason that lies in the
    /// machine it was on (`failedPodRestart`). None: never.
    pub failed_pod_restarts: Option<i64>,
    /// Kinds of templates that the driver has no means for. A workflow that needs one is refused.
    pub without: Vec<tiphys_api::TemplateType>,
    /// Where artifacts go of workflows that name no repository; None is for the driver to say with
    /// [`Fact::ArtifactRepository`].
    pub artifact_repository: Option<Box<ArtifactRepository>>,
    /// The namespace of the driver itself, where repositories are looked for that the workflow's namespace lacks; empty where
    /// there is none.
    pub controller_namespace: String,
    /// Which workflows may run.
    pub restriction: Restriction,
    /// Fields of a spec that a workflow may set under a restriction, beside those that always are allowed.
    pub allowed_overrides: BTreeSet<String>,
    /// How long the results of a node that is over are waited for; None means Argo's ten minutes.
    pub result_timeout: Option<SignedDuration>,
    /// What the message of a failure looks like that passes, beside those that are known (`OnTransientError`).
    pub transient_pattern: Option<Regex>,
    /// How the Pods of new workflows are named, and of those that say nothing of it.
    pub pod_names: PodNameFormat,
    /// Whether `{{=expression}}` is a tag like any other, and not evaluated.
    pub no_expressions: bool,
}

/// Why something does not go on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stop {
    /// A fact is missing.
    Need(Need),
    /// An error, in words for the node's message.
    Failed(String),
    /// No room under a parallelism limit.
    Held,
    /// Locks are asked for or waited for.
    Locked,
    /// Templates call each other too deep.
    TooDeep,
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Failed(message)
    }
}

/// How far the workflow as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The spec is being put together.
    SetUp,
    /// The workflow's own locks are waited for.
    Locks,
    /// The entry point is at work.
    Main,
    /// The exit handler is at work.
    Exit,
    /// Over.
    Done,
}

/// Something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// Begin a call, or try again.
    Begin(Key),
    /// A slot's node or one of its hooks changed.
    Slot(Key, usize),
    /// A step group is over.
    Group(Key),
    /// An attempt changed, or the backoff is over.
    Retry(Key),
    /// A limit may have room for held calls; None is the workflow's own limit.
    Room(Option<Key>),
    /// The entry point, the exit handler or a hook of the workflow changed.
    Workflow,
}

/// A workflow at work.
pub struct Run {
    pub(crate) wf: Workflow,
    /// What is executed: the workflow's spec, its template's and the defaults, with the workflow's variables filled in.
    pub(crate) spec: Arc<WorkflowSpec>,
    pub(crate) config: EngineConfig,
    pub(crate) globals: Globals,
    pub(crate) templates: Templates,
    /// ConfigMaps that were asked for, by namespace and name.
    pub(crate) config_maps: ConfigMaps,
    pub(crate) memos: HashMap<(String, String), Result<Option<MemoEntry>, String>>,
    pub(crate) frames: Vec<Frame>,
    /// The frame of each id; in the order of frames, which is that of nodes.
    pub(crate) by_id: IndexMap<NodeId, Key, FxBuildHasher>,
    /// Nodes whose id had to be made different from the one that Argo's rule gives, with the number behind it.
    pub(crate) renamed: HashMap<String, (NodeId, u32)>,
    pub(crate) queue: VecDeque<Event>,
    pub(crate) queued: FxHashSet<Event>,
    /// How many calls are being begun, one within the other.
    pub(crate) nesting: u32,
    pub(crate) timers: BTreeSet<(Timestamp, Event2)>,
    /// Calls that wait for a fact.
    pub(crate) waiting: HashMap<Need, Vec<Key>>,
    pub(crate) asked: HashSet<Need>,
    /// Calls held back by the workflow's own parallelism.
    pub(crate) held: VecDeque<Key>,
    pub(crate) active_pods: i64,
    pub(crate) running_pods: i64,
    pub(crate) daemons: BTreeSet<NodeId>,
    /// The locks of calls, by node.
    pub(crate) holds: FxHashMap<NodeId, Hold>,
    /// Those of the workflow itself.
    pub(crate) own_hold: Option<Hold>,
    /// How many holders wait for a lock.
    pub(crate) waiting_for_locks: FxHashMap<LockName, u32>,
    pub(crate) unsynced: i64,
    /// Nodes that wait for nothing but their results, and until when.
    pub(crate) awaited: FxHashMap<NodeId, Timestamp>,
    pub(crate) progress: (i64, i64),
    /// Templates of nodes that emit metrics when they are over, and those that are over in this turn.
    pub(crate) metered: FxHashMap<NodeId, Arc<Template>>,
    pub(crate) measured: Vec<NodeId>,
    pub(crate) stage: Stage,
    pub(crate) entry: Option<Key>,
    pub(crate) exit: Option<Key>,
    pub(crate) workflow_hooks: Vec<(String, Option<Key>)>,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) pod_names: PodNameFormat,
    pub(crate) now: Timestamp,
    pub(crate) out: Plan,
    pub(crate) changed: BTreeSet<NodeId>,
    /// What was told of nodes of a status that was taken over, before the engine came to them again.
    pub(crate) early: FxHashMap<NodeId, Vec<Fact>>,
    /// The children of nodes that have many, so that one is not hung up twice.
    pub(crate) large: FxHashMap<NodeId, FxHashSet<NodeId>>,
    /// Counts of the boundaries of a status that was taken over, until those are begun again.
    pub(crate) adopted_counts: FxHashMap<NodeId, Counts>,
    /// Pods of such a status that were counted at once, so that nothing new takes their place before they are come to.
    pub(crate) adopted_places: FxHashSet<NodeId>,
    /// Whether the status was taken over from an earlier run of the engine.
    pub(crate) restoring: bool,
    /// What durations are estimated by.
    pub(crate) baseline: Option<Baseline>,
}

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event2 {
    /// A retry's backoff is over.
    Retry(Key),
    /// A suspend node's duration is over.
    Suspend(Key),
    /// A Pending node has waited long enough.
    Pending(Key),
    /// The workflow's deadline.
    Deadline,
    /// A node's results were waited for long enough.
    Results(NodeId),
}

impl Run {
    /// A workflow that has not begun. `now` is the time from which it counts.
    pub fn new(workflow: Workflow, config: EngineConfig, now: Timestamp) -> Run {
        Run::make(workflow, config, now, false)
    }

    /// A workflow that is under way: its status says how far it has come. Pods that are still to be made are asked for
    /// again; the driver tells of those that exist with facts, as after any other pause.
    pub fn restore(workflow: Workflow, config: EngineConfig, now: Timestamp) -> Run {
        let status = &workflow.status;
        let restoring = status.phase != WorkflowPhase::Unknown || !status.nodes.is_empty();
        Run::make(workflow, config, now, restoring)
    }

    fn make(workflow: Workflow, config: EngineConfig, now: Timestamp, restoring: bool) -> Run {
        let stage = if workflow.status.phase.is_completed() { Stage::Done } else { Stage::SetUp };
        let mut out = Plan::default();
        if stage == Stage::Done {
            // Whether it was carried out before the restart is not known.
            out.actions.push(Action::Finish);
        }
        let shutdown = parse_shutdown(&workflow.spec.shutdown);
        let renamed = renamed(&workflow);
        let mut run = Run {
            spec: Arc::new(workflow.spec.clone()),
            wf: workflow,
            config,
            globals: Globals::default(),
            templates: Templates::default(),
            config_maps: HashMap::new(),
            memos: HashMap::new(),
            frames: Vec::new(),
            by_id: IndexMap::default(),
            renamed,
            queue: VecDeque::from([Event::Workflow]),
            queued: FxHashSet::default(),
            nesting: 0,
            timers: BTreeSet::new(),
            waiting: HashMap::new(),
            asked: HashSet::new(),
            held: VecDeque::new(),
            active_pods: 0,
            running_pods: 0,
            daemons: BTreeSet::new(),
            holds: FxHashMap::default(),
            own_hold: None,
            waiting_for_locks: FxHashMap::default(),
            unsynced: 0,
            awaited: FxHashMap::default(),
            progress: (0, 0),
            metered: FxHashMap::default(),
            measured: Vec::new(),
            stage,
            entry: None,
            exit: None,
            workflow_hooks: Vec::new(),
            shutdown,
            deadline: None,
            pod_names: PodNameFormat::V2,
            now,
            out,
            changed: BTreeSet::new(),
            early: FxHashMap::default(),
            large: FxHashMap::default(),
            adopted_counts: FxHashMap::default(),
            adopted_places: FxHashSet::default(),
            restoring,
            baseline: None,
        };
        run.distrust_status();
        run
    }

    /// The workflow with its status as of the last plan.
    pub fn workflow(&self) -> &Workflow {
        &self.wf
    }

    /// The spec that is executed, once it has been put together.
    pub fn spec(&self) -> &Arc<WorkflowSpec> {
        &self.spec
    }

    /// Whether the workflow is over.
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Done
    }

    /// A node of the status, by id.
    pub fn node(&self, id: &str) -> Option<&NodeStatus> {
        self.wf.status.nodes.at(self.node_index(id)?)
    }

    /// The index of a node in the status. Its frame knows it, which is looked at beside the node anyway: where there are many nodes,
    /// what an event costs is how many places in memory it looks at.
    pub(crate) fn node_index(&self, id: &str) -> Option<usize> {
        let known = self.by_id.get(id).and_then(|key| self.frames[*key].node);
        known.or_else(|| self.wf.status.nodes.index_of(id))
    }

    pub(crate) fn node_named(&self, name: &str) -> Option<&NodeStatus> {
        self.node(self.id_of(name).as_str()).filter(|node| node.name == name)
    }

    /// Takes in a fact. What follows from it comes with the next plan.
    pub fn observe(&mut self, fact: Fact, now: Timestamp) {
        self.now = self.now.max(now);
        let (now, seed) = (self.now, self.seed());
        ambient::without_expressions(self.config.no_expressions, || ambient::with(now, seed, || self.take_in(fact)));
    }

    /// What random functions in expressions draw from: the same for the same workflow at the same time, so that the
    /// same facts at the same times always come to the same end.
    fn seed(&self) -> u64 {
        let mut hasher = FxHasher::default();
        self.wf.metadata.uid.hash(&mut hasher);
        self.wf.metadata.name.hash(&mut hasher);
        self.now.as_nanosecond().hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn take_in(&mut self, fact: Fact) {
        let Some(fact) = self.keep_if_early(fact) else { return };
        match fact {
            Fact::Template { cluster_scope, name, found } => {
                self.templates.learn(cluster_scope, name.clone(), found);
                self.answered(&Need::Template { cluster_scope, name });
            }
            Fact::ConfigMap { namespace, name, found } => {
                self.config_maps.insert((namespace.clone(), name.clone()), found);
                self.answered(&Need::ConfigMap { namespace, name });
            }
            Fact::Memo { cache, key, found } => {
                self.memos.insert((cache.clone(), key.clone()), found);
                self.answered(&Need::Memo { cache, key });
            }
            Fact::Pod { node, state } => self.pod_observed(&node, &state),
            Fact::PodGone { node } => self.pod_gone(&node),
            Fact::PodRefused { node, message, transient } => self.pod_refused(&node, &message, transient),
            Fact::TaskResult { node, outputs, progress, complete } => {
                self.task_result(&node, *outputs, &progress, complete);
            }
            Fact::ArtifactRepository(reference) => {
                self.out.status_changed |= self.wf.status.artifact_repository_ref.as_ref() != Some(&reference);
                self.wf.status.artifact_repository_ref = Some(reference);
            }
            Fact::Baseline(baseline) => self.estimate_by(*baseline),
            Fact::VolumeClaims(claims) => {
                self.out.status_changed |= self.wf.status.persistent_volume_claims != claims;
                self.wf.status.persistent_volume_claims = claims;
                self.push(Event::Workflow);
            }
            Fact::VolumeClaimRefused { message, transient } => self.claim_refused(&message, transient),
            Fact::MetricRefused { message } => self.metric_refused(&message),
            Fact::NodeResult { node, result } => self.node_result(&node, *result),
            Fact::Locks { holder, answer } => self.locks_answered(&holder, answer),
            Fact::Unwritable(message) => self.unwritable(&message),
            Fact::Shutdown(strategy) => self.shut_down(strategy),
            Fact::Suspended(suspended) => self.suspend_workflow(suspended),
            Fact::Spec(spec) => self.spec_changed(*spec),
            Fact::SuspendNode { node, phase, message, parameters } => {
                self.suspend_node(&node, phase, &message, &parameters);
            }
        }
    }

    /// A fact about a node of a status that was taken over, to which the engine has not come again, is kept until then.
    fn keep_if_early(&mut self, fact: Fact) -> Option<Fact> {
        if !self.restoring {
            return Some(fact);
        }
        let node = match &fact {
            Fact::Pod { node, .. }
            | Fact::PodGone { node }
            | Fact::TaskResult { node, .. }
            | Fact::NodeResult { node, .. } => node,
            _ => return Some(fact),
        };
        let begun = self.by_id.get(node).is_some_and(|key| !matches!(self.frames[*key].body, Body::New));
        let will_be = |node: &NodeStatus| !phase_fulfilled(node) && self.is_within_reach(node);
        let early = !begun && self.node(node.as_str()).is_some_and(will_be);
        if early && self.stage != Stage::Done {
            self.early.entry(node.clone()).or_default().push(fact);
            return None;
        }
        Some(fact)
    }

    /// What was told of a node before the engine came to it again.
    pub(crate) fn catch_up(&mut self, id: &NodeId) {
        for fact in self.early.remove(id).unwrap_or_default() {
            self.take_in(fact);
        }
    }

    /// Decides what follows from everything that was observed, at the time `now`.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        self.now = self.now.max(now);
        let (now, seed) = (self.now, self.seed());
        ambient::without_expressions(self.config.no_expressions, || ambient::with(now, seed, || self.decide_all()));
        let mut plan = std::mem::take(&mut self.out);
        plan.changed = std::mem::take(&mut self.changed).into_iter().collect();
        plan.wake_at = self.timers.first().map(|(at, _)| *at);
        plan
    }

    fn decide_all(&mut self) {
        while self.stage != Stage::Done {
            self.fire_timers();
            self.work();
            if self.timers.first().is_none_or(|(at, _)| *at > self.now) {
                break;
            }
        }
        self.measure();
    }

    fn work(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            self.queued.remove(&event);
            if self.stage == Stage::Done {
                break;
            }
            if self.suspended() && !matches!(event, Event::Workflow) {
                // The workflow's own suspension stops everything that has not begun; it is looked at again on resume.
                self.queue.push_front(event);
                self.queued.insert(event);
                break;
            }
            match event {
                Event::Begin(key) => self.begin(key),
                Event::Slot(key, slot) => self.advance_slot(key, slot),
                Event::Group(key) => self.advance_steps(key),
                Event::Retry(key) => self.advance_retry(key),
                Event::Room(limit) => self.release_held(limit),
                Event::Workflow => self.advance_workflow(),
            }
        }
    }

    /// Puts an event in the queue unless it is there already.
    pub(crate) fn push(&mut self, event: Event) {
        if self.queued.insert(event) {
            self.queue.push_back(event);
        }
    }

    fn fire_timers(&mut self) {
        while self.timers.first().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, what)) = self.timers.pop_first() else { break };
            self.note_running();
            match what {
                Event2::Retry(key) => self.push(Event::Retry(key)),
                Event2::Suspend(key) => self.suspend_over(key),
                Event2::Pending(key) => self.pending_too_long(key),
                Event2::Deadline => self.deadline_passed(),
                Event2::Results(id) => self.results_overdue(&id),
            }
        }
    }

    /// Whether `spec.suspend` holds the workflow.
    pub(crate) fn suspended(&self) -> bool {
        self.wf.spec.suspend == Some(true)
    }

    /// Asks for a fact, and remembers who waits for it.
    pub(crate) fn need(&mut self, need: Need, key: Option<Key>) {
        let need = match need {
            Need::ConfigMap { namespace, name } if namespace.is_empty() => {
                Need::ConfigMap { namespace: self.wf.metadata.namespace.clone(), name }
            }
            other => other,
        };
        if let Some(key) = key {
            self.waiting.entry(need.clone()).or_default().push(key);
        }
        if self.asked.insert(need.clone()) {
            self.out.needs.push(need);
        }
    }

    fn answered(&mut self, need: &Need) {
        for key in self.waiting.remove(need).unwrap_or_default() {
            self.push(Event::Begin(key));
        }
        self.push(Event::Workflow);
    }

    /// A ConfigMap of the workflow's namespace, once it was asked for.
    pub(crate) fn config_map(&self, name: &str) -> Option<ConfigMapFound> {
        self.config_maps.get(&(self.wf.metadata.namespace.clone(), name.to_owned())).cloned()
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.out.actions.push(action);
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_second(self.now.as_second())
    }

    /// Replaces template tags in a text; names that are not known stay as they are.
    pub(crate) fn replace_text(&self, text: &str, variables: &dyn Variables) -> Result<String, Stop> {
        if !text.contains("{{") {
            return Ok(text.to_string());
        }
        let json = crate::templates::to_json(&text);
        let replaced = tiphys_expr::template::replace(&json, variables, true).map_err(|error| error.to_string())?;
        serde_json::from_str(&replaced).map_err(|error| Stop::Failed(error.to_string()))
    }

    /// The template a task would call, if it can be told without asking.
    pub(crate) fn peek_template(&self, base: &Base, task: &Task) -> Option<Arc<Template>> {
        self.templates.peek(&self.spec, &self.wf.status.stored_templates, base, task)
    }

    /// A boundary's counts of active and unsuccessful children.
    pub(crate) fn counts(&mut self, boundary: Key) -> Option<&mut Counts> {
        match &mut self.frames[boundary].body {
            Body::Steps(body) => Some(&mut body.counts),
            Body::Dag(body) => Some(&mut body.counts),
            _ => None,
        }
    }

    /// For a retry node, its last attempt; any other node is itself. argo: operator.go, possiblyGetRetryChildNode.
    pub(crate) fn last_attempt<'a>(&'a self, node: &'a NodeStatus) -> &'a NodeStatus {
        if node.r#type != NodeType::Retry || node.memoization_status.as_ref().is_some_and(|memo| memo.hit == Some(true))
        {
            return node;
        }
        let attempts = node.children.iter().rev().filter_map(|id| self.node(id));
        attempts.into_iter().find(|child| child.node_flag.as_ref().is_none_or(|flag| !flag.hooked)).unwrap_or(node)
    }
}

/// The nodes of a status whose id is not the one that Argo's rule gives for their name.
pub(crate) fn renamed(workflow: &Workflow) -> HashMap<String, (NodeId, u32)> {
    let name = &workflow.metadata.name;
    let differ = workflow.status.nodes.iter().filter(|(id, node)| NodeId::of(name, &node.name).as_str() != id.as_str());
    differ
        .map(|(id, node)| {
            let number = id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
            (node.name.clone(), (NodeId::from(id.as_str()), number))
        })
        .collect()
}

pub(crate) fn parse_shutdown(text: &str) -> Option<Shutdown> {
    match text {
        "Stop" => Some(Shutdown::Stop),
        "Terminate" => Some(Shutdown::Terminate),
        _ => None,
    }
}

/// Whether a node is over: its phase is final and its results are in, or it is a daemon that is up.
/// argo: workflow_types.go, NodeStatus.Fulfilled.
pub(crate) fn fulfilled(node: &NodeStatus) -> bool {
    phase_fulfilled(node) || (node.daemoned == Some(true) && node.phase != NodePhase::Pending)
}

/// The same without the rule for daemons. argo: NodePhase.Fulfilled(taskResultSynced).
pub(crate) fn phase_fulfilled(node: &NodeStatus) -> bool {
    node.phase.is_fulfilled() && node.task_result_synced.unwrap_or(true)
}
