//! Mutexes and semaphores of all workflows: one table, from which workflows are told what became of their requests.
//!
//! The table is in nobody's storage: after a restart it is what the workflows' statuses say. So nobody gets a lock before
//! every workflow that was there at the start has said what it holds. What controllers share is in a database beside that
//! ([`database`]).

mod database;

pub use database::keep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tiphys_api::Workflow;
use tiphys_engine::{Fact, LockHolder, LockNews, LockRequest, LockState, Locks};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::cluster::Cluster;
use crate::workflow::Message;
use database::Job;
use tiphys_kubernetes::{Backoff, Kind, Metadata, Pages, retried};

/// Workflows a page.
const PAGE: &str = "200";

/// The table, and who waits for an answer.
#[derive(Default)]
pub struct LockDesk {
    state: Mutex<State>,
}

struct State {
    table: Locks,
    /// Workflows by `<namespace>/<name>`.
    workflows: FxHashMap<String, UnboundedSender<Message>>,
    /// Those that have said what they hold.
    entered: FxHashSet<String>,
    /// Those that were there at the start and have not; None while it is not known who was there.
    awaited: Option<FxHashSet<String>>,
    /// What was asked for before everybody had.
    early: Vec<LockRequest>,
    /// Whether everybody has, and that was told to whoever keeps the database.
    opened: bool,
    /// What is to be done in the database, and its other end until somebody takes it.
    database: UnboundedSender<Job>,
    jobs: Option<UnboundedReceiver<Job>>,
}

impl Default for State {
    fn default() -> State {
        let (database, jobs) = mpsc::unbounded_channel();
        State {
            table: Locks::default(),
            workflows: FxHashMap::default(),
            entered: FxHashSet::default(),
            awaited: None,
            early: Vec::new(),
            opened: false,
            database,
            jobs: Some(jobs),
        }
    }
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// The name that the table knows a workflow by.
pub fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl LockDesk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of what was known is so any more: locks were kept elsewhere meanwhile.
    pub fn forget_all(&self) {
        *self.state() = State::default();
    }

    /// These workflows were there at the start.
    pub fn expect(&self, cluster: &Arc<Cluster>, workflows: impl Iterator<Item = String>) {
        let mut state = self.state();
        if state.awaited.is_some() {
            return;
        }
        let entered = std::mem::take(&mut state.entered);
        state.awaited = Some(workflows.filter(|key| !entered.contains(key)).collect());
        state.open(cluster);
    }

    /// A workflow begins: what its status holds is its own.
    pub fn enter(&self, cluster: &Arc<Cluster>, key: &str, workflow: &Workflow, to: UnboundedSender<Message>) {
        let mut state = self.state();
        state.workflows.insert(key.to_owned(), to);
        let news = state.table.restore(workflow);
        state.tell(cluster, news);
        state.has_entered(cluster, key);
    }

    /// A workflow ends, or was never begun: nothing is kept for it.
    pub fn leave(&self, cluster: &Arc<Cluster>, key: &str) {
        let mut state = self.state();
        state.workflows.remove(key);
        let news = state.table.forget(key);
        state.tell(cluster, news);
        state.has_entered(cluster, key);
    }

    /// A workflow needs locks.
    pub fn acquire(&self, cluster: &Arc<Cluster>, request: LockRequest) {
        let mut state = self.state();
        if state.is_open() {
            state.table.set_database(cluster.config().synchronization.is_some());
            let news = state.table.acquire(request);
            state.tell(cluster, news);
        } else {
            state.early.push(request);
        }
    }

    /// A holder gives its locks up, and its place in line.
    pub fn release(&self, cluster: &Arc<Cluster>, holder: &LockHolder) {
        let mut state = self.state();
        state.early.retain(|request| request.holder != *holder);
        let news = state.table.release(holder);
        state.tell(cluster, news);
    }

    /// Every lock that somebody holds or waits for.
    pub fn states(&self) -> Vec<LockState> {
        self.state().table.states().collect()
    }

    /// A ConfigMap has changed; it may hold limits.
    pub fn changed(&self, cluster: &Arc<Cluster>, namespace: &str, name: &str) {
        if self.state().table.reads(namespace, name) {
            tokio::spawn(read_limits(cluster.clone(), namespace.to_owned(), name.to_owned()));
        }
    }

    /// What the database says of its locks changes the table.
    fn told(&self, cluster: &Arc<Cluster>, change: impl FnOnce(&mut Locks) -> LockNews) {
        let mut state = self.state();
        let news = change(&mut state.table);
        state.tell(cluster, news);
    }
}

impl State {
    fn is_open(&self) -> bool {
        self.awaited.as_ref().is_some_and(FxHashSet::is_empty)
    }

    fn has_entered(&mut self, cluster: &Arc<Cluster>, key: &str) {
        match &mut self.awaited {
            Some(awaited) => drop(awaited.remove(key)),
            None => drop(self.entered.insert(key.to_owned())),
        }
        self.open(cluster);
    }

    fn open(&mut self, cluster: &Arc<Cluster>) {
        if !self.is_open() {
            return;
        }
        if !std::mem::replace(&mut self.opened, true) {
            let _ = self.database.send(Job::Opened);
        }
        self.table.set_database(cluster.config().synchronization.is_some());
        for request in std::mem::take(&mut self.early) {
            let news = self.table.acquire(request);
            self.tell(cluster, news);
        }
    }

    fn tell(&self, cluster: &Arc<Cluster>, news: LockNews) {
        news.taken.iter().for_each(|lock| cluster.metrics.lock_taken(lock));
        for (holder, answer) in news.told {
            if let Some(to) = self.workflows.get(&*holder.workflow) {
                let _ = to.send(Message::Fact(Fact::Locks { holder, answer }));
            }
        }
        for (namespace, name) in news.limits {
            tokio::spawn(read_limits(cluster.clone(), namespace, name));
        }
        for work in news.shared {
            // Nobody takes it any more once these locks are kept elsewhere.
            let _ = self.database.send(Job::Work(work));
        }
    }
}

/// Of a workflow that may hold locks.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Holding {
    metadata: Metadata,
    status: HoldingStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HoldingStatus {
    synchronization: Option<IgnoredAny>,
}

/// The workflows that hold locks or wait for some, as their statuses say, for as long as it takes to find out.
pub async fn holders(cluster: &Cluster, namespace: &str, selector: &str) -> Vec<Metadata> {
    let workflows = Kind::Workflow.within(namespace);
    let mut pages = Pages::new(&cluster.api, &workflows, &[("labelSelector", selector)]).of(PAGE);
    let (mut holders, mut backoff) = (Vec::new(), Backoff::default());
    loop {
        let page = match pages.next::<Holding>().await {
            Ok(Some(page)) => page,
            Ok(None) => return holders,
            Err(error) if error.is_shut() => return holders,
            Err(error) => {
                if error.is_gone() {
                    holders.clear();
                } else {
                    tracing::warn!(%error, "holders of locks cannot be listed yet; nobody gets one before");
                }
                error.wait(&mut backoff).await;
                continue;
            }
        };
        let holding = page.items.into_iter().filter(|one| one.status.synchronization.is_some());
        holders.extend(holding.map(|one| one.metadata));
    }
}

/// Looks limits up, again for as long as that can help.
async fn read_limits(cluster: Arc<Cluster>, namespace: String, name: String) {
    let path = Kind::ConfigMap.within(&namespace).named(&name);
    let limits = match retried(|| cluster.api.get::<Limits>(&path)).await {
        Ok(limits) => Some(limits.data),
        Err(error) if error.is_shut() => return,
        Err(error) => {
            if !error.is_not_found() {
                tracing::warn!(namespace, config_map = name, %error, "limits of semaphores cannot be read");
            }
            None
        }
    };
    let mut state = cluster.locks.state();
    let news = state.table.config_map(&namespace, &name, limits.as_ref());
    state.tell(&cluster, news);
}
