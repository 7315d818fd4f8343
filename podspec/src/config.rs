//! What the controller's configuration says about Pods (argo: config/config.go).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tiphys_api::{ArtifactRepository, Container};

/// The shape of a Pod with an executor in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `init` stages everything, `wait` reports: Argo's default, for every Kubernetes.
    #[default]
    Legacy,
    /// No init container: `supervisor` stages and reports, the emissary comes from an image volume (Kubernetes 1.33 on;
    /// argo: `initlessPod`).
    ImageVolume,
}

/// Configuration of Pods; [`Default`] is what an empty `workflow-controller-configmap` gives.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// The shape where a step needs an executor.
    pub layout: Layout,
    /// Whether a step of which nothing is wanted but how it ends is the user's container alone.
    pub solo: bool,
    /// Image of the executor's containers.
    pub executor_image: String,
    /// Their pull policy; empty leaves it to Kubernetes.
    pub executor_image_pull_policy: String,
    /// `executor` of the configuration.
    pub executor: ExecutorDefaults,
    /// `mainContainer`: merged below each main container.
    pub main_container: Option<Container>,
    /// `kubeConfig`: for executors that talk to another cluster.
    pub kube_config: Option<KubeConfig>,
    /// Command of images, where a container names none.
    pub images: BTreeMap<String, ImageCommand>,
    /// Secret with the token of each service account that executors run as.
    pub token_secrets: BTreeMap<String, String>,
    /// `artifactDrivers`: plugins by name.
    pub artifact_drivers: BTreeMap<String, ArtifactDriver>,
    /// `instanceID`; empty where there is none.
    pub instance_id: String,
    /// Level of the executor's log: `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// Format of the executor's log: `text` or `json`.
    pub log_format: String,
    /// Shortest time between two reports of progress; zero switches progress off.
    pub progress_patch_tick: Duration,
    /// Time between two looks at the progress file; zero switches progress off.
    pub progress_file_tick: Duration,
    /// The repository that artifacts go to where nothing else is said.
    pub artifact_repository: ArtifactRepository,
    /// Archive the logs of every Pod; [`ArtifactRepository::archive_logs`] does the same.
    pub archive_logs: bool,
    /// Delay of pod GC where the workflow names none.
    pub pod_gc_delay: Duration,
    /// Node label by which hosts are told apart when a retry must avoid some.
    pub host_label: String,
    /// Agents' Pods.
    pub agent: AgentConfig,
    /// Hold finished Pods with a finalizer until their status is seen.
    pub status_finalizer: bool,
}

impl Default for PodConfig {
    fn default() -> Self {
        PodConfig {
            layout: Layout::Legacy,
            solo: false,
            executor_image: String::new(),
            executor_image_pull_policy: String::new(),
            executor: ExecutorDefaults::default(),
            main_container: None,
            kube_config: None,
            images: BTreeMap::new(),
            token_secrets: BTreeMap::new(),
            artifact_drivers: BTreeMap::new(),
            instance_id: String::new(),
            log_level: "info".into(),
            log_format: "text".into(),
            progress_patch_tick: Duration::from_secs(60),
            progress_file_tick: Duration::from_secs(3),
            artifact_repository: ArtifactRepository::default(),
            archive_logs: false,
            pod_gc_delay: Duration::from_secs(5),
            host_label: "kubernetes.io/hostname".into(),
            agent: AgentConfig::default(),
            status_finalizer: false,
        }
    }
}

/// What the agent of a workflow may take (argo: workflow/controller/agent.go).
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Limit of processors, as a quantity.
    pub cpu_limit: String,
    /// Limit of memory, as a quantity.
    pub memory_limit: String,
    /// Tasks at a time; None leaves it to the executor.
    pub task_workers: Option<u16>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig { cpu_limit: "100m".into(), memory_limit: "256M".into(), task_workers: None }
    }
}

/// Settings of the executor's own containers.
#[derive(Clone, Debug, Default)]
pub struct ExecutorDefaults {
    /// `resources`
    pub resources: Option<Value>,
    /// `securityContext`
    pub security_context: Option<Value>,
    /// `env`: Kubernetes environment variables.
    pub env: Vec<Value>,
    /// `args`
    pub args: Vec<String>,
}

/// A Secret with a kubeconfig.
#[derive(Clone, Debug, Default)]
pub struct KubeConfig {
    /// The Secret.
    pub secret_name: String,
    /// Its key.
    pub secret_key: String,
    /// Name of the volume; `kubeconfig` when empty.
    pub volume_name: String,
    /// Where it is mounted; `/kube/config` when empty.
    pub mount_path: String,
}

/// What an image runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageCommand {
    /// The image's entry point: a container's command.
    pub entrypoint: Vec<String>,
    /// The image's command: a container's arguments.
    pub cmd: Vec<String>,
}

/// An artifact plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactDriver {
    /// Its image.
    pub image: String,
    /// Seconds until a connection to it is given up; zero leaves it to the executor.
    pub connection_timeout_seconds: i64,
}
