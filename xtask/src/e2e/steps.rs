//! Steps of our own, in both layouts of Pods, under what the corpus lacks: restricted Pod security, read-only roots, an
//! image from scratch, users who differ.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tiphys_api::WorkflowSpec;
use tiphys_engine::{NodeId, PodNameFormat, pod_name};
use tiphys_podspec::{ExecutorDefaults, Input, Layout, PodConfig, Request, build};

use super::cluster::S3;
use super::namespace::{CREDENTIALS, Namespace};
use super::verdict::{Ended, compare};

/// The user of the executor's image for those who must not be root.
const EXECUTOR: i64 = 8737;
/// Another user, who owns nothing.
const OTHER: i64 = 4711;
/// The longest that a step may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The buckets that the corpus's artifacts are in; steps of each layout put theirs into one.
const BUCKETS: [&str; 2] = ["my-bucket", "my-bucket-2"];
/// The first step of each layout, which makes its bucket.
pub const FIRST: &str = "an image from scratch";

/// A step and what must come of it.
pub struct Step {
    /// What it shows.
    pub name: &'static str,
    /// The shape of its Pod.
    pub layout: Layout,
    /// The user of `main`; none for the image's.
    user: Option<i64>,
    template: Value,
    expected: Value,
}

/// The images that steps run.
pub struct Images {
    /// Our executor for uid 8737.
    pub executor: String,
    /// One with a single program in it.
    pub scratch: String,
    /// The container runtime mounts images as volumes (containerd from 2.1 on).
    pub as_volumes: bool,
}

/// Whether a Pod that mounts an image starts.
pub async fn image_volumes(namespace: &Namespace<'_>, image: &str) -> bool {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image-volume"},
        "spec": {
            "restartPolicy": "Never", "volumes": [{"name": "image", "image": {"reference": image}}],
            "containers": [{
                "name": "main", "image": image, "command": ["/image/bin/argoexec", "version"],
                "securityContext": restricted(None), "volumeMounts": [{"name": "image", "mountPath": "/image"}],
            }],
        },
    });
    namespace.run(&pod, "none", LIMIT).await.is_ok_and(|(pod, _)| pod["status"]["phase"] == "Succeeded")
}

/// Puts the executor where an image volume would show it: a first container copies it into an empty one.
pub fn stand_in(pod: &mut Value, image: &str) {
    let volume = json!({"name": "argoexec-bin", "emptyDir": {}});
    let volumes = pod["spec"]["volumes"].as_array_mut().into_iter().flatten();
    let Some(found) = volumes.into_iter().find(|volume| volume["name"] == "argoexec-bin") else { return };
    *found = volume;
    let first = json!({
        "name": "image-volume", "image": image, "args": ["init"], "securityContext": restricted(Some(EXECUTOR)),
        "env": [{"name": "ARGO_TEMPLATE", "value": "{}"}, {"name": "TIPHYS_EMISSARY", "value": "/bin/argoexec"}],
        // Where the image has it.
        "volumeMounts": [{"name": "argoexec-bin", "mountPath": tiphys_contract::path::SHARED, "subPath": "bin"}],
    });
    match pod["spec"]["initContainers"].as_array_mut() {
        Some(others) => others.insert(0, first),
        None => pod["spec"]["initContainers"] = json!([first]),
    }
}

/// Every step.
pub fn all(images: &Images) -> Vec<Step> {
    let made = |name, layout, user, template: &Value, expected: &Value| Step {
        name,
        layout,
        user,
        template: template.clone(),
        expected: expected.clone(),
    };
    let container = |image: &str, command: &[&str]| json!({"image": image, "command": command});
    let shell = |script: &str| container("busybox", &["sh", "-c", script]);
    let logs = json!([{"name": "main-logs", "s3": {"key": "{wf}/{pod}/main.log"}}]);
    let version = format!("tiphys-executor {}", env!("CARGO_PKG_VERSION"));
    let mut steps = Vec::new();
    for layout in [Layout::Legacy, Layout::ImageVolume] {
        steps.push(made(
            FIRST,
            layout,
            Some(EXECUTOR),
            &json!({"container": container(&images.scratch, &["argoexec", "version"])}),
            &json!({"phase": "Succeeded", "outputs": {"result": version, "exitCode": "0", "artifacts": logs}}),
        ));
        steps.push(made(
            "outputs on a volume below a read-only root",
            layout,
            Some(OTHER),
            &json!({
                "container": {
                    "image": "busybox", "command": ["sh", "-c", "echo 5 > /work/n && mkdir /work/d && echo x > /work/d/x"],
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                },
                "volumes": [{"name": "work", "emptyDir": {}}],
                "outputs": {
                    "parameters": [{"name": "n", "valueFrom": {"path": "/work/n"}}],
                    "artifacts": [{"name": "d", "path": "/work/d"}],
                },
            }),
            &json!({"phase": "Succeeded", "outputs": {
                "exitCode": "0",
                "parameters": [{"name": "n", "value": "5", "valueFrom": {"path": "/work/n"}}],
                "artifacts": [
                    {"name": "d", "path": "/work/d", "s3": {"key": "{wf}/{pod}/d.tgz"}}, logs[0],
                ],
                "result": "",
            }}),
        ));
        // Without `init` the input is a link that the emissary makes: the image's /tmp must be writable.
        steps.push(made(
            "an input for another user",
            layout,
            Some(OTHER),
            &json!({
                "container": shell("cat /tmp/one"),
                "writable": true,
                "inputs": {"artifacts": [
                    {"name": "one", "path": "/tmp/one", "mode": 0o644, "raw": {"data": "from the manifest"}},
                ]},
            }),
            &json!({"phase": "Succeeded", "outputs": {
                "result": "from the manifest", "exitCode": "0", "artifacts": logs,
            }}),
        ));
        steps.push(made(
            "a command that fails",
            layout,
            Some(OTHER),
            &json!({"container": shell("echo before; exit 3")}),
            &json!({
                "phase": "Failed", "message": "main: Error (exit code 3)",
                "outputs": {"result": "before", "exitCode": "3", "artifacts": logs},
            }),
        ));
        steps.push(made(
            "a command that is not there",
            layout,
            Some(OTHER),
            &json!({"container": container("busybox", &["no-such-command"])}),
            &json!({
                "phase": "Failed", "message": "main: Error (exit code 64): as the executor words it",
                "outputs": {"exitCode": "64"},
            }),
        ));
    }
    steps
}

/// Restricted Pod security asks for all of this.
fn restricted(user: Option<i64>) -> Value {
    let mut context = json!({
        "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let Some(user) = user {
        context["runAsUser"] = user.into();
    }
    context
}

/// Where the namespace's artifacts go. The bucket is made when the first step saves something.
fn repository(s3: &S3, bucket: &str) -> Value {
    let key = |key: &str| json!({"name": CREDENTIALS, "key": key});
    json!({"archiveLogs": true, "s3": {
        "endpoint": s3.host, "insecure": true, "bucket": bucket, "createBucketIfNotPresent": {},
        "accessKeySecret": key("accesskey"), "secretKeySecret": key("secretkey"),
    }})
}

impl Step {
    /// Runs it in the namespace, as the only step of a workflow with that name; gives what differs from what must come.
    ///
    /// # Errors
    /// When the cluster refuses, or the step does not end.
    pub async fn run(
        &self,
        namespace: &Namespace<'_>,
        workflow: &str,
        images: &Images,
        s3: &S3,
    ) -> Result<Option<String>> {
        let uid = namespace.workflow(workflow).await?;
        let node = format!("{workflow}.a");
        let id = NodeId::of(workflow, &node).to_string();
        let pod_name = pod_name(PodNameFormat::V2, workflow, &node, "step");
        let mut template = self.template.clone();
        template["name"] = "step".into();
        let writable = template.as_object_mut().and_then(|template| template.remove("writable"));
        template["container"]["securityContext"] = restricted(self.user);
        template["container"]["securityContext"]["readOnlyRootFilesystem"] = writable.is_none().into();
        let mut location = repository(s3, BUCKETS[usize::from(self.layout == Layout::ImageVolume)]);
        location["s3"]["key"] = format!("{workflow}/{pod_name}").into();
        template["archiveLocation"] = location;
        let request = Request {
            node_id: id.clone(),
            node_name: node,
            pod_name: pod_name.clone(),
            template: Arc::new(serde_json::from_value(template)?),
            include_script_output: true,
            ..Request::default()
        };
        let config = PodConfig {
            layout: self.layout,
            executor_image: images.executor.clone(),
            executor: ExecutorDefaults { security_context: Some(restricted(None)), ..ExecutorDefaults::default() },
            ..PodConfig::default()
        };
        let pod = build(&Input {
            workflow_name: workflow,
            namespace: &namespace.name,
            workflow_uid: &uid,
            spec: &WorkflowSpec::default(),
            request: &request,
            config: &config,
            substitute: &|text| Ok(text.to_owned()),
        })?;
        let mut pod = pod.to_value();
        if !images.as_volumes {
            stand_in(&mut pod, &images.executor);
        }
        let (pod, result) = namespace.run(&pod, &id, LIMIT).await?;
        let ended = Ended { workflow, uid: &uid, id: &id, node: "{wf}.a", pod: &pod, result: result.as_ref() };
        Ok(compare(&ended, &self.expected))
    }
}
