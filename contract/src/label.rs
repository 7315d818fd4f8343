//! Label and annotation keys that both sides read or write (argo: workflow/common/common.go).

/// Label on Pods and task results: the workflow's name.
pub const WORKFLOW: &str = "workflows.argoproj.io/workflow";
/// Label on Pods: `"true"` once the driver has taken all it needs from the Pod.
pub const COMPLETED: &str = "workflows.argoproj.io/completed";
/// Label on Workflows: the phase.
pub const PHASE: &str = "workflows.argoproj.io/phase";
/// Label on task results: `"false"` while `wait` works, `"true"` when nothing more comes.
pub const REPORT_OUTPUTS_COMPLETED: &str = "workflows.argoproj.io/report-outputs-completed";
/// Label: which controller instance an object belongs to.
pub const CONTROLLER_INSTANCE_ID: &str = "workflows.argoproj.io/controller-instanceid";
/// Label on WorkflowArtifactGCTasks: the Pod that deletes their artifacts.
pub const ARTIFACT_GC_POD: &str = "workflows.argoproj.io/artifact-gc-pod";
/// Label on Pods of exit handlers, which a Stop leaves running.
pub const ON_EXIT: &str = "workflows.argoproj.io/on-exit";

/// Annotation on Workflows and Pods: the trace that they belong to.
pub const TRACE_ID: &str = "workflows.argoproj.io/trace-id";
/// Annotation on Pods: the span below which those of the Pod come.
pub const SPAN_ID: &str = "workflows.argoproj.io/span-id";
/// Annotation on Pods: the node's id.
pub const NODE_ID: &str = "workflows.argoproj.io/node-id";
/// Annotation on Pods: the node's name.
pub const NODE_NAME: &str = "workflows.argoproj.io/node-name";
/// Annotation on Pods: outputs as JSON (result sink `annotations`).
pub const OUTPUTS: &str = "workflows.argoproj.io/outputs";
/// Annotation on Pods: progress as `N/M`.
pub const PROGRESS: &str = "workflows.argoproj.io/progress";
/// Annotation on Pods: what our own controller reads besides, as JSON (result sink `annotations`).
pub const REPORT: &str = "workflows.argoproj.io/tiphys-report";
/// Annotation on Pods: pod GC strategy and delay, used when the workflow is gone.
pub const POD_GC_STRATEGY: &str = "workflows.argoproj.io/pod-gc-strategy";
/// Prefix of the annotation with a container's own kill command: a JSON list in which `%d` stands for the signal.
pub const KILL_COMMAND_PREFIX: &str = "workflows.argoproj.io/kill-cmd-";
/// Annotation that `kubectl logs` reads.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Annotation on Pods whose shape the driver must know later: [`SOLO`].
pub const LAYOUT: &str = "workflows.argoproj.io/tiphys-layout";
/// No executor is in the Pod: its containers cannot be signalled from inside.
pub const SOLO: &str = "solo";
/// Annotation on Pods without an executor that the driver has ended, by a deadline that has passed.
pub const ENDED: &str = "workflows.argoproj.io/tiphys-ended";
/// Label on Workflows that belong to one shard whatever their uid: its number.
pub const SHARD: &str = "workflows.argoproj.io/tiphys-shard";
/// Label on Workflows that may begin, where replicas share the work and so many workflows may work at a time: the workflow's uid.
pub const ADMITTED: &str = "workflows.argoproj.io/tiphys-admitted";
/// Label on the controller's Leases: into how many shards the workflows are divided.
pub const SHARDS: &str = "workflows.argoproj.io/tiphys-shards";
/// Finalizer of Pods whose end is to be seen whoever deletes them.
pub const STATUS_FINALIZER: &str = "workflows.argoproj.io/status";
