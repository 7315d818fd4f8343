//! The command line. Names are Argo's where it has the option.

use clap::{ArgAction, Parser};
use jiff::tz::TimeZone;
use serde_json::json;
use tiphys_contract::env;
use tiphys_oci::Registries;
use tiphys_podspec::{Layout, PodConfig};

use crate::cluster::Limits;
use crate::config::Config;
use crate::persistence::PersistenceOptions;
use crate::pod_options::PodOptions;
use crate::workflow::{CacheGc, ExecutorPlugins, Memoization};

/// Runs the workflows of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "tiphys-controller", version)]
pub struct Options {
    /// Name of the ConfigMap with the configuration
    #[arg(long, default_value = "workflow-controller-configmap", env = "ARGO_CONFIGMAP")]
    pub configmap: String,
    /// Image of the executor
    #[arg(long, env = "ARGO_EXECUTOR_IMAGE", default_value = concat!("quay.io/tiphys/executor:", env!("CARGO_PKG_VERSION")))]
    pub executor_image: String,
    /// Pull policy of the executor's image
    #[arg(long, env = "ARGO_EXECUTOR_IMAGE_PULL_POLICY", default_value = "")]
    pub executor_image_pull_policy: String,
    /// Look at the controller's own namespace only
    #[arg(long, env = "ARGO_NAMESPACED")]
    pub namespaced: bool,
    /// Look at this namespace only
    #[arg(long, env = "ARGO_MANAGED_NAMESPACE", default_value = "")]
    pub managed_namespace: String,
    /// The controller's own namespace, where its ConfigMap is; in a Pod the Pod's
    #[arg(long, short = 'n', env = "TIPHYS_NAMESPACE")]
    pub namespace: Option<String>,
    /// Where executors deliver results: auto, annotations, termination-message or taskresult
    #[arg(long, env = "TIPHYS_RESULTS", default_value = "auto", value_parser = ["auto", "annotations", "termination-message", "taskresult"])]
    pub results: String,
    /// Shape of steps' Pods: `legacy` (init, wait and main, as Argo makes them), `image-volume` (no init container; for
    /// clusters that mount images), `solo` (main alone where nothing is wanted of a step but how it ends, else legacy),
    /// `auto` (main alone where that will do, else image-volume where the cluster mounts images, else legacy)
    #[arg(
        long,
        env = "TIPHYS_LAYOUT",
        default_value = "solo",
        default_value_if("shadow", "true", "legacy"),
        value_enum
    )]
    pub layout: PodLayout,
    /// Where memoized results are kept: in ConfigMaps, of at most 1 MiB each, or in the artifact repository, as
    /// `caches/NAMESPACE/NAME/KEY`
    #[arg(long, env = "TIPHYS_MEMOIZATION", default_value = "config-map", value_enum)]
    pub memoization: Memoization,
    /// Time zone of CronWorkflows' schedules that name none, as `Europe/Berlin`
    #[arg(long, env = "TZ", default_value = "UTC", value_parser = time_zone)]
    pub timezone: TimeZone,
    /// Into how many shards workflows are divided, which replicas share among them; with 1 one replica works at a time.
    /// The same for all replicas
    #[arg(long, env = "TIPHYS_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shards: u32,
    /// Tells replicas apart; in a Pod its name
    #[arg(long, env = "LEADER_ELECTION_IDENTITY")]
    pub identity: Option<String>,
    /// Works without waiting for other replicas to end
    #[arg(long, env = "LEADER_ELECTION_DISABLE")]
    pub no_leader_election: bool,
    /// Looks on while another controller works, changes nothing, and tells where this one would do something else. No request
    /// but get, list and watch leaves it
    #[arg(long, env = "TIPHYS_SHADOW")]
    pub shadow: bool,
    /// What others add to Pods, and is no difference: how its place in the Pod begins, as `.spec.containers[2]`
    #[arg(long, env = "TIPHYS_SHADOW_IGNORE", value_delimiter = ',', value_name = "PLACE", requires = "shadow")]
    pub shadow_ignore: Vec<String>,
    /// Looks for images of HOST at URL first, to learn what they run; may be given more than once
    #[arg(long, value_name = "HOST=URL", env = "TIPHYS_REGISTRY_MIRRORS", value_delimiter = ',')]
    pub registry_mirror: Vec<String>,
    /// Fields of a spec that a workflow may set in spite of workflowRestrictions, beside Argo's
    #[arg(long, env = "WORKFLOW_USER_OVERRIDE_ALLOWLIST", value_delimiter = ',', value_name = "FIELD")]
    pub allow_override: Vec<String>,
    /// Runs the executor plugins that ConfigMaps declare beside the agents of workflows
    #[arg(long, env = "ARGO_EXECUTOR_PLUGINS")]
    pub executor_plugins: bool,
    /// Lets workflows bring executor plugins of their own (spec.executorPlugins)
    #[arg(long, env = "ARGO_WORKFLOW_LEVEL_EXECUTOR_PLUGINS")]
    pub workflow_level_executor_plugins: bool,
    /// Does not estimate how long workflows and their nodes will take
    #[arg(long, env = "SKIP_WORKFLOW_DURATION_ESTIMATION")]
    pub no_estimates: bool,
    /// Whether the artifacts of workflows that say so are deleted (artifactGC)
    #[arg(long, env = "ARGO_ARTIFACT_GC_ENABLED", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub artifact_gc: bool,
    /// Port of /healthz and /readyz; 0 for none
    #[arg(long, env = "TIPHYS_HEALTH_PORT", default_value_t = 6060)]
    pub health_port: u16,
    /// What is logged, by the controller and by its executors
    #[arg(long, env = "ARGO_LOGLEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    pub loglevel: String,
    /// Form of the log
    #[arg(long, env = "ARGO_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// What Pods are told and given
    #[command(flatten)]
    pub pods: PodOptions,
    /// How many requests are under way at a time
    #[command(flatten)]
    pub limits: Limits,
    /// When entries of caches are removed
    #[command(flatten)]
    pub cache_gc: CacheGc,
    /// How often the database is tidied up
    #[command(flatten)]
    pub persistence: PersistenceOptions,
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    tiphys_engine::cron::time_zone(name, &TimeZone::UTC)
}

/// The shape of Pods, by the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PodLayout {
    /// init, wait and main
    Legacy,
    /// supervisor and main
    ImageVolume,
    /// main alone where that will do, else as legacy
    Solo,
    /// main alone where that will do, else whatever the cluster can do
    Auto,
}

impl Options {
    /// The registries that are asked what images run.
    ///
    /// # Errors
    /// A mirror is not `HOST=URL`.
    pub fn registries(&self) -> Result<Registries, tiphys_oci::Error> {
        self.registry_mirror.iter().try_fold(Registries::new(), |registries, mirror| registries.with_mirror(mirror))
    }

    /// Who this replica is.
    pub fn identity(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        let named = self.identity.clone().or_else(host).unwrap_or_else(|| "tiphys-controller".to_owned());
        // Two on one machine, and one that is started again, are not the same.
        format!("{named}_{}", std::process::id())
    }

    /// What they say about the configuration.
    pub fn config(&self) -> Config {
        let mut pod = PodConfig {
            layout: match self.layout {
                PodLayout::ImageVolume => Layout::ImageVolume,
                // What the cluster can do is found out while the controller runs.
                PodLayout::Legacy | PodLayout::Solo | PodLayout::Auto => Layout::Legacy,
            },
            solo: matches!(self.layout, PodLayout::Solo | PodLayout::Auto),
            executor_image: self.executor_image.clone(),
            executor_image_pull_policy: self.executor_image_pull_policy.clone(),
            log_level: self.loglevel.clone(),
            log_format: self.log_format.clone(),
            ..self.pods.apply(PodConfig::default())
        };
        pod.executor.env.push(json!({"name": env::RESULT_SINK, "value": self.results}));
        let allowed = self.allow_override.iter().map(|field| field.trim().to_owned());
        let allowed_overrides = allowed.filter(|field| !field.is_empty()).collect();
        Config {
            pod,
            allowed_overrides,
            executor_plugins: ExecutorPlugins {
                declared: self.executor_plugins,
                of_workflows: self.workflow_level_executor_plugins,
            },
            limits: self.persistence.limits(),
            shards: self.shards,
            memoization: self.memoization,
            cache_gc: self.cache_gc.clone(),
            shadow: self.shadow,
            no_estimates: self.no_estimates,
            keeps_artifacts: !self.artifact_gc,
            time_zone: Some(self.timezone.clone()),
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn options_do_not_get_in_each_others_way() {
        Options::command().debug_assert();
    }

    #[test]
    fn artifacts_are_collected_unless_that_is_switched_off() {
        let kept = |more: &[&str]| {
            let options = Options::try_parse_from(["tiphys-controller"].iter().chain(more)).unwrap();
            options.config().keeps_artifacts
        };
        assert!(!kept(&[]) && !kept(&["--artifact-gc", "true"]) && kept(&["--artifact-gc", "false"]));
    }
}
