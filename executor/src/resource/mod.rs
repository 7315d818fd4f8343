//! `resource`: an operation on a Kubernetes object.

pub mod jq;
pub mod jsonpath;
mod label;
#[cfg(test)]
mod recorded;
pub mod selector;
