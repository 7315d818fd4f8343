//! The executor in a step's Pod: PID 1 of every user container (the *emissary*) and, with the feature `agent`, what
//! prepares the Pod before it and reports its results after it (`init`, `wait`).
//!
//! The emissary is what gets copied into every Pod, so it is synchronous, static and small; nothing it uses may depend on
//! the feature `agent`. Nothing in this crate waits by asking again: the end of a process, a signal and a changed file are
//! events.

#[cfg(feature = "agent")]
mod agent;
pub mod args;
#[cfg(feature = "agent")]
pub mod cluster;
pub mod duration;
pub mod emissary;
pub mod exit_file;
pub mod kill;
pub mod log;
pub mod mailbox;
pub mod paths;
#[cfg(feature = "agent")]
mod plugins;
pub mod process;
#[cfg(feature = "agent")]
pub mod resource;
pub mod shared_files;
pub mod sidecar;
#[cfg(feature = "agent")]
pub mod tasks;

#[cfg(feature = "agent")]
pub use agent::{main_from_args, run_below};
