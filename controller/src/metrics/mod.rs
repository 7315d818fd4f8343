//! What the controller tells about itself and its workflows, in Prometheus' text format, under the names that Argo's has.
//! argo: util/telemetry/metrics_list.go; its exporter adds no suffixes of its own.
//!
//! A gauge is what is held now: whoever holds it keeps a [`Held`], and gives it back by dropping it.

mod custom;
mod exported;
mod locks;
pub mod logs;
mod modifiers;
mod sample;
mod settings;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use rustc_hash::FxHashSet;
use tiphys_engine::{LockName, LockState};
use tiphys_kubernetes::Answered;

pub use custom::Custom;
pub(crate) use settings::Written;
pub use settings::{Modifier, Settings};

/// What every name begins with.
const PREFIX: &str = "argo_workflows_";

/// Bounds for what usually takes milliseconds.
const SHORT: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// argo: metrics_list.go, k8s_request_duration; with bounds below its own, where most requests are.
const REQUESTS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];

/// Causes of errors that are told before there are any. argo: counter_error.go.
const ERRORS: [&str; 3] = ["OperationPanic", "CronWorkflowSubmissionError", "CronWorkflowSpecError"];

/// All instruments.
pub struct Metrics {
    registry: Registry,
    settings: Settings,
    /// Those that workflows and templates define.
    pub custom: Custom,
    workflows: IntGaugeVec,
    workflow_phases: IntCounterVec,
    conditions: IntGaugeVec,
    pods: IntGaugeVec,
    pod_phases: IntCounterVec,
    pods_pending: IntCounterVec,
    pods_missing: IntCounterVec,
    templates: IntCounterVec,
    template_seconds: HistogramVec,
    pod_restarts: IntCounterVec,
    cron_triggers: IntCounterVec,
    cron_policies: IntCounterVec,
    locks_taken: IntCounterVec,
    pod_delays: Histogram,
    request_delays: Histogram,
    errors: IntCounterVec,
    operations: Histogram,
    hops: Histogram,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    leader: IntGauge,
    queued: IntGaugeVec,
    busy: IntGaugeVec,
    divergences: IntCounterVec,
    shadowed: IntCounterVec,
}

/// One of something that a gauge counts; dropped when it no longer is.
#[derive(Debug)]
pub struct Held(IntGauge);

impl Held {
    fn of(gauge: IntGauge) -> Held {
        gauge.inc();
        Held(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All at nothing, to be told as the settings say.
    ///
    /// # Panics
    /// Never: names and labels are constants, each registered once.
    pub fn new(settings: Settings) -> Metrics {
        let registry = Registry::new();
        let metrics = Metrics {
            custom: Custom::new(settings.metrics_ttl),
            workflows: gauges(&registry, "gauge", "Workflows in the cluster by phase", &["phase"]),
            workflow_phases: counters(
                &registry,
                "total_count",
                "Workflows that entered each phase",
                &["phase", "namespace"],
            ),
            conditions: gauges(&registry, "workflow_condition", "Workflows by condition", &["type", "status"]),
            pods: gauges(&registry, "pods_gauge", "Pods of workflows by phase", &["phase"]),
            pod_phases: counters(
                &registry,
                "pods_total_count",
                "Pods that entered each phase",
                &["phase", "namespace"],
            ),
            pods_pending: counters(
                &registry,
                "pod_pending_count",
                "Pods that began to wait, by reason",
                &["reason", "namespace"],
            ),
            pods_missing: counters(
                &registry,
                "pod_missing",
                "Pods that were gone before they were over",
                &["recently_started", "node_phase"],
            ),
            templates: counters(
                &registry,
                "workflowtemplate_triggered_total",
                "Workflows of a workflowTemplateRef by phase",
                &["name", "namespace", "cluster_scope", "phase"],
            ),
            template_seconds: histograms(
                &registry,
                "workflowtemplate_runtime",
                "Seconds that workflows of a workflowTemplateRef took",
                &["name", "namespace", "cluster_scope"],
                &settings
                    .bounds("workflowtemplate_runtime", &[1.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0]),
            ),
            pod_restarts: counters(
                &registry,
                "pod_restarts_total",
                "Pods that were made anew because they were lost before their main containers began",
                &["reason", "condition", "namespace"],
            ),
            cron_triggers: counters(
                &registry,
                "cronworkflows_triggered_total",
                "Runs of CronWorkflows that were begun",
                &["name", "namespace"],
            ),
            cron_policies: counters(
                &registry,
                "cronworkflows_concurrencypolicy_triggered",
                "Runs that a CronWorkflow's concurrencyPolicy kept from being made, or for which it ended others",
                &["name", "namespace", "concurrency_policy"],
            ),
            locks_taken: counters(
                &registry,
                "locks_taken_total",
                "Locks that were taken",
                &["lock_name", "namespace", "storage", "type"],
            ),
            pod_delays: histogram(
                &registry,
                "resource_rate_limiter_latency",
                "Seconds that a Pod's creation waits for resourceRateLimit",
                &settings.bounds("resource_rate_limiter_latency", &[0.0, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 180.0]),
            ),
            request_delays: histogram(
                &registry,
                "client_rate_limiter_latency",
                "Seconds that a request waited for its turn, of those that may be under way at a time",
                &settings.bounds("client_rate_limiter_latency", &[0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 180.0]),
            ),
            errors: counters(&registry, "error_count", "Errors by cause", &["cause"]),
            operations: histogram(
                &registry,
                "operation_duration_seconds",
                "Seconds that a workflow's turns took: facts in, plan made, actions under way",
                &settings.bounds("operation_duration_seconds", &SHORT),
            ),
            hops: histogram(
                &registry,
                "hop_duration_seconds",
                "Seconds from a Pod's end, as the watch tells it, to the API server's answer for a Pod that follows",
                &settings.bounds("hop_duration_seconds", &SHORT),
            ),
            requests: counters(
                &registry,
                "k8s_request_total",
                "Requests to the API server",
                &["kind", "verb", "status_code"],
            ),
            request_seconds: histograms(
                &registry,
                "k8s_request_duration",
                "Seconds until the API server answered",
                &["kind", "verb", "status_code"],
                &settings.bounds("k8s_request_duration", &REQUESTS),
            ),
            leader: registered(
                &registry,
                constant(IntGauge::with_opts(opts("is_leader", "1 on the replica that works"))),
            ),
            queued: gauges(&registry, "queue_depth_gauge", "Requests that wait for their turn", &["queue_name"]),
            busy: gauges(&registry, "workers_busy_count", "Requests that are under way", &["worker_type"]),
            divergences: shadow_counters(
                &registry,
                "divergences_total",
                "Places where the live controller and ours part (--shadow)",
                "kind",
            ),
            shadowed: shadow_counters(
                &registry,
                "workflows_total",
                "Workflows of the live controller that are over, by whether ours would have done the same (--shadow)",
                "outcome",
            ),
            registry,
            settings,
        };
        for cause in ERRORS {
            metrics.errors.with_label_values(&[cause]).inc_by(0);
        }
        let version = opts("version", "This version").const_label("version", env!("CARGO_PKG_VERSION"));
        let version = version.const_label("platform", std::env::consts::ARCH);
        registered(&metrics.registry, constant(Gauge::with_opts(version))).set(1.0);
        registered(&metrics.registry, logs::Messages::new());
        metrics
    }

    /// Everything, and these locks, as text (Prometheus, exposition format 0.0.4).
    pub fn render(&self, locks: &[LockState]) -> String {
        // Families are built from valid names and whole samples, so that there is nothing that could not be written.
        TextEncoder::new().encode_to_string(&self.gathered(locks)).unwrap_or_default()
    }

    /// The same for a collector.
    pub fn exported(&self, locks: &[LockState]) -> Vec<tiphys_otlp::Family> {
        self.gathered(locks).iter().map(exported::family).collect()
    }

    fn gathered(&self, locks: &[LockState]) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        // Of two of one name a scraper would refuse all that there is.
        let own: FxHashSet<String> = families.iter().map(|family| family.name().to_owned()).collect();
        families.extend(self.custom.families().into_iter().filter(|family| !own.contains(family.name())));
        families.extend(locks::families(locks).into_iter().filter(|family| !family.get_metric().is_empty()));
        modifiers::apply(families, &self.settings)
    }

    /// A workflow that is in a phase.
    pub fn workflow(&self, phase: &str) -> Held {
        Held::of(self.workflows.with_label_values(&[phase]))
    }

    /// A workflow enters a phase.
    pub fn workflow_entered(&self, phase: &str, namespace: &str) {
        self.workflow_phases.with_label_values(&[phase, namespace]).inc();
    }

    /// A workflow that has a condition.
    pub fn condition(&self, name: &str, status: &str) -> Held {
        Held::of(self.conditions.with_label_values(&[name, status]))
    }

    /// A workflow of a template enters a phase; with its duration when it is over.
    pub fn template(&self, name: &str, namespace: &str, cluster_scope: bool, phase: &str, took: Option<Duration>) {
        let scope = if cluster_scope { "true" } else { "false" };
        self.templates.with_label_values(&[name, namespace, scope, phase]).inc();
        if let Some(took) = took {
            self.template_seconds.with_label_values(&[name, namespace, scope]).observe(took.as_secs_f64());
        }
    }

    /// A Pod that is in a phase.
    pub fn pod(&self, phase: &str) -> Held {
        Held::of(self.pods.with_label_values(&[phase]))
    }

    /// A Pod enters a phase.
    pub fn pod_entered(&self, phase: &str, namespace: &str) {
        self.pod_phases.with_label_values(&[phase, namespace]).inc();
    }

    /// A Pod waits. Only what stands before the first colon is a reason that can be counted by.
    /// argo: counter_pod_pending.go.
    pub fn pod_pending(&self, reason: &str, namespace: &str) {
        let reason = reason.split(':').next().unwrap_or_default();
        if !matches!(reason, "" | "PodInitializing") {
            self.pods_pending.with_label_values(&[reason, namespace]).inc();
        }
    }

    /// A Pod was gone before it was over.
    pub fn pod_missing(&self, recently_started: bool, node_phase: &str) {
        let recently = if recently_started { "true" } else { "false" };
        self.pods_missing.with_label_values(&[recently, node_phase]).inc();
    }

    /// A lost Pod is made anew. Of its message only the node's condition counts. argo: counter_pod_restart.go.
    pub fn pod_restarted(&self, reason: &str, message: &str, namespace: &str) {
        let is_word = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let bracketed = message.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
        let condition = bracketed.into_iter().find(is_word).unwrap_or_default();
        self.pod_restarts.with_label_values(&[reason, condition, namespace]).inc();
    }

    /// A run of a CronWorkflow is begun.
    pub fn cron_triggered(&self, name: &str, namespace: &str) {
        self.cron_triggers.with_label_values(&[name, namespace]).inc();
    }

    /// A CronWorkflow's policy has limited its runs.
    pub fn cron_limited(&self, name: &str, namespace: &str, policy: &str) {
        self.cron_policies.with_label_values(&[name, namespace, policy]).inc();
    }

    /// Somebody has got a lock.
    pub fn lock_taken(&self, lock: &LockName) {
        self.locks_taken.with_label_values(&locks::labels(lock).map(|(_, value)| value)).inc();
    }

    /// A Pod's creation waits so long for the limit that is configured.
    pub fn pod_delayed(&self, wait: Duration) {
        self.pod_delays.observe(wait.as_secs_f64());
    }

    /// A request has waited so long for its turn.
    pub fn request_delayed(&self, wait: Duration) {
        self.request_delays.observe(wait.as_secs_f64());
    }

    /// Something went wrong that should not. argo: counter_error.go.
    pub fn error(&self, cause: &str) {
        self.errors.with_label_values(&[cause]).inc();
    }

    /// A workflow's turn is through.
    pub fn operated(&self, took: Duration) {
        self.operations.observe(took.as_secs_f64());
    }

    /// A Pod was made after the end of another.
    pub fn hopped(&self, took: Duration) {
        self.hops.observe(took.as_secs_f64());
    }

    /// A request was answered.
    pub fn answered(&self, request: &Answered<'_>) {
        let code = request.code.to_string();
        let labels = [request.kind, request.verb, code.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.request_seconds.with_label_values(&labels).observe(request.took.as_secs_f64());
    }

    /// Another controller does something else than we would.
    pub fn diverged(&self, kind: &str) {
        self.divergences.with_label_values(&[kind]).inc();
    }

    /// A workflow of another controller is over.
    pub fn shadowed(&self, equal: bool) {
        self.shadowed.with_label_values(&[if equal { "equal" } else { "different" }]).inc();
    }

    /// Whether this replica works.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Something that waits in a queue.
    pub fn queued(&self, queue: &str) -> Held {
        Held::of(self.queued.with_label_values(&[queue]))
    }

    /// Something that is being done.
    pub fn busy(&self, worker: &str) -> Held {
        Held::of(self.busy.with_label_values(&[worker]))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}

/// Of a name and labels that are constants.
#[allow(clippy::panic)]
fn constant<T>(made: prometheus::Result<T>) -> T {
    made.unwrap_or_else(|error| panic!("an instrument of this program: {error}"))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    constant(registry.register(Box::new(collector.clone())));
    collector
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, constant(IntGaugeVec::new(opts(name, help), labels)))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, constant(IntCounterVec::new(opts(name, help), labels)))
}

/// Counters that Argo's controller has nothing like.
fn shadow_counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    let opts = Opts::new(format!("tiphys_shadow_{name}"), help);
    registered(registry, constant(IntCounterVec::new(opts, &[label])))
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
    registered(registry, constant(Histogram::with_opts(opts)))
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
    let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
    registered(registry, constant(HistogramVec::new(opts, labels)))
}

#[cfg(test)]
mod tests {
    use tiphys_engine::Measurement;

    use super::*;

    #[test]
    fn a_workflows_metric_cannot_take_the_name_of_the_controllers() {
        let metrics = Metrics::new(Settings::default());
        for name in ["error_count", "own"] {
            let measured = tiphys_engine::Measured::Counter { value: 7.0 };
            let (name, help) = (name.to_owned(), "h".to_owned());
            metrics.custom.take("w", Measurement { name, help, labels: Vec::new(), measured }).unwrap();
        }
        let text = metrics.render(&[]);
        assert_eq!(text.matches("# TYPE argo_workflows_error_count ").count(), 1, "{text}");
        assert!(text.contains("argo_workflows_own 7"), "{text}");
    }

    #[test]
    fn names_are_argos_and_gauges_go_down_again() {
        let metrics = Metrics::new(Settings::default());
        let running = metrics.workflow("Running");
        metrics.workflow_entered("Running", "a");
        metrics.pod_pending("ContainerCreating: x", "a");
        metrics.pod_pending("PodInitializing", "a");
        metrics.pod_restarted("Evicted", "The node had condition: [DiskPressure]. ", "a");
        metrics.pod_restarted("NodeShutdown", "Pod was rejected [a b]: [", "a");
        metrics.cron_triggered("c", "a");
        metrics.cron_limited("c", "a", "Forbid");
        metrics.lock_taken(&LockName::ConfigMap { namespace: "a".into(), name: "m".into(), key: "k".into() });
        metrics.pod_delayed(Duration::from_millis(300));
        metrics.answered(&Answered { kind: "pods", verb: "Create", code: 201, took: Duration::from_millis(3) });
        let text = metrics.render(&[]);
        for line in [
            "argo_workflows_gauge{phase=\"Running\"} 1",
            "argo_workflows_total_count{namespace=\"a\",phase=\"Running\"} 1",
            "argo_workflows_pod_pending_count{namespace=\"a\",reason=\"ContainerCreating\"} 1",
            "argo_workflows_k8s_request_total{kind=\"pods\",status_code=\"201\",verb=\"Create\"} 1",
            "argo_workflows_k8s_request_duration_bucket{kind=\"pods\",status_code=\"201\",verb=\"Create\",le=\"0.005\"} 1",
            "argo_workflows_is_leader 0",
            "argo_workflows_pod_restarts_total{condition=\"DiskPressure\",namespace=\"a\",reason=\"Evicted\"} 1",
            "argo_workflows_pod_restarts_total{condition=\"\",namespace=\"a\",reason=\"NodeShutdown\"} 1",
            "argo_workflows_cronworkflows_triggered_total{name=\"c\",namespace=\"a\"} 1",
            "argo_workflows_cronworkflows_concurrencypolicy_triggered{concurrency_policy=\"Forbid\",name=\"c\",namespace=\"a\"} 1",
            "argo_workflows_locks_taken_total{lock_name=\"m/k\",namespace=\"a\",storage=\"configmap\",type=\"semaphore\"} 1",
            "argo_workflows_resource_rate_limiter_latency_bucket{le=\"0.5\"} 1",
            "argo_workflows_error_count{cause=\"CronWorkflowSpecError\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("PodInitializing"));
        drop(running);
        assert!(metrics.render(&[]).contains("argo_workflows_gauge{phase=\"Running\"} 0"));
    }
}
