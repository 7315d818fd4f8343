//! Where the nodes of a workflow are. Few of them are in the object itself. More are compressed in it. Where etcd takes not
//! even that, they are outside: in a database, as Argo keeps them, or as an object in the workflow's artifact repository,
//! for which no database is needed.
//!
//! Who reads a workflow asks [`form`], and then [`unpack`] or [`Objects::load`]: afterwards `status.nodes` is whole. What is
//! done here with large ones does not hold up other tasks of the same thread.

mod aside;
mod object;
mod packing;

pub use object::{Marker, Objects, secrets_of};
pub use packing::{MOST, from_database, pack, to_json, unpack};

use tiphys_api::Workflow;

/// Where a workflow's nodes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// In `status.nodes`.
    Whole,
    /// In `status.compressedNodes`.
    Compressed,
    /// In a database, under `status.offloadNodeStatusVersion`.
    Database(String),
    /// In an artifact repository, where `status.offloadNodeStatusVersion` says.
    Object(Box<Marker>),
}

/// Nodes that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is there is no nodes.
    #[error("{place} is damaged: {reason}")]
    Damaged {
        /// What was read.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The artifact repository does not give or take them.
    #[error("the artifact repository: {0}")]
    Store(#[from] tiphys_artifact::Error),
}

impl Error {
    /// Whether the same can succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Damaged { .. } => false,
            Error::Store(error) => error.class() == tiphys_artifact::Class::Transient,
        }
    }
}

/// Where this workflow's nodes are.
///
/// # Errors
/// [`Error::Damaged`]: it says so in a way that cannot be read.
pub fn form(workflow: &Workflow) -> Result<Form, Error> {
    let status = &workflow.status;
    match (status.offload_node_status_version.as_str(), status.compressed_nodes.as_str()) {
        ("", "") => Ok(Form::Whole),
        ("", _) => Ok(Form::Compressed),
        (version, _) => match Marker::parse(version)? {
            Some(marker) => Ok(Form::Object(Box::new(marker))),
            None => Ok(Form::Database(version.to_owned())),
        },
    }
}
