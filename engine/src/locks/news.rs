//! What is asked of the table of locks, and what it tells.

use jiff::Timestamp;

use super::name::{LockHolder, LockName};

/// Locks that somebody needs, all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Who needs them.
    pub holder: LockHolder,
    /// The locks, each once.
    pub locks: Vec<LockName>,
    /// The workflow's priority: higher ones come first.
    pub priority: i64,
    /// When the workflow was created: of the same priority the older comes first.
    pub created: Timestamp,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockAnswer {
    /// The holder has all the locks, until they are released.
    Granted,
    /// The holder stands in line, and will be told when it has the locks.
    Waiting(LockWait),
    /// The locks cannot be had at all. The holder has nothing and stands in no line.
    Refused {
        /// Why, in Argo's words.
        message: String,
    },
    /// A lock that the workflow's status holds is not the holder's any more, and may be somebody else's.
    Lost {
        /// Why, in Argo's words.
        message: String,
    },
}

/// What keeps a holder waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// The first lock that is not to be had.
    pub lock: LockName,
    /// How that is told, in Argo's words.
    pub message: String,
    /// Who holds each of the locks that were asked for.
    pub held_by: Vec<(LockName, Vec<LockHolder>)>,
}

/// What follows from a call: facts for workflows ([`crate::Fact::Locks`]), limits that must be looked up, and what is to be
/// done in the database of the locks that controllers share.
#[derive(Debug, Default)]
#[must_use = "workflows wait for what is told here"]
pub struct LockNews {
    /// Who is to be told what.
    pub told: Vec<(LockHolder, LockAnswer)>,
    /// Locks that somebody has got, once for each who has.
    pub taken: Vec<LockName>,
    /// Namespaces and names of ConfigMaps that hold limits: each is read once and told with [`crate::Locks::config_map`].
    pub limits: Vec<(String, String)>,
    /// What is to be done in the database, one after the other in this order.
    pub shared: Vec<SharedWork>,
}

impl LockNews {
    pub(super) fn add(&mut self, more: LockNews) {
        self.told.extend(more.told);
        self.limits.extend(more.limits);
        self.shared.extend(more.shared);
        self.taken.extend(more.taken);
    }
}

/// Something to be done in the database. Each can be done again without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedWork {
    /// The holder waits for these locks, among others in the order of their turn.
    Queue(SharedRequest),
    /// It is the holder's turn, as far as this driver knows: it takes all of these or none. What came of it is told with
    /// [`crate::Locks::taken`], [`crate::Locks::not_taken`] or [`crate::Locks::refused`].
    Take {
        /// Who, and what.
        request: SharedRequest,
        /// Tells this attempt from others of the same holder.
        attempt: u64,
    },
    /// How these locks are is told with [`crate::Locks::seen`].
    Look(Vec<SharedLock>),
    /// The holder neither has nor awaits these any more.
    GiveUp {
        /// Who.
        holder: LockHolder,
        /// The locks.
        locks: Vec<LockName>,
    },
    /// A status says that the holder has this lock. Where the database says otherwise, it is told with
    /// [`crate::Locks::lost`].
    Keep {
        /// Who.
        holder: LockHolder,
        /// The lock.
        lock: LockName,
    },
}

/// Locks of the database that somebody needs, all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRequest {
    /// Who needs them.
    pub holder: LockHolder,
    /// The locks.
    pub locks: Vec<SharedLock>,
    /// The workflow's priority.
    pub priority: i64,
    /// When the workflow was created.
    pub created: Timestamp,
}

/// A lock, and the limit that was read last: it holds where there is none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLock {
    /// The lock.
    pub name: LockName,
    /// The limit; None while none was read.
    pub limit: Option<i64>,
}

/// How a lock is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedState {
    /// The lock.
    pub name: LockName,
    /// How many may hold it.
    pub limit: i64,
    /// Who does, under whatever controller.
    pub holders: Vec<LockHolder>,
    /// Whether the one who asked could have it, others aside.
    pub free: bool,
}

/// A lock for somebody who looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockState {
    /// The lock.
    pub name: LockName,
    /// How many may hold it; None while that is being looked up.
    pub limit: Option<i64>,
    /// Who holds it.
    pub holders: Vec<LockHolder>,
    /// Who waits for it, in the order of their turn.
    pub waiting: Vec<LockHolder>,
}
