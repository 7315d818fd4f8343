//! Container images without a daemon: a store in a folder, filled from archives and registries, and unpacked roots for
//! the sandbox.
//!
//! ```no_run
//! # async fn example() -> Result<(), tiphys_oci::Error> {
//! use tiphys_oci::{Reference, Registries, Store};
//! let store = Store::open("/home/me/.local/share/tiphys/images").await?;
//! let name: Reference = "busybox".parse()?;
//! let image = match store.get(&name).await? {
//!     Some(image) => image,
//!     None => store.pull(&name, &Registries::new()).await?,
//! };
//! let rootfs = store.rootfs(&image).await?;
//! println!("{} starts {:?}", rootfs.path().display(), image.config.entrypoint);
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees: content is checked against its digest when it comes in and when it is unpacked; any number of processes
//! may use a store at once, and any of them may die at any moment; no archive or layer writes outside the store.

mod archive;
mod digest;
mod error;
mod folder;
mod lock;
mod manifest;
mod pull;
mod reference;
mod registry;
mod rootfs;
mod scoped;
mod secret;
mod store;
mod unpack;
mod user;

pub use digest::Digest;
pub use error::Error;
pub use manifest::ImageConfig;
pub use reference::Reference;
pub use registry::{PullSecrets, Registries};
pub use rootfs::Rootfs;
pub use scoped::resolve;
pub use store::{Freed, Image, Named, Store};
pub use user::{User, resolve_user};
