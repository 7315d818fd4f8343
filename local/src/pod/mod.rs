//! One Pod on this machine: from its JSON, as `podspec` makes it, to sandboxed processes and what became of them.

mod build;
mod env;
mod make;
mod model;
mod probe;
mod state;
mod task;
mod volume;

pub(crate) use build::{EXECUTOR_IMAGE, Workplace};
pub(crate) use make::PodMaker;
pub(crate) use task::{PodJob, Progress, Shop, run};

/// The address of every Pod: they share the machine's network.
pub(crate) const LOOPBACK: &str = "127.0.0.1";
