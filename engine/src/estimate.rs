//! How long a workflow and its nodes may take, by one before it. argo: workflow/controller/estimation/estimator.go.

use rustc_hash::FxHashMap;
use tiphys_api::{Time, Workflow};

use crate::id::NodeId;
use crate::run::Run;

/// Label of workflows of a WorkflowTemplate: its name. argo: workflow/common/common.go.
pub const WORKFLOW_TEMPLATE: &str = "workflows.argoproj.io/workflow-template";
/// The same of a ClusterWorkflowTemplate.
pub const CLUSTER_WORKFLOW_TEMPLATE: &str = "workflows.argoproj.io/cluster-workflow-template";
/// The same of a CronWorkflow.
pub const CRON_WORKFLOW: &str = "workflows.argoproj.io/cron-workflow";

/// By which labels workflows are told to have come from the same, whichever comes first.
pub const ORIGINS: [&str; 3] = [WORKFLOW_TEMPLATE, CLUSTER_WORKFLOW_TEMPLATE, CRON_WORKFLOW];

/// The label of workflows of a template.
pub fn of_template(cluster_scope: bool) -> &'static str {
    if cluster_scope { CLUSTER_WORKFLOW_TEMPLATE } else { WORKFLOW_TEMPLATE }
}

/// What a workflow came from: the label, and its value. One that names a template itself gets the label when its spec is put
/// together.
pub fn origin(workflow: &Workflow) -> Option<(&'static str, &str)> {
    let labels = &workflow.metadata.labels;
    let labelled = || ORIGINS.iter().find_map(|label| Some((*label, labels.get(*label)?.as_str())));
    let reference = workflow.spec.workflow_template_ref.as_ref();
    let named = reference.map(|one| (of_template(one.cluster_scope), one.name.as_str()));
    named.or_else(labelled)
}

/// How long a workflow that succeeded took, and its nodes, in whole seconds.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    name: String,
    seconds: i64,
    nodes: FxHashMap<NodeId, i64>,
}

impl Baseline {
    /// What is remembered of a workflow that is over, with its nodes.
    pub fn of(workflow: &Workflow) -> Baseline {
        let status = &workflow.status;
        let nodes = status.nodes.iter();
        Baseline {
            name: workflow.metadata.name.clone(),
            seconds: seconds(status.started_at, status.finished_at),
            nodes: nodes.map(|(id, node)| (id.as_str().into(), seconds(node.started_at, node.finished_at))).collect(),
        }
    }

    /// How long the node of this name may take that belongs to a workflow of another name; 0 where there was none such.
    fn node(&self, workflow: &str, name: &str) -> i64 {
        let before = name.replacen(workflow, &self.name, 1);
        self.nodes.get(&NodeId::of(&self.name, &before)).copied().unwrap_or_default()
    }
}

/// As Argo counts: what has no end has taken no time, and parts of a second are not counted.
fn seconds(started: Option<Time>, finished: Option<Time>) -> i64 {
    let (Some(started), Some(finished)) = (started, finished) else { return 0 };
    (finished.0.as_second() - started.0.as_second()).max(0)
}

impl Run {
    /// Takes over what to estimate by, for the nodes that there are as well.
    pub(crate) fn estimate_by(&mut self, baseline: Baseline) {
        let status = &self.wf.status;
        if status.estimated_duration == 0 && !status.phase.is_completed() {
            self.wf.status.estimated_duration = baseline.seconds;
            self.out.status_changed |= baseline.seconds != 0;
        }
        let name = &self.wf.metadata.name;
        let nodes = self.wf.status.nodes.iter().filter(|(_, node)| node.estimated_duration == 0);
        let estimated = nodes.map(|(id, node)| (NodeId::from(id.as_str()), baseline.node(name, &node.name)));
        let estimated: Vec<(NodeId, i64)> = estimated.filter(|(_, seconds)| *seconds != 0).collect();
        for (id, seconds) in estimated {
            self.change(&id, |node| node.estimated_duration = seconds);
        }
        self.baseline = Some(baseline);
    }

    /// How long a node that begins now may take; 0 where that is not known.
    pub(crate) fn estimated(&self, name: &str) -> i64 {
        self.baseline.as_ref().map_or(0, |baseline| baseline.node(&self.wf.metadata.name, name))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::fact::{Fact, PodPhase, PodState};
    use crate::run::EngineConfig;

    fn workflow(value: Value) -> Workflow {
        serde_json::from_value(value).unwrap()
    }

    /// `before` ran for a minute, its first step for 20 s and a half; its second has not ended.
    fn baseline() -> Baseline {
        let node = |name: &str, until: Option<&str>| {
            let times = json!({"name": name, "startedAt": "2024-01-01T00:00:00Z", "finishedAt": until});
            (NodeId::of("before", name).to_string(), times)
        };
        let nodes = [
            node("before", Some("2024-01-01T00:01:00Z")),
            node("before[0].a", Some("2024-01-01T00:00:20.5Z")),
            node("before[1].b", None),
        ];
        let nodes: serde_json::Map<String, Value> = nodes.into_iter().collect();
        Baseline::of(&workflow(json!({"metadata": {"name": "before"}, "spec": {}, "status": {
            "startedAt": "2024-01-01T00:00:00Z", "finishedAt": "2024-01-01T00:01:00Z", "nodes": nodes}})))
    }

    #[test]
    fn nodes_take_as_long_as_those_of_the_same_names_before() {
        let step = |name: &str| json!([{"name": name, "template": "pod"}]);
        let object = workflow(json!({"metadata": {"name": "now", "namespace": "n"}, "spec": {"entrypoint": "main",
            "templates": [{"name": "main", "steps": [step("a"), step("b"), step("c")]},
                {"name": "pod", "container": {"image": "x"}}]}}));
        for late in [false, true] {
            let at = Timestamp::from_second(1_700_000_000).unwrap();
            let mut run = Run::new(object.clone(), EngineConfig::default(), at);
            run.plan(at);
            let (namespace, name) = ("n".to_owned(), "artifact-repositories".to_owned());
            run.observe(Fact::ConfigMap { namespace, name, found: Ok(None) }, at);
            if late {
                run.plan(at);
            }
            run.observe(Fact::Baseline(Box::new(baseline())), at);
            let plan = run.plan(at);
            assert!(plan.status_changed);
            assert_eq!(run.workflow().status.estimated_duration, 60);
            let first = NodeId::of("now", "now[0].a");
            assert!(plan.changed.contains(&first), "{:?}", plan.changed);
            let state = PodState { phase: PodPhase::Succeeded, ..PodState::default() };
            run.observe(Fact::Pod { node: first, state: Box::new(state) }, at);
            run.plan(at);
            let estimated = |name: &str| run.node(NodeId::of("now", name).as_str()).unwrap().estimated_duration;
            let found = ["now", "now[0].a", "now[1].b", "now[1]"].map(estimated);
            assert_eq!(found, [60, 20, 0, 0], "late: {late}");
        }
    }

    #[test]
    fn a_workflow_comes_from_its_template_before_its_schedule() {
        let from = |labels: Value, reference: Value| {
            let object = json!({"metadata": {"labels": labels}, "spec": {"workflowTemplateRef": reference}});
            origin(&workflow(object)).map(|(label, value)| format!("{label}={value}"))
        };
        let cron = json!({CRON_WORKFLOW: "c"});
        assert_eq!(from(json!({}), Value::Null), None);
        assert_eq!(from(cron.clone(), Value::Null).unwrap(), format!("{CRON_WORKFLOW}=c"));
        assert_eq!(from(cron.clone(), json!({"name": "t"})).unwrap(), format!("{WORKFLOW_TEMPLATE}=t"));
        let wide = json!({"name": "t", "clusterScope": true});
        assert_eq!(from(cron, wide).unwrap(), format!("{CLUSTER_WORKFLOW_TEMPLATE}=t"));
    }
}
