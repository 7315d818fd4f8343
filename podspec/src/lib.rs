//! From a template to a Pod, without IO: the same input gives the same Pod.
//!
//! [`build`] follows the order of Argo's own builder (argo: workflow/controller/workflowpod.go), because later steps see
//! what earlier ones made: mounts are mirrored after all of them are known, `podSpecPatch` is applied before commands are
//! wrapped. What the Pod's containers find (names, paths, environment) is [`tiphys_contract`]'s.
//!
//! Facts that are missing come back as errors that say what to look up ([`Error::CommandUnknown`],
//! [`Error::TokenSecretUnknown`]); the caller adds them to [`PodConfig`] and asks again.

mod agent;
mod archive;
mod artifact_gc;
mod artifacts;
mod build;
pub mod compare;
mod config;
mod draft;
mod environment;
mod error;
mod executor;
mod finish;
mod go;
mod input;
mod main_containers;
mod metadata;
mod names;
mod offload;
mod plugins;
pub mod quantity;
mod scheduling;
mod secrets;
mod solo;
pub mod usage;
mod volumes;

pub use agent::{Agent, agent};
pub use archive::repository_location;
pub use artifact_gc::{ArtifactGc, artifact_gc};
pub use build::build;
pub use config::{AgentConfig, ArtifactDriver, ExecutorDefaults, ImageCommand, KubeConfig, Layout, PodConfig};
pub use draft::Pod;
pub use error::Error;
pub use input::{Input, Request};
pub use metadata::owner_reference;
