//! Names of volumes and mount paths that only the Pod's maker uses (argo: workflow/common/common.go, workflowpod.go).

pub const VAR_RUN_VOLUME: &str = "var-run-argo";
pub const TMP_VOLUME: &str = "tmp-dir-argo";
pub const INPUT_ARTIFACTS_VOLUME: &str = "input-artifacts";
pub const STAGING_VOLUME: &str = "argo-staging";
pub const CONFIG_VOLUME: &str = "argo-env-config";
pub const BINARY_VOLUME: &str = "argoexec-bin";
pub const KUBECONFIG_VOLUME: &str = "kubeconfig";
pub const KUBECONFIG_PATH: &str = "/kube/config";
pub const TOKEN_VOLUME: &str = "exec-sa-token";
pub const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the names of volumes with a token begin with, where Kubernetes does not mount it by itself.
pub const API_ACCESS: &str = "kube-api-access-";
pub const AGENT_TOKEN_VOLUME: &str = "kube-api-access-agent";
/// The Secret with authorities that the agent trusts, and its volume.
pub const AUTHORITIES_VOLUME: &str = "argo-workflows-agent-ca-certificates";
/// Directory below which each artifact plugin has its socket.
pub const PLUGIN_SOCKETS: &str = "/tmp/artifact-plugins";
/// Scratch space that `wait` shares with the plugins that save outputs.
pub const SHARED_OUTPUTS: &str = "/tmp/argo/outputs";
pub const SHARED_OUTPUTS_SUB_PATH: &str = "argo/outputs";
/// Plugins whose inputs the supervisor loads, by commas.
pub const INPUT_PLUGIN_NAMES: &str = "ARGO_INPUT_ARTIFACT_PLUGIN_NAMES";
