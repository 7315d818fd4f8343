//! Validation: what is wrong with a workflow, before anything of it runs.
//!
//! [`first_problem`] says what Argo's controller would say of a workflow it is given, in its words, because users and
//! tests know them: there, the first mistake ends validation. [`workflow`] and its kin go on and report every mistake they
//! can find, with the field that it is in, and warn of what Argo only meets when the workflow runs.
//!
//! Tags are checked as Argo does: a template is validated with placeholders for the values that are not known yet, once
//! for itself and again with the arguments of each step and task that calls it.

mod args;
mod beyond;
mod containers;
mod cron;
mod dag;
mod depends;
mod graph;
mod known;
mod location;
mod names;
mod outputs;
mod report;
mod scope;
mod spec;
mod steps;
mod tags;
mod template;

use tiphys_api::{ClusterWorkflowTemplate, CronWorkflow, Workflow, WorkflowSpec, WorkflowTemplate};

pub(crate) use outputs::is_metric_name;
pub use report::{Origin, Problem};
pub use spec::executor_plugin_mistake;

use report::Report;
use spec::Subject;

/// The templates that a workflow may refer to.
pub trait Templates {
    /// The spec of a WorkflowTemplate, or of a ClusterWorkflowTemplate; None where there is none of that name.
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec>;
}

/// No templates at all.
impl Templates for () {
    fn get(&self, _cluster_scope: bool, _name: &str) -> Option<&WorkflowSpec> {
        None
    }
}

/// How strict to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The workflow is only looked at: its parameters may lack values, which come when it is submitted.
    pub lint: bool,
}

pub use crate::setup::references;

/// Every problem of a workflow.
pub fn workflow(workflow: &Workflow, lookup: &dyn Templates, options: Options) -> Vec<Problem> {
    Subject::workflow(workflow).problems(lookup, options, Report::new(false))
}

/// What Argo's controller says of a workflow that it is given; it puts `invalid spec: ` before it. `defaults` lie under the
/// template that the workflow names; in one that names none they are already.
pub fn first_problem(workflow: &Workflow, lookup: &dyn Templates, defaults: Option<&WorkflowSpec>) -> Option<Problem> {
    let subject = Subject { defaults, ..Subject::workflow(workflow) };
    subject.problems(lookup, Options::default(), Report::new(true)).into_iter().next()
}

/// Every problem of a template.
pub fn workflow_template(template: &WorkflowTemplate, lookup: &dyn Templates, options: Options) -> Vec<Problem> {
    Subject::workflow_template(template).problems(lookup, options, Report::new(false))
}

/// Every problem of a template for the whole cluster.
pub fn cluster_workflow_template(
    template: &ClusterWorkflowTemplate,
    lookup: &dyn Templates,
    options: Options,
) -> Vec<Problem> {
    Subject::cluster_workflow_template(template).problems(lookup, options, Report::new(false))
}

/// Every problem of a workflow on a schedule.
pub fn cron_workflow(cron: &CronWorkflow, lookup: &dyn Templates) -> Vec<Problem> {
    cron::problems(cron, lookup, Report::new(false))
}

/// What Argo says first of a template, of either scope.
pub fn first_problem_of_template(
    template: Result<&WorkflowTemplate, &ClusterWorkflowTemplate>,
    lookup: &dyn Templates,
) -> Option<Problem> {
    let subject = match template {
        Ok(template) => Subject::workflow_template(template),
        Err(template) => Subject::cluster_workflow_template(template),
    };
    subject.problems(lookup, Options::default(), Report::new(true)).into_iter().next()
}

/// What Argo says first of a workflow on a schedule.
pub fn first_problem_of_cron_workflow(cron: &CronWorkflow, lookup: &dyn Templates) -> Option<Problem> {
    cron::problems(cron, lookup, Report::new(true)).into_iter().next()
}
