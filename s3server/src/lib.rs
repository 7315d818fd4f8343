//! The S3 server inside a local run: artifacts and logs pass through the same client code as on a cluster, and lie as
//! ordinary files below the run's folder.
//!
//! [`S3Server::start`] listens on a loopback port the system picks, with credentials made for this server alone, and
//! stores the object `wf/pod/main.log` of bucket `b` as the file `<root>/b/wf/pod/main.log` (the module `key` has the
//! rule for keys a file system cannot hold). The protocol is the crate `s3s`; the store is ours.
//!
//! Guarantees: an object is seen whole or not at all, also after a crash of the process; no key leads out of its
//! bucket's folder; memory does not grow with objects. Not promised: that data outlives a power failure right after the
//! answer, since nothing is forced to the disk. Entity tags name versions and are no MD5 sums. Buckets have no
//! versions, tags, policies or encryption: such requests are refused by name.

mod body;
mod fault;
mod key;
mod layout;
mod list;
mod listing;
mod meta;
mod multipart;
mod objects;
mod secret;
mod server;
mod service;
mod store;
mod uploads;

pub use secret::Secret;
pub use server::{S3Server, StartError};
