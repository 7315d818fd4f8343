//! Samples of what no instrument keeps: made when they are asked for. One way for all of them.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::PREFIX;

/// A metric of this name without prefix.
pub fn family(name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

/// A number that only grows.
pub fn counter<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>, value: f64) -> Metric {
    let (mut metric, mut counter) = (labelled(labels), Counter::default());
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

/// A number that goes up and down.
pub fn gauge<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>, value: f64) -> Metric {
    let (mut metric, mut gauge) = (labelled(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

/// Samples by size: so many up to each bound, and above all of them.
pub fn histogram<'l>(
    labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
) -> Metric {
    let mut total = 0;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        total += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(total);
        bucket
    });
    let (mut metric, mut histogram) = (labelled(labels), Histogram::default());
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    metric.set_histogram(histogram);
    metric
}

fn labelled<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Metric {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(labels.into_iter().map(pair).collect())
}
