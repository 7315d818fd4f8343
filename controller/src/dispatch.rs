//! Hands what the watches tell to the workflows it is about, and begins and forgets workflows.
//!
//! All workflows are known here, and those are driven whose shard is this replica's ([`shards`](crate::shards)). When a shard
//! comes, its workflows are taken up as after a restart; when it goes, nothing of them is left. Where a limit of parallelism
//! concerns a workflow, it waits here until the first shard's holder has labelled it as admitted.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;
use tiphys_contract::label;
use tiphys_engine::{Fact, Shutdown};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

use crate::cluster::Cluster;
use crate::persistence::PersistenceOptions;
use crate::shards::{Change, FIRST, shard_of};
use crate::workflow::{Ending, Message, collect_caches, drive, strays};
use crate::{cron, ended, locks, parallelism, persistence, retention, telemetry, ttl};
use tiphys_kubernetes::{
    Api, Collection, Event, Gate, Kind, METADATA_ALONE, Metadata, ObjectMeta, Pod, TaskResultObject, TaskSetObject,
    watch,
};

/// What one of the watches tells.
enum Told {
    Workflow(Event<ObjectMeta>),
    Pod(Event<Pod>),
    TaskResult(Event<TaskResultObject>),
    TaskSet(Event<TaskSetObject>),
    ConfigMap(Event<ObjectMeta>),
    /// Workflows that hold locks and have not been given to the first shard yet.
    LockHolders(Vec<Key>),
    /// Pods that nobody has let go of, of whatever workflow.
    NotLetGoOf(Vec<Pod>),
}

/// Namespace and name.
type Key = (String, String);

/// A workflow that is driven here.
struct Known {
    uid: String,
    shard: u32,
    /// Whether a place is its by what was last seen of it.
    has_place: bool,
    to: UnboundedSender<Message>,
    task: AbortHandle,
}

/// A workflow that is not driven here: its shard is another's, or it waits for a place.
struct Elsewhere {
    uid: String,
    shard: u32,
    /// Whether it has begun or may, and whether it is being deleted.
    has_place: bool,
    ends: bool,
}

/// Watches, and drives the workflows of this controller's instance that are of this replica's shards, until nobody is left
/// who could tell which those are.
///
/// `namespace` is the one that is looked at, all where it is empty. Nothing is watched before the first shard is ours.
pub async fn run(
    cluster: Arc<Cluster>,
    namespace: &str,
    persistence: PersistenceOptions,
    mut shards: mpsc::Receiver<Change>,
) {
    let began = SystemTime::now();
    let Some(mut change) = shards.recv().await else { return };
    let (to, mut told) = mpsc::channel(1024);
    let instance = instance_selector(&cluster.config().pod.instance_id);
    let _watches = watches(&cluster, namespace, &instance, to.clone());
    let (health, mut limits) = (cluster.health.clone(), cluster.parallelism.limits());
    health.works();
    let whole = Whole { namespace: namespace.to_owned(), instance, persistence, to };
    let mut dispatch = Dispatch::new(cluster, whole, began);
    loop {
        dispatch.change(change);
        change = loop {
            tokio::select! {
                change = shards.recv() => match change {
                    Some(change) => break change,
                    None => return,
                },
                Some(event) = told.recv() => dispatch.take(event),
                Ok(()) = limits.changed() => dispatch.take_up(),
                Some(ping) = health.asked() => drop(ping.send(())),
                Some(ended) = dispatch.driven.join_next() => match ended {
                    Ok((key, uid, ending)) => dispatch.ended(key, uid, ending),
                    // Its shard is somebody else's.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => {
                        dispatch.cluster.metrics.error("OperationPanic");
                        tracing::error!(%error, "a workflow's task died");
                    }
                },
                Some(_) = dispatch.sweep.join_next() => dispatch.sweep(),
            }
        };
    }
}

/// The label selector of a controller instance's objects. argo: workflow/util, GenerateLabelSelector.
pub(crate) fn instance_selector(instance: &str) -> String {
    match instance {
        "" => format!("!{}", label::CONTROLLER_INSTANCE_ID),
        instance => format!("{}={instance}", label::CONTROLLER_INSTANCE_ID),
    }
}

/// Those of its objects that are not over.
pub(crate) fn unfinished(instance: &str) -> String {
    format!("{instance},{}!=true", label::COMPLETED)
}

fn not_let_go_of(instance: &str) -> String {
    format!("{instance},{}=false", label::COMPLETED)
}

fn watches(cluster: &Arc<Cluster>, namespace: &str, instance: &str, to: mpsc::Sender<Told>) -> JoinSet<()> {
    let unfinished = unfinished(instance);
    let mut watches = JoinSet::new();
    let mut begin = |watch| drop(watches.spawn(watch));
    let metadata = Some(METADATA_ALONE);
    let source = |kind: Kind| (cluster.api.clone(), kind.within(namespace), to.clone());
    begin(follow(source(Kind::Workflow), unfinished.clone(), metadata, Told::Workflow).boxed());
    begin(follow(source(Kind::Pod), not_let_go_of(instance), None, Told::Pod).boxed());
    let results = format!("{instance},{}", label::WORKFLOW);
    begin(follow(source(Kind::WorkflowTaskResult), results, None, Told::TaskResult).boxed());
    begin(follow(source(Kind::WorkflowTaskSet), unfinished, None, Told::TaskSet).boxed());
    begin(follow(source(Kind::ConfigMap), String::new(), metadata, Told::ConfigMap).boxed());
    begin(parallelism::follow_namespaces(cluster.clone(), namespace.to_owned()).boxed());
    watches
}

/// Watches a collection, and passes on what it tells as fast as that is taken in.
pub(crate) async fn follow<T: DeserializeOwned, M>(
    (api, collection, to): (Api, Collection, mpsc::Sender<M>),
    selector: String,
    forms: Option<(&'static str, &'static str)>,
    told: fn(Event<T>) -> M,
) {
    let (events, next) = mpsc::unbounded_channel();
    let watched = watch::<T>(&api, &collection, &selector, forms, |event| events.send(event).is_ok());
    tokio::join!(watched, forward(next, to, told));
}

async fn forward<T, M>(mut from: UnboundedReceiver<Event<T>>, to: mpsc::Sender<M>, told: fn(Event<T>) -> M) {
    while let Some(event) = from.recv().await {
        if to.send(told(event)).await.is_err() {
            return;
        }
    }
}

/// What concerns all workflows, and is done by whoever has the first shard.
struct Whole {
    namespace: String,
    instance: String,
    persistence: PersistenceOptions,
    to: mpsc::Sender<Told>,
}

impl Whole {
    /// Begins it; it ends with what is given back.
    fn begin(&self, cluster: &Arc<Cluster>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let names = || (cluster.clone(), self.namespace.clone(), self.instance.clone());
        let (all, namespace, instance) = names();
        tasks.spawn(ended::follow(all, namespace, instance));
        let (all, namespace, instance) = names();
        tasks.spawn(cron::run(all, namespace, instance));
        let (all, namespace, instance) = names();
        tasks.spawn(persistence::keep(all, namespace, instance));
        let (all, namespace, instance) = names();
        tasks.spawn(retention::keep(all, namespace, instance));
        tasks.spawn(parallelism::admit(cluster.clone(), self.namespace.clone(), unfinished(&self.instance)));
        tasks.spawn(persistence::collect(cluster.clone(), self.persistence.clone()));
        tasks.spawn(locks::keep(cluster.clone()));
        tasks.spawn(collect_caches(cluster.clone()));
        tasks
    }
}

struct Dispatch {
    /// What is not of any shard.
    cluster: Arc<Cluster>,
    whole: Whole,
    /// The shards that are ours.
    shards: FxHashMap<u32, Arc<Cluster>>,
    /// What is done for all workflows, while the first is one of them.
    all: JoinSet<()>,
    workflows: FxHashMap<Key, Known>,
    elsewhere: FxHashMap<Key, Elsewhere>,
    driven: JoinSet<(Key, String, Ending)>,
    /// Shards whose workflows that are over have no timers yet, and who sets them for others.
    unswept: FxHashSet<u32>,
    sweep: JoinSet<()>,
    /// Workflows in the list that is being read, and uids of Pods.
    listed_workflows: FxHashSet<Key>,
    listed: FxHashSet<String>,
    /// Whether all workflows have been told once.
    complete: bool,
    /// When this process began, and when the first shard was its.
    began: (SystemTime, SystemTime),
}

impl Dispatch {
    fn new(cluster: Arc<Cluster>, whole: Whole, began: SystemTime) -> Dispatch {
        Dispatch {
            cluster,
            whole,
            shards: FxHashMap::default(),
            all: JoinSet::new(),
            workflows: FxHashMap::default(),
            elsewhere: FxHashMap::default(),
            driven: JoinSet::new(),
            unswept: FxHashSet::default(),
            sweep: JoinSet::new(),
            listed_workflows: FxHashSet::default(),
            listed: FxHashSet::default(),
            complete: false,
            began: (began, SystemTime::now()),
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Begin { shard, gate } => self.shard_begins(shard, gate),
            Change::End { shard, done } => {
                self.shard_ends(shard);
                let _ = done.send(());
            }
        }
        self.cluster.holds(self.shards.len());
    }

    /// A shard is ours: its workflows are taken up.
    fn shard_begins(&mut self, shard: u32, gate: Arc<Gate>) {
        let cluster = Arc::new(self.cluster.of_shard(shard, gate));
        self.shards.insert(shard, cluster.clone());
        if shard == FIRST {
            // What was known of locks when it was ours before is out of date.
            self.cluster.locks.forget_all();
            self.cluster.metrics.leads(true);
            self.all = self.whole.begin(&cluster);
        }
        self.take_up();
        if shard == FIRST && self.complete {
            self.all_known();
        }
        self.unswept.insert(shard);
        self.sweep();
    }

    /// Begins those that are not driven here, and could be: a shard has come, or limits have changed.
    fn take_up(&mut self) {
        let ours = self.elsewhere.iter().filter(|(key, one)| self.may_begin(key, one));
        let ours: Vec<Key> = ours.map(|(key, _)| key.clone()).collect();
        for key in &ours {
            if self.elsewhere.get(key).is_some_and(|one| one.has_place) {
                self.cluster.parallelism.works(key);
            }
        }
        for key in ours {
            if let Some(one) = self.elsewhere.remove(&key) {
                self.begin(key, one);
            }
        }
    }

    /// Whether a workflow is ours to begin. One controller gives places while it drives; of several, who has the first shard.
    fn may_begin(&self, (namespace, _): &Key, one: &Elsewhere) -> bool {
        let gives_places = self.cluster.shards == 1;
        let needs_none = || one.has_place || one.ends || !self.cluster.parallelism.concerns(namespace);
        self.shards.contains_key(&one.shard) && (gives_places || needs_none())
    }

    /// A shard is no longer ours: its workflows are let go of as they are.
    fn shard_ends(&mut self, shard: u32) {
        self.shards.remove(&shard);
        self.unswept.remove(&shard);
        if shard == FIRST {
            self.all.abort_all();
            // What its workflows hold in the database is theirs still, under whoever drives them now.
            self.cluster.locks.forget_all();
            self.cluster.metrics.leads(false);
        }
        let theirs = self.workflows.iter().filter(|(_, known)| known.shard == shard);
        // A place that was given may not show yet. One that is let go of gives its place to others.
        let has_place = |key, known: &Known| known.has_place || self.cluster.parallelism.has_place(key);
        for (key, has_place) in theirs.map(|(key, one)| (key.clone(), has_place(key, one))).collect::<Vec<_>>() {
            let Some(known) = self.workflows.remove(&key) else { continue };
            self.let_go(&key, &known);
            // Whoever gets it looks for itself.
            self.elsewhere.insert(key, Elsewhere { uid: known.uid, shard, has_place, ends: false });
        }
    }

    /// A workflow that was not driven here is gone: nobody waits for what it may hold.
    fn forget_elsewhere(&self, (namespace, name): &Key) {
        if self.shards.contains_key(&FIRST) {
            self.cluster.locks.leave(&self.cluster, &locks::key(namespace, name));
        }
    }

    fn let_go(&self, key: &Key, known: &Known) {
        known.task.abort();
        self.forget(key, known.shard);
    }

    /// What is kept for a workflow beside its task goes.
    fn forget(&self, key: &Key, shard: u32) {
        if shard == FIRST {
            self.cluster.locks.leave(&self.cluster, &locks::key(&key.0, &key.1));
        }
        self.cluster.parallelism.leave(key);
    }

    /// The first shard is ours, and all workflows that are not over are known.
    fn all_known(&mut self) {
        self.expect_locks();
        let Some(first) = self.shards.get(&FIRST).cloned() else { return };
        let Whole { namespace, instance, to, .. } = &self.whole;
        let (collection, selector) = (Kind::Pod.within(namespace), not_let_go_of(instance));
        let to = to.clone();
        self.all.spawn(async move {
            let told = |pods| to.send(Told::NotLetGoOf(pods));
            strays::find(&first, &collection, &selector, told).await;
        });
    }

    /// Those that hold locks have to say so before anybody gets one.
    fn expect_locks(&self) {
        let keys = self.workflows.iter().filter(|(_, known)| known.shard == FIRST);
        let keys: Vec<String> = keys.map(|((namespace, name), _)| locks::key(namespace, name)).collect();
        if self.cluster.shards == 1 {
            return self.cluster.locks.expect(&self.cluster, keys.into_iter());
        }
        // Where shards are new, holders may be of any; and one of the first may wait for a place.
        let (Some(first), whole) = (self.shards.get(&FIRST).cloned(), &self.whole) else { return };
        let selector = unfinished(&whole.instance);
        let (namespace, to) = (whole.namespace.clone(), whole.to.clone());
        let gather = async move {
            let holders = locks::holders(&first, &namespace, &selector).await;
            let holders = holders.into_iter().map(|one| (one.namespace, one.name)).collect();
            let _ = to.send(Told::LockHolders(holders)).await;
        };
        tokio::spawn(gather);
    }

    /// Sets timers for what was over before its shard was ours.
    fn sweep(&mut self) {
        if self.unswept.is_empty() || !self.sweep.is_empty() {
            return;
        }
        let unswept = self.unswept.drain();
        let swept = unswept.filter_map(|shard| Some((shard, self.shards.get(&shard)?.clone()))).collect();
        let Whole { namespace, instance, .. } = &self.whole;
        self.sweep.spawn(ttl::sweep(self.cluster.clone(), namespace.clone(), instance.clone(), swept));
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Workflow(event) => self.workflow(event),
            Told::Pod(Event::Page(pods)) => {
                for pod in pods {
                    self.listed.insert(pod.metadata.uid.clone());
                    self.pod(pod, |pod| Message::Pod(pod, Instant::now()));
                }
            }
            Told::Pod(Event::Listed) => {
                let listed = Arc::new(std::mem::take(&mut self.listed));
                for known in self.workflows.values() {
                    let _ = known.to.send(Message::PodsListed(listed.clone()));
                }
            }
            Told::Pod(Event::Applied(pod)) => self.pod(pod, |pod| Message::Pod(pod, Instant::now())),
            Told::Pod(Event::Deleted(pod)) => self.pod(pod, Message::PodGone),
            Told::TaskResult(Event::Page(results)) => results.into_iter().for_each(|result| self.result(result)),
            Told::TaskResult(Event::Applied(result)) => self.result(result),
            Told::TaskSet(Event::Page(sets)) => sets.into_iter().for_each(|set| self.task_set(set)),
            Told::TaskSet(Event::Applied(set)) => self.task_set(set),
            Told::ConfigMap(Event::Applied(map) | Event::Deleted(map)) => {
                self.cluster.locks.changed(&self.cluster, &map.metadata.namespace, &map.metadata.name);
            }
            Told::ConfigMap(Event::Page(maps)) => {
                // What changed while nothing was told is not known.
                for map in maps {
                    self.cluster.locks.changed(&self.cluster, &map.metadata.namespace, &map.metadata.name);
                }
            }
            Told::ConfigMap(Event::Listed) => {}
            Told::NotLetGoOf(pods) => self.let_strays_go(pods),
            Told::LockHolders(elsewhere) => {
                let keys = self.workflows.iter().filter(|(_, known)| known.shard == FIRST).map(|(key, _)| key);
                let keys = keys.chain(elsewhere.iter().filter(|key| self.is_there(key)));
                let keys: Vec<String> = keys.map(|(namespace, name)| locks::key(namespace, name)).collect();
                self.cluster.locks.expect(&self.cluster, keys.into_iter());
            }
            Told::TaskResult(Event::Deleted(_) | Event::Listed) | Told::TaskSet(Event::Deleted(_) | Event::Listed) => {}
        }
    }

    fn is_there(&self, key: &Key) -> bool {
        self.workflows.contains_key(key) || self.elsewhere.contains_key(key)
    }

    fn workflow(&mut self, event: Event<ObjectMeta>) {
        match event {
            Event::Page(all) => {
                for one in all {
                    self.listed_workflows.insert((one.metadata.namespace.clone(), one.metadata.name.clone()));
                    self.applied(one.metadata);
                }
            }
            Event::Applied(one) => self.applied(one.metadata),
            Event::Deleted(one) => self.left(one.metadata),
            Event::Listed => {
                let listed = std::mem::take(&mut self.listed_workflows);
                for (_, known) in self.workflows.iter().filter(|(key, _)| !listed.contains(*key)) {
                    // It went while nobody watched, or is over; the object tells.
                    let _ = known.to.send(Message::Changed { version: String::new() });
                }
                let gone: Vec<Key> =
                    self.elsewhere.extract_if(|key, _| !listed.contains(key)).map(|(key, _)| key).collect();
                gone.iter().for_each(|key| self.forget_elsewhere(key));
                if !std::mem::replace(&mut self.complete, true) {
                    if let Some(spans) = &self.cluster.traces {
                        telemetry::started(spans, self.began.0, self.began.1);
                    }
                    if self.shards.contains_key(&FIRST) {
                        self.all_known();
                    }
                }
                self.cluster.parallelism.open();
                self.cluster.health.listed();
            }
        }
    }

    /// It is gone, or it left the selection as one that is completed: the event has it as it was before that. Which of the two
    /// shows to whoever drives it, unless the change was its own.
    fn left(&mut self, metadata: Metadata) {
        if metadata.label(label::COMPLETED) != "true" {
            self.cluster.metrics.custom.forget(&metadata.uid);
        }
        let key = (metadata.namespace, metadata.name);
        if let Some(known) = self.workflows.get(&key)
            && known.uid == metadata.uid
        {
            let _ = known.to.send(Message::Changed { version: metadata.resource_version });
        } else if self.elsewhere.remove(&key).is_some() {
            self.forget_elsewhere(&key);
        }
    }

    fn applied(&mut self, metadata: Metadata) {
        let shard = shard_of(&metadata, self.cluster.shards);
        // Somebody has deleted it, and it waits for its artifacts to go: what is at work is ended first.
        let ends = metadata.deletion_timestamp.is_some();
        let has_place = parallelism::has_place(&metadata);
        let key = (metadata.namespace, metadata.name);
        if let Some(known) = self.workflows.get_mut(&key) {
            known.has_place = has_place;
        }
        if let Some(known) = self.workflows.get(&key) {
            let changed = Message::Changed { version: metadata.resource_version };
            if known.uid != metadata.uid {
                let _ = known.to.send(Message::Deleted);
                self.forget(&key, known.shard);
            } else if known.shard != shard {
                // It was given to the first shard, and has nothing more to say here.
                self.let_go(&key, known);
            } else if known.to.send(changed).is_ok() {
                if ends {
                    let _ = known.to.send(terminate());
                }
                return;
            }
            // Otherwise nobody listens any more: its task has ended or died, and another one takes over.
            self.workflows.remove(&key);
        }
        let one = Elsewhere { uid: metadata.uid, shard, has_place, ends };
        let before = self.elsewhere.remove(&key);
        if before.is_some_and(|before| before.uid != one.uid) {
            self.forget_elsewhere(&key);
        }
        if !self.may_begin(&key, &one) {
            self.elsewhere.insert(key, one);
            return;
        }
        if has_place {
            self.cluster.parallelism.works(&key);
        }
        self.begin(key, one);
    }

    /// Drives a workflow of one of our shards from here on.
    fn begin(&mut self, key: Key, Elsewhere { uid, shard, has_place, ends }: Elsewhere) {
        let Some(cluster) = self.shards.get(&shard).cloned() else { return };
        let (to, inbox) = mpsc::unbounded_channel();
        if ends {
            let _ = to.send(terminate());
        }
        let (known, owner, to_self) = (key.clone(), uid.clone(), to.clone());
        let task = self.driven.spawn(async move {
            let ending = drive(cluster, key.0.clone(), key.1.clone(), uid.clone(), inbox, to_self).await;
            (key, uid, ending)
        });
        self.workflows.insert(known, Known { uid: owner, shard, has_place, to, task });
    }

    fn find(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.workflows.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn pod(&mut self, pod: Pod, message: fn(Box<Pod>) -> Message) {
        if let Some(known) = self.find(&pod.metadata.namespace, pod.metadata.label(label::WORKFLOW)) {
            let _ = known.to.send(message(Box::new(pod)));
        } else if strays::is_held(&pod.metadata) {
            self.let_strays_go(vec![pod]);
        }
    }

    /// Lets go of Pods of workflows that nobody drives.
    fn let_strays_go(&self, pods: Vec<Pod>) {
        let key = |pod: &Pod| (pod.metadata.namespace.clone(), pod.metadata.label(label::WORKFLOW).to_owned());
        let strays: Vec<Pod> = pods.into_iter().filter(|pod| !self.is_there(&key(pod))).collect();
        if let Some(first) = self.shards.get(&FIRST).filter(|_| !strays.is_empty()) {
            tokio::spawn(strays::let_go(first.clone(), strays));
        }
    }

    fn result(&mut self, result: TaskResultObject) {
        if let Some(known) = self.find(&result.metadata.namespace, result.metadata.label(label::WORKFLOW)) {
            let _ = known.to.send(Message::TaskResult(Box::new(result)));
        }
    }

    fn task_set(&mut self, set: TaskSetObject) {
        if let Some(known) = self.find(&set.metadata.namespace, &set.metadata.name) {
            let _ = known.to.send(Message::TaskSet(Box::new(set)));
        }
    }

    fn ended(&mut self, key: Key, uid: String, ending: Ending) {
        tracing::info!(namespace = key.0, workflow = key.1, ?ending, "workflow ended");
        // Another of the same name may have begun, or the same one once more.
        let Some(known) = self.workflows.get(&key).filter(|known| known.uid == uid && known.to.is_closed()) else {
            return;
        };
        let one = Elsewhere { uid, shard: known.shard, has_place: known.has_place, ends: false };
        self.workflows.remove(&key);
        self.forget(&key, one.shard);
        match ending {
            Ending::Reopened => self.begin(key, one),
            // What it asked for may have been refused because its shard is lost, of which we are told later.
            Ending::Refused => drop(self.elsewhere.insert(key, one)),
            Ending::Over | Ending::Deleted => {}
        }
    }
}

fn terminate() -> Message {
    Message::Fact(Fact::Shutdown(Shutdown::Terminate))
}
