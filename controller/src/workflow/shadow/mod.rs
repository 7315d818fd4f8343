//! A workflow that another controller drives, beside what our engine would make of it.
//!
//! The engine is driven by facts, as ever; but nothing that it decides is done. Facts come from the Pods and results that the
//! live controller brings about, and from its status what only it can know: who has got a lock, that a user has ended a
//! suspended node, what the API server said to a Pod. Ours is mostly ahead of what the live status says, and sometimes behind,
//! and both is fine: what is compared is Pods, whenever both are known; nodes that are over for both in different ways; and
//! everything when the workflow is over. After nodes have parted, our engine goes on from the live status, so that what
//! follows from one divergence is not told as others.

mod begin;
mod divergence;
mod end;
mod live;
mod locks;
mod nodes;
mod observed;
mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_api::Workflow;
use tiphys_engine::{Action, Fact, LockHolder, LockRequest, Need, NodeId, Plan, PodRequest, Run, claims_at_hand};
use tiphys_kubernetes::Pod;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::divergence::{Divergence, News, Report};
use self::pods::{Outcome, Pair, Pods, compare_pair};
use super::message::Message;
use super::pods::Workplace;
use super::prepare::Prepared;
use crate::cluster::Cluster;

/// How many messages are taken in before the engine is asked what follows from them.
const BATCH: usize = 256;
/// How often our engine may go on from the live status after nodes have parted.
const BEGUN_ANEW: usize = 16;

/// Looks on while another controller drives the workflow of this name and uid, and tells what we would do otherwise. It ends
/// when the workflow is over or gone. Differences between Pods whose place begins with one of `ignored` are none.
pub async fn look_on(
    cluster: Arc<Cluster>,
    (namespace, name, uid): (String, String, String),
    mut inbox: UnboundedReceiver<Message>,
    to: UnboundedSender<Message>,
    ignored: Arc<[String]>,
) {
    let place = Workplace { cluster, to, namespace: namespace.into(), workflow: name.into(), uid: uid.into() };
    match begin::begun(&place, &mut inbox).await {
        Some((first, theirs)) => Shadow::begin(place, first, theirs, ignored).await.follow(inbox).await,
        None => tracing::info!(namespace = %place.namespace, workflow = %place.workflow, "gone before it began"),
    }
}

struct Shadow {
    place: Workplace,
    ignored: Arc<[String]>,
    run: Run,
    prepared: Arc<OnceCell<Prepared>>,
    pods: Pods,
    comparing: JoinSet<Outcome>,
    /// Locks that our engine waits for.
    locks: BTreeMap<LockHolder, LockRequest>,
    /// Nodes whose Pods our engine wants to end.
    ending: FxHashSet<NodeId>,
    /// Nodes whose executors report by an object of their own, which says itself when it is complete.
    reporting: FxHashSet<NodeId>,
    /// What was told of nodes that our engine has not come to: Pods, and results.
    early_pods: FxHashMap<NodeId, Pod>,
    early_facts: FxHashMap<NodeId, Fact>,
    /// Pods whose results lie elsewhere: they are taken from the live status.
    away: FxHashMap<NodeId, Pod>,
    /// The version of the object that was read last, and one that was told since.
    version: String,
    seen_version: Option<String>,
    reading: bool,
    wake_at: Option<Timestamp>,
    report: Report,
    begun_anew: usize,
    /// The workflow as it is at last, and how long more is waited for what belongs to it.
    over: Option<(Box<Workflow>, Instant)>,
    gone: bool,
}

impl Shadow {
    async fn follow(mut self, mut inbox: UnboundedReceiver<Message>) {
        loop {
            self.plan();
            if self.gone {
                return self.tell_gone();
            }
            if self.has_settled() {
                return self.tell_end();
            }
            let wait = self.wait();
            tokio::select! {
                message = inbox.recv() => {
                    let mut next = message;
                    let mut taken = 0;
                    while let Some(message) = next {
                        self.take(message).await;
                        taken += 1;
                        next = if taken < BATCH { inbox.try_recv().ok() } else { None };
                    }
                }
                Some(outcome) = self.comparing.join_next() => self.compared(outcome.unwrap_or(Outcome::Gone)),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// How long there is nothing to do unless something is told.
    fn wait(&self) -> Option<Duration> {
        let woken = self.wake_at.map(super::actor::until);
        let settled = self.over.as_ref().map(|(_, end)| end.saturating_duration_since(Instant::now()));
        woken.into_iter().chain(settled).min()
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Changed { version } => self.changed(version),
            Message::Read(outcome) => self.read(outcome).await,
            Message::Deleted => self.gone = true,
            Message::Pod(pod, _) => self.pod(*pod),
            Message::PodGone(pod) => self.pod_gone(*pod),
            Message::PodsListed(uids) => self.pods_listed(&uids),
            Message::TaskResult(result) => self.task_result(*result),
            Message::TaskSet(set) => self.task_set(*set),
            Message::Fact(fact) => {
                if let Fact::PodRefused { node, .. } = &fact {
                    self.pods.drop_asked(node);
                }
                self.observe(fact);
            }
            // What only a controller is told that acts.
            Message::Created { .. }
            | Message::Results { .. }
            | Message::Turn(_)
            | Message::Written(_)
            | Message::Cleared(_) => {}
        }
    }

    fn observe(&mut self, fact: Fact) {
        self.run.observe(fact, Timestamp::now());
    }

    /// Asks the engine what follows; nothing of it is done.
    fn plan(&mut self) {
        loop {
            let Plan { changed, actions, needs, wake_at, .. } = self.run.plan(Timestamp::now());
            self.wake_at = wake_at;
            for need in needs {
                let spec = self.run.spec().clone();
                match need {
                    // Somebody else makes them.
                    Need::VolumeClaims => {
                        self.place.tell(Message::Fact(claims_at_hand(&self.place.workflow, &spec)));
                    }
                    need => drop(tokio::spawn(self.place.clone().answer(need, spec))),
                }
            }
            actions.into_iter().for_each(|action| self.act(action));
            if !self.catch_up(&changed) && !self.hear_at_last() {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod(request) => self.create_pod(request),
            Action::KillPod { node, .. } => {
                self.ending.insert(node);
            }
            Action::AcquireLocks(request) => {
                self.locks.insert(request.holder.clone(), *request);
                // What there is to say of it may be in the status already.
                self.look_again();
            }
            Action::ReleaseLocks(holder) => {
                self.locks.remove(&holder);
            }
            // The live controller does so, or what comes of it differs.
            Action::ReplacePod { .. }
            | Action::EndSidecars { .. }
            | Action::RunTask(_)
            | Action::EndTask { .. }
            | Action::SaveMemo { .. }
            | Action::Measure(_)
            | Action::Finish => {}
        }
    }

    /// Builds the Pod, which may fail as it would in earnest; it is built again when the live controller's is there.
    fn create_pod(&mut self, request: Box<PodRequest>) {
        let pair = self.pods.ask(request.clone());
        if pair.is_some() {
            return self.compare(pair);
        }
        let (place, spec, prepared) = (self.place.clone(), self.run.spec().clone(), self.prepared.clone());
        let known = self.run.workflow().status.artifact_repository_ref.clone();
        tokio::spawn(async move {
            let _turn = place.cluster.creating.acquire().await;
            let node = request.node.clone();
            let built = async {
                let prepared = prepared.get_or_try_init(|| place.foresee(&spec, known)).await?;
                place.build(*request, &spec, prepared, None).await
            };
            if let Err(message) = built.await {
                place.tell(Message::Fact(Fact::PodRefused { node, message, transient: false }));
            }
        });
    }

    fn compare(&mut self, pair: Option<Pair>) {
        let Some(pair) = pair else { return };
        let (place, spec) = (self.place.clone(), self.run.spec().clone());
        self.comparing.spawn(compare_pair(place, spec, self.prepared.clone(), pair, self.ignored.clone()));
    }

    fn compared(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Gone => self.pods.gone += 1,
            Outcome::Compared(found) => {
                self.pods.compared += 1;
                found.into_iter().for_each(|one| self.tell(&one));
            }
        }
    }

    fn tell(&mut self, divergence: &Divergence) {
        let Divergence { kind, node, at, .. } = divergence;
        let news = self.report.add(divergence);
        if news != News::Known {
            self.place.cluster.metrics.diverged(kind.as_str());
        }
        if news == News::Told {
            tracing::warn!(
                namespace = %self.place.namespace, workflow = %self.place.workflow, kind = kind.as_str(), node, at,
                "divergence: {divergence}"
            );
        }
    }
}
