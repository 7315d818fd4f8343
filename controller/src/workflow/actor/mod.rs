//! Drives a workflow: tells the engine what happened, writes what it decides, does it.
//!
//! One task a workflow, which sleeps until it is told something. Everything that takes time is a task of its own that tells
//! when it is through, so that a workflow takes facts while its requests are under way. One write of the status is under way
//! at a time; what changes meanwhile goes out with the next, after a rest that is measured by how long the last one took. Pods
//! are asked for without waiting for the write: their names follow from their nodes', so that after a restart the same ones
//! are found. What cannot be taken back (a Pod that is deleted, or labelled as done with) waits until what was learned from it
//! is written.

mod ending;
mod moving;
mod observed;
mod results;
mod writing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::json;
use tiphys_api::{Time, Workflow};
use tiphys_archive::{ARCHIVING_STATUS, PENDING};
use tiphys_contract::label;
use tiphys_engine::{Action, Fact, NodeId, Plan, PodPhase, PodRequest, Run};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use self::moving::Moving;
use self::results::Fetching;
pub(crate) use self::writing::is_newer;
use super::admission;
use super::events::Events;
use super::leaving::Leaving;
use super::message::{Message, Refusal};
use super::nodes::{Held, make_whole};
use super::pods::{Preparation, Workplace};
use super::prepare::{Known, Prepared};
use super::status::Written;
use super::tally::Tally;
use super::tasks::{self, Tasks};
use super::trace::Trace;
use crate::cluster::{Cluster, Turn};
use crate::locks;
use tiphys_kubernetes::{ApiError, Backoff, Kind, Pod};
use tiphys_otlp::Outcome;

/// How many messages are taken in before the engine is asked what follows from them.
const BATCH: usize = 256;

/// How a workflow left this controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is over, and that is written.
    Over,
    /// The object is gone.
    Deleted,
    /// It was over, and a user opened it again (retry): it is driven anew, from what it is now.
    Reopened,
    /// It cannot be driven: it is no workflow that could be read.
    Refused,
}

/// Drives the workflow of this name and uid to its end.
pub async fn drive(
    cluster: Arc<Cluster>,
    namespace: String,
    name: String,
    uid: String,
    mut inbox: UnboundedReceiver<Message>,
    to: UnboundedSender<Message>,
) -> Ending {
    let place = Workplace { cluster, to, namespace: namespace.into(), workflow: name.into(), uid: uid.into() };
    let mut backoff = Backoff::default();
    let (workflow, mut held) = loop {
        match place.read_whole("").await {
            Ok((workflow, _)) if workflow.metadata.uid != *place.uid => return Ending::Deleted,
            Ok((workflow, held)) => break (*workflow, held),
            Err(Refusal::Api(error)) if error.is_not_found() => return Ending::Deleted,
            Err(Refusal::Api(ApiError::Unreadable(error))) => {
                place.give_up(&format!("cannot unmarshall spec: {error}")).await;
                return Ending::Refused;
            }
            Err(Refusal::Api(error)) => {
                tracing::error!(namespace = %place.namespace, workflow = %place.workflow, %error, "a workflow cannot be read");
                return Ending::Refused;
            }
            // Nodes may come back; without them nothing can be said of the workflow.
            Err(error) => {
                tracing::error!(namespace = %place.namespace, workflow = %place.workflow, %error, "nodes cannot be read; they are asked for again");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    };
    if place.cluster.is_first {
        let key = locks::key(&place.namespace, &place.workflow);
        place.cluster.locks.enter(&place.cluster, &key, &workflow, place.to.clone());
    } else if workflow.status.synchronization.is_some() {
        place.give_to_first().await;
        return moving::wait_for_end(inbox).await;
    }
    let version = workflow.metadata.resource_version.clone();
    let mut workflow = match admission::admitted(&place, workflow, &mut inbox).await {
        Ok(Some(workflow)) => workflow,
        Ok(None) => return Ending::Deleted,
        Err(error) => {
            tracing::error!(namespace = %place.namespace, workflow = %place.workflow, %error, "a workflow cannot be read");
            return Ending::Refused;
        }
    };
    if workflow.metadata.resource_version != version {
        // It had to wait for its place, and was read again.
        held = match make_whole(&place.cluster, &mut workflow, "").await {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(namespace = %place.namespace, workflow = %place.workflow, %error, "nodes cannot be read");
                return Ending::Refused;
            }
        };
    }
    Actor::begin(place, workflow, held).await.drive(inbox).await
}

/// What is known of a Pod.
#[derive(Debug, Default)]
struct KnownPod {
    name: String,
    uid: String,
    phase: PodPhase,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    /// Why it failed as a whole, by its own status: reason and message.
    failure: (String, String),
    /// Whether it stays until its end was seen, whoever deletes it.
    guarded: bool,
    /// Whether somebody has deleted it, and it is seen to that it goes in the end.
    leaves: bool,
    /// Containers that run.
    running: Vec<Running>,
    grace: Option<u64>,
    /// Whether it was labelled or deleted, or will be.
    released: bool,
    /// Whether it is being ended.
    ending: bool,
}

impl KnownPod {
    /// As much of it as it takes to let go of it.
    fn leaving(&self) -> Leaving {
        Leaving { name: self.name.clone(), uid: self.uid.clone(), guarded: self.guarded }
    }
}

/// A container that runs.
#[derive(Debug)]
struct Running {
    name: String,
    /// Where the executor is in it, if it is there.
    executor: Option<&'static str>,
}

/// A Pod that is to be made.
struct NewPod {
    request: Box<PodRequest>,
    /// When the Pod ended after which it comes.
    since: Option<Instant>,
}

struct Actor {
    place: Workplace,
    run: Run,
    /// What is made before the first Pod.
    prepared: Arc<OnceCell<Prepared>>,
    events: Events,
    tally: Tally,
    /// What is told of it as spans, where anything is.
    trace: Option<Box<Trace>>,
    /// When a Pod ended, of whose end nothing has followed yet.
    ended: Option<Instant>,
    written: Written,
    /// Nodes that changed since the last write began.
    dirty: BTreeSet<NodeId>,
    /// Whether anything may have to be written.
    unwritten: bool,
    /// Whether a write is under way.
    writing: bool,
    /// Whether a turn to write was asked for, and the turn.
    in_line: bool,
    turn: Option<Turn>,
    backoff: Backoff,
    /// When the next write may begin, unless it is the last.
    rest_until: Instant,
    /// Whether a Pod was created or refused. The first write waits for that where Pods are asked for, and tells of both.
    begun: bool,
    /// A version that somebody else may have written, seen while a write was under way.
    seen_version: Option<String>,
    /// Whether the object is being read.
    reading: bool,
    pods: FxHashMap<NodeId, KnownPod>,
    /// Pods of nodes that there are not yet, as they were told last.
    unexpected: FxHashMap<NodeId, Pod>,
    /// Results that are not in the Pods, by node, with the Pod's uid.
    fetched: FxHashMap<NodeId, (String, Fetching)>,
    creating: FxHashMap<NodeId, AbortHandle>,
    /// Pods that are asked for when others have been answered, and those that have not been.
    asked: VecDeque<NewPod>,
    unanswered: FxHashSet<NodeId>,
    /// Nodes whose Pods and tasks may be let go of when the write that is under way is through; and those for the one after.
    releases: [Vec<NodeId>; 2],
    /// Where nodes were kept before they were kept where they are.
    outside_before: Option<String>,
    tasks: Option<Tasks>,
    has_task_results: bool,
    /// Nodes whose executors report by an object of their own, which says itself when it is complete.
    reporting: FxHashSet<NodeId>,
    /// Whether what was made for the workflow is being taken away.
    clearing: bool,
    /// Whether the write that is under way says that the workflow is over; and whether one that was accepted did.
    told_over: [bool; 2],
    /// Whether somebody opened the workflow again after that.
    reopened: bool,
    moving: Moving,
    wake_at: Option<Timestamp>,
}

impl Workplace {
    /// Ends a workflow that no engine can begin with. argo: controller.go, processNextItem.
    async fn give_up(&self, message: &str) {
        let now = Time::from_second(Timestamp::now().as_second());
        let patch = json!({
            "metadata": {"labels": {label::COMPLETED: "true", label::PHASE: "Failed"}},
            "status": {"phase": "Failed", "message": message, "startedAt": now, "finishedAt": now},
        });
        if let Err(error) = self.cluster.change(&self.path(), &patch).await {
            tracing::error!(namespace = %self.namespace, workflow = %self.workflow, %error, "a workflow cannot be refused");
        }
    }

    /// The workflow with its nodes, wherever they are, unless they are of the version that is `known`.
    pub(super) async fn read_whole(&self, known: &str) -> Result<(Box<Workflow>, Held), Refusal> {
        let mut workflow: Box<Workflow> = self.cluster.read(&self.path()).await?;
        let held = make_whole(&self.cluster, &mut workflow, known).await?;
        Ok((workflow, held))
    }

    /// Where the workflow is.
    pub(super) fn path(&self) -> String {
        Kind::Workflow.within(&self.namespace).named(&self.workflow)
    }
}

impl Actor {
    async fn begin(place: Workplace, mut workflow: Workflow, held: Held) -> Actor {
        let config = place.cluster.config();
        let adopted = !workflow.status.nodes.is_empty();
        let over = workflow.status.phase.is_completed();
        let mut written = Written::of(&workflow, held, config.limits);
        let events = Events::of(place.clone(), &workflow);
        let tally = Tally::of(place.cluster.metrics.clone(), place.namespace.clone(), place.uid.clone(), &workflow);
        admission::begin_anew(&mut workflow);
        let trace = Trace::of(place.cluster.traces.as_ref(), &workflow);
        written.notes.extend(trace.iter().map(|trace| (label::TRACE_ID.to_owned(), trace.id())));
        if !over && !config.no_estimates {
            place.clone().look_for_baseline(&workflow);
        }
        let run = Run::restore(workflow, place.cluster.engine(), Timestamp::now());
        let mut actor = Actor {
            place,
            run,
            prepared: Arc::default(),
            events,
            tally,
            trace,
            ended: None,
            clearing: false,
            told_over: [false, over],
            reopened: false,
            moving: Moving::No,
            written,
            dirty: BTreeSet::new(),
            unwritten: false,
            writing: false,
            in_line: false,
            turn: None,
            backoff: Backoff::default(),
            rest_until: Instant::now(),
            begun: adopted,
            seen_version: None,
            reading: false,
            pods: FxHashMap::default(),
            unexpected: FxHashMap::default(),
            fetched: FxHashMap::default(),
            creating: FxHashMap::default(),
            asked: VecDeque::new(),
            unanswered: FxHashSet::default(),
            releases: [Vec::new(), Vec::new()],
            outside_before: None,
            tasks: None,
            has_task_results: false,
            reporting: FxHashSet::default(),
            wake_at: None,
        };
        if adopted {
            actor.find_what_is_there().await;
        }
        actor
    }

    async fn drive(mut self, mut inbox: UnboundedReceiver<Message>) -> Ending {
        self.plan();
        loop {
            if self.moving == Moving::Told {
                return moving::wait_for_end(inbox).await;
            }
            if self.reopened {
                return Ending::Reopened;
            }
            if self.is_through() {
                self.finish().await;
                return self.last_word(inbox);
            }
            let rest = self.rests().filter(|_| self.unwritten);
            let wait = self.wake_at.map(until).into_iter().chain(rest).min();
            tokio::select! {
                message = inbox.recv() => {
                    let mut next = message;
                    let mut taken = 0;
                    while let Some(message) = next {
                        if matches!(message, Message::Deleted) {
                            self.abort();
                            self.unguard_all();
                            return Ending::Deleted;
                        }
                        self.take(message);
                        taken += 1;
                        next = if taken < BATCH { inbox.try_recv().ok() } else { None };
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.plan();
        }
    }

    /// What was said while the last things were done: a user may have opened the workflow again.
    fn last_word(&self, mut inbox: UnboundedReceiver<Message>) -> Ending {
        // Whoever speaks from here on is told that nobody listens.
        inbox.close();
        while let Ok(message) = inbox.try_recv() {
            if let Message::Changed { version } = message
                && is_newer(&version, &self.written.version)
            {
                return Ending::Reopened;
            }
        }
        Ending::Over
    }

    /// Whether everything is done and written.
    fn is_through(&self) -> bool {
        let let_go = || self.creating.is_empty() && self.asked.is_empty() && self.pods.values().all(|pod| pod.released);
        let quiet = !self.unwritten && !self.writing && !self.reading && !self.clearing;
        self.run.is_finished() && quiet && let_go()
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Changed { version } => self.changed(version),
            Message::Deleted => {}
            Message::Pod(pod, seen) => self.pod(*pod, seen),
            Message::PodGone(pod) => self.pod_gone(*pod),
            Message::PodsListed(uids) => self.pods_listed(&uids),
            Message::TaskResult(result) => self.task_result(*result),
            Message::TaskSet(set) if set.metadata.is_of(&self.place.uid) => {
                tasks::facts(*set).for_each(|fact| self.observe(fact));
            }
            Message::TaskSet(_) => {}
            Message::Fact(fact) => {
                if let Fact::PodRefused { node, transient, .. } = &fact {
                    self.begun = true;
                    self.unanswered.remove(node);
                    if !transient {
                        self.creating.remove(node);
                    }
                }
                if let Some(trace) = &mut self.trace {
                    trace.told(&fact);
                }
                self.observe(fact);
            }
            Message::Created { node, pod } => {
                self.begun = true;
                self.unanswered.remove(&node);
                self.creating.remove(&node);
                // The watch may have told more of it by now.
                if !self.pods.contains_key(&node) {
                    let version = &pod.metadata.resource_version;
                    let told =
                        self.unexpected.remove(&node).filter(|told| is_newer(&told.metadata.resource_version, version));
                    self.pod(told.unwrap_or(*pod), Instant::now());
                }
            }
            Message::Results { pod, outcome } => self.results(*pod, outcome),
            Message::Cleared(left) => {
                self.clearing = false;
                self.observe(Fact::VolumeClaims(left));
            }
            Message::Turn(turn) => {
                self.in_line = false;
                self.turn = Some(turn);
            }
            Message::Written(outcome) => self.wrote(outcome),
            Message::Read(outcome) => self.read(outcome),
        }
    }

    fn observe(&mut self, fact: Fact) {
        self.run.observe(fact, Timestamp::now());
    }

    /// Asks the engine what follows, does it, and writes it.
    fn plan(&mut self) {
        let began = Instant::now();
        let turn = self.trace.as_ref().map(|trace| trace.begin("reconcileWorkflow"));
        let Plan { changed, status_changed, actions, needs, wake_at } = self.run.plan(Timestamp::now());
        // One that changes nothing is not worth a span.
        let turn = turn.filter(|_| status_changed || !changed.is_empty());
        self.unwritten |= status_changed || !changed.is_empty();
        if status_changed {
            self.events.workflow(self.run.workflow());
            self.tally.workflow(self.run.workflow());
        }
        for id in changed {
            let node = self.run.node(id.as_str());
            let pod = self.pods.get(&id).map(|pod| (pod.name.as_str(), pod.uid.as_str()));
            node.into_iter().for_each(|node| self.events.node(node, pod));
            if let (Some(trace), Some(node)) = (&mut self.trace, node) {
                trace.node(node);
            }
            let over = node.is_some_and(|node| node.phase.is_fulfilled());
            if over && self.pods.contains_key(&id) {
                self.releases[1].push(id.clone());
            }
            self.dirty.insert(id);
        }
        self.wake_at = wake_at;
        for need in needs {
            tokio::spawn(self.place.clone().answer(need, self.run.spec().clone()));
        }
        for action in actions {
            // Whoever takes it over decides the same again.
            if self.moving == Moving::No {
                self.act(action);
            }
        }
        self.ended = None;
        self.create_pods();
        self.write();
        if let Some(trace) = self.trace.as_mut().filter(|_| status_changed) {
            // Its nodes' ends come before its own.
            trace.workflow(self.run.workflow());
        }
        if let Some(turn) = turn {
            turn.end(Outcome::Unset);
        }
        self.place.cluster.metrics.operated(began.elapsed());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod(request) => self.asked.push_back(NewPod { request, since: self.ended }),
            Action::KillPod { node, .. } => self.end_pod(&node),
            Action::ReplacePod { node, pod_name, uid } => self.replace_pod(node, pod_name, uid),
            Action::EndSidecars { node, .. } => self.signal(&node),
            Action::AcquireLocks(_) if !self.place.cluster.is_first => self.begin_to_move(),
            Action::AcquireLocks(request) => {
                if let Some(trace) = &mut self.trace {
                    trace.asks(&request);
                }
                self.place.cluster.locks.acquire(&self.place.cluster, *request);
            }
            Action::ReleaseLocks(holder) => self.place.cluster.locks.release(&self.place.cluster, &holder),
            Action::Measure(measurement) => {
                if let Err(message) = self.tally.measure(*measurement) {
                    self.place.tell(Message::Fact(Fact::MetricRefused { message }));
                }
            }
            Action::RunTask(request) => self.tasks().run(&request),
            Action::EndTask { node } => {
                self.tasks().end(&node);
                self.releases[1].push(node);
                self.unwritten = true;
            }
            Action::SaveMemo { cache, key, node, created } => {
                let outputs = self.run.node(node.as_str()).and_then(|node| node.outputs.as_deref().cloned());
                tokio::spawn(self.place.clone().save_memo(cache, key, node.to_string(), outputs, Time(created)));
            }
            Action::Finish => {
                if let Some(tasks) = &mut self.tasks {
                    tasks.close();
                }
                if self.place.cluster.is_first {
                    let key = locks::key(&self.place.namespace, &self.place.workflow);
                    self.place.cluster.locks.leave(&self.place.cluster, &key);
                }
                for pod in std::mem::take(&mut self.unexpected).into_values() {
                    self.pod(pod, Instant::now());
                }
                let all: Vec<NodeId> = self.pods.keys().cloned().collect();
                self.releases[1].extend(all);
                self.unwritten = true;
                let (workflow, spec) = (self.run.workflow(), self.run.spec());
                let config = self.place.cluster.config();
                if config.persistence.as_ref().is_some_and(|one| one.archives(&workflow.metadata.labels)) {
                    self.written.marks.insert(ARCHIVING_STATUS.into(), PENDING.into());
                }
                let claims = !workflow.status.persistent_volume_claims.is_empty();
                if claims || spec.pod_disruption_budget.is_some() {
                    self.clearing = true;
                    tokio::spawn(self.place.clone().clear(workflow.clone(), spec.clone()));
                }
            }
        }
    }

    /// Asks for Pods, as many at a time as will be answered soon: one that is asked for is built, and takes its room. They
    /// are more than the turns that there are for all workflows, so that none is left free.
    fn create_pods(&mut self) {
        let most = 2 * self.place.cluster.creating.limit();
        while self.unanswered.len() < most
            && let Some(NewPod { request, since }) = self.asked.pop_front()
        {
            let node = request.node.clone();
            let (spec, prepared) = (self.run.spec().clone(), self.prepared.clone());
            let status = &self.run.workflow().status;
            let known = Known {
                repository: (!prepared.initialized()).then(|| status.artifact_repository_ref.clone()).flatten(),
                claims: status.persistent_volume_claims.len() >= spec.volume_claim_templates.len(),
            };
            let span = self.trace.as_ref().map(|trace| trace.pod(node.as_str()));
            let made = Preparation { prepared, known, span };
            let task = tokio::spawn(self.place.clone().create(*request, spec, made, since));
            self.unanswered.insert(node.clone());
            self.creating.insert(node, task.abort_handle());
        }
    }

    fn tasks(&mut self) -> &mut Tasks {
        let begin = || Tasks::begin(self.place.clone(), self.run.spec().clone(), self.prepared.clone());
        self.tasks.get_or_insert_with(begin)
    }

    /// Nobody will see how its Pods end. argo: controller.go, addWorkflowInformerHandlers, DeleteFunc.
    fn unguard_all(&self) {
        let known = self.pods.values().map(KnownPod::leaving);
        let unexpected = self.unexpected.values().map(|pod| pod.metadata.clone().into());
        for pod in known.chain(unexpected).filter(|pod: &Leaving| pod.guarded) {
            tokio::spawn(self.place.clone().unguard_after(Duration::ZERO, pod));
        }
    }

    fn abort(&mut self) {
        for task in self.creating.values() {
            task.abort();
        }
    }
}

/// How long it is until a moment, rounded up: a timer that fires early would only have to be set again.
pub(super) fn until(moment: Timestamp) -> Duration {
    let nanos = moment.as_nanosecond() - Timestamp::now().as_nanosecond();
    Duration::from_millis(u64::try_from(nanos.max(0) / 1_000_000 + 1).unwrap_or(u64::MAX / 2_000_000))
}
