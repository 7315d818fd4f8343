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

/// What follows from a call: facts for workflows ([`crate::Fact::Locks`]), and limits that must be looked up.
#[derive(Debug, Default)]
#[must_use = "workflows wait for what is told here"]
pub struct LockNews {
    /// Who is to be told what.
    pub told: Vec<(LockHolder, LockAnswer)>,
    /// Locks that somebody has got, once for each who has.
    pub taken: Vec<LockName>,
    /// Namespaces and names of ConfigMaps that hold limits: each is read once and told with [`crate::Locks::config_map`].
    pub limits: Vec<(String, String)>,
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
