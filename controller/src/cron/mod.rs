//! CronWorkflows: makes the workflows that their schedules ask for. argo: workflow/cron/controller.go.
//!
//! The engine decides ([`tiphys_engine::cron`]); here are the watches it decides by, a task for each CronWorkflow that sleeps until
//! its next run is due, and the requests. A CronWorkflow's workflows are watched by their metadata alone.

mod actor;
mod requests;
mod templates;

use std::sync::Arc;

use futures_util::FutureExt as _;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;
use tiphys_api::CronWorkflow;
use tiphys_engine::CRON_WORKFLOW;
use tiphys_engine::cron::Child;
use tiphys_kubernetes::{Collection, Event, Kind, List, METADATA_ALONE, Metadata, ObjectMeta, watch};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use actor::{Actor, Message};

/// What one of the watches tells.
enum Told {
    Cron(Event<Value>),
    Child(Event<Box<ObjectMeta>>),
}

/// Watches the CronWorkflows of a namespace, of all where it is empty, and makes their workflows. `selector` is that of the
/// controller's instance.
pub async fn run(cluster: Arc<Cluster>, namespace: String, selector: String) {
    let crons = Kind::CronWorkflow.within(&namespace);
    // Whoever installs it may have left the right out.
    if let Err(error) = cluster.api.get::<List<ObjectMeta>>(&crons.query(&[("limit", "1")])).await
        && error.code() == 403
    {
        return tracing::info!(%error, "there are no schedules");
    }
    let (to, mut told) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    watches.spawn(follow_crons(cluster.clone(), crons, selector.clone(), to.clone()).boxed());
    watches.spawn(follow_children(cluster.clone(), namespace, format!("{selector},{CRON_WORKFLOW}"), to).boxed());
    let mut schedules = Schedules {
        cluster,
        known: FxHashMap::default(),
        children: FxHashMap::default(),
        lists: Lists::default(),
        actors: JoinSet::new(),
    };
    loop {
        tokio::select! {
            event = told.recv() => match event {
                Some(event) => schedules.take(event),
                None => return,
            },
            Some(ended) = schedules.actors.join_next() => if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a CronWorkflow's task died");
            },
        }
    }
}

async fn follow_crons(cluster: Arc<Cluster>, collection: Collection, selector: String, to: UnboundedSender<Told>) {
    watch::<Value>(&cluster.api, &collection, &selector, None, |event| to.send(Told::Cron(event)).is_ok()).await;
}

async fn follow_children(cluster: Arc<Cluster>, namespace: String, selector: String, to: UnboundedSender<Told>) {
    let (collection, forms) = (Kind::Workflow.within(&namespace), Some(METADATA_ALONE));
    watch::<Box<ObjectMeta>>(&cluster.api, &collection, &selector, forms, |event| to.send(Told::Child(event)).is_ok())
        .await;
}

/// What was there at the start, and what is told again.
#[derive(Default)]
struct Lists {
    /// Whether each watch has told all that there is.
    complete: [bool; 2],
    /// Uids of CronWorkflows in the list that is being read, and those of workflows.
    listed: [FxHashSet<String>; 2],
}

/// The CronWorkflows that are known.
struct Schedules {
    cluster: Arc<Cluster>,
    /// Their tasks, by uid.
    known: FxHashMap<String, UnboundedSender<Message>>,
    /// Workflows whose CronWorkflow has no task yet, by its uid.
    children: FxHashMap<String, Vec<Child>>,
    lists: Lists,
    actors: JoinSet<()>,
}

impl Schedules {
    fn take(&mut self, told: Told) {
        match told {
            Told::Cron(Event::Page(all)) => {
                for one in all {
                    self.lists.listed[0].insert(text(&one, "uid").to_owned());
                    self.cron(one);
                }
            }
            Told::Cron(Event::Applied(one)) => self.cron(one),
            Told::Cron(Event::Deleted(one)) => drop(self.known.remove(text(&one, "uid"))),
            Told::Cron(Event::Listed) => {
                let listed = std::mem::take(&mut self.lists.listed[0]);
                self.known.retain(|uid, _| listed.contains(uid));
                self.complete(0);
            }
            Told::Child(Event::Page(all)) => {
                for one in all {
                    self.lists.listed[1].insert(one.metadata.uid.clone());
                    self.child(one.metadata);
                }
            }
            Told::Child(Event::Applied(one)) => self.child(one.metadata),
            Told::Child(Event::Deleted(one)) => {
                for owner in one.metadata.owner_references {
                    if let Some(to) = self.known.get(&owner.uid) {
                        let _ = to.send(Message::Gone(one.metadata.uid.clone()));
                    }
                    if let Some(children) = self.children.get_mut(&owner.uid) {
                        children.retain(|child| child.uid != one.metadata.uid);
                    }
                }
                self.children.retain(|_, children| !children.is_empty());
            }
            Told::Child(Event::Listed) => {
                let listed = Arc::new(std::mem::take(&mut self.lists.listed[1]));
                for to in self.known.values() {
                    let _ = to.send(Message::Listed(listed.clone()));
                }
                self.complete(1);
            }
        }
    }

    /// Nothing is decided before all is known that was there.
    fn complete(&mut self, list: usize) {
        let before = self.is_complete();
        self.lists.complete[list] = true;
        if !before && self.is_complete() {
            self.known.values().for_each(|to| drop(to.send(Message::Begin)));
        }
    }

    fn is_complete(&self) -> bool {
        self.lists.complete == [true; 2]
    }

    fn cron(&mut self, object: Value) {
        let uid = text(&object, "uid").to_owned();
        let (name, namespace) = (text(&object, "name").to_owned(), text(&object, "namespace").to_owned());
        let cron = match serde_json::from_value::<CronWorkflow>(object) {
            Ok(cron) => Box::new(cron),
            Err(error) => {
                self.known.remove(&uid);
                let message = format!("malformed cron workflow: {error}");
                tracing::error!(namespace, cron_workflow = name, message);
                let event = requests::warning((&namespace, &name, &uid), "Malformed", &message);
                tokio::spawn(requests::tell(self.cluster.clone(), namespace, event));
                return;
            }
        };
        if let Some(to) = self.known.get(&uid) {
            let _ = to.send(Message::Changed(cron));
            return;
        }
        let (to, inbox) = mpsc::unbounded_channel();
        for child in self.children.remove(&uid).unwrap_or_default() {
            let _ = to.send(Message::Child(child));
        }
        if self.is_complete() {
            let _ = to.send(Message::Begin);
        }
        self.known.insert(uid, to);
        self.begin(cron, inbox);
    }

    fn begin(&mut self, cron: Box<CronWorkflow>, inbox: UnboundedReceiver<Message>) {
        let actor = Actor::new(self.cluster.clone(), *cron);
        self.actors.spawn(actor.drive(inbox));
    }

    fn child(&mut self, metadata: Metadata) {
        let identity = (metadata.name, metadata.uid, metadata.resource_version);
        let child = Child::of(identity, &metadata.labels, &metadata.annotations);
        for owner in metadata.owner_references {
            match self.known.get(&owner.uid) {
                Some(to) => drop(to.send(Message::Child(child.clone()))),
                None => {
                    let children = self.children.entry(owner.uid).or_default();
                    children.retain(|known| known.uid != child.uid);
                    children.push(child.clone());
                }
            }
        }
    }
}

/// A text of an object's metadata.
fn text<'o>(object: &'o Value, field: &str) -> &'o str {
    object["metadata"][field].as_str().unwrap_or_default()
}
