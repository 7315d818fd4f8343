//! Spans and metrics for a collector, sent as OpenTelemetry's protocol says: gRPC, or protobuf over HTTP.
//!
//! The variables are OpenTelemetry's. Without an endpoint there is nothing: no connection, no thread, no queue. The official SDK would
//! cost the executor more than all this together, and keeps spans by ids of its own making, where ours follow from names
//! ([`tiphys_contract::trace`]) so that another process can go on with them.

mod connect;
mod exporter;
mod grpc;
mod message;
mod metric;
mod queue;
#[cfg(feature = "receiver")]
pub mod receiver;
mod sampler;
mod settings;
mod span;

pub use connect::BoxedIo;
pub use exporter::{ExportError, Exporter};
pub use metric::{Family, FamilyKind, Measure, Point};
pub use queue::{Pace, Sending, Spans};
pub use sampler::Sampler;
pub use settings::{Protocol, Resource, Settings, SettingsError, Signal};
pub use span::{Kind, Outcome, Span, Value};
