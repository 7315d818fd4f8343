//! A user changes the spec of a workflow that runs. argo: operator.go reads the object's spec anew each time it looks at a
//! workflow.

use std::sync::Arc;

use tiphys_api::WorkflowSpec;

use crate::run::{Event, Run, Stage};

impl Run {
    /// Takes in the object's spec as it is now. What has been put together from a template stays as it was then.
    pub(crate) fn spec_changed(&mut self, spec: WorkflowSpec) {
        if self.stage == Stage::SetUp {
            self.wf.spec = spec;
            return;
        }
        if self.wf.spec.workflow_template_ref.is_some() {
            return;
        }
        // Defaults that do not fit under it any more leave it as it is.
        let defaults = self.config.workflow_defaults.as_deref();
        let merged = defaults.and_then(|defaults| crate::setup::join(&spec, None, Some(&defaults.spec)).ok());
        let spec = merged.unwrap_or(spec);
        if spec == self.wf.spec {
            return;
        }
        self.wf.spec = spec;
        // One whose variables cannot be filled in has no effect.
        let Ok(changed) = self.with_globals(&self.wf.spec) else { return };
        self.spec = Arc::new(over(&self.spec, changed));
        if matches!(self.stage, Stage::Main | Stage::Exit) {
            self.set_deadline();
            self.push(Event::Room(None));
        }
    }
}

/// What is executed from now on: what steers the run and what Pods are made of is taken from the changed spec. What nodes
/// are made from stays, or those that are there would no longer fit those to come.
fn over(begun: &WorkflowSpec, changed: WorkflowSpec) -> WorkflowSpec {
    let begun = begun.clone();
    WorkflowSpec {
        arguments: begun.arguments,
        artifact_repository_ref: begun.artifact_repository_ref,
        entrypoint: begun.entrypoint,
        hooks: begun.hooks,
        on_exit: begun.on_exit,
        pod_metadata: begun.pod_metadata,
        retry_strategy: begun.retry_strategy,
        synchronization: begun.synchronization,
        template_defaults: begun.template_defaults,
        templates: begun.templates,
        volume_claim_templates: begun.volume_claim_templates,
        workflow_metadata: begun.workflow_metadata,
        ..changed
    }
}
