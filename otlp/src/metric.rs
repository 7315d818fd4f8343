//! Metrics as they are now, for whoever keeps them in whatever form.

use std::time::SystemTime;

use crate::message::{
    AnyValue, Gauge, Histogram, HistogramPoint, KeyValue, Metric, NumberPoint, Sum, Temporality, metric, nanos,
};
use crate::span::Value;

/// A metric with all its label sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it means.
    pub help: String,
    /// How its values are to be read.
    pub kind: FamilyKind,
    /// A value for each set of labels.
    pub points: Vec<Point>,
}

/// How values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow, from the start of the process.
    Counter,
    /// They go up and down.
    Gauge,
    /// Samples by size, from the start of the process.
    Histogram,
}

/// A value of a set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub measure: Measure,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// A number.
    Number(f64),
    /// Samples, counted by the first bound that is not below them; the last count is of those above all bounds.
    Samples {
        /// Upper bounds, growing.
        bounds: Vec<f64>,
        /// One more than bounds.
        counts: Vec<u64>,
        /// Sum of all samples.
        sum: f64,
    },
}

pub(crate) fn encoded(family: Family, since: SystemTime, now: SystemTime) -> Metric {
    let (start_time_unix_nano, time_unix_nano) = (nanos(since), nanos(now));
    let attributes = |labels: Vec<(String, String)>| -> Vec<KeyValue> {
        let one = |(key, value)| KeyValue { key, value: Some(AnyValue::from(Value::Text(value))) };
        labels.into_iter().map(one).collect()
    };
    let (mut numbers, mut samples) = (Vec::new(), Vec::new());
    for Point { labels, measure } in family.points {
        let attributes = attributes(labels);
        match measure {
            Measure::Number(number) => {
                let as_double = Some(number);
                numbers.push(NumberPoint { start_time_unix_nano, time_unix_nano, as_double, attributes });
            }
            Measure::Samples { bounds, counts, sum } => samples.push(HistogramPoint {
                start_time_unix_nano,
                time_unix_nano,
                count: counts.iter().sum(),
                sum: Some(sum),
                bucket_counts: counts,
                explicit_bounds: bounds,
                attributes,
            }),
        }
    }
    let aggregation_temporality = Temporality::Cumulative.into();
    let data = match family.kind {
        FamilyKind::Counter => {
            metric::Data::Sum(Sum { data_points: numbers, aggregation_temporality, is_monotonic: true })
        }
        FamilyKind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers }),
        FamilyKind::Histogram => metric::Data::Histogram(Histogram { data_points: samples, aggregation_temporality }),
    };
    Metric { name: family.name, description: family.help, data: Some(data) }
}
