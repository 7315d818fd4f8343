//! Who holds and awaits locks, looked up when it is asked for. argo: gauge_locks.go.

use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use tiphys_engine::{LockKind, LockName, LockState};

use super::PREFIX;

/// A gauge of locks that are held, and one of requests that wait. A mutex counts as kept where semaphores are: argo,
/// sync_metrics.go.
pub(super) fn families(locks: &[LockState]) -> [MetricFamily; 2] {
    [
        family("locks_held", "Locks that are held", locks, |lock| lock.holders.len()),
        family("locks_pending", "Requests that wait for locks", locks, |lock| lock.waiting.len()),
    ]
}

fn family(name: &str, help: &str, locks: &[LockState], count: fn(&LockState) -> usize) -> MetricFamily {
    let metrics = locks.iter().map(|lock| {
        let (storage, namespace, name) = match &lock.name {
            LockName::Mutex { namespace, name } => ("configmap", namespace, name.clone()),
            LockName::ConfigMap { namespace, name, key } => ("configmap", namespace, format!("{name}/{key}")),
            LockName::Database { namespace, key, .. } => ("database", namespace, key.clone()),
        };
        let kind = match lock.name.kind() {
            LockKind::Semaphore => "semaphore",
            LockKind::Mutex => "mutex",
        };
        let labels = [("lock_name", name.as_str()), ("namespace", namespace), ("storage", storage), ("type", kind)];
        let labels = labels.into_iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name(name.into());
            label.set_value(value.into());
            label
        });
        let mut gauge = Gauge::default();
        gauge.set_value(count(lock) as f64);
        let mut metric = Metric::from_label(labels.collect());
        metric.set_gauge(gauge);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.into());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(metrics.collect());
    family
}
