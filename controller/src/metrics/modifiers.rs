//! Metrics told differently, as `metricsConfig.modifiers` asks for. argo: util/telemetry/modifiers.go.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, Metric, MetricFamily, MetricType};

use super::{PREFIX, Settings};

/// Leaves out what is disabled, and sums what differs only in labels that are.
pub(super) fn apply(families: Vec<MetricFamily>, settings: &Settings) -> Vec<MetricFamily> {
    let modified = families.into_iter().filter_map(|family| {
        let name = family.name().strip_prefix(PREFIX).unwrap_or(family.name());
        match settings.modifiers.get(name) {
            Some(modifier) if modifier.disabled => None,
            Some(modifier) if !modifier.disabled_attributes.is_empty() => {
                Some(without(family, &modifier.disabled_attributes))
            }
            _ => Some(family),
        }
    });
    modified.collect()
}

fn without(mut family: MetricFamily, labels: &[String]) -> MetricFamily {
    let kind = family.get_field_type();
    let mut sums: BTreeMap<Vec<(String, String)>, Metric> = BTreeMap::new();
    for mut metric in family.take_metric() {
        let mut left = metric.take_label();
        left.retain(|label| !labels.iter().any(|name| name == label.name()));
        let key = left.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
        metric.set_label(left);
        match sums.get_mut(&key) {
            Some(sum) => add(sum, &metric, kind),
            None => drop(sums.insert(key, metric)),
        }
    }
    family.set_metric(sums.into_values().collect());
    family
}

fn add(sum: &mut Metric, metric: &Metric, kind: MetricType) {
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(sum.get_counter().get_value() + metric.get_counter().get_value());
            sum.set_counter(counter);
        }
        MetricType::GAUGE => {
            let mut gauge = Gauge::default();
            gauge.set_value(sum.get_gauge().get_value() + metric.get_gauge().get_value());
            sum.set_gauge(gauge);
        }
        MetricType::HISTOGRAM => {
            let (one, other) = (sum.get_histogram(), metric.get_histogram());
            let mut both = Histogram::default();
            both.set_sample_count(one.get_sample_count() + other.get_sample_count());
            both.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
            let buckets = one.get_bucket().iter().zip(other.get_bucket()).map(|(one, other)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(one.upper_bound());
                bucket.set_cumulative_count(one.cumulative_count() + other.cumulative_count());
                bucket
            });
            both.set_bucket(buckets.collect());
            sum.set_histogram(both);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Metrics, Modifier};
    use super::*;

    #[test]
    fn labels_are_left_out_and_what_is_left_is_summed() {
        let modifier = Modifier { disabled_attributes: vec!["namespace".into()], ..Modifier::default() };
        let disabled = Modifier { disabled: true, ..Modifier::default() };
        let modifiers = BTreeMap::from([("total_count".into(), modifier), ("is_leader".into(), disabled)]);
        let metrics = Metrics::new(Settings { modifiers, ..Settings::default() });
        metrics.workflow_entered("Running", "a");
        metrics.workflow_entered("Running", "b");
        metrics.workflow_entered("Failed", "b");
        let text = metrics.render(&[]);
        let counts: Vec<&str> = text.lines().filter(|line| line.starts_with("argo_workflows_total_count")).collect();
        assert_eq!(
            counts,
            ["argo_workflows_total_count{phase=\"Failed\"} 1", "argo_workflows_total_count{phase=\"Running\"} 2"]
        );
        assert!(!text.contains("is_leader"));
    }
}
