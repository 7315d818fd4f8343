//! Compares a recorded Pod with ours. What the API server adds, and what differs from run to run, is made equal first.

use serde_json::{Map, Value, json};
use tiphys_api::yaml::to_json;
use tiphys_podspec::Pod;

/// Every difference: where, and `theirs / ours`.
pub fn compare(theirs: &Value, ours: &Pod) -> Vec<(String, String)> {
    let theirs = json!({
        "labels": theirs["labels"],
        "annotations": theirs["annotations"],
        "spec": theirs["spec"],
    });
    let ours = json!({"labels": ours.labels, "annotations": ours.annotations, "spec": ours.spec});
    let mut differences = Vec::new();
    differ("", &normalised(theirs), &normalised(ours), &mut differences);
    differences
}

fn normalised(mut pod: Value) -> Value {
    // Set when the Pod is done; of a trace that we do not write.
    remove(&mut pod["labels"], &["workflows.argoproj.io/completed"]);
    remove(&mut pod["annotations"], &["workflows.argoproj.io/span-id", "workflows.argoproj.io/trace-id"]);
    let spec = pod["spec"].as_object_mut().unwrap();
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
            normalise_container(container.as_object_mut().unwrap());
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
    let image = container["image"].as_str().unwrap();
    let latest = image.ends_with(":latest") || !image.rsplit('/').next().unwrap().contains(':');
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
        *arg = json!(without_addresses(arg.as_str().unwrap()));
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        match variable["name"].as_str() {
            Some("ARGO_TEMPLATE") => {
                let text = variable["value"].as_str().unwrap();
                let mut template: Value = serde_json::from_str(&without_addresses(text)).unwrap();
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
    let requests = resources.entry("requests").or_insert(json!({})).as_object_mut().unwrap();
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
        let text = manifest.as_str().unwrap().replace("{wf}", "(wf)").replace("{uid}", "(uid)");
        *manifest = to_json(&text).unwrap();
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
        object.as_object_mut().unwrap().remove(*name);
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
