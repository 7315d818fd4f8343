//! One workflow: its engine, what is known of its Pods, and what has to be written.

mod actor;
mod admission;
#[cfg(test)]
mod api_server;
mod caches;
mod collect;
mod events;
mod executor_plugins;
mod foreign;
mod leaving;
mod memo;
mod message;
mod needs;
mod nodes;
mod pods;
mod prepare;
mod pull_secrets;
mod release;
mod repository;
mod results;
mod shadow;
mod signals;
mod status;
pub(crate) mod strays;
mod tally;
mod tasks;
mod trace;

pub(crate) use actor::is_newer;
pub use actor::{Ending, drive};
pub(crate) use admission::postponement;
pub use caches::{CacheGc, collect_caches};
pub use collect::Collector;
pub use executor_plugins::ExecutorPlugins;
pub use memo::Memoization;
pub use message::Message;
pub(crate) use nodes::{NodesError, make_whole};
pub use shadow::look_on;
pub use status::SizeLimits;
