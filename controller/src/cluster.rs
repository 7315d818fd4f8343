//! What all workflows share: the API server, the configuration, and how much may be under way at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::config::Config;
use crate::images::Images;
use crate::locks::LockDesk;
use tiphys_kubernetes::Api;

/// Limits on requests that are under way at a time. What waits for its turn waits in the order in which it came.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Creating Pods.
    pub creating: usize,
    /// Writing statuses.
    pub writing: usize,
    /// Everything else: reading, labelling, deleting, signals.
    pub other: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { creating: 32, writing: 32, other: 16 }
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
    /// Turns of requests that create Pods.
    pub creating: Semaphore,
    /// Turns of requests that write statuses.
    pub writing: Semaphore,
    /// Turns of other requests.
    pub other: Semaphore,
    /// Locks of all workflows.
    pub locks: LockDesk,
    config: Mutex<Arc<Config>>,
}

impl Cluster {
    /// Over an API server.
    pub fn new(api: Api, images: Images, namespace: String, config: Config, limits: Limits) -> Cluster {
        Cluster {
            api,
            images,
            namespace,
            creating: Semaphore::new(limits.creating),
            writing: Semaphore::new(limits.writing),
            other: Semaphore::new(limits.other),
            locks: LockDesk::default(),
            config: Mutex::new(Arc::new(config)),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another configuration in force: for every Pod that is made from now on.
    pub fn configure(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}
