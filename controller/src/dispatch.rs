//! Hands what the watches tell to the workflows it is about, and begins and forgets workflows.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;
use tiphys_contract::label;
use tiphys_engine::{Fact, Shutdown};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::workflow::{Ending, Message, Strays, drive};
use crate::{cron, ended, locks, parallelism, persistence, retention, ttl};
use tiphys_kubernetes::{
    Api, Collection, Event, Kind, METADATA_ALONE, ObjectMeta, Pod, TaskResultObject, TaskSetObject, watch,
};

/// What one of the watches tells.
enum Told {
    Workflow(Event<ObjectMeta>),
    Pod(Event<Pod>),
    TaskResult(Event<TaskResultObject>),
    TaskSet(Event<TaskSetObject>),
    ConfigMap(Event<ObjectMeta>),
}

/// Namespace and name.
type Key = (String, String);

struct Known {
    uid: String,
    to: UnboundedSender<Message>,
}

/// Watches, and drives every workflow of this controller's instance until `stop` is done.
///
/// `namespace` is the one that is looked at, all where it is empty.
pub async fn run(cluster: Arc<Cluster>, namespace: &str, stop: impl Future<Output = ()>) {
    let (to, mut told) = mpsc::channel(1024);
    let instance = instance_selector(&cluster.config().pod.instance_id);
    let _watches = watches(&cluster, namespace, &instance, to);
    let _sweep = tokio::spawn(ttl::sweep(cluster.clone(), namespace.to_owned(), instance.clone()));
    let _ended = tokio::spawn(ended::follow(cluster.clone(), namespace.to_owned(), instance.clone()));
    let _schedules = tokio::spawn(cron::run(cluster.clone(), namespace.to_owned(), instance.clone()));
    let _archiving = tokio::spawn(persistence::keep(cluster.clone(), namespace.to_owned(), instance.clone()));
    tokio::spawn(retention::keep(cluster.clone(), namespace.to_owned(), instance));
    tokio::spawn(parallelism::follow_namespaces(cluster.clone(), namespace.to_owned()));
    let health = cluster.health.clone();
    health.works();
    let mut dispatch = Dispatch {
        cluster,
        workflows: FxHashMap::default(),
        listed: FxHashSet::default(),
        strays: Some(FxHashMap::default()),
        all_listed: [false; 2],
    };
    let mut driven: JoinSet<(Key, String, Ending)> = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            event = told.recv() => match event {
                Some(event) => dispatch.take(event, &mut driven),
                None => return,
            },
            Some(ping) = health.asked() => drop(ping.send(())),
            Some(ended) = driven.join_next() => match ended {
                Ok((key, uid, ending)) => {
                    dispatch.ended(&key, &uid, ending);
                    // Unless another one has taken over already.
                    if ending == Ending::Reopened && !dispatch.workflows.contains_key(&key) {
                        dispatch.begin(key, uid, None, &mut driven);
                    }
                }
                Err(error) => {
                    dispatch.cluster.metrics.error("OperationPanic");
                    tracing::error!(%error, "a workflow's task died");
                }
            },
            () = &mut stop => return,
        }
    }
}

/// The label selector of a controller instance's objects. argo: workflow/util, GenerateLabelSelector.
fn instance_selector(instance: &str) -> String {
    match instance {
        "" => format!("!{}", label::CONTROLLER_INSTANCE_ID),
        instance => format!("{}={instance}", label::CONTROLLER_INSTANCE_ID),
    }
}

fn watches(cluster: &Arc<Cluster>, namespace: &str, instance: &str, to: mpsc::Sender<Told>) -> JoinSet<()> {
    let unfinished = format!("{instance},{}!=true", label::COMPLETED);
    let mut watches = JoinSet::new();
    let mut begin = |watch| drop(watches.spawn(watch));
    let metadata = Some(METADATA_ALONE);
    let source = |kind: Kind| (cluster.api.clone(), kind.within(namespace), to.clone());
    begin(follow(source(Kind::Workflow), unfinished.clone(), metadata, Told::Workflow).boxed());
    let steps = format!("{instance},{}=false", label::COMPLETED);
    begin(follow(source(Kind::Pod), steps, None, Told::Pod).boxed());
    let results = format!("{instance},{}", label::WORKFLOW);
    begin(follow(source(Kind::WorkflowTaskResult), results, None, Told::TaskResult).boxed());
    begin(follow(source(Kind::WorkflowTaskSet), unfinished, None, Told::TaskSet).boxed());
    begin(follow(source(Kind::ConfigMap), String::new(), metadata, Told::ConfigMap).boxed());
    watches
}

/// Watches a collection, and passes on what it tells as fast as that is taken in.
async fn follow<T: DeserializeOwned>(
    (api, collection, to): (Api, Collection, mpsc::Sender<Told>),
    selector: String,
    forms: Option<(&'static str, &'static str)>,
    told: fn(Event<T>) -> Told,
) {
    let (events, next) = mpsc::unbounded_channel();
    let watched = watch::<T>(&api, &collection, &selector, forms, |event| events.send(event).is_ok());
    tokio::join!(watched, forward(next, to, told));
}

async fn forward<T>(mut from: UnboundedReceiver<Event<T>>, to: mpsc::Sender<Told>, told: fn(Event<T>) -> Told) {
    while let Some(event) = from.recv().await {
        if to.send(told(event)).await.is_err() {
            return;
        }
    }
}

struct Dispatch {
    cluster: Arc<Cluster>,
    workflows: FxHashMap<Key, Known>,
    /// Uids of Pods in the list that is being read.
    listed: FxHashSet<String>,
    /// Pods of workflows that are not known, until all workflows and Pods have been listed for the first time.
    strays: Option<FxHashMap<Key, Strays>>,
    /// Whether all workflows have been listed, and whether all Pods have.
    all_listed: [bool; 2],
}

impl Dispatch {
    fn take(&mut self, told: Told, driven: &mut JoinSet<(Key, String, Ending)>) {
        match told {
            Told::Workflow(event) => self.workflow(event, driven),
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
                self.all_listed[1] = true;
                self.let_go_of_strays();
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
            Told::TaskResult(Event::Deleted(_) | Event::Listed) | Told::TaskSet(Event::Deleted(_) | Event::Listed) => {}
        }
    }

    fn workflow(&mut self, event: Event<ObjectMeta>, driven: &mut JoinSet<(Key, String, Ending)>) {
        match event {
            Event::Page(all) => all.into_iter().for_each(|one| self.applied(one, driven)),
            Event::Applied(one) => self.applied(one, driven),
            Event::Deleted(one) => {
                // It is gone, or it left the selection as one that is completed: the event has it as it was before that. Which
                // of the two shows to whoever drives it, unless the change was its own.
                if let Some(known) = self.find(&one.metadata.namespace, &one.metadata.name)
                    && known.uid == one.metadata.uid
                {
                    let _ = known.to.send(Message::Changed { version: one.metadata.resource_version });
                }
            }
            Event::Listed => {
                let keys = self.workflows.keys().map(|(namespace, name)| locks::key(namespace, name));
                self.cluster.locks.expect(&self.cluster, keys);
                self.cluster.parallelism.open();
                self.cluster.health.listed();
                self.all_listed[0] = true;
                self.let_go_of_strays();
            }
        }
    }

    fn applied(&mut self, one: ObjectMeta, driven: &mut JoinSet<(Key, String, Ending)>) {
        let metadata = one.metadata;
        // Somebody has deleted it, and it waits for its artifacts to go: what is at work is ended first.
        let ended = metadata.deletion_timestamp.is_some().then(|| Message::Fact(Fact::Shutdown(Shutdown::Terminate)));
        let key = (metadata.namespace, metadata.name);
        if let Some(known) = self.workflows.get(&key) {
            let changed = Message::Changed { version: metadata.resource_version.clone() };
            if known.uid != metadata.uid {
                let _ = known.to.send(Message::Deleted);
                self.cluster.locks.leave(&self.cluster, &locks::key(&key.0, &key.1));
                self.cluster.parallelism.leave(&key);
            } else if known.to.send(changed).is_ok() {
                ended.into_iter().for_each(|ended| drop(known.to.send(ended)));
                return;
            }
            // Otherwise nobody listens any more: its task has ended or died, and another one takes over.
        }
        if metadata.labels.get(label::PHASE).is_some_and(|phase| phase == "Running") {
            self.cluster.parallelism.works(&key);
        }
        self.begin(key, metadata.uid, ended, driven);
    }

    /// Drives a workflow from here on; `ended` is the word that it is to end, where that is so.
    fn begin(&mut self, key: Key, uid: String, ended: Option<Message>, driven: &mut JoinSet<(Key, String, Ending)>) {
        let (to, inbox) = mpsc::unbounded_channel();
        let (cluster, to_self) = (self.cluster.clone(), to.clone());
        ended.into_iter().for_each(|ended| drop(to.send(ended)));
        self.workflows.insert(key.clone(), Known { uid: uid.clone(), to });
        driven.spawn(async move {
            let ending = drive(cluster, key.0.clone(), key.1.clone(), uid.clone(), inbox, to_self).await;
            (key, uid, ending)
        });
    }

    fn find(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.workflows.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn pod(&mut self, pod: Pod, message: fn(Box<Pod>) -> Message) {
        if let Some(known) = self.find(&pod.metadata.namespace, pod.metadata.label(label::WORKFLOW)) {
            let _ = known.to.send(message(Box::new(pod)));
        } else if let Some(strays) = &mut self.strays {
            let key = (pod.metadata.namespace.clone(), pod.metadata.label(label::WORKFLOW).to_owned());
            strays.entry(key.clone()).or_default().add(key, pod);
        }
    }

    /// What is not known when everything has been listed belongs to workflows that are over.
    fn let_go_of_strays(&mut self) {
        if self.all_listed == [true; 2]
            && let Some(strays) = self.strays.take()
        {
            let unknown = strays.into_iter().filter(|(key, _)| !self.workflows.contains_key(key));
            for (_, strays) in unknown {
                tokio::spawn(strays.let_go(self.cluster.clone()));
            }
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

    fn ended(&mut self, key: &Key, uid: &str, ending: Ending) {
        tracing::info!(namespace = key.0, workflow = key.1, ?ending, "workflow ended");
        // Another of the same name may have begun, or the same one once more.
        if self.workflows.get(key).is_some_and(|known| known.uid == uid && known.to.is_closed()) {
            self.workflows.remove(key);
            self.cluster.locks.leave(&self.cluster, &locks::key(&key.0, &key.1));
            self.cluster.parallelism.leave(key);
        }
    }
}
