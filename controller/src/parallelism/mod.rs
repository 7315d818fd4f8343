//! How many workflows work at a time, in all and in each namespace: `parallelism` and `namespaceParallelism` of the configuration,
//! and a label of namespaces. argo: workflow/sync/multi_throttler.go, workflow/controller/ns_watcher.go.
//!
//! Whoever wants to begin asks for a place and is told when there is one: nobody asks again. A workflow that works when the
//! controller starts has its place before any is given.

mod places;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tiphys_kubernetes::{Event, Kind, List, METADATA_ALONE, ObjectMeta, watch};
use tokio::sync::oneshot;

pub use places::{Key, Limits};

use crate::cluster::Cluster;
use places::Places;

/// Label of namespaces: how many workflows may work there at a time.
const LIMIT: &str = "workflows.argoproj.io/parallelism-limit";

/// The table of places, and who waits for one.
#[derive(Default)]
pub struct Parallelism {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: Places,
    waiting: FxHashMap<Key, oneshot::Sender<()>>,
}

impl State {
    fn tell(&mut self, given: Vec<Key>) {
        for key in given {
            if let Some(to) = self.waiting.remove(&key) {
                // It may have been deleted; then it leaves, and the place is free again.
                let _ = to.send(());
            }
        }
    }
}

impl Parallelism {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that work already have said so.
    pub fn open(&self) {
        let mut state = self.state();
        let given = state.places.open();
        state.tell(given);
    }

    /// Other limits are in force.
    pub fn limit(&self, limits: Limits) {
        let mut state = self.state();
        let given = state.places.limit(limits);
        state.tell(given);
    }

    fn limit_namespace(&self, namespace: &str, limit: Option<usize>) {
        let mut state = self.state();
        let given = state.places.limit_namespace(namespace, limit);
        state.tell(given);
    }

    /// A workflow works.
    pub fn works(&self, key: &Key) {
        self.state().places.works(key);
    }

    /// Asks for a place; the answer comes when there is one. Asking again takes the place of asking before.
    pub fn ask(&self, key: &Key, priority: i64, created: Timestamp) -> oneshot::Receiver<()> {
        let (to, answer) = oneshot::channel();
        let mut state = self.state();
        state.waiting.insert(key.clone(), to);
        let given = state.places.ask(key, priority, created);
        state.tell(given);
        answer
    }

    /// A workflow is over, or gone.
    pub fn leave(&self, key: &Key) {
        let mut state = self.state();
        state.waiting.remove(key);
        let given = state.places.leave(key);
        state.tell(given);
    }
}

/// Follows the limits that namespaces' labels set. `only` is the one namespace that is looked at, empty for all.
pub async fn follow_namespaces(cluster: Arc<Cluster>, only: String) {
    let namespaces = Kind::Namespace.within("");
    // A controller of one namespace need not have the right, and can do without these limits.
    let allowed =
        cluster.api.get::<List<ObjectMeta>>(&namespaces.query(&[("labelSelector", LIMIT), ("limit", "1")])).await;
    if let Err(error) = allowed
        && error.code() == 403
    {
        return tracing::info!(%error, "labels of namespaces do not limit parallelism");
    }
    let mut listed = Vec::new();
    let mut limited: Vec<String> = Vec::new();
    watch::<ObjectMeta>(&cluster.api, &namespaces, LIMIT, Some(METADATA_ALONE), |event| {
        match event {
            Event::Page(all) => {
                for one in all {
                    listed.push(one.metadata.name.clone());
                    set(&cluster, &only, one, &mut limited);
                }
            }
            Event::Applied(one) => set(&cluster, &only, one, &mut limited),
            Event::Deleted(one) => {
                limited.retain(|name| *name != one.metadata.name);
                cluster.parallelism.limit_namespace(&one.metadata.name, None);
            }
            Event::Listed => {
                let there = std::mem::take(&mut listed);
                for name in limited.extract_if(.., |name| !there.contains(name)) {
                    cluster.parallelism.limit_namespace(&name, None);
                }
            }
        }
        true
    })
    .await;
}

fn set(cluster: &Cluster, only: &str, namespace: ObjectMeta, limited: &mut Vec<String>) {
    let name = namespace.metadata.name.clone();
    if !only.is_empty() && name != only {
        return;
    }
    match namespace.metadata.label(LIMIT).parse() {
        Ok(_) if cluster.shards > 1 => {
            tracing::error!(
                namespace = name,
                "the label {LIMIT} is not kept: one controller would have to count all workflows; start them with --shards 1"
            );
        }
        Ok(limit) => {
            cluster.parallelism.limit_namespace(&name, Some(limit));
            if !limited.contains(&name) {
                limited.push(name);
            }
        }
        Err(_) => {
            let text = namespace.metadata.label(LIMIT);
            tracing::error!(namespace = name, "the label {LIMIT} is {text:?} and no number: the limit before it stays");
        }
    }
}
