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
    /// Those whose turn it is here, and for whom the database is asked about other locks of theirs.
    pub reserved: BTreeSet<LockHolder>,
    /// What the database said last; None where the lock is this driver's own.
    pub shared: Option<Shared>,
}

/// A lock that controllers share, as the database knows it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Who holds it, under whatever controller.
    pub holders: Vec<LockHolder>,
    /// Whether it was not to be had, and nothing has changed since as far as is known here.
    pub blocked: bool,
}

impl Line {
    pub fn new(name: &LockName) -> Line {
        let shared = name.is_shared().then(Shared::default);
        let own_mutex = shared.is_none() && name.kind() == LockKind::Mutex;
        let limit = if own_mutex { Limit::Known(1) } else { Limit::Unknown };
        Line { limit, holders: BTreeSet::new(), queue: BTreeMap::new(), reserved: BTreeSet::new(), shared }
    }

    /// Whether one more may hold it, or may ask the database for it: one at a time does.
    pub fn has_room(&self) -> bool {
        match &self.shared {
            Some(shared) => !shared.blocked && self.reserved.is_empty(),
            None => matches!(self.limit, Limit::Known(limit) if self.held() < limit),
        }
    }

    /// Something has changed: the database may be asked again.
    pub fn unblock(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.blocked = false;
        }
    }

    /// Who holds it, for those who wait.
    pub fn shown_holders(&self) -> Vec<LockHolder> {
        match &self.shared {
            Some(shared) => shared.holders.clone(),
            None => self.holders.iter().cloned().collect(),
        }
    }

    /// Who is first in line.
    pub fn first(&self) -> Option<&LockHolder> {
        self.queue.values().next()
    }

    /// Whether nobody has anything to do with it.
    pub fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// What somebody who waits for it is told: of what is free, or of what is held where it is shared. argo: semaphore.go and
    /// database_semaphore.go, checkAcquire.
    pub fn message(&self, name: &LockName) -> String {
        match self.limit {
            Limit::Known(limit) if let Some(shared) = &self.shared => {
                let (key, held) = (name.database_key(), shared.holders.len());
                format!("Waiting for {name} lock ({key}). Lock status: {held}/{limit}")
            }
            Limit::Unknown | Limit::Known(0) => format!("Failed to get semaphore limit for {name}"),
            Limit::Known(limit) => {
                format!("Waiting for {name} lock. Lock status: {}/{limit}", limit.saturating_sub(self.held()))
            }
        }
    }

    fn held(&self) -> i64 {
        i64::try_from(self.holders.len() + self.reserved.len()).unwrap_or(i64::MAX)
    }
}
