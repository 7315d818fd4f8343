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

/// Every limit that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllLimits {
    /// What the configuration says.
    pub configured: Limits,
    /// What namespaces' labels say, which comes first; 0 is no limit.
    pub of_namespaces: BTreeMap<String, usize>,
    /// Whether all labels have been read: no place is given before.
    pub are_known: bool,
}

impl AllLimits {
    fn of(&self, namespace: &str) -> usize {
        self.of_namespaces.get(namespace).copied().unwrap_or(self.configured.namespace)
    }

    /// Whether who wants to begin in this namespace needs a place, as far as it is known.
    pub fn concern(&self, namespace: &str) -> bool {
        !self.are_known || self.configured.total != 0 || self.of(namespace) != 0
    }

    /// Whether anybody needs a place.
    pub fn concern_anybody(&self) -> bool {
        self.configured != Limits::default() || self.of_namespaces.values().any(|limit| *limit != 0)
    }
}

/// One namespace.
#[derive(Debug, Default)]
struct Namespace {
    working: FxHashSet<String>,
    waiting: BTreeSet<Rank>,
}

impl Namespace {
    fn has_room(&self, limit: usize) -> bool {
        limit == 0 || self.working.len() < limit
    }

    fn is_empty(&self) -> bool {
        self.working.is_empty() && self.waiting.is_empty()
    }
}

/// The table of places.
#[derive(Debug, Default)]
pub struct Places {
    limits: AllLimits,
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
    pub fn limit(&mut self, limits: AllLimits) -> Vec<Key> {
        self.limits = limits;
        self.give()
    }

    /// The limits in force.
    pub fn limits(&self) -> &AllLimits {
        &self.limits
    }

    /// A workflow works, whatever the limits say.
    pub fn works(&mut self, key: &Key) {
        self.waits_no_longer(key);
        if self.namespace(&key.0).working.insert(key.1.clone()) {
            self.working += 1;
        }
    }

    /// Whether a workflow works.
    pub fn has(&self, key: &Key) -> bool {
        self.namespaces.get(&key.0).is_some_and(|namespace| namespace.working.contains(&key.1))
    }

    /// A workflow wants to begin; asked again, it has another priority. Gives who may begin now.
    pub fn ask(&mut self, key: &Key, priority: i64, created: Timestamp) -> Vec<Key> {
        if self.has(key) {
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
        let total = self.limits.configured.total;
        while self.open && self.limits.are_known && (total == 0 || self.working < total) {
            let limits = &self.limits;
            let with_room = self.namespaces.iter().filter(|(name, namespace)| namespace.has_room(limits.of(name)));
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

    fn limits(total: usize, namespace: usize) -> AllLimits {
        AllLimits { configured: Limits { total, namespace }, of_namespaces: BTreeMap::new(), are_known: true }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn priority_then_age() {
        let mut places = Places::default();
        places.limit(limits(1, 0));
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
        places.limit(limits(3, 1));
        assert_eq!(names(places.ask(&key("a", "1"), 9, at(1))), ["a/1"]);
        assert_eq!(names(places.ask(&key("a", "2"), 9, at(2))), [""; 0]);
        assert_eq!(names(places.ask(&key("b", "1"), 0, at(3))), ["b/1"]);
        let own = AllLimits { of_namespaces: [("a".to_owned(), 5)].into(), ..limits(3, 1) };
        assert_eq!(names(places.limit(own)), ["a/2"]);
        assert_eq!(names(places.ask(&key("a", "3"), 9, at(4))), [""; 0]);
        assert_eq!(names(places.limit(limits(0, 0))), ["a/3"]);
        assert_eq!(names(places.ask(&key("a", "3"), 9, at(4))), ["a/3"]);
    }

    #[test]
    fn nobody_begins_before_all_limits_are_known() {
        let mut places = Places::default();
        places.open();
        let unknown = AllLimits { are_known: false, ..limits(0, 0) };
        assert!(unknown.concern("a") && !unknown.concern_anybody());
        places.limit(unknown);
        assert_eq!(names(places.ask(&key("a", "1"), 0, at(1))), [""; 0]);
        let known = AllLimits { of_namespaces: [("b".to_owned(), 1)].into(), ..limits(0, 0) };
        assert!(known.concern("b") && known.concern_anybody() && !known.concern("a"));
        assert_eq!(names(places.limit(known)), ["a/1"]);
        // A namespace may lift the limit for itself.
        let lifted = AllLimits { of_namespaces: [("a".to_owned(), 0)].into(), ..limits(0, 2) };
        assert!(!lifted.concern("a") && lifted.concern("b") && limits(1, 0).concern("a"));
    }

    proptest! {
        /// Whatever happens, no limit is passed, and nobody waits where there is room.
        #[test]
        fn limits_hold(steps in proptest::collection::vec((0usize..6, 0usize..2, 0usize..8, 0i64..3), 1..80), total in 0usize..5, each in 0usize..4) {
            let mut places = Places::default();
            places.open();
            places.limit(limits(total, each));
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
