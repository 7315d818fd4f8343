//! The status on its way to the API server, what may happen once it is there, and the object when somebody else has written.

use std::time::{Duration, Instant};

use serde_json::json;
use tiphys_api::Workflow;
use tiphys_contract::label;
use tiphys_engine::{Fact, NodeId, PodPhase};
use tiphys_kubernetes::Kind;
use tiphys_otlp::Outcome;

use super::Actor;
use super::moving::Moving;
use crate::ttl;
use crate::workflow::foreign;
use crate::workflow::message::{Accepted, Message, Refusal};
use crate::workflow::nodes::Held;
use crate::workflow::pods::Workplace;
use crate::workflow::release::{Release, decide};
use crate::workflow::status::Outgoing;

/// A workflow that is at work is written for at most one part in so many of its time. What a write costs the API server
/// follows the size of the object and not of the change, and how long it takes tells that as well as how busy the server is.
const REST: u32 = 4;
/// The longest that what users see may lag behind for that reason.
const LONGEST_REST: Duration = Duration::from_secs(5);

impl Actor {
    /// Begins a write, unless one is under way or was just now: then it comes when that is through.
    ///
    /// What goes out is worked out when it is the workflow's turn: under load many changes go in one write.
    pub(super) fn write(&mut self) {
        let given = self.turn.take();
        let early = !self.begun && !self.unanswered.is_empty();
        if self.writing || self.reading || !self.unwritten || early || self.rests().is_some() {
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
        if self.moving == Moving::Wanted {
            self.moving = Moving::Writing;
        }
        self.told_over[0] = self.run.workflow().status.phase.is_completed();
        let (place, spec) = (self.place.clone(), self.run.spec().clone());
        let span = self.trace.as_ref().map(|trace| trace.begin("persistUpdates"));
        tokio::spawn(async move {
            let begun = Instant::now();
            let written = async {
                let outside = match outside {
                    Some(nodes) => Some(place.keep_outside(nodes, spec.artifact_repository_ref.as_deref()).await?),
                    None => None,
                };
                if let Some(version) = &outside {
                    patch["status"]["offloadNodeStatusVersion"] = version.as_str().into();
                }
                let version = place.cluster.api.patch(&place.path(), &patch).await?;
                Ok(Accepted { version, outside, took: begun.elapsed() })
            };
            let outcome = written.await;
            drop(turn);
            if let Some(span) = span {
                let failure = outcome.as_ref().err().map(|error: &Refusal| Outcome::Failed(error.to_string()));
                span.end(failure.unwrap_or_default());
            }
            place.tell(Message::Written(outcome));
        });
    }

    /// How long there is to wait until the next write. That the workflow is over is told at once.
    pub(super) fn rests(&self) -> Option<Duration> {
        let rest = self.rest_until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero());
        rest.filter(|_| !self.run.is_finished())
    }

    pub(super) fn wrote(&mut self, outcome: Result<Accepted, Refusal>) {
        self.writing = false;
        if self.moving == Moving::Writing {
            self.moving = if outcome.is_ok() { Moving::Told } else { Moving::Wanted };
        }
        match outcome {
            Ok(Accepted { version, outside, took }) => {
                self.backoff.reset();
                self.rest_until = Instant::now() + (took * REST).min(LONGEST_REST);
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
    pub(super) fn kept(&mut self, outside: String) {
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
    pub(super) fn unwritable(&mut self, reason: String) {
        tracing::error!(workflow = %self.place.workflow, reason, "the status is too large");
        self.written.tell_least();
        self.observe(Fact::Unwritable(reason));
        for node in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.end_pod(&node);
        }
        self.unwritten = true;
        self.read_again(Duration::ZERO);
    }

    /// Lets go of Pods and tasks whose nodes' ends are written.
    pub(super) fn release(&mut self) {
        let config = self.place.cluster.config();
        let spec = self.run.spec().clone();
        let phase = self.run.workflow().status.phase;
        for node in std::mem::take(&mut self.releases[0]) {
            self.forget_results(&node);
            if let Some(tasks) = &mut self.tasks {
                tasks.forget(&node);
            }
            let Some(pod) = self.pods.get_mut(&node).filter(|pod| !pod.released) else { continue };
            if !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
                continue;
            }
            let release = decide(spec.pod_gc.as_deref(), &config, &pod.labels, pod.phase, phase);
            if release == Release::Later && !pod.guarded {
                continue;
            }
            tokio::spawn(self.place.clone().release(release, pod.leaving()));
            pod.guarded = false;
            pod.released = release != Release::Later;
        }
    }

    /// The object has another version: our own write, or somebody else's.
    pub(super) fn changed(&mut self, version: String) {
        if self.writing || self.reading {
            self.seen_version = Some(version);
        } else if is_newer(&version, &self.written.version) {
            self.read_again(Duration::ZERO);
        }
    }

    pub(super) fn read_again(&mut self, after: Duration) {
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

    pub(super) fn read(&mut self, outcome: Result<(Box<Workflow>, Held), Refusal>) {
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
    pub(super) async fn finish(&mut self) {
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
}

/// Whether a version is later than another. They are numbers that grow (Kubernetes, KEP-5504); where one is not, it is
/// taken for another's.
pub(crate) fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}
