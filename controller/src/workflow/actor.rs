//! Drives a workflow: tells the engine what happened, writes what it decides, does it.
//!
//! One task a workflow, which sleeps until it is told something. Everything that takes time is a task of its own that tells
//! when it is through, so that a workflow takes facts while its requests are under way. One write of the status is under way
//! at a time; what changes meanwhile goes out with the next, at once. Pods are asked for without waiting for the write:
//! their names follow from their nodes', so that after a restart the same ones are found. What cannot be taken back (a Pod
//! that is deleted, or labelled as done with) waits until what was learned from it is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::json;
use tiphys_api::{NodeType, TemplateType, Time, Workflow};
use tiphys_archive::{ARCHIVING_STATUS, PENDING};
use tiphys_contract::label;
use tiphys_engine::{Action, EngineConfig, Fact, NodeId, Plan, PodPhase, Run};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use super::admission;
use super::events::Events;
use super::foreign;
use super::message::{Accepted, Message, Refusal};
use super::nodes::{Held, make_whole};
use super::pods::{Preparation, Workplace, kill_command};
use super::prepare::Prepared;
use super::release::{Release, decide};
use super::status::{Outgoing, Written};
use super::tally::Tally;
use super::tasks::{self, Tasks};
use crate::cluster::{Cluster, Turn};
use crate::{locks, pod_state, ttl};
use tiphys_kubernetes::Backoff;
use tiphys_kubernetes::{ApiError, Kind, List, Pod, TaskResultObject, TaskSetObject};

/// How many messages are taken in before the engine is asked what follows from them.
const BATCH: usize = 256;
/// Grace period of a Pod that names none.
const GRACE_SECONDS: u64 = 30;

/// A node is young for so long. argo: RECENTLY_STARTED_POD_DURATION.
const RECENTLY_SECONDS: i64 = 10;

/// Kinds of templates that this version has no means for.
const WITHOUT: [TemplateType; 1] = [TemplateType::Plugin];

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
    let key = locks::key(&place.namespace, &place.workflow);
    place.cluster.locks.enter(&place.cluster, &key, &workflow, place.to.clone());
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
    /// Containers that run.
    running: Vec<String>,
    grace: Option<u64>,
    /// Whether it was labelled or deleted, or will be.
    released: bool,
    /// Whether it is being ended.
    ending: bool,
}

struct Actor {
    place: Workplace,
    run: Run,
    /// What is made before the first Pod.
    prepared: Arc<OnceCell<Prepared>>,
    events: Events,
    tally: Tally,
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
    /// A version that somebody else may have written, seen while a write was under way.
    seen_version: Option<String>,
    /// Whether the object is being read.
    reading: bool,
    pods: FxHashMap<NodeId, KnownPod>,
    creating: FxHashMap<NodeId, AbortHandle>,
    /// Nodes whose Pods may be let go of when the write that is under way is through; and those for the one after it.
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
    wake_at: Option<Timestamp>,
}

impl Workplace {
    /// Ends a workflow that no engine can begin with. argo: controller.go, processNextItem.
    async fn give_up(&self, message: &str) {
        let now = Time::from_second(Timestamp::now().as_second());
        let patch = json!({
            "metadata": {"labels": {label::COMPLETED: "true", "workflows.argoproj.io/phase": "Failed"}},
            "status": {"phase": "Failed", "message": message, "startedAt": now, "finishedAt": now},
        });
        if let Err(error) = self.change(&self.path(), &patch).await {
            tracing::error!(namespace = %self.namespace, workflow = %self.workflow, %error, "a workflow cannot be refused");
        }
    }

    /// The workflow with its nodes, wherever they are, unless they are of the version that is `known`.
    async fn read_whole(&self, known: &str) -> Result<(Box<Workflow>, Held), Refusal> {
        let mut workflow: Box<Workflow> = self.read(&self.path()).await?;
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
        let engine = EngineConfig {
            workflow_defaults: config.default_spec(),
            failed_pod_restarts: config.failed_pod_restarts,
            without: WITHOUT.to_vec(),
            artifact_repository: Some(Box::new(config.pod.artifact_repository.clone())),
            restriction: config.restriction,
            allowed_overrides: config.allowed_overrides.clone(),
            ..EngineConfig::default()
        };
        let adopted = !workflow.status.nodes.is_empty();
        let over = workflow.status.phase.is_completed();
        let written = Written::of(&workflow, held, config.limits);
        let events = Events::of(place.clone(), &workflow);
        let tally = Tally::of(place.cluster.metrics.clone(), place.namespace.clone(), place.uid.clone(), &workflow);
        admission::begin_anew(&mut workflow);
        let run = Run::restore(workflow, engine, Timestamp::now());
        let mut actor = Actor {
            place,
            run,
            prepared: Arc::default(),
            events,
            tally,
            ended: None,
            clearing: false,
            told_over: [false, over],
            reopened: false,
            written,
            dirty: BTreeSet::new(),
            unwritten: false,
            writing: false,
            in_line: false,
            turn: None,
            backoff: Backoff::default(),
            seen_version: None,
            reading: false,
            pods: FxHashMap::default(),
            creating: FxHashMap::default(),
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

    /// Another controller, or this one before a restart, has begun it: its Pods and results are told as they are now.
    async fn find_what_is_there(&mut self) {
        let selector = format!("{}={}", label::WORKFLOW, self.place.workflow);
        let results = Kind::WorkflowTaskResult.within(&self.place.namespace).query(&[("labelSelector", &selector)]);
        match self.place.read::<List<TaskResultObject>>(&results).await {
            Ok(list) => list.items.into_iter().for_each(|result| self.task_result(result)),
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "task results cannot be listed"),
        }
        let set = Kind::WorkflowTaskSet.within(&self.place.namespace).named(&self.place.workflow);
        match self.place.read::<TaskSetObject>(&set).await {
            Ok(set) => self.take(Message::TaskSet(Box::new(set))),
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(workflow = %self.place.workflow, %error, "the task set cannot be read"),
        }
        let unfinished = format!("{selector},{}=false", label::COMPLETED);
        let pods = Kind::Pod.within(&self.place.namespace).query(&[("labelSelector", &unfinished)]);
        let list = match self.place.read::<List<Pod>>(&pods).await {
            Ok(list) => list.items,
            Err(error) => return tracing::error!(workflow = %self.place.workflow, %error, "Pods cannot be listed"),
        };
        for pod in list {
            self.pod(pod, Instant::now());
        }
        let nodes = self.run.workflow().status.nodes.values();
        let lost = nodes.filter(|node| node.r#type == NodeType::Pod && !node.phase.is_fulfilled());
        let lost = lost.map(|node| NodeId::from(node.id.as_str())).filter(|id| !self.pods.contains_key(id));
        for node in lost.collect::<Vec<_>>() {
            self.observe(Fact::PodGone { node });
        }
    }

    async fn drive(mut self, mut inbox: UnboundedReceiver<Message>) -> Ending {
        self.plan();
        loop {
            if self.reopened {
                return Ending::Reopened;
            }
            if self.is_through() {
                self.finish().await;
                return self.last_word(inbox);
            }
            let wait = self.wake_at.map(until);
            tokio::select! {
                message = inbox.recv() => {
                    let mut next = message;
                    let mut taken = 0;
                    while let Some(message) = next {
                        if matches!(message, Message::Deleted) {
                            self.abort();
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
        let let_go = || self.creating.is_empty() && self.pods.values().all(|pod| pod.released);
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
                if let Fact::PodRefused { node, transient: false, .. } = &fact {
                    self.creating.remove(node);
                }
                self.observe(fact);
            }
            Message::Created { node, pod } => {
                self.creating.remove(&node);
                // The watch may have told more of it by now.
                if !self.pods.contains_key(&node) {
                    self.pod(*pod, Instant::now());
                }
            }
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
        let Plan { changed, status_changed, actions, needs, wake_at } = self.run.plan(Timestamp::now());
        self.unwritten |= status_changed || !changed.is_empty();
        if status_changed {
            self.events.workflow(self.run.workflow());
            self.tally.workflow(self.run.workflow());
        }
        for id in changed {
            let node = self.run.node(id.as_str());
            let pod = self.pods.get(&id).map(|pod| (pod.name.as_str(), pod.uid.as_str()));
            node.into_iter().for_each(|node| self.events.node(node, pod));
            let over = node.is_some_and(|node| node.phase.is_fulfilled());
            if over && self.pods.contains_key(&id) {
                self.releases[1].push(id.clone());
            }
            self.dirty.insert(id);
        }
        self.wake_at = wake_at;
        for need in needs {
            tokio::spawn(self.place.clone().answer(need));
        }
        for action in actions {
            self.act(action);
        }
        self.ended = None;
        self.write();
        self.place.cluster.metrics.operated(began.elapsed());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod(request) => {
                let node = request.node.clone();
                let (spec, prepared) = (self.run.spec().clone(), self.prepared.clone());
                let known =
                    (!prepared.initialized()).then(|| self.run.workflow().status.artifact_repository_ref.clone());
                let made = Preparation { prepared, repository: known.flatten() };
                let task = tokio::spawn(self.place.clone().create(*request, spec, made, self.ended));
                self.creating.insert(node, task.abort_handle());
            }
            Action::KillPod { node, .. } => self.end_pod(&node),
            Action::ReplacePod { node, pod_name, uid } => self.replace_pod(node, pod_name, uid),
            Action::EndSidecars { node, .. } => self.signal(&node),
            Action::AcquireLocks(request) => self.place.cluster.locks.acquire(&self.place.cluster, *request),
            Action::ReleaseLocks(holder) => self.place.cluster.locks.release(&self.place.cluster, &holder),
            Action::Measure(measurement) => {
                if let Err(message) = self.tally.measure(*measurement) {
                    self.place.tell(Message::Fact(Fact::MetricRefused { message }));
                }
            }
            Action::RunTask(request) => self.tasks().run(&request),
            Action::EndTask { node } => self.tasks().end(&node),
            Action::SaveMemo { cache, key, node, created } => {
                let outputs = self.run.node(node.as_str()).and_then(|node| node.outputs.as_deref().cloned());
                tokio::spawn(self.place.clone().save_memo(cache, key, node.to_string(), outputs, Time(created)));
            }
            Action::Finish => {
                if let Some(tasks) = &self.tasks {
                    tasks.close();
                }
                let key = locks::key(&self.place.namespace, &self.place.workflow);
                self.place.cluster.locks.leave(&self.place.cluster, &key);
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

    fn tasks(&mut self) -> &mut Tasks {
        let begin = || Tasks::begin(self.place.clone(), self.run.spec().clone(), self.prepared.clone());
        self.tasks.get_or_insert_with(begin)
    }

    fn end_pod(&mut self, node: &NodeId) {
        let Some(pod) = self.pods.get_mut(node) else {
            // It is not made, or not seen yet. One that appears after all is told to the engine, which asks again.
            if let Some(task) = self.creating.remove(node) {
                task.abort();
            }
            self.observe(Fact::PodGone { node: node.clone() });
            return;
        };
        // One that has not started is deleted; so is one without an executor, in which nobody can be told to end.
        let deleted = match pod.phase {
            PodPhase::Pending => true,
            PodPhase::Running => pod.annotations.get(label::LAYOUT).is_some_and(|layout| layout == label::SOLO),
            PodPhase::Succeeded | PodPhase::Failed => return,
        };
        if !deleted {
            self.signal(node);
        } else if !std::mem::replace(&mut pod.ending, true) {
            tokio::spawn(self.place.clone().delete(pod.name.clone(), pod.uid.clone(), None));
        }
    }

    /// Takes away a Pod that will be made anew; its end is told by the watch.
    fn replace_pod(&mut self, node: NodeId, name: String, uid: String) {
        let Some(pod) = self.pods.get_mut(&node).filter(|pod| pod.uid == uid) else {
            return self.observe(Fact::PodGone { node });
        };
        // Nobody else takes it away, or labels it as done with.
        pod.released = true;
        if !std::mem::replace(&mut pod.ending, true) {
            tokio::spawn(self.place.clone().delete(name, uid, None));
        }
    }

    /// SIGTERM to every container that runs; SIGKILL after the grace period.
    fn signal(&mut self, node: &NodeId) {
        let Some(pod) = self.pods.get_mut(node).filter(|pod| !pod.ending) else { return };
        pod.ending = true;
        let grace = Duration::from_secs(pod.grace.unwrap_or(GRACE_SECONDS));
        for (signal, after) in [(libc_signal::TERM, Duration::ZERO), (libc_signal::KILL, grace)] {
            let command = |name: &String| (name.clone(), kill_command(&pod.annotations, name, signal));
            let commands = pod.running.iter().map(command).collect();
            tokio::spawn(self.place.clone().signal(pod.name.clone(), commands, after));
        }
    }

    fn pod(&mut self, pod: Pod, seen_at: Instant) {
        if !pod.metadata.is_of(&self.place.uid) {
            return;
        }
        let Some(id) = pod.metadata.annotations.get(label::NODE_ID) else {
            // The only Pod of a workflow that is no node's is the agent's.
            if pod.status.phase == "Failed" {
                let facts =
                    self.tasks.as_ref().map(|tasks| tasks.agent_failed(&pod.status.message)).unwrap_or_default();
                facts.into_iter().for_each(|fact| self.observe(fact));
            }
            return;
        };
        let node = NodeId::from(id.as_str());
        let seen = pod_state::read(&pod);
        if let Some(known) = self.pods.get(&node).filter(|known| known.uid != pod.metadata.uid) {
            // A retry by hand makes a Pod of the same name anew; the old one may still be on its way out.
            tracing::debug!(pod = %pod.metadata.name, was = %known.uid, "another Pod of the same name");
        }
        self.tally.pod(&node, seen.state.phase, &pod);
        let known = self.pods.entry(node.clone()).or_default();
        let is_over = |phase| matches!(phase, PodPhase::Succeeded | PodPhase::Failed);
        if is_over(seen.state.phase) && !is_over(known.phase) {
            self.ended.get_or_insert(seen_at);
        }
        known.name = pod.metadata.name;
        known.uid = pod.metadata.uid;
        known.phase = seen.state.phase;
        known.labels = pod.metadata.labels;
        known.annotations = pod.metadata.annotations;
        known.grace = pod.spec.termination_grace_period_seconds;
        let running = |status: &&tiphys_kubernetes::ContainerStatus| status.state.running.is_some();
        known.running = pod.status.container_statuses.iter().filter(running).map(|one| one.name.clone()).collect();
        self.releases[1].push(node.clone());
        self.unwritten |= matches!(known.phase, PodPhase::Succeeded | PodPhase::Failed);
        if let Some(report) = seen.report {
            let outputs = Box::new(report.result.outputs.unwrap_or_default());
            let (progress, complete) = (report.result.progress, report.complete && !self.reporting.contains(&node));
            self.observe(Fact::TaskResult { node: node.clone(), outputs, progress, complete });
        }
        self.observe(Fact::Pod { node, state: Box::new(seen.state) });
    }

    fn pod_gone(&mut self, pod: Pod) {
        let Some(id) = pod.metadata.annotations.get(label::NODE_ID) else { return };
        let node = NodeId::from(id.as_str());
        if self.pods.get(&node).is_some_and(|known| known.uid != pod.metadata.uid) {
            return;
        }
        let completed = pod.metadata.label(label::COMPLETED) == "true";
        // What it was at last may not have been told before.
        self.pod(pod, Instant::now());
        self.pods.remove(&node);
        self.tally.pod_gone(&node);
        if !completed {
            if let Some(node) = self.run.node(node.as_str()).filter(|node| !node.phase.is_fulfilled()) {
                let started = node.started_at.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
                let recently = Timestamp::now().duration_since(started).as_secs() < RECENTLY_SECONDS;
                self.place.cluster.metrics.pod_missing(recently, node.phase.as_str());
            }
            self.observe(Fact::PodGone { node });
        }
    }

    fn pods_listed(&mut self, uids: &FxHashSet<String>) {
        for (node, pod) in &self.pods {
            if !uids.contains(&pod.uid) && !pod.released {
                tokio::spawn(self.place.clone().look_for(node.clone(), pod.name.clone(), pod.uid.clone()));
            }
        }
    }

    fn task_result(&mut self, result: TaskResultObject) {
        if !result.metadata.is_of(&self.place.uid) {
            return;
        }
        self.has_task_results = true;
        let complete = result.metadata.label(label::REPORT_OUTPUTS_COMPLETED) == "true";
        let node = NodeId::from(result.metadata.name.as_str());
        match complete {
            true => self.reporting.remove(&node),
            false => self.reporting.insert(node.clone()),
        };
        self.observe(Fact::TaskResult {
            node,
            outputs: Box::new(result.outputs.unwrap_or_default()),
            progress: result.progress,
            complete,
        });
    }

    /// Begins a write, unless one is under way: then it comes when that is through.
    ///
    /// What goes out is worked out when it is the workflow's turn: under load many changes go in one write.
    fn write(&mut self) {
        let given = self.turn.take();
        if self.writing || self.reading || !self.unwritten {
            return;
        }
        let Some(turn) = given.or_else(|| self.place.cluster.writing.try_acquire()) else {
            if !std::mem::replace(&mut self.in_line, true) {
                let place = self.place.clone();
                tokio::spawn(async move { place.tell(Message::Turn(place.cluster.writing.acquire().await)) });
            }
            return;
        };
        self.unwritten = false;
        let [now, next] = &mut self.releases;
        // What ends after this write has begun is not in it.
        let run = &self.run;
        now.extend(next.drain(..).filter(|id| run.node(id.as_str()).is_none_or(|node| node.phase.is_fulfilled())));
        let dirty = std::mem::take(&mut self.dirty);
        let patch = self.written.patch(self.run.workflow(), dirty.iter().map(NodeId::as_str));
        let Some(Outgoing { mut patch, outside }) = patch else {
            self.release();
            return;
        };
        self.writing = true;
        self.told_over[0] = self.run.workflow().status.phase.is_completed();
        let (place, spec) = (self.place.clone(), self.run.spec().clone());
        tokio::spawn(async move {
            let written = async {
                let outside = match outside {
                    Some(nodes) => Some(place.keep_outside(nodes, spec.artifact_repository_ref.as_deref()).await?),
                    None => None,
                };
                if let Some(version) = &outside {
                    patch["status"]["offloadNodeStatusVersion"] = version.as_str().into();
                }
                let version = place.cluster.api.patch(&place.path(), &patch).await?;
                Ok(Accepted { version, outside })
            };
            let outcome = written.await;
            drop(turn);
            place.tell(Message::Written(outcome));
        });
    }

    fn wrote(&mut self, outcome: Result<Accepted, Refusal>) {
        self.writing = false;
        match outcome {
            Ok(Accepted { version, outside }) => {
                self.backoff.reset();
                self.written.version = version;
                if let Some(outside) = outside {
                    self.kept(outside);
                }
                self.told_over[1] |= self.told_over[0];
                self.release();
                if let Some(version) = self.seen_version.take() {
                    self.changed(version);
                }
            }
            Err(Refusal::Outside { message, transient: false }) => {
                let reason = format!("{} Tried to offload but encountered error: {message}", self.written.too_large());
                self.unwritable(reason);
            }
            Err(Refusal::Outside { message, .. }) => {
                tracing::warn!(workflow = %self.place.workflow, error = message, "nodes cannot be kept outside the object yet");
                self.written.go_outside();
                self.unwritten = true;
                let pause = self.backoff.pause();
                self.read_again(pause);
            }
            Err(Refusal::Api(error)) if error.is_too_large() => {
                if self.written.go_outside() {
                    self.unwritten = true;
                    self.read_again(Duration::ZERO);
                } else {
                    self.unwritable(error.to_string());
                }
            }
            Err(Refusal::Api(error)) => {
                if !error.is_conflict() {
                    tracing::warn!(workflow = %self.place.workflow, %error, "the status cannot be written");
                }
                // Whether it was written is not known, or somebody else wrote: what is there now decides.
                self.unwritten = true;
                let pause = if error.is_conflict() { Duration::ZERO } else { self.backoff.pause() };
                self.read_again(error.retry_after().unwrap_or(pause));
            }
        }
    }

    /// Nodes are outside, and the object says where. Those of the version before stay for whoever has just read the object.
    fn kept(&mut self, outside: String) {
        if outside == self.written.outside {
            return;
        }
        let before = std::mem::replace(&mut self.written.outside, outside);
        let old = self.outside_before.replace(before).filter(|old| *old != self.written.outside);
        if let Some(old) = old {
            tokio::spawn(self.place.clone().forget_outside(old));
        }
    }

    /// The status cannot be written as it is, nor will it ever: the workflow ends here, and only that is told.
    fn unwritable(&mut self, reason: String) {
        tracing::error!(workflow = %self.place.workflow, reason, "the status is too large");
        self.written.tell_least();
        self.observe(Fact::Unwritable(reason));
        for node in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.end_pod(&node);
        }
        self.unwritten = true;
        self.read_again(Duration::ZERO);
    }

    /// Lets go of Pods whose nodes' ends are written.
    fn release(&mut self) {
        let config = self.place.cluster.config();
        let spec = self.run.spec().clone();
        let phase = self.run.workflow().status.phase;
        for node in std::mem::take(&mut self.releases[0]) {
            let Some(pod) = self.pods.get_mut(&node).filter(|pod| !pod.released) else { continue };
            if !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
                continue;
            }
            match decide(spec.pod_gc.as_deref(), &config, &pod.labels, pod.phase, phase) {
                Release::Later => continue,
                Release::Label => {
                    tokio::spawn(self.place.clone().label_completed(pod.name.clone()));
                }
                Release::Delete(delay) => {
                    let (name, uid, place) = (pod.name.clone(), pod.uid.clone(), self.place.clone());
                    let grace = config.pod_gc_grace;
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        place.delete(name, uid, grace).await;
                    });
                }
            }
            pod.released = true;
        }
    }

    /// The object has another version: our own write, or somebody else's.
    fn changed(&mut self, version: String) {
        if self.writing || self.reading {
            self.seen_version = Some(version);
        } else if is_newer(&version, &self.written.version) {
            self.read_again(Duration::ZERO);
        }
    }

    fn read_again(&mut self, after: Duration) {
        if std::mem::replace(&mut self.reading, true) {
            return;
        }
        let (place, known) = (self.place.clone(), self.written.outside.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let outcome = place.read_whole(&known).await;
            place.tell(Message::Read(outcome));
        });
    }

    fn read(&mut self, outcome: Result<(Box<Workflow>, Held), Refusal>) {
        self.reading = false;
        let theirs = match outcome {
            Ok((theirs, held)) if theirs.metadata.uid == *self.place.uid => (theirs, held),
            Ok(_) => return self.place.tell(Message::Deleted),
            Err(Refusal::Api(error)) if error.is_not_found() => return self.place.tell(Message::Deleted),
            Err(error) => {
                tracing::error!(workflow = %self.place.workflow, %error, "the workflow cannot be read");
                let pause = self.backoff.pause();
                return self.read_again(pause);
            }
        };
        let (mut theirs, held) = theirs;
        if held.known {
            // They are as we wrote them last; what has changed since goes out with all others.
            theirs.status.nodes.clone_from(&self.run.workflow().status.nodes);
            self.written.go_outside();
        }
        if self.run.is_finished() && self.told_over[1] && !theirs.status.phase.is_completed() {
            self.reopened = true;
            return;
        }
        for fact in foreign::asked(self.run.workflow(), &theirs) {
            self.observe(fact);
        }
        let ours = self.run.workflow();
        let differs = |id: &&String| ours.status.nodes.get(id) != theirs.status.nodes.get(id);
        self.dirty.extend(ours.status.nodes.keys().filter(differs).map(|id| NodeId::from(id.as_str())));
        self.written = self.written.over(&theirs, held, ours);
        self.unwritten = true;
        if let Some(version) = self.seen_version.take() {
            self.changed(version);
        }
    }

    /// Everything is written; what was kept for the workflow goes.
    async fn finish(&mut self) {
        let (workflow, spec) = (self.run.workflow(), self.run.spec());
        let strategy = spec.ttl_strategy.as_deref();
        if let Some(at) = ttl::moment(strategy, workflow.status.phase, workflow.status.finished_at) {
            let Workplace { cluster, namespace, workflow, uid, .. } = &self.place;
            ttl::delete_at(cluster.clone(), namespace.to_string(), workflow.to_string(), uid.to_string(), at);
        }
        if self.has_task_results {
            let selector = format!("{}={}", label::WORKFLOW, self.place.workflow);
            let results = Kind::WorkflowTaskResult.within(&self.place.namespace).query(&[("labelSelector", &selector)]);
            let _turn = self.place.cluster.other.acquire().await;
            if let Err(error) = self.place.cluster.api.delete(&results, &json!({})).await {
                tracing::warn!(workflow = %self.place.workflow, %error, "task results cannot be deleted");
            }
        }
    }

    fn abort(&mut self) {
        for task in self.creating.values() {
            task.abort();
        }
    }
}

/// Signals by number, as Linux has them: the Pod's, whatever this program runs on.
mod libc_signal {
    pub const TERM: i32 = 15;
    pub const KILL: i32 = 9;
}

/// Whether a version is later than another. They are numbers that grow (Kubernetes, KEP-5504); where one is not, it is
/// taken for another's.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

/// How long it is until a moment, rounded up: a timer that fires early would only have to be set again.
fn until(moment: Timestamp) -> Duration {
    let nanos = moment.as_nanosecond() - Timestamp::now().as_nanosecond();
    Duration::from_millis(u64::try_from(nanos.max(0) / 1_000_000 + 1).unwrap_or(u64::MAX / 2_000_000))
}
