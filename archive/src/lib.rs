//! Finished workflows, and nodes that are too many for an object of Kubernetes, in a database: PostgreSQL, MySQL, MariaDB or
//! SQLite, with Argo's tables and columns (argo: persist/sqldb), so that either reads what the other has written. Locks that
//! controllers share, in the same way (argo: util/sync/db).
//!
//! [`Database`] is the connection, [`Archive`] the finished workflows, [`OffloadedNodes`] the nodes, [`LockTables`] the locks.
//! [`config`] reads what the controller's ConfigMap says of them. Nothing here knows of Kubernetes' API: who opens a database
//! brings the user's name and the password.

mod archive;
pub mod config;
mod database;
mod dialect;
mod error;
mod filter;
mod locks;
mod migrate;
mod offload;
mod schema;
mod selector;
mod settings;
mod statement;

pub use archive::Archive;
pub use database::Database;
pub use error::Error;
pub use filter::{Filter, NameFilter};
pub use locks::{LockKey, LockLimit, LockPlace, LockRow, LockTables, Standing, TableNames, Took};
pub use offload::{OffloadedNodes, Version};
pub use selector::{Operator, Requirement, SelectorError};
pub use settings::{Credentials, Encryption, Engine, PoolSize, Reconnection, Server, Settings};

/// Label of a finished workflow: whether it is archived. argo: workflow/common/common.go.
pub const ARCHIVING_STATUS: &str = "workflows.argoproj.io/workflow-archiving-status";
/// Its value while a workflow waits for it.
pub const PENDING: &str = "Pending";
/// Its value on a workflow that is archived, and still there.
pub const ARCHIVED: &str = "Archived";
/// Its value on what comes out of the archive.
pub const PERSISTED: &str = "Persisted";
