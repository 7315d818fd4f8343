//! Whether Pods can mount images: what the layout `auto` needs to know.
//!
//! The API server must have the field (it drops it where the feature `ImageVolume` is off), and each node a kubelet and a
//! container runtime that know it: Kubernetes 1.33, containerd 2.1, CRI-O 1.31 (KEP-4639). Nodes are watched, as one that
//! cannot may come at any time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::{Value, json};
use tiphys_kubernetes::{ApiError, Event, Kind, Metadata, retried, watch_for};

use crate::cluster::Cluster;

/// The part of a Node that says what runs on it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    metadata: Metadata,
    status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeStatus {
    node_info: NodeInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeInfo {
    kubelet_version: String,
    container_runtime_version: String,
}

impl NodeInfo {
    /// Whether Pods on this node can mount images. `v1.34.4`, `containerd://2.1.0`
    fn mounts_images(&self) -> bool {
        let kubelet = self.kubelet_version.strip_prefix('v').and_then(version);
        let runtime = match self.container_runtime_version.split_once("://") {
            Some(("containerd", has)) => version(has).is_some_and(|has| has >= (2, 1)),
            Some(("cri-o", has)) => version(has).is_some_and(|has| has >= (1, 31)),
            _ => false,
        };
        runtime && kubelet.is_some_and(|has| has >= (1, 33))
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Keeps [`Cluster::mounts_images`] true to what the cluster can do. Ends when the controller may not find it out.
pub async fn follow(cluster: &Cluster) {
    match has_field(cluster).await {
        Ok(true) => {}
        Ok(false) => return tracing::info!("the API server has no image volumes: steps get an init container"),
        Err(error) => {
            return tracing::warn!(%error, "it cannot be found out whether Pods can mount images: steps get an init container");
        }
    }
    let mut able = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let nodes = Kind::Node.within("");
    let watched = watch_for(&cluster.api, &nodes, ("labelSelector", ""), |event: Event<Node>| {
        let entry = |node: Node| (node.metadata.name, node.status.node_info.mounts_images());
        match event {
            Event::Page(nodes) => {
                listed.extend(nodes.into_iter().map(entry));
                return true;
            }
            Event::Listed => able = std::mem::take(&mut listed),
            Event::Applied(node) => able.extend([entry(node)]),
            Event::Deleted(node) => drop(able.remove(&node.metadata.name)),
        }
        let all = !able.is_empty() && able.values().all(|able| *able);
        if cluster.mounts_images.swap(all, Ordering::Relaxed) != all {
            tracing::info!(mounts_images = all, "nodes have changed");
        }
        true
    });
    if let Err(error) = watched.await {
        cluster.mounts_images.store(false, Ordering::Relaxed);
        tracing::warn!(%error, "nodes cannot be looked at: steps get an init container; give the right, or name a layout");
    }
}

/// Whether the API server keeps the field in a Pod, which is not made.
async fn has_field(cluster: &Cluster) -> Result<bool, ApiError> {
    let namespace = if cluster.watched.is_empty() { &cluster.namespace } else { &cluster.watched };
    let image = &cluster.config().pod.executor_image;
    let secure = json!({
        "runAsNonRoot": true, "runAsUser": 8737, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "image-volume-"},
        "spec": {
            "containers": [{"name": "main", "image": image, "securityContext": secure}],
            "volumes": [{"name": "image", "image": {"reference": image}}],
        },
    });
    let path = Kind::Pod.within(namespace).query(&[("dryRun", "All")]);
    match retried(|| cluster.api.create(&path, &pod)).await {
        Ok(made) => Ok(keeps_image(&made)),
        // A volume without a source is none.
        Err(ApiError::Refused { code: 422, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn keeps_image(pod: &Value) -> bool {
    pod["spec"]["volumes"].as_array().into_iter().flatten().any(|volume| volume["image"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_mounts_images_where_kubelet_and_runtime_do() {
        let mounts = |kubelet: &str, runtime: &str| {
            let info = NodeInfo { kubelet_version: kubelet.into(), container_runtime_version: runtime.into() };
            info.mounts_images()
        };
        for (kubelet, runtime, expected) in [
            ("v1.34.4", "containerd://2.1.0", true),
            ("v1.33.1-eks-1de2ab1", "containerd://2.1.5", true),
            ("v1.33.0", "cri-o://1.33.0", true),
            ("v1.34.4", "containerd://1.6.20", false),
            ("v1.32.9", "containerd://2.1.0", false),
            ("v1.34.4", "docker://28.0.1", false),
            ("kwok-v0.7.0", "kwok", false),
            ("", "", false),
        ] {
            assert_eq!(mounts(kubelet, runtime), expected, "{kubelet} {runtime}");
        }
    }
}
