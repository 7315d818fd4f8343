//! What a cluster would have made of a workflow that is refused here before it begins.
//!
//! On a cluster such a workflow exists, in phase Failed or Error; programs that read `--output json` find it the same way.

use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_engine::{Action, EngineConfig, Fact, Need, Run, claims_at_hand};
use tiphys_local::RunName;
use tiphys_local::documents::Documents;

/// The workflow with the status that says why it does not run. `problem` is the first thing that is wrong with it.
pub fn outcome(workflow: &Workflow, documents: &Documents, problem: &str) -> Workflow {
    let mut workflow = workflow.clone();
    if workflow.metadata.name.is_empty()
        && let Ok(name) = RunName::generate(&workflow.metadata.generate_name)
    {
        workflow.metadata.name = name.as_str().to_owned();
    }
    let now = jiff::Timestamp::now();
    let mut run = Run::new(workflow.clone(), EngineConfig::default(), now);
    loop {
        let plan = run.plan(now);
        let runs = plan.actions.iter().any(|action| matches!(action, Action::CreatePod(_) | Action::RunTask(_)));
        if run.is_finished() && !runs {
            return run.workflow().clone();
        }
        if runs || plan.needs.is_empty() {
            break;
        }
        for need in plan.needs {
            let fact = answer(need, documents, &run);
            run.observe(fact, now);
        }
    }
    // A mistake that a cluster would meet only on the way.
    workflow.status.phase = WorkflowPhase::Failed;
    workflow.status.message = format!("invalid spec: {problem}");
    workflow
}

fn answer(need: Need, documents: &Documents, run: &Run) -> Fact {
    match need {
        Need::Template { cluster_scope, name } => {
            let spec = if cluster_scope {
                documents.cluster_template(&name).map(|template| &template.spec)
            } else {
                documents.template(&name).map(|template| &template.spec)
            };
            let plural = if cluster_scope { "clusterworkflowtemplates" } else { "workflowtemplates" };
            let found = spec.cloned().map(Box::new).ok_or_else(|| format!("{plural}.argoproj.io \"{name}\" not found"));
            Fact::Template { cluster_scope, name, found }
        }
        Need::ConfigMap { namespace, name } => {
            let found = documents.config_maps().find(|(known, _)| *known == name).map(|(_, data)| data);
            Fact::ConfigMap { namespace, name, found: Ok(found) }
        }
        Need::VolumeClaims => claims_at_hand(&run.workflow().metadata.name, run.spec()),
        Need::Memo { cache, key } => Fact::Memo { cache, key, found: Ok(None) },
    }
}
