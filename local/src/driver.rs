//! Drives a run: tells the engine what happened, does what it decides, writes down what changed before it acts on it.
//!
//! The loop sleeps until a Pod, another process or the user has something to say, or until the time at which the engine
//! wants to be asked again. Killed at any moment it leaves a record from which [`resume`] goes on: nodes that have ended
//! stay as they are, those whose Pods died with the process are run again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tiphys_api::{NodePhase, NodeType, TemplateType, Time, Workflow};
use tiphys_engine::{
    Action, EngineConfig, Fact, Need, NodeId, Plan, PodRequest, RetryOptions, Run, Shutdown, claim_volumes,
    claims_at_hand, keeps_claims, retry_workflow,
};
use tiphys_oci::Registries;
use tiphys_podspec::{Layout, PodConfig, Request as PodInput};
use tokio::sync::mpsc;

use crate::control::{Asked, Control, Request};
use crate::controller_config::{self, ConfigError};
use crate::documents::{Documents, engine_data};
use crate::emissary::{self, EmissaryError};
use crate::file::{FileError, make_dir, read_if_present, replace};
use crate::folder::{DataDir, RunFolder, RunLock};
use crate::images::Images;
use crate::locks::RunLocks;
use crate::logs::Logs;
use crate::memo::Memos;
use crate::name::{BadName, RunName, random_uid};
use crate::pod::{EXECUTOR_IMAGE, PodJob, PodMaker, Progress, Shop, Workplace};
use crate::pods::Pods;
use crate::record::{self, Record, RecordError};
use crate::repository::Repository;
use crate::settings::Settings;
use crate::stand_in;
use crate::tasks::Tasks;
use crate::view::{Happening, NodeView, Observer, WorkflowView};

/// How many facts are taken in before the engine is asked what follows from them.
const BATCH: usize = 256;

/// A run that cannot be driven, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The workflow's name cannot be one.
    #[error(transparent)]
    Name(#[from] BadName),
    /// There is such a run already.
    #[error("there is a run {name} already; choose another name with --name, or go on with it: tiphys resume {name}")]
    Exists {
        /// Its name.
        name: RunName,
    },
    /// Another process drives it.
    #[error("another process drives the run {name}")]
    Driven {
        /// Its name.
        name: RunName,
    },
    /// There is nothing in the run to retry, or the options do not fit.
    #[error("{name} cannot be retried: {reason}")]
    NotRetried {
        /// The run.
        name: RunName,
        /// Why.
        reason: String,
    },
    /// It has ended.
    #[error("the run {name} has ended; `tiphys get {name}` shows how")]
    Ended {
        /// Its name.
        name: RunName,
    },
    /// Its record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no emissary to run steps with.
    #[error(transparent)]
    Emissary(#[from] EmissaryError),
    /// The controller's configuration among the documents is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Settings of images are wrong.
    #[error(transparent)]
    Images(#[from] tiphys_oci::Error),
    /// The embedded artifact store cannot be started.
    #[error("cannot start the artifact store: {0}{cause}", cause = cause(.0))]
    Artifacts(#[from] tiphys_s3server::StartError),
    /// This program's own file cannot be found.
    #[error("cannot find this program's own file, which steps need: {0}")]
    Program(std::io::Error),
    /// The user gave up on it; `resume` goes on.
    #[error("the run {name} was left as it was; go on with: tiphys resume {name}")]
    Abandoned {
        /// Its name.
        name: RunName,
    },
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

/// What the user does to a run by signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// End what runs; exit handlers run.
    Stop,
    /// End everything.
    Terminate,
    /// Leave at once.
    Abandon,
}

/// Kinds of templates that only a cluster, or a later version, can run.
pub const WITHOUT: [TemplateType; 2] = [TemplateType::Resource, TemplateType::Plugin];

/// Where and for whom a run is driven.
pub struct Launch {
    /// The data folder.
    pub data: DataDir,
    /// Who is told what happens.
    pub observer: Observer,
    /// Whether the lines that containers write are told too.
    pub follow_logs: bool,
    /// The user's orders.
    pub interrupts: mpsc::UnboundedReceiver<Interrupt>,
}

/// A run that has its folder and its lock.
struct Claimed {
    folder: RunFolder,
    _lock: RunLock,
}

/// Starts a workflow and drives it to its end. Without a name it gets one from its `generateName`.
///
/// # Errors
/// The run cannot begin, or its record cannot be kept; then its Pods are ended.
pub async fn start(
    launch: Launch,
    mut workflow: Workflow,
    documents: Documents,
    settings: Settings,
) -> Result<Workflow, RunError> {
    let metadata = &mut workflow.metadata;
    let name = match (metadata.name.as_str(), metadata.generate_name.as_str()) {
        ("", "") => RunName::generate("workflow-")?,
        ("", prefix) => RunName::generate(prefix)?,
        (name, _) => RunName::new(name)?,
    };
    let folder = launch.data.run(&name);
    if folder.exists() {
        return Err(if folder.is_driven() { RunError::Driven { name } } else { RunError::Exists { name } });
    }
    let claimed = claim(folder)?;
    metadata.name = name.to_string();
    metadata.uid = random_uid();
    metadata.creation_timestamp = Some(Time::from_second(Timestamp::now().as_second()));
    metadata.generation = 1;
    if metadata.namespace.is_empty() {
        "default".clone_into(&mut metadata.namespace);
    }
    workflow.status = tiphys_api::WorkflowStatus::default();
    save(&claimed.folder.settings(), &settings)?;
    save(&claimed.folder.documents(), &documents)?;
    drive(launch, claimed, workflow, documents, settings, None).await
}

/// Goes on with a run that no process drives. `first` is done to it as if it had been asked of a running one; a run that
/// only waits for the user is resumed where `first` says nothing.
///
/// # Errors
/// As [`start`]; there is no such run, or it has ended.
pub async fn resume(launch: Launch, name: &RunName, first: Vec<Request>) -> Result<Workflow, RunError> {
    let folder = launch.data.run(name);
    record::read(&folder)?;
    let claimed = claim(folder)?;
    // Read again: only now nobody else writes it.
    let workflow = record::read(&claimed.folder)?;
    if workflow.status.phase.is_completed() {
        return Err(RunError::Ended { name: name.clone() });
    }
    let settings = load(&claimed.folder.settings())?;
    let documents = load(&claimed.folder.documents())?;
    drive(launch, claimed, workflow, documents, settings, Some(first)).await
}

/// Runs a workflow that failed again from where it failed: what went well is kept.
///
/// # Errors
/// The run cannot be driven, or there is nothing in it to retry.
pub async fn retry(launch: Launch, name: &RunName, options: RetryOptions) -> Result<Workflow, RunError> {
    let folder = launch.data.run(name);
    record::read(&folder)?;
    let claimed = claim(folder)?;
    let workflow = record::read(&claimed.folder)?;
    let retried = retry_workflow(workflow, options, Timestamp::now())
        .map_err(|reason| RunError::NotRetried { name: name.clone(), reason })?;
    let settings = load(&claimed.folder.settings())?;
    let documents = load(&claimed.folder.documents())?;
    drive(launch, claimed, retried.workflow, documents, settings, Some(Vec::new())).await
}

/// Takes a run for this process, and removes what is left of the Pods of one that was killed.
fn claim(folder: RunFolder) -> Result<Claimed, RunError> {
    folder.make()?;
    let Some(lock) = folder.try_lock()? else {
        return Err(RunError::Driven { name: folder.name().clone() });
    };
    tiphys_sandbox::remove_scratch(&folder.pods()).map_err(FileError::of("remove", folder.pods()))?;
    Ok(Claimed { folder, _lock: lock })
}

fn save<T: serde::Serialize>(path: &std::path::Path, value: &T) -> Result<(), FileError> {
    let json = serde_json::to_vec(value).map_err(|error| FileError::of("write", path)(error.into()))?;
    replace(path, &json, 0o600, true)
}

/// What is missing was never written: the first moments of a run were its last.
fn load<T: serde::de::DeserializeOwned + Default>(path: &std::path::Path) -> Result<T, RecordError> {
    let Some(content) = read_if_present(path)? else { return Ok(T::default()) };
    serde_json::from_slice(&content).map_err(|source| RecordError::Damaged { path: path.to_owned(), source })
}

async fn drive(
    launch: Launch,
    claimed: Claimed,
    workflow: Workflow,
    mut documents: Documents,
    settings: Settings,
    first: Option<Vec<Request>>,
) -> Result<Workflow, RunError> {
    let folder = &claimed.folder;
    make_dir(&folder.pods())?;
    let program = std::env::current_exe().map_err(RunError::Program)?;
    let emissary = emissary::install(&launch.data.bin(), &program)?;
    let record = Record::begin(folder, &workflow)?;
    let repository = Repository::open(settings.artifact_repository.as_ref(), folder, &mut documents).await?;
    let mut config = PodConfig {
        layout: Layout::Legacy,
        executor_image: EXECUTOR_IMAGE.to_owned(),
        artifact_repository: repository.settings.clone(),
        archive_logs: settings.archive_logs,
        log_level: settings.log_level.clone(),
        ..PodConfig::default()
    };
    let defaults = controller_config::apply(&documents, &mut config)?;
    if let Some(store) = repository.stand_in() {
        let redirects = stand_in::provide(&store, &workflow, &mut documents);
        for endpoint in redirects.keys() {
            (launch.observer)(Happening::Warning(format!(
                "no Secret is given for the S3 endpoint {endpoint}: its artifacts are kept with the run instead (give the Secret with --with to use it)"
            )));
        }
        if !redirects.is_empty() {
            config.executor.env.push(stand_in::variable(&redirects));
        }
    }
    let images = Images::new(settings.runtime, launch.data.images(), registries(&settings)?, launch.observer.clone());
    let engine = EngineConfig {
        workflow_defaults: defaults.map(Arc::new),
        rerun_lost_pods: true,
        without: WITHOUT.to_vec(),
        ..EngineConfig::default()
    };
    let (to, progress) = mpsc::unbounded_channel();
    let (asked_to, asked) = mpsc::unbounded_channel();
    let _control = Control::listen(folder, asked_to)?;
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let shop = Shop {
        work: Workplace { run: folder.clone(), host, executor: program, emissary, host_env: host_env() },
        maker: PodMaker {
            workflow_name: workflow.metadata.name.clone(),
            namespace: workflow.metadata.namespace.clone(),
            workflow_uid: workflow.metadata.uid.clone(),
            documents,
            config: Mutex::new(Arc::new(config)),
        },
        images,
        logs: Logs::start(launch.follow_logs.then(|| launch.observer.clone())),
    };
    let shop = Arc::new(shop);
    let name = workflow.metadata.name.clone();
    let now = Timestamp::now();
    let mut driver = Driver {
        locks: RunLocks::of(&workflow, &shop.maker.documents),
        run: Run::restore(workflow, engine, now),
        untold: false,
        record,
        tasks: Tasks::new(shop.clone(), to.clone()),
        memos: Memos::new(launch.data.memos(), &name, repository.is_shared()),
        pods: Pods::new(settings.parallelism, shop.clone(), to),
        shop,
        observer: launch.observer,
        wake_at: None,
        noted_idle: false,
    };
    let channels = Channels { progress, asked, interrupts: launch.interrupts };
    let result = driver.drive(channels, first, folder.name()).await;
    let mut workflow = driver.run.workflow().clone();
    workflow.metadata.resource_version = driver.record.version();
    driver.pods.end_all();
    driver.tasks.end_all();
    drop(driver);
    repository.close().await;
    let _ = tiphys_sandbox::remove_scratch(&folder.pods());
    result.map(|()| workflow)
}

fn registries(settings: &Settings) -> Result<Registries, tiphys_oci::Error> {
    let mut registries = Registries::new();
    for mirror in &settings.mirrors {
        registries = registries.with_mirror(mirror)?;
    }
    match &settings.docker_config {
        Some(path) => registries.with_docker_config(path),
        None => Ok(registries),
    }
}

/// What steps on this machine's own root see of the user's environment: enough to find programs and to speak the
/// user's language, and nothing that may be secret.
fn host_env() -> Vec<(String, String)> {
    const PASSED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM"];
    let mut env: Vec<(String, String)> =
        PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()));
    }
    env
}

/// Where a driver hears from.
struct Channels {
    progress: mpsc::UnboundedReceiver<Progress>,
    asked: mpsc::UnboundedReceiver<Asked>,
    interrupts: mpsc::UnboundedReceiver<Interrupt>,
}

struct Driver {
    run: Run,
    /// Whether the engine was told something since it was last asked what follows.
    untold: bool,
    record: Record,
    memos: Memos,
    pods: Pods,
    tasks: Tasks,
    locks: RunLocks,
    shop: Arc<Shop>,
    observer: Observer,
    /// When the engine wants to be asked again.
    wake_at: Option<Timestamp>,
    noted_idle: bool,
}

impl Driver {
    /// `first` is there when the run is resumed: what was asked for then, or nothing in particular.
    async fn drive(&mut self, mut from: Channels, first: Option<Vec<Request>>, name: &RunName) -> Result<(), RunError> {
        let only_resumed = first.as_ref().is_some_and(Vec::is_empty);
        for request in first.unwrap_or_default() {
            if let Err(reason) = self.obey(request) {
                self.show(Happening::Warning(reason));
            }
        }
        self.plan()?;
        if only_resumed {
            self.resume_if_waiting()?;
        }
        while !(self.run.is_finished() && self.pods.is_empty()) {
            self.note_if_idle();
            let wait = self.wake_at.map(until);
            tokio::select! {
                Some(progress) = from.progress.recv() => {
                    self.take(progress);
                    for _ in 1..BATCH {
                        let Ok(progress) = from.progress.try_recv() else { break };
                        self.take(progress);
                    }
                }
                Some(Asked { request, answer }) = from.asked.recv() => {
                    // Whoever asked may have left.
                    let _ = answer.send(self.obey(request));
                }
                Some(interrupt) = from.interrupts.recv() => match interrupt {
                    Interrupt::Stop => self.observe(Fact::Shutdown(Shutdown::Stop)),
                    Interrupt::Terminate => self.observe(Fact::Shutdown(Shutdown::Terminate)),
                    Interrupt::Abandon => return Err(RunError::Abandoned { name: name.clone() }),
                },
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.plan()?;
        }
        self.clear_claims()?;
        Ok(self.record.renew(self.run.workflow())?)
    }

    /// Removes the folders of the workflow's own claims, where they do not outlive it. What cannot be removed stays in the status.
    fn clear_claims(&mut self) -> Result<(), RunError> {
        let status = &self.run.workflow().status;
        if status.persistent_volume_claims.is_empty() || keeps_claims(self.run.spec(), status.phase) {
            return Ok(());
        }
        let mut left = status.persistent_volume_claims.clone();
        left.retain(|volume| {
            let name = volume["persistentVolumeClaim"]["claimName"].as_str().unwrap_or_default();
            let folder = self.shop.work.run.claim(name);
            let removed = tiphys_sandbox::remove_scratch(&folder);
            if let Err(error) = &removed {
                self.show(Happening::Warning(format!("cannot remove {}: {error}", folder.display())));
            }
            removed.is_err()
        });
        self.observe(Fact::VolumeClaims(left));
        self.plan()
    }

    fn take(&mut self, progress: Progress) {
        match progress {
            // Argo, too, looks at nothing any more once the workflow has ended: not at what a daemon it ended has left.
            Progress::Fact(_) if self.run.is_finished() => {}
            Progress::Fact(fact) => self.observe(fact),
            Progress::Show(happening) => self.show(happening),
            Progress::MakesRoom(node) => self.pods.make_room(&node),
            Progress::Over(node) => self.pods.over(&node),
        }
    }

    fn observe(&mut self, fact: Fact) {
        self.untold = true;
        self.run.observe(fact, Timestamp::now());
    }

    fn show(&self, happening: Happening) {
        (self.observer)(happening);
    }

    /// Asks the engine what follows, writes it down, shows it and does it; again for as long as it lacks facts.
    fn plan(&mut self) -> Result<(), RunError> {
        loop {
            self.untold = false;
            let plan = self.run.plan(Timestamp::now());
            let Plan { changed, status_changed, actions, needs, wake_at } = plan;
            let workflow = self.run.workflow();
            self.record.append(workflow, changed.iter().map(NodeId::as_str), status_changed)?;
            let mut shown: Vec<_> = changed.iter().filter_map(|id| self.run.node(id.as_str())).collect();
            // Parents before what is in them.
            shown.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            for node in shown {
                self.show(Happening::Node(Box::new(NodeView::of(node))));
            }
            if status_changed {
                self.show(Happening::Workflow(WorkflowView::of(workflow)));
            }
            self.wake_at = wake_at;
            for action in actions {
                self.act(action);
            }
            for need in needs {
                let fact = self.answer(need);
                self.observe(fact);
            }
            if !self.untold {
                return Ok(());
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod(request) => self.create(*request),
            Action::KillPod { node, .. } | Action::ReplacePod { node, .. } => {
                if !self.pods.end(&node) {
                    self.observe(Fact::PodGone { node });
                }
            }
            // Sidecars end by themselves here: each has an emissary that sees the main containers end.
            Action::EndSidecars { .. } => {}
            Action::SaveMemo { cache, key, node, created } => {
                let outputs = self.run.node(node.as_str()).and_then(|node| node.outputs.as_deref().cloned());
                if let Err(error) = self.memos.save(&cache, &key, node.as_str(), outputs, Time(created)) {
                    self.show(Happening::Warning(format!("a result is not memoized: {error}")));
                }
            }
            // There is nobody who would ask for metrics.
            Action::Measure(_) => {}
            Action::RunTask(request) => self.tasks.begin(*request),
            Action::EndTask { node } => self.tasks.end(&node),
            Action::AcquireLocks(request) => {
                let facts = self.locks.acquire(*request, &self.shop.maker.documents);
                facts.into_iter().for_each(|fact| self.observe(fact));
            }
            Action::ReleaseLocks(holder) => {
                let facts = self.locks.release(&holder, &self.shop.maker.documents);
                facts.into_iter().for_each(|fact| self.observe(fact));
            }
            // The table of locks goes with the run.
            Action::Finish => {
                self.pods.end_all();
                self.tasks.end_all();
            }
        }
    }

    fn create(&mut self, mut request: PodRequest) {
        match claim_volumes(&self.run.workflow().metadata.name, self.run.spec()) {
            Ok(claims) => request.volumes.extend(claims),
            Err(message) => {
                return self.observe(Fact::PodRefused { node: request.node, message, transient: false });
            }
        }
        let display_name = self.run.node(request.node.as_str()).map(|node| node.display_name.clone());
        let spec = self.run.spec().clone();
        self.pods.create(&request.node.clone(), |end| PodJob {
            display_name: display_name.unwrap_or_default(),
            spec,
            variables: request.all_variables(),
            request: PodInput {
                node_id: request.node.to_string(),
                node_name: request.node_name,
                pod_name: request.pod_name,
                template: request.template,
                boundary: request.boundary,
                on_exit: request.on_exit,
                include_script_output: request.include_script_output,
                deadline: request.deadline,
                active_deadline_seconds: request.active_deadline_seconds,
                volumes: request.volumes,
                avoid_hosts: request.avoid_hosts,
                trace: None,
            },
            end,
        });
    }

    fn answer(&self, need: Need) -> Fact {
        let documents = &self.shop.maker.documents;
        match need {
            Need::Template { cluster_scope, name } => {
                let (spec, kind) = if cluster_scope {
                    (documents.cluster_template(&name).map(|template| &template.spec), "clusterworkflowtemplates")
                } else {
                    (documents.template(&name).map(|template| &template.spec), "workflowtemplates")
                };
                // The API server's words for what is not there.
                let absent = || format!("{kind}.argoproj.io \"{name}\" not found");
                let found = spec.cloned().map(Box::new).ok_or_else(absent);
                Fact::Template { cluster_scope, name, found }
            }
            Need::ConfigMap { namespace, name } => {
                let found = Ok(documents.config_map(&name).map(engine_data));
                Fact::ConfigMap { namespace, name, found }
            }
            // Their folders are made with the first Pod that mounts them.
            Need::VolumeClaims => claims_at_hand(&self.run.workflow().metadata.name, self.run.spec()),
            Need::Memo { cache, key } => {
                let found = self.memos.load(&cache, &key).map_err(|error| error.to_string());
                Fact::Memo { cache, key, found }
            }
        }
    }

    /// Does what another process, or the user at the start, asks for.
    fn obey(&mut self, request: Request) -> Result<(), String> {
        match request {
            Request::Stop => self.observe(Fact::Shutdown(Shutdown::Stop)),
            Request::Terminate => self.observe(Fact::Shutdown(Shutdown::Terminate)),
            Request::Suspend => self.observe(Fact::Suspended(true)),
            Request::Resume { node: None, parameters } if parameters.is_empty() => {
                self.observe(Fact::Suspended(false));
            }
            Request::Resume { node, parameters } => return self.resume_nodes(node.as_deref(), &parameters),
            Request::Watch => {}
        }
        Ok(())
    }

    fn resume_nodes(&mut self, which: Option<&str>, parameters: &BTreeMap<String, String>) -> Result<(), String> {
        let suspended: Vec<NodeId> = self.suspended_nodes(which).collect();
        if suspended.is_empty() {
            return Err(match which {
                Some(name) => format!("no suspended node is named {name:?}"),
                None => "no node is suspended".to_owned(),
            });
        }
        for node in suspended {
            let parameters = parameters.clone();
            let phase = Some(NodePhase::Succeeded);
            self.observe(Fact::SuspendNode { node, phase, message: String::new(), parameters });
        }
        Ok(())
    }

    fn suspended_nodes<'a>(&'a self, which: Option<&'a str>) -> impl Iterator<Item = NodeId> + 'a {
        let nodes = self.run.workflow().status.nodes.values();
        nodes
            .filter(|node| node.r#type == NodeType::Suspend && node.phase == NodePhase::Running)
            .filter(move |node| {
                which.is_none_or(|name| [&node.id, &node.name, &node.display_name].contains(&&name.to_owned()))
            })
            .map(|node| NodeId::from(node.id.as_str()))
    }

    /// Whether nothing is under way and nothing will begin by itself.
    fn is_idle(&self) -> bool {
        self.pods.is_empty() && self.tasks.is_empty() && self.wake_at.is_none()
    }

    /// Whether nothing will happen unless the user does something.
    fn waits_for_user(&self) -> bool {
        !self.run.is_finished()
            && self.is_idle()
            && (self.run.workflow().spec.suspend == Some(true) || self.suspended_nodes(None).next().is_some())
    }

    /// Whether nothing can happen any more because locks are held by what is around those who wait for them.
    fn waits_for_itself(&self) -> bool {
        let mut nodes = self.run.workflow().status.nodes.values();
        !self.run.is_finished() && self.is_idle() && nodes.any(|node| node.synchronization_status.is_some())
    }

    /// A resumed run that only waits for the user need not wait any longer: this is what it waited for.
    fn resume_if_waiting(&mut self) -> Result<(), RunError> {
        if self.waits_for_user() {
            self.observe(Fact::Suspended(false));
            self.plan()?;
        }
        Ok(())
    }

    fn note_if_idle(&mut self) {
        let (waits, locked) = (self.waits_for_user(), self.waits_for_itself());
        let name = &self.run.workflow().metadata.name;
        if waits && !self.noted_idle {
            self.show(Happening::Note(format!("suspended; go on with: tiphys resume {name}")));
        } else if locked && !self.noted_idle {
            let what = "what waits for a lock waits for a step that cannot end before it; end the run with";
            self.show(Happening::Warning(format!("{what}: tiphys stop {name}")));
        }
        self.noted_idle = waits || locked;
    }
}

/// How long it is until a moment, rounded up: a timer that fires early would only have to be set again.
fn until(moment: Timestamp) -> Duration {
    let nanos = moment.as_nanosecond() - Timestamp::now().as_nanosecond();
    Duration::from_millis(u64::try_from(nanos.max(0) / 1_000_000 + 1).unwrap_or(u64::MAX / 2_000_000))
}
