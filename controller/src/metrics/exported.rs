//! The same metrics for a collector: without the prefix, which is Prometheus' alone (argo: exporter_prometheus.go).

use prometheus::proto::{Metric, MetricFamily, MetricType};
use tiphys_otlp::{Family, FamilyKind, Measure, Point};

use super::PREFIX;

pub(super) fn family(family: &MetricFamily) -> Family {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => FamilyKind::Counter,
        MetricType::HISTOGRAM => FamilyKind::Histogram,
        _ => FamilyKind::Gauge,
    };
    Family {
        name: family.name().strip_prefix(PREFIX).unwrap_or(family.name()).to_owned(),
        help: family.help().to_owned(),
        kind,
        points: family.get_metric().iter().map(|metric| point(metric, kind)).collect(),
    }
}

fn point(metric: &Metric, kind: FamilyKind) -> Point {
    // Prometheus takes an empty label for none.
    let labels = metric.get_label().iter().filter(|label| !label.value().is_empty());
    let measure = match kind {
        FamilyKind::Counter => Measure::Number(metric.get_counter().get_value()),
        FamilyKind::Gauge => Measure::Number(metric.get_gauge().get_value()),
        FamilyKind::Histogram => {
            let histogram = metric.get_histogram();
            let finite = || histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
            let (mut below, mut counts) = (0, Vec::new());
            for bucket in finite() {
                counts.push(bucket.cumulative_count() - below);
                below = bucket.cumulative_count();
            }
            counts.push(histogram.get_sample_count() - below);
            let bounds = finite().map(|bucket| bucket.upper_bound()).collect();
            Measure::Samples { bounds, counts, sum: histogram.get_sample_sum() }
        }
    };
    Point { labels: labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect(), measure }
}
