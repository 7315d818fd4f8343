//! Who may work: places of the controller and of each namespace. argo: workflow/sync/multi_throttler.go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

/// Namespace and name of a workflow.
pub type Key = (String, String);

/// What comes first: the higher priority, then the older one.
type Rank = (Reverse<i64>, Timestamp, String);

/// How many workflows may work at a time; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In all namespaces together.
    pub total: usize,
    /// In a namespace that has no limit of its own.
    pub namespace: usize,
}

/// One namespace.
#[derive(Debug, Default)]
struct Namespace {
    /// Its own limit; 0 is none.
    limit: Option<usize>,
    working: FxHashSet<String>,
    waiting: BTreeSet<Rank>,
}

impl Namespace {
    fn has_room(&self, limits: Limits) -> bool {
        let limit = self.limit.unwrap_or(limits.namespace);
        limit == 0 || self.working.len() < limit
    }

    fn is_empty(&self) -> bool {
        self.limit.is_none() && self.working.is_empty() && self.waiting.is_empty()
    }
}

/// The table of places.
#[derive(Debug, Default)]
pub struct Places {
    limits: Limits,
    working: usize,
    namespaces: BTreeMap<String, Namespace>,
    ranks: FxHashMap<Key, Rank>,
    /// Whether places are given at all.
    open: bool,
}

impl Places {
    /// Those who work already are known: places are given from now on.
    pub fn open(&mut self) -> Vec<Key> {
        self.open = true;
        self.give()
    }

    /// Other limits. Who works goes on.
    pub fn limit(&mut self, limits: Limits) -> Vec<Key> {
        self.limits = limits;
        self.give()
    }

    /// A namespace has another limit of its own, or none any more.
    pub fn limit_namespace(&mut self, namespace: &str, limit: Option<usize>) -> Vec<Key> {
        self.namespace(namespace).limit = limit;
        self.tidy(namespace);
        self.give()
    }

    /// A workflow works, whatever the limits say.
    pub fn works(&mut self, key: &Key) {
        self.waits_no_longer(key);
        if self.namespace(&key.0).working.insert(key.1.clone()) {
            self.working += 1;
        }
    }

    /// A workflow wants to begin; asked again, it has another priority. Gives who may begin now.
    pub fn ask(&mut self, key: &Key, priority: i64, created: Timestamp) -> Vec<Key> {
        if self.namespace(&key.0).working.contains(&key.1) {
            return vec![key.clone()];
        }
        self.waits_no_longer(key);
        let rank = (Reverse(priority), created, key.1.clone());
        self.namespace(&key.0).waiting.insert(rank.clone());
        self.ranks.insert(key.clone(), rank);
        self.give()
    }

    /// A workflow is over, or gone.
    pub fn leave(&mut self, key: &Key) -> Vec<Key> {
        self.waits_no_longer(key);
        if self.namespace(&key.0).working.remove(&key.1) {
            self.working -= 1;
        }
        self.tidy(&key.0);
        self.give()
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.namespaces.entry(name.to_owned()).or_default()
    }

    fn waits_no_longer(&mut self, key: &Key) {
        if let Some(rank) = self.ranks.remove(key) {
            self.namespace(&key.0).waiting.remove(&rank);
        }
    }

    fn tidy(&mut self, namespace: &str) {
        if self.namespaces.get(namespace).is_some_and(Namespace::is_empty) {
            self.namespaces.remove(namespace);
        }
    }

    /// Gives the places that are free: each to who comes first in a namespace that has room.
    fn give(&mut self) -> Vec<Key> {
        let mut given = Vec::new();
        while self.open && (self.limits.total == 0 || self.working < self.limits.total) {
            let with_room = self.namespaces.iter().filter(|(_, namespace)| namespace.has_room(self.limits));
            let first = with_room.filter_map(|(name, namespace)| Some((namespace.waiting.first()?, name))).min();
            let Some((rank, namespace)) = first else { break };
            let key = (namespace.clone(), rank.2.clone());
            self.works(&key);
            given.push(key);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    fn names(keys: Vec<Key>) -> Vec<String> {
        keys.into_iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn priority_then_age() {
        let mut places = Places::default();
        places.limit(Limits { total: 1, namespace: 0 });
        places.works(&key("a", "before"));
        assert_eq!(names(places.ask(&key("a", "young"), 0, at(9))), [""; 0]);
        places.ask(&key("b", "old"), 0, at(5));
        places.ask(&key("a", "important"), 7, at(8));
        assert_eq!(names(places.open()), [""; 0]);
        assert_eq!(names(places.leave(&key("a", "before"))), ["a/important"]);
        // What waits can become more important.
        places.ask(&key("a", "young"), 1, at(9));
        assert_eq!(names(places.leave(&key("a", "important"))), ["a/young"]);
        places.leave(&key("b", "old"));
        assert_eq!(names(places.leave(&key("a", "young"))), [""; 0]);
        assert!(places.namespaces.is_empty() && places.ranks.is_empty());
    }

    #[test]
    fn a_full_namespace_keeps_nobody_else_back() {
        let mut places = Places::default();
        places.open();
        places.limit(Limits { total: 3, namespace: 1 });
        assert_eq!(names(places.ask(&key("a", "1"), 9, at(1))), ["a/1"]);
        assert_eq!(names(places.ask(&key("a", "2"), 9, at(2))), [""; 0]);
        assert_eq!(names(places.ask(&key("b", "1"), 0, at(3))), ["b/1"]);
        assert_eq!(names(places.limit_namespace("a", Some(5))), ["a/2"]);
        assert_eq!(names(places.ask(&key("a", "3"), 9, at(4))), [""; 0]);
        assert_eq!(names(places.limit(Limits::default())), ["a/3"]);
        assert_eq!(names(places.ask(&key("a", "3"), 9, at(4))), ["a/3"]);
    }

    proptest! {
        /// Whatever happens, no limit is passed, and nobody waits where there is room.
        #[test]
        fn limits_hold(steps in proptest::collection::vec((0usize..6, 0usize..2, 0usize..8, 0i64..3), 1..80), total in 0usize..5, each in 0usize..4) {
            let mut places = Places::default();
            places.open();
            places.limit(Limits { total, namespace: each });
            let mut working: BTreeSet<Key> = BTreeSet::new();
            let mut waiting: BTreeSet<Key> = BTreeSet::new();
            for (what, namespace, name, priority) in steps {
                let key = key(["a", "b"][namespace], &name.to_string());
                let given = if what < 4 {
                    if !working.contains(&key) {
                        waiting.insert(key.clone());
                    }
                    places.ask(&key, priority, at(name as i64))
                } else {
                    working.remove(&key);
                    waiting.remove(&key);
                    places.leave(&key)
                };
                for key in given {
                    waiting.remove(&key);
                    working.insert(key);
                }
                prop_assert!(total == 0 || working.len() <= total);
                let room = |namespace: &str| {
                    each == 0 || working.iter().filter(|(one, _)| one == namespace).count() < each
                };
                prop_assert!(["a", "b"].iter().all(|one| each == 0 || working.iter().filter(|(name, _)| name == one).count() <= each));
                let full = total != 0 && working.len() >= total;
                prop_assert!(full || waiting.iter().all(|(namespace, _)| !room(namespace)));
            }
        }
    }
}
