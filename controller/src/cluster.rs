//! What all workflows share: the API server, the configuration, and how much may be under way at a time.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Config;
use crate::health::Health;
use crate::images::Images;
use crate::locks::LockDesk;
use crate::metrics::{Held, Metrics};
use crate::parallelism::Parallelism;
use crate::persistence::Connection;
use crate::pod_rate::PodRate;
use tiphys_kubernetes::Api;

/// Limits on requests that are under way at a time. What waits for its turn waits in the order in which it came.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Requests at a time that create Pods
    #[arg(long = "in-flight-pods", env = "TIPHYS_IN_FLIGHT_PODS", default_value = "32", value_name = "N")]
    pub creating: NonZero<u16>,
    /// Requests at a time that write workflows' statuses
    #[arg(long = "in-flight-statuses", env = "TIPHYS_IN_FLIGHT_STATUSES", default_value = "32", value_name = "N")]
    pub writing: NonZero<u16>,
    /// Requests at a time that label Pods as done with; nobody waits for them, and each costs about as much as a Pod
    #[arg(long = "in-flight-labels", env = "TIPHYS_IN_FLIGHT_LABELS", default_value = "2", value_name = "N")]
    pub labelling: NonZero<u16>,
    /// Other requests at a time: reading, deleting, signals
    #[arg(long = "in-flight-others", env = "TIPHYS_IN_FLIGHT_OTHERS", default_value = "16", value_name = "N")]
    pub other: NonZero<u16>,
    /// Steps' results read back at a time from artifact repositories; each may take 32 MiB
    #[arg(long = "in-flight-results", env = "TIPHYS_IN_FLIGHT_RESULTS", default_value = "2", value_name = "N")]
    pub results: NonZero<u16>,
}

/// Turns of one kind of requests.
pub struct Turns {
    name: &'static str,
    free: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A request's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code)] Option<OwnedSemaphorePermit>, #[allow(dead_code)] Held);

impl Turns {
    fn new(name: &'static str, limit: NonZero<u16>, metrics: &Arc<Metrics>) -> Turns {
        Turns { name, free: Arc::new(Semaphore::new(limit.get().into())), metrics: metrics.clone() }
    }

    /// Waits for a turn.
    pub async fn acquire(&self) -> Turn {
        let queued = self.metrics.queued(self.name);
        // It is never closed.
        let permit = self.free.clone().acquire_owned().await.ok();
        drop(queued);
        Turn(permit, self.metrics.busy(self.name))
    }

    /// A turn that is free now.
    pub fn try_acquire(&self) -> Option<Turn> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Turn(Some(permit), self.metrics.busy(self.name)))
    }
}

/// The cluster as every workflow sees it.
pub struct Cluster {
    /// The API server.
    pub api: Api,
    /// What images run by themselves.
    pub images: Images,
    /// Namespace of the controller: its ConfigMaps are there.
    pub namespace: String,
    /// The namespace whose workflows are driven; empty for all.
    pub watched: String,
    /// What is told of all this.
    pub metrics: Arc<Metrics>,
    /// Whether it lives and is ready.
    pub health: Arc<Health>,
    /// Turns of requests that create Pods.
    pub creating: Turns,
    /// Turns of requests that write statuses.
    pub writing: Turns,
    /// Turns of requests that label Pods as done with.
    pub labelling: Turns,
    /// Turns of other requests.
    pub other: Turns,
    /// Turns of reading results back from artifact repositories: each may need much memory.
    pub results: Turns,
    /// Locks of all workflows.
    pub locks: LockDesk,
    /// Places of all workflows.
    pub parallelism: Parallelism,
    /// When the next Pod may be created.
    pub pod_rate: PodRate,
    /// The database of `persistence`.
    pub database: Connection,
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
        let parallelism = Parallelism::default();
        parallelism.limit(config.parallelism);
        Cluster {
            api,
            images,
            namespace,
            watched,
            creating: turns("pod_creation", limits.creating),
            writing: turns("status_write", limits.writing),
            labelling: turns("pod_labelling", limits.labelling),
            other: turns("other", limits.other),
            results: turns("results", limits.results),
            health: Arc::default(),
            metrics,
            locks: LockDesk::default(),
            parallelism,
            pod_rate: PodRate::default(),
            database: Connection::default(),
            config: watch::Sender::new(Arc::new(config)),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
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
