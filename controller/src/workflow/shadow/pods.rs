//! The Pods that the live controller makes, beside those that we would.
//!
//! What is kept of a Pod of ours is what it would be built from, until the live controller's is there; then that is read once,
//! and nothing is kept but that both were compared.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tiphys_api::WorkflowSpec;
use tiphys_contract::{container, env, label};
use tiphys_engine::{NodeId, PodRequest};
use tiphys_kubernetes::{Kind as ObjectKind, Pod};
use tiphys_podspec::compare::{as_recorded, compare};
use tokio::sync::OnceCell;

use super::divergence::{Divergence, Kind};
use crate::workflow::pods::Workplace;
use crate::workflow::prepare::Prepared;

/// By how many seconds the deadline of a Pod may differ: it is what is left of a longer one.
const DEADLINE_SECONDS: i64 = 15;
/// What executors of ours tell by annotations while they work.
const TOLD_LATER: [&str; 3] = [label::OUTPUTS, label::PROGRESS, label::REPORT];

/// A Pod of the live controller.
#[derive(Debug)]
struct Theirs {
    name: String,
    uid: String,
    compared: bool,
}

/// What is known of the Pods of both.
#[derive(Default)]
pub struct Pods {
    /// Those that we would have made, and that are not there.
    asked: FxHashMap<NodeId, Box<PodRequest>>,
    theirs: FxHashMap<NodeId, Theirs>,
    /// How many were compared, and how many were gone before they could be.
    pub compared: usize,
    pub gone: usize,
}

/// Two Pods that can be compared.
pub struct Pair {
    request: Box<PodRequest>,
    name: String,
    uid: String,
}

/// What came of it.
pub enum Outcome {
    /// The live one is gone.
    Gone,
    /// They were compared.
    Compared(Vec<Divergence>),
}

impl Pods {
    /// We would make a Pod.
    pub fn ask(&mut self, request: Box<PodRequest>) -> Option<Pair> {
        let node = request.node.clone();
        self.asked.insert(node.clone(), request);
        self.pair(&node)
    }

    /// The live controller has made one.
    pub fn see(&mut self, node: &NodeId, pod: &Pod) -> Option<Pair> {
        let known = self.theirs.get(node).is_some_and(|known| known.uid == pod.metadata.uid);
        if !known {
            let (name, uid) = (pod.metadata.name.clone(), pod.metadata.uid.clone());
            self.theirs.insert(node.clone(), Theirs { name, uid, compared: false });
        }
        self.pair(node)
    }

    fn pair(&mut self, node: &NodeId) -> Option<Pair> {
        let theirs = self.theirs.get_mut(node)?;
        let request = self.asked.remove(node)?;
        // Where our engine begins anew from the live status, it asks for what is there once more.
        if std::mem::replace(&mut theirs.compared, true) {
            return None;
        }
        Some(Pair { request, name: theirs.name.clone(), uid: theirs.uid.clone() })
    }

    /// Whether the live controller has made a Pod of a node.
    pub fn is_there(&self, node: &NodeId) -> bool {
        self.theirs.contains_key(node)
    }

    /// The uid of the live controller's Pods that are known, by node.
    pub fn theirs(&self) -> impl Iterator<Item = (&NodeId, &str, &str)> {
        self.theirs.iter().map(|(node, pod)| (node, pod.name.as_str(), pod.uid.as_str()))
    }

    /// What we would have made and is not there: nodes and Pods' names.
    pub fn missing(&self) -> Vec<(NodeId, String, String)> {
        let of = |request: &PodRequest| (request.node.clone(), request.node_name.clone(), request.pod_name.clone());
        let mut missing: Vec<_> = self.asked.values().map(|request| of(request)).collect();
        missing.sort();
        missing
    }

    /// We would no longer make a Pod.
    pub fn drop_asked(&mut self, node: &NodeId) {
        self.asked.remove(node);
    }

    /// Our engine begins anew: what it would make it says again.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
    }
}

/// Whether the API server itself refused a Pod: it names the Pod, or who else did not admit it.
pub fn is_servers(message: &str, pod_name: &str) -> bool {
    message.contains(&format!("\"{pod_name}\"")) || message.contains("admission webhook")
}

/// Compares what the live controller has made with what we would have.
pub async fn compare_pair(
    place: Workplace,
    spec: Arc<WorkflowSpec>,
    prepared: Arc<OnceCell<Prepared>>,
    pair: Pair,
    ignored: Arc<[String]>,
) -> Outcome {
    let node = pair.request.node_name.clone();
    let of_node =
        |at: String, difference: String| Divergence { kind: Kind::PodSpec, node: node.clone(), at, difference };
    let path = ObjectKind::Pod.within(&place.namespace).named(&pair.name);
    let theirs = match place.cluster.read::<Value>(&path).await {
        Ok(pod) if pod["metadata"]["uid"] == pair.uid.as_str() => pod,
        Ok(_) => return Outcome::Gone,
        Err(error) => {
            if !error.is_not_found() {
                tracing::warn!(namespace = %place.namespace, pod = pair.name, %error, "a Pod cannot be read");
            }
            return Outcome::Gone;
        }
    };
    let built = async {
        let prepared = prepared.get_or_try_init(|| place.foresee(&spec, None)).await?;
        place.build(*pair.request, &spec, prepared, None).await
    };
    let ours = match built.await {
        Ok((ours, _)) => ours,
        Err(message) => return Outcome::Compared(vec![of_node(String::new(), format!("there is one / {message}"))]),
    };
    let executor = place.cluster.config().pod.executor_image.clone();
    let found = compare(&comparable(&theirs, &executor), &comparable(&ours, &executor));
    let found = found.into_iter().filter(|(at, difference)| !is_tolerable(at, difference));
    let found = found.filter(|(at, _)| !ignored.iter().any(|place| at.starts_with(place.as_str())));
    Outcome::Compared(found.map(|(at, difference)| of_node(at, difference)).collect())
}

/// A Pod without what must differ: the executor, where ours reports to, and when it was.
fn comparable(pod: &Value, executor: &str) -> Value {
    let mut text = without_moments(&as_recorded(pod).to_string());
    if let Some(image) = executor_of(pod).filter(|image| *image != executor) {
        // It is a container's image, and stands in the templates of those steps that the executor carries out itself.
        text = text.replace(image, executor);
    }
    let mut pod: Value = serde_json::from_str(&text).unwrap_or_default();
    for list in ["containers", "initContainers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let of_executor = container["image"] == executor;
            let Some(container) = container.as_object_mut() else { continue };
            if of_executor {
                container.remove("imagePullPolicy");
            }
            if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
                variables.retain(|variable| variable["name"] != env::RESULT_SINK);
            }
        }
    }
    if let Some(annotations) = pod["annotations"].as_object_mut() {
        annotations.retain(|name, _| !TOLD_LATER.contains(&name.as_str()));
    }
    json!({"labels": pod["labels"], "annotations": pod["annotations"], "spec": pod["spec"]})
}

/// JSON without times of day and durations as variables have them (`2006-01-02T15:04:05Z`, `1.234567`): exit handlers are told
/// how long the workflow took until then.
fn without_moments(text: &str) -> String {
    const TIME: &[u8] = b"0000-00-00T00:00:00";
    let digits = |from: usize| text.as_bytes()[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_time = |from: usize| {
        let like = |(pattern, byte): (&u8, &u8)| if *pattern == b'0' { byte.is_ascii_digit() } else { pattern == byte };
        text.len() >= from + TIME.len() && TIME.iter().zip(&text.as_bytes()[from..]).all(like)
    };
    let (mut out, mut at, mut copied) = (String::with_capacity(text.len()), 0, 0);
    while at < text.len() {
        let whole = digits(at);
        let fraction = at + whole + 1;
        let (length, word) = match whole {
            0 => (1, None),
            4 if is_time(at) => (TIME.len(), Some("{time}")),
            _ if text.as_bytes().get(fraction - 1) == Some(&b'.') && digits(fraction) == 6 => (whole + 7, Some("{s}")),
            _ => (whole, None),
        };
        if let Some(word) = word {
            out.push_str(&text[copied..at]);
            out.push_str(word);
            copied = at + length;
        }
        at += length;
    }
    out + &text[copied..]
}

/// The image of a Pod's executor.
fn executor_of(pod: &Value) -> Option<&str> {
    let named = |list: &str, name: &str| {
        let containers = pod["spec"][list].as_array()?;
        containers.iter().find(|container| container["name"] == name)?["image"].as_str()
    };
    named("initContainers", "init").or_else(|| named("containers", container::WAIT))
}

/// A deadline that is what is left of another shrinks while one looks.
fn is_tolerable(at: &str, difference: &str) -> bool {
    let seconds = |text: &str| text.trim().parse::<i64>().ok();
    let both = difference.split_once(" / ").and_then(|(one, other)| Some((seconds(one)?, seconds(other)?)));
    at == ".spec.activeDeadlineSeconds" && both.is_some_and(|(one, other)| (one - other).abs() <= DEADLINE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(executor: &str, main: &str) -> Value {
        json!({
            "metadata": {"uid": "u", "labels": {"a": "b"}, "annotations": {label::PROGRESS: "1/1"}},
            "spec": {"nodeName": "n", "activeDeadlineSeconds": 60,
                "initContainers": [{"name": "init", "image": executor, "imagePullPolicy": "Always"}],
                "containers": [
                    {"name": "wait", "image": executor, "env": [{"name": env::RESULT_SINK, "value": "auto"}]},
                    {"name": "main", "image": main},
                ]},
        })
    }

    #[test]
    fn the_executor_is_no_difference_and_an_image_is() {
        let (theirs, ours) = (pod("argoexec:1", "busybox"), pod("tiphys:2", "busybox"));
        let compared = |ours: &Value| compare(&comparable(&theirs, "tiphys:2"), &comparable(ours, "tiphys:2"));
        assert_eq!(compared(&ours), []);
        let other = compared(&pod("tiphys:2", "alpine"));
        let image = (".spec.containers[1].image".to_owned(), "\"busybox\" / \"alpine\"".to_owned());
        assert_eq!(other, [image]);
    }

    #[test]
    fn when_it_was_is_no_difference() {
        for (text, without) in [
            ("took 8.332431 s", "took {s} s"),
            ("1.5 and 10.0.0.1 and ü1", "1.5 and 10.0.0.1 and ü1"),
            (r#"{"finishedAt":"2026-11-22T07:43:09Z","n":1.2345678}"#, r#"{"finishedAt":"{time}Z","n":1.2345678}"#),
            ("12026-11-22T07:43:09", "12026-11-22T07:43:09"),
            ("0.123456", "{s}"),
        ] {
            assert_eq!(without_moments(text), without);
        }
    }

    #[test]
    fn a_deadline_may_be_later_by_seconds() {
        assert!(is_tolerable(".spec.activeDeadlineSeconds", "60 / 57"));
        assert!(!is_tolerable(".spec.activeDeadlineSeconds", "60 / 30"));
        assert!(!is_tolerable(".spec.activeDeadlineSeconds", "60 / null"));
        assert!(!is_tolerable(".spec.priority", "60 / 57"));
    }

    #[test]
    fn a_server_that_refuses_names_the_pod() {
        assert!(is_servers("pods \"wf-1\" is forbidden: exceeded quota", "wf-1"));
        assert!(!is_servers("failed to resolve {{inputs.parameters.a}}", "wf-1"));
    }
}
