//! The types of argoproj.io/v1alpha1: parsed with positions, printed without loss.

pub mod artifact;
mod definitions;
pub mod diagnostic;
pub mod document;
pub mod kinds;
pub mod kube;
pub mod merge;
mod nodes;
mod object;
pub mod phase;
pub mod policy;
pub mod scalar;
pub mod status;
pub mod template;
pub mod workflow;
pub mod yaml;

pub use artifact::*;
pub use definitions::definitions;
pub use kinds::*;
pub use kube::*;
pub use nodes::Nodes;
pub use object::{Extra, Field};
pub use phase::*;
pub use policy::*;
pub use scalar::*;

pub use status::*;
pub use template::*;
pub use workflow::*;
