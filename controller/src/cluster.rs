//! What all workflows share: the API server, the configuration, and how much may be under way at a time.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tiphys_api::WorkflowSpec;
use tiphys_engine::{ConfigMapFound, EngineConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::baselines::Baselines;
use crate::config::Config;
use crate::health::Health;
use crate::images::Images;
use crate::locks::LockDesk;
use crate::metrics::{Held, Metrics};
use crate::parallelism::Parallelism;
use crate::persistence::Connection;
use crate::pod_rate::{PodRate, Rate};
use crate::shards::FIRST;
use crate::shared_reads::SharedReads;
use tiphys_kubernetes::{Api, Gate};
use tiphys_otlp::Spans;

/// Events of nodes that wait to be told. argo: k8s.io/client-go/tools/record, maxQueuedEvents.
const UNTOLD: usize = 1000;

/// A template's spec, or why there is none.
pub type TemplateFound = Result<Box<WorkflowSpec>, String>;

/// Limits on requests that are under way at a time. What waits for its turn waits in the order in which it came.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Requests at a time that create Pods
    #[arg(long, env = "TIPHYS_IN_FLIGHT_PODS", default_value = "32", value_name = "N")]
    pub in_flight_pods: NonZero<u16>,
    /// Requests at a time that write workflows' statuses
    #[arg(long, env = "TIPHYS_IN_FLIGHT_STATUSES", default_value = "32", value_name = "N")]
    pub in_flight_statuses: NonZero<u16>,
    /// Requests at a time that label Pods as done with; each costs about as much as a Pod, and they make way for Pods that
    /// are to be created
    #[arg(long, env = "TIPHYS_IN_FLIGHT_LABELS", default_value = "2", value_name = "N")]
    pub in_flight_labels: NonZero<u16>,
    /// Requests at a time that tell events; of nodes' events those are dropped before which a thousand wait
    #[arg(long, env = "TIPHYS_IN_FLIGHT_EVENTS", default_value = "1", value_name = "N")]
    pub in_flight_events: NonZero<u16>,
    /// Other requests at a time: reading, deleting, signals
    #[arg(long, env = "TIPHYS_IN_FLIGHT_OTHERS", default_value = "16", value_name = "N")]
    pub in_flight_others: NonZero<u16>,
    /// Steps' results read back at a time from artifact repositories; each may take 32 MiB
    #[arg(long, env = "TIPHYS_IN_FLIGHT_RESULTS", default_value = "2", value_name = "N")]
    pub in_flight_results: NonZero<u16>,
}

/// Turns of one kind of requests.
#[derive(Clone)]
pub struct Turns {
    name: &'static str,
    limit: usize,
    free: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A request's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code)] Option<OwnedSemaphorePermit>, #[allow(dead_code)] Held);

impl Turns {
    fn new(name: &'static str, limit: NonZero<u16>, metrics: &Arc<Metrics>) -> Turns {
        let limit = limit.get().into();
        Turns { name, limit, free: Arc::new(Semaphore::new(limit)), metrics: metrics.clone() }
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Waits for a turn.
    pub async fn acquire(&self) -> Turn {
        let (queued, since) = (self.metrics.queued(self.name), Instant::now());
        // It is never closed.
        let permit = self.free.clone().acquire_owned().await.ok();
        drop(queued);
        self.metrics.request_delayed(since.elapsed());
        Turn(permit, self.metrics.busy(self.name))
    }

    /// Sends a request when it is its turn.
    pub async fn send<F: Future>(&self, request: F) -> F::Output {
        let _turn = self.acquire().await;
        request.await
    }

    /// Waits until nobody is in line, at most so long.
    pub async fn until_idle(&self, at_most: Duration) {
        // At the end of the line; it is over as well when the turn comes.
        let _ = tokio::time::timeout(at_most, self.free.acquire()).await;
    }

    /// A turn that is free now.
    pub fn try_acquire(&self) -> Option<Turn> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        self.metrics.request_delayed(Duration::ZERO);
        Some(Turn(Some(permit), self.metrics.busy(self.name)))
    }
}

/// The cluster as every workflow sees it. A copy shares all but the way to the API server.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub api: Api,
    /// What images run by themselves.
    pub images: Arc<Images>,
    /// Namespace of the controller: its ConfigMaps are there.
    pub namespace: String,
    /// The namespace whose workflows are driven; empty for all.
    pub watched: String,
    /// What is told of all this.
    pub metrics: Arc<Metrics>,
    /// Whether it lives and is ready.
    pub health: Arc<Health>,
    /// Where spans are told, where they are.
    pub traces: Option<Spans>,
    /// Turns of requests that create Pods.
    pub creating: Turns,
    /// Turns of requests that write statuses.
    pub writing: Turns,
    /// Turns of requests that label Pods as done with.
    pub labelling: Turns,
    /// Turns of requests that tell events.
    pub telling: Turns,
    /// Events of nodes that may be in that line.
    pub untold: Arc<Semaphore>,
    /// Turns of other requests.
    pub other: Turns,
    /// Turns of reading results back from artifact repositories: each may need much memory.
    pub results: Turns,
    /// Reads of ConfigMaps.
    pub config_maps: SharedReads<ConfigMapFound>,
    /// Reads of templates.
    pub templates: SharedReads<TemplateFound>,
    /// Locks of all workflows.
    pub locks: Arc<LockDesk>,
    /// Places of all workflows.
    pub parallelism: Arc<Parallelism>,
    /// When the next Pod may be created.
    pub pod_rate: Arc<PodRate>,
    /// By which workflows durations are estimated.
    pub baselines: Baselines,
    /// The database of `persistence`.
    pub database: Arc<Connection>,
    /// Whether this is the first shard's: it decides what concerns all workflows, and keeps the locks.
    pub is_first: bool,
    /// Into how many shards the workflows are divided, and how many of them are this replica's.
    pub shards: u32,
    /// Whether Pods can mount images, as far as it was found out.
    pub mounts_images: Arc<AtomicBool>,
    held: Arc<AtomicU32>,
    config: watch::Sender<Arc<Config>>,
}

impl Cluster {
    /// Over an API server.
    pub fn new(
        api: Api,
        images: Images,
        namespace: String,
        watched: String,
        config: Config,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Cluster {
        let turns = |name, limit| Turns::new(name, limit, &metrics);
        let parallelism = Arc::new(Parallelism::default());
        parallelism.limit(config.parallelism);
        Cluster {
            api,
            images: Arc::new(images),
            namespace,
            watched,
            creating: turns("pod_creation", limits.in_flight_pods),
            writing: turns("status_write", limits.in_flight_statuses),
            labelling: turns("pod_labelling", limits.in_flight_labels),
            telling: turns("event", limits.in_flight_events),
            untold: Arc::new(Semaphore::new(UNTOLD)),
            other: turns("other", limits.in_flight_others),
            results: turns("results", limits.in_flight_results),
            health: Arc::default(),
            metrics,
            traces: None,
            config_maps: SharedReads::default(),
            templates: SharedReads::default(),
            locks: Arc::default(),
            parallelism,
            pod_rate: Arc::default(),
            baselines: Baselines::default(),
            database: Arc::default(),
            is_first: false,
            shards: config.shards.max(1),
            mounts_images: Arc::default(),
            held: Arc::default(),
            config: watch::Sender::new(Arc::new(config)),
        }
    }

    /// The same, with spans told there.
    #[must_use]
    pub fn traced(self, traces: Option<Spans>) -> Cluster {
        Cluster { traces, ..self }
    }

    /// The same for the workflows of one shard: what they ask for passes its gate.
    #[must_use]
    pub fn of_shard(&self, shard: u32, gate: Arc<Gate>) -> Cluster {
        Cluster {
            api: self.api.behind(gate),
            is_first: shard == FIRST,
            config_maps: SharedReads::default(),
            templates: SharedReads::default(),
            ..self.clone()
        }
    }

    /// So many shards are this replica's.
    pub fn holds(&self, shards: usize) {
        self.held.store(u32::try_from(shards).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// How many Pods this replica may create a second: of the limit, what its shards are of all.
    pub fn pod_rate(&self) -> Option<Rate> {
        let Rate { limit, burst } = self.config().pod_rate?;
        let share = f64::from(self.held.load(Ordering::Relaxed).max(1)) / f64::from(self.shards);
        Some(Rate { limit: limit * share, burst: (f64::from(burst) * share).ceil() as u32 })
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// What the engine is told of the configuration in force, and of where this controller is.
    pub fn engine(&self) -> EngineConfig {
        EngineConfig { controller_namespace: self.namespace.clone(), ..self.config().engine() }
    }

    /// The configuration in force, and whenever there is another one.
    pub fn configured(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Puts another configuration in force: for every Pod that is made from now on.
    pub fn configure(&self, config: Config) {
        self.parallelism.limit(config.parallelism);
        self.config.send_replace(Arc::new(config));
    }

    /// Waits until a configuration is in force that is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Config) -> bool) {
        // The sender is this cluster's own, so that it is never gone.
        let _ = self.config.subscribe().wait_for(|config| wanted(config)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Settings;

    #[tokio::test(start_paused = true)]
    async fn who_makes_way_waits_while_others_are_in_line_but_not_for_ever() {
        let turns = Turns::new("pod_creation", NonZero::<u16>::MIN, &Arc::new(Metrics::new(Settings::default())));
        let begun = tokio::time::Instant::now();
        turns.until_idle(Duration::from_secs(8)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody is in line");
        let turn = turns.acquire().await;
        turns.until_idle(Duration::from_secs(8)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(8), "somebody is at it");
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(turn);
        };
        tokio::join!(ends, turns.until_idle(Duration::from_secs(8)));
        assert_eq!(begun.elapsed(), Duration::from_secs(9), "it is over");
        assert!(turns.try_acquire().is_some(), "no turn is kept");
    }
}
