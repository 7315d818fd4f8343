//! The cluster and the loop that drives engines on it, one for each workflow.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tiphys_api::Workflow;
use tiphys_engine::{ConfigMapData, EngineConfig, Fact, Locks, MemoEntry, NodeId, Plan, Run};

use crate::faults::{Dice, Faults};
use crate::outcome::{Request, Script, World};
use crate::pods::{Alive, Pods};
use crate::tasks::Tasks;

/// Looks at a run after each plan was carried out, and at all Pods that are not over. An error ends the simulation.
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
pub(crate) enum Coming {
    PodRuns(String),
    PodEnds(String),
    TaskEnds(NodeId),
    /// The controller is told something.
    Told(Vec<Fact>),
    Asked(Request),
    Relist,
}

/// A workflow with what the cluster has of it.
pub(crate) struct Member {
    pub run: Run,
    pub stored: Workflow,
    pub pods: Pods,
    pub tasks: Tasks,
    pub created: Vec<String>,
    /// What users asked for since the status was last stored: a driver tells of it until it has been.
    pub asked: Vec<Fact>,
    /// When the engine wants to be asked again.
    wake_at: Option<Timestamp>,
}

pub(crate) struct Cluster<'a, 'w> {
    pub world: &'a World,
    pub config_maps: BTreeMap<String, ConfigMapData>,
    pub script: &'a mut dyn Script,
    watch: &'a mut Watch<'w>,
    pub members: Vec<Member>,
    pub memos: BTreeMap<(String, String), MemoEntry>,
    pub locks: Locks,
    /// By time, and by the order in which it was foreseen; with the member that it is about.
    coming: BTreeMap<(Timestamp, u64), (usize, Coming)>,
    sequence: u64,
    pub now: Timestamp,
    pub dice: Dice,
    pub faults: Faults,
    moments: u64,
}

/// What became of a plan.
pub(crate) enum Carried {
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
    let mut endings = simulate_together(start, vec![workflow], world, script, faults, watch)?;
    endings.pop().ok_or_else(|| "there is no workflow".to_string())
}

/// The same for several workflows under one controller, which share what workflows share: caches and locks. Their names
/// must differ. The endings come in the order of the workflows.
pub fn simulate_together(
    start: Timestamp,
    workflows: Vec<Workflow>,
    world: &World,
    script: &mut dyn Script,
    faults: &Faults,
    watch: &mut Watch<'_>,
) -> Result<Vec<Ending>, String> {
    let member = |workflow: Workflow| Member {
        run: Run::restore(workflow.clone(), EngineConfig::default(), start),
        stored: workflow,
        pods: Pods::default(),
        tasks: Tasks::default(),
        created: Vec::new(),
        asked: Vec::new(),
        wake_at: None,
    };
    let mut cluster = Cluster {
        world,
        config_maps: world.config_maps.clone(),
        script,
        watch,
        members: workflows.into_iter().map(member).collect(),
        memos: BTreeMap::new(),
        locks: Locks::default(),
        coming: BTreeMap::new(),
        sequence: 0,
        now: start,
        dice: Dice::new(faults.seed),
        faults: faults.clone(),
        moments: 0,
    };
    for index in 0..cluster.members.len() {
        for (seconds, request) in &world.requests {
            cluster.after(index, *seconds, Coming::Asked(request.clone()));
        }
    }
    cluster.run()
}

fn is_empty(plan: &Plan) -> bool {
    plan.changed.is_empty() && !plan.status_changed && plan.actions.is_empty() && plan.needs.is_empty()
}

impl Cluster<'_, '_> {
    fn run(mut self) -> Result<Vec<Ending>, String> {
        for _ in 0..MAX_PLANS {
            if self.plan_all()? {
                continue;
            }
            for member in &mut self.members {
                let (idle, wake_at) = (member.run.plan(self.now), member.wake_at);
                if !is_empty(&idle) || idle.wake_at != wake_at {
                    return Err(format!(
                        "planning again without a new fact gave {idle:?} (woken at {wake_at:?} before)"
                    ));
                }
            }
            if self.members.iter().all(|member| member.run.is_finished()) {
                return self.end();
            }
            if !self.let_time_pass() {
                let nodes = self.members.iter().flat_map(|member| member.run.workflow().status.nodes.values());
                let open = nodes.filter(|node| !node.phase.is_fulfilled());
                let open: Vec<String> = open.map(|node| format!("{} {}", node.name, node.phase)).collect();
                return Err(format!("nothing more will happen, but not all is over; open nodes: {open:?}"));
            }
        }
        Err(format!("not over after {MAX_PLANS} plans"))
    }

    /// Plans for every workflow. Returns whether there is something new to plan for.
    fn plan_all(&mut self) -> Result<bool, String> {
        let mut again = false;
        for index in 0..self.members.len() {
            let plan = self.members[index].run.plan(self.now);
            self.members[index].wake_at = plan.wake_at;
            match self.carry_out(index, plan) {
                Carried::Crashed => {
                    self.restore();
                    return Ok(true);
                }
                Carried::Out { again: more } => again |= more,
            }
            let alive: Vec<Alive> = self.members.iter().flat_map(|member| member.pods.alive()).collect();
            (self.watch)(&self.members[index].run, &alive)?;
        }
        Ok(again)
    }

    fn end(self) -> Result<Vec<Ending>, String> {
        if let Some(lock) = self.locks.states().next() {
            return Err(format!("all is over, but somebody holds or waits for a lock: {lock:?}"));
        }
        let moments = self.moments;
        let ending = |member: Member| Ending {
            workflow: member.run.workflow().clone(),
            moments,
            left: member.pods.alive(),
            left_tasks: member.tasks.nodes(),
            created: member.created,
        };
        Ok(self.members.into_iter().map(ending).collect())
    }

    pub fn after(&mut self, member: usize, seconds: i64, what: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + SignedDuration::from_secs(seconds), self.sequence), (member, what));
    }

    /// Whether the controller is killed now.
    pub fn is_killed(&mut self) -> bool {
        let moment = self.moments;
        self.moments += 1;
        self.faults.crash_at == Some(moment) || self.dice.percent(self.faults.crash)
    }

    pub fn observe(&mut self, member: usize, fact: Fact) {
        self.members[member].run.observe(fact, self.now);
    }

    /// The controller starts again, with nothing but what the cluster has. What was on its way to the old one is lost.
    fn restore(&mut self) {
        self.coming.retain(|_, (_, coming)| !matches!(coming, Coming::Told(_) | Coming::Relist));
        let rerun_lost_pods = self.faults.lose_pods;
        if rerun_lost_pods {
            self.coming.retain(|_, (_, coming)| matches!(coming, Coming::Asked(_)));
        }
        self.restore_locks();
        for index in 0..self.members.len() {
            let config = EngineConfig { rerun_lost_pods, ..Default::default() };
            let member = &mut self.members[index];
            member.run = Run::restore(member.stored.clone(), config, self.now);
            if rerun_lost_pods {
                member.pods.clear();
                member.tasks.clear();
            }
            if self.dice.percent(self.faults.stale) {
                for name in self.members[index].pods.names() {
                    for fact in self.members[index].pods.facts(&name, true) {
                        self.observe(index, fact);
                    }
                }
                self.after(index, 1, Coming::Relist);
            } else {
                self.list(index);
            }
            for fact in self.members[index].asked.clone() {
                self.observe(index, fact);
            }
        }
    }

    /// Moves to the next moment at which something happens. False: nothing ever will.
    fn let_time_pass(&mut self) -> bool {
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let wakes = self.members.iter().filter_map(|member| member.wake_at);
        let Some(at) = wakes.chain(next).min() else { return false };
        self.now = self.now.max(at);
        while self.coming.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            if let Some((_, (member, what))) = self.coming.pop_first() {
                self.happen(member, what);
            }
        }
        true
    }

    fn happen(&mut self, member: usize, what: Coming) {
        match what {
            Coming::PodRuns(name) => {
                if self.members[member].pods.run(&name) {
                    self.tell_of_pod(member, &name);
                }
            }
            Coming::PodEnds(name) => {
                if self.members[member].pods.end(&name, self.now) {
                    self.tell_of_pod(member, &name);
                }
            }
            Coming::TaskEnds(node) => {
                if self.members[member].tasks.end(&node) {
                    let event = self.members[member].tasks.fact(&node);
                    self.tell(member, event.as_slice(), 1);
                }
            }
            Coming::Told(facts) => facts.into_iter().for_each(|fact| self.observe(member, fact)),
            Coming::Asked(request) => self.ask(member, &request),
            Coming::Relist => self.list(member),
        }
    }

    /// A user changes the stored workflow, and the controller sees it; or a ConfigMap.
    fn ask(&mut self, member: usize, request: &Request) {
        let stored = &mut self.members[member].stored;
        let fact = match request {
            Request::Shutdown(strategy) => {
                stored.spec.shutdown = strategy.as_str().into();
                Fact::Shutdown(*strategy)
            }
            Request::Suspend(suspended) => {
                stored.spec.suspend = suspended.then_some(true);
                Fact::Suspended(*suspended)
            }
            Request::ConfigMap { name, key, value } => {
                let namespace = stored.metadata.namespace.clone();
                self.change_config_map(&namespace, name, key, value);
                return;
            }
        };
        self.members[member].asked.push(fact.clone());
        self.observe(member, fact);
    }

    /// Events about a Pod go out. The report of a supervisor that ended badly is not waited for, so that it counts only
    /// where it comes with the end.
    fn tell_of_pod(&mut self, member: usize, name: &str) {
        let pods = &self.members[member].pods;
        let facts = pods.facts(name, false);
        let size = if pods.is_silent(name) { facts.len() } else { 1 };
        self.tell(member, &facts, size);
    }

    /// Facts go out in events of that size, each on its own lost, late or doubled.
    fn tell(&mut self, member: usize, facts: &[Fact], size: usize) {
        for event in facts.chunks(size.max(1)) {
            if self.dice.percent(self.faults.drop) {
                self.after(member, 30, Coming::Relist);
            } else if self.dice.percent(self.faults.delay) {
                let late = 1 + i64::try_from(self.dice.below(5)).unwrap_or(1);
                self.after(member, late, Coming::Told(event.to_vec()));
            } else {
                let times = if self.dice.percent(self.faults.double) { 2 } else { 1 };
                for _ in 0..times {
                    event.iter().for_each(|fact| self.observe(member, fact.clone()));
                }
            }
        }
    }

    /// Everything is listed.
    fn list(&mut self, member: usize) {
        let Member { pods, tasks, .. } = &self.members[member];
        let of_pods = pods.names().into_iter().flat_map(|name| pods.facts(&name, false)).collect::<Vec<_>>();
        let of_tasks = tasks.nodes().iter().filter_map(|node| tasks.fact(node)).collect::<Vec<_>>();
        of_pods.into_iter().chain(of_tasks).for_each(|fact| self.observe(member, fact));
    }
}
