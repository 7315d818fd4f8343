//! Workflows that may only call upon templates which are in the cluster already. argo: config.go, WorkflowRestrictions;
//! workflow/util/merge.go, ValidateUserOverrides.
//!
//! A status is written by whoever may write workflows, so that nothing in it is proof of where a spec came from. What a
//! workflow brings along of specs and templates before it has begun is therefore not looked at; under
//! [`Restriction::Secure`] that holds at every start, and a stored spec must be the one that is made anew.

use std::collections::BTreeSet;

use serde_json::Value;
use tiphys_api::{WorkflowPhase, WorkflowSpec};

use crate::run::Run;

/// `workflowRestrictions.templateReferencing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restriction {
    /// Any workflow may run.
    #[default]
    None,
    /// Only what comes from a `workflowTemplateRef`, of which a workflow may set little.
    Strict,
    /// The same, and the spec may not become another while the workflow runs.
    Secure,
}

/// What a workflow may set beside its `workflowTemplateRef`.
const ALLOWED: [&str; 14] = [
    "activeDeadlineSeconds",
    "archiveLogs",
    "arguments",
    "artifactGC",
    "entrypoint",
    "metrics",
    "podGC",
    "priority",
    "shutdown",
    "suspend",
    "ttlStrategy",
    "volumeClaimGC",
    "workflowMetadata",
    "workflowTemplateRef",
];
/// What of `artifactGC` would reach the Pod that deletes artifacts.
const ARTIFACT_GC: [&str; 3] = ["podMetadata", "podSpecPatch", "serviceAccountName"];

pub(crate) const CHANGED: &str =
    "WorkflowSpec may not change during execution when the controller is set `templateReferencing: Secure`";

impl Run {
    /// Whether the workflow's own spec is one that may run.
    ///
    /// # Errors
    /// It is not; in Argo's words.
    pub(crate) fn check_restriction(&self) -> Result<(), String> {
        if self.config.restriction == Restriction::None {
            return Ok(());
        }
        if self.wf.spec.workflow_template_ref.is_none() {
            return Err(
                "workflows must use workflowTemplateRef to be executed when the controller is in reference mode"
                    .to_string(),
            );
        }
        let found = violations(&self.wf.spec, &self.config.allowed_overrides);
        if found.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = found.into_iter().collect();
        let list = list.join(" ");
        Err(format!(
            "fields [{list}] are not permitted when using workflowTemplateRef with templateReferencing restriction"
        ))
    }

    /// Lets go of specs and templates that a status brings along and that cannot be trusted.
    pub(crate) fn distrust_status(&mut self) {
        let begun = !matches!(self.wf.status.phase, WorkflowPhase::Unknown | WorkflowPhase::Pending);
        match self.config.restriction {
            Restriction::None => return,
            Restriction::Strict if begun => return,
            Restriction::Secure if begun => {}
            Restriction::Strict | Restriction::Secure => self.wf.status.stored_workflow_template_spec = None,
        }
        self.wf.status.stored_templates.clear();
    }
}

/// The fields that may not be set, under the names that Argo tells them by.
fn violations(spec: &WorkflowSpec, also_allowed: &BTreeSet<String>) -> BTreeSet<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(spec) else { return BTreeSet::new() };
    let is_allowed = |name: &str| ALLOWED.contains(&name) || also_allowed.contains(name);
    let mut found: BTreeSet<String> =
        fields.keys().filter(|name| !is_allowed(name)).map(|name| go_name(name)).collect();
    let within = fields.get("artifactGC").and_then(Value::as_object);
    let within = within.into_iter().flat_map(|gc| gc.keys()).filter(|name| ARTIFACT_GC.contains(&name.as_str()));
    found.extend(within.map(|name| format!("ArtifactGC.{}", go_name(name))));
    found
}

/// A field's name in Go: `dnsPolicy` is DNSPolicy.
fn go_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("dns") {
        return format!("DNS{rest}");
    }
    let (first, rest) = name.split_at(name.len().min(1));
    format!("{}{rest}", first.to_ascii_uppercase())
}
