//! `--shadow`: looks on while another controller works. What the watches tell goes to whoever looks on at that workflow.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_contract::label;
use tiphys_kubernetes::{Event, Kind, METADATA_ALONE, Metadata, ObjectMeta, Pod, TaskResultObject, TaskSetObject};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::dispatch::{follow, instance_selector, unfinished};
use crate::workflow::{Message, look_on};

/// What one of the watches tells.
enum Told {
    Workflow(Event<ObjectMeta>),
    Pod(Event<Pod>),
    TaskResult(Event<TaskResultObject>),
    TaskSet(Event<TaskSetObject>),
}

/// Namespace and name.
type Key = (String, String);

/// A workflow at which somebody looks on.
struct Known {
    uid: String,
    to: UnboundedSender<Message>,
}

/// Looks on at all workflows of this instance until `end`. `namespace` is the one that is looked at, all where it is empty;
/// differences between Pods whose place begins with one of `ignored` are none.
pub async fn run(cluster: Arc<Cluster>, namespace: &str, ignored: Arc<[String]>, end: impl Future<Output = ()>) {
    let (to, mut told) = mpsc::channel(1024);
    let _watches = watches(&cluster, namespace, &to);
    let health = cluster.health.clone();
    health.works();
    let mut looking =
        Looking { cluster, ignored, known: FxHashMap::default(), on: JoinSet::new(), listed: Listed::default() };
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            Some(event) = told.recv() => looking.take(event),
            Some(ping) = health.asked() => drop(ping.send(())),
            Some(ended) = looking.on.join_next() => match ended {
                Ok((key, uid)) => looking.ended(&key, &uid),
                Err(error) => tracing::error!(%error, "a workflow's task died"),
            },
        }
    }
}

/// Pods that are done with are watched as well: the live controller says so of them before ours may have heard of their end.
fn watches(cluster: &Arc<Cluster>, namespace: &str, to: &mpsc::Sender<Told>) -> JoinSet<()> {
    let instance = instance_selector(&cluster.config().pod.instance_id);
    let unfinished = unfinished(&instance);
    let of_workflows = format!("{instance},{}", label::WORKFLOW);
    let mut watches = JoinSet::new();
    let source = |kind: Kind| (cluster.api.clone(), kind.within(namespace), to.clone());
    watches.spawn(follow(source(Kind::Workflow), unfinished.clone(), Some(METADATA_ALONE), Told::Workflow));
    watches.spawn(follow(source(Kind::Pod), of_workflows.clone(), None, Told::Pod));
    watches.spawn(follow(source(Kind::WorkflowTaskResult), of_workflows, None, Told::TaskResult));
    watches.spawn(follow(source(Kind::WorkflowTaskSet), unfinished, None, Told::TaskSet));
    watches
}

/// What the lists that are being read have: workflows, and uids of Pods.
#[derive(Default)]
struct Listed {
    workflows: FxHashSet<Key>,
    pods: FxHashSet<String>,
}

struct Looking {
    cluster: Arc<Cluster>,
    ignored: Arc<[String]>,
    known: FxHashMap<Key, Known>,
    on: JoinSet<(Key, String)>,
    listed: Listed,
}

impl Looking {
    fn take(&mut self, told: Told) {
        match told {
            Told::Workflow(event) => self.workflow(event),
            Told::Pod(Event::Page(pods)) => {
                for pod in pods {
                    self.listed.pods.insert(pod.metadata.uid.clone());
                    self.pod(pod, |pod| Message::Pod(pod, Instant::now()));
                }
            }
            Told::Pod(Event::Listed) => {
                let listed = Arc::new(std::mem::take(&mut self.listed.pods));
                for known in self.known.values() {
                    let _ = known.to.send(Message::PodsListed(listed.clone()));
                }
            }
            Told::Pod(Event::Applied(pod)) => self.pod(pod, |pod| Message::Pod(pod, Instant::now())),
            Told::Pod(Event::Deleted(pod)) => self.pod(pod, Message::PodGone),
            Told::TaskResult(Event::Page(results)) => results.into_iter().for_each(|result| self.result(result)),
            Told::TaskResult(Event::Applied(result)) => self.result(result),
            Told::TaskSet(Event::Page(sets)) => sets.into_iter().for_each(|set| self.task_set(set)),
            Told::TaskSet(Event::Applied(set)) => self.task_set(set),
            Told::TaskResult(Event::Deleted(_) | Event::Listed) | Told::TaskSet(Event::Deleted(_) | Event::Listed) => {}
        }
    }

    fn workflow(&mut self, event: Event<ObjectMeta>) {
        match event {
            Event::Page(all) => {
                for one in all {
                    self.listed.workflows.insert((one.metadata.namespace.clone(), one.metadata.name.clone()));
                    self.applied(one.metadata);
                }
            }
            Event::Applied(one) => self.applied(one.metadata),
            Event::Deleted(one) => {
                // It is gone, or over; the object tells.
                let version = one.metadata.resource_version;
                self.tell(&one.metadata.namespace, &one.metadata.name, Message::Changed { version });
            }
            Event::Listed => {
                let listed = std::mem::take(&mut self.listed.workflows);
                for (_, known) in self.known.iter().filter(|(key, _)| !listed.contains(*key)) {
                    let _ = known.to.send(Message::Changed { version: String::new() });
                }
                self.cluster.health.listed();
            }
        }
    }

    fn applied(&mut self, metadata: Metadata) {
        let key = (metadata.namespace, metadata.name);
        if let Some(known) = self.known.get(&key) {
            if known.uid != metadata.uid {
                let _ = known.to.send(Message::Deleted);
            } else if known.to.send(Message::Changed { version: metadata.resource_version }).is_ok() {
                return;
            }
            // Otherwise it was over, and a user has opened it again.
        }
        let (to, inbox) = mpsc::unbounded_channel();
        let (cluster, ignored, to_self) = (self.cluster.clone(), self.ignored.clone(), to.clone());
        self.known.insert(key.clone(), Known { uid: metadata.uid.clone(), to });
        self.on.spawn(async move {
            let named = (key.0.clone(), key.1.clone(), metadata.uid.clone());
            look_on(cluster, named, inbox, to_self, ignored).await;
            (key, metadata.uid)
        });
    }

    fn ended(&mut self, key: &Key, uid: &str) {
        // Another of the same name may have begun, or the same one once more.
        if self.known.get(key).is_some_and(|known| known.uid == uid && known.to.is_closed()) {
            self.known.remove(key);
        }
    }

    fn tell(&self, namespace: &str, name: &str, message: Message) {
        if let Some(known) = self.known.get(&(namespace.to_owned(), name.to_owned())) {
            let _ = known.to.send(message);
        }
    }

    fn pod(&self, pod: Pod, message: fn(Box<Pod>) -> Message) {
        let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.label(label::WORKFLOW).to_owned());
        self.tell(&namespace, &name, message(Box::new(pod)));
    }

    fn result(&self, result: TaskResultObject) {
        let name = result.metadata.label(label::WORKFLOW).to_owned();
        self.tell(&result.metadata.namespace.clone(), &name, Message::TaskResult(Box::new(result)));
    }

    fn task_set(&self, set: TaskSetObject) {
        let (namespace, name) = (set.metadata.namespace.clone(), set.metadata.name.clone());
        self.tell(&namespace, &name, Message::TaskSet(Box::new(set)));
    }
}
