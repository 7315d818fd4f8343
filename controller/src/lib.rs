//! The driver for Kubernetes: watches become facts, actions become requests.
//!
//! [`dispatch`] hands what the watches tell to the workflows; [`workflow`] drives one. Nothing is remembered that the API
//! server does not have: after a kill at any moment the next controller finds the same workflows, Pods and results and
//! goes on.

pub mod argo_options;
pub mod baselines;
pub mod cluster;
pub mod config;
pub mod config_watch;
pub mod cron;
pub mod dispatch;
mod durations;
pub mod ended;
pub mod engine_options;
pub mod health;
pub mod image_volumes;
pub mod images;
pub mod locks;
pub mod metrics;
pub mod options;
pub mod parallelism;
pub mod persistence;
pub mod pod_options;
pub mod pod_rate;
mod pod_state;
pub mod pprof;
mod requests;
pub mod retention;
pub mod serve;
pub mod shadow;
pub mod shards;
mod shared_reads;
#[cfg(test)]
mod simulated_api;
pub mod telemetry;
pub mod ttl;
pub mod workflow;
