//! The life of one Pod, from its JSON to its end, as one task.
//!
//! It sleeps until something happens: an event of the sandbox, an order to end, a verdict of a probe, the Pod's deadline
//! or the end of its grace. What the engine should know goes out as facts, in order; the results of `wait` always before
//! the state that says that `wait` has ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use tiphys_api::{Outputs, WorkflowSpec};
use tiphys_contract::{TaskResult, container as names};
use tiphys_engine::{Fact, NodeId};
use tiphys_podspec::Request;
use tiphys_sandbox::{Event, Sandbox};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use super::build::{Planned, Prepared, Workplace, prepare};
use super::make::{MadePod, PodMaker};
use super::model::Pod;
use super::probe::{Probed, Purpose, probe_container, probes_of};
use super::state::Tracker;
use super::volume::PrepareError;
use crate::images::{Images, Root, advice};
use crate::logs::Logs;
use crate::view::Happening;

/// Message of a Pod that ran longer than it may, in Kubernetes' words.
const DEADLINE: &str = "Pod was active on the node longer than the specified deadline";

/// What a Pod's task is given.
#[derive(Debug)]
pub(crate) struct PodJob {
    /// The node, as the engine describes it.
    pub request: Request,
    /// What may still stand in texts that are put into the Pod late.
    pub variables: BTreeMap<String, String>,
    /// The spec that is executed.
    pub spec: Arc<WorkflowSpec>,
    /// The node's short name, for its log lines.
    pub display_name: String,
    /// An order to end, sent once.
    pub end: oneshot::Receiver<()>,
}

/// What a Pod's task tells the driver.
#[derive(Debug)]
pub(crate) enum Progress {
    /// For the engine.
    Fact(Fact),
    /// For the user.
    Show(Happening),
    /// The Pod no longer counts against the limit of Pods at once.
    MakesRoom(NodeId),
    /// The task is over; nothing more comes of it.
    Over(NodeId),
}

/// What the tasks of a run share.
pub(crate) struct Shop {
    pub work: Workplace,
    pub maker: PodMaker,
    pub images: Images,
    pub logs: Logs,
}

/// Runs a Pod to its end.
pub(crate) async fn run(job: PodJob, shop: Arc<Shop>, to: mpsc::UnboundedSender<Progress>) {
    let node = NodeId::from(job.request.node_id.as_str());
    // The driver going away ends everything: there is nobody left to tell.
    let tell = |progress| drop(to.send(progress));
    if let Err(message) = try_run(job, &node, &shop, &to).await {
        tell(Progress::Fact(Fact::PodRefused { node: node.clone(), message, transient: false }));
    }
    tell(Progress::Over(node));
}

async fn try_run(job: PodJob, node: &NodeId, shop: &Shop, to: &mpsc::UnboundedSender<Progress>) -> Result<(), String> {
    let PodJob { request, variables, spec, display_name, mut end } = job;
    let (made, roots) = tokio::select! {
        ready = make_ready(&request, &variables, &spec, shop) => ready?,
        // A Pod that has not started is deleted.
        _ = &mut end => {
            let _ = to.send(Progress::Fact(Fact::PodGone { node: node.clone() }));
            return Ok(());
        }
    };
    let work = &shop.work;
    let inputs = request.template.inputs.artifacts.iter();
    let optional: Vec<String> =
        inputs.filter(|artifact| artifact.optional).map(|artifact| artifact.name.clone()).collect();
    let documents = made.documents.as_ref().unwrap_or(&shop.maker.documents);
    let mut prepared =
        tokio::task::block_in_place(|| prepare(&made.pod, node.as_str(), work, documents, &roots, &optional))
            .map_err(|error: PrepareError| error.to_string())?;
    follow_logs(&prepared, node, &display_name, shop);
    let (sandbox, events) =
        Sandbox::start(&prepared.spec, Path::new("/proc/self/exe")).await.map_err(|error| error.to_string())?;
    let (probed, verdicts) = mpsc::unbounded_channel();
    let (reported, reports) = mpsc::unbounded_channel();
    if let Some(folder) = prepared.result.parent() {
        shop.logs.follow_results(node, folder, reported);
    }
    let seconds = |seconds| Some(Duration::from_secs(u64::try_from(seconds).ok()?));
    let mut life = Life {
        daemon: request.template.daemon == Some(true),
        node: node.clone(),
        display_name,
        tracker: Tracker::new(&mut prepared, &work.host),
        deadline: prepared.active_deadline_seconds.and_then(seconds).map(|wait| Instant::now() + wait),
        prepared,
        shop,
        to,
        sandbox,
        probes: JoinSet::new(),
        probed,
        execs: HashMap::new(),
        last_exec: 0,
        grace: None,
        deleted: false,
        made_room: false,
    };
    life.live(events, verdicts, reports, end).await
}

/// The Pod and the roots of its images.
async fn make_ready(
    request: &Request,
    variables: &BTreeMap<String, String>,
    spec: &WorkflowSpec,
    shop: &Shop,
) -> Result<(MadePod, BTreeMap<String, Root>), String> {
    let made = shop.maker.make(request, variables, spec, &shop.images).await?;
    let roots = roots(&made.pod, &shop.images).await?;
    Ok((made, roots))
}

/// Shows what the user's containers write; what the executor says of itself is in the run's folder.
fn follow_logs(prepared: &Prepared, node: &NodeId, display_name: &str, shop: &Shop) {
    let of_user = |planned: &&Planned| names::is_user(&planned.name) && planned.name != names::INIT;
    for planned in prepared.containers.iter().filter(of_user) {
        shop.logs.follow(node, &planned.name, display_name, &planned.log);
    }
}

/// The root of each image in the Pod.
async fn roots(pod: &Pod, images: &Images) -> Result<BTreeMap<String, Root>, String> {
    let names: BTreeSet<String> = pod
        .all_containers()
        .map(|container| container.image.clone())
        .filter(|image| image != super::EXECUTOR_IMAGE && !image.is_empty())
        .collect();
    let mut roots = BTreeMap::new();
    for name in names {
        let root = images.root(&name).await?;
        roots.insert(name, root);
    }
    Ok(roots)
}

struct Life<'a> {
    node: NodeId,
    display_name: String,
    daemon: bool,
    shop: &'a Shop,
    to: &'a mpsc::UnboundedSender<Progress>,
    sandbox: Sandbox,
    prepared: Prepared,
    tracker: Tracker,
    probes: JoinSet<()>,
    probed: mpsc::UnboundedSender<Probed>,
    execs: HashMap<u64, oneshot::Sender<bool>>,
    last_exec: u64,
    deadline: Option<Instant>,
    /// When what still runs is killed.
    grace: Option<Instant>,
    /// It was ended before anything of the user's ran.
    deleted: bool,
    made_room: bool,
}

impl Life<'_> {
    async fn live(
        &mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut verdicts: mpsc::UnboundedReceiver<Probed>,
        mut reports: mpsc::UnboundedReceiver<()>,
        mut end: oneshot::Receiver<()>,
    ) -> Result<(), String> {
        let mut ending = false;
        loop {
            let timer = [self.deadline, self.grace].into_iter().flatten().min();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Finished) | None => break,
                    Some(Event::Failed(failure)) => {
                        let _ = self.sandbox.kill();
                        self.clean_up().await;
                        return Err(failure.message);
                    }
                    Some(event) => self.take(event).await,
                },
                Some(probed) = verdicts.recv() => self.take_verdict(probed),
                Some(()) = reports.recv() => self.tell_progress(),
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => self.time_is_up(),
                _ = &mut end, if !ending => {
                    ending = true;
                    self.end();
                }
            }
        }
        self.finish().await;
        Ok(())
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Started { container, .. } => {
                self.tracker.started(&container);
                self.start_probes(&container);
                let is_init = self.tracker.planned(&container).is_some_and(|planned| planned.init);
                if !is_init {
                    self.tell_state();
                }
            }
            Event::Exited { container, exit } => {
                self.shop.logs.finish(&self.node, &container).await;
                self.tracker.exited(&container, &exit, |planned, message| {
                    planned.on_host.then(|| advice(&planned.image, message)).flatten()
                });
                if self.tracker.planned(&container).is_some_and(|planned| planned.reports) {
                    self.tell_results();
                }
                self.tell_state();
            }
            Event::ExecExited { id, exit_code, .. } => {
                if let Some(succeeded) = self.execs.remove(&id) {
                    let _ = succeeded.send(exit_code == 0);
                }
            }
            Event::Warning { container, message } => {
                self.show(Happening::Warning(format!("{} ({container}): {message}", self.display_name)));
            }
            Event::Failed(_) | Event::Finished => {}
        }
    }

    fn start_probes(&mut self, container: &str) {
        let Some(planned) = self.tracker.planned(container) else { return };
        let probes = probes_of(planned);
        if !probes.is_empty() {
            let ports = planned.ports.clone();
            self.probes.spawn(probe_container(container.to_owned(), probes, ports, self.probed.clone()));
        }
    }

    fn take_verdict(&mut self, probed: Probed) {
        match probed {
            Probed::Exec { container, command, succeeded } => {
                let env = self.tracker.planned(&container).map(|planned: &Planned| planned.env.clone());
                self.last_exec += 1;
                if self.sandbox.exec(self.last_exec, container, command, env.unwrap_or_default()).is_ok() {
                    self.execs.insert(self.last_exec, succeeded);
                }
            }
            Probed::Verdict { container, purpose: Purpose::Readiness, good } => {
                self.tracker.set_ready(&container, good);
                self.tell_state();
            }
            Probed::Verdict { container, purpose: Purpose::Startup, good: true } => {
                let waits = self.tracker.planned(&container).is_some_and(|planned| planned.readiness.is_some());
                self.tracker.set_ready(&container, !waits);
                self.tell_state();
            }
            Probed::Verdict { good: true, .. } => {}
            // A container that never came up, or works no more, is ended and not started again.
            Probed::Verdict { container, good: false, .. } => {
                let _ = self.sandbox.signal(container, libc::SIGTERM);
                self.start_grace();
            }
        }
    }

    /// Ends the Pod as the kubelet and Argo do: at once while it is pending, else gracefully.
    fn end(&mut self) {
        if !self.tracker.has_started() {
            self.deleted = true;
            let _ = self.sandbox.kill();
            return;
        }
        for container in self.tracker.running() {
            let _ = self.sandbox.signal(container, libc::SIGTERM);
        }
        self.start_grace();
    }

    fn start_grace(&mut self) {
        let until = Instant::now() + Duration::from_secs(self.prepared.grace_seconds);
        self.grace.get_or_insert(until);
    }

    fn time_is_up(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.tracker.end("DeadlineExceeded", DEADLINE);
            for container in self.tracker.running() {
                let _ = self.sandbox.signal(container, libc::SIGTERM);
            }
            self.start_grace();
        }
        if self.grace.is_some_and(|grace| grace <= now) {
            self.grace = None;
            let _ = self.sandbox.kill();
        }
    }

    /// Reports what `wait` has delivered when it has ended, if there is anything.
    fn tell_results(&self) {
        // `wait` is over: nothing more will be reported, also where it had nothing to say.
        let TaskResult { outputs, progress, .. } = self.results().unwrap_or_default();
        let outputs: Box<Outputs> = Box::new(outputs.unwrap_or_default());
        self.tell(Progress::Fact(Fact::TaskResult { node: self.node.clone(), outputs, progress, complete: true }));
    }

    /// Reports progress while the step goes on. Outputs wait for the end of `wait`, which follows at once.
    fn tell_progress(&self) {
        if let Some(TaskResult { outputs: None, progress, .. }) = self.results() {
            let (node, outputs) = (self.node.clone(), Box::default());
            self.tell(Progress::Fact(Fact::TaskResult { node, outputs, progress, complete: false }));
        }
    }

    fn results(&self) -> Option<TaskResult> {
        let text = std::fs::read(&self.prepared.result).ok()?;
        let show = |error| {
            let name = &self.display_name;
            self.show(Happening::Warning(format!("{name}: the results of its step cannot be read: {error}")));
        };
        TaskResult::from_json(&text).map_err(show).ok()
    }

    fn tell_state(&mut self) {
        if self.daemon && !self.made_room && self.tracker.is_ready() {
            self.made_room = true;
            self.tell(Progress::MakesRoom(self.node.clone()));
        }
        if !self.deleted {
            let state = Box::new(self.tracker.state());
            self.tell(Progress::Fact(Fact::Pod { node: self.node.clone(), state }));
        }
    }

    async fn finish(&mut self) {
        self.tracker.finish();
        if self.deleted {
            self.tell(Progress::Fact(Fact::PodGone { node: self.node.clone() }));
        } else {
            self.tell_state();
        }
        self.clean_up().await;
    }

    /// Removes the Pod's folder; what cannot be removed now is removed with the run's next start.
    async fn clean_up(&mut self) {
        self.probes.abort_all();
        self.shop.logs.finish_results(&self.node);
        let folder = self.prepared.folder.clone();
        let removed = tokio::task::spawn_blocking(move || tiphys_sandbox::remove_scratch(&folder)).await;
        if let Ok(Err(error)) = removed {
            let folder = self.prepared.folder.display();
            self.show(Happening::Note(format!("cannot remove {folder}: {error}")));
        }
    }

    fn tell(&self, progress: Progress) {
        let _ = self.to.send(progress);
    }

    fn show(&self, happening: Happening) {
        self.tell(Progress::Show(happening));
    }
}
