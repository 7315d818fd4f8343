//! Paths inside the Pod's containers. All are absolute in the container's own mount namespace.
//!
//! What lies below [`SHARED`] is the file protocol between `init`, the emissaries and `wait`. All of them come from one
//! image, so its layout may differ from argoexec's except for what users see: `before`, `after`, the progress file.

/// Volume shared by all containers of a Pod.
pub const SHARED: &str = "/var/run/argo";
/// The emissary, as `init` delivers it; first word of every user container's command.
pub const EMISSARY: &str = "/var/run/argo/argoexec";
/// The template as JSON, written by `init`.
pub const TEMPLATE: &str = "/var/run/argo/template";
/// Where a user's process reports progress; the last line counts (`N/M`).
pub const PROGRESS: &str = "/var/run/argo/progress";
/// Marker of Pods without an init container: `RUNNING`, `READY` or `FAILED` and a message.
pub const STATUS: &str = "/var/run/argo/status";
/// Where the emissary is found in Pods that mount the executor's image as a volume.
pub const IMAGE_EMISSARY: &str = "/argo-bin/bin/argoexec";
/// Mount path of that image volume.
pub const IMAGE_VOLUME: &str = "/argo-bin";

/// The staged source of a script template.
pub const SCRIPT: &str = "/argo/staging/script";
/// Mount path of the staging volume.
pub const STAGING: &str = "/argo/staging";
/// Mount path of the volume into which input artifacts are loaded, one entry an artifact's name.
pub const INPUT_ARTIFACTS: &str = "/argo/inputs/artifacts";
/// Below it `init` and `wait` see `main`'s own volume mounts.
pub const MAIN_FILESYSTEM: &str = "/mainctrfs";
/// Below it lie the secrets that artifacts need, as `<secret>/<key>`.
pub const SECRETS: &str = "/argo/secret";
/// Mount path of the ConfigMap with a template or arguments too large for the Pod's spec.
pub const CONFIG: &str = "/argo/config";
/// The offloaded template.
pub const CONFIG_TEMPLATE: &str = "/argo/config/ARGO_TEMPLATE";
/// The offloaded arguments: a JSON list of strings.
pub const CONFIG_ARGS: &str = "/argo/config/ARGO_CONTAINER_ARGS_FILE";
/// Where Kubernetes puts the Pod's token, certificate authority and namespace.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The manifest of a resource template.
pub const MANIFEST: &str = "/tmp/manifest.yaml";
/// Scratch space of the executor's containers; a volume is mounted there.
pub const SCRATCH: &str = "/tmp";
/// Below it each artifact plugin has a folder with its socket.
pub const ARTIFACT_PLUGINS: &str = "/tmp/artifact-plugins";
/// Mount path of the authorities that users give the agent of a workflow.
pub const AGENT_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates";
/// Kubelet turns its content into the container's termination message.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// Name of the emissary's file beside the executor in an image.
pub const EMISSARY_FILE: &str = "tiphys-emissary";

/// Files of one container below `<shared>/ctr/<container>/`.
pub mod ctr {
    /// Directory name that holds one directory a container.
    pub const DIR: &str = "ctr";
    /// Exit code as decimal text; written last and by rename.
    pub const EXIT_CODE: &str = "exitcode";
    /// Held locked (flock) by the emissary as long as it lives: its release without an exit code means it was killed.
    pub const ALIVE: &str = "alive";
    /// The mailbox for signals that the emissary passes on, as decimal numbers in lines: a named pipe as soon as the
    /// emissary has started, a plain file when somebody is faster.
    pub const SIGNAL: &str = "signal";
    /// Standard output, when the step's result is wanted.
    pub const STDOUT: &str = "stdout";
    /// Standard output and error interleaved, when logs are archived.
    pub const COMBINED: &str = "combined";
    /// Why the command failed: a word in the first line, then the last lines of standard error if they were kept.
    pub const ENDED: &str = "ended";
    /// Created by the user to end a pause before the command.
    pub const BEFORE: &str = "before";
    /// Created by the user to end a pause after the command.
    pub const AFTER: &str = "after";
}

/// File below [`SHARED`] in which `wait` notes what it has done, to go on from there if it is killed and started again.
pub const JOURNAL: &str = "journal";
/// File below [`SHARED`] in which the executor, where it is `main`'s own command, leaves its result for a `wait` beside it.
pub const MAIN_RESULT: &str = "main-result";
/// Directory below [`SHARED`] in which `wait` notes how far uploads in parts have come, a file each.
pub const UPLOADS: &str = "uploads";
/// Directory below [`SHARED`] with `main`'s output parameters, each under its own absolute path.
pub const OUTPUT_PARAMETERS: &str = "outputs/parameters";
/// Directory below [`SHARED`] with `main`'s output artifacts, each under its own name: a file or folder as it is, for
/// the archives `none` and `zip`.
pub const OUTPUT_ARTIFACTS: &str = "outputs/artifacts";
/// Directory below [`SHARED`] with `main`'s output artifacts as uncompressed tars, each under its own name.
pub const OUTPUT_TARS: &str = "outputs/tars";
