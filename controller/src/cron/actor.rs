//! One CronWorkflow: sleeps until something is told or a run is due, then makes what is due and writes what came of it.
//!
//! A run is made before it is written that it was: its name follows from its time, so that after a kill in between it is found,
//! and not made again. Writes name the version they are for; when somebody else has written, nothing more is done until that
//! version is seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashSet;
use serde::Deserialize;
use tiphys_api::{CronWorkflow, Time, Workflow};
use tiphys_engine::cron::{self, Child, Timetable, Verdict};
use tiphys_expr::ambient;
use tiphys_kubernetes::{Backoff, Kind, ObjectMeta};
use tokio::sync::mpsc::UnboundedReceiver;

use super::requests::{change, delete, terminate};
use super::templates;
use crate::cluster::Cluster;

/// What a CronWorkflow's task is told.
pub(super) enum Message {
    /// All that was there at the start is told.
    Begin,
    /// The object is new or changed.
    Changed(Box<CronWorkflow>),
    /// One of its workflows is new or changed.
    Child(Child),
    /// One of them is gone, by uid.
    Gone(String),
    /// All workflows that there are, by uid.
    Listed(Arc<FxHashSet<String>>),
}

/// Of a workflow that is over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Over {
    status: OverStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OverStatus {
    finished_at: Option<Time>,
}

pub(super) struct Actor {
    cluster: Arc<Cluster>,
    cron: CronWorkflow,
    table: Option<Timetable>,
    children: BTreeMap<String, Child>,
    /// Whether all is known that was there at the start.
    begun: bool,
    /// Since when the schedule is as it is.
    since: Timestamp,
    /// Up to when it is decided what is due.
    decided: Timestamp,
    /// The last run about which there is nothing more to decide.
    settled: Timestamp,
    /// The last run that another one forbade.
    forbidden: Option<Timestamp>,
    /// Whether the spec has been validated as it is now.
    checked: bool,
    /// Whether somebody else has written the object, which is not seen yet.
    outdated: bool,
    /// Uids of workflows that are being deleted.
    deleting: FxHashSet<String>,
    backoff: Backoff,
    /// When to try again what has failed.
    again: Option<Timestamp>,
}

impl Actor {
    pub fn new(cluster: Arc<Cluster>, cron: CronWorkflow) -> Actor {
        let now = Timestamp::now();
        let mut actor = Actor {
            cluster,
            cron,
            table: None,
            children: BTreeMap::new(),
            begun: false,
            since: now,
            decided: now,
            settled: Timestamp::MIN,
            forbidden: None,
            checked: false,
            outdated: false,
            deleting: FxHashSet::default(),
            backoff: Backoff::default(),
            again: None,
        };
        actor.read_schedules();
        actor
    }

    /// Works until nobody tells it anything more: the object is gone.
    pub async fn drive(mut self, mut inbox: UnboundedReceiver<Message>) {
        loop {
            let wake = self.wake_at().map(|at| at.duration_since(Timestamp::now()).try_into().unwrap_or_default());
            tokio::select! {
                message = inbox.recv() => {
                    let Some(mut message) = message else { return };
                    loop {
                        self.take(message).await;
                        match inbox.try_recv() {
                            Ok(next) => message = next,
                            Err(_) => break,
                        }
                    }
                }
                () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            }
            if self.begun && !self.outdated {
                self.turn().await;
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        if !self.begun || self.outdated {
            return None;
        }
        let table = self.table.as_ref().filter(|_| self.is_at_work());
        let next = table.and_then(|table| table.next(&self.cron, self.since, self.decided));
        next.into_iter().chain(self.again).min()
    }

    /// Whether runs are made at all.
    fn is_at_work(&self) -> bool {
        !self.cron.spec.suspend && !cron::is_stopped(&self.cron)
    }

    fn read_schedules(&mut self) {
        let local = self.cluster.config().local_time_zone();
        self.table = Timetable::of(&self.cron.spec, &local).ok();
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Begin => self.begun = true,
            Message::Changed(cron) => self.changed(*cron),
            Message::Child(mut child) => {
                child.finished = self.children.get(&child.uid).and_then(|known| known.finished);
                self.children.insert(child.uid.clone(), child);
            }
            Message::Gone(uid) => self.gone(&uid),
            Message::Listed(listed) => {
                // One that we have just made may be younger than the list.
                let missing: Vec<Child> =
                    self.children.values().filter(|child| !listed.contains(&child.uid)).cloned().collect();
                for child in missing {
                    let path = Kind::Workflow.within(&self.cron.metadata.namespace).named(&child.name);
                    let found = self.cluster.read::<ObjectMeta>(&path).await;
                    if found.map_or(true, |found| found.metadata.uid != child.uid) {
                        self.gone(&child.uid);
                    }
                }
            }
        }
    }

    fn gone(&mut self, uid: &str) {
        self.children.remove(uid);
        self.deleting.remove(uid);
    }

    fn changed(&mut self, cron: CronWorkflow) {
        if cron.metadata.resource_version == self.cron.metadata.resource_version {
            return;
        }
        let (was_at_work, before) = (self.is_at_work(), std::mem::replace(&mut self.cron, cron));
        self.outdated = false;
        self.checked &= before.spec == self.cron.spec;
        let same = before.spec.schedules == self.cron.spec.schedules && before.spec.timezone == self.cron.spec.timezone;
        if !same || !was_at_work {
            // What was due by another schedule, or while nothing was to be made, was not missed.
            self.since = Timestamp::now();
            self.decided = self.since;
            self.read_schedules();
        }
    }

    /// Makes what is due, writes what came of it, and deletes what is too much.
    async fn turn(&mut self) {
        let before = self.cron.clone();
        self.again = None;
        cron::reconcile(&mut self.cron, self.children.values());
        if !self.checked {
            let problem = templates::problem(&self.cluster, &self.cron).await;
            self.spec_is_wrong(problem.as_deref());
            cron::found(&mut self.cron, problem.as_deref());
            self.checked = true;
        }
        let now = Timestamp::now();
        // A clock that went back shows again what was decided already; names keep it from being made again.
        self.decided = self.decided.min(now);
        if let Some(table) = self.table.clone().filter(|_| self.is_at_work()) {
            for at in table.due(&self.cron, self.since, (self.settled, self.decided), now) {
                if !self.begin(&table, at).await {
                    break;
                }
                self.decided = self.decided.max(at);
            }
        }
        if self.again.is_none() {
            self.decided = now;
        }
        if self.write(before).await {
            self.clear().await;
        }
    }

    /// One run. False: it has to be tried again.
    async fn begin(&mut self, table: &Timetable, at: Timestamp) -> bool {
        let problem = templates::problem(&self.cluster, &self.cron).await;
        self.spec_is_wrong(problem.as_deref());
        let name = cron::run_name(&self.cron.metadata.name, at);
        let failed = self.cron.status.failed;
        let plain = self.cluster.config().engine_base.no_expressions;
        let decide = || cron::begin(&mut self.cron, table, at, problem.as_deref());
        let verdict = ambient::without_expressions(plain, decide);
        if self.cron.status.failed > failed {
            self.cluster.metrics.error("CronWorkflowSubmissionError");
        }
        match verdict {
            Verdict::Skip { reason, settled, forbidden } => {
                if forbidden && self.forbidden.replace(at) != Some(at) {
                    self.limited("Forbid");
                }
                tracing::info!(namespace = self.cron.metadata.namespace, run = name, reason, "a run is not made");
                if settled {
                    self.settled = at;
                }
                true
            }
            Verdict::Run { replaces, workflow } => self.make(at, replaces, *workflow).await,
        }
    }

    async fn make(&mut self, at: Timestamp, replaces: Vec<String>, workflow: Workflow) -> bool {
        let (namespace, name) = (&self.cron.metadata.namespace, workflow.metadata.name.clone());
        if !replaces.is_empty() {
            self.limited("Replace");
        }
        for replaced in replaces {
            if let Err(error) = terminate(&self.cluster, namespace, &replaced).await {
                self.refuse(at, &format!("run policy error: error stopping workflow {replaced}: {error}"));
                return true;
            }
        }
        let made = match serde_json::to_value(&workflow) {
            Ok(object) => {
                let _turn = self.cluster.other.acquire().await;
                self.cluster.api.create(Kind::Workflow.within(namespace).path(), &object).await
            }
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(object) => {
                let ObjectMeta { metadata } = serde_json::from_value(object).unwrap_or_default();
                let identity = (metadata.name, metadata.uid, metadata.resource_version);
                let child = Child::of(identity, &metadata.labels, &metadata.annotations);
                cron::started(&mut self.cron, at, Some(&child));
                self.cluster.metrics.cron_triggered(&self.cron.metadata.name, &self.cron.metadata.namespace);
                self.children.insert(child.uid.clone(), child);
                tracing::info!(namespace = self.cron.metadata.namespace, run = name, "a run is made");
            }
            // Before a restart, or by another schedule that is due at the same moment.
            Err(error) if error.is_already_there() => cron::started(&mut self.cron, at, None),
            Err(error) if error.is_transient() && !self.is_too_late(at) => {
                tracing::warn!(namespace, run = name, %error, "a run cannot be made now");
                let pause = error.retry_after().unwrap_or_else(|| self.backoff.pause());
                let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(1));
                self.again = Timestamp::now().checked_add(pause).ok();
                return false;
            }
            Err(error) => {
                self.cluster.metrics.cron_triggered(&self.cron.metadata.name, namespace);
                self.refuse(at, &format!("Failed to submit Workflow: {error}"));
                return true;
            }
        }
        self.backoff.reset();
        self.settled = at;
        true
    }

    /// Whether what cannot be made now need not be made any more.
    fn is_too_late(&self, at: Timestamp) -> bool {
        let deadline = self.cron.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        deadline.is_some_and(|deadline| Timestamp::now().duration_since(at) > deadline)
    }

    /// Its concurrency policy has kept a run from being made, or ended others.
    fn limited(&self, policy: &str) {
        self.cluster.metrics.cron_limited(&self.cron.metadata.name, &self.cron.metadata.namespace, policy);
    }

    fn spec_is_wrong(&self, problem: Option<&str>) {
        if problem.is_some() {
            self.cluster.metrics.error("CronWorkflowSpecError");
        }
    }

    fn refuse(&mut self, at: Timestamp, message: &str) {
        tracing::error!(namespace = self.cron.metadata.namespace, cron_workflow = self.cron.metadata.name, message);
        self.cluster.metrics.error("CronWorkflowSubmissionError");
        cron::refused(&mut self.cron, message);
        self.settled = at;
    }

    /// Writes what has changed. False: it is not written; what is to be written then follows from what is there.
    async fn write(&mut self, before: CronWorkflow) -> bool {
        let Some(mut patch) = cron::changes(&before, &self.cron) else { return true };
        patch["metadata"]["resourceVersion"] = before.metadata.resource_version.as_str().into();
        let path = Kind::CronWorkflow.within(&before.metadata.namespace).named(&before.metadata.name);
        match change(&self.cluster, &path, &patch).await {
            Ok(version) => {
                self.cron.metadata.resource_version = version;
                true
            }
            Err(error) => {
                if !error.is_conflict() && !error.is_not_found() {
                    let metadata = &before.metadata;
                    tracing::error!(namespace = metadata.namespace, cron_workflow = metadata.name, %error, "the status cannot be written");
                }
                self.cron = before;
                self.checked = false;
                self.outdated = error.is_conflict();
                false
            }
        }
    }

    /// Deletes the workflows that the limits of the history leave no room for.
    async fn clear(&mut self) {
        let namespace = self.cron.metadata.namespace.clone();
        for uid in cron::surplus(&self.cron, self.children.values()).unknown {
            let Some(child) = self.children.get_mut(&uid) else { continue };
            let path = Kind::Workflow.within(&namespace).named(&child.name);
            match self.cluster.read::<Over>(&path).await {
                Ok(over) => child.finished = Some(over.status.finished_at.unwrap_or_default()),
                Err(error) if error.is_not_found() => self.gone(&uid),
                Err(error) => {
                    return tracing::error!(namespace, workflow = child.name, %error, "a workflow cannot be read");
                }
            }
        }
        for (name, uid) in cron::surplus(&self.cron, self.children.values()).delete {
            if self.deleting.contains(&uid) {
                continue;
            }
            match delete(&self.cluster, &namespace, &name, &uid).await {
                Ok(()) => drop(self.deleting.insert(uid)),
                Err(error) => {
                    tracing::warn!(namespace, workflow = name, %error, "a workflow beyond the history's limit cannot be deleted");
                    let pause = SignedDuration::try_from(self.backoff.pause()).unwrap_or(SignedDuration::from_secs(1));
                    self.again = Timestamp::now().checked_add(pause).ok();
                    return;
                }
            }
        }
    }
}
