//! The command line. Names are Argo's where it has the option.

use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tiphys_contract::env;
use tiphys_oci::Registries;
use tiphys_podspec::PodConfig;

use crate::config::Config;

/// How long a Pod that is to be deleted is kept by default. argo: config/config.go.
const POD_GC_DELAY: Duration = Duration::from_secs(5);

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
    /// Looks for images of HOST at URL first, to learn what they run; may be given more than once
    #[arg(long, value_name = "HOST=URL", env = "TIPHYS_REGISTRY_MIRRORS", value_delimiter = ',')]
    pub registry_mirror: Vec<String>,
    /// What is logged, by the controller and by its executors
    #[arg(long, env = "ARGO_LOGLEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    pub loglevel: String,
    /// Form of the log
    #[arg(long, env = "ARGO_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}

impl Options {
    /// The registries that are asked what images run.
    ///
    /// # Errors
    /// A mirror is not `HOST=URL`.
    pub fn registries(&self) -> Result<Registries, tiphys_oci::Error> {
        self.registry_mirror.iter().try_fold(Registries::new(), |registries, mirror| registries.with_mirror(mirror))
    }

    /// What they say about the configuration.
    pub fn config(&self) -> Config {
        let mut pod = PodConfig {
            executor_image: self.executor_image.clone(),
            executor_image_pull_policy: self.executor_image_pull_policy.clone(),
            log_level: self.loglevel.clone(),
            log_format: self.log_format.clone(),
            ..PodConfig::default()
        };
        pod.executor.env.push(json!({"name": env::RESULT_SINK, "value": self.results}));
        Config { pod, pod_gc_delay: POD_GC_DELAY, ..Config::default() }
    }
}
