//! The API server as the controller and the command line use it: requests that say whether they may be repeated, watches
//! that never end, the parts of objects that are looked at, and nodes that are compressed.
//!
//! `kube` brings the connection and everything about who we are. Requests and watches are our own, because the controller
//! reads less of an object than `kube`'s types hold (a Workflow's watch brings metadata alone, a Pod's only what tells how
//! it does), and because the server's own word (`Retry-After`, 429, 410) decides when to ask again.

mod api;
mod backoff;
mod connect;
mod error;
mod gate;
mod objects;
mod pages;
mod path;
mod read_only;
mod secret;
mod watch;

pub use api::{Answered, Api, Observer};
pub use backoff::{Backoff, retried};
pub use connect::{Access, ConnectError, connect};
pub use error::ApiError;
pub use gate::Gate;
pub use objects::{
    Condition, ContainerStatus, List, Metadata, Mount, ObjectMeta, Pod, PodSpec, PodStatus, Resources, SpecContainer,
    State, TaskResultObject, TaskSetObject, Terminated, Waiting,
};
pub use pages::Pages;
pub use path::{Collection, Kind};
pub use read_only::read_only;
pub use secret::{SecretError, SecretObject};
pub use watch::{Event, METADATA_ALONE, changed, watch, watch_for};
