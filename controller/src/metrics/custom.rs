//! Metrics that workflows and templates define. argo: workflow/metrics/metrics_custom.go.
//!
//! They live in this process alone: after a restart counters begin again, which Prometheus is made for. What is kept of each
//! is one value a set of labels, until it has not changed for `metricsTTL`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::proto::{MetricFamily, MetricType};
use tiphys_engine::{GaugeOperation, Measured, Measurement};

use super::sample;

/// argo: OpenTelemetry's default bounds, which apply where a histogram names none.
const USUAL: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];

/// All of them.
pub struct Custom {
    families: Mutex<BTreeMap<String, Family>>,
    ttl: Option<Duration>,
}

struct Family {
    help: String,
    kind: Kind,
    bounds: Vec<f64>,
    /// By labels, in the order of their names.
    series: BTreeMap<Vec<(String, String)>, Series>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

struct Series {
    value: Value,
    changed: Instant,
    /// Uid of the workflow at whose end a value that grows by itself stops, and with which it goes.
    owner: Option<String>,
}

enum Value {
    Number(f64),
    Since(Timestamp, Option<Timestamp>),
    Samples { counts: Vec<u64>, sum: f64 },
}

impl Custom {
    /// None yet; each is forgotten when it has not changed for so long.
    pub fn new(ttl: Option<Duration>) -> Custom {
        Custom { families: Mutex::default(), ttl }
    }

    fn families_mut(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a value of the workflow with this uid.
    ///
    /// # Errors
    /// The metric is known with another help, kind or bounds; in Argo's words.
    pub fn take(&self, owner: &str, measurement: Measurement) -> Result<(), String> {
        let Measurement { name, help, mut labels, measured } = measurement;
        let kind = match &measured {
            Measured::Counter { .. } => Kind::Counter,
            Measured::Gauge { .. } | Measured::Duration { .. } => Kind::Gauge,
            Measured::Histogram { .. } => Kind::Histogram,
        };
        let bounds = match &measured {
            Measured::Histogram { bounds, .. } if bounds.is_empty() => USUAL.to_vec(),
            Measured::Histogram { bounds, .. } => sorted(bounds),
            _ => Vec::new(),
        };
        let mut families = self.families_mut();
        let family = families.entry(name.clone()).or_insert_with(|| Family {
            help: help.clone(),
            kind,
            bounds: bounds.clone(),
            series: BTreeMap::new(),
        });
        let refused = |reason: String| Err(format!("could not construct metric '{name}': {reason}"));
        if family.help != help {
            return refused(format!("help for metric {name} is already set to {}, it cannot be changed", family.help));
        }
        if family.kind != kind {
            let (was, is) = (family.kind.name(), kind.name());
            return refused(format!("found existing {was} for custom metric {name} of type {is}"));
        }
        if family.bounds != bounds {
            return refused(format!("buckets of metric {name} are already set, they cannot be changed"));
        }
        labels.sort();
        let series = family.series.entry(labels).or_insert_with(|| Series {
            value: match kind {
                Kind::Histogram => Value::Samples { counts: vec![0; bounds.len() + 1], sum: 0.0 },
                _ => Value::Number(0.0),
            },
            changed: Instant::now(),
            owner: None,
        });
        series.changed = Instant::now();
        series.take(owner, measured, &bounds);
        Ok(())
    }

    /// A workflow is over, or gone: its values no longer grow.
    pub fn stop(&self, owner: &str) {
        let now = Timestamp::now();
        for series in self.families_mut().values_mut().flat_map(|family| family.series.values_mut()) {
            if series.owner.as_deref() == Some(owner)
                && let Value::Since(_, until @ None) = &mut series.value
            {
                *until = Some(now);
            }
        }
    }

    /// A workflow is deleted: its values that grew by themselves are told no longer. argo: DeleteRealtimeMetricsForWfUID
    pub fn forget(&self, owner: &str) {
        let mut families = self.families_mut();
        for family in families.values_mut() {
            family.series.retain(|_, series| series.owner.as_deref() != Some(owner));
        }
        families.retain(|_, family| !family.series.is_empty());
    }

    /// As they are now. What has not changed for too long is forgotten.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.families_mut();
        if let Some(ttl) = self.ttl {
            for family in families.values_mut() {
                family.series.retain(|_, series| series.grows() || series.changed.elapsed() <= ttl);
            }
            families.retain(|_, family| !family.series.is_empty());
        }
        families.iter().map(|(name, family)| family.told(name)).collect()
    }
}

impl Series {
    fn grows(&self) -> bool {
        matches!(self.value, Value::Since(_, None))
    }

    fn take(&mut self, owner: &str, measured: Measured, bounds: &[f64]) {
        let before = match self.value {
            Value::Number(number) => number,
            _ => 0.0,
        };
        match measured {
            Measured::Counter { value } => self.value = Value::Number(before + value),
            Measured::Gauge { operation: GaugeOperation::Set, value } => self.value = Value::Number(value),
            Measured::Gauge { operation: GaugeOperation::Add, value } => self.value = Value::Number(before + value),
            Measured::Gauge { operation: GaugeOperation::Sub, value } => self.value = Value::Number(before - value),
            Measured::Duration { since, until } => {
                self.value = Value::Since(since, until);
                self.owner = Some(owner.to_owned());
            }
            Measured::Histogram { value, .. } => {
                if let Value::Samples { counts, sum } = &mut self.value {
                    let place = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
                    counts[place] += 1;
                    *sum += value;
                }
            }
        }
    }
}

impl Family {
    fn told(&self, name: &str) -> MetricFamily {
        let samples = self.series.iter().map(|(labels, series)| {
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            match (&series.value, self.kind) {
                (Value::Number(number), Kind::Counter) => sample::counter(labels, *number),
                (Value::Number(number), _) => sample::gauge(labels, *number),
                (Value::Since(since, until), _) => {
                    let until = until.unwrap_or_else(Timestamp::now);
                    sample::gauge(labels, until.duration_since(*since).as_secs_f64())
                }
                (Value::Samples { counts, sum }, _) => sample::histogram(labels, &self.bounds, counts, *sum),
            }
        });
        let kind = match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        };
        sample::family(name, &self.help, kind, samples.collect())
    }
}

fn sorted(bounds: &[f64]) -> Vec<f64> {
    let mut bounds = bounds.to_vec();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn measurement(name: &str, label: &str, measured: Measured) -> Measurement {
        let labels = vec![("z".to_owned(), "1".to_owned()), ("a".to_owned(), label.to_owned())];
        Measurement { name: name.into(), help: "h".into(), labels, measured }
    }

    fn text(custom: &Custom) -> Vec<String> {
        let text = TextEncoder::new().encode_to_string(&custom.families()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn each_kind_takes_in_what_is_measured() {
        let custom = Custom::new(None);
        let take = |measurement| custom.take("w", measurement).unwrap();
        take(measurement("runs", "x", Measured::Counter { value: 1.0 }));
        take(measurement("runs", "x", Measured::Counter { value: 2.0 }));
        take(measurement("runs", "y", Measured::Counter { value: 1.0 }));
        for (operation, value) in [(GaugeOperation::Set, 5.0), (GaugeOperation::Add, 2.0), (GaugeOperation::Sub, 4.0)] {
            take(measurement("level", "x", Measured::Gauge { operation, value }));
        }
        for value in [0.5, 1.5, 9.0] {
            take(measurement("took", "x", Measured::Histogram { bounds: vec![2.0, 1.0], value }));
        }
        assert_eq!(
            text(&custom),
            [
                r#"argo_workflows_level{a="x",z="1"} 3"#,
                r#"argo_workflows_runs{a="x",z="1"} 3"#,
                r#"argo_workflows_runs{a="y",z="1"} 1"#,
                r#"argo_workflows_took_bucket{a="x",z="1",le="1"} 1"#,
                r#"argo_workflows_took_bucket{a="x",z="1",le="2"} 2"#,
                r#"argo_workflows_took_bucket{a="x",z="1",le="+Inf"} 3"#,
                r#"argo_workflows_took_sum{a="x",z="1"} 11"#,
                r#"argo_workflows_took_count{a="x",z="1"} 3"#,
            ]
        );
    }

    #[test]
    fn what_contradicts_is_refused() {
        let custom = Custom::new(None);
        custom.take("w", measurement("m", "x", Measured::Counter { value: 1.0 })).unwrap();
        let gauge = Measured::Gauge { operation: GaugeOperation::Set, value: 1.0 };
        assert_eq!(
            custom.take("w", measurement("m", "x", gauge)).unwrap_err(),
            "could not construct metric 'm': found existing counter for custom metric m of type gauge"
        );
        let other = Measurement { help: "other".into(), ..measurement("m", "x", Measured::Counter { value: 1.0 }) };
        assert_eq!(
            custom.take("w", other).unwrap_err(),
            "could not construct metric 'm': help for metric m is already set to h, it cannot be changed"
        );
    }

    #[test]
    fn a_duration_goes_with_its_workflow() {
        let custom = Custom::new(None);
        let since = Timestamp::now();
        for (owner, label) in [("w", "x"), ("v", "y")] {
            custom.take(owner, measurement("live", label, Measured::Duration { since, until: None })).unwrap();
            custom.take(owner, measurement("runs", label, Measured::Counter { value: 1.0 })).unwrap();
        }
        custom.stop("w");
        assert_eq!(text(&custom).len(), 4);
        custom.forget("w");
        let left: Vec<String> = text(&custom).into_iter().filter(|line| line.contains("live")).collect();
        assert!(matches!(left.as_slice(), [line] if line.contains(r#"a="y""#)), "{left:?}");
        // What was counted stays.
        assert_eq!(text(&custom).len(), 3);
    }

    #[test]
    fn a_duration_grows_until_its_workflow_is_over() {
        let custom = Custom::new(Some(Duration::ZERO));
        let since = Timestamp::now() - jiff::SignedDuration::from_secs(100);
        custom.take("w", measurement("live", "x", Measured::Duration { since, until: None })).unwrap();
        let value = || text(&custom).first().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(value().is_some_and(|seconds| seconds >= 100.0));
        custom.stop("other");
        assert!(value().is_some());
        // Nothing holds it any longer, and it is older than it may be.
        custom.stop("w");
        assert_eq!(value(), None);
    }
}
