//! The cluster and the loop that drives an engine on it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tiphys_api::Workflow;
use tiphys_engine::{
    Action, EngineConfig, Fact, MemoEntry, Need, NodeId, Plan, PodPhase, PodRequest, Run, TaskRequest,
};

use crate::faults::{Dice, Faults};
use crate::outcome::{Request, Script, World};
use crate::pods::{Alive, Pods};
use crate::tasks::Tasks;

/// Looks at a run after each plan was carried out, and at the Pods that are not over. An error ends the simulation.
pub type Watch<'a> = dyn FnMut(&Run, &[Alive]) -> Result<(), String> + 'a;

/// How a simulation ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The workflow, over.
    pub workflow: Workflow,
    /// At how many moments the controller could have been killed.
    pub moments: u64,
    /// The Pods that were made, by name, in order.
    pub created: Vec<String>,
    /// The Pods that are not over although the workflow is.
    pub left: Vec<Alive>,
    /// The tasks that were not taken back although the workflow is over.
    pub left_tasks: Vec<NodeId>,
}

/// Something that will happen.
enum Coming {
    PodRuns(String),
    PodEnds(String),
    TaskEnds(NodeId),
    /// The controller is told something.
    Told(Vec<Fact>),
    Asked(Request),
    Relist,
}

struct Cluster<'a, 'w> {
    world: &'a World,
    script: &'a mut dyn Script,
    watch: &'a mut Watch<'w>,
    pods: Pods,
    tasks: Tasks,
    created: Vec<String>,
    memos: BTreeMap<(String, String), MemoEntry>,
    coming: BTreeMap<(Timestamp, u64), Coming>,
    sequence: u64,
    now: Timestamp,
    dice: Dice,
    faults: Faults,
    stored: Workflow,
    /// What users asked for since the status was last stored: a driver tells of it until it has been.
    asked: Vec<Fact>,
    moments: u64,
}

/// What became of a plan.
enum Carried {
    /// Everything was done; whether there is something new to plan for.
    Out { again: bool },
    /// The controller was killed on the way.
    Crashed,
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
    simulate_watched(workflow, world, script, faults, &mut |_, _| Ok(())).map(|ending| ending.workflow)
}

/// The same, looked at after each plan was carried out: the run, and the Pods that are not over.
pub fn simulate_watched(
    workflow: Workflow,
    world: &World,
    script: &mut dyn Script,
    faults: &Faults,
    watch: &mut Watch<'_>,
) -> Result<Ending, String> {
    let start = Timestamp::from_second(1_700_000_000).map_err(|error| error.to_string())?;
    simulate_from(start, workflow, world, script, faults, watch)
}

/// The same, beginning at a time of one's own; the workflow may have a status that is to be gone on from.
pub fn simulate_from(
    start: Timestamp,
    workflow: Workflow,
    world: &World,
    script: &mut dyn Script,
    faults: &Faults,
    watch: &mut Watch<'_>,
) -> Result<Ending, String> {
    let mut cluster = Cluster {
        world,
        script,
        watch,
        pods: Pods::default(),
        tasks: Tasks::default(),
        created: Vec::new(),
        memos: BTreeMap::new(),
        coming: BTreeMap::new(),
        sequence: 0,
        now: start,
        dice: Dice::new(faults.seed),
        faults: faults.clone(),
        stored: workflow,
        asked: Vec::new(),
        moments: 0,
    };
    for (seconds, request) in &world.requests {
        cluster.after(*seconds, Coming::Asked(request.clone()));
    }
    let mut run = Run::restore(cluster.stored.clone(), EngineConfig::default(), start);
    for _ in 0..MAX_PLANS {
        let plan = run.plan(cluster.now);
        let wake_at = plan.wake_at;
        let Carried::Out { again } = cluster.carry_out(&mut run, plan) else {
            run = cluster.restore();
            continue;
        };
        (cluster.watch)(&run, &cluster.pods.alive())?;
        if again {
            continue;
        }
        let idle = run.plan(cluster.now);
        if !is_empty(&idle) || idle.wake_at != wake_at {
            return Err(format!("planning again without a new fact gave {idle:?} (woken at {wake_at:?} before)"));
        }
        if run.is_finished() {
            let (left, left_tasks) = (cluster.pods.alive(), cluster.tasks.nodes());
            let workflow = run.workflow().clone();
            return Ok(Ending { workflow, moments: cluster.moments, created: cluster.created, left, left_tasks });
        }
        if !cluster.let_time_pass(&mut run, wake_at) {
            let open = run.workflow().status.nodes.values().filter(|node| !node.phase.is_fulfilled());
            let open: Vec<String> = open.map(|node| format!("{} {}", node.name, node.phase)).collect();
            return Err(format!("nothing more will happen, but the workflow is not over; open nodes: {open:?}"));
        }
    }
    Err(format!("not over after {MAX_PLANS} plans"))
}

fn is_empty(plan: &Plan) -> bool {
    plan.changed.is_empty() && !plan.status_changed && plan.actions.is_empty() && plan.needs.is_empty()
}

impl Cluster<'_, '_> {
    fn after(&mut self, seconds: i64, what: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + SignedDuration::from_secs(seconds), self.sequence), what);
    }

    /// Whether the controller is killed now.
    fn is_killed(&mut self) -> bool {
        let moment = self.moments;
        self.moments += 1;
        self.faults.crash_at == Some(moment) || self.dice.percent(self.faults.crash)
    }

    /// Stores the status, carries out the actions and answers the needs.
    fn carry_out(&mut self, run: &mut Run, plan: Plan) -> Carried {
        let mut again = !plan.needs.is_empty();
        if plan.status_changed || !plan.changed.is_empty() {
            if self.is_killed() || self.dice.percent(self.faults.refuse) {
                return Carried::Crashed;
            }
            self.stored = run.workflow().clone();
            self.asked.clear();
        }
        for action in plan.actions {
            again |= self.act(run, &action);
            if self.faults.repeat_actions {
                again |= self.act(run, &action);
            }
            if self.is_killed() {
                return Carried::Crashed;
            }
        }
        for need in plan.needs {
            let fact = self.answer(&need);
            run.observe(fact, self.now);
        }
        Carried::Out { again }
    }

    /// The controller starts again, with nothing but what the cluster has. What was on its way to the old one is lost.
    fn restore(&mut self) -> Run {
        self.coming.retain(|_, coming| !matches!(coming, Coming::Told(_) | Coming::Relist));
        let rerun_lost_pods = self.faults.lose_pods;
        if rerun_lost_pods {
            self.pods.clear();
            self.tasks.clear();
            self.coming.retain(|_, coming| matches!(coming, Coming::Asked(_)));
        }
        let config = EngineConfig { rerun_lost_pods, ..Default::default() };
        let mut run = Run::restore(self.stored.clone(), config, self.now);
        if self.dice.percent(self.faults.stale) {
            for name in self.pods.names() {
                for fact in self.pods.facts(&name, true) {
                    run.observe(fact, self.now);
                }
            }
            self.after(1, Coming::Relist);
        } else {
            self.list(&mut run);
        }
        for fact in self.asked.clone() {
            run.observe(fact, self.now);
        }
        run
    }

    /// Carries out an action. Returns whether the engine was told something at once.
    fn act(&mut self, run: &mut Run, action: &Action) -> bool {
        match action {
            Action::CreatePod(request) => return self.create(run, request),
            Action::KillPod { pod_name, .. } => {
                if self.pods.kill(pod_name) {
                    let facts = self.pods.facts(pod_name, false);
                    self.after(0, Coming::Told(facts));
                }
            }
            Action::RunTask(request) => self.run_task(request),
            Action::EndTask { node } => self.tasks.remove(node),
            Action::EndSidecars { .. } | Action::Finish => {}
            Action::SaveMemo { cache, key, node } => {
                let outputs = run.node(node.as_str()).and_then(|node| node.outputs.as_deref().cloned());
                let entry = MemoEntry { node: node.to_string(), outputs, created: self.now };
                self.memos.insert((cache.clone(), key.clone()), entry);
            }
        }
        false
    }

    fn create(&mut self, run: &mut Run, request: &PodRequest) -> bool {
        if self.pods.contains(&request.pod_name) {
            return false;
        }
        let outcome = self.script.outcome(request);
        if !outcome.refused.is_empty() {
            let fact = Fact::PodRefused { node: request.node.clone(), message: outcome.refused, transient: false };
            run.observe(fact, self.now);
            return true;
        }
        let name = request.pod_name.clone();
        self.created.push(name.clone());
        let (daemon, seconds) = (outcome.daemon, outcome.seconds);
        let stuck = outcome.state.phase == PodPhase::Pending;
        self.pods.create(&name, request.node.clone(), outcome);
        if stuck {
            return false;
        }
        self.after(0, Coming::PodRuns(name.clone()));
        if !daemon {
            self.after(seconds, Coming::PodEnds(name));
        }
        false
    }

    fn run_task(&mut self, request: &TaskRequest) {
        if self.tasks.contains(&request.node) {
            return;
        }
        let (result, seconds) = self.script.result(request);
        self.tasks.add(request.node.clone(), result);
        self.after(seconds, Coming::TaskEnds(request.node.clone()));
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
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let at = match (next, wake_at) {
            (Some(next), Some(wake)) => next.min(wake),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        self.now = self.now.max(at);
        while self.coming.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            if let Some((_, what)) = self.coming.pop_first() {
                self.happen(run, what);
            }
        }
        true
    }

    fn happen(&mut self, run: &mut Run, what: Coming) {
        match what {
            Coming::PodRuns(name) => {
                if self.pods.run(&name) {
                    self.tell_of_pod(run, &name);
                }
            }
            Coming::PodEnds(name) => {
                if self.pods.end(&name, self.now) {
                    self.tell_of_pod(run, &name);
                }
            }
            Coming::TaskEnds(node) => {
                if self.tasks.end(&node) {
                    let events = self.tasks.fact(&node);
                    self.tell(run, events.as_slice(), 1);
                }
            }
            Coming::Told(facts) => {
                for fact in facts {
                    run.observe(fact, self.now);
                }
            }
            Coming::Asked(request) => self.ask(run, &request),
            Coming::Relist => self.list(run),
        }
    }

    /// A user changes the stored workflow, and the controller sees it.
    fn ask(&mut self, run: &mut Run, request: &Request) {
        let fact = match request {
            Request::Shutdown(strategy) => {
                self.stored.spec.shutdown = strategy.as_str().into();
                Fact::Shutdown(*strategy)
            }
            Request::Suspend(suspended) => {
                self.stored.spec.suspend = suspended.then_some(true);
                Fact::Suspended(*suspended)
            }
        };
        self.asked.push(fact.clone());
        run.observe(fact, self.now);
    }

    /// Events about a Pod go out. The report of a supervisor that ended badly is not waited for, so that it counts only
    /// where it comes with the end.
    fn tell_of_pod(&mut self, run: &mut Run, name: &str) {
        let facts = self.pods.facts(name, false);
        let size = if self.pods.is_silent(name) { facts.len() } else { 1 };
        self.tell(run, &facts, size);
    }

    /// Facts go out in events of that size, each on its own lost, late or doubled.
    fn tell(&mut self, run: &mut Run, facts: &[Fact], size: usize) {
        for event in facts.chunks(size.max(1)) {
            if self.dice.percent(self.faults.drop) {
                self.after(30, Coming::Relist);
            } else if self.dice.percent(self.faults.delay) {
                let late = 1 + i64::try_from(self.dice.below(5)).unwrap_or(1);
                self.after(late, Coming::Told(event.to_vec()));
            } else {
                let times = if self.dice.percent(self.faults.double) { 2 } else { 1 };
                for _ in 0..times {
                    event.iter().for_each(|fact| run.observe(fact.clone(), self.now));
                }
            }
        }
    }

    /// Everything is listed.
    fn list(&mut self, run: &mut Run) {
        for name in self.pods.names() {
            for fact in self.pods.facts(&name, false) {
                run.observe(fact, self.now);
            }
        }
        for fact in self.tasks.nodes().iter().filter_map(|node| self.tasks.fact(node)) {
            run.observe(fact, self.now);
        }
    }
}
