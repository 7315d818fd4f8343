//! The Pod while it is being made, and the finished one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tiphys_api::{Container, VolumeMount};

use crate::error::Error;

/// A finished Pod, ready to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// `metadata.ownerReferences`
    pub owner_references: Vec<Value>,
    /// `metadata.finalizers`
    pub finalizers: Vec<String>,
    /// `spec`
    pub spec: Value,
    /// A ConfigMap that the Pod mounts: it must exist first, "already exists" is success.
    pub config_map: Option<Value>,
}

impl Pod {
    /// The Pod as Kubernetes takes it.
    pub fn to_value(&self) -> Value {
        let mut metadata =
            object_metadata(&self.name, &self.namespace, &self.labels, &self.annotations, &self.owner_references);
        if !self.finalizers.is_empty() {
            metadata.insert("finalizers".into(), json!(self.finalizers));
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.spec})
    }
}

/// `metadata` of a Pod or its ConfigMap, empty fields left out.
pub(crate) fn object_metadata(
    name: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    owners: &[Value],
) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(name));
    for (field, value) in [
        ("namespace", json!(namespace)),
        ("labels", json!(labels)),
        ("annotations", json!(annotations)),
        ("ownerReferences", json!(owners)),
    ] {
        if !is_empty(&value) {
            metadata.insert(field.into(), value);
        }
    }
    metadata
}

/// A Pod in the making: what is often looked at is typed, the rest of the spec is JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub volumes: Vec<Value>,
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    /// The other fields of the spec.
    pub spec: Map<String, Value>,
}

impl Draft {
    /// Sets a field of the spec unless the value is empty, as Go's `omitempty` does.
    pub fn set(&mut self, field: &str, value: Value) {
        if !is_empty(&value) {
            self.spec.insert(field.into(), value);
        }
    }

    /// The whole spec.
    pub fn to_spec(&self) -> Value {
        let mut spec = self.spec.clone();
        spec.insert("containers".into(), json!(self.containers));
        if !self.init_containers.is_empty() {
            spec.insert("initContainers".into(), json!(self.init_containers));
        }
        if !self.volumes.is_empty() {
            spec.insert("volumes".into(), json!(self.volumes));
        }
        Value::Object(spec)
    }

    /// Takes a changed spec.
    pub fn set_spec(&mut self, spec: Value, what: &'static str) -> Result<(), Error> {
        let Value::Object(mut spec) = spec else {
            return Err(Error::Shape { what, reason: "the Pod's spec is no object".into() });
        };
        self.volumes = parse(spec.remove("volumes").unwrap_or_else(|| json!([])), what)?;
        self.containers = parse(spec.remove("containers").unwrap_or_else(|| json!([])), what)?;
        self.init_containers = parse(spec.remove("initContainers").unwrap_or_else(|| json!([])), what)?;
        self.spec = spec;
        Ok(())
    }

    /// The regular container of that name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The regular container of that name.
    pub fn container_mut(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.name == name)
    }

    /// The init container of that name.
    pub fn init_container_mut(&mut self, name: &str) -> Option<&mut Container> {
        self.init_containers.iter_mut().find(|container| container.name == name)
    }

    /// Init containers, then regular ones.
    pub fn each_container(&mut self) -> impl Iterator<Item = &mut Container> {
        self.init_containers.iter_mut().chain(&mut self.containers)
    }
}

/// Reads a typed value out of JSON.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(value: Value, what: &'static str) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::Shape { what, reason: error.to_string() })
}

/// An environment variable; Go leaves out an empty value.
pub(crate) fn variable(name: &str, value: impl AsRef<str>) -> Value {
    match value.as_ref() {
        "" => json!({"name": name}),
        value => json!({"name": name, "value": value}),
    }
}

/// A writable mount of a whole volume.
pub(crate) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// A mount of a part of a volume.
pub(crate) fn mount_part(volume: &str, path: &str, sub_path: &str) -> VolumeMount {
    VolumeMount { sub_path: sub_path.into(), ..mount(volume, path) }
}

/// A mount that cannot be written to.
pub(crate) fn mount_read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: true, ..mount(volume, path) }
}

/// An empty directory that lives as long as the Pod.
pub(crate) fn empty_dir(name: &str) -> Value {
    json!({"name": name, "emptyDir": {}})
}

pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
