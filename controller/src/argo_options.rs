//! What Argo's controller can be told and this one has no use for: it is taken, so that a Deployment can be moved over as it is,
//! and said once at the start. docs/adoption.md has the same list.

/// Options of Argo's that have no effect. argo: cmd/workflow-controller/main.go
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ArgoOptions {
    #[arg(long, env = "ARGO_GLOGLEVEL", hide = true, value_name = "N", allow_negative_numbers = true)]
    gloglevel: Option<i64>,
    #[arg(long, env = "ARGO_WORKFLOW_WORKERS", hide = true, value_name = "N", allow_negative_numbers = true)]
    workflow_workers: Option<i64>,
    #[arg(long, env = "ARGO_WORKFLOW_TTL_WORKERS", hide = true, value_name = "N", allow_negative_numbers = true)]
    workflow_ttl_workers: Option<i64>,
    #[arg(long, env = "ARGO_POD_CLEANUP_WORKERS", hide = true, value_name = "N", allow_negative_numbers = true)]
    pod_cleanup_workers: Option<i64>,
    #[arg(long, env = "ARGO_CRON_WORKFLOW_WORKERS", hide = true, value_name = "N", allow_negative_numbers = true)]
    cron_workflow_workers: Option<i64>,
    #[arg(long, env = "ARGO_WORKFLOW_ARCHIVE_WORKERS", hide = true, value_name = "N", allow_negative_numbers = true)]
    workflow_archive_workers: Option<i64>,
    #[arg(long, env = "ARGO_QPS", hide = true, value_name = "N", allow_negative_numbers = true)]
    qps: Option<f64>,
    #[arg(long, env = "ARGO_BURST", hide = true, value_name = "N", allow_negative_numbers = true)]
    burst: Option<i64>,
}

const WORKERS: &str = "each workflow has a task of its own";
const IN_FLIGHT: &str =
    "requests are limited by how many are under way (--in-flight-pods, --in-flight-statuses, --in-flight-others)";
const NO_PASSES: &str = "a workflow is looked at when something happens to it, not in passes of a queue";
const REPEATED: &str = "requests that may succeed later are repeated until they do";

/// Variables of Argo's controller that have no effect, and why. argo: docs/environment-variables.md
const VARIABLES: &[(&str, &str)] = &[
    ("ALL_POD_CHANGES_SIGNIFICANT", "every change of a Pod is looked at"),
    ("ARGO_AGENT_PATCH_RATE", "agents tell results as soon as they have them"),
    ("ARGO_TRACE", "OTEL_EXPORTER_OTLP_ENDPOINT has traces sent"),
    ("BUBBLE_ENTRY_TEMPLATE_ERR", "an error of the entry point ends the workflow"),
    ("CRON_SYNC_PERIOD", "each schedule waits for its own time"),
    ("DEFAULT_REQUEUE_TIME", NO_PASSES),
    ("EVENT_AGGREGATION_WITH_ANNOTATIONS", "events are not aggregated"),
    ("GZIP_IMPLEMENTATION", "there is one implementation"),
    ("HEALTHZ_AGE", "/healthz asks whether the dispatcher answers"),
    ("INDEX_WORKFLOW_SEMAPHORE_KEYS", "locks are passed on to whoever waits for them"),
    ("MAX_OPERATION_TIME", NO_PASSES),
    ("OPERATION_DURATION_METRIC_BUCKET_COUNT", "metricsConfig.modifiers has buckets (histogramBuckets)"),
    ("PROMETHEUS_LEGACY_NAME_VALIDATION_SCHEME", "names of metrics have underscores only"),
    ("RECENTLY_DELETED_POD_DURATION", "a Pod that is deleted is known to be so at once"),
    ("RECENTLY_STARTED_POD_DURATION", "no Pod is looked at again because it is new"),
    ("RETRY_BACKOFF_DURATION", REPEATED),
    ("RETRY_BACKOFF_FACTOR", REPEATED),
    ("RETRY_BACKOFF_STEPS", REPEATED),
    ("SEMAPHORE_NOTIFY_DELAY", "locks are passed on at once"),
    ("TLS_MIN_VERSION", "metrics are served with TLS 1.2 and up"),
    ("WATCH_CONTROLLER_SEMAPHORE_CONFIGMAPS", "ConfigMaps are always watched"),
    ("WORKFLOW_COMPRESSION_ALGORITHM", "gzip is written; gzip, zstd and brotli are read"),
    ("WORKFLOW_COMPRESSION_LEVEL", "gzip is written at its usual level"),
    ("WORKFLOW_ESTIMATION_DB_QUERY_TIMEOUT_SECONDS", "no workflow waits for its estimate"),
];

impl ArgoOptions {
    /// What is set and has no effect, each as a sentence; `variable` looks into the environment.
    pub fn without_effect(&self, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let options = [
            ("gloglevel", self.gloglevel.is_some(), "the log has one level, --loglevel"),
            ("workflow-workers", self.workflow_workers.is_some(), WORKERS),
            ("workflow-ttl-workers", self.workflow_ttl_workers.is_some(), WORKERS),
            ("pod-cleanup-workers", self.pod_cleanup_workers.is_some(), WORKERS),
            ("cron-workflow-workers", self.cron_workflow_workers.is_some(), WORKERS),
            ("workflow-archive-workers", self.workflow_archive_workers.is_some(), WORKERS),
            ("qps", self.qps.is_some(), IN_FLIGHT),
            ("burst", self.burst.is_some(), IN_FLIGHT),
        ];
        let options = options.into_iter().filter(|(_, given, _)| *given);
        let options = options.map(|(name, _, why)| format!("--{name} has no effect: {why}"));
        let variables = VARIABLES.iter().filter(|(name, _)| variable(name).is_some_and(|value| !value.is_empty()));
        options.chain(variables.map(|(name, why)| format!("{name} has no effect: {why}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::options::Options;

    fn told(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let options = Options::read(["tiphys-controller"].iter().chain(arguments)).unwrap();
        let value =
            |name: &str| environment.iter().find(|(named, _)| *named == name).map(|(_, value)| (*value).to_owned());
        options.argo.without_effect(value)
    }

    #[test]
    fn options_of_argos_are_taken_and_told() {
        assert_eq!(told(&[], &[("GZIP_IMPLEMENTATION", ""), ("TZ", "UTC")]), Vec::<String>::new());
        let told = told(
            &["--gloglevel=6", "--workflow-workers", "8", "--qps", "20.5", "--burst=30"],
            &[("MAX_OPERATION_TIME", "1m"), ("ARGO_TRACE", "1")],
        );
        let names: Vec<&str> = told.iter().filter_map(|line| line.split(' ').next()).collect();
        let expected = ["--gloglevel", "--workflow-workers", "--qps", "--burst", "ARGO_TRACE", "MAX_OPERATION_TIME"];
        assert_eq!(names, expected);
        let wrong = ["tiphys-controller", "--workflow-workers", "many"];
        assert!(Options::read(wrong).unwrap_err().to_string().contains("--workflow-workers"));
    }

    #[test]
    fn each_is_told_and_documented() {
        let document = include_str!("../../docs/adoption.md");
        let command = ArgoOptions::augment_args(Command::new("x"));
        for option in command.get_arguments() {
            let long = option.get_long().unwrap();
            assert_eq!(told(&[&format!("--{long}"), "1"], &[]).len(), 1, "--{long}");
            assert!(document.contains(&format!("`--{long}`")), "--{long}");
        }
        for (name, _) in VARIABLES {
            assert_eq!(told(&[], &[(name, "1")]).len(), 1, "{name}");
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }
}
