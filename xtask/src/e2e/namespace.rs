//! A namespace of its own, with what Pods of workflows find in one and no right more than Argo's executor asks for.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::S3;

/// The Secret that the corpus's Pods take their credentials from.
pub const CREDENTIALS: &str = "my-minio-cred";
/// Workflows of the tests are for a controller that does not exist, should there be one in the cluster.
const INSTANCE: &str = "tiphys-e2e";

/// Argo's kinds, as far as anything here makes them.
const KINDS: [(&str, &str); 6] = [
    ("Workflow", "workflows"),
    ("WorkflowTaskResult", "workflowtaskresults"),
    ("WorkflowTaskSet", "workflowtasksets"),
    ("WorkflowTemplate", "workflowtemplates"),
    ("ClusterWorkflowTemplate", "clusterworkflowtemplates"),
    ("CronWorkflow", "cronworkflows"),
];

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// The longest that the cluster may take to notice a new object.
const LIMIT: Duration = Duration::from_secs(30);

/// States of containers that no time heals here.
const HOPELESS: [&str; 5] =
    ["CreateContainerConfigError", "CreateContainerError", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// The namespace's objects.
pub struct Namespace<'a> {
    api: &'a Api,
    /// Its name.
    pub name: String,
}

impl<'a> Namespace<'a> {
    /// Makes it. `security` is the level of Pod security that it enforces.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn make(api: &'a Api, name: &str, security: &str, s3: &S3) -> Result<Self> {
        // Where Argo's own definitions are installed, those stay.
        for (plural, definition) in tiphys_api::definitions() {
            api.create(DEFINITIONS, &definition).await?;
            api.until(DEFINITIONS, &format!("{plural}.argoproj.io"), LIMIT, is_established).await?;
        }
        let labels = json!({"pod-security.kubernetes.io/enforce": security});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        api.create("/api/v1/namespaces", &object).await?;
        let namespace = Self { api, name: name.to_owned() };
        let credentials = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": CREDENTIALS},
            "stringData": {"accesskey": s3.access, "secretkey": s3.secret},
        });
        api.create(&namespace.core("secrets"), &credentials).await?;
        namespace.allow("executor", &["argoproj.io"], &["workflowtaskresults"], &["create", "patch"]).await?;
        namespace.account().await?;
        Ok(namespace)
    }

    /// The controller of service accounts needs a moment, before which no Pod is admitted.
    async fn account(&self) -> Result<()> {
        self.api.until(&self.core("serviceaccounts"), "default", LIMIT, |_| true).await.map(|_| ())
    }

    /// Lets the default service account do something.
    async fn allow(&self, name: &str, groups: &[&str], resources: &[&str], verbs: &[&str]) -> Result<()> {
        let rules = json!([{"apiGroups": groups, "resources": resources, "verbs": verbs}]);
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": self.name}],
        });
        let group = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", self.name);
        self.api.create(&format!("{group}/roles"), &role).await?;
        self.api.create(&format!("{group}/rolebindings"), &binding).await?;
        Ok(())
    }

    /// Lets the default service account do everything in the namespace.
    pub async fn allow_everything(&self) -> Result<()> {
        self.allow("everything", &["*"], &["*"], &["*"]).await
    }

    /// Makes an object of the core or of Argo's API; one that is there already stays as it is.
    ///
    /// # Errors
    /// When the cluster refuses, or the kind is none of those that the corpus has.
    pub async fn put(&self, object: &Value) -> Result<()> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let collection = match kind {
            "ConfigMap" => self.core("configmaps"),
            "Secret" => self.core("secrets"),
            "PersistentVolumeClaim" => self.core("persistentvolumeclaims"),
            "ClusterWorkflowTemplate" => "/apis/argoproj.io/v1alpha1/clusterworkflowtemplates".to_owned(),
            _ => match KINDS.iter().find(|(one, _)| *one == kind) {
                Some((_, plural)) => self.argo(plural),
                None => bail!("objects of kind {kind:?} are not made here"),
            },
        };
        self.api.create(&collection, object).await.map(|_| ())
    }

    /// Changes an object: the path of its collection, and its name, which a subresource may follow.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn patch(&self, collection: &str, name: &str, patch: &Value) -> Result<()> {
        self.api.patch(&format!("{collection}/{name}"), patch).await
    }

    /// The workflows that a label selector, as it stands in a query, selects.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn workflows(&self, selector: &str) -> Result<Vec<Value>> {
        let list = self.api.get(&format!("{}?labelSelector={selector}", self.argo("workflows"))).await?;
        Ok(list.and_then(|mut list| list["items"].take().as_array().cloned()).unwrap_or_default())
    }

    /// The Pods that a label selector, as it stands in a query, selects.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn pods(&self, selector: &str) -> Result<Vec<Value>> {
        let list = self.api.get(&format!("{}?labelSelector={selector}", self.core("pods"))).await?;
        Ok(list.and_then(|mut list| list["items"].take().as_array().cloned()).unwrap_or_default())
    }

    /// Follows one of Argo's objects until it is gone.
    ///
    /// # Errors
    /// When it is not after `limit`.
    pub async fn until_gone(&self, plural: &str, name: &str, limit: Duration) -> Result<()> {
        self.api.until_gone(&self.argo(plural), name, limit).await
    }

    /// Follows an object of the core API until it is as wanted, and gives it.
    ///
    /// # Errors
    /// When that is not so after `limit`.
    pub async fn until_core(
        &self,
        plural: &str,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.api.until(&self.core(plural), name, limit, wanted).await
    }

    /// Follows one of Argo's objects until it is as wanted, and gives it.
    ///
    /// # Errors
    /// When that is not so after `limit`.
    pub async fn until(
        &self,
        plural: &str,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.api.until(&self.argo(plural), name, limit, wanted).await
    }

    /// Deletes one of Argo's objects.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn remove(&self, plural: &str, name: &str) -> Result<()> {
        self.api.delete(&format!("{}/{name}", self.argo(plural))).await
    }

    /// The path of a collection of the core API.
    pub fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.name)
    }

    /// The path of a collection of Argo's API.
    pub fn argo(&self, plural: &str) -> String {
        format!("/apis/argoproj.io/v1alpha1/namespaces/{}/{plural}", self.name)
    }

    /// A Workflow that owns what its Pods report; gives its uid.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn workflow(&self, name: &str) -> Result<String> {
        let labels = json!({"workflows.argoproj.io/controller-instanceid": INSTANCE});
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": name, "labels": labels}, "spec": {"suspend": true},
        });
        let made = self.api.create(&self.argo("workflows"), &object).await?;
        Ok(made["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    }

    /// Runs a Pod to its end and takes it away. Gives what it was then, and the WorkflowTaskResult of its node.
    ///
    /// # Errors
    /// When the cluster refuses the Pod, or it does not end in time.
    pub async fn run(&self, pod: &Value, node_id: &str, limit: Duration) -> Result<(Value, Option<Value>)> {
        let pods = self.core("pods");
        self.api.create(&pods, pod).await?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let over = |pod: &Value| ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
        let over = self.api.until(&pods, name, limit, |pod| over(pod) || stuck(pod).is_some()).await;
        let result = self.api.get(&format!("{}/{node_id}", self.argo("workflowtaskresults"))).await?;
        self.api.delete(&format!("{pods}/{name}?gracePeriodSeconds=0")).await?;
        let over = over?;
        match stuck(&over) {
            Some(reason) => bail!("{name} does not start: {reason}"),
            None => Ok((over, result)),
        }
    }

    /// Deletes it with all that is in it, without waiting for the end.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn delete(self) -> Result<()> {
        self.api.delete(&format!("/api/v1/namespaces/{}", self.name)).await
    }
}

/// Why a container will not start however long one waits.
fn stuck(pod: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|kind| pod["status"][kind].as_array());
    statuses.into_iter().flatten().flatten().find_map(|one| {
        let waiting = one["state"].get("waiting")?;
        let reason = waiting["reason"].as_str().filter(|reason| HOPELESS.contains(reason))?;
        Some(format!("{}: {reason}: {}", one["name"], waiting["message"].as_str().unwrap_or_default()))
    })
}

fn is_established(definition: &Value) -> bool {
    let mut conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Established" && one["status"] == "True")
}
