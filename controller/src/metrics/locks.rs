//! Who holds and awaits locks, looked up when it is asked for. argo: gauge_locks.go.

use prometheus::proto::{MetricFamily, MetricType};
use tiphys_engine::{LockKind, LockName, LockState};

use super::sample;

/// How a lock is told: `type`, `storage`, `lock_name` and `namespace`. A mutex counts as kept where semaphores are: argo,
/// sync_metrics.go.
pub(super) fn labels(lock: &LockName) -> [(&'static str, String); 4] {
    let (storage, namespace, name) = match lock {
        LockName::Mutex { namespace, name } => ("configmap", namespace, name.clone()),
        LockName::ConfigMap { namespace, name, key } => ("configmap", namespace, format!("{name}/{key}")),
        LockName::Database { namespace, key, .. } => ("database", namespace, key.clone()),
    };
    let kind = match lock.kind() {
        LockKind::Semaphore => "semaphore",
        LockKind::Mutex => "mutex",
    };
    [("lock_name", name), ("namespace", namespace.clone()), ("storage", storage.to_owned()), ("type", kind.to_owned())]
}

/// A gauge of locks that are held, and one of requests that wait.
pub(super) fn families(locks: &[LockState]) -> [MetricFamily; 2] {
    [
        family("locks_held", "Locks that are held", locks, |lock| lock.holders.len()),
        family("locks_pending", "Requests that wait for locks", locks, |lock| lock.waiting.len()),
    ]
}

fn family(name: &str, help: &str, locks: &[LockState], count: fn(&LockState) -> usize) -> MetricFamily {
    let gauge = |lock: &LockState| {
        let labels = labels(&lock.name);
        sample::gauge(labels.iter().map(|(name, value)| (*name, value.as_str())), count(lock) as f64)
    };
    sample::family(name, help, MetricType::GAUGE, locks.iter().map(gauge).collect())
}
