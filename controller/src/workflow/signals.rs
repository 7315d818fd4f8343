//! Containers that are to end: what is run in them, or the deadline of a Pod in which nothing can be run.
//! argo: workflow/signal/signal.go.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{Api as KubeApi, AttachParams};
use serde_json::json;
use tiphys_contract::{container, label, path};
use tiphys_kubernetes::{Kind, SpecContainer};

use super::pods::Workplace;

impl Workplace {
    /// Ends a Pod in which nobody can be told to: its deadline has passed, upon which the kubelet signals every container,
    /// and kills it after the grace period. The Pod stays, and with it what its containers wrote.
    pub async fn expire(self, name: String, uid: String) {
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let metadata = json!({"uid": uid, "annotations": {label::ENDED: "true"}});
        let patch = json!({"metadata": metadata, "spec": {"activeDeadlineSeconds": 1}});
        match self.cluster.retried(|| self.cluster.api.patch_strategically(&path, &patch)).await {
            // With another uid, another Pod has the name by now.
            Err(error) if !error.is_not_found() && !error.is_conflict() => {
                tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be ended");
            }
            _ => {}
        }
    }

    /// Signals containers: SIGTERM at once, SIGKILL when the grace period is over. The commands are those that Argo's
    /// controller runs in a container; a Pod can name its own for each. argo: util/signal.go.
    pub async fn signal(self, pod: String, commands: Vec<(String, Vec<String>)>, after: Duration) {
        tokio::time::sleep(after).await;
        for (container, command) in commands {
            let _turn = self.cluster.other.acquire().await;
            let signalled = self.exec(&pod, &container, command).await;
            // It may have ended by itself in the meantime; then there is nothing to exec in.
            if let Err(error) = signalled {
                tracing::debug!(namespace = %self.namespace, pod, container, error, "not signalled");
            }
        }
    }

    async fn exec(&self, pod: &str, container: &str, command: Vec<String>) -> Result<(), String> {
        const LONGEST: Duration = Duration::from_secs(30);
        let pods: KubeApi<k8s_openapi::api::core::v1::Pod> =
            KubeApi::namespaced(self.cluster.api.client().clone(), &self.namespace);
        let how = AttachParams { container: Some(container.to_owned()), stderr: true, ..AttachParams::default() };
        let run = async {
            let mut process = pods.exec(pod, command, &how).await.map_err(|error| error.to_string())?;
            let status = process.take_status();
            let _ = process.join().await;
            match status {
                Some(status) => match status.await {
                    Some(status) if status.status.as_deref() == Some("Failure") => {
                        Err(status.message.unwrap_or_default())
                    }
                    _ => Ok(()),
                },
                None => Ok(()),
            }
        };
        tokio::time::timeout(LONGEST, run).await.unwrap_or_else(|_| Err("no answer".into()))
    }
}

/// Where a container has the executor: by its name in our own image, at the path of what is mounted in the others. None in one
/// that others have put into the Pod, as a mesh's sidecar. argo: workflow/signal/signal.go, killCommand.
pub(super) fn executor_in(containers: &[SpecContainer], name: &str) -> Option<&'static str> {
    if [container::WAIT, container::SUPERVISOR].contains(&name) {
        return Some("argoexec");
    }
    let container = containers.iter().find(|one| one.name == name)?;
    let mounts = |path| container.volume_mounts.iter().any(|mount| mount.mount_path == path);
    // Without an init container nobody has copied it to the shared volume, which is mounted as well.
    if mounts(path::IMAGE_VOLUME) {
        return Some(path::IMAGE_EMISSARY);
    }
    mounts(path::SHARED).then_some(path::EMISSARY)
}

/// What ends a container from inside: the Pod's own command for it, else that of the executor, else the shell's.
pub(super) fn kill_command(
    annotations: &BTreeMap<String, String>,
    executor: Option<&str>,
    container: &str,
    signal: i32,
) -> Vec<String> {
    let own = annotations.get(&format!("{}{container}", label::KILL_COMMAND_PREFIX));
    let own = own.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    match (own, executor) {
        (Some(words), _) => words.into_iter().map(|word| word.replace("%d", &signal.to_string())).collect(),
        (None, Some(executor)) => [executor, "kill", &signal.to_string(), "1"].map(str::to_owned).into(),
        (None, None) => ["/bin/sh", "-c", &format!("kill -{signal} 1")].map(str::to_owned).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_names_its_own_way_to_end() {
        let annotations =
            BTreeMap::from([(format!("{}side", label::KILL_COMMAND_PREFIX), r#"["stop","-%d"]"#.to_owned())]);
        assert_eq!(kill_command(&annotations, None, "side", 15), ["stop", "-15"]);
        assert_eq!(kill_command(&annotations, Some("argoexec"), "wait", 9), ["argoexec", "kill", "9", "1"]);
    }

    #[test]
    fn a_container_is_ended_by_what_is_in_it() {
        let containers: Vec<SpecContainer> = serde_json::from_value(json!([
            {"name": "wait"}, {"name": "supervisor"},
            {"name": "main", "volumeMounts": [{"name": "var-run-argo", "mountPath": "/var/run/argo"}]},
            {"name": "initless", "volumeMounts": [{"mountPath": "/var/run/argo"}, {"mountPath": "/argo-bin"}]},
            {"name": "istio-proxy", "volumeMounts": [{"mountPath": "/etc/istio/proxy"}]},
        ]))
        .unwrap();
        for (container, command) in [
            ("wait", &["argoexec", "kill", "15", "1"][..]),
            ("supervisor", &["argoexec", "kill", "15", "1"]),
            ("main", &["/var/run/argo/argoexec", "kill", "15", "1"]),
            ("initless", &["/argo-bin/bin/argoexec", "kill", "15", "1"]),
            ("istio-proxy", &["/bin/sh", "-c", "kill -15 1"]),
        ] {
            let executor = executor_in(&containers, container);
            assert_eq!(kill_command(&BTreeMap::new(), executor, container, 15), command);
        }
    }
}
