//! What the fields of Kubernetes' and Argo's objects mean to a merge: `patchStrategy` and `patchMergeKey` of the Go types
//! (k8s.io/api core/v1, argo: workflow_types.go). Fields that are not named are plain.

/// What a document is, and so which of its lists are merged and by which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// An object without rules: objects in it merge, lists in it are replaced.
    Unknown,
    /// A container of a Pod (also script, sidecar and init container of a template).
    Container,
    /// A Pod's spec.
    PodSpec,
    /// A Pod's volume.
    Volume,
    /// `ephemeral` of a volume, and the claim template in it.
    VolumeClaimTemplate,
    /// `metadata` of an object.
    ObjectMeta,
    /// A Workflow, WorkflowTemplate or ClusterWorkflowTemplate.
    Workflow,
    /// The spec of one.
    WorkflowSpec,
    /// A template.
    Template,
    /// `inputs`, `outputs` and `arguments`.
    Arguments,
    /// `dag` of a template.
    Dag,
    /// A task of a DAG.
    DagTask,
    /// `workflowMetadata` of a workflow's spec.
    WorkflowMetadata,
    /// A lifecycle hook.
    Hook,
    /// An artifact's location.
    ArtifactLocation,
}

/// What a field means to a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// An object merges without rules, a list is replaced.
    Plain,
    /// An object with rules of its own.
    Object(Schema),
    /// A map whose entries are taken whole.
    Entries,
    /// A list of objects, merged by a key.
    List { key: &'static str, of: Schema },
    /// A list of plain values without duplicates.
    Set,
}

impl Schema {
    pub(super) fn rule(self, field: &str) -> Rule {
        let list = |key, of| Rule::List { key, of };
        match (self, field) {
            (Schema::PodSpec, "containers" | "initContainers" | "ephemeralContainers") => {
                list("name", Schema::Container)
            }
            (Schema::PodSpec, "volumes") => list("name", Schema::Volume),
            (Schema::PodSpec, "imagePullSecrets" | "schedulingGates" | "resourceClaims") => {
                list("name", Schema::Unknown)
            }
            (Schema::PodSpec, "hostAliases") => list("ip", Schema::Unknown),
            (Schema::PodSpec, "topologySpreadConstraints") => list("topologyKey", Schema::Unknown),

            (Schema::Container, "ports") => list("containerPort", Schema::Unknown),
            (Schema::Container, "env") => list("name", Schema::Unknown),
            (Schema::Container, "volumeMounts") => list("mountPath", Schema::Unknown),
            (Schema::Container, "volumeDevices") => list("devicePath", Schema::Unknown),

            (Schema::Volume, "ephemeral") => Rule::Object(Schema::VolumeClaimTemplate),
            (Schema::VolumeClaimTemplate, "volumeClaimTemplate") => Rule::Object(Schema::VolumeClaimTemplate),
            (Schema::VolumeClaimTemplate | Schema::Workflow, "metadata") => Rule::Object(Schema::ObjectMeta),
            (Schema::ObjectMeta, "ownerReferences") => list("uid", Schema::Unknown),
            (Schema::ObjectMeta, "finalizers") => Rule::Set,

            (Schema::Workflow, "spec") => Rule::Object(Schema::WorkflowSpec),
            (Schema::WorkflowSpec, "templates") => list("name", Schema::Template),
            (Schema::WorkflowSpec, "templateDefaults") => Rule::Object(Schema::Template),
            (Schema::WorkflowSpec, "imagePullSecrets") => list("name", Schema::Unknown),
            (Schema::WorkflowSpec, "workflowMetadata") => Rule::Object(Schema::WorkflowMetadata),
            (Schema::WorkflowMetadata, "labelsFrom") => Rule::Entries,
            (Schema::WorkflowSpec | Schema::DagTask, "hooks") => Rule::Entries,
            (Schema::WorkflowSpec | Schema::Template, "volumes") => list("name", Schema::Volume),
            (Schema::WorkflowSpec | Schema::Template, "tolerations") => list("key", Schema::Unknown),
            (Schema::WorkflowSpec | Schema::Template, "hostAliases") => list("ip", Schema::Unknown),
            (Schema::WorkflowSpec | Schema::DagTask | Schema::Hook, "arguments") => Rule::Object(Schema::Arguments),

            (Schema::Template, "inputs" | "outputs") => Rule::Object(Schema::Arguments),
            (Schema::Template, "container" | "script") => Rule::Object(Schema::Container),
            (Schema::Template, "initContainers" | "sidecars") => list("name", Schema::Container),
            (Schema::Template, "archiveLocation") => Rule::Object(Schema::ArtifactLocation),
            (Schema::Template, "dag") => Rule::Object(Schema::Dag),
            (Schema::Dag, "tasks") => list("name", Schema::DagTask),
            (Schema::DagTask, "inline") => Rule::Object(Schema::Template),
            (Schema::Arguments, "parameters" | "artifacts") => list("name", Schema::Unknown),
            _ => Rule::Plain,
        }
    }
}
