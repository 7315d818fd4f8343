//! Workflows that run once more: the same one from where it failed (`retry`), or a new one like it (`resubmit`).

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::Workflow;
use tiphys_engine::{Retried, RetryOptions, resubmit_workflow, resubmitted_prefix, retry_workflow};
use tiphys_kubernetes::Kind;
use tiphys_local::RunName;

use super::submit::tell;
use super::{Cluster, neither, none_local, within};
use crate::args::{Again, Global, Rerun, ResubmitArgs, RetryArgs};
use crate::failure::Failure;
use crate::output;

impl From<Rerun> for RetryOptions {
    fn from(rerun: Rerun) -> RetryOptions {
        RetryOptions {
            restart_successful: rerun.restart_successful,
            nodes: rerun.node_field_selector,
            parameters: rerun.parameters,
        }
    }
}

/// How often a retry is tried while others change the workflow, too.
const ATTEMPTS: usize = 20;

/// Runs workflows again from where they failed.
pub fn retry(global: &Global, names: &[String], args: &RetryArgs, options: &RetryOptions) -> Result<(), Failure> {
    let retried = within(global, async |cluster| {
        let names = cluster.names(names, &args.selectors.selector, &args.selectors.field_selector).await?;
        if names.is_empty() {
            output::print("no workflows found\n");
        }
        one_to_watch(args.afterwards.watch, names.len())?;
        for name in &names {
            let workflow = cluster.retry(name, options).await?;
            tell(&workflow, args.output, args.afterwards, "retried", global.quiet);
        }
        cluster.afterwards(global, &names, args.afterwards, None).await
    });
    retried.map_err(|error| neither(error, names))
}

/// Submits workflows once more.
pub fn resubmit(global: &Global, args: &ResubmitArgs) -> Result<(), Failure> {
    none_local(global, "resubmit", &args.workflows)?;
    within(global, async |cluster| {
        let selectors = &args.selectors;
        let names = cluster.names(&args.workflows, &selectors.selector, &selectors.field_selector).await?;
        if names.is_empty() {
            output::print("no workflows found\n");
        }
        one_to_watch(args.afterwards.watch, names.len())?;
        let mut made = Vec::new();
        for name in &names {
            let old = cluster.workflow(name).await?;
            let old = if args.again.memoized { old.with_nodes()?.0 } else { old.workflow };
            let workflow = cluster.made_again(&old, &args.again).await?;
            tell(&workflow, args.output, args.afterwards, "submitted", global.quiet);
            made.push(workflow.metadata.name);
        }
        cluster.afterwards(global, &made, args.afterwards, None).await
    })
}

pub(super) fn one_to_watch(watch: bool, count: usize) -> Result<(), Failure> {
    match watch && count > 1 {
        true => Err(Failure::usage("--watch: there is more than one workflow; --wait waits for all")),
        false => Ok(()),
    }
}

impl Cluster {
    /// Deletes the Pods of what runs again, then opens the workflow. argo: server/workflow, RetryWorkflow.
    async fn retry(&self, name: &str, options: &RetryOptions) -> Result<Workflow, Failure> {
        let pods = Kind::Pod.within(&self.namespace);
        for _ in 0..ATTEMPTS {
            let (workflow, form) = self.workflow(name).await?.with_nodes()?;
            let retried = retry_workflow(workflow, options.clone(), Timestamp::now());
            let Retried { workflow, pods: doomed } =
                retried.map_err(|reason| Failure::failed(Some(format!("{name}: {reason}"))))?;
            for pod in doomed {
                self.api.delete(&pods.named(&pod), &json!({"propagationPolicy": "Background"})).await?;
            }
            if let Some(workflow) = self.put(&workflow, &form).await? {
                return Ok(workflow);
            }
        }
        Err(Failure::failed(Some(format!("{name} is changed by others all the time, so that it cannot be retried"))))
    }

    /// Submits a workflow like one that there was. argo: server/workflow, ResubmitWorkflow.
    pub(super) async fn made_again(&self, old: &Workflow, again: &Again) -> Result<Workflow, Failure> {
        // Nodes of a status refer to the workflow's name, so that the server cannot choose it.
        let generated = RunName::generate(&resubmitted_prefix(old)).map_err(Failure::usage)?;
        let memoized = again.memoized.then_some(generated.as_str());
        let new = resubmit_workflow(old, memoized, &again.parameters, Timestamp::now());
        let name = &old.metadata.name;
        let mut new = new.map_err(|reason| Failure::failed(Some(format!("{name}: {reason}"))))?;
        if again.priority.is_some() {
            new.spec.priority = again.priority.map(i64::from);
        }
        self.create(&new, false).await
    }
}
