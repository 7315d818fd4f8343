//! The WorkflowTaskResult of a step, written as argoexec writes it (argo: workflow/executor/taskresult.go, postmain.go):
//! made with the label `report-outputs-completed=false`, patched with progress and outputs, the label set to `true`.

use serde_json::{Value, json};
use tiphys_contract::{TaskResult, label};

use super::settings::Step;
use crate::cluster::{Cluster, ClusterError, Objects, Patch, Resource};

/// Whose result it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Id of the node, which is the object's name.
    pub node: String,
    /// Name of the workflow.
    pub workflow: String,
    /// Uid of the workflow.
    pub workflow_uid: String,
    /// Controller instance that the workflow belongs to.
    pub instance: Option<String>,
}

impl Owner {
    /// The owner that the environment names.
    ///
    /// # Errors
    /// The text for the user: which variable is missing.
    pub fn of(step: &Step) -> Result<Self, String> {
        use tiphys_contract::env::{NODE_ID, WORKFLOW_NAME, WORKFLOW_UID};
        let needed = |value: &Option<String>, name| {
            value.clone().ok_or_else(|| format!("{name} must be set where results go to a WorkflowTaskResult"))
        };
        Ok(Self {
            node: needed(&step.node, NODE_ID)?,
            workflow: needed(&step.workflow, WORKFLOW_NAME)?,
            workflow_uid: needed(&step.workflow_uid, WORKFLOW_UID)?,
            instance: step.instance.clone(),
        })
    }

    /// The whole object as it is made.
    fn object(&self, result: &TaskResult) -> Value {
        let mut labels = json!({label::WORKFLOW: self.workflow, label::REPORT_OUTPUTS_COMPLETED: "false"});
        if let Some(instance) = &self.instance {
            labels[label::CONTROLLER_INSTANCE_ID] = json!(instance);
        }
        let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": self.workflow,
            "uid": self.workflow_uid});
        let mut object = body(result);
        object["apiVersion"] = json!(Resource::TASK_RESULT.api_version());
        object["kind"] = json!(Resource::TASK_RESULT.kind);
        object["metadata"] = json!({"name": self.node, "labels": labels, "ownerReferences": [owner]});
        object
    }
}

/// The fields of a patch. What only our own controller reads is left out.
fn body(result: &TaskResult) -> Value {
    let known =
        TaskResult { outputs: result.outputs.clone(), progress: result.progress.clone(), ..TaskResult::default() };
    let mut body = known.to_json();
    body["metadata"] = json!({});
    body
}

/// Writes one step's result.
pub struct TaskResultWriter<'a> {
    objects: Objects<'a>,
    owner: &'a Owner,
    /// The object is there, made by this process or another.
    made: bool,
}

impl<'a> TaskResultWriter<'a> {
    /// A writer; `made` tells that the object is there already.
    pub fn new(cluster: &'a Cluster, owner: &'a Owner, made: bool) -> Self {
        Self { objects: cluster.objects(&Resource::TASK_RESULT), owner, made }
    }

    /// Whether the object is there.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Tells what is known; makes the object when it is not there, whatever was believed.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn report(&mut self, result: &TaskResult) -> Result<(), ClusterError> {
        if self.made {
            return match self.patch(body(result)).await {
                Err(error) if error.is_not_found() => self.make(result).await,
                done => done,
            };
        }
        match self.make(result).await {
            Err(error) if error.is_already_exists() => {
                self.made = true;
                self.patch(body(result)).await
            }
            done => done,
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn complete(&mut self) -> Result<(), ClusterError> {
        self.patch(json!({"metadata": {"labels": {label::REPORT_OUTPUTS_COMPLETED: "true"}}})).await
    }

    async fn make(&mut self, result: &TaskResult) -> Result<(), ClusterError> {
        self.objects.create(&self.owner.object(result), &[]).await?;
        self.made = true;
        Ok(())
    }

    async fn patch(&self, body: Value) -> Result<(), ClusterError> {
        self.objects.patch(&self.owner.node, &Patch::Merge(body), &[]).await.map(drop)
    }
}
