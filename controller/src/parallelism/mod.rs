//! How many workflows work at a time, in all and in each namespace: `parallelism` and `namespaceParallelism` of the configuration,
//! and a label of namespaces. argo: workflow/sync/multi_throttler.go, workflow/controller/ns_watcher.go.
//!
//! Whoever wants to begin asks for a place and is told when there is one: nobody asks again. A workflow that works when the
//! controller starts has its place before any is given.
//!
//! Where replicas share the work, the first shard's holder gives the places of all shards ([`admit`]), and says so by a label:
//! a workflow that needs a place is not begun by anybody before it has that ([`has_place`]).

mod admissions;
mod admit;
mod places;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod simulated;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tiphys_contract::label;
use tiphys_kubernetes::{Backoff, Event, Kind, List, METADATA_ALONE, Metadata, ObjectMeta, watch};
use tokio::sync::{oneshot, watch as latest};

pub use admit::admit;
pub use places::{AllLimits, Key, Limits};

use crate::cluster::Cluster;
use places::Places;

/// Label of namespaces: how many workflows may work there at a time.
const LIMIT: &str = "workflows.argoproj.io/parallelism-limit";

/// Whether a place is a workflow's by what its labels say: it works, or was admitted. A copy of an admitted one has its label,
/// and another uid.
pub fn has_place(metadata: &Metadata) -> bool {
    let admitted = metadata.label(label::ADMITTED);
    metadata.label(label::PHASE) == "Running" || (!admitted.is_empty() && admitted == metadata.uid)
}

/// The limits in force; and where one controller does everything, the table of places, and who waits for one.
#[derive(Default)]
pub struct Parallelism {
    limits: latest::Sender<AllLimits>,
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

    /// The limits in force, and whenever there are others.
    pub fn limits(&self) -> latest::Receiver<AllLimits> {
        self.limits.subscribe()
    }

    /// Whether who wants to begin in this namespace needs a place.
    pub fn concerns(&self, namespace: &str) -> bool {
        self.limits.borrow().concern(namespace)
    }

    /// The configuration has these limits from now on.
    pub fn limit(&self, configured: Limits) {
        self.change(|limits| limits.configured = configured);
    }

    fn limit_namespace(&self, namespace: &str, limit: Option<usize>) {
        self.change(|limits| match limit {
            Some(limit) => drop(limits.of_namespaces.insert(namespace.to_owned(), limit)),
            None => drop(limits.of_namespaces.remove(namespace)),
        });
    }

    /// The labels of all namespaces have been read, or need not be.
    fn all_limits_known(&self) {
        self.change(|limits| limits.are_known = true);
    }

    fn change(&self, change: impl FnOnce(&mut AllLimits)) {
        self.limits.send_modify(change);
        let mut state = self.state();
        // Of two changes at a time, whoever comes second finds both.
        let limits = self.limits.borrow().clone();
        let given = state.places.limit(limits);
        state.tell(given);
    }

    /// A workflow works.
    pub fn works(&self, key: &Key) {
        self.state().places.works(key);
    }

    /// Whether a workflow works, or may begin to.
    pub fn has_place(&self, key: &Key) -> bool {
        self.state().places.has(key)
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
    let parallelism = &cluster.parallelism;
    let namespaces = Kind::Namespace.within("");
    // A controller of one namespace need not have the right, and can do without these limits.
    let first = namespaces.query(&[("labelSelector", LIMIT), ("limit", "1")]);
    let mut backoff = Backoff::default();
    while let Err(error) = cluster.api.get::<List<ObjectMeta>>(&first).await {
        if error.code() == 403 {
            tracing::info!(%error, "labels of namespaces do not limit parallelism");
            return parallelism.all_limits_known();
        }
        tracing::warn!(%error, "labels of namespaces cannot be read yet; no workflow begins before");
        error.wait(&mut backoff).await;
    }
    let mut listed = Vec::new();
    let mut limited: Vec<String> = Vec::new();
    watch::<ObjectMeta>(&cluster.api, &namespaces, LIMIT, Some(METADATA_ALONE), |event| {
        match event {
            Event::Page(all) => {
                for one in all {
                    listed.push(one.metadata.name.clone());
                    set(parallelism, &only, one, &mut limited);
                }
            }
            Event::Applied(one) => set(parallelism, &only, one, &mut limited),
            Event::Deleted(one) => {
                limited.retain(|name| *name != one.metadata.name);
                parallelism.limit_namespace(&one.metadata.name, None);
            }
            Event::Listed => {
                let there = std::mem::take(&mut listed);
                for name in limited.extract_if(.., |name| !there.contains(name)) {
                    parallelism.limit_namespace(&name, None);
                }
                parallelism.all_limits_known();
            }
        }
        true
    })
    .await;
}

fn set(parallelism: &Parallelism, only: &str, namespace: ObjectMeta, limited: &mut Vec<String>) {
    let name = namespace.metadata.name.clone();
    if !only.is_empty() && name != only {
        return;
    }
    match namespace.metadata.label(LIMIT).parse() {
        Ok(limit) => {
            parallelism.limit_namespace(&name, Some(limit));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_whose_label_has_its_own_uid() {
        let of = |labels: &[(&str, &str)]| Metadata {
            uid: "u".into(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Metadata::default()
        };
        for (labels, expected) in [
            (of(&[]), false),
            (of(&[(label::PHASE, "Pending")]), false),
            (of(&[(label::PHASE, "Running")]), true),
            (of(&[(label::PHASE, "Pending"), (label::ADMITTED, "u")]), true),
            // It was resubmitted.
            (of(&[(label::ADMITTED, "other")]), false),
            (Metadata::default(), false),
        ] {
            assert_eq!(has_place(&labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn whoever_follows_the_limits_is_told_of_all() {
        let parallelism = Parallelism::default();
        let mut limits = parallelism.limits();
        assert!(parallelism.concerns("a"));
        parallelism.all_limits_known();
        assert!(!parallelism.concerns("a") && limits.has_changed().unwrap());
        parallelism.limit_namespace("a", Some(2));
        assert!(parallelism.concerns("a") && !parallelism.concerns("b"));
        parallelism.limit(Limits { total: 3, namespace: 0 });
        parallelism.limit_namespace("a", None);
        let expected =
            AllLimits { configured: Limits { total: 3, namespace: 0 }, are_known: true, ..AllLimits::default() };
        assert_eq!(*limits.borrow_and_update(), expected);
    }
}
