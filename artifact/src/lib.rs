//! Artifacts: the stores they live in, their archives, and the way between a store and the local disk, in memory that
//! does not grow with the artifact.
//!
//! [`Artifacts`] is what an executor needs. Below it lie [`Store`], which each kind of store implements, [`archive`],
//! which knows nothing of stores, and the transfers between a store and the disk.

mod agent;
pub mod archive;
mod budget;
mod environment;
mod error;
mod journal;
mod location;
mod mode;
mod names;
mod opened;
mod options;
mod plugin;
mod retry;
mod secret;
mod store;
mod stream;
mod transfer;

pub use agent::{Artifacts, Loaded, Saved, Source, is_tgz};
pub use environment::{Environment, VARIABLES};
pub use error::{Cause, Class, Error, Result};
pub use journal::{Journal, NoJournal, Resume};
pub use location::{Place, has_location, place, strategy};
pub use names::Names;
pub use opened::{Opened, Unresolved};
pub use options::Options;
pub use plugin::Plugins;
pub use retry::Retry;
pub use secret::{MountedSecrets, NoSecrets, Secret, Secrets};
pub use store::rest::text as http_error;
pub use store::{
    Addressing, BasicAuth, Body, ClientCertificate, Encryption, Entry, FileStore, HttpConfig, HttpStore, Identity,
    Listing, MemoryStore, OAuth2, Object, RawStore, S3Config, S3Store, Store,
};
pub use stream::{ByteStream, collect};
pub use transfer::{Moved, load_directory, load_file, save_directory};
