//! The volume claims that a workflow makes for itself (`volumeClaimTemplates`): their names, the volumes over them, and whether they
//! outlive it. argo: operator.go, createPVCs, deletePVCs.

use serde_json::{Value, json};
use tiphys_api::{WorkflowPhase, WorkflowSpec};

use crate::fact::Fact;

/// The name of a claim's template, which is that of the volume over the claim as well. `index` is its place, counted from 0.
///
/// # Errors
/// It has none.
pub fn claim_template_name(index: usize, template: &Value) -> Result<&str, String> {
    let name = template["metadata"]["name"].as_str().filter(|name| !name.is_empty());
    name.ok_or_else(|| format!("volumeClaimTemplates[{index}].metadata.name is required"))
}

/// The name of the claim that a workflow makes from the template of that name.
pub fn claim_name(workflow: &str, template: &str) -> String {
    format!("{workflow}-{template}")
}

/// The volume over the claim that a workflow makes from the template of that name.
pub fn claim_volume(workflow: &str, template: &str) -> Value {
    json!({"name": template, "persistentVolumeClaim": {"claimName": claim_name(workflow, template)}})
}

/// The volumes over all claims that a workflow of that name makes.
///
/// # Errors
/// A template has no name.
pub fn claim_volumes(workflow: &str, spec: &WorkflowSpec) -> Result<Vec<Value>, String> {
    let templates = spec.volume_claim_templates.iter().enumerate();
    templates.map(|(index, template)| Ok(claim_volume(workflow, claim_template_name(index, template)?))).collect()
}

/// The answer to [`crate::Need::VolumeClaims`] of a driver that needs to do nothing for them to be there.
pub fn claims_at_hand(workflow: &str, spec: &WorkflowSpec) -> Fact {
    Fact::volume_claims(claim_volumes(workflow, spec))
}

/// Whether a workflow's claims stay when it has ended so: by default they do unless it succeeded.
pub fn keeps_claims(spec: &WorkflowSpec, phase: WorkflowPhase) -> bool {
    let strategy = spec.volume_claim_gc.as_ref().map_or("", |gc| gc.strategy.as_str());
    strategy != "OnWorkflowCompletion" && phase != WorkflowPhase::Succeeded
}
