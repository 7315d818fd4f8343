//! What validation says of a CronWorkflow, with the templates that its workflows refer to as they are now.

use rustc_hash::FxHashMap;
use serde::Deserialize;
use tiphys_api::{CronWorkflow, WorkflowSpec};
use tiphys_engine::validate::{self, Templates};
use tiphys_kubernetes::Kind;

use crate::cluster::Cluster;

#[derive(Deserialize)]
struct TemplateObject {
    spec: WorkflowSpec,
}

/// Templates by scope and name; None where there is none.
#[derive(Default)]
struct Known(FxHashMap<(bool, String), Option<WorkflowSpec>>);

impl Templates for Known {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        self.0.get(&(cluster_scope, name.to_owned()))?.as_ref()
    }
}

/// What is wrong with a CronWorkflow, in Argo's words.
pub(super) async fn problem(cluster: &Cluster, cron: &CronWorkflow) -> Option<String> {
    let mut known = Known::default();
    let mut open = validate::references(&cron.spec.workflow_spec);
    while let Some((cluster_scope, name)) = open.pop() {
        let key = (cluster_scope, name);
        if key.1.contains("{{") || known.0.contains_key(&key) {
            continue;
        }
        let path = match cluster_scope {
            true => Kind::ClusterWorkflowTemplate.within("").named(&key.1),
            false => Kind::WorkflowTemplate.within(&cron.metadata.namespace).named(&key.1),
        };
        let found = match cluster.read::<TemplateObject>(&path).await {
            Ok(object) => Some(object.spec),
            Err(error) => {
                tracing::debug!(cron_workflow = cron.metadata.name, template = key.1, %error, "a template cannot be read");
                None
            }
        };
        open.extend(found.iter().flat_map(validate::references));
        known.0.insert(key, found);
    }
    validate::first_problem_of_cron_workflow(cron, &known).map(|problem| problem.message)
}
