//! What is sent to a collector: spans, and the metrics that are told on the metrics' port as well. Without an endpoint in
//! OpenTelemetry's variables nothing is begun.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tiphys_contract::{SpanId, TraceId};
use tiphys_otlp::{
    ExportError, Exporter, Kind, Outcome, Pace, Resource, Sending, Settings, SettingsError, Signal, Span, Spans,
};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cluster::Cluster;

/// `service.name` where the environment has none. argo: controller.go
const SERVICE: &str = "workflows-controller";
/// Time between two reports of metrics. OpenTelemetry: OTEL_METRIC_EXPORT_INTERVAL, in milliseconds.
const INTERVAL: (&str, u64) = ("OTEL_METRIC_EXPORT_INTERVAL", 60_000);
/// The end is not held up longer by what waits to be sent.
const AT_END: Duration = Duration::from_secs(5);

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What it names.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The interval.
    #[error("OTEL_METRIC_EXPORT_INTERVAL is {0:?}: expected milliseconds")]
    Interval(String),
}

/// Begins to send spans, where the environment says where to.
///
/// # Errors
/// See [`TelemetryError`].
pub fn traces(variable: impl Fn(&str) -> Option<String>) -> Result<Option<(Spans, Sending)>, TelemetryError> {
    let Some(settings) = Settings::of(Signal::Traces, &variable)? else { return Ok(None) };
    let exporter = Exporter::new(settings, &Resource::of(SERVICE, &variable)?)?;
    tracing::info!(endpoint = exporter.address(), "spans are sent");
    Ok(Some(Spans::begin(exporter, Pace::of(&variable)?, Resource::sampler(&variable)?)))
}

/// Tells how long it took from the start of the dispatcher to the first list of workflows, and from the first shard to there.
pub fn started(spans: &Spans, process: SystemTime, shard: SystemTime) {
    let nanos = process.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let names = ["controller", &nanos, &std::process::id().to_string()].map(str::to_owned).join(" ");
    let (trace, end) = (TraceId::of(&names), SystemTime::now());
    let root = SpanId::of(&[&names]);
    for (name, id, parent, start) in [
        ("startupCacheSync", root.child("startupCacheSync"), Some(root), shard),
        ("startupController", root, None, process),
    ] {
        let (state, attributes, outcome) = (String::new(), Vec::new(), Outcome::Unset);
        spans.tell(Span { trace, state, id, parent, name, kind: Kind::Internal, start, end, attributes, outcome });
    }
}

/// Sends what waits still, as long as that does not hold up the end.
pub async fn finish(sending: Option<Sending>) {
    if let Some(sending) = sending
        && tokio::time::timeout(AT_END, sending.finish()).await.is_err()
    {
        tracing::warn!("the last spans could not be sent in time");
    }
}

/// Begins to send metrics, where the environment says where to; until the task is dropped.
///
/// # Errors
/// See [`TelemetryError`].
pub fn metrics(
    cluster: &Arc<Cluster>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<JoinHandle<()>>, TelemetryError> {
    let Some(settings) = Settings::of(Signal::Metrics, &variable)? else { return Ok(None) };
    let exporter = Exporter::new(settings, &Resource::of(SERVICE, &variable)?)?;
    let interval = match variable(INTERVAL.0).filter(|text| !text.is_empty()) {
        None => INTERVAL.1,
        Some(text) => text.parse().ok().filter(|millis| *millis > 0).ok_or(TelemetryError::Interval(text))?,
    };
    tracing::info!(endpoint = exporter.address(), "metrics are sent");
    Ok(Some(tokio::spawn(report(cluster.clone(), exporter, Duration::from_millis(interval)))))
}

async fn report(cluster: Arc<Cluster>, exporter: Exporter, interval: Duration) {
    let since = SystemTime::now();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = false;
    loop {
        ticks.tick().await;
        let families = cluster.metrics.exported(&cluster.locks.states());
        // The next report has everything that this one has.
        match exporter.metrics(families, since).await {
            Ok(()) if std::mem::take(&mut fails) => tracing::info!("metrics are sent again"),
            Ok(()) => {}
            Err(error) if !std::mem::replace(&mut fails, true) => tracing::warn!(%error, "metrics cannot be sent"),
            Err(_) => {}
        }
    }
}
