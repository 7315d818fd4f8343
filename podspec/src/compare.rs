//! Two Pods beside each other: one that Argo's controller made, and ours. What the API server adds, and what differs from run
//! to run, is made equal first.

use serde_json::{Map, Value, json};
use tiphys_api::yaml::to_json;

/// Variables that name a trace: they are there where traces are written, and each has its own.
const TRACE: [&str; 2] = ["TRACEPARENT", "TRACESTATE"];

/// Every difference between `labels`, `annotations` and `spec` of two Pods: where, and `theirs / ours`.
pub fn compare(theirs: &Value, ours: &Value) -> Vec<(String, String)> {
    let parts = |pod: &Value| json!({"labels": pod["labels"], "annotations": pod["annotations"], "spec": pod["spec"]});
    differences(&normalised(parts(theirs)), &normalised(parts(ours)))
}

/// Every place where two values differ, and `theirs / ours`.
pub fn differences(theirs: &Value, ours: &Value) -> Vec<(String, String)> {
    let mut differences = Vec::new();
    differ("", theirs, ours, &mut differences);
    differences
}

/// A Pod as the API server gives it, in the form of the recorded ones: without what the server, the scheduler and the service
/// account add to each.
pub fn as_recorded(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    for (field, default) in [
        ("dnsPolicy", json!("ClusterFirst")),
        ("enableServiceLinks", json!(true)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
        ("schedulerName", json!("default-scheduler")),
    ] {
        if spec[field] == default {
            remove(&mut spec, &[field]);
        }
    }
    remove(&mut spec, &["nodeName", "serviceAccount"]);
    let added = |toleration: &Value| {
        let key = toleration["key"].as_str().unwrap_or_default();
        toleration["tolerationSeconds"] == 300
            && ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].contains(&key)
    };
    keep(&mut spec, "tolerations", |toleration| !added(toleration));
    let is_token = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    keep(&mut spec, "volumes", |volume| !is_token(&volume["name"]));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            remove(container, &["terminationMessagePath", "terminationMessagePolicy"]);
            keep(container, "volumeMounts", |mount| !is_token(&mount["name"]));
        }
    }
    json!({"labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"], "spec": spec})
}

/// Keeps some of a list; one that becomes empty goes.
fn keep(object: &mut Value, field: &str, wanted: impl Fn(&Value) -> bool) {
    let Some(fields) = object.as_object_mut() else { return };
    let Some(list) = fields.get_mut(field).and_then(Value::as_array_mut) else { return };
    list.retain(wanted);
    if list.is_empty() {
        fields.remove(field);
    }
}

fn normalised(mut pod: Value) -> Value {
    // Set when the Pod is done; of a trace that we do not write.
    remove(&mut pod["labels"], &["workflows.argoproj.io/completed"]);
    remove(&mut pod["annotations"], &["workflows.argoproj.io/span-id", "workflows.argoproj.io/trace-id"]);
    let Some(spec) = pod["spec"].as_object_mut() else { return pod };
    // Defaults of the API server that the record kept.
    for (field, default) in [
        ("serviceAccountName", json!("default")),
        ("securityContext", json!({})),
        ("terminationGracePeriodSeconds", json!(30)),
    ] {
        spec.entry(field).or_insert(default);
    }
    requests_follow_limits(spec.get_mut("resources"));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container.as_object_mut().map(normalise_container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            if let Some(Value::Object(source)) = volume.get_mut(source) {
                source.entry("defaultMode").or_insert(json!(420));
            }
        }
    }
    pod
}

fn normalise_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let latest = image.ends_with(":latest") || !image.rsplit('/').next().is_some_and(|name| name.contains(':'));
    container.entry("imagePullPolicy").or_insert(json!(if latest { "Always" } else { "IfNotPresent" }));
    container.entry("resources").or_insert(json!({}));
    requests_follow_limits(container.get_mut("resources"));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            for (field, default) in
                [("failureThreshold", 3), ("periodSeconds", 10), ("successThreshold", 1), ("timeoutSeconds", 1)]
            {
                probe.entry(field).or_insert(json!(default));
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(get)) = container.get_mut(probe).and_then(|probe| probe.get_mut("httpGet")) {
            get.entry("scheme").or_insert(json!("HTTP"));
        }
    }
    for arg in container.get_mut("args").and_then(Value::as_array_mut).into_iter().flatten() {
        *arg = json!(without_addresses(arg.as_str().unwrap_or_default()));
    }
    if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
        variables.retain(|variable| !TRACE.iter().any(|name| variable["name"] == *name));
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        match variable["name"].as_str() {
            Some("ARGO_TEMPLATE") => {
                let text = without_addresses(variable["value"].as_str().unwrap_or_default());
                let Ok(mut template) = serde_json::from_str(&text) else { continue };
                normalise_manifest(&mut template);
                variable["value"] = template;
            }
            Some("ARGO_DEADLINE") => variable["value"] = json!("{time}"),
            _ => {}
        }
    }
}

/// The API server asks for what a limit allows where nothing else is asked for, and writes quantities in their shortest form.
fn requests_follow_limits(resources: Option<&mut Value>) {
    let Some(Value::Object(resources)) = resources else { return };
    for list in resources.values_mut() {
        for quantity in list.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(thousands) = quantity.as_str().and_then(|text| text.strip_suffix("000m")) {
                *quantity = json!(thousands);
            }
        }
    }
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = resources.entry("requests").or_insert(json!({}));
    let Some(requests) = requests.as_object_mut() else { return };
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// With an owner reference put in, Argo prints the manifest as YAML and we as JSON.
fn normalise_manifest(template: &mut Value) {
    if let Some(Value::Object(resource)) = template.get_mut("resource")
        && resource.get("setOwnerReference") == Some(&json!(true))
        && let Some(manifest) = resource.get_mut("manifest")
    {
        // The record's placeholders would be YAML objects.
        let text = manifest.as_str().unwrap_or_default().replace("{wf}", "(wf)").replace("{uid}", "(uid)");
        if let Ok(parsed) = to_json(&text) {
            *manifest = parsed;
        }
    }
}

/// Addresses of Pods: the record has replaced most of them.
fn without_addresses(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("10.244.") {
        result.push_str(&rest[..start]);
        result.push_str("{ip}");
        rest = rest[start..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    result + rest
}

fn remove(object: &mut Value, names: &[&str]) {
    for name in names {
        object.as_object_mut().map(|object| object.remove(*name));
    }
}

fn differ(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<(String, String)>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
                let (left, right) = (left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null));
                differ(&format!("{at}.{name}"), left, right, found);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for index in 0..left.len().max(right.len()) {
                let (left, right) = (left.get(index).unwrap_or(&Value::Null), right.get(index).unwrap_or(&Value::Null));
                differ(&format!("{at}[{index}]"), left, right, found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => found.push((at.to_owned(), format!("{left} / {right}"))),
    }
}
