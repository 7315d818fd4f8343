//! A container's environment as the kubelet makes it: `envFrom`, then `env` in order, with `$(NAME)` expanded to what
//! is known so far.

use std::collections::BTreeMap;

use serde_json::Value;
use tiphys_podspec::quantity;

use super::model::{Container, EnvSource, FieldRef, KeyRef, Pod, ResourceFieldRef, Unsupported};
use crate::documents::{Data, Documents};

/// What the downward API can tell of a Pod besides its metadata.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The Pod's uid.
    pub uid: String,
    /// The machine's name.
    pub host: String,
    /// The address of the machine, and of all its Pods.
    pub ip: String,
}

/// Makes the environment of a container over that of its image.
///
/// # Errors
/// A ConfigMap, Secret or key that is not optional is absent, or a field cannot be referred to.
pub(crate) fn environment(
    image: &[(String, String)],
    container: &Container,
    pod: &Pod,
    place: &Place,
    documents: &Documents,
) -> Result<BTreeMap<String, String>, Unsupported> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for from in &container.env_from {
        let found = match (&from.config_map_ref, &from.secret_ref) {
            (Some(reference), _) => {
                present(documents.config_map(&reference.name), "ConfigMap", &reference.name, reference.optional)?
            }
            (None, Some(reference)) => {
                present(documents.secret(&reference.name), "Secret", &reference.name, reference.optional)?
            }
            (None, None) => None,
        };
        for (key, value) in found.iter().flat_map(|data| data.keys.iter()) {
            env.insert(format!("{}{key}", from.prefix), String::from_utf8_lossy(value).into_owned());
        }
    }
    for variable in &container.env {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, |name| env.get(name).map(String::as_str))),
            (None, Some(source)) => value_from(source, container, pod, place, documents).map_err(|error| {
                Unsupported(format!("env {:?} of container {:?}: {error}", variable.name, container.name))
            })?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in image {
        env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(env)
}

/// Replaces `$(NAME)` by its value; what is unknown stays as it is written, `$$` is one `$`.
pub(crate) fn expand<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

fn value_from(
    source: &EnvSource,
    container: &Container,
    pod: &Pod,
    place: &Place,
    documents: &Documents,
) -> Result<Option<String>, Unsupported> {
    match source {
        EnvSource { field_ref: Some(reference), .. } => field(reference, pod, place).map(Some),
        EnvSource { resource_field_ref: Some(reference), .. } => resource(reference, container, pod).map(Some),
        EnvSource { config_map_key_ref: Some(reference), .. } => {
            key(documents.config_map(&reference.name), "ConfigMap", reference)
        }
        EnvSource { secret_key_ref: Some(reference), .. } => {
            key(documents.secret(&reference.name), "Secret", reference)
        }
        EnvSource { other, .. } => {
            let name = other.keys().next().map_or("nothing", String::as_str);
            Err(Unsupported(format!("local runs do not support valueFrom.{name}")))
        }
    }
}

fn key(data: Option<&Data>, kind: &str, reference: &KeyRef) -> Result<Option<String>, Unsupported> {
    let Some(data) = present(data, kind, &reference.name, reference.optional)? else { return Ok(None) };
    match data.keys.get(&reference.key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if reference.optional => Ok(None),
        None => Err(Unsupported(format!("the {kind} {:?} has no key {:?}", reference.name, reference.key))),
    }
}

/// What is found, or the absence of something optional.
pub(crate) fn present<'a>(
    found: Option<&'a Data>,
    kind: &str,
    name: &str,
    optional: bool,
) -> Result<Option<&'a Data>, Unsupported> {
    match found {
        None if !optional => Err(Unsupported(format!(
            "there is no {kind} {name:?}: give it as a document, with --with, or from a file with --from-file {name}=PATH"
        ))),
        found => Ok(found),
    }
}

/// A field of the Pod, as the downward API gives it.
pub(crate) fn field(reference: &FieldRef, pod: &Pod, place: &Place) -> Result<String, Unsupported> {
    let metadata = &pod.metadata;
    let path = reference.field_path.as_str();
    let entry = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['").and_then(|rest| rest.strip_suffix("']"))?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    let lines = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
    };
    let found = match path {
        "metadata.name" => Some(metadata.name.clone()),
        "metadata.namespace" => Some(metadata.namespace.clone()),
        "metadata.uid" => Some(place.uid.clone()),
        "metadata.labels" => Some(lines(&metadata.labels)),
        "metadata.annotations" => Some(lines(&metadata.annotations)),
        "spec.nodeName" => Some(place.host.clone()),
        "spec.serviceAccountName" => Some(pod.spec.service_account_name.clone()),
        "status.hostIP" | "status.podIP" | "status.hostIPs" | "status.podIPs" => Some(place.ip.clone()),
        _ => match (path.strip_prefix("metadata.labels"), path.strip_prefix("metadata.annotations")) {
            (Some(rest), _) => entry(&metadata.labels, rest),
            (_, Some(rest)) => entry(&metadata.annotations, rest),
            _ => None,
        },
    };
    found.ok_or_else(|| Unsupported(format!("fieldRef {path:?} is no field that the downward API gives")))
}

/// A request or limit of a container, rounded up to the divisor. Without one, what the machine has.
pub(crate) fn resource(reference: &ResourceFieldRef, own: &Container, pod: &Pod) -> Result<String, Unsupported> {
    let unknown = |what: &str| Unsupported(format!("resourceFieldRef: {what}"));
    let container = match reference.container_name.as_str() {
        "" => own,
        name => pod
            .all_containers()
            .find(|container| container.name == name)
            .ok_or_else(|| unknown(&format!("there is no container {name:?}")))?,
    };
    let (values, name) = match reference.resource.split_once('.') {
        Some(("limits", name)) => (&container.resources.limits, name),
        Some(("requests", name)) => (&container.resources.requests, name),
        _ => return Err(unknown(&format!("{:?} is neither limits.* nor requests.*", reference.resource))),
    };
    let quantity = |value: &Value| {
        quantity::parse(value).ok_or_else(|| unknown(&format!("{value} is no quantity of {}", reference.resource)))
    };
    let amount = match values.get(name) {
        Some(value) => quantity(value)?,
        None => machine(name).ok_or_else(|| unknown(&format!("{:?} has no value", reference.resource)))?,
    };
    let divisor = reference.divisor.as_ref().map(quantity).transpose()?.filter(|divisor| *divisor > 0.0).unwrap_or(1.0);
    Ok(format!("{}", (amount / divisor).ceil()))
}

fn machine(resource: &str) -> Option<f64> {
    match resource {
        "cpu" => std::thread::available_parallelism().ok().map(|count| count.get() as f64),
        "memory" => {
            let info = std::fs::read_to_string("/proc/meminfo").ok()?;
            let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            kib.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kib| kib * 1024.0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expansion_is_kubernetes() {
        let value = |name: &str| (name == "A").then_some("1");
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)", "$(B)"),
            ("$(A", "$(A"),
            ("$A ${A} $", "$A ${A} $"),
            ("äö$(A)ü", "äö1ü"),
        ] {
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }

    fn pod(env: Value, env_from: Value) -> Pod {
        Pod::read(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"l": "v"}, "annotations": {"a/b": "c"}},
            "spec": {"serviceAccountName": "sa", "containers": [{
                "name": "main", "env": env, "envFrom": env_from,
                "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "1500m"}},
            }]},
        }))
        .unwrap()
    }

    fn made(env: Value, env_from: Value) -> Result<Vec<(String, String)>, String> {
        let documents = crate::documents::of_yaml(
            "{kind: ConfigMap, metadata: {name: c}, data: {k: cv, ref: $(A)}}\n---\n\
             {kind: Secret, metadata: {name: s}, stringData: {k: sv}}\n",
        );
        let pod = pod(env, env_from);
        let place = Place { uid: "u".into(), host: "h".into(), ip: "127.0.0.1".into() };
        let image = [("PATH".to_owned(), "/bin".to_owned()), ("A".to_owned(), "image".to_owned())];
        environment(&image, &pod.spec.containers[0], &pod, &place, &documents)
            .map(|env| env.into_iter().collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_come_from_where_they_are_said_to() {
        let env = made(
            json!([
                {"name": "A", "value": "a"},
                {"name": "B", "value": "$(A)-$(LATER)"},
                {"name": "LATER", "value": "x"},
                {"name": "EMPTY"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "ANNOTATION", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": true}}},
            ]),
            json!([{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "x", "optional": true}}]),
        );
        let expected = [
            ("A", "a"),
            ("ANNOTATION", "c"),
            ("B", "a-$(LATER)"),
            ("C", "cv"),
            ("CPU", "2"),
            ("EMPTY", ""),
            ("LATER", "x"),
            ("MEMORY", "64"),
            ("NAME", "p"),
            ("PATH", "/bin"),
            ("P_k", "cv"),
            ("P_ref", "$(A)"),
            ("S", "sv"),
        ];
        assert_eq!(env.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_absent_is_named() {
        for (env, from, expected) in [
            (
                json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x"}}}]),
                json!([]),
                "env \"A\" of container \"main\": the Secret \"s\" has no key \"x\"",
            ),
            (
                json!([]),
                json!([{"configMapRef": {"name": "x"}}]),
                "there is no ConfigMap \"x\": give it as a document, with --with, or from a file with --from-file x=PATH",
            ),
            (
                json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]),
                json!([]),
                "env \"A\" of container \"main\": fieldRef \"spec.x\" is no field that the downward API gives",
            ),
            (
                json!([{"name": "A", "valueFrom": {"fileKeyRef": {}}}]),
                json!([]),
                "env \"A\" of container \"main\": local runs do not support valueFrom.fileKeyRef",
            ),
        ] {
            assert_eq!(made(env, from).unwrap_err(), expected);
        }
    }
}
