//! Several replicas share the work: workflows are divided into shards by a hash of their uids, and each shard has a Lease.
//!
//! Each replica says by a Lease of its own that it is there, watches all of them, and works out which shards are its
//! ([`share`]). It takes those that are free or whose holder is dead, and gives those up of which it has too many. Between a
//! holder's last moment and the next one's first there is time: a holder that could not renew its Lease stops
//! some seconds before anybody else may take it, and what it has asked the API server for is given up with it
//! ([`Gate`](tiphys_kubernetes::Gate)). The first shard's holder also does what concerns all workflows.
//!
//! Replicas that divide the workflows otherwise never work at the same time: whoever has taken a Lease looks at all others
//! before it begins.

mod lease;
mod members;
mod names;
mod share;
#[cfg(test)]
mod simulated;
mod tenure;
mod terms;

pub use names::{FIRST, shard_of};
pub use share::share;
pub use tenure::{Change, hold};
pub use terms::{TermOptions, Terms};
