//! Artifacts: the stores they live in, their archives, and the way between a store and the local disk, in memory that
//! does not grow with the artifact.
//!
//! [`Artifacts`] is what an executor needs. Below it lie [`Store`], which each kind of store implements, [`archive`],
//! which knows nothing of stores, and the transfers between a store and the disk. Without the feature `stores` only archives
//! are left.

#![cfg_attr(not(feature = "stores"), allow(dead_code, unused_imports, reason = "stores use it"))]

#[cfg(feature = "stores")]
mod agent;
pub mod archive;
#[cfg(feature = "stores")]
mod budget;
mod disk;
#[cfg(feature = "stores")]
mod environment;
mod error;
#[cfg(feature = "stores")]
mod journal;
#[cfg(feature = "stores")]
mod location;
#[cfg(feature = "stores")]
mod mode;
#[cfg(feature = "stores")]
mod names;
mod opened;
#[cfg(feature = "stores")]
mod options;
#[cfg(feature = "stores")]
mod plugin;
#[cfg(feature = "stores")]
mod retry;
#[cfg(feature = "stores")]
mod secret;
#[cfg(feature = "stores")]
mod store;
#[cfg(feature = "stores")]
mod stream;
#[cfg(feature = "stores")]
mod transfer;

#[cfg(feature = "stores")]
pub use agent::{Artifacts, Loaded, Saved, Source, is_tgz};
#[cfg(feature = "stores")]
pub use environment::{Environment, VARIABLES};
pub use error::{Cause, Class, Error, Result};
#[cfg(feature = "stores")]
pub use journal::{Journal, NoJournal, Resume};
#[cfg(feature = "stores")]
pub use location::{Place, has_location, place, strategy};
#[cfg(feature = "stores")]
pub use names::Names;
pub use opened::{Opened, Unresolved};
#[cfg(feature = "stores")]
pub use options::Options;
#[cfg(feature = "stores")]
pub use plugin::Plugins;
#[cfg(feature = "stores")]
pub use retry::Retry;
#[cfg(feature = "stores")]
pub use secret::{MountedSecrets, NoSecrets, Secret, Secrets};
#[cfg(feature = "stores")]
pub use store::rest::text as http_error;
#[cfg(feature = "stores")]
pub use store::{
    Addressing, BasicAuth, Body, ClientCertificate, Encryption, Entry, FileStore, HttpConfig, HttpStore, Identity,
    Listing, MemoryStore, OAuth2, Object, RawStore, S3Config, S3Store, Store,
};
#[cfg(feature = "stores")]
pub use stream::{ByteStream, collect};
#[cfg(feature = "stores")]
pub use transfer::{Moved, load_directory, load_file, save_directory};
