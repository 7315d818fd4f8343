//! `workflow-controller-configmap`: every key by name, read strictly. argo: config/config.go, config/controller.go.
//!
//! One key `config` may hold all of it as YAML, or each field has a key of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tiphys_api::{ArtifactRepository, Container, Workflow};
use tiphys_archive::config::{ConfigError as DatabaseConfigError, Persistence, Synchronization};
use tiphys_engine::{ConfigMapData, EngineConfig, Restriction};
use tiphys_podspec::{ArtifactDriver, ExecutorDefaults, ImageCommand, KubeConfig, Layout, PodConfig};

use crate::metrics::{self, Settings};
use crate::parallelism::Limits;
use crate::pod_rate::Rate;
use crate::retention::Policy;
use crate::workflow::{CacheGc, ExecutorPlugins, Memoization, SizeLimits};

/// The key that may hold everything.
const WHOLE: &str = "config";
/// The executor's image where none is named.
const EXECUTOR: &str = concat!("quay.io/tiphys/executor:", env!("CARGO_PKG_VERSION"));

/// A configuration that is refused; the one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is not YAML.
    #[error("{key}: {reason}")]
    Syntax {
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A key is unknown, or a value has another shape.
    #[error("{0}")]
    Shape(String),
    /// What is said of a database cannot be done.
    #[error(transparent)]
    Database(#[from] DatabaseConfigError),
}

/// What the configuration says, and what the command line added.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What Pods are made of.
    pub pod: PodConfig,
    /// Under every workflow: spec, labels and annotations.
    pub workflow_defaults: Option<Arc<Workflow>>,
    /// Grace period with which Pods are deleted.
    pub pod_gc_grace: Option<i64>,
    /// Whether events are told about workflows.
    pub workflow_events: bool,
    /// Whether events are told about nodes.
    pub node_events: bool,
    /// Which workflows may run.
    pub restriction: Restriction,
    /// Fields that a workflow may set under a restriction, beside those that always are allowed.
    pub allowed_overrides: BTreeSet<String>,
    /// What is measured, and where it is told.
    pub metrics: Settings,
    /// The database.
    pub persistence: Option<Persistence>,
    /// The database in which controllers share locks.
    pub synchronization: Option<Synchronization>,
    /// How large workflows may get.
    pub limits: SizeLimits,
    /// Whether events about nodes are told of their Pods.
    pub node_events_of_pods: bool,
    /// Whether workflows' agents are somebody else's to start.
    pub no_agent: bool,
    /// Which servers may run beside them.
    pub executor_plugins: ExecutorPlugins,
    /// How often a Pod is made anew that failed before it began; None where that is not wanted.
    pub failed_pod_restarts: Option<i64>,
    /// How many Pods are created a second; None is as many as can be.
    pub pod_rate: Option<Rate>,
    /// How many workflows are kept that are over; None is all.
    pub retention: Option<Policy>,
    /// The one namespace that is looked at, where the command line names none; empty is all.
    pub managed_namespace: String,
    /// How many workflows work at a time.
    pub parallelism: Limits,
    /// The time zone of schedules that name none; UTC where that is not said.
    pub time_zone: Option<TimeZone>,
    /// Into how many shards workflows are divided.
    pub shards: u32,
    /// Where memoized results are kept.
    pub memoization: Memoization,
    /// When entries of caches are removed.
    pub cache_gc: CacheGc,
    /// Whether another controller works, and this one only looks on.
    pub shadow: bool,
    /// Whether durations are not estimated.
    pub no_estimates: bool,
    /// Whether artifacts are kept, whatever workflows say of them.
    pub keeps_artifacts: bool,
    /// Whether volume claims keep their finalizer, and so wait for Pods that are over.
    pub protects_claims: bool,
    /// How what belongs to a workflow goes with it.
    pub propagation: Propagation,
    /// What the command line tells the engine.
    pub engine_base: EngineConfig,
}

/// How what belongs to an object is deleted with it, in Kubernetes' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Propagation {
    /// Afterwards. A foreground deletion would wait for Pods' finalizers. argo: util.go, GetDeletePropagation
    #[default]
    Background,
    /// Before it.
    Foreground,
    /// Not at all.
    Orphan,
}

/// The fields as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Written {
    artifact_drivers: Vec<WrittenDriver>,
    artifact_repository: Option<ArtifactRepository>,
    columns: Value,
    disable_agent_pod_creation: Option<bool>,
    executor: WrittenExecutor,
    failed_pod_restart: WrittenRestart,
    images: BTreeMap<String, WrittenImage>,
    initial_delay: String,
    initless_pod: WrittenSwitch,
    #[serde(rename = "instanceID")]
    instance_id: String,
    kube_config: Option<WrittenKubeConfig>,
    links: Value,
    main_container: Option<Container>,
    metrics_config: metrics::Written,
    namespace: String,
    namespace_parallelism: usize,
    nav_color: Value,
    node_events: WrittenEvents,
    parallelism: usize,
    persistence: Option<Value>,
    #[serde(rename = "podGCDeleteDelayDuration")]
    pod_gc_delete_delay_duration: String,
    #[serde(rename = "podGCGracePeriodSeconds")]
    pod_gc_grace_period_seconds: Option<i64>,
    pod_spec_log_strategy: Value,
    resource_rate_limit: Option<WrittenRate>,
    retention_policy: Option<Policy>,
    sso: Value,
    synchronization: Option<Value>,
    #[serde(rename = "telemetryConfig")]
    _telemetry_config: metrics::Written,
    workflow_defaults: Option<Workflow>,
    workflow_events: WrittenEvents,
    workflow_restrictions: WrittenRestrictions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenExecutor {
    name: String,
    image: String,
    image_pull_policy: String,
    resources: Option<Value>,
    security_context: Option<Value>,
    env: Vec<Value>,
    args: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenSwitch {
    enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenRestart {
    enabled: bool,
    max_restarts: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRate {
    limit: f64,
    burst: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenEvents {
    enabled: Option<bool>,
    send_as_pod: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenRestrictions {
    template_referencing: String,
}

impl WrittenRestrictions {
    fn restriction(&self) -> Result<Restriction, ConfigError> {
        match self.template_referencing.as_str() {
            "" => Ok(Restriction::None),
            "Strict" => Ok(Restriction::Strict),
            "Secure" => Ok(Restriction::Secure),
            other => Err(ConfigError::Shape(format!(
                "workflowRestrictions.templateReferencing is {other:?}: expected Strict or Secure"
            ))),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenImage {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenKubeConfig {
    secret_name: String,
    secret_key: String,
    volume_name: String,
    mount_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenDriver {
    name: String,
    image: String,
    connection_timeout_seconds: i64,
}

impl Config {
    /// The time zone of schedules that name none.
    pub fn local_time_zone(&self) -> TimeZone {
        self.time_zone.clone().unwrap_or(TimeZone::UTC)
    }

    /// Reads the ConfigMap's data over what the command line gave.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing is taken then.
    pub fn read(map: &ConfigMapData, given: &Config) -> Result<Config, ConfigError> {
        let mut fields = Map::new();
        for (key, text) in &map.data {
            let value = tiphys_api::yaml::to_json(text)
                .map_err(|error| ConfigError::Syntax { key: key.clone(), reason: error.to_string() })?;
            match (key.as_str(), value) {
                (WHOLE, Value::Object(whole)) => fields.extend(whole),
                (WHOLE, _) => return Err(ConfigError::Shape(format!("{WHOLE}: expected an object"))),
                (_, Value::Null) => {}
                (_, value) => {
                    fields.insert(key.clone(), value);
                }
            }
        }
        // Numbers are written as text in some, as Go's YAML reader takes either.
        let written: Written =
            serde_json::from_value(Value::Object(fields)).map_err(|error| ConfigError::Shape(error.to_string()))?;
        written.over(given)
    }

    /// What the engine is told of it.
    pub fn engine(&self) -> EngineConfig {
        EngineConfig {
            workflow_defaults: self.workflow_defaults.clone(),
            failed_pod_restarts: self.failed_pod_restarts,
            artifact_repository: Some(Box::new(self.pod.artifact_repository.clone())),
            restriction: self.restriction,
            allowed_overrides: self.allowed_overrides.clone(),
            ..self.engine_base.clone()
        }
    }
}

impl Written {
    fn over(self, given: &Config) -> Result<Config, ConfigError> {
        // What only the server or the user interface looks at, and a name that all have.
        let _ = (self.columns, self.links, self.nav_color, self.sso, self.executor.name);
        let ignored = [
            ("initialDelay", !self.initial_delay.is_empty(), "a workflow is begun when it is seen"),
            ("podSpecLogStrategy", !self.pod_spec_log_strategy.is_null(), "Pods are not logged"),
        ];
        for (key, _, why) in ignored.into_iter().filter(|(_, set, _)| *set) {
            tracing::warn!("{key} of the configuration has no effect: {why}");
        }
        let mut config = given.clone();
        let pod = &mut config.pod;
        // argo: workflow/controller/config.go, executorImage: what the command line says comes first.
        let images = [std::mem::take(&mut pod.executor_image), self.executor.image, EXECUTOR.to_owned()];
        pod.executor_image = images.into_iter().find(|image| !image.is_empty()).unwrap_or_default();
        if pod.executor_image_pull_policy.is_empty() {
            pod.executor_image_pull_policy = self.executor.image_pull_policy;
        }
        pod.executor = ExecutorDefaults {
            resources: self.executor.resources,
            security_context: self.executor.security_context,
            env: self.executor.env.into_iter().chain(given.pod.executor.env.iter().cloned()).collect(),
            args: self.executor.args,
        };
        if self.initless_pod.enabled {
            pod.layout = Layout::ImageVolume;
        }
        let command = |image: WrittenImage| ImageCommand { entrypoint: image.entrypoint, cmd: image.cmd };
        pod.images = self.images.into_iter().map(|(name, image)| (name, command(image))).collect();
        pod.kube_config = self.kube_config.map(|config| KubeConfig {
            secret_name: config.secret_name,
            secret_key: config.secret_key,
            volume_name: config.volume_name,
            mount_path: config.mount_path,
        });
        pod.artifact_drivers = self
            .artifact_drivers
            .into_iter()
            .map(|driver| {
                let seconds = driver.connection_timeout_seconds;
                (driver.name, ArtifactDriver { image: driver.image, connection_timeout_seconds: seconds })
            })
            .collect();
        pod.main_container = self.main_container;
        pod.artifact_repository = self.artifact_repository.unwrap_or_default();
        if !self.instance_id.is_empty() {
            pod.instance_id = self.instance_id;
        }
        if !self.pod_gc_delete_delay_duration.is_empty() {
            let text = &self.pod_gc_delete_delay_duration;
            let delay = tiphys_expr::go::parse_duration(text)
                .map_err(|reason| ConfigError::Shape(format!("podGCDeleteDelayDuration: {reason}")))?;
            pod.pod_gc_delay = Duration::from_nanos(u64::try_from(delay).unwrap_or_default());
        }
        config.node_events_of_pods = self.node_events.send_as_pod;
        config.no_agent = self.disable_agent_pod_creation.unwrap_or_default();
        // argo: config.go, GetMaxRestarts
        let restarts = self.failed_pod_restart.max_restarts.unwrap_or(3);
        config.failed_pod_restarts = self.failed_pod_restart.enabled.then_some(restarts);
        config.pod_rate = match self.resource_rate_limit {
            Some(WrittenRate { limit, burst }) if limit <= 0.0 || burst == 0 => {
                let reason = "resourceRateLimit: limit and burst must be more than 0, or no Pod is ever created";
                return Err(ConfigError::Shape(reason.into()));
            }
            rate => rate.map(|WrittenRate { limit, burst }| Rate { limit, burst }),
        };
        config.retention = self.retention_policy;
        config.managed_namespace = self.namespace;
        config.parallelism = Limits { total: self.parallelism, namespace: self.namespace_parallelism };
        config.pod_gc_grace = self.pod_gc_grace_period_seconds;
        config.restriction = self.workflow_restrictions.restriction()?;
        config.metrics = self.metrics_config.settings().map_err(ConfigError::Shape)?;
        config.workflow_events = self.workflow_events.enabled.unwrap_or(true);
        config.node_events = self.node_events.enabled.unwrap_or(true);
        config.persistence = self.persistence.map(Persistence::read).transpose()?;
        config.synchronization = self.synchronization.map(Synchronization::read).transpose()?;
        config.workflow_defaults = self.workflow_defaults.map(Arc::new);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::read(&ConfigMapData { data, ..ConfigMapData::default() }, &Config::default())
    }

    #[test]
    fn keys_alone_and_together_say_the_same() {
        let alone = read(&[
            ("podGCGracePeriodSeconds", "3"),
            ("parallelism", "20"),
            ("namespaceParallelism", "5"),
            ("podGCDeleteDelayDuration", "7s"),
            ("executor", "image: e:1\nresources: {requests: {cpu: 10m}}\n"),
            ("images", "a/b:c: {entrypoint: [/x], cmd: [z]}\n"),
            ("artifactRepository", "archiveLogs: true\ns3: {bucket: b}\n"),
        ]);
        let together = read(&[(
            "config",
            "podGCGracePeriodSeconds: 3\nparallelism: 20\nnamespaceParallelism: 5\npodGCDeleteDelayDuration: 7s\nexecutor: {image: 'e:1', resources: {requests: {cpu: 10m}}}\n\
             images: {'a/b:c': {entrypoint: [/x], cmd: [z]}}\nartifactRepository: {archiveLogs: true, s3: {bucket: b}}\n",
        )]);
        for config in [alone.unwrap(), together.unwrap()] {
            assert_eq!((config.pod_gc_grace, config.pod.pod_gc_delay), (Some(3), Duration::from_secs(7)));
            assert_eq!(config.parallelism, Limits { total: 20, namespace: 5 });
            assert_eq!(config.pod.executor_image, "e:1");
            assert_eq!(config.pod.images["a/b:c"].cmd, ["z"]);
            assert_eq!(config.pod.artifact_repository.archive_logs, Some(true));
        }
    }

    #[test]
    fn the_command_lines_executor_comes_before_the_config_maps() {
        let read = |given: (&str, &str), written: &str| {
            let pod = PodConfig {
                executor_image: given.0.into(),
                executor_image_pull_policy: given.1.into(),
                ..PodConfig::default()
            };
            let data = [("executor".to_owned(), written.to_owned())].into();
            let map = ConfigMapData { data, ..ConfigMapData::default() };
            let pod = Config::read(&map, &Config { pod, ..Config::default() }).unwrap().pod;
            (pod.executor_image, pod.executor_image_pull_policy)
        };
        let written = "{image: 'argoexec:1', imagePullPolicy: Always}";
        assert_eq!(read(("ours:1", "Never"), written), ("ours:1".into(), "Never".into()));
        assert_eq!(read(("ours:1", ""), written), ("ours:1".into(), "Always".into()));
        assert_eq!(read(("", ""), written), ("argoexec:1".into(), "Always".into()));
        assert_eq!(read(("", ""), "{}"), (EXECUTOR.into(), String::new()));
    }

    #[test]
    fn limits_are_read() {
        let config = read(&[
            ("failedPodRestart", "enabled: true"),
            ("resourceRateLimit", "{limit: 0.5, burst: 2}"),
            ("retentionPolicy", "{completed: 10, errored: 1}"),
            ("nodeEvents", "sendAsPod: true"),
            ("disableAgentPodCreation", "true"),
            ("namespace", "here"),
        ])
        .unwrap();
        assert_eq!(config.failed_pod_restarts, Some(3));
        assert_eq!(config.pod_rate, Some(Rate { limit: 0.5, burst: 2 }));
        assert_eq!(config.retention, Some(Policy { completed: 10, failed: 0, errored: 1 }));
        assert!(config.node_events_of_pods && config.no_agent && config.node_events);
        assert_eq!(config.managed_namespace, "here");
        assert_eq!(read(&[("failedPodRestart", "maxRestarts: 5")]).unwrap().failed_pod_restarts, None);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (key, text, words) in [
            ("paralelism", "3", "unknown field `paralelism`"),
            ("parallelism", "many", "invalid type"),
            ("executor", "imagee: x", "unknown field `imagee`"),
            ("persistence", "archive: true", "persistence: name one of postgresql, mysql and sqlite"),
            ("parallelism", "-3", "invalid value"),
            ("resourceRateLimit", "{limit: 3, burst: 0}", "resourceRateLimit: limit and burst"),
            ("retentionPolicy", "completed: -1", "invalid value"),
            ("executor", "image: [", "executor: "),
            ("workflowRestrictions", "templateReferencing: strict", "expected Strict or Secure"),
            ("metricsConfig", "portt: 1", "unknown field `portt`"),
            ("metricsConfig", "path: metrics", "metricsConfig.path: metrics must begin with /"),
            ("metricsConfig", "metricsTTL: soon", "metricsConfig.metricsTTL: "),
            ("metricsConfig", "temporality: Delta", "metricsConfig.temporality: Delta is not supported"),
            ("podGCDeleteDelayDuration", "soon", "podGCDeleteDelayDuration: "),
            ("synchronization", "{}", "synchronization: name one of postgresql and mysql"),
        ] {
            let error = read(&[(key, text)]).unwrap_err().to_string();
            assert!(error.contains(words), "{key}: {error}");
        }
    }
}
