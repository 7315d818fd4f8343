//! What a driver (controller or local) and the executor in the Pod agree on, and nothing else: names of containers, paths,
//! environment, exit codes, labels, key rules, the result body and where it goes. No IO.
//!
//! Guarantees: every name below is Argo's (v4.1) unless it begins with `TIPHYS_` or `tiphys`, so that either side can be exchanged
//! for Argo's own. The feature `result` adds the result body, which needs the API types.

#[cfg(feature = "result")]
pub mod carry;
pub mod container;
#[cfg(feature = "result")]
pub mod ended;
pub mod env;
pub mod exit;
pub mod key;
pub mod label;
#[cfg(feature = "result")]
pub mod location;
#[cfg(feature = "result")]
pub mod offload;
pub mod overlap;
pub mod path;
#[cfg(feature = "result")]
pub mod result;
pub mod sink;
pub mod trace;

#[cfg(feature = "result")]
pub use ended::{Cause, Ended};
#[cfg(feature = "result")]
pub use offload::Offloaded;
#[cfg(feature = "result")]
pub use result::TaskResult;
pub use sink::{ResultSink, SinkError};
pub use trace::{SpanId, TraceContext, TraceId, TraceParent};
