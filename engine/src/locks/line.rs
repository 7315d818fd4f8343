//! One lock: how many may hold it, who does, and who waits in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::name::{LockHolder, LockKind, LockName};

/// How many may hold a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// It is being looked up.
    Unknown,
    /// So many.
    Known(i64),
}

/// A place in line: by priority, then by the workflow's age, then by who came first. It is the same in every line that a
/// request stands in, so that no two wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: Reverse<i64>,
    created: Timestamp,
    number: u64,
}

impl Place {
    pub fn new(priority: i64, created: Timestamp, number: u64) -> Place {
        Place { priority: Reverse(priority), created, number }
    }

    /// Which request it was.
    pub fn number(self) -> u64 {
        self.number
    }
}

/// A lock with those who hold it and those who wait for it.
#[derive(Debug)]
pub(super) struct Line {
    pub limit: Limit,
    pub holders: BTreeSet<LockHolder>,
    pub queue: BTreeMap<Place, LockHolder>,
}

impl Line {
    pub fn new(name: &LockName) -> Line {
        let limit = if name.kind() == LockKind::Mutex { Limit::Known(1) } else { Limit::Unknown };
        Line { limit, holders: BTreeSet::new(), queue: BTreeMap::new() }
    }

    /// Whether one more may hold it.
    pub fn has_room(&self) -> bool {
        matches!(self.limit, Limit::Known(limit) if self.held() < limit)
    }

    /// Who is first in line.
    pub fn first(&self) -> Option<&LockHolder> {
        self.queue.values().next()
    }

    /// Whether nobody has anything to do with it.
    pub fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// What somebody who waits for it is told. argo: semaphore.go, checkAcquire.
    pub fn message(&self, name: &LockName) -> String {
        match self.limit {
            Limit::Unknown | Limit::Known(0) => format!("Failed to get semaphore limit for {name}"),
            Limit::Known(limit) => {
                format!("Waiting for {name} lock. Lock status: {}/{limit}", limit.saturating_sub(self.held()))
            }
        }
    }

    fn held(&self) -> i64 {
        i64::try_from(self.holders.len()).unwrap_or(i64::MAX)
    }
}
