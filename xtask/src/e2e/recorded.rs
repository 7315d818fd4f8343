//! Pods as Argo's controller made them, with only the executor's image changed.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tiphys_api::{Artifact, Template};
use tiphys_contract::key::{self, Packing};
use tiphys_contract::{env, label};
use tiphys_engine::{NodeId, PodNameFormat, pod_name};
use tiphys_tests::corpus::Case;

use super::cluster::S3;

/// Argo's executor, and the addresses of the S3 server, in the recordings.
const RECORDED_EXECUTOR: &str = "quay.io/argoproj/argoexec:";
const RECORDED_S3: [&str; 2] = ["10.200.0.1:9000", "minio:9000"];
/// What makes a step's outcome a matter of chance.
pub const CHANCE: [&str; 4] = ["import random", "Math.random", "/dev/urandom", "$RANDOM"];
/// Stands for all times in the recordings; Go's zero time, so that no deadline passes.
const TIME: &str = "0001-01-01T00:00:00Z";

/// One Pod of a case.
pub struct Recorded {
    /// The full name of its node, with `{wf}` for the workflow's.
    pub node: String,
    /// The node's id, which is the name of its WorkflowTaskResult.
    pub node_id: String,
    /// The Pod, ready to be created.
    pub pod: Value,
    /// Keys of artifacts that must be in the bucket before it starts.
    pub needs: BTreeSet<String>,
    /// Keys of artifacts that it leaves there.
    pub makes: BTreeSet<String>,
}

/// What stands for the placeholders of a recording.
pub struct Names<'a> {
    /// The workflow.
    pub workflow: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Our executor.
    pub image: &'a str,
    /// The S3 server.
    pub s3: &'a S3,
}

/// A case's Pods in the order in which they were recorded, or for each why it cannot be run by itself.
///
/// # Errors
/// When the recording cannot be read.
pub fn pods(case: &Case, names: &Names<'_>) -> Result<Vec<std::result::Result<Recorded, String>>> {
    let text = std::fs::read_to_string(case.path.join("pods.json")).unwrap_or_else(|_| "[]".into());
    let recorded: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("pods.json of {}", case.name))?;
    Ok(recorded.iter().map(|pod| one(pod, names)).collect())
}

/// Of each kind of step the first case that has one: what an ordinary run takes of the recordings. Steps are of one kind when
/// the same fields of their templates, outputs and inputs are set, and the same of their artifacts and outputs' sources.
pub fn one_of_each(cases: &[Case]) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    let mut is_new = |case: &Case| {
        let text = std::fs::read_to_string(case.path.join("pods.json")).unwrap_or_default();
        let pods: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        // Each is looked at: whatever is in this case need not be in another.
        pods.iter().filter(|pod| seen.insert(kind(pod))).count() > 0
    };
    cases.iter().filter(|case| is_new(case)).cloned().collect()
}

/// The names of the fields that tell one kind of step from others.
fn kind(pod: &Value) -> BTreeSet<String> {
    let fields = |value: &Value, of: &str| -> Vec<String> {
        let names = value.as_object().into_iter().flatten().map(|(name, _)| format!("{of}.{name}"));
        names.collect()
    };
    let containers = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let variables = containers.into_iter().flatten().flatten().filter_map(|one| one["env"].as_array()).flatten();
    let template = variables.filter(|one| one["name"] == env::TEMPLATE).find_map(|one| one["value"].as_str());
    let template: Value = template.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut kind: BTreeSet<String> = fields(&template, "template").into_iter().collect();
    for side in ["inputs", "outputs"] {
        kind.extend(fields(&template[side], side));
        for artifact in template[side]["artifacts"].as_array().into_iter().flatten() {
            kind.extend(fields(artifact, "artifact"));
        }
    }
    for parameter in template["outputs"]["parameters"].as_array().into_iter().flatten() {
        kind.extend(fields(&parameter["valueFrom"], "valueFrom"));
    }
    kind
}

fn one(recorded: &Value, names: &Names<'_>) -> std::result::Result<Recorded, String> {
    let annotation = |key: &str| recorded["annotations"][key].as_str();
    let Some(node) = annotation(label::NODE_NAME) else {
        return Err("no node's Pod".into());
    };
    if recorded.to_string().contains("{ip}") {
        return Err("needs the address of another Pod".into());
    }
    let text = recorded.to_string();
    if CHANCE.iter().any(|source| text.contains(source)) {
        return Err("tosses a coin".into());
    }
    let containers = ["initContainers", "containers"].map(|kind| recorded["spec"][kind].as_array());
    let containers = || containers.into_iter().flatten().flatten();
    let variables = || containers().filter_map(|one| one["env"].as_array()).flatten();
    let template = variables().find(|one| one["name"] == env::TEMPLATE);
    let template: Template = template
        .and_then(|one| one["value"].as_str())
        .and_then(|text| serde_json::from_str(&fill_text(text, names)).ok())
        .ok_or("no template to read")?;
    let name = node.replace("{wf}", names.workflow);
    let pod_name = pod_name(PodNameFormat::V2, names.workflow, &name, &template.name);
    let fill = |value: &Value| fill(value, names);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name,
            "labels": fill(&recorded["labels"]),
            "annotations": fill(&recorded["annotations"]),
        },
        "spec": fill(&recorded["spec"]),
    });
    for kind in ["initContainers", "containers"] {
        for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
            if container["image"].as_str().is_some_and(|image| image.starts_with(RECORDED_EXECUTOR)) {
                container["image"] = names.image.into();
            }
        }
    }
    let key_of = |artifact: &Artifact| artifact.s3.as_ref().map(|s3| s3.key.clone()).filter(|key| !key.is_empty());
    let location = template.archive_location.as_ref().and_then(|location| location.s3.as_ref());
    let location = location.map(|s3| s3.key.clone()).unwrap_or_default();
    Ok(Recorded {
        node: node.to_owned(),
        node_id: NodeId::of(names.workflow, &name).to_string(),
        pod,
        needs: template.inputs.artifacts.iter().filter(|one| !one.optional).filter_map(key_of).collect(),
        makes: template
            .outputs
            .artifacts
            .iter()
            .map(|one| key_of(one).unwrap_or_else(|| key::join(&location, &file_name(one))))
            .collect(),
    })
}

fn file_name(artifact: &Artifact) -> String {
    let packing = match &artifact.archive {
        Some(archive) if archive.none.is_some() => Packing::None,
        Some(archive) if archive.zip.is_some() => Packing::Zip,
        _ => Packing::Tar,
    };
    key::file_name(&artifact.name, &artifact.path, packing)
}

/// Puts names where the recording has placeholders.
fn fill(value: &Value, names: &Names<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, names)),
        Value::Array(list) => list.iter().map(|value| fill(value, names)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), fill(value, names))).collect(),
        other => other.clone(),
    }
}

fn fill_text(text: &str, names: &Names<'_>) -> String {
    let mut out = String::new();
    let mut rest = text;
    // `{id:…}` holds a node's name, in which braces are closed as often as they are opened.
    while let Some(at) = rest.find("{id:") {
        let (before, tail) = (&rest[..at], &rest[at + 4..]);
        let mut open = 1;
        let end = tail.char_indices().find(|(_, letter)| {
            open += match letter {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            open == 0
        });
        let Some((end, _)) = end else { break };
        out.push_str(before);
        let node = tail[..end].replace("{wf}", names.workflow);
        out.push_str(NodeId::of(names.workflow, &node).as_str());
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    // On the cluster that was recorded the server keeps its name, which is told for IPv4 alone.
    let by_name = if names.s3.host == RECORDED_S3[0] { RECORDED_S3[1] } else { &names.s3.host };
    out.replace("{wf}", names.workflow)
        .replace("{uid}", names.uid)
        // It stands in keys of artifacts alone, and does not tell which Pod put them there: all Pods of a case share one.
        .replace("{pod}", &format!("{}-step-1000000007", names.workflow))
        .replace("{time}", TIME)
        .replace(RECORDED_S3[0], &names.s3.host)
        .replace(&format!("\"endpoint\":\"{}\"", RECORDED_S3[1]), &format!("\"endpoint\":\"{by_name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_names() {
        let s3 = S3 { host: "s3:80".into(), access: String::new(), secret: String::new() };
        let names = Names { workflow: "wf", uid: "u-1", image: "executor", s3: &s3 };
        let node = "wf.a(0:{x})";
        let id = NodeId::of("wf", node);
        for (text, expected) in [
            ("{wf}/{wf}", "wf/wf".to_owned()),
            ("{wf}/{pod}/a.tgz", "wf/wf-step-1000000007/a.tgz".to_owned()),
            ("x {id:{wf}.a(0:{x})} {uid}", format!("x {id} u-1")),
            ("{id:{wf}} at http://10.200.0.1:9000", "wf at http://s3:80".to_owned()),
            (r#"{"endpoint":"minio:9000"}"#, r#"{"endpoint":"s3:80"}"#.to_owned()),
            ("{id:never closed", "{id:never closed".to_owned()),
        ] {
            assert_eq!(fill_text(text, &names), expected);
        }
    }

    #[test]
    fn a_step_that_leaves_its_outcome_to_chance_is_no_test() {
        let s3 = S3 { host: "s3:80".into(), access: String::new(), secret: String::new() };
        let names = Names { workflow: "wf", uid: "u-1", image: "executor", s3: &s3 };
        for source in ["import random", "exit $(( $RANDOM % 2 ))", "od -N2 /dev/urandom", "Math.random()"] {
            let recorded = json!({"annotations": {label::NODE_NAME: "{wf}"}, "spec": {"args": [source]}});
            assert_eq!(one(&recorded, &names).err().as_deref(), Some("tosses a coin"), "{source}");
        }
    }

    #[test]
    fn only_the_executors_image_changes() {
        let template = r#"{"name":"t","outputs":{"artifacts":[{"name":"a","path":"/tmp/a"}]},
            "archiveLocation":{"s3":{"key":"{wf}/{pod}"}}}"#;
        let variables = json!([{"name": "ARGO_TEMPLATE", "value": template}]);
        let recorded = json!({
            "annotations": {label::NODE_NAME: "{wf}.a"},
            "spec": {
                "initContainers": [{"image": "quay.io/argoproj/argoexec:v4.1.2", "env": variables}],
                "containers": [{"image": "busybox", "command": ["/var/run/argo/argoexec", "emissary"]}],
            },
        });
        let s3 = S3 { host: "s3:80".into(), access: String::new(), secret: String::new() };
        let names = Names { workflow: "wf", uid: "u-1", image: "executor", s3: &s3 };
        let made = one(&recorded, &names).unwrap();
        assert_eq!(made.pod["spec"]["initContainers"][0]["image"], "executor");
        assert_eq!(made.pod["spec"]["containers"], recorded["spec"]["containers"]);
        assert_eq!(made.makes.into_iter().collect::<Vec<_>>(), ["wf/wf-step-1000000007/a.tgz"]);
        assert!(made.pod["metadata"]["name"].as_str().unwrap().starts_with("wf-t-"));
    }

    #[test]
    fn every_kind_of_step_is_in_an_ordinary_run() {
        let Some(folder) = tiphys_tests::corpus::folder() else { return };
        let all = tiphys_tests::corpus::cases(&folder);
        let kinds = |cases: &[Case]| -> BTreeSet<BTreeSet<String>> {
            let pods = cases.iter().flat_map(|case| {
                let text = std::fs::read_to_string(case.path.join("pods.json")).unwrap_or_default();
                serde_json::from_str::<Vec<Value>>(&text).unwrap_or_default()
            });
            pods.map(|pod| kind(&pod)).collect()
        };
        let chosen = one_of_each(&all);
        assert_eq!(kinds(&chosen), kinds(&all));
        assert!(chosen.len() * 2 < all.len(), "{} of {}", chosen.len(), all.len());
    }
}
