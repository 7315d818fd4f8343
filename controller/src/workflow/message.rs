//! What a workflow is told.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashSet;
use serde_json::Value;
use tiphys_api::Workflow;
use tiphys_contract::TaskResult;
use tiphys_engine::{Fact, NodeId};

use super::nodes::{Held, NodesError};
use crate::cluster::Turn;
use tiphys_kubernetes::{ApiError, Pod, TaskResultObject, TaskSetObject};

/// What a workflow is told: by the watches, or by its own requests when they are through.
#[derive(Debug)]
pub enum Message {
    /// The object has this version now.
    Changed {
        /// `metadata.resourceVersion`
        version: String,
    },
    /// The object is gone: it was looked for.
    Deleted,
    /// A Pod of the workflow is new or changed, and when that was seen.
    Pod(Box<Pod>, Instant),
    /// A Pod is gone, as it was at last.
    PodGone(Box<Pod>),
    /// The watch of Pods began anew: these are all there were then, by uid.
    PodsListed(Arc<FxHashSet<String>>),
    /// A task result is new or changed.
    TaskResult(Box<TaskResultObject>),
    /// The agent's work list is new or changed.
    TaskSet(Box<TaskSetObject>),
    /// The answer to a need, or what came of a request.
    Fact(Fact),
    /// A Pod was created, or was there already.
    Created {
        /// Its node.
        node: NodeId,
        /// What the server made of it.
        pod: Box<Pod>,
    },
    /// A Pod whose results were in the artifact repository, and the results.
    Results {
        /// The Pod, as it was.
        pod: Box<Pod>,
        /// What it told, whole; or why that cannot be had.
        outcome: Result<Box<TaskResult>, String>,
    },
    /// It is the workflow's turn to write.
    Turn(Turn),
    /// A write is through.
    Written(Result<Accepted, Refusal>),
    /// What was made for the workflow has gone, but for these volumes.
    Cleared(Vec<Value>),
    /// The object was read because somebody else wrote it.
    Read(Result<(Box<Workflow>, Held), Refusal>),
}

/// What the API server has taken.
#[derive(Debug)]
pub struct Accepted {
    /// The object's new version.
    pub version: String,
    /// `status.offloadNodeStatusVersion`, where that was written.
    pub outside: Option<String>,
    /// How long that took.
    pub took: std::time::Duration,
}

/// A write or read that did not come off.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The API server said no.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Nodes outside the object cannot be kept there, or had.
    #[error("{message}")]
    Outside {
        /// Why not.
        message: String,
        /// Whether the same can succeed later.
        transient: bool,
    },
}

impl From<NodesError> for Refusal {
    fn from(error: NodesError) -> Refusal {
        Refusal::Outside { message: error.to_string(), transient: error.is_transient() }
    }
}
