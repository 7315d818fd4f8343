//! Why no Pod can be made.

/// A Pod that cannot be made; the message is the node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A container names no command and the image is not in [`crate::PodConfig::images`]: look the image up, add it, ask again.
    #[error(
        "container `{container}` names no command and the entry point of image `{image}` is not known; \
         name the `command` in the template, or list the image under `images` in the configuration"
    )]
    CommandUnknown {
        /// The image.
        image: String,
        /// The container.
        container: String,
    },
    /// The image is known, and it has neither entry point nor command.
    #[error(
        "container `{container}` names no command and image `{image}` has none; name the `command` in the template"
    )]
    CommandMissing {
        /// The image.
        image: String,
        /// The container.
        container: String,
    },
    /// The executor's service account has no entry in [`crate::PodConfig::token_secrets`]: look it up, add it, ask again.
    #[error("the token Secret of the executor's service account `{service_account}` is not known")]
    TokenSecretUnknown {
        /// The service account.
        service_account: String,
    },
    /// `automountServiceAccountToken: false` leaves the executor without a token.
    #[error("executor.serviceAccountName must not be empty if automountServiceAccountToken is false")]
    ExecutorServiceAccountMissing,
    /// A mount names a volume that neither the template nor the workflow has.
    #[error("volume '{name}' not found in workflow spec")]
    VolumeNotFound {
        /// The volume.
        name: String,
    },
    /// An input artifact without a path.
    #[error("error in inputs.artifacts.{artifact}: Artifact '{artifact}' did not specify a path")]
    ArtifactPathMissing {
        /// The artifact.
        artifact: String,
    },
    /// An input artifact's path leaves the directory that it names.
    #[error(
        "error in inputs.artifacts.{artifact}: Artifact '{artifact}' attempted to use a path containing '..'. \
         Directory traversal is not permitted"
    )]
    ArtifactPathEscapes {
        /// The artifact.
        artifact: String,
    },
    /// An input artifact would be staged over a mounted volume.
    #[error(
        "input artifact `{artifact}` goes to {path}, and a volume is mounted below it at {mount}; \
         Pods without an init container cannot stage it, so choose another path"
    )]
    ArtifactOverMount {
        /// The artifact.
        artifact: String,
        /// Its path.
        path: String,
        /// The mount below it.
        mount: String,
    },
    /// A tag in the archive location has no value.
    #[error("failed to resolve {tag} in the location of archived outputs")]
    Unresolved {
        /// The tag, with its braces.
        tag: String,
    },
    /// A tag cannot be evaluated.
    #[error("{what}: {reason}")]
    Substitute {
        /// Which text.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A `podSpecPatch` is not YAML.
    #[error("the podSpecPatch of the {of} is no valid YAML: {reason}")]
    PatchSyntax {
        /// `workflow` or `template`.
        of: &'static str,
        /// Why not.
        reason: String,
    },
    /// A strategic merge cannot be done.
    #[error("{what} cannot be merged: {source}")]
    Merge {
        /// What is merged.
        what: &'static str,
        /// Why not.
        source: tiphys_api::merge::MergeError,
    },
    /// A field of the template or the configuration has a shape that Kubernetes does not know.
    #[error("{what} is not as Kubernetes wants it: {reason}")]
    Shape {
        /// Which field.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The manifest of a resource template that gets an owner reference is no YAML object.
    #[error("resource.manifest: setOwnerReference needs a manifest that is one YAML object: {reason}")]
    Manifest {
        /// Why not.
        reason: String,
    },
    /// An artifact plugin that the configuration does not have.
    #[error("artifact driver {name} not found")]
    PluginUnknown {
        /// The plugin.
        name: String,
    },
    /// An executor plugin mounts a volume with what only the agent or another plugin may know.
    #[error("executor plugin {plugin} mounts the volume {volume}, which is the agent's: remove it from volumeMounts")]
    PluginMount {
        /// The plugin.
        plugin: String,
        /// The volume.
        volume: String,
    },
    /// `activeDeadlineSeconds`, `timeout`, … with a value that is no duration.
    #[error("{field}: `{text}` is no duration; write it as `90s`, `5m` or `1h30m`")]
    Duration {
        /// The field.
        field: &'static str,
        /// What was written.
        text: String,
    },
    /// The template is of a kind that needs no Pod.
    #[error("template `{template}` runs no Pod")]
    NoPod {
        /// The template.
        template: String,
    },
}
