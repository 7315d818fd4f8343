//! A simulated cluster: virtual time, scripted outcomes, and every way in which a real one lets its controller down.
//!
//! The simulator is a driver like the other two. It keeps what a cluster would keep (Pods, results, the workflow as it
//! was last stored) apart from the engine, so that the engine can be killed at any action and restored from that alone.

mod cluster;
mod faults;

pub use cluster::{Outcome, Script, World, simulate};
pub use faults::Faults;
