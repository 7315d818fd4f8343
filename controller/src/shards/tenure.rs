//! The time for which a replica has a shard: it begins with a Lease, and ends when that is lost, or given up for others.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tiphys_kubernetes::{Api, ApiError, Backoff, Gate};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::lease::{Held, Known, Lease, leases};
use super::members::{self, Wanted};
use super::names::{FIRST, Names};
use super::terms::Terms;

/// What a replica is told about its shards.
#[derive(Debug)]
pub enum Change {
    /// A shard is ours. What is asked of the API server for its sake has to pass the gate.
    Begin {
        /// Its number.
        shard: u32,
        /// The gate, which is shut when it no longer is.
        gate: Arc<Gate>,
    },
    /// It no longer is. The gate is shut.
    End {
        /// Its number.
        shard: u32,
        /// To be dropped or answered when nothing is done for it any more.
        done: oneshot::Sender<()>,
    },
}

/// Holds this replica's share of the shards until `stop` is done, and gives them back then.
///
/// # Errors
/// The API server refuses, so that waiting is of no use.
pub async fn hold(
    api: Api,
    (namespace, instance): (&str, &str),
    identity: &str,
    shards: u32,
    terms: Terms,
    to: mpsc::Sender<Change>,
    stop: impl Future<Output = ()>,
) -> Result<(), ApiError> {
    let names = Names::new(instance, shards);
    let known = Known::default();
    let lease = |name| Lease {
        api: api.clone(),
        leases: leases(namespace),
        names: names.clone(),
        name,
        identity: identity.to_owned(),
        terms,
        known: known.clone(),
    };
    let (wanted, _) = watch::channel(Wanted::new());
    let mut holding = JoinSet::new();
    for shard in 0..shards {
        let holder = Holder { shard, lease: lease(names.shard(shard)), wanted: wanted.subscribe(), to: to.clone() };
        holding.spawn(holder.run());
    }
    drop(to);
    let followed = async {
        if shards == 1 {
            // Nothing is shared, and Argo's rights are enough.
            wanted.send_replace(Wanted::from([FIRST]));
            stop.await;
            Ok(())
        } else {
            members::follow(lease(names.member(identity)), &wanted, stop).await
        }
    };
    let ended = tokio::select! {
        ended = followed => ended,
        // Nobody ends before it is told that nothing is wanted any more, but for an error.
        Some(Ok(Err(error))) = holding.join_next() => Err(error),
    };
    // They give back what they have.
    drop(wanted);
    while let Some(ended) = holding.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "who held a shard has died");
        }
    }
    ended
}

/// Holds one shard whenever it is wanted.
struct Holder {
    shard: u32,
    lease: Lease,
    wanted: watch::Receiver<Wanted>,
    to: mpsc::Sender<Change>,
}

impl Holder {
    async fn run(mut self) -> Result<(), ApiError> {
        let shard = self.shard;
        // An error is that nothing is wanted any more.
        while self.wanted.wait_for(|wanted| wanted.contains(&shard)).await.is_ok() {
            let mut wanted = self.wanted.clone();
            let held = tokio::select! {
                held = self.take() => Some(held?),
                () = unwanted(&mut wanted, shard) => None,
            };
            let Some(held) = held else {
                // It may have become ours in this moment.
                self.lease.release().await;
                continue;
            };
            let gate = Arc::new(Gate::default());
            tracing::info!(shard, lease = self.lease.name, "this replica works");
            if self.to.send(Change::Begin { shard, gate: gate.clone() }).await.is_err() {
                break;
            }
            let lost = tokio::select! {
                reason = self.lease.keep(held) => Some(reason),
                () = unwanted(&mut wanted, shard) => None,
            };
            match &lost {
                Some(reason) => {
                    gate.shut();
                    tracing::error!(shard, "{reason}");
                }
                None => {
                    gate.close(self.lease.terms.drain()).await;
                    tracing::info!(shard, "handed over");
                }
            }
            let (done, ended) = oneshot::channel();
            if self.to.send(Change::End { shard, done }).await.is_ok() {
                let _ = ended.await;
            }
            if lost.is_none() {
                self.lease.release().await;
            }
        }
        Ok(())
    }

    /// Waits until the Lease is ours, and nobody works who divides the workflows otherwise.
    async fn take(&self) -> Result<Held, ApiError> {
        let mut seen = FxHashMap::default();
        let mut backoff = Backoff::default();
        loop {
            match self.lease.rival(&mut seen).await {
                Ok(None) => {}
                Ok(Some(rival)) => {
                    let (shards, holder) = (rival.shards, &rival.holder);
                    tracing::warn!(
                        lease = rival.lease,
                        holder,
                        shards,
                        "waiting: it divides workflows into another number of shards"
                    );
                    self.lease.watch_rival(&rival).await;
                    continue;
                }
                Err(error) if error.is_transient() => {
                    error.wait(&mut backoff).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let held = self.lease.acquire().await?;
            // Two who take different Leases at the same time see each other's here, at least one of them.
            match self.lease.rival(&mut seen).await {
                Ok(None) if held.since.elapsed() < self.lease.terms.renew_within => return Ok(held),
                _ => self.lease.release().await,
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

/// Waits until a shard is no longer wanted, or nothing is any more.
async fn unwanted(wanted: &mut watch::Receiver<Wanted>, shard: u32) {
    let _ = wanted.wait_for(|wanted| !wanted.contains(&shard)).await;
}
