//! A simulated cluster: virtual time, scripted outcomes, and every way in which a real one lets its controller down.
//!
//! The simulator is a driver like the other two. It keeps what a cluster would keep (Pods, results, the workflow as it
//! was last stored) apart from the engine, so that the engine can be killed at any moment and restored from that alone.

mod actions;
mod cluster;
mod faults;
mod outcome;
mod pods;
mod tasks;

pub use cluster::{Ending, Watch, simulate, simulate_from, simulate_together, simulate_watched};
pub use faults::Faults;
pub use outcome::{Outcome, Request, Script, World};
pub use pods::Alive;
