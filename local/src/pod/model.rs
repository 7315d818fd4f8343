//! The parts of a Pod that mean something on one machine, read from its JSON.
//!
//! Where a Pod runs and who it is to the cluster (nodeSelector, affinity, tolerations, priority, scheduler, service
//! account, pull secrets, requests) is of no meaning here and is passed over. What changes what a container sees or does
//! and cannot be given is refused by name: see [`refuse`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A Pod that cannot be run on this machine as it is written; the text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub name: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
    pub active_deadline_seconds: Option<i64>,
    pub termination_grace_period_seconds: Option<u64>,
    pub host_aliases: Vec<HostAlias>,
    pub dns_config: Option<DnsConfig>,
    pub dns_policy: String,
    pub hostname: String,
    pub security_context: Security,
    pub service_account_name: String,
    pub share_process_namespace: bool,
    pub resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HostAlias {
    pub ip: String,
    pub hostnames: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DnsConfig {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<DnsOption>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DnsOption {
    pub name: String,
    pub value: Option<String>,
}

/// The security context of a Pod or a container, as far as the sandbox can do what it says.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Security {
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub run_as_non_root: Option<bool>,
    pub read_only_root_filesystem: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: String,
    pub env: Vec<EnvVar>,
    pub env_from: Vec<EnvFrom>,
    pub volume_mounts: Vec<VolumeMount>,
    pub volume_devices: Vec<Value>,
    pub ports: Vec<Port>,
    pub resources: Resources,
    pub security_context: Security,
    pub readiness_probe: Option<Probe>,
    pub liveness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
    pub lifecycle: Option<Value>,
    pub restart_policy: String,
    pub termination_message_path: String,
    pub termination_message_policy: String,
    pub tty: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    pub name: String,
    pub container_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub limits: BTreeMap<String, Value>,
    pub requests: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvVar {
    pub name: String,
    pub value: Option<String>,
    pub value_from: Option<EnvSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvSource {
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub config_map_key_ref: Option<KeyRef>,
    pub secret_key_ref: Option<KeyRef>,
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FieldRef {
    pub field_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ResourceFieldRef {
    pub container_name: String,
    pub resource: String,
    pub divisor: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyRef {
    pub name: String,
    pub key: String,
    pub optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvFrom {
    pub prefix: String,
    pub config_map_ref: Option<NameRef>,
    pub secret_ref: Option<NameRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NameRef {
    pub name: String,
    pub optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    pub sub_path: String,
    pub sub_path_expr: String,
    pub read_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Volume {
    pub name: String,
    pub empty_dir: Option<Value>,
    pub config_map: Option<Source>,
    pub secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<Source>,
    pub projected: Option<Projected>,
    pub host_path: Option<HostPath>,
    pub persistent_volume_claim: Option<Claim>,
    pub ephemeral: Option<Value>,
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A ConfigMap, Secret or downward API volume, or one source of a projected volume.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Source {
    /// A ConfigMap's; in projected volumes also a Secret's.
    pub name: String,
    pub secret_name: String,
    pub items: Option<Vec<Item>>,
    pub default_mode: Option<u32>,
    pub optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Item {
    pub key: String,
    pub path: String,
    pub mode: Option<u32>,
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Projected {
    pub sources: Vec<ProjectedSource>,
    pub default_mode: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProjectedSource {
    pub config_map: Option<Source>,
    pub secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<Source>,
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostPath {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Claim {
    pub claim_name: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Probe {
    pub exec: Option<ExecProbe>,
    pub http_get: Option<HttpProbe>,
    pub tcp_socket: Option<TcpProbe>,
    pub grpc: Option<Value>,
    pub initial_delay_seconds: u64,
    pub timeout_seconds: Option<u64>,
    pub period_seconds: Option<u64>,
    pub success_threshold: Option<u32>,
    pub failure_threshold: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExecProbe {
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpProbe {
    pub path: String,
    pub port: Value,
    pub host: String,
    pub scheme: String,
    pub http_headers: Vec<HttpHeader>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HttpHeader {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TcpProbe {
    pub port: Value,
    pub host: String,
}

impl Pod {
    /// Reads a Pod.
    ///
    /// # Errors
    /// A field has another type than the API says, or cannot be honoured here.
    pub fn read(mut pod: Value) -> Result<Pod, Unsupported> {
        drop_nulls(&mut pod);
        let pod: Pod =
            serde_json::from_value(pod).map_err(|error| Unsupported(format!("the Pod cannot be read: {error}")))?;
        refuse(&pod.spec)?;
        Ok(pod)
    }

    /// Init containers, then the others, in order.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.init_containers.iter().chain(&self.spec.containers)
    }
}

/// What is written in the API as `null` is absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Refuses what would make a container see or do something else than asked for.
fn refuse(spec: &PodSpec) -> Result<(), Unsupported> {
    let no = |what: String| Err(Unsupported(format!("local runs do not support {what}")));
    if spec.share_process_namespace {
        return no("shareProcessNamespace: each container has processes of its own".to_owned());
    }
    for container in spec.init_containers.iter().chain(&spec.containers) {
        let of = |field: &str| format!("{field} (container {:?})", container.name);
        if container.lifecycle.is_some() {
            return no(of("lifecycle"));
        }
        if !container.volume_devices.is_empty() {
            return no(of("volumeDevices"));
        }
        if container.restart_policy == "Always" {
            return no(of("restartPolicy: Always"));
        }
        let probes = [&container.readiness_probe, &container.liveness_probe, &container.startup_probe];
        if probes.into_iter().flatten().any(|probe| probe.grpc.is_some()) {
            return no(of("grpc probes"));
        }
        let https = |probe: &Probe| probe.http_get.as_ref().is_some_and(|get| get.scheme.eq_ignore_ascii_case("https"));
        if probes.into_iter().flatten().any(https) {
            return no(of("httpGet probes with scheme HTTPS"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let container = |more: Value| {
            let mut container = json!({"name": "main"});
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"spec": {"containers": [container]}})
        };
        for (pod, expected) in [
            (
                container(json!({"lifecycle": {"preStop": {}}})),
                "local runs do not support lifecycle (container \"main\")",
            ),
            (
                container(json!({"readinessProbe": {"grpc": {"port": 1}}})),
                "local runs do not support grpc probes (container \"main\")",
            ),
            (
                json!({"spec": {"shareProcessNamespace": true}}),
                "local runs do not support shareProcessNamespace: each container has processes of its own",
            ),
            (container(json!({"args": 1})), "the Pod cannot be read: invalid type: integer `1`, expected a sequence"),
        ] {
            assert_eq!(Pod::read(pod).unwrap_err().to_string(), expected);
        }
        assert!(Pod::read(container(json!({"lifecycle": null, "args": null, "nodeSelector": {"a": "b"}}))).is_ok());
    }
}
