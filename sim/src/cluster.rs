//! The cluster and the loop that drives an engine on it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tiphys_api::{Outputs, Time, Workflow, WorkflowSpec};
use tiphys_engine::{
    Action, ConfigMapData, ContainerState, ContainerStatus, EngineConfig, Fact, MemoEntry, Need, NodeId, Plan,
    PodPhase, PodRequest, PodState, Run,
};

use crate::faults::{Dice, Faults};

/// How a Pod comes out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The containers at the end, or a running daemon's.
    pub state: PodState,
    /// What the executor reports.
    pub outputs: Outputs,
    /// How long it runs, in seconds. A daemon runs until it is killed.
    pub seconds: i64,
    /// Whether it stays running.
    pub daemon: bool,
    /// Why the Pod cannot be made at all; empty where it can.
    pub refused: String,
}

impl Outcome {
    /// Everything went well.
    pub fn success(outputs: Outputs) -> Outcome {
        Outcome {
            state: finished(PodPhase::Succeeded, 0, "Completed", ""),
            outputs,
            seconds: 1,
            daemon: false,
            refused: String::new(),
        }
    }

    /// The main container ended with that code.
    pub fn failure(exit_code: i32, message: &str) -> Outcome {
        let state = finished(PodPhase::Failed, exit_code, "Error", message);
        Outcome { state, outputs: Outputs::default(), seconds: 1, daemon: false, refused: String::new() }
    }
}

fn finished(phase: PodPhase, exit_code: i32, reason: &str, message: &str) -> PodState {
    let over = |name: &str, exit_code: i32, reason: &str, message: &str| ContainerState {
        name: name.into(),
        init: false,
        ready: false,
        status: ContainerStatus::Terminated {
            exit_code,
            reason: reason.into(),
            message: message.into(),
            finished: None,
        },
    };
    let containers = vec![over("main", exit_code, reason, message), over("wait", 0, "Completed", "")];
    PodState { phase, containers, ..Default::default() }
}

/// Decides how Pods come out.
pub trait Script {
    /// The outcome of a node's Pod. It must be the same each time it is asked for the same node.
    fn outcome(&mut self, request: &PodRequest) -> Outcome;
}

impl<F: FnMut(&PodRequest) -> Outcome> Script for F {
    fn outcome(&mut self, request: &PodRequest) -> Outcome {
        self(request)
    }
}

/// What exists besides the workflow.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// WorkflowTemplates by name.
    pub templates: BTreeMap<String, WorkflowSpec>,
    /// ClusterWorkflowTemplates by name.
    pub cluster_templates: BTreeMap<String, WorkflowSpec>,
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, ConfigMapData>,
}

/// A Pod as the cluster knows it.
#[derive(Clone, Debug)]
struct Pod {
    node: NodeId,
    state: PodState,
    outputs: Outputs,
    /// Whether the executor has reported.
    reported: bool,
}

/// Something that will happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    PodRuns(String),
    PodEnds(String),
    Seen(String),
    Relist,
}

struct Cluster<'a> {
    world: &'a World,
    script: &'a mut dyn Script,
    pods: BTreeMap<String, Pod>,
    endings: BTreeMap<String, PodState>,
    memos: BTreeMap<(String, String), MemoEntry>,
    coming: BTreeSet<(Timestamp, u64, Coming)>,
    sequence: u64,
    now: Timestamp,
    dice: Dice,
    faults: Faults,
    stored: Workflow,
    actions: u64,
}

/// More plans than this mean that the engine goes in circles.
const MAX_PLANS: u64 = 5_000_000;

/// Runs a workflow to its end and returns it, or says why it did not end.
pub fn simulate(
    workflow: Workflow,
    world: &World,
    script: &mut dyn Script,
    faults: &Faults,
) -> Result<Workflow, String> {
    let start = Timestamp::from_second(1_700_000_000).map_err(|error| error.to_string())?;
    let mut cluster = Cluster {
        world,
        script,
        pods: BTreeMap::new(),
        endings: BTreeMap::new(),
        memos: BTreeMap::new(),
        coming: BTreeSet::new(),
        sequence: 0,
        now: start,
        dice: Dice::new(faults.seed),
        faults: faults.clone(),
        stored: workflow.clone(),
        actions: 0,
    };
    let mut run = Run::new(workflow, EngineConfig::default(), start);
    for _ in 0..MAX_PLANS {
        let plan = run.plan(cluster.now);
        let (wake_at, mut again) = (plan.wake_at, !plan.needs.is_empty());
        let before = cluster.actions;
        let crashed = cluster.carry_out(&mut run, plan);
        again |= cluster.actions > before;
        if crashed {
            run = cluster.restore();
            continue;
        }
        if run.is_finished() {
            return Ok(run.workflow().clone());
        }
        if !again && !cluster.let_time_pass(&mut run, wake_at) {
            let open = run.workflow().status.nodes.values().filter(|node| !node.phase.is_fulfilled());
            let open: Vec<String> = open.map(|node| format!("{} {}", node.name, node.phase)).collect();
            return Err(format!("nothing more will happen, but the workflow is not over; open nodes: {open:?}"));
        }
    }
    Err(format!("not over after {MAX_PLANS} plans"))
}

impl Cluster<'_> {
    fn after(&mut self, seconds: i64, what: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + SignedDuration::from_secs(seconds), self.sequence, what));
    }

    /// Stores the status, carries out the actions and answers the needs. True: the controller was killed on the way.
    fn carry_out(&mut self, run: &mut Run, plan: Plan) -> bool {
        if plan.status_changed || !plan.changed.is_empty() {
            self.stored = run.workflow().clone();
        }
        for action in plan.actions {
            self.act(run, &action);
            if self.faults.repeat_actions {
                self.act(run, &action);
            }
            self.actions += 1;
            if self.faults.crash_after == Some(self.actions - 1) {
                return true;
            }
        }
        for need in plan.needs {
            let fact = self.answer(&need);
            run.observe(fact, self.now);
        }
        false
    }

    /// The controller starts again, with nothing but what the cluster has.
    fn restore(&mut self) -> Run {
        let mut run = Run::restore(self.stored.clone(), EngineConfig::default(), self.now);
        let plan = run.plan(self.now);
        // Whatever it asks for at once is carried out before the Pods are listed, as a slow informer would have it.
        self.faults.crash_after = None;
        self.carry_out(&mut run, plan);
        self.list(&mut run);
        run
    }

    fn act(&mut self, run: &mut Run, action: &Action) {
        match action {
            Action::CreatePod(request) => self.create(run, request),
            Action::KillPod { pod_name, .. } => self.kill(pod_name),
            Action::EndSidecars { .. } | Action::Finish => {}
            Action::SaveMemo { cache, key, node } => {
                let outputs = run.node(node.as_str()).and_then(|node| node.outputs.as_deref().cloned());
                let entry = MemoEntry { node: node.to_string(), outputs, created: self.now };
                self.memos.insert((cache.clone(), key.clone()), entry);
            }
        }
    }

    fn create(&mut self, run: &mut Run, request: &PodRequest) {
        if self.pods.contains_key(&request.pod_name) {
            return;
        }
        let outcome = self.script.outcome(request);
        if !outcome.refused.is_empty() {
            let fact = Fact::PodRefused { node: request.node.clone(), message: outcome.refused, transient: false };
            run.observe(fact, self.now);
            return;
        }
        let name = request.pod_name.clone();
        let pod =
            Pod { node: request.node.clone(), state: PodState::default(), outputs: outcome.outputs, reported: false };
        self.pods.insert(name.clone(), pod);
        self.endings.insert(name.clone(), outcome.state);
        self.after(0, Coming::PodRuns(name.clone()));
        if !outcome.daemon {
            self.after(outcome.seconds, Coming::PodEnds(name));
        }
    }

    fn kill(&mut self, name: &str) {
        if let Some(pod) = self.pods.get_mut(name) {
            if matches!(pod.state.phase, PodPhase::Pending | PodPhase::Running) {
                pod.state = finished(PodPhase::Failed, 143, "Error", "");
                pod.reported = true;
                self.endings.insert(name.to_string(), pod.state.clone());
                self.after(0, Coming::Seen(name.to_string()));
            }
        }
    }

    fn answer(&self, need: &Need) -> Fact {
        match need {
            Need::Template { cluster_scope, name } => {
                let (from, plural) = if *cluster_scope {
                    (&self.world.cluster_templates, "clusterworkflowtemplates")
                } else {
                    (&self.world.templates, "workflowtemplates")
                };
                let found = from.get(name).cloned().map(Box::new);
                let found = found.ok_or_else(|| format!("{plural}.argoproj.io \"{name}\" not found"));
                Fact::Template { cluster_scope: *cluster_scope, name: name.clone(), found }
            }
            Need::ConfigMap { namespace, name } => {
                let found = self.world.config_maps.get(name).cloned();
                Fact::ConfigMap { namespace: namespace.clone(), name: name.clone(), found }
            }
            Need::Memo { cache, key } => {
                let found = Ok(self.memos.get(&(cache.clone(), key.clone())).cloned());
                Fact::Memo { cache: cache.clone(), key: key.clone(), found }
            }
        }
    }

    /// Moves to the next moment at which something happens. False: nothing ever will.
    fn let_time_pass(&mut self, run: &mut Run, wake_at: Option<Timestamp>) -> bool {
        let next = self.coming.first().map(|(at, _, _)| *at);
        let at = match (next, wake_at) {
            (Some(next), Some(wake)) => next.min(wake),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        self.now = self.now.max(at);
        while let Some((at, _, what)) = self.coming.first().cloned() {
            if at > self.now {
                break;
            }
            self.coming.pop_first();
            self.happen(run, what);
        }
        true
    }

    fn happen(&mut self, run: &mut Run, what: Coming) {
        match what {
            Coming::PodRuns(name) => {
                let ready = self.endings.get(&name).cloned();
                let Some(pod) = self.pods.get_mut(&name) else { return };
                if pod.state.phase != PodPhase::Pending {
                    return;
                }
                let template = ready.unwrap_or_default();
                let containers = template.containers.iter().map(|container| ContainerState {
                    ready: true,
                    status: ContainerStatus::Running,
                    ..container.clone()
                });
                pod.state = PodState {
                    phase: PodPhase::Running,
                    ip: "10.244.0.2".into(),
                    host: "node1".into(),
                    containers: containers.collect(),
                    ..Default::default()
                };
                self.tell(run, &name);
            }
            Coming::PodEnds(name) => {
                let Some(ending) = self.endings.get(&name).cloned() else { return };
                let now = Time::from_second(self.now.as_second());
                let Some(pod) = self.pods.get_mut(&name) else { return };
                if matches!(pod.state.phase, PodPhase::Succeeded | PodPhase::Failed) {
                    return;
                }
                pod.reported = true;
                pod.state = PodState { host: "node1".into(), ..ending };
                for container in &mut pod.state.containers {
                    if let ContainerStatus::Terminated { finished, .. } = &mut container.status {
                        finished.get_or_insert(now);
                    }
                }
                self.tell(run, &name);
            }
            Coming::Seen(name) => self.show(run, &name),
            Coming::Relist => self.list(run),
        }
    }

    /// An event about a Pod goes out, unless it is lost, late or doubled.
    fn tell(&mut self, run: &mut Run, name: &str) {
        let (drop, double, delay) = (self.faults.drop, self.faults.double, self.faults.delay);
        if self.dice.percent(drop) {
            self.after(30, Coming::Relist);
            return;
        }
        if self.dice.percent(delay) {
            let late = 1 + i64::try_from(self.dice.below(5)).unwrap_or(1);
            self.after(late, Coming::Seen(name.to_string()));
            return;
        }
        self.show(run, name);
        if self.dice.percent(double) {
            self.show(run, name);
        }
    }

    /// The controller sees a Pod as it is now, and what its executor reported.
    fn show(&mut self, run: &mut Run, name: &str) {
        let Some(pod) = self.pods.get(name) else { return };
        let result = |complete| Fact::TaskResult {
            node: pod.node.clone(),
            outputs: Box::new(if complete { pod.outputs.clone() } else { Outputs::default() }),
            progress: String::new(),
            complete,
        };
        if pod.reported {
            run.observe(result(true), self.now);
        }
        run.observe(Fact::Pod { node: pod.node.clone(), state: Box::new(pod.state.clone()) }, self.now);
    }

    /// Everything is listed.
    fn list(&mut self, run: &mut Run) {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            self.show(run, &name);
        }
    }
}
