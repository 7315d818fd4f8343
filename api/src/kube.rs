//! Pieces of Kubernetes objects that Argo's types embed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::object;
use crate::scalar::Time;

object! {
    /// Metadata of an object.
    pub struct ObjectMeta {
        "name" => name: String,
        "generateName" => generate_name: String,
        "namespace" => namespace: String,
        "uid" => uid: String,
        "resourceVersion" => resource_version: String,
        "generation" => generation: i64,
        "creationTimestamp" => creation_timestamp: Option<Time>,
        "deletionTimestamp" => deletion_timestamp: Option<Time>,
        "labels" => labels: BTreeMap<String, String>,
        "annotations" => annotations: BTreeMap<String, String>,
        "ownerReferences" => owner_references: Vec<Value>,
        "finalizers" => finalizers: Vec<String>,
    }
}

object! {
    /// One key of a Secret or ConfigMap.
    pub struct KeySelector {
        "name" => name: String,
        "key" => key: String,
        "optional" => optional: Option<bool>,
    }
}

object! {
    /// An object of the same namespace, by name.
    pub struct LocalObjectReference {
        "name" => name: String,
    }
}

object! {
    /// A container. The last three fields are Argo's additions: `source` belongs to script templates, `dependencies` to
    /// container sets, `mirrorVolumeMounts` to init containers and sidecars.
    pub struct Container {
        "name" => name: String,
        "image" => image: String,
        "command" => command: Vec<String>,
        "args" => args: Vec<String>,
        "workingDir" => working_dir: String,
        "ports" => ports: Vec<Value>,
        "envFrom" => env_from: Vec<Value>,
        "env" => env: Vec<Value>,
        "resources" => resources: Option<Value>,
        "volumeMounts" => volume_mounts: Vec<VolumeMount>,
        "livenessProbe" => liveness_probe: Option<Value>,
        "readinessProbe" => readiness_probe: Option<Value>,
        "startupProbe" => startup_probe: Option<Value>,
        "lifecycle" => lifecycle: Option<Value>,
        "imagePullPolicy" => image_pull_policy: String,
        "securityContext" => security_context: Option<Value>,
        "stdin" => stdin: bool,
        "tty" => tty: bool,
        "restartPolicy" => restart_policy: String,
        "source" => source: String,
        "dependencies" => dependencies: Vec<String>,
        "mirrorVolumeMounts" => mirror_volume_mounts: Option<bool>,
    }
}

object! {
    /// A volume mounted in a container.
    pub struct VolumeMount {
        "name" => name: String,
        "readOnly" => read_only: bool,
        "mountPath" => mount_path: String,
        "subPath" => sub_path: String,
    }
}
