//! What templates and workflows say of retries, locks and metrics.

use serde_json::Value;

use crate::kube::KeySelector;
use crate::object::object;
use crate::scalar::{Amount, IntOrString};

object! {
    /// When a failed node is tried again.
    pub struct RetryStrategy {
        "limit" => limit: Option<IntOrString>,
        "retryPolicy" => retry_policy: String,
        "backoff" => backoff: Option<Box<Backoff>>,
        "affinity" => affinity: Option<Box<RetryAffinity>>,
        "expression" => expression: String,
    }
}

object! {
    /// The wait between attempts.
    pub struct Backoff {
        "duration" => duration: String,
        "factor" => factor: Option<IntOrString>,
        "maxDuration" => max_duration: String,
        "cap" => cap: String,
    }
}

object! {
    /// Keeps attempts away from hosts where earlier ones failed.
    pub struct RetryAffinity {
        "nodeAntiAffinity" => node_anti_affinity: Option<Value>,
    }
}

object! {
    /// The locks that must be held while a workflow or template runs.
    pub struct Synchronization {
        "semaphores" => semaphores: Vec<SemaphoreRef>,
        "mutexes" => mutexes: Vec<Mutex>,
    }
}

object! {
    /// A semaphore's limit in the database.
    pub struct SyncDatabaseRef {
        "key" => key: String,
    }
}

object! {
    /// A semaphore.
    pub struct SemaphoreRef {
        "configMapKeyRef" => config_map_key_ref: Option<KeySelector>,
        "namespace" => namespace: String,
        "database" => database: Option<Box<SyncDatabaseRef>>,
    }
}

object! {
    /// A mutex.
    pub struct Mutex {
        "name" => name: String,
        "namespace" => namespace: String,
        "database" => database: bool,
    }
}

object! {
    /// Metrics to emit.
    pub struct Metrics {
        "prometheus" => prometheus: Vec<Prometheus>,
    }
}

object! {
    /// One metric.
    pub struct Prometheus {
        "name" => name: String,
        "labels" => labels: Vec<MetricLabel>,
        "help" => help: String,
        "when" => when: String,
        "gauge" => gauge: Option<Box<Gauge>>,
        "histogram" => histogram: Option<Box<Histogram>>,
        "counter" => counter: Option<Box<Counter>>,
    }
}

object! {
    /// A metric's label.
    pub struct MetricLabel {
        "key" => key: String,
        "value" => value: String,
    }
}

object! {
    /// A value that goes up and down.
    pub struct Gauge {
        "value" => value: String,
        "realtime" => realtime: Option<bool>,
        "operation" => operation: String,
    }
}

object! {
    /// A distribution.
    pub struct Histogram {
        "value" => value: String,
        "buckets" => buckets: Vec<Amount>,
    }
}

object! {
    /// A value that only grows.
    pub struct Counter {
        "value" => value: String,
    }
}
